//! What the emulator's models say: the same every time, and useful without a model.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use vertex_chat_types::{
    ChatRequest, Content, ContentPart, FunctionCallChoice, GoogleOptions, Json, JsonSchemaFormat, Message,
    Modality, Nullable, ResponseFormat, Role, Stop, ToolChoice, ToolMode,
};

use crate::schema::instance;

/// A red dot, one pixel by one, as PNG: what a model of the emulator's draws.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// Thinking that the emulator pretends to do, in tokens, by effort.
const REASONING_TOKENS: [(&str, u64); 6] =
    [("minimal", 8), ("low", 32), ("medium", 128), ("high", 512), ("xhigh", 1024), ("max", 2048)];
/// What it says that it thought, where thoughts are asked for.
pub(crate) const THOUGHT: &str = "The person wants an answer. I look at what came in, and say what I see.\n";

/// One answer, before it is put into a service's shape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The text in tokens.
    pub(crate) tokens: Vec<String>,
    pub(crate) calls: Vec<Call>,
    /// Base64 of a picture, where one was asked for.
    pub(crate) picture: Option<&'static str>,
    /// Whether the text is to be spoken.
    pub(crate) is_spoken: bool,
    /// What the model thought, where that was asked for.
    pub(crate) thought: Option<&'static str>,
    /// The stop sequence that ended the text.
    pub(crate) stopped_by: Option<String>,
    pub(crate) finish_reason: &'static str,
    pub(crate) completion_tokens: u64,
    pub(crate) reasoning_tokens: u64,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        self.tokens.concat()
    }
}

/// A call to a tool.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    /// What Gemini 3 wants to see again.
    pub(crate) signature: Option<String>,
    /// Whether it came of the deprecated `functions`.
    pub(crate) is_function: bool,
    /// Whether the tool takes free text.
    pub(crate) is_custom: bool,
}

/// What a service's models do in their own way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Whether calls carry thought signatures.
    pub(crate) signs: bool,
    /// How the ids of calls begin.
    pub(crate) call_prefix: &'static str,
    /// The most calls of an answer.
    pub(crate) calls_max: usize,
    /// Whether the deprecated `functions` are looked at.
    pub(crate) takes_functions: bool,
    /// Whether there are pictures and sounds.
    pub(crate) has_media: bool,
    /// How much is thought when nobody says how much.
    pub(crate) effort: &'static str,
}

/// Answers a request: choice `number` of those that it asks for.
pub(crate) fn answer(request: &ChatRequest, number: u64, manner: Manner) -> Answer {
    let seed = request.seed.unwrap_or(0).unsigned_abs().wrapping_add(number);
    let mut answer = Answer { finish_reason: "stop", ..Answer::default() };
    answer.reasoning_tokens = reasoning_tokens(request, manner);
    let thinking = google(request).and_then(|it| it.thinking_config.as_ref());
    answer.thought = thinking.is_some_and(|it| it.include_thoughts == Some(true)).then_some(THOUGHT);
    answer.calls = calls(request, seed, manner);
    if !answer.calls.is_empty() {
        answer.finish_reason = if answer.calls[0].is_function { "function_call" } else { "tool_calls" };
        answer.completion_tokens =
            answer.calls.iter().map(|call| count(&call.name) + count(&call.arguments)).sum();
        return answer;
    }
    let asks_for =
        |kind: Modality| manner.has_media && request.modalities.iter().flatten().any(|it| *it == kind);
    if asks_for(Modality::Image) {
        answer.picture = Some(PICTURE);
        answer.completion_tokens = 1120;
        return answer;
    }
    answer.is_spoken = asks_for(Modality::Audio);
    let mut text = text(request, seed);
    let stops = request.stop.iter().flat_map(Stop::sequences);
    if let Some((end, stop)) = stops.filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min() {
        text.truncate(end);
        answer.stopped_by = Some(stop.clone());
    }
    answer.tokens = tokens(&text);
    // Thinking counts, as it does at Google's: a small limit leaves nothing for the text.
    let limit = request.max_completion_tokens.or(request.max_tokens).and_then(|it| usize::try_from(it).ok());
    if let Some(limit) = limit {
        let room = limit.saturating_sub(usize::try_from(answer.reasoning_tokens).unwrap_or(usize::MAX));
        if answer.tokens.len() > room {
            answer.tokens.truncate(room);
            answer.finish_reason = "length";
            answer.stopped_by = None;
        }
    }
    answer.completion_tokens = answer.tokens.len() as u64;
    answer
}

/// What a request says to Google alone, in whichever of the two places.
pub(crate) fn google(request: &ChatRequest) -> Option<&GoogleOptions> {
    request.extra_body.as_ref().and_then(|it| it.google.as_ref()).or(request.google.as_ref())
}

fn reasoning_tokens(request: &ChatRequest, manner: Manner) -> u64 {
    let of = |word: &str| REASONING_TOKENS.iter().find(|(known, _)| *known == word).map_or(0, |it| it.1);
    if let Some(effort) = &request.reasoning_effort {
        return of(effort.as_str());
    }
    let Some(thinking) = google(request).and_then(|it| it.thinking_config.as_ref()) else {
        return of(manner.effort);
    };
    match (&thinking.thinking_level, thinking.thinking_budget) {
        (Some(level), _) => of(&level.to_ascii_lowercase()),
        (None, Some(budget)) if budget >= 0 => of("medium").min(budget.unsigned_abs()),
        (None, Some(_)) => of("medium"),
        (None, None) if thinking.include_thoughts == Some(true) => of("medium"),
        (None, None) => of(manner.effort),
    }
}

/// How many tokens a request's prompt has.
pub(crate) fn prompt_tokens(request: &ChatRequest) -> u64 {
    let content = |message: &Message| match message.content.get() {
        Some(Content::Text(text)) => count(text),
        Some(content) => content.parts().iter().map(|part| part.text.as_deref().map_or(258, count)).sum(),
        None => 0,
    };
    let tools = request.tools.iter().flatten().map(|tool| count(tool.name()) + 8).sum::<u64>();
    request.messages.iter().map(content).sum::<u64>() + tools
}

fn count(text: &str) -> u64 {
    tokens(text).len() as u64
}

/// A word with the white space before it is a token; so is a line end.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for character in text.chars() {
        if tokens.is_empty() || (in_word && character.is_whitespace()) {
            tokens.push(String::new());
        }
        in_word = !character.is_whitespace();
        if let Some(last) = tokens.last_mut() {
            last.push(character);
        }
    }
    tokens
}

/// The calls that an answer makes: those whose tools the prompt names, otherwise one to the first tool.
fn calls(request: &ChatRequest, seed: u64, manner: Manner) -> Vec<Call> {
    let mut tools: Vec<(&str, Option<&Json>)> = match (&request.tools, &request.functions) {
        (Some(tools), _) if !tools.is_empty() => tools
            .iter()
            .map(|tool| (tool.name(), tool.function.as_ref().and_then(|it| it.parameters.as_ref())))
            .collect(),
        (_, Some(functions)) if manner.takes_functions => functions
            .iter()
            .map(|it| (it.name.as_deref().unwrap_or_default(), it.parameters.as_ref()))
            .collect(),
        _ => return Vec::new(),
    };
    let is_function = request.tools.as_ref().is_none_or(Vec::is_empty);
    let (named, mode) = match (is_function, &request.tool_choice, &request.function_call) {
        (false, Some(ToolChoice::Named(choice)), _) => {
            let named = choice.function.as_ref().or(choice.custom.as_ref());
            let allowed = choice.allowed_tools.as_ref();
            if let Some(allowed) = allowed {
                let names: Vec<String> = allowed.tools.iter().flatten().map(allowed_name).collect();
                tools.retain(|(name, _)| names.iter().any(|it| it == name));
            }
            (named.and_then(|it| it.name.as_deref()), allowed.and_then(|it| it.mode.as_ref()))
        }
        (false, Some(ToolChoice::Mode(mode)), _) | (true, _, Some(FunctionCallChoice::Mode(mode))) => {
            (None, Some(mode))
        }
        (true, _, Some(FunctionCallChoice::Named(named))) => (named.name.as_deref(), None),
        _ => (None, None),
    };
    let answers_a_tool = answers_a_call(request);
    let must = named.is_some() || mode == Some(&ToolMode::Required);
    if mode == Some(&ToolMode::None) || (answers_a_tool && !must) {
        return Vec::new();
    }
    let prompt = last_user_text(request).to_lowercase();
    let mentioned = |name: &str| {
        let name = name.to_lowercase();
        prompt.contains(&name) || prompt.contains(&name.replace('_', " "))
    };
    let mut chosen: Vec<_> = match named {
        Some(named) => tools.iter().filter(|(name, _)| *name == named).collect(),
        None => tools.iter().filter(|(name, _)| mentioned(name)).collect(),
    };
    if chosen.is_empty() {
        chosen.extend(tools.first());
    }
    // A message has room for one function.
    chosen.truncate(if is_function { 1 } else { manner.calls_max });
    // Another round asks for other ids.
    let round = seed.wrapping_add((request.messages.len() as u64) << 32);
    let call = |(position, (name, parameters)): (usize, &(&str, Option<&Json>))| {
        let id = format!("{}{:016x}", manner.call_prefix, mix(round, position as u64, name));
        let signature = (manner.signs && position == 0).then(|| signature(&id));
        let is_custom = request.tools.iter().flatten().any(|it| it.custom.is_some() && it.name() == *name);
        let arguments = match parameters {
            _ if is_custom => "example".to_owned(),
            Some(schema) => instance(schema, "example"),
            None => "{}".to_owned(),
        };
        Call { id, name: (*name).to_owned(), arguments, signature, is_function, is_custom }
    };
    chosen.into_iter().enumerate().map(call).collect()
}

/// The name of a tool in a selection, whose form OpenAI leaves open.
pub(crate) fn allowed_name(tool: &Json) -> String {
    let tool: Value = serde_json::from_str(tool.as_str()).unwrap_or_default();
    let name = |kind: &str| tool[kind]["name"].as_str().map(str::to_owned);
    name("function").or_else(|| name("custom")).unwrap_or_default()
}

/// The thought signature of a call: what its id alone can tell, so that the next turn can be checked.
pub(crate) fn signature(id: &str) -> String {
    STANDARD.encode(format!("thought about {id}"))
}

/// A number out of numbers and a text; FNV-1a, for ids that are the same every time.
pub(crate) fn mix(seed: u64, position: u64, text: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(position.to_le_bytes()).chain(text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn text(request: &ChatRequest, seed: u64) -> String {
    let format = request.response_format.as_ref();
    if let Some(schema) = format.and_then(|it| it.json_schema.as_ref()).and_then(|it| it.schema.as_ref()) {
        return instance(schema, "example");
    }
    if let Some(value) = format.and_then(|it| it.extra.get("value")) {
        // TGI's form: the schema itself, or beside its name.
        let named = value.parse_as::<JsonSchemaFormat>().ok().and_then(|it| it.schema);
        return instance(named.as_ref().unwrap_or(value), "example");
    }
    if format.is_some_and(ResponseFormat::is_json) {
        return format!(r#"{{"answer":{}}}"#, Json::from(received(request)).as_str());
    }
    let asked = last_user_text(request).to_lowercase().contains("magic backpack");
    if asked && !answers_a_call(request) { story(seed) } else { received(request) }
}

/// Whether the last message brings the result of a call.
fn answers_a_call(request: &ChatRequest) -> bool {
    request.messages.last().is_some_and(|it| matches!(it.role, Role::Tool | Role::Function))
}

fn last_user_text(request: &ChatRequest) -> String {
    let last = request.messages.iter().rev().find(|message| message.role == Role::User);
    last.and_then(|message| message.content.get()).map(Content::text).unwrap_or_default()
}

/// What the request held, in words.
fn received(request: &ChatRequest) -> String {
    let mut said = String::from("This is the emulator; no model was asked. I received ");
    let messages = request.messages.len();
    let _ = write!(said, "{messages} message{}", if messages == 1 { "" } else { "s" });
    let media: Vec<_> = request
        .messages
        .iter()
        .filter_map(|it| it.content.get())
        .flat_map(Content::parts)
        .filter_map(medium)
        .collect();
    if !media.is_empty() {
        let _ = write!(said, " with {}", media.join(", "));
    }
    match request.messages.last() {
        Some(message) if matches!(message.role, Role::Tool | Role::Function) => {
            let result = message.content.get().map(Content::text).unwrap_or_default();
            let call = message.tool_call_id.as_deref().or(message.name.as_deref()).unwrap_or_default();
            let _ = write!(said, ". The tool call {call} answered: {result}");
        }
        _ => {
            let _ = write!(said, ". The last one from you says: {}", last_user_text(request));
        }
    }
    said
}

/// A picture or sound, in words.
fn medium(part: &ContentPart) -> Option<String> {
    if let Some(sound) = &part.input_audio {
        return Some(format!("sound of {} characters", sound.data().len()));
    }
    if let Some(file) = &part.file {
        return Some(format!("the file {}", file.filename.as_deref().unwrap_or("without a name")));
    }
    let url = part.image_url.as_ref()?.url();
    Some(match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((mime, data)) => {
            let bytes = STANDARD.decode(data).map(|it| it.len());
            bytes.map_or_else(
                |_| format!("{mime} that is not base64"),
                |bytes| format!("{mime} of {bytes} bytes"),
            )
        }
        None => url.to_owned(),
    })
}

/// A short story about a magic backpack. Which one depends on the seed.
fn story(seed: u64) -> String {
    const HEROES: [(&str, &str, &str); 4] = [
        ("Mira", "a brass compass", "the north"),
        ("Tomas", "a jar of fireflies", "home"),
        ("Aiko", "a folded paper boat", "the sea"),
        ("Nuru", "a loaf of warm bread", "the market"),
    ];
    let (hero, gift, place) = HEROES[usize::try_from(seed % HEROES.len() as u64).unwrap_or(0)];
    format!(
        "{hero} found the backpack on the last seat of the night bus, green and patched and lighter than it had any \
         right to be. Nobody came back for it.\n\nThe first morning there was {gift} inside, though {hero} had packed \
         nothing. \"You are not mine,\" {hero} told the bag, and the buckle clicked as if it disagreed.\n\nIt never gave \
         what was asked for. It gave an umbrella on a day without clouds, and by noon the whole street stood under it. \
         It gave a single red button, and the old man at the corner wept, because his coat was whole again.\n\nSo {hero} \
         learned to reach in without wishing. One evening the bag was empty but for a note: \"Now you know the way to \
         {place}. Leave me where somebody needs to begin.\"\n\n{hero} walked to the station, set the backpack on the \
         last seat of the night bus, and stepped off just before the doors closed."
    )
}

/// Whether a message of the assistant carries the thought signatures that Gemini 3 wants: on the first call of each
/// step of the current turn. Gives the name of the call that has none, and the number of its message from 1.
pub(crate) fn missing_signature(request: &ChatRequest) -> Option<(String, usize)> {
    const ESCAPE: &str = "skip_thought_signature_validator";
    let turn =
        request.messages.iter().rposition(|message| message.role == Role::User).map_or(0, |last| last + 1);
    for (i, message) in request.messages.iter().enumerate().skip(turn) {
        let Some(call) = message.tool_calls.as_ref().and_then(|calls| calls.first()) else { continue };
        let expected = signature(call.id.as_deref().unwrap_or_default());
        let good = call.thought_signature().is_some_and(|given| given == expected || given == ESCAPE);
        if !good {
            return Some((call.name().to_owned(), i + 1));
        }
    }
    None
}

/// Whether any message has something in it that is not an instruction.
pub(crate) fn has_contents(request: &ChatRequest) -> bool {
    request.messages.iter().any(|message| {
        let said =
            !matches!(message.content, Nullable::Absent | Nullable::Null) || message.tool_calls.is_some();
        said && !matches!(message.role, Role::System | Role::Developer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANNER: Manner = Manner {
        signs: false,
        call_prefix: "call_",
        calls_max: 8,
        takes_functions: true,
        has_media: true,
        effort: "none",
    };

    #[test]
    fn tokens_put_together_are_the_text() {
        for text in ["", "one", " one two\n\nthree  ", "日本 語"] {
            assert_eq!(tokens(text).concat(), text);
        }
        assert_eq!(tokens("a b\n\nc").len(), 3);
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let request = |seed| {
            ChatRequest::new("m", [Message::user("Write a story about a magic backpack.")]).with_seed(seed)
        };
        let story = |seed| answer(&request(seed), 0, MANNER).text();
        assert_eq!(story(1), story(1));
        assert_ne!(story(1), story(2));
    }

    #[test]
    fn stop_and_length_end_a_text_and_say_so() {
        let request = ChatRequest::new("m", [Message::user("say: one two STOP three")]);
        let whole = answer(&request, 0, MANNER);
        assert_eq!(whole.finish_reason, "stop");
        let stopped = answer(&request.clone().with_stop(" STOP"), 0, MANNER);
        assert!(stopped.text().ends_with("one two"), "{}", stopped.text());
        let cut = answer(&request.clone().with_max_tokens(3), 0, MANNER);
        assert_eq!((cut.tokens.len(), cut.finish_reason), (3, "length"));
        let thought = answer(&request.with_max_tokens(3).with_reasoning_effort("low"), 0, MANNER);
        assert_eq!(
            (thought.tokens.len(), thought.finish_reason, thought.reasoning_tokens),
            (0, "length", 32)
        );
    }
}
