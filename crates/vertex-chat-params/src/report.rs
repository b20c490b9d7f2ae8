//! What was done to a request, or why it will not be sent.

use std::fmt;

use crate::Rewrite;

/// The most notes of a report; what is done beyond that is only done.
pub const NOTES_MAX: usize = 1_000;
/// The most problems that a rejection lists; one more says that there are others.
pub const PROBLEMS_MAX: usize = 32;

/// What preparing a request did to it. Printed, one line a note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    notes: Vec<Note>,
    names: FunctionNames,
}

/// The functions that are sent under another name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionNames(Vec<(String, String)>);

impl FunctionNames {
    /// From pairs: the name that is sent, and the caller's.
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// Whether all functions have their own names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The caller's name for a function of an answer; `None` when it is the same.
    #[must_use]
    pub fn callers(&self, sent: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == sent).map(|(_, callers)| callers.as_str())
    }
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// Where, such as `tools[0].function.strict`.
    pub path: String,
    /// What.
    pub action: Action,
    /// Why, for a person to read.
    pub reason: String,
    /// The rule, when it was rewritten by one.
    pub rule: Option<Rewrite>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// It was left out.
    Dropped,
    /// It is sent, although the server does not take it or is not known to.
    Forwarded,
    /// It is sent in another form.
    Rewritten,
}

impl Report {
    /// The notes, at most [`NOTES_MAX`]: nulls, rewrites in the order of their rules, parameters in the order of the table, unknown fields.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// The paths of the parameters that were left out because the server does not take them. Rewrites leave things out too:
    /// they are notes of their own.
    pub fn dropped(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().filter(|note| note.action == Action::Dropped).map(|note| note.path.as_str())
    }

    /// The paths of the parameters that are sent although the server does not take them or is not known to.
    pub fn forwarded(&self) -> impl Iterator<Item = &str> {
        self.notes.iter().filter(|note| note.action == Action::Forwarded).map(|note| note.path.as_str())
    }

    /// The rules by which the request was rewritten, each once, in the order in which they were applied.
    #[must_use]
    pub fn rules(&self) -> Vec<Rewrite> {
        let mut rules: Vec<Rewrite> = self.notes.iter().filter_map(|note| note.rule).collect();
        rules.dedup();
        rules
    }

    /// The functions that are sent under another name.
    #[must_use]
    pub fn function_names(&self) -> &FunctionNames {
        &self.names
    }

    pub(crate) fn set_function_names(&mut self, names: FunctionNames) {
        self.names = names;
    }

    pub(crate) fn add(&mut self, path: impl Into<String>, action: Action, reason: impl Into<String>) {
        self.push(Note { path: path.into(), action, reason: reason.into(), rule: None });
    }

    pub(crate) fn push(&mut self, note: Note) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(note);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, note) in self.notes.iter().enumerate() {
            let line_end = if i == 0 { "" } else { "\n" };
            write!(f, "{line_end}{note}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Dropped => "dropped",
            Action::Forwarded => "forwarded",
            Action::Rewritten => "rewrote",
        };
        write!(f, "{action} `{}`: {}", self.path, self.reason)?;
        match self.rule {
            Some(rule) => write!(f, " ({rule})"),
            None => Ok(()),
        }
    }
}

/// Why a request will not be sent: every fault that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    problems: Vec<Problem>,
    is_too_costly: bool,
    is_unreadable: bool,
}

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where, such as `messages[3].content[0].image_url`; empty when the request as a whole is at fault.
    pub path: String,
    /// What is wrong, without quoting the value.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// Where the rule comes from; empty for the protocol itself.
    pub source: &'static str,
    /// Whether the parameter itself is not taken, whatever its value.
    pub is_unsupported: bool,
}

impl Rejection {
    /// Whether the request takes more work to prepare than it may.
    #[must_use]
    pub fn is_too_costly(&self) -> bool {
        self.is_too_costly
    }

    /// Whether the request is no JSON.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// The faults, at least one; of more than [`PROBLEMS_MAX`] the last says how many others there are.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(crate) fn check(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        if problems.len() > PROBLEMS_MAX {
            let others = problems.len() - PROBLEMS_MAX;
            problems.truncate(PROBLEMS_MAX);
            problems.push(Problem {
                path: String::new(),
                message: format!("and {others} more problems"),
                remedy: String::new(),
                source: "",
                is_unsupported: false,
            });
        }
        Err(Self { problems, is_too_costly: false, is_unreadable: false })
    }

    pub(crate) fn too_costly(mut self) -> Self {
        self.is_too_costly = true;
        self
    }

    pub(crate) fn unreadable(mut self) -> Self {
        self.is_unreadable = true;
        self
    }

    pub(crate) fn one(problem: Problem) -> Self {
        Self { problems: vec![problem], is_too_costly: false, is_unreadable: false }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "`{}`: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " ({})", self.remedy)?;
        }
        if !self.source.is_empty() {
            write!(f, " [{}]", self.source)?;
        }
        Ok(())
    }
}
