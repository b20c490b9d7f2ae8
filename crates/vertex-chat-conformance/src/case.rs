//! A case: one rule, the request that shows whether it holds, and what has to come back.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::expect::{Check, Expectation};
use crate::mutant::Mutant;
use crate::observe::check_path;
use crate::path::Path;

/// The most steps of a case.
pub const STEPS_MAX: usize = 8;
/// The most requests that one step sends at once.
pub const TIMES_MAX: usize = 32;
/// The most bytes that `filler` makes.
pub const FILLER_BYTES_MAX: usize = 64 << 20;

/// How much hangs on a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Nothing is known to be right or wrong: what is seen is noted.
    Record,
    /// OpenAI's schema and documentation to the letter.
    Strict,
    /// Real clients need it.
    Interop,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Strict => "strict",
            Self::Interop => "interop",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One rule, and how to see whether it holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Case {
    /// Its name, which is its file's.
    pub id: String,
    /// The group that it is reported in: the folder of its file.
    pub group: String,
    /// What it is about, in a few words.
    pub title: String,
    /// The rule, in one sentence.
    pub rule: String,
    /// Where the rule comes from.
    pub source: String,
    /// How much hangs on it.
    pub level: Level,
    /// What breaks when it does not hold.
    pub breaks: String,
    /// The profiles that it applies to.
    pub profiles: Vec<String>,
    /// What the server has to be able to.
    pub needs: Vec<String>,
    /// What the server must not be able to: the rule is about those that lack it.
    pub without: Vec<String>,
    /// The cases that it stands on.
    pub requires: Vec<String>,
    /// Servers that break this rule and no other.
    pub mutants: Vec<Mutant>,
    /// Why no mutant breaks it.
    pub exempt: Option<String>,
    pub(crate) steps: Vec<Step>,
    pub(crate) records: Vec<Path>,
}

/// One request of a case, or several at once, and what is expected of the answer.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) ask: Ask,
    pub(crate) checks: Vec<Check>,
    pub(crate) captures: Vec<(String, Path)>,
}

/// What is sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    #[serde(default = "post")]
    pub(crate) method: String,
    /// Behind the base URL.
    #[serde(default = "chat_completions")]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) auth: Auth,
    /// JSON, with `$model`, `$limit`, `$filler` and what was captured in place of whole values, and `${…}` inside strings.
    pub(crate) body: Option<String>,
    /// Bytes as they are.
    pub(crate) raw_body: Option<String>,
    /// How many bytes `$filler` has.
    #[serde(default)]
    pub(crate) filler: usize,
    /// How many are sent at once.
    pub(crate) times: Option<usize>,
    /// After how many events of a stream the client goes away.
    pub(crate) cancel_after: Option<usize>,
    /// Not answered from what an earlier case got for the same request.
    #[serde(default)]
    pub(crate) fresh: bool,
}

fn post() -> String {
    "POST".to_owned()
}

fn chat_completions() -> String {
    "/chat/completions".to_owned()
}

/// Whose credentials go with a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Auth {
    /// Good ones.
    #[default]
    Good,
    /// None.
    None,
    /// Some that nobody gave out.
    Bad,
    /// Some that were good once.
    Expired,
    /// Good ones, the name of their scheme in lower case.
    Lower,
}

/// A case as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: String,
    rule: String,
    source: String,
    level: Level,
    breaks: String,
    profiles: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    requires: Vec<String>,
    request: Option<StepFile>,
    #[serde(default)]
    step: Vec<StepFile>,
    #[serde(default)]
    record: Vec<String>,
    #[serde(default)]
    mutant: Vec<Mutant>,
    exempt: Option<String>,
}

#[derive(Deserialize)]
struct StepFile {
    #[serde(default)]
    name: String,
    /// An exchange that several cases share, by its name in `exchanges.toml`.
    exchange: Option<String>,
    #[serde(default)]
    expect: Vec<Expectation>,
    #[serde(default)]
    capture: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: toml::Table,
}

impl Case {
    /// Reads a case's file.
    ///
    /// `name` is the file's path: its folder is the group, its stem the id.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn parse(name: &str, text: &str, exchanges: &BTreeMap<String, Ask>) -> Result<Self, String> {
        let wrong = |what: String| format!("{name}: {what}");
        let file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let path = std::path::Path::new(name);
        let folder = path.parent().and_then(std::path::Path::file_name);
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if file.id != stem {
            return Err(wrong(format!("its id is `{}`, which is not the file's name", file.id)));
        }
        for (field, text) in
            [("title", &file.title), ("rule", &file.rule), ("source", &file.source), ("breaks", &file.breaks)]
        {
            if text.trim().is_empty() || text.contains('\n') {
                return Err(wrong(format!("`{field}` is not one line of text")));
            }
        }
        if file.profiles.is_empty() {
            return Err(wrong("it applies to no profile".to_owned()));
        }
        let mut steps = Vec::new();
        for (i, step) in file.request.into_iter().chain(file.step).enumerate() {
            steps.push(step.read(i, exchanges).map_err(|what| wrong(format!("step {}: {what}", i + 1)))?);
        }
        if steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(wrong(format!("it has {} steps, not 1 to {STEPS_MAX}", steps.len())));
        }
        for (i, step) in steps.iter().enumerate() {
            let known = |name: &str| steps[..i].iter().any(|it| it.name == name);
            if let Some(unknown) = step.checks.iter().flat_map(Check::steps).find(|it| !known(it)) {
                return Err(wrong(format!("step `{unknown}` is not before `{}`", step.name)));
            }
        }
        check_steps(&steps).map_err(&wrong)?;
        let records = file.record.iter().map(|it| Path::parse(it)).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(&wrong)?;
        if let Some(last) = steps.last() {
            let several = last.ask.times.is_some();
            records.iter().try_for_each(|it| check_path(it, several)).map_err(&wrong)?;
        }
        let judges = steps.iter().any(|step| !step.checks.is_empty());
        match file.level {
            Level::Record if judges || records.is_empty() => {
                return Err(wrong("at the level record it needs `record`, and has no `expect`".to_owned()));
            }
            Level::Strict | Level::Interop if !judges || !records.is_empty() => {
                let what = format!("at the level {} it needs `expect`, and has no `record`", file.level);
                return Err(wrong(what));
            }
            _ => {}
        }
        match (file.level, file.mutant.is_empty(), &file.exempt) {
            (Level::Record, ..) | (_, false, None) | (_, true, Some(_)) => {}
            _ => {
                return Err(wrong(
                    "it needs a `[[mutant]]` that breaks it, or `exempt` with the reason why there is none"
                        .to_owned(),
                ));
            }
        }
        Ok(Self {
            id: file.id,
            group: folder.unwrap_or_default().to_string_lossy().into_owned(),
            title: file.title,
            rule: file.rule,
            source: file.source,
            level: file.level,
            breaks: file.breaks,
            profiles: file.profiles,
            needs: file.needs,
            without: file.without,
            requires: file.requires,
            mutants: file.mutant,
            exempt: file.exempt,
            steps,
            records,
        })
    }

    /// Whether it applies to a profile that is all of these.
    pub(crate) fn applies_to(&self, profiles: &[String]) -> bool {
        self.profiles.iter().any(|it| it == "any" || profiles.contains(it))
    }
}

/// Whether paths can lead anywhere, and what is put into bodies is known.
fn check_steps(steps: &[Step]) -> Result<(), String> {
    let mut variables: BTreeMap<String, Value> =
        ["model", "limit", "filler"].map(|name| (name.to_owned(), Value::Null)).into();
    for step in steps {
        let wrong = |what: String| format!("step `{}`: {what}", step.name);
        let several = step.ask.times.is_some();
        let paths = step.checks.iter().map(Check::path).chain(step.captures.iter().map(|(_, path)| path));
        for path in paths {
            check_path(path, several).map_err(wrong)?;
        }
        if let Some(body) = &step.ask.body {
            fill_body(body, &variables).map_err(wrong)?;
        }
        for text in step.ask.raw_body.iter().chain([&step.ask.path]) {
            fill_text(text, &variables).map_err(wrong)?;
        }
        variables.extend(step.captures.iter().map(|(name, _)| (name.clone(), Value::Null)));
    }
    Ok(())
}

impl StepFile {
    fn read(self, number: usize, exchanges: &BTreeMap<String, Ask>) -> Result<Step, String> {
        let ask = match self.exchange {
            Some(name) => {
                if let Some(field) = self.rest.keys().next() {
                    return Err(format!("`{field}` beside `exchange`"));
                }
                exchanges.get(&name).cloned().ok_or_else(|| format!("no exchange is called `{name}`"))?
            }
            None => read_ask(self.rest)?,
        };
        let checks = self.expect.iter().map(Expectation::check).collect::<Result<Vec<_>, _>>()?;
        let captures = self.capture.into_iter().map(|(name, path)| Ok((name, Path::parse(&path)?)));
        Ok(Step {
            name: if self.name.is_empty() { (number + 1).to_string() } else { self.name },
            ask,
            checks,
            captures: captures.collect::<Result<Vec<_>, String>>()?,
        })
    }
}

/// The exchanges that cases share.
pub(crate) fn read_exchanges(text: &str) -> Result<BTreeMap<String, Ask>, String> {
    let tables: BTreeMap<String, toml::Table> = toml::from_str(text).map_err(|error| error.to_string())?;
    let read = |(name, table)| match read_ask(table) {
        Ok(ask) => Ok((name, ask)),
        Err(what) => Err(format!("exchange `{name}`: {what}")),
    };
    tables.into_iter().map(read).collect()
}

fn read_ask(table: toml::Table) -> Result<Ask, String> {
    let ask: Ask = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    if let Some(body) = &ask.body {
        let parsed: Value =
            serde_json::from_str(body).map_err(|error| format!("`body` is not JSON: {error}"))?;
        if ask.raw_body.is_some() || parsed.is_null() {
            return Err("`body` is null, or stands beside `raw_body`".to_owned());
        }
    }
    if ask.times.is_some_and(|it| !(2..=TIMES_MAX).contains(&it)) {
        return Err(format!("`times` is not 2 to {TIMES_MAX}"));
    }
    if ask.filler > FILLER_BYTES_MAX {
        return Err(format!("`filler` is above {FILLER_BYTES_MAX}"));
    }
    if !ask.path.starts_with('/') {
        // What does not begin so would change the host.
        return Err(format!("`path` is `{}`, which does not begin with `/`", ask.path));
    }
    if http::Method::from_bytes(ask.method.as_bytes()).is_err() {
        return Err(format!("`{}` is no method", ask.method));
    }
    for (name, value) in &ask.headers {
        if http::HeaderName::try_from(name).is_err() || http::HeaderValue::try_from(value).is_err() {
            return Err(format!("`{name}` is no header"));
        }
    }
    Ok(ask)
}

/// Puts values in place of `$name`, and text in place of `${name}` inside strings.
pub(crate) fn fill(value: &mut Value, variables: &BTreeMap<String, Value>) -> Result<(), String> {
    match value {
        Value::String(text) => {
            if let Some(whole) = text.strip_prefix('$').filter(|it| !it.starts_with('{') && !it.contains(' '))
            {
                *value = variables.get(whole).cloned().ok_or_else(|| format!("`${whole}` is not known"))?;
            } else if text.contains("${") {
                *text = fill_text(text, variables)?;
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(|it| fill(it, variables))?,
        Value::Object(members) => members.values_mut().try_for_each(|it| fill(it, variables))?,
        _ => {}
    }
    Ok(())
}

/// Puts JSON in place of `"$name"`, and text in place of `${name}` inside strings; everything else stays as it was written, for
/// the order of keys is seen by models.
pub(crate) fn fill_body(body: &str, variables: &BTreeMap<String, Value>) -> Result<String, String> {
    let mut filled = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('"') {
        let end = end_of_string(after).ok_or("a string without its end")?;
        let behind = &after[end + 1..];
        let quoted = &rest[before.len()..rest.len() - behind.len()];
        filled.push_str(before);
        // A name of a member is no value: `$ref` is one.
        let is_name = behind.trim_start().starts_with(':');
        if quoted.contains('$') && !is_name {
            let mut string: Value = serde_json::from_str(quoted).map_err(|error| error.to_string())?;
            fill(&mut string, variables)?;
            filled.push_str(&string.to_string());
        } else {
            filled.push_str(quoted);
        }
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Where a string of JSON ends whose first quote has been read.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// Puts text in place of `${name}`.
pub(crate) fn fill_text(text: &str, variables: &BTreeMap<String, Value>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').ok_or_else(|| format!("`{text}`: a `${{` without its `}}`"))?;
        filled.push_str(before);
        match variables.get(name) {
            Some(Value::String(value)) => filled.push_str(value),
            Some(value) => filled.push_str(&value.to_string()),
            None => return Err(format!("`${{{name}}}` is not known")),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEAD: &str =
        "id = \"c\"\ntitle = \"t\"\nrule = \"r\"\nsource = \"s\"\nbreaks = \"b\"\nprofiles = [\"any\"]\n";

    fn parse(rest: &str) -> Result<Case, String> {
        let exchanges = read_exchanges("[hello]\nbody = '{\"model\": \"$model\"}'").unwrap();
        Case::parse("cases/group/c.toml", &format!("{HEAD}{rest}"), &exchanges)
    }

    #[test]
    fn a_case_is_read_with_its_group_and_its_shared_exchange() {
        let case = parse(
            "level = \"interop\"\nexempt = \"a test\"\n[request]\nexchange = \"hello\"\nexpect = [{ at = \"status\", is = 200 }]",
        )
        .unwrap();
        assert_eq!((case.group.as_str(), case.steps.len()), ("group", 1));
        assert_eq!(case.steps[0].ask.path, "/chat/completions");
        assert!(case.applies_to(&["openai".to_owned()]));
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said() {
        for (rest, said) in [
            ("level = \"interop\"\nexempt = \"x\"", "0 steps"),
            ("level = \"interop\"\nexempt = \"x\"\n[request]\nexchange = \"nope\"", "no exchange"),
            ("level = \"interop\"\nexempt = \"x\"\n[request]\nbody = \"{\"", "not JSON"),
            ("level = \"interop\"\nexempt = \"x\"\n[request]\nbdy = \"{}\"", "unknown field `bdy`"),
            ("level = \"interop\"\nexempt = \"x\"\n[request]\nexchange = \"hello\"", "needs `expect`"),
            ("level = \"record\"\n[request]\nexchange = \"hello\"", "needs `record`"),
            (
                "level = \"strict\"\n[request]\nexchange = \"hello\"\nexpect = [{ at = \"status\", is = 200 }]",
                "needs a `[[mutant]]`",
            ),
            (
                "level = \"strict\"\nexempt = \"x\"\n[request]\nexchange = \"hello\"\nexpect = [{ at = \"body.a\", same_as = \"x:a\" }]",
                "step `x` is not before",
            ),
        ] {
            let error = parse(rest).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn variables_stand_for_values_and_for_text() {
        let variables =
            BTreeMap::from([("model".to_owned(), json!("m")), ("calls".to_owned(), json!([{"id": 1}]))]);
        let mut body = json!({"model": "$model", "text": "a ${model} costs $5 here", "calls": "$calls"});
        fill(&mut body, &variables).unwrap();
        assert_eq!(body, json!({"model": "m", "text": "a m costs $5 here", "calls": [{"id": 1}]}));
        let text =
            r#"{"z": "$model", "a": "say \"${model}\" \u00e9", "calls":"$calls", "b": "c\\", "$ref": 1}"#;
        assert_eq!(
            fill_body(text, &variables).unwrap(),
            r#"{"z": "m", "a": "say \"m\" é", "calls":[{"id":1}], "b": "c\\", "$ref": 1}"#
        );
        assert!(fill_body(r#"{"a": "$nope"}"#, &variables).is_err());
        assert!(fill(&mut json!("$nope"), &variables).is_err());
    }
}
