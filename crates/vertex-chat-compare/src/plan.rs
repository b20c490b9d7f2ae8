//! What is to be done: who is asked what, how often, and at what pace.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use vertex_chat::types::{Extra, ParseError};
use vertex_chat::{ChatRequest, Client, Json, Policy};

use crate::checks::Checks;
use crate::prompts::Prompt;
use crate::record::{FORMAT, PlanLine, PriceLine, PromptLine, RunLine, SettingsLine, TargetLine, TokensLine};
use crate::score::{Judge, Scoring};

/// The most targets of a run.
pub const TARGETS_MAX: usize = 32;
/// The most stages of a run.
pub const STAGES_MAX: usize = 64;
/// The most requests at once to one target.
pub const AT_ONCE_MAX: u64 = 4096;
/// The most requests of a run.
pub const REQUESTS_MAX: u64 = 100_000_000;
/// How long a request may take when nobody says how long.
pub const TIMEOUT: Duration = Duration::from_secs(600);
/// How many failures in a row end a target when nobody says how many.
pub const FAILURES_IN_A_ROW: u64 = 20;
/// How many tokens an answer is expected to have when nobody says how many, for an estimate of its cost.
pub const EXPECTED_TOKENS: u64 = 500;
/// How many tokens a judge is expected to say, thinking included.
const JUDGE_TOKENS: u64 = 300;
/// How many tokens a picture, a sound or a file in a prompt is taken for: Gemini counts 258 for a small picture.
const MEDIA_TOKENS: u64 = 258;
/// The longest name of a target, in characters.
pub const LABEL_CHARS_MAX: usize = 500;
/// About how many bytes of a prompt are a token, for an estimate: English text has four.
const BYTES_PER_TOKEN: u64 = 4;

/// Somebody to ask.
#[derive(Clone, Debug)]
pub struct Target {
    label: String,
    client: Client,
    model: String,
    location: Option<String>,
    parameters: Option<Json>,
    price: Option<PriceLine>,
}

impl Target {
    /// A model behind a client; `label` is what reports call it.
    #[must_use]
    pub fn new(label: impl Into<String>, client: Client, model: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            client,
            model: model.into(),
            location: None,
            parameters: None,
            price: None,
        }
    }

    /// Says where on Vertex it is, for the report.
    #[must_use]
    pub fn with_location(mut self, location: Option<String>) -> Self {
        self.location = location;
        self
    }

    /// Parameters that it alone is sent: an object. They win over the prompts' and the run's; null takes one away.
    #[must_use]
    pub fn with_parameters(mut self, parameters: Option<Json>) -> Self {
        self.parameters = parameters;
        self
    }

    /// What it costs.
    #[must_use]
    pub fn with_price(mut self, price: Option<PriceLine>) -> Self {
        self.price = price;
        self
    }

    /// What reports call it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The model that it is asked for.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What asks it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What it costs, where that is known.
    #[must_use]
    pub fn price(&self) -> Option<&PriceLine> {
        self.price.as_ref()
    }

    /// What of it stands in a run's head.
    #[must_use]
    pub fn line(&self) -> TargetLine {
        let target = self.client.target(Some(&self.model));
        TargetLine {
            label: self.label.clone(),
            model: self.model.clone(),
            url: self.client.chat_url().to_string(),
            location: self.location.clone(),
            dialect: target.dialect.to_string(),
            policy: match target.policy {
                Policy::Forward => "forward",
                Policy::Drop => "drop",
                Policy::Reject => "reject",
                _ => "other",
            }
            .to_owned(),
            parameters: self.parameters.clone(),
            price: self.price.clone(),
        }
    }
}

/// One pace at which all targets are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Stage {
    /// This many requests at once: the next begins when one has ended.
    Closed(u64),
    /// This many requests begin each second, whether others have ended or not, so that a slow answer does not hide how
    /// long the next ones would have waited.
    Open(f64),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(at_once) => write!(f, "{at_once} at once"),
            Self::Open(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// As it is printed.
impl FromStr for Stage {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let closed = || text.strip_suffix(" at once")?.parse().ok().map(Self::Closed);
        let open = || text.strip_suffix("/s")?.parse().ok().map(Self::Open);
        closed()
            .or_else(open)
            .ok_or_else(|| PlanError(format!("`{text}` is no stage, such as `4 at once` or `2/s`")))
    }
}

/// How requests of an open stage are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Even,
    /// As those of many people who know nothing of each other, by the run's seed.
    Poisson,
}

impl FromStr for Arrivals {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "even" => Ok(Self::Even),
            "poisson" => Ok(Self::Poisson),
            _ => Err("it is one of even, poisson".to_owned()),
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Even => "even",
            Self::Poisson => "poisson",
        })
    }
}

/// When a target is asked no more.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Breaks {
    /// At the end of a stage, when more than this share of its requests has failed.
    pub errors: f64,
    /// At the end of a stage, when the 99th percentile of the total time is above this.
    pub p99: Option<Duration>,
    /// At once, when this many requests in a row have failed.
    pub in_a_row: u64,
}

impl Default for Breaks {
    fn default() -> Self {
        Self { errors: 0.5, p99: None, in_a_row: FAILURES_IN_A_ROW }
    }
}

impl fmt::Display for Breaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failures in a row, or more than {} % of a stage", self.in_a_row, self.errors * 100.0)?;
        match self.p99 {
            Some(p99) => write!(f, ", or a 99th percentile above {} s", p99.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// What is the same for all targets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Whether answers are streamed. Without it there is no time to the first token.
    pub stream: bool,
    /// How often each prompt is asked in each stage.
    pub repeat: u64,
    /// The paces, one after the other.
    pub stages: Vec<Stage>,
    /// Whether targets are asked one after the other, and not all at the same time.
    pub sequential: bool,
    /// How requests of an open stage are spaced.
    pub arrivals: Arrivals,
    /// What random choices begin with.
    pub seed: u64,
    /// How often the client may send a request again. None by default: retries hide errors.
    pub retries: u32,
    /// How long a request may take.
    pub timeout: Duration,
    /// Parameters that all targets are sent: an object. The prompts' own win.
    pub parameters: Option<Json>,
    /// When a target is asked no more.
    pub breaks: Breaks,
    /// How answers are scored.
    pub scoring: Option<Scoring>,
    /// Who scores them in their place.
    pub judge: Option<(Judge, Target)>,
    /// US dollars that may be spent.
    pub budget: Option<f64>,
    /// How many tokens an answer is expected to have, thinking included, for estimates.
    pub expected_tokens: Option<u64>,
    /// Where prices are from, for the report.
    pub prices: String,
    /// What times are measured with, for the report.
    pub clock: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stream: true,
            repeat: 1,
            stages: vec![Stage::Closed(1)],
            sequential: false,
            arrivals: Arrivals::Even,
            seed: 0,
            retries: 0,
            timeout: TIMEOUT,
            parameters: None,
            breaks: Breaks::default(),
            scoring: None,
            judge: None,
            budget: None,
            expected_tokens: None,
            prices: "none".to_owned(),
            clock: "the system's monotonic clock".to_owned(),
        }
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

/// A run before it is run.
#[derive(Clone, Debug)]
pub struct Plan {
    targets: Vec<Target>,
    prompts: Vec<Prompt>,
    checks: Vec<Arc<Checks>>,
    settings: Settings,
}

/// What a run is expected to cost.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The target's label.
    pub target: String,
    /// Requests.
    pub requests: u64,
    /// Tokens of all prompts, about.
    pub prompt_tokens: u64,
    /// Tokens of all answers, as expected.
    pub completion_tokens: u64,
    /// US dollars; `None` when the price is not known.
    pub cost: Option<f64>,
}

impl Estimate {
    fn of(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            requests: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost: Some(0.0),
        }
    }

    fn add(&mut self, times: u64, tokens: &TokensLine, price: Option<&PriceLine>) {
        self.requests = self.requests.saturating_add(times);
        self.prompt_tokens = self.prompt_tokens.saturating_add(tokens.prompt.saturating_mul(times));
        self.completion_tokens =
            self.completion_tokens.saturating_add(tokens.completion.saturating_mul(times));
        #[expect(clippy::cast_precision_loss, reason = "a plan has fewer requests than 2^53")]
        let cost = price.and_then(|it| it.cost(tokens)).map(|it| it * times as f64);
        self.cost = self.cost.zip(cost).map(|(sum, cost)| sum + cost);
    }
}

/// Where a request stands in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stage: usize,
    pub(crate) target: usize,
    pub(crate) repeat: u64,
    pub(crate) prompt: usize,
}

impl Plan {
    /// Puts a plan together, and looks at all of it before anything is sent.
    ///
    /// # Errors
    /// What is missing, doubled or out of range, in which prompt or target.
    pub fn new(
        targets: Vec<Target>,
        mut prompts: Vec<Prompt>,
        settings: Settings,
    ) -> Result<Self, PlanError> {
        let wrong = |text: String| Err(PlanError(text));
        if targets.is_empty() || targets.len() > TARGETS_MAX {
            return wrong(format!("there are {} models to compare; name 1 to {TARGETS_MAX}", targets.len()));
        }
        for (place, target) in targets.iter().enumerate() {
            if target.label.is_empty()
                || target.label.chars().count() > LABEL_CHARS_MAX
                || target.label.contains(char::is_control)
            {
                return wrong(format!(
                    "the name of model {} is empty, longer than {LABEL_CHARS_MAX} characters, or has control characters; \
                     write NAME=… before it",
                    place + 1
                ));
            }
            if targets[..place].iter().any(|it| it.label == target.label) {
                return wrong(format!("two models are called `{}`; write NAME=… before one", target.label));
            }
        }
        if prompts.is_empty() {
            return wrong("there is no prompt".to_owned());
        }
        if settings.stages.is_empty() || settings.stages.len() > STAGES_MAX {
            return wrong(format!(
                "there are {} stages; 1 to {STAGES_MAX} can be run",
                settings.stages.len()
            ));
        }
        for stage in &settings.stages {
            match stage {
                Stage::Closed(at_once) if !(1..=AT_ONCE_MAX).contains(at_once) => {
                    return wrong(format!("{at_once} requests at once; 1 to {AT_ONCE_MAX} can be"));
                }
                Stage::Open(rate) if !(*rate >= 0.001 && *rate <= 100_000.0) => {
                    return wrong(format!("{rate} requests per second; 0.001 to 100000 can be"));
                }
                _ => {}
            }
        }
        if settings.repeat == 0 {
            return wrong("a prompt is asked once or more, not 0 times".to_owned());
        }
        if settings.timeout.is_zero() {
            return wrong("a request may take 0 seconds; give it some".to_owned());
        }
        if settings.budget.is_some_and(|it| !it.is_finite() || it < 0.0) {
            return wrong("the budget is a number of US dollars, 0 or more".to_owned());
        }
        let priced =
            |it: &Target| it.price.as_ref().is_some_and(|it| it.input.is_some() && it.output.is_some());
        let judge = settings.judge.as_ref().map(|(_, target)| target);
        if let (Some(_), Some(target)) = (settings.budget, targets.iter().chain(judge).find(|it| !priced(it)))
        {
            return wrong(format!(
                "the price of `{}`'s tokens is not known, so no budget can be kept; add it to the prices, or set no budget",
                target.label
            ));
        }
        let expects = matches!(&settings.scoring, Some(scoring) if scoring.wants_expected());
        if let (true, Some(place)) = (expects, prompts.iter().position(|it| it.expected.is_none())) {
            return wrong(format!(
                "{} has nothing `expected` to score its answers by; add it to every prompt",
                name_of(&prompts, place)
            ));
        }
        let parameters = fields(settings.parameters.as_ref(), "the parameters")?;
        let mut checks = Vec::with_capacity(prompts.len());
        let mut known: HashMap<String, Arc<Checks>> = HashMap::new();
        for place in 0..prompts.len() {
            let named =
                |error: &dyn fmt::Display| PlanError(format!("{}: {error}", name_of(&prompts, place)));
            let own = prompts[place].request.to_fields();
            let mut request = overlaid(parameters.clone(), &own).map_err(|error| named(&error))?;
            // Prompts mostly share their schema and their tools, and validators are large.
            let messages = std::mem::take(&mut request.messages);
            let key = Json::from(&request);
            let check = match known.get(key.as_str()) {
                Some(check) => Arc::clone(check),
                None => {
                    let check = Arc::new(Checks::of(&request).map_err(|error| named(&error))?);
                    known.insert(key.as_str().to_owned(), Arc::clone(&check));
                    check
                }
            };
            checks.push(check);
            request.messages = messages;
            prompts[place].request = request;
        }
        let plan = Self { targets, prompts, checks, settings };
        for target in &plan.targets {
            plan.request(&plan.prompts[0].request, target)?;
        }
        let size = plan.requests();
        if size > u128::from(REQUESTS_MAX) {
            return wrong(format!("{size} requests in all; up to {REQUESTS_MAX} can be run"));
        }
        Ok(plan)
    }

    /// Who is asked.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What is asked, the run's parameters included.
    #[must_use]
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// How it is asked.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn requests(&self) -> u128 {
        let sizes = [self.settings.stages.len(), self.targets.len(), self.prompts.len()];
        sizes.into_iter().map(|it| it as u128).product::<u128>() * u128::from(self.settings.repeat)
    }

    /// Takes the prices with which a run was begun: all of it is counted with the same.
    pub(crate) fn adopt_prices(&mut self, head: &RunLine) {
        for (target, line) in self.targets.iter_mut().zip(&head.targets) {
            target.price.clone_from(&line.price);
        }
        if let (Some((_, target)), Some((line, _))) = (&mut self.settings.judge, &head.settings.judge) {
            target.price.clone_from(&line.price);
        }
        self.settings.prices.clone_from(&head.settings.prices);
    }

    /// How many requests the run has.
    #[must_use]
    pub fn size(&self) -> u64 {
        u64::try_from(self.requests()).expect("because a plan has few enough requests")
    }

    /// How many of them one target gets in one stage.
    pub(crate) fn size_of_stage(&self) -> u64 {
        self.prompts.len() as u64 * self.settings.repeat
    }

    /// The number of a target's request in a stage, by its place there.
    pub(crate) fn number(&self, stage: usize, target: usize, place: u64) -> u64 {
        (stage * self.targets.len() + target) as u64 * self.size_of_stage() + place
    }

    pub(crate) fn place(&self, number: u64) -> Place {
        let (group, place) = (number / self.size_of_stage(), number % self.size_of_stage());
        let (targets, prompts) = (self.targets.len() as u64, self.prompts.len() as u64);
        let index = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        Place {
            stage: index(group / targets),
            target: index(group % targets),
            repeat: place / prompts,
            prompt: index(place % prompts),
        }
    }

    pub(crate) fn checks(&self, prompt: usize) -> &Checks {
        &self.checks[prompt]
    }

    /// A prompt's request as it goes to a target.
    pub(crate) fn request(&self, request: &ChatRequest, target: &Target) -> Result<ChatRequest, PlanError> {
        let mut request = match &target.parameters {
            None => request.clone(),
            Some(_) => {
                let named = |error: &dyn fmt::Display| PlanError(format!("{}: {error}", target.label));
                let own = fields(target.parameters.as_ref(), &target.label)?;
                overlaid(request.to_fields(), &own).map_err(|error| named(&error))?
            }
        };
        request.model = Some(target.model.clone()).filter(|it| !it.is_empty());
        Ok(request)
    }

    /// What the run is expected to cost, target by target, and then the judge: prompts by their length, answers by what was
    /// said to be expected, or the limit of tokens, or [`EXPECTED_TOKENS`].
    #[must_use]
    pub fn estimate(&self) -> Vec<Estimate> {
        let times = self.settings.repeat.saturating_mul(self.settings.stages.len() as u64);
        let mut judged = Estimate::of("the judge");
        let mut estimates = Vec::new();
        for target in &self.targets {
            let mut estimate = Estimate::of(&target.label);
            for prompt in &self.prompts {
                let tokens = self.expected(prompt, target);
                estimate.add(times, &tokens, target.price.as_ref());
                if let Some((_, judge)) = &self.settings.judge {
                    judged.add(times, &self.expected_of_judge(&tokens), judge.price.as_ref());
                }
            }
            estimates.push(estimate);
        }
        if let Some((_, judge)) = &self.settings.judge {
            judged.target = format!("the judge, {}", judge.label);
            estimates.push(judged);
        }
        estimates
    }

    /// About how many tokens judging an answer of so many takes.
    fn expected_of_judge(&self, answer: &TokensLine) -> TokensLine {
        let template = self.settings.judge.as_ref().map_or(0, |(judge, _)| judge.template().len() as u64);
        let prompt = answer
            .prompt
            .saturating_add(answer.completion)
            .saturating_add(template.div_ceil(BYTES_PER_TOKEN));
        TokensLine { prompt, cached: 0, completion: JUDGE_TOKENS, reasoning: 0 }
    }

    /// What one request to a target is expected to cost, its judgement included; `None` when a price is not known.
    pub(crate) fn expected_cost(&self, place: Place) -> Option<f64> {
        let target = &self.targets[place.target];
        let tokens = self.expected(&self.prompts[place.prompt], target);
        let own = target.price.as_ref()?.cost(&tokens)?;
        match &self.settings.judge {
            None => Some(own),
            Some((_, judge)) => Some(own + judge.price.as_ref()?.cost(&self.expected_of_judge(&tokens))?),
        }
    }

    /// About how many tokens one request of a prompt to a target takes.
    fn expected(&self, prompt: &Prompt, target: &Target) -> TokensLine {
        let own = self.request(&prompt.request, target);
        let request = own.as_ref().unwrap_or(&prompt.request);
        let mut bytes = 0;
        let mut media = 0;
        for message in &request.messages {
            if let Some(content) = message.content.get() {
                bytes += content.text().len();
                media += content.parts().iter().filter(|it| it.text.is_none()).count();
            }
            bytes += message.tool_calls.iter().flatten().map(|it| it.arguments().len()).sum::<usize>();
        }
        let beside = (&request.tools, &request.functions, &request.response_format);
        let nothing = "[null,null,null]".len();
        bytes += Json::from_serialize(&beside).map_or(0, |it| it.as_str().len().saturating_sub(nothing));
        let limit =
            request.max_completion_tokens.or(request.max_tokens).and_then(|it| u64::try_from(it).ok());
        let expected = self.settings.expected_tokens.or(limit).unwrap_or(EXPECTED_TOKENS);
        let choices = request.n.and_then(|it| u64::try_from(it).ok()).unwrap_or(1);
        TokensLine {
            prompt: (bytes as u64).div_ceil(BYTES_PER_TOKEN) + media as u64 * MEDIA_TOKENS,
            cached: 0,
            completion: expected.saturating_mul(choices),
            reasoning: 0,
        }
    }

    /// The head of the run's file, but for when and by whom it was begun.
    #[must_use]
    pub fn line(&self) -> RunLine {
        let settings = &self.settings;
        let judge =
            settings.judge.as_ref().map(|(judge, target)| (target.line(), judge.template().to_owned()));
        let line = SettingsLine {
            stream: settings.stream,
            repeat: settings.repeat,
            stages: settings.stages.iter().map(ToString::to_string).collect(),
            sequential: settings.sequential,
            arrivals: settings.arrivals.to_string(),
            retries: settings.retries,
            timeout: settings.timeout.as_secs_f64(),
            parameters: settings.parameters.clone(),
            breaks: settings.breaks.to_string(),
            scoring: settings.scoring.as_ref().map(ToString::to_string),
            judge,
            prices: settings.prices.clone(),
        };
        let targets: Vec<TargetLine> = self.targets.iter().map(Target::line).collect();
        // What it costs may have changed between sessions, and so may a port of this machine.
        let lasting =
            |it: &TargetLine| TargetLine { price: None, url: without_own_port(&it.url), ..it.clone() };
        let lasting_targets: Vec<TargetLine> = targets.iter().map(lasting).collect();
        let hashed = SettingsLine {
            prices: String::new(),
            judge: line.judge.as_ref().map(|(judge, prompt)| (lasting(judge), prompt.clone())),
            ..line.clone()
        };
        RunLine {
            format: FORMAT,
            program: String::new(),
            machine: String::new(),
            started: String::new(),
            clock: settings.clock.clone(),
            seed: settings.seed,
            requests: self.size(),
            prompts: self.prompts.len() as u64,
            plan: PlanLine {
                targets: hash([Json::from_serialize(&lasting_targets)]),
                prompts: hash(self.prompts.iter().map(|it| Json::from_serialize(&prompt_line(0, it)))),
                settings: hash([Json::from_serialize(&(hashed, settings.seed))]),
            },
            targets,
            settings: line,
        }
    }

    /// The prompts as they stand in the run's file.
    pub(crate) fn prompt_lines(&self) -> impl Iterator<Item = PromptLine> {
        self.prompts.iter().enumerate().map(|(number, prompt)| prompt_line(number, prompt))
    }
}

fn prompt_line(number: usize, prompt: &Prompt) -> PromptLine {
    PromptLine {
        prompt: number as u64,
        id: prompt.id.clone(),
        request: Json::from(&prompt.request),
        expected: prompt.expected.clone(),
    }
}

fn name_of(prompts: &[Prompt], place: usize) -> String {
    match &prompts[place].id {
        Some(id) => format!("prompt {} (`{id}`)", place + 1),
        None => format!("prompt {}", place + 1),
    }
}

/// An object's fields; `None` is one without.
fn fields(json: Option<&Json>, name: &str) -> Result<Extra, PlanError> {
    let Some(json) = json else { return Ok(Extra::default()) };
    Extra::from_json(json).map_err(|error| PlanError(format!("{name}: {error}; it is a JSON object")))
}

/// Fields with others above them; what is null there is taken away.
fn overlaid(mut base: Extra, own: &Extra) -> Result<ChatRequest, ParseError> {
    for (name, value) in own.iter() {
        base.insert(name, value.clone());
    }
    base.retain(|_, value| value.as_str() != "null");
    if base.get("messages").is_none() {
        base.insert("messages", "[]".parse::<Json>().expect("because that is JSON"));
    }
    ChatRequest::from_json(base.to_json())
}

/// A URL; of a server on this machine without the port, which the next emulator has another of.
fn without_own_port(url: &str) -> String {
    match url.parse::<http::Uri>() {
        Ok(uri) if matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]")) => {
            format!("this machine{}", uri.path())
        }
        _ => url.to_owned(),
    }
}

/// SHA-256 of JSON documents, its first 16 bytes in hexadecimal.
fn hash<E>(documents: impl IntoIterator<Item = Result<Json, E>>) -> String {
    let mut hash = Context::new(&SHA256);
    for document in documents {
        hash.update(document.as_ref().map_or("", Json::as_str).as_bytes());
        hash.update(b"\n");
    }
    hash.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
