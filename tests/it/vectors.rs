//! The conformance vectors that are about clients and credentials; each test carries its vector's number. Those about
//! endpoints are cases of the conformance suite.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vertex_chat::auth::{CredentialsOptions, TokenSource};
use vertex_chat::transport::{Always, Clock, HttpConnector, SimulatedClock};
use vertex_chat::{ChatRequest, Client, ClientBuilder, Environment, ErrorKind, Message, RetryPolicy};
use vertex_chat_emulator::{Emulator, LOCATION, RunningEmulator};
use vertex_chat_tests::gateway::Dedicated;
use vertex_chat_tests::upstream::{Step, Upstream, answer, chunk, chunked_head};

const MODEL: &str = "google/gemini-2.5-flash";

const COMPLETION: &str = r#"{"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}"#;

fn request() -> ChatRequest {
    ChatRequest::new(MODEL, [Message::user("hello")])
}

fn no_environment() -> Environment {
    Environment::of([("NO_GCE_CHECK", "true")])
}

/// A client of a server that says what it is told.
fn client_at(upstream: &Upstream) -> ClientBuilder {
    let url = format!("{}/v1", upstream.url());
    Client::builder().environment(no_environment()).base_url(url).anonymous().retry(RetryPolicy::never())
}

fn stream_of(body: &str) -> Vec<Step> {
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    bytes.extend(chunk(body.as_bytes()));
    bytes.extend(b"0\r\n\r\n");
    vec![Step::Write(bytes)]
}

async fn emulator(clock: &SimulatedClock) -> RunningEmulator {
    Emulator::new(Arc::new(clock.clone())).start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn client_of(running: &RunningEmulator, clock: &SimulatedClock) -> Client {
    Client::builder()
        .environment(no_environment())
        .location(LOCATION)
        .host(running.base_url())
        .credentials_json(running.service_account_json())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap()
}

#[test]
fn c1_every_location_has_its_url() {
    let check = |location: &str, host: Option<&str>, expected: &str| {
        let mut builder =
            Client::builder().environment(no_environment()).access_token("t").project("p").location(location);
        if let Some(host) = host {
            builder = builder.endpoint("12").host(host);
        }
        let endpoint = if host.is_some() { "12" } else { "openapi" };
        let expected = format!(
            "https://{expected}/v1/projects/p/locations/{location}/endpoints/{endpoint}/chat/completions"
        );
        assert_eq!(*builder.build().unwrap().chat_url(), *expected);
    };
    check("us-central1", None, "us-central1-aiplatform.googleapis.com");
    check("global", None, "aiplatform.googleapis.com");
    check("us", None, "aiplatform.us.rep.googleapis.com");
    check("eu", None, "aiplatform.eu.rep.googleapis.com");
    let own = "12.us-central1-34.prediction.vertexai.goog";
    check("us-central1", Some(own), own);
}

#[tokio::test]
async fn c13_fragments_of_calls_with_wrong_indexes_become_two_calls() {
    // As Google's own sample has them: the index of each head is that of the other call, and all is repeated.
    let event = |id: &str, index: u64, arguments: &str, finish: Option<&str>| {
        let call = json!({"id": id, "index": index, "type": "function", "function": {"name": "get_current_weather", "arguments": arguments}});
        let mut choice =
            json!({"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}, "logprobs": null});
        if let Some(finish) = finish {
            choice["finish_reason"] = json!(finish);
        }
        format!(
            "data: {}\n\n",
            json!({"id": "x", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]})
        )
    };
    let fragments = |city: &str| {
        [
            format!("{{\"location\":\"{city}"),
            "\"".into(),
            ",\"unit\":\"celsius".into(),
            "\"".into(),
            "}".into(),
        ]
    };
    let mut body = event("function-call-a", 1, "", None);
    for part in fragments("Boston, MA") {
        body.push_str(&event("function-call-a", 0, &part, None));
    }
    body.push_str(&event("function-call-b", 0, "", None));
    let last = fragments("Paris");
    for (i, part) in last.iter().enumerate() {
        let finish = (i + 1 == last.len()).then_some("tool_calls");
        body.push_str(&event("function-call-b", 1, part, finish));
    }
    body.push_str("data: [DONE]\n\n");
    let upstream = Upstream::start(vec![stream_of(&body)]).await;
    let client = client_at(&upstream).build().unwrap();
    let answer = client.chat_stream(request()).await.unwrap().collect().await.unwrap();
    let message = answer.choices[0].message.as_ref().unwrap();
    let calls: Vec<(String, Value)> = message
        .tool_calls
        .as_ref()
        .unwrap()
        .iter()
        .map(|call| {
            let function = call.function.as_ref().unwrap();
            let arguments = function.arguments.as_deref().unwrap();
            assert_eq!(function.name.as_deref(), Some("get_current_weather"));
            (call.id.clone().unwrap(), serde_json::from_str(arguments).unwrap())
        })
        .collect();
    let wanted = |id: &str, city: &str| (id.to_owned(), json!({"location": city, "unit": "celsius"}));
    assert_eq!(calls, [wanted("function-call-a", "Boston, MA"), wanted("function-call-b", "Paris")]);
}

#[tokio::test]
async fn c14_a_cut_stream_and_a_bare_error_are_errors_and_crlf_is_none() {
    let event = r#"data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"hello"}}]}"#;
    let end = r#"data: {"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}"#;
    let collect = async |body: String| {
        let upstream = Upstream::start(vec![stream_of(&body)]).await;
        let client = client_at(&upstream).build().unwrap();
        client.chat_stream(request()).await.unwrap().collect().await
    };
    let cut = collect(format!("{event}\n\n")).await.unwrap_err();
    assert_eq!(cut.kind(), ErrorKind::Truncated);
    let bare = "{\n  \"error\": {\"code\": 499, \"message\": \"The operation was cancelled.\", \"status\": \"CANCELLED\"}\n}\n";
    let error = collect(format!("{event}\n\n{bare}")).await.unwrap_err();
    assert_eq!((error.kind(), error.google_status()), (ErrorKind::Api, Some("CANCELLED")));
    let good = collect(format!("{event}\r\n\r\n{end}\r\n\r\ndata: [DONE]\r\n\r\n")).await.unwrap();
    assert_eq!(good.text(), "hello!");
}

#[tokio::test]
async fn c16_every_form_of_error_is_one_typed_error() {
    for (status, content_type, body, message) in [
        (
            "400 Bad Request",
            "application/json",
            r#"[{"error":{"code":400,"message":"from an array","status":"INVALID_ARGUMENT"}}]"#,
            "from an array",
        ),
        (
            "400 Bad Request",
            "application/json",
            r#"{"error":{"code":400,"message":"from an object","status":"INVALID_ARGUMENT"}}"#,
            "from an object",
        ),
        (
            "404 Not Found",
            "text/html; charset=UTF-8",
            "<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>",
            "Error 404 (Not Found)!!1",
        ),
        (
            "400 Bad Request",
            "application/json",
            r#"{"object":"error","message":"from vLLM","type":"BadRequestError","param":null,"code":400}"#,
            "from vLLM",
        ),
        (
            "422 Unprocessable Entity",
            "application/json",
            r#"{"error":"from TGI","error_type":"validation"}"#,
            "from TGI",
        ),
        ("500 Internal Server Error", "text/plain", "from a proxy", "from a proxy"),
    ] {
        let script = vec![Step::Write(answer(status, content_type, &[], body.as_bytes()))];
        let upstream = Upstream::start(vec![script]).await;
        let error = client_at(&upstream).build().unwrap().chat(request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Api, "{body}");
        assert_eq!(error.status().unwrap().as_str(), &status[..3]);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[tokio::test]
async fn c18_fifty_callers_at_the_end_of_a_token_make_one_request() {
    let clock = SimulatedClock::new();
    let running = emulator(&clock).await;
    let client = client_of(&running, &clock);
    client.chat(request()).await.unwrap();
    // Three minutes are left: the token is used, and renewed behind the callers' backs.
    clock.advance(Duration::from_secs(3599 - 180));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.chat(request()).await.unwrap().text() })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().contains("hello"));
    }
    // The one that runs behind them may still be on its way; the next caller needs it.
    clock.advance(Duration::from_secs(181));
    client.chat(request()).await.unwrap();
    let log = running.emulator().log();
    assert_eq!(log.iter().filter(|entry| entry.path == "/token").count(), 2, "{log:?}");
}

#[tokio::test]
async fn c19_a_life_in_quotes_is_a_life() {
    let body = r#"{"access_token":"ya29.quoted","expires_in":"3599","token_type":"Bearer"}"#;
    let upstream =
        Upstream::start(vec![vec![Step::Write(answer("200 OK", "application/json", &[], body.as_bytes()))]])
            .await;
    let clock = SimulatedClock::new();
    let emulator = Emulator::new(Arc::new(clock.clone()));
    let json = emulator.service_account_json(&upstream.url()).unwrap();
    let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()));
    let tokens = options.from_json(json.as_bytes(), "a test").unwrap();
    assert_eq!(tokens.refresh().await.unwrap().secret().expose(), "ya29.quoted");
    clock.advance(Duration::from_secs(3000));
    assert!(tokens.cached().is_some(), "it lives as long as it says");
    clock.advance(Duration::from_secs(600));
    assert!(tokens.cached().is_none());
}

#[tokio::test]
async fn c20_assertions_are_taken_and_those_of_a_wrong_clock_are_not() {
    let clock = SimulatedClock::new();
    let running = emulator(&clock).await;
    client_of(&running, &clock).chat(request()).await.unwrap();
    let log = running.emulator().log();
    assert!(
        log[0].assertion_of.is_some(),
        "the key id, the claims, their times and the signature were verified"
    );
    // A machine whose clock is two hours late.
    let late = SimulatedClock::at(clock.wall() - Duration::from_secs(7200));
    let error = client_of(&running, &late).chat(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(error.to_string().contains("invalid_grant"), "{error}");
}

#[tokio::test]
async fn c21_a_429_is_waited_out_by_back_off_or_by_the_servers_word() {
    let refusal = |details: Value| {
        json!([{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED", "details": details}}]).to_string()
    };
    let retry_info = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}]);
    for (body, least, most) in [(refusal(json!([])), 0, 1), (refusal(retry_info), 37, 37)] {
        let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(60));
        let refused = answer("429 Too Many Requests", "application/json", &[], body.as_bytes());
        let good = answer("200 OK", "application/json", &[], COMPLETION.as_bytes());
        let upstream = Upstream::start(vec![vec![Step::Write(refused)], vec![Step::Write(good)]]).await;
        let client = client_at(&upstream)
            .clock(Arc::new(clock.clone()))
            .retry(RetryPolicy::default())
            .build()
            .unwrap();
        let before = clock.monotonic();
        let answer = client.chat(request()).await.unwrap();
        let waited = (clock.monotonic() - before).as_secs();
        assert_eq!(answer.meta().attempts(), 2);
        assert!((least..=most).contains(&waited), "waited {waited} s");
    }
}

#[tokio::test]
async fn c22_a_dedicated_endpoint_is_found_from_the_refusal() {
    const OWN: &str = "12.us-central1-34.prediction.vertexai.goog";
    // The client says what to set; the gateway goes there by itself, as its test of pain 24 shows.
    let everywhere = Arc::new(Dedicated::at(OWN));
    let builder = Client::builder().environment(no_environment()).access_token("ya29.x").project("p");
    let builder = builder.location("us-central1").endpoint("12").connector(Arc::new(Always(everywhere)));
    let error = builder.clone().build().unwrap().chat(request()).await.unwrap_err();
    assert!(error.to_string().contains(OWN), "{error}");
    assert!(error.hint().contains("dedicated domain"), "{:?}", error.hint());
    assert_eq!(builder.host(OWN).build().unwrap().chat(request()).await.unwrap().text(), "hello");
}

#[tokio::test]
async fn c29_what_was_kept_for_longer_than_a_token_lives_uses_the_new_one() {
    // Google's sample renews where `client.chat` is read, so that whoever keeps `chat` keeps the dead token.
    let clock = SimulatedClock::new();
    let running = emulator(&clock).await;
    let kept = client_of(&running, &clock);
    let also_kept = kept.clone();
    kept.chat(request()).await.unwrap();
    clock.advance(Duration::from_secs(4000));
    also_kept.chat(request()).await.unwrap();
    let tokens: Vec<String> =
        running.emulator().log().iter().filter_map(|entry| entry.token.clone()).collect();
    assert_eq!(tokens, ["token-1", "token-2"]);
}

#[tokio::test]
async fn c30_the_environment_of_openais_libraries_is_honoured() {
    let script = vec![Step::Write(answer("200 OK", "application/json", &[], COMPLETION.as_bytes()))];
    let upstream = Upstream::start(vec![script]).await;
    let url = format!("{}/v1", upstream.url());
    let environment =
        Environment::of([("OPENAI_BASE_URL", url.as_str()), ("OPENAI_API_KEY", "key-of-the-environment")]);
    let client = Client::builder().environment(environment).build().unwrap();
    assert_eq!(client.chat(request()).await.unwrap().text(), "hello");
    let seen = upstream.seen().remove(0);
    assert_eq!(seen.line, "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(seen.header("authorization"), Some("Bearer key-of-the-environment"));
}
