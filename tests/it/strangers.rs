//! What strangers send, and what operators get wrong: heads of requests, hosts, pages, words in logs, configurations.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vertex_chat_tests::gateway::{Served, before};
use vertex_chat_tests::process::{
    Emulate, Folder, Running, http as by_hand, run, stderr, stdout, vertex_chat,
};
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunk_event, chunked_head};

fn hello() -> Vec<Step> {
    let body =
        br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    vec![Step::Write(answer("200 OK", "application/json", &[], body))]
}

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

/// What comes for bytes that are sent as they are: the first line, and whether the connection ends with it.
async fn raw(address: SocketAddr, request: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let closes = text.to_ascii_lowercase().contains("\r\nconnection: close");
    (text.lines().next().unwrap_or_default().to_owned(), closes)
}

#[tokio::test]
async fn heads_on_which_proxies_differ_are_refused() {
    let upstream = Upstream::answer_with(|_| hello()).await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    let good = "Host: localhost\r\n";
    for (line, headers, is_good) in [
        ("GET /livez HTTP/1.1", good, true),
        ("GET /livez HTTP/1.1", "", false),
        ("GET /livez HTTP/1.1", "Host: localhost\r\nHost: localhost\r\n", false),
        ("GET /livez HTTP/1.1", "Host: localhost\r\nhost: evil.example\r\n", false),
        ("GET /livez HTTP/1.1", "Host: a b\r\n", false),
        ("GET /livez HTTP/1.1", "Host: user@localhost\r\n", false),
        ("GET /livez HTTP/1.1", "Host: localhost/x\r\n", false),
        ("GET /livez HTTP/1.0", "", true),
        ("GET /livez HTTP/1.0", "Host: a\r\nHost: a\r\n", false),
        (
            "POST /v1/chat/completions HTTP/1.1",
            "Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n",
            false,
        ),
        (
            "POST /v1/chat/completions HTTP/1.1",
            "Host: localhost\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            false,
        ),
        (
            "POST /v1/chat/completions HTTP/1.1",
            "Host: localhost\r\nTransfer-Encoding: identity, chunked\r\n",
            false,
        ),
    ] {
        let (status, closes) = raw(served.address(), &format!("{line}\r\n{headers}\r\n0\r\n\r\n")).await;
        let expected = if is_good { " 200 " } else { " 400 " };
        assert!(status.contains(expected), "{line} {headers:?}: {status}");
        assert!(is_good || closes, "{line} {headers:?} leaves the connection open");
    }
    assert!(upstream.seen().is_empty());
    // The coding that everybody has.
    let body = ask("m").to_string();
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\ncontent-type: application/json\r\nTransfer-Encoding: Chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert!(raw(served.address(), &chunked).await.0.contains(" 200 "));
    let log = served.log();
    assert!(
        log.iter().filter(|it| it.error.as_deref() == Some("malformed_request")).count() >= 10,
        "{log:?}"
    );
}

#[tokio::test]
async fn a_gateway_without_keys_answers_to_this_machines_names_only() {
    let upstream = Upstream::answer_with(|_| hello()).await;
    let config = before(&upstream.url(), "openai");
    let named = format!("hosts = [\"gateway.test\", \"Team.Test\"]\n{config}");
    let keyed = format!("{config}[keys]\nme = \"{}\"\n", vertex_chat_gateway::hash_key("k"));
    for (config, host, path, expected) in [
        (&config, "localhost", "/v1/models", 200),
        (&config, "LOCALHOST:8080", "/v1/models", 200),
        (&config, "app.localhost", "/v1/models", 200),
        (&config, "127.0.0.1:1", "/metrics", 200),
        (&config, "[::1]:80", "/livez", 200),
        (&config, "evil.example", "/v1/models", 403),
        (&config, "evil.example:8080", "/metrics", 403),
        (&config, "localhost.evil.example", "/livez", 403),
        (&config, "127.0.0.1.evil.example", "/readyz", 403),
        (&config, "gateway.test", "/v1/models", 403),
        (&config, "10.0.0.1", "/v1/models", 403),
        (&named, "gateway.test:8080", "/v1/models", 200),
        (&named, "team.test", "/v1/models", 200),
        (&named, "evil.example", "/v1/models", 403),
        // A page has no key.
        (&keyed, "evil.example", "/livez", 200),
        (&keyed, "evil.example", "/v1/models", 401),
    ] {
        let served = Served::start(config).await;
        let (status, _) =
            raw(served.address(), &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert!(status.contains(&format!(" {expected} ")), "{host} {path}: {status}");
    }
    let served = Served::start(&config).await;
    let got = served.ask(Method::GET, "/v1/models", &[("host", "evil.example")], "").await.unwrap();
    assert!(got.text().contains("`evil.example`") && got.text().contains("`hosts`"), "{}", got.text());
    let absolute = "GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert!(raw(served.address(), absolute).await.0.contains(" 403 "));
    let got = served.ask(
        Method::POST,
        "/v1/chat/completions",
        &[("host", "evil.example"), ("content-type", "application/json")],
        ask("m").to_string(),
    );
    assert_eq!(got.await.unwrap().status, 403);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_refused_page_is_named_in_the_answer_and_the_log() {
    let served =
        Served::start("[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n").await;
    let got = served.ask(Method::GET, "/v1/models", &[("origin", "https://evil.example")], "").await.unwrap();
    assert_eq!(got.status, 403);
    assert!(got.text().contains("`https://evil.example`"), "{}", got.text());
    let entry = &served.wait_for(1).await[0];
    assert!(
        entry.to_json().contains(r#""origin":"https://evil.example""#)
            && entry.to_text().contains(r#"origin="https://evil.example""#)
    );
}

#[test]
fn control_requests_of_the_emulator_are_not_for_pages() {
    let emulate = Emulate::start("control-origin", &[]);
    let address = emulate.url.trim_start_matches("http://").to_owned();
    for (headers, is_good) in [
        ("", true),
        ("origin: http://localhost:3000\r\n", true),
        ("origin: http://127.0.0.1\r\n", true),
        ("origin: https://evil.example\r\n", false),
        ("origin: null\r\n", false),
        ("origin: http://localhost.evil.example\r\n", false),
    ] {
        for (method, path) in
            [("GET", "/emulator/log"), ("POST", "/emulator/revoke"), ("DELETE", "/emulator/log")]
        {
            let host = format!("host: {address}\r\n");
            let status = status_of(
                &address,
                &format!(
                    "{method} {path} HTTP/1.1\r\n{host}{headers}connection: close\r\ncontent-length: 0\r\n\r\n"
                ),
            );
            assert_eq!(status != 403, is_good, "{method} {path} {headers}: {status}");
        }
    }
    let rebound =
        "GET /emulator/service-account.json HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(status_of(&address, rebound), 403);
}

fn status_of(address: &str, request: &str) -> u16 {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// What would break a line, a terminal, a table or a field of a log.
const HOSTILE: &str = "x\r\n2026-01-01T00:00:00Z forged POST / 200 1ms\u{1b}]0;title\u{7}\u{1b}[2J \u{2028}\u{202e} status=200 error=none\" `code` | <b>";

#[test]
fn every_foreign_word_stays_in_its_line_and_its_field() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let upstream = runtime.block_on(Upstream::answer_with(|_| {
        let error =
            json!({"error": {"message": HOSTILE, "code": HOSTILE, "type": HOSTILE, "param": HOSTILE}});
        vec![Step::Write(answer("400 Bad Request", "application/json", &[], error.to_string().as_bytes()))]
    }));
    for format in ["text", "json"] {
        let folder = Folder::new(&format!("hostile-log-{format}"));
        let config = folder
            .file("gateway.toml", format!("{}[log]\nprompts = true\n", before(&upstream.url(), "openai")));
        let path = folder.path("log");
        let mut command = vertex_chat(&[
            "serve",
            "--verbose",
            "--listen",
            "127.0.0.1:0",
            "--access-log",
            format,
            "--config",
        ]);
        let mut running = Running::start(command.arg(config).stderr(std::fs::File::create(&path).unwrap()));
        let url = running.line().split_once('=').unwrap().1.trim_end_matches("/v1").to_owned();
        let mut body = ask(HOSTILE);
        body[HOSTILE] = json!(1);
        let client = reqwest_like(&url);
        client("POST /v1/chat/completions HTTP/1.1\r\nx-request-id: a=b\"c\r\n", &body.to_string());
        client(&format!("{} /v1/models HTTP/1.1\r\n", "M".repeat(100 << 10)), "");
        client("GET /v1/models/%0d%0a%1b[2J HTTP/1.1\r\n", "");
        client("GET /%1b[2J%0astatus=200 HTTP/1.1\r\n", "");
        client("GET /v1/models HTTP/1.1\r\norigin: http://x\"y=z\r\n", "");
        running.signal("TERM");
        assert_eq!(running.code(), Some(0));
        let log = std::fs::read_to_string(&path).unwrap();
        check_log(&log);
        assert!(log.contains("2026") || format == "text", "{log}");
        assert!(log.lines().all(|line| line.len() < 20 << 10), "a line is too long");
        let entries: Vec<&str> = log.lines().filter(|it| it.contains("/v1/chat/completions")).collect();
        match format {
            "json" => {
                let entry: Value = entries.iter().find_map(|it| serde_json::from_str(it).ok()).unwrap();
                assert_eq!(entry["status"], 400);
            }
            _ => assert!(
                entries.iter().any(|it| it.contains("error=\"x\\r\\n2026") && it.contains("model=\"x\\r\\n")),
                "{log}"
            ),
        }
    }
}

/// A request by hand, whatever is in it.
fn reqwest_like(url: &str) -> impl Fn(&str, &str) {
    let address = url.trim_start_matches("http://").to_owned();
    move |head: &str, body: &str| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let rest = format!(
            "host: {address}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[track_caller]
fn check_log(log: &str) {
    for line in log.lines() {
        let odd = line.chars().find(|it| it.is_control() || "\u{2028}\u{2029}\u{202e}".contains(*it));
        assert_eq!(odd, None, "{line:?}");
        assert!(!line.starts_with("2026-01-01T00:00:00Z forged"), "a line was forged");
    }
}

#[test]
fn the_emulators_log_has_no_foreign_line() {
    let folder = Folder::new("hostile-emulator-log");
    let path = folder.path("log");
    let mut command = vertex_chat(&["emulate", "--port", "0"]);
    let mut running = Running::start(command.stderr(std::fs::File::create(&path).unwrap()));
    let url = running.line();
    let client = reqwest_like(&url);
    client(
        "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer sk-emulator\r\n",
        &ask(HOSTILE).to_string(),
    );
    client(&format!("{} /x HTTP/1.1\r\n", "M".repeat(100 << 10)), "");
    running.signal("TERM");
    running.code();
    let log = std::fs::read_to_string(&path).unwrap();
    check_log(&log);
    assert!(log.lines().all(|line| line.len() < 2 << 10));
}

#[test]
fn a_conformance_report_shows_a_models_name_as_it_is() {
    let emulate = Emulate::start("hostile-report", &[]);
    let name = "m` | <img src=x> [a](javascript:b) *c* _d_ # e";
    let mut command =
        vertex_chat(&["conformance", "--quiet", "--case", "chat-answers", "--markdown", "-", "--base-url"]);
    let output = run(command.arg(format!("{}/v1", emulate.url)).args(["--model", name]), "");
    let report = stdout(&output);
    let title = report
        .lines()
        .find(|it| it.starts_with("# "))
        .unwrap_or_else(|| panic!("{report}{}", stderr(&output)));
    for raw in ["<img", "[a](", "*c*", " _d_", "` |"] {
        assert!(!title.contains(raw), "{title}");
    }
}

#[test]
fn an_output_replaces_only_what_the_program_has_written() {
    let folder = Folder::new("outputs");
    let emulate = Emulate::start("outputs-emulator", &[]);
    let base_url = format!("{}/v1", emulate.url);
    // Words of the program's own reports are in people's notes, too.
    let mine = "what I have written in three weeks\n# Conformance of servers\n<testsuites name=\"conformance\">\n\"format\": \"vertex-chat-conformance/1\"\n\
                <meta name=\"generator\" content=\"vertex-chat compare\">\n{\"custom_id\":\"vertex-chat-0\"}\n";
    let compare = |path: &Path| {
        let mut command = vertex_chat(&["compare", "--emulator", "--quiet", "hi", "--html"]);
        run(command.arg(path), "")
    };
    let conformance = |option: &str, path: &Path| {
        let mut command =
            vertex_chat(&["conformance", "--quiet", "--case", "chat-answers", "--model", "m", "--base-url"]);
        run(command.arg(&base_url).arg(option).arg(path), "")
    };
    let batch = |path: &Path| {
        let mut command =
            vertex_chat(&["compare", "export", "--model", "google/gemini-2.5-flash", "--vertex-batch"]);
        run(command.arg(path).arg("hi"), "")
    };
    let refused = |output: &std::process::Output, path: &Path| {
        let text = stderr(output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("it is left alone"), "{text}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), mine);
    };
    let path = folder.file("thesis.html", mine);
    refused(&compare(&path), &path);
    for option in ["--json", "--junit", "--markdown"] {
        let path = folder.file("thesis", mine);
        refused(&conformance(option, &path), &path);
        let path = folder.path(option);
        for _ in 0..2 {
            let output = conformance(option, &path);
            assert_ne!(output.status.code(), Some(2), "{}", stderr(&output));
        }
    }
    let path = folder.file("thesis.jsonl", mine);
    refused(&batch(&path), &path);
    for (name, write) in [("a.html", &compare as &dyn Fn(&Path) -> std::process::Output), ("a.jsonl", &batch)]
    {
        let path = folder.path(name);
        for _ in 0..2 {
            let output = write(&path);
            assert!(output.status.success(), "{}", stderr(&output));
        }
        let path = folder.file("empty", "");
        assert!(write(&path).status.success());
    }
}

#[test]
fn a_handover_replaces_only_a_socket_and_follows_one_that_drains() {
    let folder = Folder::new("handover-replaces");
    let config =
        folder.file("gateway.toml", "[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n");
    let start = |listen: &str, path: &Path| {
        let mut command = vertex_chat(&["serve", "--listen", listen, "--config"]);
        command.arg(&config).arg("--handover").arg(path);
        command
    };
    let thesis = folder.file("thesis", "what I have written");
    let output = run(&mut start("127.0.0.1:0", &thesis), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it is left alone"), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&thesis).unwrap(), "what I have written");
    // The first one drains, because a request of its own runs; the second takes the address over.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("base_url = \"http://{}/v1\"", silent.local_addr().unwrap());
    std::fs::write(
        &config,
        std::fs::read_to_string(&config).unwrap().replace("base_url = \"http://127.0.0.1:1/v1\"", &upstream),
    )
    .unwrap();
    let socket = folder.path("handover.sock");
    let mut first = Running::start(start("127.0.0.1:0", &socket).stderr(std::process::Stdio::null()));
    let url = first.line().split_once('=').unwrap().1.trim_end_matches("/v1").to_owned();
    let address = url.trim_start_matches("http://").to_owned();
    let body = ask("gpt-x").to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    let _upstream = silent.accept().unwrap();
    first.signal("TERM");
    let mut second = Running::start(start(&address, &socket).stderr(std::process::Stdio::null()));
    assert_eq!(second.line(), format!("export OPENAI_BASE_URL=http://{address}/v1"));
    assert_eq!(by_hand(&url, "GET", "/livez", ""), "ok");
}

#[test]
fn faults_of_a_configuration_are_found_before_it_serves() {
    let folder = Folder::new("configurations");
    let emulate = Emulate::start("configurations-emulator", &[]);
    let key = folder.file("key.json", std::fs::read(&emulate.key_file).unwrap());
    let set = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |text: &str| {
        let path = folder.file("gateway.toml", text);
        let output = run(vertex_chat(&["serve", "--check", "--config"]).arg(path), "");
        (output.status.code(), stderr(&output))
    };
    let target = format!(
        "[targets.a]\nkind = \"vertex\"\nproject = \"p\"\ncredentials_file = \"{}\"\n",
        key.display()
    );
    set(&key, 0o600);
    assert_eq!(check(&target), (Some(0), String::new()));
    set(&key, 0o644);
    let (code, warning) = check(&target);
    assert!(
        code == Some(0) && warning.contains("everybody on this machine may read the secret in it"),
        "{warning}"
    );
    set(&key, 0o646);
    let (code, fault) = check(&target);
    assert!(code == Some(3) && fault.contains("everybody may write to it"), "{fault}");
    set(&key, 0o600);
    let program = folder.file("identity.sh", "#!/bin/sh\n");
    set(&program, 0o757);
    let external = json!({"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"executable": {"command": program.display().to_string()}}});
    let external = folder.file("external.json", external.to_string());
    set(&external, 0o600);
    let path = folder.file("program.toml", target.replace("key.json", "external.json"));
    let mut command = vertex_chat(&["serve", "--check", "--config"]);
    let output = run(command.arg(&path).env("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1"), "");
    assert!(
        output.status.code() == Some(3) && stderr(&output).contains("identity.sh: everybody may write"),
        "{}",
        stderr(&output)
    );
    set(&path, 0o666);
    let output = run(vertex_chat(&["serve", "--check", "--config"]).arg(&path), "");
    assert!(
        output.status.code() == Some(3) && stderr(&output).contains("program.toml: everybody may write"),
        "{}",
        stderr(&output)
    );
    for (base_url, is_good) in [
        ("http://10.0.0.1:8000/v1", false),
        ("http://vllm.internal:8000/v1", false),
        ("http://localhost.evil.example/v1", false),
        ("https://vllm.internal/v1", true),
        ("http://127.0.0.1:8000/v1", true),
        ("http://localhost:8000/v1", true),
        ("http://[::1]:8000/v1", true),
    ] {
        let text =
            format!("[targets.a]\nkind = \"openai\"\nbase_url = \"{base_url}\"\napi_key = \"canary\"\n");
        let (code, fault) = check(&text);
        assert_eq!(code == Some(0), is_good, "{base_url}: {fault}");
        assert!(
            is_good || (fault.contains(":4:") && fault.contains("plain http") && !fault.contains("canary")),
            "{fault}"
        );
        assert_eq!(check(&text.replace("api_key = \"canary\"\n", "")).0, Some(0));
    }
}

#[tokio::test]
async fn an_alias_of_an_alias_leads_to_the_model() {
    let upstream = Upstream::answer_with(|_| hello()).await;
    let config = format!("{}[aliases]\na = \"b\"\nb = \"c\"\n", before(&upstream.url(), "openai"));
    let served = Served::start(&config).await;
    assert_eq!(served.complete(&ask("a")).await.header("x-vertex-chat-model"), Some("c"));
}

#[tokio::test]
async fn odd_waits_and_statuses_of_servers_are_bounded() {
    for (wait, expected) in [
        ("inf", "86400"),
        ("1e30", "86400"),
        ("18446744073709551615", "86400"),
        ("1e308", "86400"),
        ("86401", "86400"),
        ("7.2", "8"),
    ] {
        let upstream = Upstream::answer_with(move |_| {
            vec![Step::Write(answer(
                "429 Too Many Requests",
                "application/json",
                &[("retry-after", wait)],
                b"{}",
            ))]
        })
        .await;
        let served = Served::start(&before(&upstream.url(), "openai")).await;
        assert_eq!(served.complete(&ask("m")).await.header("retry-after"), Some(expected), "{wait}");
    }
    for status in ["600 Odd", "799 Odd", "999 Odd"] {
        let upstream =
            Upstream::answer_with(move |_| vec![Step::Write(answer(status, "application/json", &[], b"{}"))])
                .await;
        let served = Served::start(&before(&upstream.url(), "openai")).await;
        assert_eq!(served.complete(&ask("m")).await.status, 502, "{status}");
    }
    let upstream = Upstream::answer_with(|_| {
        let error = br#"{"error":{"code":999,"message":"odd"}}"#;
        vec![Step::Write(answer("200 OK", "application/json", &[], error))]
    })
    .await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    assert_eq!(served.complete(&ask("m")).await.status, 502);
}

fn call_event(index: usize) -> Vec<u8> {
    let call = json!({"index": index, "id": format!("call_{index}"), "type": "function", "function": {"name": "f", "arguments": "{}"}});
    chunk_event(&json!({"role": "assistant", "tool_calls": [call]}), &Value::Null)
}

#[tokio::test]
async fn more_calls_than_can_be_told_apart_are_an_error() {
    for (calls, is_whole) in [(128, true), (129, false), (300, false)] {
        let upstream = Upstream::answer_with(move |_| {
            let mut steps = vec![Step::Write(chunked_head("200 OK", "text/event-stream"))];
            let mut events: Vec<u8> = (0..calls).flat_map(call_event).collect();
            events.extend(chunk_event(&json!({}), &json!("tool_calls")));
            events.extend(b"data: [DONE]\n\n");
            steps.push(Step::Write(chunk(&events)));
            steps.push(Step::Write(b"0\r\n\r\n".to_vec()));
            steps
        })
        .await;
        let served = Served::start(&before(&upstream.url(), "openai")).await;
        let mut body = ask("m");
        body["stream"] = json!(true);
        let text = served.complete(&body).await.text();
        assert_eq!(text.contains("[DONE]"), is_whole, "{calls} calls");
        assert_eq!(text.contains("too many tool calls"), !is_whole, "{calls} calls");
        // No call has another one's arguments.
        for data in text.lines().filter_map(|it| it.strip_prefix("data: ")).filter(|it| it.starts_with('{')) {
            let event: Value = serde_json::from_str(data).unwrap();
            for call in event["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
                assert_eq!(call["id"], format!("call_{}", call["index"]), "{data}");
            }
        }
    }
}

#[tokio::test]
async fn an_event_may_be_as_large_as_a_picture() {
    let picture = "A".repeat(20 << 20);
    let event = chunk_event(
        &json!({"role": "assistant", "content": format!("data:image/png;base64,{picture}")}),
        &json!("stop"),
    );
    let length = event.len();
    let upstream = Upstream::answer_with(move |_| {
        let mut steps = vec![Step::Write(chunked_head("200 OK", "text/event-stream"))];
        steps.extend(event.chunks(1 << 20).map(|piece| Step::Write(chunk(piece))));
        steps.push(Step::Write([chunk(b"data: [DONE]\n\n").as_slice(), b"0\r\n\r\n"].concat()));
        steps
    })
    .await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    let mut body = ask("m");
    body["stream"] = json!(true);
    let got = served.complete(&body).await;
    assert!(got.body.len() >= length && got.text().ends_with("data: [DONE]\n\n"), "{} bytes", got.body.len());
}
