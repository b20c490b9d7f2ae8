//! Every recorded exchange parses without loss.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use vertex_chat_sse::{Decoder, Item};
use vertex_chat_tests::{difference, shared};
use vertex_chat_types::{Accumulator, ApiError, ChatCompletion, ChatRequest, Choice, ModelList, StreamEvent};

struct Exchange {
    id: String,
    provider: String,
    status: u64,
    stream: bool,
    request: Option<Vec<u8>>,
    response: Option<Vec<u8>>,
}

fn corpus() -> Vec<Exchange> {
    let Some(index) = shared("corpus/index.jsonl") else { return Vec::new() };
    let folder = index.parent().expect("a folder").to_owned();
    let index = std::fs::read_to_string(&index).expect("the index");
    let read = |folder: &Path, name: &Value| {
        name.as_str().map(|name| std::fs::read(folder.join(name)).expect("a body"))
    };
    index
        .lines()
        .map(|line| {
            let entry: Value = serde_json::from_str(line).expect("a line of JSON");
            Exchange {
                id: entry["id"].as_str().expect("an id").to_owned(),
                provider: entry["provider"].as_str().unwrap_or_default().to_owned(),
                status: entry["status"].as_u64().unwrap_or(0),
                stream: entry["response"].as_str().is_some_and(|name| name.ends_with(".sse")),
                request: read(&folder, &entry["request"]),
                response: read(&folder, &entry["response"]),
            }
        })
        .collect()
}

/// A value as it is read again from its text: `serde_json::Value` does not read every double exactly, so both sides of a
/// comparison have to be read by it.
fn written(value: &impl serde::Serialize) -> Result<Value, String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Parses, writes, and compares as JSON values.
fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(body: &[u8]) -> Result<T, String> {
    let value: T = vertex_chat_types::from_slice(body).map_err(|error| error.to_string())?;
    let before: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let after = written(&value)?;
    match difference(&before, &after, "") {
        None => Ok(value),
        Some(place) => Err(format!("not the same: {place}")),
    }
}

#[test]
fn every_recorded_request_survives() {
    // What a client got wrong on purpose, and what is said about it.
    let malformed: BTreeMap<&str, &str> = [
        (
            "llamacpp-b11549/err-array-body",
            "expected a chat completion request, found an array (line 1, column 1)",
        ),
        (
            "vllm-0.32.0-cpu/err-array-body",
            "expected a chat completion request, found an array (line 1, column 1)",
        ),
        ("llamacpp-b11549/err-no-messages", "`messages`: it is missing"),
        ("vllm-0.32.0-cpu/err-path", "`messages`: it is missing"),
        ("vllm-0.32.0-cpu/err-messages-string", "`messages`: expected an array, found a string"),
        ("transformers-serve-5.19/err-messages-string", "`messages`: expected an array, found a string"),
        ("llamacpp-b11549/err-temperature-type", "`temperature`: expected a number, found a string"),
        ("vllm-0.32.0-cpu/err-not-json", "key must be a string (line 1, column 2)"),
    ]
    .into();
    let mut found = BTreeMap::new();
    let mut lost = Vec::new();
    for exchange in corpus() {
        let Some(body) = exchange.request else { continue };
        if let Err(error) = round_trip::<ChatRequest>(&body) {
            match malformed.get(exchange.id.as_str()) {
                Some(expected) if error.starts_with(expected) => {
                    found.insert(exchange.id, error);
                }
                _ => lost.push(format!("{}: {error}", exchange.id)),
            }
        }
    }
    assert!(lost.is_empty(), "{} requests are lost:\n{}", lost.len(), lost.join("\n"));
    if shared("corpus").is_some() {
        assert_eq!(found.len(), malformed.len(), "all malformed requests are found: {found:#?}");
    }
}

#[test]
fn every_recorded_answer_survives() {
    let mut lost = Vec::new();
    for exchange in corpus().iter().filter(|it| !it.stream) {
        let Some(body) = &exchange.response else { continue };
        let is_error = exchange.status >= 400 || ApiError::detect(body).is_some();
        if is_error {
            let error = ApiError::from_body(u16::try_from(exchange.status).ok(), body);
            if error.message().is_empty() && !body.is_empty() {
                lost.push(format!("{}: an error without a message: {error}", exchange.id));
            }
            continue;
        }
        let is_list = body.starts_with(br#"{"object":"list""#);
        let read = if is_list {
            round_trip::<ModelList>(body).err()
        } else {
            round_trip::<ChatCompletion>(body).err()
        };
        if let Some(error) = read {
            lost.push(format!("{}: {error}", exchange.id));
        }
    }
    // What is no answer, and what is said about it. An object without choices is read as an answer that has none, which
    // the client tells apart.
    let others: BTreeMap<&str, &str> = [
        ("llamacpp-b11549/options", "EOF while parsing a value (line 1, column 0)"),
        ("other_demo-endpoints.pydantic.workers.dev/0001", "not the same: .choices is new"),
        ("other_demo-endpoints.pydantic.workers.dev/0002", "expected value (line 1, column 1)"),
    ]
    .into();
    let told = lost.len();
    lost.retain(|line| {
        let (id, error) = line.split_once(": ").expect("an id and an error");
        !others.get(id).is_some_and(|expected| error.starts_with(expected))
    });
    if shared("corpus").is_some() {
        assert_eq!(told - lost.len(), others.len(), "all others are found: {lost:#?}");
    }
    assert!(lost.is_empty(), "{} answers are lost:\n{}", lost.len(), lost.join("\n"));
}

#[test]
fn every_recorded_stream_survives_and_merges() {
    let mut wrong = Vec::new();
    for exchange in corpus().iter().filter(|it| it.stream) {
        let Some(body) = &exchange.response else { continue };
        // The model ran into its limit in the middle of a call, and the server said `tool_calls` all the same.
        let cut_in_a_call = ["openrouter/0209", "openrouter/0214"].contains(&exchange.id.as_str());
        if let Err(error) = check_stream(body, !cut_in_a_call) {
            wrong.push(format!("{}: {error}", exchange.id));
        }
    }
    assert!(wrong.is_empty(), "{} streams are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_exchange_is_there_and_is_looked_at() {
    let Some(folder) = shared("corpus") else { return };
    let exchanges = corpus();
    assert_eq!(exchanges.len(), 1150, "in {}", folder.display());
    // Each has a request or an answer, and one of the three tests above reads each of them.
    assert!(exchanges.iter().all(|it| it.request.is_some() || it.response.is_some()));
    let streams = exchanges.iter().filter(|it| it.stream).count();
    let whole = exchanges.iter().filter(|it| !it.stream && it.response.is_some()).count();
    assert_eq!(
        (streams, whole + streams),
        (204, exchanges.iter().filter(|it| it.response.is_some()).count())
    );
}

/// What a stream adds up to, worked out from its raw JSON by other means than the accumulator's.
#[derive(Default, Debug, PartialEq)]
struct Sum {
    text: String,
    finish: Option<String>,
    arguments: usize,
    /// The names of the calls: of those that begin, each once, by id where there is one.
    names: BTreeSet<String>,
    ids: BTreeSet<String>,
}

fn check_stream(body: &[u8], calls_are_whole: bool) -> Result<(), String> {
    let mut decoder = Decoder::new();
    let mut input = body;
    let mut whole = Accumulator::new();
    let mut expected: BTreeMap<u64, Sum> = BTreeMap::new();
    let mut usage = None;
    while let Some(item) = decoder.next(&mut input).map_err(|error| error.to_string())? {
        let Item::Event(event) = item else { continue };
        match StreamEvent::read(&event.event, &event.data).map_err(|error| error.to_string())? {
            StreamEvent::Chunk(chunk) => {
                let raw: Value = serde_json::from_str(&event.data).map_err(|error| error.to_string())?;
                let after = written(&chunk)?;
                if let Some(place) = difference(&raw, &after, "") {
                    return Err(format!("a chunk is not the same: {place}"));
                }
                for choice in raw["choices"].as_array().into_iter().flatten() {
                    add(expected.entry(choice["index"].as_u64().unwrap_or(0)).or_default(), choice);
                }
                if raw["usage"].is_object() {
                    usage = Some(raw["usage"].clone());
                }
                whole.push(chunk).map_err(|error| error.to_string())?;
            }
            StreamEvent::Error(_) | StreamEvent::Done => break,
            _ => {}
        }
    }
    let completion = whole.into_completion();
    if let Some(usage) = usage {
        let merged = written(&completion.usage)?;
        if let Some(place) = difference(&usage, &merged, "usage") {
            return Err(place);
        }
    }
    for choice in &completion.choices {
        let merged = Sum {
            text: choice.text(),
            finish: choice.finish_reason.get().map(ToString::to_string),
            arguments: choice.tool_calls().iter().map(|call| call.arguments().len()).sum(),
            names: choice.tool_calls().iter().map(|call| call.name().to_owned()).collect(),
            ids: choice
                .tool_calls()
                .iter()
                .filter_map(|call| call.id.clone())
                .filter(|it| !it.is_empty())
                .collect(),
        };
        let expected = expected.remove(&choice.index.unwrap_or(0)).unwrap_or_default();
        if merged != expected {
            return Err(format!("merged to {merged:?}, not to {expected:?}"));
        }
        if calls_are_whole {
            check_calls(choice)?;
        }
    }
    if expected.is_empty() { Ok(()) } else { Err(format!("choices are missing: {:?}", expected.keys())) }
}

fn add(sum: &mut Sum, choice: &Value) {
    match &choice["delta"]["content"] {
        Value::String(text) => sum.text.push_str(text),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part["text"].as_str()).for_each(|it| sum.text.push_str(it));
        }
        _ => {}
    }
    if let Some(reason) = choice["finish_reason"].as_str() {
        sum.finish = Some(reason.to_owned());
    }
    for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
        sum.arguments += call["function"]["arguments"].as_str().map_or(0, str::len);
        let word = |it: &Value| it.as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        sum.names.extend(word(&call["function"]["name"]));
        sum.ids.extend(word(&call["id"]));
    }
}

/// Calls that were taken apart and put together rightly have one name and JSON arguments.
fn check_calls(choice: &Choice) -> Result<(), String> {
    for call in choice.tool_calls() {
        let is_json = call.arguments().is_empty() || serde_json::from_str::<Value>(call.arguments()).is_ok();
        if !is_json && choice.finish_reason == vertex_chat_types::FinishReason::ToolCalls {
            return Err(format!("the arguments of {} are not JSON", call.name()));
        }
        if call.name().is_empty() {
            return Err("a call without a name".to_owned());
        }
    }
    Ok(())
}

/// The fields that `Debug` shows as unknown, each with the type that it is in.
fn unknown_fields(shown: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in shown.match_indices(" extra: {") {
        // The type whose braces are open here.
        let mut depth = 0;
        let open = shown[..at].char_indices().rev().find(|(_, it)| {
            depth += match it {
                '}' => 1,
                '{' => -1,
                _ => 0,
            };
            depth < 0
        });
        let before = open.map_or("", |(open, _)| shown[..open].trim_end());
        let name = before.rsplit(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
        let fields = shown[at + " extra: {".len()..].split('}').next().unwrap_or_default();
        for field in fields.split(", ") {
            let key = field.split(':').next().unwrap_or_default().trim_matches('"');
            found.insert(format!("{name}.{key}"));
        }
    }
    found
}

#[test]
fn what_three_providers_share_is_no_unknown_field() {
    let mut providers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for exchange in corpus() {
        let mut shown = Vec::new();
        if let Some(Ok(request)) =
            exchange.request.as_deref().map(vertex_chat_types::from_slice::<ChatRequest>)
        {
            shown.push(format!("{request:?}"));
        }
        let body = exchange.response.unwrap_or_default();
        if exchange.stream {
            let mut decoder = Decoder::new();
            let mut input = &body[..];
            while let Ok(Some(item)) = decoder.next(&mut input) {
                let Item::Event(event) = item else { continue };
                if let Ok(StreamEvent::Chunk(chunk)) = StreamEvent::read(&event.event, &event.data) {
                    shown.push(format!("{chunk:?}"));
                }
            }
        } else if let (None, Ok(completion)) =
            (ApiError::detect(&body), vertex_chat_types::from_slice::<ChatCompletion>(&body))
        {
            shown.push(format!("{completion:?}"));
        }
        for field in shown.iter().flat_map(|it| unknown_fields(it)) {
            providers.entry(field).or_default().insert(exchange.provider.clone());
        }
    }
    let shared: Vec<String> = providers
        .iter()
        .filter(|(_, providers)| providers.len() >= 3)
        .map(|(field, providers)| format!("{field}: {providers:?}"))
        .collect();
    assert!(shared.is_empty(), "{} fields:\n{}", shared.len(), shared.join("\n"));
}
