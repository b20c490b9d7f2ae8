//! What the services certainly refuse.
//!
//! Every rule names its source. A rule whose source speaks of one generation of models is applied to that generation
//! only. What no source settles is not here: the object form of `tool_choice`, the role `developer`, `file` parts,
//! `n` in a stream, the types of parameters that are ignored.

use vertex_chat_types::{
    AudioInputFormat, ChatRequest, Content, ContentPart, GoogleOptions, ImageDetail, ImageUrl, InputAudio,
    PartType, ResponseFormat, Role, Stop,
};

use crate::Dialect;
use crate::report::Problem;

const SHIM: &str = "Vertex AI: error of the OpenAI-compatible endpoint";
const INFERENCE: &str = "Vertex AI: inference API reference";
const GUIDE: &str = "Vertex AI: OpenAI compatibility, parameters";
const PROTOCOL: &str = Dialect::OpenAi.source();

const DEVELOPER: &str = "Gemini Developer API: error of the OpenAI-compatible endpoint";
const ROUTER: &str = Dialect::Tgi.source();

/// The most stop sequences that Gemini takes.
const GEMINI_STOPS_MAX: usize = 5;
/// The most answers that Gemini gives to one request.
const GEMINI_N_MAX: i64 = 8;
/// The most tokens that Gemini 2 writes.
const GEMINI_2_TOKENS_MAX: i64 = 65_536;
/// From this minor version on Gemini 3 may ignore `temperature` and `top_p`, whatever they are.
const GEMINI_3_UNSAMPLED_FROM: u32 = 6;
/// The longest name of a function on Vertex, and on the Developer API.
const FUNCTION_NAME_MAX: usize = 128;
const DEVELOPER_FUNCTION_NAME_MAX: usize = 64;

pub(crate) fn check(request: &ChatRequest, dialect: Dialect, problems: &mut Vec<Problem>) {
    let mut check = Check { request, dialect, problems };
    check.messages();
    if dialect.is_vertex() {
        check.publisher_model();
    }
    if dialect.is_vertex_gemini() {
        if check.generation_is_known() {
            check.gemini_ranges();
        }
        check.gemini_combinations();
        check.gemini_tools();
        check.gemini_parts();
    }
    if dialect == Dialect::GeminiDeveloper {
        check.extra_body();
        check.audio_formats();
    }
    if dialect == Dialect::Tgi {
        check.tgi();
    }
}

/// Every part of every message, with its path.
fn parts(request: &ChatRequest) -> impl Iterator<Item = (String, &ContentPart)> {
    request.messages.iter().enumerate().flat_map(|(i, message)| {
        let parts = message.content.get().into_iter().flat_map(Content::parts).enumerate();
        parts.map(move |(j, part)| (format!("messages[{i}].content[{j}]"), part))
    })
}

/// How many letters the name of a function may have.
pub(crate) fn longest_name(dialect: Dialect) -> usize {
    if dialect == Dialect::GeminiDeveloper { DEVELOPER_FUNCTION_NAME_MAX } else { FUNCTION_NAME_MAX }
}

/// Whether Gemini takes the name of a function.
pub(crate) fn is_function_name(name: &str, longest: usize) -> bool {
    name.len() <= longest
        && name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
        && name.chars().all(is_name_letter)
}

/// Whether a letter may stand in the name of a function, though not every one at its beginning.
pub(crate) fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_.:-".contains(letter)
}

struct Check<'a> {
    request: &'a ChatRequest,
    dialect: Dialect,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn refuse(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        remedy: &str,
        source: &'static str,
    ) {
        self.problems.push(Problem {
            path: path.into(),
            message: message.into(),
            remedy: remedy.to_owned(),
            source,
            is_unsupported: false,
        });
    }

    fn messages(&mut self) {
        // llama.cpp takes an empty conversation, so servers that merely follow OpenAI are asked.
        if self.request.messages.is_empty() && self.dialect != Dialect::OpenAi {
            self.refuse("messages", "there are no messages", "send at least one", PROTOCOL);
        }
    }

    fn publisher_model(&mut self) {
        let remedy = "write `publisher/model`, such as `google/gemini-2.5-flash`";
        match self.request.model.as_deref() {
            None | Some("") => self.refuse("model", "the endpoint `openapi` needs a model", remedy, SHIM),
            Some(model) => {
                let well_formed = model
                    .split_once('/')
                    .is_some_and(|(publisher, name)| !publisher.is_empty() && !name.is_empty());
                if !well_formed {
                    self.refuse("model", "the model names no publisher", remedy, SHIM);
                }
            }
        }
    }

    /// Whether the ranges of the sources are this model's: Gemini to 2.x, and 3 by name. A newer or unknown name counts
    /// as Gemini 3 in everything but what could refuse it.
    fn generation_is_known(&self) -> bool {
        self.dialect == Dialect::VertexGemini2 || self.gemini_3_minor().is_some()
    }

    /// The `1` of `gemini-3.1-pro-preview`.
    fn gemini_3_minor(&self) -> Option<u32> {
        let model = self.request.model.as_deref()?;
        let version = model.strip_prefix("google/").unwrap_or(model).strip_prefix("gemini-3")?;
        let version = version.split('-').next().unwrap_or_default();
        if version.is_empty() { Some(0) } else { version.strip_prefix('.')?.parse().ok() }
    }

    fn gemini_ranges(&mut self) {
        let request = self.request;
        let samples = self.gemini_3_minor().is_none_or(|minor| minor < GEMINI_3_UNSAMPLED_FROM);
        let mut number = |path: &str, value: Option<f64>, min: f64, max: f64| {
            if value.is_some_and(|it| !(min..=max).contains(&it)) {
                self.refuse(
                    path,
                    format!("not between {min} and {max}"),
                    "choose a value in between",
                    INFERENCE,
                );
            }
        };
        number("temperature", request.temperature.filter(|_| samples), 0.0, 2.0);
        number("top_p", request.top_p.filter(|_| samples), 0.0, 1.0);
        number("frequency_penalty", request.frequency_penalty, -2.0, 2.0);
        number("presence_penalty", request.presence_penalty, -2.0, 2.0);
        if request.n.is_some_and(|n| !(1..=GEMINI_N_MAX).contains(&n)) {
            self.refuse(
                "n",
                format!("not between 1 and {GEMINI_N_MAX}"),
                "choose a value in between",
                INFERENCE,
            );
        }
        for (path, tokens) in
            [("max_tokens", request.max_tokens), ("max_completion_tokens", request.max_completion_tokens)]
        {
            match tokens {
                Some(..=0) => self.refuse(path, "not above 0", "choose a value from 1", INFERENCE),
                Some(tokens) if tokens > GEMINI_2_TOKENS_MAX && self.dialect == Dialect::VertexGemini2 => {
                    self.refuse(
                        path,
                        format!("above {GEMINI_2_TOKENS_MAX}"),
                        "choose a smaller value",
                        INFERENCE,
                    );
                }
                _ => {}
            }
        }
        let stops = request.stop.as_ref().map_or(0, |stop| stop.sequences().len());
        if stops > GEMINI_STOPS_MAX {
            self.refuse("stop", format!("{stops} sequences"), "at most 5", INFERENCE);
        }
    }

    fn gemini_combinations(&mut self) {
        let request = self.request;
        let nested = request.extra_body.as_ref();
        let config = |google: Option<&GoogleOptions>| google.and_then(|it| it.thinking_config.clone());
        let in_body = config(nested.and_then(|it| it.google.as_ref()));
        let thinking = in_body.or_else(|| config(request.google.as_ref()));
        if request.reasoning_effort.is_some() && thinking.is_some() {
            self.refuse("reasoning_effort", "together with a `thinking_config`", "keep one of the two", SHIM);
        }
        if thinking.is_some_and(|it| it.thinking_budget.is_some() && it.thinking_level.is_some()) {
            let path = "extra_body.google.thinking_config";
            self.refuse(path, "a budget and a level together", "keep one of the two", GUIDE);
        }
        self.extra_body();
        let wants_json = request.response_format.as_ref().is_some_and(ResponseFormat::is_json);
        let has_tools = request.tools.as_ref().is_some_and(|it| !it.is_empty())
            || request.functions.as_ref().is_some_and(|it| !it.is_empty());
        if self.dialect == Dialect::VertexGemini2 && wants_json && has_tools {
            let remedy = "leave one out, or use a Gemini 3 model";
            self.refuse(
                "response_format",
                "JSON together with tools, which Gemini 2 cannot do",
                remedy,
                INFERENCE,
            );
        }
        let only_instructions = !request.messages.is_empty()
            && request.messages.iter().all(|it| matches!(it.role, Role::System | Role::Developer));
        if only_instructions {
            self.refuse("messages", "nothing but system messages", "add a user message", INFERENCE);
        }
    }

    fn extra_body(&mut self) {
        if self.request.extra_body.as_ref().is_some_and(|it| it.extra.get("extra_body").is_some()) {
            let remedy = "write `extra_body.google`";
            self.refuse("extra_body.extra_body", "nested once too often", remedy, SHIM);
        }
    }

    /// On Vertex any MIME type will do.
    fn audio_formats(&mut self) {
        for (path, part) in parts(self.request) {
            let Some(InputAudio::Object(audio)) = &part.input_audio else { continue };
            if matches!(&audio.format, Some(AudioInputFormat::Other(_))) {
                let path = format!("{path}.input_audio.format");
                self.refuse(path, "not a format that the Developer API takes", "wav or mp3", DEVELOPER);
            }
        }
    }

    fn gemini_tools(&mut self) {
        for (i, tool) in self.request.tools.iter().flatten().enumerate() {
            if let Some(function) = &tool.function {
                self.function_name(format!("tools[{i}].function.name"), function.name.as_deref());
            }
        }
        for (i, function) in self.request.functions.iter().flatten().enumerate() {
            self.function_name(format!("functions[{i}].name"), function.name.as_deref());
        }
    }

    fn function_name(&mut self, path: String, name: Option<&str>) {
        let name = name.unwrap_or_default();
        if !is_function_name(name, longest_name(self.dialect)) {
            let remedy = "a letter or `_`, then letters, digits, `_`, `.`, `:`, `-`; at most 128";
            self.refuse(path, "not a function name that Gemini takes", remedy, INFERENCE);
        }
    }

    fn gemini_parts(&mut self) {
        let mut first_detail: Option<&ImageDetail> = None;
        let mut second_detail = None;
        for (i, message) in self.request.messages.iter().enumerate() {
            for (j, part) in message.content.get().into_iter().flat_map(Content::parts).enumerate() {
                let path = || format!("messages[{i}].content[{j}]");
                self.gemini_part(part, path);
                if let Some(detail) = part.image_url.as_ref().and_then(|it| it.detail()) {
                    if *first_detail.get_or_insert(detail) != detail && second_detail.is_none() {
                        second_detail = Some(path());
                    }
                }
            }
        }
        if let (Some(path), Dialect::VertexGemini2) = (second_detail, self.dialect) {
            let message = "another `detail` than before in the same request, which Gemini 2 cannot do";
            self.refuse(format!("{path}.image_url.detail"), message, "use one value for all", GUIDE);
        }
    }

    fn gemini_part(&mut self, part: &ContentPart, path: impl Fn() -> String) {
        match (&part.r#type, &part.image_url) {
            (Some(PartType::ImageUrl), None) => {
                self.refuse(format!("{}.image_url", path()), "the part has none", "add it", PROTOCOL);
            }
            (Some(PartType::Text), _) if part.text.is_none() => {
                self.refuse(format!("{}.text", path()), "the part has none", "add it", PROTOCOL);
            }
            (_, Some(image)) => {
                let url = image.url();
                let known = ["gs://", "https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
                let inline = url.strip_prefix("data:").is_some_and(|rest| {
                    rest.split_once(',').is_some_and(|(head, _)| head.ends_with(";base64"))
                });
                if !known && !inline {
                    let remedy = "gs://bucket/object, https://…, or data:<MIME>;base64,<data>";
                    self.refuse(
                        format!("{}.image_url", path()),
                        "not an address that Gemini reads",
                        remedy,
                        GUIDE,
                    );
                }
            }
            _ => {}
        }
    }

    /// What is here beside the numbers is put right by rewrites, unless they are off.
    fn tgi(&mut self) {
        let request = self.request;
        if matches!(request.stop, Some(Stop::One(_))) {
            self.refuse("stop", "one text", "write a list of one", ROUTER);
        }
        if let Some(format) = &request.response_format {
            if format.extra.get("value").is_none() {
                let remedy = "write the schema as `value`, beside `type`";
                self.refuse("response_format", "not in TGI's form", remedy, ROUTER);
            }
            if request.tools.as_ref().is_some_and(|it| !it.is_empty()) {
                let message = "together with tools, which TGI cannot do";
                self.refuse("response_format", message, "leave one out", ROUTER);
            }
        }
        for (i, tool) in request.tools.iter().flatten().enumerate() {
            let Some(function) = &tool.function else { continue };
            if function.parameters.is_none() && function.extra.get("arguments").is_none() {
                let path = format!("tools[{i}].function.parameters");
                self.refuse(path, "it is missing", r#"write {"type":"object","properties":{}}"#, ROUTER);
            }
        }
        for (path, part) in parts(request) {
            if matches!(part.image_url, Some(ImageUrl::Bare(_))) {
                self.refuse(format!("{path}.image_url"), "a bare address", "write {\"url\": …}", ROUTER);
            }
        }
        if request.seed.is_some_and(|seed| seed < 0) {
            self.refuse("seed", "below 0", "choose a value from 0", ROUTER);
        }
        if request.top_logprobs.is_some_and(|it| !(0..=5).contains(&it)) {
            self.refuse("top_logprobs", "not between 0 and 5", "choose a value in between", ROUTER);
        }
    }
}
