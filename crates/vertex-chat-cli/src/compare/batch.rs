//! `compare export` and `compare import`: the same prompts by Vertex AI's batch prediction.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use vertex_chat::auth::shown_path;
use vertex_chat::{ChatRequest, Client};
use vertex_chat_compare::batch::{
    BatchForm, Importer, JOB_BYTES_MAX, JOB_REQUESTS_MAX, LINE_BYTES_MAX, export as exported,
};
use vertex_chat_compare::{Imports, Plan, Scoring, Settings, Target, rfc3339};

use super::{PromptArguments, check_files, common_parameters, given, prices, prompts, usage, write_whole};
use crate::replace::Output;
use crate::{Failure, out};

/// How many changes are told of.
const CHANGES_TOLD_MAX: usize = 20;
/// Whose prices a model has that a batch job asks.
const HOST: &str = "aiplatform.googleapis.com";

/// What both directions have to be told in the same way.
#[derive(Debug, Args)]
struct JobArguments {
    #[command(flatten)]
    prompts: PromptArguments,
    /// The model that the job asks: `google/gemini-2.5-flash`, or an open one as `meta/llama-3.3-70b-instruct-maas`.
    #[arg(long, short, value_name = "MODEL")]
    model: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    #[command(flatten)]
    job: JobArguments,
    /// Write the job's input here, for a Cloud Storage bucket.
    #[arg(long, value_name = "FILE.jsonl")]
    vertex_batch: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    job: JobArguments,
    /// The job's output, one file or several, from the bucket.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE.jsonl")]
    vertex_batch: Vec<PathBuf>,
    /// Write the run here, for `compare report`.
    #[arg(long, value_name = "FILE")]
    jsonl: PathBuf,
    /// Prices of your own, a TOML file like the bundled one; they win over it.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Score answers by what a prompt's `expected` says, as `compare` does.
    #[arg(long, value_name = "HOW")]
    score: Option<String>,
    /// What the report calls the model. Else its name and `(batch)`.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How much less than the table's price a batch job costs, in percent; without it the cost is unknown.
    #[arg(long, value_name = "PERCENT")]
    discount: Option<f64>,
}

impl JobArguments {
    /// The requests of the job as a plan, which nobody runs.
    fn plan(
        &self,
        label: String,
        own_prices: Option<&Path>,
        score: Option<&str>,
        discount: Option<f64>,
    ) -> Result<Plan, Failure> {
        let prices = prices(own_prices, &rfc3339(std::time::SystemTime::now()))?;
        let price = match discount {
            None => None,
            Some(percent) if !(0.0..=100.0).contains(&percent) => {
                return Err(Failure::Usage("--discount is a share in percent, 0 to 100".to_owned()));
            }
            Some(percent) => {
                prices.find(&self.model, HOST, Some("global")).map(|it| it.discounted(percent / 100.0))
            }
        };
        // Never asked: its address says where the job is done.
        let client = Client::builder()
            .base_url(format!("https://{HOST}/v1/batchPredictionJobs"))
            .anonymous()
            .build()?;
        let target = Target::new(label, client, &self.model).with_price(price);
        let mut settings = Settings::default();
        settings.stream = false;
        settings.repeat = self.prompts.repeat;
        settings.parameters = Some(common_parameters(&self.prompts.parameters)?);
        settings.scoring = score.map(Scoring::parse).transpose().map_err(usage)?;
        settings.prices = match discount {
            Some(percent) => format!("{}, less {percent} %", prices.describe()),
            None => "unknown, of a batch job".to_owned(),
        };
        settings.clock = "none: a batch job answers when it does".to_owned();
        Plan::new(vec![target], prompts(&self.prompts)?, settings).map_err(usage)
    }
}

/// The requests of a plan with one target, by number.
fn requests(plan: &Plan) -> impl Iterator<Item = (u64, &ChatRequest)> {
    let count = plan.prompts().len() as u64;
    (0..plan.size()).filter_map(move |number| {
        let prompt = usize::try_from(number % count).ok()?;
        Some((number, &plan.prompts().get(prompt)?.request))
    })
}

pub(crate) fn export(arguments: &ExportArguments) -> Result<(), Failure> {
    let model = &arguments.job.model;
    let form = BatchForm::of(model).map_err(usage)?;
    let plan = arguments.job.plan(model.clone(), None, None, None)?;
    if plan.size() > JOB_REQUESTS_MAX as u64 {
        return Err(Failure::Usage(format!(
            "{} requests are more than the {JOB_REQUESTS_MAX} that a job takes; make several files",
            plan.size()
        )));
    }
    let path = &arguments.vertex_batch;
    check_files(&[path], &given(&[&arguments.job.prompts.prompts]))?;
    Output::Batch.check(path)?;
    let mut lines = Vec::new();
    let mut changes = std::collections::BTreeMap::<String, u64>::new();
    let mut bytes = 0;
    for (number, request) in requests(&plan) {
        let line = exported(form, model, number, request);
        let line = line.map_err(|error| {
            usage(format!("prompt {}: {error}", number % plan.prompts().len() as u64 + 1))
        })?;
        for change in line.changes {
            *changes.entry(change).or_default() += 1;
        }
        bytes += line.line.len() as u64 + 1;
        if bytes > JOB_BYTES_MAX {
            return Err(Failure::Usage(format!(
                "the file would be larger than the {JOB_BYTES_MAX} bytes that a job takes"
            )));
        }
        lines.push(line.line);
    }
    // Written when all of it is known to be good.
    let count = lines.len();
    lines.push(String::new());
    write_whole(path, &lines.join("\n"))?;
    for (change, count) in changes.iter().take(CHANGES_TOLD_MAX) {
        out::note(format_args!("{change} ({count} ×)"));
    }
    if changes.len() > CHANGES_TOLD_MAX {
        out::note(format_args!("and {} more changes", changes.len() - CHANGES_TOLD_MAX));
    }
    out::line(format_args!("{}: {} requests, {bytes} bytes", shown_path(path), count))
}

pub(crate) fn import(arguments: &ImportArguments) -> Result<(), Failure> {
    let model = &arguments.job.model;
    let form = BatchForm::of(model).map_err(usage)?;
    let label = arguments.name.clone().unwrap_or_else(|| format!("{model} (batch)"));
    let plan = arguments.job.plan(
        label,
        arguments.prices.as_deref(),
        arguments.score.as_deref(),
        arguments.discount,
    )?;
    let of_plan = requests(&plan).map(|(number, request)| (number, request.clone()));
    let mut importer = Importer::new(form, model, of_plan).map_err(usage)?;
    if arguments.jsonl.metadata().is_ok_and(|it| it.len() > 0) {
        return Err(Failure::Usage(format!(
            "{}: there is something in it; give a new file",
            shown_path(&arguments.jsonl)
        )));
    }
    let mut results = Vec::new();
    for path in &arguments.vertex_batch {
        read_lines(path, |line| {
            results.push(importer.read(line).map_err(|error| error.to_string())?.result);
            Ok(())
        })?;
    }
    let missing = importer.missing();
    let read = results.len();
    let failed = results.iter().filter(|it| it.error.is_some()).count();
    let first_error = results.iter().find_map(|it| it.error.clone());
    let imports = Imports { results, missing: missing.len() as u64 };
    plan.import(imports, std::time::SystemTime::now(), &arguments.jsonl)
        .map_err(|error| Failure::Local(error.to_string()))?;
    if let Some(error) = first_error {
        out::note(format_args!("the first error is {}: {}", error.kind, error.message));
    }
    if !missing.is_empty() {
        out::note(format_args!("{} requests have no answer in these files", missing.len()));
    }
    out::line(format_args!("{}: {read} answers, {failed} of them errors", shown_path(&arguments.jsonl)))
}

/// Calls `told` with every line of a file that is not blank; what it says is wrong is said with file and line.
fn read_lines(path: &Path, mut told: impl FnMut(&str) -> Result<(), String>) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Usage(format!("{}: {error}", shown_path(path)));
    let mut reader = BufReader::new(std::fs::File::open(path).map_err(cannot)?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let wrong = |what: String| Failure::Usage(format!("{}:{number}: {what}", shown_path(path)));
        let most = LINE_BYTES_MAX as u64 + 1;
        if reader.by_ref().take(most).read_until(b'\n', &mut line).map_err(cannot)? == 0 {
            break;
        }
        let text = std::str::from_utf8(&line).map_err(|_| wrong("the line is not UTF-8".to_owned()))?;
        if !text.trim().is_empty() {
            told(text.trim_end_matches(['\n', '\r'])).map_err(wrong)?;
        }
    }
    Ok(())
}
