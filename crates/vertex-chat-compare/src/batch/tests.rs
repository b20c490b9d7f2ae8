//! Lines as they are written and read.

use proptest::prelude::*;
use serde_json::{Value, json};
use vertex_chat::{ChatRequest, Message};

use super::*;
use crate::record::ResultLine;

const GEMINI_2: &str = "google/gemini-2.5-flash";
const GEMINI_3: &str = "google/gemini-3-flash-preview";
const LLAMA: &str = "meta/llama-3.3-70b-instruct-maas";

fn request(json: &Value) -> ChatRequest {
    vertex_chat::types::from_str(&json.to_string()).unwrap()
}

/// A request of one short message, and these fields beside it.
fn with(fields: &Value) -> ChatRequest {
    let mut all = json!({"messages": [{"role": "user", "content": "hello"}]});
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request(&all)
}

fn exported(model: &str, request: &ChatRequest) -> (Value, Vec<String>) {
    let exported = export(BatchForm::Gemini, model, 7, request).unwrap();
    assert!(!exported.line.contains('\n'));
    let line: Value = serde_json::from_str(&exported.line).unwrap();
    (line["request"].clone(), exported.changes)
}

fn refused(model: &str, request: &ChatRequest) -> BatchError {
    let form = BatchForm::of(model).unwrap();
    export(form, model, 7, request).unwrap_err()
}

/// A line of Gemini's output to a line of the input.
fn answer_to(line: &str, response: &Value) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    json!({
        "status": "", "processed_time": "2026-09-02T20:06:30.166+00:00",
        "custom_id": line["custom_id"], "request": line["request"], "response": response,
    })
    .to_string()
}

fn says(text: &str) -> Value {
    json!({
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "avgLogprobs": -0.5}],
        "modelVersion": "gemini-2.5-flash", "responseId": "r1",
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3, "totalTokenCount": 8},
    })
}

/// Reads one answer of Gemini's to a request of no interest.
fn read(response: &Value) -> ResultLine {
    let request = with(&json!({}));
    let line = export(BatchForm::Gemini, GEMINI_2, 0, &request).unwrap().line;
    let mut importer = Importer::new(BatchForm::Gemini, GEMINI_2, [(0, request)]).unwrap();
    importer.read(&answer_to(&line, response)).unwrap().result
}

#[test]
fn models_tell_the_form() {
    let check = |model: &str, form| assert_eq!(BatchForm::of(model).ok(), form, "{model}");
    check(GEMINI_2, Some(BatchForm::Gemini));
    check("gemini-3-pro-preview", Some(BatchForm::Gemini));
    check(LLAMA, Some(BatchForm::OpenAi));
    check("openai/gpt-oss-120b-maas", Some(BatchForm::OpenAi));
    check("deepseek-ai/deepseek-v3.1-maas", Some(BatchForm::OpenAi));
    check("anthropic/claude-sonnet-4-5", None);
    check("mistralai/mistral-small-2503", None);
    check("my-model", None);
    check("", None);
    assert!(BatchForm::of("anthropic/claude-sonnet-4-5").unwrap_err().to_string().contains("Claude"));
}

#[test]
fn a_short_request_is_a_short_line() {
    let exported = export(BatchForm::Gemini, GEMINI_2, 12, &with(&json!({}))).unwrap();
    let line: Value = serde_json::from_str(&exported.line).unwrap();
    assert_eq!(line["request"], json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}));
    assert!(line["custom_id"].as_str().unwrap().starts_with("vertex-chat-12-"));
    assert_eq!(exported.changes, Vec::<String>::new());
}

#[test]
fn parameters_have_their_place() {
    let (native, changes) = exported(
        GEMINI_2,
        &with(&json!({
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "max_tokens": 100, "n": 2, "stop": "END", "seed": 42,
            "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": true, "top_logprobs": 3,
            "reasoning_effort": "medium", "modalities": ["text"], "parallel_tool_calls": true,
            "extra_body": {"google": {
                "safety_settings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"}],
                "media_resolution": "low",
            }},
        })),
    );
    assert_eq!(
        native["generationConfig"],
        json!({
            "temperature": 0.5, "topP": 0.9, "topK": 40, "candidateCount": 2, "maxOutputTokens": 100,
            "stopSequences": ["END"], "seed": 42, "presencePenalty": 0.1, "frequencyPenalty": 0.2,
            "responseLogprobs": true, "logprobs": 3, "thinkingConfig": {"thinkingBudget": 8192},
            "responseModalities": ["TEXT"], "mediaResolution": "MEDIA_RESOLUTION_LOW",
        })
    );
    assert_eq!(
        native["safetySettings"],
        json!([{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"}])
    );
    assert_eq!(changes, Vec::<String>::new());
}

#[test]
fn what_has_no_word_is_told() {
    let (_, changes) = exported(
        GEMINI_2,
        &with(&json!({
            "stream": true, "stream_options": {"include_usage": true}, "user": "u", "parallel_tool_calls": false,
            "min_p": 0.1, "logit_bias": {"1": 2}, "metadata": {"a": "b"}, "tool_choice": "auto", "verbosity": "low",
            "extra_body": {"other": 1, "google": {"thought_tag_marker": "think", "new": 1}},
        })),
    );
    let mut fields: Vec<&str> = changes.iter().filter_map(|it| it.split('`').nth(1)).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "extra_body.google.new",
            "extra_body.google.thought_tag_marker",
            "extra_body.other",
            "logit_bias",
            "metadata",
            "min_p",
            "parallel_tool_calls",
            "stream",
            "stream_options",
            "tool_choice",
            "user",
            "verbosity",
        ]
    );
    let is_told = |it: &String| it.starts_with("dropped `") || it.starts_with("rewrote `tool_choice`");
    assert!(changes.iter().all(is_told), "{changes:?}");
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    let check = |fields: Value, field: &str| {
        let error = refused(GEMINI_2, &with(&fields));
        assert_eq!(error.field(), field, "{error}");
        assert!(!error.to_string().contains('\n'));
    };
    check(json!({"functions": [{"name": "f"}]}), "functions");
    check(json!({"function_call": "auto"}), "function_call");
    check(json!({"modalities": ["text", "audio"]}), "modalities");
    check(json!({"audio": {"voice": "alloy", "format": "wav"}}), "audio");
    check(json!({"seed": 5_000_000_000_u64}), "seed");
    check(json!({"top_k": "many"}), "top_k");
    check(json!({"web_search_options": {}}), "web_search_options");
    check(json!({"tools": [{"type": "custom", "custom": {"name": "f"}}]}), "tools[0]");
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    check(json!({"tools": tools, "tool_choice": "sometimes"}), "tool_choice");
    check(json!({"tools": tools, "tool_choice": {"type": "custom", "custom": {"name": "f"}}}), "tool_choice");
    check(json!({"reasoning_effort": "invented"}), "reasoning_effort");
    check(
        json!({"extra_body": {"google": {"cached_content": "projects/p"}}}),
        "extra_body.google.cached_content",
    );
    check(json!({"extra_body": {"google": {"tools": ["googleSearch"]}}}), "extra_body.google.tools[0]");
    check(
        json!({"extra_body": {"google": {"tools": [{"googleSearch": {}}]}}}),
        "request.tools[0].googleSearch",
    );
    check(json!({"messages": []}), "messages");
    check(json!({"messages": [{"role": "judge", "content": "s"}]}), "messages[0].role");
    check(json!({"messages": [{"role": "tool", "tool_call_id": "x", "content": "s"}]}), "messages");
    check(
        json!({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]}),
        "messages[0].content[0]",
    );
    check(
        json!({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}),
        "messages[0].content[0]",
    );
    check(
        json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
            "function": {"name": "f", "arguments": "[1]"}}]}]}),
        "messages[0].tool_calls[0].function.arguments",
    );
    check(
        json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
            "function": {"name": "f", "arguments": "{\"a\":{}}"}}]}]}),
        "request.contents[1].parts[0].functionCall.args.a",
    );
}

#[test]
fn a_conversation_with_tools_keeps_order_and_signatures() {
    let (native, changes) = exported(
        GEMINI_3,
        &request(&json!({
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
                {"role": "user", "content": "Weather in Paris and Rome?"},
                {"role": "assistant", "content": "Let me see.", "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\n\"city\": \"Paris\"}"},
                     "extra_content": {"google": {"thought_signature": "c2ln"}}},
                    {"id": "b", "type": "function", "function": {"name": "now", "arguments": ""}},
                ]},
                {"role": "tool", "tool_call_id": "b", "content": "12:00"},
                {"role": "tool", "tool_call_id": "a", "content": "{\"sun\":[[1]]}"},
                {"role": "user", "content": "And?"},
                {"role": "user", "content": "Well?"},
                {"role": "assistant", "content": null, "extra_content": {"google": {"thought_signature": "bGFzdA=="}}},
                {"role": "assistant", "refusal": "No."},
            ],
            "tools": [
                {"type": "function", "function": {"name": "weather", "strict": true, "parameters":
                    {"type": "object", "properties": {"city": {"type": "string"}, "more": {"type": "object", "properties": {}}}}}},
                {"type": "function", "function": {"name": "now", "description": "The time",
                    "parameters": {"type": "object", "properties": {}}}},
            ],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "reasoning_effort": "low",
        })),
    );
    assert_eq!(native["systemInstruction"], json!({"parts": [{"text": "Be short."}, {"text": "Be kind."}]}));
    assert_eq!(
        native["contents"],
        json!([
            {"role": "user", "parts": [{"text": "Weather in Paris and Rome?"}]},
            {"role": "model", "parts": [
                {"text": "Let me see."},
                {"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "now"}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"output": "{\"sun\":[[1]]}"}}},
                {"functionResponse": {"name": "now", "response": {"output": "12:00"}}},
            ]},
            {"role": "user", "parts": [{"text": "And?"}, {"text": "Well?"}]},
            {"role": "model", "parts": [{"text": "", "thoughtSignature": "bGFzdA=="}, {"text": "No."}]},
        ])
    );
    assert_eq!(
        native["tools"],
        json!([{"functionDeclarations": [
            {"name": "weather", "parameters": {"type": "object", "properties": {
                "city": {"type": "string"}, "more": {"type": "object"}}}},
            {"name": "now", "description": "The time"},
        ]}])
    );
    assert_eq!(
        native["toolConfig"],
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}})
    );
    assert_eq!(native["generationConfig"], json!({"thinkingConfig": {"thinkingLevel": "LOW"}}));
    let told = |what: &str| assert!(changes.iter().any(|it| it.contains(what)), "{what}: {changes:#?}");
    told("tools[0].function.strict");
    told("tools[0].function.parameters`: objects without fields");
    told("tool results were put in the order of their calls");
}

#[test]
fn media_are_inline_or_by_address() {
    let message = json!({"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}},
        {"type": "image_url", "image_url": "gs://bucket/cat.jpg"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "CCCC"}},
        {"type": "text", "text": "What is it?"},
    ]});
    let request = request(&json!({"messages": [message]}));
    let rest = json!([
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://bucket/cat.jpg"}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://example.com/a.pdf"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "BBBB"}},
        {"inlineData": {"mimeType": "text/plain", "data": "CCCC"}},
        {"text": "What is it?"},
    ]);
    let (native, _) = exported(GEMINI_3, &request);
    let parts = native["contents"][0]["parts"].as_array().unwrap();
    assert_eq!(
        parts[0],
        json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}})
    );
    assert_eq!(json!(parts[1..]), rest);
    // Gemini 2 looks at all media of a request in one way.
    let (native, _) = exported(GEMINI_2, &request);
    assert_eq!(
        native["contents"][0]["parts"][0],
        json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    );
    assert_eq!(native["generationConfig"], json!({"mediaResolution": "MEDIA_RESOLUTION_HIGH"}));
}

#[test]
fn the_type_of_data_stands_before_it() {
    let message = json!({"role": "user", "content": [
        {"type": "image_url", "image_url": "data:image/png;base64,AAAA"}, {"type": "text", "text": "?"}]});
    let line =
        export(BatchForm::Gemini, GEMINI_2, 0, &request(&json!({"messages": [message]}))).unwrap().line;
    assert!(line.contains(r#"{"inlineData":{"mimeType":"image/png","data":"AAAA"}}"#), "{line}");
}

#[test]
fn what_a_tool_brings_stands_in_its_answer_or_beside_it() {
    let request = request(&json!({"messages": [
        {"role": "user", "content": "Show it"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "show", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "c2ln"}}}]},
        {"role": "tool", "tool_call_id": "a", "content": "{\"image\":\"dress.jpg\"}", "extra_content": {"google": {"parts": [
            {"file_data": {"mime_type": "image/jpeg", "display_name": "dress.jpg", "file_uri": "gs://b/dress.jpg"}}]}}},
    ]}));
    let file = json!({"fileData": {"mimeType": "image/jpeg", "displayName": "dress.jpg", "fileUri": "gs://b/dress.jpg"}});
    let (native, _) = exported(GEMINI_3, &request);
    let response = json!({"name": "show", "response": {"image": "dress.jpg"}, "parts": [file]});
    assert_eq!(native["contents"][2]["parts"], json!([{"functionResponse": response}]));
    let (native, _) = exported(GEMINI_2, &request);
    let response = json!({"name": "show", "response": {"image": "dress.jpg"}});
    assert_eq!(native["contents"][2]["parts"], json!([{"functionResponse": response}, file]));
}

#[test]
fn schemas_are_reduced_and_keep_their_order() {
    let request = with(
        &json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true}}}),
    );
    let mut request = request;
    let schema = r##"{
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"z": {"type": ["string", "null"]}, "a": {"$ref": "#/$defs/A"}},
        "$defs": {"A": {"type": "object", "properties": {}}}
    }"##;
    request.response_format.as_mut().unwrap().json_schema.as_mut().unwrap().schema =
        Some(schema.parse().unwrap());
    let exported = export(BatchForm::Gemini, GEMINI_2, 0, &request).unwrap();
    let expected = concat!(
        r#""generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"object","properties":"#,
        r#"{"z":{"type":"string","nullable":true},"a":{"type":"object"}}}}"#,
    );
    assert!(exported.line.contains(expected), "{}", exported.line);
    assert!(exported.changes.iter().any(|it| it.contains("json_schema.strict")));
}

#[test]
fn a_schema_that_is_no_row_is_refused() {
    let mut schema = json!({"type": "string"});
    for _ in 0..8 {
        schema = json!({"type": "object", "properties": {"a": schema}});
    }
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    let error = refused(GEMINI_2, &with(&json!({"response_format": format})));
    assert!(error.field().starts_with("request.generationConfig.responseSchema.properties.a."), "{error}");
    let schema = json!({"type": "object", "properties": {"a/b": {"type": "string"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    let error = refused(GEMINI_2, &with(&json!({"response_format": format})));
    assert_eq!(error.field(), "request.generationConfig.responseSchema.properties");
}

#[test]
fn thinking_has_the_words_of_the_generation() {
    let check = |model: &str, effort: &str, expected: Value| {
        let (native, _) = exported(model, &with(&json!({"reasoning_effort": effort})));
        assert_eq!(native["generationConfig"]["thinkingConfig"], expected, "{model} {effort}");
    };
    check(GEMINI_2, "none", json!({"thinkingBudget": 0}));
    check(GEMINI_2, "low", json!({"thinkingBudget": 1024}));
    check(GEMINI_2, "high", json!({"thinkingBudget": 24576}));
    check(GEMINI_3, "minimal", json!({"thinkingLevel": "MINIMAL"}));
    check("google/gemini-3.1-pro-preview", "minimal", json!({"thinkingLevel": "LOW"}));
    check(GEMINI_3, "high", json!({"thinkingLevel": "HIGH"}));
    check(GEMINI_3, "none", json!({"thinkingLevel": "MINIMAL"}));
    let config = json!({"extra_body": {"google": {"thinking_config": {"include_thoughts": true, "thinkingBudget": 5}}}});
    let (native, _) = exported(GEMINI_2, &with(&config));
    assert_eq!(
        native["generationConfig"]["thinkingConfig"],
        json!({"includeThoughts": true, "thinkingBudget": 5})
    );
}

#[test]
fn an_answer_of_the_documented_form_is_read() {
    let result = read(&json!({
        "candidates": [{
            "avgLogprobs": -0.57,
            "content": {"parts": [{"text": "Thinking…", "thought": true}, {"text": "A ", "thoughtSignature": "c2ln"}, {"text": "zoo."}], "role": "model"},
            "finishReason": "STOP",
        }],
        "modelVersion": "gemini-2.0-flash-001@default",
        "responseId": "abc",
        "usageMetadata": {
            "promptTokenCount": 29180, "candidatesTokenCount": 36, "thoughtsTokenCount": 100, "totalTokenCount": 29316,
            "cachedContentTokenCount": 1000, "trafficType": "ON_DEMAND",
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 7}],
        },
    }));
    assert_eq!(result.content.as_deref(), Some("A zoo."));
    assert_eq!(result.finish_reason.as_deref(), Some("stop"));
    assert_eq!(result.model.as_deref(), Some("gemini-2.0-flash-001@default"));
    assert_eq!(result.request_id.as_deref(), Some("abc"));
    assert_eq!((result.status, result.error, result.attempts), (Some(200), None, 1));
    let usage: vertex_chat::Usage = result.usage.unwrap().parse_as().unwrap();
    assert_eq!(
        (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens),
        (Some(29180), Some(36), Some(29316))
    );
    assert_eq!(usage.reasoning_tokens(), 100);
    let details = usage.prompt_tokens_details.unwrap();
    assert_eq!((details.cached_tokens, details.audio_tokens), (Some(1000), Some(7)));
}

#[test]
fn calls_are_read_with_their_arguments_as_they_came() {
    let response = r#"{"candidates":[{"content":{"parts":[
        {"functionCall":{"name":"b","args":{"z":1.10,"a":2}}},{"functionCall":{"name":"c"}},{"inlineData":{"data":"AAAA"}}]},
        "finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":"5","totalTokenCount":9.0}}"#;
    let request = with(&json!({}));
    let line = export(BatchForm::Gemini, GEMINI_2, 0, &request).unwrap().line;
    let id: Value = serde_json::from_str(&line).unwrap();
    let mut importer = Importer::new(BatchForm::Gemini, GEMINI_2, [(0, request)]).unwrap();
    let answer = format!(r#"{{"custom_id":{},"response":{response}}}"#, id["custom_id"]);
    let result = importer.read(&answer).unwrap().result;
    let calls: Vec<_> = result.calls.iter().map(|it| (it.name.as_str(), it.arguments.as_str())).collect();
    assert_eq!(calls, [("b", r#"{"z":1.10,"a":2}"#), ("c", "{}")]);
    assert_eq!(result.finish_reason.as_deref(), Some("tool_calls"));
    assert_eq!(result.content, None);
    assert_eq!(result.changes, ["dropped `inlineData` of the answer: results hold text and calls"]);
    let usage: vertex_chat::Usage = result.usage.unwrap().parse_as().unwrap();
    assert_eq!((usage.prompt_tokens, usage.total_tokens), (Some(5), Some(9)));
}

#[test]
fn reasons_to_end_are_openais() {
    let check = |reason: &str, expected: &str| {
        let result = read(&json!({"candidates": [{"finishReason": reason, "finishMessage": "why"}]}));
        assert_eq!(result.finish_reason.as_deref(), Some(expected), "{reason}");
        assert_eq!(result.refusal.is_some(), expected == "content_filter", "{reason}");
    };
    check("STOP", "stop");
    check("MAX_TOKENS", "length");
    check("SAFETY", "content_filter");
    check("RECITATION", "content_filter");
    check("SOMETHING_NEW", "stop");
    let blocked = read(&json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}));
    assert_eq!(blocked.finish_reason.as_deref(), Some("content_filter"));
    assert_eq!(blocked.refusal.as_deref(), Some("PROHIBITED_CONTENT"));
    let malformed = read(&json!({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}));
    assert_eq!(malformed.error.unwrap().kind, "malformed_function_call");
}

#[test]
fn rows_that_failed_say_why() {
    let check = |row: Value, kind: &str, status: Option<u16>, message: &str| {
        let request = with(&json!({}));
        let line = export(BatchForm::Gemini, GEMINI_2, 0, &request).unwrap().line;
        let mut importer = Importer::new(BatchForm::Gemini, GEMINI_2, [(0, request)]).unwrap();
        let mut whole: Value = serde_json::from_str(&line).unwrap();
        whole.as_object_mut().unwrap().extend(row.as_object().unwrap().clone());
        let result = importer.read(&whole.to_string()).unwrap().result;
        let error = result.error.unwrap();
        assert_eq!((error.kind.as_str(), result.status), (kind, status), "{row}");
        assert_eq!(error.message, message);
        assert_eq!(importer.missing(), Vec::<u64>::new());
    };
    let documented = r#"Bad Request: {"error": {"code": 400, "message": "Please use a valid role: user, model.", "status": "INVALID_ARGUMENT"}}"#;
    check(
        json!({"status": documented, "response": {}}),
        "http_400",
        Some(400),
        "Please use a valid role: user, model.",
    );
    check(json!({"status": documented}), "http_400", Some(400), "Please use a valid role: user, model.");
    check(
        json!({"status": "ERROR", "error": {"code": 429, "message": "Quota"}}),
        "rate_limited",
        Some(429),
        "Quota",
    );
    check(
        json!({"status": r#"{"code": 8, "message": "Full", "status": "RESOURCE_EXHAUSTED"}"#}),
        "batch_resource_exhausted",
        None,
        "Full",
    );
    check(json!({"response": {"error": {"code": 503, "message": "Busy"}}}), "http_503", Some(503), "Busy");
    check(json!({"status": "Deadline exceeded"}), "batch_failed", None, "Deadline exceeded");
    check(json!({"status": {"code": 13, "message": "Oops"}}), "batch_code_13", None, "Oops");
    check(
        json!({"status": "", "response": null}),
        "batch_failed",
        None,
        "the row has neither an answer nor a reason",
    );
    check(
        json!({"response": {"candidates": 5}}),
        "unreadable",
        None,
        "the answer cannot be read: invalid type: integer, expected a sequence (line 1, column 15)",
    );
}

#[test]
fn open_models_are_asked_and_read_in_openais_form() {
    let request = with(&json!({"max_tokens": 5, "stream": true, "temperature": 0.5}));
    let exported = export(BatchForm::OpenAi, LLAMA, 3, &request).unwrap();
    let line: Value = serde_json::from_str(&exported.line).unwrap();
    assert_eq!(line["method"], "POST");
    assert_eq!(line["url"], "/v1/chat/completions");
    assert_eq!(
        line["body"],
        json!({"model": LLAMA, "messages": [{"role": "user", "content": "hello"}], "temperature": 0.5, "max_tokens": 5})
    );
    assert_eq!(exported.changes, ["dropped `stream`: a batch job has no streams"]);

    let completion = json!({
        "id": "c1", "object": "chat.completion", "model": "llama-3.3-70b-instruct-maas",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi", "refusal": null,
            "tool_calls": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": "{ }"}}]}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    });
    let check = |row: Value| {
        let mut importer = Importer::new(BatchForm::OpenAi, LLAMA, [(3, request.clone())]).unwrap();
        importer.read(&row.to_string()).unwrap().result
    };
    let id = &line["custom_id"];
    for row in [
        json!({"id": "b1", "custom_id": id, "response": {"status_code": 200, "request_id": "r", "body": completion}, "error": null}),
        json!({"custom_id": id, "body": line["body"], "response": completion}),
        json!({"body": line["body"], "response": completion}),
        json!({"request": line, "response": completion.to_string()}),
    ] {
        let result = check(row);
        assert_eq!((result.request, result.status, result.error), (3, Some(200), None));
        assert_eq!((result.content.as_deref(), result.finish_reason.as_deref()), (Some("Hi"), Some("stop")));
        assert_eq!(result.calls[0].arguments, "{ }");
        assert_eq!(
            (result.model.as_deref(), result.request_id.as_deref()),
            Some("llama-3.3-70b-instruct-maas").zip(Some("c1")).map(|(a, b)| (Some(a), Some(b))).unwrap()
        );
        assert!(result.usage.unwrap().as_str().contains("\"total_tokens\":6"));
    }
    let failed = |row: Value| {
        let result = check(row);
        (result.error.unwrap().kind, result.status)
    };
    let error = json!({"error": {"message": "Slow down", "code": "rate_limit_exceeded"}});
    assert_eq!(
        failed(json!({"custom_id": id, "response": {"status_code": 429, "body": error}, "error": null})),
        ("rate_limited".to_owned(), Some(429))
    );
    assert_eq!(
        failed(
            json!({"custom_id": id, "response": null, "error": {"code": "batch_expired", "message": "m"}})
        )
        .0,
        "batch_expired"
    );
    assert_eq!(failed(json!({"custom_id": id, "response": {"status_code": 503, "body": {}}})).0, "http_503");
    assert_eq!(failed(json!({"custom_id": id, "status": "nothing"})).0, "batch_failed");
}

#[test]
fn open_models_are_of_text_only() {
    let request = request(&json!({"messages": [{"role": "user", "content": [
        {"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": "gs://b/a.png"}}]}]}));
    assert_eq!(refused(LLAMA, &request).field(), "messages[0].content[1]");
}

#[test]
fn answers_come_in_any_order_and_are_counted_one_by_one() {
    let asked: Vec<ChatRequest> = ["a", "b", "a", "a"]
        .into_iter()
        .map(|text| ChatRequest::new("x", [Message::user(text)]).with_max_tokens(5))
        .collect();
    let numbered = || asked.iter().cloned().enumerate().map(|(i, it)| (i as u64 * 10, it));
    let lines: Vec<String> = numbered()
        .map(|(number, it)| export(BatchForm::Gemini, GEMINI_2, number, &it).unwrap().line)
        .collect();
    for with_ids in [true, false] {
        let mut importer = Importer::new(BatchForm::Gemini, GEMINI_2, numbered()).unwrap();
        assert_eq!(importer.missing(), [0, 10, 20, 30]);
        let mut got = Vec::new();
        for place in [3, 1, 0, 2] {
            let answer = answer_to(&lines[place], &says(&format!("answer {place}")));
            let mut answer: Value = serde_json::from_str(&answer).unwrap();
            if !with_ids {
                answer.as_object_mut().unwrap().remove("custom_id");
                // As a table would write it.
                answer["request"]["generationConfig"]["max_output_tokens"] = json!(5.0);
                answer["request"]["generationConfig"].as_object_mut().unwrap().remove("maxOutputTokens");
                answer["request"]["tools"] = json!([]);
            }
            let imported = importer.read(&answer.to_string()).unwrap();
            assert_eq!(imported.number, imported.result.request);
            got.push((imported.number, imported.result.content.unwrap()));
        }
        assert_eq!(importer.missing(), Vec::<u64>::new());
        if with_ids {
            let expected = [(30, "answer 3"), (10, "answer 1"), (0, "answer 0"), (20, "answer 2")];
            assert_eq!(got, expected.map(|(number, text)| (number, text.to_owned())));
        } else {
            let mut numbers: Vec<u64> = got.iter().map(|it| it.0).collect();
            assert_eq!(got[1], (10, "answer 1".to_owned()));
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 10, 20, 30]);
        }
        let again = importer.read(&answer_to(&lines[0], &says("again"))).unwrap_err();
        assert!(again.to_string().contains("answered before"), "{again}");
    }
}

#[test]
fn ids_and_texts_can_be_mixed() {
    let asked = || (0..2).map(|number| (number, with(&json!({}))));
    let lines: Vec<String> =
        asked().map(|(number, it)| export(BatchForm::Gemini, GEMINI_2, number, &it).unwrap().line).collect();
    let mut importer = Importer::new(BatchForm::Gemini, GEMINI_2, asked()).unwrap();
    assert_eq!(importer.read(&answer_to(&lines[0], &says("x"))).unwrap().number, 0);
    let line: Value = serde_json::from_str(&lines[1]).unwrap();
    let without = json!({"request": line["request"], "response": says("y")}).to_string();
    assert_eq!(importer.read(&without).unwrap().number, 1);
    assert!(importer.read(&without).unwrap_err().to_string().contains("answered before"));
}

#[test]
fn lines_that_are_no_answers_say_so() {
    let request = with(&json!({}));
    let line = export(BatchForm::Gemini, GEMINI_2, 0, &request).unwrap().line;
    let whole = answer_to(&line, &says("x"));
    let mut importer = Importer::new(BatchForm::Gemini, GEMINI_2, [(0, request)]).unwrap();
    for end in 1..whole.len() - 1 {
        let torn = importer.read(whole.get(..end).unwrap()).unwrap_err();
        assert!(torn.is_torn(), "{end}: {torn}");
    }
    let mut check = |line: &str, expected: &str| {
        let error = importer.read(line).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.is_torn());
    };
    check("[]", "one JSON object");
    check("no", "one JSON object");
    check("{}", "neither a `custom_id`");
    check(r#"{"request":{"contents":[]},"response":{}}"#, "not in this run");
    check(
        r#"{"custom_id":"vertex-chat-5-0000000000000000","response":{}}"#,
        "request 5, which is not in this run",
    );
    check(r#"{"custom_id":"vertex-chat-0-0000000000000000","response":{}}"#, "another request 0");
    check(&" ".repeat(LINE_BYTES_MAX + 1), "more than 16777216");
    assert_eq!(importer.missing(), [0]);
    assert_eq!(importer.read(&whole).unwrap().number, 0);
}

#[test]
fn a_line_has_its_limit() {
    let long = ChatRequest::new("x", [Message::user("a".repeat(LINE_BYTES_MAX))]);
    assert!(refused(GEMINI_2, &long).to_string().contains("16777216"));
}

#[test]
fn two_requests_of_one_number_are_refused() {
    let twice = [(4, with(&json!({}))), (4, with(&json!({})))];
    assert!(Importer::new(BatchForm::Gemini, GEMINI_2, twice).unwrap_err().to_string().contains("number 4"));
    let wrong = Importer::new(BatchForm::Gemini, GEMINI_2, [(9, with(&json!({"function_call": "auto"})))])
        .unwrap_err();
    assert!(wrong.to_string().starts_with("request 9: `function_call`"), "{wrong}");
}

/// JSON that people and models write: arguments, schemas, unknown fields.
fn anything() -> impl Strategy<Value = Value> {
    let texts =
        ["gs://b/a.png", "data:,", "{}", "object", "string", "#/$defs/x", "a\nb", "7", "a__thought__AA=="];
    let keys = [
        "type",
        "properties",
        "items",
        "enum",
        "anyOf",
        "$ref",
        "$defs",
        "required",
        "default",
        "x",
        "",
        "a/b",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3.0..3.0f64).prop_map(Value::from),
        prop::sample::select(texts.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let key = prop::sample::select(keys.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..4).prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

/// A message of the right shape, with whatever in it.
fn message() -> impl Strategy<Value = Value> {
    let roles = [
        "system",
        "developer",
        "user",
        "user",
        "user",
        "assistant",
        "assistant",
        "model",
        "tool",
        "tool",
        "odd",
    ];
    let urls = ["gs://b/a.png", "https://x/y", "data:image/jpg;base64,AA", "data:image/png,AA", "nowhere"];
    let contents = (prop::sample::select(urls.to_vec()), any::<String>()).prop_flat_map(|(url, text)| {
        prop::sample::select(vec![
            json!(text),
            json!(null),
            json!([{"type": "text", "text": text}]),
            json!([{"type": "image_url", "image_url": url}, {"type": "text", "text": ""}]),
            json!([{"type": "image_url", "image_url": {"url": url, "detail": "low"}}]),
            json!([{"type": "input_audio", "input_audio": {"data": url, "format": "mp3"}}]),
            json!([{"type": "file", "file": {"file_data": url, "filename": text}}]),
            json!([{"text": text, "extra_content": {"google": {"thought": true, "thought_signature": text}}}]),
            json!([{"type": "odd", "odd": url}]),
        ])
    });
    let ids = prop::sample::select(vec!["a", "b"]);
    (prop::sample::select(roles.to_vec()), contents, ids, anything(), 0..8u8).prop_map(|(role, content, id, any, kind)| {
        let mut message = json!({"role": role, "content": content});
        let call = |arguments: String| json!([{"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}]);
        match kind {
            0 | 1 => message["tool_calls"] = call(json!({ "x": any }).to_string()),
            2 => message["tool_calls"] = call(any.to_string()),
            3 => message["refusal"] = json!("no"),
            4 => message["odd"] = any,
            5 => message["extra_content"] = json!({"google": {"thought_signature": "AA", "parts": [{"inline_data": any}]}}),
            _ => {}
        }
        if role == "tool" {
            message["tool_call_id"] = json!(id);
        }
        message
    })
}

/// A parameter of the right type, with whatever in it.
fn parameter() -> impl Strategy<Value = (&'static str, Value)> {
    (anything(), any::<i64>(), 0..22u8).prop_map(|(any, number, kind)| match kind {
        0..=2 => ("tools", json!([{"type": "function", "function": {"name": "f", "parameters": {"properties": {"p": any}}}}])),
        3 => ("tools", json!([{"type": "custom", "custom": {"name": "f"}}, {"type": "function"}])),
        4..=6 => {
            ("response_format", json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"anyOf": [any, {"type": "object"}]}}}))
        }
        7 => ("response_format", json!({"type": "application/x", "odd": any})),
        8 => ("extra_body", json!({"google": {"tools": [any], "odd": number}})),
        9 => ("extra_body", json!({"google": {"thinking_config": {"thinking_level": "low", "odd": any}}})),
        10 => (
            "google",
            json!({"safety_settings": [{"category": "c", "odd": any}], "media_resolution": "high"}),
        ),
        11 => ("seed", json!(number)),
        12 => ("n", json!(number % 9)),
        13 => ("stop", json!(["a", any.to_string()])),
        14 => ("top_k", any),
        15 => ("odd", any),
        16 => ("modalities", json!(["text", "image"])),
        17 => (
            "reasoning_effort",
            json!(["none", "minimal", "high", "max"][usize::from(number.unsigned_abs() % 4 == 1)]),
        ),
        18 => (
            "tool_choice",
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [any]}}),
        ),
        19 => ("tool_choice", json!(["auto", "required", "odd"][usize::from(number > 0)])),
        20 => ("max_tokens", json!(number)),
        _ => ("logprobs", json!(number > 0)),
    })
}

fn any_request() -> impl Strategy<Value = ChatRequest> {
    let messages = prop::collection::vec(message(), 1..5);
    (messages, prop::collection::vec(parameter(), 0..3)).prop_map(|(messages, parameters)| {
        let mut all = json!({ "messages": messages });
        for (key, value) in parameters {
            all[key] = value;
        }
        request(&all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_exported_is_one_line_and_comes_back(request in any_request(), model in prop::sample::select(vec![GEMINI_2, GEMINI_3, LLAMA])) {
        let form = BatchForm::of(model).unwrap();
        match export(form, model, 5, &request) {
            Ok(exported) => {
                prop_assert!(!exported.line.contains('\n'));
                let line: Value = serde_json::from_str(&exported.line).unwrap();
                let body = if form == BatchForm::Gemini { "request" } else { "body" };
                // Once by its id, once by its text.
                for key in ["custom_id", body] {
                    let mut importer = Importer::new(form, model, [(5, request.clone())]).unwrap();
                    let mut answer = json!({"response": {}});
                    answer[key] = line[key].clone();
                    prop_assert_eq!(importer.read(&answer.to_string()).unwrap().number, 5);
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn no_line_breaks_the_reader(row in anything(), response in anything(), status in anything()) {
        for (form, model) in [(BatchForm::Gemini, GEMINI_2), (BatchForm::OpenAi, LLAMA)] {
            let request = with(&json!({}));
            let line = export(form, model, 0, &request).unwrap().line;
            let mut importer = Importer::new(form, model, [(0, request)]).unwrap();
            let _ = importer.read(&row.to_string());
            let mut line: Value = serde_json::from_str(&line).unwrap();
            line["response"] = response.clone();
            line["status"] = status.clone();
            let result = importer.read(&line.to_string()).unwrap().result;
            prop_assert!(result.error.is_some() || result.status == Some(200));
        }
    }
}
