//! Does this endpoint speak OpenAI's Chat Completions? Rule by rule, with what breaks where it does not.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vertex_chat_conformance::{Key, Plan, Suite, Target};
//! use vertex_chat_transport::{Connector, HttpConnector, Profile, SystemClock};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let suite = Suite::bundled();
//! let exchange = HttpConnector::new().connect(&Profile::Public)?;
//! let target = Target::new(exchange, Arc::new(SystemClock), "http://127.0.0.1:8000/v1", "my-model")?
//!     .with_credentials(Arc::new(Key::new("my-key")));
//!
//! let mut run = suite.plan(&Plan::new("openai"))?.run(target);
//! while let Some(result) = run.next().await {
//!     println!("{} {}", result.case.id, result.verdict);
//! }
//! println!("{}", run.report().to_markdown());
//! # Ok(()) }
//! ```
//!
//! **What it is.** A suite of [cases](Case), each a file with one rule, its source, the request that shows whether it
//! holds, and what breaks when it does not; the [profiles](Profile) of servers that they apply to; a runner; and
//! [reports](Report). Each case also describes servers that break its rule and no other, [mutants](Mutant), so that the
//! judge can be judged.
//!
//! **What it is not.** A client: it speaks HTTP as the rules are written, and shares no code with `vertex-chat`.
//!
//! # Limits
//!
//! [`ANSWER_BYTES_MAX`], [`ANSWER_TIMEOUT`], [`ATTEMPTS_MAX`], [`STEPS_MAX`], [`TIMES_MAX`], [`VIOLATIONS_MAX`] and [`SHOWN_CHARS_MAX`] bound what a
//! case can cost and a report can show.

mod broken;
mod case;
mod events;
mod expect;
mod mutant;
mod observe;
mod path;
mod profile;
mod report;
mod run;
mod suite;

pub use case::{Auth, Case, FILLER_BYTES_MAX, Level, STEPS_MAX, TIMES_MAX};
pub use expect::{SHOWN_CHARS_MAX, Violation};
pub use mutant::Mutant;
pub use observe::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, ATTEMPTS_MAX};
pub use path::PLACES_MAX;
pub use profile::{Lack, Profile};
pub use report::{REPORT_SCHEMA, Report, Reports};
pub use run::{CaseResult, Credentials, Key, Run, Target, TargetError, VIOLATIONS_MAX, Verdict};
pub use suite::{Estimate, Plan, Selection, Suite, SuiteError};
