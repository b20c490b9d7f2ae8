//! Reading files without keeping a worker of the runtime.
//!
//! A file may be on a network drive that does not answer. A worker that waits for it answers nothing else.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::{AuthError, AuthErrorKind};

/// How long the files of credentials may take to read.
pub const FILE_TIMEOUT: Duration = Duration::from_secs(10);

/// Does something with files on a thread of its own, and waits at most [`FILE_TIMEOUT`] for it. Without a runtime of tokio
/// it is done here.
pub(crate) async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
) -> Result<T, AuthError> {
    let Ok(runtime) = Handle::try_current() else { return work() };
    let bounded = move || {
        let (done, result) = sync_channel(1);
        // Its own thread: one that hangs is not to be missing from the pool for ever.
        std::thread::Builder::new()
            .name("credentials".to_owned())
            .spawn(move || drop(done.send(work())))
            .map_err(|error| unavailable(&format!("no thread for reading files: {error}")))?;
        match result.recv_timeout(FILE_TIMEOUT) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = FILE_TIMEOUT.as_secs();
                Err(unavailable(&format!(
                    "the files of the credentials could not be read within {seconds} s"
                )))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(unavailable("reading the files of the credentials failed"))
            }
        }
    };
    match runtime.spawn_blocking(bounded).await {
        Ok(result) => result,
        Err(_) => Err(unavailable("the runtime ended while files of the credentials were read")),
    }
}

fn unavailable(message: &str) -> AuthError {
    AuthError::new(AuthErrorKind::Unavailable, message)
        .with_remedy("check the drive that the credential file is on")
}
