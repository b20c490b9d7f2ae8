//! A profile: a kind of server, and what it is known not to be able to.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A kind of server.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Profile {
    /// Its name.
    pub id: String,
    /// What it is, in a few words.
    pub title: String,
    /// The model that is asked when none is named.
    pub model: String,
    /// The limit of tokens where a case needs an answer and not a long one. Models that think need room for that.
    pub limit: u64,
    /// Profiles whose cases apply to it too.
    #[serde(default)]
    pub includes: Vec<String>,
    /// What it does although those behind it may not.
    #[serde(default)]
    pub gives: Vec<String>,
    /// What servers of this kind are known not to do.
    #[serde(default)]
    pub lacks: Vec<Lack>,
}

/// Something that a kind of server does not do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Lack {
    /// What it is, one of the words of `capabilities.toml`.
    pub capability: String,
    /// Why, and who says so.
    pub because: String,
    /// Only models whose names begin with one of these; every model when empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Not those models whose names begin with one of these.
    #[serde(default)]
    pub but_models: Vec<String>,
}

impl Profile {
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("{name}: {error}"))
    }

    /// The profiles whose cases apply to it, its own first.
    pub(crate) fn ids(&self) -> Vec<String> {
        std::iter::once(self.id.clone()).chain(self.includes.iter().cloned()).collect()
    }

    /// What it does not do with this model, and why.
    pub(crate) fn lacks_with<'a>(&'a self, model: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let begins = |names: &[String]| names.iter().any(|name| model.starts_with(name.as_str()));
        let applies =
            move |lack: &&Lack| (lack.models.is_empty() || begins(&lack.models)) && !begins(&lack.but_models);
        self.lacks.iter().filter(applies).map(|lack| (lack.capability.as_str(), lack.because.as_str()))
    }
}

/// Reads the list of capabilities: a word, and what it means.
pub(crate) fn read_capabilities(text: &str) -> Result<BTreeMap<String, String>, String> {
    toml::from_str(text).map_err(|error| format!("capabilities: {error}"))
}
