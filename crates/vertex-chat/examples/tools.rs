//! A tool round trip: the model asks for a call, the program makes it, the model answers with what came of it.
//! `cargo run -p vertex-chat --example tools`
//!
//! Wants `GOOGLE_APPLICATION_CREDENTIALS`, or `OPENAI_BASE_URL` and `OPENAI_API_KEY`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use serde_json::{Value, json};
use vertex_chat::{ChatRequest, Client, Message, Tool};

/// The tool: what a real program would look up.
fn get_current_weather(arguments: &Value) -> Value {
    json!({"place": arguments["place"], "celsius": 21, "sky": "clear"})
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::from_env()?;
    let weather = Tool::function("get_current_weather")
        .with_description("The weather of a place, now")
        .with_parameters(
            r#"{"type":"object","properties":{"place":{"type":"string"}},"required":["place"]}"#.parse()?,
        );
    let question = Message::user("What is the current weather in Lisbon? Use get_current_weather.");
    let mut request = ChatRequest::new("google/gemini-3-flash-preview", [question]).with_tools(vec![weather]);

    // A model may want several calls, one after the other; a program decides how many it grants.
    for _ in 0..4 {
        let answer = client.chat(request.clone()).await?;
        if answer.tool_calls().is_empty() {
            println!("{}", answer.text());
            return Ok(());
        }
        // The answer goes back as it came, thought signatures and all: Gemini 3 refuses the next turn without them.
        request.messages.extend(answer.to_message());
        for call in answer.tool_calls() {
            eprintln!("calls {}({})", call.name(), call.arguments());
            // What a model writes may be no JSON: that is the model's to mend, so it is told.
            let result = match call.parse_arguments::<Value>() {
                Ok(arguments) => get_current_weather(&arguments),
                Err(error) => json!({"error": error.to_string()}),
            };
            request.messages.push(Message::tool(call.id.clone().unwrap_or_default(), result.to_string()));
        }
    }
    Err("the model did not stop calling".into())
}
