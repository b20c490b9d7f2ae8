//! `vertex-chat emulate`, and the emulator inside `chat --emulator` and `serve --emulator`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;
use vertex_chat::ClientBuilder;
use vertex_chat::auth::{CredentialsOptions, Secret, check_path, shown_path};
use vertex_chat::transport::{Connector, HttpConnector, Profile, SystemClock};
use vertex_chat_emulator::{
    API_KEY, Emulator, Engine, LOCATION, LogEntry, MODELS_MAX, PROJECT, Performance, Quirk, RunningEmulator,
    RunningProxy, TGI_ENDPOINT, VLLM_ENDPOINT,
};
use vertex_chat_gateway::Options;

use crate::request::read_file;
use crate::{Failure, out};

#[derive(Debug, Args)]
pub(crate) struct EmulateArguments {
    /// The port; 0 for any. The address is the first line that is printed.
    #[arg(long, default_value_t = 8085)]
    port: u16,
    /// Where to write the service account key. Else a new file in the temporary directory.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Have a real model talk: the base URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1.
    #[arg(long, value_name = "URL")]
    engine: Option<String>,
    /// The model to ask the engine for. Else none is named. The engine's key is taken from ENGINE_API_KEY.
    #[arg(long, requires = "engine", value_name = "NAME")]
    engine_model: Option<String>,
    /// Milliseconds to wait before each chunk of a stream.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pace: u64,
    /// Misbehave in every answer, such as `no-done`; can be given several times. A model's name that ends in `+no-done` does the
    /// same for one request.
    #[arg(long, value_name = "WORD", value_parser = quirk)]
    quirk: Vec<Quirk>,
    /// Have a model take its time and fail at times, such as
    /// `google/gemini-2.5-flash:first_token_ms=300,token_ms=5,fails_every=50,exhausted_every=40,cuts_every=30,at_once=4`; can
    /// be given several times. A name may end in `*`, and `*` alone is for all others. What an engine says is not slowed down.
    #[arg(long, value_name = "MODEL:KEY=N,...", value_parser = Performance::of_word)]
    model: Vec<(String, Performance)>,
    /// How long tokens live, in seconds. Below 302 Google's own libraries ask for a new one on every call.
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Start a proxy too, for programs whose hosts are fixed: it takes Google's and AWS's hosts for the emulator, with a
    /// certificate authority made for the occasion.
    #[arg(long)]
    proxy: bool,
    /// Print what to export and nothing else, for a file that a shell sources.
    #[arg(long)]
    print_env: bool,
    /// Do not print requests on stderr.
    #[arg(long, short)]
    quiet: bool,
}

pub(crate) async fn run(arguments: EmulateArguments) -> Result<(), Failure> {
    let mut builder = Emulator::builder(Arc::new(SystemClock)).pace(Duration::from_millis(arguments.pace));
    if let Some(url) = &arguments.engine {
        let exchange = HttpConnector::new().connect(&Profile::Public);
        let exchange = exchange.map_err(|error| Failure::Local(error.to_string()))?;
        let mut engine = Engine::new(exchange, url)
            .map_err(|_| Failure::Usage("--engine: not a URL such as http://127.0.0.1:8000/v1".to_owned()))?;
        if let Some(model) = arguments.engine_model {
            engine = engine.with_model(model);
        }
        if let Ok(key) = std::env::var("ENGINE_API_KEY") {
            engine = engine.with_api_key(&key);
        }
        builder = builder.engine(engine);
    }
    if !arguments.quiet {
        builder = builder.on_request(tell);
    }
    if arguments.model.len() > MODELS_MAX {
        return Err(Failure::Usage(format!("--model: given more than {MODELS_MAX} times")));
    }
    for (name, performance) in arguments.model {
        builder = builder.model(name, performance);
    }
    let emulator = builder.build();
    if let Some(seconds) = arguments.expires_in {
        emulator.set_expires_in(seconds);
    }
    emulator.set_quirks(arguments.quirk);
    let running = start(&emulator, arguments.port).await?;
    let folder = match arguments.key_file.is_none() || arguments.proxy {
        true => Some(private_folder()?),
        false => None,
    };
    let in_folder = |name: &str| folder.as_ref().map(|it| it.path().join(name));
    let key_file = arguments.key_file.or_else(|| in_folder("service-account.json")).unwrap_or_default();
    write_key(&running.service_account_json(), &key_file)?;
    let path = std::path::absolute(&key_file).unwrap_or(key_file);
    let proxy = match in_folder("authority.pem").filter(|_| arguments.proxy) {
        Some(authority) => Some(Proxy::start(&running, authority).await?),
        None => None,
    };
    let credentials = ("GOOGLE_APPLICATION_CREDENTIALS", path.display().to_string());
    let openai = ("OPENAI_BASE_URL", running.openai_base_url());
    if arguments.print_env {
        let address = running.address().to_string();
        let mut variables = vec![
            credentials,
            ("GOOGLE_CLOUD_PROJECT", PROJECT.to_owned()),
            ("GOOGLE_CLOUD_LOCATION", LOCATION.to_owned()),
            openai,
            // For programs without a credential file. Google's Python library pings the address, not the host.
            ("GCE_METADATA_HOST", address.clone()),
            ("GCE_METADATA_IP", address),
            ("METADATA_SERVER_DETECTION", "assume-present".to_owned()),
        ];
        variables.extend(proxy.iter().flat_map(Proxy::variables));
        export(variables)?;
    } else {
        out::line(running.base_url())?;
        out::line(format_args!("# key file: {}", path.display()))?;
        out::line(
            "# for vertex-chat, and with OPENAI_API_KEY=\"$(vertex-chat token)\" for OpenAI's libraries:",
        )?;
        export([credentials, openai].into_iter().chain(proxy.iter().flat_map(Proxy::variables)))?;
        out::line(format_args!(
            "# with the key {API_KEY}: {} (OpenAI), {} (Gemini Developer API)",
            running.openai_own_base_url(),
            running.developer_base_url()
        ))?;
        out::line(format_args!("# endpoints of one's own: {VLLM_ENDPOINT} (vLLM), {TGI_ENDPOINT} (TGI)"))?;
    }
    running.wait().await;
    Err(Failure::Local("the emulator ended".to_owned()))
}

/// A quirk by its word.
fn quirk(word: &str) -> Result<Quirk, String> {
    Quirk::of(word).ok_or_else(|| {
        let words: Vec<&str> = Quirk::ALL.iter().map(|it| it.word()).collect();
        format!("there are {}", words.join(", "))
    })
}

/// The proxy, and the file with its certificate authority.
struct Proxy {
    running: RunningProxy,
    authority: PathBuf,
}

impl Proxy {
    async fn start(emulator: &RunningEmulator, authority: PathBuf) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::Local(format!("the proxy cannot be started: {error}"));
        let running = emulator.start_proxy().await.map_err(cannot)?;
        write_private(&authority, running.authority_pem()).map_err(cannot)?;
        Ok(Self { running, authority })
    }

    /// What programs look at, each in its own way: OpenSSL and rustls, Python's requests, Node.
    fn variables(&self) -> [(&'static str, String); 5] {
        let authority = || self.authority.display().to_string();
        [
            ("HTTPS_PROXY", self.running.url()),
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
            ("SSL_CERT_FILE", authority()),
            ("REQUESTS_CA_BUNDLE", authority()),
            ("NODE_EXTRA_CA_CERTS", authority()),
        ]
    }
}

fn tell(entry: &LogEntry) {
    out::note(format_args!("emulator: {entry}"));
}

/// Prints variables for a shell to take.
fn export(variables: impl IntoIterator<Item = (&'static str, String)>) -> Result<(), Failure> {
    for (name, value) in variables {
        out::line(format_args!("export {name}={}", quoted(&value)))?;
    }
    Ok(())
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-:@+=".contains(it);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

async fn start(emulator: &Emulator, port: u16) -> Result<RunningEmulator, Failure> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    emulator
        .start(address)
        .await
        .map_err(|error| Failure::Local(format!("cannot listen on {address}: {error}")))
}

/// Writes the service account's key where the user wants it. An emulator's old key is replaced; another file is left alone,
/// because it may be a real key.
fn write_key(json: &str, path: &Path) -> Result<(), Failure> {
    let cannot = |error: &dyn std::fmt::Display| Failure::Local(format!("{}: {error}", shown_path(path)));
    check_path(path).map_err(|what| {
        Failure::Usage(format!("--key-file has to be the path of a file; it seems to be {what}"))
    })?;
    if path.exists() {
        let old = std::fs::read_to_string(path).unwrap_or_default();
        if !old.contains(&format!("emulator@{PROJECT}.iam.gserviceaccount.com")) {
            return Err(cannot(&"exists and is not an emulator's key; it is left alone"));
        }
        std::fs::remove_file(path).map_err(|error| cannot(&error))?;
    }
    write_private(path, json).map_err(|error| cannot(&error))
}

/// Writes a new file that only its owner can read.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    std::io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}

/// The folder for files that nobody named: only its owner can open it, and it is removed when the program ends.
fn private_folder() -> Result<TempDir, Failure> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("vertex-chat-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().map_err(|error| Failure::Local(format!("no folder for temporary files: {error}")))
}

/// The emulator of one `chat --emulator` or `serve --emulator`: over TCP, with a service account's key, as if it were far away.
/// The key is in no file: the program would leave it behind when it is killed.
pub(crate) struct Embedded {
    running: RunningEmulator,
    key: Secret,
}

impl Embedded {
    pub(crate) async fn start(
        credentials: Option<&Path>,
        verbose: bool,
        pace: Duration,
    ) -> Result<Self, Failure> {
        let mut builder = Emulator::builder(Arc::new(SystemClock)).pace(pace);
        if verbose {
            builder = builder.on_request(tell);
        }
        let running = start(&builder.build(), 0).await?;
        let json = match credentials {
            None => running.service_account_json(),
            // Somebody's own key, to see it refused: it is sent to the emulator and nowhere else.
            Some(path) => redirected(path, &running.base_url())?,
        };
        Ok(Self { key: Secret::new(json), running })
    }

    pub(crate) fn emulator(&self) -> &Emulator {
        self.running.emulator()
    }

    /// Where it is.
    pub(crate) fn base_url(&self) -> String {
        self.running.base_url()
    }

    /// What a target of a configuration says to be Vertex's here, beside the credentials of [`options`](Self::options).
    pub(crate) fn google_lines(&self) -> [(&'static str, String); 3] {
        [("project", PROJECT.to_owned()), ("location", LOCATION.to_owned()), ("host", self.base_url())]
    }

    /// What a gateway before the emulator is built with: the emulator's key for all its targets on Vertex.
    pub(crate) fn options(&self, options: Options) -> Options {
        options.credentials_json(self.key.clone())
    }

    /// The targets of a configuration: everybody that the emulator can be.
    pub(crate) fn toml(&self) -> String {
        let google = toml_lines(self.google_lines());
        let keyed = |base_url: String| {
            let lines =
                [("kind", "openai".to_owned()), ("base_url", base_url), ("api_key", API_KEY.to_owned())];
            toml_lines(lines)
        };
        format!(
            "[targets.vertex]\nkind = \"vertex\"\n{google}\
             [targets.vllm]\nkind = \"endpoint\"\ndialect = \"vllm\"\nendpoint = {}\n{google}\
             [targets.tgi]\nkind = \"endpoint\"\ndialect = \"tgi\"\nendpoint = {}\n{google}\
             [targets.openai]\n{}\
             [targets.developer]\ndialect = \"gemini-developer\"\n{}",
            toml_text(VLLM_ENDPOINT),
            toml_text(TGI_ENDPOINT),
            keyed(self.running.openai_own_base_url()),
            keyed(self.running.developer_base_url()),
        )
    }

    /// Turns a client to the emulator.
    pub(crate) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        builder
            .environment(vertex_chat::Environment::of::<&str, &str>([("GOOGLE_CLOUD_LOCATION", LOCATION)]))
            .host(self.running.base_url())
            .credentials_json(self.key.clone())
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }
}

/// A string of a configuration. TOML's take what JSON's do; a dollar sign would begin a variable.
pub(crate) fn toml_text(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

/// Lines of a configuration.
pub(crate) fn toml_lines(pairs: impl IntoIterator<Item = (&'static str, String)>) -> String {
    pairs.into_iter().map(|(key, value)| format!("{key} = {}\n", toml_text(&value))).collect()
}

/// A key file with the emulator's token endpoint in it.
fn redirected(path: &Path, base_url: &str) -> Result<String, Failure> {
    let cannot = |what: &dyn std::fmt::Display| Failure::Usage(format!("{}: {what}", shown_path(path)));
    let json = read_file(path)?;
    let fields: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(&json);
    let mut fields = fields.map_err(|_| cannot(&"not a JSON object"))?;
    fields.insert("token_uri".to_owned(), serde_json::Value::from(format!("{base_url}/token")));
    let json = serde_json::Value::from(fields).to_string();
    // What is wrong with it is said of this file, not of its copy.
    let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(SystemClock));
    options.from_json(json.as_bytes(), &shown_path(path))?;
    Ok(json)
}
