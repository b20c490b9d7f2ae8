//! A report as one HTML file, which needs nothing else: no network, no font, and JavaScript only to sort and to search.
//!
//! Answers are text of strangers. They are escaped, what cannot be seen in them is shown, and the page's policy lets no
//! script run but its own, which is known by its hash. The same report gives the same bytes.

mod answers;
mod change;
mod charts;
mod number;
mod origin;
mod plot;
mod summary;
mod text;
mod verdict;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::plot::{Look, Owner};
use self::text::{escape, name, short_name};
use crate::report::{Report, TargetReport};

const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");

/// The report as an HTML document.
///
/// It has the report itself too, as JSON in the element `report`: whatever is drawn can be computed anew from it.
#[must_use]
pub fn html(report: &Report) -> String {
    let page = Page::new(report);
    let sections = [
        ("findings", "Findings", verdict::section(&page)),
        ("summary", "Summary", summary::section(&page)),
        ("figures", "Figures", charts::section(&page)),
        ("answers", "Answers", answers::section(&page)),
        ("origin", "What this depends on", origin::section(&page)),
        ("change", "From run to run", change::section(&page)),
    ];
    let mut links = String::new();
    let mut body = String::new();
    for (id, title, content) in sections {
        if content.is_empty() {
            continue;
        }
        links.push_str(&format!("<li><a href=\"#{id}\">{title}</a></li>"));
        body.push_str(&format!(
            "<section id=\"{id}\" aria-labelledby=\"{id}-h\">\n<h2 id=\"{id}-h\">{title}</h2>\n{content}</section>\n"
        ));
    }
    let (title, headline) = page.headline();
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"generator\" content=\"vertex-chat compare\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#findings\">Skip to the findings</a>\n<header>\n{headline}</header>\n\
         <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n<main>\n{body}</main>\n<footer>\n<p>Made by {program}, {made}. \
         Times are from when a request was due to its last byte. Small numbers are intervals that have the true value in them with \
         95&nbsp;% confidence.</p>\n<p class=\"control\" hidden><button type=\"button\" id=\"save\">Save the data as JSON</button></p>\n\
         </footer>\n<script type=\"application/json\" id=\"report\">{data}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        program = name(&report.program),
        made = name(&number::moment(&report.made)),
        data = data(report),
    )
}

/// A source of the page's policy: what has another hash does not run.
fn hash(source: &str) -> String {
    let hash = digest::digest(&digest::SHA256, source.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}

/// The report as JSON that no end of a script is found in.
fn data(report: &Report) -> String {
    let json = serde_json::to_string(report).unwrap_or_else(|_| "null".to_owned());
    // Outside of strings JSON has none of these.
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// What all sections look at.
struct Page<'a> {
    report: &'a Report,
    looks: Vec<Look>,
}

impl<'a> Page<'a> {
    fn new(report: &'a Report) -> Self {
        let mut labels: Vec<&str> = Vec::new();
        let mut looks = Vec::with_capacity(report.targets.len());
        for target in &report.targets {
            let label = labels.iter().position(|it| *it == target.label).unwrap_or_else(|| {
                labels.push(&target.label);
                labels.len() - 1
            });
            looks.push(Look::of(label, target.run, report.runs.len() > 1));
        }
        Self { report, looks }
    }

    fn has_several_runs(&self) -> bool {
        self.report.runs.len() > 1
    }

    /// A run's name, whether or not there is such a run.
    fn run_name(&self, run: usize) -> String {
        let named = self.report.runs.get(run).map(|it| it.name.as_str()).filter(|it| !it.is_empty());
        named.map_or_else(|| format!("run {}", run.saturating_add(1)), str::to_owned)
    }

    /// A target's name as text; with several runs it says which.
    fn plain_name(&self, target: &TargetReport) -> String {
        let label = if target.label.is_empty() { &target.model } else { &target.label };
        if self.has_several_runs() {
            format!("{label} · {}", self.run_name(target.run))
        } else {
            label.clone()
        }
    }

    /// The same as HTML.
    fn name(&self, target: &TargetReport) -> String {
        let label = if target.label.is_empty() { &target.model } else { &target.label };
        let run = if self.has_several_runs() {
            format!(" <span class=\"run\">{}</span>", short_name(&self.run_name(target.run)))
        } else {
            String::new()
        };
        format!("{}{run}", short_name(label))
    }

    /// A target's name beside what it looks like.
    fn label(&self, target: usize) -> String {
        let name =
            self.report.targets.get(target).map_or_else(|| "unknown target".to_owned(), |it| self.name(it));
        format!("<span class=\"label\">{}<span>{name}</span></span>", self.look(target).swatch())
    }

    fn look(&self, target: usize) -> Look {
        self.looks.get(target).copied().unwrap_or(Look::of(0, 0, false))
    }

    fn owner(&self, target: usize) -> Option<Owner<'a>> {
        let report = self.report.targets.get(target)?;
        Some(Owner { label: &report.label, run: report.run, look: self.look(target) })
    }

    /// The document's title, and its head.
    fn headline(&self) -> (String, String) {
        const NAMED_MAX: usize = 3;
        const NAME_COLUMNS_MAX: usize = 40;
        let mut labels: Vec<&str> = Vec::new();
        for target in &self.report.targets {
            if !labels.contains(&target.label.as_str()) {
                labels.push(&target.label);
            }
        }
        let cut: Vec<String> = labels.iter().map(|it| text::cut(it, NAME_COLUMNS_MAX)).collect();
        let (plain, marked) = match cut.as_slice() {
            [] => ("No target".to_owned(), "No target".to_owned()),
            [one] => (one.clone(), name(one)),
            many if many.len() <= NAMED_MAX => {
                let join = |names: Vec<String>| {
                    let (last, first) = names.split_last().expect("because there are two or more");
                    format!("{} and {last}", first.join(", "))
                };
                (join(many.to_vec()), join(many.iter().map(|it| name(it)).collect()))
            }
            many => (format!("{} targets", many.len()), format!("{} targets", many.len())),
        };
        let compared = if labels.len() > 1 { ", side by side" } else { "" };
        let mut facts = Vec::new();
        if self.has_several_runs() {
            facts.push(number::plural(self.report.runs.len() as u64, "run", "runs"));
        }
        for run in &self.report.runs {
            let mut words = vec![
                number::plural(run.results, "result", "results"),
                number::plural(run.head.prompts, "prompt", "prompts"),
            ];
            if !run.head.settings.stages.is_empty() {
                words.push(escape(&run.head.settings.stages.join(", ")));
            }
            words.push(if run.head.settings.stream {
                "streamed".to_owned()
            } else {
                "not streamed".to_owned()
            });
            let begun = name(&number::moment(&run.head.started));
            let ended = match &run.end {
                Some(end) if end == "complete" => String::new(),
                Some(end) => format!(" · ended early: {}", name(end)),
                None => " · <b>interrupted</b>".to_owned(),
            };
            let of = if self.has_several_runs() { format!("{}: ", name(&run.name)) } else { String::new() };
            facts.push(format!("{of}begun {begun} · {}{ended}", words.join(" · ")));
        }
        let facts: String = facts.iter().map(|it| format!("<p class=\"facts\">{it}</p>\n")).collect();
        (
            escape(&format!("{plain}{compared}")),
            format!("<p class=\"over\">vertex-chat compare</p>\n<h1>{marked}{compared}</h1>\n{facts}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::html;
    use crate::report::Report;

    /// A report with these members in place of empty ones.
    fn report(members: Value) -> Report {
        let mut report = serde_json::to_value(Report::default()).unwrap();
        fill(&mut report, members);
        serde_json::from_value(report).unwrap()
    }

    fn fill(into: &mut Value, members: Value) {
        match (into, members) {
            (Value::Object(into), Value::Object(members)) => {
                for (key, value) in members {
                    fill(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (into, value) => *into = value,
        }
    }

    fn target(members: Value) -> Value {
        let mut target = serde_json::to_value(crate::report::TargetReport::default()).unwrap();
        fill(&mut target, members);
        target
    }

    fn figures(members: Value) -> Value {
        let mut figures = serde_json::to_value(crate::report::Figures::default()).unwrap();
        fill(&mut figures, members);
        figures
    }

    fn spread(p50: f64, low: f64, high: f64) -> Value {
        let quantile = |by: f64| json!({"value": p50 * by, "low": low * by, "high": high * by});
        json!({"count": 100, "min": p50 / 2.0, "mean": p50, "max": p50 * 4.0, "p50": quantile(1.0), "p90": quantile(2.0), "p99": quantile(3.0)})
    }

    fn two(first: (f64, f64, f64), second: (f64, f64, f64)) -> Report {
        let one = |label: &str, (p50, low, high): (f64, f64, f64), cost: Value| {
            target(
                json!({"label": label, "all": figures(json!({"requests": 100, "ok": 100, "total": spread(p50, low, high),
                "cost_per_thousand": cost}))}),
            )
        };
        report(json!({"targets": [one("tortoise", first, json!(0.5)), one("hare", second, Value::Null)]}))
    }

    #[test]
    fn the_faster_is_named_when_the_intervals_do_not_overlap() {
        let page = html(&two((2.0, 1.9, 2.1), (1.0, 0.9, 1.1)));
        assert!(page.contains("<b><bdi>hare</bdi></b>, 1.00\u{a0}s at the median"), "{page}");
        assert!(!page.contains("No clear difference: the 95"));
    }

    #[test]
    fn nobody_is_named_when_the_intervals_overlap() {
        let page = html(&two((1.2, 1.0, 1.4), (1.1, 0.9, 1.3)));
        assert!(page.contains("No clear difference"));
    }

    #[test]
    fn an_unknown_cost_is_never_nothing() {
        let page = html(&two((2.0, 1.9, 2.1), (1.0, 0.9, 1.1)));
        assert!(page.contains("unknown"));
        assert!(!page.contains("$0</td>") && page.matches("data-mark=\"bar\"").count() == 1);
    }

    #[test]
    fn the_same_report_gives_the_same_bytes() {
        let report = two((2.0, 1.9, 2.1), (1.0, 0.9, 1.1));
        assert_eq!(html(&report), html(&report));
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let page = html(&Report::default());
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    }

    #[test]
    fn places_that_do_not_exist_do_no_harm() {
        let page = html(&report(json!({
            "targets": [target(json!({"run": 99, "label": "a"}))],
            "prompts": [{"name": "1", "messages": [["user", "hi"]], "answers": [{"target": 77, "pieces": [{"text": "x", "is_new": true}],
                "calls": [], "total": 1.0, "variety": [1, 1]}]}],
        })));
        assert!(page.contains("<ins>x</ins>"));
    }

    #[test]
    fn answers_cannot_end_what_they_are_in() {
        let evil = "</script><script>alert(1)</script><!--";
        let page = html(&report(json!({
            "targets": [target(json!({"label": evil, "model": evil}))],
            "prompts": [{"name": evil, "messages": [[evil, evil]], "expected": evil, "answers": [{"target": 0,
                "pieces": [{"text": evil, "is_new": false}], "calls": [{"name": evil, "arguments": evil, "fault": evil}], "total": 1.0,
                "error": evil, "finish_reason": evil, "json_fault": evil, "score": [0.5, evil], "variety": [1, 1]}]}],
        })));
        assert!(!page.contains("<script>alert"));
        assert_eq!(page.matches("</script>").count(), 2);
        // Two scripts of the page's own: the data, and what sorts.
        assert_eq!(page.matches("<script").count(), 2);
    }

    #[test]
    fn the_data_is_in_the_page() {
        let report = two((2.0, 1.9, 2.1), (1.0, 0.9, 1.1));
        let page = html(&report);
        let (_, rest) = page.split_once("id=\"report\">").unwrap();
        let (data, _) = rest.split_once("</script>").unwrap();
        assert_eq!(serde_json::from_str::<Report>(data).unwrap(), report);
    }
}
