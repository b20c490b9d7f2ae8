//! `vertex-chat chat`: one question, or a conversation.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};
use vertex_chat::auth::shown_path;
use vertex_chat::transport::LogText;
use vertex_chat::types::{NATIVE_FINISH_REASON, Nullable};
use vertex_chat::{
    Accumulator, CallOptions, ChatCompletion, ChatCompletionChunk, ChatRequest, Client, Content, ContentPart,
    ErrorKind, FinishReason, Json, Message, Report, Timeouts,
};

use crate::emulate::Embedded;
use crate::interrupt::{Interrupts, Stop};
use crate::request::{Parameters, read_file, read_stdin};
use crate::target::Target;
use crate::{Failure, out};

/// The model when none is named.
const DEFAULT_MODEL: &str = "google/gemini-2.5-flash";
/// How much of a server's word for the end of an answer is shown.
const WORD_CHARS_MAX: usize = 80;

#[derive(Debug, Args)]
pub(crate) struct ChatArguments {
    /// What to ask; `-` or nothing reads it from stdin, which is not read otherwise. Without it on a terminal: a
    /// conversation.
    prompt: Option<String>,
    /// Instructions above the conversation.
    #[arg(long, short)]
    system: Option<String>,
    /// A picture, or on Vertex other media: a file, or an address (gs://…, https://…). May be given several times.
    #[arg(long, value_name = "FILE|URL")]
    image: Vec<String>,
    /// The model, on Vertex `publisher/model`. Else google/gemini-2.5-flash where Gemini is, and none elsewhere.
    #[arg(long, short)]
    model: Option<String>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    parameters: Parameters,
    /// Print the whole completion as JSON.
    #[arg(long)]
    json: bool,
    /// Wait for the whole answer instead of showing it as it arrives.
    #[arg(long)]
    no_stream: bool,
    /// Ask an emulator that is started for this command: no cloud project, no credentials.
    #[arg(long, conflicts_with_all = ["host", "base_url"])]
    emulator: bool,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
}

pub(crate) async fn run(
    arguments: ChatArguments,
    verbose: bool,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let embedded = match arguments.emulator {
        true => {
            Some(Embedded::start(arguments.target.credentials.as_deref(), verbose, Duration::ZERO).await?)
        }
        false => None,
    };
    let builder = Client::builder().rewrites(arguments.parameters.rewrites());
    let client = match &embedded {
        Some(embedded) => embedded.apply(arguments.target.apply(builder).await?).build()?,
        None => interrupts.end(arguments.target.client(builder)).await?,
    };
    let result = converse(&arguments, &client, interrupts).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    result
}

async fn converse(
    arguments: &ChatArguments,
    client: &Client,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let prompt = match arguments.prompt.as_deref() {
        Some(prompt) if prompt != "-" => Some(prompt.to_owned()),
        None if std::io::stdin().is_terminal() => None,
        // On a thread of its own: Ctrl-C would else wait for the end of stdin.
        _ => {
            let reading = tokio::task::spawn_blocking(read_stdin);
            let ended = |error| Failure::Local(format!("stdin: {error}"));
            Some(interrupts.end(async { reading.await.map_err(ended)? }).await?)
        }
    };
    let mut request = base_request(arguments, client)?;
    let options = call_options(arguments)?;
    match prompt {
        Some(prompt) => {
            request.messages.push(Message::user(user_content(prompt, &arguments.image)?));
            whole(&interrupts.end(ask(client, request, &options, arguments)).await?)
        }
        None => conversation(client, request, &options, arguments, interrupts).await,
    }
}

/// Asks once and shows the answer.
async fn ask(
    client: &Client,
    request: ChatRequest,
    options: &CallOptions,
    arguments: &ChatArguments,
) -> Result<ChatCompletion, Failure> {
    if arguments.no_stream {
        let answer = client.chat_with(request, options).await?;
        tell_report(answer.meta().report());
        let completion = answer.into_inner();
        if !arguments.json {
            out::write(&completion.text())?;
        }
        return finish(completion, arguments);
    }
    let mut stream = client.chat_stream_with(request, options).await?;
    tell_report(stream.meta().report());
    let mut whole = Accumulator::new();
    let mut shown = String::new();
    while let Some(chunk) = stream.next().await {
        let chunk: ChatCompletionChunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                if !shown.is_empty() && !shown.ends_with('\n') && !arguments.json {
                    out::write("\n")?;
                }
                return Err(error.into());
            }
        };
        let text = chunk.text();
        if !arguments.json && !text.is_empty() {
            out::write(&text)?;
            shown = text.into_owned();
        }
        whole.push(chunk).map_err(|error| Failure::Local(error.to_string()))?;
    }
    finish(whole.into_completion(), arguments)
}

/// Shows what is left to show of an answer whose text has been shown.
fn finish(completion: ChatCompletion, arguments: &ChatArguments) -> Result<ChatCompletion, Failure> {
    if arguments.json {
        let json = serde_json::to_string_pretty(&completion).expect("because a completion is JSON");
        out::line(json)?;
        return Ok(completion);
    }
    let text = completion.text();
    if !text.is_empty() && !text.ends_with('\n') {
        out::write("\n")?;
    }
    if completion.choices.len() > 1 {
        out::note(format_args!("note: the first of {} answers; --json shows all", completion.choices.len()));
    }
    for call in completion.tool_calls() {
        out::line(format_args!("tool call: {}({})", call.name(), call.arguments()))?;
    }
    let choice = completion.choices.first();
    if let Some(refusal) = choice.and_then(|it| it.message.as_ref()?.refusal.get()) {
        out::note(format_args!("the model refused: {refusal}"));
    }
    if choice.and_then(|it| it.finish_reason.get()) == Some(&FinishReason::Length) {
        out::note("note: the answer ends at the token limit; on Gemini thinking counts towards it");
    }
    Ok(completion)
}

/// # Errors
/// When a filter ended the answer: what was shown is not the answer.
fn whole(completion: &ChatCompletion) -> Result<(), Failure> {
    let Some(choice) = completion.choices.first() else { return Ok(()) };
    if choice.finish_reason != Nullable::Value(FinishReason::ContentFilter) {
        return Ok(());
    }
    let word = choice.extra.get(NATIVE_FINISH_REASON).and_then(Json::to_text);
    let word = word.map_or_else(String::new, |it| format!(" ({})", LogText::new(&it, WORD_CHARS_MAX)));
    Err(Failure::NotWhole(format!("a filter ended the answer{word}; it is not whole")))
}

fn tell_report(report: &Report) {
    for note in report.notes() {
        out::note(format_args!("note: {note}"));
    }
}

/// Questions from a terminal until it ends. Ctrl-C gives up an answer, and at the prompt the conversation.
async fn conversation(
    client: &Client,
    mut request: ChatRequest,
    options: &CallOptions,
    arguments: &ChatArguments,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    out::note("A conversation; end it with Ctrl-D. Ctrl-C gives up an answer.");
    let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
    let mut images = arguments.image.as_slice();
    loop {
        out::write("> ")?;
        let line =
            async { lines.next_segment().await.map_err(|error| Failure::Local(format!("stdin: {error}"))) };
        let Some(line) = interrupts.end(line).await? else { return out::write("\n") };
        let Ok(line) = String::from_utf8(line) else {
            out::note("that was not UTF-8; nothing was sent");
            continue;
        };
        if line.trim().is_empty() {
            continue;
        }
        request.messages.push(Message::user(user_content(line, images)?));
        let answer = tokio::select! {
            answer = ask(client, request.clone(), options, arguments) => answer,
            stop = interrupts.next() => {
                if stop == Stop::Terminate {
                    return Err(Failure::Interrupted);
                }
                out::note("\n(given up)");
                request.messages.pop();
                continue;
            }
        };
        match answer {
            Ok(completion) => {
                if let Err(failure) = whole(&completion) {
                    failure.tell();
                }
                images = &[];
                request.messages.extend(completion.to_message());
            }
            Err(Failure::Client(error)) if error.kind() != ErrorKind::Configuration => {
                // The question is taken back, so that it can be put differently.
                Failure::Client(error).tell();
                request.messages.pop();
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// The request without the question.
fn base_request(arguments: &ChatArguments, client: &Client) -> Result<ChatRequest, Failure> {
    let messages: Vec<Message> = arguments.system.iter().map(|it| Message::system(it.as_str())).collect();
    // Only there is it known which models there are.
    let has_gemini = client.chat_url().path().ends_with("/endpoints/openapi/chat/completions");
    let model = arguments.model.clone().or_else(|| has_gemini.then(|| DEFAULT_MODEL.to_owned()));
    let mut request = ChatRequest::without_model(messages);
    request.model = model;
    arguments.parameters.apply(request)
}

fn call_options(arguments: &ChatArguments) -> Result<CallOptions, Failure> {
    let mut options = CallOptions::new();
    if let Some(seconds) = arguments.timeout {
        let total = Duration::try_from_secs_f64(seconds)
            .map_err(|error| Failure::Usage(format!("--timeout: {error}")))?;
        options = options.with_timeouts(Timeouts::default().with_total(total));
    }
    if let Some(policy) = arguments.parameters.unsupported {
        options = options.with_policy(policy);
    }
    Ok(options)
}

fn user_content(prompt: String, images: &[String]) -> Result<Content, Failure> {
    if images.is_empty() {
        return Ok(prompt.into());
    }
    let mut parts = vec![ContentPart::text(prompt)];
    for image in images {
        parts.push(ContentPart::image_url(image_url(image)?));
    }
    Ok(parts.into())
}

/// An address as it is; a file as `data:`.
fn image_url(image: &str) -> Result<String, Failure> {
    if ["gs://", "http://", "https://", "data:"].iter().any(|scheme| image.starts_with(scheme)) {
        return Ok(image.to_owned());
    }
    let path = Path::new(image);
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_ascii_lowercase();
    let mime = match extension.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => {
            let known = "png, jpg, webp, gif, heic, heif, pdf, mp3, wav, mp4";
            return Err(Failure::Usage(format!(
                "{}: the file's type is not known by its name; known are {known}",
                shown_path(image)
            )));
        }
    };
    Ok(format!("data:{mime};base64,{}", STANDARD.encode(read_file(path)?)))
}
