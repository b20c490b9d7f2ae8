//! Thought signatures inside of tool-call ids, for clients that drop what they do not know.
//!
//! A client that is no more than OpenAI's drops `extra_content` and keeps ids. So a signature can travel in the id of
//! its call: `call_1__thought__c2lnbmF0dXJl`. Whoever gives such ids out has to take the signature out again before
//! the id goes to any server.

/// What stands between a call's id and its signature.
pub const SIGNATURE_MARK: &str = "__thought__";
/// The longest id that is made. Signatures are long, and some clients have columns for ids.
pub const SIGNED_ID_BYTES_MAX: usize = 16 << 10;
/// Google's own value for a signature that was lost: it is not looked at. For Gemini 3 on Vertex and on the Developer
/// API.
pub const SIGNATURE_ESCAPE: &str = "skip_thought_signature_validator";

/// An id with a signature in it; `None` when the signature is no base64, or the id would be longer than
/// [`SIGNED_ID_BYTES_MAX`].
///
/// ```
/// use vertex_chat_params::{sign_id, split_id};
///
/// let id = sign_id("call_1", "c2lnbmF0dXJl").expect("it is short");
/// assert_eq!(split_id(&id), ("call_1", Some("c2lnbmF0dXJl")));
/// assert_eq!(split_id("call_1"), ("call_1", None));
/// ```
#[must_use]
pub fn sign_id(id: &str, signature: &str) -> Option<String> {
    let fits = id.len() + SIGNATURE_MARK.len() + signature.len() <= SIGNED_ID_BYTES_MAX;
    (fits && is_base64(signature) && !id.contains(SIGNATURE_MARK))
        .then(|| format!("{id}{SIGNATURE_MARK}{signature}"))
}

/// An id without the signature in it, and the signature.
#[must_use]
pub fn split_id(id: &str) -> (&str, Option<&str>) {
    match id.split_once(SIGNATURE_MARK) {
        Some((id, signature)) if is_base64(signature) => (id, Some(signature)),
        _ => (id, None),
    }
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"+/=-_".contains(&it))
}
