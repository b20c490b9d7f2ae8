//! Words that clients, servers and files have chosen, in logs.

use std::fmt::{self, Write};

/// A word that somebody else has chosen, for a log line: one line of limited length, in which nothing controls a terminal or
/// changes the order of what is read.
///
/// ```
/// use vertex_chat_transport::LogText;
///
/// assert_eq!(LogText::new("a\nb\u{1b}[2J", 64).to_string(), r"a\nb\u{1b}[2J");
/// assert_eq!(LogText::new("abcdef", 3).to_string(), "abc…");
/// assert_eq!(LogText::new(r#"x" status=200"#, 64).quoted().to_string(), r#""x\" status=200""#);
/// ```
#[derive(Clone, Copy)]
pub struct LogText<'a> {
    text: &'a str,
    chars_max: usize,
    is_quoted: bool,
}

impl<'a> LogText<'a> {
    /// A word, cut after so many characters.
    #[must_use]
    pub fn new(text: &'a str, chars_max: usize) -> Self {
        Self { text, chars_max, is_quoted: false }
    }

    /// The same between quotes, so that it cannot be taken for other fields of a line.
    #[must_use]
    pub fn quoted(mut self) -> Self {
        self.is_quoted = true;
        self
    }
}

impl fmt::Display for LogText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_quoted {
            f.write_char('"')?;
        }
        let mut chars = self.text.chars();
        for character in chars.by_ref().take(self.chars_max) {
            match character {
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '"' | '\\' if self.is_quoted => write!(f, "\\{character}")?,
                it if it.is_control() || is_invisible(it) => write!(f, "{}", it.escape_unicode())?,
                it => f.write_char(it)?,
            }
        }
        if chars.next().is_some() {
            f.write_char('…')?;
        }
        if self.is_quoted {
            f.write_char('"')?;
        }
        Ok(())
    }
}

/// `Debug` shows what `Display` does, because both go to logs.
impl fmt::Debug for LogText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Characters that break lines, change the direction of text or are not seen: what is read is then not what is there.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_line_or_its_quotes() {
        let hostile = "a\u{1b}]0;x\u{7}\r\n2026-01-01 y\u{2028}z\u{202e}w\u{feff}\u{85}\"\\";
        let plain = LogText::new(hostile, 100).to_string();
        assert_eq!(plain, "a\\u{1b}]0;x\\u{7}\\r\\n2026-01-01 y\\u{2028}z\\u{202e}w\\u{feff}\\u{85}\"\\");
        let quoted = LogText::new(hostile, 100).quoted().to_string();
        assert!(quoted.starts_with('"') && quoted.ends_with(r#"\"\\""#), "{quoted}");
        assert_eq!(LogText::new("é😀", 1).to_string(), "é…");
        assert_eq!(LogText::new("", 0).quoted().to_string(), r#""""#);
        assert_eq!(format!("{:?}", LogText::new("\n", 9)), "\\n");
    }
}
