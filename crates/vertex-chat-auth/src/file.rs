//! The fields of a credential file.

use std::ops::{Deref, DerefMut};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::path_value::encoded;
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
    object_of(json).map_err(|error| match other_form(json) {
        Some((what, remedy)) => AuthError::configuration(what).with_remedy(remedy),
        None => error,
    })
}

/// The fields of a JSON object.
pub(crate) fn object_of(json: &[u8]) -> Result<FileFields, AuthError> {
    let json = json.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(json);
    serde_json::from_slice(json).map(FileFields).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        AuthError::configuration(format!("not a JSON object ({place})"))
    })
}

/// What a file is in place of a JSON object, where that can be told, and what to do.
fn other_form(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Some(("the file is empty", "write the credentials into it again"));
    }
    let is_utf16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    if is_utf16 || (bytes.len() > 3 && (bytes[1] == 0 || bytes[0] == 0)) {
        let remedy = "save it as UTF-8; in PowerShell, `Out-File -Encoding utf8`";
        return Some(("the file is in UTF-16", remedy));
    }
    if text.starts_with(b"-----BEGIN") {
        let remedy = "download the key as JSON; the PEM is its field `private_key` only";
        return Some(("the file is a key or certificate in PEM", remedy));
    }
    if text.starts_with(&[0x30, 0x82]) {
        return Some(("the file is a key in PKCS #12 (`.p12`)", "make a key of the type JSON"));
    }
    if text.starts_with(b"<") {
        return Some((
            "the file is a page in HTML or XML",
            "download the file again; it is what a browser showed",
        ));
    }
    if encoded(&String::from_utf8_lossy(text), 0).is_some() {
        let remedy = "decode it, as with `base64 --decode` or `xxd -r -p`";
        return Some(("the file is encoded, in base64 or hexadecimal digits", remedy));
    }
    if text.starts_with(b"\"{") || text.starts_with(b"'{") || text.starts_with(b"\"\\") {
        return Some(("the file is a JSON object in quotes", "write it without the quotes around it"));
    }
    None
}

/// What an object is that is no credential file, where that can be told, and what to do.
pub(crate) fn other_object(fields: &Map<String, Value>) -> Option<(&'static str, &'static str)> {
    let has = |name: &str| fields.contains_key(name);
    if fields.get("installed").or_else(|| fields.get("web")).is_some_and(|it| it.get("client_id").is_some()) {
        return Some((
            "this is an OAuth client (`client_secret_….json`), which says what asks and not who",
            "give it to `gcloud auth application-default login --client-id-file=FILE`, and use what that writes",
        ));
    }
    if has("project_info") && has("client") {
        return Some((
            "this is Firebase's `google-services.json` for an Android app, which has no credentials",
            "make a key of a service account, or log in with `gcloud auth application-default login`",
        ));
    }
    if has("apiKey") && has("projectId") {
        return Some((
            "this is the configuration of a Firebase web app, which has no credentials",
            "make a key of a service account, or log in with `gcloud auth application-default login`",
        ));
    }
    if has("access_token") && !has("type") {
        return Some((
            "this is an access token, which dies within the hour, and no credentials",
            "give the token itself as access token, or the file of the credentials that it came from",
        ));
    }
    None
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
