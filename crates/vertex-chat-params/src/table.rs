//! The parameters, as data.

use vertex_chat_types::{ChatRequest, Content, ImageUrl, Nullable};

use crate::Dialect;

/// What a kind of server does with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Support {
    /// It takes it.
    Taken,
    /// It says nothing and does nothing.
    Ignored,
    /// It refuses the request with this status.
    Refused(u16),
    /// It depends on the model.
    Varies,
}

/// A parameter: what it is called, what it may be, and who takes it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// Where it is in a request: `temperature`, `tools[].function.strict`.
    pub path: &'static str,
    /// Its JSON type.
    pub r#type: &'static str,
    /// What values it may have, where that is more than its type says.
    pub range: &'static str,
    /// What each dialect does with it, in the order of [`Dialect::ALL`].
    support: [Support; 7],
    /// Since when Vertex lists it, a year or a month; empty when it does not.
    pub since: &'static str,
    /// Where that is known from.
    pub source: &'static str,
    pub(crate) is_present: fn(&ChatRequest) -> bool,
    /// Takes it out and names the places where it was.
    pub(crate) remove: fn(&mut ChatRequest) -> Vec<String>,
}

impl Parameter {
    /// The name: the last part of the path.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// What a dialect does with it.
    #[must_use]
    pub fn support(&self, dialect: Dialect) -> Support {
        self.support[dialect.column()]
    }
}

/// The parameter at a path.
#[must_use]
pub fn parameter(path: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|it| it.path == path)
}

const T: Support = Support::Taken;
const I: Support = Support::Ignored;
const V: Support = Support::Varies;
const N: Support = Support::Refused(400);
const U: Support = Support::Refused(422);

/// A field of the request itself that is an `Option`. A value of no right type is among the unknown fields.
macro_rules! field {
    ($path:literal, $field:ident, $type:literal, $range:literal, [$($support:ident)*], $since:literal, $source:expr) => {
        Parameter {
            path: $path,
            r#type: $type,
            range: $range,
            support: [$($support),*],
            since: $since,
            source: $source,
            is_present: |request| request.$field.is_some() || request.extra.get($path).is_some(),
            remove: |request| {
                let found = request.$field.take().is_some() | request.extra.remove($path).is_some();
                found.then(|| $path.to_owned()).into_iter().collect()
            },
        }
    };
}

/// A field that the types do not name.
macro_rules! extra {
    ($path:literal, $type:literal, $range:literal, [$($support:ident)*], $since:literal, $source:expr) => {
        Parameter {
            path: $path,
            r#type: $type,
            range: $range,
            support: [$($support),*],
            since: $since,
            source: $source,
            is_present: |request| request.extra.get($path).is_some(),
            remove: |request| request.extra.remove($path).map(|_| $path.to_owned()).into_iter().collect(),
        }
    };
}

const LIST: &str = "Vertex AI: OpenAI compatibility, supported parameters";
const OPENAI: &str = "OpenAI: Chat Completions reference; on no list of Vertex's";
const GEMINI: &str = "Vertex AI: OpenAI compatibility, Gemini parameters";
const VLLM: &str = "vLLM: OpenAI-compatible server, extra parameters";

/// Every parameter that is known to some dialect.
///
/// Columns: Gemini 2 and 3 on Vertex, the Developer API, Vertex partner models, vLLM, TGI, OpenAI.
pub static PARAMETERS: [Parameter; 65] = [
    Parameter {
        path: "messages",
        r#type: "array",
        range: "at least 1",
        support: [T, T, T, T, T, T, T],
        since: "2024",
        source: LIST,
        is_present: |_| true,
        remove: |_| Vec::new(),
    },
    field!("model", model, "string", "`publisher/model` on Vertex", [T T T T T T T], "2024", LIST),
    field!("stream", stream, "boolean", "", [T T T T T T T], "2024", LIST),
    field!("temperature", temperature, "number", "0 to 2", [T T T V T T T], "2024", LIST),
    field!("top_p", top_p, "number", "0 to 1", [T T T V T T T], "2024", LIST),
    field!("max_tokens", max_tokens, "integer", "from 1; to 65,536 on Gemini 2", [T T T V T T T], "2024", LIST),
    field!("max_completion_tokens", max_completion_tokens, "integer", "as `max_tokens`", [T T T V T T T], "2025", LIST),
    field!("n", n, "integer", "1 to 8 on Gemini, 1 to 128 at OpenAI", [T T T V T I T], "2024", LIST),
    field!("stop", stop, "string or array", "up to 5 on Gemini, 4 at OpenAI", [T T T V T T T], "2024", LIST),
    field!("frequency_penalty", frequency_penalty, "number", "-2 to 2", [T T N V T T T], "2024", LIST),
    field!("presence_penalty", presence_penalty, "number", "-2 to 2", [T T V V T T T], "2025-05", LIST),
    field!("seed", seed, "integer", "32 bits on Gemini, from 0 on TGI", [T T N V T T T], "2025", LIST),
    field!("tools", tools, "array", "functions only on Vertex", [T T T V T T T], "2024", LIST),
    field!("tool_choice", tool_choice, "string or object", "`validated` is Gemini's", [T T T V T T T], "2024", LIST),
    field!("response_format", response_format, "object", "", [T T T V T T T], "2024", LIST),
    field!("function_call", function_call, "string or object", "deprecated", [T T V V I I T], "2024", LIST),
    field!("functions", functions, "array", "deprecated; 1 to 128 at OpenAI", [T T V V I I T], "2024", LIST),
    field!("reasoning_effort", reasoning_effort, "string", "not with `thinking_config`", [T T T V T I T], "2025", LIST),
    field!("modalities", modalities, "array", "", [T T V V I I T], "2026", LIST),
    field!("web_search_options", web_search_options, "object", "no sub-options on Vertex", [T T N V I I T], "2026", LIST),
    field!("extra_body", extra_body, "object", "`google` in it", [T T T V I I N], "2025", GEMINI),
    field!("google", google, "object", "as `extra_body.google`", [T T N V I I N], "2025", GEMINI),
    field!("stream_options", stream_options, "object", "", [I I T V T T T], "", OPENAI),
    field!("parallel_tool_calls", parallel_tool_calls, "boolean", "", [I I N V T I T], "", OPENAI),
    field!("logprobs", logprobs, "boolean", "", [I I N V T T T], "", OPENAI),
    field!("top_logprobs", top_logprobs, "integer", "0 to 20, 0 to 5 on TGI", [I I N V T T T], "", OPENAI),
    field!("logit_bias", logit_bias, "object", "-100 to 100", [I I N V T U T], "", OPENAI),
    field!("user", user, "string", "deprecated", [I I N V I I T], "", OPENAI),
    field!("metadata", metadata, "object", "up to 16 labels", [I I N V I I T], "", OPENAI),
    field!("store", store, "boolean", "", [I I N V I I T], "", OPENAI),
    field!("service_tier", service_tier, "string", "", [I I T V I I T], "", OPENAI),
    field!("audio", audio, "object", "", [I I N V I I T], "", OPENAI),
    field!("prediction", prediction, "object", "", [I I N V I I T], "", OPENAI),
    field!("prompt_cache_key", prompt_cache_key, "string", "", [I I N V I I T], "", OPENAI),
    field!("prompt_cache_retention", prompt_cache_retention, "string", "deprecated", [I I N V I I T], "", OPENAI),
    field!("prompt_cache_options", prompt_cache_options, "object", "", [I I N V I I T], "", OPENAI),
    field!("safety_identifier", safety_identifier, "string", "up to 64 characters", [I I N V I I T], "", OPENAI),
    field!("verbosity", verbosity, "string", "", [I I N V I I T], "", OPENAI),
    field!("moderation", moderation, "object", "", [I I N V I I T], "", OPENAI),
    extra!("top_k", "integer", "from 1", [I I N V T I N], "", VLLM),
    extra!("min_p", "number", "0 to 1", [I I N V T I N], "", VLLM),
    extra!("repetition_penalty", "number", "above 0", [I I N V T I N], "", VLLM),
    extra!("min_tokens", "integer", "from 0", [I I N V T I N], "", VLLM),
    extra!("stop_token_ids", "array", "of token ids", [I I N V T I N], "", VLLM),
    extra!("bad_words", "array", "", [I I N V T I N], "", VLLM),
    extra!("allowed_token_ids", "array", "of token ids", [I I N V T I N], "", VLLM),
    extra!("ignore_eos", "boolean", "", [I I N V T I N], "", VLLM),
    extra!("skip_special_tokens", "boolean", "", [I I N V T I N], "", VLLM),
    extra!("include_stop_str_in_output", "boolean", "", [I I N V T I N], "", VLLM),
    extra!("length_penalty", "number", "for beam search", [I I N V T I N], "", VLLM),
    extra!("prompt_logprobs", "integer", "from 0", [I I N V T I N], "", VLLM),
    extra!("truncate_prompt_tokens", "integer", "from -1", [I I N V T I N], "", VLLM),
    extra!("priority", "integer", "lower is sooner", [I I N V T I N], "", VLLM),
    extra!("echo", "boolean", "", [I I N V T I N], "", VLLM),
    extra!("add_generation_prompt", "boolean", "", [I I N V T I N], "", VLLM),
    extra!("continue_final_message", "boolean", "", [I I N V T I N], "", VLLM),
    extra!("chat_template_kwargs", "object", "", [I I N V T I N], "", VLLM),
    extra!("structured_outputs", "object", "newer versions", [I I N V T I N], "", VLLM),
    extra!("guided_json", "object or string", "older versions", [I I N V V I N], "", VLLM),
    extra!("guided_regex", "string", "older versions", [I I N V V I N], "", VLLM),
    extra!("guided_choice", "array", "older versions", [I I N V V I N], "", VLLM),
    extra!("guided_grammar", "string", "older versions", [I I N V V I N], "", VLLM),
    Parameter {
        path: "messages[].content[].image_url.detail",
        r#type: "string",
        range: "`auto`, `low`, `high`; one value for a request before Gemini 3",
        support: [T, T, V, V, I, I, T],
        since: "2026",
        source: LIST,
        is_present: |request| details(request).next().is_some(),
        remove: |request| {
            let paths = details(request)
                .map(|(i, j)| format!("messages[{i}].content[{j}].image_url.detail"))
                .collect();
            for message in &mut request.messages {
                let Nullable::Value(Content::Parts(parts)) = &mut message.content else { continue };
                for part in parts {
                    if let Some(ImageUrl::Object(image)) = &mut part.image_url {
                        image.detail = None;
                    }
                }
            }
            paths
        },
    },
    Parameter {
        path: "tools[].function.strict",
        r#type: "boolean",
        range: "",
        support: [I, I, I, V, I, I, T],
        since: "",
        source: OPENAI,
        is_present: |request| {
            request
                .tools
                .iter()
                .flatten()
                .any(|it| it.function.as_ref().is_some_and(|it| it.strict.is_some()))
        },
        remove: |request| {
            let tools = request.tools.iter_mut().flatten().enumerate();
            let strict = tools.filter_map(|(i, tool)| tool.function.as_mut()?.strict.take().map(|_| i));
            strict.map(|i| format!("tools[{i}].function.strict")).collect()
        },
    },
    Parameter {
        path: "response_format.json_schema.strict",
        r#type: "boolean",
        range: "",
        support: [I, I, I, V, I, I, T],
        since: "",
        source: OPENAI,
        is_present: |request| {
            let schema = request.response_format.as_ref().and_then(|it| it.json_schema.as_ref());
            schema.is_some_and(|it| it.strict.is_some())
        },
        remove: |request| {
            let schema = request.response_format.as_mut().and_then(|it| it.json_schema.as_mut());
            let strict = schema.and_then(|it| it.strict.take());
            strict.map(|_| "response_format.json_schema.strict".to_owned()).into_iter().collect()
        },
    },
];

/// The messages and parts whose picture names a detail.
fn details(request: &ChatRequest) -> impl Iterator<Item = (usize, usize)> {
    request.messages.iter().enumerate().flat_map(|(i, message)| {
        let parts = message.content.get().into_iter().flat_map(Content::parts).enumerate();
        let with_detail =
            parts.filter(|(_, part)| part.image_url.as_ref().is_some_and(|it| it.detail().is_some()));
        with_detail.map(move |(j, _)| (i, j))
    })
}
