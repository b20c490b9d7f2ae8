//! A chat request in Gemini's own words.

use std::collections::HashMap;

use vertex_chat::params::Dialect;
use vertex_chat::types::{
    Extra, ExtraContent, GoogleContent, GoogleOptions, ImageDetail, Modality, NamedToolChoice, PartType,
    ReasoningEffort, ResponseFormatType, ToolChoiceType, ToolMode, ToolType,
};
use vertex_chat::{
    ChatRequest, Content, ContentPart, Json, Message, ResponseFormat, Role, Tool, ToolCall, ToolChoice,
};

use super::native::{
    Declaration, FunctionCall, FunctionCalling, FunctionResponse, GenerationConfig, Native, NativeTool, Part,
    PartResolution, Safety, Thinking, ToolConfig, Turn,
};
use super::{BatchError, Changes, media, table};

/// The parameters that are translated, here or before; all others are told of.
const TRANSLATED: [&str; 22] = [
    "model",
    "messages",
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stop",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "tools",
    "tool_choice",
    "response_format",
    "reasoning_effort",
    "modalities",
    "logprobs",
    "top_logprobs",
    "web_search_options",
    "extra_body",
    "google",
];
const NO_WORD: &str = "Gemini's own requests have no such field";

/// The request as JSON, of a request that was prepared for this dialect.
pub(super) fn body(
    request: &ChatRequest,
    dialect: Dialect,
    changes: &mut Changes,
) -> Result<String, BatchError> {
    let is_2 = dialect == Dialect::VertexGemini2;
    let mut translation = Translation { request, is_2, changes, resolution: None };
    translation.refuse_what_changes_the_answer()?;
    translation.tell_the_rest();
    let native = translation.request()?;
    let json = serde_json::to_string(&native).map_err(|_| {
        BatchError::new("", "the request cannot be written as JSON", "leave out what is no JSON")
    })?;
    table::check(&json)?;
    Ok(json)
}

struct Translation<'a> {
    request: &'a ChatRequest,
    /// Whether the model is a Gemini up to 2.x.
    is_2: bool,
    changes: &'a mut Changes,
    /// How closely the model looks at all media, of parts of a request for Gemini 2.
    resolution: Option<String>,
}

impl<'a> Translation<'a> {
    fn google(&self) -> Option<&'a GoogleOptions> {
        self.request.extra_body.as_ref().and_then(|it| it.google.as_ref())
    }

    fn refuse_what_changes_the_answer(&self) -> Result<(), BatchError> {
        let request = self.request;
        let refuse = |field: &str, problem: &str, remedy: &str| Err(BatchError::new(field, problem, remedy));
        if request.functions.as_ref().is_some_and(|it| !it.is_empty()) {
            return refuse("functions", "deprecated, and not translated", "write `tools`");
        }
        if request.function_call.is_some() {
            return refuse("function_call", "deprecated, and not translated", "write `tool_choice`");
        }
        let modalities = request.modalities.as_deref().unwrap_or_default();
        if request.audio.is_some() || modalities.contains(&Modality::Audio) {
            let field = if request.audio.is_some() { "audio" } else { "modalities" };
            return refuse(field, "spoken output, which results of a run cannot hold", "ask for text");
        }
        if self.google().is_some_and(|it| it.cached_content.is_some()) {
            let problem = "a cache, which batch jobs do not take";
            return refuse("extra_body.google.cached_content", problem, "write its content as messages");
        }
        if request.web_search_options.is_some() {
            let problem = "a search without settings is an object without fields, for which the import of a batch file fails";
            let remedy = r#"write `extra_body.google.tools` with a setting, such as {"googleSearch":{"excludeDomains":["example.com"]}}"#;
            return refuse("web_search_options", problem, remedy);
        }
        Ok(())
    }

    /// Tells of every parameter that is not translated, whatever it is.
    fn tell_the_rest(&mut self) {
        for (key, value) in self.request.to_fields().iter() {
            // Several calls at once are what Gemini does anyway.
            let is_default = value.is_null() || (key == "parallel_tool_calls" && value.as_str() == "true");
            if !TRANSLATED.contains(&key) && !is_default {
                self.changes.drop(key, NO_WORD);
            }
        }
        if let Some(body) = &self.request.extra_body {
            self.tell_extra(&body.extra, "extra_body");
        }
        let Some(google) = self.google() else { return };
        let told = [
            (
                "thought_tag_marker",
                google.thought_tag_marker.is_some(),
                "thoughts are kept apart from the answer's text",
            ),
            (
                "stream_function_call_arguments",
                google.stream_function_call_arguments == Some(true),
                "a batch job has no streams",
            ),
            ("model_safety_settings", google.model_safety_settings.is_some(), "it is of Llama models"),
        ];
        for (field, is_there, reason) in told {
            if is_there {
                self.changes.drop(&format!("extra_body.google.{field}"), reason);
            }
        }
        self.tell_extra(&google.extra, "extra_body.google");
    }

    fn request(&mut self) -> Result<Native, BatchError> {
        let mut turns = Turns::default();
        for (i, message) in self.request.messages.iter().enumerate() {
            self.message(message, &format!("messages[{i}]"), &mut turns)?;
        }
        if turns.contents.is_empty() {
            return Err(BatchError::new("messages", "none of them says anything", "add a user message"));
        }
        let generation_config = self.generation_config()?;
        let system = Turn { role: None, parts: turns.system };
        Ok(Native {
            contents: turns.contents,
            system_instruction: (!system.parts.is_empty()).then_some(system),
            tools: self.tools()?,
            tool_config: self.tool_config()?,
            safety_settings: self.safety_settings(),
            generation_config: (generation_config != GenerationConfig::default())
                .then_some(generation_config),
        })
    }

    fn message(&mut self, message: &Message, path: &str, turns: &mut Turns) -> Result<(), BatchError> {
        self.tell_of_message(message, path)?;
        match &message.role {
            Role::System | Role::Developer => {
                for part in self.parts(message, path)? {
                    if part.text.is_none() {
                        let problem = "instructions that are not text";
                        let remedy = "put media into a user message";
                        return Err(BatchError::new(format!("{path}.content"), problem, remedy));
                    }
                    turns.system.push(part);
                }
            }
            Role::User => {
                let mut parts = self.parts(message, path)?;
                if parts.is_empty() {
                    self.changes.rewrite(&format!("{path}.content"), "an empty text became one space");
                    parts.push(Part::text(" "));
                }
                turns.push("user", Kind::Words, parts);
            }
            Role::Assistant | Role::Model => {
                let parts = self.model_parts(message, path, turns)?;
                if parts.is_empty() {
                    self.changes.drop(path, "the model says nothing in it");
                } else {
                    turns.push("model", Kind::Words, parts);
                }
            }
            Role::Tool | Role::Function => {
                let parts = self.tool_result(message, path, turns)?;
                turns.push("user", Kind::Results, parts);
            }
            _ => {
                let remedy = "use system, user, assistant or tool";
                return Err(BatchError::new(
                    format!("{path}.role"),
                    "a role that Gemini does not have",
                    remedy,
                ));
            }
        }
        Ok(())
    }

    fn tell_of_message(&mut self, message: &Message, path: &str) -> Result<(), BatchError> {
        if message.audio.is_some() {
            let problem = "an earlier spoken answer, which is not kept with the request";
            return Err(BatchError::new(format!("{path}.audio"), problem, "write what it says as `content`"));
        }
        let is_result = matches!(message.role, Role::Tool | Role::Function);
        let fields = [
            ("name", message.name.is_some() && !is_result),
            ("tool_call_id", message.tool_call_id.is_some() && !is_result),
            ("reasoning_content", message.reasoning_content.is_some()),
            ("reasoning", message.reasoning.is_some()),
            ("reasoning_details", message.reasoning_details.is_some()),
        ];
        for (field, is_there) in fields {
            if is_there {
                self.changes.drop(&format!("{path}.{field}"), NO_WORD);
            }
        }
        self.tell_extra(&message.extra, path);
        Ok(())
    }

    fn tell_extra(&mut self, extra: &Extra, path: &str) {
        for (key, _) in extra.iter() {
            self.changes.drop(&format!("{path}.{key}"), NO_WORD);
        }
    }

    /// The parts of a message's content, without empty texts.
    fn parts(&mut self, message: &Message, path: &str) -> Result<Vec<Part>, BatchError> {
        let mut parts = Vec::new();
        match message.content.get() {
            Some(Content::Text(text)) if !text.is_empty() => parts.push(Part::text(text)),
            Some(Content::Parts(list)) => {
                for (j, part) in list.iter().enumerate() {
                    let part = self.part(part, &format!("{path}.content[{j}]"))?;
                    let says_nothing = part.text.as_deref() == Some("") && part.thought_signature.is_none();
                    if !says_nothing {
                        parts.push(part);
                    }
                }
            }
            _ => {}
        }
        Ok(parts)
    }

    fn part(&mut self, part: &ContentPart, path: &str) -> Result<Part, BatchError> {
        self.tell_extra(&part.extra, path);
        if part.prompt_cache_breakpoint.is_some() {
            self.changes.drop(&format!("{path}.prompt_cache_breakpoint"), NO_WORD);
        }
        let within = |field: &str| format!("{path}.{field}");
        let mut native = match (&part.r#type, part) {
            (None | Some(PartType::Text), ContentPart { text: Some(text), .. })
            | (None | Some(PartType::Refusal), ContentPart { refusal: Some(text), .. }) => Part::text(text),
            (None | Some(PartType::ImageUrl), ContentPart { image_url: Some(image), .. }) => {
                let mut native = Part::media(media::of_url(image.url(), "image/*", &within("image_url"))?);
                native.media_resolution = self.detail(image.detail(), &within("image_url.detail"));
                native
            }
            (None | Some(PartType::InputAudio), ContentPart { input_audio: Some(audio), .. }) => {
                Part::media(media::of_sound(audio, &within("input_audio"))?)
            }
            (None | Some(PartType::VideoUrl), ContentPart { video_url: Some(film), .. }) => {
                Part::media(media::of_url(&film.url, "video/mp4", &within("video_url"))?)
            }
            (None | Some(PartType::File), ContentPart { file: Some(file), .. }) => {
                Part::media(media::of_file(file, &within("file"))?)
            }
            _ => {
                let remedy =
                    "use text, image_url, input_audio, video_url or file, with the field of that name";
                return Err(BatchError::new(path, "a part that Gemini does not have", remedy));
            }
        };
        if let Some(google) = google_of(part.extra_content.as_ref()) {
            native.thought = google.thought.filter(|it| *it);
            native.thought_signature.clone_from(&google.thought_signature);
        }
        Ok(native)
    }

    /// Gemini 3 looks at each picture as it is told; before, one word is for the whole request.
    fn detail(&mut self, detail: Option<&ImageDetail>, path: &str) -> Option<PartResolution> {
        let level = match detail? {
            ImageDetail::Auto => return None,
            other => format!("MEDIA_RESOLUTION_{}", other.as_str().to_ascii_uppercase()),
        };
        if self.is_2 {
            if self.google().is_some_and(|it| it.media_resolution.is_some()) {
                self.changes.drop(path, "`extra_body.google.media_resolution` is for the whole request");
            }
            self.resolution = Some(level);
            return None;
        }
        Some(PartResolution { level })
    }

    /// What the model said: words, then calls.
    fn model_parts(
        &mut self,
        message: &Message,
        path: &str,
        turns: &mut Turns,
    ) -> Result<Vec<Part>, BatchError> {
        let mut parts = self.parts(message, path)?;
        if let Some(refusal) = message.refusal.as_deref().filter(|it| !it.is_empty()) {
            parts.push(Part::text(refusal));
        }
        if let Some(google) = google_of(message.extra_content.as_ref()) {
            if google.thought == Some(true) {
                parts.iter_mut().for_each(|it| it.thought = Some(true));
            }
            if let Some(signature) = google.thought_signature.as_ref().filter(|it| !it.is_empty()) {
                // It may stand alone, behind a text that is empty.
                if parts.is_empty() {
                    parts.push(Part::text(""));
                }
                if let Some(last) = parts.last_mut() {
                    last.thought_signature.get_or_insert_with(|| signature.clone());
                }
            }
        }
        for (j, call) in message.tool_calls.iter().flatten().enumerate() {
            parts.push(self.call(call, &format!("{path}.tool_calls[{j}]"), turns)?);
        }
        if let Some(call) = &message.function_call {
            let name = call.name.clone().unwrap_or_default();
            let arguments = call.arguments.as_deref().unwrap_or_default();
            let args = arguments_of(arguments, &format!("{path}.function_call.arguments"))?;
            let call = FunctionCall { name, args };
            parts.push(Part { function_call: Some(call), ..Part::default() });
        }
        Ok(parts)
    }

    fn call(&mut self, call: &ToolCall, path: &str, turns: &mut Turns) -> Result<Part, BatchError> {
        if call.custom.is_some() || call.r#type.as_ref().is_some_and(|it| *it != ToolType::Function) {
            let problem = "a call of a tool that is no function";
            return Err(BatchError::new(path, problem, "Gemini has functions only; leave it out"));
        }
        self.tell_extra(&call.extra, path);
        let name = call.name().to_owned();
        if name.is_empty() {
            return Err(BatchError::new(
                format!("{path}.function.name"),
                "there is none",
                "name the function",
            ));
        }
        if let Some(id) = &call.id {
            turns.names.insert(id.clone(), name.clone());
        }
        let args = arguments_of(call.arguments(), &format!("{path}.function.arguments"))?;
        Ok(Part {
            function_call: Some(FunctionCall { name, args }),
            thought_signature: call.thought_signature().map(str::to_owned),
            ..Part::default()
        })
    }

    /// What a tool answered: the text as it is, for a row of a table has no room for whatever JSON tools write.
    fn tool_result(&mut self, message: &Message, path: &str, turns: &Turns) -> Result<Vec<Part>, BatchError> {
        let of_call = message.tool_call_id.as_ref().and_then(|id| turns.names.get(id));
        let Some(name) = of_call.or(message.name.as_ref()).cloned() else {
            let problem = "the answer to a call that is not before it";
            let remedy = "keep the assistant's message with its tool calls";
            return Err(BatchError::new(format!("{path}.tool_call_id"), problem, remedy));
        };
        let mut text = String::new();
        let mut media = Vec::new();
        for part in self.parts(message, path)? {
            match part.text {
                Some(words) => text.push_str(&words),
                None => media.push(part),
            }
        }
        let brought = google_of(message.extra_content.as_ref()).and_then(|it| it.parts.as_deref());
        for (j, part) in brought.unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.extra_content.google.parts[{j}]");
            media.push(Part::media(media::of_tool(part, &path)?));
        }
        // Only an object can refer to what the tool has brought.
        let object =
            text.parse::<Json>().ok().filter(|it| brought.is_some() && it.as_str().trim().starts_with('{'));
        let response = match object {
            Some(object) => object,
            None => Json::from(serde_json::json!({ "output": text })),
        };
        let (parts, beside) = if self.is_2 { (Vec::new(), media) } else { (media, Vec::new()) };
        let response = FunctionResponse { name, response, parts };
        let mut all = vec![Part { function_response: Some(response), ..Part::default() }];
        all.extend(beside);
        Ok(all)
    }

    fn generation_config(&mut self) -> Result<GenerationConfig, BatchError> {
        let request = self.request;
        let seed = match request.seed.map(i32::try_from) {
            Some(Err(_)) => {
                let problem = "a seed of more than 32 bits, which Gemini does not take";
                return Err(BatchError::new("seed", problem, "choose a smaller number"));
            }
            Some(Ok(seed)) => Some(seed),
            None => None,
        };
        let top_k = match request.extra.get("top_k").filter(|it| !it.is_null()).map(Json::parse_as::<u32>) {
            Some(Err(_)) => return Err(BatchError::new("top_k", "not a whole number", "write one from 1")),
            Some(Ok(top_k)) => Some(top_k),
            None => None,
        };
        let logprobs = request.logprobs == Some(true);
        if request.top_logprobs.is_some() && !logprobs {
            self.changes.drop("top_logprobs", "it says nothing without `logprobs`");
        }
        let (response_mime_type, response_schema) = self.response_format()?;
        let modalities = request.modalities.iter().flatten().map(|it| it.as_str().to_ascii_uppercase());
        let resolution = self.google().and_then(|it| it.media_resolution.as_deref()).map(resolution_word);
        Ok(GenerationConfig {
            temperature: request.temperature,
            top_p: request.top_p,
            top_k,
            candidate_count: request.n,
            max_output_tokens: request.max_completion_tokens.or(request.max_tokens),
            stop_sequences: request.stop.as_ref().map(|it| it.sequences().to_vec()).unwrap_or_default(),
            presence_penalty: request.presence_penalty,
            frequency_penalty: request.frequency_penalty,
            seed,
            response_logprobs: logprobs.then_some(true),
            logprobs: request.top_logprobs.filter(|_| logprobs),
            response_mime_type,
            response_schema,
            response_modalities: modalities.collect(),
            media_resolution: resolution.or_else(|| self.resolution.take()),
            thinking_config: self.thinking()?,
        })
    }

    fn response_format(&mut self) -> Result<(Option<String>, Option<Json>), BatchError> {
        let Some(format) = &self.request.response_format else { return Ok((None, None)) };
        let ResponseFormat { r#type: Some(kind), json_schema, .. } = format else {
            self.changes.drop("response_format", "it has no type");
            return Ok((None, None));
        };
        self.tell_extra(&format.extra, "response_format");
        let mime = match kind {
            ResponseFormatType::Text => "text/plain",
            ResponseFormatType::JsonObject | ResponseFormatType::JsonSchema => "application/json",
            // Any other word is a MIME type.
            mime => mime.as_str(),
        };
        let mime = Some(mime.to_owned());
        let (ResponseFormatType::JsonSchema, Some(named)) = (kind, json_schema) else {
            return Ok((mime, None));
        };
        let path = "response_format.json_schema";
        if named.strict.is_some() {
            self.changes.drop(&format!("{path}.strict"), NO_WORD);
        }
        if named.description.is_some() {
            self.changes.drop(&format!("{path}.description"), NO_WORD);
        }
        self.tell_extra(&named.extra, path);
        Ok((mime, self.schema(named.schema.as_ref(), &format!("{path}.schema"))))
    }

    /// A schema that was reduced to Gemini's own, without what is no column.
    fn schema(&mut self, schema: Option<&Json>, path: &str) -> Option<Json> {
        let schema = schema?;
        let rest = table::without_nothing(schema, 0);
        if rest.as_ref().map_or(0, |it| it.as_str().len()) < crate::text::compact(schema.as_str()).len() {
            self.changes.rewrite(
                path,
                "objects without fields and nulls were left out, for which the import of a batch file fails",
            );
        }
        rest
    }

    fn thinking(&mut self) -> Result<Option<Thinking>, BatchError> {
        if let Some(config) = self.google().and_then(|it| it.thinking_config.clone()) {
            // Google's samples have both ways of writing the fields.
            let other = |key: &str| config.extra.get(key);
            let thinking = Thinking {
                include_thoughts: config
                    .include_thoughts
                    .or_else(|| other("includeThoughts")?.parse_as().ok()),
                thinking_budget: config.thinking_budget.or_else(|| other("thinkingBudget")?.parse_as().ok()),
                thinking_level: config
                    .thinking_level
                    .clone()
                    .or_else(|| other("thinkingLevel")?.to_text())
                    .map(|it| it.to_ascii_uppercase()),
            };
            for (key, _) in config.extra.iter() {
                if !["includeThoughts", "thinkingBudget", "thinkingLevel"].contains(&key) {
                    self.changes.drop(&format!("extra_body.google.thinking_config.{key}"), NO_WORD);
                }
            }
            return Ok((thinking != Thinking::default()).then_some(thinking));
        }
        let Some(effort) = &self.request.reasoning_effort else { return Ok(None) };
        let unknown = |remedy: &str| {
            Err(BatchError::new("reasoning_effort", "a word that this model does not have", remedy))
        };
        if self.is_2 {
            let budget = match effort {
                ReasoningEffort::None => 0,
                ReasoningEffort::Minimal | ReasoningEffort::Low => 1024,
                ReasoningEffort::Medium => 8192,
                ReasoningEffort::High => 24_576,
                _ => return unknown("use none, low, medium or high"),
            };
            return Ok(Some(Thinking { thinking_budget: Some(budget), ..Thinking::default() }));
        }
        let is_pro = self.request.model.as_deref().is_some_and(|it| it.contains("-pro"));
        let level = match effort {
            ReasoningEffort::Minimal if is_pro => {
                self.changes
                    .rewrite("reasoning_effort", "`minimal` became `low`, the least that this model has");
                "LOW"
            }
            ReasoningEffort::Minimal => "MINIMAL",
            ReasoningEffort::Low => "LOW",
            ReasoningEffort::Medium => "MEDIUM",
            ReasoningEffort::High => "HIGH",
            ReasoningEffort::None => return unknown("Gemini 3 always thinks; use minimal or low"),
            _ => return unknown("use minimal, low, medium or high"),
        };
        Ok(Some(Thinking { thinking_level: Some(level.to_owned()), ..Thinking::default() }))
    }

    fn safety_settings(&mut self) -> Vec<Safety> {
        let settings = self.google().and_then(|it| it.safety_settings.clone()).unwrap_or_default();
        let mut native = Vec::with_capacity(settings.len());
        for (i, it) in settings.into_iter().enumerate() {
            self.tell_extra(&it.extra, &format!("extra_body.google.safety_settings[{i}]"));
            native.push(Safety { category: it.category, threshold: it.threshold, method: it.method });
        }
        native
    }

    /// All functions are in one tool; Google's own stand beside it.
    fn tools(&mut self) -> Result<Vec<NativeTool>, BatchError> {
        let mut declarations = Vec::new();
        for (i, tool) in self.request.tools.iter().flatten().enumerate() {
            declarations.push(self.declaration(tool, &format!("tools[{i}]"))?);
        }
        let mut tools = Vec::new();
        if !declarations.is_empty() {
            tools.push(NativeTool::Functions { declarations });
        }
        for (i, tool) in self.google().and_then(|it| it.tools.as_ref()).into_iter().flatten().enumerate() {
            if !tool.as_str().trim_start().starts_with('{') {
                let path = format!("extra_body.google.tools[{i}]");
                return Err(BatchError::new(path, "not an object", r#"write such as {"urlContext":{…}}"#));
            }
            tools.push(NativeTool::Google(tool.clone()));
        }
        Ok(tools)
    }

    fn declaration(&mut self, tool: &Tool, path: &str) -> Result<Declaration, BatchError> {
        let is_function = tool.r#type.as_ref().is_none_or(|it| *it == ToolType::Function);
        let Some(function) = tool.function.as_ref().filter(|_| is_function) else {
            let problem = "a tool that is no function";
            return Err(BatchError::new(
                path,
                problem,
                "write Google's own tools in `extra_body.google.tools`",
            ));
        };
        let path = format!("{path}.function");
        if function.strict.is_some() {
            self.changes.drop(&format!("{path}.strict"), NO_WORD);
        }
        self.tell_extra(&function.extra, &path);
        Ok(Declaration {
            name: function.name.clone().unwrap_or_default(),
            description: function.description.clone(),
            parameters: self.schema(function.parameters.as_ref(), &format!("{path}.parameters")),
        })
    }

    fn tool_config(&mut self) -> Result<Option<ToolConfig>, BatchError> {
        let Some(choice) = &self.request.tool_choice else { return Ok(None) };
        let (mode, allowed_function_names) = match choice {
            ToolChoice::Mode(mode) => (mode_word(mode, "tool_choice")?, Vec::new()),
            ToolChoice::Named(named) => chosen(named)?,
            _ => return Err(unknown_choice("tool_choice")),
        };
        let has_functions = self.request.tools.as_ref().is_some_and(|it| !it.is_empty());
        if !has_functions && mode != "ANY" {
            self.changes.drop("tool_choice", "there are no tools to choose from");
            return Ok(None);
        }
        let function_calling_config = FunctionCalling { mode, allowed_function_names };
        Ok(Some(ToolConfig { function_calling_config }))
    }
}

fn google_of(content: Option<&ExtraContent>) -> Option<&GoogleContent> {
    content.and_then(|it| it.google.as_ref())
}

/// The arguments of a call: an object, or nothing.
fn arguments_of(arguments: &str, path: &str) -> Result<Option<Json>, BatchError> {
    let arguments = arguments.trim();
    if arguments.is_empty() {
        return Ok(None);
    }
    let fields = Extra::from_json(arguments);
    let fields = fields.map_err(|_| {
        BatchError::new(path, "arguments that are no JSON object", "write an object, as the model did")
    })?;
    if fields.is_empty() {
        return Ok(None);
    }
    Ok(arguments.parse().ok())
}

/// `MEDIA_RESOLUTION_HIGH`, also of `high`.
fn resolution_word(word: &str) -> String {
    let word = word.to_ascii_uppercase();
    if word.starts_with("MEDIA_RESOLUTION_") { word } else { format!("MEDIA_RESOLUTION_{word}") }
}

fn unknown_choice(path: &str) -> BatchError {
    BatchError::new(
        path,
        "a choice that Gemini does not have",
        "use none, auto, required, validated or a function",
    )
}

fn mode_word(mode: &ToolMode, path: &str) -> Result<&'static str, BatchError> {
    match mode {
        ToolMode::None => Ok("NONE"),
        ToolMode::Auto => Ok("AUTO"),
        ToolMode::Required => Ok("ANY"),
        ToolMode::Validated => Ok("VALIDATED"),
        _ => Err(unknown_choice(path)),
    }
}

/// One function, or one of several.
fn chosen(choice: &NamedToolChoice) -> Result<(&'static str, Vec<String>), BatchError> {
    if let (None | Some(ToolChoiceType::Function), Some(function)) = (&choice.r#type, &choice.function) {
        return Ok(("ANY", function.name.iter().cloned().collect()));
    }
    let Some(allowed) = &choice.allowed_tools else { return Err(unknown_choice("tool_choice")) };
    if allowed.mode != Some(ToolMode::Required) {
        let problem = "a selection of which none need be called, which Gemini does not have";
        let remedy = "leave the other tools out of `tools`, and write `auto`";
        return Err(BatchError::new("tool_choice.allowed_tools.mode", problem, remedy));
    }
    let mut names = Vec::new();
    for (i, tool) in allowed.tools.iter().flatten().enumerate() {
        let name = tool.parse_as::<Tool>().map(|it| it.name().to_owned()).unwrap_or_default();
        if name.is_empty() {
            let path = format!("tool_choice.allowed_tools.tools[{i}]");
            return Err(BatchError::new(
                path,
                "not a function by name",
                r#"write {"type":"function","function":{"name":…}}"#,
            ));
        }
        names.push(name);
    }
    Ok(("ANY", names))
}

/// What a turn is of. Results of tools have a turn of their own: Gemini 3 refuses anything beside them.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Words,
    Results,
}

#[derive(Default)]
struct Turns {
    contents: Vec<Turn>,
    last: Option<(&'static str, Kind)>,
    system: Vec<Part>,
    /// Which function a call's id is of. Gemini knows calls by their name and order.
    names: HashMap<String, String>,
}

impl Turns {
    fn push(&mut self, role: &'static str, kind: Kind, parts: Vec<Part>) {
        match self.contents.last_mut().filter(|_| self.last == Some((role, kind))) {
            Some(turn) => turn.parts.extend(parts),
            None => self.contents.push(Turn { role: Some(role), parts }),
        }
        self.last = Some((role, kind));
    }
}
