//! The protocol as one writes it down in an afternoon: derived, closed where that is easy, unknown fields dropped.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

macro_rules! plain {
    ($(pub struct $Name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(Serialize, Deserialize)]
        pub struct $Name {
            $($(#[$meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }
    )*};
}

plain! {
    pub struct Request {
        model: String, messages: Vec<Message>, stream: bool, stream_options: StreamOptions, temperature: f64, top_p: f64,
        max_tokens: i64, max_completion_tokens: i64, n: i64, stop: Stop, frequency_penalty: f64, presence_penalty: f64,
        seed: i64, tools: Vec<Tool>, tool_choice: String, parallel_tool_calls: bool, response_format: Box<RawValue>,
        reasoning_effort: String, modalities: Vec<String>, logprobs: bool, top_logprobs: i64, verbosity: String,
        service_tier: String, store: bool, user: String, safety_identifier: String, prompt_cache_key: String,
    }
    pub struct StreamOptions { include_usage: bool, }
    pub struct Message {
        role: String, content: Content, name: String, tool_calls: Vec<ToolCall>, tool_call_id: String, refusal: String,
        extra_content: ExtraContent,
    }
    pub struct Part { #[serde(rename = "type")] kind: String, text: String, image_url: ImageUrl, }
    pub struct ImageUrl { url: String, detail: String, }
    pub struct ToolCall {
        index: u64, id: String, #[serde(rename = "type")] kind: String, function: Function, extra_content: ExtraContent,
    }
    pub struct Function { name: String, arguments: String, }
    pub struct ExtraContent { google: GoogleContent, }
    pub struct GoogleContent { thought: bool, thought_signature: String, }
    pub struct Tool { #[serde(rename = "type")] kind: String, function: Definition, }
    pub struct Definition { name: String, description: String, parameters: Box<RawValue>, strict: bool, }
    pub struct Completion {
        id: String, object: String, created: i64, model: String, choices: Vec<Choice>, usage: Usage, service_tier: String,
        system_fingerprint: String,
    }
    pub struct Choice { index: u64, message: Message, finish_reason: String, logprobs: Logprobs, }
    pub struct Logprobs { content: Vec<Logprob>, }
    pub struct Logprob { token: String, logprob: f64, bytes: Vec<u8>, }
    pub struct Usage {
        prompt_tokens: u64, completion_tokens: u64, total_tokens: u64, completion_tokens_details: Details,
        extra_properties: ExtraProperties,
    }
    pub struct Details { reasoning_tokens: u64, audio_tokens: u64, }
    pub struct ExtraProperties { google: GoogleUsage, }
    pub struct GoogleUsage { traffic_type: String, }
    pub struct Chunk {
        id: String, object: String, created: i64, model: String, choices: Vec<ChunkChoice>, usage: Usage,
        service_tier: String, system_fingerprint: String,
    }
    pub struct ChunkChoice { index: u64, delta: Message, finish_reason: String, logprobs: Logprobs, }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub enum Stop {
    One(String),
    Many(Vec<String>),
}
