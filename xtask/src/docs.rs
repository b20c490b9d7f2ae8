//! `cargo xtask docs`: the pages that are made from code.

use std::fs;
use std::process::Command;

use crate::run::{Outcome, build_bin, output, root, say};

const PARAMETERS: &str = "docs/parameters.md";

/// Writes them.
pub(crate) fn write() -> Outcome {
    fs::write(root().join(PARAMETERS), parameters()?).map_err(|error| format!("{PARAMETERS}: {error}"))?;
    say(&format!("wrote {PARAMETERS}"));
    Ok(())
}

/// Checks that they are what they would be if they were made now.
pub(crate) fn check() -> Outcome {
    let there =
        fs::read_to_string(root().join(PARAMETERS)).map_err(|error| format!("{PARAMETERS}: {error}"))?;
    if there == parameters()? {
        say(PARAMETERS);
        Ok(())
    } else {
        Err(format!("{PARAMETERS} is not what the table says; run `cargo xtask docs`"))
    }
}

/// The program prints its own page.
fn parameters() -> Outcome<String> {
    let mut program = Command::new(build_bin("vertex-chat")?);
    output(program.args(["params", "--markdown"])).map(|(page, _)| page)
}
