//! Tokens, counted the same way whoever counted them.
//!
//! Everybody agrees on the names of the counts, and not on what they count:
//!
//! | who | thinking is |
//! |---|---|
//! | OpenAI, and most who follow it | within `completion_tokens`, and in its details |
//! | Gemini on Vertex | beside `completion_tokens`; in its details, or only in the total |
//! | Gemini's Developer API | beside `completion_tokens`, and only in the total |
//! | xAI, wherever it is served | beside `completion_tokens`, and in its details |
//!
//! The total tells them apart; the dialect decides only where there is none, or where it fits neither reading.

use vertex_chat::{Dialect, Usage};

use crate::record::TokensLine;

impl TokensLine {
    /// Counts what a server says it used. `None` when it does not say how long prompt and answer were and the total does
    /// not give it away: unknown is not zero.
    #[must_use]
    pub fn of(usage: &Usage, dialect: Dialect) -> Option<Self> {
        let is_google =
            matches!(dialect, Dialect::VertexGemini2 | Dialect::VertexGemini3 | Dialect::GeminiDeveloper);
        let reported = usage.completion_tokens_details.as_ref().and_then(|it| it.reasoning_tokens);
        let details = usage.prompt_tokens_details.as_ref();
        let cached = details.and_then(|it| it.cached_tokens).or(usage.cached_tokens).unwrap_or(0);
        let audio = details.and_then(|it| it.audio_tokens).unwrap_or(0);

        let (prompt, completion, reasoning) =
            match (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) {
                // Servers that do not count fill the fields in nevertheless; no prompt has no tokens.
                (Some(0), Some(0), None | Some(0)) => return None,
                (Some(prompt), Some(completion), None) => {
                    let reported = reported.unwrap_or(0);
                    let (completion, reasoning) =
                        split(completion, reported, is_google || reported > completion);
                    (prompt, completion, reasoning)
                }
                (Some(prompt), Some(completion), Some(total)) => {
                    let rest = total.saturating_sub(prompt.saturating_add(completion));
                    let reasoning = reported.unwrap_or(0);
                    // Mistral leaves sound out of the prompt, Anthropic's style what came from a cache.
                    let aside = [audio, if cached > prompt { cached } else { 0 }].into_iter().find(|&it| {
                        it > 0 && it != reasoning && (rest == it || rest == it.saturating_add(reasoning))
                    });
                    let aside = aside.unwrap_or(0);
                    let rest = rest - aside;
                    let (completion, reasoning) = match reported {
                        // Nobody but thinking is left to be the rest.
                        None | Some(0) => (completion, rest),
                        Some(reported) if rest == 0 => split(completion, reported, false),
                        Some(reported) if rest >= reported => split(completion, reported, true),
                        Some(reported) => split(completion, reported, is_google || reported > completion),
                    };
                    (prompt.saturating_add(aside), completion, reasoning)
                }
                (Some(prompt), None, Some(total)) => {
                    let rest = total.checked_sub(prompt)?;
                    let (completion, reasoning) = match reported {
                        Some(reported) => (rest.saturating_sub(reported), reported.min(rest)),
                        // Google leaves a count out when it is zero.
                        None if is_google => (0, rest),
                        None => (rest, 0),
                    };
                    (prompt, completion, reasoning)
                }
                (None, Some(completion), Some(total)) => {
                    let beside = match reported {
                        // What of the rest is thinking cannot be told.
                        None if is_google => return None,
                        None => 0,
                        Some(reported) if is_google || reported > completion => reported,
                        Some(_) => 0,
                    };
                    let prompt = total.checked_sub(completion)?.checked_sub(beside)?;
                    let (completion, reasoning) = split(completion, reported.unwrap_or(0), beside > 0);
                    (prompt, completion, reasoning)
                }
                _ => return None,
            };
        Some(Self { prompt, cached: cached.min(prompt), completion, reasoning })
    }
}

/// What is seen of an answer, and the thinking, which stands beside the count or is within it. Within, it cannot be more
/// than there is.
fn split(completion: u64, reasoning: u64, is_beside: bool) -> (u64, u64) {
    if is_beside {
        (completion, reasoning)
    } else {
        (completion.saturating_sub(reasoning), reasoning.min(completion))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompt, cached, completion, reasoning.
    #[track_caller]
    fn check(dialect: Dialect, usage: &str, expected: Option<(u64, u64, u64, u64)>) {
        let usage: Usage = serde_json::from_str(usage).unwrap();
        let tokens = TokensLine::of(&usage, dialect);
        assert_eq!(tokens.map(|it| (it.prompt, it.cached, it.completion, it.reasoning)), expected);
    }

    #[test]
    fn thinking_beside_the_answer_and_within_it_are_told_apart_by_the_total() {
        let vertex = r#"{"prompt_tokens": 27, "completion_tokens": 45, "total_tokens": 576,
            "completion_tokens_details": {"reasoning_tokens": 504}}"#;
        let openai = r#"{"prompt_tokens": 27, "completion_tokens": 549, "total_tokens": 576,
            "completion_tokens_details": {"reasoning_tokens": 504}}"#;
        let xai = r#"{"prompt_tokens": 12, "completion_tokens": 1, "total_tokens": 303,
            "prompt_tokens_details": {"cached_tokens": 11}, "completion_tokens_details": {"reasoning_tokens": 290}}"#;
        for dialect in Dialect::ALL {
            check(dialect, vertex, Some((27, 0, 45, 504)));
            check(dialect, openai, Some((27, 0, 45, 504)));
            check(dialect, xai, Some((12, 11, 1, 290)));
        }
    }

    #[test]
    fn without_a_total_the_dialect_says_where_thinking_is() {
        let usage = r#"{"prompt_tokens": 7, "completion_tokens": 100,
            "completion_tokens_details": {"reasoning_tokens": 60}}"#;
        check(Dialect::VertexGemini3, usage, Some((7, 0, 100, 60)));
        check(Dialect::OpenAi, usage, Some((7, 0, 40, 60)));
        let more = r#"{"prompt_tokens": 7, "completion_tokens": 10,
            "completion_tokens_details": {"reasoning_tokens": 60}}"#;
        check(Dialect::OpenAi, more, Some((7, 0, 10, 60)));
    }

    #[test]
    fn thinking_that_only_the_total_knows_is_counted() {
        let usage = r#"{"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}"#;
        check(Dialect::GeminiDeveloper, usage, Some((35, 0, 12, 62)));
        check(Dialect::OpenAi, usage, Some((35, 0, 12, 62)));
    }

    #[test]
    fn a_count_that_is_missing_is_taken_from_the_total_or_unknown() {
        let answer = r#"{"prompt_tokens": 10, "total_tokens": 110}"#;
        check(Dialect::VertexGemini3, answer, Some((10, 0, 0, 100)));
        check(Dialect::Vllm, answer, Some((10, 0, 100, 0)));
        let thought = r#"{"prompt_tokens": 10, "total_tokens": 110,
            "completion_tokens_details": {"reasoning_tokens": 90}}"#;
        check(Dialect::VertexGemini3, thought, Some((10, 0, 10, 90)));
        check(Dialect::OpenAi, thought, Some((10, 0, 10, 90)));
        let prompt = r#"{"completion_tokens": 100, "total_tokens": 110}"#;
        check(Dialect::OpenAi, prompt, Some((10, 0, 100, 0)));
        check(Dialect::VertexGemini3, prompt, None);
        let both = r#"{"completion_tokens": 40, "total_tokens": 110,
            "completion_tokens_details": {"reasoning_tokens": 60}}"#;
        check(Dialect::VertexGemini3, both, Some((10, 0, 40, 60)));
        for nothing in [
            "{}",
            r#"{"prompt_tokens": 10}"#,
            r#"{"completion_tokens": 10}"#,
            r#"{"total_tokens": 10}"#,
            r#"{"prompt_tokens": 20, "total_tokens": 10}"#,
            r#"{"completion_tokens": 20, "total_tokens": 10}"#,
            r#"{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}"#,
        ] {
            for dialect in Dialect::ALL {
                check(dialect, nothing, None);
            }
        }
    }

    #[test]
    fn an_empty_answer_is_known_to_be_empty() {
        let usage = r#"{"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}"#;
        check(Dialect::OpenAi, usage, Some((10, 0, 0, 0)));
    }

    #[test]
    fn cached_tokens_are_within_the_prompt_wherever_they_stand() {
        let top = r#"{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cached_tokens": 8}"#;
        check(Dialect::OpenAi, top, Some((10, 8, 5, 0)));
        // Azure's xAI counts more of them than there are.
        let more = r#"{"prompt_tokens": 10, "completion_tokens": 213, "total_tokens": 223,
            "prompt_tokens_details": {"cached_tokens": 161}, "completion_tokens_details": {"reasoning_tokens": 0}}"#;
        check(Dialect::OpenAi, more, Some((10, 10, 213, 0)));
        let aside = r#"{"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 95,
            "prompt_tokens_details": {"cached_tokens": 80}}"#;
        check(Dialect::OpenAi, aside, Some((90, 80, 5, 0)));
    }

    #[test]
    fn sound_that_only_the_total_has_is_of_the_prompt() {
        let usage = r#"{"prompt_tokens": 11, "completion_tokens": 15, "total_tokens": 401,
            "prompt_tokens_details": {"audio_tokens": 375, "cached_tokens": 9}}"#;
        check(Dialect::OpenAi, usage, Some((386, 9, 15, 0)));
    }

    #[test]
    fn counts_that_contradict_each_other_are_cut_not_wrapped() {
        let usage = r#"{"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 15,
            "completion_tokens_details": {"reasoning_tokens": 12}}"#;
        check(Dialect::OpenAi, usage, Some((5, 0, 0, 10)));
        let small = r#"{"prompt_tokens": 5, "completion_tokens": 10, "total_tokens": 3}"#;
        check(Dialect::OpenAi, small, Some((5, 0, 10, 0)));
        let max = u64::MAX;
        let huge = format!(
            r#"{{"prompt_tokens": {max}, "completion_tokens": {max}, "total_tokens": {max},
            "prompt_tokens_details": {{"audio_tokens": {max}, "cached_tokens": {max}}},
            "completion_tokens_details": {{"reasoning_tokens": {max}}}}}"#
        );
        for dialect in Dialect::ALL {
            let usage: Usage = serde_json::from_str(&huge).unwrap();
            assert!(TokensLine::of(&usage, dialect).is_some());
        }
    }
}
