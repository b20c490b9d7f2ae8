//! What is done to the project rather than in it.

mod bench;
mod bench_gateway;
mod ci;
mod clients;
mod conformance;
mod dist;
mod docs;
mod nightly;
mod run;
mod setup;
mod soak;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  ci              fmt, clippy, tidy, docs, a project that uses the facade, the orders of the token cache
  nightly         what takes too long for every change: long tests, mutants, fuzz targets, all clients, all combinations of
                  features, the program of a release and its soak; says what it skipped
  dist            the program as it is given to others, in the target folder; small, and without paths of this machine
  docs            writes the pages that are made from code: docs/parameters.md
  tidy            the arrows between crates, the documents, the dependency counts
  conformance     the suite against the emulator and the gateway before it, or against what its options name; --mutants judges
                  the judge; the options are those of `vertex-chat conformance`
  setup           installs what the tests use: Python, Node and Debian packages
  clients         the scripts of docs/clients with newly installed clients against the gateway; [NAME…] [--except NAME…];
                  --manifests checks the folder deploy
  soak            the program among clients and servers that behave badly, every request accounted for; --minutes N
  bench client    instructions and allocations of the client beside async-openai's
  bench types     instructions of reading and writing beside derived structs'
  bench tokens    instructions and allocations of a token at hand beside gcloud-auth's
  bench hostile   CPU of the gateway for bodies that are made to cost much, and whether probes are answered meanwhile
  bench gateway   CPU, latency and memory of the gateway beside nginx, bare hyper and LiteLLM; [--quick]
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["conformance", rest @ ..] = arguments.as_slice() {
        // Its exit code says what was found.
        return conformance::run(rest);
    }
    let result = match arguments.as_slice() {
        ["ci"] => ci::run_all(),
        ["nightly"] => nightly::run_all(),
        ["dist"] => dist::build().map(drop),
        ["docs"] => docs::write(),
        ["tidy"] => tidy::run(),
        ["setup"] => setup::run(),
        ["clients", rest @ ..] => clients::run(rest),
        ["soak", "--minutes", minutes] => soak::run_for(minutes),
        ["bench", "client"] => bench::client(),
        ["bench", "types"] => bench::types(),
        ["bench", "tokens"] => bench::tokens(),
        ["bench", "hostile"] => bench::hostile(),
        ["bench", "gateway"] => bench_gateway::gateway(false),
        ["bench", "gateway", "--quick"] => bench_gateway::gateway(true),
        _ => {
            run::say(HELP);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            run::say(&format!("xtask: {message}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;

    /// The last test of `cargo test --workspace`, since cargo goes by the names of the packages.
    #[cfg(unix)]
    #[test]
    fn the_skipped_tests_are_counted_at_the_end() {
        let cargo = std::os::unix::process::parent_id();
        let list = std::env::temp_dir().join(format!("vertex-chat-skipped-{cargo}"));
        let Ok(names) = std::fs::read_to_string(&list) else { return };
        let _ = std::fs::remove_file(&list);
        let names: BTreeSet<&str> = names.lines().collect();
        // Past the capture of test output, so that it is seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {} tests, for want of data or tools (docs/ARCHITECTURE.md#tests); `.ci/run` lets them fail",
            names.len()
        );
    }
}
