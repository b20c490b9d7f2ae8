//! The spans of a call.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use vertex_chat::transport::SystemClock;
use vertex_chat::{ChatRequest, Client, Environment, Message};
use vertex_chat_emulator::{Emulator, Fault, FaultPlace, LOCATION};
use vertex_chat_tests::log::Log;

const MODEL: &str = "google/gemini-2.5-flash";

#[tokio::test]
async fn every_call_has_a_span_in_opentelemetrys_words() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let running = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let client = Client::builder()
        .environment(Environment::of::<&str, &str>([]))
        .location(LOCATION)
        .host(running.base_url())
        .credentials_json(running.service_account_json())
        .build()
        .unwrap();
    let request = || ChatRequest::new(MODEL, [Message::user("Write a story about a magic backpack.")]);
    client.chat(request()).await.unwrap();
    client.chat_stream(request()).await.unwrap().collect().await.unwrap();
    running.emulator().add_fault(Fault::at(FaultPlace::Chat).status(StatusCode::FORBIDDEN, "{}"));
    client.chat(request()).await.unwrap_err();

    let text = log.text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let spans: Vec<Value> = lines.map(|it| it["span"].clone()).filter(|it| it["name"] == "chat").collect();
    assert_eq!(spans.len(), 3, "{text}");
    for (span, stream) in spans.iter().zip([false, true, false]) {
        assert_eq!(span["gen_ai.operation.name"], "chat", "{span}");
        assert_eq!(span["gen_ai.provider.name"], "gcp.vertex_ai");
        assert_eq!(
            (&span["gen_ai.request.model"], &span["gen_ai.request.stream"]),
            (&json!(MODEL), &json!(stream))
        );
        assert_eq!(span["server.address"], "127.0.0.1");
    }
    for span in &spans[..2] {
        assert_eq!(span["gen_ai.response.finish_reasons"], "stop", "{span}");
        assert!(span["gen_ai.usage.output_tokens"].as_i64() > Some(100), "{span}");
        assert!(span["gen_ai.response.id"].is_string() && span.get("error.type").is_none(), "{span}");
    }
    assert_eq!(spans[2]["error.type"], 403, "{}", spans[2]);
}
