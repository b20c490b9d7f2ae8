//! A model of one's own on an endpoint: `cargo run -p vertex-chat --example endpoint -- ENDPOINT_ID [HOST]`
//!
//! HOST is the host of a dedicated endpoint. Wants `GOOGLE_APPLICATION_CREDENTIALS` and `GOOGLE_CLOUD_LOCATION`;
//! `vertex-chat endpoints` lists the ids.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a terminal")]

use vertex_chat::{ChatRequest, Client, Dialect, Message};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).ok_or("which endpoint? see `vertex-chat endpoints`")?;
    let mut builder = Client::builder().endpoint(endpoint).dialect(Dialect::Vllm);
    if let Some(host) = std::env::args().nth(2) {
        builder = builder.host(host);
    }
    let client = builder.build()?;

    // The endpoint knows its model; `top_k` is vLLM's own.
    let messages = [Message::user("Write a story about a magic backpack.")];
    let request = ChatRequest::without_model(messages).with_max_tokens(256).with_extra("top_k", 40);
    let mut stream = client.chat_stream(request).await?;
    while let Some(chunk) = stream.next().await {
        print!("{}", chunk?.text());
    }
    println!();
    Ok(())
}
