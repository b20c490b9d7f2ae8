//! The least that a client can do: hyper, a splitter at blank lines, derived structs that drop what they do not name.
//! `bench-floor stream|unary PORT N K`.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Serialize)]
struct Ask<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    temperature: f64,
    max_tokens: u32,
    stream: bool,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    #[allow(dead_code)]
    id: Option<String>,
    #[allow(dead_code)]
    model: Option<String>,
    #[allow(dead_code)]
    created: Option<u64>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Text>,
    message: Option<Text>,
    #[allow(dead_code)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Text {
    content: Option<String>,
    #[allow(dead_code)]
    role: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments[i].parse::<usize>().expect("a number");
    let (port, n, k) = (number(1), number(2), number(3));
    let stream = arguments[0] == "stream";
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let mut bytes = 0;
    for _ in 0..if stream { 1 } else { n } {
        let ask = Ask {
            model: "google/gemini-2.5-flash",
            messages: [Message { role: "user", content: "Write a story about a magic backpack." }],
            temperature: 0.7,
            max_tokens: 256,
            stream,
        };
        let request = Request::post(format!("http://127.0.0.1:{port}/{n}/{k}/chat/completions"))
            .header("content-type", "application/json")
            .header("authorization", "Bearer ya29.benchmark")
            .body(Full::new(Bytes::from(serde_json::to_vec(&ask).expect("JSON"))))
            .expect("a request");
        let response = client.request(request).await.expect("an answer");
        let mut body = response.into_body();
        if !stream {
            let whole = body.collect().await.expect("a body").to_bytes();
            let answer: Answer = serde_json::from_slice(&whole).expect("JSON");
            bytes +=
                answer.choices[0].message.as_ref().and_then(|it| it.content.as_ref()).map_or(0, String::len);
            continue;
        }
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.expect("a frame").into_data() else { continue };
            buffer.extend_from_slice(&data);
            let mut start = 0;
            while let Some(end) = memchr::memmem::find(&buffer[start..], b"\n\n") {
                let event = std::str::from_utf8(&buffer[start..start + end]).expect("UTF-8");
                start += end + 2;
                let Some(data) = event.strip_prefix("data: ").filter(|data| *data != "[DONE]") else {
                    continue;
                };
                let answer: Answer = serde_json::from_str(data).expect("JSON");
                bytes += answer.choices[0]
                    .delta
                    .as_ref()
                    .and_then(|it| it.content.as_ref())
                    .map_or(0, String::len);
            }
            buffer.drain(..start);
        }
    }
    println!("{bytes}");
}
