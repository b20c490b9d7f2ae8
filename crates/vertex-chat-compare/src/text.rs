//! Texts made short: for errors, for reports, for one line.

use crate::MESSAGE_CHARS_MAX;

/// Somebody's text as an error or a report shows it: short, on one line.
pub(crate) fn short(text: &str, chars_max: usize) -> String {
    let mut chars = text.chars().map(|it| if it.is_control() { ' ' } else { it });
    let mut cut: String = chars.by_ref().take(chars_max).collect();
    if chars.next().is_some() {
        cut.push('…');
    }
    cut
}

/// A server's message as a line of a run keeps it.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().nth(MESSAGE_CHARS_MAX).is_none() {
        return text.to_owned();
    }
    text.chars().take(MESSAGE_CHARS_MAX - 1).chain(['…']).collect()
}

/// JSON without white space between its tokens. The order of keys and the spelling of numbers stay.
pub(crate) fn compact(json: &str) -> String {
    let (mut is_string, mut is_escaped) = (false, false);
    json.chars()
        .filter(|&it| {
            if is_string {
                (is_string, is_escaped) = (it != '"' || is_escaped, it == '\\' && !is_escaped);
                return true;
            }
            is_string = it == '"';
            !it.is_ascii_whitespace()
        })
        .collect()
}
