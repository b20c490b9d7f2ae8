//! Chat completions behind `openapi`: Gemini and partners.

use vertex_chat_types::{
    ChatRequest, Content, ContentPart, Extra, FunctionCallChoice, ImageDetail, ParseError, ResponseFormat,
    Role, ToolChoice, ToolMode, ToolType,
};

use crate::answer::{google, has_contents, missing_signature};
use crate::quirks::{Asked, Quirk};
use crate::reply::GoogleError;
use crate::shape::{Accepted, Backend};

/// Publishers whose models are on `openapi`.
const PARTNERS: [&str; 9] =
    ["meta", "deepseek-ai", "qwen", "openai", "moonshotai", "zai-org", "minimaxai", "mistralai", "xai"];

/// Parameters of OpenAI's that Gemini passes over on Vertex, whatever is in them.
const IGNORED: [&str; 17] = [
    "stream_options",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "user",
    "metadata",
    "store",
    "service_tier",
    "audio",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "safety_identifier",
    "verbosity",
    "moderation",
];
/// The most characters of a function's name.
const FUNCTION_NAME_MAX: usize = 128;

/// What the names of Gemini models are made of, beside numbers.
const GEMINI_WORDS: [&str; 14] = [
    "pro", "flash", "lite", "ultra", "preview", "exp", "latest", "image", "vision", "live", "audio", "tts",
    "thinking", "native",
];

/// Whether a name could be a Gemini model's: lists of them are old within weeks.
fn is_gemini(name: &str) -> bool {
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.strip_prefix("gemini-")
        .is_some_and(|rest| rest.split('-').all(|it| is_number(it) || GEMINI_WORDS.contains(&it)))
}

/// Reads and checks a request to `openapi`, in the words of the service.
pub(crate) fn accept(asked: &Asked, parent: &str) -> Result<Accepted, GoogleError> {
    let mut request = ChatRequest::from_json(&asked.body);
    if request.is_err() && !asked.quirks.has(Quirk::WrongTypeRefused) {
        request = without_ignored(&asked.body).unwrap_or(request);
    }
    let request = request.map_err(|error| invalid_value(&error))?;
    let model = request.model.clone().unwrap_or_default();
    let Some((publisher, name)) =
        model.split_once('/').filter(|(publisher, name)| !publisher.is_empty() && !name.is_empty())
    else {
        return Err(GoogleError::invalid(format!(
            "Malformed publisher model (`model`: '{model}') for the 'openapi' request endpoint ID; expected \
             '<publisher>/<model>'."
        )));
    };
    let backend = match publisher {
        "google" if is_gemini(name) => Backend::Gemini,
        partner if PARTNERS.contains(&partner) => Backend::Partner,
        _ => {
            return Err(GoogleError::new(
                404,
                "NOT_FOUND",
                format!(
                    "Publisher Model `{parent}/publishers/{publisher}/models/{name}` was not found or your project does not \
                 have access to it. Please ensure you are using a valid model version. For more information, see: \
                 https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions"
                ),
            ));
        }
    };
    if request.messages.is_empty() || !has_contents(&request) {
        return Err(GoogleError::invalid(
            "Unable to submit request because at least one contents field is required.",
        ));
    }
    if backend == Backend::Gemini {
        check(&request, generation(name))?;
    }
    let named = asked.named.clone().unwrap_or_default();
    Ok(Accepted { request, backend, model: named, quirks: asked.quirks })
}

/// What cannot be read, in Google's words.
pub(crate) fn invalid_value(error: &ParseError) -> GoogleError {
    let place = if error.path().is_empty() {
        "Invalid JSON payload received.".to_owned()
    } else {
        format!("Invalid value at '{}'", error.path())
    };
    GoogleError::invalid(format!("{place} {}", error.message()))
}

/// A request to Gemini read without the parameters that are ignored; `None` for what is no such request.
fn without_ignored(body: &[u8]) -> Option<Result<ChatRequest, ParseError>> {
    let mut fields = Extra::from_json(body).ok()?;
    if !fields.get("model")?.to_text()?.starts_with("google/") {
        return None;
    }
    fields.retain(|name, _| !IGNORED.contains(&name));
    Some(ChatRequest::from_json(fields.to_json()))
}

/// 1, 2, 3 … of `gemini-2.5-flash`; a name without a number is the newest.
pub(crate) fn generation(name: &str) -> u32 {
    let digits: String =
        name.trim_start_matches("gemini-").chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u32::MAX)
}

/// What Gemini of this generation refuses, on Vertex and behind the Developer API.
pub(crate) fn check(request: &ChatRequest, generation: u32) -> Result<(), GoogleError> {
    let range = |name: &str, value: Option<f64>, least: f64, beyond: f64| match value {
        Some(value) if value < least || value > beyond => Err(GoogleError::invalid(format!(
            "Unable to submit request because it has a {name} value of {value} but the supported range is from {least} \
             (inclusive) to {beyond} (inclusive). Update the value and try again."
        ))),
        _ => Ok(()),
    };
    // Of whole numbers the first that is too large is named.
    let whole = |name: &str, value: Option<i64>, most: i64| match value {
        Some(value) if value < 1 || value > most => Err(GoogleError::invalid(format!(
            "Unable to submit request because it has a {name} value of {value} but the supported range is from 1 \
             (inclusive) to {} (exclusive). Update the value and try again.",
            most.saturating_add(1)
        ))),
        _ => Ok(()),
    };
    range("temperature", request.temperature, 0.0, 2.0)?;
    range("topP", request.top_p, 0.0, 1.0)?;
    range("frequencyPenalty", request.frequency_penalty, -2.0, 2.0)?;
    range("presencePenalty", request.presence_penalty, -2.0, 2.0)?;
    whole("candidateCount", request.n, 8)?;
    let tokens_max = if generation <= 2 { 65_536 } else { i64::MAX };
    whole("maxOutputTokens", request.max_tokens, tokens_max)?;
    whole("maxOutputTokens", request.max_completion_tokens, tokens_max)?;
    if request.stop.as_ref().is_some_and(|stop| stop.sequences().len() > 5) {
        return Err(GoogleError::invalid(
            "Unable to submit request because it has more than 5 stop sequences.",
        ));
    }
    let thinking = google(request).and_then(|it| it.thinking_config.as_ref());
    if request.reasoning_effort.is_some() && thinking.is_some() {
        return Err(GoogleError::invalid(
            "Expected one of either `reasoning_effort` or custom `thinking_config`; found both.",
        ));
    }
    if thinking.is_some_and(|it| it.thinking_budget.is_some() && it.thinking_level.is_some()) {
        return Err(GoogleError::invalid("You can only set only one of thinking budget and thinking level."));
    }
    if request.extra_body.as_ref().is_some_and(|it| it.extra.get("extra_body").is_some()) {
        return Err(GoogleError::invalid("Invalid value at 'extra_body': unknown name \"extra_body\"."));
    }
    let has_tools = request.tools.as_ref().is_some_and(|it| !it.is_empty());
    if generation <= 2 && has_tools && request.response_format.as_ref().is_some_and(ResponseFormat::is_json) {
        return Err(GoogleError::invalid(
            "Unable to submit request because function calling with a response mime type: 'application/json' is \
             unsupported.",
        ));
    }
    let details: Vec<&ImageDetail> =
        parts(request).filter_map(|part| part.image_url.as_ref()?.detail()).collect();
    if generation <= 2 && details.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(GoogleError::invalid(
            "Unable to submit request because all `detail` values must be the same.",
        ));
    }
    check_tools(request)?;
    check_calls(request)?;
    crate::refusals::check(request, generation)?;
    if let (true, Some((name, place))) = (generation >= 3, missing_signature(request)) {
        return Err(GoogleError::invalid(format!(
            "Unable to submit request because function call `{name}` in the {place}. content block is missing a \
             `thought_signature`. Learn more: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/thought-signatures"
        )));
    }
    Ok(())
}

/// Tools, and the choice among them.
fn check_tools(request: &ChatRequest) -> Result<(), GoogleError> {
    let mut names = Vec::new();
    for (i, tool) in request.tools.iter().flatten().enumerate() {
        if tool.r#type.as_ref().is_some_and(|it| *it != ToolType::Function) {
            return Err(GoogleError::invalid(format!(
                "Invalid value at 'tools[{i}].type': only functions are supported"
            )));
        }
        names.push((format!("tools[{i}].function.name"), tool.name()));
    }
    for (i, function) in request.functions.iter().flatten().enumerate() {
        names.push((format!("functions[{i}].name"), function.name.as_deref().unwrap_or_default()));
    }
    if let Some((place, _)) = names.iter().find(|(_, name)| !is_function_name(name)) {
        return Err(GoogleError::invalid(format!(
            "Invalid value at '{place}': Invalid function name. Must start with a letter or an underscore. Must be \
             alphanumeric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of \
             {FUNCTION_NAME_MAX}."
        )));
    }
    let unknown = |place: &str, word: &str| {
        Err(GoogleError::invalid(format!("Invalid value at '{place}': \"{word}\" is not one of its values")))
    };
    let named = match (&request.tool_choice, &request.function_call) {
        (Some(ToolChoice::Mode(ToolMode::Other(word))), _) => return unknown("tool_choice", word),
        (_, Some(FunctionCallChoice::Mode(mode))) if !matches!(mode, ToolMode::None | ToolMode::Auto) => {
            return unknown("function_call", mode.as_str());
        }
        (Some(ToolChoice::Named(named)), _) => {
            named.function.as_ref().map(|it| ("tool_choice", it.name.as_deref().unwrap_or_default()))
        }
        (_, Some(FunctionCallChoice::Named(named))) => {
            Some(("function_call", named.name.as_deref().unwrap_or_default()))
        }
        _ => None,
    };
    match named {
        Some((place, name)) if !names.iter().any(|(_, known)| *known == name) => unknown(place, name),
        _ => Ok(()),
    }
}

fn is_function_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.len() <= FUNCTION_NAME_MAX
        && name.chars().all(|it| it.is_ascii_alphanumeric() || "_.:-".contains(it))
}

/// As many responses as calls, right behind them.
fn check_calls(request: &ChatRequest) -> Result<(), GoogleError> {
    let is_response = |role: &Role| matches!(role, Role::Tool | Role::Function);
    let mut messages = request.messages.iter().peekable();
    let mut calls = 0;
    while let Some(message) = messages.next() {
        let mut responses = usize::from(is_response(&message.role));
        if responses == 0 {
            calls = message.tool_calls.as_ref().map_or(0, Vec::len)
                + usize::from(message.function_call.is_some());
            if calls == 0 || messages.peek().is_none() {
                continue;
            }
        }
        while messages.next_if(|next| is_response(&next.role)).is_some() {
            responses += 1;
        }
        if responses != calls {
            return Err(GoogleError::invalid(
                "Please ensure that the number of function response parts is equal to the number of function call parts of \
                 the function call turn.",
            ));
        }
    }
    Ok(())
}

fn parts(request: &ChatRequest) -> impl Iterator<Item = &ContentPart> {
    request.messages.iter().filter_map(|message| message.content.get()).flat_map(Content::parts)
}
