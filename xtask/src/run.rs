//! Starting programs, and saying so.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What an xtask ends with: nothing, or what went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("because xtask is in the workspace").to_owned()
}

/// Where cargo puts what it builds: the folder that `CARGO_TARGET_DIR` names, else `target`.
pub(crate) fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        // Seen from where the command was given; cargo itself starts in other folders.
        Some(folder) => std::path::absolute(&folder).unwrap_or_else(|_| folder.into()),
        None => root().join("target"),
    }
}

/// Where what is outside of the workspace is built: consumers, puzzles, fuzz targets, benchmarks. It is one folder, so that
/// the C code is compiled once for all of them.
pub(crate) fn outside_directory() -> PathBuf {
    target_directory().join("outside")
}

/// Builds a program of the workspace with the features that it has among all the others; gives its path. Alone it would have
/// other features, and most crates would be built twice.
pub(crate) fn build_bin(name: &str) -> Outcome<PathBuf> {
    run(cargo().args(["build", "--quiet", "--workspace", "--bin", name]))?;
    Ok(target_directory().join("debug").join(name))
}

/// The program `vertex-chat`: the one that `VERTEX_CHAT` names, else the one that is built here.
pub(crate) fn program(build: impl FnOnce() -> Outcome<PathBuf>) -> Outcome<PathBuf> {
    std::env::var_os("VERTEX_CHAT").map_or_else(build, |it| Ok(it.into()))
}

/// Builds the program as `cargo build --release` does; gives its path.
pub(crate) fn build_release() -> Outcome<PathBuf> {
    run(cargo().args(["build", "--quiet", "--release", "--package", "vertex-chat-cli"]))?;
    Ok(target_directory().join("release/vertex-chat"))
}

/// Prints a line for a person.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a line of a result.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// The cargo that runs this.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).env("CARGO_TARGET_DIR", target_directory());
    cargo
}

/// The cargo that runs this, for a project outside of the workspace.
pub(crate) fn cargo_outside(folder: &Path) -> Command {
    let mut cargo = cargo();
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", outside_directory());
    cargo
}

/// Runs a program to its end, its output and the seconds that it took shown.
pub(crate) fn run(command: &mut Command) -> Outcome {
    say(&format!("$ {}", shown(command)));
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    say(&format!("  {:.1} s", start.elapsed().as_secs_f64()));
    if status.success() { Ok(()) } else { Err(format!("{} ended with {status}", shown(command))) }
}

/// Runs a program to its end and gives what it printed, on stdout and on stderr.
pub(crate) fn output(command: &mut Command) -> Outcome<(String, String)> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("{}: {error}", shown(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        Ok((stdout, stderr))
    } else {
        Err(format!("{} ended with {}:\n{stdout}{stderr}", shown(command), output.status))
    }
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
