//! What of an answer was given when: its body, with an eye on it for the log.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use vertex_chat_transport::{Body, Response, TransportError};

use crate::Emulator;
use crate::log::LogEntry;

/// What is known of an answer before its body is given; it is in the response's extensions.
#[derive(Clone, Default)]
pub(crate) struct Course {
    /// What is to be seen in the body, in order.
    pub(crate) marks: VecDeque<Mark>,
    /// How long the body is, where it is to be given whole.
    pub(crate) bytes: Option<u64>,
    /// The place that the request has among those that are worked on at once.
    pub(crate) place: Option<Arc<OwnedSemaphorePermit>>,
}

/// Something in a body.
#[derive(Clone)]
pub(crate) struct Mark {
    /// How many bytes have been given when it has been given.
    pub(crate) end: u64,
    /// Whether it has text or a call.
    pub(crate) is_token: bool,
    pub(crate) usage: Option<Counted>,
}

/// Tokens as a usage counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    prompt: Option<u64>,
    cached: Option<u64>,
    completion: Option<u64>,
    reasoning: Option<u64>,
}

impl Counted {
    /// Reads a usage; `None` when it is null or absent.
    pub(crate) fn of(usage: &Value) -> Option<Self> {
        if !usage.is_object() {
            return None;
        }
        let number = |key: &str| usage[key].as_u64();
        let (prompt, completion) = (number("prompt_tokens"), number("completion_tokens"));
        let told_of = prompt.unwrap_or(0).saturating_add(completion.unwrap_or(0));
        let beside = number("total_tokens").map(|it| it.saturating_sub(told_of));
        let told = usage["completion_tokens_details"]["reasoning_tokens"].as_u64();
        // Google counts thinking beside the completion, everybody else in it.
        let inside = if beside == Some(0) { told.unwrap_or(0) } else { 0 };
        Some(Self {
            prompt,
            cached: usage["prompt_tokens_details"]["cached_tokens"].as_u64(),
            completion: completion.map(|it| it.saturating_sub(inside)),
            reasoning: told.or(beside),
        })
    }
}

/// A body that is watched for the log.
pub(crate) struct Observed {
    body: Body,
    emulator: Emulator,
    /// The log's entry, as far as it is known.
    entry: LogEntry,
    course: Course,
    /// How many bytes have been given.
    given: u64,
    /// When the last of them was given, or else the head.
    last: Duration,
}

impl Observed {
    /// The response, its body watched for this entry.
    pub(crate) fn response(mut response: Response, emulator: &Emulator, entry: &LogEntry) -> Response {
        let mut course = response.extensions_mut().remove::<Course>().unwrap_or_default();
        course.bytes = course.bytes.or(http_body::Body::size_hint(response.body()).exact());
        let last = entry.head.unwrap_or(entry.came);
        response.map(|body| {
            let mut observed =
                Self { body, emulator: emulator.clone(), entry: entry.clone(), course, given: 0, last };
            // Nobody looks at a body of no bytes.
            if observed.course.bytes == Some(0) {
                observed.end();
            }
            Body::stream(observed)
        })
    }

    fn give(&mut self, bytes: usize) {
        self.given = self.given.saturating_add(bytes as u64);
        let now = self.emulator.0.clock.monotonic();
        self.last = now;
        let is_first = self.entry.first_token.is_none();
        while self.course.marks.front().is_some_and(|mark| mark.end <= self.given) {
            let Some(mark) = self.course.marks.pop_front() else { break };
            if mark.is_token {
                self.entry.first_token.get_or_insert(now);
                self.entry.last_token = Some(now);
            }
            if let Some(usage) = mark.usage {
                self.entry.prompt_tokens = usage.prompt;
                self.entry.cached_tokens = usage.cached;
                self.entry.completion_tokens = usage.completion;
                self.entry.reasoning_tokens = usage.reasoning;
            }
        }
        if self.course.bytes == Some(self.given) {
            self.end();
        } else if is_first && self.entry.first_token.is_some() {
            self.write();
        }
    }

    fn is_over(&self) -> bool {
        self.entry.ended.is_some() || self.entry.cut
    }

    fn end(&mut self) {
        self.entry.ended.get_or_insert(self.last);
        self.close();
    }

    fn cut(&mut self) {
        self.entry.ended = None;
        self.entry.cut = true;
        self.close();
    }

    fn close(&mut self) {
        self.course.place = None;
        self.write();
    }

    /// Puts into the log what is known, if the entry is still there.
    fn write(&self) {
        if let Some(entry) = self.emulator.state().log.entry(self.entry.number) {
            entry.clone_from(&self.entry);
        }
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        Poll::Ready(match ready!(self.body.poll_chunk(cx)) {
            Some(Ok(bytes)) => {
                self.give(bytes.len());
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(error)) => {
                self.cut();
                Some(Err(error))
            }
            None => {
                if !self.is_over() {
                    self.end();
                }
                None
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        if !self.is_over() {
            self.write();
        }
    }
}
