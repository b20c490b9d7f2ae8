//! Every row of the parameter table in every dialect, against expectations that were written from the services'
//! documentation and not from the table (`tests/data/parameter-expectations.json`); and the table's page.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use serde_json::{Value, json};
use vertex_chat_params::{
    Action, Dialect, PARAMETERS, Parameter, Policy, Report, Support, Target, parameter, prepare_json,
};
use vertex_chat_tests::process::{run, stderr, stdout, vertex_chat};
use vertex_chat_tests::root;

/// A good request for this dialect, with these fields besides.
fn request(dialect: Dialect, sample: &Value) -> Value {
    let model = match dialect {
        Dialect::VertexGemini2 => "google/gemini-2.5-flash",
        Dialect::VertexGemini3 => "google/gemini-3-flash-preview",
        Dialect::VertexPartner => "meta/llama-4-maverick-17b-128e-instruct-maas",
        _ => "a-model",
    };
    let mut request = json!({"model": model, "messages": [{"role": "user", "content": "hi"}]});
    request.as_object_mut().unwrap().extend(sample.as_object().unwrap().clone());
    request
}

fn prepared(request: &Value, dialect: Dialect, policy: Policy) -> Result<(Value, Report), Vec<String>> {
    let target = Target::new(dialect).with_policy(policy);
    match prepare_json(request.to_string().into_bytes(), &target) {
        Ok(prepared) => Ok((serde_json::from_slice(prepared.body()).unwrap(), prepared.report().clone())),
        Err(rejection) => Err(rejection.problems().iter().map(|it| it.path.clone()).collect()),
    }
}

/// A path of the table as a path of the sample: the first of each list.
fn first(path: &str) -> String {
    // The sample's picture is its second part.
    path.replace("content[]", "content[1]").replace("[]", "[0]")
}

fn check(row: &Parameter, dialect: Dialect, sample: &Value, expected: &str) -> Result<(), String> {
    let (request, path) = (request(dialect, sample), first(row.path));
    let (sent, report) =
        prepared(&request, dialect, Policy::Drop).map_err(|it| format!("refused: {it:?}"))?;
    let of_row: Vec<_> = report
        .notes()
        .iter()
        .filter(|note| note.path.starts_with(&path) || path.starts_with(&format!("{}.", note.path)))
        .collect();
    let rejected = prepared(&request, dialect, Policy::Reject);
    let support = match row.support(dialect) {
        Support::Taken => "taken",
        Support::Ignored => "ignored",
        Support::Refused(400) => "400",
        Support::Refused(422) => "422",
        Support::Varies => "varies",
        other => return Err(format!("an unforeseen {other:?}")),
    };
    match expected {
        "taken" | "varies" => {
            if support != expected {
                return Err(format!("the table says {support}"));
            }
            if sent != request || !report.is_empty() || rejected.is_err() {
                return Err(format!("{sent} was sent, {report} was told"));
            }
        }
        "rewritten" => {
            if of_row.is_empty() || of_row[0].action != Action::Rewritten || of_row[0].rule.is_none() {
                return Err(format!("the report says {report}"));
            }
            if sent == request || rejected.is_err() {
                return Err("it was sent as it is".to_owned());
            }
        }
        _ => {
            if support != expected {
                return Err(format!("the table says {support}"));
            }
            if of_row.len() != 1 || of_row[0].action != Action::Dropped || report.notes().len() != 1 {
                return Err(format!("the report says {report}"));
            }
            let left = sent.pointer(&format!("/{}", path.replace(['.', '['], "/").replace(']', "")));
            if left.is_some() {
                return Err(format!("{sent} was sent"));
            }
            if rejected != Err(vec![row.path.to_owned()]) {
                return Err(format!("refused with {rejected:?}"));
            }
        }
    }
    Ok(())
}

#[test]
fn every_row_does_what_the_documentation_says_in_every_dialect() {
    let text = std::fs::read_to_string(root().join("tests/data/parameter-expectations.json")).unwrap();
    let expectations: Vec<Value> = serde_json::from_str(&text).unwrap();
    let named: Vec<&str> = expectations.iter().map(|it| it["path"].as_str().unwrap()).collect();
    for row in &PARAMETERS {
        assert!(named.contains(&row.path), "nothing is expected of {}", row.path);
    }
    let mut wrong = Vec::new();
    for expectation in &expectations {
        let path = expectation["path"].as_str().unwrap();
        let row = parameter(path).unwrap_or_else(|| panic!("{path} is not in the table"));
        for dialect in Dialect::ALL {
            let expected = expectation["expect"][dialect.name()].as_str().unwrap();
            if let Err(error) = check(row, dialect, &expectation["sample"], expected) {
                wrong.push(format!("{path} on {dialect}, {expected}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), expectations.len() * 7, wrong.join("\n"));
}

#[test]
fn the_program_prints_the_table() {
    let output = run(&mut vertex_chat(&["params", "--json"]), "");
    assert!(output.status.success(), "{}", stderr(&output));
    let rows: Vec<Value> = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(rows.len(), PARAMETERS.len());
    let seed = rows.iter().find(|row| row["name"] == "seed").unwrap();
    assert_eq!(
        (&seed["path"], &seed["type"], &seed["since"]),
        (&json!("seed"), &json!("integer"), &json!("2025"))
    );
    assert_eq!(
        (&seed["dialects"]["tgi"], &seed["dialects"]["gemini-developer"]),
        (&json!("taken"), &json!("refused with 400"))
    );

    let said = stdout(&run(&mut vertex_chat(&["params", "--model", "google/gemini-2.5-flash"]), ""));
    assert!(said.starts_with("Gemini 2 on Vertex\n"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("logit_bias") && line.contains("ignored")), "{said}");
    let said = stdout(&run(&mut vertex_chat(&["params", "--dialect", "tgi"]), ""));
    assert!(said.contains("stop-to-list"), "{said}");
}

#[test]
fn a_server_of_types_and_parameters_alone_answers() {
    let mut server = std::process::Command::new(vertex_chat_tests::built("--example", "server"));
    let mut running = vertex_chat_tests::process::Running::start(&mut server);
    let url = running.line();
    let body = json!({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}], "user": "u", "stop": "x"});
    let answer = vertex_chat_tests::process::http(&url, "POST", "/", &body.to_string());
    let said: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        said["vertex-gemini-2"],
        "rewrote `model`: the endpoint `openapi` wants the publisher in front (google-publisher)\ndropped `user`: ignored by Gemini 2 on Vertex"
    );
    assert!(said["tgi"].as_str().unwrap().contains("(stop-to-list)"), "{said}");
    assert_eq!(said["openai"], "sent as it is");
    assert!(said["vertex-partner"].as_str().unwrap().starts_with("refused: `model`"), "{said}");
}
