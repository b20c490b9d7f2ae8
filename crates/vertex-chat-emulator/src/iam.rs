//! `iamcredentials.googleapis.com`: acting as a service account.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::key::Account;
use crate::reply::GoogleError;
use crate::tokens::Tokens;

/// The longest life, in seconds, as if the organisation's policy made the exception.
const LIFE_MAX: u64 = 43_200;

/// The accounts as which the emulator lets whoever has a token act: the name before `@PROJECT.iam.gserviceaccount.com`.
const ACCOUNTS: [&str; 3] = ["emulator", "target", "delegate"];

pub(crate) fn email_of(name: &str, project: &str) -> String {
    format!("{name}@{project}.iam.gserviceaccount.com")
}

/// A credential file that acts as the account `target`.
pub(crate) fn impersonated(base_url: &str, project: &str, source: &Value, delegates: &[String]) -> Value {
    json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url_of(base_url, project),
        "delegates": delegates,
        "source_credentials": source,
    })
}

/// Where the account `target` is acted as.
pub(crate) fn url_of(base_url: &str, project: &str) -> String {
    format!("{base_url}/v1/projects/-/serviceAccounts/{}:generateAccessToken", email_of("target", project))
}

/// `POST /v1/projects/-/serviceAccounts/EMAIL:METHOD`, for somebody whose token is good: the answer, and the name of the
/// token that was given, if one was.
pub(crate) fn act(
    target: &str,
    body: &[u8],
    account: &Account,
    project: &str,
    tokens: &mut Tokens,
    now: SystemTime,
) -> Result<(Value, Option<String>), GoogleError> {
    let (email, method) = target.rsplit_once(':').unwrap_or((target, ""));
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| GoogleError::invalid("Invalid JSON payload received."))?;
    let permission = match method {
        "generateAccessToken" => "getAccessToken",
        "generateIdToken" => "getOpenIdToken",
        "signJwt" => "signJwt",
        "signBlob" => "signBlob",
        _ => return Err(GoogleError::new(404, "NOT_FOUND", "Method not found.")),
    };
    let denied = || {
        let message = format!(
            "Permission 'iam.serviceAccounts.{permission}' denied on resource (or it may not exist)."
        );
        GoogleError::new(403, "PERMISSION_DENIED", message).with_reason("IAM_PERMISSION_DENIED")
    };
    let is_known = |email: &str| ACCOUNTS.iter().any(|name| email_of(name, project) == email);
    let delegates = body.get("delegates").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let delegate = |it: &Value| {
        it.as_str().and_then(|it| it.strip_prefix("projects/-/serviceAccounts/")).is_some_and(is_known)
    };
    if !is_known(email) || !delegates.iter().all(delegate) {
        return Err(denied());
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let missing = |name: &str| {
        GoogleError::invalid(format!("Request contains an invalid argument: {name} is required."))
    };
    match method {
        "generateAccessToken" => {
            let scopes: Vec<&str> = body
                .get("scope")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if scopes.is_empty() {
                return Err(missing("scope"));
            }
            let seconds = match text("lifetime") {
                None => Some(3600),
                Some(lifetime) => lifetime.strip_suffix('s').and_then(|it| it.parse::<u64>().ok()),
            };
            let Some(seconds) = seconds.filter(|it| (1..=LIFE_MAX).contains(it)) else {
                return Err(GoogleError::invalid("Invalid value for lifetime."));
            };
            let life = Duration::from_secs(seconds);
            let (token, name) = tokens.issue_for(now, &scopes.join(" "), life);
            Ok((json!({"accessToken": token, "expireTime": rfc3339(now + life)}), Some(name)))
        }
        "generateIdToken" => {
            let audience = text("audience").ok_or_else(|| missing("audience"))?;
            Ok((json!({"token": id_token(account, email, audience, now).ok_or_else(denied)?}), None))
        }
        "signJwt" => {
            let payload = text("payload").ok_or_else(|| missing("payload"))?;
            if serde_json::from_str::<Map<String, Value>>(payload).is_err() {
                return Err(GoogleError::invalid("payload is not a JSON object."));
            }
            Ok((
                json!({"keyId": account.key_id, "signedJwt": account.jwt(payload).ok_or_else(denied)?}),
                None,
            ))
        }
        _ => {
            let blob =
                text("payload").and_then(|it| STANDARD.decode(it).ok()).ok_or_else(|| missing("payload"))?;
            let signed = STANDARD.encode(account.sign(&blob).ok_or_else(denied)?);
            Ok((json!({"keyId": account.key_id, "signedBlob": signed}), None))
        }
    }
}

/// An ID token that the emulator's key signs.
pub(crate) fn id_token(account: &Account, email: &str, audience: &str, now: SystemTime) -> Option<String> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let claims = json!({
        "iss": "https://accounts.google.com", "aud": audience, "azp": email, "sub": "100000000000000000001",
        "email": email, "email_verified": true, "iat": now, "exp": now + 3600,
    });
    account.jwt(&claims.to_string())
}

/// `2026-01-01T00:00:00Z`, of a time after 1970.
fn rfc3339(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let http = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    // `Thu, 01 Jan 2026 00:00:00 GMT` has all the parts already.
    let parts: Vec<&str> = http.split(' ').collect();
    let [_, day, month, year, clock, _] = parts.as_slice() else { return http };
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(month).unwrap_or_default() / 3 + 1;
    format!("{year}-{month:02}-{day}T{clock}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_json_apis_write_it() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(at(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59Z");
    }
}
