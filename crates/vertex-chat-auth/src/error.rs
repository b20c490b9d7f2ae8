//! Why there is no token.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use vertex_chat_transport::{TransportError, TransportErrorKind};

use crate::oauth::cut;

/// Why there is no token. Cheap to clone, because everyone who waited gets it.
#[derive(Clone)]
pub struct AuthError(Arc<Facts>);

#[derive(Default)]
struct Facts {
    kind: AuthErrorKind,
    message: String,
    remedy: String,
    /// OAuth's `error`.
    code: Option<String>,
    /// OAuth's `error_description`.
    description: Option<String>,
    status: Option<u16>,
    attempts: u32,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Two kinds of failure: what was given cannot work, or a token was asked for and not got; of the latter, one that asking
/// again may mend, and one that it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthErrorKind {
    /// What was given cannot work: no credentials, a broken file, a kind that is not supported.
    ///
    /// *Troubleshooting:* the message names the file or variable, the field, and what to do.
    #[default]
    Configuration,
    /// The token endpoint refused: the key was deleted, the account disabled, the clock is wrong.
    ///
    /// *Troubleshooting:* the message has the endpoint's own words, and the usual cause.
    Refused,
    /// The token endpoint was not reached, did not answer in time, failed, or answered nonsense.
    ///
    /// *Troubleshooting:* check the network and the proxy; asking again later may help.
    Unavailable,
}

impl AuthError {
    /// An error of configuration.
    #[must_use]
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(AuthErrorKind::Configuration, message)
    }

    /// An error of this kind.
    #[must_use]
    pub fn new(kind: AuthErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Facts { kind, message: message.into(), ..Facts::default() }))
    }

    /// What a person can do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        self.change(|facts| facts.remedy = remedy.into())
    }

    pub(crate) fn with_oauth(self, status: u16, code: Option<String>, description: Option<String>) -> Self {
        self.change(|facts| (facts.status, facts.code, facts.description) = (Some(status), code, description))
    }

    /// Somebody else's words, where there is no status.
    pub(crate) fn with_words(self, code: &str, description: &str) -> Self {
        self.change(|facts| (facts.code, facts.description) = (Some(cut(code)), Some(cut(description))))
    }

    /// Says in which step of several it happened.
    pub(crate) fn in_stage(self, stage: &str) -> Self {
        self.change(|facts| facts.message = format!("{stage}: {}", facts.message))
    }

    pub(crate) fn with_attempts(self, attempts: u32) -> Self {
        self.change(|facts| facts.attempts = attempts)
    }

    pub(crate) fn with_retry_after(self, wait: Option<Duration>) -> Self {
        self.change(|facts| facts.retry_after = wait)
    }

    pub(crate) fn from_transport(error: TransportError) -> Self {
        let kind = match error.kind() {
            // An address or a proxy that is none gets no better by asking again.
            TransportErrorKind::Invalid => AuthErrorKind::Configuration,
            _ => AuthErrorKind::Unavailable,
        };
        Self::new(kind, format!("the token endpoint: {error}"))
            .change(|facts| facts.source = Some(Box::new(error)))
    }

    fn change(self, change: impl FnOnce(&mut Facts)) -> Self {
        let mut facts = match Arc::try_unwrap(self.0) {
            Ok(facts) => facts,
            // Somebody else holds it; only its words are wanted then.
            Err(shared) => Facts {
                kind: shared.kind,
                message: shared.message.clone(),
                remedy: shared.remedy.clone(),
                code: shared.code.clone(),
                description: shared.description.clone(),
                status: shared.status,
                attempts: shared.attempts,
                retry_after: shared.retry_after,
                source: None,
            },
        };
        change(&mut facts);
        Self(Arc::new(facts))
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> AuthErrorKind {
        self.0.kind
    }

    /// Whether asking again later may help without anybody doing anything.
    ///
    /// *Troubleshooting:* when it never does, check that this machine can reach the token endpoint, and `HTTPS_PROXY`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.kind == AuthErrorKind::Unavailable
    }

    /// OAuth's `error`, such as `invalid_grant`.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// OAuth's `error_description`, the server's own words.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// The token endpoint's HTTP status.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// How many requests were made.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// How long the token endpoint asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &*self.0;
        f.write_str(&facts.message)?;
        match (&facts.code, &facts.description) {
            (Some(code), Some(description)) => write!(f, ": {code}: {description}")?,
            (Some(code), None) => write!(f, ": {code}")?,
            (None, Some(description)) => write!(f, ": {description}")?,
            (None, None) => {}
        }
        if facts.attempts > 1 {
            write!(f, " ({} attempts)", facts.attempts)?;
        }
        if !facts.remedy.is_empty() {
            write!(f, "; {}", facts.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthError")
            .field("kind", &self.0.kind)
            .field("message", &self.to_string())
            .field("status", &self.0.status)
            .finish_non_exhaustive()
    }
}

impl Error for AuthError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|it| it as &(dyn Error + 'static))
    }
}
