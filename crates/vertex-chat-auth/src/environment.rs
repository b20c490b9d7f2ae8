//! Environment variables, as a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Environment variables: the process's own, or a set that a test or an embedding program gives.
///
/// An empty variable counts as unset, as Google's libraries have it.
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
        let value = match &self.0 {
            None => std::env::var(name).ok(),
            Some(variables) => variables.get(name).cloned(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// A variable's value as a path, which need not be Unicode; `None` when it is unset or empty.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let value = match &self.0 {
            None => std::env::var_os(name),
            Some(variables) => variables.get(name).map(OsString::from),
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
