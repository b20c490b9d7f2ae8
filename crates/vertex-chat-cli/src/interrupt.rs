//! Ctrl-C, and being told to end.

use crate::Failure;

#[cfg(unix)]
type Listener = tokio::signal::unix::Signal;
#[cfg(windows)]
type Listener = tokio::signal::windows::CtrlC;

/// Ctrl-C, from the moment of listening on: one that comes while nobody waits is remembered.
#[derive(Debug)]
pub(crate) struct Interrupts(Listener);

impl Interrupts {
    pub(crate) fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        let listener = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        #[cfg(windows)]
        let listener = tokio::signal::windows::ctrl_c();
        listener.map(Self).map_err(|error| Failure::Local(format!("cannot listen for Ctrl-C: {error}")))
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Does something to its end, or until the next Ctrl-C, or until it is told to end (SIGTERM): either way what was made for
    /// a while is cleared away.
    pub(crate) async fn end<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        #[cfg(unix)]
        let terminated = async {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut listener) = signal(SignalKind::terminate()) else {
                return std::future::pending().await;
            };
            if listener.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        #[cfg(not(unix))]
        let terminated = std::future::pending::<()>();
        tokio::select! {
            result = work => result,
            () = self.next() => Err(Failure::Interrupted),
            () = terminated => Err(Failure::Interrupted),
        }
    }
}
