//! vertex-chat as a user would write it: `bench-ours stream|unary PORT N K`.

use vertex_chat::{ChatRequest, Client, Message};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments[i].parse::<usize>().expect("a number");
    let (port, n, k) = (number(1), number(2), number(3));
    // Vertex's own path: the whole of what a request to Gemini goes through is measured.
    let base = format!("http://127.0.0.1:{port}/v1/projects/p/locations/us-central1/endpoints/openapi");
    let base = if arguments[0] == "stream" { format!("http://127.0.0.1:{port}/{n}/{k}") } else { base };
    let client = Client::builder()
        .base_url(base)
        .dialect(vertex_chat::Dialect::VertexGemini2)
        .access_token("ya29.benchmark".to_owned())
        .build()
        .expect("a client");
    let request = || {
        ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")])
            .with_temperature(0.7)
            .with_max_tokens(256)
    };
    let mut bytes = 0;
    if arguments[0] == "stream" {
        let mut stream = client.chat_stream(request()).await.expect("a stream");
        while let Some(chunk) = stream.next().await {
            bytes += chunk.expect("a chunk").text().len();
        }
    } else {
        for _ in 0..n {
            bytes += client.chat(request()).await.expect("an answer").text().len();
        }
    }
    println!("{bytes}");
}
