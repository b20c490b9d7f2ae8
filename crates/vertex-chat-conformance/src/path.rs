//! Paths into JSON, as cases write them: `body.choices[0].message.content|json.answer`.
//!
//! | part | goes |
//! |---|---|
//! | `name` | into a member of an object; names are cut at `.`, `[` and `\|` |
//! | `[2]`, `[-1]` | to an item of an array, from its end if negative |
//! | `[*]` | to every item of an array |
//! | `\|json` | into the JSON text that a string holds |
//! | `\|length` | to the length of a string in characters, or of an array or object |
//! | `\|keys` | to the names of an object's members |

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

/// The most places that one path finds; further ones are left out.
pub const PLACES_MAX: usize = 10_000;

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<Hop>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hop {
    Member(String),
    Item(i64),
    Every,
    Json,
    Length,
    Keys,
}

/// What a path leads to; no value where there is nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place<'a> {
    /// The path without `*`.
    pub(crate) path: String,
    pub(crate) value: Option<Cow<'a, Value>>,
}

impl Place<'_> {
    pub(crate) fn value(&self) -> Option<&Value> {
        self.value.as_deref()
    }
}

impl Path {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut hops = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = |from: &str| from.find(['.', '[', '|']).unwrap_or(from.len());
            if let Some(after) = rest.strip_prefix('[') {
                let Some((inside, after)) = after.split_once(']') else {
                    return Err(format!("`{text}`: a `[` without its `]`"));
                };
                hops.push(match inside {
                    "*" => Hop::Every,
                    number => {
                        Hop::Item(number.parse().map_err(|_| {
                            format!("`{text}`: `[{number}]` is neither a whole number nor `*`")
                        })?)
                    }
                });
                rest = after;
            } else if let Some(after) = rest.strip_prefix('|') {
                let (word, after) = after.split_at(end(after));
                hops.push(match word {
                    "json" => Hop::Json,
                    "length" => Hop::Length,
                    "keys" => Hop::Keys,
                    other => return Err(format!("`{text}`: `|{other}` is not json, length or keys")),
                });
                rest = after;
            } else {
                let name = rest.strip_prefix('.').unwrap_or(rest);
                let (name, after) = name.split_at(end(name));
                if name.is_empty() {
                    return Err(format!("`{text}`: a name is missing"));
                }
                hops.push(Hop::Member(name.to_owned()));
                rest = after;
            }
        }
        if hops.is_empty() { Err("an empty path".to_owned()) } else { Ok(Self(hops)) }
    }

    /// The names that it begins with: the first two, as far as they are names.
    pub(crate) fn begins(&self) -> (Option<&str>, Option<&str>) {
        let name = |place: usize| match self.0.get(place) {
            Some(Hop::Member(name)) => Some(name.as_str()),
            _ => None,
        };
        (name(0), name(1))
    }

    /// All places that it leads to. Without a `*` that is one, be there something or not.
    pub(crate) fn places<'a>(&self, root: &'a Value) -> Vec<Place<'a>> {
        let mut places = vec![Place { path: String::new(), value: Some(Cow::Borrowed(root)) }];
        for hop in &self.0 {
            places = places.into_iter().flat_map(|place| hop.from(place)).take(PLACES_MAX).collect();
        }
        places
    }

    /// The one value that it leads to.
    pub(crate) fn find<'a>(&self, root: &'a Value) -> Option<Cow<'a, Value>> {
        self.places(root).into_iter().next().and_then(|place| place.value)
    }

    /// Does something to every place that there is, each in its parent: `edit(parent, last hop)`.
    pub(crate) fn edit(&self, root: &mut Value, edit: &mut dyn FnMut(&mut Value, &Step<'_>)) {
        let Some((last, way)) = self.0.split_last() else { return };
        walk(root, way, &mut |parent| match last {
            Hop::Member(name) => edit(parent, &Step::Member(name)),
            Hop::Item(position) => {
                if let Some(position) = position_in(parent, *position) {
                    edit(parent, &Step::Item(position));
                }
            }
            Hop::Every => {
                let length = parent.as_array().map_or(0, Vec::len);
                // From the end, so that items can be taken out.
                for position in (0..length).rev() {
                    edit(parent, &Step::Item(position));
                }
            }
            Hop::Json | Hop::Length | Hop::Keys => {}
        });
    }
}

/// The last step of a path that is edited.
pub(crate) enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

fn walk(value: &mut Value, way: &[Hop], edit: &mut dyn FnMut(&mut Value)) {
    let Some((hop, rest)) = way.split_first() else { return edit(value) };
    match hop {
        Hop::Member(name) => {
            if let Some(inside) = value.get_mut(name) {
                walk(inside, rest, edit);
            }
        }
        Hop::Item(position) => {
            let found = position_in(value, *position).and_then(|position| value.get_mut(position));
            if let Some(inside) = found {
                walk(inside, rest, edit);
            }
        }
        Hop::Every => {
            for inside in value.as_array_mut().into_iter().flatten() {
                walk(inside, rest, edit);
            }
        }
        Hop::Json | Hop::Length | Hop::Keys => {}
    }
}

fn position_in(value: &Value, position: i64) -> Option<usize> {
    let length = value.as_array()?.len();
    let found = if position < 0 { i64::try_from(length).ok()? + position } else { position };
    usize::try_from(found).ok().filter(|it| *it < length)
}

impl Hop {
    fn from<'a>(&self, place: Place<'a>) -> Vec<Place<'a>> {
        let Place { path, value } = place;
        let one = |path: String, value: Option<Cow<'a, Value>>| vec![Place { path, value }];
        let made = |value: Option<Value>| value.map(Cow::Owned);
        match self {
            Self::Member(name) => {
                let dot = if path.is_empty() { "" } else { "." };
                one(format!("{path}{dot}{name}"), value.and_then(|it| inside(it, |it| it.get(name))))
            }
            Self::Item(position) => {
                let item = |it: &'_ Value| position_in(it, *position);
                let found = value.and_then(|it| {
                    let position = item(&it)?;
                    inside(it, |it| it.get(position))
                });
                one(format!("{path}[{position}]"), found)
            }
            Self::Every => {
                let length = value.as_ref().and_then(|it| it.as_array()).map_or(0, Vec::len);
                let item = |i: usize| Place {
                    path: format!("{path}[{i}]"),
                    value: value.clone().and_then(|it| inside(it, |it| it.get(i))),
                };
                (0..length.min(PLACES_MAX)).map(item).collect()
            }
            Self::Json => {
                let parsed = value.and_then(|it| serde_json::from_str(it.as_str()?).ok());
                one(format!("{path}|json"), made(parsed))
            }
            Self::Length => {
                let length = value.and_then(|it| length(&it)).map(Value::from);
                one(format!("{path}|length"), made(length))
            }
            Self::Keys => {
                let keys = value.and_then(|it| Some(it.as_object()?.keys().cloned().collect()));
                one(format!("{path}|keys"), made(keys))
            }
        }
    }
}

/// A part of a value: borrowed where the value is.
fn inside<'a>(value: Cow<'a, Value>, part: impl Fn(&Value) -> Option<&Value>) -> Option<Cow<'a, Value>> {
    match value {
        Cow::Borrowed(value) => part(value).map(Cow::Borrowed),
        Cow::Owned(value) => part(&value).cloned().map(Cow::Owned),
    }
}

/// How long a value is: characters, items, members.
pub(crate) fn length(value: &Value) -> Option<usize> {
    match value {
        Value::String(text) => Some(text.chars().count()),
        Value::Array(items) => Some(items.len()),
        Value::Object(members) => Some(members.len()),
        _ => None,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, hop) in self.0.iter().enumerate() {
            match hop {
                Hop::Member(name) if i == 0 => f.write_str(name)?,
                Hop::Member(name) => write!(f, ".{name}")?,
                Hop::Item(position) => write!(f, "[{position}]")?,
                Hop::Every => f.write_str("[*]")?,
                Hop::Json => f.write_str("|json")?,
                Hop::Length => f.write_str("|length")?,
                Hop::Keys => f.write_str("|keys")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[(&str, Option<Value>)]) {
        let root = json!({
            "a": [{"b": 1}, {"b": null}, {}],
            "text": "{\"k\":[true]}",
            "content-type": "x",
        });
        let path = Path::parse(path).unwrap();
        let found: Vec<_> =
            path.places(&root).into_iter().map(|it| (it.path, it.value.map(Cow::into_owned))).collect();
        let expected: Vec<_> =
            expected.iter().map(|(path, value)| ((*path).to_owned(), value.clone())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_path_leads_to_what_is_there_and_says_where_nothing_is() {
        check("content-type", &[("content-type", Some(json!("x")))]);
        check("a[0].b", &[("a[0].b", Some(json!(1)))]);
        check("a[-1].b", &[("a[-1].b", None)]);
        check("a[7]", &[("a[7]", None)]);
        check("a[*].b", &[("a[0].b", Some(json!(1))), ("a[1].b", Some(Value::Null)), ("a[2].b", None)]);
        check("text|json.k[0]", &[("text|json.k[0]", Some(json!(true)))]);
        check("a|length", &[("a|length", Some(json!(3)))]);
        check("a[0]|keys", &[("a[0]|keys", Some(json!(["b"])))]);
        check("content-type[*]", &[]);
        check("text|json|keys", &[("text|json|keys", Some(json!(["k"])))]);
    }

    #[test]
    fn a_path_that_is_none_is_refused() {
        for wrong in ["", "a..b", "a[", "a[x]", "a|size"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
        for right in ["a.b[*].c|json", "a[-1]|length"] {
            assert_eq!(Path::parse(right).unwrap().to_string(), right);
        }
    }
}
