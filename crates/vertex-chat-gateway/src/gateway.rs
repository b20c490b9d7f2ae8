//! The gateway: an exchange, and what is around a request for a completion.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONNECTION, CONTENT_TYPE, HOST, ORIGIN,
    VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use vertex_chat::Environment;
use vertex_chat::auth::Secret;
use vertex_chat_transport::serve::{KnownClient, Refusal, ServeOptions, serve};
use vertex_chat_transport::{
    Body, Clock, Connector, Exchange, HttpConnector, IDLE_CONNECTIONS_MAX, Request, Response, SystemClock,
    TransportError,
};
use vertex_chat_types::{Model, ModelList};

use crate::admission::{Admissions, Running};
use crate::build::{BuildError, State};
use crate::call::{AccessEntry, Call, WORD_CHARS_MAX, cut, shown};
use crate::config::Config;
use crate::fault::Fault;
use crate::heavy::Heavy;
use crate::keys;
use crate::metrics::Metrics;

/// The longest `x-request-id` that is taken over.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// How much of a request's body is logged, where that is asked for.
pub const PROMPT_BYTES_MAX: usize = 64 << 10;
/// How much of a method is logged, in characters. HTTP's own have seven at most.
const METHOD_CHARS_MAX: usize = 16;
/// How much of a path is logged, in characters.
const PATH_CHARS_MAX: usize = 256;
/// How many files the process has open beside connections: the listening socket, the runtime's, configuration and
/// credentials while they are read, connections for tokens.
const OTHER_FILES: usize = 64;
/// How many models' servers share the files for unused connections that are kept.
const IDLE_SERVERS: usize = 8;
/// What part of the files is for unused connections to models' servers at most.
const IDLE_SHARE: usize = 5;
/// How long a connection on which nothing runs stays open when the gateway ends, for a request that is on its way.
pub const LINGER: Duration = Duration::from_secs(2);

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A gateway. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

pub(crate) struct Shared {
    state: RwLock<Arc<State>>,
    pub(crate) metrics: Metrics,
    pub(crate) heavy: Heavy,
    pub(crate) admissions: Admissions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) told: Option<Told>,
    options: Options,
    pub(crate) is_warm: AtomicBool,
    is_warming: AtomicBool,
    /// Whether others can reach it, so that it is never to be without keys.
    wants_keys: AtomicBool,
    is_draining: AtomicBool,
    /// The address of this machine's own at which it listens, so that pages of other names are to be kept away.
    loopback: OnceLock<IpAddr>,
}

/// Of a request that was let in by its head, before its body was read.
#[derive(Clone, Default)]
struct Admitted {
    /// Whose it is.
    client: Option<String>,
    /// What it counts as while it runs, if it is to run.
    running: Option<Arc<Running>>,
}

/// Who is told of requests.
pub(crate) type Told = Arc<dyn Fn(&AccessEntry) + Send + Sync>;

/// What a gateway is built with beside its configuration.
#[derive(Clone)]
pub struct Options {
    pub(crate) environment: Environment,
    /// Credentials of the targets of Vertex for which the configuration names none.
    pub(crate) credentials_json: Option<Secret>,
    connector: Option<Arc<dyn Connector>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) told: Option<Told>,
    pub(crate) open_files_max: Option<usize>,
    pub(crate) origins: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            environment: Environment::process(),
            credentials_json: None,
            connector: None,
            clock: Arc::new(SystemClock),
            told: None,
            open_files_max: None,
            origins: Vec::new(),
        }
    }
}

impl Options {
    /// The process's environment, the network, the world's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The environment that credentials and `${…}` are looked up in.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// The content of a credential file, for the targets of Vertex whose configuration names no credentials. Otherwise they
    /// use Application Default Credentials.
    #[must_use]
    pub fn credentials_json(mut self, json: impl Into<Secret>) -> Self {
        self.credentials_json = Some(json.into());
        self
    }

    /// What makes connections.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = Some(connector);
        self
    }

    /// The connector that was given, or the network's, with no more unused connections than there are files for.
    pub(crate) fn connector_or_default(&self) -> Arc<dyn Connector> {
        self.connector.clone().unwrap_or_else(|| {
            let idle = self.open_files_max.map_or(IDLE_CONNECTIONS_MAX, |it| idle_files(it) / IDLE_SERVERS);
            Arc::new(HttpConnector::new().with_idle_connections_max(idle.max(1)))
        })
    }

    /// What tells the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Lets pages of this origin ask, beside those that the configuration names: `https://app.example.com`, or `*`.
    ///
    /// # Errors
    /// With what is wrong, when no browser sends such an origin.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, String> {
        crate::config::check_origin(origin)?;
        self.origins.push(origin.to_owned());
        Ok(self)
    }

    /// How many files the process may have open. Connections are files; [`Gateway::connections_max`] leaves a reserve of
    /// them for connections to models' servers.
    #[must_use]
    pub fn open_files_max(mut self, files: usize) -> Self {
        self.open_files_max = Some(files);
        self
    }

    /// Calls this when a request for a completion is over, or when one has been refused.
    #[must_use]
    pub fn on_request(mut self, told: impl Fn(&AccessEntry) + Send + Sync + 'static) -> Self {
        self.told = Some(Arc::new(told));
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("environment", &self.environment).finish_non_exhaustive()
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway. Nothing is sent yet but what finds credentials and projects.
    ///
    /// # Errors
    /// When the configuration is at fault, or a target has no credentials.
    pub async fn build(config: &Config, options: Options) -> Result<Self, BuildError> {
        let state = State::build(config, &options).await?;
        let admissions = Admissions::new(state.limits.bodies_bytes_max());
        Ok(Self(Arc::new(Shared {
            admissions,
            state: RwLock::new(Arc::new(state)),
            metrics: Metrics::new(),
            heavy: Heavy::new(),
            clock: Arc::clone(&options.clock),
            told: options.told.clone(),
            options,
            is_warm: AtomicBool::new(false),
            is_warming: AtomicBool::new(false),
            wants_keys: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            loopback: OnceLock::new(),
        })))
    }

    /// Gets a token for every target that wants one; with the first, `/readyz` says yes. A target that fails is told of in the
    /// log, and does not keep the others waiting.
    pub async fn warm_up(&self) {
        let state = self.0.state();
        let mut all = JoinSet::new();
        for target in &state.routes.targets {
            let (Some(server), shared) = (target.servers.first(), Arc::clone(&self.0)) else { continue };
            let (client, name) = (server.client(), Arc::clone(&target.name));
            all.spawn(async move {
                match client.warm_up().await {
                    Ok(()) => shared.is_warm.store(true, Ordering::Relaxed),
                    Err(error) => tracing::warn!(target = &*name, %error, "no token yet"),
                }
            });
        }
        all.join_all().await;
    }

    /// Tries again, beside whoever asks and not twice at once.
    fn warm_up_soon(&self) {
        if self.0.is_warming.swap(true, Ordering::Relaxed) {
            return;
        }
        let gateway = self.clone();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                gateway.warm_up().await;
                gateway.0.is_warming.store(false, Ordering::Relaxed);
            })),
            Err(_) => self.0.is_warming.store(false, Ordering::Relaxed),
        }
    }

    /// Whether a target has had a token.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.0.is_warm.load(Ordering::Relaxed)
    }

    /// Takes another configuration, from its text.
    ///
    /// # Errors
    /// As [`Config::parse`] and [`build`](Self::build); then everything stays as it was.
    pub async fn reload_text(&self, name: &str, text: &str) -> Result<(), BuildError> {
        match Config::parse(name, text) {
            Ok(config) => self.reload(&config).await,
            Err(error) => {
                self.0.metrics.reloaded("failed");
                Err(error.into())
            }
        }
    }

    /// Takes another configuration. What runs goes on as it began; limits of the server and TLS stay as they were.
    ///
    /// # Errors
    /// As [`build`](Self::build); then everything stays as it was.
    pub async fn reload(&self, config: &Config) -> Result<(), BuildError> {
        let built = State::build(config, &self.0.options).await;
        let built = built.and_then(|state| {
            match state.keys.is_empty() && self.0.wants_keys.load(Ordering::Relaxed) {
                true => Err(BuildError::WithoutKeys),
                false => Ok(state),
            }
        });
        match built {
            Ok(state) => {
                self.0.admissions.keep(state.keys.iter().map(|(name, _)| name.as_str()));
                *self.0.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                self.0.metrics.reloaded("ok");
                Ok(())
            }
            Err(error) => {
                self.0.metrics.reloaded("failed");
                Err(error)
            }
        }
    }

    /// Whether it may listen at this address: this machine's own, or any if clients have to show a key. From then on it does
    /// not take a configuration without keys for one that others can reach.
    ///
    /// # Errors
    /// With what to do about it.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), String> {
        if address.ip().is_loopback() {
            return Ok(());
        }
        if !self.0.state().keys.is_empty() {
            self.0.wants_keys.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(format!(
            "{address} can be reached by others, and no client keys are set: anybody could spend your quota; add [keys] (`vertex-chat \
             key` makes one), or listen at 127.0.0.1"
        ))
    }

    /// What is no fault of the configuration, and should be put right: in lines for a person.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0.state().warnings.clone()
    }

    /// The most connections of clients at once: what the configuration says, and no more than the process may have open files
    /// for. Every request that runs may need a connection to a model's server too, and some of those are kept.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        let limits = self.0.state().limits;
        let Some(files) = self.0.options.open_files_max else { return limits.connections_max };
        let (files, idle) = (files.saturating_sub(OTHER_FILES), idle_files(files));
        let for_running = limits.requests_max.min((files - idle) / 2);
        limits.connections_max.min((files - idle - for_running).max(1))
    }

    /// Serves until `shutdown` is done. Then nothing new is accepted, `/readyz` says no, and what runs has the time that
    /// the configuration gives it.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        if let Some(address) = listener.local_addr().ok().filter(|it| it.ip().is_loopback()) {
            let _ = self.0.loopback.set(address.ip());
        }
        let state = self.0.state();
        let mut options = ServeOptions::default();
        options.request_bytes_max = state.limits.request_bytes_max;
        options.bodies = self.0.admissions.bodies().clone();
        options.connections_max = self.connections_max();
        options.grace = Duration::from_secs(state.limits.drain_seconds);
        options.linger = LINGER;
        let gate = self.clone();
        options.admit = Arc::new(move |head| match gate.admit(head) {
            Ok(admitted) => {
                if admitted.client.is_some() {
                    head.extensions.insert(KnownClient);
                }
                if let Some(running) = &admitted.running {
                    head.extensions.insert(running.bodies().clone());
                }
                head.extensions.insert(admitted);
                None
            }
            Err(mut answer) => {
                gate.let_page_read(head.headers.get(ORIGIN), &mut answer);
                Some(*answer)
            }
        });
        let gate = self.clone();
        options.refuse = Arc::new(move |refusal, head| {
            let mut answer = gate.refuse(refusal, head);
            gate.let_page_read(head.headers.get(ORIGIN), &mut answer);
            answer
        });
        options.tls.clone_from(&state.tls);
        drop(state);
        let shared = Arc::clone(&self.0);
        let shutdown = async move {
            shutdown.await;
            shared.is_draining.store(true, Ordering::Relaxed);
        };
        serve(listener, Arc::new(self.clone()), options, shutdown).await;
    }

    async fn route(&self, request: Request) -> Response {
        let path = without_last_slashes(request.uri().path()).to_owned();
        let state = self.0.state();
        match path.as_str() {
            "/livez" => return plain(StatusCode::OK, "ok"),
            "/readyz" => return self.ready(),
            _ => {}
        }
        let (mut head, body) = request.into_parts();
        let Admitted { client, running } = match head.extensions.remove() {
            Some(admitted) => admitted,
            // Without a socket the head has not been looked at yet.
            None => match self.admit(&head) {
                Ok(admitted) => admitted,
                Err(answer) => return *answer,
            },
        };
        let request = Request::from_parts(head, body);
        let below = path.strip_prefix("/v1").filter(|it| it.starts_with('/')).unwrap_or(&path);
        let (allowed, answer) = match below {
            "/chat/completions" => {
                if request.method() == Method::POST {
                    let (head, body) = request.into_parts();
                    let mut call = self.call(&head, client);
                    call.running = running;
                    let request = Request::from_parts(head, body);
                    return crate::chat::answer(request, call, state, Arc::clone(&self.0.clock)).await;
                }
                ("POST", None)
            }
            "/metrics" => ("GET", Some(self.metrics())),
            "/models" => ("GET", Some(models(&state))),
            _ => match below.strip_prefix("/models/") {
                Some(id) => ("GET", Some(model(id, &state, self.0.clock.monotonic()))),
                None => return self.refused(request, client, no_such_route(&path)),
            },
        };
        match answer {
            Some(answer) if request.method() == Method::GET => answer,
            _ => {
                let method = shown(request.method().as_str(), METHOD_CHARS_MAX);
                let message = format!("{method} is not for {path}; use {allowed}");
                let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
                let mut response = self.refused(request, client, fault);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
                response
            }
        }
    }

    /// Whose request it is, by its head; or the answer of one that goes no further.
    fn admit(&self, head: &Parts) -> Result<Admitted, Box<Response>> {
        let state = self.0.state();
        if let Some(own) = self.0.loopback.get().filter(|_| state.keys.is_empty()) {
            check_host(head, *own, &state).map_err(|fault| Box::new(self.call(head, None).refuse(fault)))?;
        }
        if matches!(without_last_slashes(head.uri.path()), "/livez" | "/readyz") {
            return Ok(Admitted::default());
        }
        if let Err(fault) = check_origin(&head.headers, &state) {
            let mut call = self.call(head, None);
            call.entry.origin = head
                .headers
                .get(ORIGIN)
                .map(|it| cut(&String::from_utf8_lossy(it.as_bytes()), WORD_CHARS_MAX));
            return Err(Box::new(call.refuse(fault)));
        }
        if head.method == Method::OPTIONS && head.headers.contains_key(ORIGIN) {
            return Err(Box::new(preflight()));
        }
        let client = if state.keys.is_empty() {
            None
        } else {
            match keys::client_of(&head.headers, &state.keys) {
                Some(name) => Some(name.to_owned()),
                None => {
                    let mut answer = self.call(head, None).refuse(no_key());
                    // Connections are few, so a client without a key keeps none.
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                    return Err(Box::new(answer));
                }
            }
        };
        if head.method != Method::POST {
            return Ok(Admitted { client, running: None });
        }
        match self.0.admissions.enter(client.as_deref(), &state.limits, state.keys.len()) {
            Ok(running) => Ok(Admitted { client, running: Some(Arc::new(running)) }),
            Err(full) => Err(Box::new(self.call(head, client).refuse(Fault::of_full(full)))),
        }
    }

    /// Lets a page of an allowed origin read the answer. The others have been refused by now.
    fn let_page_read(&self, origin: Option<&HeaderValue>, answer: &mut Response) {
        if let Some(origin) = origin.filter(|it| is_allowed(it, &self.0.state())) {
            let headers = answer.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
            headers.insert(VARY, HeaderValue::from_static("origin"));
        }
    }

    fn refused(&self, request: Request, client: Option<String>, fault: Fault) -> Response {
        self.call(&request.into_parts().0, client).refuse(fault)
    }

    /// Answers a request whose body is not whole.
    fn refuse(&self, refusal: &Refusal, head: &Parts) -> Response {
        let client = head.extensions.get::<Admitted>().and_then(|it| it.client.clone());
        let code = match refusal {
            Refusal::Left => {
                // The log says that it left. Probes are in no log.
                if head.method == Method::POST {
                    drop(self.call(head, client));
                }
                return Response::new(Body::empty());
            }
            Refusal::NoRoom(room) => {
                return self.call(head, client).refuse(Fault::no_room(*room, "the request"));
            }
            Refusal::TooLarge(_) => "request_too_large",
            Refusal::TooSlow => "request_timeout",
            Refusal::Malformed(_) => "malformed_request",
            _ => "request_incomplete",
        };
        self.call(head, client).refuse(Fault::new(refusal.status(), code, refusal.to_string()))
    }

    /// A request that runs.
    fn call(&self, head: &Parts, client: Option<String>) -> Call {
        let entry = AccessEntry {
            time: self.0.clock.wall(),
            request_id: request_id(&head.headers),
            client,
            method: cut(head.method.as_str(), METHOD_CHARS_MAX),
            path: cut(head.uri.path(), PATH_CHARS_MAX),
            model: None,
            target: None,
            upstream_model: None,
            status: 0,
            stream: false,
            attempts: 0,
            resent: 0,
            tokens: None,
            first_token: None,
            duration: Duration::ZERO,
            overhead: Duration::ZERO,
            dropped: Vec::new(),
            forwarded: Vec::new(),
            rewritten: Vec::new(),
            repaired: Vec::new(),
            origin: None,
            error: None,
            prompt: None,
        };
        Call::new(Arc::clone(&self.0), entry)
    }

    fn ready(&self) -> Response {
        if self.0.is_draining.load(Ordering::Relaxed) {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "draining");
        }
        if !self.0.is_warm.load(Ordering::Relaxed) {
            self.warm_up_soon();
            return plain(StatusCode::SERVICE_UNAVAILABLE, "no token yet");
        }
        plain(StatusCode::OK, "ok")
    }

    fn metrics(&self) -> Response {
        let mut response = Response::new(self.0.metrics.to_text().into());
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(openmetrics));
        response
    }
}

impl Shared {
    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Exchange for Gateway {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let origin = request.headers().get(ORIGIN).cloned();
        let mut response = self.route(request).await;
        self.let_page_read(origin.as_ref(), &mut response);
        Ok(response)
    }
}

/// A path as clients mean it: some put a slash behind it.
fn without_last_slashes(path: &str) -> &str {
    path.trim_end_matches('/')
}

fn is_allowed(origin: &HeaderValue, state: &State) -> bool {
    state.origins.iter().any(|it| it == "*" || it.as_bytes() == origin.as_bytes())
}

/// How many of the files that the process may have open are for unused connections to models' servers.
fn idle_files(files: usize) -> usize {
    (files.saturating_sub(OTHER_FILES) / IDLE_SHARE).min(IDLE_CONNECTIONS_MAX * IDLE_SERVERS)
}

/// A page of another origin may only ask where it is allowed: browsers send such requests to this machine for any page that
/// is open, whether or not they let it read the answer.
fn check_origin(headers: &HeaderMap, state: &State) -> Result<(), Fault> {
    match headers.get(ORIGIN) {
        Some(origin) if !is_allowed(origin, state) => {
            let origin = shown_bytes(origin.as_bytes());
            let message = format!(
                "requests of web pages are not allowed from the origin `{origin}`; add it to `origins` in [cors], or say `--allow-origin`"
            );
            Err(Fault::new(StatusCode::FORBIDDEN, "origin_not_allowed", message))
        }
        _ => Ok(()),
    }
}

/// Without keys, a gateway on an address of this machine's own answers only to names of this machine and to those that the
/// configuration has: a page can have its own name resolve to this machine (DNS rebinding), and would then read everything.
fn check_host(head: &Parts, own: IpAddr, state: &State) -> Result<(), Fault> {
    let named = head.headers.get(HOST).map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned());
    // The form with a whole URL goes before the header (RFC 9112, section 3.2.2).
    let Some(authority) = head.uri.authority().map(|it| it.as_str().to_owned()).or(named) else {
        // HTTP/1.0, which no browser speaks.
        return Ok(());
    };
    let host = without_port(&authority).to_ascii_lowercase();
    let bare = host.trim_matches(['[', ']']);
    let is_own = bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || ip == own)
        || state.hosts.iter().any(|it| it.trim_matches(['[', ']']) == bare);
    if is_own {
        return Ok(());
    }
    let message = format!(
        "the gateway has no keys and answers to names of this machine only, of which `{}` is none; add it to `hosts`, or add [keys]",
        shown(&host, WORD_CHARS_MAX)
    );
    Err(Fault::new(StatusCode::FORBIDDEN, "host_not_allowed", message))
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|it| it.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// A header's value, as it may stand in a log or a message.
fn shown_bytes(value: &[u8]) -> String {
    shown(&String::from_utf8_lossy(value), WORD_CHARS_MAX)
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, authorization"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn no_key() -> Fault {
    Fault::new(
        StatusCode::UNAUTHORIZED,
        "invalid_api_key",
        "the gateway wants one of its own keys as API key, `Authorization: Bearer …`",
    )
}

fn no_such_route(path: &str) -> Fault {
    let shown = shown(path, WORD_CHARS_MAX);
    Fault::new(
        StatusCode::NOT_FOUND,
        "unknown_url",
        format!(
            "there is no {shown} here; there are /v1/chat/completions, /v1/models, /livez, /readyz and /metrics"
        ),
    )
}

fn json(value: &impl serde::Serialize) -> Response {
    let text = serde_json::to_vec(value).expect("because models are JSON");
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn models(state: &State) -> Response {
    let models: Vec<Model> =
        state.routes.models().into_iter().map(|(name, owner)| Model::new(name, owner)).collect();
    json(&ModelList::new(models))
}

fn model(id: &str, state: &State, now: Duration) -> Response {
    let id = percent_decode_str(id).decode_utf8_lossy();
    match state.routes.tries(&id, now).first() {
        Some(found) => json(&Model::new(id.as_ref(), crate::route::owner(&id, &found.target))),
        None => crate::chat::no_such_model(&id, state).into_response(),
    }
}

/// The client's own id for the request, if it can be written as it is; else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let own = headers.get(REQUEST_ID).and_then(|it| it.to_str().ok());
    let fits = |it: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_graphic())
    };
    own.filter(fits).map_or_else(|| format!("{:032x}", fastrand::u128(..)), str::to_owned)
}
