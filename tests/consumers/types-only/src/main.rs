//! A program that speaks the protocol and has no HTTP stack: it depends on the types and on nothing else of ours.

use vertex_chat_types::{ChatCompletion, ChatRequest, Message};

fn main() {
    let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("hello")]).with_extra("vendor", 1);
    let body = serde_json::to_string(&request).expect("JSON");
    assert_eq!(body, r#"{"model":"google/gemini-2.5-flash","messages":[{"role":"user","content":"hello"}],"vendor":1}"#);

    let answer: ChatCompletion = vertex_chat_types::from_str(
        r#"{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"something_new"}]}"#,
    )
    .expect("an answer");
    assert_eq!(answer.text(), "hi");
    println!("types only: {body}");
}
