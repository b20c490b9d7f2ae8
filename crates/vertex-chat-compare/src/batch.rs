//! Vertex AI batch prediction: requests as the lines of a job's input file, and the job's output as results of a run.
//!
//! ```
//! use vertex_chat::{ChatRequest, Message};
//! use vertex_chat_compare::batch::{BatchForm, Importer, export};
//!
//! let model = "google/gemini-2.5-flash";
//! let request = ChatRequest::new(model, [Message::user("Write a story about a magic backpack.")]);
//! let form = BatchForm::of(model)?;
//! let exported = export(form, model, 0, &request)?;
//! assert!(exported.line.starts_with(r#"{"custom_id":"vertex-chat-0-"#));
//!
//! // … the job runs, and writes such a line for each of them …
//! # let output = exported.line.replace(r#""request":"#, r#""response":{"candidates":[{"content":{"parts":[{"text":"Once"}]}}]},"request":"#);
//! let mut importer = Importer::new(form, model, [(0, request)])?;
//! let imported = importer.read(&output)?;
//! assert_eq!(imported.result.content.as_deref(), Some("Once"));
//! assert!(importer.missing().is_empty());
//! # Ok::<(), vertex_chat_compare::batch::BatchError>(())
//! ```
//!
//! A batch job costs half and takes hours. [`export`] writes a line for one request; [`Importer`] knows the requests of
//! a run and reads the lines of the output, in whatever order they came, each as a [`ResultLine`](crate::ResultLine)
//! that can stand beside those of requests that were sent one by one.
//!
//! # Forms
//!
//! | models | form | a line |
//! |---|---|---|
//! | `google/gemini-…` | [`Gemini`](BatchForm::Gemini) | `{"custom_id":…,"request":{"contents":…}}` |
//! | `publisher/…-maas` | [`OpenAi`](BatchForm::OpenAi) | `{"custom_id":…,"method":"POST","url":…,"body":{"messages":…}}` |
//!
//! Claude's form is another one again, and is refused.
//!
//! # Which answer is whose
//!
//! Google documents no id for lines of Gemini's form in Cloud Storage, only for those from BigQuery, whose other columns
//! are passed on. In practice a field beside `request` is passed on there too, so every line has a `custom_id` with the
//! request's number and a hash of the request: an answer of another run is found out. An output line without it is
//! matched by the request that it repeats; of several requests that are the same, each gets one answer.
//!
//! # What is carried over
//!
//! A request for Gemini is [prepared](vertex_chat::params) as for Vertex's OpenAI-compatible endpoint and then put into
//! Gemini's own words. What has no such word is told in [`Exported::changes`]; what would make the answer another one,
//! such as spoken output or a cache, is an error.
//!
//! The service reads an input file like a table: each key is a column with one type for the whole file. A line that is no
//! row of a table fails the whole job, so [`export`] refuses it. That two lines have different types in one
//! place, such as a number and a text in the arguments of earlier tool calls, can only be seen by who has the file.

use std::fmt;

use vertex_chat::ChatRequest;
use vertex_chat::params::{Action, Dialect, Policy, Rejection, Report, Target, prepare_in_place};

mod answer;
mod canonical;
mod gemini;
mod import;
mod media;
mod native;
mod openai;
mod table;

pub use import::{Imported, Importer};
pub use table::RECORDS_DEPTH_MAX;

/// The longest line that is written or read, in bytes: an image of 10 MB in base64, and what stands beside it.
pub const LINE_BYTES_MAX: usize = 16 << 20;
/// How many requests one job takes, by Google's documentation.
pub const JOB_REQUESTS_MAX: usize = 200_000;
/// How large the input file of one job may be in Cloud Storage, by Google's documentation, in bytes.
pub const JOB_BYTES_MAX: u64 = 1_000_000_000;
/// How many changes to one request are told of; that there are more is told too.
pub const CHANGES_MAX: usize = 64;

/// The form of a batch job's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BatchForm {
    /// Gemini's own requests and answers.
    Gemini,
    /// OpenAI's batch form, of the open models that Google serves.
    OpenAi,
}

impl BatchForm {
    /// The form for a model, by its name as requests have it.
    ///
    /// # Errors
    /// When Vertex has no batch jobs for this model, or has them in a form that is not written here.
    pub fn of(model: &str) -> Result<Self, BatchError> {
        let (publisher, name) = match model.split_once('/') {
            Some((publisher, name)) => (publisher, name),
            None if model.starts_with("gemini-") => ("google", model),
            None => ("", model),
        };
        if publisher == "anthropic" || name.starts_with("claude") {
            let problem = "batch jobs of Claude have a form of their own, which is not written here";
            return Err(BatchError::new(
                "model",
                problem,
                "ask Claude request by request, with `vertex-chat compare`",
            ));
        }
        if publisher == "google" && name.starts_with("gemini-") {
            return Ok(Self::Gemini);
        }
        if !publisher.is_empty() && name.ends_with("-maas") {
            return Ok(Self::OpenAi);
        }
        let remedy = "write `google/gemini-…`, or `publisher/…-maas` for an open model that Google serves";
        Err(BatchError::new("model", "Vertex is not known to have batch jobs for this model", remedy))
    }
}

/// A request as a line of a job's input file.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// The line, without its end; at most [`LINE_BYTES_MAX`].
    pub line: String,
    /// What was dropped or rewritten.
    pub changes: Vec<String>,
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format_args!("<{} bytes>", self.line.len());
        f.debug_struct("Exported").field("line", &line).field("changes", &self.changes).finish()
    }
}

/// Writes the line for one request. `number` is the request's number in the run's plan, and `model` is asked in place of
/// the request's own.
///
/// # Errors
/// When the service would certainly refuse the request, or the answer would not be one to this request; the error names
/// the field. A line of more than [`LINE_BYTES_MAX`] is refused too.
pub fn export(
    form: BatchForm,
    model: &str,
    number: u64,
    request: &ChatRequest,
) -> Result<Exported, BatchError> {
    let Translated { body, changes } = translate(form, model, request)?;
    let fits = |bytes: usize| {
        if bytes <= LINE_BYTES_MAX {
            return Ok(());
        }
        let problem = format!("the line has {bytes} bytes, more than {LINE_BYTES_MAX}");
        Err(BatchError::new("messages", problem, "name large files by their address, `gs://…`"))
    };
    // Once more below, with the id; here, so that nothing is done for what is much too long.
    fits(body.len())?;
    let id = import::custom_id(number, canonical::of_chat(request)?);
    let line = match form {
        BatchForm::Gemini => format!(r#"{{"custom_id":"{id}","request":{body}}}"#),
        BatchForm::OpenAi => {
            format!(r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{body}}}"#)
        }
    };
    fits(line.len())?;
    Ok(Exported { line, changes: changes.told() })
}

/// The part of a line that is the request, on one line.
struct Translated {
    body: String,
    changes: Changes,
}

fn translate(form: BatchForm, model: &str, request: &ChatRequest) -> Result<Translated, BatchError> {
    let mut request = request.clone();
    let mut changes = Changes::default();
    let dialect = match form {
        BatchForm::Gemini => {
            let name = model.strip_prefix("google/").unwrap_or(model);
            request.model = Some(format!("google/{name}"));
            Dialect::of_vertex_model(request.model.as_deref())
        }
        BatchForm::OpenAi => {
            request.model = Some(model.to_owned());
            Dialect::VertexPartner
        }
    };
    if request.stream.take() == Some(true) {
        changes.drop("stream", "a batch job has no streams");
    }
    if request.stream_options.take().is_some() {
        changes.drop("stream_options", "a batch job has no streams");
    }
    // What is ignored on the other endpoint may have a word in Gemini's own; the translation tells what has none.
    let target = Target::new(dialect).with_policy(Policy::Forward);
    let prepared = prepare_in_place(&mut request, &target).map_err(|it| BatchError::rejected(&it))?;
    changes.rewrites(prepared.report());
    let body = match form {
        BatchForm::Gemini => gemini::body(&request, dialect, &mut changes)?,
        BatchForm::OpenAi => openai::body(&request, &prepared.into_body())?,
    };
    Ok(Translated { body: crate::text::compact(&body), changes })
}

/// What was done to one request, in the words of [`Report`].
#[derive(Default)]
struct Changes {
    told: Vec<String>,
    untold: usize,
}

impl Changes {
    fn push(&mut self, change: String) {
        if self.told.len() < CHANGES_MAX {
            self.told.push(change);
        } else {
            self.untold += 1;
        }
    }

    fn drop(&mut self, path: &str, reason: &str) {
        self.push(format!("dropped `{path}`: {reason}"));
    }

    fn rewrite(&mut self, path: &str, reason: &str) {
        self.push(format!("rewrote `{path}`: {reason}"));
    }

    fn rewrites(&mut self, report: &Report) {
        for note in report.notes().iter().filter(|it| it.action == Action::Rewritten) {
            self.push(note.to_string());
        }
    }

    fn told(mut self) -> Vec<String> {
        if self.untold > 0 {
            self.told.push(format!("{} more changes", self.untold));
        }
        self.told
    }
}

/// Why a request is not written, or a line is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchError {
    field: String,
    message: String,
    is_torn: bool,
}

impl BatchError {
    fn new(field: impl Into<String>, problem: impl fmt::Display, remedy: &str) -> Self {
        let field = field.into();
        let place = if field.is_empty() { String::new() } else { format!("`{field}`: ") };
        Self { message: format!("{place}{problem}; {remedy}"), field, is_torn: false }
    }

    fn torn() -> Self {
        let remedy = "download the file again, or leave this line out and export its request anew";
        Self { is_torn: true, ..Self::new("", "the line is cut off in the middle", remedy) }
    }

    fn rejected(rejection: &Rejection) -> Self {
        let field = rejection.problems().first().map(|it| it.path.clone()).unwrap_or_default();
        Self { field, message: rejection.to_string(), is_torn: false }
    }

    /// Says whose request it is.
    fn of_request(mut self, number: u64) -> Self {
        self.message = format!("request {number}: {}", self.message);
        self
    }

    /// The field of the request or of the line that is at fault; empty for the whole.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Whether the line ends before it is a whole JSON value, as the last one of a file does that was not downloaded to
    /// its end.
    ///
    /// # Troubleshooting
    /// Compare the file's size with the object's in Cloud Storage, and wait for the job's end: an output file grows while
    /// the job runs.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BatchError {}

#[cfg(test)]
mod tests;
