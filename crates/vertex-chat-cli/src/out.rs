//! What the program writes: answers on stdout, everything else on stderr.

use std::fmt;
use std::io::Write;

use crate::Failure;

/// Writes to stdout at once.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|_| Failure::OutputClosed)
}

/// Writes a line to stdout.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

/// Writes a line to stderr. Nobody is told when that fails.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
