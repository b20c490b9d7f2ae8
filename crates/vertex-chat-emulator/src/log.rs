//! What came in, for whoever wants to see that it did.

use std::collections::VecDeque;

use serde_json::{Value, json};

/// The most entries that are kept; the oldest are forgotten first.
pub const LOG_ENTRIES_MAX: usize = 10_000;

/// A request that came in. It holds names and sizes, never a token or a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEntry {
    /// Its number, from 1.
    pub number: u64,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
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
}

impl LogEntry {
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "number": self.number,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "assertion_of": self.assertion_of,
            "issued": self.issued,
            "token": self.token,
            "model": self.model,
            "stream": self.stream,
            "request_bytes": self.request_bytes,
            "fault": self.fault,
        })
    }
}

/// For people: `POST /token 200, assertion of a@b, issued token-1`.
impl std::fmt::Display for LogEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.status)?;
        if let Some(account) = &self.assertion_of {
            write!(f, ", verified assertion of {account}")?;
        }
        if let Some(token) = &self.issued {
            write!(f, ", issued {token}")?;
        }
        if let Some(token) = &self.token {
            write!(f, ", with {token}")?;
        }
        if let Some(model) = &self.model {
            write!(f, ", model {model}")?;
        }
        if self.fault {
            f.write_str(", fault")?;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Log {
    entries: VecDeque<LogEntry>,
    count: u64,
}

impl Log {
    pub(crate) fn add(&mut self, mut entry: LogEntry) -> LogEntry {
        self.count += 1;
        entry.number = self.count;
        if self.entries.len() == LOG_ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry.clone());
        entry
    }

    pub(crate) fn entries(&self) -> Vec<LogEntry> {
        self.entries.iter().cloned().collect()
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
