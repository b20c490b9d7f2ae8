//! Whether answers are what was asked for: JSON of a schema, calls of tools that there are.
//!
//! Schemas are those of the request, as JSON Schema, 2020-12 unless they say otherwise. What Vertex documents beyond that
//! is understood: `nullable`, and types in capitals. Nothing that a schema refers to is ever fetched or opened.

use std::collections::HashMap;
use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;
use vertex_chat::types::{FunctionDefinition, ResponseFormatType};
use vertex_chat::{ChatRequest, Json, ResponseFormat};

use crate::text::short;

/// The longest schema that answers are checked by; what Gemini may be sent is bounded by the same.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// The most characters of what is said of a fault: it stands in tables, and must not be a copy of the answer.
pub const FAULT_CHARS_MAX: usize = 200;
/// The most steps that a pattern of a schema may take back on one text. With it, a pattern that never ends is a fault.
pub const PATTERN_STEPS_MAX: usize = 100_000;
/// The most memory, in bytes, that one pattern of a schema may become.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 1 << 20;

/// The most characters of a JSON pointer: the reason comes after it.
const POINTER_CHARS_MAX: usize = 80;

/// What answers to one prompt must be, made once and used for every answer.
pub(crate) struct Checks {
    /// `None` when the answer may be any text.
    json: Option<Form>,
    /// By name.
    tools: HashMap<String, Form>,
}

/// What a text must be.
enum Form {
    /// Anything: the input of a custom tool is free text.
    Text,
    /// Any JSON.
    Json,
    /// A JSON object.
    Object,
    /// JSON of a schema.
    Schema(Box<Validator>),
}

/// A request's schema that nothing can be checked by: which one, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckError {
    path: String,
    problem: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.problem)
    }
}

impl std::error::Error for CheckError {}

impl Checks {
    /// What answers to this request must be.
    ///
    /// # Errors
    /// When a schema is none, refers to something outside of itself, or is longer than [`SCHEMA_BYTES_MAX`].
    pub(crate) fn of(request: &ChatRequest) -> Result<Self, CheckError> {
        let json = request.response_format.as_ref().filter(|it| it.is_json()).map(answer_form).transpose()?;
        let mut tools = HashMap::new();
        for (place, tool) in request.tools.iter().flatten().enumerate() {
            let form = match (&tool.function, &tool.custom) {
                (Some(function), _) => {
                    arguments_form(function, || format!("tools[{place}].function.parameters"))?
                }
                (None, Some(_)) => Form::Text,
                (None, None) => continue,
            };
            tools.insert(tool.name().to_owned(), form);
        }
        for (place, function) in request.functions.iter().flatten().enumerate() {
            let form = arguments_form(function, || format!("functions[{place}].parameters"))?;
            tools.insert(function.name.clone().unwrap_or_default(), form);
        }
        Ok(Self { json, tools })
    }

    /// Whether the answer's text must be JSON.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.json.is_some()
    }

    /// What is wrong with an answer's text as JSON: nothing when it is empty, `None` when no JSON was asked for.
    ///
    /// An answer without a text is a fault. Whoever calls tools in place of it has not answered yet; that is the caller's
    /// to know.
    #[must_use]
    pub(crate) fn json_fault(&self, content: Option<&str>) -> Option<String> {
        let form = self.json.as_ref()?;
        Some(content.map_or_else(|| "there is no text".to_owned(), |text| form.fault(text)))
    }

    /// What is wrong with a call of a tool; nothing when it is empty. No arguments at all are an empty object.
    #[must_use]
    pub(crate) fn arguments_fault(&self, tool: &str, arguments: &str) -> String {
        match self.tools.get(tool) {
            None => "the request has no tool of this name".to_owned(),
            Some(Form::Text) => String::new(),
            Some(form) if arguments.trim().is_empty() => form.fault("{}"),
            Some(form) => form.fault(arguments),
        }
    }
}

/// Says what there is, not the schemas: they are long, and somebody's.
impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("is_json", &self.is_json()).field("tools", &self.tools.len()).finish()
    }
}

impl Form {
    fn fault(&self, text: &str) -> String {
        if matches!(self, Self::Text) {
            return String::new();
        }
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => return no_json(text, &error),
        };
        match self {
            Self::Object if !value.is_object() => "not a JSON object".to_owned(),
            Self::Schema(validator) => {
                validator.validate(&value).err().map_or_else(String::new, |it| violation(&it))
            }
            Self::Object | Self::Json | Self::Text => String::new(),
        }
    }
}

fn answer_form(format: &ResponseFormat) -> Result<Form, CheckError> {
    let schema = format.json_schema.as_ref().and_then(|it| it.schema.as_ref());
    match (schema, &format.r#type) {
        (Some(schema), _) => compiled(schema, || "response_format.json_schema.schema".to_owned()),
        (None, Some(ResponseFormatType::JsonObject)) => Ok(Form::Object),
        (None, _) => Ok(Form::Json),
    }
}

fn arguments_form(function: &FunctionDefinition, path: impl Fn() -> String) -> Result<Form, CheckError> {
    match &function.parameters {
        Some(parameters) if !parameters.is_null() => compiled(parameters, path),
        _ => Ok(Form::Object),
    }
}

fn compiled(schema: &Json, path: impl Fn() -> String) -> Result<Form, CheckError> {
    let wrong = |problem: String| CheckError { path: path(), problem };
    if schema.as_str().len() > SCHEMA_BYTES_MAX {
        let length = schema.as_str().len();
        return Err(wrong(format!(
            "the schema has {length} bytes and may have {SCHEMA_BYTES_MAX}; shorten it"
        )));
    }
    let mut value: Value = serde_json::from_str(schema.as_str()).map_err(|error| {
        wrong(format!("the schema cannot be read: {}", short(&error.to_string(), FAULT_CHARS_MAX)))
    })?;
    understand(&mut value);
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(PATTERN_STEPS_MAX)
        .size_limit(SCHEMA_PATTERN_BYTES_MAX)
        .dfa_size_limit(SCHEMA_PATTERN_BYTES_MAX);
    let validator = jsonschema::options().offline().with_pattern_options(patterns).build(&value);
    validator.map(|it| Form::Schema(Box::new(it))).map_err(|error| {
        let remedy = match error.kind() {
            ValidationErrorKind::Referencing(_) => {
                "; nothing outside of the schema is read: put what it refers to into its `$defs`, and leave out a `$schema` of your own"
            }
            _ => "; mend the schema",
        };
        wrong(format!("not a JSON Schema: {}{remedy}", violation(&error)))
    })
}

/// Makes JSON Schema of what Vertex documents: capitals become small letters, and `nullable` a type.
fn understand(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    if let Some(Value::String(kind)) = fields.get_mut("type")
        && VERTEX_TYPES.contains(&kind.as_str())
    {
        kind.make_ascii_lowercase();
    }
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        if let Some(kind @ Value::String(_)) = fields.get_mut("type") {
            *kind = Value::Array(vec![kind.take(), "null".into()]);
        }
        if let Some(Value::Array(values)) = fields.get_mut("enum") {
            values.push(Value::Null);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(choices)) = fields.get_mut(key) {
                choices.push(serde_json::json!({"type": "null"}));
            }
        }
    }
    for (key, value) in fields {
        match (key.as_str(), value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(named),
            ) => {
                named.values_mut().for_each(understand);
            }
            ("allOf" | "anyOf" | "oneOf" | "prefixItems" | "items", Value::Array(list)) => {
                list.iter_mut().for_each(understand);
            }
            (
                "items"
                | "additionalItems"
                | "additionalProperties"
                | "contains"
                | "propertyNames"
                | "not"
                | "if"
                | "then"
                | "else"
                | "unevaluatedItems"
                | "unevaluatedProperties",
                value,
            ) => understand(value),
            _ => {}
        }
    }
}

const VERTEX_TYPES: [&str; 7] = ["STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL"];

/// What is no JSON, and where that shows. A fence around it is what models do most.
fn no_json(text: &str, error: &serde_json::Error) -> String {
    if text.trim_start().starts_with("```") {
        return "not JSON but a block of Markdown".to_owned();
    }
    short(&format!("not JSON: {error}"), FAULT_CHARS_MAX)
}

/// What breaks which rule where, without the value that does.
fn violation(error: &ValidationError<'_>) -> String {
    let pointer = error.instance_path().as_str();
    let reason = match error.kind() {
        ValidationErrorKind::FalseSchema => "nothing may be here".to_owned(),
        _ => error.masked().to_string(),
    };
    let mut letters = reason.chars();
    let reason: String = letters.next().iter().flat_map(|it| it.to_lowercase()).chain(letters).collect();
    let text = match pointer {
        "" => reason,
        _ => format!("at {}: {reason}", short(pointer, POINTER_CHARS_MAX)),
    };
    short(&text, FAULT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vertex_chat::{Message, Tool};

    use super::*;

    fn asked(format: ResponseFormat) -> Checks {
        Checks::of(&ChatRequest::without_model([Message::user("x")]).with_response_format(format)).unwrap()
    }

    fn of_schema(schema: &str) -> Result<Checks, CheckError> {
        let format = ResponseFormat::json_schema("x", schema.parse().unwrap());
        Checks::of(&ChatRequest::without_model([Message::user("x")]).with_response_format(format))
    }

    #[track_caller]
    fn check_fault(schema: &str, answer: &str, expected: &str) {
        assert_eq!(of_schema(schema).unwrap().json_fault(Some(answer)).as_deref(), Some(expected));
    }

    #[track_caller]
    fn check_refused(schema: &str, expected: &str) {
        let error = of_schema(schema).unwrap_err();
        assert_eq!(error.path, "response_format.json_schema.schema");
        assert_eq!(error.to_string(), format!("`response_format.json_schema.schema`: {expected}"));
    }

    #[test]
    fn nothing_is_said_where_no_json_was_asked_for() {
        assert_eq!(asked(ResponseFormat::text()).json_fault(Some("x")), None);
        let plain = Checks::of(&ChatRequest::without_model([Message::user("x")])).unwrap();
        assert_eq!(plain.json_fault(None), None);
        assert!(!plain.is_json());
    }

    #[test]
    fn a_json_object_is_any_object_and_nothing_else() {
        let checks = asked(ResponseFormat::json_object());
        assert_eq!(checks.json_fault(Some(" {\"a\": 1}\n")).as_deref(), Some(""));
        assert_eq!(checks.json_fault(Some("[1]")).as_deref(), Some("not a JSON object"));
        assert_eq!(checks.json_fault(None).as_deref(), Some("there is no text"));
        assert_eq!(
            checks.json_fault(Some("{\"a\": }")).as_deref(),
            Some("not JSON: expected value at line 1 column 7")
        );
        assert_eq!(
            checks.json_fault(Some("```json\n{}\n```")).as_deref(),
            Some("not JSON but a block of Markdown")
        );
    }

    #[test]
    fn violations_have_a_pointer_and_no_value() {
        let schema = r#"{"type":"object","properties":{"a":{"type":"array","items":{"enum":["x","y"]}},"b":{"type":"string","maxLength":3}},"required":["a"],"additionalProperties":false}"#;
        check_fault(schema, r#"{"a":["x"],"b":"abc"}"#, "");
        check_fault(schema, r#"{"a":["x","canary"]}"#, r#"at /a/1: value is not one of "x" or "y""#);
        check_fault(schema, r#"{"a":[],"b":"canary"}"#, "at /b: value is longer than 3 characters");
        check_fault(schema, "{}", r#""a" is a required property"#);
        check_fault(schema, "5", r#"value is not of type "object""#);
        check_fault(r#"{"properties":{"a/b":false}}"#, r#"{"a/b":1}"#, "at /a~1b: nothing may be here");
        check_fault(
            schema,
            r#"{"a":[],"c":1}"#,
            "additional properties are not allowed ('c' was unexpected)",
        );
    }

    #[test]
    fn what_is_said_is_short_and_on_one_line() {
        let name = "k\n".repeat(300);
        let answer = serde_json::json!({&name: {&name: 1}}).to_string();
        let schema = r#"{"additionalProperties":{"properties":{"a":{}},"additionalProperties":false}}"#;
        let fault = of_schema(schema).unwrap().json_fault(Some(&answer)).unwrap();
        assert_eq!(fault.chars().count(), FAULT_CHARS_MAX + 1);
        assert!(fault.contains("additional properties") && !fault.contains('\n'), "{fault}");
    }

    #[test]
    fn what_vertex_documents_is_understood() {
        let schema = r#"{"type":"OBJECT","properties":{"type":{"type":"STRING","nullable":true,"enum":["a"]},"nullable":{"type":"INTEGER"}}}"#;
        check_fault(schema, r#"{"type":null,"nullable":3}"#, "");
        check_fault(schema, r#"{"nullable":null}"#, r#"at /nullable: value is not of type "integer""#);
        check_fault(r#"{"anyOf":[{"type":"string"}],"nullable":true}"#, "null", "");
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        check_refused(
            r#"{"properties":{"a":{"type":"strin"}}}"#,
            "not a JSON Schema: at /properties/a/type: value is not valid under any of the schemas listed in the 'anyOf' \
             keyword; mend the schema",
        );
        check_refused(
            "5",
            r#"not a JSON Schema: value is not of types "boolean", "object"; mend the schema"#,
        );
        let long = format!("{{\"title\":\"{}\"}}", "x".repeat(SCHEMA_BYTES_MAX));
        assert!(of_schema(&long).unwrap_err().to_string().contains("may have 1048576; shorten it"));
        let pattern = r#"{"pattern":"(?:a{1000}){1000}"}"#;
        assert!(of_schema(pattern).is_err());
    }

    #[test]
    fn nothing_is_fetched_or_opened() {
        for target in [
            "https://example.com/schema.json",
            "http://127.0.0.1:1/x",
            "file:///etc/passwd",
            "other.json",
            "#/$defs/none",
        ] {
            let error = of_schema(&format!(r#"{{"$ref":"{target}"}}"#)).unwrap_err().to_string();
            assert!(error.contains("put what it refers to into its `$defs`"), "{error}");
        }
        assert!(of_schema(r#"{"$schema":"https://example.com/meta"}"#).is_err());
        check_fault(r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"null"}}}"##, "null", "");
    }

    #[test]
    fn schemas_without_end_come_to_one() {
        let deep = format!("{}{}", "[".repeat(120), "]".repeat(120));
        check_fault(r##"{"type":"array","items":{"$ref":"#"}}"##, &deep, "");
        for schema in [
            r##"{"$ref":"#"}"##,
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"anyOf":[{"$ref":"#"},{"$dynamicRef":"#"}]}"##,
        ] {
            if let Ok(checks) = of_schema(schema) {
                let _ = checks.json_fault(Some("{}"));
            }
        }
    }

    #[test]
    fn a_pattern_that_never_ends_is_a_fault() {
        let checks = of_schema(r#"{"pattern":"^(?=(a+)+$)(\\1)+b"}"#).unwrap();
        let answer = format!("\"{}\"", "a".repeat(40));
        assert_ne!(checks.json_fault(Some(&answer)).as_deref(), Some(""));
    }

    #[test]
    fn calls_are_checked_by_the_tools_there_are() {
        let schema = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
        let weather = Tool::function("weather").with_parameters(schema.parse().unwrap());
        let custom: Tool =
            vertex_chat::types::from_str(r#"{"type":"custom","custom":{"name":"shell"}}"#).unwrap();
        let request = ChatRequest::without_model([Message::user("x")])
            .with_tools([weather, Tool::function("time"), custom])
            .with_functions([FunctionDefinition::new("old")]);
        let checks = Checks::of(&request).unwrap();
        let check = |tool: &str, arguments: &str, expected: &str| {
            assert_eq!(checks.arguments_fault(tool, arguments), expected, "{tool} {arguments}");
        };
        check("weather", r#"{"city":"Paris"}"#, "");
        check("weather", r#"{"city":5}"#, r#"at /city: value is not of type "string""#);
        check("weather", "", r#""city" is a required property"#);
        check("weather", "{", "not JSON: EOF while parsing an object at line 1 column 1");
        check("time", "", "");
        check("time", "[]", "not a JSON object");
        check("shell", "ls -l", "");
        check("old", "{}", "");
        check("wether", "{}", "the request has no tool of this name");
        let broken = Tool::function("f").with_parameters(r#"{"type":5}"#.parse().unwrap());
        let request = ChatRequest::without_model([Message::user("x")]).with_tools([broken]);
        assert_eq!(Checks::of(&request).unwrap_err().path, "tools[0].function.parameters");
    }

    #[test]
    fn checks_can_be_shared() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Checks>();
    }

    proptest! {
        #[test]
        fn nothing_panics(
            schema in r##"\{"(type|items|\$ref|enum|pattern|nullable|properties|anyOf)":["\[\]{}:,#/a-z0-9$^+*()\\]{0,12}\}"##,
            answer in r#"["\[\]{}:,a-z0-9\\ ]{0,20}"#,
        ) {
            if let Ok(schema) = schema.parse() {
                let format = ResponseFormat::json_schema("x", schema);
                if let Ok(checks) = Checks::of(&ChatRequest::default().with_response_format(format)) {
                    let fault = checks.json_fault(Some(&answer)).unwrap();
                    prop_assert!(fault.chars().count() <= FAULT_CHARS_MAX + 1);
                }
            }
        }
    }
}
