//! A message of a request, and a call to a tool.

use serde::de::DeserializeOwned;

use crate::wire::object;
use crate::{Content, ExtraContent, Nullable, ParseError, ReasoningDetail, Role, ToolType};

object! {
    /// One message of a conversation, as a request carries it.
    ///
    /// ```
    /// use vertex_chat_types::{ContentPart, Message};
    ///
    /// let messages = [
    ///     Message::system("Answer in one sentence."),
    ///     Message::user([ContentPart::text("What is this?"), ContentPart::image_url("gs://bucket/cat.png")]),
    /// ];
    /// ```
    pub struct Message("a message") {
        /// Who speaks.
        role "role": [must Role],
        /// What they say. An assistant that only calls tools may have `null` or nothing.
        content "content": [null Content] => with_content,
        /// A name for the speaker; for role `function`, the function's name.
        name "name": plain [opt String] => with_name,
        /// Calls that the assistant asked for.
        tool_calls "tool_calls": [opt Vec<ToolCall>] => with_tool_calls,
        /// For role `tool`: the call that this answers.
        tool_call_id "tool_call_id": plain [opt String] => with_tool_call_id,
        /// The call that the assistant asked for. Deprecated with `functions`.
        function_call "function_call": [opt FunctionCall] => with_function_call,
        /// What the assistant said instead of answering.
        refusal "refusal": [opt String] => with_refusal,
        /// An earlier spoken answer, by id.
        audio "audio": [opt AudioReference] => with_audio,
        /// Thoughts, where the server wants them back (DeepSeek, Kimi, GLM and others).
        reasoning_content "reasoning_content": [opt String] => with_reasoning_content,
        /// Thoughts, in the name that other servers use.
        reasoning "reasoning": [opt String] => with_reasoning,
        /// Thoughts in pieces, of OpenRouter, as they came.
        reasoning_details "reasoning_details": [soft Vec<ReasoningDetail>] => with_reasoning_details,
        /// Google's additions, such as the thought signature.
        extra_content "extra_content": [opt ExtraContent] => with_extra_content,
    }
}

impl Message {
    /// A message of any role.
    #[must_use]
    pub fn new(role: impl Into<Role>, content: impl Into<Content>) -> Self {
        Self { role: role.into(), content: Nullable::Value(content.into()), ..Self::default() }
    }

    /// Instructions above the conversation.
    #[must_use]
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// What the person says.
    #[must_use]
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// What the model said.
    #[must_use]
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// The result of the tool call with this id.
    #[must_use]
    pub fn tool(tool_call_id: impl Into<String>, content: impl Into<Content>) -> Self {
        Self::new(Role::Tool, content).with_tool_call_id(tool_call_id)
    }
}

object! {
    /// A spoken answer of before.
    pub struct AudioReference("an audio reference") {
        /// Google's additions: the thought signature of this sound or picture.
        extra_content "extra_content": [opt ExtraContent],
        /// Its id.
        id "id": plain [opt String],
    }
}

object! {
    /// A call to a tool, as the model asks for it.
    pub struct ToolCall("a tool call") {
        /// Names the call; the tool's answer carries it as `tool_call_id`.
        id "id": plain [opt String] => with_id,
        /// The kind of tool.
        r#type "type": [opt ToolType],
        /// The function and its arguments.
        function "function": [opt FunctionCall],
        /// The custom tool and its input.
        custom "custom": [opt CustomToolCall],
        /// Position, which some servers also send outside of streams.
        index "index": [opt u64],
        /// Google's additions: the thought signature of this call.
        extra_content "extra_content": [opt ExtraContent] => with_extra_content,
    }
}

impl ToolCall {
    /// A call to a function. `arguments` is JSON text.
    #[must_use]
    pub fn function(id: impl Into<String>, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self {
            id: Some(id.into()),
            r#type: Some(ToolType::Function),
            function: Some(FunctionCall::new(name, arguments)),
            ..Self::default()
        }
    }

    /// The called function's or custom tool's name; empty when the server sent none.
    #[must_use]
    pub fn name(&self) -> &str {
        let function = self.function.as_ref().and_then(|it| it.name.as_deref());
        let custom = || self.custom.as_ref().and_then(|it| it.name.as_deref());
        function.or_else(custom).unwrap_or_default()
    }

    /// The arguments, JSON text that the model wrote (a custom tool: free text); empty when it wrote none.
    ///
    /// Models write invalid JSON at times; [`parse_arguments`](Self::parse_arguments) says so.
    #[must_use]
    pub fn arguments(&self) -> &str {
        let function = self.function.as_ref().and_then(|it| it.arguments.as_deref());
        let custom = || self.custom.as_ref().and_then(|it| it.input.as_deref());
        function.or_else(custom).unwrap_or_default()
    }

    /// The arguments as a type of yours. No arguments at all read as an empty object.
    ///
    /// # Errors
    /// When the model's text is not JSON, or not a `T`.
    pub fn parse_arguments<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        match self.arguments().trim() {
            "" => crate::from_str("{}"),
            text => crate::from_str(text),
        }
    }

    /// The thought signature that came with this call.
    #[must_use]
    pub fn thought_signature(&self) -> Option<&str> {
        self.extra_content.as_ref()?.google.as_ref()?.thought_signature.as_deref()
    }
}

object! {
    /// A function and its arguments.
    pub struct FunctionCall("a function call") {
        /// The function.
        name "name": plain [opt String],
        /// Its arguments as JSON text.
        arguments "arguments": [opt String],
    }
}

impl FunctionCall {
    /// A call to this function with this JSON text.
    #[must_use]
    pub fn new(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self { name: Some(name.into()), arguments: Some(arguments.into()), ..Self::default() }
    }
}

object! {
    /// A custom tool and its input.
    pub struct CustomToolCall("a custom tool call") {
        /// The tool.
        name "name": plain [opt String],
        /// Its input, free text.
        input "input": [opt String],
    }
}
