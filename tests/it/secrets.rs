//! A secret put into key, token and prompt is in no error, no `Debug`, and no log line of any crate at TRACE.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use vertex_chat::auth::{
    AccessToken, AwsCredentials, CredentialsOptions, Environment, Secret, ServiceAccountKey, TokenSource,
};
use vertex_chat::transport::{HttpConnector, SimulatedClock};
use vertex_chat::{ChatRequest, Client, ContentPart, Message};
use vertex_chat_emulator::{Emulator, Identity};
use vertex_chat_tests::behaviours::behaviours;
use vertex_chat_tests::log::Log;
use vertex_chat_tests::upstream::{Step, Upstream, answer};

const PROMPT: &str = "prompt-canary-7f3a";
const TOKEN: &str = "ya29.token-canary-91bc";

thread_local! {
    /// Keeps a thread of the runtime at its log until the thread ends.
    static GUARD: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
}

/// Runs a test and logs what all threads of its runtime say; the other tests of the program log nothing.
fn logged<F: Future<Output = ()>>(test: impl FnOnce(Log) -> F) {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let dispatch = Dispatch::new(subscriber);
    let of_thread = dispatch.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || {
            let guard = tracing::dispatcher::set_default(&of_thread);
            GUARD.with(|it| it.replace(Some(guard)));
        })
        .build()
        .unwrap();
    let _guard = tracing::dispatcher::set_default(&dispatch);
    runtime.block_on(test(log));
}

#[track_caller]
fn check(what: &str, text: &str, canaries: &[&str]) {
    for canary in canaries {
        assert!(!text.contains(canary), "{what} shows {canary}: {}", around(text, canary));
    }
}

fn around<'a>(text: &'a str, canary: &str) -> &'a str {
    let at = text.find(canary).unwrap_or(0);
    let start = (0..=at.saturating_sub(200)).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    let end = (at + 100..text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
    &text[start..end]
}

fn print_chain(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        text.push_str(&format!("{error} {error:?} {error:#?}\n"));
        cause = error.source();
    }
    text
}

#[test]
fn secrets_and_prompts_are_printed_nowhere() {
    logged(print_secrets_and_prompts);
}

async fn print_secrets_and_prompts(log: Log) {
    tracing::trace!("listening");

    // All that upstreams do, with a secret in prompt and token.
    for behaviour in behaviours() {
        let outcome = behaviour.replay(PROMPT, TOKEN).await;
        check(behaviour.id(), &outcome.printed, &[PROMPT, TOKEN]);
    }

    // All that goes wrong with credentials, with the key as the secret.
    let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(5));
    let emulator = Emulator::new(Arc::new(clock.clone()));
    let key_file = emulator.service_account_json("http://127.0.0.1:1").unwrap();
    let key: serde_json::Value = serde_json::from_str(&key_file).unwrap();
    let pem = key["private_key"].as_str().unwrap();
    // Any line of the key would do harm; these are three of them.
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).step_by(8).take(3).collect();
    let mut canaries = lines.clone();
    canaries.extend([PROMPT, TOKEN]);

    let scripts: Vec<(&str, Vec<Step>)> = vec![
        (
            "signature",
            refusal(
                "400 Bad Request",
                r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#,
            ),
        ),
        (
            "token beside an error",
            refusal("400 Bad Request", &format!(r#"{{"error":"invalid_grant","access_token":"{TOKEN}"}}"#)),
        ),
        ("token in HTML", refusal("200 OK", &format!("<html>{TOKEN}"))),
        ("token without life", refusal("200 OK", &format!(r#"{{"access_token":"{TOKEN}","expires_in":0}}"#))),
        (
            "token with a line end",
            refusal("200 OK", &format!(r#"{{"access_token":"{TOKEN}\n","expires_in":3599}}"#)),
        ),
        (
            "token cut off",
            vec![
                Step::Write(
                    format!("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{{\"access_token\":\"{TOKEN}")
                        .into_bytes(),
                ),
                Step::Close,
            ],
        ),
        ("redirect", refusal("302 Found", TOKEN)),
        ("server error", refusal("500 Internal Server Error", TOKEN)),
        ("reset", vec![Step::Reset]),
    ];
    for (what, script) in scripts {
        let upstream = Upstream::start(vec![script]).await;
        let file = key_file.replace("http://127.0.0.1:1", &upstream.url());
        let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()));
        let credentials = options.from_json(file.as_bytes(), "a test").unwrap();
        let error = credentials.refresh().await.unwrap_err();
        check(what, &format!("{}{credentials:?}{options:?}", print_chain(&error)), &canaries);

        let client = Client::builder()
            .environment(Environment::of::<&str, &str>([]))
            .host(upstream.url())
            .location("us-central1")
            .clock(Arc::new(clock.clone()))
            .credentials(credentials)
            .build()
            .unwrap();
        let error = client
            .chat(ChatRequest::new("google/gemini-2.5-flash", [Message::user(PROMPT)]))
            .await
            .unwrap_err();
        check(what, &print_chain(&error), &canaries);
    }

    // A token that is got, and goes with a call.
    let token_body = format!(r#"{{"access_token":"{TOKEN}","expires_in":3599}}"#);
    let chat_body = r#"{"choices":[{"message":{"content":"answer"},"finish_reason":"stop"}]}"#;
    let upstream = Upstream::start(vec![refusal("200 OK", &token_body), refusal("200 OK", chat_body)]).await;
    let file = key_file.replace("http://127.0.0.1:1", &upstream.url());
    let builder =
        Client::builder().host(upstream.url()).location("us-central1").credentials_json(file.clone());
    check("a builder", &format!("{builder:?}"), &canaries);
    let client = builder.clock(Arc::new(clock.clone())).build().unwrap();
    let picture = ContentPart::image_url(format!("data:image/png;base64,{}", STANDARD.encode(PROMPT)));
    let request =
        ChatRequest::new("google/gemini-2.5-flash", [Message::user([ContentPart::text(PROMPT), picture])]);
    check("a request", &format!("{request:?}"), &canaries);
    let answer = client.chat(request).await.unwrap();
    check("an answer", &format!("{answer:?}{client:?}"), &canaries);
    let sent = upstream.seen().pop().unwrap();
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {TOKEN}").as_str()),
        "the token was there to be seen"
    );
    assert!(String::from_utf8(sent.body).unwrap().contains(PROMPT), "and so was the prompt");

    // Files that are broken, with the secret in the broken place.
    let in_place_of_the_key = key_file.replace(pem.lines().nth(1).unwrap(), PROMPT);
    for broken in [
        format!(r#"{{"type":"service_account","private_key":"{PROMPT}","client_email":"a@b"}}"#),
        format!(
            r#"{{"type":"service_account","client_email":"a@b","token_uri":"https://evil.example/{PROMPT}""#
        ),
        format!(r#"{{"type":"service_account","private_key":{{"{PROMPT}":1}}}}"#),
        in_place_of_the_key.replace('\n', ""),
        format!("[\"{PROMPT}\"]"),
        PROMPT.to_owned(),
    ] {
        let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()));
        let error = options.from_json(broken.as_bytes(), "a test").unwrap_err();
        check("a broken file", &print_chain(&error), &canaries);
    }

    // Every other kind of file, its secrets the canary, at servers that accept everything and then nothing.
    let good = format!(r#"{{"access_token":"{TOKEN}","expires_in":3599,"refresh_token":"{TOKEN}"}}"#);
    for last in [refusal("200 OK", &good), refusal("400 Bad Request", TOKEN), refusal("403 Forbidden", TOKEN)]
    {
        let upstream = Upstream::start(vec![refusal("200 OK", &good), last]).await;
        let url = upstream.url();
        let login = emulator.authorized_user_json(&url);
        let files = [
            emulator.impersonated_service_account_json(&url, &login, true),
            emulator.external_account_authorized_user_json(&url),
            emulator.external_account_json(&url, &Identity::Azure, true),
            emulator.external_account_json(&url, &Identity::GitHub, false),
            emulator.external_account_json(&url, &Identity::Aws, true),
            emulator.external_account_json(
                &url,
                &Identity::Executable(format!("/bin/sh -c '{TOKEN}'")),
                false,
            ),
            emulator.external_account_json(&url, &Identity::File("/no/such/file".to_owned()), false),
            login,
        ];
        for file in files {
            let mut file: serde_json::Value = serde_json::from_str(&file).unwrap();
            for name in ["client_secret", "refresh_token"] {
                file[name] = TOKEN.into();
                if file["source_credentials"].is_object() {
                    file["source_credentials"][name] = TOKEN.into();
                }
            }
            if file["credential_source"]["headers"].is_object() {
                file["credential_source"]["headers"]["Authorization"] = TOKEN.into();
            }
            let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()))
                .with_environment(Environment::of([
                    ("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1"),
                    ("AWS_SECRET_ACCESS_KEY", TOKEN),
                    ("AWS_SESSION_TOKEN", TOKEN),
                    ("AWS_ACCESS_KEY_ID", "id"),
                    ("AWS_REGION", "us-east-2"),
                ]))
                .danger_trust_credential_urls(true);
            let credentials = options.from_json(file.to_string().as_bytes(), "a test").unwrap();
            let outcome = credentials.refresh().await;
            let failed = outcome.as_ref().err().map(|error| print_chain(error)).unwrap_or_default();
            let what = file["type"].as_str().unwrap();
            check(what, &format!("{failed}{outcome:?}{credentials:?}{options:?}"), &canaries);
        }
    }
    let aws = AwsCredentials {
        access_key_id: "id".to_owned(),
        secret_access_key: TOKEN.into(),
        session_token: Some(TOKEN.into()),
    };
    check("AWS credentials", &format!("{aws:?}"), &canaries);

    // What holds secrets prints none.
    let key = ServiceAccountKey::from_json(file.as_bytes()).unwrap();
    let token = AccessToken::api_key(Secret::new(TOKEN)).unwrap();
    let held = format!(
        "{key:?}{token:?}{:?}{:?}{:?}",
        token.authorization(),
        Secret::new(TOKEN),
        Environment::of([("A", TOKEN)])
    );
    check("what holds secrets", &held, &canaries);

    // A request that is not sent.
    let hostile = ChatRequest::new(PROMPT, [Message::user([ContentPart::image_url(PROMPT)])]);
    let error = client.chat(hostile).await.unwrap_err();
    check("a rejection", &print_chain(&error), &canaries);

    let logged = log.text();
    assert!(
        logged.contains("listening") && logged.contains("chat"),
        "the log was on: {} bytes",
        logged.len()
    );
    check("the log", &logged, &canaries);
}

fn refusal(status: &str, body: &str) -> Vec<Step> {
    vec![Step::Write(answer(status, "application/json", &[], body.as_bytes()))]
}
