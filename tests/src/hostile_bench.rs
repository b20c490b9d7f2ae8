//! What hostile bodies cost the gateway: CPU time for each, and whether probes are answered meanwhile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use vertex_chat_transport::{Connector, Exchange, HttpConnector, Profile, Request};

use crate::gateway::before;
use crate::hostile::bodies;
use crate::process::{Folder, Running};
use crate::say;
use crate::upstream::{Step, Upstream, answer};

/// The sizes of bodies, in bytes, and the most CPU time that one of them may take.
const SIZES: [(usize, Duration); 2] =
    [(64 << 10, Duration::from_millis(100)), (6 << 20, Duration::from_millis(2_000))];
/// How many of the most costly are printed for each size.
const SHOWN: usize = 8;
/// The longest that a probe may wait while a body is prepared. One core is busy with it, and others may be too.
const PROBE_MAX: Duration = Duration::from_millis(500);

/// Measures a program.
///
/// # Errors
/// When a body costs more than it may, or a probe waits for too long.
///
/// # Panics
/// When the program does not start.
pub async fn run(program: PathBuf) -> Result<(), String> {
    let body =
        br#"{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    let upstream =
        Upstream::answer_with(|_| vec![Step::Write(answer("200 OK", "application/json", &[], body))]).await;
    let folder = Folder::new("hostile-bench");
    let config = folder.file("gateway.toml", before(&upstream.url(), "vertex-gemini-3"));
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--access-log", "off", "--config"]).arg(config);
    let mut running = Running::start(command.stderr(Stdio::null()));
    let line = running.line();
    let url = line.split_once('=').map(|(_, url)| url.trim_end_matches("/v1").to_owned()).unwrap_or_default();
    let client = HttpConnector::new().connect(&Profile::NoProxy).expect("a client");
    let mut faults = Vec::new();
    for (bytes, most) in SIZES {
        let mut rows = Vec::new();
        for hostile in bodies(bytes) {
            let before = cpu_time(running.id());
            let ended = Arc::new(AtomicBool::new(false));
            let slowest = Arc::new(AtomicU64::new(0));
            let probes = tokio::spawn(probe(
                Arc::clone(&client),
                url.clone(),
                Arc::clone(&ended),
                Arc::clone(&slowest),
            ));
            let mut request = Request::new(hostile.body.clone().into());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = format!("{url}/v1/chat/completions").parse().expect("a URL");
            request.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
            let response =
                client.send(request).await.map_err(|error| format!("{}: {error}", hostile.name))?;
            let status = response.status();
            response
                .into_body()
                .collect(64 << 20)
                .await
                .map_err(|error| format!("{}: {error}", hostile.name))?;
            ended.store(true, Ordering::Relaxed);
            let _ = probes.await;
            let slowest = Duration::from_micros(slowest.load(Ordering::Relaxed));
            rows.push((cpu_time(running.id()).saturating_sub(before), hostile.name, status, slowest));
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.0));
        say(&format!("{} bodies of {bytes} bytes; at most {} ms each:", rows.len(), most.as_millis()));
        for (cpu, name, status, probe) in rows.iter().take(SHOWN) {
            let (cpu, probe) = (cpu.as_secs_f64() * 1e3, probe.as_secs_f64() * 1e3);
            say(&format!("  {cpu:8.1} ms  {status}  slowest probe {probe:5.1} ms  {name}"));
        }
        faults.extend(
            rows.iter().filter(|row| row.0 > most).map(|row| format!("{}: {:?} of CPU", row.1, row.0)),
        );
        let slow = rows.iter().filter(|row| row.3 > PROBE_MAX);
        faults.extend(slow.map(|row| format!("{}: a probe waited {:?}", row.1, row.3)));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Asks whether the gateway lives, until it is told to end; notes the slowest answer in microseconds.
async fn probe(client: Arc<dyn Exchange>, url: String, ended: Arc<AtomicBool>, slowest: Arc<AtomicU64>) {
    while !ended.load(Ordering::Relaxed) {
        let start = Instant::now();
        let mut request = Request::new(bytes::Bytes::new());
        *request.uri_mut() = format!("{url}/livez").parse().expect("a URL");
        let answered = client.send(request).await.is_ok_and(|it| it.status().is_success());
        let waited = if answered { start.elapsed() } else { Duration::MAX };
        slowest.fetch_max(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The CPU time of a process, all of its threads together, as the scheduler counts it.
fn cpu_time(process: u32) -> Duration {
    let tasks = format!("/proc/{process}/task");
    let entries = std::fs::read_dir(Path::new(&tasks)).into_iter().flatten().flatten();
    let nanoseconds = entries.filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
