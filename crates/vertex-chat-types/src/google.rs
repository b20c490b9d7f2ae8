//! Google's additions to the protocol: `extra_body.google` in requests, `extra_content.google` in messages.

use crate::content::FunctionResponsePart;
use crate::wire::object;
use crate::{Json, TrafficType};

object! {
    /// The literal key `extra_body` of a request to Google.
    pub struct ExtraBody("an object with `google`") {
        /// What Google reads from it.
        google "google": [opt GoogleOptions] => with_google,
    }
}

object! {
    /// Gemini's own parameters, under `extra_body.google`.
    pub struct GoogleOptions("Google's options") {
        /// Filter thresholds by category of harm.
        safety_settings "safety_settings": [opt Vec<SafetySetting>] => with_safety_settings,
        /// `projects/P/locations/L/cachedContents/ID`. Not available at the location `global`.
        cached_content "cached_content": plain [opt String] => with_cached_content,
        /// How the model thinks. Not together with `reasoning_effort`.
        thinking_config "thinking_config": [opt ThinkingConfig] => with_thinking_config,
        /// The tag that thoughts are wrapped in, such as `think`; without it they come untagged in the text.
        thought_tag_marker "thought_tag_marker": plain [opt String] => with_thought_tag_marker,
        /// Whether a call's arguments are streamed in fragments.
        stream_function_call_arguments "stream_function_call_arguments": [opt bool] => with_stream_function_call_arguments,
        /// Native tools: `googleSearch`, `codeExecution`, `urlContext` and so on.
        tools "tools": [opt Vec<Json>] => with_tools,
        /// How closely the model looks at media, for the whole request.
        media_resolution "media_resolution": plain [opt String] => with_media_resolution,
        /// Llama Guard, for Llama partner models.
        model_safety_settings "model_safety_settings": [opt ModelSafetySettings] => with_model_safety_settings,
    }
}

object! {
    /// One filter threshold.
    pub struct SafetySetting("a safety setting") {
        /// Such as `HARM_CATEGORY_HATE_SPEECH`.
        category "category": plain [opt String] => with_category,
        /// Such as `BLOCK_ONLY_HIGH`.
        threshold "threshold": plain [opt String] => with_threshold,
        /// `SEVERITY` or `PROBABILITY`.
        method "method": plain [opt String] => with_method,
    }
}

object! {
    /// How a Gemini model thinks. A budget and a level together are refused.
    pub struct ThinkingConfig("a thinking config") {
        /// Whether thoughts are part of the answer.
        include_thoughts "include_thoughts": [opt bool] => with_include_thoughts,
        /// Tokens; 0 for none, -1 for the model's choice. Gemini 2.5.
        thinking_budget "thinking_budget": [opt i64] => with_thinking_budget,
        /// `minimal`, `low`, `medium`, `high`. Gemini 3.
        thinking_level "thinking_level": plain [opt String] => with_thinking_level,
    }
}

object! {
    /// Llama Guard.
    pub struct ModelSafetySettings("model safety settings") {
        /// Whether it is on.
        enabled "enabled": [opt bool] => with_enabled,
        /// Its settings.
        llama_guard_settings "llama_guard_settings": [opt Json] => with_llama_guard_settings,
    }
}

object! {
    /// The key `extra_content` of a message, part, tool call or sound.
    pub struct ExtraContent("an object with `google`") {
        /// What Google wrote or reads there.
        google "google": [opt GoogleContent] => with_google,
    }
}

impl ExtraContent {
    /// Extra content that holds a thought signature.
    #[must_use]
    pub fn thought_signature(signature: impl Into<String>) -> Self {
        Self::default().with_google(GoogleContent::default().with_thought_signature(signature))
    }

    /// Takes over what a later delta says; where both say something, the later wins.
    pub(crate) fn merge(&mut self, later: Self) {
        if let Some(later) = later.google {
            let google = self.google.get_or_insert_default();
            google.thought = later.thought.or(google.thought);
            // An empty signature at the end of a stream does not take back the one that came before.
            if later.thought_signature.as_ref().is_some_and(|it| !it.is_empty())
                || google.thought_signature.is_none()
            {
                google.thought_signature = later.thought_signature.or(google.thought_signature.take());
            }
            google.parts = later.parts.or(google.parts.take());
            google.mime_type = later.mime_type.or(google.mime_type.take());
            google.extra.merge(later.extra);
        }
        self.extra.merge(later.extra);
    }
}

object! {
    /// Google's additions to a piece of a conversation.
    pub struct GoogleContent("Google's extra content") {
        /// Whether the piece is a thought.
        thought "thought": [opt bool] => with_thought,
        /// Opaque, base64. To be sent back unchanged on the same tool call or message; Gemini 3 refuses the next turn
        /// when it is missing.
        thought_signature "thought_signature": [opt String] => with_thought_signature,
        /// Media of a tool's answer.
        parts "parts": [opt Vec<FunctionResponsePart>] => with_parts,
        /// The real type of generated media.
        mime_type "mime_type": plain [opt String] => with_mime_type,
    }
}

object! {
    /// The key `extra_properties` of `usage`.
    pub struct ExtraProperties("an object with `google`") {
        /// What Google wrote there.
        google "google": [opt GoogleUsage],
    }
}

object! {
    /// Google's additions to `usage`.
    pub struct GoogleUsage("Google's usage") {
        /// Which quota served the request.
        traffic_type "traffic_type": [opt TrafficType],
    }
}
