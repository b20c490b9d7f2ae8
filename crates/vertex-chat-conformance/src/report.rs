//! What a run found, for people, programs and build servers. The same results make the same bytes: no times, no dates.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::case::Level;
use crate::run::{CaseResult, Verdict};
use crate::suite::Selection;

/// The JSON Schema of [`Reports::to_json`].
pub const REPORT_SCHEMA: &str = include_str!("../report.schema.json");

/// The word for the form of the JSON report; another number when it changes.
const FORMAT: &str = "vertex-chat-conformance/1";

/// The verdicts that are counted for each group.
const COLUMNS: [&str; 6] = ["passed", "failed", "blocked", "skipped", "recorded", "not run"];

/// What several runs found, in the order of the runs.
#[derive(Clone, Debug, Default)]
pub struct Reports(pub Vec<Report>);

impl Reports {
    /// As JSON by [`REPORT_SCHEMA`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        let runs: Vec<Value> = self.0.iter().map(Report::run_json).collect();
        json!({"format": FORMAT, "suite": env!("CARGO_PKG_VERSION"), "runs": runs})
    }

    /// As JUnit's XML, in which build servers show tests: a suite for each group of each run; blocked cases count as skipped.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (tests, failures) = self.0.iter().fold((0, 0), |(tests, failures), report| {
            (tests + report.results.len(), failures + report.count("failed"))
        });
        let _ = writeln!(out, "<testsuites name=\"conformance\" tests=\"{tests}\" failures=\"{failures}\">");
        for report in &self.0 {
            report.junit_suites(&mut out);
        }
        out.push_str("</testsuites>\n");
        out
    }

    /// As Markdown, a badge before each run.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        self.0.iter().map(Report::to_markdown).collect::<Vec<_>>().join("\n")
    }

    /// The worst level at which a rule does not hold in any run.
    #[must_use]
    pub fn worst(&self) -> Option<Level> {
        self.0.iter().filter_map(Report::worst).max()
    }
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    target: String,
    model: String,
    profile: String,
    behind: Option<String>,
    level: Level,
    /// By group and id.
    results: Vec<CaseResult>,
}

impl Report {
    pub(crate) fn new(
        selection: &Selection,
        target: &str,
        model: &str,
        mut results: Vec<CaseResult>,
    ) -> Self {
        results
            .sort_by(|one, other| (&one.case.group, &one.case.id).cmp(&(&other.case.group, &other.case.id)));
        Self {
            target: target.to_owned(),
            model: model.to_owned(),
            profile: selection.profile.clone(),
            behind: selection.behind.clone(),
            level: selection.level,
            results,
        }
    }

    /// The cases and what became of them, by group and id.
    #[must_use]
    pub fn results(&self) -> &[CaseResult] {
        &self.results
    }

    /// How many cases ended with this verdict: `passed`, `failed`, `blocked`, `skipped`, `recorded`, `not run`.
    #[must_use]
    pub fn count(&self, verdict: &str) -> usize {
        count(&self.results, verdict)
    }

    /// The worst level at which a rule does not hold.
    #[must_use]
    pub fn worst(&self) -> Option<Level> {
        self.failed().map(|it| it.case.level).max()
    }

    /// The cases that failed, those first on which more hangs.
    fn failed(&self) -> impl Iterator<Item = &CaseResult> {
        let failed = self.results.iter().filter(|it| matches!(it.verdict, Verdict::Failed(_)));
        let (interop, strict): (Vec<_>, Vec<_>) = failed.partition(|it| it.case.level == Level::Interop);
        interop.into_iter().chain(strict)
    }

    fn judged(&self) -> usize {
        self.count("passed") + self.count("failed") + self.count("blocked")
    }

    fn of_groups(&self) -> BTreeMap<&str, Vec<&CaseResult>> {
        let mut groups: BTreeMap<&str, Vec<&CaseResult>> = BTreeMap::new();
        for result in &self.results {
            groups.entry(&result.case.group).or_default().push(result);
        }
        groups
    }

    /// Cases that were not judged, by their reason.
    fn by_reason(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for result in &self.results {
            if let Verdict::Skipped(because) | Verdict::Blocked(because) | Verdict::NotRun(because) =
                &result.verdict
            {
                reasons.entry(because).or_default().push(&result.case.id);
            }
        }
        reasons
    }

    fn title(&self) -> String {
        let behind = self.behind.as_ref().map(|it| format!(" before {it}")).unwrap_or_default();
        format!("{} as {}{behind}, model {}, level {}", self.target, self.profile, self.model, self.level)
    }

    fn summary(&self) -> String {
        let mut parts = vec![format!("{} of {} rules hold", self.count("passed"), self.judged())];
        for verdict in ["failed", "blocked", "skipped", "recorded", "not run"] {
            match self.count(verdict) {
                0 => {}
                count => parts.push(format!("{count} {verdict}")),
            }
        }
        parts.join(", ")
    }

    /// For a terminal, up to 100 columns where texts allow it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = format!("{}\n\n", self.title());
        let _ = writeln!(out, "{:<20}{}", "group", COLUMNS.map(|word| format!("{word:>9}")).concat());
        for (group, results) in self.of_groups() {
            let counts = COLUMNS.map(|word| format!("{:>9}", count(results.iter().copied(), word)));
            let _ = writeln!(out, "{group:<20}{}", counts.concat());
        }
        for result in self.failed() {
            let case = &result.case;
            let _ = writeln!(out, "\nFAILED {} ({}): {}", case.id, case.level, case.title);
            let _ = writeln!(out, "  rule      {}", case.rule);
            if let Verdict::Failed(violations) = &result.verdict {
                for violation in violations {
                    let _ = writeln!(out, "  at        {}", violation.at);
                    let _ = writeln!(out, "  expected  {}", violation.expected);
                    let _ = writeln!(out, "  got       {}", violation.got);
                }
            }
            let _ = writeln!(out, "  matters   {}", case.breaks);
            let _ = writeln!(out, "  source    {}", case.source);
        }
        let reasons = self.by_reason();
        if !reasons.is_empty() {
            let _ = writeln!(out, "\nnot judged");
            for (because, ids) in reasons {
                let _ = writeln!(out, "  {because}\n    {}", ids.join(" "));
            }
        }
        let recorded = self.results.iter().filter(|it| matches!(it.verdict, Verdict::Recorded(_)));
        for (i, result) in recorded.enumerate() {
            if i == 0 {
                let _ = writeln!(out, "\nseen, not judged");
            }
            let _ = writeln!(out, "  {}: {}", result.case.id, result.case.title);
            if let Verdict::Recorded(seen) = &result.verdict {
                for (path, value) in seen {
                    let _ = writeln!(out, "    {path} = {value}");
                }
            }
        }
        let _ = writeln!(out, "\n{}", self.summary());
        out
    }

    fn run_json(&self) -> Value {
        let cases: Vec<Value> = self.results.iter().map(case_json).collect();
        json!({
            "target": self.target,
            "model": self.model,
            "profile": self.profile,
            "behind": self.behind,
            "level": self.level.as_str(),
            "summary": {
                "passed": self.count("passed"),
                "failed": self.count("failed"),
                "blocked": self.count("blocked"),
                "skipped": self.count("skipped"),
                "recorded": self.count("recorded"),
                "not_run": self.count("not run"),
                "worst_failed_level": self.worst().map(Level::as_str),
            },
            "cases": cases,
        })
    }

    fn junit_suites(&self, out: &mut String) {
        let behind = self.behind.as_ref().map(|it| format!("-before-{it}")).unwrap_or_default();
        let run = format!("{}{behind}/{}", self.profile, self.model);
        for (group, results) in self.of_groups() {
            let count = |words: &[&str]| -> usize {
                words.iter().map(|word| count(results.iter().copied(), word)).sum()
            };
            let (failed, skipped) = (count(&["failed"]), count(&["blocked", "skipped", "not run"]));
            let _ = writeln!(
                out,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">",
                xml(&format!("{run}/{group}")),
                results.len()
            );
            for result in results {
                junit_case(out, &format!("{run}.{group}"), result);
            }
            out.push_str("  </testsuite>\n");
        }
    }

    /// As Markdown, a badge first.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let (passed, judged) = (self.count("passed"), self.judged());
        let colour = match self.worst() {
            // What was not looked at is not green.
            None if self.count("not run") > 0 || judged == 0 => "lightgrey",
            None => "brightgreen",
            Some(Level::Interop) => "red",
            Some(_) => "yellow",
        };
        let label = self.profile.replace('-', "--");
        let mut out = format!(
            "![conformance {} {passed} of {judged}](https://img.shields.io/badge/{label}-{passed}%2F{judged}-{colour})\n\n",
            self.profile
        );
        let _ = writeln!(out, "# Conformance of {}\n\n{}\n", inline(&self.title()), self.summary());
        let _ = writeln!(out, "| group | {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len() + 1));
        for (group, results) in self.of_groups() {
            let counts = COLUMNS.map(|word| count(results.iter().copied(), word).to_string());
            let _ = writeln!(out, "| {group} | {} |", counts.join(" | "));
        }
        for (i, result) in self.failed().enumerate() {
            if i == 0 {
                out.push_str("\n## Failed\n");
            }
            let case = &result.case;
            let _ = writeln!(out, "\n### {} ({})\n\n{}\n", case.id, case.level, of_case(&case.rule));
            if let Verdict::Failed(violations) = &result.verdict {
                out.push_str("| at | expected | got |\n|---|---|---|\n");
                for it in violations {
                    let _ =
                        writeln!(out, "| {} | {} | {} |", cell(&it.at), cell(&it.expected), cell(&it.got));
                }
            }
            let _ = writeln!(
                out,
                "\nWhy it matters: {} Source: {}.",
                of_case(&case.breaks),
                of_case(&case.source)
            );
        }
        let reasons = self.by_reason();
        if !reasons.is_empty() {
            out.push_str("\n## Not judged\n\n| reason | cases |\n|---|---|\n");
            for (because, ids) in reasons {
                let _ = writeln!(out, "| {} | {} |", cell_text(because), ids.join(", "));
            }
        }
        if self.count("recorded") > 0 {
            out.push_str("\n## Seen, not judged\n\n| case | at | value |\n|---|---|---|\n");
            for result in &self.results {
                if let Verdict::Recorded(seen) = &result.verdict {
                    for (path, value) in seen {
                        let _ = writeln!(out, "| {} | {} | {} |", result.case.id, cell(path), cell(value));
                    }
                }
            }
        }
        out
    }
}

fn count<'a>(results: impl IntoIterator<Item = &'a CaseResult>, verdict: &str) -> usize {
    results.into_iter().filter(|it| it.verdict.as_str() == verdict).count()
}

fn case_json(result: &CaseResult) -> Value {
    let case = &result.case;
    let mut json = json!({
        "id": case.id,
        "group": case.group,
        "title": case.title,
        "rule": case.rule,
        "source": case.source,
        "level": case.level.as_str(),
        "breaks": case.breaks,
        "verdict": result.verdict.as_str(),
    });
    match &result.verdict {
        Verdict::Failed(violations) => {
            let list =
                violations.iter().map(|it| json!({"at": it.at, "expected": it.expected, "got": it.got}));
            json["violations"] = list.collect();
        }
        Verdict::Blocked(because) | Verdict::Skipped(because) | Verdict::NotRun(because) => {
            json["because"] = because.as_str().into();
        }
        Verdict::Recorded(seen) => {
            json["seen"] = seen.iter().map(|(path, value)| json!({"at": path, "value": value})).collect();
        }
        Verdict::Passed => {}
    }
    json
}

fn junit_case(out: &mut String, class: &str, result: &CaseResult) {
    let case = &result.case;
    let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\"", xml(class), xml(&case.id));
    match &result.verdict {
        Verdict::Passed => out.push_str("/>\n"),
        Verdict::Recorded(seen) => {
            let text: Vec<String> = seen.iter().map(|(path, value)| format!("{path} = {value}")).collect();
            let _ =
                writeln!(out, ">\n      <system-out>{}</system-out>\n    </testcase>", xml(&text.join("\n")));
        }
        Verdict::Failed(violations) => {
            let text: Vec<String> = violations
                .iter()
                .map(|it| format!("at {}: expected {}, got {}", it.at, it.expected, it.got))
                .collect();
            let _ = writeln!(
                out,
                ">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>",
                case.level,
                xml(&case.rule),
                xml(&text.join("\n"))
            );
        }
        Verdict::Blocked(because) | Verdict::Skipped(because) | Verdict::NotRun(because) => {
            let word = result.verdict.as_str();
            let _ =
                writeln!(out, ">\n      <skipped message=\"{word}: {}\"/>\n    </testcase>", xml(because));
        }
    }
}

/// Text for XML: what it may not contain becomes U+FFFD.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push(' '),
            it if it < ' ' || matches!(it, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            it => escaped.push(it),
        }
    }
    escaped
}

/// Text in a line of Markdown: what came from a server stays text.
/// A sentence of a case, which may have Markdown of its own.
fn of_case(text: &str) -> String {
    text.replace('<', "&lt;").replace(['\n', '\r'], " ")
}

/// A word that a server or a user has chosen, in which Markdown finds nothing.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '\n' | '\r' => out.push(' '),
            it if it.is_control() => {}
            // A backslash before any of these shows it as it is (CommonMark, section 2.4).
            it if "\\`*_{}[]()#+!|~>&\"'$@:".contains(it) => out.extend(['\\', it]),
            it => out.push(it),
        }
    }
    out
}

/// A value in a cell of a table.
fn cell(text: &str) -> String {
    format!("`{}`", in_row(text).replace('`', "'"))
}

fn cell_text(text: &str) -> String {
    in_row(text).replace('<', "&lt;")
}

fn in_row(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('|', "\\|")
}
