//! The program among clients and servers that behave badly.

use std::process::Command;

use crate::run::{Outcome, build_bin, program, run};

/// Lets the program serve for so many minutes. It is the build with debug assertions, or the one that `VERTEX_CHAT` names.
pub(crate) fn run_for(minutes: &str) -> Outcome {
    let rig = build_bin("rig")?;
    let program = program(|| build_bin("vertex-chat"))?;
    run(Command::new(rig).args(["soak", minutes]).arg(program))
}
