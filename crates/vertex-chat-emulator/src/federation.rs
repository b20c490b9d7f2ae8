//! The security token service, and the other clouds that programs come from: what they can show there, and what Google
//! makes of it.

use std::collections::BTreeMap;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use vertex_chat_transport::{Request, Response};

use crate::reply::{json_reply, not_found_page, raw_reply};
use crate::{PROJECT, PROJECT_NUMBER};

/// The one subject token that is good.
pub(crate) const SUBJECT_TOKEN: &str = "emulator-subject-token";
const CLIENT_ID: &str = "emulator-client";
/// Its base64 has `+` and `/`, which a client that takes the alphabet of URLs gets wrong.
const CLIENT_SECRET: &str = "~~?>\u{7f}~~?";
const EXTERNAL_REFRESH_TOKEN: &str = "emulator-external-refresh-token";
/// What GitHub has a build show before it gives a token.
const GITHUB_REQUEST_TOKEN: &str = "emulator-github-request-token";
const AWS_KEY_ID: &str = "ASIAEMULATOREMULATOR";
const AWS_SECRET: &str = "emulatorSecretemulatorSecretemulatorSec0";
const AWS_SESSION_TOKEN: &str = "emulator-aws-session-token";
const AWS_ROLE: &str = "emulator-role";
const AWS_ZONE: &str = "us-east-2b";
const IMDS_SESSION: &str = "emulator-imds-session";
const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";
const POOL: &str = "emulator-pool";

/// Where a program has its identity from, for the credential files that the emulator makes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// A file with a token in it, at this path; [`Emulator::subject_token`](crate::Emulator::subject_token) is good.
    File(String),
    /// A server that answers with the token alone.
    Url,
    /// Azure's metadata server.
    Azure,
    /// GitHub Actions.
    GitHub,
    /// AWS, from its metadata server or the environment.
    Aws,
    /// A program, by its command line.
    Executable(String),
    /// A client certificate, by the path of its configuration.
    Certificate(String),
    /// A workforce, with a token in a file at this path.
    Workforce(String),
}

fn audience(identity: &Identity) -> String {
    match identity {
        Identity::Workforce(_) => {
            format!("//iam.googleapis.com/locations/global/workforcePools/{POOL}/providers/emulator")
        }
        _ => format!(
            "//iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/{POOL}/providers/emulator"
        ),
    }
}

/// A credential file of type `external_account` for this emulator.
pub(crate) fn external_account(base_url: &str, identity: &Identity) -> Map<String, Value> {
    let (kind, source) = match identity {
        Identity::File(path) | Identity::Workforce(path) => ("jwt", json!({"file": path})),
        Identity::Url => ("jwt", json!({"url": format!("{base_url}/subject-token")})),
        Identity::Azure => (
            "jwt",
            json!({
                "url": format!("{base_url}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=emulator"),
                "headers": {"Metadata": "True"},
                "format": {"type": "json", "subject_token_field_name": "access_token"},
            }),
        ),
        Identity::GitHub => (
            "jwt",
            json!({
                "url": format!("{base_url}/github/oidc-token?audience=emulator"),
                "headers": {"Authorization": format!("bearer {GITHUB_REQUEST_TOKEN}")},
                "format": {"type": "json", "subject_token_field_name": "value"},
            }),
        ),
        Identity::Aws => (
            "aws4_request",
            json!({
                "environment_id": "aws1",
                "region_url": format!("{base_url}/latest/meta-data/placement/availability-zone"),
                "url": format!("{base_url}/latest/meta-data/iam/security-credentials"),
                "regional_cred_verification_url":
                    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
                "imdsv2_session_token_url": format!("{base_url}/latest/api/token"),
            }),
        ),
        Identity::Executable(command) => ("jwt", json!({"executable": {"command": command}})),
        Identity::Certificate(config) => {
            ("mtls", json!({"certificate": {"certificate_config_location": config}}))
        }
    };
    let kind = match identity {
        Identity::Aws => "urn:ietf:params:aws:token-type:aws4_request".to_owned(),
        _ => format!("{TOKEN_TYPE}{kind}"),
    };
    let mut file = json!({
        "type": "external_account",
        "audience": audience(identity),
        "subject_token_type": kind,
        "token_url": format!("{base_url}/v1/token"),
        "credential_source": source,
        "universe_domain": "googleapis.com",
    });
    if matches!(identity, Identity::Workforce(_)) {
        file["workforce_pool_user_project"] = json!(PROJECT);
    }
    match file {
        Value::Object(fields) => fields,
        _ => unreachable!("because it was just made"),
    }
}

/// The file of a federated login.
pub(crate) fn external_user(base_url: &str) -> Value {
    json!({
        "type": "external_account_authorized_user",
        "audience": audience(&Identity::Workforce(String::new())),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "refresh_token": EXTERNAL_REFRESH_TOKEN,
        "token_url": format!("{base_url}/v1/oauthtoken"),
        "quota_project_id": PROJECT,
        "universe_domain": "googleapis.com",
    })
}

/// What is wrong with a question to the security token service.
pub(crate) struct Refused(StatusCode, &'static str, String);

impl Refused {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, error, description.into())
    }

    pub(crate) fn reply(&self) -> Response {
        json_reply(self.0, &json!({"error": self.1, "error_description": self.2}))
    }
}

/// `POST /v1/token`: the scopes of the token to give.
pub(crate) fn exchange(form: &BTreeMap<String, String>, headers: &HeaderMap) -> Result<String, Refused> {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" {
        return Err(Refused::new("unsupported_grant_type", "grant_type must be token-exchange."));
    }
    if field("requested_token_type") != format!("{TOKEN_TYPE}access_token") {
        return Err(Refused::new("invalid_request", "Invalid value for \"requested_token_type\"."));
    }
    let audience = field("audience");
    let pools = [
        format!(
            "//iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/{POOL}/providers/"
        ),
        format!("//iam.googleapis.com/locations/global/workforcePools/{POOL}/providers/"),
    ];
    if !pools.iter().any(|pool| audience.starts_with(pool)) {
        return Err(Refused::new(
            "invalid_target",
            "The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool \
             or provider is disabled or deleted or because it doesn't exist.",
        ));
    }
    if field("scope").trim().is_empty() {
        return Err(Refused::new("invalid_request", "Scope(s) must be provided."));
    }
    if headers.contains_key("authorization") && !is_client(headers) {
        return Err(Refused(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "The OAuth client was not found.".to_owned(),
        ));
    }
    if let Some(options) = form.get("options") {
        // Google's Python library encodes it twice.
        let decoded = percent_decode_str(options).decode_utf8_lossy();
        let object =
            [options.as_str(), &decoded].into_iter().find_map(|it| serde_json::from_str::<Value>(it).ok());
        if object.and_then(|it| it.get("userProject")?.as_str().map(str::to_owned)).is_none() {
            return Err(Refused::new("invalid_request", "Invalid value for \"options\"."));
        }
    }
    let subject = field("subject_token");
    match field("subject_token_type").trim_start_matches(TOKEN_TYPE) {
        "jwt" | "id_token" | "saml2" if subject == SUBJECT_TOKEN => {}
        "jwt" | "id_token" | "saml2" => {
            return Err(Refused::new("invalid_grant", "The subject token is not one of this emulator's."));
        }
        "mtls" => {
            let chain: Vec<String> = serde_json::from_str(subject).unwrap_or_default();
            if chain.is_empty() || chain.iter().any(|it| STANDARD.decode(it).is_err()) {
                return Err(Refused::new("invalid_grant", "The subject token is no chain of certificates."));
            }
        }
        "urn:ietf:params:aws:token-type:aws4_request" => aws(subject, audience)?,
        _ => return Err(Refused::new("invalid_request", "Invalid value for \"subject_token_type\".")),
    }
    Ok(field("scope").to_owned())
}

/// `POST /v1/oauthtoken`: the scopes of the token to give.
pub(crate) fn refresh(form: &BTreeMap<String, String>, headers: &HeaderMap) -> Result<String, Refused> {
    if !is_client(headers) {
        return Err(Refused(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            "The OAuth client was not found.".to_owned(),
        ));
    }
    if form.get("grant_type").map(String::as_str) != Some("refresh_token") {
        return Err(Refused::new("unsupported_grant_type", "grant_type must be refresh_token."));
    }
    if form.get("refresh_token").map(String::as_str) != Some(EXTERNAL_REFRESH_TOKEN) {
        return Err(Refused::new("invalid_grant", "Token has been expired or revoked."));
    }
    Ok("https://www.googleapis.com/auth/cloud-platform".to_owned())
}

/// Basic authentication (RFC 7617), in standard base64 and no other.
fn is_client(headers: &HeaderMap) -> bool {
    let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}")));
    headers.get("authorization").is_some_and(|it| *it == expected)
}

/// Checks a signed `GetCallerIdentity` as AWS would: every word of it, and the signature.
fn aws(subject: &str, audience: &str) -> Result<(), Refused> {
    let wrong =
        |what: &str| Refused::new("invalid_grant", format!("Received invalid AWS subject token: {what}."));
    let decoded = percent_decode_str(subject).decode_utf8_lossy();
    let request: Value = serde_json::from_str(&decoded).map_err(|_| wrong("not JSON"))?;
    let mut headers = BTreeMap::new();
    for header in request["headers"].as_array().into_iter().flatten() {
        let (Some(key), Some(value)) = (header["key"].as_str(), header["value"].as_str()) else {
            return Err(wrong("a header without key and value"));
        };
        headers.insert(key.to_ascii_lowercase(), value.to_owned());
    }
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    if header("x-goog-cloud-target-resource") != audience {
        return Err(wrong("x-goog-cloud-target-resource is not the audience"));
    }
    let url = request["url"].as_str().unwrap_or_default();
    let (host, query) = url.trim_start_matches("https://").split_once('?').unwrap_or_default();
    let host = host.trim_end_matches('/');
    if request["method"] != "POST" || host != header("host") || !host.ends_with(".amazonaws.com") {
        return Err(wrong("not a POST to AWS"));
    }
    if query != "Action=GetCallerIdentity&Version=2011-06-15" {
        return Err(wrong("not GetCallerIdentity"));
    }
    let part = |name: &str| {
        let rest = header("authorization").split_once(&format!("{name}="))?.1;
        Some(rest.split(',').next().unwrap_or_default().trim().to_owned())
    };
    let (Some(credential), Some(names), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return Err(wrong("no AWS4-HMAC-SHA256 authorization"));
    };
    let scope: Vec<&str> = credential.split('/').collect();
    let [key_id, day, region, service, terminator] = scope.as_slice() else {
        return Err(wrong("a credential without scope"));
    };
    if *key_id != AWS_KEY_ID || header("x-amz-security-token") != AWS_SESSION_TOKEN {
        return Err(wrong("an unknown key"));
    }
    let time = header("x-amz-date");
    if !time.starts_with(day) || !host.contains(region) || *service != "sts" || *terminator != "aws4_request"
    {
        return Err(wrong("a scope that does not fit the request"));
    }
    if !["host", "x-amz-date", "x-amz-security-token"]
        .iter()
        .all(|it| names.split(';').any(|name| name == *it))
    {
        return Err(wrong("a header that must be signed is not"));
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    let hash = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let lines: String = names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    let canonical = format!("POST\n/\n{query}\n{lines}\n{names}\n{}", hash(""));
    let signed = format!("AWS4-HMAC-SHA256\n{time}\n{day}/{region}/sts/aws4_request\n{}", hash(&canonical));
    let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut key = mac(format!("AWS4{AWS_SECRET}").as_bytes(), day);
    for text in [*region, "sts", "aws4_request"] {
        key = mac(key.as_ref(), text);
    }
    if hex(mac(key.as_ref(), &signed).as_ref()) == signature {
        Ok(())
    } else {
        Err(wrong("a signature that does not match"))
    }
}

/// What the servers answer that give programs their identity elsewhere: AWS's and Azure's metadata, GitHub, a plain one.
pub(crate) fn subject(request: &Request, path: &[&str]) -> Response {
    let headers = request.headers();
    let has = |name: &str, value: &str| headers.get(name).is_some_and(|it| it == value);
    let text = |text: &str| raw_reply(StatusCode::OK, "text/plain", text.to_owned());
    let refuse = |status| raw_reply(status, "text/plain", "");
    // IMDSv1 has no session; a wrong one is refused.
    let in_session =
        !headers.contains_key("x-aws-ec2-metadata-token") || has("x-aws-ec2-metadata-token", IMDS_SESSION);
    match (request.method(), path) {
        (&Method::PUT, ["latest", "api", "token"]) => {
            let seconds = headers
                .get("x-aws-ec2-metadata-token-ttl-seconds")
                .and_then(|it| it.to_str().ok()?.parse::<u32>().ok());
            if seconds.is_some_and(|it| (1..=21_600).contains(&it)) {
                text(IMDS_SESSION)
            } else {
                refuse(StatusCode::BAD_REQUEST)
            }
        }
        (&Method::GET, ["latest", ..]) if !in_session => refuse(StatusCode::UNAUTHORIZED),
        (&Method::GET, ["latest", "meta-data", "placement", "availability-zone"]) => text(AWS_ZONE),
        (&Method::GET, ["latest", "meta-data", "iam", "security-credentials"]) => text(AWS_ROLE),
        (&Method::GET, ["latest", "meta-data", "iam", "security-credentials", AWS_ROLE]) => json_reply(
            StatusCode::OK,
            &json!({
                "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": AWS_KEY_ID, "SecretAccessKey": AWS_SECRET,
                "Token": AWS_SESSION_TOKEN, "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2036-01-01T00:00:00Z",
            }),
        ),
        (&Method::GET, ["metadata", "identity", "oauth2", "token"])
            if headers.get("metadata").is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"true")) =>
        {
            json_reply(
                StatusCode::OK,
                &json!({"access_token": SUBJECT_TOKEN, "expires_in": "3599", "token_type": "Bearer"}),
            )
        }
        (&Method::GET, ["metadata", "identity", "oauth2", "token"]) => json_reply(
            StatusCode::BAD_REQUEST,
            &json!({"error": "invalid_request", "error_description": "Required metadata header not specified"}),
        ),
        (&Method::GET, ["github", "oidc-token"])
            if has("authorization", &format!("bearer {GITHUB_REQUEST_TOKEN}")) =>
        {
            json_reply(StatusCode::OK, &json!({"count": 1, "value": SUBJECT_TOKEN}))
        }
        (&Method::GET, ["github", "oidc-token"]) => refuse(StatusCode::UNAUTHORIZED),
        (&Method::GET, ["subject-token"]) => text(SUBJECT_TOKEN),
        _ => not_found_page(request.uri().path()),
    }
}

/// The AWS variables that stand in for AWS's metadata server.
pub(crate) fn aws_variables() -> [(&'static str, &'static str); 4] {
    [
        ("AWS_REGION", "us-east-2"),
        ("AWS_ACCESS_KEY_ID", AWS_KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET),
        ("AWS_SESSION_TOKEN", AWS_SESSION_TOKEN),
    ]
}
