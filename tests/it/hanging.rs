//! Files and readers that hang keep neither answers nor the end of the program waiting.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::path::Path;
use std::process::{Command, Stdio};

use vertex_chat_tests::process::{Folder, Running, http, vertex_chat};

const GATEWAY: &str = "[targets.a]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";

/// Starts `serve`, and gives its URL.
fn serve(command: &mut Command) -> (Running, String) {
    let mut running = Running::start(command);
    let line = running.line();
    let url = line.split_once('=').unwrap().1.trim_end_matches("/v1").to_owned();
    (running, url)
}

/// Something that is read for ever, as a file on a drive that hangs.
fn make_pipe(path: &Path) {
    let _ = std::fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_configuration_that_hangs_stops_neither_answers_nor_the_end() {
    let folder = Folder::new("hanging-configuration");
    let config = folder.file("gateway.toml", GATEWAY);
    let mut command = vertex_chat(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    let (running, url) = serve(command.arg(&config).stderr(Stdio::null()));
    make_pipe(&config);
    for _ in 0..3 {
        running.signal("HUP");
        for path in ["/livez", "/v1/models", "/metrics"] {
            assert_ne!(http(&url, "GET", path, ""), "");
        }
    }
    running.signal("TERM");
    assert_eq!(running.code(), Some(0));
}

#[test]
fn a_configuration_that_hangs_at_the_start_can_be_interrupted() {
    for signal in ["INT", "TERM", "QUIT"] {
        let folder = Folder::new(&format!("hanging-start-{signal}"));
        let config = folder.path("gateway.toml");
        make_pipe(&config);
        let mut command = vertex_chat(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        let running = Running::start(command.arg(&config).stderr(Stdio::null()));
        running.wait_until_it_handles(15);
        running.wait_until_it_handles(2);
        running.signal(signal);
        assert_eq!(running.code(), Some(130), "{signal}");
    }
}

/// More than a pipe holds, so that writing to it has to wait.
const PIPE_BYTES: usize = 64 << 10;

#[test]
fn a_log_that_nobody_reads_stops_neither_answers_nor_the_end() {
    for options in [&[] as &[&str], &["--verbose"]] {
        let folder = Folder::new(&format!("unread-log-{}", options.len()));
        let config = folder.file("gateway.toml", GATEWAY);
        let mut command = vertex_chat(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        let (running, url) = serve(command.arg(&config).args(options).stderr(Stdio::piped()));
        let path = format!("/{}", "x".repeat(200));
        for _ in 0..2 * PIPE_BYTES / 200 {
            assert!(http(&url, "GET", &path, "").contains("unknown_url"));
        }
        running.signal("HUP");
        assert_eq!(http(&url, "GET", "/livez", ""), "ok");
        running.signal("TERM");
        assert_eq!(running.code(), Some(0), "{options:?}");
    }
}

#[test]
fn a_second_signal_ends_the_program_where_it_arrives() {
    let folder = Folder::new("second-signal");
    // Nobody reads its log either: the first signal's own line waits.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}/v1", silent.local_addr().unwrap());
    let config = folder.file("gateway.toml", GATEWAY.replace("http://127.0.0.1:1/v1", &upstream));
    let mut command = vertex_chat(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    let (running, url) = serve(command.arg(&config).stderr(Stdio::piped()));
    let body = r#"{"model":"gpt-x","messages":[{"role":"user","content":"hi"}]}"#;
    let address = url.trim_start_matches("http://").to_owned();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = std::net::TcpStream::connect(&address).unwrap();
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    // It runs when the model's server has it.
    let _upstream = silent.accept().unwrap();
    running.signal("TERM");
    while is_taken(&address) {
        std::thread::yield_now();
    }
    running.signal("TERM");
    assert_eq!(running.code(), Some(130));
}

/// Whether new connections are still taken.
fn is_taken(address: &str) -> bool {
    std::net::TcpStream::connect(address).is_ok()
}
