//! No client costs another one anything: connections, requests at once, and memory for bodies each have their limit.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vertex_chat_gateway::hash_key;
use vertex_chat_tests::certificates::Certificates;
use vertex_chat_tests::gateway::{Served, before};
use vertex_chat_tests::process::{Folder, Running};
use vertex_chat_tests::program;
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunk_event, chunked_head};
use vertex_chat_transport::{Connector, HttpConnector, Profile, Request};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

fn hello() -> Vec<Step> {
    let body =
        br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    vec![Step::Write(answer("200 OK", "application/json", &[], body))]
}

fn ask(content: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": content}]})
}

fn keys(names: &[&str]) -> String {
    let lines = names.iter().map(|name| format!("{name} = \"{}\"\n", hash_key(name)));
    format!("[keys]\n{}", lines.collect::<String>())
}

/// Asks with a key, which is its client's name.
async fn post(served: &Served, key: &str, body: &Value) -> (StatusCode, Value, Option<String>) {
    let bearer = format!("Bearer {key}");
    let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
    let got = served.ask(Method::POST, "/v1/chat/completions", &headers, body.to_string()).await.unwrap();
    let wait = got.header("retry-after").map(str::to_owned);
    (got.status, got.json(), wait)
}

/// Reads a connection to its end, or up to the head of an answer.
async fn head(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while !all.windows(4).any(|it| it == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(read) => all.extend_from_slice(&piece[..read]),
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    tokio::time::timeout(PATIENCE, head(stream)).await.is_ok_and(|head| head.is_empty())
}

/// The program with so many open files, before an upstream.
fn serve(folder: &Folder, files: usize, config: &str) -> (Running, SocketAddr) {
    let config = folder.file("gateway.toml", config);
    let stderr = std::fs::File::create(folder.path("log")).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
        .arg(program())
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(config)
        .stderr(stderr);
    let mut running = Running::start(&mut command);
    let line = running.line();
    let address = line.trim_end_matches("/v1").rsplit_once('/').unwrap().1.parse().unwrap();
    (running, address)
}

/// A request over a connection of its own: the first line of the answer.
async fn once(address: SocketAddr, key: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = ask("hi").to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = tokio::time::timeout(PATIENCE, head(&mut stream)).await.unwrap_or_default();
    head.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn idle_connections_leave_files_for_models_servers() {
    let folder = Folder::new("open-files");
    let upstream = Upstream::answer_with(|_| hello()).await;
    let config = format!("{}{}", before(&upstream.url(), "openai"), keys(&["me"]));
    let (_running, address) = serve(&folder, 200, &config);
    let log = loop {
        let log = std::fs::read_to_string(folder.path("log")).unwrap();
        if log.contains('\n') {
            break log;
        }
        tokio::task::yield_now().await;
    };
    assert!(log.contains("at most 55 connections of clients; the limit of open files is 200"), "{log}");
    let mut idle = Vec::new();
    for i in 0..300 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        match i % 3 {
            // The beginning of a head.
            1 => stream.write_all(b"GET /livez HT").await.unwrap(),
            // A whole exchange, and then nothing.
            2 => {
                stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
                assert!(head(&mut stream).await.contains(" 200 "));
            }
            _ => {}
        }
        idle.push(stream);
        if i % 10 == 9 {
            let status = once(address, "me").await;
            assert!(status.contains(" 200 "), "with {} idle connections: {status}", i + 1);
        }
    }
    assert!(is_closed(&mut idle[0]).await, "the longest idle has given its place up");
}

#[tokio::test]
async fn a_connection_that_is_answered_keeps_its_place() {
    // The stream waits in its middle until the test lets it go on.
    let (go, gone) = tokio::sync::watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut gone = gone.clone();
            tokio::spawn(async move {
                let _ = head(&mut stream).await;
                let first = chunk(&chunk_event(&json!({"role": "assistant", "content": "a"}), &Value::Null));
                stream.write_all(&chunked_head("200 OK", "text/event-stream")).await.unwrap();
                stream.write_all(&first).await.unwrap();
                gone.wait_for(|gone| *gone).await.unwrap();
                let last = chunk(&chunk_event(&json!({"content": "z"}), &json!("stop")));
                let _ = stream.write_all(&[&last[..], b"0\r\n\r\n"].concat()).await;
            });
        }
    });
    let config = format!("[limits]\nconnections_max = 4\n{}", before(&upstream, "openai"));
    let served = Served::start(&config).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]})
            .to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n\
             {body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(head(&mut stream).await.contains(" 200 "));
        busy.push(stream);
    }
    let mut fifth = TcpStream::connect(served.address()).await.unwrap();
    fifth.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut waits = Box::pin(head(&mut fifth));
    assert!(tokio::time::timeout(Duration::from_millis(300), waits.as_mut()).await.is_err(), "all are busy");
    go.send(true).unwrap();
    for mut stream in busy {
        let mut rest = Vec::new();
        let mut piece = [0; 4096];
        while !String::from_utf8_lossy(&rest).contains("[DONE]") {
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "an answer was cut off: {}", String::from_utf8_lossy(&rest));
            rest.extend_from_slice(&piece[..read]);
        }
    }
    assert!(waits.await.contains(" 200 "), "then one of them gives its place up");
}

#[tokio::test]
async fn unknown_clients_that_do_not_read_give_their_places_up() {
    let upstream = Upstream::answer_with(|_| hello()).await;
    let config =
        format!("[limits]\nconnections_max = 4\n{}{}", before(&upstream.url(), "openai"), keys(&["me"]));
    let served = Served::start(&config).await;
    let probes = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(4_000);
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        // Until nothing more is taken: the answers lie in the way.
        while tokio::time::timeout(Duration::from_millis(300), stream.write_all(probes.as_bytes()))
            .await
            .is_ok()
        {}
        stalled.push(stream);
    }
    let answered = tokio::time::timeout(PATIENCE / 2, once(served.address(), "me")).await;
    assert!(answered.unwrap().contains(" 200 "), "a client with a key is answered meanwhile");
}

#[tokio::test]
async fn who_has_no_key_loses_the_connection_and_still_gets_the_answer() {
    let upstream = Upstream::answer_with(|_| hello()).await;
    let config = format!("{}{}", before(&upstream.url(), "openai"), keys(&["me"]));
    let served = Served::start(&config).await;
    for size in [0, 100, 20 << 20] {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer x\r\n\
             content-length: {size}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        // As most libraries do, all of the body goes out before the answer is read.
        let sent = stream.write_all(&vec![b' '; size]).await;
        assert!(sent.is_ok(), "{size} bytes: {sent:?}");
        let answer = head(&mut stream).await.to_ascii_lowercase();
        assert!(answer.contains(" 401 ") && answer.contains("connection: close"), "{size} bytes: {answer}");
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(end.is_ok_and(|it| it.is_ok()), "{size} bytes: the connection ends in good order");
    }
}

#[tokio::test]
async fn one_key_leaves_requests_for_the_others() {
    let upstream = Upstream::answer_with(|seen| {
        let is_held = String::from_utf8_lossy(&seen.body).contains("hold");
        if is_held { vec![Step::Stall] } else { hello() }
    })
    .await;
    for (more, names, share) in
        [("", vec!["a", "b"], 6), ("requests_max_per_key = 2\n", vec!["a", "b"], 2), ("", vec!["a"], 8)]
    {
        let target = before(&upstream.url(), "openai");
        let config = format!("[limits]\nrequests_max = 8\n{more}{target}{}", keys(&names));
        let served = Arc::new(Served::start(&config).await);
        let seen = upstream.seen().len();
        let held: Vec<_> = (0..share)
            .map(|_| {
                let served = Arc::clone(&served);
                tokio::spawn(async move { post(&served, "a", &ask("hold")).await })
            })
            .collect();
        while upstream.seen().len() < seen + share {
            tokio::task::yield_now().await;
        }
        let (status, body, wait) = post(&served, "a", &ask("hi")).await;
        let expected = if share == 8 { "8 requests run already" } else { "`requests_max_per_key`" };
        assert_eq!(status, if share == 8 { 503 } else { 429 });
        assert!(body["error"]["message"].as_str().unwrap().contains(expected), "{body}");
        assert_eq!(body["error"]["code"], if share == 8 { "overloaded" } else { "rate_limit_exceeded" });
        assert_eq!(wait.as_deref(), Some("1"));
        if names.len() > 1 {
            assert_eq!(post(&served, "b", &ask("hi")).await.0, 200, "the other key has its own share");
        }
        // A client that leaves gives its place back.
        for task in &held {
            task.abort();
        }
        served.wait_for(held.len()).await;
        while post(&served, "a", &ask("hi")).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn bodies_that_are_sent_by_half_are_requests_too() {
    let upstream = Upstream::answer_with(|_| hello()).await;
    let target = before(&upstream.url(), "openai");
    let config = format!("[limits]\nrequests_max = 8\n{target}{}", keys(&["a", "b"]));
    let served = Served::start(&config).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        let request = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                       authorization: Bearer a\r\ncontent-length: 100\r\nexpect: 100-continue\r\n\r\n{";
        stream.write_all(request.as_bytes()).await.unwrap();
        // The server asks for the body when the head has been let in.
        assert!(head(&mut stream).await.contains(" 100 "));
        held.push(stream);
    }
    assert_eq!(post(&served, "a", &ask("hi")).await.0, 429);
    assert_eq!(post(&served, "b", &ask("hi")).await.0, 200);
}

fn resident_bytes(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn two_thousand_half_sent_bodies_stay_below_the_limit_of_memory() {
    const LIMIT: usize = 64 << 20;
    const HELD: usize = 60;
    let folder = Folder::new("half-sent");
    let upstream = Upstream::answer_with(|_| hello()).await;
    let target = before(&upstream.url(), "openai");
    let limits = format!("[limits]\nrequest_bytes_max = {}\nbodies_bytes_max = {LIMIT}\n", 2 << 20);
    let (running, address) = serve(&folder, 8192, &format!("{limits}{target}{}", keys(&["a", "b"])));
    assert!(once(address, "b").await.contains(" 200 "));
    let before = resident_bytes(running.id());
    let piece = vec![b' '; 1 << 20];
    let mut half = Vec::new();
    let mut refused = 0;
    for i in 0..2000 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nauthorization: Bearer a\r\n\
             content-length: {}\r\n\r\n",
            piece.len() + 100
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.write_all(&piece).await.unwrap();
        // The first are held in silence, as many as have room and some more. From then on the answer is there without the end
        // of the body.
        if i < HELD {
            half.push(stream);
        } else {
            // On a busy machine the first have not been read yet, and this one has still room.
            match tokio::time::timeout(Duration::from_secs(5), head(&mut stream)).await {
                Err(_) => half.push(stream),
                Ok(answer) => {
                    assert!(answer.contains(" 429 "), "body {i}: {answer}");
                    refused += 1;
                }
            }
        }
        if i % 500 == 0 {
            let status = once(address, "b").await;
            assert!(status.contains(" 200 "), "the other key is answered: {status}");
        }
    }
    assert!(refused > 1_800, "only {refused} bodies were refused");
    let more = resident_bytes(running.id()).saturating_sub(before);
    assert!(more < 2 * LIMIT, "{} MiB for {refused} refused bodies", more >> 20);
    // Those that were held get their answer, if they had room.
    let mut answered = 0;
    for mut stream in half {
        if stream.write_all(&[b' '; 100]).await.is_ok() {
            answered += usize::from(head(&mut stream).await.contains(" 400 "));
        }
    }
    // Three quarters of the room, and each body has announced a little more than a MiB.
    assert!((40..=48).contains(&answered), "{answered} of the first had room");
    assert!(once(address, "a").await.contains(" 200 "), "the room is free again");
    // The system's allocator keeps some of it for the next bodies, but not all.
    let kept = resident_bytes(running.id()).saturating_sub(before);
    assert!(kept < LIMIT / 2, "{} MiB are kept", kept >> 20);
}

#[tokio::test]
async fn answers_and_events_without_room_are_errors() {
    const LIMIT: usize = 4 << 20;
    let text = "x".repeat(LIMIT + 1);
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]});
    let whole = answer("200 OK", "application/json", &[], whole.to_string().as_bytes());
    let first = chunk_event(&json!({"role": "assistant", "content": "a"}), &Value::Null);
    let large = chunk_event(&json!({"content": text}), &Value::Null);
    let last = chunk_event(&json!({}), &json!("stop"));
    let upstream = Upstream::answer_with(move |seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let stream = |events: &[&[u8]]| {
            let mut steps = vec![Step::Write(chunked_head("200 OK", "text/event-stream"))];
            steps.extend(events.iter().map(|event| Step::Write(chunk(event))));
            steps.push(Step::Write(chunk(b"data: [DONE]\n\n")));
            steps.push(Step::Write(b"0\r\n\r\n".to_vec()));
            steps
        };
        if body.contains("whole") {
            vec![Step::Write(whole.clone())]
        } else if body.contains("large-first") {
            stream(&[&large, &last])
        } else if body.contains("large") {
            stream(&[&first, &large, &last])
        } else {
            hello()
        }
    })
    .await;
    let paid = Upstream::answer_with(|_| hello()).await;
    let config = format!(
        "[limits]\nrequest_bytes_max = 100000\nbodies_bytes_max = {LIMIT}\n\
         [targets.first]\nkind = \"openai\"\nbase_url = \"{}/v1\"\ndialect = \"openai\"\nretries = 0\n\
         [targets.paid]\nkind = \"openai\"\nbase_url = \"{}/v1\"\ndialect = \"openai\"\n\
         [[models]]\nname = \"m\"\nto = [{{ target = \"first\" }}]\nfallback = [{{ target = \"paid\" }}]\n",
        upstream.url(),
        paid.url()
    );
    let served = Served::start(&config).await;
    for (what, is_stream) in [("whole", false), ("large-first", true)] {
        let mut body = ask(what);
        body["stream"] = is_stream.into();
        let got = served.complete(&body).await;
        assert_eq!(got.status, 503, "{what}: {}", got.text());
        let error = &got.json()["error"];
        assert_eq!(error["code"], "overloaded");
        assert!(error["message"].as_str().unwrap().contains("`bodies_bytes_max`"), "{error}");
    }
    let mut body = ask("large");
    body["stream"] = true.into();
    let got = served.complete(&body).await;
    assert_eq!(got.status, 200);
    let text = got.text();
    assert!(text.contains("\"content\":\"a\"") && text.contains("`bodies_bytes_max`"), "{text}");
    assert!(!text.contains("[DONE]"), "what is not whole has no such end");
    // The server was well: it is not left alone, and nothing has gone to the fallback.
    assert!(paid.seen().is_empty());
    for _ in 0..3 {
        let got = served.complete(&ask("hi")).await;
        assert_eq!((got.status, got.header("x-vertex-chat-target")), (StatusCode::OK, Some("first")));
    }
}

#[tokio::test]
async fn large_answers_that_clients_do_not_take_count_until_they_are_taken() {
    const LIMIT: usize = 64 << 20;
    // More than the buffers of the two sockets hold.
    let text = "x".repeat(24 << 20);
    let whole = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]});
    let whole = answer("200 OK", "application/json", &[], whole.to_string().as_bytes());
    let upstream = Upstream::answer_with(move |_| vec![Step::Write(whole.clone())]).await;
    let limits = format!("[limits]\nrequest_bytes_max = 100000\nbodies_bytes_max = {LIMIT}\n");
    let served = Served::start(&format!("{limits}{}", before(&upstream.url(), "openai"))).await;
    let mut lazy = Vec::new();
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let mut stream = TcpStream::connect(served.address()).await.unwrap();
        let body = ask("hi").to_string();
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n\
             {body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        statuses.push(String::from_utf8_lossy(&start[9..]).into_owned());
        lazy.push(stream);
    }
    assert!(statuses.contains(&"200".to_owned()) && statuses.contains(&"503".to_owned()), "{statuses:?}");
    for mut stream in lazy {
        tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
    }
    while served.complete(&ask("hi")).await.status != 200 {
        tokio::task::yield_now().await;
    }
}

/// A frame of HTTP/2: its length, type, flags and stream, and what is in it (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Answers the first requests with as much as their windows allow, and those after them with a little, if the connection's
/// window allows it.
async fn http2(mut stream: impl AsyncRead + AsyncWrite + Unpin, slow: usize) -> std::io::Result<()> {
    const FIELDS: &[u8] = b"\x88\x0f\x10\x10application/json";
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(4, 0, 0, &[])).await?;
    let (mut connection_window, mut stream_window) = (65_535_usize, 65_535_usize);
    let mut requests = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await?;
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap()) as usize;
        match head[3] {
            // SETTINGS: the initial window of streams is number 4.
            4 if head[4] & 1 == 0 => {
                for at in (0..payload.len()).step_by(6) {
                    if payload[at..at + 2] == [0, 4] {
                        stream_window = word(at + 2);
                    }
                }
                stream.write_all(&frame(4, 1, 0, &[])).await?;
            }
            // WINDOW_UPDATE of the connection.
            8 if number == 0 => connection_window += word(0),
            // The end of a request's HEADERS or DATA.
            0 | 1 if head[4] & 1 != 0 => {
                requests += 1;
                stream.write_all(&frame(1, 4, number, FIELDS)).await?;
                let size = if requests <= slow { stream_window } else { 1000 };
                let size = size.min(connection_window);
                connection_window -= size;
                let data = vec![b' '; size];
                for (i, piece) in data.chunks(16_384).enumerate() {
                    let is_last = requests > slow && (i + 1) * 16_384 >= size;
                    stream.write_all(&frame(0, u8::from(is_last), number, piece)).await?;
                }
                stream.flush().await?;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn answers_that_wait_for_slow_clients_hold_up_no_others_of_their_connection() {
    const SLOW: usize = 90;
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor(false, &["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // One connection is all that there is.
        let (stream, _) = listener.accept().await.unwrap();
        let _ = http2(acceptor.accept(stream).await.unwrap(), SLOW).await;
    });
    let connector =
        HttpConnector::new().with_root_certificates_pem(certificates.root_pem().as_bytes()).unwrap();
    let exchange = connector.connect(&Profile::Public).unwrap();
    let request = || {
        let mut request = Request::new("{}".into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("https://localhost:{port}/").parse().unwrap();
        request
    };
    let mut waiting = Vec::new();
    for _ in 0..SLOW {
        waiting.push(exchange.send(request()).await.unwrap().into_body());
    }
    let fast = async { exchange.send(request()).await.unwrap().into_body().collect(1000).await.unwrap() };
    let body = tokio::time::timeout(PATIENCE, fast).await;
    assert_eq!(body.expect("the slow ones hold it up").len(), 1000);
}
