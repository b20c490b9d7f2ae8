//! A gateway among clients and servers that behave badly, for as long as it is told; every request is accounted for.
//!
//! Each request has a nonce: its `x-request-id`, and a word of its prompt. The text of an answer follows from the nonce,
//! so an answer that belongs to another request is seen. Three parties keep count of each nonce: the client, the models'
//! server and the access log. At the end they must agree, and memory and open files must be as they were in the middle.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::process::{Folder, Running};
use crate::say;
use crate::upstream::{Seen, Step, Upstream, answer, chunk, chunk_event, chunked_head};

/// How many clients there are at a time.
const CLIENTS: usize = 32;
/// The most requests of one connection.
const REQUESTS_PER_CONNECTION_MAX: usize = 8;
/// The longest that a client waits for the whole of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that a probe may wait for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that the gateway may take to come to rest once all clients have gone.
const REST_TIMEOUT: Duration = Duration::from_secs(20);
/// How much more memory the gateway may have at the end than in the middle, in bytes.
const MEMORY_GROWTH_MAX: u64 = 24 << 20;
/// How many more open files it may have: connections to models' servers that are kept.
const FILES_GROWTH_MAX: usize = 16;
/// How many faults are shown.
const FAULTS_SHOWN: usize = 20;
/// What the receive buffer of a slow reader has, in bytes: as little as the system allows.
const SLOW_READER_BYTES: u32 = 4 << 10;

/// Lets a program serve for so many minutes.
///
/// # Errors
/// When a request is not accounted for, a probe waits, or the program keeps memory or open files.
///
/// # Panics
/// When the program does not start.
pub async fn run(program: PathBuf, minutes: f64) -> Result<(), String> {
    let ledger = Arc::new(Ledger::default());
    let receipts = Arc::clone(&ledger);
    let upstream = Upstream::answer_without_log(move |seen| {
        let number = nonce_in(&seen.body);
        if let Some(number) = number {
            receipts.receive(number);
        }
        script(seen, number.unwrap_or_default())
    })
    .await;
    let folder = Folder::new("soak");
    let config = folder.file("gateway.toml", configuration(&upstream.url()));
    let mut command = Command::new(program);
    command.args(["serve", "--listen", "127.0.0.1:0", "--access-log", "json", "--config"]).arg(config);
    let mut running = Running::start(command.stderr(Stdio::piped()));
    let line = running.line();
    let address: SocketAddr = line
        .trim_end_matches("/v1")
        .rsplit_once('/')
        .and_then(|(_, address)| address.parse().ok())
        .ok_or_else(|| format!("the program printed {line}"))?;
    let log = running.stderr().expect("it is piped");
    let reader = {
        let ledger = Arc::clone(&ledger);
        std::thread::spawn(move || ledger.read_log(BufReader::new(log)))
    };

    let whole = Duration::try_from_secs_f64(minutes * 60.0).map_err(|error| format!("minutes: {error}"))?;
    let ended = Arc::new(AtomicBool::new(false));
    let probes = tokio::spawn(probe(address, Arc::clone(&ended), Arc::clone(&ledger)));
    let mut states = Vec::new();
    // The first round fills pools and caches; what the second has, the third must have too.
    for part in [whole / 5, whole * 2 / 5, whole * 2 / 5] {
        round(address, part, &ledger).await;
        rest(address, &ledger).await;
        states.push(State::of(running.id()));
    }
    ended.store(true, Ordering::Relaxed);
    let _ = probes.await;
    running.signal("TERM");
    if running.code() != Some(0) {
        ledger.fault("the program did not end with 0".into());
    }
    let _ = reader.join();
    ledger.report(&states)
}

fn configuration(url: &str) -> String {
    let target = |name: &str| {
        format!(
            "[targets.{name}]\nkind = \"openai\"\nbase_url = \"{url}/{name}/v1\"\napi_key = \"upstream-key\"\nretries = 1\n\
             cool_down_seconds = 1\nfirst_byte_seconds = 1\nidle_seconds = 1\n"
        )
    };
    format!(
        "{}{}[[models]]\nname = \"*\"\nto = [{{ target = \"first\" }}, {{ target = \"second\" }}]\n",
        target("first"),
        target("second")
    )
}

/// What is known of one request.
#[derive(Debug, Default)]
struct Entry {
    /// How it ended for the client.
    ended: Option<Ending>,
    /// Its line in the access log.
    logged: Option<Value>,
    /// How often it came to a models' server.
    received: u64,
}

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With an answer of this status, whole or with an error as its last event.
    Answer(u16),
    /// The client left.
    Left,
    /// The gateway took the end of the client's half for the end of the connection: the two look alike, and a client that
    /// has left must not cost what its answer costs.
    TakenForLeft,
}

#[derive(Debug, Default)]
struct Ledger {
    next: AtomicU64,
    /// Requests that are not settled yet.
    open: Mutex<HashMap<u64, Entry>>,
    /// How many ended in which way.
    ways: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<(u64, Vec<String>)>,
    slowest_probe: AtomicU64,
}

impl Ledger {
    fn begin(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().expect("no panic while held").insert(number, Entry::default());
        number
    }

    fn receive(&self, number: u64) {
        // A request whose client has left may still arrive after it is settled.
        if let Some(entry) = self.open.lock().expect("no panic while held").get_mut(&number) {
            entry.received += 1;
        }
    }

    fn end(&self, number: u64, way: &str, result: Result<Ending, String>) {
        match result {
            Ok(ending) => {
                let how = match ending {
                    Ending::Answer(status) => format!("{way}: {status}"),
                    Ending::Left => format!("{way}: left"),
                    Ending::TakenForLeft => format!("{way}: taken for one that left"),
                };
                *self.ways.lock().expect("no panic while held").entry(how).or_default() += 1;
                self.change(number, |entry| entry.ended = Some(ending));
            }
            Err(fault) => {
                self.fault(format!("{}: {way}: {fault}", nonce(number)));
                self.open.lock().expect("no panic while held").remove(&number);
            }
        }
    }

    /// Reads the access log to its end.
    fn read_log(&self, log: impl BufRead) {
        for line in log.lines().map_while(Result::ok) {
            let Ok(entry) = serde_json::from_str::<Value>(&line) else {
                if line.contains("panicked") || line.contains("lost") {
                    self.fault(format!("the program wrote: {line}"));
                }
                continue;
            };
            let number = entry["request_id"].as_str().and_then(|it| nonce_in(it.as_bytes()));
            if let Some(number) = number {
                self.change(number, |known| match known.logged {
                    None => known.logged = Some(entry),
                    Some(_) => known.received = u64::MAX,
                });
            }
        }
    }

    /// Changes an entry, and settles it when all is known.
    fn change(&self, number: u64, change: impl FnOnce(&mut Entry)) {
        let mut open = self.open.lock().expect("no panic while held");
        let Some(entry) = open.get_mut(&number) else {
            drop(open);
            return self.fault(format!("{}: logged twice, or after it had failed", nonce(number)));
        };
        change(entry);
        if entry.ended.is_some() && entry.logged.is_some() {
            let entry = open.remove(&number);
            drop(open);
            if let Some(fault) = entry.and_then(|entry| entry.disagreement()) {
                self.fault(format!("{}: {fault}", nonce(number)));
            }
        }
    }

    fn fault(&self, fault: String) {
        let mut faults = self.faults.lock().expect("no panic while held");
        faults.0 += 1;
        if faults.1.len() < FAULTS_SHOWN {
            faults.1.push(fault);
        }
    }

    fn unsettled(&self) -> usize {
        self.open.lock().expect("no panic while held").len()
    }

    fn report(&self, states: &[State]) -> Result<(), String> {
        for (way, count) in self.ways.lock().expect("no panic while held").iter() {
            say(&format!("{count:8}  {way}"));
        }
        for (name, state) in ["after the first fifth", "after three fifths", "at the end"].iter().zip(states)
        {
            say(&format!("{name}: {} KiB of memory, {} open files", state.memory >> 10, state.files));
        }
        let slowest = Duration::from_micros(self.slowest_probe.load(Ordering::Relaxed));
        say(&format!("slowest probe: {slowest:?}"));
        if let [_, middle, end] = states {
            if end.memory > middle.memory + MEMORY_GROWTH_MAX {
                self.fault(format!("memory grew from {} to {} bytes", middle.memory, end.memory));
            }
            if end.files > middle.files + FILES_GROWTH_MAX {
                self.fault(format!("open files grew from {} to {}", middle.files, end.files));
            }
        }
        let requests = self.next.load(Ordering::Relaxed);
        let unsettled = self.unsettled();
        for (number, entry) in self.open.lock().expect("no panic while held").iter().take(FAULTS_SHOWN) {
            say(&format!("not accounted for: {} {entry:?}", nonce(*number)));
        }
        let faults = self.faults.lock().expect("no panic while held");
        for fault in &faults.1 {
            say(fault);
        }
        say(&format!("{requests} requests, {unsettled} not accounted for, {} faults", faults.0));
        if requests == 0 {
            return Err("no request was sent".into());
        }
        if unsettled == 0 && faults.0 == 0 { Ok(()) } else { Err("the soak has found faults".into()) }
    }
}

impl Entry {
    /// What the client, the models' server and the log do not agree on.
    fn disagreement(&self) -> Option<String> {
        let logged = self.logged.as_ref()?;
        let status = logged["status"].as_u64().unwrap_or_default();
        let is_same = match self.ended? {
            Ending::Answer(seen) => status == u64::from(seen),
            // Its answer may have been whole before it left.
            Ending::Left => true,
            Ending::TakenForLeft => status == 499,
        };
        if !is_same {
            return Some(format!("the client has {:?}, the log {logged}", self.ended));
        }
        let count = |name: &str| logged[name].as_u64().unwrap_or_default();
        let sent = count("attempts") + count("resent");
        if self.received > sent {
            return Some(format!("a server received it {} times, the log has {logged}", self.received));
        }
        let needs_server = matches!(self.ended, Some(Ending::Answer(200)));
        (needs_server && self.received == 0)
            .then(|| format!("it has an answer and came to no server; the log has {logged}"))
    }
}

fn nonce(number: u64) -> String {
    format!("soak-{number:010}")
}

fn nonce_in(bytes: &[u8]) -> Option<u64> {
    let start = bytes.windows(5).position(|it| it == b"soak-")? + 5;
    std::str::from_utf8(bytes.get(start..start + 10)?).ok()?.parse().ok()
}

/// The pieces of the answer to a request.
fn pieces(number: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(number);
    // Once in a while a piece is a picture.
    let large = if random.u8(..) < 4 { 1 << random.u32(16..21) } else { 0 };
    let count = random.usize(1..24);
    (0..count)
        .map(|i| {
            let size = if i == 0 && large > 0 { large } else { random.usize(0..200) };
            let filler = char::from(random.u8(b'a'..=b'z')).to_string().repeat(size);
            format!("{} {i} {filler} ", nonce(number))
        })
        .collect()
}

/// What a models' server does with a request.
fn script(seen: &Seen, number: u64) -> Vec<Step> {
    let is_stream = seen.body.windows(13).any(|it| it == b"\"stream\":true");
    let good = if is_stream { good_stream(number) } else { good_answer(number) };
    let failed = |status: &str, content_type: &str, headers: &[(&str, &str)], body: &[u8]| {
        vec![Step::Write(answer(status, content_type, headers, body))]
    };
    let json = "application/json";
    let cut = |last: Step| {
        let mut steps = split(&good[..fastrand::usize(..good.len())]);
        steps.push(last);
        steps
    };
    match fastrand::u8(..100) {
        0..3 => failed(
            "429 Too Many Requests",
            json,
            &[("retry-after", "0")],
            br#"{"error":{"message":"slow down"}}"#,
        ),
        3..6 => failed("500 Internal Server Error", json, &[], br#"{"error":{"message":"broken"}}"#),
        6..9 => failed(
            "503 Service Unavailable",
            json,
            &[],
            br#"[{"error":{"code":503,"message":"later","status":"UNAVAILABLE"}}]"#,
        ),
        9..11 => failed("502 Bad Gateway", "text/html", &[], b"<html>a proxy's page</html>"),
        11..13 => failed("400 Bad Request", json, &[], br#"{"error":{"message":"no such thing"}}"#),
        13..16 => vec![Step::Reset],
        16..19 => vec![Step::Close],
        19..23 => cut(Step::Close),
        23..26 => cut(Step::Reset),
        26..28 => vec![Step::Write(b"SSH-2.0-server\r\n\r\n".to_vec()), Step::Close],
        28..30 => garbage(is_stream, number),
        30..32 => failed_later(is_stream, number),
        32 => cut(Step::Stall),
        33 => vec![Step::Stall],
        _ => split(&good),
    }
}

/// Bytes in up to five writes.
fn split(bytes: &[u8]) -> Vec<Step> {
    let mut ends: Vec<usize> = (0..fastrand::usize(..5)).map(|_| fastrand::usize(..=bytes.len())).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .filter(|end| *end > 0)
        .map(|end| Step::Write(bytes[std::mem::replace(&mut start, end)..end].to_vec()))
        .collect()
}

fn good_answer(number: u64) -> Vec<u8> {
    let message = json!({"role": "assistant", "content": pieces(number).concat()});
    let body = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    });
    answer("200 OK", "application/json", &[], body.to_string().as_bytes())
}

fn good_stream(number: u64) -> Vec<u8> {
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    for piece in pieces(number) {
        bytes.extend(chunk(&chunk_event(&json!({"role": "assistant", "content": piece}), &Value::Null)));
    }
    bytes.extend(chunk(&chunk_event(&json!({}), &json!("stop"))));
    bytes.extend(chunk(b"data: [DONE]\n\n"));
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// An answer with something else in it than what was agreed on.
fn garbage(is_stream: bool, number: u64) -> Vec<Step> {
    if !is_stream {
        return vec![Step::Write(answer("200 OK", "application/json", &[], b"{\"choices\": [nonsense"))];
    }
    let first = pieces(number).swap_remove(0);
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    bytes.extend(chunk(&chunk_event(&json!({"content": first}), &Value::Null)));
    bytes.extend(chunk(b"data: {\"choices\": [nonsense\n\n"));
    bytes.extend(b"0\r\n\r\n");
    vec![Step::Write(bytes)]
}

/// An answer that says in its midst that it failed.
fn failed_later(is_stream: bool, number: u64) -> Vec<Step> {
    let error = json!({"error": {"code": 500, "message": "broken", "status": "INTERNAL"}});
    if !is_stream {
        return vec![Step::Write(answer("200 OK", "application/json", &[], error.to_string().as_bytes()))];
    }
    let first = pieces(number).swap_remove(0);
    let mut bytes = chunked_head("200 OK", "text/event-stream");
    bytes.extend(chunk(&chunk_event(&json!({"content": first}), &Value::Null)));
    bytes.extend(chunk(format!("data: {error}\n\n").as_bytes()));
    bytes.extend(b"0\r\n\r\n");
    vec![Step::Write(bytes)]
}

/// Lets all clients work for a while.
async fn round(address: SocketAddr, time: Duration, ledger: &Arc<Ledger>) {
    let end = Instant::now() + time;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let ledger = Arc::clone(ledger);
            tokio::spawn(async move {
                while Instant::now() < end {
                    connection(address, &ledger).await;
                }
            })
        })
        .collect();
    for client in clients {
        if client.await.is_err() {
            ledger.fault("a client panicked".into());
        }
    }
}

/// Waits until every request is settled and the gateway says that none runs.
async fn rest(address: SocketAddr, ledger: &Ledger) {
    let end = Instant::now() + REST_TIMEOUT;
    loop {
        let metrics = get(address, "/metrics").await.unwrap_or_default();
        let is_idle = metrics.lines().any(|line| line == "vertex_chat_requests_in_flight 0");
        if is_idle && ledger.unsettled() == 0 {
            return;
        }
        if Instant::now() > end {
            let running = metrics.lines().find(|line| line.starts_with("vertex_chat_requests_in_flight"));
            return ledger
                .fault(format!("not at rest: {} requests are open, {running:?}", ledger.unsettled()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn probe(address: SocketAddr, ended: Arc<AtomicBool>, ledger: Arc<Ledger>) {
    while !ended.load(Ordering::Relaxed) {
        let start = Instant::now();
        if get(address, "/livez").await.as_deref() != Some("ok") {
            ledger.fault("a probe was not answered".into());
        }
        let waited = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        ledger.slowest_probe.fetch_max(waited, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A `GET` over a connection of its own: the body of a 200.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let asked = async {
        let mut client = Client::new(TcpStream::connect(address).await.ok()?);
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        client.stream.write_all(request.as_bytes()).await.ok()?;
        let got = client.answer().await.ok()?;
        (got.status == 200).then(|| String::from_utf8_lossy(&got.body).trim().to_owned())
    };
    tokio::time::timeout(PROBE_TIMEOUT, asked).await.ok()?
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Sends all and reads all.
    Patient,
    /// Reads a little at a time.
    ReadsSlowly,
    /// Writes a little at a time.
    WritesSlowly,
    /// Closes its half of the connection once it has sent its request.
    ClosesItsHalf,
    /// Closes the connection in the midst of its request.
    LeavesWhileWriting,
    /// Closes or resets the connection in the midst of the answer.
    LeavesWhileReading,
}

impl Way {
    fn any() -> Self {
        match fastrand::u8(..20) {
            0..2 => Self::ReadsSlowly,
            2..4 => Self::WritesSlowly,
            4..6 => Self::ClosesItsHalf,
            6..8 => Self::LeavesWhileWriting,
            8..11 => Self::LeavesWhileReading,
            _ => Self::Patient,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::ReadsSlowly => "reads slowly",
            Self::WritesSlowly => "writes slowly",
            Self::ClosesItsHalf => "closes its half",
            Self::LeavesWhileWriting => "leaves while it writes",
            Self::LeavesWhileReading => "leaves while it reads",
        }
    }
}

/// One connection with some requests.
async fn connection(address: SocketAddr, ledger: &Ledger) {
    let way = Way::any();
    let Ok(socket) = TcpSocket::new_v4() else { return };
    if way == Way::ReadsSlowly {
        let _ = socket.set_recv_buffer_size(SLOW_READER_BYTES);
    }
    let stream = match socket.connect(address).await {
        Ok(stream) => stream,
        Err(error) => return ledger.fault(format!("no connection: {error}")),
    };
    let mut client = Client::new(stream);
    client.is_slow = way == Way::ReadsSlowly;
    for _ in 0..fastrand::usize(1..=REQUESTS_PER_CONNECTION_MAX) {
        let number = ledger.begin();
        let asked = tokio::time::timeout(ANSWER_TIMEOUT, client.ask(number, way)).await;
        let result = asked.unwrap_or_else(|_| Err("no whole answer in time".into()));
        let is_last = client.is_closing || !matches!(result, Ok(Ending::Answer(_)));
        ledger.end(number, way.name(), result);
        if is_last {
            return;
        }
    }
}

/// A client's side of a connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    is_slow: bool,
    /// How many bytes it still reads before it leaves.
    patience: Option<usize>,
    /// Whether the connection ends with this answer.
    is_closing: bool,
}

/// A whole answer.
struct Got {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// Why there is no whole answer.
enum NoAnswer {
    Left,
    Fault(String),
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new(), is_slow: false, patience: None, is_closing: false }
    }

    async fn ask(&mut self, number: u64, way: Way) -> Result<Ending, String> {
        let is_stream = fastrand::bool();
        let filler = match fastrand::u8(..) {
            0..4 => fastrand::usize(..400 << 10),
            _ => fastrand::usize(..2 << 10),
        };
        let prompt = format!("{} {}", nonce(number), "x".repeat(filler));
        let body =
            json!({"model": "m", "stream": is_stream, "messages": [{"role": "user", "content": prompt}]});
        let body = body.to_string();
        let mut request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nx-request-id: {}\r\n\
             content-length: {}\r\n\r\n",
            nonce(number),
            body.len()
        )
        .into_bytes();
        let head = request.len();
        request.extend(body.as_bytes());
        match way {
            Way::WritesSlowly => {
                for piece in request.chunks(request.len() / 16 + 1) {
                    self.write(piece).await?;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            Way::LeavesWhileWriting => {
                self.write(&request[..fastrand::usize(head..request.len())]).await?;
                self.leave();
                return Ok(Ending::Left);
            }
            _ => self.write(&request).await?,
        }
        if way == Way::ClosesItsHalf {
            self.is_closing = true;
            self.stream.shutdown().await.map_err(|error| format!("its half did not close: {error}"))?;
        }
        if way == Way::LeavesWhileReading {
            self.patience = Some(fastrand::usize(..4 << 10));
        }
        let got = match self.answer().await {
            Ok(got) => got,
            Err(NoAnswer::Left) => {
                self.leave();
                return Ok(Ending::Left);
            }
            Err(NoAnswer::Fault(_)) if way == Way::ClosesItsHalf => return Ok(Ending::TakenForLeft),
            Err(NoAnswer::Fault(fault)) => return Err(fault),
        };
        if !got.head.contains(&format!("x-request-id: {}\r\n", nonce(number))) {
            return Err(format!("an answer of another request: {}", got.head));
        }
        judge(number, is_stream, &got)
            .map_err(|fault| format!("{fault} in {} {}", got.head, shown(&got.body)))?;
        Ok(Ending::Answer(got.status))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| format!("the request was not read: {error}"))
    }

    /// Ends the connection, in order or with a reset.
    fn leave(&mut self) {
        self.is_closing = true;
        if fastrand::bool() {
            let _ = self.stream.set_zero_linger();
        }
    }

    async fn answer(&mut self) -> Result<Got, NoAnswer> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or_else(|| NoAnswer::Fault(format!("no status: {head}")))?;
        self.is_closing |= head.contains("\r\nconnection: close\r\n");
        let mut body = Vec::new();
        if head.contains("\r\ntransfer-encoding: chunked\r\n") {
            loop {
                let line = self.until(b"\r\n").await?;
                let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16);
                let size = size.map_err(|_| NoAnswer::Fault("a chunk without a size".into()))?;
                let piece = self.take(size + 2).await?;
                body.extend_from_slice(&piece[..size]);
                if size == 0 {
                    break;
                }
            }
        } else {
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|it| it.parse().ok());
            body = self.take(length.ok_or_else(|| NoAnswer::Fault(format!("no length: {head}")))?).await?;
        }
        Ok(Got { status, head, body })
    }

    async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, NoAnswer> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, size: usize) -> Result<Vec<u8>, NoAnswer> {
        while self.buffer.len() < size {
            self.more().await?;
        }
        Ok(self.buffer.drain(..size).collect())
    }

    async fn more(&mut self) -> Result<(), NoAnswer> {
        let most = if self.is_slow { 4 << 10 } else { 64 << 10 };
        let most = self.patience.map_or(most, |left| left.min(most));
        if most == 0 {
            return Err(NoAnswer::Left);
        }
        if self.is_slow {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let start = self.buffer.len();
        self.buffer.resize(start + most, 0);
        let read = self.stream.read(&mut self.buffer[start..]).await;
        self.buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(NoAnswer::Fault(format!(
                "the connection ended; of the answer there is {}",
                shown(&self.buffer)
            ))),
            Ok(read) => {
                self.patience = self.patience.map(|left| left - read);
                Ok(())
            }
            Err(error) => Err(NoAnswer::Fault(format!("the connection failed: {error}"))),
        }
    }
}

/// Whether an answer is what it must be.
fn judge(number: u64, is_stream: bool, got: &Got) -> Result<(), String> {
    let expected = pieces(number).concat();
    if got.status != 200 {
        let error: Value = serde_json::from_slice(&got.body).map_err(|_| "an error that is no JSON")?;
        let has_message = error["error"]["message"].as_str().is_some_and(|it| !it.is_empty());
        return if has_message { Ok(()) } else { Err("an error without a message".into()) };
    }
    if !is_stream {
        let whole: Value = serde_json::from_slice(&got.body).map_err(|_| "an answer that is no JSON")?;
        let content = whole["choices"][0]["message"]["content"].as_str();
        return if content == Some(&expected) { Ok(()) } else { Err("an answer with another text".into()) };
    }
    let mut content = String::new();
    let (mut is_done, mut has_error) = (false, false);
    for data in String::from_utf8_lossy(&got.body).lines().filter_map(|line| line.strip_prefix("data: ")) {
        if is_done || has_error {
            return Err("an event after the last one".into());
        }
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let event: Value = serde_json::from_str(data).map_err(|_| "an event that is no JSON")?;
        has_error = event.get("error").is_some();
        content.push_str(event["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
    }
    match (is_done, has_error) {
        (true, _) if content == expected => Ok(()),
        (true, _) => Err("a stream that says it is whole with another text".into()),
        (false, true) if expected.starts_with(&content) => Ok(()),
        (false, true) => Err("a stream with another text before its error".into()),
        (false, false) => Err("a stream that ends without [DONE] and without an error".into()),
    }
}

/// The beginning and the end of bytes.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<char> = text.chars().collect();
    if all.len() <= 600 {
        return text.into_owned();
    }
    format!(
        "{} … {}",
        all[..300].iter().collect::<String>(),
        all[all.len() - 300..].iter().collect::<String>()
    )
}

/// What the program holds.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Resident memory, in bytes.
    memory: u64,
    files: usize,
}

impl State {
    /// Of a process, where there is `/proc`; else nothing.
    fn of(process: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|it| it.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let files = std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count);
        Self { memory: memory.unwrap_or_default() << 10, files }
    }
}
