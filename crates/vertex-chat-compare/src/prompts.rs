//! Prompts from files: JSON lines, CSV with a template, plain text.
//!
//! A line of JSON lines is one of these; blank lines are skipped:
//!
//! | line | is |
//! |---|---|
//! | `"Tell a story."` | what the person says |
//! | `[{"role":"user","content":"Tell a story."}]` | the messages |
//! | `{"prompt":"Tell a story.","system":"Be brief."}` | what the person says, and the instructions above it |
//! | `{"messages":[…],"temperature":0}` | a request |
//! | `{"custom_id":"a","body":{"messages":[…]}}` | a line of a file for OpenAI's batch API |
//!
//! Objects may also have an `id`, and what is `expected`: text, or JSON, which becomes compact text. Their other fields are
//! parameters of this one prompt. A field that no server is known to take is refused, so that a data set's notes do not
//! go to the model; it may stand in the `body` of the batch form, where every field is a parameter. `model` and `stream`
//! are not a prompt's to say and are refused. Only the batch form may have a `model`, which is ignored: such files name
//! the one that they were written for, and here every prompt goes to all models that are compared.

use std::collections::HashMap;
use std::fmt;

use vertex_chat::params::parameter;
use vertex_chat::types::{Extra, ParseError, from_str};
use vertex_chat::{ChatRequest, Json, Message};

use crate::text::{compact, short};

/// The longest file, and the most text that a template makes of one: all of it is kept in memory.
pub const PROMPTS_BYTES_MAX: usize = 256 << 20;
/// The most prompts of one file.
pub const PROMPTS_MAX: usize = 1_000_000;
/// The longest template.
pub const TEMPLATE_BYTES_MAX: usize = 1 << 20;
/// The longest id of a prompt: it stands in tables.
pub const ID_BYTES_MAX: usize = 256;

/// The most characters of a name that an error shows.
const NAME_CHARS_MAX: usize = 80;
/// The most columns that an error names.
const COLUMNS_SHOWN_MAX: usize = 20;

/// What all models are asked.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Prompt {
    /// What reports call it.
    pub id: Option<String>,
    /// The request, without a model.
    pub request: ChatRequest,
    /// What a good answer is, for scoring.
    pub expected: Option<String>,
}

impl Prompt {
    /// What a person says, and nothing else.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(ChatRequest::without_model([Message::user(text.into())]))
    }

    /// A request.
    #[must_use]
    pub fn new(request: ChatRequest) -> Self {
        Self { id: None, request, expected: None }
    }
}

/// Shows the shape and lengths, as requests do: what is expected is as private as what is asked.
impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.expected.as_ref().map(|it| format!("<{} bytes>", it.len()));
        f.debug_struct("Prompt")
            .field("id", &self.id)
            .field("request", &self.request)
            .field("expected", &expected)
            .finish()
    }
}

/// Why a file is not one of prompts: where, what is wrong there, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptError {
    file: String,
    line: Option<u64>,
    path: String,
    problem: String,
}

impl PromptError {
    /// The line, from 1, when it is about one.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// The field, such as `messages[0].content`, or the column; empty when it is about the line as a whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": `{}`", self.path)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for PromptError {}

/// Reads JSON lines; `name` is what errors call the file.
///
/// # Errors
/// The line and the field that is not what it should be; two prompts with one id; no prompt at all; a file that is longer
/// than [`PROMPTS_BYTES_MAX`] or has more than [`PROMPTS_MAX`] prompts.
pub fn read_lines(name: &str, text: &str) -> Result<Vec<Prompt>, PromptError> {
    let mut found = Found::in_file(name, text)?;
    for (number, line) in (1..).zip(without_mark(text).lines()) {
        if !line.trim().is_empty() {
            found.add(number, read_line(line))?;
        }
    }
    found.end("write one prompt a line, such as {\"prompt\":\"Tell a story.\"}")
}

/// Reads a text as one prompt, all of it; the end of its last line is no part of it.
///
/// # Errors
/// When there is nothing in it, or more than [`PROMPTS_BYTES_MAX`].
pub fn read_text(name: &str, text: &str) -> Result<Vec<Prompt>, PromptError> {
    let found = Found::in_file(name, text)?;
    let text = without_mark(text);
    let text = text.strip_suffix('\n').map_or(text, |it| it.strip_suffix('\r').unwrap_or(it));
    if text.trim().is_empty() {
        return found.end("the whole file is the prompt; write one");
    }
    Ok(vec![Prompt::text(text)])
}

/// Reads CSV whose first row names the columns. Each further row makes a prompt of the template, in which `{text}` stands
/// for the column `text`, `{{` and `}}` for braces. Columns called `id`, `expected` and `system` say what the fields of
/// JSON lines do; an empty cell there says nothing.
///
/// # Errors
/// A template that is none, or has no column or one that the file lacks; a row with more or fewer cells than the first;
/// and what [`read_lines`] refuses.
pub fn read_csv(name: &str, text: &str, template: &str) -> Result<Vec<Prompt>, PromptError> {
    let mut found = Found::in_file(name, text)?;
    let wrong = |problem: String| PromptError {
        file: "the template".to_owned(),
        line: None,
        path: String::new(),
        problem,
    };
    let template = Template::parse(template).map_err(wrong)?;
    if template.names().next().is_none() {
        let problem =
            "it has no column, and every prompt would be the same; write one in braces, such as {text}";
        return Err(wrong(problem.to_owned()));
    }

    let text = without_mark(text);
    let mut lines = LineCount { text: text.as_bytes(), counted: 0, line: 1 };
    let mut rows = csv::Reader::from_reader(text.as_bytes());
    let header = rows.headers().map_err(|error| found.csv_error(&error, &mut lines))?.clone();
    let column = |wanted: &str| header.iter().position(|it| it.trim() == wanted);
    for wanted in template.names() {
        if column(wanted).is_none() {
            let problem = format!(
                "{name} has no column `{}`; it has {} (a brace that is text is written twice)",
                shown(wanted),
                columns(&header)
            );
            return Err(wrong(problem));
        }
    }
    for wanted in template.names().chain(["id", "expected", "system"]) {
        if header.iter().filter(|it| it.trim() == wanted).count() > 1 {
            return Err(found.error(1, Fault::at(&shown(wanted), "two columns have this name; rename one")));
        }
    }
    let (id, expected, system) = (column("id"), column("expected"), column("system"));
    let wanted: HashMap<&str, Option<usize>> = template.names().map(|it| (it, column(it))).collect();

    let mut row = csv::StringRecord::new();
    let mut made = 0_usize;
    let mut last = 1;
    while rows.read_record(&mut row).map_err(|error| found.csv_error(&error, &mut lines))? {
        let number = lines.at(row.position());
        let cell = |place: Option<usize>| place.and_then(|it| row.get(it)).filter(|it| !it.is_empty());
        let text = template.fill(|name| cell(wanted.get(name).copied().flatten()).unwrap_or_default());
        made = made.saturating_add(text.len());
        if made > PROMPTS_BYTES_MAX {
            let problem =
                format!("the prompts up to here have more than {PROMPTS_BYTES_MAX} bytes; split the file");
            return Err(found.error(number, Fault::whole(problem)));
        }
        let prompt = checked_id(cell(id).map(str::to_owned)).and_then(|id| {
            let messages = messages(cell(system).map(str::to_owned), text, "the template with this row")?;
            let request = ChatRequest::without_model(messages);
            Ok(Prompt { id, request, expected: cell(expected).map(str::to_owned) })
        });
        found.add(number, prompt)?;
        last = number;
    }
    // The reader takes all that follows an open quote for one cell.
    if text.bytes().filter(|it| *it == b'"').count() % 2 == 1 {
        let problem =
            "a quote is open to the end of the file; close it, and write a quote within quotes twice";
        return Err(found.error(last, Fault::whole(problem.to_owned())));
    }
    found.end("write rows below the one that names the columns")
}

/// The prompts of a file so far, and where their ids are.
struct Found<'a> {
    file: &'a str,
    prompts: Vec<Prompt>,
    lines_of_ids: HashMap<String, u64>,
}

impl<'a> Found<'a> {
    fn in_file(file: &'a str, text: &str) -> Result<Self, PromptError> {
        let found = Self { file, prompts: Vec::new(), lines_of_ids: HashMap::new() };
        if text.len() > PROMPTS_BYTES_MAX {
            let problem =
                format!("it has {} bytes; up to {PROMPTS_BYTES_MAX} are read, so split it", text.len());
            return Err(found.error(None, Fault::whole(problem)));
        }
        Ok(found)
    }

    fn error(&self, line: impl Into<Option<u64>>, fault: Fault) -> PromptError {
        PromptError {
            file: self.file.to_owned(),
            line: line.into(),
            path: fault.path,
            problem: fault.problem,
        }
    }

    fn csv_error(&self, error: &csv::Error, lines: &mut LineCount<'_>) -> PromptError {
        let problem = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!(
                "the row has {len} cells and the first one {expected_len}; a cell with a comma, a quote or a line end \
                 in it stands in quotes"
            ),
            _ => "this is no CSV".to_owned(),
        };
        self.error(lines.at(error.position()), Fault::whole(problem))
    }

    fn add(&mut self, line: u64, prompt: Result<Prompt, Fault>) -> Result<(), PromptError> {
        let prompt = prompt.map_err(|fault| self.error(line, fault))?;
        if self.prompts.len() == PROMPTS_MAX {
            let problem = format!("this is one more than {PROMPTS_MAX} prompts; split the file");
            return Err(self.error(line, Fault::whole(problem)));
        }
        if let Some(id) = &prompt.id
            && let Some(first) = self.lines_of_ids.insert(id.clone(), line)
        {
            let problem = format!("line {first} has the id {} too; give each prompt its own", quoted(id));
            return Err(self.error(line, Fault::at("id", problem)));
        }
        self.prompts.push(prompt);
        Ok(())
    }

    fn end(self, remedy: &str) -> Result<Vec<Prompt>, PromptError> {
        if self.prompts.is_empty() {
            return Err(self.error(None, Fault::whole(format!("there is no prompt in it; {remedy}"))));
        }
        Ok(self.prompts)
    }
}

/// Which line a row begins in. The csv crate's own count leaves out blank lines before the row, and the second half of
/// `\r\n`; its bytes are right.
struct LineCount<'a> {
    text: &'a [u8],
    counted: usize,
    line: u64,
}

impl LineCount<'_> {
    fn at(&mut self, position: Option<&csv::Position>) -> u64 {
        let byte = position.map_or(0, |it| usize::try_from(it.byte()).unwrap_or(usize::MAX));
        let passed = &self.text[self.counted..];
        let inside = byte.saturating_sub(self.counted).min(passed.len());
        let blank = passed[inside..].iter().take_while(|it| matches!(it, b'\r' | b'\n')).count();
        self.line += passed[..inside + blank].iter().map(|it| u64::from(*it == b'\n')).sum::<u64>();
        self.counted += inside + blank;
        self.line
    }
}

/// What is wrong with one line.
struct Fault {
    path: String,
    problem: String,
}

impl Fault {
    fn whole(problem: impl Into<String>) -> Self {
        Self::at("", problem)
    }

    fn at(path: &str, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }

    /// The path of an error may have keys in it that somebody wrote.
    fn of(error: &ParseError) -> Self {
        Self::at(&shown(error.path()), error.message())
    }

    /// A line that is no JSON at all has a column, and often one cause.
    fn of_line(error: &ParseError) -> Self {
        let mut fault = Self::of(error);
        if let (true, Some((_, column))) = (fault.path.is_empty(), error.position()) {
            fault.problem =
                format!("{} at column {column}; each line is one whole JSON value", fault.problem);
        }
        fault
    }

    fn below(mut self, parent: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.path = format!("{parent}{dot}{}", self.path);
        self
    }
}

/// One line that is not blank.
fn read_line(line: &str) -> Result<Prompt, Fault> {
    match line.trim_start().as_bytes().first() {
        Some(b'"') => {
            let text: String = from_str(line).map_err(|error| Fault::of_line(&error))?;
            Ok(Prompt::new(ChatRequest::without_model(messages(None, text, "the prompt")?)))
        }
        Some(b'[') => {
            let list: Vec<Message> = from_str(line).map_err(|error| Fault::of_line(&error))?;
            if list.is_empty() {
                return Err(Fault::whole("the list of messages is empty; write at least one"));
            }
            Ok(Prompt::new(ChatRequest::without_model(list)))
        }
        Some(b'{') => {
            let fields = Extra::from_json(line).map_err(|error| Fault::of_line(&error))?;
            if fields.get("body").is_some() || fields.get("custom_id").is_some() {
                read_batch(fields)
            } else {
                read_fields(fields)
            }
        }
        _ => {
            let problem = "a line is a JSON string, a list of messages or an object; plain text goes in a file of its own";
            Err(Fault::whole(problem))
        }
    }
}

/// A line of a batch file, whose `body` is the request.
fn read_batch(mut fields: Extra) -> Result<Prompt, Fault> {
    let id = take_id(&mut fields, "custom_id")?;
    let expected = take_expected(&mut fields);
    if let Some(url) = fields.remove("url").and_then(|it| it.to_text())
        && !url.ends_with("chat/completions")
    {
        return Err(Fault::at("url", "only chat completions can be compared; take the line out"));
    }
    fields.remove("method");
    let body =
        fields.remove("body").ok_or_else(|| Fault::at("body", "it is missing; the request goes there"))?;
    if let Some((key, _)) = fields.iter().find(|(_, value)| !value.is_null()) {
        let problem = "beside `body` there are `custom_id`, `method`, `url` and `expected`; take it out, or put it in the body";
        return Err(Fault::at(&shown(key), problem));
    }
    let mut body: Extra = Extra::from_json(&body).map_err(|error| Fault::of(&error).below("body"))?;
    body.remove("model");
    if body.get("messages").is_none() {
        return Err(Fault::at("body.messages", "it is missing; write the messages there"));
    }
    let request = read_request(body).map_err(|fault| fault.below("body"))?;
    Ok(Prompt { id, request, expected })
}

/// A line of our own form: `messages`, or `prompt` and `system`.
fn read_fields(mut fields: Extra) -> Result<Prompt, Fault> {
    let id = take_id(&mut fields, "id")?;
    let expected = take_expected(&mut fields);
    let prompt = take_text(&mut fields, "prompt")?;
    let system = take_text(&mut fields, "system")?;
    if fields.get("model").is_some_and(|it| !it.is_null()) {
        return Err(Fault::at("model", "every prompt goes to all models that are compared; take it out"));
    }
    fields.remove("model");
    match (prompt, fields.get("messages").is_some()) {
        (Some(_), true) => {
            return Err(Fault::at("prompt", "there are `messages` too; keep one of the two"));
        }
        (Some(prompt), false) => {
            let messages = messages(system, prompt, "it").map_err(|fault| fault.below("prompt"))?;
            let messages = Json::from_serialize(&messages).map_err(|error| Fault::of(&error))?;
            fields.insert("messages", messages);
        }
        (None, true) if system.is_some() => {
            return Err(Fault::at(
                "system",
                "it goes with `prompt`; with `messages`, make it the first of them",
            ));
        }
        (None, true) => {}
        (None, false) => {
            return Err(Fault::whole("it has neither `prompt` nor `messages`; write one of the two"));
        }
    }
    let request = read_request(fields)?;
    if let Some((key, _)) = request.extra.iter().find(|(key, _)| parameter(key).is_none()) {
        let problem = "no server is known to take it, and it would be sent to the model; take it out, or write the line as \
                       {\"body\":{…}} with it in the body";
        return Err(Fault::at(&shown(key), problem));
    }
    Ok(Prompt { id, request, expected })
}

/// The fields as a request, which says neither who answers nor whether in pieces.
fn read_request(mut fields: Extra) -> Result<ChatRequest, Fault> {
    for key in ["stream", "stream_options"] {
        if fields.remove(key).is_some_and(|it| !it.is_null()) {
            return Err(Fault::at(key, "whether answers are streamed is a setting of the run; take it out"));
        }
    }
    let request = ChatRequest::from_json(fields.to_json()).map_err(|error| Fault::of(&error))?;
    if request.messages.is_empty() {
        return Err(Fault::at("messages", "the list is empty; write at least one message"));
    }
    Ok(request)
}

fn messages(system: Option<String>, text: String, what: &str) -> Result<Vec<Message>, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::whole(format!(
            "{what} is empty; write what the model is asked, or take the line out"
        )));
    }
    Ok(system.map(Message::system).into_iter().chain([Message::user(text)]).collect())
}

fn take_text(fields: &mut Extra, key: &str) -> Result<Option<String>, Fault> {
    let Some(value) = fields.remove(key).filter(|it| !it.is_null()) else { return Ok(None) };
    match from_str(value.as_str()) {
        Ok(text) => Ok(Some(text)),
        Err(_) if value.as_str().starts_with('[') => {
            Err(Fault::at(key, "it is a string; a list of messages goes in `messages`"))
        }
        Err(_) => Err(Fault::at(key, "it is a string; write it in quotes")),
    }
}

/// Ids of data sets are often numbers, and are text here.
fn take_id(fields: &mut Extra, key: &str) -> Result<Option<String>, Fault> {
    let Some(value) = fields.remove(key).filter(|it| !it.is_null()) else { return Ok(None) };
    let is_number = value.as_str().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let id = if is_number { Some(value.as_str().to_owned()) } else { value.to_text() };
    let id = id.ok_or_else(|| Fault::at(key, "it is a string or a number; write one"))?;
    checked_id(Some(id)).map_err(|fault| Fault::at(key, fault.problem))
}

fn checked_id(id: Option<String>) -> Result<Option<String>, Fault> {
    match id {
        Some(id) if id.trim().is_empty() => Err(Fault::at("id", "it is empty; write one, or leave it out")),
        Some(id) if id.len() > ID_BYTES_MAX => {
            let problem = format!("it has {} bytes and may have {ID_BYTES_MAX}; shorten it", id.len());
            Err(Fault::at("id", problem))
        }
        id => Ok(id),
    }
}

fn take_expected(fields: &mut Extra) -> Option<String> {
    let value = fields.remove("expected").filter(|it| !it.is_null())?;
    Some(value.to_text().unwrap_or_else(|| compact(value.as_str())))
}

/// Editors on Windows put a byte order mark before what they save.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn shown(name: &str) -> String {
    short(name, NAME_CHARS_MAX)
}

fn quoted(name: &str) -> String {
    format!("`{}`", shown(name))
}

fn columns(header: &csv::StringRecord) -> String {
    let mut names: Vec<String> = header.iter().take(COLUMNS_SHOWN_MAX).map(|it| quoted(it.trim())).collect();
    if header.len() > COLUMNS_SHOWN_MAX {
        names.push(format!("{} more", header.len() - COLUMNS_SHOWN_MAX));
    }
    names.join(", ")
}

/// A text with names in braces, for which other texts are put. What is put there is not looked at again: a prompt or an
/// answer with braces in it stays what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl Template {
    /// What is wrong comes as the end of a sentence that begins with the template's name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEMPLATE_BYTES_MAX {
            return Err(format!("it has {} bytes and may have {TEMPLATE_BYTES_MAX}; shorten it", text.len()));
        }
        let at = |rest: &str| text[..text.len() - rest.len()].chars().count() + 1;
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(place) = rest.find(['{', '}']) {
            plain.push_str(&rest[..place]);
            rest = &rest[place..];
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                plain.push_str(&rest[..1]);
                rest = after;
                continue;
            }
            let Some(after) = rest.strip_prefix('{') else {
                return Err(format!(
                    "character {} is a `}}` that closes nothing; write `}}}}` for a brace",
                    at(rest)
                ));
            };
            let name = after.split_once('}').map(|(name, _)| name).filter(|it| !it.contains(['{', '\n']));
            let Some(name) = name else {
                let problem = "is a `{` that is not closed; write `{{` for a brace";
                return Err(format!("character {} {problem}", at(rest)));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Name(name.trim().to_owned()));
            rest = &after[name.len() + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The names, in order, each as often as it comes.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Name(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// The text, with this in place of each name.
    pub(crate) fn fill<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let texts = self.0.iter().map(|part| match part {
            Part::Text(text) => &**text,
            Part::Name(name) => value(name),
        });
        texts.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vertex_chat::{Content, Role};

    use super::*;

    fn one(line: &str) -> Prompt {
        let mut prompts = read_lines("p.jsonl", line).unwrap();
        assert_eq!(prompts.len(), 1);
        prompts.remove(0)
    }

    fn said(prompt: &Prompt) -> Vec<(String, String)> {
        let messages = prompt.request.messages.iter();
        messages
            .map(|it| (it.role.to_string(), it.content.get().map(Content::text).unwrap_or_default()))
            .collect()
    }

    #[track_caller]
    fn check_refused(line: &str, expected: &str) {
        let error = read_lines("p.jsonl", &format!("\"first\"\n\n{line}\n")).unwrap_err();
        assert_eq!(error.to_string(), format!("p.jsonl:3: {expected}"));
        assert_eq!(error.line(), Some(3));
    }

    fn user(text: &str) -> (String, String) {
        ("user".to_owned(), text.to_owned())
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        assert_eq!(one("\"Tell a \\\"story\\\".\""), Prompt::text("Tell a \"story\"."));
        assert_eq!(said(&one(r#"[{"role":"user","content":"hi"}]"#)), [user("hi")]);

        let prompt =
            one(r#"{"prompt":"hi","system":"Be brief.","id":"a","expected":"ho","temperature":0.5}"#);
        assert_eq!(said(&prompt), [("system".to_owned(), "Be brief.".to_owned()), user("hi")]);
        assert_eq!((prompt.id.as_deref(), prompt.expected.as_deref()), (Some("a"), Some("ho")));
        assert_eq!(prompt.request.temperature, Some(0.5));

        let prompt = one(
            r#"{"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f"}}],"top_k":3,"id":7}"#,
        );
        assert_eq!(prompt.id.as_deref(), Some("7"));
        assert_eq!(prompt.request.tools.as_ref().map(Vec::len), Some(1));
        assert_eq!(prompt.request.extra.get("top_k").map(Json::as_str), Some("3"));
        assert_eq!(prompt.request.model, None);
    }

    #[test]
    fn a_batch_file_is_read_and_its_model_ignored() {
        let prompt = one(
            r#"{"custom_id":"r-1","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt","messages":[{"role":"user","content":"hi"}],"odd":1}}"#,
        );
        assert_eq!(prompt.id.as_deref(), Some("r-1"));
        assert_eq!(prompt.request.model, None);
        assert_eq!(prompt.request.extra.get("odd").map(Json::as_str), Some("1"));
        check_refused(r#"{"custom_id":"a"}"#, "`body`: it is missing; the request goes there");
        check_refused(
            r#"{"custom_id":"a","url":"/v1/embeddings","body":{}}"#,
            "`url`: only chat completions can be compared; take the line out",
        );
        check_refused(
            r#"{"body":{"messages":[{"content":5,"role":"user"}]}}"#,
            "`body.messages[0].content`: expected a string or an array, found a number",
        );
        check_refused(r#"{"body":{"input":1}}"#, "`body.messages`: it is missing; write the messages there");
        check_refused(r#"{"body":5}"#, "`body`: invalid type: integer, expected an object");
        check_refused(
            r#"{"body":{"messages":[]},"temperature":1}"#,
            "`temperature`: beside `body` there are `custom_id`, `method`, `url` and `expected`; take it out, or put it \
             in the body",
        );
    }

    #[test]
    fn expected_json_becomes_compact_text_as_it_was_spelled() {
        let prompt = one(r#"{"prompt":"hi","expected": {"b": 1.10, "a": ["x \" y", null] } }"#);
        assert_eq!(prompt.expected.as_deref(), Some(r#"{"b":1.10,"a":["x \" y",null]}"#));
        assert_eq!(one(r#"{"prompt":"hi","expected":null}"#).expected, None);
        assert_eq!(one(r#"{"prompt":"hi","expected":42}"#).expected.as_deref(), Some("42"));
    }

    #[test]
    fn marks_blank_lines_and_windows_line_ends_are_no_matter() {
        let prompts = read_lines("p", "\u{feff}\"a\"\r\n\r\n  \r\n\"b\"").unwrap();
        assert_eq!(prompts, [Prompt::text("a"), Prompt::text("b")]);
    }

    #[test]
    fn what_is_not_a_prompts_to_say_is_refused_with_the_remedy() {
        check_refused(
            r#"{"prompt":"hi","model":"m"}"#,
            "`model`: every prompt goes to all models that are compared; take it out",
        );
        check_refused(
            r#"{"prompt":"hi","stream":true}"#,
            "`stream`: whether answers are streamed is a setting of the run; take it out",
        );
        check_refused(
            r#"{"prompt":"hi","category":"math"}"#,
            "`category`: no server is known to take it, and it would be sent to the model; take it out, or write the line \
             as {\"body\":{…}} with it in the body",
        );
    }

    #[test]
    fn what_is_no_prompt_is_refused_where_it_is() {
        check_refused(
            "Tell a story.",
            "a line is a JSON string, a list of messages or an object; plain text goes in a file of its own",
        );
        check_refused(
            r#"{"prompt":"#,
            "EOF while parsing a value at column 10; each line is one whole JSON value",
        );
        check_refused("[]", "the list of messages is empty; write at least one");
        check_refused("{}", "it has neither `prompt` nor `messages`; write one of the two");
        check_refused(r#""  ""#, "the prompt is empty; write what the model is asked, or take the line out");
        check_refused(
            r#"{"prompt":""}"#,
            "`prompt`: it is empty; write what the model is asked, or take the line out",
        );
        check_refused(r#"{"prompt":5}"#, "`prompt`: it is a string; write it in quotes");
        check_refused(r#"{"prompt":[]}"#, "`prompt`: it is a string; a list of messages goes in `messages`");
        check_refused(
            r#"{"prompt":"a","messages":[]}"#,
            "`prompt`: there are `messages` too; keep one of the two",
        );
        check_refused(
            r#"{"system":"a","messages":[]}"#,
            "`system`: it goes with `prompt`; with `messages`, make it the first of them",
        );
        check_refused(r#"{"messages":[]}"#, "`messages`: the list is empty; write at least one message");
        check_refused(
            r#"{"messages":[{"role":"user","content":true}]}"#,
            "`messages[0].content`: expected a string or an array, found a boolean",
        );
        check_refused(
            r#"{"prompt":"a","temperature":"hot"}"#,
            "`temperature`: expected a number, found a string",
        );
        check_refused(r#"{"prompt":"a","id":[1]}"#, "`id`: it is a string or a number; write one");
        check_refused(r#"{"prompt":"a","id":" "}"#, "`id`: it is empty; write one, or leave it out");
        let long = "i".repeat(ID_BYTES_MAX + 1);
        check_refused(
            &format!(r#"{{"prompt":"a","id":"{long}"}}"#),
            "`id`: it has 257 bytes and may have 256; shorten it",
        );
    }

    #[test]
    fn an_id_that_comes_twice_is_refused_with_both_lines() {
        let text = "{\"prompt\":\"a\",\"id\":\"1\"}\n\n{\"prompt\":\"b\",\"id\":1}";
        let error = read_lines("p.jsonl", text).unwrap_err();
        assert_eq!(error.to_string(), "p.jsonl:3: `id`: line 1 has the id `1` too; give each prompt its own");
        assert_eq!(error.path(), "id");
    }

    #[test]
    fn a_file_without_prompts_is_refused() {
        for text in ["", "\n \n", "\u{feff}"] {
            let error = read_lines("p.jsonl", text).unwrap_err().to_string();
            assert!(error.starts_with("p.jsonl: there is no prompt in it; "), "{error}");
            assert!(read_text("p.txt", text).is_err());
        }
        assert!(read_csv("p.csv", "text\n", "{text}").unwrap_err().to_string().contains("no prompt in it"));
        assert!(read_csv("p.csv", "", "{text}").is_err());
    }

    #[test]
    fn a_text_is_one_prompt_without_its_last_line_end() {
        assert_eq!(read_text("p", "\u{feff}a\n\nb\r\n").unwrap(), [Prompt::text("a\n\nb")]);
        assert_eq!(read_text("p", " a\n\n").unwrap(), [Prompt::text(" a\n")]);
    }

    #[test]
    fn rows_fill_the_template() {
        let text = "id,text,expected,system\r\n1,\"one, {id}\r\ntwo\",un,\r\n2,three,,Be brief.\r\n";
        let prompts = read_csv("p.csv", text, "Translate {{to}} {text} ({ text })").unwrap();
        assert_eq!(said(&prompts[0]), [user("Translate {to} one, {id}\r\ntwo (one, {id}\r\ntwo)")]);
        assert_eq!((prompts[0].id.as_deref(), prompts[0].expected.as_deref()), (Some("1"), Some("un")));
        assert_eq!(prompts[1].request.messages[0].role, Role::System);
        assert_eq!(prompts[1].expected, None);
    }

    #[test]
    fn errors_of_csv_name_the_line() {
        let check = |text: &str, template: &str, expected: &str| {
            assert_eq!(read_csv("p.csv", text, template).unwrap_err().to_string(), expected);
        };
        check(
            "text,b\n\"x\ny\",1\nz\n",
            "{text}",
            "p.csv:4: the row has 1 cells and the first one 2; a cell with a comma, a quote or a line end in it stands in \
             quotes",
        );
        check(
            "id,text\n1,a\n\n1,b\n",
            "{text}",
            "p.csv:4: `id`: line 2 has the id `1` too; give each prompt its own",
        );
        check(
            "text\na\n\" \"\n",
            "{text}",
            "p.csv:3: the template with this row is empty; write what the model is asked, or take the line out",
        );
        check("text,text\n1,2\n", "{text}", "p.csv:1: `text`: two columns have this name; rename one");
        check(
            "question, b\n1,2\n",
            "{text}",
            "the template: p.csv has no column `text`; it has `question`, `b` (a brace that is text is written twice)",
        );
        check(
            "a\n1\n",
            "no column",
            "the template: it has no column, and every prompt would be the same; write one in braces, such as {text}",
        );
        check(
            "a\n1\n",
            "é{a",
            "the template: character 2 is a `{` that is not closed; write `{{` for a brace",
        );
        check(
            "a\n1\n",
            "{a}}",
            "the template: character 4 is a `}` that closes nothing; write `}}` for a brace",
        );
    }

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let template = Template::parse("{a}{b}").unwrap();
        assert_eq!(template.fill(|name| if name == "a" { "{b}" } else { "{a}" }), "{b}{a}");
    }

    #[test]
    fn debug_does_not_show_what_is_expected() {
        let prompt = one(r#"{"prompt":"canary","expected":"canary"}"#);
        assert!(!format!("{prompt:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(?s).{0,200}", template in "[{}a-b \n]{0,20}") {
            let _ = read_lines("p", &text);
            let _ = read_text("p", &text);
            let _ = read_csv("p", &text, &template);
        }

        #[test]
        fn no_line_of_json_panics(line in r#"[\[\]{}":,0-9a-z\\ \n]{0,60}"#, key in "messages|prompt|body|id|custom_id|expected|tools") {
            let _ = read_lines("p", &line);
            let _ = read_lines("p", &format!("{{\"{key}\":{line}}}"));
        }

        #[test]
        fn any_text_survives_as_json_and_as_csv(text in "(?s)[^\u{feff}\0]{0,40}x") {
            let line = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(read_lines("p", &line).unwrap(), vec![Prompt::text(text.clone())]);
            let cell = text.replace('"', "\"\"");
            let csv = format!("text\n\"{cell}\"\n");
            prop_assert_eq!(read_csv("p", &csv, "{text}").unwrap(), vec![Prompt::text(text)]);
        }

        #[test]
        fn compact_json_is_the_same_value(text in r#"[\[\]{}":,0-9a-z\\ ]{0,40}"#) {
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&compact(&text)).unwrap(), value);
            }
        }
    }
}
