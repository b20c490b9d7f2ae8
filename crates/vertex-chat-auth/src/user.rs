//! A person's login, as `gcloud auth application-default login` leaves it: a refresh token.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use vertex_chat_transport::{Clock, Exchange};

use crate::file::{Fields, fields_of};
use crate::oauth::{ask, basic_authorization, form_request, read_fields, token_of};
use crate::source::{joined, quota_header};
use crate::urls::must_be_trusted;
use crate::{AuthError, DEFAULT_UNIVERSE, Fetch, FetchedToken, GOOGLE_TOKEN_URI, Secret};

const LOGIN: &str = "run `gcloud auth application-default login`";

/// What was in the file of a person's login, checked: of a Google account (`authorized_user`), or of another company's
/// by workforce identity federation (`external_account_authorized_user`).
pub struct AuthorizedUser {
    client_id: String,
    client_secret: Secret,
    refresh_token: Secret,
    token_url: String,
    is_external: bool,
    account: Option<String>,
    quota_project_id: Option<String>,
    universe_domain: String,
}

impl AuthorizedUser {
    /// Reads the file. Secrets go to Google's addresses and to this machine only.
    ///
    /// # Errors
    /// Names the fields that are missing or wrong, never a value.
    pub fn from_json(json: &[u8]) -> Result<Self, AuthError> {
        let fields = fields_of(json)?;
        Self::from_fields(&fields, false)
    }

    pub(crate) fn from_fields(fields: &Map<String, Value>, trust_urls: bool) -> Result<Self, AuthError> {
        let is_external = fields.text("type") == Some("external_account_authorized_user");
        // Where to refresh: Google's own logins may leave it out, the others must say.
        let (url_field, needed): (_, &[&str]) = match is_external {
            true => ("token_url", &["client_id", "client_secret", "refresh_token", "token_url"]),
            false => ("token_uri", &["client_id", "client_secret", "refresh_token"]),
        };
        fields.require(needed).map_err(|error| error.with_remedy(LOGIN))?;
        let universe = fields.universe();
        if universe != DEFAULT_UNIVERSE && !is_external {
            let message = "a person's login works in the universe googleapis.com only (`universe_domain`)";
            return Err(AuthError::configuration(message).with_remedy("use a service account"));
        }
        let token_url = fields.text(url_field).unwrap_or(GOOGLE_TOKEN_URI);
        if !trust_urls {
            must_be_trusted(url_field, token_url, universe)?;
        }
        let text = |name: &str| fields.text(name).map(str::to_owned);
        Ok(Self {
            client_id: fields.must("client_id")?.to_owned(),
            client_secret: fields.must("client_secret")?.into(),
            refresh_token: fields.must("refresh_token")?.into(),
            token_url: token_url.to_owned(),
            is_external,
            account: text("account"),
            quota_project_id: text("quota_project_id"),
            universe_domain: universe.to_owned(),
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

    /// The universe, `googleapis.com` outside of sovereign clouds.
    #[must_use]
    pub fn universe_domain(&self) -> &str {
        &self.universe_domain
    }
}

impl fmt::Debug for AuthorizedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizedUser")
            .field("client_id", &self.client_id)
            .field("token_url", &self.token_url)
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

    /// Asks for these scopes, which have to be among those of the login. With another company's login it has no effect.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[impl AsRef<str>]) -> Self {
        self.scopes = Some(joined(scopes, " "));
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
        let user = &self.user;
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        if !user.is_external {
            form.extend([
                ("client_id", user.client_id.as_str()),
                ("client_secret", user.client_secret.expose()),
            ]);
            form.extend(self.scopes.as_deref().map(|scopes| ("scope", scopes)));
        }
        let mut request = form_request(&user.token_url, &form)?;
        if user.is_external {
            // The security token service knows clients by header, and gives the scopes of the login.
            let client = basic_authorization(&user.client_id, &user.client_secret)?;
            request.headers_mut().insert(AUTHORIZATION, client);
        }
        let (token, rotated) = ask(&*self.exchange, &self.clock, request, |answer, asked_at| {
            let fields = read_fields(answer)?;
            let rotated = fields.text("refresh_token").map(Secret::new);
            Ok((token_of(&fields, answer.status, asked_at)?, rotated))
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
