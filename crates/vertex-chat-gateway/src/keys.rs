//! Keys of clients: kept as hashes, compared without telling how far they agree.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;

const PREFIX: &str = "sha256:";

/// The hash of a key.
pub(crate) type KeyHash = [u8; SHA256_OUTPUT_LEN];

/// What the configuration says of a key: `sha256:` and the hash in hexadecimal digits.
///
/// Keys are long and random ([`new_key`]), so that a plain hash cannot be turned back by trying.
#[must_use]
pub fn hash_key(key: &str) -> String {
    let hash = digest(&SHA256, key.as_bytes());
    let digits: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{digits}")
}

/// A new key: `vc-` and 256 random bits.
///
/// # Panics
/// When the machine has no randomness.
#[must_use]
pub fn new_key() -> String {
    let mut bits = [0; SHA256_OUTPUT_LEN];
    aws_lc_rs::rand::fill(&mut bits).expect("because every machine that this runs on has randomness");
    let digits: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("vc-{digits}")
}

/// Reads what [`hash_key`] writes.
pub(crate) fn parse(text: &str) -> Option<KeyHash> {
    let digits = text.strip_prefix(PREFIX)?;
    let mut hash = [0; SHA256_OUTPUT_LEN];
    (digits.len() == 2 * hash.len() && digits.is_ascii()).then_some(())?;
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

/// Whose key a request shows. Every known key is compared, whether or not an earlier one was right.
pub(crate) fn client_of<'a>(headers: &HeaderMap, keys: &'a [(String, KeyHash)]) -> Option<&'a str> {
    let bearer = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).and_then(|it| {
        let (scheme, key) = it.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(key.trim())
    });
    let key = bearer.or_else(|| headers.get("api-key")?.to_str().ok())?;
    let shown = digest(&SHA256, key.as_bytes());
    let mut client = None;
    for (name, hash) in keys {
        if verify_slices_are_equal(shown.as_ref(), hash).is_ok() {
            client = Some(name.as_str());
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_hash() {
        let key = new_key();
        assert_ne!(key, new_key());
        let keys = [("me".to_owned(), parse(&hash_key(&key)).unwrap())];
        let client = |name: &'static str, value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            client_of(&headers, &keys).map(str::to_owned)
        };
        assert_eq!(client("authorization", format!("Bearer {key}")).as_deref(), Some("me"));
        assert_eq!(client("authorization", format!("bearer {key}")).as_deref(), Some("me"));
        assert_eq!(client("api-key", key.clone()).as_deref(), Some("me"));
        for wrong in [format!("Bearer {key}x"), format!("Basic {key}"), "Bearer ".to_owned(), key.clone()] {
            assert_eq!(client("authorization", wrong), None);
        }
        assert_eq!(client_of(&HeaderMap::new(), &keys), None);
        for bad in ["", "sha256:", "sha256:0g", &key, &format!("sha256:{}", "é".repeat(32))] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
