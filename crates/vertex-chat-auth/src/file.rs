//! The fields of a credential file.

use serde_json::{Map, Value};

use crate::{AuthError, DEFAULT_UNIVERSE};

/// The fields of a credential file.
pub(crate) fn fields_of(json: &[u8]) -> Result<Map<String, Value>, AuthError> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    serde_json::from_slice(json).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        AuthError::configuration(format!("not a JSON object ({place})"))
    })
}

/// How fields are read: an empty text counts as none, and an error never has a value.
pub(crate) trait Fields {
    /// A text that may be missing.
    fn text(&self, name: &str) -> Option<&str>;

    /// A text that must be there.
    fn must(&self, name: &str) -> Result<&str, AuthError> {
        self.require(&[name])?;
        Ok(self.text(name).unwrap_or_default())
    }

    /// Whether all of these texts are there; the error names every one that is not.
    fn require(&self, names: &[&str]) -> Result<(), AuthError> {
        let missing: Vec<&str> = names.iter().copied().filter(|name| self.text(name).is_none()).collect();
        match missing.as_slice() {
            [] => Ok(()),
            [one] => Err(AuthError::configuration(format!("field `{one}` is missing"))),
            many => Err(AuthError::configuration(format!("fields missing: {}", many.join(", ")))),
        }
    }

    /// The universe that the credentials are for.
    fn universe(&self) -> &str {
        self.text("universe_domain").unwrap_or(DEFAULT_UNIVERSE)
    }
}

impl Fields for Map<String, Value> {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|it| !it.is_empty())
    }
}
