//! The entry points of the fuzz targets in `tests/fuzz`, and of `tests/tests/entries.rs`. Each takes any bytes, and panics
//! when a promise is broken.

use vertex_chat_params::{Dialect, Policy, Target, prepare_json, reduce_schema};
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_types::{
    Accumulator, ApiError, ChatCompletion, ChatCompletionChunk, ChatRequest, Json, MERGED_BYTES_MAX,
    StreamEvent,
};

/// What parses is written, and parses to the same again.
///
/// # Panics
/// When it is not so.
pub fn types(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        assert!(vertex_chat_types::from_slice::<ChatRequest>(bytes).is_err());
        return;
    };
    if let Ok(request) = vertex_chat_types::from_str::<ChatRequest>(text) {
        let written = serde_json::to_string(&request).expect("a request is JSON");
        let again: ChatRequest = vertex_chat_types::from_str(&written).expect("it was written from one");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
    }
    if let Ok(completion) = vertex_chat_types::from_str::<ChatCompletion>(text) {
        let written = serde_json::to_string(&completion).expect("a completion is JSON");
        let again: ChatCompletion = vertex_chat_types::from_str(&written).expect("it was written from one");
        assert_eq!(serde_json::to_string(&again).expect("JSON"), written);
        let _ = (completion.text(), completion.to_message(), format!("{completion:?}"));
    }
    // One chunk a line, put together.
    let mut whole = Accumulator::new();
    for line in text.lines() {
        let Ok(chunk) = vertex_chat_types::from_str::<ChatCompletionChunk>(line) else { continue };
        let _ = chunk.text();
        if whole.push(chunk).is_err() {
            break;
        }
    }
    let whole = whole.into_completion();
    assert!(whole.text().len() <= MERGED_BYTES_MAX);
    serde_json::to_string(&whole).expect("a completion is JSON");
}

/// However the bytes are cut, the same comes out; and every event is read without a panic.
///
/// # Panics
/// When it is not so.
pub fn sse(bytes: &[u8]) {
    let (cut, stream) = match bytes.split_first() {
        Some((cut, stream)) => (usize::from(*cut) % (stream.len() + 1), stream),
        None => return,
    };
    let whole = decoded(&[stream]);
    let (first, second) = stream.split_at(cut);
    assert_eq!(whole, decoded(&[first, second]));
    let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(whole, decoded(&bytewise));
}

fn decoded(reads: &[&[u8]]) -> Vec<String> {
    let mut decoder = Decoder::new();
    let mut items = Vec::new();
    for read in reads {
        let mut input = *read;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Item::Event(event))) => {
                    items.push(format!("{}:{}", event.event, event.data));
                    let _ = StreamEvent::read(&event.event, &event.data);
                }
                Ok(Some(other)) => items.push(format!("{other:?}")),
                Ok(None) => break,
                Err(error) => {
                    items.push(error.to_string());
                    return items;
                }
            }
        }
    }
    items.push(format!("{:?}", decoder.finish()));
    items
}

/// A schema is reduced or refused, and a reduced one stays as it is.
///
/// # Panics
/// When it is not so.
pub fn schema(bytes: &[u8]) {
    let Ok(schema) = std::str::from_utf8(bytes).unwrap_or_default().parse::<Json>() else { return };
    for dialect in [Dialect::VertexGemini3, Dialect::GeminiDeveloper] {
        if let Ok(Some((reduced, _))) = reduce_schema(&schema, dialect) {
            let again = reduce_schema(&reduced, dialect).expect("it was reduced before");
            assert!(
                again.is_none(),
                "{} became {:?}",
                reduced.as_str(),
                again.map(|it| it.0.as_str().to_owned())
            );
        }
    }
}

/// Every body is some error, of bounded length.
///
/// # Panics
/// When it is not so.
pub fn errors(bytes: &[u8]) {
    let error = ApiError::from_body(Some(400), bytes);
    assert!(error.message().len() <= vertex_chat_types::ERROR_MESSAGE_BYTES_MAX + '…'.len_utf8());
    let _ = (error.to_string(), format!("{error:?}"), ApiError::detect(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (StreamEvent::read("", text), StreamEvent::read("error", text));
    }
}

/// What is prepared is JSON, and is not changed when it is prepared again.
///
/// # Panics
/// When it is not so.
pub fn prepare(bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let dialect = Dialect::ALL[usize::from(*choice) % Dialect::ALL.len()];
    let target = Target::new(dialect).with_policy(Policy::Drop);
    let Ok(prepared) = prepare_json(body.to_vec(), &target) else { return };
    let again = prepare_json(prepared.body().to_vec(), &target).expect("it was prepared before");
    assert_eq!(again.body(), prepared.body());
}
