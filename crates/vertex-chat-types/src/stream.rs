//! What the data of one server-sent event says.

use crate::{ApiError, ChatCompletionChunk, Json, ParseError};

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
