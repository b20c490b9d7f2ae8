//! Which addresses out of a credential file may be sent secrets.

use vertex_chat_transport::is_loopback;

use crate::AuthError;

/// What key files from before 2018 name; Google still serves it.
pub(crate) const OLD_GOOGLE_TOKEN_URI: &str = "https://accounts.google.com/o/oauth2/token";

/// `https://host:port` and what comes after it, the slash first; `None` when nothing does.
pub(crate) fn origin_and_path(url: &str) -> Option<(&str, &str)> {
    let host_at = url.find("://")? + 3;
    let path_at = host_at + url[host_at..].find('/')?;
    Some(url.split_at(path_at))
}

pub(crate) fn host_of(url: &str) -> Option<String> {
    url.parse::<http::Uri>().ok()?.host().map(str::to_ascii_lowercase)
}

/// Whether a URL out of a credential file may be sent secrets: one of its universe's over TLS, or this machine's own.
pub(crate) fn is_trusted_url(url: &str, universe: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let Some(host) = uri.host().map(str::to_ascii_lowercase) else { return false };
    if is_loopback(&host) {
        return matches!(uri.scheme_str(), Some("http" | "https"));
    }
    if url == OLD_GOOGLE_TOKEN_URI {
        return true;
    }
    let of = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    uri.scheme_str() == Some("https") && universe.contains('.') && of(universe)
}

/// Refuses an address that secrets must not be sent to, by the name of its field.
pub(crate) fn must_be_trusted(field: &str, url: &str, universe: &str) -> Result<(), AuthError> {
    if is_trusted_url(url, universe) {
        return Ok(());
    }
    let message = format!("field `{field}` is not an address of Google's");
    Err(AuthError::configuration(message).with_remedy(
        "a credential file can send secrets anywhere: if this one is yours and this is meant, load it with \
         `danger_trust_credential_urls`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_google_and_this_machine_are_sent_assertions() {
        for url in ["https://oauth2.googleapis.com/token", "https://OAUTH2.GOOGLEAPIS.COM/token"] {
            assert!(is_trusted_url(url, "googleapis.com"), "{url}");
        }
        for url in [
            "http://127.0.0.1:8080/token",
            "http://localhost/token",
            "http://[::1]:1/token",
            "https://sts.example.cloud/v1/token",
            OLD_GOOGLE_TOKEN_URI,
        ] {
            assert!(is_trusted_url(url, "example.cloud"), "{url}");
        }
        for url in [
            "http://oauth2.googleapis.com/token",
            "https://evilgoogleapis.com/token",
            "https://googleapis.com.evil.com/token",
            "https://oauth2.googleapis.com@evil.com/token",
            "https://evil.com/?x=.googleapis.com",
            "http://127.0.0.1.evil.com/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "token",
            "",
        ] {
            for universe in ["example.cloud", "googleapis.com"] {
                assert!(!is_trusted_url(url, universe), "{url}");
            }
        }
        // The addresses of everybody's universe are not those of another.
        assert!(!is_trusted_url("https://sts.googleapis.com/v1/token", "example.cloud"));
        // A universe is attacker input as well; a whole top-level domain is none.
        assert!(!is_trusted_url("https://evil.com/", "com"));
    }
}
