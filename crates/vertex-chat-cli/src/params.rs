//! `vertex-chat params`: which server takes which parameter.

use std::fmt::Write;

use clap::Args;
use serde_json::{Map, Value, json};
use vertex_chat::Dialect;
use vertex_chat::params::{PARAMETERS, Parameter, Rewrite, Support};

use crate::{Failure, out};

#[derive(Debug, Args)]
pub(crate) struct ParamsArguments {
    /// For this model on Vertex's endpoint `openapi`, `publisher/model`.
    #[arg(long, short, conflicts_with = "dialect")]
    model: Option<String>,
    /// For this kind of server: vertex-gemini-2, vertex-gemini-3, gemini-developer, vertex-partner, vllm, tgi, openai.
    #[arg(long)]
    dialect: Option<Dialect>,
    /// Print a JSON array of parameters.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print the page `docs/parameters.md`.
    #[arg(long, conflicts_with_all = ["model", "dialect"])]
    markdown: bool,
}

pub(crate) fn run(arguments: &ParamsArguments) -> Result<(), Failure> {
    let of_model = arguments.model.as_deref().map(|model| Dialect::of_vertex_model(Some(model)));
    let dialects = match arguments.dialect.or(of_model) {
        Some(dialect) => vec![dialect],
        None => Dialect::ALL.to_vec(),
    };
    if arguments.json {
        let rows: Vec<Value> = PARAMETERS.iter().map(|row| as_json(row, &dialects)).collect();
        return out::line(serde_json::to_string_pretty(&rows).expect("because rows are JSON"));
    }
    if arguments.markdown {
        return out::write(&page());
    }
    out::write(&for_people(&dialects))
}

fn word(support: Support) -> String {
    match support {
        Support::Taken => "taken".to_owned(),
        Support::Ignored => "ignored".to_owned(),
        Support::Refused(status) => format!("refused with {status}"),
        Support::Varies => "varies".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn as_json(row: &Parameter, dialects: &[Dialect]) -> Value {
    let support: Map<String, Value> =
        dialects.iter().map(|it| (it.name().to_owned(), Value::from(word(row.support(*it))))).collect();
    json!({
        "name": row.name(),
        "path": row.path,
        "type": row.r#type,
        "range": row.range,
        "dialects": support,
        "since": row.since,
        "source": row.source,
    })
}

fn for_people(dialects: &[Dialect]) -> String {
    let width = PARAMETERS.iter().map(|row| row.path.len()).max().unwrap_or(0);
    let mut text = String::new();
    let written = "because a string takes everything";
    for dialect in dialects {
        writeln!(text, "{dialect}").expect(written);
        for row in &PARAMETERS {
            let (support, range) = (word(row.support(*dialect)), row.range);
            let kind =
                if range.is_empty() { row.r#type.to_owned() } else { format!("{}; {range}", row.r#type) };
            writeln!(text, "{:<width$}  {support:<16}  {kind}", row.path).expect(written);
        }
        writeln!(text, "\nrewritten where it has to be:").expect(written);
        for rule in Rewrite::ALL.iter().filter(|rule| rule.applies_to(*dialect)) {
            writeln!(text, "{:<width$}  {}", rule.name(), rule.description()).expect(written);
        }
        text.push('\n');
    }
    text
}

/// A page for the documentation: tables, one line a parameter.
fn page() -> String {
    let mut page = String::from(
        "# Parameters\n\nWhich kind of server takes which parameter. Made by `cargo xtask docs` from the table of \
         `vertex-chat-params`; changes belong\nthere. `vertex-chat params --model google/gemini-2.5-flash` prints the \
         part for one model.\n\n\
         * **taken**: it has an effect, or is checked.\n\
         * **ignored**: nothing happens and nothing is said.\n\
         * **400**, **422**: the request is refused with this status.\n\
         * **varies**: by model or version, or not known; it is sent as it is.\n\n\
         *since* is when Vertex began to list it.\n\n",
    );
    let names: Vec<&str> = Dialect::ALL.iter().map(|it| it.name()).collect();
    page.push_str(&format!("| parameter | type | {} | since |\n", names.join(" | ")));
    page.push_str(&format!("|---|---|{}---|\n", "---|".repeat(names.len())));
    for row in &PARAMETERS {
        let cells: Vec<String> =
            Dialect::ALL.iter().map(|it| word(row.support(*it)).replace("refused with ", "")).collect();
        let kind = if row.range.is_empty() {
            row.r#type.to_owned()
        } else {
            format!("{}; {}", row.r#type, row.range)
        };
        page.push_str(&format!("| `{}` | {kind} | {} | {} |\n", row.path, cells.join(" | "), row.since));
    }
    page.push_str("\n## Rewrites\n\nThe same request in the form that a server takes. Each is named in the report and can be switched off by its name.\n\n");
    page.push_str("| rule | does | for | known from |\n|---|---|---|---|\n");
    for rule in Rewrite::ALL {
        let dialects = match rule.dialects().len() {
            count if count == Dialect::ALL.len() => "all".to_owned(),
            _ => rule.dialects().iter().map(|it| it.name()).collect::<Vec<_>>().join(", "),
        };
        page.push_str(&format!(
            "| `{}` | {} | {dialects} | {} |\n",
            rule.name(),
            rule.description(),
            rule.source()
        ));
    }
    page.push_str("\n## Sources\n\n| parameter | known from |\n|---|---|\n");
    for row in &PARAMETERS {
        page.push_str(&format!("| `{}` | {} |\n", row.path, row.source));
    }
    page
}
