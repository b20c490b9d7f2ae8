//! A question about a picture: `cargo run -p vertex-chat --example image -- gs://bucket/cat.png`
//!
//! Wants `GOOGLE_APPLICATION_CREDENTIALS`, or `OPENAI_BASE_URL` and `OPENAI_API_KEY`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use vertex_chat::{ChatRequest, Client, ContentPart, Message};

#[tokio::main]
async fn main() -> Result<(), vertex_chat::Error> {
    // An address of Cloud Storage, an https address, or the picture itself as `data:image/png;base64,…`.
    let picture = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "gs://cloud-samples-data/generative-ai/image/scones.jpg".to_owned());
    let client = Client::from_env()?;

    let question =
        Message::user([ContentPart::text("What is in this picture?"), ContentPart::image_url(picture)]);
    let answer = client.chat(ChatRequest::new("google/gemini-2.5-flash", [question])).await?;
    println!("{}", answer.text());
    Ok(())
}
