//! Chat completions behind endpoint ids: vLLM and TGI, each in its own words.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use vertex_chat_transport::Response;
use vertex_chat_types::{ChatRequest, Content, Extra, Json, ParseError, Stop, ToolChoice, ToolMode};

use crate::quirks::Asked;
use crate::reply::raw_reply;
use crate::shape::{Accepted, Backend};

/// The other name that vLLM's model goes by, as `--served-model-name` may give it several.
const VLLM_ALIAS: &str = "vllm";
/// The most alternatives to a token that vLLM tells.
const VLLM_LOGPROBS_MAX: i64 = 20;
/// The most alternatives to a token that TGI tells.
const TGI_LOGPROBS_MAX: i64 = 5;
/// What TGI's `response_format` may be.
const TGI_FORMATS: [&str; 4] = ["json", "json_object", "regex", "json_schema"];

/// What stands behind an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Container {
    /// vLLM's OpenAI-compatible server.
    Vllm,
    /// Hugging Face's Text Generation Inference.
    Tgi,
}

impl Container {
    /// The model that it serves.
    #[must_use]
    pub const fn model(self) -> &'static str {
        match self {
            Self::Vllm => "gemma-2-9b-it",
            Self::Tgi => "Meta-Llama-3.1-8B-Instruct",
        }
    }

    /// An error in its words.
    pub(crate) fn error(self, status: StatusCode, message: &str, param: &str) -> Response {
        match self {
            Self::Vllm => {
                let kind = match status {
                    StatusCode::NOT_FOUND => "NotFoundError",
                    StatusCode::TOO_MANY_REQUESTS => "RateLimitError",
                    StatusCode::BAD_REQUEST => "BadRequestError",
                    _ => "InternalServerError",
                };
                self.refusal(status, kind, message, param)
            }
            Self::Tgi => {
                let (status, kind, prefix) = match status {
                    StatusCode::TOO_MANY_REQUESTS => (status, "overloaded", ""),
                    status if status.is_server_error() => {
                        (status, "generation", "Request failed during generation: ")
                    }
                    _ => (StatusCode::UNPROCESSABLE_ENTITY, "validation", "Input validation error: "),
                };
                self.refusal(status, kind, &format!("{prefix}{message}"), param)
            }
        }
    }

    fn refusal(self, status: StatusCode, kind: &str, message: &str, param: &str) -> Response {
        let param = if param.is_empty() { Value::Null } else { json!(param) };
        let body = match self {
            Self::Vllm => {
                json!({"error": {"message": message, "type": kind, "param": param, "code": status.as_u16()}})
            }
            Self::Tgi => json!({"error": message, "error_type": kind}),
        };
        raw_reply(status, "application/json", body.to_string())
    }
}

/// Why a container does not answer.
struct Refused {
    status: StatusCode,
    /// What it is about; empty when that is not said.
    param: String,
    message: String,
    kind: Kind,
}

/// Who refused.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// The server.
    Server,
    /// What reads the body before the server sees it: pydantic for vLLM, axum for TGI.
    Reader,
}

impl Refused {
    fn new(param: &str, message: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, param: param.to_owned(), message: message.into(), kind: Kind::Server }
    }

    fn unread(param: &str, message: impl Into<String>) -> Self {
        Self { kind: Kind::Reader, ..Self::new(param, message) }
    }

    fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    fn reply(&self, container: Container) -> Response {
        match (container, self.kind) {
            (_, Kind::Server) => container.error(self.status, &self.message, &self.param),
            (Container::Vllm, Kind::Reader) => {
                container.refusal(self.status, "Bad Request", &self.message, &self.param)
            }
            (Container::Tgi, Kind::Reader) => {
                let status = match self.status {
                    // axum: what is JSON, and no request.
                    StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
                    other => other,
                };
                raw_reply(status, "text/plain; charset=utf-8", self.message.clone())
            }
        }
    }
}

/// The answer to a method that is not `POST`.
pub(crate) fn wrong_method(container: Container) -> Response {
    match container {
        Container::Vllm => {
            let body = json!({"detail": "Method Not Allowed"}).to_string();
            raw_reply(StatusCode::METHOD_NOT_ALLOWED, "application/json", body)
        }
        Container::Tgi => raw_reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", ""),
    }
}

/// Puts on what every answer of a container's has in its head.
pub(crate) fn sign(mut response: Response, container: Container) -> Response {
    if container == Container::Vllm {
        response.headers_mut().insert("server", HeaderValue::from_static("uvicorn"));
    }
    response
}

/// Reads and checks a request to a container. `served` are more names that vLLM's model goes by; with `None` it goes by any.
pub(crate) fn accept(
    asked: &Asked,
    headers: &HeaderMap,
    container: Container,
    served: Option<&[String]>,
) -> Result<Accepted, Box<Response>> {
    let read = match container {
        Container::Vllm => read_vllm(&asked.body, headers, served),
        Container::Tgi => read_tgi(&asked.body, headers),
    };
    let request = read.map_err(|refused| Box::new(refused.reply(container)))?;
    let named = asked.named.clone().filter(|it| !it.is_empty());
    let model = named.unwrap_or_else(|| container.model().to_owned());
    Ok(Accepted { request, backend: Backend::Container(container), model, quirks: asked.quirks })
}

/// Whether the request says that its body is something other than JSON. One that says nothing is believed.
pub(crate) fn is_not_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get("content-type") else { return false };
    let media_type = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    !media_type.eq_ignore_ascii_case("application/json")
        && !media_type.to_ascii_lowercase().ends_with("+json")
}

fn read_vllm(body: &[u8], headers: &HeaderMap, served: Option<&[String]>) -> Result<ChatRequest, Refused> {
    if is_not_json(headers) {
        return Err(Refused::unread("", "Unsupported Media Type: Only 'application/json' is allowed"));
    }
    let request = ChatRequest::from_json(body).map_err(|error: ParseError| {
        let param =
            if error.path().is_empty() { "body".to_owned() } else { format!("body.{}", error.path()) };
        Refused::unread(&param, format!("1 validation error:\n  {error}"))
    })?;
    if request.messages.is_empty() {
        return Err(Refused::unread(
            "body.messages",
            "1 validation error:\n  at least one message is required",
        ));
    }
    let model = request.model.as_deref().unwrap_or_default();
    let is_own = ["", Container::Vllm.model(), VLLM_ALIAS].contains(&model);
    if !is_own && served.is_some_and(|it| !it.iter().any(|it| it == model)) {
        let refused = Refused::new("model", format!("The model `{model}` does not exist."));
        return Err(refused.with_status(StatusCode::NOT_FOUND));
    }
    let out_of_range = |name: &str, value: Option<f64>, least: f64, most: f64| match value {
        Some(value) if !(least..=most).contains(&value) => {
            let message = format!(
                "{name} must be in [{least}, {most}], got {value}. (parameter={name}, value={value})"
            );
            Err(Refused::new(name, message))
        }
        _ => Ok(()),
    };
    out_of_range("temperature", request.temperature, 0.0, 2.0)?;
    // Nothing at all to choose from is no choice.
    out_of_range("top_p", request.top_p, f64::MIN_POSITIVE, 1.0)?;
    out_of_range("presence_penalty", request.presence_penalty, -2.0, 2.0)?;
    out_of_range("frequency_penalty", request.frequency_penalty, -2.0, 2.0)?;
    if let Some(n) = request.n.filter(|n| *n < 1) {
        return Err(Refused::new("", format!("n must be at least 1, got {n}.")));
    }
    if let Some(tokens) = request.max_completion_tokens.or(request.max_tokens).filter(|it| *it < 1) {
        let message =
            format!("max_tokens must be at least 1, got {tokens}. (parameter=max_tokens, value={tokens})");
        return Err(Refused::new("max_tokens", message));
    }
    if let Some(wanted) = request.top_logprobs {
        if !(0..=VLLM_LOGPROBS_MAX).contains(&wanted) {
            let message = format!(
                "Requested sample logprobs of {wanted}, which is greater than max allowed: {VLLM_LOGPROBS_MAX} \
                 (parameter=logprobs, value={wanted})"
            );
            return Err(Refused::new("logprobs", message));
        }
        if request.logprobs != Some(true) {
            return Err(Refused::new(
                "top_logprobs",
                "when using `top_logprobs`, `logprobs` must be set to true.",
            ));
        }
    }
    if request.stream_options.is_some() && !request.is_stream() {
        let message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)";
        return Err(Refused::new("stream_options", message));
    }
    let has_tools = request.tools.as_ref().is_some_and(|it| !it.is_empty());
    match &request.tool_choice {
        Some(ToolChoice::Mode(ToolMode::None)) | None => {}
        Some(_) if !has_tools => {
            let message = "When using `tool_choice`, `tools` must be set. (parameter=tool_choice)";
            return Err(Refused::new("tool_choice", message));
        }
        Some(ToolChoice::Mode(ToolMode::Auto | ToolMode::Required)) => {}
        Some(ToolChoice::Mode(word)) => {
            let message = format!(
                "Invalid value for `tool_choice`: {word}! Only named tools, \"none\", \"auto\" or \"required\" are \
                 supported. (parameter=tool_choice)"
            );
            return Err(Refused::new("tool_choice", message));
        }
        Some(ToolChoice::Named(named)) => {
            let name = named.function.as_ref().and_then(|it| it.name.as_deref()).unwrap_or_default();
            if !request.tools.iter().flatten().any(|tool| tool.name() == name) {
                let message = "The tool specified in `tool_choice` does not match any of the specified `tools`. (parameter=tool_choice)";
                return Err(Refused::new("tool_choice", message));
            }
        }
        // A form that is not known yet.
        Some(_) => {}
    }
    if has_media(&request) {
        return Err(Refused::new("", format!("{} is not a multimodal model", Container::Vllm.model())));
    }
    Ok(request)
}

fn has_media(request: &ChatRequest) -> bool {
    let mut parts = request.messages.iter().filter_map(|it| it.content.get()).flat_map(Content::parts);
    parts.any(|part| part.image_url.is_some() || part.input_audio.is_some() || part.video_url.is_some())
}

fn read_tgi(body: &[u8], headers: &HeaderMap) -> Result<ChatRequest, Refused> {
    // axum's own words, before TGI sees the request.
    let untyped = |what: &str| {
        Refused::unread("", format!("Failed to deserialize the JSON body into the target type: {what}"))
    };
    if is_not_json(headers) {
        let refused = Refused::unread("", "Expected request with `Content-Type: application/json`");
        return Err(refused.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let fields = Extra::from_json(body).map_err(|error| untyped(&error.to_string()))?;
    if fields.get("max_tokens").is_some() && fields.get("max_completion_tokens").is_some() {
        return Err(untyped("duplicate field `max_tokens`"));
    }
    // Both have a default in place of an `Option`, so they may be absent and may not be null.
    for (name, expected) in [("stream", "a boolean"), ("stream_options", "struct StreamOptions")] {
        if fields.get(name).is_some_and(Json::is_null) {
            return Err(untyped(&format!("{name}: invalid type: null, expected {expected}")));
        }
    }
    if fields.get("logit_bias").is_some_and(|it| it.as_str().starts_with('{')) {
        return Err(untyped("logit_bias: invalid type: map, expected a sequence"));
    }
    // What it does not look at may be anything.
    let mut fields = fields;
    for unseen in ["n", "user", "logit_bias", "parallel_tool_calls", "functions", "function_call"] {
        fields.remove(unseen);
    }
    let mut request =
        ChatRequest::from_json(fields.to_json()).map_err(|error| untyped(&error.to_string()))?;
    check_tgi_types(&request).map_err(|what| untyped(&what))?;
    if request.messages.is_empty() {
        return Err(Refused::new("messages", "at least one message is required"));
    }
    if let Some(wanted) = request.top_logprobs.filter(|it| !(0..=TGI_LOGPROBS_MAX).contains(it)) {
        let message = format!("`top_n_tokens` must be >= 0 and <= {TGI_LOGPROBS_MAX}. Given: {wanted}");
        return Err(Refused::new("top_logprobs", message));
    }
    let has_tools = request.tools.as_ref().is_some_and(|it| !it.is_empty());
    if has_tools && request.response_format.is_some() {
        return Err(Refused::new("response_format", "Grammar and tools are mutually exclusive"));
    }
    let named = match &request.tool_choice {
        Some(ToolChoice::Mode(ToolMode::None | ToolMode::Auto | ToolMode::Required)) | None => None,
        Some(ToolChoice::Mode(name)) => Some(name.as_str().to_owned()),
        Some(ToolChoice::Named(named)) => named.function.as_ref().and_then(|it| it.name.clone()),
        Some(_) => None,
    };
    if let Some(name) = named {
        if has_tools && !request.tools.iter().flatten().any(|tool| tool.name() == name) {
            return Err(Refused::new("tool_choice", format!("Tool error: Tool with name {name} not found")));
        }
        request.tool_choice = Some(ToolChoice::function(name));
    }
    Ok(request)
}

/// What serde refuses at TGI's door and not at ours.
fn check_tgi_types(request: &ChatRequest) -> Result<(), String> {
    if matches!(request.stop, Some(Stop::One(_))) {
        return Err("stop: invalid type: string, expected a sequence".to_owned());
    }
    if request.seed.is_some_and(|seed| seed < 0) {
        return Err("seed: invalid value, expected u64".to_owned());
    }
    if request.max_tokens.or(request.max_completion_tokens).is_some_and(|it| it < 0) {
        return Err("max_tokens: invalid value, expected u32".to_owned());
    }
    if let Some(format) = &request.response_format {
        let tag = format.r#type.as_ref().map_or("", |it| it.as_str());
        if !TGI_FORMATS.contains(&tag) {
            return Err(format!(
                "response_format: unknown variant, expected one of {}",
                TGI_FORMATS.join(", ")
            ));
        }
        let Some(value) = format.extra.get("value") else {
            return Err("response_format: missing field `value`".to_owned());
        };
        if tag == "regex" && value.to_text().is_none() {
            return Err("response_format.value: invalid type, expected a string".to_owned());
        }
        if tag == "json_schema" && value.parse_as::<Extra>().ok().is_none_or(|it| it.get("schema").is_none())
        {
            return Err("response_format.value: missing field `schema`".to_owned());
        }
    }
    for (i, tool) in request.tools.iter().flatten().enumerate() {
        let has_arguments = tool
            .function
            .as_ref()
            .is_some_and(|it| it.parameters.is_some() || it.extra.get("arguments").is_some());
        if !has_arguments {
            return Err(format!("tools[{i}].function: missing field `arguments`"));
        }
    }
    let parts = request.messages.iter().filter_map(|it| it.content.get()).flat_map(Content::parts);
    for part in parts {
        let is_known = match &part.image_url {
            Some(image) => matches!(image, vertex_chat_types::ImageUrl::Object(_)),
            None => part.text.is_some(),
        };
        if !is_known {
            return Err("messages: data did not match any variant of untagged enum MessageBody".to_owned());
        }
    }
    Ok(())
}
