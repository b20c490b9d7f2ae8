//! For programs whose hosts are fixed: a proxy that takes Google's names for this emulator's, with a certificate authority
//! made for the occasion.

use std::collections::HashMap;
use std::fmt;
use std::io::{Cursor, Error, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use vertex_chat_transport::{Clock, within};

/// The most connections at once; more wait.
pub const PROXY_CONNECTIONS_MAX: usize = 256;
/// The longest head of a request to the proxy.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a head and the handshake may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most names that have a certificate at once; then they are made anew.
const NAMES_MAX: usize = 64;
/// The hosts that are taken for the emulator's, and everything below them.
const DOMAINS: [&str; 6] = [
    "googleapis.com",
    "prediction.vertexai.goog",
    "prediction.p.vertexai.goog",
    "amazonaws.com",
    "metadata.google.internal",
    "169.254.169.254",
];

/// A proxy before an emulator. Dropping it stops it.
///
/// `CONNECT` to Google's and AWS's hosts ends here, with a certificate of the proxy's own authority; every other host is
/// refused, so nothing gets out by mistake.
#[derive(Debug)]
pub struct RunningProxy {
    address: SocketAddr,
    authority_pem: String,
    task: JoinHandle<()>,
}

impl RunningProxy {
    /// Listens at this address, port 0 for any, and passes requests on to the emulator at `emulator`.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub async fn start(address: SocketAddr, emulator: SocketAddr, clock: Arc<dyn Clock>) -> Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let authority = Arc::new(Authority::new().map_err(Error::other)?);
        let authority_pem = authority.issuer.pem();
        let task = tokio::spawn(async move {
            let permits = Arc::new(Semaphore::new(PROXY_CONNECTIONS_MAX));
            let mut connections = JoinSet::new();
            loop {
                let permit = Arc::clone(&permits).acquire_owned().await;
                while connections.try_join_next().is_some() {}
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of file descriptors, most likely: give those who hold them a moment.
                    clock.sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let (authority, clock) = (Arc::clone(&authority), Arc::clone(&clock));
                connections.spawn(async move {
                    let _permit = permit;
                    // What goes wrong on a connection is the client's to notice.
                    let _ = serve(stream, emulator, &authority, &clock).await;
                });
            }
        });
        Ok(Self { address, authority_pem, task })
    }

    /// `http://127.0.0.1:PORT`, for `HTTPS_PROXY`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The certificate that clients have to trust. Its key is in this process only.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }
}

impl Drop for RunningProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut client: TcpStream,
    emulator: SocketAddr,
    authority: &Authority,
    clock: &Arc<dyn Clock>,
) -> Result<()> {
    let slow = || Error::other("the client is too slow");
    client.set_nodelay(true)?;
    let (head, early) = within(clock, HEAD_TIMEOUT, read_head(&mut client)).await.ok_or_else(slow)??;
    let text = String::from_utf8_lossy(&head);
    let mut words = text.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let name = match method {
        "CONNECT" => target.rsplit_once(':').map_or(target, |(name, _)| name),
        // A request in the clear: `GET http://metadata.google.internal/… HTTP/1.1`.
        _ => target.strip_prefix("http://").and_then(|it| it.split(['/', ':']).next()).unwrap_or_default(),
    };
    let known = DOMAINS
        .iter()
        .any(|domain| name.strip_suffix(domain).is_some_and(|it| it.is_empty() || it.ends_with('.')));
    if !known {
        let words = "this proxy leads to the emulator only\n";
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{words}",
            words.len()
        );
        return client.write_all(answer.as_bytes()).await;
    }
    let mut upstream = TcpStream::connect(emulator).await?;
    upstream.set_nodelay(true)?;
    if method != "CONNECT" {
        upstream.write_all(&head).await?;
        upstream.write_all(&early).await?;
        copy_bidirectional(&mut client, &mut upstream).await?;
        return Ok(());
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    let acceptor = TlsAcceptor::from(authority.config(name)?);
    // Some do not wait for the answer before they begin.
    let (read, write) = client.into_split();
    let client = join(Cursor::new(early).chain(read), write);
    let mut tunnel = within(clock, HEAD_TIMEOUT, acceptor.accept(client)).await.ok_or_else(slow)??;
    copy_bidirectional(&mut tunnel, &mut upstream).await?;
    Ok(())
}

/// Everything up to the empty line, and what came with it.
async fn read_head(client: &mut TcpStream) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::new();
    loop {
        if let Some(end) = head.windows(4).position(|it| it == b"\r\n\r\n") {
            let early = head.split_off(end + 4);
            return Ok((head, early));
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Err(Error::other("the head is too long"));
        }
        let mut part = [0; 4 << 10];
        match client.read(&mut part).await? {
            0 => return Err(Error::other("the client went away")),
            read => head.extend_from_slice(&part[..read]),
        }
    }
}

/// A certificate authority, and what it has vouched for.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    configs: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    fn new() -> std::result::Result<Self, rcgen::Error> {
        let mut parameters = CertificateParams::new([])?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name.push(DnType::CommonName, "vertex-chat emulator, throw-away");
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        Ok(Self { issuer, configs: Mutex::default() })
    }

    /// How to be this host.
    fn config(&self, name: &str) -> Result<Arc<ServerConfig>> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(name) {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.new_config(name)?);
        if configs.len() >= NAMES_MAX {
            configs.clear();
        }
        configs.insert(name.to_owned(), Arc::clone(&config));
        Ok(config)
    }

    fn new_config(&self, name: &str) -> Result<ServerConfig> {
        let key = KeyPair::generate().map_err(Error::other)?;
        let mut parameters = CertificateParams::new([name.to_owned()]).map_err(Error::other)?;
        // Python's verifier wants to know whose key signed it.
        parameters.use_authority_key_identifier_extension = true;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(Error::other)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(Error::other)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
