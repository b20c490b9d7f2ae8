//! A real model behind a real engine: directly by base URL, and with the emulator as its door.

use serde_json::Value;
use vertex_chat::types::{ChatRequest, Message};
use vertex_chat::{Client, Dialect};
use vertex_chat_tests::process::{Emulate, Engine, run, stderr, stdout, vertex_chat};

const PROMPT: &str = "What is the capital of France? Answer in one short sentence.";

/// A request that an engine answers the same way each time.
fn request() -> ChatRequest {
    ChatRequest::new("smollm2", [Message::user(PROMPT)])
        .with_temperature(0.0)
        .with_seed(7)
        .with_max_tokens(16)
}

#[tokio::test]
async fn a_real_model_answers_directly_whole_and_streamed() {
    let Some(engine) = Engine::start() else { return };
    let client = Client::builder().base_url(&engine.url).api_key("unused").build().unwrap();

    let whole = client.chat(request()).await.unwrap();
    let text = whole.text();
    assert!(text.contains("Paris"), "{text}");
    let tokens = whole.usage.as_ref().and_then(|it| it.completion_tokens).unwrap();
    assert!((1..=16).contains(&tokens), "{tokens}");

    let mut stream = client.chat_stream(request()).await.unwrap();
    let (mut streamed, mut chunks) = (String::new(), 0);
    while let Some(chunk) = stream.next().await {
        streamed.push_str(&chunk.unwrap().text());
        chunks += 1;
    }
    assert!(chunks > 3, "{chunks} chunks");
    assert_eq!(streamed, text);

    // llama.cpp adds timings, which no specification has: they are still there.
    assert!(whole.extra.get("timings").is_some(), "{:?}", whole.extra);
}

#[test]
#[ignore = "a real engine; cargo xtask nightly runs it"]
fn the_program_talks_to_an_engine_by_base_url() {
    let Some(engine) = Engine::start() else { return };
    let ask = |arguments: &[&str]| {
        let mut command = vertex_chat(&["chat", "--base-url", &engine.url, "--model", "smollm2"]);
        command.env("OPENAI_API_KEY", "unused").args(["--temperature", "0", "--max-tokens", "16"]);
        let output = run(command.args(arguments).arg(PROMPT), "");
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    assert!(ask(&[]).contains("Paris"));
    assert_eq!(ask(&[]), ask(&["--no-stream"]));
}

#[tokio::test]
#[ignore = "a real engine; cargo xtask nightly runs it"]
async fn behind_the_emulator_its_answers_have_the_shape_of_vertex() {
    let Some(engine) = Engine::start() else { return };
    let emulate = Emulate::start("engine", &["--engine", &engine.url]);
    let client = Client::builder()
        .location("us-central1")
        .host(&emulate.url)
        .credentials_file(&emulate.key_file)
        .build()
        .unwrap();
    let request = request().with_model("google/gemini-2.5-flash");

    let whole = client.chat(request.clone()).await.unwrap();
    assert!(whole.text().contains("Paris"), "{:?}", whole.text());
    assert_eq!(whole.model.as_deref(), Some("google/gemini-2.5-flash"));

    let mut stream = client.chat_stream(request.clone()).await.unwrap();
    let (mut text, mut usages) = (String::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        text.push_str(&chunk.text());
        let value = serde_json::to_value(&chunk).unwrap();
        for choice in value["choices"].as_array().unwrap() {
            assert_eq!(choice["delta"]["role"], "assistant", "{value}");
        }
        usages.push(value.get("usage").cloned().unwrap_or(Value::Null));
    }
    assert_eq!(text, whole.text());
    let last = usages.pop().unwrap();
    assert!(last["total_tokens"].as_u64() > Some(10), "{last}");
    assert!(usages.iter().all(Value::is_null), "{usages:?}");
    // A self-deployed endpoint has a real engine too, and speaks its dialect.
    let endpoint = Client::builder()
        .location("us-central1")
        .host(&emulate.url)
        .endpoint("1234567890123456789")
        .dialect(Dialect::Vllm)
        .credentials_file(&emulate.key_file)
        .build()
        .unwrap();
    assert!(endpoint.chat(request).await.unwrap().text().contains("Paris"));
}
