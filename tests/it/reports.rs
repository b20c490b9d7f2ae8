//! Requests and answers of public reports (`vectors/reports` beside the checkout): what Gemini gets, and what becomes of what
//! servers say, through the gateway and through the client, whole and streamed.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use vertex_chat::transport::SystemClock;
use vertex_chat::{ChatRequest, Client, Environment, ErrorKind, RetryPolicy};
use vertex_chat_emulator::{Emulator, RunningEmulator};
use vertex_chat_tests::gateway::{Served, before, vertex};
use vertex_chat_tests::process::Folder;
use vertex_chat_tests::shared;
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunked_head};

/// The reports by their names; `None` when they are not there.
fn reports() -> Option<BTreeMap<String, Value>> {
    let folder = std::fs::read_dir(shared("vectors/reports")?).unwrap();
    let files =
        folder.map(|it| it.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "json"));
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    Some(files.map(read).collect())
}

async fn emulator() -> RunningEmulator {
    let emulator = Emulator::new(Arc::new(SystemClock));
    emulator.start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// What is sent for a request: the body, or why nothing is.
async fn sent_for(request: &Value, streamed: bool) -> Result<Value, Value> {
    let hello = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]});
    let bytes = answer("200 OK", "application/json", &[], hello.to_string().as_bytes());
    let upstream = Upstream::start(vec![vec![Step::Write(bytes)]]).await;
    let model = request["model"].as_str().unwrap();
    let dialect = if model.contains("gemini-2") { "vertex-gemini-2" } else { "vertex-gemini-3" };
    let served = Served::start(&before(&upstream.url(), dialect)).await;
    let mut request = request.clone();
    request["stream"] = json!(streamed);
    let got = served.complete(&request).await;
    match upstream.seen().first() {
        Some(seen) => Ok(serde_json::from_slice(&seen.body).unwrap()),
        None => Err(got.json()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gemini_refuses_never_reaches_it() {
    let Some(reports) = reports() else { return };
    let running = emulator().await;
    let folder = Folder::new("reports");
    let key = folder.file("key.json", running.service_account_json());
    let config = vertex("vertex", &running.base_url(), &key)
        + "[[models]]\nname = \"google/*\"\nto = [{ target = \"vertex\" }]\n";
    let served = Served::start(&config).await;
    let mut count = 0;
    for (name, report) in &reports {
        let request = &report["request"];
        if !report["reply"].is_null() || !request["model"].as_str().unwrap().starts_with("google/") {
            continue;
        }
        count += 1;
        let mut whole = request.clone();
        for streamed in [false, true] {
            whole["stream"] = json!(streamed);
            let sent = match sent_for(request, streamed).await {
                Ok(sent) => sent,
                // Refused before it was sent, with the place.
                Err(error) => {
                    assert!(error["error"]["param"].is_string(), "{name}: {error}");
                    panic!("{name} can be served: {error}");
                }
            };
            let got = served.complete(&whole).await;
            assert_eq!(got.status, StatusCode::OK, "{name}: {}\n{sent}", got.text());
            let told = [got.header("x-vertex-chat-rewritten"), got.header("x-vertex-chat-dropped")];
            assert!(told.iter().any(Option::is_some), "{name}: nothing is told; {sent}");
            check_sent(name, &sent);
        }
    }
    assert!(count >= 17, "{count}");
}

/// What a report expects of the request that Gemini gets.
#[track_caller]
fn check_sent(name: &str, sent: &Value) {
    let messages = &sent["messages"];
    let url =
        |at: usize| messages[0]["content"][at]["image_url"]["url"].as_str().unwrap_or_default().to_owned();
    let function = &sent["tools"][0]["function"];
    match name {
        "h02-orphan-call" => {
            assert_eq!(
                (&messages[2]["tool_call_id"], &messages[3]["tool_call_id"]),
                (&json!("c1"), &json!("c2"))
            );
            assert!(messages[3]["content"].as_str().unwrap().contains("missing"));
        }
        "m01-jpg" => assert!(url(1).starts_with("data:image/jpeg;base64,"), "{sent}"),
        "m02-octet" => {
            for at in 1..=3 {
                assert!(url(at).starts_with("data:image/jpeg;base64,"), "{sent}");
            }
            for at in 4..=6 {
                assert!(url(at).starts_with("data:image/png;base64,"), "{sent}");
            }
        }
        "m03-image-empty-text" => assert_eq!(messages[0]["content"][1]["text"], " "),
        "m04-pdf-file" => assert!(url(1).starts_with("data:application/pdf;base64,"), "{sent}"),
        "m05-video" => assert!(url(0).starts_with("data:video/mp4;base64,"), "{sent}"),
        "n01-digit" => {
            let new = sent["tools"][1]["function"]["name"].as_str().unwrap();
            assert!(new.starts_with("_8fb2adfa03efshell_exec_"), "{sent}");
        }
        "p01-effort-2-none" => assert_eq!(sent["reasoning_effort"], "low"),
        "p01-effort-3-xhigh" => assert_eq!(sent["reasoning_effort"], "high"),
        "p04-google-search" => {
            assert_eq!(sent["extra_body"]["google"]["tools"], json!([{"googleSearch": {}}]));
        }
        "s11-recursive" => assert_eq!(sent["tools"].as_array().unwrap().len(), 2),
        "x1-root-00" | "x1-root-12" | "y4-noarg-strict" => {
            assert!(function.get("parameters").is_none(), "{sent}");
        }
        "x1f-rf-00" => assert_eq!(sent["response_format"], json!({"type": "json_object"})),
        "y3-a-tools" => assert!(messages[1].get("content").is_none_or(Value::is_null), "{sent}"),
        "y3-u-part" => assert_eq!(messages[0]["content"], json!([{"type": "text", "text": "hi"}])),
        "z5-call-per-message" => {
            assert_eq!(messages[1]["tool_calls"].as_array().unwrap().len(), 2);
            assert_eq!(
                (&messages[2]["tool_call_id"], &messages[3]["tool_call_id"]),
                (&json!("c1"), &json!("c2"))
            );
        }
        _ => {}
    }
}

/// An upstream's answer as bytes; `None` when the report has none of this kind.
fn reply(report: &Value, streamed: bool) -> Option<Vec<u8>> {
    let reply = &report["reply"];
    let modes = report["modes"].as_array();
    let mode = if streamed { "stream" } else { "whole" };
    if modes.is_some_and(|it| !it.iter().any(|it| it == mode)) {
        return None;
    }
    if !streamed {
        let body = reply.get("json")?;
        return Some(answer("200 OK", "application/json", &[], body.to_string().as_bytes()));
    }
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    match reply.get("sse")? {
        Value::String(text) => bytes.extend(chunk(text.as_bytes())),
        events => {
            for event in events.as_array()? {
                let data = event.as_str().map_or_else(|| event.to_string(), str::to_owned);
                bytes.extend(chunk(format!("data: {data}\n\n").as_bytes()));
            }
        }
    }
    bytes.extend(b"0\r\n\r\n");
    Some(bytes)
}

/// What a client is told in the end.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// Texts and calls, and the finish reason.
    Answer {
        text: String,
        arguments: Vec<String>,
        finish: String,
    },
    Failed,
}

fn of_whole(completion: &Value) -> Outcome {
    let choice = &completion["choices"][0];
    let calls = choice["message"]["tool_calls"].as_array().into_iter().flatten();
    Outcome::Answer {
        text: choice["message"]["content"].as_str().unwrap_or_default().to_owned(),
        arguments: calls
            .map(|it| it["function"]["arguments"].as_str().unwrap_or("none").to_owned())
            .collect(),
        finish: choice["finish_reason"].as_str().unwrap_or("none").to_owned(),
    }
}

/// Of the events of a stream; nothing of a choice comes behind its finish reason, which comes once.
#[track_caller]
fn of_stream(name: &str, text: &str) -> Outcome {
    let (mut said, mut finish) = (String::new(), None);
    let mut arguments: BTreeMap<u64, String> = BTreeMap::new();
    let mut is_done = false;
    for data in text.split("\n\n").filter_map(|it| it.strip_prefix("data: ")) {
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap();
        if event.get("error").is_some() {
            assert!(!is_done, "{name}: {text}");
            return Outcome::Failed;
        }
        let Some(choice) = event["choices"].get(0) else { continue };
        let delta = &choice["delta"];
        assert!(finish.is_none(), "{name}: something comes behind the finish reason: {text}");
        said.push_str(delta["content"].as_str().unwrap_or_default());
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let more = call["function"]["arguments"].as_str().unwrap_or_default();
            arguments.entry(call["index"].as_u64().unwrap()).or_default().push_str(more);
        }
        finish = choice["finish_reason"].as_str().map(str::to_owned);
    }
    assert!(is_done, "{name}: {text}");
    Outcome::Answer { text: said, arguments: arguments.into_values().collect(), finish: finish.unwrap() }
}

#[track_caller]
fn check_outcome(name: &str, streamed: bool, outcome: &Outcome) {
    let finish = |word: &str| {
        assert!(matches!(outcome, Outcome::Answer { finish, .. } if finish == word), "{name}: {outcome:?}");
    };
    match name {
        "u01b-stop-then-call" => {
            let expected = Outcome::Answer {
                text: "let me see".to_owned(),
                arguments: vec!["{}".to_owned()],
                finish: "tool_calls".to_owned(),
            };
            assert_eq!(*outcome, expected);
        }
        "u04-no-args" => match outcome {
            Outcome::Answer { arguments, .. } => {
                assert!(
                    !arguments.is_empty() && arguments.iter().all(|it| it == "{}"),
                    "{streamed}: {outcome:?}"
                );
            }
            Outcome::Failed => panic!("{name} failed"),
        },
        "u05-0-unexpected_tool_call" | "y1-04" | "y2-stop-then-cut" => {
            assert_eq!(*outcome, Outcome::Failed, "{name}");
        }
        "y1-00" | "y1-10" => finish("content_filter"),
        _ => panic!("nothing is expected of {name} yet: {outcome:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_ends_once_and_says_why() {
    let Some(reports) = reports() else { return };
    let mut count = 0;
    for (name, report) in reports.iter().filter(|(_, it)| !it["reply"].is_null()) {
        for streamed in [false, true] {
            let Some(bytes) = reply(report, streamed) else { continue };
            count += 1;
            let mut request = report["request"].clone();
            request["stream"] = json!(streamed);

            let upstream = Upstream::start(vec![vec![Step::Write(bytes.clone())]]).await;
            let served = Served::start(&before(&upstream.url(), "vertex-gemini-3")).await;
            let got = served.complete(&request).await;
            let outcome = match got.status {
                StatusCode::OK if streamed => of_stream(name, &got.text()),
                StatusCode::OK => of_whole(&got.json()),
                status => {
                    assert_eq!(status, StatusCode::BAD_GATEWAY, "{name}: {}", got.text());
                    Outcome::Failed
                }
            };
            check_outcome(name, streamed, &outcome);

            let upstream = Upstream::start(vec![vec![Step::Write(bytes)]]).await;
            let client = Client::builder()
                .environment(Environment::of::<&str, &str>([]))
                .base_url(format!("{}/v1", upstream.url()))
                .retry(RetryPolicy::never())
                .build()
                .unwrap();
            check_outcome(name, streamed, &through_client(name, &client, &request, streamed).await);
        }
    }
    assert!(count >= 11, "{count}");
}

async fn through_client(name: &str, client: &Client, request: &Value, streamed: bool) -> Outcome {
    let request: ChatRequest = serde_json::from_value(request.clone()).unwrap();
    let answer = match streamed {
        false => client.chat(request).await.map(vertex_chat::Response::into_inner),
        true => match client.chat_stream(request).await {
            Ok(stream) => stream.collect().await.map(vertex_chat::Response::into_inner),
            Err(error) => Err(error),
        },
    };
    match answer {
        Ok(completion) => of_whole(&serde_json::to_value(&completion).unwrap()),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::Failed | ErrorKind::Truncated), "{name}: {error}");
            Outcome::Failed
        }
    }
}

#[tokio::test]
async fn a_function_has_the_clients_name_again_in_the_answer() {
    const NAME: &str = "8fb2adfa03efshell_exec";
    let call =
        |name: &str| json!({"id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}});
    let tool = json!({"type": "function", "function": {"name": NAME, "description": "d"}});
    let history = json!([{"role": "user", "content": "u"}, {"role": "assistant", "tool_calls": [call(NAME)]},
        {"role": "tool", "tool_call_id": "c1", "content": "r"}]);
    let mut request = json!({"model": "google/gemini-3-flash-preview", "messages": history, "tools": [tool],
        "tool_choice": {"type": "function", "function": {"name": NAME}}});
    let sent = sent_for(&request, false).await.unwrap();
    let new = sent["tools"][0]["function"]["name"].as_str().unwrap().to_owned();
    assert_ne!(new, NAME);
    assert_eq!(sent["tool_choice"]["function"]["name"], json!(new));
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["name"], json!(new));
    for streamed in [false, true] {
        request["stream"] = json!(streamed);
        let mut piece = call(&new);
        piece["index"] = json!(0);
        let choice = json!({"index": 0, "delta": {"role": "assistant", "tool_calls": [piece]}, "finish_reason": "tool_calls"});
        let message = json!({"role": "assistant", "tool_calls": [call(&new)]});
        let told = json!({"reply": {
            "json": {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]},
            "sse": [{"choices": [choice]}, "[DONE]"],
        }});
        let bytes = reply(&told, streamed).unwrap();
        let upstream = Upstream::start(vec![vec![Step::Write(bytes.clone())]]).await;
        let served = Served::start(&before(&upstream.url(), "vertex-gemini-3")).await;
        let got = served.complete(&request).await.text();
        assert!(got.contains(&format!("\"name\":\"{NAME}\"")) && !got.contains(&new), "{got}");

        let upstream = Upstream::start(vec![vec![Step::Write(bytes)]]).await;
        let client = Client::builder()
            .environment(Environment::of::<&str, &str>([]))
            .base_url(format!("{}/v1", upstream.url()))
            .dialect(vertex_chat::Dialect::VertexGemini3)
            .build()
            .unwrap();
        let request: ChatRequest = serde_json::from_value(request.clone()).unwrap();
        let answer = match streamed {
            false => client.chat(request).await.unwrap().into_inner(),
            true => client.chat_stream(request).await.unwrap().collect().await.unwrap().into_inner(),
        };
        assert_eq!(answer.tool_calls()[0].name(), NAME, "{streamed}");
    }
}
