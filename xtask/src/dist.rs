//! `cargo xtask dist`: the program as it is given to others, small, fast, and without a path of the machine that built it.

use std::path::PathBuf;
use std::process::Command;

use crate::run::{Outcome, cargo, output, print, root, run, target_directory};

/// The program must not be larger, in bytes.
const BYTES_MAX: usize = 18 << 20;

/// Builds and checks it; gives its path.
pub(crate) fn build() -> Outcome<PathBuf> {
    let places = places()?;
    // Panic messages have paths of the source. The reader of a message does not have the folders of this machine.
    let rust: Vec<String> =
        places.iter().map(|(path, name)| format!("--remap-path-prefix={path}={name}")).collect();
    let c: Vec<String> =
        places.iter().map(|(path, name)| format!("-ffile-prefix-map={path}={name}")).collect();
    let target = target_directory().join("dist-build");
    let mut build = cargo();
    build.args(["build", "--quiet", "--locked", "--profile", "dist", "--package", "vertex-chat-cli"]);
    build.args(["--features", "jemalloc"]);
    // Apart from other builds, because other flags make other crates.
    build.env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
    build.env("CARGO_ENCODED_RUSTFLAGS", rust.join("\u{1f}")).env("CFLAGS", c.join(" "));
    run(&mut build)?;
    let program = target.join("dist/vertex-chat");
    let bytes = std::fs::read(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    for (path, _) in &places {
        if memory_has(&bytes, path.as_bytes()) {
            return Err(format!("{} has the path {path} in it", program.display()));
        }
    }
    print(&format!("{} {} bytes", program.display(), bytes.len()));
    if bytes.len() > BYTES_MAX {
        return Err(format!("the program has more than {BYTES_MAX} bytes"));
    }
    Ok(program)
}

/// The folders whose paths compilers write into programs, and the text that they write instead. Of two folders that match, the
/// compilers take the last.
fn places() -> Outcome<Vec<(String, String)>> {
    let home = |variable: &str, folder: &str| {
        let in_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(folder));
        std::env::var_os(variable).map(PathBuf::from).or_else(in_home)
    };
    let (sysroot, _) = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let all = [
        (home("RUSTUP_HOME", ".rustup"), "/rustup"),
        (Some(sysroot.trim().into()), "/rust"),
        (home("CARGO_HOME", ".cargo"), "/cargo"),
        (Some(root()), "/vertex-chat"),
        (Some(target_directory()), "/target"),
    ];
    let path = |(path, name): (Option<PathBuf>, &str)| Some((path?.to_str()?.to_owned(), name.to_owned()));
    Ok(all.into_iter().filter_map(path).collect())
}

fn memory_has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|it| it == wanted)
}
