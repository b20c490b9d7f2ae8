//! The same requests to several models: answers, cost and scale side by side.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vertex_chat::Client;
//! use vertex_chat::transport::SystemClock;
//! use vertex_chat_compare::{Comparison, Plan, Prices, Prompt, Settings, Target, html};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prices = Prices::bundled();
//! let client = Client::from_env()?;
//! let target = |model: &str| {
//!     let price = prices.find(model, client.chat_url().host().unwrap_or_default(), None);
//!     Target::new(model, client.clone(), model).with_price(price)
//! };
//! let targets = vec![target("google/gemini-2.5-flash"), target("google/gemini-2.5-pro")];
//! let prompts = vec![Prompt::text("Write a story about a magic backpack.")];
//!
//! let plan = Plan::new(targets, prompts, Settings::default())?;
//! let mut comparison = Comparison::in_file(plan, Arc::new(SystemClock), "run.jsonl".as_ref())?;
//! comparison.run(|result, _| println!("{}: {} µs", result.target, result.ended_us)).await?;
//! std::fs::write("run.html", html(&comparison.report("run.jsonl")))?;
//! # Ok(()) }
//! ```
//!
//! **What it is.** A [`Plan`] says who is asked what, how often and at what pace; a [`Comparison`] asks, and writes every
//! request that came to an end as a line of JSON, so that an interrupted run goes on where it stopped; a [`Summary`] of such
//! lines becomes a [`Report`], and that one [HTML file](html()). Beside it: [prices](Prices), and the files of
//! [Vertex's batch prediction](mod@batch).
//!
//! **What it is not.** A judge of models: it counts and shows. And nothing leaves the machine except to the targets, and to
//! the judge that was named.
//!
//! # How it counts
//!
//! * *Total time* and *time to the first token* count from when a request was due. In a [stage with a rate](Stage::Open) that is
//!   by the rate, however late the request was begun: slow answers do not hide how long the next would have waited.
//! * *Tokens per second* are the visible tokens of one answer but the first, over the time from its first to its last piece.
//! * *Quantiles* come with the interval that has the true one in it with 95 % confidence, whatever the distribution: from the ranks
//!   that a binomial number leaves open. Up to [`EXACT_VALUES_MAX`] values they are exact; beyond, to one part in a thousand.
//! * *Errors* are requests without a whole answer. They are in no time and in no rate, only in their own counts.
//! * *Cost* that is not known is unknown, never zero.

pub mod batch;
mod checks;
mod comparison;
mod differ;
mod html;
mod journal;
mod plan;
mod prices;
mod prompts;
mod record;
mod report;
mod run;
mod score;
mod stats;
mod summary;
mod text;
mod tokens;

pub use checks::{FAULT_CHARS_MAX, PATTERN_STEPS_MAX, SCHEMA_BYTES_MAX, SCHEMA_PATTERN_BYTES_MAX};
pub use comparison::{Comparison, Imports, rfc3339};
pub use differ::{DIFFER_BYTES_MAX, DIFFER_LINES_MAX, VARIETY_MAX};
pub use html::html;
pub use journal::{JournalError, LINE_BYTES_MAX, Line, begun_at, read};
pub use plan::{
    AT_ONCE_MAX, Arrivals, Breaks, EXPECTED_TOKENS, Estimate, FAILURES_IN_A_ROW, LABEL_CHARS_MAX, Plan,
    PlanError, REQUESTS_MAX, STAGES_MAX, Settings, Stage, TARGETS_MAX, TIMEOUT, Target,
};
pub use prices::{
    PRICE_MAX, PRICE_MIN, PRICE_PLACES_MAX, PRICE_ROWS_MAX, PRICES_BYTES_MAX, PriceError, Prices,
};
pub use prompts::{
    ID_BYTES_MAX, PROMPTS_BYTES_MAX, PROMPTS_MAX, Prompt, PromptError, TEMPLATE_BYTES_MAX, read_csv,
    read_lines, read_text,
};
pub use record::{
    CallLine, EndLine, ErrorLine, FORMAT, LongPriceLine, PlanLine, PriceLine, PromptLine, ResultLine,
    RunLine, ScoreLine, SessionLine, SettingsLine, StopLine, TargetLine, TokensLine,
};
pub use report::{
    AnswerReport, Bin, Difference, Figures, Piece, PromptReport, Quantile, Report, RunReport, Spread,
    TargetReport,
};
pub use run::MESSAGE_CHARS_MAX;
pub use score::{
    JUDGE_PROMPT, JUDGE_SCORES, Judge, PATH_ANSWER_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX,
    PATH_DESCENTS_MAX, PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX, PATTERN_DEPTH_MAX, PathScoring,
    ScoreError, Scoring, WHY_CHARS_MAX,
};
pub use stats::{BINS, EXACT_VALUES_MAX};
pub use summary::{PROMPTS_SHOWN_MAX, SHOWN_BYTES_MAX, Summary, WORDS_MAX, report};
