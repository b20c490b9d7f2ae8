//! `cargo xtask bench client`: what a streamed chunk and a whole call cost, side by side with async-openai.
//! `cargo xtask bench types`: what reading and writing a byte costs, side by side with derived structs.
//!
//! Instructions are counted by valgrind's callgrind, allocations by its memcheck; the cost of one chunk is the difference
//! of two runs of different length, so that start-up cancels out. Time is not measured: on a shared machine it says
//! nothing. All programs talk to the same server on loopback, over plain HTTP/1.1 and one connection.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::run::{
    Outcome, build_release, cargo, cargo_outside, has, output, outside_directory, print, program, root, run,
    target_directory,
};

/// Runs differ by this many chunks.
const CHUNKS: (u64, u64) = (1024, 5120);
/// Runs differ by this many calls.
const CALLS: (u64, u64) = (50, 250);
const EVENTS_PER_READ: [u64; 3] = [1, 16, 128];

/// A row of the table: what is measured, and what our share of async-openai's cost must be and should be.
struct Goal {
    what: String,
    mode: &'static str,
    per_read: u64,
    must: Option<f64>,
    aim: Option<f64>,
}

pub(crate) fn client() -> Outcome {
    if !has("valgrind") {
        return Err("valgrind is not there; run `cargo xtask setup`".to_owned());
    }
    let peers = root().join("xtask/peers");
    run(cargo_outside(&peers).args(["build", "--release", "--quiet"]))?;
    let folder = outside_directory().join("release");
    let programs = Programs { server: Server::start(&folder)?, folder };

    let mut goals: Vec<Goal> = EVENTS_PER_READ
        .iter()
        .map(|&per_read| {
            let (must, aim) = match per_read {
                1 => (Some(0.65), Some(0.55)),
                128 => (Some(0.25), Some(0.2)),
                _ => (None, None),
            };
            Goal {
                what: format!("per chunk, {per_read} event(s) a read"),
                mode: "stream",
                per_read,
                must,
                aim,
            }
        })
        .collect();
    goals.push(Goal {
        what: "per whole call".to_owned(),
        mode: "unary",
        per_read: 1,
        must: Some(0.75),
        aim: Some(0.7),
    });

    print("instructions                     vertex-chat  async-openai   hyper floor   share   must    aim");
    let mut missed = Vec::new();
    for goal in &goals {
        let ours = programs.instructions("ours", goal)?;
        let theirs = programs.instructions("async-openai", goal)?;
        let floor = programs.instructions("floor", goal)?;
        let share = ours / theirs;
        let shown =
            |limit: Option<f64>| limit.map_or_else(|| "     ".to_owned(), |limit| format!("{limit:.2}x"));
        print(&format!(
            "{:<32} {ours:>11.0} {theirs:>13.0} {floor:>13.0}  {share:.3}x  {}  {}",
            goal.what,
            shown(goal.must),
            shown(goal.aim)
        ));
        if goal.must.is_some_and(|must| share > must) {
            missed.push(goal.what.clone());
        }
    }
    print("\nallocations");
    for (what, mode) in [("per chunk, 16 event(s) a read", "stream"), ("per whole call", "unary")] {
        let ours = programs.allocations("ours", mode)?;
        let theirs = programs.allocations("async-openai", mode)?;
        let floor = programs.allocations("floor", mode)?;
        print(&format!("{what:<32} {ours:>11.1} {theirs:>13.1} {floor:>13.1}  {:.3}x", ours / theirs));
    }
    print("\nvertex-chat keeps the field of each chunk that nobody has a name for; the others drop it.");
    if missed.is_empty() { Ok(()) } else { Err(format!("a \"must\" is missed: {}", missed.join(", "))) }
}

/// Runs differ by this many bodies.
const BODIES: (u64, u64) = (200, 1000);
/// What reading and writing must cost at most, and should, of what derived structs cost.
const TYPES_MUST: f64 = 1.35;
const TYPES_AIM: f64 = 1.2;

pub(crate) fn types() -> Outcome {
    if !has("valgrind") {
        return Err("valgrind is not there; run `cargo xtask setup`".to_owned());
    }
    let peers = root().join("xtask/peers");
    run(cargo_outside(&peers).args(["build", "--release", "--quiet", "--package", "bench-types"]))?;
    let program = outside_directory().join("release/bench-types");
    let cost = |whose: &str, what: &str, body: &str| -> Outcome<(f64, f64)> {
        let run = |count: u64| -> Outcome<(f64, f64)> {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(&program);
            let (said, counted) = output(command.args([whose, what, body, &count.to_string()]))?;
            let bytes = said.split(' ').next().and_then(|it| it.parse().ok());
            Ok((
                bytes.ok_or("the program did not say how long the body is")?,
                number_after(&counted, "Collected : ")?,
            ))
        };
        let ((bytes, few), (_, many)) = (run(BODIES.0)?, run(BODIES.1)?);
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let difference = (BODIES.1 - BODIES.0) as f64;
        Ok((bytes, (many - few) / difference))
    };

    print("instructions per byte      vertex-chat-types   derived structs   share   must    aim");
    let mut missed = Vec::new();
    for what in ["read", "write"] {
        let (mut all_ours, mut all_derived) = (0.0, 0.0);
        for body in ["request", "completion", "chunk", "chunk_of_calls"] {
            let (bytes, ours) = cost("ours", what, body)?;
            let (_, derived) = cost("derived", what, body)?;
            let (ours, derived) = (ours / bytes, derived / bytes);
            print(&format!(
                "{:<26} {ours:>17.2} {derived:>17.2}  {:.3}x",
                format!("{what} {body}"),
                ours / derived
            ));
            all_ours += ours;
            all_derived += derived;
        }
        let share = all_ours / all_derived;
        print(&format!(
            "{:<26} {all_ours:>17.2} {all_derived:>17.2}  {share:.3}x  {TYPES_MUST:.2}x  {TYPES_AIM:.2}x",
            format!("{what}, together")
        ));
        if share > TYPES_MUST {
            missed.push(what);
        }
    }
    print("\nvertex-chat-types keeps every field; derived structs drop those that nobody has a name for.");
    if missed.is_empty() { Ok(()) } else { Err(format!("a \"must\" is missed: {}", missed.join(", "))) }
}

/// Runs differ by this many calls.
const TOKENS: (u64, u64) = (1000, 11_000);
/// What a token at hand may cost at most, of what it costs gcloud-auth.
const TOKENS_MUST: f64 = 0.5;

pub(crate) fn tokens() -> Outcome {
    if !has("valgrind") {
        return Err("valgrind is not there; run `cargo xtask setup`".to_owned());
    }
    let peers = root().join("xtask/peers");
    run(cargo_outside(&peers).args(["build", "--release", "--quiet", "--package", "bench-tokens"]))?;
    let program = outside_directory().join("release/bench-tokens");
    let cost = |tool: &[&str], label: &str, whose: &str| -> Outcome<f64> {
        let run = |count: u64| -> Outcome<f64> {
            let mut command = Command::new("valgrind");
            let (_, said) = output(command.args(tool).arg(&program).args([whose, &count.to_string()]))?;
            number_after(&said, label)
        };
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let difference = (TOKENS.1 - TOKENS.0) as f64;
        Ok((run(TOKENS.1)? - run(TOKENS.0)?) / difference)
    };
    // Only what is inside of `measured_…` counts: the key is made afresh in every run, which costs now this and now that.
    let instructions = |whose: &str| -> Outcome<f64> {
        let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured*"];
        cost(&tool, "Collected : ", whose)
    };
    let (ours, theirs) = (instructions("ours")?, instructions("gcloud-auth")?);
    let allocations = |whose: &str| cost(&["--leak-check=no"], "total heap usage: ", whose);
    let (own, other) = (allocations("ours")?, allocations("gcloud-auth")?);
    print("a token at hand        vertex-chat-auth   gcloud-auth   share   must");
    print(&format!(
        "instructions           {ours:>16.0} {theirs:>13.0}  {:.3}x  {TOKENS_MUST:.2}x",
        ours / theirs
    ));
    print(&format!("allocations            {own:>16.2} {other:>13.2}           0"));
    if ours / theirs > TOKENS_MUST || own > 0.05 {
        return Err("a \"must\" is missed".to_owned());
    }
    Ok(())
}

struct Programs {
    folder: PathBuf,
    server: Server,
}

impl Programs {
    fn command(&self, tool: &[&str], program: &str, mode: &str, count: u64, per_read: u64) -> Command {
        let mut command = Command::new("valgrind");
        command.args(tool).arg(self.folder.join(format!("bench-{program}"))).args([
            mode,
            &self.server.port,
            &count.to_string(),
            &per_read.to_string(),
        ]);
        command
    }

    fn instructions(&self, program: &str, goal: &Goal) -> Outcome<f64> {
        let tool = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
        self.difference(goal.mode, |count| {
            let (_, said) = output(&mut self.command(&tool, program, goal.mode, count, goal.per_read))?;
            number_after(&said, "Collected : ")
        })
    }

    fn allocations(&self, program: &str, mode: &str) -> Outcome<f64> {
        self.difference(mode, |count| {
            let (_, said) = output(&mut self.command(&["--leak-check=no"], program, mode, count, 16))?;
            number_after(&said, "total heap usage: ")
        })
    }

    /// The cost of one, from what few and what many cost.
    fn difference(&self, mode: &str, cost: impl Fn(u64) -> Outcome<f64>) -> Outcome<f64> {
        let (few, many) = if mode == "stream" { CHUNKS } else { CALLS };
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let difference = (many - few) as f64;
        Ok((cost(many)? - cost(few)?) / difference)
    }
}

fn number_after(text: &str, label: &str) -> Outcome<f64> {
    let rest = text
        .split_once(label)
        .map(|(_, rest)| rest)
        .ok_or_else(|| format!("valgrind did not say `{label}`"))?;
    let digits: String =
        rest.chars().take_while(|it| it.is_ascii_digit() || *it == ',').filter(|it| *it != ',').collect();
    digits.parse().map_err(|_| format!("valgrind said no number after `{label}`"))
}

/// The server that all programs talk to.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(folder: &std::path::Path) -> Outcome<Self> {
        let program = folder.join("bench-server");
        let mut child = Command::new(program)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("bench-server: {error}"))?;
        let mut port = String::new();
        let stdout = child.stdout.take().expect("because it is piped");
        BufReader::new(stdout).read_line(&mut port).map_err(|error| format!("bench-server: {error}"))?;
        Ok(Self { child, port: port.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What hostile bodies cost the gateway. The program is the release build, or the one that `VERTEX_CHAT` names.
pub(crate) fn hostile() -> Outcome {
    let program = program(build_release)?;
    run(cargo().args(["build", "--release", "--quiet", "--package", "vertex-chat-tests", "--bin", "rig"]))?;
    run(Command::new(target_directory().join("release/rig")).arg("hostile").arg(program))
}
