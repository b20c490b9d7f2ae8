//! Subject tokens: what a program can show of itself where it runs, before Google gives it a token for it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};
use vertex_chat_transport::{Clock, Exchange, Request};
use zeroize::Zeroizing;

use crate::file::Fields;
use crate::oauth::{Answer, TOKEN_TOTAL_TIMEOUT, ask, failure_of_status};
use crate::off_worker::off_worker;
use crate::{AuthError, AuthErrorKind, CREDENTIAL_FILE_BYTES_MAX, Secret, shown_path};

/// Where subject tokens come from: the identity that a program has on another cloud, in a cluster, in a build.
///
/// Implement it for what no credential file can say, such as AWS credentials that only AWS's own library finds, and give it
/// to [`CredentialsOptions::with_subject_tokens`](crate::CredentialsOptions::with_subject_tokens).
#[async_trait]
pub trait SubjectTokenSource: fmt::Debug + Send + Sync + 'static {
    /// A token that is good now. It is asked for whenever an access token is needed, so it need not be cached; it must come
    /// to an end by itself.
    ///
    /// # Errors
    /// When there is none to be had.
    async fn subject_token(&self) -> Result<Secret, AuthError>;

    /// How long [`subject_token`](Self::subject_token) takes at most.
    fn time_max(&self) -> Duration {
        TOKEN_TOTAL_TIMEOUT
    }
}

/// How a token stands in a file or an answer.
#[derive(Debug)]
pub(crate) enum Format {
    Text,
    /// A field of a JSON object.
    Field(String),
}

impl Format {
    /// `credential_source.format`.
    pub(crate) fn of(source: &Map<String, Value>) -> Result<Self, AuthError> {
        let Some(format) = source.get("format").and_then(Value::as_object) else { return Ok(Self::Text) };
        match format.text("type") {
            None | Some("text") => Ok(Self::Text),
            Some("json") => {
                let field = format.text("subject_token_field_name").ok_or_else(|| {
                    AuthError::configuration(
                        "field `credential_source.format.subject_token_field_name` is missing",
                    )
                })?;
                Ok(Self::Field(field.to_owned()))
            }
            Some(_) => {
                Err(AuthError::configuration("`credential_source.format.type` is neither `text` nor `json`"))
            }
        }
    }

    /// The token in these bytes, without white space at its end: files are written with a line end, tokens have none.
    fn read(&self, bytes: &[u8], place: &str) -> Result<Secret, AuthError> {
        let none = |what: String| AuthError::configuration(format!("{place} {what}"));
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        if bytes.trim_ascii_start().starts_with(b"<") {
            return Err(none("has a page in HTML or XML, and no token".to_owned()));
        }
        let token = match self {
            Self::Text => {
                let text = std::str::from_utf8(bytes).map_err(|_| none("is not text".to_owned()))?;
                if text.trim_start().starts_with('{') {
                    return Err(none("has a JSON object; say so with `credential_source.format`".to_owned()));
                }
                if text.trim_end().contains(char::is_whitespace) {
                    return Err(none("has blanks or lines in it, and so no token".to_owned()));
                }
                Secret::new(text.trim_end())
            }
            Self::Field(field) => {
                let fields: Map<String, Value> = serde_json::from_slice(bytes)
                    .map_err(|_| none("is not a JSON object, which `format.type` says it is".to_owned()))?;
                let token = fields.text(field).ok_or_else(|| none(format!("has no text field `{field}`")))?;
                Secret::new(token)
            }
        };
        if token.expose().is_empty() { Err(none("is empty".to_owned())) } else { Ok(token) }
    }
}

/// A token in a file that somebody keeps fresh, as Kubernetes does; read for every access token.
#[derive(Debug)]
pub(crate) struct FileSubject {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

#[async_trait]
impl SubjectTokenSource for FileSubject {
    async fn subject_token(&self) -> Result<Secret, AuthError> {
        let path = self.path.clone();
        let (bytes, place) = off_worker(move || {
            let place = format!("the subject token's file {}", shown_path(&path));
            let bytes = read_small(&path).map_err(|what| {
                AuthError::configuration(format!("{place}: {what}"))
                    .with_remedy("check `credential_source.file`")
            })?;
            Ok((bytes, place))
        })
        .await?;
        self.format.read(&bytes, &place)
    }
}

/// The bytes of a file that is not larger than any credential is.
pub(crate) fn read_small(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    // Looked at before it is opened: to open a pipe is to wait for somebody who writes into it.
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    read_bounded(path)
}

/// The bytes of a file, of which no more are read than credentials and certificates have: [`CREDENTIAL_FILE_BYTES_MAX`].
///
/// # Errors
/// With what the system says, or that the file is larger.
pub fn read_bounded(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(CREDENTIAL_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match u64::try_from(bytes.len()) {
        Ok(0..=CREDENTIAL_FILE_BYTES_MAX) => Ok(bytes),
        _ => Err(format!("larger than {CREDENTIAL_FILE_BYTES_MAX} bytes")),
    }
}

/// A token that a server gives, as Azure's metadata server and GitHub's do.
pub(crate) struct UrlSubject {
    pub(crate) url: http::Uri,
    /// What the server wants to see; may be secrets.
    pub(crate) headers: HeaderMap,
    pub(crate) format: Format,
    pub(crate) exchange: Arc<dyn Exchange>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for UrlSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A query may hold a key.
        f.debug_struct("UrlSubject").field("host", &self.url.host()).finish_non_exhaustive()
    }
}

impl UrlSubject {
    /// `credential_source.headers`.
    pub(crate) fn headers_of(source: &Map<String, Value>) -> Result<HeaderMap, AuthError> {
        let mut headers = HeaderMap::new();
        for (name, value) in source.get("headers").and_then(Value::as_object).into_iter().flatten() {
            let pair = name.parse::<HeaderName>().ok().zip(value.as_str().and_then(|it| it.parse().ok()));
            let Some((name, mut value)) = pair else {
                let message = format!("`credential_source.headers.{name}` is not a header");
                return Err(AuthError::configuration(message));
            };
            HeaderValue::set_sensitive(&mut value, true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

#[async_trait]
impl SubjectTokenSource for UrlSubject {
    async fn subject_token(&self) -> Result<Secret, AuthError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let place =
            format!("the subject token's server {}", self.url.authority().map_or("", |it| it.as_str()));
        let read = |answer: &Answer, _| {
            if !answer.status.is_success() {
                return Err(failure_of_status(answer, &place)
                    .with_remedy("check `credential_source.url` and its `headers`"));
            }
            // What it answers with 200 it may answer better the next time.
            self.format
                .read(&answer.body, &format!("the answer of {place}"))
                .map_err(|error| AuthError::new(AuthErrorKind::Unavailable, error.to_string()))
        };
        ask(&*self.exchange, &self.clock, request, read).await
    }
}
