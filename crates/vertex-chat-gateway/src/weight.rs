//! How much memory JSON takes once it is read into values: an empty object of two bytes becomes hundreds.

use memchr::{memchr2, memchr3_iter};

/// The most objects and arrays of a request or an answer that is read into values.
pub const CONTAINERS_MAX: usize = 200_000;
/// What an object or array may take: the largest type of the protocol, and room for it in a list that grows.
const CONTAINER_BYTES: usize = 640;
/// What any other value may take beside its text.
const VALUE_BYTES: usize = 48;
/// Up to this size in bytes nothing is counted: it cannot become more than a few megabytes.
const SMALL: usize = 16 << 10;

/// There are more objects and arrays than [`CONTAINERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// About how many bytes the values of this text take at most, beside the text itself.
pub(crate) fn weigh(json: &[u8]) -> Result<usize, TooMany> {
    if json.len() <= SMALL {
        return Ok(0);
    }
    let (mut containers, mut values) = (0, 0);
    let mut rest = json;
    loop {
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        for at in memchr3_iter(b'{', b'[', b',', &rest[..end]) {
            match rest[at] {
                b',' => values += 1,
                _ => containers += 1,
            }
        }
        if containers > CONTAINERS_MAX {
            return Err(TooMany);
        }
        if end == rest.len() {
            return Ok(containers * CONTAINER_BYTES + values * VALUE_BYTES);
        }
        rest = after_string(&rest[end + 1..]);
    }
}

/// What follows a string whose first quote has been read.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        let is_end = rest[at] == b'"';
        rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_and_words_are_not() {
        let words = format!(r#"{{"a":"{}"}}"#, r#"[{,\"\\"#.repeat(SMALL));
        assert_eq!(weigh(words.as_bytes()), Ok(CONTAINER_BYTES));
        let few = format!("[{}{{}}]", "{},".repeat(SMALL));
        assert_eq!(weigh(few.as_bytes()), Ok((SMALL + 2) * CONTAINER_BYTES + SMALL * VALUE_BYTES));
        let many = format!("[{}{{}}]", "{},".repeat(CONTAINERS_MAX));
        assert_eq!(weigh(many.as_bytes()), Err(TooMany));
        assert_eq!(weigh("\"".repeat(SMALL + 1).as_bytes()), Ok(0), "what is no JSON ends too");
        assert_eq!(weigh(format!("\"{}\\", "a".repeat(SMALL)).as_bytes()), Ok(0));
    }
}
