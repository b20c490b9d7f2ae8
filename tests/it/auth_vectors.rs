//! Recorded exchanges of Google's libraries and of three Rust crates: the same credential files, the same questions.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use vertex_chat::auth::{
    AuthError, AuthErrorKind, Credentials, CredentialsKind, CredentialsOptions, Environment,
    ServiceAccountKey, TokenForm, TokenSource,
};
use vertex_chat::transport::{HttpConnector, SimulatedClock, SystemClock};
use vertex_chat_tests::process::{Folder, python, run, stderr, stdout};
use vertex_chat_tests::replay::{Asked, PORT, Recording, Replay};
use vertex_chat_tests::upstream::{Step, Upstream, answer};
use vertex_chat_tests::{base64_url, shared, shared_json, vector_key_pem};

/// The time at which Google's Python library was recorded.
const FROZEN: u64 = 1_767_225_600;
const MARKERS: [&str; 3] = ["/token", "/oauthtoken", ":generateAccessToken"];

/// The folder that recordings call `RIGDIR` and `$HOME`.
fn folder(name: &str) -> Option<Folder> {
    let folder = Folder::new(&format!("vectors-{}", name.replace('/', "-").trim_end_matches(".json")));
    for sub in ["creds", "keys"] {
        std::fs::create_dir_all(folder.path(sub)).unwrap();
    }
    let _ = folder.file("creds/subject.txt", "rig-subject-token-from-file");
    let _ = folder.file("creds/subject_nl.txt", "rig-subject-token-with-newline\n");
    let _ = folder.file("creds/subject.json", r#"{"id_token":"rig-subject-token-json-file"}"#);
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let good = json!({"version": 1, "success": true, "token_type": jwt, "id_token": "rig-exe-token", "expiration_time": 4_102_444_800_u64});
    let bad = json!({"version": 1, "success": false, "code": "401", "message": "Caller not authorized."});
    for (name, said) in [("exe.sh", &good), ("exe2.sh", &good), ("exe_fail.sh", &bad)] {
        let path = folder.file(&format!("creds/{name}"), format!("#!/bin/sh\necho '{said}'\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let keys = shared("vectors/auth/keys")?;
    for name in ["ca.pem", "workload_cert.pem"] {
        std::fs::copy(keys.join(name), folder.path("keys").join(name)).unwrap();
    }
    let _ = folder.file("keys/workload_key.pem", vector_key_pem("workload_key")?);
    let path = |name: &str| folder.path("keys").join(name).display().to_string();
    let config = json!({"version": 1, "cert_configs": {"workload":
        {"cert_path": path("workload_cert.pem"), "key_path": path("workload_key.pem")}}});
    let _ = folder.file("creds/certificate_config.json", config.to_string());
    Some(folder)
}

/// The credentials of a recording, found as its program found them.
fn find(recording: &Arc<Recording>, folder: &Folder) -> Result<Credentials, AuthError> {
    let file = &recording.file;
    for (path, content) in file["files"].as_object().into_iter().flatten() {
        let path = folder.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.as_str().map_or_else(|| content.to_string(), str::to_owned)).unwrap();
    }
    let variables = |name: &str| {
        file[name]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
    };
    let mut environment: BTreeMap<String, String> =
        variables("environment").chain(variables("env")).collect();
    if environment.contains_key("METADATA_SERVER_DETECTION") {
        // Node's word for it.
        environment.insert("NO_GCE_CHECK".to_owned(), "true".to_owned());
    }
    let start =
        SystemTime::UNIX_EPOCH + Duration::from_secs(file["frozen_unix_time"].as_u64().unwrap_or(FROZEN));
    // The waits between attempts pass at once; the time that a program has does not, nor the time in which the files of a
    // certificate are read.
    let is_patient = environment.contains_key("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES")
        || file["credentials_file"].to_string().contains("certificate");
    let patience = if is_patient { 4 } else { 20 };
    let clock = SimulatedClock::at(start).with_instant_sleeps(Duration::from_secs(patience));
    let named = environment.get("GOOGLE_APPLICATION_CREDENTIALS").filter(|it| !it.is_empty()).cloned();
    let mut options = CredentialsOptions::new(Arc::new(Replay(Arc::clone(recording))), Arc::new(clock))
        .with_environment(Environment::of(environment))
        .danger_trust_credential_urls(true);
    // What its program asked for is in what it sent.
    let claims = recording.asked.iter().find_map(|it| it.fields.get("assertion")).map(|it| &it["claims"]);
    if let Some(subject) = claims.and_then(|it| it["sub"].as_str()) {
        options = options.with_subject(subject);
    }
    let wanted = claims.and_then(|it| it["scope"].as_str()).map(str::to_owned);
    let acts = recording.asked.iter().any(|it| it.line.ends_with(":generateAccessToken"));
    let wanted = wanted.or_else(|| {
        recording.asked.iter().find_map(|it| it.fields.get("scope")?.as_str().map(str::to_owned))
    });
    if let Some(scopes) = wanted.filter(|_| !acts) {
        options = options.with_scopes(scopes.split(' '));
    }
    if file["name"] == "sa_quota_project" {
        // Its program gave it.
        options = options.with_quota_project("rig-quota-project");
    }
    let said = file["result"]["token_jwt"]["claims"].clone();
    if let Some(audience) =
        said["aud"].as_str().filter(|_| said["target_audience"].is_null() && recording.asked.is_empty())
    {
        options = options.with_token_form(TokenForm::SelfSignedForAudience(audience.to_owned()));
    } else if recording.asked.is_empty() && !said.is_null() {
        options = options.with_token_form(TokenForm::SelfSigned);
    }
    let json = match (&file["credentials_file"], &file["credentials_file_text"]) {
        (Value::Object(fields), _) => Value::Object(fields.clone()).to_string(),
        (_, Value::String(text)) => text.clone(),
        _ => return options.find(),
    };
    match named {
        Some(path) => {
            std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(path, json).unwrap();
            options.find()
        }
        None => options.from_json(json.as_bytes(), "the recorded file"),
    }
}

fn recordings(folders: &[&str]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for name in folders {
        let folder = shared(&format!("vectors/auth/{name}"))?;
        let files = std::fs::read_dir(folder).unwrap();
        all.extend(files.map(|it| format!("{name}/{}", it.unwrap().file_name().into_string().unwrap())));
    }
    all.sort();
    Some(all)
}

/// Differences that are meant, each with its reason. What is not named here fails.
fn meant(path: &str, field: &str, theirs: Option<&Value>, ours: Option<&Value>) -> Option<&'static str> {
    let (library, name) = path.split_once('/').unwrap();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(match (library, field) {
        (_, "claims.iat" | "claims.exp") => "ours is dated 10 s back, for clocks that are a little fast",
        (_, "header.kid") if theirs.is_none() => {
            "Node and gcp_auth leave the key's name out; Google's own servers like it"
        }
        (_, "header.typ") if theirs.is_none() => "Node leaves the type out; RFC 7519 recommends it",
        ("rust_gcp_auth" | "rust_yoshidan", "claims.sub") => {
            "`null` is no subject: they write an absent one so"
        }
        ("python" | "python_adc" | "node", "claims.aud")
            if text(theirs) == "https://oauth2.googleapis.com/token" =>
        {
            "they name Google whoever is asked; ours names who is asked, unless that is Google"
        }
        ("python_adc", "origin") if name == "mds_root_legacy.json" => {
            "GCE_METADATA_ROOT is the old name, and not read"
        }
        ("node", "origin") => "Node asks Google, whatever the file says",
        ("python", "origin") if name.starts_with("user_") => {
            "Google's Python library passes `token_uri` of a login over"
        }
        ("python", "scope") if name == "sa_jwt_bearer_no_scopes.json" => {
            "an empty scope is refused; ours has a default"
        }
        ("python", "subject_token") if name == "ext_file_text_newline.json" => {
            "a line end in a file is no part of the token"
        }
        ("python", "options") => "Google's Python library encodes it twice",
        ("node" | "rust_google_cloud_auth", "delegates") if theirs.is_none() => {
            "an empty list says the same as none"
        }
        ("python", "delegates") if theirs == Some(&Value::Null) => "an empty list says the same as null",
        ("node", "scope") if text(theirs).ends_with("cloud-platform") && text(ours).ends_with("/iam") => {
            "Node asks for all of Google Cloud where acting as an account is enough"
        }
        ("node" | "rust_google_cloud_auth", "subject_token") if name.starts_with("ext_aws") => {
            "recorded at another time: the signature is checked where the clock stood still"
        }
        ("rust_google_cloud_auth", "options") => "spelt with other white space",
        ("rust_google_cloud_auth", "scopes") => "OAuth's field is `scope`; Google passes over this one",
        ("rust_gcp_auth" | "rust_google_cloud_auth" | "rust_yoshidan", "content-type") => {
            "RFC 6749 wants a form; Google takes JSON too"
        }
        ("rust_google_cloud_auth", "authorization") if name == "ext_client_auth_special_secret.json" => {
            "its alphabet is that of URLs, which RFC 7617 does not allow"
        }
        ("rust_google_cloud_auth", "authorization") if name == "ext_client_auth.json" => {
            "its base64 has no padding"
        }
        _ => return None,
    })
}

fn differences(path: &str, theirs: &Asked, ours: &Asked) -> Vec<String> {
    let flat = |asked: &Asked| {
        let mut all: BTreeMap<String, Value> = asked.fields.clone();
        if let Some(assertion) = all.remove("assertion") {
            for part in ["header", "claims"] {
                for (key, value) in assertion[part].as_object().unwrap() {
                    all.insert(format!("{part}.{key}"), value.clone());
                }
            }
        }
        all.extend(
            asked
                .headers
                .iter()
                .map(|(key, value)| (key.clone(), json!(value.trim_end_matches("; charset=UTF-8")))),
        );
        all.insert("origin".to_owned(), json!(asked.origin));
        all
    };
    let (theirs, ours) = (flat(theirs), flat(ours));
    let keys: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differs = |key: &&&String| {
        let (one, other) = (theirs.get(**key), ours.get(**key));
        let time = one.and_then(Value::as_str).is_some_and(|it| it.contains("charset"));
        one != other && !time && meant(path, key, one, other).is_none()
    };
    keys.iter()
        .filter(differs)
        .map(|key| format!("{key}: {:?} and {:?}", theirs.get(*key), ours.get(*key)))
        .collect()
}

/// Recordings that are compared elsewhere, or not at all, with the reason.
fn skipped(path: &str) -> Option<&'static str> {
    Some(match path {
        "python/sa_id_token.json" => "ID tokens are not for Vertex, and not in the crate",
        "rust_yoshidan/ext_executable.json"
        | "rust_yoshidan/cloudsdk_config.json"
        | "rust_yoshidan/env_empty.json" => {
            "gcloud-auth looked at the metadata server instead: a silent change of identity"
        }
        "rust_google_cloud_auth/cloudsdk_config.json" => {
            "it does not know CLOUDSDK_CONFIG and asked the metadata server"
        }
        "rust_google_cloud_auth/mds_honours_http_proxy.json" => {
            "it asked the metadata server through a proxy"
        }
        "node/mds_no_flavor.json" | "python_adc/mds_no_flavor_header.json" => {
            "no request for a token was made"
        }
        _ => return None,
    })
}

#[tokio::test]
async fn acceptance_2_every_recorded_question_is_asked_with_the_same_fields() {
    let libraries =
        ["python", "python_adc", "node", "rust_gcp_auth", "rust_google_cloud_auth", "rust_yoshidan"];
    let Some(recorded) = recordings(&libraries) else { return };
    let (mut compared, mut faults) = (0, Vec::new());
    for path in recorded {
        if skipped(&path).is_some() {
            continue;
        }
        let Some(folder) = folder(&path) else { return };
        let Some(recording) = Recording::read(&path, &folder) else { return };
        let is_token = |asked: &&Asked| {
            let target = asked.line.split('?').next().unwrap_or_default();
            MARKERS.iter().any(|marker| target.ends_with(marker)) && !target.starts_with("PUT")
        };
        // The first of each kind: what is asked again is the same.
        let mut theirs: Vec<&Asked> = Vec::new();
        for asked in recording.asked.iter().filter(is_token) {
            if !theirs.iter().any(|it| it.line == asked.line) {
                theirs.push(asked);
            }
        }
        if theirs.is_empty() {
            continue;
        }
        let credentials = find(&recording, &folder).unwrap_or_else(|error| panic!("{path}: {error}"));
        let _ = credentials.refresh().await;
        let seen = recording.seen();
        for theirs in theirs {
            // Google's Python library asks the metadata server with a scope, ours with that of the machine.
            let target = |it: &Asked| it.line.split('?').next().unwrap_or_default().to_owned();
            match seen.iter().find(|it| target(it) == target(theirs)) {
                Some(ours) => faults
                    .extend(differences(&path, theirs, ours).into_iter().map(|it| format!("{path}: {it}"))),
                None => faults.push(format!("{path}: {} was not asked", theirs.line)),
            }
            compared += 1;
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(compared >= 90, "only {compared}");
}

/// What Google's Python library makes of a recording, and what is meant to be otherwise here.
#[tokio::test]
async fn acceptance_12_every_recorded_outcome_is_the_same() {
    let Some(recorded) = recordings(&["python"]) else { return };
    for path in recorded {
        let Some(folder) = folder(&path) else { return };
        let Some(recording) = Recording::read(&path, &folder) else { return };
        let result = &recording.file["result"];
        let Some(theirs) = result["ok"].as_bool() else { continue };
        let name = path.trim_start_matches("python/").trim_end_matches(".json");
        if skipped(&path).is_some() || ["ext_aws_version2", "imp_bad_url"].contains(&name) {
            // The latter two have no file in them; federation.rs and the crate's own tests have one each.
            continue;
        }
        let outcome = match find(&recording, &folder) {
            Ok(found) => found.refresh().await,
            Err(error) => Err(error),
        };
        if name == "sa_missing_token_uri" {
            // Google's address is taken, as Go does; nothing was recorded there.
            assert_eq!(recording.seen()[0].origin, "https://oauth2.googleapis.com");
            continue;
        }
        assert_eq!(outcome.is_ok(), theirs, "{path}: {outcome:?}");
        if let (Ok(token), Some(recorded), None) =
            (&outcome, result["token"].as_str(), result.get("token_jwt"))
        {
            assert_eq!(token.secret().expose(), recorded, "{path}");
            let quota = result["headers_for_api_call"]["x-goog-user-project"].as_str();
            assert_eq!(
                token.headers().get("x-goog-user-project").and_then(|it| it.to_str().ok()),
                quota,
                "{path}"
            );
        }
        if let Err(error) = outcome {
            assert!(!format!("{error} {error:?}").contains("rig-secret"), "{error:?}");
            // What is the configuration's fault there is its fault here.
            if result["stage"] == "construct" {
                assert_eq!(error.kind(), AuthErrorKind::Configuration, "{path}: {error}");
            }
        }
    }
}

#[test]
fn acceptance_2_signatures_are_the_same_bit_for_bit() {
    let Some(vectors) = shared_json("vectors/auth/jwt_signatures.json") else { return };
    let key = |name: &str| {
        let file = json!({"client_email": "a@b", "private_key": vector_key_pem(name).unwrap()});
        ServiceAccountKey::from_json(file.to_string().as_bytes()).unwrap()
    };
    // One key in two encodings.
    let keys = [key("sa_pkcs8"), key("sa_pkcs1")];
    let vectors = vectors["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 25);
    for vector in vectors {
        let signed = vector["signing_input"].as_str().unwrap().as_bytes();
        for key in &keys {
            assert_eq!(
                key.sign(signed).unwrap(),
                base64_url(vector["signature_b64url"].as_str().unwrap()),
                "{}",
                vector["from_file"]
            );
        }
    }
}

#[test]
fn acceptance_4_a_token_that_the_key_signs_has_the_recorded_claims() {
    for name in ["sa_self_signed_scope", "sa_self_signed_audience", "sa_universe_domain"] {
        let path = format!("python/{name}.json");
        let Some(folder) = folder(&path) else { return };
        let Some(recording) = Recording::read(&path, &folder) else { return };
        let found = find(&recording, &folder).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let token = runtime.block_on(found.refresh()).unwrap();
        let part = |at: usize| -> Value {
            serde_json::from_slice(&base64_url(token.secret().expose().split('.').nth(at).unwrap())).unwrap()
        };
        let theirs = &recording.file["result"]["token_jwt"];
        assert_eq!(part(0), theirs["header"], "{name}");
        let (ours, theirs) = (part(1), &theirs["claims"]);
        for claim in ["iss", "sub", "aud", "scope"] {
            assert_eq!(ours[claim], theirs[claim], "{name} {claim}");
        }
        assert_eq!(ours["exp"].as_u64().unwrap() - ours["iat"].as_u64().unwrap(), 3600);
        assert!(ours.get("aud").is_some() != ours.get("scope").is_some(), "one of the two");
        assert!(recording.seen().is_empty(), "nobody is asked");
    }
}

/// Points 1 and 17: whoever else checks such tokens finds ours good.
#[tokio::test]
async fn acceptance_1_independent_verifiers_accept_our_assertions() {
    let (Some(keys), Some(python)) = (shared("vectors/auth/keys"), python("assertion.py")) else { return };
    let answer = answer("200 OK", "application/json", &[], br#"{"access_token":"t","expires_in":3599}"#);
    let upstream = Upstream::start(vec![vec![Step::Write(answer)]]).await;
    let mut tokens = Vec::new();
    for form in [
        TokenForm::Exchanged,
        TokenForm::SelfSigned,
        TokenForm::SelfSignedForAudience("https://x/".to_owned()),
    ] {
        let file = json!({"type": "service_account", "client_email": "a@b", "private_key_id": "the-key",
            "private_key": vector_key_pem("sa_pkcs8").unwrap(), "token_uri": format!("{}/token", upstream.url())});
        let found = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(SystemClock))
            .with_environment(Environment::of::<&str, &str>([]))
            .with_token_form(form.clone())
            .from_json(file.to_string().as_bytes(), "a test")
            .unwrap();
        let token = found.refresh().await.unwrap();
        if form == TokenForm::Exchanged {
            let body = String::from_utf8(upstream.seen()[0].body.clone()).unwrap();
            let mut names: Vec<&str> = body.split('&').map(|it| it.split('=').next().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, ["assertion", "grant_type"]);
            tokens.push(body.split("assertion=").nth(1).unwrap().split('&').next().unwrap().to_owned());
        } else {
            tokens.push(token.secret().expose().to_owned());
        }
    }
    let mut python = python;
    python.arg(keys.join("sa_cert.pem")).arg(format!("{}/token", upstream.url()));
    let output = tokio::task::spawn_blocking(move || run(&mut python, &tokens.join("\n"))).await.unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stdout(&output).trim(), "3 tokens are good, twice");
}

#[test]
fn acceptance_3_both_encodings_of_a_key_are_read_and_a_broken_one_is_not_shown() {
    let Some(pem) = vector_key_pem("sa_pkcs8") else { return };
    let folder = Folder::new("keys");
    let options = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(SystemClock));
    let read = |pem: &str| {
        let file = json!({"type": "service_account", "client_email": "a@b", "private_key": pem});
        options.from_file(folder.file("key.json", file.to_string()))
    };
    read(&pem).unwrap();
    read(&vector_key_pem("sa_pkcs1").unwrap()).unwrap();
    let middle = &pem[200..260];
    for broken in [pem.replace(middle, ""), pem.replace("PRIVATE", "PUBLIC"), middle.to_owned()] {
        let error = read(&broken).unwrap_err();
        let path = folder.path("key.json").display().to_string();
        assert!(error.to_string().contains(&path) && error.to_string().contains("private key"), "{error}");
        assert!(!format!("{error}{error:?}").contains(&pem[300..340]), "{error}");
    }
}

/// What is expected of one recorded search for credentials.
struct Expected {
    /// The part of the error, or the kind and project.
    outcome: Result<(CredentialsKind, Option<&'static str>), &'static str>,
    quota: Option<&'static str>,
}

fn found(kind: CredentialsKind, project: Option<&'static str>) -> Expected {
    Expected { outcome: Ok((kind, project)), quota: None }
}

fn failed(words: &'static str) -> Expected {
    Expected { outcome: Err(words), quota: None }
}

#[tokio::test]
async fn acceptance_10_all_33_recorded_searches_end_as_they_should() {
    use CredentialsKind::{
        AuthorizedUser, ExternalAccount, ImpersonatedServiceAccount, MetadataServer, ServiceAccount,
    };
    const ACCOUNT_PROJECT: Option<&str> = Some("rig-project");
    let quota = |expected: Expected, quota| Expected { quota: Some(quota), ..expected };
    let login = || quota(found(AuthorizedUser, None), "rig-quota-project");
    // By the name of the recording: what Google's Python library did, but for the differences that are told.
    let cases = [
        ("adc_env_authorized_user", login()),
        ("adc_env_bad_json", failed("bad.json: not a JSON object (line 1, column 2)")),
        ("adc_env_empty", failed("GOOGLE_APPLICATION_CREDENTIALS is not set")),
        // Python runs gcloud for the project; ours runs it only when asked for its account.
        ("adc_env_equals_well_known_path", login()),
        ("adc_env_external_account", found(ExternalAccount, ACCOUNT_PROJECT)),
        ("adc_env_impersonated", quota(found(ImpersonatedServiceAccount, None), "rig-quota-project")),
        ("adc_env_missing_file", failed("none.json: No such file")),
        ("adc_env_no_type", failed("field `type` is missing")),
        ("adc_env_service_account", found(ServiceAccount, ACCOUNT_PROJECT)),
        ("adc_env_service_account_unmodified_token_uri", found(ServiceAccount, ACCOUNT_PROJECT)),
        ("adc_env_unknown_type", failed("`mystery` is no known type of credentials")),
        ("adc_env_wins_over_well_known", found(ServiceAccount, ACCOUNT_PROJECT)),
        ("adc_none", failed("NO_GCE_CHECK says not to look")),
        // The variable comes first where a client is built, see entries below; the file's own project is this.
        ("adc_project_env", found(ServiceAccount, ACCOUNT_PROJECT)),
        ("adc_project_legacy_env", found(ServiceAccount, ACCOUNT_PROJECT)),
        ("adc_quota_project_env", quota(found(AuthorizedUser, None), "rig-quota-from-env")),
        ("adc_well_known_bad_json", failed("not a JSON object")),
        ("adc_well_known_cloudsdk_config", login()),
        ("adc_well_known_home", login()),
        ("mds_before_request", found(MetadataServer, ACCOUNT_PROJECT)),
        // A named host is believed to be there, so the failure is that of asking it.
        ("mds_closed_port", failed("nothing was recorded")),
        ("mds_default", found(MetadataServer, ACCOUNT_PROJECT)),
        // Python pings a fixed address even so; ours believes the name.
        ("mds_host_only", found(MetadataServer, ACCOUNT_PROJECT)),
        // Python finds nothing: its ping was answered by somebody else. A named host is not pinged here.
        ("mds_no_flavor_header", failed("nothing was recorded")),
        ("mds_no_ping_retry", failed("nothing was recorded")),
        // The old name of the variable is not read; the address is.
        ("mds_root_legacy", found(MetadataServer, ACCOUNT_PROJECT)),
        ("mds_token_404", failed("attach a service account to this machine")),
        ("mds_token_429_then_ok", found(MetadataServer, ACCOUNT_PROJECT)),
        ("mds_token_503_then_ok", found(MetadataServer, ACCOUNT_PROJECT)),
        ("mds_token_not_json", failed("answered 200 with something that is not JSON")),
        ("sa_before_request", found(ServiceAccount, ACCOUNT_PROJECT)),
        // Refused tokens are the client's business: tests/tokens.rs.
        ("session_401_forever", found(ServiceAccount, ACCOUNT_PROJECT)),
        ("session_401_once", found(ServiceAccount, ACCOUNT_PROJECT)),
    ];
    let Some(recorded) = recordings(&["python_adc"]) else { return };
    assert_eq!((recorded.len(), cases.len()), (33, 33));
    for (name, expected) in cases {
        let path = format!("python_adc/{name}.json");
        assert!(recorded.contains(&path), "{path}");
        let Some(folder) = folder(&path) else { return };
        let Some(recording) = Recording::read(&path, &folder) else { return };
        let outcome = async {
            let mut credentials = find(&recording, &folder)?;
            let token = credentials.refresh().await?;
            credentials.discover().await?;
            Ok::<_, AuthError>((credentials, token))
        };
        match (outcome.await, expected.outcome) {
            (Ok((credentials, token)), Ok((kind, project))) => {
                assert_eq!((credentials.kind(), credentials.project_id()), (kind, project), "{name}");
                let header = token.headers().get("x-goog-user-project").and_then(|it| it.to_str().ok());
                assert_eq!(
                    (header, credentials.quota_project_id()),
                    (expected.quota, expected.quota),
                    "{name}"
                );
                if let Some(recorded) =
                    recording.file["result"]["token"].as_str().filter(|_| !name.starts_with("session"))
                {
                    let (ours, theirs) = (token.secret().expose(), recorded);
                    let same = |it: &str| it.rsplit_once('-').map(|(words, _)| words.to_owned());
                    assert_eq!(same(ours), same(theirs), "{name}");
                }
                let theirs = &recording.file["result"]["quota_project_id"];
                assert_eq!(theirs.as_str(), expected.quota, "{name}");
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{name}: {error}"),
            (Ok((credentials, _)), Err(words)) => panic!("{name}: {credentials:?} instead of {words}"),
            (Err(error), Ok(_)) => panic!("{name}: {error}"),
        }
        // Never anybody else: no request left the recorded hosts.
        for asked in recording.seen() {
            let known = asked.origin.ends_with(".googleapis.com")
                || asked.origin == format!("http://127.0.0.1:{PORT}")
                || asked.origin == "http://127.0.0.1:53543"
                || asked.origin == "http://metadata.google.internal";
            assert!(known, "{name}: {}", asked.origin);
        }
    }
}
