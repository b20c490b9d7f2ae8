//! Schemas from Rust types, and answers and arguments as them.
#![cfg(feature = "schemars")]
#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]
#![allow(dead_code, reason = "the fields are there to be described")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use vertex_chat_types::{ChatCompletion, Json, ResponseFormat, Tool};

/// A day's weather.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Weather {
    zone: Zone,
    /// In degrees.
    #[serde(rename = "temperatureCelsius")]
    celsius: f64,
    #[serde(default)]
    alert: Option<Alert>,
    hours: Vec<Hour>,
    by_name: BTreeMap<String, Hour>,
    // A value of which nothing can be made up; what comes after it is asked all the same.
    address: Address,
    last: Last,
}

/// A text that has to have a colon.
#[derive(Debug, PartialEq, JsonSchema)]
struct Address(String);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.contains(':') { Ok(Self(text)) } else { Err(serde::de::Error::custom("no colon")) }
    }
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
enum Zone {
    North,
    South { zulu: bool, alpha: bool },
    Line(Hour),
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Alert {
    what: String,
    also: Option<Box<Alert>>,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Hour {
    sun: bool,
    rain: bool,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
struct Last {
    y: u8,
    x: u8,
}

/// Where these words come in a text, in this order.
#[track_caller]
fn check_order(text: &str, words: &[&str]) {
    let mut from = 0;
    for word in words {
        let quoted = format!("\"{word}\":");
        let at = text[from..].find(&quoted);
        from += at.unwrap_or_else(|| panic!("{word} does not come after byte {from} of {text}"));
    }
}

#[test]
fn properties_stand_in_the_order_of_the_fields() {
    let schema = Json::schema_of::<Weather>();
    let text = schema.as_str();
    check_order(text, &["zone", "temperatureCelsius", "alert", "hours", "by_name", "address", "last"]);
    check_order(text, &["zulu", "alpha"]);
    check_order(text, &["sun", "rain"]);
    check_order(text, &["last", "y", "x"]);
    check_order(text, &["what", "also"]);
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(value["properties"]["temperatureCelsius"]["description"], "In degrees.");
    assert_eq!(value.get("$schema"), None);
}

/// A type that holds itself twice is asked for a while, and not for ever.
#[derive(Deserialize, JsonSchema)]
struct Tree {
    value: u32,
    right: Option<Box<Tree>>,
    left: Option<Box<Tree>>,
    #[serde(alias = "aka")]
    name: String,
}

#[test]
fn trees_and_aliases_have_an_order_too() {
    check_order(Json::schema_of::<Tree>().as_str(), &["value", "right", "left", "name"]);
}

#[test]
fn what_a_model_wrote_is_not_in_the_error() {
    #[derive(Debug, Deserialize)]
    struct Wanted {
        n: u32,
    }
    #[derive(Debug, Deserialize)]
    enum Word {
        Yes,
    }
    let say = |content: &str| {
        let body = serde_json::json!({"choices": [{"message": {"content": content}}]}).to_string();
        vertex_chat_types::from_str::<ChatCompletion>(&body).unwrap()
    };
    let error = say(r#"{"n":"canary"}"#).parse::<Wanted>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    assert!(error.to_string().starts_with("invalid type: string, expected u32"), "{error}");
    let error = say(r#""canary""#).parse::<Word>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary") && error.to_string().contains("Yes"), "{error}");
    assert!(say("{}").parse::<Wanted>().unwrap_err().to_string().contains("missing field `n`"));
    let error = say(r#""canary""#).parse::<Address>().unwrap_err();
    assert!(error.to_string().starts_with("not a value of the type that was asked for"), "{error}");
}

#[test]
fn tools_and_formats_are_made_from_types() {
    let tool = Tool::of::<Last>("point");
    assert_eq!((tool.name(), tool.function.as_ref().unwrap().description.as_deref()), ("point", None));
    let tool = Tool::of::<Weather>("report");
    assert_eq!(tool.function.unwrap().description.as_deref(), Some("A day's weather."));
    let format = ResponseFormat::of::<Vec<Last>>().json_schema.unwrap();
    assert_eq!(format.name.as_deref(), Some("Array_of_Last"));
    check_order(format.schema.unwrap().as_str(), &["y", "x"]);
}

#[test]
fn answers_and_arguments_are_read_as_types() {
    let body = r#"{"choices":[{"message":{"content":"{\"y\":1,\"x\":2}","tool_calls":[{"function":{"name":"f","arguments":"{\"y\":3,\"x\":4}"}}]}}]}"#;
    let completion: ChatCompletion = vertex_chat_types::from_str(body).unwrap();
    assert_eq!(completion.parse::<Last>().unwrap(), Last { y: 1, x: 2 });
    assert_eq!(completion.tool_calls()[0].parse_arguments::<Last>().unwrap(), Last { y: 3, x: 4 });
    let error = completion.parse::<Hour>().unwrap_err();
    assert!(error.to_string().contains("sun"), "{error}");
}
