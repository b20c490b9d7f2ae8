//! Events to bytes.

/// Writes an event without a type. Every line of the data becomes a line of its own, so that the data comes out of a
/// decoder as it went in, but for CR and CRLF, which come out as LF.
///
/// ```
/// let mut out = Vec::new();
/// vertex_chat_sse::encode(&mut out, "[DONE]");
/// assert_eq!(out, b"data: [DONE]\n\n");
/// ```
pub fn encode(out: &mut Vec<u8>, data: &str) {
    for line in lines(data) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Writes an event of a type. Of a type with line ends only the first line is written.
pub fn encode_named(out: &mut Vec<u8>, event: &str, data: &str) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(lines(event).next().unwrap_or_default().as_bytes());
    out.push(b'\n');
    encode(out, data);
}

/// Writes a comment, which decoders ignore and idle timers do not.
pub fn encode_comment(out: &mut Vec<u8>, comment: &str) {
    for line in lines(comment) {
        out.extend_from_slice(b": ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Lines by LF, CR or CRLF; a text without any is one line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr::memchr2(b'\n', b'\r', text.as_bytes()) else { return rest.take() };
        let after = &text[end..];
        rest = Some(&after[if after.starts_with("\r\n") { 2 } else { 1 }..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Decoder, Item};

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(data in "(?s)[a\r\n:é ]{0,20}|(?s).{0,40}", event in "[a-z]{0,3}", cut in 0_usize..60) {
            let mut out = Vec::new();
            encode_comment(&mut out, &data);
            encode_named(&mut out, &event, &data);
            encode_comment(&mut out, "ping");
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            let (first, second) = out.split_at(cut.min(out.len()));
            for mut input in [first, second] {
                while let Some(item) = decoder.next(&mut input).unwrap() {
                    match item {
                        Item::Event(it) => seen.push((it.event.to_string(), it.data.to_string())),
                        Item::Stray(line) => prop_assert!(false, "stray {line:?}"),
                    }
                }
            }
            prop_assert_eq!(seen, [(event, data.replace("\r\n", "\n").replace('\r', "\n"))]);
        }
    }
}
