//! Chat with models on Google's Vertex AI, and on any other server that speaks OpenAI's Chat Completions.
//!
//! ```no_run
//! use vertex_chat::{ChatRequest, Client, Message};
//!
//! # #[tokio::main] async fn main() -> Result<(), vertex_chat::Error> {
//! // GOOGLE_APPLICATION_CREDENTIALS names a service account key; the project is in it.
//! let client = Client::from_env()?;
//! let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("Write a story about a magic backpack.")]);
//!
//! let mut stream = client.chat_stream(request).await?;
//! while let Some(chunk) = stream.next().await {
//!     print!("{}", chunk?.text());
//! }
//! # Ok(()) }
//! ```
//!
//! **What it is.** [`Client`]: a request is [prepared](vertex_chat_params) for the server it goes to, carries a token
//! that is [fetched and renewed](vertex_chat_auth) by itself, is tried again where that is safe, and becomes typed
//! answers, chunks and [errors](Error). Cloning a client is cheap, and all clones share connections and tokens.
//!
//! **What it is not.** It does not choose models, count costs, or keep conversations. It never invents an answer: a
//! stream that breaks off is an error, not a shorter story.
//!
//! # Where requests go
//!
//! | you have | you write |
//! |---|---|
//! | a project, Gemini or a partner's model | `Client::builder().project("p").location("us-central1")` |
//! | a model of your own on an endpoint | `… .endpoint("1234567890")`, and `.dialect(Dialect::Tgi)` for TGI |
//! | a dedicated endpoint | `… .endpoint("123").host("123.us-central1-45.prediction.vertexai.goog")` |
//! | any base URL: OpenAI, a local server, a gateway | `Client::builder().base_url("http://localhost:8000/v1")` |
//! | environment variables | [`Client::from_env`]; the [order](ClientBuilder#environment) |
//!
//! # Turn two
//!
//! Gemini 3 refuses a conversation whose tool calls have lost their thought signatures.
//! [`ChatCompletion::to_message`] carries them back:
//!
//! ```
//! # use vertex_chat::{ChatCompletion, ChatRequest, Message};
//! # fn turn(mut request: ChatRequest, answer: ChatCompletion) -> ChatRequest {
//! request.messages.extend(answer.to_message());
//! for call in answer.tool_calls() {
//!     let id = call.id.clone().unwrap_or_default();
//!     request.messages.push(Message::tool(id, r#"{"temperature":21}"#));
//! }
//! # request }
//! ```
//!
//! # Tracing
//!
//! Every call has a span `chat` with `gen_ai.*` attributes after OpenTelemetry's conventions: model, response id, finish
//! reasons, token counts. Never a prompt, an answer or a token.
//!
//! # Cancel safety
//!
//! Dropping a call or a stream gives up the request on the wire. A token request that others wait for goes on.
//!
//! # Stability
//!
//! In public signatures stand `http`, `bytes` and, because every stream is one, `futures_core::Stream`. What an
//! [`Error`]'s source is, and the default limits, may change.

mod budgets;
mod builder;
mod client;
mod endpoint;
mod error;
mod options;
mod response;
mod stream;
mod trust;

pub use budgets::RETRY_BUDGETS_MAX;
pub use builder::ClientBuilder;
pub use client::{COMPLETION_BYTES_MAX, Client, ENDPOINT_PAGES_MAX, ERROR_BODY_BYTES_MAX, EndpointInfo};
pub use error::{Error, ErrorKind};
pub use options::CallOptions;
pub use response::{Meta, Response};
pub use stream::{ChatStream, DRAIN_TIMEOUT};

pub use vertex_chat_auth as auth;
pub use vertex_chat_params as params;
pub use vertex_chat_transport as transport;
pub use vertex_chat_types as types;

pub use vertex_chat_auth::Environment;
pub use vertex_chat_params::{Dialect, Policy, Report, Rewrite, Rewrites};
pub use vertex_chat_transport::{RetryPolicy, Sent, Timeouts};
pub use vertex_chat_types::{
    Accumulator, ApiError, ChatCompletion, ChatCompletionChunk, ChatRequest, Content, ContentPart,
    FinishReason, Json, Message, ResponseFormat, Role, STRAY_TEXT_BYTES_MAX, Tool, ToolCall, ToolChoice,
    Usage,
};
