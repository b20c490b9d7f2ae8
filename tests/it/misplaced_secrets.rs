//! A secret that stands where a path or a name belongs is never printed, and no key is left in a file behind the program.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use vertex_chat_tests::process::{Folder, Running, http, run, stderr, stdout, vertex_chat};

/// How much of a secret in one piece may not be printed, in bytes.
const LEAK_BYTES: usize = 14;

const KEY: &str = r#"{
  "type": "service_account",
  "project_id": "canary-project",
  "private_key_id": "c0ffee",
  "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n",
  "client_email": "canary@canary-project.iam.gserviceaccount.com",
  "token_uri": "https://oauth2.googleapis.com/token"
}"#;

/// Every form in which people have pasted a key where its path belongs.
fn forms() -> Vec<(&'static str, String)> {
    let line = KEY.replace("\n ", "").replace('\n', "");
    let pem = "-----BEGIN PRIVATE KEY-----MIIEvQIBADANBgkqhkiG9w0BAQEFAASCcanary-----END PRIVATE KEY-----";
    vec![
        ("JSON", KEY.to_owned()),
        ("JSON on one line", line.clone()),
        ("quoted JSON on one line", format!("'{line}'")),
        ("JSON in JSON", serde_json::Value::from(line.as_str()).to_string()),
        ("JSON after a BOM", format!("\u{feff}{line}")),
        ("JSON after blanks", format!("   {line}")),
        ("JSON in a file URL", format!("file://{line}")),
        ("base64", STANDARD.encode(KEY)),
        ("base64 of one line", STANDARD.encode(&line)),
        ("base64 with line breaks", STANDARD.encode(KEY).replace("IC", "\nIC")),
        ("base64url", URL_SAFE_NO_PAD.encode(KEY)),
        ("base64 twice", STANDARD.encode(STANDARD.encode(KEY))),
        ("base64 after a scheme", format!("data:application/json;base64,{}", STANDARD.encode(KEY))),
        ("hexadecimal digits", KEY.bytes().map(|byte| format!("{byte:02x}")).collect()),
        ("PEM on one line", pem.to_owned()),
        ("PEM with escaped line breaks", pem.replace("-----M", r"-----\nM")),
        ("a refresh token", "1//0gCanaryCanaryCanary-L9IrCanaryCanary".to_owned()),
        ("an API key", "AIzaSyCanaryCanaryCanaryCanaryCanary123".to_owned()),
        ("an access token", "ya29.a0AfH6SMCanaryCanaryCanaryCanary".to_owned()),
        ("an OpenAI key", "sk-proj-CanaryCanaryCanaryCanaryCanary12".to_owned()),
        ("a JWT", "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJjYW5hcnkifQ.c2lnbmF0dXJl".to_owned()),
    ]
}

#[track_caller]
fn check_shows_nothing(what: &str, secret: &str, text: &str) {
    let shown: Vec<char> = text.chars().collect();
    let text: String = shown.into_iter().collect();
    let secret: Vec<char> = secret.chars().collect();
    for window in secret.windows(LEAK_BYTES.min(secret.len())) {
        let piece: String = window.iter().collect();
        // Words that every error about credential files may have.
        if ["service_account", "PRIVATE KEY-----"]
            .iter()
            .any(|it| it.contains(piece.trim_matches(['"', '-', ' '])))
        {
            continue;
        }
        assert!(!text.contains(&piece), "{what} shows {piece:?}: {text}");
    }
}

#[track_caller]
fn check_output(what: &str, secret: &str, command: &mut Command) -> String {
    let output = run(command, "");
    let text = format!("{}{}", stdout(&output), stderr(&output));
    check_shows_nothing(what, secret, &text);
    text
}

#[test]
fn a_secret_in_place_of_a_path_is_named_and_not_shown() {
    let folder = Folder::new("misplaced");
    for (form, secret) in forms() {
        let seems = |what: &str, text: &str| {
            assert!(text.contains("seems to be") && text.contains("path"), "{what}, {form}: {text}");
        };
        let by_variable = |arguments: &[&str]| {
            let mut command = vertex_chat(arguments);
            command.env("GOOGLE_APPLICATION_CREDENTIALS", &secret);
            check_output(&format!("{arguments:?}, {form}"), &secret, &mut command)
        };
        seems("token", &by_variable(&["token"]));
        seems("doctor", &by_variable(&["doctor"]));
        seems("chat", &by_variable(&["chat", "--project", "p", "hi"]));
        let by_option = |arguments: &[&str]| {
            let mut command = vertex_chat(arguments);
            check_output(
                &format!("{arguments:?}, {form}"),
                &secret,
                command.arg(format!("--credentials={secret}")),
            )
        };
        seems("token", &by_option(&["token"]));
        seems("doctor", &by_option(&["doctor", "--project", "p"]));
        by_option(&["serve", "--check", "--project", "p"]);
        by_option(&["chat", "--emulator", "hi"]);
        let quoted = serde_json::Value::from(secret.replace('$', "$$").as_str()).to_string();
        for config in [
            format!("[targets.a]\nkind = \"vertex\"\nproject = \"p\"\ncredentials_file = {quoted}\n"),
            format!(
                "[tls]\ncertificate = \"/nowhere/tls.pem\"\nkey = {quoted}\n[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n"
            ),
            format!(
                "[tls]\ncertificate = {quoted}\nkey = \"/nowhere/key.pem\"\n[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n"
            ),
            format!("[limits]\nrequests_max = {quoted}\n"),
            format!("[targets.a]\nkind = {quoted}\n"),
            format!("[keys]\n{quoted} = \"me\"\n"),
        ] {
            let path = folder.file("gateway.toml", config);
            check_output(
                &format!("the configuration, {form}"),
                &secret,
                vertex_chat(&["serve", "--check", "--config"]).arg(path),
            );
        }
        for arguments in [
            &["serve", "--check", "--config", &secret] as &[&str],
            &["token", &secret],
            &["serve", "--listen", &secret],
            &["doctor", "--offline", "--project", &secret],
            &["doctor", "--offline", "--location", &secret],
            &["doctor", "--offline", "--endpoint", &secret],
            &["compare", "--config", &secret, "hi"],
            &["compare", "--prompts", &secret],
            &["emulate", "--port", "0", "--key-file", &secret],
            // A `data:` URL is a picture; the answer tells its type.
            &["chat", "--emulator", "--image", secret.trim_start_matches("data:"), "hi"],
        ] {
            check_output(&format!("{arguments:?}, {form}"), &secret, &mut vertex_chat(arguments));
        }
        let mut command = vertex_chat(&["doctor", "--offline"]);
        check_output(
            form,
            &secret,
            command.env("GOOGLE_CLOUD_PROJECT", &secret).env("GOOGLE_CLOUD_LOCATION", &secret),
        );
    }
}

#[test]
fn a_secret_in_a_reloaded_configuration_is_not_logged() {
    let folder = Folder::new("misplaced-reload");
    let good = "[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
    let config = folder.file("gateway.toml", good);
    let log = std::fs::File::create(folder.path("log")).unwrap();
    let mut command = vertex_chat(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    let mut running = Running::start(command.arg(&config).stderr(log));
    let line = running.line();
    let url = line.split_once('=').unwrap().1.trim_end_matches("/v1").to_owned();
    for (form, secret) in forms() {
        let quoted = serde_json::Value::from(secret.replace('$', "$$").as_str()).to_string();
        let text = format!("[targets.a]\nkind = \"vertex\"\nproject = \"p\"\ncredentials_file = {quoted}\n");
        let before = failures(&url);
        std::fs::write(&config, text).unwrap();
        running.signal("HUP");
        while failures(&url) == before {
            std::thread::yield_now();
        }
        let written = std::fs::read_to_string(folder.path("log")).unwrap();
        check_shows_nothing(form, &secret, &written);
    }
    assert!(std::fs::read_to_string(folder.path("log")).unwrap().contains("stays as it was"));
}

/// How many reloads have failed.
fn failures(url: &str) -> String {
    let metrics = http(url, "GET", "/metrics", "");
    let count = metrics.lines().find(|line| line.contains("reloads_total{name=\"failed\"}"));
    count.unwrap_or_default().to_owned()
}

/// The files that are below a folder.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.display().to_string());
        if path.is_dir() {
            found.extend(files(&path));
        }
    }
    found
}

#[test]
fn no_key_file_is_left_whatever_signal_ends_the_program() {
    // Under `nohup` SIGHUP is ignored, and so it is by what is started there.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or_default();
    for (number, signal) in [(2, "INT"), (15, "TERM"), (1, "HUP"), (3, "QUIT")] {
        if ignored & (1 << (number - 1)) != 0 {
            continue;
        }
        for options in [&[] as &[&str], &["--proxy"]] {
            let folder = Folder::new(&format!("left-{signal}-{}", options.len()));
            let temporary = folder.path("tmp");
            std::fs::create_dir(&temporary).unwrap();
            let mut command = vertex_chat(&["emulate", "--port", "0", "--quiet"]);
            let mut running = Running::start(command.args(options).env("TMPDIR", &temporary));
            running.line();
            let path = running.line().split_once("key file: ").unwrap().1.to_owned();
            let made = Path::new(&path).parent().unwrap();
            assert_ne!(made, temporary, "the key lies in a folder of its own");
            assert_private(made);
            running.signal(signal);
            assert_eq!(running.code(), Some(130), "{signal}");
            assert_eq!(files(&temporary), [""; 0], "{signal} {options:?}");
        }
    }
}

#[cfg(unix)]
fn assert_private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[cfg(not(unix))]
fn assert_private(_: &Path) {}

#[test]
fn a_command_with_an_embedded_emulator_writes_no_key_at_all() {
    let story = "--emulator";
    for arguments in [
        &["serve", story, "--listen", "127.0.0.1:0"] as &[&str],
        &["chat", story],
        &["compare", story, "--repeat", "100000", "--concurrency", "1", "--quiet", "hi"],
    ] {
        let folder = Folder::new(&format!("none-{}", arguments[0]));
        let temporary = folder.path("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let mut command = vertex_chat(arguments);
        command.env("TMPDIR", &temporary).stderr(Stdio::null());
        let mut running = Running::start(&mut command);
        match arguments[0] {
            "serve" => assert!(running.line().starts_with("export")),
            // The others print nothing before they have an answer.
            _ => running.wait_until_it_handles(2),
        }
        assert_eq!(files(&temporary), [""; 0], "{arguments:?}");
        running.signal("KILL");
        running.code();
        assert_eq!(files(&temporary), [""; 0], "{arguments:?}");
    }
}
