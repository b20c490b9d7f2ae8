//! What the program writes: answers on stdout, everything else on stderr.
//!
//! A terminal or a pipe can stop taking what is written. So lines for stderr are queued, and a thread of its own writes
//! them: neither requests nor the end of the program wait for a reader. Answers go to stdout on the command's own thread,
//! which waits until they are read.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vertex_chat::transport::LogText;

use crate::Failure;

/// The most lines for stderr that wait to be written; further ones are counted and lost.
const LINES_MAX: usize = 10_000;
/// About how much of them is written at once, in bytes.
const WRITE_BYTES: usize = 64 << 10;
/// How long the end of the program waits for the rest of them.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes to stdout at once: to a terminal without what would control it, to anything else as it is.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let text = if stdout.is_terminal() {
        // On a terminal both are seen in the order in which they were written.
        stderr().flush();
        harmless(text)
    } else {
        Cow::Borrowed(text)
    };
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Local(format!("stdout: {error}")),
    })
}

/// A text in which nothing controls a terminal: models and servers write what they like, and an escape sequence can
/// clear the screen or fill the clipboard. Control characters become their pictures.
fn harmless(text: &str) -> Cow<'_, str> {
    let controls = |it: char| it.is_control() && it != '\n' && it != '\t';
    if !text.contains(controls) {
        return Cow::Borrowed(text);
    }
    let picture = |it: char| match it {
        // A line end of another world.
        '\r' => None,
        '\u{7f}' => Some('\u{2421}'),
        it if controls(it) => {
            Some(char::from_u32(0x2400 + u32::from(it)).filter(|_| it < ' ').unwrap_or('\u{fffd}'))
        }
        it => Some(it),
    };
    Cow::Owned(text.chars().filter_map(picture).collect())
}

/// Writes a line to stdout.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

/// Queues a line for stderr.
pub(crate) fn note(text: impl fmt::Display) {
    stderr().line(harmless(&text.to_string()).into_owned());
}

/// The queue of lines for stderr.
pub(crate) fn stderr() -> &'static Stderr {
    static STDERR: OnceLock<Stderr> = OnceLock::new();
    STDERR.get_or_init(Stderr::start)
}

/// Lines for stderr, and the thread that writes them.
pub(crate) struct Stderr {
    jobs: SyncSender<Job>,
    counts: Arc<Counts>,
}

/// What the queue and its thread count.
#[derive(Default)]
struct Counts {
    /// Lines that wait to be written.
    waiting: AtomicU64,
    /// Lines for which there was no room.
    lost: AtomicU64,
}

/// What goes to the thread.
enum Job {
    Line(String),
    /// Report when everything before this has been written.
    Flush(SyncSender<()>),
}

impl Stderr {
    fn start() -> Self {
        let (jobs, to_do) = sync_channel(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let own = Arc::clone(&counts);
        // Without a thread the lines are lost, and the program works.
        let _ =
            std::thread::Builder::new().name("stderr".to_owned()).spawn(move || write_lines(&to_do, &own));
        Self { jobs, counts }
    }

    /// Queues a line without waiting. When too many wait, it is counted and lost.
    pub(crate) fn line(&self, line: String) {
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Line(line)) {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what is queued has been written, but not long.
    pub(crate) fn flush(&self) {
        if self.counts.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (done, written) = sync_channel(1);
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

fn write_lines(jobs: &Receiver<Job>, counts: &Counts) {
    while let Ok(first) = jobs.recv() {
        let (mut text, mut lines, mut flush) = (String::new(), 0, None);
        let mut next = Some(first);
        // Those that wait already go in the same write.
        while let Some(job) = next {
            match job {
                Job::Line(line) => {
                    lines += 1;
                    text.extend([line.as_str(), "\n"]);
                }
                Job::Flush(done) => flush = Some(done),
            }
            next = if text.len() < WRITE_BYTES && flush.is_none() { jobs.try_recv().ok() } else { None };
        }
        let lost = counts.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            text.push_str(&format!("{lost} lines of this log were lost: they came too fast\n"));
        }
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
        counts.waiting.fetch_sub(lines, Ordering::Relaxed);
        if let Some(done) = flush {
            let _ = done.send(());
        }
    }
}

/// Collects what a library writes of one event, and queues it as lines.
#[derive(Debug, Default)]
pub(crate) struct EventWriter(Vec<u8>);

impl Write for EventWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for EventWriter {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        // One event, one line, whatever its words are.
        stderr().line(LogText::new(text.trim_end_matches('\n'), usize::MAX).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn nothing_that_controls_a_terminal_is_left() {
        assert_eq!(harmless("plain\n\ttext é 😀"), "plain\n\ttext é 😀");
        assert_eq!(harmless("a\u{1b}]0;title\u{7}b\r\nc\u{9b}2Jd\u{7f}"), "a␛]0;title␇b\nc\u{fffd}2Jd␡");
    }
}
