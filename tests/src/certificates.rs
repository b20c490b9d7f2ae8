//! A certificate authority of a test's own, and TLS with what it has vouched for.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A certificate authority.
#[derive(Debug)]
pub struct Certificates {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// A new one.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    pub fn new() -> Self {
        let mut authority = CertificateParams::new([]).expect("no names are good names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(authority, key).expect("a certificate") }
    }

    /// Its own certificate, which is to be trusted.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for this name, and its key.
    ///
    /// # Panics
    /// When it is no name.
    #[must_use]
    pub fn leaf(&self, name: &str) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        (parameters.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// TLS as `localhost` with these protocols, asking for a certificate of this authority, or demanding one.
    ///
    /// # Panics
    /// When rustls takes none of it.
    #[must_use]
    pub fn acceptor(&self, demands: bool, protocols: &[&str]) -> TlsAcceptor {
        let (certificate, key) = self.leaf("localhost");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = if demands { verifier } else { verifier.allow_unauthenticated() };
        acceptor_with(&certificate, &key, verifier.build().expect("a verifier"), protocols)
    }
}

/// A certificate that has signed itself, for an authority and another host than any: what people give to private servers. TLS
/// with it, and the certificate.
///
/// # Panics
/// When there is no randomness.
#[must_use]
pub fn odd_acceptor() -> (TlsAcceptor, String) {
    let mut parameters = CertificateParams::new(["internal.example".to_owned()]).expect("a name");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, "a private endpoint");
    parameters.distinguished_name.push(DnType::OrganizationName, "Example");
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let acceptor = acceptor_with(&certificate, &key, WebPkiClientVerifier::no_client_auth(), &["http/1.1"]);
    (acceptor, certificate.pem())
}

fn acceptor_with(
    certificate: &Certificate,
    key: &KeyPair,
    verifier: Arc<dyn ClientCertVerifier>,
    protocols: &[&str],
) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate and its key");
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Does something with every connection to a new port, once TLS is established on it. The port.
///
/// # Panics
/// When there is no port.
pub async fn serve_tls<F>(
    acceptor: TlsAcceptor,
    serve: impl Fn(TlsStream<TcpStream>) -> F + Clone + Send + 'static,
) -> SocketAddr
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    address
}
