//! A client, put together.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use vertex_chat_auth::{
    AccessToken, Credentials, CredentialsKind, CredentialsOptions, DEFAULT_UNIVERSE, Environment,
    PROJECT_VARIABLES, Secret, StaticToken, TokenSource, shown_name,
};
use vertex_chat_params::{Dialect, Policy, Rewrites};
use vertex_chat_transport::{Clock, Connector, HttpConnector, Profile, RetryPolicy, SystemClock, Timeouts};

use crate::Error;
use crate::client::{Client, Settings};
use crate::endpoint::{
    DEFAULT_LOCATION, LOCATION_SIGNS, OPENAPI, PROJECT_SIGNS, Shape, VertexEndpoint, chat_url, check_name,
    parse_base_url,
};
use crate::trust::{Trust, is_google_host, is_openai_key};

/// The variables that the builder itself reads.
const BASE_URL_VARIABLE: &str = "OPENAI_BASE_URL";
const KEY_VARIABLE: &str = "OPENAI_API_KEY";
const LOCATION_VARIABLE: &str = "GOOGLE_CLOUD_LOCATION";
/// What bills another project than the credentials' own.
const QUOTA_HEADER: HeaderName = HeaderName::from_static("x-goog-user-project");
const USER_AGENT: &str = concat!("vertex-chat/", env!("CARGO_PKG_VERSION"));

/// Puts a [`Client`] together. What is not set is taken from the environment.
///
/// ```no_run
/// use vertex_chat::Client;
///
/// # fn main() -> Result<(), vertex_chat::Error> {
/// let client = Client::builder().project("my-project").location("us-central1").credentials_file("key.json").build()?;
/// # Ok(()) }
/// ```
///
/// # Environment
///
/// What is set here comes first, always. For the rest:
///
/// | what | from, in this order |
/// |---|---|
/// | base URL | `OPENAI_BASE_URL`, unless project, location, endpoint or host is set here |
/// | project | `GOOGLE_CLOUD_PROJECT`, `GCLOUD_PROJECT`, the credentials |
/// | location | `GOOGLE_CLOUD_LOCATION`, then `global` |
/// | credentials for Vertex | `OPENAI_API_KEY` as an access token if the base URL was given (an OpenAI key, `sk-…`, is passed over), then the file `GOOGLE_APPLICATION_CREDENTIALS`, then gcloud's login, then the metadata server |
/// | credentials for other servers | `OPENAI_API_KEY`, then none |
/// | billed project | `GOOGLE_CLOUD_QUOTA_PROJECT`, the credentials |
/// | proxy | `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`; of the process always, read by the [connector](Self::connector) |
///
/// # Where tokens go
///
/// A Google token goes to Google's hosts (`*.googleapis.com`, dedicated endpoints, the credentials' universe), to this
/// machine, and to hosts [allowed by name](Self::allow_token_host); in the clear only to this machine. An OpenAI
/// key never goes to Google. Anything else is an error of [`build`](Self::build).
#[derive(Clone)]
pub struct ClientBuilder {
    base_url: Option<String>,
    project: Option<String>,
    location: Option<String>,
    endpoint: Option<String>,
    host: Option<String>,
    api_version: Option<String>,
    dialect: Option<Dialect>,
    policy: Option<Policy>,
    rewrites: Rewrites,
    credentials: Given,
    quota_project: Option<String>,
    timeouts: Timeouts,
    retry: RetryPolicy,
    retry_after_sending: bool,
    headers: HeaderMap,
    token_hosts: Vec<String>,
    environment: Environment,
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
}

/// Credentials as they were given.
#[derive(Clone, Debug)]
enum Given {
    Nothing,
    Anonymous,
    File(PathBuf),
    Json(Secret),
    Token(Secret),
    ApiKey(Secret),
    Found(Box<Credentials>),
    Source(Arc<dyn TokenSource>),
}

/// Without addresses, which may have a password in them until [`build`](ClientBuilder::build) refuses it.
impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("project", &self.project)
            .field("location", &self.location)
            .field("endpoint", &self.endpoint)
            .field("dialect", &self.dialect)
            .field("policy", &self.policy)
            .field("rewrites", &self.rewrites)
            .field("credentials", &self.credentials)
            .field("quota_project", &self.quota_project)
            .field("timeouts", &self.timeouts)
            .field("retry", &self.retry)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientBuilder {
    /// Nothing set.
    #[must_use]
    pub fn new() -> Self {
        Self {
            base_url: None,
            project: None,
            location: None,
            endpoint: None,
            host: None,
            api_version: None,
            dialect: None,
            policy: None,
            rewrites: Rewrites::all(),
            credentials: Given::Nothing,
            quota_project: None,
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            retry_after_sending: true,
            headers: HeaderMap::new(),
            token_hosts: Vec::new(),
            environment: Environment::process(),
            connector: Arc::new(HttpConnector::new()),
            clock: Arc::new(SystemClock),
        }
    }

    /// The project, by id or number.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = Some(project.into());
        self
    }

    /// A region such as `us-central1`, `global`, or the multi-regions `us` and `eu`.
    #[must_use]
    pub fn location(mut self, location: impl Into<String>) -> Self {
        self.location = Some(location.into());
        self
    }

    /// The id of an endpoint of your own. Without it requests go to `openapi`: Gemini and the partners' models.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// The host, for dedicated endpoints (`dedicatedEndpointDns`) and emulators; with `http://` for this machine.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// `v1`, which is the default, or `v1beta1`. Both reach the same service.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = Some(version.into());
        self
    }

    /// Everything before `/chat/completions`, in place of project, location, endpoint and host.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// The kind of server. Otherwise: the model's on `openapi`, vLLM on other endpoints, OpenAI elsewhere.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = Some(dialect);
        self
    }

    /// What becomes of parameters that the server does not take. Otherwise the dialect's default.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Which [rewrites](vertex_chat_params::Rewrite) are on. Otherwise all.
    #[must_use]
    pub fn rewrites(mut self, rewrites: Rewrites) -> Self {
        self.rewrites = rewrites;
        self
    }

    /// The credentials in this file.
    #[must_use]
    pub fn credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.credentials = Given::File(path.into());
        self
    }

    /// The credentials in this JSON, the content of a key file.
    #[must_use]
    pub fn credentials_json(mut self, json: impl Into<Secret>) -> Self {
        self.credentials = Given::Json(json.into());
        self
    }

    /// Credentials that were found before.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Given::Found(Box::new(credentials));
        self
    }

    /// A Google access token. It dies within the hour; credentials renew theirs.
    #[must_use]
    pub fn access_token(mut self, token: impl Into<Secret>) -> Self {
        self.credentials = Given::Token(token.into());
        self
    }

    /// A key for a server that is not Vertex.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.credentials = Given::ApiKey(key.into());
        self
    }

    /// Tokens from a source of your own.
    #[must_use]
    pub fn token_source(mut self, source: Arc<dyn TokenSource>) -> Self {
        self.credentials = Given::Source(source);
        self
    }

    /// No credentials, whatever the environment says.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.credentials = Given::Anonymous;
        self
    }

    /// The project that is billed (`x-goog-user-project`).
    #[must_use]
    pub fn quota_project(mut self, project: impl Into<String>) -> Self {
        self.quota_project = Some(project.into());
        self
    }

    /// The timeouts of every call.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// When calls are tried again.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Whether a request is sent again when the connection was lost after it had gone out. True: a completion has no
    /// effect but its price.
    #[must_use]
    pub fn retry_after_sending(mut self, retry: bool) -> Self {
        self.retry_after_sending = retry;
        self
    }

    /// A header of every request. `authorization` is the client's own.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        // Keys are sent in headers of many names; `Debug` shows none.
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// Lets a Google token go to this host, which is not Google's. The host receives the token, and can act for you with it for
    /// as long as the token lives.
    #[must_use]
    pub fn allow_token_host(mut self, host: impl Into<String>) -> Self {
        self.token_hosts.push(host.into());
        self
    }

    /// The environment that is looked into. `Environment::default()` is the process's;
    /// `Environment::of::<&str, &str>([])` is none.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// What makes connections.
    #[must_use]
    pub fn connector(mut self, connector: Arc<dyn Connector>) -> Self {
        self.connector = connector;
        self
    }

    /// Trusts the servers that these certificates, in PEM, vouch for, and a server that shows exactly one of them; beside those
    /// that the system trusts. Private endpoints and private certificate authorities need this.
    ///
    /// # Errors
    /// When the text has no certificate, or the [connector](Self::connector) takes none. Set the connector before.
    pub fn certificates_pem(mut self, pem: &[u8]) -> Result<Self, Error> {
        let connector = self.connector.with_certificates_pem(pem);
        self.connector = connector.map_err(|error| Error::configuration(error.to_string()))?;
        Ok(self)
    }

    /// What tells the time.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Finds credentials now, and asks for what nobody has named: the metadata server for project and universe on Google's
    /// machines, gcloud for its project, Google's resource manager for that of a federated identity. Where everything is
    /// known, nobody is asked.
    ///
    /// ```no_run
    /// # async fn on_cloud_run() -> Result<(), vertex_chat::Error> {
    /// let client = vertex_chat::Client::builder().discover().await?.build()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When there are no credentials, or who is asked does not answer.
    pub async fn discover(mut self) -> Result<Self, Error> {
        if self.chosen_base_url()?.is_some() {
            return Ok(self);
        }
        let mut found = match &self.credentials {
            Given::File(path) => {
                self.credentials_options().from_file_off_worker(path).await.map_err(Error::credentials)?
            }
            Given::Nothing => {
                self.credentials_options().find_off_worker().await.map_err(Error::credentials)?
            }
            _ => match self.given()? {
                Some(Use::Google(found)) => *found,
                _ => return Ok(self),
            },
        };
        let is_named = self.project.is_some()
            || self.environment.first(&PROJECT_VARIABLES).is_some()
            || found.project_id().is_some();
        if !is_named || found.kind() == CredentialsKind::MetadataServer {
            match found.discover().await {
                // There is another project to go by; what does not work is told by the first request.
                Err(error) if is_named || found.quota_project_id().is_some() => {
                    tracing::debug!(%error, "who knows the project does not say");
                }
                result => result.map_err(Error::credentials)?,
            }
        }
        self.credentials = Given::Found(Box::new(found));
        Ok(self)
    }

    /// The credentials that [`discover`](Self::discover) has found, or that were given found.
    #[must_use]
    pub fn found_credentials(&self) -> Option<&Credentials> {
        match &self.credentials {
            Given::Found(found) => Some(&**found),
            _ => None,
        }
    }

    /// The base URL, if requests go by one.
    fn chosen_base_url(&self) -> Result<Option<String>, Error> {
        let by_names = self.project.is_some()
            || self.location.is_some()
            || self.endpoint.is_some()
            || self.host.is_some();
        match &self.base_url {
            Some(_) if by_names => {
                let message =
                    "a base URL and one of project, location, endpoint and host are both set; keep one way";
                Err(Error::configuration(message))
            }
            Some(url) => Ok(Some(url.clone())),
            None if by_names => Ok(None),
            None => {
                let url = self.environment.get(BASE_URL_VARIABLE);
                if let Some(url) = &url {
                    parse_base_url(url).map_err(|what| of_variable(BASE_URL_VARIABLE, &what))?;
                }
                Ok(url)
            }
        }
    }

    /// The client. Nothing is sent yet. Credential files are read here, on the calling thread; in async code call
    /// [`discover`](Self::discover) first, which reads them elsewhere.
    ///
    /// # Errors
    /// Of kind [`Configuration`](crate::ErrorKind::Configuration): what is missing or wrong, and where it was looked for.
    pub fn build(self) -> Result<Client, Error> {
        let base_url = self.chosen_base_url()?;
        let (base_url, parent_url, endpoint, credentials) = match base_url {
            Some(url) => {
                let credentials = self.credentials_for(&url)?;
                (url, None, None, credentials)
            }
            None => {
                let credentials = self.google_credentials()?;
                let endpoint = self.vertex_endpoint(credentials.as_ref())?;
                let base = endpoint.base_url().map_err(Error::configuration)?;
                let parent = endpoint.parent_url().map_err(Error::configuration)?;
                (base, Some(parent), Some(endpoint.endpoint), credentials)
            }
        };
        let chat_url = chat_url(&base_url).map_err(Error::configuration)?;
        let universe = credentials.as_ref().map_or(DEFAULT_UNIVERSE, |it| &it.universe);
        if let Some(host) = self.token_hosts.iter().find(|it| it.contains(['/', ' ', '@']) || it.is_empty()) {
            return Err(Error::configuration(format!(
                "`{}` is no host that can receive a token; write it without scheme, port and path, as in `models.example`",
                shown_name(host)
            )));
        }
        let trust = Trust::of(&chat_url, universe, &self.token_hosts);
        // What is at hand is checked now; what a source gives later is checked then.
        if let Some(token) = credentials.as_ref().and_then(|it| it.source.cached()) {
            trust.check(&token).map_err(Error::configuration)?;
        } else if credentials.as_ref().is_some_and(|it| it.google) {
            trust.check_google().map_err(Error::configuration)?;
        }
        let shape = Shape::of(&chat_url);
        let exchange =
            self.connector.connect(&Profile::Public).map_err(|it| Error::transport("connecting", it))?;
        let mut headers = self.headers;
        if let Some(project) = &self.quota_project {
            check_quota_project(project)?;
            let is_sent = credentials.as_ref().is_some_and(|it| it.quota_project.is_some());
            if !is_sent && is_google_host(chat_url.host().unwrap_or_default(), universe) {
                // Tokens of the caller's own, and keys, come without it.
                let value = HeaderValue::from_str(project)
                    .map_err(|error| Error::configuration(error.to_string()))?;
                headers.entry(QUOTA_HEADER).or_insert(value);
            } else if !is_sent {
                return Err(Error::configuration(
                    "the quota project means nothing to a server that is not Google's; leave it out",
                ));
            }
        }
        headers.remove(http::header::AUTHORIZATION);
        headers.entry(http::header::ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        headers.entry(http::header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Client::new(Settings {
            exchange,
            clock: self.clock,
            tokens: credentials.map(|it| it.source),
            trust,
            chat_url,
            parent_url,
            endpoint,
            shape,
            dialect: self.dialect,
            rewrites: self.rewrites,
            policy: self.policy,
            timeouts: self.timeouts,
            retry: self.retry,
            retry_after_sending: self.retry_after_sending,
            headers,
        }))
    }

    fn credentials_options(&self) -> CredentialsOptions {
        let options = CredentialsOptions::new(Arc::clone(&self.connector), Arc::clone(&self.clock))
            .with_environment(self.environment.clone());
        match &self.quota_project {
            Some(project) => options.with_quota_project(project),
            None => options,
        }
    }

    /// What was given explicitly; `None` when nothing was.
    fn given(&self) -> Result<Option<Use>, Error> {
        let options = self.credentials_options();
        let found = match &self.credentials {
            Given::Nothing => return Ok(None),
            Given::Anonymous => return Ok(Some(Use::Nobody)),
            Given::ApiKey(key) => return Ok(Some(Use::ApiKey(key.clone()))),
            Given::Source(source) => return Ok(Some(Use::Source(Arc::clone(source)))),
            Given::Found(found) => {
                let own = found.quota_project_id();
                if self.quota_project.as_deref().is_some_and(|project| Some(project) != own) {
                    return Err(Error::configuration(
                        "the quota project is set, and the credentials were found before with another or none; set it where \
                         they are found, or before `discover`",
                    ));
                }
                found.clone()
            }
            Given::File(path) => Box::new(options.from_file(path).map_err(Error::credentials)?),
            Given::Json(json) => {
                let found = options.from_json(json.expose().as_bytes(), "the given JSON");
                Box::new(found.map_err(Error::credentials)?)
            }
            Given::Token(token) => {
                let found = options.from_token(token.clone(), "the given token");
                Box::new(found.map_err(Error::credentials)?)
            }
        };
        Ok(Some(Use::Google(found)))
    }

    /// Credentials for Vertex, by names.
    fn google_credentials(&self) -> Result<Option<Chosen>, Error> {
        match self.given()? {
            Some(given) => given.chosen(),
            None => {
                let found = self.credentials_options().find().map_err(Error::credentials)?;
                Use::Google(Box::new(found)).chosen()
            }
        }
    }

    /// Credentials for a base URL.
    fn credentials_for(&self, base_url: &str) -> Result<Option<Chosen>, Error> {
        if let Some(given) = self.given()? {
            return given.chosen();
        }
        let url = chat_url(base_url).map_err(Error::configuration)?;
        let key = self.environment.get(KEY_VARIABLE).map(Secret::new);
        let at_google = is_google_host(url.host().unwrap_or_default(), DEFAULT_UNIVERSE);
        let key = key.filter(|key| !(at_google && is_openai_key(key.expose())));
        let options = self.credentials_options();
        match (Shape::of(&url).wants_google_token(&url, DEFAULT_UNIVERSE), key) {
            // Google's page has people put an access token there.
            (true, Some(key)) if !is_openai_key(key.expose()) => {
                let found = options.from_token(key, KEY_VARIABLE);
                let found = found.map_err(|error| of_variable(KEY_VARIABLE, &error))?;
                Use::Google(Box::new(found)).chosen()
            }
            (true, _) => Use::Google(Box::new(options.find().map_err(Error::credentials)?)).chosen(),
            (false, Some(key)) => {
                AccessToken::api_key(key.clone()).map_err(|error| of_variable(KEY_VARIABLE, &error))?;
                Use::ApiKey(key).chosen()
            }
            (false, None) => Ok(None),
        }
    }

    fn vertex_endpoint(&self, credentials: Option<&Chosen>) -> Result<VertexEndpoint, Error> {
        let from_env = || self.environment.first(&PROJECT_VARIABLES);
        if let (None, Some((name, project))) = (&self.project, from_env()) {
            check_name("project", &project, PROJECT_SIGNS).map_err(|what| of_variable(name, &what))?;
        }
        let from_credentials = || credentials.and_then(|it| it.project.clone());
        let from_quota = || {
            let project = credentials.and_then(|it| it.quota_project.clone())?;
            tracing::info!(project, "no project is named; it is the one that the credentials bill");
            Some(project)
        };
        let from_env = || from_env().map(|(_, project)| project);
        let project = self.project.clone().or_else(from_env).or_else(from_credentials).or_else(from_quota);
        let Some(project) = project else {
            return Err(Error::configuration(
                "no project: name it (`--project`, `project` of a target, GOOGLE_CLOUD_PROJECT), or use credentials that \
                 name one",
            ));
        };
        let from_env = self.environment.get(LOCATION_VARIABLE);
        if let (None, Some(location)) = (&self.location, &from_env) {
            check_name("location", location, LOCATION_SIGNS)
                .map_err(|what| of_variable(LOCATION_VARIABLE, &what))?;
        }
        let location = self.location.clone().or(from_env);
        if location.is_none() && self.endpoint.is_some() {
            let message = "no location: an endpoint of your own is at one; set it, or GOOGLE_CLOUD_LOCATION";
            return Err(Error::configuration(message));
        }
        Ok(VertexEndpoint {
            project,
            location: location.unwrap_or_else(|| DEFAULT_LOCATION.to_owned()),
            endpoint: self.endpoint.clone().unwrap_or_else(|| OPENAPI.to_owned()),
            host: self.host.clone(),
            version: self.api_version.clone(),
            universe: credentials.map_or_else(|| DEFAULT_UNIVERSE.to_owned(), |it| it.universe.clone()),
        })
    }
}

/// An error of a value that a variable has.
fn of_variable(name: &str, what: &dyn fmt::Display) -> Error {
    Error::configuration(format!("{name}: {what}"))
}

/// The quota project goes into a header. What is no project's name would be left out there, and another project billed.
fn check_quota_project(project: &str) -> Result<(), Error> {
    check_name("quota project", project, PROJECT_SIGNS).map_err(|what| {
        Error::configuration(format!(
            "{what}; it comes from GOOGLE_CLOUD_QUOTA_PROJECT, `quota_project`, or `quota_project_id` of a credential file"
        ))
    })
}

/// Which kind of credentials is used.
enum Use {
    Nobody,
    ApiKey(Secret),
    Google(Box<Credentials>),
    Source(Arc<dyn TokenSource>),
}

/// Credentials as the client uses them.
struct Chosen {
    source: Arc<dyn TokenSource>,
    /// Whether it is known to give Google tokens.
    google: bool,
    project: Option<String>,
    /// What is billed; for a person's login often the only project there is.
    quota_project: Option<String>,
    universe: String,
}

impl Use {
    fn chosen(self) -> Result<Option<Chosen>, Error> {
        let universe = DEFAULT_UNIVERSE.to_owned();
        Ok(Some(match self {
            Self::Nobody => return Ok(None),
            Self::ApiKey(key) => {
                let token = AccessToken::api_key(key).map_err(Error::credentials)?;
                Chosen {
                    source: Arc::new(StaticToken::new(token)),
                    google: false,
                    project: None,
                    quota_project: None,
                    universe,
                }
            }
            Self::Google(found) => {
                if let Some(project) = found.quota_project_id() {
                    check_quota_project(project)?;
                }
                Chosen {
                    source: found.source(),
                    google: true,
                    project: found.project_id().map(str::to_owned),
                    quota_project: found.quota_project_id().map(str::to_owned),
                    universe: found.universe_domain().to_owned(),
                }
            }
            Self::Source(source) => {
                Chosen { source, google: false, project: None, quota_project: None, universe }
            }
        }))
    }
}
