//! The table that has it all in one row per target.

use super::Page;
use super::number::{count, dollars, percent, seconds, seconds_between, significant, wilson};
use super::text::{name, short_name};
use crate::report::{Figures, Quantile, Spread, TargetReport};

/// A column: what it is called, and its cell for a target.
struct Column {
    group: &'static str,
    title: &'static str,
    /// The word for those who hear the table.
    whole: &'static str,
    cell: fn(&TargetReport) -> Cell,
}

/// What is shown, and what it is sorted by; without that it comes last.
struct Cell {
    html: String,
    by: Option<f64>,
}

impl Cell {
    fn unknown(text: &str) -> Self {
        Self { html: format!("<span class=\"unknown\">{text}</span>"), by: None }
    }

    fn number(html: String, by: f64) -> Self {
        Self { html, by: Some(by).filter(|it| it.is_finite()) }
    }
}

/// Below a value, its interval.
fn with_interval(value: String, interval: Option<String>) -> String {
    match interval {
        Some(interval) => format!("{value}<small>{interval}</small>"),
        None => value,
    }
}

fn time(quantile: Option<Quantile>) -> Cell {
    let Some(quantile) = quantile.filter(|it| it.value.is_finite()) else {
        return Cell::unknown("–");
    };
    let interval = quantile.interval().map(|(low, high)| seconds_between(low, high));
    Cell::number(with_interval(seconds(quantile.value), interval), quantile.value)
}

fn total(target: &TargetReport) -> Option<&Spread> {
    target.all.total.as_ref()
}

fn first(target: &TargetReport) -> Option<&Spread> {
    target.all.first_token.as_ref()
}

fn columns(targets: &[TargetReport]) -> Vec<Column> {
    let any = |has: fn(&Figures) -> bool| targets.iter().any(|it| has(&it.all));
    let mut columns = vec![
        Column {
            group: "",
            title: "Answers",
            whole: "Whole answers of requests",
            cell: |it| {
                let Figures { ok, requests, .. } = it.all;
                Cell::number(format!("{}<small>of {}</small>", count(ok), count(requests)), ok as f64)
            },
        },
        Column { group: "", title: "Errors", whole: "Requests without an answer", cell: errors },
    ];
    let mut add = |group, title, whole, cell| columns.push(Column { group, title, whole, cell });
    if any(|it| it.first_token.is_some()) {
        add("First token", "p50", "First token, median", |it| time(first(it).map(|it| it.p50)));
        add("First token", "p90", "First token, 90th percentile", |it| time(first(it).map(|it| it.p90)));
        add("First token", "p99", "First token, 99th percentile", |it| time(first(it).map(|it| it.p99)));
    }
    add("Total time", "p50", "Total time, median", |it| time(total(it).map(|it| it.p50)));
    add("Total time", "p90", "Total time, 90th percentile", |it| time(total(it).map(|it| it.p90)));
    add("Total time", "p99", "Total time, 99th percentile", |it| time(total(it).map(|it| it.p99)));
    if any(|it| it.tokens_per_second.is_some()) {
        add("Speed", "Tokens/s", "Tokens per second of one answer, median", |it| {
            let Some(quantile) = it.all.tokens_per_second.as_ref().map(|it| it.p50) else {
                return Cell::unknown("–");
            };
            let interval = quantile.interval();
            let interval = interval.map(|(low, high)| format!("{}–{}", significant(low), significant(high)));
            Cell::number(with_interval(significant(quantile.value), interval), quantile.value)
        });
    }
    add("Speed", "Answers/s", "Whole answers per second", |it| {
        let value = it.all.answers_per_second.filter(|it| it.is_finite());
        value.map_or_else(|| Cell::unknown("–"), |it| Cell::number(significant(it), it))
    });
    add("Cost", "Per 1000", "US dollars for a thousand answers", |it| {
        let cost = it.all.cost_per_thousand.filter(|it| it.is_finite());
        cost.map_or_else(|| Cell::unknown("unknown"), |it| Cell::number(dollars(it), it))
    });
    add("Cost", "Spent", "US dollars of the answers whose cost is known", |it| {
        let Some(cost) = it.all.cost.filter(|it| it.is_finite()) else {
            return Cell::unknown("unknown");
        };
        let rest = (it.all.without_cost > 0).then(|| format!("and {} unknown", count(it.all.without_cost)));
        Cell::number(with_interval(dollars(cost), rest), cost)
    });
    if any(|it| it.score.is_some()) {
        add("Quality", "Score", "Mean score of the answers that were scored, 0 to 1", |it| {
            let Some(score) = it.all.score.filter(|it| it.is_finite()) else {
                return Cell::unknown("–");
            };
            Cell::number(format!("{score:.3}<small>of {}</small>", count(it.all.scored)), score)
        });
    }
    if any(|it| it.json_asked > 0) {
        add("Quality", "JSON valid", "Answers that are JSON by their schema", |it| {
            let Figures { json_valid, json_asked, .. } = it.all;
            super::number::share(json_valid, json_asked).map_or_else(
                || Cell::unknown("–"),
                |share| {
                    Cell::number(
                        format!("{}<small>of {}</small>", count(json_valid), count(json_asked)),
                        share,
                    )
                },
            )
        });
    }
    columns
}

fn errors(target: &TargetReport) -> Cell {
    let Figures { errors, rate_limited, requests, .. } = target.all;
    if requests == 0 {
        return Cell::unknown("–");
    }
    let mut html = count(errors);
    if errors > 0 {
        let share = super::number::share(errors, requests).unwrap_or(0.0);
        let interval = wilson(errors, requests).map(|(low, high)| (percent_plain(low), percent_plain(high)));
        let interval = interval.map(|(low, high)| format!(" ({low}–{high})")).unwrap_or_default();
        html = format!("<b class=\"bad\">{html}</b><small>{}{interval}</small>", percent(share.min(1.0)));
    }
    if rate_limited > 0 {
        html.push_str(&format!("<small>{} × 429</small>", count(rate_limited)));
    }
    Cell::number(html, errors as f64)
}

fn percent_plain(share: f64) -> String {
    format!("{:.0}", share * 100.0)
}

pub(super) fn section(page: &Page<'_>) -> String {
    let targets = &page.report.targets;
    if targets.is_empty() {
        return "<p>Nobody was asked.</p>\n".to_owned();
    }
    let columns = columns(targets);
    let sort = |column: usize, title: &str, whole: &str| {
        format!(
            "<button type=\"button\" data-column=\"{column}\" title=\"Sort by: {whole}\">{title}<span class=\"hidden\">, {whole}</span></button>"
        )
    };
    let mut groups = String::from("<td></td>");
    let mut at = 0;
    while let Some(column) = columns.get(at) {
        let wide = columns[at..].iter().take_while(|it| it.group == column.group).count();
        let tag = if column.group.is_empty() { "td" } else { "th scope=\"colgroup\" class=\"group\"" };
        let end = if column.group.is_empty() { "td" } else { "th" };
        groups.push_str(&format!("<{tag} colspan=\"{wide}\">{}</{end}>", column.group));
        at += wide;
    }
    groups.push_str("<td></td>");
    let mut heads = format!(
        "<th scope=\"col\" class=\"who\" aria-sort=\"none\">{}</th>",
        sort(0, "Target", "the target’s name")
    );
    for (i, column) in columns.iter().enumerate() {
        heads.push_str(&format!(
            "<th scope=\"col\" class=\"n{}\" aria-sort=\"none\">{}</th>",
            begins_group(&columns, i),
            sort(i + 1, column.title, column.whole)
        ));
    }
    heads.push_str("<th scope=\"col\" class=\"words\">Answered by</th>");
    let mut rows = String::new();
    for (i, target) in targets.iter().enumerate() {
        let model = if target.model == target.label {
            String::new()
        } else {
            format!("<small>{}</small>", short_name(&target.model))
        };
        rows.push_str(&format!(
            "<tr><th scope=\"row\" class=\"who\" data-sort=\"{}\">{}{model}</th>",
            super::text::escape(&page.plain_name(target)),
            page.label(i),
        ));
        for (i, column) in columns.iter().enumerate() {
            let Cell { html, by } = (column.cell)(target);
            let by = by.map(|it| format!(" data-sort=\"{it}\"")).unwrap_or_default();
            rows.push_str(&format!("<td class=\"n{}\"{by}>{html}</td>", begins_group(&columns, i)));
        }
        let answered: Vec<String> = target.answered.iter().map(|it| short_name(it)).collect();
        let answered = if answered.is_empty() {
            "<span class=\"unknown\">–</span>".to_owned()
        } else {
            answered.join(", ")
        };
        rows.push_str(&format!("<td class=\"words\">{answered}</td></tr>\n"));
    }
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"summary-c\">\n<table class=\"sortable figures\">\n\
         <caption id=\"summary-c\"><b>Table 1.</b> All stages together. Below a value, its 95\u{a0}% interval. \
         <span class=\"control\" hidden>A click on a heading sorts.</span></caption>\n\
         <thead><tr class=\"groups\">{groups}</tr>\n<tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn begins_group(columns: &[Column], at: usize) -> &'static str {
    if at == 0 || columns[at - 1].group != columns[at].group { " first" } else { "" }
}

/// Targets that were not asked to the end, which all figures must be read with.
pub(super) fn stops(page: &Page<'_>) -> String {
    let stopped: String = page
        .report
        .targets
        .iter()
        .filter_map(|it| {
            Some(format!(
                "<li>{} was not asked to the end: {}</li>\n",
                page.name(it),
                name(it.stopped.as_ref()?)
            ))
        })
        .collect();
    if stopped.is_empty() { stopped } else { format!("<ul class=\"stops\">\n{stopped}</ul>\n") }
}
