//! What Gemini refuses by public reports, each with its source: what no documentation of the endpoint says.

use serde_json::Value;
use vertex_chat_types::{ChatRequest, Content, ContentPart, ImageUrl, Json, Message, ReasoningEffort, Role};

use crate::reply::GoogleError;

/// The rules, with the reports that they are from; docs/emulator.md lists them.
pub const REFUSALS: [(&str, &str); 9] = [
    (
        "an empty text, a message without one, and a list of no parts",
        "autogen#5762, cherry-studio#16195, litellm#5515",
    ),
    ("parts other than `text`, `image_url` and `input_audio`", "ravendb#22337, vercel/ai#12723"),
    ("a MIME type that Gemini does not know, such as `image/jpg`", "cherry-studio#2987, comic-translate#399"),
    ("arguments of an earlier call that are no JSON object", "ruby_llm#98, vllm#9693"),
    ("a conversation that begins with a call", "vscode#299295, quarkus-langchain4j#1271"),
    ("a `reasoning_effort` that the model does not take", "litellm#37314, DeepTutor#734"),
    ("a tool that is no function", "nvda-OpenAI#123, freellmapi#59"),
    ("parameters that are no object", "FLIT#64, freellmapi#301"),
    ("an empty text in an `enum`", "ha-claude#30"),
];

/// What is said of a message without a text.
pub(crate) const NO_TEXT: &str =
    "Unable to submit request because it must have a text parameter. Add a text parameter and try again.";

/// MIME types of media begin with one of these; spellings that are refused have their own list.
const MEDIA: [&str; 5] = ["image/", "audio/", "video/", "text/", "application/"];
const NO_MEDIA: [&str; 8] = [
    "image/jpg",
    "image/pjpeg",
    "image/x-png",
    "image/*",
    "audio/x-wav",
    "application/octet-stream",
    "application/x-pdf",
    "application/unknown",
];

pub(crate) fn check(request: &ChatRequest, generation: u32) -> Result<(), GoogleError> {
    for (i, message) in request.messages.iter().enumerate() {
        check_content(i, message)?;
        check_arguments(i, message)?;
    }
    check_beginning(request)?;
    check_effort(request, generation)?;
    for (i, tool) in request.tools.iter().flatten().enumerate() {
        let Some(function) = &tool.function else {
            return Err(GoogleError::invalid(format!("Invalid value at 'tools[{i}]': function is not set")));
        };
        check_parameters(i, function.parameters.as_ref())?;
    }
    Ok(())
}

fn check_content(i: usize, message: &Message) -> Result<(), GoogleError> {
    let calls =
        message.tool_calls.as_ref().is_some_and(|it| !it.is_empty()) || message.function_call.is_some();
    let no_text = || Err(GoogleError::invalid(NO_TEXT));
    match message.content.get() {
        // The assistant may have said nothing (agentgateway#1464).
        None if calls || matches!(message.role, Role::Assistant | Role::Model) => Ok(()),
        None => no_text(),
        Some(Content::Text(text)) if text.is_empty() => no_text(),
        Some(content) => {
            let parts = content.parts();
            if matches!(content, Content::Parts(_)) && parts.is_empty() {
                return no_text();
            }
            for (j, part) in parts.iter().enumerate() {
                if part.text.as_deref() == Some("") {
                    return no_text();
                }
                check_part(&format!("messages[{i}].content[{j}]"), part)?;
            }
            Ok(())
        }
    }
}

fn check_part(place: &str, part: &ContentPart) -> Result<(), GoogleError> {
    let kind = part.r#type.as_ref().map_or("", |it| it.as_str());
    if !matches!(kind, "" | "text" | "image_url" | "input_audio" | "refusal") {
        return Err(GoogleError::invalid(format!(
            "Invalid value at '{place}.type': Invalid content part type: {kind}"
        )));
    }
    let url = match &part.image_url {
        Some(ImageUrl::Object(image)) => image.url.as_str(),
        Some(ImageUrl::Bare(url)) => url,
        _ => return Ok(()),
    };
    let Some((head, _)) = url.strip_prefix("data:").and_then(|it| it.split_once(',')) else { return Ok(()) };
    let mime = head.split(';').next().unwrap_or_default();
    let is_known = MEDIA.iter().any(|it| mime.starts_with(it)) && !NO_MEDIA.contains(&mime);
    if is_known && !mime.bytes().any(|it| it.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(GoogleError::invalid(format!(
        "Unable to submit request because it has a mimeType parameter with value {mime}, which is not supported. Update the \
         mimeType and try again."
    )))
}

fn check_arguments(i: usize, message: &Message) -> Result<(), GoogleError> {
    for (j, call) in message.tool_calls.iter().flatten().enumerate() {
        let Some(function) = &call.function else { continue };
        let arguments = function.arguments.as_deref().unwrap_or_default();
        if !serde_json::from_str::<Value>(arguments).is_ok_and(|it| it.is_object()) {
            return Err(GoogleError::invalid(format!(
                "Invalid value at 'messages[{i}].tool_calls[{j}].function.arguments': the arguments are not a JSON object"
            )));
        }
    }
    Ok(())
}

fn check_beginning(request: &ChatRequest) -> Result<(), GoogleError> {
    let mut turns = request.messages.iter().filter(|it| !matches!(it.role, Role::System | Role::Developer));
    let begins = turns.next().is_some_and(|it| it.tool_calls.as_ref().is_some_and(|it| !it.is_empty()));
    if begins {
        return Err(GoogleError::invalid(
            "Please ensure that function call turn comes immediately after a user turn or after a function response turn.",
        ));
    }
    Ok(())
}

fn check_effort(request: &ChatRequest, generation: u32) -> Result<(), GoogleError> {
    let Some(effort) = request.reasoning_effort.as_ref().map(ReasoningEffort::as_str) else { return Ok(()) };
    let name = request.model.as_deref().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let is_pro = name.contains("-pro");
    let is_2 = generation <= 2;
    let is_refused = match effort {
        "none" => !is_2 || is_pro,
        "minimal" => !is_2 && (is_pro || name.starts_with("gemini-3.7")),
        "xhigh" | "max" => true,
        _ => false,
    };
    if is_refused {
        return Err(GoogleError::invalid(format!(
            "Unable to submit request because reasoning_effort {effort} is not supported by model {name}."
        )));
    }
    Ok(())
}

fn check_parameters(i: usize, parameters: Option<&Json>) -> Result<(), GoogleError> {
    let Some(parameters) = parameters else { return Ok(()) };
    let place = format!("GenerateContentRequest.tools[0].function_declarations[{i}].parameters");
    let Ok(schema) = serde_json::from_str::<Value>(parameters.as_str()) else { return Ok(()) };
    let kind = schema["type"].as_str().unwrap_or("object");
    if !kind.eq_ignore_ascii_case("object") {
        return Err(GoogleError::invalid(format!("{place}: parameters schema should be of type OBJECT.")));
    }
    match empty_word(&schema, 0) {
        Some(path) => Err(GoogleError::invalid(format!("{place}{path}: cannot be empty"))),
        None => Ok(()),
    }
}

/// Where an `enum` has an empty text.
fn empty_word(schema: &Value, depth: usize) -> Option<String> {
    /// Deeper schemas are refused elsewhere.
    const DEPTH_MAX: usize = 64;
    if depth > DEPTH_MAX {
        return None;
    }
    match schema {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| match (key.as_str(), value) {
            ("enum", Value::Array(words)) => {
                words.iter().position(|it| it == "").map(|at| format!(".enum[{at}]"))
            }
            (key, value) => empty_word(value, depth + 1).map(|rest| format!(".{key}{rest}")),
        }),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(i, it)| empty_word(it, depth + 1).map(|rest| format!("[{i}]{rest}"))),
        _ => None,
    }
}
