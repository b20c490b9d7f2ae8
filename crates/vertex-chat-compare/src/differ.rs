//! How one answer differs from another: word by word, as JSON, in the calls of tools.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;
use similar::{Algorithm, ChangeTag, TextDiff};

use crate::record::CallLine;
use crate::report::{Difference, Piece};
use crate::text::short;

/// The longest text that is compared by words; longer ones are compared by lines.
pub const DIFFER_BYTES_MAX: usize = 16 << 10;
/// The most lines of a text that is compared by lines; longer ones are the same or not. Two million short lines took most of
/// a minute.
pub const DIFFER_LINES_MAX: usize = 20_000;
/// How many different answers of one target to one prompt are told apart; further ones are not counted as different.
pub const VARIETY_MAX: usize = 1000;

/// The most characters of a value, a tool's name or a path in words about calls.
const SHOWN_CHARS_MAX: usize = 60;

/// What an answer says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    /// Its text.
    pub(crate) content: Option<&'a str>,
    /// The tools that it calls.
    pub(crate) calls: &'a [CallLine],
    /// Whether its text was to be JSON.
    pub(crate) is_json: bool,
}

/// Two texts cut into what they share, what the first alone has, and what the second alone has.
pub(crate) type Parts<'t> = Vec<(ChangeTag, &'t str)>;

/// A text that is compared with none: nothing of it is new.
#[must_use]
pub(crate) fn whole(text: &str) -> Parts<'_> {
    vec![(ChangeTag::Equal, text)]
}

/// The second of two texts, cut into what the first has too and what it has not. Together the pieces are the text.
///
/// White space between two new pieces goes with them, so that a new sentence is one piece.
#[must_use]
pub(crate) fn pieces(parts: &Parts<'_>) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (tag, text) in parts.iter().filter(|(_, text)| !text.is_empty()) {
        let is_new = match tag {
            ChangeTag::Delete => continue,
            ChangeTag::Insert => true,
            ChangeTag::Equal => false,
        };
        if is_new
            && let [.., Piece { is_new: true, .. }, Piece { text: between, is_new: false }] =
                pieces.as_slice()
            && between.chars().all(char::is_whitespace)
        {
            let between = pieces.pop().map(|it| it.text).unwrap_or_default();
            if let Some(last) = pieces.last_mut() {
                last.text.push_str(&between);
            }
        }
        match pieces.last_mut() {
            Some(last) if last.is_new == is_new => last.text.push_str(text),
            _ => pieces.push(Piece { text: (*text).to_owned(), is_new }),
        }
    }
    pieces
}

/// How an answer differs from the first one; `parts` are of their texts.
///
/// Calls come first: they are the same when there are as many of them, with the same names and arguments, in any order.
/// Arguments are compared as JSON, and so are texts that were both to be JSON: order of keys, white space and the spelling
/// of numbers (`1`, `1.0`) do not count. Whole numbers beyond 64 bits are compared as floating point numbers.
#[must_use]
pub(crate) fn difference(base: &Said<'_>, other: &Said<'_>, parts: &Parts<'_>) -> Difference {
    if let Some(words) = calls_differ(base.calls, other.calls) {
        return Difference::Calls(words);
    }
    let (text, other_text) = (base.content.unwrap_or_default(), other.content.unwrap_or_default());
    if text == other_text {
        let spelled = |calls: &[CallLine]| {
            let mut calls: Vec<_> = calls.iter().map(|it| (it.name.clone(), it.arguments.clone())).collect();
            calls.sort();
            calls
        };
        let is_same = spelled(base.calls) == spelled(other.calls);
        return if is_same { Difference::Same } else { Difference::SameJson };
    }
    if base.is_json && other.is_json && same_json(text, other_text) {
        return Difference::SameJson;
    }
    Difference::Text(common_share(parts))
}

/// Counts the different answers of one target to one prompt.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variety {
    seen: HashSet<u64>,
    answers: u64,
}

impl Variety {
    /// One more answer. Those that [`difference`] calls the same count as one.
    pub(crate) fn add(&mut self, said: &Said<'_>) {
        self.answers += 1;
        if self.seen.len() >= VARIETY_MAX {
            return;
        }
        let text = said.content.unwrap_or_default();
        let json = if said.is_json { canonical(text) } else { None };
        let mut hasher = DefaultHasher::new();
        // A text and a JSON document are never the same, even when they are spelled the same.
        json.is_some().hash(&mut hasher);
        json.as_deref().unwrap_or(text).hash(&mut hasher);
        let mut calls: Vec<_> = said.calls.iter().map(call_key).collect();
        calls.sort();
        calls.hash(&mut hasher);
        self.seen.insert(hasher.finish());
    }

    /// How many different answers, up to [`VARIETY_MAX`], and how many answers.
    #[must_use]
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.seen.len() as u64, self.answers)
    }
}

/// Whether two texts are JSON of the same value.
pub(crate) fn same_json(text: &str, other: &str) -> bool {
    matches!((canonical(text), canonical(other)), (Some(one), Some(two)) if one == two)
}

/// Whether two values are the same, whatever the order of keys and the spelling of numbers.
pub(crate) fn same_value(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len()
                && one.iter().all(|(key, value)| two.get(key).is_some_and(|it| same_value(value, it)))
        }
        (Value::Array(one), Value::Array(two)) => {
            one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same_value(one, two))
        }
        (Value::Number(one), Value::Number(two)) => number(one) == number(two),
        _ => one == two,
    }
}

/// JSON in a spelling that is the same for equal values; `None` for what is no JSON.
fn canonical(text: &str) -> Option<String> {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(fields) => {
                out.push('{');
                // Sorted here: serde_json keeps the order that came when a feature of it says so.
                for (key, value) in fields.iter().collect::<BTreeMap<_, _>>() {
                    out.push_str(&Value::from(key.as_str()).to_string());
                    out.push(':');
                    write(value, out);
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for item in items {
                    write(item, out);
                    out.push(',');
                }
                out.push(']');
            }
            Value::Number(it) => out.push_str(&number(it)),
            scalar => out.push_str(&scalar.to_string()),
        }
    }
    let value = serde_json::from_str(text).ok()?;
    let mut out = String::with_capacity(text.len());
    write(&value, &mut out);
    Some(out)
}

fn number(number: &serde_json::Number) -> String {
    /// Whole numbers below this are exact as `i128`.
    const WHOLE_MAX: f64 = 1e38;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < WHOLE_MAX => {
            (float as i128).to_string()
        }
        _ => number.to_string(),
    }
}

/// Compares two texts, word by word, and long ones line by line.
///
/// The algorithm gives up on the shortest way when that takes too long, without looking at a clock: the same texts make the
/// same pieces on every machine.
#[must_use]
pub(crate) fn compared<'t>(base: &'t str, other: &'t str) -> Parts<'t> {
    let longest = base.len().max(other.len());
    if base == other {
        return vec![(ChangeTag::Equal, other)];
    }
    let lines = |text: &'t str| text.split_inclusive('\n').take(DIFFER_LINES_MAX + 1).collect::<Vec<_>>();
    let (old, new) =
        if longest > DIFFER_BYTES_MAX { (lines(base), lines(other)) } else { (words(base), words(other)) };
    if longest > DIFFER_BYTES_MAX && old.len().max(new.len()) > DIFFER_LINES_MAX {
        return vec![(ChangeTag::Delete, base), (ChangeTag::Insert, other)];
    }
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).diff_slices(&old, &new);
    let mut parts = Vec::new();
    for op in diff.ops() {
        let (old_range, new_range) = (op.old_range(), op.new_range());
        if op.tag() == similar::DiffTag::Equal {
            parts.extend(new[new_range].iter().map(|text| (ChangeTag::Equal, *text)));
        } else {
            parts.extend(old[old_range].iter().map(|text| (ChangeTag::Delete, *text)));
            parts.extend(new[new_range].iter().map(|text| (ChangeTag::Insert, *text)));
        }
    }
    parts
}

/// The words of a text and the white space between them. Chinese and Japanese have no spaces: each sign is a word.
fn words(text: &str) -> Vec<&str> {
    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Space,
        Word,
        Sign,
    }
    let kind = |it: char| match it {
        '\u{3001}'..='\u{30ff}'
        | '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff01}'..='\u{ffef}' => Kind::Sign,
        '\u{20000}'..='\u{3ffff}' => Kind::Sign,
        it if it.is_whitespace() => Kind::Space,
        _ => Kind::Word,
    };
    let mut words = Vec::new();
    let (mut start, mut last) = (0, None);
    for (place, letter) in text.char_indices() {
        let kind = kind(letter);
        if last.is_some_and(|last| last != kind || kind == Kind::Sign) {
            words.push(&text[start..place]);
            start = place;
        }
        last = Some(kind);
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

/// Twice the words in common by the words of both; of long texts, those in lines that are the same.
fn common_share(parts: &Parts<'_>) -> f64 {
    let count = |text: &str| words(text).iter().filter(|it| !it.trim().is_empty()).count();
    let (mut common, mut all) = (0, 0);
    for (tag, text) in parts {
        let words = count(text);
        let is_common = *tag == ChangeTag::Equal;
        common += if is_common { words } else { 0 };
        all += if is_common { 2 * words } else { words };
    }
    if all == 0 { 1.0 } else { 2.0 * common as f64 / all as f64 }
}

/// Arguments as a value, where they are one. None at all are an empty object.
fn arguments(call: &CallLine) -> Option<Value> {
    match call.arguments.trim() {
        "" => Some(Value::Object(serde_json::Map::new())),
        text => serde_json::from_str(text).ok(),
    }
}

/// Equal for calls that are the same.
fn call_key(call: &CallLine) -> (&str, Result<String, &str>) {
    let text = call.arguments.trim();
    (&call.name, canonical(if text.is_empty() { "{}" } else { text }).ok_or(text))
}

/// How calls differ, in words; `None` when they do not.
fn calls_differ(base: &[CallLine], other: &[CallLine]) -> Option<String> {
    let several = |calls: &[CallLine]| match calls {
        [] => "no tool".to_owned(),
        [one] => short(&one.name, SHOWN_CHARS_MAX),
        _ => format!("{} tools", calls.len()),
    };
    match (base.len(), other.len()) {
        (0, 0) => return None,
        (0, _) | (_, 0) => return Some(format!("calls {} instead of {}", several(other), several(base))),
        (1, two) if two > 1 => return Some(format!("calls {two} tools instead of 1")),
        (one, two) if one != two => {
            let plural = if two == 1 { "" } else { "s" };
            return Some(format!("calls {two} tool{plural} instead of {one}"));
        }
        _ => {}
    }

    // What is the same on both sides goes, however often it is there; the rest stays in the order of the calls.
    let mut left: HashMap<_, Vec<usize>> = HashMap::new();
    for (place, call) in base.iter().enumerate() {
        left.entry(call_key(call)).or_default().push(place);
    }
    let mut new: Vec<&CallLine> = Vec::new();
    for call in other {
        if left.get_mut(&call_key(call)).and_then(Vec::pop).is_none() {
            new.push(call);
        }
    }
    let gone: BTreeSet<usize> = left.into_values().flatten().collect();
    let by_name: HashMap<&str, &CallLine> =
        gone.iter().rev().map(|&place| (&*base[place].name, &base[place])).collect();

    let with_its_name = new.iter().find_map(|call| Some((*by_name.get(&*call.name)?, *call)));
    let (old, call) = with_its_name.or_else(|| Some((&base[*gone.first()?], *new.first()?)))?;
    let name = short(&call.name, SHOWN_CHARS_MAX);
    let words = if old.name != call.name {
        format!("calls {name} instead of {}", short(&old.name, SHOWN_CHARS_MAX))
    } else {
        let how = match (arguments(old), arguments(call)) {
            (Some(old), Some(new)) => values_differ("", &old, &new),
            (None, Some(_)) => "with arguments that are JSON".to_owned(),
            (Some(_), None) => "with arguments that are no JSON".to_owned(),
            (None, None) => "with other arguments that are no JSON".to_owned(),
        };
        format!("calls {name} {how}")
    };
    Some(match new.len() {
        1 => words,
        2 => format!("{words}; 1 more call differs"),
        all => format!("{words}; {} more calls differ", all - 1),
    })
}

/// The first place where two values differ, in words.
fn values_differ(path: &str, old: &Value, new: &Value) -> String {
    let value = |it: &Value| short(&it.to_string(), SHOWN_CHARS_MAX);
    let place = |path: &str| format!("`{}`", short(path, SHOWN_CHARS_MAX));
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (old.get(key), new.get(key)) {
                    (Some(old), Some(new)) if same_value(old, new) => {}
                    (Some(old), Some(new)) => return values_differ(&path, old, new),
                    (Some(old), None) => return format!("without {} {}", place(&path), value(old)),
                    (None, Some(new)) => return format!("with {} {} added", place(&path), value(new)),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => match old.len().cmp(&new.len()) {
            Ordering::Equal => {
                let differs = old.iter().zip(new).enumerate().find(|(_, (old, new))| !same_value(old, new));
                if let Some((index, (old, new))) = differs {
                    return values_differ(&format!("{path}[{index}]"), old, new);
                }
            }
            _ if !path.is_empty() => {
                return format!("with {} items in {} instead of {}", new.len(), place(path), old.len());
            }
            _ => {}
        },
        _ => {}
    }
    let path = if path.is_empty() { "arguments".to_owned() } else { place(path) };
    format!("with {path} {} instead of {}", value(new), value(old))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(base: Option<&str>, other: &str) -> Vec<Piece> {
        match base {
            Some(base) => super::pieces(&compared(base, other)),
            None => super::pieces(&whole(other)),
        }
    }

    fn difference(base: &Said<'_>, other: &Said<'_>) -> Difference {
        let texts = (base.content.unwrap_or_default(), other.content.unwrap_or_default());
        super::difference(base, other, &compared(texts.0, texts.1))
    }

    fn call(name: &str, arguments: &str) -> CallLine {
        CallLine { name: name.to_owned(), arguments: arguments.to_owned(), fault: String::new() }
    }

    fn text(content: &str) -> Said<'_> {
        Said { content: Some(content), calls: &[], is_json: false }
    }

    fn json(content: &str) -> Said<'_> {
        Said { is_json: true, ..text(content) }
    }

    fn calling(calls: &[CallLine]) -> Said<'_> {
        Said { content: None, calls, is_json: false }
    }

    #[track_caller]
    fn check_pieces(base: &str, other: &str, expected: &[(&str, bool)]) {
        let pieces = pieces(Some(base), other);
        let found: Vec<_> = pieces.iter().map(|it| (&*it.text, it.is_new)).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_calls(base: &[(&str, &str)], other: &[(&str, &str)], expected: Option<&str>) {
        let calls =
            |them: &[(&str, &str)]| them.iter().map(|(name, text)| call(name, text)).collect::<Vec<_>>();
        let found = difference(&calling(&calls(base)), &calling(&calls(other)));
        match expected {
            Some(words) => assert_eq!(found, Difference::Calls(words.to_owned())),
            None => assert!(matches!(found, Difference::Same | Difference::SameJson), "{found:?}"),
        }
    }

    #[test]
    fn new_words_are_pieces_with_the_space_between_them() {
        check_pieces("a b c", "a b c", &[("a b c", false)]);
        check_pieces("the quick fox", "the slow fox", &[("the ", false), ("slow", true), (" fox", false)]);
        check_pieces("one two end", "eins zwei end", &[("eins zwei", true), (" end", false)]);
        check_pieces("", "a", &[("a", true)]);
        check_pieces("a", "", &[]);
        check_pieces("", "", &[]);
        assert_eq!(pieces(None, ""), []);
        assert_eq!(pieces(None, "a b"), [Piece { text: "a b".to_owned(), is_new: false }]);
    }

    #[test]
    fn signs_are_words_where_there_are_no_spaces() {
        check_pieces(
            "東京は日本の首都です。",
            "京都は日本の古都です。",
            &[("京", false), ("都", true), ("は日本の", false), ("古", true), ("都です。", false)],
        );
    }

    #[test]
    fn long_texts_are_compared_by_lines_and_longer_ones_not_at_all() {
        let line = "x ".repeat(50);
        let many = format!("{line}\n").repeat(DIFFER_BYTES_MAX / 100);
        check_pieces(&format!("{many}a b"), &format!("{many}a c"), &[(&many, false), ("a c", true)]);
        let longest = "long\n".repeat(DIFFER_LINES_MAX);
        let shorter = format!("{longest}.");
        check_pieces(&longest[5..], &longest, &[(&longest[5..], false), ("long\n", true)]);
        check_pieces(&longest, &shorter, &[(&shorter, true)]);
        check_pieces(&longest, &longest, &[(&longest, false)]);
    }

    #[test]
    fn hard_texts_come_to_an_end() {
        // The same few words in another order: everything matches somewhere, and nothing for long.
        let made = |mut seed: u64, end: &str, bytes: usize| {
            let mut text = String::new();
            while text.len() + 8 < bytes {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(["a", "b", "c", "d"][(seed >> 33) as usize % 4]);
                text.push_str(end);
            }
            text
        };
        for (end, bytes) in [(" ", DIFFER_BYTES_MAX), ("xx\n", 4 * DIFFER_LINES_MAX)] {
            assert!(pieces(Some(&made(1, end, bytes)), &made(2, end, bytes)).len() > 1000);
        }
    }

    #[test]
    fn texts_differ_by_their_words() {
        assert_eq!(difference(&text("a b"), &text("a b")), Difference::Same);
        assert_eq!(difference(&text("a b c d"), &text("a b c e")), Difference::Text(0.75));
        assert_eq!(difference(&text("a"), &text("b")), Difference::Text(0.0));
        assert_eq!(difference(&text("a b"), &text("a\nb")), Difference::Text(1.0));
        assert_eq!(difference(&text(" "), &text("\n")), Difference::Text(1.0));
        let none = Said { content: None, ..text("") };
        assert_eq!(difference(&none, &text("")), Difference::Same);
        assert_eq!(difference(&none, &text("a")), Difference::Text(0.0));
    }

    #[test]
    fn json_is_the_same_however_it_is_written() {
        let one = r#"{"a":[1,1.5,-0],"b":"\u0061"}"#;
        let two = "{ \"b\": \"a\",\n\"a\": [1.0, 15e-1, 0] }";
        assert_eq!(difference(&json(one), &json(two)), Difference::SameJson);
        assert!(matches!(difference(&text(one), &json(two)), Difference::Text(_)));
        assert!(matches!(difference(&json("{\"a\":1}"), &json("{\"a\":2}")), Difference::Text(_)));
        assert!(!same_json("9007199254740993", "9007199254740992.0"));
        assert!(same_json("9007199254740992", "9007199254740992.0"));
        assert!(!same_json("\"1\"", "1"));
        assert!(!same_json("x", "x"));
    }

    #[test]
    fn calls_are_compared_by_what_they_mean() {
        let paris = ("weather", r#"{"city":"Paris","days":1}"#);
        let respelled = ("weather", r#"{"days":1.0, "city":"Paris"}"#);
        let time = ("time", "");
        check_calls(&[paris, time], &[("time", "{}"), respelled], None);
        check_calls(&[paris, time], &[time, paris], None);
        let london = ("weather", r#"{"city":"London","days":1}"#);
        check_calls(&[london], &[paris], Some("calls weather with `city` \"Paris\" instead of \"London\""));
        check_calls(&[time, paris], &[time], Some("calls 1 tool instead of 2"));
        check_calls(&[time], &[time, paris], Some("calls 2 tools instead of 1"));
        check_calls(&[], &[time], Some("calls time instead of no tool"));
        check_calls(&[time, paris], &[], Some("calls no tool instead of 2 tools"));
        check_calls(&[time], &[paris], Some("calls weather instead of time"));
        check_calls(
            &[paris, paris],
            &[paris, london],
            Some("calls weather with `city` \"London\" instead of \"Paris\""),
        );
        check_calls(
            &[paris, time],
            &[("date", ""), london],
            Some("calls weather with `city` \"London\" instead of \"Paris\"; 1 more call differs"),
        );
    }

    #[test]
    fn the_first_place_is_named_where_arguments_differ() {
        let check = |old: &str, new: &str, expected: &str| {
            check_calls(&[("f", old)], &[("f", new)], Some(&format!("calls f {expected}")));
        };
        check(r#"{"a":{"b":[1,2]}}"#, r#"{"a":{"b":[1,3]}}"#, "with `a.b[1]` 3 instead of 2");
        check(r#"{"a":[1,2]}"#, r#"{"a":[1]}"#, "with 1 items in `a` instead of 2");
        check(r#"{"a":1,"unit":"C"}"#, r#"{"a":1}"#, "without `unit` \"C\"");
        check("", r#"{"unit":"C"}"#, "with `unit` \"C\" added");
        check("[1]", "5", "with arguments 5 instead of [1]");
        check("{}", "{", "with arguments that are no JSON");
        check("{", "{}", "with arguments that are JSON");
        check("{", "}", "with other arguments that are no JSON");
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(500));
        let found = calls_differ(&[call("f", &long)], &[call("f", "{\"a\":1}")]).unwrap();
        assert!(found.chars().count() < 120 && found.ends_with('…'), "{found}");
    }

    #[test]
    fn the_same_calls_with_another_text_differ_in_the_text() {
        let calls = [call("f", "")];
        let (one, two) = (Said { calls: &calls, ..text("a") }, Said { calls: &calls, ..text("b") });
        assert_eq!(difference(&one, &two), Difference::Text(0.0));
        let respelled = [call("f", "{}")];
        assert_eq!(difference(&one, &Said { calls: &respelled, ..one }), Difference::SameJson);
    }

    #[test]
    fn variety_counts_what_differs_up_to_its_limit() {
        let mut variety = Variety::default();
        let calls = [call("f", "{\"a\":1}"), call("g", "")];
        let turned = [call("g", "{}"), call("f", "{\"a\":1.0}")];
        for said in [text("a"), text("a"), text("b"), json("{\"a\":1}"), json("{ \"a\":1.0}")] {
            variety.add(&said);
        }
        variety.add(&calling(&calls));
        variety.add(&calling(&turned));
        assert_eq!(variety.counts(), (4, 7));
        for number in 0..VARIETY_MAX {
            variety.add(&text(&number.to_string()));
        }
        assert_eq!(variety.counts(), (VARIETY_MAX as u64, 7 + VARIETY_MAX as u64));
    }

    proptest! {
        #[test]
        fn pieces_together_are_the_text(base in "(?s)[ab \n。あ]{0,40}|.{0,60}", other in "(?s)[ab \n。あ]{0,40}|.{0,60}") {
            let pieces = pieces(Some(&base), &other);
            prop_assert_eq!(pieces.iter().map(|it| &*it.text).collect::<String>(), other);
            prop_assert!(pieces.windows(2).all(|it| it[0].is_new != it[1].is_new));
            prop_assert!(pieces.iter().all(|it| !it.text.is_empty()));
        }

        #[test]
        fn shares_are_shares_and_nothing_panics(
            base in "(?s)[ab \n]{0,20}|.{0,30}",
            other in "(?s)[ab \n]{0,20}|.{0,30}",
            arguments in prop::collection::vec(r#"[\[\]{}":,0-9a-b]{0,12}"#, 0..4),
            others in prop::collection::vec(r#"[\[\]{}":,0-9a-b]{0,12}"#, 0..4),
        ) {
            match difference(&json(&base), &json(&other)) {
                Difference::Text(share) => prop_assert!((0.0..=1.0).contains(&share)),
                Difference::Same => prop_assert_eq!(&base, &other),
                it => prop_assert_eq!(it, Difference::SameJson),
            }
            let calls = |them: &[String]| them.iter().map(|it| call("f", it)).collect::<Vec<_>>();
            let (one, two) = (calls(&arguments), calls(&others));
            let is_same = calls_differ(&one, &two).is_none();
            prop_assert_eq!(is_same, calls_differ(&two, &one).is_none());
            let mut variety = Variety::default();
            variety.add(&calling(&one));
            variety.add(&calling(&two));
            prop_assert_eq!(variety.counts().0, if is_same { 1 } else { 2 });
        }
    }
}
