//! The far side of the client benchmark: answers as fast as it can, over HTTP/1.1 without TLS.
//!
//! The path says what: `/N/K/…/chat/completions` is a stream of N chunks, K events in each HTTP chunk; a request that does
//! not ask for a stream gets a whole answer. The port is the first line that is printed.

use std::io::Write;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One chunk in Vertex's shape, some 330 bytes, with a field that no client has a name for: ours keeps it.
const EVENT: &str = r#"data: {"choices":[{"delta":{"content":" backpack and","role":"assistant"},"index":0,"logprobs":null}],"created":1770850461,"id":"nQiNafGyF5rw998PstqooAY","model":"google/gemini-2.5-flash","object":"chat.completion.chunk","system_fingerprint":"","serving_region":"us-central1"}

"#;

const LAST: &str = r#"data: {"choices":[{"delta":{"content":".","role":"assistant"},"finish_reason":"stop","index":0,"logprobs":null}],"created":1770850461,"id":"nQiNafGyF5rw998PstqooAY","model":"google/gemini-2.5-flash","object":"chat.completion.chunk","system_fingerprint":"","usage":{"completion_tokens":16,"prompt_tokens":7,"total_tokens":23}}

data: [DONE]

"#;

const WHOLE: &str = r#"{"choices":[{"finish_reason":"stop","index":0,"logprobs":null,"message":{"content":"Mira found the backpack on the last seat of the night bus, green and patched and lighter than it had any right to be.","role":"assistant"}}],"created":1770852204,"id":"bA-NacCPKoae_9MPsNCn6Qc","model":"google/gemini-2.5-flash","object":"chat.completion","system_fingerprint":"","usage":{"completion_tokens":25,"extra_properties":{"google":{"traffic_type":"ON_DEMAND"}},"prompt_tokens":9,"total_tokens":34}}"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    std::io::stdout().flush().expect("somebody listens");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = read_request(&mut stream).await {
        let mut parts = path.split('/').skip(1).map(|part| part.parse::<usize>().unwrap_or(1));
        let (chunks, per_read) = (parts.next().unwrap_or(1), parts.next().unwrap_or(1));
        let asks_for_stream = body.windows(13).any(|window| window == b"\"stream\":true");
        let written = if asks_for_stream {
            write_stream(stream.get_mut(), chunks, per_read).await
        } else {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                WHOLE.len()
            );
            stream.get_mut().write_all(format!("{head}{WHOLE}").as_bytes()).await
        };
        if written.is_err() {
            return;
        }
    }
}

async fn write_stream(stream: &mut TcpStream, chunks: usize, per_read: usize) -> std::io::Result<()> {
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await?;
    let mut left = chunks;
    while left > 0 {
        let now = left.min(per_read);
        let events = EVENT.repeat(now);
        stream.write_all(format!("{:x}\r\n{events}\r\n", events.len()).as_bytes()).await?;
        left -= now;
    }
    stream.write_all(format!("{:x}\r\n{LAST}\r\n0\r\n\r\n", LAST.len()).as_bytes()).await
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((path, body))
}
