//! The facade: where a client goes by its settings and environment, what a call sends, and what it gives back.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use vertex_chat::transport::{Clock, SimulatedClock, SystemClock};
use vertex_chat::types::ToolChoice;
use vertex_chat::{
    CallOptions, ChatCompletion, ChatRequest, Client, ClientBuilder, Dialect, Environment, ErrorKind, Json,
    Message, Policy, RetryPolicy, Rewrite, Rewrites, Sent, Timeouts, Tool,
};
use vertex_chat_emulator::{Emulator, Fault, FaultPlace, LOCATION, PROJECT, RunningEmulator, VLLM_ENDPOINT};
use vertex_chat_tests::process::Folder;
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunked_head};

const MODEL: &str = "google/gemini-2.5-flash";

fn request() -> ChatRequest {
    ChatRequest::new(MODEL, [Message::user("Write a story about a magic backpack.")])
}

/// Nothing, and no looking for a metadata server either.
fn no_environment() -> Environment {
    Environment::of([("NO_GCE_CHECK", "true")])
}

async fn emulator() -> RunningEmulator {
    Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn client_of(running: &RunningEmulator) -> ClientBuilder {
    let json = running.service_account_json();
    Client::builder()
        .environment(no_environment())
        .location(LOCATION)
        .host(running.base_url())
        .credentials_json(json)
}

/// A client of a server that says what it is told, one attempt a call unless said otherwise.
fn client_at(upstream: &Upstream) -> ClientBuilder {
    Client::builder()
        .environment(no_environment())
        .base_url(format!("{}/v1", upstream.url()))
        .retry(RetryPolicy::never())
}

fn completion(content: &str) -> Vec<Step> {
    let body = json!({"id": "c-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]});
    vec![Step::Write(answer(
        "200 OK",
        "application/json",
        &[("x-request-id", "r-1")],
        body.to_string().as_bytes(),
    ))]
}

#[tokio::test]
async fn the_environment_is_looked_into_in_the_documented_order() {
    let running = emulator().await;
    let folder = Folder::new("precedence");
    let key = folder.file("key.json", running.service_account_json());
    let key = key.to_str().unwrap();
    let vertex = |project: &str, location: &str, endpoint: &str| {
        let host = match location {
            "global" => "aiplatform.googleapis.com".to_owned(),
            "eu" => "aiplatform.eu.rep.googleapis.com".to_owned(),
            region => format!("{region}-aiplatform.googleapis.com"),
        };
        format!(
            "https://{host}/v1/projects/{project}/locations/{location}/endpoints/{endpoint}/chat/completions"
        )
    };
    let check = |variables: &[(&str, &str)], set: fn(ClientBuilder) -> ClientBuilder, url: &str| {
        let environment = Environment::of(variables.iter().copied());
        let client = set(Client::builder().environment(environment)).build();
        assert_eq!(
            client.unwrap_or_else(|error| panic!("{variables:?}: {error}")).chat_url(),
            url,
            "{variables:?}"
        );
    };
    let adc = ("GOOGLE_APPLICATION_CREDENTIALS", key);
    check(&[adc], |it| it, &vertex(PROJECT, "global", "openapi"));
    check(&[adc, ("GCLOUD_PROJECT", "g")], |it| it, &vertex("g", "global", "openapi"));
    check(
        &[adc, ("GCLOUD_PROJECT", "g"), ("GOOGLE_CLOUD_PROJECT", "c")],
        |it| it,
        &vertex("c", "global", "openapi"),
    );
    check(&[adc, ("GOOGLE_CLOUD_PROJECT", "c")], |it| it.project("set"), &vertex("set", "global", "openapi"));
    check(&[adc, ("GOOGLE_CLOUD_LOCATION", "eu")], |it| it, &vertex(PROJECT, "eu", "openapi"));
    check(
        &[adc, ("GOOGLE_CLOUD_LOCATION", "eu")],
        |it| it.location("us-west1"),
        &vertex(PROJECT, "us-west1", "openapi"),
    );
    check(
        &[adc, ("GOOGLE_CLOUD_LOCATION", "us-west1")],
        |it| it.endpoint("12"),
        &vertex(PROJECT, "us-west1", "12"),
    );
    // A base URL of the environment counts unless names are set.
    let base = ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1");
    check(&[adc, base], |it| it, "http://127.0.0.1:9/v1/chat/completions");
    check(
        &[adc, base],
        |it| it.base_url("https://api.openai.com/v1/"),
        "https://api.openai.com/v1/chat/completions",
    );
    check(&[adc, base], |it| it.location("global"), &vertex(PROJECT, "global", "openapi"));
    // An empty variable is none.
    check(
        &[adc, ("OPENAI_BASE_URL", ""), ("GOOGLE_CLOUD_PROJECT", "")],
        |it| it,
        &vertex(PROJECT, "global", "openapi"),
    );
}

#[test]
fn what_is_missing_or_contradicts_is_told_with_the_remedy() {
    let refused = |client: ClientBuilder| {
        let error = client.build().unwrap_err();
        assert_eq!((error.kind(), error.sent()), (ErrorKind::Configuration, Sent::No), "{error}");
        error.to_string()
    };
    let builder = || Client::builder().environment(no_environment());
    for (client, words) in [
        (builder(), "GOOGLE_APPLICATION_CREDENTIALS is not set"),
        (builder().access_token("ya29.x"), "GOOGLE_CLOUD_PROJECT"),
        (builder().access_token("ya29.x").project("p").endpoint("1"), "GOOGLE_CLOUD_LOCATION"),
        (builder().base_url("http://127.0.0.1/v1").project("p"), "keep one way"),
        (builder().base_url("127.0.0.1/v1").anonymous(), "https://"),
        (builder().base_url("https://u:p@h/v1").anonymous(), "user name"),
        (builder().access_token("ya29.x").project("a/b"), "the project is not a name"),
        (builder().access_token("ya29.x\n").project("p"), "token"),
        (builder().access_token("ya29.x").base_url("https://api.openai.com/v1"), "not Google's"),
        (builder().api_key("sk-x").project("p"), "OpenAI's"),
        (builder().access_token("ya29.x").project("p").host("http://10.0.0.1"), "without TLS"),
        (builder().credentials_file("/nonexistent/key.json"), "/nonexistent/key.json"),
    ] {
        let said = refused(client);
        assert!(said.contains(words), "{words}: {said}");
        assert!(!said.contains("ya29.x") && !said.contains("sk-x"), "{said}");
    }
    let allowed = builder().access_token("ya29.x").base_url("https://proxy.example/v1");
    assert!(allowed.allow_token_host("proxy.example").build().is_ok());
}

#[test]
fn the_dialect_follows_from_the_endpoint_and_the_model() {
    let client = |endpoint: Option<&str>| {
        let builder = Client::builder()
            .environment(no_environment())
            .access_token("t")
            .project("p")
            .location("us-central1");
        endpoint.map_or(builder.clone(), |id| builder.endpoint(id)).build().unwrap()
    };
    assert_eq!(client(None).dialect(Some(MODEL)), Dialect::VertexGemini2);
    assert_eq!(client(None).dialect(Some("google/gemini-77-ultra")), Dialect::VertexGemini3);
    assert_eq!(client(None).dialect(Some("meta/llama-4")), Dialect::VertexPartner);
    assert_eq!(client(Some("1234567890")).dialect(Some(MODEL)), Dialect::Vllm);
    assert_eq!(client(Some("1234567890")).dialect(None), Dialect::Vllm);
    let named = Client::builder().environment(no_environment()).anonymous().base_url("http://127.0.0.1:1/v1");
    assert_eq!(named.clone().build().unwrap().dialect(None), Dialect::OpenAi);
    assert_eq!(named.dialect(Dialect::Tgi).build().unwrap().dialect(None), Dialect::Tgi);
}

#[tokio::test]
async fn a_model_never_escapes_into_the_path() {
    let upstream = Upstream::start(vec![completion("hi")]).await;
    let base = format!("{}/v1/projects/p/locations/us-central1/endpoints/12", upstream.url());
    let client =
        Client::builder().environment(no_environment()).access_token("t").base_url(base).build().unwrap();
    for model in ["../../../secret", "a/b?c#d", "x\r\nhost: evil", "%2e%2e/é"] {
        let answer = client.chat(ChatRequest::new(model, [Message::user("hi")])).await;
        assert!(answer.is_ok(), "{model}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(
            seen.line,
            "POST /v1/projects/p/locations/us-central1/endpoints/12/chat/completions HTTP/1.1"
        );
        assert_eq!(serde_json::from_slice::<Value>(&seen.body).unwrap()["model"], model);
    }
}

#[tokio::test]
async fn a_call_sends_its_headers_and_gives_back_the_answers() {
    let upstream = Upstream::start(vec![completion("hi")]).await;
    let header = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    let (name, value) = header("x-mine", "client");
    let (auth, stolen) = header("authorization", "Bearer stolen");
    let client = client_at(&upstream)
        .api_key("k-1")
        .header(name, value)
        .header(auth.clone(), stolen.clone())
        .build()
        .unwrap();
    client.chat(request()).await.unwrap();
    let (name, value) = header("x-mine", "call");
    let options = CallOptions::new().with_header(name, value).with_header(auth, stolen);
    let answer = client.chat_with(request(), &options).await.unwrap();
    assert_eq!(
        (answer.meta().status(), answer.meta().request_id(), answer.meta().attempts()),
        (StatusCode::OK, Some("r-1"), 1)
    );
    assert_eq!(answer.meta().headers()["x-request-id"], "r-1");
    let seen = upstream.seen();
    for (seen, mine) in seen.iter().zip(["client", "call"]) {
        assert_eq!(seen.header("authorization"), Some("Bearer k-1"));
        assert_eq!(
            (seen.header("x-mine"), seen.header("content-type")),
            (Some(mine), Some("application/json"))
        );
        assert!(seen.header("user-agent").unwrap().starts_with("vertex-chat/"));
    }

    let refused = Upstream::start(vec![vec![Step::Write(answer_of_429("7"))]]).await;
    let error = client_at(&refused).anonymous().build().unwrap().chat(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Api, Some(StatusCode::TOO_MANY_REQUESTS)));
    assert_eq!((error.google_status(), error.request_id()), (Some("RESOURCE_EXHAUSTED"), Some("r-2")));
    assert_eq!(
        (error.retry_after(), error.attempts(), error.sent()),
        (Some(Duration::from_secs(7)), 1, Sent::Yes)
    );
    assert!(error.is_retryable() && error.headers()["retry-after"] == "7");
    assert_eq!(refused.seen()[0].header("authorization"), None);
}

fn answer_of_429(retry_after: &str) -> Vec<u8> {
    let body = br#"[{"error":{"code":429,"message":"Resource exhausted","status":"RESOURCE_EXHAUSTED"}}]"#;
    answer(
        "429 Too Many Requests",
        "application/json",
        &[("retry-after", retry_after), ("x-request-id", "r-2")],
        body,
    )
}

#[tokio::test]
async fn a_billed_project_goes_with_every_call() {
    let upstream = Upstream::start(vec![completion("hi")]).await;
    let base = format!("{}/v1/projects/p/locations/l/endpoints/openapi", upstream.url());
    let environment = Environment::of([("GOOGLE_CLOUD_QUOTA_PROJECT", "from-env")]);
    let builder = Client::builder().environment(environment).access_token("t").base_url(base);
    builder.clone().build().unwrap().chat(request()).await.unwrap();
    builder.quota_project("set").build().unwrap().chat(request()).await.unwrap();
    let billed: Vec<_> =
        upstream.seen().iter().map(|it| it.header("x-goog-user-project").unwrap().to_owned()).collect();
    assert_eq!(billed, ["from-env", "set"]);
}

#[tokio::test]
async fn a_server_is_waited_for_as_long_as_the_deadline_allows() {
    let call = async |retry_after: &str, total: u64| {
        let upstream =
            Upstream::start(vec![vec![Step::Write(answer_of_429(retry_after))], completion("at last")]).await;
        let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(60));
        let timeouts = Timeouts::default()
            .with_total(Duration::from_secs(total))
            .with_first_byte(Duration::from_secs(total));
        let client = client_at(&upstream)
            .anonymous()
            .clock(Arc::new(clock.clone()))
            .retry(RetryPolicy::default())
            .timeouts(timeouts)
            .build()
            .unwrap();
        let before = clock.monotonic();
        (client.chat(request()).await, clock.monotonic() - before, upstream.seen().len())
    };
    let (answer, waited, requests) = call("20", 600).await;
    assert_eq!((answer.unwrap().text().as_str(), requests), ("at last", 2));
    assert!(waited >= Duration::from_secs(20), "{waited:?}");
    // More than is left: the caller hears of it at once, and how long it would have been.
    let (answer, waited, requests) = call("200", 100).await;
    let error = answer.unwrap_err();
    assert_eq!((error.retry_after(), waited, requests), (Some(Duration::from_secs(200)), Duration::ZERO, 1));
}

#[tokio::test]
async fn options_of_a_call_go_before_the_clients() {
    let refusal = Step::Write(answer("503 Service Unavailable", "text/plain", &[], b"busy"));
    let upstream = Upstream::start(vec![vec![refusal]]).await;
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(60));
    let client = client_at(&upstream)
        .anonymous()
        .clock(Arc::new(clock))
        .retry(RetryPolicy::default())
        .build()
        .unwrap();
    let error = client.chat_with(request(), &CallOptions::new().without_retry()).await.unwrap_err();
    assert_eq!((error.attempts(), upstream.seen().len()), (1, 1));
    let error_after_all = client.chat(request()).await.unwrap_err();
    assert!(error_after_all.attempts() > 1 && error.kind() == ErrorKind::Api);

    let running = emulator().await;
    let client = client_of(&running).build().unwrap();
    let odd = request().with_user("u");
    assert_eq!(
        client.chat(odd.clone()).await.unwrap().meta().report().dropped().collect::<Vec<_>>(),
        ["user"]
    );
    let reject = CallOptions::new().with_policy(Policy::Reject);
    let error = client.chat_with(odd, &reject).await.unwrap_err();
    assert_eq!((error.kind(), error.sent(), error.attempts()), (ErrorKind::Rejected, Sent::No, 0));
    assert_eq!(error.rejection().unwrap().problems()[0].path, "user");
}

/// The answer as JSON, without the time of day.
fn timeless(completion: &ChatCompletion) -> Value {
    let mut value = serde_json::to_value(completion).unwrap();
    for key in ["created", "id"] {
        value[key] = Value::Null;
    }
    value
}

fn weather_tool() -> Tool {
    let schema: Json = serde_json::from_str(
        r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}}}"#,
    )
    .unwrap();
    Tool::function("get_weather").with_parameters(schema)
}

#[tokio::test]
async fn a_stream_merges_into_the_unary_answer() {
    let running = emulator().await;
    let client = client_of(&running).build().unwrap();
    let newer = ChatRequest::new("google/gemini-3-flash-preview", [Message::user("weather?")]);
    for request in [
        request(),
        request().with_n(3).with_seed(5),
        request().with_max_tokens(4),
        request().with_stop("backpack"),
        newer.clone().with_tools([weather_tool()]),
        newer.with_tools([weather_tool()]).with_tool_choice(ToolChoice::function("get_weather")),
    ] {
        let whole = client.chat(request.clone()).await.unwrap();
        let merged = client.chat_stream(request.clone()).await.unwrap().collect().await.unwrap();
        let (whole, mut merged) = (timeless(&whole), timeless(&merged));
        assert_eq!(merged["object"], "chat.completion");
        merged["object"] = whole["object"].clone();
        assert_eq!(merged, whole, "{request:?}");
    }
}

#[tokio::test]
async fn thought_signatures_come_back_with_the_second_turn() {
    let running = emulator().await;
    let client = client_of(&running).build().unwrap();
    let mut request = ChatRequest::new("google/gemini-3-flash-preview", [Message::user("weather?")])
        .with_tools([weather_tool()]);
    let first = client.chat_stream(request.clone()).await.unwrap().collect().await.unwrap();
    let call = first.tool_calls()[0].clone();
    let mut lost = request.clone();

    request.messages.extend(first.to_message());
    request.messages.push(Message::tool(call.id.clone().unwrap(), "21 degrees"));
    assert!(client.chat(request).await.unwrap().text().contains("21 degrees"));

    // The emulator refuses what Gemini 3 refuses: the call without its signature.
    let mut stripped = first.to_message().unwrap();
    for call in stripped.tool_calls.iter_mut().flatten() {
        call.extra_content = None;
    }
    lost.messages.extend([stripped, Message::tool(call.id.unwrap(), "21 degrees")]);
    let rewrites = Rewrites::all().without(Rewrite::SignatureEscape);
    let strict = client_of(&running).rewrites(rewrites).build().unwrap();
    let error = strict.chat(lost.clone()).await.unwrap_err();
    assert!(
        error.status() == Some(StatusCode::BAD_REQUEST) && error.to_string().contains("thought_signature"),
        "{error}"
    );
    // Google's value for a lost signature is taken in its place, and that is told.
    let answer = client.chat(lost).await.unwrap();
    assert!(answer.text().contains("21 degrees"));
    assert!(answer.meta().report().to_string().contains("(signature-escape)"), "{}", answer.meta().report());
}

#[tokio::test]
async fn no_choice_and_no_text_are_told_apart() {
    let silent = Upstream::start(vec![completion("")]).await;
    let answer = client_at(&silent).anonymous().build().unwrap().chat(request()).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.choices.len()), ("", 1));

    let body = br#"{"id":"c-2","object":"chat.completion","choices":[],"usage":{"prompt_tokens":9}}"#;
    let blocked = Upstream::start(vec![vec![Step::Write(answer_json(body))]]).await;
    let error = client_at(&blocked).anonymous().build().unwrap().chat(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::NoChoices, false));
    assert_eq!(error.completion().unwrap().usage.as_ref().unwrap().prompt_tokens, Some(9));

    let empty = vec![Step::Write(
        [chunked_head("200 OK", "text/event-stream"), chunk(b"data: [DONE]\n\n"), chunk(b"")].concat(),
    )];
    let nothing = Upstream::start(vec![empty]).await;
    let mut stream = client_at(&nothing).anonymous().build().unwrap().chat_stream(request()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::NoChoices);
    assert!(stream.next().await.is_none());
}

fn answer_json(body: &[u8]) -> Vec<u8> {
    answer("200 OK", "application/json", &[], body)
}

#[tokio::test]
async fn endpoints_are_read_page_by_page() {
    let endpoint = |id: u32| {
        json!({"name": format!("projects/1/locations/l/endpoints/{id}"), "displayName": format!("e{id}"),
        "dedicatedEndpointDns": format!("{id}.l-1.prediction.vertexai.goog"), "deployedModels": [{"displayName": "m"}, {"model": "projects/1/m"}]})
    };
    let first = json!({"endpoints": [endpoint(1), endpoint(2)], "nextPageToken": "a+b/c=&x"}).to_string();
    let second = json!({"endpoints": [endpoint(3)]}).to_string();
    let upstream =
        Upstream::start([first, second].map(|it| vec![Step::Write(answer_json(it.as_bytes()))]).to_vec())
            .await;
    let client = Client::builder()
        .environment(no_environment())
        .access_token("t")
        .project("p")
        .location("l")
        .host(upstream.url())
        .build()
        .unwrap();
    let endpoints = client.endpoints().await.unwrap();
    let ids: Vec<&str> = endpoints.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(endpoints[2].models, ["m", "projects/1/m"]);
    assert_eq!(endpoints[0].dedicated_host.as_deref(), Some("1.l-1.prediction.vertexai.goog"));
    let lines: Vec<String> = upstream.seen().into_iter().map(|it| it.line).collect();
    assert!(lines[0].starts_with("GET /v1/projects/p/locations/l/endpoints?"), "{lines:?}");
    assert!(lines[1].contains("pageToken=a%2Bb%2Fc%3D%26x"), "{lines:?}");

    let by_url = client_at(&upstream).anonymous().build().unwrap();
    assert_eq!(by_url.endpoints().await.unwrap_err().kind(), ErrorKind::Configuration);
}

#[tokio::test]
async fn an_endpoint_of_ones_own_is_spoken_to_in_its_dialect() {
    let running = emulator().await;
    let client = client_of(&running).endpoint(VLLM_ENDPOINT).build().unwrap();
    let request =
        ChatRequest::without_model([Message::user("Write a story about a magic backpack.")]).with_user("u");
    let answer = client.chat(request.clone()).await.unwrap();
    assert!(answer.text().contains("backpack"));
    assert_eq!(answer.meta().report().to_string(), "forwarded `user`: ignored by vLLM");
    let streamed = client.chat_stream(request).await.unwrap().collect().await.unwrap();
    assert_eq!(streamed.text(), answer.text());
    running
        .emulator()
        .add_fault(Fault::at(FaultPlace::Chat).status(StatusCode::NOT_FOUND, r#"{"detail":"Not Found"}"#));
    let error = client.chat(ChatRequest::without_model([Message::user("hi")])).await.unwrap_err();
    assert_eq!(error.api_error().unwrap().message(), "Not Found");
}

#[tokio::test]
async fn a_later_attempt_that_was_not_sent_does_not_take_an_earlier_one_back() {
    // One connection that is cut after the request came, and nobody who listens any more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncReadExt;
        let (mut socket, _) = listener.accept().await.unwrap();
        drop(listener);
        let _ = socket.read(&mut [0; 4096]).await;
    });
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(9));
    let builder = Client::builder().environment(no_environment()).base_url(base).anonymous();
    let client = builder.clock(Arc::new(clock)).build().unwrap();
    let error = client.chat(request()).await.unwrap_err();
    assert_eq!((error.attempts(), error.kind()), (3, ErrorKind::Connection));
    assert_eq!(error.sent(), Sent::Maybe, "{error}");
}

#[tokio::test]
async fn one_request_may_be_asked_both_ways() {
    let upstream = Upstream::start(vec![completion("hi")]).await;
    let client = client_at(&upstream).anonymous().build().unwrap();
    let request =
        request().with_stream_options(vertex_chat::types::StreamOptions::default().with_include_usage(true));
    client.chat(request).await.unwrap();
    let body: Value = serde_json::from_slice(&upstream.seen()[0].body).unwrap();
    assert_eq!(body.get("stream_options"), None);
}

#[tokio::test]
async fn how_the_connection_ends_does_not_matter_once_the_answer_has() {
    let event = br#"data: {"choices":[{"index":0,"delta":{"content":"all of it"},"finish_reason":"stop"}]}"#;
    let event = [&event[..], b"\n\n"].concat();
    let steps = |reason: &[u8]| {
        let event = String::from_utf8(event.clone())
            .unwrap()
            .replace("\"stop\"", std::str::from_utf8(reason).unwrap());
        let head = chunked_head("200 OK", "text/event-stream");
        vec![Step::Write([head, chunk(event.as_bytes())].concat()), Step::Reset]
    };
    let upstream = Upstream::start(vec![steps(b"\"stop\""), steps(b"null")]).await;
    let client = client_at(&upstream).anonymous().build().unwrap();
    let whole = client.chat_stream(request()).await.unwrap().collect().await.unwrap();
    assert_eq!(whole.text(), "all of it");
    let error = client.chat_stream(request()).await.unwrap().collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
}

#[tokio::test]
async fn a_token_that_the_server_sends_back_is_not_in_the_error() {
    let body =
        br#"{"error":{"message":"these headers are odd: authorization: Bearer k-canary-1","code":400}}"#;
    let refusal = Step::Write(answer("400 Bad Request", "application/json", &[], body));
    let upstream = Upstream::start(vec![vec![refusal]]).await;
    let client = client_at(&upstream).api_key("k-canary-1").build().unwrap();
    let error = client.chat(request()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    let said = format!("{error} {error:?} {:?} {}", error.api_error(), error.api_error().unwrap().message());
    assert!(!said.contains("canary") && said.contains("these headers are odd"), "{said}");
}

#[test]
fn debug_shows_no_header_and_no_address() {
    let (name, value) = (HeaderName::from_static("x-goog-api-key"), HeaderValue::from_static("canary-1"));
    let builder =
        Client::builder().header(name.clone(), value.clone()).base_url("http://user:canary-2@localhost/v1");
    let options = CallOptions::new().with_header(name, value);
    let shown = format!("{builder:?} {options:?}");
    assert!(!shown.contains("canary") && shown.contains("x-goog-api-key"), "{shown}");
}

#[tokio::test]
async fn a_proxy_that_cannot_be_read_is_an_error_and_not_no_proxy() {
    use vertex_chat::transport::{Connector, HttpConnector, Profile, Proxy, Request};
    for url in ["htp://proxy:3128", "http://pro xy:3128", "http://"] {
        let proxy = Proxy::Url { url: url.to_owned(), no_proxy: String::new() };
        let exchange = HttpConnector::new().with_proxy(proxy).connect(&Profile::Public).unwrap();
        let mut request = Request::new(bytes::Bytes::new());
        *request.uri_mut() = "https://vertex.invalid/".parse().unwrap();
        let error = exchange.send(request).await.unwrap_err();
        assert!(error.to_string().contains("the given proxy"), "{url}: {error}");
    }
}
