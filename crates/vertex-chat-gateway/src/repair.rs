//! Repairs: what an upstream says, in the shape that OpenAI's libraries expect.
//!
//! Each has a name, is counted, and can be switched off. An answer that needs none is handed on as the bytes that came.

use std::fmt;

use vertex_chat::params::{FunctionNames, sign_id};
use vertex_chat_types::{
    ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, CompletionTokensDetails, Content, Delta,
    Ending, ExtraContent, FinishReason, FunctionCall, GoogleContent, Logprobs, Nullable, ObjectType,
    ResponseMessage, Role, ToolCall, ToolCallDelta, ToolType, Usage,
};

macro_rules! repairs {
    ($($Repair:ident = $name:literal, $does:literal;)*) => {
        /// A rule by which an answer is put into OpenAI's shape.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Repair {
            $(#[doc = $does] $Repair,)*
        }

        impl Repair {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$Repair,)*];

            /// The name, for configuration, headers and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Repair => $name,)* }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$Repair => $does,)* }
            }
        }
    };
}

repairs! {
    MissingFields = "missing-fields",
        "What OpenAI always sends and the upstream left out is there: id, object, created, model, index, message, the bytes of tokens; `refusal`, `logprobs`, `finish_reason` and `content` as null.";
    NullFields = "null-fields",
        "Fields that OpenAI leaves out and the upstream sent as null are left out.";
    OneId = "one-id",
        "All chunks of a stream carry the id and the time of the first.";
    RoleOnce = "role-once",
        "The role `assistant` is in the first delta of a choice, and in no other.";
    ToolCallIndex = "tool-call-index",
        "Pieces of tool calls are told apart by their ids and numbered from 0; a call without an id gets one.";
    ToolCallOnce = "tool-call-once",
        "Id, type and name of a call are in its first piece, and in no other.";
    FinishReason = "finish-reason",
        "The finish reason is one of OpenAI's words, comes once and last, and is `tool_calls` where there were calls.";
    ReasoningUsage = "reasoning-usage",
        "Thinking counts as part of `completion_tokens`, and the total is the sum.";
    UsageAsAsked = "usage-as-asked",
        "A stream's usage comes in a last chunk of its own when `stream_options` asks for it, and else not.";
    FunctionNames = "function-names",
        "A function that Gemini knows by another name has the client's name again.";
    SignatureInId = "signature-in-id",
        "A tool call's thought signature also travels in its id, which every client sends back.";
    ThoughtsApart = "thoughts-apart",
        "Text that stands in the tags of thoughts is in `reasoning_content`, not in `content`.";
    ContentText = "content-text",
        "Content in text parts becomes one text.";
    WholeAsStream = "whole-as-stream",
        "A whole answer to a request for a stream becomes a stream.";
    Done = "done",
        "A stream that came to its end without `[DONE]` gets it.";
}

impl Repair {
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }
}

/// A set of repairs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Repairs(u32);

impl Repairs {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self(u32::MAX)
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self(0)
    }

    /// These but for one.
    #[must_use]
    pub fn without(self, repair: Repair) -> Self {
        Self(self.0 & !(1 << repair as u32))
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether one is among them.
    #[must_use]
    pub fn contains(self, repair: Repair) -> bool {
        self.0 & 1 << repair as u32 != 0
    }

    /// Those that are among them.
    pub fn iter(self) -> impl Iterator<Item = Repair> {
        Repair::ALL.iter().copied().filter(move |it| self.contains(*it))
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Repair::name)).finish()
    }
}

/// The most calls of one choice whose pieces are told apart; a further one ends the stream with an error.
const CALLS_MAX: usize = vertex_chat_types::TOOL_CALLS_MAX;
/// The most choices of one stream that are told apart; a further one ends the stream with an error.
const CHOICES_MAX: usize = vertex_chat_types::CHOICES_MAX;
/// The tag in which thoughts are asked for, so that they can be told from the answer.
pub(crate) const THOUGHT_TAG: &str = "think";

/// Repairs one answer, whole or in chunks.
pub(crate) struct Repairer {
    on: Repairs,
    /// Those that were needed so far.
    pub(crate) applied: Repairs,
    /// Those that the chunk at hand needed.
    now: Repairs,
    /// What fills an answer's gaps.
    id: String,
    model: String,
    created: i64,
    has_id: bool,
    has_created: bool,
    /// Whether usage is wanted in a stream.
    include_usage: bool,
    /// Whether thoughts come in tags that we asked for.
    tagged: bool,
    choices: Vec<ChoiceState>,
    names: FunctionNames,
    /// Of what there was more than can be told apart.
    pub(crate) too_many: Option<&'static str>,
    /// What the upstream said of usage last.
    pub(crate) usage: Option<Usage>,
    /// Whether the usage chunk has been sent.
    usage_sent: bool,
}

#[derive(Default)]
struct ChoiceState {
    number: u64,
    role_sent: bool,
    finished: bool,
    has_function_call: bool,
    calls: Vec<CallState>,
    tags: Tags,
}

struct CallState {
    id: String,
    /// The position that the upstream gave it last.
    position: Option<u64>,
    is_function: bool,
    /// Whether any letter of its arguments has come.
    has_arguments: bool,
}

impl Repairer {
    pub(crate) fn new(on: Repairs, id: &str, model: &str, created: i64) -> Self {
        Self {
            on,
            applied: Repairs::none(),
            now: Repairs::none(),
            id: format!("chatcmpl-{id}"),
            model: model.to_owned(),
            created,
            has_id: false,
            has_created: false,
            include_usage: false,
            tagged: false,
            choices: Vec::new(),
            names: FunctionNames::default(),
            too_many: None,
            usage: None,
            usage_sent: false,
        }
    }

    pub(crate) fn with_usage(mut self, include_usage: bool) -> Self {
        self.include_usage = include_usage;
        self
    }

    pub(crate) fn with_tags(mut self, tagged: bool) -> Self {
        self.tagged = tagged;
        self
    }

    pub(crate) fn with_names(mut self, names: &FunctionNames) -> Self {
        self.names.clone_from(names);
        self
    }

    /// Gives a function the client's name again.
    fn name_back(&mut self, function: Option<&mut FunctionCall>) {
        let Some(name) = function.and_then(|it| it.name.as_mut()) else { return };
        let callers = self.names.callers(name).map(str::to_owned);
        if let Some(callers) = callers.filter(|_| self.does(Repair::FunctionNames)) {
            *name = callers;
        }
    }

    /// Whether what becomes of a chunk depends on its text.
    pub(crate) fn reads_text(&self) -> bool {
        self.choices.iter().any(|it| it.tags.tag.is_some())
    }

    fn tags(&self) -> Tags {
        Tags { tag: self.tagged.then_some(THOUGHT_TAG), ..Tags::default() }
    }

    /// Whether finish reasons are held until their choices have no more.
    pub(crate) fn holds_finish_reasons(&self) -> bool {
        self.on.contains(Repair::FinishReason)
    }

    /// Whether a repair is on; if so it counts as applied.
    fn does(&mut self, repair: Repair) -> bool {
        if self.on.contains(repair) {
            self.now.0 |= 1 << repair as u32;
            return true;
        }
        false
    }

    /// Counts a repair that is made elsewhere; whether it is on.
    pub(crate) fn count(&mut self, repair: Repair) -> bool {
        let on = self.does(repair);
        self.has_changed();
        on
    }

    fn has_changed(&mut self) -> bool {
        self.applied.0 |= self.now.0;
        !std::mem::replace(&mut self.now, Repairs::none()).is_empty()
    }

    // --- whole answers ---

    /// Repairs a whole answer; whether anything had to change. `text` is what it was read from.
    pub(crate) fn whole(&mut self, completion: &mut ChatCompletion, text: &[u8]) -> bool {
        if completion.id.as_deref().unwrap_or_default().is_empty() && self.does(Repair::MissingFields) {
            completion.id = Some(self.id.clone());
        }
        if completion.object != Some(ObjectType::ChatCompletion) && self.does(Repair::MissingFields) {
            completion.object = Some(ObjectType::ChatCompletion);
        }
        if completion.created.is_none() && self.does(Repair::MissingFields) {
            completion.created = Some(self.created);
        }
        if completion.model.as_deref().unwrap_or_default().is_empty() && self.does(Repair::MissingFields) {
            completion.model = Some(self.model.clone());
        }
        for (position, choice) in completion.choices.iter_mut().enumerate() {
            self.whole_choice(choice, position as u64);
        }
        if let Some(usage) = &mut completion.usage {
            self.reasoning(usage);
            self.usage = Some(usage.clone());
        }
        if has_odd_null(text) {
            self.does(Repair::NullFields);
        }
        self.has_changed()
    }

    fn whole_choice(&mut self, choice: &mut Choice, position: u64) {
        if choice.index.is_none() && self.does(Repair::MissingFields) {
            choice.index = Some(position);
        }
        if choice.logprobs.is_absent() && self.does(Repair::MissingFields) {
            choice.logprobs = Nullable::Null;
        }
        if let Nullable::Value(logprobs) = &mut choice.logprobs {
            self.logprobs(logprobs);
        }
        if choice.message.is_none() && self.does(Repair::MissingFields) {
            choice.message = Some(ResponseMessage::default());
        }
        let is_cut = choice.finish_reason.get().is_some_and(|it| it.ending() == Ending::Length);
        let has_calls = choice.message.as_mut().map_or(Called::Nothing, |it| self.message(it, is_cut));
        let given = choice.finish_reason.take();
        let extra = &mut choice.extra;
        choice.finish_reason = self.finish_reason(given, || extra.remove("finishReason"), has_calls);
        if !choice.finish_reason.is_value() && self.does(Repair::FinishReason) {
            choice.finish_reason = Nullable::Value(has_calls.finish_reason());
        }
    }

    /// Tokens are told with their bytes.
    fn logprobs(&mut self, logprobs: &mut Logprobs) {
        let Nullable::Value(tokens) = &mut logprobs.content else { return };
        for token in tokens {
            if let Some(text) = token.token.as_deref().filter(|_| token.bytes.is_absent())
                && self.does(Repair::MissingFields)
            {
                token.bytes = Nullable::Value(text.as_bytes().to_vec());
            }
            for other in token.top_logprobs.iter_mut().flatten() {
                if let Some(text) = other.token.as_deref().filter(|_| other.bytes.is_absent())
                    && self.does(Repair::MissingFields)
                {
                    other.bytes = Nullable::Value(text.as_bytes().to_vec());
                }
            }
        }
    }

    /// Repairs a message; whether it calls anything.
    fn message(&mut self, message: &mut ResponseMessage, is_cut: bool) -> Called {
        if message.role != Some(Role::Assistant) && self.does(Repair::MissingFields) {
            message.role = Some(Role::Assistant);
        }
        self.content_text(&mut message.content);
        let mut tags = self.tags();
        tags.look(is_thought(message.extra_content.as_ref()), &message.content);
        self.untag(&mut tags, &mut message.content, &mut message.reasoning_content);
        self.untag_rest(&mut tags, &mut message.content, &mut message.reasoning_content);
        if message.content.is_absent() && self.does(Repair::MissingFields) {
            message.content = Nullable::Null;
        }
        if message.refusal.is_absent() && self.does(Repair::MissingFields) {
            message.refusal = Nullable::Null;
        }
        if message.tool_calls.as_ref().is_some_and(Vec::is_empty) && self.does(Repair::NullFields) {
            message.tool_calls = None;
        }
        if message.function_call.as_ref().is_some_and(says_nothing) && self.does(Repair::NullFields) {
            message.function_call = None;
        }
        self.name_back(message.function_call.as_mut());
        let mut called = if message.function_call.is_some() { Called::Function } else { Called::Nothing };
        for (position, call) in message.tool_calls.iter_mut().flatten().enumerate() {
            called = Called::Tools;
            self.tool_call(call, position, is_cut);
        }
        called
    }

    fn tool_call(&mut self, call: &mut ToolCall, position: usize, is_cut: bool) {
        if call.index.is_some() && self.does(Repair::ToolCallIndex) {
            call.index = None;
        }
        if call.id.as_deref().unwrap_or_default().is_empty() && self.does(Repair::ToolCallIndex) {
            call.id = Some(self.call_id(0, position));
        }
        if call.r#type.is_none() && self.does(Repair::MissingFields) {
            call.r#type = Some(ToolType::Function);
        }
        self.name_back(call.function.as_mut());
        let without = |it: &&mut FunctionCall| match &it.arguments {
            Some(arguments) => !is_cut && arguments.trim().is_empty(),
            None => true,
        };
        if let Some(function) = call.function.as_mut().filter(without)
            && self.does(Repair::MissingFields)
        {
            function.arguments = Some("{}".to_owned());
        }
        if let Some(signed) = call.id.as_deref().and_then(|id| signed(id, call.extra_content.as_ref()))
            && self.does(Repair::SignatureInId)
        {
            call.id = Some(signed);
        }
    }

    // --- chunks ---

    /// Repairs a chunk; whether anything had to change. `text` is what it was read from. A chunk that has nothing left to
    /// say is `None`.
    pub(crate) fn chunk(&mut self, chunk: &mut ChatCompletionChunk, text: &str) -> Option<bool> {
        self.head(chunk);
        if let Some(usage) = &mut chunk.usage {
            self.reasoning(usage);
            self.usage = Some((**usage).clone());
            if !chunk.choices.is_empty() || !self.include_usage || self.usage_sent {
                if self.does(Repair::UsageAsAsked) {
                    chunk.usage = None;
                    if chunk.choices.is_empty() && chunk.extra.is_empty() {
                        self.has_changed();
                        return None;
                    }
                }
            } else {
                self.usage_sent = true;
            }
        }
        for choice in &mut chunk.choices {
            self.chunk_choice(choice);
        }
        if has_odd_null(text.as_bytes()) {
            self.does(Repair::NullFields);
        }
        Some(self.has_changed())
    }

    fn head(&mut self, chunk: &mut ChatCompletionChunk) {
        match chunk.id.as_deref() {
            None | Some("") => {
                if self.does(Repair::MissingFields) {
                    // What was said once stays: Azure names its stream in the second chunk.
                    self.has_id = true;
                    chunk.id = Some(self.id.clone());
                }
            }
            Some(id) if !self.has_id => {
                self.has_id = true;
                id.clone_into(&mut self.id);
            }
            Some(id) if id != self.id => {
                if self.does(Repair::OneId) {
                    chunk.id = Some(self.id.clone());
                }
            }
            Some(_) => {}
        }
        if chunk.object != Some(ObjectType::ChatCompletionChunk) && self.does(Repair::MissingFields) {
            chunk.object = Some(ObjectType::ChatCompletionChunk);
        }
        match chunk.created {
            Some(0) => {}
            Some(created) if !self.has_created => {
                self.has_created = true;
                self.created = created;
            }
            Some(created) if created != self.created => {
                if self.does(Repair::OneId) {
                    chunk.created = Some(self.created);
                }
            }
            Some(_) => {}
            None => {
                if self.does(Repair::MissingFields) {
                    chunk.created = Some(self.created);
                }
            }
        }
        match chunk.model.as_deref() {
            None => {
                if self.does(Repair::MissingFields) {
                    chunk.model = Some(self.model.clone());
                }
            }
            Some(model) if model != self.model && !model.is_empty() => model.clone_into(&mut self.model),
            Some(_) => {}
        }
    }

    fn chunk_choice(&mut self, choice: &mut ChunkChoice) {
        if choice.index.is_none() && self.does(Repair::MissingFields) {
            choice.index = Some(0);
        }
        let number = choice.index.unwrap_or(0);
        let mut choices = std::mem::take(&mut self.choices);
        let known = choices.iter().position(|it| it.number == number);
        match known {
            None if choices.len() >= CHOICES_MAX => self.too_many = Some("choices"),
            known => {
                let place = known.unwrap_or_else(|| {
                    let tags = self.tags();
                    choices.push(ChoiceState { number, tags, ..ChoiceState::default() });
                    choices.len() - 1
                });
                self.piece(choice, &mut choices[place]);
            }
        }
        self.choices = choices;
    }

    fn piece(&mut self, choice: &mut ChunkChoice, state: &mut ChoiceState) {
        if let Nullable::Value(logprobs) = &mut choice.logprobs {
            self.logprobs(logprobs);
        }
        if choice.delta.is_none() && self.does(Repair::MissingFields) {
            choice.delta = Some(Delta::default());
        }
        if let Some(delta) = &mut choice.delta {
            self.delta(delta, state);
        }
        let given = choice.finish_reason.take();
        let extra = &mut choice.extra;
        let finish = self.finish_reason(given, || extra.remove("finishReason"), state.called());
        choice.finish_reason = match finish {
            Nullable::Value(_) if state.finished && self.does(Repair::FinishReason) => Nullable::Null,
            Nullable::Absent if self.does(Repair::MissingFields) => Nullable::Null,
            other => other,
        };
        if choice.finish_reason.is_value() {
            state.finished = true;
            if let Some(delta) = &mut choice.delta {
                self.untag_rest(&mut state.tags, &mut delta.content, &mut delta.reasoning_content);
                // An answer that was cut off may be cut off in its arguments.
                if choice.finish_reason.get() != Some(&FinishReason::Length) {
                    self.arguments_of_all(delta, state);
                }
            }
        }
    }

    /// Calls without arguments have an empty object of them: clients read JSON.
    fn arguments_of_all(&mut self, delta: &mut Delta, state: &ChoiceState) {
        for (place, call) in state.calls.iter().enumerate() {
            if call.is_function && !call.has_arguments && self.does(Repair::MissingFields) {
                let mut rest = ToolCallDelta::default();
                rest.index = Some(place as u64);
                let mut function = FunctionCall::default();
                function.arguments = Some("{}".to_owned());
                rest.function = Some(function);
                delta.tool_calls.get_or_insert_default().push(rest);
            }
        }
    }

    fn delta(&mut self, delta: &mut Delta, state: &mut ChoiceState) {
        if state.role_sent {
            if delta.role.is_some() && self.does(Repair::RoleOnce) {
                delta.role = None;
            }
        } else {
            state.role_sent = true;
            if delta.role != Some(Role::Assistant) && self.does(Repair::RoleOnce) {
                delta.role = Some(Role::Assistant);
            }
        }
        self.content_text(&mut delta.content);
        state.tags.look(is_thought(delta.extra_content.as_deref()), &delta.content);
        self.untag(&mut state.tags, &mut delta.content, &mut delta.reasoning_content);
        let says_nothing = delta.function_call.as_deref().is_some_and(says_nothing);
        if says_nothing && !state.has_function_call && self.does(Repair::NullFields) {
            delta.function_call = None;
        }
        self.name_back(delta.function_call.as_deref_mut());
        state.has_function_call |= delta.function_call.is_some();
        if delta.tool_calls.as_ref().is_some_and(Vec::is_empty) && self.does(Repair::NullFields) {
            delta.tool_calls = None;
        }
        // Two named calls of one delta are never the same call.
        let mut taken = Vec::new();
        for call in delta.tool_calls.iter_mut().flatten() {
            self.call_delta(call, state, &mut taken);
        }
    }

    fn call_delta(&mut self, call: &mut ToolCallDelta, state: &mut ChoiceState, taken: &mut Vec<usize>) {
        self.name_back(call.function.as_mut());
        let id = call.id.as_deref().unwrap_or_default();
        let known = match (id, call.index) {
            ("", Some(index)) => {
                state.calls.iter().rposition(|it| it.position == Some(index)).filter(|_| !is_whole_call(call))
            }
            ("", None) if is_named(call) => None,
            ("", None) => state.calls.len().checked_sub(1),
            (id, _) => state.calls.iter().rposition(|it| it.id == id),
        };
        let known = known.filter(|place| !(taken.contains(place) && is_named(call)));
        let is_first = known.is_none();
        let place = known.unwrap_or(state.calls.len());
        if place >= CALLS_MAX {
            self.too_many = Some("tool calls");
            return;
        }
        if is_first {
            if id.is_empty() && self.does(Repair::ToolCallIndex) {
                call.id = Some(self.call_id(state.number, place));
            }
            state.calls.push(CallState {
                id: call.id.clone().unwrap_or_default(),
                position: call.index,
                is_function: false,
                has_arguments: false,
            });
            if call.r#type.is_none() && self.does(Repair::ToolCallOnce) {
                call.r#type = Some(ToolType::Function);
            }
            if let Some(function) = call.function.as_mut().filter(|it| it.arguments.is_none())
                && self.does(Repair::MissingFields)
            {
                function.arguments = Some(String::new());
            }
            let signed = call.id.as_deref().and_then(|id| signed(id, call.extra_content.as_deref()));
            if let Some(signed) = signed
                && self.does(Repair::SignatureInId)
            {
                call.id = Some(signed);
            }
        } else {
            if call.index.is_some() {
                state.calls[place].position = call.index;
            }
            let name = call.function.as_ref().and_then(|it| it.name.as_ref());
            let repeats = call.id.is_some() || call.r#type.is_some() || name.is_some();
            if repeats && self.does(Repair::ToolCallOnce) {
                call.id = None;
                call.r#type = None;
                if let Some(function) = &mut call.function {
                    function.name = None;
                }
            }
        }
        if let Some(function) = &call.function {
            state.calls[place].is_function = true;
            state.calls[place].has_arguments |=
                function.arguments.as_deref().is_some_and(|it| !it.trim().is_empty());
        }
        taken.push(place);
        if call.index != Some(place as u64) && self.does(Repair::ToolCallIndex) {
            call.index = Some(place as u64);
        }
    }

    fn call_id(&self, choice: u64, place: usize) -> String {
        let own = self.id.strip_prefix("chatcmpl-").unwrap_or(&self.id);
        format!("call_{own}_{choice}_{place}")
    }

    /// The chunks that end a stream of which the upstream says no more: for choices that it left open, and the usage.
    pub(crate) fn last_chunks(&mut self) -> Vec<ChatCompletionChunk> {
        let mut chunks = Vec::new();
        for mut state in std::mem::take(&mut self.choices) {
            if state.finished || !self.does(Repair::FinishReason) {
                continue;
            }
            let mut delta = Delta::default();
            self.untag_rest(&mut state.tags, &mut delta.content, &mut delta.reasoning_content);
            self.arguments_of_all(&mut delta, &state);
            let mut choice = ChunkChoice::default();
            choice.index = Some(state.number);
            choice.finish_reason = Nullable::Value(state.called().finish_reason());
            choice.delta = Some(delta);
            let mut chunk = self.empty_chunk();
            chunk.choices = vec![choice];
            chunks.push(chunk);
        }
        if self.include_usage
            && !self.usage_sent
            && let Some(usage) = self.usage.clone().filter(|_| self.on.contains(Repair::UsageAsAsked))
        {
            self.usage_sent = true;
            let mut chunk = self.empty_chunk();
            chunk.usage = Some(Box::new(usage));
            chunks.push(chunk);
        }
        self.has_changed();
        chunks
    }

    fn empty_chunk(&self) -> ChatCompletionChunk {
        let mut chunk = ChatCompletionChunk::default();
        chunk.id = Some(self.id.clone());
        chunk.object = Some(ObjectType::ChatCompletionChunk);
        chunk.created = Some(self.created);
        chunk.model = Some(self.model.clone());
        chunk
    }

    // --- what both have ---

    fn finish_reason(
        &mut self,
        given: Nullable<FinishReason>,
        camel_case: impl FnOnce() -> Option<vertex_chat_types::Json>,
        called: Called,
    ) -> Nullable<FinishReason> {
        let given = match given {
            Nullable::Value(reason) => reason,
            Nullable::Null => return Nullable::Null,
            Nullable::Absent if self.on.contains(Repair::FinishReason) => {
                let reason = camel_case().and_then(|it| it.to_text());
                let Some(reason) = reason else { return Nullable::Absent };
                self.does(Repair::FinishReason);
                FinishReason::from(reason.as_str())
            }
            Nullable::Absent => return Nullable::Absent,
        };
        let known = (!given.as_str().is_empty()).then(|| openai_word(&given, called));
        if known.as_ref() == Some(&given) || !self.does(Repair::FinishReason) {
            return Nullable::Value(given);
        }
        known.map_or(Nullable::Null, Nullable::Value)
    }

    /// Vertex counts thinking in the total only, OpenAI in the completion.
    fn reasoning(&mut self, usage: &mut Usage) {
        let prompt = usage.prompt_tokens.unwrap_or(0);
        let completion = usage.completion_tokens.unwrap_or(0);
        let sum = prompt.saturating_add(completion);
        let total = usage.total_tokens.unwrap_or(sum).max(sum);
        let whole = usage.prompt_tokens.is_some() && usage.completion_tokens.is_some();
        if whole && usage.total_tokens == Some(sum) || !self.does(Repair::ReasoningUsage) {
            return;
        }
        let reasoning = total - sum;
        usage.prompt_tokens = Some(prompt);
        usage.completion_tokens = Some(completion + reasoning);
        usage.total_tokens = Some(total);
        if reasoning > 0 {
            let details =
                usage.completion_tokens_details.get_or_insert_with(CompletionTokensDetails::default);
            details.reasoning_tokens.get_or_insert(reasoning);
        }
    }

    fn content_text(&mut self, content: &mut Nullable<Content>) {
        let Nullable::Value(Content::Parts(parts)) = content else { return };
        if parts.iter().all(|part| part.text.is_some()) && self.does(Repair::ContentText) {
            let text: String = parts.iter().filter_map(|part| part.text.as_deref()).collect();
            *content = Nullable::Value(Content::Text(text));
        }
    }

    /// Moves text that stands in tags.
    fn untag(&mut self, tags: &mut Tags, content: &mut Nullable<Content>, thoughts: &mut Option<String>) {
        let (Some(tag), Nullable::Value(Content::Text(text))) = (tags.tag, &mut *content) else { return };
        let (answer, thought) = tags.split(tag, text);
        if (answer != *text || !thought.is_empty()) && self.does(Repair::ThoughtsApart) {
            *text = answer;
            if !thought.is_empty() {
                thoughts.get_or_insert_default().push_str(&thought);
            }
        }
    }

    /// What was held back because it might have become a tag.
    fn untag_rest(
        &mut self,
        tags: &mut Tags,
        content: &mut Nullable<Content>,
        thoughts: &mut Option<String>,
    ) {
        let held = std::mem::take(&mut tags.held);
        if held.is_empty() || !self.does(Repair::ThoughtsApart) {
            return;
        }
        if tags.inside {
            thoughts.get_or_insert_default().push_str(&held);
        } else {
            match content {
                Nullable::Value(Content::Text(text)) => text.push_str(&held),
                _ => *content = Nullable::Value(Content::Text(held)),
            }
        }
    }
}

impl ChoiceState {
    fn called(&self) -> Called {
        match (self.calls.is_empty(), self.has_function_call) {
            (false, _) => Called::Tools,
            (true, true) => Called::Function,
            (true, false) => Called::Nothing,
        }
    }
}

/// What an answer calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Called {
    Nothing,
    Tools,
    /// By the deprecated `functions`.
    Function,
}

impl Called {
    fn finish_reason(self) -> FinishReason {
        match self {
            Self::Nothing => FinishReason::Stop,
            Self::Tools => FinishReason::ToolCalls,
            Self::Function => FinishReason::FunctionCall,
        }
    }
}

/// What OpenAI says for another's word. A failure is an error before it comes here.
fn openai_word(reason: &FinishReason, called: Called) -> FinishReason {
    match reason.ending() {
        Ending::Stop => called.finish_reason(),
        ending => ending.finish_reason().unwrap_or(FinishReason::ContentFilter),
    }
}

fn is_thought(extra_content: Option<&ExtraContent>) -> bool {
    extra_content.and_then(google).is_some_and(|it| it.thought == Some(true))
}

fn google(extra_content: &ExtraContent) -> Option<&GoogleContent> {
    extra_content.google.as_ref()
}

/// The id of a call with its signature in it; `None` when it has none, or too long a one.
fn signed(id: &str, extra_content: Option<&ExtraContent>) -> Option<String> {
    let extra_content = extra_content?;
    let of_vertex = || {
        let vertex = extra_content.extra.get("vertex")?.parse_as::<GoogleContent>().ok()?;
        vertex.thought_signature
    };
    let signature = google(extra_content).and_then(|it| it.thought_signature.clone()).or_else(of_vertex)?;
    sign_id(id, &signature)
}

/// Whether a call is an empty object, as some servers send beside their answers.
fn says_nothing(call: &FunctionCall) -> bool {
    let is_empty = |it: &Option<String>| it.as_deref().unwrap_or_default().is_empty();
    is_empty(&call.name) && is_empty(&call.arguments)
}

fn is_named(call: &ToolCallDelta) -> bool {
    let name = call.function.as_ref().and_then(|it| it.name.as_deref());
    name.or_else(|| call.custom.as_ref()?.name.as_deref()).is_some_and(|it| !it.is_empty())
}

/// Whether a piece is a call of its own although it has no id: named, and with arguments that are a whole object.
fn is_whole_call(call: &ToolCallDelta) -> bool {
    let arguments = call.function.as_ref().and_then(|it: &FunctionCall| it.arguments.as_deref());
    is_named(call) && arguments.is_some_and(|it| it.starts_with('{') && it.ends_with('}'))
}

/// Fields that OpenAI's schema does not let be null, and that it does not send so itself (as it does `system_fingerprint`).
const NEVER_NULL: [&[u8]; 15] = [
    b"tool_calls",
    b"function_call",
    b"role",
    b"audio",
    b"annotations",
    b"id",
    b"model",
    b"created",
    b"object",
    b"index",
    b"delta",
    b"message",
    b"name",
    b"arguments",
    b"type",
];

/// Whether a text has a null where OpenAI has none. What is told of is not where it is: types leave such fields out.
fn has_odd_null(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, b"null").any(|at| {
        let before = text[..at].trim_ascii_end();
        let Some(before) = before.strip_suffix(b":") else { return false };
        let Some(before) = before.trim_ascii_end().strip_suffix(b"\"") else { return false };
        NEVER_NULL.iter().any(|name| {
            before.strip_suffix(*name).is_some_and(|rest| rest.ends_with(b"\"") && !rest.ends_with(b"\\\""))
        })
    })
}

/// The tag that the Gemini Developer API puts around what it marks as a thought.
const MARKED_TAG: &str = "thought";

/// Where a text stands between the tags of thoughts, whose letters may come in several pieces.
#[derive(Default)]
struct Tags {
    /// Which tags to look for, if any.
    tag: Option<&'static str>,
    inside: bool,
    /// The end of the text so far, when it may be the beginning of a tag.
    held: String,
}

impl Tags {
    /// Looks whether a piece is a thought in tags. The mark alone does not say so: Google has been seen to set it on an answer.
    fn look(&mut self, is_marked: bool, content: &Nullable<Content>) {
        let Some(Content::Text(text)) = content.get().filter(|_| is_marked && !self.inside) else { return };
        // Whatever tag was asked for: who writes this one has not heard of it.
        if text.strip_prefix('<').is_some_and(|it| it.starts_with(MARKED_TAG)) {
            self.tag = Some(MARKED_TAG);
        }
    }

    /// Parts a piece of text: what is the answer's, and what is thought.
    fn split(&mut self, tag: &str, text: &str) -> (String, String) {
        let mut rest = std::mem::take(&mut self.held);
        rest.push_str(text);
        let (mut answer, mut thought) = (String::new(), String::new());
        loop {
            let mark = if self.inside { format!("</{tag}>") } else { format!("<{tag}>") };
            let to = if self.inside { &mut thought } else { &mut answer };
            if let Some(at) = rest.find(&mark) {
                to.push_str(&rest[..at]);
                rest.drain(..at + mark.len());
                self.inside = !self.inside;
                continue;
            }
            let longest = (1..mark.len()).rev().find(|&it| rest.ends_with(&mark[..it])).unwrap_or(0);
            let end = rest.len() - longest;
            to.push_str(&rest[..end]);
            self.held = rest.split_off(end);
            return (answer, thought);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repairer() -> Repairer {
        Repairer::new(Repairs::all(), "1", "m", 7)
    }

    #[track_caller]
    fn stream(repairer: &mut Repairer, chunks: &[&str]) -> Vec<String> {
        let mut out = Vec::new();
        for text in chunks {
            let mut chunk: ChatCompletionChunk = vertex_chat_types::from_str(text).unwrap();
            match repairer.chunk(&mut chunk, text) {
                None => {}
                Some(false) => out.push((*text).to_owned()),
                Some(true) => out.push(serde_json::to_string(&chunk.choices).unwrap()),
            }
        }
        out
    }

    #[test]
    fn calls_are_told_apart_by_id_and_named_once() {
        let piece = |index: u64, id: &str, arguments: &str| {
            format!(
                r#"{{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{{"role":"assistant","tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"f","arguments":"{arguments}"}}}}]}},"finish_reason":null}}]}}"#
            )
        };
        let pieces = [piece(1, "A", ""), piece(0, "A", "1"), piece(0, "B", ""), piece(1, "B", "2")];
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        let mut repairer = repairer();
        let out = stream(&mut repairer, &pieces);
        assert_eq!(
            out[0],
            r#"[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"A","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]"#
        );
        let rest = |index: u64, arguments: &str| {
            format!(
                r#"[{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"function":{{"arguments":"{arguments}"}}}}]}},"finish_reason":null}}]"#
            )
        };
        assert_eq!(out[1], rest(0, "1"));
        assert!(out[2].contains(r#""index":1,"id":"B""#), "{}", out[2]);
        assert_eq!(out[3], rest(1, "2"));
        for repair in [Repair::ToolCallIndex, Repair::ToolCallOnce, Repair::RoleOnce] {
            assert!(repairer.applied.contains(repair), "{repair:?}");
        }
    }

    #[test]
    fn a_stream_of_openais_shape_is_left_alone() {
        let head = r#"{"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":"#;
        let tail = r#","logprobs":null,"finish_reason":null}]}"#;
        let chunks = [
            format!(r#"{head}{{"role":"assistant","content":"","refusal":null}}{tail}"#),
            format!(r#"{head}{{"content":"Once"}}{tail}"#),
            format!(r#"{head}{{}},"logprobs":null,"finish_reason":"stop"}}]}}"#),
        ];
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        let mut repairer = repairer();
        assert_eq!(stream(&mut repairer, &chunks), chunks);
        assert!(repairer.applied.is_empty() && repairer.last_chunks().is_empty());
    }

    #[test]
    fn usage_comes_as_it_was_asked_for_and_counts_thinking() {
        let last = r#"{"choices":[{"index":0,"delta":{"content":"x","role":"assistant"},"finish_reason":"stop"}],"usage":{"prompt_tokens":27,"completion_tokens":45,"total_tokens":576}}"#;
        for asked in [true, false] {
            let mut repairer = repairer().with_usage(asked);
            stream(&mut repairer, &[last]);
            let chunks = repairer.last_chunks();
            assert_eq!(chunks.len(), usize::from(asked));
            for chunk in chunks {
                let usage = chunk.usage.unwrap();
                assert_eq!((usage.completion_tokens, usage.reasoning_tokens()), (Some(549), 504));
            }
        }
    }

    #[test]
    fn tags_are_found_wherever_they_are_cut() {
        let text = "<think>a < b</think>answer </thin";
        for cut in 0..text.len() {
            let mut tags = Tags::default();
            let (mut answer, mut thought) = tags.split(THOUGHT_TAG, &text[..cut]);
            let more = tags.split(THOUGHT_TAG, &text[cut..]);
            answer.push_str(&more.0);
            thought.push_str(&more.1);
            answer.push_str(&tags.held);
            assert_eq!((answer.as_str(), thought.as_str()), ("answer </thin", "a < b"), "cut at {cut}");
        }
    }

    #[test]
    fn a_null_is_odd_where_openai_has_none() {
        assert!(has_odd_null(br#"{"tool_calls": null}"#));
        assert!(!has_odd_null(br#"{"logprobs":null,"content":"\"tool_calls\":null"}"#));
        assert!(!has_odd_null(br#"{"content":"x tool_calls:null"}"#));
    }

    #[test]
    fn a_word_of_somebody_else_becomes_openais() {
        for (word, called, expected) in [
            ("stop_sequence", Called::Nothing, "stop"),
            ("eos_token", Called::Nothing, "stop"),
            ("stop", Called::Tools, "tool_calls"),
            ("MAX_TOKENS", Called::Nothing, "length"),
            ("SAFETY", Called::Nothing, "content_filter"),
            ("length", Called::Tools, "length"),
            ("stop", Called::Function, "function_call"),
        ] {
            assert_eq!(openai_word(&FinishReason::from(word), called).as_str(), expected);
        }
    }
}
