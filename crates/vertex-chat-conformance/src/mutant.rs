//! A server that breaks one rule: another server with edits.
//!
//! A judge that acquits everybody looks just like one before whom nobody is guilty. So each case describes servers that break
//! its rule, and it is checked that the case convicts them and that no other does.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use vertex_chat_transport::{Clock, Exchange};

use crate::broken::Broken;
use crate::expect::{Check, Expectation};
use crate::path::Path;

/// A server that breaks the rule of its case and no other.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "File")]
#[non_exhaustive]
pub struct Mutant {
    /// Its name, which no other mutant has.
    pub name: String,
    /// The profile of the server that is edited.
    pub profile: String,
    /// The model that is asked for, in place of the profile's.
    pub model: Option<String>,
    edits: Vec<Edit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "openai")]
    profile: String,
    model: Option<String>,
    edit: Vec<EditFile>,
}

fn openai() -> String {
    "openai".to_owned()
}

impl TryFrom<File> for Mutant {
    type Error = String;
    fn try_from(file: File) -> Result<Self, String> {
        let read = |edit: EditFile| edit.read().map_err(|what| format!("mutant {}: {what}", file.name));
        let edits = file.edit.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if edits.is_empty() {
            return Err(format!("mutant {}: it edits nothing", file.name));
        }
        Ok(Self { name: file.name, profile: file.profile, model: file.model, edits })
    }
}

/// An edit, as a case's file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EditFile {
    on: On,
    /// A path whose value becomes `to`; a header's name.
    set: Option<String>,
    to: Option<toml::Value>,
    /// `to` is JSON text, for what TOML cannot say, such as null.
    to_json: Option<String>,
    /// A path that is taken away.
    remove: Option<String>,
    /// A member whose name becomes `to`.
    rename: Option<String>,
    /// What is done to a stream, or to the answer as a whole.
    #[serde(rename = "do")]
    deed: Option<Deed>,
    /// Only these documents: expectations of the body, chunk or error that is edited.
    #[serde(default, rename = "where")]
    place: Vec<Expectation>,
    /// Only the `first` or the `last` of the chunks that `where` leaves, or `not-first`.
    which: Option<Which>,
    /// Only these exchanges: expectations of `request.method`, `request.path`, `request.headers`, `request.body`, `status`.
    #[serde(default)]
    when: Vec<Expectation>,
}

/// What is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum On {
    /// The request's body, before the server sees it.
    Request,
    /// The request's headers; `authorization` may be set to `Bearer ${good}`.
    RequestHeaders,
    /// The method and path: `set = "method"`, `set = "path"`.
    RequestLine,
    /// The body of an answer that is not streamed and below 400.
    Whole,
    /// The JSON body of an answer from 400 on.
    Error,
    /// Each chunk of a stream.
    Chunk,
    /// The headers of the answer.
    Headers,
    /// The status: `set = "status"`.
    Status,
    /// The events of a stream.
    Stream,
    /// The whole answer.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Which {
    First,
    Last,
    NotFirst,
    NotLast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    /// The stream's `[DONE]` does not come.
    DropDone,
    /// `[DONE]` comes twice.
    DoubleDone,
    /// The events that `where` finds do not come.
    Drop,
    /// The events that `where` finds come twice.
    Double,
    /// The events that `where` finds come before all others.
    ToFront,
    /// The events that `where` finds come after all others, before `[DONE]`.
    ToBack,
    /// The event `to` comes before those that `where` finds.
    Insert,
    /// The event `to` comes after all others.
    Append,
    /// All events come in one piece.
    Buffer,
    /// The connection breaks after the first half of the events.
    Cut,
    /// `[DONE]` lacks the blank line after it.
    Unfinished,
    /// Lines end in a bare CR.
    BareCr,
    /// Each event has a type.
    Named,
    /// The events that `where` finds come as lines without `data:`.
    Bare,
    /// The answer's body becomes the text of `to`.
    Replace,
    /// The connection breaks in place of an answer.
    Refuse,
    /// A request is refused with 503 while another runs.
    OneAtATime,
    /// Once a client has gone away, every request is answered with 500.
    DieAfterCancel,
    /// The stream becomes one JSON document: all chunks in an array.
    Array,
}

impl Deed {
    /// Whether it is written with `on = "answer"`, not with `on = "stream"`.
    fn is_of_whole_answers(self) -> bool {
        matches!(self, Self::Replace | Self::Refuse | Self::OneAtATime | Self::DieAfterCancel)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Edit {
    pub(crate) on: On,
    pub(crate) deed: Change,
    pub(crate) place: Vec<Check>,
    pub(crate) which: Option<Which>,
    pub(crate) when: Vec<Check>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Set(Path, Value),
    Remove(Path),
    Rename(Path, String),
    Do(Deed, Value),
}

impl EditFile {
    fn read(self) -> Result<Edit, String> {
        let to = match (self.to, self.to_json) {
            (Some(to), None) => Some(serde_json::to_value(to).map_err(|error| error.to_string())?),
            (None, Some(text)) => {
                Some(serde_json::from_str(&text).map_err(|error| format!("`to_json`: {error}"))?)
            }
            (None, None) => None,
            (Some(_), Some(_)) => return Err("`to` beside `to_json`".to_owned()),
        };
        let change = match (self.set, self.remove, self.rename, self.deed) {
            (Some(path), None, None, None) => {
                Change::Set(Path::parse(&path)?, to.ok_or("`set` without `to`")?)
            }
            (None, Some(path), None, None) => Change::Remove(Path::parse(&path)?),
            (None, None, Some(path), None) => {
                let name = to.and_then(|it| it.as_str().map(str::to_owned)).ok_or("`rename` without `to`")?;
                Change::Rename(Path::parse(&path)?, name)
            }
            (None, None, None, Some(deed)) => Change::Do(deed, to.unwrap_or_default()),
            _ => return Err("an edit has one of `set`, `remove`, `rename` and `do`".to_owned()),
        };
        let fits = match (&change, self.on) {
            (Change::Do(deed, _), On::Answer) => deed.is_of_whole_answers(),
            (Change::Do(deed, _), On::Stream) => !deed.is_of_whole_answers(),
            (Change::Do(..), _) | (_, On::Answer | On::Stream) => false,
            (Change::Set(path, _), On::Status) => path.to_string() == "status",
            (Change::Set(path, _), On::RequestLine) => {
                ["method", "path"].contains(&path.to_string().as_str())
            }
            (_, On::Status | On::RequestLine) => false,
            _ => true,
        };
        if !fits {
            let rule = "`do` is for stream and answer, status and request-line take `set` alone";
            return Err(format!("`on` does not take this edit: {rule}"));
        }
        for path in self.when.iter().filter_map(|it| Path::parse(&it.at).ok()) {
            let known = match path.begins() {
                (Some("status"), _) => true,
                (Some("request"), second) => {
                    second.is_some_and(|it| ["method", "path", "headers", "body"].contains(&it))
                }
                _ => false,
            };
            if !known {
                let there_is = "`status`, and below `request` method, path, headers, body";
                return Err(format!("`when`: `{path}` leads nowhere; there is {there_is}"));
            }
        }
        let checks =
            |list: &[Expectation]| list.iter().map(Expectation::check).collect::<Result<Vec<_>, _>>();
        Ok(Edit {
            on: self.on,
            deed: change,
            place: checks(&self.place)?,
            which: self.which,
            when: checks(&self.when)?,
        })
    }
}

impl Mutant {
    /// The broken server: this one with edits. `good` is a bearer token that it takes.
    #[must_use]
    pub fn of(&self, server: Arc<dyn Exchange>, clock: Arc<dyn Clock>, good: &str) -> Arc<dyn Exchange> {
        Arc::new(Broken::new(server, clock, self.edits.clone(), good))
    }
}
