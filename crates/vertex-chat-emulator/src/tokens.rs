//! The token endpoint, and the tokens that it gave out.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};
use vertex_chat_transport::{Request, Response};

use crate::PROJECT;
use crate::iam::id_token;
use crate::key::{Account, Unverified};
use crate::reply::{GoogleError, json_reply};

const GOOGLE_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// The scope that Vertex asks for.
const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The scope that is enough for acting as a service account.
const IAM_SCOPE: &str = "https://www.googleapis.com/auth/iam";
/// How long before its end the metadata server gives out another token.
const METADATA_RENEWS_BEFORE: Duration = Duration::from_secs(300);
const USER_CLIENT_ID: &str = "emulator.apps.googleusercontent.com";
const USER_CLIENT_SECRET: &str = "emulator-client-secret";
const USER_REFRESH_TOKEN: &str = "1//emulator-refresh-token";
/// The longest life of a token that the key signed itself, in seconds: Google's own Rust library writes this.
const SELF_SIGNED_LIFE_MAX: i64 = 3620;
/// What a token that the key signed itself is called in the log.
const SELF_SIGNED: &str = "self-signed";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest life of an assertion, in seconds.
const ASSERTION_LIFE_MAX: i64 = 3600;
/// How far a client's clock may be ahead, in seconds.
const CLOCK_SKEW_MAX: i64 = 60;
/// What Google says. Clients refresh early, and Node's and Python's do so on every call below 302.
pub(crate) const EXPIRES_IN: u64 = 3599;
/// The most tokens that are remembered; the oldest are forgotten first.
const TOKENS_MAX: usize = 10_000;

/// A service, by whom it lets in.
struct Service {
    host: &'static str,
    scopes: &'static [&'static str],
    is_enough: fn(&Issued) -> bool,
}

const FOR_CLOUD: Service = Service {
    host: "aiplatform.googleapis.com",
    scopes: &[CLOUD_SCOPE],
    is_enough: |issued| issued.for_cloud,
};
const FOR_IAM: Service = Service {
    host: "iamcredentials.googleapis.com",
    scopes: &[CLOUD_SCOPE, IAM_SCOPE],
    is_enough: |issued| issued.for_iam,
};

/// The tokens that are out there.
pub(crate) struct Tokens {
    pub(crate) expires_in: u64,
    issued: u64,
    /// By token: its name for the log, and when it ends.
    live: BTreeMap<String, Issued>,
    /// The token that the metadata server gives out.
    of_metadata: Option<String>,
}

#[derive(Clone)]
struct Issued {
    name: String,
    number: u64,
    ends: SystemTime,
    revoked: bool,
    /// Whether it is good for Google Cloud, by its scopes.
    for_cloud: bool,
    /// Whether it is good for acting as service accounts.
    for_iam: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { expires_in: EXPIRES_IN, issued: 0, live: BTreeMap::new(), of_metadata: None }
    }
}

/// An assertion's fate, for the log.
pub(crate) struct Judged {
    pub(crate) response: Response,
    pub(crate) issuer: Option<String>,
    /// The name of the token that was given for it.
    pub(crate) token: Option<String>,
}

impl Tokens {
    /// `POST /token`.
    pub(crate) fn exchange(
        &mut self,
        request: &Request,
        account: &Account,
        own_uri: &str,
        now: SystemTime,
    ) -> Judged {
        let form = fields_of(request);
        let grant = form.get("grant_type").map(String::as_str).unwrap_or_default();
        let refuse = |error, description: &str| Judged {
            response: oauth_error(error, description),
            issuer: None,
            token: None,
        };
        if grant == "refresh_token" {
            return self.refresh(&form, now);
        }
        if grant != JWT_BEARER {
            return refuse("unsupported_grant_type", &format!("Invalid grant_type: {grant}"));
        }
        let Some(assertion) = form.get("assertion") else {
            return refuse("invalid_request", "Missing required parameter: assertion");
        };
        let claims = match account.verify(assertion) {
            Ok(verified) => verified.claims,
            Err(Unverified::NotAToken) => {
                return refuse("invalid_grant", "Invalid JWT: not a signed RS256 token.");
            }
            Err(Unverified::BadSignature) => return refuse("invalid_grant", "Invalid JWT Signature."),
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        if text("iss") != account.email {
            return refuse("invalid_grant", "Invalid grant: account not found");
        }
        if ![GOOGLE_TOKEN_URI, own_uri].contains(&text("aud")) {
            return refuse("invalid_grant", "Invalid JWT: Failed audience check.");
        }
        let now_seconds = unix_seconds(now);
        let in_time = match (number("iat"), number("exp")) {
            (Some(iat), Some(exp)) => {
                iat <= now_seconds + CLOCK_SKEW_MAX
                    && exp > now_seconds
                    && exp.checked_sub(iat).is_some_and(|life| (0..=ASSERTION_LIFE_MAX).contains(&life))
            }
            _ => false,
        };
        if !in_time {
            return refuse(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your \
                 iat and exp values in the JWT claim.",
            );
        }
        let issuer = Some(text("iss").to_owned());
        if !text("target_audience").is_empty() {
            let id_token = id_token(account, &account.email, text("target_audience"), now);
            return Judged {
                response: json_reply(StatusCode::OK, &json!({"id_token": id_token})),
                issuer,
                token: None,
            };
        }
        if text("scope").trim().is_empty() {
            return refuse("invalid_scope", "Empty or missing scope not allowed.");
        }
        let (token, name) = self.issue(now, text("scope"));
        let answer = json!({"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"});
        Judged { response: json_reply(StatusCode::OK, &answer), issuer, token: Some(name) }
    }

    /// A person's login: the one that [`authorized_user_json`] has.
    fn refresh(&mut self, form: &BTreeMap<String, String>, now: SystemTime) -> Judged {
        let is = |name: &str, value: &str| form.get(name).is_some_and(|it| it == value);
        let refuse = |status, error: &str, description: &str| Judged {
            response: json_reply(status, &json!({"error": error, "error_description": description})),
            issuer: None,
            token: None,
        };
        if !is("client_id", USER_CLIENT_ID) || !is("client_secret", USER_CLIENT_SECRET) {
            let description = "The OAuth client was not found.";
            return refuse(StatusCode::UNAUTHORIZED, "invalid_client", description);
        }
        if !is("refresh_token", USER_REFRESH_TOKEN) {
            let description = "Token has been expired or revoked.";
            return refuse(StatusCode::BAD_REQUEST, "invalid_grant", description);
        }
        // The scopes of the login, unless fewer are asked for.
        let scopes = form.get("scope").map_or(CLOUD_SCOPE, String::as_str);
        let (token, name) = self.issue(now, scopes);
        let answer = json!({
            "access_token": token, "expires_in": self.expires_in, "token_type": "Bearer", "scope": scopes,
        });
        Judged { response: json_reply(StatusCode::OK, &answer), issuer: None, token: Some(name) }
    }

    /// The metadata server's token, its name if it is new, and its seconds: the same one until it is near its end.
    pub(crate) fn metadata(&mut self, now: SystemTime) -> (String, Option<String>, u64) {
        let left = |issued: &Issued| issued.ends.duration_since(now).unwrap_or_default();
        let held = self.of_metadata.as_ref().and_then(|token| Some((token, self.live.get(token)?)));
        if let Some((token, issued)) = held.filter(|(_, it)| !it.revoked && left(it) > METADATA_RENEWS_BEFORE)
        {
            return (token.clone(), None, left(issued).as_secs());
        }
        let (token, name) = self.issue(now, CLOUD_SCOPE);
        self.of_metadata = Some(token.clone());
        (token, Some(name), self.expires_in)
    }

    /// A new token of these scopes and its name.
    pub(crate) fn issue(&mut self, now: SystemTime, scopes: &str) -> (String, String) {
        self.issue_for(now, scopes, Duration::from_secs(self.expires_in))
    }

    /// A new token with a life of its own.
    pub(crate) fn issue_for(&mut self, now: SystemTime, scopes: &str, life: Duration) -> (String, String) {
        self.issued += 1;
        let name = format!("token-{}", self.issued);
        let mut random = [0_u8; 24];
        aws_lc_rs::rand::fill(&mut random).expect("because there is enough randomness");
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = format!("ya29.emulated.{random}");
        let ends = now + life;
        if self.live.len() >= TOKENS_MAX {
            let oldest =
                self.live.iter().min_by_key(|(_, issued)| issued.number).map(|(token, _)| token.clone());
            oldest.and_then(|token| self.live.remove(&token));
        }
        let has = |wanted: &str| scopes.split_whitespace().any(|scope| scope == wanted);
        let for_cloud = has(CLOUD_SCOPE);
        let for_iam = for_cloud || has(IAM_SCOPE);
        let issued =
            Issued { name: name.clone(), number: self.issued, ends, revoked: false, for_cloud, for_iam };
        self.live.insert(token.clone(), issued);
        (token, name)
    }

    /// Checks the token of a request to Google Cloud: its name, or the error that Vertex would give.
    pub(crate) fn check(
        &self,
        request: &Request,
        account: &Account,
        now: SystemTime,
    ) -> Result<String, GoogleError> {
        self.check_for(request, account, now, &FOR_CLOUD)
    }

    /// Checks the token of somebody who wants to act as a service account.
    pub(crate) fn check_iam(
        &self,
        request: &Request,
        account: &Account,
        now: SystemTime,
    ) -> Result<String, GoogleError> {
        self.check_for(request, account, now, &FOR_IAM)
    }

    fn check_for(
        &self,
        request: &Request,
        account: &Account,
        now: SystemTime,
        service: &Service,
    ) -> Result<String, GoogleError> {
        let header =
            request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
            return Err(GoogleError::new(
                401,
                "UNAUTHENTICATED",
                "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or \
                 other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            )
            .with_reason("CREDENTIALS_MISSING"));
        }
        let invalid = |reason| {
            GoogleError::new(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                 valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
            )
            .with_reason(reason)
        };
        let Some(issued) = self.live.get(token.trim()) else {
            return match self_signed(token.trim(), account, service, now) {
                Some(true) => Ok(SELF_SIGNED.to_owned()),
                Some(false) => Err(invalid("ACCESS_TOKEN_EXPIRED")),
                None => Err(invalid("ACCESS_TOKEN_TYPE_UNSUPPORTED")),
            };
        };
        if issued.revoked || now >= issued.ends {
            return Err(invalid("ACCESS_TOKEN_EXPIRED"));
        }
        if !(service.is_enough)(issued) {
            let message = "Request had insufficient authentication scopes.";
            let error = GoogleError::new(403, "PERMISSION_DENIED", message);
            return Err(error.with_reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT"));
        }
        Ok(issued.name.clone())
    }

    /// Revokes a token by its name in the log, or all; gives how many.
    pub(crate) fn revoke(&mut self, name: Option<&str>) -> usize {
        let chosen = self
            .live
            .values_mut()
            .filter(|issued| !issued.revoked && name.is_none_or(|name| issued.name == name));
        chosen.map(|issued| issued.revoked = true).count()
    }
}

/// The login of the emulator's person, as gcloud leaves it.
pub(crate) fn authorized_user_json(token_uri: &str) -> String {
    let file = json!({
        "type": "authorized_user",
        "client_id": USER_CLIENT_ID,
        "client_secret": USER_CLIENT_SECRET,
        "refresh_token": USER_REFRESH_TOKEN,
        "quota_project_id": PROJECT,
        "token_uri": token_uri,
    });
    file.to_string()
}

/// Whether a token that the account's key signed itself (AIP-4111) is still good; `None` when it is no such token. It names
/// an audience or scopes, never both.
fn self_signed(token: &str, account: &Account, service: &Service, now: SystemTime) -> Option<bool> {
    let claims = account.verify(token).ok()?.claims;
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    let is_for_service = text("aud").split('/').nth(2).is_some_and(|host| host.ends_with(service.host));
    let has_scope = text("scope").split_whitespace().any(|scope| service.scopes.contains(&scope));
    let is_own = text("iss") == account.email && text("sub") == account.email;
    let life = number("exp")?.checked_sub(number("iat")?)?;
    if !is_own || is_for_service == has_scope || !(1..=SELF_SIGNED_LIFE_MAX).contains(&life) {
        return None;
    }
    let now = unix_seconds(now);
    Some(number("iat")? <= now + CLOCK_SKEW_MAX && now < number("exp")?)
}

/// The fields of a form. Several libraries send JSON, which Google takes too.
pub(crate) fn fields_of(request: &Request) -> BTreeMap<String, String> {
    let content_type = request.headers().get("content-type").and_then(|it| it.to_str().ok());
    if !content_type.is_some_and(|it| it.starts_with("application/json")) {
        return form_urlencoded::parse(request.body()).into_owned().collect();
    }
    let fields = serde_json::from_slice::<serde_json::Map<String, Value>>(request.body()).unwrap_or_default();
    let texts = fields.into_iter().filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())));
    texts.collect()
}

fn oauth_error(error: &str, description: &str) -> Response {
    json_reply(StatusCode::BAD_REQUEST, &json!({"error": error, "error_description": description}))
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
