//! The life of a token: from a key file to a chat call, through an hour, a revocation, and an endpoint that fails.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use vertex_chat::auth::{
    Cached, CredentialsOptions, Environment, ServiceAccountKey, ServiceAccountSource, TokenForm, TokenSource,
};
use vertex_chat::transport::{Clock, Connector, HttpConnector, Profile, SimulatedClock};
use vertex_chat::{ChatRequest, Client, ErrorKind, Message};
use vertex_chat_emulator::{Emulator, Fault, FaultPlace, LOCATION, LogEntry, RunningEmulator};
use vertex_chat_tests::upstream::{Step, Upstream, answer};

/// An emulator on TCP, and a client of it that tells the time by the same clock.
struct World {
    clock: SimulatedClock,
    running: RunningEmulator,
    client: Client,
}

async fn world() -> World {
    // Back-off passes at once, timeouts do not.
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
    let running = Emulator::new(Arc::new(clock.clone())).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let client = Client::builder()
        .environment(Environment::of::<&str, &str>([]))
        .location(LOCATION)
        .host(running.base_url())
        .credentials_json(running.service_account_json())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    World { clock, running, client }
}

fn request() -> ChatRequest {
    ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")])
}

fn log(world: &World) -> Vec<String> {
    let short = |entry: &LogEntry| {
        let what = if entry.path == "/token" { "token" } else { "chat" };
        let named =
            entry.issued.as_ref().or(entry.token.as_ref()).map(|name| format!(" {name}")).unwrap_or_default();
        format!("{what} {}{named}", entry.status)
    };
    world.running.emulator().log().iter().map(short).collect()
}

#[tokio::test]
async fn a_key_file_becomes_a_token_and_the_token_goes_with_the_call() {
    let world = world().await;
    let answer = world.client.chat(request()).await.unwrap();
    assert!(answer.text().contains("backpack"));
    assert_eq!(log(&world), ["token 200 token-1", "chat 200 token-1"]);
    let account = world.running.emulator().log()[0].assertion_of.clone().unwrap();
    assert_eq!(account, "emulator@emulator-project.iam.gserviceaccount.com");

    let streamed = world.client.chat_stream(request()).await.unwrap().collect().await.unwrap();
    assert_eq!(
        (streamed.text(), &streamed.usage),
        (answer.text(), &answer.usage),
        "streamed or not, the answer is the same"
    );
    assert_eq!(log(&world).last().unwrap(), "chat 200 token-1");
}

#[tokio::test]
async fn an_hour_passes_and_the_next_call_refreshes() {
    let world = world().await;
    world.client.chat(request()).await.unwrap();
    world.clock.advance(Duration::from_secs(3000));
    world.client.chat(request()).await.unwrap();
    world.clock.advance(Duration::from_secs(600));
    world.client.chat(request()).await.unwrap();
    assert_eq!(
        log(&world),
        [
            "token 200 token-1",
            "chat 200 token-1",
            "chat 200 token-1",
            "token 200 token-2",
            "chat 200 token-2"
        ]
    );
}

#[tokio::test]
async fn a_revoked_token_costs_one_refusal_one_token_and_one_retry() {
    let world = world().await;
    world.client.chat(request()).await.unwrap();
    assert_eq!(world.running.emulator().revoke_tokens(None), 1);
    let answer = world.client.chat(request()).await.unwrap();
    assert_eq!(answer.meta().attempts(), 2);
    assert_eq!(log(&world)[2..], ["chat 401", "token 200 token-2", "chat 200 token-2"]);
}

#[tokio::test]
async fn a_service_that_refuses_every_token_is_asked_twice_and_no_more() {
    let world = world().await;
    let refusal = r#"[{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}]"#;
    let fault = Fault::at(FaultPlace::Chat).times(100).status(StatusCode::UNAUTHORIZED, refusal);
    world.running.emulator().add_fault(fault);
    let error = world.client.chat(request()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.attempts()),
        (ErrorKind::Api, Some(StatusCode::UNAUTHORIZED), 2)
    );
    // Within half a minute no other token is asked for.
    let error = world.client.chat(request()).await.unwrap_err();
    assert_eq!(error.attempts(), 1);
    assert_eq!(log(&world), ["token 200 token-1", "chat 401", "token 200 token-2", "chat 401", "chat 401"]);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.client.chat(request()).await.unwrap_err().attempts(), 2);
}

#[tokio::test]
async fn a_foreign_key_is_refused_with_the_cause_and_the_remedy() {
    let (world, other) = (world().await, world().await);
    let foreign =
        other.running.service_account_json().replace(&other.running.base_url(), &world.running.base_url());
    let client = Client::builder()
        .environment(Environment::of::<&str, &str>([]))
        .location(LOCATION)
        .host(world.running.base_url())
        .credentials_json(foreign)
        .clock(Arc::new(world.clock.clone()))
        .build()
        .unwrap();
    let error = client.chat(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Credentials, false));
    assert_eq!(
        error.to_string(),
        "no access token: the token endpoint answered 400: invalid_grant: Invalid JWT Signature.; the key was deleted or \
         belongs to another account: make a new key for the service account"
    );
    assert_eq!(log(&world), ["token 400"], "what is refused is not asked again");
}

#[tokio::test]
async fn acceptance_12_a_token_endpoint_that_fails_is_asked_again_and_then_told_of() {
    let world = world().await;
    let busy =
        |times| Fault::at(FaultPlace::Token).times(times).status(StatusCode::SERVICE_UNAVAILABLE, "busy");
    world.running.emulator().add_fault(busy(2));
    world.client.chat(request()).await.unwrap();
    assert_eq!(log(&world), ["token 503", "token 503", "token 200 token-1", "chat 200 token-1"]);

    world.clock.advance(Duration::from_secs(4000));
    world
        .running
        .emulator()
        .add_fault(busy(3).header("retry-after".parse().unwrap(), HeaderValue::from_static("2")));
    let error = world.client.chat(request()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Credentials, true));
    assert!(error.to_string().contains("(3 attempts)"), "{error}");
    let requests = log(&world).len();
    let again = world.client.chat(request()).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string(), "inside of the back-off everyone gets the same error");
    assert_eq!(log(&world).len(), requests, "and nobody is asked");
    world.clock.advance(Duration::from_secs(61));
    world.client.chat(request()).await.unwrap();
}

#[tokio::test]
async fn a_token_endpoint_that_hangs_is_given_up_within_its_timeout() {
    let world = world().await;
    let never = Fault::at(FaultPlace::Token).times(100).delay(Duration::from_secs(1_000_000));
    world.running.emulator().add_fault(never);
    let clock = world.clock.clone();
    let mut waited = Duration::ZERO;
    let call = world.client.chat(request());
    let mut call = std::pin::pin!(call);
    let error = loop {
        // Half a second at a time, as long as somebody waits: no more than the sum of the clocks may pass.
        tokio::select! {
            biased;
            result = &mut call => break result.unwrap_err(),
            () = settle() => {
                clock.advance(Duration::from_millis(500));
                waited += Duration::from_millis(500);
                assert!(waited <= Duration::from_secs(40), "it hangs");
            }
        }
    };
    assert_eq!(error.kind(), ErrorKind::Credentials);
    assert!(
        error.to_string().contains("no answer in time") || error.to_string().contains("the deadline passed"),
        "{error}"
    );
    assert!(waited >= Duration::from_secs(10), "not before the timeout: {waited:?}");
}

/// Lets everything that can run, run.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_valid_token_keeps_being_used_while_the_endpoint_fails() {
    let world = world().await;
    world.client.chat(request()).await.unwrap();
    // Stale: within 225 s of its end.
    world.clock.advance(Duration::from_secs(3599 - 200));
    let garbage = [
        Fault::at(FaultPlace::Token).times(1).status(StatusCode::OK, "<html>captive portal</html>"),
        Fault::at(FaultPlace::Token).times(1).status(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#),
        Fault::at(FaultPlace::Token).times(100).delay(Duration::from_secs(1_000_000)),
    ];
    for fault in garbage {
        world.running.emulator().add_fault(fault);
    }
    for _ in 0..10 {
        let answer = world.client.chat(request()).await.unwrap();
        assert_eq!(answer.meta().attempts(), 1);
        settle().await;
        world.clock.advance(Duration::from_secs(15));
    }
    assert!(
        log(&world).iter().filter(|line| line.starts_with("chat")).all(|line| line == "chat 200 token-1")
    );
}

#[tokio::test]
async fn acceptance_12_answers_of_garbage_give_a_clear_error_and_no_panic() {
    let garbage: [(&str, &str, &str); 8] = [
        ("200 OK", "<html>", "answered 200 with something that is not JSON"),
        ("200 OK", "", "answered 200 with nothing"),
        ("200 OK", "{}", "without an access token"),
        ("200 OK", r#"{"access_token":"t","expires_in":-5}"#, "no life left"),
        ("200 OK", r#"{"access_token":"a\nb","expires_in":3599}"#, "characters that no header may have"),
        ("302 Found", "", "secrets do not follow redirects"),
        ("403 Forbidden", "<html>", "answered 403 with something that is not JSON"),
        ("500 Internal Server Error", "", "answered 500 with nothing"),
    ];
    for (status, body, expected) in garbage {
        let upstream =
            Upstream::start(vec![vec![Step::Write(answer(status, "text/html", &[], body.as_bytes()))]]).await;
        let error = source(&upstream.url()).refresh().await.unwrap_err();
        assert!(error.to_string().contains(expected), "{status} {body}: {error}");
    }
    let large = "x".repeat(vertex_chat::auth::TOKEN_ANSWER_BYTES_MAX + 1);
    let upstream =
        Upstream::start(vec![vec![Step::Write(answer("200 OK", "text/plain", &[], large.as_bytes()))]]).await;
    let error = source(&upstream.url()).refresh().await.unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    let upstream = Upstream::start(vec![vec![
        Step::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec()),
        Step::Close,
    ]])
    .await;
    let error = source(&upstream.url()).refresh().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let zipped = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3];
    for script in [
        vec![Step::Reset],
        vec![Step::Write(head.clone()), Step::Reset],
        vec![Step::Write(head), Step::Write(b"canary\r\n{".to_vec()), Step::Close],
        vec![Step::Write(answer("200 OK", "application/json", &[("content-encoding", "gzip")], &zipped))],
    ] {
        let upstream = Upstream::start(vec![script]).await;
        let error = source(&upstream.url()).refresh().await.unwrap_err();
        assert!(error.is_transient() && error.attempts() == 3, "{error}");
    }
    // The secret is not carried elsewhere.
    let elsewhere = Upstream::start(vec![token_answer("canary")]).await;
    let location = format!("{}/token", elsewhere.url());
    let moved = answer("307 Temporary Redirect", "text/html", &[("location", &location)], b"");
    let upstream = Upstream::start(vec![vec![Step::Write(moved)]]).await;
    assert!(source(&upstream.url()).refresh().await.unwrap_err().to_string().contains("points elsewhere"));
    assert_eq!((upstream.seen().len(), elsewhere.seen().len()), (1, 0));
}

/// Tokens of a key that was made for nothing else, from this token endpoint.
fn source(base_url: &str) -> Cached {
    source_with_clock(base_url, SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5)))
}

fn source_with_clock(base_url: &str, clock: SimulatedClock) -> Cached {
    static KEY: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        Emulator::new(Arc::new(SimulatedClock::new())).service_account_json("http://127.0.0.1:1").unwrap()
    });
    let json = KEY.replace("http://127.0.0.1:1/token", &format!("{base_url}/token"));
    let key = ServiceAccountKey::from_json(json.as_bytes()).unwrap();
    let exchange = HttpConnector::new().connect(&Profile::Public).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let source =
        ServiceAccountSource::new(key, TokenForm::Exchanged, &["scope"], exchange, Arc::clone(&clock));
    Cached::new(Arc::new(source), clock)
}

fn token_answer(token: &str) -> Vec<Step> {
    let body = format!(r#"{{"access_token":"{token}","expires_in":3599,"token_type":"Bearer"}}"#);
    vec![Step::Write(answer("200 OK", "application/json", &[], body.as_bytes()))]
}

#[tokio::test]
async fn acceptance_11_a_thousand_callers_make_one_request_cold_and_at_expiry() {
    let upstream = Upstream::start(vec![token_answer("first"), token_answer("second")]).await;
    let clock = SimulatedClock::new();
    let tokens = Arc::new(source_with_clock(&upstream.url(), clock.clone()));
    for (token, requests) in [("first", 1), ("second", 2)] {
        assert!(tokens.cached().is_none());
        let callers: Vec<_> = (0..1000)
            .map(|_| {
                let tokens = Arc::clone(&tokens);
                tokio::spawn(async move { tokens.refresh().await.unwrap() })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().secret().expose(), token);
        }
        assert_eq!(upstream.seen().len(), requests);
        assert_eq!(tokens.cached().unwrap().secret().expose(), token);
        clock.advance(Duration::from_secs(3600));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_11_a_thousand_callers_on_two_threads_make_one_request_too() {
    let upstream = Upstream::start(vec![token_answer("only")]).await;
    let tokens = Arc::new(source(&upstream.url()));
    let callers: Vec<_> = (0..1000)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.refresh().await.unwrap() })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn acceptance_11_a_caller_that_goes_away_takes_nobody_with_it() {
    let upstream = Upstream::start(vec![token_answer("only")]).await;
    let tokens = Arc::new(source(&upstream.url()));
    let mut leader = Box::pin(tokens.refresh());
    assert!(
        leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
        "the leader has begun"
    );
    let follower = {
        let tokens = Arc::clone(&tokens);
        tokio::spawn(async move { tokens.refresh().await })
    };
    settle().await;
    drop(leader);
    assert_eq!(follower.await.unwrap().unwrap().secret().expose(), "only");
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn acceptance_11_a_runtime_that_ends_in_the_middle_leaves_the_source_usable() {
    // No runtime here: making the source needs none.
    let script = [Step::Stall];
    let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = server.block_on(Upstream::start(vec![script.to_vec(), token_answer("second")]));
    let tokens = source(&upstream.url());
    let first = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    first.block_on(async {
        let mut leader = Box::pin(tokens.refresh());
        assert!(matches!(futures_poll(&mut leader), Poll::Pending));
        while upstream.seen().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    drop(first);
    let second = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(second.block_on(tokens.refresh()).unwrap().secret().expose(), "second");
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn acceptance_11_a_stale_token_is_given_at_once_while_one_refresh_hangs() {
    let upstream = Upstream::start(vec![token_answer("first"), vec![Step::Stall]]).await;
    let clock = SimulatedClock::new();
    let tokens = source_with_clock(&upstream.url(), clock.clone());
    tokens.refresh().await.unwrap();
    clock.advance(Duration::from_secs(3599 - 220));
    for _ in 0..1000 {
        assert_eq!(tokens.cached().unwrap().secret().expose(), "first");
    }
    while upstream.seen().len() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        assert_eq!(tokens.cached().unwrap().secret().expose(), "first");
        tokio::task::yield_now().await;
    }
    assert_eq!(upstream.seen().len(), 2, "one refresh is under way, whoever asks");
}

#[tokio::test]
async fn acceptance_11_a_short_life_does_not_mean_a_request_per_call() {
    let body = br#"{"access_token":"short","expires_in":60}"#;
    let upstream =
        Upstream::start(vec![vec![Step::Write(answer("200 OK", "application/json", &[], body))]]).await;
    let tokens = source_with_clock(&upstream.url(), SimulatedClock::new());
    tokens.refresh().await.unwrap();
    for _ in 0..5 {
        assert!(tokens.cached().is_some());
        settle().await;
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn acceptance_11_both_clocks_count_and_the_earlier_end_wins() {
    let upstream = Upstream::start(vec![token_answer("t")]).await;
    let clock = SimulatedClock::new();
    let tokens = source_with_clock(&upstream.url(), clock.clone());
    tokens.refresh().await.unwrap();
    let start = clock.wall();
    // A laptop slept: the monotonic clock stood still.
    clock.set_wall(start + Duration::from_secs(7200));
    assert!(tokens.cached().is_none());
    tokens.refresh().await.unwrap();
    // The time of day is set back: the monotonic clock goes on.
    clock.set_wall(start - Duration::from_secs(7200));
    assert!(tokens.cached().is_some());
    clock.advance(Duration::from_secs(3600));
    assert!(tokens.cached().is_none());
}

#[tokio::test]
async fn acceptance_11_invalidating_an_old_token_does_nothing() {
    let upstream = Upstream::start(vec![token_answer("first"), token_answer("second")]).await;
    let clock = SimulatedClock::new();
    let tokens = source_with_clock(&upstream.url(), clock);
    let first = tokens.refresh().await.unwrap();
    tokens.invalidate(&first);
    assert!(tokens.cached().is_none());
    let second = tokens.refresh().await.unwrap();
    tokens.invalidate(&first);
    assert_eq!(tokens.cached(), Some(second));
}

#[tokio::test]
async fn acceptance_11_dropping_a_source_stops_its_request() {
    let upstream = Upstream::start(vec![vec![Step::Stall]]).await;
    let tokens = source_with_clock(&upstream.url(), SimulatedClock::new());
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut leader = Box::pin(tokens.refresh());
    assert!(futures_poll(&mut leader).is_pending());
    while upstream.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    settle().await;
    let during = alive();
    drop(leader);
    settle().await;
    assert_eq!(alive(), during, "whoever waited is not who asks");
    drop(tokens);
    settle().await;
    assert!(alive() < during, "the request is a task no more");
}

#[tokio::test]
async fn acceptance_1_the_request_is_what_google_documents() {
    let upstream = Upstream::start(vec![token_answer("t")]).await;
    source(&upstream.url()).refresh().await.unwrap();
    let seen = upstream.seen().remove(0);
    assert_eq!(seen.line, "POST /token HTTP/1.1");
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
    let body = String::from_utf8(seen.body).unwrap();
    let assertion = body
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap();
    let parts: Vec<&str> = assertion.split('.').collect();
    assert!(!assertion.contains(['=', '%']), "base64 for URLs, without padding");
    let json = |part: &str| -> serde_json::Value {
        use base64::Engine;
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap())
            .unwrap()
    };
    let (header, claims) = (json(parts[0]), json(parts[1]));
    let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        (names(&header), names(&claims)),
        (
            vec!["alg".to_owned(), "kid".to_owned(), "typ".to_owned()],
            ["aud", "exp", "iat", "iss", "scope"].map(str::to_owned).to_vec(),
        )
    );
    assert_eq!((&header["alg"], &header["typ"]), (&"RS256".into(), &"JWT".into()));
    assert_eq!(
        claims["aud"],
        format!("{}/token", upstream.url()),
        "not Google's endpoint, so not Google's audience"
    );
    let now = 1_767_225_600;
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(now - 10), Some(now - 10 + 3600)));
}

#[tokio::test]
async fn acceptance_4_a_key_can_sign_its_own_token_and_then_nobody_is_asked() {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new());
    let connector = Arc::new(HttpConnector::new());
    let json = Emulator::new(Arc::clone(&clock)).service_account_json("http://127.0.0.1:1").unwrap();
    let options = CredentialsOptions::new(connector, clock);
    for form in [
        TokenForm::SelfSigned,
        TokenForm::SelfSignedForAudience("https://us-central1-aiplatform.googleapis.com/".into()),
    ] {
        let audience = matches!(form, TokenForm::SelfSignedForAudience(_));
        let credentials = options.clone().with_token_form(form).from_json(json.as_bytes(), "a test").unwrap();
        let token = credentials.refresh().await.unwrap();
        use base64::Engine;
        let claims = token.secret().expose().split('.').nth(1).unwrap().to_owned();
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!((claims.get("aud").is_some(), claims.get("scope").is_some()), (audience, !audience));
        assert_eq!(claims["iss"], claims["sub"]);
    }
    let elsewhere = json.replace("\"googleapis.com\"", "\"example.cloud\"");
    let credentials = options.from_json(elsewhere.as_bytes(), "a test").unwrap();
    assert!(
        credentials.refresh().await.unwrap().secret().expose().starts_with("ey"),
        "another universe has no token endpoint"
    );
}

#[tokio::test]
async fn an_outage_that_goes_on_and_on_is_waited_out() {
    let body = br#"{"error":"temporarily_unavailable"}"#;
    let refusal = answer("503 Service Unavailable", "application/json", &[("retry-after", "5")], body);
    let upstream = Upstream::start(vec![vec![Step::Write(refusal)]]).await;
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
    let tokens = source_with_clock(&upstream.url(), clock.clone());
    for _ in 0..40 {
        let before = upstream.seen().len();
        tokens.refresh().await.unwrap_err();
        assert!(upstream.seen().len() > before, "after a minute the endpoint is asked again");
        let asked = upstream.seen().len();
        tokens.refresh().await.unwrap_err();
        assert_eq!(upstream.seen().len(), asked, "and not before");
        clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn tokens_that_come_dead_do_not_mean_a_request_for_each_caller() {
    let body = br#"{"access_token":"dead","expires_in":0.000001}"#;
    let upstream =
        Upstream::start(vec![vec![Step::Write(answer("200 OK", "application/json", &[], body))]]).await;
    let clock = SimulatedClock::new();
    let tokens = Arc::new(source_with_clock(&upstream.url(), clock.clone()));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move { tokens.refresh().await.map(|token| token.authorization().clone()) })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), HeaderValue::from_static("Bearer dead"));
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_request_on_a_runtime_that_stands_still_is_given_up() {
    let world = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = world.block_on(Upstream::start(vec![vec![Step::Stall], token_answer("second")]));
    let clock = SimulatedClock::new();
    let tokens = Arc::new(source_with_clock(&upstream.url(), clock.clone()));
    let still = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    still.block_on(async {
        // The request takes off here, and then nobody drives this runtime any more.
        let mut refresh = tokens.refresh();
        let _ = futures_poll(&mut refresh);
        while upstream.seen().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    let other = Arc::clone(&tokens);
    let waiting = world.spawn(async move { other.refresh().await });
    world.block_on(async {
        while clock.sleepers() < 2 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(36));
        let token = waiting.await.unwrap().unwrap();
        assert_eq!(token.authorization(), HeaderValue::from_static("Bearer second"));
    });
}
