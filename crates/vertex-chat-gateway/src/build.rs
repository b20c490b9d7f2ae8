//! From a configuration to targets, routes and limits.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use toml::Spanned;
use vertex_chat::auth::{
    Zeroizing, check_path, read_bounded, readable_by_others, shown_name, shown_path, writable_by_others,
};
use vertex_chat::{Client, ClientBuilder, Environment, RetryPolicy, Timeouts};
use vertex_chat_transport::is_loopback;

use crate::config::{Choice, Config, ConfigError, Kind, Limits, TargetSection};
use crate::cool_down::COOL_DOWN;
use crate::gateway::Options;
use crate::keys::{self, KeyHash};
use crate::route::{Leg, Route, Routes, Server, Target};

/// The name of the target that is there without a file.
const DEFAULT_TARGET: &str = "vertex";
/// The name of the one that an OpenAI key makes.
const OPENAI_TARGET: &str = "openai";
const OPENAI_BASE_URL: &str = "https://api.openai.com/v1";
const OPENAI_KEY_PREFIX: &str = "sk-";

/// What a configuration comes to.
pub(crate) struct State {
    pub(crate) routes: Routes,
    pub(crate) keys: Vec<(String, KeyHash)>,
    pub(crate) limits: Limits,
    pub(crate) origins: Vec<String>,
    /// Names by which a gateway without keys may be asked, beside those of this machine, in lower case.
    pub(crate) hosts: Vec<String>,
    /// What is no fault, and should be put right.
    pub(crate) warnings: Vec<String>,
    pub(crate) logs_prompts: bool,
    pub(crate) keep_alive: Duration,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// Why there is no gateway.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is at fault.
    Config(ConfigError),
    /// It has no keys, and others can reach the address at which it listens.
    WithoutKeys,
    /// Others may change who the gateway is, by a file or a program of a target's credentials.
    UnsafeFile {
        /// Which.
        target: String,
        /// Why, with the path.
        reason: String,
    },
    /// A client for a target cannot be built: mostly, there are no credentials.
    Target {
        /// Which.
        target: String,
        /// Why.
        error: vertex_chat::Error,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::WithoutKeys => {
                f.write_str("there are no [keys] any more, and others can reach the gateway")
            }
            Self::UnsafeFile { target, reason } => write!(f, "target `{target}`: {reason}"),
            Self::Target { target, error } => write!(f, "target `{target}`: {error}"),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(_) | Self::WithoutKeys | Self::UnsafeFile { .. } => None,
            Self::Target { error, .. } => error.source(),
        }
    }
}

impl From<ConfigError> for BuildError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl State {
    pub(crate) async fn build(config: &Config, options: &Options) -> Result<Self, BuildError> {
        let file = &config.file;
        let mut targets = Vec::new();
        let mut warnings = Vec::new();
        for (name, section) in &file.targets {
            targets.push(Arc::new(target(config, name, section, options, &mut warnings).await?));
        }
        if targets.is_empty() {
            targets = default_targets(config, options, &mut warnings).await?;
        }
        let by_name: HashMap<&str, &Arc<Target>> = targets.iter().map(|it| (&*it.name, it)).collect();
        let legs = |choices: &[Choice]| -> Vec<Leg> {
            let leg = |choice: &Choice| {
                Some(Leg {
                    target: Arc::clone(by_name.get(choice.target.get_ref().as_str())?),
                    model: choice.model.as_ref().map(|it| it.get_ref().clone()),
                    weight: choice.weight.as_ref().map_or(1, |it| *it.get_ref()),
                })
            };
            choices.iter().filter_map(leg).collect()
        };
        let mut routes = Routes::default();
        for model in &file.models {
            let route = Route { to: legs(&model.to), fallback: legs(&model.fallback) };
            match model.name.get_ref().split_once('*') {
                Some((before, after)) => routes.patterns.push((before.to_owned(), after.to_owned(), route)),
                None => drop(routes.exact.insert(model.name.get_ref().clone(), route)),
            }
        }
        routes.aliases = file.aliases.keys().map(|name| (name.clone(), last(&file.aliases, name))).collect();
        routes.has_default_routes = file.default_routes.unwrap_or(true);
        drop(by_name);
        routes.targets = targets;
        let environment = &options.environment;
        let mut keys = Vec::new();
        for (client, hash) in &file.keys {
            let text = config.resolved(hash, environment)?;
            let Some(hash_of) = keys::parse(&text) else {
                let message =
                    format!("the key of `{}` is not `sha256:` and 64 hexadecimal digits", shown_name(client));
                return Err(config.fault(Some(hash.span()), message).into());
            };
            keys.push((client.clone(), hash_of));
        }
        let tls = match &file.tls {
            Some(section) => {
                let (own, section, environment) = (config.clone(), section.clone(), environment.clone());
                let read = move || tls(&own, &section.certificate, &section.key, &environment);
                // A file may be on a drive that hangs, and the workers have others to answer.
                match tokio::task::spawn_blocking(read).await {
                    Ok(read) => {
                        let (tls, warning) = read?;
                        warnings.extend(warning);
                        Some(tls)
                    }
                    Err(_) => {
                        return Err(config.fault(None, "the runtime ended while TLS files were read").into());
                    }
                }
            }
            None => None,
        };
        Ok(Self {
            routes: routes.sorted(),
            keys,
            limits: file.limits,
            origins: file
                .cors
                .origins
                .iter()
                .map(|it| it.get_ref().clone())
                .chain(options.origins.iter().cloned())
                .collect(),
            hosts: file.hosts.iter().map(|it| it.get_ref().to_ascii_lowercase()).collect(),
            warnings,
            logs_prompts: file.log.prompts,
            keep_alive: Duration::from_secs(file.limits.keep_alive_seconds),
            tls,
        })
    }
}

/// A builder with what all clients share.
fn client(options: &Options) -> ClientBuilder {
    Client::builder()
        .environment(options.environment.clone())
        .connector(options.connector_or_default())
        .clock(Arc::clone(&options.clock))
}

/// Without a file: Vertex by what the environment has, and OpenAI if there is a key of theirs.
async fn default_targets(
    config: &Config,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Vec<Arc<Target>>, BuildError> {
    let mut targets = Vec::new();
    let section = TargetSection::of(Kind::Vertex);
    let vertex = target(config, DEFAULT_TARGET, &section, options, warnings).await;
    let openai_key =
        options.environment.get("OPENAI_API_KEY").filter(|key| key.starts_with(OPENAI_KEY_PREFIX));
    match vertex {
        Ok(vertex) => targets.push(Arc::new(vertex)),
        Err(error) if openai_key.is_none() => return Err(error),
        Err(error) => tracing::warn!(%error, "no Vertex; there is a key of OpenAI's"),
    }
    if openai_key.is_some() {
        let mut section = TargetSection::of(Kind::Openai);
        section.base_url = Some(Spanned::new(0..0, OPENAI_BASE_URL.to_owned()));
        section.api_key = Some(Spanned::new(0..0, "${OPENAI_API_KEY}".to_owned()));
        targets.push(Arc::new(target(config, OPENAI_TARGET, &section, options, warnings).await?));
    }
    Ok(targets)
}

async fn target(
    config: &Config,
    name: &str,
    section: &TargetSection,
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Target, BuildError> {
    let environment = &options.environment;
    let text = |value: &Option<Spanned<String>>| -> Result<Option<String>, ConfigError> {
        value.as_ref().map(|it| config.resolved(it, environment)).transpose()
    };
    let failed = |error| BuildError::Target { target: name.to_owned(), error };
    let defaults = &config.file.defaults;
    let (own_policy, own_rewrites, own_repairs) =
        config.treatment(&section.policy, &section.rewrites_off, &section.repairs_off)?;
    let (policy, rewrites, repairs) =
        config.treatment(&defaults.policy, &defaults.rewrites_off, &defaults.repairs_off)?;
    let mut builder = client(options).rewrites(own_rewrites.and(rewrites));
    if let Some(policy) = own_policy.or(policy) {
        builder = builder.policy(policy);
    }
    if let Some(dialect) = config.dialect(section)? {
        builder = builder.dialect(dialect);
    }
    if let Some(file) = &section.ca_file {
        let (config, file, environment) = (config.clone(), file.clone(), environment.clone());
        let span = file.span();
        let own = config.clone();
        // A file may be on a drive that hangs, and the workers have others to answer.
        let read = tokio::task::spawn_blocking(move || read_file(&own, &file, &environment)).await;
        let pem = read.map_err(|error| config.fault(Some(span.clone()), error.to_string()))??;
        builder = builder.certificates_pem(&pem).map_err(|error| {
            config.fault(Some(span), format!("the file has no certificate in PEM: {error}"))
        })?;
    }
    for host in &section.token_hosts {
        builder = builder.allow_token_host(config.resolved(host, environment)?);
    }
    let mut servers = Vec::new();
    if section.kind == Kind::Openai {
        let base_url = text(&section.base_url)?.unwrap_or_default();
        let key = text(&section.api_key)?;
        if key.is_some() && is_remote_in_the_clear(&base_url) {
            let span = section.api_key.as_ref().map(Spanned::span);
            let message = "the key would go to another machine over plain http, where everybody on the way can read it; use https, \
                           or leave `api_key` out";
            return Err(config.fault(span, message).into());
        }
        builder = builder.base_url(base_url);
        builder = match key {
            Some(key) => builder.api_key(key),
            None => builder.anonymous(),
        };
        servers.push(Server::new(name, builder.build().map_err(failed)?));
    } else {
        let locations = match (text(&section.location)?, section.locations.as_slice()) {
            (Some(location), _) => vec![location],
            (None, []) => {
                vec![environment.get("GOOGLE_CLOUD_LOCATION").unwrap_or_else(|| "global".to_owned())]
            }
            (None, several) => {
                several.iter().map(|it| config.resolved(it, environment)).collect::<Result<_, _>>()?
            }
        };
        // Named, so that OPENAI_BASE_URL, which clients of the gateway have set, means nothing here.
        builder = builder.location(&locations[0]);
        for (value, set) in [
            (text(&section.project)?, ClientBuilder::project as fn(ClientBuilder, String) -> ClientBuilder),
            (text(&section.endpoint)?, ClientBuilder::endpoint),
            (text(&section.host)?, ClientBuilder::host),
            (text(&section.quota_project)?, ClientBuilder::quota_project),
            (text(&section.credentials_file)?, ClientBuilder::credentials_file),
            (text(&section.access_token)?, ClientBuilder::access_token),
        ] {
            if let Some(value) = value {
                builder = set(builder, value);
            }
        }
        if let (None, None, Some(json)) =
            (&section.credentials_file, &section.access_token, &options.credentials_json)
        {
            builder = builder.credentials_json(json.clone());
        }
        // Credentials are found once, so that all locations share one token.
        let builder = builder.discover().await.map_err(failed)?;
        let files = builder.found_credentials().map(|it| it.files().to_vec()).unwrap_or_default();
        check_files(files, name, warnings).await?;
        for location in &locations {
            let builder = builder.clone().location(location);
            let server = Server::new(&format!("{name}@{location}"), builder.clone().build().map_err(failed)?);
            let is_shared = section.kind == Kind::Endpoint && section.host.is_none();
            servers.push(if is_shared { server.with_builder(builder) } else { server });
        }
    }
    let seconds = |value: Option<u64>, default: Duration| value.map_or(default, Duration::from_secs);
    let timeouts = Timeouts::default();
    let timeouts = timeouts
        .with_first_byte(seconds(section.first_byte_seconds, timeouts.first_byte))
        .with_idle(seconds(section.idle_seconds, timeouts.idle))
        .with_total(seconds(section.total_seconds, timeouts.total));
    let retry = RetryPolicy::default();
    let attempts = section.retries.map_or(retry.attempts_max, |it| it.saturating_add(1));
    Ok(Target {
        name: Arc::from(name),
        servers,
        repairs: own_repairs.and(repairs),
        cool_down: seconds(section.cool_down_seconds, COOL_DOWN),
        timeouts,
        retry: retry.with_attempts_max(attempts),
        retry_after_sending: section.retry_after_sending.unwrap_or(true),
        is_vertex: section.kind == Kind::Vertex,
        is_openai: section.kind == Kind::Openai,
    })
}

/// The name that an alias stands for, by way of others. There are no circles: the configuration was checked.
fn last(aliases: &BTreeMap<String, Spanned<String>>, alias: &str) -> String {
    let mut name = alias;
    while let Some(next) = aliases.get(name) {
        name = next.get_ref();
    }
    name.to_owned()
}

/// Whether a URL leads to another machine without TLS.
fn is_remote_in_the_clear(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    url.scheme_str() == Some("http") && !is_loopback(url.host().unwrap_or_default())
}

/// Refuses files that decide who the gateway is and that others may write; warns of keys that others may read.
async fn check_files(
    files: Vec<PathBuf>,
    target: &str,
    warnings: &mut Vec<String>,
) -> Result<(), BuildError> {
    let look = move || {
        let mut found = Vec::new();
        for (i, path) in files.iter().enumerate() {
            if let Some(reason) = writable_by_others(path) {
                return Err(format!("{}: {reason}", shown_path(path)));
            }
            // The first is the credential file; a program has to be readable.
            if i == 0 && readable_by_others(path) {
                found.push(readable(path));
            }
        }
        Ok(found)
    };
    let looked = tokio::task::spawn_blocking(look).await.unwrap_or_else(|error| Err(error.to_string()));
    match looked {
        Ok(found) => {
            for warning in found {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            Ok(())
        }
        Err(reason) => Err(BuildError::UnsafeFile { target: target.to_owned(), reason }),
    }
}

/// What a file has that the configuration trusts. What is no path may be a secret, and is not shown.
fn read_file(
    config: &Config,
    path: &Spanned<String>,
    environment: &Environment,
) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
    let name = config.resolved(path, environment)?;
    check_path(&name).map_err(|what| {
        let message = format!(
            "this has to be the path of a file; the value seems to be {what}; write it to a file that only you can read, \
             and give the file's path"
        );
        config.fault(Some(path.span()), message)
    })?;
    if let Some(reason) = writable_by_others(&name) {
        return Err(config.fault(Some(path.span()), format!("{name}: {reason}")));
    }
    read_bounded(&name).map_err(|error| config.fault(Some(path.span()), format!("{name}: {error}")))
}

/// What is said of a secret that others may read.
fn readable(path: impl AsRef<Path>) -> String {
    let shown = shown_path(path);
    format!("{shown}: everybody on this machine may read the secret in it; `chmod o-r {shown}`")
}

/// The server's side of TLS, and what is odd about its files.
fn tls(
    config: &Config,
    certificate: &Spanned<String>,
    key: &Spanned<String>,
    environment: &Environment,
) -> Result<(Arc<ServerConfig>, Option<String>), ConfigError> {
    let read = |path: &Spanned<String>| read_file(config, path, environment);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.ok().filter(|it| !it.is_empty());
    let chain =
        chain.ok_or_else(|| config.fault(Some(certificate.span()), "the file has no certificate in PEM"))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?);
    let secret = secret.map_err(|_| config.fault(Some(key.span()), "the file has no private key in PEM"))?;
    // The provider is named, not taken from the process.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let warning = config.resolved(key, environment).ok().filter(|it| readable_by_others(it)).map(readable);
    let fits = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|it| it.with_no_client_auth().with_single_cert(chain, secret));
    fits.map(|it| (Arc::new(it), warning))
        .map_err(|error| config.fault(Some(key.span()), format!("certificate and key: {error}")))
}
