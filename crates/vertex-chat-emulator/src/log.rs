//! What came in, for whoever wants to see that it did.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};
use vertex_chat_transport::LogText;

/// The most entries that are kept, by default; the oldest are forgotten first.
pub const LOG_ENTRIES_MAX: usize = 10_000;
/// The most entries that can be asked for: some 500 MB.
pub const LOG_ENTRIES_LIMIT: usize = 1_000_000;

/// A request that came in. It holds names, sizes and times, never a token or a prompt.
///
/// It is in the log once the head of its answer is given. What comes after that is of chat completions only, and is filled
/// in while the body is given: when the first token is, and when the body has ended or is given up. Times are those of
/// [`Clock::monotonic`](vertex_chat_transport::Clock::monotonic) on the emulator's clock. With an
/// [engine](crate::Engine) nothing is known of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// Its number, from 1.
    pub number: u64,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The host that the request named, without the port.
    pub host: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The account whose assertion was found good.
    pub assertion_of: Option<String>,
    /// The name of the token that was given out.
    pub issued: Option<String>,
    /// The name of the token that came with the request and was found good.
    pub token: Option<String>,
    /// The model that was asked for.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How large the request's body was.
    pub request_bytes: usize,
    /// Whether a fault of the script struck.
    pub fault: bool,
    /// When the request came.
    pub came: Duration,
    /// When the head of the answer was given.
    pub head: Option<Duration>,
    /// When the first piece of a stream was given that has text or a call in it; text is thoughts and refusals too.
    pub first_token: Option<Duration>,
    /// When the last such piece was given.
    pub last_token: Option<Duration>,
    /// When the last byte of the answer was given; `None` before that, and when the answer never comes to its end.
    pub ended: Option<Duration>,
    /// Whether the answer was broken off on this side: by a fault, or as its model performs.
    pub cut: bool,
    /// Tokens of the prompt, by the usage that was given. There is none before it is given, nor where none is.
    pub prompt_tokens: Option<u64>,
    /// Those of them that came from a cache; `None` where the usage does not tell.
    pub cached_tokens: Option<u64>,
    /// Tokens of the answer without thinking, by that usage.
    pub completion_tokens: Option<u64>,
    /// Tokens of thinking: as that usage says, or else what its total has beyond the others.
    pub reasoning_tokens: Option<u64>,
}

impl LogEntry {
    pub(crate) fn to_json(&self) -> Value {
        let microseconds = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        json!({
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "host": self.host,
            "status": self.status,
            "assertion_of": self.assertion_of,
            "issued": self.issued,
            "token": self.token,
            "model": self.model,
            "stream": self.stream,
            "request_bytes": self.request_bytes,
            "fault": self.fault,
            "came_us": microseconds(self.came),
            "head_us": self.head.map(microseconds),
            "first_token_us": self.first_token.map(microseconds),
            "last_token_us": self.last_token.map(microseconds),
            "ended_us": self.ended.map(microseconds),
            "cut": self.cut,
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
        })
    }
}

/// For people: `POST /token 200, assertion of a@b, issued token-1`.
impl std::fmt::Display for LogEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (method, path) = (LogText::new(&self.method, 16), LogText::new(&self.path, 256));
        write!(f, "{method} {path} {}", self.status)?;
        if let Some(account) = &self.assertion_of {
            write!(f, ", verified assertion of {}", LogText::new(account, 256))?;
        }
        if let Some(token) = &self.issued {
            write!(f, ", issued {token}")?;
        }
        if let Some(token) = &self.token {
            write!(f, ", with {token}")?;
        }
        if let Some(model) = &self.model {
            write!(f, ", model {}", LogText::new(model, 256))?;
        }
        if self.fault {
            f.write_str(", fault")?;
        }
        Ok(())
    }
}

pub(crate) struct Log {
    /// Their numbers have no gap.
    entries: VecDeque<LogEntry>,
    entries_max: usize,
    count: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self::new(LOG_ENTRIES_MAX)
    }
}

impl Log {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), entries_max: entries_max.min(LOG_ENTRIES_LIMIT), count: 0 }
    }

    pub(crate) fn add(&mut self, mut entry: LogEntry) -> LogEntry {
        self.count += 1;
        entry.number = self.count;
        self.entries.push_back(entry.clone());
        if self.entries.len() > self.entries_max {
            self.entries.pop_front();
        }
        entry
    }

    /// The entry with this number, unless it has been forgotten.
    pub(crate) fn entry(&mut self, number: u64) -> Option<&mut LogEntry> {
        let first = self.entries.front()?.number;
        self.entries.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    pub(crate) fn entries(&self) -> Vec<LogEntry> {
        self.entries.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
