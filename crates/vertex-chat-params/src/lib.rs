//! What may be sent: which parameter which kind of server takes, and a request made ready for one of them.
//!
//! ```
//! use vertex_chat_params::{Dialect, Target, prepare};
//! use vertex_chat_types::{ChatRequest, Message};
//!
//! let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("hello")])
//!     .with_temperature(0.2)
//!     .with_user("somebody"); // Vertex would ignore this without a word.
//! let target = Target::new(Dialect::of_vertex_model(request.model.as_deref()));
//!
//! let prepared = prepare(request, &target)?;
//! assert_eq!(prepared.report().to_string(), "dropped `user`: ignored by Gemini 2 on Vertex");
//! # Ok::<(), vertex_chat_params::Rejection>(())
//! ```
//!
//! **What it is.** One [table](PARAMETERS), a [`Policy`] for what is not taken, and [`prepare()`], the only maker of a
//! [`PreparedRequest`]. It works on types and on bytes, and needs no HTTP stack.
//!
//! **What it is not.** A copy of the service. A request is refused here only where the service certainly refuses it too
//! ([`Rejection`] says by which source), or where its schema is past this crate's limits; all faults at once. An unknown
//! model, an unknown parameter and everything that the sources leave open go through.

mod aside;
mod dialect;
mod glance;
mod prepare;
mod report;
mod rewrite;
mod rules;
mod schema;
mod signature;
mod steps;
mod table;

pub use dialect::{Dialect, ParseDialectError, Policy};
pub use glance::Glance;
pub use prepare::{PreparedRequest, Target, prepare, prepare_glanced, prepare_in_place, prepare_json};
pub use report::{Action, FunctionNames, NOTES_MAX, Note, PROBLEMS_MAX, Problem, Rejection, Report};
pub use rewrite::{ParseRewriteError, Rewrite, Rewrites};
pub use schema::{
    SCHEMA_BYTES_MAX, SCHEMA_CHANGES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SchemaChange, SchemaError,
    reduce_schema,
};
pub use signature::{SIGNATURE_ESCAPE, SIGNATURE_MARK, SIGNED_ID_BYTES_MAX, sign_id, split_id};
pub use steps::{PREPARE_STEPS_MAX, SCHEMA_STEPS_MAX};
pub use table::{PARAMETERS, Parameter, Support, parameter};
