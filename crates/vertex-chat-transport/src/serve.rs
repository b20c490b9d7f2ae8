//! An exchange put on a socket: a small HTTP/1.1 server for emulators, gateways and tests.

mod places;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::{Body, BodyLimit, BodyPermit, Exchange, NoRoom, Request, Response, TransportError};
use places::{Place, Places};

pub(crate) use places::BodyGuard;

/// The largest request body, by default. Vertex takes some 20 MB inline.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// The most connections at once, by default.
pub const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to send the head of a request, once it has begun.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection on which nothing happens is kept for the next request. Google's load balancers keep theirs for
/// 600 s, and must be the first to close them.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(620);
/// How long a client may take to send the body of a request.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long running requests have after the shutdown was asked for, by default.
pub const GRACE: Duration = Duration::from_secs(10);
/// The largest head of a request: its line and its headers.
pub const HEAD_BYTES_MAX: usize = 128 << 10;
/// How long a client may take nothing of an answer that is there to be taken, by default.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server that cannot accept, mostly for want of file descriptors, waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The most bytes of bodies of requests in memory at once, by default.
pub const BODIES_BYTES_MAX: usize = 512 << 20;
/// How long the rest of a body is read, and forgotten, whose request has been refused. A client that still writes would
/// otherwise see a broken connection in place of the answer.
pub const REFUSED_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServeOptions {
    /// The largest request body. [`REQUEST_BYTES_MAX`].
    pub request_bytes_max: usize,
    /// The most bytes of bodies of requests in memory at once. [`BODIES_BYTES_MAX`].
    pub bodies: BodyLimit,
    /// The most connections at once. A further one takes the place of the one that has been idle for the longest time, or
    /// waits until another ends. [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// How long running requests have after the shutdown was asked for. [`GRACE`].
    pub grace: Duration,
    /// How long a connection on which nothing runs stays open after the shutdown was asked for. A client that sends a
    /// request in that time gets its answer, and with it the word that the connection ends. None by default.
    pub linger: Duration,
    /// How long a client may take nothing of an answer that is there to be taken. [`STALL_TIMEOUT`].
    pub stall_timeout: Duration,
    /// Looks at the head of a request before its body is read, and may answer it at once.
    pub admit: Admit,
    /// Makes the answer to a request that is refused before it is complete.
    pub refuse: Refuse,
    /// With TLS, by this configuration.
    #[cfg(feature = "serve-tls")]
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Answers a request by its head, or lets it in, with what the exchange is to know of it in its extensions. A [`BodyLimit`]
/// there bounds the request's body in place of [`ServeOptions::bodies`], and a [`KnownClient`] says that the client has a
/// right to its connection.
pub type Admit = Arc<dyn Fn(&mut Parts) -> Option<Response> + Send + Sync>;
/// Answers a request that is refused before it is complete.
pub type Refuse = Arc<dyn Fn(&Refusal, &Parts) -> Response + Send + Sync>;

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions")
            .field("request_bytes_max", &self.request_bytes_max)
            .field("bodies", &self.bodies)
            .field("connections_max", &self.connections_max)
            .field("grace", &self.grace)
            .field("linger", &self.linger)
            .field("stall_timeout", &self.stall_timeout)
            .finish_non_exhaustive()
    }
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            request_bytes_max: REQUEST_BYTES_MAX,
            bodies: BodyLimit::new(BODIES_BYTES_MAX),
            connections_max: CONNECTIONS_MAX,
            grace: GRACE,
            linger: Duration::ZERO,
            stall_timeout: STALL_TIMEOUT,
            admit: Arc::new(|_| None),
            refuse: Arc::new(|refusal, _| refuse_as_openai(refusal)),
            #[cfg(feature = "serve-tls")]
            tls: None,
        }
    }
}

/// Why a request is refused before it is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Its body is larger than the limit, in bytes.
    TooLarge(usize),
    /// Its body did not come within [`BODY_TIMEOUT`].
    TooSlow,
    /// Its body broke off.
    Incomplete,
    /// There is no room for its body.
    NoRoom(NoRoom),
    /// Its head breaks a rule of HTTP on which servers and proxies must not differ.
    Malformed(&'static str),
    /// The client left before its body was read. What is answered is not sent.
    Left,
}

impl Refusal {
    /// The status that says so.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Incomplete | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            // As nginx has it; there is no status for what is not sent.
            Self::Left => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Self::NoRoom(room) if room.is_share => StatusCode::TOO_MANY_REQUESTS,
            Self::NoRoom(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(max) => write!(f, "the request body is larger than {max} bytes"),
            Self::TooSlow => write!(f, "the request body did not come within {} s", BODY_TIMEOUT.as_secs()),
            Self::Incomplete => f.write_str("the request body broke off"),
            Self::NoRoom(room) => write!(f, "{room}; try again"),
            Self::Left => f.write_str("the client left before its request was read"),
            Self::Malformed(what) => write!(f, "the request is not HTTP as it should be: {what}"),
        }
    }
}

/// A refusal in OpenAI's form.
fn refuse_as_openai(refusal: &Refusal) -> Response {
    let body = format!(
        r#"{{"error":{{"message":"{refusal}","type":"invalid_request_error","param":null,"code":null}}}}"#
    );
    let mut response = Response::new(body.into());
    *response.status_mut() = refusal.status();
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

/// Where a request came from; in its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// In the extensions of a request that [`Admit`] lets in: the client has shown who it is. When there are too many connections,
/// those of others are closed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownClient;

/// Serves until `shutdown` is done, then lets running requests finish for [`ServeOptions::grace`].
///
/// A body that ends in an error closes its connection without the end of the body, so that the client can tell. A client
/// that closes its side of the connection, or half of it, has left: what runs for it is given up.
///
/// The extensions of a request have its [`Peer`], and an `Arc<`[`BodyPermit`]`>` for its body.
pub async fn serve(
    listener: TcpListener,
    exchange: Arc<dyn Exchange>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()> + Send,
) {
    serve_until(listener, exchange, options, std::pin::pin!(shutdown)).await;
}

/// A function that is neither generic nor `async`: the whole server is compiled in this crate, once, and not in each that calls
/// it.
fn serve_until<'a>(
    listener: TcpListener,
    exchange: Arc<dyn Exchange>,
    options: ServeOptions,
    shutdown: Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>,
) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
    Box::pin(accept(listener, exchange, options, shutdown))
}

async fn accept(
    listener: TcpListener,
    exchange: Arc<dyn Exchange>,
    options: ServeOptions,
    mut shutdown: Pin<&mut (dyn Future<Output = ()> + Send + '_)>,
) {
    let (closing, closed) = watch::channel(false);
    let mut places = Places::new(options.connections_max);
    let shared = Arc::new(Shared {
        exchange,
        options,
        closing: AtomicBool::new(false),
        is_crowded: AtomicBool::new(false),
    });
    'serving: loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = places.ended() => continue,
            () = &mut shutdown => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while places.are_taken() {
            // Answers say from now on that their connection ends, so that busy connections do not keep others out for ever.
            shared.is_crowded.store(true, Ordering::Relaxed);
            places.close_idle();
            tokio::select! {
                () = places.ended_or_idle() => {}
                () = &mut shutdown => break 'serving,
            }
        }
        shared.is_crowded.store(false, Ordering::Relaxed);
        let (shared, closed) = (Arc::clone(&shared), closed.clone());
        places.take(|place| shared.connection(stream, peer, place, closed));
    }
    drop(listener);
    shared.closing.store(true, Ordering::Relaxed);
    let _ = closing.send(true);
    let _ = tokio::time::timeout(shared.options.grace, places.all_ended()).await;
}

/// What all connections of a server share.
struct Shared {
    exchange: Arc<dyn Exchange>,
    options: ServeOptions,
    /// Whether the shutdown was asked for.
    closing: AtomicBool,
    /// Whether a connection waits for the place of another.
    is_crowded: AtomicBool,
}

impl Shared {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Arc<Place>,
        closed: watch::Receiver<bool>,
    ) {
        let _ = stream.set_nodelay(true);
        #[cfg(feature = "serve-tls")]
        if let Some(config) = &self.options.tls {
            let handshake = tokio_rustls::TlsAcceptor::from(Arc::clone(config)).accept(stream);
            let handshake = tokio::time::timeout(HEAD_TIMEOUT, Box::pin(handshake));
            let stream = tokio::select! {
                stream = handshake => stream,
                () = place.is_wanted() => return,
            };
            if let Ok(Ok(stream)) = stream {
                // In a box: a connection without TLS is not to be as large as one with it.
                Box::pin(self.exchanges(stream, peer, place, closed)).await;
            }
            return;
        }
        self.exchanges(stream, peer, place, closed).await;
    }

    async fn exchanges<S: AsyncRead + AsyncWrite + Unpin>(
        self: Arc<Self>,
        stream: S,
        peer: SocketAddr,
        place: Arc<Place>,
        mut closed: watch::Receiver<bool>,
    ) {
        let linger = self.options.linger;
        let stream = Impatient::new(stream, self.options.stall_timeout, Arc::clone(&place));
        let own = Arc::clone(&place);
        let service = service_fn(move |request: http::Request<Incoming>| {
            let place = Arc::clone(&own);
            let (mut head, body) = request.into_parts();
            head.extensions.insert(Peer(peer));
            // Made before the first poll: a client that leaves at once has sent a request too.
            let head = Unread { head: Some(head), shared: Arc::clone(&self) };
            async move {
                let busy = place.busy();
                let mut answer = head.answer(body, &place).await?;
                answer.body_mut().set_guard(busy);
                Ok::<_, TransportError>(answer)
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // Its own counts the wait for the next request too.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let closing = async {
            let _ = closed.wait_for(|closed| *closed).await;
            tokio::time::sleep(linger).await;
        };
        // What goes wrong on a connection is the client's to notice; the exchange has its own log.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = place.is_wanted() => {
                if place.is_idle() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
            () = closing => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// A request whose body has not been read. When it is dropped, the client has left.
struct Unread {
    /// Taken when it is answered.
    head: Option<Parts>,
    shared: Arc<Shared>,
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(head) = self.head.take() {
            (self.shared.options.refuse)(&Refusal::Left, &head);
        }
    }
}

impl Unread {
    async fn answer(mut self, body: Incoming, place: &Place) -> Result<http::Response<Body>, TransportError> {
        let shared = Arc::clone(&self.shared);
        let mut response = match self.read(body, place).await {
            Ok(request) => shared.exchange.send(request).await?,
            Err(answer) => *answer,
        };
        if shared.closing.load(Ordering::Relaxed) || shared.is_crowded.load(Ordering::Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// Reads the body. Gives the whole request, or the answer to a request that is refused.
    async fn read(&mut self, mut body: Incoming, place: &Place) -> Result<Request, Box<Response>> {
        let options = &self.shared.options;
        let head = self.head.as_mut().expect("because it is taken below");
        if let Some(what) = malformed(head) {
            let mut answer = (options.refuse)(&Refusal::Malformed(what), head);
            // What follows may not be where the client thinks it is.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            self.head = None;
            return Err(Box::new(answer));
        }
        if let Some(answer) = (options.admit)(head) {
            pass_over(head, body);
            self.head = None;
            return Err(Box::new(answer));
        }
        if head.extensions.get::<KnownClient>().is_some() {
            place.is_of_known_client();
        }
        let mut permit = head.extensions.get().unwrap_or(&options.bodies).permit();
        let collected = collect(&mut body, options.request_bytes_max, &mut permit);
        let collected = tokio::time::timeout(BODY_TIMEOUT, collected).await;
        let mut head = self.head.take().expect("because only this takes it");
        match collected.unwrap_or(Err(Refusal::TooSlow)) {
            Ok(body) => {
                head.extensions.insert(Arc::new(permit));
                Ok(Request::from_parts(head, body))
            }
            Err(refusal) => {
                let answer = (options.refuse)(&refusal, &head);
                if matches!(refusal, Refusal::TooLarge(_) | Refusal::NoRoom(_)) {
                    pass_over(&head, body);
                }
                Err(Box::new(answer))
            }
        }
    }
}

/// Reads the rest of a body whose request has been refused, and forgets it.
fn pass_over(head: &Parts, mut body: Incoming) {
    // Reading it would invite a client that waits for leave to send it.
    if body.is_end_stream() || head.headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(REFUSED_BODY_TIMEOUT, async move {
        while let Some(Ok(_)) = body.frame().await {}
    }));
}

/// What is wrong with a request's head by the rules on which a proxy in front may judge differently: which host is asked, and
/// where the body ends (RFC 9112, sections 3.2 and 6.3).
fn malformed(head: &Parts) -> Option<&'static str> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Some("it has two `Host` headers");
    }
    let is_authority = |it: &HeaderValue| {
        let text = it.to_str().unwrap_or_default();
        text.is_empty() || (!text.contains('@') && text.parse::<Authority>().is_ok())
    };
    match host {
        None if head.version == Version::HTTP_11 => return Some("it has no `Host` header"),
        Some(host) if !is_authority(host) => return Some("its `Host` header is no host"),
        _ => {}
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let is_chunked = coding.to_str().is_ok_and(|it| it.trim().eq_ignore_ascii_case("chunked"));
        if codings.next().is_some() || !is_chunked || head.version != Version::HTTP_11 {
            return Some("its `Transfer-Encoding` is another than `chunked`");
        }
    }
    None
}

/// A request's body, whole; copied only when it comes in more than one piece, and then once. The permit is for the memory that
/// it takes up.
async fn collect(body: &mut Incoming, bytes_max: usize, permit: &mut BodyPermit) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(Refusal::TooLarge(bytes_max));
    }
    let mut whole: Option<BytesMut> = None;
    let mut first = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Refusal::Incomplete)?.into_data() else { continue };
        let so_far = whole.as_ref().map_or(first.len(), BytesMut::len);
        let size = so_far + piece.len();
        if size > bytes_max {
            return Err(Refusal::TooLarge(bytes_max));
        }
        match &mut whole {
            Some(whole) => {
                if size > whole.capacity() {
                    // As much again, as a vector grows, and no more than the limit.
                    let room = (2 * whole.capacity()).clamp(size, bytes_max.max(size));
                    permit.resize(room).map_err(Refusal::NoRoom)?;
                    whole.reserve(room - so_far);
                }
                whole.extend_from_slice(&piece);
            }
            None if first.is_empty() => {
                permit.resize(piece.len()).map_err(Refusal::NoRoom)?;
                first = piece;
            }
            None => {
                // What is announced need not come, so no more than this is taken at its word.
                const ROOM_MAX: usize = 1 << 20;
                let room = usize::try_from(announced).unwrap_or(0).min(ROOM_MAX).max(size);
                permit.resize(room).map_err(Refusal::NoRoom)?;
                let mut gathered = BytesMut::with_capacity(room);
                gathered.extend_from_slice(&first);
                gathered.extend_from_slice(&piece);
                whole = Some(gathered);
            }
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// A connection whose far side may not leave what is written to it lying for ever, nor stop in the middle of a head, nor
/// stay without a word.
struct Impatient<S> {
    stream: S,
    stall_timeout: Duration,
    place: Arc<Place>,
    /// Set while a write waits.
    stalled: Option<Pin<Box<tokio::time::Sleep>>>,
    /// When something was last read or written.
    last: tokio::time::Instant,
    /// Set while the far side may be silent; not set anew by what happens, and so mostly too early.
    idle: Option<Pin<Box<tokio::time::Sleep>>>,
    /// When a head began that has not come to its end, and how long it may take.
    head_since: Option<tokio::time::Instant>,
    head: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<S> Impatient<S> {
    fn new(stream: S, stall_timeout: Duration, place: Arc<Place>) -> Self {
        let last = tokio::time::Instant::now();
        // Who connects has something to say.
        let head_since = Some(last);
        Self { stream, stall_timeout, place, stalled: None, last, idle: None, head_since, head: None }
    }

    /// Something has happened on the connection.
    fn has_acted(&mut self) {
        self.last = tokio::time::Instant::now();
        self.place.has_acted(self.last);
    }

    /// What became of some bytes: they have gone out, which is a sign of life.
    fn watch_bytes(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        if written.is_ready() {
            self.has_acted();
            self.head_since = None;
        }
        self.watch_write(cx, written)
    }

    /// What became of a write or a flush: an error when it has waited for too long.
    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.place.set_stalled(false);
            }
            return written;
        }
        let timeout = self.stall_timeout;
        self.place.set_stalled(true);
        let alarm = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// What became of a read: an error when the far side has been silent for too long.
    fn watch_read(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<std::io::Result<()>>,
    ) -> Poll<std::io::Result<()>> {
        if self.place.is_busy() {
            // The request's body and its answer have clocks of their own.
            self.head_since = None;
            self.has_acted();
            return read;
        }
        if read.is_ready() {
            self.has_acted();
            self.head_since.get_or_insert(self.last);
            return read;
        }
        match self.head_since {
            Some(since) => poll_until(&mut self.head, since + HEAD_TIMEOUT, cx),
            None => {
                self.head = None;
                poll_until(&mut self.idle, self.last + KEEP_ALIVE_TIMEOUT, cx)
            }
        }
    }
}

/// Waits until then, with an alarm that may be set for earlier; then it is too late.
fn poll_until(
    alarm: &mut Option<Pin<Box<tokio::time::Sleep>>>,
    until: tokio::time::Instant,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<()>> {
    loop {
        let set = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        ready!(set.as_mut().poll(cx));
        *alarm = None;
        if tokio::time::Instant::now() >= until {
            return Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch_read(cx, read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_bytes(cx, written)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watch_bytes(cx, written)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, flushed)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_write(cx, shut)
    }
}
