//! What holds for every request, answer and stream, not only for those that somebody thought of.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use vertex_chat_types::{
    Accumulator, CHOICES_MAX, ChatCompletion, ChatCompletionChunk, ChatRequest, Json, MergeError,
    StreamEvent, TOOL_CALLS_MAX,
};

/// Any text, with what is hard about text in it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,12}", Just(String::new()), Just("\"\\\n\u{2028}\u{1F392}\u{0}".to_owned()), "[a-z]{1,8}",]
}

/// A double of few digits: `serde_json::Value`, which these tests compare with, reads no others exactly.
fn short_double() -> impl Strategy<Value = f64> {
    any::<i32>().prop_map(|it| f64::from(it) / 1000.0)
}

/// Any JSON value.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        short_double().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((text(), inner), 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

/// An object with some of these fields, and some that nobody knows.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let known: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            option::of(value).prop_map(move |value| value.map(|value| (name.to_owned(), value)))
        })
        .collect();
    (known, vec(("x_[a-z]{1,4}", any_json()), 0..2))
        .prop_map(|(known, unknown)| {
            Value::Object(known.into_iter().flatten().chain(unknown).collect::<Map<_, _>>())
        })
        .boxed()
}

fn with(mut object: Value, fields: &[(&str, Value)]) -> Value {
    for (name, value) in fields {
        object[*name] = value.clone();
    }
    object
}

fn words(words: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop_oneof![proptest::sample::select(words).prop_map(Value::from), text().prop_map(Value::from)].boxed()
}

fn string() -> BoxedStrategy<Value> {
    text().prop_map(Value::from).boxed()
}

fn integer() -> BoxedStrategy<Value> {
    any::<i64>().prop_map(Value::from).boxed()
}

fn count() -> BoxedStrategy<Value> {
    any::<u32>().prop_map(Value::from).boxed()
}

fn number() -> BoxedStrategy<Value> {
    prop_oneof![short_double().prop_map(Value::from), any::<i32>().prop_map(Value::from)].boxed()
}

fn boolean() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

fn list(of: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    vec(of, 0..3).prop_map(Value::from).boxed()
}

fn either(one: BoxedStrategy<Value>, other: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![one, other].boxed()
}

fn extra_content() -> BoxedStrategy<Value> {
    let google =
        object(vec![("thought", boolean()), ("thought_signature", string()), ("mime_type", string())]);
    object(vec![("google", google)])
}

fn content() -> BoxedStrategy<Value> {
    let image = object(vec![("detail", words(&["low", "high"]))]);
    let image = (image, string()).prop_map(|(object, url)| with(object, &[("url", url)])).boxed();
    let part = object(vec![
        ("type", words(&["text", "image_url", "input_audio", "file"])),
        ("text", string()),
        ("image_url", either(string(), image)),
        ("input_audio", object(vec![("data", string()), ("format", words(&["wav", "mp3"]))])),
        ("file", object(vec![("filename", string()), ("file_data", string())])),
        ("extra_content", extra_content()),
    ]);
    either(string(), list(part))
}

fn tool_call() -> BoxedStrategy<Value> {
    object(vec![
        ("id", string()),
        ("type", words(&["function", "custom"])),
        ("function", object(vec![("name", string()), ("arguments", string())])),
        ("custom", object(vec![("name", string()), ("input", string())])),
        ("index", count()),
        ("extra_content", extra_content()),
    ])
}

fn message() -> BoxedStrategy<Value> {
    let rest = object(vec![
        ("content", either(content(), Just(Value::Null).boxed())),
        ("name", string()),
        ("tool_calls", list(tool_call())),
        ("tool_call_id", string()),
        ("refusal", string()),
        ("reasoning_content", string()),
        ("extra_content", extra_content()),
    ]);
    let role = words(&["system", "user", "assistant", "tool", "developer", "function", "model"]);
    (rest, role).prop_map(|(rest, role)| with(rest, &[("role", role)])).boxed()
}

fn request() -> BoxedStrategy<Value> {
    let function =
        object(vec![("name", string()), ("parameters", any_json_but_null()), ("strict", boolean())]);
    let named = object(vec![("type", words(&["function"])), ("function", object(vec![("name", string())]))]);
    let schema = object(vec![("name", string()), ("schema", any_json_but_null()), ("strict", boolean())]);
    let google = object(vec![
        ("cached_content", string()),
        ("thinking_config", object(vec![("thinking_budget", integer()), ("include_thoughts", boolean())])),
        ("safety_settings", list(object(vec![("category", string()), ("threshold", string())]))),
        ("tools", list(any_json().boxed())),
    ]);
    let rest = object(vec![
        ("model", string()),
        ("stream", boolean()),
        ("stream_options", object(vec![("include_usage", boolean())])),
        ("temperature", number()),
        ("top_p", number()),
        ("max_tokens", integer()),
        ("n", integer()),
        ("stop", either(string(), list(string()))),
        ("seed", integer()),
        ("tools", list(object(vec![("type", words(&["function"])), ("function", function.clone())]))),
        ("tool_choice", either(words(&["auto", "none", "required", "validated"]), named)),
        ("functions", list(function)),
        ("response_format", object(vec![("type", words(&["text", "json_schema"])), ("json_schema", schema)])),
        ("reasoning_effort", words(&["low", "high"])),
        (
            "logit_bias",
            vec((text(), number()), 0..3).prop_map(|it| Value::Object(it.into_iter().collect())).boxed(),
        ),
        (
            "metadata",
            vec((text(), string()), 0..3).prop_map(|it| Value::Object(it.into_iter().collect())).boxed(),
        ),
        ("audio", object(vec![("voice", string()), ("format", words(&["wav"]))])),
        ("extra_body", object(vec![("google", google)])),
        ("user", string()),
    ]);
    (rest, list(message())).prop_map(|(rest, messages)| with(rest, &[("messages", messages)])).boxed()
}

fn any_json_but_null() -> BoxedStrategy<Value> {
    any_json().prop_filter("a null may become absent", |it| !it.is_null()).boxed()
}

fn usage() -> BoxedStrategy<Value> {
    object(vec![
        ("prompt_tokens", count()),
        ("completion_tokens", count()),
        ("total_tokens", count()),
        ("completion_tokens_details", object(vec![("reasoning_tokens", count())])),
    ])
}

fn completion() -> BoxedStrategy<Value> {
    let logprob = object(vec![
        ("token", string()),
        ("logprob", number()),
        ("bytes", list(any::<u8>().prop_map(Value::from).boxed())),
    ]);
    let message = object(vec![
        ("role", words(&["assistant", "model"])),
        ("content", either(content(), Just(Value::Null).boxed())),
        ("refusal", either(string(), Just(Value::Null).boxed())),
        ("tool_calls", list(tool_call())),
        ("reasoning_content", string()),
        ("extra_content", extra_content()),
        (
            "annotations",
            list(object(vec![
                ("type", words(&["url_citation"])),
                ("url_citation", object(vec![("url", string())])),
            ])),
        ),
    ]);
    let choice = object(vec![
        ("index", count()),
        ("message", message),
        ("finish_reason", either(words(&["stop", "length", "tool_calls"]), Just(Value::Null).boxed())),
        ("logprobs", either(object(vec![("content", list(logprob))]), Just(Value::Null).boxed())),
    ]);
    let rest = object(vec![
        ("id", string()),
        ("object", words(&["chat.completion"])),
        ("created", integer()),
        ("model", string()),
        ("usage", usage()),
        ("service_tier", words(&["default", "flex"])),
        ("system_fingerprint", string()),
    ]);
    (rest, list(choice)).prop_map(|(rest, choices)| with(rest, &[("choices", choices)])).boxed()
}

/// As a double where that is how a typed field holds it.
fn same(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Number(before), Value::Number(after)) => before == after || before.as_f64() == after.as_f64(),
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(one, other)| same(one, other))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before.iter().all(|(key, one)| after.get(key).is_some_and(|other| same(one, other)))
        }
        _ => before == after,
    }
}

/// JSON to type and back, and type to JSON and back.
fn survives<T>(value: &Value) -> Result<(), TestCaseError>
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let typed: T = vertex_chat_types::from_str(&value.to_string())
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    let written = serde_json::to_string(&typed).expect("JSON");
    let after: Value = serde_json::from_str(&written).expect("JSON");
    prop_assert!(same(value, &after), "{value}\n{after}");
    let again: T = vertex_chat_types::from_str(&written).expect("it parsed before");
    prop_assert_eq!(&typed, &again);
    // And through a format that is not text.
    let by_value: T =
        serde_json::from_value(serde_json::to_value(&typed).expect("JSON")).expect("it parsed before");
    prop_assert!(same(&serde_json::to_value(by_value).expect("JSON"), &after));
    Ok(())
}

#[test]
fn a_whole_number_is_written_without_a_point() {
    for (read, written) in
        [("1.0", "1"), ("-100", "-100"), ("0.0", "0"), ("-0.0", "-0.0"), ("1e15", "1000000000000000")]
    {
        let body = format!(r#"{{"messages":[],"temperature":{read}}}"#);
        let request: ChatRequest = vertex_chat_types::from_str(&body).unwrap();
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            format!(r#"{{"messages":[],"temperature":{written}}}"#)
        );
    }
}

proptest! {
    #[test]
    fn a_double_is_read_exactly(number in any::<f64>().prop_filter("finite", |it| it.is_finite())) {
        let body = format!(r#"{{"messages":[],"temperature":{}}}"#, serde_json::to_string(&number).unwrap());
        let request: ChatRequest = vertex_chat_types::from_str(&body).unwrap();
        prop_assert_eq!(request.temperature, Some(number));
        let written = serde_json::to_string(&request).unwrap();
        let written = written.strip_prefix(r#"{"messages":[],"temperature":"#).and_then(|it| it.strip_suffix('}'));
        prop_assert_eq!(written.unwrap().parse::<f64>().unwrap().to_bits(), number.to_bits());
    }

    #[test]
    fn any_request_survives(value in request()) {
        survives::<ChatRequest>(&value)?;
    }

    #[test]
    fn any_answer_survives(value in completion()) {
        survives::<ChatCompletion>(&value)?;
    }

    #[test]
    fn any_json_is_kept_byte_for_byte(value in any_json(), spaces in "[ \n\t]{0,3}") {
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let kept: Json = text.parse().expect("JSON");
        prop_assert_eq!(kept.as_str(), text.trim());
        let inside = format!(r#"{{"messages":[],{spaces}"x":{text}{spaces}}}"#);
        let request: ChatRequest = vertex_chat_types::from_str(&inside).expect("a request");
        prop_assert_eq!(request.extra.get("x").map(Json::as_str), Some(text.trim()));
    }

    #[test]
    fn no_text_makes_a_reader_panic_or_quote_it(noise in "(?s).{0,60}", name in "(|error|message|[a-z]{1,9})") {
        let _ = (StreamEvent::read(&name, &noise), vertex_chat_types::from_str::<ChatRequest>(&noise));
        let canary = "canary-canary";
        for wrong in [json!(canary), json!([canary]), json!({"canary-canary": 1})] {
            for field in ["messages", "temperature", "n", "tools", "stream", "logit_bias", "stop", "tool_choice"] {
                let mut body = json!({"messages": []});
                body[field] = wrong.clone();
                if let Err(error) = vertex_chat_types::from_str::<ChatRequest>(&body.to_string()) {
                    let said = error.to_string();
                    prop_assert!(!said.contains("canary") || wrong.is_object(), "{said}");
                    prop_assert!(error.path().starts_with(field), "{said}");
                }
            }
        }
    }
}

/// A completion as a server gives it, in parts that streams carry.
fn streamable() -> BoxedStrategy<Value> {
    let call = (
        text().prop_filter("an id", |it| !it.is_empty()),
        "[a-z_]{1,8}",
        any_json(),
        option::of("[A-Za-z0-9+/]{1,8}"),
    );
    let choice =
        (option::of(text()), vec(call, 0..3), option::of(text()), words(&["stop", "length", "tool_calls"]));
    (vec(choice, 1..3), text(), usage())
        .prop_map(|(choices, model, usage)| {
            let choices: Vec<Value> = choices
                .into_iter()
                .enumerate()
                .map(|(index, (text, calls, thoughts, finish))| {
                    let calls: Vec<Value> = calls
                        .into_iter()
                        .enumerate()
                        .map(|(place, (id, name, arguments, signature))| {
                            let function = json!({"name": name, "arguments": arguments.to_string()});
                            let mut call = json!({"id": format!("{id}-{place}"), "type": "function", "function": function});
                            if let Some(signature) = signature {
                                call["extra_content"] = json!({"google": {"thought_signature": signature}});
                            }
                            call
                        })
                        .collect();
                    let mut message = json!({"role": "assistant", "content": text});
                    if let Some(thoughts) = thoughts {
                        message["reasoning_content"] = json!(thoughts);
                    }
                    if !calls.is_empty() {
                        message["tool_calls"] = json!(calls);
                    }
                    json!({"index": index, "message": message, "finish_reason": finish})
                })
                .collect();
            json!({"id": "id", "object": "chat.completion", "created": 7, "model": format!("m{model}"), "choices": choices, "usage": usage})
        })
        .boxed()
}

/// Text in pieces of random length; at least one.
fn pieces(text: &str, cuts: &mut impl Iterator<Item = usize>) -> Vec<String> {
    let mut rest: &str = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let wanted = cuts.next().unwrap_or(1) % 5 + 1;
        let end = rest.char_indices().nth(wanted).map_or(rest.len(), |(end, _)| end);
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    if pieces.is_empty() { vec![String::new()] } else { pieces }
}

/// How a server behaves that cuts an answer into chunks.
#[derive(Clone, Copy, Debug)]
struct Habits {
    index: bool,
    repeats_id: bool,
    repeats_role: bool,
    usage_alone: bool,
}

/// The deltas of one choice, in order.
fn deltas(message: &Value, habits: Habits, cuts: &mut impl Iterator<Item = usize>) -> Vec<Value> {
    let mut deltas = vec![json!({"role": "assistant"})];
    if let Some(thoughts) = message["reasoning_content"].as_str() {
        deltas.extend(pieces(thoughts, cuts).into_iter().map(|it| json!({"reasoning_content": it})));
    }
    match message["content"].as_str() {
        Some(text) => deltas.extend(pieces(text, cuts).into_iter().map(|it| json!({"content": it}))),
        None => deltas.push(json!({"content": null})),
    }
    for (place, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
        let arguments = pieces(call["function"]["arguments"].as_str().unwrap_or_default(), cuts);
        for (i, part) in arguments.into_iter().enumerate() {
            let mut piece = json!({"function": {"arguments": part}});
            if habits.index {
                piece["index"] = json!(place);
            }
            if i == 0 {
                piece = json!({"id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": part}});
                if let Some(extra) = call.get("extra_content") {
                    piece["extra_content"] = extra.clone();
                }
                if habits.index {
                    piece["index"] = json!(place);
                }
            } else if habits.repeats_id {
                piece["id"] = call["id"].clone();
                piece["function"]["name"] = call["function"]["name"].clone();
            }
            deltas.push(json!({"tool_calls": [piece]}));
        }
    }
    if habits.repeats_role {
        for delta in &mut deltas {
            delta["role"] = json!("assistant");
        }
    }
    deltas
}

proptest! {
    #[test]
    fn a_completion_cut_in_any_way_merges_back_to_itself(
        completion in streamable(),
        cuts in vec(any::<usize>(), 1..64),
        turns in vec(any::<usize>(), 1..64),
        (index, repeats_id, repeats_role, usage_alone) in any::<(bool, bool, bool, bool)>(),
    ) {
        // Without an index a piece can only be told by its id, or by standing next to its call.
        let habits = Habits { index, repeats_id, repeats_role, usage_alone };
        let mut cuts = cuts.into_iter().cycle();
        let mut queues: Vec<(u64, Vec<Value>, Value)> = completion["choices"].as_array().unwrap().iter().map(|choice| {
            let mut deltas = deltas(&choice["message"], habits, &mut cuts);
            deltas.reverse();
            (choice["index"].as_u64().unwrap(), deltas, choice["finish_reason"].clone())
        }).collect();
        let head = json!({"id": "id", "object": "chat.completion.chunk", "created": 7, "model": completion["model"]});
        let mut chunks = Vec::new();
        let mut turns = turns.into_iter().cycle();
        while !queues.is_empty() {
            let turn = turns.next().unwrap() % queues.len();
            let (number, deltas, finish) = &mut queues[turn];
            let mut chunk = head.clone();
            let delta = deltas.pop().unwrap_or_else(|| json!({}));
            chunk["choices"] = json!([{"index": number, "delta": delta}]);
            if deltas.is_empty() {
                chunk["choices"][0]["finish_reason"] = finish.clone();
                queues.remove(turn);
            }
            chunks.push(chunk);
        }
        if habits.usage_alone {
            chunks.push(with(head, &[("choices", json!([])), ("usage", completion["usage"].clone())]));
        } else {
            chunks.last_mut().unwrap()["usage"] = completion["usage"].clone();
        }

        let mut whole = Accumulator::new();
        for chunk in chunks {
            let chunk: ChatCompletionChunk = vertex_chat_types::from_str(&chunk.to_string()).unwrap();
            whole.push(chunk).unwrap();
        }
        prop_assert!(whole.is_finished());
        let merged = serde_json::to_value(whole.into_completion()).unwrap();
        prop_assert!(same(&completion, &merged), "{completion}\n{merged}");
    }

    #[test]
    fn the_accumulator_takes_any_chunks_and_stays_within_its_limits(
        chunks in vec(vec((any::<u64>(), any::<Option<u8>>(), option::of("[ab]?"), text()), 0..4), 0..40),
    ) {
        let mut whole = Accumulator::new();
        for pieces in chunks {
            let choices: Vec<Value> = pieces.into_iter().map(|(choice, index, id, text)| json!({
                "index": choice % 3,
                "delta": {"content": text, "tool_calls": [{"index": index, "id": id, "function": {"name": text, "arguments": text}}]},
            })).collect();
            let chunk: ChatCompletionChunk = vertex_chat_types::from_str(&json!({"choices": choices}).to_string()).unwrap();
            let _ = whole.push(chunk);
        }
        let completion = whole.into_completion();
        prop_assert!(completion.choices.len() <= CHOICES_MAX);
        for choice in &completion.choices {
            prop_assert!(choice.tool_calls().len() <= TOOL_CALLS_MAX);
        }
    }
}

fn chunk_of(choices: &Value) -> ChatCompletionChunk {
    vertex_chat_types::from_str(&json!({"choices": choices}).to_string()).unwrap()
}

#[test]
fn choices_and_calls_are_taken_up_to_their_limits_and_no_further() {
    let mut whole = Accumulator::new();
    for index in 0..CHOICES_MAX {
        whole.push(chunk_of(&json!([{"index": index, "delta": {}}]))).unwrap();
    }
    let one_more = chunk_of(&json!([{"index": 3_000_000, "delta": {}}]));
    assert_eq!(whole.push(one_more), Err(MergeError::TooManyChoices));

    let mut whole = Accumulator::new();
    let call = |id: usize| {
        chunk_of(&json!([{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": id.to_string()}]}}]))
    };
    for id in 0..TOOL_CALLS_MAX {
        whole.push(call(id)).unwrap();
    }
    assert_eq!(whole.push(call(TOOL_CALLS_MAX)), Err(MergeError::TooManyToolCalls));
}

#[test]
fn text_is_taken_up_to_its_limit_and_no_further() {
    let megabyte = "x".repeat(1 << 20);
    let text = || chunk_of(&json!([{"index": 0, "delta": {"content": megabyte}}]));
    let mut whole = Accumulator::new();
    for _ in 0..vertex_chat_types::MERGED_BYTES_MAX >> 20 {
        whole.push(text()).unwrap();
    }
    assert_eq!(whole.push(chunk_of(&json!([{"delta": {"content": "x"}}]))), Err(MergeError::TooLarge));
}
