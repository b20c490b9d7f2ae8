//! What OpenAI takes in a request for a chat completion, and how it says that something is wrong.

use std::fmt::Display;

use serde_json::{Map, Value};
use vertex_chat_types::{ChatRequest, ToolChoice, ToolMode};

use crate::answer::allowed_name;
use crate::openai::OpenAiError;

/// The most stop sequences.
const STOPS_MAX: usize = 4;
/// The most pairs of metadata.
const METADATA_MAX: usize = 16;
/// The most functions.
const FUNCTIONS_MAX: usize = 128;
/// The most characters of a tool's name.
const NAME_MAX: usize = 64;
/// The most characters of a safety identifier.
const SAFETY_IDENTIFIER_MAX: usize = 64;
const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];

/// What a field holds.
enum Kind {
    Text,
    Flag,
    /// A whole number, from and to.
    Whole(i64, i64),
    /// A number, from and to.
    Number(f64, f64),
    List,
    Object,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these kinds of value.
    Either(&'static [&'static str]),
}

/// A parameter, and whether it may be null.
struct Rule(&'static str, Kind, bool);

const MAY_BE_NULL: bool = true;
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];
const TIERS: &[&str] = &["auto", "default", "flex", "scale", "priority", "fast"];

const RULES: [Rule; 37] = [
    Rule("messages", Kind::List, false),
    Rule("model", Kind::Text, false),
    Rule("stream", Kind::Flag, MAY_BE_NULL),
    Rule("stream_options", Kind::Object, MAY_BE_NULL),
    Rule("temperature", Kind::Number(0.0, 2.0), MAY_BE_NULL),
    Rule("top_p", Kind::Number(0.0, 1.0), MAY_BE_NULL),
    Rule("frequency_penalty", Kind::Number(-2.0, 2.0), MAY_BE_NULL),
    Rule("presence_penalty", Kind::Number(-2.0, 2.0), MAY_BE_NULL),
    Rule("n", Kind::Whole(1, 128), MAY_BE_NULL),
    Rule("max_tokens", Kind::Whole(1, i64::MAX), MAY_BE_NULL),
    Rule("max_completion_tokens", Kind::Whole(1, i64::MAX), MAY_BE_NULL),
    Rule("top_logprobs", Kind::Whole(0, 20), MAY_BE_NULL),
    Rule("logprobs", Kind::Flag, MAY_BE_NULL),
    Rule("seed", Kind::Whole(i64::MIN, i64::MAX), MAY_BE_NULL),
    Rule("stop", Kind::Either(&["string", "array"]), MAY_BE_NULL),
    Rule("logit_bias", Kind::Object, MAY_BE_NULL),
    Rule("metadata", Kind::Object, MAY_BE_NULL),
    Rule("tools", Kind::List, false),
    Rule("tool_choice", Kind::Either(&["string", "object"]), false),
    Rule("parallel_tool_calls", Kind::Flag, false),
    Rule("functions", Kind::List, false),
    Rule("function_call", Kind::Either(&["string", "object"]), false),
    Rule("response_format", Kind::Object, false),
    Rule("reasoning_effort", Kind::Word(EFFORTS), MAY_BE_NULL),
    Rule("verbosity", Kind::Word(&["low", "medium", "high"]), MAY_BE_NULL),
    Rule("service_tier", Kind::Word(TIERS), MAY_BE_NULL),
    Rule("modalities", Kind::List, MAY_BE_NULL),
    Rule("audio", Kind::Object, MAY_BE_NULL),
    Rule("prediction", Kind::Object, MAY_BE_NULL),
    Rule("store", Kind::Flag, MAY_BE_NULL),
    Rule("user", Kind::Text, false),
    Rule("safety_identifier", Kind::Text, MAY_BE_NULL),
    Rule("prompt_cache_key", Kind::Text, MAY_BE_NULL),
    Rule("prompt_cache_retention", Kind::Word(&["in_memory", "24h"]), MAY_BE_NULL),
    Rule("prompt_cache_options", Kind::Object, false),
    Rule("web_search_options", Kind::Object, false),
    Rule("moderation", Kind::Object, MAY_BE_NULL),
];

/// Types and ranges of all parameters, and that there is none besides.
pub(crate) fn check_fields(body: &Value) -> Result<(), OpenAiError> {
    let Some(fields) = body.as_object() else {
        let message = format!("Invalid body: expected an object, but got {} instead.", what(body));
        return Err(OpenAiError::invalid(message).with_code("invalid_type"));
    };
    for (name, value) in fields {
        let Some(Rule(_, kind, may_be_null)) = RULES.iter().find(|Rule(known, ..)| known == name) else {
            return Err(OpenAiError::invalid(format!("Unrecognized request argument supplied: {name}")));
        };
        if !(value.is_null() && *may_be_null) {
            check_field(name, kind, value)?;
        }
    }
    for required in ["messages", "model"] {
        if !fields.contains_key(required) {
            return Err(missing(required));
        }
    }
    let is_both = |first: &str, second: &str| {
        [first, second].iter().all(|name| fields.get(*name).is_some_and(|it| !it.is_null()))
    };
    if is_both("max_tokens", "max_completion_tokens") {
        let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(OpenAiError::invalid(message)
            .with_param("max_tokens")
            .with_code("invalid_parameter_combination"));
    }
    Ok(())
}

fn check_field(name: &str, kind: &Kind, value: &Value) -> Result<(), OpenAiError> {
    let expected = match kind {
        Kind::Text if value.is_string() => return Ok(()),
        Kind::Text => "a string",
        Kind::Flag if value.is_boolean() => return Ok(()),
        Kind::Flag => "a boolean",
        Kind::List if value.is_array() => return Ok(()),
        Kind::List => "an array",
        Kind::Object if value.is_object() => return Ok(()),
        Kind::Object => "an object",
        Kind::Whole(least, most) => match value.as_i64() {
            Some(number) => return in_range(name, "integer", number, *least, *most),
            // What is a whole number, and larger than any that is allowed.
            None if value.is_u64() => return in_range(name, "integer", i128::MAX, 0, i128::from(*most)),
            None => "an integer",
        },
        Kind::Number(least, most) => match value.as_f64() {
            Some(number) => return in_range(name, "decimal", number, *least, *most),
            None => "a decimal",
        },
        Kind::Word(words) => match value.as_str() {
            Some(word) if words.contains(&word) => return Ok(()),
            Some(word) => return Err(invalid_value(name, word, words)),
            None => "a string",
        },
        Kind::Either(kinds) => {
            if kinds.iter().any(|kind| what(value).ends_with(kind)) {
                return Ok(());
            }
            if kinds.contains(&"array") { "a string or an array of strings" } else { "a string or an object" }
        }
    };
    Err(invalid_type(name, &format!("expected {expected}, but got {} instead.", what(value))))
}

/// Whether a number is from `least` to `most`; `kind` is what OpenAI calls it.
fn in_range<T: PartialOrd + Display + Copy>(
    name: &str,
    kind: &str,
    number: T,
    least: T,
    most: T,
) -> Result<(), OpenAiError> {
    let (place, expected, code) = if number < least {
        let code = if kind == "integer" { "integer_below_min_value" } else { "decimal_below_min_value" };
        ("below minimum", format!(">= {least}"), code)
    } else if number > most {
        let code = if kind == "integer" { "integer_above_max_value" } else { "decimal_above_max_value" };
        ("above maximum", format!("<= {most}"), code)
    } else {
        return Ok(());
    };
    let message = format!(
        "Invalid '{name}': {kind} {place} value. Expected a value {expected}, but got {number} instead."
    );
    Err(wrong(name, message).with_code(code))
}

/// What a value is, with its article.
fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A field is of the wrong type; `expected` says what it should be.
pub(crate) fn invalid_type(param: &str, expected: &str) -> OpenAiError {
    OpenAiError::invalid(format!("Invalid type for '{param}': {expected}"))
        .with_param(param)
        .with_code("invalid_type")
}

fn invalid_value(param: &str, value: &str, words: &[&str]) -> OpenAiError {
    let message = format!("Invalid value: '{value}'. Supported values are: '{}'.", words.join("', '"));
    OpenAiError::invalid(message).with_param(param).with_code("invalid_value")
}

fn missing(param: &str) -> OpenAiError {
    OpenAiError::invalid(format!("Missing required parameter: '{param}'."))
        .with_param(param)
        .with_code("missing_required_parameter")
}

fn wrong(param: impl Into<String>, message: impl Into<String>) -> OpenAiError {
    OpenAiError::invalid(message).with_param(param)
}

fn empty_array(param: &str) -> OpenAiError {
    let message = format!(
        "Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    );
    wrong(param, message).with_code("empty_array")
}

fn too_long(param: &str, what: &str, most: usize, length: usize) -> OpenAiError {
    let message = format!(
        "Invalid '{param}': {what} too long. Expected {what} with maximum length {most}, but got one with length {length} \
         instead."
    );
    let code = if what == "string" { "string_above_max_length" } else { "array_above_max_length" };
    wrong(param, message).with_code(code)
}

/// A field that has to be there, and be text.
fn text<'a>(object: &'a Value, key: &str, place: &str) -> Result<&'a str, OpenAiError> {
    let param = format!("{place}.{key}");
    match object.get(key) {
        Some(Value::String(text)) => Ok(text),
        None => Err(missing(&param)),
        Some(other) => {
            Err(invalid_type(&param, &format!("expected a string, but got {} instead.", what(other))))
        }
    }
}

/// A field that has to be there, and be an object.
fn object<'a>(parent: &'a Value, key: &str, place: &str) -> Result<&'a Value, OpenAiError> {
    let param = format!("{place}.{key}");
    match parent.get(key) {
        Some(value) if value.is_object() => Ok(value),
        None => Err(missing(&param)),
        Some(other) => {
            Err(invalid_type(&param, &format!("expected an object, but got {} instead.", what(other))))
        }
    }
}

/// The messages: roles, what each must have, and that every call has its answer.
pub(crate) fn check_messages(body: &Value) -> Result<(), OpenAiError> {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    if messages.is_empty() {
        return Err(empty_array("messages"));
    }
    // The calls that still have no answer, and whose they are.
    let mut open: Vec<&str> = Vec::new();
    let mut caller = String::new();
    let mut last_calls: Vec<&str> = Vec::new();
    let unanswered = |open: &[&str], caller: &str| {
        let message = format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        );
        if open.is_empty() { Ok(()) } else { Err(wrong(caller, message)) }
    };
    for (i, message) in messages.iter().enumerate() {
        let place = format!("messages[{i}]");
        let role = text(message, "role", &place)?;
        if !ROLES.contains(&role) {
            return Err(invalid_value(&format!("{place}.role"), role, &ROLES));
        }
        check_message(message, role, &place)?;
        if role == "tool" {
            let id = text(message, "tool_call_id", &place)?;
            if !last_calls.contains(&id) {
                let said = "Invalid parameter: messages with role 'tool' must be a response to a preceding message with \
                            'tool_calls'.";
                return Err(wrong(format!("{place}.tool_call_id"), said));
            }
            open.retain(|it| *it != id);
            continue;
        }
        unanswered(&open, &caller)?;
        last_calls.clear();
        if role == "assistant" {
            let calls = message["tool_calls"].as_array().into_iter().flatten();
            last_calls = calls.filter_map(|call| call["id"].as_str()).collect();
            open.clone_from(&last_calls);
            caller = format!("{place}.tool_calls");
        }
    }
    unanswered(&open, &caller)
}

fn check_message(message: &Value, role: &str, place: &str) -> Result<(), OpenAiError> {
    let has = |key: &str| message.get(key).is_some_and(|it| !it.is_null());
    let place_of_content = format!("{place}.content");
    match message.get("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(parts)) => {
            if parts.is_empty() {
                return Err(empty_array(&place_of_content));
            }
            for (i, part) in parts.iter().enumerate() {
                check_part(part, role, &format!("{place_of_content}[{i}]"))?;
            }
        }
        None | Some(Value::Null) => {
            let may_be_absent = match role {
                "assistant" => ["tool_calls", "function_call", "refusal", "audio"].iter().any(|key| has(key)),
                "function" => true,
                _ => false,
            };
            if !may_be_absent {
                let message = format!("Invalid value for '{place_of_content}': expected a string, got null.");
                return Err(wrong(place_of_content, message).with_code("invalid_type"));
            }
        }
        Some(other) => {
            let expected =
                format!("expected one of a string or array of objects, but got {} instead.", what(other));
            return Err(invalid_type(&place_of_content, &expected));
        }
    }
    if role == "function" {
        text(message, "name", place)?;
    }
    if !has("tool_calls") {
        return Ok(());
    }
    let place = format!("{place}.tool_calls");
    let Some(calls) = message["tool_calls"].as_array() else {
        return Err(invalid_type(&place, "expected an array of objects."));
    };
    if calls.is_empty() {
        return Err(empty_array(&place));
    }
    for (i, call) in calls.iter().enumerate() {
        let place = format!("{place}[{i}]");
        text(call, "id", &place)?;
        let kind = text(call, "type", &place)?;
        let (kind, argument) = match kind {
            "function" => (kind, "arguments"),
            "custom" => (kind, "input"),
            other => return Err(invalid_value(&format!("{place}.type"), other, &["function", "custom"])),
        };
        let called = object(call, kind, &place)?;
        text(called, "name", &format!("{place}.{kind}"))?;
        text(called, argument, &format!("{place}.{kind}"))?;
    }
    Ok(())
}

fn check_part(part: &Value, role: &str, place: &str) -> Result<(), OpenAiError> {
    let known: &[&str] = match role {
        "user" => &["text", "image_url", "input_audio", "file"],
        "assistant" => &["text", "refusal"],
        _ => &["text"],
    };
    let kind = text(part, "type", place)?;
    if !known.contains(&kind) {
        return Err(invalid_value(&format!("{place}.type"), kind, known));
    }
    match kind {
        "image_url" => {
            let image = object(part, "image_url", place)?;
            let place = format!("{place}.image_url");
            let url = text(image, "url", &place)?;
            if !["https://", "http://", "data:"].iter().any(|scheme| url.starts_with(scheme)) {
                let message =
                    "Invalid image_url. Expected a base64-encoded data URL or an address of the web.";
                return Err(wrong(format!("{place}.url"), message).with_code("invalid_value"));
            }
            if let Some(detail) = image.get("detail") {
                check_field(&format!("{place}.detail"), &Kind::Word(&["auto", "low", "high"]), detail)?;
            }
        }
        "input_audio" => {
            let sound = object(part, "input_audio", place)?;
            let place = format!("{place}.input_audio");
            text(sound, "data", &place)?;
            let format = text(sound, "format", &place)?;
            if !["wav", "mp3"].contains(&format) {
                return Err(invalid_value(&format!("{place}.format"), format, &["wav", "mp3"]));
            }
        }
        "file" => {
            let file = object(part, "file", place)?;
            if file.get("file_data").is_none() && file.get("file_id").is_none() {
                return Err(missing(&format!("{place}.file.file_id")));
            }
        }
        kind => {
            text(part, kind, place)?;
        }
    }
    Ok(())
}

/// Tools, functions, and the choice among them.
pub(crate) fn check_tools(request: &ChatRequest, body: &Value) -> Result<(), OpenAiError> {
    if body["tools"].as_array().is_some_and(Vec::is_empty) {
        return Err(empty_array("tools"));
    }
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (i, tool) in tools.iter().enumerate() {
        let place = format!("tools[{i}]");
        let kind = text(tool, "type", &place)?;
        if !["function", "custom"].contains(&kind) {
            return Err(invalid_value(&format!("{place}.type"), kind, &["function", "custom"]));
        }
        check_function(object(tool, kind, &place)?, &format!("{place}.{kind}"))?;
    }
    if let Some(functions) = body["functions"].as_array() {
        if functions.is_empty() {
            return Err(empty_array("functions"));
        }
        if functions.len() > FUNCTIONS_MAX {
            return Err(too_long("functions", "array", FUNCTIONS_MAX, functions.len()));
        }
        for (i, function) in functions.iter().enumerate() {
            check_function(function, &format!("functions[{i}]"))?;
        }
    }
    for (choice, of) in
        [("tool_choice", "tools"), ("parallel_tool_calls", "tools"), ("function_call", "functions")]
    {
        let is_there = body[of].as_array().is_some_and(|it| !it.is_empty());
        if body.get(choice).is_some() && !is_there {
            let message = format!(
                "Invalid value for '{choice}': '{choice}' is only allowed when '{of}' are specified."
            );
            return Err(wrong(choice, message));
        }
    }
    check_choice(request, body)
}

fn check_function(function: &Value, place: &str) -> Result<(), OpenAiError> {
    let name = text(function, "name", place)?;
    let place_of_name = format!("{place}.name");
    if name.is_empty() || !name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it)) {
        let message = format!(
            "Invalid '{place_of_name}': string does not match pattern. Expected a string that matches the pattern \
             '^[a-zA-Z0-9_-]+$'."
        );
        return Err(wrong(place_of_name, message).with_code("invalid_value"));
    }
    if name.len() > NAME_MAX {
        return Err(too_long(&place_of_name, "string", NAME_MAX, name.len()));
    }
    match function.get("parameters") {
        None | Some(Value::Object(_)) => Ok(()),
        Some(other) => {
            let expected = format!("expected an object, but got {} instead.", what(other));
            Err(invalid_type(&format!("{place}.parameters"), &expected))
        }
    }
}

fn check_choice(request: &ChatRequest, body: &Value) -> Result<(), OpenAiError> {
    match &request.tool_choice {
        Some(ToolChoice::Mode(ToolMode::None | ToolMode::Auto | ToolMode::Required)) | None => {}
        Some(ToolChoice::Mode(word)) => {
            return Err(invalid_value("tool_choice", word.as_str(), &["none", "auto", "required"]));
        }
        Some(ToolChoice::Named(choice)) => {
            let choice_body = &body["tool_choice"];
            let names: Vec<String> = match text(choice_body, "type", "tool_choice")? {
                "allowed_tools" => {
                    let allowed = object(choice_body, "allowed_tools", "tool_choice")?;
                    let mode = text(allowed, "mode", "tool_choice.allowed_tools")?;
                    if !["auto", "required"].contains(&mode) {
                        return Err(invalid_value(
                            "tool_choice.allowed_tools.mode",
                            mode,
                            &["auto", "required"],
                        ));
                    }
                    let tools = choice.allowed_tools.as_ref().and_then(|it| it.tools.as_ref());
                    tools.into_iter().flatten().map(allowed_name).collect()
                }
                kind @ ("function" | "custom") => {
                    let named = object(choice_body, kind, "tool_choice")?;
                    vec![text(named, "name", &format!("tool_choice.{kind}"))?.to_owned()]
                }
                other => {
                    let words = ["function", "custom", "allowed_tools"];
                    return Err(invalid_value("tool_choice.type", other, &words));
                }
            };
            let is_there = |name: &String| request.tools.iter().flatten().any(|tool| tool.name() == name);
            if let Some(name) = names.iter().find(|name| !is_there(name)) {
                let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
                return Err(wrong("tool_choice", message));
            }
        }
        // A form that is not known yet.
        Some(_) => {}
    }
    match &body["function_call"] {
        Value::String(word) if !["none", "auto"].contains(&word.as_str()) => {
            Err(invalid_value("function_call", word, &["none", "auto"]))
        }
        named @ Value::Object(_) => {
            let name = text(named, "name", "function_call")?;
            let known = request.functions.iter().flatten().any(|it| it.name.as_deref() == Some(name));
            let message =
                format!("Invalid value for 'function_call': no function named '{name}' was specified.");
            if known { Ok(()) } else { Err(wrong("function_call.name", message)) }
        }
        _ => Ok(()),
    }
}

/// Everything that is more than a type and a range.
pub(crate) fn check_rest(request: &ChatRequest, body: &Value) -> Result<(), OpenAiError> {
    if request.stream_options.is_some() && !request.is_stream() {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(wrong("stream_options", message));
    }
    if request.top_logprobs.is_some() && request.logprobs != Some(true) {
        let message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.";
        return Err(wrong("top_logprobs", message));
    }
    if let Some(stop) = &request.stop {
        let sequences = stop.sequences();
        if sequences.is_empty() {
            return Err(empty_array("stop"));
        }
        if sequences.len() > STOPS_MAX {
            return Err(too_long("stop", "array", STOPS_MAX, sequences.len()));
        }
    }
    for (token, bias) in request.logit_bias.iter().flatten() {
        in_range(&format!("logit_bias.{token}"), "decimal", *bias, -100.0, 100.0)
            .map_err(|error| error.with_param("logit_bias"))?;
    }
    if let Some(metadata) = request.metadata.as_ref().filter(|it| it.len() > METADATA_MAX) {
        let message = format!(
            "Invalid 'metadata': too many properties. Expected an object with at most {METADATA_MAX} properties, but got an \
             object with {} properties instead.",
            metadata.len()
        );
        return Err(wrong("metadata", message).with_code("object_above_max_properties"));
    }
    if let Some(id) = request.safety_identifier.as_ref().filter(|it| it.len() > SAFETY_IDENTIFIER_MAX) {
        return Err(too_long("safety_identifier", "string", SAFETY_IDENTIFIER_MAX, id.len()));
    }
    check_format(body)?;
    check_sound(body)
}

fn check_format(body: &Value) -> Result<(), OpenAiError> {
    const KINDS: [&str; 3] = ["json_object", "json_schema", "text"];
    let format = &body["response_format"];
    if format.is_null() {
        return Ok(());
    }
    match text(format, "type", "response_format")? {
        "text" => Ok(()),
        "json_schema" => {
            let place = "response_format.json_schema";
            let schema = object(format, "json_schema", "response_format")?;
            check_function(&Value::Object(only(schema, "name")), place)?;
            match schema.get("schema") {
                None | Some(Value::Object(_)) => Ok(()),
                Some(other) => {
                    let expected = format!("expected an object, but got {} instead.", what(other));
                    Err(invalid_type(&format!("{place}.schema"), &expected))
                }
            }
        }
        "json_object" if !body["messages"].to_string().to_lowercase().contains("json") => {
            let message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type \
                           'json_object'.";
            Err(wrong("messages", message))
        }
        "json_object" => Ok(()),
        other => Err(invalid_value("response_format.type", other, &KINDS)),
    }
}

/// An object with one of its fields.
fn only(object: &Value, key: &str) -> Map<String, Value> {
    object.get(key).map(|value| (key.to_owned(), value.clone())).into_iter().collect()
}

/// Spoken answers.
fn check_sound(body: &Value) -> Result<(), OpenAiError> {
    const FORMATS: [&str; 6] = ["wav", "aac", "mp3", "flac", "opus", "pcm16"];
    let modalities = body["modalities"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (i, modality) in modalities.iter().enumerate() {
        check_field(&format!("modalities[{i}]"), &Kind::Word(&["text", "audio"]), modality)?;
    }
    let audio = &body["audio"];
    if audio.is_null() {
        return if modalities.iter().any(|it| it == "audio") { Err(missing("audio")) } else { Ok(()) };
    }
    let format = text(audio, "format", "audio")?;
    if !FORMATS.contains(&format) {
        return Err(invalid_value("audio.format", format, &FORMATS));
    }
    if audio.get("voice").is_none() { Err(missing("audio.voice")) } else { Ok(()) }
}
