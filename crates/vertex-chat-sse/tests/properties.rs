//! What holds for all bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use vertex_chat_sse::{Decoder, Item, STRAY_BYTES_MAX};

/// Bytes that mean something to a decoder, and some that do not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just(b"data: ".to_vec()),
        Just(b"data".to_vec()),
        Just(b"event:".to_vec()),
        Just(b"id: 1".to_vec()),
        Just(b"retry: 10".to_vec()),
        Just(b": comment".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n\n".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        Just("\u{1F392}".as_bytes().to_vec()),
        vec(any::<u8>(), 0..6),
    ];
    vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn decode(limit: usize, pieces: &[&[u8]]) -> (Vec<String>, Option<u64>, String, Result<String, ()>) {
    let mut decoder = Decoder::with_event_bytes_max(limit);
    let mut items = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Item::Event(event))) => {
                    assert!(event.data.len() <= limit * 3, "an invalid byte becomes three");
                    items.push(format!("{} {} {}", event.event, event.last_event_id, event.data));
                }
                Ok(Some(Item::Stray(line))) => {
                    assert!(line.len() <= STRAY_BYTES_MAX * 3);
                    items.push(format!("stray {line}"));
                }
                Ok(_) => break,
                Err(_) => return (items, decoder.retry(), decoder.last_event_id().to_owned(), Err(())),
            }
        }
    }
    let (retry, id) = (decoder.retry(), decoder.last_event_id().to_owned());
    let left = decoder.finish();
    (items, retry, id, Ok(format!("{:?} {:?}", left.data, left.stray)))
}

proptest! {
    #[test]
    fn how_bytes_are_cut_does_not_show(bytes in bytes(), cuts in vec(0_usize..200, 0..6)) {
        let whole = decode(1 << 20, &[&bytes]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut start = 0;
        for cut in cuts {
            pieces.push(&bytes[start..cut]);
            start = cut;
        }
        pieces.push(&bytes[start..]);
        prop_assert_eq!(whole, decode(1 << 20, &pieces));
    }

    #[test]
    fn a_small_limit_holds_and_nothing_panics(bytes in bytes(), limit in 0_usize..12, cut in 0_usize..200) {
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let (items, ..) = decode(limit, &[first, second]);
        let (all, ..) = decode(1 << 20, &[&bytes]);
        prop_assert!(all.starts_with(&items), "what comes before the limit is what would have come anyway");
    }
}

#[test]
fn a_stray_line_between_the_lines_of_an_event_takes_nothing_away() {
    let (items, ..) = decode(100, &[b"foo\nevent: e\ndata: x\nzap:\ndata: y\n\n"]);
    assert_eq!(items, ["stray foo", "stray zap:", "e  x\ny"]);
}
