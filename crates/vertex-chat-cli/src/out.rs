//! What the program writes: answers on stdout, everything else on stderr.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal, Write};

use crate::Failure;

/// Writes to stdout at once: to a terminal without what would control it, to anything else as it is.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let text = if stdout.is_terminal() { harmless(text) } else { Cow::Borrowed(text) };
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

/// Writes a line to stderr. Nobody is told when that fails.
pub(crate) fn note(text: impl fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{}", harmless(&text.to_string()));
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
