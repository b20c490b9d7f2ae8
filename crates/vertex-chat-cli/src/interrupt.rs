//! Ctrl-C, and the signals that ask a process to end.

use crate::Failure;

/// How the user or the system asks the program to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ctrl-C: stop what is running now. A conversation goes on.
    Interrupt,
    /// SIGTERM, SIGQUIT, or SIGHUP because the terminal is gone: end the program.
    Terminate,
}

/// The signals that ask the program to stop, from the moment of [`listen`](Self::listen) on. A signal that arrives while
/// nothing waits for it is remembered.
#[derive(Debug)]
pub(crate) struct Interrupts {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: Vec<tokio::signal::unix::Signal>,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

impl Interrupts {
    /// Takes the signals over. `hangup_ends` is false for a program to which SIGHUP means something else.
    #[cfg(unix)]
    pub(crate) fn listen(hangup_ends: bool) -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};

        let cannot = |error| Failure::Local(format!("cannot listen for signals: {error}"));
        let mut terminate = vec![
            signal(SignalKind::terminate()).map_err(cannot)?,
            signal(SignalKind::quit()).map_err(cannot)?,
        ];
        // `nohup` has SIGHUP ignored, and a handler would undo that.
        if hangup_ends && !is_ignored(SignalKind::hangup()) {
            terminate.push(signal(SignalKind::hangup()).map_err(cannot)?);
        }
        Ok(Self { interrupt: signal(SignalKind::interrupt()).map_err(cannot)?, terminate })
    }

    #[cfg(windows)]
    pub(crate) fn listen(_: bool) -> Result<Self, Failure> {
        let interrupt = tokio::signal::windows::ctrl_c();
        let interrupt =
            interrupt.map_err(|error| Failure::Local(format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(Self { interrupt })
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Stop {
        std::future::poll_fn(|cx| {
            use std::task::Poll;

            if let Poll::Ready(Some(())) = self.interrupt.poll_recv(cx) {
                return Poll::Ready(Stop::Interrupt);
            }
            match self.terminate.iter_mut().any(|it| matches!(it.poll_recv(cx), Poll::Ready(Some(())))) {
                true => Poll::Ready(Stop::Terminate),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Waits for the next Ctrl-C.
    #[cfg(windows)]
    pub(crate) async fn next(&mut self) -> Stop {
        if self.interrupt.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        Stop::Interrupt
    }

    /// Does something to its end, or until the next signal. Either way the caller goes on, and removes what it has made.
    pub(crate) async fn end<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            _ = self.next() => Err(Failure::Interrupted),
        }
    }
}

/// Whether the process was started with a signal ignored; false where the system does not show it.
#[cfg(unix)]
fn is_ignored(signal: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0);
    ignored & (1 << (signal.as_raw_value() - 1)) != 0
}
