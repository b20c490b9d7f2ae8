//! `cargo xtask ci`: all that is checked at every change but the tests, which `cargo test --workspace` runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Outcome, cargo, cargo_outside, outside_directory, root, run, say, target_directory};
use crate::{docs, tidy};

/// The crates that users depend on, each after those that it depends on.
pub(crate) const PUBLISHED: [&str; 11] = [
    "vertex-chat-types",
    "vertex-chat-sse",
    "vertex-chat-params",
    "vertex-chat-transport",
    "vertex-chat-auth",
    "vertex-chat",
    "vertex-chat-gateway",
    "vertex-chat-emulator",
    "vertex-chat-conformance",
    "vertex-chat-compare",
    "vertex-chat-cli",
];

pub(crate) fn run_all() -> Outcome {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    clippy(&["--workspace", "--all-targets"])?;
    for features in ["", "serve"] {
        // Unification hides a feature that is missing from a crate's own list.
        clippy(&["--package", "vertex-chat-transport", "--no-default-features", "--features", features])?;
    }
    tidy::run()?;
    docs::check()?;
    consumers(&["facade".to_owned()])?;
    orders()
}

/// Every warning of clippy is an error.
pub(crate) fn clippy(arguments: &[&str]) -> Outcome {
    run(cargo().arg("clippy").args(arguments).args(["--quiet", "--", "--deny", "warnings"]))
}

/// Builds and runs programs that depend on the crates as users do: from packages, outside of the workspace.
pub(crate) fn consumers(names: &[String]) -> Outcome {
    let unpacked = package()?;
    for name in names {
        let copy = outside_directory().join("consumers").join(name);
        let _ = fs::remove_dir_all(&copy);
        copy_folder(&root().join("tests/consumers").join(name), &copy)?;
        let mut manifest = read(&copy.join("Cargo.toml"))?;
        manifest.push_str("\n[patch.crates-io]\n");
        for published in PUBLISHED {
            manifest.push_str(&format!(
                "{published} = {{ path = \"{}\" }}\n",
                unpacked.join(published).display()
            ));
        }
        write(&copy.join("Cargo.toml"), &manifest)?;
        fs::copy(root().join("Cargo.lock"), copy.join("Cargo.lock")).map_err(|error| error.to_string())?;
        say(&format!("consumer {name}"));
        run(cargo_outside(&copy).args(["run", "--quiet"]))?;
    }
    Ok(())
}

/// Packages the published crates and unpacks them again; gives the folder.
fn package() -> Outcome<PathBuf> {
    let mut package = cargo();
    package.args(["package", "--no-verify", "--allow-dirty", "--quiet"]);
    for published in PUBLISHED {
        package.args(["--package", published]);
    }
    run(&mut package)?;
    let unpacked = outside_directory().join("packages");
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked).map_err(|error| error.to_string())?;
    let version = env!("CARGO_PKG_VERSION");
    for published in PUBLISHED {
        let archive = target_directory().join(format!("package/{published}-{version}.crate"));
        run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(&unpacked))?;
        let from = unpacked.join(format!("{published}-{version}"));
        fs::rename(from, unpacked.join(published)).map_err(|error| error.to_string())?;
    }
    Ok(unpacked)
}

/// Tries every order of events in the token cache.
fn orders() -> Outcome {
    run(cargo_outside(&root().join("tests/loom")).args(["test", "--quiet", "--release"]))
}

/// Runs the dependency puzzles: graphs in which other crates have switched on what is hard to live with.
pub(crate) fn puzzles() -> Outcome {
    for puzzle in names("tests/puzzles")? {
        run(cargo_outside(&root().join("tests/puzzles").join(puzzle)).args(["run", "--quiet"]))?;
    }
    Ok(())
}

/// The names of what is in a folder, without their ends, in order.
pub(crate) fn names(path: &str) -> Outcome<Vec<String>> {
    let entries = fs::read_dir(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn copy_folder(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    for entry in fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        if path.is_dir() && name != "target" {
            copy_folder(&path, &to.join(name))?;
        } else if path.is_file() && name != "Cargo.lock" {
            fs::copy(&path, to.join(name)).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
