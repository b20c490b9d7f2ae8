//! What a caller learns when there is no answer.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use vertex_chat_auth::{AuthError, AuthErrorKind};
use vertex_chat_params::Rejection;
use vertex_chat_transport::{Sent, TransportError, TransportErrorKind};
use vertex_chat_types::{ApiError, ChatCompletion, FinishReason, ParseError};

use crate::response::request_id;

/// Why there is no answer, or no more of it.
///
/// ```
/// # use vertex_chat::{Client, ChatRequest, ChatCompletion, Error, ErrorKind, Response};
/// # async fn wait(_: Option<std::time::Duration>) {}
/// # async fn ask(client: &Client, request: ChatRequest) -> Result<Option<Response<ChatCompletion>>, Error> {
/// match client.chat(request).await {
///     Ok(answer) => Ok(Some(answer)),
///     Err(e) if e.kind() == ErrorKind::Rejected => { eprintln!("fix the request: {e}"); Ok(None) }
///     Err(e) if e.is_retryable() => { wait(e.retry_after()).await; Ok(None) }
///     Err(e) => Err(e),
/// }
/// # }
/// ```
///
/// Printed, it says the stage, the server's own code and words, and what to do. It never adds a prompt, an answer or a
/// token; a token that the server sent back is taken out of its words, and what it quotes of the request is not.
pub struct Error(Box<Facts>);

#[derive(Default)]
struct Facts {
    kind: Option<ErrorKind>,
    message: String,
    status: Option<StatusCode>,
    headers: HeaderMap,
    api: Option<ApiError>,
    rejection: Option<Rejection>,
    completion: Option<ChatCompletion>,
    retry_after: Option<Duration>,
    attempts: u32,
    resent: u32,
    received_chunks: u64,
    sent: Option<Sent>,
    retryable: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// At which stage it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The client cannot be built like this.
    ///
    /// *Troubleshooting:* the message names the setting or variable that is missing or wrong.
    Configuration,
    /// The request would certainly be refused, so it was not sent.
    ///
    /// *Troubleshooting:* [`Error::rejection`] lists every fault with its path and remedy.
    Rejected,
    /// There is no token.
    ///
    /// *Troubleshooting:* `vertex-chat doctor` shows which credentials were looked for and what is wrong with them.
    Credentials,
    /// The server was not reached, or the connection was lost.
    ///
    /// *Troubleshooting:* check the network and `HTTPS_PROXY`; [`Error::sent`] says whether the server may have seen the
    /// request.
    Connection,
    /// One of the clocks ran out.
    ///
    /// *Troubleshooting:* thinking models are silent for minutes; raise the timeout that the message names, or stream.
    Timeout,
    /// The server said no.
    ///
    /// *Troubleshooting:* [`Error::api_error`] has its words. 401: the token; 403: the permission
    /// `aiplatform.endpoints.predict`; 404: the model is not at this location, try `global`; 429: wait.
    Api,
    /// The stream ended before the answer did.
    ///
    /// *Troubleshooting:* the server or a proxy cut it; ask again. What came so far is not the answer.
    Truncated,
    /// The server ended the answer and says that it failed, as with a tool call that it cannot read.
    ///
    /// *Troubleshooting:* ask again; simpler tools fail less.
    Failed,
    /// The server answered without a single choice, as it does when it blocks a prompt.
    ///
    /// *Troubleshooting:* [`Error::completion`] has the answer; change the prompt or the safety settings.
    NoChoices,
    /// The answer is not what the protocol says.
    ///
    /// *Troubleshooting:* the base URL points to something else, or a proxy answers in the server's place.
    Unreadable,
    /// The answer is larger than the limits of this crate.
    TooLarge,
}

impl Error {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Facts { kind: Some(kind), message: message.into(), ..Facts::default() }))
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Configuration, message).with_sent(Sent::No)
    }

    pub(crate) fn rejected(rejection: Rejection) -> Self {
        let mut error = Self::new(ErrorKind::Rejected, format!("the request was not sent: {rejection}"));
        error.0.rejection = Some(rejection);
        error.with_sent(Sent::No)
    }

    pub(crate) fn credentials(cause: AuthError) -> Self {
        let kind = match cause.kind() {
            AuthErrorKind::Configuration => ErrorKind::Configuration,
            _ => ErrorKind::Credentials,
        };
        let mut error = Self::new(kind, format!("no access token: {cause}"));
        error.0.retryable = cause.is_transient();
        error.0.retry_after = cause.retry_after();
        // The text already holds the cause's own words; its source is what is left to tell.
        error.0.source = Some(Box::new(cause));
        error.with_sent(Sent::No)
    }

    pub(crate) fn transport(stage: &str, cause: TransportError) -> Self {
        let kind = match cause.kind() {
            _ if cause.is_timeout() => ErrorKind::Timeout,
            TransportErrorKind::TooLarge | TransportErrorKind::NoRoom => ErrorKind::TooLarge,
            TransportErrorKind::Protocol => ErrorKind::Unreadable,
            TransportErrorKind::Invalid => ErrorKind::Configuration,
            _ => ErrorKind::Connection,
        };
        let mut error = Self::new(kind, format!("{stage}: {cause}"));
        error.0.retryable = matches!(kind, ErrorKind::Timeout | ErrorKind::Connection)
            && !matches!(cause.kind(), TransportErrorKind::Tls | TransportErrorKind::Proxy);
        let sent = cause.sent();
        error.0.source = Some(Box::new(cause));
        error.with_sent(sent)
    }

    pub(crate) fn api(stage: &str, api: ApiError) -> Self {
        let hint = hint(&api);
        let separator = if hint.is_empty() { "" } else { "; " };
        let mut error = Self::new(ErrorKind::Api, format!("{stage}: {api}{separator}{hint}"));
        error.0.retryable = match api.status() {
            Some(status) => matches!(status, 408 | 429 | 499 | 500 | 502 | 503 | 504),
            None => matches!(
                api.google_status(),
                Some("UNAVAILABLE" | "RESOURCE_EXHAUSTED" | "INTERNAL" | "CANCELLED")
            ),
        };
        error.0.retry_after = api.retry_delay();
        error.0.status = api.status().and_then(|status| StatusCode::from_u16(status).ok());
        error.0.api = Some(api);
        error.with_sent(Sent::Yes)
    }

    pub(crate) fn truncated(message: &str) -> Self {
        let mut error = Self::new(ErrorKind::Truncated, message);
        error.0.retryable = true;
        error.with_sent(Sent::Yes)
    }

    pub(crate) fn failed(reason: &FinishReason) -> Self {
        let word = reason.shown();
        let message = format!("the model's answer failed, with the finish reason {word}; ask again");
        let mut error = Self::new(ErrorKind::Failed, message);
        error.0.retryable = true;
        error.with_sent(Sent::Yes)
    }

    pub(crate) fn no_choices(completion: Option<ChatCompletion>) -> Self {
        let message = "the server answered without a choice, as it does when it blocks the prompt";
        let mut error = Self::new(ErrorKind::NoChoices, message);
        error.0.completion = completion;
        error.with_sent(Sent::Yes)
    }

    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unreadable, message).with_sent(Sent::Yes)
    }

    pub(crate) fn unreadable_json(stage: &str, cause: ParseError) -> Self {
        let mut error = Self::unreadable(format!("{stage}: {cause}"));
        error.0.source = Some(Box::new(cause));
        error
    }

    pub(crate) fn too_large(cause: impl StdError + Send + Sync + 'static) -> Self {
        let mut error = Self::new(ErrorKind::TooLarge, cause.to_string());
        error.0.source = Some(Box::new(cause));
        error.with_sent(Sent::Yes)
    }

    /// An earlier attempt was sent, or may have been.
    pub(crate) fn sent_at_least(self, sent: Sent) -> Self {
        let sent = sent.max(self.sent());
        self.with_sent(sent)
    }

    fn with_sent(mut self, sent: Sent) -> Self {
        self.0.sent = Some(sent);
        self
    }

    pub(crate) fn with_head(mut self, status: StatusCode, headers: HeaderMap) -> Self {
        self.0.status = Some(status);
        self.0.headers = headers;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_resent(mut self, resent: u32) -> Self {
        self.0.resent = resent;
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait.or(self.0.retry_after);
        self
    }

    pub(crate) fn with_received_chunks(mut self, chunks: u64) -> Self {
        self.0.received_chunks = chunks;
        self
    }

    /// At which stage it failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind.unwrap_or(ErrorKind::Unreadable)
    }

    /// The HTTP status, when there was an answer; or the one that an error inside a stream names.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// The answer's headers, when there was one.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The server's name for the request, to give to its support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        request_id(&self.0.headers)
    }

    /// What the server said.
    #[must_use]
    pub fn api_error(&self) -> Option<&ApiError> {
        self.0.api.as_ref()
    }

    /// The usual cause of what the server said, and what to do; empty where there is none.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        self.0.api.as_ref().map_or("", hint)
    }

    /// Google's status word, such as `RESOURCE_EXHAUSTED`.
    #[must_use]
    pub fn google_status(&self) -> Option<&str> {
        self.0.api.as_ref()?.google_status()
    }

    /// Every fault of a request that was not sent.
    #[must_use]
    pub fn rejection(&self) -> Option<&Rejection> {
        self.0.rejection.as_ref()
    }

    /// The answer that has no choice.
    #[must_use]
    pub fn completion(&self) -> Option<&ChatCompletion> {
        self.0.completion.as_ref()
    }

    /// How long to wait before asking again, by the server's own word.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// How many requests were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How many of them were sent again at once, because the connection had ended before the server began to answer. They are
    /// no retries.
    #[must_use]
    pub fn resent(&self) -> u32 {
        self.0.resent
    }

    /// How many chunks of a stream had been given out.
    #[must_use]
    pub fn received_chunks(&self) -> u64 {
        self.0.received_chunks
    }

    /// Whether the server may have seen the request.
    ///
    /// *Troubleshooting:* with [`Sent::No`] asking again cannot do anything twice; otherwise the server may have done,
    /// and charged, its work.
    #[must_use]
    pub fn sent(&self) -> Sent {
        self.0.sent.unwrap_or(Sent::Maybe)
    }

    /// Whether asking again, later, may help. The client has done so already, as often as it may.
    ///
    /// *Troubleshooting:* wait for [`retry_after`](Self::retry_after), or longer each time.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if self.0.attempts > 1 {
            write!(f, " (after {} attempts)", self.0.attempts)?;
        }
        if self.0.received_chunks > 0 {
            write!(f, " (after {} chunks)", self.0.received_chunks)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("message", &self.0.message)
            .field("status", &self.0.status)
            .field("request_id", &self.request_id())
            .field("attempts", &self.0.attempts)
            .field("sent", &self.sent())
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The message has the words of the error below; its causes are one level further down.
        self.0.source.as_deref().and_then(StdError::source)
    }
}

/// The usual cause of what Vertex says.
fn hint(api: &ApiError) -> &'static str {
    match (api.status(), api.reason()) {
        (Some(401), Some("ACCESS_TOKEN_EXPIRED")) => "the access token has expired",
        (Some(401), _) => "check the credentials; `vertex-chat doctor` explains them",
        (Some(403), Some("SERVICE_DISABLED")) => "enable the Vertex AI API for the project",
        (Some(403), _) if api.message().contains("aiplatform.endpoints.predict") => {
            "grant the role Vertex AI User (roles/aiplatform.user); it takes effect after some minutes"
        }
        (Some(404), _) if api.message().contains("Publisher Model") => {
            "the model may exist at another location only; try `global`"
        }
        (Some(400), _) if api.message().contains("dedicated domain name") => {
            "set the host to the endpoint's dedicated domain, which the list of endpoints has"
        }
        _ => "",
    }
}
