//! A service account's token for somebody who may act as it (`iamcredentials.googleapis.com`, generateAccessToken).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::json;
use vertex_chat_transport::{Clock, Exchange, Request};

use crate::file::Fields;
use crate::oauth::{Answer, TOKEN_TOTAL_TIMEOUT, ask, date_of, read_fields};
use crate::source::{quota_header, token_from};
use crate::urls::{must_be_trusted, origin_and_path};
use crate::{AuthError, AuthErrorKind, DEFAULT_UNIVERSE, Fetch, FetchedToken, Secret, TokenSource};

/// How long tokens live when nothing else is said, and the longest without an exception in the organisation's policy.
pub const IMPERSONATED_LIFE: Duration = Duration::from_secs(3600);
/// The longest life that such an exception allows.
pub const IMPERSONATED_LIFE_MAX: Duration = Duration::from_secs(43_200);
/// The longest URL of a service account that is read.
const URL_BYTES_MAX: usize = 256;

/// Gets tokens of a service account from a source that may act as it.
///
/// The source needs the role *Service Account Token Creator* on the account.
///
/// ```no_run
/// use std::sync::Arc;
/// use vertex_chat_auth::{Cached, CredentialsOptions, ImpersonatedSource};
/// use vertex_chat_transport::{Connector, HttpConnector, Profile, SystemClock};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (connector, clock) = (Arc::new(HttpConnector::new()), Arc::new(SystemClock));
/// let own = CredentialsOptions::new(connector.clone(), clock.clone()).find()?;
/// let exchange = connector.connect(&Profile::Public)?;
/// let robot = ImpersonatedSource::new(own.source(), "robot@project.iam.gserviceaccount.com", exchange, clock.clone())?;
/// let tokens = Cached::new(Arc::new(robot), clock);
/// # Ok(()) }
/// ```
pub struct ImpersonatedSource {
    source: Arc<dyn TokenSource>,
    source_time_max: Duration,
    /// `https://iamcredentials.googleapis.com`.
    origin: String,
    email: String,
    delegates: Vec<String>,
    scopes: Vec<String>,
    life: Duration,
    quota_project: Option<String>,
    exchange: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
}

impl ImpersonatedSource {
    /// Tokens of this account, for all of Google Cloud, for an hour.
    ///
    /// # Errors
    /// When the name is no e-mail address of a service account.
    pub fn new(
        source: Arc<dyn TokenSource>,
        email: &str,
        exchange: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthError> {
        Self::at(source, &format!("https://iamcredentials.{DEFAULT_UNIVERSE}"), email, exchange, clock)
    }

    pub(crate) fn at(
        source: Arc<dyn TokenSource>,
        origin: &str,
        email: &str,
        exchange: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthError> {
        if !is_account(email) {
            return Err(AuthError::configuration(
                "the account to act as is not a service account's e-mail address",
            ));
        }
        Ok(Self {
            source,
            source_time_max: TOKEN_TOTAL_TIMEOUT,
            origin: origin.to_owned(),
            email: email.to_owned(),
            delegates: Vec::new(),
            scopes: vec![crate::CLOUD_PLATFORM_SCOPE.to_owned()],
            life: IMPERSONATED_LIFE,
            quota_project: None,
            exchange,
            clock,
        })
    }

    /// Goes by way of these accounts: the source may act as the first, each as the next, the last as the account itself.
    #[must_use]
    pub fn with_delegates(mut self, delegates: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.delegates = delegates.into_iter().map(Into::into).collect();
        self
    }

    /// Asks for these scopes.
    #[must_use]
    pub fn with_scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Has tokens live this long: 1 s to 12 h, more than an hour only where the organisation's policy allows it.
    ///
    /// # Errors
    /// When it is outside of that.
    pub fn with_life(mut self, life: Duration) -> Result<Self, AuthError> {
        if !(Duration::from_secs(1)..=IMPERSONATED_LIFE_MAX).contains(&life) {
            return Err(AuthError::configuration("the life of a token is not 1 to 43200 seconds"));
        }
        self.life = life;
        Ok(self)
    }

    /// Bills this project.
    #[must_use]
    pub fn with_quota_project(mut self, project: Option<String>) -> Self {
        self.quota_project = project;
        self
    }

    pub(crate) fn after(mut self, source_time_max: Duration) -> Self {
        self.source_time_max = source_time_max;
        self
    }

    fn request(&self, token: &crate::AccessToken) -> Result<Request, AuthError> {
        let body = json!({
            "delegates": self.delegates, "scope": self.scopes, "lifetime": format!("{}s", self.life.as_secs()),
        });
        let mut request = Request::new(Bytes::from(body.to_string()));
        *request.method_mut() = Method::POST;
        let url = format!("{}/v1/projects/-/serviceAccounts/{}:generateAccessToken", self.origin, self.email);
        *request.uri_mut() = url.parse().map_err(|_| {
            AuthError::configuration("the account to act as is not a service account's e-mail address")
        })?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert(AUTHORIZATION, token.authorization().clone());
        Ok(request)
    }

    fn read(&self, answer: &Answer, asked_at: Duration) -> Result<FetchedToken, AuthError> {
        let fields = read_fields(answer)?;
        let unusable =
            |what: &str| AuthError::new(AuthErrorKind::Unavailable, format!("the service answered {what}"));
        let token = fields.text("accessToken").ok_or_else(|| unusable("without an access token"))?;
        let until = fields.text("expireTime").ok_or_else(|| unusable("without the token's end"))?;
        // The end is by the server's clock, so its own time says how far away that is, not this machine's.
        let now = date_of(answer).unwrap_or_else(|| self.clock.wall());
        let life = life_until(until, now).ok_or_else(|| unusable("with a token that has ended already"))?;
        Ok(FetchedToken { secret: Secret::new(token), asked_at, life })
    }

    async fn ask(&self, token: &crate::AccessToken) -> Result<FetchedToken, AuthError> {
        let read = |answer: &Answer, asked_at| self.read(answer, asked_at);
        ask(&*self.exchange, &self.clock, self.request(token)?, read).await
    }

    async fn source_token(&self) -> Result<crate::AccessToken, AuthError> {
        token_from(&*self.source).await.map_err(|error| error.in_stage("the credentials that act as it"))
    }

    async fn fetch_any(&self) -> Result<FetchedToken, AuthError> {
        let token = self.source_token().await?;
        match self.ask(&token).await {
            Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED.as_u16()) => {
                self.source.invalidate(&token);
                let renewed = self.source_token().await?;
                if renewed == token { Err(error) } else { self.ask(&renewed).await }
            }
            result => result,
        }
    }
}

impl fmt::Debug for ImpersonatedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImpersonatedSource")
            .field("source", &self.source)
            .field("email", &self.email)
            .field("delegates", &self.delegates)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Fetch for ImpersonatedSource {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        self.fetch_any().await.map_err(|error| error.in_stage(&format!("acting as {}", self.email)))
    }

    fn time_max(&self) -> Duration {
        // Twice, for a source token that is refused.
        self.source_time_max.saturating_add(TOKEN_TOTAL_TIMEOUT).saturating_mul(2)
    }

    fn headers(&self) -> HeaderMap {
        quota_header(self.quota_project.as_deref())
    }
}

/// The origin and the account of `service_account_impersonation_url`. Of its path only the account is used.
pub(crate) fn account_of(url: &str, universe: &str, trust_urls: bool) -> Result<(String, String), AuthError> {
    const FIELD: &str = "service_account_impersonation_url";
    let parts = || {
        let (origin, path) = origin_and_path(url)?;
        let email = path.strip_suffix(":generateAccessToken")?.rsplit_once("/serviceAccounts/")?.1;
        is_account(email).then(|| (origin.to_owned(), email.to_owned()))
    };
    let (origin, email) =
        Some(url).filter(|it| it.len() <= URL_BYTES_MAX).and_then(|_| parts()).ok_or_else(|| {
            AuthError::configuration(format!("field `{FIELD}` names no service account"))
                .with_remedy("it ends with `/serviceAccounts/EMAIL:generateAccessToken`")
        })?;
    if !trust_urls {
        must_be_trusted(FIELD, &origin, universe)?;
    }
    Ok((origin, email))
}

/// Whether a path may have this as an account: an e-mail address, or the account's number.
fn is_account(email: &str) -> bool {
    !email.is_empty() && email.bytes().all(|it| it.is_ascii_alphanumeric() || b"@.-_".contains(&it))
}

/// How long it is until this time (RFC 3339); `None` when it is over, or no time.
pub(crate) fn life_until(time: &str, now: SystemTime) -> Option<Duration> {
    let end = SystemTime::from(time.parse::<jiff::Timestamp>().ok()?);
    end.duration_since(now).ok().filter(|life| !life.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_taken_out_of_the_url_and_the_origin_must_be_googles() {
        let of = |url: &str| account_of(url, DEFAULT_UNIVERSE, false);
        let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken";
        assert_eq!(
            of(url).unwrap(),
            ("https://iamcredentials.googleapis.com".into(), "a@p.iam.gserviceaccount.com".into())
        );
        assert_eq!(of("http://127.0.0.1:1/x/serviceAccounts/a@p:generateAccessToken").unwrap().1, "a@p");
        for (url, words) in [
            (
                "https://evil.example/v1/projects/-/serviceAccounts/a@p:generateAccessToken",
                "not an address of Google's",
            ),
            (
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p:signJwt",
                "names no service account",
            ),
            (
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a/../b:generateAccessToken",
                "names no",
            ),
            (
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a?b:generateAccessToken",
                "names no",
            ),
            ("https://iamcredentials.googleapis.com", "names no"),
            ("", "names no"),
        ] {
            let error = of(url).unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
        }
        let long = format!(
            "https://iamcredentials.googleapis.com/{}/serviceAccounts/a@p:generateAccessToken",
            "x".repeat(256)
        );
        assert!(of(&long).is_err());
        assert!(
            account_of(
                "https://evil.example/serviceAccounts/a@p:generateAccessToken",
                DEFAULT_UNIVERSE,
                true
            )
            .is_ok()
        );
    }

    #[test]
    fn the_end_of_a_token_has_fractions_and_offsets() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        for (text, seconds) in [
            ("2026-01-01T01:00:00Z", Some(3600.0)),
            ("2026-01-01T01:00:00.250Z", Some(3600.25)),
            ("2026-01-01T01:00:00.123456789Z", Some(3_600.123_456_789)),
            ("2026-01-01T02:30:00+01:30", Some(3600.0)),
            ("2026-01-01T00:00:00Z", None),
            ("2025-12-31T23:59:59Z", None),
            ("tomorrow", None),
        ] {
            assert_eq!(life_until(text, now).map(|it| it.as_secs_f64()), seconds, "{text}");
        }
    }
}
