//! The least that a gateway in Rust can be: hyper on both sides, a pool of connections, nothing read and nothing changed.
//!
//! What ours costs above this is what ours does. `bench-gateway-bare PORT UPSTREAM_PORT`.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut ports = std::env::args().skip(1).map(|it| it.parse::<u16>().expect("a port"));
    let mut port = || ports.next().expect("two ports");
    let (own, upstream) = (port(), format!("127.0.0.1:{}", port()));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind(("127.0.0.1", own)).await.expect("the port");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.set_nodelay(true);
        let (client, upstream) = (client.clone(), upstream.clone());
        let pass = move |mut request: Request<Incoming>| {
            let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
            let uri = Uri::builder().scheme("http").authority(upstream.as_str()).path_and_query(path).build();
            *request.uri_mut() = uri.expect("because its parts are those of a URI");
            client.request(request)
        };
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(pass)),
        );
    }
}
