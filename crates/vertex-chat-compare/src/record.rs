//! A run as a file of JSON lines: its head, its prompts, and every request that came to an end.
//!
//! Each line is an object whose `kind` says which of the structs here it is. Times are whole microseconds since the session
//! began that the line belongs to.

use serde::{Deserialize, Serialize};
use vertex_chat::Json;

/// The version of the file's format.
pub const FORMAT: u32 = 1;

/// The first line: everything that the results depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunLine {
    /// [`FORMAT`].
    pub format: u32,
    /// The program and its version.
    pub program: String,
    /// The system and the processors that it ran on.
    pub machine: String,
    /// When the run began, by RFC 3339.
    pub started: String,
    /// What times are measured with.
    pub clock: String,
    /// What random choices begin with.
    pub seed: u64,
    /// How many requests the run has.
    pub requests: u64,
    /// How many prompts.
    pub prompts: u64,
    /// A hash of targets, prompts and settings each: a run goes on only with the same.
    pub plan: PlanLine,
    /// Who is asked.
    pub targets: Vec<TargetLine>,
    /// What is the same for all of them.
    pub settings: SettingsLine,
}

/// What two runs must have in common to be one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanLine {
    /// Of the targets.
    pub targets: String,
    /// Of the prompts.
    pub prompts: String,
    /// Of the settings.
    pub settings: String,
}

/// Somebody who is asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetLine {
    /// Its name in this run.
    pub label: String,
    /// The model that it is asked for.
    pub model: String,
    /// Where requests go.
    pub url: String,
    /// Vertex's location, where there is one.
    pub location: Option<String>,
    /// What requests are prepared for.
    pub dialect: String,
    /// What becomes of parameters that it does not take.
    pub policy: String,
    /// Parameters that this target alone is sent.
    pub parameters: Option<Json>,
    /// What it costs, where that is known.
    pub price: Option<PriceLine>,
}

/// A price: US dollars for a million tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PriceLine {
    /// For tokens of the prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<f64>,
    /// For tokens of the prompt that came from a cache; without it they cost what the others do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// For tokens of the answer, thinking included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<f64>,
    /// What holds in place of these for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPriceLine>,
    /// For an hour of the machine, in US dollars, in place of prices of tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<f64>,
    /// Where it is from.
    pub source: String,
    /// The day on which it was looked up, `2026-11-23`.
    pub date: String,
}

/// The price of a request with a long prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LongPriceLine {
    /// Of prompts with more tokens than this.
    pub above: u64,
    /// For tokens of the prompt.
    pub input: f64,
    /// For tokens of the prompt that came from a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// For tokens of the answer.
    pub output: f64,
}

/// What is the same for all targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SettingsLine {
    /// Whether answers are streamed.
    pub stream: bool,
    /// How often each prompt is asked in each stage.
    pub repeat: u64,
    /// The stages: `4 at once`, `2/s`.
    pub stages: Vec<String>,
    /// Whether targets are asked one after the other.
    pub sequential: bool,
    /// How requests of an open stage are spaced: `even` or `poisson`.
    pub arrivals: String,
    /// How often the client may send a request again.
    pub retries: u32,
    /// How long a request may take, in seconds.
    pub timeout: f64,
    /// Parameters that all targets are sent.
    pub parameters: Option<Json>,
    /// When a target counts as broken.
    pub breaks: String,
    /// How answers are scored.
    pub scoring: Option<String>,
    /// The judge, and the prompt that it is given.
    pub judge: Option<(TargetLine, String)>,
    /// Where prices are from.
    pub prices: String,
}

/// A prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromptLine {
    /// Its number, from 0.
    pub prompt: u64,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The request without its model and without what the settings say.
    pub request: Json,
    /// What is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// The run begins, or goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionLine {
    /// Its number, from 1.
    pub session: u32,
    /// When, by RFC 3339.
    pub started: String,
    /// The program and its version.
    pub program: String,
}

/// A request that came to an end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ResultLine {
    /// Its number in the run's plan.
    pub request: u64,
    /// The session that it belongs to.
    pub session: u32,
    /// The target's label.
    pub target: String,
    /// The prompt's number.
    pub prompt: u64,
    /// Which time the prompt was asked, from 0.
    pub repeat: u64,
    /// The stage's number, from 0.
    pub stage: u64,
    /// When it was due. In a stage with a rate that is by the rate, however late it was begun.
    pub due_us: u64,
    /// When it was begun.
    pub begun_us: u64,
    /// When the first token came; only of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_us: Option<u64>,
    /// When the first token came that is no thought; only of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_text_us: Option<u64>,
    /// When the last token came; only of streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_token_us: Option<u64>,
    /// When it ended.
    pub ended_us: u64,
    /// How many requests the client sent for it.
    pub attempts: u32,
    /// The HTTP status, where there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What went wrong; without it there is a whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorLine>,
    /// The model, as it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The server's name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Why the answer ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// The text of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Why there is none, in the model's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The tools that it calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallLine>,
    /// Tokens, as this program counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokensLine>,
    /// Tokens, as the server counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Json>,
    /// US dollars; without it the cost is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// US dollars that it takes from the budget, where there is one: what is not known counts as expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charged: Option<f64>,
    /// What was dropped or rewritten before it was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// What is wrong with the answer as JSON: nothing when it is empty. Only where JSON was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_fault: Option<String>,
    /// The score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreLine>,
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorLine {
    /// One word: `rate_limited` for 429, `http_503`, `connect`, `timeout`, `truncated` and so on.
    pub kind: String,
    /// What was said, cut to [`MESSAGE_CHARS_MAX`](crate::MESSAGE_CHARS_MAX).
    pub message: String,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallLine {
    /// The tool.
    pub name: String,
    /// Its arguments, as they came.
    pub arguments: String,
    /// What is wrong with the arguments by the tool's schema; nothing when it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
}

/// Tokens of one request, counted the same way whoever counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokensLine {
    /// In the prompt, cached ones included.
    pub prompt: u64,
    /// In the prompt, from a cache.
    pub cached: u64,
    /// In the answer, without thinking.
    pub completion: u64,
    /// Of thinking.
    pub reasoning: u64,
}

/// A score.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScoreLine {
    /// 0 to 1; without it, it could not be scored.
    pub value: Option<f64>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What the judge cost, in US dollars, where there was one and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_cost: Option<f64>,
}

/// A target is asked no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StopLine {
    /// The target's label.
    pub target: String,
    /// Since the end of this stage.
    pub stage: u64,
    /// Why.
    pub reason: String,
    /// Whether that holds when the run goes on, too: who broke under a load breaks again, who failed may have been mended.
    pub for_good: bool,
}

/// The run ended by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndLine {
    /// Why: `complete`, or the limit that was reached.
    pub reason: String,
    /// When, by RFC 3339.
    pub ended: String,
}
