//! What goes wrong around the gateway, over TCP: servers that break off, stall, lie and refuse; clients that leave, dawdle
//! and come in thousands. Nothing hangs, nothing leaks, and nothing that is not whole is given out as a success.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vertex_chat::Environment;
use vertex_chat_emulator::{Emulator, Fault, FaultPlace, PROJECT};
use vertex_chat_tests::gateway::{Got, Served, before};
use vertex_chat_tests::process::{Folder, Running, http as by_hand, python, vertex_chat};
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunk_event, chunked_head};
use vertex_chat_transport::{Clock, SimulatedClock};

fn ask(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

fn whole() -> Vec<u8> {
    let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "logprobs": null,
         "message": {"role": "assistant", "content": "Once", "refusal": null}}]});
    answer("200 OK", "application/json", &[], body.to_string().as_bytes())
}

/// A streamed answer as it is on the wire, and where its last choice has ended.
fn stream() -> (Vec<u8>, usize) {
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    for event in [
        chunk_event(&json!({"role": "assistant", "content": "Once"}), &Value::Null),
        chunk_event(&json!({"content": " upon"}), &Value::Null),
        chunk_event(&json!({}), &json!("stop")),
    ] {
        bytes.extend(chunk(&event));
    }
    // The line end that ends the HTTP chunk is none of the event's.
    let finished = bytes.len() - 2;
    bytes.extend(chunk(b"data: [DONE]\n\n"));
    bytes.extend(b"0\r\n\r\n");
    (bytes, finished)
}

/// Whether it is a success, and if not, that it says so as OpenAI's libraries expect.
fn is_success(got: &Got, streamed: bool) -> bool {
    let text = got.text();
    let error = |body: &Value| {
        let error = &body["error"];
        assert!(error["message"].is_string() && error["type"].is_string(), "{text}");
        false
    };
    if got.status != StatusCode::OK {
        assert!(got.status.is_server_error(), "{} {text}", got.status);
        return error(&got.json());
    }
    if !streamed {
        return got.json()["choices"][0]["message"]["content"] == "Once";
    }
    if text.ends_with("data: [DONE]\n\n") {
        assert!(text.contains(r#""finish_reason":"stop""#) && text.contains(" upon"), "{text}");
        return true;
    }
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    error(&serde_json::from_str(last).unwrap())
}

#[tokio::test]
async fn a_server_that_breaks_off_after_any_byte_is_never_a_success() {
    let (streamed, finished) = stream();
    let cases = [(whole(), false), (streamed, true)];
    for (bytes, is_stream) in cases {
        let enough = if is_stream { finished } else { bytes.len() };
        for end in [Step::Reset, Step::Close] {
            let next = Arc::new(AtomicUsize::new(0));
            let (sent, count) = (bytes.clone(), Arc::clone(&next));
            let upstream = Upstream::answer_with(move |_| {
                let length = count.fetch_add(1, Ordering::SeqCst);
                let mut steps = Vec::new();
                if length > 0 {
                    steps.push(Step::Write(sent[..length.min(sent.len())].to_vec()));
                }
                steps.push(end.clone());
                steps
            })
            .await;
            let served = Served::start(&before(&upstream.url(), "openai")).await;
            for length in 0..=bytes.len() {
                // A connection that was lost before it was used is tried anew by the client below, which is no answer yet.
                let got = served.complete(&ask("m", is_stream)).await;
                let success = is_success(&got, is_stream);
                let sent = next.load(Ordering::SeqCst) - 1;
                assert_eq!(sent, length, "one request, one answer");
                // After a reset the system may have thrown away what had come before it.
                if length < enough || success {
                    assert_eq!(
                        success,
                        length >= enough,
                        "{length} of {} bytes: {}",
                        bytes.len(),
                        got.text()
                    );
                }
            }
            let log = served.wait_for(bytes.len() + 1).await;
            assert!(log.iter().all(|it| it.status != 499));
            while upstream.open() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn garbage_is_an_error_that_says_so() {
    let json = |body: &str| answer("200 OK", "application/json", &[], body.as_bytes());
    let events = |body: &str| {
        [chunked_head("200 OK", "text/event-stream"), chunk(body.as_bytes()), b"0\r\n\r\n".to_vec()].concat()
    };
    let cases: Vec<(Vec<u8>, bool)> = vec![
        (b"not http at all\r\n\r\n".to_vec(), false),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), true),
        (json("{"), false),
        (json("[]"), false),
        (json("null"), false),
        (json(r#"{"choices":[]}"#), false),
        (json(r#"{"choices":"x"}"#), false),
        (json(r#"{"error":{"message":"words","code":500}}"#), false),
        (answer("200 OK", "text/html", &[], b"<html><title>Sign in</title>"), false),
        (answer("200 OK", "text/html", &[], b"<html><title>Sign in</title>"), true),
        (answer("302 Found", "text/html", &[("location", "http://example.com/")], b""), true),
        (events("data: {\"choices\":\n\n"), true),
        (events("data: {\"choices\":[]}\n\ndata: [DONE]\n\n"), true),
        (events("data: [DONE]\n\n"), true),
        (events(": nothing\n\n"), true),
        (events(""), true),
        (answer("200 OK", "text/event-stream", &[("content-encoding", "gzip")], b"\x1f\x8b\x08\0\0"), true),
    ];
    for (bytes, is_stream) in cases {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let upstream = Upstream::start(vec![vec![Step::Write(bytes), Step::Close]]).await;
        let served = Served::start(&before(&upstream.url(), "openai")).await;
        let got = served.complete(&ask("m", is_stream)).await;
        assert!(!is_success(&got, is_stream), "{shown}");
        assert!(!got.status.is_success(), "nothing was said, so the status can: {shown}");
    }
}

/// Moves the clock until a task is done.
async fn while_time_passes<T>(clock: &SimulatedClock, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = async { for _ in 0..200 { tokio::task::yield_now().await } } => clock.advance(Duration::from_secs(1)),
        }
    }
}

#[tokio::test]
async fn silence_is_kept_alive_and_ends_in_an_error() {
    let limits = "first_byte_seconds = 100\nidle_seconds = 50\n";
    for begun in [false, true] {
        let mut steps = Vec::new();
        if begun {
            steps.push(Step::Write(chunked_head("200 OK", "text/event-stream")));
            steps.push(Step::Write(chunk(&chunk_event(
                &json!({"role": "assistant", "content": "Once"}),
                &Value::Null,
            ))));
        }
        steps.push(Step::Stall);
        let upstream = Upstream::start(vec![steps]).await;
        let clock = SimulatedClock::new();
        let config =
            before(&upstream.url(), "openai").replace("retries = 0\n", &format!("retries = 0\n{limits}"));
        let served =
            Served::start_with(&config, Environment::of::<&str, &str>([]), Arc::new(clock.clone())).await;
        let got = while_time_passes(&clock, served.complete(&ask("m", true))).await;
        assert!(!is_success(&got, true));
        assert_eq!(got.status, StatusCode::OK, "after 15 s the head is sent");
        let comments = got.text().matches(": keep-alive\n\n").count();
        // One every 15 s of 50, or of 100; fewer where the clock of this test is ahead of who looks at it.
        let expected = if begun { 1..=3 } else { 2..=6 };
        assert!(expected.contains(&comments), "{}", got.text());
        assert!(got.text().contains("upstream_timeout"));
        while upstream.open() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_model_that_thinks_is_waited_for_with_comments() {
    // The head has come, the first event has not.
    let (send, receive) = tokio::sync::watch::channel(false);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = [0; 4096];
        let _ = stream.read(&mut seen).await;
        let (bytes, _) = self::stream();
        let head = chunked_head("200 OK", "text/event-stream");
        stream.write_all(&head).await.unwrap();
        let mut receive = receive;
        receive.wait_for(|it| *it).await.unwrap();
        stream.write_all(&bytes[head.len()..]).await.unwrap();
    });
    let clock = SimulatedClock::new();
    let served = Served::start_with(
        &before(&url, "openai"),
        Environment::of::<&str, &str>([]),
        Arc::new(clock.clone()),
    )
    .await;
    let answered = async {
        let got = served.complete(&ask("m", true)).await;
        (got, ())
    };
    let after_a_minute = async {
        while clock.monotonic() < Duration::from_secs(60) {
            tokio::task::yield_now().await;
        }
        send.send(true).unwrap();
    };
    let ((got, ()), ()) = while_time_passes(&clock, async { tokio::join!(answered, after_a_minute) }).await;
    assert!(is_success(&got, true), "{}", got.text());
    assert!(got.text().starts_with(": keep-alive\n\n: keep-alive\n\n"), "{}", got.text());
}

fn busy() -> Vec<Step> {
    let body =
        json!([{"error": {"code": 429, "message": "Resource exhausted.", "status": "RESOURCE_EXHAUSTED"}}]);
    vec![Step::Write(answer(
        "429 Busy",
        "application/json",
        &[("retry-after", "7")],
        body.to_string().as_bytes(),
    ))]
}

#[tokio::test]
async fn a_storm_of_429_is_told_and_not_made_worse() {
    let upstream = Upstream::answer_with(|_| busy()).await;
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(60));
    let config = before(&upstream.url(), "openai").replace("retries = 0\n", "");
    let served = Served::start_with(&config, Environment::of::<&str, &str>([]), Arc::new(clock)).await;
    let request = ask("m", false);
    let (mut asked, mut forbidden) = (0, 0);
    for _ in 0..10 {
        let answers = (0..20).map(|_| served.complete(&request));
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer.await);
        }
        asked += all.len();
        for got in all {
            assert_eq!(got.status, StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(got.header("retry-after"), Some("7"));
            forbidden += usize::from(got.header("x-should-retry") == Some("false"));
            assert_eq!(got.json()["error"]["code"], "RESOURCE_EXHAUSTED");
        }
    }
    let seen = upstream.seen().len();
    assert_eq!(seen, asked + 20, "{seen} requests for {asked}: the retry budget is 20");
    assert_eq!(forbidden, 10, "only what was retried is not to be retried by clients");
}

#[tokio::test]
async fn a_busy_location_is_left_alone_and_the_next_one_asked() {
    let first = Upstream::answer_with(|_| busy()).await;
    let second = Upstream::answer_with(|_| vec![Step::Write(whole())]).await;
    let clock = SimulatedClock::new();
    let config = format!(
        "[targets.one]\nkind = \"openai\"\nbase_url = \"{}/v1\"\n[targets.two]\nkind = \"openai\"\nbase_url = \"{}/v1\"\n\
         [[models]]\nname = \"m-*\"\nto = [{{ target = \"one\" }}]\nfallback = [{{ target = \"two\", model = \"other-*\" }}]\n",
        first.url(),
        second.url()
    );
    let served =
        Served::start_with(&config, Environment::of::<&str, &str>([]), Arc::new(clock.clone())).await;
    for turn in 0..5 {
        let got = served.complete(&ask("m-1", turn % 2 == 0)).await;
        assert_eq!(got.status, StatusCode::OK, "{}", got.text());
        assert_eq!(got.header("x-vertex-chat-target"), Some("two"));
        assert_eq!(got.header("x-vertex-chat-model"), Some("other-1"));
    }
    assert_eq!(first.seen().len(), 1, "who is busy is not asked again");
    clock.advance(Duration::from_secs(8));
    let _ = served.complete(&ask("m-1", false)).await;
    assert_eq!(first.seen().len(), 2, "after the seconds that it asked for it is");
    assert_eq!(served.log().iter().map(|it| it.attempts).collect::<Vec<_>>(), [2, 1, 1, 1, 1, 2]);
    let metrics = served.get("/metrics").await.text();
    assert!(metrics.contains("vertex_chat_cool_downs_total{target=\"one\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_longer_than_a_token_lives_comes_back() {
    let clock = SimulatedClock::new();
    let emulator =
        Emulator::new(Arc::new(clock.clone())).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = Folder::new("gateway-tokens");
    let key = folder.file("key.json", emulator.service_account_json());
    let config = format!(
        "[targets.vertex]\nkind = \"vertex\"\nproject = \"{PROJECT}\"\nhost = \"{}\"\ncredentials_file = \"{}\"\n",
        emulator.base_url(),
        key.display()
    );
    let served =
        Served::start_with(&config, Environment::of::<&str, &str>([]), Arc::new(clock.clone())).await;
    served.gateway.warm_up().await;
    assert_eq!(served.get("/readyz").await.status, StatusCode::OK);
    let request = ask("gemini-2.5-flash", false);
    let complete = || async { while_time_passes(&clock, served.complete(&request)).await };
    assert_eq!(complete().await.status, StatusCode::OK);
    emulator.emulator().add_fault(
        Fault::at(FaultPlace::Token).status(StatusCode::SERVICE_UNAVAILABLE, "{}").times(1_000_000),
    );
    clock.advance(Duration::from_secs(30 * 60));
    assert_eq!(complete().await.status, StatusCode::OK, "the token lives");
    clock.advance(Duration::from_secs(40 * 60));
    for _ in 0..3 {
        let got = complete().await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{}", got.text());
        assert_eq!(got.json()["error"]["code"], "gateway_credentials");
    }
    emulator.emulator().clear_faults();
    clock.advance(Duration::from_secs(61));
    assert_eq!(complete().await.status, StatusCode::OK, "and back");
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_client_that_leaves_at_any_stage_is_left() {
    let upstream = Upstream::answer_with(|seen| {
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        match request["stream"] == true {
            false => vec![Step::Stall],
            true => {
                let begun = chunk_event(&json!({"role": "assistant", "content": "Once"}), &Value::Null);
                vec![
                    Step::Write(chunked_head("200 OK", "text/event-stream")),
                    Step::Write(chunk(&begun)),
                    Step::Stall,
                ]
            }
        }
    })
    .await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    let mut over = 0;
    for is_stream in [false, true] {
        let body = ask("m", is_stream).to_string();
        let request = format!("{}{body}", head(body.len()));
        for half in [false, true] {
            for length in [0, 10, request.len() - body.len(), request.len() - 5, request.len()] {
                let mut client = TcpStream::connect(served.address()).await.unwrap();
                client.write_all(&request.as_bytes()[..length]).await.unwrap();
                if length == request.len() {
                    over += 1;
                    while upstream.seen().len() < over {
                        tokio::task::yield_now().await;
                    }
                    if is_stream {
                        let mut seen = [0; 1024];
                        assert!(client.read(&mut seen).await.unwrap() > 0);
                    }
                }
                if half {
                    // Who closes its side has left too.
                    client.shutdown().await.unwrap();
                    let mut rest = Vec::new();
                    let _ = client.read_to_end(&mut rest).await;
                }
                drop(client);
            }
        }
    }
    // Two bodies of each kind did not come to their end.
    let log = served.wait_for(over + 8).await;
    let count = |status: u16| log.iter().filter(|it| it.status == status).count();
    assert_eq!((count(499), count(400)), (over, 8));
    // What their servers were asked is known all the same.
    assert!(log.iter().filter(|it| it.status == 499).all(|it| it.attempts == 1), "{log:?}");
    // A moment later nobody works for them any more.
    while upstream.open() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(served.get("/metrics").await.text().contains("vertex_chat_requests_in_flight 0"));
}

#[tokio::test]
async fn a_client_that_leaves_before_its_request_is_looked_at_is_in_the_log() {
    let upstream = Upstream::answer_with(|_| vec![Step::Stall]).await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    for clients in 1..=100 {
        let body = ask(&"m".repeat(clients << 9), false).to_string();
        let request = format!("{}{body}", head(body.len()));
        let mut client = TcpStream::connect(served.address()).await.unwrap();
        let (first, rest) = request.split_at(request.len() / 2);
        client.write_all(first.as_bytes()).await.unwrap();
        // The gateway reads this much, and then the rest and the end at once.
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        client.write_all(rest.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let log = tokio::time::timeout(Duration::from_secs(20), served.wait_for(clients)).await;
        assert_eq!(log.expect("every request is in the log")[clients - 1].status, 499);
    }
}

#[tokio::test]
async fn the_head_and_the_first_event_come_in_one_write() {
    let first = chunk_event(&json!({"role": "assistant", "content": "Once"}), &Value::Null);
    let head_and_first = [chunked_head("200 OK", "text/event-stream"), chunk(&first)].concat();
    let upstream =
        Upstream::answer_with(move |_| vec![Step::Write(head_and_first.clone()), Step::Stall]).await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    for _ in 0..20 {
        let body = ask("m", true).to_string();
        let mut client = TcpStream::connect(served.address()).await.unwrap();
        client.write_all(format!("{}{body}", head(body.len())).as_bytes()).await.unwrap();
        let mut seen = [0; 4096];
        let read = client.read(&mut seen).await.unwrap();
        let seen = String::from_utf8_lossy(&seen[..read]);
        assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("Once"), "{seen}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_server_back() {
    const EVENTS: usize = 12_000;
    let long = chunk_event(&json!({"content": "x".repeat(8_000)}), &Value::Null);
    let written = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::clone(&written);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = [0; 4096];
        let _ = stream.read(&mut seen).await;
        stream.write_all(&chunked_head("200 OK", "text/event-stream")).await.unwrap();
        for _ in 0..EVENTS {
            if stream.write_all(&chunk(&long)).await.is_err() {
                return;
            }
            count.fetch_add(long.len(), Ordering::SeqCst);
        }
    });
    let served = Served::start(&before(&url, "openai")).await;
    let body = ask("m", true).to_string();
    let mut client = TcpStream::connect(served.address()).await.unwrap();
    client.write_all(format!("{}{body}", head(body.len())).as_bytes()).await.unwrap();
    // Until nothing moves any more.
    let (mut last, mut still) = (0, 0);
    while still < 2_000 {
        tokio::task::yield_now().await;
        let now = written.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
    }
    assert!(last < EVENTS * 8_000 / 2, "{last} bytes were taken for a client that takes none");
    drop(client);
    let log = served.wait_for(1).await;
    assert_eq!(log[0].status, 499);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let upstream = Upstream::start(vec![vec![Step::Stall]]).await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    for begun in ["", "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-slow: "] {
        let mut client = TcpStream::connect(served.address()).await.unwrap();
        client.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // The clock of this test goes on by itself when all wait.
        let _ = client.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"));
    }
    // Nor a body.
    let mut client = TcpStream::connect(served.address()).await.unwrap();
    client.write_all(format!("{}{{", head(100)).as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn every_limit_has_its_answer() {
    let upstream = Upstream::start(vec![vec![Step::Stall]]).await;
    let config = format!(
        "{}[limits]\nrequest_bytes_max = 1000\nrequests_max = 1\n",
        before(&upstream.url(), "openai")
    );
    let served = Served::start(&config).await;
    let mut large = ask("m", false);
    large["messages"][0]["content"] = json!("x".repeat(1000));
    let got = served.complete(&large).await;
    assert_eq!(
        (got.status, got.json()["error"]["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("request_too_large"))
    );
    let body = ask("m", false).to_string();
    let mut first = TcpStream::connect(served.address()).await.unwrap();
    first.write_all(format!("{}{body}", head(body.len())).as_bytes()).await.unwrap();
    while upstream.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    let got = served.complete(&ask("m", false)).await;
    assert_eq!(
        (got.status, got.json()["error"]["code"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("overloaded"))
    );
    assert_eq!(got.header("retry-after"), Some("1"));
    // A head beyond its limit.
    let mut client = TcpStream::connect(served.address()).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nx-long: {}\r\n\r\n", "x".repeat(200 << 10));
    let _ = client.write_all(head.as_bytes()).await;
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
    assert!(rest.starts_with(b"HTTP/1.1 431") || rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

/// The resident memory of a process, in KiB.
fn resident(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The program, with the emulator in it, and the URL where it answers.
fn program(command: &mut Command) -> (Running, String) {
    let mut running = Running::start(command);
    let url = running.line().replace("export OPENAI_BASE_URL=", "");
    (running, url.trim_end_matches("/v1").to_owned())
}

#[test]
fn ten_thousand_idle_connections_take_little_and_give_it_back() {
    let Some(mut script) = python("idle.py") else { return };
    let (running, url) =
        program(&mut vertex_chat(&["serve", "--emulator", "--listen", "127.0.0.1:0", "--access-log", "off"]));
    assert_eq!(by_hand(&url, "GET", "/livez", ""), "ok");
    let before = resident(running.id());
    // Clients in a process of their own, for each has as many files open.
    let mut clients = Running::start(script.arg(url.trim_start_matches("http://")));
    let open: u64 = clients.line().parse().unwrap();
    assert!(open >= 9_000, "this machine lets a process open {open} connections");
    assert_eq!(by_hand(&url, "GET", "/livez", ""), "ok", "there is room for one more");
    let each = (resident(running.id()) - before) * 1024 / open;
    assert!(each < 24 << 10, "{each} bytes for an idle connection");
    clients.write("close\n");
    assert_eq!(clients.end().0, Some(0));
    while std::fs::read_dir(format!("/proc/{}/fd", running.id())).unwrap().count() > 100 {
        assert_eq!(by_hand(&url, "GET", "/livez", ""), "ok");
    }
    // What was given back to the allocator is used again: from some time on, others take no more.
    let mut resident_after = Vec::new();
    for _ in 0..6 {
        let Some(mut script) = python("idle.py") else { return };
        let mut clients = Running::start(script.arg(url.trim_start_matches("http://")));
        assert_eq!(clients.line(), open.to_string());
        clients.write("close\n");
        assert_eq!(clients.end().0, Some(0));
        while std::fs::read_dir(format!("/proc/{}/fd", running.id())).unwrap().count() > 100 {
            assert_eq!(by_hand(&url, "GET", "/livez", ""), "ok");
        }
        resident_after.push(resident(running.id()));
    }
    let (first, last) = (resident_after[0], resident_after[5]);
    assert!(last < first + first / 2, "{before} {resident_after:?}");
}

#[test]
fn files_that_run_out_come_back() {
    let mut command = Command::new("sh");
    let program_path = vertex_chat(&[]).get_program().to_owned();
    command.arg("-c").arg("ulimit -n 48; exec \"$@\"").arg("sh").arg(program_path);
    command.args(["serve", "--emulator", "--listen", "127.0.0.1:0", "--access-log", "off"]);
    let (_running, url) = program(&mut command);
    let address = url.trim_start_matches("http://").to_owned();
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(std::net::TcpStream::connect(&address).unwrap());
    }
    drop(held);
    let body = ask("gemini-2.5-flash", false).to_string();
    let request = format!(
        "{}{body}",
        head(body.len()).replace("host: localhost", "host: localhost\r\nconnection: close")
    );
    let mut client = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut client, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
