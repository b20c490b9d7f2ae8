//! AWS as identity: a signed question to AWS, "who am I?", which Google asks in the program's place.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use vertex_chat_transport::{Clock, Exchange, Request};

use crate::file::Fields;
use crate::oauth::{Answer, TOKEN_TOTAL_TIMEOUT, ask, failure_of_status};
use crate::{AuthError, AuthErrorKind, Environment, Secret, SubjectTokenSource};

/// Where AWS's machines have their metadata server (AIP-4117).
const METADATA_HOSTS: [&str; 2] = ["169.254.169.254", "[fd00:ec2::254]"];
/// How long a session with the metadata server lasts, in seconds. It is used at once.
const SESSION_SECONDS: &str = "300";
const SESSION_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const SESSION: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
/// How many questions are asked of the metadata server for one token: session, region, role, credentials.
const QUESTIONS_MAX: u32 = 4;
/// The only form of AWS credentials that there is so far.
const ENVIRONMENT_ID: &str = "aws1";
/// What a URL may have unescaped (RFC 3986, section 2.3; AWS signs with this set).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An access key of AWS's, for a while.
#[derive(Clone)]
pub struct AwsCredentials {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`, which keys of roles have.
    pub session_token: Option<Secret>,
}

impl fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsCredentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// The subject token of an AWS identity: a `GetCallerIdentity` request, signed with Signature Version 4, that Google sends to
/// AWS to see who signed it. For a [`SubjectTokenSource`] that has its credentials from AWS's own library.
///
/// `verification_url` is `credential_source.regional_cred_verification_url` of the credential file, `audience` its
/// `audience`.
///
/// # Errors
/// When the URL is none, or not `https`.
pub fn aws_subject_token(
    credentials: &AwsCredentials,
    region: &str,
    verification_url: &str,
    audience: &str,
    now: SystemTime,
) -> Result<Secret, AuthError> {
    // A region comes from the metadata server or a variable, and must not choose another host.
    if region.is_empty() || !region.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
        return Err(AuthError::configuration("the AWS region is not a name of letters, digits and `-`"));
    }
    let url = verification_url.replace("{region}", region);
    let (host, query) = url
        .parse::<Uri>()
        .ok()
        .filter(|uri| uri.scheme_str() == Some("https"))
        .and_then(|uri| Some((uri.host()?.to_owned(), uri.query().unwrap_or_default().to_owned())))
        .ok_or_else(|| {
            AuthError::configuration(
                "`credential_source.regional_cred_verification_url` is not a URL with https",
            )
        })?;
    let time = amz_date(now)?;
    let mut headers = vec![("host", host.as_str()), ("x-amz-date", time.as_str())];
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.expose()));
    }
    let authorization = authorization(credentials, region, &query, &headers, &time);
    // Not signed, as in Google's Python and Node libraries; Google compares it with the audience of the request.
    headers.push(("x-goog-cloud-target-resource", audience));
    headers.insert(0, ("Authorization", &authorization));
    let headers: Vec<Value> =
        headers.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
    let request = json!({"url": url, "method": "POST", "headers": headers}).to_string();
    Ok(Secret::new(utf8_percent_encode(&request, ESCAPED).to_string()))
}

/// The `Authorization` header of Signature Version 4 for a POST of nothing to `/` of the security token service.
fn authorization(
    credentials: &AwsCredentials,
    region: &str,
    query: &str,
    headers: &[(&str, &str)],
    time: &str,
) -> String {
    const SERVICE: &str = "sts";
    let day = &time[..8];
    let mut pairs: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .map(|(key, value)| {
            format!("{}={}", utf8_percent_encode(&key, ESCAPED), utf8_percent_encode(&value, ESCAPED))
        })
        .collect();
    pairs.sort();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let (names, query) = (names.join(";"), pairs.join("&"));
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical = format!("POST\n/\n{query}\n{lines}\n{names}\n{}", hex(sha256(b"").as_ref()));
    let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
    let signed = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(sha256(canonical.as_bytes()).as_ref()));
    let first = zeroize::Zeroizing::new(format!("AWS4{}", credentials.secret_access_key.expose()));
    let mut key = sign(first.as_bytes(), day);
    for part in [region, SERVICE, "aws4_request"] {
        key = sign(key.as_ref(), part);
    }
    let signature = hex(sign(key.as_ref(), &signed).as_ref());
    let id = &credentials.access_key_id;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20260101T000000Z`.
fn amz_date(now: SystemTime) -> Result<String, AuthError> {
    let time = jiff::Timestamp::try_from(now)
        .map_err(|_| AuthError::configuration("this machine's clock is beyond all calendars"))?;
    Ok(time.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// AWS credentials from the environment or from the machine's metadata server, as subject tokens.
#[derive(Debug)]
pub(crate) struct AwsSubject {
    region_url: Option<Uri>,
    credentials_url: Option<Uri>,
    session_url: Option<Uri>,
    verification_url: String,
    audience: String,
    environment: Environment,
    /// Never through a proxy: the metadata server trusts whoever can reach it.
    exchange: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
}

impl AwsSubject {
    /// Reads `credential_source`.
    pub(crate) fn new(
        source: &Map<String, Value>,
        audience: &str,
        trust_urls: bool,
        environment: Environment,
        exchange: Arc<dyn Exchange>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AuthError> {
        let id = source.text("environment_id").unwrap_or_default();
        if id != ENVIRONMENT_ID {
            let message = format!("`credential_source.environment_id` is not `{ENVIRONMENT_ID}`");
            return Err(AuthError::configuration(message)
                .with_remedy("another version of AWS credentials needs a newer version of this library"));
        }
        let url = |name: &str| {
            let Some(text) = source.text(name) else { return Ok(None) };
            let wrong = |what: &str| AuthError::configuration(format!("`credential_source.{name}` {what}"));
            let url = text.parse::<Uri>().map_err(|_| wrong("is not a URL"))?;
            if !trust_urls && !url.host().is_some_and(|host| METADATA_HOSTS.contains(&host)) {
                return Err(wrong("is not at AWS's metadata server")
                    .with_remedy(format!("it is at {}", METADATA_HOSTS.join(" or "))));
            }
            Ok(Some(url))
        };
        let verification_url = source.text("regional_cred_verification_url").ok_or_else(|| {
            AuthError::configuration("field `credential_source.regional_cred_verification_url` is missing")
        })?;
        Ok(Self {
            region_url: url("region_url")?,
            credentials_url: url("url")?,
            session_url: url("imdsv2_session_token_url")?,
            verification_url: verification_url.to_owned(),
            audience: audience.to_owned(),
            environment,
            exchange,
            clock,
        })
    }

    fn credentials_in_environment(&self) -> Option<AwsCredentials> {
        Some(AwsCredentials {
            access_key_id: self.environment.get("AWS_ACCESS_KEY_ID")?,
            secret_access_key: self.environment.get("AWS_SECRET_ACCESS_KEY")?.into(),
            session_token: self.environment.get("AWS_SESSION_TOKEN").map(Secret::new),
        })
    }

    /// Asks the metadata server, and gives the text that it answers.
    async fn ask(&self, method: Method, url: &Uri, session: Option<&Secret>) -> Result<Secret, AuthError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = url.clone();
        if method == Method::PUT {
            request.headers_mut().insert(SESSION_TTL, HeaderValue::from_static(SESSION_SECONDS));
        }
        *request.method_mut() = method;
        if let Some(session) = session {
            let mut value = HeaderValue::from_str(session.expose())
                .map_err(|_| unexpected("gave a session that cannot be sent"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(SESSION, value);
        }
        let read = |answer: &Answer, _| {
            if !answer.status.is_success() {
                let place = format!("AWS's metadata server ({})", url.path());
                return Err(failure_of_status(answer, &place).with_remedy(
                    "give this machine a role, or set AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                ));
            }
            let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
            if text.is_empty() { Err(unexpected("answered with nothing")) } else { Ok(Secret::new(text)) }
        };
        ask(&*self.exchange, &self.clock, request, read).await
    }

    async fn credentials_of_machine(&self, session: Option<&Secret>) -> Result<AwsCredentials, AuthError> {
        let url = self
            .credentials_url
            .as_ref()
            .ok_or_else(|| missing("url", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))?;
        let role = self.ask(Method::GET, url, session).await?;
        let of_role = format!(
            "{}/{}",
            url.to_string().trim_end_matches('/'),
            utf8_percent_encode(role.expose(), ESCAPED)
        );
        let of_role = of_role.parse().map_err(|_| unexpected("names a role that is none"))?;
        let answer = self.ask(Method::GET, &of_role, session).await?;
        let fields: Map<String, Value> = serde_json::from_str(answer.expose())
            .map_err(|_| unexpected("answered with credentials that are not JSON"))?;
        let (Some(id), Some(secret)) = (fields.text("AccessKeyId"), fields.text("SecretAccessKey")) else {
            return Err(unexpected("answered without AccessKeyId or SecretAccessKey"));
        };
        let session_token = fields.text("Token").map(Secret::new);
        Ok(AwsCredentials { access_key_id: id.to_owned(), secret_access_key: secret.into(), session_token })
    }
}

#[async_trait]
impl SubjectTokenSource for AwsSubject {
    async fn subject_token(&self) -> Result<Secret, AuthError> {
        let region = self.environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).map(|(_, region)| region);
        let credentials = self.credentials_in_environment();
        let session = match &self.session_url {
            Some(url) if region.is_none() || credentials.is_none() => {
                Some(self.ask(Method::PUT, url, None).await?)
            }
            _ => None,
        };
        let region = match region {
            Some(region) => region,
            None => {
                let url = self.region_url.as_ref().ok_or_else(|| missing("region_url", "AWS_REGION"))?;
                let mut zone = self.ask(Method::GET, url, session.as_ref()).await?.expose().to_owned();
                // `us-east-2b` is a zone of the region `us-east-2`.
                if zone.ends_with(|last: char| last.is_ascii_lowercase()) {
                    zone.pop();
                }
                zone
            }
        };
        if region.is_empty() || !region.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') {
            return Err(AuthError::configuration("the AWS region is no name of a region"));
        }
        let credentials = match credentials {
            Some(credentials) => credentials,
            None => self.credentials_of_machine(session.as_ref()).await?,
        };
        aws_subject_token(&credentials, &region, &self.verification_url, &self.audience, self.clock.wall())
    }

    fn time_max(&self) -> Duration {
        TOKEN_TOTAL_TIMEOUT * QUESTIONS_MAX
    }
}

fn unexpected(what: &str) -> AuthError {
    AuthError::new(AuthErrorKind::Unavailable, format!("AWS's metadata server {what}"))
}

fn missing(field: &str, variables: &str) -> AuthError {
    AuthError::configuration(format!("field `credential_source.{field}` is missing"))
        .with_remedy(format!("or set {variables}"))
}
