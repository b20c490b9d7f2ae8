//! Makes one list of the data files, so that a case is added by adding its file.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("because cargo sets it"));
    let mut list = String::new();
    for (name, folder) in [("CASES", "cases"), ("PROFILES", "profiles")] {
        println!("cargo::rerun-if-changed={folder}");
        let mut files = Vec::new();
        collect(&root.join(folder), &mut files);
        files.sort();
        let _ = writeln!(list, "/// The files of `{folder}`, and what is in them.");
        let _ = writeln!(list, "pub(crate) static {name}: &[(&str, &str)] = &[");
        for file in files {
            let shown = file.strip_prefix(&root).expect("because it was found there").display().to_string();
            let _ = writeln!(list, "    ({shown:?}, include_str!({:?})),", file.display().to_string());
        }
        let _ = writeln!(list, "];");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("because cargo sets it"));
    fs::write(out.join("data.rs"), list).expect("the folder of the build can be written");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).expect("the folder of the data can be read").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
}
