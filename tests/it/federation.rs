//! Identities from elsewhere and accounts that are acted as, each from its credential file to a chat call over TCP.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use vertex_chat::auth::{
    AuthError, AuthErrorKind, AwsCredentials, Credentials, CredentialsKind, CredentialsOptions, Environment,
    Secret, SubjectTokenSource, TokenSource, aws_subject_token,
};
use vertex_chat::transport::{Clock, HttpConnector, SimulatedClock};
use vertex_chat::{ChatRequest, Client, Message};
use vertex_chat_emulator::{Emulator, Fault, FaultPlace, Identity, LOCATION, PROJECT, RunningEmulator};
use vertex_chat_tests::certificates::Certificates;
use vertex_chat_tests::process::Folder;
use vertex_chat_tests::upstream::{Step, Upstream, answer};

const GATE: (&str, &str) = ("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1");

struct World {
    clock: SimulatedClock,
    running: RunningEmulator,
    folder: Folder,
}

async fn world(name: &str) -> World {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let clock = SimulatedClock::at(start).with_instant_sleeps(Duration::from_secs(5));
    let running = Emulator::new(Arc::new(clock.clone())).start("127.0.0.1:0".parse().unwrap()).await.unwrap();
    World { clock, running, folder: Folder::new(name) }
}

impl World {
    fn options(&self, variables: &[(&str, &str)]) -> CredentialsOptions {
        CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(self.clock.clone()))
            .with_environment(Environment::of(variables.iter().copied()))
    }

    fn read(&self, json: &str) -> Result<Credentials, AuthError> {
        self.options(&[GATE]).from_json(json.as_bytes(), "a test")
    }

    fn external(&self, identity: &Identity) -> String {
        self.running.emulator().external_account_json(&self.running.base_url(), identity, false)
    }

    /// A file that Kubernetes keeps fresh.
    fn token_file(&self, token: &str) -> Identity {
        Identity::File(self.folder.file("token", token).display().to_string())
    }

    fn program(&self, script: &str) -> PathBuf {
        let path = self.folder.file("program.sh", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn paths(&self) -> Vec<String> {
        self.running.emulator().log().iter().map(|it| format!("{} {}", it.path, it.status)).collect()
    }

    /// The first talk with a model of a program with these credentials.
    async fn talk(&self, credentials: Credentials) -> Result<(), vertex_chat::Error> {
        let client = Client::builder()
            .environment(Environment::of::<&str, &str>([]))
            .project(PROJECT)
            .location(LOCATION)
            .host(self.running.base_url())
            .credentials(credentials)
            .clock(Arc::new(self.clock.clone()))
            .build()?;
        client.chat(ChatRequest::new("google/gemini-2.5-flash", [Message::user("hi")])).await.map(|_| ())
    }
}

fn executable_answer(fields: Value) -> String {
    let mut answer = json!({"version": 1, "success": true, "token_type": "urn:ietf:params:oauth:token-type:id_token",
        "id_token": "emulator-subject-token"});
    answer.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    answer.to_string()
}

#[tokio::test]
async fn acceptance_8_every_identity_talks_to_a_model_with_and_without_an_account() {
    let world = world("identities").await;
    let subject = world.running.emulator().subject_token();
    let good = world.program(&format!("echo '{}'", executable_answer(json!({}))));
    let identities = [
        world.token_file(&format!("{subject}\n")),
        Identity::Url,
        Identity::Azure,
        Identity::GitHub,
        Identity::Aws,
        Identity::Workforce(world.folder.path("token").display().to_string()),
        Identity::Executable(format!("{} --arg 'two words'", good.display())),
    ];
    for identity in identities {
        for as_account in [false, true] {
            let json = world.running.emulator().external_account_json(
                &world.running.base_url(),
                &identity,
                as_account,
            );
            let options = world.options(&[GATE]).danger_trust_credential_urls(identity == Identity::Aws);
            let found = options.from_json(json.as_bytes(), "a test").unwrap();
            assert_eq!(found.kind(), CredentialsKind::ExternalAccount);
            let account = as_account.then(|| format!("target@{PROJECT}.iam.gserviceaccount.com"));
            assert_eq!(found.account().map(str::to_owned), account);
            world.talk(found).await.unwrap_or_else(|error| panic!("{identity:?} {as_account}: {error}"));
            let paths = world.paths();
            let acted = paths.iter().rev().nth(1).unwrap();
            assert_eq!(acted.contains(":generateAccessToken 200"), as_account, "{acted}");
            assert_eq!(!acted.contains(":generateAccessToken 200"), acted == "/v1/token 200", "{acted}");
        }
    }
}

#[tokio::test]
async fn a_project_is_found_by_the_pools_number() {
    let world = world("number").await;
    let mut found = world.read(&world.external(&Identity::Url)).unwrap();
    assert_eq!(found.project_id(), None);
    found.discover().await.unwrap();
    assert_eq!(found.project_id(), Some(PROJECT));
    let mut workforce = world.read(&world.external(&Identity::Workforce("x".to_owned()))).unwrap();
    workforce.discover().await.unwrap();
    assert_eq!(workforce.project_id(), Some(PROJECT), "the project that the workforce's requests count for");
}

#[tokio::test]
async fn acceptance_8_aws_is_asked_by_session_and_needs_no_machine_with_variables() {
    let world = world("aws").await;
    let json = world.external(&Identity::Aws);
    let machine =
        world.options(&[]).danger_trust_credential_urls(true).from_json(json.as_bytes(), "a test").unwrap();
    machine.refresh().await.unwrap();
    assert_eq!(
        world.paths(),
        [
            "/latest/api/token 200",
            "/latest/meta-data/placement/availability-zone 200",
            "/latest/meta-data/iam/security-credentials 200",
            "/latest/meta-data/iam/security-credentials/emulator-role 200",
            "/v1/token 200",
        ]
    );
    // AWS_DEFAULT_REGION comes after AWS_REGION.
    let mut variables = world.running.emulator().aws_variables().to_vec();
    variables.push(("AWS_DEFAULT_REGION", "no such region"));
    let options = world.options(&variables).danger_trust_credential_urls(true);
    options.from_json(json.as_bytes(), "a test").unwrap().refresh().await.unwrap();
    assert_eq!(world.paths()[5..], ["/v1/token 200"]);

    // Without the flag, only AWS's own addresses are asked.
    let error = world.read(&json).unwrap_err().to_string();
    assert!(error.contains("`credential_source.region_url` is not at AWS's metadata server"), "{error}");
    // IMDSv1 has no sessions.
    let mut file: Value = serde_json::from_str(&json).unwrap();
    file["credential_source"].as_object_mut().unwrap().remove("imdsv2_session_token_url");
    let options = world.options(&[]).danger_trust_credential_urls(true);
    options.from_json(file.to_string().as_bytes(), "a test").unwrap().refresh().await.unwrap();
    assert_eq!(world.paths().len(), 6 + 4);
}

/// Subject tokens of AWS credentials that somebody else found.
#[derive(Debug)]
struct OwnSupplier(SimulatedClock);

#[async_trait::async_trait]
impl SubjectTokenSource for OwnSupplier {
    async fn subject_token(&self) -> Result<Secret, AuthError> {
        let credentials = AwsCredentials {
            access_key_id: "ASIAEMULATOREMULATOR".to_owned(),
            secret_access_key: "emulatorSecretemulatorSecretemulatorSec0".into(),
            session_token: Some("emulator-aws-session-token".into()),
        };
        let url = "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
        let audience = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/emulator-pool/providers/emulator";
        aws_subject_token(&credentials, "eu-west-1", url, audience, self.0.wall())
    }
}

#[tokio::test]
async fn a_program_may_bring_subject_tokens_of_its_own() {
    let world = world("supplier").await;
    let mut file: Value = serde_json::from_str(&world.external(&Identity::Aws)).unwrap();
    file.as_object_mut().unwrap().remove("credential_source");
    let error = world.read(&file.to_string()).unwrap_err().to_string();
    assert!(error.contains("field `credential_source` is missing"), "{error}");
    let options = world.options(&[]).with_subject_tokens(Arc::new(OwnSupplier(world.clock.clone())));
    let found = options.from_json(file.to_string().as_bytes(), "a test").unwrap();
    world.talk(found).await.unwrap();
    assert_eq!(world.paths()[0], "/v1/token 200");
}

#[tokio::test]
async fn acceptance_7_an_account_is_acted_as_from_a_login_a_key_and_an_account() {
    let world = world("accounts").await;
    let (emulator, url) = (world.running.emulator(), world.running.base_url());
    let login = emulator.authorized_user_json(&url);
    let key = world.running.service_account_json();
    let federated = emulator.external_account_json(&url, &Identity::Url, false);
    let external_user = emulator.external_account_authorized_user_json(&url);
    let chain = emulator.impersonated_service_account_json(&url, &key, true);
    for source in [login, key, federated, external_user, chain] {
        for by_delegate in [false, true] {
            let file = emulator.impersonated_service_account_json(&url, &source, by_delegate);
            let found = world.read(&file).unwrap();
            assert_eq!(found.kind(), CredentialsKind::ImpersonatedServiceAccount);
            world.talk(found).await.unwrap();
        }
    }
    // An account for an account for an account …: at some depth it is a mistake.
    let mut file = world.running.service_account_json();
    for _ in 0..6 {
        file = emulator.impersonated_service_account_json(&url, &file, false);
    }
    let error = world.read(&file).unwrap_err().to_string();
    assert!(error.contains("more than 4 deep"), "{error}");
}

#[tokio::test]
async fn acceptance_9_a_federated_login_talks_to_a_model() {
    let world = world("federated-login").await;
    let (emulator, url) = (world.running.emulator(), world.running.base_url());
    let external_user = world.read(&emulator.external_account_authorized_user_json(&url)).unwrap();
    assert_eq!(external_user.kind(), CredentialsKind::ExternalAccountAuthorizedUser);
    world.talk(external_user).await.unwrap();
    assert_eq!(world.paths()[0], "/v1/oauthtoken 200");
}

#[tokio::test]
async fn acceptance_7_who_may_not_act_as_an_account_is_told_which_role_is_missing() {
    let world = world("role").await;
    let (emulator, url) = (world.running.emulator(), world.running.base_url());
    let file = emulator.impersonated_service_account_json(&url, &world.running.service_account_json(), false);
    let found = world.read(&file.replace("/target@", "/somebody@")).unwrap();
    let error = found.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status(), error.code()),
        (AuthErrorKind::Refused, Some(403), Some("PERMISSION_DENIED"))
    );
    let words = error.to_string();
    assert!(
        words.contains("acting as somebody@") && words.contains("roles/iam.serviceAccountTokenCreator"),
        "{words}"
    );

    // The source is refused: that is told as what it is.
    let revoked = file.replace("1//emulator-refresh-token", "canary");
    let login = emulator.authorized_user_json(&url).replace("1//emulator-refresh-token", "canary");
    let found = world.read(&emulator.impersonated_service_account_json(&url, &login, false)).unwrap();
    let error = found.refresh().await.unwrap_err().to_string();
    assert!(error.contains("the credentials that act as it") && error.contains("revoked"), "{error}");
    assert!(!error.contains("canary") && !revoked.contains("canary"), "{error}");
}

#[tokio::test]
async fn a_source_token_that_is_refused_is_replaced_once() {
    let world = world("revoked").await;
    let (emulator, url) = (world.running.emulator(), world.running.base_url());
    let file = emulator.impersonated_service_account_json(&url, &world.running.service_account_json(), false);
    let found = world.read(&file).unwrap();
    let token = found.refresh().await.unwrap();
    emulator.revoke_tokens(None);
    found.invalidate(&token);
    found.refresh().await.unwrap();
    let paths = world.paths();
    assert_eq!(paths[0], "/token 200");
    assert!(paths[2].ends_with(":generateAccessToken 401"), "{paths:?}");
    assert_eq!(paths[3], "/token 200");
    assert!(paths[4].ends_with(":generateAccessToken 200"), "{paths:?}");
}

#[tokio::test]
async fn acceptance_7_the_end_of_an_accounts_token_is_by_the_servers_clock() {
    // This machine is ten minutes fast: by its own clock the token would be over before its time.
    for (answered, date, life) in [
        ("2026-01-01T01:00:00.5Z", "Thu, 01 Jan 2026 00:00:00 GMT", 3600),
        ("2026-01-01T00:30:00+00:00", "Thu, 01 Jan 2026 00:10:00 GMT", 1200),
        ("2026-01-01T01:00:00Z", "not a date", 3000),
    ] {
        let body = json!({"accessToken": "t", "expireTime": answered}).to_string();
        let iam = answer("200 OK", "application/json", &[("date", date)], body.as_bytes());
        let upstream = Upstream::start(vec![
            vec![Step::Write(answer(
                "200 OK",
                "application/json",
                &[],
                br#"{"access_token":"s","expires_in":3599}"#,
            ))],
            vec![Step::Write(iam)],
        ])
        .await;
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 600);
        let clock = SimulatedClock::at(start).with_instant_sleeps(Duration::from_secs(5));
        let login = json!({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
            "token_uri": format!("{}/token", upstream.url())});
        let file = json!({"type": "impersonated_service_account", "source_credentials": login,
            "service_account_impersonation_url":
                format!("{}/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken", upstream.url())});
        let found = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(clock.clone()))
            .with_environment(Environment::of::<&str, &str>([]))
            .with_scopes(["one", "two"])
            .from_json(file.to_string().as_bytes(), "a test")
            .unwrap();
        found.refresh().await.unwrap();
        clock.advance(Duration::from_secs(life - 241));
        let first = found.cached();
        assert!(first.is_some(), "{answered} {date}");
        clock.advance(Duration::from_secs(240));
        assert!(found.cached().is_none(), "{answered} {date}");
        let seen = &upstream.seen()[1];
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(body, json!({"delegates": [], "scope": ["one", "two"], "lifetime": "3600s"}));
        assert_eq!(seen.header("authorization"), Some("Bearer s"));
    }
}

#[tokio::test]
async fn acceptance_8_a_file_that_is_replaced_is_read_for_every_token() {
    let world = world("rotated").await;
    let file = world.token_file("an-old-token");
    let found = world.read(&world.external(&file)).unwrap();
    let error = found.refresh().await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::Refused);
    assert!(error.to_string().contains("identity federation"), "{error}");
    let _ = world.token_file(&format!("{}\r\n", world.running.emulator().subject_token()));
    world.clock.advance(Duration::from_secs(61));
    found.refresh().await.unwrap();
    // Gone, empty, not JSON, without the field: each is named, with the file.
    let path = world.folder.path("token");
    let mut file: Value = serde_json::from_str(&world.external(&file)).unwrap();
    file["credential_source"]["format"] = json!({"type": "json", "subject_token_field_name": "id_token"});
    for (content, words) in [
        (None, "No such file"),
        (Some(""), "is not a JSON object"),
        (Some("{}"), "has no text field `id_token`"),
    ] {
        std::fs::remove_file(&path).ok();
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = world.read(&file.to_string()).unwrap().refresh().await.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn acceptance_8_the_security_token_service_is_asked_again_where_that_helps() {
    let world = world("sts").await;
    let busy = Fault::at(FaultPlace::Sts).times(2).status(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    world.running.emulator().add_fault(busy);
    world.read(&world.external(&Identity::Url)).unwrap().refresh().await.unwrap();
    assert_eq!(world.paths(), ["/subject-token 200", "/v1/token 503", "/v1/token 503", "/v1/token 200"]);
    // So is whoever gives the subject token.
    let busy = Fault::at(FaultPlace::Subject)
        .times(1)
        .status(StatusCode::TOO_MANY_REQUESTS, "")
        .header("retry-after".parse().unwrap(), HeaderValue::from_static("1"));
    world.running.emulator().add_fault(busy);
    world.read(&world.external(&Identity::Azure)).unwrap().refresh().await.unwrap();
    let refused = world.external(&Identity::GitHub).replace("emulator-github-request-token", "canary");
    let error = world.read(&refused).unwrap().refresh().await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (AuthErrorKind::Refused, 1));
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[tokio::test]
async fn acceptance_8_a_clients_secret_goes_in_standard_base64() {
    let world = world("basic").await;
    let mut file: Value = serde_json::from_str(&world.external(&Identity::Url)).unwrap();
    let user: Value = serde_json::from_str(
        &world.running.emulator().external_account_authorized_user_json(&world.running.base_url()),
    )
    .unwrap();
    file["client_id"] = user["client_id"].clone();
    file["client_secret"] = user["client_secret"].clone();
    // The emulator takes no other spelling of `~~?>` than RFC 7617's.
    world.read(&file.to_string()).unwrap().refresh().await.unwrap();
    file["client_secret"] = json!("canary");
    let error = world.read(&file.to_string()).unwrap().refresh().await.unwrap_err();
    assert_eq!(error.code(), Some("invalid_client"));
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test]
async fn acceptance_8_a_program_is_run_only_where_that_is_allowed_and_never_for_long() {
    let world = world("executable").await;
    let read = |command: &str, change: &dyn Fn(&mut Value)| {
        let mut file: Value =
            serde_json::from_str(&world.external(&Identity::Executable(command.to_owned()))).unwrap();
        change(&mut file["credential_source"]["executable"]);
        file.to_string()
    };
    let plain = |_: &mut Value| ();
    let good = world.program(&format!("echo '{}'", executable_answer(json!({})))).display().to_string();
    for gate in [vec![], vec![(GATE.0, "true")], vec![(GATE.0, "0")]] {
        let error =
            world.options(&gate).from_json(read(&good, &plain).as_bytes(), "a test").unwrap_err().to_string();
        assert!(error.contains("set GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"), "{error}");
    }
    for (command, words) in
        [("program.sh", "whole path"), ("/bin/sh 'open", "open quote"), ("  ", "is empty")]
    {
        let error = world.read(&read(command, &plain)).unwrap_err().to_string();
        assert!(error.contains(words), "{command}: {error}");
    }
    for millis in [json!(4999), json!(120_001), json!("30000"), json!(-1)] {
        let change = |executable: &mut Value| executable["timeout_millis"] = millis.clone();
        let error = world.read(&read(&good, &change)).unwrap_err().to_string();
        assert!(error.contains("from 5000 to 120000"), "{error}");
    }
    for (script, kind, words) in [
        ("exit 3", AuthErrorKind::Refused, "ended with code 3"),
        ("kill -9 $$", AuthErrorKind::Refused, "ended by a signal"),
        ("echo canary", AuthErrorKind::Configuration, "is not a JSON object"),
        (r#"echo '{"version":2,"success":true}'"#, AuthErrorKind::Configuration, "another `version`"),
        (r#"echo '{"version":1}'"#, AuthErrorKind::Configuration, "no field `success`"),
        (
            r#"echo '{"version":1,"success":false,"code":"401","message":"Caller not authorized."}'; exit 1"#,
            AuthErrorKind::Refused,
            "401: Caller not authorized.",
        ),
        (
            r#"echo '{"version":1,"success":true,"token_type":"urn:ietf:params:oauth:token-type:jwt","id_token":"canary","expiration_time":1}'"#,
            AuthErrorKind::Unavailable,
            "has expired",
        ),
        ("head -c 2000000 /dev/zero", AuthErrorKind::Configuration, "wrote more than 1048576 bytes"),
        ("exec /no/such/program", AuthErrorKind::Refused, "ended with code 127"),
    ] {
        let command = world.program(script).display().to_string();
        let error = world.read(&read(&command, &plain)).unwrap().refresh().await.unwrap_err();
        assert!(error.to_string().contains(words), "{script}: {error}");
        assert_eq!(error.kind(), kind, "{script}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    let error =
        world.read(&read("/no/such/program", &plain)).unwrap().refresh().await.unwrap_err().to_string();
    assert!(error.contains("cannot be started"), "{error}");
}

#[tokio::test]
async fn acceptance_8_a_program_is_told_whom_it_is_for_and_its_output_file_is_read_first() {
    let world = world("output").await;
    let seen = world.folder.path("seen");
    let output = world.folder.path("output.json");
    let later = executable_answer(json!({"expiration_time": 1_767_225_600 + 600}));
    let command =
        world.program(&format!("env | grep GOOGLE_EXTERNAL | sort > {}\necho '{later}'", seen.display()));
    let json = world.running.emulator().external_account_json(
        &world.running.base_url(),
        &Identity::Executable(command.display().to_string()),
        true,
    );
    let mut file: Value = serde_json::from_str(&json).unwrap();
    file["credential_source"]["executable"]["output_file"] = json!(output);
    let get = async || world.read(&file.to_string()).unwrap().refresh().await;
    get().await.unwrap();
    let variables = std::fs::read_to_string(&seen).unwrap();
    for line in [
        "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE=//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/emulator-pool/providers/emulator",
        "GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL=target@emulator-project.iam.gserviceaccount.com",
        "GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE=0",
        &format!("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE={}", output.display()),
        "GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE=urn:ietf:params:oauth:token-type:jwt",
    ] {
        assert!(variables.lines().any(|it| it == line), "{line}: {variables}");
    }
    let runs = |content: &str| {
        std::fs::remove_file(&seen).ok();
        std::fs::write(&output, content).unwrap();
    };
    // Still good: nothing is run. Over, failed or empty: it is. Nonsense: an error.
    runs(&later);
    get().await.unwrap();
    assert!(!seen.exists());
    for content in [
        executable_answer(json!({"expiration_time": 1_767_225_600 - 1})),
        r#"{"version":1,"success":false,"code":"1","message":"no"}"#.to_owned(),
        String::new(),
    ] {
        runs(&content);
        get().await.unwrap();
        assert!(seen.exists(), "{content}");
    }
    for content in ["nonsense", &executable_answer(json!({}))] {
        runs(content);
        let error = get().await.unwrap_err();
        assert!(error.to_string().contains("output_file"), "{error}");
    }
    // Somebody else could have written it.
    runs(&later);
    std::fs::set_permissions(&output, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = get().await.unwrap_err().to_string();
    assert!(error.contains("can be written by everybody"), "{error}");
}

#[tokio::test]
async fn acceptance_8_a_program_that_hangs_is_ended_with_all_that_it_started() {
    let world = world("hangs").await;
    let pids = world.folder.path("pids");
    let command = world.program(&format!(
        "sleep 1000 &\necho $! $$ > {}.new; mv {}.new {}; wait",
        pids.display(),
        pids.display(),
        pids.display()
    ));
    let json = world.external(&Identity::Executable(command.display().to_string()));
    let is_alive = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    };
    // Once by its time, once because nobody waits any more.
    for by_time in [true, false] {
        std::fs::remove_file(&pids).ok();
        let found = world.read(&json).unwrap();
        let mut asking = Box::pin(async { found.refresh().await });
        let started = async {
            while !pids.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { biased; _ = &mut asking => panic!("it cannot end yet"), () = started => {} }
        let started = std::fs::read_to_string(&pids).unwrap();
        if by_time {
            world.clock.advance(Duration::from_secs(31));
            let error = asking.await.unwrap_err().to_string();
            assert!(error.contains("took longer than 30 s and was ended"), "{error}");
        } else {
            drop(asking);
            drop(found);
        }
        while started.split_whitespace().any(is_alive) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_in_a_federation_file_is_named() {
    let world = world("wrong").await;
    let check = |change: &dyn Fn(&mut Value), words: &str| {
        let mut file: Value = serde_json::from_str(&world.external(&Identity::Url)).unwrap();
        change(&mut file);
        let error = world.read(&file.to_string()).unwrap_err();
        assert_eq!(error.kind(), AuthErrorKind::Configuration);
        assert!(error.to_string().contains(words) && error.to_string().starts_with("a test: "), "{error}");
    };
    check(
        &|it| it["credential_source"]["file"] = json!("/x"),
        "several sources, which exclude each other: file, url",
    );
    check(&|it| it["credential_source"] = json!({}), "none of `file`, `url`");
    check(&|it| it["credential_source"]["url"] = json!("ftp://x"), "not a URL with http or https");
    check(
        &|it| it["credential_source"]["headers"] = json!({"a b": "c"}),
        "`credential_source.headers.a b` is not a header",
    );
    check(&|it| it["credential_source"]["format"] = json!({"type": "xml"}), "neither `text` nor `json`");
    check(
        &|it| it["credential_source"]["format"] = json!({"type": "json"}),
        "subject_token_field_name` is missing",
    );
    check(&|it| it["credential_source"] = json!({"environment_id": "aws2"}), "is not `aws1`");
    check(
        &|it| it["token_url"] = json!("https://evil.example/v1/token"),
        "field `token_url` is not an address of Google's",
    );
    check(
        &|it| {
            it["service_account_impersonation_url"] =
                json!("https://evil.example/serviceAccounts/a@b:generateAccessToken");
        },
        "field `service_account_impersonation_url` is not an address of Google's",
    );
    check(&|it| it["universe_domain"] = json!("evil.example"), "with_universe_domain");
    check(&|it| it["credential_source"]["url"] = json!("http://user:canary@h/"), "has a user name in it");
    check(&|it| it["type"] = json!("gdch_service_account"), "Google Distributed Cloud");
    check(
        &|it| it["type"] = json!("mystery"),
        "`mystery` is no known type of credentials; known are `service_account`",
    );
    let error = world
        .options(&[])
        .with_subject("a@b")
        .from_json(world.external(&Identity::Url).as_bytes(), "a test")
        .unwrap_err();
    assert!(error.to_string().contains("cannot act for somebody else"), "{error}");
}

#[tokio::test]
async fn a_key_acts_for_a_person_where_that_is_wanted() {
    let world = world("delegation").await;
    let answer_with = answer("200 OK", "application/json", &[], br#"{"access_token":"t","expires_in":3599}"#);
    let upstream = Upstream::start(vec![vec![Step::Write(answer_with)]]).await;
    let key = world.running.service_account_json().replace(&world.running.base_url(), &upstream.url());
    let options = world.options(&[]).with_subject("person@example.com");
    options.from_json(key.as_bytes(), "a test").unwrap().refresh().await.unwrap();
    let body = String::from_utf8(upstream.seen()[0].body.clone()).unwrap();
    let claims = body.split_once("assertion=").unwrap().1.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&vertex_chat_tests::base64_url(claims)).unwrap();
    assert_eq!(claims["sub"], "person@example.com");
    let form = vertex_chat::auth::TokenForm::SelfSigned;
    let error = options.with_token_form(form).from_json(key.as_bytes(), "a test").unwrap_err().to_string();
    assert!(error.contains("cannot act for somebody else"), "{error}");
}

/// Puts TLS that demands a certificate before a server; its port, and how often somebody came in.
async fn guard(
    certificates: &Certificates,
    upstream: std::net::SocketAddr,
) -> (u16, Arc<std::sync::atomic::AtomicU32>) {
    let acceptor = certificates.acceptor(true, &["http/1.1"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let guests = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&guests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let session = stream.get_ref().1;
                assert!(session.peer_certificates().is_some());
                assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let mut upstream = tokio::net::TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
            });
        }
    });
    (port, guests)
}

#[tokio::test]
async fn acceptance_8_a_certificate_is_an_identity_and_may_be_replaced_at_any_moment() {
    let world = world("x509").await;
    let certificates = Certificates::new();
    let (port, guests) = guard(&certificates, world.running.address()).await;
    let write = |(certificate, key): (rcgen::Certificate, rcgen::KeyPair)| {
        let _ = world.folder.file("certificate.pem", certificate.pem());
        let _ = world.folder.file("key.pem", key.serialize_pem());
    };
    write(certificates.leaf("workload"));
    let _ = world.folder.file("ca.pem", certificates.root_pem());
    let path = |name: &str| world.folder.path(name).display().to_string();
    let config = json!({"version": 1, "cert_configs": {"workload":
        {"cert_path": path("certificate.pem"), "key_path": path("key.pem")}}});
    let config = world.folder.file("config.json", config.to_string()).display().to_string();
    let mut file: Value =
        serde_json::from_str(&world.external(&Identity::Certificate(config.clone()))).unwrap();
    file["token_url"] = json!(format!("https://localhost:{port}/v1/token"));
    file["service_account_impersonation_url"] = json!(format!(
        "https://localhost:{port}/v1/projects/-/serviceAccounts/target@{PROJECT}.iam.gserviceaccount.com:generateAccessToken"
    ));
    let connector =
        HttpConnector::new().with_root_certificates_pem(certificates.root_pem().as_bytes()).unwrap();
    let read = |file: &Value, variables: &[(&str, &str)]| {
        CredentialsOptions::new(Arc::new(connector.clone()), Arc::new(world.clock.clone()))
            .with_environment(Environment::of(variables.iter().copied()))
            .from_json(file.to_string().as_bytes(), "a test")
    };
    let found = read(&file, &[]).unwrap();
    found.refresh().await.unwrap();
    assert_eq!(
        guests.load(std::sync::atomic::Ordering::Relaxed),
        1,
        "both questions show it, on one connection"
    );

    // The certificate is replaced first, its key a moment later: what fits together is waited for.
    let (certificate, key) = certificates.leaf("workload");
    let _ = world.folder.file("certificate.pem", certificate.pem());
    world.clock.advance(Duration::from_secs(3600));
    let asking = {
        let found = found.clone();
        tokio::spawn(async move { found.refresh().await })
    };
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    let _ = world.folder.file("key.pem", key.serialize_pem());
    let result = asking.await.unwrap();
    if result.is_err() {
        // All its attempts were before the key came, because waiting takes no time here.
        world.clock.advance(Duration::from_secs(61));
        found.refresh().await.unwrap();
    }
    assert_eq!(guests.load(std::sync::atomic::Ordering::Relaxed), 2);

    // The configuration may be where a variable says, or where gcloud has it; a chain begins with the leaf.
    let source = |file: &mut Value, certificate: Value| {
        file["credential_source"] = json!({"certificate": certificate});
    };
    source(&mut file, json!({"use_default_certificate_config": true, "trust_chain_path": path("ca.pem")}));
    read(&file, &[("GOOGLE_API_CERTIFICATE_CONFIG", &config)]).unwrap().refresh().await.unwrap();
    std::fs::copy(&config, world.folder.path("certificate_config.json")).unwrap();
    read(&file, &[("CLOUDSDK_CONFIG", &path(""))]).unwrap().refresh().await.unwrap();
    let leaf = std::fs::read_to_string(world.folder.path("certificate.pem")).unwrap();
    let _ = world.folder.file("chain.pem", format!("{leaf}{}", certificates.root_pem()));
    source(&mut file, json!({"certificate_config_location": config, "trust_chain_path": path("chain.pem")}));
    read(&file, &[]).unwrap().refresh().await.unwrap();
    let _ = world.folder.file("chain.pem", format!("{}{leaf}", certificates.root_pem()));
    let error = read(&file, &[]).unwrap().refresh().await.unwrap_err().to_string();
    assert!(error.contains("not at its beginning"), "{error}");

    for (certificate, words) in [
        (json!({}), "either `certificate_config_location` or"),
        (json!({"use_default_certificate_config": true}), "no home folder"),
        (json!({"certificate_config_location": "/no/such/file"}), "/no/such/file"),
        (json!({"certificate_config_location": path("ca.pem")}), "not a JSON object"),
    ] {
        source(&mut file, certificate);
        let error = read(&file, &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn gclouds_account_is_used_where_it_is_asked_for() {
    // gcloud is looked up by PATH, so this is the program's business: a program of the test's own in its place.
    let world = world("gcloud").await;
    let run = |script: &str| {
        let path = world.folder.file("gcloud", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = vertex_chat_tests::process::vertex_chat(&["token", "--gcloud", "--json"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", world.folder.path("").display()));
        vertex_chat_tests::process::run(&mut command, "")
    };
    let answer = json!({"configuration": {"properties": {"core": {"project": "mine"}}},
        "credential": {"access_token": "ya29.of-gcloud", "token_expiry": "2100-01-01T00:00:00Z"}});
    let output = run(&format!("[ \"$*\" = 'config config-helper --format=json' ] && echo '{answer}'"));
    let printed = vertex_chat_tests::process::stdout(&output);
    assert!(printed.contains("ya29.of-gcloud"), "{printed}{}", vertex_chat_tests::process::stderr(&output));
    for (script, words) in [
        ("exit 1", "run `gcloud auth login`"),
        ("echo nonsense", "is not JSON"),
        ("echo '{}'", "has no token"),
        (r#"echo '{"credential":{"access_token":"canary"}}'"#, "does not say how long"),
        (
            r#"echo '{"credential":{"access_token":"canary","token_expiry":"2000-01-01T00:00:00Z"}}'"#,
            "has ended",
        ),
    ] {
        let output = run(script);
        let said = vertex_chat_tests::process::stderr(&output);
        assert!(
            !output.status.success() && said.contains(words) && !said.contains("canary"),
            "{script}: {said}"
        );
    }
    std::fs::remove_file(world.folder.path("gcloud")).unwrap();
    let mut command = vertex_chat_tests::process::vertex_chat(&["token", "--gcloud"]);
    command.env("PATH", world.folder.path(""));
    let said = vertex_chat_tests::process::stderr(&vertex_chat_tests::process::run(&mut command, ""));
    assert!(said.contains("install Google Cloud's command line"), "{said}");
}

#[tokio::test]
async fn a_program_from_a_file_has_all_the_time_that_the_file_gives_it() {
    let world = world("slow").await;
    let go = world.folder.path("go");
    let command = world.program(&format!(
        "while [ ! -e {} ]; do :; done; echo '{}'",
        go.display(),
        executable_answer(json!({}))
    ));
    let mut file: Value =
        serde_json::from_str(&world.external(&Identity::Executable(command.display().to_string()))).unwrap();
    file["credential_source"]["executable"]["timeout_millis"] = json!(120_000);
    let path = world.folder.file("credentials.json", file.to_string());
    let found = world.options(&[GATE]).from_file(&path).unwrap();
    let asking = {
        let found = found.clone();
        tokio::spawn(async move { found.refresh().await })
    };
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    // Longer than a request for a token may take, and shorter than the program may.
    world.clock.advance(Duration::from_secs(100));
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    std::fs::write(go, "").unwrap();
    asking.await.unwrap().unwrap();
}

#[test]
fn a_key_in_place_of_a_path_is_never_shown() {
    let key = json!({"type": "service_account", "private_key": "canary"}).to_string();
    let options = |environment: Environment| {
        let clock = Arc::new(SimulatedClock::new());
        CredentialsOptions::new(Arc::new(HttpConnector::new()), clock).with_environment(environment)
    };
    for value in [&key, &format!("  {key}"), "-----BEGIN\ncanary"] {
        let named = options(Environment::of([("GOOGLE_APPLICATION_CREDENTIALS", value)]));
        let error = named.find().unwrap_err();
        assert!(error.to_string().contains("GOOGLE_APPLICATION_CREDENTIALS has to be the path"), "{error}");
        let places: Vec<String> = named.places().iter().map(ToString::to_string).collect();
        let other = named.from_file(value).unwrap_err();
        assert!(!format!("{error} {error:?} {other} {other:?} {places:?}").contains("canary"));
    }
}
