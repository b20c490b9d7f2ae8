//! A client certificate as identity: X.509 workload identity federation (AIP-4117, AIP-4118).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};
use vertex_chat_transport::{
    ClientCertificate, Clock, Connector, Exchange, Profile, Request, Response, Sent, TransportError,
    TransportErrorKind,
};

use crate::file::{Fields, object_of};
use crate::off_worker::off_worker;
use crate::subject::read_small;
use crate::{AuthError, Environment, Secret, SubjectTokenSource, shown_path};

/// How often the files are read in one attempt, when they do not fit together: somebody may be replacing them. With the
/// attempts that a token has, that is six times in a quarter of a minute (AIP-4118 asks for four, five seconds apart).
const READS_MAX: u32 = 2;
/// How long to wait before they are read again.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The most certificates of a trust chain.
const CHAIN_MAX: usize = 100;
const VARIABLE: &str = "GOOGLE_API_CERTIFICATE_CONFIG";

/// Where a certificate and its key are. They are read again whenever they are used, because they are replaced often.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    chain: Option<PathBuf>,
}

impl CertificateFiles {
    /// Reads `credential_source.certificate`, and the configuration that it names.
    pub(crate) fn find(
        source: &Map<String, Value>,
        environment: &Environment,
        gcloud: Option<PathBuf>,
    ) -> Result<Self, AuthError> {
        let by_default = source.get("use_default_certificate_config").and_then(Value::as_bool) == Some(true);
        let config = match (source.text("certificate_config_location"), by_default) {
            (Some(path), false) => PathBuf::from(path),
            (None, true) => match (environment.get(VARIABLE), gcloud) {
                (Some(path), _) => PathBuf::from(path),
                (None, Some(folder)) => folder.join("certificate_config.json"),
                (None, None) => {
                    return Err(AuthError::configuration(
                        "there is no home folder to look for certificates in",
                    )
                    .with_remedy(format!("set {VARIABLE}")));
                }
            },
            _ => {
                return Err(AuthError::configuration(
                    "`credential_source.certificate` must have either `certificate_config_location` or \
                     `use_default_certificate_config`",
                ));
            }
        };
        let place = format!("the certificate configuration {}", shown_path(&config));
        let named = |error: AuthError| error.in_stage(&place);
        let bytes = read_small(&config).map_err(|what| named(AuthError::configuration(what)))?;
        let fields = object_of(&bytes).map_err(named)?;
        let path = |name: &str| {
            let workload =
                fields.get("cert_configs").and_then(|it| it.get("workload")).and_then(Value::as_object);
            workload.and_then(|it| it.text(name)).map(PathBuf::from).ok_or_else(|| {
                named(AuthError::configuration(format!("field `cert_configs.workload.{name}` is missing")))
            })
        };
        let chain = source.text("trust_chain_path").map(PathBuf::from);
        Ok(Self { certificate: path("cert_path")?, key: path("key_path")?, chain })
    }

    fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, AuthError> {
        read_small(path).map_err(|what| AuthError::configuration(format!("{}: {what}", shown_path(path))))
    }

    fn read_pair(&self) -> Result<ClientCertificate, AuthError> {
        let (chain, key) = (Self::read(&self.certificate)?, Self::read(&self.key)?);
        Ok(ClientCertificate::from_pem(chain.as_slice(), key.as_slice()))
    }

    /// The certificates to show in the subject token: the leaf, then what vouches for it.
    fn read_chain(&self) -> Result<Vec<CertificateDer<'static>>, AuthError> {
        let certificates = |path: &Path| {
            let wrong = |what: &str| AuthError::configuration(format!("{}: {what}", shown_path(path)));
            let bytes = Self::read(path)?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
            match found {
                Ok(found) if (1..=CHAIN_MAX).contains(&found.len()) => Ok(found),
                Ok(_) => Err(wrong("has no certificate, or too many")),
                Err(_) => Err(wrong("is not a PEM certificate")),
            }
        };
        let leaf = certificates(&self.certificate)?.swap_remove(0);
        let mut chain = self.chain.as_deref().map(certificates).transpose()?.unwrap_or_default();
        match chain.iter().position(|it| *it == leaf) {
            Some(0) => {}
            None => chain.insert(0, leaf),
            Some(_) => {
                let message = "the leaf certificate stands in the trust chain, but not at its beginning (`trust_chain_path`)";
                return Err(AuthError::configuration(message));
            }
        }
        Ok(chain)
    }
}

#[async_trait]
impl SubjectTokenSource for CertificateFiles {
    async fn subject_token(&self) -> Result<Secret, AuthError> {
        let files = self.clone();
        let chain = off_worker(move || files.read_chain()).await?;
        let chain: Vec<String> = chain.iter().map(|it| STANDARD.encode(it)).collect();
        Ok(Secret::new(Value::from(chain).to_string()))
    }
}

/// Exchanges over connections that show the certificate which is in the files now.
pub(crate) struct CertificateExchange {
    files: CertificateFiles,
    connector: Arc<dyn Connector>,
    clock: Arc<dyn Clock>,
    /// The last certificate and the connections that showed it.
    last: Mutex<Option<(ClientCertificate, Arc<dyn Exchange>)>>,
}

impl CertificateExchange {
    pub(crate) fn new(files: CertificateFiles, connector: Arc<dyn Connector>, clock: Arc<dyn Clock>) -> Self {
        Self { files, connector, clock, last: Mutex::default() }
    }

    async fn current(&self) -> Result<Arc<dyn Exchange>, TransportError> {
        let unusable =
            |error: AuthError| TransportError::new(TransportErrorKind::Tls, Sent::No, error.to_string());
        let files = self.files.clone();
        let certificate = off_worker(move || files.read_pair()).await.map_err(unusable)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, exchange)) if *known == certificate => Ok(Arc::clone(exchange)),
            _ => {
                let profile = Profile::ClientCertificate(certificate.clone());
                let exchange = self.connector.connect(&profile)?;
                *last = Some((certificate, Arc::clone(&exchange)));
                Ok(exchange)
            }
        }
    }
}

impl fmt::Debug for CertificateExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateExchange").field("files", &self.files).finish_non_exhaustive()
    }
}

#[async_trait]
impl Exchange for CertificateExchange {
    async fn send(&self, request: Request) -> Result<Response, TransportError> {
        let mut reads = 1;
        loop {
            let result = match self.current().await {
                Ok(exchange) => exchange.send(request.clone()).await,
                Err(error) => Err(error),
            };
            match result {
                // A key that does not fit its certificate: one of the two files is older.
                Err(error)
                    if error.kind() == TransportErrorKind::Tls
                        && error.sent() == Sent::No
                        && reads < READS_MAX =>
                {
                    tracing::debug!(%error, "the client certificate is not usable; reading it again");
                    self.clock.sleep(READ_AGAIN_AFTER).await;
                    reads += 1;
                }
                result => return result,
            }
        }
    }
}
