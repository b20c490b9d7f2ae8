//! Wrong usage: what the argument parser says, without the secrets that people paste into arguments.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use vertex_chat::auth::{MisplacedValue, check_path};

/// Prints the error, or the help or version that was asked for, and gives the exit code.
pub(crate) fn end(mut error: clap::Error) -> ExitCode {
    let values = [ContextKind::InvalidValue, ContextKind::InvalidArg, ContextKind::InvalidSubcommand];
    for kind in values {
        if let Some(ContextValue::String(value)) = error.get(kind)
            && let Some(shown) = without_secret(value)
        {
            error.insert(kind, ContextValue::String(shown));
            // Tips repeat the value.
            for tip in [ContextKind::Suggested, ContextKind::SuggestedArg, ContextKind::SuggestedValue] {
                error.remove(tip);
            }
        }
    }
    let code = error.exit_code();
    // Nobody can be told when this fails.
    let _ = error.print();
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

/// What is shown in place of a value that may be a secret; `None` for others, such as a word that is mistyped.
fn without_secret(value: &str) -> Option<String> {
    match check_path(value) {
        Ok(()) | Err(MisplacedValue::Url) => None,
        // A few words are no path, and no secret either.
        Err(MisplacedValue::Text) if value.len() <= 100 && !value.contains(char::is_control) => None,
        Err(what) => Some(format!("[a value that is not shown: it seems to be {what}]")),
    }
}
