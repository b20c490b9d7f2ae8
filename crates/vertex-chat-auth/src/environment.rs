//! Environment variables, as a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use vertex_chat_transport::without_surroundings;

/// The variables that are read for credentials, projects and servers, by this crate and those above it.
pub const VARIABLES: [&str; 21] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "GCLOUD_PROJECT",
    "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "CLOUDSDK_CONFIG",
    "NO_GCE_CHECK",
    "GCE_METADATA_HOST",
    "GCE_METADATA_IP",
    "GCE_METADATA_TIMEOUT",
    "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES",
    "GOOGLE_API_CERTIFICATE_CONFIG",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "HOME",
    "APPDATA",
];

/// Environment variables: the process's own, or a set that a test or an embedding program gives.
///
/// An empty variable counts as unset, as Google's libraries have it. What surrounds a value when it was pasted is left out:
/// blanks, line ends, and one pair of quotes, which files of `env` lines and Docker's `--env-file` keep.
#[derive(Clone, Default)]
pub struct Environment(Option<Arc<BTreeMap<String, String>>>);

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn process() -> Self {
        Self(None)
    }

    /// These and no others.
    #[must_use]
    pub fn of<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(Some(Arc::new(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())))
    }

    /// Whether it is the process's own.
    #[must_use]
    pub fn is_process(&self) -> bool {
        self.0.is_none()
    }

    /// A variable's value, unless it is unset, empty or not Unicode.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let value = self.raw(name)?;
        let value = without_surroundings(&value);
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn raw(&self, name: &str) -> Option<String> {
        match &self.0 {
            None => std::env::var(name).ok(),
            Some(variables) => variables.get(name).cloned(),
        }
    }

    /// Those of these variables around whose values something is left out.
    #[must_use]
    pub fn surrounded<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let is_surrounded =
            |name: &&str| self.raw(name).is_some_and(|value| without_surroundings(&value) != value);
        names.into_iter().filter(is_surrounded).collect()
    }

    /// A variable's value as a path, which need not be Unicode; `None` when it is unset or empty.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let value = match (self.get(name), &self.0) {
            (None, None) => std::env::var_os(name).filter(|value| value.to_str().is_none()),
            (value, _) => value.map(OsString::from),
        };
        value.filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The first of these variables that has a value, and its name.
    #[must_use]
    pub fn first<'a>(&self, names: &[&'a str]) -> Option<(&'a str, String)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }
}

impl fmt::Debug for Environment {
    /// Shows which it is; values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Environment(process)"),
            Some(variables) => f.debug_set().entries(variables.keys()).finish(),
        }
    }
}
