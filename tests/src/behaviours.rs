//! The upstream behaviours of `data/upstream-behaviours.json`: replayed over TCP, and what the client made of them.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vertex_chat::transport::{Clock, SimulatedClock};
use vertex_chat::{Accumulator, ChatCompletion, ChatRequest, Client, Error, Message};

use crate::upstream::{Step, Upstream, answer, chunk, chunked_head};

/// One behaviour.
#[derive(Clone, Debug)]
pub struct Behaviour(Value);

/// What the client made of it.
#[derive(Debug)]
pub struct Outcome {
    /// The answer, or what came of it before an error.
    pub completion: Option<ChatCompletion>,
    /// The error.
    pub error: Option<Error>,
    /// The status and request id of a success.
    pub status: Option<u16>,
    /// The server's name for a request that went well.
    pub request_id: Option<String>,
    /// How many chunks came.
    pub chunks: usize,
    /// How many requests the server saw.
    pub requests: usize,
    /// How long the client waited between attempts.
    pub waited: Duration,
    /// What `Debug` and `Display` print of everything that the caller holds.
    pub printed: String,
}

/// All behaviours.
///
/// # Panics
/// When the data file is not what it should be.
#[must_use]
pub fn behaviours() -> Vec<Behaviour> {
    let file: Value = serde_json::from_str(include_str!("../data/upstream-behaviours.json")).expect("JSON");
    file["behaviours"].as_array().expect("an array").iter().cloned().map(Behaviour).collect()
}

impl Behaviour {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    fn scripts(&self) -> Vec<Vec<Step>> {
        self.0["upstream"].as_array().into_iter().flatten().map(script).collect()
    }

    /// Replays it. `prompt` and `token` are what is sent.
    ///
    /// # Panics
    /// When the client cannot be built.
    pub async fn replay(&self, prompt: &str, token: &str) -> Outcome {
        let upstream = Upstream::start(self.scripts()).await;
        // Back-off passes at once; timeouts pass when they are made to.
        let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
        let client = Client::builder()
            .base_url(format!("{}/v1/projects/p/locations/us-central1/endpoints/openapi", upstream.url()))
            .access_token(token.to_owned())
            .clock(Arc::new(clock.clone()))
            .build()
            .expect("a client");
        let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user(prompt)]).with_user(prompt);
        let mut outcome = Outcome {
            completion: None,
            error: None,
            status: None,
            request_id: None,
            chunks: 0,
            requests: 0,
            waited: Duration::ZERO,
            printed: format!("{client:?}{request:?}"),
        };
        if self.0["call"] == "chat" {
            let result = client.chat(request).await;
            outcome.waited = clock.monotonic();
            match result {
                Ok(answer) => {
                    let _ = write!(outcome.printed, "{answer:?}{:?}", answer.meta());
                    outcome.status = Some(answer.meta().status().as_u16());
                    outcome.request_id = answer.meta().request_id().map(str::to_owned);
                    outcome.completion = Some(answer.into_inner());
                }
                Err(error) => outcome.error = Some(error),
            }
        } else {
            self.replay_stream(&client, request, &clock, &mut outcome).await;
        }
        outcome.requests = upstream.seen().len();
        if let Some(error) = &outcome.error {
            let mut cause: Option<&dyn std::error::Error> = Some(error);
            while let Some(error) = cause {
                let _ = write!(outcome.printed, "{error}{error:?}{error:#?}");
                cause = error.source();
            }
        }
        outcome
    }

    async fn replay_stream(
        &self,
        client: &Client,
        request: ChatRequest,
        clock: &SimulatedClock,
        outcome: &mut Outcome,
    ) {
        let result = client.chat_stream(request).await;
        outcome.waited = clock.monotonic();
        let mut stream = match result {
            Ok(stream) => stream,
            Err(error) => {
                outcome.error = Some(error);
                return;
            }
        };
        let stalls = self.0["upstream"].as_array().into_iter().flatten().any(|it| it["end"] == "stall");
        let frames = self.0["upstream"][0]["frames"].as_array().map_or(0, Vec::len);
        outcome.status = Some(stream.meta().status().as_u16());
        let mut whole = Accumulator::new();
        loop {
            let next = if stalls && outcome.chunks == frames {
                // Everything that will ever come has come: let the idle timeout pass.
                let hurry = async {
                    loop {
                        if let Some(wait) = clock.next_wake() {
                            clock.advance(wait);
                        }
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! { next = stream.next() => next, () = hurry => unreachable!() }
            } else {
                stream.next().await
            };
            let _ = write!(outcome.printed, "{next:?}{stream:?}");
            match next {
                Some(Ok(chunk)) => {
                    outcome.chunks += 1;
                    whole.push(chunk).expect("no behaviour is too large");
                }
                Some(Err(error)) => {
                    outcome.error = Some(error);
                    assert!(stream.next().await.is_none(), "an error is the last item");
                    break;
                }
                None => break,
            }
        }
        outcome.completion = Some(whole.into_completion());
    }

    /// Compares what the client made of it with what a caller must get; says every difference.
    #[must_use]
    pub fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let expect = &self.0["expect"];
        let seen = seen(outcome);
        let mut differences = Vec::new();
        for (field, wanted) in expect.as_object().into_iter().flatten() {
            compare(field, wanted, &seen[field], &mut differences);
        }
        if expect.get("error").is_none() && outcome.error.is_some() {
            differences.push(format!("an error: {}", seen["error"]));
        }
        differences
    }
}

/// The outcome in the form of the data file.
fn seen(outcome: &Outcome) -> Value {
    let completion = outcome.completion.as_ref();
    let first = completion.and_then(|it| it.choices.first());
    let message = first.and_then(|it| it.message.as_ref());
    let calls: Vec<Value> = first
        .map(|choice| choice.tool_calls().to_vec())
        .unwrap_or_default()
        .iter()
        .map(|call| json!({"id": call.id, "name": call.name(), "arguments": call.arguments(), "thought_signature": call.thought_signature()}))
        .collect();
    json!({
        "text": completion.map(ChatCompletion::text),
        "finish_reason": first.and_then(|it| it.finish_reason.get()).map(ToString::to_string),
        "usage": completion.and_then(|it| it.usage.as_ref()).and_then(|it| serde_json::to_value(it).ok()),
        "message": message.and_then(|it| serde_json::to_value(it).ok()),
        "fields": completion.and_then(|it| serde_json::to_value(it).ok()),
        "tool_calls": calls,
        "next_message": completion.and_then(|it| serde_json::to_value(it.to_message()).ok()),
        "request_id": outcome.request_id,
        "status": outcome.status,
        "chunks": outcome.chunks,
        "requests": outcome.requests,
        "waited_ms": u64::try_from(outcome.waited.as_millis()).unwrap_or(u64::MAX),
        "error": outcome.error.as_ref().map(|error| json!({
            "kind": format!("{:?}", error.kind()),
            "status": error.status().map(|it| it.as_u16()),
            "google_status": error.google_status(),
            "reason": error.api_error().and_then(|it| it.reason().map(str::to_owned)),
            "field_violation": error.api_error().and_then(|it| it.field_violations().first().map(|it| it.field.clone())),
            "message": error.api_error().map_or_else(|| error.to_string(), |it| it.message().to_owned()),
            "request_id": error.request_id(),
            "retryable": error.is_retryable(),
            "attempts": error.attempts(),
            "received_chunks": error.received_chunks(),
            "completion_usage_total": error.completion().and_then(|it| it.usage.as_ref()?.total_tokens),
        })),
    })
}

/// Everything that is wanted must be there and equal; a message need only contain what is wanted.
fn compare(path: &str, wanted: &Value, seen: &Value, differences: &mut Vec<String>) {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => {
            for (key, wanted) in wanted {
                compare(&format!("{path}.{key}"), wanted, seen.get(key).unwrap_or(&Value::Null), differences);
            }
        }
        (Value::Array(wanted), Value::Array(seen)) if wanted.len() == seen.len() => {
            for (i, (wanted, seen)) in wanted.iter().zip(seen).enumerate() {
                compare(&format!("{path}[{i}]"), wanted, seen, differences);
            }
        }
        (Value::String(wanted), Value::String(seen))
            if path.ends_with(".message") && seen.contains(wanted) => {}
        _ if wanted == seen => {}
        _ => differences.push(format!("{path} is {seen}, not {wanted}")),
    }
}

/// What the server does for one request.
fn script(attempt: &Value) -> Vec<Step> {
    let status = attempt["status"].as_str().unwrap_or("200 OK");
    let content_type = attempt["content_type"].as_str().unwrap_or("application/json");
    let Some(frames) = attempt["frames"].as_array() else {
        let body = match &attempt["body"] {
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let headers: Vec<(&str, &str)> = attempt["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect();
        return vec![Step::Write(answer(status, content_type, &headers, body.as_bytes()))];
    };
    let mut steps = vec![Step::Write(chunked_head(status, content_type))];
    for frame in frames {
        let bytes = match frame {
            Value::String(text) => text.clone().into_bytes(),
            other => crate::base64(other["base64"].as_str().unwrap_or_default()),
        };
        steps.push(Step::Write(chunk(&bytes)));
    }
    steps.push(match attempt["end"].as_str() {
        Some("reset") => Step::Reset,
        Some("stall") => Step::Stall,
        _ => Step::Write(b"0\r\n\r\n".to_vec()),
    });
    steps
}
