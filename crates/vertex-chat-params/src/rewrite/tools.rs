//! Tools, choices, and the rounds of calls and results.

use std::collections::{HashMap, HashSet, VecDeque};

use vertex_chat_types::{Extra, FunctionCallChoice, Json, Message, Role, Tool, ToolChoice, ToolMode};

use super::gemini::{FILLER, is_empty};
use super::{Rewriter, call_ids};
use crate::Dialect;
use crate::report::FunctionNames;
use crate::rules::{is_function_name, is_name_letter, longest_name};

/// The text that the model gets in place of a missing result.
const MISSING_RESULT: &str = "The result of this call is missing.";

/// Google's own tools by their names in `tools`, and as they are called natively.
const NATIVE_TOOLS: [(&str, &str); 6] = [
    ("google_search", "googleSearch"),
    ("google_search_retrieval", "googleSearchRetrieval"),
    ("code_execution", "codeExecution"),
    ("url_context", "urlContext"),
    ("google_maps", "googleMaps"),
    ("enterprise_web_search", "enterpriseWebSearch"),
];
/// The search of OpenAI's Responses API, whose tools people send here.
const WEB_SEARCH: [&str; 3] = ["web_search", "web_search_preview", "web_search_2025_08_26"];

fn is_model(message: &Message) -> bool {
    matches!(message.role, Role::Assistant | Role::Model)
}

fn has_calls(message: &Message) -> bool {
    is_model(message) && message.tool_calls.as_ref().is_some_and(|it| !it.is_empty())
}

impl Rewriter<'_> {
    /// Gemini takes: a turn with calls, behind it a result for each, and nothing else in between.
    pub(super) fn tool_rounds(&mut self) {
        let messages = &self.request.messages;
        let is_of_tools = |it: &Message| has_calls(it) || it.role == Role::Tool;
        // A call without an id cannot be told from another.
        let lacks_id = |it: &Message| it.tool_calls.iter().flatten().any(|call| call.id.is_none());
        if !messages.iter().any(is_of_tools) || messages.iter().any(lacks_id) {
            return;
        }
        // Where the calls and the results of an id are, so that no step looks through all messages.
        let mut called: HashMap<String, VecDeque<usize>> = HashMap::new();
        let mut answered: HashMap<String, VecDeque<usize>> = HashMap::new();
        for (i, message) in messages.iter().enumerate() {
            if has_calls(message) {
                for id in call_ids(message) {
                    called.entry(id).or_default().push_back(i);
                }
            } else if let Some(id) = message.tool_call_id.as_ref().filter(|_| message.role == Role::Tool) {
                answered.entry(id.clone()).or_default().push_back(i);
            }
        }
        let mut left: Vec<Option<Message>> =
            std::mem::take(&mut self.request.messages).into_iter().map(Some).collect();
        let mut out: Vec<Message> = Vec::with_capacity(left.len());
        let mut notes: Vec<(String, &str)> = Vec::new();
        let mut has_begun = false;
        for i in 0..left.len() {
            let Some(mut message) = left[i].take() else { continue };
            if message.role == Role::Tool {
                notes.push((
                    format!("messages[{i}]"),
                    "left out: no call before it waits for a result with this `tool_call_id`",
                ));
                continue;
            }
            if !has_calls(&message) {
                has_begun |= !matches!(message.role, Role::System | Role::Developer);
                out.push(message);
                continue;
            }
            // Parallel calls that a client has written as one message each.
            let mut last = i;
            for (j, slot) in left.iter_mut().enumerate().skip(i + 1) {
                let Some(other) = slot.as_mut().filter(|it| has_calls(it)) else { break };
                let more = other.tool_calls.take().unwrap_or_default();
                message.tool_calls.get_or_insert_default().extend(more);
                if is_empty(&message) {
                    message.content = std::mem::take(&mut other.content);
                }
                notes.push((
                    format!("messages[{j}].tool_calls"),
                    "the calls went to the message before: they are parallel",
                ));
                *slot = None;
                last = j;
            }
            if !std::mem::replace(&mut has_begun, true) {
                out.push(Message::user(FILLER));
                notes.push((
                    format!("messages[{i}]"),
                    "a message of one space stands before the call: a conversation begins with the user",
                ));
            }
            let ids = call_ids(&message);
            out.push(message);
            for (place, id) in ids.into_iter().enumerate() {
                // Some clients give their calls the same ids in every turn.
                let again = called.get_mut(&id).and_then(|it| {
                    while it.front().is_some_and(|at| *at <= last) {
                        it.pop_front();
                    }
                    it.front().copied()
                });
                let results = answered.entry(id.clone()).or_default();
                while results.front().is_some_and(|at| *at < i) {
                    results.pop_front();
                }
                let at = results.front().copied().filter(|at| again.is_none_or(|again| *at < again));
                if let Some(result) = at.and_then(|at| left[at].take()) {
                    results.pop_front();
                    out.push(result);
                    continue;
                }
                notes.push((
                    format!("messages[{i}].tool_calls[{place}]"),
                    "a word about its missing result stands in the result's place",
                ));
                let mut result = Message::new(Role::Tool, MISSING_RESULT);
                result.tool_call_id = Some(id);
                out.push(result);
            }
        }
        self.request.messages = out;
        self.notes(notes);
    }

    /// Tools that are no functions, where they belong; and function tools in the form of OpenAI's Responses API.
    pub(super) fn native_tools(&mut self) {
        let Some(tools) = self.request.tools.take() else { return };
        let mut kept = Vec::with_capacity(tools.len());
        for (i, tool) in tools.into_iter().enumerate() {
            let path = format!("tools[{i}]");
            let kind = tool.r#type.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default();
            if tool.function.is_some() || tool.custom.is_some() {
                kept.push(tool);
            } else if kind == "function" && tool.extra.get("name").is_some() {
                match flat_function(&tool) {
                    Some(whole) => {
                        self.note(path, "name, description and parameters went into `function`");
                        kept.push(whole);
                    }
                    None => kept.push(tool),
                }
            } else if let Some(native) = native_tool(&tool, &kind) {
                self.native_tool(path, native);
            } else {
                let message = match kind.is_empty() {
                    true => "neither a function nor a tool of Google's",
                    false => "a kind of tool that Gemini does not have here",
                };
                self.refuse(
                    path,
                    message,
                    "send function tools, or Google's own such as {\"google_search\":{}}",
                );
            }
        }
        self.request.tools = (!kept.is_empty()).then_some(kept);
    }

    fn native_tool(&mut self, path: String, native: Json) {
        if self.dialect == Dialect::GeminiDeveloper {
            let message =
                "a tool of Google's, which the Developer API does not take on its OpenAI-compatible endpoint";
            self.refuse(path, message, "use a model on Vertex AI for it, or send function tools");
            return;
        }
        let google = self.request.extra_body.get_or_insert_default().google.get_or_insert_default();
        google.tools.get_or_insert_default().push(native);
        self.note(path, "it went to `extra_body.google.tools`");
    }

    /// Names that Gemini refuses, everywhere in the request. The new name follows from the old one, so that it is the same in
    /// every turn.
    pub(super) fn function_names(&mut self) {
        let longest = longest_name(self.dialect);
        let request = &mut *self.request;
        let of_tools = request.tools.iter_mut().flatten().enumerate();
        let mut places: Vec<(String, &mut Option<String>)> = of_tools
            .filter_map(|(i, it)| {
                Some((format!("tools[{i}].function.name"), &mut it.function.as_mut()?.name))
            })
            .collect();
        let functions = request.functions.iter_mut().flatten().enumerate();
        places.extend(functions.map(|(i, it)| (format!("functions[{i}].name"), &mut it.name)));
        if let Some(ToolChoice::Named(named)) = &mut request.tool_choice
            && let Some(function) = &mut named.function
        {
            places.push(("tool_choice.function.name".to_owned(), &mut function.name));
        }
        if let Some(FunctionCallChoice::Named(named)) = &mut request.function_call {
            places.push(("function_call.name".to_owned(), &mut named.name));
        }
        for (i, message) in request.messages.iter_mut().enumerate() {
            let of_calls = message.tool_calls.iter_mut().flatten().enumerate();
            places.extend(of_calls.filter_map(|(j, it)| {
                Some((
                    format!("messages[{i}].tool_calls[{j}].function.name"),
                    &mut it.function.as_mut()?.name,
                ))
            }));
            if let Some(call) = &mut message.function_call {
                places.push((format!("messages[{i}].function_call.name"), &mut call.name));
            }
            if matches!(message.role, Role::Tool | Role::Function) {
                places.push((format!("messages[{i}].name"), &mut message.name));
            }
        }
        let mut taken: HashSet<String> = places
            .iter()
            .filter_map(|(_, name)| (**name).clone())
            .filter(|it| is_function_name(it, longest))
            .collect();
        let mut new_names: HashMap<String, String> = HashMap::new();
        let mut paths = Vec::new();
        for (path, place) in places {
            let Some(name) = place.as_mut().filter(|it| !it.is_empty() && !is_function_name(it, longest))
            else {
                continue;
            };
            let new = new_names.entry(name.clone()).or_insert_with(|| {
                let mut number = 0;
                loop {
                    let new = other_name(name, longest, number);
                    if taken.insert(new.clone()) {
                        return new;
                    }
                    number += 1;
                }
            });
            name.clone_from(new);
            paths.push(path);
        }
        let pairs = new_names.into_iter().map(|(callers, sent)| (sent, callers)).collect();
        self.report.set_function_names(FunctionNames::new(pairs));
        for path in paths {
            self.note(path, "it is sent under another name, because Gemini refuses this one");
        }
    }

    /// A choice among tools, in the words that Gemini has.
    pub(super) fn gemini_choice(&mut self) {
        if self.request.tools.as_ref().is_some_and(Vec::is_empty) {
            self.request.tools = None;
            self.note("tools", "left out: the list is empty");
        }
        let has_tools = self.request.tools.is_some();
        match self.request.tool_choice.take() {
            Some(_) if !has_tools => {
                self.note("tool_choice", "left out: there are no functions to choose from");
            }
            Some(ToolChoice::Mode(mode)) if mode.as_str() == "any" => {
                self.request.tool_choice = Some(ToolChoice::Mode(ToolMode::Required));
                self.note("tool_choice", "`any` became `required`");
            }
            Some(ToolChoice::Named(named)) if named.allowed_tools.is_some() => {
                let allowed = named.allowed_tools.unwrap_or_default();
                let names: HashSet<String> =
                    allowed.tools.iter().flatten().map(allowed_name).filter(|it| !it.is_empty()).collect();
                let tools = self.request.tools.get_or_insert_default();
                tools.retain(|it| names.contains(it.name()));
                if tools.is_empty() {
                    let path = "tool_choice.allowed_tools.tools";
                    self.refuse(path, "none of them is in `tools`", "name functions that are in `tools`");
                }
                self.request.tool_choice = Some(ToolChoice::Mode(allowed.mode.unwrap_or(ToolMode::Auto)));
                self.note("tool_choice", "only the allowed tools are sent, with their mode");
            }
            choice => self.request.tool_choice = choice,
        }
    }
}

/// A function tool as OpenAI's Responses API has it, in the form of Chat Completions.
fn flat_function(tool: &Tool) -> Option<Tool> {
    let name = tool.extra.get("name")?.to_text()?;
    let mut whole = Tool::function(name);
    let function = whole.function.get_or_insert_default();
    function.description = tool.extra.get("description").and_then(Json::to_text);
    function.parameters = tool.extra.get("parameters").filter(|it| !it.is_null()).cloned();
    Some(whole)
}

/// A tool of Google's in the native words; `None` for any other.
fn native_tool(tool: &Tool, kind: &str) -> Option<Json> {
    let written = |name: &str, options: Option<&Json>| {
        let mut native = Extra::default();
        let options = options.filter(|it| it.as_str().starts_with('{')).cloned();
        native.insert(name, options.unwrap_or_else(|| "{}".parse().expect("because it is JSON")));
        Json::from(&native)
    };
    for (name, native) in NATIVE_TOOLS {
        let options = tool.extra.get(name).or_else(|| tool.extra.get(native));
        if options.is_some() || kind == name || kind == native {
            return Some(written(native, options));
        }
    }
    WEB_SEARCH.contains(&kind).then(|| written("googleSearch", None))
}

/// The name in `{"type":"function","function":{"name":…}}`, or in the flat form of the Responses API.
fn allowed_name(tool: &Json) -> String {
    let Ok(tool) = Extra::from_json(tool) else { return String::new() };
    let inner = tool.get("function").and_then(|it| Extra::from_json(it).ok());
    let name = inner.as_ref().and_then(|it| it.get("name")).or_else(|| tool.get("name"));
    name.and_then(Json::to_text).unwrap_or_default()
}

/// A name that Gemini takes: what can stay of the old one, and a mark of the whole of it. `number` tells apart those that would
/// be the same.
fn other_name(name: &str, longest: usize, number: u32) -> String {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mark = format!("_{:08x}", hash.wrapping_add(number));
    let mut new: String = name.chars().map(|it| if is_name_letter(it) { it } else { '_' }).collect();
    if !new.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_') {
        new.insert(0, '_');
    }
    new.truncate(longest - mark.len());
    new + &mark
}
