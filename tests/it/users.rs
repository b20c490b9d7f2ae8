//! A person's login as credentials: found where gcloud leaves it, refreshed, replaced while the program runs.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vertex_chat::auth::{
    AuthError, AuthErrorKind, Credentials, CredentialsOptions, Environment, TokenSource,
};
use vertex_chat::transport::{HttpConnector, SimulatedClock};
use vertex_chat::{ChatRequest, Client, Message};
use vertex_chat_emulator::{Emulator, LOCATION, PROJECT, RunningEmulator};
use vertex_chat_tests::process::Folder;
use vertex_chat_tests::upstream::{Step, Upstream, answer};
use vertex_chat_tests::{base64, shared_json};

const FILE: &str = "application_default_credentials.json";

async fn emulator(clock: &SimulatedClock) -> RunningEmulator {
    Emulator::new(Arc::new(clock.clone())).start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

fn login(running: &RunningEmulator) -> String {
    running.emulator().authorized_user_json(&running.base_url())
}

fn options(environment: Environment) -> CredentialsOptions {
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
    CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock)).with_environment(environment)
}

fn find(variables: &[(&str, &str)]) -> Result<Credentials, AuthError> {
    options(Environment::of(variables.iter().copied())).find()
}

/// A login whose tokens come from this server.
fn login_at(base_url: &str) -> String {
    json!({"type": "authorized_user", "client_id": "c", "client_secret": "canary-secret", "refresh_token": "canary-1",
        "token_uri": format!("{base_url}/token")})
    .to_string()
}

fn token_answer(fields: Value) -> Vec<Step> {
    vec![Step::Write(answer("200 OK", "application/json", &[], fields.to_string().as_bytes()))]
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(body).unwrap();
    let decode = |text: &str| {
        let text = text.replace('+', " ").replace("%2F", "/").replace("%3A", ":").replace("%2f", "/");
        assert!(!text.contains('%'), "{text}");
        text
    };
    text.split('&').map(|pair| pair.split_once('=').unwrap()).map(|(k, v)| (decode(k), decode(v))).collect()
}

#[tokio::test]
async fn acceptance_5_a_login_where_gcloud_leaves_it_talks_to_a_model() {
    let running = emulator(&SimulatedClock::new()).await;
    let folder = Folder::new("gcloud");
    let _ = folder.file(FILE, login(&running));
    let gcloud = folder.path("").display().to_string();
    let environment =
        Environment::of([("CLOUDSDK_CONFIG", gcloud.as_str()), ("GOOGLE_CLOUD_PROJECT", PROJECT)]);
    let client = Client::builder()
        .environment(environment)
        .location(LOCATION)
        .host(running.base_url())
        .build()
        .unwrap();
    let answer =
        client.chat(ChatRequest::new("google/gemini-2.5-flash", [Message::user("hi")])).await.unwrap();
    assert!(answer.text().contains("hi"));
    let log = running.emulator().log();
    assert_eq!((log[0].path.as_str(), log[0].issued.as_deref()), ("/token", Some("token-1")));
    assert_eq!(log[1].token.as_deref(), Some("token-1"));
}

#[test]
fn the_places_are_looked_at_in_order_and_never_passed_over() {
    let folder = Folder::new("places");
    let home = folder.path("home");
    std::fs::create_dir_all(home.join(".config/gcloud")).unwrap();
    std::fs::create_dir_all(folder.path("sdk")).unwrap();
    let (home_file, sdk_file) = (home.join(".config/gcloud").join(FILE), folder.path("sdk").join(FILE));
    std::fs::write(&home_file, login_at("http://127.0.0.1:1")).unwrap();
    std::fs::write(&sdk_file, login_at("http://127.0.0.1:1")).unwrap();
    let named = folder.file("named.json", login_at("http://127.0.0.1:1"));
    let (home, sdk) = (home.display().to_string(), folder.path("sdk").display().to_string());
    let named = named.display().to_string();
    let origin = |variables: &[(&str, &str)]| find(variables).unwrap().origin().to_owned();
    let variable = "GOOGLE_APPLICATION_CREDENTIALS";
    assert_eq!(origin(&[(variable, &named), ("HOME", &home)]), format!("{variable}={named}"));
    assert_eq!(origin(&[(variable, ""), ("HOME", &home)]), home_file.display().to_string());
    assert_eq!(origin(&[("HOME", &home), ("CLOUDSDK_CONFIG", &sdk)]), sdk_file.display().to_string());

    // What was named and cannot be used is an error, whatever else there is.
    let missing = folder.path("none.json").display().to_string();
    let error = find(&[(variable, &missing), ("HOME", &home)]).unwrap_err();
    assert!(error.to_string().contains(&missing), "{error}");
    std::fs::write(&sdk_file, "not JSON").unwrap();
    let error = find(&[("HOME", &home), ("CLOUDSDK_CONFIG", &sdk)]).unwrap_err();
    assert!(error.to_string().contains("not a JSON object"), "{error}");

    // Nothing anywhere: every place is told.
    let empty = folder.path("empty").display().to_string();
    let error = find(&[("HOME", &empty), ("NO_GCE_CHECK", "true")]).unwrap_err().to_string();
    assert!(error.contains("GOOGLE_APPLICATION_CREDENTIALS is not set"), "{error}");
    assert!(error.contains(".config/gcloud/application_default_credentials.json is not there"), "{error}");
    assert!(error.contains("gcloud auth application-default login"), "{error}");
}

#[tokio::test]
async fn the_request_is_the_form_that_googles_library_sends() {
    let Some(vector) = shared_json("vectors/auth/python/user_refresh.json") else { return };
    let exchange = &vector["exchanges"][0]["request"];
    let raw = base64(exchange["raw_base64"].as_str().unwrap());
    let body = raw.windows(4).position(|it| it == b"\r\n\r\n").map(|at| &raw[at + 4..]).unwrap();
    let upstream =
        Upstream::start(vec![token_answer(json!({"access_token": "t", "expires_in": 3599}))]).await;
    let mut file = vector["credentials_file"].clone();
    file["token_uri"] = json!(format!("{}/token", upstream.url()));
    let found =
        options(Environment::of::<&str, &str>([])).from_json(file.to_string().as_bytes(), "a test").unwrap();
    let token = found.refresh().await.unwrap();
    assert_eq!(token.headers()["x-goog-user-project"], "rig-quota-project");
    let seen = &upstream.seen()[0];
    assert_eq!(form(&seen.body), form(body));
    assert_eq!(seen.header("content-type"), Some("application/x-www-form-urlencoded"));
}

#[tokio::test]
async fn acceptance_5_a_new_refresh_token_takes_the_place_of_the_old() {
    let answers = [
        json!({"access_token": "t1", "expires_in": 1, "refresh_token": "canary-2"}),
        json!({"access_token": "t2", "expires_in": 3599}),
    ];
    let upstream = Upstream::start(answers.map(token_answer).to_vec()).await;
    let clock = SimulatedClock::new();
    let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()))
        .with_environment(Environment::of::<&str, &str>([]))
        .with_scopes(["a", "b"]);
    let found = options.from_json(login_at(&upstream.url()).as_bytes(), "a test").unwrap();
    found.refresh().await.unwrap();
    clock.advance(Duration::from_secs(5));
    found.refresh().await.unwrap();
    let tokens: Vec<String> =
        upstream.seen().iter().map(|it| form(&it.body)["refresh_token"].clone()).collect();
    assert_eq!(tokens, ["canary-1", "canary-2"]);
    assert_eq!(form(&upstream.seen()[0].body)["scope"], "a b");
    assert!(!format!("{found:?}").contains("canary"));
}

#[tokio::test]
async fn acceptance_5_a_login_that_is_over_says_how_to_log_in_again() {
    let refusal = |status: &str, body: Value| {
        vec![Step::Write(answer(status, "application/json", &[], body.to_string().as_bytes()))]
    };
    let rapt = json!({"error": "invalid_grant", "error_description": "reauth related error (invalid_rapt)", "error_subtype": "invalid_rapt"});
    let over = json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."});
    let client = json!({"error": "invalid_client", "error_description": "The OAuth client was not found."});
    for (status, body, expected) in [
        ("400 Bad Request", rapt, "Please run `gcloud auth application-default login` to reauthenticate."),
        ("400 Bad Request", over, "run `gcloud auth application-default login`"),
        ("401 Unauthorized", client, "check `client_id` and `client_secret`"),
    ] {
        let upstream = Upstream::start(vec![refusal(status, body)]).await;
        let json = login_at(&upstream.url());
        let found = options(Environment::of::<&str, &str>([])).from_json(json.as_bytes(), "a test").unwrap();
        let error = found.refresh().await.unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Refused);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        assert_eq!(upstream.seen().len(), 1, "asking again does not help");
    }
}

#[tokio::test]
async fn acceptance_5_logging_in_again_heals_a_running_program() {
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
    let running = emulator(&clock).await;
    let folder = Folder::new("login-again");
    let over = login(&running).replace("1//emulator-refresh-token", "1//an-old-one");
    let path = folder.file(FILE, &over);
    let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()))
        .with_environment(Environment::of::<&str, &str>([]));
    let found = options.from_file(&path).unwrap();
    assert!(found.refresh().await.unwrap_err().to_string().contains("expired or revoked"));
    // Half written: what was read before goes on.
    std::fs::write(&path, &login(&running)[..40]).unwrap();
    clock.advance(Duration::from_secs(61));
    assert!(found.refresh().await.unwrap_err().to_string().contains("expired or revoked"));
    std::fs::write(&path, login(&running)).unwrap();
    clock.advance(Duration::from_secs(61));
    found.refresh().await.unwrap();
    // The file may even be of another kind; it stays the source.
    std::fs::write(&path, running.service_account_json()).unwrap();
    clock.advance(Duration::from_secs(3600));
    found.refresh().await.unwrap();
    let assertion = running.emulator().log().last().unwrap().assertion_of.clone();
    assert!(assertion.is_some());
}

#[test]
fn acceptance_5_what_is_missing_in_a_login_is_named() {
    let read = |fields: Value| {
        options(Environment::of::<&str, &str>([]))
            .from_json(fields.to_string().as_bytes(), "the file")
            .unwrap_err()
    };
    let error = read(json!({"type": "authorized_user", "client_id": "c"}));
    assert!(error.to_string().contains("the file: fields missing: client_secret, refresh_token"), "{error}");
    let whole = |name: &str, value: &str| json!({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r", name: value});
    assert!(read(whole("universe_domain", "example.cloud")).to_string().contains("universe"));
    assert!(read(whole("token_uri", "https://evil.example/token")).to_string().contains("token_uri"));
}
