//! A chat completion request.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess};
use serde::ser::Serializer;

use crate::wire::{Accept, ListOf, Reader, Value, object, serde_by_value, show_text};
use crate::{
    AudioOutputFormat, Content, ExtraBody, FunctionCallChoice, FunctionDefinition, GoogleOptions, Json,
    LocationType, Message, Modality, ModerationMode, PredictionType, PromptCacheMode, PromptCacheRetention,
    PromptCacheTtl, ReasoningEffort, ResponseFormatType, SearchContextSize, ServiceTier, Tool, ToolChoice,
    Verbosity,
};

object! {
    /// A request for a chat completion.
    ///
    /// ```
    /// use vertex_chat_types::{ChatRequest, Message};
    ///
    /// let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")])
    ///     .with_temperature(0.7)
    ///     .with_max_tokens(1024);
    /// ```
    ///
    /// Which parameter reaches which server is not this crate's business: see `vertex-chat-params`.
    pub struct ChatRequest("a chat completion request") {
        /// The model. On Vertex `publisher/model`; an endpoint of one's own may go without.
        model "model": plain [opt String] => with_model,
        /// The conversation so far, at least one message.
        messages "messages": [must_list Message] => with_messages,
        /// Whether the answer comes in pieces. Set by the client's streaming calls.
        stream "stream": [opt bool] => with_stream,
        /// What else a stream should carry.
        stream_options "stream_options": [opt StreamOptions] => with_stream_options,
        /// Randomness, 0 to 2.
        temperature "temperature": [opt f64] => with_temperature,
        /// Probability mass to choose from, 0 to 1.
        top_p "top_p": [opt f64] => with_top_p,
        /// The most tokens of an answer. On Gemini thinking counts.
        max_tokens "max_tokens": [opt i64] => with_max_tokens,
        /// The newer name of the same.
        max_completion_tokens "max_completion_tokens": [opt i64] => with_max_completion_tokens,
        /// How many answers.
        n "n": [opt i64] => with_n,
        /// Where to stop.
        stop "stop": [opt Stop] => with_stop,
        /// Penalty for words by how often they came, -2 to 2.
        frequency_penalty "frequency_penalty": [opt f64] => with_frequency_penalty,
        /// Penalty for words that came at all, -2 to 2.
        presence_penalty "presence_penalty": [opt f64] => with_presence_penalty,
        /// For answers that can be had again.
        seed "seed": [opt i64] => with_seed,
        /// Tools that the model may call.
        tools "tools": [opt Vec<Tool>] => with_tools,
        /// Whether it may, must, or which one.
        tool_choice "tool_choice": [opt ToolChoice] => with_tool_choice,
        /// Whether it may call several at once.
        parallel_tool_calls "parallel_tool_calls": [opt bool] => with_parallel_tool_calls,
        /// The form of the answer.
        response_format "response_format": [opt ResponseFormat] => with_response_format,
        /// How much the model should think.
        reasoning_effort "reasoning_effort": [opt ReasoningEffort] => with_reasoning_effort,
        /// Functions that the model may call. Deprecated in favour of `tools`.
        functions "functions": [opt Vec<FunctionDefinition>] => with_functions,
        /// Which of them. Deprecated in favour of `tool_choice`.
        function_call "function_call": [opt FunctionCallChoice] => with_function_call,
        /// Kinds of output.
        modalities "modalities": [opt Vec<Modality>] => with_modalities,
        /// Voice and format of spoken output.
        audio "audio": [opt AudioOptions] => with_audio,
        /// Whether each token's probability is reported.
        logprobs "logprobs": [opt bool] => with_logprobs,
        /// How many alternatives are reported with it, 0 to 20.
        top_logprobs "top_logprobs": [opt i64] => with_top_logprobs,
        /// Tokens to favour or avoid, by token id, -100 to 100.
        logit_bias "logit_bias": [opt BTreeMap<String, f64>] => with_logit_bias,
        /// Web search.
        web_search_options "web_search_options": [opt WebSearchOptions] => with_web_search_options,
        /// How long-winded the answer should be.
        verbosity "verbosity": [opt Verbosity] => with_verbosity,
        /// Text that the answer will largely repeat.
        prediction "prediction": [opt Prediction] => with_prediction,
        /// The processing tier.
        service_tier "service_tier": [opt ServiceTier] => with_service_tier,
        /// Whether OpenAI stores the answer.
        store "store": [opt bool] => with_store,
        /// Up to 16 labels for a stored answer.
        metadata "metadata": [opt BTreeMap<String, String>] => with_metadata,
        /// The end user. Deprecated.
        user "user": [opt String] => with_user,
        /// The end user, hashed, for OpenAI's policy checks.
        safety_identifier "safety_identifier": [opt String] => with_safety_identifier,
        /// Groups requests that share a prefix.
        prompt_cache_key "prompt_cache_key": [opt String] => with_prompt_cache_key,
        /// How long a cached prefix is kept. Deprecated.
        prompt_cache_retention "prompt_cache_retention": [opt PromptCacheRetention] => with_prompt_cache_retention,
        /// How prefixes are cached.
        prompt_cache_options "prompt_cache_options": [opt PromptCacheOptions] => with_prompt_cache_options,
        /// Moderation of input and output.
        moderation "moderation": [opt ModerationOptions] => with_moderation,
        /// Google's own parameters, in the documented form.
        extra_body "extra_body": [opt ExtraBody] => with_extra_body,
        /// Google's own parameters, in the form that an SDK sends when its user nests once too little.
        google "google": [opt GoogleOptions] => with_google,
    }
}

impl ChatRequest {
    /// A request to this model with these messages.
    #[must_use]
    pub fn new(model: impl Into<String>, messages: impl Into<Vec<Message>>) -> Self {
        Self { model: Some(model.into()), messages: messages.into(), ..Self::default() }
    }

    /// A request to whatever model an endpoint serves.
    #[must_use]
    pub fn without_model(messages: impl Into<Vec<Message>>) -> Self {
        Self { messages: messages.into(), ..Self::default() }
    }

    /// Whether the answer is asked for in pieces.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }
}

object! {
    /// What else a stream should carry.
    pub struct StreamOptions("stream options") {
        /// Whether a last chunk says how many tokens were used. Vertex always does.
        include_usage "include_usage": [opt bool] => with_include_usage,
        /// Whether chunks are padded against traffic analysis.
        include_obfuscation "include_obfuscation": [opt bool] => with_include_obfuscation,
    }
}

/// Where to stop: one sequence or several.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// One sequence.
    One(String),
    /// Several; OpenAI takes up to 4, Gemini up to 5.
    Many(Vec<String>),
}

impl Stop {
    /// The sequences.
    #[must_use]
    pub fn sequences(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl From<&str> for Stop {
    fn from(one: &str) -> Self {
        Self::One(one.to_owned())
    }
}

impl From<String> for Stop {
    fn from(one: String) -> Self {
        Self::One(one)
    }
}

impl From<Vec<String>> for Stop {
    fn from(many: Vec<String>) -> Self {
        Self::Many(many)
    }
}

impl Value for Stop {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Accept<'de> for OneOrMany {
            type Output = Stop;
            const EXPECTED: &'static str = "a string or an array of strings";
            fn string<E: Error>(self, text: &str) -> Result<Stop, E> {
                Ok(Stop::One(text.to_owned()))
            }
            fn list<A: SeqAccess<'de>>(self, list: A) -> Result<Stop, A::Error> {
                ListOf::new().list(list).map(Stop::Many)
            }
        }
        deserializer.deserialize_any(Reader(OneOrMany))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(one) => serializer.serialize_str(one),
            Self::Many(many) => many.write(serializer),
        }
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(one) => show_text(one, f),
            Self::Many(many) => many.show(f),
        }
    }
}

serde_by_value!(Stop);

object! {
    /// The form of an answer's text.
    pub struct ResponseFormat("a response format") {
        /// The kind; on Vertex also a MIME type.
        r#type "type": [opt ResponseFormatType],
        /// The schema, for `json_schema`.
        json_schema "json_schema": [opt JsonSchemaFormat] => with_json_schema,
    }
}

impl ResponseFormat {
    /// Free text.
    #[must_use]
    pub fn text() -> Self {
        Self { r#type: Some(ResponseFormatType::Text), ..Self::default() }
    }

    /// Some JSON object.
    #[must_use]
    pub fn json_object() -> Self {
        Self { r#type: Some(ResponseFormatType::JsonObject), ..Self::default() }
    }

    /// JSON of this schema.
    #[must_use]
    pub fn json_schema(name: impl Into<String>, schema: Json) -> Self {
        let json_schema =
            JsonSchemaFormat { name: Some(name.into()), schema: Some(schema), ..JsonSchemaFormat::default() };
        Self {
            r#type: Some(ResponseFormatType::JsonSchema),
            json_schema: Some(json_schema),
            ..Self::default()
        }
    }

    /// Whether the text must be JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        match &self.r#type {
            Some(ResponseFormatType::JsonObject | ResponseFormatType::JsonSchema) => true,
            Some(ResponseFormatType::Other(mime)) => &**mime == "application/json",
            _ => false,
        }
    }
}

object! {
    /// A named schema for an answer.
    pub struct JsonSchemaFormat("a named schema") {
        /// Its name.
        name "name": plain [opt String],
        /// What it is for.
        description "description": [opt String] => with_description,
        /// The schema, kept byte for byte: Gemini answers in the order of its properties.
        schema "schema": [opt Json] => with_schema,
        /// Whether the answer must fit exactly. Vertex ignores it.
        strict "strict": [opt bool] => with_strict,
    }
}

object! {
    /// Web search.
    pub struct WebSearchOptions("web search options") {
        /// Where the person is.
        user_location "user_location": [opt UserLocation] => with_user_location,
        /// How much web text to read.
        search_context_size "search_context_size": [opt SearchContextSize] => with_search_context_size,
    }
}

object! {
    /// Where a person is.
    pub struct UserLocation("a location") {
        /// `approximate`.
        r#type "type": [opt LocationType],
        /// Roughly.
        approximate "approximate": [opt ApproximateLocation],
    }
}

object! {
    /// Roughly where a person is.
    pub struct ApproximateLocation("an approximate location") {
        /// Two-letter country code.
        country "country": [opt String],
        /// Region.
        region "region": [opt String],
        /// City.
        city "city": [opt String],
        /// IANA time zone.
        timezone "timezone": [opt String],
    }
}

object! {
    /// Voice and format of spoken output.
    pub struct AudioOptions("audio options") {
        /// The voice.
        voice "voice": [opt Voice] => with_voice,
        /// The file format.
        format "format": [opt AudioOutputFormat] => with_format,
    }
}

/// A voice, by name or by the id of one's own.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Voice {
    /// By name.
    Name(String),
    /// By id.
    Custom(CustomVoice),
}

impl From<&str> for Voice {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

object! {
    /// A voice of one's own.
    pub struct CustomVoice("an object with an `id`") {
        /// Its id.
        id "id": plain [opt String],
    }
}

impl Value for Voice {
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrId;
        impl<'de> Accept<'de> for NameOrId {
            type Output = Voice;
            const EXPECTED: &'static str = "a string or an object with an `id`";
            fn string<E: Error>(self, text: &str) -> Result<Voice, E> {
                Ok(Voice::Name(text.to_owned()))
            }
            fn object<A: MapAccess<'de>>(self, map: A) -> Result<Voice, A::Error> {
                CustomVoice::read(serde::de::value::MapAccessDeserializer::new(map)).map(Voice::Custom)
            }
        }
        deserializer.deserialize_any(Reader(NameOrId))
    }
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Custom(custom) => custom.write(serializer),
        }
    }
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => fmt::Debug::fmt(name, f),
            Self::Custom(custom) => custom.show(f),
        }
    }
}

serde_by_value!(Voice);

object! {
    /// Text that the answer will largely repeat.
    pub struct Prediction("a prediction") {
        /// `content`.
        r#type "type": [opt PredictionType],
        /// The text.
        content "content": [opt Content],
    }
}

object! {
    /// How prefixes are cached.
    pub struct PromptCacheOptions("prompt cache options") {
        /// How long.
        ttl "ttl": [opt PromptCacheTtl],
        /// Where.
        mode "mode": [opt PromptCacheMode],
    }
}

object! {
    /// Moderation of input and output.
    pub struct ModerationOptions("moderation options") {
        /// The moderation model.
        model "model": plain [opt String],
        /// What its findings do.
        policy "policy": [opt ModerationPolicy],
    }
}

object! {
    /// What moderation findings do, by side.
    pub struct ModerationPolicy("a moderation policy") {
        /// In the input.
        input "input": [opt ModerationConfig],
        /// In the output.
        output "output": [opt ModerationConfig],
    }
}

object! {
    /// What moderation findings do.
    pub struct ModerationConfig("a moderation config") {
        /// The effect.
        mode "mode": [opt ModerationMode],
    }
}
