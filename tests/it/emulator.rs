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
use vertex_chat_emulator::{
    API_KEY, Container, Emulator, Fault, FaultPlace, Quirk, TGI_ENDPOINT, VLLM_ENDPOINT,
};
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
            // Parameters are an object with properties.
            if schema["properties"].as_object().is_none_or(serde_json::Map::is_empty) {
                continue;
            }
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
    assert_eq!(stdout(&output).trim(), "13 instances are valid");
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

/// OpenAI's schema by this name, as JSON Schema: `nullable` is of an older OpenAPI, and left to the reader.
fn openai_schema(name: &str) -> Option<jsonschema::Validator> {
    fn translate(schema: &mut Value) {
        match schema {
            Value::Array(items) => items.iter_mut().for_each(translate),
            Value::Object(fields) => {
                fields.values_mut().for_each(translate);
                if fields.remove("nullable") == Some(json!(true)) {
                    let whole = std::mem::take(schema);
                    *schema = json!({"anyOf": [whole, {"type": "null"}]});
                }
            }
            _ => {}
        }
    }
    let mut document = shared_json("openapi/chat-completions.openapi.json")?;
    translate(&mut document);
    let root = json!({"$ref": format!("#/components/schemas/{name}"), "components": document["components"]});
    Some(jsonschema::validator_for(&root).unwrap())
}

#[track_caller]
fn assert_valid(schema: &jsonschema::Validator, value: &Value) {
    let errors: Vec<String> =
        schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?} in {value:#}");
}

impl World {
    /// A request with the key that OpenAI and the Developer API take.
    async fn with_key(&self, path: &str, body: &Value) -> Response {
        let request = request(Method::POST, path, &body.to_string(), Some(API_KEY));
        self.emulator.send(request).await.unwrap()
    }

    async fn openai(&self, changes: &Value) -> Response {
        self.with_key("/v1/chat/completions", &changed("gpt-4o-mini", changes)).await
    }

    async fn developer(&self, changes: &Value) -> Response {
        self.with_key("/v1beta/openai/chat/completions", &changed("gemini-2.5-flash", changes)).await
    }
}

/// A small request, with these fields set.
fn changed(model: &str, changes: &Value) -> Value {
    let mut body = json!({"model": model, "messages": [{"role": "user", "content": "hi, in json"}]});
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn weather() -> Value {
    json!([
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}},
        {"type": "function", "function": {"name": "get_time"}},
    ])
}

fn both_tools() -> Value {
    json!({"tools": weather(), "messages": [{"role": "user", "content": "get weather and get time"}]})
}

fn merged(chunks: &[Value]) -> Value {
    let mut whole = Accumulator::new();
    for chunk in chunks {
        whole.push(vertex_chat_types::from_str::<ChatCompletionChunk>(&chunk.to_string()).unwrap()).unwrap();
    }
    serde_json::to_value(whole.into_completion()).unwrap()
}

/// Requests that OpenAI takes.
fn taken_by_openai() -> Vec<Value> {
    let picture = |url: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": "low"}});
    let user = |parts: Value| json!({"messages": [{"role": "user", "content": parts}]});
    let call =
        json!({"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}});
    vec![
        json!({}),
        json!({"n": 3, "logprobs": true, "top_logprobs": 2}),
        json!({"logprobs": true, "max_completion_tokens": 5, "service_tier": "auto"}),
        json!({"service_tier": "flex", "stop": ["json"], "seed": 7, "temperature": 2, "top_p": 0}),
        json!({"model": "o4-mini", "reasoning_effort": "high", "max_completion_tokens": 20}),
        both_tools(),
        json!({"tools": weather(), "tool_choice": "none"}),
        json!({"tools": weather(), "tool_choice": {"type": "function", "function": {"name": "get_time"}}}),
        json!({"tools": weather(), "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}}}),
        json!({"tools": [{"type": "custom", "custom": {"name": "free"}}]}),
        json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}}),
        json!({"response_format": {"type": "json_object"}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": true, "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}}}),
        json!({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}),
        user(
            json!([{"type": "text", "text": "what?"}, picture("https://example.com/a.png"), picture("data:image/png;base64,AAAA")]),
        ),
        user(
            json!([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}, {"type": "file", "file": {"file_id": "file-1"}}]),
        ),
        json!({"messages": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": ""}]}),
        json!({"messages": [{"role": "user", "content": "now?"}, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "call_1", "content": "noon"}]}),
        json!({"prediction": {"type": "content", "content": "x"}, "store": true, "metadata": {"a": "b"}, "user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "verbosity": "low", "logit_bias": {"5": -100}, "web_search_options": {}, "moderation": {"model": "omni-moderation-latest"}}),
    ]
}

#[tokio::test]
async fn openai_answers_by_its_schema_to_the_letter() {
    let Some(schema) = openai_schema("CreateChatCompletionResponse") else { return };
    let Some(chunk_schema) = openai_schema("CreateChatCompletionStreamResponse") else { return };
    let world = World::new().await;
    for body in taken_by_openai() {
        let response = world.openai(&body).await;
        assert!(response.headers()["x-request-id"].to_str().unwrap().starts_with("req_"));
        assert!(
            response.headers().contains_key("openai-version")
                && response.headers().contains_key("openai-processing-ms")
        );
        let said = text(response).await;
        let whole: Value = serde_json::from_str(&said).unwrap();
        assert_valid(&schema, &whole);
        assert!(whole["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")), "{body}: {said}");
        let usage = &whole["usage"];
        let number = |key: &str| usage[key].as_u64().unwrap();
        assert_eq!(number("total_tokens"), number("prompt_tokens") + number("completion_tokens"));
        for details in ["prompt_tokens_details", "completion_tokens_details"] {
            assert!(usage[details]["audio_tokens"].is_u64(), "{usage}");
        }

        let mut streaming = body.clone();
        streaming["stream"] = json!(true);
        streaming["stream_options"] = json!({"include_usage": true});
        let chunks = chunks(&text(world.openai(&streaming).await).await);
        let (last, before) = chunks.split_last().unwrap();
        assert!(last["choices"] == json!([]) && last["usage"] == *usage, "{last}");
        let mut roles = Vec::new();
        for chunk in before {
            // The schema has no word for a call to a custom tool in a stream.
            if body["tools"][0]["type"] != "custom" {
                assert_valid(&chunk_schema, chunk);
            }
            assert!(chunk["usage"].is_null() && chunk.get("usage").is_some());
            for key in ["id", "created", "model", "system_fingerprint", "service_tier"] {
                assert_eq!(chunk[key], last[key]);
            }
            let choice = &chunk["choices"][0];
            if choice["delta"]["role"] == "assistant" {
                roles.push(choice["index"].clone());
                assert!(choice["delta"].get("refusal").is_some() && choice["finish_reason"].is_null());
            }
        }
        assert_eq!(roles, (0..roles.len()).map(|it| json!(it)).collect::<Vec<_>>(), "once for each choice");
        let mut merged = merged(&chunks);
        let mut whole = whole;
        for answer in [&mut merged, &mut whole] {
            for field in ["id", "created"] {
                answer[field] = Value::Null;
            }
            for choice in answer["choices"].as_array_mut().unwrap() {
                let message = choice["message"].as_object_mut().unwrap();
                // What only one of the two forms has a place for.
                message.remove("annotations");
                message.remove("audio");
            }
        }
        let difference = vertex_chat_tests::difference(&whole, &merged, "");
        assert!(difference.is_none() || body["tools"][0]["type"] == "custom", "{difference:?}: {body}");

        streaming.as_object_mut().unwrap().remove("stream_options");
        let without = self::chunks(&text(world.openai(&streaming).await).await);
        assert!(without.iter().all(|chunk| chunk.get("usage").is_none()), "nobody asked for usage");
    }
}

#[tokio::test]
async fn openai_calls_choices_and_thinking_are_counted_and_shaped_as_documented() {
    let world = World::new().await;
    let ask = async |body: Value| self::body(world.openai(&body).await).await;
    let calls = ask(both_tools()).await;
    let choice = &calls["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(choice["message"]["tool_calls"].as_array().unwrap().len(), 2);
    assert!(choice["message"]["tool_calls"][0]["id"].as_str().unwrap().starts_with("call_"));
    let mut one = both_tools();
    one["parallel_tool_calls"] = json!(false);
    assert_eq!(ask(one).await["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(), 1);

    let mut streaming = both_tools();
    streaming["stream"] = json!(true);
    let streamed = chunks(&text(world.openai(&streaming).await).await);
    let deltas: Vec<&Value> = streamed
        .iter()
        .filter_map(|it| it["choices"][0]["delta"].get("tool_calls"))
        .map(|it| &it[0])
        .collect();
    let head = deltas[0];
    assert_eq!((&head["index"], &head["function"]["arguments"]), (&json!(0), &json!("")));
    assert!(deltas[1].get("id").is_none() && deltas[1]["function"].get("name").is_none(), "{}", deltas[1]);

    let thought = ask(json!({"model": "o4-mini", "reasoning_effort": "low"})).await;
    let usage = &thought["usage"];
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 32);
    assert!(usage["completion_tokens"].as_u64().unwrap() > 32, "thinking is inside of the completion");

    let likely = ask(json!({"logprobs": true, "top_logprobs": 3, "max_tokens": 2})).await;
    let told = likely["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!((told.len(), told[0]["top_logprobs"].as_array().unwrap().len()), (2, 3));
    assert_eq!(told[0]["bytes"].as_array().unwrap().len(), told[0]["token"].as_str().unwrap().len());

    let function = ask(json!({"functions": [{"name": "f"}]})).await;
    assert_eq!(function["choices"][0]["finish_reason"], "function_call");
    assert_eq!(function["choices"][0]["message"]["function_call"]["name"], "f");

    let (first, second) = (ask(json!({"seed": 5})).await, ask(json!({"seed": 5})).await);
    assert_eq!(first["choices"], second["choices"]);
    assert_eq!(first["system_fingerprint"], second["system_fingerprint"]);
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["service_tier"], "default");

    let several = json!({"n": 2, "stream": true});
    let indexes: Vec<u64> = chunks(&text(world.openai(&several).await).await)
        .iter()
        .map(|it| it["choices"][0]["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indexes[..4], [0, 1, 0, 1], "choices are interleaved");
}

#[tokio::test]
async fn openai_refuses_with_all_four_fields_and_names_the_parameter() {
    let schema = openai_schema("ErrorResponse");
    let world = World::new().await;
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let tool = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "x"});
    let asks = json!({"role": "assistant", "tool_calls": [call]});
    let many: serde_json::Map<String, Value> = (0..17).map(|i| (i.to_string(), json!("x"))).collect();
    for (changes, param, code) in [
        (json!({"temperature": "hot"}), json!("temperature"), json!("invalid_type")),
        (json!({"stream": 1}), json!("stream"), json!("invalid_type")),
        (json!({"user": 5}), json!("user"), json!("invalid_type")),
        (json!({"stop": [1]}), json!("stop[0]"), json!("invalid_type")),
        (
            json!({"stream": true, "stream_options": {"include_usage": 1}}),
            json!("stream_options.include_usage"),
            json!("invalid_type"),
        ),
        (json!({"temperature": 2.1}), json!("temperature"), json!("decimal_above_max_value")),
        (json!({"top_p": -0.1}), json!("top_p"), json!("decimal_below_min_value")),
        (json!({"presence_penalty": 3}), json!("presence_penalty"), json!("decimal_above_max_value")),
        (json!({"frequency_penalty": -3}), json!("frequency_penalty"), json!("decimal_below_min_value")),
        (json!({"n": 0}), json!("n"), json!("integer_below_min_value")),
        (json!({"n": 129}), json!("n"), json!("integer_above_max_value")),
        (json!({"n": 1.5}), json!("n"), json!("invalid_type")),
        (json!({"max_tokens": 0}), json!("max_tokens"), json!("integer_below_min_value")),
        (
            json!({"max_tokens": 1, "max_completion_tokens": 1}),
            json!("max_tokens"),
            json!("invalid_parameter_combination"),
        ),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            json!("top_logprobs"),
            json!("integer_above_max_value"),
        ),
        (json!({"top_logprobs": 2}), json!("top_logprobs"), Value::Null),
        (json!({"stop": ["1", "2", "3", "4", "5"]}), json!("stop"), json!("array_above_max_length")),
        (json!({"logit_bias": {"1": 101}}), json!("logit_bias"), json!("decimal_above_max_value")),
        (json!({"metadata": many}), json!("metadata"), json!("object_above_max_properties")),
        (json!({"service_tier": "fastest"}), json!("service_tier"), json!("invalid_value")),
        (json!({"functions": []}), json!("functions"), json!("empty_array")),
        (json!({"top_k": 5}), Value::Null, Value::Null),
        (json!({"messages": []}), json!("messages"), json!("empty_array")),
        (
            json!({"messages": [{"role": "nobody", "content": "x"}]}),
            json!("messages[0].role"),
            json!("invalid_value"),
        ),
        (json!({"messages": [{"role": "assistant"}]}), json!("messages[0].content"), json!("invalid_type")),
        (json!({"messages": [tool("call_1")]}), json!("messages[0].tool_call_id"), Value::Null),
        (json!({"messages": [asks, tool("call_2")]}), json!("messages[1].tool_call_id"), Value::Null),
        (
            json!({"messages": [asks, {"role": "user", "content": "?"}]}),
            json!("messages[0].tool_calls"),
            Value::Null,
        ),
        (json!({"messages": [asks]}), json!("messages[0].tool_calls"), Value::Null),
        (user(json!([{"type": "film"}])), json!("messages[0].content[0].type"), json!("invalid_value")),
        (
            user(json!([{"type": "image_url", "image_url": "https://e.com/a"}])),
            json!("messages[0].content[0].image_url"),
            json!("invalid_type"),
        ),
        (
            user(json!([{"type": "input_audio", "input_audio": {"data": "A", "format": "m4a"}}])),
            json!("messages[0].content[0].input_audio.format"),
            json!("invalid_value"),
        ),
        (json!({"tool_choice": "auto"}), json!("tool_choice"), Value::Null),
        (
            json!({"tools": weather(), "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            json!("tool_choice"),
            Value::Null,
        ),
        (
            json!({"tools": [{"type": "function", "function": {}}]}),
            json!("tools[0].function.name"),
            json!("missing_required_parameter"),
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a b"}}]}),
            json!("tools[0].function.name"),
            json!("invalid_value"),
        ),
        (
            json!({"tools": [{"type": "function", "function": {"name": "a".repeat(65)}}]}),
            json!("tools[0].function.name"),
            json!("string_above_max_length"),
        ),
        (json!({"response_format": {"type": "xml"}}), json!("response_format.type"), json!("invalid_value")),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {}}}),
            json!("response_format.json_schema.name"),
            json!("missing_required_parameter"),
        ),
        (
            json!({"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "hi"}]}),
            json!("messages"),
            Value::Null,
        ),
        (json!({"stream_options": {}}), json!("stream_options"), Value::Null),
    ] {
        let response = world.openai(&changes).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{changes}");
        let said = body(response).await;
        if let Some(schema) = &schema {
            assert_valid(schema, &said);
        }
        let error = &said["error"];
        assert_eq!((&error["param"], &error["code"]), (&param, &code), "{changes}: {error}");
        assert_eq!(error.as_object().unwrap().len(), 4, "{error}");
    }
    let ask = async |method: Method, path: &str, body: &str, key: Option<&str>, kind: Option<&str>| {
        let mut request = request(method, path, body, key);
        if let Some(kind) = kind {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        let response = world.emulator.send(request).await.unwrap();
        let status = response.status().as_u16();
        let said = self::body(response).await;
        assert_eq!(said["error"].as_object().map(serde_json::Map::len), Some(4), "{said}");
        (status, said["error"]["code"].as_str().map(str::to_owned))
    };
    let hello = changed("gpt-4o-mini", &json!({})).to_string();
    let chat = "/v1/chat/completions";
    let code = |it: &str| Some(it.to_owned());
    let key = Some(API_KEY);
    assert_eq!(ask(Method::POST, chat, &hello, None, None).await, (401, None));
    assert_eq!(ask(Method::POST, chat, &hello, Some("sk-x"), None).await, (401, code("invalid_api_key")));
    assert_eq!(ask(Method::GET, "/v1/models", "", None, None).await, (401, None));
    assert_eq!(ask(Method::GET, "/v1/models/nope", "", key, None).await, (404, code("model_not_found")));
    assert_eq!(ask(Method::GET, chat, "", key, None).await, (405, code("method_not_supported")));
    assert_eq!(ask(Method::DELETE, "/v1/models", "", key, None).await, (405, code("method_not_supported")));
    assert_eq!(ask(Method::GET, "/v1/nowhere", "", key, None).await, (404, code("unknown_url")));
    assert_eq!(ask(Method::POST, chat, "{", key, None).await, (400, None));
    assert_eq!(ask(Method::POST, chat, "[]", key, None).await, (400, code("invalid_type")));
    assert_eq!(ask(Method::POST, chat, "{}", key, None).await, (400, code("missing_required_parameter")));
    assert_eq!(
        ask(Method::POST, chat, &hello, key, Some("text/plain")).await,
        (415, code("unsupported_content_type"))
    );
    let unknown = world.openai(&json!({"model": "gpt-0"})).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(body(unknown).await["error"]["param"], "model");
}

#[tokio::test]
async fn models_are_listed_where_the_services_list_them() {
    let world = World::new().await;
    let get = async |path: &str| {
        let response = world.emulator.send(request(Method::GET, path, "", Some(API_KEY))).await.unwrap();
        (response.status().as_u16(), body(response).await)
    };
    let (status, list) = get("/v1/models").await;
    assert_eq!((status, &list["data"][0]["id"]), (200, &json!("gpt-4o-mini")));
    if let (Some(lists), Some(models)) = (openai_schema("ListModelsResponse"), openai_schema("Model")) {
        assert_valid(&lists, &list);
        assert_valid(&models, &get("/v1/models/o4-mini").await.1);
    }
    let (status, list) = get("/v1beta/openai/models").await;
    assert_eq!((status, &list["data"][0]["id"]), (200, &json!("models/gemini-2.5-flash")));
    assert_eq!(get("/v1beta/openai/models/models/gemini-2.5-flash").await.0, 200);
    assert_eq!(get("/v1beta/openai/models/gemini-0").await.0, 404);
}

#[tokio::test]
async fn the_developer_api_refuses_what_it_does_not_know() {
    let world = World::new().await;
    let sound = |format: &str| json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": format}}]}]});
    for (changes, status, said) in [
        (
            json!({"parallel_tool_calls": true}),
            400,
            "Unknown name \"parallel_tool_calls\": Cannot find field.",
        ),
        (json!({"google": {}}), 400, "Unknown name \"google\""),
        (json!({"user": 5}), 400, "Unknown name \"user\""),
        (json!({"seed": 1, "top_k": 2}), 400, "Unknown name \"top_k\""),
        (json!({"model": "gemini-0"}), 404, "models/gemini-0 is not found"),
        (json!({"model": "models/gemini-3-flash-preview"}), 200, "chat.completion"),
        (sound("m4a"), 400, "Invalid audio format \"m4a\""),
        (sound("wav"), 200, "chat.completion"),
        (json!({"messages": []}), 400, "contents is not specified"),
    ] {
        let response = world.developer(&changes).await;
        assert_eq!(response.status().as_u16(), status, "{changes}");
        let text = text(response).await;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.is_array(), status != 200, "{text}");
        assert!(text.replace("\\\"", "\"").contains(said), "{changes}: {text}");
    }
    for key in [None, Some("sk-x")] {
        let response = world
            .emulator
            .send(request(Method::POST, "/v1beta/openai/chat/completions", "{}", key))
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let error = ApiError::from_body(Some(400), text(response).await.as_bytes());
        assert_eq!(error.reason(), Some("API_KEY_INVALID"));
        assert_eq!(error.message(), "API key not valid. Please pass a valid API key.");
    }
}

#[tokio::test]
async fn the_developer_api_counts_on_every_chunk_and_tags_thoughts() {
    let world = World::new().await;
    let thinking = json!({"extra_body": {"google": {"thinking_config": {"include_thoughts": true}}}});
    let whole = body(world.developer(&thinking).await).await;
    let usage = &whole["usage"];
    assert!(usage.get("completion_tokens_details").is_none() && usage.get("extra_properties").is_none());
    let number = |usage: &Value, key: &str| usage[key].as_u64().unwrap();
    assert!(
        number(usage, "total_tokens") > number(usage, "prompt_tokens") + number(usage, "completion_tokens")
    );
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(
        content.starts_with("<thought>") && content.contains("</thought>This is the emulator"),
        "{content}"
    );
    assert_eq!(whole["choices"][0]["message"]["extra_content"]["google"]["thought"], true);

    let mut streaming = thinking;
    streaming["stream"] = json!(true);
    let chunks = chunks(&text(world.developer(&streaming).await).await);
    let mut counted = 0;
    for chunk in &chunks {
        let now = number(&chunk["usage"], "completion_tokens");
        assert!(now >= counted, "usage only grows");
        counted = now;
    }
    assert_eq!(chunks.last().unwrap()["usage"], *usage);
    let content: String =
        chunks.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect();
    assert!(content.starts_with("<thought>") && content.contains("</thought>This"), "{content}");
    let first_text = chunks
        .iter()
        .find(|it| it["choices"][0]["delta"]["extra_content"].is_null())
        .and_then(|it| it["choices"][0]["delta"]["content"].as_str())
        .unwrap();
    assert!(first_text.starts_with("</thought>"), "{first_text}");
}

#[tokio::test]
async fn vertex_tags_thoughts_as_it_is_told_to() {
    let world = World::new().await;
    let google = |marker: Value| json!({"extra_body": {"google": {"thinking_config": {"include_thoughts": true}, "thought_tag_marker": marker}}});
    for (marker, begins, parts) in
        [(Value::Null, "The person wants", ".\nThis is"), (json!("think"), "<think>The", "</think>This is")]
    {
        let (_, answer) = world.gemini(google(marker.clone())).await;
        let content = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        assert!(content.starts_with(begins) && content.contains(parts), "{content}");
        let mut streaming = changed("google/gemini-2.5-flash", &google(marker));
        streaming["messages"] = json!([{"role": "user", "content": "hi"}]);
        streaming["stream"] = json!(true);
        let chunks = chunks(&text(world.post("openapi", &streaming).await).await);
        assert_eq!(merged(&chunks)["choices"][0]["message"]["content"], content);
    }
}

#[tokio::test]
async fn gemini_wants_calls_and_responses_to_match_and_words_to_exist() {
    let world = World::new().await;
    let user = json!({"role": "user", "content": "go"});
    let call = |ids: &[&str]| {
        let calls: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}))
            .collect();
        json!({"role": "assistant", "tool_calls": calls})
    };
    let tool = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "x"});
    let function = |name: &str| json!({"tools": [{"type": "function", "function": {"name": name}}]});
    let mut signed = call(&["1"]);
    signed["tool_calls"][0]["extra_content"] =
        json!({"google": {"thought_signature": "skip_thought_signature_validator"}});
    let on_3 = |messages: Value| json!({"model": "google/gemini-3-flash-preview", "messages": messages});
    for (body, status) in [
        (json!({"messages": [user, call(&["1", "2"]), tool("1"), tool("2")]}), 200),
        (json!({"messages": [user, call(&["1", "2"]), tool("1")]}), 400),
        (json!({"messages": [user, call(&["1"]), tool("1"), tool("2")]}), 400),
        (json!({"messages": [user, call(&["1"]), user]}), 400),
        (json!({"messages": [user, tool("1")]}), 400),
        // One step, its calls and responses in turns: the second call has no signature.
        (on_3(json!([user, signed, tool("1"), call(&["2"]), tool("2")])), 400),
        (on_3(json!([user, signed, tool("1"), signed, tool("1")])), 200),
        (function("a.b:c-d_9"), 200),
        (function("9a"), 400),
        (function(""), 400),
        (function(&"a".repeat(129)), 400),
        (json!({"tools": [{"type": "custom", "custom": {"name": "f"}}]}), 400),
        (json!({"tools": weather(), "tool_choice": "any"}), 400),
        (json!({"tools": weather(), "tool_choice": {"type": "function", "function": {"name": "nope"}}}), 400),
        (json!({"functions": [{"name": "f"}], "function_call": "required"}), 400),
        (json!({"response_format": {"type": "text/x.enum"}}), 200),
        (json!({"user": 5, "stream_options": "x", "logprobs": "y", "top_logprobs": 99}), 200),
        (json!({"seed": "x"}), 400),
        (json!({"messages": [{"role": "user", "content": ""}]}), 400),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "gs://a/b", "format": "audio/ogg"}}, {"type": "image_url", "image_url": "data:application/pdf;base64,AAAA"}]}]}),
            200,
        ),
    ] {
        let (got, said) = world.gemini(body.clone()).await;
        assert_eq!(got.as_u16(), status, "{body}: {said}");
    }
}

#[tokio::test]
async fn vllm_checks_its_parameters_and_tells_probabilities() {
    let world = World::new().await;
    let hello = |changes: Value| {
        let mut body = changed("gemma-2-9b-it", &changes);
        body["messages"] = changes.get("messages").cloned().unwrap_or(body["messages"].clone());
        body
    };
    let picture = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e.com/a"}}]}]);
    for (changes, status, param) in [
        (json!({"model": "nope"}), 404, json!("model")),
        (json!({"model": ""}), 200, Value::Null),
        (json!({"temperature": 99}), 400, json!("temperature")),
        (json!({"top_p": 1.5}), 400, json!("top_p")),
        (json!({"presence_penalty": -3}), 400, json!("presence_penalty")),
        (json!({"logprobs": true, "top_logprobs": 21}), 400, json!("logprobs")),
        (json!({"tool_choice": "required"}), 400, json!("tool_choice")),
        (json!({"tools": weather(), "tool_choice": "required"}), 200, Value::Null),
        (json!({"messages": picture}), 400, Value::Null),
        (json!({"vendor": {"a": 1}, "top_k": 5}), 200, Value::Null),
    ] {
        let response = world.post(VLLM_ENDPOINT, &hello(changes.clone())).await;
        assert_eq!(response.headers()["server"], "uvicorn");
        assert_eq!(response.status().as_u16(), status, "{changes}");
        let said = body(response).await;
        if status != 200 {
            assert_eq!((&said["error"]["param"], &said["error"]["code"]), (&param, &json!(status)), "{said}");
        }
    }
    let answer =
        body(world.post(VLLM_ENDPOINT, &hello(json!({"logprobs": true, "n": 2, "stop": "json"}))).await)
            .await;
    assert_eq!(answer["choices"][1]["stop_reason"], "json");
    assert!(answer["choices"][1]["logprobs"]["content"][0]["bytes"].is_array());
    let counted =
        json!({"stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}});
    let chunks = chunks(&text(world.post(VLLM_ENDPOINT, &hello(counted)).await).await);
    assert!(chunks.iter().all(|it| it["usage"]["total_tokens"].is_u64()));

    let path = format!("{PARENT}/{VLLM_ENDPOINT}/chat/completions");
    let get = world.emulator.send(request(Method::GET, &path, "", None)).await.unwrap();
    assert_eq!((get.status().as_u16(), body(get).await), (405, json!({"detail": "Method Not Allowed"})));
    let mut plain = request(Method::POST, &path, "{}", Some(&world.token));
    plain.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let refused = body(world.emulator.send(plain).await.unwrap()).await;
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("Unsupported Media Type"), "{refused}");
}

#[tokio::test]
async fn tgi_is_what_its_source_says() {
    let world = World::new().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}});
    let format = |kind: &str, value: &Value| json!({"response_format": {"type": kind, "value": value}});
    let tools = json!([{"type": "function", "function": {"name": "f", "arguments": schema}}]);
    for (changes, status, said) in [
        (format("json_object", &schema), 200, r#"{\"a\":true}"#),
        (format("json_schema", &json!({"name": "x", "schema": schema})), 200, r#"{\"a\":true}"#),
        (format("json_schema", &schema), 422, "missing field `schema`"),
        (format("xml", &schema), 422, "unknown variant"),
        (format("regex", &json!(5)), 422, "expected a string"),
        (
            json!({"tools": tools, "response_format": {"type": "json", "value": {}}}),
            422,
            "Grammar and tools are mutually exclusive",
        ),
        (json!({"tools": tools, "tool_choice": "f", "n": 3}), 200, r#""name":"f""#),
        (json!({"tools": tools, "tool_choice": "g"}), 422, "Tool with name g not found"),
        (json!({"top_logprobs": 6, "logprobs": true}), 422, "top_n_tokens"),
        (json!({"max_tokens": 1, "max_completion_tokens": 1}), 422, "duplicate field"),
        (json!({"stream": null}), 422, "stream: invalid type: null"),
        (json!({"stream_options": null}), 422, "stream_options: invalid type: null"),
        (json!({"stop": ["json"]}), 200, "stop_sequence"),
        (
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]}),
            200,
            "answered: y",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://e.com"}]}]}),
            422,
            "untagged enum",
        ),
    ] {
        let response = world.post(TGI_ENDPOINT, &changed("tgi", &changes)).await;
        assert_eq!(response.status().as_u16(), status, "{changes}");
        let text = text(response).await;
        assert!(text.contains(said), "{changes}: {text}");
        if status == 200 {
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(answer["choices"].as_array().unwrap().len(), 1);
        }
    }
    let streaming =
        changed("tgi", &json!({"stream": true, "stream_options": {"include_usage": true}, "tools": tools}));
    let chunks = chunks(&text(world.post(TGI_ENDPOINT, &streaming).await).await);
    assert_eq!(chunks[0]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
    assert!(chunks.last().unwrap()["choices"] == json!([]) && chunks.last().unwrap()["usage"].is_object());
}

/// What shows that a quirk is on: a request, and a piece of the answer's text that comes or goes with it.
struct Shown {
    quirk: Quirk,
    request: Value,
    /// What the answer has only with the quirk.
    comes: &'static str,
    /// What it has only without.
    goes: &'static str,
}

fn shown() -> Vec<Shown> {
    let of = |quirk, request: Value, comes, goes| Shown { quirk, request, comes, goes };
    let stream = |changes: Value| {
        let mut request = changes;
        request["stream"] = json!(true);
        request
    };
    let parameters = |schema: Value| json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]});
    let messages = |messages: Value| json!({"messages": messages});
    let plain = || json!({});
    let thinking = || json!({"reasoning_effort": "low"});
    let status = "HTTP 200";
    vec![
        of(Quirk::ToolIndexMissing, stream(both_tools()), "", "\"index\":1,\"type\""),
        of(Quirk::ToolIndexZero, stream(both_tools()), "", "\"index\":1"),
        of(
            Quirk::FinishStopWithCalls,
            both_tools(),
            "\"finish_reason\":\"stop\"",
            "\"finish_reason\":\"tool_calls\"",
        ),
        of(Quirk::FinishReasonCamel, plain(), "finishReason", "finish_reason"),
        of(Quirk::FinishFiltered, plain(), "content_filter: PROHIBITED_CONTENT", ""),
        of(Quirk::FinishCallFiltered, plain(), "function_call_filter: UNEXPECTED_TOOL_CALL", ""),
        of(
            Quirk::FinishEarly,
            stream(plain()),
            "\" is\",\"role\":\"assistant\"},\"finish_reason\":\"stop\"",
            "",
        ),
        of(Quirk::ArgumentsMissing, both_tools(), "\"arguments\":\"\"", ""),
        of(Quirk::TruncatedStream, stream(plain()), "", "[DONE]"),
        of(Quirk::BareErrorInStream, stream(plain()), "\n\n{\n  \"error\"", "[DONE]"),
        of(Quirk::DataErrorInStream, stream(plain()), "data: {\"error\"", "[DONE]"),
        of(Quirk::MalformedFunctionCall, both_tools(), "malformed_function_call", "\"message\""),
        of(Quirk::EmptyReply, plain(), "\"message\":{\"role\":\"assistant\"}", "\"content\""),
        of(Quirk::BlockedPrompt, plain(), "\"message\":null", "\"content\""),
        of(Quirk::BlockedPrompt, stream(plain()), "\"refusal\":\"The prompt", "\"content\""),
        of(Quirk::EmptyFirstChunk, stream(plain()), "\"usage\":{}", ""),
        of(Quirk::UsageMissing, plain(), "", "\"usage\""),
        of(Quirk::UsageUndercounted, thinking(), "", "completion_tokens_details"),
        of(Quirk::ReasoningContent, stream(plain()), "reasoning_content", ""),
        of(Quirk::RawNewlineArguments, both_tools(), "\\\"city\\\":\\\"\\nexample", ""),
        of(Quirk::CallIdsRepeat, both_tools(), "\"call_0\"", "function-call-"),
        of(
            Quirk::SchemaKeywordsRefused,
            parameters(json!({"properties": {"a": {"const": 1}}})),
            "Unknown name \\\"const\\\"",
            status,
        ),
        of(
            Quirk::EmptyParametersRefused,
            parameters(json!({"type": "object"})),
            "should be non-empty",
            status,
        ),
        of(
            Quirk::TextBesideImageWanted,
            messages(json!([{"role": "user", "content": [{"type": "image_url", "image_url": "gs://a/b"}]}])),
            "must have a text parameter",
            status,
        ),
        of(
            Quirk::FinalAssistantRefused,
            messages(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])),
            "end with a user turn",
            status,
        ),
        of(Quirk::RegionLocked, plain(), "HTTP 404", status),
        of(Quirk::DedicatedEndpoint, plain(), "prediction.vertexai.goog", status),
        of(Quirk::Exhausted, plain(), "HTTP 429", status),
        of(Quirk::ExhaustedRetryInfo, plain(), "\"retryDelay\":\"37s\"", status),
        of(Quirk::ExhaustedRetryAfter, plain(), "retry-after: 1", status),
        of(Quirk::Crlf, stream(plain()), "\r\n\r\n", "\n\n"),
        of(Quirk::Comments, stream(plain()), ": still here\n", ""),
        of(Quirk::NoDone, stream(plain()), "", "[DONE]"),
        of(Quirk::UsageOnEveryChunk, stream(plain()), "\"completion_tokens\":1,", ""),
        of(Quirk::SignatureLast, stream(plain()), "thought_signature", ""),
        of(Quirk::HtmlError, plain(), "HTTP 502 text/html", status),
        of(
            Quirk::ToolChoiceObjectRefused,
            json!({"tools": weather(), "tool_choice": {"type": "function", "function": {"name": "get_time"}}}),
            "Invalid value at 'tool_choice'",
            status,
        ),
        of(
            Quirk::FunctionsAsToolCalls,
            json!({"functions": [{"name": "f"}]}),
            "\"tool_calls\"",
            "function_call\"",
        ),
        of(
            Quirk::DeveloperRefused,
            messages(json!([{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}])),
            "messages[0].role",
            status,
        ),
        of(
            Quirk::IncludeUsageHonoured,
            stream(json!({"stream_options": {"include_usage": false}})),
            "",
            "\"usage\"",
        ),
        of(Quirk::WrongTypeRefused, json!({"user": 5}), "Invalid value at 'user'", status),
        of(Quirk::NWithStreamRefused, stream(json!({"n": 2})), "HTTP 400", status),
        of(Quirk::CachedTokens, plain(), "cached_tokens", ""),
        of(Quirk::TextPlainStream, stream(plain()), "text/plain", "text/event-stream"),
    ]
}

/// Status, content type, when to come back, and the body.
async fn seen(response: Response) -> String {
    let header = |name: &str| {
        response.headers().get(name).map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    let head = format!(
        "HTTP {} {}\nretry-after: {}\n",
        response.status().as_u16(),
        header("content-type"),
        header("retry-after")
    );
    head + &text(response).await
}

#[tokio::test]
async fn every_quirk_changes_an_answer() {
    let world = World::new().await;
    let ask = async |model: &str, request: &Value| {
        let mut body = changed(model, request);
        body["model"] = json!(model);
        seen(world.post("openapi", &body).await).await
    };
    let shown = shown();
    for quirk in Quirk::ALL {
        assert!(shown.iter().any(|it| it.quirk == *quirk), "{quirk} is shown");
    }
    for Shown { quirk, request, comes, goes } in shown {
        let plain = ask("google/gemini-2.5-flash", &request).await;
        let by_name = ask(&format!("google/gemini-2.5-flash+{quirk}"), &request).await;
        world.emulator.set_quirks([quirk]);
        let for_all = ask("google/gemini-2.5-flash", &request).await;
        world.emulator.set_quirks([]);
        for bent in [&by_name, &for_all] {
            assert!(bent.contains(comes), "{quirk}: {bent}");
            assert!(goes.is_empty() || !bent.contains(goes), "{quirk}: {bent}");
            assert!(comes.is_empty() || !plain.contains(comes), "{quirk} is off: {plain}");
            assert!(plain.contains(goes), "{quirk} is off: {plain}");
        }
        if by_name.contains("chat.completion") {
            let name = format!("\"model\":\"google/gemini-2.5-flash+{quirk}\"");
            assert!(by_name.contains(&name), "the name comes back as it came: {by_name}");
        }
    }
}

#[tokio::test]
async fn calls_without_an_index_are_without_one() {
    let world = World::new().await;
    let mut request = changed("google/gemini-2.5-flash+tool-index-missing", &both_tools());
    request["stream"] = json!(true);
    let chunks = chunks(&text(world.post("openapi", &request).await).await);
    let calls: Vec<&Value> = chunks.iter().map(|it| &it["choices"][0]["delta"]["tool_calls"][0]).collect();
    assert!(calls.len() == 2 && calls.iter().all(|it| it.is_object() && it.get("index").is_none()));
}

#[tokio::test]
async fn quirks_are_listed_set_and_known_on_every_service() {
    let world = World::new().await;
    let control = async |method: Method, body: &str| {
        let response = world.emulator.send(request(method, "/emulator/quirks", body, None)).await.unwrap();
        (response.status().as_u16(), self::body(response).await)
    };
    let is_on = |table: &Value| -> Vec<String> {
        let rows = table.as_array().unwrap().iter().filter(|it| it["on"] == true);
        rows.map(|it| it["word"].as_str().unwrap().to_owned()).collect()
    };
    assert!(is_on(&control(Method::GET, "").await.1).is_empty());
    let (_, table) = control(Method::POST, r#"["no-done","crlf"]"#).await;
    assert_eq!(is_on(&table), ["crlf", "no-done"]);
    assert!(table[0]["sentence"].is_string() && table[0]["origin"].is_string());
    assert_eq!(control(Method::POST, r#"["nonsense"]"#).await.0, 400);
    assert_eq!(control(Method::POST, "{}").await.0, 400);
    assert_eq!(
        is_on(&control(Method::GET, "").await.1),
        ["crlf", "no-done"],
        "what is refused changes nothing"
    );
    assert_eq!(control(Method::DELETE, "").await.0, 200);
    assert!(is_on(&control(Method::GET, "").await.1).is_empty());

    let ask = async |profile: &str, model: &str| {
        let body = changed(model, &json!({"model": model}));
        match profile {
            "openai" => world.openai(&body).await,
            "developer" => world.developer(&body).await,
            endpoint => world.post(endpoint, &body).await,
        }
    };
    for (profile, model) in [
        ("openapi", "google/gemini-2.5-flash"),
        ("openapi", "meta/llama-4-maverick-17b-128e-instruct-maas"),
        ("developer", "gemini-2.5-flash"),
        ("openai", "gpt-4o-mini"),
        (VLLM_ENDPOINT, ""),
        (TGI_ENDPOINT, "tgi"),
    ] {
        let bent = body(ask(profile, &format!("{model}+usage-missing+finish-reason-camel")).await).await;
        assert!(bent.get("usage").is_none() && bent["choices"][0]["finishReason"].is_string(), "{bent}");
        let unknown = ask(profile, &format!("{model}+nonsense")).await;
        assert_eq!(unknown.status(), StatusCode::BAD_REQUEST);
        let said = text(unknown).await;
        assert!(said.contains("`nonsense` is no quirk") && said.contains("no-done"), "{said}");
        let exhausted = ask(profile, &format!("{model}+exhausted")).await;
        assert_eq!(exhausted.status(), StatusCode::TOO_MANY_REQUESTS, "{profile}");
        assert!(!exhausted.headers().contains_key("retry-after"));
    }
}

#[tokio::test]
async fn whatever_comes_is_answered_by_every_service() {
    let world = World::new().await;
    let odd = [
        json!(null),
        json!([]),
        json!({"messages": [null]}),
        json!({"messages": [{}]}),
        json!({"messages": [{"role": "user"}]}),
        json!({"messages": [{"role": "user", "content": null}]}),
        json!({"messages": [{"role": "user", "content": ""}]}),
        json!({"messages": [{"role": "user", "content": []}]}),
        json!({"messages": [{"role": "user", "content": [{}]}]}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}], "stop": ""}),
        json!({"messages": [{"role": "assistant", "tool_calls": []}]}),
        json!({"messages": [{"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "x"}]}),
        json!({"tools": [], "tool_choice": "required"}),
        json!({"tools": [{}]}),
        json!({"tools": [{"type": "function"}], "tool_choice": {}}),
        json!({"functions": [{}], "function_call": {}}),
        json!({"stop": [], "seed": -9_223_372_036_854_775_808_i64}),
        json!({"n": 9_223_372_036_854_775_807_i64}),
        json!({"n": 18_446_744_073_709_551_615_u64}),
        json!({"max_tokens": -5, "logprobs": true, "top_logprobs": -3}),
        json!({"response_format": {}}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": true}}}),
        json!({"modalities": ["image", "audio"]}),
        json!({"extra_body": {"google": {"thinking_config": {"include_thoughts": true, "thinking_budget": -1}, "thought_tag_marker": ""}}}),
        json!({"model": "+"}),
        json!({"model": 5}),
    ];
    for changes in odd {
        for (path, model, key) in [
            (
                format!("{PARENT}/openapi/chat/completions"),
                "google/gemini-3-flash-preview",
                world.token.as_str(),
            ),
            (format!("{PARENT}/openapi/chat/completions"), "meta/llama", &world.token),
            (format!("{PARENT}/{VLLM_ENDPOINT}/chat/completions"), "", &world.token),
            (format!("{PARENT}/{TGI_ENDPOINT}/chat/completions"), "tgi", &world.token),
            ("/v1/chat/completions".to_owned(), "gpt-4o-mini", API_KEY),
            ("/v1beta/openai/chat/completions".to_owned(), "gemini-2.5-flash", API_KEY),
        ] {
            for stream in [false, true] {
                let mut body = if changes.is_object() { changed(model, &changes) } else { changes.clone() };
                if stream && body.is_object() {
                    body["stream"] = json!(true);
                }
                let request = request(Method::POST, &path, &body.to_string(), Some(key));
                let response = world.emulator.send(request).await.unwrap();
                let status = response.status();
                let said = text(response).await;
                assert!(status.as_u16() < 500 && !said.is_empty(), "{path} {body}: {said}");
            }
        }
    }
}
