//! `vertex-chat compare` as people run it: over TCP, interrupted, resumed, on a real engine, by way of a batch job.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use vertex_chat::transport::serve::{ServeOptions, serve};
use vertex_chat::transport::{Body, Exchange, Request, Response, TransportError};
use vertex_chat_tests::process::{Emulate, Engine, Folder, Running, run, stderr, stdout, vertex_chat};
#[cfg(target_os = "linux")]
use vertex_chat_tests::runs::resident;
use vertex_chat_tests::runs::{lines, report_in};

const STORY: &str = "Write a story about a magic backpack.";

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = run(command, "");
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[track_caller]
fn fails(command: &mut Command, code: i32, expected: &str) {
    let output = run(command, "");
    assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn three_emulated_models_are_compared_by_one_command() {
    let folder = Folder::new("compare-emulator");
    let (jsonl, html) = (folder.path("run.jsonl"), folder.path("run.html"));
    let mut command =
        vertex_chat(&["compare", "--emulator", "--repeat", "12", "--concurrency", "12", "--quiet", STORY]);
    let table = succeeds(command.arg("--jsonl").arg(&jsonl).arg("--html").arg(&html));
    for model in ["google/gemini-2.5-flash-lite", "google/gemini-2.5-flash", "google/gemini-2.5-pro"] {
        assert!(table.contains(model), "{table}");
    }
    let results = lines(&jsonl, "result");
    assert_eq!(results.len(), 36);
    // Every twelfth request of the fastest fails.
    assert_eq!(results.iter().filter(|it| it["error"]["kind"] == "http_503").count(), 1);
    let report = report_in(&html);
    assert_eq!(report["targets"].as_array().unwrap().len(), 3);
    let p50 = |place: usize| report["targets"][place]["all"]["total"]["p50"]["value"].as_f64().unwrap();
    assert!(p50(0) < p50(1) && p50(1) < p50(2), "{} {} {}", p50(0), p50(1), p50(2));
}

#[test]
fn errors_and_costs_are_those_of_the_emulators_log() {
    let emulate = Emulate::start(
        "compare",
        &[
            "--model",
            "google/gemini-2.5-flash:first_token_ms=5,token_ms=0,fails_every=7,exhausted_every=11",
            "--model",
            "google/gemini-2.5-pro:first_token_ms=9,token_ms=0,cuts_every=13",
        ],
    );
    let folder = Folder::new("compare-log");
    let (jsonl, html) = (folder.path("run.jsonl"), folder.path("run.html"));
    let prices = folder.file(
        "prices.toml",
        "[[price]]\nmodels = [\"google/gemini-2.5-flash\"]\ninput = 0.3\noutput = 2.5\n\
         [[price]]\nmodels = [\"google/gemini-2.5-pro\"]\ninput = 1.25\noutput = 10\n",
    );
    let at = format!(
        "?project=emulator-project&location=us-central1&host={}&credentials_file={}",
        emulate.url,
        emulate.key_file.display()
    );
    let models = format!("flash=google/gemini-2.5-flash{at},pro=google/gemini-2.5-pro{at}");
    let mut command =
        vertex_chat(&["compare", "--models", &models, "--repeat", "60", "--concurrency", "6", "--quiet"]);
    command.args(["--param", "reasoning_effort=low", STORY]).arg("--prices").arg(prices);
    succeeds(command.arg("--jsonl").arg(&jsonl).arg("--html").arg(&html));

    let log = emulate.log();
    let report = report_in(&html);
    let results = lines(&jsonl, "result");
    for (place, label, model, input, output) in
        [(0, "flash", "google/gemini-2.5-flash", 0.3, 2.5), (1, "pro", "google/gemini-2.5-pro", 1.25, 10.0)]
    {
        let log: Vec<&Value> = log.iter().filter(|it| it["model"] == model).collect();
        let results: Vec<&Value> = results.iter().filter(|it| it["target"] == label).collect();
        assert_eq!((log.len(), results.len()), (60, 60));
        let of_status = |status: u64| log.iter().filter(|it| it["status"] == status).count();
        let cut = log.iter().filter(|it| it["cut"] == true).count();
        let errors = |kind: &str| results.iter().filter(|it| it["error"]["kind"] == kind).count();
        assert_eq!(errors("http_503"), of_status(503));
        assert_eq!(errors("rate_limited"), of_status(429));
        assert_eq!(errors("connection") + errors("truncated"), cut);
        assert_eq!(
            cut + of_status(503) + of_status(429),
            results.iter().filter(|it| !it["error"].is_null()).count()
        );
        let good: Vec<&&Value> = log.iter().filter(|it| it["status"] == 200 && it["cut"] == false).collect();
        let sum = |key: &str| good.iter().map(|it| it[key].as_u64().unwrap()).sum::<u64>();
        let all = &report["targets"][place]["all"];
        for key in ["prompt_tokens", "completion_tokens", "reasoning_tokens"] {
            assert_eq!(all[key], sum(key), "{label} {key}");
        }
        assert!(sum("reasoning_tokens") > 0);
        let cost = (sum("prompt_tokens") as f64 * input
            + (sum("completion_tokens") + sum("reasoning_tokens")) as f64 * output)
            / 1e6;
        assert!((all["cost"].as_f64().unwrap() - cost).abs() < 1e-12, "{label} {} {cost}", all["cost"]);
        assert_eq!(all["errors"].as_u64().unwrap(), 60 - good.len() as u64);
    }
}

/// A model that answers at once and always the same.
#[derive(Debug)]
struct Fast {
    answer: Bytes,
    asked: AtomicU64,
}

#[async_trait]
impl Exchange for Fast {
    async fn send(&self, _: Request) -> Result<Response, TransportError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(Body::from(self.answer.clone()));
        response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn ten_thousand_requests_are_interrupted_twice_and_none_is_lost_or_doubled() {
    interrupt_twice(10_000);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "a minute: the memory for many requests; cargo xtask nightly runs it"]
fn a_hundred_thousand_requests_are_interrupted_twice_and_none_is_lost_or_doubled() {
    interrupt_twice(100_000);
}

#[cfg(target_os = "linux")]
fn interrupt_twice(requests: u64) {
    // On their way, or answered and not yet written, at each of the two interruptions.
    const ASKED_AGAIN_MAX: u64 = 2 * (32 + 64 + 32);
    let answer = json!({
        "id": "1", "object": "chat.completion", "created": 1, "model": "fast",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes."}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    });
    let fast = Arc::new(Fast { answer: Bytes::from(answer.to_string()), asked: AtomicU64::new(0) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let exchange: Arc<dyn Exchange> = Arc::<Fast>::clone(&fast);
    runtime.spawn(serve(listener, exchange, ServeOptions::default(), std::future::pending()));

    let folder = Folder::new("compare-many");
    let (jsonl, html) = (folder.path("run.jsonl"), folder.path("run.html"));
    let command = || {
        let mut command =
            vertex_chat(&["compare", "--models", &format!("fast={url}#fast"), "--no-stream", "--quiet"]);
        command.args(["--repeat", &requests.to_string(), "--concurrency", "32", "Ready?"]);
        command.arg("--jsonl").arg(&jsonl).arg("--html").arg(&html).stderr(Stdio::null());
        command
    };
    let asked = || fast.asked.load(Ordering::Relaxed);
    let until = |count: u64| {
        while asked() < count {
            std::thread::yield_now();
        }
    };
    // Once by a person, once by force.
    let person = Running::start(&mut command());
    until(requests / 4);
    let early = resident(person.id());
    until(requests / 3);
    person.signal("INT");
    assert_eq!(person.code(), Some(130));
    let first = lines(&jsonl, "result").len();
    assert!(first as u64 >= requests / 3 - ASKED_AGAIN_MAX, "{first}");

    let force = Running::start(&mut command());
    until(requests * 2 / 3);
    force.signal("KILL");
    let _ = force.end();
    // A line that was being written.
    let mut text = std::fs::read(&jsonl).unwrap();
    text.extend_from_slice(b"{\"kind\":\"result\",\"request\":99");
    std::fs::write(&jsonl, text).unwrap();

    let last = Running::start(&mut command());
    until(requests - 500);
    let late = resident(last.id());
    let (code, table) = last.end();
    assert_eq!(code, Some(0));
    assert!(table.contains(&requests.to_string()), "{table}");
    assert!(late < early + 16 * 1024, "{early} KiB after a quarter, {late} KiB at the end");

    let numbers: BTreeSet<u64> =
        lines(&jsonl, "result").iter().map(|it| it["request"].as_u64().unwrap()).collect();
    assert_eq!(lines(&jsonl, "result").len() as u64, requests);
    assert_eq!(numbers.len() as u64, requests);
    assert_eq!(lines(&jsonl, "session").len(), 3);
    assert_eq!(lines(&jsonl, "end").len(), 1);
    // Those that had not been written when it was interrupted were asked again, and no others.
    assert!((requests..=requests + ASKED_AGAIN_MAX).contains(&asked()), "{}", asked());
    let all = &report_in(&html)["targets"][0]["all"];
    assert_eq!((all["ok"].as_u64(), all["completion_tokens"].as_u64()), (Some(requests), Some(2 * requests)));

    // What is complete is not run again, and what is another run's is refused.
    let before = asked();
    succeeds(&mut command());
    assert_eq!(asked(), before);
    let mut other =
        vertex_chat(&["compare", "--models", &format!("fast={url}#fast"), "--no-stream", "Another?"]);
    fails(other.arg("--jsonl").arg(&jsonl), 2, "other prompts and settings");
}

#[test]
#[ignore = "half a minute: a real engine; cargo xtask nightly runs it"]
fn two_settings_of_a_real_engine_are_compared() {
    // Two requests at once, and one at once.
    let (Some(wide), Some(narrow)) = (Engine::start(), Engine::start_with(&["24", "", "1"])) else {
        return;
    };
    let folder = Folder::new("compare-engine");
    let (jsonl, html) = (folder.path("run.jsonl"), folder.path("run.html"));
    let prompts = folder.file(
        "prompts.jsonl",
        "{\"prompt\": \"What is the capital of France? Answer in one short sentence.\", \"expected\": \"Paris\"}\n\
         {\"prompt\": \"What is the capital of Italy? Answer in one short sentence.\", \"expected\": \"Rome\"}\n",
    );
    let models = format!(
        "wide={}#smollm2,narrow={}#smollm2,short={}#smollm2?max_tokens=2",
        wide.url, narrow.url, wide.url
    );
    let mut command = vertex_chat(&[
        "compare",
        "--models",
        &models,
        "--sequential",
        "--score",
        "contains",
        "--sweep",
        "1,2",
    ]);
    command.args(["--temperature", "0", "--seed", "7", "--max-tokens", "16", "--quiet", "--timeout", "120"]);
    succeeds(command.arg("--prompts").arg(prompts).arg("--jsonl").arg(&jsonl).arg("--html").arg(&html));
    let results = lines(&jsonl, "result");
    assert_eq!(results.len(), 12);
    for result in &results {
        assert!(result["error"].is_null(), "{result}");
        assert!(result["first_token_us"].as_u64().unwrap() < result["ended_us"].as_u64().unwrap());
        let tokens = result["tokens"]["completion"].as_u64().unwrap();
        assert!((1..=16).contains(&tokens), "{result}");
        assert!(result["cost"].is_null(), "nobody knows what one's own machine costs: {result}");
    }
    let report = report_in(&html);
    let all = |place: usize| &report["targets"][place]["all"];
    assert_eq!((&all(0)["score"], &all(1)["score"]), (&json!(1.0), &json!(1.0)));
    // The same weights say the same, whatever the number of slots; who is cut off does not.
    let answers = report["prompts"][0]["answers"].as_array().unwrap();
    assert_eq!(answers[1]["difference"], "same", "{answers:?}");
    assert!(answers[2]["difference"]["text"].as_f64().unwrap() < 1.0, "{answers:?}");
    assert_eq!(answers[2]["finish_reason"], "length");
}

#[test]
fn answers_are_checked_scored_and_told_apart() {
    let folder = Folder::new("compare-answers");
    let jsonl = folder.path("run.jsonl");
    let schema = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
    let rows = folder.file("rows.csv", "id,text,expected\na,Paris,example\nb,Rome,nothing\n");
    let schema = folder.file("schema.json", schema);
    let mut command = vertex_chat(&[
        "compare",
        "--emulator",
        "--models",
        "google/gemini-2.5-flash,openai:gpt-4o-mini",
        "--quiet",
    ]);
    command.args(["--template", "Where is {text}?", "--score", "json-path:$.city"]);
    command.arg(format!("--json-answer={}", schema.display()));
    let table = succeeds(command.arg("--prompts").arg(rows).arg("--jsonl").arg(&jsonl));
    assert!(table.contains("2 of 2 answers are the JSON that was asked for"), "{table}");
    let scores: BTreeMap<(String, u64), f64> = lines(&jsonl, "result")
        .iter()
        .map(|it| {
            let key = (it["target"].as_str().unwrap().to_owned(), it["prompt"].as_u64().unwrap());
            (key, it["score"]["value"].as_f64().unwrap())
        })
        .collect();
    let of = |target: &str, prompt: u64| scores[&(target.to_owned(), prompt)];
    assert_eq!((of("google/gemini-2.5-flash", 0), of("google/gemini-2.5-flash", 1)), (1.0, 0.0));
    assert_eq!((of("openai:gpt-4o-mini", 0), of("openai:gpt-4o-mini", 1)), (1.0, 0.0));
}

#[test]
fn a_judge_is_asked_with_the_prompt_that_the_report_shows() {
    let folder = Folder::new("compare-judge");
    let (jsonl, html) = (folder.path("run.jsonl"), folder.path("run.html"));
    let mut command =
        vertex_chat(&["compare", "--emulator", "--models", "google/gemini-2.5-flash", "--quiet", STORY]);
    command.args(["--judge", "google/gemini-2.5-pro"]);
    succeeds(command.arg("--jsonl").arg(&jsonl).arg("--html").arg(&html));
    // The emulator answers by the schema: the least score that there is.
    let result = &lines(&jsonl, "result")[0];
    assert!(
        result["score"]["value"].is_number() && result["score"]["judge_cost"].as_f64().unwrap() > 0.0,
        "{result}"
    );
    let judge = &report_in(&html)["runs"][0]["head"]["settings"]["judge"];
    assert_eq!(judge[0]["model"], "google/gemini-2.5-pro");
    assert!(judge[1].as_str().unwrap().contains("{answer}"));
}

#[test]
fn models_are_those_of_the_gateways_configuration() {
    let emulate = Emulate::start("compare-config", &[]);
    let folder = Folder::new("compare-config-files");
    let (jsonl, config) = (
        folder.path("run.jsonl"),
        format!(
            "[targets.mine]\nkind = \"endpoint\"\ndialect = \"vllm\"\nproject = \"emulator-project\"\nlocation = \"us-central1\"\n\
         endpoint = \"1234567890123456789\"\nhost = \"{0}\"\ncredentials_file = \"{1}\"\n\
         [targets.there]\nkind = \"openai\"\nbase_url = \"{0}/v1\"\napi_key = \"emulator-api-key\"\n\
         [[models]]\nname = \"my-endpoint\"\nto = [{{ target = \"mine\", model = \"gemma-2-9b-it\" }}]\n",
            emulate.url,
            emulate.key_file.display(),
        ),
    );
    let config = folder.file("gateway.toml", config);
    let compare = |models: &str| {
        let mut command = vertex_chat(&["compare", "--models", models, "Hello", "--config"]);
        command.arg(&config);
        command
    };
    succeeds(compare("my-endpoint,there:gpt-4o-mini,mine:gemma-2-9b-it").arg("--jsonl").arg(&jsonl));
    let head = &lines(&jsonl, "run")[0];
    let of = |key: &str| -> Vec<&str> {
        head["targets"].as_array().unwrap().iter().map(|it| it[key].as_str().unwrap()).collect()
    };
    assert_eq!(of("model"), ["gemma-2-9b-it", "gpt-4o-mini", "gemma-2-9b-it"]);
    assert_eq!(of("dialect"), ["vLLM", "OpenAI", "vLLM"]);
    assert!(lines(&jsonl, "result").iter().all(|it| it["error"].is_null()));
    // What the file does not have is found as without one: here by the environment. An estimate asks nobody.
    let mut estimate = compare("google/gemini-2.5-flash");
    estimate.env("GOOGLE_APPLICATION_CREDENTIALS", &emulate.key_file).env("GOOGLE_CLOUD_PROJECT", "p");
    let output = run(estimate.arg("--estimate"), "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("google/gemini-2.5-flash: 1 requests"), "{}", stderr(&output));
    fails(&mut compare("nobody"), 2, "nobody has `nobody`; the targets are mine, there.");
}

#[test]
fn a_key_that_is_refused_ends_a_model_and_not_the_run() {
    let emulate = Emulate::start("compare-key", &[]);
    let folder = Folder::new("compare-key-files");
    let jsonl = folder.path("run.jsonl");
    let models = format!("open={}/v1#gpt-4o-mini?api_key_env=COMPARE_KEY", emulate.url);
    let command = |key: &str| {
        let mut command = vertex_chat(&["compare", "--models", &models, "--repeat", "5", "--quiet", "Hello"]);
        command.env("COMPARE_KEY", key).arg("--jsonl").arg(&jsonl);
        command
    };
    fails(&mut command("wrong"), 1, "no model has answered");
    assert_eq!(lines(&jsonl, "result").len(), 0);
    assert!(lines(&jsonl, "stop")[0]["reason"].as_str().unwrap().starts_with("http_401"));
    let everything = std::fs::read_to_string(&jsonl).unwrap();
    assert!(!everything.contains("wrong") && !everything.contains("COMPARE_KEY"), "{everything}");
    // With the right one the same command asks all of it.
    succeeds(&mut command("emulator-api-key"));
    assert_eq!(lines(&jsonl, "result").len(), 5);
}

#[test]
fn a_batch_jobs_answers_stand_in_a_report_beside_live_ones() {
    let folder = Folder::new("compare-batch");
    let (input, output) = (folder.path("input.jsonl"), folder.path("output.jsonl"));
    let (live, batch, html) =
        (folder.path("live.jsonl"), folder.path("batch.jsonl"), folder.path("both.html"));
    let prompts = folder.file("prompts.jsonl", "\"One?\"\n\"Two?\"\n");
    let job = |verb: &str| {
        let mut command =
            vertex_chat(&["compare", verb, "--model", "google/gemini-2.5-flash", "--temperature", "0"]);
        command.arg("--prompts").arg(&prompts);
        command
    };
    succeeds(job("export").arg("--vertex-batch").arg(&input));
    // What the service does: it answers line by line, in an order of its own.
    let mut answers: Vec<String> = std::fs::read_to_string(&input)
        .unwrap()
        .lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["request"]["generationConfig"]["temperature"].as_f64(), Some(0.0));
            let asked = line["request"]["contents"][0]["parts"][0]["text"].as_str().unwrap().to_owned();
            line["status"] = json!("");
            line["processed_time"] = json!("2026-11-23T00:00:00Z");
            line["response"] = json!({
                "candidates": [{"content": {"role": "model", "parts": [{"text": format!("To {asked}")}]}, "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5},
                "modelVersion": "gemini-2.5-flash",
            });
            line.to_string() + "\n"
        })
        .collect();
    answers.reverse();
    std::fs::write(&output, answers.concat()).unwrap();
    let imported = succeeds(
        job("import")
            .arg("--vertex-batch")
            .arg(&output)
            .arg("--jsonl")
            .arg(&batch)
            .args(["--discount", "50"]),
    );
    assert!(imported.contains("2 answers, 0 of them errors"), "{imported}");
    let results = lines(&batch, "result");
    assert_eq!(results[0]["content"], "To Two?");
    assert_eq!(results[0]["prompt"], 1);

    let mut command = vertex_chat(&[
        "compare",
        "--emulator",
        "--models",
        "google/gemini-2.5-flash",
        "--temperature",
        "0",
        "--quiet",
    ]);
    succeeds(command.arg("--prompts").arg(&prompts).arg("--jsonl").arg(&live));
    let table = succeeds(vertex_chat(&["compare", "report"]).arg(&live).arg(&batch).arg("--html").arg(&html));
    assert!(table.contains("google/gemini-2.5-flash (batch)"), "{table}");
    let report = report_in(&html);
    // The prompts of both are the same, and so are two answers to each.
    assert_eq!(report["prompts"].as_array().unwrap().len(), 2);
    assert_eq!(report["prompts"][0]["answers"].as_array().unwrap().len(), 2);
    assert_eq!(report["targets"][1]["all"]["total"], Value::Null, "a batch job has no times");
    let cost = report["targets"][1]["all"]["cost"].as_f64().unwrap();
    let whole = 2.0 * (2.0 * 0.3 + 3.0 * 2.5) / 1e6;
    assert!((cost - whole / 2.0).abs() < 1e-12, "{cost} {whole}");
    // Another job's output is not taken for this one's.
    std::fs::remove_file(&batch).unwrap();
    let mut other = vertex_chat(&["compare", "import", "--model", "google/gemini-2.5-flash", "Three?"]);
    fails(other.arg("--vertex-batch").arg(&output).arg("--jsonl").arg(&batch), 2, "output.jsonl:1: ");
}

#[test]
fn what_cannot_be_run_says_why_before_anything_is_asked() {
    let folder = Folder::new("compare-wrong");
    let compare = |arguments: &[&str]| {
        let mut command = vertex_chat(&["compare"]);
        command.args(arguments);
        command
    };
    fails(&mut compare(&["Hello"]), 2, "--models");
    fails(&mut compare(&["--emulator"]), 2, "there is no prompt");
    fails(&mut compare(&["--emulator", "--models", "nobody", "Hello"]), 2, "nobody has `nobody`");
    fails(
        &mut compare(&["--emulator", "--models", "a=google/x,a=google/y", "Hello"]),
        2,
        "two models are called `a`",
    );
    fails(&mut compare(&["--emulator", "--score", "exact", "Hello"]), 2, "nothing `expected`");
    fails(&mut compare(&["--emulator", "--score", "good", "Hello"]), 2, "no way of scoring");
    fails(&mut compare(&["--emulator", "--sweep", "0", "Hello"]), 2, "1 to 4096");
    fails(
        &mut compare(&["--emulator", "--models", "vllm:gemma-2-9b-it", "--budget", "1", "Hello"]),
        2,
        "is not known",
    );
    let prompts = folder.file("prompts.jsonl", "\"fine\"\n{\"messages\": 1}\n");
    fails(compare(&["--emulator", "--prompts"]).arg(&prompts), 2, "prompts.jsonl:2");
    let prices = folder.file("prices.toml", "[[price]]\nmodels = [\"x\"]\ninput = -1\noutput = 1\n");
    fails(compare(&["--emulator", "Hello", "--prices"]).arg(&prices), 2, "prices.toml:3:9");
    let text = folder.file("notes.txt", "no run\n");
    fails(compare(&["--emulator", "Hello", "--jsonl"]).arg(&text), 2, "notes.txt:1");
    fails(compare(&["report"]).arg(&text), 2, "notes.txt:1");
    // Whatever is in a file that is no run's stays there.
    let note = folder.file("note.json", "{\"important\":1}");
    fails(compare(&["--emulator", "Hello", "--jsonl"]).arg(&note), 2, "no run's, and is left alone");
    assert_eq!(std::fs::read_to_string(&note).unwrap(), "{\"important\":1}");
    let question = folder.file("question.jsonl", "\"Hello?\"");
    let mut twice = compare(&["--emulator", "--prompts"]);
    fails(twice.arg(&question).arg("--html").arg(&question), 2, "is named twice");
    fails(compare(&["--emulator", "Hello", "--jsonl", "/dev/null"]).args(["--quiet"]), 2, "is no file");
    fails(&mut compare(&["--emulator", ""]), 2, "the prompt is empty");
    fails(&mut compare(&["--emulator", "-p", "stream=false", "Hello"]), 2, "said by other options");
    // An estimate asks nobody.
    let output = run(&mut compare(&["--emulator", "--estimate", "--repeat", "1000", STORY]), "");
    assert!(output.status.success() && stdout(&output).is_empty(), "{}", stderr(&output));
    assert!(stderr(&output).contains("in all 3000 requests, about $"), "{}", stderr(&output));
}
