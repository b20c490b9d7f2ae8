//! The entry points of the fuzz targets under proptest: on noise, and on recorded traffic with bytes changed.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;
use vertex_chat_tests::{entries, root, shared};

const ENTRIES: [fn(&[u8]); 5] =
    [entries::types, entries::sse, entries::schema, entries::errors, entries::prepare];

/// Texts to begin from: a few of our own, and recorded ones where they are.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let own = [
        r#"{"model":"gemini-3-flash","messages":[{"role":"user","content":[{"type":"image_url","image_url":"gs://b/o"}]}],"google":{"x":1}}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
        r##"{"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/A"},{"const":1}]}},"$defs":{"A":{"enum":["a",null]}}}"##,
        r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"@type":"x.RetryInfo","retryDelay":"3s"}]}}]"#,
        "event: a\ndata: {\"choices\":[]}\r\n\r\ndata: [DONE]\n\n{\"error\":1}",
    ];
    let mut seeds: Vec<Vec<u8>> = own.iter().map(|it| it.as_bytes().to_vec()).collect();
    seeds.push(std::fs::read(root().join("tests/data/parameter-expectations.json")).unwrap());
    if let Some(folder) = shared("corpus") {
        let index = std::fs::read_to_string(folder.join("index.jsonl")).unwrap();
        for line in index.lines().step_by(23) {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap();
            for name in [&entry["request"], &entry["response"]].into_iter().filter_map(|it| it.as_str()) {
                seeds.extend(std::fs::read(folder.join(name)).ok().filter(|it| it.len() < 20_000));
            }
        }
    }
    seeds
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn noise_breaks_no_promise(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for entry in ENTRIES {
            entry(&bytes);
        }
    }

    #[test]
    fn changed_bytes_break_no_promise(
        seed in any::<Index>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), 0_u8..3), 0..6),
    ) {
        let mut bytes = SEEDS[seed.index(SEEDS.len())].clone();
        for (place, byte, kind) in changes {
            let at = place.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match kind {
                _ if bytes.is_empty() => {}
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.drain(at..(at + usize::from(byte) % 16).min(bytes.len()))),
            }
        }
        for entry in ENTRIES {
            entry(&bytes);
        }
    }
}
