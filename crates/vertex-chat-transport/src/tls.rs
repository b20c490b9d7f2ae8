//! Which servers are trusted.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use rustls_native_certs::ErrorKind;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use crate::LogText;

/// How much of a name in a certificate is shown, in characters.
const NAME_CHARS_MAX: usize = 100;
/// The attributes of a name that are shown: country, organization, organizational unit, common name (RFC 5280, appendix A).
const SHOWN_ATTRIBUTES: [(&[u8], &str); 4] =
    [(&[0x55, 4, 3], "CN"), (&[0x55, 4, 10], "O"), (&[0x55, 4, 11], "OU"), (&[0x55, 4, 6], "C")];

/// Trusts what a root vouches for, and certificates that were named themselves.
#[derive(Debug)]
pub(crate) struct Verifier {
    roots: Arc<WebPkiServerVerifier>,
    /// Certificates that were named: a server that shows exactly one of these is trusted, whatever the certificate says of
    /// itself. Self-signed ones often say that they are an authority's, or name another host.
    named: Vec<CertificateDer<'static>>,
    /// Why the system's roots are not all there.
    missing_roots: Option<String>,
}

impl Verifier {
    pub(crate) fn new(
        named: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        let missing_roots = native.errors.first().map(|error| {
            // Without the path: a value that is no path may be a secret.
            let reason = match &error.kind {
                ErrorKind::Io { inner, .. } => inner.to_string(),
                ErrorKind::Pem(error) => error.to_string(),
                _ => error.context.to_owned(),
            };
            let variable =
                ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find(|it| std::env::var_os(it).is_some());
            match variable {
                Some(variable) => format!("{variable} could not be used: {reason}"),
                None => format!("the system's root certificates could not all be read: {reason}"),
            }
        });
        // One that is no authority's is trusted as itself only.
        roots.add_parsable_certificates(named.iter().cloned());
        if roots.is_empty() {
            return Err(missing_roots.unwrap_or_else(|| {
                "there are no root certificates; install ca-certificates or set SSL_CERT_FILE".to_owned()
            }));
        }
        let roots = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let roots = roots.build().map_err(|error| error.to_string())?;
        Ok(Self { roots, named: named.to_vec(), missing_roots })
    }
}

impl Verifier {
    /// The same error with whose certificate it is about.
    fn named_error(&self, error: rustls::Error, certificate: &CertificateDer<'_>) -> rustls::Error {
        let rustls::Error::InvalidCertificate(reason) = error else { return error };
        let refused = Refused::new(reason, certificate, self.missing_roots.clone());
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refused))))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.named.iter().any(|it| it.as_ref() == end_entity.as_ref()) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            self.roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| self.named_error(error, end_entity))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.roots.verify_tls12_signature(message, certificate, signature);
        verified.map_err(|error| self.named_error(error, certificate))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let verified = self.roots.verify_tls13_signature(message, certificate, signature);
        verified.map_err(|error| self.named_error(error, certificate))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.roots.supported_verify_schemes()
    }
}

/// Why a certificate is not trusted, and whose it is.
#[derive(Debug)]
pub(crate) struct Refused {
    reason: CertificateError,
    subject: String,
    issuer: String,
    missing_roots: Option<String>,
}

impl Refused {
    /// What such an error says, if it is one.
    pub(crate) fn of(error: &rustls::Error) -> Option<String> {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other))) = error else {
            return None;
        };
        other.downcast_ref::<Self>().map(ToString::to_string)
    }

    fn new(
        reason: CertificateError,
        certificate: &CertificateDer<'_>,
        missing_roots: Option<String>,
    ) -> Self {
        let parsed = EndEntityCert::try_from(certificate).ok();
        let shown = |name: Option<&[u8]>| name.map(shown_name).unwrap_or_default();
        Self {
            reason,
            subject: shown(parsed.as_ref().map(|it| it.subject())),
            issuer: shown(parsed.as_ref().map(|it| it.issuer())),
            missing_roots,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, subject, issuer, missing_roots } = self;
        match reason {
            CertificateError::UnknownIssuer => {
                f.write_str("no root certificate of this machine vouches for the server")?;
            }
            // webpki's own, of which rustls knows no more.
            CertificateError::Other(OtherError(other)) if other.to_string() == "UnsupportedCertVersion" => {
                return f.write_str(
                    "the certificate is of an old version of X.509; the server needs one of version 3",
                );
            }
            CertificateError::Other(OtherError(other)) => {
                write!(f, "the certificate is not a server's: {other}")?;
            }
            other => write!(f, "{other}")?,
        }
        write!(f, " (the certificate is of `{subject}`, issued by `{issuer}`)")?;
        match reason {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => f.write_str("; is this machine's clock right?"),
            CertificateError::Revoked => Ok(()),
            _ => match missing_roots {
                Some(missing) => write!(f, "; {missing}"),
                None => f.write_str(
                    "; to trust it, name a file with its root or with itself (`--ca-file`, `ca_file` of a target, \
                     `ClientBuilder::certificates_pem`), or add its root to the file that SSL_CERT_FILE names",
                ),
            },
        }
    }
}

impl std::error::Error for Refused {}

/// A name of X.509 for a person: `CN=…, O=…`. What is not understood is left out.
fn shown_name(der: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut sets = der;
    while let Some((_, set, rest)) = der_value(sets) {
        sets = rest;
        let Some((_, attribute, _)) = der_value(set) else { continue };
        let Some((_, oid, after)) = der_value(attribute) else { continue };
        let Some((_, value, _)) = der_value(after) else { continue };
        if let Some((_, label)) = SHOWN_ATTRIBUTES.iter().find(|it| it.0 == oid) {
            parts.push(format!("{label}={}", LogText::new(&String::from_utf8_lossy(value), NAME_CHARS_MAX)));
        }
    }
    parts.join(", ")
}

/// The tag and the content of the first value, and what follows it.
fn der_value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
