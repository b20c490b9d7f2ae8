//! What `prepare` lets through, takes out and refuses.

#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use serde_json::{Value, json};
use vertex_chat_params::{
    Action, Dialect, PARAMETERS, Policy, Rejection, Report, Rewrites, Support, Target, parameter, prepare,
    prepare_json,
};
use vertex_chat_types::{ChatRequest, Message};

const GEMINI: [Dialect; 2] = [Dialect::VertexGemini2, Dialect::VertexGemini3];

/// A good request with these fields besides.
fn with(fields: Value) -> Value {
    let mut request =
        json!({"model": "google/gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]});
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

fn send(request: &Value, target: &Target) -> Result<(Value, Report), Rejection> {
    let prepared = prepare_json(serde_json::to_vec(request).unwrap(), target)?;
    Ok((serde_json::from_slice(prepared.body()).unwrap(), prepared.report().clone()))
}

/// The paths of what is wrong with it.
fn problems(request: &Value, dialect: Dialect) -> Vec<String> {
    match send(request, &Target::new(dialect)) {
        Ok(_) => Vec::new(),
        Err(rejection) => rejection.problems().iter().map(|it| it.path.clone()).collect(),
    }
}

/// The same with nothing put right first.
fn problems_as_written(request: &Value, dialect: Dialect) -> Vec<String> {
    let rejection = send(request, &Target::new(dialect).with_rewrites(Rewrites::none())).unwrap_err();
    rejection.problems().iter().map(|it| it.path.clone()).collect()
}

/// The parameters of the documented page, with a value for each.
fn documented() -> Value {
    json!({
        "messages": [{"role": "user", "content": "hi"}], "model": "google/gemini-1.5-flash-001",
        "max_tokens": 5, "n": 2, "frequency_penalty": 0.5, "stop": ["x"], "stream": true, "temperature": 0.5,
        "top_p": 0.5, "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "auto",
        "function_call": "auto", "functions": [{"name": "f"}],
    })
}

#[test]
fn the_documented_parameters_are_taken_for_googles_models() {
    for dialect in GEMINI {
        let (sent, report) = send(&documented(), &Target::new(dialect)).unwrap();
        assert_eq!((sent, report.is_empty()), (documented(), true), "{dialect}: {report}");
    }
    // The fourteenth; Gemini 2 does not have it together with tools.
    let format = with(json!({"response_format": {"type": "json_object"}}));
    for dialect in GEMINI {
        assert_eq!(send(&format, &Target::new(dialect)).unwrap(), (format.clone(), Report::default()));
    }
    let both = with(json!({"response_format": {"type": "json_object"}, "tools": documented()["tools"]}));
    assert_eq!(problems(&both, Dialect::VertexGemini2), ["response_format"]);
    assert!(problems(&both, Dialect::VertexGemini3).is_empty());
}

/// What OpenAI has and Vertex's list has not, with a value for each and where it is then.
fn unlisted() -> Vec<(&'static str, Value)> {
    let tool = json!([{"type": "function", "function": {"name": "f", "strict": true}}]);
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string"}, "strict": true}});
    vec![
        ("stream_options", json!({"stream_options": {"include_usage": true}})),
        ("parallel_tool_calls", json!({"parallel_tool_calls": false})),
        ("logprobs", json!({"logprobs": true})),
        ("top_logprobs", json!({"top_logprobs": 3})),
        ("logit_bias", json!({"logit_bias": {"50256": -100}})),
        ("user", json!({"user": "somebody"})),
        ("metadata", json!({"metadata": {"a": "b"}})),
        ("store", json!({"store": true})),
        ("service_tier", json!({"service_tier": "flex"})),
        ("audio", json!({"audio": {"voice": "alloy", "format": "mp3"}})),
        ("prediction", json!({"prediction": {"type": "content", "content": "x"}})),
        ("prompt_cache_key", json!({"prompt_cache_key": "k"})),
        ("safety_identifier", json!({"safety_identifier": "s"})),
        ("verbosity", json!({"verbosity": "low"})),
        ("top_k", json!({"top_k": 40})),
        ("tools[0].function.strict", json!({"tools": tool})),
        ("response_format.json_schema.strict", json!({"response_format": format})),
    ]
}

#[test]
fn what_vertex_ignores_is_dropped_and_reported() {
    for (path, fields) in unlisted() {
        for dialect in GEMINI {
            let (sent, report) = send(&with(fields.clone()), &Target::new(dialect)).unwrap();
            assert_eq!(report.dropped().collect::<Vec<_>>(), [path], "{dialect}");
            let name = path.rsplit('.').next().unwrap();
            assert!(!sent.to_string().contains(&format!("\"{name}\":")), "{dialect}: {sent}");
            // Nothing else goes with it.
            let rest = sent.as_object().unwrap();
            assert!(
                rest["messages"] == json!([{"role": "user", "content": "hi"}]) && rest.len() <= 3,
                "{sent}"
            );
        }
    }
}

#[test]
fn a_policy_forwards_drops_or_refuses_all_at_once() {
    let request = with(json!({"user": "u", "logit_bias": {"1": 2}, "top_k": 3, "temperature": 0.1}));
    let target = Target::new(Dialect::VertexGemini2);

    let (sent, report) = send(&request, &target.with_policy(Policy::Forward)).unwrap();
    assert_eq!(sent, request);
    let told: Vec<_> = report.notes().iter().map(|it| (it.path.as_str(), it.action)).collect();
    let forwarded = |path| (path, Action::Forwarded);
    assert_eq!(told, ["logit_bias", "user", "top_k"].map(forwarded));

    let (sent, report) = send(&request, &target.with_policy(Policy::Drop)).unwrap();
    assert_eq!(sent, with(json!({"temperature": 0.1})));
    assert_eq!(report.to_string().lines().count(), 3);

    let refused = send(&request, &target.with_policy(Policy::Reject)).unwrap_err();
    let paths: Vec<&str> = refused.problems().iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["logit_bias", "user", "top_k"]);
    assert!(refused.problems().iter().all(|it| !it.source.is_empty() && !it.remedy.is_empty()));
}

#[test]
fn googles_models_drop_by_default_and_the_others_forward() {
    let request = with(json!({"metadata": {"a": "b"}, "store": true}));
    for dialect in Dialect::ALL {
        let (sent, report) = send(&request, &Target::new(dialect)).unwrap();
        let google =
            [Dialect::VertexGemini2, Dialect::VertexGemini3, Dialect::GeminiDeveloper].contains(&dialect);
        assert_eq!(sent.get("store").is_none(), google, "{dialect}");
        assert_eq!(report.dropped().count(), if google { 2 } else { 0 }, "{dialect}");
        // Where something that does nothing is forwarded, that is told.
        let told = matches!(dialect, Dialect::Vllm | Dialect::Tgi);
        assert_eq!(report.is_empty(), !google && !told, "{dialect}: {report}");
    }
}

#[test]
fn an_unknown_parameter_is_forwarded_and_on_vertex_reported() {
    let body = r#"{"messages":[{"role":"user","content":"hi"}],"model":"google/x","invented":{"b":1.50,"a":[1e400]}}"#;
    for dialect in Dialect::ALL.into_iter().filter(|it| *it != Dialect::GeminiDeveloper) {
        let prepared = prepare_json(body.into(), &Target::new(dialect)).unwrap();
        assert_eq!(prepared.body(), body.as_bytes(), "{dialect}");
        let expected = if dialect.is_vertex() { "forwarded `invented`: not a known parameter" } else { "" };
        assert_eq!(prepared.report().to_string(), expected, "{dialect}");
    }
    // The Developer API refuses what it does not know.
    let target = Target::new(Dialect::GeminiDeveloper);
    let prepared = prepare_json(body.into(), &target).unwrap();
    assert!(!String::from_utf8(prepared.body().to_vec()).unwrap().contains("invented"));
    assert_eq!(prepared.report().dropped().collect::<Vec<_>>(), ["invented"]);
    let refused = prepare_json(body.into(), &target.with_policy(Policy::Reject)).unwrap_err();
    assert_eq!(refused.problems()[0].path, "invented");
    let forwarded = prepare_json(body.into(), &target.with_policy(Policy::Forward)).unwrap();
    assert_eq!(forwarded.body(), body.as_bytes());
    // Also beside something that is dropped, byte for byte.
    let body = body.replace("\"invented\"", "\"user\":\"u\",\"invented\"");
    let prepared = prepare_json(body.into(), &Target::new(Dialect::VertexGemini3)).unwrap();
    let text = String::from_utf8(prepared.into_body()).unwrap();
    assert!(text.contains(r#""invented":{"b":1.50,"a":[1e400]}"#) && !text.contains("user\":\"u"), "{text}");
}

#[test]
fn a_mistyped_parameter_is_told_with_the_one_that_was_meant() {
    for (wrong, right) in [
        ("max_token", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("temprature", "temperature"),
        ("topP", "top_p"),
    ] {
        let request = with(json!({wrong: 5}));
        let target = Target::new(Dialect::VertexGemini3);
        let (_, report) = send(&request, &target).unwrap();
        assert_eq!(report.forwarded().collect::<Vec<_>>(), [wrong]);
        assert!(report.to_string().contains(&format!("did you mean `{right}`?")), "{report}");
        let refused = send(&request, &target.with_policy(Policy::Reject)).unwrap_err();
        assert_eq!(refused.problems()[0].path, wrong);
    }
    let (_, report) = send(&with(json!({"vendor": 1})), &Target::new(Dialect::VertexGemini3)).unwrap();
    assert!(!report.to_string().contains("did you mean"), "{report}");
}

#[test]
fn bytes_stay_as_they_are_where_nothing_changes() {
    let body = "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"h\\u0069\"} ],\n \"model\":\"google/m\", \"temperature\": 1.0e0 }";
    for policy in [Policy::Forward, Policy::Drop, Policy::Reject] {
        let target = Target::new(Dialect::VertexGemini3).with_policy(policy);
        assert_eq!(prepare_json(body.into(), &target).unwrap().into_body(), body.as_bytes());
    }
}

#[test]
fn a_typed_request_and_its_bytes_give_the_same() {
    let request = ChatRequest::new("google/gemini-2.5-flash", [Message::user("hi")])
        .with_user("u")
        .with_temperature(0.3)
        .with_stream(true);
    let bytes = serde_json::to_vec(&request).unwrap();
    for dialect in Dialect::ALL {
        let target = Target::new(dialect);
        let (typed, read) =
            (prepare(request.clone(), &target).unwrap(), prepare_json(bytes.clone(), &target).unwrap());
        assert_eq!(typed, read, "{dialect}");
        assert!(read.is_stream() && read.model() == Some("google/gemini-2.5-flash"));
    }
}

#[test]
fn all_faults_are_named_at_once_each_with_its_path() {
    let image = |url: &str| json!({"type": "image_url", "image_url": url});
    let request = json!({
        "model": "gemini-2.5-flash",
        "temperature": 2.5, "top_p": -0.1, "n": 9, "max_tokens": 0, "stop": ["1", "2", "3", "4", "5", "6"],
        "reasoning_effort": "low", "extra_body": {"google": {"thinking_config": {"thinking_budget": 1}}},
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "1 f"}}],
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}, image("gs://b/o"), image("ftp://x/y")]},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": [image("data:image/png,notbase64")]},
        ],
    });
    let expected = [
        "model",
        "temperature",
        "top_p",
        "n",
        "max_tokens",
        "stop",
        "reasoning_effort",
        "tools[1].function.name",
        "messages[1].content[2].image_url",
        "messages[3].content[0].image_url",
    ];
    assert_eq!(problems_as_written(&request, Dialect::VertexGemini2), expected);
    let put_right = ["model", "reasoning_effort", "tools[1].function.name"];
    let rest: Vec<&str> = expected.into_iter().filter(|it| !put_right.contains(it)).collect();
    assert_eq!(problems(&request, Dialect::VertexGemini2), rest);
    let rejection = send(&request, &Target::new(Dialect::VertexGemini2)).unwrap_err();
    for problem in rejection.problems() {
        assert!(!problem.source.is_empty() && !problem.message.is_empty(), "{problem:?}");
    }
    // The request's text is not in the error.
    let said = format!("{rejection} {rejection:?}");
    assert!(!said.contains("ftp://") && !said.contains("notbase64") && !said.contains("1 f"), "{said}");
}

#[test]
fn both_sides_of_every_range() {
    let on = |fields: Value, dialect| {
        let mut request = with(fields);
        if dialect == Dialect::VertexGemini3 {
            request["model"] = json!("google/gemini-3-pro-preview");
        }
        problems(&request, dialect)
    };
    for dialect in GEMINI {
        for good in [
            json!({"temperature": 0}),
            json!({"temperature": 2}),
            json!({"top_p": 0}),
            json!({"top_p": 1}),
            json!({"n": 1}),
            json!({"n": 8}),
            json!({"max_tokens": 1}),
            json!({"max_completion_tokens": 65_536}),
            json!({"stop": ["1", "2", "3", "4", "5"]}),
            json!({"stop": "one"}),
            json!({"frequency_penalty": -2}),
            json!({"presence_penalty": 1.99}),
            json!({"tools": [{"type": "function", "function": {"name": "a".repeat(128)}}]}),
            json!({"functions": [{"name": "_a.b:c-d9"}]}),
        ] {
            assert!(on(good.clone(), dialect).is_empty(), "{dialect}: {good}");
        }
        for (bad, path) in [
            (json!({"temperature": -0.01}), "temperature"),
            (json!({"temperature": 2.01}), "temperature"),
            (json!({"top_p": 1.01}), "top_p"),
            (json!({"n": 0}), "n"),
            (json!({"n": 9}), "n"),
            (json!({"max_tokens": -1}), "max_tokens"),
            (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
            (json!({"frequency_penalty": -2.1}), "frequency_penalty"),
            (json!({"presence_penalty": 2.1}), "presence_penalty"),
            (json!({"functions": [{"name": ""}]}), "functions[0].name"),
        ] {
            assert_eq!(on(bad.clone(), dialect), [path], "{dialect}: {bad}");
        }
    }
    let many = json!({"max_tokens": 65_537});
    assert_eq!(on(many.clone(), Dialect::VertexGemini2), ["max_tokens"]);
    assert!(on(many, Dialect::VertexGemini3).is_empty());
    // What is known of Gemini is asked of nobody else.
    let odd = json!({"temperature": 9, "n": 100, "stop": ["1", "2", "3", "4", "5", "6"], "max_tokens": 0});
    for dialect in [Dialect::VertexPartner, Dialect::Vllm, Dialect::Tgi, Dialect::OpenAi] {
        assert!(on(odd.clone(), dialect).is_empty(), "{dialect}");
    }
    for model in ["google/gemini-4-pro", "google/gemini-10.5-flash", "google/something", "google/gemini-30"] {
        let mut request = with(odd.clone());
        request["model"] = json!(model);
        assert!(problems(&request, Dialect::VertexGemini3).is_empty(), "{model}");
    }
    let hot =
        |model: &str| problems(&with(json!({"model": model, "temperature": 3})), Dialect::VertexGemini3);
    assert_eq!(hot("google/gemini-3-flash-preview"), ["temperature"]);
    assert_eq!(hot("google/gemini-3.1-pro-preview"), ["temperature"]);
    assert!(hot("google/gemini-3.6-flash").is_empty());
    assert_eq!(on(json!({"seed": -1, "top_logprobs": 6}), Dialect::Tgi), ["seed", "top_logprobs"]);
    assert!(on(json!({"seed": 0, "top_logprobs": 5}), Dialect::Tgi).is_empty());
}

#[test]
fn what_no_source_settles_is_not_refused() {
    let open = [
        json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}}),
        json!({"functions": [{"name": "f"}], "function_call": {"name": "f"}}),
        json!({"messages": [{"role": "developer", "content": "d"}, {"role": "user", "content": "u"}]}),
        json!({"messages": [{"role": "oracle", "content": "o"}]}),
        json!({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]}),
        json!({"messages": [{"role": "assistant", "content": "c",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}]}),
        json!({"stream_options": {"include_usage": false}, "stream": true}),
        json!({"n": 3, "stream": true}),
        json!({"user": 5}),
        json!({"user": 5, "store": "yes", "logit_bias": [1], "metadata": 7, "seed": 1}),
        json!({"model": "google/gemini-99-hyper", "temperature": 1}),
        json!({"tools": [], "response_format": {"type": "application/json"}}),
        json!({"model": "google/something"}),
        json!({"model": "invented/model"}),
        json!({"reasoning_effort": "invented"}),
        json!({"modalities": ["smell"]}),
    ];
    for fields in open {
        for dialect in [Dialect::VertexGemini2, Dialect::VertexGemini3, Dialect::VertexPartner] {
            assert_eq!(problems(&with(fields.clone()), dialect), [""; 0], "{dialect}: {fields}");
        }
    }
}

#[test]
fn an_ignored_parameter_of_a_wrong_type_is_treated_like_any_ignored_one() {
    let request = with(json!({"user": 5, "temperature": 0.5, "store": "yes", "unknown": [1]}));
    let target = Target::new(Dialect::VertexGemini2);
    let (sent, report) = send(&request, &target).unwrap();
    assert_eq!(sent, with(json!({"temperature": 0.5, "unknown": [1]})));
    assert_eq!(report.dropped().collect::<Vec<_>>(), ["user", "store"]);
    let (sent, _) = send(&request, &target.with_policy(Policy::Forward)).unwrap();
    assert_eq!(sent, request);
    let refused = send(&request, &target.with_policy(Policy::Reject)).unwrap_err();
    assert_eq!(refused.problems().len(), 3);
    // So is one that is null, whatever a reader makes of it.
    let nulls = with(json!({"user": null, "store": null, "temperature": null}));
    let (sent, report) = send(&nulls, &target).unwrap();
    assert!(sent.get("user").is_none() && sent.get("store").is_none());
    assert_eq!(report.dropped().collect::<Vec<_>>(), ["store", "user"]);
    assert_eq!(send(&nulls, &target.with_policy(Policy::Forward)).unwrap(), (nulls, Report::default()));
    // One that is taken has to have its type.
    let rejection = send(&with(json!({"user": 5, "temperature": "hot"})), &target).unwrap_err();
    let problem = &rejection.problems()[0];
    assert_eq!(
        (problem.path.as_str(), problem.message.split(" (").next().unwrap()),
        ("temperature", "expected a number, found a string")
    );
    assert!(problem.source.contains("OpenAI"));
}

#[test]
fn what_is_no_request_says_where() {
    let refused = |body: &str| {
        let target = Target::new(Dialect::VertexGemini3);
        prepare_json(body.into(), &target).unwrap_err().to_string()
    };
    assert_eq!(
        refused("[]"),
        "expected a chat completion request, found an array (at line 1, column 2 of the body) [OpenAI: Chat Completions \
         reference]"
    );
    assert!(refused(r#"{"messages":[{"role":"user","content":"#).contains("line 1, column"));
    assert_eq!(
        refused(r#"{"model":"google/m","messages":[{"role":"user","content":[{"type":"text","text":5}]}]}"#),
        "`messages[0].content[0].text`: expected a string, found a number (at line 1, column 81 of the body) [OpenAI: Chat \
         Completions reference]"
    );
    assert!(refused(r#"{"model":"google/m"}"#).contains("messages"));
    assert!(refused("{\"messages\":\"\u{1}\"}").contains("messages"));
    assert!(
        prepare_json(vec![0xff], &Target::new(Dialect::OpenAi)).unwrap_err().to_string().contains("UTF-8")
    );
}

#[test]
fn conversations_that_the_service_refuses() {
    let messages = |messages: Value| with(json!({"messages": messages}));
    assert_eq!(problems(&messages(json!([])), Dialect::VertexGemini3), ["messages"]);
    let only_system = messages(json!([{"role": "system", "content": "s"}]));
    let as_it_is = Target::new(Dialect::VertexGemini2).with_rewrites(Rewrites::none());
    let refused = send(&only_system, &as_it_is).unwrap_err();
    assert_eq!(refused.problems()[0].path, "messages");
    for part in [json!({"type": "invented", "x": 1}), json!({"type": "file", "file": {"file_id": "f"}})] {
        let foreign = messages(json!([{"role": "user", "content": [{"type": "text", "text": "t"}, part]}]));
        assert_eq!(problems(&foreign, Dialect::VertexGemini3), ["messages[0].content[1]"], "{part}");
    }
    assert!(problems(&only_system, Dialect::Vllm).is_empty());
    let image =
        |url: &str, detail: &str| json!({"type": "image_url", "image_url": {"url": url, "detail": detail}});
    let mixed = messages(json!([
        {"role": "user", "content": [image("gs://a/b", "low")]},
        {"role": "user", "content": [{"type": "text", "text": "t"}, image("https://a/b", "high")]},
    ]));
    assert_eq!(problems(&mixed, Dialect::VertexGemini2), ["messages[1].content[1].image_url.detail"]);
    assert!(problems(&mixed, Dialect::VertexGemini3).is_empty());
    for url in [
        "gs://b/o",
        "https://h/i.png",
        "http://h/i.png",
        "data:image/png;base64,AAAA",
        "data:video/mp4;base64,AA==",
    ] {
        let request =
            messages(json!([{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]));
        assert!(problems(&request, Dialect::VertexGemini3).is_empty(), "{url}");
    }
    let both = json!({"extra_body": {"google": {"thinking_config": {"thinking_budget": 1, "thinking_level": "low"}}}});
    assert_eq!(problems(&with(both), Dialect::VertexGemini3), ["extra_body.google.thinking_config"]);
    let twice = json!({"extra_body": {"extra_body": {"google": {}}}});
    assert_eq!(problems_as_written(&with(twice), Dialect::VertexGemini3), ["extra_body.extra_body"]);
}

#[test]
fn the_table_says_what_prepare_does() {
    assert_eq!(parameter("temperature").map(|it| it.support(Dialect::VertexGemini2)), Some(Support::Taken));
    assert!(parameter("nothing").is_none());
    for row in &PARAMETERS {
        assert!(!row.source.is_empty() && !row.r#type.is_empty(), "{}", row.path);
        assert_eq!(PARAMETERS.iter().filter(|it| it.path == row.path).count(), 1, "{}", row.path);
    }
    // Every parameter that OpenAI's request names is in the table.
    let named = [
        documented(),
        Value::Object(unlisted().into_iter().flat_map(|(_, it)| it.as_object().unwrap().clone()).collect()),
    ];
    for key in named.iter().flat_map(|it| it.as_object().unwrap().keys()) {
        assert!(parameter(key).is_some(), "{key}");
    }
}
