//! The network side of the hyper client: TLS, HTTP/2, proxies, clocks, limits, redirects, connections used again.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vertex_chat::transport::serve::{ServeOptions, serve};
use vertex_chat::transport::{
    Body, ClientCertificate, Clock, Connector, Exchange, HttpConnector, Profile, Proxy, Request, Response,
    Sent, SimulatedClock, Timeouts, TransportError, TransportErrorKind, async_trait, send_within,
};
use vertex_chat::{ChatRequest, Client, ErrorKind, Message};
use vertex_chat_tests::certificates::{Certificates, serve_tls};
use vertex_chat_tests::tunnel::Tunnel;
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunked_head};

/// An HTTPS server with a certificate of an authority that nobody knows. Answers with the HTTP version, and whether the
/// client showed a certificate.
struct Https {
    address: SocketAddr,
    root_pem: String,
    client_chain_pem: String,
    client_key_pem: String,
}

impl Https {
    async fn start() -> Self {
        let certificates = Certificates::new();
        let (client, client_key) = certificates.leaf("client");
        let acceptor = certificates.acceptor(false, &["h2", "http/1.1"]);
        let address = serve_tls(acceptor, |stream| async move {
            let shown = stream.get_ref().1.peer_certificates().is_some();
            let service =
                hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| async move {
                    let body =
                        format!("{:?} {}", request.version(), if shown { "shown" } else { "anonymous" });
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(body))))
                });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        })
        .await;
        Self {
            address,
            root_pem: certificates.root_pem(),
            client_chain_pem: client.pem(),
            client_key_pem: client_key.serialize_pem(),
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.address.port())
    }

    fn connector(&self) -> HttpConnector {
        HttpConnector::new()
            .with_proxy(Proxy::Off)
            .with_root_certificates_pem(self.root_pem.as_bytes())
            .unwrap()
    }
}

fn get(url: &str) -> Request {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.parse().unwrap();
    request
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect(1 << 20).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn https_speaks_http2_and_http1_on_request() {
    let server = Https::start().await;
    let exchange = server.connector().connect(&Profile::Public).unwrap();
    assert_eq!(text(exchange.send(get(&server.url())).await.unwrap()).await, "HTTP/2.0 anonymous");
    let exchange = server.connector().with_http1_only(true).connect(&Profile::Public).unwrap();
    assert_eq!(text(exchange.send(get(&server.url())).await.unwrap()).await, "HTTP/1.1 anonymous");
}

#[tokio::test]
async fn a_certificate_of_nobodys_is_refused_and_the_error_says_so() {
    let server = Https::start().await;
    let exchange = HttpConnector::new().with_proxy(Proxy::Off).connect(&Profile::Public).unwrap();
    let error = exchange.send(get(&server.url())).await.unwrap_err();
    assert_eq!((error.kind(), error.sent()), (TransportErrorKind::Tls, Sent::No), "{error}");
    assert!(error.to_string().contains("no root certificate of this machine vouches"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_the_profile_says_so() {
    let server = Https::start().await;
    let certificate =
        ClientCertificate::from_pem(server.client_chain_pem.clone(), server.client_key_pem.clone());
    let exchange = server.connector().connect(&Profile::ClientCertificate(certificate)).unwrap();
    assert_eq!(text(exchange.send(get(&server.url())).await.unwrap()).await, "HTTP/2.0 shown");
}

#[tokio::test]
async fn https_goes_through_the_proxy_with_its_password_and_tls_ends_at_the_server() {
    let server = Https::start().await;
    let proxy = Tunnel::start(server.address, "200 Connection established").await;
    let address = proxy.address();
    // A host that is not loopback by name, and is not resolved here: the proxy does that.
    let url = format!("http://user:secret@{address}");
    let connector = server.connector().with_proxy(Proxy::Url { url, no_proxy: String::new() });
    let exchange = connector.connect(&Profile::Public).unwrap();
    let error = exchange.send(get("https://vertex.example/")).await.unwrap_err();
    // The certificate is for localhost: TLS reached through the tunnel, and refused the name.
    assert_eq!(error.kind(), TransportErrorKind::Tls, "{error}");
    let head = proxy.heads()[0].clone();
    assert!(head.starts_with("CONNECT vertex.example:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpzZWNyZXQ="), "{head}");
    assert!(!format!("{error}{error:?}").contains("secret"));

    let count = proxy.heads().len();
    assert_eq!(text(exchange.send(get(&server.url())).await.unwrap()).await, "HTTP/2.0 anonymous");
    assert_eq!(proxy.heads().len(), count, "loopback does not go through the proxy");
    let direct = connector.connect(&Profile::NoProxy).unwrap();
    assert!(direct.send(get("https://vertex.invalid/")).await.is_err());
    assert_eq!(proxy.heads().len(), count, "and neither does what must not");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_as_the_cause() {
    let tunnel = Tunnel::start("127.0.0.1:1".parse().unwrap(), "407 Proxy Authentication Required").await;
    let address = tunnel.address();
    let connect = TransportErrorKind::Connect;
    for (url, kind, expected) in [
        (
            format!("http://{address}"),
            TransportErrorKind::Proxy,
            "it answered 407 Proxy Authentication Required",
        ),
        (
            "http://127.0.0.1:1".to_owned(),
            connect,
            "the proxy 127.0.0.1:1 (the given proxy): Connection refused",
        ),
        (format!("socks5://{address}"), TransportErrorKind::Invalid, "SOCKS"),
    ] {
        let proxy = Proxy::Url { url, no_proxy: String::new() };
        let exchange = HttpConnector::new().with_proxy(proxy).connect(&Profile::Public).unwrap();
        let error = exchange.send(get("https://vertex.example/")).await.unwrap_err();
        assert_eq!((error.kind(), error.sent()), (kind, Sent::No), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn nobody_at_the_port_means_that_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let exchange = HttpConnector::new().connect(&Profile::Public).unwrap();
    let error = exchange.send(get(&format!("http://{address}/"))).await.unwrap_err();
    assert_eq!((error.kind(), error.sent()), (TransportErrorKind::Connect, Sent::No), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

/// Runs a future while time passes whenever nothing else happens.
async fn while_time_passes<T>(clock: &SimulatedClock, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        let idle = async {
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            result = &mut future => return result,
            () = idle => {
                if let Some(wait) = clock.next_wake() {
                    clock.advance(wait);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_at_the_connect_timeout() {
    // Accepts connections and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.push(stream);
        }
    });
    let clock = SimulatedClock::new();
    let connector = HttpConnector::new().with_proxy(Proxy::Off).with_clock(Arc::new(clock.clone()));
    let exchange = connector.connect(&Profile::Public).unwrap();
    let error = while_time_passes(&clock, exchange.send(get(&format!("https://localhost:{port}/"))))
        .await
        .unwrap_err();
    assert_eq!((error.kind(), error.sent()), (TransportErrorKind::ConnectTimeout, Sent::No), "{error}");
    assert_eq!(clock.monotonic(), vertex_chat::transport::CONNECT_TIMEOUT);
    held.abort();
}

#[tokio::test]
async fn silence_before_the_answer_ends_at_the_first_byte_timeout_or_the_deadline() {
    let upstream = Upstream::start(vec![vec![Step::Stall]]).await;
    let exchange = HttpConnector::new().connect(&Profile::Public).unwrap();
    for (first_byte, total, kind) in
        [(5, 60, TransportErrorKind::FirstByteTimeout), (60, 5, TransportErrorKind::TotalTimeout)]
    {
        let clock = SimulatedClock::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let timeouts = Timeouts::default().with_first_byte(Duration::from_secs(first_byte));
        let deadline = Duration::from_secs(total);
        let sending = send_within(&*exchange, get(&upstream.url()), &timeouts, deadline, &shared);
        let error = while_time_passes(&clock, sending).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.sent(), clock.monotonic()),
            (kind, Sent::Maybe, Duration::from_secs(5))
        );
        let late = send_within(&*exchange, get(&upstream.url()), &timeouts, Duration::from_secs(5), &shared)
            .await
            .unwrap_err();
        assert_eq!((late.kind(), late.sent()), (TransportErrorKind::TotalTimeout, Sent::No));
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_the_client_refuses_it() {
    let elsewhere =
        Upstream::start(vec![vec![Step::Write(answer("200 OK", "application/json", &[], b"{}"))]]).await;
    let location = elsewhere.url();
    let redirect = answer("307 Temporary Redirect", "text/plain", &[("location", &location)], b"");
    let upstream = Upstream::start(vec![vec![Step::Write(redirect)]]).await;
    let client = Client::builder().base_url(upstream.url()).api_key("key".to_owned()).build().unwrap();
    let error = client.chat(ChatRequest::new("m", [Message::user("hi")])).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unreadable, 1));
    assert!(error.to_string().contains("redirects are not followed"), "{error}");
    assert!(elsewhere.seen().is_empty());
}

/// Counts connections in front of a scripted server.
async fn counted(upstream: &Upstream) -> (String, Arc<AtomicUsize>) {
    let to: SocketAddr = upstream.url().trim_start_matches("http://").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut server = TcpStream::connect(to).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (url, count)
}

fn stream_script() -> Vec<Step> {
    let events = b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    bytes.extend(chunk(events));
    bytes.extend(b"0\r\n\r\n");
    vec![Step::Write(bytes)]
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_stream_and_after_an_answer() {
    let whole = answer("200 OK", "application/json", &[], br#"{"choices":[{"message":{"content":"hi"}}]}"#);
    let scripts = vec![stream_script(), stream_script(), vec![Step::Write(whole)]];
    let upstream = Upstream::start(scripts).await;
    let (url, connections) = counted(&upstream).await;
    let client = Client::builder().base_url(url).anonymous().build().unwrap();
    let request = || ChatRequest::new("m", [Message::user("hi")]);
    for _ in 0..2 {
        let mut stream = client.chat_stream(request()).await.unwrap();
        let mut texts = Vec::new();
        while let Some(chunk) = stream.next().await {
            texts.push(chunk.unwrap().text().into_owned());
        }
        // The finish reason comes in a chunk of its own.
        assert_eq!(texts, ["hi", ""]);
    }
    client.chat(request()).await.unwrap();
    assert_eq!((upstream.seen().len(), connections.load(Ordering::SeqCst)), (3, 1));
}

#[tokio::test]
async fn dropping_a_stream_closes_its_connection() {
    let (gone, mut told) = tokio::sync::mpsc::channel::<()>(1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer).await;
        let mut bytes = chunked_head("200 OK", "text/event-stream");
        bytes.extend(chunk(b"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n"));
        stream.write_all(&bytes).await.unwrap();
        // The end of what the client says: it has gone.
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        gone.send(()).await.unwrap();
    });
    let client = Client::builder().base_url(url).anonymous().build().unwrap();
    let mut stream = client.chat_stream(ChatRequest::new("m", [Message::user("hi")])).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().text(), "hi");
    drop(stream);
    told.recv().await.expect("the server sees the end");
}

#[tokio::test]
async fn a_reset_after_sending_is_retried_or_not_as_the_caller_says() {
    let script = || vec![vec![Step::Reset], stream_script()];
    let request = || ChatRequest::new("m", [Message::user("hi")]);
    for (retry, requests) in [(true, 2), (false, 1)] {
        let upstream = Upstream::start(script()).await;
        let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
        let client =
            Client::builder().base_url(upstream.url()).anonymous().clock(Arc::new(clock)).build().unwrap();
        let options = vertex_chat::CallOptions::new().with_retry_after_sending(retry);
        let result = client.chat_stream_with(request(), &options).await;
        assert_eq!((result.is_ok(), upstream.seen().len()), (retry, requests));
        if let Err(error) = result {
            assert_eq!(
                (error.kind(), error.sent(), error.is_retryable()),
                (ErrorKind::Connection, Sent::Maybe, true)
            );
        }
    }
}

#[derive(Debug)]
struct Echo;

#[async_trait]
impl Exchange for Echo {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        Ok(Response::new(Body::from(request.into_body())))
    }
}

#[tokio::test]
async fn the_server_takes_a_body_at_its_limit_and_refuses_one_byte_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut options = ServeOptions::default();
    options.request_bytes_max = 10;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, Arc::new(Echo), options, async {
        let _ = stopped.await;
    }));
    let exchange = HttpConnector::new().connect(&Profile::Public).unwrap();
    let post = |bytes: &'static [u8]| {
        let mut request = get(&url);
        *request.method_mut() = http::Method::POST;
        *request.body_mut() = Bytes::from_static(bytes);
        request
    };
    assert_eq!(text(exchange.send(post(b"0123456789")).await.unwrap()).await, "0123456789");
    let refused = exchange.send(post(b"0123456789a")).await.unwrap();
    assert_eq!(refused.status(), http::StatusCode::PAYLOAD_TOO_LARGE);
    assert!(text(refused).await.contains("larger than 10 bytes"));
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(exchange.send(post(b"")).await.is_err(), "a stopped server takes no more");
}
