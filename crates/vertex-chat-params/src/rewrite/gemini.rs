//! Texts, thinking and calls as Gemini takes them.

use vertex_chat_types::{Content, ContentPart, Message, Nullable, PartType, ReasoningEffort, Role};

use super::{Rewriter, generation_2};
use crate::Dialect;

/// The text that a message gets where Gemini wants one and the caller has sent none.
pub(super) const FILLER: &str = " ";

impl Rewriter<'_> {
    /// The endpoint turns system messages into an instruction, and then nothing is left to answer.
    pub(super) fn system_only(&mut self) {
        let messages = &mut self.request.messages;
        let Some(last) = messages.len().checked_sub(1) else { return };
        if messages.iter().all(|it| matches!(it.role, Role::System | Role::Developer)) {
            messages[last].role = Role::User;
            self.note(
                format!("messages[{last}].role"),
                "it became `user`: Gemini answers no instructions alone",
            );
        }
    }

    pub(super) fn empty_text(&mut self) {
        let mut notes: Vec<(String, &str)> = Vec::new();
        let others = self.request.messages.len() > 1;
        let mut kept = Vec::with_capacity(self.request.messages.len());
        for (i, mut message) in std::mem::take(&mut self.request.messages).into_iter().enumerate() {
            let path = format!("messages[{i}].content");
            if let Nullable::Value(Content::Parts(parts)) = &mut message.content {
                let before = parts.len();
                parts.retain(|it| !is_empty_text(it));
                if parts.len() < before {
                    notes.push((path.clone(), "empty texts were left out"));
                }
            }
            // The assistant may have said nothing, and a signature may stand alone.
            let says_nothing = matches!(message.role, Role::Assistant | Role::Model)
                && message.content.get().is_none()
                && message.refusal.is_none();
            let calls = message.tool_calls.as_ref().is_some_and(|it| !it.is_empty())
                || message.function_call.is_some();
            if !is_empty(&message) || says_nothing || message.extra_content.is_some() {
                // It may stay.
            } else if calls {
                if message.content.is_value() {
                    message.content = Nullable::Absent;
                    notes.push((path, "the empty text was left out beside the calls"));
                }
            } else if matches!(message.role, Role::System | Role::Developer) && others {
                notes.push((path, "the empty message was left out"));
                continue;
            } else if let Some(refusal) = message.refusal.take() {
                message.content = Nullable::Value(Content::Text(refusal));
                notes.push((path, "the refusal is the text"));
            } else {
                message.content = Nullable::Value(Content::Text(FILLER.to_owned()));
                notes.push((path, "one space stands where Gemini wants a text"));
            }
            kept.push(message);
        }
        self.request.messages = kept;
        self.notes(notes);
    }

    /// Gemini's efforts by the sources: Vertex's page has none (not for Pro), low, medium and high; pydantic-ai, DeepTutor and
    /// LiteLLM report which models refuse `none` and `minimal`.
    pub(super) fn nearest_effort(&mut self) {
        let Some(effort) = &self.request.reasoning_effort else { return };
        let model = self.request.model.as_deref().unwrap_or_default();
        let name = model.rsplit('/').next().unwrap_or_default();
        if !name.starts_with("gemini") {
            return;
        }
        let is_2 = generation_2(Some(model));
        let is_pro = name.contains("-pro");
        let takes_minimal = match is_2 {
            true => self.dialect == Dialect::GeminiDeveloper,
            false => !is_pro && !name.starts_with("gemini-3.7"),
        };
        let least = if takes_minimal { ReasoningEffort::Minimal } else { ReasoningEffort::Low };
        let nearest = match effort.as_str() {
            "none" if is_2 && !is_pro => return,
            "none" => least,
            "minimal" if takes_minimal => return,
            "minimal" => ReasoningEffort::Low,
            "low" | "medium" | "high" => return,
            "xhigh" | "max" => ReasoningEffort::High,
            _ => return,
        };
        let reason = format!("`{}` became `{nearest}`, the nearest that this model takes", effort.as_str());
        self.request.reasoning_effort = Some(nearest);
        self.note("reasoning_effort", reason);
    }

    /// The endpoint reads the arguments of earlier calls, and refuses what is no object.
    pub(super) fn call_arguments(&mut self) {
        let mut notes = Vec::new();
        let mut refused = Vec::new();
        for (i, message) in self.request.messages.iter_mut().enumerate() {
            let of_tools = message.tool_calls.iter_mut().flatten().enumerate();
            let mut calls: Vec<_> = of_tools
                .filter_map(|(j, call)| {
                    Some((
                        format!("messages[{i}].tool_calls[{j}].function.arguments"),
                        call.function.as_mut()?,
                    ))
                })
                .collect();
            if let Some(call) = &mut message.function_call {
                calls.push((format!("messages[{i}].function_call.arguments"), call));
            }
            for (path, function) in calls {
                let text = function.arguments.as_deref().unwrap_or_default().trim();
                if matches!(text, "" | "null" | "\"\"") {
                    function.arguments = Some("{}".to_owned());
                    notes.push(path);
                } else if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_err() {
                    refused.push(path);
                }
            }
        }
        for path in notes {
            self.note(path, "a call without arguments has an empty object of them");
        }
        let remedy =
            "send the arguments as the model wrote them; a call that was cut off cannot be sent back";
        for path in refused {
            self.refuse(path, "the arguments of the call are no JSON object", remedy);
        }
    }
}

/// Whether a part is a text without a letter, and nothing else.
fn is_empty_text(part: &ContentPart) -> bool {
    let is_text = part.text.is_some() || part.r#type == Some(PartType::Text);
    let has_more = part.image_url.is_some() || part.extra_content.is_some();
    is_text && part.text.as_deref().unwrap_or_default().is_empty() && !has_more
}

/// Whether a message says nothing that Gemini would see.
pub(super) fn is_empty(message: &Message) -> bool {
    match message.content.get() {
        None => true,
        Some(Content::Text(text)) => text.is_empty(),
        Some(content) => content.parts().is_empty(),
    }
}
