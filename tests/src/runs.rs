//! What `vertex-chat compare` wrote, read without its own crate.

use std::path::Path;

use serde_json::Value;

/// The lines of a run's file that are of this kind.
///
/// # Panics
/// When there is no such file, or a line is no JSON.
#[must_use]
pub fn lines(path: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("the run has a file");
    let lines = text.lines().map(|it| serde_json::from_str::<Value>(it).expect("a line is JSON"));
    lines.filter(|it| it["kind"] == kind).collect()
}

/// The data that is in an HTML report.
///
/// # Panics
/// When there is no such file, or no data in it.
#[must_use]
pub fn report_in(path: &Path) -> Value {
    let page = std::fs::read_to_string(path).expect("there is a report");
    let begin = r#"<script type="application/json" id="report">"#;
    let data = page.split_once(begin).and_then(|(_, rest)| rest.split_once("</script>"));
    serde_json::from_str(data.expect("the report has its data in it").0).expect("the data is JSON")
}

/// How much memory a process has, in KiB.
///
/// # Panics
/// When there is no such process.
#[cfg(target_os = "linux")]
#[must_use]
pub fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}
