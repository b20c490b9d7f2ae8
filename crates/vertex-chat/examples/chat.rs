//! A question and its answer: `cargo run -p vertex-chat --example chat -- "Why is the sky blue?"`
//!
//! Wants `GOOGLE_APPLICATION_CREDENTIALS`, or `OPENAI_BASE_URL` and `OPENAI_API_KEY`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use vertex_chat::{ChatRequest, Client, Message};

#[tokio::main]
async fn main() -> Result<(), vertex_chat::Error> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "Why is the sky blue?".to_owned());
    let client = Client::from_env()?;

    let messages = [Message::system("Answer in one sentence."), Message::user(question)];
    let request =
        ChatRequest::new("google/gemini-2.5-flash", messages).with_temperature(0.2).with_user("somebody");
    let answer = client.chat(request).await?;

    println!("{}", answer.text());
    if let Some(usage) = &answer.usage {
        eprintln!("{} tokens in all", usage.total_tokens.unwrap_or(0));
    }
    // What the server does not take was left out, and said so: here `user`.
    eprintln!("{}", answer.meta().report());
    Ok(())
}
