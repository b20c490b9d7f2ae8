//! A whole answer.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::wire::object;
use crate::{
    AnnotationType, AudioReference, Content, ExtraContent, ExtraProperties, FinishReason, FunctionCall, Json,
    Message, ModerationInputType, ModerationKind, Nullable, ObjectType, ParseError, Role, ServiceTier,
    ToolCall,
};

object! {
    /// A chat completion: one or more answers to one request.
    ///
    /// Servers leave out what they like, so every field may be absent. No choice at all is how some services say that
    /// the prompt was blocked.
    pub struct ChatCompletion("a chat completion") {
        /// Opaque.
        id "id": plain [opt String],
        /// What this is.
        object "object": [opt ObjectType],
        /// Seconds since 1970.
        created "created": [opt i64],
        /// The model that answered.
        model "model": plain [opt String],
        /// The answers.
        choices "choices": [list Choice],
        /// Tokens used.
        usage "usage": [soft Usage],
        /// The tier that served the request.
        service_tier "service_tier": [opt ServiceTier],
        /// The server's configuration.
        system_fingerprint "system_fingerprint": plain [opt String],
        /// Labels of a stored answer.
        metadata "metadata": [soft BTreeMap<String, String>],
        /// What moderation found.
        moderation "moderation": [opt Box<Moderation>],
        /// What Azure's filters found in the prompts.
        prompt_filter_results "prompt_filter_results": [soft Vec<PromptFilterResult>],
        /// The prompt in tokens, of vLLM.
        prompt_token_ids "prompt_token_ids": [soft Vec<u64>],
        /// Log probabilities of the prompt's tokens, of vLLM, which leaves their form open.
        prompt_logprobs "prompt_logprobs": [soft Json],
        /// Where vLLM's next stage finds the cache; for vLLM to read.
        kv_transfer_params "kv_transfer_params": [soft Json],
    }
}

impl ChatCompletion {
    /// The text of the first choice; empty when there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.choices.first().map(Choice::text).unwrap_or_default()
    }

    /// The calls that the first choice asks for.
    #[must_use]
    pub fn tool_calls(&self) -> &[ToolCall] {
        self.choices.first().map(Choice::tool_calls).unwrap_or_default()
    }

    /// The text of the first choice, JSON, as a type of yours: what a
    /// [`response_format`](crate::ChatRequest::response_format) has asked for.
    ///
    /// # Errors
    /// When it is not such a value. A model may be cut off in the middle: see the choice's `finish_reason`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ParseError> {
        crate::from_str(&self.text())
    }

    /// The first choice as a message for the next request, ready to append, with everything that a server wants to see
    /// again, thought signatures above all. `None` when there is no choice.
    #[must_use]
    pub fn to_message(&self) -> Option<Message> {
        self.choices.first().map(Choice::to_message)
    }
}

object! {
    /// One answer.
    pub struct Choice("a choice") {
        /// Its number, from 0.
        index "index": [opt u64],
        /// What the model says.
        message "message": [opt ResponseMessage],
        /// Why it stopped.
        finish_reason "finish_reason": [null FinishReason],
        /// Probabilities of its tokens.
        logprobs "logprobs": [null Box<Logprobs>],
        /// The stop sequence that was met, or its token; vLLM and others.
        stop_reason "stop_reason": [null Json],
        /// The answer in tokens, of vLLM.
        token_ids "token_ids": [soft Vec<u64>],
        /// What Azure's filters found in the answer, by kind.
        content_filter_results "content_filter_results": [soft BTreeMap<String, ContentFilterResult>],
    }
}

impl Choice {
    /// The text; empty when there is none.
    #[must_use]
    pub fn text(&self) -> String {
        let content = self.message.as_ref().and_then(|it| it.content.get());
        content.map(Content::text).unwrap_or_default()
    }

    /// The calls that this answer asks for. Go by these, not by the finish reason: several servers say `stop` beside
    /// them.
    #[must_use]
    pub fn tool_calls(&self) -> &[ToolCall] {
        self.message.as_ref().and_then(|it| it.tool_calls.as_deref()).unwrap_or_default()
    }

    /// This answer as a message for the next request.
    #[must_use]
    pub fn to_message(&self) -> Message {
        self.message.as_ref().map_or_else(|| Message::new(Role::Assistant, ""), ResponseMessage::to_message)
    }
}

object! {
    /// What a model says.
    pub struct ResponseMessage("an answer's message") {
        /// `assistant`, or what the server makes of it.
        role "role": [opt Role],
        /// The text, or parts. `null` beside tool calls and generated media.
        content "content": [null Content],
        /// What the model said instead of answering.
        refusal "refusal": [null String],
        /// Calls that it asks for.
        tool_calls "tool_calls": [opt Vec<ToolCall>],
        /// The call that it asks for. Deprecated with `functions`.
        function_call "function_call": [opt FunctionCall],
        /// Web pages and files that the text leans on.
        annotations "annotations": [opt Vec<Annotation>],
        /// Spoken output; on Vertex also generated pictures.
        audio "audio": [opt ResponseAudio],
        /// Thoughts (DeepSeek, vLLM, llama.cpp and others).
        reasoning_content "reasoning_content": [opt String],
        /// Thoughts, in the name that others use.
        reasoning "reasoning": [opt String],
        /// Thoughts in pieces, of OpenRouter, to be sent back as they are.
        reasoning_details "reasoning_details": [soft Vec<ReasoningDetail>],
        /// Google's additions, such as the thought signature.
        extra_content "extra_content": [opt ExtraContent],
    }
}

impl ResponseMessage {
    /// The text; empty when there is none.
    #[must_use]
    pub fn text(&self) -> String {
        self.content.get().map(Content::text).unwrap_or_default()
    }

    /// This message as a request carries it: what only answers have (annotations, positions, sound data) is left out,
    /// thought signatures and unknown fields stay.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let tool_calls = self
            .tool_calls
            .as_ref()
            .filter(|calls| !calls.is_empty())
            .map(|calls| calls.iter().map(|call| ToolCall { index: None, ..call.clone() }).collect());
        let has_calls = tool_calls.is_some() || self.function_call.is_some();
        let content = match &self.content {
            // A message needs content or calls; an empty text is content everywhere.
            Nullable::Absent | Nullable::Null if !has_calls => Nullable::Value(Content::from("")),
            content => content.clone(),
        };
        Message {
            role: self.role.clone().unwrap_or(Role::Assistant),
            content,
            refusal: self.refusal.get().cloned(),
            tool_calls,
            function_call: self.function_call.clone(),
            audio: self.audio.as_ref().and_then(ResponseAudio::to_reference),
            reasoning_content: self.reasoning_content.clone(),
            reasoning: self.reasoning.clone(),
            reasoning_details: self.reasoning_details.clone(),
            extra_content: self.extra_content.clone(),
            extra: self.extra.clone(),
            ..Message::default()
        }
    }
}

impl ResponseAudio {
    /// What of it a request carries: its id, and a thought signature. `None` when it has neither.
    fn to_reference(&self) -> Option<AudioReference> {
        let signed = self
            .extra_content
            .as_ref()
            .filter(|it| it.google.as_ref().is_some_and(|google| google.thought_signature.is_some()));
        let reference = AudioReference {
            id: self.id.clone(),
            extra_content: signed.cloned(),
            ..AudioReference::default()
        };
        (reference.id.is_some() || reference.extra_content.is_some()).then_some(reference)
    }
}

object! {
    /// Spoken output, or on Vertex generated media.
    pub struct ResponseAudio("an answer's audio") {
        /// Names it for later requests.
        id "id": plain [opt String],
        /// Until when that works, in seconds since 1970.
        expires_at "expires_at": [opt i64],
        /// The data in base64.
        data "data": [opt String],
        /// What is said.
        transcript "transcript": [opt String],
        /// Google's additions: `google.mime_type` says what the data is.
        extra_content "extra_content": [opt ExtraContent],
    }
}

object! {
    /// Something that a text leans on.
    pub struct Annotation("an annotation") {
        /// The kind.
        r#type "type": [opt AnnotationType],
        /// A web page.
        url_citation "url_citation": [opt UrlCitation],
    }
}

object! {
    /// A web page that a text leans on.
    pub struct UrlCitation("a citation") {
        /// First character of the text that it is about.
        start_index "start_index": [opt u64],
        /// The one after the last.
        end_index "end_index": [opt u64],
        /// Its address.
        url "url": [opt String],
        /// Its title.
        title "title": [opt String],
    }
}

object! {
    /// Probabilities of an answer's tokens.
    pub struct Logprobs("log probabilities") {
        /// Of its text.
        content "content": [null Vec<TokenLogprob>],
        /// Of its refusal.
        refusal "refusal": [null Vec<TokenLogprob>],
    }
}

object! {
    /// A token and its probability.
    pub struct TokenLogprob("a token's log probability") {
        /// The token's text.
        token "token": [opt String],
        /// The natural logarithm of its probability.
        logprob "logprob": [opt f64],
        /// Its bytes, which need not be whole characters.
        bytes "bytes": [null Vec<u8>],
        /// The likeliest tokens at its place.
        top_logprobs "top_logprobs": [opt Vec<TopLogprob>],
    }
}

object! {
    /// A token that could have been.
    pub struct TopLogprob("a token's log probability") {
        /// The token's text.
        token "token": [opt String],
        /// The natural logarithm of its probability.
        logprob "logprob": [opt f64],
        /// Its bytes.
        bytes "bytes": [null Vec<u8>],
    }
}

object! {
    /// Tokens used.
    pub struct Usage("usage") {
        /// In the prompt.
        prompt_tokens "prompt_tokens": [opt u64],
        /// In the answer. OpenAI counts thinking here, Vertex does not: see [`reasoning_tokens`](Self::reasoning_tokens).
        completion_tokens "completion_tokens": [opt u64],
        /// In all.
        total_tokens "total_tokens": [opt u64],
        /// The prompt's in detail.
        prompt_tokens_details "prompt_tokens_details": [opt PromptTokensDetails],
        /// The answer's in detail.
        completion_tokens_details "completion_tokens_details": [opt CompletionTokensDetails],
        /// Google's additions.
        extra_properties "extra_properties": [opt ExtraProperties],
        /// Prompt tokens that came from a cache, where they stand outside of the details.
        cached_tokens "cached_tokens": [soft u64],
        /// The price in US dollars, of OpenRouter.
        cost "cost": [soft f64],
        /// The price in ticks of 10⁻¹⁰ US dollars, of xAI.
        cost_in_usd_ticks "cost_in_usd_ticks": [soft u64],
        /// Searched sources, of xAI.
        num_sources_used "num_sources_used": [soft u64],
    }
}

impl Usage {
    /// Tokens spent on thinking: as reported, or else what the total has beyond prompt and answer.
    #[must_use]
    pub fn reasoning_tokens(&self) -> u64 {
        let reported = self.completion_tokens_details.as_ref().and_then(|it| it.reasoning_tokens);
        reported.unwrap_or_else(|| {
            let visible = self.prompt_tokens.unwrap_or(0).saturating_add(self.completion_tokens.unwrap_or(0));
            self.total_tokens.unwrap_or(0).saturating_sub(visible)
        })
    }
}

object! {
    /// A prompt's tokens in detail.
    pub struct PromptTokensDetails("prompt token details") {
        /// Of sound.
        audio_tokens "audio_tokens": [opt u64],
        /// Read from a cache.
        cached_tokens "cached_tokens": [opt u64],
        /// Of text.
        text_tokens "text_tokens": [opt u64],
        /// Of pictures.
        image_tokens "image_tokens": [opt u64],
        /// Written to a cache.
        cache_write_tokens "cache_write_tokens": [opt u64],
    }
}

object! {
    /// An answer's tokens in detail.
    pub struct CompletionTokensDetails("completion token details") {
        /// Of a prediction, used.
        accepted_prediction_tokens "accepted_prediction_tokens": [opt u64],
        /// Of sound.
        audio_tokens "audio_tokens": [opt u64],
        /// Of thinking.
        reasoning_tokens "reasoning_tokens": [opt u64],
        /// Of text.
        text_tokens "text_tokens": [opt u64],
        /// Of a prediction, not used.
        rejected_prediction_tokens "rejected_prediction_tokens": [opt u64],
    }
}

object! {
    /// What moderation found.
    pub struct Moderation("moderation") {
        /// In the input.
        input "input": [opt ModerationOutcome],
        /// In the output.
        output "output": [opt ModerationOutcome],
    }
}

object! {
    /// What moderation found on one side, or why it could not look.
    pub struct ModerationOutcome("a moderation outcome") {
        /// `moderation_results` or `error`.
        r#type "type": [opt ModerationKind],
        /// The moderation model.
        model "model": plain [opt String],
        /// Its findings.
        results "results": [opt Vec<ModerationResult>],
        /// The error's code.
        code "code": plain [opt String],
        /// The error's text.
        message "message": [opt String],
    }
}

object! {
    /// One finding of moderation.
    pub struct ModerationResult("a moderation result") {
        /// `moderation_result`.
        r#type "type": [opt ModerationKind],
        /// The moderation model.
        model "model": plain [opt String],
        /// Whether anything was found.
        flagged "flagged": [opt bool],
        /// By category.
        categories "categories": [opt BTreeMap<String, bool>],
        /// How sure, by category.
        category_scores "category_scores": [opt BTreeMap<String, f64>],
        /// In which kinds of input, by category.
        category_applied_input_types "category_applied_input_types": [opt BTreeMap<String, Vec<ModerationInputType>>],
    }
}

object! {
    /// What Azure's filters found in one prompt.
    pub struct PromptFilterResult("a prompt filter result") {
        /// Which prompt.
        prompt_index "prompt_index": [soft u64],
        /// The findings by kind.
        content_filter_results "content_filter_results": [soft BTreeMap<String, ContentFilterResult>],
    }
}

object! {
    /// What one of Azure's filters found.
    pub struct ContentFilterResult("a content filter result") {
        /// Whether it took something away.
        filtered "filtered": [soft bool],
        /// Whether it found what it looks for.
        detected "detected": [soft bool],
        /// `safe`, `low`, `medium`, `high`.
        severity "severity": plain [soft String],
    }
}

object! {
    /// A piece of a model's thoughts, of OpenRouter.
    pub struct ReasoningDetail("a reasoning detail") {
        /// `reasoning.text`, `reasoning.summary`, `reasoning.encrypted`.
        r#type "type": plain [soft String],
        /// Names it.
        id "id": plain [soft String],
        /// Its position among the pieces.
        index "index": [soft u64],
        /// Whose form it has.
        format "format": plain [soft String],
        /// The thought.
        text "text": [soft String],
        /// Its summary.
        summary "summary": [soft String],
        /// The thought, encrypted.
        data "data": [soft String],
        /// Proves the thought to its model.
        signature "signature": [soft String],
    }
}
