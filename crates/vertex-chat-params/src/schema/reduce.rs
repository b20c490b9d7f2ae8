//! From a schema as it was written to one that Gemini takes.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use super::intersect::both;
use super::node::{Fields, Node};
use super::{
    SCHEMA_BYTES_MAX, SCHEMA_CHANGES_MAX, SCHEMA_DEPTH_MAX, SCHEMA_NODES_MAX, SchemaChange, SchemaError,
};
use crate::Dialect;
use crate::steps::Share;

/// The longest path of a change that is told, in bytes.
const PATH_BYTES_MAX: usize = 256;
/// What reducing one part costs beside its keywords, in steps: it takes several times as long as copying it.
const REDUCE_STEPS: usize = 4;
/// How often a reference may be followed below a schema into which it was merged: what is beside it may use it too.
const MERGED_AGAIN_MAX: usize = 2;

/// Reduces a schema; `None` when nothing had to change.
pub(super) fn reduce(
    root: &Node,
    dialect: Dialect,
    share: &mut Share<'_>,
) -> Result<Option<(Node, Vec<SchemaChange>)>, SchemaError> {
    let mut reducer = Reducer {
        root,
        dialect,
        share,
        changes: Vec::new(),
        changed: false,
        nodes: 0,
        bytes: 0,
        depth: 0,
        untold: 0,
        untold_narrows: false,
        inside: vec!["#".to_owned()],
        merged: Vec::new(),
    };
    let reduced = reducer.reduce(root, &mut Path::default())?;
    if !reducer.changed {
        return Ok(None);
    }
    if reducer.untold > 0 {
        let what = "there are more changes than are told of";
        let narrows = reducer.untold_narrows;
        reducer.changes.push(SchemaChange { path: String::new(), what, narrows });
    }
    Ok(Some((reduced, reducer.changes)))
}

/// Where the reducer is.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    /// The path of a keyword here, cut to a length that a person reads.
    fn with(&self, key: &str) -> String {
        let mut path = String::new();
        for segment in self.0.iter().map(String::as_str).chain([key]).filter(|it| !it.is_empty()) {
            if path.len() > PATH_BYTES_MAX {
                break;
            }
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(segment);
        }
        if path.len() > PATH_BYTES_MAX {
            let end = (0..=PATH_BYTES_MAX).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
            path.truncate(end);
            path.push('…');
        }
        path
    }
}

/// `#/$defs/Name`, `#` for the whole, and `#Name` for an anchor.
fn resolve<'a>(
    root: &'a Node,
    reference: &str,
    share: &mut Share<'_>,
) -> Result<Option<&'a Node>, SchemaError> {
    let Some(pointer) = reference.strip_prefix('#').and_then(percent_decoded) else { return Ok(None) };
    if pointer.is_empty() {
        return Ok(Some(root));
    }
    if !pointer.starts_with('/') {
        return anchored(root, &pointer, share);
    }
    let mut node = root;
    for segment in pointer.split('/').skip(1) {
        // A field is found by looking at all of them.
        share.take(1 + node.entries().len() / 8)?;
        let name = segment.replace("~1", "/").replace("~0", "~");
        let next = match node {
            Node::Array(items) => name.parse::<usize>().ok().and_then(|place| items.get(place)),
            node => node.get(&name),
        };
        match next {
            Some(next) => node = next,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// The schema with this anchor, wherever it is.
fn anchored<'a>(
    node: &'a Node,
    anchor: &str,
    share: &mut Share<'_>,
) -> Result<Option<&'a Node>, SchemaError> {
    share.take(1)?;
    if node.get("$anchor").and_then(Node::as_text) == Some(anchor) {
        return Ok(Some(node));
    }
    for inside in node.entries().iter().map(|(_, it)| it).chain(node.items()) {
        if let Some(found) = anchored(inside, anchor, share)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
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

struct Reducer<'a, 'b, 'c> {
    root: &'a Node,
    dialect: Dialect,
    share: &'b mut Share<'c>,
    changes: Vec<SchemaChange>,
    changed: bool,
    nodes: usize,
    bytes: usize,
    /// How deep the reducer is, references that are followed included.
    depth: usize,
    /// Changes that are not told of, and whether one of them lets less through.
    untold: usize,
    untold_narrows: bool,
    /// The references of which the reducer is inside.
    inside: Vec<String>,
    /// The references whose schemas were merged into one that the reducer is inside of.
    merged: Vec<String>,
}

impl Reducer<'_, '_, '_> {
    fn note(&mut self, path: &Path, key: &str, what: &'static str) {
        self.tell(path, key, what, false);
    }

    fn tell(&mut self, path: &Path, key: &str, what: &'static str, narrows: bool) {
        self.changed = true;
        if self.changes.len() < SCHEMA_CHANGES_MAX {
            self.changes.push(SchemaChange { path: path.with(key), what, narrows });
        } else {
            self.untold += 1;
            self.untold_narrows |= narrows;
        }
    }

    /// A copy of a part that another part refers to, or that stands beside several. Copies multiply, so they are counted.
    fn copy(&mut self, node: &Node) -> Result<Node, SchemaError> {
        let copied = node.copy(self.share, &mut self.bytes)?;
        if self.bytes > SCHEMA_BYTES_MAX { Err(SchemaError::TooLarge) } else { Ok(copied) }
    }

    /// Whether following a reference here leads back to here.
    fn is_recursive(&self, reference: &str) -> bool {
        self.inside.iter().any(|it| it == reference)
            || self.merged.iter().filter(|it| *it == reference).count() >= MERGED_AGAIN_MAX
    }

    /// An open object, in the place of a reference that cannot be followed.
    fn open(&mut self, path: &Path, target: Option<&Node>) -> Node {
        let is_object = target.is_some_and(|it| it.get("type").and_then(Node::as_text) == Some("object"));
        match target {
            Some(_) => {
                let what = "the schema is inside of itself, and became an open object here";
                self.tell(path, "$ref", what, !is_object);
            }
            None => self.tell(path, "$ref", "the reference leads nowhere, and became an open object", true),
        }
        Node::open_object()
    }

    fn reduce(&mut self, schema: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        self.nodes += 1;
        self.share.take(REDUCE_STEPS + schema.entries().len())?;
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
                self.note(path, "", "`true` and `false` became a schema");
                Cow::Owned(Node::Object(Vec::new()))
            }
            // Not a schema at all; whoever reads it may say so.
            other => return Ok(other.clone()),
        };
        let mut out = Node::Object(Vec::new());
        let mut asides: Vec<String> = Vec::new();

        let mut nullable = schema.get("nullable").is_some_and(|it| it.is("true"));
        let mut types = self.types(&schema, path, &mut nullable);
        let mut choices = self.choices(&schema, path, &mut nullable)?;
        let words = self.words(&schema, path, &mut nullable, &mut types, &mut asides)?;

        // Several types are a choice between them.
        if types.len() > 1 {
            self.note(path, "type", "several types became `anyOf`");
            if choices.is_empty() {
                choices =
                    types.iter().map(|it| Node::Object(vec![("type".to_owned(), Node::text(it))])).collect();
                types.clear();
            }
        }
        if choices.len() == 1 {
            // One is left: it becomes one with what stands beside it.
            self.changed = true;
            let followed = self.merged.len();
            let only = self.flat(choices.remove(0), path, 0, &mut Vec::new())?;
            let mut beside = match schema {
                Cow::Borrowed(schema) => self.copy(schema)?,
                Cow::Owned(schema) => schema,
            };
            for key in ["anyOf", "oneOf", "nullable"] {
                beside.remove(key);
            }
            let merged = both(beside, only, self.share)?;
            let mut reduced = self.reduce(&merged, path)?;
            self.merged.truncate(followed);
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
                "exclusiveMinimum" | "exclusiveMaximum" if kind == "integer" && value.number().is_some() => {
                    let (name, limit) = inclusive(key, value.number().unwrap_or_default());
                    let own = schema.get(name).and_then(Node::number);
                    let is_tighter =
                        own.is_none_or(|own| if name == "minimum" { limit > own } else { limit < own });
                    self.note(path, key, "it became the limit that it means for an integer");
                    if is_tighter {
                        out.set(name, Node::integer(limit));
                    }
                }
                // A tighter limit may have been set already.
                key if self.is_kept(key)
                    && matches!(key, "minimum" | "maximum")
                    && out.get(key).is_some() => {}
                key if self.is_kept(key) => out.set(key, value.clone()),
                "properties" | "items" | "prefixItems" => {
                    self.note(path, key, "left out: it says nothing about this type");
                }
                _ => self.note(path, key, "left out: Gemini's schema has no such keyword"),
            }
        }
        if kind == "array" {
            let items = self.array_items(&schema, path)?;
            out.set("items", items);
        }
        if let Some(required) = schema.get("required") {
            self.required(required, path, &mut out)?;
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
        let target = resolve(self.root, reference, self.share)?;
        let Some(found) = target.filter(|_| !self.is_recursive(reference)) else {
            let open = self.open(path, target);
            return Ok(self.described(open, schema));
        };
        let mut target = self.copy(found)?;
        self.note(path, "$ref", "the reference was inlined");
        let mut beside = Vec::new();
        for (key, value) in schema.entries() {
            if !["$ref", "$defs", "definitions"].contains(&key.as_str()) {
                beside.push((key.clone(), self.copy(value)?));
            }
        }
        if matches!(target, Node::Object(_)) && beside.iter().all(|(key, _)| is_annotation(key)) {
            for (key, value) in beside {
                target.set(&key, value);
            }
        } else if !beside.is_empty() {
            let both = Node::Array(vec![target, Node::Object(beside)]);
            target = Node::Object(vec![("allOf".to_owned(), both)]);
        }
        self.inside.push(reference.to_owned());
        let reduced = self.reduce(&target, path)?;
        self.inside.pop();
        Ok(reduced)
    }

    /// An open object with the description of the schema whose place it takes.
    fn described(&self, mut open: Node, schema: &Node) -> Node {
        if let Some(Node::Text(description)) = schema.get("description") {
            open.set("description", Node::text(description));
        }
        open
    }

    /// What stands in `allOf` becomes one schema.
    fn merge_all(&mut self, schema: &Node, path: &mut Path) -> Result<Node, SchemaError> {
        self.note(path, "allOf", "its schemas became one");
        let followed = self.merged.len();
        let whole = self.copy(schema)?;
        let merged = self.flat(whole, path, 0, &mut Vec::new())?;
        let reduced = self.reduce(&merged, path)?;
        self.merged.truncate(followed);
        Ok(reduced)
    }

    /// A schema without a reference and `allOf` of its own; further down there may be some. `trail` has the references that
    /// are being followed at this place.
    fn flat(
        &mut self,
        mut schema: Node,
        path: &Path,
        depth: usize,
        trail: &mut Vec<String>,
    ) -> Result<Node, SchemaError> {
        self.nodes += 1;
        if depth > SCHEMA_DEPTH_MAX || self.nodes > SCHEMA_NODES_MAX {
            return Err(SchemaError::TooLarge);
        }
        if let Some(Node::Text(reference)) = schema.remove("$ref") {
            let target = resolve(self.root, &reference, self.share)?;
            let is_recursive = self.is_recursive(&reference) || trail.contains(&reference);
            let target = match target.filter(|_| !is_recursive) {
                None => self.open(path, target),
                Some(found) => {
                    let found = self.copy(found)?;
                    self.merged.push(reference.clone());
                    trail.push(reference);
                    let flat = self.flat(found, path, depth + 1, trail)?;
                    trail.pop();
                    flat
                }
            };
            schema = both(schema, target, self.share)?;
        }
        if let Some(Node::Array(parts)) = schema.remove("allOf") {
            for part in parts {
                let part = self.flat(part, path, depth + 1, trail)?;
                schema = both(schema, part, self.share)?;
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
                    self.note(path, "type", "the list of types became one type, and `nullable` for null");
                }
                kinds.iter().filter_map(Node::as_text).map(str::to_ascii_lowercase).collect()
            }
            _ => Vec::new(),
        };
        let mut types: Vec<String> = Vec::new();
        for name in named {
            if TYPES.contains(&name.as_str()) && !types.contains(&name) {
                types.push(name);
            }
        }
        if types.len() > 1 && types.iter().any(|it| it == "null") {
            types.retain(|it| it != "null");
            *nullable = true;
        }
        if types == ["null"] {
            // Gemini has no type of nothing but null.
            self.note(path, "type", "null became a text that may be null");
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
    fn choices(&mut self, schema: &Node, path: &Path, nullable: &mut bool) -> Result<Vec<Node>, SchemaError> {
        let mut choices = Vec::new();
        for key in ["anyOf", "oneOf"] {
            let Some(named) = schema.get(key) else { continue };
            if key == "oneOf" {
                if choices.is_empty() {
                    self.note(path, key, "`oneOf` became `anyOf`");
                } else {
                    self.note(path, key, "left out beside `anyOf`");
                    continue;
                }
            }
            let is_null = |it: &&Node| it.get("type").and_then(Node::as_text) == Some("null");
            if named.items().iter().any(|it| is_null(&it)) {
                self.note(path, key, "the choice of null became `nullable`");
                *nullable = true;
            }
            for choice in named.items().iter().filter(|it| !is_null(it)) {
                // Each level of choices is copied once; that is work, and no growth.
                choices.push(choice.copy(self.share, &mut 0)?);
            }
        }
        Ok(choices)
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
        let mut beside = Fields::of(Vec::new());
        let mut out = Node::Object(Vec::new());
        for (key, value) in schema.entries() {
            match key.as_str() {
                "anyOf" | "oneOf" | "nullable" | "$defs" | "definitions" => {}
                "type" => match types {
                    [] => {}
                    [kind] => beside.set("type".to_owned(), Node::text(kind)),
                    several => {
                        let several = several.iter().map(|it| Node::text(it)).collect();
                        beside.set("type".to_owned(), Node::Array(several));
                    }
                },
                key if is_annotation(key) => {
                    if self.is_kept(key) {
                        out.set(key, self.copy(value)?);
                    } else {
                        self.note(path, key, "left out: Gemini's schema has no such keyword");
                    }
                }
                key => beside.set(key.to_owned(), self.copy(value)?),
            }
        }
        let beside = (!beside.is_empty()).then(|| beside.into_node());
        if beside.is_some() {
            self.note(path, "anyOf", "what stands beside the choice went into each");
        }
        let mut reduced = Vec::with_capacity(choices.len());
        for (i, choice) in choices.into_iter().enumerate() {
            path.0.push(format!("anyOf[{i}]"));
            let followed = self.merged.len();
            let choice = match &beside {
                None => choice,
                Some(beside) => {
                    let beside = self.copy(beside)?;
                    let choice = self.flat(choice, path, 0, &mut Vec::new())?;
                    both(beside, choice, self.share)?
                }
            };
            reduced.push(self.reduce(&choice, path)?);
            self.merged.truncate(followed);
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
    ) -> Result<Option<Node>, SchemaError> {
        let (key, values) = match (schema.get("const"), schema.get("enum")) {
            (Some(value), _) => ("const", std::slice::from_ref(value)),
            (None, Some(Node::Array(values))) if !values.is_empty() => ("enum", values.as_slice()),
            _ => return Ok(None),
        };
        self.share.take(values.len())?;
        let is_null = |it: &Node| it.is("null");
        // Gemini refuses an empty text among the words.
        let is_word = |it: &&Node| it.as_text().is_some_and(|it| !it.is_empty());
        let texts: Vec<Node> = values.iter().filter(is_word).cloned().collect();
        let has_empty = values.iter().any(|it| it.as_text() == Some(""));
        let others = values.iter().any(|it| it.as_text().is_none() && !is_null(it));
        let may_be_text = types.is_empty() || types.iter().any(|it| it == "string");
        if has_empty && !others && may_be_text {
            self.note(path, key, "the empty text, which Gemini refuses as a word, went into the description");
            asides.push("or an empty text".to_owned());
            if texts.is_empty() {
                *nullable |= values.iter().any(is_null);
                *types = vec!["string".to_owned()];
                return Ok(None);
            }
        }
        if others || texts.is_empty() || !may_be_text {
            self.note(path, key, "values that are no texts went into the description");
            if let (true, Some(kind)) = (types.is_empty(), shared_type(values)) {
                types.push(kind.to_owned());
            }
            let shown: Vec<String> = values.iter().map(Node::shown).collect();
            asides.push(format!("one of {}", shown.join(", ")));
            *nullable |= values.iter().any(is_null);
            return Ok(None);
        }
        if values.iter().any(is_null) {
            self.note(path, key, "the value null became `nullable`");
            *nullable = true;
        }
        if key == "const" {
            self.note(path, key, "`const` became an `enum` of one");
        }
        *types = vec!["string".to_owned()];
        Ok(Some(Node::Array(texts)))
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
            self.tell(path, "type", what, true);
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
            self.note(path, "format", "the format went into the description");
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
                    self.tell(path, "", "items of no stated type are taken for texts", true);
                    Node::Object(vec![("type".to_owned(), Node::text("string"))])
                }
            }
        } else {
            let closed = rest.is_some_and(|it| it.is("false") || matches!(it, Node::Object(_)));
            let mut kinds = Vec::with_capacity(tuple.len() + 1);
            for kind in tuple.iter().chain(rest.filter(|it| matches!(it, Node::Object(_)))) {
                kinds.push(self.copy(kind)?);
            }
            // Items beyond the tuple could be anything.
            self.tell(path, "", "a tuple became a list of any of its items", !closed);
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
    fn required(&mut self, required: &Node, path: &Path, out: &mut Node) -> Result<(), SchemaError> {
        let properties = out.get("properties").map(Node::entries).unwrap_or_default();
        self.share.take(properties.len() + required.items().len())?;
        let described: HashSet<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
        let known = |it: &Node| it.as_text().is_some_and(|name| described.contains(name));
        let kept: Vec<Node> = required.items().iter().filter(|it| known(it)).cloned().collect();
        if kept.len() != required.items().len() {
            self.note(path, "required", "names of properties that are not described were left out");
        }
        if !kept.is_empty() || required.items().is_empty() {
            out.set("required", Node::Array(kept));
        }
        Ok(())
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
/// The limit of an integer that an exclusive one means.
fn inclusive(key: &str, limit: f64) -> (&'static str, f64) {
    match key {
        "exclusiveMinimum" => ("minimum", limit.floor() + 1.0),
        _ => ("maximum", limit.ceil() - 1.0),
    }
}
