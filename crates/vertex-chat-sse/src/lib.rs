//! Server-sent events over bytes: what comes off a socket becomes events, and events become bytes.
//!
//! ```
//! use vertex_chat_sse::{Decoder, Item};
//!
//! let mut decoder = Decoder::new();
//! let mut seen = Vec::new();
//! for read in [&b"data: {\"choi"[..], b"ces\":[]}\r", b"\n\r\ndata: [DONE]\n\n"] {
//!     let mut input = read;
//!     while let Some(item) = decoder.next(&mut input)? {
//!         if let Item::Event(event) = item {
//!             seen.push(event.data.to_string());
//!         }
//!     }
//! }
//! assert_eq!(seen, [r#"{"choices":[]}"#, "[DONE]"]);
//! # Ok::<(), vertex_chat_sse::LimitExceeded>(())
//! ```
//!
//! **What it is.** The event stream interpretation of the WHATWG HTML standard, section 9.2.6, as a state machine.
//! Bytes are cut into lines first and read as UTF-8 after, so that what the network did to them does not show.
//!
//! **What it is not.** It does not connect, reconnect or wait, and it does not know what the data means.
//!
//! # Beyond the standard
//!
//! A line that is no field of an event is ignored by the standard. Google's services print errors there, as bare JSON
//! after a stream has begun, so such a line comes out as [`Item::Stray`] for those who care. What is unfinished when
//! the stream ends is discarded by the standard; [`Decoder::finish`] shows it to those who care.
//!
//! # Limits
//!
//! [`EVENT_BYTES_MAX`] bounds an event and every line in it; a longer one is an error, after which the decoder gives
//! nothing more. [`STRAY_BYTES_MAX`] bounds a stray line; a longer one is cut.

mod encode;

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};

pub use encode::{encode, encode_comment, encode_named};

/// The most bytes of data in one event, and of one line of a field, by default. As much as a whole answer may have: a
/// generated picture comes in one event, and one of 4K has some 20 MB of base64.
pub const EVENT_BYTES_MAX: usize = 64 << 20;
/// The most bytes of a stray line that are kept.
pub const STRAY_BYTES_MAX: usize = 16 << 10;
/// The most bytes that an idle decoder keeps allocated after a large event.
pub const IDLE_BYTES_MAX: usize = 64 << 10;

const BOM: &[u8] = b"\xEF\xBB\xBF";
const FIELD_NAMES: [&[u8]; 4] = [b"data:", b"event:", b"id:", b"retry:"];
/// The longest of them, and the space after it.
const FIELD_NAME_BYTES_MAX: usize = "event: ".len();

/// An event.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The type; empty when the stream named none, which means `message`.
    pub event: Cow<'a, str>,
    /// The data, its lines joined by line feeds. Bytes that are no UTF-8 have become U+FFFD.
    pub data: Cow<'a, str>,
    /// The last id that the stream named, in this event or before it.
    pub last_event_id: &'a str,
}

/// What a stream gives.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// An event.
    Event(Event<'a>),
    /// A line that is no field, without its end; cut at [`STRAY_BYTES_MAX`].
    Stray(Cow<'a, str>),
}

/// What an ended stream left unfinished.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Data of an event that no blank line ended.
    pub data: Option<String>,
    /// A stray line that no line end ended.
    pub stray: Option<String>,
}

// Data is what models and people wrote: `Debug` shows how much there is.

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("event", &self.event)
            .field("data_bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Stray(line) => write!(f, "Stray(<{} bytes>)", line.len()),
        }
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished")
            .field("data_bytes", &self.data.as_ref().map(String::len))
            .field("stray_bytes", &self.stray.as_ref().map(String::len))
            .finish()
    }
}

/// An event larger than the decoder's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    bytes_max: usize,
}

impl LimitExceeded {
    /// The limit.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a server-sent event is larger than {} bytes", self.bytes_max)
    }
}

impl std::error::Error for LimitExceeded {}

/// Bytes to events.
pub struct Decoder {
    event_bytes_max: usize,
    state: State,
    /// The beginning of a line that the last input did not end.
    line: Vec<u8>,
    /// Data so far, with a line feed after every line.
    data: Vec<u8>,
    event: Vec<u8>,
    stray: Vec<u8>,
    /// Named in the block that is being read; counts once the block is ended.
    pending_id: Option<String>,
    last_event_id: String,
    retry: Option<u64>,
    /// The item given last is shown from `data`, `event` or `stray`, which are emptied before the next is begun.
    given: Option<Found>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the very beginning, where a byte order mark may stand.
    Start,
    Between,
    /// After a CR, which a LF may still belong to.
    AfterCr,
    Failed,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the beginning of a stream, with [`EVENT_BYTES_MAX`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_event_bytes_max(EVENT_BYTES_MAX)
    }

    /// A decoder with a limit of your own.
    #[must_use]
    pub fn with_event_bytes_max(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            state: State::Start,
            line: Vec::new(),
            data: Vec::new(),
            event: Vec::new(),
            stray: Vec::new(),
            pending_id: None,
            last_event_id: String::new(),
            retry: None,
            given: None,
        }
    }

    /// Takes bytes from the front of `input` until there is an item or nothing left.
    ///
    /// # Errors
    /// When an event or a line of one exceeds the limit; then and ever after. The rest of the input is left where it is.
    pub fn next<'a>(&'a mut self, input: &mut &[u8]) -> Result<Option<Item<'a>>, LimitExceeded> {
        self.forget();
        let Some(found) = self.advance(input)? else { return Ok(None) };
        self.given = Some(found);
        Ok(Some(match found {
            Found::Event => Item::Event(Event {
                event: text(&self.event),
                // One line feed was added after the last line of data.
                data: text(&self.data[..self.data.len() - 1]),
                last_event_id: &self.last_event_id,
            }),
            Found::Stray => Item::Stray(text(&self.stray)),
        }))
    }

    /// Takes lines until one makes an item, which then lies in the buffers.
    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Found>, LimitExceeded> {
        loop {
            match self.state {
                State::Failed => return Err(LimitExceeded { bytes_max: self.event_bytes_max }),
                State::Between => {}
                State::Start => {
                    if !self.skip_bom(input) {
                        return Ok(None);
                    }
                }
                State::AfterCr => {
                    let Some(first) = input.first() else { return Ok(None) };
                    if *first == b'\n' {
                        *input = &input[1..];
                    }
                    self.state = State::Between;
                }
            }
            let Some(end) = memchr2(b'\n', b'\r', input) else {
                self.keep(input)?;
                *input = &[];
                return Ok(None);
            };
            let line = &input[..end];
            if input[end] == b'\r' {
                self.state = State::AfterCr;
            }
            *input = &input[end + 1..];
            let step = if self.line.is_empty() {
                self.take_line(line)?
            } else {
                self.keep(line)?;
                let mut whole = std::mem::take(&mut self.line);
                let step = self.take_line(&whole)?;
                empty(&mut whole);
                self.line = whole;
                step
            };
            match step {
                Step::Nothing => {}
                Step::Stray => return Ok(Some(Found::Stray)),
                Step::Blank => {
                    if let Some(id) = self.pending_id.take() {
                        self.last_event_id = id;
                    }
                    if !self.data.is_empty() {
                        return Ok(Some(Found::Event));
                    }
                    self.event.clear();
                }
            }
        }
    }

    /// The reconnection time that the stream asked for last, in milliseconds.
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The last id that the stream named in an event that it ended.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Ends the stream and shows what it left unfinished. The decoder is at a beginning again.
    pub fn finish(&mut self) -> Unfinished {
        self.forget();
        let mut left = Unfinished::default();
        if matches!(self.state, State::Between | State::AfterCr) {
            let line = std::mem::take(&mut self.line);
            if let Ok(Step::Stray) = self.take_line(&line) {
                left.stray = Some(String::from_utf8_lossy(&self.stray).into_owned());
            }
            left.data = self.data.strip_suffix(b"\n").map(|data| String::from_utf8_lossy(data).into_owned());
        }
        *self = Self::with_event_bytes_max(self.event_bytes_max);
        left
    }

    /// Empties what the last item was shown from; what has come of the next event stays.
    fn forget(&mut self) {
        match self.given.take() {
            Some(Found::Event) => {
                empty(&mut self.data);
                empty(&mut self.event);
            }
            Some(Found::Stray) => empty(&mut self.stray),
            None => {}
        }
    }

    /// Skips a byte order mark; `false` while it is not yet clear whether there is one.
    fn skip_bom(&mut self, input: &mut &[u8]) -> bool {
        while self.line.len() < BOM.len() {
            let Some((&first, rest)) = input.split_first() else { return false };
            if first != BOM[self.line.len()] {
                self.state = State::Between;
                return true;
            }
            self.line.push(first);
            *input = rest;
        }
        self.line.clear();
        self.state = State::Between;
        true
    }

    /// Keeps a part of a line whose end has not come.
    fn keep(&mut self, part: &[u8]) -> Result<(), LimitExceeded> {
        if self.begins_like_field(part) {
            if self.line.len() + part.len() > self.event_bytes_max + FIELD_NAME_BYTES_MAX {
                return Err(self.fail());
            }
            self.line.extend_from_slice(part);
        } else {
            // A comment or a stray line: neither can be an error, so neither may be kept without end.
            let room = STRAY_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
        }
        Ok(())
    }

    /// Whether the line that begins with what is kept, and goes on with `part`, may turn out to be a field.
    fn begins_like_field(&self, part: &[u8]) -> bool {
        FIELD_NAMES
            .iter()
            .any(|name| self.line.iter().chain(part).zip(*name).all(|(byte, expected)| byte == expected))
    }

    fn fail(&mut self) -> LimitExceeded {
        self.state = State::Failed;
        self.line = Vec::new();
        self.data = Vec::new();
        LimitExceeded { bytes_max: self.event_bytes_max }
    }

    /// Takes a whole line, without its end.
    fn take_line(&mut self, line: &[u8]) -> Result<Step, LimitExceeded> {
        if let Some(value) = line.strip_prefix(b"data:") {
            return self.add_data(value.strip_prefix(b" ").unwrap_or(value));
        }
        if line.is_empty() {
            return Ok(Step::Blank);
        }
        let (name, value) = match memchr(b':', line) {
            Some(0) => return Ok(Step::Nothing),
            Some(colon) => {
                (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"data" => return self.add_data(value),
            b"event" => {
                if value.len() > self.event_bytes_max {
                    return Err(self.fail());
                }
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            b"id" => {
                if value.len() > self.event_bytes_max {
                    return Err(self.fail());
                }
                if memchr(0, value).is_none() {
                    self.pending_id = Some(String::from_utf8_lossy(value).into_owned());
                }
            }
            b"retry" => {
                let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                if let (true, Some(number)) = (digits, number) {
                    self.retry = Some(number);
                }
            }
            _ => {
                self.stray.clear();
                self.stray.extend_from_slice(&line[..line.len().min(STRAY_BYTES_MAX)]);
                return Ok(Step::Stray);
            }
        }
        Ok(Step::Nothing)
    }

    fn add_data(&mut self, value: &[u8]) -> Result<Step, LimitExceeded> {
        if self.data.len() + value.len() > self.event_bytes_max {
            return Err(self.fail());
        }
        self.data.extend_from_slice(value);
        self.data.push(b'\n');
        Ok(Step::Nothing)
    }

    /// How many bytes of an event that is not whole lie here.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.line.len() + self.data.len()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("event_bytes_max", &self.event_bytes_max)
            .field("buffered_bytes", &self.buffered_bytes())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Found {
    Event,
    Stray,
}

enum Step {
    Nothing,
    /// The line was no field; it is in `stray`.
    Stray,
    Blank,
}

/// Bytes as text. Nearly all text is valid, and checking that alone takes a fraction of what replacing takes.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Empties a buffer, and gives back what a large event made it grow to.
fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > IDLE_BYTES_MAX {
        buffer.shrink_to(IDLE_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items of a stream that arrives in these pieces, and what it leaves unfinished.
    fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> (Vec<String>, Result<Unfinished, LimitExceeded>) {
        let mut items = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            loop {
                match decoder.next(&mut input) {
                    Ok(Some(Item::Event(event))) => items.push(format!("{}|{}", event.event, event.data)),
                    Ok(Some(Item::Stray(line))) => items.push(format!("stray|{line}")),
                    Ok(None) => break,
                    Err(error) => return (items, Err(error)),
                }
            }
            assert!(input.is_empty(), "all input is taken");
        }
        (items, Ok(decoder.finish()))
    }

    #[test]
    fn a_bare_json_error_comes_out_line_by_line() {
        let (items, left) = decode(Decoder::new(), &[b"data: a\n\n[{\n  \"error\": {}\n}", b"]"]);
        assert_eq!(items, ["|a", "stray|[{", "stray|  \"error\": {}"]);
        assert_eq!(left.unwrap().stray.as_deref(), Some("}]"));
    }

    #[test]
    fn an_unfinished_event_is_shown_at_the_end_only() {
        let (items, left) = decode(Decoder::new(), &[b"event: x\ndata: a\ndata: b"]);
        assert!(items.is_empty());
        assert_eq!(left.unwrap().data.as_deref(), Some("a\nb"));
    }

    #[test]
    fn an_event_at_the_limit_passes_and_one_byte_more_fails() {
        for (bytes, passes) in [(10, true), (11, false)] {
            let line = format!("data: {}\n\n", "x".repeat(bytes));
            for cut in 0..line.len() {
                let (first, second) = line.as_bytes().split_at(cut);
                let (items, left) = decode(Decoder::with_event_bytes_max(10), &[first, second]);
                assert_eq!(
                    (items.len(), left.is_ok()),
                    if passes { (1, true) } else { (0, false) },
                    "{bytes} {cut}"
                );
            }
        }
    }

    #[test]
    fn many_lines_of_one_event_share_its_limit() {
        let (_, left) = decode(Decoder::with_event_bytes_max(10), &[b"data: 12345\n", b"data: 12345\n\n"]);
        assert_eq!(left.unwrap_err().bytes_max(), 10);
    }

    #[test]
    fn a_failed_decoder_stays_failed() {
        let mut decoder = Decoder::with_event_bytes_max(1);
        let mut input = &b"data: 12\n\ndata: 1\n\n"[..];
        assert!(decoder.next(&mut input).is_err());
        assert!(decoder.next(&mut input).is_err());
        assert_eq!(decoder.finish(), Unfinished::default());
    }

    #[test]
    fn a_stray_line_is_cut_and_a_comment_is_not_kept() {
        let long = "x".repeat(STRAY_BYTES_MAX + 1);
        for (line, expected) in
            [(format!("{long}\n"), Some(STRAY_BYTES_MAX)), (format!(":{long}{long}\n"), None)]
        {
            for cut in [0, 1, STRAY_BYTES_MAX, line.len()] {
                let (first, second) = line.as_bytes().split_at(cut);
                let (items, left) = decode(Decoder::with_event_bytes_max(8), &[first, second]);
                assert_eq!(items.first().map(|it| it.len() - "stray|".len()), expected);
                assert!(left.is_ok());
            }
        }
    }

    #[test]
    fn a_large_event_does_not_stay_in_memory() {
        let mut decoder = Decoder::new();
        let large = format!("data: {}\n\n", "x".repeat(1 << 20));
        let (first, second) = large.as_bytes().split_at(100);
        for mut input in [first, second] {
            let _ = decoder.next(&mut input).unwrap();
        }
        assert_eq!(decoder.next(&mut &b"data: 1\n\n"[..]).unwrap().map(|_| ()), Some(()));
        assert!(decoder.data.capacity() <= IDLE_BYTES_MAX && decoder.line.capacity() <= IDLE_BYTES_MAX);
    }

    #[test]
    fn debug_shows_no_data() {
        let mut decoder = Decoder::new();
        let mut input = &b"data: canary\n\ncanary\ndata: canary"[..];
        let mut shown = format!("{:?}", decoder.next(&mut input).unwrap());
        shown += &format!("{:?}", decoder.next(&mut input).unwrap());
        assert!(decoder.next(&mut input).unwrap().is_none());
        shown += &format!("{decoder:?}{:?}", decoder.finish());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
