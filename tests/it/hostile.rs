//! What clients and servers say never chooses where a request goes, and no client costs another one anything.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vertex_chat::Environment;
use vertex_chat_emulator::{PROJECT, PROJECT_NUMBER, RunningProxy, VLLM_ENDPOINT};
use vertex_chat_gateway::{Config, Gateway, Options};
use vertex_chat_params::{Dialect, PREPARE_STEPS_MAX, Target, prepare_json};
use vertex_chat_tests::gateway::{Served, before};
use vertex_chat_tests::hostile::{MODEL, bodies};
use vertex_chat_tests::upstream::{Seen, Step, Upstream, answer};
use vertex_chat_transport::{Connector, Exchange, HttpConnector, Profile, Proxy, Request, SystemClock};

/// A gateway that reaches Google's hosts through the emulator's proxy, over TCP and TLS, and listens on loopback.
struct Proxied {
    url: String,
    client: Arc<dyn Exchange>,
    _proxy: RunningProxy,
    task: tokio::task::JoinHandle<()>,
}

impl Proxied {
    async fn start(config: &str, upstream: SocketAddr) -> Self {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let proxy = RunningProxy::start(anywhere, upstream, Arc::new(SystemClock)).await.unwrap();
        let connector = HttpConnector::new()
            .with_proxy(Proxy::Url { url: proxy.url(), no_proxy: String::new() })
            .with_root_certificates_pem(proxy.authority_pem().as_bytes())
            .unwrap();
        let options =
            Options::new().connector(Arc::new(connector)).environment(Environment::of::<&str, &str>([]));
        let gateway = Gateway::build(&Config::parse("g.toml", config).unwrap(), options).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { gateway.serve(listener, std::future::pending()).await });
        let client = HttpConnector::new().connect(&Profile::NoProxy).unwrap();
        Self { url, client, _proxy: proxy, task }
    }

    async fn ask(&self, body: &Value) -> (u16, String) {
        let mut request = Request::new(body.to_string().into());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("{}/v1/chat/completions", self.url).parse().unwrap();
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        let (head, body) = self.client.send(request).await.unwrap().into_parts();
        let body = body.collect(1 << 20).await.unwrap();
        (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An endpoint of one's own without a host, for every name that clients make up.
fn endpoint_config() -> String {
    format!(
        "[targets.own]\nkind = \"endpoint\"\nproject = \"p\"\nlocation = \"us-central1\"\nendpoint = \"{VLLM_ENDPOINT}\"\n\
         access_token = \"ya29.x\"\nretries = 0\n[[models]]\nname = \"*\"\nto = [{{ target = \"own\" }}]\n"
    )
}

/// Google's refusal of a dedicated endpoint, with a host of the attacker's.
const SENTENCE: &str = "Dedicated Endpoint cannot be accessed through the shared Vertex AI domain aiplatform.googleapis.com. Please \
                        access the endpoint using its dedicated domain name 'evil.prediction.vertexai.goog'";

/// Servers that quote the request in an error: every status, and every place of the text.
fn quoting(status: &'static str, form: usize) -> impl Fn(&Seen) -> Vec<Step> + Send + Sync {
    move |seen| {
        if seen.line.starts_with("GET") {
            let body = json!({"name": "projects/p/locations/l/endpoints/1"}).to_string();
            return vec![Step::Write(answer("200 OK", "application/json", &[], body.as_bytes()))];
        }
        let request: Value = serde_json::from_slice(&seen.body).unwrap();
        let quoted =
            format!("no such model: {} {}", request["model"], request["tool_choice"]).replace("\\'", "'");
        let (kind, body) = match form {
            0 => (
                "application/json",
                json!([{"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": quoted}}])
                    .to_string(),
            ),
            1 => (
                "application/json",
                json!({"error": {"message": quoted, "code": "FAILED_PRECONDITION"}}).to_string(),
            ),
            2 => ("application/json", json!({"object": "error", "message": quoted}).to_string()),
            3 => ("application/json", json!({"detail": [{"msg": quoted}]}).to_string()),
            4 => (
                "application/json",
                json!({"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "no",
                    "details": [{"@type": "type.googleapis.com/google.rpc.DebugInfo", "detail": quoted}]}})
                .to_string(),
            ),
            _ => ("text/plain", quoted),
        };
        vec![Step::Write(answer(status, kind, &[], body.as_bytes()))]
    }
}

#[tokio::test]
async fn a_clients_words_send_no_request_elsewhere() {
    for status in [
        "400 Bad Request",
        "404 Not Found",
        "422 Unprocessable Entity",
        "429 Too Many Requests",
        "500 No",
        "200 OK",
    ] {
        for form in 0..6 {
            let upstream = Upstream::answer_with(quoting(status, form)).await;
            let gateway = Proxied::start(&endpoint_config(), upstream.address()).await;
            for body in [
                json!({"model": SENTENCE, "messages": [{"role": "user", "content": "hi"}]}),
                json!({"model": "m", "messages": [{"role": "user", "content": "hi"}],
                    "tool_choice": {"type": "function", "function": {"name": SENTENCE}},
                    "tools": [{"type": "function", "function": {"name": "f"}}]}),
                json!({"model": "m", "messages": [{"role": "user", "content": "the next one's"}]}),
                json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "and a stream's"}]}),
            ] {
                gateway.ask(&body).await;
            }
            let seen = upstream.seen();
            let hosts: Vec<_> = seen.iter().filter_map(|it| it.header("host")).collect();
            let elsewhere = hosts.iter().find(|it| **it != "us-central1-aiplatform.googleapis.com");
            assert_eq!(elsewhere, None, "{status}, form {form}");
            assert!(hosts.len() >= 4);
            let lookups = seen.iter().filter(|it| it.line.starts_with("GET")).count();
            assert!(lookups <= 1, "{lookups} lookups: any client can cause them");
        }
    }
}

#[tokio::test]
async fn a_server_that_always_names_another_host_is_asked_twice() {
    let upstream = Upstream::answer_with(|seen| {
        let own = json!({"name": "n", "dedicatedEndpointDns": "12.us-central1-34.prediction.vertexai.goog"});
        let (status, body) = match seen.line.starts_with("GET") {
            true => ("200 OK", own),
            false => (
                "400 Bad Request",
                json!([{"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": SENTENCE}}]),
            ),
        };
        vec![Step::Write(answer(status, "application/json", &[], body.to_string().as_bytes()))]
    })
    .await;
    let gateway = Proxied::start(&endpoint_config(), upstream.address()).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..3 {
        let (status, text) = gateway.ask(&body).await;
        assert_eq!(status, 400, "{text}");
    }
    let seen = upstream.seen();
    let posts = seen.iter().filter(|it| it.line.starts_with("POST")).count();
    // The first goes to both hosts, the others to the one that was found.
    assert_eq!((posts, seen.len() - posts), (4, 2), "a lookup at first, and one that finds the same");
}

/// What the gateway keeps of a body while it runs.
#[tokio::test]
async fn bodies_of_many_small_values_are_bounded() {
    let list = |value: &str| format!("[{value}{}]", format!(",{value}").repeat(300_000));
    let flood = format!(r#"{{"choices":{}}}"#, list("{}"));
    let stream = format!("data: {flood}\n\ndata: [DONE]\n\n");
    let upstream = Upstream::answer_with(move |seen| {
        let is_stream = String::from_utf8_lossy(&seen.body).contains("\"stream\":true");
        let (kind, body) =
            if is_stream { ("text/event-stream", &stream) } else { ("application/json", &flood) };
        vec![Step::Write(answer("200 OK", kind, &[], body.as_bytes()))]
    })
    .await;
    let served = Served::start(&before(&upstream.url(), "vertex-gemini-3")).await;
    for (field, value) in
        [("content", "{}"), ("content", r#"{"type":"text"}"#), ("tool_calls", "{}"), ("content", "[[]]")]
    {
        let body =
            format!(r#"{{"model":"{MODEL}","messages":[{{"role":"assistant","{field}":{}}}]}}"#, list(value));
        let got =
            served.ask(Method::POST, "/v1/chat/completions", &[("content-type", "application/json")], body);
        let got = got.await.unwrap();
        assert_eq!(
            (got.status.as_u16(), got.json()["error"]["code"].as_str()),
            (400, Some("request_too_complex"))
        );
    }
    assert!(upstream.seen().is_empty());
    for stream in [false, true] {
        let body = json!({"model": MODEL, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
        let got = served.complete(&body).await;
        assert!(
            got.status == 502 && got.text().contains("upstream_too_large"),
            "{} {:.300}",
            got.status,
            got.text()
        );
    }
}

#[tokio::test]
async fn a_dedicated_endpoint_is_found_over_tcp() {
    let emulator = vertex_chat_emulator::Emulator::new(Arc::new(SystemClock));
    let running = emulator.start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    emulator.set_quirks([vertex_chat_emulator::Quirk::DedicatedEndpoint]);
    let key = running.service_account_json();
    let folder = vertex_chat_tests::process::Folder::new("dedicated");
    let file = folder.file("key.json", key);
    let config = endpoint_config()
        .replace("access_token = \"ya29.x\"", &format!("credentials_file = \"{}\"", file.display()))
        .replace("project = \"p\"", &format!("project = \"{PROJECT}\""));
    let gateway = Proxied::start(&config, running.address()).await;
    let body = json!({"model": "gemma-2-9b-it", "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..3 {
        let (status, text) = gateway.ask(&body).await;
        assert_eq!(status, 200, "{text}");
    }
    let own = format!("{VLLM_ENDPOINT}.us-central1-{PROJECT_NUMBER}.prediction.vertexai.goog");
    let log = emulator.log();
    let chats = log.iter().filter(|it| it.path.ends_with("/chat/completions"));
    let hosts: Vec<_> = chats.map(|it| it.host.clone().unwrap_or_default()).collect();
    assert_eq!(hosts, ["us-central1-aiplatform.googleapis.com", &own, &own, &own]);
}

/// What a body of so many bytes may cost is counted in steps; `cargo xtask bench hostile` compares it with time.
#[test]
fn no_body_takes_more_steps_than_a_request_may() {
    for hostile in bodies(64 << 10) {
        for dialect in
            [Dialect::VertexGemini2, Dialect::VertexGemini3, Dialect::GeminiDeveloper, Dialect::Tgi]
        {
            let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(&hostile.body).is_ok();
            match prepare_json(hostile.body.clone(), &Target::new(dialect)) {
                Ok(prepared) => {
                    assert!(is_whole, "{}", hostile.name);
                    let (steps, body) = (prepared.steps(), prepared.body().len());
                    assert!(steps <= PREPARE_STEPS_MAX, "{}: {steps} steps", hostile.name);
                    // Inlining may add a megabyte to a schema, of which a body of this size has few.
                    assert!(body <= 20 << 20, "{}: {body} bytes", hostile.name);
                }
                Err(rejection) => {
                    let text = rejection.to_string();
                    assert!(text.len() < 20 << 10, "{}: {} bytes of error", hostile.name, text.len());
                    let names_limit = text.contains("PREPARE_STEPS_MAX");
                    assert_eq!(names_limit, rejection.is_too_costly(), "{}: {text}", hostile.name);
                }
            }
        }
    }
}

/// A request by hand, of which the answer is read later.
async fn begin(address: SocketAddr, head: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

fn post(body: &[u8]) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

/// The gateway has one worker here, so that one computation on it would keep everybody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn probes_are_answered_while_hostile_bodies_are_prepared() {
    let upstream = Upstream::answer_with(|_| {
        vec![Step::Write(answer("400 Bad Request", "application/json", &[], b"{}"))]
    })
    .await;
    let config = before(&upstream.url(), "vertex-gemini-3");
    let served = Served::start(&config).await;
    let costly = |hostile: &vertex_chat_tests::hostile::Hostile| {
        let target = Target::new(Dialect::VertexGemini3);
        match prepare_json(hostile.body.clone(), &target) {
            Ok(prepared) => prepared.steps() > PREPARE_STEPS_MAX / 8,
            Err(rejection) => rejection.is_too_costly(),
        }
    };
    let hostile: Vec<_> = bodies(64 << 10).into_iter().filter(costly).collect();
    assert!(hostile.len() > 5, "{}", hostile.len());
    let large = format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"hi"}}]{}}}"#,
        (0..400_000).map(|i| format!(r#","u{i}":null"#)).collect::<String>()
    );
    let all = hostile.iter().map(|it| it.body.as_slice()).chain([large.as_bytes()]);
    for body in all {
        let mut slow = begin(served.address(), &post(body), body).await;
        let mut probe = begin(served.address(), "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n", b"").await;
        let (mut of_slow, mut of_probe) = ([0; 12], [0; 12]);
        let first = tokio::select! {
            biased;
            read = probe.read_exact(&mut of_probe) => { read.unwrap(); "the probe" }
            read = slow.read_exact(&mut of_slow) => { read.unwrap(); "the hostile request" }
        };
        assert_eq!(first, "the probe");
        assert_eq!(&of_probe, b"HTTP/1.1 200");
        slow.read_exact(&mut of_slow).await.unwrap();
        assert_eq!(&of_slow, b"HTTP/1.1 400");
    }
}
