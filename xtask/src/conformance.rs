//! `cargo xtask conformance`: the suite, by the program.

use std::process::{Command, ExitCode};

use crate::run::{build_bin, program, say};

/// Runs the program with these arguments; it ends as the program does.
pub(crate) fn run(arguments: &[&str]) -> ExitCode {
    let status = program(|| build_bin("vertex-chat")).and_then(|program| {
        let mut command = Command::new(&program);
        command.arg("conformance").args(arguments);
        command.status().map_err(|error| format!("{}: {error}", program.display()))
    });
    match status {
        Ok(status) => ExitCode::from(status.code().and_then(|it| u8::try_from(it).ok()).unwrap_or(1)),
        Err(error) => {
            say(&format!("xtask: {error}"));
            ExitCode::FAILURE
        }
    }
}
