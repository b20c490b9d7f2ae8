//! One exchange with the server, written down as JSON that paths lead into.
//!
//! | path | is |
//! |---|---|
//! | `status`, `headers.NAME` | the status; a header, its name in lower case |
//! | `kind` | `json`, `text`, `events`, `empty`, or `none` when there was no answer |
//! | `body` | the body, when it is JSON |
//! | `text` | the body, when it is neither JSON nor events |
//! | `problem` | why there is no answer |
//! | `stream` | what the events were; see [`Events`] |
//! | `answers` | all of the above, once per request, when several were sent at once |

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_transport::{
    Body, Request, Response, RetryPolicy, Timeouts, TransportError, TransportErrorKind, is_json, retry_after,
    send_within,
};

use crate::case::{Ask, Auth, fill, fill_text};
use crate::run::Target;

/// The largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How long an answer may take, from the request to its last byte.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// How often a request is sent that says nothing about a rule: answered with 429 or 503, or not at all because a connection was
/// closed that had been kept.
pub const ATTEMPTS_MAX: u32 = 3;
/// Pieces of an answer that come within this time of each other came together.
const ARRIVAL_GAP: Duration = Duration::from_micros(500);

/// What an exchange showed, and what it cost.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    pub(crate) value: Value,
    /// Tokens by the server's own count, where it gave one.
    pub(crate) tokens: Option<u64>,
}

/// The request that an ask makes: everything but the credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Prepared {
    method: String,
    pub(crate) url: String,
    headers: BTreeMap<String, String>,
    pub(crate) auth: Auth,
    pub(crate) body: Vec<u8>,
    pub(crate) times: Option<usize>,
    cancel_after: Option<usize>,
}

impl Prepared {
    pub(crate) fn of(ask: &Ask, base_url: &str, variables: &BTreeMap<String, Value>) -> Result<Self, String> {
        let mut variables = variables.clone();
        if ask.filler > 0 {
            variables.insert("filler".to_owned(), "lorem ".repeat(ask.filler.div_ceil(6)).into());
        }
        let body = match (&ask.body, &ask.raw_body) {
            (Some(body), _) => {
                let mut body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
                fill(&mut body, &variables)?;
                body.to_string().into_bytes()
            }
            (None, Some(raw)) => fill_text(raw, &variables)?.into_bytes(),
            (None, None) => Vec::new(),
        };
        Ok(Self {
            method: ask.method.clone(),
            url: format!("{base_url}{}", fill_text(&ask.path, &variables)?),
            headers: ask.headers.clone(),
            auth: ask.auth,
            body,
            times: ask.times,
            cancel_after: ask.cancel_after,
        })
    }

    /// Sends it, as often as it says.
    pub(crate) async fn observe(&self, target: &Target) -> Observation {
        let Some(times) = self.times else { return self.observe_once(target).await };
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..times {
            let (prepared, target) = (self.clone(), target.clone());
            running.spawn(async move { prepared.observe_once(&target).await });
        }
        let observations = running.join_all().await;
        let tokens = observations.iter().filter_map(|it| it.tokens).sum();
        let answers: Vec<Value> = observations.into_iter().map(|it| it.value).collect();
        Observation { value: json!({"answers": answers}), tokens: Some(tokens) }
    }

    async fn observe_once(&self, target: &Target) -> Observation {
        let mut policy = RetryPolicy::default().with_attempts_max(ATTEMPTS_MAX);
        policy.jitter = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let value = match self.exchange(target).await {
                Ok((response, sent_at)) => {
                    let status = response.status().as_u16();
                    let says = retry_after(response.headers(), target.clock.wall());
                    if matches!(status, 429 | 503)
                        && let Some(wait) = policy.wait(attempts, says)
                    {
                        drop(response);
                        target.clock.sleep(wait).await;
                        continue;
                    }
                    self.read(response, sent_at, target).await
                }
                // A connection that was kept for the next request, and that the server had closed: clients try again.
                Err(NoAnswer::Lost(error))
                    if error.kind() == TransportErrorKind::Interrupted && attempts < ATTEMPTS_MAX =>
                {
                    continue;
                }
                Err(NoAnswer::Lost(error)) => json!({"kind": "none", "problem": error.to_string()}),
                Err(NoAnswer::NotSent(problem)) => json!({"kind": "none", "problem": problem}),
            };
            let tokens = tokens_of(&value);
            return Observation { value, tokens };
        }
    }

    async fn exchange(&self, target: &Target) -> Result<(Response, Duration), NoAnswer> {
        let request = self.request(target).await.map_err(NoAnswer::NotSent)?;
        let timeouts = Timeouts::default().with_first_byte(ANSWER_TIMEOUT).with_idle(ANSWER_TIMEOUT);
        let now = target.clock.monotonic();
        let deadline = now + ANSWER_TIMEOUT;
        let sent = send_within(&*target.exchange, request, &timeouts, deadline, &target.clock).await;
        sent.map(|response| (response, now)).map_err(NoAnswer::Lost)
    }

    /// The request, with credentials.
    async fn request(&self, target: &Target) -> Result<Request, String> {
        let mut request = Request::new(Bytes::from(self.body.clone()));
        *request.method_mut() =
            Method::from_bytes(self.method.as_bytes()).map_err(|error| error.to_string())?;
        *request.uri_mut() = self.url.parse().map_err(|error| format!("{}: {error}", self.url))?;
        let headers = request.headers_mut();
        if !self.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.extend(target.credentials(self.auth).await?);
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name).map_err(|error| error.to_string())?;
            if value.is_empty() {
                headers.remove(&name);
            } else {
                headers.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
            }
        }
        Ok(request)
    }

    async fn read(&self, response: Response, sent_at: Duration, target: &Target) -> Value {
        let (head, body) = response.into_parts();
        let mut seen = Map::new();
        seen.insert("status".to_owned(), head.status.as_u16().into());
        seen.insert("headers".to_owned(), headers_of(&head.headers));
        let read = ReadBody::of(body, self.cancel_after, sent_at, target).await;
        if let Some(problem) = &read.problem {
            seen.insert("problem".to_owned(), problem.clone().into());
        }
        let kind = if read.bytes.is_empty() {
            "empty"
        } else if is_events(&head.headers, &read.bytes) {
            seen.insert("stream".to_owned(), Events::of(&read).into_json(&read));
            "events"
        } else {
            match serde_json::from_slice::<Value>(&read.bytes) {
                Ok(body) => {
                    seen.insert("body".to_owned(), body);
                    seen.insert("calls_itself_json".to_owned(), is_json(&head.headers).into());
                    "json"
                }
                Err(_) => {
                    seen.insert("text".to_owned(), String::from_utf8_lossy(&read.bytes).into());
                    "text"
                }
            }
        };
        seen.insert("kind".to_owned(), kind.into());
        Value::Object(seen)
    }
}

/// Why there is no answer.
enum NoAnswer {
    /// The request cannot be made: a URL or a header that is none, or no credentials.
    NotSent(String),
    Lost(TransportError),
}

/// A body as it came.
struct ReadBody {
    bytes: Vec<u8>,
    /// How many groups of pieces came at different times.
    arrivals: u64,
    /// Why it did not come to its end.
    problem: Option<String>,
    cancelled: bool,
}

impl ReadBody {
    async fn of(mut body: Body, cancel_after: Option<usize>, sent_at: Duration, target: &Target) -> Self {
        let mut read = Self { bytes: Vec::new(), arrivals: 0, problem: None, cancelled: false };
        let mut last = sent_at;
        loop {
            match body.chunk().await {
                None => return read,
                Some(Err(error)) => {
                    read.problem = Some(describe(&error));
                    return read;
                }
                Some(Ok(piece)) => {
                    let now = target.clock.monotonic();
                    if read.arrivals == 0 || now.saturating_sub(last) >= ARRIVAL_GAP {
                        read.arrivals += 1;
                    }
                    last = now;
                    read.bytes.extend_from_slice(&piece);
                    if read.bytes.len() > ANSWER_BYTES_MAX {
                        read.problem = Some(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
                        return read;
                    }
                    let events = || read.bytes.windows(2).filter(|it| *it == b"\n\n").count();
                    if cancel_after.is_some_and(|limit| events() >= limit) {
                        read.cancelled = true;
                        return read;
                    }
                }
            }
        }
    }
}

/// An error without what differs from run to run.
fn describe(error: &TransportError) -> String {
    format!("the answer broke off: {error}")
}

fn headers_of(headers: &HeaderMap) -> Value {
    let mut all = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|it| String::from_utf8_lossy(it.as_bytes())).collect();
        all.insert(name.as_str().to_owned(), values.join(", ").into());
    }
    Value::Object(all)
}

fn is_events(headers: &HeaderMap, bytes: &[u8]) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let begins = |with: &[u8]| bytes.starts_with(with);
    content_type.to_ascii_lowercase().starts_with("text/event-stream")
        || [&b"data:"[..], b"event:", b"id:", b": "].into_iter().any(begins)
}

/// Tokens by the server's own count.
fn tokens_of(value: &Value) -> Option<u64> {
    let total = |usage: &Value| usage["total_tokens"].as_u64();
    let streamed = || value["stream"]["usages"].as_array()?.last().and_then(total);
    total(&value["body"]["usage"]).or_else(streamed)
}

/// What was in a stream of events.
///
/// | path below `stream` | is |
/// |---|---|
/// | `chunks` | the JSON of every event that has some, but for errors |
/// | `first`, `last` | the first and the last of them |
/// | `errors` | events with an `error` in them |
/// | `not_json` | how many events are neither JSON nor `[DONE]` |
/// | `done`, `after_done` | how often `[DONE]` came, how many events after it |
/// | `event_types` | what `event:` said, each once |
/// | `line_ends` | `lf`, `crlf`, `cr`, each if it was used |
/// | `stray` | lines that are no field |
/// | `unfinished` | whether the last event lacks its blank line |
/// | `whole` | whether the body came to its end |
/// | `arrivals` | in how many groups the pieces came |
/// | `usages` | every `usage` that is not null; `usage_at` is `last`, `every` or `elsewhere` |
/// | `usage_has_choices` | whether the last chunk with usage has choices too |
/// | `choices` | by index: `index`, `text`, `reasoning`, `refusal`, `roles`, `first_delta`, `finish_reasons`, `after_finish`, `tool_calls`, `function_call`, `logprobs` |
/// | `choices[].tool_calls` | by index: `index`, `id`, `type`, `name`, `arguments`, `ids`, `names`, `fragments`, `without_index` |
#[derive(Debug, Default)]
struct Events {
    chunks: Vec<Value>,
    errors: Vec<Value>,
    event_types: Vec<String>,
    stray: Vec<String>,
    not_json: u64,
    done: u64,
    after_done: u64,
    unfinished: bool,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    text: String,
    reasoning: String,
    refusal: String,
    roles: u64,
    first_delta: Option<Value>,
    finish_reasons: Vec<Value>,
    after_finish: u64,
    calls: BTreeMap<u64, Call>,
    function_name: Option<String>,
    function_arguments: String,
    logprobs: Vec<Value>,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    kind: String,
    name: String,
    arguments: String,
    ids: u64,
    names: u64,
    fragments: u64,
    without_index: u64,
    signature: Option<String>,
}

impl Events {
    fn of(read: &ReadBody) -> Self {
        let mut events = Self::default();
        let mut decoder = Decoder::new();
        let mut input = &read.bytes[..];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Item::Event(event))) => events.take(&event.event, &event.data),
                Ok(Some(Item::Stray(line))) => events.stray.push(line.into_owned()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    events.not_json += 1;
                    break;
                }
            }
        }
        let left = decoder.finish();
        events.unfinished = left.data.is_some();
        events.stray.extend(left.stray);
        events
    }

    fn take(&mut self, kind: &str, data: &str) {
        if !kind.is_empty() && !self.event_types.iter().any(|it| it == kind) {
            self.event_types.push(kind.to_owned());
        }
        if self.done > 0 {
            self.after_done += 1;
        }
        if data.trim() == "[DONE]" {
            self.done += 1;
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            self.not_json += 1;
            return;
        };
        if chunk.get("error").is_some_and(|it| !it.is_null()) {
            self.errors.push(chunk);
            return;
        }
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap_or(0);
            self.choices.entry(index).or_default().take(choice);
        }
        self.chunks.push(chunk);
    }

    fn into_json(self, read: &ReadBody) -> Value {
        let with_usage: Vec<usize> =
            (0..self.chunks.len()).filter(|i| self.chunks[*i]["usage"].is_object()).collect();
        let usage_at = match with_usage.as_slice() {
            [] => Value::Null,
            all if all.len() == self.chunks.len() && all.len() > 1 => "every".into(),
            [one] if *one + 1 == self.chunks.len() => "last".into(),
            _ => "elsewhere".into(),
        };
        let has_choices = |i: &usize| self.chunks[*i]["choices"].as_array().is_some_and(|it| !it.is_empty());
        let choices: Vec<Value> = self.choices.iter().map(|(index, choice)| choice.to_json(*index)).collect();
        json!({
            "first": self.chunks.first(),
            "last": self.chunks.last(),
            "errors": self.errors,
            "not_json": self.not_json,
            "done": self.done,
            "after_done": self.after_done,
            "event_types": self.event_types,
            "line_ends": line_ends(&read.bytes),
            "stray": self.stray,
            "unfinished": self.unfinished,
            "whole": read.problem.is_none() && !read.cancelled,
            "arrivals": read.arrivals,
            "usages": with_usage.iter().map(|i| self.chunks[*i]["usage"].clone()).collect::<Vec<_>>(),
            "usage_at": usage_at,
            "usage_has_choices": with_usage.last().map(has_choices),
            "choices": choices,
            "chunks": self.chunks,
        })
    }
}

impl Choice {
    fn take(&mut self, choice: &Value) {
        let delta = &choice["delta"];
        let text = |key: &str| delta[key].as_str().unwrap_or_default();
        if self.first_delta.is_none() {
            self.first_delta = Some(delta.clone());
        }
        let says = !text("content").is_empty() || delta["tool_calls"].is_array();
        if says && !self.finish_reasons.is_empty() {
            self.after_finish += 1;
        }
        self.text.push_str(text("content"));
        self.reasoning.push_str(text("reasoning_content"));
        self.refusal.push_str(text("refusal"));
        self.roles += u64::from(!delta["role"].is_null());
        if !choice["finish_reason"].is_null() {
            self.finish_reasons.push(choice["finish_reason"].clone());
        }
        for (position, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = call["index"].as_u64();
            let place = index.unwrap_or(position as u64);
            let known = self.calls.entry(place).or_default();
            known.without_index += u64::from(index.is_none());
            known.take(call);
        }
        if let Some(function) = delta.get("function_call").filter(|it| it.is_object()) {
            if let Some(name) = function["name"].as_str() {
                self.function_name.get_or_insert_default().push_str(name);
            }
            self.function_arguments.push_str(function["arguments"].as_str().unwrap_or_default());
        }
        self.logprobs.extend(choice["logprobs"]["content"].as_array().into_iter().flatten().cloned());
    }

    fn to_json(&self, index: u64) -> Value {
        let calls: Vec<Value> = self.calls.iter().map(|(index, call)| call.to_json(*index)).collect();
        let function = self.function_name.as_ref();
        json!({
            "index": index,
            "text": self.text,
            "reasoning": self.reasoning,
            "refusal": self.refusal,
            "roles": self.roles,
            "first_delta": self.first_delta,
            "finish_reasons": self.finish_reasons,
            "after_finish": self.after_finish,
            "tool_calls": calls,
            "function_call": function.map(|name| json!({"name": name, "arguments": self.function_arguments})),
            "logprobs": self.logprobs,
        })
    }
}

impl Call {
    /// As the accumulators of common clients do: what comes again is appended.
    fn take(&mut self, call: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(id) = call["id"].as_str().filter(|it| !it.is_empty()) {
            self.ids += 1;
            if self.id.is_empty() {
                self.id = id.to_owned();
            }
        }
        if let Some(name) = call["function"]["name"].as_str().filter(|it| !it.is_empty()) {
            self.names += 1;
            self.name.push_str(name);
        }
        if self.kind.is_empty() {
            self.kind = text(&call["type"]);
        }
        self.arguments.push_str(&text(&call["function"]["arguments"]));
        self.fragments += 1;
        if let Some(signature) = call["extra_content"]["google"]["thought_signature"].as_str() {
            self.signature = Some(signature.to_owned());
        }
    }

    fn to_json(&self, index: u64) -> Value {
        json!({
            "index": index,
            "id": self.id,
            "type": self.kind,
            "name": self.name,
            "arguments": self.arguments,
            "ids": self.ids,
            "names": self.names,
            "fragments": self.fragments,
            "without_index": self.without_index,
            "thought_signature": self.signature,
        })
    }
}

/// The line ends that were used.
fn line_ends(bytes: &[u8]) -> Vec<&'static str> {
    let (mut lf, mut crlf, mut cr) = (false, false, false);
    let mut after_cr = false;
    for byte in bytes {
        match byte {
            b'\n' if after_cr => crlf = true,
            b'\n' => lf = true,
            _ if after_cr => cr = true,
            _ => {}
        }
        after_cr = *byte == b'\r';
    }
    cr |= after_cr;
    [(lf, "lf"), (crlf, "crlf"), (cr, "cr")]
        .into_iter()
        .filter(|(used, _)| *used)
        .map(|(_, word)| word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Value {
        let read = ReadBody { bytes: text.as_bytes().to_vec(), arrivals: 1, problem: None, cancelled: false };
        Events::of(&read).into_json(&read)
    }

    #[test]
    fn a_stream_is_put_together_as_clients_do() {
        let seen = events(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_reason\":null}]}\n\n\
             data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n\
             data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\ndata: [DONE]\n\n",
        );
        assert_eq!(seen["choices"][0]["text"], "ab");
        assert_eq!(seen["choices"][0]["roles"], 1);
        assert_eq!(seen["choices"][0]["finish_reasons"], json!(["stop"]));
        assert_eq!((&seen["done"], &seen["usage_at"]), (&json!(1), &json!("last")));
        assert_eq!((&seen["usage_has_choices"], &seen["line_ends"]), (&json!(false), &json!(["lf"])));
    }

    #[test]
    fn repeated_names_pile_up_and_stray_lines_are_kept() {
        let call = |name: &str| {
            format!(
                "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":0,\"id\":\"i\",\"function\":{{\"name\":\"{name}\",\"arguments\":\"1\"}}}}]}}}}]}}\r\n\r\n"
            )
        };
        let seen = events(&format!("{}{}{{\"error\":{{}}}}\r\ndata: x\n\n", call("f"), call("f")));
        let call = &seen["choices"][0]["tool_calls"][0];
        assert_eq!(
            (&call["name"], &call["names"], &call["arguments"]),
            (&json!("ff"), &json!(2), &json!("11"))
        );
        assert_eq!(seen["stray"].as_array().unwrap().len(), 1);
        assert_eq!((&seen["not_json"], &seen["line_ends"]), (&json!(1), &json!(["lf", "crlf"])));
        assert_eq!(seen["done"], 0);
    }
}
