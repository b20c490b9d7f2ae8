//! What a comparison shows in a terminal: bars while it runs, answers and a table in the end.

use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use vertex_chat_compare::{
    AnswerReport, Difference, Figures, Plan, Report, ResultLine, Spread, Summary, TargetReport,
};

use super::is_watched;
use crate::out;

/// How often the numbers beside the bars are computed anew.
const REFRESH: Duration = Duration::from_millis(250);
/// How often somebody who sees no bars is told how far it is.
const TELL: Duration = Duration::from_secs(60);

/// A bar for each model, with what is known of it so far.
pub(crate) struct Bars {
    all: MultiProgress,
    bars: Vec<(String, ProgressBar, Option<Instant>)>,
    /// When it was last said in a line how far it is; `None` when nobody wants to know.
    told: Option<Instant>,
    size: u64,
}

impl Bars {
    pub(crate) fn new(plan: &Plan, summary: &Summary, quiet: bool) -> Self {
        let target = match is_watched(quiet) {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let all = MultiProgress::with_draw_target(target);
        let each = plan.size() / plan.targets().len() as u64;
        let wide = plan.targets().iter().map(|it| it.label().chars().count()).max().unwrap_or(0).min(40);
        let template = format!("{{prefix:{wide}}} {{bar:20}} {{pos}}/{{len}} {{elapsed}} {{wide_msg}}");
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |label: &str| {
            let bar = all.add(ProgressBar::new(each).with_style(style.clone()).with_prefix(label.to_owned()));
            bar.set_position(summary.figures(label).map_or(0, |it| it.requests));
            (label.to_owned(), bar, None)
        };
        let bars = plan.targets().iter().map(|it| bar(it.label())).collect();
        let told = (!quiet && all.is_hidden()).then(Instant::now);
        Self { all, bars, told, size: plan.size() }
    }

    pub(crate) fn add(&mut self, result: &ResultLine, summary: &Summary) {
        if let Some(told) = self.told.as_mut().filter(|it| it.elapsed() >= TELL) {
            *told = Instant::now();
            out::note(format_args!("{} of {} requests have ended", summary.results(), self.size));
        }
        let Some((label, bar, computed)) = self.bars.iter_mut().find(|(label, ..)| *label == result.target)
        else {
            return;
        };
        bar.inc(1);
        if bar.is_hidden() || computed.is_some_and(|it| it.elapsed() < REFRESH) {
            return;
        }
        *computed = Some(Instant::now());
        if let Some(figures) = summary.figures(label) {
            bar.set_message(live(&figures));
        }
    }

    pub(crate) fn clear(&self) {
        let _ = self.all.clear();
    }
}

fn live(figures: &Figures) -> String {
    let mut parts = Vec::new();
    if let Some(rate) = figures.answers_per_second {
        parts.push(format!("{}/s", number(rate)));
    }
    if let Some(spread) = &figures.first_token {
        parts.push(format!("first {}", seconds(spread.p50.value)));
    }
    if let Some(spread) = &figures.total {
        parts.push(format!("total {}", seconds(spread.p50.value)));
    }
    if let Some(cost) = figures.cost {
        parts.push(dollars(cost));
    }
    if figures.errors > 0 {
        parts.push(format!("{} errors", figures.errors));
    }
    parts.join(", ")
}

/// The numbers of every model, a line each, stages below.
pub(crate) fn figures(report: &Report) -> String {
    let several = report.runs.len() > 1;
    let mut rows = vec![
        [
            "",
            "answers",
            "errors",
            "of them 429",
            "first token",
            "p90",
            "p99",
            "total",
            "p90",
            "p99",
            "tokens/s",
            "answers/s",
            "per 1000",
            "spent",
            "score",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for target in &report.targets {
        let run = if several { format!("{}: ", report.runs[target.run].name) } else { String::new() };
        rows.push(row(&format!("{run}{}", target.label), &target.all));
        if target.stages.len() > 1 {
            rows.extend(target.stages.iter().map(|it| row(&format!("  {}", it.stage), it)));
        }
    }
    let has_score = report.targets.iter().any(|it| it.all.score.is_some());
    if !has_score {
        rows.iter_mut().for_each(|it| drop(it.pop()));
    }
    let mut text = aligned(&rows);
    for target in &report.targets {
        text.push_str(&notes(target));
    }
    text
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let at = |spread: &Option<Spread>, of: fn(&Spread) -> f64, show: fn(f64) -> String| {
        spread.as_ref().map_or_else(|| "–".to_owned(), |it| show(of(it)))
    };
    let known = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), dollars);
    vec![
        name.to_owned(),
        figures.ok.to_string(),
        figures.errors.to_string(),
        figures.rate_limited.to_string(),
        at(&figures.first_token, |it| it.p50.value, seconds),
        at(&figures.first_token, |it| it.p90.value, seconds),
        at(&figures.first_token, |it| it.p99.value, seconds),
        at(&figures.total, |it| it.p50.value, seconds),
        at(&figures.total, |it| it.p90.value, seconds),
        at(&figures.total, |it| it.p99.value, seconds),
        at(&figures.tokens_per_second, |it| it.p50.value, number),
        figures.answers_per_second.map_or_else(|| "–".to_owned(), number),
        known(figures.cost_per_thousand),
        known(figures.cost),
        figures.score.map_or_else(|| "–".to_owned(), |it| format!("{it:.3}")),
    ]
}

/// What is to be known of a model beside its numbers.
fn notes(target: &TargetReport) -> String {
    let mut notes = String::new();
    let mut add = |what: String| notes.push_str(&format!("{}: {what}\n", target.label));
    if !target.errors.is_empty() {
        for (kind, count) in &target.errors {
            let message = target.error_messages.iter().find(|(it, _)| it == kind).map_or("", |(_, it)| it);
            add(format!("{count} × {kind}: {message}"));
        }
    }
    for (change, count) in &target.changes {
        add(format!("{change} ({count} ×)"));
    }
    if target.all.json_asked > 0 {
        add(format!(
            "{} of {} answers are the JSON that was asked for",
            target.all.json_valid, target.all.json_asked
        ));
    }
    if let Some(cost) = target.all.judge_cost {
        add(format!("the judge took {} beside that", dollars(cost)));
    }
    if target.all.unscored > 0 {
        let why = target.unscored_reason.as_deref().unwrap_or_default();
        add(format!("{} answers could not be scored: {why}", target.all.unscored));
    }
    if target.all.without_usage > 0 {
        add(format!("{} answers did not say how many tokens they took", target.all.without_usage));
    }
    if let Some(reason) = &target.stopped {
        add(format!("asked no more {reason}"));
    }
    notes
}

/// The answers to every prompt, one below the other, and how they differ.
pub(crate) fn answers(report: &Report) -> String {
    let mut text = String::new();
    for prompt in &report.prompts {
        if report.prompts.len() > 1 {
            text.push_str(&format!("=== {} ===\n\n", prompt.name));
        }
        for answer in &prompt.answers {
            let label = report.targets.get(answer.target).map_or("", |it| &it.label);
            text.push_str(&format!("--- {label}{}\n{}\n", in_words(answer), said(answer)));
        }
    }
    text
}

fn said(answer: &AnswerReport) -> String {
    if let Some(error) = &answer.error {
        return format!("{error}\n");
    }
    if answer.difference == Some(Difference::Same) {
        return String::new();
    }
    let mut said: String = answer.pieces.iter().map(|it| it.text.as_str()).collect();
    if !said.is_empty() && !said.ends_with('\n') {
        said.push('\n');
    }
    for call in &answer.calls {
        said.push_str(&format!("calls {}({})\n", call.name, call.arguments));
    }
    said
}

fn in_words(answer: &AnswerReport) -> String {
    let mut words = match &answer.difference {
        None => String::new(),
        Some(Difference::Same) => " (the same as the first)".to_owned(),
        Some(Difference::SameJson) => " (the same JSON as the first)".to_owned(),
        Some(Difference::Text(share)) => format!(" ({:.0} % of the words are the first's)", share * 100.0),
        Some(Difference::Calls(how)) => format!(" ({how})"),
        Some(_) => String::new(),
    };
    if let Some(fault) = answer.json_fault.as_ref().filter(|it| !it.is_empty()) {
        words.push_str(&format!(" (not the JSON that was asked for: {fault})"));
    }
    if let Some((score, why)) = &answer.score {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        words.push_str(&format!(" (score {score:.2}{why})"));
    }
    words
}

/// Columns: the first to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let wide = |column: usize| rows.iter().filter_map(|it| it.get(column)).map(|it| it.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|it| wide(it).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text.push_str(&if place == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") });
        }
        text.push('\n');
    }
    text
}

fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{} ms", number(value * 1000.0)) } else { format!("{} s", number(value)) }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        it if it >= 100.0 => format!("{value:.0}"),
        it if it >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// US dollars, with as many digits as small sums need.
pub(crate) fn dollars(value: f64) -> String {
    match value {
        it if it >= 1.0 => format!("${it:.2}"),
        it if it >= 0.01 => format!("${it:.4}"),
        0.0 => "$0".to_owned(),
        it => format!("${it:.6}"),
    }
}
