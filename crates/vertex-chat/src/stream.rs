//! A streamed answer: bytes, events, chunks, and whether it came to its end.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_core::Stream;
use tracing::Span;
use vertex_chat_sse::{Decoder, Item, Unfinished};
use vertex_chat_transport::{Body, Clock, Sent, Sleep, TransportError, TransportErrorKind, is_json};
use vertex_chat_types::{
    Accumulator, ApiError, ChatCompletion, ChatCompletionChunk, Choice, FinishHold, Progress, StrayText,
    StreamEvent,
};

use crate::Error;
use crate::client::{COMPLETION_BYTES_MAX, read_completion, record, record_error};
use crate::response::{Meta, Response, name_back, name_chunk_back};

/// How long the end of the body is waited for after `[DONE]`. It is mostly there already, and taking it lets the
/// connection be used again; a server that keeps it back does not keep the caller.
pub const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// A streamed answer.
///
/// ```
/// # use vertex_chat::{Accumulator, ChatStream, ChatCompletion};
/// # async fn show(mut stream: ChatStream) -> Result<ChatCompletion, Box<dyn std::error::Error>> {
/// let mut whole = Accumulator::new();
/// while let Some(chunk) = stream.next().await {
///     let chunk = chunk?;
///     print!("{}", chunk.text());
///     whole.push(chunk)?;
/// }
/// Ok(whole.into_completion())
/// # }
/// ```
///
/// An answer is complete when the server said `[DONE]`, or said of every choice why it ended; then the stream ends with
/// `None`. Otherwise its last item is an error, and after an error there is nothing more. It is pulled, not pushed:
/// nothing is read ahead of whoever asks.
///
/// # Cancel safety
///
/// [`next`](Self::next) loses nothing when its future is dropped. Dropping the stream gives up the request.
pub struct ChatStream {
    body: Body,
    meta: Meta,
    span: Span,
    clock: Arc<dyn Clock>,
    decoder: Decoder,
    /// What was read and not yet decoded.
    input: Bytes,
    mode: Mode,
    /// Text outside of events.
    stray: StrayText,
    seen: Seen,
    /// Finish reasons that may come too early.
    ends: FinishHold<()>,
    /// What goes to the caller before more is read.
    ready: VecDeque<ChatCompletionChunk>,
}

enum Mode {
    /// Events are coming.
    Events,
    /// The server answers with one JSON document instead.
    Whole(Vec<u8>),
    /// There is nothing more but this error.
    Failing(Error),
    /// The answer is complete; the end of the body is not there yet.
    Draining(Option<Sleep>),
    Ended,
}

/// What has been seen of the answer.
#[derive(Default)]
struct Seen {
    chunks: u64,
    progress: Progress,
    /// What the span is told in the end.
    summary: ChatCompletion,
}

impl Seen {
    fn note(&mut self, chunk: &ChatCompletionChunk, keep: bool) {
        self.chunks += 1;
        if keep {
            let newly = |it: &&vertex_chat_types::ChunkChoice| {
                it.finish_reason.is_value() && !self.progress.has_ended(it.index.unwrap_or(0))
            };
            for choice in chunk.choices.iter().filter(newly) {
                let mut ended = Choice::default();
                ended.finish_reason = choice.finish_reason.clone();
                self.summary.choices.push(ended);
            }
        }
        self.progress.note(chunk);
        if keep {
            self.summary.id = self.summary.id.take().or_else(|| chunk.id.clone());
            self.summary.model = self.summary.model.take().or_else(|| chunk.model.clone());
            if let Some(usage) = &chunk.usage {
                self.summary.usage = Some((**usage).clone());
            }
        }
    }
}

impl ChatStream {
    pub(crate) fn new(body: Body, meta: Meta, span: Span, clock: Arc<dyn Clock>) -> Self {
        let mode = if is_json(&meta.headers) { Mode::Whole(Vec::new()) } else { Mode::Events };
        Self {
            body,
            meta,
            span,
            clock,
            decoder: Decoder::new(),
            input: Bytes::new(),
            mode,
            stray: StrayText::default(),
            seen: Seen::default(),
            ends: FinishHold::default(),
            ready: VecDeque::new(),
        }
    }

    /// The next piece; `None` when the answer is complete.
    ///
    /// # Errors
    /// [`Truncated`](crate::ErrorKind::Truncated) when the connection ended before the answer did,
    /// [`Api`](crate::ErrorKind::Api) when the server failed in the middle, and those of the connection.
    pub async fn next(&mut self) -> Option<Result<ChatCompletionChunk, Error>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The rest of the stream, put together to the completion that [`Client::chat`](crate::Client::chat) would have
    /// given.
    ///
    /// # Errors
    /// As [`next`](Self::next), and when the answer is larger than what
    /// [`Accumulator`] holds.
    pub async fn collect(mut self) -> Result<Response<ChatCompletion>, Error> {
        let mut whole = Accumulator::new();
        while let Some(chunk) = self.next().await {
            whole.push(chunk?).map_err(|error| self.failure(Error::too_large(error)))?;
        }
        Ok(Response::new(whole.into_completion(), self.meta))
    }

    /// What came with the head of the answer.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ChatCompletionChunk, Error>>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(chunk)));
            }
            match &mut self.mode {
                Mode::Ended => return Poll::Ready(None),
                Mode::Failing(_) => {
                    let Mode::Failing(error) = std::mem::replace(&mut self.mode, Mode::Ended) else {
                        continue;
                    };
                    self.body = Body::empty();
                    let error = self.failure(error);
                    record_error(&self.span, &error);
                    return Poll::Ready(Some(Err(error)));
                }
                Mode::Draining(alarm) => {
                    let ended = match self.body.poll_chunk(cx) {
                        // What comes after the end is not part of the answer.
                        Poll::Ready(Some(Ok(_))) => continue,
                        Poll::Ready(_) => true,
                        Poll::Pending => alarm
                            .get_or_insert_with(|| self.clock.sleep(DRAIN_TIMEOUT))
                            .as_mut()
                            .poll(cx)
                            .is_ready(),
                    };
                    if !ended {
                        return Poll::Pending;
                    }
                    self.body = Body::empty();
                    self.mode = Mode::Ended;
                }
                Mode::Events => {
                    if let Some(step) = self.decode() {
                        match step {
                            Step::Chunk(chunk) => {
                                if let Some(chunk) = self.take(chunk) {
                                    return Poll::Ready(Some(Ok(chunk)));
                                }
                            }
                            Step::Done => self.end(true),
                            Step::Fail(error) => self.mode = Mode::Failing(error),
                        }
                        continue;
                    }
                    match self.body.poll_chunk(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Some(Ok(bytes))) => self.input = bytes,
                        // How the connection ends does not matter once every choice has.
                        Poll::Ready(Some(Err(_))) if self.seen.progress.is_finished() => self.end(false),
                        Poll::Ready(Some(Err(error))) => {
                            self.mode = Mode::Failing(Error::transport("reading the answer", error));
                        }
                        Poll::Ready(None) => {
                            if let Some(chunk) = self.take_unfinished().and_then(|it| self.take(it)) {
                                return Poll::Ready(Some(Ok(chunk)));
                            }
                            if matches!(self.mode, Mode::Events) {
                                self.end(false);
                            }
                        }
                    }
                }
                Mode::Whole(whole) => match self.body.poll_chunk(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(bytes))) if whole.len() + bytes.len() <= COMPLETION_BYTES_MAX => {
                        whole.extend_from_slice(&bytes);
                    }
                    Poll::Ready(Some(Ok(_))) => {
                        let message = format!("the answer is larger than {COMPLETION_BYTES_MAX} bytes");
                        let error = TransportError::new(TransportErrorKind::TooLarge, Sent::Yes, message);
                        self.mode = Mode::Failing(Error::transport("reading the answer", error));
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.mode = Mode::Failing(Error::transport("reading the answer", error));
                    }
                    Poll::Ready(None) => match read_completion(whole) {
                        Ok(mut completion) => {
                            name_back(self.meta.report().function_names(), &mut completion);
                            record(&self.span, &completion);
                            self.mode = Mode::Ended;
                            return Poll::Ready(Some(Ok(completion.into())));
                        }
                        Err(error) => self.mode = Mode::Failing(error),
                    },
                },
            }
        }
    }

    /// Takes a chunk, and gives it back if it goes to the caller as it is and alone.
    fn take(&mut self, mut chunk: ChatCompletionChunk) -> Option<ChatCompletionChunk> {
        name_chunk_back(self.meta.report().function_names(), &mut chunk);
        if self.ends.note(&chunk) {
            return Some(chunk);
        }
        let mut reasons = chunk.choices.iter().filter_map(|it| it.finish_reason.get());
        if let Some(reason) = reasons.find(|it| it.is_failure()) {
            self.mode = Mode::Failing(Error::failed(reason));
            return None;
        }
        for (chunk, _) in self.ends.push(chunk, ()) {
            self.give(chunk);
        }
        None
    }

    /// Lays a chunk ready, its finish reasons in OpenAI's words.
    fn give(&mut self, mut chunk: ChatCompletionChunk) {
        // A word for a failure has become an error before.
        let _ = chunk.use_openai_finish_reasons(|it| self.ends.has_called(it));
        self.ready.push_back(chunk);
    }

    /// The next thing in what was read; `None` when more has to be read.
    fn decode(&mut self) -> Option<Step> {
        loop {
            let mut rest = &self.input[..];
            let before = rest.len();
            let item = match self.decoder.next(&mut rest) {
                Ok(item) => item,
                Err(error) => return Some(Step::Fail(Error::too_large(error))),
            };
            let taken = before - rest.len();
            let step = match item {
                None => {
                    self.input.advance(taken);
                    return None;
                }
                Some(Item::Event(event)) => match StreamEvent::read(&event.event, &event.data) {
                    Ok(StreamEvent::Chunk(chunk)) => {
                        self.seen.note(&chunk, !self.span.is_disabled());
                        Some(Step::Chunk(chunk))
                    }
                    Ok(StreamEvent::Done) => Some(Step::Done),
                    Ok(StreamEvent::Error(api)) => Some(Step::Fail(failed_midway(api))),
                    Ok(_) => None,
                    Err(error) => Some(Step::Fail(Error::unreadable_json("an event is not a chunk", error))),
                },
                Some(Item::Stray(line)) => {
                    self.stray.push(&line);
                    self.stray.error().map(failed_midway).map(Step::Fail)
                }
                Some(_) => None,
            };
            self.input.advance(taken);
            if step.is_some() {
                return step;
            }
        }
    }

    /// What the end of the body left in the decoder: a last event without its blank line is still a piece of the answer.
    fn take_unfinished(&mut self) -> Option<ChatCompletionChunk> {
        let Unfinished { data, stray, .. } = self.decoder.finish();
        if let Some(line) = stray {
            self.stray.push(&line);
        }
        match StreamEvent::read("", &data?) {
            Ok(StreamEvent::Chunk(chunk)) => {
                self.seen.note(&chunk, !self.span.is_disabled());
                return Some(chunk);
            }
            Ok(StreamEvent::Done) => self.end(true),
            Ok(StreamEvent::Error(api)) => {
                self.mode = Mode::Failing(failed_midway(api));
            }
            // Half an event: the end will say that the answer is not whole.
            _ => {}
        }
        None
    }

    /// The end: of the body, or by the server's word. Is it the answer's?
    fn end(&mut self, done: bool) {
        self.mode = if let Some(api) = self.stray.error() {
            Mode::Failing(failed_midway(api))
        } else if !self.seen.progress.has_begun() && (done || self.seen.chunks > 0) {
            Mode::Failing(Error::no_choices(None))
        } else if done || self.seen.progress.is_finished() {
            record(&self.span, &self.seen.summary);
            for (chunk, _) in self.ends.finish() {
                self.give(chunk);
            }
            if done { Mode::Draining(None) } else { Mode::Ended }
        } else if self.seen.chunks == 0 && !self.stray.is_empty() {
            Mode::Failing(Error::unreadable("the answer is not an event stream"))
        } else {
            Mode::Failing(Error::truncated(
                "the stream ended before the answer did: it is not the whole answer",
            ))
        };
    }

    fn failure(&self, error: Error) -> Error {
        // An error in the middle of a stream may name a status; the head of the answer was a success.
        let status = error.status().unwrap_or(self.meta.status);
        let error = error.with_head(status, self.meta.headers.clone());
        error
            .with_attempts(self.meta.attempts)
            .with_resent(self.meta.resent)
            .with_received_chunks(self.seen.chunks)
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly every step is a chunk; a box would cost each of them an allocation"
)]
enum Step {
    Chunk(ChatCompletionChunk),
    Done,
    Fail(Error),
}

fn failed_midway(api: ApiError) -> Error {
    Error::api("the server failed in the middle", api)
}

impl Stream for ChatStream {
    type Item = Result<ChatCompletionChunk, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_chunk(cx)
    }
}

impl fmt::Debug for ChatStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatStream")
            .field("meta", &self.meta)
            .field("chunks", &self.seen.chunks)
            .field("ended", &matches!(self.mode, Mode::Ended))
            .finish_non_exhaustive()
    }
}
