//! Finding credentials.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use vertex_chat_transport::{Clock, Connector, Profile};

use crate::discover::Discovery;
use crate::gcloud::GcloudSource;
use crate::load::Found;
use crate::off_worker::off_worker;
use crate::reload::{Reloading, Stamp};
use crate::source::quota_header;
use crate::subject::read_small;
use crate::{
    AccessToken, AuthError, Cached, DEFAULT_UNIVERSE, Environment, MetadataSource, Secret, StaticToken,
    SubjectTokenSource, TokenForm, TokenSource, check_path, shown_path,
};

/// The largest credential file that is read.
pub const CREDENTIAL_FILE_BYTES_MAX: u64 = 1 << 20;
/// Where the project is looked for, in this order, before the credentials themselves are asked.
pub const PROJECT_VARIABLES: [&str; 2] = ["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"];

/// Variables that Google's own libraries read, or that people take for theirs, and this crate does not; with the reason.
pub const VARIABLES_NOT_READ: [(&str, &str); 13] = [
    ("GOOGLE_APPLICATION_CREDENTIALS_JSON", "no library of Google's reads it; write it to a file"),
    ("GOOGLE_API_KEY", "Vertex's chat completions take no API keys"),
    ("GCE_METADATA_ROOT", "the old name of GCE_METADATA_HOST"),
    ("GCE_METADATA_DETECT_RETRIES", "a server that is there answers the first time"),
    ("GCE_METADATA_MTLS_MODE", "the metadata server is asked in the clear"),
    ("METADATA_SERVER_DETECTION", "Node's; here it is NO_GCE_CHECK and GCE_METADATA_HOST"),
    ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "the credentials name their universe"),
    ("GOOGLE_API_USE_CLIENT_CERTIFICATE", "device certificates are not supported"),
    ("GOOGLE_API_USE_MTLS_ENDPOINT", "device certificates are not supported"),
    ("GOOGLE_API_ENABLE_RUNTIME_BOUND_TOKEN", "certificate-bound tokens are not supported"),
    ("GOOGLE_AUTH_TRUST_BOUNDARY_ENABLED", "regional access boundaries are not supported"),
    ("DEVSHELL_CLIENT_PORT", "Cloud Shell has a metadata server"),
    ("CLOUDSDK_CORE_PROJECT", "gcloud's own; it counts with gcloud's account only"),
];

/// A kind of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialsKind {
    /// A service account's key.
    ServiceAccount,
    /// A person's login.
    AuthorizedUser,
    /// A person's login by workforce identity federation.
    ExternalAccountAuthorizedUser,
    /// A service account, as which somebody acts who may.
    ImpersonatedServiceAccount,
    /// An identity from elsewhere: workload or workforce identity federation.
    ExternalAccount,
    /// The metadata server, if there is one: it is asked with the first token.
    MetadataServer,
    /// The command gcloud.
    Gcloud,
    /// A token from elsewhere.
    StaticToken,
}

impl fmt::Display for CredentialsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ServiceAccount => "service account key",
            Self::AuthorizedUser => "a person's login",
            Self::ExternalAccountAuthorizedUser => "a person's federated login",
            Self::ImpersonatedServiceAccount => "impersonated service account",
            Self::ExternalAccount => "federated identity",
            Self::MetadataServer => "metadata server",
            Self::Gcloud => "gcloud's account",
            Self::StaticToken => "access token",
        })
    }
}

/// Credentials that were found, and what is known of them without asking anybody.
#[derive(Clone, Debug)]
pub struct Credentials {
    source: Arc<dyn TokenSource>,
    kind: CredentialsKind,
    origin: String,
    account: Option<String>,
    project_id: Option<String>,
    quota_project_id: Option<String>,
    universe_domain: String,
    discovery: Discovery,
    files: Vec<PathBuf>,
}

impl Credentials {
    /// Asks for what is not known yet, project and universe: the metadata server on Google's machines, gcloud for its
    /// configuration, Google's resource manager for the name of the project whose number a federated identity has. Where
    /// nobody is to be asked, nothing happens.
    ///
    /// # Errors
    /// When somebody was to be asked, and does not answer or does not say.
    pub async fn discover(&mut self) -> Result<(), AuthError> {
        if let Some(universe) = self.discovery.universe_domain().await? {
            self.universe_domain = universe;
        }
        if self.project_id.is_none() {
            self.project_id = self.discovery.project_id(&self.source).await?;
        }
        Ok(())
    }

    /// Where tokens come from.
    #[must_use]
    pub fn source(&self) -> Arc<dyn TokenSource> {
        Arc::clone(&self.source)
    }

    /// What kind they are.
    #[must_use]
    pub fn kind(&self) -> CredentialsKind {
        self.kind
    }

    /// Where they were found, for a person to read.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The files that decide who they are: the credential file, and a program that it names. Who can write to them can act as
    /// somebody else, or run a program of their own.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whose they are.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The project that they name.
    #[must_use]
    pub fn project_id(&self) -> Option<&str> {
        self.project_id.as_deref()
    }

    /// The project that is billed, when something names one. A person's login names no other.
    #[must_use]
    pub fn quota_project_id(&self) -> Option<&str> {
        self.quota_project_id.as_deref()
    }

    /// The universe that they are for.
    #[must_use]
    pub fn universe_domain(&self) -> &str {
        &self.universe_domain
    }
}

#[async_trait]
impl TokenSource for Credentials {
    fn cached(&self) -> Option<AccessToken> {
        self.source.cached()
    }
    async fn refresh(&self) -> Result<AccessToken, AuthError> {
        self.source.refresh().await
    }
    fn invalidate(&self, token: &AccessToken) {
        self.source.invalidate(token);
    }
}

const NO_CREDENTIALS: &str = "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the path \
     of a credential file, or give a key or a token explicitly";

/// What to do about a value that stands where a path belongs.
const NOT_A_PATH: &str = "write the credentials to a file that only you can read, and give the file's path";

/// A place where credentials are looked for.
#[derive(Clone, Debug)]
pub struct Place {
    name: String,
    verdict: Cow<'static, str>,
    found: Option<Choice>,
}

#[derive(Clone, Debug)]
enum Choice {
    File(PathBuf),
    Unusable,
    Metadata,
}

impl Place {
    /// Whether there is something here: what is looked for ends at the first such place.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.found.is_some()
    }
}

impl fmt::Display for Place {
    /// `GOOGLE_APPLICATION_CREDENTIALS is not set`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.verdict)
    }
}

/// How credentials are found and used.
#[derive(Clone, Debug)]
pub struct CredentialsOptions {
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) environment: Environment,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) subject: Option<String>,
    pub(crate) subject_tokens: Option<Arc<dyn SubjectTokenSource>>,
    pub(crate) quota_project: Option<String>,
    pub(crate) token_form: TokenForm,
    pub(crate) trust_urls: bool,
    /// The universe that a file may be for, beside everybody's.
    pub(crate) universe: Option<String>,
}

impl CredentialsOptions {
    /// The process's environment, the scope of all Google Cloud services.
    #[must_use]
    pub fn new(connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Self {
        Self {
            connector,
            clock,
            environment: Environment::process(),
            scopes: None,
            subject: None,
            subject_tokens: None,
            quota_project: None,
            token_form: TokenForm::default(),
            trust_urls: false,
            universe: None,
        }
    }

    /// Looks into this environment.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Asks for these scopes. Otherwise that of all Google Cloud services, and for a person's login those that it was made
    /// with.
    #[must_use]
    pub fn with_scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Acts for this person of one's Google Workspace (domain-wide delegation). For service account keys only.
    #[must_use]
    pub fn with_subject(mut self, email: impl Into<String>) -> Self {
        self.subject = Some(email.into());
        self
    }

    /// Takes subject tokens from here, for a credential file of type `external_account`, whatever its `credential_source`
    /// says.
    #[must_use]
    pub fn with_subject_tokens(mut self, tokens: Arc<dyn SubjectTokenSource>) -> Self {
        self.subject_tokens = Some(tokens);
        self
    }

    /// Bills this project. Otherwise `GOOGLE_CLOUD_QUOTA_PROJECT`, otherwise what the credentials say.
    #[must_use]
    pub fn with_quota_project(mut self, project: impl Into<String>) -> Self {
        self.quota_project = Some(project.into());
        self
    }

    /// Makes a service account's tokens in this way.
    #[must_use]
    pub fn with_token_form(mut self, form: TokenForm) -> Self {
        self.token_form = form;
        self
    }

    /// Takes credentials of this universe, a sovereign cloud's: its addresses are then as good as Google's. A file cannot
    /// say that for itself.
    #[must_use]
    pub fn with_universe_domain(mut self, universe: impl Into<String>) -> Self {
        self.universe = Some(universe.into());
        self
    }

    /// Sends secrets to whatever address a credential file names, and asks whatever host it names for AWS's metadata. Files
    /// from strangers can then take them anywhere.
    #[must_use]
    pub fn danger_trust_credential_urls(mut self, trust: bool) -> Self {
        self.trust_urls = trust;
        self
    }

    /// Finds credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, else the one that
    /// `gcloud auth application-default login` writes: `application_default_credentials.json` in the folder
    /// `CLOUDSDK_CONFIG`, else in gcloud's own (`~/.config/gcloud`, on Windows `%APPDATA%\gcloud`), else the metadata server.
    ///
    /// # Errors
    /// When there is none, with every place that was looked at; or when the first that there is cannot be used: never
    /// another in its place.
    pub fn find(&self) -> Result<Credentials, AuthError> {
        let places = self.places();
        let told: Vec<String> = places.iter().map(ToString::to_string).collect();
        match places.iter().find_map(|place| Some((place, place.found.as_ref()?))) {
            Some((place, Choice::File(path))) => return self.read_file(path, &place.name),
            Some((place, Choice::Unusable)) => {
                return Err(AuthError::configuration(place.to_string()).with_remedy(NOT_A_PATH));
            }
            Some((_, Choice::Metadata)) => {}
            None => {
                let message = format!("no credentials: {}", told.join(", "));
                return Err(AuthError::configuration(message).with_remedy(NO_CREDENTIALS));
            }
        }
        let exchange = self.connector.connect(&Profile::NoProxy).map_err(AuthError::from_transport)?;
        let quota_project_id = self.chosen_quota_project();
        let mut source = MetadataSource::new(&self.environment, exchange, Arc::clone(&self.clock))
            .with_quota_project(quota_project_id.clone())
            .after_looking_at(format!("{}, ", told[..told.len() - 1].join(", ")));
        if let Some(scopes) = &self.scopes {
            source = source.with_scopes(scopes);
        }
        let source = Arc::new(source);
        let found = Found {
            quota_project_id,
            discovery: Discovery::Metadata(Arc::clone(&source)),
            ..Found::new(source, CredentialsKind::MetadataServer)
        };
        Ok(self.credentials(found, "the metadata server, because there is nothing else"))
    }

    /// [`find`](Self::find), with its files read away from the workers of tokio's runtime: one on a network drive that hangs
    /// keeps nothing else waiting.
    ///
    /// # Errors
    /// As [`find`](Self::find), and when the files take longer than [`FILE_TIMEOUT`](crate::FILE_TIMEOUT).
    pub async fn find_off_worker(&self) -> Result<Credentials, AuthError> {
        let options = self.clone();
        off_worker(move || options.find()).await
    }

    /// [`from_file`](Self::from_file), with the file read away from the workers of tokio's runtime.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file), and when it takes longer than [`FILE_TIMEOUT`](crate::FILE_TIMEOUT).
    pub async fn from_file_off_worker(&self, path: impl Into<PathBuf>) -> Result<Credentials, AuthError> {
        let (options, path) = (self.clone(), path.into());
        off_worker(move || options.from_file(path)).await
    }

    /// Where [`find`](Self::find) looks, in order, and what it sees there. The first place where there is something is
    /// chosen, whether or not it can be used.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let variable = "GOOGLE_APPLICATION_CREDENTIALS";
        let named = match self.environment.path(variable) {
            Some(path) => match check_path(&path) {
                // The value may be a secret, so it is not shown. It is not read either: Google's libraries take a path.
                Err(what) => Place {
                    name: variable.to_owned(),
                    verdict: format!("has to be the path of a file; its value seems to be {what}").into(),
                    found: Some(Choice::Unusable),
                },
                Ok(()) => Place {
                    name: format!("{variable}={}", path.display()),
                    verdict: "is set".into(),
                    found: Some(Choice::File(path)),
                },
            },
            None => Place { name: variable.to_owned(), verdict: "is not set".into(), found: None },
        };
        let well_known = match self.well_known_file() {
            // What cannot be looked at may be there, and must not be passed over.
            Some(path) if path.try_exists().unwrap_or(true) => {
                Place { name: shown_path(&path), verdict: "is there".into(), found: Some(Choice::File(path)) }
            }
            Some(path) => Place { name: shown_path(&path), verdict: "is not there".into(), found: None },
            None => Place {
                name: "a home folder with gcloud's file".to_owned(),
                verdict: "is not there".into(),
                found: None,
            },
        };
        let is_off = self.environment.get("NO_GCE_CHECK").is_some_and(|it| it.eq_ignore_ascii_case("true"));
        let metadata = match (is_off, self.environment.get("GCE_METADATA_HOST")) {
            (true, _) => Place {
                name: "NO_GCE_CHECK".to_owned(),
                verdict: "says not to look for a metadata server".into(),
                found: None,
            },
            (false, Some(host)) => Place {
                name: format!("the metadata server {}", crate::shown_name(&host)),
                verdict: "is named by GCE_METADATA_HOST".into(),
                found: Some(Choice::Metadata),
            },
            (false, None) => Place {
                name: "a metadata server".to_owned(),
                verdict: "is looked for with the first token".into(),
                found: Some(Choice::Metadata),
            },
        };
        vec![named, well_known, metadata]
    }

    /// The account of the command gcloud. It is never looked for: whoever wants it has to say so, because it is another
    /// account than that of application default credentials.
    #[must_use]
    pub fn from_gcloud(&self) -> Credentials {
        let quota_project_id = self.chosen_quota_project();
        let source = Arc::new(GcloudSource::new(quota_project_id.clone(), Arc::clone(&self.clock)));
        let found = Found {
            quota_project_id,
            discovery: Discovery::Gcloud(Arc::clone(&source)),
            ..Found::new(source, CredentialsKind::Gcloud)
        };
        self.credentials(found, "the command gcloud")
    }

    /// Where gcloud leaves a person's login.
    fn well_known_file(&self) -> Option<PathBuf> {
        Some(self.gcloud_folder()?.join("application_default_credentials.json"))
    }

    /// Where gcloud keeps its files.
    pub(crate) fn gcloud_folder(&self) -> Option<PathBuf> {
        Some(match self.environment.path("CLOUDSDK_CONFIG") {
            Some(folder) => folder,
            None if cfg!(windows) => self.environment.path("APPDATA")?.join("gcloud"),
            None => self.environment.path("HOME")?.join(".config/gcloud"),
        })
    }

    /// The credentials in this file.
    ///
    /// # Errors
    /// When it cannot be read or used; the message names the file and the field.
    pub fn from_file(&self, path: impl Into<PathBuf>) -> Result<Credentials, AuthError> {
        let path = path.into();
        check_path(&path).map_err(|what| {
            let message =
                format!("the credential file has to be given by its path; the value seems to be {what}");
            AuthError::configuration(message).with_remedy(NOT_A_PATH)
        })?;
        self.read_file(&path, &path.display().to_string())
    }

    /// The credentials in this JSON. `origin` says where it came from.
    ///
    /// # Errors
    /// When it cannot be used; the message names the field.
    pub fn from_json(&self, json: &[u8], origin: &str) -> Result<Credentials, AuthError> {
        Ok(self.credentials(self.found_in(json, origin)?, origin))
    }

    fn credentials(&self, found: Found, origin: &str) -> Credentials {
        Credentials {
            source: Arc::new(Cached::new(found.fetch, Arc::clone(&self.clock))),
            kind: found.kind,
            origin: origin.to_owned(),
            account: found.account,
            project_id: found.project_id,
            quota_project_id: found.quota_project_id,
            universe_domain: found.universe_domain,
            discovery: found.discovery,
            files: found.files,
        }
    }

    /// A token from elsewhere, such as `gcloud auth print-access-token`; it lasts as long as it lasts.
    ///
    /// # Errors
    /// When it is empty or has characters that no header may have.
    pub fn from_token(&self, token: Secret, origin: &str) -> Result<Credentials, AuthError> {
        let quota_project_id = self.chosen_quota_project();
        let headers = quota_header(quota_project_id.as_deref());
        Ok(Credentials {
            source: Arc::new(StaticToken::new(AccessToken::google(token, headers)?)),
            kind: CredentialsKind::StaticToken,
            origin: origin.to_owned(),
            account: None,
            project_id: None,
            quota_project_id,
            universe_domain: DEFAULT_UNIVERSE.to_owned(),
            discovery: Discovery::Nobody,
            files: Vec::new(),
        })
    }

    pub(crate) fn chosen_quota_project(&self) -> Option<String> {
        self.quota_project.clone().or_else(|| self.environment.get("GOOGLE_CLOUD_QUOTA_PROJECT"))
    }

    fn read_file(&self, path: &Path, origin: &str) -> Result<Credentials, AuthError> {
        let (mut found, stamp) = self.load(path, origin)?;
        let reloading = Reloading::new(path.to_owned(), origin.to_owned(), self.clone(), found.fetch, stamp);
        found.fetch = Arc::new(reloading);
        found.files.insert(0, path.to_owned());
        Ok(self.credentials(found, origin))
    }

    /// What a credential file says now, and by what a change of it is noticed.
    pub(crate) fn load(&self, path: &Path, origin: &str) -> Result<(Found, Stamp), AuthError> {
        let cannot = |what: String| AuthError::configuration(format!("{origin}: {what}"));
        let metadata = std::fs::metadata(path).map_err(|error| cannot(error.to_string()))?;
        let json = read_small(path).map_err(cannot)?;
        warn_if_readable_by_others(&metadata, origin);
        Ok((self.found_in(&json, origin)?, Stamp::of(&metadata)))
    }
}

#[cfg(unix)]
fn warn_if_readable_by_others(metadata: &std::fs::Metadata, origin: &str) {
    use std::os::unix::fs::PermissionsExt;
    // A warning and no more: Kubernetes mounts secrets as 0644.
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(origin, "the credential file can be read by others");
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_others(_: &std::fs::Metadata, _: &str) {}
