//! Bodies of requests that are made to cost as much as they can: each form for any size.

use serde_json::{Map, Value, json};

/// A model for which schemas have to be reduced.
pub const MODEL: &str = "google/gemini-3-flash-preview";

/// A body, and what is hostile about it.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// What it does.
    pub name: &'static str,
    /// The request's body.
    pub body: Vec<u8>,
}

/// Every form, about this large.
#[must_use]
pub fn bodies(bytes: usize) -> Vec<Hostile> {
    let mut all = Vec::new();
    let mut add = |name: &'static str, body: String| all.push(Hostile { name, body: body.into_bytes() });
    for (name, properties) in schemas(bytes) {
        add(name, with_tools(&[properties]));
    }
    for (name, schema) in schemas(bytes / 16) {
        let tools: Vec<String> = (0..16).map(|_| schema.clone()).collect();
        add(name, with_tools(&tools));
    }
    for (name, schema) in schemas(bytes) {
        let format = format!(r#"{{"type":"json_schema","json_schema":{{"name":"s","schema":{schema}}}}}"#);
        add(name, request(&messages("hi"), &format!(r#","response_format":{format}"#)));
    }
    for (name, rest) in requests(bytes) {
        add(name, rest);
    }
    all
}

/// How often something of this length fits.
fn fits(bytes: usize, each: usize) -> usize {
    (bytes / each).max(1)
}

fn messages(text: &str) -> String {
    json!([{"role": "user", "content": text}]).to_string()
}

/// The fields of an object, without its braces.
fn inner(object: &Value) -> String {
    let text = object.to_string();
    text[1..text.len() - 1].to_owned()
}

fn request(messages: &str, rest: &str) -> String {
    format!(r#"{{"model":"{MODEL}","messages":{messages}{rest}}}"#)
}

/// A request with a tool for each schema.
fn with_tools(schemas: &[String]) -> String {
    let tools: Vec<String> = schemas
        .iter()
        .enumerate()
        .map(|(i, schema)| {
            format!(r#"{{"type":"function","function":{{"name":"f{i}","parameters":{schema}}}}}"#)
        })
        .collect();
    request(&messages("hi"), &format!(r#","tools":[{}]"#, tools.join(",")))
}

/// An object schema with one property.
fn property(schema: &Value) -> String {
    json!({"type": "object", "properties": {"a": schema}}).to_string()
}

/// Schemas, each with its way of being costly.
#[must_use]
pub fn schemas(bytes: usize) -> Vec<(&'static str, String)> {
    let list = |count: usize, value: &dyn Fn(usize) -> Value| Value::Array((0..count).map(value).collect());
    let object = |count: usize, value: &dyn Fn(usize) -> Value| {
        Value::Object((0..count).map(|i| (format!("k{i}"), value(i))).collect::<Map<_, _>>())
    };
    let references = |count: usize, reference: &str| {
        Value::Array((0..count).map(|_| json!({"$ref": reference})).collect())
    };
    let mut all = Vec::new();
    // The first that was found: every value is compared with every other.
    let values = fits(bytes, 2 * 20 * 6);
    let many: Map<String, Value> = (0..20)
        .map(|i| {
            let enumeration = |from: usize| json!({"enum": list(values, &|n| json!(from + n))});
            (format!("p{i}"), json!({"allOf": [enumeration(0), enumeration(values)]}))
        })
        .collect();
    all.push(("pairs of enums of numbers", json!({"type": "object", "properties": many}).to_string()));
    let texts =
        |from: usize| json!({"enum": list(fits(bytes, 2 * 10), &|n| json!(format!("v{}", from + n)))});
    all.push(("a pair of enums of texts", property(&json!({"allOf": [texts(0), texts(1_000_000)]}))));
    let objects = |from: usize| json!({"enum": list(fits(bytes, 2 * 14), &|n| json!({"a": from + n}))});
    all.push(("a pair of enums of objects", property(&json!({"allOf": [objects(0), objects(1_000_000)]}))));
    let digits = "9".repeat(bytes / 4);
    all.push((
        "enums of endless numbers",
        format!(
            r#"{{"type":"object","properties":{{"a":{{"allOf":[{{"enum":[{digits},1]}},{{"enum":[{digits}1,1]}}]}}}}}}"#
        ),
    ));
    let short = fits(bytes, 24);
    all.push(("many parts of allOf", property(&json!({"allOf": list(short, &|i| json!({"minLength": i}))}))));
    let wide = |count: usize| json!({"properties": object(count, &|_| json!({"type": "string"}))});
    all.push((
        "two wide objects",
        property(&json!({"allOf": [wide(fits(bytes, 60)), wide(fits(bytes, 60))]})),
    ));
    let required =
        |from: usize| json!({"required": list(fits(bytes, 2 * 10), &|n| json!(format!("k{}", from + n)))});
    all.push(("two long lists of required", property(&json!({"allOf": [required(0), required(500_000)]}))));
    all.push((
        "required beside properties",
        json!({"type": "object", "properties": object(fits(bytes, 40), &|_| json!({"type": "string"})),
            "required": list(fits(bytes, 30), &|n| json!(format!("k{n}")))})
        .to_string(),
    ));
    let types = |name: &str| json!({"type": list(fits(bytes, 2 * 10), &|_| json!(name))});
    all.push(("two long lists of types", property(&json!({"allOf": [types("string"), types("number")]}))));
    all.push(("one long list of types", property(&types("integer"))));
    let mut beside = object(fits(bytes, 2 * 12), &|i| json!(i));
    beside["anyOf"] = list(fits(bytes, 2 * 18), &|i| json!({"minLength": i}));
    all.push(("choices beside many keywords", property(&beside)));
    let mut nested = json!({"type": "string"});
    while nested.to_string().len() < bytes.min(4_000) {
        nested = json!({"anyOf": [nested, {"type": "string"}], "description": "d"});
    }
    all.push(("nested choices", property(&nested)));
    let mut halves = json!({"type": "string"});
    for _ in 0..30 {
        halves = json!({"oneOf": [halves, list(fits(bytes, 40 * 10), &|i| json!(i))]});
    }
    all.push(("nested choices with long ones", property(&halves)));
    let level = |i: usize| {
        let next = format!("#/$defs/L{}", i + 1);
        (format!("L{i}"), json!({"type": "object", "properties": {"a": {"$ref": next}, "b": {"$ref": next}}}))
    };
    let definitions: Map<String, Value> =
        (0..40).map(level).chain([("L40".to_owned(), json!({"type": "string"}))]).collect();
    all.push((
        "references that double",
        json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/L0"}}, "$defs": definitions})
            .to_string(),
    ));
    let big = object(fits(bytes, 2 * 30), &|_| json!({"type": "string"}));
    all.push((
        "many references to something large",
        json!({"type": "object", "properties": {"a": {"anyOf": references(fits(bytes, 2 * 20), "#/$defs/B")}},
            "$defs": {"B": {"type": "object", "properties": big}}})
        .to_string(),
    ));
    all.push((
        "many references merged",
        json!({"type": "object", "properties": {"a": {"allOf": references(fits(bytes, 2 * 20), "#/$defs/B")}},
            "$defs": {"B": {"type": "object", "properties": object(fits(bytes, 2 * 30), &|_| json!({"type": "string"}))}}})
        .to_string(),
    ));
    all.push((
        "many anchors",
        json!({"type": "object", "properties": {"a": {"anyOf": references(fits(bytes, 2 * 16), "#x")}},
            "$defs": object(fits(bytes, 2 * 12), &|i| json!(i)), "z": {"$anchor": "x", "type": "string"}})
        .to_string(),
    ));
    all.push((
        "anchors that are nowhere",
        json!({"type": "object", "properties": {"a": {"anyOf": references(fits(bytes, 2 * 20), "#nowhere")}},
            "$defs": object(fits(bytes, 2 * 12), &|i| json!(i))})
        .to_string(),
    ));
    all.push((
        "long pointers",
        json!({"type": "object", "properties": {"a": {"$ref": format!("#/{}", "a/".repeat(fits(bytes, 2)))}}}).to_string(),
    ));
    all.push((
        "a reference in escapes",
        json!({"type": "object", "properties": {"a": {"$ref": format!("#/{}", "%61".repeat(fits(bytes, 3)))}}}).to_string(),
    ));
    all.push((
        "recursion in every property",
        json!({"$defs": {"N": {"type": "object", "properties": object(fits(bytes, 32), &|_| json!({"$ref": "#/$defs/N"}))}},
            "type": "object", "properties": {"a": {"$ref": "#/$defs/N"}}})
        .to_string(),
    ));
    let long = "n".repeat(bytes / 2);
    all.push((
        "changes below a long name",
        json!({"type": "object", "properties": {long: {"type": "object", "properties": object(fits(bytes, 2 * 10), &|_| json!({}))}}})
            .to_string(),
    ));
    all.push(("many unknown keywords", property(&object(fits(bytes, 12), &|i| json!(i)))));
    all.push((
        "tuples of many kinds",
        property(&json!({"type": "array", "prefixItems": list(fits(bytes, 40), &|i| json!({"type": "string", "minLength": i}))})),
    ));
    all.push((
        "many small properties",
        json!({"type": "object", "properties": object(fits(bytes, 12), &|_| json!({}))}).to_string(),
    ));
    all.push(("one long description", property(&json!({"description": "\u{e9}\"\\".repeat(bytes / 8)}))));
    let twice: Vec<String> = (0..fits(bytes, 28)).map(|_| r#""k":{"type":"string"}"#.to_owned()).collect();
    all.push((
        "one name again and again",
        format!(r#"{{"type":"object","properties":{{{}}}}}"#, twice.join(",")),
    ));
    all.push((
        "arrays in arrays",
        format!(r#"{{"type":"object","x":{}{}}}"#, "[".repeat(100), "]".repeat(100)),
    ));
    all
}

/// Requests that are costly beside their schemas.
fn requests(bytes: usize) -> Vec<(&'static str, String)> {
    let each = |count: usize, make: &dyn Fn(usize) -> Value| {
        Value::Array((0..count).map(make).collect()).to_string()
    };
    let user = || json!({"role": "user", "content": "hi"});
    let mut all = Vec::new();
    let part =
        |i: usize| json!({"type": "image_url", "image_url": {"url": "gs://b/o", "detail": format!("d{i}")}});
    let parts: Vec<Value> = (0..fits(bytes, 80)).map(part).collect();
    all.push((
        "parts with a detail each",
        request(&json!([{"role": "user", "content": parts}]).to_string(), ""),
    ));
    let call = |i: usize| json!({"id": format!("c{i}"), "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let count = fits(bytes, 150);
    let calls: Vec<Value> = (0..count).map(call).collect();
    let mut rounds = vec![user(), json!({"role": "assistant", "tool_calls": calls})];
    rounds.extend(
        (0..count).rev().map(|i| json!({"role": "tool", "tool_call_id": format!("c{i}"), "content": "x"})),
    );
    all.push(("results in the wrong order", request(&Value::Array(rounds).to_string(), "")));
    let same: Vec<Value> = (0..count).map(|_| call(0)).collect();
    let mut rounds = vec![user(), json!({"role": "assistant", "tool_calls": same})];
    rounds.extend((0..count).map(|_| json!({"role": "tool", "tool_call_id": "c0", "content": "x"})));
    all.push(("one id for all calls", request(&Value::Array(rounds).to_string(), "")));
    let round = |i: usize| {
        if i.is_multiple_of(2) {
            json!({"role": "assistant", "tool_calls": [call(i)]})
        } else {
            json!({"role": "tool", "tool_call_id": format!("c{}", i - 1), "content": "x"})
        }
    };
    let mut rounds = vec![user()];
    rounds.extend((0..fits(bytes, 90)).map(round));
    all.push(("a call in each message", request(&Value::Array(rounds).to_string(), "")));
    all.push(("many short messages", request(&each(fits(bytes, 32), &|_| user()), "")));
    all.push((
        "developers only",
        request(&each(fits(bytes, 40), &|_| json!({"role": "developer", "content": "x"})), ""),
    ));
    let unknown: Vec<String> = (0..fits(bytes, 12)).map(|i| format!(r#","u{i}":{i}"#)).collect();
    all.push(("many unknown parameters", request(&messages("hi"), &unknown.concat())));
    let nulls: Vec<String> = (0..fits(bytes, 14)).map(|i| format!(r#","u{i}":null"#)).collect();
    all.push(("many nulls", request(&messages("hi"), &nulls.concat())));
    let options = |mark: &str, each: usize| {
        let fields = (0..fits(bytes, each)).map(|i| (format!("{mark}{i}"), Value::from(i)));
        Value::Object(fields.collect::<Map<_, _>>())
    };
    let twice =
        json!({"extra_body": {"google": options("a", 24), "extra_body": {"google": options("b", 24)}}});
    all.push((
        "many options of Google's in two places",
        request(&messages("hi"), &format!(",{}", inner(&twice))),
    ));
    let twice = json!({"google": options("a", 24), "extra_body": {"google": options("b", 24)}});
    all.push((
        "many options of Google's beside the body",
        request(&messages("hi"), &format!(",{}", inner(&twice))),
    ));
    let twice = json!({"google": {"thinking_config": options("a", 24)}, "extra_body": {"google": {"thinking_config": options("b", 24)}}});
    all.push((
        "many options of thinking in two places",
        request(&messages("hi"), &format!(",{}", inner(&twice))),
    ));
    let twice = json!({"extra_body": {"extra_body": options("a", 24), "b": 1}});
    all.push((
        "many unknown fields in the body's body",
        request(&messages("hi"), &format!(",{}", inner(&twice))),
    ));
    let content = json!({"google": options("a", 24), "vertex": options("b", 24)});
    let said = json!([{"role": "assistant", "content": "hi", "extra_content": content}, user()]);
    all.push(("much extra content of both names", request(&said.to_string(), "")));
    let odd = [
        "user",
        "store",
        "metadata",
        "service_tier",
        "logit_bias",
        "prediction",
        "verbosity",
        "parallel_tool_calls",
    ];
    let odd: Vec<String> = odd.iter().map(|name| format!(r#","{name}":[[1]]"#)).collect();
    all.push(("odd types before a long text", request(&messages(&"x".repeat(bytes)), &odd.concat())));
    let marks = "_vertex-chat-aside-0-".repeat(fits(16 << 10, 21) + 50);
    let texts: Vec<Value> =
        (0..fits(bytes, marks.len())).map(|_| json!({"type": "text", "text": marks})).collect();
    all.push((
        "marks of strings set aside",
        request(&json!([{"role": "user", "content": texts}]).to_string(), ""),
    ));
    all.push((
        "a text of escapes",
        request(&format!(r#"[{{"role":"user","content":"{}"}}]"#, r"A".repeat(fits(bytes, 6))), ""),
    ));
    all.push(("a long text", request(&messages(&"x".repeat(bytes)), r#","tools":[]"#)));
    let biases: Vec<String> = (0..fits(bytes, 10)).map(|i| format!(r#""{i}":1"#)).collect();
    all.push((
        "many biases",
        request(&messages("hi"), &format!(r#","logit_bias":{{{}}}"#, biases.join(","))),
    ));
    let stops: Vec<String> = (0..fits(bytes, 6)).map(|i| format!(r#""s{i}""#)).collect();
    all.push(("many stops", request(&messages("hi"), &format!(r#","stop":[{}]"#, stops.join(",")))));
    let names: Vec<String> = (0..fits(bytes, 60))
        .map(|i| format!(r#"{{"type":"function","function":{{"name":"{i}"}}}}"#))
        .collect();
    all.push((
        "many names that are refused",
        request(&messages("hi"), &format!(r#","tools":[{}]"#, names.join(","))),
    ));
    let nested = format!("{}{}", r#"{"extra_body":"#.repeat(60), "{}".to_owned() + &"}".repeat(60));
    all.push(("options in options", request(&messages("hi"), &format!(r#","extra_body":{nested}"#))));
    all.push((
        "arrays in arrays",
        request(&messages("hi"), &format!(r#","x":{}{}"#, "[".repeat(120), "]".repeat(120))),
    ));
    all.push(("arrays without an end", format!(r#"{{"model":"{MODEL}","messages":{}"#, "[".repeat(bytes))));
    all.push((
        "a string without an end",
        format!(r#"{{"model":"{MODEL}","messages":"{}"#, "x".repeat(bytes)),
    ));
    // Rounds of calls and results.
    let call = |id: &str| json!({"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let mut rounds: Vec<Value> = (0..fits(bytes, 150))
        .flat_map(|i| [call(&i.to_string()), json!({"role": "user", "content": "u"})])
        .collect();
    all.push(("calls without results", request(&json!(rounds).to_string(), "")));
    rounds = (0..fits(bytes, 130)).map(|_| call("a")).collect();
    rounds
        .extend((0..fits(bytes, 200)).map(|_| json!({"role": "tool", "tool_call_id": "a", "content": "r"})));
    all.push(("one id for all calls", request(&json!(rounds).to_string(), "")));
    let empty = vec![json!({"role": "system", "content": ""}); fits(bytes, 35)];
    all.push(("empty messages", request(&json!(empty).to_string(), "")));
    let unknown: Map<String, Value> =
        (0..fits(bytes, 20)).map(|i| (format!("max_token{i}"), json!(1))).collect();
    all.push((
        "unknown parameters",
        request(&messages("hi"), &format!(",{}", inner(&Value::Object(unknown)))),
    ));
    let names: Vec<Value> = (0..fits(bytes, 60))
        .map(|i| json!({"type": "function", "function": {"name": format!("{i} f")}}))
        .collect();
    all.push(("names that are refused", request(&messages("hi"), &format!(r#","tools":{}"#, json!(names)))));
    all
}
