//! `cargo xtask nightly`: what takes too long for every change.
//!
//! A step that fails does not keep the others from running; what could not run for want of a tool is listed at the end.

use std::process::Command;
use std::time::Instant;

use crate::run::{Outcome, build_bin, cargo, cargo_outside, has, output, outside_directory, root, run, say};
use crate::{bench, ci, clients, dist};

/// Seconds that each fuzz target runs: enough to find a target that does not start or fails at once.
const FUZZ_SECONDS: u64 = 10;
const SOAK_MINUTES: &str = "5";
/// Edges of the control flow are counted, so that libFuzzer knows which inputs reach something new. Without a sanitizer, whose
/// libraries the stable compiler has not.
const FUZZ_FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Clink-arg=-no-pie \
    -Crelocation-model=static";

/// What became of a step.
enum Ended {
    Well,
    /// Why it did not run.
    Skipped(String),
}

/// A step: its name, and what does it.
type Step = (&'static str, fn() -> Outcome<Ended>);

const STEPS: [Step; 10] = [
    ("clippy and rustdoc in every combination of features", combinations),
    ("programs that depend on the crates", dependants),
    ("long tests", long_tests),
    ("conformance: mutants", mutants),
    ("fuzz targets", fuzz),
    ("clients", all_clients),
    ("the folder deploy", manifests),
    ("the program of a release", release),
    ("soak", soak),
    ("benchmarks start", benchmarks),
];

pub(crate) fn run_all() -> Outcome {
    let mut failed = Vec::new();
    let mut skipped = Vec::new();
    for (name, step) in STEPS {
        say(&format!("== {name}"));
        let start = Instant::now();
        match step() {
            Ok(Ended::Well) => {}
            Ok(Ended::Skipped(why)) => skipped.push(format!("{name}: {why}")),
            Err(error) => {
                say(&format!("FAILED: {error}"));
                failed.push(format!("{name}: {error}"));
            }
        }
        say(&format!("== {name}: {:.0} s", start.elapsed().as_secs_f64()));
    }
    for what in &skipped {
        say(&format!("SKIPPED: {what}"));
    }
    say(&format!("{} steps, {} failed, {} skipped", STEPS.len(), failed.len(), skipped.len()));
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join("; "))) }
}

fn combinations() -> Outcome<Ended> {
    for features in ["client", "serve-tls"] {
        ci::clippy(&["--package", "vertex-chat-transport", "--no-default-features", "--features", features])?;
    }
    for features in ["", "schemars"] {
        ci::clippy(&["--package", "vertex-chat", "--package", "vertex-chat-types", "--features", features])?;
    }
    for features in ["otlp", "jemalloc"] {
        ci::clippy(&["--package", "vertex-chat-cli", "--features", features])?;
    }
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"]);
    run(doc.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links"))?;
    Ok(Ended::Well)
}

fn dependants() -> Outcome<Ended> {
    ci::consumers(&ci::names("tests/consumers")?)?;
    ci::puzzles()?;
    Ok(Ended::Well)
}

/// The tests that are marked with `#[ignore]`: each says why it is long.
fn long_tests() -> Outcome<Ended> {
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--lib", "--bins", "--tests", "--", "--ignored"]);
    run(tests.env("VERTEX_CHAT_TESTS_REQUIRED", "1"))?;
    Ok(Ended::Well)
}

fn mutants() -> Outcome<Ended> {
    run(Command::new(build_bin("vertex-chat")?).args(["conformance", "--mutants"]))?;
    Ok(Ended::Well)
}

fn all_clients() -> Outcome<Ended> {
    if !has("npm") {
        return Ok(Ended::Skipped("there is no npm".to_owned()));
    }
    clients::run(&[])?;
    Ok(Ended::Well)
}

fn manifests() -> Outcome<Ended> {
    clients::run(&["--manifests"])?;
    Ok(Ended::Well)
}

/// Every fuzz target for a few seconds, built by the installed compiler.
fn fuzz() -> Outcome<Ended> {
    if !has("c++") {
        return Ok(Ended::Skipped("libFuzzer needs a C++ compiler, and there is no c++".to_owned()));
    }
    let (folder, host) = (root().join("tests/fuzz"), host()?);
    let mut build = cargo_outside(&folder);
    // The compiler counts edges for those who say that they know the interface to be unstable.
    build.args(["build", "--quiet", "--release", "--bins", "--target", &host]);
    run(build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FUZZ_FLAGS))?;
    let programs = outside_directory().join(host).join("release");
    for target in ci::names("tests/fuzz/fuzz_targets")? {
        let corpus = outside_directory().join("corpus").join(&target);
        std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        let mut fuzz = Command::new(programs.join(&target));
        fuzz.arg(corpus).arg(format!("-dict={}", folder.join("words.dict").display()));
        fuzz.arg(format!("-max_total_time={FUZZ_SECONDS}")).args(["-timeout=10", "-verbosity=0"]);
        fuzz.arg(format!("-artifact_prefix={}/", outside_directory().display()));
        run(&mut fuzz)?;
    }
    Ok(Ended::Well)
}

/// The triple of this machine.
fn host() -> Outcome<String> {
    let (said, _) = output(Command::new("rustc").arg("-vV"))?;
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc does not name its host".to_owned())
}

fn release() -> Outcome<Ended> {
    dist::build()?;
    Ok(Ended::Well)
}

/// The program of a release among clients and servers that behave badly.
fn soak() -> Outcome<Ended> {
    let rig = build_bin("rig")?;
    run(Command::new(rig).args(["soak", SOAK_MINUTES]).arg(dist::build()?))?;
    Ok(Ended::Well)
}

/// The benchmarks build and run, on one short round; whether their goals are met is for a quiet machine to say.
fn benchmarks() -> Outcome<Ended> {
    if !has("valgrind") {
        return Ok(Ended::Skipped("there is no valgrind; run `cargo xtask setup`".to_owned()));
    }
    bench::tokens()?;
    Ok(Ended::Well)
}
