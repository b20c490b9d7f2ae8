//! What a case expects of one place of an answer.

use std::borrow::Cow;

use regex_lite::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::path::{self, Path, Place};

/// The most places of one expectation that are looked at after they were found wrong.
const VIOLATIONS_KEPT_MAX: usize = 100;
/// The most characters of a value that a report shows.
pub const SHOWN_CHARS_MAX: usize = 160;

/// An expectation, as a case writes it: a path, and what has to hold for every place that it leads to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    pub(crate) at: String,
    is: Option<Value>,
    not: Option<Value>,
    one_of: Option<Vec<Value>>,
    #[serde(rename = "type")]
    kind: Option<OneOrMany>,
    matches: Option<String>,
    not_matches: Option<String>,
    contains: Option<Value>,
    not_contains: Option<Value>,
    min: Option<f64>,
    max: Option<f64>,
    length: Option<usize>,
    length_min: Option<usize>,
    length_max: Option<usize>,
    /// The same value as at this path; `step:path` for another step.
    same_as: Option<String>,
    differs_from: Option<String>,
    /// A larger number than at this path.
    more_than: Option<String>,
    /// The sum of the numbers at these paths; what is absent counts 0.
    sum_of: Option<Vec<String>>,
    /// At least the sum of the numbers at these paths.
    at_least_sum_of: Option<Vec<String>>,
    /// All places have different values.
    unique: Option<bool>,
    /// All places have the same value.
    alike: Option<bool>,
    /// Nothing has to be there.
    #[serde(default)]
    optional: bool,
    /// The list may be empty or not be there; what is in it has to be right.
    #[serde(default)]
    if_any: bool,
    /// Null is as good, which TOML cannot say otherwise.
    #[serde(default)]
    or_null: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// An expectation that has been read.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    path: Path,
    tests: Vec<Test>,
    optional: bool,
    if_any: bool,
    or_null: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Is(Value),
    Not(Value),
    OneOf(Vec<Value>),
    Kind(Vec<String>),
    Matches(Regex),
    NotMatches(Regex),
    Contains(Value),
    NotContains(Value),
    Min(f64),
    Max(f64),
    Length(Option<usize>, Option<usize>),
    SameAs(Other),
    DiffersFrom(Other),
    MoreThan(Other),
    SumOf(Vec<Path>),
    AtLeastSumOf(Vec<Path>),
    Unique,
    Alike,
}

/// A place in this step's answer or in another's.
#[derive(Clone, Debug)]
struct Other {
    step: Option<String>,
    path: Path,
}

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Where: the step if there are several, and the path.
    pub at: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub got: String,
}

/// The kinds of values that `type` names.
const KINDS: [&str; 8] = ["string", "integer", "number", "boolean", "null", "array", "object", "absent"];

impl Expectation {
    /// Reads patterns and paths.
    pub(crate) fn check(&self) -> Result<Check, String> {
        let path = Path::parse(&self.at)?;
        let regex = |pattern: &str| Regex::new(pattern).map_err(|error| format!("`{pattern}`: {error}"));
        let paths = |paths: &[String]| paths.iter().map(|it| Path::parse(it)).collect::<Result<Vec<_>, _>>();
        let mut tests = Vec::new();
        if let Some(it) = &self.is {
            tests.push(Test::Is(it.clone()));
        }
        if let Some(it) = &self.not {
            tests.push(Test::Not(it.clone()));
        }
        if let Some(it) = &self.one_of {
            tests.push(Test::OneOf(it.clone()));
        }
        if let Some(kinds) = &self.kind {
            let kinds = match kinds {
                OneOrMany::One(kind) => vec![kind.clone()],
                OneOrMany::Many(kinds) => kinds.clone(),
            };
            if let Some(wrong) = kinds.iter().find(|it| !KINDS.contains(&it.as_str())) {
                return Err(format!("`{wrong}` is not one of {}", KINDS.join(", ")));
            }
            tests.push(Test::Kind(kinds));
        }
        if let Some(it) = &self.matches {
            tests.push(Test::Matches(regex(it)?));
        }
        if let Some(it) = &self.not_matches {
            tests.push(Test::NotMatches(regex(it)?));
        }
        if let Some(it) = &self.contains {
            tests.push(Test::Contains(it.clone()));
        }
        if let Some(it) = &self.not_contains {
            tests.push(Test::NotContains(it.clone()));
        }
        if let Some(it) = self.min {
            tests.push(Test::Min(it));
        }
        if let Some(it) = self.max {
            tests.push(Test::Max(it));
        }
        let (least, most) = (self.length_min.or(self.length), self.length_max.or(self.length));
        if least.is_some() || most.is_some() {
            tests.push(Test::Length(least, most));
        }
        if let Some(it) = &self.same_as {
            tests.push(Test::SameAs(Other::parse(it)?));
        }
        if let Some(it) = &self.differs_from {
            tests.push(Test::DiffersFrom(Other::parse(it)?));
        }
        if let Some(it) = &self.more_than {
            tests.push(Test::MoreThan(Other::parse(it)?));
        }
        if let Some(it) = &self.sum_of {
            tests.push(Test::SumOf(paths(it)?));
        }
        if let Some(it) = &self.at_least_sum_of {
            tests.push(Test::AtLeastSumOf(paths(it)?));
        }
        for (wanted, test) in [(self.unique, Test::Unique), (self.alike, Test::Alike)] {
            if wanted == Some(true) {
                tests.push(test);
            }
        }
        if tests.is_empty() {
            return Err(format!("nothing is expected of `{}`", self.at));
        }
        let Self { optional, if_any, or_null, .. } = *self;
        Ok(Check { path, tests, optional, if_any, or_null })
    }
}

impl Other {
    fn parse(text: &str) -> Result<Self, String> {
        let (step, path) = match text.split_once(':') {
            Some((step, path)) => (Some(step.to_owned()), path),
            None => (None, text),
        };
        Ok(Self { step, path: Path::parse(path)? })
    }

    fn find<'a>(&self, answers: &Answers<'a>) -> Option<Cow<'a, Value>> {
        self.path.find(match &self.step {
            Some(step) => answers.of(step)?,
            None => answers.this,
        })
    }
}

/// The answers of a case so far.
pub(crate) struct Answers<'a> {
    pub(crate) this: &'a Value,
    pub(crate) earlier: &'a [(String, Value)],
}

impl<'a> Answers<'a> {
    fn of(&self, step: &str) -> Option<&'a Value> {
        self.earlier.iter().find(|(name, _)| name == step).map(|(_, answer)| answer)
    }
}

impl Check {
    /// The steps whose answers it looks at.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().filter_map(|test| match test {
            Test::SameAs(other) | Test::DiffersFrom(other) | Test::MoreThan(other) => other.step.as_deref(),
            _ => None,
        })
    }

    /// Where it looks.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is not as expected.
    pub(crate) fn violations(&self, answers: &Answers<'_>) -> Vec<Violation> {
        let mut places = self.path.places(answers.this);
        if self.optional {
            places.retain(|place| place.value.is_some());
        } else if places.is_empty() && !self.if_any {
            // A rule about every item of a list that is not there would hold whatever came.
            places = vec![Place { path: self.path.to_string(), value: None }];
        }
        if self.or_null {
            places.retain(|place| !place.value().is_some_and(Value::is_null));
        }
        let mut violations = Vec::new();
        for test in &self.tests {
            match test {
                Test::Unique | Test::Alike => {
                    let values: Vec<&Value> = places.iter().filter_map(Place::value).collect();
                    let same = |i: usize| {
                        values[..i].iter().any(|it| (*it == values[i]) == matches!(test, Test::Unique))
                    };
                    if values.len() < places.len() || (1..values.len()).any(same) {
                        violations.push(Violation {
                            at: self.path.to_string(),
                            expected: test.to_string(),
                            got: shown(Some(&values.into_iter().cloned().collect())),
                        });
                    }
                }
                test => {
                    for place in &places {
                        if violations.len() > VIOLATIONS_KEPT_MAX {
                            break;
                        }
                        if let Some(expected) = test.refuses(place.value(), answers) {
                            let got = shown(place.value());
                            violations.push(Violation { at: place.path.clone(), expected, got });
                        }
                    }
                }
            }
        }
        violations
    }
}

impl Test {
    /// What was expected, where it is not so.
    fn refuses(&self, value: Option<&Value>, answers: &Answers<'_>) -> Option<String> {
        let number = value.and_then(Value::as_f64);
        let text = value.and_then(Value::as_str);
        let sum = |paths: &[Path]| -> f64 {
            let found = paths.iter().flat_map(|path| path.places(answers.this));
            found.filter_map(|place| place.value?.as_f64()).sum()
        };
        let holds = match self {
            Self::Is(expected) => value.is_some_and(|it| equal(it, expected)),
            Self::Not(expected) => !value.is_some_and(|it| equal(it, expected)),
            Self::OneOf(words) => value.is_some_and(|it| words.iter().any(|word| equal(it, word))),
            Self::Kind(kinds) => kinds.iter().any(|kind| is_kind(value, kind)),
            Self::Matches(regex) => text.is_some_and(|it| regex.is_match(it)),
            Self::NotMatches(regex) => !text.is_some_and(|it| regex.is_match(it)),
            Self::Contains(wanted) => contains(value, wanted),
            Self::NotContains(wanted) => !contains(value, wanted),
            Self::Min(least) => number.is_some_and(|it| it >= *least),
            Self::Max(most) => number.is_some_and(|it| it <= *most),
            Self::Length(least, most) => value.and_then(path::length).is_some_and(|it| {
                least.is_none_or(|least| it >= least) && most.is_none_or(|most| it <= most)
            }),
            Self::SameAs(other) => {
                let there = other.find(answers);
                return match there {
                    Some(there) if value.is_some_and(|it| equal(it, &there)) => None,
                    there => Some(format!("the same as at `{other}`: {}", shown(there.as_deref()))),
                };
            }
            Self::DiffersFrom(other) => {
                let there = other.find(answers);
                value.zip(there.as_deref()).is_some_and(|(here, there)| !equal(here, there))
            }
            Self::MoreThan(other) => {
                let there = other.find(answers);
                let least = there.as_deref().and_then(Value::as_f64);
                if number.zip(least).is_some_and(|(number, least)| number > least) {
                    return None;
                }
                return Some(format!("more than at `{other}`: {}", shown(there.as_deref())));
            }
            Self::SumOf(paths) => {
                let sum = sum(paths);
                if number == Some(sum) {
                    return None;
                }
                return Some(format!("{sum}, {self}"));
            }
            Self::AtLeastSumOf(paths) => {
                let sum = sum(paths);
                if number.is_some_and(|it| it >= sum) {
                    return None;
                }
                return Some(format!("at least {sum}, {self}"));
            }
            Self::Unique | Self::Alike => true,
        };
        (!holds).then(|| self.to_string())
    }
}

/// Numbers are equal by value: 1 is 1.0.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

fn contains(value: Option<&Value>, wanted: &Value) -> bool {
    match (value, wanted) {
        (Some(Value::String(text)), Value::String(part)) => text.contains(part.as_str()),
        (Some(Value::Array(items)), wanted) => items.iter().any(|it| equal(it, wanted)),
        _ => false,
    }
}

fn is_kind(value: Option<&Value>, kind: &str) -> bool {
    match (value, kind) {
        (None, kind) => kind == "absent",
        (Some(Value::Null), kind) => kind == "null",
        (Some(Value::Bool(_)), kind) => kind == "boolean",
        (Some(Value::String(_)), kind) => kind == "string",
        (Some(Value::Array(_)), kind) => kind == "array",
        (Some(Value::Object(_)), kind) => kind == "object",
        (Some(Value::Number(number)), "integer") => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|it| it.fract() == 0.0)
        }
        (Some(Value::Number(_)), kind) => kind == "number",
    }
}

/// A value for a report: on one line, and not too long.
pub(crate) fn shown(value: Option<&Value>) -> String {
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

impl std::fmt::Display for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{step}:{}", self.path),
            None => self.path.fmt(f),
        }
    }
}

impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &[Value]| values.iter().map(|it| shown(Some(it))).collect::<Vec<_>>().join(", ");
        let sum = |paths: &[Path]| paths.iter().map(Path::to_string).collect::<Vec<_>>().join(" + ");
        match self {
            Self::Is(value) => write!(f, "{}", shown(Some(value))),
            Self::Not(value) => write!(f, "anything but {}", shown(Some(value))),
            Self::OneOf(values) => write!(f, "one of {}", list(values)),
            Self::Kind(kinds) => f.write_str(&kinds.join(" or ")),
            Self::Matches(regex) => write!(f, "text that matches `{regex}`"),
            Self::NotMatches(regex) => write!(f, "text that does not match `{regex}`"),
            Self::Contains(value) => write!(f, "something that contains {}", shown(Some(value))),
            Self::NotContains(value) => write!(f, "something that does not contain {}", shown(Some(value))),
            Self::Min(least) => write!(f, "at least {least}"),
            Self::Max(most) => write!(f, "at most {most}"),
            Self::Length(Some(least), Some(most)) if least == most => write!(f, "length {least}"),
            Self::Length(Some(least), Some(most)) => write!(f, "length {least} to {most}"),
            Self::Length(Some(least), None) => write!(f, "length {least} or more"),
            Self::Length(None, Some(most)) => write!(f, "length up to {most}"),
            Self::Length(None, None) => f.write_str("any length"),
            Self::SameAs(other) => write!(f, "the same as at `{other}`"),
            Self::DiffersFrom(other) => write!(f, "another value than at `{other}`"),
            Self::MoreThan(other) => write!(f, "more than at `{other}`"),
            Self::SumOf(paths) | Self::AtLeastSumOf(paths) => write!(f, "the sum {}", sum(paths)),
            Self::Unique => f.write_str("all different"),
            Self::Alike => f.write_str("all the same"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expectation: &str, answer: &Value, violations: usize) {
        let expectation: Expectation = toml::from_str(expectation).unwrap();
        let earlier = [("first".to_owned(), json!({"text": "same", "number": 3}))];
        let found = expectation.check().unwrap().violations(&Answers { this: answer, earlier: &earlier });
        assert_eq!(found.len(), violations, "{found:?}");
    }

    #[test]
    fn every_test_holds_and_does_not() {
        for (test, good, bad) in [
            ("is = 1", json!(1.0), json!(2)),
            ("is = \"a\"", json!("a"), json!("b")),
            ("not = \"a\"", json!("b"), json!("a")),
            ("one_of = [\"a\", \"b\"]", json!("b"), json!("c")),
            ("type = \"string\"", json!("a"), json!(1)),
            ("type = [\"string\", \"null\"]", json!(null), json!(1)),
            ("type = \"integer\"", json!(3), json!(3.5)),
            ("type = \"number\"", json!(3.5), json!("3.5")),
            ("matches = \"^a+$\"", json!("aaa"), json!("aab")),
            ("not_matches = \"^a\"", json!("b"), json!("a")),
            ("contains = \"b\"", json!("abc"), json!("ac")),
            ("contains = 2", json!([1, 2]), json!([1])),
            ("not_contains = \"b\"", json!("ac"), json!("abc")),
            ("min = 2", json!(2), json!(1.9)),
            ("max = 2", json!(2), json!(3)),
            ("length = 2", json!("ab"), json!("abc")),
            ("length_min = 1", json!([1]), json!([])),
            ("length_max = 1", json!({}), json!({"a": 1, "b": 2})),
            ("same_as = \"first:text\"", json!("same"), json!("other")),
            ("differs_from = \"first:text\"", json!("other"), json!("same")),
            ("more_than = \"first:number\"", json!(4), json!(3)),
        ] {
            check(&format!("at = \"v\"\n{test}"), &json!({"v": good}), 0);
            check(&format!("at = \"v\"\n{test}"), &json!({"v": bad}), 1);
            if !test.starts_with("not") {
                check(&format!("at = \"v\"\n{test}"), &json!({}), 1);
            }
            check(&format!("at = \"v\"\n{test}\noptional = true"), &json!({}), 0);
            check(&format!("at = \"v\"\n{test}\nor_null = true"), &json!({"v": null}), 0);
        }
    }

    #[test]
    fn sums_and_lists_are_compared_as_a_whole() {
        let usage = json!({"p": 2, "c": 3, "t": 5});
        check("at = \"t\"\nsum_of = [\"p\", \"c\", \"absent\"]", &usage, 0);
        check("at = \"t\"\nsum_of = [\"p\"]", &usage, 1);
        check("at = \"t\"\nat_least_sum_of = [\"p\"]", &usage, 0);
        check("at = \"p\"\nat_least_sum_of = [\"c\"]", &usage, 1);
        let list = json!({"l": [{"id": 1}, {"id": 2}]});
        check("at = \"l[*].id\"\nunique = true", &list, 0);
        check("at = \"l[*].id\"\nalike = true", &list, 1);
        check("at = \"l[*].id\"\ntype = \"string\"", &list, 2);
        let same = json!({"l": [{"id": 1}, {"id": 1}]});
        check("at = \"l[*].id\"\nunique = true", &same, 1);
        check("at = \"l[*].id\"\nalike = true", &same, 0);
    }

    #[test]
    fn a_rule_about_nothing_does_not_hold() {
        check("at = \"l[*].id\"\ntype = \"string\"", &json!({"l": []}), 1);
        check("at = \"l[*].id\"\ntype = \"string\"\noptional = true", &json!({"l": []}), 0);
        check("at = \"l[*].id\"\ntype = \"string\"\nif_any = true", &json!({}), 0);
        check("at = \"l[*].id\"\ntype = \"string\"\nif_any = true", &json!({"l": [{}]}), 1);
    }

    #[test]
    fn an_expectation_without_a_test_is_refused() {
        let read = |text: &str| toml::from_str::<Expectation>(text).unwrap().check();
        assert!(read("at = \"a\"").unwrap_err().contains("nothing is expected"));
        assert!(read("at = \"a\"\ntype = \"strnig\"").is_err());
        assert!(read("at = \"a\"\nmatches = \"(\"").is_err());
    }
}
