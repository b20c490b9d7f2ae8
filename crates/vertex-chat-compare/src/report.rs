//! What a report shows: figures, answers and everything that they depend on, ready to be drawn.

use serde::{Deserialize, Serialize};

use crate::record::{CallLine, PriceLine, RunLine};

/// One run, or several that are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// When the report was made, by RFC 3339.
    pub made: String,
    /// The program that made it.
    pub program: String,
    /// The runs, in the order in which they were given.
    pub runs: Vec<RunReport>,
    /// Who was asked, run by run.
    pub targets: Vec<TargetReport>,
    /// What was asked, and the answers, up to [`PROMPTS_SHOWN_MAX`](crate::PROMPTS_SHOWN_MAX).
    pub prompts: Vec<PromptReport>,
    /// How many prompts are not shown.
    pub prompts_left_out: u64,
}

/// One run: what its results depend on, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// What it is called, such as its file's name.
    pub name: String,
    /// The head of its file.
    pub head: RunLine,
    /// How often it was begun: more than once when it was interrupted and went on.
    pub sessions: u32,
    /// Results there are.
    pub results: u64,
    /// Why it ended; `None` when it was interrupted.
    pub end: Option<String>,
}

/// What came of asking one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetReport {
    /// Its run's place in [`Report::runs`].
    pub run: usize,
    /// Its name in the run.
    pub label: String,
    /// The model that it was asked for.
    pub model: String,
    /// The models that answered, as they call themselves.
    pub answered: Vec<String>,
    /// Where it is: URL without query, location, dialect.
    pub place: String,
    /// What a token costs, where that is known.
    pub price: Option<PriceLine>,
    /// All stages together.
    pub all: Figures,
    /// Stage by stage.
    pub stages: Vec<Figures>,
    /// Requests without an answer: what went wrong, and how often. 429 is `rate_limited`.
    pub errors: Vec<(String, u64)>,
    /// What was said the first time, of each kind of error.
    pub error_messages: Vec<(String, String)>,
    /// Why answers ended.
    pub finish_reasons: Vec<(String, u64)>,
    /// What was dropped or rewritten before requests were sent, and how often.
    pub changes: Vec<(String, u64)>,
    /// The distribution of the total time.
    pub latency: Vec<Bin>,
    /// The distribution of the time to the first token; empty when nothing was streamed.
    pub first_token: Vec<Bin>,
    /// Why an answer could not be scored, the first time.
    pub unscored_reason: Option<String>,
    /// Why it was not asked to the end: it broke, or a limit was reached.
    pub stopped: Option<String>,
}

/// The numbers of one target, in one stage or in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Figures {
    /// The stage: `4 at once`, `2/s`; empty for all together.
    pub stage: String,
    /// Requests at once, where that is what the stage sets.
    pub concurrency: Option<u64>,
    /// Requests begun per second, where that is what the stage sets.
    pub rate: Option<f64>,
    /// Requests that came to an end.
    pub requests: u64,
    /// Those with a whole answer.
    pub ok: u64,
    /// Those without.
    pub errors: u64,
    /// Of those, the ones that were refused with 429.
    pub rate_limited: u64,
    /// Requests sent again, by the client's own retries.
    pub retries: u64,
    /// From the first request's begin to the last one's end, in seconds; pauses between sessions are not counted.
    pub seconds: f64,
    /// Whole answers per second.
    pub answers_per_second: Option<f64>,
    /// Seconds to the first token of a stream.
    pub first_token: Option<Spread>,
    /// Seconds to the end of the answer, from when the request was due.
    pub total: Option<Spread>,
    /// Tokens per second of one answer, after its first token.
    pub tokens_per_second: Option<Spread>,
    /// Tokens of prompts, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens of prompts that came from a cache.
    pub cached_tokens: u64,
    /// Tokens of answers, without thinking.
    pub completion_tokens: u64,
    /// Tokens of thinking.
    pub reasoning_tokens: u64,
    /// Answers that did not say how many tokens they took.
    pub without_usage: u64,
    /// US dollars, of the answers whose cost is known; `None` when no cost is known.
    pub cost: Option<f64>,
    /// Answers whose cost is unknown.
    pub without_cost: u64,
    /// US dollars that the judge took for scoring them, as far as that is known; not in `cost`.
    pub judge_cost: Option<f64>,
    /// US dollars for a thousand answers; `None` when that of any answer is unknown.
    pub cost_per_thousand: Option<f64>,
    /// The mean score, 0 to 1, of the answers that were scored.
    pub score: Option<f64>,
    /// How many were scored.
    pub scored: u64,
    /// How many were to be scored and could not be.
    pub unscored: u64,
    /// Answers that are JSON by their schema, of those that were to be.
    pub json_valid: u64,
    /// Answers that were to be JSON.
    pub json_asked: u64,
}

/// How values spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
    /// The median.
    pub p50: Quantile,
    /// What nine of ten do not exceed.
    pub p90: Quantile,
    /// What 99 of 100 do not exceed.
    pub p99: Quantile,
}

/// A quantile, and the interval that has the true one in it with 95 % confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quantile {
    /// The value.
    pub value: f64,
    /// Not below this; `None` when there are too few values to say.
    pub low: Option<f64>,
    /// Not above this; `None` when there are too few values to say.
    pub high: Option<f64>,
}

impl Quantile {
    /// The interval, where there are enough values for both ends.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// A bar of a histogram: how many values are above `from` and up to `to`, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Bin {
    /// Above this.
    pub from: f64,
    /// Up to this.
    pub to: f64,
    /// How many.
    pub count: u64,
}

/// A prompt and its answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PromptReport {
    /// Its name, or its number from 1.
    pub name: String,
    /// Who says what, in order: role and text.
    pub messages: Vec<(String, String)>,
    /// What is expected, where that was said.
    pub expected: Option<String>,
    /// The answers, one for each target that was asked.
    pub answers: Vec<AnswerReport>,
}

/// A target's first answer to a prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AnswerReport {
    /// Its target's place in [`Report::targets`].
    pub target: usize,
    /// What it says, cut into what the first target's answer says too and what it does not.
    pub pieces: Vec<Piece>,
    /// The tools that it calls.
    pub calls: Vec<CallLine>,
    /// How it differs from the first target's answer; `None` for that one itself, and when there is none.
    pub difference: Option<Difference>,
    /// What went wrong, in place of an answer.
    pub error: Option<String>,
    /// Why it ended.
    pub finish_reason: Option<String>,
    /// Seconds to the first token.
    pub first_token: Option<f64>,
    /// Seconds to the end; `None` where somebody else asked.
    pub total: Option<f64>,
    /// US dollars.
    pub cost: Option<f64>,
    /// Tokens, thinking included.
    pub tokens: Option<u64>,
    /// What is wrong with it as JSON; empty when nothing is; `None` when none was asked for.
    pub json_fault: Option<String>,
    /// Its score, 0 to 1, and why.
    pub score: Option<(f64, String)>,
    /// How many different answers the target gave to this prompt, and how many answers.
    pub variety: (u64, u64),
}

/// A piece of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether the first target's answer lacks it.
    pub is_new: bool,
}

/// How one answer differs from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// Not at all.
    Same,
    /// As JSON it says the same.
    SameJson,
    /// The texts differ: the share of words in common, 0 to 1.
    Text(f64),
    /// The calls of tools differ: how.
    Calls(String),
}
