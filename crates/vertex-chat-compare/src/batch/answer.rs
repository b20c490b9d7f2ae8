//! Rows of a job's output as results of a run.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use vertex_chat::types::Extra;
use vertex_chat::{ChatCompletion, Json, ToolCall};

use crate::record::{CallLine, ErrorLine, ResultLine};
use crate::text::shortened;

/// Lower than any HTTP status: a code of Google's remote calls.
const HTTP_STATUS_MIN: u64 = 100;

/// One row of the output, whichever form it has, with columns without a value left out.
pub(super) struct Row(Extra);

impl Row {
    pub(super) fn new(fields: Extra) -> Self {
        Self(fields)
    }

    /// A column. Tables can hold an object as text.
    pub(super) fn column(&self, name: &str) -> Option<Json> {
        let json = self.0.get(name).filter(|it| !it.is_null())?;
        match json.to_text() {
            Some(text) if text.trim_start().starts_with('{') => {
                text.parse().ok().or_else(|| Some(json.clone()))
            }
            _ => Some(json.clone()),
        }
    }

    /// A column of text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Json::to_text).filter(|it| !it.trim().is_empty())
    }

    fn object(&self, name: &str) -> Option<Extra> {
        self.column(name)?.parse_as().ok()
    }
}

/// A row of Gemini's form.
pub(super) fn of_gemini(row: &Row) -> ResultLine {
    let response = row.column("response").unwrap_or_else(|| Json::from(Value::Object(Map::new())));
    match response.parse_as::<Response>() {
        // What the status says of a row with an answer does not matter: documented is that it says nothing.
        Ok(response) if response.is_answer() => response.result(),
        Ok(Response { error: Some(error), .. }) => of_error(&error, None),
        Ok(_) => failed(row),
        Err(error) => failure("unreadable", &format!("the answer cannot be read: {error}"), None),
    }
}

/// A row of OpenAI's form: a completion, or one that is wrapped in what HTTP would say.
pub(super) fn of_openai(row: &Row) -> ResultLine {
    let response = row.object("response").unwrap_or_default();
    let body = response.get("body").cloned().or_else(|| row.column("response"));
    let Some(body) = body else { return failed(row) };
    let status = response.get("status_code").and_then(|it| it.parse_as::<u16>().ok());
    let fields = Extra::from_json(&body).unwrap_or_default();
    if let Some(error) = fields.get("error").filter(|it| !it.is_null()) {
        return of_error(error, status.map(u64::from));
    }
    if row.column("error").is_some() || status.is_some_and(|it| !(200..300).contains(&it)) {
        return failed_with(row, status);
    }
    match ChatCompletion::from_json(&body) {
        Ok(completion) if !completion.choices.is_empty() => {
            let mut result = of_completion(&completion, fields.get("usage"));
            result.status = status.or(Some(200));
            result
        }
        Ok(_) => failed_with(row, status),
        Err(error) => failure("unreadable", &format!("the answer cannot be read: {error}"), status),
    }
}

fn of_completion(completion: &ChatCompletion, usage: Option<&Json>) -> ResultLine {
    let choice = completion.choices.first();
    let message = choice.and_then(|it| it.message.as_ref());
    let call = |it: &ToolCall| CallLine {
        name: it.name().to_owned(),
        arguments: it.arguments().to_owned(),
        ..CallLine::default()
    };
    ResultLine {
        attempts: 1,
        model: completion.model.clone(),
        request_id: completion.id.clone(),
        finish_reason: choice.and_then(|it| it.finish_reason.get()).map(|it| it.as_str().to_owned()),
        content: message.and_then(|it| it.content.get()).map(vertex_chat::Content::text),
        refusal: message.and_then(|it| it.refusal.get()).cloned(),
        calls: completion.tool_calls().iter().map(call).collect(),
        usage: usage.filter(|it| !it.is_null()).cloned(),
        ..ResultLine::default()
    }
}

/// What `generateContent` answers. A table may have written numbers as text and what was absent as null.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<PromptFeedback>,
    usage_metadata: Option<UsageMetadata>,
    model_version: Option<String>,
    response_id: Option<String>,
    error: Option<Json>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Candidate {
    content: Option<CandidateContent>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CandidateContent {
    parts: Option<Vec<AnswerPart>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnswerPart {
    text: Option<String>,
    thought: Option<bool>,
    function_call: Option<AnswerCall>,
    inline_data: Option<Json>,
    file_data: Option<Json>,
    executable_code: Option<Json>,
    code_execution_result: Option<Json>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerCall {
    name: Option<String>,
    args: Option<Json>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PromptFeedback {
    block_reason: Option<String>,
    block_reason_message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UsageMetadata {
    #[serde(deserialize_with = "count")]
    prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    tool_use_prompt_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    cached_content_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    candidates_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    thoughts_token_count: Option<u64>,
    #[serde(deserialize_with = "count")]
    total_token_count: Option<u64>,
    prompt_tokens_details: Option<Vec<ModalityCount>>,
    candidates_tokens_details: Option<Vec<ModalityCount>>,
    traffic_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ModalityCount {
    modality: Option<String>,
    #[serde(deserialize_with = "count")]
    token_count: Option<u64>,
}

/// A number of tokens, also as text; anything else is none.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => {
            number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok())
        }
        Value::String(text) => text.parse().ok(),
        _ => None,
    })
}

impl Response {
    fn is_answer(&self) -> bool {
        let is_blocked = self.prompt_feedback.as_ref().is_some_and(|it| it.block_reason.is_some());
        is_blocked || self.candidates.as_ref().is_some_and(|it| !it.is_empty())
    }

    fn result(self) -> ResultLine {
        let mut result = ResultLine {
            attempts: 1,
            status: Some(200),
            model: self.model_version,
            request_id: self.response_id,
            usage: self.usage_metadata.as_ref().map(UsageMetadata::as_openai),
            ..ResultLine::default()
        };
        match self.candidates.into_iter().flatten().next() {
            Some(candidate) => candidate.fill(&mut result),
            None => {
                let feedback = self.prompt_feedback.unwrap_or_default();
                result.finish_reason = Some("content_filter".to_owned());
                result.refusal =
                    feedback.block_reason_message.or(feedback.block_reason).map(|it| shortened(&it));
            }
        }
        result
    }
}

impl Candidate {
    fn fill(self, result: &mut ResultLine) {
        for part in self.content.and_then(|it| it.parts).into_iter().flatten() {
            if let Some(text) = part.text.filter(|_| part.thought != Some(true)) {
                result.content.get_or_insert_default().push_str(&text);
            }
            if let Some(call) = part.function_call {
                let arguments = call.args.map_or_else(|| "{}".to_owned(), |it| it.as_str().to_owned());
                let name = call.name.unwrap_or_default();
                result.calls.push(CallLine { name, arguments, ..CallLine::default() });
            }
            let unkept = [
                ("inlineData", part.inline_data.is_some()),
                ("fileData", part.file_data.is_some()),
                ("executableCode", part.executable_code.is_some()),
                ("codeExecutionResult", part.code_execution_result.is_some()),
            ];
            for (what, is_there) in unkept {
                let change = format!("dropped `{what}` of the answer: results hold text and calls");
                if is_there && !result.changes.contains(&change) {
                    result.changes.push(change);
                }
            }
        }
        let reason = self.finish_reason.unwrap_or_default();
        if reason == "MALFORMED_FUNCTION_CALL" {
            let message = self
                .finish_message
                .unwrap_or_else(|| "the model wrote a call that cannot be read".to_owned());
            result.error =
                Some(ErrorLine { kind: "malformed_function_call".to_owned(), message: shortened(&message) });
            return;
        }
        let word = finish_reason(&reason, !result.calls.is_empty());
        if word == "content_filter" {
            result.refusal = Some(shortened(&self.finish_message.unwrap_or(reason)));
        }
        result.finish_reason = Some(word.to_owned());
    }
}

/// Why an answer ended, in OpenAI's words.
fn finish_reason(reason: &str, has_calls: bool) -> &'static str {
    match reason {
        "MAX_TOKENS" => "length",
        "SAFETY"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "RECITATION"
        | "LANGUAGE"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS" => "content_filter",
        _ if has_calls => "tool_calls",
        _ => "stop",
    }
}

impl UsageMetadata {
    /// As Vertex's OpenAI-compatible endpoint writes it: thinking is in the total, and not in the completion.
    fn as_openai(&self) -> Json {
        let prompt = self
            .prompt_token_count
            .unwrap_or(0)
            .saturating_add(self.tool_use_prompt_token_count.unwrap_or(0));
        let completion = self.candidates_token_count.unwrap_or(0);
        let thoughts = self.thoughts_token_count.unwrap_or(0);
        let sum = prompt.saturating_add(completion).saturating_add(thoughts);
        let details = |fields: [(&str, Option<u64>); 2]| {
            let fields = fields.into_iter().filter_map(|(key, count)| Some((key.to_owned(), count?.into())));
            Value::Object(fields.collect())
        };
        let audio = |counts: &Option<Vec<ModalityCount>>| {
            let sound = counts.iter().flatten().find(|it| it.modality.as_deref() == Some("AUDIO"));
            sound.and_then(|it| it.token_count)
        };
        let prompt_details = details([
            ("cached_tokens", self.cached_content_token_count),
            ("audio_tokens", audio(&self.prompt_tokens_details)),
        ]);
        let completion_details = details([
            ("reasoning_tokens", Some(thoughts)),
            ("audio_tokens", audio(&self.candidates_tokens_details)),
        ]);
        let mut usage = serde_json::json!({
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": self.total_token_count.unwrap_or(sum),
            "completion_tokens_details": completion_details,
        });
        if prompt_details.as_object().is_some_and(|it| !it.is_empty()) {
            usage["prompt_tokens_details"] = prompt_details;
        }
        if let Some(traffic) = &self.traffic_type {
            usage["extra_properties"] = serde_json::json!({ "google": { "traffic_type": traffic } });
        }
        Json::from(usage)
    }
}

/// A row without an answer: an error object, or a status such as `Bad Request: {"error":{"code":400,…}}`.
fn failed(row: &Row) -> ResultLine {
    failed_with(row, None)
}

fn failed_with(row: &Row, status: Option<u16>) -> ResultLine {
    let status = status.map(u64::from);
    if let Some(error) = row.column("error") {
        return of_error(&error, status);
    }
    // An object in the column is an error too.
    if let Some(json) = row.column("status").filter(|it| it.as_str().starts_with('{')) {
        return of_error(&json, status);
    }
    let Some(text) = row.text("status") else {
        let code = status.and_then(|it| u16::try_from(it).ok());
        return failure(&kind_of(status, None), "the row has neither an answer nor a reason", code);
    };
    let json = text.find('{').and_then(|at| text[at..].parse::<Json>().ok());
    match json {
        Some(json) => of_error(&json, status),
        None => failure(&kind_of(status, None), &text, status.and_then(|it| u16::try_from(it).ok())),
    }
}

/// `{"error":{"code","message","status"}}`, the inner object alone, or a text.
fn of_error(error: &Json, status: Option<u64>) -> ResultLine {
    let mut fields: Extra = error.parse_as().unwrap_or_default();
    if let Some(inner) = fields.get("error").and_then(|it| it.parse_as().ok()) {
        fields = inner;
    }
    // OpenAI's codes are words.
    let code = fields.get("code").and_then(|it| match it.to_text() {
        Some(text) => text.parse().ok(),
        None => it.parse_as::<u64>().ok(),
    });
    let word = ["status", "code", "type"].iter().find_map(|key| fields.get(key).and_then(Json::to_text));
    let message = fields.get("message").and_then(Json::to_text).or_else(|| error.to_text());
    let code = code.or(status);
    let http = code.filter(|it| *it >= HTTP_STATUS_MIN).and_then(|it| u16::try_from(it).ok());
    failure(&kind_of(code, word.as_deref()), &message.unwrap_or_else(|| error.as_str().to_owned()), http)
}

/// One word for an error, the same as for requests that were sent one by one where it has an HTTP status.
fn kind_of(code: Option<u64>, word: Option<&str>) -> String {
    match (code, word) {
        (Some(429), _) => "rate_limited".to_owned(),
        (Some(code @ HTTP_STATUS_MIN..), _) => format!("http_{code}"),
        (_, Some(word))
            if word.bytes().all(|it| it.is_ascii_alphabetic() || it == b'_') && !word.is_empty() =>
        {
            let word = word.to_ascii_lowercase();
            if word.starts_with("batch_") { word } else { format!("batch_{word}") }
        }
        (Some(code), _) => format!("batch_code_{code}"),
        (None, _) => "batch_failed".to_owned(),
    }
}

fn failure(kind: &str, message: &str, status: Option<u16>) -> ResultLine {
    let error = ErrorLine { kind: kind.to_owned(), message: shortened(message) };
    ResultLine { attempts: 1, status, error: Some(error), ..ResultLine::default() }
}
