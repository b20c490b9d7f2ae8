//! Answers and errors in the shapes that Google's services give them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use serde_json::{Value, json};
use vertex_chat_transport::{Body, Clock, Response, Sent, Sleep, TransportError, TransportErrorKind};

/// A JSON document.
pub(crate) fn json_reply(status: StatusCode, value: &Value) -> Response {
    raw_reply(status, "application/json; charset=UTF-8", value.to_string())
}

pub(crate) fn raw_reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

/// An error of a Google service.
#[derive(Debug)]
pub(crate) struct GoogleError {
    pub(crate) status: StatusCode,
    pub(crate) word: &'static str,
    pub(crate) message: String,
    /// What programs read, each an object with a `@type`.
    details: Vec<Value>,
}

impl GoogleError {
    pub(crate) fn new(status: u16, word: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).expect("because the emulator knows its statuses");
        Self { status, word, message: message.into(), details: Vec::new() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "INVALID_ARGUMENT", message)
    }

    /// There is no room for more requests now.
    pub(crate) fn exhausted() -> Self {
        Self::new(
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again later. Please refer to \
             https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        )
    }

    /// With a reason of Vertex's.
    pub(crate) fn with_reason(self, reason: &'static str) -> Self {
        self.with_detail(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": {
                "service": "aiplatform.googleapis.com",
                "method": "google.cloud.aiplatform.v1.PredictionService.ChatCompletions",
            },
        }))
    }

    pub(crate) fn with_detail(mut self, detail: Value) -> Self {
        self.details.push(detail);
        self
    }

    fn object(&self) -> Value {
        let mut error = json!({"code": self.status.as_u16(), "message": self.message, "status": self.word});
        if !self.details.is_empty() {
            error["details"] = json!(self.details);
        }
        json!({"error": error})
    }

    /// As chat completions give it: behind it is a server-streaming method, so the error is an array of one.
    pub(crate) fn array_reply(&self) -> Response {
        json_reply(self.status, &json!([self.object()]))
    }

    /// As every other method gives it.
    pub(crate) fn object_reply(&self) -> Response {
        json_reply(self.status, &self.object())
    }
}

/// Google's page for a path that is not there.
pub(crate) fn not_found_page(path: &str) -> Response {
    let path: String = path.chars().filter(|it| !"<>&\"'".contains(*it)).collect();
    let page = format!(
        "<!DOCTYPE html>\n<html lang=en>\n<title>Error 404 (Not Found)!!1</title>\n<p><b>404.</b> <ins>That’s an error.</ins>\n<p>The requested URL <code>{path}</code> was not found on this server.\n"
    );
    raw_reply(StatusCode::NOT_FOUND, "text/html; charset=UTF-8", page)
}

/// One step of a streamed body.
pub(crate) enum Piece {
    Bytes(Bytes),
    Wait(Duration),
    /// The connection is closed without the end of the body.
    Cut,
    /// Silence, for ever.
    Stall,
}

/// A body that goes through pieces one by one.
pub(crate) struct Pieces {
    pieces: VecDeque<Piece>,
    clock: Arc<dyn Clock>,
    waiting: Option<Sleep>,
    flushed: bool,
}

impl Pieces {
    pub(crate) fn body(pieces: impl Into<VecDeque<Piece>>, clock: Arc<dyn Clock>) -> Body {
        Body::stream(Self { pieces: pieces.into(), clock, waiting: None, flushed: false })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(cx));
                self.waiting = None;
            }
            match self.pieces.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Piece::Wait(time)) => self.waiting = Some(self.clock.sleep(time)),
                // What came before is to arrive: the server flushes when there is nothing to be had.
                Some(Piece::Cut) if !self.flushed => {
                    self.flushed = true;
                    self.pieces.push_front(Piece::Cut);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Piece::Cut) => {
                    let cut =
                        TransportError::new(TransportErrorKind::Interrupted, Sent::Yes, "as the script says");
                    return Poll::Ready(Some(Err(cut)));
                }
                Some(Piece::Stall) => {
                    self.pieces.push_front(Piece::Stall);
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The beginning of an answer, up to so many bytes of its body, and what comes in place of the rest.
pub(crate) async fn in_part(
    response: Response,
    limit: impl FnOnce(usize) -> usize,
    last: Piece,
    clock: Arc<dyn Clock>,
) -> Response {
    let (head, body) = response.into_parts();
    let whole = body.collect(usize::MAX).await.unwrap_or_default();
    let part = whole.slice(..limit(whole.len()).min(whole.len()));
    Response::from_parts(head, Pieces::body([Piece::Bytes(part), last], clock))
}

/// A streamed answer's head.
pub(crate) fn event_stream(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
    response
}
