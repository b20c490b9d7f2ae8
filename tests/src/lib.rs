//! What the end-to-end tests share: where their data is, what happens when it is not there, servers that misbehave.

/// The README, whose programs are compiled and run as documentation of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

pub mod behaviours;
pub mod certificates;
pub mod entries;
pub mod gateway;
pub mod hostile;
pub mod hostile_bench;
pub mod log;
pub mod process;
pub mod replay;
pub mod runs;
pub mod schema;
pub mod soak;
pub mod tunnel;
pub mod upstream;

use std::io::Write;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// When this is set, a test whose data or tool is absent fails; otherwise it says so and passes.
pub const REQUIRED: &str = "VERTEX_CHAT_TESTS_REQUIRED";
/// Where the recorded traffic and the vectors are; by default the folder `shared` beside the checkout.
pub const SHARED: &str = "VERTEX_CHAT_SHARED";

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above").to_owned()
}

/// Says that something is not there: loudly, or by failing. xtask's own test, which runs last, says how many tests did so.
///
/// # Panics
/// When [`REQUIRED`] is set.
pub fn absent(what: &str, remedy: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{what} is absent and {REQUIRED} is set; {remedy}");
    note_skipped();
    // Past the capture of test output, so that it is seen.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what} is absent; {remedy}");
}

/// Writes the name of the test that runs into the list of those that were skipped. The list is that of one run: its name has
/// the number of the process that started the tests, which is cargo.
#[cfg(unix)]
fn note_skipped() {
    let list =
        std::env::temp_dir().join(format!("vertex-chat-skipped-{}", std::os::unix::process::parent_id()));
    let mut options = std::fs::OpenOptions::new();
    if let Ok(mut list) = options.create(true).append(true).open(list) {
        let _ = writeln!(list, "{}", std::thread::current().name().unwrap_or("a test"));
    }
}

#[cfg(not(unix))]
fn note_skipped() {}

/// A file or folder of the recorded traffic; `None`, and a word about it, when it is not there.
#[must_use]
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(SHARED).map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = folder.join(path);
    if path.exists() {
        return Some(path);
    }
    absent(&path.display().to_string(), "it is data beside the checkout, see docs/ARCHITECTURE.md");
    None
}

/// A JSON file of the recorded traffic.
///
/// # Panics
/// When the file is there and is not JSON.
#[must_use]
pub fn shared_json(path: &str) -> Option<Value> {
    let text = std::fs::read(shared(path)?).expect("the file can be read");
    Some(serde_json::from_slice(&text).expect("the file is JSON"))
}

/// A program that `cargo xtask setup` installs.
#[must_use]
pub fn tool(path: &str) -> Option<PathBuf> {
    let path = root().join(".setup").join(path);
    if path.exists() {
        return Some(path);
    }
    absent(&path.display().to_string(), "run `cargo xtask setup`");
    None
}

/// The program `vertex-chat`, built beside this test.
///
/// # Panics
/// When cargo cannot build it.
#[must_use]
pub fn program() -> PathBuf {
    use std::sync::OnceLock;
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| built("--bin", "vertex-chat")).clone()
}

/// A program of the workspace: `kind` is `--bin` or `--example`. `cargo test` does not build all of them.
///
/// # Panics
/// When cargo cannot build it.
#[must_use]
pub fn built(kind: &str, name: &str) -> PathBuf {
    let mut build = std::process::Command::new(env!("CARGO"));
    // As parts of the workspace, since alone they would have other features, and with those most crates are built again.
    build.args([
        "build",
        "--quiet",
        "--workspace",
        kind,
        name,
        "--message-format",
        "json-render-diagnostics",
    ]);
    let output =
        build.current_dir(root()).stderr(std::process::Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "{name} builds");
    let said = String::from_utf8(output.stdout).expect("cargo writes JSON");
    let artifacts = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("cargo writes JSON"));
    let is_it = |it: &Value| it["target"]["name"] == name && it["executable"].is_string();
    let artifact = artifacts.into_iter().find(is_it).expect("cargo names the program");
    artifact["executable"].as_str().expect("a path").into()
}

/// Bytes from base64.
///
/// # Panics
/// When it is not base64.
#[must_use]
pub fn base64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).expect("base64")
}

/// Bytes from base64 for URLs, padded or not.
///
/// # Panics
/// When it is not base64.
#[must_use]
pub fn base64_url(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).expect("base64")
}

/// A throw-away RSA key of the vectors as PEM: `sa_pkcs8` or `sa_pkcs1`.
///
/// # Panics
/// When the file is there and cannot be read.
#[must_use]
pub fn vector_key_pem(name: &str) -> Option<String> {
    let base64 =
        std::fs::read_to_string(shared(&format!("vectors/auth/keys/{name}.der.b64"))?).expect("the key");
    let label = if name.contains("pkcs1") { "RSA PRIVATE KEY" } else { "PRIVATE KEY" };
    let base64: String = base64.split_whitespace().collect();
    let lines: Vec<_> =
        base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    Some(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
}

/// Whether two JSON values are the same but for nulls that became absent, and numbers by value.
#[must_use]
pub fn same_json(before: &Value, after: &Value) -> bool {
    difference(before, after, "").is_none()
}

/// The first place where [`same_json`] is not so.
#[must_use]
pub fn difference(before: &Value, after: &Value, path: &str) -> Option<String> {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}.{key}");
                match after.get(key) {
                    Some(other) => {
                        if let Some(found) = difference(value, other, &path) {
                            return Some(found);
                        }
                    }
                    None if value.is_null() => {}
                    None => return Some(format!("{path} is lost")),
                }
            }
            after.keys().find(|key| !before.contains_key(*key)).map(|key| format!("{path}.{key} is new"))
        }
        (Value::Array(before), Value::Array(after)) => {
            if before.len() != after.len() {
                return Some(format!("{path} has another length"));
            }
            let mut items = before.iter().zip(after).enumerate();
            items.find_map(|(i, (one, other))| difference(one, other, &format!("{path}[{i}]")))
        }
        (Value::Number(before), Value::Number(after)) => {
            let same = before == after || before.as_f64() == after.as_f64();
            (!same).then(|| format!("{path}: {before} became {after}"))
        }
        _ => (before != after).then(|| format!("{path} changed")),
    }
}

/// Prints a line for a person.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
