//! The Chat Completions protocol, OpenAI's and Google's, as types: requests, answers, chunks, errors.
//!
//! ```
//! use vertex_chat_types::{ChatCompletion, ChatRequest, Message};
//!
//! let mut request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")]);
//! let body = serde_json::to_string(&request)?;
//!
//! // … the server answers …
//! # let answer = r#"{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Once"}}]}"#;
//! let completion: ChatCompletion = vertex_chat_types::from_str(answer)?;
//! println!("{}", completion.text());
//! request.messages.extend(completion.to_message());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What it is.** Values, and their way to JSON and back. It depends on serde and serde_json and on nothing else.
//!
//! **What it is not.** It does not send anything (`vertex-chat` does), does not read event streams
//! (`vertex-chat-sse`), and has no opinion on what a server takes (`vertex-chat-params`).
//!
//! # Promises
//!
//! * **Nothing is lost.** A field that a type does not name is kept in its `extra` and written back. Schemas, tool
//!   parameters and unknown fields are [`Json`]: kept byte for byte, key order and number spelling included.
//! * **Servers choose words.** Where they do, the enum has an `Other`. Every field that a server sends may be absent.
//! * **`null` is kept** where OpenAI's schema makes a field both required and nullable ([`Nullable`]); elsewhere a
//!   `null` may become absent.
//! * **Errors name the path** ([`ParseError`]) and never quote the value. `Debug` of every type shows the shape and the
//!   length of what people and models wrote, not the text; to see the text, write the value as JSON.
//! * **Fields are added without breaking anyone**: structs are `#[non_exhaustive]`, made by constructors and `with_*`.
//!
//! A field that comes twice counts with its last value, as in most JSON readers. Numbers in typed fields are `f64` or
//! 64-bit integers.
//!
//! # Features
//!
//! `schemars` makes response formats and tools from Rust types (`ResponseFormat::of`, `Tool::of`), properties in the
//! order of the fields.
//!
//! # Streams
//!
//! [`StreamEvent::read`] says what one event's data is; [`Accumulator`] puts chunks together.

mod chunk;
mod completion;
mod content;
mod ending;
mod error;
mod google;
mod json;
mod merge;
mod message;
mod model;
mod nullable;
mod parse;
mod request;
#[cfg(feature = "schemars")]
mod schema;
mod stream;
mod tool;
mod wire;
mod words;

pub use chunk::{ChatCompletionChunk, ChunkChoice, Delta, ToolCallDelta};
pub use completion::{
    Annotation, ChatCompletion, Choice, CompletionTokensDetails, ContentFilterResult, Logprobs, Moderation,
    ModerationOutcome, ModerationResult, PromptFilterResult, PromptTokensDetails, ReasoningDetail,
    ResponseAudio, ResponseMessage, TokenLogprob, TopLogprob, UrlCitation, Usage,
};
pub use content::{
    Content, ContentPart, FileData, FilePart, FunctionResponsePart, ImageUrl, ImageUrlObject, InputAudio,
    InputAudioObject, PromptCacheBreakpoint, VideoUrl,
};
pub use ending::{Ending, FinishHold, NATIVE_FINISH_REASON};
pub use error::{ApiError, ERROR_MESSAGE_BYTES_MAX, FieldViolation};
pub use google::{
    ExtraBody, ExtraContent, ExtraProperties, GoogleContent, GoogleOptions, GoogleUsage, ModelSafetySettings,
    SafetySetting, ThinkingConfig,
};
pub use json::{Extra, Json};
pub use merge::{Accumulator, CHOICES_MAX, EXTRA_FIELDS_MAX, MERGED_BYTES_MAX, MergeError, TOOL_CALLS_MAX};
pub use message::{AudioReference, CustomToolCall, FunctionCall, Message, ToolCall};
pub use model::{Model, ModelList};
pub use nullable::Nullable;
pub use parse::{ParseError, from_slice, from_str};
pub use request::{
    ApproximateLocation, AudioOptions, ChatRequest, CustomVoice, JsonSchemaFormat, ModerationConfig,
    ModerationOptions, ModerationPolicy, Prediction, PromptCacheOptions, ResponseFormat, Stop, StreamOptions,
    UserLocation, Voice, WebSearchOptions,
};
pub use stream::{Progress, STRAY_TEXT_BYTES_MAX, StrayText, StreamEvent};
pub use tool::{
    AllowedTools, CustomTool, CustomToolFormat, FunctionCallChoice, FunctionDefinition, Grammar, NamedTool,
    NamedToolChoice, Tool, ToolChoice,
};
pub use words::{
    AnnotationType, AudioInputFormat, AudioOutputFormat, CustomFormatType, FinishReason, GrammarSyntax,
    ImageDetail, LocationType, Modality, ModerationInputType, ModerationKind, ModerationMode, ObjectType,
    PartType, PredictionType, PromptCacheMode, PromptCacheRetention, PromptCacheTtl, ReasoningEffort,
    ResponseFormatType, Role, SearchContextSize, ServiceTier, ToolChoiceType, ToolMode, ToolType,
    TrafficType, Verbosity,
};
