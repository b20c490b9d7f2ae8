//! Ctrl-C, and the signals that ask a process to end.

#[cfg(unix)]
use std::sync::Arc;
#[cfg(unix)]
use std::sync::atomic::AtomicBool;

use crate::Failure;

/// The exit code of a program that was interrupted.
#[cfg(unix)]
const INTERRUPTED: i32 = 130;

/// What signals mean to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A conversation: Ctrl-C gives up an answer, again and again.
    Conversation,
    /// A server: SIGHUP has it read its configuration again.
    Server,
    /// Every other command.
    Other,
}

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
    /// Takes the signals over. A second one that asks for the end ends the process where it arrives, whatever the program
    /// is doing then.
    #[cfg(unix)]
    pub(crate) fn listen(role: Role) -> Result<Self, Failure> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        use signal_hook::flag;
        use tokio::signal::unix::{SignalKind, signal};

        let cannot = |error| Failure::Local(format!("cannot listen for signals: {error}"));
        let mut terminate = Vec::new();
        let is_armed = Arc::new(AtomicBool::new(false));
        let mut ends = vec![SIGTERM, SIGQUIT];
        // `nohup` has SIGHUP ignored, and a handler would undo that.
        if role != Role::Server && !is_ignored(SIGHUP) {
            ends.push(SIGHUP);
        }
        for number in ends.iter().copied().chain((role != Role::Conversation).then_some(SIGINT)) {
            // In this order, so that the first one arms and the second one ends.
            flag::register_conditional_shutdown(number, INTERRUPTED, Arc::clone(&is_armed))
                .map_err(cannot)?;
            flag::register(number, Arc::clone(&is_armed)).map_err(cannot)?;
        }
        for number in ends {
            terminate.push(signal(SignalKind::from_raw(number)).map_err(cannot)?);
        }
        Ok(Self { interrupt: signal(SignalKind::interrupt()).map_err(cannot)?, terminate })
    }

    #[cfg(windows)]
    pub(crate) fn listen(_: Role) -> Result<Self, Failure> {
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
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|it| u64::from_str_radix(it.trim(), 16).ok()).unwrap_or(0);
    ignored & (1 << (signal - 1)) != 0
}
