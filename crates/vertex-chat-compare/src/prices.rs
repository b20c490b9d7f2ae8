//! What tokens cost: the bundled table, and tables of one's own before it.
//!
//! A table is TOML, as the bundled `prices.toml` is:
//!
//! ```toml
//! updated = "2026-11-23"
//!
//! [[price]]
//! models = ["my-model", "my-model-2026-*"]
//! hosts = ["llm.example.org"]
//! input = 0.30
//! cached_input = 0.03
//! output = 2.50
//! ```

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use jiff::civil::Date;
use serde::Deserialize;
use toml::Spanned;

use crate::record::{LongPriceLine, PriceLine, TokensLine};

/// The longest table, in bytes. The bundled one has less than a twentieth of it.
pub const PRICES_BYTES_MAX: usize = 1 << 20;

/// The most rows of a table.
pub const PRICE_ROWS_MAX: usize = 10_000;

/// The most places of a table: its rows' models, times their hosts, times their locations.
pub const PRICE_PLACES_MAX: usize = 200_000;

/// The highest price of a million tokens, or of an hour, in US dollars: far above what anybody asks, far below where sums
/// lose cents.
pub const PRICE_MAX: f64 = 1_000_000.0;

/// The lowest price of a million tokens, in US dollars, that is not zero. Who writes less has most likely written the price
/// of one token.
pub const PRICE_MIN: f64 = 0.0001;

/// What prices are of.
const MILLION: f64 = 1_000_000.0;

/// The table that comes with the program.
const BUNDLED: &str = include_str!("../prices.toml");

/// Tables of prices, the first of which that knows a model is believed.
#[derive(Clone, Debug)]
pub struct Prices {
    tables: Vec<Table>,
    /// The day for which prices are looked up.
    day: Option<Date>,
}

#[derive(Clone, Debug)]
struct Table {
    /// The file's name; `None` is the bundled one.
    name: Option<String>,
    updated: Option<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    models: Vec<String>,
    /// Any, when there are none.
    hosts: Vec<String>,
    /// Any, when there are none.
    locations: Vec<String>,
    period: Period,
    price: PriceLine,
}

/// The days on which a price holds, both ends included.
#[derive(Clone, Copy, Debug)]
struct Period {
    from: Option<Date>,
    until: Option<Date>,
}

impl Period {
    fn has(self, day: Date) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day <= until)
    }

    fn meets(self, other: Self) -> bool {
        let before = |a: Self, b: Self| a.until.zip(b.from).is_some_and(|(until, from)| until < from);
        !before(self, other) && !before(other, self)
    }
}

/// What is wrong with a table, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceError {
    file: String,
    /// Line and column, from 1.
    position: Option<(usize, usize)>,
    message: String,
}

impl PriceError {
    /// The line, from 1, if it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.position.map(|(line, _)| line)
    }
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for PriceError {}

impl Prices {
    /// The table that comes with the program.
    #[must_use]
    pub fn bundled() -> Self {
        let mut prices = Self::parse("prices.toml", BUNDLED).expect("because the tests parse it");
        for table in &mut prices.tables {
            table.name = None;
        }
        prices
    }

    /// Reads a table. `name` is what faults call it, such as the file's path.
    ///
    /// # Errors
    /// With the first fault and its place: what is no TOML, a key that nobody knows, a price that is none, two rows for the
    /// same.
    pub fn parse(name: &str, text: &str) -> Result<Self, PriceError> {
        let source = Source { name, text };
        if text.len() > PRICES_BYTES_MAX {
            let message =
                format!("a table of prices has at most {PRICES_BYTES_MAX} bytes; leave some models out");
            return Err(source.fault(None, message));
        }
        let file: FileSection = toml::from_str(text)
            .map_err(|error| source.fault(error.span(), error.message().trim_end().to_owned()))?;
        source.table(file)
    }

    /// These, behind those of one's own: a model that one's own tables know costs what they say.
    #[must_use]
    pub fn with_own(mut self, own: Self) -> Self {
        self.tables.splice(0..0, own.tables);
        self.day = self.day.or(own.day);
        self
    }

    /// These, as of another day than the one on which the table was last looked after. Prices are announced to begin or to
    /// end, and a run that goes on later costs what it cost when it began.
    ///
    /// # Errors
    /// When it is neither a day, `2026-11-23`, nor a time that begins with one.
    pub fn on(mut self, day: &str) -> Result<Self, PriceError> {
        let found = day
            .get(..10)
            .and_then(date)
            .filter(|_| day.len() == 10 || day[10..].starts_with(['T', 't', ' ']));
        let message = || format!("`{day}` is not a day, such as 2026-11-23");
        let error = || PriceError { file: "prices".to_owned(), position: None, message: message() };
        self.day = Some(found.ok_or_else(error)?);
        Ok(self)
    }

    /// What a model costs at a host, which is given without its port, and in a location. Of the rows that fit, the one whose
    /// model is most specific counts: a name before a pattern, a longer pattern before a shorter one; then its host, then
    /// its location; then the first one. `None` is unknown, not free.
    #[must_use]
    pub fn find(&self, model: &str, host: &str, location: Option<&str>) -> Option<PriceLine> {
        let host = host.to_ascii_lowercase();
        for table in &self.tables {
            let mut best: Option<(Fit, Fit, Fit)> = None;
            let mut found = None;
            for row in &table.rows {
                if self.day.is_some_and(|day| !row.period.has(day)) {
                    continue;
                }
                let (Some(by_model), Some(by_host), Some(by_location)) = (
                    fit(&row.models, model),
                    fit_or_any(&row.hosts, Some(&host)),
                    fit_or_any(&row.locations, location),
                ) else {
                    continue;
                };
                let score = (by_model, by_host, by_location);
                if best.is_none_or(|best| best < score) {
                    best = Some(score);
                    found = Some(&row.price);
                }
            }
            if found.is_some() {
                return found.cloned();
            }
        }
        None
    }

    /// Where prices are from, in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let own: Vec<&str> = self.tables.iter().filter_map(|it| it.name.as_deref()).collect();
        let bundled = self.tables.iter().find(|it| it.name.is_none());
        let mut parts = Vec::new();
        if let Some(table) = bundled {
            parts.push(format!("bundled table of {}", table.updated.as_deref().unwrap_or("an unknown day")));
        }
        if !own.is_empty() {
            parts.push(format!("own: {}", own.join(", ")));
        }
        parts.join("; ")
    }
}

impl PriceLine {
    /// What it costs with this share off, 0 to 1, such as in a batch job. Cached tokens keep their own price where that is lower:
    /// discounts do not add up.
    #[must_use]
    pub fn discounted(&self, share: f64) -> Self {
        let off = |price: f64| price * (1.0 - share);
        let cached = |price: Option<f64>, input: Option<f64>| match (price, input) {
            (Some(price), Some(input)) => Some(price.min(off(input))),
            (price, _) => price,
        };
        Self {
            input: self.input.map(off),
            cached_input: cached(self.cached_input, self.input),
            output: self.output.map(off),
            long: self.long.as_ref().map(|it| LongPriceLine {
                input: off(it.input),
                cached_input: cached(it.cached_input, Some(it.input)),
                output: off(it.output),
                ..it.clone()
            }),
            ..self.clone()
        }
    }

    /// What a request cost, in US dollars. `None` when that is unknown, as it is where the machine is paid by the hour.
    ///
    /// A long prompt makes the whole request dear, not what is above the threshold only; that is how Google, OpenAI and xAI
    /// charge it. Thinking costs what the answer costs.
    #[must_use]
    pub fn cost(&self, tokens: &TokensLine) -> Option<f64> {
        let (short_input, short_output) = self.input.zip(self.output)?;
        let (input, cached_input, output) = match &self.long {
            Some(long) if tokens.prompt > long.above => (long.input, long.cached_input, long.output),
            _ => (short_input, self.cached_input, short_output),
        };
        let cached = tokens.cached.min(tokens.prompt);
        let fresh = tokens.prompt - cached;
        let answer = tokens.completion.saturating_add(tokens.reasoning);
        let sum =
            fresh as f64 * input + cached as f64 * cached_input.unwrap_or(input) + answer as f64 * output;
        let cost = sum / MILLION;
        (cost.is_finite() && cost >= 0.0).then_some(cost)
    }
}

/// How well something fits, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Any,
    /// A pattern with so many bytes beside its `*`.
    Pattern(usize),
    Name,
}

fn fit(patterns: &[String], text: &str) -> Option<Fit> {
    let fits = patterns.iter().filter_map(|pattern| match pattern.split_once('*') {
        None => (pattern == text).then_some(Fit::Name),
        Some((start, end)) => {
            let fits =
                text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end);
            fits.then_some(Fit::Pattern(start.len() + end.len()))
        }
    });
    fits.max()
}

fn fit_or_any(patterns: &[String], text: Option<&str>) -> Option<Fit> {
    if patterns.is_empty() { Some(Fit::Any) } else { fit(patterns, text?) }
}

/// A day as `2026-11-23` and in no other way.
fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSection {
    updated: Option<Spanned<String>>,
    currency: Option<Spanned<String>>,
    #[serde(default)]
    price: Vec<Spanned<PriceSection>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceSection {
    models: Spanned<Vec<Spanned<String>>>,
    hosts: Option<Spanned<Vec<Spanned<String>>>>,
    locations: Option<Spanned<Vec<Spanned<String>>>>,
    from: Option<Spanned<String>>,
    until: Option<Spanned<String>>,
    input: Option<Spanned<f64>>,
    cached_input: Option<Spanned<f64>>,
    output: Option<Spanned<f64>>,
    long: Option<LongSection>,
    hour: Option<Spanned<f64>>,
    source: Option<String>,
    date: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LongSection {
    above: u64,
    input: Spanned<f64>,
    cached_input: Option<Spanned<f64>>,
    output: Spanned<f64>,
}

/// A table's text, with what its faults are called.
struct Source<'a> {
    name: &'a str,
    text: &'a str,
}

/// What has a price of its own: a model, a host and a location, as the rows write them.
type Place = (String, Option<String>, Option<String>);

impl Source<'_> {
    fn table(&self, file: FileSection) -> Result<Prices, PriceError> {
        if let Some(currency) = file.currency.filter(|it| it.get_ref() != "USD") {
            return Err(
                self.fault(Some(currency.span()), "prices are in US dollars; write \"USD\", or nothing")
            );
        }
        if let Some(row) = file.price.get(PRICE_ROWS_MAX) {
            let message = format!("a table has at most {PRICE_ROWS_MAX} rows; leave some out");
            return Err(self.fault(Some(row.span()), message));
        }
        let day = file.updated.as_ref().map(|it| self.date(it)).transpose()?;
        let mut places = 0_usize;
        let mut taken: HashMap<Place, Vec<(Period, Range<usize>)>> = HashMap::new();
        let mut rows = Vec::with_capacity(file.price.len());
        for section in file.price {
            let span = section.span();
            let row = self.row(section.into_inner(), &span)?;
            let at = row.hosts.len().max(1).saturating_mul(row.locations.len().max(1));
            places = at.saturating_mul(row.models.len()).saturating_add(places);
            if places > PRICE_PLACES_MAX {
                let message = format!(
                    "with this row there are more than {PRICE_PLACES_MAX} models, hosts and locations"
                );
                return Err(self.fault(Some(span), message + "; use patterns"));
            }
            for place in each_place(&row) {
                let others = taken.entry(place).or_default();
                if let Some((_, other)) = others.iter().find(|(period, _)| period.meets(row.period)) {
                    let line = self.position(other).0;
                    let message =
                        format!("the row at line {line} says the same of a model, a host and a location");
                    return Err(self.fault(Some(span), message + "; keep one of them, or tell them apart"));
                }
                others.push((row.period, span.clone()));
            }
            rows.push(row);
        }
        let table =
            Table { name: Some(self.name.to_owned()), updated: file.updated.map(Spanned::into_inner), rows };
        Ok(Prices { tables: vec![table], day })
    }

    fn row(&self, section: PriceSection, span: &Range<usize>) -> Result<Row, PriceError> {
        let models = self.patterns("models", section.models)?;
        let hosts = section.hosts.map(|it| self.patterns("hosts", it)).transpose()?.unwrap_or_default();
        let locations =
            section.locations.map(|it| self.patterns("locations", it)).transpose()?.unwrap_or_default();
        let from = section.from.as_ref().map(|it| self.date(it)).transpose()?;
        let until = section.until.as_ref().map(|it| self.date(it)).transpose()?;
        if let (Some(from), Some(until), Some(end)) = (from, until, &section.until)
            && until < from
        {
            return Err(self.fault(Some(end.span()), "`until` is before `from`; exchange them"));
        }

        let input = self.price(section.input)?;
        let cached_input = self.price(section.cached_input)?;
        let output = self.price(section.output)?;
        let hour = self.price(section.hour)?;
        let is_of_tokens = input.is_some() && output.is_some();
        let has_any = input.is_some() || output.is_some() || cached_input.is_some() || section.long.is_some();
        if hour.is_some() && has_any {
            let message = "`hour` stands in place of prices of tokens; keep the one or the others";
            return Err(self.fault(Some(span.clone()), message));
        }
        if hour.is_none() && !is_of_tokens {
            return Err(self.fault(Some(span.clone()), "a price needs `input` and `output`, or `hour`"));
        }
        let long = match section.long {
            None => None,
            Some(long) => Some(LongPriceLine {
                above: long.above,
                input: self.checked(&long.input)?,
                cached_input: self.price(long.cached_input)?,
                output: self.checked(&long.output)?,
            }),
        };

        let day = section.date.as_ref().map(|it| self.date(it)).transpose()?;
        let price = PriceLine {
            input,
            cached_input,
            output,
            long,
            hour,
            source: section.source.unwrap_or_else(|| self.name.to_owned()),
            date: day.map(|it| it.to_string()).unwrap_or_default(),
        };
        let hosts = hosts.into_iter().map(|it| it.to_ascii_lowercase()).collect();
        Ok(Row { models, hosts, locations, period: Period { from, until }, price })
    }

    fn patterns(&self, key: &str, list: Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, PriceError> {
        if list.get_ref().is_empty() {
            return Err(self.fault(Some(list.span()), format!("`{key}` is empty; name one, or `*`")));
        }
        let mut patterns = Vec::new();
        for pattern in list.into_inner() {
            let text = pattern.get_ref();
            let fault = if text.trim() != text || text.is_empty() {
                "a name is not empty and has no space around it"
            } else if text.matches('*').count() > 1 {
                "a pattern has one `*`; write several patterns"
            } else if key == "hosts" && (text.contains('/') || text.contains(':')) {
                "a host is a name without scheme, port and path, such as api.openai.com"
            } else {
                patterns.push(pattern.into_inner());
                continue;
            };
            return Err(self.fault(Some(pattern.span()), fault));
        }
        Ok(patterns)
    }

    fn price(&self, price: Option<Spanned<f64>>) -> Result<Option<f64>, PriceError> {
        price.map(|it| self.checked(&it)).transpose()
    }

    fn checked(&self, price: &Spanned<f64>) -> Result<f64, PriceError> {
        let value = *price.get_ref();
        let message = if !value.is_finite() || value < 0.0 {
            "a price is a number that is not negative; leave it out when it is unknown".to_owned()
        } else if value > PRICE_MAX {
            format!("a price is at most {PRICE_MAX} US dollars for a million tokens, or for an hour")
        } else if value > 0.0 && value < PRICE_MIN {
            format!("a price below {PRICE_MIN} is that of one token; write that of a million")
        } else {
            // Minus nothing is nothing.
            return Ok(value.abs());
        };
        Err(self.fault(Some(price.span()), message))
    }

    fn date(&self, text: &Spanned<String>) -> Result<Date, PriceError> {
        let fault = || self.fault(Some(text.span()), "not a day of the calendar, such as \"2026-11-23\"");
        date(text.get_ref()).ok_or_else(fault)
    }

    fn fault(&self, span: Option<Range<usize>>, message: impl Into<String>) -> PriceError {
        let position = span.map(|span| self.position(&span));
        PriceError { file: self.name.to_owned(), position, message: message.into() }
    }

    fn position(&self, span: &Range<usize>) -> (usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

fn each_place(row: &Row) -> Vec<Place> {
    let each = |list: &[String]| -> Vec<Option<String>> {
        if list.is_empty() { vec![None] } else { list.iter().cloned().map(Some).collect() }
    };
    let mut places = Vec::new();
    for model in &row.models {
        for host in each(&row.hosts) {
            for location in each(&row.locations) {
                places.push((model.clone(), host.clone(), location));
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERTEX: &str = "aiplatform.googleapis.com";

    fn own(text: &str) -> Prices {
        Prices::parse("own.toml", text).unwrap()
    }

    /// Input, cached input and output.
    #[track_caller]
    fn check(
        prices: &Prices,
        (model, host): (&str, &str),
        location: Option<&str>,
        expected: Option<(f64, Option<f64>, f64)>,
    ) {
        let found = prices.find(model, host, location);
        let found = found.map(|it| (it.input.unwrap(), it.cached_input, it.output.unwrap()));
        assert_eq!(found, expected, "{model} at {host} in {location:?}");
    }

    fn tokens(prompt: u64, cached: u64, completion: u64, reasoning: u64) -> TokensLine {
        TokensLine { prompt, cached, completion, reasoning }
    }

    #[track_caller]
    fn refused(text: &str, at: &str, expected: &str) {
        let error = Prices::parse("p.toml", text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("p.toml{at}: ")) && error.contains(expected), "{error}");
    }

    #[test]
    fn every_bundled_price_has_a_page_and_a_day() {
        let prices = Prices::bundled();
        let table = &prices.tables[0];
        let updated = date(table.updated.as_deref().unwrap()).unwrap();
        assert!(table.rows.len() >= 40);
        for row in &table.rows {
            let price = &row.price;
            assert!(price.source.starts_with("https://"), "{row:?}");
            assert!(date(&price.date).unwrap() <= updated, "{row:?}");
            assert!(!row.hosts.is_empty(), "a price holds for whoever asks it: {row:?}");
            let (input, output) = price.input.zip(price.output).unwrap();
            assert!(input > 0.0 && output >= input, "{row:?}");
            assert!(price.cached_input.is_none_or(|it| it < input), "{row:?}");
            if let Some(long) = &price.long {
                assert!(long.input > input && long.output > output && long.above >= 100_000, "{row:?}");
                assert_eq!(long.cached_input.is_some(), price.cached_input.is_some(), "{row:?}");
            }
        }
    }

    #[test]
    fn bundled_prices_are_those_of_the_pages() {
        let prices = Prices::bundled();
        let global = Some("global");
        check(&prices, ("google/gemini-2.5-flash", VERTEX), global, Some((0.30, Some(0.03), 2.50)));
        check(&prices, ("google/gemini-3.5-flash", VERTEX), global, Some((1.50, Some(0.15), 9.00)));
        let regional = "europe-west1-aiplatform.googleapis.com";
        check(
            &prices,
            ("google/gemini-3.5-flash", regional),
            Some("europe-west1"),
            Some((1.65, Some(0.165), 9.90)),
        );
        let multi = "aiplatform.EU.rep.googleapis.com";
        check(&prices, ("gemini-3.5-flash", multi), Some("eu"), Some((1.65, Some(0.165), 9.90)));
        check(&prices, ("meta/llama-3.3-70b-instruct-maas", regional), Some("x"), Some((0.72, None, 0.72)));
        let developer = "generativelanguage.googleapis.com";
        check(&prices, ("gemini-2.5-flash-lite", developer), None, Some((0.10, Some(0.01), 0.40)));
        check(&prices, ("gpt-4o-mini", "api.openai.com"), None, Some((0.15, Some(0.075), 0.60)));
        check(&prices, ("gpt-5-2025-08-07", "api.openai.com"), None, Some((1.25, Some(0.125), 10.0)));
    }

    #[test]
    fn a_price_holds_for_nobody_else() {
        let prices = Prices::bundled();
        check(&prices, ("gpt-4o-mini", "localhost"), None, None);
        check(&prices, ("gpt-4o-mini", "eu.api.openai.com"), None, None);
        check(&prices, ("gpt-4o-mini", VERTEX), Some("global"), None);
        check(&prices, ("gpt-4o-mini-x", "api.openai.com"), None, None);
        check(&prices, ("google/gemini-3.5-flash", VERTEX), None, None);
        check(&prices, ("", ""), None, None);
    }

    #[test]
    fn prices_begin_and_end_on_their_days() {
        let at = |day: &str| Prices::bundled().on(day).unwrap();
        let asked = ("google/gemini-3.8-flash", VERTEX);
        let (introductory, standard) = (Some((0.75, Some(0.075), 3.75)), Some((1.50, Some(0.15), 7.50)));
        check(&Prices::bundled(), asked, Some("global"), introductory);
        check(&at("2026-12-31"), asked, Some("global"), introductory);
        check(&at("2027-01-01T00:00:00Z"), asked, Some("global"), standard);
        // What begins afterwards is not known.
        check(&at("2026-12-01"), ("google/gemini-4-argon", VERTEX), Some("global"), None);
        for day in ["", "today", "2026-02-30", "2026-11-2", "2026-11-231", "20261123", "2026-11-2é"] {
            assert!(Prices::bundled().on(day).unwrap_err().to_string().contains("2026-11-23"), "{day}");
        }
    }

    #[test]
    fn the_most_specific_row_counts() {
        let prices = own(r#"
            [[price]]
            models = ["*"]
            input = 1
            output = 1
            [[price]]
            models = ["a-*"]
            input = 2
            output = 2
            [[price]]
            models = ["a-b*"]
            input = 3
            output = 3
            [[price]]
            models = ["a-b*"]
            hosts = ["*"]
            input = 4
            output = 4
            [[price]]
            models = ["a-b*"]
            hosts = ["*.org"]
            input = 5
            output = 5
            [[price]]
            models = ["a-b*"]
            hosts = ["X.org"]
            locations = ["eu-*"]
            input = 6
            output = 6
            [[price]]
            models = ["a-bc"]
            input = 7
            output = 7
            "#);
        let of = |n: f64| Some((n, None, n));
        check(&prices, ("z", "x.org"), None, of(1.0));
        check(&prices, ("a-", "x.org"), None, of(2.0));
        check(&prices, ("a-b", "x.com"), None, of(4.0));
        check(&prices, ("a-b", "x.org"), None, of(5.0));
        check(&prices, ("a-b", "x.ORG"), Some("eu-1"), of(6.0));
        check(&prices, ("a-b", "x.org"), Some("us-1"), of(5.0));
        check(&prices, ("a-bc", "x.org"), Some("eu-1"), of(7.0));
        // The start and the end of a pattern do not share a letter.
        let prices = own("[[price]]\nmodels = [\"ab*ba\"]\ninput = 1\noutput = 1");
        check(&prices, ("aba", "x"), None, None);
        check(&prices, ("abba", "x"), None, of(1.0));
    }

    #[test]
    fn own_prices_stand_before_the_bundled_ones() {
        let text = "updated = \"2026-01-01\"\n[[price]]\nmodels = [\"gpt-4o*\"]\ninput = 0\ncached_input = 0\noutput = -0.0";
        let prices = Prices::bundled().with_own(own(text));
        check(&prices, ("gpt-4o-mini", "localhost"), None, Some((0.0, Some(0.0), 0.0)));
        check(&prices, ("gpt-4o-mini", "api.openai.com"), None, Some((0.0, Some(0.0), 0.0)));
        check(&prices, ("gpt-4.1", "api.openai.com"), None, Some((2.0, Some(0.5), 8.0)));
        let found = prices.find("gpt-4o", "localhost", None).unwrap();
        assert_eq!((found.source.as_str(), found.date.as_str()), ("own.toml", ""));
        assert_eq!(found.cost(&tokens(5, 0, 5, 0)), Some(0.0));
        assert_eq!(Prices::bundled().describe(), "bundled table of 2026-11-23");
        assert_eq!(prices.describe(), "bundled table of 2026-11-23; own: own.toml");
        assert_eq!(own(text).describe(), "own: own.toml");
    }

    #[test]
    fn a_request_costs_its_tokens() {
        let price = PriceLine {
            input: Some(2.0),
            cached_input: Some(0.5),
            output: Some(10.0),
            ..PriceLine::default()
        };
        assert_eq!(price.cost(&tokens(1_000_000, 400_000, 100_000, 200_000)), Some(1.2 + 0.2 + 3.0));
        let without = PriceLine { cached_input: None, ..price.clone() };
        assert_eq!(without.cost(&tokens(1_000_000, 400_000, 0, 0)), Some(2.0));
        // More cached tokens than there are do not make it negative.
        assert_eq!(price.cost(&tokens(1_000_000, u64::MAX, 0, 0)), Some(0.5));
        assert!(price.cost(&tokens(u64::MAX, 0, u64::MAX, u64::MAX)).unwrap().is_finite());
    }

    #[test]
    fn a_long_prompt_makes_the_whole_request_dear() {
        let price = Prices::bundled().find("google/gemini-2.5-pro", VERTEX, Some("global")).unwrap();
        let close = |tokens, expected: f64| {
            let cost = price.cost(&tokens).unwrap();
            assert!((cost - expected).abs() < 1e-9, "{cost}");
        };
        close(tokens(200_000, 0, 1_000, 1_000), 0.25 + 0.02);
        close(tokens(200_001, 100_001, 1_000, 1_000), 0.25 + 0.025_000_25 + 0.03);
        let mut without = price.clone();
        without.long.as_mut().unwrap().cached_input = None;
        let cost = without.cost(&tokens(400_000, 400_000, 0, 0)).unwrap();
        assert!((cost - 1.0).abs() < 1e-9, "{cost}");
    }

    #[test]
    fn what_is_unknown_is_not_free() {
        let hour = own("[[price]]\nmodels = [\"mine\"]\nhour = 4.5").find("mine", "x", None).unwrap();
        assert_eq!(hour.hour, Some(4.5));
        assert_eq!(hour.cost(&tokens(1, 0, 1, 0)), None);
        let half = PriceLine { input: Some(1.0), ..PriceLine::default() };
        assert_eq!(half.cost(&tokens(1, 0, 0, 0)), None);
        assert_eq!(PriceLine::default().cost(&tokens(0, 0, 0, 0)), None);
        let strange = PriceLine { input: Some(-1.0), output: Some(1.0), ..PriceLine::default() };
        assert_eq!(strange.cost(&tokens(1, 0, 0, 0)), None);
    }

    #[test]
    fn every_fault_names_its_place() {
        refused("updated = 1", ":1:11", "invalid type");
        refused("update = \"x\"", ":1:1", "unknown field `update`");
        refused("updated = ", ":1:11", "");
        refused("updated = \"2026-02-30\"", ":1:11", "not a day");
        refused("updated = \"2026-11-23T00:00\"", ":1:11", "not a day");
        refused("currency = \"EUR\"", ":1:12", "US dollars");
        refused("[[price]]\ninput = 1\noutput = 1", ":1:1", "missing field `models`");
        let row = |rest: &str| format!("[[price]]\nmodels = [\"a\"]\n{rest}");
        refused(&row("inptu = 1"), ":3:1", "unknown field `inptu`");
        refused(&row(""), ":1:1", "`input` and `output`, or `hour`");
        refused(&row("input = 1"), ":1:1", "`input` and `output`");
        refused(&row("hour = 1\ninput = 1\noutput = 1"), ":1:1", "in place of");
        refused(&row("hour = 1\ncached_input = 1"), ":1:1", "in place of");
        refused(&row("input = -1\noutput = 1"), ":3:9", "not negative");
        refused(&row("input = 1\noutput = nan"), ":4:10", "not negative");
        refused(&row("input = 1\noutput = inf"), ":4:10", "not negative");
        refused(&row("input = 1\noutput = 1e300"), ":4:10", "at most 1000000");
        refused(&row("input = 0.0000025\noutput = 1"), ":3:9", "of one token");
        refused(
            &row("input = 1\noutput = 1\nlong = { above = 5, input = 1, output = -2 }"),
            ":5:41",
            "not negative",
        );
        refused(&row("input = 1\noutput = 1\nlong = { above = -5, input = 1, output = 2 }"), ":5:18", "u64");
        refused(
            &row("input = 1\noutput = 1\nlong = { above = 5, input = 1 }"),
            ":5:8",
            "missing field `output`",
        );
        refused(&row("hosts = [\"https://x\"]"), ":3:10", "without scheme");
        refused(&row("hosts = []"), ":3:9", "`hosts` is empty");
        refused(&row("locations = [\"*-*\"]"), ":3:14", "one `*`");
        refused("[[price]]\nmodels = [\"a \"]", ":2:11", "no space");
        refused("[[price]]\nmodels = []", ":2:10", "`models` is empty");
        refused(&row("date = \"2026-13-01\"\ninput = 1\noutput = 1"), ":3:8", "not a day");
        refused(&row("from = \"2026-02-01\"\nuntil = \"2026-01-01\""), ":4:9", "before `from`");
        assert_eq!(Prices::parse("p.toml", "\n\nx = 1").unwrap_err().line(), Some(3));
    }

    #[test]
    fn two_rows_do_not_say_the_same() {
        let rows = |a: &str, b: &str| {
            let row =
                |rest: &str| format!("[[price]]\nmodels = [\"x\", \"a\"]\ninput = 1\noutput = 1\n{rest}\n");
            row(a) + &row(b).replace("\"x\"", "\"y\"")
        };
        refused(&rows("", ""), ":6:1", "the row at line 1");
        refused(&rows("hosts = [\"x.org\"]", "hosts = [\"y.org\", \"X.org\"]"), ":6:1", "line 1");
        refused(&rows("until = \"2026-12-31\"", "from = \"2026-12-31\""), ":6:1", "line 1");
        refused(&rows("until = \"2026-12-31\"", ""), ":6:1", "line 1");
        refused("[[price]]\nmodels = [\"a\", \"a\"]\nhour = 1", ":1:1", "line 1");
        own(&rows("until = \"2026-12-31\"", "from = \"2027-01-01\""));
        own(&rows("hosts = [\"x.org\"]", ""));
        own(&rows("locations = [\"global\"]", "locations = [\"*\"]"));
    }

    #[test]
    fn tables_have_limits() {
        let row = "[[price]]\nmodels = [\"a\"]\nhour = 1\n";
        let long = format!("{row}#{}", " ".repeat(PRICES_BYTES_MAX));
        refused(&long, "", "bytes");
        let names = |n: usize| (0..n).map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(",");
        let wide = |models: usize| {
            format!("[[price]]\nmodels = [{}]\nhosts = [{}]\nhour = 1", names(models), names(1_000))
        };
        own(&wide(PRICE_PLACES_MAX / 1_000));
        refused(&wide(PRICE_PLACES_MAX / 1_000 + 1), ":1:1", "use patterns");
        let rows: String =
            (0..=PRICE_ROWS_MAX).map(|i| format!("[[price]]\nmodels=[\"{i}\"]\nhour=1\n")).collect();
        refused(&rows, ":30001:1", "rows");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*", day in "\\PC{0,12}", model in "\\PC*", host in "\\PC*") {
            let _ = Prices::parse("p.toml", &text);
            let prices = own("[[price]]\nmodels = [\"a*b\", \"*\"]\nhosts = [\"*é\", \"é*\"]\nhour = 1");
            let _ = prices.find(&model, &host, Some(&text));
            let _ = prices.on(&day);
        }
    }
}
