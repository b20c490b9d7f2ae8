//! Long strings set aside, so that a request with pictures is read and written without copying them.

use std::ops::Range;

/// The shortest string that is set aside, in bytes.
const ASIDE_BYTES_MIN: usize = 16 << 10;
/// How much of such a string stays, for rules that look at how it begins.
const HEAD_BYTES: usize = 256;

/// How many marks are tried; who fills a body with marks has it copied.
const SALTS_MAX: usize = 4;
/// Room for a mark's number, in bytes.
const NUMBER_ROOM: usize = 24;

/// A JSON body with its long strings cut: each ends in a mark that says where the rest of it is.
pub(crate) struct Aside<'a> {
    whole: &'a [u8],
    slim: Vec<u8>,
    mark: String,
    rests: Vec<Range<usize>>,
}

impl<'a> Aside<'a> {
    /// Cuts a body; `None` when it has no string that is worth it. Only strings of plain ASCII are cut, without escapes
    /// but `\\/`: what is in them is then known to be good JSON without a reader. The pictures of most clients are such strings.
    pub(crate) fn of(whole: &'a [u8]) -> Option<Self> {
        if whole.len() < ASIDE_BYTES_MIN {
            return None;
        }
        let rests = long_strings(whole);
        if rests.is_empty() {
            return None;
        }
        let cut: usize = rests.iter().map(ExactSizeIterator::len).sum();
        (0..SALTS_MAX).find_map(|salt| {
            // In the alphabet of base64, so that a cut string still looks like what it is.
            let mark = format!("_vertex-chat-aside-{salt}-");
            let room = whole.len() - cut + rests.len() * (mark.len() + NUMBER_ROOM);
            let mut slim = Vec::with_capacity(room);
            let mut done = 0;
            for (i, rest) in rests.iter().enumerate() {
                slim.extend_from_slice(&whole[done..rest.start]);
                slim.extend_from_slice(format!("{mark}{i}_").as_bytes());
                done = rest.end;
            }
            slim.extend_from_slice(&whole[done..]);
            // Nobody else's text may look like a mark.
            let found = count(&slim, mark.as_bytes());
            (found == rests.len()).then(|| Self { whole, slim, mark, rests: rests.clone() })
        })
    }

    pub(crate) fn slim(&self) -> &[u8] {
        &self.slim
    }

    /// How long a text is with the cut strings put back.
    pub(crate) fn restored_len(&self, text: &str) -> usize {
        self.pieces(text).fold(text.len(), |length, (rest, _)| length + rest.len())
    }

    /// A text with the cut strings put back.
    pub(crate) fn restore(&self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.restored_len(text));
        out.extend_from_slice(text.split(&self.mark).next().unwrap_or_default().as_bytes());
        for (rest, after) in self.pieces(text) {
            out.extend_from_slice(&self.whole[rest]);
            out.extend_from_slice(after.as_bytes());
        }
        out
    }

    /// For every mark what was cut there, and the text up to the next.
    fn pieces<'b>(&'b self, text: &'b str) -> impl Iterator<Item = (Range<usize>, &'b str)> {
        text.split(&self.mark).skip(1).map(|piece| {
            let (number, after) = piece.split_once('_').expect("because every mark has an end");
            let number: usize = number.parse().expect("because every mark has a number");
            (self.rests[number].clone(), after)
        })
    }
}

/// What may be cut of the long strings of a JSON text.
fn long_strings(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(quote) = text[at..].iter().position(|it| *it == b'"') {
        let start = at + quote + 1;
        let mut end = start;
        let mut plain = true;
        loop {
            match text[end..].iter().position(|it| !matches!(it, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                None => return found,
                Some(next) => end += next,
            }
            match text[end] {
                b'"' => break,
                // PHP writes every slash so.
                b'\\' if text.get(end + 1) == Some(&b'/') => end += 2,
                b'\\' => {
                    plain = false;
                    end += 2;
                }
                _ => {
                    plain = false;
                    end += 1;
                }
            }
            if end >= text.len() {
                return found;
            }
        }
        if plain && end - start >= ASIDE_BYTES_MIN {
            // Not between a backslash and its slash.
            let head = HEAD_BYTES + usize::from(text[start + HEAD_BYTES - 1] == b'\\');
            found.push(start + head..end);
        }
        at = end + 1;
        if at >= text.len() {
            return found;
        }
    }
    found
}

fn count(text: &[u8], word: &[u8]) -> usize {
    // The first byte is rare enough to look for it alone.
    text.iter().enumerate().filter(|(at, it)| **it == word[0] && text[*at..].starts_with(word)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_comes_back() {
        let picture = "A".repeat(ASIDE_BYTES_MIN);
        let escaped = format!("\\n{picture}");
        let body = format!(
            r#"{{"a":"{picture}","b":["short","{escaped}","é{picture}"],"c":"{picture}B","_vertex-chat-aside-0-1_":1}}"#
        );
        let aside = Aside::of(body.as_bytes()).unwrap();
        assert_eq!(aside.rests.len(), 2);
        assert!(aside.slim().len() < body.len() - 2 * (ASIDE_BYTES_MIN - HEAD_BYTES) + 100);
        assert!(serde_json::from_slice::<serde_json::Value>(aside.slim()).is_ok());
        assert_eq!(aside.restore(std::str::from_utf8(aside.slim()).unwrap()), body.as_bytes());
    }

    #[test]
    fn what_is_no_json_is_left_to_the_reader() {
        let long = "A".repeat(ASIDE_BYTES_MIN);
        for body in
            [format!("\"{long}"), format!("\"{long}\\"), format!("{{\"a\":\"{long}\""), format!("{long}\"")]
        {
            if let Some(aside) = Aside::of(body.as_bytes()) {
                assert!(serde_json::from_slice::<serde_json::Value>(aside.slim()).is_err(), "{}", body.len());
            }
        }
        assert!(Aside::of(b"\"").is_none());
    }
}
