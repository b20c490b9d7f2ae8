//! The configuration: a TOML file, read strictly, its faults told by line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use vertex_chat::auth::shown_name;
use vertex_chat::{Dialect, Environment, Policy, Rewrite, Rewrites};

use crate::admission::share_of;
use crate::repair::{Repair, Repairs};

/// Where the gateway listens when nobody says where.
pub const LISTEN: &str = "127.0.0.1:8080";

/// What a gateway is to do. [`Config::default`] is the one without a file: Vertex by the credentials and the project that
/// the environment has, and OpenAI if it has a key of theirs.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(crate) file: File,
    /// The text that it was read from, for the lines of later faults.
    text: String,
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) listen: Option<Spanned<String>>,
    /// Names by which a gateway without keys may be asked, beside those of this machine.
    pub(crate) hosts: Vec<Spanned<String>>,
    /// Whether the built-in routes (`gemini-*`, `publisher/model`, `gpt-*`) are there beside the file's.
    pub(crate) default_routes: Option<bool>,
    pub(crate) limits: Limits,
    pub(crate) log: LogSection,
    pub(crate) cors: Cors,
    pub(crate) tls: Option<TlsSection>,
    /// Names of clients and the hashes of their keys.
    pub(crate) keys: BTreeMap<String, Spanned<String>>,
    pub(crate) defaults: Treatment,
    pub(crate) targets: BTreeMap<String, TargetSection>,
    pub(crate) models: Vec<ModelSection>,
    /// Other names of models.
    pub(crate) aliases: BTreeMap<String, Spanned<String>>,
}

/// Bounds of everything that clients can make the gateway hold.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) request_bytes_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) requests_max: usize,
    /// The most requests of one key. Otherwise all of them, and a share where there are several keys.
    pub(crate) requests_max_per_key: Option<usize>,
    /// The most bytes of bodies in memory. Otherwise by the size of one request's.
    pub(crate) bodies_bytes_max: Option<usize>,
    pub(crate) drain_seconds: u64,
    pub(crate) keep_alive_seconds: u64,
}

/// The most connections at once, by default. A further one takes the place of the one that has been idle for the longest time.
pub const CONNECTIONS_MAX: usize = 16_384;
/// The most requests that run at once, by default; a further one is answered with 503.
pub const REQUESTS_MAX: usize = 4_096;
/// The most bytes of bodies in memory at once, by default: of requests, of answers, of events of streams. Four of the largest
/// requests, if that is more.
pub const BODIES_BYTES_MAX: usize = vertex_chat_transport::serve::BODIES_BYTES_MAX;
/// How many of the largest requests have to fit into the memory for bodies: one key's share is less than all of it.
const LARGEST_REQUESTS_MIN: usize = 2;
/// How long running requests have when the gateway ends, by default, in seconds.
pub const DRAIN_SECONDS: u64 = 600;
/// After how much silence of a stream a comment is sent, by default, in seconds. Load balancers cut at 60.
pub const KEEP_ALIVE_SECONDS: u64 = 15;

/// The most connections that can be configured.
const CONNECTIONS_MOST: usize = 1_000_000;
/// The longest silence of a stream that can be configured, in seconds: less than after which a connection counts as idle.
const KEEP_ALIVE_MOST: usize = 300;

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: vertex_chat_transport::serve::REQUEST_BYTES_MAX,
            connections_max: CONNECTIONS_MAX,
            requests_max: REQUESTS_MAX,
            requests_max_per_key: None,
            bodies_bytes_max: None,
            drain_seconds: DRAIN_SECONDS,
            keep_alive_seconds: KEEP_ALIVE_SECONDS,
        }
    }
}

impl Limits {
    /// The most requests of one key that run at once.
    pub(crate) fn requests_max_per_key(&self, keys: usize) -> usize {
        self.requests_max_per_key.unwrap_or_else(|| share_of(self.requests_max, keys))
    }

    /// The most bytes of bodies in memory at once.
    pub(crate) fn bodies_bytes_max(&self) -> usize {
        self.bodies_bytes_max
            .unwrap_or_else(|| BODIES_BYTES_MAX.max(self.request_bytes_max.saturating_mul(4)))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    pub(crate) access: Option<AccessFormat>,
    /// Whether requests' bodies are written too. Never by default.
    pub(crate) prompts: bool,
}

/// How requests are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    /// A line of text for each.
    #[default]
    Text,
    /// A JSON object for each.
    Json,
    /// Not.
    Off,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cors {
    /// Origins whose pages may ask, or `*`.
    pub(crate) origins: Vec<Spanned<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsSection {
    pub(crate) certificate: Spanned<String>,
    pub(crate) key: Spanned<String>,
}

/// How requests and answers are treated; of a target, or of all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Treatment {
    pub(crate) policy: Option<Spanned<String>>,
    pub(crate) rewrites_off: Vec<Spanned<String>>,
    pub(crate) repairs_off: Vec<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Vertex: Gemini and the partners' models.
    Vertex,
    /// An endpoint of one's own on Vertex.
    Endpoint,
    /// OpenAI, or whoever speaks like it.
    Openai,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSection {
    pub(crate) kind: Kind,
    pub(crate) project: Option<Spanned<String>>,
    pub(crate) location: Option<Spanned<String>>,
    /// Several locations, asked in this order when one is out of quota.
    #[serde(default)]
    pub(crate) locations: Vec<Spanned<String>>,
    pub(crate) endpoint: Option<Spanned<String>>,
    pub(crate) host: Option<Spanned<String>>,
    pub(crate) credentials_file: Option<Spanned<String>>,
    /// Hosts beside Google's that may receive the token.
    #[serde(default)]
    pub(crate) token_hosts: Vec<Spanned<String>>,
    /// Certificates that are trusted beside the system's.
    pub(crate) ca_file: Option<Spanned<String>>,
    pub(crate) access_token: Option<Spanned<String>>,
    pub(crate) quota_project: Option<Spanned<String>>,
    pub(crate) base_url: Option<Spanned<String>>,
    pub(crate) api_key: Option<Spanned<String>>,
    pub(crate) dialect: Option<Spanned<String>>,
    pub(crate) policy: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) rewrites_off: Vec<Spanned<String>>,
    #[serde(default)]
    pub(crate) repairs_off: Vec<Spanned<String>>,
    pub(crate) retries: Option<u32>,
    /// Whether a request that may have been sent is sent again. True: a completion has no effect but its price.
    pub(crate) retry_after_sending: Option<bool>,
    pub(crate) cool_down_seconds: Option<u64>,
    pub(crate) first_byte_seconds: Option<u64>,
    pub(crate) idle_seconds: Option<u64>,
    pub(crate) total_seconds: Option<u64>,
}

impl TargetSection {
    /// A target of which nothing is said.
    pub(crate) fn of(kind: Kind) -> Self {
        Self {
            kind,
            project: None,
            location: None,
            locations: Vec::new(),
            endpoint: None,
            host: None,
            credentials_file: None,
            token_hosts: Vec::new(),
            ca_file: None,
            access_token: None,
            quota_project: None,
            base_url: None,
            api_key: None,
            dialect: None,
            policy: None,
            rewrites_off: Vec::new(),
            repairs_off: Vec::new(),
            retries: None,
            retry_after_sending: None,
            cool_down_seconds: None,
            first_byte_seconds: None,
            idle_seconds: None,
            total_seconds: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelSection {
    /// The name, or a pattern with one `*`.
    pub(crate) name: Spanned<String>,
    /// Where it may go: one is chosen by weight, the others follow.
    pub(crate) to: Vec<Choice>,
    /// Where it goes, in this order, when all of those have failed.
    #[serde(default)]
    pub(crate) fallback: Vec<Choice>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choice {
    pub(crate) target: Spanned<String>,
    /// The name there; `*` stands for what the pattern's `*` has met. Otherwise the name as it came.
    pub(crate) model: Option<Spanned<String>>,
    pub(crate) weight: Option<Spanned<u32>>,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    /// Line and column, from 1.
    position: Option<(usize, usize)>,
    message: String,
}

impl ConfigError {
    /// The line, from 1, if it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.position) {
            ("", None) => f.write_str(&self.message),
            (file, None) => write!(f, "{file}: {}", self.message),
            ("", Some((line, column))) => write!(f, "line {line}, column {column}: {}", self.message),
            (file, Some((line, column))) => write!(f, "{file}:{line}:{column}: {}", self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a configuration. `name` is what faults call it, such as the file's path.
    ///
    /// ```
    /// use vertex_chat_gateway::Config;
    ///
    /// let error = Config::parse("gateway.toml", "[targets.x]\nkind = \"vertex\"\nlocatoin = \"global\"\n").unwrap_err();
    /// assert_eq!(error.line(), Some(3));
    /// assert!(error.to_string().contains("unknown field `locatoin`"));
    /// ```
    ///
    /// # Errors
    /// With the first fault: what is no TOML, a key that nobody knows, a name that nothing has. What `${…}` stands for is
    /// looked up later, by [`Gateway::build`](crate::Gateway::build).
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let config = match toml::from_str(text) {
            Ok(file) => Self { file, text: text.to_owned(), name: name.to_owned() },
            Err(error) => {
                let config = Self { text: text.to_owned(), name: name.to_owned(), ..Self::default() };
                return Err(config.fault(error.span(), without_values(error.message().trim_end())));
            }
        };
        config.check()?;
        Ok(config)
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When it is no address and port, or a variable in it is not set.
    pub fn listen(&self, environment: &Environment) -> Result<SocketAddr, ConfigError> {
        let Some(listen) = &self.file.listen else {
            return Ok(LISTEN.parse().expect("because it is an address"));
        };
        let address = self.resolved(listen, environment)?;
        let faulty = |what| self.fault(Some(listen.span()), format!("`listen`: {what}"));
        self.address(&address).map_err(faulty)
    }

    /// An address to listen at, from what a person writes: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or `:8080`, which
    /// is every address of the machine where clients have to show a key, and `127.0.0.1` where they have not.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn address(&self, text: &str) -> Result<SocketAddr, &'static str> {
        const NONE: &str =
            "this is not an address and a port, such as 127.0.0.1:8080, localhost:8080 or :8080";
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let (host, port) = text.rsplit_once(':').ok_or(NONE)?;
        let port = port.parse().map_err(|_| NONE)?;
        match host {
            "" if self.wants_keys() => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
            "" => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            "*" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
            it if it.eq_ignore_ascii_case("localhost") => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            _ => Err(NONE),
        }
    }

    /// How requests are logged, if the file says so.
    #[must_use]
    pub fn access_log(&self) -> Option<AccessFormat> {
        self.file.log.access
    }

    /// Whether it is served with TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.file.tls.is_some()
    }

    /// Whether clients have to show a key.
    #[must_use]
    pub fn wants_keys(&self) -> bool {
        !self.file.keys.is_empty()
    }

    /// A fault at a place of the file.
    pub(crate) fn fault(&self, span: Option<Range<usize>>, message: impl Into<String>) -> ConfigError {
        let position = span.filter(|_| !self.text.is_empty()).map(|span| {
            let before = self.text.get(..span.start).unwrap_or(&self.text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            (line, column)
        });
        ConfigError { file: self.name.clone(), position, message: message.into() }
    }

    /// A text with its `${NAME}` replaced by what the environment has; `$$` is a `$`.
    pub(crate) fn resolved(
        &self,
        text: &Spanned<String>,
        environment: &Environment,
    ) -> Result<String, ConfigError> {
        let mut out = String::new();
        let mut rest = text.get_ref().as_str();
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|it| it.split_once('}')) {
                let value = environment.get(name).ok_or_else(|| {
                    let message = format!(
                        "the environment variable {} is not set; set it, or write the value",
                        shown_name(name)
                    );
                    self.fault(Some(text.span()), message)
                })?;
                out.push_str(&value);
                rest = after;
            } else {
                return Err(self.fault(
                    Some(text.span()),
                    "a `$` that begins neither `${NAME}` nor `$$`; write `$$` for a dollar sign",
                ));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// What can be seen without the environment.
    fn check(&self) -> Result<(), ConfigError> {
        let file = &self.file;
        for (client, hash) in &file.keys {
            if !hash.get_ref().contains('$') && crate::keys::parse(hash.get_ref()).is_none() {
                let message = format!(
                    "the key of `{}` is not `sha256:` and 64 hexadecimal digits; `vertex-chat key` makes one",
                    shown_name(client)
                );
                return Err(self.fault(Some(hash.span()), message));
            }
        }
        self.treatment(&file.defaults.policy, &file.defaults.rewrites_off, &file.defaults.repairs_off)?;
        for (name, target) in &file.targets {
            self.check_target(name, target)?;
            self.treatment(&target.policy, &target.rewrites_off, &target.repairs_off)?;
            self.dialect(target)?;
        }
        let limits = &file.limits;
        for (name, value, max) in [
            ("request_bytes_max", limits.request_bytes_max, usize::MAX),
            ("connections_max", limits.connections_max, CONNECTIONS_MOST),
            ("requests_max", limits.requests_max, usize::MAX),
            ("requests_max_per_key", limits.requests_max_per_key.unwrap_or(1), limits.requests_max),
            (
                "keep_alive_seconds",
                usize::try_from(limits.keep_alive_seconds).unwrap_or(usize::MAX),
                KEEP_ALIVE_MOST,
            ),
        ] {
            if !(1..=max).contains(&value) {
                let most = if max == usize::MAX { String::new() } else { format!(", and at most {max}") };
                return Err(self.fault(None, format!("[limits]: `{name}` is 1 or more{most}")));
            }
        }
        let bodies_min = limits.request_bytes_max.saturating_mul(LARGEST_REQUESTS_MIN);
        if limits.bodies_bytes_max.is_some_and(|it| it < bodies_min) {
            let message = format!(
                "[limits]: `bodies_bytes_max` is at least {LARGEST_REQUESTS_MIN} times `request_bytes_max`, which is {bodies_min} here"
            );
            return Err(self.fault(None, message));
        }
        for host in &file.hosts {
            if !is_host(host.get_ref()) {
                let message =
                    "a host is a name or an address without scheme, port and path, such as `gateway.local`";
                return Err(self.fault(Some(host.span()), message));
            }
        }
        for origin in &file.cors.origins {
            check_origin(origin.get_ref()).map_err(|what| self.fault(Some(origin.span()), what))?;
        }
        self.check_names()?;
        for model in &file.models {
            if model.name.get_ref().matches('*').count() > 1 {
                return Err(self.fault(Some(model.name.span()), "a pattern has one `*`"));
            }
            if model.to.is_empty() {
                return Err(self.fault(Some(model.name.span()), "`to` is empty; name a target"));
            }
            for choice in model.to.iter().chain(&model.fallback) {
                if !file.targets.contains_key(choice.target.get_ref()) {
                    let message = format!("there is no [targets.{}]", shown_name(choice.target.get_ref()));
                    return Err(self.fault(Some(choice.target.span()), message));
                }
                if let Some(weight) = choice.weight.as_ref().filter(|it| *it.get_ref() == 0) {
                    return Err(self.fault(Some(weight.span()), "a weight is 1 or more"));
                }
            }
        }
        Ok(())
    }

    /// Names of models and aliases: each leads to one place.
    fn check_names(&self) -> Result<(), ConfigError> {
        let file = &self.file;
        let mut known = BTreeSet::new();
        for model in &file.models {
            if !known.insert(model.name.get_ref().as_str()) {
                let message = format!(
                    "there are two [[models]] of the name `{}`, and the second would never be asked",
                    shown_name(model.name.get_ref())
                );
                return Err(self.fault(Some(model.name.span()), message));
            }
        }
        for (alias, to) in &file.aliases {
            if known.contains(alias.as_str()) {
                let message = format!(
                    "`{}` is an alias and a name of [[models]], which would never be asked",
                    shown_name(alias)
                );
                return Err(self.fault(Some(to.span()), message));
            }
            let mut step = to.get_ref();
            for _ in 0..=file.aliases.len() {
                match file.aliases.get(step) {
                    Some(_) if step == alias => {
                        let message =
                            format!("the alias `{}` stands for itself, by way of others", shown_name(alias));
                        return Err(self.fault(Some(to.span()), message));
                    }
                    Some(next) => step = next.get_ref(),
                    None => break,
                }
            }
        }
        Ok(())
    }

    fn check_target(&self, name: &str, target: &TargetSection) -> Result<(), ConfigError> {
        let of_vertex = [
            ("project", &target.project),
            ("location", &target.location),
            ("host", &target.host),
            ("credentials_file", &target.credentials_file),
            ("access_token", &target.access_token),
            ("quota_project", &target.quota_project),
        ];
        let of_endpoint = [("endpoint", &target.endpoint)];
        let of_others = [("base_url", &target.base_url), ("api_key", &target.api_key)];
        let kind = match target.kind {
            Kind::Vertex => "vertex",
            Kind::Endpoint => "endpoint",
            Kind::Openai => "openai",
        };
        let mut out_of_place: Vec<(&str, &Option<Spanned<String>>)> = Vec::new();
        match target.kind {
            Kind::Vertex => {
                out_of_place.extend(of_endpoint.into_iter().chain(of_others));
                out_of_place.push(("dialect", &target.dialect));
            }
            Kind::Endpoint => out_of_place.extend(of_others),
            Kind::Openai => out_of_place.extend(of_vertex.into_iter().chain(of_endpoint)),
        }
        for (key, value) in out_of_place {
            if let Some(value) = value {
                let message = format!("`{key}` means nothing for a target of kind `{kind}`");
                return Err(self.fault(Some(value.span()), message));
            }
        }
        if let (Kind::Openai, Some(host)) = (target.kind, target.token_hosts.first()) {
            let message = format!("`token_hosts` means nothing for a target of kind `{kind}`");
            return Err(self.fault(Some(host.span()), message));
        }
        if let (Some(location), false) = (&target.location, target.locations.is_empty()) {
            return Err(self.fault(Some(location.span()), "`location` and `locations`; keep one"));
        }
        let missing = match target.kind {
            Kind::Endpoint if target.endpoint.is_none() => "endpoint",
            Kind::Openai if target.base_url.is_none() => "base_url",
            _ => return Ok(()),
        };
        Err(self.fault(
            None,
            format!("[targets.{}]: a target of kind `{kind}` needs `{missing}`", shown_name(name)),
        ))
    }

    /// The dialect that a target names.
    pub(crate) fn dialect(&self, target: &TargetSection) -> Result<Option<Dialect>, ConfigError> {
        let Some(name) = &target.dialect else { return Ok(None) };
        let dialect = name.get_ref().parse::<Dialect>();
        dialect.map(Some).map_err(|error| self.fault(Some(name.span()), error.to_string()))
    }

    /// How requests and answers of a target are treated.
    pub(crate) fn treatment(
        &self,
        policy: &Option<Spanned<String>>,
        rewrites_off: &[Spanned<String>],
        repairs_off: &[Spanned<String>],
    ) -> Result<(Option<Policy>, Rewrites, Repairs), ConfigError> {
        let policy = match policy.as_ref().map(|it| (it.get_ref().as_str(), it)) {
            None => None,
            Some(("forward", _)) => Some(Policy::Forward),
            Some(("drop", _)) => Some(Policy::Drop),
            Some(("reject", _)) => Some(Policy::Reject),
            Some((_, it)) => {
                return Err(self.fault(Some(it.span()), "the policy is one of forward, drop, reject"));
            }
        };
        let mut rewrites = Rewrites::all();
        for name in rewrites_off {
            let rule = name.get_ref().parse::<Rewrite>();
            rewrites = rewrites.without(
                rule.map_err(|error| self.fault(Some(name.span()), format!("no such rewrite; {error}")))?,
            );
        }
        let mut repairs = Repairs::all();
        for name in repairs_off {
            let repair = Repair::named(name.get_ref()).ok_or_else(|| {
                let names: Vec<_> = Repair::ALL.iter().map(|it| it.name()).collect();
                self.fault(Some(name.span()), format!("no such repair; it is one of {}", names.join(", ")))
            })?;
            repairs = repairs.without(repair);
        }
        Ok((policy, rewrites, repairs))
    }
}

/// Why an origin can never be one that a browser sends (RFC 6454, section 6.2: scheme, host and port, in lower case).
pub(crate) fn check_origin(origin: &str) -> Result<(), String> {
    let wrong = |what: &str| {
        Err(format!(
            "no page has this origin: {what}; an origin is a scheme, a host and a port that is not the scheme's own, such as \
             `https://app.example.com`, or `*` for all"
        ))
    };
    if matches!(origin, "*" | "null") {
        return Ok(());
    }
    let Some((scheme, rest)) = origin.split_once("://") else { return wrong("it has no scheme") };
    if rest.contains('*') {
        return wrong("patterns are not known");
    }
    if origin.chars().any(char::is_uppercase) {
        return wrong("it has upper-case letters");
    }
    if rest.contains(['/', '?', '#', '@']) {
        return wrong("it has more than scheme, host and port");
    }
    let is_scheme = scheme.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it));
    if !is_scheme || !scheme.starts_with(|it: char| it.is_ascii_alphabetic()) {
        return wrong("its scheme is none");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    if scheme == "ws" || scheme == "wss" {
        return wrong("the origin of a page is `http` or `https`");
    }
    if !is_host(host) || (host.contains(':') && !host.starts_with('[')) {
        return wrong(
            "its host is none; browsers write addresses in their shortest form, and names of other scripts in Punycode",
        );
    }
    match port {
        Some(port) if port.parse::<u16>().ok().is_none_or(|it| it.to_string() != port) => {
            wrong("its port is none")
        }
        Some("443") if scheme == "https" => wrong("browsers leave the port 443 of https out"),
        Some("80") if scheme == "http" => wrong("browsers leave the port 80 of http out"),
        _ => Ok(()),
    }
}

/// Whether a text is a host without a port, in the form in which browsers send it: a name, or an address in its shortest form.
fn is_host(text: &str) -> bool {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<std::net::Ipv6Addr>() {
        return address.to_string().eq_ignore_ascii_case(bare.unwrap_or(text));
    }
    let labels: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let is_label =
        |it: &&str| !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
    if !labels.iter().all(is_label) {
        return false;
    }
    // What ends in a number is an address to browsers.
    let last = labels.last().copied().unwrap_or_default();
    let is_number = last.bytes().all(|it| it.is_ascii_digit()) || last.starts_with("0x");
    !is_number || text.parse::<Ipv4Addr>().is_ok_and(|it| it.to_string() == text)
}

/// What the reader of TOML says, without the values that it quotes: one of them may be a key in the wrong place.
fn without_values(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at);
        let quote = &quoted[..1];
        out.push_str(before);
        let mut is_escaped = false;
        let end = quoted[1..].find(|it: char| {
            let ends = quote.starts_with(it) && !is_escaped;
            is_escaped = it == '\\' && !is_escaped;
            ends
        });
        let Some(end) = end else {
            out.push('…');
            return out;
        };
        match quote {
            // A value; its place is told beside it.
            "\"" => out.push('…'),
            // The name of a key, or of one of few values.
            _ => out.push_str(&format!("`{}`", shown_name(&quoted[1..=end]))),
        }
        rest = &quoted[end + 2..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_of_a_configuration_is_no_secret() {
        for (text, expected) in [
            ("[limits]\nrequests_max = \"sk-canary-canary-canary-canary\"", "invalid type: string …"),
            ("[limits]\nrequests_max = \"a\\\"canary\"", "invalid type: string …"),
            ("[targets.a]\nkind = \"ya29.canary\"", "expected one of `vertex`, `endpoint`, `openai`"),
            ("'ya29.canary' = 1", "unknown field `[a value"),
            ("[keys]\n'vc-canary0000000000000000000000000' = \"me\"", "the key of `[a value"),
            (
                "[[models]]\nname = \"x\"\nto = [{ target = \"ya29.canary\" }]",
                "there is no [targets.[a value",
            ),
        ] {
            let error = Config::parse("g.toml", text).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("canary"), "{error}");
        }
    }

    #[track_caller]
    fn refused(text: &str, at: &str, expected: &str) {
        let error = Config::parse("g.toml", text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("g.toml{at}: ")) && error.contains(expected), "{error}");
    }

    #[test]
    fn every_fault_names_its_line() {
        refused("listen = 1", ":1:10", "invalid type");
        refused("lisen = \"x\"", ":1:1", "unknown field `lisen`");
        refused("listen = ", ":1:10", "");
        refused("[keys]\nme = \"abc\"", ":2:6", "sha256:");
        refused("[targets.a]\nkind = \"vertx\"", ":2:8", "unknown variant");
        refused("[targets.a]\nkind = \"openai\"", "", "needs `base_url`");
        refused("[targets.a]\nkind = \"endpoint\"", "", "needs `endpoint`");
        refused("[targets.a]\nkind = \"vertex\"\napi_key = \"x\"", ":3:11", "means nothing");
        refused("[targets.a]\nkind = \"vertex\"\npolicy = \"x\"", ":3:10", "forward, drop, reject");
        refused("[targets.a]\nkind = \"vertex\"\nrepairs_off = [\"x\"]", ":3:16", "role-once");
        refused("[targets.a]\nkind = \"vertex\"\nrewrites_off = [\"x\"]", ":3:17", "google-publisher");
        refused(
            "[targets.a]\nkind = \"openai\"\nbase_url = \"http://x\"\ndialect = \"x\"",
            ":4:11",
            "vertex-gemini-2",
        );
        refused("[[models]]\nname = \"x\"\nto = [{ target = \"a\" }]", ":3:18", "no [targets.a]");
        for (origin, expected) in [
            ("app.example.com", "no scheme"),
            ("https://app.example.com/", "more than scheme"),
            ("https://app.example.com/app", "more than scheme"),
            ("https://*.example.com", "patterns"),
            ("https://App.example.com", "upper-case"),
            ("HTTPS://app.example.com", "upper-case"),
            ("https://app.example.com:443", "443"),
            ("http://app.example.com:80", "80"),
            ("https://app.example.com:x", "port"),
            ("https://", "host"),
            ("https://me@app.example.com", "more than scheme"),
            ("https://exämple.com", "Punycode"),
            ("", "no scheme"),
        ] {
            refused(&format!("[cors]\norigins = [\"{origin}\"]"), ":2:12", expected);
        }
        let good = [
            "*",
            "null",
            "https://app.example.com",
            "http://localhost:3000",
            "http://[::1]:80",
            "https://a.b:8443",
        ];
        for origin in good.into_iter().chain(["chrome-extension://abcdef", "tauri://localhost"]) {
            let is_80 = origin == "http://[::1]:80";
            assert_eq!(
                Config::parse("g.toml", &format!("[cors]\norigins = [\"{origin}\"]")).is_err(),
                is_80,
                "{origin}"
            );
        }
        refused("hosts = [\"http://x\"]", ":1:10", "without scheme");
        let two = "[targets.a]\nkind = \"vertex\"\n[[models]]\nname = \"x\"\nto = [{ target = \"a\" }]\n";
        refused(
            &format!("{two}[[models]]\nname = \"x\"\nto = [{{ target = \"a\" }}]"),
            ":7:8",
            "two [[models]]",
        );
        refused(&format!("{two}[aliases]\nx = \"y\""), ":7:5", "an alias and a name");
        refused("[aliases]\nx = \"x\"", ":2:5", "stands for itself");
        refused("[aliases]\nx = \"y\"\ny = \"z\"\nz = \"x\"", ":2:5", "stands for itself");
        refused("[limits]\nconnections_max = 0", "", "`connections_max` is 1 or more");
        refused("[limits]\nkeep_alive_seconds = 301", "", "at most 300");
        refused("[limits]\nrequests_max_per_key = 0", "", "1 or more");
        refused("[limits]\nrequests_max = 5\nrequests_max_per_key = 6", "", "at most 5");
        refused("[limits]\nbodies_bytes_max = 100000000", "", "134217728 here");
        let target = "[targets.a]\nkind = \"vertex\"\n[[models]]\n";
        refused(&format!("{target}name = \"*x*\"\nto = [{{ target = \"a\" }}]"), ":4:8", "one `*`");
        refused(&format!("{target}name = \"x\"\nto = []"), ":4:8", "`to` is empty");
        refused(
            &format!("{target}name = \"x\"\nto = [{{ target = \"a\", weight = 0 }}]"),
            ":5:32",
            "1 or more",
        );
    }

    #[test]
    fn variables_are_looked_up_late_and_by_name() {
        let environment = Environment::of([("PORT", "81")]);
        let listen = |text: &str| {
            Config::parse("g.toml", &format!("listen = \"{text}\"")).unwrap().listen(&environment)
        };
        assert_eq!(listen("127.0.0.1:${PORT}").unwrap().port(), 81);
        let error = listen("127.0.0.1:${OTHER}").unwrap_err();
        assert_eq!(error.line(), Some(1));
        assert!(error.to_string().contains("OTHER is not set"), "{error}");
        assert!(listen("127.0.0.1:$PORT").unwrap_err().to_string().contains("`$$`"));
        assert_eq!(Config::default().listen(&environment).unwrap().to_string(), LISTEN);
    }
}
