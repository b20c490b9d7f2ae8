//! The one door to sending.

use std::collections::BTreeSet;
use std::fmt;

use vertex_chat_types::{ChatRequest, Content, ContentPart, Extra, Json, Message, ParseError};

use crate::aside::Aside;
use crate::report::{Action, Note, Problem, Rejection, Report};
use crate::schema::SCHEMA_BYTES_MAX;
use crate::steps::{PREPARE_STEPS_MAX, Steps};
use crate::table::{PARAMETERS, Support, parameter};
use crate::{Dialect, Glance, Policy, Rewrite, Rewrites, rewrite, rules};

/// Room for what a part or a message has beside its text, in bytes.
const PART_ROOM: usize = 128;
/// Room for what a request has beside its messages, in bytes.
const REQUEST_ROOM: usize = 512;

/// What a request is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The kind of server.
    pub dialect: Dialect,
    /// What to do with what it does not take.
    pub policy: Policy,
    /// Which rewrites are on.
    pub rewrites: Rewrites,
    /// How much work preparing may be, in steps. [`PREPARE_STEPS_MAX`], which is also the most.
    pub steps_max: u64,
}

impl Target {
    /// A server of this kind, with the policy that is its default.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            policy: dialect.default_policy(),
            rewrites: Rewrites::all(),
            steps_max: PREPARE_STEPS_MAX,
        }
    }

    /// Sets the policy.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets which rewrites are on.
    #[must_use]
    pub fn with_rewrites(mut self, rewrites: Rewrites) -> Self {
        self.rewrites = rewrites;
        self
    }

    /// Sets how much work preparing may be, in steps; at most [`PREPARE_STEPS_MAX`].
    #[must_use]
    pub fn with_steps_max(mut self, steps: u64) -> Self {
        self.steps_max = steps;
        self
    }
}

/// A request that may be sent: checked, filtered, written.
///
/// Only [`prepare`] and [`prepare_json`] make one.
#[derive(Clone, PartialEq)]
pub struct PreparedRequest {
    body: Vec<u8>,
    model: Option<String>,
    stream: bool,
    report: Report,
    steps: u64,
}

impl PreparedRequest {
    /// The body, JSON.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body to keep.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// The model it asks for.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Whether it asks for a stream.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// What was done to it.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How much work it was, in steps; at most [`PREPARE_STEPS_MAX`].
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The body, the model that it asks for, and what was done to it.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Option<String>, Report) {
        (self.body, self.model, self.report)
    }
}

impl fmt::Debug for PreparedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedRequest")
            .field("body_bytes", &self.body.len())
            .field("model", &self.model)
            .field("stream", &self.stream)
            .field("report", &self.report)
            .finish()
    }
}

/// Makes a request ready for a server.
///
/// # Errors
/// With every fault that the server would certainly find; with [`Policy::Reject`] also with every parameter that it
/// does not take.
pub fn prepare(mut request: ChatRequest, target: &Target) -> Result<PreparedRequest, Rejection> {
    prepare_in_place(&mut request, target)
}

/// [`prepare`], leaving the request as it is sent. A request is some 2 KiB, and moving it costs as much as writing it.
///
/// # Errors
/// As [`prepare`]; the request may then have been changed in part.
pub fn prepare_in_place(request: &mut ChatRequest, target: &Target) -> Result<PreparedRequest, Rejection> {
    let mut report = Report::default();
    let mut steps = Steps::up_to(target.steps_max);
    filter(request, target, &mut report, &mut steps)?;
    let body = written(request);
    let (stream, model) = (request.is_stream(), request.model.clone());
    Ok(PreparedRequest { body, stream, model, report, steps: steps.used() })
}

/// Writes a request into a buffer that need not grow, and so is not copied while it does.
fn written(request: &ChatRequest) -> Vec<u8> {
    let part = |part: &ContentPart| {
        let text = part.text.as_ref().map_or(0, String::len);
        let image = part.image_url.as_ref().map_or(0, |it| it.url().len());
        let audio = part.input_audio.as_ref().map_or(0, |it| it.data().len());
        let file = part.file.as_ref().and_then(|it| it.file_data.as_ref()).map_or(0, String::len);
        text + image + audio + file + PART_ROOM
    };
    let content = |message: &Message| match message.content.get() {
        Some(Content::Text(text)) => text.len() + PART_ROOM,
        Some(content) => content.parts().iter().map(part).sum(),
        None => PART_ROOM,
    };
    let mut body = Vec::with_capacity(REQUEST_ROOM + request.messages.iter().map(content).sum::<usize>());
    request.write_json(&mut body);
    body
}

/// Makes the body of a request ready for a server. Where nothing has to change, the bytes stay what they are.
///
/// # Errors
/// As [`prepare`], and when the body is not a request: then with the path and what was expected there.
pub fn prepare_json(body: Vec<u8>, target: &Target) -> Result<PreparedRequest, Rejection> {
    let glance = Glance::of(&body);
    prepare_glanced(body, glance.as_ref(), target)
}

/// [`prepare_json`] for a body that was looked at before. `glance` has to be of this very body.
///
/// # Errors
/// As [`prepare_json`].
pub fn prepare_glanced(
    body: Vec<u8>,
    glance: Option<&Glance>,
    target: &Target,
) -> Result<PreparedRequest, Rejection> {
    if let Some(glance) = glance.filter(|it| it.is_quiet(target)) {
        let (stream, model) = (glance.is_stream(), glance.model().map(str::to_owned));
        return Ok(PreparedRequest { body, stream, model, report: Report::default(), steps: 0 });
    }
    let aside = Aside::of(&body);
    let slim = aside.as_ref().map(|aside| (aside, prepare_text(aside.slim(), target)));
    let (rewritten, rest) = match slim {
        // What is cut is written once; inlined references may have multiplied it, past the limits that were looked at.
        Some((aside, Ok((rewritten, rest))))
            if rewritten
                .as_ref()
                .is_none_or(|it| aside.restored_len(it) <= body.len() + SCHEMA_BYTES_MAX) =>
        {
            let model = rest.model.map(|model| aside.restore(&model));
            let model = model.map(|it| String::from_utf8(it).expect("because only ASCII was cut"));
            (rewritten.map(|it| aside.restore(&it)), Rest { model, ..rest })
        }
        // What is wrong is said of the whole body.
        _ => {
            let (rewritten, rest) = prepare_text(&body, target)?;
            (rewritten.map(String::into_bytes), rest)
        }
    };
    let Rest { stream, model, report, steps } = rest;
    Ok(PreparedRequest { body: rewritten.unwrap_or(body), stream, model, report, steps })
}

/// A prepared request but for its body.
struct Rest {
    stream: bool,
    model: Option<String>,
    report: Report,
    steps: u64,
}

/// Reads a body, and writes it anew if something has to change.
fn prepare_text(body: &[u8], target: &Target) -> Result<(Option<String>, Rest), Rejection> {
    let mut request = read(body, target.dialect)?;
    let mut report = Report::default();
    note_nulls(body, &request, target, &mut report);
    let mut steps = Steps::up_to(target.steps_max);
    filter(&mut request, target, &mut report, &mut steps)?;
    let changed = report.notes().iter().any(|note| note.action != Action::Forwarded);
    let text =
        changed.then(|| String::from_utf8(written(&request)).expect("because JSON is written in UTF-8"));
    let (stream, model) = (request.is_stream(), request.model.take());
    Ok((text, Rest { stream, model, report, steps: steps.used() }))
}

/// Notes the parameters that the reader has left out because they are null, and that must not be sent so.
fn note_nulls(body: &[u8], request: &ChatRequest, target: &Target, report: &mut Report) {
    // Few bodies have a null, and only those are worth reading again.
    if !body.windows(b"null".len()).any(|bytes| bytes == b"null") {
        return;
    }
    let Target { dialect, policy, rewrites, .. } = *target;
    let Ok(fields) = Extra::from_json(body) else { return };
    let rule = Rewrite::DropNulls;
    let is_rewritten = rewrites.contains(rule) && rule.applies_to(dialect);
    let unread: BTreeSet<&str> = request.extra.iter().map(|(key, _)| key).collect();
    for (key, _) in fields.iter().filter(|(key, value)| value.is_null() && !unread.contains(key)) {
        let support = parameter(key).map(|it| it.support(dialect));
        if is_rewritten {
            let reason = "left out: it is null".to_owned();
            report.push(Note { path: key.to_owned(), action: Action::Rewritten, reason, rule: Some(rule) });
        } else if matches!(support, Some(Support::Ignored | Support::Refused(_))) && policy != Policy::Forward
        {
            report.add(key, Action::Dropped, format!("it is null, and not taken by {dialect}"));
        }
    }
}

/// Reads a request. Only a parameter that the server certainly takes has to have its type: no source says that the
/// others are looked at.
fn read(body: &[u8], dialect: Dialect) -> Result<ChatRequest, Rejection> {
    let error = match ChatRequest::from_json(body) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    let Ok(mut fields) = Extra::from_json(body) else {
        return Err(not_a_request(&error, true).unreadable());
    };
    // Each field that may have any type is read alone, so that the whole is read only twice.
    let has_odd_type = |name: &str, value: &Json| {
        parameter(name).is_some_and(|it| it.support(dialect) != Support::Taken) && {
            let mut alone = Extra::default();
            alone.insert("messages", "[]".parse::<Json>().expect("because it is JSON"));
            alone.insert(name, value.clone());
            ChatRequest::from_json(alone.to_json()).is_err()
        }
    };
    let odd_names: Vec<String> = fields
        .iter()
        .filter(|(name, value)| has_odd_type(name, value))
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut odd = Extra::default();
    for name in odd_names {
        if let Some(value) = fields.remove(&name) {
            odd.insert(name, value);
        }
    }
    if odd.is_empty() {
        return Err(not_a_request(&error, true));
    }
    match ChatRequest::from_json(fields.to_json()) {
        Ok(mut request) => {
            request.extra.merge(odd);
            Ok(request)
        }
        Err(another) => Err(not_a_request(&another, false)),
    }
}

/// `whole`: whether the error is of the body itself, so that its position is right.
fn not_a_request(error: &ParseError, whole: bool) -> Rejection {
    let position = error.position().filter(|_| whole);
    let place = position.map(|(line, column)| format!(" (at line {line}, column {column} of the body)"));
    Rejection::one(Problem {
        path: error.path().to_owned(),
        message: format!("{}{}", error.message(), place.unwrap_or_default()),
        remedy: String::new(),
        source: Dialect::OpenAi.source(),
        is_unsupported: false,
    })
}

/// Checks the request, and takes out or reports what the server does not take.
fn filter(
    request: &mut ChatRequest,
    target: &Target,
    report: &mut Report,
    steps: &mut Steps,
) -> Result<(), Rejection> {
    let Target { dialect, policy, rewrites, .. } = *target;
    let mut problems = Vec::new();
    rewrite::apply(request, dialect, rewrites, report, &mut problems, steps);
    rules::check(request, dialect, &mut problems);
    for parameter in &PARAMETERS {
        let reason = match parameter.support(dialect) {
            Support::Taken | Support::Varies => continue,
            Support::Ignored => "ignored",
            Support::Refused(_) => "refused",
        };
        if !(parameter.is_present)(request) {
            continue;
        }
        let reason = || format!("{reason} by {dialect}");
        match policy {
            Policy::Drop => {
                for path in (parameter.remove)(request) {
                    report.add(path, Action::Dropped, reason());
                }
            }
            Policy::Forward => report.add(parameter.path, Action::Forwarded, reason()),
            Policy::Reject => problems.push(not_taken(parameter.path, reason(), dialect)),
        }
    }
    unknown(request, target, report, &mut problems);
    let is_over = steps.is_over();
    Rejection::check(problems).map_err(|it| if is_over { it.too_costly() } else { it })
}

/// What [`Policy::Reject`] says of a parameter.
fn not_taken(path: &str, message: String, dialect: Dialect) -> Problem {
    Problem {
        path: path.to_owned(),
        message,
        remedy: "leave it out, or choose another policy".to_owned(),
        source: dialect.source(),
        is_unsupported: true,
    }
}

/// The most unknown parameters of a request that are compared with all known ones, to name the one that was meant.
const MEANT_MAX: usize = 8;

/// The parameter that was probably meant by the unknown one of this number: `; did you mean …?`, or nothing.
fn meant(number: usize, key: &str) -> String {
    /// Longer names are no slips of parameters.
    const NAME_BYTES_MAX: usize = 48;
    if number >= MEANT_MAX || key.len() > NAME_BYTES_MAX {
        return String::new();
    }
    let bare = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let names = PARAMETERS.iter().map(|it| it.path).filter(|it| !it.contains('.'));
    let distances = names.map(|name| (distance(bare(key).as_bytes(), bare(name).as_bytes()), name));
    match distances.min() {
        Some((distance, name)) if distance <= 1 + key.len() / 8 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// How many letters have to be put in, taken out or changed to make one word of the other (Levenshtein's).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, its) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != its);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// What no row of the table names. The Developer API refuses it by rule; the others are asked, on Vertex with a word.
fn unknown(request: &mut ChatRequest, target: &Target, report: &mut Report, problems: &mut Vec<Problem>) {
    let Target { dialect, policy, .. } = *target;
    let keys = request.extra.iter().map(|(key, _)| key).filter(|key| parameter(key).is_none());
    let keys: Vec<String> = keys.map(str::to_owned).collect();
    if dialect != Dialect::GeminiDeveloper {
        for (i, key) in keys.iter().enumerate().filter(|_| dialect.is_vertex()) {
            let reason = format!("not a known parameter{}", meant(i, key));
            match policy {
                Policy::Reject => problems.push(not_taken(key, reason, dialect)),
                // It may be one that is new.
                Policy::Drop | Policy::Forward => report.add(key, Action::Forwarded, reason),
            }
        }
        return;
    }
    for (i, key) in keys.iter().enumerate() {
        let reason = format!("not a known parameter, and refused by {dialect}{}", meant(i, key));
        match policy {
            Policy::Drop => report.add(key, Action::Dropped, reason),
            Policy::Forward => report.add(key, Action::Forwarded, reason),
            Policy::Reject => problems.push(not_taken(key, reason, dialect)),
        }
    }
    if policy == Policy::Drop && !keys.is_empty() {
        request.extra.retain(|key, _| parameter(key).is_some());
    }
}
