//! Where a token may go.

use http::Uri;
use vertex_chat_auth::{AccessToken, DEFAULT_UNIVERSE};
use vertex_chat_transport::is_loopback;

/// Hosts of Google's beside `*.googleapis.com`: those of dedicated endpoints, public and private.
const DEDICATED_DOMAINS: [&str; 2] = ["prediction.vertexai.goog", "prediction.p.vertexai.goog"];
/// What OpenAI's keys begin with.
const OPENAI_KEY_PREFIX: &str = "sk-";
/// What Google's access tokens begin with.
const GOOGLE_TOKEN_PREFIX: &str = "ya29.";

/// Whether a host is Google's: of the default universe, of this one, or a dedicated endpoint's.
pub(crate) fn is_google_host(host: &str, universe: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let of = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    of(DEFAULT_UNIVERSE)
        || DEDICATED_DOMAINS.iter().any(|domain| of(domain))
        || (universe.contains('.') && of(universe))
}

/// What may go to one URL, worked out once.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    google_token: Result<(), String>,
    url: Uri,
    universe: String,
    allowed: Vec<String>,
}

impl Trust {
    pub(crate) fn of(url: &Uri, universe: &str, allowed: &[String]) -> Self {
        Self {
            google_token: check_google_token(url, universe, allowed),
            url: url.clone(),
            universe: universe.to_owned(),
            allowed: allowed.to_vec(),
        }
    }

    /// Whether a Google token may go there.
    pub(crate) fn check_google(&self) -> Result<(), String> {
        self.google_token.clone()
    }

    /// Whether this token may go there.
    pub(crate) fn check(&self, token: &AccessToken) -> Result<(), String> {
        if token.is_google() {
            return self.google_token.clone();
        }
        check_api_key(token.secret().expose(), &self.url, &self.universe, &self.allowed)
    }
}

/// Whether a Google token may go to a URL: to Google, to this machine, to a host allowed by name; and in the clear to
/// this machine only.
fn check_google_token(to: &Uri, universe: &str, allowed: &[String]) -> Result<(), String> {
    let host = to.host().unwrap_or_default();
    if is_loopback(host) {
        return Ok(());
    }
    if to.scheme_str() != Some("https") {
        return Err(format!("a Google token may not go to {host} without TLS; use https"));
    }
    if is_google_host(host, universe) || allowed.iter().any(|it| it.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(format!(
        "a Google token may not go to {host}, which is not Google's; give an API key for it, or allow this host to receive the \
         token (`--token-host {host}`, `token_hosts` of a target, `ClientBuilder::allow_token_host`)"
    ))
}

/// Whether an API key may go to a URL: OpenAI's not to Google, and what looks like Google's token only where that may.
fn check_api_key(key: &str, to: &Uri, universe: &str, allowed: &[String]) -> Result<(), String> {
    let host = to.host().unwrap_or_default();
    if is_google_host(host, universe) {
        if is_openai_key(key) {
            return Err(format!(
                "the API key is OpenAI's and may not go to {host}; Vertex wants an access token"
            ));
        }
        if to.scheme_str() != Some("https") {
            return Err(format!("an API key may not go to {host} without TLS; use https"));
        }
    }
    if key.starts_with(GOOGLE_TOKEN_PREFIX) {
        return check_google_token(to, universe, allowed);
    }
    Ok(())
}

pub(crate) fn is_openai_key(key: &str) -> bool {
    key.starts_with(OPENAI_KEY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn google(url: &str) -> bool {
        check_google_token(&url.parse().unwrap(), "example.cloud", &["allowed.example".to_owned()]).is_ok()
    }

    #[test]
    fn a_google_token_goes_to_google_loopback_and_allowed_hosts_only() {
        for url in [
            "https://us-central1-aiplatform.googleapis.com/v1",
            "https://AIPLATFORM.GOOGLEAPIS.COM/",
            "https://1.us-central1-2.prediction.vertexai.goog/",
            "https://1-us-central1-2.prediction.p.vertexai.goog/",
            "https://aiplatform.example.cloud/",
            "https://allowed.example/",
            "http://127.0.0.1:80/",
            "http://localhost:80/",
            "http://[::1]:80/",
        ] {
            assert!(google(url), "{url}");
        }
        for url in [
            "http://us-central1-aiplatform.googleapis.com/",
            "http://allowed.example/",
            "https://api.openai.com/v1",
            "https://evilgoogleapis.com/",
            "https://googleapis.com.evil.com/",
            "https://sub.allowed.example/",
            "https://prediction.vertexai.goog.evil.com/",
            "http://10.0.0.1/",
            "http://127.0.0.1.evil.com/",
        ] {
            assert!(!google(url), "{url}");
        }
    }

    #[test]
    fn an_openai_key_never_goes_to_google() {
        let check =
            |key: &str, url: &str| check_api_key(key, &url.parse().unwrap(), DEFAULT_UNIVERSE, &[]).is_ok();
        assert!(!check("sk-x", "https://us-central1-aiplatform.googleapis.com/"));
        assert!(check("sk-x", "https://api.openai.com/v1"));
        assert!(check("AIza", "https://generativelanguage.googleapis.com/v1beta/openai"));
        assert!(!check("AIza", "http://generativelanguage.googleapis.com/v1beta/openai"));
        assert!(check("ya29.x", "https://aiplatform.googleapis.com/"));
        assert!(!check("ya29.x", "https://api.openai.com/v1"));
        assert!(check("anything", "http://10.0.0.1:8000/v1"));
    }
}
