//! An exchange put on a socket: a small HTTP/1.1 server for emulators, gateways and tests.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::{Body, Exchange, Request, Response};

/// The largest request body, by default. Vertex takes some 20 MB inline.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// The most connections at once, by default.
pub const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send the head of a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take to send the body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long running requests have after the shutdown was asked for, by default.
pub const GRACE: Duration = Duration::from_secs(10);

/// How to serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The largest request body. [`REQUEST_BYTES_MAX`].
    pub request_bytes_max: usize,
    /// The most connections at once; more wait to be accepted. [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// How long running requests have after the shutdown was asked for. [`GRACE`].
    pub grace: Duration,
    /// Makes the answer to a request that is refused before it is complete.
    pub refuse: fn(&Refusal) -> Response,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            grace: GRACE,
            refuse: refuse_as_openai,
        }
    }
}

/// Why a request is refused before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its body is larger than the limit, in bytes.
    TooLarge(usize),
    /// Its body did not come within [`BODY_TIMEOUT`].
    TooSlow,
    /// Its body broke off.
    Incomplete,
}

impl Refusal {
    /// The status that says so.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Incomplete => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(max) => write!(f, "the request body is larger than {max} bytes"),
            Self::TooSlow => write!(f, "the request body did not come within {} s", BODY_TIMEOUT.as_secs()),
            Self::Incomplete => f.write_str("the request body broke off"),
        }
    }
}

/// A refusal in OpenAI's form.
fn refuse_as_openai(refusal: &Refusal) -> Response {
    let body = format!(
        r#"{{"error":{{"message":"{refusal}","type":"invalid_request_error","param":null,"code":null}}}}"#
    );
    let mut response = Response::new(body.into());
    *response.status_mut() = refusal.status();
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

/// Where a request came from; in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Serves until `shutdown` is done, then lets running requests finish for [`ServeOptions::grace`].
///
/// A body that ends in an error closes its connection without the end of the body, so that the client can tell.
pub async fn serve(
    listener: TcpListener,
    exchange: Arc<dyn Exchange>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) {
    let (closing, closed) = watch::channel(false);
    let permits = Arc::new(Semaphore::new(options.connections_max));
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: give those who hold them a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (exchange, options, closed) = (Arc::clone(&exchange), options.clone(), closed.clone());
        connections.spawn(async move {
            let _permit = permit;
            serve_connection(stream, peer, exchange, options, closed).await;
        });
    }
    drop(listener);
    let _ = closing.send(true);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(options.grace, finish).await;
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    exchange: Arc<dyn Exchange>,
    options: ServeOptions,
    mut closed: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (exchange, options) = (Arc::clone(&exchange), options.clone());
        async move { answer(request, peer, &*exchange, &options).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut closing = false;
    // What goes wrong on a connection is the client's to notice; the exchange has its own log.
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = closed.wait_for(|closed| *closed), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    request: http::Request<Incoming>,
    peer: SocketAddr,
    exchange: &dyn Exchange,
    options: &ServeOptions,
) -> Result<http::Response<Body>, crate::TransportError> {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(Peer(peer));
    let collected =
        tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, options.request_bytes_max).collect()).await;
    let body: Result<Bytes, Refusal> = match collected {
        Err(_) => Err(Refusal::TooSlow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refusal::TooLarge(options.request_bytes_max)),
        Ok(Err(_)) => Err(Refusal::Incomplete),
    };
    match body {
        Ok(body) => exchange.send(Request::from_parts(head, body)).await,
        Err(refusal) => Ok((options.refuse)(&refusal)),
    }
}
