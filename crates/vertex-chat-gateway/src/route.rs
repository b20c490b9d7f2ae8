//! From a model's name to the servers that may answer for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use vertex_chat::{Client, ClientBuilder, RetryPolicy, Timeouts};
use vertex_chat_transport::{Clock, within};

use crate::cool_down::CoolDowns;
use crate::repair::Repairs;

/// The longest name of a model.
pub const MODEL_BYTES_MAX: usize = 256;

/// The domains of dedicated endpoints, public and private. Source: Vertex AI, "Use dedicated public endpoints".
const DEDICATED_DOMAINS: [&str; 2] = [".prediction.vertexai.goog", ".prediction.p.vertexai.goog"];
/// How long a lookup of an endpoint's own domain may take.
const HOST_LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a lookup that found nothing is not repeated: any client can cause one, by the text of a refusal.
const HOST_LOOKUP_INTERVAL: Duration = Duration::from_secs(60);
/// What the built-in routes send to OpenAI.
const OPENAI_PREFIXES: [&str; 5] = ["gpt-", "chatgpt-", "o1", "o3", "o4"];
/// What the built-in routes send to Vertex although it names no publisher.
const GOOGLE_PREFIXES: [&str; 2] = ["gemini-", "gemma-"];

/// Models that `/v1/models` lists when there are built-in routes: those of Google's page on the OpenAI-compatible API, in
/// November 2026. What is not listed is asked for all the same.
const GOOGLE_MODELS: [&str; 7] = [
    "google/gemini-3.5-flash",
    "google/gemini-3.1-pro-preview",
    "google/gemini-3.1-flash-lite",
    "google/gemini-3-flash-preview",
    "google/gemini-2.5-pro",
    "google/gemini-2.5-flash",
    "google/gemini-2.5-flash-lite",
];

/// Somebody who has models.
pub(crate) struct Target {
    pub(crate) name: Arc<str>,
    pub(crate) servers: Vec<Server>,
    pub(crate) repairs: Repairs,
    pub(crate) cool_down: Duration,
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: RetryPolicy,
    pub(crate) retry_after_sending: bool,
    pub(crate) is_vertex: bool,
    pub(crate) is_openai: bool,
}

/// One place where a target is reached.
pub(crate) struct Server {
    /// `vertex@us-central1`.
    pub(crate) label: Arc<str>,
    client: RwLock<Client>,
    /// Finds the domain of an endpoint for which the configuration names no host.
    lookup: Option<HostLookup>,
    /// Which of its models are left alone.
    pub(crate) cool_downs: CoolDowns,
}

/// Finds out whether an endpoint has a domain of its own.
struct HostLookup {
    builder: ClientBuilder,
    /// When the last lookup was that found nothing, and why.
    last: tokio::sync::Mutex<Option<(Duration, String)>>,
}

impl Server {
    pub(crate) fn new(label: &str, client: Client) -> Self {
        Self {
            label: Arc::from(label),
            client: RwLock::new(client),
            lookup: None,
            cool_downs: CoolDowns::default(),
        }
    }

    /// The same, of an endpoint that may turn out to have a domain of its own.
    pub(crate) fn with_builder(mut self, builder: ClientBuilder) -> Self {
        self.lookup = Some(HostLookup { builder, last: tokio::sync::Mutex::default() });
        self
    }

    pub(crate) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the endpoint's own domain can be looked up.
    pub(crate) fn may_look_up_host(&self) -> bool {
        self.lookup.is_some()
    }

    /// Looks up the domain of an endpoint that the shared host has refused, with the service that has the endpoint; whether
    /// requests go there from now on. The text of the refusal chooses nothing: servers quote requests, so it may be any client's.
    ///
    /// # Errors
    /// With the reason why there is no such domain to be had. The text may be shown to clients.
    pub(crate) async fn look_up_host(&self, clock: &Arc<dyn Clock>) -> Result<bool, String> {
        let Some(lookup) = &self.lookup else { return Ok(false) };
        let refused = self.client();
        // One request at a time looks it up, and the others wait for what it finds.
        let mut last = lookup.last.lock().await;
        if self.client().chat_url().host() != refused.chat_url().host() {
            return Ok(true);
        }
        let now = clock.monotonic();
        if let Some((at, reason)) = &*last
            && now.saturating_sub(*at) < HOST_LOOKUP_INTERVAL
        {
            return Err(reason.clone());
        }
        let found = within(clock, HOST_LOOKUP_TIMEOUT, refused.endpoint_info()).await;
        let result = match found {
            Some(Ok(info)) => self.use_host(info.dedicated_host.as_deref(), &lookup.builder),
            Some(Err(error)) => {
                tracing::warn!(server = &*self.label, %error, "the endpoint's own domain cannot be looked up");
                let status =
                    error.status().map_or_else(String::new, |it| format!(" with status {}", it.as_u16()));
                Err(format!("the lookup of the endpoint's own domain failed{status}"))
            }
            None => Err("the lookup of the endpoint's own domain took too long".to_owned()),
        };
        match result {
            Ok(()) => Ok(true),
            Err(reason) => {
                *last = Some((now, reason.clone()));
                Err(reason)
            }
        }
    }

    fn use_host(&self, host: Option<&str>, builder: &ClientBuilder) -> Result<(), String> {
        let host = host.ok_or("the service names no domain of its own for the endpoint")?;
        let is_name = host.bytes().all(|it| it.is_ascii_alphanumeric() || b".-".contains(&it));
        if !is_name || !DEDICATED_DOMAINS.iter().any(|domain| host.ends_with(domain)) {
            return Err("the endpoint's own domain is not one of Vertex AI's".to_owned());
        }
        if self.client().chat_url().host() == Some(host) {
            return Err("the endpoint's own domain is asked already".to_owned());
        }
        let client = builder.clone().host(host).build().map_err(|error| error.to_string())?;
        tracing::info!(server = &*self.label, host, "the endpoint has a domain of its own");
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }
}

/// Where a model's requests go.
#[derive(Clone, Default)]
pub(crate) struct Route {
    pub(crate) to: Vec<Leg>,
    pub(crate) fallback: Vec<Leg>,
}

/// One place of a route.
#[derive(Clone)]
pub(crate) struct Leg {
    pub(crate) target: Arc<Target>,
    /// The name there; `*` stands for what the pattern's has met.
    pub(crate) model: Option<String>,
    pub(crate) weight: u32,
}

/// A place to ask, and for what.
pub(crate) struct Try {
    pub(crate) target: Arc<Target>,
    pub(crate) server: usize,
    pub(crate) model: String,
    /// Whether the configuration, or a built-in list, has the model's name, so that no client has invented it.
    pub(crate) is_named: bool,
}

impl Try {
    pub(crate) fn server(&self) -> &Server {
        &self.target.servers[self.server]
    }

    /// How long the model is still to be left alone there.
    fn cooling(&self, now: Duration) -> Duration {
        self.server().cool_downs.left(&self.model, now)
    }

    /// Leaves the model alone there for a while.
    pub(crate) fn cool_down(&self, now: Duration, wait: Duration) {
        self.server().cool_downs.add(&self.model, self.is_named, now, wait);
    }
}

/// All routes.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) targets: Vec<Arc<Target>>,
    pub(crate) exact: HashMap<String, Route>,
    /// What stands before and after the `*`; those that say more come first.
    pub(crate) patterns: Vec<(String, String, Route)>,
    pub(crate) aliases: HashMap<String, String>,
    pub(crate) has_default_routes: bool,
}

impl Routes {
    /// Puts those patterns first that say more.
    pub(crate) fn sorted(mut self) -> Self {
        self.patterns.sort_by_key(|(before, after, _)| std::cmp::Reverse(before.len() + after.len()));
        self
    }

    /// The places to ask for a model, in order; none when nobody has it.
    pub(crate) fn tries(&self, model: &str, now: Duration) -> Vec<Try> {
        self.tries_from(model, now, pick)
    }

    /// The place to ask for a model where it must be the same each time: the first of several equal ones.
    pub(crate) fn first(&self, model: &str) -> Option<Try> {
        self.tries_from(model, Duration::MAX, |_| 0).into_iter().next()
    }

    /// Whether a model is named, and not only met by a pattern.
    pub(crate) fn is_named(&self, model: &str) -> bool {
        self.aliases.contains_key(model) || self.exact.contains_key(model)
    }

    /// The same, where `pick` says which of several equal places comes first.
    fn tries_from(&self, model: &str, now: Duration, pick: fn(&[Leg]) -> usize) -> Vec<Try> {
        let model = self.aliases.get(model).map_or(model, String::as_str);
        if model.len() > MODEL_BYTES_MAX {
            return Vec::new();
        }
        let mut tries = Vec::new();
        if let Some(route) = self.exact.get(model) {
            route.add(model, Met::Exactly, pick, &mut tries);
        } else if let Some((met, route)) = self.patterns.iter().find_map(|(before, after, route)| {
            Some((model.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?, route))
        }) {
            route.add(model, Met::Pattern(met), pick, &mut tries);
        } else if self.has_default_routes
            && let Some((target, name)) = self.default_route(model)
        {
            let leg = Leg { target: Arc::clone(target), model: Some(name), weight: 1 };
            let is_listed = leg.model.as_deref().is_some_and(|it| GOOGLE_MODELS.contains(&it));
            leg.add(model, if is_listed { Met::Exactly } else { Met::Pattern(model) }, &mut tries);
        }
        // Those that are to be left alone come last, and the first to be free again first of them.
        tries.sort_by_key(|it| it.cooling(now));
        tries
    }

    fn default_route(&self, model: &str) -> Option<(&Arc<Target>, String)> {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|it| model.starts_with(it));
        if begins(&OPENAI_PREFIXES) && !model.contains('/') {
            return Some((self.targets.iter().find(|it| it.is_openai)?, model.to_owned()));
        }
        let vertex = self.targets.iter().find(|it| it.is_vertex)?;
        if model.contains('/') {
            Some((vertex, model.to_owned()))
        } else {
            begins(&GOOGLE_PREFIXES).then(|| (vertex, format!("google/{model}")))
        }
    }

    /// The models that there are by name, and who has them.
    pub(crate) fn models(&self) -> Vec<(String, String)> {
        let owner_of =
            |name: &str| self.first(name).map_or_else(String::new, |it| owner(name, &it.target).to_owned());
        let mut names: Vec<String> = self.exact.keys().chain(self.aliases.keys()).cloned().collect();
        if self.has_default_routes && self.targets.iter().any(|it| it.is_vertex) {
            names.extend(GOOGLE_MODELS.iter().map(|it| (*it).to_owned()));
        }
        names.sort();
        names.dedup();
        let with_owner = |name: String| {
            let owner = owner_of(&name);
            (name, owner)
        };
        names.into_iter().map(with_owner).collect()
    }
}

/// How a model's name came to a route.
#[derive(Clone, Copy)]
enum Met<'a> {
    /// The route is for this name.
    Exactly,
    /// The route's pattern met it; this is what its `*` stands for.
    Pattern(&'a str),
}

impl Route {
    fn add(&self, model: &str, met: Met<'_>, pick: fn(&[Leg]) -> usize, tries: &mut Vec<Try>) {
        let first = pick(&self.to);
        if let Some(leg) = self.to.get(first) {
            leg.add(model, met, tries);
        }
        let others = self.to.iter().enumerate().filter(|(place, _)| *place != first).map(|(_, leg)| leg);
        for leg in others.chain(&self.fallback) {
            leg.add(model, met, tries);
        }
    }
}

impl Leg {
    fn add(&self, model: &str, met: Met<'_>, tries: &mut Vec<Try>) {
        let (name, is_named) = match (&self.model, met) {
            (Some(name), Met::Pattern(met)) => (name.replacen('*', met, 1), !name.contains('*')),
            (Some(name), Met::Exactly) => (name.clone(), true),
            (None, met) => (model.to_owned(), matches!(met, Met::Exactly)),
        };
        for server in 0..self.target.servers.len() {
            tries.push(Try { target: Arc::clone(&self.target), server, model: name.clone(), is_named });
        }
    }
}

/// One of several, by their weights.
fn pick(legs: &[Leg]) -> usize {
    if legs.len() < 2 {
        return 0;
    }
    let total: u64 = legs.iter().map(|it| u64::from(it.weight)).sum();
    let mut drawn = fastrand::u64(..total);
    for (place, leg) in legs.iter().enumerate() {
        match drawn.checked_sub(u64::from(leg.weight)) {
            Some(rest) => drawn = rest,
            None => return place,
        }
    }
    0
}

/// Who made a model, as far as its name tells; else who has it.
pub(crate) fn owner<'a>(name: &'a str, target: &'a Target) -> &'a str {
    name.split_once('/').map_or(&*target.name, |(publisher, _)| publisher)
}
