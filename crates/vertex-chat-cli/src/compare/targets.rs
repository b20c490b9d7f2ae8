//! Whom to ask: words of the command line, the gateway's configuration, the emulator.

use std::path::Path;

use vertex_chat::auth::shown_name;
use vertex_chat::types::Extra;
use vertex_chat::{Environment, Json, Policy};
use vertex_chat_compare::{Prices, Target};
use vertex_chat_gateway::{BuildError, Config, Options, Places};

use crate::Failure;
use crate::emulate::{Embedded, toml_lines, toml_text};
use crate::request::Parameters;

/// What of a word is about where a model is, and not a parameter of requests.
const OPTIONS: [&str; 7] =
    ["project", "location", "endpoint", "host", "dialect", "api_key_env", "credentials_file"];
/// What is no parameter of one target's, since all are asked the same.
pub(crate) const NOT_PARAMETERS: [&str; 4] = ["messages", "model", "stream", "stream_options"];
/// What of them is in no report's name for a target.
const QUIET_OPTIONS: [&str; 5] = ["project", "host", "dialect", "api_key_env", "credentials_file"];
/// The hosts whose prices the emulator's services have, by target.
const PRICED_AS: [(&str, &str); 3] = [
    ("vertex", "aiplatform.googleapis.com"),
    ("openai", "api.openai.com"),
    ("developer", "generativelanguage.googleapis.com"),
];

/// A word, taken apart.
#[derive(Debug, PartialEq)]
struct Spec {
    label: String,
    /// A base URL, where the word is one.
    url: Option<String>,
    /// The model, `TARGET:MODEL`, or a name of the configuration.
    name: String,
    options: Vec<(&'static str, String)>,
    parameters: Option<Json>,
}

impl Spec {
    fn parse(word: &str) -> Result<Self, Failure> {
        // What stands behind the `?` may be meant for nobody's eyes.
        Self::read(word).map_err(|what| Failure::Usage(format!("`{}`: {what}", before_query(word))))
    }

    fn read(word: &str) -> Result<Self, String> {
        let (label, rest) = match word.split_once('=') {
            // What has been taken apart by then is no label.
            Some((label, rest)) if !label.contains(['/', ':', '?', '#']) => (Some(label), rest),
            _ => (None, word),
        };
        let (url, rest) = split_url(rest)?;
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Query { options, parameters, telling } = Query::read(query)?;
        let label = match label {
            Some(label) => label.to_owned(),
            None if telling.is_empty() => before_query(word).to_owned(),
            None => format!("{}?{}", before_query(word), telling.join("&")),
        };
        let is_of_vertex = url.is_none() && !options.is_empty();
        if is_of_vertex && (name.contains(':') || !(name.is_empty() || name.contains('/'))) {
            return Err(format!(
                "`{}` says where a model of Vertex's is, and `{name}` is none: write publisher/model, or leave it out",
                options[0].0
            ));
        }
        if url.is_some() && options.iter().any(|(key, _)| !["dialect", "api_key_env"].contains(key)) {
            return Err("of a base URL only `dialect` and `api_key_env` can be said".to_owned());
        }
        if label.is_empty() || (name.is_empty() && url.is_none() && options.is_empty()) {
            return Err("there is no model, or no name before the `=`".to_owned());
        }
        let parameters = (!parameters.is_empty()).then(|| Json::from_serialize(&parameters));
        let parameters = parameters.transpose().map_err(|error| error.to_string())?;
        Ok(Self { label, url: url.map(str::to_owned), name: name.to_owned(), options, parameters })
    }

    fn is_inline(&self) -> bool {
        self.url.is_some() || !self.options.is_empty()
    }

    /// The target that the word itself describes, as the configuration would.
    fn section(&self, number: usize, embedded: Option<&Embedded>) -> Result<String, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("`{}`: {what}", self.label));
        let given = |key: &str| self.options.iter().any(|(it, _)| *it == key);
        let kind = match (&self.url, given("endpoint")) {
            (Some(_), _) => "openai",
            (None, true) => "endpoint",
            (None, false) => "vertex",
        };
        let mut lines = format!("[targets.{}]\nkind = \"{kind}\"\n", inline_name(number));
        lines.push_str(&toml_lines(self.url.clone().map(|url| ("base_url", url))));
        for (key, value) in &self.options {
            if *key != "api_key_env" {
                lines.push_str(&toml_lines([(*key, value.clone())]));
                continue;
            }
            if value.is_empty() || !value.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_') {
                return Err(wrong("`api_key_env` is the name of an environment variable"));
            }
            if std::env::var_os(value).is_none() {
                return Err(wrong(&format!(
                    "the environment variable {} is not set; it has the key",
                    shown_name(value)
                )));
            }
            lines.push_str(&format!("api_key = \"${{{value}}}\"\n"));
        }
        if let (Some(embedded), false, None) = (embedded, given("host"), &self.url) {
            lines.push_str(&toml_lines(embedded.google_lines().into_iter().filter(|(key, _)| !given(key))));
        }
        Ok(lines)
    }
}

/// A base URL, where there is one, and what follows it.
fn split_url(text: &str) -> Result<(Option<&str>, &str), String> {
    if !text.starts_with("http://") && !text.starts_with("https://") {
        return match before_query(text).contains("://") {
            true => Err("a base URL begins with http:// or https://".to_owned()),
            false => Ok((None, text)),
        };
    }
    match (text.find('#'), text.find('?')) {
        (Some(model), Some(query)) if query < model => {
            Err("a base URL has no `?`; parameters stand behind the model: URL#MODEL?NAME=VALUE".to_owned())
        }
        (Some(model), _) => Ok((Some(&text[..model]), &text[model + 1..])),
        // A URL without a model may have parameters all the same.
        (None, Some(query)) => Ok((Some(&text[..query]), &text[query..])),
        (None, None) => Ok((Some(text), "")),
    }
}

/// What stands behind a word's `?`.
struct Query<'a> {
    options: Vec<(&'static str, String)>,
    parameters: Extra,
    /// What tells two words apart is in their names; where keys lie is nobody's business.
    telling: Vec<&'a str>,
}

impl<'a> Query<'a> {
    fn read(query: &'a str) -> Result<Self, String> {
        let mut all = Self { options: Vec::new(), parameters: Extra::default(), telling: Vec::new() };
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err("what stands after the `?` is NAME=VALUE, with `&` between".to_owned());
            };
            if ["api_key", "key", "access_token"].contains(&key) {
                return Err(
                    "a key has no place here; `api_key_env` names the variable that has it".to_owned()
                );
            }
            if NOT_PARAMETERS.contains(&key) {
                return Err(format!("`{key}` is the same for all models, and said by other options"));
            }
            if all.parameters.get(key).is_some() || all.options.iter().any(|(it, _)| *it == key) {
                return Err(format!("`{key}` is given twice"));
            }
            if !QUIET_OPTIONS.contains(&key) {
                all.telling.push(pair);
            }
            match OPTIONS.iter().find(|it| **it == key) {
                Some(option) => all.options.push((*option, value.to_owned())),
                None => {
                    let value = value.parse::<Json>().unwrap_or_else(|_| Json::from(value));
                    all.parameters.insert(key, value);
                }
            }
        }
        Ok(all)
    }
}

/// Words between commas; a comma in brackets or quotes is a value's.
pub(crate) fn split(words: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let (mut depth, mut in_quotes) = (0_u32, false);
    for character in words.chars() {
        match character {
            '"' => in_quotes = !in_quotes,
            '[' | '{' if !in_quotes => depth += 1,
            ']' | '}' if !in_quotes => depth = depth.saturating_sub(1),
            ',' if !in_quotes && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = all.last_mut() {
            last.push(character);
        }
    }
    // A comma at the end is no word.
    all.retain(|it| !it.trim().is_empty());
    all
}

/// What stands before the `?`.
fn before_query(word: &str) -> &str {
    word.split_once('?').map_or(word, |(before, _)| before)
}

fn inline_name(number: usize) -> String {
    format!("inline-{number}")
}

/// Finds everybody whom words name, in their order.
pub(crate) async fn find(
    words: &[String],
    config: Option<&Path>,
    parameters: &Parameters,
    prices: &Prices,
    embedded: Option<&Embedded>,
) -> Result<Vec<Target>, Failure> {
    let specs: Vec<Spec> = words.iter().map(|it| Spec::parse(it)).collect::<Result<_, _>>()?;
    let defaults = defaults(parameters);
    let environment = match embedded {
        Some(_) => Environment::of::<&str, &str>([]),
        None => Environment::process(),
    };
    let has_key = environment.get("OPENAI_API_KEY").is_some_and(|it| it.starts_with("sk-"));
    let asks_openai = specs.iter().any(|it| it.name.starts_with("openai:"));
    if config.is_none() && embedded.is_none() && asks_openai && !has_key {
        return Err(Failure::Configuration(
            "OPENAI_API_KEY is not set, or is no key of OpenAI's (sk-…)".to_owned(),
        ));
    }
    let options = Options::new().environment(environment);
    let options = embedded.map_or(options.clone(), |it| it.options(options));
    let known = configured(&specs, config, &defaults, embedded, &options).await?;
    let inline = inline(&specs, &defaults, embedded, &options).await?;
    let mut targets = Vec::new();
    for (number, spec) in specs.into_iter().enumerate() {
        let place = match spec.is_inline() {
            true => inline.as_ref().and_then(|it| it.find(&format!("{}:{}", inline_name(number), spec.name))),
            false => known.iter().find_map(|it| it.find(&spec.name)),
        };
        let Some(place) = place else {
            let known = known.first().map(|it| it.targets().join(", ")).unwrap_or_default();
            return Err(Failure::Usage(format!(
                "nobody has `{}`; the targets are {known}. `TARGET:MODEL` names one of theirs, `publisher/model` one of \
                 Vertex's; OPENAI_API_KEY makes the target openai",
                spec.name
            )));
        };
        let (target, location) = place.label.split_once('@').unwrap_or((&place.label, ""));
        let location = Some(location.to_owned()).filter(|it| !it.is_empty());
        let target = if spec.is_inline() { "vertex" } else { target };
        let host = priced_host(place.client.chat_url(), embedded.map(|_| target));
        let price = prices.find(&place.model, host, location.as_deref());
        targets.push(
            Target::new(spec.label, place.client, place.model)
                .with_location(location)
                .with_parameters(spec.parameters)
                .with_price(price),
        );
    }
    Ok(targets)
}

/// What the configuration knows, and what would be known without its file where it does not know all. It is looked at only
/// when a word needs it: it may want credentials that nobody has.
async fn configured(
    specs: &[Spec],
    config: Option<&Path>,
    defaults: &str,
    embedded: Option<&Embedded>,
    options: &Options,
) -> Result<Vec<Places>, Failure> {
    if specs.iter().all(Spec::is_inline) {
        return Ok(Vec::new());
    }
    let read = match (config, embedded) {
        (Some(_), _) if !defaults.is_empty() => {
            let message = "--unsupported and --no-rewrite stand in the configuration's [defaults]";
            return Err(Failure::Usage(message.to_owned()));
        }
        (Some(path), _) => crate::serve::read(path).await.map_err(Failure::Configuration)?,
        (None, Some(embedded)) => parse(&format!("{defaults}{}", embedded.toml()))?,
        (None, None) => parse(defaults)?,
    };
    let failed = |error: BuildError| Failure::Configuration(error.to_string());
    let mut known = vec![Places::build(&read, options).await.map_err(failed)?];
    let is_known = |it: &Spec| it.is_inline() || known[0].find(&it.name).is_some();
    if config.is_some() && !specs.iter().all(is_known) {
        known.extend(Places::build(&Config::default(), options).await.ok());
    }
    Ok(known)
}

/// What words describe themselves.
async fn inline(
    specs: &[Spec],
    defaults: &str,
    embedded: Option<&Embedded>,
    options: &Options,
) -> Result<Option<Places>, Failure> {
    let mut text = defaults.to_owned();
    for (number, spec) in specs.iter().enumerate().filter(|(_, it)| it.is_inline()) {
        text.push_str(&spec.section(number, embedded)?);
    }
    if text.len() == defaults.len() {
        return Ok(None);
    }
    let built = Places::build(&parse(&text)?, options).await;
    built.map(Some).map_err(|error| {
        // By the names that were given, not by ours.
        let mut text = error.to_string();
        for (number, spec) in specs.iter().enumerate() {
            text = text.replace(&format!("`{}`", inline_name(number)), &format!("`{}`", spec.label));
        }
        Failure::Configuration(text)
    })
}

/// Whose prices hold at a URL; of an emulated target, those of whom it stands for.
fn priced_host<'a>(url: &'a http::Uri, emulated: Option<&str>) -> &'a str {
    let is_own = url.path().contains("/endpoints/") && !url.path().contains("/endpoints/openapi/");
    let as_if = emulated.and_then(|target| PRICED_AS.iter().find(|(it, _)| *it == target));
    match as_if {
        // A model of one's own is paid as its machine is, whatever it is called.
        _ if is_own => "",
        Some((_, host)) => host,
        None => url.host().unwrap_or_default(),
    }
}

/// The command line's treatment of parameters, as the configuration has it.
fn defaults(parameters: &Parameters) -> String {
    let mut lines = String::new();
    if let Some(policy) = parameters.unsupported {
        let word = match policy {
            Policy::Forward => "forward",
            Policy::Reject => "reject",
            _ => "drop",
        };
        lines.push_str(&format!("policy = \"{word}\"\n"));
    }
    let off: Vec<String> = parameters.no_rewrite.iter().map(|it| toml_text(&it.to_string())).collect();
    if !off.is_empty() {
        lines.push_str(&format!("rewrites_off = [{}]\n", off.join(", ")));
    }
    if lines.is_empty() { lines } else { format!("[defaults]\n{lines}") }
}

fn parse(text: &str) -> Result<Config, Failure> {
    Config::parse("the command line", text).map_err(|error| Failure::Usage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, label: &str, url: Option<&str>, name: &str) -> Spec {
        let spec = Spec::parse(word).unwrap();
        assert_eq!((spec.label.as_str(), spec.url.as_deref(), spec.name.as_str()), (label, url, name));
        spec
    }

    #[test]
    fn commas_in_values_do_not_part_words() {
        assert_eq!(split(r#"a?stop=["x","y"],b={"c":"d,e"},"#), [r#"a?stop=["x","y"]"#, r#"b={"c":"d,e"}"#]);
    }

    #[test]
    fn words_are_taken_apart() {
        let plain =
            check("google/gemini-2.5-flash", "google/gemini-2.5-flash", None, "google/gemini-2.5-flash");
        assert!(!plain.is_inline() && plain.parameters.is_none());
        check("openai:gpt-4o-mini", "openai:gpt-4o-mini", None, "openai:gpt-4o-mini");
        let cold = check("cold=google/x?temperature=0&stop=a", "cold", None, "google/x");
        assert_eq!(cold.parameters.unwrap().as_str(), r#"{"temperature":0,"stop":"a"}"#);
        let word = "http://127.0.0.1:8000/v1#org/model?top_k=1&api_key_env=KEY";
        let label = "http://127.0.0.1:8000/v1#org/model?top_k=1";
        let local = check(word, label, Some("http://127.0.0.1:8000/v1"), "org/model");
        assert_eq!(local.options, [("api_key_env", "KEY".to_owned())]);
        check("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1", Some("http://127.0.0.1:1/v1"), "");
        check(
            "http://127.0.0.1:1/v1?top_k=1",
            "http://127.0.0.1:1/v1?top_k=1",
            Some("http://127.0.0.1:1/v1"),
            "",
        );
        let there = check("a=google/x?host=http://127.0.0.1:1", "a", None, "google/x");
        assert_eq!(there.options, [("host", "http://127.0.0.1:1".to_owned())]);
        let own = check("mine=?endpoint=123&location=europe-west4", "mine", None, "");
        assert!(own.is_inline());
        for word in [
            "",
            "x=",
            "=x",
            "x?temperature",
            "x?messages=[]",
            "x?seed=1&seed=2",
            "ftp://a#b",
            "http://a/v1?key=x#m",
            "http://a/v1#m?location=x",
            "openai:gpt-4o?location=us",
            "mine?location=us",
        ] {
            assert!(Spec::parse(word).is_err(), "{word}");
        }
        let Err(Failure::Usage(text)) = Spec::parse("http://a/v1#m?api_key=SECRET") else { panic!() };
        assert!(!text.contains("SECRET") && text.contains("api_key_env"), "{text}");
    }
}
