//! `vertex-chat serve`: the gateway on a socket, with a log, reloads and an orderly end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::net::{TcpListener, TcpSocket};
use vertex_chat::Environment;
use vertex_chat::auth::{shown_name, shown_path, writable_by_others};
use vertex_chat_gateway::{AccessEntry, AccessFormat, Config, Gateway, Options};

use crate::emulate::{Embedded, toml_lines};
use crate::interrupt::Interrupts;
use crate::{Failure, out};

/// How often the configuration file is looked at for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);
/// How many connections may wait to be accepted. The system has a limit of its own, mostly 4,096; past it connections are lost
/// and come again a second later.
const BACKLOG: u32 = 4_096;
/// The longest name of a client's key, in bytes.
const KEY_NAME_BYTES_MAX: usize = 100;
/// After how long a configuration file that is being read is reported as hanging.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The configuration, a TOML file. Else Vertex by the environment's credentials and project, and OpenAI if
    /// OPENAI_API_KEY is a key of theirs.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; port 0 for any. Else the configuration's, or 127.0.0.1:8080. `:8080` is every address where clients
    /// have to show a key, and 127.0.0.1 where they have not.
    #[arg(long, short, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Let pages of this origin ask, such as `https://app.example.com`, or `*`. May be given several times.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Say what is wrong with the configuration and end.
    #[arg(long)]
    check: bool,
    /// Answer from an emulator in this process; no cloud project is needed.
    #[arg(long, conflicts_with_all = ["config", "project", "location"])]
    emulator: bool,
    /// The project. Else GOOGLE_CLOUD_PROJECT, GCLOUD_PROJECT, the credentials' own.
    #[arg(long, conflicts_with = "config")]
    project: Option<String>,
    /// A region, `global`, `us` or `eu`. Else GOOGLE_CLOUD_LOCATION, `global`.
    #[arg(long, conflicts_with = "config")]
    location: Option<String>,
    /// A credential file of any kind. Else GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, the metadata server.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    credentials: Option<PathBuf>,
    /// How requests are logged on stderr. Else the configuration's, or text.
    #[arg(long, value_name = "FORMAT")]
    access_log: Option<LogFormat>,
    /// Take the listening socket over from the process that has this socket of the file system, and hand it on there.
    #[cfg(unix)]
    #[arg(long, value_name = "SOCKET")]
    handover: Option<PathBuf>,
    /// Serve everybody who can reach an address that is not this machine's own, without keys.
    #[arg(long)]
    danger_serve_without_keys: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArguments {
    /// Whose key it is: the name in the configuration and in the access log.
    #[arg(default_value = "somebody")]
    name: String,
}

/// Makes a key.
pub(crate) fn key(arguments: &KeyArguments) -> Result<(), Failure> {
    let name = &arguments.name;
    if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Failure::Usage(format!(
            "a key's name is one line of at most {KEY_NAME_BYTES_MAX} bytes, such as `ci` or `anna`"
        )));
    }
    let is_bare = name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it));
    // A string of JSON is one of TOML too.
    let name = if is_bare { name.clone() } else { serde_json::Value::from(name.as_str()).to_string() };
    let key = vertex_chat_gateway::new_key();
    out::line(&key)?;
    out::note("the key is shown once; in the configuration goes its hash:");
    out::note(format_args!("[keys]\n{name} = \"{}\"", vertex_chat_gateway::hash_key(&key)));
    Ok(())
}

pub(crate) async fn run(arguments: ServeArguments, interrupts: &mut Interrupts) -> Result<(), Failure> {
    let open_files = raise_open_files();
    let embedded = match arguments.emulator {
        true => Some(Embedded::start(arguments.credentials.as_deref(), false, Duration::ZERO).await?),
        false => None,
    };
    let result = serve(&arguments, embedded.as_ref(), open_files, interrupts).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    result
}

async fn serve(
    arguments: &ServeArguments,
    embedded: Option<&Embedded>,
    open_files: Option<usize>,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let config = interrupts.end(configuration(arguments, embedded)).await?;
    let environment = Environment::process();
    let wrong = |error: &dyn std::fmt::Display| Failure::Configuration(error.to_string());
    let mut options = Options::new().environment(environment.clone());
    if let Some(files) = open_files {
        // The embedded emulator is the far end of the gateway's connections, and has its files in this process too.
        let files = if embedded.is_some() {
            files - (files / 3).min(vertex_chat_emulator::CONNECTIONS_MAX)
        } else {
            files
        };
        options = options.open_files_max(files);
    }
    if let Some(embedded) = embedded {
        options = embedded.options(options);
    }
    for origin in &arguments.allow_origin {
        options =
            options.allow_origin(origin).map_err(|what| Failure::Usage(format!("--allow-origin: {what}")))?;
    }
    let format = arguments.access_log.map_or(config.access_log().unwrap_or_default(), |it| match it {
        LogFormat::Text => AccessFormat::Text,
        LogFormat::Json => AccessFormat::Json,
        LogFormat::Off => AccessFormat::Off,
    });
    if format != AccessFormat::Off {
        options = options.on_request(move |entry| log(entry, format));
    }
    let build = async { Gateway::build(&config, options).await.map_err(|error| wrong(&error)) };
    let gateway = interrupts.end(build).await?;
    for warning in gateway.warnings() {
        out::note(format_args!("warning: {warning}"));
    }
    let address = match &arguments.listen {
        Some(address) => config
            .address(address)
            .map_err(|what| Failure::Usage(format!("--listen {}: {what}", shown_name(address))))?,
        None => config.listen(&environment).map_err(|error| wrong(&error))?,
    };
    if !arguments.danger_serve_without_keys {
        gateway.check_address(address).map_err(|error| {
            Failure::Configuration(format!("{error}, or say --danger-serve-without-keys"))
        })?;
    }
    if arguments.check {
        return out::line("the configuration is good");
    }
    let listener = listener(arguments, address).await?;
    let address = listener.local_addr().unwrap_or(address);
    if !arguments.danger_serve_without_keys {
        // It may have been handed over, and is then another than was configured.
        gateway.check_address(address).map_err(Failure::Configuration)?;
    }
    #[cfg(unix)]
    let offer = match &arguments.handover {
        Some(path) => Some(crate::handover::Offer::make(path, &listener).await?),
        None => None,
    };
    let hangups = Hangups::listen();
    let scheme = if config.has_tls() { "https" } else { "http" };
    // In one write: who reads no more than the address may have left when there is more.
    let key = if config.wants_keys() { "" } else { "\nexport OPENAI_API_KEY=unused" };
    if let Some(files) = open_files {
        let connections = gateway.connections_max();
        out::note(format_args!(
            "at most {connections} connections of clients; the limit of open files is {files}"
        ));
    }
    out::line(format_args!("export OPENAI_BASE_URL={scheme}://{address}/v1{key}"))?;
    let warm = gateway.clone();
    tokio::spawn(async move {
        warm.warm_up().await;
        // For whoever starts this process in the place of another: both may answer `/readyz`.
        out::note(if warm.is_warm() { "ready" } else { "not ready: no token yet; /readyz tries again" });
    });
    tokio::spawn(reload(gateway.clone(), arguments.config.clone(), hangups));
    let end = async {
        asked_to_end(interrupts).await;
        // Whoever has taken the socket over has it; nobody else is to wait at it.
        #[cfg(unix)]
        drop(offer);
    };
    gateway.serve(listener, end).await;
    Ok(())
}

async fn configuration(arguments: &ServeArguments, embedded: Option<&Embedded>) -> Result<Config, Failure> {
    if let Some(path) = &arguments.config {
        return read(path).await.map_err(Failure::Configuration);
    }
    let text = if let Some(embedded) = embedded {
        format!(
            "{}\
             [[models]]\nname = \"vllm\"\nto = [{{ target = \"vllm\" }}]\n\
             [[models]]\nname = \"tgi\"\nto = [{{ target = \"tgi\" }}]\n\
             [[models]]\nname = \"gpt-*\"\nto = [{{ target = \"vertex\", model = \"google/gemini-2.5-flash\" }}]\n",
            embedded.toml(),
        )
    } else {
        let file = arguments.credentials.as_ref().map(|it| it.display().to_string());
        let given =
            [("project", &arguments.project), ("location", &arguments.location), ("credentials_file", &file)];
        let given = given.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        let lines = toml_lines(given);
        if lines.is_empty() {
            return Ok(Config::default());
        }
        format!("[targets.vertex]\nkind = \"vertex\"\n{lines}")
    };
    Config::parse("the command line", &text).map_err(|error| Failure::Usage(error.to_string()))
}

/// A configuration of a file.
pub(crate) async fn read(path: &Path) -> Result<Config, String> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let name = shown_path(&path);
        if let Some(reason) = writable_by_others(&path) {
            return Err(format!("{name}: {reason}"));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        Config::parse(&name, &text).map_err(|error| error.to_string())
    });
    reading.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Writes a line of the access log.
fn log(entry: &AccessEntry, format: AccessFormat) {
    out::stderr().line(match format {
        AccessFormat::Json => entry.to_json(),
        _ => entry.to_text(),
    });
}

async fn listener(arguments: &ServeArguments, address: SocketAddr) -> Result<TcpListener, Failure> {
    #[cfg(unix)]
    if let Some(path) = &arguments.handover {
        return crate::handover::take(path, address).await;
    }
    #[cfg(not(unix))]
    let _ = arguments;
    bind(address).map_err(|error| cannot_listen(address, &error))
}

pub(crate) fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::Local(format!("cannot listen on {address}: {error}"))
}

/// A new listening socket.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As tokio's own listeners on Unix do: a port can be had again at once after the end of a process.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What tells that a file is another than before, without reading it. `None` for what is no file: a pipe can be read once,
/// when the program starts.
type Stamp = Option<(std::time::SystemTime, u64)>;

fn look(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Looks at a file, and reads it if it is another than before or a reload was asked for.
fn look_again(path: &Path, known: Stamp, is_asked: bool) -> (Stamp, Option<Result<String, String>>) {
    let now = look(path);
    // A file that is being replaced may be gone for a moment.
    if now.is_none() || (now == known && !is_asked) {
        return (known, None);
    }
    let text = match writable_by_others(path) {
        Some(reason) => Err(reason),
        None => std::fs::read_to_string(path).map_err(|error| error.to_string()),
    };
    (now, Some(text.map_err(|error| format!("{}: {error}", shown_path(path)))))
}

/// SIGHUP, which ends a program that does not listen for it.
struct Hangups(#[cfg(unix)] Option<tokio::signal::unix::Signal>);

impl Hangups {
    fn listen() -> Self {
        #[cfg(unix)]
        return Self(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok());
        #[cfg(not(unix))]
        return Self();
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signal) = &mut self.0 {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Takes a changed configuration: when its file is another than before, and at every SIGHUP. Without a file there is nothing
/// to take, and SIGHUP means nothing.
async fn reload(gateway: Gateway, path: Option<PathBuf>, mut hangups: Hangups) {
    let Some(path) = path else {
        loop {
            hangups.next().await;
        }
    };
    let mut known = None;
    let mut is_first = true;
    let shown = path.clone();
    // Looks whether there is such a file.
    let name = tokio::task::spawn_blocking(move || shown_path(&shown));
    let Ok(name) = name.await else { return };
    loop {
        let is_asked = tokio::select! {
            () = hangups.next() => true,
            () = tokio::time::sleep(if is_first { Duration::ZERO } else { RELOAD_INTERVAL }) => false,
        };
        // A drive that hangs holds up this loop and nothing else.
        let (file, before, reads) = (path.clone(), known, !is_first || is_asked);
        let mut looking = tokio::task::spawn_blocking(move || match reads {
            true => look_again(&file, before, is_asked),
            false => (look(&file), None),
        });
        is_first = false;
        let looked = match tokio::time::timeout(READ_TIMEOUT, &mut looking).await {
            Ok(looked) => looked,
            Err(_) => {
                let seconds = READ_TIMEOUT.as_secs();
                out::note(format_args!(
                    "{name}: not read within {seconds} s; the configuration stays as it was"
                ));
                looking.await
            }
        };
        let Ok((now, text)) = looked else { return };
        known = now;
        let Some(text) = text else { continue };
        let result = match text {
            Ok(text) => gateway.reload_text(&name, &text).await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                out::note(format_args!("{name}: taken"));
                let warm = gateway.clone();
                tokio::spawn(async move { warm.warm_up().await });
            }
            Err(error) => out::note(format_args!("the configuration stays as it was: {error}")),
        }
    }
}

/// Waits for Ctrl-C or SIGTERM. A second one does not wait for what runs: it ends the process where it arrives.
async fn asked_to_end(interrupts: &mut Interrupts) {
    interrupts.next().await;
    out::note("ending: what runs is finished, nothing new is taken; once more ends at once");
}

/// Has as many files open as the system allows: the usual 1,024 are less than the connections that may come. How many that
/// are, if there is a limit.
#[cfg(unix)]
fn raise_open_files() -> Option<usize> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.and_then(|it| usize::try_from(it).ok())
}

#[cfg(not(unix))]
fn raise_open_files() -> Option<usize> {
    None
}
