//! A value that satisfies a JSON Schema: small, the same every time, properties in the schema's order.

use vertex_chat_types::Json;

/// How deep a value may be. Of what would be deeper, and of a reference inside of itself, nothing is made.
const DEPTH_MAX: usize = 32;
/// How deep a schema is read. What is deeper counts as null.
const SCHEMA_DEPTH_MAX: usize = 128;
/// How many values are made for one schema.
const VALUES_MAX: usize = 10_000;

/// A schema, read so that the order of its keys is kept.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Null,
    Bool(bool),
    /// A number in its own spelling.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn read(text: &str, depth: usize) -> Option<Self> {
        if depth > SCHEMA_DEPTH_MAX {
            return Some(Self::Null);
        }
        let text = text.trim();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let mut entries = Vec::new();
                let map: OrderedMap = serde_json::from_str(text).ok()?;
                for (key, value) in map.0 {
                    entries.push((key, Self::read(value.as_str(), depth + 1)?));
                }
                Self::Object(entries)
            }
            b'[' => {
                let list: Vec<Json> = serde_json::from_str(text).ok()?;
                Self::List(
                    list.iter().map(|item| Self::read(item.as_str(), depth + 1)).collect::<Option<_>>()?,
                )
            }
            b'"' => Self::Text(serde_json::from_str(text).ok()?),
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'n' => Self::Null,
            _ => Self::Number(text.to_owned()),
        })
    }

    fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.parse().ok(),
            _ => None,
        }
    }

    fn count(&self) -> Option<usize> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count in a schema, bounded below"
        )]
        self.number().map(|it| it.clamp(0.0, 10_000.0) as usize)
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(it) => out.push_str(if *it { "true" } else { "false" }),
            Self::Number(it) => out.push_str(it),
            Self::Text(it) => out.push_str(&serde_json::to_string(it).expect("because a string is JSON")),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    Self::Text(key.clone()).write(out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// A map in its own order. `Extra` is one, and any object reads as an object that has nothing else.
struct OrderedMap(Vec<(String, Json)>);

impl<'de> serde::Deserialize<'de> for OrderedMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = OrderedMap;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<OrderedMap, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(OrderedMap(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// JSON text that satisfies the schema. `word` is what strings say where the schema leaves them free. Keywords that only
/// a solver could satisfy (`pattern`, `not`, `if`) are passed over.
pub(crate) fn instance(schema: &Json, word: &str) -> String {
    let mut out = String::new();
    match Node::read(schema.as_str(), 0) {
        Some(root) => {
            let mut maker = Maker { root: &root, word, inside: Vec::new(), made: 0 };
            maker.make(&root, 0).unwrap_or(Node::Null).write(&mut out);
        }
        None => out.push_str("{}"),
    }
    out
}

struct Maker<'a> {
    root: &'a Node,
    word: &'a str,
    /// The references that are being followed.
    inside: Vec<String>,
    /// How many values there are already.
    made: usize,
}

impl Maker<'_> {
    /// A value of this schema; `None` when it would be too deep.
    fn make(&mut self, schema: &Node, depth: usize) -> Option<Node> {
        if depth > DEPTH_MAX || self.made >= VALUES_MAX {
            return None;
        }
        self.made += 1;
        if let Some(reference) = schema.get("$ref").and_then(Node::text) {
            if self.inside.iter().any(|it| it == reference) {
                return None;
            }
            let target = self.resolve(reference)?.clone();
            self.inside.push(reference.to_owned());
            let made = self.make(&target, depth + 1);
            self.inside.pop();
            return made;
        }
        if let Some(value) = schema.get("const") {
            return Some(value.clone());
        }
        if let Some(first) = schema.get("enum").and_then(Node::list).and_then(<[Node]>::first) {
            return Some(first.clone());
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(keyword).and_then(Node::list) {
                return choices.iter().find_map(|choice| self.make(choice, depth + 1));
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Node::list) {
            let merged = merge(schema, parts, |reference| self.resolve(reference));
            return self.make(&merged, depth + 1);
        }
        let kind = match schema.get("type") {
            Some(Node::Text(kind)) => kind.to_ascii_lowercase(),
            // `["string", "null"]`: the first that says something.
            Some(Node::List(kinds)) => {
                let said = kinds.iter().filter_map(Node::text).find(|kind| *kind != "null");
                said.unwrap_or("null").to_ascii_lowercase()
            }
            _ if schema.get("properties").is_some() => "object".to_owned(),
            _ if schema.get("items").is_some() => "array".to_owned(),
            _ => "string".to_owned(),
        };
        match kind.as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "integer" => Some(Node::Number(number(schema, true))),
            "number" => Some(Node::Number(number(schema, false))),
            "boolean" => Some(Node::Bool(true)),
            "null" => Some(Node::Null),
            _ => Some(Node::Text(self.string(schema))),
        }
    }

    fn object(&mut self, schema: &Node, depth: usize) -> Option<Node> {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Node::list)
            .into_iter()
            .flatten()
            .filter_map(Node::text)
            .collect();
        let mut entries = Vec::new();
        if let Some(Node::Object(properties)) = schema.get("properties") {
            for (name, property) in properties {
                match self.make(property, depth + 1) {
                    Some(value) => entries.push((name.clone(), value)),
                    None if required.contains(&name.as_str()) => return None,
                    None => {}
                }
            }
        }
        for name in required {
            if !entries.iter().any(|(known, _)| known == name) {
                let free = Node::Object(Vec::new());
                let rest = schema
                    .get("additionalProperties")
                    .filter(|it| matches!(it, Node::Object(_)))
                    .unwrap_or(&free);
                entries.push((name.to_owned(), self.make(rest, depth + 1)?));
            }
        }
        Some(Node::Object(entries))
    }

    fn array(&mut self, schema: &Node, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        for item in schema.get("prefixItems").and_then(Node::list).into_iter().flatten() {
            items.push(self.make(item, depth + 1)?);
        }
        let least = schema.get("minItems").and_then(Node::count).unwrap_or(0);
        let most = schema.get("maxItems").and_then(Node::count).unwrap_or(usize::MAX);
        let free = Node::Object(Vec::new());
        let each = schema.get("items").filter(|it| matches!(it, Node::Object(_))).unwrap_or(&free);
        let wanted = least.max(1).min(most);
        while items.len() < wanted {
            match self.make(each, depth + 1) {
                Some(item) => items.push(distinct(item, items.len(), schema)),
                None if items.len() >= least => break,
                None => return None,
            }
        }
        Some(Node::List(items))
    }

    fn string(&self, schema: &Node) -> String {
        let text = match schema.get("format").and_then(Node::text) {
            Some("date-time") => "2026-01-01T00:00:00Z",
            Some("date") => "2026-01-01",
            Some("time") => "00:00:00Z",
            Some("email") => "someone@example.com",
            Some("uri" | "url") => "https://example.com/",
            Some("uuid") => "00000000-0000-4000-8000-000000000000",
            Some("ipv4") => "127.0.0.1",
            Some("ipv6") => "::1",
            _ => self.word,
        };
        let least = schema.get("minLength").and_then(Node::count).unwrap_or(0);
        let most = schema.get("maxLength").and_then(Node::count).unwrap_or(usize::MAX);
        let filler = std::iter::repeat('x');
        let wanted = text.chars().count().max(least).min(most);
        text.chars().chain(filler).take(wanted).collect()
    }

    /// `#/$defs/Name`, and `#` for the whole.
    fn resolve(&self, reference: &str) -> Option<&Node> {
        let path = reference.strip_prefix('#')?;
        let mut segments = path.split('/').skip(1);
        segments.try_fold(self.root, |node, segment| {
            let name = segment.replace("~1", "/").replace("~0", "~");
            match node {
                Node::List(items) => items.get(name.parse::<usize>().ok()?),
                node => node.get(&name),
            }
        })
    }
}

/// `uniqueItems` wants more than the same value again.
fn distinct(item: Node, position: usize, schema: &Node) -> Node {
    match item {
        Node::Text(text) if position > 0 && schema.get("uniqueItems") == Some(&Node::Bool(true)) => {
            Node::Text(format!("{text}{position}"))
        }
        Node::Number(number) if position > 0 && schema.get("uniqueItems") == Some(&Node::Bool(true)) => {
            #[expect(clippy::cast_precision_loss, reason = "a position in a short list")]
            let next = number.parse::<f64>().unwrap_or(0.0) + position as f64;
            Node::Number(next.to_string())
        }
        item => item,
    }
}

/// The schema with what stands in `allOf` taken into it.
fn merge<'a>(schema: &Node, parts: &'a [Node], resolve: impl Fn(&str) -> Option<&'a Node>) -> Node {
    let Node::Object(entries) = schema else { return schema.clone() };
    let mut merged: Vec<(String, Node)> = entries.iter().filter(|(key, _)| key != "allOf").cloned().collect();
    for part in parts {
        let part = part.get("$ref").and_then(Node::text).and_then(&resolve).unwrap_or(part);
        let Node::Object(entries) = part else { continue };
        for (key, value) in entries {
            match (merged.iter_mut().find(|(known, _)| known == key), value) {
                (Some((_, Node::Object(known))), Node::Object(more)) => known.extend(more.iter().cloned()),
                (Some((_, Node::List(known))), Node::List(more)) => known.extend(more.iter().cloned()),
                (Some(_), _) => {}
                (None, value) => merged.push((key.clone(), value.clone())),
            }
        }
    }
    Node::Object(merged)
}

/// A number within the bounds: the least, or 1, or the most.
fn number(schema: &Node, whole: bool) -> String {
    let bound = |key: &str| schema.get(key).and_then(Node::number);
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let small = if whole { 1.0 } else { 0.5 };
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum").map(|it| it + small));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum").map(|it| it - small));
    let mut value = least.unwrap_or(1.0);
    if let Some(step) = step {
        value = (value / step).ceil() * step;
    }
    if whole {
        value = value.ceil();
    }
    if most.is_some_and(|most| value > most) {
        value = most.map_or(value, |most| if whole { most.floor() } else { most });
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &str, expected: &str) {
        let made = instance(&schema.parse().unwrap(), "text");
        assert_eq!(made, expected);
    }

    #[test]
    fn properties_come_in_the_schemas_order() {
        check(
            r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer","minimum":7}}}"#,
            r#"{"z":"text","a":7}"#,
        );
    }

    #[test]
    fn every_keyword_that_can_be_satisfied_is() {
        check(r#"{"enum":["b","a"]}"#, r#""b""#);
        check(r#"{"const":{"k":1.10}}"#, r#"{"k":1.10}"#);
        check(r#"{"type":["null","boolean"]}"#, "true");
        check(r#"{"type":"STRING","minLength":6}"#, r#""textxx""#);
        check(r#"{"type":"string","maxLength":2}"#, r#""te""#);
        check(r#"{"type":"number","exclusiveMaximum":1}"#, "0.5");
        check(r#"{"type":"integer","minimum":5,"multipleOf":4}"#, "8");
        check(r#"{"type":"array","items":{"type":"integer"},"minItems":2,"uniqueItems":true}"#, "[1,2]");
        check(r#"{"type":"array","maxItems":0}"#, "[]");
        check(r#"{"anyOf":[{"type":"boolean"},{"type":"string"}]}"#, "true");
        check(
            r##"{"$defs":{"T":{"type":"boolean"}},"type":"object","properties":{"t":{"$ref":"#/$defs/T"}}}"##,
            r#"{"t":true}"#,
        );
        check(
            r#"{"allOf":[{"type":"object","properties":{"a":{"type":"boolean"}}},{"properties":{"b":{"type":"null"}}}]}"#,
            r#"{"a":true,"b":null}"#,
        );
        check(r#"{"type":"object","required":["x"]}"#, r#"{"x":"text"}"#);
    }

    #[test]
    fn a_cycle_ends() {
        check(
            r##"{"$defs":{"N":{"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#/$defs/N"}},"required":["v"]}},"$ref":"#/$defs/N"}"##,
            r#"{"v":1}"#,
        );
        check(r##"{"type":"array","items":{"$ref":"#"}}"##, "[[]]");
        check(r##"{"$ref":"#"}"##, "null");
    }
}
