//! What one call may want different.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use http::{HeaderMap, HeaderName, HeaderValue};
use vertex_chat_params::Policy;
use vertex_chat_transport::{RetryPolicy, Timeouts};

/// Options of one call; what is not set is the client's.
///
/// ```
/// use std::time::Duration;
/// use vertex_chat::{CallOptions, Timeouts};
///
/// let options = CallOptions::new()
///     .with_timeouts(Timeouts::default().with_total(Duration::from_secs(30)))
///     .without_retry();
/// ```
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) retry_after_sending: Option<bool>,
    pub(crate) policy: Option<Policy>,
    pub(crate) headers: HeaderMap,
    pub(crate) attempts: Option<Arc<AtomicU32>>,
}

impl CallOptions {
    /// Nothing different.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// Sets when to try again.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = Some(retry);
        self
    }

    /// One attempt. A token that is refused is still renewed once.
    #[must_use]
    pub fn without_retry(self) -> Self {
        self.with_retry(RetryPolicy::never())
    }

    /// Sets whether a request is sent again when the connection was lost after it had gone out. The server may then
    /// answer, and charge, twice.
    #[must_use]
    pub fn with_retry_after_sending(mut self, retry: bool) -> Self {
        self.retry_after_sending = Some(retry);
        self
    }

    /// Sets what becomes of parameters that the server does not take.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Adds one to this counter for each request that is about to be sent. So the number is known of a call that is dropped
    /// before its end, too.
    #[must_use]
    pub fn with_attempts_counter(mut self, counter: Arc<AtomicU32>) -> Self {
        self.attempts = Some(counter);
        self
    }

    /// Sends a header, in place of the client's own of that name. `authorization` is the client's alone.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        // Keys are sent in headers of many names; `Debug` shows none.
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }
}
