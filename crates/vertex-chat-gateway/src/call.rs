//! What is known of one request: for the access log, the metrics and the span.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use tracing::Span;
use vertex_chat::{Report, Rewrite};
use vertex_chat_transport::{BodyLimit, LogText, Response};
use vertex_chat_types::Usage;

use crate::admission::Running;
use crate::chat::TARGET;
use crate::fault::Fault;
use crate::gateway::{REQUEST_ID, Shared};
use crate::heavy::Heavy;
use crate::repair::{Repairer, Repairs};

/// The status that the log has for a client that left before its answer was whole, as nginx has it.
const CLIENT_LEFT: u16 = 499;

/// The most parameters that are logged as left out.
const DROPPED_MAX: usize = 32;
/// How much is shown of a word that somebody else has chosen.
pub(crate) const WORD_CHARS_MAX: usize = 64;

/// How much is shown of a field of a line of text.
const LINE_CHARS_MAX: usize = 1_024;

/// A request that runs. When it is dropped, it is over, and told of.
pub(crate) struct Call {
    shared: Arc<Shared>,
    started: Duration,
    /// Time spent waiting for others: the model's server, the token.
    waited: Duration,
    pub(crate) span: Span,
    pub(crate) entry: AccessEntry,
    /// Whether it has come to an end, so that a drop is not the client's leaving.
    is_ended: bool,
    /// What it counts as while it runs.
    pub(crate) running: Option<Arc<Running>>,
    /// How many requests were sent to models' servers so far.
    attempts: Arc<AtomicU32>,
}

/// One request, as the access log has it. Words of clients and servers are as they came, and cut; [`to_json`](Self::to_json)
/// and [`to_text`](Self::to_text) escape them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessEntry {
    /// When it came.
    pub time: SystemTime,
    /// Its id: the client's `x-request-id`, or one of ours.
    pub request_id: String,
    /// Whose key it showed.
    pub client: Option<String>,
    /// `POST`.
    pub method: String,
    /// The path, without a query.
    pub path: String,
    /// The model that was asked for.
    pub model: Option<String>,
    /// The target that answered, and where: `vertex@us-central1`.
    pub target: Option<Arc<str>>,
    /// The name that the model has there.
    pub upstream_model: Option<String>,
    /// The status; 499 when the client left before its answer was whole.
    pub status: u16,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How many requests were sent to models' servers.
    pub attempts: u32,
    /// How many of them were sent again at once, because the connection had ended before the server began to answer.
    pub resent: u32,
    /// Tokens of the prompt and of the answer, by the server's count.
    pub tokens: Option<(u64, u64)>,
    /// From the request to the first event of the stream.
    pub first_token: Option<Duration>,
    /// From the request to the end of its answer.
    pub duration: Duration,
    /// Of that, up to the head of the answer, what was spent in the gateway itself.
    pub overhead: Duration,
    /// Parameters that were left out.
    pub dropped: Vec<String>,
    /// Parameters that were sent although the server is not known to take them.
    pub forwarded: Vec<String>,
    /// Rewrites of the request, by name.
    pub rewritten: Vec<&'static str>,
    /// Repairs of the answer, by name.
    pub repaired: Vec<&'static str>,
    /// The origin of a web page that was refused.
    pub origin: Option<String>,
    /// The code of what went wrong.
    pub error: Option<String>,
    /// The request's body, if that was asked for; cut.
    pub prompt: Option<String>,
}

impl AccessEntry {
    /// As a JSON object in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut fields = Map::new();
        fields.insert("time".into(), json!(timestamp(self.time)));
        fields.insert("request_id".into(), json!(self.request_id));
        fields.insert("method".into(), json!(self.method));
        fields.insert("path".into(), json!(self.path));
        fields.insert("status".into(), json!(self.status));
        fields.insert("duration_ms".into(), json!(milliseconds(self.duration)));
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        };
        add("client", self.client.as_deref().map(Value::from));
        add("model", self.model.as_deref().map(Value::from));
        add("target", self.target.as_deref().map(Value::from));
        add("upstream_model", self.upstream_model.as_deref().map(Value::from));
        add("stream", self.model.is_some().then_some(Value::from(self.stream)));
        add("attempts", (self.attempts > 0).then_some(Value::from(self.attempts)));
        add("resent", (self.resent > 0).then_some(Value::from(self.resent)));
        add("input_tokens", self.tokens.map(|(input, _)| Value::from(input)));
        add("output_tokens", self.tokens.map(|(_, output)| Value::from(output)));
        add("first_token_ms", self.first_token.map(|it| json!(milliseconds(it))));
        add("overhead_us", Some(json!(u64::try_from(self.overhead.as_micros()).unwrap_or(u64::MAX))));
        add("dropped", (!self.dropped.is_empty()).then(|| json!(self.dropped)));
        add("forwarded", (!self.forwarded.is_empty()).then(|| json!(self.forwarded)));
        add("rewritten", (!self.rewritten.is_empty()).then(|| json!(self.rewritten)));
        add("repaired", (!self.repaired.is_empty()).then(|| json!(self.repaired)));
        add("origin", self.origin.as_deref().map(Value::from));
        add("error", self.error.as_deref().map(Value::from));
        add("prompt", self.prompt.as_deref().map(Value::from));
        escaped(&Value::Object(fields).to_string())
    }

    /// As a line of text.
    #[must_use]
    pub fn to_text(&self) -> String {
        // What clients and servers have chosen is quoted, so that it stays in its place. A path has no blanks.
        let mut line = format!(
            "{} {} {} {} {} {:.1}ms",
            timestamp(self.time),
            LogText::new(&self.request_id, LINE_CHARS_MAX),
            LogText::new(&self.method, LINE_CHARS_MAX),
            LogText::new(&self.path, LINE_CHARS_MAX),
            self.status,
            milliseconds(self.duration)
        );
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            let _ = write!(line, " {name}={value}");
        };
        if let Some(model) = &self.model {
            add("model", &quoted(model));
        }
        if let Some(target) = &self.target {
            add("target", target);
        }
        if let Some((input, output)) = self.tokens {
            add("tokens", &format_args!("{input}+{output}"));
        }
        if let Some(first) = self.first_token {
            add("first_token", &format_args!("{:.1}ms", milliseconds(first)));
        }
        add("overhead", &format_args!("{}us", self.overhead.as_micros()));
        if self.attempts > 1 {
            add("attempts", &self.attempts);
        }
        if self.resent > 0 {
            add("resent", &self.resent);
        }
        if !self.dropped.is_empty() {
            add("dropped", &quoted(&self.dropped.join(",")));
        }
        if !self.forwarded.is_empty() {
            add("forwarded", &quoted(&self.forwarded.join(",")));
        }
        if !self.rewritten.is_empty() {
            add("rewritten", &self.rewritten.join(","));
        }
        if !self.repaired.is_empty() {
            add("repaired", &self.repaired.join(","));
        }
        if let Some(client) = &self.client {
            add("client", &quoted(client));
        }
        if let Some(origin) = &self.origin {
            add("origin", &quoted(origin));
        }
        if let Some(error) = &self.error {
            add("error", &quoted(error));
        }
        if let Some(prompt) = &self.prompt {
            add("prompt", &LogText::new(prompt, usize::MAX).quoted());
        }
        line
    }
}

/// JSON has no need to escape what is invisible or changes the direction of text; a log does.
fn escaped(json: &str) -> String {
    if json.is_ascii() {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        let shown = LogText::new(character.encode_utf8(&mut [0; 4]), 1).to_string();
        match shown.chars().eq([character]) {
            true => out.push(character),
            false => out.push_str(&format!("\\u{:04x}", u32::from(character))),
        }
    }
    out
}

/// The beginning of a word that somebody else has chosen, as it is, for an entry of the log.
pub(crate) fn cut(word: &str, chars_max: usize) -> String {
    word.chars().take(chars_max).collect()
}

/// A word that somebody else has chosen, as it may stand in a message.
pub(crate) fn shown(word: &str, chars_max: usize) -> String {
    LogText::new(word, chars_max).to_string()
}

/// The same between quotes.
fn quoted(word: &str) -> LogText<'_> {
    LogText::new(word, LINE_CHARS_MAX).quoted()
}

fn timestamp(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| "-".to_owned(), |it| format!("{it:.3}"))
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

impl Call {
    pub(crate) fn new(shared: Arc<Shared>, entry: AccessEntry) -> Self {
        let started = shared.clock.monotonic();
        shared.metrics.in_flight.inc();
        Self {
            shared,
            started,
            waited: Duration::ZERO,
            span: Span::none(),
            entry,
            is_ended: false,
            running: None,
            attempts: Arc::default(),
        }
    }

    /// Counts what is sent to models' servers, when it is sent: the client may leave at any time.
    pub(crate) fn attempts(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.attempts)
    }

    /// The threads for what would keep the workers from other clients.
    pub(crate) fn heavy(&self) -> Heavy {
        self.shared.heavy.clone()
    }

    /// What bounds the bytes of its bodies.
    pub(crate) fn bodies(&self) -> &BodyLimit {
        self.running.as_ref().map_or(self.shared.admissions.bodies(), |it| it.bodies())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.shared.clock.monotonic().saturating_sub(self.started)
    }

    /// Waits for somebody else; that time is not ours.
    pub(crate) async fn waiting<T>(&mut self, work: impl Future<Output = T>) -> T {
        let from = self.elapsed();
        let result = work.await;
        self.has_waited(self.elapsed().saturating_sub(from));
        result
    }

    pub(crate) fn has_waited(&mut self, time: Duration) {
        self.waited += time;
    }

    /// What the gateway itself has taken so far.
    pub(crate) fn overhead(&mut self) -> Duration {
        self.entry.overhead = self.elapsed().saturating_sub(self.waited);
        self.entry.overhead
    }

    pub(crate) fn first_token(&mut self) {
        if self.entry.stream {
            self.entry.first_token = Some(self.elapsed());
        }
    }

    pub(crate) fn tokens(&mut self, usage: Option<&Usage>) {
        self.entry.tokens = usage
            .map(|it| (it.prompt_tokens.unwrap_or(0), it.completion_tokens.unwrap_or(0)))
            .or(self.entry.tokens);
    }

    pub(crate) fn repaired(&mut self, applied: Repairs) {
        self.entry.repaired = applied.iter().map(crate::Repair::name).collect();
        for repair in applied.iter() {
            self.shared.metrics.repaired(repair);
        }
    }

    pub(crate) fn end_of_stream(&mut self, repairer: &Repairer, fault: Option<&Fault>) {
        self.repaired(repairer.applied);
        self.tokens(repairer.usage.as_ref());
        if let Some(fault) = fault {
            self.failed(fault);
        }
        self.is_ended = true;
    }

    pub(crate) fn failed(&mut self, fault: &Fault) {
        self.entry.error = Some(cut(fault.code(), WORD_CHARS_MAX));
    }

    /// A server was asked, with so many requests, of which some were sent again because a connection had ended.
    pub(crate) fn sent(&mut self, attempts: u32, resent: u32) {
        self.entry.attempts += attempts;
        self.entry.resent += resent;
    }

    /// Whether a request was tried again, at the same server or at another.
    pub(crate) fn has_retried(&self) -> bool {
        self.entry.attempts - self.entry.resent > 1
    }

    /// What became of the request's parameters.
    pub(crate) fn prepared(&mut self, report: &Report) {
        let names = report.dropped().take(DROPPED_MAX);
        self.entry.dropped = names.map(|it| cut(it, WORD_CHARS_MAX)).collect();
        let names = report.forwarded().take(DROPPED_MAX);
        self.entry.forwarded = names.map(|it| cut(it, WORD_CHARS_MAX)).collect();
        self.entry.rewritten = report.rules().into_iter().map(Rewrite::name).collect();
    }

    /// The request as it was prepared has been answered.
    pub(crate) fn answered(&mut self, report: &Report) {
        if !report.is_empty() {
            self.shared.metrics.prepared(report);
        }
    }

    /// A server is left alone for a while.
    pub(crate) fn cooled(&self, server: &Arc<str>) {
        self.shared.metrics.cool_down(server);
    }

    /// There is no answer but this.
    pub(crate) fn refuse(mut self, fault: Fault) -> Response {
        self.failed(&fault);
        self.overhead();
        let status = fault.status;
        let mut response = fault.into_response();
        if let Ok(id) = HeaderValue::from_str(&self.entry.request_id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        if let Some(target) = self.entry.target.as_deref().and_then(|it| HeaderValue::from_str(it).ok()) {
            response.headers_mut().insert(TARGET, target);
        }
        self.end(status);
        response
    }

    /// The answer is there, whole.
    pub(crate) fn end(mut self, status: StatusCode) {
        self.entry.status = status.as_u16();
        self.is_ended = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.entry.duration = self.elapsed();
        self.entry.attempts = self.attempts.load(Ordering::Relaxed);
        if !self.is_ended {
            self.entry.status = CLIENT_LEFT;
            self.entry.error.get_or_insert_with(|| "client_left".to_owned());
        }
        if !self.span.is_disabled() {
            if let Some((input, output)) = self.entry.tokens {
                self.span.record("gen_ai.usage.input_tokens", input);
                self.span.record("gen_ai.usage.output_tokens", output);
            }
            if let Some(error) = &self.entry.error {
                self.span.record("error.type", error.as_str());
            }
            self.span.record("http.response.status_code", self.entry.status);
        }
        if self.entry.status == 200 {
            self.shared.is_warm.store(true, Ordering::Relaxed);
        }
        self.shared.metrics.in_flight.dec();
        self.shared.metrics.ended(&self.entry);
        if let Some(told) = &self.shared.told {
            told(&self.entry);
        }
    }
}
