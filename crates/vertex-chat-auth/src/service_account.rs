//! A service account's key: JSON from Google's console, a signed assertion, an access token.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderMap;
use serde_json::{Value, json};
use vertex_chat_transport::{Clock, Exchange};
use zeroize::Zeroize;

use crate::file::{Fields, FileFields, fields_of};
use crate::key::Signer;
use crate::oauth::request_token;
use crate::source::{joined, quota_header};
use crate::urls::{OLD_GOOGLE_TOKEN_URI, host_of, must_be_trusted};
use crate::{AuthError, DEFAULT_UNIVERSE, Fetch, FetchedToken, GOOGLE_TOKEN_URI, Secret};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest life that Google takes, in seconds.
const ASSERTION_LIFE: u64 = 3600;
/// How far an assertion is dated back, in seconds, for clocks that are a little fast.
const BACKDATE: u64 = 10;

/// What was in a key file, checked.
pub struct ServiceAccountKey {
    client_email: String,
    key_id: Option<String>,
    signer: Signer,
    token_uri: String,
    project_id: Option<String>,
    quota_project_id: Option<String>,
    universe_domain: String,
}

impl ServiceAccountKey {
    /// Reads a key file. Only URLs of Google's, and of this machine, are taken from it: see
    /// [`from_json_trusting_its_urls`](Self::from_json_trusting_its_urls).
    ///
    /// # Errors
    /// Names the field that is missing or wrong, never its value.
    pub fn from_json(json: &[u8]) -> Result<Self, AuthError> {
        Self::from_fields(fields_of(json).map_err(|error| error.with_remedy(KEY_FILE))?, false)
    }

    /// Reads a key file, and will send assertions to whatever `token_uri` it names.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), but for the address.
    pub fn from_json_trusting_its_urls(json: &[u8]) -> Result<Self, AuthError> {
        Self::from_fields(fields_of(json).map_err(|error| error.with_remedy(KEY_FILE))?, true)
    }

    pub(crate) fn from_fields(mut fields: FileFields, trust_urls: bool) -> Result<Self, AuthError> {
        let text = |name: &str| fields.text(name).map(str::to_owned);
        let must = |name: &str| fields.must(name).map_err(|it| it.with_remedy(KEY_FILE));
        let client_email = must("client_email")?.to_owned();
        must("private_key")?;
        let (key_id, token_uri) = (text("private_key_id"), text("token_uri"));
        let (project_id, quota_project_id) = (text("project_id"), text("quota_project_id"));
        let token_uri = token_uri.unwrap_or_else(|| GOOGLE_TOKEN_URI.to_owned());
        let universe_domain = fields.universe().to_owned();
        // In another universe there is no token endpoint: the key signs its tokens itself.
        if !trust_urls && universe_domain == DEFAULT_UNIVERSE {
            must_be_trusted("token_uri", &token_uri, &universe_domain)?;
        }
        let Some(Value::String(mut pem)) = fields.remove("private_key") else {
            unreachable!("because the field was there just before")
        };
        let signer = Signer::from_pem(&pem);
        pem.zeroize();
        Ok(Self {
            client_email,
            key_id,
            signer: signer?,
            token_uri,
            project_id,
            quota_project_id,
            universe_domain,
        })
    }

    /// The account.
    #[must_use]
    pub fn client_email(&self) -> &str {
        &self.client_email
    }

    /// The project that the account belongs to.
    #[must_use]
    pub fn project_id(&self) -> Option<&str> {
        self.project_id.as_deref()
    }

    /// The project that is to be billed, when it is another.
    #[must_use]
    pub fn quota_project_id(&self) -> Option<&str> {
        self.quota_project_id.as_deref()
    }

    /// The universe, `googleapis.com` outside of sovereign clouds.
    #[must_use]
    pub fn universe_domain(&self) -> &str {
        &self.universe_domain
    }

    /// Where assertions go.
    #[must_use]
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// Signs bytes with RSA and SHA-256 (RS256), as the service's `signBlob` does.
    ///
    /// # Errors
    /// When the key does not sign, which a key that was read does.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, AuthError> {
        self.signer.sign_bytes(bytes)
    }

    fn header(&self) -> Value {
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(key_id) = &self.key_id {
            header["kid"] = json!(key_id);
        }
        header
    }

    /// The assertion for the token endpoint (RFC 7523).
    fn assertion(&self, scopes: &str, subject: Option<&str>, now: SystemTime) -> Result<String, AuthError> {
        let iat = unix_seconds(now)?.saturating_sub(BACKDATE);
        let mut claims = json!({
            "iss": self.client_email,
            "scope": scopes,
            "aud": self.audience(),
            "iat": iat,
            "exp": iat + ASSERTION_LIFE,
        });
        if let Some(subject) = subject {
            claims["sub"] = json!(subject);
        }
        self.signer.sign(&self.header(), &claims)
    }

    /// Google checks for its own address, whatever proxy the file names; anybody else for theirs.
    fn audience(&self) -> &str {
        match host_of(&self.token_uri) {
            Some(host) if host == DEFAULT_UNIVERSE || host.ends_with(".googleapis.com") => GOOGLE_TOKEN_URI,
            _ if self.token_uri == OLD_GOOGLE_TOKEN_URI => GOOGLE_TOKEN_URI,
            _ => &self.token_uri,
        }
    }

    /// A token that needs no exchange (AIP-4111): `aud` or `scope`, never both. Gives the seconds since 1970 at which it
    /// ends.
    fn self_signed(
        &self,
        form: &TokenForm,
        scopes: &str,
        now: SystemTime,
    ) -> Result<(String, u64), AuthError> {
        let iat = unix_seconds(now)?.saturating_sub(BACKDATE);
        let exp = iat + ASSERTION_LIFE;
        let mut claims = json!({"iss": self.client_email, "sub": self.client_email, "iat": iat, "exp": exp});
        match form {
            TokenForm::SelfSignedForAudience(audience) => claims["aud"] = json!(audience),
            TokenForm::SelfSigned | TokenForm::Exchanged => claims["scope"] = json!(scopes),
        }
        Ok((self.signer.sign(&self.header(), &claims)?, exp))
    }
}

impl fmt::Debug for ServiceAccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccountKey")
            .field("client_email", &self.client_email)
            .field("token_uri", &self.token_uri)
            .field("project_id", &self.project_id)
            .finish_non_exhaustive()
    }
}

const KEY_FILE: &str =
    "this is not a whole service account key; make one in the console: IAM, service accounts, keys";

/// How a key becomes a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenForm {
    /// An assertion is exchanged for an access token at the token endpoint. What every service takes.
    #[default]
    Exchanged,
    /// A token that the key signs itself, for the scopes; no request is made. Not every service takes it.
    SelfSigned,
    /// A token that the key signs itself, for one service: `https://us-central1-aiplatform.googleapis.com/`.
    SelfSignedForAudience(String),
}

/// Gets tokens for a service account.
#[derive(Debug)]
pub struct ServiceAccountSource {
    key: ServiceAccountKey,
    form: TokenForm,
    scopes: String,
    subject: Option<String>,
    quota_project: Option<String>,
    exchange: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
}

impl ServiceAccountSource {
    /// Tokens for this account, of these scopes. Outside of the default universe the key signs its own, because there is
    /// no token endpoint.
    #[must_use]
    pub fn new(
        key: ServiceAccountKey,
        form: TokenForm,
        scopes: &[impl AsRef<str>],
        exchange: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let form = match form {
            TokenForm::Exchanged if key.universe_domain != DEFAULT_UNIVERSE => TokenForm::SelfSigned,
            form => form,
        };
        let quota_project = key.quota_project_id.clone();
        let scopes = joined(scopes, " ");
        Self { key, form, scopes, subject: None, quota_project, exchange, clock }
    }

    /// Acts for this person of one's Google Workspace (domain-wide delegation). The administrator has to allow it.
    ///
    /// # Errors
    /// When the key signs its tokens itself: nobody would check whether it is allowed to.
    pub fn with_subject(mut self, email: impl Into<String>) -> Result<Self, AuthError> {
        if self.form != TokenForm::Exchanged {
            let message = "a token that the key signs itself cannot act for somebody else";
            return Err(AuthError::configuration(message).with_remedy(
                "leave out the subject, or have the token exchanged (in the universe googleapis.com)",
            ));
        }
        self.subject = Some(email.into());
        Ok(self)
    }

    /// Bills this project instead of the one that the key names.
    #[must_use]
    pub fn with_quota_project(mut self, project: Option<String>) -> Self {
        self.quota_project = project.or(self.quota_project);
        self
    }
}

#[async_trait]
impl Fetch for ServiceAccountSource {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        let now = self.clock.wall();
        if self.form == TokenForm::Exchanged {
            let assertion = Secret::new(self.key.assertion(&self.scopes, self.subject.as_deref(), now)?);
            let form = [("grant_type", JWT_BEARER), ("assertion", assertion.expose())];
            return request_token(&*self.exchange, &self.clock, &self.key.token_uri, &form).await;
        }
        let (token, exp) = self.key.self_signed(&self.form, &self.scopes, now)?;
        let life = Duration::from_secs(exp.saturating_sub(unix_seconds(now)?));
        Ok(FetchedToken { secret: Secret::new(token), asked_at: self.clock.monotonic(), life })
    }

    fn headers(&self) -> HeaderMap {
        quota_header(self.quota_project.as_deref())
    }
}

fn unix_seconds(time: SystemTime) -> Result<u64, AuthError> {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map(|since| since.as_secs())
        .map_err(|_| AuthError::configuration("this machine's clock is before 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_told_by_its_field() {
        let check = |json: &str, expected: &str| {
            let error = ServiceAccountKey::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("{", "not a JSON object (line 1, column 1)");
        check("[]", "not a JSON object");
        check(r#"{"type":"service_account"}"#, "field `client_email` is missing");
        check(r#"{"client_email":"a@b"}"#, "field `private_key` is missing");
        check(r#"{"client_email":"a@b","private_key":"canary"}"#, "the private key is not an RSA key in PEM");
    }
}
