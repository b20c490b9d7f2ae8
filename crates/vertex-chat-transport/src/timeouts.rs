//! The four clocks of an exchange.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::{Clock, Exchange, Request, Response, Sent, TransportError, TransportErrorKind};

/// How long to wait for the head of an answer. A model that thinks, asked without streaming, is silent until it is
/// done; Vertex itself gives up after ten minutes.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long a body may be silent.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long everything may take, with all attempts and waits.
pub const TOTAL_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long each part of an exchange may take. The fourth clock, for connecting, belongs to the connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// From sending (connecting included) to the head of the answer. [`FIRST_BYTE_TIMEOUT`].
    pub first_byte: Duration,
    /// Between two pieces of the body. [`IDLE_TIMEOUT`].
    pub idle: Duration,
    /// From the first attempt to the end of the body. [`TOTAL_TIMEOUT`].
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { first_byte: FIRST_BYTE_TIMEOUT, idle: IDLE_TIMEOUT, total: TOTAL_TIMEOUT }
    }
}

impl Timeouts {
    /// Sets the first-byte timeout.
    #[must_use]
    pub fn with_first_byte(mut self, timeout: Duration) -> Self {
        self.first_byte = timeout;
        self
    }

    /// Sets the idle timeout.
    #[must_use]
    pub fn with_idle(mut self, timeout: Duration) -> Self {
        self.idle = timeout;
        self
    }

    /// Sets the total timeout.
    #[must_use]
    pub fn with_total(mut self, timeout: Duration) -> Self {
        self.total = timeout;
        self
    }
}

/// Sends a request under the clocks; the answer's body stays under them. `deadline` is by [`Clock::monotonic`], so that
/// several attempts can share one.
///
/// # Errors
/// What the exchange says, or that a clock ran out.
pub async fn send_within(
    exchange: &dyn Exchange,
    request: Request,
    timeouts: &Timeouts,
    deadline: Duration,
    clock: &Arc<dyn Clock>,
) -> Result<Response, TransportError> {
    let left = deadline.saturating_sub(clock.monotonic());
    if left.is_zero() {
        return Err(TransportError::new(
            TransportErrorKind::TotalTimeout,
            Sent::No,
            "before the request was sent",
        ));
    }
    let (kind, wait) = if left < timeouts.first_byte {
        (TransportErrorKind::TotalTimeout, left)
    } else {
        (TransportErrorKind::FirstByteTimeout, timeouts.first_byte)
    };
    let response = within(clock, wait, exchange.send(request)).await.unwrap_or_else(|| {
        let context = format!("waited {} s", wait.as_secs_f64());
        Err(TransportError::new(kind, Sent::Maybe, context))
    })?;
    Ok(response.map(|body| body.watched(Arc::clone(clock), timeouts.idle, Some(deadline))))
}

/// Waits for a future, but no longer than this; `None` when the time is over. A future that is ready at once costs no alarm.
pub async fn within<T>(
    clock: &Arc<dyn Clock>,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    let mut alarm = None;
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        alarm.get_or_insert_with(|| clock.sleep(limit)).as_mut().poll(cx).map(|()| None)
    })
    .await
}
