//! A server that sends exactly the bytes it is told to, for behaviour that no well-kept HTTP server can be made to show.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What the server does for one request, in order.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes these bytes, in one write.
    Write(Vec<u8>),
    /// Resets the connection.
    Reset,
    /// Closes the connection.
    Close,
    /// Keeps the connection open and says nothing more.
    Stall,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The first line.
    pub line: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A scripted server on loopback.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    seen: Log,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What a server does for a request.
type Answers = Arc<dyn Fn(&Seen) -> Vec<Step> + Send + Sync>;

/// The requests so far; `None` where they are not kept.
type Log = Arc<Mutex<Option<Vec<Seen>>>>;

impl Upstream {
    /// Answers the first request with the first script, and so on; the last script is repeated.
    ///
    /// # Panics
    /// When there is no script, or no port.
    pub async fn start(scripts: Vec<Vec<Step>>) -> Self {
        assert!(!scripts.is_empty(), "a server has something to say");
        let scripts = Mutex::new(VecDeque::from(scripts));
        Self::answer_with(move |_| {
            let mut scripts = scripts.lock().expect("no panic while held");
            let script = if scripts.len() > 1 { scripts.pop_front() } else { scripts.front().cloned() };
            script.unwrap_or_default()
        })
        .await
    }

    /// Answers each request with the script that this makes for it.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn answer_with(answers: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(answers, Some(Vec::new())).await
    }

    /// The same, without [`seen`](Self::seen): for more requests than memory has room for.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn answer_without_log(answers: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::listen(answers, None).await
    }

    async fn listen(
        answers: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static,
        log: Option<Vec<Seen>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(log));
        let answers: Answers = Arc::new(answers);
        let open = Arc::new(AtomicUsize::new(0));
        let (log, count) = (Arc::clone(&seen), Arc::clone(&open));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, log, count) = (Arc::clone(&answers), Arc::clone(&log), Arc::clone(&count));
                tokio::spawn(async move {
                    count.fetch_add(1, Ordering::SeqCst);
                    serve(stream, answers, log).await;
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen, open, task }
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    ///
    /// # Panics
    /// When the server's task has panicked.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic while held").clone().unwrap_or_default()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answers: Answers, log: Log) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let script = answers(&request);
        if let Some(log) = log.lock().expect("no panic while held").as_mut() {
            log.push(request);
        }
        for step in script {
            match step {
                Step::Write(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                    // Let the other side read before the next write, so that each write is a read of its own.
                    for _ in 0..8 {
                        tokio::task::yield_now().await;
                    }
                }
                Step::Close => return,
                Step::Reset => {
                    // Linger of zero makes the kernel send a reset instead of an orderly end.
                    let _ = stream.set_zero_linger();
                    return;
                }
                Step::Stall => {
                    let mut byte = [0];
                    while matches!(stream.read(&mut byte).await, Ok(1..)) {}
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        read_more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let whole = end + 4 + length.unwrap_or(0);
    while buffer.len() < whole {
        read_more(stream, buffer).await?;
    }
    let body = buffer[end + 4..whole].to_vec();
    buffer.drain(..whole);
    Some(Seen { line, headers, body })
}

async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut chunk = [0; 16 << 10];
    match stream.read(&mut chunk).await {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            buffer.extend_from_slice(&chunk[..read]);
            Some(())
        }
    }
}

/// A whole answer with a `content-length`.
#[must_use]
pub fn answer(status: &str, content_type: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), body].concat()
}

/// The head of a chunked answer.
#[must_use]
pub fn chunked_head(status: &str, content_type: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n")
        .into_bytes()
}

/// One chunk of HTTP's chunked coding.
#[must_use]
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// The event of one chunk of a streamed completion, in OpenAI's shape.
#[must_use]
pub fn chunk_event(delta: &Value, finish_reason: &Value) -> Vec<u8> {
    let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
    let whole = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]});
    format!("data: {whole}\n\n").into_bytes()
}
