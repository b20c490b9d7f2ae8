//! Networks, files and variables as people have them: what public reports tell of, tried with the program over TCP.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::io::Write;
use std::net::SocketAddr;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vertex_chat_tests::certificates::{odd_acceptor, serve_tls};
use vertex_chat_tests::gateway::{Served, before};
use vertex_chat_tests::process::{Emulate, Folder, Running, run, stderr, stdout, vertex_chat};
use vertex_chat_tests::tunnel::Tunnel;
use vertex_chat_tests::upstream::{Step, Upstream, answer};

/// An address of a private dedicated endpoint, as Vertex makes them.
const PRIVATE: &str = "12-us-central1-34.prediction.p.vertexai.goog";

fn hello() -> Vec<Step> {
    let message = json!({"role": "assistant", "content": "hello"});
    let body = json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]});
    vec![Step::Write(answer("200 OK", "application/json", &[], body.to_string().as_bytes()))]
}

/// TLS in front of a server, with a certificate that it has signed itself: for another name, and for an authority.
async fn odd_tls(to: SocketAddr) -> (SocketAddr, String) {
    let (acceptor, pem) = odd_acceptor();
    let address = serve_tls(acceptor, move |mut stream| async move {
        let mut server = TcpStream::connect(to).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    });
    (address.await, pem)
}

/// `vertex-chat` with these arguments and variables.
async fn program(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = vertex_chat(arguments);
    command.envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_endpoint_with_a_certificate_of_its_own_is_spoken_to() {
    let folder = Folder::new("private-endpoint");
    let upstream = Upstream::answer_with(|_| hello()).await;
    let (server, pem) = odd_tls(upstream.address()).await;
    let tunnel = Tunnel::start(server, "200 OK").await;
    let ca_file = folder.file("ca.pem", &pem);
    let ca_file = ca_file.to_str().unwrap();
    let url = |host: &str| format!("https://{host}/v1/projects/p/locations/us-central1/endpoints/12");
    let proxy = tunnel.url();
    let variables = [("OPENAI_API_KEY", "ya29.token"), ("HTTPS_PROXY", proxy.as_str())];
    let chat = async |url: &str, more: &[&str]| {
        program(&[&["chat", "--no-stream", "--base-url", url, "hi"], more].concat(), &variables).await
    };

    let own = url(PRIVATE);
    let output = chat(&own, &["--ca-file", ca_file]).await;
    assert_eq!(stdout(&output).trim(), "hello", "{}", stderr(&output));
    assert!(tunnel.heads()[0].starts_with(&format!("CONNECT {PRIVATE}:443 ")));

    // Without the file: whose certificate it is, where, and what to do.
    let output = chat(&own, &[]).await;
    let said = stderr(&output);
    for expected in [PRIVATE, "issued by `CN=a private endpoint, O=Example`", "--ca-file", "SSL_CERT_FILE"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // With another file: it is that certificate, or none.
    let (_, other) = odd_tls(upstream.address()).await;
    let other = folder.file("other.pem", &other);
    let output = chat(&own, &["--ca-file", other.to_str().unwrap()]).await;
    assert!(stderr(&output).contains("issued by"), "{}", stderr(&output));
    let output = chat(&own, &["--ca-file", "/nowhere/ca.pem"]).await;
    assert!(stderr(&output).contains("/nowhere/ca.pem: No such file"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(3));

    // Another host gets the token by its name only, and never in the clear.
    let further = url("models.example");
    let output = chat(&further, &["--ca-file", ca_file]).await;
    assert!(stderr(&output).contains("--token-host models.example"), "{}", stderr(&output));
    let output = chat(&further, &["--ca-file", ca_file, "--token-host", "models.example"]).await;
    assert_eq!(stdout(&output).trim(), "hello", "{}", stderr(&output));
    let plain = further.replace("https:", "http:");
    let output = chat(&plain, &["--token-host", "models.example"]).await;
    assert!(stderr(&output).contains("without TLS; use https"), "{}", stderr(&output));
    let output = chat(&further, &["--token-host", "https://models.example/"]).await;
    assert!(stderr(&output).contains("without scheme, port and path"), "{}", stderr(&output));

    // SSL_CERT_FILE that cannot be used is said to be the cause.
    let mut command = vertex_chat(&["chat", "--base-url", &own, "hi"]);
    command.envs(variables).env("SSL_CERT_FILE", "/nowhere/roots.pem").env_remove("SSL_CERT_DIR");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(stderr(&output).contains("SSL_CERT_FILE could not be used: No such file"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_names_its_certificate_and_its_hosts() {
    let folder = Folder::new("target-certificates");
    let upstream = Upstream::answer_with(|_| hello()).await;
    let (server, pem) = odd_tls(upstream.address()).await;
    let tunnel = Tunnel::start(server, "200 OK").await;
    let ca_file = folder.file("ca.pem", &pem);
    let target = |more: &str| {
        format!(
            "[targets.mine]\nkind = \"endpoint\"\nproject = \"p\"\nlocation = \"us-central1\"\nendpoint = \"12\"\n\
             access_token = \"ya29.x\"\n{more}\n[[models]]\nname = \"*\"\nto = [{{ target = \"mine\" }}]\n"
        )
    };
    let file = format!("ca_file = \"{}\"", ca_file.display());
    for (name, more) in [
        ("private", format!("host = \"{PRIVATE}\"\n{file}")),
        ("further", format!("host = \"models.example\"\ntoken_hosts = [\"models.example\"]\n{file}")),
    ] {
        let config = folder.file(&format!("{name}.toml"), target(&more));
        let mut command = vertex_chat(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(config).env("HTTPS_PROXY", tunnel.url()).stderr(std::process::Stdio::null());
        let mut running = Running::start(&mut command);
        let base_url = running.line().split_once('=').unwrap().1.to_owned();
        let output =
            program(&["chat", "--no-stream", "--model", "m", "--base-url", &base_url, "hi"], &[]).await;
        assert_eq!(stdout(&output).trim(), "hello", "{name}: {}", stderr(&output));
    }
    for (more, said) in [
        ("host = \"models.example\"".to_owned(), "`token_hosts` of a target"),
        (
            "host = \"models.example\"\ntoken_hosts = [\"https://models.example\"]".to_owned(),
            "without scheme",
        ),
        ("ca_file = \"/nowhere.pem\"".to_owned(), "No such file"),
        ("ca_file = \"-----BEGIN PRIVATE KEY----- canary\"".to_owned(), "has to be the path of a file"),
        (format!("ca_file = \"{}\"", folder.file("empty.pem", "").display()), "no certificate in PEM"),
    ] {
        let config = folder.file("wrong.toml", target(&more));
        let output = program(&["serve", "--check", "--config", config.to_str().unwrap()], &[]).await;
        let told = stderr(&output);
        assert!(told.contains(said) && !told.contains("canary"), "{more}: {told}");
        assert_eq!(output.status.code(), Some(3));
    }
}

/// Variables, whether the request arrives, and what is said.
type Case<'a> = (&'a [(&'a str, &'a str)], bool, &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_proxy_variable_that_counts_is_judged() {
    let folder = Folder::new("proxies");
    let upstream = Upstream::answer_with(|_| hello()).await;
    let (server, pem) = odd_tls(upstream.address()).await;
    let tunnel = Tunnel::start(server, "200 OK").await;
    let closed = Tunnel::start(server, "407 Proxy Authentication Required").await;
    let forbidden = Tunnel::start(server, "403 Blocked\u{1b}[31m by policy").await;
    let ca_file = folder.file("ca.pem", &pem);
    let url = format!("https://{PRIVATE}/v1/projects/p/locations/us-central1/endpoints/12");
    let good = tunnel.url();
    let quoted = format!(" \"{good}\" ");
    let with_line_end = format!("{good}\n");
    let (closed_at, forbidden_at) = (closed.url(), forbidden.url());
    let wants = format!("the proxy {} (HTTPS_PROXY): it wants a user and a password", closed.address());
    let blocks = format!(
        "the proxy {} (all_proxy): it opens no connection to {PRIVATE}:443 (it answered 403 Blocked",
        forbidden.address()
    );
    let cases: [Case<'_>; 11] = [
        (&[("HTTPS_PROXY", &good), ("ALL_PROXY", "socks5://127.0.0.1:1")], true, ""),
        (&[("https_proxy", &good), ("all_proxy", "nonsense of some kind")], true, ""),
        (&[("HTTPS_PROXY", &good), ("https_proxy", "socks5://127.0.0.1:1")], true, ""),
        (&[("HTTPS_PROXY", &quoted)], true, "note: HTTPS_PROXY"),
        (&[("ALL_PROXY", &with_line_end)], true, "note: ALL_PROXY"),
        (
            &[("ALL_PROXY", "socks5h://user:canary@127.0.0.1:1")],
            false,
            "ALL_PROXY names a SOCKS proxy, which is not supported",
        ),
        (&[("HTTPS_PROXY", "http://pro xy:canary")], false, "HTTPS_PROXY is not a proxy's URL"),
        (
            &[("HTTPS_PROXY", "https://127.0.0.1:1")],
            false,
            "HTTPS_PROXY names a proxy that is reached by TLS",
        ),
        (&[("HTTPS_PROXY", &closed_at)], false, &wants),
        (&[("all_proxy", &forbidden_at)], false, &blocks),
        (
            &[("HTTPS_PROXY", "http://127.0.0.1:1")],
            false,
            "the proxy 127.0.0.1:1 (HTTPS_PROXY): Connection refused",
        ),
    ];
    for (variables, arrives, said) in cases {
        let variables = [&[("OPENAI_API_KEY", "ya29.token")], variables].concat();
        let arguments =
            ["chat", "--no-stream", "--ca-file", ca_file.to_str().unwrap(), "--base-url", &url, "hi"];
        let output = program(&arguments, &variables).await;
        let told = stderr(&output);
        assert_eq!(stdout(&output).trim() == "hello", arrives, "{variables:?}: {told}");
        assert!(told.contains(said), "{variables:?}: {told}");
        assert!(!told.contains("canary") && !told.contains('\u{1b}'), "{told}");
    }
    // What goes to this machine, and what NO_PROXY names, does not care what the variables say.
    for variables in [
        [("HTTPS_PROXY", "nonsense"), ("NO_PROXY", "")],
        [("ALL_PROXY", "socks://127.0.0.1:1"), ("NO_PROXY", "*")],
    ] {
        let output = program(&["chat", "--emulator", "hi"], &variables).await;
        assert!(output.status.success(), "{variables:?}: {}", stderr(&output));
    }
}

/// What the metadata server says, and what the error has of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_metadata_server_says_is_shown_with_the_role_that_is_missing() {
    let cases = [
        (
            "403 Forbidden",
            "Unable to generate access token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getAccessToken' denied on \
             resource (or it may not exist).\nThis error could be caused by a missing IAM policy binding.\n",
            &["Unable to generate access token; IAM returned 403", "roles/iam.workloadIdentityUser"][..],
            &["missing IAM policy binding", "changes requests"][..],
        ),
        (
            "404 Not Found",
            "Unknown service account\n",
            &["Unknown service account", "attach a service account"],
            &["changes requests"],
        ),
        (
            "404 Not Found",
            "\"Error 404: GCE metadata \\\"instance/service-accounts/default/token\\\" not defined\"\u{1b}[31m",
            &["not defined", "Workload Identity has to be on"],
            &["\u{1b}"],
        ),
        ("403 Forbidden", "Missing Metadata-Flavor:Google header.", &["changes requests"], &["roles/"]),
        ("403 Forbidden", "<html><title>Forbidden</title></html>", &["403", "changes requests"], &["<html>"]),
    ];
    for (status, body, said, unsaid) in cases {
        let server = Upstream::answer_with(move |_| {
            vec![Step::Write(answer(status, "text/plain", &[("metadata-flavor", "Google")], body.as_bytes()))]
        })
        .await;
        let host = server.address().to_string();
        let output = program(&["token"], &[("GCE_METADATA_HOST", &host), ("NO_GCE_CHECK", "false")]).await;
        let told = stderr(&output);
        for expected in said {
            assert!(told.contains(expected), "{body}: {told}");
        }
        for unexpected in unsaid {
            assert!(!told.contains(unexpected), "{body}: {told}");
        }
    }
    for host in ["http://169.254.169.254", "metadata.google.internal/computeMetadata", "http://127.0.0.1:1/x"]
    {
        let output = program(&["token"], &[("GCE_METADATA_HOST", host), ("NO_GCE_CHECK", "false")]).await;
        let told = stderr(&output);
        assert!(
            told.contains("GCE_METADATA_HOST") && told.contains("without scheme and path"),
            "{host}: {told}"
        );
        assert_eq!(output.status.code(), Some(3), "{told}");
    }
}

/// Forms of `private_key` as people paste them, and of files that are none.
#[test]
fn keys_are_read_as_people_paste_them_and_files_are_named_as_what_they_are() {
    let folder = Folder::new("pasted");
    let emulate = Emulate::start("pasted-emulator", &[]);
    let whole = std::fs::read_to_string(&emulate.key_file).unwrap();
    let fields: Value = serde_json::from_str(&whole).unwrap();
    let pem = fields["private_key"].as_str().unwrap();
    let with = |pem: &str| {
        let mut fields = fields.clone();
        fields["private_key"] = pem.into();
        fields.to_string().into_bytes()
    };
    let token = |content: &[u8]| {
        let path = folder.file("key.json", content);
        let output = run(vertex_chat(&["token", "--credentials"]).arg(path), "");
        (output.status.code(), stderr(&output))
    };
    let one_line = pem.replace('\n', " ");
    let no_lines = pem.replace('\n', "");
    for good in [
        pem.to_owned(),
        pem.replace('\n', "\\n"),
        pem.replace('\n', "\\\\n"),
        pem.replace('\n', "\\r\\n"),
        pem.replace('\n', "\r\n"),
        format!("\"{pem}\""),
        format!("'{}'", pem.replace('\n', "\\n")),
        one_line.clone(),
        no_lines.clone(),
        format!("  \n{one_line}\n"),
        pem.lines().map(|line| format!("    {line}\n")).collect(),
    ] {
        let (code, told) = token(&with(&good));
        assert_eq!(code, Some(0), "{good:.60}: {told}");
    }
    let body = &pem[30..60];
    for (bad, said) in [
        (pem.split_once("-----END").unwrap().0.to_owned(), "it was cut off"),
        (pem.replace("BEGIN PRIVATE KEY", "BEGIN CERTIFICATE"), "it is a certificate"),
        (pem.replace("PRIVATE KEY", "PUBLIC KEY"), "it is a public key"),
        (pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY"), "it is encrypted"),
        (pem.replace("PRIVATE KEY", "EC PRIVATE KEY"), "it is an EC key"),
        (pem.replace("-----BEGIN ", "---- BEGIN "), "its first line is damaged"),
        (pem.replace(body, "!!"), "is damaged"),
        ("REDACTED".to_owned(), "it has no line"),
    ] {
        let (code, told) = token(&with(&bad));
        assert!(code == Some(3) && told.contains(said), "{said}: {told}");
        assert!(!told.contains(body), "{told}");
    }
    let utf16 = |text: &str| {
        [&[0xFF, 0xFE][..], &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()].concat()
    };
    let base64 = base64::engine::general_purpose::STANDARD.encode(&whole);
    for (content, said) in [
        (b"".to_vec(), "the file is empty"),
        (b" \n".to_vec(), "the file is empty"),
        (utf16(&whole), "UTF-16"),
        (utf16(&whole)[2..].to_vec(), "UTF-16"),
        (base64.clone().into_bytes(), "base64"),
        (base64.as_bytes().chunks(76).flat_map(|it| [it, b"\n"].concat()).collect(), "base64"),
        (base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&whole).into_bytes(), "base64"),
        (whole.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(), "hexadecimal"),
        (pem.as_bytes().to_vec(), "in PEM"),
        (b"<!DOCTYPE html><title>Sign in</title>".to_vec(), "a page in HTML"),
        (json!(whole).to_string().into_bytes(), "in quotes"),
        (
            json!({"installed": {"client_id": "x", "client_secret": "canary"}}).to_string().into_bytes(),
            "an OAuth client",
        ),
        (
            json!({"web": {"client_id": "x", "client_secret": "canary"}}).to_string().into_bytes(),
            "--client-id-file",
        ),
        (
            json!({"project_info": {"project_id": "p"}, "client": []}).to_string().into_bytes(),
            "google-services.json",
        ),
        (json!({"apiKey": "AIzacanary", "projectId": "p"}).to_string().into_bytes(), "Firebase web app"),
        (
            json!({"access_token": "ya29.canary", "expires_in": 3600}).to_string().into_bytes(),
            "is an access token",
        ),
    ] {
        let (code, told) = token(&content);
        assert!(code == Some(3) && told.contains(said), "{said}: {told}");
        assert!(!told.contains("canary") && !told.contains("line 1, column"), "{told}");
    }
    // With a mark of its byte order, and Windows' line ends.
    assert_eq!(token(&[b"\xEF\xBB\xBF", whole.replace('\n', "\r\n").as_bytes()].concat()).0, Some(0));
}

#[test]
fn variables_are_read_without_what_surrounds_them() {
    let emulate = Emulate::start("variables-emulator", &[]);
    let key = emulate.key_file.display().to_string();
    for (name, value) in [
        ("GOOGLE_APPLICATION_CREDENTIALS", format!("{key}\n")),
        ("GOOGLE_APPLICATION_CREDENTIALS", format!("\"{key}\"")),
        ("GOOGLE_APPLICATION_CREDENTIALS", format!("  '{key}'  \r\n")),
        ("GOOGLE_CLOUD_PROJECT", " \"emulator-project\"\n".to_owned()),
        ("GOOGLE_CLOUD_LOCATION", "us-central1\r".to_owned()),
        ("GOOGLE_CLOUD_QUOTA_PROJECT", "'emulator-project' ".to_owned()),
    ] {
        let mut command = vertex_chat(&["chat", "--host", &emulate.url, "hi"]);
        command
            .env("GOOGLE_APPLICATION_CREDENTIALS", &key)
            .env("GOOGLE_CLOUD_LOCATION", "us-central1")
            .env("GOOGLE_CLOUD_PROJECT", "emulator-project")
            .env(name, &value);
        let output = run(&mut command, "");
        let told = stderr(&output);
        assert!(output.status.success(), "{name}={value:?}: {told}");
        assert!(told.contains(&format!("note: {name}: the blanks, line ends or quotes")), "{told}");
    }
    let log = emulate.log();
    let billed = log.iter().filter(|it| it["headers"]["x-goog-user-project"] == "emulator-project").count();
    assert!(billed > 0 || !log.iter().any(|it| it.get("headers").is_some()), "the project is billed");
    // What is no project is refused, and never left out.
    for value in ["my project", "p\nx: y", "projekt-ü"] {
        let mut command = vertex_chat(&["chat", "--host", &emulate.url, "--location", "us-central1", "hi"]);
        command.env("GOOGLE_APPLICATION_CREDENTIALS", &key).env("GOOGLE_CLOUD_QUOTA_PROJECT", value);
        let output = run(&mut command, "");
        assert!(stderr(&output).contains("quota project"), "{value:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("GOOGLE_CLOUD_QUOTA_PROJECT"), "{}", stderr(&output));
        assert_eq!(output.status.code(), Some(3));
    }
    // So is every other value that cannot be meant, with its variable's name.
    for (name, value) in [
        ("GOOGLE_CLOUD_PROJECT", "my project"),
        ("GCLOUD_PROJECT", "p/x"),
        ("GOOGLE_CLOUD_LOCATION", "us central1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1 /v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1/chat/completions"),
        ("OPENAI_API_KEY", "one\ntwo"),
    ] {
        let mut command = vertex_chat(&["chat", "--model", "m", "hi"]);
        command.env("GOOGLE_APPLICATION_CREDENTIALS", &key);
        if name == "OPENAI_API_KEY" {
            command.env("OPENAI_BASE_URL", "http://127.0.0.1:1/v1");
        }
        let output = run(command.env(name, value), "");
        assert!(stderr(&output).contains(&format!("{name}: ")), "{value:?}: {}", stderr(&output));
        assert!(output.status.code() == Some(3) && !stderr(&output).contains("two"), "{}", stderr(&output));
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8], with_head: bool) -> Vec<u8> {
    let level = flate2::Compression::default();
    if with_head {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        return encoder.finish().unwrap();
    }
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_decoded_or_their_coding_is_named() {
    let upstream = Upstream::answer_with(|seen| {
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert_eq!(seen.header("content-encoding"), None);
        match String::from_utf8_lossy(&seen.body).contains("compress") {
            false => hello(),
            true => {
                let text = String::from_utf8_lossy(&seen.body).into_owned();
                let status = if text.contains("fail") { "500 Internal Server Error" } else { "200 OK" };
                let coding = if text.contains("brotli") { "br" } else { "gzip" };
                vec![Step::Write(answer(
                    status,
                    "application/json",
                    &[("content-encoding", coding)],
                    &gzip(b"{}"),
                ))]
            }
        }
    })
    .await;
    let limit = 8 << 20;
    let config = format!("[limits]\nrequest_bytes_max = {limit}\n{}", before(&upstream.url(), "openai"));
    let served = Served::start(&config).await;
    let ask = |text: &str| json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string();
    let send = async |coding: &str, body: Vec<u8>| {
        let headers = [("content-type", "application/json"), ("content-encoding", coding)];
        served.ask(Method::POST, "/v1/chat/completions", &headers, body).await.unwrap()
    };
    let hi = ask("hi");
    let plain = hi.as_bytes();
    for (coding, body) in [
        ("gzip", gzip(plain)),
        ("x-gzip", gzip(plain)),
        ("GZIP", gzip(plain)),
        ("  gzip  ", gzip(plain)),
        ("gzip", [gzip(&plain[..9]), gzip(&plain[9..])].concat()),
        ("deflate", deflate(plain, true)),
        ("deflate", deflate(plain, false)),
        ("deflate, gzip", gzip(&deflate(plain, true))),
        ("identity", plain.to_vec()),
        ("gzip", gzip(ask(&"x".repeat(1 << 20)).as_bytes())),
    ] {
        let got = send(coding, body).await;
        assert_eq!(got.status, 200, "{coding}: {}", got.text());
    }
    let large = ask(&"x".repeat(2 * limit));
    for (coding, body, status, code) in [
        ("br", plain.to_vec(), 415, "unsupported_content_encoding"),
        ("zstd", plain.to_vec(), 415, "unsupported_content_encoding"),
        ("gzip, gzip, gzip", plain.to_vec(), 415, "unsupported_content_encoding"),
        ("gzip", plain.to_vec(), 400, "invalid_content_encoding"),
        ("gzip", Vec::new(), 400, "invalid_content_encoding"),
        ("gzip", gzip(plain)[..20].to_vec(), 400, "invalid_content_encoding"),
        // A megabyte of one letter is a kilobyte in gzip: a few are taken, many are not.
        ("gzip", gzip(ask(&"x".repeat(limit / 2 + limit / 8)).as_bytes()), 413, "request_too_large"),
        ("gzip", gzip(large.as_bytes()), 413, "request_too_large"),
        ("deflate", deflate(large.as_bytes(), true), 413, "request_too_large"),
    ] {
        let got = send(coding, body).await;
        assert_eq!(
            (got.status.as_u16(), got.json()["error"]["code"].as_str()),
            (status, Some(code)),
            "{coding}"
        );
        let named = coding.split(", ").next().unwrap();
        assert!(
            status != 415 || got.text().contains(named) || got.text().contains("too many"),
            "{}",
            got.text()
        );
    }
    for (text, coding) in
        [("compress", "`gzip`"), ("compress and fail", "`gzip`"), ("compress with brotli", "`br`")]
    {
        let got = served.complete(&serde_json::from_str(&ask(text)).unwrap()).await;
        assert!(got.status.is_server_error() && got.text().contains(coding), "{} {}", got.status, got.text());
    }
}

#[tokio::test]
async fn odd_bodies_and_paths_are_read_in_one_way() {
    let flaky = AtomicUsize::new(0);
    let upstream = Upstream::answer_with(move |seen| {
        let fails =
            String::from_utf8_lossy(&seen.body).contains("tgi") && flaky.fetch_add(1, Ordering::SeqCst) == 0;
        match fails {
            true => vec![Step::Write(answer(
                "424 Failed Dependency",
                "application/json",
                &[],
                br#"{"error":"Incomplete generation","error_type":"incomplete_generation"}"#,
            ))],
            false => hello(),
        }
    })
    .await;
    let url = upstream.url();
    let target =
        |name: &str| format!("[targets.{name}]\nkind = \"openai\"\nbase_url = \"{url}/v1\"\nretries = 0\n");
    let config = format!(
        "{}{}[[models]]\nname = \"*\"\nto = [{{ target = \"a\" }}]\nfallback = [{{ target = \"b\" }}]\n",
        target("a"),
        target("b")
    );
    let served = Served::start(&config).await;
    let post = async |path: &str, body: Vec<u8>| {
        served.ask(Method::POST, path, &[("content-type", "application/json")], body).await.unwrap()
    };
    let body = |text: &str| {
        json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string().into_bytes()
    };
    let got = post("/v1/chat/completions", [b"\xEF\xBB\xBF", &body("hi")[..]].concat()).await;
    assert_eq!(got.status, 200, "{}", got.text());
    for path in ["/v1/chat/completions/", "/chat/completions//", "/v1/chat/completions"] {
        assert_eq!(post(path, body("hi")).await.status, 200, "{path}");
    }
    for path in ["/v1/models", "/v1/models/", "/models/", "/livez/", "/readyz/", "/metrics/", "/v1/models/m/"]
    {
        let status = served.get(path).await.status;
        assert!(status == 200 || (path.starts_with("/readyz") && status == 503), "{path}: {status}");
    }
    // TGI's 424: a generation that failed, worth another server.
    let got = post("/v1/chat/completions", body("tgi")).await;
    assert_eq!((got.status.as_u16(), got.header("x-vertex-chat-target")), (200, Some("b")), "{}", got.text());
    // Latin-1, wherever it stands.
    let forms = [
        r#"{"model":"m","messages":[{"role":"user","content":"caf?"}]}"#,
        r#"{"model":"caf?","messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"caf?"}]}]}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"user":"caf?"}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"caf?":1}"#,
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"description":"caf?"}}}]}"#,
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"caf?"}]}"#,
    ];
    for form in forms {
        let bytes: Vec<u8> = form.bytes().map(|it| if it == b'?' { 0xE9 } else { it }).collect();
        let got = post("/v1/chat/completions", bytes).await;
        let error = got.json()["error"].clone();
        assert_eq!((got.status.as_u16(), error["code"].as_str()), (400, Some("invalid_json")), "{form}");
        assert!(error["message"].as_str().unwrap().contains("UTF-8"), "{form}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_origins_and_keys_are_written_as_people_write_them() {
    let folder = Folder::new("addresses");
    let start = |listen: &str, more: &[&str]| {
        let mut command = vertex_chat(&["serve", "--emulator", "--listen", listen]);
        command.args(more).stderr(std::process::Stdio::null());
        let mut running = Running::start(&mut command);
        let line = running.line();
        (running, line.split_once("http://").unwrap().1.trim_end_matches("/v1").to_owned())
    };
    for listen in ["localhost:0", ":0", "127.0.0.1:0", "[::1]:0"] {
        let (_running, address) = start(listen, &[]);
        let local = address.starts_with("127.0.0.1:") || address.starts_with("[::1]:");
        assert!(local && TcpStream::connect(&address).await.is_ok(), "{listen}: {address}");
    }
    let output = program(&["serve", "--emulator", "--listen", "my-host:80"], &[]).await;
    assert!(stderr(&output).contains("localhost:8080 or :8080"), "{}", stderr(&output));
    let keys = folder.file("keys.toml", "[keys]\na = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n");
    let mut command = vertex_chat(&["serve", "--listen", ":0", "--config"]);
    let mut running = Running::start(command.arg(&keys).stderr(std::process::Stdio::null()));
    assert!(running.line().contains("http://0.0.0.0:"), "with keys it is for others");

    let (_running, address) = start(
        ":0",
        &["--allow-origin", "https://app.example.com", "--allow-origin", "http://localhost:3000"],
    );
    let base_url = format!("http://{address}");
    for (origin, allowed) in
        [("https://app.example.com", true), ("http://localhost:3000", true), ("https://evil.example", false)]
    {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let request = format!(
            "GET /v1/models HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).await.unwrap();
        assert_eq!(got.starts_with("HTTP/1.1 200"), allowed, "{base_url} {origin}: {got}");
        assert_eq!(got.contains(&format!("access-control-allow-origin: {origin}")), allowed);
    }
    let output = program(&["serve", "--emulator", "--allow-origin", "https://app.example.com/"], &[]).await;
    assert!(stderr(&output).contains("--allow-origin"), "{}", stderr(&output));

    for (name, shown) in [
        ("ci", "ci = \"sha256:"),
        ("Anna's laptop", "\"Anna's laptop\" = \"sha256:"),
        ("a.b", "\"a.b\" = \"sha256:"),
    ] {
        let output = program(&["key", name], &[]).await;
        assert!(stderr(&output).contains(shown), "{}", stderr(&output));
    }
    let output = program(&["key", "a\nb"], &[]).await;
    assert_eq!(output.status.code(), Some(2));
}

/// What answers, what is asked, and what the error names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_name_the_place() {
    let upstream = Upstream::answer_with(|seen| {
        let page = b"<!DOCTYPE html><html><head><title>Sign in - Corp</title></head></html>";
        let bytes = match seen.line.split(' ').nth(1).unwrap_or_default() {
            path if path.starts_with("/page") => answer("200 OK", "text/html; charset=utf-8", &[], page),
            path if path.starts_with("/moved") => answer(
                "308 Permanent Redirect",
                "text/plain",
                &[("location", "https://user:canary@new.example/v1/x?token=canary")],
                b"",
            ),
            _ => {
                answer("404 Not Found", "application/json", &[], br#"{"error":{"message":"no such thing"}}"#)
            }
        };
        vec![Step::Write(bytes)]
    })
    .await;
    let url = upstream.url();
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let cases: Vec<(String, Vec<String>)> = vec![
        (
            format!("{url}/page"),
            vec!["an HTML page: Sign in - Corp".into(), format!("{url}/page/chat/completions")],
        ),
        (format!("{url}/moved"), vec!["308".into(), "https://new.example/v1/x".into()]),
        (
            format!("{url}/nowhere"),
            vec![format!("{url}/nowhere/chat/completions"), "404".into(), "no such thing".into()],
        ),
        (format!("http://{nobody}/v1"), vec![format!("{nobody}: Connection refused")]),
        (
            "https://no-such-host.invalid/v1".into(),
            vec!["no-such-host.invalid:443: the name no-such-host.invalid was not found".into()],
        ),
        (format!("{url}/v1/chat/completions"), vec!["ends in `/chat/completions`".into()]),
        (format!("{url}/v1/chat/completions/"), vec!["ends in `/chat/completions`".into()]),
        (
            format!("{url}/v1beta1/projects/p/locations/global/endpoints/openapi/chat/completions"),
            vec!["ends in `/chat/completions`".into()],
        ),
        (format!("{url}/v1/responses"), vec!["ends in `/responses`".into()]),
        (
            format!("{url}/v1/projects/p/locations/us-central1/endpoints/12:predict"),
            vec!["ends in `:predict`".into(), "up to the endpoint's id".into()],
        ),
        (
            format!(
                "{url}/v1/projects/p/locations/us-central1/publishers/anthropic/models/claude:streamRawPredict"
            ),
            vec!["ends in `:streamRawPredict`".into()],
        ),
    ];
    for (base_url, named) in &cases {
        // What does not connect is tried again, which takes its time, and is the same either way.
        let connects = base_url.starts_with(&url);
        for stream in [&[][..], &["--no-stream"]].into_iter().take(if connects { 2 } else { 1 }) {
            let before = upstream.seen().len();
            let arguments = [&["chat", "--model", "m", "--base-url", base_url, "hi"], stream].concat();
            let output = program(&arguments, &[("OPENAI_API_KEY", "key")]).await;
            let told = stderr(&output);
            for expected in named {
                assert!(told.contains(expected), "{base_url}: {expected}: {told}");
            }
            assert!(!output.status.success() && !told.contains("canary"), "{told}");
            let is_sent = upstream.seen().len() > before;
            assert!(!is_sent || !told.contains("ends in"), "it was sent: {told}");
        }
    }
    // doctor finds out that nothing answers before the first request does.
    for (base_url, says) in [
        (format!("http://{nobody}/v1"), "does not answer"),
        ("https://no-such-host.invalid/v1".to_owned(), "was not found"),
    ] {
        let output = program(&["doctor", "--base-url", &base_url], &[("OPENAI_API_KEY", "key")]).await;
        assert!(
            !output.status.success() && (stdout(&output) + &stderr(&output)).contains(says),
            "{}",
            stdout(&output)
        );
    }
    let output = program(&["doctor", "--base-url", &format!("{url}/v1")], &[("OPENAI_API_KEY", "key")]).await;
    assert!(
        output.status.success() && stdout(&output).contains("server       answers"),
        "{}",
        stdout(&output)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_is_never_sent_as_a_subject_token() {
    let folder = Folder::new("subject-pages");
    let sts = Upstream::answer_with(|_| {
        vec![Step::Write(answer(
            "400 Bad Request",
            "application/json",
            &[],
            b"{\"error\":\"invalid_grant\"}",
        ))]
    })
    .await;
    let token = folder.path("token");
    let external = |format: Value| {
        let fields = json!({"type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "token_url": format!("{}/v1/token", sts.url()),
            "credential_source": {"file": token.display().to_string(), "format": format}});
        folder.file("external.json", fields.to_string())
    };
    for (content, format, said) in [
        ("<!DOCTYPE html><title>Sign in</title>", json!({"type": "text"}), "a page in HTML"),
        ("\u{feff}<html>", json!({"type": "text"}), "a page in HTML"),
        ("<html>", json!({"type": "json", "subject_token_field_name": "t"}), "a page in HTML"),
        ("{\"t\": \"x\"}", json!({"type": "text"}), "a JSON object"),
        ("one two", json!({"type": "text"}), "blanks or lines"),
        ("", json!({"type": "text"}), "is empty"),
    ] {
        std::fs::write(&token, content).unwrap();
        let file = external(format);
        let output = program(&["token", "--credentials", file.to_str().unwrap()], &[]).await;
        assert!(stderr(&output).contains(said), "{content}: {}", stderr(&output));
        assert!(sts.seen().is_empty(), "{content} was sent");
    }
    std::fs::write(&token, "\u{feff}header.claims.signature\r\n").unwrap();
    let file = external(json!({"type": "text"}));
    program(&["token", "--credentials", file.to_str().unwrap()], &[]).await;
    let seen = sts.seen();
    let form = String::from_utf8_lossy(&seen.first().expect("a token is sent").body).into_owned();
    assert!(
        form.contains("subject_token=header.claims.signature&")
            || form.ends_with("subject_token=header.claims.signature"),
        "{form}"
    );
}
