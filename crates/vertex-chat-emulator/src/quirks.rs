//! Habits of real servers that a client has to bear, each by a word.

use std::fmt;

use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use vertex_chat_transport::Response;
use vertex_chat_types::{ChatRequest, Extra, Json, Role, ToolChoice};

use crate::answer::{Answer, THOUGHT, signature};
use crate::refusals::NO_TEXT;
use crate::reply::{GoogleError, raw_reply};
use crate::shape::{Backend, cumulative};
use crate::{DEDICATED_DOMAIN, LOCATION, PROJECT_NUMBER};

/// What parts the words in a model's name: `google/gemini-2.5-flash+no-done+comments`.
const SEPARATOR: char = '+';

/// Writes the enum and its table, so that no quirk is without a word.
macro_rules! quirks {
    ($($Name:ident $word:literal $origin:literal $sentence:literal)*) => {
        /// One habit of a server that a client has to bear.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Quirk {
            $(#[doc = $sentence] $Name,)*
        }

        impl Quirk {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$Name),*];

            /// The word for it: in a model's name after `+`, and for the control API.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$Name => $word),* }
            }

            /// What the server then does.
            #[must_use]
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$Name => $sentence),* }
            }

            /// Why it is here: `pain N` is row N of the project's list of what hurts, `seen` was seen of real servers, and of
            /// `unknown` nobody knows whether the service does it.
            #[must_use]
            pub fn origin(self) -> &'static str {
                match self { $(Self::$Name => $origin),* }
            }
        }
    };
}

quirks! {
    ToolIndexMissing "tool-index-missing" "pain 16" "Streamed tool calls have no `index`."
    ToolIndexZero "tool-index-zero" "pain 16" "All tool calls of a stream have the index 0."
    FinishStopWithCalls "finish-stop-with-calls" "pain 17" "The finish reason is `stop` although tools are called."
    FinishReasonCamel "finish-reason-camel" "pain 28" "The key is `finishReason`."
    FinishFiltered "finish-filtered" "pain 29" "The finish reason is `content_filter: PROHIBITED_CONTENT`."
    FinishCallFiltered "finish-call-filtered" "pain 13" "The finish reason is `function_call_filter: UNEXPECTED_TOOL_CALL`."
    FinishEarly "finish-early" "pain 30" "Every chunk of a stream has the finish reason `stop`."
    ArgumentsMissing "arguments-missing" "pain 31" "The arguments of calls are empty texts."
    TruncatedStream "truncated-stream" "pain 18" "A stream ends without a finish reason and without `[DONE]`."
    BareErrorInStream "bare-error-in-stream" "seen" "A stream ends in an error, 499 CANCELLED, that is in no `data:` line."
    DataErrorInStream "data-error-in-stream" "pain 18" "A stream ends in an error in a `data:` line."
    MalformedFunctionCall "malformed-function-call" "pain 13" "The finish reason is `malformed_function_call`, and there is no message."
    EmptyReply "empty-reply" "pain 14" "The message has a role only, and the finish reason is `length`."
    BlockedPrompt "blocked-prompt" "seen" "A filter took the prompt: the message is null, or a stream's delta has a refusal."
    EmptyFirstChunk "empty-first-chunk" "pain 15" "The first chunk has no choices, and an empty usage."
    UsageMissing "usage-missing" "pain 20" "Nothing is said about usage."
    UsageUndercounted "usage-undercounted" "pain 20" "Usage has no details: thinking shows in the total only."
    ReasoningContent "reasoning-content" "seen" "Thoughts come as `reasoning_content`."
    RawNewlineArguments "raw-newline-arguments" "seen" "Arguments have a raw newline in a string, so they are no JSON."
    CallIdsRepeat "call-ids-repeat" "pain 26" "The ids of tool calls start at `call_0` in every round."
    SchemaKeywordsRefused "schema-keywords-refused" "pain 10" "Keywords of JSON Schema that OpenAPI has not are refused."
    EmptyParametersRefused "empty-parameters-refused" "pain 11" "Parameters of type object without properties are refused."
    TextBesideImageWanted "text-beside-image-wanted" "pain 21" "An image without text beside it is refused."
    FinalAssistantRefused "final-assistant-refused" "seen" "A conversation that ends with the assistant is refused."
    RegionLocked "region-locked" "pain 27" "The model is not found at this location."
    DedicatedEndpoint "dedicated-endpoint" "pain 24" "The endpoint wants to be asked at its own host, which the error names."
    Exhausted "exhausted" "pain 25" "429 without a word on when to come back."
    ExhaustedRetryInfo "exhausted-retry-info" "seen" "429 whose body says to come back after 37 seconds."
    ExhaustedRetryAfter "exhausted-retry-after" "unknown" "429 with `Retry-After: 1`."
    Crlf "crlf" "seen" "The lines of a stream end in CR and LF."
    Comments "comments" "seen" "There are comments between the events of a stream."
    NoDone "no-done" "pain 18" "A stream is complete but for `[DONE]`."
    UsageOnEveryChunk "usage-on-every-chunk" "seen" "Every chunk of a stream has the usage so far."
    SignatureLast "signature-last" "seen" "The last delta has a thought signature and nothing else."
    HtmlError "html-error" "seen" "502 with a page for people."
    ToolChoiceObjectRefused "tool-choice-object-refused" "unknown" "`tool_choice` may be a word only."
    FunctionsAsToolCalls "functions-as-tool-calls" "unknown" "Calls of the deprecated `functions` come as `tool_calls`."
    DeveloperRefused "developer-refused" "unknown" "The role `developer` is refused."
    IncludeUsageHonoured "include-usage-honoured" "unknown" "`include_usage: false` takes the usage out of a stream."
    WrongTypeRefused "wrong-type-refused" "unknown" "A parameter that is ignored is refused when its type is wrong."
    NWithStreamRefused "n-with-stream-refused" "unknown" "Several choices in a stream are refused."
    CachedTokens "cached-tokens" "unknown" "Usage tells how much of the prompt was cached."
    TextPlainStream "text-plain-stream" "unknown" "The content type of a stream is `text/plain`."
}

impl Quirk {
    /// The quirk of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|quirk| quirk.word() == word)
    }

    /// The quirk of this word, or what there is to choose from.
    pub(crate) fn read(word: &str) -> Result<Self, String> {
        Self::of(word).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|quirk| quirk.word()).collect();
            format!("`{word}` is no quirk of the emulator; it has {}", words.join(", "))
        })
    }

    fn bit(self) -> u64 {
        1 << self as u32
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Which quirks are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quirks(u64);

impl Quirks {
    pub(crate) fn has(self, quirk: Quirk) -> bool {
        self.0 & quirk.bit() != 0
    }

    pub(crate) fn without(self, quirk: Quirk) -> Self {
        Self(self.0 & !quirk.bit())
    }

    fn and(self, quirk: Quirk) -> Self {
        Self(self.0 | quirk.bit())
    }

    /// The table, and which are on, for the control API.
    pub(crate) fn table(self) -> Value {
        let row = |quirk: &Quirk| {
            json!({
                "word": quirk.word(),
                "sentence": quirk.sentence(),
                "origin": quirk.origin(),
                "on": self.has(*quirk),
            })
        };
        Quirk::ALL.iter().map(row).collect()
    }
}

impl FromIterator<Quirk> for Quirks {
    fn from_iter<I: IntoIterator<Item = Quirk>>(quirks: I) -> Self {
        quirks.into_iter().fold(Self::default(), Self::and)
    }
}

/// A request's body, once the words behind its model's name are cut off.
pub(crate) struct Asked {
    pub(crate) body: Vec<u8>,
    /// The model as the client named it, words and all: so it comes back.
    pub(crate) named: Option<String>,
    pub(crate) quirks: Quirks,
}

impl Asked {
    /// Reads the words of this body, for a server whose quirks of every request are `always`.
    pub(crate) fn read(body: &[u8], always: Quirks) -> Result<Self, String> {
        let mut asked = Self { body: body.to_vec(), named: None, quirks: always };
        // What is no object, or has no such name, is for the service to refuse.
        let Ok(mut fields) = Extra::from_json(body) else { return Ok(asked) };
        asked.named = fields.get("model").and_then(Json::to_text);
        let Some((model, words)) = asked.named.as_deref().and_then(|it| it.split_once(SEPARATOR)) else {
            return Ok(asked);
        };
        for word in words.split(SEPARATOR) {
            asked.quirks = asked.quirks.and(Quirk::read(word)?);
        }
        fields.insert("model", model);
        asked.body = fields.to_json().into_bytes();
        Ok(asked)
    }
}

/// Why a server with these quirks does not answer a request that is otherwise good.
pub(crate) fn refusal(quirks: Quirks, request: &ChatRequest, backend: Backend) -> Option<Response> {
    let invalid = |param: &str, message: String| Some(backend.error(&GoogleError::invalid(message), param));
    if quirks.has(Quirk::HtmlError) {
        let page = "<!DOCTYPE html>\n<html lang=en>\n<title>Error 502 (Server Error)!!1</title>\n<p><b>502.</b> <ins>That’s an error.</ins>\n<p>The server encountered a temporary error and could not complete your request. <p>Please try again in 30 seconds.\n";
        return Some(raw_reply(StatusCode::BAD_GATEWAY, "text/html; charset=UTF-8", page));
    }
    if let Some(response) = exhausted(quirks, backend) {
        return Some(response);
    }
    if quirks.has(Quirk::RegionLocked) {
        let model = request.model.as_deref().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let message = format!(
            "Publisher Model `projects/{PROJECT_NUMBER}/locations/{LOCATION}/publishers/google/models/{model}` was not \
             found or your project does not have access to it. The model may be served at other locations only, such as \
             `global`."
        );
        return Some(backend.error(&GoogleError::new(404, "NOT_FOUND", message), "model"));
    }
    if quirks.has(Quirk::DedicatedEndpoint) {
        let message = format!(
            "Dedicated Endpoint cannot be accessed through the shared Vertex AI domain aiplatform.googleapis.com. Please \
             access the endpoint using its dedicated domain name \
             '1234567890123456789.{LOCATION}-{PROJECT_NUMBER}{DEDICATED_DOMAIN}'"
        );
        // Vertex refuses it, before any container.
        return Some(GoogleError::new(400, "FAILED_PRECONDITION", message).array_reply());
    }
    if quirks.has(Quirk::NWithStreamRefused) && request.is_stream() && request.n.is_some_and(|n| n > 1) {
        return invalid("n", "Multiple candidates are not supported in a stream.".to_owned());
    }
    if quirks.has(Quirk::ToolChoiceObjectRefused) && matches!(request.tool_choice, Some(ToolChoice::Named(_)))
    {
        return invalid("tool_choice", "Invalid value at 'tool_choice': expected a string".to_owned());
    }
    if quirks.has(Quirk::FinalAssistantRefused)
        && request.messages.last().is_some_and(|it| matches!(it.role, Role::Assistant | Role::Model))
    {
        let message =
            "Please ensure that multiturn requests end with a user turn or a function response turn.";
        return invalid("messages", message.to_owned());
    }
    for (i, message) in request.messages.iter().enumerate() {
        let parts = message.content.get().map(vertex_chat_types::Content::parts).unwrap_or_default();
        if quirks.has(Quirk::DeveloperRefused) && message.role == Role::Developer {
            let place = format!("messages[{i}].role");
            return invalid(&place, format!("Invalid value at '{place}': \"developer\""));
        }
        let has_text = parts.iter().any(|part| part.text.as_ref().is_some_and(|it| !it.is_empty()));
        if quirks.has(Quirk::TextBesideImageWanted)
            && parts.iter().any(|it| it.image_url.is_some())
            && !has_text
        {
            return invalid(&format!("messages[{i}].content"), NO_TEXT.to_owned());
        }
    }
    schema_refusal(quirks, request).and_then(|(place, message)| invalid(&place, message))
}

fn exhausted(quirks: Quirks, backend: Backend) -> Option<Response> {
    let mut error = GoogleError::exhausted();
    if quirks.has(Quirk::ExhaustedRetryInfo) {
        error = error
            .with_detail(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}));
    } else if !quirks.has(Quirk::Exhausted) && !quirks.has(Quirk::ExhaustedRetryAfter) {
        return None;
    }
    let mut response = backend.error(&error, "");
    if quirks.has(Quirk::ExhaustedRetryAfter) {
        response.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    }
    Some(response)
}

/// The first schema of a request that is refused: where, and why.
fn schema_refusal(quirks: Quirks, request: &ChatRequest) -> Option<(String, String)> {
    let of_format = request.response_format.as_ref().and_then(|it| it.json_schema.as_ref()?.schema.as_ref());
    let of_format = of_format.map(|it| ("response_format.json_schema.schema".to_owned(), it, false));
    let tools = request.tools.iter().flatten().enumerate().filter_map(|(i, tool)| {
        let parameters = tool.function.as_ref()?.parameters.as_ref()?;
        Some((format!("tools[{i}].function.parameters"), parameters, true))
    });
    for (place, schema, is_tool) in tools.chain(of_format) {
        // What is too deep to be read is not looked at.
        let Ok(schema) = serde_json::from_str::<Value>(schema.as_str()) else { continue };
        let keyword = refused_keyword(&schema);
        if let Some(keyword) = keyword.filter(|_| quirks.has(Quirk::SchemaKeywordsRefused)) {
            let message = format!(
                "Invalid JSON payload received. Unknown name \"{keyword}\" at '{place}': Cannot find field."
            );
            return Some((place, message));
        }
        let has_properties = schema["properties"].as_object().is_some_and(|it| !it.is_empty());
        if quirks.has(Quirk::EmptyParametersRefused) && is_tool && !has_properties {
            let message = format!("{place}.properties: should be non-empty for OBJECT type");
            return Some((place, message));
        }
    }
    None
}

/// The first keyword in a schema that some of Google's services do not know.
fn refused_keyword(schema: &Value) -> Option<&'static str> {
    const REFUSED: [&str; 7] =
        ["const", "propertyNames", "examples", "title", "default", "$ref", "additionalProperties"];
    match schema {
        Value::Array(items) => items.iter().find_map(refused_keyword),
        Value::Object(fields) => {
            let own = REFUSED.iter().find(|keyword| fields.contains_key(**keyword)).copied();
            let below = || {
                fields.iter().find_map(|(key, value)| match (key.as_str(), value) {
                    // The keys below these are names, not keywords.
                    ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                        named.values().find_map(refused_keyword)
                    }
                    ("enum", _) => None,
                    _ => refused_keyword(value),
                })
            };
            own.or_else(below)
        }
        _ => None,
    }
}

/// What quirks make of an answer before it is written.
pub(crate) fn bend_answer(quirks: Quirks, answer: &mut Answer) {
    for (position, call) in answer.calls.iter_mut().enumerate() {
        if quirks.has(Quirk::CallIdsRepeat) {
            call.id = format!("call_{position}");
            call.signature = call.signature.take().map(|_| signature(&call.id));
        }
        if quirks.has(Quirk::FunctionsAsToolCalls) && call.is_function {
            call.is_function = false;
            answer.finish_reason = "tool_calls";
        }
        if quirks.has(Quirk::ArgumentsMissing) {
            call.arguments = String::new();
        }
        if quirks.has(Quirk::RawNewlineArguments) {
            call.arguments = match call.arguments.split_once(":\"") {
                Some((before, after)) => format!("{before}:\"\n{after}"),
                None => "{\"note\":\"one\ntwo\"}".to_owned(),
            };
        }
    }
    let finish = [
        (Quirk::MalformedFunctionCall, "malformed_function_call"),
        (Quirk::EmptyReply, "length"),
        (Quirk::BlockedPrompt, "content_filter"),
    ];
    if let Some((_, reason)) = finish.iter().find(|(quirk, _)| quirks.has(*quirk)) {
        *answer =
            Answer { finish_reason: reason, reasoning_tokens: answer.reasoning_tokens, ..Answer::default() };
    }
}

/// What quirks make of the usage.
fn bend_usage(quirks: Quirks, usage: &mut Value) {
    let number = |usage: &Value, key: &str| usage[key].as_u64().unwrap_or(0);
    if quirks.has(Quirk::UsageUndercounted) {
        let details = usage.as_object_mut().and_then(|it| it.remove("completion_tokens_details"));
        let reasoning = details.and_then(|it| it["reasoning_tokens"].as_u64()).unwrap_or(0);
        let (prompt, completion) = (number(usage, "prompt_tokens"), number(usage, "completion_tokens"));
        // Where thinking is counted inside the completion, it is taken out of it.
        if prompt + completion == number(usage, "total_tokens") {
            usage["completion_tokens"] = json!(completion.saturating_sub(reasoning));
        }
    }
    if quirks.has(Quirk::EmptyReply)
        && let Some(usage) = usage.as_object_mut()
    {
        usage.remove("completion_tokens");
    }
    if quirks.has(Quirk::CachedTokens) {
        usage["prompt_tokens_details"]["cached_tokens"] = json!(number(usage, "prompt_tokens").div_ceil(2));
    }
}

/// What quirks make of a whole answer.
pub(crate) fn bend_whole(quirks: Quirks, whole: &mut Value) {
    let Some(fields) = whole.as_object_mut() else { return };
    if quirks.has(Quirk::UsageMissing) {
        fields.remove("usage");
    } else if let Some(usage) = fields.get_mut("usage") {
        bend_usage(quirks, usage);
    }
    for choice in choices(whole) {
        let has_calls = choice["message"].get("tool_calls").is_some();
        if quirks.has(Quirk::MalformedFunctionCall) {
            choice.as_object_mut().map(|it| it.remove("message"));
        } else if quirks.has(Quirk::EmptyReply) {
            choice["message"] = json!({"role": "assistant"});
        } else if quirks.has(Quirk::BlockedPrompt) {
            choice["message"] = Value::Null;
        } else {
            if quirks.has(Quirk::ReasoningContent) {
                choice["message"]["reasoning_content"] = json!(THOUGHT);
            }
            if quirks.has(Quirk::SignatureLast) && !has_calls {
                choice["message"]["extra_content"] = last_signature();
            }
        }
        bend_finish(quirks, choice, has_calls);
    }
}

fn choices(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten()
}

fn last_signature() -> Value {
    json!({"google": {"thought_signature": signature("the text")}})
}

fn bend_finish(quirks: Quirks, choice: &mut Value, has_calls: bool) {
    let Some(fields) = choice.as_object_mut() else { return };
    if quirks.has(Quirk::FinishStopWithCalls)
        && (has_calls || fields.get("finish_reason").is_some_and(|it| it == "tool_calls"))
    {
        fields.insert("finish_reason".to_owned(), json!("stop"));
    }
    let filtered = [
        (Quirk::FinishFiltered, "content_filter: PROHIBITED_CONTENT"),
        (Quirk::FinishCallFiltered, "function_call_filter: UNEXPECTED_TOOL_CALL"),
    ];
    for (_, word) in filtered.iter().filter(|(quirk, _)| quirks.has(*quirk)) {
        if fields.get("finish_reason").is_some_and(Value::is_string) {
            fields.insert("finish_reason".to_owned(), json!(word));
        }
    }
    if quirks.has(Quirk::FinishEarly) && fields.contains_key("delta") {
        fields.insert("finish_reason".to_owned(), json!("stop"));
    }
    if quirks.has(Quirk::FinishReasonCamel)
        && let Some(reason) = fields.remove("finish_reason")
    {
        fields.insert("finishReason".to_owned(), reason);
    }
}

/// What quirks make of the chunks of a stream whose usage is, in the end, `usage`.
pub(crate) fn bend_chunks(quirks: Quirks, chunks: &mut Vec<Value>, request: &ChatRequest, usage: &Value) {
    let is_last = |chunk: &Value| chunk["choices"][0]["finish_reason"].is_string();
    if quirks.has(Quirk::SignatureLast)
        && let Some(at) = chunks.iter().position(is_last)
    {
        sign_last(chunks, at);
    }
    if quirks.has(Quirk::UsageOnEveryChunk) {
        let count = chunks.len();
        for (i, chunk) in chunks.iter_mut().enumerate() {
            chunk["usage"] = cumulative(usage, i + 1, count);
        }
    }
    let asked_for_none = request.stream_options.as_ref().is_some_and(|it| it.include_usage == Some(false));
    if quirks.has(Quirk::UsageMissing) || (quirks.has(Quirk::IncludeUsageHonoured) && asked_for_none) {
        chunks.retain(|chunk| chunk["choices"].as_array().is_none_or(|it| !it.is_empty()));
        chunks.iter_mut().filter_map(Value::as_object_mut).for_each(|it| drop(it.remove("usage")));
    }
    let mut begun: Vec<Value> = Vec::new();
    for chunk in chunks.iter_mut() {
        if let Some(usage) = chunk.get_mut("usage").filter(|it| it.is_object()) {
            bend_usage(quirks, usage);
        }
        for choice in choices(chunk) {
            let is_first = !begun.contains(&choice["index"]);
            if is_first {
                begun.push(choice["index"].clone());
            }
            bend_delta(quirks, choice, is_first);
            bend_finish(quirks, choice, false);
        }
    }
    if quirks.has(Quirk::EmptyFirstChunk)
        && let Some(mut first) = chunks.first().cloned()
    {
        first["choices"] = json!([]);
        first["usage"] = json!({});
        chunks.insert(0, first);
    }
}

/// Parts the end of a stream from its last text: what ends it has a signature and nothing else.
fn sign_last(chunks: &mut Vec<Value>, at: usize) {
    let mut last = chunks[at].clone();
    let before = &mut chunks[at];
    let role = before["choices"][0]["delta"].get("role").cloned();
    let is_bare = before["choices"][0]["delta"].as_object().is_none_or(|it| it.keys().all(|it| it == "role"));
    last["choices"][0]["delta"] = json!({"extra_content": last_signature()});
    if let Some(role) = role {
        last["choices"][0]["delta"]["role"] = role;
    }
    if is_bare {
        *before = last;
        return;
    }
    before["choices"][0].as_object_mut().map(|it| it.remove("finish_reason"));
    before.as_object_mut().map(|it| it.remove("usage"));
    chunks.insert(at + 1, last);
}

fn bend_delta(quirks: Quirks, choice: &mut Value, is_first: bool) {
    let ends = choice["finish_reason"].is_string();
    if quirks.has(Quirk::MalformedFunctionCall) {
        choice.as_object_mut().map(|it| it.remove("delta"));
        return;
    }
    if quirks.has(Quirk::EmptyReply) {
        choice["delta"] = json!({"role": "assistant"});
        return;
    }
    if quirks.has(Quirk::BlockedPrompt) && ends {
        choice["delta"] = json!({
            "role": "assistant",
            "refusal": "The prompt could not be submitted. This prompt contains sensitive words that violate the policy.",
        });
        return;
    }
    if quirks.has(Quirk::ReasoningContent) && is_first {
        choice["delta"]["reasoning_content"] = json!(THOUGHT);
    }
    let calls = choice["delta"].get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        if quirks.has(Quirk::ToolIndexMissing) {
            call.as_object_mut().map(|it| it.remove("index"));
        } else if quirks.has(Quirk::ToolIndexZero) {
            call["index"] = json!(0);
        }
    }
}

/// The stream's text, event by event, as quirks have it. The first events are the chunks that are left; what comes behind
/// them is no chunk.
pub(crate) fn events(quirks: Quirks, chunks: &mut Vec<Value>) -> Vec<String> {
    let ends = |chunk: &Value| {
        let choices = chunk["choices"].as_array();
        let finishes = |it: &Value| it["finish_reason"].is_string() || it["finishReason"].is_string();
        choices.is_some_and(|it| it.iter().any(finishes))
    };
    let breaks_off = quirks.has(Quirk::BareErrorInStream) || quirks.has(Quirk::DataErrorInStream);
    if quirks.has(Quirk::TruncatedStream) || breaks_off {
        let end = chunks.iter().position(ends).unwrap_or(chunks.len());
        chunks.truncate(if breaks_off { end.div_ceil(2) } else { end }.max(1));
        // Where all is said in one chunk, it loses what says that it is the last.
        if let Some(only) = chunks.first_mut().filter(|_| end == 0) {
            only.as_object_mut().map(|it| it.remove("usage"));
            for choice in choices(only).filter_map(Value::as_object_mut) {
                choice.remove("finish_reason");
                choice.remove("finishReason");
            }
        }
    }
    let mut events: Vec<String> = chunks.iter().map(|chunk| event(&chunk.to_string())).collect();
    if quirks.has(Quirk::BareErrorInStream) {
        let error = json!({"code": 499, "message": "The operation was cancelled.", "status": "CANCELLED"});
        events.push(format!("{:#}\n", json!({"error": error})));
    } else if quirks.has(Quirk::DataErrorInStream) {
        let error =
            json!({"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"});
        events.push(event(&json!({"error": error}).to_string()));
    } else if !quirks.has(Quirk::TruncatedStream) && !quirks.has(Quirk::NoDone) {
        events.push(event("[DONE]"));
    }
    for event in &mut events {
        if quirks.has(Quirk::Comments) {
            event.insert_str(0, ": still here\n\n");
        }
        if quirks.has(Quirk::Crlf) {
            *event = event.replace('\n', "\r\n");
        }
    }
    events
}

fn event(data: &str) -> String {
    let mut event = Vec::new();
    vertex_chat_sse::encode(&mut event, data);
    String::from_utf8(event).expect("because an event of text is text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quirk_has_a_word_of_its_own_and_a_bit_of_its_own() {
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::of(quirk.word()), Some(*quirk));
            assert!(quirk.word().bytes().all(|it| it.is_ascii_lowercase() || it == b'-'), "{quirk}");
            assert!(quirk.sentence().ends_with('.') && !quirk.origin().is_empty(), "{quirk}");
        }
        assert!(Quirk::ALL.len() <= 64, "a set of quirks is one word");
        let all: Quirks = Quirk::ALL.iter().copied().collect();
        assert_eq!(all.0.count_ones() as usize, Quirk::ALL.len());
    }

    #[test]
    fn the_crate_s_page_has_every_quirk() {
        let page = include_str!("lib.rs");
        for quirk in Quirk::ALL {
            let row = format!("//! | `{quirk}` | {} | {} |\n", quirk.sentence(), quirk.origin());
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn words_are_cut_off_and_the_rest_of_the_body_stays() {
        let body = br#"{"model":"m+crlf+no-done","messages":[],"seed":1.50}"#;
        let asked = Asked::read(body, Quirks::default()).unwrap();
        assert_eq!(asked.body, br#"{"messages":[],"seed":1.50,"model":"m"}"#);
        assert_eq!(asked.named.as_deref(), Some("m+crlf+no-done"));
        assert_eq!(asked.quirks, [Quirk::Crlf, Quirk::NoDone].into_iter().collect());
        let unknown = Asked::read(br#"{"model":"m+x"}"#, Quirks::default()).err().unwrap();
        assert!(unknown.starts_with("`x` is no quirk") && unknown.contains("no-done"), "{unknown}");
        for untouched in ["[", "[]", r#"{"model":5}"#, "{}"] {
            assert_eq!(
                Asked::read(untouched.as_bytes(), Quirks::default()).unwrap().body,
                untouched.as_bytes()
            );
        }
    }

    #[test]
    fn a_property_may_be_called_like_a_keyword() {
        assert_eq!(refused_keyword(&json!({"properties": {"title": {"type": "string"}}})), None);
        assert_eq!(refused_keyword(&json!({"items": {"properties": {"a": {"const": 1}}}})), Some("const"));
    }
}
