//! A story that appears as it is told: `cargo run -p vertex-chat --example stream`
//!
//! Wants `GOOGLE_APPLICATION_CREDENTIALS`, or `OPENAI_BASE_URL` and `OPENAI_API_KEY`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use std::io::Write;

use vertex_chat::{Accumulator, ChatRequest, Client, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::from_env()?;
    let request =
        ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")]);

    let mut stream = client.chat_stream(request).await?;
    let mut whole = Accumulator::new();
    while let Some(chunk) = stream.next().await {
        // An error here, such as a connection that breaks off, is the last item: half a story is no story.
        let chunk = chunk?;
        print!("{}", chunk.text());
        std::io::stdout().flush()?;
        whole.push(chunk)?;
    }
    println!();

    let completion = whole.into_completion();
    let reason = completion.choices.first().and_then(|choice| choice.finish_reason.get());
    eprintln!("ended because of {}", reason.map_or("nothing", |reason| reason.as_str()));
    Ok(())
}
