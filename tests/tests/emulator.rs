//! The emulator, judged by vectors and by the facts about the services that it stands for.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rsa::PublicKey;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use vertex_chat::auth::{CredentialsOptions, TokenSource};
use vertex_chat::transport::{Always, Clock, Exchange, Request, Response, SimulatedClock};
use vertex_chat_emulator::{Container, Emulator, Fault, FaultPlace, TGI_ENDPOINT, VLLM_ENDPOINT};
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_tests::process::{python, run, stderr, stdout};
use vertex_chat_tests::{shared, shared_json};
use vertex_chat_types::{Accumulator, ApiError, ChatCompletion, ChatCompletionChunk};

#[tokio::test]
async fn acceptance_16_every_assertion_of_the_vectors_is_judged_as_expected() {
    let Some(vectors) = shared_json("vectors/auth/assertions_for_emulator.json") else { return };
    let pem = std::fs::read_to_string(shared("vectors/auth/keys/sa_public.pem").unwrap()).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let key = PublicKey::from_der(&vertex_chat_tests::base64(&der)).unwrap();
    let start = std::time::UNIX_EPOCH + Duration::from_secs(vectors["clock"].as_u64().unwrap());
    let emulator = Emulator::builder(Arc::new(SimulatedClock::at(start)))
        .account("rig-sa@rig-project.iam.gserviceaccount.com", vectors["kid"].as_str().unwrap(), key.as_ref())
        .base_url("http://127.0.0.1:RIGPORT")
        .build();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 21);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        // Both orders of the form are in use.
        let assertion = case["assertion"].as_str().unwrap().replace('=', "%3D");
        let grant = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";
        for form in [format!("{grant}&assertion={assertion}"), format!("assertion={assertion}&{grant}")] {
            let response = emulator.send(request(Method::POST, "/token", &form, None)).await.unwrap();
            let status = u64::from(response.status().as_u16());
            let body = body(response).await;
            assert_eq!(case["expected_status"], status, "{name}: {body}");
            if let Some(error) = case["expected_error"].as_str() {
                assert_eq!(body["error"], error, "{name}: {body}");
            }
            // What Google says, as far as it is known.
            if let Some(said) = case["note"].as_str().and_then(|note| note.split("Google: '").nth(1)) {
                let said: String = said.trim_end_matches('\'').chars().take(40).collect();
                let description = body["error_description"].as_str().unwrap_or_default();
                assert!(description.starts_with(&said) || name == "unknown_kid", "{name}: {description}");
            }
            if name == "target_audience" {
                assert!(body.get("id_token").is_some() && body.get("access_token").is_none());
            } else if status == 200 {
                assert_eq!(
                    (&body["expires_in"], &body["token_type"]),
                    (&json!(3599), &json!("Bearer")),
                    "{name}"
                );
            }
        }
    }
}

fn request(method: Method, path: &str, body: &str, token: Option<&str>) -> Request {
    let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect(1 << 24).await.unwrap().to_vec()).unwrap()
}

async fn body(response: Response) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// An emulator, a clock, and a token.
struct World {
    emulator: Emulator,
    clock: SimulatedClock,
    token: String,
}

const PARENT: &str = "/v1beta1/projects/p/locations/us-central1/endpoints";

impl World {
    async fn new() -> Self {
        let clock = SimulatedClock::new();
        let emulator = Emulator::builder(Arc::new(clock.clone())).base_url("http://127.0.0.1:1").build();
        let connector = Arc::new(Always(Arc::new(emulator.clone())));
        let options = CredentialsOptions::new(connector, Arc::new(clock.clone()));
        let key_file = emulator.service_account_json("http://127.0.0.1:1").unwrap();
        let token = options.from_json(key_file.as_bytes(), "a test").unwrap().refresh().await.unwrap();
        Self { emulator, clock, token: token.secret().expose().to_owned() }
    }

    async fn post(&self, endpoint: &str, body: &Value) -> Response {
        let path = format!("{PARENT}/{endpoint}/chat/completions");
        self.emulator.send(request(Method::POST, &path, &body.to_string(), Some(&self.token))).await.unwrap()
    }

    async fn gemini(&self, body: Value) -> (StatusCode, Value) {
        let mut whole =
            json!({"model": "google/gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]});
        for (key, value) in body.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let response = self.post("openapi", &whole).await;
        (response.status(), self::body(response).await)
    }
}

fn chunks(text: &str) -> Vec<Value> {
    let mut decoder = Decoder::new();
    let mut input = text.as_bytes();
    let mut chunks = Vec::new();
    while let Some(item) = decoder.next(&mut input).unwrap() {
        let Item::Event(event) = item else { panic!("a stray line") };
        if event.data != "[DONE]" {
            chunks.push(serde_json::from_str(&event.data).unwrap());
        }
    }
    assert!(text.ends_with("data: [DONE]\n\n"));
    chunks
}

#[tokio::test]
async fn gemini_answers_in_the_documented_shape() {
    let world = World::new().await;
    let (status, answer) = world.gemini(json!({"reasoning_effort": "low", "n": 2})).await;
    assert_eq!((status, answer["object"].as_str()), (StatusCode::OK, Some("chat.completion")));
    let id = answer["id"].as_str().unwrap();
    assert!((22..=23).contains(&id.len()) && !id.starts_with("chatcmpl"), "{id}");
    assert_eq!(
        (&answer["system_fingerprint"], &answer["model"]),
        (&json!(""), &json!("google/gemini-2.5-flash"))
    );
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    assert!(answer["choices"][0]["logprobs"].is_null() && answer["choices"][0].get("logprobs").is_some());
    let usage = &answer["usage"];
    let number = |key: &str| usage[key].as_u64().unwrap();
    let reasoning = usage["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert_eq!(number("total_tokens"), number("prompt_tokens") + number("completion_tokens") + reasoning);
    assert_eq!(usage["extra_properties"]["google"]["traffic_type"], "ON_DEMAND");
}

#[tokio::test]
async fn gemini_streams_in_the_documented_shape_and_merges_to_the_same_answer() {
    let world = World::new().await;
    let ask = json!({"model": "google/gemini-2.5-flash", "n": 2, "messages": [{"role": "user", "content": "a magic backpack"}]});
    let mut streaming = ask.clone();
    streaming["stream"] = json!(true);
    let response = world.post("openapi", &streaming).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let chunks = chunks(&text(response).await);
    for (i, chunk) in chunks.iter().enumerate() {
        let choice = &chunk["choices"][0];
        assert_eq!(choice["delta"]["role"], "assistant", "the role is in every delta");
        let is_last = i + 1 == chunks.len();
        assert_eq!(chunk.get("usage").is_some(), is_last, "usage is in the last chunk only");
        if !is_last && chunks[i + 1]["choices"][0]["index"] == choice["index"] {
            assert!(choice.get("finish_reason").is_none(), "no finish reason before the end");
        }
    }
    let mut whole = Accumulator::new();
    for chunk in &chunks {
        whole.push(vertex_chat_types::from_str::<ChatCompletionChunk>(&chunk.to_string()).unwrap()).unwrap();
    }
    let mut merged = serde_json::to_value(whole.into_completion()).unwrap();
    let mut unary: Value = body(world.post("openapi", &ask).await).await;
    for answer in [&mut merged, &mut unary] {
        answer["id"] = Value::Null;
    }
    assert_eq!(merged, unary);
}

#[tokio::test]
async fn errors_are_arrays_with_the_services_words() {
    let world = World::new().await;
    let refused = |body: Value| {
        let world = &world;
        async move {
            let (status, answer) = world.gemini(body).await;
            assert!(answer.is_array() && answer.as_array().unwrap().len() == 1, "{answer}");
            let error = ApiError::from_body(Some(status.as_u16()), answer.to_string().as_bytes());
            (status.as_u16(), error.google_status().unwrap().to_owned(), error.message().to_owned())
        }
    };
    for (body, status, word, message) in [
        (
            json!({"model": "gemini-2.5-flash"}),
            400,
            "INVALID_ARGUMENT",
            "Malformed publisher model (`model`: 'gemini-2.5-flash')",
        ),
        (json!({"model": ""}), 400, "INVALID_ARGUMENT", "Malformed publisher model"),
        (
            json!({"model": "google/nope"}),
            404,
            "NOT_FOUND",
            "Publisher Model `projects/p/locations/us-central1/publishers/google/models/nope` was not found",
        ),
        (json!({"messages": []}), 400, "INVALID_ARGUMENT", "at least one contents field is required"),
        (
            json!({"messages": [{"role": "system", "content": "x"}]}),
            400,
            "INVALID_ARGUMENT",
            "at least one contents field is required",
        ),
        (
            json!({"reasoning_effort": "low", "extra_body": {"google": {"thinking_config": {"thinking_budget": 1}}}}),
            400,
            "INVALID_ARGUMENT",
            "Expected one of either `reasoning_effort` or custom `thinking_config`; found both.",
        ),
        (
            json!({"reasoning_effort": "low", "google": {"thinking_config": {}}}),
            400,
            "INVALID_ARGUMENT",
            "found both",
        ),
        (json!({"extra_body": {"extra_body": {}}}), 400, "INVALID_ARGUMENT", "extra_body"),
        (json!({"temperature": 3}), 400, "INVALID_ARGUMENT", "temperature value of 3"),
        (json!({"max_tokens": 65537}), 400, "INVALID_ARGUMENT", "maxOutputTokens"),
        (json!({"n": 0}), 400, "INVALID_ARGUMENT", "candidateCount"),
        (json!({"stop": ["1", "2", "3", "4", "5", "6"]}), 400, "INVALID_ARGUMENT", "5 stop sequences"),
        (
            json!({"tools": [{"type": "function", "function": {"name": "f"}}], "response_format": {"type": "json_object"}}),
            400,
            "INVALID_ARGUMENT",
            "response mime type: 'application/json' is unsupported",
        ),
        (json!({"temperature": "hot"}), 400, "INVALID_ARGUMENT", "Invalid value at 'temperature'"),
    ] {
        let (got, said, words) = refused(body.clone()).await;
        assert_eq!((got, said.as_str()), (status, word), "{body}");
        assert!(words.contains(message), "{body}: {words}");
    }
    // Gemini 3 can do what Gemini 2 cannot.
    let both = json!({"model": "google/gemini-3-flash-preview", "tools": [{"type": "function", "function": {"name": "f"}}], "response_format": {"type": "json_object"}});
    assert_eq!(world.gemini(both).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_the_service_ignores_is_ignored_and_what_it_takes_is_taken() {
    let world = World::new().await;
    for taken in [
        json!({"user": "u", "logit_bias": {"1": 2}, "vendor": [1], "store": true, "metadata": {"a": "b"}}),
        json!({"tool_choice": "validated", "tools": [{"type": "function", "function": {"name": "f"}}]}),
        json!({"response_format": {"type": "application/json"}}),
        json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "gs://b/o"}, {"type": "text", "text": "what?"}]}]}),
        json!({"extra_body": {"google": {"safety_settings": [{"category": "C", "threshold": "T"}]}}}),
    ] {
        let (status, answer) = world.gemini(taken.clone()).await;
        assert_eq!(status, StatusCode::OK, "{taken}: {answer}");
    }
    let details = |first: &str, second: &str| {
        json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "gs://a/b", "detail": first}},
        {"type": "image_url", "image_url": {"url": "gs://a/b", "detail": second}}]}])
    };
    assert_eq!(world.gemini(json!({"messages": details("low", "high")})).await.0, StatusCode::BAD_REQUEST);
    let newer = json!({"model": "google/gemini-3-flash-preview", "messages": details("low", "high")});
    assert_eq!(world.gemini(newer).await.0, StatusCode::OK);
}

#[tokio::test]
async fn acceptance_18_tokens_are_missing_wrong_expired_or_revoked_each_with_its_reason() {
    let world = World::new().await;
    let path = format!("{PARENT}/openapi/chat/completions");
    let reason = |token: Option<String>| {
        let (emulator, path) = (world.emulator.clone(), path.clone());
        async move {
            let response = emulator.send(request(Method::POST, &path, "{}", token.as_deref())).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            let text = text(response).await;
            ApiError::from_body(None, text.as_bytes()).reason().unwrap().to_owned()
        }
    };
    assert_eq!(reason(None).await, "CREDENTIALS_MISSING");
    assert_eq!(reason(Some("PLACEHOLDER".into())).await, "ACCESS_TOKEN_TYPE_UNSUPPORTED");
    assert_eq!(world.emulator.revoke_tokens(Some("token-1")), 1);
    assert_eq!(reason(Some(world.token.clone())).await, "ACCESS_TOKEN_EXPIRED");
    let fresh = World::new().await;
    fresh.clock.advance(Duration::from_secs(3599));
    let response = fresh.post("openapi", &json!({})).await;
    assert_eq!(
        ApiError::from_body(None, text(response).await.as_bytes()).reason(),
        Some("ACCESS_TOKEN_EXPIRED")
    );
}

#[tokio::test]
async fn paths_that_are_not_there_give_googles_page() {
    let world = World::new().await;
    for (method, path) in [
        (Method::GET, format!("{PARENT}/openapi/models")),
        (Method::GET, format!("{PARENT}/openapi/chat/completions")),
        (Method::POST, "/v2/x<script>".to_owned().replace(['<', '>'], "")),
        (Method::GET, "/".to_owned()),
    ] {
        let response = world.emulator.send(request(method, &path, "", Some(&world.token))).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert!(text(response).await.contains("Error 404 (Not Found)!!1"));
    }
    let response = world.post("99", &json!({"messages": []})).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(body(response).await.is_array(), "an endpoint that is not there is told by the service");
}

#[tokio::test]
async fn containers_speak_their_own_dialects() {
    let world = World::new().await;
    let hello = json!({"messages": [{"role": "user", "content": "hi"}]});
    let vllm: ChatCompletion =
        vertex_chat_types::from_str(&text(world.post(VLLM_ENDPOINT, &hello).await).await).unwrap();
    assert!(vllm.id.unwrap().starts_with("chatcmpl-") && vllm.choices[0].stop_reason.is_null());
    let tgi: ChatCompletion =
        vertex_chat_types::from_str(&text(world.post(TGI_ENDPOINT, &hello).await).await).unwrap();
    assert_eq!(tgi.id.as_deref(), Some(""));

    let mut streaming = hello.clone();
    streaming["stream"] = json!(true);
    streaming["stream_options"] = json!({"include_usage": true});
    let chunks = chunks(&text(world.post(VLLM_ENDPOINT, &streaming).await).await);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert!(
        chunks[1]["choices"][0]["finish_reason"].is_null()
            && chunks[1]["choices"][0]["delta"].get("role").is_none()
    );
    assert_eq!(chunks.last().unwrap()["choices"], json!([]));
    assert!(chunks.last().unwrap()["usage"].is_object());

    for (endpoint, body, status) in [
        (VLLM_ENDPOINT, json!({"messages": []}), 400),
        (VLLM_ENDPOINT, json!({"messages": hello["messages"], "n": 0}), 400),
        (VLLM_ENDPOINT, json!({"messages": hello["messages"], "max_tokens": 0}), 400),
        (VLLM_ENDPOINT, json!({"messages": hello["messages"], "stream_options": {}}), 400),
        (VLLM_ENDPOINT, json!({"messages": hello["messages"], "stop": "x", "vendor": 1}), 200),
        (TGI_ENDPOINT, json!({"messages": hello["messages"], "stop": "x"}), 422),
        (TGI_ENDPOINT, json!({"messages": hello["messages"], "stop": ["x"], "user": "ignored"}), 200),
        (TGI_ENDPOINT, json!({"messages": hello["messages"], "logit_bias": {"1": 1}}), 422),
        (
            TGI_ENDPOINT,
            json!({"messages": hello["messages"], "response_format": {"type": "json_object"}}),
            422,
        ),
        (
            TGI_ENDPOINT,
            json!({"messages": hello["messages"], "response_format": {"type": "json", "value": {}}}),
            200,
        ),
        (
            TGI_ENDPOINT,
            json!({"messages": hello["messages"], "tools": [{"type": "function", "function": {"name": "f"}}]}),
            422,
        ),
        (TGI_ENDPOINT, json!({"messages": hello["messages"], "seed": -1}), 422),
        (TGI_ENDPOINT, json!({"messages": []}), 422),
    ] {
        let response = world.post(endpoint, &body).await;
        assert_eq!(response.status().as_u16(), status, "{body}");
        let said = text(response).await;
        if status != 200 {
            assert!(!said.starts_with('['), "a container does not speak Google's: {said}");
        }
    }
}

#[tokio::test]
async fn calls_carry_signatures_and_gemini_3_wants_them_back() {
    let world = World::new().await;
    let tools = json!([
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}},
        {"type": "function", "function": {"name": "get_time"}},
    ]);
    let question = json!({"role": "user", "content": "get weather and get time"});
    let ask = |model: &str, messages: Value| json!({"model": model, "messages": messages, "tools": tools});
    let first: ChatCompletion = {
        let response = world.post("openapi", &ask("google/gemini-3-flash-preview", json!([question]))).await;
        vertex_chat_types::from_str(&text(response).await).unwrap()
    };
    let calls = first.tool_calls();
    assert_eq!(
        calls.iter().map(vertex_chat::ToolCall::name).collect::<Vec<_>>(),
        ["get_weather", "get_time"]
    );
    assert!(
        calls[0].thought_signature().is_some() && calls[1].thought_signature().is_none(),
        "only the first of a step is signed"
    );
    let answers = |message: Value| {
        let mut messages = vec![question.clone(), message];
        messages.extend(
            calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call.id, "content": "42"})),
        );
        Value::from(messages)
    };
    let carried = serde_json::to_value(first.to_message().unwrap()).unwrap();
    let mut lost = carried.clone();
    lost["tool_calls"][0].as_object_mut().unwrap().remove("extra_content");
    let mut escaped = carried.clone();
    escaped["tool_calls"][0]["extra_content"]["google"]["thought_signature"] =
        json!("skip_thought_signature_validator");
    let mut changed = carried.clone();
    changed["tool_calls"][0]["extra_content"]["google"]["thought_signature"] = json!("AAAA");
    for (model, message, status) in [
        ("google/gemini-3-flash-preview", &carried, 200),
        ("google/gemini-3-flash-preview", &escaped, 200),
        ("google/gemini-3-flash-preview", &lost, 400),
        ("google/gemini-3-flash-preview", &changed, 400),
        ("google/gemini-2.5-flash", &lost, 200),
    ] {
        let response = world.post("openapi", &ask(model, answers(message.clone()))).await;
        assert_eq!(response.status().as_u16(), status, "{message}");
        let said = text(response).await;
        assert!(
            said.contains(if status == 400 { "missing a `thought_signature`" } else { "answered: 42" }),
            "{said}"
        );
    }
}

#[tokio::test]
async fn streamed_arguments_come_in_googles_fragments_and_merge() {
    let world = World::new().await;
    let parameters = json!({"type": "object", "properties": {"location": {"type": "string"}, "unit": {"enum": ["celsius"]}}});
    let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let body = json!({"model": "google/gemini-3.1-pro-preview", "stream": true, "tools": [tool("one"), tool("two")],
        "messages": [{"role": "user", "content": "one and two"}],
        "extra_body": {"google": {"stream_function_call_arguments": true}}});
    let chunks = chunks(&text(world.post("openapi", &body).await).await);
    let calls: Vec<&Value> =
        chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
    assert!(
        calls.len() > 6
            && calls.iter().all(|call| call["id"].is_string() && call["function"]["name"].is_string())
    );
    assert_eq!(
        (&calls[0]["index"], &calls[1]["index"]),
        (&json!(1), &json!(0)),
        "the first index is wrong, as in Google's sample"
    );
    let mut whole = Accumulator::new();
    for chunk in &chunks {
        whole.push(vertex_chat_types::from_str::<ChatCompletionChunk>(&chunk.to_string()).unwrap()).unwrap();
    }
    let completion = whole.into_completion();
    let merged: Vec<_> = completion.tool_calls().iter().map(|call| (call.name(), call.arguments())).collect();
    let arguments = r#"{"location":"example","unit":"celsius"}"#;
    assert_eq!(merged, [("one", arguments), ("two", arguments)]);
}

#[tokio::test]
async fn faults_strike_in_order_and_are_over() {
    let world = World::new().await;
    let status = |response: Response| response.status().as_u16();
    let hello = json!({"model": "google/gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]});
    let fault = |status: u16| Fault::at(FaultPlace::Chat).status(StatusCode::from_u16(status).unwrap(), "");
    world.emulator.add_fault(fault(503).times(2));
    world.emulator.add_fault(fault(429));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(status(world.post("openapi", &hello).await));
    }
    assert_eq!(seen, [503, 503, 429, 200]);

    let control = |body: &str| {
        let emulator = world.emulator.clone();
        let request = request(Method::POST, "/emulator/faults", body, None);
        async move { text(emulator.send(request).await.unwrap()).await }
    };
    assert!(control(r#"{"at":"elsewhere"}"#).await.contains("`at` is not one of token, chat, sts, iam"));
    assert!(control(r#"{"at":"chat","status":7}"#).await.contains("not an HTTP status"));
    assert!(control(r#"{"at":"chat","staus":500}"#).await.contains("`staus` is not one of"));
    assert!(control("nonsense").await.contains("not JSON"));
    assert_eq!(
        control(r#"[{"at":"chat","status":500,"body":{"x":1}},{"at":"token","delay_ms":5}]"#).await,
        r#"{"faults":2}"#
    );
    let struck = world.post("openapi", &hello).await;
    assert_eq!((struck.status().as_u16(), text(struck).await.as_str()), (500, r#"{"x":1}"#));

    world.emulator.add_fault(Fault::at(FaultPlace::Chat).delay(Duration::from_secs(60)));
    let mut late = Box::pin(world.post("openapi", &hello));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(late.as_mut().poll(&mut cx).is_pending());
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(status(late.await), 200);
}

#[tokio::test]
async fn the_log_tells_who_came_with_what() {
    let world = World::new().await;
    let secret = "a prompt that is nobody's business";
    let body = json!({"model": "google/gemini-2.5-flash", "stream": true, "messages": [{"role": "user", "content": secret}]});
    drop(world.post("openapi", &body).await);
    let log = world.emulator.log();
    assert_eq!(log.len(), 2);
    assert_eq!((log[0].issued.as_deref(), log[1].token.as_deref()), (Some("token-1"), Some("token-1")));
    assert_eq!(
        (log[1].model.as_deref(), log[1].stream, log[1].request_bytes),
        (Some("google/gemini-2.5-flash"), true, body.to_string().len())
    );
    let shown = format!("{log:?}{}{}", log[0], log[1]);
    assert!(!shown.contains(secret) && !shown.contains(&world.token));
}

#[tokio::test]
async fn an_endpoint_can_be_added() {
    let emulator = Emulator::builder(Arc::new(SimulatedClock::new())).endpoint("77", Container::Tgi).build();
    let path = "/v1/projects/p/locations/l/endpoints";
    let response = emulator.send(request(Method::GET, path, "", None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(body(response).await.is_object(), "a method that does not stream gives an object");
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new());
    assert!(Emulator::new(clock).service_account_json("http://x").is_some());
}

/// Schemas of the kind that people send, and some that are hard.
#[test]
fn what_is_made_for_a_schema_satisfies_an_independent_validator() {
    let Some(mut validate) = python("validate.py") else { return };
    let schemas = json!([
        {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18, "maximum": 120}}, "required": ["name", "age"], "additionalProperties": false},
        {"type": "object", "properties": {"steps": {"type": "array", "minItems": 3, "items": {"type": "object", "properties": {"explanation": {"type": "string"}, "output": {"type": "string"}}, "required": ["explanation", "output"], "additionalProperties": false}}, "final_answer": {"type": "string"}}, "required": ["steps", "final_answer"]},
        {"$defs": {"Tree": {"type": "object", "properties": {"value": {"type": "number", "exclusiveMinimum": 0}, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}, "required": ["value", "children"]}}, "$ref": "#/$defs/Tree"},
        {"type": "array", "prefixItems": [{"const": 1}, {"enum": ["a", "b"]}], "minItems": 2, "maxItems": 2},
        {"anyOf": [{"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}, {"type": "null"}]},
        {"allOf": [{"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]}, {"properties": {"b": {"type": "boolean"}}, "required": ["b"]}]},
        {"type": ["string", "null"], "minLength": 12},
        {"type": "string", "format": "date-time"},
        {"type": "integer", "multipleOf": 7, "minimum": 10},
        {"type": "object", "additionalProperties": {"type": "integer"}, "required": ["x"]},
        {"type": "array", "uniqueItems": true, "minItems": 4, "items": {"type": "string"}},
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let pairs: Vec<Value> = runtime.block_on(async {
        let world = World::new().await;
        let mut pairs = Vec::new();
        for schema in schemas.as_array().unwrap() {
            let format = json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}});
            let (_, answer) = world.gemini(json!({"response_format": format})).await;
            let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
            pairs.push(json!({"schema": schema, "instance": serde_json::from_str::<Value>(text).unwrap()}));
            let tools = json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
            let (_, answer) = world.gemini(json!({"tools": tools})).await;
            let text =
                answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
            pairs.push(json!({"schema": schema, "instance": serde_json::from_str::<Value>(text).unwrap()}));
        }
        pairs
    });
    let output = run(&mut validate, &Value::from(pairs).to_string());
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).trim(), "22 instances are valid");
}

#[tokio::test]
async fn a_token_for_something_else_is_not_enough() {
    let world = World::new().await;
    let connector = Arc::new(Always(Arc::new(world.emulator.clone())));
    let options = CredentialsOptions::new(connector, Arc::new(world.clock.clone()))
        .with_scopes(["https://www.googleapis.com/auth/drive.readonly"]);
    let key_file = world.emulator.service_account_json("http://127.0.0.1:1").unwrap();
    let token = options.from_json(key_file.as_bytes(), "a test").unwrap().refresh().await.unwrap();
    let other = World { token: token.secret().expose().to_owned(), ..world };
    let (status, said) = other.gemini(json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(said[0]["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
}

#[tokio::test]
async fn deprecated_functions_are_chosen_as_tools_are() {
    let world = World::new().await;
    let functions = json!([{"name": "a_one"}, {"name": "b_two"}]);
    let called = async |choice: Value| {
        let messages = json!([{"role": "user", "content": "a_one and b_two"}]);
        let (_, said) = world
            .gemini(json!({"functions": functions, "function_call": choice, "messages": messages}))
            .await;
        said["choices"][0]["message"]["function_call"]["name"].as_str().map(str::to_owned)
    };
    assert_eq!(called(json!("none")).await, None);
    assert_eq!(called(json!("auto")).await.as_deref(), Some("a_one"));
    assert_eq!(called(json!({"name": "b_two"})).await.as_deref(), Some("b_two"));
}

#[tokio::test]
async fn nothing_that_a_client_sends_stops_or_fills_the_emulator() {
    let world = World::new().await;
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    let wide = r#"{"type":"array","minItems":9999,"items":{"type":"array","minItems":9999}}"#;
    for schema in [deep.as_str(), wide] {
        let whole = format!(
            r#"{{"model":"google/gemini-2.5-flash","messages":[{{"role":"user","content":"hi"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]}}"#
        );
        let path = format!("{PARENT}/openapi/chat/completions");
        let response =
            world.emulator.send(request(Method::POST, &path, &whole, Some(&world.token))).await.unwrap();
        assert!(text(response).await.len() < 1 << 20);
    }
    let control = async |path: &str, body: &str| {
        world.emulator.send(request(Method::POST, path, body, None)).await.unwrap().status()
    };
    assert_eq!(control("/emulator/clock", r#"{"advance_seconds":18446744073709551615}"#).await, 400);
    for _ in 0..300 {
        assert_eq!(control("/emulator/clock", r#"{"advance_seconds":31536000}"#).await, 200);
    }
    assert_eq!(control("/emulator/tokens", r#"{"expires_in":18446744073709551615}"#).await, 200);
    let fresh = World::new().await;
    let (status, _) = fresh.gemini(json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(control("/token", "grant_type=x").await, 400, "it still answers");
}
