//! OpenAI's own chat completions and list of models, by its own reference.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use vertex_chat_transport::{Request, Response};
use vertex_chat_types::{ChatRequest, ServiceTier};

use crate::API_KEY;
use crate::containers::is_not_json;
use crate::quirks::Asked;
use crate::reply::raw_reply;
use crate::rules;
use crate::shape::{Accepted, Backend};

/// The models, each with the second since 1970 at which it came.
const MODELS: [(&str, u64); 3] =
    [("gpt-4o-mini", 1_721_172_741), ("gpt-4o", 1_715_367_049), ("o4-mini", 1_744_133_506)];

/// An error as OpenAI writes it.
#[derive(Clone, Debug)]
pub(crate) struct OpenAiError {
    status: StatusCode,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

impl OpenAiError {
    /// A request that is wrong; nothing in particular about it.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
            kind: "invalid_request_error",
            param: None,
            code: None,
        }
    }

    /// What a status means.
    pub(crate) fn of_status(status: StatusCode, message: &str, param: &str) -> Self {
        let (kind, code) = match status {
            StatusCode::TOO_MANY_REQUESTS => ("requests", Some("rate_limit_exceeded")),
            StatusCode::NOT_FOUND => ("invalid_request_error", Some("model_not_found")),
            status if status.is_server_error() => ("server_error", None),
            _ => ("invalid_request_error", None),
        };
        Self {
            status,
            kind,
            code,
            param: (!param.is_empty()).then(|| param.to_owned()),
            ..Self::invalid(message)
        }
    }

    fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// What it is about.
    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(crate) fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn reply(&self) -> Response {
        let error =
            json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code});
        raw_reply(self.status, "application/json", json!({"error": error}).to_string())
    }
}

/// Whether the key is good.
pub(crate) fn authorize(headers: &HeaderMap) -> Result<(), OpenAiError> {
    let header = headers.get("authorization").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let (scheme, key) = header.split_once(' ').unwrap_or((header, ""));
    let error = if !scheme.eq_ignore_ascii_case("bearer") || key.trim().is_empty() {
        OpenAiError::invalid(
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth \
             (i.e. Authorization: Bearer YOUR_KEY).",
        )
    } else if key.trim() != API_KEY {
        // OpenAI shows a part of the key. Whose it is is nobody's business here.
        OpenAiError::invalid(
            "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
        )
        .with_code("invalid_api_key")
    } else {
        return Ok(());
    };
    Err(error.with_status(StatusCode::UNAUTHORIZED))
}

/// The answer to a path below `/v1` that nobody else takes, unless it is a chat completion. `path` is what comes behind.
pub(crate) fn route(request: &Request, path: &[&str]) -> Response {
    let method = request.method();
    let address = request.uri().path();
    let unsupported = || {
        OpenAiError::invalid(format!(
            "Not allowed to {method} on {address}. (HINT: Perhaps you meant to make your HTTP request using a different \
             method?)"
        ))
        .with_code("method_not_supported")
        .with_status(StatusCode::METHOD_NOT_ALLOWED)
        .reply()
    };
    // What there is, and how, is said to anybody; the models only to whoever has a key.
    let id = match path {
        ["models"] => None,
        ["models", id] => Some(*id),
        ["chat", "completions"] => return unsupported(),
        _ => {
            let unknown = OpenAiError::invalid(format!("Invalid URL ({method} {address})"));
            return unknown.with_code("unknown_url").with_status(StatusCode::NOT_FOUND).reply();
        }
    };
    if method != Method::GET {
        return unsupported();
    }
    if let Err(error) = authorize(request.headers()) {
        return error.reply();
    }
    let answer = match id {
        None => {
            let models: Vec<Value> = MODELS.iter().map(|(id, created)| model(id, *created)).collect();
            json!({"object": "list", "data": models})
        }
        Some(id) => match MODELS.iter().find(|(known, _)| *known == id) {
            Some((id, created)) => model(id, *created),
            None => return no_such_model(id).reply(),
        },
    };
    raw_reply(StatusCode::OK, "application/json", answer.to_string())
}

fn model(id: &str, created: u64) -> Value {
    json!({"id": id, "object": "model", "created": created, "owned_by": "openai"})
}

fn no_such_model(id: &str) -> OpenAiError {
    OpenAiError::invalid(format!("The model `{id}` does not exist or you do not have access to it."))
        .with_status(StatusCode::NOT_FOUND)
        .with_param("model")
        .with_code("model_not_found")
}

/// Reads and checks a request for a chat completion.
pub(crate) fn accept(asked: &Asked, headers: &HeaderMap) -> Result<Accepted, OpenAiError> {
    // 415 is what HTTP has for it (RFC 9110, 15.5.16), and no client takes it for a fault in its JSON. A request that says
    // nothing about its body is believed, as the RFC allows.
    if is_not_json(headers) {
        return Err(OpenAiError::invalid(
            "Invalid Content-Type header, expected application/json. (HINT: If you're using curl, you can pass -H \
             'Content-Type: application/json')",
        )
        .with_code("unsupported_content_type")
        .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let body: Value = serde_json::from_slice(&asked.body).map_err(|_| {
        OpenAiError::invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP \
             library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)",
        )
    })?;
    rules::check_fields(&body)?;
    let model = body["model"].as_str().unwrap_or_default();
    if !MODELS.iter().any(|(known, _)| *known == model) {
        return Err(no_such_model(model));
    }
    rules::check_messages(&body)?;
    let request = ChatRequest::from_json(&asked.body)
        .map_err(|error| rules::invalid_type(error.path(), error.message()))?;
    rules::check_tools(&request, &body)?;
    rules::check_rest(&request, &body)?;
    let model = asked.named.clone().unwrap_or_default();
    Ok(Accepted { request, backend: Backend::OpenAi, model, quirks: asked.quirks })
}

/// How much a model thinks when nobody says how much.
pub(crate) fn effort(model: &str) -> &'static str {
    if model.starts_with('o') { "medium" } else { "none" }
}

/// The tier that serves a request.
pub(crate) fn tier_served(request: &ChatRequest) -> &str {
    match request.service_tier.as_ref().map(ServiceTier::as_str) {
        None | Some("auto") => "default",
        // OpenAI shows the one as the other.
        Some("fast") => "priority",
        Some(tier) => tier,
    }
}

/// Puts on what every answer of OpenAI's has in its head.
pub(crate) fn sign(mut response: Response, number: u64) -> Response {
    let headers = response.headers_mut();
    let id = format!("req_{number:032x}").parse().expect("because hexadecimal digits are a header");
    headers.insert("x-request-id", id);
    headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
    headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
    response
}
