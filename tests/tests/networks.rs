//! Networks, files and variables as people have them: what public reports tell of, tried with the program over TCP.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::net::SocketAddr;
use std::process::Output;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use vertex_chat_tests::process::{Folder, Running, stderr, stdout, vertex_chat};
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
    let mut parameters = CertificateParams::new(["internal.example".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "a private endpoint");
    parameters.distinguished_name.push(DnType::OrganizationName, "Example");
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let pem = certificate.pem();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (address, pem)
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
