//! Everything that the results depend on, run by run.

use super::answers::code;
use super::number::{count, dollars, moment};
use super::text::{escape, json_in_lines, name};
use super::{Page, summary};
use crate::record::{PriceLine, SettingsLine, TargetLine};
use crate::report::{RunReport, TargetReport};
use vertex_chat::Json;

pub(super) fn section(page: &Page<'_>) -> String {
    let mut body = String::new();
    for (i, it) in page.report.runs.iter().enumerate() {
        run(page, i, it, &mut body);
    }
    // Targets without a run of their own have still been rewritten.
    if page.report.runs.is_empty() {
        body.push_str(&changes(page, None));
    }
    body.push_str(&summary::stops(page));
    body
}

fn run(page: &Page<'_>, at: usize, run: &RunReport, body: &mut String) {
    let head = &run.head;
    let settings = &head.settings;
    if page.has_several_runs() {
        body.push_str(&format!("<h3>{}</h3>\n", name(&page.run_name(at))));
    }
    let yes = |it: bool| if it { "yes" } else { "no" }.to_owned();
    let mut facts: Vec<(&str, String)> = vec![
        ("Run", name(&page.run_name(at))),
        ("Program", name(&head.program)),
        ("Machine", name(&head.machine)),
        ("Clock", name(&head.clock)),
        ("Begun", name(&moment(&head.started))),
        ("Sessions", count(u64::from(run.sessions))),
        ("Ended", run.end.as_ref().map_or_else(|| "interrupted".to_owned(), |it| name(it))),
        ("Results", format!("{} of {} requests", count(run.results), count(head.requests))),
        ("Prompts", count(head.prompts)),
        ("Seed", head.seed.to_string()),
        ("Streamed", yes(settings.stream)),
        ("Asked per prompt and stage", format!("{} ×", count(settings.repeat))),
        ("Stages", name(&settings.stages.join(", "))),
        ("One target after the other", yes(settings.sequential)),
        ("Arrivals", name(&settings.arrivals)),
        ("Retries of the client", settings.retries.to_string()),
        ("Timeout", super::number::seconds(settings.timeout)),
        ("A target is broken", name(&settings.breaks)),
        ("Scoring", scoring(settings)),
        ("Prices", name(&settings.prices)),
    ];
    for (what, hash) in [
        ("Plan, targets", &head.plan.targets),
        ("Plan, prompts", &head.plan.prompts),
        ("Plan, settings", &head.plan.settings),
    ] {
        facts.push((what, format!("<code>{}</code>", escape(hash))));
    }
    let facts: String =
        facts.iter().map(|(what, it)| format!("<div><dt>{what}</dt><dd>{it}</dd></div>\n")).collect();
    body.push_str(&format!("<dl class=\"facts\">\n{facts}</dl>\n"));
    if let Some(parameters) = &settings.parameters {
        body.push_str(&format!("<h4>Parameters that all targets are sent</h4>\n{}\n", json(parameters)));
    }
    let targets: String = head.targets.iter().map(target).collect();
    if !targets.is_empty() {
        body.push_str(&format!(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"Targets\">\n<table class=\"origin\">\n<caption><b>Targets.</b> \
             Prices are US dollars for a million tokens.</caption>\n<thead><tr><th scope=\"col\">Target</th><th scope=\"col\">Model</th>\
             <th scope=\"col\">Where</th><th scope=\"col\">Dialect, policy</th><th scope=\"col\">Price</th>\
             <th scope=\"col\">Own parameters</th></tr></thead>\n<tbody>\n{targets}</tbody>\n</table>\n</div>\n"
        ));
    }
    body.push_str(&changes(page, Some(at)));
    body.push_str(&faults(page, at));
    if let Some((judge, prompt)) = &settings.judge {
        body.push_str(&format!(
            "<h4>The judge</h4>\n<p>{} ({}), {}.{}</p>\n<p>It is given:</p>\n{}\n",
            name(&judge.label),
            name(&judge.model),
            place(judge),
            match judge_cost(page, at) {
                Some(cost) => format!(" It took {} beside what the targets did.", dollars(cost)),
                None => " What it took is unknown.".to_owned(),
            },
            code(prompt)
        ));
    }
}

/// What the judge of a run took, as far as it is known.
fn judge_cost(page: &Page<'_>, run: usize) -> Option<f64> {
    let costs = page.report.targets.iter().filter(|it| it.run == run).filter_map(|it| it.all.judge_cost);
    costs.fold(None, |sum, cost| Some(sum.unwrap_or(0.0) + cost))
}

fn scoring(settings: &SettingsLine) -> String {
    match (&settings.scoring, &settings.judge) {
        (Some(scoring), _) => name(scoring),
        (None, Some(_)) => "by the judge".to_owned(),
        (None, None) => "none".to_owned(),
    }
}

fn place(target: &TargetLine) -> String {
    let location =
        target.location.as_ref().map(|it| format!("<small>{}</small>", name(it))).unwrap_or_default();
    format!("<span class=\"url\">{}</span>{location}", name(&target.url))
}

fn target(target: &TargetLine) -> String {
    let price =
        target.price.as_ref().map_or_else(|| "<span class=\"unknown\">unknown</span>".to_owned(), price);
    let parameters =
        target.parameters.as_ref().map_or_else(|| "<span class=\"unknown\">none</span>".to_owned(), json);
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}<small>{}</small></td><td>{price}</td><td>{parameters}</td></tr>\n",
        name(&target.label),
        name(&target.model),
        place(target),
        name(&target.dialect),
        name(&target.policy)
    )
}

fn price(price: &PriceLine) -> String {
    let mut parts = Vec::new();
    let mut add =
        |what: &str, value: Option<f64>| parts.extend(value.map(|it| format!("{}\u{a0}{what}", dollars(it))));
    add("in", price.input);
    add("cached", price.cached_input);
    add("out", price.output);
    add("an hour", price.hour);
    if let Some(long) = &price.long {
        let cached = long.cached_input.map(|it| format!(", {} cached", dollars(it))).unwrap_or_default();
        parts.push(format!(
            "above {} tokens {} in{cached}, {} out",
            count(long.above),
            dollars(long.input),
            dollars(long.output)
        ));
    }
    let parts = if parts.is_empty() {
        "<span class=\"unknown\">unknown</span>".to_owned()
    } else {
        parts.join("<br>")
    };
    format!("{parts}<small>{}, {}</small>", name(&price.source), name(&price.date))
}

fn json(value: &Json) -> String {
    code(&json_in_lines(value.as_str()).unwrap_or_else(|| value.as_str().to_owned()))
}

/// What was dropped or rewritten before requests were sent, per target.
fn changes(page: &Page<'_>, run: Option<usize>) -> String {
    let what = "What was dropped or rewritten before requests were sent.";
    listed(page, run, "Changes", what, |it| it.changes.clone())
        .unwrap_or_else(|| "<p>No parameter was dropped or rewritten.</p>\n".to_owned())
}

/// What servers said of what went wrong, and the judge of what it could not score.
fn faults(page: &Page<'_>, run: usize) -> String {
    let of = |target: &TargetReport| {
        let said = |kind: &str| target.error_messages.iter().find(|(it, _)| it == kind);
        let error = |(kind, times): &(String, u64)| {
            (said(kind).map_or_else(|| kind.clone(), |(_, message)| format!("{kind}: {message}")), *times)
        };
        let mut faults: Vec<(String, u64)> = target.errors.iter().map(error).collect();
        faults.extend(
            target.unscored_reason.as_ref().map(|it| (format!("no score: {it}"), target.all.unscored)),
        );
        faults
    };
    listed(page, Some(run), "Faults", "Of each kind, what was said the first time.", of).unwrap_or_default()
}

/// A table of what there is to be said of targets, and of how many requests; `None` when there is nothing.
fn listed(
    page: &Page<'_>,
    run: Option<usize>,
    title: &str,
    caption: &str,
    of: impl Fn(&TargetReport) -> Vec<(String, u64)>,
) -> Option<String> {
    let mut rows = String::new();
    for target in page.report.targets.iter().filter(|it| run.is_none_or(|run| it.run == run)) {
        for (what, times) in of(target) {
            rows.push_str(&format!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td></tr>\n",
                page.name(target),
                name(&what),
                count(times)
            ));
        }
    }
    (!rows.is_empty()).then(|| {
        format!(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{title}\">\n<table class=\"origin\">\n<caption><b>{title}.</b> \
             {caption}</caption>\n<thead><tr><th scope=\"col\">Target</th><th scope=\"col\">What</th>\
             <th scope=\"col\" class=\"n\">Requests</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
        )
    })
}
