//! What is asked for beside the prompt: the parameters of a request, and files that are read for it.

use std::io::Read;
use std::path::Path;

use clap::Args;
use vertex_chat::auth::shown_path;
use vertex_chat::{ChatRequest, Json, Policy, ResponseFormat, Rewrite, Rewrites};

use crate::Failure;

/// The largest picture, and the longest prompt, that is read from a file or from stdin.
const INPUT_BYTES_MAX: u64 = 20 << 20;

#[derive(Debug, Args)]
#[command(next_help_heading = "Parameters")]
pub(crate) struct Parameters {
    /// Randomness, 0 to 2.
    #[arg(long, allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// Probability mass to choose from, 0 to 1.
    #[arg(long, allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// The most tokens of the answer. On Gemini thinking counts.
    #[arg(long, allow_negative_numbers = true)]
    max_tokens: Option<i64>,
    /// For answers that can be had again.
    #[arg(long, allow_negative_numbers = true)]
    seed: Option<i64>,
    /// Where to stop. May be given several times.
    #[arg(long)]
    stop: Vec<String>,
    /// How much the model should think: none, minimal, low, medium, high.
    #[arg(long)]
    reasoning_effort: Option<String>,
    /// The answer is to be JSON; with `--json-answer=FILE`, of the JSON Schema in that file.
    #[arg(long, value_name = "SCHEMA.json", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    json_answer: Option<String>,
    /// The tools that the model may call: a JSON file with OpenAI's `tools`.
    #[arg(long, value_name = "FILE.json")]
    tools: Option<String>,
    /// Any other parameter; a value that is not JSON is a string. May be given several times.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    other: Vec<String>,
    /// What becomes of parameters that the server does not take: forward, drop or reject. Else drop on Gemini and
    /// forward elsewhere.
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub(crate) unsupported: Option<Policy>,
    /// Switch a rewrite off, by its name; `vertex-chat params` lists them. May be given several times.
    #[arg(long, value_name = "RULE")]
    pub(crate) no_rewrite: Vec<Rewrite>,
}

fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "forward" => Ok(Policy::Forward),
        "drop" => Ok(Policy::Drop),
        "reject" => Ok(Policy::Reject),
        _ => Err("it is one of forward, drop, reject".to_owned()),
    }
}

impl Parameters {
    /// The rewrites that are not switched off.
    pub(crate) fn rewrites(&self) -> Rewrites {
        self.no_rewrite.iter().fold(Rewrites::all(), |rewrites, rule| rewrites.without(*rule))
    }

    /// A request with these parameters.
    pub(crate) fn apply(&self, mut request: ChatRequest) -> Result<ChatRequest, Failure> {
        request.temperature = self.temperature;
        request.top_p = self.top_p;
        request.max_tokens = self.max_tokens;
        request.seed = self.seed;
        if !self.stop.is_empty() {
            request.stop = Some(self.stop.clone().into());
        }
        request.reasoning_effort = self.reasoning_effort.as_deref().map(Into::into);
        request.response_format = match self.json_answer.as_deref() {
            None => None,
            Some("") => Some(ResponseFormat::json_object()),
            Some(path) => Some(ResponseFormat::json_schema("answer", read_json(path)?)),
        };
        if let Some(path) = &self.tools {
            let tools = read_json(path)?.parse_as();
            request.tools = Some(tools.map_err(|error| Failure::Usage(format!("{path}: {error}")))?);
        }
        if self.other.is_empty() { Ok(request) } else { with_parameters(&request, &self.other) }
    }
}

fn read_json(path: &str) -> Result<Json, Failure> {
    let text = read_text(Path::new(path), INPUT_BYTES_MAX)?;
    text.parse().map_err(|error| Failure::Usage(format!("{path} is not JSON: {error}")))
}

/// Sets parameters by name, through JSON, so that every one of the protocol and of a server's own can be set.
fn with_parameters(request: &ChatRequest, parameters: &[String]) -> Result<ChatRequest, Failure> {
    let mut fields = request.to_fields();
    for parameter in parameters {
        let Some((name, text)) = parameter.split_once('=') else {
            return Err(Failure::Usage(format!("`--param {parameter}` is not NAME=VALUE")));
        };
        // As it is spelled: models answer in the order of a schema's properties.
        fields.insert(name, text.parse::<Json>().unwrap_or_else(|_| Json::from(text)));
    }
    ChatRequest::from_json(fields.to_json()).map_err(|error| Failure::Usage(format!("--param: {error}")))
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    read_up_to(path, INPUT_BYTES_MAX)
}

/// A file of text, up to so many bytes.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let text = String::from_utf8(read_up_to(path, bytes_max)?);
    text.map_err(|_| Failure::Usage(format!("{} is not UTF-8", shown_path(path))))
}

fn read_up_to(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let cannot = |error: std::io::Error| Failure::Usage(format!("{}: {error}", shown_path(path)));
    let file = std::fs::File::open(path).map_err(cannot)?;
    read_all(file, &shown_path(path), bytes_max)
}

pub(crate) fn read_stdin() -> Result<String, Failure> {
    let bytes = read_all(std::io::stdin().lock(), "stdin", INPUT_BYTES_MAX)?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::Usage("stdin is not UTF-8".to_owned()))?;
    match text.trim_end_matches(['\n', '\r']) {
        "" => Err(Failure::Usage("there is no prompt: give it as an argument or on stdin".to_owned())),
        text => Ok(text.to_owned()),
    }
}

fn read_all(source: impl Read, name: &str, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = source.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::Usage(format!("{name} is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}
