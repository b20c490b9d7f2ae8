//! The client: one request from its preparation to its answer.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use tracing::{Instrument, Span};
use vertex_chat_auth::{AccessToken, TokenSource};
use vertex_chat_params::{Dialect, Policy, PreparedRequest, Report, Rewrites, Target, prepare_in_place};
use vertex_chat_transport::{
    Body, Clock, Exchange, LogText, NewConnection, Request, RetryPolicy, Sent, Timeouts, TransportError,
    TransportErrorKind, is_retryable_status, retry_after, send_within, within,
};
use vertex_chat_types::{ApiError, ChatCompletion, ChatRequest, ParseError};

use crate::budgets::Budgets;
use crate::endpoint::{OPENAPI, Shape};
use crate::response::{Meta, Response, name_back};
use crate::stream::ChatStream;
use crate::trust::Trust;
use crate::{CallOptions, ClientBuilder, Error, ErrorKind};

/// How much of a URL is shown, in characters.
const URL_CHARS_MAX: usize = 300;
/// How much of a coding's name is shown, in characters.
const CODING_CHARS_MAX: usize = 32;
/// How long [`Client::reach`] waits for an answer.
const REACH_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest whole answer that is read. Generated pictures come inline.
pub const COMPLETION_BYTES_MAX: usize = 64 << 20;
/// How much of an answer that is not a success is read.
pub const ERROR_BODY_BYTES_MAX: usize = 64 << 10;
/// How many endpoints are asked for at once.
const ENDPOINTS_PER_PAGE: u32 = 100;
/// How many pages of a project's endpoints are read.
pub const ENDPOINT_PAGES_MAX: usize = 100;

/// What becomes of a request: a body and what was told beside it.
type Exchanged<'a> = Pin<Box<dyn Future<Output = Result<(Body, Meta), Error>> + Send + 'a>>;

/// A client for one endpoint.
///
/// Cloning is cheap; all clones share connections, tokens and the retry budget.
#[derive(Clone)]
pub struct Client(Arc<Settings>, Arc<Budgets>);

pub(crate) struct Settings {
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Option<Arc<dyn TokenSource>>,
    pub(crate) trust: Trust,
    pub(crate) chat_url: Uri,
    /// `…/projects/P/locations/L`, where the client was built from names.
    pub(crate) parent_url: Option<String>,
    /// The endpoint's id, where the client was built from names.
    pub(crate) endpoint: Option<String>,
    pub(crate) shape: Shape,
    pub(crate) dialect: Option<Dialect>,
    pub(crate) policy: Option<Policy>,
    pub(crate) rewrites: Rewrites,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: RetryPolicy,
    pub(crate) retry_after_sending: bool,
    pub(crate) headers: HeaderMap,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.0.chat_url)
            .field("shape", &self.0.shape)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client from environment variables alone; see [their order](ClientBuilder#environment).
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): what is missing, and where it was looked for.
    pub fn from_env() -> Result<Self, Error> {
        ClientBuilder::new().build()
    }

    /// A client, to be put together.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn new(settings: Settings) -> Self {
        Self(Arc::new(settings), Arc::default())
    }

    /// Where requests go.
    #[must_use]
    pub fn chat_url(&self) -> &Uri {
        &self.0.chat_url
    }

    /// The dialect that requests for this model are prepared for.
    #[must_use]
    pub fn dialect(&self, model: Option<&str>) -> Dialect {
        self.0.dialect.unwrap_or_else(|| self.0.shape.dialect(model))
    }

    /// Asks for an answer and waits for the whole of it.
    ///
    /// # Errors
    /// See [`Error`]. An answer without a choice is one, see [`NoChoices`](crate::ErrorKind::NoChoices).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the request.
    pub async fn chat(&self, request: ChatRequest) -> Result<Response<ChatCompletion>, Error> {
        self.chat_with(request, &CallOptions::default()).await
    }

    /// [`chat`](Self::chat) with options of its own.
    ///
    /// # Errors
    /// As [`chat`](Self::chat).
    pub async fn chat_with(
        &self,
        request: ChatRequest,
        options: &CallOptions,
    ) -> Result<Response<ChatCompletion>, Error> {
        // A request is some 2 KiB, which every layer below would move.
        let mut request = Box::new(request);
        request.stream = None;
        // Of a stream only, and OpenAI and vLLM refuse it elsewhere; one request may be asked both ways.
        request.stream_options = None;
        let span = self.span(&request);
        let call = Box::pin(async {
            let (body, meta) = self.open(&mut request, options).await?;
            let status = meta.status;
            let failed = |error: Error, meta: &Meta| {
                error
                    .with_head(status, meta.headers.clone())
                    .with_attempts(meta.attempts)
                    .with_resent(meta.resent)
            };
            let body = match body.collect(COMPLETION_BYTES_MAX).await {
                Ok(body) => body,
                Err(error) => return Err(failed(Error::transport("reading the answer", error), &meta)),
            };
            match read_completion(&body) {
                Ok(mut completion) => {
                    name_back(meta.report().function_names(), &mut completion);
                    record(&Span::current(), &completion);
                    Ok(Response::new(completion, meta))
                }
                Err(error) => Err(failed(error, &meta)),
            }
        });
        let answer = call.instrument(span.clone()).await;
        answer.inspect_err(|error| record_error(&span, error))
    }

    /// Asks for an answer in pieces. Returns when the server has begun to answer.
    ///
    /// # Errors
    /// As [`chat`](Self::chat); what goes wrong later comes out of the stream.
    ///
    /// # Cancel safety
    /// Dropping the future, or the stream, gives up the request.
    pub async fn chat_stream(&self, request: ChatRequest) -> Result<ChatStream, Error> {
        self.chat_stream_with(request, &CallOptions::default()).await
    }

    /// [`chat_stream`](Self::chat_stream) with options of its own.
    ///
    /// # Errors
    /// As [`chat_stream`](Self::chat_stream).
    pub async fn chat_stream_with(
        &self,
        request: ChatRequest,
        options: &CallOptions,
    ) -> Result<ChatStream, Error> {
        let mut request = Box::new(request);
        request.stream = Some(true);
        let span = self.span(&request);
        let opened = Box::pin(self.open(&mut request, options)).instrument(span.clone()).await;
        let (body, meta) = opened.inspect_err(|error| record_error(&span, error))?;
        Ok(ChatStream::new(body, meta, span, Arc::clone(&self.0.clock)))
    }

    /// The project's endpoints at the client's location: those that `gcloud ai endpoints list` shows.
    ///
    /// # Errors
    /// As [`chat`](Self::chat); of kind [`Configuration`](crate::ErrorKind::Configuration) when the client was built
    /// from a base URL and so knows no project.
    pub async fn endpoints(&self) -> Result<Vec<EndpointInfo>, Error> {
        let Some(parent) = &self.0.parent_url else {
            return Err(Error::configuration(
                "a client of a base URL knows no project; build it from project and location",
            ));
        };
        let mut endpoints = Vec::new();
        let mut page_token = String::new();
        for _ in 0..ENDPOINT_PAGES_MAX {
            let token: String = form_urlencoded::byte_serialize(page_token.as_bytes()).collect();
            let url = format!("{parent}/endpoints?pageSize={ENDPOINTS_PER_PAGE}&pageToken={token}");
            let url = url.parse().map_err(|_| Error::unreadable("the server's page token is too long"))?;
            let body = self.get(url).await?;
            let page = EndpointPage::read(&body);
            let page = page.map_err(|error| Error::unreadable_json("reading the endpoints", error))?;
            endpoints.extend(page.endpoints);
            match page.next_page_token {
                Some(token) if !token.is_empty() => page_token = token,
                _ => break,
            }
        }
        Ok(endpoints)
    }

    /// The client's own endpoint, as the service describes it: whether it has a domain of its own, and which models are deployed on
    /// it. Source: Vertex AI REST reference, `projects.locations.endpoints.get`.
    ///
    /// # Errors
    /// As [`endpoints`](Self::endpoints); also for a client of `openapi`, which is no endpoint of a project.
    pub async fn endpoint_info(&self) -> Result<EndpointInfo, Error> {
        let endpoint = self.0.endpoint.as_deref().filter(|it| *it != OPENAPI);
        let (Some(parent), Some(endpoint)) = (&self.0.parent_url, endpoint) else {
            return Err(Error::configuration(
                "the client has no endpoint of a project; build it with `endpoint`",
            ));
        };
        let url = format!("{parent}/endpoints/{endpoint}").parse();
        let body = self.get(url.map_err(|_| Error::configuration("the endpoint's id is too long"))?).await?;
        let info: Value = vertex_chat_types::from_slice(&body)
            .map_err(|error| Error::unreadable_json("reading the endpoint", error))?;
        Ok(EndpointInfo::read(&info))
    }

    async fn get(&self, url: Uri) -> Result<Bytes, Error> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url;
        let (body, meta) = self.exchange(request, "", &CallOptions::default(), Report::default()).await?;
        body.collect(COMPLETION_BYTES_MAX).await.map_err(|error| {
            Error::transport("reading the answer", error)
                .with_head(meta.status, meta.headers)
                .with_attempts(meta.attempts)
                .with_resent(meta.resent)
        })
    }

    fn span(&self, request: &ChatRequest) -> Span {
        let span = tracing::info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = self.0.shape.provider(),
            gen_ai.request.model = tracing::field::Empty,
            gen_ai.request.stream = request.is_stream(),
            gen_ai.response.id = tracing::field::Empty,
            gen_ai.response.model = tracing::field::Empty,
            gen_ai.response.finish_reasons = tracing::field::Empty,
            gen_ai.usage.input_tokens = tracing::field::Empty,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            server.address = self.0.chat_url.host().unwrap_or_default(),
            "error.type" = tracing::field::Empty,
        );
        if let Some(model) = request.model.as_deref() {
            span.record("gen_ai.request.model", foreign(model).as_str());
        }
        span
    }

    /// What requests for this model are prepared for, by [`prepare_json`](vertex_chat_params::prepare_json) and others.
    #[must_use]
    pub fn target(&self, model: Option<&str>) -> Target {
        let dialect = self.dialect(model);
        let policy = self.0.policy.unwrap_or_else(|| dialect.default_policy());
        Target::new(dialect).with_policy(policy).with_rewrites(self.0.rewrites)
    }

    /// Sends a request that is ready, and gives the answer as it came: what a gateway is made of. The body is a
    /// completion, or a stream of events, or whatever the server says with a success.
    ///
    /// # Errors
    /// As [`chat`](Self::chat), but for what only reading the answer shows.
    ///
    /// # Cancel safety
    /// Dropping the future, or the body, gives up the request.
    pub async fn send(
        &self,
        prepared: PreparedRequest,
        options: &CallOptions,
    ) -> Result<Response<Body>, Error> {
        let (body, model, report) = prepared.into_parts();
        let model = model.unwrap_or_default();
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.0.chat_url.clone();
        let (body, meta) = self.exchange(request, &model, options, report).await?;
        Ok(Response::new(body, meta))
    }

    /// The headers with which the credentials go to [`chat_url`](Self::chat_url), for whoever speaks to it by other means;
    /// none for a client without credentials. They are good for now: ask again before each request.
    ///
    /// # Errors
    /// When there is no token, or it may not go there.
    pub async fn authorization(&self) -> Result<HeaderMap, Error> {
        let deadline = self.0.clock.monotonic().saturating_add(self.0.timeouts.total);
        let mut headers = HeaderMap::new();
        if let Some(token) = self.token(deadline).await? {
            self.0.trust.check(&token).map_err(Error::configuration)?;
            headers.extend(token.headers().clone());
            headers.insert(AUTHORIZATION, token.authorization().clone());
        }
        Ok(headers)
    }

    /// Finds out whether the server is there: a connection is made, and a request without credentials is answered, with whatever
    /// status.
    ///
    /// # Errors
    /// When there is no connection, or no answer within ten seconds.
    pub async fn reach(&self) -> Result<(), Error> {
        let settings = &self.0;
        let mut request = Request::new(Bytes::new());
        let mut parts = settings.chat_url.clone().into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from_parts(parts).expect("because it has scheme, host and path");
        let timeouts = settings.timeouts.with_first_byte(REACH_TIMEOUT);
        let deadline = settings.clock.monotonic().saturating_add(REACH_TIMEOUT);
        let sent = send_within(&*settings.exchange, request, &timeouts, deadline, &settings.clock).await;
        sent.map(|_| ()).map_err(|error| Error::transport("reaching the server", error))
    }

    /// Gets a token, so that the first call does not wait for one. A client without credentials has nothing to get.
    ///
    /// # Errors
    /// When there is none.
    pub async fn warm_up(&self) -> Result<(), Error> {
        let deadline = self.0.clock.monotonic().saturating_add(self.0.timeouts.total);
        self.token(deadline).await.map(|_| ())
    }

    /// Prepares a request and sends it.
    async fn open(&self, request: &mut ChatRequest, options: &CallOptions) -> Result<(Body, Meta), Error> {
        let mut target = self.target(request.model.as_deref());
        target.policy = options.policy.unwrap_or(target.policy);
        let prepared = prepare_in_place(request, &target).map_err(Error::rejected)?;
        Ok(self.send(prepared, options).await?.into_parts())
    }

    /// [`attempts`](Self::attempts) in a box: it is compiled in this crate, once, and not in each that sends a request.
    fn exchange<'a>(
        &'a self,
        request: Request,
        model: &'a str,
        options: &'a CallOptions,
        report: Report,
    ) -> Exchanged<'a> {
        Box::pin(self.attempts(request, model, options, report))
    }

    /// Sends a request until there is a success, or no reason to go on: the one place with retries. `model` is whose budget of
    /// retries it is.
    async fn attempts(
        &self,
        mut request: Request,
        model: &str,
        options: &CallOptions,
        report: Report,
    ) -> Result<(Body, Meta), Error> {
        let Self(settings, budgets) = self;
        let timeouts = options.timeouts.unwrap_or(settings.timeouts);
        let retry = options.retry.as_ref().unwrap_or(&settings.retry);
        let retry_after_sending = options.retry_after_sending.unwrap_or(settings.retry_after_sending);
        let deadline = settings.clock.monotonic().saturating_add(timeouts.total);
        request.headers_mut().clone_from(&settings.headers);
        for (name, value) in &options.headers {
            if name != AUTHORIZATION {
                request.headers_mut().insert(name, value.clone());
            }
        }

        let mut attempts = 0;
        let mut resent = Resent::default();
        let mut token_renewed = false;
        // Over all attempts: a later one that was not sent does not take an earlier one back.
        let mut sent_so_far = Sent::No;
        loop {
            let token = self.token(deadline).await;
            let token = token.map_err(|error| error.with_attempts(attempts).sent_at_least(sent_so_far))?;
            if let Some(token) = &token {
                settings.trust.check(token).map_err(Error::configuration)?;
                for (name, value) in token.headers() {
                    if !options.headers.contains_key(name) && !settings.headers.contains_key(name) {
                        request.headers_mut().insert(name, value.clone());
                    }
                }
                request.headers_mut().insert(AUTHORIZATION, token.authorization().clone());
            }
            attempts += 1;
            if let Some(counter) = &options.attempts {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            let sent =
                send_within(&*settings.exchange, request.clone(), &timeouts, deadline, &settings.clock).await;
            let (failure, wait, worth_it) = match sent {
                Ok(response) if response.status().is_success() => {
                    let resent = resent.count() + u32::from(token_renewed);
                    let response = usable(response, request.uri()).await;
                    let response = response.map_err(|it| it.with_attempts(attempts).with_resent(resent))?;
                    budgets.give(model);
                    let (head, body) = response.into_parts();
                    let (status, headers) = (head.status, head.headers);
                    return Ok((body, Meta { status, headers, attempts, resent, report }));
                }
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let hint = retry_after(&head.headers, settings.clock.wall());
                    let failure =
                        status_error(head.status, head.headers, body, token.as_ref(), request.uri()).await;
                    sent_so_far = Sent::Yes;
                    if head.status == StatusCode::UNAUTHORIZED && !token_renewed && self.renew(token.as_ref())
                    {
                        tracing::debug!("the token was refused; trying once more with a new one");
                        token_renewed = true;
                        continue;
                    }
                    let wait = hint.or(failure.retry_after());
                    (failure.with_retry_after(wait), wait, is_retryable_status(head.status))
                }
                Err(error) => {
                    if resent.allows(&error, retry_after_sending) && settings.clock.monotonic() < deadline {
                        tracing::debug!(%error, "the connection had ended; sending again over a new one");
                        sent_so_far = sent_so_far.max(error.sent());
                        request.extensions_mut().insert(NewConnection);
                        continue;
                    }
                    let worth_it = is_worth_sending_again(&error, retry_after_sending);
                    sent_so_far = sent_so_far.max(error.sent());
                    (Error::transport("sending the request", error), None, worth_it)
                }
            };
            // Neither a renewed token nor a connection that had ended counts as a retry.
            let again = resent.count() + u32::from(token_renewed);
            let failure = failure.with_attempts(attempts).with_resent(again).sent_at_least(sent_so_far);
            let counted = attempts - again;
            let wait = retry.wait(counted, wait).filter(|_| worth_it);
            match wait {
                Some(wait)
                    if settings.clock.monotonic().saturating_add(wait) < deadline && budgets.take(model) =>
                {
                    // Not the server's words: some quote the request.
                    let (kind, status) = (failure.kind(), failure.status().map(|it| it.as_u16()));
                    tracing::debug!(attempts, ?kind, status, wait_ms = wait.as_millis(), "trying again");
                    settings.clock.sleep(wait).await;
                }
                _ => return Err(failure),
            }
        }
    }

    /// A token, if the client has credentials at all.
    async fn token(&self, deadline: Duration) -> Result<Option<AccessToken>, Error> {
        let Some(tokens) = &self.0.tokens else { return Ok(None) };
        if let Some(token) = tokens.cached() {
            return Ok(Some(token));
        }
        // The source has clocks of its own; this is for a source that somebody else wrote.
        let left = deadline.saturating_sub(self.0.clock.monotonic());
        match within(&self.0.clock, left, tokens.refresh()).await {
            Some(token) => token.map(Some).map_err(Error::credentials),
            None => {
                let context = "while waiting for a token";
                let error = TransportError::new(TransportErrorKind::TotalTimeout, Sent::No, context);
                Err(Error::transport("no access token", error))
            }
        }
    }

    /// Gives up a token that the server refused; `false` when there will be no other.
    fn renew(&self, refused: Option<&AccessToken>) -> bool {
        let (Some(tokens), Some(refused)) = (&self.0.tokens, refused) else { return false };
        tokens.invalidate(refused);
        tokens.cached().is_none_or(|token| token != *refused)
    }
}

/// How often a request was sent again at once because its connection had ended, beside all retries.
#[derive(Debug, Default)]
struct Resent {
    /// After it was certainly not sent.
    unsent: u32,
    /// After it may have been sent, over a connection that was used before.
    unanswered: u32,
}

impl Resent {
    /// The most times that a request which was certainly not sent is sent again at once.
    const UNSENT_MAX: u32 = 3;

    fn count(&self) -> u32 {
        self.unsent + self.unanswered
    }

    /// Whether this error is one after which the request is sent again at once; then it is counted.
    ///
    /// A server closes connections that were idle, and a GOAWAY or a REFUSED_STREAM says that a request was not begun. Such a
    /// request has done nothing yet, so it needs neither a wait nor another server.
    fn allows(&mut self, error: &TransportError, after_sending: bool) -> bool {
        if error.kind() != TransportErrorKind::Interrupted {
            return false;
        }
        if error.sent() == Sent::No {
            let allowed = self.unsent < Self::UNSENT_MAX;
            self.unsent += u32::from(allowed);
            return allowed;
        }
        let allowed = error.sent() == Sent::Maybe
            && error.is_on_reused_connection()
            && after_sending
            && self.unanswered == 0;
        self.unanswered += u32::from(allowed);
        allowed
    }
}

/// Whether a request that got no answer may be sent again.
fn is_worth_sending_again(error: &TransportError, after_sending: bool) -> bool {
    match error.kind() {
        TransportErrorKind::Connect | TransportErrorKind::ConnectTimeout => true,
        TransportErrorKind::Interrupted => error.sent() == Sent::No || after_sending,
        // A first-byte timeout is long; the server is still at work on what it would be asked again.
        _ => false,
    }
}

/// An answer that says it is one, unless it is in a coding that was not asked for, or a page for people.
async fn usable(
    response: vertex_chat_transport::Response,
    url: &Uri,
) -> Result<vertex_chat_transport::Response, Error> {
    let (status, headers) = (response.status(), response.headers());
    if let Err(error) = check_coding(headers) {
        return Err(error.with_head(status, headers.clone()));
    }
    if !is_page(headers) {
        return Ok(response);
    }
    let (head, body) = response.into_parts();
    let page = ApiError::page(&begin(body).await).unwrap_or_else(|| "an HTML page".to_owned());
    let message = format!(
        "the server answered with {page}, in place of a completion; the request went to {}, which is to be the address of an API",
        shown_url(url)
    );
    Err(Error::unreadable(message).with_head(head.status, head.headers))
}

/// Refuses an answer in a coding that was not asked for: its bytes would be read as something else.
fn check_coding(headers: &HeaderMap) -> Result<(), Error> {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    let mut codings = values.flat_map(|it| it.split(',')).map(str::trim);
    match codings.find(|it| !it.is_empty() && !it.eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(coding) => Err(Error::unreadable(format!(
            "the server answered in the coding `{}`, which was not asked for (`accept-encoding: identity`); have the server or \
             the proxy before it not compress",
            LogText::new(coding, CODING_CHARS_MAX)
        ))),
    }
}

/// Reads an answer that is not a success.
async fn status_error(
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    token: Option<&AccessToken>,
    url: &Uri,
) -> Error {
    if status.is_redirection() {
        let location =
            headers.get(LOCATION).and_then(|it| it.to_str().ok()).and_then(|it| it.parse::<Uri>().ok());
        let target = location.map(|it| format!(" to {}", shown_url(&it))).unwrap_or_default();
        let message = format!(
            "the server answered {status}{target}: redirects are not followed, because a token is not for whom they name; if \
             that is the server that you mean, give its address"
        );
        return Error::unreadable(message).with_head(status, headers);
    }
    if let Err(error) = check_coding(&headers) {
        return error.with_head(status, headers);
    }
    let read = begin(body).await;
    // Debugging servers and proxies send the request's headers back.
    let token = token.and_then(|it| it.authorization().to_str().ok());
    let body = match token.and_then(|it| it.strip_prefix("Bearer ")).filter(|it| !it.is_empty()) {
        Some(token) => without(&read, token),
        None => Cow::Borrowed(&read[..]),
    };
    let api = ApiError::from_body(Some(status.as_u16()), &body);
    let stage = match status {
        // Mostly it is the address that is wrong.
        StatusCode::NOT_FOUND => format!("the server refused {}", shown_url(url)),
        _ => "the server refused".to_owned(),
    };
    Error::api(&stage, api).with_head(status, headers)
}

/// The beginning of a body that is not an answer.
async fn begin(mut body: Body) -> BytesMut {
    let mut read = BytesMut::new();
    while let Some(Ok(chunk)) = body.chunk().await {
        let room = ERROR_BODY_BYTES_MAX - read.len();
        read.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if read.len() == ERROR_BODY_BYTES_MAX {
            break;
        }
    }
    read
}

/// Whether an answer says that it is a page for people.
fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    kind.trim_start().get(..9).is_some_and(|it| it.eq_ignore_ascii_case("text/html"))
}

/// A URL for an error: without user and query, which may be secrets.
fn shown_url(url: &Uri) -> String {
    let host =
        url.authority().map(|it| it.as_str().rsplit('@').next().unwrap_or_default()).unwrap_or_default();
    let scheme = url.scheme_str().map(|it| format!("{it}://")).unwrap_or_default();
    LogText::new(&format!("{scheme}{host}{}", url.path()), URL_CHARS_MAX).to_string()
}

/// A text with a secret taken out of it.
fn without<'a>(text: &'a [u8], secret: &str) -> Cow<'a, [u8]> {
    if !text.windows(secret.len()).any(|window| window == secret.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let cleaned = String::from_utf8_lossy(text).replace(secret, "[the access token]");
    Cow::Owned(cleaned.into_bytes())
}

/// Reads a whole answer: a completion, or an error that came with a success.
pub(crate) fn read_completion(body: &[u8]) -> Result<ChatCompletion, Error> {
    let mut completion = match ChatCompletion::from_json(body) {
        Ok(completion) => completion,
        Err(error) => {
            return Err(match ApiError::detect(body) {
                Some(api) => Error::api("the server answered with an error", api),
                None => Error::unreadable_json("the answer is not a completion", error),
            });
        }
    };
    if !completion.choices.is_empty() {
        completion.use_openai_finish_reasons().map_err(|reason| Error::failed(&reason))?;
        return Ok(completion);
    }
    match ApiError::detect(body) {
        Some(api) => Err(Error::api("the server answered with an error", api)),
        None => Err(Error::no_choices(Some(completion))),
    }
}

/// A word of a caller's or a server's for a span.
fn foreign(word: &str) -> String {
    const CHARS_MAX: usize = 256;
    LogText::new(word, CHARS_MAX).to_string()
}

/// Writes what an answer tells about itself into its span.
pub(crate) fn record(span: &Span, completion: &ChatCompletion) {
    if span.is_disabled() {
        return;
    }
    if let Some(id) = completion.id.as_deref() {
        span.record("gen_ai.response.id", foreign(id).as_str());
    }
    if let Some(model) = completion.model.as_deref() {
        span.record("gen_ai.response.model", foreign(model).as_str());
    }
    let reasons: Vec<_> =
        completion.choices.iter().filter_map(|it| it.finish_reason.get().map(ToString::to_string)).collect();
    span.record("gen_ai.response.finish_reasons", foreign(&reasons.join(",")).as_str());
    if let Some(usage) = &completion.usage {
        span.record("gen_ai.usage.input_tokens", usage.prompt_tokens.unwrap_or(0));
        span.record("gen_ai.usage.output_tokens", usage.completion_tokens.unwrap_or(0));
    }
}

/// Writes why there is no answer into its span: the status, or the stage.
pub(crate) fn record_error(span: &Span, error: &Error) {
    match error.status().filter(|_| error.kind() == ErrorKind::Api) {
        Some(status) => span.record("error.type", status.as_u16()),
        None => span.record("error.type", tracing::field::debug(error.kind())),
    };
}

/// An endpoint of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointInfo {
    /// Its id, to give to [`ClientBuilder::endpoint`].
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// The host of a dedicated endpoint, to give to [`ClientBuilder::host`].
    pub dedicated_host: Option<String>,
    /// What people call the models that are deployed on it.
    pub models: Vec<String>,
}

impl EndpointInfo {
    fn read(endpoint: &Value) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text(endpoint, "name").unwrap_or_default();
        let models =
            endpoint.get("deployedModels").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            id: name.rsplit('/').next().unwrap_or_default().to_owned(),
            display_name: text(endpoint, "displayName").unwrap_or_default(),
            dedicated_host: text(endpoint, "dedicatedEndpointDns").filter(|it| !it.is_empty()),
            models: models
                .iter()
                .filter_map(|it| text(it, "displayName").or_else(|| text(it, "model")))
                .collect(),
        }
    }
}

struct EndpointPage {
    endpoints: Vec<EndpointInfo>,
    next_page_token: Option<String>,
}

impl EndpointPage {
    fn read(body: &[u8]) -> Result<Self, ParseError> {
        let page: Value = vertex_chat_types::from_slice(body)?;
        let endpoints =
            page.get("endpoints").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let endpoints = endpoints.iter().map(EndpointInfo::read).collect();
        let next_page_token = page.get("nextPageToken").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { endpoints, next_page_token })
    }
}
