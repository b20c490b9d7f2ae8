//! `vertex-chat compare`: the same requests to several models, and what came of them side by side.

mod batch;
mod table;
mod targets;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use vertex_chat::auth::shown_path;
use vertex_chat::transport::SystemClock;
use vertex_chat::{ChatRequest, Json, Message};
use vertex_chat_compare::{
    Arrivals, Breaks, Comparison, Estimate, Judge, Plan, Prices, Prompt, Report, Scoring, Settings, Stage,
    Summary, begun_at, html, read_csv, read_lines, report, rfc3339,
};
use vertex_chat_emulator::Performance;

use crate::emulate::Embedded;
use crate::interrupt::Interrupts;
use crate::replace::Output;
use crate::request::{Parameters, read_stdin};
use crate::{Failure, out};

use table::Bars;

/// Who is asked with `--emulator` when nobody is named, and how they perform: invented, so that there is something to see.
const EMULATED: [&str; 3] = [
    "google/gemini-2.5-flash-lite:first_token_ms=120,token_ms=2,fails_every=12,voice=2",
    "google/gemini-2.5-flash:first_token_ms=250,token_ms=4,exhausted_every=25",
    "google/gemini-2.5-pro:first_token_ms=600,token_ms=9,voice=3",
];
/// How many prompts the terminal shows with their answers.
const PROMPTS_PRINTED_MAX: usize = 3;

/// Ask several models the same, and compare answers, cost and scale.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub(crate) struct CompareArguments {
    #[command(subcommand)]
    command: Option<CompareCommand>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Debug, Subcommand)]
enum CompareCommand {
    /// Make one report of runs that were made before, such as of this week's and last week's.
    Report(ReportArguments),
    /// Write the input of a Vertex AI batch prediction job that asks the same.
    Export(batch::ExportArguments),
    /// Read the output of such a job into a run's file.
    Import(batch::ImportArguments),
}

#[derive(Debug, Args)]
struct ReportArguments {
    /// Files that `--jsonl` wrote.
    #[arg(required = true, value_name = "RUN.jsonl")]
    runs: Vec<PathBuf>,
    /// Write the report as one HTML file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct PromptArguments {
    /// What to ask; `-` reads it from stdin.
    prompt: Option<String>,
    /// What to ask, from a file: JSON lines of messages (.jsonl), a table (.csv) with `--template`, or else one text.
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompts: Option<PathBuf>,
    /// What a row of the table asks: `Translate to French: {text}`, with the names of columns.
    #[arg(long, value_name = "TEXT", requires = "prompts")]
    template: Option<String>,
    /// Instructions above every prompt.
    #[arg(long, short)]
    system: Option<String>,
    #[command(flatten)]
    parameters: Parameters,
    /// How often each prompt is asked, at each pace.
    #[arg(long, value_name = "TIMES", default_value_t = 1, help_heading = "Pace")]
    repeat: u64,
}

#[derive(Debug, Args)]
struct RunArguments {
    #[command(flatten)]
    prompts: PromptArguments,
    /// Whom to ask, separated by commas: `google/gemini-2.5-flash`, `openai:gpt-4o-mini`, a model or target of the
    /// configuration, `http://127.0.0.1:8000/v1#model`. `NAME=` before it is what reports call it; `?temperature=0&location=us-central1` after
    /// it is for it alone.
    /// May be given several times.
    #[arg(long, short, value_name = "MODELS", help_heading = "Models")]
    models: Vec<String>,
    /// The gateway's configuration, a TOML file with targets and models. Else Vertex by the environment's credentials and
    /// project, and OpenAI if OPENAI_API_KEY is a key of theirs.
    #[arg(long, short, value_name = "FILE", help_heading = "Models")]
    config: Option<PathBuf>,
    /// Ask emulated models that are started for this command: no cloud project, no credentials, no money.
    #[arg(long, conflicts_with = "config", help_heading = "Models")]
    emulator: bool,
    /// How an emulated model performs: `MODEL:first_token_ms=300,token_ms=5,fails_every=20,exhausted_every=30,at_once=4`. May be given
    /// several times.
    #[arg(long, value_name = "PERFORMANCE", requires = "emulator", value_parser = performance, help_heading = "Models")]
    emulated: Vec<(String, Performance)>,
    #[command(flatten)]
    pace: PaceArguments,
    #[command(flatten)]
    scoring: ScoringArguments,
    #[command(flatten)]
    money: MoneyArguments,
    /// Write every request that came to an end as a line of JSON. If the file has a part of the same run, the run goes on there.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    jsonl: Option<PathBuf>,
    /// Write the report as one HTML file.
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    html: Option<PathBuf>,
    /// Do not show the estimate, the bars and the answers; the table comes all the same.
    #[arg(long, short, help_heading = "Results")]
    quiet: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
struct PaceArguments {
    /// Wait for whole answers instead of streams; then there is no time to the first token.
    #[arg(long)]
    no_stream: bool,
    /// Requests at once, for each model.
    #[arg(long, value_name = "REQUESTS", conflicts_with_all = ["sweep", "rate"])]
    concurrency: Option<u64>,
    /// One stage after the other with ever more requests at once: 1,2,4,8,16.
    #[arg(long, value_name = "REQUESTS,…", value_delimiter = ',', conflicts_with = "rate")]
    sweep: Vec<u64>,
    /// Requests that begin per second, for each model, whether others have ended or not. With several, one stage after the other.
    #[arg(long, value_name = "PER SECOND,…", value_delimiter = ',')]
    rate: Vec<f64>,
    /// How they are spaced: even, or poisson, as those of many people.
    #[arg(long, default_value_t = Arrivals::Even, requires = "rate")]
    arrivals: Arrivals,
    /// Ask one model after the other, not all at the same time.
    #[arg(long)]
    sequential: bool,
    /// How often a request may be sent again. None by default: it would hide errors.
    #[arg(long, default_value_t = 0)]
    retries: u32,
    /// How long a request may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = vertex_chat_compare::TIMEOUT.as_secs_f64())]
    timeout: f64,
    /// A model is asked no more when a larger share of a stage's requests has failed, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 50.0)]
    break_errors: f64,
    /// A model is asked no more when the 99th percentile of a stage's total time is above this, in seconds.
    #[arg(long, value_name = "SECONDS")]
    break_p99: Option<f64>,
    /// A model is asked no more when this many requests in a row have failed.
    #[arg(long, value_name = "REQUESTS", default_value_t = vertex_chat_compare::FAILURES_IN_A_ROW)]
    give_up_after: u64,
    /// What the run's own random choices begin with.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    random_seed: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Scoring")]
struct ScoringArguments {
    /// Score answers by what a prompt's `expected` says: exact, contains, regex, regex:PATTERN, json-path:$.a, json-path:$.a=VALUE.
    #[arg(long, value_name = "HOW", conflicts_with = "judge")]
    score: Option<String>,
    /// Have a model score them. Prompts and answers go to it.
    #[arg(long, value_name = "MODEL")]
    judge: Option<String>,
    /// What the judge is asked: a file with {prompt}, {answer} and {expected} in it. Else the text in the report.
    #[arg(long, value_name = "FILE", requires = "judge")]
    judge_prompt: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Cost")]
pub(crate) struct MoneyArguments {
    /// Prices of your own, a TOML file like the bundled one; they win over it.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// The most that may be spent, in US dollars; the run ends before it spends more.
    #[arg(long, value_name = "DOLLARS")]
    budget: Option<f64>,
    /// How many tokens an answer is expected to have, for the estimate. Else the limit of tokens, or 500.
    #[arg(long, value_name = "TOKENS")]
    expected_tokens: Option<u64>,
    /// Show what the run would cost, and send nothing.
    #[arg(long)]
    estimate: bool,
}

fn performance(word: &str) -> Result<(String, Performance), String> {
    Performance::of_word(word).map_err(|error| error.to_string())
}

pub(crate) async fn run(arguments: CompareArguments, interrupts: &mut Interrupts) -> Result<(), Failure> {
    match arguments.command {
        Some(CompareCommand::Report(arguments)) => report_on(&arguments),
        Some(CompareCommand::Export(arguments)) => batch::export(&arguments),
        Some(CompareCommand::Import(arguments)) => batch::import(&arguments),
        None => compare(arguments.run, interrupts).await,
    }
}

async fn compare(mut arguments: RunArguments, interrupts: &mut Interrupts) -> Result<(), Failure> {
    arguments.models = arguments.models.iter().flat_map(|it| targets::split(it)).collect();
    if arguments.models.is_empty() && arguments.emulator {
        arguments.models = EMULATED.iter().map(|it| it.split(':').next().unwrap_or(it).to_owned()).collect();
    }
    if arguments.models.is_empty() {
        return Err(Failure::Usage("name the models to compare with --models, or try --emulator".to_owned()));
    }
    // A run that goes on is priced as on the day on which it was begun.
    let begun = arguments.jsonl.as_deref().and_then(begun_at);
    let day = begun.unwrap_or_else(|| rfc3339(std::time::SystemTime::now()));
    let prices = prices(arguments.money.prices.as_deref(), &day)?;
    let prompts = prompts(&arguments.prompts)?;
    check_files(
        &given(&[&arguments.jsonl, &arguments.html]),
        &given(&[&arguments.prompts.prompts, &arguments.config, &arguments.money.prices]),
    )?;
    arguments.html.as_deref().map_or(Ok(()), |path| Output::Html.check(path))?;
    let embedded = if arguments.emulator { Some(start(&arguments).await?) } else { None };
    let result = async {
        let plan = plan(&arguments, prompts, &prices, embedded.as_ref(), interrupts).await?;
        if !arguments.quiet || arguments.money.estimate {
            tell_estimate(&plan.estimate(), plan.settings().budget);
        }
        if arguments.money.estimate {
            return Ok(());
        }
        run_plan(&arguments, plan, interrupts).await
    };
    let result = result.await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    result
}

/// The emulator, with models of different speed and reliability.
async fn start(arguments: &RunArguments) -> Result<Embedded, Failure> {
    let embedded = Embedded::start(None, false, Duration::ZERO).await?;
    let bundled = EMULATED.iter().filter_map(|word| Performance::of_word(word).ok());
    for (model, performance) in bundled.chain(arguments.emulated.iter().cloned()) {
        embedded.emulator().set_performance(&model, performance);
    }
    Ok(embedded)
}

async fn plan(
    arguments: &RunArguments,
    prompts: Vec<Prompt>,
    prices: &Prices,
    embedded: Option<&Embedded>,
    interrupts: &mut Interrupts,
) -> Result<Plan, Failure> {
    let mut words = arguments.models.clone();
    words.extend(arguments.scoring.judge.clone());
    let parameters = &arguments.prompts.parameters;
    let found = targets::find(&words, arguments.config.as_deref(), parameters, prices, embedded);
    let mut targets = interrupts.end(found).await?;
    let judge = match arguments.scoring.judge {
        Some(_) => targets.pop(),
        None => None,
    };
    let template = match &arguments.scoring.judge_prompt {
        Some(path) => Some(read_text(path)?),
        None => None,
    };
    let judge = match judge {
        Some(target) => Some((Judge::new(template.as_deref()).map_err(usage)?, target)),
        None => None,
    };
    let mut settings = settings(&arguments.pace)?;
    settings.repeat = arguments.prompts.repeat;
    settings.parameters = Some(common_parameters(parameters)?);
    settings.scoring = arguments.scoring.score.as_deref().map(Scoring::parse).transpose().map_err(usage)?;
    settings.judge = judge;
    settings.budget = arguments.money.budget;
    settings.expected_tokens = arguments.money.expected_tokens;
    settings.prices = prices.describe();
    Plan::new(targets, prompts, settings).map_err(usage)
}

fn settings(pace: &PaceArguments) -> Result<Settings, Failure> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|error| Failure::Usage(format!("{name}: {error}")))
    };
    if !(0.0..=100.0).contains(&pace.break_errors) {
        return Err(Failure::Usage("--break-errors is a share in percent, 0 to 100".to_owned()));
    }
    let mut breaks = Breaks::default();
    breaks.errors = pace.break_errors / 100.0;
    breaks.in_a_row = pace.give_up_after;
    breaks.p99 = pace.break_p99.map(|it| seconds("--break-p99", it)).transpose()?;
    let mut settings = Settings::default();
    settings.stream = !pace.no_stream;
    settings.stages = match (pace.sweep.as_slice(), pace.rate.as_slice()) {
        ([], []) => vec![Stage::Closed(pace.concurrency.unwrap_or(1))],
        (sweep, []) => sweep.iter().map(|it| Stage::Closed(*it)).collect(),
        (_, rates) => rates.iter().map(|it| Stage::Open(*it)).collect(),
    };
    settings.sequential = pace.sequential;
    settings.arrivals = pace.arrivals;
    settings.seed = pace.random_seed;
    settings.retries = pace.retries;
    settings.timeout = seconds("--timeout", pace.timeout)?;
    settings.breaks = breaks;
    Ok(settings)
}

/// The parameters of the command line, without a message.
fn common_parameters(parameters: &Parameters) -> Result<Json, Failure> {
    let request = parameters.apply(ChatRequest::without_model(Vec::new()))?;
    let mut fields = request.to_fields();
    for name in targets::NOT_PARAMETERS {
        if fields.get(name).is_some_and(|it| it.as_str() != "[]") {
            return Err(Failure::Usage(format!(
                "--param {name}=…: that is said by other options, not by a parameter"
            )));
        }
    }
    fields.retain(|name, _| name != "messages");
    Json::from_serialize(&fields).map_err(usage)
}

async fn run_plan(arguments: &RunArguments, plan: Plan, interrupts: &mut Interrupts) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock);
    let name = arguments.jsonl.as_ref().map_or("this run".to_owned(), shown_path);
    let mut comparison = match &arguments.jsonl {
        Some(path) => {
            Comparison::in_file(plan, clock, path).map_err(|error| Failure::Usage(error.to_string()))?
        }
        None => Comparison::new(plan, clock),
    };
    if comparison.resumed() > 0 && !arguments.quiet {
        let (done, all) = (comparison.resumed(), comparison.plan().size());
        match done == all {
            true => out::note(format_args!(
                "{name} has all {all} results of this run; to ask again, give another file"
            )),
            false => out::note(format_args!("going on: {done} of {all} requests have ended before")),
        }
    }
    let mut bars = Bars::new(comparison.plan(), comparison.summary(), arguments.quiet);
    let ended = {
        let run = comparison.run(|result, summary| bars.add(result, summary));
        interrupts.end(async { run.await.map_err(|error| Failure::Local(error.to_string())) }).await
    };
    bars.clear();
    let report = comparison.report(&name);
    let shown = show(&report, arguments.quiet);
    let written = match &arguments.html {
        Some(path) => write_whole(path, &html(&report)),
        None => Ok(()),
    };
    let reason = match ended {
        Ok(reason) => reason,
        Err(failure) => {
            // What ended the run is said in the end; what else went wrong before it.
            if let Err(other) = written {
                other.tell();
            }
            if let (Failure::Interrupted, Some(path)) = (&failure, &arguments.jsonl) {
                out::note(format_args!(
                    "interrupted after {} of {} requests; the same command goes on in {}",
                    report.runs[0].results,
                    comparison.plan().size(),
                    shown_path(path)
                ));
            }
            return Err(failure);
        }
    };
    if reason != "complete" {
        out::note(format_args!("ended: {reason}"));
    }
    shown.and(written)?;
    match report.targets.iter().any(|it| it.all.ok > 0) {
        true => Ok(()),
        false => Err(Failure::Local("no model has answered".to_owned())),
    }
}

fn show(report: &Report, quiet: bool) -> Result<(), Failure> {
    if !quiet && report.prompts.len() <= PROMPTS_PRINTED_MAX {
        out::write(&table::answers(report))?;
    }
    out::write(&table::figures(report))
}

fn report_on(arguments: &ReportArguments) -> Result<(), Failure> {
    let mut summaries = Vec::new();
    let runs: Vec<&Path> = arguments.runs.iter().map(PathBuf::as_path).collect();
    check_files(&given(&[&arguments.html]), &runs)?;
    arguments.html.as_deref().map_or(Ok(()), |path| Output::Html.check(path))?;
    for path in &arguments.runs {
        let summary = Summary::read(path).map_err(|error| Failure::Usage(error.to_string()))?;
        summaries.push((shown_path(path), summary));
    }
    let runs: Vec<(String, &Summary)> =
        summaries.iter().map(|(name, summary)| (name.clone(), summary)).collect();
    let made = rfc3339(std::time::SystemTime::now());
    let report = report(&runs, &made);
    if let Some(path) = &arguments.html {
        write_whole(path, &html(&report))?;
    }
    out::write(&table::figures(&report))
}

/// Writes a file that has prompts or answers in it: for its owner alone, and all of it or nothing.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Local(format!("{}: {error}", shown_path(path)));
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if path.metadata().is_ok_and(|it| !it.is_file()) {
        // A pipe, a terminal.
        return options.open(path).and_then(|mut it| it.write_all(text.as_bytes())).map_err(cannot);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    options.create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let written = options.open(&part).and_then(|mut it| it.write_all(text.as_bytes()));
    written.and_then(|()| std::fs::rename(&part, path)).map_err(|error| {
        let _ = std::fs::remove_file(&part);
        cannot(error)
    })
}

/// What is asked, from the command line, stdin or a file.
fn prompts(arguments: &PromptArguments) -> Result<Vec<Prompt>, Failure> {
    let mut prompts = match (&arguments.prompts, arguments.prompt.as_deref()) {
        (Some(path), _) => {
            let text = read_text(path)?;
            let name = shown_path(path);
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default().to_lowercase();
            match (extension.as_str(), &arguments.template) {
                ("csv", Some(template)) => read_csv(&name, &text, template).map_err(usage)?,
                ("csv", None) => {
                    return Err(Failure::Usage(format!(
                        "{name}: say with --template what a row asks, such as `Translate: {{text}}`"
                    )));
                }
                (_, Some(_)) => return Err(Failure::Usage("--template goes with a .csv file".to_owned())),
                ("jsonl" | "ndjson" | "json", None) => read_lines(&name, &text).map_err(usage)?,
                _ => vertex_chat_compare::read_text(&name, &text).map_err(usage)?,
            }
        }
        (None, _) if arguments.template.is_some() => {
            return Err(Failure::Usage("--template goes with --prompts FILE.csv".to_owned()));
        }
        (None, Some(prompt)) if prompt.trim().is_empty() => {
            return Err(Failure::Usage("the prompt is empty".to_owned()));
        }
        (None, Some("-")) => vec![Prompt::text(read_stdin()?)],
        (None, Some(prompt)) => vec![Prompt::text(prompt)],
        (None, None) => {
            return Err(Failure::Usage("there is no prompt: give one, or --prompts FILE".to_owned()));
        }
    };
    if let Some(system) = &arguments.system {
        for prompt in &mut prompts {
            prompt.request.messages.insert(0, Message::system(system.as_str()));
        }
    }
    Ok(prompts)
}

/// The prices of a day: the bundled ones, and one's own before them.
fn prices(own: Option<&Path>, day: &str) -> Result<Prices, Failure> {
    let mut prices = Prices::bundled();
    if let Some(path) = own {
        let own = Prices::parse(&shown_path(path), &read_text(path)?).map_err(usage)?;
        prices = prices.with_own(own);
    }
    prices.on(day).map_err(usage)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    crate::request::read_text(path, vertex_chat_compare::PROMPTS_BYTES_MAX as u64)
}

/// Those of several paths that were given.
pub(crate) fn given<'a>(paths: &[&'a Option<PathBuf>]) -> Vec<&'a Path> {
    paths.iter().filter_map(|it| it.as_deref()).collect()
}

/// Whether files can be written, and none of them is another one's or one that is read: before anything is paid for.
pub(crate) fn check_files(outputs: &[&Path], inputs: &[&Path]) -> Result<(), Failure> {
    let mut known: Vec<PathBuf> = inputs.iter().filter_map(|it| it.canonicalize().ok()).collect();
    for path in outputs {
        let wrong = |what: String| Failure::Usage(format!("{}: {what}", shown_path(path)));
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|error| wrong(error.to_string()))?;
        if path.exists() {
            let opened = std::fs::OpenOptions::new().append(true).open(path);
            opened.map_err(|error| wrong(error.to_string()))?;
        }
        let whole = path.canonicalize().unwrap_or_else(|_| folder.join(path.file_name().unwrap_or_default()));
        if known.contains(&whole) {
            return Err(wrong(
                "is named twice, and one would overwrite the other; name another file".to_owned(),
            ));
        }
        known.push(whole);
    }
    Ok(())
}

fn tell_estimate(estimates: &[Estimate], budget: Option<f64>) {
    let requests: u64 = estimates.iter().map(|it| it.requests).sum();
    for estimate in estimates {
        let cost = estimate
            .cost
            .map_or_else(|| "price unknown".to_owned(), |it| format!("about {}", table::dollars(it)));
        out::note(format_args!(
            "{}: {} requests, about {} tokens in and {} out: {cost}",
            estimate.target, estimate.requests, estimate.prompt_tokens, estimate.completion_tokens
        ));
    }
    let known: Vec<f64> = estimates.iter().filter_map(|it| it.cost).collect();
    let sum = match known.len() {
        0 => "at a cost that is not known".to_owned(),
        it if it == estimates.len() => format!("about {}", table::dollars(known.iter().sum())),
        _ => format!("at least about {}", table::dollars(known.iter().sum())),
    };
    if let Some(budget) = budget.filter(|it| known.iter().sum::<f64>() > *it) {
        out::note(format_args!("the budget of {} may end it early", table::dollars(budget)));
    }
    let budget = budget.map_or_else(String::new, |it| format!("; the budget is {}", table::dollars(it)));
    out::note(format_args!("in all {requests} requests, {sum}{budget}"));
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

/// Whether somebody sees what is drawn on stderr.
fn is_watched(quiet: bool) -> bool {
    !quiet && std::io::stderr().is_terminal()
}
