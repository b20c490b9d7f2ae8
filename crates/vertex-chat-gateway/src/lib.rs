//! The OpenAI-compatible door: any OpenAI library, unchanged, on any model of Vertex AI.
//!
//! ```no_run
//! use vertex_chat_gateway::{Config, Gateway, Options};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::default(); // Vertex, by the environment's credentials and project
//! let gateway = Gateway::build(&config, Options::default()).await?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! gateway.serve(listener, std::future::pending()).await; // OPENAI_BASE_URL=http://127.0.0.1:8080/v1
//! # Ok(()) }
//! ```
//!
//! **What it is.** An [`Exchange`](vertex_chat_transport::Exchange) that takes OpenAI's requests, sends them to whoever has
//! the model ([`Config`]), and gives OpenAI's answers: tokens fetched, parameters [prepared](vertex_chat::params), answers
//! [repaired](Repair), errors in the shape that libraries read. It needs no socket; [`Gateway::serve`] puts it on one.
//!
//! **What it is not.** It keeps nothing: no conversations, no answers, no database. It does not count money.
//!
//! # Routes
//!
//! `POST /v1/chat/completions`, `GET /v1/models`, `GET /v1/models/{id}`, the same without `/v1`; `GET /livez`, `/readyz` and
//! `/metrics`.
//!
//! # Cancel safety
//!
//! Who drops the answer to a request, or its body, has given up the request upstream.

mod admission;
mod build;
mod call;
mod chat;
mod coding;
mod config;
mod cool_down;
mod fault;
mod gateway;
mod heavy;
mod keys;
mod metrics;
mod patience;
mod places;
mod relay;
mod repair;
mod route;
mod weight;

pub use build::BuildError;
pub use call::AccessEntry;
pub use config::{
    AccessFormat, BODIES_BYTES_MAX, CONNECTIONS_MAX, Config, ConfigError, DRAIN_SECONDS, KEEP_ALIVE_SECONDS,
    LISTEN, REQUESTS_MAX,
};
pub use cool_down::{COOL_DOWN, COOL_DOWN_MAX, COOL_DOWNS_MAX};
pub use fault::RETRY_AFTER_SENT_MAX;
pub use gateway::{Gateway, LINGER, Options, PROMPT_BYTES_MAX, REQUEST_ID_BYTES_MAX};
pub use keys::{hash_key, new_key};
pub use places::{Place, Places};
pub use repair::{Repair, Repairs};
pub use route::MODEL_BYTES_MAX;
pub use weight::CONTAINERS_MAX;
