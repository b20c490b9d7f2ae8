//! `vertex-chat conformance`: rule by rule, what holds at an endpoint, and what breaks where it does not.
//!
//! Exit codes of its own: 10 when rules of the level strict fail and no others, 11 when rules of the level interop fail, 12 when a
//! mutant is not convicted as it should be, 13 when none fails and not all could be judged.

mod local;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::{Args, ValueEnum};
use http::HeaderMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vertex_chat::Client;
use vertex_chat::auth::shown_path;
use vertex_chat::transport::{Connector, HttpConnector, Profile, SystemClock};
use vertex_chat_conformance::{
    ANSWER_TIMEOUT, Credentials, Estimate, Level, Plan, Report, Reports, Run, Suite, Target, Verdict,
};

use crate::interrupt::Interrupts;
use crate::replace::Output;
use crate::target::Target as TargetArguments;
use crate::{Failure, out};

use local::Local;

#[derive(Debug, Args)]
pub(crate) struct ConformanceArguments {
    #[command(flatten)]
    target: TargetArguments,
    /// The model to ask for. Else the profile's.
    #[arg(long, short)]
    model: Option<String>,
    /// What the server is called in reports. Else its base URL.
    #[arg(long)]
    name: Option<String>,
    /// The kind of server: openai, vertex-gemini, vertex-endpoint-vllm, vertex-endpoint-tgi, gemini-developer, gateway. Without a
    /// target, the emulator is it; without both, the emulator is all of them, and the gateway before each.
    #[arg(long)]
    profile: Option<String>,
    /// With the profile gateway: the kind of server behind it.
    #[arg(long, value_name = "PROFILE")]
    behind: Option<String>,
    /// The least level: interop is what real clients need, strict is OpenAI's documentation to the letter.
    #[arg(long, default_value = "strict")]
    level: LevelWord,
    /// Only this case and what it stands on; can be given several times.
    #[arg(long, value_name = "ID")]
    case: Vec<String>,
    /// A capability that this server does not have, such as `images`; what needs it is skipped. Can be given several times.
    #[arg(long, value_name = "CAPABILITY")]
    lacks: Vec<String>,
    /// Cases of your own: a file, or a folder of files.
    #[arg(long, value_name = "PATH")]
    cases: Vec<PathBuf>,
    /// The whole suite from a folder with `cases` and `profiles`, in place of the one that is built in.
    #[arg(long, value_name = "FOLDER")]
    suite: Option<PathBuf>,
    /// The most tokens of prompts and answers; the run ends before it uses more.
    #[arg(long, value_name = "TOKENS")]
    budget: Option<u64>,
    /// The limit of tokens for an ordinary answer. Else the profile's.
    #[arg(long, value_name = "TOKENS")]
    max_tokens: Option<u64>,
    /// How long an answer may take, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = ANSWER_TIMEOUT.as_secs())]
    timeout: u64,
    /// Write the report as JSON; `-` for stdout.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as Markdown, with a badge.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Show the cases and what the run would cost, and send nothing.
    #[arg(long)]
    list: bool,
    /// Judge the judge: each case against servers that break its rule and no other.
    #[arg(long, conflicts_with_all = [
        "profile", "model", "base_url", "project", "location", "endpoint", "host", "json", "junit", "markdown", "budget", "behind", "list",
    ])]
    mutants: bool,
    /// Do not show the estimate, the bar and the cases as they come.
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelWord {
    Interop,
    Strict,
}

impl From<LevelWord> for Level {
    fn from(word: LevelWord) -> Self {
        match word {
            LevelWord::Interop => Self::Interop,
            LevelWord::Strict => Self::Strict,
        }
    }
}

/// One server, and what it is judged as.
struct Job {
    plan: Plan,
    target: Target,
    model: String,
}

pub(crate) async fn run(arguments: ConformanceArguments, interrupts: &mut Interrupts) -> Result<(), Failure> {
    let suite = suite(&arguments)?;
    if arguments.mutants {
        return local::mutants(&suite, &arguments.case, interrupts).await;
    }
    if arguments.behind.is_some() && arguments.profile.as_deref() != Some("gateway") {
        return Err(Failure::Usage("--behind goes with --profile gateway".to_owned()));
    }
    let is_local = !arguments.target.is_given();
    if is_local && std::env::var_os("OPENAI_BASE_URL").is_some_and(|it| !it.is_empty()) && !arguments.quiet {
        // What costs money is asked by name only.
        out::note("OPENAI_BASE_URL is not looked at, the emulator is asked; name a server with --base-url");
    }
    check_files(&arguments)?;
    if arguments.list {
        let plans = match is_local {
            true => local_plans(&arguments, &suite)?
                .into_iter()
                .map(|(plan, server)| (plan, server.model.to_owned()))
                .collect(),
            false => vec![remote_plan(&arguments, &suite)?],
        };
        return plans.iter().try_for_each(|(plan, model)| list(&suite, plan, model));
    }
    let prepare = async {
        Ok(match is_local {
            true => {
                let local = Local::start().await?;
                let jobs = local_jobs(&arguments, &suite, &local).await?;
                (Some(local), jobs)
            }
            false => (None, vec![remote_job(&arguments, &suite).await?]),
        })
    };
    let (local, jobs) = interrupts.end(prepare).await?;
    let mut reports = Reports::default();
    let mut interrupted = false;
    for job in jobs {
        let (report, ended) = run_one(&arguments, &suite, job, interrupts).await?;
        reports.0.push(report);
        interrupted = !ended;
        if interrupted {
            break;
        }
    }
    if let Some(local) = local {
        local.stop().await;
    }
    // What was found is said by the exit code, whether or not somebody reads the rest.
    let written = write_reports(&arguments, &reports);
    let not_run: usize = reports.0.iter().map(|it| it.count("not run")).sum();
    match reports.worst() {
        _ if interrupted => Err(Failure::Interrupted),
        None if not_run > 0 => Err(Failure::NotAllJudged),
        Some(level) => Err(Failure::Nonconforming(level)),
        None => written,
    }
}

/// The suite, with cases of one's own.
fn suite(arguments: &ConformanceArguments) -> Result<Suite, Failure> {
    let mut suite = match &arguments.suite {
        Some(folder) => Suite::from_folder(folder).map_err(usage)?,
        None => Suite::bundled(),
    };
    for path in &arguments.cases {
        suite.add_from(path).map_err(usage)?;
    }
    Ok(suite)
}

impl ConformanceArguments {
    fn plan(&self, profile: &str, behind: Option<&str>) -> Plan {
        let mut plan = Plan::new(profile).level(self.level.into());
        plan.behind = behind.map(str::to_owned);
        plan.cases.clone_from(&self.case);
        plan.lacks.clone_from(&self.lacks);
        plan.budget = self.budget;
        plan.limit = self.max_tokens;
        plan
    }
}

/// What a server that the arguments name is judged by, and its model.
fn remote_plan(arguments: &ConformanceArguments, suite: &Suite) -> Result<(Plan, String), Failure> {
    let profile = arguments.profile.clone().unwrap_or_else(|| {
        let is_google = arguments.target.base_url.is_none();
        match (is_google, arguments.target.endpoint.is_some()) {
            (false, _) => "openai",
            (true, false) => "vertex-gemini",
            (true, true) => "vertex-endpoint-vllm",
        }
        .to_owned()
    });
    let plan = arguments.plan(&profile, arguments.behind.as_deref());
    let of_profile = suite.profile(plan.behind.as_ref().unwrap_or(&profile)).map_err(usage)?;
    let model = arguments.model.clone().unwrap_or_else(|| of_profile.model.clone());
    Ok((plan, model))
}

/// The server that the arguments name, with the client's credentials.
async fn remote_job(arguments: &ConformanceArguments, suite: &Suite) -> Result<Job, Failure> {
    let (plan, model) = remote_plan(arguments, suite)?;
    let client = arguments.target.client(Client::builder()).await?;
    let url = client.chat_url().to_string();
    let base_url = url.strip_suffix("/chat/completions").unwrap_or(&url);
    let exchange = HttpConnector::new().connect(&Profile::Public);
    let exchange = exchange.map_err(|error| Failure::Local(error.to_string()))?;
    let mut target = Target::new(exchange, Arc::new(SystemClock), base_url, &model)
        .map_err(|error| Failure::Usage(error.to_string()))?
        .with_timeout(Duration::from_secs(arguments.timeout));
    if !client.authorization().await?.is_empty() {
        target = target.with_credentials(Arc::new(ClientCredentials(client)));
    }
    if let Some(name) = &arguments.name {
        target = target.named(name);
    }
    Ok(Job { plan, target, model })
}

/// The emulator as one kind of server or as all, and the gateway before it: what each is judged by.
fn local_plans(
    arguments: &ConformanceArguments,
    suite: &Suite,
) -> Result<Vec<(Plan, &'static local::Server)>, Failure> {
    for profile in [&arguments.profile, &arguments.behind].into_iter().flatten() {
        suite.profile(profile).map_err(usage)?;
    }
    let only_gateway = arguments.profile.as_deref() == Some("gateway");
    let mut plans = Vec::new();
    for server in local::SERVERS {
        let is = |word: &Option<String>, own: &str| word.as_deref().is_none_or(|it| it == own);
        let wanted = only_gateway || is(&arguments.profile, server.profile);
        if !wanted || !is(&arguments.behind, server.profile) || !is(&arguments.model, server.model) {
            continue;
        }
        let mut both = vec![arguments.plan("gateway", Some(server.profile))];
        if !only_gateway {
            both.insert(0, arguments.plan(server.profile, None));
        }
        // A case that is named need not be one of both.
        both.retain(|plan| arguments.case.is_empty() || suite.plan_for(plan, server.model).is_ok());
        plans.extend(both.into_iter().map(|plan| (plan, server)));
    }
    if plans.is_empty() && !arguments.case.is_empty() {
        let plan = arguments.plan(arguments.profile.as_deref().unwrap_or("openai"), None);
        suite.plan(&plan).map_err(usage)?;
    }
    if plans.is_empty() {
        let models: Vec<&str> = local::SERVERS.iter().map(|it| it.model).collect();
        let message =
            format!("the emulator's models here are {}; give a target for another", models.join(", "));
        return Err(Failure::Usage(message));
    }
    Ok(plans)
}

async fn local_jobs(
    arguments: &ConformanceArguments,
    suite: &Suite,
    local: &Local,
) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    for (plan, server) in local_plans(arguments, suite)? {
        let target = match plan.profile == "gateway" {
            true => local.gateway(server).await?,
            false => local.server(server)?,
        };
        let target = target.with_timeout(Duration::from_secs(arguments.timeout));
        jobs.push(Job { plan, target, model: server.model.to_owned() });
    }
    Ok(jobs)
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::Usage(error.to_string())
}

/// The cases of a run, and what it would cost.
fn list(suite: &Suite, plan: &Plan, model: &str) -> Result<(), Failure> {
    let selection = suite.plan_for(plan, model).map_err(usage)?;
    let behind = plan.behind.as_ref().map(|it| format!(" before {it}")).unwrap_or_default();
    out::line(format_args!("# {}{behind}, {model}", plan.profile))?;
    for (case, skipped) in selection.cases() {
        let note = skipped.map(|it| format!(" (skipped: {it})")).unwrap_or_default();
        out::line(format_args!("{:<44} {:<8} {}{note}", case.id, case.level, case.rule))?;
    }
    out::line(shown(&selection.estimate()))
}

fn shown(estimate: &Estimate) -> String {
    format!(
        "{} cases, {} skipped: at most {} requests, about {} tokens",
        estimate.cases, estimate.skipped, estimate.requests, estimate.tokens
    )
}

/// Runs one job to its end, or until Ctrl-C: the report, and whether it came to its end.
async fn run_one(
    arguments: &ConformanceArguments,
    suite: &Suite,
    job: Job,
    interrupts: &mut Interrupts,
) -> Result<(Report, bool), Failure> {
    let selection = suite.plan_for(&job.plan, &job.model).map_err(usage)?;
    let url = job.target.base_url().to_owned();
    let mut run = selection.run(job.target);
    let estimate = run.estimate();
    let bar = bar(run.len(), arguments.quiet);
    if !arguments.quiet {
        let behind = job.plan.behind.as_ref().map(|it| format!(" before {it}")).unwrap_or_default();
        bar.suspend(|| out::note(format_args!("{}{behind}: {}", job.plan.profile, shown(&estimate))));
    }
    let ended = loop {
        tokio::select! {
            next = step(&mut run, &bar, arguments.quiet) => if !next { break true },
            _ = interrupts.next() => break false,
        }
        if let Some(problem) = run.unanswered() {
            bar.finish_and_clear();
            return Err(Failure::Local(format!("nobody answers at {url}: {problem}")));
        }
    };
    bar.finish_and_clear();
    if !arguments.quiet {
        out::note(format_args!("sent {} requests, used {} tokens", run.requests(), run.tokens()));
    }
    Ok((run.report(), ended))
}

/// Runs one case and says at once what became of it, if that is worth a line.
async fn step(run: &mut Run, bar: &ProgressBar, quiet: bool) -> bool {
    if let Some(case) = run.upcoming() {
        bar.set_message(case.id.clone());
    }
    let Some(result) = run.next().await.cloned() else { return false };
    if run.unanswered().is_none()
        && !quiet
        && let Verdict::Failed(violations) = &result.verdict
    {
        let first =
            violations.first().map(|it| format!(": at {} expected {}, got {}", it.at, it.expected, it.got));
        let line = format!("FAILED {}{}", result.case.id, first.unwrap_or_default());
        bar.suspend(|| out::note(line));
    }
    bar.inc(1);
    true
}

fn bar(length: usize, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    if quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Whether the reports can be written, before anything is paid for.
fn check_files(arguments: &ConformanceArguments) -> Result<(), Failure> {
    let outputs = [
        (&arguments.json, Output::Json),
        (&arguments.junit, Output::Junit),
        (&arguments.markdown, Output::Markdown),
    ];
    for (path, output) in outputs.into_iter().filter_map(|(path, output)| Some((path.as_ref()?, output))) {
        if path != Path::new("-") {
            output.check(path)?;
            let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
            opened.map_err(|error| Failure::Local(format!("{}: {error}", shown_path(path))))?;
        }
    }
    Ok(())
}

/// Prints the reports, and writes those that were asked for.
fn write_reports(arguments: &ConformanceArguments, reports: &Reports) -> Result<(), Failure> {
    let json = |reports: &Reports| format!("{:#}\n", reports.to_json());
    let files = [&arguments.json, &arguments.junit, &arguments.markdown];
    let to_stdout = files.iter().any(|it| it.as_deref() == Some(Path::new("-")));
    for (path, text) in [
        (&arguments.json, json as fn(&Reports) -> String),
        (&arguments.junit, Reports::to_junit),
        (&arguments.markdown, Reports::to_markdown),
    ] {
        match path.as_deref() {
            None => {}
            Some(path) if path == Path::new("-") => out::write(&text(reports))?,
            Some(path) => std::fs::write(path, text(reports))
                .map_err(|error| Failure::Local(format!("{}: {error}", shown_path(path))))?,
        }
    }
    if !to_stdout {
        for report in &reports.0 {
            out::line(report.to_text())?;
        }
    }
    Ok(())
}

/// The client's credentials, for requests that are none of the client's.
#[derive(Debug)]
struct ClientCredentials(Client);

#[async_trait]
impl Credentials for ClientCredentials {
    async fn headers(&self) -> Result<HeaderMap, String> {
        self.0.authorization().await.map_err(|error| error.to_string())
    }
}
