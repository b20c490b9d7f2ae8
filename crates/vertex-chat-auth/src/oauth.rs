//! The OAuth token endpoint: a form goes out, a token comes back.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};
use vertex_chat_transport::{
    Clock, Exchange, Request, RetryPolicy, Timeouts, TransportError, is_retryable_status, retry_after,
    send_within,
};
use zeroize::Zeroizing;

use crate::{AuthError, AuthErrorKind, FetchedToken, Secret};

/// The largest answer of a token endpoint that is read.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 256 << 10;
/// How often a token is asked for before the caller hears of it.
pub const TOKEN_ATTEMPTS_MAX: u32 = 3;
/// How long one attempt may take.
pub const TOKEN_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long all attempts may take, with the waits between them.
pub const TOKEN_TOTAL_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest word of a server that is repeated in an error.
const WORDS_MAX: usize = 300;
/// The life of a token whose endpoint does not say how long it lives.
const UNSTATED_LIFE: Duration = Duration::from_secs(300);
/// No token lives longer; a longer number is a mistake or an attack on the arithmetic.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Asks a token endpoint with a form, again where that may help.
pub(crate) async fn request_token(
    exchange: &dyn Exchange,
    clock: &Arc<dyn Clock>,
    url: &str,
    form: &[(&str, &str)],
) -> Result<FetchedToken, AuthError> {
    ask(exchange, clock, form_request(url, form)?, read_token).await
}

/// A form on its way to this address.
pub(crate) fn form_request(url: &str, form: &[(&str, &str)]) -> Result<Request, AuthError> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        url.parse().map_err(|_| AuthError::configuration("the token endpoint's address is no URL"))?;
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, content_type);
    Ok(request)
}

/// A client's name and secret as a header (RFC 7617).
pub(crate) fn basic_authorization(id: &str, secret: &Secret) -> Result<HeaderValue, AuthError> {
    let pair = Zeroizing::new(format!("{id}:{}", secret.expose()));
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
        .map_err(|_| AuthError::configuration("`client_id` or `client_secret` cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Sends a request until `read` makes something of an answer, or there is no reason to go on. `read` is given the time
/// before the request: a token's life counts from then, because the answer may have been long on its way.
pub(crate) async fn ask<T>(
    exchange: &dyn Exchange,
    clock: &Arc<dyn Clock>,
    request: Request,
    read: impl Fn(&Answer, Duration) -> Result<T, AuthError>,
) -> Result<T, AuthError> {
    ask_often(TOKEN_ATTEMPTS_MAX, exchange, clock, request, read).await
}

/// [`ask`], this often at most.
pub(crate) async fn ask_often<T>(
    attempts: u32,
    exchange: &dyn Exchange,
    clock: &Arc<dyn Clock>,
    request: Request,
    read: impl Fn(&Answer, Duration) -> Result<T, AuthError>,
) -> Result<T, AuthError> {
    let policy = RetryPolicy::default().with_attempts_max(attempts);
    let timeouts =
        Timeouts::default().with_first_byte(TOKEN_ATTEMPT_TIMEOUT).with_idle(TOKEN_ATTEMPT_TIMEOUT);
    let deadline = clock.monotonic() + TOKEN_TOTAL_TIMEOUT;
    for attempt in 1.. {
        let asked_at = clock.monotonic();
        let attempt_deadline = deadline.min(asked_at + TOKEN_ATTEMPT_TIMEOUT);
        let failure = match ask_once(exchange, request.clone(), &timeouts, attempt_deadline, clock).await {
            Ok(answer) => match read(&answer, asked_at) {
                Ok(token) => return Ok(token),
                Err(error) => error,
            },
            Err(error) => AuthError::from_transport(error),
        };
        let wait = policy.wait(attempt, failure.retry_after()).filter(|_| failure.is_transient());
        match wait {
            Some(wait) if clock.monotonic() + wait < deadline => {
                tracing::debug!(attempt, error = %failure, wait_ms = wait.as_millis(), "token request failed; trying again");
                clock.sleep(wait).await;
            }
            _ => return Err(failure.with_attempts(attempt)),
        }
    }
    unreachable!("because the policy ends the attempts")
}

/// A token endpoint's answer, whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) retry_after: Option<Duration>,
}

async fn ask_once(
    exchange: &dyn Exchange,
    request: Request,
    timeouts: &Timeouts,
    deadline: Duration,
    clock: &Arc<dyn Clock>,
) -> Result<Answer, TransportError> {
    let response = send_within(exchange, request, timeouts, deadline, clock).await?;
    let (head, body) = response.into_parts();
    let body = body.collect(TOKEN_ANSWER_BYTES_MAX).await?;
    let retry_after = retry_after(&head.headers, clock.wall());
    Ok(Answer { status: head.status, headers: head.headers, body, retry_after })
}

/// The fields of a success. Never quotes the body: a token may be in it.
pub(crate) fn read_fields(answer: &Answer) -> Result<Map<String, Value>, AuthError> {
    let status = answer.status;
    let fields = serde_json::from_slice::<Map<String, Value>>(&answer.body);
    if status.is_redirection() {
        let place = if answer.headers.contains_key(LOCATION) { "elsewhere" } else { "nowhere" };
        let message =
            format!("the token endpoint points {place} ({status}); secrets do not follow redirects");
        return Err(AuthError::new(AuthErrorKind::Refused, message).with_oauth(status.as_u16(), None, None));
    }
    let Ok(fields) = fields else {
        let what = if answer.body.is_empty() { "nothing" } else { "something that is not JSON" };
        let kind = if status.is_success() || is_transient_status(status) {
            AuthErrorKind::Unavailable
        } else {
            AuthErrorKind::Refused
        };
        let error =
            AuthError::new(kind, format!("the token endpoint answered {} with {what}", status.as_u16()));
        return Err(error.with_oauth(status.as_u16(), None, None).with_retry_after(answer.retry_after));
    };
    if !status.is_success() || fields.contains_key("error") {
        return Err(refusal(answer, &fields));
    }
    Ok(fields)
}

/// The token in an answer.
pub(crate) fn read_token(answer: &Answer, asked_at: Duration) -> Result<FetchedToken, AuthError> {
    token_of(&read_fields(answer)?, answer.status, asked_at)
}

/// The token among an answer's fields.
pub(crate) fn token_of(
    fields: &Map<String, Value>,
    status: StatusCode,
    asked_at: Duration,
) -> Result<FetchedToken, AuthError> {
    let Some(token) = fields.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty())
    else {
        let error =
            AuthError::new(AuthErrorKind::Unavailable, "the token endpoint answered without an access token");
        return Err(error.with_oauth(status.as_u16(), None, None));
    };
    let life = match fields.get("expires_in") {
        None | Some(Value::Null) => UNSTATED_LIFE,
        Some(value) => seconds(value).ok_or_else(|| {
            let message = "the token endpoint answered with a token that has no life left (`expires_in`)";
            AuthError::new(AuthErrorKind::Unavailable, message).with_oauth(status.as_u16(), None, None)
        })?,
    };
    Ok(FetchedToken { secret: Secret::new(token), asked_at, life })
}

/// `expires_in`: a number, a number in a string, a fraction; above 0.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    if seconds <= 0.0 {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds).ok()?.min(LIFE_MAX))
}

fn is_transient_status(status: StatusCode) -> bool {
    is_retryable_status(status) || status.is_server_error()
}

/// What a status says where nobody gives words for it. The body is not told: it may be anything.
pub(crate) fn failure_of_status(answer: &Answer, place: &str) -> AuthError {
    let kind =
        if is_transient_status(answer.status) { AuthErrorKind::Unavailable } else { AuthErrorKind::Refused };
    AuthError::new(kind, format!("{place} answered {}", answer.status.as_u16()))
        .with_oauth(answer.status.as_u16(), None, None)
        .with_retry_after(answer.retry_after)
}

/// What time it is by the server.
pub(crate) fn date_of(answer: &Answer) -> Option<SystemTime> {
    httpdate::parse_http_date(answer.headers.get(DATE)?.to_str().ok()?).ok()
}

/// An OAuth error (RFC 6749, section 5.2), or Google's own.
fn refusal(answer: &Answer, fields: &Map<String, Value>) -> AuthError {
    let google = fields.get("error").and_then(Value::as_object);
    let word = |key: &str| fields.get(key).and_then(Value::as_str).map(cut);
    let code = google.and_then(|it| it.get("status")?.as_str().map(cut)).or_else(|| word("error"));
    let description =
        google.and_then(|it| it.get("message")?.as_str().map(cut)).or_else(|| word("error_description"));
    let says = |text: &str| code.as_deref() == Some(text) || description.as_deref() == Some(text);
    // Google says these with 400 at times.
    let transient =
        ["internal_failure", "server_error", "temporarily_unavailable"].iter().any(|text| says(text));
    let kind = if transient || is_transient_status(answer.status) {
        AuthErrorKind::Unavailable
    } else {
        AuthErrorKind::Refused
    };
    let remedy =
        remedy(code.as_deref().unwrap_or_default(), description.as_deref().unwrap_or_default(), answer);
    AuthError::new(kind, format!("the token endpoint answered {}", answer.status.as_u16()))
        .with_oauth(answer.status.as_u16(), code, description)
        .with_retry_after(answer.retry_after)
        .with_remedy(remedy)
}

/// The usual cause of what Google's token endpoint says.
fn remedy(code: &str, description: &str, answer: &Answer) -> String {
    let date =
        || answer.headers.get("date").and_then(|date| date.to_str().ok()).unwrap_or("not told").to_owned();
    match (code, description) {
        ("invalid_grant", it) if it.contains("Invalid JWT Signature") => {
            "the key was deleted or belongs to another account: make a new key for the service account"
                .to_owned()
        }
        ("invalid_grant", it) if it.contains("reasonable timeframe") => {
            format!("this machine's clock is wrong: the server's time is {}", date())
        }
        ("invalid_grant", it) if it.contains("Failed audience check") => {
            "check `token_uri` in the key file".to_owned()
        }
        ("invalid_grant" | "invalid_request" | "invalid_target", it) if it.contains("audience") => {
            "check `audience` in the credential file: it names the pool by its project's number; and the audiences that \
             the pool's provider allows"
                .to_owned()
        }
        ("PERMISSION_DENIED", it) if it.contains("iam.serviceAccounts.getAccessToken") => {
            "grant the role Service Account Token Creator (roles/iam.serviceAccountTokenCreator) on that account to whom \
             the source credentials belong to"
                .to_owned()
        }
        ("unauthorized_client", _) => {
            "allow the service account these scopes in the Workspace's admin console (domain-wide delegation)".to_owned()
        }
        ("invalid_grant", it) if it.contains("account not found") => {
            "the service account was deleted: check `client_email` in the key file".to_owned()
        }
        ("invalid_grant", it) if it.contains("disabled") => "enable the service account".to_owned(),
        ("invalid_grant", it) if it.contains("rapt") => {
            // In the words that people search for.
            "Reauthentication is needed. Please run `gcloud auth application-default login` to reauthenticate."
                .to_owned()
        }
        ("invalid_grant", it) if it.contains("expired or revoked") => {
            "the login is over: run `gcloud auth application-default login`".to_owned()
        }
        ("invalid_client", _) => "check `client_id` and `client_secret` in the credential file".to_owned(),
        ("invalid_scope", _) => "check the scopes that were asked for".to_owned(),
        _ => String::new(),
    }
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(status: u16, body: &str) -> Result<FetchedToken, AuthError> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body.as_bytes()),
            retry_after: None,
        };
        read_token(&answer, Duration::ZERO)
    }

    #[test]
    fn a_life_comes_in_many_spellings() {
        for (spelling, life) in
            [("3599", 3599), (r#""3599""#, 3599), ("3599.0", 3599), ("null", 300), ("1e300", 604_800)]
        {
            let token = read_body(200, &format!(r#"{{"access_token":"t","expires_in":{spelling}}}"#));
            match token {
                Ok(token) => assert_eq!(token.life.as_secs(), life, "{spelling}"),
                // A number beyond what a Duration holds is as bad as none.
                Err(error) => assert!(spelling == "1e300" && error.is_transient(), "{spelling}: {error}"),
            }
        }
        for spelling in ["0", "-1", r#""soon""#, "true"] {
            let error =
                read_body(200, &format!(r#"{{"access_token":"t","expires_in":{spelling}}}"#)).unwrap_err();
            assert!(error.is_transient(), "{spelling}");
        }
    }

    #[test]
    fn what_is_worth_another_attempt_is_told_by_status_or_word() {
        let check = |status, body: &str, transient| {
            let error = read_body(status, body).unwrap_err();
            assert_eq!(error.is_transient(), transient, "{status} {body}: {error}");
        };
        check(400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#, false);
        check(401, r#"{"error":"invalid_client"}"#, false);
        check(403, "<html>", false);
        check(302, "", false);
        check(400, r#"{"error":"internal_failure"}"#, true);
        check(400, r#"{"error":"x","error_description":"server_error"}"#, true);
        check(200, r#"{"error":"temporarily_unavailable"}"#, true);
        for status in [408, 429, 500, 502, 503, 504] {
            check(status, "", true);
        }
        check(200, "<html>captive portal", true);
        check(200, r#"{"access_token":""}"#, true);
        check(200, "{}", true);
    }

    #[test]
    fn an_error_says_the_servers_words_and_the_remedy_but_not_the_body() {
        let body = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature.","access_token":"canary"}"#;
        let error = read_body(400, body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint answered 400: invalid_grant: Invalid JWT Signature.; the key was deleted or belongs to \
             another account: make a new key for the service account"
        );
        assert!(!format!("{error:?}").contains("canary"));
    }
}
