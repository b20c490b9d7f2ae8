//! Credential files that are replaced while the program runs: a new login, a rotated key.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::HeaderMap;

use crate::off_worker::{FILE_TIMEOUT, off_worker};
use crate::{AuthError, CredentialsOptions, Fetch, FetchedToken};

/// Gets tokens by what a file says now. The file stays the source, whatever it says: credentials are never looked for
/// anywhere else in its place.
pub(crate) struct Reloading(Arc<Inner>);

struct Inner {
    path: PathBuf,
    origin: String,
    options: CredentialsOptions,
    loaded: Mutex<Loaded>,
    /// Whether the file is being read. One that hangs is not read by more and more threads.
    is_reading: AtomicBool,
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
        Self(Arc::new(Inner {
            path,
            origin,
            options,
            loaded: Mutex::new(Loaded { fetch, stamp: Some(stamp) }),
            is_reading: AtomicBool::new(false),
        }))
    }

    /// Reads the file again if it has changed, away from the runtime's workers. What was read before goes on where that fails.
    async fn current(&self) -> Arc<dyn Fetch> {
        if !self.0.is_reading.swap(true, Ordering::Relaxed) {
            let inner = Arc::clone(&self.0);
            let read = off_worker(move || {
                inner.read_again();
                inner.is_reading.store(false, Ordering::Relaxed);
                Ok(())
            });
            if let Err(error) = read.await {
                tracing::warn!(origin = self.0.origin, %error, "the credential file is not read again");
            }
        }
        self.0.fetch()
    }
}

impl Inner {
    fn fetch(&self) -> Arc<dyn Fetch> {
        Arc::clone(&self.loaded.lock().unwrap_or_else(PoisonError::into_inner).fetch)
    }

    fn read_again(&self) {
        let stamp = std::fs::metadata(&self.path).ok().map(|it| Stamp::of(&it));
        let known = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).stamp;
        if stamp.is_none() || stamp == known {
            return;
        }
        match self.options.load(&self.path, &self.origin) {
            Ok((found, stamp)) => {
                tracing::debug!(origin = self.origin, "the credential file has changed and was read again");
                *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) =
                    Loaded { fetch: found.fetch, stamp: Some(stamp) };
            }
            // Half written, perhaps; what was read before goes on until the file can be read.
            Err(error) => tracing::debug!(%error, "the credential file has changed and cannot be read"),
        }
    }
}

impl fmt::Debug for Reloading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("path", &self.0.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Fetch for Reloading {
    async fn fetch(&self) -> Result<FetchedToken, AuthError> {
        self.current().await.fetch().await
    }

    fn time_max(&self) -> Duration {
        // What reading may take, and what the token may.
        self.0.fetch().time_max().saturating_add(FILE_TIMEOUT)
    }

    fn headers(&self) -> HeaderMap {
        self.0.fetch().headers()
    }
}
