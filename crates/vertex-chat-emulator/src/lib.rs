//! Vertex AI's chat completions, and the Google that stands before them, on this machine.
//!
//! ```
//! use std::sync::Arc;
//! use vertex_chat_emulator::Emulator;
//! use vertex_chat_transport::SystemClock;
//!
//! # #[tokio::main] async fn main() -> std::io::Result<()> {
//! let running = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await?;
//! println!("{}", running.base_url());            // http://127.0.0.1:41234
//! let key_file = running.service_account_json();  // works with any Google library: its token_uri points here
//! # assert!(key_file.contains(&running.base_url()));
//! # running.stop().await;
//! # Ok(()) }
//! ```
//!
//! **What it is.** An HTTP server, and an [`Exchange`] for those who want no socket. It makes a service account with a key
//! of its own, checks assertions strictly (RS256 only, times, audience, scope), gives out tokens that expire, and answers
//! chat completions in the shapes of the services: Gemini and partners behind `openapi`, vLLM and TGI behind endpoint
//! ids, and with [`API_KEY`] OpenAI below `/v1` and the Gemini Developer API below `/v1beta/openai`. What the models say is
//! the same every time; behind Vertex's paths [an engine](Engine) can say it instead.
//!
//! It is the rest of Google's side of credentials too: security token service, iamcredentials, metadata server, resource
//! manager, and what AWS, Azure and GitHub give programs to show. With the feature `proxy` all of it answers under Google's
//! own names.
//!
//! **What it is not.** A model. And it shares no code with the client it is used to test: it knows nothing of
//! `vertex-chat`, `vertex-chat-params` or `vertex-chat-auth`.
//!
//! # Control
//!
//! | request | does |
//! |---|---|
//! | `GET /emulator/log`, `DELETE /emulator/log` | shows, empties the request log |
//! | `POST /emulator/faults`, `DELETE /emulator/faults` | adds a [`Fault`], or an array of them; forgets all |
//! | `POST /emulator/tokens` `{"revoke": "token-1"}`, `{"revoke": true}`, `{"expires_in": 60}` | revokes one or all, sets the life of new ones |
//! | `POST /emulator/clock` `{"advance_seconds": 3600}` | moves the emulator's clock |
//! | `GET /emulator/models`, `DELETE /emulator/models` | shows how models [perform](Performance); has all answer at once |
//! | `POST /emulator/models` `{"google/gemini-2.5-*": {"first_token_ms": 300, "token_ms": 5}}` | has these models perform so, and no others |
//! | `GET /emulator/quirks` | lists the [quirks](#quirks), and which are on |
//! | `POST /emulator/quirks` `["crlf", "no-done"]`, `DELETE /emulator/quirks` | turns these on for every request, and no others; turns all off |
//! | `GET /emulator/service-account.json` | the key file |
//! | `GET /emulator/credentials/KIND.json` | a credential file: `authorized-user`, `external-account-authorized-user`, `impersonated-service-account`, `url`, `azure`, `github`, `aws` |
//!
//! It is a metadata server too: `GCE_METADATA_HOST=127.0.0.1:PORT` (and `GCE_METADATA_IP`, for Google's Python library).
//!
//! # Quirks
//!
//! Habits of real servers that a client has to bear. `google/gemini-2.5-flash+crlf+no-done` has two of them for one request,
//! whichever service it goes to; [`Emulator::set_quirks`] and `/emulator/quirks` for all. The words are cut off before anything
//! else looks at the model, and the answer has the name as it came. What an engine says is not bent. A pain is a row
//! of the project's list of what hurts; whether the service does what is unknown nobody knows.
//!
//! | word | what the server does | origin |
//! |---|---|---|
//! | `tool-index-missing` | Streamed tool calls have no `index`. | pain 16 |
//! | `tool-index-zero` | All tool calls of a stream have the index 0. | pain 16 |
//! | `finish-stop-with-calls` | The finish reason is `stop` although tools are called. | pain 17 |
//! | `finish-reason-camel` | The key is `finishReason`. | pain 28 |
//! | `finish-filtered` | The finish reason is `content_filter: PROHIBITED_CONTENT`. | pain 29 |
//! | `finish-call-filtered` | The finish reason is `function_call_filter: UNEXPECTED_TOOL_CALL`. | pain 13 |
//! | `finish-early` | Every chunk of a stream has the finish reason `stop`. | pain 30 |
//! | `arguments-missing` | The arguments of calls are empty texts. | pain 31 |
//! | `truncated-stream` | A stream ends without a finish reason and without `[DONE]`. | pain 18 |
//! | `bare-error-in-stream` | A stream ends in an error, 499 CANCELLED, that is in no `data:` line. | seen |
//! | `data-error-in-stream` | A stream ends in an error in a `data:` line. | pain 18 |
//! | `malformed-function-call` | The finish reason is `malformed_function_call`, and there is no message. | pain 13 |
//! | `empty-reply` | The message has a role only, and the finish reason is `length`. | pain 14 |
//! | `blocked-prompt` | A filter took the prompt: the message is null, or a stream's delta has a refusal. | seen |
//! | `empty-first-chunk` | The first chunk has no choices, and an empty usage. | pain 15 |
//! | `usage-missing` | Nothing is said about usage. | pain 20 |
//! | `usage-undercounted` | Usage has no details: thinking shows in the total only. | pain 20 |
//! | `reasoning-content` | Thoughts come as `reasoning_content`. | seen |
//! | `raw-newline-arguments` | Arguments have a raw newline in a string, so they are no JSON. | seen |
//! | `call-ids-repeat` | The ids of tool calls start at `call_0` in every round. | pain 26 |
//! | `schema-keywords-refused` | Keywords of JSON Schema that OpenAPI has not are refused. | pain 10 |
//! | `empty-parameters-refused` | Parameters of type object without properties are refused. | pain 11 |
//! | `text-beside-image-wanted` | An image without text beside it is refused. | pain 21 |
//! | `final-assistant-refused` | A conversation that ends with the assistant is refused. | seen |
//! | `region-locked` | The model is not found at this location. | pain 27 |
//! | `dedicated-endpoint` | The endpoint wants to be asked at its own host, which the error names. | pain 24 |
//! | `exhausted` | 429 without a word on when to come back. | pain 25 |
//! | `exhausted-retry-info` | 429 whose body says to come back after 37 seconds. | seen |
//! | `exhausted-retry-after` | 429 with `Retry-After: 1`. | unknown |
//! | `crlf` | The lines of a stream end in CR and LF. | seen |
//! | `comments` | There are comments between the events of a stream. | seen |
//! | `no-done` | A stream is complete but for `[DONE]`. | pain 18 |
//! | `usage-on-every-chunk` | Every chunk of a stream has the usage so far. | seen |
//! | `signature-last` | The last delta has a thought signature and nothing else. | seen |
//! | `html-error` | 502 with a page for people. | seen |
//! | `tool-choice-object-refused` | `tool_choice` may be a word only. | unknown |
//! | `functions-as-tool-calls` | Calls of the deprecated `functions` come as `tool_calls`. | unknown |
//! | `developer-refused` | The role `developer` is refused. | unknown |
//! | `include-usage-honoured` | `include_usage: false` takes the usage out of a stream. | unknown |
//! | `wrong-type-refused` | A parameter that is ignored is refused when its type is wrong. | unknown |
//! | `n-with-stream-refused` | Several choices in a stream are refused. | unknown |
//! | `cached-tokens` | Usage tells how much of the prompt was cached. | unknown |
//! | `text-plain-stream` | The content type of a stream is `text/plain`. | unknown |

mod answer;
mod containers;
mod course;
mod developer;
mod engine;
mod faults;
mod federation;
mod iam;
mod key;
mod log;
mod metadata;
mod openai;
mod performance;
#[cfg(feature = "proxy")]
mod proxy;
mod quirks;
mod refusals;
mod reply;
mod rules;
mod schema;
mod shape;
mod tokens;
mod vertex;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vertex_chat_transport::serve::{Refusal, ServeOptions, serve};
use vertex_chat_transport::{Body, Clock, Exchange, Request, Response, TransportError, is_loopback};

pub use containers::Container;
pub use engine::Engine;
pub use faults::{Fault, FaultPlace};
pub use federation::Identity;
pub use log::{LOG_ENTRIES_LIMIT, LOG_ENTRIES_MAX, LogEntry};
pub use performance::{
    AT_ONCE_MAX, MODEL_NAME_BYTES_MAX, MODELS_MAX, Performance, PerformanceError, WAIT_MAX,
};
#[cfg(feature = "proxy")]
pub use proxy::{PROXY_CONNECTIONS_MAX, RunningProxy};
pub use quirks::Quirk;
pub use refusals::REFUSALS;
/// The most connections at once.
pub use vertex_chat_transport::serve::CONNECTIONS_MAX;

use course::{Course, Observed};
use faults::FAULTS_MAX;
use key::Account;
use log::Log;
use performance::{Fate, Models};
use quirks::{Asked, Quirks};
use reply::{GoogleError, Piece, in_part, json_reply, not_found_page};
use shape::{Backend, Pace, Pen};
use tokens::Tokens;

/// The project of the emulator's service account.
pub const PROJECT: &str = "emulator-project";
/// Its number.
pub const PROJECT_NUMBER: &str = "123456789012";
/// Where dedicated endpoints are. Source: Vertex AI, "Use dedicated public endpoints".
const DEDICATED_DOMAIN: &str = ".prediction.vertexai.goog";
/// A region for examples; every other works as well.
pub const LOCATION: &str = "us-central1";
/// The furthest that one request moves the clock, in seconds: a year.
pub const ADVANCE_SECONDS_MAX: u64 = 365 * 24 * 3600;
/// The furthest that the emulator's clock goes ahead.
const AHEAD_MAX: Duration = Duration::from_secs(100 * ADVANCE_SECONDS_MAX);
/// The longest life of a token, in seconds; a longer one is cut.
pub const EXPIRES_IN_MAX: u64 = 365 * 24 * 3600;
/// The one key that OpenAI and the Gemini Developer API take here.
pub const API_KEY: &str = "emulator-api-key";
/// The id of the endpoint with a vLLM container.
pub const VLLM_ENDPOINT: &str = "1234567890123456789";
/// The id of the endpoint with a TGI container.
pub const TGI_ENDPOINT: &str = "2345678901234567890";

/// The emulator.
#[derive(Clone)]
pub struct Emulator(Arc<Inner>);

struct Inner {
    account: Account,
    clock: Arc<dyn Clock>,
    engine: Option<Engine>,
    pace: Duration,
    project: String,
    endpoints: Vec<(String, Container)>,
    served: Vec<String>,
    on_request: Option<Told>,
    /// Where it is reached, once that is known.
    base_url: OnceLock<String>,
    state: Mutex<State>,
}

/// Who is told of requests.
type Told = Box<dyn Fn(&LogEntry) + Send + Sync>;

#[derive(Default)]
struct State {
    tokens: Tokens,
    faults: Vec<Fault>,
    log: Log,
    /// How far the emulator's clock is ahead.
    ahead: Duration,
    answers: u64,
    /// What is odd about every answer.
    quirks: Quirks,
    /// How many requests OpenAI has answered, for their ids.
    openai_requests: u64,
    models: Models,
}

/// An emulator, to be put together.
pub struct EmulatorBuilder {
    clock: Arc<dyn Clock>,
    account: Option<Account>,
    engine: Option<Engine>,
    pace: Duration,
    project: String,
    endpoints: Vec<(String, Container)>,
    served: Vec<String>,
    on_request: Option<Told>,
    base_url: Option<String>,
    log_entries: usize,
    models: Models,
}

impl fmt::Debug for EmulatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorBuilder").field("project", &self.project).finish_non_exhaustive()
    }
}

impl EmulatorBuilder {
    /// Has this engine say what models say behind Vertex's paths.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// Has models of this name perform so; see [`Emulator::set_performance`].
    #[must_use]
    pub fn model(mut self, name: impl Into<String>, performance: Performance) -> Self {
        self.models.set(name.into(), performance);
        self
    }

    /// Keeps this many entries of the request log in place of [`LOG_ENTRIES_MAX`]; [`LOG_ENTRIES_LIMIT`] at most.
    #[must_use]
    pub fn log_entries(mut self, most: usize) -> Self {
        self.log_entries = most;
        self
    }

    /// Waits this long before each chunk of a stream.
    #[must_use]
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }

    /// The project of the service account.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// Adds an endpoint with a container behind it.
    #[must_use]
    pub fn endpoint(mut self, id: impl Into<String>, container: Container) -> Self {
        self.endpoints.push((id.into(), container));
        self
    }

    /// Another name that the model behind vLLM goes by, beside [`Container::model`] and `vllm`. With an engine it goes by
    /// any.
    #[must_use]
    pub fn served_model(mut self, name: impl Into<String>) -> Self {
        self.served.push(name.into());
        self
    }

    /// Checks assertions of this account, whose private key is elsewhere, in place of one of its own.
    /// `public_key` is PKCS#1 in DER.
    #[must_use]
    pub fn account(mut self, email: &str, key_id: &str, public_key: &[u8]) -> Self {
        self.account = Some(Account::of_public_key(email, key_id, &self.project, public_key));
        self
    }

    /// Where it is reached, when it is not asked to listen: assertions may name `/token` below it as their audience.
    #[must_use]
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Calls this for every request, when it has been answered.
    #[must_use]
    pub fn on_request(mut self, told: impl Fn(&LogEntry) + Send + Sync + 'static) -> Self {
        self.on_request = Some(Box::new(told));
        self
    }

    /// The emulator. Makes a key, unless there is an account, which takes some 100 ms.
    #[must_use]
    pub fn build(self) -> Emulator {
        Emulator(Arc::new(Inner {
            account: self.account.unwrap_or_else(|| Account::generate(&self.project)),
            clock: self.clock,
            engine: self.engine,
            pace: self.pace,
            project: self.project,
            endpoints: self.endpoints,
            served: self.served,
            on_request: self.on_request,
            base_url: self.base_url.map_or_else(OnceLock::new, OnceLock::from),
            state: Mutex::new(State {
                log: Log::new(self.log_entries),
                models: self.models,
                ..State::default()
            }),
        }))
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("base_url", &self.0.base_url.get()).finish_non_exhaustive()
    }
}

impl Emulator {
    /// An emulator as it comes.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::builder(clock).build()
    }

    /// An emulator, to be put together.
    #[must_use]
    pub fn builder(clock: Arc<dyn Clock>) -> EmulatorBuilder {
        EmulatorBuilder {
            clock,
            account: None,
            engine: None,
            pace: Duration::ZERO,
            project: PROJECT.to_owned(),
            endpoints: vec![
                (VLLM_ENDPOINT.to_owned(), Container::Vllm),
                (TGI_ENDPOINT.to_owned(), Container::Tgi),
            ],
            served: Vec::new(),
            on_request: None,
            base_url: None,
            log_entries: LOG_ENTRIES_MAX,
            models: Models::default(),
        }
    }

    /// Listens at this address, port 0 for any, and serves until it is stopped.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(&self, address: SocketAddr) -> std::io::Result<RunningEmulator> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let _ = self.0.base_url.set(format!("http://{address}"));
        let (stop, stopped) = oneshot::channel::<()>();
        let mut options = ServeOptions::default();
        options.refuse = Arc::new(|refusal, _| refuse(refusal));
        options.grace = Duration::from_secs(1);
        let exchange: Arc<dyn Exchange> = Arc::new(self.clone());
        let task = tokio::spawn(serve(listener, exchange, options, async {
            let _ = stopped.await;
        }));
        Ok(RunningEmulator { emulator: self.clone(), address, stop: Some(stop), task })
    }

    /// The key file of the service account, its `token_uri` below this base URL; `None` when the private key is
    /// elsewhere.
    #[must_use]
    pub fn service_account_json(&self, base_url: &str) -> Option<String> {
        self.0.account.key_file(&format!("{base_url}/token"))
    }

    /// The file of a person's login, as `gcloud auth application-default login` leaves it, its `token_uri` below this base
    /// URL. Google's own libraries pass that field over and go to Google.
    #[must_use]
    pub fn authorized_user_json(&self, base_url: &str) -> String {
        tokens::authorized_user_json(&format!("{base_url}/token"))
    }

    /// A credential file of a workload elsewhere, or of a workforce, whose tokens come from below this base URL; `as_account`
    /// when it is to act as the service account `target`.
    #[must_use]
    pub fn external_account_json(&self, base_url: &str, identity: &Identity, as_account: bool) -> String {
        let mut file = federation::external_account(base_url, identity);
        if as_account {
            let url = iam::url_of(base_url, &self.0.project);
            file.insert("service_account_impersonation_url".to_owned(), url.into());
        }
        Value::Object(file).to_string()
    }

    /// The file of a login by workforce identity federation.
    #[must_use]
    pub fn external_account_authorized_user_json(&self, base_url: &str) -> String {
        federation::external_user(base_url).to_string()
    }

    /// A credential file with which whoever `source_credentials` (another credential file) belong to acts as the service
    /// account `target`, by way of `delegate` if that is wanted.
    ///
    /// # Panics
    /// When the source is not JSON.
    #[must_use]
    pub fn impersonated_service_account_json(
        &self,
        base_url: &str,
        source: &str,
        by_delegate: bool,
    ) -> String {
        let source: Value = serde_json::from_str(source).expect("the source is a credential file");
        let delegate = format!("projects/-/serviceAccounts/{}", iam::email_of("delegate", &self.0.project));
        let delegates = if by_delegate { vec![delegate] } else { Vec::new() };
        iam::impersonated(base_url, &self.0.project, &source, &delegates).to_string()
    }

    /// The one subject token that the security token service takes.
    #[must_use]
    pub fn subject_token(&self) -> &'static str {
        federation::SUBJECT_TOKEN
    }

    /// The environment variables with which a program on AWS has credentials.
    #[must_use]
    pub fn aws_variables(&self) -> [(&'static str, &'static str); 4] {
        federation::aws_variables()
    }

    /// The request log.
    #[must_use]
    pub fn log(&self) -> Vec<LogEntry> {
        self.state().log.entries()
    }

    /// Forgets all that was to go wrong.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Adds a fault. Faults strike in the order in which they came.
    pub fn add_fault(&self, fault: Fault) {
        let mut state = self.state();
        if state.faults.len() < FAULTS_MAX {
            state.faults.push(fault);
        }
    }

    /// Revokes a token by its name in the log, or all; gives how many.
    pub fn revoke_tokens(&self, name: Option<&str>) -> usize {
        self.state().tokens.revoke(name)
    }

    /// Sets the life of new tokens, in seconds.
    pub fn set_expires_in(&self, seconds: u64) {
        self.state().tokens.expires_in = seconds.min(EXPIRES_IN_MAX);
    }

    /// Turns these quirks on for every request, and all others off.
    pub fn set_quirks(&self, quirks: impl IntoIterator<Item = Quirk>) {
        self.state().quirks = quirks.into_iter().collect();
    }

    /// Has models of this name, as requests name them, perform so from now on. The name is compared without the words of
    /// [quirks](Quirk); one that ends in `*` is a pattern for all that begin so, `*` alone for all others. A model's own
    /// name goes before patterns, and a longer pattern before a shorter one.
    ///
    /// A wait beyond [`WAIT_MAX`] is cut, and names after the first [`MODELS_MAX`] are left out.
    pub fn set_performance(&self, model: impl Into<String>, performance: Performance) {
        self.state().models.set(model.into(), performance);
    }

    /// Has all models answer at once and without fault, as they do before anything is said about them.
    pub fn clear_performance(&self) {
        self.state().models = Models::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> SystemTime {
        self.0.clock.wall() + self.state().ahead
    }

    async fn route(&self, request: &Request, entry: &mut LogEntry) -> Response {
        let path = request.uri().path();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let method = request.method();
        match segments.as_slice() {
            ["token"] if method == Method::POST => self.token(request, entry),
            ["emulator", ..] if is_foreign_page(request) => {
                let message = "The control requests are not for pages of other origins, nor under names of other machines.";
                GoogleError::new(403, "PERMISSION_DENIED", message).object_reply()
            }
            ["emulator", rest @ ..] => self.control(request, rest),
            [""] if method == Method::GET && request.headers().contains_key(metadata::FLAVOR) => {
                metadata::reply(request, "computeMetadata/")
            }
            ["computeMetadata", "v1", rest @ ..] if method == Method::GET => {
                self.metadata(request, rest, entry)
            }
            ["v1", "token"] if method == Method::POST => {
                let judged = federation::exchange(&tokens::fields_of(request), request.headers());
                self.federated(judged, entry)
            }
            ["v1", "oauthtoken"] if method == Method::POST => {
                let judged = federation::refresh(&tokens::fields_of(request), request.headers());
                self.federated(judged, entry)
            }
            ["latest" | "metadata" | "github" | "subject-token", ..] => {
                federation::subject(request, &segments)
            }
            ["v1", .., "allowedLocations"] if method == Method::GET => {
                json_reply(StatusCode::OK, &json!({"locations": [], "encodedLocations": "0x0"}))
            }
            ["v1", "projects", "-", "serviceAccounts", target] if method == Method::POST => {
                self.act(request, target, entry)
            }
            ["v1", "projects", project] if method == Method::GET => match self.authorize(request, entry) {
                Ok(()) => self.project(project),
                Err(error) => error.object_reply(),
            },
            ["v1" | "v1beta1", "projects", project, "locations", location, "endpoints"]
                if method == Method::GET =>
            {
                match self.authorize(request, entry) {
                    Ok(()) => self.list_endpoints(project, location),
                    Err(error) => error.object_reply(),
                }
            }
            ["v1" | "v1beta1", "projects", project, "locations", location, "endpoints", id]
                if method == Method::GET =>
            {
                if let Err(error) = self.authorize(request, entry) {
                    return error.object_reply();
                }
                match self.0.endpoints.iter().find(|(known, _)| known == id) {
                    Some((id, container)) => {
                        let endpoint = self.endpoint_resource(project, location, id, *container);
                        json_reply(StatusCode::OK, &endpoint)
                    }
                    None => {
                        let message = format!(
                            "Endpoint `projects/{project}/locations/{location}/endpoints/{id}` not found."
                        );
                        GoogleError::new(404, "NOT_FOUND", message).object_reply()
                    }
                }
            }
            [
                "v1" | "v1beta1",
                "projects",
                project,
                "locations",
                location,
                "endpoints",
                endpoint,
                "chat",
                "completions",
            ] => {
                let container = self.container(endpoint);
                if method != Method::POST {
                    let refuse = |container| containers::sign(containers::wrong_method(container), container);
                    return container.map_or_else(|| not_found_page(path), refuse);
                }
                if let Err(error) = self.authorize(request, entry) {
                    return error.array_reply();
                }
                let parent = format!("projects/{project}/locations/{location}");
                let place = match (*endpoint, container) {
                    ("openapi", _) => Place::Openapi(&parent),
                    (_, Some(container)) => Place::Container(container),
                    _ => {
                        let message = format!("Endpoint `{parent}/endpoints/{endpoint}` not found.");
                        return GoogleError::new(404, "NOT_FOUND", message).array_reply();
                    }
                };
                let response = self.chat(request, place, entry).await;
                match place {
                    Place::Container(container) => containers::sign(response, container),
                    _ => response,
                }
            }
            ["v1beta", "openai", "chat", "completions"] if method == Method::POST => {
                match developer::authorize(request.headers()) {
                    Ok(()) => self.chat(request, Place::Developer, entry).await,
                    Err(error) => error.array_reply(),
                }
            }
            ["v1beta", "openai", rest @ ..] => developer::route(request, rest),
            ["v1", "projects", ..] => not_found_page(path),
            ["v1", rest @ ..] => self.openai(request, rest, entry).await,
            _ => not_found_page(path),
        }
    }

    /// What OpenAI answers below `/v1`.
    async fn openai(&self, request: &Request, path: &[&str], entry: &mut LogEntry) -> Response {
        let response = match path {
            ["chat", "completions"] if request.method() == Method::POST => {
                match openai::authorize(request.headers()) {
                    Ok(()) => self.chat(request, Place::OpenAi, entry).await,
                    Err(error) => error.reply(),
                }
            }
            _ => openai::route(request, path),
        };
        let number = {
            let mut state = self.state();
            state.openai_requests += 1;
            state.openai_requests
        };
        openai::sign(response, number)
    }

    /// What stands behind an endpoint.
    fn container(&self, endpoint: &str) -> Option<Container> {
        self.0.endpoints.iter().find(|(id, _)| id == endpoint).map(|(_, container)| *container)
    }

    fn token(&self, request: &Request, entry: &mut LogEntry) -> Response {
        let now = self.now();
        let own_uri = format!("{}/token", self.0.base_url.get().map(String::as_str).unwrap_or_default());
        let judged = self.state().tokens.exchange(request, &self.0.account, &own_uri, now);
        entry.assertion_of = judged.issuer;
        entry.issued = judged.token;
        judged.response
    }

    /// A token of the security token service.
    fn federated(&self, scopes: Result<String, federation::Refused>, entry: &mut LogEntry) -> Response {
        let scopes = match scopes {
            Ok(scopes) => scopes,
            Err(refused) => return refused.reply(),
        };
        let now = self.now();
        let mut state = self.state();
        let (token, name) = state.tokens.issue(now, &scopes);
        entry.issued = Some(name);
        let answer = json!({
            "access_token": token,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": state.tokens.expires_in,
        });
        json_reply(StatusCode::OK, &answer)
    }

    /// Somebody acts as a service account.
    fn act(&self, request: &Request, target: &str, entry: &mut LogEntry) -> Response {
        let now = self.now();
        let mut state = self.state();
        match state.tokens.check_iam(request, &self.0.account, now) {
            Ok(name) => entry.token = Some(name),
            Err(error) => return error.object_reply(),
        }
        // Google's Node library escapes the `@`.
        let target = target.replace("%40", "@");
        let Inner { account, project, .. } = &*self.0;
        let mut response = match iam::act(&target, request.body(), account, project, &mut state.tokens, now) {
            Ok((answer, issued)) => {
                entry.issued = issued;
                json_reply(StatusCode::OK, &answer)
            }
            Err(error) => error.object_reply(),
        };
        let date = httpdate::fmt_http_date(now).parse().expect("because a date is a header");
        response.headers_mut().insert("date", date);
        response
    }

    /// What the metadata server of a Google machine answers.
    fn metadata(&self, request: &Request, path: &[&str], entry: &mut LogEntry) -> Response {
        let email = &self.0.account.email;
        let account = json!({"aliases": ["default"], "email": email, "scopes": [metadata::SCOPE]});
        match path {
            ["project", "project-id"] => metadata::reply(request, &self.0.project),
            ["project", "numeric-project-id"] => metadata::reply(request, PROJECT_NUMBER),
            ["universe", "universe-domain" | "universe_domain"] => metadata::reply(request, "googleapis.com"),
            // What Google's Node library asks to see whether somebody is there.
            ["instance"] | ["instance", ""] => metadata::reply(request, "region\nservice-accounts/\nzone\n"),
            ["instance", "service-accounts", ""] => {
                metadata::reply(request, &format!("default/\n{email}/\n"))
            }
            ["instance", "zone"] => {
                metadata::reply(request, &format!("projects/{PROJECT_NUMBER}/zones/{LOCATION}-a"))
            }
            ["instance", "region"] => {
                metadata::reply(request, &format!("projects/{PROJECT_NUMBER}/regions/{LOCATION}"))
            }
            ["instance", "service-accounts", name, rest @ ..] if *name == "default" || name == email => {
                match rest {
                    [] | [""] => metadata::reply(request, &account.to_string()),
                    ["email"] => metadata::reply(request, email),
                    ["scopes"] => metadata::reply(request, metadata::SCOPE),
                    ["aliases"] => metadata::reply(request, "default"),
                    ["identity"] => match metadata::audience(request) {
                        Some(audience) => {
                            let token = iam::id_token(&self.0.account, email, &audience, self.now());
                            metadata::reply(request, &token.unwrap_or_default())
                        }
                        None => metadata::missing(request),
                    },
                    ["token"] if metadata::refusal(request).is_none() => {
                        let now = self.now();
                        let (token, name, seconds) = self.state().tokens.metadata(now);
                        entry.issued = name;
                        let answer =
                            json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"});
                        metadata::reply(request, &answer.to_string())
                    }
                    ["token"] => metadata::reply(request, ""),
                    _ => metadata::missing(request),
                }
            }
            _ => metadata::missing(request),
        }
    }

    /// Checks the token, and that it is for Google Cloud.
    fn authorize(&self, request: &Request, entry: &mut LogEntry) -> Result<(), GoogleError> {
        let now = self.now();
        entry.token = Some(self.state().tokens.check(request, &self.0.account, now)?);
        Ok(())
    }

    /// A chat completion for somebody who may have one.
    async fn chat(&self, request: &Request, place: Place<'_>, entry: &mut LogEntry) -> Response {
        let always = self.state().quirks;
        let asked = match Asked::read(request.body(), always) {
            Ok(asked) => asked,
            Err(message) => {
                let mut response = place.backend().error(&GoogleError::invalid(message), "model");
                // Whatever number the service has for it.
                *response.status_mut() = StatusCode::BAD_REQUEST;
                return response;
            }
        };
        let accepted = match place {
            Place::Openapi(parent) => {
                vertex::accept(&asked, parent).map_err(|error| Box::new(error.array_reply()))
            }
            Place::Container(container) => {
                // A model of one's own has a name of its own.
                let served = self.0.engine.is_none().then_some(self.0.served.as_slice());
                containers::accept(&asked, request.headers(), container, served)
            }
            Place::Developer => developer::accept(&asked).map_err(|error| Box::new(error.array_reply())),
            Place::OpenAi => {
                openai::accept(&asked, request.headers()).map_err(|error| Box::new(error.reply()))
            }
        };
        let mut accepted = match accepted {
            Ok(accepted) => accepted,
            Err(response) => return *response,
        };
        entry.model.clone_from(&asked.named);
        entry.stream = accepted.request.is_stream();
        // At the endpoint's own host it is served.
        let is_own_host = host_of(request).is_some_and(|host| host.ends_with(DEDICATED_DOMAIN));
        let mut quirks = accepted.quirks;
        if is_own_host {
            quirks = quirks.without(Quirk::DedicatedEndpoint);
        }
        if let Some(refusal) = quirks::refusal(quirks, &accepted.request, accepted.backend) {
            return refusal;
        }
        if let (Some(engine), Place::Openapi(_) | Place::Container(_)) = (&self.0.engine, place) {
            accepted.request.model = asked.named;
            return engine.reply(accepted.request, self.next_id()).await;
        }
        let named = accepted.request.model.as_deref().filter(|it| !it.is_empty());
        let model = named.unwrap_or(match place {
            Place::Container(container) => container.model(),
            _ => "",
        });
        let turn = self.state().models.turn(model);
        if let Some(refusal) = turn.as_ref().and_then(|it| it.refusal(accepted.backend)) {
            return refusal;
        }
        let own_place = match turn.as_ref().and_then(|it| it.places.as_ref()) {
            // Nobody closes it, so there is a place.
            Some(places) => Arc::clone(places).acquire_owned().await.ok().map(Arc::new),
            None => None,
        };
        let pen = Pen {
            id: self.next_id(),
            now: self.now(),
            clock: Arc::clone(&self.0.clock),
            pace: turn.as_ref().map_or(Pace::Chunks(self.0.pace), |it| Pace::Model(it.performance)),
            cuts: turn.is_some_and(|it| it.fate == Fate::Cut),
        };
        let mut response = accepted.reply(&pen).await;
        response.extensions_mut().get_or_insert_default::<Course>().place = own_place;
        response
    }

    /// An answer's id, another each time.
    fn next_id(&self) -> String {
        let mut state = self.state();
        state.answers += 1;
        format!("emulated{:014}", state.answers)
    }

    /// The resource manager's word on a project, by name or number.
    fn project(&self, project: &str) -> Response {
        if project != PROJECT_NUMBER && project != self.0.project {
            let message = "The caller does not have permission";
            return GoogleError::new(403, "PERMISSION_DENIED", message).object_reply();
        }
        let answer = json!({
            "projectNumber": PROJECT_NUMBER, "projectId": self.0.project, "lifecycleState": "ACTIVE",
        });
        json_reply(StatusCode::OK, &answer)
    }

    fn list_endpoints(&self, project: &str, location: &str) -> Response {
        let endpoints: Vec<Value> = self
            .0
            .endpoints
            .iter()
            .map(|(id, container)| self.endpoint_resource(project, location, id, *container))
            .collect();
        json_reply(StatusCode::OK, &json!({"endpoints": endpoints}))
    }

    /// An endpoint of the project, as `projects.locations.endpoints.get` describes it.
    fn endpoint_resource(&self, project: &str, location: &str, id: &str, container: Container) -> Value {
        let name = match container {
            Container::Vllm => "gemma-on-vllm",
            Container::Tgi => "llama-on-tgi",
        };
        let mut endpoint = json!({
            "name": format!("projects/{project}/locations/{location}/endpoints/{id}"),
            "displayName": name,
            "deployedModels": [{"id": "1", "displayName": container.model()}],
            "createTime": "2026-01-01T00:00:00Z",
            "updateTime": "2026-01-01T00:00:00Z",
        });
        if self.state().quirks.has(Quirk::DedicatedEndpoint) {
            endpoint["dedicatedEndpointEnabled"] = json!(true);
            endpoint["dedicatedEndpointDns"] =
                json!(format!("{id}.{location}-{PROJECT_NUMBER}{DEDICATED_DOMAIN}"));
        }
        endpoint
    }

    /// A credential file by the name that the control API has for it.
    fn credential_file(&self, name: &str) -> Option<String> {
        let base_url = self.0.base_url.get().map(String::as_str).unwrap_or_default();
        let external = |identity| Some(self.external_account_json(base_url, &identity, false));
        match name {
            "authorized-user.json" => Some(self.authorized_user_json(base_url)),
            "external-account-authorized-user.json" => {
                Some(self.external_account_authorized_user_json(base_url))
            }
            "impersonated-service-account.json" => {
                let source = self.authorized_user_json(base_url);
                Some(self.impersonated_service_account_json(base_url, &source, false))
            }
            "url.json" => external(Identity::Url),
            "azure.json" => external(Identity::Azure),
            "github.json" => external(Identity::GitHub),
            // With AWS's own addresses, as every such file has: credentials then come from the environment.
            "aws.json" => external(Identity::Aws)
                .map(|it| it.replace(&format!("{base_url}/latest/"), "http://169.254.169.254/latest/")),
            _ => None,
        }
    }

    fn control(&self, request: &Request, path: &[&str]) -> Response {
        let ok = |value: Value| json_reply(StatusCode::OK, &value);
        let wrong = |message: String| json_reply(StatusCode::BAD_REQUEST, &json!({"error": message}));
        let body = || {
            serde_json::from_slice::<Value>(request.body())
                .map_err(|error| format!("the body is not JSON: {error}"))
        };
        match (request.method().as_str(), path) {
            ("GET", ["log"]) => ok(self.log().iter().map(LogEntry::to_json).collect()),
            ("DELETE", ["log"]) => {
                self.state().log.clear();
                ok(json!({}))
            }
            ("GET", ["service-account.json"]) => {
                let base_url = self.0.base_url.get().map(String::as_str).unwrap_or_default();
                match self.service_account_json(base_url) {
                    Some(file) => reply::raw_reply(StatusCode::OK, "application/json", file),
                    None => not_found_page(request.uri().path()),
                }
            }
            ("GET", ["credentials", name]) => match self.credential_file(name) {
                Some(file) => reply::raw_reply(StatusCode::OK, "application/json", file),
                None => not_found_page(request.uri().path()),
            },
            ("POST", ["faults"]) => {
                let faults = body().and_then(|value| match value {
                    Value::Array(faults) => faults.iter().map(Fault::read).collect(),
                    fault => Fault::read(&fault).map(|fault| vec![fault]),
                });
                match faults {
                    Ok(faults) => {
                        faults.into_iter().for_each(|fault| self.add_fault(fault));
                        ok(json!({"faults": self.state().faults.len()}))
                    }
                    Err(message) => wrong(message),
                }
            }
            ("DELETE", ["faults"]) => {
                self.state().faults.clear();
                ok(json!({}))
            }
            ("GET", ["quirks"]) => ok(self.state().quirks.table()),
            ("POST", ["quirks"]) => {
                let words = body().and_then(|value| {
                    serde_json::from_value::<Vec<String>>(value)
                        .map_err(|_| "the body is not an array of words".to_owned())
                });
                match words.and_then(|words| words.iter().map(|word| Quirk::read(word)).collect()) {
                    Ok(quirks) => {
                        self.state().quirks = quirks;
                        ok(quirks.table())
                    }
                    Err(message) => wrong(message),
                }
            }
            ("DELETE", ["quirks"]) => {
                self.set_quirks([]);
                ok(json!({}))
            }
            ("GET", ["models"]) => ok(self.state().models.to_json()),
            ("POST", ["models"]) => {
                let models = body().and_then(|it| Models::read(&it).map_err(|error| error.to_string()));
                match models {
                    Ok(models) => {
                        let shown = models.to_json();
                        self.state().models = models;
                        ok(shown)
                    }
                    Err(message) => wrong(message),
                }
            }
            ("DELETE", ["models"]) => {
                self.clear_performance();
                ok(json!({}))
            }
            ("POST", ["tokens"]) => match body() {
                Ok(value) => {
                    if let Some(seconds) = value.get("expires_in").and_then(Value::as_u64) {
                        self.set_expires_in(seconds);
                    }
                    let revoked = match value.get("revoke") {
                        Some(Value::String(name)) => self.revoke_tokens(Some(name)),
                        Some(Value::Bool(true)) => self.revoke_tokens(None),
                        _ => 0,
                    };
                    ok(json!({"revoked": revoked}))
                }
                Err(message) => wrong(message),
            },
            ("POST", ["clock"]) => {
                match body().map(|value| value.get("advance_seconds").and_then(Value::as_u64)) {
                    Ok(Some(seconds)) if seconds <= ADVANCE_SECONDS_MAX => {
                        let mut state = self.state();
                        state.ahead = state.ahead.saturating_add(Duration::from_secs(seconds)).min(AHEAD_MAX);
                        ok(json!({}))
                    }
                    Ok(_) => wrong(format!(
                        "`advance_seconds` is not a whole number from 0 to {ADVANCE_SECONDS_MAX}"
                    )),
                    Err(message) => wrong(message),
                }
            }
            _ => not_found_page(request.uri().path()),
        }
    }

    /// The fault that strikes this request, if one does.
    fn fault_for(&self, path: &str) -> Option<Fault> {
        let place = FaultPlace::of(path)?;
        let mut state = self.state();
        let found = state.faults.iter().position(|fault| fault.at == place && fault.times > 0)?;
        let fault = &mut state.faults[found];
        fault.times -= 1;
        let struck = fault.clone();
        if fault.times == 0 {
            state.faults.remove(found);
        }
        Some(struck)
    }

    /// What a fault makes of the true answer.
    async fn strike(&self, fault: Fault, request: &Request, entry: &mut LogEntry) -> Response {
        if !fault.delay.is_zero() {
            self.0.clock.sleep(fault.delay).await;
        }
        let mut response = match fault.status {
            Some(status) => {
                let mut response = Response::new(Body::from(fault.body));
                *response.status_mut() = status;
                response
            }
            None => self.route(request, entry).await,
        };
        for (name, value) in fault.headers {
            response.headers_mut().insert(name, value);
        }
        let (limit, last) = match (fault.cut_after, fault.stall_after) {
            (Some(bytes), _) => (bytes, Piece::Cut),
            (None, Some(bytes)) => (bytes, Piece::Stall),
            (None, None) => return response,
        };
        if let Some(course) = response.extensions_mut().get_mut::<Course>() {
            course.bytes = None;
        }
        in_part(response, |_| limit, last, Arc::clone(&self.0.clock)).await
    }
}

#[async_trait]
impl Exchange for Emulator {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let path = request.uri().path().to_owned();
        let mut entry = LogEntry {
            method: request.method().to_string(),
            path: path.clone(),
            host: host_of(&request).map(str::to_owned),
            request_bytes: request.body().len(),
            came: self.0.clock.monotonic(),
            ..LogEntry::default()
        };
        let mut response = match self.fault_for(&path) {
            Some(fault) => {
                entry.fault = true;
                self.strike(fault, &request, &mut entry).await
            }
            None => self.route(&request, &mut entry).await,
        };
        if !path.starts_with("/emulator/") {
            entry.status = response.status().as_u16();
            entry.head = Some(self.0.clock.monotonic());
            let entry = self.state().log.add(entry);
            if FaultPlace::of(&path) == Some(FaultPlace::Chat) {
                response = Observed::response(response, self, &entry);
            }
            if let Some(told) = &self.0.on_request {
                told(&entry);
            }
        }
        Ok(response)
    }
}

/// An emulator that listens. Dropping it stops it.
#[derive(Debug)]
pub struct RunningEmulator {
    emulator: Emulator,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl RunningEmulator {
    /// The emulator itself.
    #[must_use]
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What an OpenAI library calls the base URL, for Gemini.
    #[must_use]
    pub fn openai_base_url(&self) -> String {
        let project = &self.emulator.0.project;
        format!("{}/v1/projects/{project}/locations/{LOCATION}/endpoints/openapi", self.base_url())
    }

    /// What an OpenAI library calls the base URL, for OpenAI itself with [`API_KEY`].
    #[must_use]
    pub fn openai_own_base_url(&self) -> String {
        format!("{}/v1", self.base_url())
    }

    /// What an OpenAI library calls the base URL, for the Gemini Developer API with [`API_KEY`].
    #[must_use]
    pub fn developer_base_url(&self) -> String {
        format!("{}/v1beta/openai", self.base_url())
    }

    /// A proxy before it, at a free port, for programs whose hosts are fixed: they take this emulator for Google when
    /// `HTTPS_PROXY` is the proxy's URL and its certificate authority is trusted.
    ///
    /// # Errors
    /// When there is no port.
    #[cfg(feature = "proxy")]
    pub async fn start_proxy(&self) -> std::io::Result<RunningProxy> {
        let any = SocketAddr::new(self.address.ip(), 0);
        RunningProxy::start(any, self.address, Arc::clone(&self.emulator.0.clock)).await
    }

    /// The key file.
    ///
    /// # Panics
    /// When the emulator was given an account whose key is elsewhere.
    #[must_use]
    pub fn service_account_json(&self) -> String {
        self.emulator.service_account_json(&self.base_url()).expect("the emulator has made its own key")
    }

    /// Stops, and waits until the last answer is given or a second has passed.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.task).await;
    }

    /// Serves until the task ends, which it does when it is stopped.
    pub async fn wait(mut self) {
        let _ = (&mut self.task).await;
    }
}

impl Drop for RunningEmulator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whom a chat completion is asked of.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// Vertex's `openapi`, below this project and location.
    Openapi(&'a str),
    Container(Container),
    Developer,
    OpenAi,
}

impl Place<'_> {
    /// Whoever speaks when it is not yet known which model was meant.
    fn backend(self) -> Backend {
        match self {
            Self::Openapi(_) => Backend::Gemini,
            Self::Container(container) => Backend::Container(container),
            Self::Developer => Backend::Developer,
            Self::OpenAi => Backend::OpenAi,
        }
    }
}

/// Whether a request may be a web page's that has no business here: it names another origin than this machine's, or it asks
/// under a name that a page has had resolve to this machine.
fn is_foreign_page(request: &Request) -> bool {
    let origin = request.headers().get(http::header::ORIGIN).map(|it| it.to_str().unwrap_or_default());
    let is_own_origin = |origin: &str| {
        let uri = origin.parse::<http::Uri>().ok();
        uri.and_then(|it| it.host().map(is_loopback)).unwrap_or(false)
    };
    let is_address = |host: &str| host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    origin.is_some_and(|origin| !is_own_origin(origin))
        || host_of(request).is_some_and(|host| !is_loopback(host) && !is_address(host))
}

/// The host that a request names, without its port.
fn host_of(request: &Request) -> Option<&str> {
    let named = request.headers().get(http::header::HOST).and_then(|it| it.to_str().ok());
    let host = named.or_else(|| request.uri().host())?;
    Some(host.rsplit_once(':').map_or(host, |(name, _)| name))
}

/// A request that was refused before it was complete, in Google's words.
fn refuse(refusal: &Refusal) -> Response {
    GoogleError::new(refusal.status().as_u16(), "INVALID_ARGUMENT", refusal.to_string()).array_reply()
}
