//! `cargo xtask conformance`: the suite, by the program.

use std::process::ExitCode;

use crate::run::{cargo, say};

/// Runs the program with these arguments; it ends as the program does.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let mut program = cargo();
    program.args(["run", "--quiet", "--package", "vertex-chat-cli", "--", "conformance"]).args(arguments);
    // Files are named as seen from where the command was given.
    if let Ok(folder) = std::env::current_dir() {
        program.current_dir(folder);
    }
    match program.status() {
        Ok(status) => ExitCode::from(status.code().and_then(|it| u8::try_from(it).ok()).unwrap_or(1)),
        Err(error) => {
            say(&format!("xtask: cargo: {error}"));
            ExitCode::FAILURE
        }
    }
}
