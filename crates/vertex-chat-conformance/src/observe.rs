//! One exchange with the server, written down as JSON that paths lead into.
//!
//! | path | is |
//! |---|---|
//! | `status`, `headers.NAME` | the status; a header, its name in lower case |
//! | `kind` | `json`, `text`, `events`, `empty`, or `none` when there was no answer |
//! | `body` | the body, when it is JSON |
//! | `text` | the body, when it is neither JSON nor events |
//! | `problem` | why there is no answer |
//! | `left` | true when the client went away in the middle, as the case says |
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
    Body, Request, Response, RetryPolicy, Timeouts, TransportError, TransportErrorKind, retry_after,
    send_within,
};

use crate::case::{Ask, Auth, fill_body, fill_text};
use crate::events::{Events, STREAM_NAMES};
use crate::path::Path;
use crate::run::Target;

/// The largest answer that is read.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How often a request is sent that says nothing about a rule: answered with 429 or 503, or not at all because a connection was
/// closed that had been kept.
pub const ATTEMPTS_MAX: u32 = 3;
/// Pieces of an answer that come within this time of each other came together.
const ARRIVAL_GAP: Duration = Duration::from_micros(500);
/// A stream that is over so soon may have come bit by bit all the same: then its pieces count, however close they came.
const FAST_STREAM: Duration = Duration::from_millis(50);
/// How long an answer may take, from the request to its last byte, by default.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// What a path into what was seen begins with.
const ROOTS: [&str; 8] = ["status", "headers", "kind", "body", "text", "problem", "stream", "left"];

/// Whether a path can lead anywhere in what is seen of an exchange, or of several at once.
pub(crate) fn check_path(path: &Path, several: bool) -> Result<(), String> {
    let (first, second) = path.begins();
    let known = |name: Option<&str>, names: &[&str]| name.is_some_and(|it| names.contains(&it));
    if several {
        return match first {
            Some("answers") => Ok(()),
            _ => Err(format!("`{path}`: of several answers a path begins with `answers`")),
        };
    }
    if !known(first, &ROOTS) {
        return Err(format!("`{path}`: a path begins with {}", ROOTS.join(", ")));
    }
    if first == Some("stream") && !known(second, &STREAM_NAMES) {
        return Err(format!("`{path}`: below `stream` there are {}", STREAM_NAMES.join(", ")));
    }
    Ok(())
}

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
            (Some(body), _) => fill_body(body, &variables)?.into_bytes(),
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
        let mut running = Vec::new();
        for _ in 0..times {
            let (prepared, target) = (self.clone(), target.clone());
            running.push(tokio::spawn(async move { prepared.observe_once(&target).await }));
        }
        let (mut answers, mut tokens) = (Vec::new(), Some(0));
        for one in running {
            match one.await {
                Ok(observation) => {
                    tokens = tokens.zip(observation.tokens).map(|(sum, more)| sum + more);
                    answers.push(observation.value);
                }
                Err(error) => {
                    tokens = None;
                    answers.push(json!({"kind": "none", "problem": error.to_string()}));
                }
            }
        }
        Observation { value: json!({"answers": answers}), tokens }
    }

    async fn observe_once(&self, target: &Target) -> Observation {
        let mut policy = RetryPolicy::default().with_attempts_max(ATTEMPTS_MAX);
        policy.jitter = false;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let value = match self.exchange(target).await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    let says = retry_after(response.headers(), target.clock.wall());
                    // Of several at once each is looked at as it is.
                    if matches!(status, 429 | 503)
                        && self.times.is_none()
                        && let Some(wait) = policy.wait(attempts, says)
                    {
                        drop(response);
                        target.clock.sleep(wait).await;
                        continue;
                    }
                    self.read(response, target).await
                }
                // A connection that was kept for the next request, and that the server had closed: clients try again.
                Err(NoAnswer::Lost(error))
                    if error.kind() == TransportErrorKind::Interrupted && attempts < ATTEMPTS_MAX =>
                {
                    continue;
                }
                Err(NoAnswer::Lost(error)) => json!({"kind": "none", "problem": error.to_string()}),
                Err(NoAnswer::NotSent(problem)) => json!({"kind": "none", "not_sent": problem}),
            };
            let tokens = tokens_of(&value);
            return Observation { value, tokens };
        }
    }

    async fn exchange(&self, target: &Target) -> Result<Response, NoAnswer> {
        let request = self.request(target).await.map_err(NoAnswer::NotSent)?;
        let timeouts = Timeouts::default().with_first_byte(target.timeout).with_idle(target.timeout);
        let deadline = target.clock.monotonic() + target.timeout;
        let sent = send_within(&*target.exchange, request, &timeouts, deadline, &target.clock).await;
        sent.map_err(NoAnswer::Lost)
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

    async fn read(&self, response: Response, target: &Target) -> Value {
        let (head, body) = response.into_parts();
        let mut seen = Map::new();
        seen.insert("status".to_owned(), head.status.as_u16().into());
        seen.insert("headers".to_owned(), headers_of(&head.headers));
        let read = ReadBody::of(body, self.cancel_after, target).await;
        if read.cancelled {
            seen.insert("left".to_owned(), true.into());
        }
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
pub(crate) struct ReadBody {
    pub(crate) bytes: Vec<u8>,
    /// How many groups of pieces came at different times.
    pub(crate) arrivals: u64,
    /// Why it did not come to its end.
    pub(crate) problem: Option<String>,
    pub(crate) cancelled: bool,
}

impl ReadBody {
    async fn of(mut body: Body, cancel_after: Option<usize>, target: &Target) -> Self {
        let mut read = Self { bytes: Vec::new(), arrivals: 0, problem: None, cancelled: false };
        let mut leaving = cancel_after.map(Leaving::after);
        let mut came: Option<Came> = None;
        while let Some(piece) = body.chunk().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    read.problem = Some(format!("the answer broke off: {error}"));
                    return read;
                }
            };
            let now = target.clock.monotonic();
            read.arrivals = came.get_or_insert_with(|| Came::begin(now)).with(now);
            read.bytes.extend_from_slice(&piece);
            if read.bytes.len() > ANSWER_BYTES_MAX {
                read.problem = Some(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
                return read;
            }
            if leaving.as_mut().is_some_and(|it| it.is_time(&piece)) {
                read.cancelled = true;
                return read;
            }
        }
        read
    }
}

/// When the pieces of an answer came.
struct Came {
    first: Duration,
    last: Duration,
    pieces: u64,
    /// Pieces that did not come together with the one before.
    groups: u64,
}

impl Came {
    fn begin(now: Duration) -> Self {
        Self { first: now, last: now, pieces: 0, groups: 1 }
    }

    /// How many have come with this one.
    fn with(&mut self, now: Duration) -> u64 {
        self.pieces += 1;
        self.groups += u64::from(now.saturating_sub(self.last) >= ARRIVAL_GAP);
        self.last = now;
        if self.last.saturating_sub(self.first) < FAST_STREAM { self.pieces } else { self.groups }
    }
}

/// A client that goes away after so many events.
struct Leaving {
    events: usize,
    decoder: Decoder,
}

impl Leaving {
    fn after(events: usize) -> Self {
        Self { events, decoder: Decoder::new() }
    }

    /// Whether enough events have come with this piece.
    fn is_time(&mut self, mut piece: &[u8]) -> bool {
        while self.events > 0 {
            match self.decoder.next(&mut piece) {
                Ok(Some(Item::Event(_))) => self.events -= 1,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }
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
    let total = |usage: &Value| {
        let parts = || Some(usage["prompt_tokens"].as_u64()? + usage["completion_tokens"].as_u64()?);
        usage["total_tokens"].as_u64().or_else(parts)
    };
    let streamed = || value["stream"]["usages"].as_array()?.last().and_then(total);
    total(&value["body"]["usage"]).or_else(streamed)
}
