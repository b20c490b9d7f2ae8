//! How the program ends when it does not end well.

use std::error::Error as StdError;
use std::process::ExitCode;

use vertex_chat::ErrorKind;
use vertex_chat::auth::{AuthError, AuthErrorKind};
use vertex_chat_conformance::Level;

use crate::out;

/// Why the program ends.
#[derive(Debug)]
pub(crate) enum Failure {
    Client(vertex_chat::Error),
    Auth(AuthError),
    /// Wrong usage that the argument parser cannot see.
    Usage(String),
    /// The gateway's configuration.
    Configuration(String),
    /// Something of this machine: a file, a port.
    Local(String),
    /// The answer was shown, and it is not whole: what ended it.
    NotWhole(String),
    Interrupted,
    /// Rules of the suite do not hold, the worst of this level.
    Nonconforming(Level),
    /// No rule fails, but some were not looked at.
    NotAllJudged,
    /// The suite's judge let a mutant go, or convicted it of something else.
    WrongVerdicts,
    /// Nobody reads what the program writes.
    OutputClosed,
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Client(error) => match error.kind() {
                ErrorKind::Configuration | ErrorKind::Credentials => 3,
                ErrorKind::Rejected => 4,
                ErrorKind::Truncated | ErrorKind::NoChoices | ErrorKind::Failed => 5,
                _ => 1,
            },
            Self::Auth(error) if error.kind() == AuthErrorKind::Unavailable => 1,
            Self::Auth(_) => 3,
            Self::Configuration(_) => 3,
            Self::Usage(_) => 2,
            Self::Local(_) => 1,
            Self::NotWhole(_) => 5,
            Self::Interrupted => 130,
            Self::Nonconforming(Level::Interop) => 11,
            Self::Nonconforming(_) => 10,
            Self::WrongVerdicts => 12,
            Self::NotAllJudged => 13,
            Self::OutputClosed => 0,
        })
    }

    /// Says it on stderr: the error, and what caused it.
    pub(crate) fn tell(&self) {
        let (text, mut cause): (String, Option<&dyn StdError>) = match self {
            Self::Client(error) => (error.to_string(), error.source()),
            Self::Auth(error) => (error.to_string(), error.source()),
            Self::Usage(text) | Self::Configuration(text) | Self::Local(text) | Self::NotWhole(text) => {
                (text.clone(), None)
            }
            Self::NotAllJudged => ("not all cases could be judged".to_owned(), None),
            Self::Interrupted | Self::OutputClosed | Self::Nonconforming(_) | Self::WrongVerdicts => return,
        };
        out::note(format_args!("error: {text}"));
        // A cause that the text has already told is not told again.
        let mut told = text;
        while let Some(error) = cause {
            let text = error.to_string();
            if !told.contains(&text) {
                out::note(format_args!("  because: {text}"));
                told.push_str(&text);
            }
            cause = error.source();
        }
    }
}

impl From<vertex_chat::Error> for Failure {
    fn from(error: vertex_chat::Error) -> Self {
        Self::Client(error)
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}
