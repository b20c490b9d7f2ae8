//! The exchange that goes over the network: hyper-util's pooled client, rustls, one connector.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, HttpConnector as TcpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tower_service::Service;

use crate::proxy::Proxies;
use crate::tls::{Refused, Verifier};
use crate::{
    Body, ClientCertificate, Clock, Connector, Exchange, NewConnection, Profile, Request, Response, Sent,
    SystemClock, TransportError, TransportErrorKind, within,
};

/// How long name resolution, TCP, the proxy and TLS may take together, by default.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an HTTP/2 connection is asked whether it lives, also while nothing happens on it.
pub const HTTP2_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to say so.
pub const HTTP2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
/// How many unused connections are kept to one host.
pub const IDLE_CONNECTIONS_MAX: usize = 64;
/// How much of one answer a server may send ahead over HTTP/2, in bytes: so much waits in memory for a slow client.
pub const HTTP2_STREAM_WINDOW: u32 = 512 << 10;
/// How much of all answers of a connection together: the windows of 256 streams, which is more than servers allow. With less,
/// answers that wait for slow clients would hold up the others.
pub const HTTP2_CONNECTION_WINDOW: u32 = 256 * HTTP2_STREAM_WINDOW;
/// How often TCP itself checks a silent connection.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Makes exchanges that go over the network.
///
/// HTTP/1.1 and HTTP/2, by what the server offers; TLS with the system's root certificates; the proxy that
/// `HTTPS_PROXY` and `NO_PROXY` name. TLS verification cannot be turned off; for a private certificate authority, add
/// its root.
///
/// ```no_run
/// use vertex_chat_transport::{Connector, HttpConnector, Profile};
///
/// # fn main() -> Result<(), vertex_chat_transport::TransportError> {
/// let corporate_root = std::fs::read("/etc/ssl/corporate.pem").expect("the file is there");
/// let exchange = HttpConnector::new().with_root_certificates_pem(&corporate_root)?.connect(&Profile::Public)?;
/// # Ok(()) }
/// ```
///
/// Connecting needs a tokio runtime with I/O and time on; making a connector or an exchange does not.
#[derive(Clone)]
pub struct HttpConnector {
    connect_timeout: Duration,
    extra_roots: Vec<CertificateDer<'static>>,
    proxy: Proxy,
    http1_only: bool,
    idle_connections_max: usize,
    clock: Arc<dyn Clock>,
}

/// Which proxy to go through. Only `https` goes through one, by `CONNECT`, and never to a loopback address.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proxy {
    /// What `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say, upper or lower case.
    FromEnvironment,
    /// None.
    Off,
    /// This one.
    Url {
        /// `http://[user:password@]host:port`.
        url: String,
        /// What not to use it for, in the form of `NO_PROXY`.
        no_proxy: String,
    },
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a password.
        f.write_str(match self {
            Self::FromEnvironment => "FromEnvironment",
            Self::Off => "Off",
            Self::Url { .. } => "Url([redacted])",
        })
    }
}

impl Default for HttpConnector {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpConnector {
    /// A connector with the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            extra_roots: Vec::new(),
            proxy: Proxy::FromEnvironment,
            http1_only: false,
            idle_connections_max: IDLE_CONNECTIONS_MAX,
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how long connecting may take. [`CONNECT_TIMEOUT`].
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Trusts these certificates too: as roots, and each as itself, compared byte for byte. So a server with a self-signed
    /// certificate is trusted where this is named, whatever the certificate says of its host and its use.
    ///
    /// # Errors
    /// When the text has no PEM certificate.
    pub fn with_root_certificates_pem(mut self, pem: &[u8]) -> Result<Self, TransportError> {
        let roots = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        match roots {
            Ok(roots) if !roots.is_empty() => self.extra_roots.extend(roots),
            _ => return Err(invalid("the root certificates are not PEM certificates")),
        }
        Ok(self)
    }

    /// Sets the proxy.
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = proxy;
        self
    }

    /// Keeps to HTTP/1.1, where every answer has a connection of its own.
    #[must_use]
    pub fn with_http1_only(mut self, http1_only: bool) -> Self {
        self.http1_only = http1_only;
        self
    }

    /// Sets how many unused connections are kept to one host. [`IDLE_CONNECTIONS_MAX`].
    #[must_use]
    pub fn with_idle_connections_max(mut self, connections: usize) -> Self {
        self.idle_connections_max = connections;
        self
    }

    /// Counts the connect timeout by this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    fn proxies(&self, profile: &Profile) -> Option<Arc<Proxies>> {
        match profile {
            Profile::NoProxy => None,
            _ => Proxies::of(&self.proxy).map(Arc::new),
        }
    }
}

impl fmt::Debug for HttpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnector")
            .field("connect_timeout", &self.connect_timeout)
            .field("extra_roots", &self.extra_roots.len())
            .field("proxy", &self.proxy)
            .field("http1_only", &self.http1_only)
            .field("idle_connections_max", &self.idle_connections_max)
            .finish_non_exhaustive()
    }
}

impl Connector for HttpConnector {
    fn with_certificates_pem(&self, pem: &[u8]) -> Result<Arc<dyn Connector>, TransportError> {
        Ok(Arc::new(self.clone().with_root_certificates_pem(pem)?))
    }

    fn connect(&self, profile: &Profile) -> Result<Arc<dyn Exchange>, TransportError> {
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEP_ALIVE));
        let dial = Dial {
            tcp: Tcp { direct: tcp, proxies: self.proxies(profile) },
            tls: Arc::new(Tls {
                extra_roots: self.extra_roots.clone(),
                certificate: match profile {
                    Profile::ClientCertificate(certificate) => Some(parse_certificate(certificate)?),
                    Profile::Public | Profile::NoProxy => None,
                },
                http1_only: self.http1_only,
                connector: OnceLock::new(),
            }),
            timeout: self.connect_timeout,
            clock: Arc::clone(&self.clock),
        };
        let client = |idle_max: usize, dial: Dial| {
            legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
                .pool_max_idle_per_host(idle_max)
                .http2_keep_alive_interval(HTTP2_KEEP_ALIVE_INTERVAL)
                .http2_keep_alive_timeout(HTTP2_KEEP_ALIVE_TIMEOUT)
                .http2_keep_alive_while_idle(true)
                .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
                .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
                .build(dial)
        };
        Ok(Arc::new(HyperExchange {
            fresh: client(0, dial.clone()),
            client: client(self.idle_connections_max, dial),
        }))
    }
}

/// hyper-util's pooled client as an exchange.
struct HyperExchange {
    client: legacy::Client<Dial, Full<Bytes>>,
    /// For requests that want a new connection. It keeps none.
    fresh: legacy::Client<Dial, Full<Bytes>>,
}

impl fmt::Debug for HyperExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HyperExchange")
    }
}

#[async_trait]
impl Exchange for HyperExchange {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let client = match request.extensions().get::<NewConnection>() {
            Some(_) => &self.fresh,
            None => &self.client,
        };
        match client.request(request.map(Full::new)).await {
            Ok(mut response) => {
                if let Some(uses) = response.extensions_mut().remove::<Uses>() {
                    uses.0.store(true, Ordering::Relaxed);
                }
                Ok(response.map(Body::incoming))
            }
            Err(error) => {
                let is_reused = was_used(&error);
                let error = request_error(error);
                Err(if is_reused { error.on_reused_connection() } else { error })
            }
        }
    }
}

/// Whether a connection has carried an exchange.
#[derive(Clone, Debug, Default)]
struct Uses(Arc<AtomicBool>);

/// Whether an error is that a connection ended which had carried an exchange before. A stream of HTTP/2 that the server
/// resets is no such end.
fn was_used(error: &legacy::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(link) = cause {
        if link.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_reset) {
            return false;
        }
        cause = link.source();
    }
    let mut extras = http::Extensions::new();
    if let Some(connected) = error.connect_info() {
        connected.get_extras(&mut extras);
    }
    extras.get::<Uses>().is_some_and(|uses| uses.0.load(Ordering::Relaxed))
}

/// A TCP connection that knows whether it has carried an exchange.
#[derive(Debug)]
struct Connection {
    stream: TokioIo<TcpStream>,
    uses: Uses,
}

impl Connection {
    fn new(stream: TokioIo<TcpStream>) -> Self {
        Self { stream, uses: Uses::default() }
    }
}

impl legacy::connect::Connection for Connection {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.uses.clone())
    }
}

impl hyper::rt::Read for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }
}

type BoxError = Box<dyn Error + Send + Sync>;
type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Makes connections: TCP, through the proxy where there is one, and TLS where the URL says so.
#[derive(Clone)]
struct Dial {
    tcp: Tcp,
    tls: Arc<Tls>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Service<Uri> for Dial {
    type Response = MaybeHttpsStream<Connection>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut dial = self.clone();
        let place = HostAndPort::of(&to);
        Box::pin(async move {
            let connecting: Connecting<Self::Response> = if to.scheme_str() == Some("https") {
                let (tls, tcp) = (Arc::clone(&dial.tls), dial.tcp.clone());
                Box::pin(async move { tls.ready(tcp).await?.call(to).await })
            } else {
                let tcp = dial.tcp.call(to);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(tcp.await?)) })
            };
            let connected = within(&dial.clock, dial.timeout, connecting).await;
            let connected = connected.map(|it| it.map_err(|error| named(&place, error)));
            connected.unwrap_or_else(|| {
                let context = format!("{place}: waited {} s", dial.timeout.as_secs_f64());
                Err(TransportError::new(TransportErrorKind::ConnectTimeout, Sent::No, context).into())
            })
        })
    }
}

/// TCP, to the server itself or to a proxy that has opened a tunnel to it.
#[derive(Clone)]
struct Tcp {
    direct: TcpConnector,
    proxies: Option<Arc<Proxies>>,
}

impl Service<Uri> for Tcp {
    type Response = Connection;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let way = self.proxies.as_ref().map_or(Ok(None), |it| it.way(&to));
        let mut direct = self.direct.clone();
        Box::pin(async move {
            Ok(Connection::new(match way? {
                Some(via) => via.connect(direct, &to).await?,
                None => direct.call(to).await?,
            }))
        })
    }
}

/// TLS, set up when the first `https` connection wants it: reading the system's roots takes longer than everything else
/// that a program on loopback does.
struct Tls {
    extra_roots: Vec<CertificateDer<'static>>,
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    http1_only: bool,
    connector: OnceLock<Result<HttpsConnector<Tcp>, String>>,
}

impl Tls {
    /// The connector. The first time it reads the system's root certificates, away from the workers of the runtime.
    async fn ready(self: Arc<Self>, tcp: Tcp) -> Result<HttpsConnector<Tcp>, TransportError> {
        if self.connector.get().is_some() {
            return self.connector(&tcp);
        }
        let work = tokio::task::spawn_blocking(move || self.connector(&tcp));
        work.await.unwrap_or_else(|_| {
            let context = "the runtime ended while root certificates were read";
            Err(TransportError::new(TransportErrorKind::Tls, Sent::No, context))
        })
    }

    fn connector(&self, tcp: &Tcp) -> Result<HttpsConnector<Tcp>, TransportError> {
        self.connector
            .get_or_init(|| {
                let config = self.config()?;
                let builder =
                    HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1();
                Ok(if self.http1_only {
                    builder.wrap_connector(tcp.clone())
                } else {
                    builder.enable_http2().wrap_connector(tcp.clone())
                })
            })
            .clone()
            .map_err(|context| TransportError::new(TransportErrorKind::Tls, Sent::No, context))
    }

    fn config(&self) -> Result<ClientConfig, String> {
        // The provider is named, not taken from the process: another crate may have installed another, or two.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(&self.extra_roots, &provider)?;
        // Who shows a certificate does so with TLS 1.3, which does not show it to others (AIP-4118).
        let versions = match &self.certificate {
            Some(_) => &[&rustls::version::TLS13][..],
            None => rustls::ALL_VERSIONS,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            // Not `danger`: it verifies as rustls does, and names what it refuses.
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        match &self.certificate {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| format!("the client certificate is not usable: {error}")),
        }
    }
}

fn parse_certificate(
    pem: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TransportError> {
    let chain = CertificateDer::pem_slice_iter(pem.chain_pem()).collect::<Result<Vec<_>, _>>();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| invalid("the client certificate is not PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.key_pem());
    Ok((chain, key.map_err(|_| invalid("the client certificate's key is not PEM"))?))
}

fn invalid(context: &str) -> TransportError {
    TransportError::new(TransportErrorKind::Invalid, Sent::No, context)
}

/// Where a connection leads: a URL's host and port, also where the port is the usual one of its scheme.
pub(crate) struct HostAndPort {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl HostAndPort {
    pub(crate) fn of(url: &Uri) -> Self {
        let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
        Self { host: url.host().unwrap_or_default().to_owned(), port: url.port_u16().unwrap_or(usual) }
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An error of connecting, with where that was.
fn named(place: &HostAndPort, error: BoxError) -> BoxError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
    let (mut is_tls, mut is_lookup, mut refused) = (false, false, None::<String>);
    while let Some(link) = cause {
        if link.is::<TransportError>() {
            // Ours, and named.
            return error;
        }
        refused = refused.or_else(|| tls_error(link).and_then(Refused::of));
        is_tls |= tls_error(link).is_some();
        // hyper-util has no other way to tell.
        is_lookup |= link.to_string() == "dns error";
        cause = link.source();
    }
    if let Some(reason) = refused {
        // It says all that there is in the chain.
        return TransportError::new(TransportErrorKind::Tls, Sent::No, format!("{place}: {reason}")).into();
    }
    let reason = deepest(&*error);
    let (kind, context) = if is_tls {
        (TransportErrorKind::Tls, format!("{place}: {reason}"))
    } else if is_lookup {
        (TransportErrorKind::Connect, format!("{place}: the name {} was not found: {reason}", place.host))
    } else {
        (TransportErrorKind::Connect, format!("{place}: {reason}"))
    };
    TransportError::new(kind, Sent::No, context).with_source(error).into()
}

/// What hyper-util's error means for us.
fn request_error(error: legacy::Error) -> TransportError {
    let is_connect = error.is_connect();
    let mut own = None;
    let mut tls = false;
    let mut kind = (TransportErrorKind::Interrupted, Sent::Maybe, "before the answer");
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(link) = cause {
        if let Some(error) = link.downcast_ref::<TransportError>() {
            own = Some((error.kind(), error.to_string()));
            break;
        }
        tls |= tls_error(link).is_some();
        if let Some(error) = link.downcast_ref::<hyper::Error>() {
            if error.is_parse() {
                kind = (TransportErrorKind::Protocol, Sent::Yes, "");
            } else if error.is_user() {
                // The runtime that drove the connection has ended; the request may have gone out before.
                kind = (TransportErrorKind::Interrupted, Sent::Maybe, "the connection's runtime has ended");
            } else if error.is_canceled() {
                kind = (TransportErrorKind::Interrupted, Sent::No, "before the request was sent");
            }
        }
        if let Some(error) = link.downcast_ref::<h2::Error>() {
            // A refused stream was not begun. Neither was one beyond the last that a GOAWAY without error names.
            if error.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR))
            {
                kind = (TransportErrorKind::Interrupted, Sent::No, "the server did not take the request");
            }
        }
        cause = link.source();
    }
    if is_connect {
        kind = (TransportErrorKind::Connect, Sent::No, "");
        if tls {
            kind = (TransportErrorKind::Tls, Sent::No, "");
        }
        if let Some((own, text)) = own {
            // Ours already says everything; its text would be printed twice as a source.
            let context = text.split_once(": ").map_or(String::new(), |(_, context)| context.to_owned());
            let boxed: BoxError = error.into();
            return TransportError::new(own, Sent::No, context).with_source(boxed);
        }
    }
    let (kind, sent, context) = kind;
    let deepest = deepest(&error);
    let context = if context.is_empty() { deepest } else { format!("{context}: {deepest}") };
    TransportError::new(kind, sent, context).with_source(error)
}

/// rustls' error in a link of a chain. They travel inside `io::Error`, at times inside two of them, which do not show them as
/// their source.
fn tls_error<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut link = link;
    loop {
        if let Some(error) = link.downcast_ref::<rustls::Error>() {
            return Some(error);
        }
        link = link.downcast_ref::<std::io::Error>()?.get_ref()?;
    }
}

/// What the last error in the chain says: "connection refused", where the first says "client error".
pub(crate) fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

/// A body that broke off.
pub(crate) fn body_error(error: hyper::Error) -> TransportError {
    let context = format!("in the middle of the answer: {}", deepest(&error));
    TransportError::new(TransportErrorKind::Interrupted, Sent::Yes, context).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_server_is_asked_without_a_proxy() {
        let proxy = Proxy::Url { url: "http://proxy:3128".into(), no_proxy: String::new() };
        let connector = HttpConnector::new().with_proxy(proxy);
        assert!(connector.proxies(&Profile::Public).is_some());
        assert!(connector.proxies(&Profile::NoProxy).is_none());
        assert!(HttpConnector::new().with_proxy(Proxy::Off).proxies(&Profile::Public).is_none());
    }

    #[test]
    fn debug_shows_no_proxy_password_and_no_key() {
        let proxy = Proxy::Url { url: "http://user:canary@proxy".into(), no_proxy: String::new() };
        let certificate = ClientCertificate::from_pem("canary", "canary");
        let shown = format!(
            "{:?}{:?}",
            HttpConnector::new().with_proxy(proxy),
            Profile::ClientCertificate(certificate)
        );
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn what_is_not_pem_is_refused() {
        assert!(HttpConnector::new().with_root_certificates_pem(b"no").is_err());
        let certificate = Profile::ClientCertificate(ClientCertificate::from_pem("no", "no"));
        assert_eq!(
            HttpConnector::new().connect(&certificate).unwrap_err().kind(),
            TransportErrorKind::Invalid
        );
    }
}
