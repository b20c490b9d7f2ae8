//! async-openai as its documentation writes it: `bench-async-openai stream|unary PORT N K`.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use futures_util::StreamExt;

fn request() -> CreateChatCompletionRequest {
    let message = ChatCompletionRequestUserMessageArgs::default()
        .content("Write a story about a magic backpack.")
        .build()
        .expect("a message");
    CreateChatCompletionRequestArgs::default()
        .model("google/gemini-2.5-flash")
        .temperature(0.7)
        .max_tokens(256_u32)
        .messages([message.into()])
        .build()
        .expect("a request")
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments[i].parse::<usize>().expect("a number");
    let (port, n, k) = (number(1), number(2), number(3));
    let config = OpenAIConfig::new()
        .with_api_base(format!("http://127.0.0.1:{port}/{n}/{k}"))
        .with_api_key("ya29.benchmark");
    let client = Client::with_config(config);
    let mut bytes = 0;
    if arguments[0] == "stream" {
        let mut stream = client.chat().create_stream(request()).await.expect("a stream");
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("a chunk");
            bytes += chunk
                .choices
                .first()
                .and_then(|choice| choice.delta.content.as_deref())
                .unwrap_or_default()
                .len();
        }
    } else {
        for _ in 0..n {
            let answer = client.chat().create(request()).await.expect("an answer");
            bytes += answer.choices[0].message.content.as_deref().unwrap_or_default().len();
        }
    }
    println!("{bytes}");
}
