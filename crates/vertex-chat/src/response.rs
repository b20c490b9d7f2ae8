//! An answer and what came with it.

use std::fmt;
use std::ops::{Deref, DerefMut};
use vertex_chat_types::{ChatCompletion, ChatCompletionChunk, FunctionCall};

use http::{HeaderMap, StatusCode};
use vertex_chat_params::{FunctionNames, Report};

/// Headers that name a request, in the order in which they are believed.
const REQUEST_ID_HEADERS: [&str; 4] =
    ["x-request-id", "x-goog-request-id", "request-id", "x-vertex-ai-request-id"];

/// An answer, and what came with it. Reads like the answer itself.
#[derive(Clone)]
pub struct Response<T> {
    data: T,
    meta: Meta,
}

impl<T> Response<T> {
    pub(crate) fn new(data: T, meta: Meta) -> Self {
        Self { data, meta }
    }

    /// What came with the answer.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The answer itself.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.data
    }

    /// The answer and what came with it.
    #[must_use]
    pub fn into_parts(self) -> (T, Meta) {
        (self.data, self.meta)
    }
}

impl<T> Deref for Response<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Response<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

impl<T: fmt::Debug> fmt::Debug for Response<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("data", &self.data).field("meta", &self.meta).finish()
    }
}

/// What came with an answer.
#[derive(Clone)]
pub struct Meta {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) attempts: u32,
    pub(crate) resent: u32,
    pub(crate) report: Report,
}

impl Meta {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The server's name for the request, to give to its support.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        request_id(&self.headers)
    }

    /// How many requests it took.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How many of them were sent again at once, because the connection had ended before the server began to answer, or because
    /// the token had been refused and there was a new one. They are no retries.
    #[must_use]
    pub fn resent(&self) -> u32 {
        self.resent
    }

    /// What was done to the request before it was sent: dropped parameters, rewritten ones.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }
}

impl fmt::Debug for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meta")
            .field("status", &self.status)
            .field("request_id", &self.request_id())
            .field("attempts", &self.attempts)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

pub(crate) fn request_id(headers: &HeaderMap) -> Option<&str> {
    REQUEST_ID_HEADERS.iter().find_map(|name| headers.get(*name)?.to_str().ok())
}

/// Gives functions that were sent under another name the caller's name again.
pub(crate) fn name_back(names: &FunctionNames, completion: &mut ChatCompletion) {
    let messages = completion.choices.iter_mut().filter_map(|it| it.message.as_mut());
    for message in messages.filter(|_| !names.is_empty()) {
        let tools = message.tool_calls.iter_mut().flatten().filter_map(|it| it.function.as_mut());
        tools.chain(&mut message.function_call).for_each(|it| name_one_back(names, it));
    }
}

/// The same for a piece of a stream.
pub(crate) fn name_chunk_back(names: &FunctionNames, chunk: &mut ChatCompletionChunk) {
    let deltas = chunk.choices.iter_mut().filter_map(|it| it.delta.as_mut());
    for delta in deltas.filter(|_| !names.is_empty()) {
        let tools = delta.tool_calls.iter_mut().flatten().filter_map(|it| it.function.as_mut());
        tools.chain(delta.function_call.as_deref_mut()).for_each(|it| name_one_back(names, it));
    }
}

fn name_one_back(names: &FunctionNames, function: &mut FunctionCall) {
    if let Some(callers) = function.name.as_deref().and_then(|it| names.callers(it)) {
        function.name = Some(callers.to_owned());
    }
}
