//! Programs that run beside a test and end with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use vertex_chat::auth::VARIABLES;
use vertex_chat::transport::{NO_PROXY_VARIABLES, PROXY_VARIABLES};

use crate::{program, root, tool};

/// A program in the background; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a program with its stdin and stdout held.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    /// The next line that it prints.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("its output is text");
        assert!(read > 0, "the program ended without a word");
        line.trim_end().to_owned()
    }

    /// Its stderr, if it is piped and was not taken before.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to its stdin.
    ///
    /// # Panics
    /// When it does not read.
    pub fn write(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("it is read");
    }

    /// Sends it a signal, `INT` or `TERM`.
    ///
    /// # Panics
    /// When there is no `kill`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits until it handles a signal, by its number.
    ///
    /// # Panics
    /// Where there is no `/proc`.
    pub fn wait_until_it_handles(&self, signal: u32) {
        loop {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("/proc");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask");
            let caught = u64::from_str_radix(caught.trim(), 16).expect("hexadecimal");
            if caught & (1 << (signal - 1)) != 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Waits for its end while its stdin stays open: the exit code.
    ///
    /// # Panics
    /// When it has no end that can be waited for.
    pub fn code(mut self) -> Option<i32> {
        let stdin = self.child.stdin.take();
        let status = self.child.wait().expect("it ends");
        drop(stdin);
        status.code()
    }

    /// Waits for its end: the exit code, and the rest of what it printed.
    ///
    /// # Panics
    /// When it has no end that can be waited for.
    pub fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("its output is text");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of a test's own, removed with it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vertex-chat-tests-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file in it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `vertex-chat emulate` on a free port.
#[derive(Debug)]
pub struct Emulate {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// The key file that it wrote.
    pub key_file: PathBuf,
    _running: Running,
    _folder: Folder,
}

impl Emulate {
    /// Starts it with these arguments beside its own.
    #[must_use]
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let folder = Folder::new(name);
        let key_file = folder.path("service-account.json");
        let mut command = vertex_chat(&["emulate", "--port", "0", "--quiet", "--key-file"]);
        let mut running = Running::start(command.arg(&key_file).args(arguments));
        let url = running.line();
        // The key file is there when the address has been printed.
        Self { url, key_file, _running: running, _folder: folder }
    }

    /// The base URL of an endpoint.
    #[must_use]
    pub fn base_url(&self, version: &str, endpoint: &str) -> String {
        format!("{}/{version}/projects/my-project/locations/us-central1/endpoints/{endpoint}", self.url)
    }

    /// An access token, from `vertex-chat token`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn token(&self) -> String {
        let output = vertex_chat(&["token", "--credentials"]).arg(&self.key_file).output().expect("it runs");
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output).trim().to_owned()
    }

    /// The request log, as the control API gives it.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn log(&self) -> Vec<serde_json::Value> {
        let body = http(&self.url, "GET", "/emulator/log", "");
        serde_json::from_str(&body).expect("a JSON array")
    }
}

/// The program, without anything of this environment that it would look at.
#[must_use]
pub fn vertex_chat(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(std::env::temp_dir());
    // A home is there for the user's own sake.
    let names = VARIABLES.into_iter().filter(|it| !["HOME", "APPDATA"].contains(it));
    for name in names.chain(PROXY_VARIABLES).chain(NO_PROXY_VARIABLES) {
        command.env_remove(name);
    }
    command.env("NO_GCE_CHECK", "true");
    command
}

/// Runs a command to its end with this on its stdin.
///
/// # Panics
/// When it cannot be run.
#[must_use]
pub fn run(command: &mut Command, stdin: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut input = child.stdin.take().expect("it is piped");
    // A program may end without reading.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    child.wait_with_output().expect("it ends")
}

/// What it printed.
#[must_use]
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it said.
#[must_use]
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A request by hand, for the control API.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn http(base_url: &str, method: &str, path: &str, body: &str) -> String {
    let address = base_url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).expect("a head and a body")
}

/// A Python script of this folder, with the libraries that `cargo xtask setup` installs; `None` when they are not there.
#[must_use]
pub fn python(script: &str) -> Option<Command> {
    let mut command = Command::new(tool("python/bin/python")?);
    command.arg(root().join("tests/python").join(script));
    Some(command)
}

/// A real engine with a real model.
#[derive(Debug)]
pub struct Engine {
    /// Its base URL.
    pub url: String,
    _running: Running,
}

impl Engine {
    /// Starts it; `None` when it is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(&["24"])
    }

    /// Starts it with these arguments of the script; `None` when it is not installed.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let mut running = Running::start(python("engine.py")?.args(arguments).stderr(Stdio::null()));
        Some(Self { url: running.line(), _running: running })
    }
}

/// Whether a path has this in it.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn contains(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).expect("a file").contains(text)
}
