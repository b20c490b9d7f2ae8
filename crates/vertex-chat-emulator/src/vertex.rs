//! Chat completions: Gemini and partners behind `openapi`, containers behind endpoint ids.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use vertex_chat_transport::{Clock, Response};
use vertex_chat_types::{ApiError, ChatRequest, Content, ContentPart, ImageDetail, ResponseFormat, Stop};

use crate::answer::{Answer, answer, has_contents, missing_signature, prompt_tokens};
use crate::reply::{GoogleError, Piece, Pieces, event_stream, json_reply, raw_reply};

/// What stands behind an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// vLLM's OpenAI-compatible server.
    Vllm,
    /// Hugging Face's Text Generation Inference.
    Tgi,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Gemini,
    Partner,
    Container(Container),
}

/// A request that has passed all checks, and who answers it.
pub(crate) struct Accepted {
    pub(crate) request: ChatRequest,
    pub(crate) backend: Backend,
}

/// Publishers whose models are on `openapi`.
const PARTNERS: [&str; 9] =
    ["meta", "deepseek-ai", "qwen", "openai", "moonshotai", "zai-org", "minimaxai", "mistralai", "xai"];

/// Reads and checks a request to `openapi`, in the words of the service.
pub(crate) fn accept_openapi(body: &[u8], parent: &str) -> Result<Accepted, GoogleError> {
    let request = vertex_chat_types::from_slice::<ChatRequest>(body).map_err(|error| {
        let place = if error.path().is_empty() {
            "Invalid JSON payload received.".to_owned()
        } else {
            format!("Invalid value at '{}'", error.path())
        };
        GoogleError::invalid(format!("{place} {}", error.message()))
    })?;
    let model = request.model.clone().unwrap_or_default();
    let Some((publisher, name)) =
        model.split_once('/').filter(|(publisher, name)| !publisher.is_empty() && !name.is_empty())
    else {
        return Err(GoogleError::invalid(format!(
            "Malformed publisher model (`model`: '{model}') for the 'openapi' request endpoint ID; expected \
             '<publisher>/<model>'."
        )));
    };
    let backend = match publisher {
        "google" if name.starts_with("gemini-") => Backend::Gemini,
        partner if PARTNERS.contains(&partner) => Backend::Partner,
        _ => {
            return Err(GoogleError::new(
                404,
                "NOT_FOUND",
                format!(
                    "Publisher Model `{parent}/publishers/{publisher}/models/{name}` was not found or your project does not \
                 have access to it. Please ensure you are using a valid model version. For more information, see: \
                 https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions"
                ),
            ));
        }
    };
    if request.messages.is_empty() || !has_contents(&request) {
        return Err(GoogleError::invalid(
            "Unable to submit request because at least one contents field is required.",
        ));
    }
    if backend == Backend::Gemini {
        check_gemini(&request, generation(name))?;
    }
    Ok(Accepted { request, backend })
}

/// 1, 2, 3 … of `gemini-2.5-flash`; a name without a number is the newest.
fn generation(name: &str) -> u32 {
    let digits: String =
        name.trim_start_matches("gemini-").chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u32::MAX)
}

fn check_gemini(request: &ChatRequest, generation: u32) -> Result<(), GoogleError> {
    let range = |name: &str, value: Option<f64>, least: f64, beyond: f64| match value {
        Some(value) if value < least || value > beyond => Err(GoogleError::invalid(format!(
            "Unable to submit request because it has a {name} value of {value} but the supported range is from {least} \
             (inclusive) to {beyond} (inclusive). Update the value and try again."
        ))),
        _ => Ok(()),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "for a message about a number that is out of range anyway"
    )]
    let whole = |value: Option<i64>| value.map(|it| it as f64);
    range("temperature", request.temperature, 0.0, 2.0)?;
    range("topP", request.top_p, 0.0, 1.0)?;
    range("frequencyPenalty", request.frequency_penalty, -2.0, 2.0)?;
    range("presencePenalty", request.presence_penalty, -2.0, 2.0)?;
    range("candidateCount", whole(request.n), 1.0, 8.0)?;
    let tokens_max = if generation <= 2 { 65_536.0 } else { f64::MAX };
    range("maxOutputTokens", whole(request.max_tokens), 1.0, tokens_max)?;
    range("maxOutputTokens", whole(request.max_completion_tokens), 1.0, tokens_max)?;
    if request.stop.as_ref().is_some_and(|stop| stop.sequences().len() > 5) {
        return Err(GoogleError::invalid(
            "Unable to submit request because it has more than 5 stop sequences.",
        ));
    }
    let google = request.extra_body.as_ref().and_then(|it| it.google.as_ref()).or(request.google.as_ref());
    let thinking = google.and_then(|it| it.thinking_config.as_ref());
    if request.reasoning_effort.is_some() && thinking.is_some() {
        return Err(GoogleError::invalid(
            "Expected one of either `reasoning_effort` or custom `thinking_config`; found both.",
        ));
    }
    if thinking.is_some_and(|it| it.thinking_budget.is_some() && it.thinking_level.is_some()) {
        return Err(GoogleError::invalid("You can only set only one of thinking budget and thinking level."));
    }
    if request.extra_body.as_ref().is_some_and(|it| it.extra.get("extra_body").is_some()) {
        return Err(GoogleError::invalid("Invalid value at 'extra_body': unknown name \"extra_body\"."));
    }
    let has_tools = request.tools.as_ref().is_some_and(|it| !it.is_empty());
    if generation <= 2 && has_tools && request.response_format.as_ref().is_some_and(ResponseFormat::is_json) {
        return Err(GoogleError::invalid(
            "Unable to submit request because function calling with a response mime type: 'application/json' is \
             unsupported.",
        ));
    }
    let details: Vec<&ImageDetail> =
        parts(request).filter_map(|part| part.image_url.as_ref()?.detail()).collect();
    if generation <= 2 && details.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(GoogleError::invalid(
            "Unable to submit request because all `detail` values must be the same.",
        ));
    }
    if let (true, Some((name, place))) = (generation >= 3, missing_signature(request)) {
        return Err(GoogleError::invalid(format!(
            "Unable to submit request because function call `{name}` in the {place}. content block is missing a \
             `thought_signature`. Learn more: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thought-signatures"
        )));
    }
    Ok(())
}

fn parts(request: &ChatRequest) -> impl Iterator<Item = &ContentPart> {
    request.messages.iter().filter_map(|message| message.content.get()).flat_map(Content::parts)
}

/// Reads and checks a request to a container, in the container's words.
pub(crate) fn accept_container(body: &[u8], container: Container) -> Result<Accepted, Box<Response>> {
    let request = vertex_chat_types::from_slice::<ChatRequest>(body);
    let refuse = |param: &str, message: &str| match container {
        Container::Vllm => Box::new(json_reply(
            StatusCode::BAD_REQUEST,
            &json!({
                "error": {"message": message, "type": "Bad Request", "param": param, "code": 400},
            }),
        )),
        Container::Tgi => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let body =
                json!({"error": format!("Input validation error: {message}"), "error_type": "validation"});
            Box::new(json_reply(status, &body))
        }
    };
    // axum's own words, before TGI sees the request.
    let untyped = |what: &str| {
        let text = format!("Failed to deserialize the JSON body into the target type: {what}");
        Box::new(raw_reply(StatusCode::UNPROCESSABLE_ENTITY, "text/plain; charset=utf-8", text))
    };
    let request = match (request, container) {
        (Ok(request), _) => request,
        (Err(error), Container::Vllm) => {
            return Err(refuse(error.path(), &format!("1 validation error: {error}")));
        }
        (Err(error), Container::Tgi) => return Err(untyped(&error.to_string())),
    };
    if request.messages.is_empty() {
        return Err(refuse("messages", "at least one message is required"));
    }
    if container == Container::Tgi {
        if matches!(request.stop, Some(Stop::One(_))) {
            return Err(untyped("stop: invalid type: string, expected a sequence"));
        }
        if request.logit_bias.is_some() {
            return Err(untyped("logit_bias: invalid type: map, expected a sequence"));
        }
        if request.seed.is_some_and(|seed| seed < 0) {
            return Err(untyped("seed: invalid value, expected u64"));
        }
        if request.response_format.as_ref().is_some_and(|it| it.extra.get("value").is_none()) {
            return Err(untyped("response_format: missing field `value`"));
        }
        if request
            .tools
            .iter()
            .flatten()
            .any(|tool| tool.function.as_ref().is_none_or(|it| it.parameters.is_none()))
        {
            return Err(untyped("tools[0].function: missing field `arguments`"));
        }
    } else {
        if request.n.is_some_and(|n| n < 1) {
            return Err(refuse("n", "n must be at least 1"));
        }
        if request.max_tokens.or(request.max_completion_tokens).is_some_and(|it| it < 1) {
            return Err(refuse("max_tokens", "max_tokens must be at least 1"));
        }
        if request.stream_options.is_some() && !request.is_stream() {
            return Err(refuse("stream_options", "Stream options can only be defined when `stream=True`."));
        }
    }
    Ok(Accepted { request, backend: Backend::Container(container) })
}

/// What an answer is written with.
pub(crate) struct Pen {
    pub(crate) id: String,
    pub(crate) now: SystemTime,
    pub(crate) clock: Arc<dyn Clock>,
    /// The wait before each chunk of a stream.
    pub(crate) pace: Duration,
}

impl Accepted {
    /// The answer, in the shape of whoever gives it.
    pub(crate) fn reply(&self, pen: &Pen) -> Response {
        let wanted = match self.backend {
            Backend::Container(Container::Tgi) => 1,
            _ => u64::try_from(self.request.n.unwrap_or(1)).unwrap_or(1).clamp(1, 128),
        };
        let signs = self.backend == Backend::Gemini;
        let answers: Vec<Answer> = (0..wanted).map(|number| answer(&self.request, number, signs)).collect();
        if !self.request.is_stream() {
            return json_reply(StatusCode::OK, &self.whole(&answers, pen));
        }
        let mut pieces = VecDeque::new();
        for chunk in self.chunks(&answers, pen) {
            let mut event = Vec::new();
            vertex_chat_sse::encode(&mut event, &chunk.to_string());
            if !pen.pace.is_zero() {
                pieces.push_back(Piece::Wait(pen.pace));
            }
            pieces.push_back(Piece::Bytes(Bytes::from(event)));
        }
        pieces.push_back(Piece::Bytes(Bytes::from_static(b"data: [DONE]\n\n")));
        event_stream(Pieces::body(pieces, Arc::clone(&pen.clock)))
    }

    fn model(&self) -> &str {
        self.request.model.as_deref().unwrap_or("model")
    }

    fn head(&self, object: &str, pen: &Pen) -> Value {
        let created = pen.now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut head = json!({"object": object, "created": created, "model": self.model(), "choices": []});
        match self.backend {
            Backend::Gemini | Backend::Partner => {
                head["id"] = json!(pen.id);
                head["system_fingerprint"] = json!("");
            }
            Backend::Container(Container::Vllm) => head["id"] = json!(format!("chatcmpl-{}", pen.id)),
            Backend::Container(Container::Tgi) => {
                head["id"] = json!("");
                head["system_fingerprint"] = json!("3.3.6-native");
            }
        }
        head
    }

    fn usage(&self, answers: &[Answer]) -> Value {
        let prompt = prompt_tokens(&self.request);
        let completion: u64 = answers.iter().map(|it| it.completion_tokens).sum();
        let reasoning: u64 = answers.iter().map(|it| it.reasoning_tokens).sum();
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            // Google counts thinking beside the completion, and in the total only.
            "total_tokens": prompt + completion + reasoning,
        });
        if matches!(self.backend, Backend::Gemini | Backend::Partner) {
            usage["extra_properties"] = json!({"google": {"traffic_type": "ON_DEMAND"}});
            if reasoning > 0 {
                usage["completion_tokens_details"] = json!({"reasoning_tokens": reasoning});
            }
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
                let mut message = json!({"role": "assistant"});
                if answer.calls.is_empty() && answer.picture.is_none() {
                    message["content"] = json!(answer.text());
                } else if answer.picture.is_some() || self.backend == Backend::Container(Container::Vllm) {
                    message["content"] = Value::Null;
                }
                if let Some(picture) = answer.picture {
                    message["audio"] =
                        json!({"data": picture, "extra_content": {"google": {"mime_type": "image/png"}}});
                }
                self.add_calls(&mut message, answer);
                if self.backend == Backend::Container(Container::Vllm) {
                    message["refusal"] = Value::Null;
                    message["reasoning_content"] = Value::Null;
                }
                let mut choice = json!({
                    "index": index,
                    "finish_reason": self.finish_reason(answer),
                    "logprobs": null,
                    "message": message,
                });
                if self.backend == Backend::Container(Container::Vllm) {
                    choice["stop_reason"] = Value::Null;
                }
                choice
            })
            .collect();
        whole
    }

    fn finish_reason(&self, answer: &Answer) -> &'static str {
        match self.backend {
            // TGI reports why the text ended, whatever was called.
            Backend::Container(Container::Tgi) if answer.finish_reason == "tool_calls" => "stop",
            _ => answer.finish_reason,
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

    /// The chunks of a stream. Google repeats the role in every delta, leaves the finish reason out until the end, and
    /// puts the usage into the last chunk; vLLM says the role once, writes null, and gives usage a chunk of its own.
    fn chunks(&self, answers: &[Answer], pen: &Pen) -> Vec<Value> {
        let google = matches!(self.backend, Backend::Gemini | Backend::Partner);
        let repeats_role = self.backend != Backend::Container(Container::Vllm);
        let mut chunks = Vec::new();
        let chunk = |index: usize, mut delta: Value, finish: Option<&str>| {
            if repeats_role {
                delta["role"] = json!("assistant");
            }
            let mut choice = json!({"index": index, "delta": delta, "logprobs": null});
            match finish {
                Some(finish) => choice["finish_reason"] = json!(finish),
                None if google => {}
                None => choice["finish_reason"] = Value::Null,
            }
            let mut chunk = self.head("chat.completion.chunk", pen);
            chunk["choices"] = json!([choice]);
            chunk
        };
        for (index, answer) in answers.iter().enumerate() {
            let mut deltas: Vec<Value> = Vec::new();
            if !repeats_role {
                deltas.push(json!({"role": "assistant", "content": ""}));
            }
            if answer.calls.is_empty() {
                deltas.extend(answer.tokens.iter().map(|token| json!({"content": token})));
                if let Some(picture) = answer.picture {
                    let audio =
                        json!({"data": picture, "extra_content": {"google": {"mime_type": "image/png"}}});
                    deltas.push(json!({"content": null, "audio": audio}));
                }
                if deltas.is_empty() {
                    deltas.push(json!({"content": ""}));
                }
            } else if google && self.streams_arguments() {
                deltas.extend(argument_fragments(answer));
            } else {
                for (position, _) in answer.calls.iter().enumerate() {
                    let one = Answer { calls: vec![answer.calls[position].clone()], ..Answer::default() };
                    let mut delta = json!({});
                    self.add_calls(&mut delta, &one);
                    if let Some(call) = delta.get_mut("tool_calls").and_then(|calls| calls.get_mut(0)) {
                        call["index"] = json!(position);
                    }
                    deltas.push(delta);
                }
            }
            let finish = self.finish_reason(answer);
            let last = deltas.len() - 1;
            for (position, delta) in deltas.into_iter().enumerate() {
                let ends_here = google && position == last;
                chunks.push(chunk(index, delta, ends_here.then_some(finish)));
            }
            if !google {
                chunks.push(chunk(index, json!({}), Some(finish)));
            }
        }
        let asked_for_usage =
            self.request.stream_options.as_ref().is_some_and(|it| it.include_usage == Some(true));
        if google {
            if let Some(last) = chunks.last_mut() {
                last["usage"] = self.usage(answers);
            }
        } else if asked_for_usage {
            let mut last = self.head("chat.completion.chunk", pen);
            last["usage"] = self.usage(answers);
            chunks.push(last);
        }
        chunks
    }

    fn streams_arguments(&self) -> bool {
        let google = self
            .request
            .extra_body
            .as_ref()
            .and_then(|it| it.google.as_ref())
            .or(self.request.google.as_ref());
        google.is_some_and(|it| it.stream_function_call_arguments == Some(true))
    }
}

/// Calls in fragments, as Google's own sample shows them: everything repeated in each, and the wrong index in the first.
fn argument_fragments(answer: &Answer) -> Vec<Value> {
    const FRAGMENT_CHARS: usize = 12;
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
        let characters: Vec<char> = call.arguments.chars().collect();
        for part in characters.chunks(FRAGMENT_CHARS) {
            let part: String = part.iter().collect();
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
