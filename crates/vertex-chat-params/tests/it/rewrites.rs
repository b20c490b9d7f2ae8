//! Each rewrite: what it makes of a request, what it tells, and that it can be switched off.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use serde_json::{Value, json};
use vertex_chat_params::{
    Action, Dialect, PREPARE_STEPS_MAX, Rejection, Report, Rewrite, Rewrites, SCHEMA_STEPS_MAX,
    SIGNATURE_ESCAPE, Target, prepare_json, sign_id,
};

const GEMINI_3: &str = "google/gemini-3-flash-preview";

fn send(request: &Value, target: &Target) -> Result<(Value, Report), Rejection> {
    let prepared = prepare_json(request.to_string().into_bytes(), target)?;
    Ok((serde_json::from_slice(prepared.body()).unwrap(), prepared.report().clone()))
}

fn with(fields: Value) -> Value {
    let mut request = json!({"model": GEMINI_3, "messages": [{"role": "user", "content": "hi"}]});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

/// With the rule alone `before` becomes `after` and the report names the paths; without it the report does not name it.
#[track_caller]
fn check(rule: Rewrite, dialect: Dialect, before: Value, after: Value, paths: &[&str]) {
    let alone = Target::new(dialect).with_rewrites(Rewrites::none().with(rule));
    let (before, after) = (with(before), with(after));
    let (sent, report) = send(&before, &alone).unwrap();
    assert_eq!(sent, after, "{report}");
    let notes = report.notes().iter().filter(|note| note.rule == Some(rule));
    let told: Vec<&str> = notes.clone().map(|note| note.path.as_str()).collect();
    assert_eq!(told, paths);
    assert!(notes.clone().all(|note| note.action == Action::Rewritten && !note.reason.is_empty()));
    assert!(report.to_string().contains(rule.name()));
    // Once is enough.
    let (again, report) = send(&sent, &alone).unwrap();
    assert_eq!(again, after);
    assert!(report.notes().iter().all(|note| note.rule != Some(rule)), "{report}");
    // Off, nothing happens but that the request may be refused.
    let off = Target::new(dialect).with_rewrites(Rewrites::all().without(rule));
    if let Ok((_, report)) = send(&before, &off) {
        assert!(report.notes().iter().all(|note| note.rule != Some(rule)), "{report}");
    }
    // Other kinds of servers get it as it is.
    for other in Dialect::ALL.into_iter().filter(|it| !rule.applies_to(*it)) {
        let target = Target::new(other).with_rewrites(Rewrites::none().with(rule));
        if let Ok((_, report)) = send(&before, &target) {
            assert!(report.notes().iter().all(|note| note.rule != Some(rule)), "{other}: {report}");
        }
    }
}

fn user(content: Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": id})
}

fn signed(mut call: Value, signature: &str) -> Value {
    call["extra_content"] = json!({"google": {"thought_signature": signature}});
    call
}

#[test]
fn every_rule_has_a_name_a_reason_and_a_source() {
    for rule in Rewrite::ALL {
        assert_eq!(rule.name().parse::<Rewrite>(), Ok(*rule));
        assert!(!rule.description().is_empty() && !rule.source().is_empty() && !rule.dialects().is_empty());
    }
    assert!("no-such-rule".parse::<Rewrite>().unwrap_err().to_string().contains("stop-to-list"));
    let off = Rewrites::all().without(Rewrite::DropNulls);
    assert!(!off.contains(Rewrite::DropNulls) && off.contains(Rewrite::StopToList));
    assert_eq!(format!("{:?}", Rewrites::none().with(Rewrite::StopToList)), r#"{"stop-to-list"}"#);
}

#[test]
fn a_bare_gemini_gets_its_publisher_and_nobody_else_does() {
    let model = |name: &str| json!({"model": name});
    check(
        Rewrite::GooglePublisher,
        Dialect::VertexGemini3,
        model("gemini-3-flash"),
        model("google/gemini-3-flash"),
        &["model"],
    );
    check(
        Rewrite::GooglePublisher,
        Dialect::VertexGemini2,
        model("gemma-3-27b"),
        model("google/gemma-3-27b"),
        &["model"],
    );
    for kept in ["openai/gpt-oss-120b-maas", "google/gemini-2.5-flash", "meta/llama-4-maas"] {
        let dialect = Dialect::of_vertex_model(Some(kept));
        let (sent, report) = send(&with(model(kept)), &Target::new(dialect)).unwrap();
        assert_eq!((sent["model"].as_str(), report.is_empty()), (Some(kept), true));
    }
    let body = with(model("gemini-2.5-flash")).to_string().into_bytes();
    let prepared = prepare_json(body, &Target::new(Dialect::VertexGemini2)).unwrap();
    assert_eq!(prepared.model(), Some("google/gemini-2.5-flash"));
}

#[test]
fn of_two_names_one_stays() {
    let both = json!({"max_tokens": 5, "max_completion_tokens": 7});
    for dialect in [Dialect::VertexGemini2, Dialect::VertexGemini3, Dialect::GeminiDeveloper, Dialect::Tgi] {
        check(
            Rewrite::MaxTokensAlias,
            dialect,
            both.clone(),
            json!({"max_completion_tokens": 7}),
            &["max_tokens"],
        );
    }
}

#[test]
fn googles_options_go_where_they_belong() {
    let right = json!({"extra_body": {"google": {"thought_tag_marker": "think"}}});
    let rule = Rewrite::ExtraBodyNesting;
    for dialect in [Dialect::VertexGemini2, Dialect::VertexGemini3, Dialect::GeminiDeveloper] {
        check(rule, dialect, json!({"google": {"thought_tag_marker": "think"}}), right.clone(), &["google"]);
        let twice = json!({"extra_body": {"extra_body": right["extra_body"]}});
        check(rule, dialect, twice, right.clone(), &["extra_body.extra_body"]);
        let thrice = json!({"extra_body": {"extra_body": {"extra_body": right["extra_body"]}}});
        check(rule, dialect, thrice, right.clone(), &["extra_body.extra_body", "extra_body.extra_body"]);
    }
    // What is in the right place counts.
    let both = json!({"google": {"thought_tag_marker": "a", "vendor": 1.50}, "extra_body": {"google": {"thought_tag_marker": "b"}, "x": 1}});
    let merged = json!({"extra_body": {"google": {"thought_tag_marker": "b", "vendor": 1.50}, "x": 1}});
    check(rule, Dialect::VertexGemini3, both, merged, &["google", "google.thought_tag_marker"]);
    // Objects in it are put together too.
    let both = json!({"google": {"thinking_config": {"include_thoughts": true}}, "extra_body": {"google": {"thinking_config": {"thinking_level": "low"}}}});
    let merged = json!({"extra_body": {"google": {"thinking_config": {"include_thoughts": true, "thinking_level": "low"}}}});
    check(rule, Dialect::VertexGemini3, both, merged, &["google"]);
}

#[test]
fn a_thinking_config_goes_before_an_effort() {
    let config = json!({"extra_body": {"google": {"thinking_config": {"thinking_budget": 1}}}});
    let mut both = config.clone();
    both["reasoning_effort"] = json!("low");
    check(
        Rewrite::EffortOrThinkingConfig,
        Dialect::VertexGemini2,
        both.clone(),
        config,
        &["reasoning_effort"],
    );
    // A config that does not say how much takes the effort over.
    let quiet = |config: Value| json!({"extra_body": {"google": {"thinking_config": config}}});
    let with_effort = |model: &str| {
        let mut fields = quiet(json!({"include_thoughts": true}));
        fields["reasoning_effort"] = json!("high");
        fields["model"] = json!(model);
        fields
    };
    for (model, dialect, config) in [
        (
            "google/gemini-2.5-flash",
            Dialect::VertexGemini2,
            json!({"include_thoughts": true, "thinking_budget": 24576}),
        ),
        (GEMINI_3, Dialect::VertexGemini3, json!({"include_thoughts": true, "thinking_level": "high"})),
        (
            "models/gemini-2.5-flash",
            Dialect::GeminiDeveloper,
            json!({"include_thoughts": true, "thinking_budget": 24576}),
        ),
    ] {
        let mut after = quiet(config);
        after["model"] = json!(model);
        check(Rewrite::EffortOrThinkingConfig, dialect, with_effort(model), after, &["reasoning_effort"]);
    }
    let off = Target::new(Dialect::VertexGemini2)
        .with_rewrites(Rewrites::all().without(Rewrite::EffortOrThinkingConfig));
    assert_eq!(send(&with(both), &off).unwrap_err().problems()[0].path, "reasoning_effort");
    // Also when the config stood in the wrong place.
    let misplaced =
        with(json!({"reasoning_effort": "low", "google": {"thinking_config": {"thinking_budget": 1}}}));
    let (sent, _) = send(&misplaced, &Target::new(Dialect::VertexGemini2)).unwrap();
    assert_eq!(sent.get("reasoning_effort"), None);
}

#[test]
fn developers_become_systems() {
    let of =
        |role: &str| json!({"messages": [{"role": role, "content": "d"}, {"role": "user", "content": "u"}]});
    for dialect in [Dialect::VertexGemini3, Dialect::Tgi] {
        check(Rewrite::DeveloperToSystem, dialect, of("developer"), of("system"), &["messages[0].role"]);
    }
}

#[test]
fn a_signature_comes_out_of_the_id_before_any_server_sees_it() {
    let id = sign_id("c1", "c2ln").unwrap();
    let conversation = |call: Value, id: &str| json!({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "tool_calls": [call]}, result(id)]});
    let mut before = conversation(call(&id), &id);
    before["messages"][2]["content"] = json!("c1");
    let rule = Rewrite::SignatureFromId;
    let paths = ["messages[1].tool_calls[0].id", "messages[2].tool_call_id"];
    for dialect in Dialect::ALL {
        let gemini = dialect.is_vertex_gemini() || dialect == Dialect::GeminiDeveloper;
        let after = if gemini { signed(call("c1"), "c2ln") } else { call("c1") };
        check(rule, dialect, before.clone(), conversation(after, "c1"), &paths);
    }
    // One that is there counts; a mark without a signature is part of a name.
    let mut own = before.clone();
    own["messages"][1]["tool_calls"][0] = signed(call(&id), "own");
    let (sent, _) = send(&with(own), &Target::new(Dialect::VertexGemini3)).unwrap();
    assert_eq!(sent["messages"][1]["tool_calls"][0], signed(call("c1"), "own"));
    assert!(sign_id("c1", "not base64!").is_none() && sign_id("c1", "").is_none());
    assert!(sign_id("c1", &"A".repeat(vertex_chat_params::SIGNED_ID_BYTES_MAX)).is_none());
}

#[test]
fn other_gateways_words_are_understood() {
    let with_key = |key: &str| {
        let mut call = call("c1");
        call["extra_content"] = json!({key: {"thought_signature": "c2ln"}});
        json!({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "tool_calls": [call]}, result("c1")]})
    };
    let path = "messages[1].tool_calls[0].extra_content";
    check(
        Rewrite::VertexExtraContent,
        Dialect::VertexGemini3,
        with_key("vertex"),
        with_key("google"),
        &[path],
    );
}

#[test]
fn a_lost_signature_of_the_current_turn_is_made_up_for() {
    let old = json!({"role": "assistant", "tool_calls": [call("old")]});
    let turn = |calls: Value| {
        json!({"messages": [
            {"role": "user", "content": "1"}, old, result("old"), {"role": "assistant", "content": "a"},
            {"role": "user", "content": "2"}, {"role": "assistant", "tool_calls": calls}, result("a"), result("b"),
        ]})
    };
    let lost = turn(json!([call("a"), call("b")]));
    let escaped = turn(json!([signed(call("a"), SIGNATURE_ESCAPE), call("b")]));
    let path = "messages[5].tool_calls[0].extra_content.google.thought_signature";
    check(Rewrite::SignatureEscape, Dialect::VertexGemini3, lost.clone(), escaped, &[path]);
    // Only the first of a step has one.
    let kept = with(turn(json!([signed(call("a"), "c2ln"), call("b")])));
    assert_eq!(send(&kept, &Target::new(Dialect::VertexGemini3)).unwrap(), (kept.clone(), Report::default()));
    // Gemini 2 wants none.
    let mut two = with(lost);
    two["model"] = json!("google/gemini-2.5-flash");
    assert!(send(&two, &Target::new(Dialect::VertexGemini2)).unwrap().1.is_empty());
    two["model"] = json!("gemini-2.5-flash");
    assert!(send(&two, &Target::new(Dialect::GeminiDeveloper)).unwrap().1.is_empty());
}

#[test]
fn googles_extra_content_stays_with_google() {
    let extra = json!({"google": {"thought": true}});
    let message = |with_extra: bool| {
        let mut call = call("c");
        let mut part = json!({"type": "text", "text": "t"});
        let mut message = json!({"role": "assistant"});
        if with_extra {
            call["extra_content"] = extra.clone();
            part["extra_content"] = extra.clone();
            message["extra_content"] = extra.clone();
        }
        message["content"] = json!([part]);
        message["tool_calls"] = json!([call]);
        json!({"messages": [{"role": "user", "content": "u"}, message, result("c")]})
    };
    let paths = [
        "messages[1].extra_content",
        "messages[1].tool_calls[0].extra_content",
        "messages[1].content[0].extra_content",
    ];
    for dialect in [Dialect::OpenAi, Dialect::Vllm, Dialect::Tgi] {
        check(Rewrite::StripExtraContent, dialect, message(true), message(false), &paths);
    }
}

#[test]
fn results_follow_their_calls_in_the_order_of_the_calls() {
    let calls = json!({"role": "assistant", "tool_calls": [signed(call("a"), "c2ln"), call("b")]});
    let conversation = |rest: Value| {
        let mut messages = vec![json!({"role": "user", "content": "u"}), calls.clone()];
        messages.extend(rest.as_array().unwrap().clone());
        json!({"messages": messages})
    };
    let user = json!({"role": "user", "content": "and?"});
    let answer = json!({"role": "assistant", "content": "so"});
    let before = conversation(json!([result("b"), user, result("a"), answer, result("b")]));
    let after = conversation(json!([result("a"), result("b"), user, answer, result("b")]));
    for dialect in [Dialect::VertexGemini2, Dialect::VertexGemini3] {
        check(Rewrite::ToolResultOrder, dialect, before.clone(), after.clone(), &["messages[2]"]);
    }
}

/// What Gemini gets of a conversation, and the paths that are told.
#[track_caller]
fn round(messages: &Value) -> (Value, Vec<String>) {
    let (sent, report) =
        send(&with(json!({"messages": messages})), &Target::new(Dialect::VertexGemini2)).unwrap();
    (sent["messages"].clone(), report.notes().iter().map(|it| it.path.clone()).collect())
}

#[test]
fn each_call_has_one_result_behind_it() {
    let user = json!({"role": "user", "content": "u"});
    let calls = |ids: &[&str]| json!({"role": "assistant", "tool_calls": ids.iter().map(|id| call(id)).collect::<Vec<_>>()});
    let missing = |id: &str| json!({"role": "tool", "content": "The result of this call is missing.", "tool_call_id": id});
    // Parallel calls, one message each.
    let (sent, told) = round(&json!([user, calls(&["a"]), calls(&["b"]), result("b"), result("a")]));
    assert_eq!(sent, json!([user, calls(&["a", "b"]), result("a"), result("b")]));
    assert!(told.contains(&"messages[2].tool_calls".to_owned()), "{told:?}");
    // A missing result, a result without a call, and a second result of a call.
    let (sent, told) = round(&json!([user, calls(&["a", "b"]), result("a"), user]));
    assert_eq!(
        (sent, told),
        (
            json!([user, calls(&["a", "b"]), result("a"), missing("b"), user]),
            vec!["messages[1].tool_calls[1]".to_owned()]
        )
    );
    let (sent, told) = round(&json!([user, calls(&["a"]), result("a"), result("x"), result("a"), user]));
    assert_eq!(sent, json!([user, calls(&["a"]), result("a"), user]));
    assert!(told.contains(&"messages[3]".to_owned()) && told.contains(&"messages[4]".to_owned()), "{told:?}");
    // A history that was cut before its call, and one that ends with a call.
    let (sent, told) = round(&json!([calls(&["a"]), result("a"), user]));
    assert_eq!(sent, json!([{"role": "user", "content": " "}, calls(&["a"]), result("a"), user]));
    assert_eq!(told, ["messages[0]"]);
    let (sent, _) = round(&json!([user, calls(&["a"])]));
    assert_eq!(sent, json!([user, calls(&["a"]), missing("a")]));
    // The same ids in every turn.
    let turn = [calls(&["a"]), result("a"), user.clone()];
    let twice: Vec<Value> = std::iter::once(user.clone()).chain(turn.iter().chain(&turn).cloned()).collect();
    assert_eq!(round(&json!(twice)), (json!(twice), Vec::new()));
}

#[test]
fn every_text_says_something() {
    let user = json!({"role": "user", "content": "u"});
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let text = |it: &str| json!({"type": "text", "text": it});
    for (before, after) in [
        (json!([{"role": "user", "content": ""}]), json!([{"role": "user", "content": " "}])),
        (json!([{"role": "user", "content": null}]), json!([{"role": "user", "content": " "}])),
        (json!([{"role": "user", "content": []}]), json!([{"role": "user", "content": " "}])),
        (json!([{"role": "user", "content": [text("")]}]), json!([{"role": "user", "content": " "}])),
        (
            json!([{"role": "user", "content": [{"type": "text", "text": null}, text("a")]}]),
            json!([{"role": "user", "content": [text("a")]}]),
        ),
        (
            json!([{"role": "user", "content": [text(""), text("a")]}]),
            json!([{"role": "user", "content": [text("a")]}]),
        ),
        (
            json!([{"role": "user", "content": [text(""), picture]}]),
            json!([{"role": "user", "content": [picture, text(" ")]}]),
        ),
        (json!([{"role": "system", "content": ""}, user]), json!([user])),
        (
            json!([user, {"role": "assistant", "content": ""}, user]),
            json!([user, {"role": "assistant", "content": " "}, user]),
        ),
        (
            json!([user, {"role": "assistant", "refusal": "no"}, user]),
            json!([user, {"role": "assistant", "content": "no"}, user]),
        ),
        (json!([{"role": "system", "content": "s"}]), json!([{"role": "user", "content": "s"}])),
    ] {
        let (sent, told) = round(&before);
        assert_eq!(sent, after, "{before}");
        assert!(!told.is_empty(), "{before}");
    }
    let beside = json!({"role": "assistant", "content": "", "tool_calls": [call("a")]});
    let (sent, _) = round(&json!([user, beside, result("a")]));
    assert_eq!(sent[1], json!({"role": "assistant", "tool_calls": [call("a")]}));
}

#[test]
fn arguments_of_earlier_calls_are_objects() {
    let with_arguments = |arguments: Value| {
        json!([{"role": "user", "content": "u"},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
            result("a")])
    };
    for nothing in [json!(""), json!(" "), json!("null"), Value::Null] {
        let (sent, _) = round(&with_arguments(nothing));
        assert_eq!(sent[1]["tool_calls"][0]["function"]["arguments"], "{}");
    }
    for half in [json!("{\"a\":"), json!("[1]"), json!("7"), json!("x")] {
        let request = with(json!({"messages": with_arguments(half)}));
        let refused = send(&request, &Target::new(Dialect::VertexGemini2)).unwrap_err();
        assert_eq!(refused.problems()[0].path, "messages[1].tool_calls[0].function.arguments");
    }
}

#[test]
fn efforts_become_those_that_the_model_takes() {
    for (model, effort, sent) in [
        ("google/gemini-3.1-pro-preview", "none", "low"),
        ("google/gemini-3.1-pro-preview", "minimal", "low"),
        ("google/gemini-3.1-pro-preview", "xhigh", "high"),
        ("google/gemini-3-flash-preview", "none", "minimal"),
        ("google/gemini-3-flash-preview", "minimal", "minimal"),
        ("google/gemini-3.7-flash", "minimal", "low"),
        ("google/gemini-2.5-pro", "none", "low"),
        ("google/gemini-2.5-flash", "none", "none"),
        ("google/gemini-2.5-flash", "max", "high"),
        ("google/gemini-2.5-flash", "medium", "medium"),
    ] {
        let request = with(json!({"model": model, "reasoning_effort": effort}));
        let dialect = Dialect::of_vertex_model(Some(model));
        let (body, report) = send(&request, &Target::new(dialect)).unwrap();
        assert_eq!(body["reasoning_effort"], sent, "{model}");
        assert_eq!(report.notes().len(), usize::from(effort != sent), "{model} {effort}");
    }
}

#[test]
fn tools_go_where_gemini_has_them() {
    let f = json!({"type": "function", "function": {"name": "f", "description": "d"}});
    let body = |fields: Value| send(&with(fields), &Target::new(Dialect::VertexGemini3)).unwrap().0;
    for tool in [
        json!({"google_search": {}}),
        json!({"type": "google_search"}),
        json!({"type": "web_search"}),
        json!({"googleSearch": {}}),
    ] {
        let sent = body(json!({"tools": [tool, f]}));
        assert_eq!(sent["tools"], json!([f]));
        assert_eq!(sent["extra_body"]["google"]["tools"], json!([{"googleSearch": {}}]));
        let refused =
            send(&with(json!({"tools": [tool]})), &Target::new(Dialect::GeminiDeveloper)).unwrap_err();
        assert_eq!(refused.problems()[0].path, "tools[0]");
    }
    let flat = json!({"type": "function", "name": "f", "description": "d", "strict": true});
    assert_eq!(body(json!({"tools": [flat]}))["tools"], json!([f]));
    let refused =
        send(&with(json!({"tools": [{"type": "computer_use"}]})), &Target::new(Dialect::VertexGemini3))
            .unwrap_err();
    assert_eq!(refused.problems()[0].path, "tools[0]");
    // Choices.
    let g = json!({"type": "function", "function": {"name": "g"}});
    let allowed = json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}});
    let sent = body(json!({"tools": [f, g], "tool_choice": allowed}));
    assert_eq!((&sent["tools"], &sent["tool_choice"]), (&json!([g]), &json!("required")));
    assert_eq!(body(json!({"tools": [f], "tool_choice": "any"}))["tool_choice"], "required");
    for fields in [json!({"tool_choice": "auto"}), json!({"tools": [], "tool_choice": "required"})] {
        let sent = body(fields);
        assert!(sent.get("tool_choice").is_none() && sent.get("tools").is_none(), "{sent}");
    }
}

#[test]
fn schemas_that_say_nothing_are_no_schemas() {
    for nothing in [
        json!({}),
        json!({"description": "d"}),
        json!({"anyOf": []}),
        json!({"type": null}),
        json!({"type": "null"}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "t"}),
        json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false}),
        json!({"type": "object"}),
        json!({"nullable": true}),
        json!({"additionalProperties": true}),
        json!({"additionalProperties": false}),
        json!({"x-of-a-generator": {"a": 1}}),
        json!({"oneOf": [], "required": []}),
        json!({"type": "string"}),
        json!({"type": "array", "items": {"type": "string"}}),
        json!(true),
    ] {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": nothing}});
        let (sent, report) =
            send(&with(json!({"tools": [tool]})), &Target::new(Dialect::VertexGemini3)).unwrap();
        assert_eq!(sent["tools"][0]["function"], json!({"name": "f"}), "{nothing}");
        assert_eq!(report.notes().last().unwrap().path, "tools[0].function.parameters");
    }
    let objects = json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"b": {"type": "string"}}}]});
    for something in [
        objects,
        json!({"properties": {"a": {"type": "string"}}}),
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
    ] {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": something}});
        let (sent, _) = send(&with(json!({"tools": [tool]})), &Target::new(Dialect::VertexGemini3)).unwrap();
        assert!(sent["tools"][0]["function"].get("parameters").is_some(), "{something}");
    }
    let format = json!({"type": "json_schema", "json_schema": {"name": "r", "schema": {"nullable": true}}});
    let (sent, _) =
        send(&with(json!({"response_format": format})), &Target::new(Dialect::VertexGemini3)).unwrap();
    assert_eq!(sent["response_format"], json!({"type": "json_object"}));
    let format = json!({"type": "json_schema", "json_schema": {"name": "r", "schema": {}}});
    let (sent, _) =
        send(&with(json!({"response_format": format})), &Target::new(Dialect::VertexGemini3)).unwrap();
    assert_eq!(sent["response_format"], json!({"type": "json_object"}));
}

#[test]
fn media_have_the_form_and_the_type_that_gemini_knows() {
    let sent = |part: Value| {
        let messages = json!([{"role": "user", "content": [{"type": "text", "text": "t"}, part]}]);
        let (sent, told) = round(&messages);
        assert_eq!(told.len(), 1, "{sent}");
        sent[0]["content"][1].clone()
    };
    let media = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    for (before, after) in [
        ("data:image/jpg;base64,/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"),
        ("data:application/octet-stream;base64,/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"),
        ("data:;base64,/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"),
        ("data:image/*;base64,/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"),
        ("data:image/PNG;base64,iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo="),
        ("data:png;base64,iVBORw0KGgo=", "data:image/png;base64,iVBORw0KGgo="),
        ("data:;base64,JVBERi0xLjQ=", "data:application/pdf;base64,JVBERi0xLjQ="),
    ] {
        assert_eq!(sent(media(before)), media(after));
    }
    let pdf = "data:application/pdf;base64,JVBERi0=";
    for part in [
        json!({"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}}),
        json!({"type": "input_file", "filename": "a.pdf", "file_data": pdf}),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}),
        json!({"type": "video_url", "video_url": {"url": pdf}}),
        json!({"type": "input_image", "image_url": pdf}),
    ] {
        assert_eq!(sent(part), media(pdf));
    }
    assert_eq!(sent(json!({"type": "input_text", "text": "x"})), json!({"type": "text", "text": "x"}));
    let unknown = json!([{"role": "user", "content": [media("data:;base64,AAAA")]}]);
    let refused =
        send(&with(json!({"messages": unknown})), &Target::new(Dialect::VertexGemini3)).unwrap_err();
    assert_eq!(refused.problems()[0].path, "messages[0].content[0].image_url");
}

#[test]
fn pictures_alone_get_a_text() {
    let image = json!({"type": "image_url", "image_url": {"url": "gs://b/o"}});
    let space = json!({"type": "text", "text": " "});
    check(
        Rewrite::ImageNeedsText,
        Dialect::VertexGemini2,
        user(json!([image])),
        user(json!([image, space])),
        &["messages[0].content"],
    );
    let both = with(user(json!([{"type": "text", "text": "what?"}, image])));
    assert!(send(&both, &Target::new(Dialect::VertexGemini2)).unwrap().1.is_empty());
}

#[test]
fn schemas_are_reduced_where_gemini_reads_them() {
    let schema = json!({"type": "object", "properties": {"a": {"const": "x"}}});
    let reduced = json!({"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]}}});
    let fields = |schema: &Value| {
        json!({
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
            "functions": [{"name": "g", "parameters": schema}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}},
        })
    };
    let paths = [
        "tools[0].function.parameters.properties.a.const",
        "functions[0].parameters.properties.a.const",
        "response_format.json_schema.schema.properties.a.const",
    ];
    check(Rewrite::GeminiSchema, Dialect::VertexGemini3, fields(&schema), fields(&reduced), &paths);
    // Nothing is better than an object without properties.
    let empty = with(
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]}),
    );
    let (sent, report) = send(&empty, &Target::new(Dialect::VertexGemini3)).unwrap();
    assert_eq!(sent["tools"][0]["function"], json!({"name": "f"}));
    let open = with(
        json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "additionalProperties": {"type": "string"}}}}]}),
    );
    assert_eq!(send(&open, &Target::new(Dialect::VertexGemini3)).unwrap(), (open.clone(), Report::default()));
    assert!(report.to_string().contains("tools[0].function.parameters"), "{report}");
    // What is no schema is refused with its path.
    let rejection = send(&with(fields(&json!([]))), &Target::new(Dialect::VertexGemini3)).unwrap_err();
    let paths: Vec<&str> = rejection.problems().iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths[0], "tools[0].function.parameters");
    assert_eq!(paths.len(), 3);
}

/// A schema that takes many steps, as a request of 64 KB can have several: all its choices are merged with all that stands
/// beside them.
fn costly() -> Value {
    let beside: serde_json::Map<String, Value> = (0..400)
        .map(|i| (format!("k{i}"), json!({"a": i})))
        .chain([("type".to_owned(), json!("object"))])
        .collect();
    let mut schema = Value::Object(beside);
    schema["anyOf"] = (0..800).map(|i| json!({"minProperties": i})).collect();
    json!({"type": "object", "properties": {"a": schema}})
}

#[test]
fn one_costly_schema_does_not_cost_the_other_tools() {
    let tool = |name: &str, parameters: Value| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let good = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let request =
        with(json!({"tools": [tool("a", good.clone()), tool("b", costly()), tool("c", good.clone())]}));
    let target = Target::new(Dialect::VertexGemini3);
    let prepared = prepare_json(request.to_string().into_bytes(), &target).unwrap();
    assert!(prepared.steps() <= SCHEMA_STEPS_MAX + 1_000, "{}", prepared.steps());
    let sent: Value = serde_json::from_slice(prepared.body()).unwrap();
    assert_eq!(sent["tools"][0]["function"]["parameters"], good);
    assert_eq!(sent["tools"][1]["function"], json!({"name": "b"}));
    assert_eq!(sent["tools"][2]["function"]["parameters"], good);
    let report = prepared.report().to_string();
    assert!(report.contains("tools[1].function.parameters`: it became an open object"), "{report}");
}

#[test]
fn a_request_of_too_many_steps_is_refused_with_the_limit() {
    let tool =
        |parameters: Value| json!({"type": "function", "function": {"name": "f", "parameters": parameters}});
    let request =
        |tools: usize| with(json!({"tools": (0..tools).map(|_| tool(costly())).collect::<Vec<_>>()}));
    let target = Target::new(Dialect::VertexGemini3);
    let most = usize::try_from(PREPARE_STEPS_MAX / SCHEMA_STEPS_MAX).unwrap();
    assert!(prepare_json(request(most).to_string().into_bytes(), &target).is_ok());
    let rejection = prepare_json(request(most + 1).to_string().into_bytes(), &target).unwrap_err();
    assert!(rejection.is_too_costly());
    assert!(rejection.to_string().contains("PREPARE_STEPS_MAX"), "{rejection}");
    assert_eq!(rejection.problems()[0].path, format!("tools[{most}].function.parameters"));
    // A smaller budget ends earlier, and is not paid for with an open object.
    let small = target.with_steps_max(10_000);
    assert!(prepare_json(request(1).to_string().into_bytes(), &small).unwrap_err().is_too_costly());
}

#[test]
fn tgi_gets_its_own_forms() {
    check(Rewrite::StopToList, Dialect::Tgi, json!({"stop": "x"}), json!({"stop": ["x"]}), &["stop"]);
    check(Rewrite::TgiLogitBias, Dialect::Tgi, json!({"logit_bias": {"1": 2}}), json!({}), &["logit_bias"]);
    let format = |format: Value| json!({"response_format": format});
    let rule = Rewrite::TgiResponseFormat;
    let schema = json!({"z": 1.50, "a": 2});
    check(
        rule,
        Dialect::Tgi,
        format(json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})),
        format(json!({"type": "json_schema", "value": {"name": "n", "schema": schema}})),
        &["response_format"],
    );
    let any = format(json!({"type": "json_object", "value": {"type": "object"}}));
    check(rule, Dialect::Tgi, format(json!({"type": "json_object"})), any.clone(), &["response_format"]);
    check(rule, Dialect::Tgi, format(json!({"type": "application/json"})), any, &["response_format"]);
    check(rule, Dialect::Tgi, format(json!({"type": "text"})), json!({}), &["response_format"]);
    check(
        rule,
        Dialect::Tgi,
        format(json!({"type": "json_object", "json_schema": {"name": "n", "schema": schema}})),
        format(json!({"type": "json_schema", "value": {"name": "n", "schema": schema}})),
        &["response_format"],
    );

    let tool = |function: Value| json!({"tools": [{"type": "function", "function": function}]});
    let empty = json!({"name": "f", "parameters": {"type": "object", "properties": {}}});
    let path = "tools[0].function.parameters";
    check(Rewrite::TgiToolParameters, Dialect::Tgi, tool(json!({"name": "f"})), tool(empty), &[path]);

    let message =
        |message: Value| json!({"messages": [{"role": "user", "content": "u"}, message, result("c")]});
    let both = message(json!({"role": "assistant", "content": "c", "tool_calls": [call("c")]}));
    let calls = message(json!({"role": "assistant", "tool_calls": [call("c")]}));
    check(Rewrite::ContentWithToolCalls, Dialect::Tgi, both, calls, &["messages[1].content"]);

    let image = |url: Value| user(json!([{"type": "image_url", "image_url": url}]));
    let path = "messages[0].content[0].image_url";
    for dialect in [Dialect::Tgi, Dialect::OpenAi] {
        check(
            Rewrite::ImageUrlObject,
            dialect,
            image(json!("https://h/i")),
            image(json!({"url": "https://h/i"})),
            &[path],
        );
    }
    let nulls = json!({"stream": null, "temperature": null, "vendor": null, "seed": 1});
    check(Rewrite::DropNulls, Dialect::Tgi, nulls, json!({"seed": 1}), &["stream", "temperature", "vendor"]);
}

#[test]
fn tgi_refuses_what_was_not_put_into_its_forms() {
    let request = with(json!({
        "stop": "x", "response_format": {"type": "json_object"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://h/i"}]}],
    }));
    let paths = |rewrites| -> Vec<String> {
        let rejection = send(&request, &Target::new(Dialect::Tgi).with_rewrites(rewrites)).unwrap_err();
        rejection.problems().iter().map(|it| it.path.clone()).collect()
    };
    assert_eq!(
        paths(Rewrites::none()),
        [
            "stop",
            "response_format",
            "response_format",
            "tools[0].function.parameters",
            "messages[0].content[0].image_url"
        ]
    );
    // Grammar and tools exclude each other, whatever their form.
    assert_eq!(paths(Rewrites::all()), ["response_format"]);
}

#[test]
fn the_developer_api_takes_two_formats_of_sound() {
    let sound = |format: &str| {
        with(user(
            json!([{"type": "text", "text": "t"}, {"type": "input_audio", "input_audio": {"data": "AA==", "format": format}}]),
        ))
    };
    for (format, taken) in [("wav", true), ("mp3", true), ("m4a", false), ("audio/mp3", false)] {
        let target = Target::new(Dialect::GeminiDeveloper);
        assert_eq!(send(&sound(format), &target).is_ok(), taken, "{format}");
        assert!(send(&sound(format), &Target::new(Dialect::VertexGemini3)).is_ok(), "{format}");
    }
}

#[test]
fn a_usual_schema_takes_a_small_part_of_the_steps() {
    let properties: serde_json::Map<String, Value> = (0..1_000)
        .map(|i| (format!("property_{i}"), json!({"type": "string", "description": "what it is"})))
        .collect();
    let schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let request =
        with(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]}));
    let prepared =
        prepare_json(request.to_string().into_bytes(), &Target::new(Dialect::VertexGemini3)).unwrap();
    assert!((8_000..12_000).contains(&prepared.steps()), "{}", prepared.steps());
}
