//! Every field of OpenAI's schema has a type: instances of each of its schemas parse, and come back equal.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use vertex_chat_tests::schema::{Instance, Instances, UNLISTED};
use vertex_chat_tests::shared_json;
use vertex_chat_types as types;
use vertex_chat_types::{
    ApiError, ChatCompletion, ChatCompletionChunk, ChatRequest, Message, ResponseFormat,
};

type Check = fn(&Instance, Show) -> Result<(), String>;

/// What else `Debug` must show.
#[derive(Clone, Copy, PartialEq)]
enum Show {
    Any,
    /// No raw JSON: the instance has nothing in it that the schema leaves open.
    NoRawJson,
    /// The unlisted word, as one that an open enum keeps.
    OpenWord,
}

/// Reads an instance, looks where its parts went, and compares what is written with what was read.
fn check<T: DeserializeOwned + Serialize + Debug>(instance: &Instance, show: Show) -> Result<(), String> {
    let text = instance.value.to_string();
    let value: T = types::from_str(&text).map_err(|error| error.to_string())?;
    let shown = format!("{value:?}");
    if shown.contains(" extra: {") {
        let place = shown.find(" extra: {").unwrap_or_default();
        return Err(format!("a field is unknown: {}", shown[place..].chars().take(200).collect::<String>()));
    }
    if show == Show::NoRawJson && shown.contains("bytes of JSON>") {
        let place = shown.find("bytes of JSON>").unwrap_or_default();
        let before: String =
            shown[..place].chars().rev().take(80).collect::<Vec<_>>().into_iter().rev().collect();
        return Err(format!("a field is raw JSON: …{before}"));
    }
    if show == Show::OpenWord && instance.unlisted && !shown.contains(&format!("Other({UNLISTED:?})")) {
        return Err("a word is no open enum".to_owned());
    }
    let written = serde_json::to_string(&value).map_err(|error| error.to_string())?;
    let written: Value = serde_json::from_str(&written).map_err(|error| error.to_string())?;
    if written == instance.value { Ok(()) } else { Err(format!("{} became {written}", instance.value)) }
}

/// An error is read by a reader of its own, which takes every shape and writes none.
fn check_error(instance: &Instance, _: Show) -> Result<(), String> {
    let body = instance.value.to_string();
    let error = ApiError::from_body(Some(400), body.as_bytes());
    let inside = if instance.value["error"].is_object() { &instance.value["error"] } else { &instance.value };
    let said = [
        (Some(error.message()), &inside["message"]),
        (error.code(), &inside["code"]),
        (error.param(), &inside["param"]),
        (error.r#type(), &inside["type"]),
    ];
    for (ours, theirs) in said {
        if theirs.as_str() != ours {
            return Err(format!("{theirs} became {ours:?}"));
        }
    }
    Ok(())
}

/// Which type of ours is which schema.
const SCHEMAS: [(&str, Check); 75] = [
    ("CreateChatCompletionRequest", check::<ChatRequest>),
    ("CreateModelResponseProperties", check::<OnlyParameters>),
    ("ModelResponseProperties", check::<OnlyParameters>),
    ("Metadata", check::<std::collections::BTreeMap<String, String>>),
    ("PromptCacheOptionsParam", check::<types::PromptCacheOptions>),
    ("PromptCacheTTLEnum", check::<types::PromptCacheTtl>),
    ("PromptCacheModeEnum", check::<types::PromptCacheMode>),
    ("ChatCompletionRequestMessage", check::<Message>),
    ("ChatCompletionRequestDeveloperMessage", check::<Message>),
    ("ChatCompletionRequestMessageContentPartText", check::<types::ContentPart>),
    ("PromptCacheBreakpointParam", check::<types::PromptCacheBreakpoint>),
    ("ChatCompletionRequestSystemMessage", check::<Message>),
    ("ChatCompletionRequestSystemMessageContentPart", check::<types::ContentPart>),
    ("ChatCompletionRequestUserMessage", check::<Message>),
    ("ChatCompletionRequestUserMessageContentPart", check::<types::ContentPart>),
    ("ChatCompletionRequestMessageContentPartImage", check::<types::ContentPart>),
    ("ChatCompletionRequestMessageContentPartAudio", check::<types::ContentPart>),
    ("ChatCompletionRequestMessageContentPartFile", check::<types::ContentPart>),
    ("ChatCompletionRequestAssistantMessage", check::<Message>),
    ("ChatCompletionRequestAssistantMessageContentPart", check::<types::ContentPart>),
    ("ChatCompletionRequestMessageContentPartRefusal", check::<types::ContentPart>),
    ("ChatCompletionMessageToolCalls", check::<Vec<types::ToolCall>>),
    ("ChatCompletionMessageToolCall", check::<types::ToolCall>),
    ("ChatCompletionMessageCustomToolCall", check::<types::ToolCall>),
    ("ChatCompletionRequestToolMessage", check::<Message>),
    ("ChatCompletionRequestToolMessageContentPart", check::<types::ContentPart>),
    ("ChatCompletionRequestFunctionMessage", check::<Message>),
    ("ModelIdsShared", check::<String>),
    ("ServiceTier", check::<types::ServiceTier>),
    ("ResponseModalities", check::<Vec<types::Modality>>),
    ("Verbosity", check::<types::Verbosity>),
    ("ReasoningEffort", check::<types::ReasoningEffort>),
    ("WebSearchLocation", check::<types::ApproximateLocation>),
    ("WebSearchContextSize", check::<types::SearchContextSize>),
    ("ResponseFormatText", check::<ResponseFormat>),
    ("ResponseFormatJsonSchema", check::<ResponseFormat>),
    ("ResponseFormatJsonSchemaSchema", check::<types::Json>),
    ("ResponseFormatJsonObject", check::<ResponseFormat>),
    ("VoiceIdsOrCustomVoice", check::<types::Voice>),
    ("VoiceIdsShared", check::<String>),
    ("ModerationParam", check::<types::ModerationOptions>),
    ("ModerationPolicyParam", check::<types::ModerationPolicy>),
    ("ModerationConfigParam", check::<types::ModerationConfig>),
    ("ModerationMode", check::<types::ModerationMode>),
    ("StopConfiguration", check::<types::Stop>),
    ("PredictionContent", check::<types::Prediction>),
    ("ChatCompletionStreamOptions", check::<types::StreamOptions>),
    ("ChatCompletionTool", check::<types::Tool>),
    ("FunctionObject", check::<types::FunctionDefinition>),
    ("FunctionParameters", check::<types::Json>),
    ("CustomToolChatCompletions", check::<types::Tool>),
    ("ChatCompletionToolChoiceOption", check::<types::ToolChoice>),
    ("ChatCompletionAllowedToolsChoice", check::<types::NamedToolChoice>),
    ("ChatCompletionAllowedTools", check::<types::AllowedTools>),
    ("ChatCompletionNamedToolChoice", check::<types::NamedToolChoice>),
    ("ChatCompletionNamedToolChoiceCustom", check::<types::NamedToolChoice>),
    ("ParallelToolCalls", check::<bool>),
    ("ChatCompletionFunctionCallOption", check::<types::NamedTool>),
    ("ChatCompletionFunctions", check::<types::FunctionDefinition>),
    ("CreateChatCompletionResponse", check::<ChatCompletion>),
    ("ChatCompletionResponseMessage", check::<types::ResponseMessage>),
    ("ChatCompletionTokenLogprob", check::<types::TokenLogprob>),
    ("CompletionUsage", check::<types::Usage>),
    ("ChatCompletionModeration", check::<types::Moderation>),
    ("ChatCompletionModerationResults", check::<types::ModerationOutcome>),
    ("ModerationResultBody", check::<types::ModerationResult>),
    ("ModerationInputType", check::<types::ModerationInputType>),
    ("ChatCompletionModerationError", check::<types::ModerationOutcome>),
    ("CreateChatCompletionStreamResponse", check::<ChatCompletionChunk>),
    ("ChatCompletionStreamResponseDelta", check::<types::Delta>),
    ("ChatCompletionMessageToolCallChunk", check::<types::ToolCallDelta>),
    ("ErrorResponse", check_error),
    ("Error", check_error),
    ("Model", check::<types::Model>),
    ("ListModelsResponse", check::<types::ModelList>),
];

/// The parameters that OpenAI shares with its other API, by themselves: a request that lacks its messages.
#[derive(Debug)]
struct OnlyParameters(ChatRequest);

impl<'de> serde::Deserialize<'de> for OnlyParameters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Value::deserialize(deserializer)?;
        fields["messages"] = Value::Array(Vec::new());
        types::from_str(&fields.to_string()).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for OnlyParameters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serde_json::to_value(&self.0).map_err(serde::ser::Error::custom)?;
        fields.as_object_mut().expect("an object").remove("messages");
        fields.serialize(serializer)
    }
}

/// The first error of each schema, cut.
fn some_of(wrong: &[String]) -> String {
    let mut schemas: Vec<&str> = Vec::new();
    let mut some = String::new();
    for error in wrong {
        let schema = error.split(' ').next().unwrap_or_default();
        if !schemas.contains(&schema) {
            schemas.push(schema);
            some.extend(error.chars().take(600).chain(['\n']));
        }
    }
    some
}

fn check_all(instances: &Instances, show: Show) -> usize {
    let mut names = instances.names();
    names.sort();
    let mut ours: Vec<&str> = SCHEMAS.iter().map(|(name, _)| *name).collect();
    ours.sort_unstable();
    assert_eq!(names, ours, "each schema has a type");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, check) in SCHEMAS {
        for instance in instances.of(name) {
            count += 1;
            if let Err(error) = check(&instance, show) {
                wrong.push(format!("{name} ({}): {error}", instance.about));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} instances, among them:\n{}", wrong.len(), some_of(&wrong));
    count
}

#[test]
fn every_schema_is_read_and_written_back_equal() {
    let Some(document) = shared_json("openapi/chat-completions.openapi.json") else { return };
    let count = check_all(&Instances::new(document), Show::Any);
    assert!(count > 500, "{count} instances are too few to have met every field");
}

#[test]
fn nothing_that_the_schema_types_is_raw_json() {
    let Some(document) = shared_json("openapi/chat-completions.openapi.json") else { return };
    let mut instances = Instances::new(document);
    instances.open = false;
    check_all(&instances, Show::NoRawJson);
}

#[test]
fn every_enumeration_is_an_open_word() {
    let Some(document) = shared_json("openapi/chat-completions.openapi.json") else { return };
    let mut instances = Instances::new(document);
    instances.unlisted = true;
    check_all(&instances, Show::OpenWord);
}
