//! JSON that means the same has the same hash, whoever wrote it.

use serde_json::Value;
use vertex_chat::ChatRequest;

use super::BatchError;

/// A number that stands for a request. It is FNV-1a, which is the same in every version of this program.
pub(super) type Fingerprint = u64;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// What a request's line does not depend on, or replaces.
const NOT_COUNTED: [&str; 3] = ["model", "stream", "stream_options"];

/// Of a request as the run's plan has it: the same today and when the job is done, even when the translation of requests
/// was changed in between.
pub(super) fn of_chat(request: &ChatRequest) -> Result<Fingerprint, BatchError> {
    let unreadable = |_| BatchError::new("", "the request is nested too deeply", "make it flatter");
    let mut value: Value = serde_json::from_str(&request.to_json()).map_err(unreadable)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|key, _| !NOT_COUNTED.contains(&key.as_str()));
    }
    Ok(of_value(&value))
}

/// Of JSON text; `None` when it is none, or nested more deeply than any request that is written here.
pub(super) fn of_text(text: &str) -> Option<Fingerprint> {
    serde_json::from_str(text).ok().map(|value| of_value(&value))
}

/// Does not depend on the order of keys, on how numbers are spelled, on camel or snake case, and on fields without a value:
/// the service reads the file into a table and writes it anew, and then a text of digits may have become a number.
fn of_value(value: &Value) -> Fingerprint {
    let mut hash = FNV_OFFSET;
    feed(value, &mut hash);
    hash
}

fn feed(value: &Value, hash: &mut u64) {
    match value {
        Value::Null => add(b"n", hash),
        Value::Bool(flag) => add(if *flag { b"t" } else { b"f" }, hash),
        Value::Number(number) => scalar(&number.to_string(), hash),
        Value::String(text) => scalar(text, hash),
        Value::Array(items) => {
            add(b"[", hash);
            items.iter().for_each(|it| feed(it, hash));
            add(b"]", hash);
        }
        Value::Object(fields) => {
            let plain = |key: &str| key.replace('_', "").to_ascii_lowercase();
            let mut fields: Vec<(String, &Value)> = fields
                .iter()
                .filter(|(_, value)| !is_nothing(value))
                .map(|(key, value)| (plain(key), value))
                .collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            add(b"{", hash);
            for (key, value) in fields {
                add(key.as_bytes(), hash);
                add(b":", hash);
                feed(value, hash);
            }
            add(b"}", hash);
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

/// A number and a text of the same digits are the same.
fn scalar(text: &str, hash: &mut u64) {
    add(b"\"", hash);
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => add(number.to_string().as_bytes(), hash),
        _ => add(text.as_bytes(), hash),
    }
    add(b"\"", hash);
}

fn add(bytes: &[u8], hash: &mut u64) {
    for byte in bytes {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::compact;

    #[test]
    fn what_a_table_changes_does_not_count() {
        let check = |a: &str, b: &str, same: bool| assert_eq!(of_text(a) == of_text(b), same, "{a} {b}");
        check(r#"{"a":1,"b":2}"#, r#"{ "b": 2.0, "a": 1 }"#, true);
        check(r#"{"topP":0.9,"x":null}"#, r#"{"top_p":0.90}"#, true);
        check(r#"{"a":{"b":[]},"c":1}"#, r#"{"c":1}"#, true);
        check(r#"{"text":"000000"}"#, r#"{"text":0}"#, true);
        check(r#"{"text":"a"}"#, r#"{"text":"b"}"#, false);
        check(r#"[1,2]"#, r#"[2,1]"#, false);
        check(r#"{"a":["b"]}"#, r#"{"a":"b"}"#, false);
    }

    #[test]
    fn white_space_in_texts_stays() {
        assert_eq!(
            compact("{ \"a b\" :\n \"c \\\" d\\\\\" , \"e\":[1, 2]}"),
            r#"{"a b":"c \" d\\","e":[1,2]}"#
        );
    }
}
