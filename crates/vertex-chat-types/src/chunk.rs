//! A piece of a streamed answer.
//!
//! What few chunks have is boxed, so that the many are small: a chunk is moved several times on its way to whoever asked.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::wire::object;
use crate::{
    Annotation, ChatCompletion, Content, ContentFilterResult, CustomToolCall, ExtraContent, FinishReason,
    FunctionCall, Json, Logprobs, Moderation, Nullable, ObjectType, PromptFilterResult, ReasoningDetail,
    ResponseAudio, ResponseMessage, Role, ServiceTier, ToolCall, ToolType, Usage,
};

object! {
    /// A piece of a streamed chat completion.
    ///
    /// What one server sends once, another repeats in every piece, and a third never sends; so every field may be
    /// absent, and [`Accumulator`](crate::Accumulator) knows the habits.
    pub struct ChatCompletionChunk("a chat completion chunk") {
        /// Opaque; not always the same throughout a stream.
        id "id": plain [opt String],
        /// The pieces of the answers. Empty in a chunk that carries only usage or filter results.
        choices "choices": [list ChunkChoice],
        /// What this is.
        object "object": [opt ObjectType],
        /// Seconds since 1970.
        created "created": [opt i64],
        /// The model that answers.
        model "model": plain [opt String],
        /// The server's configuration.
        system_fingerprint "system_fingerprint": plain [opt String],
        /// Tokens used: in the last chunk, in one of its own after it, or in every chunk so far.
        usage "usage": [soft Box<Usage>],
        /// The tier that serves the request.
        service_tier "service_tier": [opt ServiceTier],
        /// Padding against traffic analysis.
        obfuscation "obfuscation": [opt String],
        /// What moderation found.
        moderation "moderation": [opt Box<Moderation>],
        /// What Azure's filters found in the prompts.
        prompt_filter_results "prompt_filter_results": [soft Vec<PromptFilterResult>],
        /// The prompt in tokens, of vLLM.
        prompt_token_ids "prompt_token_ids": [soft Vec<u64>],
    }
}

impl ChatCompletionChunk {
    /// The text that this chunk adds to the first choice; empty when it adds none.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        let first = self.choices.iter().find(|choice| choice.index.unwrap_or(0) == 0);
        match first.and_then(|choice| choice.delta.as_ref()?.content.get()) {
            Some(Content::Text(text)) => Cow::Borrowed(text),
            Some(parts) => Cow::Owned(parts.text()),
            None => Cow::Borrowed(""),
        }
    }
}

object! {
    /// A piece of one answer.
    pub struct ChunkChoice("a chunk's choice") {
        /// The answer's number, from 0.
        index "index": [opt u64],
        /// What is added to it.
        delta "delta": [opt Delta],
        /// Why the model stopped; absent or null before the last piece.
        finish_reason "finish_reason": [null FinishReason],
        /// Probabilities of the added tokens.
        logprobs "logprobs": [null Box<Logprobs>],
        /// The stop sequence that was met, or its token; vLLM and others.
        stop_reason "stop_reason": [null Json],
        /// More tokens of the answer, of vLLM.
        token_ids "token_ids": [soft Vec<u64>],
        /// What Azure's filters found in the answer so far, by kind.
        content_filter_results "content_filter_results": [soft BTreeMap<String, ContentFilterResult>],
    }
}

object! {
    /// What is added to an answer.
    pub struct Delta("a delta") {
        /// `assistant`: in the first piece, in all, or in none.
        role "role": [opt Role],
        /// More text, or more parts.
        content "content": [null Content],
        /// More of the calls.
        tool_calls "tool_calls": [opt Vec<ToolCallDelta>],
        /// More of the refusal.
        refusal "refusal": [null String],
        /// More of the call. Deprecated with `functions`.
        function_call "function_call": [opt Box<FunctionCall>],
        /// More thoughts.
        reasoning_content "reasoning_content": [opt String],
        /// More thoughts, in the name that others use.
        reasoning "reasoning": [opt String],
        /// More thoughts in pieces, of OpenRouter.
        reasoning_details "reasoning_details": [soft Vec<ReasoningDetail>],
        /// Google's additions. Keep a chunk that has nothing else: its signature is wanted back.
        extra_content "extra_content": [opt Box<ExtraContent>],
        /// Web pages and files that the text leans on.
        annotations "annotations": [opt Vec<Annotation>],
        /// More sound.
        audio "audio": [opt Box<ResponseAudio>],
    }
}

impl Delta {
    /// A delta that adds text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: Nullable::Value(Content::Text(text.into())), ..Self::default() }
    }
}

object! {
    /// More of a call.
    pub struct ToolCallDelta("a tool call delta") {
        /// The call's position. Missing from some servers, always 0 from others, wrong in Google's own sample: go by
        /// `id` where there is one.
        index "index": [opt u64],
        /// Names the call: in its first piece, or in all.
        id "id": plain [opt String],
        /// The kind of tool.
        r#type "type": [opt ToolType],
        /// The function's name, and more of its arguments.
        function "function": [opt FunctionCall],
        /// The custom tool's name, and more of its input.
        custom "custom": [opt Box<CustomToolCall>],
        /// Google's additions: the thought signature of this call.
        extra_content "extra_content": [opt Box<ExtraContent>],
    }
}

/// A whole answer in the form of one chunk, for servers that answer a streaming request without streaming.
impl From<ChatCompletion> for ChatCompletionChunk {
    fn from(completion: ChatCompletion) -> Self {
        let choices = completion.choices.into_iter().map(|choice| ChunkChoice {
            index: choice.index,
            delta: choice.message.map(as_delta),
            finish_reason: choice.finish_reason,
            logprobs: choice.logprobs,
            stop_reason: choice.stop_reason,
            token_ids: choice.token_ids,
            content_filter_results: choice.content_filter_results,
            extra: choice.extra,
        });
        let object = completion.object.map(|it| match it {
            ObjectType::ChatCompletion => ObjectType::ChatCompletionChunk,
            other => other,
        });
        Self {
            id: completion.id,
            choices: choices.collect(),
            object,
            created: completion.created,
            model: completion.model,
            system_fingerprint: completion.system_fingerprint,
            usage: completion.usage.map(Box::new),
            service_tier: completion.service_tier,
            moderation: completion.moderation,
            prompt_filter_results: completion.prompt_filter_results,
            prompt_token_ids: completion.prompt_token_ids,
            extra: completion.extra,
            ..Self::default()
        }
    }
}

fn as_delta(message: ResponseMessage) -> Delta {
    let calls = |calls: Vec<ToolCall>| calls.into_iter().enumerate().map(as_tool_call_delta).collect();
    Delta {
        role: message.role,
        content: message.content,
        tool_calls: message.tool_calls.map(calls),
        refusal: message.refusal,
        function_call: message.function_call.map(Box::new),
        reasoning_content: message.reasoning_content,
        reasoning: message.reasoning,
        reasoning_details: message.reasoning_details,
        extra_content: message.extra_content.map(Box::new),
        annotations: message.annotations,
        audio: message.audio.map(Box::new),
        extra: message.extra,
    }
}

fn as_tool_call_delta((position, call): (usize, ToolCall)) -> ToolCallDelta {
    ToolCallDelta {
        index: Some(call.index.unwrap_or(position as u64)),
        id: call.id,
        r#type: call.r#type,
        function: call.function,
        custom: call.custom.map(Box::new),
        extra_content: call.extra_content.map(Box::new),
        extra: call.extra,
    }
}
