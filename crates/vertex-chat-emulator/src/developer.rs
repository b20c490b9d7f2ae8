//! The Gemini Developer API: the same models behind a key, less patient with what they do not know.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use vertex_chat_transport::{Request, Response};
use vertex_chat_types::{ChatRequest, Content, Extra, InputAudio};

use crate::API_KEY;
use crate::answer::has_contents;
use crate::quirks::Asked;
use crate::reply::{GoogleError, json_reply, not_found_page};
use crate::shape::{Accepted, Backend};
use crate::vertex;

const MODELS: [&str; 4] =
    ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3.1-pro-preview"];
/// The parameters that it knows; every other is refused.
const KNOWN: [&str; 20] = [
    "messages",
    "model",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stop",
    "presence_penalty",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "response_format",
    "reasoning_effort",
    "modalities",
    "service_tier",
    "extra_body",
];
/// The formats of recorded sound that it takes.
const SOUNDS: [&str; 2] = ["wav", "mp3"];

/// Whether the key is good. A bad one is a bad request here, as no key is.
pub(crate) fn authorize(headers: &HeaderMap) -> Result<(), GoogleError> {
    let header = headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let (scheme, key) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("bearer") && key.trim() == API_KEY {
        return Ok(());
    }
    let reason = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    });
    Err(GoogleError::invalid("API key not valid. Please pass a valid API key.").with_detail(reason))
}

/// The answer to a path below `/v1beta/openai` that is not a chat completion. `path` is what comes behind.
pub(crate) fn route(request: &Request, path: &[&str]) -> Response {
    let name = match path {
        ["models"] => None,
        ["models", name] | ["models", "models", name] => Some(*name),
        _ => return not_found_page(request.uri().path()),
    };
    if request.method() != Method::GET {
        return not_found_page(request.uri().path());
    }
    if let Err(error) = authorize(request.headers()) {
        return error.array_reply();
    }
    match name {
        None => {
            let models: Vec<Value> = MODELS.iter().map(|name| model(name)).collect();
            json_reply(StatusCode::OK, &json!({"object": "list", "data": models}))
        }
        Some(name) if MODELS.contains(&name) => json_reply(StatusCode::OK, &model(name)),
        Some(name) => no_such_model(name).array_reply(),
    }
}

fn model(name: &str) -> Value {
    json!({"id": format!("models/{name}"), "object": "model", "owned_by": "google"})
}

fn no_such_model(name: &str) -> GoogleError {
    let message = format!(
        "models/{name} is not found for API version v1main, or is not supported for generateContent. Call ListModels to see \
         the list of available models and their supported methods."
    );
    GoogleError::new(404, "NOT_FOUND", message)
}

/// Reads and checks a request for a chat completion.
pub(crate) fn accept(asked: &Asked) -> Result<Accepted, GoogleError> {
    if let Ok(fields) = Extra::from_json(&asked.body) {
        let unknown: Vec<String> = fields
            .iter()
            .filter(|(name, _)| !KNOWN.contains(name))
            .map(|(name, _)| {
                format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.")
            })
            .collect();
        if !unknown.is_empty() {
            return Err(GoogleError::invalid(unknown.join("\n")));
        }
    }
    let request = ChatRequest::from_json(&asked.body).map_err(|error| vertex::invalid_value(&error))?;
    let named = request.model.as_deref().unwrap_or_default();
    let name = named.strip_prefix("models/").unwrap_or(named);
    if name.is_empty() {
        return Err(GoogleError::invalid("model is not specified"));
    }
    if !MODELS.contains(&name) {
        return Err(no_such_model(name));
    }
    if request.messages.is_empty() || !has_contents(&request) {
        return Err(GoogleError::invalid("GenerateContentRequest.contents: contents is not specified"));
    }
    let parts = request.messages.iter().filter_map(|it| it.content.get()).flat_map(Content::parts);
    for sound in parts.filter_map(|part| part.input_audio.as_ref()) {
        let format = match sound {
            InputAudio::Object(object) => object.format.as_ref().map_or("", |it| it.as_str()),
            _ => "",
        };
        if !SOUNDS.contains(&format) {
            return Err(GoogleError::invalid(format!("Invalid audio format \"{format}\"")));
        }
    }
    vertex::check(&request, vertex::generation(name))?;
    let model = asked.named.clone().unwrap_or_default();
    Ok(Accepted { request, backend: Backend::Developer, model, quirks: asked.quirks })
}
