//! Finding credentials.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use vertex_chat_transport::{Clock, Connector, Profile};

use crate::reload::{Reloading, Stamp};
use crate::{
    AccessToken, AuthError, AuthorizedUser, AuthorizedUserSource, CLOUD_PLATFORM_SCOPE, Cached,
    DEFAULT_UNIVERSE, Environment, Fetch, MetadataSource, Secret, ServiceAccountKey, ServiceAccountSource,
    StaticToken, TokenForm, TokenSource,
};

/// The largest credential file that is read.
pub const CREDENTIAL_FILE_BYTES_MAX: u64 = 1 << 20;
/// Where the project is looked for, in this order, before the credentials themselves are asked.
pub const PROJECT_VARIABLES: [&str; 2] = ["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"];

/// A kind of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CredentialsKind {
    /// A service account's key.
    ServiceAccount,
    /// A person's login.
    AuthorizedUser,
    /// The metadata server, if there is one: it is asked with the first token.
    MetadataServer,
    /// A token from elsewhere.
    StaticToken,
}

impl fmt::Display for CredentialsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ServiceAccount => "service account key",
            Self::AuthorizedUser => "a person's login",
            Self::MetadataServer => "metadata server",
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
    universe_domain: String,
    metadata: Option<Arc<MetadataSource>>,
}

impl Credentials {
    /// The project: the one that the credentials name, else the metadata server's word.
    ///
    /// # Errors
    /// When the metadata server was to be asked, and there is none or it does not say.
    pub async fn discover_project_id(&self) -> Result<Option<String>, AuthError> {
        match (&self.project_id, &self.metadata) {
            (Some(project), _) => Ok(Some(project.clone())),
            (None, Some(metadata)) => metadata.project_id().await.map(Some),
            (None, None) => Ok(None),
        }
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

/// How credentials are found and used.
#[derive(Clone, Debug)]
pub struct CredentialsOptions {
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
    environment: Environment,
    scopes: Option<Vec<String>>,
    quota_project: Option<String>,
    token_form: TokenForm,
    trust_urls: bool,
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
            quota_project: None,
            token_form: TokenForm::default(),
            trust_urls: false,
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

    /// Sends secrets to whatever address a credential file names. Files from strangers can then take them anywhere.
    #[must_use]
    pub fn danger_trust_credential_urls(mut self, trust: bool) -> Self {
        self.trust_urls = trust;
        self
    }

    /// Finds credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, else the one that
    /// `gcloud auth application-default login` writes: `application_default_credentials.json` in the folder
    /// `CLOUDSDK_CONFIG`, else in gcloud's own (`~/.config/gcloud`, on Windows `%APPDATA%\gcloud`).
    ///
    /// # Errors
    /// When there is none, with every place that was looked at; or when the first that there is cannot be used: never
    /// another in its place.
    pub fn find(&self) -> Result<Credentials, AuthError> {
        let variable = "GOOGLE_APPLICATION_CREDENTIALS";
        if let Some(path) = self.environment.get(variable) {
            return self.read_file(Path::new(&path), &format!("{variable}={path}"));
        }
        let well_known = self.well_known_file();
        let place = match &well_known {
            Some(path) if path.exists() => return self.read_file(path, &path.display().to_string()),
            Some(path) => format!("{} is not there", path.display()),
            None => "there is no home folder to look for gcloud's file in".to_owned(),
        };
        if self.environment.get("NO_GCE_CHECK").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            let message = format!(
                "no credentials: {variable} is not set, {place}, and NO_GCE_CHECK says not to look for a metadata server"
            );
            return Err(AuthError::configuration(message).with_remedy(
                "run `gcloud auth application-default login`, or set the variable to the path of a credential file, or \
                 give a key or a token explicitly",
            ));
        }
        let exchange = self.connector.connect(&Profile::NoProxy).map_err(AuthError::from_transport)?;
        let mut source = MetadataSource::new(&self.environment, exchange, Arc::clone(&self.clock))
            .with_quota_project(self.chosen_quota_project())
            .after_looking_at(format!("{variable} is not set, {place}, "));
        if let Some(scopes) = &self.scopes {
            source = source.with_scopes(&scopes.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let source = Arc::new(source);
        let fetch: Arc<dyn Fetch> = Arc::clone(&source) as Arc<dyn Fetch>;
        Ok(Credentials {
            source: Arc::new(Cached::new(fetch, Arc::clone(&self.clock))),
            kind: CredentialsKind::MetadataServer,
            origin: "the metadata server, because there is nothing else".to_owned(),
            account: None,
            project_id: None,
            universe_domain: DEFAULT_UNIVERSE.to_owned(),
            metadata: Some(source),
        })
    }

    /// Where gcloud leaves a person's login.
    fn well_known_file(&self) -> Option<PathBuf> {
        let folder = match self.environment.get("CLOUDSDK_CONFIG") {
            Some(folder) => PathBuf::from(folder),
            None if cfg!(windows) => PathBuf::from(self.environment.get("APPDATA")?).join("gcloud"),
            None => PathBuf::from(self.environment.get("HOME")?).join(".config/gcloud"),
        };
        Some(folder.join("application_default_credentials.json"))
    }

    /// The credentials in this file.
    ///
    /// # Errors
    /// When it cannot be read or used; the message names the file and the field.
    pub fn from_file(&self, path: impl Into<PathBuf>) -> Result<Credentials, AuthError> {
        let path = path.into();
        self.read_file(&path, &path.display().to_string())
    }

    /// The credentials in this JSON. `origin` says where it came from.
    ///
    /// # Errors
    /// When it cannot be used; the message names the field.
    pub fn from_json(&self, json: &[u8], origin: &str) -> Result<Credentials, AuthError> {
        let found = self.found_in(json, origin)?;
        let fetch = Arc::clone(&found.fetch);
        Ok(self.credentials(found, fetch, origin))
    }

    fn credentials(&self, found: Found, fetch: Arc<dyn Fetch>, origin: &str) -> Credentials {
        Credentials {
            source: Arc::new(Cached::new(fetch, Arc::clone(&self.clock))),
            kind: found.kind,
            origin: origin.to_owned(),
            account: found.account,
            project_id: found.project_id,
            universe_domain: found.universe_domain,
            metadata: None,
        }
    }

    /// What a credential file says.
    fn found_in(&self, json: &[u8], origin: &str) -> Result<Found, AuthError> {
        let named = |error: AuthError| AuthError::configuration(format!("{origin}: {error}"));
        let fields = fields_of(json).map_err(named)?;
        let kind = kind_of(&fields).map_err(named)?;
        let exchange = self.connector.connect(&Profile::Public).map_err(AuthError::from_transport)?;
        let clock = Arc::clone(&self.clock);
        match kind.as_str() {
            "service_account" => {
                let read = if self.trust_urls {
                    ServiceAccountKey::from_json_trusting_its_urls
                } else {
                    ServiceAccountKey::from_json
                };
                let key = read(json).map_err(named)?;
                let scopes = self.scopes.as_deref().unwrap_or_default();
                let scopes: Vec<&str> = match scopes {
                    [] if self.scopes.is_none() => vec![CLOUD_PLATFORM_SCOPE],
                    scopes => scopes.iter().map(String::as_str).collect(),
                };
                let (account, project_id) =
                    (Some(key.client_email().to_owned()), key.project_id().map(str::to_owned));
                let universe_domain = key.universe_domain().to_owned();
                let source =
                    ServiceAccountSource::new(key, self.token_form.clone(), &scopes, exchange, clock)
                        .with_quota_project(self.chosen_quota_project());
                let kind = CredentialsKind::ServiceAccount;
                Ok(Found { fetch: Arc::new(source), kind, account, project_id, universe_domain })
            }
            "authorized_user" => {
                let user = AuthorizedUser::from_fields(&fields, self.trust_urls).map_err(named)?;
                let account = user.account().map(str::to_owned);
                let mut source = AuthorizedUserSource::new(user, exchange, clock)
                    .with_quota_project(self.chosen_quota_project());
                if let Some(scopes) = &self.scopes {
                    source = source.with_scopes(&scopes.iter().map(String::as_str).collect::<Vec<_>>());
                }
                let (kind, universe_domain) = (CredentialsKind::AuthorizedUser, DEFAULT_UNIVERSE.to_owned());
                Ok(Found { fetch: Arc::new(source), kind, account, project_id: None, universe_domain })
            }
            other => Err(named(unsupported(other))),
        }
    }

    /// A token from elsewhere, such as `gcloud auth print-access-token`; it lasts as long as it lasts.
    ///
    /// # Errors
    /// When it is empty or has characters that no header may have.
    pub fn from_token(&self, token: Secret, origin: &str) -> Result<Credentials, AuthError> {
        let headers = crate::service_account::quota_header(self.chosen_quota_project().as_deref());
        Ok(Credentials {
            source: Arc::new(StaticToken::new(AccessToken::google(token, headers)?)),
            kind: CredentialsKind::StaticToken,
            origin: origin.to_owned(),
            account: None,
            project_id: None,
            universe_domain: DEFAULT_UNIVERSE.to_owned(),
            metadata: None,
        })
    }

    fn chosen_quota_project(&self) -> Option<String> {
        self.quota_project.clone().or_else(|| self.environment.get("GOOGLE_CLOUD_QUOTA_PROJECT"))
    }

    fn read_file(&self, path: &Path, origin: &str) -> Result<Credentials, AuthError> {
        let (found, stamp) = self.load(path, origin)?;
        let fetch = Arc::clone(&found.fetch);
        let fetch = Reloading::new(path.to_owned(), origin.to_owned(), self.clone(), fetch, stamp);
        Ok(self.credentials(found, Arc::new(fetch), origin))
    }

    /// What a credential file says now, and by what a change of it is noticed.
    pub(crate) fn load(&self, path: &Path, origin: &str) -> Result<(Found, Stamp), AuthError> {
        let cannot = |what: &dyn fmt::Display| AuthError::configuration(format!("{origin}: {what}"));
        let metadata = std::fs::metadata(path).map_err(|error| cannot(&error))?;
        if !metadata.is_file() {
            return Err(cannot(&"not a file"));
        }
        if metadata.len() > CREDENTIAL_FILE_BYTES_MAX {
            return Err(cannot(&format!("larger than {CREDENTIAL_FILE_BYTES_MAX} bytes")));
        }
        let json = zeroize::Zeroizing::new(std::fs::read(path).map_err(|error| cannot(&error))?);
        warn_if_readable_by_others(&metadata, origin);
        Ok((self.found_in(&json, origin)?, Stamp::of(&metadata)))
    }
}

/// What was found in a credential file.
pub(crate) struct Found {
    pub(crate) fetch: Arc<dyn Fetch>,
    kind: CredentialsKind,
    account: Option<String>,
    project_id: Option<String>,
    universe_domain: String,
}

/// The fields of a credential file.
pub(crate) fn fields_of(json: &[u8]) -> Result<Map<String, Value>, AuthError> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    serde_json::from_slice(json).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        AuthError::configuration(format!("not a JSON object ({place})"))
    })
}

/// The `type` of a credential file: read before anything else, so that the error for another kind names it instead of a
/// field that it need not have.
fn kind_of(fields: &Map<String, Value>) -> Result<String, AuthError> {
    match fields.get("type").and_then(Value::as_str) {
        Some(kind) => Ok(kind.chars().take(64).collect()),
        None => {
            Err(AuthError::configuration("field `type` is missing")
                .with_remedy("this is not a credential file"))
        }
    }
}

fn unsupported(kind: &str) -> AuthError {
    let known = [
        "external_account",
        "external_account_authorized_user",
        "impersonated_service_account",
        "gdch_service_account",
    ];
    let message = if known.contains(&kind) {
        format!("credentials of type `{kind}` are not supported yet")
    } else {
        format!("`{kind}` is no known type of credentials")
    };
    AuthError::configuration(message)
        .with_remedy("supported are `service_account` and `authorized_user`; or give an access token")
}

#[cfg(unix)]
fn warn_if_readable_by_others(metadata: &std::fs::Metadata, origin: &str) {
    use std::os::unix::fs::PermissionsExt;
    // A warning and no more: Kubernetes mounts secrets as 0644.
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::debug!(origin, "the credential file can be read by others");
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_others(_: &std::fs::Metadata, _: &str) {}
