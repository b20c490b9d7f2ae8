//! A bound on the bytes of bodies that are in memory at once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// A bound on the bytes of bodies that are in memory at once: of requests, of answers, of events of streams.
///
/// Cloning is cheap; all clones are one.
///
/// ```
/// use vertex_chat_transport::BodyLimit;
///
/// let limit = BodyLimit::new(1_000);
/// let mut permit = limit.permit();
/// permit.resize(800)?;
/// assert!(limit.permit().resize(201).is_err());
/// // The permit goes with the bytes: dropping them gives the room back.
/// let body = permit.bind("a body".into());
/// assert_eq!(limit.used(), 800);
/// drop(body);
/// assert_eq!(limit.used(), 0);
/// # Ok::<(), vertex_chat_transport::NoRoom>(())
/// ```
#[derive(Clone)]
pub struct BodyLimit(Arc<Inner>);

struct Inner {
    bytes_max: usize,
    used: AtomicUsize,
    whole: Option<BodyLimit>,
}

/// There is no room for more bytes of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoRoom {
    /// The limit that is reached, in bytes.
    pub bytes_max: usize,
    /// Whether it is the limit of a share, so that others have room.
    pub is_share: bool,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bodies take up {} bytes of memory already, which is the limit", self.bytes_max)
    }
}

impl std::error::Error for NoRoom {}

impl BodyLimit {
    /// A limit of so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner { bytes_max, used: AtomicUsize::new(0), whole: None }))
    }

    /// A limit on a share of this limit. Its bytes count in both.
    #[must_use]
    pub fn share(&self, bytes_max: usize) -> Self {
        Self(Arc::new(Inner { bytes_max, used: AtomicUsize::new(0), whole: Some(self.clone()) }))
    }

    /// A permit for no bytes yet.
    #[must_use]
    pub fn permit(&self) -> BodyPermit {
        BodyPermit { limit: self.clone(), bytes: 0 }
    }

    /// How many bytes there are permits for.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), NoRoom> {
        let inner = &self.0;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= inner.bytes_max);
        inner
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| NoRoom { bytes_max: inner.bytes_max, is_share: inner.whole.is_some() })?;
        if let Some(whole) = &inner.whole
            && let Err(error) = whole.take(bytes)
        {
            inner.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(error);
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.give_back(bytes);
        }
    }
}

impl fmt::Debug for BodyLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyLimit")
            .field("bytes_max", &self.0.bytes_max)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// A permit for some bytes under a [`BodyLimit`]. Dropping it gives the bytes back.
#[derive(Debug)]
pub struct BodyPermit {
    limit: BodyLimit,
    bytes: usize,
}

impl BodyPermit {
    /// Makes the permit one for so many bytes.
    ///
    /// # Errors
    /// When there is no room for them; then the permit is as it was.
    pub fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        match bytes.checked_sub(self.bytes) {
            Some(0) => {}
            Some(more) => self.limit.take(more)?,
            None => self.limit.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }

    /// How many bytes it is for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a permit for so many of the bytes, or for all if they are fewer, out of this one.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { limit: self.limit.clone(), bytes }
    }

    /// The bytes with the permit, which ends with the last copy of them.
    #[must_use]
    pub fn bind(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Bound { bytes, _permit: self })
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.limit.give_back(self.bytes);
        }
    }
}

struct Bound {
    bytes: Bytes,
    _permit: BodyPermit,
}

impl AsRef<[u8]> for Bound {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_room_for_others_and_the_whole_bounds_all() {
        let whole = BodyLimit::new(100);
        let (one, other) = (whole.share(75), whole.share(75));
        let (mut a, mut b) = (one.permit(), other.permit());
        assert_eq!(a.resize(76), Err(NoRoom { bytes_max: 75, is_share: true }));
        a.resize(75).unwrap();
        assert_eq!(b.resize(26), Err(NoRoom { bytes_max: 100, is_share: false }));
        assert_eq!((one.used(), other.used(), whole.used()), (75, 0, 75), "what does not fit leaves nothing");
        b.resize(25).unwrap();
        a.resize(10).unwrap();
        assert_eq!((one.used(), whole.used()), (10, 35));
        assert_eq!(b.resize(usize::MAX).unwrap_err().bytes_max, 75);
        drop(a);
        let rest = b.split(20);
        assert_eq!((rest.bytes(), b.bytes(), whole.used()), (20, 5, 25));
        drop(b);
        let mut b = rest.limit.permit();
        b.resize(5).unwrap();
        drop(rest);
        b.resize(25).unwrap();
        let body = b.bind(Bytes::from_static(b"abc"));
        let part = body.slice(1..);
        drop(body);
        assert_eq!((&part[..], whole.used()), (&b"bc"[..], 25));
        drop(part);
        assert_eq!((one.used(), other.used(), whole.used()), (0, 0, 0));
    }
}
