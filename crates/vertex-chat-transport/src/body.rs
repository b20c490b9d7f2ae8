//! The body of an answer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
#[cfg(feature = "client")]
use http_body::Body as _;
use http_body::{Frame, SizeHint};

use crate::{BodyPermit, Clock, Sent, Sleep, TransportError, TransportErrorKind};

/// The body of an answer: bytes that come in pieces.
///
/// Dropping it before its end gives the rest up. `Debug` shows no content.
#[derive(Default)]
pub struct Body {
    inner: Inner,
    watch: Option<Box<Watch>>,
    /// Dropped with the body.
    #[cfg(feature = "serve")]
    guard: Option<crate::serve::BodyGuard>,
}

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Whole(Bytes),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = TransportError> + Send>>),
    #[cfg(feature = "client")]
    Incoming(hyper::body::Incoming),
}

impl From<Inner> for Body {
    fn from(inner: Inner) -> Self {
        Self { inner, ..Self::default() }
    }
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that is streamed.
    #[must_use]
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = TransportError> + Send + 'static) -> Self {
        Inner::Stream(Box::pin(body)).into()
    }

    #[cfg(feature = "client")]
    pub(crate) fn incoming(body: hyper::body::Incoming) -> Self {
        Inner::Incoming(body).into()
    }

    #[cfg(feature = "serve")]
    pub(crate) fn set_guard(&mut self, guard: crate::serve::BodyGuard) {
        self.guard = Some(guard);
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection is lost, or one of the clocks set by [`watched`](Self::watched) runs out.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, TransportError>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The next piece, for code that polls.
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        match self.poll_inner(cx) {
            Poll::Ready(item) => {
                if let Some(watch) = &mut self.watch {
                    watch.waiting_since = None;
                }
                Poll::Ready(item)
            }
            Poll::Pending => match &mut self.watch {
                Some(watch) => match watch.poll_expired(cx) {
                    Poll::Ready(error) => {
                        self.inner = Inner::Empty;
                        self.watch = None;
                        Poll::Ready(Some(Err(error)))
                    }
                    Poll::Pending => Poll::Pending,
                },
                None => Poll::Pending,
            },
        }
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        loop {
            let frame = match &mut self.inner {
                Inner::Empty => return Poll::Ready(None),
                Inner::Whole(_) => {
                    let Inner::Whole(bytes) = std::mem::take(&mut self.inner) else {
                        return Poll::Ready(None);
                    };
                    return Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)));
                }
                Inner::Stream(stream) => ready!(stream.as_mut().poll_frame(cx)),
                #[cfg(feature = "client")]
                Inner::Incoming(incoming) => ready!(Pin::new(incoming).poll_frame(cx))
                    .map(|frame| frame.map_err(crate::client::body_error)),
            };
            match frame {
                // Trailers and empty frames carry nothing for us.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    _ => {}
                },
                Some(Err(error)) => {
                    self.inner = Inner::Empty;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.inner = Inner::Empty;
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it is larger than `bytes_max`, or does not come to its end.
    pub async fn collect(self, bytes_max: usize) -> Result<Bytes, TransportError> {
        self.gather(bytes_max, |_| Ok(())).await
    }

    /// The whole body, with a permit for its bytes.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and when the permit's limit has no room for the body.
    pub async fn collect_with(
        self,
        bytes_max: usize,
        permit: &mut BodyPermit,
    ) -> Result<Bytes, TransportError> {
        let had = permit.bytes();
        self.gather(bytes_max, |bytes| {
            permit.resize(had + bytes).map_err(|error| {
                let context = "while the answer came in";
                TransportError::new(TransportErrorKind::NoRoom, Sent::Yes, context).with_source(error)
            })
        })
        .await
    }

    /// Reads the whole body. Before the body takes more memory, `grow` is called with the bytes that it will then take.
    async fn gather(
        mut self,
        bytes_max: usize,
        mut grow: impl FnMut(usize) -> Result<(), TransportError>,
    ) -> Result<Bytes, TransportError> {
        let Some(first) = self.chunk().await.transpose()? else { return Ok(Bytes::new()) };
        check_size(first.len(), bytes_max)?;
        grow(first.len())?;
        let Some(second) = self.chunk().await.transpose()? else { return Ok(first) };
        check_size(first.len() + second.len(), bytes_max)?;
        grow(first.len() + second.len())?;
        let mut whole = BytesMut::with_capacity(first.len() + second.len());
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            let size = whole.len() + chunk.len();
            check_size(size, bytes_max)?;
            if size > whole.capacity() {
                // As much again, as a vector grows, and no more than the limit.
                let room = (2 * whole.capacity()).clamp(size, bytes_max.max(size));
                grow(room)?;
                whole.reserve(room - whole.len());
            }
            whole.extend_from_slice(&chunk);
            next = self.chunk().await.transpose()?;
        }
        Ok(whole.freeze())
    }

    /// The same body under two clocks: `idle` bounds each wait for a piece, `deadline` (by [`Clock::monotonic`]) the
    /// whole.
    #[must_use]
    pub fn watched(mut self, clock: Arc<dyn Clock>, idle: Duration, deadline: Option<Duration>) -> Self {
        if !matches!(self.inner, Inner::Empty | Inner::Whole(_)) {
            self.watch = Some(Box::new(Watch { clock, idle, deadline, waiting_since: None, alarm: None }));
        }
        self
    }
}

fn check_size(size: usize, bytes_max: usize) -> Result<(), TransportError> {
    if size <= bytes_max {
        return Ok(());
    }
    let context = format!("more than {bytes_max} bytes");
    Err(TransportError::new(TransportErrorKind::TooLarge, Sent::Yes, context))
}

/// The clocks of a body.
///
/// The alarm is not set anew for every piece: when it goes off early, it is set again for the rest. So a busy stream
/// touches the timer once per idle timeout, not once per piece.
struct Watch {
    clock: Arc<dyn Clock>,
    idle: Duration,
    deadline: Option<Duration>,
    waiting_since: Option<Duration>,
    alarm: Option<Sleep>,
}

impl Watch {
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<TransportError> {
        let mut now = None;
        let since = match self.waiting_since {
            Some(since) => since,
            None => {
                let start = self.clock.monotonic();
                now = Some(start);
                self.waiting_since = Some(start);
                start
            }
        };
        loop {
            if let Some(alarm) = &mut self.alarm {
                ready!(alarm.as_mut().poll(cx));
                self.alarm = None;
                now = None;
            }
            let now = *now.get_or_insert_with(|| self.clock.monotonic());
            if self.deadline.is_some_and(|deadline| now >= deadline) {
                let context = "while the answer came in";
                return Poll::Ready(TransportError::new(
                    TransportErrorKind::TotalTimeout,
                    Sent::Yes,
                    context,
                ));
            }
            let idle_at = since.saturating_add(self.idle);
            if now >= idle_at {
                let context = format!("nothing for {} s", self.idle.as_secs_f64());
                return Poll::Ready(TransportError::new(TransportErrorKind::IdleTimeout, Sent::Yes, context));
            }
            let alarm_at = self.deadline.map_or(idle_at, |deadline| deadline.min(idle_at));
            self.alarm = Some(self.clock.sleep(alarm_at - now));
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Inner::Whole(bytes).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Empty => f.write_str("Body(empty)"),
            Inner::Whole(bytes) => write!(f, "Body(<{} bytes>)", bytes.len()),
            _ => f.write_str("Body(stream)"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        self.poll_chunk(cx).map(|item| item.map(|chunk| chunk.map(Frame::data)))
    }
    fn is_end_stream(&self) -> bool {
        matches!(self.inner, Inner::Empty)
    }
    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(stream) => stream.size_hint(),
            #[cfg(feature = "client")]
            Inner::Incoming(incoming) => incoming.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::SimulatedClock;

    /// A body whose pieces are given one by one, and that waits when there is none.
    struct Script(VecDeque<Option<Bytes>>);

    impl http_body::Body for Script {
        type Data = Bytes;
        type Error = TransportError;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
            match self.0.pop_front() {
                Some(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(None) => Poll::Ready(None),
                None => Poll::Pending,
            }
        }
    }

    fn script(pieces: &[&'static str]) -> Body {
        Body::stream(Script(
            pieces.iter().map(|it| Some(Bytes::from_static(it.as_bytes()))).chain([None]).collect(),
        ))
    }

    #[tokio::test]
    async fn a_body_at_its_limit_is_collected_and_one_byte_more_is_not() {
        assert_eq!(script(&["ab", "", "c"]).collect(3).await.unwrap(), "abc");
        assert_eq!(script(&["abc"]).collect(2).await.unwrap_err().kind(), TransportErrorKind::TooLarge);
        assert_eq!(script(&["ab", "c"]).collect(2).await.unwrap_err().kind(), TransportErrorKind::TooLarge);
        assert_eq!(Body::empty().collect(0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn silence_ends_a_body_at_the_idle_timeout_and_not_before() {
        let clock = SimulatedClock::new();
        let stalled = Body::stream(Script([Some(Bytes::from_static(b"a"))].into()));
        let mut body = stalled.watched(Arc::new(clock.clone()), Duration::from_secs(10), None);
        assert_eq!(body.chunk().await.unwrap().unwrap(), "a");
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(body.poll_chunk(&mut cx).is_pending());
        clock.advance(Duration::from_secs(9));
        assert!(body.poll_chunk(&mut cx).is_pending());
        clock.advance(Duration::from_secs(1));
        let Poll::Ready(Some(Err(error))) = body.poll_chunk(&mut cx) else { panic!("the stall is an error") };
        assert_eq!(error.kind(), TransportErrorKind::IdleTimeout);
        assert!(body.chunk().await.is_none(), "an error is the last item");
    }

    #[tokio::test]
    async fn the_deadline_counts_even_when_pieces_keep_coming() {
        let clock = SimulatedClock::new();
        let body = Body::stream(Script([].into()));
        let mut body =
            body.watched(Arc::new(clock.clone()), Duration::from_secs(10), Some(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(5));
        assert_eq!(body.chunk().await.unwrap().unwrap_err().kind(), TransportErrorKind::TotalTimeout);
    }
}
