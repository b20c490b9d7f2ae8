//! What `cargo xtask bench hostile` and `cargo xtask soak` start: a program under test, and what is around it.

use std::path::PathBuf;
use std::process::ExitCode;

use vertex_chat_tests::{hostile_bench, soak};

const USAGE: &str = "rig hostile PROGRAM | rig soak MINUTES PROGRAM";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let result = match words.as_slice() {
        ["hostile", program] => runtime.block_on(hostile_bench::run(PathBuf::from(program))),
        ["soak", minutes, program] => match minutes.parse() {
            Ok(minutes) => runtime.block_on(soak::run(PathBuf::from(program), minutes)),
            Err(_) => Err(format!("{minutes} is no number of minutes; {USAGE}")),
        },
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            vertex_chat_tests::say(&message);
            ExitCode::FAILURE
        }
    }
}
