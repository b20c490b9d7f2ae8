//! A run's file: written line by line as requests end, read again when the run goes on or is reported on.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vertex_chat::Json;

use crate::plan::Plan;
use crate::record::{EndLine, FORMAT, PromptLine, ResultLine, RunLine, SessionLine, StopLine};

/// The longest line of a file that is read.
pub const LINE_BYTES_MAX: u64 = 256 << 20;

/// How a run's file begins.
const HEAD: &str = r#"{"kind":"run","#;

/// One line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Line {
    /// The first: what the results depend on.
    Run(Box<RunLine>),
    /// A prompt.
    Prompt(Box<PromptLine>),
    /// The run begins, or goes on.
    Session(SessionLine),
    /// A request that came to an end.
    Result(Box<ResultLine>),
    /// A target is asked no more.
    Stop(StopLine),
    /// The run ended by itself.
    End(EndLine),
}

impl Line {
    /// The line as JSON, without its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Run(line) => written("run", line),
            Self::Prompt(line) => written("prompt", line),
            Self::Session(line) => written("session", line),
            Self::Result(line) => written("result", line),
            Self::Stop(line) => written("stop", line),
            Self::End(line) => written("end", line),
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it: it is no JSON, no kind of line, or one without what it must have.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let wrong = |error: serde_json::Error| error.to_string();
        let Kind { kind } = serde_json::from_str(text).map_err(wrong)?;
        // The kind is read first and the line then: what is behind a tag cannot keep JSON as text.
        Ok(match kind.as_str() {
            "run" => Self::Run(serde_json::from_str(text).map_err(wrong)?),
            "prompt" => Self::Prompt(serde_json::from_str(text).map_err(wrong)?),
            "session" => Self::Session(serde_json::from_str(text).map_err(wrong)?),
            "result" => Self::Result(serde_json::from_str(text).map_err(wrong)?),
            "stop" => Self::Stop(serde_json::from_str(text).map_err(wrong)?),
            "end" => Self::End(serde_json::from_str(text).map_err(wrong)?),
            other => {
                return Err(format!("`{other}` is no kind of line; a newer program may have written it"));
            }
        })
    }
}

fn written(kind: &str, line: &impl Serialize) -> String {
    let line = Json::from_serialize(line).expect("because lines are JSON objects");
    let fields = line.as_str().strip_prefix('{').unwrap_or("}");
    let comma = if fields == "}" { "" } else { "," };
    format!(r#"{{"kind":"{kind}"{comma}{fields}"#)
}

/// What is wrong with a run's file.
#[derive(Debug)]
pub struct JournalError {
    file: PathBuf,
    line: Option<u64>,
    message: String,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.message),
            None => write!(f, "{}: {}", self.file.display(), self.message),
        }
    }
}

impl std::error::Error for JournalError {}

/// A run's file that is being written. Nobody else writes it at the same time.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

/// What a run that goes on has done before.
#[derive(Debug, Default)]
pub(crate) struct Past {
    /// Which requests have ended, one bit each.
    done: Vec<u64>,
    pub(crate) results: u64,
    pub(crate) sessions: u32,
    pub(crate) stops: Vec<StopLine>,
}

impl Past {
    pub(crate) fn of_size(requests: u64) -> Self {
        Self { done: vec![0; place(requests).0 + 1], ..Self::default() }
    }

    pub(crate) fn is_done(&self, request: u64) -> bool {
        let (word, bit) = place(request);
        self.done.get(word).is_some_and(|it| it & bit != 0)
    }

    /// Marks a request; whether it was not marked before.
    fn mark(&mut self, request: u64) -> bool {
        let (word, bit) = place(request);
        let is_new = self.done.get(word).is_some_and(|it| it & bit == 0);
        if is_new {
            self.done[word] |= bit;
            self.results += 1;
        }
        is_new
    }
}

/// Whether a file without a whole line is empty, or begins as a run's does.
fn is_torn_head(mut file: &File) -> std::io::Result<bool> {
    let mut begin = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD.len() as u64).read_to_end(&mut begin)?;
    Ok(HEAD.as_bytes().starts_with(&begin))
}

fn place(request: u64) -> (usize, u64) {
    (usize::try_from(request / 64).unwrap_or(usize::MAX - 1), 1 << (request % 64))
}

impl Journal {
    /// Begins a file for a plan, or goes on with one that the same plan has begun: then `told` gets every line that is in it.
    /// A last line that is not whole, as a crash leaves it, is taken away; its request is asked again.
    ///
    /// # Errors
    /// When the file cannot be had, is no run's, is another plan's, or is being written by somebody else.
    pub(crate) fn open(
        path: &Path,
        plan: &Plan,
        mut told: impl FnMut(&Line),
    ) -> Result<(Self, Past), JournalError> {
        let fail = |message: String| JournalError { file: path.to_owned(), line: None, message };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // Prompts and answers are in it.
            options.mode(0o600);
        }
        let file = options.open(path).map_err(|error| fail(error.to_string()))?;
        if !file.metadata().is_ok_and(|it| it.is_file()) {
            return Err(fail("is no file that can be read again and written on; name one".to_owned()));
        }
        let mut journal = Self { path: path.to_owned(), file };
        journal.lock()?;
        let mut past = Past::of_size(plan.size());
        let head = plan.line();
        let mut is_begun = false;
        let whole = read_lines(path, &journal.file, |number, line| {
            match &line {
                Line::Run(run) if number == 1 => {
                    differs(run, &head)?;
                    is_begun = true;
                }
                _ if !is_begun => {
                    return Err("the file is no run's: its first line is not a `run`".to_owned());
                }
                Line::Result(result) if result.request >= plan.size() => {
                    return Err(format!("the run has no request {}", result.request));
                }
                Line::Result(result) if !past.mark(result.request) => {
                    return Err(format!("request {} stands there twice", result.request));
                }
                Line::Session(session) => past.sessions = past.sessions.max(session.session),
                Line::Stop(stop) => past.stops.push(stop.clone()),
                _ => {}
            }
            told(&line);
            Ok(())
        })?;
        if !is_begun && !is_torn_head(&journal.file).map_err(|error| fail(error.to_string()))? {
            return Err(fail("the file is no run's, and is left alone; name another".to_owned()));
        }
        // Who was interrupted before the first session begins anew: the head may be there, and only some of the prompts.
        let whole = if past.sessions == 0 { 0 } else { whole };
        journal.file.set_len(whole).map_err(|error| fail(error.to_string()))?;
        journal.file.seek(SeekFrom::Start(whole)).map_err(|error| fail(error.to_string()))?;
        Ok((journal, past))
    }

    #[cfg(unix)]
    fn lock(&self) -> Result<(), JournalError> {
        use rustix::fs::{FlockOperation, flock};
        flock(&self.file, FlockOperation::NonBlockingLockExclusive).map_err(|error| JournalError {
            file: self.path.clone(),
            line: None,
            message: match error {
                rustix::io::Errno::WOULDBLOCK => {
                    "another program is writing it; wait for its end, or give another file".to_owned()
                }
                error => error.to_string(),
            },
        })
    }

    #[cfg(not(unix))]
    fn lock(&self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Writes a line, at once: what has been written is not lost when the program is killed.
    ///
    /// # Errors
    /// When it cannot be written, mostly because the disk is full.
    pub(crate) fn write(&mut self, line: &Line) -> Result<(), JournalError> {
        let mut text = line.to_json();
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(|error| JournalError {
            file: self.path.clone(),
            line: None,
            message: error.to_string(),
        })
    }
}

/// Why a run of this head does not go on with that plan.
fn differs(begun: &RunLine, head: &RunLine) -> Result<(), String> {
    if begun.format != FORMAT {
        return Err(format!("the file's format is {}, and this program writes {FORMAT}", begun.format));
    }
    let differing: Vec<&str> = [
        ("models", begun.plan.targets == head.plan.targets),
        ("prompts", begun.plan.prompts == head.plan.prompts),
        ("settings", begun.plan.settings == head.plan.settings),
    ]
    .into_iter()
    .filter_map(|(name, same)| (!same).then_some(name))
    .collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the run that is in it has other {}; a run goes on only with the same: give them, or another file",
        differing.join(" and ")
    ))
}

/// When the run in a file was begun, by RFC 3339; `None` when there is no run in it.
#[must_use]
pub fn begun_at(path: &Path) -> Option<String> {
    let mut line = String::new();
    BufReader::new(File::open(path).ok()?).take(LINE_BYTES_MAX).read_line(&mut line).ok()?;
    match Line::parse(&line).ok()? {
        Line::Run(run) => Some(run.started),
        _ => None,
    }
}

/// Reads a run's file line by line, however long it is.
///
/// # Errors
/// When it cannot be read, or a line is none of a run's. A last line that is not whole is left out.
pub fn read(path: &Path, mut told: impl FnMut(Line)) -> Result<(), JournalError> {
    let fail = |message: String| JournalError { file: path.to_owned(), line: None, message };
    let file = File::open(path).map_err(|error| fail(error.to_string()))?;
    let mut is_begun = false;
    read_lines(path, &file, |number, line| {
        if number == 1 && !matches!(line, Line::Run(_)) {
            return Err("the file is no run's: its first line is not a `run`".to_owned());
        }
        is_begun = true;
        told(line);
        Ok(())
    })?;
    if is_begun { Ok(()) } else { Err(fail("there is no run in it".to_owned())) }
}

/// Calls `told` with every whole line and its number, from 1; gives the length of the whole lines, in bytes.
fn read_lines(
    path: &Path,
    file: &File,
    mut told: impl FnMut(u64, Line) -> Result<(), String>,
) -> Result<u64, JournalError> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut whole, mut number) = (0, 0);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        number += 1;
        let fail = |message: String| JournalError { file: path.to_owned(), line: Some(number), message };
        let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| fail(error.to_string()))? as u64;
        if bytes.last() != Some(&b'\n') {
            if read == LINE_BYTES_MAX {
                return Err(fail(format!("the line is longer than {LINE_BYTES_MAX} bytes")));
            }
            return Ok(whole);
        }
        whole += read;
        let text = std::str::from_utf8(&bytes).map_err(|_| fail("the line is not UTF-8".to_owned()))?;
        if !text.trim().is_empty() {
            let line = Line::parse(text).map_err(|error| match number {
                1 => fail(format!("the file is no run that `--jsonl` has written: {error}")),
                _ => fail(error),
            })?;
            told(number, line).map_err(&fail)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_they_were_written() {
        let mut result = ResultLine { request: 7, target: "a".to_owned(), ..ResultLine::default() };
        result.usage = Some(r#"{"total_tokens": 1.0}"#.parse().unwrap());
        let prompt = PromptLine {
            prompt: 1,
            id: None,
            request: r#"{"z":1,"a":2}"#.parse().unwrap(),
            expected: Some("x".to_owned()),
        };
        for line in [
            Line::Run(Box::default()),
            Line::Prompt(Box::new(prompt)),
            Line::Session(SessionLine::default()),
            Line::Result(Box::new(result)),
            Line::Stop(StopLine::default()),
            Line::End(EndLine::default()),
        ] {
            let text = line.to_json();
            assert!(text.starts_with(r#"{"kind":""#), "{text}");
            assert_eq!(Line::parse(&text).unwrap(), line);
        }
        assert!(Line::parse(r#"{"kind":"other"}"#).unwrap_err().contains("`other`"));
    }

    #[test]
    fn a_request_is_marked_once() {
        let mut past = Past::of_size(130);
        assert!(!past.is_done(129) && past.mark(129) && past.is_done(129) && !past.mark(129));
        assert!(!past.is_done(1_000_000) && past.results == 1);
    }
}
