//! A person's login, as `gcloud auth application-default login` leaves it: a refresh token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Map, Value};
use vertex_chat_transport::{Clock, Exchange};

use crate::oauth::{ask, form_request, read_fields, token_of};
use crate::service_account::{is_trusted_url, quota_header};
use crate::{AuthError, DEFAULT_UNIVERSE, Fetch, FetchedToken, GOOGLE_TOKEN_URI, Secret};

const LOGIN: &str = "run `gcloud auth application-default login`";

/// What was in the file of a person's login, checked.
pub struct AuthorizedUser {
    client_id: String,
    client_secret: Secret,
    refresh_token: Secret,
    token_uri: String,
    account: Option<String>,
    quota_project_id: Option<String>,
}

impl AuthorizedUser {
    /// Reads the file. Secrets go to Google's addresses and to this machine only.
    ///
    /// # Errors
    /// Names the fields that are missing or wrong, never a value.
    pub fn from_json(json: &[u8]) -> Result<Self, AuthError> {
        let fields = crate::credentials::fields_of(json)?;
        Self::from_fields(&fields, false)
    }

    pub(crate) fn from_fields(fields: &Map<String, Value>, trust_urls: bool) -> Result<Self, AuthError> {
        let text = |name: &str| {
            fields.get(name).and_then(Value::as_str).map(str::to_owned).filter(|it| !it.is_empty())
        };
        let missing: Vec<&str> = ["client_id", "client_secret", "refresh_token"]
            .into_iter()
            .filter(|name| text(name).is_none())
            .collect();
        if !missing.is_empty() {
            let message = format!("fields missing: {}", missing.join(", "));
            return Err(AuthError::configuration(message).with_remedy(LOGIN));
        }
        let universe = text("universe_domain").unwrap_or_else(|| DEFAULT_UNIVERSE.to_owned());
        if universe != DEFAULT_UNIVERSE {
            let message = "a person's login works in the universe googleapis.com only (`universe_domain`)";
            return Err(AuthError::configuration(message).with_remedy("use a service account"));
        }
        let token_uri = text("token_uri").unwrap_or_else(|| GOOGLE_TOKEN_URI.to_owned());
        if !trust_urls && !is_trusted_url(&token_uri, DEFAULT_UNIVERSE) {
            return Err(AuthError::configuration("field `token_uri` is not an address of Google's"));
        }
        let must = |name: &str| text(name).expect("because it was just looked for");
        Ok(Self {
            client_id: must("client_id"),
            client_secret: must("client_secret").into(),
            refresh_token: must("refresh_token").into(),
            token_uri,
            account: text("account"),
            quota_project_id: text("quota_project_id"),
        })
    }

    /// Whose login it is, where the file says so.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The project that is to be billed.
    #[must_use]
    pub fn quota_project_id(&self) -> Option<&str> {
        self.quota_project_id.as_deref()
    }
}

impl fmt::Debug for AuthorizedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedUser")
            .field("client_id", &self.client_id)
            .field("token_uri", &self.token_uri)
            .field("account", &self.account)
            .field("quota_project_id", &self.quota_project_id)
            .finish_non_exhaustive()
    }
}

/// Gets tokens for a person's login.
#[derive(Debug)]
pub struct AuthorizedUserSource {
    user: AuthorizedUser,
    /// The newest refresh token: an answer may bring another.
    refresh_token: Mutex<Secret>,
    scopes: Option<String>,
    quota_project: Option<String>,
    exchange: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
}

impl AuthorizedUserSource {
    /// Tokens for this login, of the scopes that it was made with.
    #[must_use]
    pub fn new(user: AuthorizedUser, exchange: Arc<dyn Exchange>, clock: Arc<dyn Clock>) -> Self {
        let (refresh_token, quota_project) = (user.refresh_token.clone(), user.quota_project_id.clone());
        let refresh_token = Mutex::new(refresh_token);
        Self { user, refresh_token, scopes: None, quota_project, exchange, clock }
    }

    /// Asks for these scopes, which have to be among those of the login.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = Some(scopes.join(" "));
        self
    }

    /// Bills this project instead of the one that the file names.
    #[must_use]
    pub fn with_quota_project(mut self, project: Option<String>) -> Self {
        self.quota_project = project.or(self.quota_project);
        self
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Secret> {
        self.refresh_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Fetch for AuthorizedUserSource {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        let refresh_token = self.held().clone();
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", &self.user.client_id),
            ("client_secret", self.user.client_secret.expose()),
            ("refresh_token", refresh_token.expose()),
        ];
        form.extend(self.scopes.as_deref().map(|scopes| ("scope", scopes)));
        let request = form_request(&self.user.token_uri, &form)?;
        let (token, rotated) = ask(&*self.exchange, &self.clock, request, |answer, asked_at| {
            let fields = read_fields(answer)?;
            let rotated = fields.get("refresh_token").and_then(Value::as_str).filter(|it| !it.is_empty());
            Ok((token_of(&fields, answer.status, asked_at)?, rotated.map(Secret::new)))
        })
        .await?;
        if let Some(rotated) = rotated {
            *self.held() = rotated;
        }
        Ok(token)
    }

    fn headers(&self) -> HeaderMap {
        quota_header(self.quota_project.as_deref())
    }
}
