//! What the data of one server-sent event says, and whether a stream of them came to its end.

use crate::{ApiError, ChatCompletionChunk, Json, ParseError};

/// How much text outside of events is kept, to find an error in it, in bytes.
pub const STRAY_TEXT_BYTES_MAX: usize = 64 << 10;
/// In how many places of that text an error is looked for.
const STRAY_STARTS_MAX: usize = 16;

/// What one event of a streamed answer says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A piece of the answer.
    Chunk(ChatCompletionChunk),
    /// `[DONE]`: there is no more.
    Done,
    /// The server failed after it had begun.
    Error(ApiError),
    /// Nothing for us: a ping, an empty event.
    Nothing,
}

impl StreamEvent {
    /// Reads an event: its type (empty when it has none) and its data.
    ///
    /// # Errors
    /// When the data is not JSON, or a chunk with a field of the wrong type. A lone surrogate escape (`"\ud83d"`) is
    /// such a fault: it stands for no character.
    pub fn read(event_type: &str, data: &str) -> Result<Self, ParseError> {
        let data = data.trim_matches([' ', '\t', '\r', '\n']);
        let is_message = event_type.is_empty() || event_type == "message";
        match data.as_bytes().first() {
            None => return Ok(Self::Nothing),
            Some(b'{') => {}
            Some(_) if data == "[DONE]" => return Ok(Self::Done),
            // An event that calls itself an error is one, whatever it says.
            Some(_) if event_type == "error" => {
                return Ok(Self::Error(ApiError::from_body(None, data.as_bytes())));
            }
            // Google's errors are arrays, in streams too.
            Some(_) => {
                return match ApiError::detect(data.as_bytes()) {
                    Some(error) => Ok(Self::Error(error)),
                    None if is_message => Err(not_a_chunk(data)),
                    None => Ok(Self::Nothing),
                };
            }
        }
        if event_type == "error" {
            return Ok(Self::Error(ApiError::from_body(None, data.as_bytes())));
        }
        let chunk: ChatCompletionChunk = match crate::from_str(data) {
            Ok(chunk) => chunk,
            Err(error) => match ApiError::detect(data.as_bytes()) {
                Some(error) => return Ok(Self::Error(error)),
                None if is_message => return Err(error),
                None => return Ok(Self::Nothing),
            },
        };
        if chunk.extra.get("error").is_some_and(|it| !it.is_null())
            || (chunk.choices.is_empty() && chunk.usage.is_none())
        {
            if let Some(error) = ApiError::detect(data.as_bytes()) {
                return Ok(Self::Error(error));
            }
            if !is_message {
                return Ok(Self::Nothing);
            }
        }
        Ok(Self::Chunk(chunk))
    }
}

#[cold]
fn not_a_chunk(data: &str) -> ParseError {
    match data.parse::<Json>() {
        Ok(_) => crate::from_str::<ChatCompletionChunk>(data).err(),
        Err(error) => Some(error),
    }
    .unwrap_or_else(|| crate::from_str::<ChatCompletionChunk>("").expect_err("because nothing is no chunk"))
}

/// Which choices of a stream have begun, and which have said why they ended.
///
/// A stream is whole when the server says `[DONE]`, or when every choice that it began has a finish reason. A server whose
/// finish reason came before the end of a choice has to say `[DONE]`: its next one says no more than the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Choices by number. One with a number beyond the bits counts as number 127.
    begun: u128,
    ended: u128,
    /// Whether something of a choice came after its finish reason.
    was_early: bool,
}

impl Progress {
    /// Takes note of a chunk.
    pub fn note(&mut self, chunk: &ChatCompletionChunk) {
        for choice in &chunk.choices {
            let bit = 1_u128 << choice.index.unwrap_or(0).min(127);
            self.begun |= bit;
            if self.ended & bit != 0 && !choice.is_silent() {
                self.was_early = true;
                self.ended &= !bit;
            }
            if choice.finish_reason.is_value() {
                self.ended |= bit;
            }
        }
    }

    /// Whether a choice has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun != 0
    }

    /// Whether a choice has begun, and every one that has has ended, so that `[DONE]` is not needed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.begun != 0 && self.begun == self.ended && !self.was_early
    }

    /// Whether this choice has said why it ended.
    #[must_use]
    pub fn has_ended(&self, choice: u64) -> bool {
        self.ended & (1_u128 << choice.min(127)) != 0
    }
}

/// Text that stands in a stream outside of its events, where Google's services print errors.
///
/// ```
/// use vertex_chat_types::StrayText;
///
/// let mut stray = StrayText::default();
/// for line in ["{", r#""error":{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}"#, "}"] {
///     stray.push(line);
/// }
/// assert_eq!(stray.error().and_then(|it| it.status()), Some(499));
/// ```
#[derive(Clone, Default)]
pub struct StrayText(String);

impl StrayText {
    /// Adds a line; one beyond [`STRAY_TEXT_BYTES_MAX`] is passed over.
    pub fn push(&mut self, line: &str) {
        if self.0.len() + line.len() < STRAY_TEXT_BYTES_MAX {
            self.0.push_str(line);
            self.0.push('\n');
        }
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error in it, once it is whole.
    #[must_use]
    pub fn error(&self) -> Option<ApiError> {
        if !self.0.trim_end().ends_with(['}', ']']) {
            return None;
        }
        // It may come after lines that are none of it.
        let lines = std::iter::once(0).chain(self.0.match_indices('\n').map(|(at, _)| at + 1));
        let starts = lines.filter(|&at| self.0[at..].starts_with(['{', '[']));
        starts.take(STRAY_STARTS_MAX).find_map(|at| ApiError::detect(&self.0.as_bytes()[at..]))
    }
}

/// Without the text: it may quote the request.
impl std::fmt::Debug for StrayText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StrayText(<{} bytes>)", self.0.len())
    }
}
