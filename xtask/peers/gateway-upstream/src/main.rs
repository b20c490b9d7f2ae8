//! What all gateways of the benchmark stand before: a model that answers at once, over HTTP/1.1 without TLS.
//!
//! The path says in whose shape: under `/gemini/` as Vertex does for Gemini, elsewhere as OpenAI does. A stream has
//! `max_tokens` chunks, `x-pace-ms` apart or, as gateways drop headers, `seed` milliseconds apart; 0 is a burst. Every
//! event is an HTTP chunk of its own. The port is the first line that is printed.

use std::convert::Infallible;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::{Instant, Interval, interval_at};

const CHUNKS_DEFAULT: u64 = 16;

/// One way to answer.
struct Shape {
    whole: &'static str,
    /// Comes before the chunks of content.
    first: Option<&'static str>,
    chunk: &'static str,
    last: &'static str,
    /// Whether the last event is a chunk of content itself.
    last_has_content: bool,
}

/// The role comes alone, `finish_reason` is in every chunk and null but in the last, which has no content.
const OPENAI: Shape = Shape {
    whole: r#"{"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion","created":1770852204,"model":"fake","choices":[{"index":0,"message":{"role":"assistant","content":"Mira found the backpack on the last seat of the night bus, green and patched and lighter than it had any right to be.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":25,"total_tokens":44,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},"service_tier":"default"}"#,
    first: Some(
        r#"data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1770850461,"model":"fake","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

"#,
    ),
    chunk: r#"data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1770850461,"model":"fake","choices":[{"index":0,"delta":{"content":" backpack"},"logprobs":null,"finish_reason":null}]}

"#,
    last: r#"data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1770850461,"model":"fake","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

"#,
    last_has_content: false,
};

/// The keys are sorted, the role is in every delta, `finish_reason` is only in the last chunk, beside the usage.
const GEMINI: Shape = Shape {
    whole: r#"{"choices":[{"finish_reason":"stop","index":0,"logprobs":null,"message":{"content":"Mira found the backpack on the last seat of the night bus, green and patched and lighter than it had any right to be.","role":"assistant"}}],"created":1770852204,"id":"bA-NacCPKoae_9MPsNCn6Qc","model":"google/gemini-2.5-flash","object":"chat.completion","system_fingerprint":"","usage":{"completion_tokens":25,"completion_tokens_details":{"reasoning_tokens":0},"extra_properties":{"google":{"traffic_type":"ON_DEMAND"}},"prompt_tokens":19,"total_tokens":44}}"#,
    first: None,
    chunk: r#"data: {"choices":[{"delta":{"content":" backpack and","role":"assistant"},"index":0,"logprobs":null}],"created":1770850461,"id":"nQiNafGyF5rw998PstqooAY","model":"google/gemini-2.5-flash","object":"chat.completion.chunk","system_fingerprint":""}

"#,
    last: r#"data: {"choices":[{"delta":{"content":".","role":"assistant"},"finish_reason":"stop","index":0,"logprobs":null}],"created":1770850461,"id":"nQiNafGyF5rw998PstqooAY","model":"google/gemini-2.5-flash","object":"chat.completion.chunk","system_fingerprint":"","usage":{"completion_tokens":16,"extra_properties":{"google":{"traffic_type":"ON_DEMAND"}},"prompt_tokens":7,"total_tokens":23}}

"#,
    last_has_content: true,
};

const DONE: &str = "data: [DONE]\n\n";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    std::io::stdout().flush().expect("somebody listens");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let _ = stream.set_nodelay(true);
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Answer>, hyper::Error> {
    let shape = if request.uri().path().starts_with("/gemini/") { &GEMINI } else { &OPENAI };
    let fits = request.method() == Method::POST && request.uri().path().ends_with("/chat/completions");
    let pace = request.headers().get("x-pace-ms").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = request.into_body().collect().await?.to_bytes();
    if !fits {
        let mut response = Response::new(Answer::Whole(None));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return Ok(response);
    }
    let (answer, kind) = if value(&body, "stream").is_some_and(|it| it.starts_with(b"true")) {
        let chunks = number(&body, "max_tokens").unwrap_or(CHUNKS_DEFAULT);
        let pace = pace.or_else(|| number(&body, "seed")).unwrap_or(0);
        (Answer::Events(Events::new(shape, chunks, pace)), "text/event-stream")
    } else {
        (Answer::Whole(Some(Bytes::from_static(shape.whole.as_bytes()))), "application/json")
    };
    let mut response = Response::new(answer);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// What follows a key. In a prompt the key would have escaped quotes, so that a search is enough.
fn value<'a>(body: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let at = memchr::memmem::find(body, format!("\"{key}\"").as_bytes())?;
    Some(body[at + key.len() + 2..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

fn number(body: &[u8], key: &str) -> Option<u64> {
    let value = value(body, key)?;
    let digits = value.iter().take_while(|it| it.is_ascii_digit()).count();
    std::str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

/// The body of an answer.
enum Answer {
    Whole(Option<Bytes>),
    Events(Events),
}

struct Events {
    shape: &'static Shape,
    /// The event that is next, and how many there are, `[DONE]` included.
    next: u64,
    count: u64,
    pace: Option<Interval>,
}

impl Events {
    fn new(shape: &'static Shape, chunks: u64, pace: u64) -> Self {
        let pace = Duration::from_millis(pace);
        let count = u64::from(shape.first.is_some()) + chunks + u64::from(!shape.last_has_content) + 1;
        let pace = (!pace.is_zero()).then(|| interval_at(Instant::now() + pace, pace));
        Self { shape, next: 0, count, pace }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Events(events) if events.next == events.count => None,
            Self::Events(events) => {
                let left = events.count - events.next;
                if let Some(pace) = &mut events.pace
                    && events.next > 0
                    && left > 1
                {
                    ready!(pace.poll_tick(context));
                }
                let event = match (events.next, events.shape.first, left) {
                    (_, _, 1) => DONE,
                    (_, _, 2) => events.shape.last,
                    (0, Some(first), _) => first,
                    _ => events.shape.chunk,
                };
                events.next += 1;
                Some(Bytes::from_static(event.as_bytes()))
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    /// A whole answer has a content-length.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
