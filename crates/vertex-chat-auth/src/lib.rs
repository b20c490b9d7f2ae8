//! Google credentials to access tokens.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vertex_chat_auth::{CredentialsOptions, TokenSource};
//! use vertex_chat_transport::{HttpConnector, SystemClock};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), vertex_chat_auth::AuthError> {
//! let credentials = CredentialsOptions::new(Arc::new(HttpConnector::new()), Arc::new(SystemClock)).find()?;
//! let token = match credentials.cached() {
//!     Some(token) => token,
//!     None => credentials.refresh().await?,
//! };
//! let request = http::Request::get("https://…").header("authorization", token.authorization());
//! # Ok(()) }
//! ```
//!
//! **What it is.** [`TokenSource`], the one thing that a client asks for tokens; a [cache](Cached) that asks Google once
//! however many ask it; and what stands behind it: the whole of Application Default Credentials. A service account's key,
//! exchanged for an access token or signing its own, for itself or for a person ([`ServiceAccountKey`]); a person's login,
//! Google's or federated ([`AuthorizedUser`]); the metadata server of Google's machines ([`MetadataSource`]); accounts that
//! others act as ([`ImpersonatedSource`]); identities from elsewhere: files, URLs, AWS, programs, certificates, and
//! [whatever you bring](SubjectTokenSource); gcloud's account; a token from elsewhere. A credential file that is replaced
//! while the program runs is read again with the next token.
//!
//! **What it is not.** API keys are not credentials of this kind. ID tokens, device certificates, regional access boundaries
//! and certificate-bound tokens are not here.
//!
//! **Do not cache tokens yourself.** [`TokenSource::cached`] costs a lock and a counter, and knows when a token is
//! about to die; a cache on top of it does not.
//!
//! # Refreshing
//!
//! A token is *fresh* until 225 s before its end (never more than half its life), then *stale*: it is still handed out
//! while one task, started by whoever comes first, gets the next. From 10 s before its end it is *dead*: whoever asks
//! waits for the one request. A failed refresh leaves a stale token in use, and is tried again after a back-off; no
//! error is for ever. There is no task while nobody asks.

mod aws;
mod cache;
mod certificate;
mod credentials;
mod discover;
mod environment;
mod error;
mod executable;
mod external;
mod file;
mod gcloud;
mod impersonation;
mod key;
mod load;
mod metadata;
mod oauth;
mod off_worker;
mod path_value;
mod permissions;
mod process;
mod reload;
mod secret;
mod service_account;
mod source;
mod state;
mod subject;
mod urls;
mod user;

pub use aws::{AwsCredentials, aws_subject_token};
pub use cache::{Cached, DEAD_MARGIN, Fetch, FetchedToken, STALE_MARGIN};
pub use credentials::{
    CREDENTIAL_FILE_BYTES_MAX, Credentials, CredentialsKind, CredentialsOptions, PROJECT_VARIABLES, Place,
    VARIABLES_NOT_READ,
};
pub use environment::{Environment, VARIABLES};
pub use error::{AuthError, AuthErrorKind};
pub use executable::ExecutableAnswer;
pub use impersonation::{IMPERSONATED_LIFE, IMPERSONATED_LIFE_MAX, ImpersonatedSource};
pub use metadata::{METADATA_DETECT_TIMEOUT, MetadataSource};
pub use oauth::{TOKEN_ANSWER_BYTES_MAX, TOKEN_ATTEMPT_TIMEOUT, TOKEN_ATTEMPTS_MAX, TOKEN_TOTAL_TIMEOUT};
pub use off_worker::FILE_TIMEOUT;
pub use path_value::{MisplacedValue, check_path, shown_name, shown_path};
pub use permissions::{readable_by_others, writable_by_others};
pub use secret::Secret;
pub use service_account::{ServiceAccountKey, ServiceAccountSource, TokenForm};
pub use source::{AccessToken, NoToken, StaticToken, TokenSource};
pub use state::{BACKOFF_MAX, FORCED_REFRESH_GAP};
pub use subject::{SubjectTokenSource, read_bounded};
pub use user::{AuthorizedUser, AuthorizedUserSource};
/// What [`read_bounded`] gives: bytes that are overwritten when they are dropped.
pub use zeroize::Zeroizing;

/// The scope that every Google Cloud service takes.
pub const CLOUD_PLATFORM_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The token endpoint of key files that name none, and the audience of every assertion for Google.
pub const GOOGLE_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
/// The universe of everyone who is not in a sovereign cloud.
pub const DEFAULT_UNIVERSE: &str = "googleapis.com";
