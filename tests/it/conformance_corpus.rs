//! The judge beside OpenAI's schema: on every recorded answer, the cases about the form of an answer and the schema have to
//! come to the same verdict.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};
use vertex_chat_conformance::{Plan, Suite, Target, Verdict};
use vertex_chat_tests::{shared, shared_json};
use vertex_chat_transport::{Body, Exchange, Request, Response, SimulatedClock, TransportError};

/// A server that answers everything with one recorded body.
#[derive(Debug)]
struct Recorded(Bytes);

#[async_trait]
impl Exchange for Recorded {
    async fn send(&self, _: Request) -> Result<Response, TransportError> {
        let mut response = Response::new(Body::from(self.0.clone()));
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        Ok(response)
    }
}

/// Cases of another group that are about the form of an answer too.
const FORM_OF_USAGE: [&str; 4] =
    ["usage-present", "usage-integers", "usage-prompt-details", "usage-completion-details"];

/// Cases of the group that know what was asked, which the recorded answers are not answers to.
const ABOUT_THE_QUESTION: [&str; 6] = [
    "answer-content-text",
    "answer-created-seconds",
    "answer-id-unique",
    "answer-logprobs-null",
    "answer-no-tool-calls",
    "answer-one-choice",
];

/// The cases of the form of an answer that a recorded body fails.
async fn convictions(suite: &Suite, body: Bytes) -> Vec<String> {
    let target =
        Target::new(Arc::new(Recorded(body)), Arc::new(SimulatedClock::new()), "http://127.0.0.1:1/v1", "m");
    let mut plan = Plan::new("openai");
    for case in
        suite.cases().iter().filter(|it| it.group == "answers" || FORM_OF_USAGE.contains(&it.id.as_str()))
    {
        plan = plan.case(&case.id);
    }
    let mut run = suite.plan_for(&plan, "m").unwrap().run(target.unwrap());
    let mut failed = Vec::new();
    while let Some(result) = run.next().await {
        let id = result.case.id.as_str();
        if matches!(result.verdict, Verdict::Failed(_)) && !ABOUT_THE_QUESTION.contains(&id) {
            failed.push(result.case.id.clone());
        }
    }
    failed
}

#[tokio::test]
async fn the_cases_and_the_schema_agree_on_every_recorded_answer() {
    let (Some(index), Some(document)) =
        (shared("corpus/index.jsonl"), shared_json("openapi/chat-completions.openapi.json"))
    else {
        return;
    };
    let schema = json!({"$ref": "#/components/schemas/CreateChatCompletionResponse", "components": document["components"]});
    let schema = jsonschema::validator_for(&schema).unwrap();
    let suite = Suite::bundled();
    let folder = index.parent().unwrap().to_owned();
    let (mut good, mut bad) = (0, 0);
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(&index).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let Some(name) = entry["response"].as_str().filter(|it| it.ends_with(".json")) else { continue };
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let Ok(body) = serde_json::from_slice::<Value>(&bytes) else { continue };
        if entry["status"] != 200 || !body["choices"].is_array() {
            continue;
        }
        let failed = convictions(&suite, Bytes::from(bytes)).await;
        if schema.is_valid(&body) {
            good += 1;
            for id in failed {
                wrong.entry(format!("convicted by {id}")).or_default().push(name.to_owned());
            }
        } else {
            bad += 1;
            if failed.is_empty() {
                let why = schema.iter_errors(&body).next().map(|it| it.to_string()).unwrap();
                wrong.entry(format!("let go, though {why}")).or_default().push(name.to_owned());
            }
        }
    }
    assert!(good > 200 && bad > 200, "{good} good answers and {bad} bad ones say little");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
