//! Servers of this process for the suite: the emulator, the gateway before it, and mutants of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use vertex_chat::transport::serve::{ServeOptions, serve};
use vertex_chat::transport::{Connector, Exchange, HttpConnector, Profile, SystemClock};
use vertex_chat::{Client, Environment};
use vertex_chat_conformance::{Credentials, Key, Mutant, Plan, Suite, Target, Verdict};
use vertex_chat_emulator::{API_KEY, LOCATION, PROJECT, TGI_ENDPOINT, VLLM_ENDPOINT};
use vertex_chat_gateway::{Config, Gateway, Options};

use crate::emulate::{Embedded, toml_lines, toml_text};
use crate::interrupt::Interrupts;
use crate::{Failure, out};

/// The wait before each chunk: a stream has to be seen to come bit by bit.
const PACE: Duration = Duration::from_millis(1);
/// How many mutants are judged at once; they mostly wait.
const MUTANTS_AT_ONCE: usize = 24;
/// The key with which the gateway is asked.
const GATEWAY_KEY: &str = "conformance-gateway-key";

/// What the emulator is asked as.
pub(crate) struct Server {
    pub(crate) profile: &'static str,
    pub(crate) model: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    OpenAi,
    Gemini,
    Vllm,
    Tgi,
    Developer,
}

/// All that the emulator can be asked as.
pub(crate) const SERVERS: &[Server] = &[
    Server { profile: "openai", model: "gpt-4o-mini", kind: Kind::OpenAi },
    Server { profile: "vertex-gemini", model: "google/gemini-2.5-flash", kind: Kind::Gemini },
    Server { profile: "vertex-gemini", model: "google/gemini-3-flash-preview", kind: Kind::Gemini },
    Server { profile: "vertex-endpoint-vllm", model: "gemma-2-9b-it", kind: Kind::Vllm },
    Server { profile: "vertex-endpoint-tgi", model: "tgi", kind: Kind::Tgi },
    Server { profile: "gemini-developer", model: "gemini-2.5-flash", kind: Kind::Developer },
];

/// An emulator with good credentials and some that were good once.
pub(crate) struct Local {
    embedded: Embedded,
    client: Client,
    expired: String,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// Google's tokens of the emulator.
#[derive(Debug)]
struct Tokens {
    client: Client,
    expired: String,
}

#[async_trait]
impl Credentials for Tokens {
    async fn headers(&self) -> Result<HeaderMap, String> {
        self.client.authorization().await.map_err(|error| error.to_string())
    }
    fn expired(&self) -> Option<String> {
        Some(self.expired.clone())
    }
}

impl Local {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let embedded = Embedded::start(None, false, PACE).await?;
        let expired = bearer_of(&embedded.apply(Client::builder()).build()?).await?;
        embedded.emulator().revoke_tokens(None);
        let client = embedded.apply(Client::builder()).build()?;
        bearer_of(&client).await?;
        Ok(Self { embedded, client, expired, tasks: std::sync::Mutex::default() })
    }

    /// The emulator, asked as this.
    pub(crate) fn server(&self, server: &Server) -> Result<Target, Failure> {
        self.target(server, &self.embedded.base_url(), server.model)
    }

    fn target(&self, server: &Server, host: &str, model: &str) -> Result<Target, Failure> {
        let base_url = format!("{host}{}", path_of(server.kind));
        let target = new_target(&base_url, model)?.named("the emulator").emulated();
        Ok(target.with_credentials(self.credentials(server.kind)))
    }

    fn credentials(&self, kind: Kind) -> Arc<dyn Credentials> {
        match kind {
            Kind::OpenAi | Kind::Developer => Arc::new(Key::new(API_KEY)),
            _ => Arc::new(Tokens { client: self.client.clone(), expired: self.expired.clone() }),
        }
    }

    /// A gateway before the emulator.
    pub(crate) async fn gateway(&self, server: &Server) -> Result<Target, Failure> {
        let gateway = self.build_gateway(server).await?;
        let host = self.serve(Arc::new(gateway)).await?;
        gateway_target(&host, server.model)
    }

    async fn build_gateway(&self, server: &Server) -> Result<Gateway, Failure> {
        let host = self.embedded.base_url();
        let quoted = toml_text;
        let google = toml_lines(self.embedded.google_lines());
        let base_url = quoted(&format!("{host}{}", path_of(server.kind)));
        let with_key = format!("kind = \"openai\"\nbase_url = {base_url}\napi_key = {}\n", quoted(API_KEY));
        let target = match server.kind {
            Kind::OpenAi => with_key,
            Kind::Developer => format!("{with_key}dialect = \"gemini-developer\"\n"),
            Kind::Gemini => format!("kind = \"vertex\"\n{google}"),
            Kind::Vllm => {
                format!(
                    "kind = \"endpoint\"\ndialect = \"vllm\"\nendpoint = {}\n{google}",
                    quoted(VLLM_ENDPOINT)
                )
            }
            Kind::Tgi => {
                format!(
                    "kind = \"endpoint\"\ndialect = \"tgi\"\nendpoint = {}\n{google}",
                    quoted(TGI_ENDPOINT)
                )
            }
        };
        let model = quoted(server.model);
        let with_quirks = quoted(&format!("{}+*", server.model));
        let text = format!(
            "[targets.upstream]\nretries = 0\n{target}\
             [[models]]\nname = {model}\nto = [{{ target = \"upstream\" }}]\n\
             [[models]]\nname = {with_quirks}\nto = [{{ target = \"upstream\" }}]\n\
             [keys]\nconformance = {}\n",
            quoted(&vertex_chat_gateway::hash_key(GATEWAY_KEY)),
        );
        let wrong = |error: &dyn std::fmt::Display| Failure::Configuration(error.to_string());
        let config = Config::parse("the suite's gateway", &text).map_err(|error| wrong(&error))?;
        let options = Options::new().environment(Environment::of::<&str, &str>([]));
        let options = self.embedded.options(options);
        Gateway::build(&config, options).await.map_err(|error| wrong(&error))
    }

    /// Puts an exchange on a port of loopback.
    async fn serve(&self, exchange: Arc<dyn Exchange>) -> Result<String, Failure> {
        let (host, task) = put_on_port(exchange).await?;
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(task);
        Ok(host)
    }

    pub(crate) async fn stop(self) {
        for task in self.tasks.into_inner().unwrap_or_default() {
            task.abort();
        }
        self.embedded.stop().await;
    }
}

async fn put_on_port(exchange: Arc<dyn Exchange>) -> Result<(String, JoinHandle<()>), Failure> {
    let cannot = |error: std::io::Error| Failure::Local(format!("cannot listen on loopback: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(cannot)?;
    let host = format!("http://{}", listener.local_addr().map_err(cannot)?);
    let task = tokio::spawn(serve(listener, exchange, ServeOptions::default(), std::future::pending()));
    Ok((host, task))
}

fn gateway_target(host: &str, model: &str) -> Result<Target, Failure> {
    let target = new_target(&format!("{host}/v1"), model)?.named("the gateway").emulated();
    Ok(target.with_credentials(Arc::new(Key::new(GATEWAY_KEY))))
}

fn new_target(base_url: &str, model: &str) -> Result<Target, Failure> {
    let exchange = HttpConnector::new().connect(&Profile::NoProxy);
    let exchange = exchange.map_err(|error| Failure::Local(error.to_string()))?;
    Target::new(exchange, Arc::new(SystemClock), base_url, model)
        .map_err(|error| Failure::Local(error.to_string()))
}

fn path_of(kind: Kind) -> String {
    let endpoint = |id: &str| format!("/v1/projects/{PROJECT}/locations/{LOCATION}/endpoints/{id}");
    match kind {
        Kind::OpenAi => "/v1".to_owned(),
        Kind::Developer => "/v1beta/openai".to_owned(),
        Kind::Gemini => endpoint("openapi"),
        Kind::Vllm => endpoint(VLLM_ENDPOINT),
        Kind::Tgi => endpoint(TGI_ENDPOINT),
    }
}

async fn bearer_of(client: &Client) -> Result<String, Failure> {
    let headers = client.authorization().await?;
    let value = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
    Ok(value.trim_start_matches("Bearer ").to_owned())
}

/// Judges the judge: whether each mutant fails the case that it was made for, and no other.
pub(crate) async fn mutants(
    suite: &Suite,
    cases: &[String],
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let local = Arc::new(Local::start().await?);
    let suite = Arc::new(suite.clone());
    let at_once = Arc::new(Semaphore::new(MUTANTS_AT_ONCE));
    let mut running = JoinSet::new();
    let mut count = 0;
    let mut exempt = BTreeMap::new();
    if let Some(unknown) = cases.iter().find(|id| !suite.cases().iter().any(|case| case.id == **id)) {
        return Err(Failure::Usage(format!("there is no case `{unknown}`; --list shows all")));
    }
    for case in suite.cases() {
        if !cases.is_empty() && !cases.contains(&case.id) {
            continue;
        }
        if let Some(because) = &case.exempt {
            exempt.insert(case.id.clone(), because.clone());
        }
        for mutant in &case.mutants {
            count += 1;
            let (local, suite, at_once) = (Arc::clone(&local), Arc::clone(&suite), Arc::clone(&at_once));
            let (mutant, id) = (mutant.clone(), case.id.clone());
            running.spawn(async move {
                let _permit = at_once.acquire_owned().await;
                let found = convictions(&local, &suite, &mutant).await;
                (mutant.name, id, found)
            });
        }
    }
    let mut faults = BTreeMap::new();
    loop {
        let ended = tokio::select! {
            ended = running.join_next() => ended,
            _ = interrupts.next() => return Err(Failure::Interrupted),
        };
        let Some(ended) = ended else { break };
        let (mutant, id, found) = ended.map_err(|error| Failure::Local(error.to_string()))?;
        match found? {
            convicted if convicted == [id.clone()] => {}
            convicted => {
                faults.insert(mutant, format!("should be convicted by {id}, was by {convicted:?}"));
            }
        }
    }
    for (mutant, fault) in &faults {
        out::line(format_args!("{mutant}: {fault}"))?;
    }
    for (case, because) in &exempt {
        out::line(format_args!("no mutant for {case}: {because}"))?;
    }
    out::line(format_args!(
        "{} of {count} mutants convicted by their case and by no other",
        count - faults.len()
    ))?;
    if faults.is_empty() { Ok(()) } else { Err(Failure::WrongVerdicts) }
}

/// The cases that fail against a mutant.
async fn convictions(local: &Local, suite: &Suite, mutant: &Mutant) -> Result<Vec<String>, Failure> {
    let through_gateway = mutant.profile == "gateway";
    // Behind the gateway stands who has the mutant's model, and OpenAI where none is named.
    let of_profile = |server: &&Server| match through_gateway {
        true => mutant.model.is_some() || server.profile == "openai",
        false => server.profile == mutant.profile,
    };
    let of_model = |server: &&Server| mutant.model.as_deref().is_none_or(|it| it.starts_with(server.model));
    let Some(server) = SERVERS.iter().filter(of_profile).find(of_model) else {
        return Err(Failure::Local(format!("mutant {}: no emulated server is meant", mutant.name)));
    };
    let model = mutant.model.as_deref().unwrap_or(server.model);
    let (healthy, good): (Arc<dyn Exchange>, String) = match (through_gateway, server.kind) {
        (true, _) => (Arc::new(local.build_gateway(server).await?), GATEWAY_KEY.to_owned()),
        (false, Kind::OpenAi | Kind::Developer) => {
            (Arc::new(local.embedded.emulator().clone()), API_KEY.to_owned())
        }
        (false, _) => (Arc::new(local.embedded.emulator().clone()), bearer_of(&local.client).await?),
    };
    let broken = mutant.of(healthy, Arc::new(SystemClock), &good);
    let (host, task) = put_on_port(broken).await?;
    let (plan, target) = if through_gateway {
        (Plan::new("gateway").behind(server.profile), gateway_target(&host, model)?)
    } else {
        (Plan::new(&mutant.profile), local.target(server, &host, model)?)
    };
    let selection = suite.plan_for(&plan, model).map_err(|error| Failure::Local(error.to_string()))?;
    let mut run = selection.run(target);
    let mut convicted = Vec::new();
    while let Some(result) = run.next().await {
        if matches!(result.verdict, Verdict::Failed(_)) {
            convicted.push(result.case.id.clone());
        }
    }
    task.abort();
    Ok(convicted)
}
