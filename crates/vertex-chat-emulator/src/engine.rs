//! Text from a real model: the emulator keeps the door, an OpenAI-compatible server does the talking.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, Uri};
use http_body::Frame;
use serde_json::{Value, json};
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_transport::{Body, Exchange, Request, Response, Sent, TransportError, TransportErrorKind};
use vertex_chat_types::{ChatCompletion, ChatCompletionChunk, ChatRequest, Role, StreamEvent};

use crate::reply::{GoogleError, event_stream, json_reply};
use crate::shape::engine_error;

/// The largest whole answer of an engine that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A server that has a model.
#[derive(Clone)]
pub struct Engine {
    pub(crate) exchange: Arc<dyn Exchange>,
    url: Uri,
    model: Option<String>,
    api_key: Option<HeaderValue>,
}

impl Engine {
    /// The server with this base URL, such as `http://127.0.0.1:8000/v1`.
    ///
    /// # Errors
    /// When that is no URL.
    pub fn new(exchange: Arc<dyn Exchange>, base_url: &str) -> Result<Self, http::uri::InvalidUri> {
        let url = format!("{}/chat/completions", base_url.trim_end_matches('/')).parse()?;
        Ok(Self { exchange, url, model: None, api_key: None })
    }

    /// Asks for this model. Otherwise the request's own name is left out.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// Sends this key.
    #[must_use]
    pub fn with_api_key(mut self, key: &str) -> Self {
        self.api_key = HeaderValue::try_from(format!("Bearer {key}")).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        self
    }

    /// Has the engine answer, in Vertex's shape.
    pub(crate) async fn reply(&self, mut request: ChatRequest, id: String) -> Response {
        let named = std::mem::replace(&mut request.model, self.model.clone());
        let dress = Dress { id, model: named.unwrap_or_default() };
        request.extra_body = None;
        request.google = None;
        let stream = request.is_stream();
        if stream {
            let mut options = request.stream_options.take().unwrap_or_default();
            options.include_usage = Some(true);
            request.stream_options = Some(options);
        }
        let body = request.to_json();
        let mut out = Request::new(Bytes::from(body));
        *out.method_mut() = Method::POST;
        *out.uri_mut() = self.url.clone();
        out.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        if let Some(key) = &self.api_key {
            out.headers_mut().insert("authorization", key.clone());
        }
        let unavailable = |error: &TransportError| {
            GoogleError::new(503, "UNAVAILABLE", format!("the engine: {error}")).array_reply()
        };
        let response = match self.exchange.send(out).await {
            Ok(response) => response,
            Err(error) => return unavailable(&error),
        };
        let status = response.status();
        if status.is_success() && stream {
            return event_stream(Body::stream(Redressed::new(response.into_body(), dress)));
        }
        let body = match response.into_body().collect(ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(error) => return unavailable(&error),
        };
        if !status.is_success() {
            return engine_error(status, &body);
        }
        match ChatCompletion::from_json(&body) {
            Ok(completion) => json_reply(status, &dress.whole(completion)),
            Err(_) => engine_error(status, &body),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("url", &self.url).field("model", &self.model).finish_non_exhaustive()
    }
}

/// What Vertex's answers have about them.
struct Dress {
    id: String,
    model: String,
}

impl Dress {
    fn whole(&self, completion: ChatCompletion) -> Value {
        let mut value = serde_json::to_value(completion).expect("because a completion is JSON");
        self.put_on(&mut value);
        value
    }

    fn put_on(&self, value: &mut Value) {
        value["id"] = json!(self.id);
        value["model"] = json!(self.model);
        value["system_fingerprint"] = json!("");
        if let Some(usage) = value.get_mut("usage").filter(|it| it.is_object()) {
            usage["extra_properties"] = json!({"google": {"traffic_type": "ON_DEMAND"}});
        }
    }
}

/// An engine's stream in Vertex's shape: the role in every delta, no finish reason before the end, the usage in the last
/// chunk. So the chunk that ends the answer is held back until the usage has come.
struct Redressed {
    body: Body,
    input: Bytes,
    decoder: Decoder,
    dress: Dress,
    ready: VecDeque<Bytes>,
    last: Option<Value>,
    ended: bool,
}

impl Redressed {
    fn new(body: Body, dress: Dress) -> Self {
        Self {
            body,
            input: Bytes::new(),
            decoder: Decoder::new(),
            dress,
            ready: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    fn push(&mut self, value: &Value) {
        let mut event = Vec::new();
        vertex_chat_sse::encode(&mut event, &value.to_string());
        self.ready.push_back(event.into());
    }

    fn take(&mut self, chunk: ChatCompletionChunk) {
        let usage = chunk.usage.clone();
        let ends = chunk.choices.iter().any(|choice| choice.finish_reason.is_value());
        let is_empty = chunk.choices.is_empty();
        if !is_empty {
            self.flush();
            let mut chunk = chunk;
            for choice in &mut chunk.choices {
                if !choice.finish_reason.is_value() {
                    choice.finish_reason.take();
                }
                choice.delta.get_or_insert_default().role = Some(Role::Assistant);
            }
            let mut value = serde_json::to_value(&chunk).expect("because a chunk is JSON");
            self.dress.put_on(&mut value);
            if ends {
                self.last = Some(value);
            } else {
                self.push(&value);
            }
        }
        if let (Some(usage), Some(last)) = (usage, &mut self.last) {
            last["usage"] = serde_json::to_value(usage).expect("because usage is JSON");
            self.dress.put_on(last);
        }
    }

    fn flush(&mut self) {
        if let Some(last) = self.last.take() {
            self.push(&last);
        }
    }

    /// Decodes what was read; an error ends the stream without its end.
    fn decode(&mut self) -> Result<(), TransportError> {
        let broken = |what: &str| TransportError::new(TransportErrorKind::Interrupted, Sent::Yes, what);
        loop {
            let mut rest = &self.input[..];
            let before = rest.len();
            let item = self.decoder.next(&mut rest).map_err(|_| broken("the engine's event is too large"))?;
            let event = match &item {
                Some(Item::Event(event)) => StreamEvent::read(&event.event, &event.data).map(Some),
                Some(_) => Ok(Some(StreamEvent::Nothing)),
                None => Ok(None),
            };
            let taken = before - rest.len();
            self.input.advance(taken);
            match event.map_err(|_| broken("the engine's event is not a chunk"))? {
                None => return Ok(()),
                Some(StreamEvent::Chunk(chunk)) => self.take(chunk),
                Some(StreamEvent::Done) => {
                    self.flush();
                    self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                    self.ended = true;
                }
                Some(StreamEvent::Error(_)) => return Err(broken("the engine failed")),
                Some(_) => {}
            }
        }
    }
}

impl http_body::Body for Redressed {
    type Data = Bytes;
    type Error = TransportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TransportError>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.body.poll_chunk(cx)) {
                Some(Ok(bytes)) => {
                    self.input = bytes;
                    if let Err(error) = self.decode() {
                        self.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.flush();
                    self.ended = true;
                }
            }
        }
    }
}
