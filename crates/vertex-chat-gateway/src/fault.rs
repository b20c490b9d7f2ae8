//! Faults: why a client gets no answer, in the shape that OpenAI's libraries read.

use std::borrow::Cow;
use std::error::Error as _;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use vertex_chat::params::Rejection;
use vertex_chat::{ApiError, Error, ErrorKind};
use vertex_chat_transport::{NoRoom, Response, TransportError};

use crate::admission::Full;

/// OpenAI's libraries ask here whether to try again; the gateway has done so already.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The longest wait that a client is asked for, whatever a server says: some say `inf`.
pub const RETRY_AFTER_SENT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The code of a request that takes too much work to prepare.
const TOO_COMPLEX: &str = "request_too_complex";
/// Part of the sentence with which the shared host refuses a dedicated endpoint.
const DEDICATED_WORDS: &str = "dedicated domain name";

/// OpenAI's words for kinds of faults. A word of another's becomes the code, if there is none.
const OPENAI_TYPES: [&str; 11] = [
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "not_found_error",
    "rate_limit_error",
    "api_error",
    "server_error",
    "insufficient_quota",
    "tokens",
    "requests",
    "image_generation_user_error",
];

/// Why a client gets no answer.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    message: String,
    r#type: Cow<'static, str>,
    param: Option<String>,
    code: Option<Cow<'static, str>>,
    pub(crate) retry_after: Option<Duration>,
    /// Whether trying again has been the gateway's, so that libraries should not.
    forbids_retry: bool,
    /// Whether it is of a server's or of the way there, and not of the request.
    is_upstream: bool,
    /// Whether another target may do better.
    pub(crate) is_worth_another: bool,
}

impl Fault {
    /// A fault of the gateway's own finding.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            r#type: Cow::Borrowed(type_of(status)),
            param: None,
            code: Some(Cow::Borrowed(code)),
            retry_after: None,
            forbids_retry: false,
            is_upstream: false,
            is_worth_another: false,
        }
    }

    pub(crate) fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The gateway is too busy; later it may not be.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        let mut fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message);
        fault.retry_after = Some(Duration::from_secs(1));
        fault
    }

    /// As many requests run as may.
    pub(crate) fn of_full(full: Full) -> Self {
        match full {
            Full::All(max) => {
                Self::busy(format!("{max} requests run already, which is the limit; try again"))
            }
            Full::Key(max) => Self::over_share(format!(
                "{max} requests with this key run already, which is its share (`requests_max_per_key`); try again"
            )),
        }
    }

    /// The client has its share of the gateway already; later it may not.
    pub(crate) fn over_share(message: impl Into<String>) -> Self {
        let mut fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
        fault.retry_after = Some(Duration::from_secs(1));
        fault
    }

    /// There is no room in memory for a body.
    pub(crate) fn no_room(room: NoRoom, whose: &str) -> Self {
        let message = format!("no room for {whose}: {room}; try again, or raise `bodies_bytes_max`");
        if room.is_share { Self::over_share(message) } else { Self::busy(message) }
    }

    /// What the client could do nothing about, and what trying again may help.
    pub(crate) fn upstream(code: &'static str, message: impl Into<String>) -> Self {
        let mut fault = Self::new(StatusCode::BAD_GATEWAY, code, message);
        fault.is_worth_another = true;
        fault.is_upstream = true;
        fault
    }

    /// An answer that broke off.
    pub(crate) fn broken_off(error: &TransportError) -> Self {
        if let Some(room) = error.source().and_then(|it| it.downcast_ref::<NoRoom>()) {
            return Self::no_room(*room, "the answer");
        }
        let message = format!("the model's answer broke off: {error}");
        if !error.is_timeout() {
            return Self::upstream("upstream_truncated", message);
        }
        let mut fault = Self::upstream("upstream_timeout", message);
        fault.status = StatusCode::GATEWAY_TIMEOUT;
        fault
    }

    /// What the client library says.
    pub(crate) fn of(error: &Error) -> Self {
        let mut fault = match error.kind() {
            ErrorKind::Rejected => match error.rejection() {
                Some(rejection) => return Self::of_rejection(rejection),
                None => Self::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
            },
            ErrorKind::Api => match error.api_error() {
                Some(api) => Self::of_api(api, error.status(), error.hint()),
                None => Self::upstream("upstream_error", error.to_string()),
            },
            ErrorKind::Credentials | ErrorKind::Configuration => {
                let status = if error.is_retryable() {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::INTERNAL_SERVER_ERROR
                };
                let message = format!("the gateway cannot reach the model: {error}");
                let mut fault = Self::new(status, "gateway_credentials", message);
                fault.is_worth_another = true;
                fault
            }
            ErrorKind::Timeout => {
                let mut fault = Self::upstream("upstream_timeout", error.to_string());
                fault.status = StatusCode::GATEWAY_TIMEOUT;
                fault
            }
            ErrorKind::Connection => Self::upstream("upstream_unreachable", error.to_string()),
            ErrorKind::Truncated => Self::upstream("upstream_truncated", error.to_string()),
            _ => Self::upstream("upstream_unreadable", error.to_string()),
        };
        fault.retry_after = error.retry_after();
        // Where there is no token, no model's server has said anything.
        fault.is_upstream = !matches!(error.kind(), ErrorKind::Credentials | ErrorKind::Configuration);
        fault
    }

    /// What a server says in the middle of a success.
    pub(crate) fn of_midway(api: &ApiError) -> Self {
        let mut fault = Self::of_api(api, None, "");
        fault.retry_after = api.retry_delay();
        fault.is_upstream = true;
        fault
    }

    fn of_api(api: &ApiError, status: Option<StatusCode>, hint: &str) -> Self {
        let told = api.status().and_then(|it| StatusCode::from_u16(it).ok());
        // RFC 9110 has statuses of three digits from 100 to 599; some servers have others.
        let status =
            status.filter(|it| !it.is_success()).or(told).filter(|it| (400..600).contains(&it.as_u16()));
        let status = status.unwrap_or(StatusCode::BAD_GATEWAY);
        let separator = if hint.is_empty() { "" } else { "; " };
        let words =
            if api.message().is_empty() { "the model's server gave no reason" } else { api.message() };
        // OpenAI's own words stay; a number, as Google and vLLM have it, says no more than the status.
        let own_code = api.code().filter(|it| it.parse::<u32>().is_err());
        let (own_type, their_word) = match api.r#type() {
            Some(word) if OPENAI_TYPES.contains(&word) => (Some(word), None),
            other => (None, other),
        };
        let violation = api.field_violations().first().map(|it| it.field.as_str());
        let param = api.param().or(violation).filter(|it| !it.is_empty());
        // vLLM's validator counts from the request, clients from its body.
        let param = param.map(|it| it.strip_prefix("body.").unwrap_or(it));
        // Clients that fall back to another model look for OpenAI's word.
        let no_model = status == StatusCode::NOT_FOUND
            && (param == Some("model") || api.message().starts_with("Publisher Model "));
        let code = match no_model {
            true => Some("model_not_found"),
            false => api.google_status().or(own_code).or(their_word),
        };
        let param = if no_model { Some("model") } else { param };
        Self {
            status,
            message: format!("{words}{separator}{hint}"),
            r#type: own_type.map_or(Cow::Borrowed(type_of(status)), |it| Cow::Owned(it.to_owned())),
            param: param.map(str::to_owned),
            code: code.map(|it| Cow::Owned(it.to_owned())),
            retry_after: None,
            forbids_retry: false,
            is_upstream: true,
            // 424 is TGI's for a generation that failed.
            is_worth_another: matches!(status.as_u16(), 401 | 403 | 404 | 408 | 424 | 429 | 499 | 500..=599),
        }
    }

    /// A request that would be refused, and so was not sent.
    pub(crate) fn of_rejection(rejection: &Rejection) -> Self {
        let first = rejection.problems().first();
        let code = match first {
            _ if rejection.is_too_costly() => TOO_COMPLEX,
            _ if rejection.is_unreadable() => "invalid_json",
            Some(problem) if problem.is_unsupported => "unsupported_parameter",
            _ => "invalid_request",
        };
        let fault = Self::new(StatusCode::BAD_REQUEST, code, rejection.to_string());
        match first {
            Some(problem) if !problem.path.is_empty() => fault.with_param(&problem.path),
            _ => fault,
        }
    }

    /// Whether the request takes more work to prepare than it was allowed.
    pub(crate) fn is_too_costly(&self) -> bool {
        self.code.as_deref() == Some(TOO_COMPLEX)
    }

    /// Whether it may be Google's refusal of a dedicated endpoint at the shared host (facts of the service, 4.5). Its text may
    /// also quote a client, so this is a reason to look something up, and never to believe the text.
    pub(crate) fn wants_dedicated_host(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST
            && self.code.as_deref() == Some("FAILED_PRECONDITION")
            && self.message.contains(DEDICATED_WORDS)
    }

    /// Has libraries not try again what the gateway has tried again.
    pub(crate) fn forbid_retry(&mut self, has_retried: bool) {
        self.forbids_retry = self.is_upstream && has_retried;
    }

    /// Adds what a person can do about it.
    pub(crate) fn add_remedy(&mut self, remedy: &str) {
        self.message.push_str("; ");
        self.message.push_str(remedy);
    }

    /// Whether the fault is that there was too much to do: the server wants to be left alone for a while.
    pub(crate) fn is_overload(&self) -> bool {
        self.is_upstream && matches!(self.status.as_u16(), 429 | 503)
    }

    /// The code, for logs; the type where there is none.
    pub(crate) fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(&self.r#type)
    }

    /// The body, or what a stream's error event says.
    pub(crate) fn to_json(&self) -> String {
        let Self { message, r#type, param, code, .. } = self;
        json!({"error": {"message": message, "type": r#type, "param": param, "code": code}}).to_string()
    }

    pub(crate) fn into_response(self) -> Response {
        let mut response = Response::new(self.to_json().into());
        *response.status_mut() = self.status;
        self.add_headers(response.headers_mut());
        response
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: who comes too early comes again.
            let wait = wait.min(RETRY_AFTER_SENT_MAX);
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.forbids_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
    }
}

/// OpenAI's word for the kind of fault that a status is.
fn type_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
