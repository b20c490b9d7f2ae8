//! Running cases against a server, one after the other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use vertex_chat_transport::{Clock, Exchange};

use crate::case::{Auth, Case, Level, Step};
use crate::expect::{Answers, Violation, shown};
use crate::observe::{ANSWER_TIMEOUT, Observation, Prepared};
use crate::report::Report;
use crate::suite::{Estimate, Fate, Selection};

/// Gives the credentials of a run. Asked before every request.
#[async_trait]
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// The headers that the server takes them in, `authorization` among them.
    ///
    /// # Errors
    /// Why there are none.
    async fn headers(&self) -> Result<HeaderMap, String>;
    /// A bearer token that it took once and takes no more; without one such cases are skipped.
    fn expired(&self) -> Option<String> {
        None
    }
}

/// A key that stays the same. `Debug` does not show it.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// This key.
    #[must_use]
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

#[async_trait]
impl Credentials for Key {
    async fn headers(&self) -> Result<HeaderMap, String> {
        bearer(&self.0)
    }
}

/// The server, and how it is asked.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) base_url: String,
    pub(crate) model: String,
    name: Option<String>,
    credentials: Option<Arc<dyn Credentials>>,
    is_emulator: bool,
    pub(crate) timeout: Duration,
}

/// A base URL that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetError(String);

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the base URL {} is not http:// or https:// with a host", self.0)
    }
}

impl std::error::Error for TargetError {}

/// The most places of a case that a report names.
pub const VIOLATIONS_MAX: usize = 5;
/// A token that no server gave out.
const BAD_TOKEN: &str = "conformance-bad-token";

impl Target {
    /// The server at this base URL, which is everything before `/chat/completions`, and the model to ask for.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn new(
        exchange: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
        base_url: &str,
        model: &str,
    ) -> Result<Self, TargetError> {
        let wrong = || TargetError(base_url.to_owned());
        let base_url = base_url.trim_end_matches('/');
        let uri: http::Uri = base_url.parse().map_err(|_| wrong())?;
        let scheme = uri.scheme_str().unwrap_or_default();
        // A password in a URL would be in the report.
        if !["http", "https"].contains(&scheme) || uri.authority().is_none_or(|it| it.as_str().contains('@'))
        {
            return Err(wrong());
        }
        let (base_url, model) = (base_url.to_owned(), model.to_owned());
        Ok(Self {
            exchange,
            clock,
            base_url,
            model,
            name: None,
            credentials: None,
            is_emulator: false,
            timeout: ANSWER_TIMEOUT,
        })
    }

    /// Everything before `/chat/completions`.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Is called so in reports, in place of its base URL.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sends these credentials. Otherwise none are sent, and cases about them are skipped.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Waits this long for an answer, in place of [`ANSWER_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Is the emulator, or stands before it: misbehaviour can be asked of it by a model's name.
    #[must_use]
    pub fn emulated(mut self) -> Self {
        self.is_emulator = true;
        self
    }

    /// What cannot be asked of it, whatever it is.
    pub(crate) fn lacks(&self) -> BTreeMap<&'static str, &'static str> {
        let credentials = self.credentials.as_ref();
        let mut lacks = BTreeMap::new();
        if credentials.is_none() {
            let because = "no credentials are sent, so it cannot be told whether they are checked";
            lacks.insert("authentication", because);
        }
        if credentials.is_none_or(|it| it.expired().is_none()) {
            lacks.insert("expired-token", "no token that has expired is at hand");
        }
        if !self.is_emulator {
            lacks.insert("emulator", "a server that is not the emulator cannot be told to misbehave");
        }
        lacks
    }

    /// What must not be in a report, whatever a server sends back.
    async fn secrets(&self) -> Vec<String> {
        let Some(credentials) = &self.credentials else { return Vec::new() };
        let mut secrets: Vec<String> = credentials.expired().into_iter().collect();
        if let Ok(headers) = credentials.headers().await {
            let value = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
            secrets.push(value.strip_prefix("Bearer ").unwrap_or(value).to_owned());
        }
        secrets.retain(|it| !it.is_empty());
        secrets
    }

    pub(crate) async fn credentials(&self, auth: Auth) -> Result<HeaderMap, String> {
        let Some(credentials) = &self.credentials else { return Ok(HeaderMap::new()) };
        match auth {
            Auth::None => Ok(HeaderMap::new()),
            Auth::Bad => bearer(BAD_TOKEN),
            Auth::Good => credentials.headers().await,
            Auth::Lower => {
                let mut headers = credentials.headers().await?;
                let value = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
                if let Some(token) = value.strip_prefix("Bearer ")
                    && let Ok(mut value) = HeaderValue::try_from(format!("bearer {token}"))
                {
                    value.set_sensitive(true);
                    headers.insert(AUTHORIZATION, value);
                }
                Ok(headers)
            }
            Auth::Expired => bearer(&credentials.expired().ok_or("there is no expired token")?),
        }
    }
}

fn bearer(token: &str) -> Result<HeaderMap, String> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| "the credentials are not fit for a header".to_owned())?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The rule holds.
    Passed,
    /// It does not, and this is where.
    Failed(Vec<Violation>),
    /// A case that it stands on failed: nothing can be said.
    Blocked(String),
    /// It does not apply to this kind of server.
    Skipped(String),
    /// Nothing is known to be right: this was seen.
    Recorded(Vec<(String, String)>),
    /// It did not come to that, and this is why: the budget was used up, or the run was interrupted.
    NotRun(String),
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Blocked(_) => "blocked",
            Self::Skipped(_) => "skipped",
            Self::Recorded(_) => "recorded",
            Self::NotRun(_) => "not run",
        }
    }
}

impl Verdict {
    /// Without these texts, which a server may have sent back.
    fn without(mut self, secrets: &[String]) -> Self {
        let redact = |text: &mut String| {
            for secret in secrets {
                *text = text.replace(secret, "[redacted]");
            }
        };
        match &mut self {
            Self::Failed(violations) => violations.iter_mut().for_each(|it| {
                redact(&mut it.got);
                redact(&mut it.expected);
            }),
            Self::Recorded(seen) => seen.iter_mut().for_each(|(_, value)| redact(value)),
            _ => {}
        }
        self
    }
}

/// Whether a server had no room for a request, which says nothing about a rule.
fn is_limited(observed: &Value) -> bool {
    let is_429 = |it: &Value| it["status"] == 429;
    is_429(observed) || observed["answers"].as_array().is_some_and(|it| it.iter().any(is_429))
}

/// The server's words about an error, as far as a report shows values.
fn said(observed: &Value) -> Option<String> {
    if observed["status"].as_u64().is_none_or(|it| it < 400) {
        return None;
    }
    let body = &observed["body"];
    // Google's errors are lists of one.
    let error = if body.is_array() { &body[0]["error"] } else { &body["error"] };
    let words = [&error["message"], error, &body["message"], &body["detail"], &observed["text"]];
    words.into_iter().find(|it| it.is_string()).map(|it| shown(Some(it)))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A case, and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CaseResult {
    /// The case.
    pub case: Arc<Case>,
    /// What became of it.
    pub verdict: Verdict,
}

/// A run in progress. Dropping it, or the future of [`next`](Run::next), ends it; [`report`](Run::report) can be had at
/// any time.
#[derive(Debug)]
pub struct Run {
    selection: Selection,
    target: Target,
    variables: BTreeMap<String, Value>,
    /// What was seen for requests that several cases send.
    seen: BTreeMap<Prepared, Value>,
    results: Vec<CaseResult>,
    requests: u64,
    tokens: u64,
    /// Whether anything was ever answered; else why not.
    silence: Result<(), Option<String>>,
}

impl Run {
    pub(crate) fn new(selection: Selection, target: Target) -> Self {
        let variables = selection.variables(&target.model);
        Self {
            selection,
            target,
            variables,
            seen: BTreeMap::new(),
            results: Vec::new(),
            requests: 0,
            tokens: 0,
            silence: Err(None),
        }
    }

    /// Runs the next case. `None` when all have run.
    ///
    /// # Cancel safety
    /// A case whose future is dropped runs again from its beginning, or is reported as not run.
    pub async fn next(&mut self) -> Option<&CaseResult> {
        let (case, fate) = self.selection.cases.get(self.results.len())?.clone();
        let verdict = match fate {
            Fate::Skipped(because) => Verdict::Skipped(because),
            Fate::Runs => match self.unlucky(&case) {
                Some(verdict) => verdict,
                None => {
                    let verdict = self.judge(&case).await;
                    verdict.without(&self.target.secrets().await)
                }
            },
        };
        self.results.push(CaseResult { case, verdict });
        self.results.last()
    }

    /// What it costs, with what the server lacks left out.
    #[must_use]
    pub fn estimate(&self) -> Estimate {
        self.selection.estimate()
    }

    /// The case that is next.
    #[must_use]
    pub fn upcoming(&self) -> Option<&Case> {
        self.selection.cases.get(self.results.len()).map(|(case, _)| &**case)
    }

    /// How many cases there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.selection.cases.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.selection.cases.is_empty()
    }

    /// Requests sent so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Why nobody has answered, where nobody ever has: then there is no server to judge.
    #[must_use]
    pub fn unanswered(&self) -> Option<&str> {
        self.silence.as_ref().err()?.as_deref()
    }

    /// Tokens used so far, by the server's count where it gives one.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// What is known by now; cases that have not run are reported as such.
    #[must_use]
    pub fn report(&self) -> Report {
        let rest = self.selection.cases.iter().skip(self.results.len());
        let rest = rest.map(|(case, fate)| CaseResult {
            case: Arc::clone(case),
            verdict: match fate {
                Fate::Skipped(because) => Verdict::Skipped(because.clone()),
                Fate::Runs => Verdict::NotRun("the run was interrupted".to_owned()),
            },
        });
        let results = self.results.iter().cloned().chain(rest).collect();
        let name = self.target.name.as_ref().unwrap_or(&self.target.base_url);
        Report::new(&self.selection, name, &self.target.model, results)
    }

    /// Why a case cannot be judged, where that is so: what it stands on did not hold, or did not run.
    fn unlucky(&self, case: &Case) -> Option<Verdict> {
        let of = |id: &String| self.results.iter().find(|it| it.case.id == *id).map(|it| &it.verdict);
        for required in &case.requires {
            match of(required) {
                Some(Verdict::Failed(_)) => {
                    return Some(Verdict::Blocked(format!("`{required}` failed")));
                }
                Some(Verdict::Blocked(_)) => {
                    return Some(Verdict::Blocked(format!("`{required}` is blocked")));
                }
                Some(Verdict::NotRun(because)) => return Some(Verdict::NotRun(because.clone())),
                _ => {}
            }
        }
        None
    }

    async fn judge(&mut self, case: &Case) -> Verdict {
        let mut variables = self.variables.clone();
        let mut earlier: Vec<(String, Value)> = Vec::new();
        let mut violations = Vec::new();
        for step in &case.steps {
            let observed = match self.observe(step, &variables).await {
                Ok(Some(observed)) => observed,
                Ok(None) => return Verdict::NotRun("the budget was used up".to_owned()),
                Err(problem) => {
                    let at = place(case, step, "request");
                    let expected = "something that can be sent".to_owned();
                    return Verdict::Failed(vec![Violation { at, expected, got: problem }]);
                }
            };
            let answers = Answers { this: &observed, earlier: &earlier };
            let found = step.checks.iter().flat_map(|check| check.violations(&answers));
            violations.extend(found.map(|mut it| {
                if it.at == "status"
                    && let Some(said) = said(&observed)
                {
                    it.got = format!("{}, and the server said: {said}", it.got);
                }
                it.at = place(case, step, &it.at);
                it
            }));
            if let Some(problem) = observed.get("not_sent").and_then(Value::as_str) {
                return Verdict::NotRun(format!("the request could not be made: {problem}"));
            }
            // Unless the case is about just that: then it looks at the status, and finds it right.
            let at_status = |path: &str| path == "status" || path.ends_with(": status");
            let wants_it = step.checks.iter().any(|it| at_status(&it.path().to_string()))
                && !violations.iter().any(|it| at_status(&it.at));
            if !violations.is_empty() && is_limited(&observed) && !wants_it {
                return Verdict::NotRun("the server answered 429: it has a limit of requests".to_owned());
            }
            if !violations.is_empty() {
                let more = violations.len().saturating_sub(VIOLATIONS_MAX);
                if more > 0 {
                    violations.truncate(VIOLATIONS_MAX);
                    let at = format!("{more} more places");
                    let (expected, got) = ("the same".to_owned(), "the like".to_owned());
                    violations.push(Violation { at, expected, got });
                }
                // Why there is no answer is worth more than that a field of it is missing.
                if let Some(problem) = observed.get("problem").and_then(Value::as_str)
                    && observed["kind"] == "none"
                {
                    let at = place(case, step, "problem");
                    let expected = "an answer".to_owned();
                    violations = vec![Violation { at, expected, got: problem.to_owned() }];
                }
                return Verdict::Failed(violations);
            }
            for (name, path) in &step.captures {
                match path.find(&observed) {
                    Some(value) => variables.insert(name.clone(), value.into_owned()),
                    None if case.level == Level::Record => {
                        return Verdict::Recorded(vec![(path.to_string(), "nothing".to_owned())]);
                    }
                    None => {
                        let at = place(case, step, &path.to_string());
                        let expected = "something, as the next step needs it".to_owned();
                        let got = "nothing".to_owned();
                        return Verdict::Failed(vec![Violation { at, expected, got }]);
                    }
                };
            }
            earlier.push((step.name.clone(), observed));
        }
        if case.level != Level::Record {
            return Verdict::Passed;
        }
        let last = earlier.last().map(|(_, answer)| answer).cloned().unwrap_or_default();
        let seen = case.records.iter().flat_map(|path| path.places(&last));
        Verdict::Recorded(seen.map(|place| (place.path.clone(), shown(place.value()))).collect())
    }

    /// What the server answers, or answered when it was asked the same before; `None` when the budget does not allow to
    /// ask.
    async fn observe(
        &mut self,
        step: &Step,
        variables: &BTreeMap<String, Value>,
    ) -> Result<Option<Value>, String> {
        let prepared = Prepared::of(&step.ask, &self.target.base_url, variables)?;
        if !step.ask.fresh
            && let Some(seen) = self.seen.get(&prepared)
        {
            return Ok(Some(seen.clone()));
        }
        let times = prepared.times.unwrap_or(1) as u64;
        let estimate = self.selection.tokens_of(&step.ask) * times;
        if self.selection.budget.is_some_and(|budget| self.tokens.saturating_add(estimate) > budget) {
            return Ok(None);
        }
        let Observation { value, tokens } = prepared.observe(&self.target).await;
        self.requests += times;
        match (&self.silence, value.get("problem").and_then(Value::as_str)) {
            (Err(None), Some(problem)) if value["kind"] == "none" => {
                self.silence = Err(Some(problem.to_owned()));
            }
            _ if value["kind"] != "none" => self.silence = Ok(()),
            _ => {}
        }
        let refused = value["status"].as_u64().is_some_and(|it| it >= 400);
        self.tokens += if refused { 0 } else { tokens.unwrap_or(estimate) };
        if !step.ask.fresh {
            self.seen.insert(prepared, value.clone());
        }
        Ok(Some(value))
    }
}

/// Where something is, with the step if there are several.
fn place(case: &Case, step: &Step, path: &str) -> String {
    if case.steps.len() > 1 { format!("{}: {path}", step.name) } else { path.to_owned() }
}
