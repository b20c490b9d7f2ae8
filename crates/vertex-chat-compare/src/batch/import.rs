//! Which answer is whose.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use serde::de::IgnoredAny;
use vertex_chat::types::Extra;
use vertex_chat::{ChatRequest, Json};

use super::answer::Row;
use super::canonical::Fingerprint;
use super::{BatchError, BatchForm, JOB_REQUESTS_MAX, LINE_BYTES_MAX, answer, canonical, translate};
use crate::record::ResultLine;

/// What every `custom_id` begins with. Not with a digit: the service makes a number of a text of digits.
const ID_MARK: &str = "vertex-chat-";

/// The id of a request's line.
pub(super) fn custom_id(number: u64, fingerprint: Fingerprint) -> String {
    format!("{ID_MARK}{number}-{fingerprint:016x}")
}

/// The number and the fingerprint in an id; `None` when it is not one of ours.
fn read_id(id: &str) -> Option<(u64, Fingerprint)> {
    let (number, fingerprint) = id.strip_prefix(ID_MARK)?.split_once('-')?;
    Some((number.parse().ok()?, Fingerprint::from_str_radix(fingerprint, 16).ok()?))
}

/// The result of one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// The number of the request in the run's plan.
    pub number: u64,
    /// What came of it: `request`, `attempts`, `status`, `error`, `model`, `request_id`, `finish_reason`, `content`,
    /// `refusal`, `calls`, `usage` and what `changes` there were to the answer. Times are 0, for nobody took them.
    pub result: ResultLine,
}

/// Reads the lines of a job's output, in any order and from any number of files.
pub struct Importer {
    form: BatchForm,
    waiting: BTreeMap<u64, Waiting>,
    /// The numbers of the requests that have the same line but for its id, those to be answered first in front.
    same: HashMap<Fingerprint, VecDeque<u64>>,
}

struct Waiting {
    request: Fingerprint,
    is_answered: bool,
}

impl fmt::Debug for Importer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.waiting.values().filter(|it| !it.is_answered).count();
        f.debug_struct("Importer")
            .field("form", &self.form)
            .field("requests", &self.waiting.len())
            .field("missing", &missing)
            .finish()
    }
}

impl Importer {
    /// For the requests that were [exported](super::export), each with its number.
    ///
    /// # Errors
    /// When there are more than [`JOB_REQUESTS_MAX`], two have one number, or one of them cannot be exported.
    pub fn new(
        form: BatchForm,
        model: &str,
        requests: impl IntoIterator<Item = (u64, ChatRequest)>,
    ) -> Result<Self, BatchError> {
        let mut importer = Self { form, waiting: BTreeMap::new(), same: HashMap::new() };
        for (number, request) in requests {
            let of_request = |error: BatchError| error.of_request(number);
            if importer.waiting.len() == JOB_REQUESTS_MAX {
                let problem =
                    format!("there are more than {JOB_REQUESTS_MAX} requests, which is all that a job takes");
                return Err(BatchError::new("", problem, "import the jobs one by one"));
            }
            let fingerprint = canonical::of_chat(&request).map_err(of_request)?;
            let body = translate(form, model, &request).map_err(of_request)?.body;
            if let Some(line) = canonical::of_text(&body) {
                importer.same.entry(line).or_default().push_back(number);
            }
            let waiting = Waiting { request: fingerprint, is_answered: false };
            if importer.waiting.insert(number, waiting).is_some() {
                let problem = format!("two requests have the number {number}");
                return Err(BatchError::new("", problem, "number the requests of a run from 0"));
            }
        }
        Ok(importer)
    }

    /// Reads one line. Lines without a character in them are for the caller to skip.
    ///
    /// # Errors
    /// When the line is [torn](BatchError::is_torn), no JSON object, longer than [`LINE_BYTES_MAX`], or no answer to any
    /// request that waits for one. Whatever else is wrong with an answer becomes the result's error.
    pub fn read(&mut self, line: &str) -> Result<Imported, BatchError> {
        if line.len() > LINE_BYTES_MAX {
            let problem = format!("the line has {} bytes, more than {LINE_BYTES_MAX}", line.len());
            return Err(BatchError::new("", problem, "is it a file of results, one on each line?"));
        }
        // An object that goes wrong at its very end is cut off too: `{"a":-`.
        let is_torn = |error: serde_json::Error| {
            error.is_eof() || (line.starts_with('{') && error.line() == 1 && error.column() >= line.len())
        };
        let fields = Extra::from_json(line).map_err(|error| {
            match serde_json::from_str::<IgnoredAny>(line).is_err_and(is_torn) {
                true => BatchError::torn(),
                false => BatchError::new("", error, "a line of a job's output is one JSON object"),
            }
        })?;
        let row = Row::new(fields);
        let number = self.number(&row)?;
        let mut result = match self.form {
            BatchForm::Gemini => answer::of_gemini(&row),
            BatchForm::OpenAi => answer::of_openai(&row),
        };
        result.request = number;
        Ok(Imported { number, result })
    }

    /// The requests that have no answer so far, in order.
    #[must_use]
    pub fn missing(&self) -> Vec<u64> {
        self.waiting.iter().filter(|(_, it)| !it.is_answered).map(|(number, _)| *number).collect()
    }

    /// Whose answer a row is; from then on it is answered.
    fn number(&mut self, row: &Row) -> Result<u64, BatchError> {
        let id = ["custom_id", "key"].iter().find_map(|key| row.text(key)).and_then(|it| read_id(&it));
        if let Some((number, fingerprint)) = id {
            let remedy = "import the output of the job that was made of this run's export";
            let Some(waiting) = self.waiting.get_mut(&number) else {
                let problem = format!("the answer to request {number}, which is not in this run");
                return Err(BatchError::new("custom_id", problem, remedy));
            };
            if waiting.request != fingerprint {
                let problem = format!("the answer to another request {number} than this run's");
                return Err(BatchError::new("custom_id", problem, remedy));
            }
            if waiting.is_answered {
                return Err(answered(&format!("request {number}")));
            }
            waiting.is_answered = true;
            return Ok(number);
        }
        let field = match self.form {
            BatchForm::Gemini => "request",
            BatchForm::OpenAi => "body",
        };
        let Some(request) = row.column(field).or_else(|| inner_body(&row.column("request")?)) else {
            let problem = format!("the line has neither a `custom_id` of ours nor a `{field}`");
            return Err(BatchError::new("custom_id", problem, "is it a line of this job's output?"));
        };
        let same = canonical::of_text(request.as_str()).and_then(|it| self.same.get_mut(&it));
        let Some(same) = same else {
            let remedy = "import the output of the job that was made of this run's export";
            return Err(BatchError::new(field, "the answer to a request that is not in this run", remedy));
        };
        while let Some(number) = same.pop_front() {
            // Some may have been answered by their id.
            if let Some(waiting) = self.waiting.get_mut(&number).filter(|it| !it.is_answered) {
                waiting.is_answered = true;
                return Ok(number);
            }
        }
        Err(answered("every request of this text"))
    }
}

/// Of a row that repeats the whole line in `request`.
fn inner_body(request: &Json) -> Option<Json> {
    request.parse_as::<Extra>().ok()?.get("body").cloned()
}

fn answered(who: &str) -> BatchError {
    let problem = format!("{who} has been answered before");
    BatchError::new("", problem, "leave out the file that was read twice")
}
