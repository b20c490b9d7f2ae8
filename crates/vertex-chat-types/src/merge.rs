//! A stream put together again.

use std::fmt;

use crate::{
    Annotation, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, Content, ContentPart,
    CustomToolCall, Delta, Extra, ExtraContent, FinishReason, FunctionCall, Logprobs, Nullable, ObjectType,
    PartType, ReasoningDetail, ResponseAudio, ResponseMessage, TokenLogprob, ToolCall, ToolCallDelta,
    TopLogprob,
};

/// The most answers that one stream may hold; OpenAI's own limit for `n`.
pub const CHOICES_MAX: usize = 128;
/// The most calls that one answer may hold.
pub const TOOL_CALLS_MAX: usize = 128;
/// The most unknown fields that one object of a merged answer may have.
pub const EXTRA_FIELDS_MAX: usize = 1024;
/// The most text, arguments, thoughts, sound, log probabilities and unknown fields that one stream may add up to, in
/// bytes.
pub const MERGED_BYTES_MAX: usize = 64 << 20;

/// Puts the chunks of a stream together to the completion that the unary call would have given.
///
/// It knows the habits of servers: `index` missing, flipping or always 0; id, name and role repeated in every piece;
/// whole calls in one piece; usage in the last chunk, after it, or in all; chunks without choices. Calls are told apart
/// by id where there is one, else by index, else by order.
///
/// ```
/// use vertex_chat_types::{Accumulator, ChatCompletionChunk};
///
/// let mut merged = Accumulator::new();
/// for data in [
///     r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"Once upon "}}]}"#,
///     r#"{"choices":[{"index":0,"delta":{"content":"a time"},"finish_reason":"stop"}]}"#,
/// ] {
///     merged.push(vertex_chat_types::from_str::<ChatCompletionChunk>(data)?)?;
/// }
/// assert!(merged.is_finished());
/// assert_eq!(merged.into_completion().text(), "Once upon a time");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Accumulator {
    completion: ChatCompletion,
    bytes: usize,
    chunks: u64,
}

/// A stream that grows beyond what anyone should hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MergeError {
    /// More than [`CHOICES_MAX`] answers.
    TooManyChoices,
    /// More than [`TOOL_CALLS_MAX`] calls in one answer.
    TooManyToolCalls,
    /// More than [`EXTRA_FIELDS_MAX`] unknown fields in one object.
    TooManyFields,
    /// More than [`MERGED_BYTES_MAX`] bytes.
    TooLarge,
}

impl fmt::Display for MergeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyChoices => write!(f, "the stream has more than {CHOICES_MAX} choices"),
            Self::TooManyToolCalls => {
                write!(f, "the stream has more than {TOOL_CALLS_MAX} tool calls in one choice")
            }
            Self::TooManyFields => {
                write!(f, "the stream has more than {EXTRA_FIELDS_MAX} unknown fields in one object")
            }
            Self::TooLarge => write!(f, "the stream adds up to more than {MERGED_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for MergeError {}

impl Accumulator {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next chunk.
    ///
    /// # Errors
    /// When a limit is passed. What was there before stays, and further chunks may be refused or not.
    pub fn push(&mut self, chunk: ChatCompletionChunk) -> Result<(), MergeError> {
        self.chunks += 1;
        let whole = &mut self.completion;
        // Azure's first chunk has an empty id and model; llama.cpp gives every choice an id of its own.
        keep_first(&mut whole.id, chunk.id);
        keep_first(&mut whole.model, chunk.model);
        keep_first(&mut whole.system_fingerprint, chunk.system_fingerprint);
        whole.created = whole.created.filter(|&it| it != 0).or(chunk.created);
        whole.object = whole.object.take().or_else(|| {
            chunk
                .object
                .map(|it| if it == ObjectType::ChatCompletionChunk { ObjectType::ChatCompletion } else { it })
        });
        whole.usage = chunk.usage.map(|usage| *usage).or(whole.usage.take());
        whole.service_tier = chunk.service_tier.or(whole.service_tier.take());
        whole.moderation = chunk.moderation.or(whole.moderation.take());
        whole.prompt_filter_results = chunk.prompt_filter_results.or(whole.prompt_filter_results.take());
        whole.prompt_token_ids = chunk.prompt_token_ids.or(whole.prompt_token_ids.take());
        merge_extra(&mut whole.extra, chunk.extra, &mut self.bytes)?;
        // An odd value of an earlier or later chunk does not stand beside a good one.
        let (usage, filters) = (whole.usage.is_some(), whole.prompt_filter_results.is_some());
        let prompt = whole.prompt_token_ids.is_some();
        forget(
            &mut whole.extra,
            [("usage", usage), ("prompt_filter_results", filters), ("prompt_token_ids", prompt)],
        );
        for choice in chunk.choices {
            self.push_choice(choice)?;
        }
        Ok(())
    }

    /// How many chunks there were.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Whether there is a choice, and every choice says why it stopped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let choices = &self.completion.choices;
        !choices.is_empty() && choices.iter().all(|choice| choice.finish_reason.is_value())
    }

    /// What there is so far. Calls still carry the positions that they had in the stream.
    #[must_use]
    pub fn so_far(&self) -> &ChatCompletion {
        &self.completion
    }

    /// The completion.
    #[must_use]
    pub fn into_completion(self) -> ChatCompletion {
        let mut completion = self.completion;
        completion.choices.sort_by_key(|choice| choice.index.unwrap_or(0));
        for choice in &mut completion.choices {
            let calls = choice.message.as_mut().and_then(|message| message.tool_calls.as_mut());
            let is_whole = choice.finish_reason.get() != Some(&FinishReason::Length);
            for call in calls.into_iter().flatten() {
                call.index = None;
                if is_whole {
                    call.fill_arguments();
                }
            }
        }
        completion
    }

    fn push_choice(&mut self, piece: ChunkChoice) -> Result<(), MergeError> {
        let number = piece.index.unwrap_or(0);
        let choices = &mut self.completion.choices;
        let place = match choices.iter().position(|choice| choice.index.unwrap_or(0) == number) {
            Some(place) => place,
            None if choices.len() == CHOICES_MAX => return Err(MergeError::TooManyChoices),
            None => {
                let message = Some(ResponseMessage::default());
                choices.push(Choice { index: Some(number), message, ..Choice::default() });
                choices.len() - 1
            }
        };
        let choice = &mut choices[place];
        if piece.finish_reason.is_value() {
            choice.finish_reason = piece.finish_reason;
        }
        if piece.stop_reason.is_value() || choice.stop_reason.is_absent() {
            choice.stop_reason = piece.stop_reason;
        }
        if let Some(more) = piece.token_ids {
            grow(&mut self.bytes, more.len() * size_of::<u64>())?;
            choice.token_ids.get_or_insert_default().extend(more);
        }
        // The last that says anything.
        choice.content_filter_results =
            piece.content_filter_results.filter(|it| !it.is_empty()).or(choice.content_filter_results.take());
        merge_logprobs(&mut choice.logprobs, piece.logprobs, &mut self.bytes)?;
        merge_extra(&mut choice.extra, piece.extra, &mut self.bytes)?;
        let (tokens, filters) = (choice.token_ids.is_some(), choice.content_filter_results.is_some());
        forget(&mut choice.extra, [("token_ids", tokens), ("content_filter_results", filters)]);
        if let Some(delta) = piece.delta {
            let message = choice.message.get_or_insert_default();
            merge_delta(message, delta, &mut self.bytes)?;
        }
        Ok(())
    }
}

/// Takes fields out that are known by a type.
fn forget<const N: usize>(extra: &mut Extra, known: [(&str, bool); N]) {
    if !extra.is_empty() {
        for (key, _) in known.into_iter().filter(|(_, known)| *known) {
            extra.remove(key);
        }
    }
}

fn keep_first(kept: &mut Option<String>, new: Option<String>) {
    if kept.as_ref().is_none_or(String::is_empty) && new.is_some() {
        *kept = new;
    }
}

fn merge_delta(message: &mut ResponseMessage, delta: Delta, bytes: &mut usize) -> Result<(), MergeError> {
    let thought = merged_thought(message, &delta);
    message.role = message.role.take().or(delta.role);
    merge_content(&mut message.content, delta.content, bytes)?;
    append_nullable(&mut message.refusal, delta.refusal, bytes)?;
    append(&mut message.reasoning_content, delta.reasoning_content, bytes)?;
    append(&mut message.reasoning, delta.reasoning, bytes)?;
    if let Some(details) = delta.reasoning_details {
        let whole = message.reasoning_details.get_or_insert_default();
        for detail in details {
            merge_reasoning(whole, detail, bytes)?;
        }
    }
    if let Some(calls) = delta.tool_calls {
        let whole = message.tool_calls.get_or_insert_default();
        // Where the pieces of this delta went: two named calls of one delta are never the same call.
        let mut taken = Vec::new();
        for call in calls {
            taken.push(merge_tool_call(whole, call, &taken, bytes)?);
        }
    }
    if let Some(call) = delta.function_call {
        let whole = message.function_call.get_or_insert_default();
        merge_function(whole, *call, bytes)?;
    }
    if let Some(extra_content) = delta.extra_content {
        merge_extra_content(&mut message.extra_content, *extra_content, bytes)?;
    }
    if let Some(google) = message.extra_content.as_mut().and_then(|it| it.google.as_mut()) {
        google.thought = thought;
    }
    if let Some(annotations) = delta.annotations {
        grow(bytes, annotations.iter().map(annotation_len).sum())?;
        message.annotations.get_or_insert_default().extend(annotations);
    }
    if let Some(audio) = delta.audio {
        merge_audio(message.audio.get_or_insert_default(), *audio, bytes)?;
    }
    merge_extra(&mut message.extra, delta.extra, bytes)?;
    forget(&mut message.extra, [("reasoning_details", message.reasoning_details.is_some())]);
    Ok(())
}

/// Adds a piece of thought: to the piece of the same kind and position, which it goes on, or as a new one.
fn merge_reasoning(
    whole: &mut Vec<ReasoningDetail>,
    piece: ReasoningDetail,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    // An id of its own is a piece of its own: encrypted thoughts must not be put together.
    let goes_on = |it: &ReasoningDetail| {
        let same_id = it.id.is_none() || piece.id.is_none() || it.id == piece.id;
        it.r#type == piece.r#type && it.index == piece.index && same_id
    };
    let place = match piece.index {
        Some(_) => whole.iter().rposition(goes_on),
        None => whole.len().checked_sub(1).filter(|&last| goes_on(&whole[last])),
    };
    let Some(last) = place.map(|place| &mut whole[place]) else {
        let texts = [&piece.text, &piece.summary, &piece.data, &piece.signature];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        grow(bytes, size_of::<ReasoningDetail>() + texts + extra_len(&piece.extra))?;
        whole.push(piece);
        return Ok(());
    };
    append(&mut last.text, piece.text, bytes)?;
    append(&mut last.summary, piece.summary, bytes)?;
    append(&mut last.data, piece.data, bytes)?;
    append(&mut last.signature, piece.signature, bytes)?;
    last.id = last.id.take().or(piece.id);
    last.format = last.format.take().or(piece.format);
    merge_extra(&mut last.extra, piece.extra, bytes)
}

/// Whether the message is a thought once this delta is part of it: only when all of its content is.
fn merged_thought(message: &ResponseMessage, delta: &Delta) -> Option<bool> {
    let of = |it: Option<&ExtraContent>| it.and_then(|it| it.google.as_ref()).and_then(|it| it.thought);
    let (before, now) = (of(message.extra_content.as_ref()), of(delta.extra_content.as_deref()));
    let has_text = |content: &Nullable<Content>| content.get().is_some_and(|it| !it.is_empty());
    match (has_text(&message.content), has_text(&delta.content)) {
        (true, true) if (before == Some(true)) != (now == Some(true)) => None,
        (true, _) => before,
        (false, true) => now,
        (false, false) => now.or(before),
    }
}

fn merge_extra(whole: &mut Extra, piece: Extra, bytes: &mut usize) -> Result<(), MergeError> {
    if piece.is_empty() {
        return Ok(());
    }
    if piece.len() > EXTRA_FIELDS_MAX {
        return Err(MergeError::TooManyFields);
    }
    // What is replaced is no longer held: some servers repeat a large field in every chunk.
    let before = extra_len(whole);
    whole.merge(piece);
    if whole.len() > EXTRA_FIELDS_MAX {
        return Err(MergeError::TooManyFields);
    }
    *bytes = bytes.saturating_sub(before);
    grow(bytes, extra_len(whole))
}

fn merge_extra_content(
    whole: &mut Option<ExtraContent>,
    piece: ExtraContent,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    let whole = whole.get_or_insert_default();
    let most =
        |it: &ExtraContent| it.extra.len().max(it.google.as_ref().map_or(0, |google| google.extra.len()));
    if most(&piece) > EXTRA_FIELDS_MAX {
        return Err(MergeError::TooManyFields);
    }
    let before = extra_content_len(whole);
    whole.merge(piece);
    if most(whole) > EXTRA_FIELDS_MAX {
        return Err(MergeError::TooManyFields);
    }
    *bytes = bytes.saturating_sub(before);
    grow(bytes, extra_content_len(whole))
}

fn extra_content_len(extra_content: &ExtraContent) -> usize {
    let google = extra_content.google.as_ref().map_or(0, |google| {
        google.thought_signature.as_ref().map_or(0, String::len) + extra_len(&google.extra)
    });
    google + extra_len(&extra_content.extra)
}

fn extra_len(extra: &Extra) -> usize {
    extra.iter().map(|(key, value)| key.len() + value.as_str().len()).sum()
}

fn annotation_len(annotation: &Annotation) -> usize {
    let citation = annotation.url_citation.as_ref().map_or(0, |it| {
        it.url.as_ref().map_or(0, String::len)
            + it.title.as_ref().map_or(0, String::len)
            + extra_len(&it.extra)
    });
    size_of::<Annotation>() + citation + extra_len(&annotation.extra)
}

fn grow(bytes: &mut usize, more: usize) -> Result<(), MergeError> {
    *bytes = bytes.saturating_add(more);
    if *bytes > MERGED_BYTES_MAX { Err(MergeError::TooLarge) } else { Ok(()) }
}

fn append(whole: &mut Option<String>, piece: Option<String>, bytes: &mut usize) -> Result<(), MergeError> {
    let Some(piece) = piece else { return Ok(()) };
    grow(bytes, piece.len())?;
    match whole {
        Some(whole) => whole.push_str(&piece),
        None => *whole = Some(piece),
    }
    Ok(())
}

fn append_nullable(
    whole: &mut Nullable<String>,
    piece: Nullable<String>,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    match (whole, piece) {
        (Nullable::Value(whole), Nullable::Value(piece)) => {
            grow(bytes, piece.len())?;
            whole.push_str(&piece);
        }
        (whole, piece @ Nullable::Value(_)) => {
            grow(bytes, piece.get().map_or(0, String::len))?;
            *whole = piece;
        }
        (whole @ Nullable::Absent, Nullable::Null) => *whole = Nullable::Null,
        _ => {}
    }
    Ok(())
}

fn merge_content(
    whole: &mut Nullable<Content>,
    piece: Nullable<Content>,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    let piece = match piece {
        Nullable::Absent => return Ok(()),
        Nullable::Null => {
            if whole.is_absent() {
                *whole = Nullable::Null;
            }
            return Ok(());
        }
        Nullable::Value(piece) => piece,
    };
    grow(bytes, content_len(&piece))?;
    *whole = match (whole.take(), piece) {
        (Nullable::Value(Content::Text(mut whole)), Content::Text(piece)) => {
            whole.push_str(&piece);
            Nullable::Value(Content::Text(whole))
        }
        // Mistral's reasoning models send thoughts as parts and the answer as text, in one stream.
        (Nullable::Value(whole), piece) => {
            let mut parts = into_parts(whole);
            for part in into_parts(piece) {
                push_part(&mut parts, part);
            }
            Nullable::Value(Content::Parts(parts))
        }
        (Nullable::Absent | Nullable::Null, piece) => Nullable::Value(piece),
    };
    Ok(())
}

fn content_len(content: &Content) -> usize {
    match content {
        Content::Text(text) => text.len(),
        Content::Parts(parts) => parts
            .iter()
            .map(|part| {
                let text = part.text.as_ref().map_or(0, String::len);
                let image = part.image_url.as_ref().map_or(0, |it| it.url().len());
                let audio = part.input_audio.as_ref().map_or(0, |it| it.data().len());
                let file = part.file.as_ref().map_or(0, |it| it.file_data.as_ref().map_or(0, String::len));
                let refusal = part.refusal.as_ref().map_or(0, String::len);
                let google = part.extra_content.as_ref().map_or(0, extra_content_len);
                size_of::<ContentPart>()
                    + text
                    + image
                    + audio
                    + file
                    + refusal
                    + google
                    + extra_len(&part.extra)
            })
            .sum(),
    }
}

fn into_parts(content: Content) -> Vec<ContentPart> {
    match content {
        Content::Text(text) if text.is_empty() => Vec::new(),
        Content::Text(text) => vec![ContentPart::text(text)],
        Content::Parts(parts) => parts,
    }
}

/// Adds a part, or its text to that of the last part when both are nothing but text.
fn push_part(parts: &mut Vec<ContentPart>, part: ContentPart) {
    let is_text = |it: &ContentPart| {
        it.r#type == Some(PartType::Text) && it.extra.is_empty() && it.extra_content.is_none()
    };
    match parts.last_mut() {
        Some(last) if is_text(last) && is_text(&part) => {
            last.text.get_or_insert_default().push_str(part.text.as_deref().unwrap_or_default());
        }
        _ => parts.push(part),
    }
}

/// Gives the place of the call that the piece went to.
fn merge_tool_call(
    calls: &mut Vec<ToolCall>,
    piece: ToolCallDelta,
    taken: &[usize],
    bytes: &mut usize,
) -> Result<usize, MergeError> {
    let named = !name_of(&piece).is_empty();
    let place = match place_of(calls, &piece).filter(|place| !(named && taken.contains(place))) {
        Some(place) => place,
        None if calls.len() == TOOL_CALLS_MAX => return Err(MergeError::TooManyToolCalls),
        None => {
            calls.push(ToolCall::default());
            calls.len() - 1
        }
    };
    let call = &mut calls[place];
    keep_first(&mut call.id, piece.id);
    call.index = piece.index.or(call.index);
    call.r#type = call.r#type.take().or(piece.r#type);
    if let Some(function) = piece.function {
        merge_function(call.function.get_or_insert_default(), function, bytes)?;
    }
    if let Some(custom) = piece.custom {
        let whole: &mut CustomToolCall = call.custom.get_or_insert_default();
        merge_name(&mut whole.name, custom.name, bytes)?;
        append(&mut whole.input, custom.input, bytes)?;
        merge_extra(&mut whole.extra, custom.extra, bytes)?;
    }
    if let Some(extra_content) = piece.extra_content {
        merge_extra_content(&mut call.extra_content, *extra_content, bytes)?;
    }
    merge_extra(&mut call.extra, piece.extra, bytes)?;
    Ok(place)
}

fn name_of(piece: &ToolCallDelta) -> &str {
    let function = piece.function.as_ref().and_then(|it| it.name.as_deref());
    function.or_else(|| piece.custom.as_ref()?.name.as_deref()).unwrap_or_default()
}

/// Which call a piece belongs to; `None` for a new one.
fn place_of(calls: &[ToolCall], piece: &ToolCallDelta) -> Option<usize> {
    let name = name_of(piece);
    // A name that comes to a call whose arguments are already whole opens the next call.
    let opens_next = |place: usize| {
        let call = &calls[place];
        let is_whole = || serde_json::from_str::<serde::de::IgnoredAny>(call.arguments()).is_ok();
        !name.is_empty() && !call.name().is_empty() && is_whole()
    };
    let at_index = || match piece.index {
        Some(index) => calls.iter().rposition(|call| call.index == Some(index)),
        None => calls.len().checked_sub(1),
    };
    let Some(id) = piece.id.as_deref().filter(|id| !id.is_empty()) else {
        return at_index().filter(|&place| !opens_next(place));
    };
    if let Some(place) = calls.iter().rposition(|call| call.id.as_deref() == Some(id)) {
        // Some servers name all calls "0" or by their functions, and only position and name tell them apart.
        let other_index = piece.index.is_some() && calls[place].index != piece.index;
        return Some(place).filter(|&it| !(other_index && calls[it].name() != name && opens_next(it)));
    }
    // A new id opens a new call, also at an old index; unless the call at that index has been waiting for its id, or the
    // piece goes on with arguments and has no name: then the server makes up an id for every piece.
    let arguments = piece.function.as_ref().and_then(|it| it.arguments.as_deref()).unwrap_or_default();
    let goes_on = name.is_empty() && !arguments.is_empty();
    let waiting = |call: &ToolCall| call.id.as_deref().unwrap_or_default().is_empty();
    at_index().filter(|&place| (piece.index.is_some() && waiting(&calls[place])) || goes_on)
}

fn merge_function(
    whole: &mut FunctionCall,
    piece: FunctionCall,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    merge_name(&mut whole.name, piece.name, bytes)?;
    append(&mut whole.arguments, piece.arguments, bytes)?;
    merge_extra(&mut whole.extra, piece.extra, bytes)
}

/// A name is repeated by some servers and cut in pieces by others.
fn merge_name(
    whole: &mut Option<String>,
    piece: Option<String>,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    let Some(piece) = piece.filter(|it| !it.is_empty()) else { return Ok(()) };
    grow(bytes, piece.len())?;
    match whole {
        Some(whole) if *whole == piece => {}
        Some(whole) if piece.starts_with(whole.as_str()) => *whole = piece,
        Some(whole) => whole.push_str(&piece),
        None => *whole = Some(piece),
    }
    Ok(())
}

fn merge_audio(whole: &mut ResponseAudio, piece: ResponseAudio, bytes: &mut usize) -> Result<(), MergeError> {
    keep_first(&mut whole.id, piece.id);
    append(&mut whole.data, piece.data, bytes)?;
    append(&mut whole.transcript, piece.transcript, bytes)?;
    whole.expires_at = piece.expires_at.or(whole.expires_at);
    if let Some(extra_content) = piece.extra_content {
        merge_extra_content(&mut whole.extra_content, extra_content, bytes)?;
    }
    merge_extra(&mut whole.extra, piece.extra, bytes)
}

fn merge_logprobs(
    whole: &mut Nullable<Box<Logprobs>>,
    piece: Nullable<Box<Logprobs>>,
    bytes: &mut usize,
) -> Result<(), MergeError> {
    if let Nullable::Value(piece) = &piece {
        let tokens = piece.content.get().into_iter().chain(piece.refusal.get()).flatten();
        grow(bytes, tokens.map(token_len).sum::<usize>() + extra_len(&piece.extra))?;
    }
    match (whole, piece) {
        (Nullable::Value(whole), Nullable::Value(piece)) => {
            extend(&mut whole.content, piece.content);
            extend(&mut whole.refusal, piece.refusal);
            merge_extra(&mut whole.extra, piece.extra, bytes)?;
        }
        (whole, piece @ Nullable::Value(_)) => *whole = piece,
        (whole @ Nullable::Absent, Nullable::Null) => *whole = Nullable::Null,
        _ => {}
    }
    Ok(())
}

fn token_len(token: &TokenLogprob) -> usize {
    let text = |it: &Option<String>| it.as_ref().map_or(0, String::len);
    let raw = |it: &Nullable<Vec<u8>>| it.get().map_or(0, Vec::len);
    let others = token.top_logprobs.iter().flatten();
    let others =
        others.map(|it| size_of::<TopLogprob>() + text(&it.token) + raw(&it.bytes) + extra_len(&it.extra));
    let own = text(&token.token) + raw(&token.bytes) + extra_len(&token.extra);
    size_of::<TokenLogprob>() + own + others.sum::<usize>()
}

fn extend<T>(whole: &mut Nullable<Vec<T>>, piece: Nullable<Vec<T>>) {
    match (whole, piece) {
        (Nullable::Value(whole), Nullable::Value(piece)) => whole.extend(piece),
        (whole, piece @ Nullable::Value(_)) => *whole = piece,
        (whole @ Nullable::Absent, Nullable::Null) => *whole = Nullable::Null,
        _ => {}
    }
}
