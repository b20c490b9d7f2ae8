//! Instances of OpenAPI schemas: the smallest, the largest, and one for each alternative on the way.

use serde_json::{Map, Value, json};

/// The word that no enumeration lists.
pub const UNLISTED: &str = "no-such-word";

/// One instance, and what it is an instance of.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The value.
    pub value: Value,
    /// What sets it apart from the largest instance.
    pub about: String,
    /// Whether some word in it is [`UNLISTED`].
    pub unlisted: bool,
}

/// Makes instances of the schemas of one document.
#[derive(Debug)]
pub struct Instances {
    document: Value,
    /// Whether places are filled that the schema leaves open: any value, any object.
    pub open: bool,
    /// Whether words are swapped for one that no enumeration lists.
    pub unlisted: bool,
}

impl Instances {
    /// Of this document.
    #[must_use]
    pub fn new(document: Value) -> Self {
        Self { document, open: true, unlisted: false }
    }

    /// The names of the document's schemas.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let schemas = self.document["components"]["schemas"].as_object().expect("schemas");
        schemas.keys().cloned().collect()
    }

    /// The instances of the schema of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> Vec<Instance> {
        self.instances(&self.document["components"]["schemas"][name])
    }

    /// The instances of a schema; the first is the largest. Empty when the schema is open and open places are not
    /// filled.
    fn instances(&self, schema: &Value) -> Vec<Instance> {
        let schema = &self.resolved(schema);
        if let Some(words) = schema["enum"].as_array() {
            return self.words(words);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(alternatives) = schema[key].as_array() {
                let mut found = Vec::new();
                let takes_any_word =
                    alternatives.iter().any(|it| it["type"] == "string" && it["enum"].is_null());
                for alternative in alternatives.iter().filter(|it| it["type"] != "null") {
                    // A list of words beside any string is advice.
                    if takes_any_word && !alternative["enum"].is_null() {
                        continue;
                    }
                    found.extend(self.instances(alternative));
                }
                return found;
            }
        }
        match schema["type"].as_str() {
            Some("object") => self.objects(schema),
            None if schema["properties"].is_object() => self.objects(schema),
            Some("array") => self.arrays(schema),
            Some("string") => vec![one(json!("text \u{e9} \"quoted\" \n line"))],
            Some("integer") => {
                let least = schema["minimum"].as_f64().filter(|it| *it > -1e9).unwrap_or(3.0);
                #[allow(clippy::cast_possible_truncation, reason = "small numbers")]
                let least = least as i64;
                vec![one(json!(least.max(1)))]
            }
            Some("number") => vec![one(json!(0.5))],
            Some("boolean") => vec![one(json!(true)), one(json!(false)).about("false")],
            Some(other) => panic!("a type {other} that this does not know: {schema}"),
            None if self.open => vec![one(json!({"open": [1, 2.50, null]}))],
            None => Vec::new(),
        }
    }

    fn words(&self, words: &[Value]) -> Vec<Instance> {
        if self.unlisted {
            let mut word = one(json!(UNLISTED)).about("an unlisted word");
            word.unlisted = true;
            return vec![one(words[0].clone()), word];
        }
        words.iter().map(|word| one(word.clone()).about(&word.to_string())).collect()
    }

    fn objects(&self, schema: &Value) -> Vec<Instance> {
        let empty = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&empty);
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if properties.is_empty() {
            let values = &schema["additionalProperties"];
            if values.is_object() && values.as_object().is_some_and(|it| !it.is_empty()) {
                let inside = self.instances(values);
                return inside.into_iter().map(|it| it.inside(|value| json!({"a key": value}), "")).collect();
            }
            return if self.open {
                vec![one(json!({"b": 1.50, "a": {"type": "string"}}))]
            } else {
                Vec::new()
            };
        }
        let mut largest = Map::new();
        let mut others: Vec<(&str, Instance)> = Vec::new();
        for (name, property) in properties {
            let mut inside = self.instances(property).into_iter();
            let Some(first) = inside.next() else {
                assert!(!required.contains(&name.as_str()), "{name} is required and open");
                continue;
            };
            largest.insert(name.clone(), first.value);
            others.extend(inside.map(|it| (name.as_str(), it)));
            if required.contains(&name.as_str()) && self.is_nullable(property) {
                others.push((name, one(Value::Null).about("null")));
            }
        }
        let mut found = vec![one(Value::Object(largest.clone())).about("the largest")];
        let mut least = largest.clone();
        least.retain(|name, _| required.contains(&name.as_str()));
        found.push(one(Value::Object(least)).about("the smallest"));
        for (name, other) in others {
            let with = |value| {
                let mut object = largest.clone();
                object.insert(name.to_owned(), value);
                Value::Object(object)
            };
            found.push(other.inside(with, name));
        }
        found
    }

    fn arrays(&self, schema: &Value) -> Vec<Instance> {
        let items = self.instances(&schema["items"]);
        if items.is_empty() {
            return vec![one(json!([]))];
        }
        let mut found: Vec<Instance> =
            items.iter().cloned().map(|it| it.inside(|value| json!([value]), "[]")).collect();
        let all: Vec<Value> = items.iter().filter(|it| !it.unlisted).map(|it| it.value.clone()).collect();
        found.push(one(Value::Array(all)).about("all items"));
        if schema["minItems"].as_u64().unwrap_or(0) == 0 {
            found.push(one(json!([])).about("no items"));
        }
        found
    }

    fn is_nullable(&self, schema: &Value) -> bool {
        let schema = self.resolved(schema);
        schema["nullable"] == true
            || ["oneOf", "anyOf"]
                .iter()
                .any(|key| schema[*key].as_array().is_some_and(|it| it.iter().any(|it| it["type"] == "null")))
    }

    /// The schema behind references, with what `allOf` adds.
    fn resolved(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.strip_prefix("#/components/schemas/").expect("a reference to a schema");
            return self.resolved(&self.document["components"]["schemas"][name]);
        }
        let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
        let mut whole = json!({"type": "object", "properties": {}, "required": []});
        for part in parts {
            let part = self.resolved(part);
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                whole["properties"][name] = property.clone();
            }
            let required = whole["required"].as_array_mut().expect("a list");
            required.extend(part["required"].as_array().into_iter().flatten().cloned());
            if part["properties"].is_null() {
                return part;
            }
        }
        whole
    }
}

fn one(value: Value) -> Instance {
    Instance { value, about: String::new(), unlisted: false }
}

impl Instance {
    fn about(mut self, about: &str) -> Self {
        about.clone_into(&mut self.about);
        self
    }

    fn inside(self, wrap: impl FnOnce(Value) -> Value, name: &str) -> Self {
        let about = if self.about.is_empty() { name.to_owned() } else { format!("{name}/{}", self.about) };
        Self { value: wrap(self.value), about, unlisted: self.unlisted }
    }
}
