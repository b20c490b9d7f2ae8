//! The broken server itself: requests are edited before another server sees them, and what it answers after.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body::Frame;
use serde_json::{Map, Value, json};
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_transport::{
    Body, Clock, Exchange, Request, Response, Sent, Sleep, TransportError, TransportErrorKind,
};

use crate::case::{fill, fill_text};
use crate::expect::{Answers, Check};
use crate::mutant::{Change, Deed, Edit, On, Which};
use crate::observe::ANSWER_BYTES_MAX;
use crate::path::Step;

/// The wait between two events of a stream that was taken apart, so that they still come one by one.
const PACE: Duration = Duration::from_millis(1);

/// A server with edits.
pub(crate) struct Broken {
    server: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
    edits: Vec<Edit>,
    good: String,
    count: AtomicU64,
    running: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Broken {
    /// This server with these edits. `good` is a bearer token that it takes.
    pub(crate) fn new(
        server: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
        edits: Vec<Edit>,
        good: &str,
    ) -> Self {
        Self {
            server,
            clock,
            edits,
            good: good.to_owned(),
            count: AtomicU64::new(0),
            running: Arc::default(),
            cancelled: Arc::default(),
        }
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broken")
            .field("server", &self.server)
            .field("edits", &self.edits.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Exchange for Broken {
    async fn send(&self, mut request: Request) -> Result<Response, TransportError> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let variables = BTreeMap::from([
            ("good".to_owned(), Value::from(self.good.clone())),
            ("number".to_owned(), Value::from(number)),
        ]);
        let mut seen = json!({"request": description(&request)});
        let alone = InFlight::enter(&self.running);
        for edit in self.edits.iter().filter(|edit| !edit.is_of_answer() && holds(&edit.when, &seen)) {
            match (&edit.deed, edit.on) {
                (Change::Do(Deed::Refuse, _), _) => {
                    let kind = TransportErrorKind::Interrupted;
                    return Err(TransportError::new(kind, Sent::Yes, "as the mutant is"));
                }
                (Change::Do(Deed::OneAtATime, _), _) if !alone.first => {
                    return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, "busy"));
                }
                (Change::Do(Deed::DieAfterCancel, _), _) if self.cancelled.load(Ordering::Relaxed) > 0 => {
                    return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, "dead"));
                }
                _ => edit.change_request(&mut request, &variables),
            }
        }
        let mut response = self.server.send(request).await?;
        seen["status"] = response.status().as_u16().into();
        let edits: Vec<&Edit> =
            self.edits.iter().filter(|edit| edit.is_of_answer() && holds(&edit.when, &seen)).collect();
        if !edits.is_empty() {
            response = self.change(response, &edits, &variables).await?;
        }
        if self
            .edits
            .iter()
            .any(|it| matches!(it.deed, Change::Do(Deed::DieAfterCancel | Deed::OneAtATime, _)))
        {
            let (head, body) = response.into_parts();
            let watched =
                Watched { body, ended: false, cancelled: Arc::clone(&self.cancelled), _alone: alone };
            response = Response::from_parts(head, Body::stream(watched));
        }
        Ok(response)
    }
}

/// Whether all of these hold for a document.
fn holds(checks: &[Check], value: &Value) -> bool {
    let answers = Answers { this: value, earlier: &[] };
    checks.iter().all(|check| check.violations(&answers).is_empty())
}

fn description(request: &Request) -> Value {
    let mut headers = Map::new();
    for (name, value) in request.headers() {
        headers.insert(name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into());
    }
    json!({
        "method": request.method().as_str(),
        "path": request.uri().path(),
        "headers": headers,
        "body": serde_json::from_slice::<Value>(request.body()).unwrap_or_default(),
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// Counts requests that run.
struct InFlight {
    running: Arc<AtomicUsize>,
    first: bool,
}

impl InFlight {
    fn enter(running: &Arc<AtomicUsize>) -> Self {
        let first = running.fetch_add(1, Ordering::SeqCst) == 0;
        Self { running: Arc::clone(running), first }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Edit {
    /// Whether it waits for the answer; what does not has no conditions on the status.
    fn is_of_answer(&self) -> bool {
        let in_advance =
            matches!(self.deed, Change::Do(Deed::Refuse | Deed::OneAtATime | Deed::DieAfterCancel, _));
        !in_advance && !matches!(self.on, On::Request | On::RequestHeaders | On::RequestLine)
    }

    fn change_request(&self, request: &mut Request, variables: &BTreeMap<String, Value>) {
        match self.on {
            On::Request => {
                if let Ok(mut body) = serde_json::from_slice::<Value>(request.body()) {
                    self.change(&mut body, variables);
                    *request.body_mut() = Bytes::from(body.to_string());
                    request.headers_mut().remove(CONTENT_LENGTH);
                }
            }
            On::RequestHeaders => self.change_headers(request.headers_mut(), variables),
            On::RequestLine => {
                if let Change::Set(path, to) = &self.deed {
                    let text = text_of(to, variables);
                    if path.to_string() == "method" {
                        if let Ok(method) = text.parse() {
                            *request.method_mut() = method;
                        }
                    } else if let Ok(uri) = text.parse() {
                        *request.uri_mut() = uri;
                    }
                }
            }
            _ => {}
        }
    }

    fn change_headers(&self, headers: &mut http::HeaderMap, variables: &BTreeMap<String, Value>) {
        match &self.deed {
            Change::Set(name, to) => {
                let name = HeaderName::try_from(name.to_string());
                if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(text_of(to, variables))) {
                    headers.insert(name, value);
                }
            }
            Change::Remove(name) => {
                headers.remove(name.to_string().as_str());
            }
            Change::Rename(..) | Change::Do(..) => {}
        }
    }

    /// Edits a document.
    fn change(&self, document: &mut Value, variables: &BTreeMap<String, Value>) {
        if !holds(&self.place, document) {
            return;
        }
        match &self.deed {
            Change::Set(path, to) => {
                let mut to = to.clone();
                let _ = fill(&mut to, variables);
                path.edit(document, &mut |parent, step| match (parent, step) {
                    (Value::Object(members), Step::Member(name)) => {
                        members.insert((*name).to_owned(), to.clone());
                    }
                    (Value::Array(items), Step::Item(position)) => items[*position] = to.clone(),
                    _ => {}
                });
            }
            Change::Remove(path) => path.edit(document, &mut |parent, step| match (parent, step) {
                (Value::Object(members), Step::Member(name)) => {
                    members.remove(*name);
                }
                (Value::Array(items), Step::Item(position)) => {
                    items.remove(*position);
                }
                _ => {}
            }),
            Change::Rename(path, to) => path.edit(document, &mut |parent, step| {
                if let (Value::Object(members), Step::Member(name)) = (parent, step)
                    && let Some(value) = members.remove(*name)
                {
                    members.insert(to.clone(), value);
                }
            }),
            Change::Do(..) => {}
        }
    }
}

fn text_of(value: &Value, variables: &BTreeMap<String, Value>) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    fill_text(&text, variables).unwrap_or(text)
}

impl Broken {
    async fn change(
        &self,
        response: Response,
        edits: &[&Edit],
        variables: &BTreeMap<String, Value>,
    ) -> Result<Response, TransportError> {
        let (mut head, mut body) = response.into_parts();
        let is_stream = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|it| it.to_str().ok())
            .is_some_and(|it| it.starts_with("text/event-stream"));
        let on = if head.status.as_u16() >= 400 { On::Error } else { On::Whole };
        let touches = |on: &[On]| edits.iter().any(|edit| on.contains(&edit.on));
        if is_stream && touches(&[On::Chunk, On::Stream]) {
            let whole = body.collect(ANSWER_BYTES_MAX).await?;
            let mut events = Events::of(&whole);
            for edit in edits {
                events.change(edit, variables);
            }
            if events.array {
                head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                body = Value::Array(events.list.into_iter().map(|it| it.chunk).collect()).to_string().into();
            } else {
                body = events.into_body(Arc::clone(&self.clock));
            }
        } else if !is_stream && touches(&[on]) {
            let mut bytes = body.collect(ANSWER_BYTES_MAX).await?;
            if let Ok(mut document) = serde_json::from_slice::<Value>(&bytes) {
                edits
                    .iter()
                    .filter(|edit| edit.on == on)
                    .for_each(|edit| edit.change(&mut document, variables));
                bytes = Bytes::from(document.to_string());
            }
            head.headers.remove(CONTENT_LENGTH);
            body = Body::from(bytes);
        }
        for edit in edits {
            if let Change::Do(Deed::Replace, to) = &edit.deed {
                head.headers.remove(CONTENT_LENGTH);
                body = Body::from(text_of(to, variables));
            }
        }
        for edit in edits {
            match (edit.on, &edit.deed) {
                (On::Headers, _) => edit.change_headers(&mut head.headers, variables),
                (On::Status, Change::Set(_, to)) => {
                    let status = to.as_u64().and_then(|it| u16::try_from(it).ok());
                    head.status = status.and_then(|it| StatusCode::from_u16(it).ok()).unwrap_or(head.status);
                }
                _ => {}
            }
        }
        Ok(Response::from_parts(head, body))
    }
}

/// A stream, taken apart.
struct Events {
    list: Vec<Event>,
    done: usize,
    buffered: bool,
    cut: bool,
    unfinished: bool,
    bare_cr: bool,
    named: bool,
    array: bool,
    appended: Vec<String>,
}

struct Event {
    chunk: Value,
    /// Without `data:`.
    bare: bool,
}

impl Events {
    fn of(bytes: &[u8]) -> Self {
        let mut decoder = Decoder::new();
        let mut input = bytes;
        let mut list = Vec::new();
        let mut done = 0;
        while let Ok(Some(item)) = decoder.next(&mut input) {
            let Item::Event(event) = item else { continue };
            if event.data == "[DONE]" {
                done += 1;
            } else {
                let chunk =
                    serde_json::from_str(&event.data).unwrap_or_else(|_| event.data.to_string().into());
                list.push(Event { chunk, bare: false });
            }
        }
        Self {
            list,
            done,
            buffered: false,
            cut: false,
            unfinished: false,
            bare_cr: false,
            named: false,
            array: false,
            appended: Vec::new(),
        }
    }

    /// The events that an edit is about.
    fn found(&self, edit: &Edit) -> Vec<usize> {
        let mut found: Vec<usize> =
            (0..self.list.len()).filter(|i| holds(&edit.place, &self.list[*i].chunk)).collect();
        match edit.which {
            None => {}
            Some(Which::First) => found.truncate(1),
            Some(Which::Last) => found = found.pop().into_iter().collect(),
            Some(Which::NotFirst) => drop(found.drain(..found.len().min(1))),
            Some(Which::NotLast) => {
                found.pop();
            }
        }
        found
    }

    fn change(&mut self, edit: &Edit, variables: &BTreeMap<String, Value>) {
        if !matches!(edit.on, On::Chunk | On::Stream) {
            return;
        }
        let found = self.found(edit);
        let Change::Do(deed, to) = &edit.deed else {
            for i in found {
                edit.change(&mut self.list[i].chunk, variables);
            }
            return;
        };
        let take = |list: &mut Vec<Event>| -> Vec<Event> {
            let mut taken: Vec<Event> = found.iter().rev().map(|i| list.remove(*i)).collect();
            taken.reverse();
            taken
        };
        match deed {
            Deed::DropDone => self.done = 0,
            Deed::DoubleDone => self.done = 2,
            Deed::Drop => drop(take(&mut self.list)),
            Deed::Double => {
                for i in found.iter().rev() {
                    let chunk = self.list[*i].chunk.clone();
                    self.list.insert(*i, Event { chunk, bare: false });
                }
            }
            Deed::ToFront => {
                let taken = take(&mut self.list);
                self.list.splice(0..0, taken);
            }
            Deed::ToBack => {
                let taken = take(&mut self.list);
                self.list.extend(taken);
            }
            Deed::Insert => {
                for i in found.iter().rev() {
                    self.list.insert(*i, Event { chunk: to.clone(), bare: false });
                }
            }
            Deed::Append => self.appended.push(to.as_str().map_or_else(|| to.to_string(), str::to_owned)),
            Deed::Buffer => self.buffered = true,
            Deed::Cut => self.cut = true,
            Deed::Unfinished => self.unfinished = true,
            Deed::BareCr => self.bare_cr = true,
            Deed::Named => self.named = true,
            Deed::Array => self.array = true,
            Deed::Bare => {
                for i in found {
                    self.list[i].bare = true;
                }
            }
            Deed::Replace | Deed::Refuse | Deed::OneAtATime | Deed::DieAfterCancel => {}
        }
    }

    fn into_body(self, clock: Arc<dyn Clock>) -> Body {
        let end = if self.bare_cr { "\r\r" } else { "\n\n" };
        let name = if self.named { "event: message\n" } else { "" };
        let mut pieces: VecDeque<Bytes> = VecDeque::new();
        let half = if self.cut { self.list.len() / 2 } else { self.list.len() };
        for event in self.list.into_iter().take(half) {
            // Data that is no JSON was kept as a string.
            let data = event.chunk.as_str().map_or_else(|| event.chunk.to_string(), str::to_owned);
            let field = if event.bare { "" } else { "data: " };
            pieces.push_back(Bytes::from(format!("{name}{field}{data}{end}")));
        }
        if !self.cut {
            for i in 0..self.done {
                let end = if self.unfinished && i + 1 == self.done { "" } else { end };
                pieces.push_back(Bytes::from(format!("data: [DONE]{end}")));
            }
            pieces.extend(self.appended.into_iter().map(|text| Bytes::from(format!("data: {text}{end}"))));
        }
        if self.buffered {
            let whole: Vec<u8> = pieces.into_iter().flatten().collect();
            pieces = VecDeque::from([Bytes::from(whole)]);
        }
        Body::stream(Paced { pieces, clock, waiting: None, cut: self.cut })
    }
}

/// Pieces with a wait before each.
struct Paced {
    pieces: VecDeque<Bytes>,
    clock: Arc<dyn Clock>,
    waiting: Option<Sleep>,
    cut: bool,
}

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(cx));
        }
        self.waiting = Some(self.clock.sleep(PACE));
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.cut => {
                self.cut = false;
                let cut = TransportError::new(TransportErrorKind::Interrupted, Sent::Yes, "as the mutant is");
                Poll::Ready(Some(Err(cut)))
            }
            None => Poll::Ready(None),
        }
    }
}

/// A body that notices when it is left before its end.
struct Watched {
    body: Body,
    ended: bool,
    cancelled: Arc<AtomicUsize>,
    _alone: InFlight,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        let polled = ready!(self.body.poll_chunk(cx));
        self.ended = polled.is_none();
        Poll::Ready(polled.map(|it| it.map(Frame::data)))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.ended {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
