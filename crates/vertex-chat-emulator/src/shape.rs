//! Answers, errors and streams in the shape of whoever gives them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use vertex_chat_transport::{Clock, Response};
use vertex_chat_types::{ApiError, ChatRequest};

use crate::answer::{Answer, Manner, answer, google, mix, prompt_tokens, tokens};
use crate::containers::Container;
use crate::course::{Counted, Course, Mark};
use crate::openai::{self, OpenAiError};
use crate::performance::Performance;
use crate::quirks::{self, Quirk, Quirks};
use crate::reply::{GoogleError, Piece, Pieces, event_stream, in_part, raw_reply};

/// How many characters of a call's arguments a fragment has.
const FRAGMENT_CHARS: usize = 12;
/// The most choices of an answer.
const CHOICES_MAX: u64 = 128;
/// A WAV file without a sample: what a model of the emulator's says aloud.
const SOUND: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";
/// How long spoken answers can be referred to.
const SOUND_KEPT: Duration = Duration::from_secs(3600);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Gemini on Vertex.
    Gemini,
    /// A partner's model on Vertex.
    Partner,
    /// Gemini behind the Developer API.
    Developer,
    /// OpenAI itself.
    OpenAi,
    Container(Container),
}

const VLLM: Backend = Backend::Container(Container::Vllm);
const TGI: Backend = Backend::Container(Container::Tgi);

impl Backend {
    /// An error in this service's words; `param` is what it is about, empty when it is about nothing in particular.
    pub(crate) fn error(self, error: &GoogleError, param: &str) -> Response {
        match self {
            Self::Gemini | Self::Partner | Self::Developer => error.array_reply(),
            Self::OpenAi => OpenAiError::of_status(error.status, &error.message, param).reply(),
            Self::Container(container) => container.error(error.status, &error.message, param),
        }
    }

    fn is_google(self) -> bool {
        matches!(self, Self::Gemini | Self::Partner | Self::Developer)
    }

    /// Whether it streams as OpenAI does: the role once, null until the end, usage in a chunk of its own.
    fn streams_as_openai(self) -> bool {
        matches!(self, VLLM | Self::OpenAi)
    }

    fn manner(self, model: &str) -> Manner {
        let manner = Manner {
            signs: false,
            call_prefix: "function-call-",
            calls_max: usize::MAX,
            takes_functions: true,
            has_media: true,
            effort: "none",
        };
        match self {
            Self::Gemini | Self::Developer => Manner { signs: true, ..manner },
            Self::Partner => manner,
            Self::OpenAi => Manner { call_prefix: "call_", effort: openai::effort(model), ..manner },
            VLLM => {
                Manner { call_prefix: "chatcmpl-tool-", takes_functions: false, has_media: false, ..manner }
            }
            TGI => Manner { call_prefix: "", takes_functions: false, has_media: false, ..manner },
        }
    }
}

/// A request that has passed all checks, and who answers it.
pub(crate) struct Accepted {
    pub(crate) request: ChatRequest,
    pub(crate) backend: Backend,
    /// The model as the answer names it.
    pub(crate) model: String,
    pub(crate) quirks: Quirks,
}

/// What an answer is written with.
pub(crate) struct Pen {
    pub(crate) id: String,
    pub(crate) now: SystemTime,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pace: Pace,
    /// Whether half of the answer is all that is given.
    pub(crate) cuts: bool,
}

/// How fast an answer is given.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// A stream waits so long before each chunk.
    Chunks(Duration),
    Model(Performance),
}

impl Pen {
    fn seconds(&self) -> u64 {
        self.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }
}

impl Accepted {
    /// The answer, in the shape of whoever gives it, when it is time for its head.
    pub(crate) async fn reply(&self, pen: &Pen) -> Response {
        let wanted = match self.backend {
            TGI => 1,
            _ => u64::try_from(self.request.n.unwrap_or(1)).unwrap_or(1).clamp(1, CHOICES_MAX),
        };
        let voice = match pen.pace {
            Pace::Model(performance) => performance.voice,
            Pace::Chunks(_) => 0,
        };
        let answers: Vec<Answer> =
            (0..wanted).map(|number| self.answer(number.wrapping_add(voice))).collect();
        if self.request.is_stream() {
            return self.stream(&answers, pen);
        }
        let mut whole = self.whole(&answers, pen);
        quirks::bend_whole(self.quirks, &mut whole);
        if let Pace::Model(performance) = pen.pace {
            let wait = performance.whole(answers.iter().map(|it| it.completion_tokens).sum());
            if !wait.is_zero() {
                pen.clock.sleep(wait).await;
            }
        }
        let text = whole.to_string();
        let mut course = Course::default();
        let (end, usage) = (text.len() as u64, Counted::of(&whole["usage"]));
        course.marks.push_back(Mark { end, is_token: false, usage });
        let content_type = match self.backend {
            VLLM | TGI | Backend::OpenAi => "application/json",
            _ => "application/json; charset=UTF-8",
        };
        let mut response = raw_reply(StatusCode::OK, content_type, text);
        if pen.cuts {
            response = in_part(response, |bytes| bytes / 2, Piece::Cut, Arc::clone(&pen.clock)).await;
        }
        response.extensions_mut().insert(course);
        response
    }

    fn answer(&self, number: u64) -> Answer {
        let mut manner = self.backend.manner(&self.model);
        if matches!(self.backend, VLLM | Backend::OpenAi) && self.request.parallel_tool_calls == Some(false) {
            manner.calls_max = 1;
        }
        let mut answer = answer(&self.request, number, manner);
        if self.backend == TGI {
            answer.reasoning_tokens = 0;
        }
        if !self.backend.is_google() {
            answer.thought = None;
            // Thinking counts against the limit, so it cannot be more.
            let limit = self.request.max_completion_tokens.or(self.request.max_tokens);
            let limit = limit.and_then(|it| u64::try_from(it).ok()).unwrap_or(u64::MAX);
            answer.reasoning_tokens =
                answer.reasoning_tokens.min(limit.saturating_sub(answer.completion_tokens));
        }
        quirks::bend_answer(self.quirks, &mut answer);
        answer
    }

    fn stream(&self, answers: &[Answer], pen: &Pen) -> Response {
        let mut chunks = self.chunks(answers, pen);
        quirks::bend_chunks(self.quirks, &mut chunks, &self.request, &self.usage(answers));
        let mut events = quirks::events(self.quirks, &mut chunks);
        let is_token: Vec<bool> = chunks.iter().map(has_token).collect();
        let first = is_token.iter().position(|it| *it).unwrap_or(0);
        if pen.cuts {
            events.truncate(events.len() / 2);
        }
        let mut pieces = VecDeque::new();
        let mut course = Course::default();
        let mut end = 0;
        for (i, event) in events.into_iter().enumerate() {
            let is_token = is_token.get(i).is_some_and(|it| *it);
            let wait = match pen.pace {
                Pace::Chunks(wait) => wait,
                Pace::Model(performance) if i == first => performance.first_token,
                Pace::Model(performance) if is_token => performance.token,
                Pace::Model(_) => Duration::ZERO,
            };
            if !wait.is_zero() {
                pieces.push_back(Piece::Wait(wait));
            }
            end += event.len() as u64;
            let usage = chunks.get(i).and_then(|chunk| Counted::of(&chunk["usage"]));
            if is_token || usage.is_some() {
                course.marks.push_back(Mark { end, is_token, usage });
            }
            pieces.push_back(Piece::Bytes(Bytes::from(event)));
        }
        if pen.cuts {
            pieces.push_back(Piece::Cut);
        } else {
            course.bytes = Some(end);
        }
        let mut response = event_stream(Pieces::body(pieces, Arc::clone(&pen.clock)));
        response.extensions_mut().insert(course);
        let content_type = match self.backend {
            _ if self.quirks.has(Quirk::TextPlainStream) => "text/plain; charset=utf-8",
            VLLM | Backend::OpenAi => "text/event-stream; charset=utf-8",
            _ => "text/event-stream",
        };
        response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
        response
    }

    fn head(&self, object: &str, pen: &Pen) -> Value {
        let mut head =
            json!({"object": object, "created": pen.seconds(), "model": self.model, "choices": []});
        match self.backend {
            Backend::Gemini | Backend::Partner | Backend::Developer => {
                head["id"] = json!(pen.id);
                head["system_fingerprint"] = json!("");
            }
            Backend::OpenAi => {
                head["id"] = json!(format!("chatcmpl-{}", pen.id));
                let fingerprint = mix(0, 0, self.request.model.as_deref().unwrap_or_default());
                head["system_fingerprint"] = json!(format!("fp_{:010x}", fingerprint & 0xff_ffff_ffff));
                head["service_tier"] = json!(openai::tier_served(&self.request));
            }
            VLLM => head["id"] = json!(format!("chatcmpl-{}", pen.id)),
            TGI => {
                head["id"] = json!("");
                head["system_fingerprint"] = json!("3.3.6-native");
            }
        }
        head
    }

    fn usage(&self, answers: &[Answer]) -> Value {
        let prompt = prompt_tokens(&self.request);
        let visible: u64 = answers.iter().map(|it| it.completion_tokens).sum();
        let reasoning: u64 = answers.iter().map(|it| it.reasoning_tokens).sum();
        // Google counts thinking beside the completion, and in the total only; everybody else inside of it.
        let completion = if self.backend.is_google() { visible } else { visible + reasoning };
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + visible + reasoning,
        });
        match self.backend {
            Backend::Gemini | Backend::Partner => {
                usage["extra_properties"] = json!({"google": {"traffic_type": "ON_DEMAND"}});
                if reasoning > 0 {
                    usage["completion_tokens_details"] = json!({"reasoning_tokens": reasoning});
                }
            }
            Backend::OpenAi => {
                usage["prompt_tokens_details"] = json!({"cached_tokens": 0, "audio_tokens": 0});
                usage["completion_tokens_details"] = json!({
                    "reasoning_tokens": reasoning,
                    "audio_tokens": 0,
                    "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0,
                });
            }
            VLLM => usage["prompt_tokens_details"] = Value::Null,
            Backend::Developer | TGI => {}
        }
        usage
    }

    fn whole(&self, answers: &[Answer], pen: &Pen) -> Value {
        let mut whole = self.head("chat.completion", pen);
        whole["usage"] = self.usage(answers);
        whole["choices"] = answers
            .iter()
            .enumerate()
            .map(|(index, answer)| {
                let mut choice = json!({
                    "index": index,
                    "finish_reason": self.finish_reason(answer),
                    "logprobs": self.logprobs(answer, &answer.tokens),
                    "message": self.message(answer, index, pen),
                });
                if self.backend == VLLM {
                    choice["stop_reason"] = json!(answer.stopped_by);
                }
                choice
            })
            .collect();
        whole
    }

    fn message(&self, answer: &Answer, index: usize, pen: &Pen) -> Value {
        let mut message = json!({"role": "assistant"});
        if answer.calls.is_empty() && answer.picture.is_none() {
            let (open, close) = self.thought_tags();
            message["content"] = match answer.thought {
                Some(thought) => json!(format!("{open}{thought}{close}{}", answer.text())),
                None => json!(answer.text()),
            };
            if answer.thought.is_some() && self.backend == Backend::Developer {
                message["extra_content"] = json!({"google": {"thought": true}});
            }
        } else if answer.picture.is_some() || matches!(self.backend, VLLM | Backend::OpenAi) {
            message["content"] = Value::Null;
        }
        if let Some(picture) = answer.picture.filter(|_| self.backend.is_google()) {
            message["audio"] =
                json!({"data": picture, "extra_content": {"google": {"mime_type": "image/png"}}});
        }
        self.add_calls(&mut message, answer);
        match self.backend {
            VLLM => {
                message["refusal"] = Value::Null;
                message["reasoning_content"] = Value::Null;
            }
            Backend::OpenAi => {
                message["refusal"] = Value::Null;
                message["annotations"] = json!([]);
                if answer.is_spoken && answer.calls.is_empty() {
                    message["content"] = Value::Null;
                    message["audio"] = spoken(answer, index, pen);
                }
            }
            _ => {}
        }
        message
    }

    /// What thoughts are wrapped in, where they are.
    fn thought_tags(&self) -> (String, String) {
        let marker = match self.backend {
            Backend::Developer => Some("thought"),
            _ => google(&self.request).and_then(|it| it.thought_tag_marker.as_deref()),
        };
        let tags = marker.map(|it| (format!("<{it}>"), format!("</{it}>")));
        tags.unwrap_or_default()
    }

    fn finish_reason(&self, answer: &Answer) -> &'static str {
        match (self.backend, answer.finish_reason) {
            // TGI reports why the text ended, whatever was called.
            (TGI, "tool_calls") => "stop",
            (TGI, "stop") if answer.stopped_by.is_some() => "stop_sequence",
            (_, reason) => reason,
        }
    }

    fn add_calls(&self, message: &mut Value, answer: &Answer) {
        let mut calls = Vec::new();
        for call in &answer.calls {
            let function = json!({"name": call.name, "arguments": call.arguments});
            if call.is_function {
                message["function_call"] = function;
                continue;
            }
            if call.is_custom && self.backend == Backend::OpenAi {
                let custom = json!({"name": call.name, "input": call.arguments});
                calls.push(json!({"id": call.id, "type": "custom", "custom": custom}));
                continue;
            }
            let mut whole = json!({"id": call.id, "type": "function", "function": function});
            if let Some(signature) = &call.signature {
                whole["extra_content"] = json!({"google": {"thought_signature": signature}});
            }
            calls.push(whole);
        }
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
    }

    /// How likely these tokens were, for whoever asked; null for everybody else.
    fn logprobs(&self, answer: &Answer, tokens: &[String]) -> Value {
        let told = matches!(self.backend, Backend::OpenAi | Backend::Container(_));
        if !told || self.request.logprobs != Some(true) || !answer.calls.is_empty() || answer.is_spoken {
            return Value::Null;
        }
        let most = usize::try_from(self.request.top_logprobs.unwrap_or(0)).unwrap_or(0);
        let content: Vec<Value> = tokens.iter().map(|token| self.logprob(token, most)).collect();
        match self.backend {
            Backend::OpenAi => json!({"content": content, "refusal": null}),
            _ => json!({"content": content}),
        }
    }

    fn logprob(&self, token: &str, most: usize) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "a rank of 20 at most")]
        let entry = |token: &str, rank: usize| {
            let mut entry = json!({"token": token, "logprob": -0.125 - rank as f64});
            if self.backend != TGI {
                entry["bytes"] = json!(token.as_bytes());
            }
            entry
        };
        let mut whole = entry(token, 0);
        let rank = |rank: usize| {
            if rank == 0 { entry(token, 0) } else { entry(&format!("{token}{rank}"), rank) }
        };
        whole["top_logprobs"] = (0..most).map(rank).collect();
        whole
    }

    /// The chunks of a stream. Google repeats the role in every delta, leaves the finish reason out until the end, and
    /// puts the usage into the last chunk; OpenAI and vLLM say the role once, write null, and give usage a chunk of its own.
    fn chunks(&self, answers: &[Answer], pen: &Pen) -> Vec<Value> {
        let google = self.backend.is_google();
        let mut of_choices: Vec<VecDeque<Value>> = Vec::new();
        for (index, answer) in answers.iter().enumerate() {
            let deltas = self.deltas(answer, index, pen);
            let finish = self.finish_reason(answer);
            let last = deltas.len() - 1;
            let mut chunks = VecDeque::new();
            for (position, (delta, logprobs)) in deltas.into_iter().enumerate() {
                let ends_here = google && position == last;
                chunks.push_back(self.chunk(index, delta, &logprobs, ends_here.then_some(finish), pen));
            }
            if !google {
                let mut last = self.chunk(index, json!({}), &Value::Null, Some(finish), pen);
                if self.backend == VLLM {
                    last["choices"][0]["stop_reason"] = json!(answer.stopped_by);
                }
                chunks.push_back(last);
            }
            of_choices.push(chunks);
        }
        let mut chunks: Vec<Value> = if self.backend.streams_as_openai() {
            let rounds = of_choices.iter().map(VecDeque::len).max().unwrap_or(0);
            (0..rounds)
                .flat_map(|_| of_choices.iter_mut().filter_map(VecDeque::pop_front).collect::<Vec<_>>())
                .collect()
        } else {
            of_choices.into_iter().flatten().collect()
        };
        self.add_usage(&mut chunks, answers, pen);
        chunks
    }

    fn add_usage(&self, chunks: &mut Vec<Value>, answers: &[Answer], pen: &Pen) {
        let usage = self.usage(answers);
        let options = self.request.stream_options.as_ref();
        let is_wanted = options.is_some_and(|it| it.include_usage == Some(true));
        let is_continuous = options
            .is_some_and(|it| it.extra.get("continuous_usage_stats").is_some_and(|it| it.as_str() == "true"));
        let count = chunks.len();
        match self.backend {
            Backend::Gemini | Backend::Partner => {
                if let Some(last) = chunks.last_mut() {
                    last["usage"] = usage;
                }
                return;
            }
            Backend::Developer => {
                for (i, chunk) in chunks.iter_mut().enumerate() {
                    chunk["usage"] = cumulative(&usage, i + 1, count);
                }
                return;
            }
            _ if !is_wanted => return,
            Backend::OpenAi => chunks.iter_mut().for_each(|chunk| chunk["usage"] = Value::Null),
            VLLM if is_continuous => {
                for (i, chunk) in chunks.iter_mut().enumerate() {
                    chunk["usage"] = cumulative(&usage, i + 1, count);
                }
            }
            _ => {}
        }
        let mut last = self.head("chat.completion.chunk", pen);
        last["usage"] = usage;
        chunks.push(last);
    }

    fn chunk(
        &self,
        index: usize,
        mut delta: Value,
        logprobs: &Value,
        finish: Option<&str>,
        pen: &Pen,
    ) -> Value {
        if !self.backend.streams_as_openai() {
            delta["role"] = json!("assistant");
        }
        let mut choice = json!({"index": index, "delta": delta, "logprobs": logprobs});
        match finish {
            Some(finish) => choice["finish_reason"] = json!(finish),
            None if self.backend.is_google() => {}
            None => choice["finish_reason"] = Value::Null,
        }
        let mut chunk = self.head("chat.completion.chunk", pen);
        chunk["choices"] = json!([choice]);
        chunk
    }

    /// The deltas of one choice, at least one, each with its logprobs.
    fn deltas(&self, answer: &Answer, index: usize, pen: &Pen) -> Vec<(Value, Value)> {
        let mut deltas: Vec<(Value, Value)> = Vec::new();
        let plain = |delta: Value| (delta, Value::Null);
        let has_text = answer.calls.is_empty() && !answer.is_spoken;
        match self.backend {
            VLLM => deltas.push(plain(json!({"role": "assistant", "content": ""}))),
            Backend::OpenAi => {
                let content = if has_text { json!("") } else { Value::Null };
                deltas.push(plain(json!({"role": "assistant", "content": content, "refusal": null})));
            }
            _ => {}
        }
        if !answer.calls.is_empty() {
            deltas.extend(self.call_deltas(answer).into_iter().map(plain));
        } else if answer.is_spoken && self.backend == Backend::OpenAi {
            let audio = spoken(answer, index, pen);
            for (key, value) in [("data", &audio["data"]), ("transcript", &audio["transcript"])] {
                deltas.push(plain(json!({"audio": {"id": audio["id"], key: value}})));
            }
            let end = json!({"id": audio["id"], "expires_at": audio["expires_at"]});
            deltas.push(plain(json!({"audio": end})));
        } else {
            self.add_text(&mut deltas, answer);
        }
        if let Some(picture) = answer.picture.filter(|_| self.backend.is_google()) {
            let audio = json!({"data": picture, "extra_content": {"google": {"mime_type": "image/png"}}});
            deltas.push(plain(json!({"content": null, "audio": audio})));
        }
        if deltas.is_empty() {
            deltas.push(plain(json!({"content": ""})));
        }
        deltas
    }

    /// Thoughts, where there are any, and text. The tag that ends the thoughts begins the text.
    fn add_text(&self, deltas: &mut Vec<(Value, Value)>, answer: &Answer) {
        let (mut open, mut close) = self.thought_tags();
        for token in answer.thought.map(tokens).into_iter().flatten() {
            let mut delta = json!({"content": std::mem::take(&mut open) + &token});
            if self.backend == Backend::Developer {
                delta["extra_content"] = json!({"google": {"thought": true}});
            }
            deltas.push((delta, Value::Null));
        }
        if answer.thought.is_none() {
            close.clear();
        }
        for token in &answer.tokens {
            let content = std::mem::take(&mut close) + token;
            let logprobs = self.logprobs(answer, std::slice::from_ref(token));
            deltas.push((json!({"content": content}), logprobs));
        }
        if !close.is_empty() {
            deltas.push((json!({"content": close}), Value::Null));
        }
    }

    fn call_deltas(&self, answer: &Answer) -> Vec<Value> {
        let is_function = answer.calls.iter().any(|it| it.is_function);
        if self.backend.is_google() && self.streams_arguments() && !is_function {
            return googles_fragments(answer);
        }
        if self.backend.streams_as_openai() {
            return openai_fragments(answer, self.backend == VLLM);
        }
        let whole = |position: usize| {
            let one = Answer { calls: vec![answer.calls[position].clone()], ..Answer::default() };
            let mut delta = json!({});
            self.add_calls(&mut delta, &one);
            if let Some(call) = delta.get_mut("tool_calls").and_then(|calls| calls.get_mut(0)) {
                // TGI's is 0, whichever call it is.
                call["index"] = json!(if self.backend == TGI { 0 } else { position });
            }
            delta
        };
        (0..answer.calls.len()).map(whole).collect()
    }

    fn streams_arguments(&self) -> bool {
        google(&self.request).is_some_and(|it| it.stream_function_call_arguments == Some(true))
    }
}

/// Whether a chunk has text or a call in it; text is thoughts, refusals, sounds and pictures too.
fn has_token(chunk: &Value) -> bool {
    let mut deltas = chunk["choices"].as_array().into_iter().flatten().map(|choice| &choice["delta"]);
    deltas.any(|delta| {
        let has_text = |key: &str| delta[key].as_str().is_some_and(|it| !it.is_empty());
        let has_audio = |key: &str| delta["audio"][key].is_string();
        ["content", "reasoning_content", "refusal"].into_iter().any(has_text)
            || ["data", "transcript"].into_iter().any(has_audio)
            || delta["tool_calls"].as_array().is_some_and(|it| !it.is_empty())
            || delta["function_call"].is_object()
    })
}

/// A spoken answer.
fn spoken(answer: &Answer, index: usize, pen: &Pen) -> Value {
    json!({
        "id": format!("audio_{}-{index}", pen.id),
        "data": SOUND,
        "expires_at": pen.seconds() + SOUND_KEPT.as_secs(),
        "transcript": answer.text(),
    })
}

/// A usage as it stands after so many chunks of all: the completion grows, the rest is known from the start.
pub(crate) fn cumulative(usage: &Value, chunks: usize, of_chunks: usize) -> Value {
    let mut usage = usage.clone();
    let number = |key: &str| usage[key].as_u64().unwrap_or(0);
    let (whole, total) = (number("completion_tokens"), number("total_tokens"));
    let so_far = whole * chunks as u64 / of_chunks.max(1) as u64;
    usage["completion_tokens"] = json!(so_far);
    usage["total_tokens"] = json!(total - (whole - so_far));
    usage
}

fn fragments(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(FRAGMENT_CHARS).map(|part| part.iter().collect()).collect()
}

/// Calls in fragments as OpenAI streams them: the first says whose they are, the others have a position and text. vLLM's
/// first has no arguments, not even empty ones, and each says that there is no content.
fn openai_fragments(answer: &Answer, is_vllm: bool) -> Vec<Value> {
    let mut deltas = Vec::new();
    for (position, call) in answer.calls.iter().enumerate() {
        if call.is_function {
            deltas.push(json!({"function_call": {"name": call.name, "arguments": ""}}));
            let rest = fragments(&call.arguments);
            deltas.extend(rest.iter().map(|part| json!({"function_call": {"arguments": part}})));
            continue;
        }
        let (kind, text) =
            if call.is_custom && !is_vllm { ("custom", "input") } else { ("function", "arguments") };
        let mut head = json!({"index": position, "id": call.id, "type": kind, kind: {"name": call.name}});
        if !is_vllm {
            head[kind][text] = json!("");
        }
        let parts = fragments(&call.arguments);
        let rest = parts.iter().map(|part| json!({"index": position, kind: {text: part}}));
        for call in std::iter::once(head).chain(rest) {
            let mut delta = json!({"tool_calls": [call]});
            if is_vllm {
                delta["content"] = Value::Null;
            }
            deltas.push(delta);
        }
    }
    deltas
}

/// Calls in fragments, as Google's own sample shows them: everything repeated in each, and the wrong index in the first.
fn googles_fragments(answer: &Answer) -> Vec<Value> {
    let mut deltas = Vec::new();
    for (position, call) in answer.calls.iter().enumerate() {
        let fragment = |index: usize, arguments: &str| {
            let function = json!({"name": call.name, "arguments": arguments});
            json!({"id": call.id, "type": "function", "index": index, "function": function})
        };
        let mut head = fragment(answer.calls.len() - 1 - position, "");
        if let Some(signature) = &call.signature {
            head["extra_content"] = json!({"google": {"thought_signature": signature}});
        }
        deltas.push(json!({"tool_calls": [head]}));
        for part in fragments(&call.arguments) {
            deltas.push(json!({"tool_calls": [fragment(position, &part)]}));
        }
    }
    deltas
}

/// An engine's error, handed on as the service hands on a container's.
pub(crate) fn engine_error(status: StatusCode, body: &[u8]) -> Response {
    let error = ApiError::from_body(Some(status.as_u16()), body);
    GoogleError::new(502, "UNAVAILABLE", format!("the engine answered {error}")).array_reply()
}
