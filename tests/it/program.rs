//! The program as its user runs it: arguments, stdin, exit codes, signals, what is said and where.

use serde_json::Value;
use vertex_chat_tests::process::{
    Emulate, Folder, Running, contains, http, python, run, stderr, stdout, vertex_chat,
};

const PROMPT: &str = "Write a story about a magic backpack.";

#[test]
fn one_command_streams_a_story_the_real_way() {
    let output = run(vertex_chat(&["--verbose", "chat", "--emulator"]).arg(PROMPT), "");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("found the backpack") && stdout(&output).ends_with('\n'));
    let said = stderr(&output);
    let log: Vec<&str> = said.lines().filter(|line| line.starts_with("emulator: ")).collect();
    assert_eq!(log.len(), 2, "{said}");
    assert!(log[0].starts_with("emulator: POST /token 200, verified assertion of emulator@"), "{}", log[0]);
    assert!(log[0].ends_with("issued token-1"), "{}", log[0]);
    assert!(
        log[1].contains("/endpoints/openapi/chat/completions 200, with token-1, model google/"),
        "{}",
        log[1]
    );
}

#[test]
fn text_appears_as_it_arrives() {
    // The emulator waits before every chunk: the first words must be there long before the last.
    let emulate = Emulate::start("arrives", &["--pace", "20"]);
    let mut command =
        vertex_chat(&["chat", "--location", "us-central1", "--host", &emulate.url, "--credentials"]);
    let mut running = Running::start(command.arg(&emulate.key_file).arg(PROMPT));
    let first = running.line();
    assert!(first.contains("found the backpack"), "{first}");
    let log = emulate.log();
    assert_eq!(
        log.last().map(|entry| entry["path"].as_str().unwrap_or_default().ends_with("completions")),
        Some(true)
    );
    let (code, rest) = running.end();
    assert_eq!(code, Some(0));
    assert!(rest.contains("stepped off"), "{rest}");
}

#[test]
fn a_foreign_key_fails_clearly() {
    let (emulate, folder) = (Emulate::start("foreign", &[]), Folder::new("foreign-key"));
    let output =
        run(vertex_chat(&["chat", "--emulator", "--credentials"]).arg(&emulate.key_file).arg("hi"), "");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("invalid_grant: Invalid JWT Signature."), "{}", stderr(&output));
    assert!(stdout(&output).is_empty());

    let broken = folder.file("broken.json", r#"{"type":"service_account","client_email":"a@b"}"#);
    let output = run(vertex_chat(&["chat", "--emulator", "--credentials"]).arg(broken).arg("hi"), "");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("field `private_key` is missing"), "{}", stderr(&output));
}

#[test]
fn a_prompt_comes_by_argument_dash_or_pipe() {
    for (arguments, stdin) in
        [(vec!["hello there"], ""), (vec!["-"], "hello there\n"), (vec![], "hello there\n")]
    {
        let output = run(vertex_chat(&["chat", "--emulator"]).args(&arguments), stdin);
        assert!(stdout(&output).ends_with("says: hello there\n"), "{arguments:?}: {}", stdout(&output));
    }
    let output = run(&mut vertex_chat(&["chat", "--emulator", "-"]), "\n");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("there is no prompt"));
}

#[test]
fn parameters_files_and_system_reach_the_model() {
    let folder = Folder::new("parameters");
    let picture = folder.file("cat.PNG", "0123456789");
    let schema = folder.file(
        "schema.json",
        r#"{"type":"object","properties":{"z":{"type":"integer"},"a":{"type":"string"}}}"#,
    );
    let picture = picture.to_str().unwrap();
    let ask = |arguments: &[&str]| {
        let output = run(vertex_chat(&["chat", "--emulator", "say"]).args(arguments), "");
        assert!(output.status.success(), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let (text, _) = ask(&["--system", "be brief", "--image", picture, "--image", "gs://bucket/dog.jpg"]);
    assert!(text.contains("2 messages with image/png of 10 bytes, gs://bucket/dog.jpg"), "{text}");
    let (text, said) = ask(&["--max-tokens", "3"]);
    assert_eq!(text, "This is the\n");
    assert!(said.contains("token limit"), "{said}");
    assert_eq!(ask(&["--stop", " emulator", "--stop", "model"]).0, "This is the\n");
    let with_schema = format!("--json-answer={}", schema.display());
    assert_eq!(ask(&[&with_schema]).0, "{\"z\":1,\"a\":\"example\"}\n");
    let (_, said) = ask(&["-p", "user=somebody", "-p", "logit_bias={\"1\":2}", "-p", "vendor=[1]"]);
    assert!(said.contains("note: dropped `user`: ignored by Gemini 2 on Vertex"), "{said}");
    assert!(
        said.contains("note: dropped `logit_bias`")
            && said.contains("note: forwarded `vendor`: not a known parameter"),
        "{said}"
    );
    let tools = r#"tools=[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]"#;
    assert_eq!(ask(&["-p", tools]).0, "tool call: get_weather({\"city\":\"example\"})\n");
}

#[test]
fn json_is_one_document_streamed_or_not() {
    let ask = |arguments: &[&str]| -> Value {
        let output = run(vertex_chat(&["chat", "--emulator", "--json", PROMPT]).args(arguments), "");
        assert!(output.status.success(), "{}", stderr(&output));
        let mut value: Value = serde_json::from_str(&stdout(&output)).expect("one JSON document");
        value["created"] = Value::Null;
        value
    };
    assert_eq!(ask(&[]), ask(&["--no-stream"]));
    assert!(ask(&[])["usage"]["total_tokens"].as_u64() > Some(100));
}

#[test]
fn every_kind_of_failure_has_its_exit_code() {
    let emulate = Emulate::start("codes", &[]);
    let fault = |json: &str| drop(http(&emulate.url, "POST", "/emulator/faults", json));
    let chat = |arguments: &[&str]| {
        let mut command = vertex_chat(&["chat", "hi", "--credentials"]);
        let output = run(
            command
                .arg(&emulate.key_file)
                .args(["--location", "us-central1", "--host", &emulate.url])
                .args(arguments),
            "",
        );
        (output.status.code().unwrap(), stderr(&output))
    };
    assert_eq!(chat(&[]).0, 0);
    fault(
        r#"{"at":"chat","status":403,"body":[{"error":{"code":403,"message":"Permission 'aiplatform.endpoints.predict' denied","status":"PERMISSION_DENIED"}}]}"#,
    );
    let (code, said) = chat(&[]);
    assert!(
        code == 1 && said.contains("403 PERMISSION_DENIED") && said.contains("roles/aiplatform.user"),
        "{said}"
    );
    let (code, said) = chat(&["--model", "google/nope"]);
    assert!(code == 1 && said.contains("404 NOT_FOUND") && said.contains("try `global`"), "{said}");
    let (code, said) = chat(&["--temperature", "9"]);
    assert!(code == 4 && said.contains("`temperature`: not between 0 and 2"), "{said}");
    let (code, said) = chat(&["--unsupported", "reject", "-p", "user=x"]);
    assert!(code == 4 && said.contains("`user`"), "{said}");
    fault(r#"{"at":"chat","cut_after_bytes":400}"#);
    let (code, said) = chat(&[]);
    assert!(code == 1 && said.contains("connection was lost"), "{said}");
    fault(
        r#"{"at":"chat","status":200,"headers":{"content-type":"text/event-stream"},"body":"data: {\"choices\":[{\"delta\":{\"content\":\"half\"}}]}\n\n"}"#,
    );
    let (code, said) = chat(&[]);
    assert!(code == 5 && said.contains("not the whole answer"), "{said}");
    fault(r#"{"at":"chat","status":200,"headers":{"content-type":"application/json"},"body":{"usage":{}}}"#);
    assert_eq!(chat(&[]).0, 5);
    assert_eq!(chat(&["--no-such-flag"]).0, 2);
    assert_eq!(chat(&["--base-url", "http://127.0.0.1:1"]).0, 2);
    let (code, said) = chat(&["--param", "novalue"]);
    assert!(code == 2 && said.contains("NAME=VALUE"), "{said}");
    let nobody =
        run(&mut vertex_chat(&["chat", "hi", "--base-url", "http://127.0.0.1:1/v1", "--timeout", "0.5"]), "");
    assert_eq!(nobody.status.code(), Some(1), "{}", stderr(&nobody));
    let nothing = run(&mut vertex_chat(&["chat", "hi"]), "");
    assert_eq!(nothing.status.code(), Some(3));
    assert!(stderr(&nothing).contains("GOOGLE_APPLICATION_CREDENTIALS is not set"), "{}", stderr(&nothing));
}

#[test]
fn ctrl_c_gives_up_the_request_and_says_130() {
    let emulate = Emulate::start("interrupt", &["--pace", "50"]);
    let mut command =
        vertex_chat(&["chat", "--location", "us-central1", "--host", &emulate.url, "--credentials"]);
    let mut running = Running::start(command.arg(&emulate.key_file).arg(PROMPT));
    assert!(running.line().contains("backpack"));
    running.signal("INT");
    let (code, _) = running.end();
    assert_eq!(code, Some(130));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!(
        "'{}' chat --emulator '{PROMPT}' | head -c 10; exit 0",
        vertex_chat_tests::program().display()
    ));
    let output = run(&mut shell, "");
    assert_eq!(stdout(&output).len(), 10);
    assert!(!stderr(&output).contains("panic") && !stderr(&output).contains("error"), "{}", stderr(&output));
}

#[test]
fn endpoints_token_and_doctor_tell_what_there_is() {
    let emulate = Emulate::start("doctor", &[]);
    let with_key = |arguments: &[&str]| {
        let output = run(vertex_chat(arguments).arg("--credentials").arg(&emulate.key_file), "");
        (output.status.code().unwrap(), stdout(&output), stderr(&output))
    };
    let target = ["--location", "us-central1", "--host", emulate.url.as_str()];
    let (code, listed, _) = with_key(&[&["endpoints"][..], &target].concat());
    assert_eq!((code, listed.lines().count()), (0, 2), "{listed}");
    assert!(listed.starts_with("1234567890123456789  gemma-on-vllm  gemma-2-9b-it"), "{listed}");
    let (_, listed, _) = with_key(&[&["endpoints", "--json"][..], &target].concat());
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()[1]["id"], "2345678901234567890");

    assert!(with_key(&["token"]).1.starts_with("ya29.emulated."));
    assert!(with_key(&["token", "--header"]).1.starts_with("Authorization: Bearer ya29."));
    assert_eq!(
        serde_json::from_str::<Value>(&with_key(&["token", "--json"]).1).unwrap()["token_type"],
        "Bearer"
    );

    let (code, told, _) = with_key(&[&["doctor"][..], &target].concat());
    assert_eq!(code, 0, "{told}");
    for expected in [
        "project      emulator-project (the credentials)",
        "location     us-central1 (--location)",
        "credentials  service account key of emulator@emulator-project.iam.gserviceaccount.com",
        "token        got one",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let output = run(&mut vertex_chat(&["doctor"]), "");
    assert_eq!(output.status.code(), Some(3));
    let told = stdout(&output);
    for expected in [
        "project      missing",
        "location     global (by default",
        "credentials  missing: no credentials: GOOGLE_APPLICATION_CREDENTIALS is not set",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let by_env = run(
        vertex_chat(&["doctor", "--offline"])
            .env("GOOGLE_APPLICATION_CREDENTIALS", &emulate.key_file)
            .env("GCLOUD_PROJECT", "p"),
        "",
    );
    assert!(stdout(&by_env).contains("project      p (GCLOUD_PROJECT)"), "{}", stdout(&by_env));
}

#[test]
fn the_emulator_leaves_a_real_key_alone_and_replaces_its_own() {
    let folder = Folder::new("keys");
    let real = folder.file("real.json", r#"{"type":"service_account","client_email":"me@real"}"#);
    let output = run(vertex_chat(&["emulate", "--port", "0", "--key-file"]).arg(&real), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("left alone") && contains(&real, "me@real"));
    let own = folder.path("own.json");
    for _ in 0..2 {
        let mut running =
            Running::start(vertex_chat(&["emulate", "--port", "0", "--quiet", "--key-file"]).arg(&own));
        let url = running.line();
        assert!(contains(&own, &format!("{url}/token")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
        }
        running.signal("INT");
        assert_eq!(running.end().0, Some(130));
    }
}

#[test]
fn a_conversation_remembers_and_ends() {
    let Some(mut terminal) = python("terminal.py") else { return };
    let output = run(terminal.arg(vertex_chat_tests::program()), "");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn parameters_keep_their_spelling_and_order() {
    let folder = Folder::new("spelling");
    let schema = r#"{"type":"object","properties":{"zebra":{"const":1.10},"apple":{"type":"boolean"}}}"#;
    let file = folder.file("schema.json", schema);
    let flag = format!("--json-answer={}", file.display());
    let mut command = vertex_chat(&["chat", "--emulator", &flag, "-p", "top_p=0.5", "Name an animal"]);
    let output = run(command.args(["--no-rewrite", "gemini-schema"]), "");
    assert_eq!(stdout(&output).trim(), r#"{"zebra":1.10,"apple":true}"#, "{}", stderr(&output));
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    for flag in ["--no-stream", "--json"] {
        let mut command = vertex_chat(&["chat", "--emulator", flag, "hi"]);
        command.stdout(std::fs::File::create("/dev/full").expect("a full device"));
        let output = command.output().expect("the program runs");
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("stdout: "), "{}", stderr(&output));
    }
}

#[test]
fn a_key_that_is_no_object_is_named() {
    let folder = Folder::new("odd-keys");
    for (name, text) in [("list.json", "[]"), ("text.json", "\"x\""), ("empty.json", "{}")] {
        let file = folder.file(name, text);
        let output = run(vertex_chat(&["chat", "--emulator", "--credentials"]).arg(&file).arg("hi"), "");
        assert!(matches!(output.status.code(), Some(2 | 3)), "{name}: {:?}", output.status);
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
}

#[test]
fn doctor_shows_no_password_and_what_the_client_would_use() {
    let mut command = vertex_chat(&["doctor", "--offline"]);
    command.env("OPENAI_BASE_URL", "https://user:canary-1@proxy.example/v1?key=canary-2");
    command.env("OPENAI_API_KEY", "canary-3");
    let output = run(&mut command, "");
    let said = format!("{}{}", stdout(&output), stderr(&output));
    assert!(!said.contains("canary"), "{said}");
    assert!(said.contains("base URL     https://proxy.example/v1?… (OPENAI_BASE_URL)"), "{said}");
    assert!(said.contains("credentials  OPENAI_API_KEY") && !said.contains("missing"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_the_reading_of_stdin() {
    let running = Running::start(&mut vertex_chat(&["chat", "--emulator", "-"]));
    running.wait_until_it_handles(2);
    running.signal("INT");
    assert_eq!(running.code(), Some(130));
}

#[test]
fn the_emulator_stands_in_for_googles_hosts_by_what_it_prints() {
    let mut running =
        Running::start(&mut vertex_chat(&["emulate", "--port", "0", "--quiet", "--proxy", "--print-env"]));
    let mut variables = Vec::new();
    while variables.len() < 12 {
        let line = running.line();
        let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        variables.push((name.to_owned(), value.trim_matches('\'').to_owned()));
    }
    let path = |name: &str| variables.iter().find(|(known, _)| known == name).unwrap().1.clone();
    // By the key file, and by the metadata server; to Vertex by its own name either way.
    for without in ["GCE_METADATA_HOST", "GOOGLE_APPLICATION_CREDENTIALS"] {
        let mut command = vertex_chat(&["chat", "hello"]);
        command.env_remove("NO_GCE_CHECK").env("HOME", "/nowhere");
        let of_interest = |name: &str| name != "OPENAI_BASE_URL" && name != without;
        command
            .envs(variables.iter().filter(|(name, _)| of_interest(name)).map(|(name, value)| (name, value)));
        let output = run(&mut command, "");
        assert!(output.status.success() && stdout(&output).contains("hello"), "{}", stderr(&output));
    }
    // Told to end, it takes its files with it.
    let files = [path("GOOGLE_APPLICATION_CREDENTIALS"), path("SSL_CERT_FILE")];
    assert!(files.iter().all(|it| std::path::Path::new(it).exists()));
    running.signal("TERM");
    let _ = running.end();
    assert!(files.iter().all(|it| !std::path::Path::new(it).exists()));
}

#[test]
fn doctor_explains_every_kind_of_credentials() {
    let emulate = Emulate::start("doctor-kinds", &[]);
    let folder = Folder::new("doctor-kinds");
    let tell = |file: &std::path::Path| {
        let mut command = vertex_chat(&["doctor", "--offline", "--location", "us-central1", "--credentials"]);
        let output = run(command.arg(file), "");
        (output.status.code(), stdout(&output))
    };
    for (name, kind, works_by) in [
        ("authorized-user", "a person's login", "the login's refresh token"),
        ("external-account-authorized-user", "a person's federated login", "the login's refresh token"),
        (
            "impersonated-service-account",
            "impersonated service account of target@",
            "Service Account Token Creator",
        ),
        ("azure", "federated identity", "a token of where this runs"),
    ] {
        let file = folder
            .file("file.json", http(&emulate.url, "GET", &format!("/emulator/credentials/{name}.json"), ""));
        let (_, told) = tell(&file);
        assert!(told.contains(&format!("credentials  {kind}")) && told.contains(works_by), "{name}: {told}");
        assert!(!told.contains("secret") && !told.contains("refresh-token"), "{told}");
    }
    let (code, told) = tell(&folder.file("file.json", "{"));
    assert_eq!(code, Some(3));
    assert!(told.contains("credentials  unusable: ") && told.contains("not a JSON object"), "{told}");
    let output =
        run(vertex_chat(&["doctor", "--offline"]).env("HOME", "/nowhere").env("GCE_METADATA_ROOT", "x"), "");
    let told = stdout(&output);
    for words in [
        "credentials  missing: ",
        "looked at  GOOGLE_APPLICATION_CREDENTIALS is not set",
        "looked at  /nowhere/.config/gcloud/application_default_credentials.json is not there",
        "looked at  NO_GCE_CHECK says not to look",
        "not read   GCE_METADATA_ROOT: the old name of GCE_METADATA_HOST",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}
