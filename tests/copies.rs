//! A request with pictures of 20 MB is prepared without copying them more than once. Alone in its program, because the
//! allocator counts for all threads.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use vertex_chat_params::{Dialect, Policy, Target, prepare, prepare_in_place, prepare_json};
use vertex_chat_types::{ChatRequest, ContentPart, Message};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const PICTURE: usize = 5 << 20;

/// Bytes that were allocated while this ran.
fn allocated<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = dhat::HeapStats::get().total_bytes;
    let result = run();
    (result, usize::try_from(dhat::HeapStats::get().total_bytes - before).unwrap())
}

#[test]
fn pictures_are_copied_once_at_most() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let picture = || ContentPart::image_url(format!("data:image/png;base64,{}", "QU/D".repeat(PICTURE / 4)));
    let parts = vec![ContentPart::text("what?"), picture(), picture(), picture(), picture()];
    let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user(parts)]).with_user("dropped");
    let size = 4 * PICTURE;
    let small = size / 20;

    let body = serde_json::to_vec(&request).unwrap();
    let target = Target::new(Dialect::VertexGemini2);

    // Something changes: one copy, of the whole body.
    let whole = body.clone();
    let (prepared, bytes) = allocated(|| prepare_json(whole, &target).unwrap());
    assert!(prepared.report().dropped().eq(["user"]) && prepared.body().len() > size);
    assert!(bytes < size + small, "{bytes} bytes for a body of {}", body.len());

    // As PHP writes it, every slash escaped.
    let escaped = String::from_utf8(body.clone()).unwrap().replace('/', "\\/").into_bytes();
    let (whole, size_of_escaped) = (escaped.clone(), escaped.len());
    let (prepared, bytes) = allocated(|| prepare_json(whole, &target).unwrap());
    assert!(prepared.report().dropped().eq(["user"]) && prepared.body().len() > size_of_escaped - small);
    assert!(bytes < size_of_escaped + small, "{bytes} bytes for a body of {size_of_escaped}");

    // Nothing changes: none.
    let target = target.with_policy(Policy::Forward);
    let whole = body.clone();
    let (prepared, bytes) = allocated(|| prepare_json(whole, &target).unwrap());
    assert_eq!(prepared.body().len(), body.len());
    assert!(bytes < small, "{bytes} bytes");

    // A typed request is written: one copy.
    let mut typed = request.clone();
    let (prepared, bytes) = allocated(|| prepare_in_place(&mut typed, &target).unwrap());
    assert_eq!(prepared.body(), body);
    assert!(bytes < size + small, "{bytes} bytes");
    let (_, bytes) = allocated(|| prepare(request, &target).unwrap());
    assert!(bytes < size + small, "{bytes} bytes");
}
