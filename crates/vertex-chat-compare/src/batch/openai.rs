//! OpenAI's batch form, of the open models that Google serves.

use vertex_chat::{ChatRequest, Content};

use super::BatchError;

/// The body of a line: the request as the endpoint would get it.
pub(super) fn body(request: &ChatRequest, prepared: &[u8]) -> Result<String, BatchError> {
    for (i, message) in request.messages.iter().enumerate() {
        for (j, part) in message.content.get().into_iter().flat_map(Content::parts).enumerate() {
            if part.text.is_none() && part.refusal.is_none() {
                let problem = "not text, and batch jobs of open models are of text only";
                let remedy = "leave it out, or ask request by request";
                return Err(BatchError::new(format!("messages[{i}].content[{j}]"), problem, remedy));
            }
        }
    }
    Ok(String::from_utf8_lossy(prepared).into_owned())
}
