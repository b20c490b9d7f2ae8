//! A stream of events, put together as common clients do it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vertex_chat_sse::{Decoder, Item};

use crate::observe::ReadBody;

/// The most types of events that are told.
const EVENT_TYPES_MAX: usize = 100;

/// What there is below `stream`.
pub(crate) const STREAM_NAMES: [&str; 17] = [
    "first",
    "last",
    "errors",
    "not_json",
    "done",
    "after_done",
    "event_types",
    "line_ends",
    "stray",
    "unfinished",
    "whole",
    "arrivals",
    "usages",
    "usage_at",
    "usage_has_choices",
    "choices",
    "chunks",
];

/// What was in a stream of events.
///
/// | path below `stream` | is |
/// |---|---|
/// | `chunks` | the JSON of every event that has some, but for errors |
/// | `first`, `last` | the first and the last of them |
/// | `errors` | events with an `error` in them |
/// | `not_json` | how many events are neither JSON nor `[DONE]` |
/// | `done`, `after_done` | how often `[DONE]` came, how many events after it |
/// | `event_types` | what `event:` said, each once |
/// | `line_ends` | `lf`, `crlf`, `cr`, each if it was used |
/// | `stray` | lines that are no field |
/// | `unfinished` | whether the last event lacks its blank line |
/// | `whole` | whether the body came to its end |
/// | `arrivals` | in how many groups the pieces came |
/// | `usages` | every `usage` that is not null; `usage_at` is `last`, `every` or `elsewhere` |
/// | `usage_has_choices` | whether the last chunk with usage has choices too |
/// | `choices` | by index: `index`, `text`, `reasoning`, `refusal`, `roles`, `first_delta`, `finish_reasons`, `after_finish`, `tool_calls`, `function_call`, `logprobs` |
/// | `choices[].tool_calls` | by index: `index`, `id`, `type`, `name`, `arguments`, `ids`, `names`, `fragments`, `without_index` |
#[derive(Debug, Default)]
pub(crate) struct Events {
    chunks: Vec<Value>,
    errors: Vec<Value>,
    event_types: BTreeSet<String>,
    stray: Vec<String>,
    not_json: u64,
    done: u64,
    after_done: u64,
    unfinished: bool,
    choices: BTreeMap<u64, Choice>,
}

#[derive(Debug, Default)]
struct Choice {
    text: String,
    reasoning: String,
    refusal: String,
    roles: u64,
    first_delta: Option<Value>,
    finish_reasons: Vec<Value>,
    after_finish: u64,
    calls: BTreeMap<u64, Call>,
    function_name: Option<String>,
    function_arguments: String,
    logprobs: Vec<Value>,
}

#[derive(Debug, Default)]
struct Call {
    id: String,
    kind: String,
    name: String,
    arguments: String,
    ids: u64,
    names: u64,
    fragments: u64,
    without_index: u64,
    signature: Option<String>,
}

impl Events {
    pub(crate) fn of(read: &ReadBody) -> Self {
        let mut events = Self::default();
        let mut decoder = Decoder::new();
        let mut input = &read.bytes[..];
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Item::Event(event))) => events.take(&event.event, &event.data),
                Ok(Some(Item::Stray(line))) => events.stray.push(line.into_owned()),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    events.not_json += 1;
                    break;
                }
            }
        }
        let left = decoder.finish();
        events.unfinished = left.data.is_some();
        events.stray.extend(left.stray);
        events
    }

    fn take(&mut self, kind: &str, data: &str) {
        if !kind.is_empty() && self.event_types.len() < EVENT_TYPES_MAX {
            self.event_types.insert(kind.to_owned());
        }
        if self.done > 0 {
            self.after_done += 1;
        }
        if data.trim() == "[DONE]" {
            self.done += 1;
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            self.not_json += 1;
            return;
        };
        if chunk.get("error").is_some_and(|it| !it.is_null()) {
            self.errors.push(chunk);
            return;
        }
        for choice in chunk["choices"].as_array().into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap_or(0);
            self.choices.entry(index).or_default().take(choice);
        }
        self.chunks.push(chunk);
    }

    pub(crate) fn into_json(self, read: &ReadBody) -> Value {
        let with_usage: Vec<usize> =
            (0..self.chunks.len()).filter(|i| self.chunks[*i]["usage"].is_object()).collect();
        let usage_at = match with_usage.as_slice() {
            [] => Value::Null,
            all if all.len() == self.chunks.len() && all.len() > 1 => "every".into(),
            [one] if *one + 1 == self.chunks.len() => "last".into(),
            _ => "elsewhere".into(),
        };
        let has_choices = |i: &usize| self.chunks[*i]["choices"].as_array().is_some_and(|it| !it.is_empty());
        let choices: Vec<Value> = self.choices.iter().map(|(index, choice)| choice.to_json(*index)).collect();
        json!({
            "first": self.chunks.first(),
            "last": self.chunks.last(),
            "errors": self.errors,
            "not_json": self.not_json,
            "done": self.done,
            "after_done": self.after_done,
            "event_types": self.event_types,
            "line_ends": line_ends(&read.bytes),
            "stray": self.stray,
            "unfinished": self.unfinished,
            "whole": read.problem.is_none() && !read.cancelled,
            "arrivals": read.arrivals,
            "usages": with_usage.iter().map(|i| self.chunks[*i]["usage"].clone()).collect::<Vec<_>>(),
            "usage_at": usage_at,
            "usage_has_choices": with_usage.last().map(has_choices),
            "choices": choices,
            "chunks": self.chunks,
        })
    }
}

impl Choice {
    fn take(&mut self, choice: &Value) {
        let delta = &choice["delta"];
        let text = |key: &str| delta[key].as_str().unwrap_or_default();
        if self.first_delta.is_none() {
            self.first_delta = Some(delta.clone());
        }
        let says = ["content", "reasoning_content", "refusal"].iter().any(|key| !text(key).is_empty())
            || delta["tool_calls"].is_array()
            || delta["function_call"].is_object();
        if says && !self.finish_reasons.is_empty() {
            self.after_finish += 1;
        }
        self.text.push_str(text("content"));
        self.reasoning.push_str(text("reasoning_content"));
        self.refusal.push_str(text("refusal"));
        self.roles += u64::from(!delta["role"].is_null());
        if !choice["finish_reason"].is_null() {
            self.finish_reasons.push(choice["finish_reason"].clone());
        }
        for (position, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = call["index"].as_u64();
            let place = index.unwrap_or(position as u64);
            let known = self.calls.entry(place).or_default();
            known.without_index += u64::from(index.is_none());
            known.take(call);
        }
        if let Some(function) = delta.get("function_call").filter(|it| it.is_object()) {
            if let Some(name) = function["name"].as_str() {
                self.function_name.get_or_insert_default().push_str(name);
            }
            self.function_arguments.push_str(function["arguments"].as_str().unwrap_or_default());
        }
        self.logprobs.extend(choice["logprobs"]["content"].as_array().into_iter().flatten().cloned());
    }

    fn to_json(&self, index: u64) -> Value {
        let calls: Vec<Value> = self.calls.iter().map(|(index, call)| call.to_json(*index)).collect();
        let function = self.function_name.as_ref();
        json!({
            "index": index,
            "text": self.text,
            "reasoning": self.reasoning,
            "refusal": self.refusal,
            "roles": self.roles,
            "first_delta": self.first_delta,
            "finish_reasons": self.finish_reasons,
            "after_finish": self.after_finish,
            "tool_calls": calls,
            "function_call": function.map(|name| json!({"name": name, "arguments": self.function_arguments})),
            "logprobs": self.logprobs,
        })
    }
}

impl Call {
    /// As the accumulators of common clients do: what comes again is appended.
    fn take(&mut self, call: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(id) = call["id"].as_str().filter(|it| !it.is_empty()) {
            self.ids += 1;
            if self.id.is_empty() {
                self.id = id.to_owned();
            }
        }
        if let Some(name) = call["function"]["name"].as_str().filter(|it| !it.is_empty()) {
            self.names += 1;
            self.name.push_str(name);
        }
        if self.kind.is_empty() {
            self.kind = text(&call["type"]);
        }
        self.arguments.push_str(&text(&call["function"]["arguments"]));
        self.fragments += 1;
        if let Some(signature) = call["extra_content"]["google"]["thought_signature"].as_str() {
            self.signature = Some(signature.to_owned());
        }
    }

    fn to_json(&self, index: u64) -> Value {
        json!({
            "index": index,
            "id": self.id,
            "type": self.kind,
            "name": self.name,
            "arguments": self.arguments,
            "ids": self.ids,
            "names": self.names,
            "fragments": self.fragments,
            "without_index": self.without_index,
            "thought_signature": self.signature,
        })
    }
}

/// The line ends that were used.
fn line_ends(bytes: &[u8]) -> Vec<&'static str> {
    let (mut lf, mut crlf, mut cr) = (false, false, false);
    let mut after_cr = false;
    for byte in bytes {
        match byte {
            b'\n' if after_cr => crlf = true,
            b'\n' => lf = true,
            _ if after_cr => cr = true,
            _ => {}
        }
        after_cr = *byte == b'\r';
    }
    cr |= after_cr;
    [(lf, "lf"), (crlf, "crlf"), (cr, "cr")]
        .into_iter()
        .filter(|(used, _)| *used)
        .map(|(_, word)| word)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Value {
        let read = ReadBody { bytes: text.as_bytes().to_vec(), arrivals: 1, problem: None, cancelled: false };
        Events::of(&read).into_json(&read)
    }

    #[test]
    fn a_stream_is_put_together_as_clients_do() {
        let seen = events(
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"},\"finish_reason\":null}]}\n\n\
             data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n\
             data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\ndata: [DONE]\n\n",
        );
        assert_eq!(seen["choices"][0]["text"], "ab");
        assert_eq!(seen["choices"][0]["roles"], 1);
        assert_eq!(seen["choices"][0]["finish_reasons"], json!(["stop"]));
        assert_eq!((&seen["done"], &seen["usage_at"]), (&json!(1), &json!("last")));
        assert_eq!((&seen["usage_has_choices"], &seen["line_ends"]), (&json!(false), &json!(["lf"])));
    }

    #[test]
    fn repeated_names_pile_up_and_stray_lines_are_kept() {
        let call = |name: &str| {
            format!(
                "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":0,\"id\":\"i\",\"function\":{{\"name\":\"{name}\",\"arguments\":\"1\"}}}}]}}}}]}}\r\n\r\n"
            )
        };
        let seen = events(&format!("{}{}{{\"error\":{{}}}}\r\ndata: x\n\n", call("f"), call("f")));
        let call = &seen["choices"][0]["tool_calls"][0];
        assert_eq!(
            (&call["name"], &call["names"], &call["arguments"]),
            (&json!("ff"), &json!(2), &json!("11"))
        );
        assert_eq!(seen["stray"].as_array().unwrap().len(), 1);
        assert_eq!((&seen["not_json"], &seen["line_ends"]), (&json!(1), &json!(["lf", "crlf"])));
        assert_eq!(seen["done"], 0);
        let names: BTreeSet<&str> = STREAM_NAMES.into();
        let said: BTreeSet<&str> = seen.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, said);
    }
}
