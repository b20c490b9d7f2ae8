//! Models of different speed and reliability: how long each lets wait, what it fails at, how much it does at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;
use vertex_chat_transport::Response;

use crate::reply::GoogleError;
use crate::shape::Backend;

/// The most names and patterns with a performance.
pub const MODELS_MAX: usize = 100;
/// The longest wait before a token.
pub const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The most requests at once that can be asked for; 0 is no limit at all.
pub const AT_ONCE_MAX: usize = 1_000_000;
/// The longest name of a model with a performance, in bytes.
pub const MODEL_NAME_BYTES_MAX: usize = 256;
/// The most models whose requests are counted one by one. Further ones that a pattern is for are counted together.
const COUNTED_MAX: usize = 1000;

/// What a pattern ends in.
const ANY: char = '*';
/// The settings of a performance, for command lines and the control API.
const KEYS: [&str; 7] =
    ["first_token_ms", "token_ms", "fails_every", "exhausted_every", "cuts_every", "at_once", "voice"];

/// How a model performs. Nothing of it is left to chance: the same requests in the same order meet the same faults.
///
/// ```
/// use std::time::Duration;
/// use vertex_chat_emulator::Performance;
///
/// let (model, performance) = Performance::of_word("google/gemini-2.5-*:first_token_ms=300,token_ms=5,at_once=4")?;
/// assert_eq!(model, "google/gemini-2.5-*");
/// let same = Performance::default().first_token(Duration::from_millis(300)).token(Duration::from_millis(5)).at_once(4);
/// assert_eq!(performance, same);
/// # Ok::<(), vertex_chat_emulator::PerformanceError>(())
/// ```
///
/// Its waits go by the emulator's clock, in place of [`EmulatorBuilder::pace`](crate::EmulatorBuilder::pace). The requests
/// that are counted are those that pass the service's checks and for which no [quirk](crate::Quirk) has an error; each
/// model has a count of its own, also where a pattern is for several. Where several faults are due for one request,
/// `fails_every` goes before `exhausted_every`, and that before `cuts_every`.
///
/// What an [engine](crate::Engine) says has the engine's performance, and none of this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Performance {
    /// The wait before the first chunk of a stream that has text or a call in it. A stream without either waits before its
    /// first chunk. What comes before (a role) and behind (usage, `[DONE]`) has no wait of its own.
    pub first_token: Duration,
    /// The wait before each further chunk with text or a call. An answer that is not streamed comes after `first_token` and
    /// this for each token of its completion but the first.
    pub token: Duration,
    /// Every so many requests one is answered with 503, at once; 0 for none.
    pub fails_every: u64,
    /// Every so many requests one is answered with 429, at once; 0 for none.
    pub exhausted_every: u64,
    /// Every so many requests one gets half of its answer, and then the connection is closed; 0 for none. Of a stream that
    /// is half of its events, else half of its bytes.
    pub cuts_every: u64,
    /// The most requests that are worked on at once, to the last byte of their answers; 0 for no limit. Further ones wait
    /// for their turn, without the head of an answer, in the order in which they came.
    pub at_once: usize,
    /// What is added to the request's seed, so that models can say different things.
    pub voice: u64,
}

impl Performance {
    /// Sets the wait before the first token.
    #[must_use]
    pub fn first_token(mut self, wait: Duration) -> Self {
        self.first_token = wait;
        self
    }

    /// Sets the wait before each further token.
    #[must_use]
    pub fn token(mut self, wait: Duration) -> Self {
        self.token = wait;
        self
    }

    /// Answers every so many requests one with 503.
    #[must_use]
    pub fn fails_every(mut self, requests: u64) -> Self {
        self.fails_every = requests;
        self
    }

    /// Answers every so many requests one with 429.
    #[must_use]
    pub fn exhausted_every(mut self, requests: u64) -> Self {
        self.exhausted_every = requests;
        self
    }

    /// Breaks off every so many answers one.
    #[must_use]
    pub fn cuts_every(mut self, requests: u64) -> Self {
        self.cuts_every = requests;
        self
    }

    /// Works on so many requests at once.
    #[must_use]
    pub fn at_once(mut self, requests: usize) -> Self {
        self.at_once = requests;
        self
    }

    /// Says other things than with another number.
    #[must_use]
    pub fn voice(mut self, voice: u64) -> Self {
        self.voice = voice;
        self
    }

    /// Reads a word of a command line, `MODEL:KEY=NUMBER,KEY=NUMBER`: the model's name or pattern, and how it performs. The
    /// keys are `first_token_ms`, `token_ms`, `fails_every`, `exhausted_every`, `cuts_every`, `at_once` and `voice`.
    ///
    /// # Errors
    /// When it is no such word, or a number is over its limit; the error names the part.
    pub fn of_word(word: &str) -> Result<(String, Self), PerformanceError> {
        // The name of a model may have a colon in it, the settings have none.
        let Some((name, settings)) = word.rsplit_once(':') else {
            return Err(PerformanceError(format!(
                "`{word}` has no settings: it is to be like google/gemini-2.5-flash:first_token_ms=300,token_ms=5"
            )));
        };
        check_name(name)?;
        let mut performance = Self::default();
        let mut given: Vec<&str> = Vec::new();
        for setting in settings.split(',') {
            let Some((key, number)) = setting.split_once('=') else {
                return Err(PerformanceError(format!("`{setting}` of `{name}` is not KEY=NUMBER")));
            };
            if given.contains(&key) {
                return Err(PerformanceError(format!("`{key}` of `{name}` is given twice")));
            }
            let is_number = !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit());
            performance.set(name, key, number.parse().ok().filter(|_| is_number))?;
            given.push(key);
        }
        Ok((name.to_owned(), performance))
    }

    /// Sets what a key is for; `number` is `None` when the value is not a whole number.
    fn set(&mut self, model: &str, key: &str, number: Option<u64>) -> Result<(), PerformanceError> {
        if !KEYS.contains(&key) {
            return Err(PerformanceError(format!("`{key}` of `{model}` is not one of {}", KEYS.join(", "))));
        }
        let most = match key {
            "first_token_ms" | "token_ms" => u64::try_from(WAIT_MAX.as_millis()).unwrap_or(u64::MAX),
            "at_once" => AT_ONCE_MAX as u64,
            _ => u64::MAX,
        };
        let Some(number) = number.filter(|it| *it <= most) else {
            let message = format!("`{key}` of `{model}` is not a whole number from 0 to {most}");
            return Err(PerformanceError(message));
        };
        match key {
            "first_token_ms" => self.first_token = Duration::from_millis(number),
            "token_ms" => self.token = Duration::from_millis(number),
            "fails_every" => self.fails_every = number,
            "exhausted_every" => self.exhausted_every = number,
            "cuts_every" => self.cuts_every = number,
            "voice" => self.voice = number,
            _ => self.at_once = usize::try_from(number).unwrap_or(AT_ONCE_MAX),
        }
        Ok(())
    }

    /// Cut to the limits.
    fn within_limits(self) -> Self {
        Self {
            first_token: self.first_token.min(WAIT_MAX),
            token: self.token.min(WAIT_MAX),
            at_once: self.at_once.min(AT_ONCE_MAX),
            ..self
        }
    }

    /// How long an answer of so many tokens takes that is not streamed.
    pub(crate) fn whole(&self, completion_tokens: u64) -> Duration {
        let further = u32::try_from(completion_tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first_token.saturating_add(self.token.saturating_mul(further))
    }

    /// What becomes of the request with this number, from 1.
    fn fate(&self, number: u64) -> Fate {
        let is_due = |every: u64| every != 0 && number.is_multiple_of(every);
        match () {
            () if is_due(self.fails_every) => Fate::Fails,
            () if is_due(self.exhausted_every) => Fate::Exhausted,
            () if is_due(self.cuts_every) => Fate::Cut,
            () => Fate::Answered,
        }
    }

    /// As the control API has it, in whole milliseconds.
    fn to_json(self) -> Value {
        let milliseconds = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        json!({
            "first_token_ms": milliseconds(self.first_token),
            "token_ms": milliseconds(self.token),
            "fails_every": self.fails_every,
            "exhausted_every": self.exhausted_every,
            "cuts_every": self.cuts_every,
            "at_once": self.at_once,
            "voice": self.voice,
        })
    }
}

/// Why something does not say how a model performs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerformanceError(String);

impl fmt::Display for PerformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PerformanceError {}

/// Whether a name can be a model's or a pattern.
fn check_name(name: &str) -> Result<(), PerformanceError> {
    let wrong = |what: String| Err(PerformanceError(what));
    if name.is_empty() {
        return wrong("a model has an empty name; `*` is for all models".to_owned());
    }
    if name.len() > MODEL_NAME_BYTES_MAX {
        let length = name.len();
        return wrong(format!("a model's name has {length} bytes; the most is {MODEL_NAME_BYTES_MAX}"));
    }
    if name.strip_suffix(ANY).unwrap_or(name).contains(ANY) {
        return wrong(format!("`{name}` has a `*` that is not at its end"));
    }
    if name.contains('+') {
        return wrong(format!("`{name}` has a `+`: quirks are cut off before a model's name is looked at"));
    }
    Ok(())
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It is answered in part.
    Cut,
    Fails,
    Exhausted,
}

/// A request's part in its model's performance.
pub(crate) struct Turn {
    pub(crate) performance: Performance,
    pub(crate) fate: Fate,
    /// Where it waits until it is worked on.
    pub(crate) places: Option<Arc<Semaphore>>,
}

impl Turn {
    /// The error that it gets, if it gets one.
    pub(crate) fn refusal(&self, backend: Backend) -> Option<Response> {
        let error = match self.fate {
            Fate::Answered | Fate::Cut => return None,
            Fate::Fails => GoogleError::new(503, "UNAVAILABLE", "The service is currently unavailable."),
            Fate::Exhausted => GoogleError::exhausted(),
        };
        Some(backend.error(&error, ""))
    }
}

/// How models perform, and how far each has come.
#[derive(Default)]
pub(crate) struct Models {
    rows: Vec<(String, Performance)>,
    counted: HashMap<String, Counted>,
}

/// A model that has been asked.
struct Counted {
    requests: u64,
    places: Option<Arc<Semaphore>>,
}

impl Models {
    /// Reads the control API's form: an object of models.
    pub(crate) fn read(value: &Value) -> Result<Self, PerformanceError> {
        let wrong = |what: String| Err(PerformanceError(what));
        let Some(named) = value.as_object() else {
            return wrong("the body is not an object that has models' names as its keys".to_owned());
        };
        if named.len() > MODELS_MAX {
            return wrong(format!("there are {} models; the most is {MODELS_MAX}", named.len()));
        }
        let mut models = Self::default();
        for (name, settings) in named {
            check_name(name)?;
            let Some(settings) = settings.as_object() else {
                return wrong(format!("what `{name}` is set to is not an object"));
            };
            let mut performance = Performance::default();
            for (key, number) in settings {
                performance.set(name, key, number.as_u64())?;
            }
            models.set(name.clone(), performance);
        }
        Ok(models)
    }

    pub(crate) fn to_json(&self) -> Value {
        self.rows.iter().map(|(name, performance)| (name.clone(), performance.to_json())).collect()
    }

    /// Has models of this name or pattern perform so. Those that it is now for are counted from the beginning.
    pub(crate) fn set(&mut self, name: String, performance: Performance) {
        let performance = performance.within_limits();
        let at = match self.rows.iter().position(|(known, _)| *known == name) {
            Some(at) => {
                self.rows[at].1 = performance;
                at
            }
            None if self.rows.len() < MODELS_MAX => {
                self.rows.push((name, performance));
                self.rows.len() - 1
            }
            None => return,
        };
        let rows = &self.rows;
        self.counted.retain(|name, _| row_of(rows, name) != Some(at));
    }

    /// A request for this model, which has been asked and whose turn it is to be counted.
    pub(crate) fn turn(&mut self, model: &str) -> Option<Turn> {
        let (row, performance) = &self.rows[row_of(&self.rows, model)?];
        let has_room = self.counted.len() < COUNTED_MAX && model.len() <= MODEL_NAME_BYTES_MAX;
        let name = if has_room || self.counted.contains_key(model) { model } else { row };
        let counted = self.counted.entry(name.to_owned()).or_insert_with(|| Counted {
            requests: 0,
            places: (performance.at_once > 0).then(|| Arc::new(Semaphore::new(performance.at_once))),
        });
        counted.requests += 1;
        let fate = performance.fate(counted.requests);
        Some(Turn { performance: *performance, fate, places: counted.places.clone() })
    }
}

/// Which row is for this model: its own, or else that with the longest pattern.
fn row_of(rows: &[(String, Performance)], model: &str) -> Option<usize> {
    if let Some(own) = rows.iter().position(|(name, _)| name == model) {
        return Some(own);
    }
    let patterns = rows.iter().enumerate().filter_map(|(at, (name, _))| Some((at, name.strip_suffix(ANY)?)));
    let fits = patterns.filter(|(_, prefix)| model.starts_with(prefix));
    fits.max_by_key(|(_, prefix)| prefix.len()).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use bytes::Bytes;
    use http::Method;
    use vertex_chat_transport::{Clock, Exchange, Request, SimulatedClock};

    use super::*;
    use crate::{
        API_KEY, Emulator, EmulatorBuilder, Fault, FaultPlace, LogEntry, TGI_ENDPOINT, VLLM_ENDPOINT,
    };

    const OPENAI: &str = "/v1/chat/completions";
    const DEVELOPER: &str = "/v1beta/openai/chat/completions";
    const OPENAPI: &str = "openapi";

    /// Waits that no other number is made of.
    const SPEED: &str = "first_token_ms=300,token_ms=7";

    struct World {
        emulator: Emulator,
        clock: SimulatedClock,
        token: String,
    }

    /// What became of a request: its status, and its body as far as it came.
    #[derive(Debug, PartialEq)]
    struct Became {
        status: u16,
        body: String,
        is_whole: bool,
    }

    impl World {
        fn new(models: &[&str]) -> Self {
            Self::built(models, |it| it)
        }

        fn built(models: &[&str], more: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Self {
            let clock = SimulatedClock::new();
            // The key of an account takes a while to make, and is not used.
            let mut builder = Emulator::builder(Arc::new(clock.clone())).account("a@b", "key", &[]);
            for word in models {
                let (name, performance) = Performance::of_word(word).unwrap();
                builder = builder.model(name, performance);
            }
            let emulator = more(builder).build();
            let mut world = Self { emulator, clock, token: String::new() };
            let path = "/computeMetadata/v1/instance/service-accounts/default/token";
            let mut request = Request::new(Bytes::new());
            *request.uri_mut() = path.parse().unwrap();
            request.headers_mut().insert("metadata-flavor", "Google".parse().unwrap());
            let got: Value = serde_json::from_str(&world.finish(request).body).unwrap();
            world.token = got["access_token"].as_str().unwrap().to_owned();
            world.control("DELETE", "log", "");
            world
        }

        /// A request for four tokens at a place: a path, or an endpoint of Vertex's.
        fn chat(&self, place: &str, model: &str, more: &Value) -> Request {
            let mut body =
                json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4});
            for (key, value) in more.as_object().into_iter().flatten() {
                body[key] = value.clone();
            }
            let mut request = Request::new(Bytes::from(body.to_string()));
            *request.method_mut() = Method::POST;
            let path = match place.starts_with('/') {
                true => place.to_owned(),
                false => format!("/v1/projects/p/locations/l/endpoints/{place}/chat/completions"),
            };
            *request.uri_mut() = path.parse().unwrap();
            let key = if place.starts_with('/') { API_KEY } else { &self.token };
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
            request
        }

        fn control(&self, method: &str, what: &str, body: &str) -> Became {
            let mut request = Request::new(Bytes::copy_from_slice(body.as_bytes()));
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = format!("/emulator/{what}").parse().unwrap();
            self.finish(request)
        }

        fn ask(&self, model: &str, more: &Value) -> Became {
            self.finish(self.chat(OPENAI, model, more))
        }

        fn finish(&self, request: Request) -> Became {
            self.finish_all(vec![request]).remove(0)
        }

        /// Sends all in this order, without waiting for answers in between, and lets time go by until they are answered.
        fn finish_all(&self, requests: Vec<Request>) -> Vec<Became> {
            struct Woken(AtomicBool);
            impl Wake for Woken {
                fn wake(self: Arc<Self>) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let woken = Arc::new(Woken(AtomicBool::new(false)));
            let waker = Waker::from(Arc::clone(&woken));
            let mut cx = Context::from_waker(&waker);
            let mut answers: Vec<Option<Became>> = requests.iter().map(|_| None).collect();
            let mut running: Vec<Pin<Box<dyn Future<Output = Became>>>> = Vec::new();
            for request in requests {
                let emulator = self.emulator.clone();
                running.push(Box::pin(async move { became(emulator.send(request).await.unwrap()).await }));
            }
            loop {
                woken.0.store(false, Ordering::Relaxed);
                for (future, answer) in running.iter_mut().zip(&mut answers) {
                    if answer.is_none()
                        && let Poll::Ready(it) = future.as_mut().poll(&mut cx)
                    {
                        *answer = Some(it);
                    }
                }
                if answers.iter().all(Option::is_some) {
                    return answers.into_iter().flatten().collect();
                }
                if !woken.0.load(Ordering::Relaxed) {
                    self.clock.advance(self.clock.next_wake().expect("because nobody waits for ever"));
                }
            }
        }

        fn last(&self) -> LogEntry {
            self.emulator.log().pop().unwrap()
        }
    }

    async fn became(response: Response) -> Became {
        let (head, mut body) = response.into_parts();
        let mut text = Vec::new();
        let mut is_whole = true;
        while let Some(chunk) = body.chunk().await {
            match chunk {
                Ok(bytes) => text.extend_from_slice(&bytes),
                Err(_) => is_whole = false,
            }
        }
        Became { status: head.status.as_u16(), body: String::from_utf8(text).unwrap(), is_whole }
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// When its head, first token, last token and end came, in milliseconds after the request.
    fn times(entry: &LogEntry) -> [Option<u128>; 4] {
        [entry.head, entry.first_token, entry.last_token, entry.ended]
            .map(|it| it.map(|it| (it - entry.came).as_millis()))
    }

    fn streamed() -> Value {
        json!({"stream": true, "stream_options": {"include_usage": true}})
    }

    #[test]
    fn a_stream_waits_before_its_first_token_and_between_tokens_wherever_it_comes_from() {
        let world = World::new(&[&format!("*:{SPEED}")]);
        world.clock.advance(ms(12_345));
        for (place, model) in [
            (OPENAI, "gpt-4o-mini"),
            (DEVELOPER, "gemini-2.5-flash"),
            (OPENAPI, "google/gemini-2.5-flash"),
            (OPENAPI, "meta/llama-3.3-70b-instruct-maas"),
            (VLLM_ENDPOINT, "gemma-2-9b-it"),
            (TGI_ENDPOINT, "tgi"),
        ] {
            let before = world.clock.monotonic();
            let became = world.finish(world.chat(place, model, &streamed()));
            assert!(became.status == 200 && became.body.ends_with("[DONE]\n\n"), "{model}: {became:?}");
            let entry = world.last();
            assert_eq!(entry.came, before, "{model}");
            assert_eq!(times(&entry), [Some(0), Some(300), Some(321), Some(321)], "{model}");
            assert_eq!(world.clock.monotonic() - before, ms(321), "{model}");
            assert!(!entry.cut && !entry.fault);
            assert_eq!(
                (entry.completion_tokens, entry.reasoning_tokens, entry.cached_tokens.unwrap_or(0)),
                (Some(4), Some(0), 0),
                "{model}"
            );
            assert!(entry.prompt_tokens.is_some_and(|it| it > 0), "{model}");
        }
    }

    #[test]
    fn a_whole_answer_takes_as_long_as_its_tokens() {
        let world = World::new(&[&format!("gpt-*:{SPEED}")]);
        assert_eq!(world.ask("gpt-4o-mini", &json!({})).status, 200);
        let entry = world.last();
        assert_eq!(times(&entry), [Some(321), None, None, Some(321)]);
        assert_eq!((entry.completion_tokens, entry.reasoning_tokens), (Some(4), Some(0)));
        // A model that nothing was said of.
        assert_eq!(world.ask("o4-mini", &json!({"max_tokens": null})).status, 200);
        assert_eq!(times(&world.last()), [Some(0), None, None, Some(0)]);
    }

    #[test]
    fn calls_are_tokens_and_what_comes_before_and_behind_them_is_none() {
        let world = World::new(&[&format!("*:{SPEED}")]);
        let tools =
            json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
        let mut more = streamed();
        more["tools"] = tools;
        more["max_tokens"] = Value::Null;
        let became = world.ask("gpt-4o", &more);
        let with_calls = became.body.matches("\"tool_calls\":[").count() as u128;
        assert!(with_calls >= 2, "{}", became.body);
        let last = 300 + 7 * (with_calls - 1);
        assert_eq!(times(&world.last()), [Some(0), Some(300), Some(last), Some(last)]);
    }

    #[test]
    fn an_answer_without_a_token_waits_all_the_same() {
        let world = World::new(&[&format!("*:{SPEED}")]);
        world.finish(world.chat(OPENAPI, "google/gemini-2.5-flash+empty-reply", &streamed()));
        let entry = world.last();
        assert_eq!(times(&entry), [Some(0), None, None, Some(300)]);
        assert_eq!(
            (entry.model.as_deref(), entry.completion_tokens),
            (Some("google/gemini-2.5-flash+empty-reply"), None)
        );
    }

    #[test]
    fn thinking_is_counted_apart_whoever_counts_it() {
        let world = World::new(&[]);
        let more = json!({"reasoning_effort": "low", "max_tokens": null, "max_completion_tokens": 40});
        for (place, model) in
            [(OPENAI, "o4-mini"), (OPENAPI, "google/gemini-2.5-flash"), (DEVELOPER, "gemini-2.5-flash")]
        {
            let became = world.finish(world.chat(place, model, &more));
            assert_eq!(became.status, 200, "{became:?}");
            let entry = world.last();
            assert_eq!((entry.completion_tokens, entry.reasoning_tokens), (Some(8), Some(32)), "{model}");
        }
        world.finish(world.chat(OPENAPI, "google/gemini-2.5-flash+cached-tokens", &streamed()));
        let entry = world.last();
        assert_eq!(entry.cached_tokens, entry.prompt_tokens.map(|it| it.div_ceil(2)));
        // What was not said is not known.
        for more in [json!({"stream": true}), streamed()] {
            let model = if more.get("stream_options").is_some() { "gpt-4o+usage-missing" } else { "gpt-4o" };
            world.ask(model, &more);
            assert_eq!((world.last().prompt_tokens, world.last().reasoning_tokens), (None, None));
        }
    }

    #[test]
    fn faults_strike_at_their_numbers_each_model_counted_for_itself() {
        let world = World::new(&["gpt-*:fails_every=3,exhausted_every=4,cuts_every=5"]);
        let statuses = |model: &str| -> Vec<(u16, bool)> {
            let became = (0..12).map(|_| world.ask(model, &streamed()));
            became.map(|it| (it.status, it.is_whole)).collect()
        };
        // 12 is due for both, and fails.
        let expected = [
            (200, true),
            (200, true),
            (503, true),
            (429, true),
            (200, false),
            (503, true),
            (200, true),
            (429, true),
            (503, true),
            (200, false),
            (200, true),
            (503, true),
        ];
        assert_eq!(statuses("gpt-4o"), expected);
        assert_eq!(statuses("gpt-4o-mini"), expected);
        assert_eq!(statuses("o4-mini"), [(200, true); 12]);
        // What is refused is not counted, neither by the service nor by a quirk.
        let world = World::new(&["*:fails_every=2"]);
        for (model, more) in
            [("gpt-4o", json!({"n": "x"})), ("gpt-4o+exhausted", json!({})), ("gpt-4o", json!({}))]
        {
            assert_ne!(world.ask(model, &more).status, 503);
        }
        assert_eq!(world.ask("gpt-4o", &json!({})).status, 503);
    }

    #[test]
    fn errors_have_the_shape_of_the_service_and_come_at_once() {
        let world = World::new(&[
            &format!("*:fails_every=2,{SPEED}"),
            &format!("gemini-*:exhausted_every=1,{SPEED}"),
        ]);
        for (place, model, pointer, word) in [
            (OPENAI, "gpt-4o", "/error/type", "server_error"),
            (OPENAPI, "google/gemini-2.5-flash", "/0/error/status", "UNAVAILABLE"),
            (VLLM_ENDPOINT, "", "/error/type", "InternalServerError"),
            (TGI_ENDPOINT, "tgi", "/error_type", "generation"),
        ] {
            assert_eq!(world.finish(world.chat(place, model, &json!({}))).status, 200, "{model}");
            let became = world.finish(world.chat(place, model, &json!({})));
            let body: Value = serde_json::from_str(&became.body).unwrap();
            assert_eq!((became.status, body.pointer(pointer).unwrap().as_str()), (503, Some(word)), "{body}");
            assert_eq!(times(&world.last()), [Some(0), None, None, Some(0)]);
        }
        let became = world.finish(world.chat(DEVELOPER, "gemini-2.5-flash", &json!({})));
        let body: Value = serde_json::from_str(&became.body).unwrap();
        assert_eq!((became.status, &body[0]["error"]["status"]), (429, &json!("RESOURCE_EXHAUSTED")));
    }

    #[test]
    fn an_answer_that_is_cut_is_half_of_itself() {
        let world = World::new(&[&format!("gpt-4o:cuts_every=2,{SPEED}")]);
        let events = |became: &Became| became.body.matches("data: ").count();
        let whole = world.ask("gpt-4o", &streamed());
        // The role, four tokens, the finish reason, usage, and the end.
        assert_eq!((events(&whole), whole.is_whole), (8, true));
        let cut = world.ask("gpt-4o", &streamed());
        assert_eq!((events(&cut), cut.is_whole), (4, false));
        let entry = world.last();
        assert_eq!((times(&entry), entry.cut), ([Some(0), Some(300), Some(314), None], true));
        assert_eq!(entry.completion_tokens, None, "the usage was not given");
        let whole = world.ask("gpt-4o", &json!({}));
        let cut = world.ask("gpt-4o", &json!({}));
        assert_eq!((cut.body.len(), cut.is_whole), (whole.body.len() / 2, false));
        let entry = world.last();
        assert_eq!(
            (times(&entry), entry.cut, entry.prompt_tokens),
            ([Some(321), None, None, None], true, None)
        );
    }

    #[test]
    fn requests_beyond_the_capacity_wait_for_their_turn_in_order() {
        let world = World::new(&[&format!("gpt-*:at_once=2,{SPEED}")]);
        let streams = |model: &str, count: usize| vec![world.chat(OPENAI, model, &streamed()); count];
        let begun = world.clock.monotonic();
        let mut requests = streams("gpt-4o", 5);
        // Each model has places of its own.
        requests.extend(streams("gpt-4o-mini", 1));
        assert!(world.finish_all(requests).iter().all(|it| it.status == 200 && it.is_whole));
        let log = world.emulator.log();
        let of = |model: &str| -> Vec<[u128; 3]> {
            let entries = log.iter().filter(|it| it.model.as_deref() == Some(model));
            let since = |it: Duration| (it - begun).as_millis();
            entries.map(|it| [since(it.came), since(it.head.unwrap()), since(it.ended.unwrap())]).collect()
        };
        assert_eq!(of("gpt-4o"), [[0, 0, 321], [0, 0, 321], [0, 321, 642], [0, 321, 642], [0, 642, 963]]);
        assert_eq!(of("gpt-4o-mini"), [[0, 0, 321]]);
    }

    #[test]
    fn a_place_is_free_again_when_the_client_leaves() {
        let world = World::new(&[&format!("*:at_once=1,{SPEED}")]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut send = |more: Value| {
            let mut sent = Box::pin(world.emulator.send(world.chat(OPENAI, "gpt-4o", &more)));
            match sent.as_mut().poll(&mut cx) {
                Poll::Ready(response) => Ok(response.unwrap()),
                Poll::Pending => Err(sent),
            }
        };
        let first = send(streamed()).ok().unwrap();
        let second = send(streamed()).err().unwrap();
        let third = send(streamed()).err().unwrap();
        drop(second);
        assert!(send(streamed()).is_err());
        drop(first);
        drop(third);
        assert!(send(streamed()).is_ok());
        let left = &world.emulator.log()[0];
        assert_eq!((times(left), left.cut), ([Some(0), None, None, None], false));
    }

    #[test]
    fn a_body_that_is_dropped_has_no_end() {
        let world = World::new(&[&format!("*:{SPEED}")]);
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = Box::pin(world.emulator.send(world.chat(OPENAI, "gpt-4o", &streamed())));
        let Poll::Ready(Ok(response)) = sent.as_mut().poll(&mut cx) else { panic!("a head comes at once") };
        let mut body = response.into_body();
        assert!(matches!(body.poll_chunk(&mut cx), Poll::Ready(Some(Ok(_)))), "the role");
        assert!(body.poll_chunk(&mut cx).is_pending());
        world.clock.advance(ms(300));
        assert!(body.poll_chunk(&mut cx).is_ready());
        assert_eq!(times(&world.last()), [Some(0), Some(300), Some(300), None], "while it runs");
        assert!(body.poll_chunk(&mut cx).is_pending());
        world.clock.advance(ms(7));
        assert!(body.poll_chunk(&mut cx).is_ready());
        drop(body);
        let entry = world.last();
        assert_eq!((times(&entry), entry.cut), ([Some(0), Some(300), Some(307), None], false));
    }

    #[test]
    fn a_fault_of_the_script_shows_as_what_it_did() {
        let world = World::new(&[&format!("*:{SPEED}")]);
        world.emulator.add_fault(Fault::at(FaultPlace::Chat).delay(ms(1000)));
        world.ask("gpt-4o", &streamed());
        let entry = world.last();
        assert_eq!((times(&entry), entry.fault), ([Some(1000), Some(1300), Some(1321), Some(1321)], true));
        for bytes in [10, 1 << 20] {
            world.emulator.add_fault(Fault::at(FaultPlace::Chat).cut_after(bytes));
            assert!(!world.ask("gpt-4o", &streamed()).is_whole);
            let entry = world.last();
            assert_eq!((entry.ended, entry.cut, entry.first_token.is_some()), (None, true, bytes > 10));
        }
        world.emulator.add_fault(Fault::at(FaultPlace::Chat).status(http::StatusCode::CONFLICT, ""));
        world.ask("gpt-4o", &streamed());
        assert_eq!(times(&world.last()), [Some(0), None, None, Some(0)]);
    }

    #[test]
    fn the_pace_is_that_of_all_other_models() {
        let world = World::built(&[&format!("gpt-4o:{SPEED}")], |it| it.pace(ms(10)));
        world.ask("gpt-4o", &streamed());
        assert_eq!(times(&world.last()), [Some(0), Some(300), Some(321), Some(321)]);
        world.ask("gpt-4o-mini", &streamed());
        assert_eq!(times(&world.last()), [Some(0), Some(20), Some(50), Some(80)]);
    }

    #[test]
    fn a_models_own_name_goes_before_patterns_and_a_long_pattern_before_a_short_one() {
        let mut models = Models::default();
        for (at_once, name) in
            ["*", "google/*", "google/gemini-2.5-*", "google/gemini-2.5-flash"].iter().enumerate()
        {
            models.set((*name).to_owned(), Performance::default().at_once(at_once));
        }
        for (model, expected) in [
            ("google/gemini-2.5-flash", 3),
            ("google/gemini-2.5-flash-lite", 2),
            ("google/gemini-3-pro", 1),
            ("meta/llama", 0),
            ("", 0),
        ] {
            assert_eq!(models.turn(model).unwrap().performance.at_once, expected, "{model}");
        }
        models = Models::default();
        models.set("google/*".to_owned(), Performance::default());
        assert!(models.turn("meta/llama").is_none());
    }

    #[test]
    fn what_is_set_anew_is_counted_anew_and_nothing_else_is() {
        let every_second = Performance::default().fails_every(2);
        let mut models = Models::default();
        models.set("a*".to_owned(), every_second);
        let fates = |models: &mut Models| ["a1", "a2"].map(|it| models.turn(it).unwrap().fate);
        assert_eq!(fates(&mut models), [Fate::Answered; 2]);
        models.set("a1".to_owned(), every_second);
        assert_eq!(fates(&mut models), [Fate::Answered, Fate::Fails]);
        assert_eq!(fates(&mut models), [Fate::Fails, Fate::Answered]);
    }

    #[test]
    fn limits_hold() {
        let mut models = Models::default();
        for i in 0..=MODELS_MAX {
            models.set(format!("m{i}"), Performance::default().token(WAIT_MAX * 2).at_once(usize::MAX));
        }
        assert_eq!(models.rows.len(), MODELS_MAX);
        let performance = models.turn("m0").unwrap().performance;
        assert_eq!((performance.token, performance.at_once), (WAIT_MAX, AT_ONCE_MAX));
        assert_eq!(performance.first_token(Duration::MAX).whole(u64::MAX), Duration::MAX);
        // Models beyond those that are counted one by one are counted together.
        let mut models = Models::default();
        models.set("*".to_owned(), Performance::default().fails_every(2));
        for i in 0..COUNTED_MAX {
            assert_eq!(models.turn(&format!("m{i}")).unwrap().fate, Fate::Answered);
        }
        assert_eq!(models.turn("x").unwrap().fate, Fate::Answered);
        assert_eq!(models.turn(&"y".repeat(1000)).unwrap().fate, Fate::Fails);
        assert_eq!(models.turn("m0").unwrap().fate, Fate::Fails);
        assert_eq!(models.counted.len(), COUNTED_MAX + 1);
    }

    #[test]
    fn words_are_read_or_refused_by_name() {
        let word = "google/gemini-2.5-flash:first_token_ms=300,token_ms=5,fails_every=50,exhausted_every=40,cuts_every=30,at_once=4,voice=2";
        let expected = Performance {
            first_token: ms(300),
            token: ms(5),
            fails_every: 50,
            exhausted_every: 40,
            cuts_every: 30,
            at_once: 4,
            voice: 2,
        };
        assert_eq!(Performance::of_word(word), Ok(("google/gemini-2.5-flash".to_owned(), expected)));
        assert_eq!(Performance::of_word("a:b:token_ms=3600000").unwrap().0, "a:b");
        for (word, said) in [
            ("", "`` has no settings"),
            ("m", "`m` has no settings"),
            (":token_ms=1", "a model has an empty name"),
            ("m:", "`` of `m` is not KEY=NUMBER"),
            ("m:fast", "`fast` of `m` is not KEY=NUMBER"),
            ("m:speed=1", "`speed` of `m` is not one of first_token_ms, token_ms"),
            ("m:token_ms=", "`token_ms` of `m` is not a whole number from 0 to 3600000"),
            ("m:token_ms=1.5", "`token_ms` of `m` is not a whole number from 0 to 3600000"),
            ("m:token_ms=+1", "`token_ms` of `m` is not a whole number"),
            ("m:token_ms=-1", "`token_ms` of `m` is not a whole number"),
            ("m:first_token_ms=3600001", "`first_token_ms` of `m` is not a whole number from 0 to 3600000"),
            ("m:at_once=1000001", "`at_once` of `m` is not a whole number from 0 to 1000000"),
            ("m:fails_every=99999999999999999999", "`fails_every` of `m` is not a whole number"),
            ("m:token_ms=1,token_ms=2", "`token_ms` of `m` is given twice"),
            ("m:token_ms=1,", "`` of `m` is not KEY=NUMBER"),
            ("a*b:token_ms=1", "`a*b` has a `*` that is not at its end"),
            ("m+crlf:token_ms=1", "`m+crlf` has a `+`"),
            (&format!("{}:token_ms=1", "m".repeat(257)), "a model's name has 257 bytes; the most is 256"),
        ] {
            let error = Performance::of_word(word).unwrap_err().to_string();
            assert!(error.starts_with(said), "{word}: {error}");
        }
    }

    #[test]
    fn the_control_api_shows_replaces_and_refuses() {
        let world = World::new(&["gpt-4o:fails_every=1"]);
        let all = |first: u64, fails: u64| json!({"first_token_ms": first, "token_ms": 0, "fails_every": fails, "exhausted_every": 0, "cuts_every": 0, "at_once": 0, "voice": 0});
        let shown = |became: Became| serde_json::from_str::<Value>(&became.body).unwrap();
        assert_eq!(shown(world.control("GET", "models", "")), json!({"gpt-4o": all(0, 1)}));
        for (body, said) in [
            ("nonsense", "the body is not JSON"),
            ("[]", "the body is not an object"),
            (r#"{"m": 5}"#, "what `m` is set to is not an object"),
            (r#"{"m": {"speed": 1}}"#, "`speed` of `m` is not one of"),
            (r#"{"m": {"token_ms": "1"}}"#, "`token_ms` of `m` is not a whole number"),
            (r#"{"m": {"token_ms": -1}}"#, "`token_ms` of `m` is not a whole number"),
            (r#"{"m": {"token_ms": null}}"#, "`token_ms` of `m` is not a whole number"),
            (r#"{"": {}}"#, "a model has an empty name"),
        ] {
            let became = world.control("POST", "models", body);
            let error = shown(became)["error"].as_str().unwrap().to_owned();
            assert!(error.starts_with(said), "{body}: {error}");
        }
        let many: serde_json::Map<String, Value> = (0..101).map(|i| (format!("m{i}"), json!({}))).collect();
        let refused = world.control("POST", "models", &json!(many).to_string());
        assert_eq!(
            (refused.status, shown(refused)),
            (400, json!({"error": "there are 101 models; the most is 100"}))
        );
        assert_eq!(world.ask("gpt-4o", &json!({})).status, 503, "what is refused changes nothing");

        let became = world.control("POST", "models", r#"{"gpt-*": {"first_token_ms": 5}}"#);
        assert_eq!(shown(became), json!({"gpt-*": all(5, 0)}));
        assert_eq!(world.ask("gpt-4o", &json!({})).status, 200);
        assert_eq!(times(&world.last())[0], Some(5));
        world.control("DELETE", "models", "");
        assert_eq!(shown(world.control("GET", "models", "")), json!({}));
        world.emulator.set_performance("*", Performance::default().first_token(ms(2)));
        world.ask("gpt-4o", &streamed());
        let log = shown(world.control("GET", "log", ""));
        let entry = log.as_array().unwrap().last().unwrap();
        // The whole answer before has taken five milliseconds.
        assert_eq!(
            ["came_us", "head_us", "first_token_us", "last_token_us", "ended_us"]
                .map(|it| entry[it].as_u64()),
            [Some(5000), Some(5000), Some(7000), Some(7000), Some(7000)]
        );
        assert_eq!(
            (&entry["cut"], &entry["completion_tokens"], &entry["cached_tokens"]),
            (&json!(false), &json!(4), &json!(0))
        );
    }

    #[test]
    fn an_entry_that_is_forgotten_is_not_filled_in() {
        let world = World::built(&[&format!("*:{SPEED}")], |it| it.log_entries(2));
        let requests = vec![world.chat(OPENAI, "gpt-4o", &streamed()); 3];
        world.finish_all(requests);
        let log = world.emulator.log();
        // The token that the world has begun with was the first.
        assert_eq!(log.iter().map(|it| it.number).collect::<Vec<_>>(), [3, 4]);
        assert!(log.iter().all(|it| it.ended.is_some()));
    }
}
