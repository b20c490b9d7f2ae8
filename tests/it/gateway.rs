//! What the gateway promises those who run it: where requests go, who may ask, what is told, and how it begins and ends.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use vertex_chat::Environment;
use vertex_chat_emulator::{Emulator, Fault, FaultPlace, PROJECT};
use vertex_chat_gateway::{Config, hash_key, new_key};
use vertex_chat_tests::certificates::Certificates;
use vertex_chat_tests::gateway::{Served, before};
use vertex_chat_tests::process::{Folder, Running, http as by_hand, run, stderr, stdout, vertex_chat};
use vertex_chat_tests::upstream::{Step, Upstream, answer};
use vertex_chat_transport::{Connector, HttpConnector, Profile, Request, SystemClock};

fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]})
}

/// A server that answers with the model that it was asked for.
async fn echo() -> Upstream {
    Upstream::answer_with(|seen| {
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        let body = json!({"id": "c", "object": "chat.completion", "created": 1, "model": request["model"], "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Once"}}]});
        vec![Step::Write(answer("200 OK", "application/json", &[], body.to_string().as_bytes()))]
    })
    .await
}

#[tokio::test]
async fn names_patterns_and_aliases_lead_where_they_say() {
    let (one, two) = (echo().await, echo().await);
    let target = |name: &str, url: String| {
        format!("[targets.{name}]\nkind = \"openai\"\nbase_url = \"{url}/v1\"\napi_key = \"k\"\n")
    };
    let served = Served::start(&format!(
        "{}{}[[models]]\nname = \"exact\"\nto = [{{ target = \"one\", model = \"other/name\" }}]\n\
         [[models]]\nname = \"ex*\"\nto = [{{ target = \"two\", model = \"*-long\" }}]\n\
         [[models]]\nname = \"*\"\nto = [{{ target = \"two\" }}]\n\
         [[models]]\nname = \"both\"\nto = [{{ target = \"one\", weight = 3 }}, {{ target = \"two\" }}]\n\
         [aliases]\nfast = \"exact\"\n",
        target("one", one.url()),
        target("two", two.url())
    ))
    .await;
    for (asked, target, model) in [
        ("exact", "one", "other/name"),
        ("fast", "one", "other/name"),
        ("extra", "two", "tra-long"),
        ("anything", "two", "anything"),
        // A name is a name: it reaches no path.
        (
            "gemini-2.5-flash/../../../endpoints/openapi/chat/completions",
            "two",
            "gemini-2.5-flash/../../../endpoints/openapi/chat/completions",
        ),
        ("%2e%2e/x?y#z\r\nx: y", "two", "%2e%2e/x?y#z\r\nx: y"),
    ] {
        let got = served.complete(&ask(asked)).await;
        assert_eq!(
            (got.header("x-vertex-chat-target"), got.json()["model"].as_str()),
            (Some(target), Some(model)),
            "{asked}"
        );
    }
    let lines: Vec<String> = one.seen().into_iter().chain(two.seen()).map(|it| it.line).collect();
    assert!(lines.iter().all(|it| it == "POST /v1/chat/completions HTTP/1.1"), "{lines:?}");
    let mut first = 0;
    for _ in 0..400 {
        let got = served.complete(&ask("both")).await;
        first += u32::from(got.header("x-vertex-chat-target") == Some("one"));
    }
    assert!((240..=360).contains(&first), "three of four go to the first: {first} of 400");
    let got = served.complete(&ask(&"x".repeat(257))).await;
    assert_eq!(
        (got.status, got.json()["error"]["code"].as_str()),
        (StatusCode::NOT_FOUND, Some("model_not_found"))
    );
}

#[tokio::test]
async fn keys_are_asked_for_and_never_go_upstream() {
    let upstream = echo().await;
    let key = new_key();
    let config = format!("{}[keys]\nme = \"{}\"\n", before(&upstream.url(), "openai"), hash_key(&key));
    let served = Served::start(&config).await;
    let body = ask("m").to_string();
    let post = |key: Option<String>| {
        let (served, body) = (&served, body.clone());
        async move {
            let mut headers = vec![("content-type", "application/json")];
            let value = key.map(|key| format!("Bearer {key}"));
            headers.extend(value.as_deref().map(|it| ("authorization", it)));
            served.ask(Method::POST, "/v1/chat/completions", &headers, body).await.unwrap()
        }
    };
    assert_eq!(post(Some(key.clone())).await.status, StatusCode::OK);
    for wrong in [None, Some("sk-other".to_owned()), Some(key[..key.len() - 1].to_owned())] {
        let got = post(wrong).await;
        assert_eq!(
            (got.status, got.json()["error"]["code"].as_str()),
            (StatusCode::UNAUTHORIZED, Some("invalid_api_key"))
        );
        assert!(got.header("x-request-id").is_some());
    }
    for path in ["/v1/models", "/metrics"] {
        assert_eq!(served.get(path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(served.get("/livez").await.status, StatusCode::OK);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), Some("Bearer upstream-key"));
    let log = served.log();
    assert_eq!(log.iter().find(|it| it.status == 200).unwrap().client.as_deref(), Some("me"));
    assert!(log.iter().all(|it| !format!("{}{}", it.to_json(), it.to_text()).contains(&key)));
    // Before its body: who has no key makes the gateway hold nothing.
    let mut client = TcpStream::connect(served.address()).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let line = tokio::task::spawn_blocking(move || BufReader::new(client).lines().next().unwrap().unwrap());
    assert_eq!(line.await.unwrap(), "HTTP/1.1 401 Unauthorized");
}

#[tokio::test]
async fn pages_of_other_origins_may_only_ask_where_they_are_allowed() {
    let upstream = echo().await;
    let config =
        format!("{}[cors]\norigins = [\"http://localhost:3000\"]\n", before(&upstream.url(), "openai"));
    let served = Served::start(&config).await;
    let ask_from = |origin: &'static str, content_type: &'static str| {
        let (served, body) = (&served, ask("m").to_string());
        async move {
            let headers = [("content-type", content_type), ("origin", origin)];
            served.ask(Method::POST, "/v1/chat/completions", &headers, body).await.unwrap()
        }
    };
    let got = ask_from("http://localhost:3000", "application/json").await;
    assert_eq!(
        (got.status, got.header("access-control-allow-origin")),
        (StatusCode::OK, Some("http://localhost:3000"))
    );
    for (origin, content_type) in [
        ("http://evil.example", "application/json"),
        ("http://evil.example", "text/plain"),
        ("null", "application/json"),
    ] {
        let got = ask_from(origin, content_type).await;
        assert_eq!(
            (got.status, got.header("access-control-allow-origin")),
            (StatusCode::FORBIDDEN, None),
            "{origin}"
        );
    }
    let headers = [("origin", "http://localhost:3000"), ("access-control-request-method", "POST")];
    let got = served.ask(Method::OPTIONS, "/v1/chat/completions", &headers, Bytes::new()).await.unwrap();
    assert_eq!(got.status, StatusCode::NO_CONTENT);
    assert_eq!(got.header("access-control-allow-origin"), Some("http://localhost:3000"));
    assert!(got.header("access-control-allow-headers").unwrap().contains("authorization"));
    // A form of any page would be sent without asking: it is not JSON by its own word.
    let got = served
        .ask(Method::POST, "/v1/chat/completions", &[("content-type", "text/plain")], ask("m").to_string())
        .await;
    assert_eq!(got.unwrap().status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn prompts_are_logged_only_where_that_is_asked_for() {
    let upstream = echo().await;
    for asked in [false, true] {
        let config = format!("{}[log]\nprompts = {asked}\n", before(&upstream.url(), "openai"));
        let served = Served::start(&config).await;
        let mut body = ask("m");
        body["messages"][0]["content"] = json!("canary");
        served.complete(&body).await;
        let entry = served.log().pop().unwrap();
        for text in [entry.to_json(), entry.to_text()] {
            assert_eq!(text.contains("canary"), asked, "{text}");
            assert!(!text.contains("upstream-key"));
        }
        let line: Value = serde_json::from_str(&entry.to_json()).unwrap();
        for field in ["time", "request_id", "model", "target", "status", "duration_ms", "overhead_us"] {
            assert!(line.get(field).is_some(), "{field}");
        }
    }
}

#[tokio::test]
async fn an_address_of_others_wants_keys() {
    let upstream = echo().await;
    let served = Served::start(&before(&upstream.url(), "openai")).await;
    assert!(served.gateway.check_address("127.0.0.1:1".parse().unwrap()).is_ok());
    assert!(served.gateway.check_address("[::1]:1".parse().unwrap()).is_ok());
    for address in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1"] {
        let error = served.gateway.check_address(address.parse().unwrap()).unwrap_err();
        assert!(error.contains("[keys]"), "{error}");
    }
    let keyed =
        Served::start(&format!("{}[keys]\nme = \"{}\"\n", before(&upstream.url(), "openai"), hash_key("x")))
            .await;
    assert!(keyed.gateway.check_address("0.0.0.0:1".parse().unwrap()).is_ok());
    // And never goes without them again: a file that is empty for a moment opens nothing.
    let without = Config::parse("g.toml", &before(&upstream.url(), "openai")).unwrap();
    assert!(keyed.gateway.reload(&without).await.unwrap_err().to_string().contains("[keys]"));
    assert_eq!(keyed.get("/v1/models").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn locations_share_a_token_and_take_over_from_each_other() {
    let emulator = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let folder = Folder::new("gateway-locations");
    let key = folder.file("key.json", emulator.service_account_json());
    let config = format!(
        "[targets.vertex]\nkind = \"vertex\"\nproject = \"{PROJECT}\"\nhost = \"{}\"\ncredentials_file = \"${{KEY}}\"\n\
         locations = [\"us-central1\", \"global\"]\nretries = 0\n",
        emulator.base_url()
    );
    let environment = Environment::of([("KEY", key.display().to_string())]);
    let served = Served::start_with(&config, environment, Arc::new(SystemClock)).await;
    let busy = r#"[{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}]"#;
    emulator.emulator().add_fault(Fault::at(FaultPlace::Chat).status(StatusCode::TOO_MANY_REQUESTS, busy));
    for _ in 0..3 {
        let got = served.complete(&ask("gemini-2.5-flash")).await;
        assert_eq!((got.status, got.header("x-vertex-chat-target")), (StatusCode::OK, Some("vertex@global")));
    }
    let log = emulator.emulator().log();
    assert_eq!(log.iter().filter(|it| it.path == "/token").count(), 1);
    let asked: Vec<bool> =
        log.iter().filter(|it| it.path != "/token").map(|it| it.path.contains("/global/")).collect();
    assert_eq!(asked, [false, true, true, true]);
}

#[tokio::test]
async fn a_reload_takes_effect_and_a_bad_one_does_not() {
    let (one, two) = (echo().await, echo().await);
    let served = Served::start(&before(&one.url(), "openai")).await;
    served.complete(&ask("m")).await;
    let good = Config::parse("g.toml", &before(&two.url(), "openai")).unwrap();
    served.gateway.reload(&good).await.unwrap();
    served.complete(&ask("m")).await;
    assert!(served.gateway.reload_text("g.toml", "oops = 1").await.is_err());
    served.complete(&ask("m")).await;
    assert_eq!((one.seen().len(), two.seen().len()), (1, 2));
    let metrics = served.get("/metrics").await.text();
    for line in [r#"vertex_chat_reloads_total{name="ok"} 1"#, r#"vertex_chat_reloads_total{name="failed"} 1"#]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn it_serves_with_tls() {
    let upstream = echo().await;
    let certificates = Certificates::new();
    let folder = Folder::new("gateway-tls");
    let (leaf, key) = certificates.leaf("localhost");
    let chain = folder.file("chain.pem", leaf.pem());
    let key = folder.file("key.pem", key.serialize_pem());
    let config = format!(
        "{}[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        before(&upstream.url(), "openai"),
        chain.display(),
        key.display()
    );
    let served = Served::start(&config).await;
    let client = HttpConnector::new().with_root_certificates_pem(certificates.root_pem().as_bytes()).unwrap();
    let client = client.connect(&Profile::NoProxy).unwrap();
    let mut request = Request::new(ask("m").to_string().into());
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        format!("https://localhost:{}/v1/chat/completions", served.address().port()).parse().unwrap();
    request.headers_mut().insert("content-type", "application/json".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().status(), StatusCode::OK);
}

#[test]
fn a_configuration_is_checked_with_its_lines() {
    let folder = Folder::new("gateway-check");
    let check = |text: &str| {
        let file = folder.file("gateway.toml", text);
        let output = run(vertex_chat(&["serve", "--check", "--config"]).arg(file), "");
        (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
    };
    let target = "[targets.x]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
    assert_eq!(check(target), (Some(0), "the configuration is good\n".to_owned()));
    let (code, said) = check(&format!("{target}api_kye = \"x\"\n"));
    assert_eq!(code, Some(3));
    assert!(said.contains("gateway.toml:4:1: ") && said.contains("api_kye"), "{said}");
    let (code, said) = check(&format!("{target}api_key = \"${{NO_SUCH_VARIABLE}}\"\n"));
    assert!(
        code == Some(3) && said.contains("gateway.toml:4:11: ") && said.contains("NO_SUCH_VARIABLE"),
        "{said}"
    );
    let (code, said) = check(&format!("listen = \"0.0.0.0:1\"\n{target}"));
    assert!(code == Some(3) && said.contains("--danger-serve-without-keys"), "{said}");
}

/// A process that serves, and what it says on stderr.
struct Program {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().replace("export OPENAI_BASE_URL=http://", "").replace("/v1", "");
        let said = BufReader::new(child.stderr.take().unwrap());
        Self { child, said, address }
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended before it said {word}");
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One answer of a connection: its status, and whether the connection goes on.
fn exchange(stream: &mut BufReader<TcpStream>) -> std::io::Result<(u16, bool)> {
    let body = ask("gemini-2.5-flash").to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
    let (mut status, mut length, mut goes_on) = (0, 0, true);
    for number in 0.. {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_ascii_lowercase();
        if number == 0 {
            status = line.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        goes_on &= line != "connection: close";
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((status, goes_on))
}

#[test]
fn a_process_takes_over_from_another_and_no_request_is_lost() {
    const REQUESTS: usize = 10_000;
    let folder = Folder::new("handover");
    let socket = folder.path("handover.sock");
    let start = |listen: &str| {
        let arguments = ["serve", "--emulator", "--access-log", "off", "--listen", listen, "--handover"];
        Program::start(vertex_chat(&arguments).arg(&socket))
    };
    let mut old = start("127.0.0.1:0");
    old.wait_for("ready");
    let address = old.address.clone();
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (address, done) = (address.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let connect = || BufReader::new(TcpStream::connect(&address).unwrap());
                let (mut lost, mut stream) = (Vec::new(), connect());
                while done.fetch_add(1, Ordering::SeqCst) < REQUESTS {
                    match exchange(&mut stream) {
                        // Half of the clients keep their connections.
                        Ok((200, goes_on)) if goes_on && client % 2 == 0 => {}
                        Ok((200, _)) => stream = connect(),
                        other => {
                            lost.push(format!("{other:?}"));
                            stream = connect();
                        }
                    }
                }
                lost
            })
        })
        .collect();
    let wait_until = |share: usize| {
        while done.load(Ordering::SeqCst) < REQUESTS * share / 10 {
            std::thread::yield_now();
        }
    };
    let mut serving = old;
    // Three times over, under load.
    for share in [2, 4, 6] {
        wait_until(share);
        let mut next = start(&address);
        next.wait_for("took the listening socket over");
        next.wait_for("ready");
        serving.signal("TERM");
        assert_eq!(serving.child.wait().unwrap().code(), Some(0));
        serving = next;
    }
    let lost: Vec<String> = clients.into_iter().flat_map(|it| it.join().unwrap()).collect();
    assert!(lost.is_empty(), "{} of {REQUESTS} are lost: {lost:?}", lost.len());
    assert!(done.load(Ordering::SeqCst) >= REQUESTS);
}

#[test]
fn a_changed_file_and_sighup_reload_without_dropping_a_stream() {
    let emulate = Running::start(&mut vertex_chat(&["emulate", "--port", "0", "--pace", "150", "--quiet"]));
    let mut emulate = emulate;
    let url = emulate.line();
    let folder = Folder::new("gateway-reload");
    let _ = by_hand(&url, "GET", "/emulator/log", "");
    let key = folder.file("key.json", by_hand(&url, "GET", "/emulator/service-account.json", ""));
    let text = |alias: &str| {
        format!(
            "listen = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n[targets.vertex]\nkind = \"vertex\"\nproject = \"{PROJECT}\"\n\
             host = \"{url}\"\ncredentials_file = \"{}\"\n[aliases]\n{alias} = \"gemini-2.5-flash\"\n",
            key.display()
        )
    };
    let file = folder.file("gateway.toml", text("before"));
    let mut program = Program::start(vertex_chat(&["serve", "--config"]).arg(&file));
    program.wait_for("ready");
    let mut stream = BufReader::new(TcpStream::connect(&program.address).unwrap());
    let mut body = ask("before");
    body["stream"] = json!(true);
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    std::fs::write(&file, text("after")).unwrap();
    program.signal("HUP");
    program.wait_for("taken");
    let models = by_hand(&format!("http://{}", program.address), "GET", "/v1/models", "");
    assert!(models.contains("\"after\"") && !models.contains("\"before\""), "{models}");
    // The stream that ran goes on, and SIGTERM lets it come to its end.
    program.signal("TERM");
    let mut seen = String::new();
    while !seen.contains("[DONE]") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "it was cut: {seen}");
        seen.push_str(&line);
    }
    assert_eq!(program.child.wait().unwrap().code(), Some(0));
}
