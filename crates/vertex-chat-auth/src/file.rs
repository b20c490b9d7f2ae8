//! The fields of a credential file.

use std::ops::{Deref, DerefMut};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::{AuthError, DEFAULT_UNIVERSE};

/// The fields of a credential file, whose texts are overwritten when they are dropped.
pub(crate) struct FileFields(pub(crate) Map<String, Value>);

impl Deref for FileFields {
    type Target = Map<String, Value>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for FileFields {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for FileFields {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(fields: &mut Map<String, Value>) {
    for (_, value) in fields {
        match value {
            Value::String(text) => text.zeroize(),
            Value::Object(fields) => wipe(fields),
            _ => {}
        }
    }
}

/// The fields of a credential file.
pub(crate) fn fields_of(json: &[u8]) -> Result<FileFields, AuthError> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    serde_json::from_slice(json).map(FileFields).map_err(|error| {
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
