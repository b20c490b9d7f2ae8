//! A program that calls a model: the facade, and the emulator in place of a cloud project.

use std::sync::Arc;

use vertex_chat::transport::SystemClock;
use vertex_chat::{ChatRequest, Client, Message};
use vertex_chat_emulator::{Emulator, LOCATION};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let emulator = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse()?).await?;
    let client = Client::builder()
        .location(LOCATION)
        .host(emulator.base_url())
        .credentials_json(emulator.service_account_json())
        .build()?;
    let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")]);
    let mut stream = client.chat_stream(request).await?;
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text.push_str(&chunk?.text());
    }
    assert!(text.contains("backpack"));
    println!("facade: {} bytes of story", text.len());
    emulator.stop().await;
    Ok(())
}
