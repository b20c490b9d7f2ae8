//! What a server says when it fails, whichever dialect it speaks.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

/// The longest message that is kept, in bytes. Servers have been seen to send whole request bodies back.
pub const ERROR_MESSAGE_BYTES_MAX: usize = 2_000;

/// An error as the server told it.
///
/// One type for all shapes: OpenAI's object, Google's object and one-element array with `google.rpc` details, vLLM,
/// TGI, llama.cpp, FastAPI's `detail`, an HTML page, plain text, nothing at all.
///
/// ```
/// use vertex_chat_types::ApiError;
///
/// let body = br#"[{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}]"#;
/// let error = ApiError::from_body(Some(429), body);
/// assert_eq!(error.google_status(), Some("RESOURCE_EXHAUSTED"));
/// assert_eq!(error.to_string(), "429 RESOURCE_EXHAUSTED: Resource exhausted.");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiError {
    status: Option<u16>,
    message: String,
    r#type: Option<String>,
    code: Option<String>,
    param: Option<String>,
    google_status: Option<String>,
    reason: Option<String>,
    retry_delay: Option<Duration>,
    field_violations: Vec<FieldViolation>,
    quota_violations: Vec<String>,
    help: Vec<String>,
}

/// One field that Google found fault with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// The field's path, in Google's spelling.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl ApiError {
    /// Reads the body of an answer that is not a success. Never fails: what cannot be read becomes the message, cut to
    /// [`ERROR_MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn from_body(status: Option<u16>, body: &[u8]) -> Self {
        let mut error = match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::from_value(&value)
                // That it is an error is known here, so a message alone is enough.
                .or_else(|| value.as_object().filter(|it| it.contains_key("message")).map(Self::from_fields))
                .unwrap_or_else(|| Self::from_text(&String::from_utf8_lossy(body))),
            Err(_) => Self::from_text(&String::from_utf8_lossy(body)),
        };
        error.status = status.or(error.status);
        cut(&mut error.message);
        error
    }

    /// Finds an error in a body that came with a success, or in a stream: `None` when the body is something else.
    #[must_use]
    pub fn detect(body: &[u8]) -> Option<Self> {
        let mut error = Self::from_value(&serde_json::from_slice::<Value>(body).ok()?)?;
        cut(&mut error.message);
        Some(error)
    }

    /// Names a web page that came in place of an answer, by its title: `an HTML page: Sign in`. `None` when the body is no page.
    #[must_use]
    pub fn page(body: &[u8]) -> Option<String> {
        let text = body.trim_ascii_start();
        text.starts_with(b"<").then(|| {
            let mut title = html_title(&String::from_utf8_lossy(text));
            cut(&mut title);
            title
        })
    }

    /// The HTTP status: of the answer, or as the body tells it.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// What the server says in words.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// OpenAI's `type`, such as `invalid_request_error`; TGI's `error_type`.
    #[must_use]
    pub fn r#type(&self) -> Option<&str> {
        self.r#type.as_deref()
    }

    /// The `code`, whether the server wrote a string or a number.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The parameter at fault.
    #[must_use]
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// Google's `status`, such as `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn google_status(&self) -> Option<&str> {
        self.google_status.as_deref()
    }

    /// The `reason` of Google's `ErrorInfo`, such as `ACCESS_TOKEN_EXPIRED`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How long to wait, by Google's `RetryInfo`.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_delay
    }

    /// The fields at fault, by Google's `BadRequest`.
    #[must_use]
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.field_violations
    }

    /// The quotas that are used up, by Google's `QuotaFailure`.
    #[must_use]
    pub fn quota_violations(&self) -> &[String] {
        &self.quota_violations
    }

    /// Addresses that Google points to for help.
    #[must_use]
    pub fn help(&self) -> &[String] {
        &self.help
    }

    fn from_value(value: &Value) -> Option<Self> {
        match value {
            // A server-streaming method of Google's answers with an array, even when there is one error to tell.
            Value::Array(items) => items.iter().find_map(|item| item.as_object().and_then(Self::from_object)),
            Value::Object(object) => Self::from_object(object),
            _ => None,
        }
    }

    fn from_object(object: &Map<String, Value>) -> Option<Self> {
        match object.get("error") {
            Some(Value::Object(inner)) => return Some(Self::from_fields(inner)),
            // TGI: {"error": "…", "error_type": "…"}; others: {"error": "…"} with or without a "message".
            Some(Value::String(message)) => {
                let mut error = Self::from_fields(object);
                error.message.clone_from(message);
                error.r#type = text(object, "error_type").or(error.r#type);
                return Some(error);
            }
            _ => {}
        }
        if object.contains_key("choices") {
            return None;
        }
        if let Some(detail) = object.get("detail") {
            return Some(Self { message: detail_message(detail), ..Self::from_fields(object) });
        }
        // vLLM before 0.10 and Mistral: the fields lie open, beside "object": "error".
        let says_error = object.get("object").is_some_and(|it| it == "error")
            || object.get("type").and_then(Value::as_str).is_some_and(|it| it.contains("error"))
            || (object.contains_key("message")
                && (object.contains_key("code") || object.contains_key("status")));
        says_error.then(|| Self::from_fields(object))
    }

    fn from_fields(fields: &Map<String, Value>) -> Self {
        let mut error = Self {
            message: fields.get("message").map(plain).unwrap_or_default(),
            r#type: text(fields, "type"),
            code: fields.get("code").and_then(scalar),
            param: text(fields, "param"),
            ..Self::default()
        };
        let number = fields
            .get("code")
            .and_then(Value::as_u64)
            .or_else(|| fields.get("status").and_then(Value::as_u64));
        error.status = number.and_then(|it| u16::try_from(it).ok()).filter(|it| (100..600).contains(it));
        error.google_status = text(fields, "status");
        for detail in
            fields.get("details").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
        {
            error.take_detail(detail);
        }
        error
    }

    /// One of the `google.rpc` messages in `details`.
    fn take_detail(&mut self, detail: &Map<String, Value>) {
        let kind = detail.get("@type").and_then(Value::as_str).unwrap_or_default();
        let list = |key: &str| {
            detail.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
        };
        match kind.rsplit('.').next().unwrap_or_default() {
            "ErrorInfo" => self.reason = text(detail, "reason").or(self.reason.take()),
            "RetryInfo" => {
                self.retry_delay = detail.get("retryDelay").and_then(duration).or(self.retry_delay);
            }
            "BadRequest" => self.field_violations.extend(list("fieldViolations").map(|it| FieldViolation {
                field: text(it, "field").unwrap_or_default(),
                description: text(it, "description").unwrap_or_default(),
            })),
            "QuotaFailure" => self.quota_violations.extend(
                list("violations")
                    .filter_map(|it| text(it, "quotaMetric").or_else(|| text(it, "description"))),
            ),
            "Help" => self.help.extend(list("links").filter_map(|it| text(it, "url"))),
            _ => {}
        }
    }

    fn from_text(body: &str) -> Self {
        let body = body.trim();
        let message = if body.starts_with('<') { html_title(body) } else { body.to_owned() };
        Self { message, ..Self::default() }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.google_status.as_deref().or(self.r#type.as_deref()).or(self.code.as_deref()))
        {
            (Some(status), Some(word)) if word != status.to_string() => write!(f, "{status} {word}")?,
            (Some(status), _) => write!(f, "{status}")?,
            (None, Some(word)) => f.write_str(word)?,
            (None, None) => f.write_str("error")?,
        }
        match self.message.as_str() {
            "" => f.write_str(": no message"),
            message => write!(f, ": {message}"),
        }
    }
}

impl std::error::Error for ApiError {}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// A code: a string as it is, a number as its digits.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A message: mostly a string; Mistral nests FastAPI's details in it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(object) => object.get("detail").map(detail_message).unwrap_or_default(),
        _ => String::new(),
    }
}

/// FastAPI's `detail`: a text, or a list of faults of which only place and message are kept, because the rest quotes
/// the request.
fn detail_message(detail: &Value) -> String {
    match detail {
        Value::String(text) => text.clone(),
        Value::Array(faults) => {
            let fault = |it: &Value| {
                let place: Vec<_> = it.get("loc")?.as_array()?.iter().filter_map(scalar).collect();
                Some(format!("{}: {}", place.join("."), it.get("msg")?.as_str()?))
            };
            faults.iter().filter_map(fault).collect::<Vec<_>>().join("; ")
        }
        Value::Object(object) => object.get("message").map(plain).unwrap_or_default(),
        _ => String::new(),
    }
}

/// A protobuf duration: `"37s"`, `"1.5s"`, or `{"seconds": 37}`.
fn duration(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.strip_suffix('s')?.parse::<f64>().ok()?,
        Value::Object(object) => object.get("seconds")?.as_f64()?,
        _ => return None,
    };
    // A number that no duration can hold still means a very long wait.
    Duration::try_from_secs_f64(seconds).ok().or_else(|| (seconds > 0.0).then_some(Duration::MAX))
}

/// What a page is called, which on Google's and most proxies' error pages says all there is to say.
fn html_title(page: &str) -> String {
    let lower = page.to_ascii_lowercase();
    let title = lower.find("<title>").and_then(|start| {
        let start = start + "<title>".len();
        let end = start + lower[start..].find("</title>")?;
        Some(page[start..end].split_whitespace().collect::<Vec<_>>().join(" "))
    });
    match title {
        Some(title) if !title.is_empty() => format!("an HTML page: {title}"),
        _ => "an HTML page".to_owned(),
    }
}

fn cut(message: &mut String) {
    if message.len() > ERROR_MESSAGE_BYTES_MAX {
        let end = (0..=ERROR_MESSAGE_BYTES_MAX).rev().find(|&it| message.is_char_boundary(it)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &str) -> ApiError {
        let error = ApiError::from_body(None, body.as_bytes());
        assert_eq!(error.to_string(), expected);
        error
    }

    #[test]
    fn every_shape_becomes_one_error() {
        check(r#"{"error":{"message":"m","type":"t","param":"p","code":"c"}}"#, "t: m");
        check(
            r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}"#,
            "400 INVALID_ARGUMENT: m",
        );
        check(r#"[{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}]"#, "404 NOT_FOUND: m");
        check(
            r#"{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}"#,
            "400 BadRequestError: m",
        );
        check(r#"{"error":"m","error_type":"validation"}"#, "validation: m");
        check(r#"{"detail":"m"}"#, "error: m");
        check(
            r#"{"detail":[{"loc":["body","n"],"msg":"too small","input":"secret"}]}"#,
            "error: body.n: too small",
        );
        check(
            "<html><head><title>Error 404\n (Not Found)!!1</title>",
            "error: an HTML page: Error 404 (Not Found)!!1",
        );
        check("Internal Server Error", "error: Internal Server Error");
        check("", "error: no message");
    }

    #[test]
    fn google_details_are_read() {
        let error = check(
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[
                {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"},
                {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED"},
                {"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"q"}]},
                {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"f","description":"d"}]},
                {"@type":"type.googleapis.com/google.rpc.Help","links":[{"description":"d","url":"u"}]}]}}]"#,
            "429 RESOURCE_EXHAUSTED: m",
        );
        assert_eq!(error.retry_delay(), Some(Duration::from_secs(37)));
        assert_eq!(error.reason(), Some("RATE_LIMIT_EXCEEDED"));
        assert_eq!(error.quota_violations(), ["q"]);
        assert_eq!(error.field_violations()[0].field, "f");
        assert_eq!(error.help(), ["u"]);
    }

    #[test]
    fn a_good_answer_is_no_error() {
        for body in
            [r#"{"choices":[]}"#, r#"{"id":"x","error":null,"choices":[]}"#, "[]", "5", r#"{"type":"ping"}"#]
        {
            assert_eq!(ApiError::detect(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let body = "é".repeat(ERROR_MESSAGE_BYTES_MAX);
        let error = ApiError::from_body(Some(500), body.as_bytes());
        assert!(error.message().len() <= ERROR_MESSAGE_BYTES_MAX + '…'.len_utf8());
        assert!(error.message().ends_with('…'));
        let short = "e".repeat(ERROR_MESSAGE_BYTES_MAX);
        assert_eq!(ApiError::from_body(None, short.as_bytes()).message(), short);
    }
}
