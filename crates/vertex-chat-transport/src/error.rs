//! Why there is no answer.

use std::error::Error;
use std::fmt;

/// Why an exchange has no answer, or a body no end.
///
/// ```
/// # fn check(error: vertex_chat_transport::TransportError) {
/// use vertex_chat_transport::Sent;
///
/// if error.sent() == Sent::No {
///     // Nothing reached the far side: trying again cannot do anything twice.
/// }
/// # }
/// ```
pub struct TransportError {
    kind: TransportErrorKind,
    sent: Sent,
    /// What was going on; no secrets, no URLs with queries.
    context: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// Whether the connection had carried an exchange before.
    on_reused_connection: bool,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection: name resolution, TCP, the proxy.
    ///
    /// *Troubleshooting:* check host and port, the network, `HTTPS_PROXY` and `NO_PROXY`.
    Connect,
    /// The proxy does not open a connection, by its rules: a status of 400 to 499.
    ///
    /// *Troubleshooting:* the error names the proxy, its status and the variable. Put user and password into the URL, or have the
    /// host allowed.
    Proxy,
    /// A connection, but no trust in it: the certificate, the protocol versions.
    ///
    /// *Troubleshooting:* behind a proxy that opens TLS, add its root certificate.
    Tls,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// No answer within the first-byte timeout.
    FirstByteTimeout,
    /// Silence in the middle of a body, longer than the idle timeout.
    IdleTimeout,
    /// The whole took longer than the total timeout.
    TotalTimeout,
    /// The connection ended before the answer did.
    Interrupted,
    /// A body larger than its limit.
    TooLarge,
    /// All bodies together have reached the limit of memory for them.
    ///
    /// *Troubleshooting:* ask again when less runs at once, or raise the [`BodyLimit`](crate::BodyLimit).
    NoRoom,
    /// An answer that is not HTTP.
    Protocol,
    /// A request that cannot be sent as it is.
    Invalid,
}

/// Whether the far side may have seen a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// It has not.
    No,
    /// It may have: the connection failed after the request had begun to go out.
    Maybe,
    /// It has: there was an answer.
    Yes,
}

impl TransportError {
    /// An error of this kind. `context` says what was going on, for a person to read.
    #[must_use]
    pub fn new(kind: TransportErrorKind, sent: Sent, context: impl Into<String>) -> Self {
        Self { kind, sent, context: context.into(), source: None, on_reused_connection: false }
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, of a connection that had carried an exchange before.
    #[must_use]
    pub fn on_reused_connection(mut self) -> Self {
        self.on_reused_connection = true;
        self
    }

    /// Whether the connection had carried an exchange before, and ended before this answer began. Servers close connections
    /// that were idle, and such a request was most likely never read.
    #[must_use]
    pub fn is_on_reused_connection(&self) -> bool {
        self.on_reused_connection
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// Whether the far side may have seen the request.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Whether one of the four clocks ran out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        use TransportErrorKind::{ConnectTimeout, FirstByteTimeout, IdleTimeout, TotalTimeout};
        matches!(self.kind, ConnectTimeout | FirstByteTimeout | IdleTimeout | TotalTimeout)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            TransportErrorKind::Connect => "cannot connect",
            TransportErrorKind::Proxy => "the proxy refuses",
            TransportErrorKind::Tls => "cannot establish TLS",
            TransportErrorKind::ConnectTimeout => "no connection in time",
            TransportErrorKind::FirstByteTimeout => "no answer in time",
            TransportErrorKind::IdleTimeout => "the answer stalled",
            TransportErrorKind::TotalTimeout => "the deadline passed",
            TransportErrorKind::Interrupted => "the connection was lost",
            TransportErrorKind::TooLarge => "the body is too large",
            TransportErrorKind::NoRoom => "there is no room for the body",
            TransportErrorKind::Protocol => "the answer is not HTTP",
            TransportErrorKind::Invalid => "the request cannot be sent",
        })?;
        if !self.context.is_empty() {
            write!(f, ": {}", self.context)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TransportError");
        shown.field("kind", &self.kind).field("sent", &self.sent).field("context", &self.context);
        if let Some(source) = &self.source {
            shown.field("source", &source.to_string());
        }
        shown.finish()
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|it| it as &(dyn Error + 'static))
    }
}
