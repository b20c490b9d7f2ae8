//! A certificate authority of a test's own, and TLS with what it has vouched for.

use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

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
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
