//! Finding credentials.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use vertex_chat_transport::{Clock, Connector, Profile};

use crate::{
    AccessToken, AuthError, CLOUD_PLATFORM_SCOPE, Cached, DEFAULT_UNIVERSE, Environment, Secret,
    ServiceAccountKey, ServiceAccountSource, StaticToken, TokenForm, TokenSource,
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
    /// A token from elsewhere.
    StaticToken,
}

impl fmt::Display for CredentialsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ServiceAccount => "service account key",
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
}

impl Credentials {
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
    scopes: Vec<String>,
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
            scopes: vec![CLOUD_PLATFORM_SCOPE.to_owned()],
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

    /// Asks for these scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
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

    /// Finds credentials: the file that `GOOGLE_APPLICATION_CREDENTIALS` names.
    ///
    /// # Errors
    /// When the variable is not set, or the file cannot be used: never something else in its place.
    pub fn find(&self) -> Result<Credentials, AuthError> {
        let variable = "GOOGLE_APPLICATION_CREDENTIALS";
        match self.environment.get(variable) {
            Some(path) => self.read_file(Path::new(&path), &format!("{variable}={path}")),
            None => Err(AuthError::configuration(format!("no credentials: {variable} is not set")).with_remedy(
                "set it to the path of a service account key, or give a key or a token explicitly; other kinds of \
                 Application Default Credentials are not supported yet",
            )),
        }
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
        let named = |error: AuthError| AuthError::configuration(format!("{origin}: {error}"));
        let kind = kind_of(json).map_err(named)?;
        if kind != "service_account" {
            return Err(named(unsupported(&kind)));
        }
        let read = if self.trust_urls {
            ServiceAccountKey::from_json_trusting_its_urls
        } else {
            ServiceAccountKey::from_json
        };
        let key = read(json).map_err(named)?;
        let exchange = self.connector.connect(&Profile::Public).map_err(AuthError::from_transport)?;
        let scopes: Vec<&str> = self.scopes.iter().map(String::as_str).collect();
        let (account, project_id) =
            (Some(key.client_email().to_owned()), key.project_id().map(str::to_owned));
        let universe_domain = key.universe_domain().to_owned();
        let source = ServiceAccountSource::new(
            key,
            self.token_form.clone(),
            &scopes,
            exchange,
            Arc::clone(&self.clock),
        )
        .with_quota_project(self.chosen_quota_project());
        Ok(Credentials {
            source: Arc::new(Cached::new(Arc::new(source), Arc::clone(&self.clock))),
            kind: CredentialsKind::ServiceAccount,
            origin: origin.to_owned(),
            account,
            project_id,
            universe_domain,
        })
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
        })
    }

    fn chosen_quota_project(&self) -> Option<String> {
        self.quota_project.clone().or_else(|| self.environment.get("GOOGLE_CLOUD_QUOTA_PROJECT"))
    }

    fn read_file(&self, path: &Path, origin: &str) -> Result<Credentials, AuthError> {
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
        self.from_json(&json, origin)
    }
}

/// The `type` of a credential file: read before anything else, so that the error for another kind names it instead of a
/// field that it need not have.
fn kind_of(json: &[u8]) -> Result<String, AuthError> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    let fields: Map<String, Value> = serde_json::from_slice(json).map_err(|error| {
        AuthError::configuration(format!(
            "not a JSON object (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
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
        "authorized_user",
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
    AuthError::configuration(message).with_remedy("supported is `service_account`; or give an access token")
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
