//! The program among clients and servers that behave badly.

use crate::run::{Outcome, cargo, run, target_directory};

/// Lets the program serve for so many minutes. It is the build with debug assertions, or the one that `VERTEX_CHAT` names.
pub(crate) fn run_for(minutes: &str) -> Outcome {
    let program = match std::env::var_os("VERTEX_CHAT") {
        Some(program) => program,
        None => {
            run(cargo().args(["build", "--package", "vertex-chat-cli"]))?;
            target_directory().join("debug/vertex-chat").into_os_string()
        }
    };
    let rig = ["run", "--quiet", "--package", "vertex-chat-tests", "--bin", "rig", "--", "soak", minutes];
    run(cargo().args(rig).arg(program))
}
