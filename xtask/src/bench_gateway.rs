//! `cargo xtask bench gateway`: what our gateway costs and adds, side by side with other proxies before one fake upstream.
//!
//! The proxies are nginx, which changes nothing and is what one would put there otherwise; forty lines of hyper, the least
//! that a gateway in Rust can cost; LiteLLM, which is what many have. Each works alone on core 0; what asks and what
//! answers is on core 1, over HTTP/1.1 without TLS on loopback. Measured are the CPU time of the whole process tree, as the
//! scheduler counts it, for each request or event; how much later answers come than without a proxy; memory; the time from
//! exec to the first answer. Every answer is checked.
//!
//! Absolute times say nothing about another machine, and little about this one an hour later. Ratios within one run do:
//! every round goes through all proxies in turn, and the median of the rounds counts.
//!
//! `--quick` is one short round without LiteLLM. `VERTEX_CHAT=PATH` measures another build of the program.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::{
    Outcome, build_release, cargo_outside, has, output, outside_directory, print, program, root, run, say,
};

const PROXY_CORE: &str = "0";
const RIG_CORE: &str = "1";
/// A slow stream takes two; the hard limit may allow fewer.
const FILES_MAX: u64 = 65_536;
/// LiteLLM takes 8 to 15 seconds.
const START_MAX: Duration = Duration::from_secs(120);
const END_MAX: Duration = Duration::from_secs(2);
const SLOW_STREAMS: u64 = 2000;
/// A stream with an event every second has stalled if it is silent for so long.
const STALL_MS: f64 = 3000.0;
const LITELLM: &str = "litellm[proxy]==1.106.2";

/// The columns of the table, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Direct,
    Nginx,
    Bare,
    Ours,
    LiteLlm,
}

impl Peer {
    const ALL: [Self; 5] = [Self::Direct, Self::Nginx, Self::Bare, Self::Ours, Self::LiteLlm];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Bare => "bare",
            Self::Ours => "ours",
            Self::LiteLlm => "litellm",
        }
    }
}

/// The rows of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Unary,
    Long,
    Burst,
    BurstGemini,
    Paced,
    Added,
    FirstMedian,
    FirstP99,
    SlowGap,
    SlowMemory,
    Idle,
    Ready,
}

/// The most that our figure may be.
#[derive(Clone, Copy)]
enum Limit {
    Times(Peer, f64),
    /// A share of somebody's so small that it is said the other way round.
    Part(Peer, f64),
    Above(Peer, f64),
    Most(f64),
    /// So many milliseconds, or on a slower machine so many times somebody's.
    Either(f64, Peer, f64),
}

/// What a row is; what ours must be at most, which is below every LLM gateway that was measured in this way (the best of
/// them added 0.22 and 0.18 ms where nginx added 0.12 and 0.08); what it should be at most.
struct Goal(Row, &'static str, Option<Limit>, &'static [Limit]);

const GOALS: [Goal; 12] = {
    use Limit::{Above, Either, Most, Part, Times};
    use Peer::{Bare, LiteLlm, Nginx};
    let unary: &[Limit] = &[Times(Nginx, 2.0), Times(Bare, 1.3), Part(LiteLlm, 150.0)];
    [
        Goal(Row::Unary, "CPU per request, 1 KB, us", Some(Times(Nginx, 3.7)), unary),
        Goal(Row::Long, "CPU per request, 200 KB, us", Some(Times(Nginx, 2.1)), &[Times(Nginx, 1.3)]),
        Goal(Row::Burst, "CPU per event, burst, us", Some(Times(Nginx, 8.0)), &[Times(Nginx, 1.5)]),
        Goal(Row::BurstGemini, "same, Gemini's shape, us", Some(Times(Nginx, 8.0)), &[Times(Nginx, 4.0)]),
        Goal(Row::Paced, "CPU per event, 10 ms apart, us", Some(Times(Nginx, 1.4)), &[]),
        Goal(Row::Added, "added to an answer, p50, ms", Some(Either(0.22, Nginx, 1.8)), &[]),
        Goal(Row::FirstMedian, "added to a first event, p50, ms", Some(Either(0.18, Nginx, 2.2)), &[]),
        Goal(Row::FirstP99, "added to a first event, p99, ms", None, &[Above(Nginx, 0.3)]),
        Goal(Row::SlowGap, "2,000 slow streams: silence, ms", None, &[Most(STALL_MS)]),
        Goal(Row::SlowMemory, "2,000 slow streams: each, KiB", None, &[Most(24.0)]),
        Goal(Row::Idle, "idle RSS, MB", None, &[Most(12.0)]),
        Goal(Row::Ready, "exec to first answer, ms", None, &[Most(50.0)]),
    ]
};

/// What is asked of a proxy in a round.
#[derive(Clone, Copy)]
enum Ask {
    Unary { connections: u64, kilobytes: u64 },
    Stream { shape: Shape, connections: u64, chunks: u64, pace_ms: u64 },
}

/// Whose wire format the upstream speaks. Only ours mends anything; the others pass both through.
#[derive(Clone, Copy)]
enum Shape {
    OpenAi,
    Gemini,
}

const LATENCY: Ask = Ask::Unary { connections: 1, kilobytes: 1 };
const FIRST: Ask = Ask::Stream { shape: Shape::OpenAi, connections: 1, chunks: 4, pace_ms: 1 };

/// What CPU time is counted for. The first two are asked of LiteLLM too.
const COUNTED: [(Row, Ask); 5] = [
    (Row::Unary, Ask::Unary { connections: 32, kilobytes: 1 }),
    (Row::Long, Ask::Unary { connections: 8, kilobytes: 200 }),
    (Row::Burst, Ask::Stream { shape: Shape::OpenAi, connections: 8, chunks: 200, pace_ms: 0 }),
    (Row::BurstGemini, Ask::Stream { shape: Shape::Gemini, connections: 8, chunks: 200, pace_ms: 0 }),
    (Row::Paced, Ask::Stream { shape: Shape::OpenAi, connections: 50, chunks: 200, pace_ms: 10 }),
];

pub(crate) fn gateway(quick: bool) -> Outcome {
    let (rounds, seconds, slow_chunks) = if quick { (1, 1.5, 8) } else { (3, 4.0, 20) };
    let (programs, ours) = build()?;
    let nginx = nginx();
    let litellm = if quick { None } else { litellm() };
    equip()?;
    go_to(RIG_CORE)?;

    let rig = Rig::start(&programs, seconds)?;
    let mut results = Results::default();
    let mut proxies = vec![Proxy::direct(&rig)];
    for peer in [Peer::Nginx, Peer::Bare, Peer::Ours] {
        let command = |port: u16| match peer {
            Peer::Nginx => nginx.as_ref().map(|program| rig.nginx(program, port)),
            Peer::Bare => Some(Ok(rig.bare(&programs, port))),
            _ => Some(rig.ours(&ours, port)),
        };
        for round in 1..=rounds {
            let port = free_port()?;
            let Some(command) = command(port) else { continue };
            let proxy = Proxy::start(&rig, peer, port, command?, &mut results)?;
            if round == rounds {
                say(&format!("slow streams through {}", peer.name()));
                // Before all else, so that memory which was once used does not hide what streams need.
                slow(&rig, &proxy, slow_chunks, &mut results)?;
                proxies.push(proxy);
            }
        }
    }
    for round in 1..=rounds {
        say(&format!("round {round} of {rounds}"));
        for (row, ask) in COUNTED {
            for proxy in &proxies[1..] {
                counted(&rig, proxy, row, ask, &mut results)?;
            }
        }
        for (ask, rows) in [(LATENCY, &[Row::Added][..]), (FIRST, &[Row::FirstMedian, Row::FirstP99][..])] {
            added(&rig, &proxies, ask, rows, &mut results)?;
        }
    }
    if let Some(program) = litellm {
        let port = free_port()?;
        match Proxy::start(&rig, Peer::LiteLlm, port, rig.litellm(&program, port)?, &mut results) {
            Ok(proxy) => {
                for (row, ask) in &COUNTED[..2] {
                    counted(&rig, &proxy, *row, *ask, &mut results)?;
                }
            }
            Err(failure) => say(&format!("NOT MEASURED: {failure}")),
        }
    }
    results.judge()
}

/// Builds the peers and the program; gives the folder of the ones and the path of the other.
fn build() -> Outcome<(PathBuf, PathBuf)> {
    let mut build = cargo_outside(&root().join("xtask/peers"));
    build.args(["build", "--quiet", "--profile", "gateway"]);
    for package in ["upstream", "load", "bare"] {
        build.arg(format!("--package=bench-gateway-{package}"));
    }
    run(&mut build)?;
    Ok((outside_directory().join("gateway"), program(build_release)?))
}

/// The nginx at hand, or Debian's, unpacked and not installed: an installed one starts a server of its own.
fn nginx() -> Option<PathBuf> {
    let folder = root().join(".setup/nginx");
    let unpacked = folder.join("usr/sbin/nginx");
    let at_hand = || {
        let paths = [Path::new("nginx"), Path::new("/usr/sbin/nginx"), &unpacked];
        paths.into_iter().find(|path| has(&path.to_string_lossy())).map(Path::to_owned)
    };
    let unpack = || -> Outcome {
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let download = || output(Command::new("apt-get").args(["download", "nginx"]).current_dir(&folder));
        if download().is_err() {
            run(Command::new("apt-get").args(["update", "--quiet"]))?;
            download()?;
        }
        let script = "for package in *.deb; do dpkg-deb --extract \"$package\" .; done";
        run(Command::new("sh").args(["-e", "-c", script]).current_dir(&folder))
    };
    if let Some(nginx) = at_hand() {
        return Some(nginx);
    }
    let failure = unpack().err();
    let nginx = at_hand();
    if nginx.is_none() {
        let failure = failure.unwrap_or_else(|| "the package has no program".to_owned());
        say(&format!("NOT MEASURED: nginx, and with it most of the goals; install it. {failure}"));
    }
    nginx
}

/// LiteLLM in a Python environment of its own.
fn litellm() -> Option<PathBuf> {
    let folder = root().join(".setup/litellm");
    let program = folder.join("bin/litellm");
    let install = || -> Outcome {
        let python = folder.join("bin/python");
        if !python.exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        }
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", LITELLM];
        run(Command::new(python).args(install))
    };
    match install() {
        Ok(()) => Some(program),
        Err(failure) => {
            say(&format!("NOT MEASURED: LiteLLM, which cannot be installed. {failure}"));
            None
        }
    }
}

/// What is the same for all proxies: the upstream, the load, a folder for their configurations and logs.
struct Rig {
    _upstream: Running,
    upstream: u16,
    load: PathBuf,
    seconds: f64,
    folder: PathBuf,
}

impl Rig {
    fn start(programs: &Path, seconds: f64) -> Outcome<Self> {
        let folder = std::env::temp_dir().join(format!("vertex-chat-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let child = Command::new(programs.join("bench-gateway-upstream")).stdout(Stdio::piped()).spawn();
        let mut upstream = Running(child.map_err(|error| format!("the upstream: {error}"))?);
        let mut port = String::new();
        let stdout = upstream.0.stdout.take().expect("because it is piped");
        let _ = BufReader::new(stdout).read_line(&mut port);
        let port = port.trim().parse().map_err(|_| "the upstream does not start".to_owned())?;
        let load = programs.join("bench-gateway-load");
        Ok(Self { _upstream: upstream, upstream: port, load, seconds, folder })
    }

    fn write(&self, name: &str, text: &str) -> Outcome<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// nginx as a pass-through for streams: one worker, connections kept, no event held back.
    fn nginx(&self, program: &Path, port: u16) -> Outcome<Command> {
        let (upstream, folder) = (self.upstream, self.folder.display());
        let config = self.write(
            "nginx.conf",
            &format!(
                "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000;
    client_body_buffer_size 1m;
    client_max_body_size 64m;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream fake {{
        server 127.0.0.1:{upstream};
        keepalive 64;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://fake;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
        }}
    }}
}}
"
            ),
        )?;
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-p"]).arg(&self.folder).arg("-c").arg(config);
        Ok(command)
    }

    fn bare(&self, programs: &Path, port: u16) -> Command {
        let mut command = Command::new(programs.join("bench-gateway-bare"));
        command.args([port.to_string(), self.upstream.to_string()]);
        command
    }

    fn ours(&self, program: &Path, port: u16) -> Outcome<Command> {
        let upstream = format!("http://127.0.0.1:{}", self.upstream);
        let config = self.write(
            "vertex-chat.toml",
            &format!(
                r#"listen = "127.0.0.1:{port}"
[log]
access = "off"
[targets.plain]
kind = "openai"
base_url = "{upstream}/openai/v1"
api_key = "x"
[targets.gemini]
kind = "openai"
base_url = "{upstream}{GEMINI_BASE}"
dialect = "vertex-gemini-2"
api_key = "x"
[[models]]
name = "fake-openai"
to = [{{ target = "plain" }}]
[[models]]
name = "fake-gemini"
to = [{{ target = "gemini", model = "google/gemini-2.5-flash" }}]
"#
            ),
        )?;
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(config);
        Ok(command)
    }

    /// LiteLLM at its best: one worker, no database, no logging, no keys to check, no look at the network.
    fn litellm(&self, program: &Path, port: u16) -> Outcome<Command> {
        let upstream = self.upstream;
        let config = self.write(
            "litellm.yaml",
            &format!(
                "model_list:
  - model_name: fake-openai
    litellm_params:
      model: openai/fake
      api_base: http://127.0.0.1:{upstream}/openai/v1
      api_key: x
litellm_settings:
  telemetry: false
"
            ),
        )?;
        let mut command = Command::new(program);
        command.env("LITELLM_LOG", "ERROR").env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command.env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true");
        command.args(["--host", "127.0.0.1", "--num_workers", "1", "--port", &port.to_string()]);
        command.arg("--config").arg(config);
        Ok(command)
    }

    /// The load that asks so of a proxy, for so long; for no time, every connection asks once.
    fn load(&self, proxy: &Proxy, ask: Ask, seconds: f64) -> Command {
        let (mode, shape, connections, rest) = match ask {
            Ask::Unary { connections, kilobytes } => ("unary", Shape::OpenAi, connections, vec![kilobytes]),
            Ask::Stream { shape, connections, chunks, pace_ms } => {
                ("stream", shape, connections, vec![chunks, pace_ms])
            }
        };
        let (base, model) = proxy.address(shape);
        let mut command = Command::new(&self.load);
        command.args([mode, &base, model, "x", &connections.to_string(), &seconds.to_string()]);
        command.args(rest.iter().map(u64::to_string)).stdout(Stdio::piped());
        command
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const OPENAI_BASE: &str = "/openai/v1";
const GEMINI_BASE: &str = "/gemini/v1/projects/p/locations/l/endpoints/openapi";

/// Goes to a core, and with it whatever is started from now on. Without wrappers, a program's start is its own.
fn go_to(core: &str) -> Outcome {
    let own = std::process::id().to_string();
    output(Command::new("taskset").args(["--cpu-list", "--pid", core, &own])).map(drop)
}

/// Many files for what is started from now on, and as far as one may, precedence: other work on the machine is to cost us
/// time but not caches.
fn equip() -> Outcome {
    let own = std::process::id().to_string();
    let limits = fs::read_to_string("/proc/self/limits").map_err(|error| format!("limits: {error}"))?;
    let hard = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().nth(1)?.parse::<u64>().ok());
    let files = format!("--nofile={}", hard.unwrap_or(FILES_MAX).min(FILES_MAX));
    output(Command::new("prlimit").args([&files, "--pid", &own]))?;
    if let Err(failure) = output(Command::new("renice").args(["-n", "-10", "-p", &own])) {
        say(&format!("without precedence: {failure}"));
    }
    Ok(())
}

fn free_port() -> Outcome<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// A process and all that it started, which end with this.
struct Running(Child);

impl Running {
    /// The process and its descendants.
    fn tree(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let parents: Vec<(u32, u32)> = entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_string_lossy().parse().ok()?;
                let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
                // The name is in parentheses and may have any character in it.
                let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
                Some((pid, parent))
            })
            .collect();
        let mut tree = vec![self.0.id()];
        let mut next = 0;
        while let Some(&parent) = tree.get(next) {
            tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
            next += 1;
        }
        tree
    }

    /// The CPU time so far, in nanoseconds. Ticks would be too coarse.
    fn cpu(&self) -> f64 {
        let tasks = self
            .tree()
            .into_iter()
            .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten());
        let times = tasks.filter_map(|task| {
            fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse::<f64>().ok()
        });
        times.sum()
    }

    /// A sum of what `smaps_rollup` says, in KiB.
    fn memory(&self, field: &str) -> f64 {
        let of = |pid: u32| -> Option<f64> {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        self.tree().into_iter().filter_map(of).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx ends its worker when it is asked to end, not when it is killed.
        let signal = |name: &str, pids: &[u32]| {
            let pids = pids.iter().map(u32::to_string);
            let _ = Command::new("kill").arg(name).args(pids).stderr(Stdio::null()).status();
        };
        let asked = Instant::now();
        signal("-TERM", &[self.0.id()]);
        while asked.elapsed() < END_MAX {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        signal("-KILL", &self.tree());
        let _ = self.0.wait();
    }
}

/// A way to the upstream.
struct Proxy {
    peer: Peer,
    port: u16,
    /// None if there is nothing in between.
    running: Option<Running>,
}

impl Proxy {
    fn direct(rig: &Rig) -> Self {
        Self { peer: Peer::Direct, port: rig.upstream, running: None }
    }

    /// Starts it, and waits until it has answered.
    fn start(rig: &Rig, peer: Peer, port: u16, mut command: Command, results: &mut Results) -> Outcome<Self> {
        let name = peer.name();
        let log = rig.folder.join(format!("{name}.log"));
        let file = || File::create(&log).map_err(|error| format!("{}: {error}", log.display()));
        command.stdin(Stdio::null()).stdout(file()?).stderr(file()?);
        go_to(PROXY_CORE)?;
        let begun = Instant::now();
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut proxy = Self { peer, port, running: Some(Running(child)) };
        while !proxy.answers() {
            let running = proxy.running.as_mut().expect("because it was started");
            let ended = running.0.try_wait().ok().flatten();
            if ended.is_some() || begun.elapsed() > START_MAX {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("{name} does not answer; its log:\n{log}"));
            }
            sleep(Duration::from_micros(500));
        }
        results.add(Row::Ready, peer, begun.elapsed().as_secs_f64() * 1e3);
        go_to(RIG_CORE)?;
        results.add(Row::Idle, peer, proxy.running().memory("Rss") / 1024.0);
        Ok(proxy)
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("because nothing is counted of what is not there")
    }

    /// The base URL and the name of the model with which the upstream answers in a shape.
    fn address(&self, shape: Shape) -> (String, &'static str) {
        let (path, model) = match (self.peer, shape) {
            (Peer::Ours | Peer::LiteLlm, Shape::OpenAi) => ("/v1", "fake-openai"),
            (Peer::Ours | Peer::LiteLlm, Shape::Gemini) => ("/v1", "fake-gemini"),
            (_, Shape::OpenAi) => (OPENAI_BASE, "fake-openai"),
            (_, Shape::Gemini) => (GEMINI_BASE, "google/gemini-2.5-flash"),
        };
        (format!("http://127.0.0.1:{}{path}", self.port), model)
    }

    /// Whether a request is answered with 200 by now.
    fn answers(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(START_MAX))?;
            let (base, model) = self.address(Shape::OpenAi);
            let path = base.splitn(4, '/').last().unwrap_or_default();
            let body = format!(r#"{{"messages":[{{"role":"user","content":"Hello"}}],"model":"{model}"}}"#);
            let head = format!(
                "POST /{path}/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes())?;
            let mut start = [0; 12];
            stream.read_exact(&mut start)?;
            Ok(start.ends_with(b" 200"))
        };
        ask().unwrap_or(false)
    }
}

/// What one load says about a proxy; wrong answers are noted.
fn finish(proxy: &Proxy, load: Child, results: &mut Results) -> Outcome<Value> {
    let said = load.wait_with_output().map_err(|error| format!("the load: {error}"))?;
    let said: Value = serde_json::from_slice(&said.stdout).map_err(|error| format!("the load: {error}"))?;
    if said["errors"] != 0 || said["requests"] == 0 {
        let wrong = format!("{} of {}: {}", said["errors"], said["requests"], said["error"]);
        results.wrong.push((proxy.peer, wrong));
    }
    Ok(said)
}

fn spawn(mut load: Command) -> Outcome<Child> {
    load.spawn().map_err(|error| format!("the load: {error}"))
}

fn number(said: &Value, field: &str) -> f64 {
    said[field].as_f64().unwrap_or(f64::NAN)
}

/// CPU time for each request, or for each event if it is a stream.
fn counted(rig: &Rig, proxy: &Proxy, row: Row, ask: Ask, results: &mut Results) -> Outcome {
    let before = proxy.running().cpu();
    let said = finish(proxy, spawn(rig.load(proxy, ask, rig.seconds))?, results)?;
    let per = if matches!(ask, Ask::Unary { .. }) { "requests" } else { "chunks" };
    results.add(row, proxy.peer, (proxy.running().cpu() - before) / number(&said, per) / 1e3);
    Ok(())
}

/// How much later answers come than directly, one after the other. Directly: how late.
fn added(rig: &Rig, proxies: &[Proxy], ask: Ask, rows: &[Row], results: &mut Results) -> Outcome {
    let mut direct = BTreeMap::new();
    for proxy in proxies {
        let said = finish(proxy, spawn(rig.load(proxy, ask, rig.seconds))?, results)?;
        for row in rows {
            let time = match row {
                Row::Added => number(&said, "latency_p50"),
                Row::FirstMedian => number(&said, "ttft_p50"),
                _ => number(&said, "ttft_p99"),
            } / 1e3;
            let more = time - direct.get(row).copied().unwrap_or_default();
            results.add(*row, proxy.peer, more);
            if proxy.peer == Peer::Direct {
                direct.insert(*row, time);
            }
        }
    }
    Ok(())
}

/// Many streams with an event every second: what they need, and whether one is forgotten.
fn slow(rig: &Rig, proxy: &Proxy, chunks: u64, results: &mut Results) -> Outcome {
    let ask = Ask::Stream { shape: Shape::OpenAi, connections: SLOW_STREAMS, chunks, pace_ms: 1000 };
    let before = proxy.running().memory("Pss");
    let load = spawn(rig.load(proxy, ask, 0.0))?;
    // They begin within the first second.
    sleep(Duration::from_secs(1 + chunks / 2));
    let during = proxy.running().memory("Pss");
    let said = finish(proxy, load, results)?;
    #[expect(clippy::cast_precision_loss, reason = "two thousand")]
    let each = (during - before) / SLOW_STREAMS as f64;
    results.add(Row::SlowMemory, proxy.peer, each);
    results.add(Row::SlowGap, proxy.peer, number(&said, "gap_max") / 1e3);
    Ok(())
}

/// What was measured: for each row and proxy, a value of each round.
#[derive(Default)]
struct Results {
    values: BTreeMap<(Row, Peer), Vec<f64>>,
    wrong: Vec<(Peer, String)>,
}

impl Results {
    fn add(&mut self, row: Row, peer: Peer, value: f64) {
        self.values.entry((row, peer)).or_default().push(value);
    }

    fn median(&self, row: Row, peer: Peer) -> Option<f64> {
        let mut values = self.values.get(&(row, peer))?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// Whether our figure is within a limit, and the limit in words. None if there is nothing to compare with.
    fn within(&self, row: Row, limit: Limit) -> (Option<bool>, String) {
        let of = |peer: Peer| self.median(row, peer);
        let (most, words) = match limit {
            Limit::Times(peer, times) => (of(peer).map(|it| it * times), format!("{times}x {}", peer.name())),
            Limit::Part(peer, part) => (of(peer).map(|it| it / part), format!("{}/{part}", peer.name())),
            Limit::Above(peer, more) => (of(peer).map(|it| it + more), format!("{} + {more}", peer.name())),
            Limit::Most(most) => (Some(most), most.to_string()),
            Limit::Either(most, peer, times) => {
                let most_here = of(peer).map_or(most, |it| most.max(it * times));
                (Some(most_here), format!("{most} or {times}x {}", peer.name()))
            }
        };
        let within = of(Peer::Ours).zip(most).map(|(ours, most)| ours <= most);
        let verdict = within.map_or("not judged", |within| if within { "yes" } else { "NO" });
        (within, format!("{words}: {verdict}"))
    }

    /// Prints the table; says what is missed that must not be.
    fn judge(&self) -> Outcome {
        let columns: String = Peer::ALL.iter().map(|peer| format!("{:>10}", peer.name())).collect();
        print(&format!("{:<33}{columns}   /nginx    /bare  at most: must | aim", ""));
        let mut missed = Vec::new();
        for Goal(row, what, must, aim) in GOALS {
            let shown = |value: Option<f64>, digits: usize| {
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
            };
            let digits = if matches!(row, Row::Added | Row::FirstMedian | Row::FirstP99) { 3 } else { 2 };
            let values: String = Peer::ALL
                .iter()
                .map(|&peer| format!("{:>10}", shown(self.median(row, peer), digits)))
                .collect();
            // What is added is a difference, of which a ratio says little.
            let ratio = |peer: Peer| match (self.median(row, Peer::Ours), self.median(row, peer)) {
                (Some(ours), Some(theirs)) if digits == 2 => format!("{:.2}x", ours / theirs),
                _ => "-".to_owned(),
            };
            let must = must.map(|limit| self.within(row, limit));
            if must.as_ref().is_some_and(|(within, _)| *within == Some(false)) {
                missed.push(what);
            }
            let must = must.map_or_else(|| "-".to_owned(), |(_, words)| words);
            let aim: Vec<String> = aim.iter().map(|limit| self.within(row, *limit).1).collect();
            print(&format!(
                "{what:<33}{values} {:>8} {:>8}  {must} | {}",
                ratio(Peer::Nginx),
                ratio(Peer::Bare),
                aim.join(", ")
            ));
        }
        for (peer, wrong) in &self.wrong {
            print(&format!("WRONG ANSWERS, {}: {wrong}", peer.name()));
        }
        if self.wrong.iter().any(|(peer, _)| *peer == Peer::Ours) {
            return Err("our answers are wrong".to_owned());
        }
        if missed.is_empty() { Ok(()) } else { Err(format!("a \"must\" is missed: {}", missed.join("; "))) }
    }
}
