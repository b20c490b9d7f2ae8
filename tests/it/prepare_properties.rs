//! What holds of `prepare` and of the schema reducer for any request and any schema.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::{Map, Value, json};
use vertex_chat_params::{
    Dialect, PARAMETERS, Policy, Rewrites, SchemaError, Support, Target, prepare_json, reduce_schema,
};
use vertex_chat_tests::root;
use vertex_chat_types::Json;

/// A schema of a property. `$ref`s go to `D0` and `D1`.
fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        (0_u32..3).prop_map(|least| json!({"type": "string", "minLength": least, "maxLength": 3})),
        Just(json!({"type": "STRING", "description": "d", "title": "t"})),
        select(vec!["date-time", "email", "uuid"]).prop_map(|it| json!({"type": "string", "format": it})),
        (-1_i64..2).prop_map(|least| json!({"type": "integer", "minimum": least, "exclusiveMaximum": 3})),
        Just(json!({"type": "number", "multipleOf": 0.5})),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        Just(json!({"const": "a"})),
        Just(json!({"const": 1})),
        Just(json!({"enum": ["a", "b", null]})),
        Just(json!({"enum": [1, 2]})),
        Just(json!({"enum": ["a", 1]})),
        Just(json!({"type": ["string", "null"], "enum": ["a", null]})),
        Just(json!({"type": ["integer", "boolean", "null"]})),
        Just(json!({"type": "string", "nullable": true})),
        Just(json!({"minimum": 0, "maximum": 5})),
        Just(json!({"enum": [1, 1.0]})),
        Just(json!({"enum": []})),
        Just(json!({"$ref": "#/$defs/D0"})),
        Just(json!({"$ref": "#/$defs/D1", "description": "beside"})),
        Just(json!({})),
        Just(json!(true)),
    ];
    leaf.prop_recursive(3, 20, 3, |inner| {
        let properties = btree_map(select(vec!["a", "b", "c"]), inner.clone(), 0..3);
        let required = subsequence(vec!["a", "b", "z"], 0..3);
        let additional = prop_oneof![
            3 => Just(None),
            1 => Just(Some(json!(false))),
            1 => Just(Some(json!(true))),
            1 => inner.clone().prop_map(Some),
        ];
        let object = (properties, required, additional, any::<bool>()).prop_map(|(properties, required, additional, pattern)| {
            let mut schema = json!({"type": "object", "properties": properties, "required": required});
            if let Some(additional) = additional {
                schema["additionalProperties"] = additional;
            }
            if pattern {
                schema["patternProperties"] = json!({"^c": {"type": "boolean"}});
            }
            schema
        });
        prop_oneof![
            3 => object.clone(),
            1 => inner.clone().prop_map(|items| json!({"type": "array", "items": items, "maxItems": 2, "uniqueItems": true})),
            1 => vec(inner.clone(), 1..3).prop_map(|items| json!({"type": "array", "prefixItems": items})),
            1 => vec(inner.clone(), 1..3).prop_map(|items| json!({"type": "array", "prefixItems": items, "items": false})),
            2 => vec(inner.clone(), 1..3).prop_map(|choices| json!({"anyOf": choices})),
            1 => (inner.clone(), vec(inner.clone(), 1..3)).prop_map(|(rest, items)| json!({"type": "array", "items": items, "additionalItems": rest})),
            1 => vec(inner.clone(), 1..3).prop_map(|choices| json!({"oneOf": choices, "description": "d"})),
            1 => (object.clone(), vec(object.clone(), 1..3)).prop_map(|(mut own, choices)| {
                own["anyOf"] = json!(choices);
                own
            }),
            2 => vec(prop_oneof![object, inner.clone()], 1..3).prop_map(|parts| json!({"allOf": parts})),
            1 => inner.prop_map(|not| json!({"type": "object", "not": not, "if": {"required": ["a"]}, "then": {"required": ["b"]}})),
        ]
    })
}

/// A whole schema, with what its references lead to.
fn whole_schema() -> impl Strategy<Value = Value> {
    // What a definition refers to comes after it, so that nothing is inside of itself.
    let second = schema().prop_map(|it| without_references(&it));
    let first = schema().prop_map(|it| {
        let text = it.to_string().replace("#/$defs/D0", "#/$defs/D1");
        serde_json::from_str::<Value>(&text).unwrap()
    });
    (btree_map(select(vec!["a", "b", "c"]), schema(), 1..3), first, second).prop_map(|(properties, first, second)| {
        json!({"type": "object", "properties": properties, "$defs": {"D0": first, "D1": second}})
    })
}

fn without_references(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) if fields.contains_key("$ref") => json!({"type": "boolean"}),
        Value::Object(fields) => {
            fields.iter().map(|(key, it)| (key.clone(), without_references(it))).collect()
        }
        Value::Array(items) => items.iter().map(without_references).collect(),
        other => other.clone(),
    }
}

/// A value that the schema may well take.
fn sample(schema: &Value, root: &Value, choose: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
    let any = |choose: &mut dyn FnMut(usize) -> usize| {
        [
            json!("a"),
            json!("bb"),
            json!(1),
            json!(0.5),
            json!(true),
            json!(null),
            json!([]),
            json!({"a": "a"}),
        ][choose(8)]
        .clone()
    };
    if depth > 8 || choose(12) == 0 {
        return any(choose);
    }
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(&root["$defs"][&reference["#/$defs/".len()..]], root, choose, depth + 1);
    }
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    for key in ["enum", "anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array().filter(|it| !it.is_empty()) {
            let choice = &choices[choose(choices.len())];
            let value = if key == "enum" { choice.clone() } else { sample(choice, root, choose, depth + 1) };
            if schema["properties"].is_null() {
                return value;
            }
        }
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for part in parts {
            match sample(part, root, choose, depth + 1) {
                Value::Object(fields) => whole.extend(fields),
                other => return other,
            }
        }
        return Value::Object(whole);
    }
    let kinds: Vec<String> = match &schema["type"] {
        Value::String(kind) => vec![kind.to_lowercase()],
        Value::Array(kinds) => kinds.iter().map(|it| it.as_str().unwrap().to_owned()).collect(),
        _ => return any(choose),
    };
    match kinds[choose(kinds.len())].as_str() {
        "string" => json!(["a", "bb", "2026-01-01T00:00:00Z", ""][choose(4)]),
        "integer" => json!([0, 1, 2, -1][choose(4)]),
        "number" => [json!(0.5), json!(1), json!(-1.5)][choose(3)].clone(),
        "boolean" => json!(choose(2) == 0),
        "array" => {
            let tuple = schema["prefixItems"].as_array().cloned().unwrap_or_default();
            let length = choose(3);
            let of = |i: usize| tuple.get(i).unwrap_or(&schema["items"]).clone();
            (0..length).map(|i| sample(&of(i), root, choose, depth + 1)).collect()
        }
        "object" => {
            let mut fields = Map::new();
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let required = schema["required"].as_array().is_some_and(|it| it.contains(&json!(name)));
                if required || choose(3) > 0 {
                    fields.insert(name.clone(), sample(property, root, choose, depth + 1));
                }
            }
            if schema["required"].as_array().is_some_and(|it| it.contains(&json!("z"))) || choose(5) == 0 {
                fields.insert("z".to_owned(), any(choose));
            }
            Value::Object(fields)
        }
        _ => Value::Null,
    }
}

/// Gemini's `nullable` in the words of JSON Schema; upper-case types in lower case.
fn translated(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut out: Map<String, Value> = Map::new();
            for (key, value) in fields {
                // Draft 7 has tuples in other words.
                let is_old_tuple = fields.get("items").is_some_and(Value::is_array);
                let key = match key.as_str() {
                    "items" if is_old_tuple => "prefixItems",
                    "additionalItems" if is_old_tuple => "items",
                    key => key,
                };
                let value = match (key, value) {
                    ("type", Value::String(kind)) => json!(kind.to_lowercase()),
                    ("nullable", _) => continue,
                    (_, value) => translated(value),
                };
                out.insert(key.to_owned(), value);
            }
            if fields.get("nullable") == Some(&json!(true)) {
                json!({"anyOf": [{"type": "null"}, out]})
            } else {
                Value::Object(out)
            }
        }
        Value::Array(items) => items.iter().map(translated).collect(),
        other => other.clone(),
    }
}

const KEYWORDS: [&str; 22] = [
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "default",
    "example",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "propertyOrdering",
    "required",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "anyOf",
];

/// Whether a schema has only what Gemini's has.
fn check_subset(schema: &Value, vertex: bool) -> Result<(), String> {
    let Some(fields) = schema.as_object() else { return Err(format!("{schema} is no object")) };
    for (key, value) in fields {
        match key.as_str() {
            "additionalProperties" if vertex => {
                if !value.is_boolean() {
                    check_subset(value, vertex)?;
                }
            }
            "title" | "default" if !vertex => return Err(format!("{key} is there")),
            "type" if !value.is_string() => return Err(format!("type is {value}")),
            "properties" => {
                for property in value.as_object().into_iter().flatten() {
                    check_subset(property.1, vertex)?;
                }
            }
            "items" => check_subset(value, vertex)?,
            "anyOf" => {
                for choice in value.as_array().unwrap() {
                    check_subset(choice, vertex)?;
                }
                if fields.keys().any(|key| {
                    !["anyOf", "nullable", "description", "title", "default"].contains(&key.as_str())
                }) {
                    return Err(format!("anyOf is not alone: {schema}"));
                }
            }
            "enum" => {
                if !value.as_array().unwrap().iter().all(Value::is_string)
                    || !fields["type"].as_str().unwrap().eq_ignore_ascii_case("string")
                {
                    return Err(format!("an enum of no texts: {schema}"));
                }
            }
            key if KEYWORDS.contains(&key) => {}
            key => return Err(format!("{key} is there")),
        }
    }
    if !fields.contains_key("type") && !fields.contains_key("anyOf") {
        return Err(format!("no type: {schema}"));
    }
    if fields.get("type") == Some(&json!("array")) && !fields.contains_key("items") {
        return Err(format!("no items: {schema}"));
    }
    Ok(())
}

fn reduced(schema: &Value, dialect: Dialect) -> Result<Option<(Value, bool)>, SchemaError> {
    let json: Json = schema.to_string().parse().unwrap();
    let made = reduce_schema(&json, dialect)?;
    Ok(made.map(|(reduced, changes)| {
        let narrows = changes.iter().any(|change| change.narrows);
        (serde_json::from_str(reduced.as_str()).unwrap(), narrows)
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn a_reduced_schema_is_gemini_s_and_stays_as_it_is(schema in whole_schema()) {
        for dialect in [Dialect::VertexGemini2, Dialect::GeminiDeveloper] {
            let vertex = dialect.is_vertex();
            match reduced(&schema, dialect).unwrap() {
                None => prop_assert_eq!(check_subset(&schema, vertex), Ok(())),
                Some((once, _)) => {
                    prop_assert_eq!(check_subset(&once, vertex), Ok(()), "{} from {}", once, schema);
                    prop_assert_eq!(reduced(&once, dialect).unwrap().map(|it| it.0), None, "{} from {}", once, schema);
                }
            }
        }
    }

    #[test]
    fn a_reduced_schema_takes_what_the_whole_one_took(schema in whole_schema(), choices in vec(any::<Index>(), 400)) {
        let Some((reduced, narrows)) = reduced(&schema, Dialect::VertexGemini3).unwrap() else { return Ok(()) };
        // Which rules narrow is told in the report; they are looked at by their own test.
        if narrows {
            return Ok(());
        }
        // The generator writes `nullable` too, which JSON Schema does not know.
        let original = jsonschema::validator_for(&translated(&schema)).unwrap();
        let judge = jsonschema::validator_for(&translated(&reduced)).unwrap();
        let mut next = 0;
        let mut choose = |of: usize| {
            next += 1;
            choices[next % choices.len()].index(of.max(1))
        };
        for _ in 0..20 {
            let value = sample(&schema, &schema, &mut choose, 0);
            if original.is_valid(&value) {
                prop_assert!(judge.is_valid(&value), "{} was good for {} and is not for {}", value, schema, reduced);
            }
        }
    }

    #[test]
    fn no_json_makes_the_reducer_panic(text in "[\\[\\]{}\",:$a-f0-9 /#.\\\\]{0,60}", schema in whole_schema(), cut in any::<Index>()) {
        let mut broken = schema.to_string();
        broken.truncate(cut.index(broken.len()));
        broken.push_str("}}}}");
        let text_in_schema = schema.to_string().replace("\"a\"", "\"\\ud800\"");
        let twisted = schema.to_string().replace("object", "array").replace("D1", "D0");
        for text in [text, broken, text_in_schema, twisted] {
            if let Ok(json) = text.parse::<Json>() {
                let _ = reduce_schema(&json, Dialect::VertexGemini3);
            }
        }
    }
}

#[test]
fn enough_of_the_samples_are_good_and_enough_schemas_do_not_narrow() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut wide, mut good, mut changed) = (0, 0, 0);
    for _ in 0..300 {
        let schema = whole_schema().new_tree(&mut runner).unwrap().current();
        let Some((_, narrows)) = reduced(&schema, Dialect::VertexGemini3).unwrap() else { continue };
        changed += 1;
        if narrows {
            continue;
        }
        wide += 1;
        let validator = jsonschema::validator_for(&translated(&schema)).unwrap();
        let mut state = 1_usize;
        let mut choose = |of: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % of.max(1)
        };
        good += (0..20).filter(|_| validator.is_valid(&sample(&schema, &schema, &mut choose, 0))).count();
    }
    assert!(
        changed > 200 && wide > 60 && good > wide,
        "{changed} changed, {wide} do not narrow, {good} good values"
    );
}

/// The rules that let less through, by an example each. There are no others: see the property above.
#[test]
fn the_rules_that_narrow_are_these() {
    let narrowing = |schema: Value| -> Vec<String> {
        let json: Json = schema.to_string().parse().unwrap();
        let (_, changes) = reduce_schema(&json, Dialect::VertexGemini3).unwrap().unwrap();
        changes.iter().filter(|it| it.narrows).map(|it| format!("{}: {}", it.path, it.what)).collect()
    };
    let property = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    assert_eq!(
        narrowing(property(json!({}))),
        ["properties.a.type: it names no type and is taken for a text"]
    );
    assert_eq!(
        narrowing(property(json!({"properties": {"b": {"type": "string"}}}))),
        ["properties.a.type: it is taken for an object, by its keywords"]
    );
    assert_eq!(
        narrowing(property(json!({"minItems": 1, "items": {"type": "string"}}))),
        ["properties.a.type: it is taken for an array, by its keywords"]
    );
    assert_eq!(
        narrowing(property(json!({"minimum": 1}))),
        ["properties.a.type: it is taken for a number, by its keywords"]
    );
    assert_eq!(
        narrowing(property(json!({"type": "array"}))),
        ["properties.a.items: items of no stated type are taken for texts"]
    );
    assert_eq!(
        narrowing(property(json!({"type": "array", "prefixItems": [{"type": "string"}]}))),
        ["properties.a.items: a tuple became a list of any of its items"]
    );
}

#[test]
fn a_reference_that_cannot_be_followed_becomes_an_open_object() {
    let reduced = |schema: &str| {
        let (reduced, changes) =
            reduce_schema(&schema.parse().unwrap(), Dialect::VertexGemini3).unwrap().unwrap();
        let changes: Vec<String> = changes
            .into_iter()
            .filter(|it| it.what.contains("open object"))
            .map(|it| format!("{}{}", it.path, if it.narrows { " narrows" } else { "" }))
            .collect();
        (serde_json::from_str::<Value>(reduced.as_str()).unwrap(), changes)
    };
    let open = json!({"type": "object"});
    let recursive = r##"{"type":"object","$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}},"properties":{"head":{"$ref":"#/$defs/N"},"ok":{"type":"string"}}}"##;
    let (schema, changes) = reduced(recursive);
    assert_eq!(schema["properties"]["head"], json!({"type": "object", "properties": {"next": open}}));
    assert_eq!(schema["properties"]["ok"], json!({"type": "string"}));
    assert_eq!(changes, ["properties.head.properties.next.$ref"]);
    let (schema, changes) =
        reduced(r##"{"type":"object","properties":{"a":{"$ref":"#","description":"d"}}}"##);
    assert_eq!(schema["properties"]["a"], json!({"type": "object", "description": "d"}));
    assert_eq!(changes, ["properties.a.$ref"]);
    let (schema, changes) = reduced(r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/no"}}}"##);
    assert_eq!(schema["properties"]["a"], open);
    assert_eq!(changes, ["properties.a.$ref narrows"]);
    let (schema, changes) =
        reduced(r##"{"type":"object","properties":{"a":{"allOf":[{"$ref":"other.json"}]}}}"##);
    assert_eq!(schema["properties"]["a"], open);
    assert_eq!(changes, ["properties.a.$ref narrows"]);
    // By way of `allOf`, of choices, of each other.
    for through in [
        r##"{"$defs":{"N":{"type":"array","items":[{"type":"string"}],"additionalItems":{"$ref":"#/$defs/N"}}},"properties":{"a":{"$ref":"#/$defs/N"}}}"##,
        r##"{"$defs":{"N":{"allOf":[{"$ref":"#/$defs/N"}]}},"properties":{"a":{"$ref":"#/$defs/N"}}}"##,
        r##"{"$defs":{"N":{"type":"object","properties":{"b":{"allOf":[{"$ref":"#/$defs/N"}]}}}},"allOf":[{"$ref":"#/$defs/N"}]}"##,
        r##"{"$defs":{"N":{"anyOf":[{"type":"string"},{"$ref":"#/$defs/N"}],"minLength":1}},"properties":{"a":{"$ref":"#/$defs/N"}}}"##,
        r##"{"$defs":{"A":{"type":"object","properties":{"b":{"$ref":"#/$defs/B"}}},"B":{"oneOf":[{"$ref":"#/$defs/A"},{"type":"null"}]}},"properties":{"a":{"$ref":"#/$defs/A"}}}"##,
        r##"{"$defs":{"A":{"$ref":"#/$defs/B"},"B":{"$ref":"#/$defs/A"}},"properties":{"a":{"$ref":"#/$defs/A"}}}"##,
    ] {
        let (schema, changes) = reduced(through);
        assert!(!changes.is_empty() && schema.to_string().len() < 600, "{through}: {schema}");
    }
    // Used beside and below a schema into which it was merged, it is not inside of itself.
    let (schema, _) = {
        let twice = r##"{"$defs":{"B":{"type":"object","properties":{"x":{"type":"string"}}}},"allOf":[{"$ref":"#/$defs/B"}],"properties":{"other":{"$ref":"#/$defs/B"}}}"##;
        let (reduced, changes) =
            reduce_schema(&twice.parse().unwrap(), Dialect::VertexGemini3).unwrap().unwrap();
        assert!(changes.iter().all(|it| !it.what.contains("open object")), "{changes:?}");
        (serde_json::from_str::<Value>(reduced.as_str()).unwrap(), ())
    };
    assert_eq!(schema["properties"]["other"]["properties"]["x"]["type"], "string");
}

#[test]
fn what_cannot_be_reduced_is_named() {
    let told = |schema: &str| reduce_schema(&schema.parse().unwrap(), Dialect::VertexGemini3).unwrap_err();
    assert_eq!(told("[]"), SchemaError::NotAnObject);
    assert_eq!(
        told(r#"{"type":"object","properties":{"\ud800":{"type":"string"}}}"#),
        SchemaError::Unreadable
    );
    let chain: Vec<String> =
        (0..3000).map(|i| format!(r##""A{i}":{{"$ref":"#/$defs/A{}"}}"##, i + 1)).collect();
    let chain = format!(
        r##"{{"properties":{{"a":{{"$ref":"#/$defs/A0"}}}},"$defs":{{{},"A3000":{{"type":"string"}}}}}}"##,
        chain.join(",")
    );
    assert_eq!(told(&chain), SchemaError::TooLarge);
    let many: Vec<String> = (0..30_000).map(|i| format!("\"a{i}\"")).collect();
    assert_eq!(
        told(&format!(r#"{{"type":"object","required":[{}]}}"#, many.join(","))),
        SchemaError::TooLarge
    );
    let deep = format!("{}{}", r#"{"items":"#.repeat(200), "{}".to_owned() + &"}".repeat(200));
    assert_eq!(told(&deep), SchemaError::TooLarge);
    // A few references that stand for billions.
    let levels: Vec<String> = (0..30)
        .map(|i| format!(r##""L{i}":{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/L{0}"}},"b":{{"$ref":"#/$defs/L{0}"}}}}}}"##, i + 1))
        .collect();
    let bomb = format!(
        r##"{{"type":"object","properties":{{"x":{{"$ref":"#/$defs/L0"}}}},"$defs":{{{},"L30":{{"type":"string"}}}}}}"##,
        levels.join(",")
    );
    assert!(matches!(told(&bomb), SchemaError::TooLarge | SchemaError::TooManySteps));
}

#[test]
fn references_are_found_however_they_are_written() {
    for reference in ["#/$defs/A%3CB%3E", "#/$defs/A<B>", "#here", "#/properties/b/items"] {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": reference}, "b": {"type": "array", "items": {"$anchor": "here", "type": "boolean"}}},
            "$defs": {"A<B>": {"type": "boolean"}}});
        let (reduced, _) = reduced(&schema, Dialect::VertexGemini3).unwrap().unwrap();
        assert_eq!(reduced["properties"]["a"], json!({"type": "boolean"}), "{reference}");
    }
}

#[test]
fn changes_beyond_those_that_are_told_of_are_told_to_be_there() {
    let properties: Map<String, Value> =
        (0..70).map(|i| (format!("p{i}"), json!({"type": "string", "title": "t"}))).collect();
    let schema: Json = json!({"type": "object", "properties": properties}).to_string().parse().unwrap();
    let (_, changes) = reduce_schema(&schema, Dialect::GeminiDeveloper).unwrap().unwrap();
    assert_eq!(changes.len(), vertex_chat_params::SCHEMA_CHANGES_MAX + 1);
    assert!(changes.last().unwrap().what.contains("more changes"));
}

/// Fields of requests, from the expectation file's samples: each parameter with a good value.
fn samples() -> Vec<Value> {
    let text = std::fs::read_to_string(root().join("tests/data/parameter-expectations.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    rows.into_iter().map(|row| row["sample"].clone()).collect()
}

fn any_request() -> impl Strategy<Value = Value> {
    let call = json!({"id": "c1__thought__c2ln", "type": "function", "function": {"name": "f", "arguments": "{ \"a\" : 1.0 }"}});
    let messages = prop_oneof![
        Just(json!([{"role": "user", "content": "hi"}])),
        Just(
            json!([{"role": "developer", "content": "d"}, {"role": "user", "content": [{"type": "image_url", "image_url": "gs://b/o"}]}])
        ),
        Just(
            json!([{"role": "user", "content": "u"}, {"role": "assistant", "content": "c", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1__thought__c2ln", "content": "r"}])
        ),
    ];
    let odd = prop_oneof![
        Just(json!({})),
        Just(
            json!({"user": null, "store": null, "google": null, "top_k": null, "reasoning": {"effort": "low"}})
        ),
        Just(json!({"messages": [{"role": "user", "content": "u"},
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "assistant", "tool_calls": [{"id": "b", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "b", "content": "r"}, {"role": "tool", "tool_call_id": "a", "content": "r"}]})),
        Just(json!({"vendor": {"b": 1.50, "a": [1e3]}})),
        Just(json!({"google": {"vendor": 1}, "extra_body": {"extra_body": {"google": {"x": 2}}}})),
        Just(json!({"model": "gemini-3-flash", "max_tokens": 1, "max_completion_tokens": 2})),
    ];
    let samples = samples();
    let count = samples.len();
    (messages, subsequence(samples, 0..count.min(12)), odd, whole_schema()).prop_map(
        |(messages, fields, odd, schema)| {
            let mut request = json!({"model": "google/gemini-3-flash-preview"});
            let all = request.as_object_mut().unwrap();
            for fields in fields.iter().chain([&odd]) {
                all.extend(fields.as_object().unwrap().clone());
            }
            // The last sample's format and tools may be anything.
            if let Some(format) = all.get_mut("response_format").filter(|it| !it["json_schema"].is_null()) {
                format["json_schema"]["schema"] = schema;
            }
            all.entry("messages").or_insert(messages);
            request
        },
    )
}

proptest! {
    #[test]
    fn prepare_is_idempotent(request in any_request()) {
        for dialect in Dialect::ALL {
            let target = Target::new(dialect).with_policy(Policy::Drop);
            let Ok(once) = prepare_json(request.to_string().into_bytes(), &target) else { continue };
            let twice = prepare_json(once.body().to_vec(), &target).unwrap();
            prop_assert_eq!(twice.body(), once.body(), "{}", dialect);
            prop_assert!(twice.report().notes().iter().all(|it| it.action == vertex_chat_params::Action::Forwarded), "{}: {}", dialect, twice.report());
        }
    }

    #[test]
    fn forward_changes_no_byte_of_what_is_opaque(request in any_request(), spaces in "[ \t\n]{0,3}", number in "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
        let opaque = format!(r#"{{"z":{spaces}{number},{spaces}"a":["\u00e9",{{"z":1.0}}]}}"#);
        let mut text = request.to_string();
        text.truncate(text.len() - 1);
        let schema = format!(r#"{{"type":"object",{spaces}"properties":{{"z":{{"type":"integer","minimum":{number}}},"a":{{"type":"boolean"}}}}}}"#);
        text.push_str(&format!(r#","opaque":{opaque},"functions":[{{"name":"f","parameters":{schema}}}]}}"#));
        for dialect in Dialect::ALL {
            for rewrites in [Rewrites::all(), Rewrites::none()] {
                let target = Target::new(dialect).with_policy(Policy::Forward).with_rewrites(rewrites);
                let Ok(prepared) = prepare_json(text.clone().into_bytes(), &target) else { continue };
                let sent = std::str::from_utf8(prepared.body()).unwrap();
                prop_assert!(sent.contains(&format!(r#""opaque":{opaque}"#)), "{}", dialect);
                prop_assert!(sent.contains(&schema), "{}: {}", dialect, sent);
            }
        }
    }

    #[test]
    fn what_is_dropped_is_not_sent(request in any_request()) {
        for dialect in Dialect::ALL {
            let target = Target::new(dialect).with_policy(Policy::Drop);
            let Ok(prepared) = prepare_json(request.to_string().into_bytes(), &target) else { continue };
            let sent: Value = serde_json::from_slice(prepared.body()).unwrap();
            if dialect == Dialect::GeminiDeveloper {
                let unknown = sent.as_object().unwrap().keys().find(|key| vertex_chat_params::parameter(key).is_none());
                prop_assert!(unknown.is_none(), "{}", sent);
            }
            for row in &PARAMETERS {
                if matches!(row.support(dialect), Support::Refused(_) | Support::Ignored) {
                    let name = row.name();
                    let there = if row.path == name { sent.get(name).is_some() } else { sent.to_string().contains(&format!("\"{name}\":")) };
                    prop_assert!(!there, "{} on {}: {}", row.path, dialect, sent);
                }
            }
        }
    }
}
