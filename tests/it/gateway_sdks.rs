//! OpenAI's own libraries, unmodified, through the gateway: before the emulator, and before servers that misbehave.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vertex_chat::Environment;
use vertex_chat_emulator::{Emulator, PROJECT, RunningEmulator, TGI_ENDPOINT, VLLM_ENDPOINT};
use vertex_chat_tests::gateway::Served;
use vertex_chat_tests::process::{Folder, Running, python, run, stderr, stdout};
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunk_event, chunked_head};
use vertex_chat_tests::{root, tool};
use vertex_chat_transport::{Clock, SimulatedClock, SystemClock};

/// A server whose model's name says how it misbehaves.
async fn misbehaving(flaky: Arc<AtomicUsize>) -> Upstream {
    Upstream::answer_with(move |seen| {
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        let json = |status: &str, body: &Value| {
            vec![Step::Write(answer(status, "application/json", &[], body.to_string().as_bytes()))]
        };
        let whole = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Once upon"},
             "logprobs": {"content": [{"token": "Once", "logprob": -0.1, "bytes": [79], "top_logprobs": [
                {"token": "Once", "logprob": -0.1, "bytes": [79]}, {"token": "A", "logprob": -2.5, "bytes": [65]}]}]}}]});
        let google = |status: u16, word: &str| {
            json!([{"error": {"code": status, "message": format!("words of {status}"), "status": word}}])
        };
        let begun = |rest: Vec<Step>| {
            let mut steps = vec![
                Step::Write(chunked_head("200 OK", "text/event-stream")),
                Step::Write(chunk(&chunk_event(&json!({"role": "assistant", "content": "Once"}), &Value::Null))),
            ];
            steps.extend(rest);
            steps
        };
        let upon = || Step::Write(chunk(&chunk_event(&json!({"content": " upon"}), &Value::Null)));
        match request["model"].as_str().unwrap() {
            "logprobs" => json("200 OK", &whole),
            "status-400" => json("400 No", &google(400, "INVALID_ARGUMENT")),
            "status-401" => json("401 No", &google(401, "UNAUTHENTICATED")),
            "status-403" => json("403 No", &google(403, "PERMISSION_DENIED")),
            "status-404" => json("404 No", &google(404, "NOT_FOUND")),
            "status-422" => json("422 No", &json!({"error": "words of 422", "error_type": "validation_error"})),
            "status-429" => json("429 No", &google(429, "RESOURCE_EXHAUSTED")),
            "status-500" => json("500 No", &google(500, "INTERNAL")),
            "status-503" | "always-503" => json("503 No", &google(503, "UNAVAILABLE")),
            "flaky" => match flaky.fetch_add(1, Ordering::SeqCst) % 2 {
                0 => json("503 No", &google(503, "UNAVAILABLE")),
                _ => json("200 OK", &whole),
            },
            "error-first" => {
                let event = format!("data: {}\n\n", google(429, "RESOURCE_EXHAUSTED"));
                vec![
                    Step::Write(chunked_head("200 OK", "text/event-stream")),
                    Step::Write(chunk(event.as_bytes())),
                    Step::Close,
                ]
            }
            // Google prints errors outside of events once a stream has begun.
            "error-midway" => {
                let error = google(503, "UNAVAILABLE").to_string();
                begun(vec![upon(), Step::Write(chunk(error.as_bytes())), Step::Write(chunk(b"\n")), Step::Stall])
            }
            "truncated" => begun(vec![upon(), Step::Write(b"0\r\n\r\n".to_vec())]),
            "cut" => begun(vec![upon(), Step::Reset]),
            "endless" => begun(vec![Step::Stall]),
            _ => vec![Step::Stall],
        }
    })
    .await
}

async fn emulator(clock: Arc<dyn Clock>) -> RunningEmulator {
    Emulator::new(clock).start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

/// A gateway before the emulator, and before a server that misbehaves.
fn configuration(emulator: &RunningEmulator, key_file: &str, upstream: &str) -> String {
    let vertex = format!(
        "project = \"{PROJECT}\"\nlocation = \"us-central1\"\nhost = \"{}\"\ncredentials_file = \"{key_file}\"\n",
        emulator.base_url()
    );
    let endpoint = |name: &str, id: &str| {
        format!("[targets.{name}]\nkind = \"endpoint\"\ndialect = \"{name}\"\nendpoint = \"{id}\"\n{vertex}")
    };
    let mut text = format!(
        "[targets.vertex]\nkind = \"vertex\"\n{vertex}[targets.strict]\nkind = \"vertex\"\npolicy = \"reject\"\n{vertex}{}{}\
         [targets.odd]\nkind = \"openai\"\nbase_url = \"{upstream}/v1\"\napi_key = \"k\"\n",
        endpoint("vllm", VLLM_ENDPOINT),
        endpoint("tgi", TGI_ENDPOINT)
    );
    for (name, target) in [
        ("strict", "{ target = \"strict\", model = \"google/gemini-2.5-flash\" }"),
        ("vllm", "{ target = \"vllm\" }"),
        ("tgi", "{ target = \"tgi\" }"),
        ("gemini-*", "{ target = \"vertex\", model = \"google/gemini-*\" }"),
        ("google/*", "{ target = \"vertex\" }"),
        ("status-*", "{ target = \"odd\" }"),
    ] {
        text.push_str(&format!("[[models]]\nname = \"{name}\"\nto = [{target}]\n"));
    }
    let odd = [
        "logprobs",
        "always-503",
        "flaky",
        "error-first",
        "error-midway",
        "truncated",
        "cut",
        "endless",
        "silent",
    ];
    for name in odd {
        text.push_str(&format!("[[models]]\nname = \"{name}\"\nto = [{{ target = \"odd\" }}]\n"));
    }
    text
}

struct Scene {
    served: Served,
    upstream: Upstream,
    emulator: RunningEmulator,
    _folder: Folder,
}

impl Scene {
    /// On this clock, on which a wait of up to a minute is over at once: back-off takes no time.
    async fn start(name: &str, clock: Arc<dyn Clock>) -> Self {
        let emulator = emulator(Arc::clone(&clock)).await;
        let upstream = misbehaving(Arc::default()).await;
        let folder = Folder::new(name);
        let key = folder.file("key.json", emulator.service_account_json());
        let config = configuration(&emulator, &key.display().to_string(), &upstream.url());
        let served = Served::start_with(&config, Environment::of::<&str, &str>([]), clock).await;
        Self { served, upstream, emulator, _folder: folder }
    }

    fn variables(&self, command: &mut Command) {
        command.env("OPENAI_BASE_URL", format!("{}/v1", self.served.url())).env("OPENAI_API_KEY", "unused");
        // Loopback is not for a proxy of the machine.
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name);
        }
    }

    /// Runs a script to its end: the parts that it says hold.
    async fn run(&self, mut command: Command) -> Vec<String> {
        self.variables(&mut command);
        let output = tokio::task::spawn_blocking(move || run(&mut command, "")).await.unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        stdout(&output).lines().map(str::to_owned).collect()
    }

    /// What has to hold when the script is over: who left has been left.
    async fn check(&self) {
        // Nobody waits for an answer that nobody wants.
        while self.served.log().iter().filter(|it| it.status == 499).count() < 3 {
            tokio::task::yield_now().await;
        }
        let left: Vec<_> = self.served.log().into_iter().filter(|it| it.status == 499).collect();
        assert!(
            left.iter().all(|it| ["silent", "endless"].contains(&it.model.as_deref().unwrap())),
            "{left:?}"
        );
        // One library call to a server that is always busy: three tries of the gateway's, none of the library's.
        let busy = self.upstream.seen();
        let busy = busy.iter().filter(|it| String::from_utf8_lossy(&it.body).contains("always-503")).count();
        assert_eq!(busy, 3);
        let keys = self.upstream.seen();
        assert!(
            keys.iter().all(|it| it.header("authorization") == Some("Bearer k")),
            "the client's key goes nowhere"
        );
        // Streams that were given up are given up upstream too.
        while self.upstream.open() > 8 {
            tokio::task::yield_now().await;
        }
    }
}

fn instant() -> Arc<dyn Clock> {
    Arc::new(SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_library_works_unchanged() {
    let Some(script) = python("gateway.py") else { return };
    let scene = Scene::start("sdk-python", instant()).await;
    let parts = scene.run(script).await;
    assert!(parts.len() >= 18, "{parts:?}");
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_library_works_unchanged() {
    let Some(library) = tool("node/node_modules/openai") else { return };
    let scene = Scene::start("sdk-node", instant()).await;
    let mut node = Command::new("node");
    node.arg(root().join("tests/node/gateway.mjs")).arg(library);
    let parts = scene.run(node).await;
    assert!(parts.len() >= 16, "{parts:?}");
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_seventy_minutes_outlives_its_token() {
    let Some(mut script) = python("gateway.py") else { return };
    let clock = SimulatedClock::new();
    let scene = Scene::start("session", Arc::new(clock.clone())).await;
    scene.variables(script.arg("session"));
    let mut session = Running::start(&mut script);
    assert_eq!(session.line(), "ready");
    for minute in 0..=70 {
        session.write(&format!("{minute}\n"));
        assert_eq!(session.line(), format!("answered {minute}"));
        clock.advance(Duration::from_secs(60));
        // A renewal in the background is under way before the next minute.
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }
    let log = scene.emulator.emulator().log();
    let tokens = log.iter().filter(|it| it.path == "/token").count();
    assert!((2..=3).contains(&tokens), "{tokens} tokens in 70 minutes");
    assert!(log.iter().all(|it| it.status < 400), "nobody was refused");
    assert_eq!(scene.served.log().len(), 71);
}

#[tokio::test]
async fn the_worlds_clock_works_too() {
    // The scene of the libraries is on a simulated clock; what they meet in life is this one.
    let scene = Scene::start("clock", Arc::new(SystemClock)).await;
    let body = json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(scene.served.complete(&body).await.status, 200);
}
