//! One HTTP exchange: a request goes out, an answer comes back, and the answer's body is a stream.
//!
//! ```
//! use vertex_chat_transport::{async_trait, Body, Exchange, Request, Response, TransportError};
//!
//! /// An exchange that needs no socket. The hyper client is another one, and so is the emulator.
//! #[derive(Debug)]
//! struct Echo;
//!
//! #[async_trait]
//! impl Exchange for Echo {
//!     async fn send(&self, request: Request) -> Result<Response, TransportError> {
//!         Ok(Response::new(Body::from(request.into_body())))
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), TransportError> {
//! let answer = Echo.send(Request::new("hello".into())).await?;
//! assert_eq!(answer.into_body().collect(100).await?, "hello");
//! # Ok(()) }
//! ```
//!
//! **What it is.** Three traits ([`Exchange`], [`Connector`], [`Clock`]), the values that pass between them, and the
//! rules of waiting and trying again ([`Timeouts`], [`RetryPolicy`], [`RetryBudget`]). Behind the feature `client` the
//! hyper client ([`HttpConnector`]), behind `serve` a small server ([`serve`](crate::serve::serve)).
//!
//! **What it is not.** An exchange does not retry, follow redirects, keep cookies or know about tokens. A 4xx or 5xx is
//! an answer, not an error.
//!
//! # Cancel safety
//!
//! Dropping the future of [`Exchange::send`], or a [`Body`] before its end, gives the exchange up: over HTTP/1.1 the
//! connection is closed, over HTTP/2 the stream is reset. Whether the far side stops its work is its own affair.
//!
//! # Stability
//!
//! Sources of errors are boxed, and what they are may change. So may the default limits, which are documented with
//! their constants.

mod body;
mod body_limit;
#[cfg(feature = "client")]
mod client;
mod clock;
mod error;
mod host;
mod log_text;
mod pasted;
#[cfg(feature = "client")]
mod proxy;
mod retry;
#[cfg(feature = "serve")]
pub mod serve;
mod timeouts;
#[cfg(feature = "client")]
mod tls;

use std::fmt;
use std::sync::Arc;

/// What the traits here are written with.
pub use async_trait::async_trait;
pub use body::Body;
pub use body_limit::{BodyLimit, BodyPermit, NoRoom};
#[cfg(feature = "client")]
pub use client::{
    CONNECT_TIMEOUT, HTTP2_CONNECTION_WINDOW, HTTP2_KEEP_ALIVE_INTERVAL, HTTP2_KEEP_ALIVE_TIMEOUT,
    HTTP2_STREAM_WINDOW, HttpConnector, IDLE_CONNECTION_TIMEOUT, IDLE_CONNECTIONS_MAX, Proxy,
};
#[cfg(any(feature = "client", feature = "serve"))]
pub use clock::SystemClock;
pub use clock::{Clock, SimulatedClock, Sleep};
pub use error::{Sent, TransportError, TransportErrorKind};
pub use host::is_loopback;
pub use log_text::LogText;
pub use pasted::without_surroundings;
#[cfg(feature = "client")]
pub use proxy::{NO_PROXY_VARIABLES, PROXY_VARIABLES};
pub use retry::{RETRY_AFTER_MAX, RetryBudget, RetryPolicy, is_retryable_status, retry_after};
pub use timeouts::{FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, TOTAL_TIMEOUT, Timeouts, send_within, within};

/// Whether a body calls itself JSON.
#[must_use]
pub fn is_json(headers: &http::HeaderMap) -> bool {
    const JSON: &str = "application/json";
    let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    content_type.and_then(|it| it.get(..JSON.len())).is_some_and(|it| it.eq_ignore_ascii_case(JSON))
}

/// A request, its body whole and cheap to clone, so that sending it again is a clone.
pub type Request = http::Request<bytes::Bytes>;

/// An answer, its body a stream.
pub type Response = http::Response<Body>;

/// In the extensions of a request: it goes over a new connection, not over one that was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewConnection;

/// A function from a request to an answer.
#[async_trait]
pub trait Exchange: fmt::Debug + Send + Sync + 'static {
    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    /// When there is no answer. [`TransportError::sent`] tells whether the far side may have seen the request.
    async fn send(&self, request: Request) -> Result<Response, TransportError>;
}

/// The one place that makes connections, for code that needs more than one kind.
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// An exchange for connections of this kind.
    ///
    /// # Errors
    /// When the kind cannot be had, such as a client certificate that does not parse.
    fn connect(&self, profile: &Profile) -> Result<Arc<dyn Exchange>, TransportError>;

    /// A connector like this one that also trusts these certificates, in PEM: as roots, and each as itself.
    ///
    /// # Errors
    /// When the text has no certificate, or the connector takes none; as this default does.
    fn with_certificates_pem(&self, pem: &[u8]) -> Result<Arc<dyn Connector>, TransportError> {
        let _ = pem;
        let context = "the connector takes no further certificates";
        Err(TransportError::new(TransportErrorKind::Invalid, Sent::No, context))
    }
}

/// A kind of connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// To the world, through the proxy if there is one.
    Public,
    /// Never through a proxy: to a metadata server, which trusts whoever can reach it.
    NoProxy,
    /// To the world, showing a certificate.
    ClientCertificate(ClientCertificate),
}

/// A certificate to show, and its key. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    chain_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

impl ClientCertificate {
    /// A certificate chain, leaf first, and the leaf's private key, both in PEM.
    #[must_use]
    pub fn from_pem(chain_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        Self { chain_pem: chain_pem.into(), key_pem: key_pem.into() }
    }

    /// The chain in PEM.
    #[must_use]
    pub fn chain_pem(&self) -> &[u8] {
        &self.chain_pem
    }

    /// The key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate([redacted])")
    }
}

/// A connector that gives the same exchange for every kind of connection; for tests and embedded servers.
#[derive(Clone, Debug)]
pub struct Always(pub Arc<dyn Exchange>);

impl Connector for Always {
    fn connect(&self, _: &Profile) -> Result<Arc<dyn Exchange>, TransportError> {
        Ok(Arc::clone(&self.0))
    }
}
