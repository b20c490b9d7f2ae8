//! What servers do, and what becomes of it.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vertex_chat_types::{
    Accumulator, ChatCompletion, ChatCompletionChunk, ChatRequest, ContentPart, Delta, ExtraContent,
    FinishReason, ImageUrl, Json, Message, Nullable, Role, StreamEvent, Tool, ToolCall, ToolChoice,
};

fn merge(deltas: &[Value]) -> ChatCompletion {
    let mut whole = Accumulator::new();
    for delta in deltas {
        let chunk = json!({"choices": [{"index": 0, "delta": delta}]});
        whole.push(vertex_chat_types::from_str::<ChatCompletionChunk>(&chunk.to_string()).unwrap()).unwrap();
    }
    whole.into_completion()
}

#[track_caller]
fn check_calls(deltas: &[Value], expected: &[(&str, &str, &str)]) {
    let deltas: Vec<Value> = deltas.iter().map(|calls| json!({"tool_calls": calls})).collect();
    let completion = merge(&deltas);
    let calls: Vec<_> = completion
        .tool_calls()
        .iter()
        .map(|call| (call.id.as_deref().unwrap_or_default(), call.name(), call.arguments()))
        .collect();
    assert_eq!(calls, expected);
    assert!(completion.tool_calls().iter().all(|call| call.index.is_none()), "no position is left");
}

fn piece(index: impl Into<Value>, id: &str, name: &str, arguments: &str) -> Value {
    let mut piece = json!({"function": {"arguments": arguments}});
    let index = index.into();
    if !index.is_null() {
        piece["index"] = index;
    }
    if !id.is_empty() {
        piece["id"] = json!(id);
    }
    if !name.is_empty() {
        piece["function"]["name"] = json!(name);
    }
    json!([piece])
}

#[test]
fn calls_are_told_apart_by_id_where_there_is_one() {
    check_calls(
        &[
            piece(1, "a", "f", ""),
            piece(0, "a", "f", "{\"x\":"),
            piece(0, "a", "f", "1}"),
            piece(0, "b", "g", ""),
            piece(1, "b", "g", "{}"),
        ],
        &[("a", "f", "{\"x\":1}"), ("b", "g", "{}")],
    );
}

#[test]
fn calls_are_told_apart_by_index_where_there_is_no_id() {
    check_calls(
        &[
            piece(0, "a", "f", ""),
            piece(1, "b", "g", ""),
            piece(0, "", "", "1"),
            piece(1, "", "", "2"),
            piece(0, "", "", "3"),
        ],
        &[("a", "f", "13"), ("b", "g", "2")],
    );
}

#[test]
fn an_id_that_several_calls_share_does_not_make_them_one() {
    check_calls(
        &[piece(0, "0", "get_a", "{\"i\":0}"), piece(1, "0", "get_b", "{\"i\":1}")],
        &[("0", "get_a", "{\"i\":0}"), ("0", "get_b", "{\"i\":1}")],
    );
}

#[test]
fn a_new_id_for_every_piece_does_not_make_every_piece_a_call() {
    check_calls(
        &[piece(0, "a", "f", ""), piece(0, "b", "", "{\"x\""), piece(0, "c", "", ":1}")],
        &[("a", "f", "{\"x\":1}")],
    );
}

#[test]
fn two_named_calls_of_one_delta_are_two() {
    let both =
        json!([{"function": {"name": "get_time"}}, {"function": {"name": "get_date", "arguments": ""}}]);
    check_calls(&[both], &[("", "get_time", "{}"), ("", "get_date", "{}")]);
}

#[test]
fn a_message_is_a_thought_only_when_all_of_it_is() {
    let thought = |text: &str| json!({"content": text, "extra_content": {"google": {"thought": true}}});
    let is_thought = |deltas: &[Value]| {
        let message = merge(deltas).to_message().unwrap();
        message.extra_content.and_then(|it| it.google).and_then(|it| it.thought)
    };
    assert_eq!(is_thought(&[thought("hm"), thought("m")]), Some(true));
    assert_eq!(is_thought(&[thought("<thought>hm"), json!({"content": "</thought>yes"})]), None);
    assert_eq!(is_thought(&[json!({"content": "yes"}), thought("hm")]), None);
    let signature = json!({"content": "", "extra_content": {"google": {"thought_signature": "c2ln"}}});
    assert_eq!(is_thought(&[thought("hm"), signature]), Some(true));
}

#[test]
fn an_event_that_calls_itself_an_error_is_one() {
    for data in [r#"{"message":"the engine died","type":"server"}"#, "the engine died"] {
        let read = StreamEvent::read("error", data).unwrap();
        assert!(
            matches!(&read, StreamEvent::Error(error) if error.message() == "the engine died"),
            "{read:?}"
        );
    }
    for (event_type, data) in [("ping", "ping"), ("heartbeat", "1700000000"), ("ping", "{}")] {
        assert!(matches!(StreamEvent::read(event_type, data), Ok(StreamEvent::Nothing)), "{event_type}");
    }
    assert!(StreamEvent::read("", "ping").is_err());
}

#[test]
fn all_text_of_a_delta_is_shown() {
    let parts = json!({"choices": [{"delta": {"content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}}]});
    let chunk: ChatCompletionChunk = vertex_chat_types::from_str(&parts.to_string()).unwrap();
    assert_eq!(chunk.text(), "one two");
}

#[test]
fn an_odd_count_does_not_lose_the_answer() {
    let body = json!({"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": -1}, "metadata": {"n": 1}});
    let completion: ChatCompletion = vertex_chat_types::from_str(&body.to_string()).unwrap();
    assert_eq!((completion.text().as_str(), &completion.usage, &completion.metadata), ("hi", &None, &None));
    assert_eq!(serde_json::to_value(&completion).unwrap(), body);
}

#[test]
fn thoughts_with_ids_of_their_own_stay_apart() {
    let detail = |id: &str, index: Option<u64>, data: &str| {
        let mut detail = json!({"type": "reasoning.encrypted", "id": id, "data": data});
        if let Some(index) = index {
            detail["index"] = json!(index);
        }
        json!({"reasoning_details": [detail]})
    };
    let data = |deltas: &[Value]| -> Vec<String> {
        let message = merge(deltas).choices.remove(0).message.unwrap();
        message.reasoning_details.unwrap().into_iter().map(|it| it.data.unwrap()).collect()
    };
    assert_eq!(data(&[detail("1", None, "QUJD"), detail("2", None, "REVG")]), ["QUJD", "REVG"]);
    let by_index = [detail("1", Some(0), "a"), detail("2", Some(1), "b"), detail("1", Some(0), "c")];
    assert_eq!(data(&by_index), ["ac", "b"]);
}

#[test]
fn an_odd_count_does_not_stand_beside_a_good_one() {
    let mut whole = Accumulator::new();
    for usage in [json!({"prompt_tokens": -1}), json!({"prompt_tokens": 1}), json!("odd")] {
        let chunk = json!({"choices": [], "usage": usage}).to_string();
        whole.push(vertex_chat_types::from_str::<ChatCompletionChunk>(&chunk).unwrap()).unwrap();
    }
    let written = serde_json::to_string(&whole.into_completion()).unwrap();
    assert_eq!(written, r#"{"choices":[],"usage":{"prompt_tokens":1}}"#);
}

#[test]
fn of_an_odd_and_a_good_count_the_last_counts() {
    let (odd, good) = (r#""usage":"odd""#, r#""usage":{"total_tokens":3}"#);
    for (first, last, counts) in [(odd, good, true), (good, odd, false)] {
        let completion: ChatCompletion =
            vertex_chat_types::from_str(&format!(r#"{{"choices":[],{first},{last}}}"#)).unwrap();
        assert_eq!(completion.usage.is_some(), counts);
        assert_eq!(serde_json::to_string(&completion).unwrap(), format!(r#"{{"choices":[],{last}}}"#));
    }
}

#[test]
fn the_signature_of_a_picture_goes_back() {
    let body = json!({"choices": [{"message": {"content": null, "audio": {"data": "cGljdHVyZQ==",
        "extra_content": {"google": {"mime_type": "image/png", "thought_signature": "c2ln"}}}}}]});
    let completion: ChatCompletion = vertex_chat_types::from_str(&body.to_string()).unwrap();
    let message = serde_json::to_value(completion.to_message().unwrap()).unwrap();
    assert_eq!(message["audio"]["extra_content"]["google"]["thought_signature"], "c2ln");
    assert_eq!(message["audio"].get("data"), None);
}

#[test]
fn a_field_that_is_repeated_counts_once() {
    let large = "x".repeat(1 << 20);
    let deltas: Vec<Value> = (0..70).map(|_| json!({"content": "a", "search_results": large})).collect();
    assert_eq!(merge(&deltas).text().len(), 70);
}

#[test]
fn names_and_log_probabilities_count_too() {
    let large = "x".repeat(1 << 20);
    for field in ["name", "logprobs", "parts"] {
        let mut whole = Accumulator::new();
        let refused = (0..70).find_map(|i| {
            let choice = match field {
                "name" => json!({"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": format!("{i}{large}")}}]}}),
                "logprobs" => json!({"logprobs": {"content": [{"token": large}]}}),
                _ => json!({"delta": {"content": [{"type": "file", "file": {"file_data": large}}]}}),
            };
            let chunk = json!({"choices": [choice]});
            whole.push(vertex_chat_types::from_str::<ChatCompletionChunk>(&chunk.to_string()).unwrap()).err()
        });
        assert_eq!(refused, Some(vertex_chat_types::MergeError::TooLarge), "{field}");
    }
}

#[test]
fn a_new_id_at_an_old_index_opens_a_new_call() {
    check_calls(&[piece(0, "a", "f", "{}"), piece(0, "b", "f", "{}")], &[("a", "f", "{}"), ("b", "f", "{}")]);
}

#[test]
fn without_id_and_index_order_decides() {
    check_calls(
        &[
            piece(Value::Null, "", "f", "{\"a\""),
            piece(Value::Null, "", "", ":1}"),
            piece(Value::Null, "", "f", "{}"),
        ],
        &[("", "f", "{\"a\":1}"), ("", "f", "{}")],
    );
}

#[test]
fn an_id_that_comes_late_belongs_to_the_call_that_waited_for_it() {
    check_calls(&[piece(0, "", "f", "{"), piece(0, "a", "", "}")], &[("a", "f", "{}")]);
}

#[test]
fn a_name_is_set_when_it_is_repeated_and_joined_when_it_is_cut() {
    check_calls(&[piece(0, "a", "f", "1"), piece(0, "a", "f", "2")], &[("a", "f", "12")]);
    check_calls(&[piece(0, "a", "get_", ""), piece(0, "a", "weather", "")], &[("a", "get_weather", "{}")]);
    check_calls(
        &[piece(0, "a", "get_", ""), piece(0, "a", "get_weather", "")],
        &[("a", "get_weather", "{}")],
    );
}

#[test]
fn a_signature_at_the_end_is_kept_and_an_empty_one_takes_nothing_back() {
    let signed = |signature: &str| json!({"extra_content": {"google": {"thought_signature": signature}}});
    let completion = merge(&[json!({"content": "text"}), signed("abc"), signed("")]);
    let message = completion.to_message().unwrap();
    assert_eq!(message.extra_content, Some(ExtraContent::thought_signature("abc")));
    assert_eq!(message.content.get().map(vertex_chat_types::Content::text).as_deref(), Some("text"));
}

#[test]
fn thoughts_in_parts_and_answers_in_text_come_together() {
    let thinking = json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]});
    let completion =
        merge(&[json!({"content": ""}), thinking, json!({"content": "An"}), json!({"content": "swer"})]);
    assert_eq!(completion.text(), "Answer");
    assert_eq!(completion.choices[0].message.as_ref().unwrap().content.get().unwrap().parts().len(), 2);
}

#[test]
fn the_next_turn_carries_calls_and_signatures_back() {
    let answer: ChatCompletion = vertex_chat_types::from_str(
        r#"{"choices":[{"index":0,"finish_reason":"tool_calls","message":{"content":null,"refusal":null,"annotations":[],
            "tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{}"},
            "extra_content":{"google":{"thought_signature":"sig"}}}],"vendor":{"a":1.50}}}]}"#,
    )
    .unwrap();
    let message = serde_json::to_string(&answer.to_message()).unwrap();
    assert_eq!(
        message,
        r#"{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"sig"}}}],"vendor":{"a":1.50}}"#
    );
}

#[test]
fn an_answer_of_nothing_is_still_a_message() {
    let answer: ChatCompletion =
        vertex_chat_types::from_str(r#"{"choices":[{"finish_reason":"length"}]}"#).unwrap();
    assert_eq!(serde_json::to_string(&answer.to_message()).unwrap(), r#"{"role":"assistant","content":""}"#);
    assert_eq!(ChatCompletion::default().to_message(), None);
}

#[test]
fn words_that_nobody_knows_come_back_as_they_were() {
    for word in ["malformed_function_call", "", "eos", "STOP", "Stop "] {
        let text = format!(r#"{{"choices":[{{"finish_reason":{}}}]}}"#, Json::from(word).as_str());
        let answer: ChatCompletion = vertex_chat_types::from_str(&text).unwrap();
        let reason = answer.choices[0].finish_reason.get().unwrap();
        assert!(matches!(reason, FinishReason::Other(_)) && *reason == word);
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    }
    assert_eq!(Role::from("user"), Role::User);
}

#[test]
fn null_and_absent_are_two_things_where_the_schema_says_so() {
    let check = |text: &str| {
        let answer: ChatCompletion = vertex_chat_types::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    };
    check(
        r#"{"choices":[{"message":{"content":null,"refusal":null},"finish_reason":null,"logprobs":null}]}"#,
    );
    check(r#"{"choices":[{"message":{}}]}"#);
    check(r#"{"choices":[{"logprobs":{"content":null,"refusal":null}}]}"#);
    assert!(Nullable::<String>::Null.is_null() && Nullable::<String>::default().is_absent());
}

#[test]
fn the_last_of_two_fields_counts_and_unknown_ones_are_all_kept() {
    let request: ChatRequest =
        vertex_chat_types::from_str(r#"{"messages":[],"n":1,"x":1,"n":2,"x":2}"#).unwrap();
    assert_eq!((request.n, request.extra.get("x").unwrap().as_str()), (Some(2), "2"));
    assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"messages":[],"n":2,"x":1,"x":2}"#);
}

#[test]
fn whole_numbers_come_as_doubles_too() {
    let request: ChatRequest =
        vertex_chat_types::from_str(r#"{"messages":[],"max_tokens":1e3,"seed":-5.0}"#).unwrap();
    assert_eq!((request.max_tokens, request.seed), (Some(1000), Some(-5)));
    for (wrong, found) in [
        ("1.5", "a fraction"),
        ("1e30", "a fraction or a number beyond"),
        ("18446744073709551615", "a larger number"),
    ] {
        let body = format!(r#"{{"messages":[],"seed":{wrong}}}"#);
        let error = vertex_chat_types::from_str::<ChatRequest>(&body).unwrap_err();
        assert!(error.message().contains(found), "{error}");
    }
}

#[test]
fn both_forms_of_a_picture_are_kept() {
    for (text, bare) in [(r#""gs://b/o""#, true), (r#"{"url":"gs://b/o","detail":"low"}"#, false)] {
        let body = format!(r#"{{"type":"image_url","image_url":{text}}}"#);
        let part: ContentPart = vertex_chat_types::from_str(&body).unwrap();
        let image = part.image_url.as_ref().unwrap();
        assert_eq!((image.url(), matches!(image, ImageUrl::Bare(_))), ("gs://b/o", bare));
        assert_eq!(serde_json::to_string(&part).unwrap(), body);
    }
}

/// A server's own request around ours, with serde's derive: the buffer behind `flatten` must not be the end of it.
#[derive(Deserialize, Serialize)]
struct Around {
    tenant: String,
    #[serde(flatten)]
    request: ChatRequest,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOf {
    Request(Box<ChatRequest>),
}

#[test]
fn a_request_can_be_flattened_into_somebody_elses_struct() {
    let body = json!({
        "tenant": "t", "messages": [{"role": "user", "content": "hi", "own": [1, {"a": null}]}], "vendor": {"z": 1.5, "a": "b"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    });
    let around: Around = serde_json::from_str(&body.to_string()).unwrap();
    assert_eq!(around.request.messages.len(), 1);
    assert_eq!(around.request.extra.get("vendor").unwrap().parse_as::<Value>().unwrap(), body["vendor"]);
    assert_eq!(serde_json::to_value(&around).unwrap(), body);
    let OneOf::Request(request) = serde_json::from_str(&body.to_string()).unwrap();
    assert_eq!(
        request.tools.unwrap()[0].function.as_ref().unwrap().parameters.as_ref().unwrap().as_str(),
        r#"{"type":"object"}"#
    );
}

#[test]
fn debug_shows_shape_and_length_but_no_text() {
    let canary = "canary";
    let request = ChatRequest::new(
        "model",
        [
            Message::system(canary),
            Message::user([
                ContentPart::text(canary),
                ContentPart::image_url(format!("data:image/png;base64,{canary}")),
            ]),
            Message::assistant("")
                .with_tool_calls(vec![ToolCall::function("id", "f", canary)])
                .with_reasoning_content(canary),
            Message::tool("id", canary),
        ],
    )
    .with_user(canary)
    .with_stop(canary)
    .with_tools(vec![Tool::function("f").with_description(canary).with_parameters(Json::from(canary))])
    .with_tool_choice(ToolChoice::function("f"))
    .with_extra("vendor", canary);
    let answer =
        merge(&[json!({"content": canary, "refusal": canary, "reasoning": canary, "vendor": canary})]);
    let event =
        StreamEvent::read("", &json!({"choices": [{"delta": {"content": canary}}]}).to_string()).unwrap();
    let shown = format!("{request:?}{request:#?}{answer:?}{event:?}{:?}", Delta::text(canary));
    assert!(!shown.contains(canary), "{shown}");
    assert!(
        shown.contains("<6 bytes>") && shown.contains("vendor") && shown.contains("\"model\""),
        "{shown}"
    );
}

#[test]
fn what_an_event_says() {
    let read = |event: &str, data: &str| match StreamEvent::read(event, data) {
        Ok(StreamEvent::Chunk(_)) => "chunk",
        Ok(StreamEvent::Done) => "done",
        Ok(StreamEvent::Error(_)) => "error",
        Ok(StreamEvent::Nothing) => "nothing",
        Ok(_) => "something new",
        Err(_) => "unreadable",
    };
    assert_eq!(read("", r#"{"choices":[{"delta":{}}]}"#), "chunk");
    assert_eq!(read("", r#"{"choices":[],"usage":{"total_tokens":1}}"#), "chunk");
    assert_eq!(read("", r#"{"choices":[],"prompt_filter_results":[]}"#), "chunk");
    assert_eq!(read("", " [DONE] "), "done");
    assert_eq!(read("", r#"{"error":{"message":"m"}}"#), "error");
    assert_eq!(read("", r#"[{"error":{"code":499,"message":"m","status":"CANCELLED"}}]"#), "error");
    assert_eq!(read("error", r#"{"error":{"message":"m"}}"#), "error");
    assert_eq!(read("", r#"{"object":"error","message":"m","code":400}"#), "error");
    assert_eq!(read("", r#"{"choices":[{"delta":{}}],"error":{"message":"m"}}"#), "error");
    assert_eq!(read("ping", r#"{"type":"ping"}"#), "nothing");
    assert_eq!(read("ping", "not json"), "nothing");
    assert_eq!(read("message", "not json"), "unreadable");
    assert_eq!(read("", ""), "nothing");
    assert_eq!(read("", r#"{"choices":[{"delta":{"content":"\ud83d"}}]}"#), "unreadable");
    assert_eq!(read("", r#"{"choices":5}"#), "unreadable");
    assert_eq!(read("", "5"), "unreadable");
}
