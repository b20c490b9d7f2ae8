//! Credential files that are replaced while the program runs: a new login, a rotated key.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderMap;

use crate::{AuthError, CredentialsOptions, Fetch, FetchedToken};

/// Gets tokens by what a file says now. The file stays the source, whatever it says: credentials are never looked for
/// anywhere else in its place.
pub(crate) struct Reloading {
    path: PathBuf,
    origin: String,
    options: CredentialsOptions,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    fetch: Arc<dyn Fetch>,
    stamp: Option<Stamp>,
}

/// By what a change is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    /// Another file may have the same time and length.
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode: inode_of(metadata) }
    }
}

#[cfg(unix)]
fn inode_of(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode_of(_: &std::fs::Metadata) -> u64 {
    0
}

impl Reloading {
    pub(crate) fn new(
        path: PathBuf,
        origin: String,
        options: CredentialsOptions,
        fetch: Arc<dyn Fetch>,
        stamp: Stamp,
    ) -> Self {
        Self { path, origin, options, loaded: Mutex::new(Loaded { fetch, stamp: Some(stamp) }) }
    }

    fn current(&self) -> Arc<dyn Fetch> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = std::fs::metadata(&self.path).ok().map(|it| Stamp::of(&it));
        if stamp.is_some() && stamp != loaded.stamp {
            match self.options.load(&self.path, &self.origin) {
                Ok((found, stamp)) => {
                    tracing::debug!(
                        origin = self.origin,
                        "the credential file has changed and was read again"
                    );
                    *loaded = Loaded { fetch: found.fetch, stamp: Some(stamp) };
                }
                // Half written, perhaps; what was read before goes on until the file can be read.
                Err(error) => tracing::debug!(%error, "the credential file has changed and cannot be read"),
            }
        }
        Arc::clone(&loaded.fetch)
    }
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Fetch for Reloading {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        self.current().fetch().await
    }

    fn time_max(&self) -> Duration {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).fetch.time_max()
    }

    fn headers(&self) -> HeaderMap {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).fetch.headers()
    }
}
