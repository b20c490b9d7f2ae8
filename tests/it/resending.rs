//! What is sent again, and where: no request costs money or goes to another provider without need, and no model pays for
//! another one's failures.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use vertex_chat::Environment;
use vertex_chat_emulator::{Emulator, Fault, FaultPlace};
use vertex_chat_gateway::{AccessEntry, Config, Gateway, Options};
use vertex_chat_tests::certificates::Certificates;
use vertex_chat_tests::gateway::{Got, Served, vertex};
use vertex_chat_tests::process::Folder;
use vertex_chat_tests::upstream::{Seen, Step, Upstream, answer};
use vertex_chat_transport::{Exchange, HttpConnector, Request, SystemClock};

const HELLO: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

fn hello() -> Vec<Step> {
    vec![Step::Write(answer("200 OK", "application/json", &[], HELLO.as_bytes()))]
}

fn refusal(status: &str, headers: &[(&str, &str)]) -> Vec<Step> {
    let body = br#"{"error":{"message":"no","type":"x","code":"y"}}"#;
    vec![Step::Write(answer(status, "application/json", headers, body))]
}

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

fn model_of(seen: &Seen) -> String {
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    body["model"].as_str().unwrap_or_default().to_owned()
}

/// Two servers: `first`, and `paid` as the fallback for every model.
fn two(first: &str, paid: &str, keys: &str) -> String {
    format!(
        "[targets.first]\nkind = \"openai\"\nbase_url = \"{first}/v1\"\ndialect = \"openai\"\nretries = 0\n{keys}\
         [targets.paid]\nkind = \"openai\"\nbase_url = \"{paid}/v1\"\ndialect = \"openai\"\nretries = 0\n\
         [[models]]\nname = \"named\"\nto = [{{ target = \"first\" }}]\nfallback = [{{ target = \"paid\" }}]\n\
         [[models]]\nname = \"*\"\nto = [{{ target = \"first\" }}]\nfallback = [{{ target = \"paid\" }}]\n"
    )
}

fn target(got: &Got) -> &str {
    got.header("x-vertex-chat-target").unwrap_or_default()
}

#[tokio::test]
async fn an_exhausted_model_moves_no_other_to_the_fallback() {
    let first = Upstream::answer_with(|seen| match model_of(seen).as_str() {
        name if name.starts_with("out") => refusal("429 Too Many Requests", &[("retry-after", "100")]),
        _ => hello(),
    })
    .await;
    let paid = Upstream::answer_with(|_| hello()).await;
    let served = Served::start(&two(&first.url(), &paid.url(), "")).await;
    for _ in 0..2 {
        assert_eq!(target(&served.complete(&ask("out")).await), "paid");
        for other in ["named", "other"] {
            assert_eq!(target(&served.complete(&ask(other)).await), "first", "{other}");
        }
    }
    // It was asked once, and is left alone since.
    assert_eq!(first.seen().iter().filter(|it| model_of(it) == "out").count(), 1);
}

#[tokio::test]
async fn invented_names_displace_no_cool_down() {
    let first = Upstream::answer_with(|seen| match model_of(seen).as_str() {
        name if name.starts_with("out") || name == "named" => {
            refusal("429 Too Many Requests", &[("retry-after", "100")])
        }
        _ => hello(),
    })
    .await;
    let paid = Upstream::answer_with(|_| hello()).await;
    let served = Served::start(&two(&first.url(), &paid.url(), "")).await;
    assert_eq!(target(&served.complete(&ask("named")).await), "paid");
    for i in 0..2 * vertex_chat_gateway::COOL_DOWNS_MAX {
        assert_eq!(target(&served.complete(&ask(&format!("out-{i}"))).await), "paid");
    }
    assert_eq!(target(&served.complete(&ask("named")).await), "paid");
    assert_eq!(first.seen().iter().filter(|it| model_of(it) == "named").count(), 1);
}

#[tokio::test]
async fn a_token_server_that_fails_cools_no_model_down() {
    let emulator = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let paid = Upstream::answer_with(|_| hello()).await;
    let folder = Folder::new("token-hiccup");
    let key = folder.file("key.json", emulator.service_account_json());
    let config = format!(
        "{}[targets.paid]\nkind = \"openai\"\nbase_url = \"{}/v1\"\n\
         [[models]]\nname = \"*\"\nto = [{{ target = \"first\" }}]\nfallback = [{{ target = \"paid\" }}]\n",
        vertex("first", &emulator.base_url(), &key),
        paid.url()
    );
    emulator
        .emulator()
        .add_fault(Fault::at(FaultPlace::Token).status(StatusCode::SERVICE_UNAVAILABLE, "{}").times(100));
    let served = Served::start(&config).await;
    let got = served.complete(&ask("google/gemini-2.5-flash")).await;
    assert_eq!(target(&got), "paid", "{}", got.text());
    emulator.emulator().clear_faults();
    // The token source waits for some seconds after a failure; a cool-down would be 30 s.
    let start = std::time::Instant::now();
    while !target(&served.complete(&ask("google/gemini-2.5-flash")).await).starts_with("first") {
        assert!(start.elapsed() < Duration::from_secs(25), "the model is left alone");
    }
    let metrics = served.get("/metrics").await.text();
    assert!(!metrics.contains("vertex_chat_cool_downs_total{"), "{metrics}");
}

#[tokio::test]
async fn a_renewed_token_is_no_retry() {
    let emulator = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = Folder::new("renewed-token");
    let key = folder.file("key.json", emulator.service_account_json());
    let served = Served::start(&vertex("first", &emulator.base_url(), &key)).await;
    assert_eq!(served.complete(&ask("google/gemini-2.5-flash")).await.status, 200);
    for status in [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS] {
        emulator
            .emulator()
            .add_fault(Fault::at(FaultPlace::Chat).status(status, r#"{"error":{"message":"no"}}"#));
    }
    let got = served.complete(&ask("google/gemini-2.5-flash")).await;
    assert_eq!((got.status.as_u16(), got.header("x-should-retry")), (429, None), "{}", got.text());
    let log = served.wait_for(2).await;
    assert_eq!((log[1].attempts, log[1].resent), (2, 1));
}

/// One server that is asked up to three times.
fn one(url: &str, keys: &str) -> String {
    format!(
        "[targets.first]\nkind = \"openai\"\nbase_url = \"{url}/v1\"\ndialect = \"openai\"\n{keys}\
         [[models]]\nname = \"*\"\nto = [{{ target = \"first\" }}]\n"
    )
}

/// A gateway on a clock whose waits pass at once.
async fn impatient(config: &str) -> Served {
    let clock = vertex_chat_transport::SimulatedClock::new().with_instant_sleeps(Duration::from_secs(40));
    Served::start_with(config, Environment::of::<&str, &str>([]), Arc::new(clock)).await
}

#[tokio::test]
async fn failed_retries_of_one_model_take_none_from_another() {
    let flaky = AtomicUsize::new(0);
    let first = Upstream::answer_with(move |seen| match model_of(seen).as_str() {
        "down" => refusal("503 Service Unavailable", &[]),
        // Every other request fails.
        _ if flaky.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => {
            refusal("503 Service Unavailable", &[])
        }
        _ => hello(),
    })
    .await;
    let served = impatient(&one(&first.url(), "cool_down_seconds = 0\n")).await;
    for _ in 0..30 {
        assert_eq!(served.complete(&ask("down")).await.status, 503);
    }
    let got = served.complete(&ask("flaky")).await;
    assert_eq!(got.status, 200, "{}", got.text());
    let log = served.wait_for(31).await;
    assert_eq!(log.last().unwrap().attempts, 2);
}

#[tokio::test]
async fn clients_are_told_not_to_retry_only_what_was_retried() {
    let first = Upstream::answer_with(|_| refusal("503 Service Unavailable", &[])).await;
    let served = impatient(&one(&first.url(), "cool_down_seconds = 0\n")).await;
    let mut told = Vec::new();
    for _ in 0..30 {
        told.push(served.complete(&ask("down")).await.header("x-should-retry").map(str::to_owned));
    }
    let log = served.wait_for(30).await;
    let attempts: Vec<u32> = log.iter().map(|it| it.attempts).collect();
    // The budget is used up after 20 retries.
    assert_eq!(attempts.iter().sum::<u32>(), 50);
    for (told, attempts) in told.iter().zip(attempts) {
        assert_eq!(told.as_deref(), (attempts > 1).then_some("false"), "{attempts} attempts");
    }
    assert_eq!(first.seen().len(), 50);
    let served = impatient(&one(&first.url(), "retries = 0\n")).await;
    assert_eq!(served.complete(&ask("down")).await.header("x-should-retry"), None);
}

/// A server that closes a kept connection when the next request comes over it.
fn closes_kept() -> impl Fn(&Seen) -> Vec<Step> + Send + Sync {
    let count = AtomicUsize::new(0);
    move |_| match count.fetch_add(1, Ordering::SeqCst) {
        1 => vec![Step::Close],
        2 => vec![Step::Reset],
        _ => hello(),
    }
}

#[tokio::test]
async fn a_kept_connection_that_ends_sends_nothing_to_the_fallback() {
    let first = Upstream::answer_with(closes_kept()).await;
    let paid = Upstream::answer_with(|_| hello()).await;
    let served = Served::start(&two(&first.url(), &paid.url(), "")).await;
    let got = served.complete(&ask("named")).await;
    assert_eq!((got.status.as_u16(), target(&got)), (200, "first"));
    // The kept connection is closed. The request goes again once, over a new one, which is reset: that is no kept connection.
    let got = served.complete(&ask("named")).await;
    assert_eq!((got.status.as_u16(), target(&got)), (200, "paid"));
    let got = served.complete(&ask("named")).await;
    assert_eq!((got.status.as_u16(), target(&got)), (200, "first"));
    let log = served.wait_for(3).await;
    let counts: Vec<(u32, u32)> = log.iter().map(|it| (it.attempts, it.resent)).collect();
    assert_eq!(counts, [(1, 0), (3, 1), (1, 0)]);
    assert!(log[1].to_json().contains(r#""resent":1"#) && log[1].to_text().contains("resent=1"));
}

#[tokio::test]
async fn a_kept_connection_that_ends_is_no_error_without_retries() {
    let count = AtomicUsize::new(0);
    // Every other request over a kept connection finds it closed.
    let first = Upstream::answer_with(move |_| match count.fetch_add(1, Ordering::SeqCst) % 3 {
        1 => vec![Step::Close],
        _ => hello(),
    })
    .await;
    let served = Served::start(&one(&first.url(), "retries = 0\n")).await;
    for _ in 0..60 {
        assert_eq!(served.complete(&ask("m")).await.status, 200);
    }
    // By order of the configuration it is.
    let first = Upstream::answer_with(closes_kept()).await;
    let served = Served::start(&one(&first.url(), "retries = 0\nretry_after_sending = false\n")).await;
    assert_eq!(served.complete(&ask("m")).await.status, 200);
    assert_eq!(served.complete(&ask("m")).await.status, 502);
    assert_eq!(first.seen().len(), 2);
}

/// What a server of HTTP/2 does with a request.
#[derive(Clone, Copy)]
enum Deed {
    Answer,
    /// RST_STREAM with REFUSED_STREAM: it was not begun.
    Refuse,
    /// GOAWAY that names an earlier request as the last, and the end of the connection.
    GoAway,
}

/// A server of HTTP/2 with TLS that writes its frames by hand, and how many connections it has had.
async fn http2(certificates: &Certificates, deeds: Vec<Deed>) -> (SocketAddr, Arc<AtomicUsize>) {
    let acceptor = certificates.acceptor(false, &["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let deeds = Arc::new(Mutex::new(deeds.into_iter()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let (acceptor, deeds) = (acceptor.clone(), Arc::clone(&deeds));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let next = || deeds.lock().unwrap().next().unwrap_or(Deed::Answer);
                    let _ = serve_http2(stream, next).await;
                }
            });
        }
    });
    (address, connections)
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// A frame: its length, type, flags and stream, and what is in it (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

async fn serve_http2(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    next: impl Fn() -> Deed,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, 0, &[])).await?;
    let mut last_begun = 0_u32;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        // SETTINGS.
        if kind == 4 && flags & ACK == 0 {
            stream.write_all(&frame(4, ACK, 0, &[])).await?;
        }
        // The end of a request's HEADERS or DATA.
        if !(kind <= 1 && flags & END_STREAM != 0) {
            continue;
        }
        match next() {
            Deed::Answer => {
                last_begun = number;
                // `:status: 200`, and `content-type` as a literal.
                let value = b"application/json";
                let fields =
                    [&[0x88, 0x0f, 0x10, u8::try_from(value.len()).unwrap()], value.as_slice()].concat();
                stream.write_all(&frame(1, END_HEADERS, number, &fields)).await?;
                stream.write_all(&frame(0, END_STREAM, number, HELLO.as_bytes())).await?;
            }
            Deed::Refuse => stream.write_all(&frame(3, 0, number, &7_u32.to_be_bytes())).await?,
            Deed::GoAway => {
                let payload = [last_begun.to_be_bytes(), 0_u32.to_be_bytes()].concat();
                stream.write_all(&frame(7, 0, 0, &payload)).await?;
                return stream.shutdown().await;
            }
        }
        stream.flush().await?;
    }
}

#[tokio::test]
async fn requests_that_http2_did_not_begin_go_again_to_the_same_server() {
    for deed in [Deed::Refuse, Deed::GoAway] {
        let certificates = Certificates::new();
        let (address, connections) = http2(&certificates, vec![Deed::Answer, deed, deed, Deed::Answer]).await;
        let paid = Upstream::answer_with(|_| hello()).await;
        let config = two(&format!("https://localhost:{}", address.port()), &paid.url(), "");
        let connector =
            HttpConnector::new().with_root_certificates_pem(certificates.root_pem().as_bytes()).unwrap();
        let log: Arc<Mutex<Vec<AccessEntry>>> = Arc::default();
        let entries = Arc::clone(&log);
        let options = Options::new()
            .environment(Environment::of::<&str, &str>([]))
            .connector(Arc::new(connector))
            .on_request(move |entry| entries.lock().unwrap().push(entry.clone()));
        let gateway = Gateway::build(&Config::parse("g.toml", &config).unwrap(), options).await.unwrap();
        for _ in 0..2 {
            let mut request = Request::new(ask("named").to_string().into());
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = "/v1/chat/completions".parse().unwrap();
            request.headers_mut().insert("content-type", "application/json".parse().unwrap());
            let response = gateway.send(request).await.unwrap();
            assert_eq!(response.headers()["x-vertex-chat-target"], "first");
            assert_eq!(response.status(), 200);
        }
        let log = log.lock().unwrap();
        assert_eq!((log[1].attempts, log[1].resent), (3, 2));
        assert!(connections.load(Ordering::SeqCst) > 1, "it goes over a new connection");
        assert!(paid.seen().is_empty());
    }
}

/// Requests of the client library, which is what the gateway stands on.
#[tokio::test]
async fn the_client_sends_again_at_once_what_was_not_begun() {
    let first = Upstream::answer_with(closes_kept()).await;
    let client = vertex_chat::Client::builder()
        .environment(Environment::of::<&str, &str>([]))
        .base_url(format!("{}/v1", first.url()))
        .anonymous()
        .retry(vertex_chat::RetryPolicy::never())
        .build()
        .unwrap();
    let request = || vertex_chat::ChatRequest::new("m", [vertex_chat::Message::user("hi")]);
    assert_eq!(client.chat(request()).await.unwrap().meta().resent(), 0);
    let error = client.chat(request()).await.unwrap_err();
    assert_eq!((error.attempts(), error.resent()), (2, 1));
    let answer = client.chat(request()).await.unwrap();
    assert_eq!((answer.meta().attempts(), answer.meta().resent()), (1, 0));
}
