//! The one door to sending.

use std::fmt;

use vertex_chat_types::{ChatRequest, Extra, Json, ParseError};

use crate::report::{Action, Problem, Rejection, Report};
use crate::table::{PARAMETERS, Support, parameter};
use crate::{Dialect, Policy, rules};

/// What a request is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The kind of server.
    pub dialect: Dialect,
    /// What to do with what it does not take.
    pub policy: Policy,
}

impl Target {
    /// A server of this kind, with the policy that is its default.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, policy: dialect.default_policy() }
    }

    /// Sets the policy.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
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

    /// The body and what was done to it.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Report) {
        (self.body, self.report)
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
    filter(request, target, &mut report)?;
    let body = serde_json::to_vec(request).expect("because every field of a request is JSON");
    Ok(PreparedRequest { body, stream: request.is_stream(), model: request.model.clone(), report })
}

/// Makes the body of a request ready for a server. Where nothing has to change, the bytes stay what they are.
///
/// # Errors
/// As [`prepare`], and when the body is not a request: then with the path and what was expected there.
pub fn prepare_json(body: Vec<u8>, target: &Target) -> Result<PreparedRequest, Rejection> {
    let mut request = read(&body, target.dialect)?;
    let mut report = Report::default();
    filter(&mut request, target, &mut report)?;
    let changed = report.notes().iter().any(|note| note.action != Action::Forwarded);
    let body = if changed {
        serde_json::to_vec(&request).expect("because every field of a request is JSON")
    } else {
        body
    };
    Ok(PreparedRequest { body, stream: request.is_stream(), model: request.model, report })
}

/// Reads a request. Only a parameter that the server certainly takes has to have its type: no source says that the
/// others are looked at.
fn read(body: &[u8], dialect: Dialect) -> Result<ChatRequest, Rejection> {
    let mut error = match vertex_chat_types::from_slice(body) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    let Ok(mut fields) = vertex_chat_types::from_slice::<Extra>(body) else {
        return Err(not_a_request(&error, true));
    };
    let mut odd = Extra::default();
    // Every turn takes one field away.
    loop {
        let name = error.path().split(['.', '[']).next().unwrap_or_default();
        let unread = parameter(name).is_some_and(|it| it.support(dialect) != Support::Taken);
        let Some(value) = unread.then(|| fields.remove(name)).flatten() else {
            return Err(not_a_request(&error, odd.is_empty()));
        };
        odd.insert(name, value);
        match Json::from_serialize(&fields).and_then(|it| it.parse_as::<ChatRequest>()) {
            Ok(mut request) => {
                request.extra.merge(odd);
                return Ok(request);
            }
            Err(another) => error = another,
        }
    }
}

/// `whole`: whether the error is of the body itself, so that its position is right.
fn not_a_request(error: &ParseError, whole: bool) -> Rejection {
    let position = error.position().filter(|_| whole);
    let place = position.map(|(line, column)| format!("at line {line}, column {column} of the body"));
    Rejection::one(Problem {
        path: error.path().to_owned(),
        message: error.message().to_owned(),
        remedy: place.unwrap_or_default(),
        source: "",
    })
}

/// Checks the request, and takes out or reports what the server does not take.
fn filter(request: &mut ChatRequest, target: &Target, report: &mut Report) -> Result<(), Rejection> {
    let Target { dialect, policy } = *target;
    let mut problems = Vec::new();
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
            Policy::Reject => problems.push(Problem {
                path: parameter.path.to_owned(),
                message: reason(),
                remedy: "leave it out, or choose another policy".to_owned(),
                source: parameter.source,
            }),
        }
    }
    if dialect.is_vertex() || dialect == Dialect::GeminiDeveloper {
        for (key, _) in request.extra.iter() {
            if parameter(key).is_none() {
                report.add(key, Action::Forwarded, "not a known parameter");
            }
        }
    }
    Rejection::check(problems)
}
