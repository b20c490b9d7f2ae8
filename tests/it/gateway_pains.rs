//! What people complain of, each shown to be handled: docs/pain-points.md has the list, and names these tests.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use vertex_chat::Environment;
use vertex_chat_gateway::{Config, Gateway, Options};
use vertex_chat_tests::gateway::{Dedicated, Got, Served, before};
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunked_head};
use vertex_chat_transport::{Always, Exchange, Request, SystemClock};

const GEMINI: &str = "google/gemini-2.5-flash";

/// Asks a gateway before a server that gives this answer: what the client got, and what the server had been asked.
async fn through(dialect: &str, request: &Value, reply: Vec<u8>) -> (Got, Vec<Value>) {
    let upstream = Upstream::start(vec![vec![Step::Write(reply)]]).await;
    let served = Served::start(&before(&upstream.url(), dialect)).await;
    let got = served.complete(request).await;
    let asked = upstream.seen().iter().map(|it| serde_json::from_slice(&it.body).unwrap()).collect();
    (got, asked)
}

fn whole(body: &Value) -> Vec<u8> {
    answer("200 OK", "application/json", &[], body.to_string().as_bytes())
}

fn said(message: &Value, finish: &str) -> Value {
    json!({"choices": [{"message": message, "finish_reason": finish}]})
}

fn hello() -> Vec<u8> {
    whole(&said(&json!({"role": "assistant", "content": "hello"}), "stop"))
}

/// A stream of these chunks, cut in the middle of each.
fn stream(chunks: &[Value]) -> Vec<u8> {
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    for it in chunks {
        let event = format!("data: {it}\n\n");
        let (one, other) = event.as_bytes().split_at(event.len() / 2);
        bytes.extend(chunk(one));
        bytes.extend(chunk(other));
    }
    bytes.extend(chunk(b"data: [DONE]\n\n"));
    bytes.extend(b"0\r\n\r\n");
    bytes
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn chunks_of(got: &Got) -> Vec<Value> {
    let text = got.text();
    let events = text.split("\n\n").filter_map(|it| it.strip_prefix("data: {"));
    events.map(|it| serde_json::from_str(&format!("{{{it}")).unwrap()).collect()
}

#[tokio::test]
async fn pain_05_a_publisher_of_the_name_openai_is_kept() {
    let request = json!({"model": "openai/gpt-oss-120b-maas", "messages": [user("hi")]});
    let (got, asked) = through("vertex-partner", &request, hello()).await;
    assert_eq!((got.status, &asked[0]["model"]), (StatusCode::OK, &json!("openai/gpt-oss-120b-maas")));
}

#[tokio::test]
async fn pain_08_googles_options_are_found_wherever_they_are_nested() {
    let options = json!({"safety_settings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "OFF"}]});
    for nested in [
        json!({"google": options}),
        json!({"extra_body": {"google": options}}),
        json!({"extra_body": {"extra_body": {"google": options}}}),
    ] {
        let mut request = json!({"model": GEMINI, "messages": [user("hi")]});
        request.as_object_mut().unwrap().extend(nested.as_object().unwrap().clone());
        let (got, asked) = through("vertex-gemini-2", &request, hello()).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
        assert_eq!(asked[0]["extra_body"], json!({"google": options}), "{nested}");
        assert!(asked[0].get("google").is_none());
    }
}

#[tokio::test]
async fn pain_09_thoughts_are_told_from_the_answer() {
    let thinking = json!({"google": {"thinking_config": {"include_thoughts": true}}});
    let mut request = json!({"model": GEMINI, "messages": [user("hi")], "extra_body": thinking});
    let reply = whole(&said(&json!({"role": "assistant", "content": "<think>hm</think>hello"}), "stop"));
    let (got, asked) = through("vertex-gemini-2", &request, reply).await;
    assert_eq!(asked[0]["extra_body"]["google"]["thought_tag_marker"], "think");
    let message = &got.json()["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("hello"), &json!("hm")));
    request["stream"] = json!(true);
    let piece = |text: &str, finish: Value| json!({"choices": [{"delta": {"content": text}, "finish_reason": finish}]});
    let pieces = ["<thi", "nk>h", "m</", "think>hel", "lo"]
        .map(|it| piece(it, Value::Null))
        .into_iter()
        .chain([piece("", json!("stop"))]);
    let (got, _) = through("vertex-gemini-2", &request, stream(&pieces.collect::<Vec<_>>())).await;
    let all = |field: &str| -> String {
        let chunks = chunks_of(&got);
        chunks.iter().filter_map(|it| it["choices"][0]["delta"][field].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(
        (all("content").as_str(), all("reasoning_content").as_str()),
        ("hello", "hm"),
        "{}",
        got.text()
    );
}

fn with_tool(parameters: &Value) -> Value {
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
    json!({"model": GEMINI, "messages": [user("hi")], "tools": [tool]})
}

#[tokio::test]
async fn pain_10_schemas_are_written_in_words_that_gemini_takes() {
    let parameters = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"kind": {"const": "a"}, "at": {"$ref": "#/$defs/at"}},
        "propertyNames": {"pattern": "^[a-z]+$"},
        "$defs": {"at": {"type": "object", "properties": {"x": {"type": "integer", "examples": [1]}}}},
    });
    let (got, asked) = through("vertex-gemini-2", &with_tool(&parameters), hello()).await;
    assert_eq!(got.header("x-vertex-chat-rewritten"), Some("gemini-schema"));
    let sent = asked[0]["tools"][0]["function"]["parameters"].to_string();
    for word in ["$schema", "$ref", "$defs", "const", "propertyNames", "examples"] {
        assert!(!sent.contains(word), "{word}: {sent}");
    }
    assert!(sent.contains(r#""x":{"type":"integer"}"#) && sent.contains(r#""enum":["a"]"#), "{sent}");
}

#[tokio::test]
async fn pain_11_an_object_without_properties_is_left_out() {
    for parameters in [json!({"type": "object"}), json!({"type": "object", "properties": {}})] {
        let (got, asked) = through("vertex-gemini-2", &with_tool(&parameters), hello()).await;
        assert_eq!(got.status, StatusCode::OK);
        assert!(asked[0]["tools"][0]["function"].get("parameters").is_none(), "{asked:?}");
    }
}

#[tokio::test]
async fn pain_12_tools_with_json_are_refused_early_and_clearly() {
    let mut request = with_tool(&json!({"type": "object", "properties": {"x": {"type": "integer"}}}));
    request["response_format"] = json!({"type": "json_object"});
    let (got, asked) = through("vertex-gemini-2", &request, hello()).await;
    let error = &got.json()["error"];
    assert_eq!((got.status, &error["param"]), (StatusCode::BAD_REQUEST, &json!("response_format")));
    assert!(error["message"].as_str().unwrap().contains("Gemini 3") && asked.is_empty(), "{error}");
}

#[tokio::test]
async fn pain_13_a_malformed_call_is_an_error_worth_asking_again() {
    for word in ["MALFORMED_FUNCTION_CALL", "malformed_function_call"] {
        let reply = whole(&said(&json!({"role": "assistant"}), word));
        let (got, _) =
            through("vertex-gemini-2", &json!({"model": GEMINI, "messages": [user("hi")]}), reply).await;
        assert_eq!(
            (got.status, &got.json()["error"]["code"]),
            (StatusCode::BAD_GATEWAY, &json!("malformed_function_call"))
        );
        let request = json!({"model": GEMINI, "messages": [user("hi")], "stream": true});
        let piece = json!({"choices": [{"delta": {"role": "assistant"}, "finish_reason": word}]});
        let (got, _) = through("vertex-gemini-2", &request, stream(&[piece])).await;
        assert!(!got.status.is_success() && !got.text().contains("[DONE]"), "{}", got.text());
    }
}

#[tokio::test]
async fn pain_14_an_answer_that_thinking_has_eaten_is_whole_all_the_same() {
    let reply = json!({"choices": [{"message": {"role": "assistant"}, "finish_reason": "length"}], "usage": {"prompt_tokens": 5, "total_tokens": 105}});
    let (got, _) = through(
        "vertex-gemini-2",
        &json!({"model": GEMINI, "messages": [user("hi")], "max_tokens": 100}),
        whole(&reply),
    )
    .await;
    let whole = got.json();
    assert_eq!(
        whole["choices"][0]["message"],
        json!({"role": "assistant", "content": null, "refusal": null})
    );
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    assert_eq!(whole["usage"]["completion_tokens"], 100);
}

#[tokio::test]
async fn pain_15_what_a_server_leaves_out_is_filled_in() {
    let request = json!({"model": GEMINI, "messages": [user("hi")], "stream": true});
    let chunks = [
        json!({"choices": [{}], "usage": {}}),
        json!({"choices": [{"delta": null}]}),
        json!({"choices": [{"delta": {"content": "hello"}}]}),
        json!({"choices": [{"delta": {}, "finish_reason": "stop"}]}),
    ];
    let (got, _) = through("vertex-gemini-2", &request, stream(&chunks)).await;
    let chunks = chunks_of(&got);
    assert_eq!(chunks.len(), 4, "{}", got.text());
    for it in &chunks {
        for field in ["id", "object", "created", "model"] {
            assert!(it.get(field).is_some(), "{field}: {it}");
        }
        let choice = &it["choices"][0];
        assert!(
            choice["delta"].is_object() && choice.get("finish_reason").is_some() && choice["index"] == 0,
            "{it}"
        );
    }
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
}

#[tokio::test]
async fn pain_16_calls_without_an_index_are_numbered() {
    let request = json!({"model": GEMINI, "messages": [user("hi")], "stream": true});
    let call = |id: &str, index: Value| json!({"id": id, "index": index, "function": {"name": "f", "arguments": "{}"}});
    for index in [Value::Null, json!(0)] {
        let pieces = [
            json!({"choices": [{"delta": {"tool_calls": [call("a", index.clone())]}}]}),
            json!({"choices": [{"delta": {"tool_calls": [call("b", index.clone())]}, "finish_reason": "stop"}]}),
        ];
        let (got, _) = through("gemini-developer", &request, stream(&pieces)).await;
        let calls: Vec<Value> =
            chunks_of(&got).iter().map(|it| it["choices"][0]["delta"]["tool_calls"][0].clone()).collect();
        let named: Vec<_> = calls
            .iter()
            .filter(|it| it.is_object())
            .map(|it| (&it["index"], &it["id"], &it["type"]))
            .collect();
        assert_eq!(
            named,
            [(&json!(0), &json!("a"), &json!("function")), (&json!(1), &json!("b"), &json!("function"))]
        );
    }
}

#[tokio::test]
async fn pain_17_calls_end_with_tool_calls() {
    let request = json!({"model": GEMINI, "messages": [user("hi")], "stream": true});
    let call =
        json!({"id": "a", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let pieces = [
        json!({"choices": [{"delta": {"tool_calls": [call]}}]}),
        json!({"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]}),
    ];
    let (got, _) = through("vertex-gemini-3", &request, stream(&pieces)).await;
    assert_eq!(chunks_of(&got).last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    let reply = whole(&said(&json!({"role": "assistant", "tool_calls": [call]}), "stop"));
    let (got, _) =
        through("vertex-gemini-3", &json!({"model": GEMINI, "messages": [user("hi")]}), reply).await;
    assert_eq!(got.json()["choices"][0]["finish_reason"], "tool_calls");
}

fn call(id: &str, name: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}})
}

fn result(id: &str, text: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": text})
}

#[tokio::test]
async fn pain_19_results_follow_their_calls_in_order() {
    let messages = json!([user("hi"), {"role": "assistant", "tool_calls": [call("a", "f"), call("b", "g")]}, result("b", "B"), result("a", "A")]);
    let (_, asked) =
        through("vertex-gemini-2", &json!({"model": GEMINI, "messages": messages}), hello()).await;
    let sent: Vec<_> =
        asked[0]["messages"].as_array().unwrap()[2..].iter().map(|it| it["content"].clone()).collect();
    assert_eq!(sent, ["A", "B"]);
}

#[tokio::test]
async fn pain_22_instructions_alone_are_answered() {
    let system = |text: &str| json!({"role": "system", "content": text});
    let request = json!({"model": GEMINI, "messages": [system("be brief"), system("say hello")]});
    let (got, asked) = through("vertex-gemini-2", &request, hello()).await;
    assert_eq!((got.status, got.header("x-vertex-chat-rewritten")), (StatusCode::OK, Some("system-only")));
    assert_eq!(asked[0]["messages"], json!([system("be brief"), user("say hello")]));
}

#[tokio::test]
async fn pain_23_the_developer_api_gets_what_it_knows() {
    let request = json!({"model": "gemini-2.5-flash", "messages": [user("hi")], "user": "x", "made_up": 1, "temperature": 0.5});
    let (got, asked) = through("gemini-developer", &request, hello()).await;
    assert_eq!(got.header("x-vertex-chat-dropped"), Some("user, made_up"));
    let mut keys: Vec<_> = asked[0].as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["messages", "model", "temperature"]);
}

#[tokio::test]
async fn pain_24_a_dedicated_endpoint_is_found_by_a_lookup() {
    const OWN: &str = "12.us-central1-34.prediction.vertexai.goog";
    const SHARED: &str = "us-central1-aiplatform.googleapis.com";
    const LOOKUP: &str = "lookup at us-central1-aiplatform.googleapis.com";
    let evil = "12.prediction.vertexai.goog.evil.example";
    for (named, looked_up, status, hosts) in [
        (OWN, json!(OWN), StatusCode::OK, vec![SHARED, LOOKUP, OWN, OWN]),
        // The refusal's text chooses nothing.
        (evil, json!(OWN), StatusCode::OK, vec![SHARED, LOOKUP, OWN, OWN]),
        (
            "99.us-central1-34.prediction.vertexai.goog",
            json!(OWN),
            StatusCode::OK,
            vec![SHARED, LOOKUP, OWN, OWN],
        ),
        // Not Google's: the token does not go there. One lookup is enough for a while.
        (OWN, json!(evil), StatusCode::BAD_REQUEST, vec![SHARED, LOOKUP, SHARED]),
        (OWN, json!(null), StatusCode::BAD_REQUEST, vec![SHARED, LOOKUP, SHARED]),
        (OWN, json!("x@12.prediction.vertexai.goog"), StatusCode::BAD_REQUEST, vec![SHARED, LOOKUP, SHARED]),
    ] {
        let everywhere = Arc::new(Dedicated::with_lookup(named, looked_up.clone()));
        let exchange: Arc<dyn Exchange> = Arc::clone(&everywhere) as _;
        let options = Options::new()
            .connector(Arc::new(Always(exchange)))
            .environment(Environment::of::<&str, &str>([]))
            .clock(Arc::new(SystemClock));
        let config = "[targets.own]\nkind = \"endpoint\"\nproject = \"p\"\nlocation = \"us-central1\"\nendpoint = \"12\"\n\
                      access_token = \"ya29.x\"\n[[models]]\nname = \"own\"\nto = [{ target = \"own\" }]\n";
        let gateway = Gateway::build(&Config::parse("g.toml", config).unwrap(), options).await.unwrap();
        for _ in 0..2 {
            let mut request =
                Request::new(json!({"model": "own", "messages": [user("hi")]}).to_string().into());
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = "/v1/chat/completions".parse().unwrap();
            request.headers_mut().insert("content-type", "application/json".parse().unwrap());
            let response = gateway.send(request).await.unwrap();
            assert_eq!(response.status(), status);
            let text = response.into_body().collect(1 << 20).await.unwrap();
            let text = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(text.contains("key `host` of the target `own`"), status != StatusCode::OK, "{text}");
        }
        assert_eq!(everywhere.hosts(), hosts, "{named} {looked_up}");
    }
}

#[tokio::test]
async fn pain_26_ids_that_come_again_in_a_later_round_are_those_of_their_round() {
    let round =
        |name: &str| json!({"role": "assistant", "tool_calls": [call("call_0", name), call("call_1", "h")]});
    let messages = json!([
        user("hi"),
        round("f"),
        result("call_1", "h1"),
        result("call_0", "f1"),
        round("g"),
        result("call_1", "h2"),
        result("call_0", "g2"),
    ]);
    let (_, asked) =
        through("vertex-gemini-2", &json!({"model": GEMINI, "messages": messages}), hello()).await;
    let sent = asked[0]["messages"].as_array().unwrap();
    let results: Vec<_> =
        sent.iter().filter(|it| it["role"] == "tool").map(|it| it["content"].clone()).collect();
    assert_eq!(results, ["f1", "h1", "g2", "h2"]);
}

#[tokio::test]
async fn pain_27_a_model_of_another_region_says_where_to_look() {
    let message = "Publisher Model `projects/p/locations/us-central1/publishers/google/models/gemini-3-flash` was not found or your \
                   project does not have access to it.";
    let error = json!([{"error": {"code": 404, "message": message, "status": "NOT_FOUND"}}]);
    let reply = answer("404 Not Found", "application/json", &[], error.to_string().as_bytes());
    let (got, _) = through(
        "vertex-gemini-3",
        &json!({"model": "google/gemini-3-flash", "messages": [user("hi")]}),
        reply,
    )
    .await;
    let error = &got.json()["error"];
    assert_eq!((got.status, &error["code"]), (StatusCode::NOT_FOUND, &json!("model_not_found")));
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .ends_with("; the model may exist at another location only; try `global`"),
        "{error}"
    );
}

#[tokio::test]
async fn pain_28_finish_reason_is_read_in_camel_case_too() {
    let reply = json!({"choices": [{"message": {"role": "assistant", "content": "hello"}, "finishReason": "MAX_TOKENS"}]});
    let (got, _) =
        through("vertex-gemini-2", &json!({"model": GEMINI, "messages": [user("hi")]}), whole(&reply)).await;
    let choice = &got.json()["choices"][0];
    assert_eq!((&choice["finish_reason"], choice.get("finishReason")), (&json!("length"), None));
    let request = json!({"model": GEMINI, "messages": [user("hi")], "stream": true});
    let (got, _) = through(
        "vertex-gemini-2",
        &request,
        stream(&[json!({"choices": [{"delta": {"content": "x"}, "finishReason": "STOP"}]})]),
    )
    .await;
    assert_eq!(chunks_of(&got)[0]["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn pain_39_a_mistyped_parameter_is_named() {
    let request = json!({"model": GEMINI, "messages": [user("hi")], "max_token": 5});
    let (got, _) = through("vertex-gemini-2", &request, hello()).await;
    assert_eq!((got.status, got.header("x-vertex-chat-forwarded")), (StatusCode::OK, Some("max_token")));
}
