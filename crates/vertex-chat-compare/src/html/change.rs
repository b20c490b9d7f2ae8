//! With several runs: what became of the targets that are in more than one.

use super::Page;
use super::number::{self, dollars, percent, seconds};
use super::text::name;
use super::verdict::is_apart;
use crate::report::TargetReport;

/// A value of a target, and how it is written.
struct Value {
    value: f64,
    certainty: Certainty,
    written: String,
}

/// How sure a value is.
#[derive(Clone, Copy)]
enum Certainty {
    /// The true value is in here with 95 % confidence.
    Within((f64, f64)),
    /// There are too few answers to say.
    TooFew,
    /// Nobody computes an interval of such values.
    Unasked,
}

impl Certainty {
    fn of(interval: Option<(f64, f64)>) -> Self {
        interval.map_or(Self::TooFew, Self::Within)
    }
}

type Of = fn(&TargetReport) -> Option<Value>;

/// What is compared, and whether less is better.
const COMPARED: [(&str, bool, Of); 5] = [
    ("Total time, median", true, |it| time(it.all.total.as_ref()?.p50)),
    ("First token, median", true, |it| time(it.all.first_token.as_ref()?.p50)),
    ("Per thousand answers", true, |it| {
        let cost = it.all.cost_per_thousand?;
        Some(Value { value: cost, certainty: Certainty::Unasked, written: dollars(cost) })
    }),
    ("Errors", true, |it| {
        let share = number::share(it.all.errors, it.all.requests)?;
        let certainty = Certainty::of(number::wilson(it.all.errors, it.all.requests));
        Some(Value { value: share, certainty, written: percent(share) })
    }),
    ("Score", false, |it| {
        let score = it.all.score?;
        Some(Value { value: score, certainty: Certainty::Unasked, written: format!("{score:.3}") })
    }),
];

fn time(quantile: crate::report::Quantile) -> Option<Value> {
    let certainty = Certainty::of(quantile.interval());
    Some(Value { value: quantile.value, certainty, written: seconds(quantile.value) })
}

pub(super) fn section(page: &Page<'_>) -> String {
    if !page.has_several_runs() {
        return String::new();
    }
    let targets = &page.report.targets;
    let mut rows = String::new();
    for (i, first) in targets.iter().enumerate() {
        // The first of its label is what the later ones are compared with.
        if targets[..i].iter().any(|it| it.label == first.label) {
            continue;
        }
        let later: Vec<&TargetReport> =
            targets[i + 1..].iter().filter(|it| it.label == first.label && it.run != first.run).collect();
        for (n, other) in later.iter().enumerate() {
            let who = if n == 0 {
                format!(
                    "<th scope=\"rowgroup\" rowspan=\"{}\" class=\"who\"><span class=\"label\">{}<span>{}</span></span></th>",
                    later.len(),
                    page.look(i).swatch(),
                    name(&first.label)
                )
            } else {
                String::new()
            };
            let cells: String =
                COMPARED.iter().map(|(_, less, of)| cell(of(first), of(other), *less)).collect();
            rows.push_str(&format!(
                "<tr>{who}<td>{} → {}</td>{cells}</tr>\n",
                name(&page.run_name(first.run)),
                name(&page.run_name(other.run))
            ));
        }
    }
    if rows.is_empty() {
        return "<p>No label is in more than one of the runs: give targets the same label in each, and their change is shown here.</p>\n"
            .to_owned();
    }
    let heads: String =
        COMPARED.iter().map(|(what, _, _)| format!("<th scope=\"col\" class=\"n\">{what}</th>")).collect();
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"change-c\">\n<table class=\"change\">\n\
         <caption id=\"change-c\">From the first run that has the label to each later one. Costs and scores have no interval: \
         they are of these answers.</caption>\n<thead><tr><th scope=\"col\" class=\"who\">Target</th><th scope=\"col\">Runs</th>{heads}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn cell(before: Option<Value>, after: Option<Value>, less_is_better: bool) -> String {
    let (before, after) = match (before, after) {
        (Some(before), Some(after)) if before.value.is_finite() && after.value.is_finite() => (before, after),
        (None, None) => return "<td class=\"n\"><span class=\"unknown\">–</span></td>".to_owned(),
        (before, after) => {
            let written = |it: Option<Value>| it.map_or_else(|| "unknown".to_owned(), |it| it.written);
            return format!(
                "<td class=\"n\"><span class=\"unknown\">{} → {}</span></td>",
                written(before),
                written(after)
            );
        }
    };
    let values = format!("{} → {}", before.written, after.written);
    if before.value == after.value {
        return format!("<td class=\"n\">{values}<small>no change</small></td>");
    }
    let is_less = after.value < before.value;
    let arrow = if is_less { "▼" } else { "▲" };
    let by = if before.value > 0.0 {
        format!("{arrow}\u{a0}{}", percent_rounded((after.value / before.value - 1.0).abs()))
    } else {
        arrow.to_owned()
    };
    let (class, words) = match (before.certainty, after.certainty) {
        (Certainty::Unasked, _) | (_, Certainty::Unasked) => ("", if is_less { " lower" } else { " higher" }),
        (Certainty::TooFew, _) | (_, Certainty::TooFew) => ("", ", too few answers to be sure"),
        (Certainty::Within(one), Certainty::Within(other)) => {
            if !is_apart(Some(one), Some(other)) && !is_apart(Some(other), Some(one)) {
                ("", ", within the confidence interval")
            } else if is_less == less_is_better {
                ("good", " better")
            } else {
                ("bad", " worse")
            }
        }
    };
    format!("<td class=\"n\">{values}<small class=\"{class}\">{by}{words}</small></td>")
}

fn percent_rounded(share: f64) -> String {
    let percent = share * 100.0;
    // What is written as nothing would be no change.
    if percent < 0.05 {
        return "under\u{a0}0.1\u{a0}%".to_owned();
    }
    if percent < 9.95 { format!("{percent:.1}\u{a0}%") } else { format!("{percent:.0}\u{a0}%") }
}
