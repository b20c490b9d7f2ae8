//! The conformance suite: what it says of servers that are known, and how it says it.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;
use vertex_chat_conformance::{Level, REPORT_SCHEMA, Suite};
use vertex_chat_tests::process::{Engine, Folder, Running, run, stderr, stdout, vertex_chat};
use vertex_chat_tests::root;
use vertex_chat_tests::upstream::{Step, Upstream, answer};

/// The exit codes of its own.
const INTEROP_FAILED: i32 = 11;
const NOT_ALL_JUDGED: i32 = 13;

fn conformance(arguments: &[&str]) -> Output {
    run(vertex_chat(&["conformance"]).args(arguments), "")
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

fn ids(run: &Value, verdict: &str) -> Vec<String> {
    let of_verdict = |case: &&Value| case["verdict"] == verdict;
    let cases = run["cases"].as_array().unwrap().iter().filter(of_verdict);
    cases.map(|case| case["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_emulated_server_keeps_its_rules_and_so_does_the_gateway_before_each() {
    let output = conformance(&["--json", "-", "--quiet"]);
    let report = json(&output);
    assert!(jsonschema::is_valid(&serde_json::from_str(REPORT_SCHEMA).unwrap(), &report));
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 12, "six servers, and the gateway before each");
    for run in runs {
        let name = format!("{} {} {}", run["profile"], run["behind"], run["model"]);
        assert_eq!(ids(run, "failed"), [""; 0], "{name}");
        assert_eq!(ids(run, "blocked"), [""; 0], "{name}");
        assert_eq!(ids(run, "not run"), [""; 0], "{name}");
        // A judge that skips everything finds nothing. The gateway's own rules are beside those of OpenAI.
        if run["profile"] == "gateway" {
            let of_openai = run["cases"].as_array().unwrap().iter().filter(|case| case["group"] != "gateway");
            let (skipped, rest): (Vec<_>, Vec<_>) = of_openai.partition(|case| case["verdict"] == "skipped");
            let (skipped, all) = (skipped.len(), skipped.len() + rest.len());
            assert!(skipped * 100 <= all * 15, "{name}: {skipped} of {all} cases are skipped");
        }
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn there_are_two_hundred_rules_and_every_vector_of_an_endpoint_is_among_them() {
    let suite = Suite::bundled();
    let rules: BTreeSet<&str> = suite.cases().iter().map(|it| it.rule.as_str()).collect();
    assert!(rules.len() >= 200, "{} rules", rules.len());
    // Those about clients and credentials are tests of the client, and carry the number.
    let of_clients = [1, 13, 14, 16, 18, 19, 20, 21, 22, 29, 30];
    for number in (1..=30).filter(|it| !of_clients.contains(it)) {
        let word = format!("vector C{number}");
        let named = |source: &str| {
            source.split(&word).skip(1).any(|rest| !rest.starts_with(|it: char| it.is_ascii_digit()))
        };
        assert!(suite.cases().iter().any(|case| named(&case.source)), "no case is {word}");
    }
    let tests = tests_of_clients();
    for number in of_clients {
        let word = format!("c{number}_");
        assert!(tests.contains(&format!("fn {word}")), "no test is called {word}…");
    }
}

/// The sources of the tests.
fn tests_of_clients() -> String {
    let folder = std::fs::read_dir(root().join("tests/it")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path()).filter(|it| it.is_file());
    files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn the_same_answers_make_the_same_reports() {
    let folder = Folder::new("conformance-reports");
    let paths = |n: u8| ["json", "junit", "markdown"].map(|form| (form, folder.path(&format!("{n}.{form}"))));
    for n in [1, 2] {
        let mut command = vertex_chat(&["conformance", "--profile", "openai", "--quiet"]);
        for (form, path) in paths(n) {
            command.arg(format!("--{form}")).arg(path);
        }
        assert_eq!(run(&mut command, "").status.code(), Some(0));
    }
    for ((form, one), (_, two)) in paths(1).into_iter().zip(paths(2)) {
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&one), read(&two), "{form}");
    }
    let markdown = std::fs::read_to_string(folder.path("1.markdown")).unwrap();
    assert!(markdown.starts_with("![conformance openai "), "{}", &markdown[..80]);
}

/// A server that answers everything in one way.
async fn server(status: &'static str, body: &'static str) -> Upstream {
    Upstream::answer_with(move |_| {
        vec![Step::Write(answer(status, "application/json", &[], body.as_bytes()))]
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_explained_and_what_stands_on_it_is_blocked() {
    let broken = server("500 Internal Server Error", "{}").await;
    let url = format!("{}/v1", broken.url());
    let output =
        conformance(&["--base-url", &url, "--model", "m", "--profile", "openai", "--case", "stream-done"]);
    assert_eq!(output.status.code(), Some(INTEROP_FAILED));
    let text = stdout(&output);
    for part in [
        "FAILED chat-answers (interop)",
        "expected  200",
        "got       500",
        "matters ",
        "source ",
        "`stream-answers` is blocked",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("FAILED stream-done"), "{text}");
}

#[test]
fn where_nobody_answers_there_is_nothing_to_judge() {
    let output = conformance(&["--base-url", "http://127.0.0.1:1/v1", "--model", "m"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nobody answers at http://127.0.0.1:1/v1"), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_costs_nothing_and_a_budget_is_kept() {
    let good = server("200 OK", r#"{"choices":[],"usage":{"total_tokens":1000}}"#).await;
    let url = format!("{}/v1", good.url());
    let target = ["--base-url", &url, "--model", "m", "--profile", "openai"];
    let listed = conformance(&[&target[..], &["--list"]].concat());
    assert!(listed.status.success() && stdout(&listed).contains("requests, about"), "{}", stdout(&listed));
    assert!(good.seen().is_empty(), "a list sends nothing");
    let output = conformance(&[&target[..], &["--budget", "2500", "--json", "-"]].concat());
    let report = json(&output);
    assert_ne!(output.status.code(), Some(0), "what was not looked at is not good");
    let not_run = ids(&report["runs"][0], "not run");
    assert!(not_run.len() > 50, "{not_run:?}");
    let asked = good.seen().iter().filter(|it| it.line.starts_with("POST")).count();
    assert!((1..=3).contains(&asked), "{asked} requests of 1,000 tokens each");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_a_run_with_a_report() {
    let stalled = Upstream::start(vec![vec![Step::Stall]]).await;
    let url = format!("{}/v1", stalled.url());
    let mut running = Running::start(&mut vertex_chat(&["conformance", "--base-url", &url, "--model", "m"]));
    while stalled.open() == 0 {
        tokio::task::yield_now().await;
    }
    running.signal("INT");
    let text = format!("{}\n", running.line());
    let (code, rest) = running.end();
    assert_eq!(code, Some(130));
    assert!(format!("{text}{rest}").contains(" not run"), "{text}{rest}");
}

/// What a run against a real engine gave when it was last looked at, case by case.
fn looked_at(engine: &str) -> Value {
    let path = root().join(format!("docs/conformance/{engine}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
#[ignore = "minutes: a real engine answers every case; cargo xtask nightly runs it"]
fn the_deviations_of_llama_cpp_are_found_and_nothing_else_is() {
    const KEY: &str = "conformance-key";
    let Some(engine) = Engine::start_with(&["24", KEY]) else { return };
    let target =
        ["--base-url", &engine.url, "--model", "smollm2", "--profile", "openai", "--lacks", "images"];
    let output = run(
        vertex_chat(&["conformance"])
            .env("OPENAI_API_KEY", KEY)
            .args(target)
            .args(["--quiet", "--json", "-"]),
        "",
    );
    let (report, expected) = (json(&output), looked_at("llamacpp"));
    // It stamps every chunk with the time of day, so the rule fails when a stream goes from one second into the next.
    const BY_THE_SECOND: &str = "stream-one-created";
    for verdict in ["failed", "blocked", "skipped", "passed", "recorded"] {
        let of = |run: &Value| {
            let mut ids = ids(run, verdict);
            ids.retain(|it| *it != BY_THE_SECOND);
            ids
        };
        assert_eq!(of(&report["runs"][0]), of(&expected["runs"][0]), "{verdict}");
    }
    assert!(!report.to_string().contains(KEY), "the key is in no report");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_server_sends_back_is_in_no_report() {
    const KEY: &str = "sk-canary-of-the-suite";
    let echo = Upstream::answer_with(|seen| {
        let body = format!(
            "{{\"error\":{{\"message\":\"{}\"}}}}",
            seen.header("authorization").unwrap_or("nothing")
        );
        vec![Step::Write(answer(
            "400 Bad Request",
            "application/json",
            &[("x-request-id", KEY)],
            body.as_bytes(),
        ))]
    })
    .await;
    let folder = Folder::new("canary");
    let mut command = vertex_chat(&[
        "conformance",
        "--base-url",
        &format!("{}/v1", echo.url()),
        "--model",
        "m",
        "--verbose",
    ]);
    for form in ["json", "junit", "markdown"] {
        command.arg(format!("--{form}")).arg(folder.path(form));
    }
    let output = run(command.env("OPENAI_API_KEY", KEY), "");
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(said.contains("and the server said: \"Bearer [redacted]\""), "{said}");
    assert!(!said.contains(KEY), "{said}");
    for form in ["json", "junit", "markdown"] {
        let report = std::fs::read_to_string(folder.path(form)).unwrap();
        assert!(!report.contains(KEY), "{form}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_requests_convicts_nobody() {
    let busy = server("429 Too Many Requests", r#"{"error":{"message":"slow down"}}"#).await;
    let url = format!("{}/v1", busy.url());
    let output = conformance(&["--base-url", &url, "--model", "m", "--case", "chat-answers", "--json", "-"]);
    let report = json(&output);
    assert_eq!(ids(&report["runs"][0], "not run"), ["chat-answers"]);
    assert_eq!(output.status.code(), Some(NOT_ALL_JUDGED));
}

#[test]
fn what_cannot_be_judged_is_wrong_usage() {
    for wrong in [
        &["--profile", "openai", "--case", "gemini-signature-missing"][..],
        &["--profile", "openai", "--level", "interop", "--case", "answer-refusal-key"],
        &["--mutants", "--case", "typo"],
        &["--profile", "openai", "--behind", "vertex-gemini"],
        &["--profile", "nobody"],
        &["--lacks", "nothing"],
    ] {
        let output = conformance(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn a_case_of_ones_own_is_run_beside_the_others() {
    let folder = Folder::new("own");
    let case = "id = \"mine\"\ntitle = \"t\"\nrule = \"An answer says hello.\"\nsource = \"me\"\nlevel = \"strict\"\n\
                profiles = [\"any\"]\nbreaks = \"nothing\"\nexempt = \"a test\"\nrequires = [\"chat-answers\"]\n\
                [request]\nexchange = \"hello\"\nexpect = [{ at = \"body.choices[0].message.content\", contains = \"HELLO?\" }]\n";
    let path = folder.file("mine.toml", case);
    let path = path.to_str().unwrap();
    let output = conformance(&["--profile", "openai", "--cases", path, "--case", "mine"]);
    assert_eq!(output.status.code(), Some(10), "a strict rule, and no other");
    assert!(stdout(&output).contains("FAILED mine (strict)"), "{}", stdout(&output));
    let wrong =
        folder.file("wrong.toml", case.replace("mine", "wrong").replace("chat-answers", "chat-anwsers"));
    let output = conformance(&["--profile", "openai", "--cases", wrong.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("`chat-anwsers`, which is not there"), "{}", stderr(&output));
}

#[test]
fn a_mutant_is_convicted_by_its_case() {
    let output = conformance(&["--mutants", "--case", "stream-done"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("2 of 2 mutants"), "{}", stdout(&output));
}

#[test]
fn every_judging_case_has_a_mutant_or_a_reason() {
    for case in Suite::bundled().cases() {
        assert!(
            case.level == Level::Record || !case.mutants.is_empty() || case.exempt.is_some(),
            "{} convicts nobody",
            case.id
        );
    }
}
