//! The findings in words. A difference is claimed only when the intervals do not overlap.

use super::number::{self, dollars, percent, seconds, seconds_between};
use super::{Page, summary};
use crate::report::{Quantile, TargetReport};

/// So many names are given before "and others".
const NAMED_MAX: usize = 3;

/// What is compared: who, how much, and the interval where there is one.
#[derive(Clone, Debug)]
struct Candidate {
    name: String,
    value: f64,
    interval: Option<(f64, f64)>,
}

pub(super) fn section(page: &Page<'_>) -> String {
    let targets = &page.report.targets;
    let times = |of: fn(&TargetReport) -> Option<Quantile>| -> Vec<Candidate> {
        let candidate = |it: &TargetReport| {
            let quantile = of(it).filter(|it| it.value.is_finite())?;
            let interval = quantile.interval();
            Some(Candidate { name: page.name(it), value: quantile.value, interval })
        };
        targets.iter().filter_map(candidate).collect()
    };
    let mut findings = Vec::new();
    let first = times(|it| it.all.first_token.as_ref().map(|it| it.p50));
    if !first.is_empty() {
        findings.push(("Fastest first token", fastest(first)));
    }
    findings.push(("Fastest whole answer", fastest(times(|it| it.all.total.as_ref().map(|it| it.p50)))));
    findings.push(("Cheapest", cheapest(page)));
    findings.push(("Most errors", most_errors(page)));
    let items: String = findings
        .iter()
        .map(|(title, text)| format!("<div><dt>{title}</dt><dd>{text}</dd></div>\n"))
        .collect();
    format!("<dl class=\"findings\">\n{items}</dl>\n{}", summary::stops(page))
}

fn fastest(mut candidates: Vec<Candidate>) -> String {
    candidates.sort_by(|one, other| one.value.total_cmp(&other.value));
    let Some((best, others)) = candidates.split_first() else {
        return "Nobody gave a whole answer.".to_owned();
    };
    let said = |it: &Candidate| {
        let interval =
            it.interval.map(|(low, high)| format!(" <small>({})</small>", seconds_between(low, high)));
        format!("{} at the median{}", seconds(it.value), interval.unwrap_or_default())
    };
    let Some(next) = others.first() else {
        return format!("Only {} has this figure: {}.", best.name, said(best));
    };
    let overlapping = others.iter().filter(|it| !is_apart(best.interval, it.interval)).collect::<Vec<_>>();
    if overlapping.is_empty() {
        let times = if best.value > 0.0 {
            format!(", {}\u{a0}× as long", number::significant(next.value / best.value))
        } else {
            String::new()
        };
        return format!(
            "<b>{}</b>, {}. The next is {} with {}{times}.",
            best.name,
            said(best),
            next.name,
            seconds(next.value)
        );
    }
    if best.interval.is_none() || overlapping.iter().any(|it| it.interval.is_none()) {
        return "<b>No clear difference</b>: there are too few answers for intervals of confidence."
            .to_owned();
    }
    let names: Vec<String> = std::iter::once(best)
        .chain(overlapping.iter().copied())
        .take(NAMED_MAX)
        .map(|it| format!("{} ({})", it.name, seconds(it.value)))
        .collect();
    let more = (1 + overlapping.len()).saturating_sub(NAMED_MAX);
    format!(
        "<b>No clear difference</b>: the 95\u{a0}% intervals of the medians of {} overlap.",
        listed(&names, more)
    )
}

fn cheapest(page: &Page<'_>) -> String {
    let targets = &page.report.targets;
    let known = |it: &TargetReport| it.all.cost_per_thousand.filter(|it| it.is_finite());
    let mut costs: Vec<(String, f64)> =
        targets.iter().filter_map(|it| Some((page.name(it), known(it)?))).collect();
    costs.sort_by(|one, other| one.1.total_cmp(&other.1));
    let unknown = targets.len() - costs.len();
    let rest = match unknown {
        0 => String::new(),
        _ => format!(" The cost of {} is unknown.", number::plural(unknown as u64, "target", "targets")),
    };
    match costs.as_slice() {
        [] => "No target's cost is known.".to_owned(),
        [(name, cost)] => {
            let only = if targets.len() > 1 { "Of known cost is only " } else { "" };
            format!("{only}{name}: {} per thousand answers.{rest}", dollars(*cost))
        }
        [(_, one), (_, other), ..] if one == other => {
            let same: Vec<_> = costs.iter().filter(|it| it.1 == *one).map(|it| it.0.clone()).collect();
            let more = same.len().saturating_sub(NAMED_MAX);
            let names = listed(&same[..same.len().min(NAMED_MAX)], more);
            format!("<b>No difference</b>: {names} cost {} per thousand answers.{rest}", dollars(*one))
        }
        [(name, cost), (next, more), ..] => format!(
            "<b>{name}</b>, {} per thousand of these answers. The next is {next} with {}.{rest}",
            dollars(*cost),
            dollars(*more)
        ),
    }
}

fn most_errors(page: &Page<'_>) -> String {
    let targets = &page.report.targets;
    if targets.iter().all(|it| it.all.errors == 0) {
        return if targets.iter().any(|it| it.all.requests > 0) {
            "Nobody had an error.".to_owned()
        } else {
            "Nobody was asked.".to_owned()
        };
    }
    let mut rates: Vec<(&TargetReport, f64)> =
        targets.iter().filter_map(|it| Some((it, number::share(it.all.errors, it.all.requests)?))).collect();
    rates.sort_by(|one, other| other.1.total_cmp(&one.1));
    let Some(((worst, rate), others)) = rates.split_first() else {
        return "Nobody was asked.".to_owned();
    };
    let limited = match worst.all.rate_limited {
        0 => String::new(),
        some => format!(", {} of them rate limits (429)", number::count(some)),
    };
    let said = format!(
        "{} of {} requests ({}){limited}",
        number::count(worst.all.errors),
        number::count(worst.all.requests),
        percent(*rate)
    );
    let interval = |it: &TargetReport| number::wilson(it.all.errors, it.all.requests);
    if others.is_empty() {
        return format!("{}: {said}.", page.name(worst));
    }
    if others.iter().all(|it| it.1 == *rate) {
        return format!("<b>No difference</b>: each had them in {} of its requests.", percent(*rate));
    }
    // The higher is the worse here, which `is_apart` is told by the order.
    if others.iter().all(|(it, _)| is_apart(interval(it), interval(worst))) {
        return format!("<b>{}</b>, {said}.", page.name(worst));
    }
    format!(
        "<b>No clear difference</b>: {} had the most with {said}, but the 95\u{a0}% intervals overlap.",
        page.name(worst)
    )
}

/// Whether the first interval ends before the second begins.
pub(super) fn is_apart(lower: Option<(f64, f64)>, higher: Option<(f64, f64)>) -> bool {
    matches!((lower, higher), (Some((_, high)), Some((low, _))) if high < low)
}

fn listed(names: &[String], more: usize) -> String {
    let mut names = names.to_vec();
    if more > 0 {
        names.push(number::plural(more as u64, "other", "others"));
    }
    match names.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}
