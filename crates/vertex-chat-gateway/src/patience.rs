//! A stream whose answer has not begun: comments until it does.
//!
//! The head has been sent by then, so that what goes wrong is told in the stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use vertex_chat_transport::{Body, Clock, Response, Sleep, TransportError};

use crate::chat::event_stream;
use crate::gateway::REQUEST_ID;
use crate::relay::KEEP_ALIVE;

/// The body of such a stream.
pub(crate) struct Patience {
    work: Pin<Box<dyn Future<Output = Response> + Send>>,
    /// The answer, once it is there.
    answer: Option<Body>,
    /// Whether the answer is an error's, which becomes one event.
    is_error: bool,
    clock: Arc<dyn Clock>,
    keep_alive: Duration,
    alarm: Sleep,
    has_begun: bool,
}

impl Patience {
    pub(crate) fn response(
        work: Pin<Box<dyn Future<Output = Response> + Send>>,
        request_id: &str,
        clock: Arc<dyn Clock>,
        keep_alive: Duration,
    ) -> Response {
        let mut response = event_stream();
        if let Ok(id) = HeaderValue::from_str(request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let alarm = clock.sleep(keep_alive);
        let patience =
            Self { work, answer: None, is_error: false, clock, keep_alive, alarm, has_begun: false };
        *response.body_mut() = Body::stream(patience);
        response
    }
}

impl http_body::Body for Patience {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(KEEP_ALIVE)))));
        }
        loop {
            if let Some(answer) = &mut self.answer {
                let piece = ready!(answer.poll_chunk(cx));
                let is_error = self.is_error;
                return Poll::Ready(piece.map(|piece| {
                    // An error's body is one piece, without a line end in it.
                    let wrap = |bytes: Bytes| [b"data: ", &bytes[..], b"\n\n"].concat().into();
                    piece.map(|bytes| Frame::data(if is_error { wrap(bytes) } else { bytes }))
                }));
            }
            match self.work.as_mut().poll(cx) {
                Poll::Ready(response) => {
                    self.is_error = response.status() != StatusCode::OK;
                    self.answer = Some(response.into_body());
                }
                Poll::Pending => {
                    ready!(self.alarm.as_mut().poll(cx));
                    self.alarm = self.clock.sleep(self.keep_alive);
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(KEEP_ALIVE)))));
                }
            }
        }
    }
}
