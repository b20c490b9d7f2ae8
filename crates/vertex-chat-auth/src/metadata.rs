//! The metadata server: what gives tokens to programs on Google Cloud (Compute Engine, GKE, Cloud Run).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use vertex_chat_transport::{Clock, Exchange, LogText, Request, Timeouts, send_within};

use crate::oauth::{Answer, ask_often, read_fields, token_of};
use crate::source::{joined, quota_header};
use crate::{
    AuthError, AuthErrorKind, DEFAULT_UNIVERSE, Environment, Fetch, FetchedToken, TOKEN_ATTEMPTS_MAX,
    shown_name,
};

/// Where the server is by name.
const HOST: &str = "metadata.google.internal";
/// Where it is by address: asked first, because looking a name up that is not there can take long.
const ADDRESS: &str = "169.254.169.254";
/// How long the server may take to say that it is there. Elsewhere nobody answers.
pub const METADATA_DETECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it is asked for a token where it is known to be: for the first seconds of a pod it is not ready.
const PATIENT_ATTEMPTS: u32 = 8;
/// The longest name of a project or universe that is read.
const NAME_BYTES_MAX: usize = 1 << 10;

/// How much of a refusal is read for its first line, and how much of that is shown, in bytes and characters.
const WORDS_READ_MAX: usize = 4 << 10;
const WORDS_SHOWN_MAX: usize = 300;

const FLAVOR: &str = "metadata-flavor";

/// Gets tokens from the metadata server.
pub struct MetadataSource {
    host: String,
    ping: String,
    timeout: Duration,
    /// Whether the server is there: said by the environment or the machine, or seen. Only a yes is kept.
    is_there: AtomicBool,
    is_sure: bool,
    scopes: Option<String>,
    quota_project: Option<String>,
    /// Never through a proxy: the server trusts whoever can reach it.
    exchange: Arc<dyn Exchange>,
    clock: Arc<dyn Clock>,
    /// Where else was looked, for the error when the server is not there.
    looked_at: String,
    /// What is wrong with a variable that names the server.
    fault: Option<String>,
}

impl MetadataSource {
    /// The server that `GCE_METADATA_HOST` names, else Google's own. `exchange` must not use a proxy.
    #[must_use]
    pub fn new(environment: &Environment, exchange: Arc<dyn Exchange>, clock: Arc<dyn Clock>) -> Self {
        let named = environment.get("GCE_METADATA_HOST");
        let is_sure = named.is_some() || environment.is_process() && is_google_machine();
        let timeout = environment.get("GCE_METADATA_TIMEOUT").and_then(|it| it.parse().ok());
        let timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            ping: environment
                .get("GCE_METADATA_IP")
                .or_else(|| named.clone())
                .unwrap_or_else(|| ADDRESS.to_owned()),
            host: named.unwrap_or_else(|| HOST.to_owned()),
            timeout: timeout.unwrap_or(METADATA_DETECT_TIMEOUT),
            is_there: AtomicBool::new(is_sure),
            is_sure,
            scopes: None,
            quota_project: None,
            exchange,
            clock,
            looked_at: String::new(),
            fault: ["GCE_METADATA_HOST", "GCE_METADATA_IP"].into_iter().find_map(|name| {
                let value = environment.get(name).filter(|it| !is_host_and_port(it))?;
                Some(format!(
                    "{name} is `{}`, and is to be HOST or HOST:PORT, without scheme and path",
                    shown_name(&value)
                ))
            }),
        }
    }

    /// Asks for these scopes. The platform may give those of the machine all the same.
    #[must_use]
    pub fn with_scopes(mut self, scopes: &[impl AsRef<str>]) -> Self {
        self.scopes = Some(joined(scopes, ","));
        self
    }

    /// Bills this project.
    #[must_use]
    pub fn with_quota_project(mut self, project: Option<String>) -> Self {
        self.quota_project = project;
        self
    }

    pub(crate) fn after_looking_at(mut self, looked_at: String) -> Self {
        self.looked_at = looked_at;
        self
    }

    /// The project that the machine belongs to.
    ///
    /// # Errors
    /// When there is no metadata server, or it does not say.
    pub async fn project_id(&self) -> Result<String, AuthError> {
        self.name("project/project-id", "the project").await
    }

    /// The universe that the machine is in. Older servers do not know of universes, and are in that of everybody.
    ///
    /// # Errors
    /// When there is no metadata server.
    pub async fn universe_domain(&self) -> Result<String, AuthError> {
        match self.name("universe/universe-domain", "the universe").await {
            Err(error) if error.status().is_some_and(|it| it == 404 || it == 200) => {
                Ok(DEFAULT_UNIVERSE.to_owned())
            }
            result => result,
        }
    }

    async fn name(&self, path: &str, what: &str) -> Result<String, AuthError> {
        self.detect().await?;
        let request = self.request(path)?;
        self.ask(request, |answer, _| {
            let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
            let is_name = !text.is_empty()
                && text.len() <= NAME_BYTES_MAX
                && text.chars().all(|it| it.is_ascii_alphanumeric() || "-.:".contains(it));
            match answer.status {
                StatusCode::OK if is_name => Ok(text.to_owned()),
                _ => Err(refusal(answer, what)),
            }
        })
        .await
    }

    fn request(&self, path: &str) -> Result<Request, AuthError> {
        get(&format!("http://{}/computeMetadata/v1/{path}", self.host))
    }

    async fn ask<T>(
        &self,
        request: Request,
        read: impl Fn(&Answer, Duration) -> Result<T, AuthError>,
    ) -> Result<T, AuthError> {
        let attempts = if self.is_sure { PATIENT_ATTEMPTS } else { TOKEN_ATTEMPTS_MAX };
        let answer = ask_often(attempts, &*self.exchange, &self.clock, request, read).await;
        answer.map_err(|error| error.in_stage(&format!("the metadata server {}", self.host)))
    }

    /// Finds out whether the server is there; a no is asked again next time.
    async fn detect(&self) -> Result<(), AuthError> {
        if let Some(fault) = &self.fault {
            return Err(AuthError::configuration(fault.clone()));
        }
        if self.is_there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let timeouts = Timeouts::default().with_first_byte(self.timeout);
        let deadline = self.clock.monotonic().saturating_add(self.timeout);
        let request = get(&format!("http://{}/", self.ping))?;
        let why = match send_within(&*self.exchange, request, &timeouts, deadline, &self.clock).await {
            // Anybody may be at that address, so it has to say who it is.
            Ok(response) if response.headers().get(FLAVOR).is_some_and(|it| it == "Google") => {
                self.is_there.store(true, Ordering::Relaxed);
                return Ok(());
            }
            Ok(_) => "what answers there is not Google's".to_owned(),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "no credentials: {}and there is no metadata server at {}: {why}",
            self.looked_at, self.ping
        );
        Err(AuthError::configuration(message).with_remedy(
            "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the path of a credential \
             file, or give a key or a token explicitly",
        ))
    }
}

impl fmt::Debug for MetadataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetadataSource").field("host", &self.host).finish_non_exhaustive()
    }
}

#[async_trait]
impl Fetch for MetadataSource {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        self.detect().await?;
        let scopes = match &self.scopes {
            None => String::new(),
            Some(scopes) => {
                let query =
                    form_urlencoded::Serializer::new(String::new()).append_pair("scopes", scopes).finish();
                format!("?{query}")
            }
        };
        let request = self.request(&format!("instance/service-accounts/default/token{scopes}"))?;
        self.ask(request, |answer, asked_at| match answer.status {
            status if status.is_client_error() || status.is_server_error() => Err(refusal(answer, "a token")),
            // It always says how long a token lives; what does not is something else.
            _ => match read_fields(answer)? {
                fields if fields.get("expires_in").is_none_or(Value::is_null) => Err(AuthError::new(
                    AuthErrorKind::Unavailable,
                    "the answer does not say how long the token lives",
                )),
                fields => token_of(&fields, answer.status, asked_at),
            },
        })
        .await
    }

    fn headers(&self) -> HeaderMap {
        quota_header(self.quota_project.as_deref())
    }
}

fn get(url: &str) -> Result<Request, AuthError> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() =
        url.parse().map_err(|_| AuthError::configuration("GCE_METADATA_HOST is not a host and port"))?;
    request.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
    Ok(request)
}

/// What the server says in place of an answer: its first line, and what to do about it.
fn refusal(answer: &Answer, what: &str) -> AuthError {
    let status = answer.status;
    let kind = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        AuthErrorKind::Unavailable
    } else {
        AuthErrorKind::Refused
    };
    let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(WORDS_READ_MAX)]).into_owned();
    let is_page = text.trim_start().starts_with('<');
    let line = text.lines().map(str::trim).find(|it| !it.is_empty()).filter(|_| !is_page);
    let words = line.map(|it| LogText::new(it, WORDS_SHOWN_MAX).to_string());
    let remedy = match status {
        // GKE says this for a pod whose Kubernetes account may not act as the Google account that it is bound to.
        StatusCode::FORBIDDEN if text.contains("getAccessToken") || text.contains("iam.serviceAccounts") => {
            "grant the role Workload Identity User (`roles/iam.workloadIdentityUser`) on the Google service account to the pod's \
             Kubernetes service account"
        }
        StatusCode::FORBIDDEN if text.contains("Metadata-Flavor") || words.is_none() => {
            "something between here and the metadata server changes requests"
        }
        StatusCode::FORBIDDEN => {
            "the identity of this machine or pod may not get a token; on GKE the pod's Kubernetes service account needs the role \
             Workload Identity User (`roles/iam.workloadIdentityUser`) on the Google service account"
        }
        StatusCode::NOT_FOUND => {
            "attach a service account to this machine, or an identity to this pod's workload: on GKE, Workload Identity has to be \
             on for the cluster and the node pool, and the Kubernetes service account has to exist"
        }
        _ => "",
    };
    AuthError::new(
        kind,
        format!("the metadata server answered {} when it was asked for {what}", status.as_u16()),
    )
    .with_oauth(status.as_u16(), None, words)
    .with_retry_after(answer.retry_after)
    .with_remedy(remedy)
}

/// Whether a text is a host, with a port or without.
fn is_host_and_port(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|it| it.as_str() == text && !text.contains('@'))
}

/// Whether the firmware says that this is one of Google's machines.
fn is_google_machine() -> bool {
    cfg!(target_os = "linux")
        && std::fs::read_to_string("/sys/class/dmi/id/product_name")
            .is_ok_and(|it| it.trim().starts_with("Google"))
}
