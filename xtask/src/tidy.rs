//! `cargo xtask tidy`: what a reviewer would look for in every change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Outcome, cargo, output, root, say};

/// Which crate of ours may depend on which. A new arrow is a decision page.
const ARROWS: [(&str, &[&str]); 12] = [
    ("vertex-chat-types", &[]),
    ("vertex-chat-sse", &[]),
    ("vertex-chat-transport", &[]),
    ("vertex-chat-params", &["vertex-chat-types"]),
    ("vertex-chat-auth", &["vertex-chat-transport"]),
    (
        "vertex-chat",
        &[
            "vertex-chat-params",
            "vertex-chat-auth",
            "vertex-chat-transport",
            "vertex-chat-sse",
            "vertex-chat-types",
        ],
    ),
    // A judge shares no code with whom it judges.
    ("vertex-chat-emulator", &["vertex-chat-types", "vertex-chat-sse", "vertex-chat-transport"]),
    (
        "vertex-chat-gateway",
        &["vertex-chat", "vertex-chat-transport", "vertex-chat-sse", "vertex-chat-types"],
    ),
    // Speaks the wire as the rules are written, never through the client.
    ("vertex-chat-conformance", &["vertex-chat-sse", "vertex-chat-transport"]),
    // Asks as every user of the client does.
    ("vertex-chat-compare", &["vertex-chat"]),
    (
        "vertex-chat-cli",
        &[
            "vertex-chat",
            "vertex-chat-gateway",
            "vertex-chat-emulator",
            "vertex-chat-conformance",
            "vertex-chat-compare",
        ],
    ),
    ("xtask", &[]),
];

/// The most crates in a tree, itself and ours included.
const CRATES_MAX: [(&str, usize); 4] =
    [("vertex-chat-types", 13), ("vertex-chat-sse", 2), ("vertex-chat-params", 14), ("vertex-chat", 85)];

/// Crates that must not be in a tree.
const NEVER: [(&str, &[&str]); 3] = [
    ("vertex-chat-params", &["http", "hyper", "tokio"]),
    ("vertex-chat-auth", &["hyper", "rustls"]),
    ("vertex-chat", &["ring", "openssl-sys", "native-tls", "rsa"]),
];

/// Crates that are to work wherever Rust does, a browser included.
const ANYWHERE: [&str; 3] = ["vertex-chat-types", "vertex-chat-sse", "vertex-chat-params"];
/// What is bound to a platform: crates that must not be in their trees, modules that must not be in their sources.
const PLATFORM_CRATES: [&str; 8] =
    ["libc", "tokio", "mio", "socket2", "getrandom", "windows-sys", "wasm-bindgen", "web-time"];
const PLATFORM_MODULES: [&str; 7] =
    ["std::net", "std::fs", "std::env", "std::process", "std::thread", "std::time::Instant", "SystemTime"];

pub(crate) fn run() -> Outcome {
    let metadata = metadata()?;
    let mut faults = Vec::new();
    arrows(&metadata, &mut faults);
    rust_versions(&metadata, &mut faults);
    trees(&mut faults)?;
    anywhere(&mut faults)?;
    sources(&mut faults)?;
    documents(&metadata, &mut faults)?;
    if faults.is_empty() {
        say("tidy");
        Ok(())
    } else {
        Err(format!("not tidy:\n  {}", faults.join("\n  ")))
    }
}

fn metadata() -> Outcome<Value> {
    let arguments = ["metadata", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let (text, _) = output(cargo().args(arguments))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(&metadata["packages"]).filter(|package| package["source"].is_null())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn arrows(metadata: &Value, faults: &mut Vec<String>) {
    let ours: BTreeSet<&str> = members(metadata).map(|package| text(package, "name")).collect();
    for package in members(metadata) {
        let name = text(package, "name");
        if name == "vertex-chat-tests" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            faults.push(format!("crate {name} is not in the table of arrows"));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let to = text(dependency, "name");
            if ours.contains(to) && dependency["kind"].is_null() && !allowed.contains(&to) {
                faults.push(format!("a new arrow: {name} -> {to}"));
            }
            // Auth knows the traits, not what is behind them.
            let with_features =
                list(&dependency["features"]).next().is_some() || dependency["uses_default_features"] == true;
            if name == "vertex-chat-auth"
                && to == "vertex-chat-transport"
                && dependency["kind"].is_null()
                && with_features
            {
                faults.push("vertex-chat-auth wants more of the transport than its traits".to_owned());
            }
        }
    }
}

/// No dependency wants a newer compiler than the crate that depends on it states.
fn rust_versions(metadata: &Value, faults: &mut Vec<String>) {
    let version = |text: &str| -> (u32, u32) {
        let mut parts = text.split('.').filter_map(|part| part.parse().ok());
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    };
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).map(|it| (text(it, "id"), it)).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).map(|it| (text(it, "id"), it)).collect();
    for member in members(metadata) {
        let stated = version(text(member, "rust_version"));
        let mut seen = BTreeSet::new();
        let mut open = vec![text(member, "id")];
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let wanted = packages.get(id).map_or((0, 0), |package| version(text(package, "rust_version")));
            if wanted > stated {
                let name = packages.get(id).map_or(id, |package| text(package, "name"));
                faults.push(format!(
                    "{} states Rust {}.{}, {name} wants {}.{}",
                    text(member, "name"),
                    stated.0,
                    stated.1,
                    wanted.0,
                    wanted.1
                ));
            }
            for dependency in nodes.get(id).into_iter().flat_map(|node| list(&node["deps"])) {
                if list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()) {
                    open.push(text(dependency, "pkg"));
                }
            }
        }
    }
}

fn trees(faults: &mut Vec<String>) -> Outcome {
    for (package, most) in CRATES_MAX {
        let count = tree(package)?.len();
        say(&format!("{package}: {count} crates, at most {most}"));
        if count > most {
            faults.push(format!("{package} has {count} crates in its tree, at most {most} are allowed"));
        }
    }
    for (package, never) in NEVER {
        let tree = tree(package)?;
        for name in never {
            if tree.iter().any(|line| line.split(' ').next() == Some(name)) {
                faults.push(format!("{package} has {name} in its tree"));
            }
        }
    }
    Ok(())
}

/// Nothing platform-bound is in the crates that are to work anywhere, nor in what they depend on there.
fn anywhere(faults: &mut Vec<String>) -> Outcome {
    for package in ANYWHERE {
        let tree = tree_for(package, &["--target", "wasm32-unknown-unknown", "--all-features"])?;
        for name in PLATFORM_CRATES {
            if tree.iter().any(|line| line.split(' ').next() == Some(name)) {
                faults.push(format!("{package} has {name} in its tree, which is not for every platform"));
            }
        }
        for path in files(&root().join(format!("crates/{package}/src")), "rs")? {
            let source = read(&path)?;
            for module in PLATFORM_MODULES.iter().filter(|it| source.contains(*it)) {
                faults.push(format!("{} has {module}, which is not on every platform", path.display()));
            }
        }
    }
    Ok(())
}

/// The distinct packages of a tree.
fn tree(package: &str) -> Outcome<BTreeSet<String>> {
    tree_for(package, &[])
}

fn tree_for(package: &str, arguments: &[&str]) -> Outcome<BTreeSet<String>> {
    let (text, _) = output(
        cargo().args(["tree", "--edges", "normal", "--prefix", "none", "--package", package]).args(arguments),
    )?;
    let name = |line: &str| line.replace(" (*)", "").replace(" (proc-macro)", "").trim().to_owned();
    Ok(text.lines().map(name).filter(|line| !line.is_empty()).collect())
}

/// Every file of ours says in its first line what it is, and no line ends in blanks.
fn sources(faults: &mut Vec<String>) -> Outcome {
    for path in files(&root(), "rs")? {
        let source = read(&path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display();
        if !source.starts_with("//!") {
            faults.push(format!("{shown} does not begin with a `//!` line"));
        }
        if let Some(number) = source.lines().position(|line| line.ends_with([' ', '\t'])) {
            faults.push(format!("{shown}:{} ends in a blank", number + 1));
        }
    }
    Ok(())
}

/// What documents point to is there, and every crate is on the map.
fn documents(metadata: &Value, faults: &mut Vec<String>) -> Outcome {
    let map = read(&root().join("docs/ARCHITECTURE.md"))?;
    for package in members(metadata) {
        let name = text(package, "name");
        if name.starts_with("vertex-chat")
            && name != "vertex-chat-tests"
            && !map.contains(&format!("`{name}`"))
        {
            faults.push(format!("docs/ARCHITECTURE.md does not mention `{name}`"));
        }
    }
    let tests = test_sources()?;
    for path in files(&root(), "md")? {
        let document = read(&path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        for target in links(&document) {
            if !folder.join(&target).exists() {
                faults.push(format!("{shown} links to {target}, which is not there"));
            }
        }
        for named in named_paths(&document) {
            if !root().join(&named).exists() {
                faults.push(format!("{shown} names {named}, which is not there"));
            }
        }
        for name in named_tests(&document) {
            let is_there = ["fn ", "def ", "async "].iter().any(|it| tests.contains(&format!("{it}{name}(")));
            if !is_there {
                faults.push(format!("{shown} names the test {name}, which is not there"));
            }
        }
    }
    Ok(())
}

/// The sources in which tests are.
fn test_sources() -> Outcome<String> {
    let mut sources = String::new();
    for (folder, ending) in [("tests", "rs"), ("tests", "py"), ("tests", "mjs"), ("crates", "rs")] {
        for path in files(&root().join(folder), ending)? {
            sources.push_str(&read(&path)?);
        }
    }
    Ok(sources)
}

/// The names in backquotes in the last column of tables whose last column is `shown by`.
fn named_tests(document: &str) -> Vec<String> {
    let mut is_such = false;
    let mut names = Vec::new();
    for line in document.lines() {
        let Some(row) = line.strip_prefix('|') else {
            is_such = false;
            continue;
        };
        let cell = row.trim_end().trim_end_matches('|').rsplit(" | ").next().unwrap_or_default();
        if cell.trim() == "shown by" {
            is_such = true;
        } else if is_such {
            names.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    names
}

/// The relative targets of Markdown links, without fragments.
fn links(document: &str) -> Vec<String> {
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.contains(' '))
        .collect()
}

/// Paths in backquotes that begin with a folder of the root.
fn named_paths(document: &str) -> Vec<String> {
    const FOLDERS: [&str; 5] = ["crates/", "docs/", "tests/", "xtask/", ".ci/"];
    let quoted = document.split('`').skip(1).step_by(2);
    quoted
        .filter(|it| FOLDERS.iter().any(|folder| it.starts_with(folder)) && !it.contains([' ', '*', '{']))
        .map(str::to_owned)
        .collect()
}

/// The files of the checkout with this ending, but for what is built or installed.
fn files(folder: &Path, ending: &str) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".git", ".setup", "node_modules"].contains(&name.as_str()) {
                found.extend(files(&path, ending)?);
            }
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
