//! The clients of the gateway benchmark: connections that ask, read and check the answer, and ask again.
//!
//! `bench-gateway-load unary BASE MODEL KEY CONNECTIONS SECONDS KILOBYTES`: whole answers to a prompt of that size.
//! `bench-gateway-load stream BASE MODEL KEY CONNECTIONS SECONDS CHUNKS PACE_MS`: streams of so many chunks of content, so
//! far apart; 0 is a burst. With 0 seconds every connection asks once, which is how slow streams are held open.
//!
//! Connections begin spread over the first pace, so that streams do not tick together. An answer that is late is slow, an
//! answer that is not 200, or not whole, or has not that many chunks, is an error. One line of JSON is printed; times are
//! microseconds, and `gap_max` is the longest that any stream was silent, its beginning included.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use memchr::memmem::Finder;
use tokio::net::TcpStream;

/// How long a connection waits after an error: a gateway that is down is not to be hammered.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one exchange may take: a gateway that forgets it is wrong, and the benchmark ends all the same.
const EXCHANGE_MAX: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What every connection does.
struct Plan {
    address: String,
    uri: Uri,
    key: String,
    body: Bytes,
    /// The chunks of content that a stream must have; none if the answer is whole.
    chunks: Option<u64>,
    pace: u64,
    until: Instant,
}

#[derive(Default)]
struct Tally {
    requests: u64,
    errors: u64,
    error: Option<String>,
    chunks: u64,
    latencies: Vec<u64>,
    firsts: Vec<u64>,
    gap_max: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| arguments[i].parse::<u64>().expect("a number");
    let (base, model, key) = (&arguments[1], &arguments[2], &arguments[3]);
    let (connections, seconds) = (number(4), arguments[5].parse().expect("a number"));
    let stream = arguments[0] == "stream";
    let (chunks, pace) = if stream { (Some(number(6)), number(7)) } else { (None, 0) };
    let kilobytes = if stream { 1 } else { number(6) };

    let uri: Uri = format!("{base}/chat/completions").parse().expect("a URL");
    let plan: &Plan = Box::leak(Box::new(Plan {
        address: uri.authority().expect("a host").to_string(),
        uri: uri.path().parse().expect("because it is the path of a URL"),
        key: format!("Bearer {key}"),
        body: body(model, kilobytes as usize * 1024, chunks, pace),
        chunks,
        pace,
        until: Instant::now() + Duration::from_secs_f64(seconds),
    }));
    let tasks: Vec<_> = (0..connections)
        .map(|i| {
            let begin = Duration::from_millis(pace) * i as u32 / connections as u32;
            tokio::spawn(connection(plan, begin))
        })
        .collect();

    let mut all = Tally::default();
    for task in tasks {
        let one = task.await.expect("because no connection panics");
        all.requests += one.requests;
        all.errors += one.errors;
        all.error = all.error.or(one.error);
        all.chunks += one.chunks;
        all.latencies.extend(one.latencies);
        all.firsts.extend(one.firsts);
        all.gap_max = all.gap_max.max(one.gap_max);
    }
    all.latencies.sort_unstable();
    all.firsts.sort_unstable();
    let part = |of: &[u64], share: f64| of.get((of.len() as f64 * share) as usize).copied().unwrap_or(0);
    println!(
        r#"{{"requests":{},"errors":{},"error":{:?},"chunks":{},"latency_p50":{},"latency_p99":{},"ttft_p50":{},"ttft_p99":{},"gap_max":{}}}"#,
        all.requests,
        all.errors,
        all.error.unwrap_or_default().replace(char::is_control, " "),
        all.chunks,
        part(&all.latencies, 0.5),
        part(&all.latencies, 0.99),
        part(&all.firsts, 0.5),
        part(&all.firsts, 0.99),
        all.gap_max
    );
}

/// Asks over and over until the time is up, at least once.
async fn connection(plan: &'static Plan, begin: Duration) -> Tally {
    let mut tally = Tally::default();
    tokio::time::sleep(begin).await;
    let mut sender = None;
    loop {
        let exchange = tokio::time::timeout(EXCHANGE_MAX, ask(plan, &mut sender, &mut tally)).await;
        if let Err(error) = exchange.unwrap_or_else(|late| Err(late.into())) {
            tally.errors += 1;
            tally.error = Some(error.to_string());
            sender = None;
            tokio::time::sleep(PAUSE).await;
        }
        if Instant::now() >= plan.until {
            return tally;
        }
    }
}

/// One exchange, over the connection at hand or a new one.
async fn ask(
    plan: &Plan,
    sender: &mut Option<SendRequest<Full<Bytes>>>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    if sender.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(&plan.address).await?;
        stream.set_nodelay(true)?;
        let (new, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        *sender = Some(new);
    }
    let sender = sender.as_mut().expect("because it was made if it was not there");
    sender.ready().await?;
    let request = Request::post(plan.uri.clone())
        .header("host", &plan.address)
        .header("content-type", "application/json")
        .header("authorization", &plan.key)
        .header("x-pace-ms", plan.pace)
        .body(Full::new(plan.body.clone()))?;

    let begun = Instant::now();
    let response = sender.send_request(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let Some(wanted) = plan.chunks.filter(|_| status == StatusCode::OK) else {
        let body = body.collect().await?.to_bytes();
        if status != StatusCode::OK || memchr::memmem::find(&body, b"any right to be.\"").is_none() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        tally.requests += 1;
        tally.latencies.push(begun.elapsed().as_micros() as u64);
        return Ok(());
    };
    let (mut reader, mut first, mut heard) = (Reader::new(), None, begun);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        let now = Instant::now();
        first.get_or_insert(now - begun);
        tally.gap_max = tally.gap_max.max((now - heard).as_micros() as u64);
        heard = now;
        reader.read(&data);
    }
    if !reader.done || !reader.finished || reader.chunks != wanted {
        return Err(format!("a stream of {} chunks, done: {}", reader.chunks, reader.done).into());
    }
    tally.requests += 1;
    tally.chunks += reader.chunks;
    tally.latencies.push(begun.elapsed().as_micros() as u64);
    tally.firsts.push(first.unwrap_or_default().as_micros() as u64);
    Ok(())
}

/// Counts what comes, which proxies may cut anywhere.
struct Reader {
    rest: Vec<u8>,
    content: Finder<'static>,
    finish: Finder<'static>,
    chunks: u64,
    finished: bool,
    done: bool,
}

impl Reader {
    fn new() -> Self {
        let (content, finish) = (Finder::new(r#""content":""#), Finder::new(r#""finish_reason":"stop""#));
        Self { rest: Vec::new(), content, finish, chunks: 0, finished: false, done: false }
    }

    fn read(&mut self, data: &[u8]) {
        self.rest.extend_from_slice(data);
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &self.rest[start..]) {
            let line = &self.rest[start..start + length];
            start += length + 1;
            let Some(event) = line.strip_prefix(b"data: ") else { continue };
            // Nothing comes after the end.
            self.done = !self.done && event.starts_with(b"[DONE]");
            self.finished |= self.finish.find(event).is_some();
            if let Some(at) = self.content.find(event)
                && event.get(at + self.content.needle().len()) != Some(&b'"')
            {
                self.chunks += 1;
            }
        }
        self.rest.drain(..start);
    }
}

/// A request with a prompt that has what prompts have: words, lines, quotations, letters beyond ASCII. The keys are in the
/// order in which OpenAI's Python library sends them.
fn body(model: &str, length: usize, chunks: Option<u64>, pace: u64) -> Bytes {
    const SENTENCES: [&str; 8] = [
        r"The night bus had been late again, and nobody on it seemed to mind. ",
        r#"\"You will have to open it,\" said the driver, \"before we reach the bridge.\" "#,
        r"Mira put the backpack on her knees; it was warm, as though somebody had just taken it off.\n",
        r"Outside, the canal ran beside the road for two miles and then turned away under the willows. ",
        r"At the café in Gdańsk they still spoke of naïve Señor Müller and his 12.5 € umbrella.\n\n",
        r"First she counted the pockets: seven, then eight, then seven again. ",
        r#"There was a label, and on the label in faded ink: \"Return to platform 4 \u2014 if it is there.\"\n"#,
        r"It is hard to say what happened next, because those who saw it do not agree about the order of things. ",
    ];
    let (mut prompt, mut i) = (String::with_capacity(length + 256), 0_usize);
    while prompt.len() + 100 < length {
        // Not round and round: a scanner must not learn the way.
        prompt.push_str(SENTENCES[(i + i * i / 7) % SENTENCES.len()]);
        i += 1;
    }
    let max_tokens = chunks.unwrap_or(64);
    let stream = if chunks.is_some() { r#","stream":true"# } else { "" };
    Bytes::from(format!(
        r#"{{"messages":[{{"role":"user","content":"{prompt}"}}],"model":"{model}","max_tokens":{max_tokens},"seed":{pace}{stream}}}"#
    ))
}
