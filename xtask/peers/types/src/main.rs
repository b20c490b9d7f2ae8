//! Reading and writing of bodies, by vertex-chat-types or by plain derived structs that drop what they do not name:
//! `bench-types ours|derived read|write BODY N`.

mod derived;

use serde::Serialize;
use serde::de::DeserializeOwned;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [whose, what, body, count] = arguments.as_slice() else { panic!("whose, what, body and count") };
    let count: usize = count.parse().expect("a number");
    let text = match body.as_str() {
        "request" => include_str!("../bodies/request.json"),
        "completion" => include_str!("../bodies/completion.json"),
        "chunk" => include_str!("../bodies/chunk.json"),
        "chunk_of_calls" => include_str!("../bodies/chunk_of_calls.json"),
        _ => panic!("a body"),
    };
    let read = what == "read";
    let done = match (whose.as_str(), body.as_str()) {
        ("ours", "request") => ours::<vertex_chat_types::ChatRequest>(read, text, count),
        ("ours", "completion") => ours::<vertex_chat_types::ChatCompletion>(read, text, count),
        ("ours", _) => ours::<vertex_chat_types::ChatCompletionChunk>(read, text, count),
        (_, "request") => theirs::<derived::Request>(read, text, count),
        (_, "completion") => theirs::<derived::Completion>(read, text, count),
        (_, _) => theirs::<derived::Chunk>(read, text, count),
    };
    println!("{} {done}", text.len());
}

fn ours<T: DeserializeOwned + Serialize>(read: bool, text: &str, count: usize) -> usize {
    run(read, text, count, |text| vertex_chat_types::from_str::<T>(text).expect("it is one"))
}

fn theirs<T: DeserializeOwned + Serialize>(read: bool, text: &str, count: usize) -> usize {
    run(read, text, count, |text| serde_json::from_str::<T>(text).expect("it is one"))
}

fn run<T: Serialize>(read: bool, text: &str, count: usize, parse: impl Fn(&str) -> T) -> usize {
    if read {
        return (0..count)
            .map(|_| size_of_val(std::hint::black_box(&parse(std::hint::black_box(text)))))
            .sum();
    }
    let value = parse(text);
    let mut buffer = Vec::with_capacity(2 * text.len());
    let mut written = 0;
    for _ in 0..count {
        buffer.clear();
        serde_json::to_writer(&mut buffer, std::hint::black_box(&value)).expect("it is JSON");
        written += std::hint::black_box(&buffer).len();
    }
    written
}
