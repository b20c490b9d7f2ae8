//! Tokens and where they come from.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, HeaderValue};

use crate::{AuthError, Secret};

/// Where access tokens come from.
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// The token at hand, if it is good for this request. Never waits, never allocates; may start a refresh that others
    /// will profit from.
    fn cached(&self) -> Option<AccessToken>;

    /// A token that is good, waiting for one if need be. However many ask at once, one request is made.
    ///
    /// # Errors
    /// When there is none to be had. Asking again later may help, see [`AuthError::is_transient`].
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the request that others wait for.
    async fn refresh(&self) -> Result<AccessToken, AuthError>;

    /// Says that the service refused this token. If it is the one at hand it is given out no more.
    fn invalidate(&self, token: &AccessToken);
}

/// An access token, ready to be sent: cheap to clone, never printed.
#[derive(Clone)]
pub struct AccessToken(Arc<Sendable>);

struct Sendable {
    secret: Secret,
    authorization: HeaderValue,
    headers: HeaderMap,
    google: bool,
}

impl AccessToken {
    /// A token of Google's, with headers that go where it goes.
    ///
    /// # Errors
    /// When the token is empty or has characters that no header may have.
    pub fn google(secret: Secret, headers: HeaderMap) -> Result<Self, AuthError> {
        Self::new(secret, headers, true)
    }

    /// A key for a server that is not Google's.
    ///
    /// # Errors
    /// As for [`google`](Self::google).
    pub fn api_key(secret: Secret) -> Result<Self, AuthError> {
        Self::new(secret, HeaderMap::new(), false)
    }

    fn new(secret: Secret, headers: HeaderMap, google: bool) -> Result<Self, AuthError> {
        if secret.expose().is_empty() {
            return Err(AuthError::configuration("the token is empty"));
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", secret.expose()))
            .map_err(|_| AuthError::configuration("the token has characters that no header may have"))?;
        authorization.set_sensitive(true);
        Ok(Self(Arc::new(Sendable { secret, authorization, headers, google })))
    }

    /// The value of the `authorization` header, marked as sensitive.
    #[must_use]
    pub fn authorization(&self) -> &HeaderValue {
        &self.0.authorization
    }

    /// Headers that go where the token goes, such as `x-goog-user-project`.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Whether the token is Google's, and so must go to Google only.
    #[must_use]
    pub fn is_google(&self) -> bool {
        self.0.google
    }

    /// The token itself.
    #[must_use]
    pub fn secret(&self) -> &Secret {
        &self.0.secret
    }
}

impl PartialEq for AccessToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.secret == other.0.secret
    }
}

impl Eq for AccessToken {}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

/// A token that came from elsewhere and is sent as it is, for as long as it lasts.
#[derive(Clone, Debug)]
pub struct StaticToken(AccessToken);

impl StaticToken {
    /// Always this token.
    #[must_use]
    pub fn new(token: AccessToken) -> Self {
        Self(token)
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    fn cached(&self) -> Option<AccessToken> {
        Some(self.0.clone())
    }
    async fn refresh(&self) -> Result<AccessToken, AuthError> {
        Ok(self.0.clone())
    }
    /// Does nothing: there is no other.
    fn invalidate(&self, _: &AccessToken) {}
}

/// No token at all, for servers that want none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoToken;

#[async_trait]
impl TokenSource for NoToken {
    fn cached(&self) -> Option<AccessToken> {
        None
    }
    async fn refresh(&self) -> Result<AccessToken, AuthError> {
        Err(AuthError::configuration("there are no credentials"))
    }
    fn invalidate(&self, _: &AccessToken) {}
}

/// The token at hand, else a new one.
pub(crate) async fn token_from(source: &dyn TokenSource) -> Result<AccessToken, AuthError> {
    match source.cached() {
        Some(token) => Ok(token),
        None => source.refresh().await,
    }
}

/// Scopes as one text.
pub(crate) fn joined(scopes: &[impl AsRef<str>], separator: &str) -> String {
    scopes.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(separator)
}

/// The header that bills another project.
pub(crate) fn quota_header(project: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(project) = project.and_then(|project| HeaderValue::from_str(project).ok()) {
        headers.insert("x-goog-user-project", project);
    }
    headers
}
