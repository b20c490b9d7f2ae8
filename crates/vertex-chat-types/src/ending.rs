//! Why answers end: every server's words in OpenAI's, and finish reasons that come before the end.

use crate::{
    CHOICES_MAX, ChatCompletion, ChatCompletionChunk, ChunkChoice, Content, Delta, FinishReason, Nullable,
    ToolCall,
};

/// Where the word of a server goes when OpenAI's takes its place: a field of the choice, as OpenRouter has it.
pub const NATIVE_FINISH_REASON: &str = "native_finish_reason";

/// What a finish reason means. Each server has its own words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The answer is whole.
    Stop,
    /// The answer ends at a limit of tokens.
    Length,
    /// The model wants tools called.
    ToolCalls,
    /// The model wants a function called. Deprecated with `functions`.
    FunctionCall,
    /// A filter took the rest, or all of it. A word that is not known means this: a refusal must not look like an answer.
    ContentFilter,
    /// The model or its server failed, and asking again may help: a call that cannot be read, an error in place of a reason.
    Failed,
}

/// Every word that is known, without case, `_`, `-` and spaces. Google's are those of `generateContent`; the OpenAI-compatible
/// endpoint has been seen to say them as they are, in small letters, and behind `content_filter:` and `function_call_filter:`
/// (ravendb#22997, pydantic-ai#7816, 9router#3214).
const WORDS: &[(Ending, &[&str])] = &[
    (
        Ending::Stop,
        &[
            "stop",
            "eos",
            "eostoken",
            "eosid",
            "stopsequence",
            "stoptoken",
            "stopid",
            "stopword",
            "endturn",
            "endofturn",
            "endofsequence",
            "endoftext",
            "end",
            "complete",
            "completed",
            "finish",
            "finished",
            "done",
            "normal",
            "success",
        ],
    ),
    (
        Ending::Length,
        &[
            "length",
            "maxtokens",
            "maxoutputtokens",
            "maxnewtokens",
            "maxlength",
            "modellength",
            "maxcontext",
            "contextlength",
            "contextlengthexceeded",
            "modelcontextwindowexceeded",
            "tokenlimit",
            "limit",
        ],
    ),
    (Ending::ToolCalls, &["toolcalls", "toolcall", "tooluse"]),
    (Ending::FunctionCall, &["functioncall"]),
    (
        Ending::ContentFilter,
        &[
            "contentfilter",
            "contentfiltered",
            "safety",
            "recitation",
            "language",
            "blocklist",
            "prohibitedcontent",
            "spii",
            "imagesafety",
            "imageprohibitedcontent",
            "imagerecitation",
            "imageother",
            "noimage",
            "modelarmor",
            "jailbreak",
            "other",
            "refusal",
            "guardrailintervened",
            "sensitive",
        ],
    ),
    (
        Ending::Failed,
        &[
            "malformedfunctioncall",
            "unexpectedtoolcall",
            "toomanytoolcalls",
            "malformedresponse",
            "missingthoughtsignature",
            "functioncallfilter",
            "error",
            "failed",
            "abort",
            "aborted",
            "cancelled",
            "canceled",
            "insufficientsystemresource",
        ],
    ),
];

impl FinishReason {
    /// What this word means.
    ///
    /// ```
    /// use vertex_chat_types::{Ending, FinishReason};
    ///
    /// assert_eq!(FinishReason::from("content_filter: PROHIBITED_CONTENT").ending(), Ending::ContentFilter);
    /// assert_eq!(FinishReason::from("function_call_filter: MALFORMED_FUNCTION_CALL").ending(), Ending::Failed);
    /// assert_eq!(FinishReason::from("end_turn").ending(), Ending::Stop);
    /// ```
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Self::Stop => return Ending::Stop,
            Self::Length => return Ending::Length,
            Self::ToolCalls => return Ending::ToolCalls,
            Self::ContentFilter => return Ending::ContentFilter,
            Self::FunctionCall => return Ending::FunctionCall,
            _ => {}
        }
        let word = bare(self.as_str());
        if let Some((prefix, _)) = word.split_once(':') {
            // What stands in front says what kind of filter it was; all that stands behind it is a kind of that.
            return known(prefix).filter(|it| *it == Ending::Failed).unwrap_or(Ending::ContentFilter);
        }
        let word =
            word.strip_prefix("finishreason").map_or(word.as_str(), |rest| rest.trim_start_matches('.'));
        known(word).unwrap_or(Ending::ContentFilter)
    }
}

/// The word that is shown for a finish reason that is a text of a server's, or too long for a word.
const NO_WORD: &str = "a text that is no word";

impl FinishReason {
    /// Whether it says that the model or its server failed: there is no answer, and asking again may help.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.ending() == Ending::Failed
    }

    /// The word as errors and logs may have it. A server can write anything here, a part of the prompt too.
    #[must_use]
    pub fn shown(&self) -> &str {
        const BYTES_MAX: usize = 80;
        let is_letter = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-' | b':' | b' ' | b'.');
        let word = self.as_str();
        if word.len() <= BYTES_MAX && word.bytes().all(is_letter) { word } else { NO_WORD }
    }
}

impl Ending {
    /// OpenAI's word; `None` for a failure, which OpenAI says as an error.
    #[must_use]
    pub fn finish_reason(self) -> Option<FinishReason> {
        match self {
            Self::Stop => Some(FinishReason::Stop),
            Self::Length => Some(FinishReason::Length),
            Self::ToolCalls => Some(FinishReason::ToolCalls),
            Self::FunctionCall => Some(FinishReason::FunctionCall),
            Self::ContentFilter => Some(FinishReason::ContentFilter),
            Self::Failed => None,
        }
    }
}

/// The longest word that is looked at, in bytes.
const WORD_BYTES_MAX: usize = 256;

/// A word without what spellings differ in.
fn bare(word: &str) -> String {
    let letters =
        word.chars().take(WORD_BYTES_MAX).filter(|it| !matches!(it, '_' | '-') && !it.is_whitespace());
    letters.map(|it| it.to_ascii_lowercase()).collect()
}

fn known(bare: &str) -> Option<Ending> {
    WORDS.iter().find(|(_, words)| words.contains(&bare)).map(|(ending, _)| *ending)
}

/// Puts OpenAI's word in place of a server's, and keeps the server's beside it. Gives the server's word back when it means a
/// failure.
fn to_openai(
    finish_reason: &mut Nullable<FinishReason>,
    extra: &mut crate::Extra,
    has_calls: bool,
) -> Result<(), FinishReason> {
    let Nullable::Value(reason) = &*finish_reason else { return Ok(()) };
    if reason.as_str().is_empty() {
        return Ok(());
    }
    let Some(mut word) = reason.ending().finish_reason() else { return Err(reason.clone()) };
    if word == FinishReason::Stop && has_calls {
        word = FinishReason::ToolCalls;
    }
    if word != *reason {
        if extra.get(NATIVE_FINISH_REASON).is_none() {
            extra.insert(NATIVE_FINISH_REASON, reason.as_str());
        }
        *finish_reason = Nullable::Value(word);
    }
    Ok(())
}

impl ChatCompletion {
    /// Says in OpenAI's words why each answer ended; a server's own word is then in the choice's field `native_finish_reason`.
    ///
    /// # Errors
    /// The word, when it says that the model or its server failed: then there is no answer.
    pub fn use_openai_finish_reasons(&mut self) -> Result<(), FinishReason> {
        for choice in &mut self.choices {
            let calls = choice.message.as_mut().and_then(|it| it.tool_calls.as_mut());
            let has_calls = calls.as_ref().is_some_and(|it| !it.is_empty());
            // An answer that was cut off may be cut off in its arguments.
            if choice.finish_reason.get().map(FinishReason::ending) != Some(Ending::Length) {
                calls.into_iter().flatten().for_each(ToolCall::fill_arguments);
            }
            to_openai(&mut choice.finish_reason, &mut choice.extra, has_calls)?;
        }
        Ok(())
    }
}

impl ToolCall {
    /// A call of a function without arguments gets an empty object of them: who reads it reads JSON.
    pub(crate) fn fill_arguments(&mut self) {
        if let Some(function) = &mut self.function
            && function.arguments.as_deref().unwrap_or_default().trim().is_empty()
        {
            function.arguments = Some("{}".to_owned());
        }
    }
}

impl ChunkChoice {
    /// Whether this piece adds nothing to the answer: neither text nor thoughts, calls, sound or signatures.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        !self.logprobs.is_value() && self.delta.as_ref().is_none_or(Delta::is_silent)
    }
}

impl Delta {
    fn is_silent(&self) -> bool {
        let says = |text: &Option<String>| text.as_ref().is_some_and(|it| !it.is_empty());
        let has_content = match self.content.get() {
            Some(Content::Text(text)) => !text.is_empty(),
            Some(content) => !content.parts().is_empty(),
            None => false,
        };
        !(has_content
            || self.tool_calls.as_ref().is_some_and(|it| !it.is_empty())
            || self.refusal.get().is_some_and(|it| !it.is_empty())
            || self.function_call.as_ref().is_some_and(|it| says(&it.name) || says(&it.arguments))
            || says(&self.reasoning_content)
            || says(&self.reasoning)
            || self.reasoning_details.as_ref().is_some_and(|it| !it.is_empty())
            || self.annotations.as_ref().is_some_and(|it| !it.is_empty())
            || self.audio.is_some()
            || self.extra_content.is_some()
            || !self.extra.is_empty())
    }
}

/// Holds the finish reasons of a stream until their choices have no more.
///
/// Some servers say `stop` in every chunk, or before the call that the answer is about; clients take the first for the end, and the
/// call is lost. No text is held: of a chunk with text and a finish reason the text goes on at once.
///
/// Each chunk has a tag of the caller's, such as the text that it was read from. A chunk that was changed has none.
#[derive(Debug)]
pub struct FinishHold<T> {
    held: Vec<Held<T>>,
    /// Whether a chunk with text and a finish reason becomes two.
    splits: bool,
    /// Choices with calls, by number; those beyond the bits are number 127.
    called: u128,
}

#[derive(Debug)]
struct Held<T> {
    choice: u64,
    chunk: ChatCompletionChunk,
    tag: Option<T>,
}

impl<T> Default for FinishHold<T> {
    fn default() -> Self {
        Self { held: Vec::new(), splits: true, called: 0 }
    }
}

impl<T> FinishHold<T> {
    /// For servers whose finish reasons are known to come last: a chunk that says something and why it ends goes on as it is, and
    /// only an end of its own is held.
    #[must_use]
    pub fn of_ends_alone() -> Self {
        Self { splits: false, ..Self::default() }
    }

    /// Takes note of a chunk, and says whether it goes on as it is, and nothing else with it. Else it has to be
    /// [pushed](Self::push).
    #[must_use]
    pub fn note(&mut self, chunk: &ChatCompletionChunk) -> bool {
        for choice in &chunk.choices {
            if choice.delta.as_ref().is_some_and(|it| it.tool_calls.as_ref().is_some_and(|it| !it.is_empty()))
            {
                self.called |= bit(choice);
            }
        }
        self.held.is_empty() && !chunk.choices.iter().any(|it| it.finish_reason.is_value())
    }

    /// Whether a choice has called tools so far.
    #[must_use]
    pub fn has_called(&self, choice: &ChunkChoice) -> bool {
        self.called & bit(choice) != 0
    }

    /// Takes a chunk, and gives what goes on now, in order.
    pub fn push(&mut self, mut chunk: ChatCompletionChunk, tag: T) -> Vec<(ChatCompletionChunk, Option<T>)> {
        if chunk.choices.is_empty() {
            // The usage comes after all choices.
            let mut out = if chunk.usage.is_some() { self.finish() } else { Vec::new() };
            out.push((chunk, Some(tag)));
            return out;
        }
        for choice in chunk.choices.iter().filter(|it| !it.is_silent()) {
            // That was not its end.
            self.take(choice.index.unwrap_or(0));
        }
        let ends = |it: &ChunkChoice| it.finish_reason.is_value();
        if !chunk.choices.iter().any(ends) || self.held.len() + chunk.choices.len() > CHOICES_MAX {
            return vec![(chunk, Some(tag))];
        }
        if let [choice] = chunk.choices.as_slice()
            && choice.is_silent()
        {
            let number = choice.index.unwrap_or(0);
            self.hold(number, chunk, Some(tag));
            return Vec::new();
        }
        if !self.splits {
            return vec![(chunk, Some(tag))];
        }
        let mut last = ChatCompletionChunk {
            id: chunk.id.clone(),
            object: chunk.object.clone(),
            created: chunk.created,
            model: chunk.model.clone(),
            system_fingerprint: chunk.system_fingerprint.clone(),
            usage: chunk.usage.take(),
            ..ChatCompletionChunk::default()
        };
        for choice in chunk.choices.iter_mut().filter(|it| ends(it)) {
            let end = ChunkChoice {
                index: choice.index,
                delta: Some(Delta::default()),
                finish_reason: std::mem::replace(&mut choice.finish_reason, Nullable::Null),
                stop_reason: std::mem::take(&mut choice.stop_reason),
                ..ChunkChoice::default()
            };
            let mut chunk = last.clone();
            last.usage = None;
            let number = end.index.unwrap_or(0);
            chunk.choices = vec![end];
            self.hold(number, chunk, None);
        }
        vec![(chunk, None)]
    }

    /// What was held, at the end of the stream.
    pub fn finish(&mut self) -> Vec<(ChatCompletionChunk, Option<T>)> {
        self.held.drain(..).map(|it| (it.chunk, it.tag)).collect()
    }

    fn take(&mut self, choice: u64) -> Option<Held<T>> {
        let place = self.held.iter().position(|it| it.choice == choice)?;
        Some(self.held.remove(place))
    }

    fn hold(&mut self, choice: u64, mut chunk: ChatCompletionChunk, mut tag: Option<T>) {
        if let Some(mut earlier) = self.take(choice) {
            // Of two ends with nothing between them, the one that says more.
            let reason =
                |it: &ChatCompletionChunk| it.choices[0].finish_reason.get().map(FinishReason::ending);
            if reason(&chunk) == Some(Ending::Stop) && reason(&earlier.chunk) != Some(Ending::Stop) {
                chunk.choices[0].finish_reason = std::mem::take(&mut earlier.chunk.choices[0].finish_reason);
                tag = None;
            }
            if chunk.usage.is_none() && earlier.chunk.usage.is_some() {
                chunk.usage = earlier.chunk.usage;
                tag = None;
            }
        }
        self.held.push(Held { choice, chunk, tag });
    }
}

fn bit(choice: &ChunkChoice) -> u128 {
    1 << choice.index.unwrap_or(0).min(127)
}

impl ChatCompletionChunk {
    /// Says in OpenAI's words why its choices ended. `has_called` says which choices have called tools so far.
    ///
    /// # Errors
    /// The word, when it says that the model or its server failed.
    pub fn use_openai_finish_reasons(
        &mut self,
        has_called: impl Fn(&ChunkChoice) -> bool,
    ) -> Result<(), FinishReason> {
        for choice in &mut self.choices {
            if choice.finish_reason.is_value() {
                let has_called = has_called(choice);
                to_openai(&mut choice.finish_reason, &mut choice.extra, has_called)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_word_means_the_same() {
        for (word, ending) in [
            ("content_filter: PROHIBITED_CONTENT", Ending::ContentFilter),
            ("content_filter:SAFETY", Ending::ContentFilter),
            ("CONTENT_FILTER: something new", Ending::ContentFilter),
            ("function_call_filter: MALFORMED_FUNCTION_CALL", Ending::Failed),
            ("Function_Call_Filter: something new", Ending::Failed),
            ("safety", Ending::ContentFilter),
            ("FINISH_REASON_SAFETY", Ending::ContentFilter),
            ("FinishReason.MAX_TOKENS", Ending::Length),
            ("maxTokens", Ending::Length),
            ("max_output_tokens", Ending::Length),
            ("UNEXPECTED_TOOL_CALL", Ending::Failed),
            ("unexpectedToolCall", Ending::Failed),
            ("MISSING_THOUGHT_SIGNATURE", Ending::Failed),
            ("MALFORMED_RESPONSE", Ending::Failed),
            ("error", Ending::Failed),
            ("OTHER", Ending::ContentFilter),
            ("SOMETHING_NEW", Ending::ContentFilter),
            ("STOP", Ending::Stop),
            ("eos_token", Ending::Stop),
            ("end_turn", Ending::Stop),
            ("tool_use", Ending::ToolCalls),
        ] {
            assert_eq!(FinishReason::from(word).ending(), ending, "{word}");
        }
    }

    fn chunk(text: &str) -> ChatCompletionChunk {
        crate::from_str(text).unwrap()
    }

    #[test]
    fn a_finish_reason_comes_after_all_of_its_choice() {
        let mut hold = FinishHold::default();
        let early = chunk(r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#);
        assert!(!hold.note(&early));
        let out = hold.push(early, 1);
        assert_eq!((out[0].0.text().as_ref(), out[0].1), ("a", None));
        assert!(!out[0].0.choices[0].finish_reason.is_value());
        let call = chunk(
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c"}]},"finish_reason":"stop"}]}"#,
        );
        assert!(!hold.note(&call));
        assert_eq!(hold.push(call, 2).len(), 1);
        let mut out = hold.finish();
        assert_eq!(out.len(), 1);
        let last = &mut out[0].0;
        last.use_openai_finish_reasons(|it| hold.has_called(it)).unwrap();
        assert_eq!(last.choices[0].finish_reason, Nullable::Value(FinishReason::ToolCalls));
    }

    #[test]
    fn an_end_of_its_own_stays_as_it_came_and_stands_before_the_usage() {
        let mut hold = FinishHold::default();
        let end = chunk(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#);
        assert!(hold.push(end.clone(), 1).is_empty());
        let usage = chunk(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#);
        assert!(!hold.note(&usage));
        let out = hold.push(usage.clone(), 2);
        assert_eq!(out, [(end, Some(1)), (usage, Some(2))]);
        assert!(hold.finish().is_empty());
    }

    #[test]
    fn of_two_ends_in_a_row_the_one_that_says_more_stays() {
        let mut hold = FinishHold::default();
        for reason in ["SAFETY", "stop"] {
            let end = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
            assert!(hold.push(chunk(&end), ()).is_empty());
        }
        let out = hold.finish();
        assert_eq!(out[0].0.choices[0].finish_reason.get().unwrap().as_str(), "SAFETY");
        assert_eq!(out.len(), 1);
    }
}
