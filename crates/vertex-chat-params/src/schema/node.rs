//! A schema as a tree that keeps the order of keys and the spelling of numbers.

use std::collections::HashMap;

use vertex_chat_types::Json;

use super::{SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SchemaError};
use crate::steps::Share;

/// How many bytes are read, copied or compared in one step.
const STEP_BYTES: usize = 64;

/// A schema, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Text(String),
    /// `true`, `false`, `null`, a number, or a text that is no Unicode.
    Scalar(Json),
}

impl Node {
    /// Reads a schema in one pass.
    pub(super) fn read(json: &Json, share: &mut Share<'_>) -> Result<Self, SchemaError> {
        let mut reader = Reader { text: json.as_str(), at: 0, nodes: 0, share };
        reader.value(0)
    }

    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn boolean(value: bool) -> Self {
        Self::Scalar(Json::from(value))
    }

    /// A number without a fraction.
    pub(super) fn integer(value: f64) -> Self {
        Self::Scalar(format!("{value:.0}").parse().expect("because it is a number"))
    }

    /// An object that may have any properties.
    pub(super) fn open_object() -> Self {
        Self::Object(vec![("type".to_owned(), Self::text("object"))])
    }

    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Scalar(json) if json.as_str() == word)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            // The last of two counts, as in most readers.
            Self::Object(entries) => {
                entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub(super) fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Scalar(json) => json.as_str().parse().ok(),
            _ => None,
        }
    }

    /// What equal values have in common, by the equality of JSON Schema: 1 and 1.0 are the same.
    pub(super) fn value_key(&self) -> String {
        match self.number() {
            // -0 and 0 are the same number.
            Some(number) => format!("{:?}", number + 0.0),
            None => self.shown(),
        }
    }

    /// Sets a field of an object that has few.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        let Self::Object(entries) = self else { return };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key.to_owned(), value)),
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Object(entries) = self else { return None };
        let mut removed = None;
        entries.retain_mut(|(name, value)| {
            let is_it = name == key;
            if is_it {
                removed = Some(std::mem::replace(value, Self::Array(Vec::new())));
            }
            !is_it
        });
        removed
    }

    /// Puts the fields in the order that they had in the schema that they come from.
    pub(super) fn put_in_order_of(&mut self, schema: &Self) {
        let Self::Object(entries) = self else { return };
        let place = |key: &str| schema.entries().iter().position(|(name, _)| name == key);
        entries.sort_by_cached_key(|(key, _)| match key.as_str() {
            "enum" => place("enum").or_else(|| place("const")).unwrap_or(usize::MAX),
            "anyOf" => place("anyOf").or_else(|| place("oneOf")).unwrap_or(usize::MAX),
            // A type that was not named comes first.
            "type" => place("type").unwrap_or(0),
            key => place(key).unwrap_or(usize::MAX),
        });
    }

    pub(super) fn write(&self, out: &mut String) {
        match self {
            Self::Scalar(json) => out.push_str(json.as_str()),
            Self::Text(text) => out.push_str(Json::from(text.as_str()).as_str()),
            Self::Array(items) => {
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
                    out.push_str(Json::from(key.as_str()).as_str());
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The value as JSON, for a description.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    /// A copy, paid for in steps; its size in bytes, about, is added to `bytes`.
    pub(super) fn copy(&self, share: &mut Share<'_>, bytes: &mut usize) -> Result<Self, SchemaError> {
        let own = match self {
            Self::Scalar(json) => json.as_str().len(),
            Self::Text(text) => text.len() + 2,
            Self::Array(items) => items.len() + 2,
            Self::Object(entries) => entries.iter().map(|(key, _)| key.len() + 4).sum::<usize>() + 2,
        };
        *bytes += own;
        share.take(1 + own / STEP_BYTES)?;
        Ok(match self {
            Self::Scalar(json) => Self::Scalar(json.clone()),
            Self::Text(text) => Self::Text(text.clone()),
            Self::Array(items) => {
                Self::Array(items.iter().map(|it| it.copy(share, bytes)).collect::<Result<_, _>>()?)
            }
            Self::Object(entries) => {
                let mut copied = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    copied.push((key.clone(), value.copy(share, bytes)?));
                }
                Self::Object(copied)
            }
        })
    }
}

/// An object that is put together from many fields: a field is found without looking at the others.
pub(super) struct Fields {
    entries: Vec<(String, Node)>,
    places: HashMap<String, usize>,
}

impl Fields {
    /// The fields of an object. Of two of one name the last counts, as for [`Node::get`].
    pub(super) fn of(entries: Vec<(String, Node)>) -> Self {
        let mut fields = Self { entries: Vec::with_capacity(entries.len()), places: HashMap::new() };
        for (key, value) in entries {
            fields.set(key, value);
        }
        fields
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let place = *self.places.get(key)?;
        Some(&mut self.entries[place].1)
    }

    pub(super) fn set(&mut self, key: String, value: Node) {
        match self.places.get(&key) {
            Some(place) => self.entries[*place].1 = value,
            None => {
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn into_node(self) -> Node {
        Node::Object(self.entries)
    }
}

/// A reader of a text that is known to be JSON.
struct Reader<'a, 'b, 'c> {
    text: &'a str,
    at: usize,
    nodes: usize,
    share: &'b mut Share<'c>,
}

impl<'a> Reader<'a, '_, '_> {
    fn value(&mut self, depth: usize) -> Result<Node, SchemaError> {
        self.nodes += 1;
        // Twice as deep as schemas may be: a level of a schema is two of JSON.
        if depth > 2 * SCHEMA_DEPTH_MAX || self.nodes > SCHEMA_NODES_MAX {
            return Err(SchemaError::TooLarge);
        }
        self.share.take(1)?;
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut entries = Vec::new();
                while self.peek() != Some(b'}') && self.at < self.text.len() {
                    let raw = self.string();
                    let key = decoded(raw).ok_or(SchemaError::Unreadable)?;
                    self.skip(b':');
                    entries.push((key, self.value(depth + 1)?));
                    self.skip(b',');
                }
                self.at += 1;
                Ok(Node::Object(entries))
            }
            Some(b'[') => {
                self.at += 1;
                let mut items = Vec::new();
                while self.peek() != Some(b']') && self.at < self.text.len() {
                    items.push(self.value(depth + 1)?);
                    self.skip(b',');
                }
                self.at += 1;
                Ok(Node::Array(items))
            }
            Some(b'"') => {
                let raw = self.string();
                self.share.take(raw.len() / STEP_BYTES)?;
                // A lone surrogate is no text; it stays as it is written.
                decoded(raw).map_or_else(|| scalar(raw), |text| Ok(Node::Text(text)))
            }
            _ => {
                let rest = &self.text[self.at..];
                let end = rest.find([',', ']', '}', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
                self.at += end;
                scalar(&rest[..end])
            }
        }
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let blanks = self.text.as_bytes()[self.at..].iter().take_while(|it| it.is_ascii_whitespace()).count();
        self.at += blanks;
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip(&mut self, separator: u8) {
        if self.peek() == Some(separator) {
            self.at += 1;
        }
    }

    /// The next string, with its quotes.
    fn string(&mut self) -> &'a str {
        self.peek();
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        while let Some(byte) = bytes.get(at) {
            match byte {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = (at + 1).min(bytes.len());
        &self.text[start..self.at]
    }
}

/// The text that a JSON string stands for; `None` if it has a lone surrogate.
fn decoded(raw: &str) -> Option<String> {
    if raw.contains('\\') {
        return serde_json::from_str(raw).ok();
    }
    Some(raw.get(1..raw.len() - 1)?.to_owned())
}

fn scalar(raw: &str) -> Result<Node, SchemaError> {
    raw.parse().map(Node::Scalar).map_err(|_| SchemaError::Unreadable)
}
