//! Work of more than a few milliseconds, away from the workers that answer probes and other clients.
//!
//! The workers of the runtime are few, and a worker that computes answers nobody. So what is large is done on threads of its
//! own, and on no more of them at once than the machine has cores: more would only slow each other down.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Up to this size a body is read where it arrives, in bytes. It takes about a millisecond.
pub(crate) const INLINE_BYTES_MAX: usize = 128 << 10;
/// Up to this many steps a request is prepared where it arrives. It takes at most a few milliseconds.
pub(crate) const INLINE_STEPS_MAX: u64 = 15_000;

/// The threads for heavy work. Cloning is cheap; all clones are one.
#[derive(Clone)]
pub(crate) struct Heavy(Arc<Semaphore>);

impl Heavy {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new(cores)))
    }

    /// Does something on a thread of its own, when it is this job's turn.
    ///
    /// # Cancel safety
    /// Dropping the future before the job's turn gives the job up; later the job ends unheard.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let job = tokio::task::spawn_blocking(move || {
            // Held to the end of the job, also when nobody waits for it any more.
            let _permit = permit;
            work()
        });
        match job.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending, and with it whatever waits here.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Does something here if it is small, and on a thread of its own if it is large.
    pub(crate) async fn by_size<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if bytes <= INLINE_BYTES_MAX { work() } else { Box::pin(self.run(work)).await }
    }
}

/// Does something that cannot wait for a turn, because it happens while a body is polled. If it is large, the worker hands
/// its other tasks over first.
pub(crate) fn in_place<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let has_others =
        || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > INLINE_BYTES_MAX && has_others() { tokio::task::block_in_place(work) } else { work() }
}
