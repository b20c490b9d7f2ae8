//! The configuration's models and targets for a program that asks them itself.

use std::fmt;
use std::sync::Arc;

use vertex_chat::Client;

use crate::build::{BuildError, State};
use crate::config::Config;
use crate::gateway::Options;
use crate::route::{Routes, Target, Try};

/// Who has which model, as a gateway of the same configuration would know it.
pub struct Places(Routes);

/// Where a model is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Place {
    /// The target, and for Vertex its location: `vertex@global`.
    pub label: String,
    /// What asks it.
    pub client: Client,
    /// The model's name there; empty for an endpoint that has one model only.
    pub model: String,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Places").field(&self.targets()).finish()
    }
}

impl Places {
    /// Builds a client for every target. Nothing is sent but what finds credentials and projects.
    ///
    /// # Errors
    /// When the configuration is at fault, or a target has no credentials.
    pub async fn build(config: &Config, options: &Options) -> Result<Self, BuildError> {
        Ok(Self(State::build(config, options).await?.routes))
    }

    /// The targets' names.
    #[must_use]
    pub fn targets(&self) -> Vec<&str> {
        self.0.targets.iter().map(|it| &*it.name).collect()
    }

    /// Where a model is: a model or alias that the configuration names, or `TARGET:MODEL`, or the name of a target that has one
    /// model only, or what its patterns and the built-in routes meet. Of several places it is the first.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Place> {
        let routed = || self.0.first(name).map(|it| at_try(&it));
        if self.0.is_named(name) {
            return routed();
        }
        let target = |name: &str| self.0.targets.iter().find(|it| &*it.name == name);
        let by_target = name.split_once(':').and_then(|(of, model)| Some(at(target(of)?, model)));
        by_target.or_else(|| target(name).map(|it| at(it, ""))).or_else(routed)
    }
}

fn at(target: &Arc<Target>, model: &str) -> Place {
    at_try(&Try { target: Arc::clone(target), server: 0, model: model.to_owned(), is_named: true })
}

fn at_try(place: &Try) -> Place {
    let server = place.server();
    Place { label: server.label.to_string(), client: server.client(), model: place.model.clone() }
}
