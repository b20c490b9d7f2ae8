//! The cases of the event stream vectors, each in every way that a network may cut it.

use serde_json::Value;
use vertex_chat::ErrorKind;
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_tests::upstream::{Step, Upstream, chunk, chunked_head};
use vertex_chat_tests::{base64, shared_json};
use vertex_chat_types::Accumulator;

fn cases(level: &str) -> Vec<Value> {
    let Some(vectors) = shared_json("vectors/sse-cases.json") else { return Vec::new() };
    let cases: Vec<Value> = vectors["cases"].as_array().expect("cases").clone();
    assert_eq!(cases.len(), 55, "all cases are there");
    cases.into_iter().filter(|case| case["level"] == level || level.is_empty()).collect()
}

fn chunks(case: &Value) -> Vec<Vec<u8>> {
    let chunks = case["chunks_b64"].as_array().expect("chunks");
    chunks.iter().map(|chunk| base64(chunk.as_str().expect("base64"))).collect()
}

/// The events of bytes in these pieces, in the form of the vectors.
fn decode(pieces: &[&[u8]]) -> Value {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(item) = decoder.next(&mut input).expect("no case is too large") {
            if let Item::Event(event) = item {
                let name = if event.event.is_empty() { "message" } else { &event.event };
                events.push(serde_json::json!({"event": name, "data": event.data, "lastEventId": event.last_event_id}));
            }
        }
    }
    serde_json::json!({"events": events, "retry": decoder.retry(), "lastEventId": decoder.last_event_id()})
}

#[test]
fn every_case_gives_its_events_however_it_is_cut() {
    for case in cases("") {
        let id = case["id"].as_str().expect("an id");
        let chunks = chunks(&case);
        let whole = chunks.concat();
        let expected = &case["expected"];
        let as_sent: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
        assert_eq!(&decode(&as_sent), expected, "{id} as sent");
        assert_eq!(case["rechunk_invariant"], true, "{id}");
        assert_eq!(&decode(&[&whole]), expected, "{id} in one piece");
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(&decode(&bytes), expected, "{id} byte by byte");
        for cut in 0..=whole.len() {
            let (first, second) = whole.split_at(cut);
            assert_eq!(&decode(&[first, second]), expected, "{id} cut at {cut}");
        }
    }
}

/// A case of the chat level, read by the real client from a real socket.
async fn read(pieces: &[Vec<u8>]) -> Value {
    let mut script = vec![Step::Write(chunked_head("200 OK", "text/event-stream"))];
    script.extend(pieces.iter().map(|piece| Step::Write(chunk(piece))));
    script.push(Step::Write(b"0\r\n\r\n".to_vec()));
    let upstream = Upstream::start(vec![script]).await;
    let client =
        vertex_chat::Client::builder().base_url(upstream.url()).anonymous().build().expect("a client");
    let request = vertex_chat::ChatRequest::new("m", [vertex_chat::Message::user("hi")]);
    let mut stream = client.chat_stream(request).await.expect("a stream");
    let mut whole = Accumulator::new();
    let outcome = loop {
        match stream.next().await {
            None => break "complete".to_owned(),
            Some(Ok(chunk)) => whole.push(chunk).expect("no case is too large"),
            Some(Err(error)) => {
                assert!(stream.next().await.is_none(), "an error is the last item");
                break match error.kind() {
                    ErrorKind::Truncated => "truncated".to_owned(),
                    ErrorKind::NoChoices => "empty".to_owned(),
                    ErrorKind::Api => format!("error: {}", error.api_error().expect("its words").message()),
                    _ => "error".to_owned(),
                };
            }
        }
    };
    let completion = serde_json::to_value(whole.into_completion()).expect("JSON");
    serde_json::json!({"outcome": outcome, "completion": completion})
}

/// Compares what was read with what the case says a client must report.
fn check(id: &str, case: &Value, read: &Value) {
    let expected = &case["chat"];
    let outcome = read["outcome"].as_str().expect("an outcome");
    let word = outcome.split(':').next().unwrap_or_default();
    match &expected["outcome"] {
        Value::String(only) => assert_eq!(word, only, "{id}: {outcome}"),
        Value::Array(any) => assert!(any.iter().any(|it| it == word), "{id}: {outcome}"),
        other => panic!("{id}: {other}"),
    }
    // Of the cases that leave it open, this crate has decided: an error in the text is an error.
    if ["chat-bare-json-error", "chat-surrogates"].contains(&id) {
        assert_eq!(word, "error", "{id}");
    }
    if let Some(message) = expected["error_message"].as_str() {
        assert_eq!(outcome, format!("error: {message}"), "{id}");
    }
    let choices = &read["completion"]["choices"];
    for wanted in expected["choices"].as_array().into_iter().flatten() {
        let index = usize::try_from(wanted["index"].as_u64().expect("an index")).expect("small");
        assert_eq!(choices[index]["message"]["content"], wanted["text"], "{id}");
        assert_eq!(choices[index]["finish_reason"], wanted["finish_reason"], "{id}");
    }
    if let Some(text) = expected["text"].as_str() {
        let read = choices[0]["message"]["content"].as_str().unwrap_or_default();
        assert!(read == text || word == "error" && text.starts_with(read), "{id}: {read:?} is not {text:?}");
    }
    if word == "complete" && !expected["finish_reason"].is_null() {
        assert_eq!(choices[0]["finish_reason"], expected["finish_reason"], "{id}");
    }
    if expected.get("usage").is_some() {
        assert_eq!(read["completion"]["usage"], expected["usage"], "{id}");
    }
    if let Some(calls) = expected["tool_calls"].as_array() {
        let read: Vec<Value> = choices[0]["message"]["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|call| {
                let id = call["id"].as_str().unwrap_or_default();
                serde_json::json!({"id": id, "name": call["function"]["name"], "arguments": call["function"]["arguments"]})
            })
            .collect();
        assert_eq!(&read, calls, "{id}");
    }
}

#[tokio::test]
async fn the_client_reports_what_every_chat_case_says() {
    for case in cases("chat") {
        let id = case["id"].as_str().expect("an id");
        check(id, &case, &read(&chunks(&case)).await);
        check(id, &case, &read(&[chunks(&case).concat()]).await);
    }
}
