//! The metadata server as credentials: found, asked, not there, not ready, and never through a proxy.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use vertex_chat::auth::{
    AuthErrorKind, Credentials, CredentialsKind, CredentialsOptions, Environment, METADATA_DETECT_TIMEOUT,
    TokenSource,
};
use vertex_chat::transport::{
    Clock, Connector, Exchange, HttpConnector, Profile, SimulatedClock, SystemClock, TransportError,
};
use vertex_chat::{ChatRequest, Client, Message};
use vertex_chat_emulator::{Emulator, Identity, LOCATION, PROJECT, RunningEmulator};
use vertex_chat_tests::process::{python, run, stderr, stdout, vertex_chat};
use vertex_chat_tests::upstream::{Step, Upstream, answer};

async fn emulator(clock: &SimulatedClock) -> RunningEmulator {
    Emulator::new(Arc::new(clock.clone())).start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}

fn find(clock: &SimulatedClock, variables: &[(&str, &str)]) -> Credentials {
    CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()))
        .with_environment(Environment::of(variables.iter().copied()))
        .find()
        .unwrap()
}

#[tokio::test]
async fn acceptance_6_a_machine_of_googles_needs_no_credentials() {
    let clock = SimulatedClock::new();
    let running = emulator(&clock).await;
    let url = running.base_url();
    // Seen by asking, not said by the environment.
    let mut found = find(&clock, &[("GCE_METADATA_IP", host(&url)), ("GCE_METADATA_HOST", host(&url))]);
    assert_eq!(found.kind(), CredentialsKind::MetadataServer);
    found.discover().await.unwrap();
    assert_eq!((found.project_id(), found.universe_domain()), (Some(PROJECT), "googleapis.com"));
    let client = Client::builder()
        .environment(Environment::of([("GOOGLE_CLOUD_PROJECT", PROJECT)]))
        .credentials(found)
        .location(LOCATION)
        .host(running.base_url())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let ask = || client.chat(ChatRequest::new("google/gemini-2.5-flash", [Message::user("hi")]));
    assert!(ask().await.unwrap().text().contains("hi"));
    // Near its end the server still gives out the same token; it is asked once a second at most.
    clock.advance(Duration::from_secs(3599 - 240));
    for _ in 0..5 {
        ask().await.unwrap();
    }
    clock.advance(Duration::from_secs(200));
    ask().await.unwrap();
    // The refresh of a stale token is a task of its own.
    while running.emulator().log().iter().filter(|entry| entry.issued.is_some()).count() < 2 {
        tokio::task::yield_now().await;
    }
    let log = running.emulator().log();
    let issued: Vec<_> = log.iter().filter_map(|entry| entry.issued.clone()).collect();
    assert_eq!(issued, ["token-1", "token-2"]);
}

#[tokio::test]
async fn acceptance_6_where_there_is_none_every_place_is_told() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let clock = SimulatedClock::new();
    let found = find(&clock, &[("GCE_METADATA_IP", &closed), ("HOME", "/nowhere")]);
    let error = found.refresh().await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Configuration);
    for words in [
        "GOOGLE_APPLICATION_CREDENTIALS is not set",
        "/nowhere/.config/gcloud",
        "no metadata server at 127.0.0.1:",
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    // Anybody may be at that address.
    let stranger =
        Upstream::start(vec![vec![Step::Write(answer("200 OK", "text/plain", &[], b"hello"))]]).await;
    let found = find(&clock, &[("GCE_METADATA_IP", host(&stranger.url()))]);
    let error = found.refresh().await.unwrap_err();
    assert!(error.to_string().contains("what answers there is not Google's"), "{error}");
    assert_eq!(stranger.seen()[0].header("metadata-flavor"), Some("Google"));
}

#[tokio::test]
async fn acceptance_6_a_server_that_says_nothing_is_waited_for_a_second() {
    let silent = Upstream::start(vec![vec![Step::Stall]]).await;
    let clock = SimulatedClock::new();
    let found = find(&clock, &[("GCE_METADATA_IP", host(&silent.url()))]);
    let before = clock.monotonic();
    let asking = tokio::spawn(async move { found.refresh().await });
    while silent.seen().is_empty() || clock.next_wake().is_none() {
        tokio::task::yield_now().await;
    }
    while !asking.is_finished() {
        if let Some(wake) = clock.next_wake() {
            clock.advance(wake.min(Duration::from_millis(100)));
        }
        tokio::task::yield_now().await;
    }
    assert!(asking.await.unwrap().unwrap_err().to_string().contains("no metadata server"));
    assert!(clock.monotonic() - before <= METADATA_DETECT_TIMEOUT + Duration::from_millis(200));
}

#[tokio::test]
async fn acceptance_6_a_server_that_is_not_ready_yet_is_waited_for_where_it_is_known_to_be() {
    let busy = || vec![Step::Write(answer("503 Service Unavailable", "text/plain", &[], b"starting"))];
    let token = answer("200 OK", "application/json", &[], br#"{"access_token":"t","expires_in":3599}"#);
    let mut steps = vec![vec![Step::Reset]];
    steps.extend([busy(), busy(), busy()]);
    steps.push(vec![Step::Write(token)]);
    let upstream = Upstream::start(steps).await;
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(9));
    let found = find(&clock, &[("GCE_METADATA_HOST", host(&upstream.url()))]);
    let before = clock.monotonic();
    found.refresh().await.unwrap();
    assert!(clock.monotonic() - before < Duration::from_secs(30));
    let line = upstream.seen().last().unwrap().line.clone();
    assert!(line.contains("/computeMetadata/v1/instance/service-accounts/default/token "), "{line}");
}

#[tokio::test]
async fn acceptance_6_a_machine_without_an_account_says_what_to_do() {
    let upstream =
        Upstream::start(vec![vec![Step::Write(answer("404 Not Found", "text/html", &[], b"<html>"))]]).await;
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(9));
    let error = find(&clock, &[("GCE_METADATA_HOST", host(&upstream.url()))]).refresh().await.unwrap_err();
    assert!(error.to_string().contains("attach a service account"), "{error}");
    assert_eq!(upstream.seen().len(), 1);
}

/// Notes what kind of connection was asked for.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<Profile>>);

impl Connector for Noted {
    fn connect(&self, profile: &Profile) -> Result<Arc<dyn Exchange>, TransportError> {
        self.0.lock().unwrap().push(profile.clone());
        HttpConnector::new().connect(profile)
    }
}

#[test]
fn acceptance_6_no_proxy_comes_between_and_who_does_not_want_it_is_not_asked() {
    let connector = Arc::new(Noted::default());
    let find = |variables: &[(&str, &str)]| {
        CredentialsOptions::new(Arc::clone(&connector) as Arc<dyn Connector>, Arc::new(SystemClock))
            .with_environment(Environment::of(variables.iter().copied()))
            .find()
    };
    find(&[]).unwrap();
    assert!(matches!(connector.0.lock().unwrap().as_slice(), [Profile::NoProxy]));
    assert!(find(&[("NO_GCE_CHECK", "true")]).unwrap_err().to_string().contains("NO_GCE_CHECK"));
}

#[tokio::test]
async fn acceptance_6_the_same_token_near_its_end_is_asked_for_once_a_second() {
    // The server gives its token out until the end, ever shorter.
    let answers = (0..400).map(|second| {
        let body = format!(r#"{{"access_token":"the-same","expires_in":{}}}"#, (30 - second / 10).max(1));
        vec![Step::Write(answer("200 OK", "application/json", &[], body.as_bytes()))]
    });
    let upstream = Upstream::start(answers.collect()).await;
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_millis(1));
    let found = find(&clock, &[("GCE_METADATA_HOST", host(&upstream.url()))]);
    let mut seconds = 0;
    for call in 0..300 {
        let token = match found.cached() {
            Some(token) => token,
            None => found.refresh().await.unwrap(),
        };
        assert_eq!(token.secret().expose(), "the-same");
        if call % 10 == 9 {
            clock.advance(Duration::from_secs(1));
            seconds += 1;
        }
    }
    let asked = upstream.seen().len();
    assert!((2..=seconds + 1).contains(&asked), "{asked} requests in {seconds} s");
}

#[test]
fn acceptance_8_other_clouds_metadata_is_asked_without_a_proxy_too() {
    let emulator = Emulator::new(Arc::new(SystemClock));
    let profiles = |url: &str, identity: &Identity| {
        let connector = Arc::new(Noted::default());
        let file = emulator.external_account_json(url, identity, false);
        CredentialsOptions::new(Arc::clone(&connector) as Arc<dyn Connector>, Arc::new(SystemClock))
            .with_environment(Environment::of::<&str, &str>([]))
            .danger_trust_credential_urls(true)
            .from_json(file.as_bytes(), "a test")
            .unwrap();
        let seen = connector.0.lock().unwrap();
        seen.iter().filter(|it| matches!(it, Profile::NoProxy)).count()
    };
    assert_eq!(profiles("http://127.0.0.1:1", &Identity::Aws), 1);
    assert_eq!(profiles("http://127.0.0.1:1", &Identity::Azure), 1);
    assert_eq!(profiles("https://example.com", &Identity::Url), 0);
}

#[tokio::test]
async fn unmodified_google_auth_takes_the_emulator_for_a_machine_of_googles() {
    let Some(mut command) = python("metadata.py") else { return };
    let running = Emulator::new(Arc::new(SystemClock)).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = running.base_url();
    command.args([&url, PROJECT, LOCATION]);
    command.env("GCE_METADATA_HOST", host(&url)).env("GCE_METADATA_IP", host(&url)).env("HOME", "/nowhere");
    command.env_remove("GOOGLE_APPLICATION_CREDENTIALS").env_remove("GOOGLE_CLOUD_PROJECT");
    let output = tokio::task::spawn_blocking(move || run(&mut command, "")).await.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("backpack"), "{}", stdout(&output));

    // The program too, project and all.
    let mut command = vertex_chat(&["chat", "--location", LOCATION, "--host", &url, "hello"]);
    command.env_remove("NO_GCE_CHECK").env("GCE_METADATA_HOST", host(&url)).env("HOME", "/nowhere");
    let output = tokio::task::spawn_blocking(move || run(&mut command, "")).await.unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(running.emulator().log().last().unwrap().path.contains(&format!("/projects/{PROJECT}/")));
}
