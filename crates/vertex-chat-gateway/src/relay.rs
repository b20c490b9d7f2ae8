//! A stream on its way through: events in, repaired events out, one after the other and as they come.
//!
//! Most events of a stream differ from the one before in their text alone. So the first of them is read, repaired and
//! written, and remembered as a [`Template`]: those that follow get the text put into the written form, and where there
//! was nothing to repair the bytes are handed on as they lie.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use memchr::memmem;
use vertex_chat::DRAIN_TIMEOUT;
use vertex_chat_sse::{Decoder, Item, encode};
use vertex_chat_transport::{Body, BodyPermit, Clock, Sleep, TransportError, within};
use vertex_chat_types::{
    ChatCompletion, ChatCompletionChunk, Content, FinishHold, FinishReason, Progress, StrayText, StreamEvent,
};

use crate::call::Call;
use crate::chat::too_much_of_an_answer;
use crate::fault::Fault;
use crate::heavy::in_place;
use crate::repair::{Repair, Repairer};
use crate::weight::weigh;

const DONE: &[u8] = b"data: [DONE]\n\n";
/// After how many bytes what is there is written, also while more comes.
const WRITE_BYTES_MAX: usize = 32 << 10;
/// So much of an answer may lie in a connection without being counted as memory for bodies.
pub(crate) const UNCOUNTED_BYTES_MAX: usize = WRITE_BYTES_MAX;
/// How often the upstream's connection is let go when it has nothing, before what is there is written. hyper's server polls
/// a body once more by itself, so that the first time is none.
const ROUNDS_MAX: u8 = 2;
/// A comment: clients pass it over, and whatever cuts silent connections sees that this one is not.
pub(crate) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// The body of a streamed answer.
pub(crate) struct Relay {
    upstream: Body,
    decoder: Decoder,
    /// Whether the decoder stands between two events.
    is_between: bool,
    work: Work,
    /// For what of the answer lies here, once it is much.
    permit: BodyPermit,
    clock: Arc<dyn Clock>,
    keep_alive: Duration,
    last_word: Duration,
    alarm: Option<Sleep>,
    /// How often the upstream's connection has been let go since it had something.
    rounds: u8,
    has_written: bool,
}

/// What is done with events.
struct Work {
    repairer: Repairer,
    progress: Progress,
    /// Ends of choices, each with the text that it was read from.
    ends: FinishHold<Option<String>>,
    stray: StrayText,
    template: Option<Template>,
    out: BytesMut,
    /// Whether the answer is over, well or not.
    is_over: bool,
    /// Why there was no answer, when nothing of it had been said yet.
    fault: Option<Fault>,
    /// Whether the client has been told anything.
    has_spoken: bool,
    chunks: u64,
    call: Call,
}

impl Relay {
    pub(crate) fn new(
        upstream: Body,
        repairer: Repairer,
        call: Call,
        clock: Arc<dyn Clock>,
        keep_alive: Duration,
    ) -> Self {
        let last_word = clock.monotonic();
        let permit = call.bodies().permit();
        let work = Work {
            repairer,
            progress: Progress::default(),
            ends: FinishHold::default(),
            stray: StrayText::default(),
            template: None,
            out: BytesMut::new(),
            is_over: false,
            fault: None,
            has_spoken: false,
            chunks: 0,
            call,
        };
        Self {
            upstream,
            decoder: Decoder::new(),
            is_between: true,
            work,
            permit,
            clock,
            keep_alive,
            last_word,
            alarm: None,
            rounds: 0,
            has_written: false,
        }
    }

    /// For a server whose finish reasons come last: none is taken from a chunk that has a text too.
    pub(crate) fn with_ends_in_place(mut self) -> Self {
        self.work.ends = FinishHold::of_ends_alone();
        self
    }

    /// A whole answer as a stream.
    pub(crate) fn of_whole(
        completion: ChatCompletion,
        repairer: Repairer,
        call: Call,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut relay = Self::new(Body::empty(), repairer, call, clock, Duration::MAX);
        relay.work.repairer.count(Repair::WholeAsStream);
        let chunk = ChatCompletionChunk::from(completion);
        relay.work.chunk(chunk, None);
        if !relay.work.is_over {
            relay.work.end(true);
        }
        relay
    }

    /// Waits until there is something to say. What goes wrong before is given back with the call, for another try or an answer
    /// of its own.
    pub(crate) async fn first(mut self) -> Result<Self, (Fault, Call)> {
        let mut since = None;
        std::future::poll_fn(|cx| {
            let now = self.work.call.elapsed();
            if let Some(since) = since.take() {
                self.work.call.has_waited(now.saturating_sub(since));
            }
            // A chunk without a choice, as Azure's first, is no answer yet.
            let waits =
                |work: &Work| !work.is_over && !work.progress.has_begun() && work.out.len() < WRITE_BYTES_MAX;
            while waits(&self.work) {
                if self.poll_upstream(cx).is_pending() {
                    since = Some(now);
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
        self.work.has_spoken = true;
        match self.work.fault.take() {
            Some(fault) => Err((fault, self.work.call)),
            None => Ok(self),
        }
    }

    pub(crate) fn call(&mut self) -> &mut Call {
        &mut self.work.call
    }

    /// Works until there is output, or the answer is over.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.work.out.is_empty() && !self.work.is_over {
            if self.poll_upstream(cx).is_pending() {
                return self.poll_keep_alive(cx);
            }
        }
        Poll::Ready(())
    }

    /// Takes the next that the upstream has.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.upstream.poll_chunk(cx) {
            Poll::Ready(Some(Ok(bytes))) => self.take(&bytes),
            // How the connection ends does not matter once every choice has.
            Poll::Ready(Some(Err(_))) if self.work.progress.is_finished() => self.work.end(false),
            Poll::Ready(Some(Err(error))) => self.work.fail(Fault::broken_off(&error)),
            Poll::Ready(None) => self.upstream_ended(),
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(())
    }

    fn poll_keep_alive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(alarm) = &mut self.alarm {
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.alarm = None;
                let now = self.clock.monotonic();
                if now.saturating_sub(self.last_word) >= self.keep_alive {
                    self.last_word = now;
                    self.work.has_spoken = true;
                    self.work.out.extend_from_slice(KEEP_ALIVE);
                    return Poll::Ready(());
                }
            }
            // Not set anew for every event: when it goes off early, it is set again for the rest.
            let silent = self.clock.monotonic().saturating_sub(self.last_word);
            self.alarm = Some(self.clock.sleep(self.keep_alive.saturating_sub(silent)));
        }
    }

    /// Takes what was read.
    fn take(&mut self, input: &[u8]) {
        let (mut at, mut as_it_is) = (0, 0);
        while at < input.len() && !self.work.is_over {
            if self.is_between {
                let met = self.work.template.as_ref().and_then(|it| it.meet(&input[at..]));
                if let (Some((text, end)), Some(template)) = (met, &self.work.template) {
                    self.work.chunks += 1;
                    if !template.is_unchanged {
                        template.write(&mut self.work.out, &input[at + text.start..at + text.end]);
                        as_it_is = at + end;
                    }
                    at += end;
                    continue;
                }
            }
            self.work.out.extend_from_slice(&input[as_it_is..at]);
            let mut rest = &input[at..];
            self.is_between = match self.decoder.next(&mut rest) {
                Ok(Some(Item::Event(event))) => {
                    in_place(event.data.len(), || self.work.event(&event.event, &event.data));
                    true
                }
                Ok(Some(Item::Stray(line))) => {
                    self.work.stray.push(&line);
                    if let Some(api) = self.work.stray.error() {
                        self.work.fail(Fault::of_midway(&api));
                    }
                    false
                }
                Ok(_) => false,
                Err(error) => {
                    self.work.fail(Fault::upstream("upstream_unreadable", error.to_string()));
                    false
                }
            };
            at = input.len() - rest.len();
            as_it_is = at;
        }
        self.work.out.extend_from_slice(&input[as_it_is..at]);
        self.count();
        if self.work.is_over {
            self.leave_upstream();
        }
    }

    /// Counts what lies here as memory for bodies. Where there is no room for it, the answer is over.
    fn count(&mut self) {
        if self.work.is_over {
            // What is left is the end of what was counted.
            return;
        }
        let lies = self.decoder.buffered_bytes() + self.work.out.len();
        let counted = if lies > UNCOUNTED_BYTES_MAX { lies } else { 0 };
        if let Err(room) = self.permit.resize(counted) {
            self.decoder = Decoder::new();
            self.work.out.clear();
            self.work.fail(Fault::no_room(room, "the answer"));
        }
    }

    fn upstream_ended(&mut self) {
        let left = self.decoder.finish();
        if let Some(line) = left.stray {
            self.work.stray.push(&line);
        }
        if let Some(data) = left.data {
            // An event whose blank line did not come is an event if it can be read, and else the cut that it looks like.
            if StreamEvent::read("", &data).is_ok() {
                self.work.event("", &data);
            }
        }
        if !self.work.is_over {
            self.work.end(false);
        }
    }

    /// The answer is over; what is left of the upstream's body is mostly its end, and taking it lets the connection be used
    /// again. The client does not wait for that.
    fn leave_upstream(&mut self) {
        let mut body = std::mem::take(&mut self.upstream);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if self.work.fault.is_some() || matches!(body.poll_chunk(&mut cx), Poll::Ready(None | Some(Err(_)))) {
            return;
        }
        let clock = Arc::clone(&self.clock);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                within(&clock, DRAIN_TIMEOUT, async { while let Some(Ok(_)) = body.chunk().await {} }).await;
            });
        }
    }
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        self.work.has_spoken = true;
        if self.poll_work(cx).is_pending() {
            return Poll::Pending;
        }
        // The connection hands its pieces over one by one, in a task of its own. It is let go once more before what is there
        // is written: what comes in a burst is then written in few writes, which cost more than all else.
        // The first is not kept: it goes out in one write with the head.
        let is_first = !std::mem::replace(&mut self.has_written, true);
        while !is_first && !self.work.is_over && self.work.out.len() < WRITE_BYTES_MAX {
            if self.poll_upstream(cx).is_ready() {
                self.rounds = 0;
            } else if self.rounds < ROUNDS_MAX {
                self.rounds += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            } else {
                break;
            }
        }
        self.rounds = 0;
        if self.work.out.is_empty() {
            return Poll::Ready(None);
        }
        if self.alarm.is_some() {
            self.last_word = self.clock.monotonic();
        }
        let frame = self.work.out.split().freeze();
        if self.permit.bytes() == 0 {
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        let permit = self.permit.split(frame.len());
        Poll::Ready(Some(Ok(Frame::data(permit.bind(frame)))))
    }

    fn is_end_stream(&self) -> bool {
        self.work.is_over && self.work.out.is_empty()
    }
}

impl Work {
    fn event(&mut self, kind: &str, data: &str) {
        if weigh(data.as_bytes()).is_err() {
            return self.fail(too_much_of_an_answer());
        }
        match StreamEvent::read(kind, data) {
            Ok(StreamEvent::Chunk(chunk)) => self.chunk(chunk, Some(data)),
            Ok(StreamEvent::Done) => self.end(true),
            Ok(StreamEvent::Error(api)) => self.fail(Fault::of_midway(&api)),
            Ok(_) => {}
            Err(error) => {
                let message = format!("the model's server sent an event that is not a chunk: {error}");
                self.fail(Fault::upstream("upstream_unreadable", message));
            }
        }
    }

    /// Takes a chunk, and the text that it was read from.
    fn chunk(&mut self, chunk: ChatCompletionChunk, data: Option<&str>) {
        let mut reasons = chunk.choices.iter().filter_map(|it| it.finish_reason.get());
        if let Some(reason) = reasons.find(|it| it.is_failure()) {
            self.fail(failed_answer(reason));
            return;
        }
        let had_role = self.progress.has_begun();
        self.progress.note(&chunk);
        if self.chunks == 0 {
            self.call.first_token();
        }
        self.chunks += 1;
        if self.ends.note(&chunk) || !self.repairer.holds_finish_reasons() {
            return self.write(chunk, data, had_role);
        }
        // An end may be held, and then no event may pass unread.
        self.template = None;
        for (chunk, data) in self.ends.push(chunk, data.map(str::to_owned)) {
            if data.is_none() {
                self.repairer.count(Repair::FinishReason);
            }
            self.write(chunk, data.flatten().as_deref(), false);
        }
    }

    /// Writes a chunk in OpenAI's shape.
    fn write(&mut self, mut chunk: ChatCompletionChunk, data: Option<&str>, had_role: bool) {
        let changed = self.repairer.chunk(&mut chunk, data.unwrap_or_default());
        if let Some(what) = self.repairer.too_many {
            let message = format!("the model's server sent too many {what} in one answer: more than 128");
            self.fail(Fault::upstream("upstream_too_large", message));
            return;
        }
        let from = self.out.len();
        match (changed, data) {
            (None, _) => return,
            (Some(false), Some(data)) => write_event(&mut self.out, data),
            _ => {
                write_event(&mut self.out, &chunk.to_json());
            }
        }
        self.template = match data {
            Some(data) if had_role && !self.repairer.reads_text() && is_text_only(&chunk) => {
                Template::of(data, &self.out[from..], changed == Some(false), &chunk)
            }
            _ => None,
        };
    }

    /// The end: of the upstream's body, or by its word. Is it the answer's?
    fn end(&mut self, done: bool) {
        if let Some(api) = self.stray.error() {
            self.fail(Fault::of_midway(&api));
        } else if !self.progress.has_begun() && (done || self.chunks > 0) {
            self.fail(no_choices());
        } else if done || self.progress.is_finished() {
            for (chunk, data) in self.ends.finish() {
                self.write(chunk, data.flatten().as_deref(), false);
            }
            for chunk in self.repairer.last_chunks() {
                write_event(&mut self.out, &chunk.to_json());
            }
            if done || self.repairer.count(Repair::Done) {
                self.out.extend_from_slice(DONE);
            }
            self.over(None);
        } else if self.chunks == 0 {
            let message = if self.stray.is_empty() {
                "the model's server ended the connection without an answer"
            } else {
                "the model's server answered with something that is no event stream"
            };
            self.fail(Fault::upstream("upstream_unreadable", message));
        } else {
            let message = "the model's answer broke off: what came is not the whole answer";
            self.fail(Fault::upstream("upstream_truncated", message));
        }
    }

    fn fail(&mut self, fault: Fault) {
        if self.is_over {
            return;
        }
        if self.has_spoken {
            write_event(&mut self.out, &fault.to_json());
            self.over(Some(&fault));
        } else {
            // What lies ready has not been told: the status can still say it, and another server may do better.
            self.out.clear();
            self.is_over = true;
            self.fault = Some(fault);
        }
    }

    fn over(&mut self, fault: Option<&Fault>) {
        self.is_over = true;
        self.call.end_of_stream(&self.repairer, fault);
    }
}

/// An answer that failed by its own word, such as a tool call that cannot be read: worth asking again, and no answer.
pub(crate) fn failed_answer(reason: &FinishReason) -> Fault {
    let word = reason.shown();
    let message = format!("the model's answer failed, with the finish reason {word}; ask again");
    let is_call = word.to_ascii_lowercase().replace('_', "").contains("call");
    Fault::upstream(if is_call { "malformed_function_call" } else { "upstream_failed" }, message)
}

/// An answer without a choice.
pub(crate) fn no_choices() -> Fault {
    let message = "the model's server answered without a choice, as it does when it blocks a prompt; change the prompt or the \
                   safety settings";
    Fault::upstream("no_choices", message)
}

fn write_event(out: &mut BytesMut, data: &str) {
    if data.contains(['\n', '\r']) {
        let mut event = Vec::new();
        encode(&mut event, data);
        out.extend_from_slice(&event);
        return;
    }
    out.reserve(data.len() + b"data: \n\n".len());
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// Whether a chunk adds text to one choice, and does nothing else.
fn is_text_only(chunk: &ChatCompletionChunk) -> bool {
    let [choice] = chunk.choices.as_slice() else { return false };
    let Some(delta) = &choice.delta else { return false };
    chunk.usage.is_none()
        && !choice.finish_reason.is_value()
        && !choice.logprobs.is_value()
        && delta.role.is_none()
        && delta.tool_calls.is_none()
        && delta.function_call.is_none()
        && delta.extra_content.is_none()
        && delta.reasoning_content.is_none()
        && !delta.refusal.is_value()
        && matches!(delta.content.get(), Some(Content::Text(text)) if !text.is_empty())
}

/// The form of an event and of what becomes of it, but for the text. An event that fits says the same of everything else,
/// so the same becomes of it.
struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
    new_before: Vec<u8>,
    new_after: Vec<u8>,
    is_unchanged: bool,
}

impl Template {
    /// Of an event's data, and what was written for it.
    fn of(data: &str, written: &[u8], is_unchanged: bool, chunk: &ChatCompletionChunk) -> Option<Self> {
        let delta = chunk.choices.first()?.delta.as_ref()?;
        let Some(Content::Text(text)) = delta.content.get() else { return None };
        if data.contains(['\n', '\r']) {
            return None;
        }
        let event = [b"data: ", data.as_bytes(), b"\n\n"].concat();
        let (before, after) = around(&event, text.as_bytes())?;
        let (new_before, new_after) = around(written, text.as_bytes())?;
        Some(Self {
            before: before.to_vec(),
            after: after.to_vec(),
            new_before: new_before.to_vec(),
            new_after: new_after.to_vec(),
            is_unchanged,
        })
    }

    /// Where in the input the text of an event of this form is, and where the event ends.
    fn meet(&self, input: &[u8]) -> Option<(std::ops::Range<usize>, usize)> {
        let rest = input.strip_prefix(self.before.as_slice())?;
        let length = text_length(rest)?;
        // An empty text may be treated differently from one that says something.
        (length > 0 && rest[length..].starts_with(&self.after)).then_some(())?;
        std::str::from_utf8(&rest[..length]).ok()?;
        let start = self.before.len();
        Some((start..start + length, start + length + self.after.len()))
    }

    fn write(&self, out: &mut BytesMut, text: &[u8]) {
        out.reserve(self.new_before.len() + text.len() + self.new_after.len());
        out.extend_from_slice(&self.new_before);
        out.extend_from_slice(text);
        out.extend_from_slice(&self.new_after);
    }
}

/// What stands around the text of `content`; `None` when that cannot be told for certain.
fn around<'a>(event: &'a [u8], text: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    const KEY: &[u8] = b"\"content\":";
    let mut places = memmem::find_iter(event, KEY);
    let at = places.next()? + KEY.len();
    if places.next().is_some() {
        return None;
    }
    let spaces = event[at..].iter().take_while(|it| **it == b' ').count();
    let start = at + spaces + 1;
    (event.get(start - 1) == Some(&b'"')).then_some(())?;
    let length = text_length(&event[start..])?;
    // A text with escapes is not the text that was read; the next one may have none.
    (&event[start..start + length] == text).then(|| (&event[..start], &event[start + length..]))
}

/// How long a JSON string's inside is; `None` when it is not sound, or has an escape that a reader has to look at.
fn text_length(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at),
            b'\\' => match text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                _ => return None,
            },
            ..0x20 => return None,
            _ => at += 1,
        }
    }
}
