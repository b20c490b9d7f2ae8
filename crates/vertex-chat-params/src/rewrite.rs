//! Rewrites: the same request in the form that a server takes.
//!
//! Each has a name, says in the report what it did and why, and can be switched off.

mod gemini;
mod media;
mod tools;

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use vertex_chat_types::{
    ChatRequest, Content, ContentPart, Extra, ExtraBody, ExtraContent, GoogleContent, GoogleOptions,
    ImageUrl, Json, JsonSchemaFormat, Message, Nullable, PartType, ReasoningEffort, ResponseFormat,
    ResponseFormatType, Role, Stop, ToolCall,
};

use crate::Dialect;
use crate::report::{Action, Note, Problem, Report};
use crate::schema::{SchemaError, reduce_in};
use crate::signature::{SIGNATURE_ESCAPE, split_id};
use crate::steps::{PREPARE_STEPS_MAX, Steps};

use Dialect::{GeminiDeveloper, OpenAi, Tgi, VertexGemini2, VertexGemini3, Vllm};

const GEMINI: &[Dialect] = &[VertexGemini2, VertexGemini3, GeminiDeveloper];
const ON_VERTEX: &[Dialect] = &[VertexGemini2, VertexGemini3];
const TGI: &[Dialect] = &[Tgi];
/// How often `extra_body` may be nested in itself to be put right.
const NESTINGS_MAX: usize = 3;

/// The rules, each with its name, the dialects it is for, what it does, and where the need for it is known from.
macro_rules! rewrites {
    ($($(#[$meta:meta])* $Rule:ident = $name:literal, $dialects:expr, $does:literal, $source:expr;)*) => {
        /// A rule by which a request is put into the form that a server takes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Rewrite {
            $(#[doc = $does] $Rule,)*
        }

        impl Rewrite {
            /// All of them, in the order in which they are applied.
            pub const ALL: &[Self] = &[$(Self::$Rule,)*];

            /// The name for configuration.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Rule => $name,)* }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$Rule => $does,)* }
            }

            /// The dialects that it is for.
            #[must_use]
            pub fn dialects(self) -> &'static [Dialect] {
                match self { $(Self::$Rule => $dialects,)* }
            }

            /// Where the need for it is known from.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self { $(Self::$Rule => $source,)* }
            }
        }
    };
}

rewrites! {
    GooglePublisher = "google-publisher", ON_VERTEX,
        "A bare Gemini or Gemma name gets its publisher: `google/gemini-…`.",
        "Vertex AI: error of the OpenAI-compatible endpoint";
    MaxTokensAlias = "max-tokens-alias", &[VertexGemini2, VertexGemini3, GeminiDeveloper, Tgi],
        "Of `max_tokens` and `max_completion_tokens`, which are two names of one parameter, the newer stays.",
        "Vertex AI: OpenAI compatibility, supported parameters; TGI: router/src/lib.rs";
    ExtraBodyNesting = "extra-body-nesting", GEMINI,
        "Google's options, nested once too little or too often, go to `extra_body.google`.",
        "Vertex AI: OpenAI compatibility, Gemini parameters";
    EffortOrThinkingConfig = "effort-or-thinking-config", GEMINI,
        "Beside a `thinking_config`, which says more, `reasoning_effort` is left out.",
        "Vertex AI: error of the OpenAI-compatible endpoint";
    NearestEffort = "nearest-effort", GEMINI,
        "A `reasoning_effort` that the model refuses becomes the nearest that it takes.",
        "Vertex AI: OpenAI compatibility, Gemini parameters; litellm#37314, DeepTutor#734";
    DeveloperToSystem = "developer-to-system", &[VertexGemini2, VertexGemini3, GeminiDeveloper, Tgi],
        "The role `developer` becomes `system`.",
        "Vertex AI: OpenAI compatibility, messages";
    SignatureFromId = "signature-from-id", &Dialect::ALL,
        "A thought signature in a tool call's id is taken out; Gemini gets it where it belongs.",
        "Gemini: thought signatures";
    VertexExtraContent = "vertex-extra-content", GEMINI,
        "`extra_content.vertex`, as some gateways write it, becomes `extra_content.google`.",
        "Gemini: thought signatures";
    CallArguments = "call-arguments", GEMINI,
        "A call without arguments has an empty object of them.",
        "ruby_llm#98, vllm#9693";
    MediaParts = "media-parts", GEMINI,
        "Films, files and the parts of other APIs become `image_url`, which takes any media; `input_text` becomes `text`.",
        "Vertex AI: OpenAI compatibility, messages; ravendb#22337, litellm#11529, ai#19236";
    MediaType = "media-type", GEMINI,
        "The MIME type of a data URL is spelled as Gemini knows it, or read from the first bytes.",
        "cherry-studio#2987, comic-translate#399";
    EmptyText = "empty-text", GEMINI,
        "Empty texts are left out where something else stands, and are one space where nothing does.",
        "autogen#5762, cherry-studio#16195, litellm#5515";
    ImageNeedsText = "image-needs-text", ON_VERTEX,
        "A message of pictures only gets a text of one space.",
        "Vertex AI: error of the native endpoint";
    SystemOnly = "system-only", GEMINI,
        "Of instructions alone the last is sent as the user's: Gemini answers no instructions.",
        "Vertex AI: inference API reference; OpenAI's own suites begin with such a request";
    ToolResultOrder = "tool-result-order", GEMINI,
        "Tool results follow their calls, in the order of the calls.",
        "Gemini: thought signatures";
    ToolRounds = "tool-rounds", GEMINI,
        "Parallel calls of several messages become one message, each call has one result, and what is no call's result is left out.",
        "Gemini: function calling; quarkus-langchain4j#1271, vscode#299295";
    SignatureEscape = "signature-escape", &[VertexGemini3, GeminiDeveloper],
        "A tool call of the current turn that has lost its thought signature gets Google's value for that.",
        "Gemini: thought signatures";
    StripExtraContent = "strip-extra-content", &[Vllm, Tgi, OpenAi],
        "Google's `extra_content` is left out of messages, parts and tool calls.",
        OpenAi.source();
    NativeTools = "native-tools", GEMINI,
        "Google's own tools and a web search go to `extra_body.google.tools`; flat function tools get their `function`.",
        "Vertex AI: OpenAI compatibility, Gemini parameters; nvda-OpenAI#123, freellmapi#59";
    GeminiChoice = "gemini-choice", GEMINI,
        "`allowed_tools` becomes the tools themselves, `any` becomes `required`, and a choice without tools is left out.",
        "OpenAI: Chat Completions reference; on no list of Vertex's";
    FunctionNames = "function-names", GEMINI,
        "A function whose name Gemini refuses is sent under another name, and has the caller's name in the answer.",
        "Vertex AI: inference API reference; seclab-taskflow-agent#287";
    GeminiSchema = "gemini-schema", GEMINI,
        "JSON Schemas are reduced to what Gemini takes: references inlined, `const`, `oneOf` and `allOf` in other words.",
        "Vertex AI: Schema reference";
    StopToList = "stop-to-list", TGI,
        "One stop sequence becomes a list of one.",
        Tgi.source();
    TgiResponseFormat = "tgi-response-format", TGI,
        "`response_format` gets TGI's form, with the schema in `value`.",
        Tgi.source();
    TgiToolParameters = "tgi-tool-parameters", TGI,
        "A tool without parameters gets an empty object of them.",
        Tgi.source();
    ContentWithToolCalls = "content-with-tool-calls", TGI,
        "A message with tool calls is sent without its text, for TGI would drop the calls.",
        Tgi.source();
    ImageUrlObject = "image-url-object", &[Tgi, OpenAi],
        "A bare `image_url` becomes an object with `url`.",
        "OpenAI: Chat Completions reference; TGI: router/src/lib.rs";
    TgiLogitBias = "tgi-logit-bias", TGI,
        "A map of biases, which TGI has no use for and would refuse, is left out.",
        Tgi.source();
    DropNulls = "drop-nulls", TGI,
        "Parameters that are null are left out.",
        Tgi.source();
}

impl Rewrite {
    /// Whether it is for this kind of server.
    #[must_use]
    pub fn applies_to(self, dialect: Dialect) -> bool {
        self.dialects().contains(&dialect)
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Rewrite {
    type Err = ParseRewriteError;
    /// # Errors
    /// When there is no rule of this [name](Self::name).
    fn from_str(name: &str) -> Result<Self, ParseRewriteError> {
        Self::ALL.iter().copied().find(|it| it.name() == name).ok_or(ParseRewriteError(()))
    }
}

/// No rule of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseRewriteError(());

impl fmt::Display for ParseRewriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is one of ")?;
        for (i, rule) in Rewrite::ALL.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{rule}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseRewriteError {}

/// Which rules are on. By default all.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rewrites(u32);

const _: () = assert!(Rewrite::ALL.len() <= u32::BITS as usize, "each rule has a bit");

impl Default for Rewrites {
    fn default() -> Self {
        Self::all()
    }
}

impl Rewrites {
    /// All rules.
    #[must_use]
    pub fn all() -> Self {
        Self(u32::MAX)
    }

    /// No rule: what a server takes in another form only is refused or sent as it is.
    #[must_use]
    pub fn none() -> Self {
        Self(0)
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, rule: Rewrite) -> Self {
        Self(self.0 | 1 << rule as u32)
    }

    /// These but for one.
    #[must_use]
    pub fn without(self, rule: Rewrite) -> Self {
        Self(self.0 & !(1 << rule as u32))
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether a rule is on.
    #[must_use]
    pub fn contains(self, rule: Rewrite) -> bool {
        self.0 & 1 << rule as u32 != 0
    }
}

impl fmt::Debug for Rewrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(Rewrite::ALL.iter().filter(|it| self.contains(**it)).map(|it| it.name()))
            .finish()
    }
}

/// Applies the rules that are on and for this dialect.
pub(crate) fn apply(
    request: &mut ChatRequest,
    dialect: Dialect,
    rewrites: Rewrites,
    report: &mut Report,
    problems: &mut Vec<Problem>,
    steps: &mut Steps,
) {
    for &rule in Rewrite::ALL {
        if !rewrites.contains(rule) || !rule.applies_to(dialect) {
            continue;
        }
        let mut rewriter = Rewriter { request, dialect, rule, report, problems, steps };
        match rule {
            Rewrite::GooglePublisher => rewriter.google_publisher(),
            Rewrite::MaxTokensAlias => rewriter.max_tokens_alias(),
            Rewrite::ExtraBodyNesting => rewriter.extra_body_nesting(),
            Rewrite::EffortOrThinkingConfig => rewriter.effort_or_thinking_config(),
            Rewrite::DeveloperToSystem => rewriter.developer_to_system(),
            Rewrite::SignatureFromId => rewriter.signature_from_id(),
            Rewrite::VertexExtraContent => rewriter.vertex_extra_content(),
            Rewrite::SystemOnly => rewriter.system_only(),
            Rewrite::ToolRounds => rewriter.tool_rounds(),
            Rewrite::CallArguments => rewriter.call_arguments(),
            Rewrite::EmptyText => rewriter.empty_text(),
            Rewrite::NearestEffort => rewriter.nearest_effort(),
            Rewrite::MediaParts => rewriter.media_parts(),
            Rewrite::MediaType => rewriter.media_type(),
            Rewrite::NativeTools => rewriter.native_tools(),
            Rewrite::GeminiChoice => rewriter.gemini_choice(),
            Rewrite::FunctionNames => rewriter.function_names(),
            Rewrite::SignatureEscape => rewriter.signature_escape(),
            Rewrite::StripExtraContent => rewriter.strip_extra_content(),
            Rewrite::ToolResultOrder => rewriter.tool_result_order(),
            Rewrite::ImageNeedsText => rewriter.image_needs_text(),
            Rewrite::GeminiSchema => rewriter.gemini_schema(),
            Rewrite::StopToList => rewriter.stop_to_list(),
            Rewrite::TgiResponseFormat => rewriter.tgi_response_format(),
            Rewrite::TgiToolParameters => rewriter.tgi_tool_parameters(),
            Rewrite::ContentWithToolCalls => rewriter.content_with_tool_calls(),
            Rewrite::ImageUrlObject => rewriter.image_url_object(),
            Rewrite::TgiLogitBias => rewriter.tgi_logit_bias(),
            Rewrite::DropNulls => rewriter.drop_nulls(),
        }
    }
}

struct Rewriter<'a> {
    request: &'a mut ChatRequest,
    dialect: Dialect,
    rule: Rewrite,
    report: &'a mut Report,
    problems: &'a mut Vec<Problem>,
    steps: &'a mut Steps,
}

impl Rewriter<'_> {
    fn note(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.report.push(Note {
            path: path.into(),
            action: Action::Rewritten,
            reason: reason.into(),
            rule: Some(self.rule),
        });
    }

    fn notes<R: Into<String>>(&mut self, notes: impl IntoIterator<Item = (String, R)>) {
        for (path, reason) in notes {
            self.note(path, reason);
        }
    }

    /// Finds a fault that keeps the request from being sent.
    fn refuse(&mut self, path: impl Into<String>, message: impl Into<String>, remedy: &str) {
        self.problems.push(Problem {
            path: path.into(),
            message: message.into(),
            remedy: remedy.to_owned(),
            source: self.rule.source(),
            is_unsupported: false,
        });
    }

    fn google_publisher(&mut self) {
        let Some(model) = &mut self.request.model else { return };
        if !model.contains('/') && (model.starts_with("gemini-") || model.starts_with("gemma-")) {
            model.insert_str(0, "google/");
            self.note("model", "the endpoint `openapi` wants the publisher in front");
        }
    }

    fn max_tokens_alias(&mut self) {
        if self.request.max_completion_tokens.is_some() && self.request.max_tokens.take().is_some() {
            self.note("max_tokens", "it is another name of `max_completion_tokens`, which stays");
        }
    }

    fn extra_body_nesting(&mut self) {
        let mut nested: Vec<(&str, GoogleOptions)> = Vec::new();
        if let Some(google) = self.request.google.take() {
            nested.push(("google", google));
        }
        // Once too often, or twice.
        for _ in 0..NESTINGS_MAX {
            let Some(inner) = self.request.extra_body.as_ref().and_then(|it| it.extra.get("extra_body"))
            else {
                break;
            };
            let Ok(inner) = inner.parse_as::<ExtraBody>() else { break };
            let body = self.request.extra_body.get_or_insert_default();
            body.extra.remove("extra_body");
            let mut all = inner.extra;
            all.merge(std::mem::take(&mut body.extra));
            body.extra = all;
            nested.push(("extra_body.extra_body", inner.google.unwrap_or_default()));
        }
        for (path, google) in nested {
            let body = self.request.extra_body.get_or_insert_default();
            let (all, lost) = together(body.google.take().unwrap_or_default(), &google);
            body.google = Some(all);
            self.note(path, "it went to `extra_body.google`");
            for field in lost {
                self.note(format!("{path}.{field}"), "left out: `extra_body.google` says something else");
            }
        }
    }

    fn effort_or_thinking_config(&mut self) {
        let in_body = self.request.extra_body.as_mut().and_then(|it| it.google.as_mut());
        let google = match in_body {
            Some(google) if google.thinking_config.is_some() => Some(google),
            _ => self.request.google.as_mut(),
        };
        let Some(config) = google.and_then(|it| it.thinking_config.as_mut()) else { return };
        let Some(effort) = self.request.reasoning_effort.take() else { return };
        // A config that does not say how much takes the effort over, in the words that the generation has for it.
        let says_nothing = config.thinking_budget.is_none() && config.thinking_level.is_none();
        let is_2 = generation_2(self.request.model.as_deref());
        let budget = match &effort {
            ReasoningEffort::None => Some(0),
            ReasoningEffort::Minimal | ReasoningEffort::Low => Some(1024),
            ReasoningEffort::Medium => Some(8192),
            ReasoningEffort::High => Some(24_576),
            _ => None,
        };
        match budget {
            Some(budget) if says_nothing && is_2 => {
                config.thinking_budget = Some(budget);
                self.note("reasoning_effort", "it became the `thinking_budget` of the `thinking_config`");
            }
            Some(1..) if says_nothing && !is_2 => {
                config.thinking_level = Some(effort.as_str().to_owned());
                self.note("reasoning_effort", "it became the `thinking_level` of the `thinking_config`");
            }
            _ => self.note("reasoning_effort", "left out: together with a `thinking_config` it is refused"),
        }
    }

    fn developer_to_system(&mut self) {
        for i in 0..self.request.messages.len() {
            let message = &mut self.request.messages[i];
            if message.role == Role::Developer {
                message.role = Role::System;
                self.note(format!("messages[{i}].role"), "`developer` became `system`");
            }
        }
    }

    fn signature_from_id(&mut self) {
        let is_gemini = GEMINI.contains(&self.dialect);
        let mut notes = Vec::new();
        for (i, message) in self.request.messages.iter_mut().enumerate() {
            for (j, call) in message.tool_calls.iter_mut().flatten().enumerate() {
                let Some((id, Some(signature))) = call.id.as_deref().map(split_id) else { continue };
                let (id, signature) = (id.to_owned(), signature.to_owned());
                call.id = Some(id);
                let path = format!("messages[{i}].tool_calls[{j}].id");
                if is_gemini && !is_signed(call) {
                    let google = call.extra_content.get_or_insert_default().google.get_or_insert_default();
                    google.thought_signature = Some(signature);
                    notes.push((path, "the thought signature in it went to `extra_content.google`"));
                } else {
                    notes.push((path, "the thought signature in it was taken out"));
                }
            }
            if let Some((id, Some(_))) = message.tool_call_id.as_deref().map(split_id) {
                message.tool_call_id = Some(id.to_owned());
                notes.push((
                    format!("messages[{i}].tool_call_id"),
                    "the thought signature in it was taken out",
                ));
            }
        }
        self.notes(notes);
    }

    fn vertex_extra_content(&mut self) {
        self.every_extra_content(
            |extra_content| {
                let Some(vertex) = extra_content.as_mut().and_then(|it| it.extra.get("vertex")) else {
                    return false;
                };
                let Ok(vertex) = vertex.parse_as::<GoogleContent>() else { return false };
                let extra_content = extra_content.get_or_insert_default();
                extra_content.extra.remove("vertex");
                // What Google's own key says counts.
                let google = extra_content.google.get_or_insert_default();
                google.thought = google.thought.or(vertex.thought);
                google.thought_signature = google.thought_signature.take().or(vertex.thought_signature);
                google.parts = google.parts.take().or(vertex.parts);
                google.mime_type = google.mime_type.take().or(vertex.mime_type);
                let mut all = vertex.extra;
                all.merge(std::mem::take(&mut google.extra));
                google.extra = all;
                true
            },
            "`vertex` became `google`",
        );
    }

    fn strip_extra_content(&mut self) {
        self.every_extra_content(
            |extra_content| extra_content.take().is_some(),
            "left out: it is for Google only",
        );
    }

    /// Does something to the `extra_content` of every message, part, call and sound, and notes where it did.
    fn every_extra_content(&mut self, change: impl Fn(&mut Option<ExtraContent>) -> bool, reason: &str) {
        let mut changed = Vec::new();
        for (i, message) in self.request.messages.iter_mut().enumerate() {
            let mut places = vec![(String::new(), &mut message.extra_content)];
            if let Some(audio) = &mut message.audio {
                places.push((".audio".to_owned(), &mut audio.extra_content));
            }
            let calls = message.tool_calls.iter_mut().flatten().enumerate();
            places.extend(calls.map(|(j, call)| (format!(".tool_calls[{j}]"), &mut call.extra_content)));
            if let Nullable::Value(Content::Parts(parts)) = &mut message.content {
                let parts = parts.iter_mut().enumerate();
                places.extend(parts.map(|(j, part)| (format!(".content[{j}]"), &mut part.extra_content)));
            }
            for (path, place) in places {
                if change(place) {
                    changed.push(format!("messages[{i}]{path}.extra_content"));
                }
            }
        }
        for path in changed {
            self.note(path, reason);
        }
    }

    /// Gemini 3 wants the signature of the first call of every step of the current turn; Gemini 2 wants none.
    fn signature_escape(&mut self) {
        if generation_2(self.request.model.as_deref()) {
            return;
        }
        let messages = &mut self.request.messages;
        let turn = messages.iter().rposition(|it| it.role == Role::User).map_or(0, |at| at + 1);
        let mut paths = Vec::new();
        for (i, message) in messages.iter_mut().enumerate().skip(turn) {
            let of_message = message.extra_content.as_ref().and_then(|it| it.google.as_ref());
            let signed =
                of_message.and_then(|it| it.thought_signature.as_ref()).is_some_and(|it| !it.is_empty());
            let Some(calls) = message.tool_calls.as_mut().filter(|it| !it.is_empty()) else { continue };
            if signed || calls.iter().any(is_signed) {
                continue;
            }
            let google = calls[0].extra_content.get_or_insert_default().google.get_or_insert_default();
            google.thought_signature = Some(SIGNATURE_ESCAPE.to_owned());
            paths.push(format!("messages[{i}].tool_calls[0].extra_content.google.thought_signature"));
        }
        for path in paths {
            self.note(path, "it was lost, and Google's value for that stands in its place");
        }
    }

    fn tool_result_order(&mut self) {
        let is_model = |it: &Message| matches!(it.role, Role::Assistant | Role::Model);
        let mut start = 0;
        while start < self.request.messages.len() {
            let messages = &mut self.request.messages;
            // The model's words, in one message or several, and what follows up to its next.
            let ids: HashMap<String, usize> = {
                let words = messages[start..].iter().take_while(|it| is_model(it));
                words.flat_map(call_ids).enumerate().map(|(place, id)| (id, place)).collect()
            };
            let after =
                messages[start..].iter().position(|it| !is_model(it)).map_or(messages.len(), |it| start + it);
            let end = messages[after..].iter().position(is_model).map_or(messages.len(), |it| after + it);
            start = end;
            if ids.is_empty() {
                continue;
            }
            let rank = |message: &Message| {
                let id = message.tool_call_id.as_deref().filter(|_| message.role == Role::Tool);
                id.and_then(|id| ids.get(id).copied()).unwrap_or(usize::MAX)
            };
            if !messages[after..end].is_sorted_by_key(rank) {
                messages[after..end].sort_by_key(rank);
                self.note(format!("messages[{after}]"), "tool results were put in the order of their calls");
            }
        }
    }

    fn image_needs_text(&mut self) {
        for i in 0..self.request.messages.len() {
            let message = &mut self.request.messages[i];
            let Nullable::Value(Content::Parts(parts)) = &mut message.content else { continue };
            if message.role == Role::User
                && parts.iter().any(|it| it.image_url.is_some())
                && parts.iter().all(|it| it.text.is_none())
            {
                parts.push(ContentPart::text(gemini::FILLER));
                self.note(format!("messages[{i}].content"), "a text of one space was added to the pictures");
            }
        }
    }

    fn gemini_schema(&mut self) {
        let tools = self.request.tools.take();
        let mut tools = tools;
        for (i, tool) in tools.iter_mut().flatten().enumerate() {
            if let Some(function) = &mut tool.function {
                self.parameters(&mut function.parameters, &format!("tools[{i}].function.parameters"));
            }
        }
        self.request.tools = tools;
        let mut functions = self.request.functions.take();
        for (i, function) in functions.iter_mut().flatten().enumerate() {
            self.parameters(&mut function.parameters, &format!("functions[{i}].parameters"));
        }
        self.request.functions = functions;
        let mut format = self.request.response_format.take();
        let says_nothing = |schema: &JsonSchemaFormat| schema.schema.as_ref().is_some_and(says_nothing);
        if format.as_ref().and_then(|it| it.json_schema.as_ref()).is_some_and(says_nothing) {
            format = Some(ResponseFormat::json_object());
            self.note("response_format", "it became `json_object`: the schema says nothing");
        }
        if let Some(schema) = format.as_mut().and_then(|it| it.json_schema.as_mut()) {
            self.schema(&mut schema.schema, "response_format.json_schema.schema");
        }
        self.request.response_format = format;
    }

    fn parameters(&mut self, parameters: &mut Option<Json>, path: &str) {
        if parameters.as_ref().is_some_and(says_nothing) {
            *parameters = None;
            self.note(path, "left out: the schema says nothing");
            return;
        }
        self.schema(parameters, path);
        let Some(schema) = parameters.as_ref().and_then(|it| Extra::from_json(it).ok()) else { return };
        let kind = schema.get("type").and_then(Json::to_text);
        let is_object = kind.is_none_or(|it| it.eq_ignore_ascii_case("object"));
        if !is_object {
            *parameters = None;
            let reason =
                "left out: the parameters of a function are an object, and this schema is of something else";
            self.note(path, reason);
            return;
        }
        let nothing = |it: Option<&Json>| {
            it.is_none_or(|it| Extra::from_json(it).is_ok_and(|properties| properties.is_empty()))
        };
        let is_empty = nothing(schema.get("properties"))
            && ["anyOf", "items", "enum"].iter().all(|key| schema.get(key).is_none())
            && schema.get("additionalProperties").is_none_or(|it| !it.as_str().starts_with('{'));
        if is_empty {
            *parameters = None;
            self.note(path, "left out: an object without properties is refused");
        }
    }

    fn schema(&mut self, schema: &mut Option<Json>, path: &str) {
        let Some(whole) = schema.as_ref() else { return };
        let within = |inner: &str| if inner.is_empty() { path.to_owned() } else { format!("{path}.{inner}") };
        if self.steps.is_over() {
            return;
        }
        match reduce_in(whole, self.dialect, &mut self.steps.share()) {
            Ok(None) => {}
            Ok(Some((reduced, changes))) => {
                *schema = Some(reduced);
                if changes.is_empty() {
                    self.note(path, "the schema is written in Gemini's words");
                }
                for change in changes {
                    let narrows = if change.narrows { "; this lets less through than before" } else { "" };
                    self.note(within(&change.path), format!("{}{narrows}", change.what));
                }
            }
            Err(_) if self.steps.is_over() => self.problems.push(Problem {
                path: path.to_owned(),
                message: format!(
                    "the schemas up to this one take more than {PREPARE_STEPS_MAX} steps to reduce, which is the limit for one \
                     request (PREPARE_STEPS_MAX)"
                ),
                remedy: "send fewer or smaller schemas".to_owned(),
                source: "",
                is_unsupported: false,
            }),
            // One odd tool does not cost the others.
            Err(error @ (SchemaError::TooLarge | SchemaError::TooManySteps)) => {
                let open = r#"{"type":"object"}"#;
                *schema = Some(open.parse().expect("because it is JSON"));
                self.note(path, format!("it became an open object: {error}"));
            }
            Err(error) => {
                let remedy = "write a schema that is an object, or switch the rule `gemini-schema` off";
                self.refuse(path, error.to_string(), remedy);
            }
        }
    }

    fn stop_to_list(&mut self) {
        if let Some(Stop::One(one)) = &mut self.request.stop {
            let one = std::mem::take(one);
            self.request.stop = Some(Stop::Many(vec![one]));
            self.note("stop", "one sequence became a list of one");
        }
    }

    fn tgi_response_format(&mut self) {
        let Some(format) = &mut self.request.response_format else { return };
        if format.extra.get("value").is_some() {
            return;
        }
        let any_object = || r#"{"type":"object"}"#.parse::<Json>().expect("because it is JSON");
        let value = match (&format.r#type, format.json_schema.take()) {
            (Some(ResponseFormatType::Text), _) => {
                self.request.response_format = None;
                self.note("response_format", "left out: text is what there is without it");
                return;
            }
            (_, Some(mut schema)) => {
                schema.schema.get_or_insert_with(any_object);
                // TGI keeps to the schema in any case.
                schema.strict = None;
                format.r#type = Some(ResponseFormatType::JsonSchema);
                Json::from_serialize(&schema).expect("because a schema is JSON")
            }
            _ if format.is_json() => {
                format.r#type = Some(ResponseFormatType::JsonObject);
                any_object()
            }
            _ => return,
        };
        format.extra.insert("value", value);
        self.note("response_format", "the schema went to `value`");
    }

    fn tgi_logit_bias(&mut self) {
        if self.request.logit_bias.take().is_some() {
            self.note("logit_bias", "left out: TGI refuses the map and has no use for it");
        }
    }

    fn tgi_tool_parameters(&mut self) {
        let mut paths = Vec::new();
        for (i, tool) in self.request.tools.iter_mut().flatten().enumerate() {
            let Some(function) = &mut tool.function else { continue };
            if function.parameters.is_none() && function.extra.get("arguments").is_none() {
                let none = r#"{"type":"object","properties":{}}"#;
                function.parameters = Some(none.parse().expect("because it is JSON"));
                paths.push(format!("tools[{i}].function.parameters"));
            }
        }
        for path in paths {
            self.note(path, "an empty object was added");
        }
    }

    fn content_with_tool_calls(&mut self) {
        for i in 0..self.request.messages.len() {
            let message = &mut self.request.messages[i];
            let has_calls = message.tool_calls.as_ref().is_some_and(|it| !it.is_empty());
            if has_calls && !message.content.is_absent() {
                message.content = Nullable::Absent;
                self.note(format!("messages[{i}].content"), "left out beside the tool calls");
            }
        }
    }

    fn image_url_object(&mut self) {
        let mut paths = Vec::new();
        for (i, message) in self.request.messages.iter_mut().enumerate() {
            let Nullable::Value(Content::Parts(parts)) = &mut message.content else { continue };
            for (j, part) in parts.iter_mut().enumerate() {
                if let Some(ImageUrl::Bare(url)) = &mut part.image_url {
                    // The URL may be a picture of megabytes: it is moved, not copied.
                    let object = ContentPart::image_url(std::mem::take(url));
                    part.image_url = object.image_url;
                    part.r#type.get_or_insert(PartType::ImageUrl);
                    paths.push(format!("messages[{i}].content[{j}].image_url"));
                }
            }
        }
        for path in paths {
            self.note(path, "the address became an object with `url`");
        }
    }

    fn drop_nulls(&mut self) {
        let nulls = self.request.extra.iter().filter(|(_, value)| value.is_null());
        let nulls: Vec<String> = nulls.map(|(key, _)| key.to_owned()).collect();
        self.request.extra.retain(|_, value| !value.is_null());
        for key in nulls {
            self.note(key, "left out: it is null");
        }
    }
}

/// Whether a model is Gemini 2 or older, by its name on any of Google's endpoints.
fn generation_2(model: Option<&str>) -> bool {
    let model = model.map(|it| it.strip_prefix("models/").unwrap_or(it));
    Dialect::of_vertex_model(model) == VertexGemini2
}

/// Whether a schema lets every value through. Only these words say something about a value; any other says something about the
/// schema.
fn says_nothing(schema: &Json) -> bool {
    const WORDS: [&str; 28] = [
        "$ref",
        "$dynamicRef",
        "additionalItems",
        "const",
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "if",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "pattern",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "uniqueItems",
    ];
    let Ok(fields) = Extra::from_json(schema) else { return schema.as_str() == "true" };
    let is_empty = |it: &Json| {
        matches!(it.as_str().split_whitespace().collect::<String>().as_str(), "[]" | "{}" | "null")
    };
    fields.iter().all(|(key, value)| match key {
        "anyOf" | "oneOf" | "allOf" | "required" | "properties" => is_empty(value),
        "type" => matches!(value.as_str(), "null" | "\"null\""),
        "additionalProperties" => value.as_str() == "true",
        key => !WORDS.contains(&key),
    })
}

fn is_signed(call: &ToolCall) -> bool {
    call.thought_signature().is_some_and(|it| !it.is_empty())
}

/// The ids of a message's calls.
fn call_ids(message: &Message) -> Vec<String> {
    message.tool_calls.iter().flatten().filter_map(|call: &ToolCall| call.id.clone()).collect()
}

/// Google's options from two places, and the paths of what was lost: where both say something, the first counts.
fn together(first: GoogleOptions, second: &GoogleOptions) -> (GoogleOptions, Vec<String>) {
    let mut lost = Vec::new();
    let all = together_fields(first.to_fields(), &second.to_fields(), "", &mut lost);
    (GoogleOptions::from_json(all.to_json()).unwrap_or(first), lost)
}

/// The fields of two objects. Objects in them, such as `thinking_config`, are put together too.
fn together_fields(first: Extra, second: &Extra, path: &str, lost: &mut Vec<String>) -> Extra {
    let own: HashMap<&str, &Json> = first.iter().collect();
    let mut more: HashMap<&str, Json> = HashMap::new();
    let mut order = Vec::new();
    for (key, value) in second.iter() {
        let known = more.get(key).or_else(|| own.get(key).copied());
        let new = match known {
            None => value.clone(),
            Some(known) if known == value => continue,
            Some(known) => match (Extra::from_json(known), Extra::from_json(value)) {
                (Ok(inner), Ok(other)) if path.is_empty() => {
                    let both = together_fields(inner, &other, &format!("{key}."), lost);
                    Json::from(&both)
                }
                _ => {
                    lost.push(format!("{path}{key}"));
                    continue;
                }
            },
        };
        if more.insert(key, new).is_none() {
            order.push(key);
        }
    }
    let more = order.into_iter().filter_map(|key| more.remove_entry(key));
    let more: Extra = more.map(|(key, value)| (key.to_owned(), value)).collect();
    let mut all = first;
    all.merge(more);
    all
}
