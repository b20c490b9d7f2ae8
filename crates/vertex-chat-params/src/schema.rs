//! JSON Schema to the part of it that Gemini takes.
//!
//! Gemini's `Schema` is OpenAPI 3.0's with a few fields more. What it does not have is inlined, put in its words, or left
//! out. Leaving a keyword out lets more values through than before, never fewer; the few rules that let fewer through
//! say so ([`SchemaChange::narrows`]).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use vertex_chat_types::{Extra, Json};

use crate::Dialect;

/// How deep a schema may be once references are inlined.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// How many schemas there may be in one once references are inlined: a few references can stand for billions.
pub const SCHEMA_NODES_MAX: usize = 20_000;
/// How long a schema may be, and how much text inlining may add, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 1 << 20;
/// How many changes are told of; the rest is only done.
pub const SCHEMA_CHANGES_MAX: usize = 64;

/// What was done to a schema in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaChange {
    /// Where, from the root of the schema: `properties.city.oneOf`.
    pub path: String,
    /// What.
    pub what: &'static str,
    /// Whether values that were good are no longer.
    pub narrows: bool,
}

/// Why a schema cannot be reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaError {
    /// A schema that is inside of itself, at this path.
    Recursive(String),
    /// A reference that leads nowhere, at this path.
    Dangling(String),
    /// More than [`SCHEMA_DEPTH_MAX`] levels, [`SCHEMA_NODES_MAX`] schemas or [`SCHEMA_BYTES_MAX`] bytes.
    TooLarge,
    /// Not an object.
    NotAnObject,
    /// A key that is no text: a lone surrogate.
    Unreadable,
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recursive(path) => {
                write!(f, "the schema at `{path}` is inside of itself, which Gemini cannot do")
            }
            Self::Dangling(path) => write!(f, "the reference at `{path}` leads nowhere"),
            Self::TooLarge => write!(
                f,
                "the schema has more than {SCHEMA_DEPTH_MAX} levels, {SCHEMA_NODES_MAX} parts or {SCHEMA_BYTES_MAX} bytes \
                 once references are inlined"
            ),
            Self::NotAnObject => f.write_str("the schema is not an object"),
            Self::Unreadable => f.write_str("the schema has a key that is no text"),
        }
    }
}

impl std::error::Error for SchemaError {}

impl SchemaError {
    /// Where in the schema; empty for the whole.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Recursive(path) | Self::Dangling(path) => path,
            Self::TooLarge | Self::NotAnObject | Self::Unreadable => "",
        }
    }
}

/// Reduces a schema to what Gemini takes. `None` when nothing had to change, so that the text can stay as it is.
///
/// ```
/// use vertex_chat_params::{Dialect, reduce_schema};
///
/// let schema = r##"{"type":"object","properties":{"c":{"$ref":"#/$defs/C"}},"$defs":{"C":{"const":"red"}}}"##.parse()?;
/// let (reduced, changes) = reduce_schema(&schema, Dialect::VertexGemini3)?.expect("it has a reference");
/// assert_eq!(reduced.as_str(), r#"{"type":"object","properties":{"c":{"type":"string","enum":["red"]}}}"#);
/// assert!(changes.iter().all(|change| !change.narrows));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`SchemaError`].
pub fn reduce_schema(
    schema: &Json,
    dialect: Dialect,
) -> Result<Option<(Json, Vec<SchemaChange>)>, SchemaError> {
    if schema.as_str().len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError::TooLarge);
    }
    let root = Node::read(schema, 0, &mut 0)?;
    let Node::Object(_) = root else { return Err(SchemaError::NotAnObject) };
    let mut references =
        References { root: &root, dialect, inside: vec!["#".to_owned()], done: BTreeSet::new(), nodes: 0 };
    references.follow(&root, &mut Path::default())?;
    let mut reducer = Reducer {
        root: &root,
        dialect,
        changes: Vec::new(),
        changed: false,
        nodes: 0,
        bytes: 0,
        depth: 0,
        untold: 0,
    };
    let reduced = reducer.reduce(&root, &mut Path::default())?;
    if !reducer.changed {
        return Ok(None);
    }
    if reducer.untold > 0 {
        let what = "there are more changes than are told of";
        reducer.changes.push(SchemaChange { path: String::new(), what, narrows: false });
    }
    let mut text = String::with_capacity(schema.as_str().len());
    reduced.write(&mut text);
    let json = text.parse().expect("because it is written from JSON");
    Ok(Some((json, reducer.changes)))
}

/// A schema, read so that the order of keys and the spelling of numbers are kept.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Text(String),
    /// `true`, `false`, `null` or a number.
    Scalar(Json),
}

impl Node {
    fn read(json: &Json, depth: usize, count: &mut usize) -> Result<Self, SchemaError> {
        *count += 1;
        // Twice as deep as schemas may be: a level of a schema is two of JSON.
        if depth > 2 * SCHEMA_DEPTH_MAX || *count > SCHEMA_NODES_MAX {
            return Err(SchemaError::TooLarge);
        }
        Ok(match json.as_str().as_bytes().first() {
            Some(b'{') => {
                let fields: Extra = json.parse_as().map_err(|_| SchemaError::Unreadable)?;
                let mut read =
                    |(key, value): (&str, &Json)| Ok((key.to_owned(), Self::read(value, depth + 1, count)?));
                Self::Object(fields.iter().map(&mut read).collect::<Result<_, _>>()?)
            }
            Some(b'[') => {
                let items: Vec<Json> = json.parse_as().map_err(|_| SchemaError::Unreadable)?;
                Self::Array(
                    items.iter().map(|item| Self::read(item, depth + 1, count)).collect::<Result<_, _>>()?,
                )
            }
            // A lone surrogate is no text; it stays as it is written.
            Some(b'"') => json.to_text().map_or_else(|| Self::Scalar(json.clone()), Self::Text),
            _ => Self::Scalar(json.clone()),
        })
    }

    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn boolean(value: bool) -> Self {
        Self::Scalar(Json::from(value))
    }

    fn is(&self, word: &str) -> bool {
        matches!(self, Self::Scalar(json) if json.as_str() == word)
    }

    fn get(&self, key: &str) -> Option<&Self> {
        match self {
            // The last of two counts, as in most readers.
            Self::Object(entries) => {
                entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    fn entries(&self) -> &[(String, Self)] {
        match self {
            Self::Object(entries) => entries,
            _ => &[],
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Scalar(json) => json.as_str().parse().ok(),
            _ => None,
        }
    }

    /// Equal as JSON Schema has it: 1 and 1.0 are the same.
    fn same_value(&self, other: &Self) -> bool {
        self == other || (self.number().is_some() && self.number() == other.number())
    }

    fn set(&mut self, key: &str, value: Self) {
        let Self::Object(entries) = self else { return };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key.to_owned(), value)),
        }
    }

    fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Object(entries) = self else { return None };
        let mut removed = None;
        while let Some(at) = entries.iter().position(|(name, _)| name == key) {
            removed = Some(entries.remove(at).1);
        }
        removed
    }

    /// Puts the fields in the order that they had in the schema that they come from.
    fn put_in_order_of(&mut self, schema: &Self) {
        let Self::Object(entries) = self else { return };
        let place = |key: &str| schema.entries().iter().position(|(name, _)| name == key);
        entries.sort_by_key(|(key, _)| match key.as_str() {
            "enum" => place("enum").or_else(|| place("const")).unwrap_or(usize::MAX),
            "anyOf" => place("anyOf").or_else(|| place("oneOf")).unwrap_or(usize::MAX),
            // A type that was not named comes first.
            "type" => place("type").unwrap_or(0),
            key => place(key).unwrap_or(usize::MAX),
        });
    }

    fn write(&self, out: &mut String) {
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

    /// Its size in bytes, about.
    fn weight(&self) -> usize {
        match self {
            Self::Scalar(json) => json.as_str().len(),
            Self::Text(text) => text.len() + 2,
            Self::Array(items) => items.iter().map(|it| it.weight() + 1).sum::<usize>() + 2,
            Self::Object(entries) => {
                entries.iter().map(|(key, it)| key.len() + it.weight() + 4).sum::<usize>() + 2
            }
        }
    }

    /// The value in a few words, for a description.
    fn shown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }
}

/// Where the reducer is.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn with(&self, key: &str) -> String {
        let mut path = self.0.join(".");
        if !path.is_empty() && !key.is_empty() {
            path.push('.');
        }
        path + key
    }
}

/// Follows all references once, to find those that lead nowhere or back to where they are.
struct References<'a> {
    root: &'a Node,
    dialect: Dialect,
    /// The references that are being followed.
    inside: Vec<String>,
    /// Those that were, to a good end.
    done: BTreeSet<String>,
    nodes: usize,
}

impl References<'_> {
    fn follow(&mut self, schema: &Node, path: &mut Path) -> Result<(), SchemaError> {
        self.nodes += 1;
        if path.0.len() > 4 * SCHEMA_DEPTH_MAX
            || self.inside.len() > SCHEMA_DEPTH_MAX
            || self.nodes > SCHEMA_NODES_MAX
        {
            return Err(SchemaError::TooLarge);
        }
        if let Some(Node::Text(reference)) = schema.get("$ref") {
            if self.inside.contains(reference) {
                return Err(SchemaError::Recursive(path.with("")));
            }
            if !self.done.contains(reference) {
                let target = resolve(self.root, reference);
                let target = target.ok_or_else(|| SchemaError::Dangling(path.with("$ref")))?;
                self.inside.push(reference.clone());
                self.follow(target, path)?;
                self.inside.pop();
                self.done.insert(reference.clone());
            }
        }
        for (key, value) in schema.entries() {
            match key.as_str() {
                "properties" => {
                    path.0.push(key.clone());
                    for (name, property) in value.entries() {
                        path.0.push(name.clone());
                        self.follow(property, path)?;
                        path.0.pop();
                    }
                    path.0.pop();
                }
                "items" | "prefixItems" | "additionalItems" | "anyOf" | "oneOf" | "allOf" => {
                    for (i, item) in value.items().iter().enumerate() {
                        path.0.push(format!("{key}[{i}]"));
                        self.follow(item, path)?;
                        path.0.pop();
                    }
                    if let Node::Object(_) = value {
                        path.0.push(key.clone());
                        self.follow(value, path)?;
                        path.0.pop();
                    }
                }
                "additionalProperties" if self.dialect.is_vertex() => {
                    path.0.push(key.clone());
                    self.follow(value, path)?;
                    path.0.pop();
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// `#/$defs/Name`, `#` for the whole, and `#Name` for an anchor.
fn resolve<'a>(root: &'a Node, reference: &str) -> Option<&'a Node> {
    let pointer = percent_decoded(reference.strip_prefix('#')?)?;
    if pointer.is_empty() {
        return Some(root);
    }
    if !pointer.starts_with('/') {
        return anchored(root, &pointer);
    }
    pointer.split('/').skip(1).try_fold(root, |node, segment| {
        let name = segment.replace("~1", "/").replace("~0", "~");
        match node {
            Node::Array(items) => items.get(name.parse::<usize>().ok()?),
            node => node.get(&name),
        }
    })
}

/// The schema with this anchor, wherever it is.
fn anchored<'a>(node: &'a Node, anchor: &str) -> Option<&'a Node> {
    if node.get("$anchor").and_then(Node::as_text) == Some(anchor) {
        return Some(node);
    }
    let inside = node.entries().iter().map(|(_, it)| it).chain(node.items());
    inside.filter_map(|it| anchored(it, anchor)).next()
}

/// The fragment of a URL as text; `None` when it is no UTF-8.
fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|it| std::str::from_utf8(it).ok());
        let coded = hex.filter(|_| *first == b'%').and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.push(coded.unwrap_or(*first));
        rest = if coded.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

/// What Gemini's `Schema` has and is left as it is.
const KEPT: [&str; 12] = [
    "description",
    "minItems",
    "maxItems",
    "propertyOrdering",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "example",
];
/// What Gemini's `Schema` has on Vertex, and the Developer API refuses.
const KEPT_ON_VERTEX: [&str; 2] = ["title", "default"];

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];

struct Reducer<'a> {
    root: &'a Node,
    dialect: Dialect,
    changes: Vec<SchemaChange>,
    changed: bool,
    nodes: usize,
    bytes: usize,
    /// How deep the reducer is, references that are followed included.
    depth: usize,
    /// Changes that are not told of.
    untold: usize,
}

impl Reducer<'_> {
    fn note(&mut self, path: String, what: &'static str) {
        self.tell(path, what, false);
    }

    fn tell(&mut self, path: String, what: &'static str, narrows: bool) {
        self.changed = true;
        // What narrows is always told.
        if narrows || self.changes.len() < SCHEMA_CHANGES_MAX {
            self.changes.push(SchemaChange { path, what, narrows });
        } else {
            self.untold += 1;
        }
    }

    /// Counts what is about to be copied.
    fn weigh(&mut self, node: &Node) -> Result<(), SchemaError> {
        self.bytes += node.weight();
        if self.bytes > SCHEMA_BYTES_MAX { Err(SchemaError::TooLarge) } else { Ok(()) }
    }

    fn reduce(&mut self, schema: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        self.nodes += 1;
        if path.0.len() > 2 * SCHEMA_DEPTH_MAX
            || self.depth > 2 * SCHEMA_DEPTH_MAX
            || self.nodes > SCHEMA_NODES_MAX
        {
            return Err(SchemaError::TooLarge);
        }
        self.depth += 1;
        let reduced = self.reduce_one(schema, path);
        self.depth -= 1;
        reduced
    }

    fn reduce_one(&mut self, schema: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        if let Some(Node::Text(reference)) = schema.get("$ref") {
            return self.inline(schema, reference, path);
        }
        if schema.get("allOf").is_some() {
            return self.merge_all(schema, path);
        }
        let schema = match schema {
            Node::Object(_) => Cow::Borrowed(schema),
            it if it.is("true") || it.is("false") => {
                self.note(path.with(""), "`true` and `false` became a schema");
                Cow::Owned(Node::Object(Vec::new()))
            }
            // Not a schema at all; whoever reads it may say so.
            other => return Ok(other.clone()),
        };
        let mut out = Node::Object(Vec::new());
        let mut asides: Vec<String> = Vec::new();

        let mut nullable = schema.get("nullable").is_some_and(|it| it.is("true"));
        let mut types = self.types(&schema, path, &mut nullable);
        let mut choices = self.choices(&schema, path, &mut nullable);
        let words = self.words(&schema, path, &mut nullable, &mut types, &mut asides);

        // Several types are a choice between them.
        if types.len() > 1 {
            self.note(path.with("type"), "several types became `anyOf`");
            if choices.is_empty() {
                choices =
                    types.iter().map(|it| Node::Object(vec![("type".to_owned(), Node::text(it))])).collect();
                types.clear();
            }
        }
        if choices.len() == 1 {
            // One is left: it becomes one with what stands beside it.
            self.changed = true;
            let only = self.flat(choices.remove(0), path, 0)?;
            let mut beside = schema.into_owned();
            for key in ["anyOf", "oneOf", "nullable"] {
                beside.remove(key);
            }
            let mut reduced = self.reduce(&both(beside, only), path)?;
            if nullable {
                reduced.set("nullable", Node::boolean(true));
            }
            return Ok(reduced);
        }
        if !choices.is_empty() {
            return self.any_of(&schema, choices, &types, nullable, path);
        }

        let kind = match types.first() {
            Some(kind) => kind.clone(),
            None => self.kind_of(&schema, words.is_some(), path),
        };
        out.set("type", self.spelled(&schema, &kind));
        if let Some(words) = words {
            out.set("enum", words);
        }
        for (key, value) in schema.entries() {
            match key.as_str() {
                "type" | "enum" | "const" | "anyOf" | "oneOf" | "nullable" | "required" => {}
                "properties" if kind == "object" => out.set(key, self.properties(value, path)?),
                "items" | "prefixItems" if kind == "array" => {}
                "format" => self.format(value, &kind, path, &mut out, &mut asides),
                // What `patternProperties` lets through would now be additional.
                "additionalProperties"
                    if self.dialect.is_vertex() && schema.get("patternProperties").is_none() =>
                {
                    let reduced = match value {
                        Node::Object(_) => {
                            path.0.push(key.clone());
                            let reduced = self.reduce(value, path)?;
                            path.0.pop();
                            reduced
                        }
                        flag => flag.clone(),
                    };
                    out.set(key, reduced);
                }
                key if self.is_kept(key) => out.set(key, value.clone()),
                "properties" | "items" | "prefixItems" => {
                    self.note(path.with(key), "left out: it says nothing about this type");
                }
                _ => self.note(path.with(key), "left out: Gemini's schema has no such keyword"),
            }
        }
        if kind == "array" {
            let items = self.array_items(&schema, path)?;
            out.set("items", items);
        }
        if let Some(required) = schema.get("required") {
            self.required(required, path, &mut out);
        }
        if nullable {
            out.set("nullable", Node::boolean(true));
        }
        for aside in asides {
            let before = out.get("description").and_then(Node::as_text).unwrap_or_default();
            let description = if before.is_empty() { aside } else { format!("{before} ({aside})") };
            out.set("description", Node::Text(description));
        }
        out.put_in_order_of(&schema);
        self.changed |= out != *schema;
        Ok(out)
    }

    /// The schema behind a reference, with what stands beside it.
    fn inline(&mut self, schema: &Node, reference: &str, path: &mut Path) -> Result<Node, SchemaError> {
        let here = path.with("$ref");
        let Some(target) = resolve(self.root, reference) else { return Err(SchemaError::Dangling(here)) };
        self.weigh(target)?;
        let mut target = target.clone();
        self.note(here, "the reference was inlined");
        let beside = schema
            .entries()
            .iter()
            .filter(|(key, _)| !["$ref", "$defs", "definitions"].contains(&key.as_str()));
        let beside: Vec<(String, Node)> = beside.cloned().collect();
        if matches!(target, Node::Object(_)) && beside.iter().all(|(key, _)| is_annotation(key)) {
            for (key, value) in beside {
                target.set(&key, value);
            }
        } else if !beside.is_empty() {
            let both = Node::Array(vec![target, Node::Object(beside)]);
            target = Node::Object(vec![("allOf".to_owned(), both)]);
        }
        self.reduce(&target, path)
    }

    /// What stands in `allOf` becomes one schema.
    fn merge_all(&mut self, schema: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        self.note(path.with("allOf"), "its schemas became one");
        let merged = self.flat(schema.clone(), path, 0)?;
        self.reduce(&merged, path)
    }

    /// A schema without a reference and `allOf` of its own; further down there may be some.
    fn flat(&mut self, mut schema: Node, path: &Path, depth: usize) -> Result<Node, SchemaError> {
        self.nodes += 1;
        if depth > SCHEMA_DEPTH_MAX || self.nodes > SCHEMA_NODES_MAX {
            return Err(SchemaError::TooLarge);
        }
        if let Some(Node::Text(reference)) = schema.remove("$ref") {
            let target =
                resolve(self.root, &reference).ok_or_else(|| SchemaError::Dangling(path.with("$ref")))?;
            self.weigh(target)?;
            let target = self.flat(target.clone(), path, depth + 1)?;
            schema = both(schema, target);
        }
        if let Some(parts) = schema.remove("allOf") {
            for part in parts.items() {
                let part = self.flat(part.clone(), path, depth + 1)?;
                self.weigh(&schema)?;
                schema = both(schema, part);
            }
        }
        Ok(schema)
    }

    /// The types but for `null`, in lower case.
    fn types(&mut self, schema: &Node, path: &Path, nullable: &mut bool) -> Vec<String> {
        let named: Vec<String> = match schema.get("type") {
            Some(Node::Text(kind)) => vec![kind.to_ascii_lowercase()],
            Some(Node::Array(kinds)) => {
                if kinds.len() == 1 || kinds.iter().any(|it| it.as_text() == Some("null")) {
                    self.note(
                        path.with("type"),
                        "the list of types became one type, and `nullable` for null",
                    );
                }
                kinds.iter().filter_map(Node::as_text).map(str::to_ascii_lowercase).collect()
            }
            _ => Vec::new(),
        };
        let mut types: Vec<String> =
            named.iter().filter(|it| TYPES.contains(&it.as_str())).cloned().collect();
        if types.len() > 1 && types.iter().any(|it| it == "null") {
            types.retain(|it| it != "null");
            *nullable = true;
        }
        if types == ["null"] {
            // Gemini has no type of nothing but null.
            self.note(path.with("type"), "null became a text that may be null");
            *nullable = true;
            types = vec!["string".to_owned()];
        }
        types
    }

    /// The type as it was spelled: Gemini takes upper and lower case.
    fn spelled(&self, schema: &Node, kind: &str) -> Node {
        match schema.get("type") {
            Some(Node::Text(spelled)) if spelled.eq_ignore_ascii_case(kind) => Node::text(spelled),
            _ => Node::text(kind),
        }
    }

    /// The choices of `anyOf` and `oneOf`, without the one that is null.
    fn choices(&mut self, schema: &Node, path: &Path, nullable: &mut bool) -> Vec<Node> {
        let mut choices = Vec::new();
        for key in ["anyOf", "oneOf"] {
            let Some(named) = schema.get(key) else { continue };
            if key == "oneOf" {
                if choices.is_empty() {
                    self.note(path.with(key), "`oneOf` became `anyOf`");
                } else {
                    self.note(path.with(key), "left out beside `anyOf`");
                    continue;
                }
            }
            let is_null = |it: &&Node| it.get("type").and_then(Node::as_text) == Some("null");
            if named.items().iter().any(|it| is_null(&it)) {
                self.note(path.with(key), "the choice of null became `nullable`");
                *nullable = true;
            }
            choices.extend(named.items().iter().filter(|it| !is_null(it)).cloned());
        }
        choices
    }

    /// Whether Gemini's schema has a keyword, and takes it as it is.
    fn is_kept(&self, key: &str) -> bool {
        KEPT.contains(&key) || (KEPT_ON_VERTEX.contains(&key) && self.dialect.is_vertex())
    }

    /// A choice stands alone in Gemini's schema: what stands beside it goes into each choice.
    fn any_of(
        &mut self,
        schema: &Node,
        choices: Vec<Node>,
        types: &[String],
        nullable: bool,
        path: &mut Path,
    ) -> Result<Node, SchemaError> {
        let mut beside = Node::Object(Vec::new());
        let mut out = Node::Object(Vec::new());
        for (key, value) in schema.entries() {
            match key.as_str() {
                "anyOf" | "oneOf" | "nullable" | "$defs" | "definitions" => {}
                "type" => match types {
                    [] => {}
                    [kind] => beside.set("type", Node::text(kind)),
                    several => {
                        let several = several.iter().map(|it| Node::text(it)).collect();
                        beside.set("type", Node::Array(several));
                    }
                },
                key if is_annotation(key) => {
                    if self.is_kept(key) {
                        out.set(key, value.clone());
                    } else {
                        self.note(path.with(key), "left out: Gemini's schema has no such keyword");
                    }
                }
                key => beside.set(key, value.clone()),
            }
        }
        if !beside.entries().is_empty() {
            self.note(path.with("anyOf"), "what stands beside the choice went into each");
        }
        let mut reduced = Vec::with_capacity(choices.len());
        for (i, choice) in choices.into_iter().enumerate() {
            path.0.push(format!("anyOf[{i}]"));
            let choice = if beside.entries().is_empty() {
                choice
            } else {
                self.weigh(&beside)?;
                both(beside.clone(), self.flat(choice, path, 0)?)
            };
            reduced.push(self.reduce(&choice, path)?);
            path.0.pop();
        }
        out.set("anyOf", Node::Array(reduced));
        if nullable {
            out.set("nullable", Node::boolean(true));
        }
        out.put_in_order_of(schema);
        self.changed |= out != *schema;
        Ok(out)
    }

    /// The words of `enum` and `const`. Gemini has lists of texts; what is none becomes a remark.
    fn words(
        &mut self,
        schema: &Node,
        path: &Path,
        nullable: &mut bool,
        types: &mut Vec<String>,
        asides: &mut Vec<String>,
    ) -> Option<Node> {
        let (key, values) = match (schema.get("const"), schema.get("enum")) {
            (Some(value), _) => ("const", vec![value.clone()]),
            (None, Some(Node::Array(values))) if !values.is_empty() => ("enum", values.clone()),
            _ => return None,
        };
        let is_null = |it: &Node| it.is("null");
        let texts: Vec<Node> = values.iter().filter(|it| it.as_text().is_some()).cloned().collect();
        let others = values.iter().any(|it| it.as_text().is_none() && !is_null(it));
        let may_be_text = types.is_empty() || types.iter().any(|it| it == "string");
        if others || texts.is_empty() || !may_be_text {
            self.note(path.with(key), "values that are no texts went into the description");
            if let (true, Some(kind)) = (types.is_empty(), shared_type(&values)) {
                types.push(kind.to_owned());
            }
            let shown: Vec<String> = values.iter().map(Node::shown).collect();
            asides.push(format!("one of {}", shown.join(", ")));
            *nullable |= values.iter().any(is_null);
            return None;
        }
        if values.iter().any(is_null) {
            self.note(path.with(key), "the value null became `nullable`");
            *nullable = true;
        }
        if key == "const" {
            self.note(path.with(key), "`const` became an `enum` of one");
        }
        *types = vec!["string".to_owned()];
        Some(Node::Array(texts))
    }

    /// The type of a schema that names none.
    fn kind_of(&mut self, schema: &Node, has_words: bool, path: &Path) -> String {
        let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
        // A keyword of one type says nothing about values of others, which the schema took as well.
        let (kind, what) = if has_words {
            ("string", "")
        } else if has(&["properties", "required", "additionalProperties"]) {
            ("object", "it is taken for an object, by its keywords")
        } else if has(&["items", "prefixItems", "minItems", "maxItems"]) {
            ("array", "it is taken for an array, by its keywords")
        } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
            ("number", "it is taken for a number, by its keywords")
        } else {
            ("string", "it names no type and is taken for a text")
        };
        if !what.is_empty() {
            self.tell(path.with("type"), what, true);
        }
        kind.to_owned()
    }

    fn properties(&mut self, properties: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        let mut out = Vec::with_capacity(properties.entries().len());
        path.0.push("properties".to_owned());
        for (name, property) in properties.entries() {
            path.0.push(name.clone());
            out.push((name.clone(), self.reduce(property, path)?));
            path.0.pop();
        }
        path.0.pop();
        Ok(Node::Object(out))
    }

    fn format(&mut self, value: &Node, kind: &str, path: &Path, out: &mut Node, asides: &mut Vec<String>) {
        let format = value.as_text().unwrap_or_default();
        let taken = match kind {
            "string" => ["enum", "date-time"].contains(&format),
            "integer" => ["int32", "int64"].contains(&format),
            "number" => ["float", "double"].contains(&format),
            _ => false,
        };
        if taken {
            out.set("format", value.clone());
        } else {
            self.note(path.with("format"), "the format went into the description");
            if !format.is_empty() {
                asides.push(format!("format: {format}"));
            }
        }
    }

    fn array_items(&mut self, schema: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        // A tuple, in the words of 2020-12 or of draft 7.
        let old_tuple = schema.get("items").filter(|it| matches!(it, Node::Array(_)));
        let tuple = schema.get("prefixItems").or(old_tuple).map(Node::items).unwrap_or_default();
        let rest = match schema.get("items") {
            Some(Node::Array(_)) => schema.get("additionalItems"),
            other => other,
        };
        path.0.push("items".to_owned());
        let items = if tuple.is_empty() {
            match rest {
                Some(rest @ Node::Object(_)) => self.reduce(rest, path)?,
                _ => {
                    self.tell(path.with(""), "items of no stated type are taken for texts", true);
                    Node::Object(vec![("type".to_owned(), Node::text("string"))])
                }
            }
        } else {
            let closed = rest.is_some_and(|it| it.is("false") || matches!(it, Node::Object(_)));
            let mut kinds: Vec<Node> = tuple.to_vec();
            kinds.extend(rest.filter(|it| matches!(it, Node::Object(_))).cloned());
            // Items beyond the tuple could be anything.
            self.tell(path.with(""), "a tuple became a list of any of its items", !closed);
            let mut known = BTreeSet::new();
            let mut distinct: Vec<Node> =
                kinds.into_iter().filter(|kind| known.insert(kind.shown())).collect();
            let any = match distinct.len() {
                1 => distinct.remove(0),
                _ => Node::Object(vec![("anyOf".to_owned(), Node::Array(distinct))]),
            };
            self.reduce(&any, path)?
        };
        path.0.pop();
        Ok(items)
    }

    /// Gemini wants a required property to be one that is described.
    fn required(&mut self, required: &Node, path: &Path, out: &mut Node) {
        let known = |it: &Node| {
            it.as_text().is_some_and(|name| out.get("properties").is_some_and(|it| it.get(name).is_some()))
        };
        let kept: Vec<Node> = required.items().iter().filter(|it| known(it)).cloned().collect();
        if kept.len() != required.items().len() {
            self.note(path.with("required"), "names of properties that are not described were left out");
        }
        if !kept.is_empty() || required.items().is_empty() {
            out.set("required", Node::Array(kept));
        }
    }
}

fn is_annotation(key: &str) -> bool {
    [
        "description",
        "title",
        "default",
        "example",
        "examples",
        "$comment",
        "$schema",
        "$id",
        "deprecated",
        "readOnly",
        "writeOnly",
    ]
    .contains(&key)
}

/// The type that all values have, when they have one.
fn shared_type(values: &[Node]) -> Option<&'static str> {
    let type_of = |value: &Node| match value {
        Node::Text(_) => "string",
        Node::Object(_) => "object",
        Node::Array(_) => "array",
        it if it.is("true") || it.is("false") => "boolean",
        it if it.is("null") => "null",
        Node::Scalar(json) if json.as_str().contains(['.', 'e', 'E']) => "number",
        Node::Scalar(_) => "integer",
    };
    let mut types: Vec<&str> = values.iter().map(type_of).filter(|it| *it != "null").collect();
    types.dedup();
    match types.as_slice() {
        [one] => Some(one),
        [] => None,
        many if many.iter().all(|it| ["integer", "number"].contains(it)) => Some("number"),
        _ => None,
    }
}

/// One schema that takes at least what both take. Where they cannot be put together, the first one's word stands, which
/// lets more through than both.
fn both(first: Node, second: Node) -> Node {
    if !matches!(first, Node::Object(_)) {
        return second;
    }
    let Node::Object(entries) = second else { return first };
    let mut out = first;
    for (key, value) in entries {
        let Some(own) = out.get(&key).cloned() else {
            out.set(&key, value);
            continue;
        };
        if own == value {
            continue;
        }
        let together = match key.as_str() {
            "properties" | "$defs" | "definitions" => {
                let mut all = own;
                for (name, property) in value.entries() {
                    let property = match all.get(name) {
                        Some(known) if known != property => Node::Object(vec![(
                            "allOf".to_owned(),
                            Node::Array(vec![known.clone(), property.clone()]),
                        )]),
                        _ => property.clone(),
                    };
                    all.set(name, property);
                }
                all
            }
            "required" => {
                let mut all = own.items().to_vec();
                let known: BTreeSet<String> = all.iter().map(Node::shown).collect();
                all.extend(value.items().iter().filter(|name| !known.contains(&name.shown())).cloned());
                Node::Array(all)
            }
            "enum" => {
                let shared: Vec<Node> = own
                    .items()
                    .iter()
                    .filter(|it| value.items().iter().any(|other| it.same_value(other)))
                    .cloned()
                    .collect();
                if shared.is_empty() { own } else { Node::Array(shared) }
            }
            "minimum" | "minItems" | "minLength" | "minProperties" => {
                if value.number() > own.number() {
                    value
                } else {
                    own
                }
            }
            "maximum" | "maxItems" | "maxLength" | "maxProperties" => {
                if value.number() < own.number() {
                    value
                } else {
                    own
                }
            }
            // `type` with a list on one side: what both name.
            "type" => {
                let names = |it: &Node| match it {
                    Node::Array(items) => items.clone(),
                    one => vec![one.clone()],
                };
                let others = names(&value);
                let shared: Vec<Node> = names(&own)
                    .into_iter()
                    .filter_map(|it| match (it.as_text(), others.contains(&it)) {
                        (_, true) => Some(it),
                        // Every integer is a number.
                        (Some("number"), _) if others.contains(&Node::text("integer")) => {
                            Some(Node::text("integer"))
                        }
                        (Some("integer"), _) if others.contains(&Node::text("number")) => Some(it),
                        _ => None,
                    })
                    .collect();
                match shared.len() {
                    0 => own,
                    1 => shared.into_iter().next().unwrap_or(own),
                    _ => Node::Array(shared),
                }
            }
            "nullable" => Node::boolean(own.is("true") && value.is("true")),
            _ => own,
        };
        out.set(&key, together);
    }
    out
}
