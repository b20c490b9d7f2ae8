//! From the lines of runs to a report, in bounded memory however many lines there are.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use vertex_chat::ChatRequest;
use vertex_chat::types::Content;

use crate::comparison::PROGRAM;
use crate::differ::{Said, Variety, compared, difference, pieces, whole};
use crate::journal::{JournalError, Line, read};
use crate::plan::{Breaks, Stage};
use crate::record::{PromptLine, ResultLine, RunLine};
use crate::report::{AnswerReport, Difference, Figures, PromptReport, Report, RunReport, TargetReport};
use crate::stats::{Series, float};

/// How many prompts a report shows with their answers.
pub const PROMPTS_SHOWN_MAX: usize = 200;
/// How much of a prompt or an answer a report shows, in bytes.
pub const SHOWN_BYTES_MAX: usize = 32 << 10;
/// How many different words of one kind are counted for a target: errors, changes, models, reasons.
pub const WORDS_MAX: usize = 100;
/// What further words are counted as.
const OTHER_WORDS: &str = "others";
/// A microsecond in seconds.
const MICROSECOND: f64 = 1e-6;
/// Token rates are kept as whole thousandths of a token per second.
const THOUSANDTH: f64 = 1e-3;

/// What is known of one run so far. Its memory does not grow with the number of requests.
#[derive(Debug, Default)]
pub struct Summary {
    head: RunLine,
    sessions: u32,
    results: u64,
    end: Option<String>,
    targets: Vec<TargetSummary>,
    prompts: BTreeMap<u64, PromptSummary>,
    spent: f64,
}

#[derive(Debug, Default)]
struct TargetSummary {
    all: Tally,
    stages: Vec<Tally>,
    answered: Words,
    errors: Words,
    error_messages: BTreeMap<String, String>,
    unscored_reason: Option<String>,
    finish_reasons: Words,
    changes: Words,
    /// Why it is asked no more, and whether that is for good.
    stopped: Option<(String, bool)>,
}

#[derive(Debug)]
struct PromptSummary {
    line: PromptLine,
    /// By target: the first answer, in the order of the plan, and how many different ones there were.
    answers: BTreeMap<usize, (First, Variety)>,
}

/// A first answer as it is shown, and what tells the whole of it from others where it is cut.
#[derive(Debug)]
struct First {
    shown: ResultLine,
    whole: u64,
}

impl First {
    fn of(result: &ResultLine) -> Self {
        let mut hasher = DefaultHasher::new();
        result.content.hash(&mut hasher);
        result.refusal.hash(&mut hasher);
        Self { shown: shown(result), whole: hasher.finish() }
    }
}

/// How often there was which word.
#[derive(Debug, Default)]
struct Words(BTreeMap<String, u64>);

impl Words {
    fn add(&mut self, word: &str) {
        let is_known = self.0.contains_key(word);
        let word = if is_known || self.0.len() < WORDS_MAX { word } else { OTHER_WORDS };
        *self.0.entry(word.to_owned()).or_default() += 1;
    }

    /// The most frequent first.
    fn counts(&self) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> =
            self.0.iter().map(|(word, count)| (word.clone(), *count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

/// The numbers of one target, in one stage or in all.
#[derive(Debug, Default)]
struct Tally {
    figures: Figures,
    first_token: Series,
    total: Series,
    tokens_per_second: Series,
    /// Of the session that runs: its number, when its first request began and its last one ended.
    span: Option<(u32, u64, u64)>,
    /// Of those before it, in microseconds.
    earlier: u64,
    score_sum: f64,
    priced: u64,
    cost: f64,
}

impl Tally {
    fn add(&mut self, result: &ResultLine) {
        let figures = &mut self.figures;
        figures.requests += 1;
        figures.retries += u64::from(result.attempts.saturating_sub(1));
        let began = result.begun_us.min(result.due_us);
        self.span = Some(match self.span {
            Some((session, first, last)) if session == result.session => {
                (session, first.min(began), last.max(result.ended_us))
            }
            span => {
                let before = span.map_or(0, |(_, first, last)| last.saturating_sub(first));
                self.earlier = self.earlier.saturating_add(before);
                (result.session, began, result.ended_us.max(began))
            }
        });
        if let Some(cost) = result.cost {
            self.cost += cost;
            self.priced += 1;
        }
        if let Some(error) = &result.error {
            figures.errors += 1;
            figures.rate_limited += u64::from(error.kind == "rate_limited");
            return;
        }
        figures.ok += 1;
        figures.without_cost += u64::from(result.cost.is_none());
        // Where somebody else asked, such as a batch job, there are no times.
        if result.attempts > 0 {
            // From when it was due: who waits for a turn waits too.
            self.total.add(result.ended_us.saturating_sub(result.due_us));
        }
        if let Some(first) = result.first_token_us {
            self.first_token.add(first.saturating_sub(result.due_us));
        }
        match &result.tokens {
            None => figures.without_usage += 1,
            Some(tokens) => {
                figures.prompt_tokens = figures.prompt_tokens.saturating_add(tokens.prompt);
                figures.cached_tokens = figures.cached_tokens.saturating_add(tokens.cached);
                figures.completion_tokens = figures.completion_tokens.saturating_add(tokens.completion);
                figures.reasoning_tokens = figures.reasoning_tokens.saturating_add(tokens.reasoning);
            }
        }
        if let Some(rate) = tokens_per_second(result) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "`as` saturates, and a rate is not negative"
            )]
            self.tokens_per_second.add((rate / THOUSANDTH).round() as u64);
        }
        if let Some(fault) = &result.json_fault {
            figures.json_asked += 1;
            figures.json_valid += u64::from(fault.is_empty());
        }
        if let Some(cost) = result.score.as_ref().and_then(|it| it.judge_cost) {
            *figures.judge_cost.get_or_insert(0.0) += cost;
        }
        figures.unscored += u64::from(result.score.as_ref().is_some_and(|it| it.value.is_none()));
        if let Some(score) = result.score.as_ref().and_then(|it| it.value) {
            figures.scored += 1;
            self.score_sum += score;
        }
    }

    fn seconds(&self) -> f64 {
        let running = self.span.map_or(0, |(_, first, last)| last.saturating_sub(first));
        float(self.earlier.saturating_add(running)) / 1e6
    }

    /// `hour` is the price of the machine's hour, where that is how the target is paid.
    fn figures(&self, seconds: f64, hour: Option<f64>) -> Figures {
        let mut figures = self.figures.clone();
        figures.seconds = seconds;
        figures.answers_per_second =
            (figures.seconds > 0.0 && figures.ok > 0).then(|| float(figures.ok) / figures.seconds);
        figures.first_token = self.first_token.spread(MICROSECOND);
        figures.total = self.total.spread(MICROSECOND);
        figures.tokens_per_second = self.tokens_per_second.spread(THOUSANDTH);
        figures.score = (figures.scored > 0).then(|| self.score_sum / float(figures.scored));
        match hour {
            // The machine costs what it costs, whether it answers or not.
            Some(hour) if self.priced == 0 => {
                figures.cost = Some(hour * figures.seconds / 3600.0);
                figures.without_cost = 0;
            }
            _ => figures.cost = (self.priced > 0).then_some(self.cost),
        }
        let is_known = figures.without_cost == 0 && figures.ok > 0;
        figures.cost_per_thousand =
            figures.cost.filter(|_| is_known).map(|cost| cost / float(figures.ok) * 1000.0);
        figures
    }
}

impl TargetSummary {
    /// All stages together; waiting for others between two of them is nobody's time.
    fn figures(&self, hour: Option<f64>) -> Figures {
        self.all.figures(self.stages.iter().map(Tally::seconds).sum(), hour)
    }
}

/// Tokens per second of one answer after its first token; `None` where that cannot be said.
fn tokens_per_second(result: &ResultLine) -> Option<f64> {
    // Thoughts have a speed of their own, and often none that shows.
    let (first, last) = (result.first_text_us?, result.last_token_us?);
    let tokens = result.tokens?.completion;
    (last > first && tokens >= 2).then(|| float(tokens - 1) / (float(last - first) / 1e6))
}

impl Summary {
    /// Of a run of which there are no lines yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a run's file.
    ///
    /// # Errors
    /// As [`read`].
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        let mut summary = Self::new();
        read(path, |line| summary.add(&line))?;
        Ok(summary)
    }

    /// Takes a line in.
    pub fn add(&mut self, line: &Line) {
        match line {
            Line::Run(head) => {
                let stages = head.settings.stages.len();
                let target = || TargetSummary {
                    stages: (0..stages).map(|_| Tally::default()).collect(),
                    ..TargetSummary::default()
                };
                self.targets = head.targets.iter().map(|_| target()).collect();
                self.head = (**head).clone();
            }
            Line::Prompt(prompt) => {
                if self.prompts.len() < PROMPTS_SHOWN_MAX {
                    let summary = PromptSummary { line: (**prompt).clone(), answers: BTreeMap::new() };
                    self.prompts.insert(prompt.prompt, summary);
                }
            }
            Line::Session(session) => {
                self.sessions = self.sessions.max(session.session);
                self.end = None;
                for target in &mut self.targets {
                    target.stopped.take_if(|(_, for_good)| !*for_good);
                }
            }
            Line::Result(result) => self.add_result(result),
            Line::Stop(stop) => {
                if let Some(place) = self.place(&stop.target) {
                    let stage =
                        usize::try_from(stop.stage).ok().and_then(|it| self.head.settings.stages.get(it));
                    let stage = stage.map_or("", String::as_str);
                    self.targets[place].stopped =
                        Some((format!("at {stage}: {}", stop.reason), stop.for_good));
                }
            }
            Line::End(end) => self.end = Some(end.reason.clone()),
        }
    }

    fn place(&self, label: &str) -> Option<usize> {
        self.head.targets.iter().position(|it| it.label == label)
    }

    fn add_result(&mut self, result: &ResultLine) {
        let Some(place) = self.place(&result.target) else { return };
        self.results += 1;
        let judged = result.score.as_ref().and_then(|it| it.judge_cost).unwrap_or(0.0);
        self.spent += result.charged.unwrap_or_else(|| result.cost.unwrap_or(0.0) + judged);
        let target = &mut self.targets[place];
        target.all.add(result);
        if let Some(stage) = usize::try_from(result.stage).ok().and_then(|it| target.stages.get_mut(it)) {
            stage.add(result);
        }
        if let Some(score) = result.score.as_ref().filter(|it| it.value.is_none()) {
            target.unscored_reason.get_or_insert_with(|| score.why.clone());
        }
        if let Some(model) = &result.model {
            target.answered.add(model);
        }
        if let Some(error) = &result.error {
            target.errors.add(&error.kind);
            if target.error_messages.len() < WORDS_MAX {
                target.error_messages.entry(error.kind.clone()).or_insert_with(|| error.message.clone());
            }
        }
        if let Some(reason) = &result.finish_reason {
            target.finish_reasons.add(reason);
        }
        for change in &result.changes {
            target.changes.add(change);
        }
        let Some(prompt) = self.prompts.get_mut(&result.prompt) else { return };
        let (first, variety) =
            prompt.answers.entry(place).or_insert_with(|| (First::of(result), Variety::default()));
        if result.request < first.shown.request {
            *first = First::of(result);
        }
        if result.error.is_none() {
            variety.add(&said(result));
        }
    }

    /// The head of the run.
    #[must_use]
    pub fn head(&self) -> &RunLine {
        &self.head
    }

    /// How many requests have come to an end.
    #[must_use]
    pub fn results(&self) -> u64 {
        self.results
    }

    /// What is known to have been spent, in US dollars, on answers and on the judge.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// The numbers of a target so far.
    #[must_use]
    pub fn figures(&self, label: &str) -> Option<Figures> {
        let place = self.place(label)?;
        Some(self.targets[place].figures(self.hour(place)))
    }

    fn hour(&self, place: usize) -> Option<f64> {
        self.head.targets.get(place)?.price.as_ref()?.hour
    }

    /// Why a target is to be asked no more after a stage, if it has broken there, and whether for good.
    pub(crate) fn broken(&self, label: &str, stage: usize, breaks: &Breaks) -> Option<(String, bool)> {
        let tally = self.targets.get(self.place(label)?)?.stages.get(stage)?;
        let figures = &tally.figures;
        if figures.requests == 0 {
            return None;
        }
        let share = float(figures.errors) / float(figures.requests);
        if share > breaks.errors {
            // Found anew when the run goes on, from the same lines.
            return Some((format!("{} of {} requests have failed", figures.errors, figures.requests), false));
        }
        let p99 = tally.total.spread(MICROSECOND)?.p99.value;
        let limit = breaks.p99.as_ref().map(Duration::as_secs_f64)?;
        let reason = format!("the 99th percentile of the total time is {p99} s, above {limit} s");
        (p99 > limit).then_some((reason, true))
    }

    /// The report of this run alone.
    #[must_use]
    pub fn report(&self, name: &str, made: &str) -> Report {
        report(&[(name.to_owned(), self)], made)
    }
}

/// By target: the first answer, and how many different ones there were.
type Answers<'a> = BTreeMap<usize, (&'a First, &'a Variety)>;

/// One report of several runs with their names, made at a time by RFC 3339.
#[must_use]
pub fn report(runs: &[(String, &Summary)], made: &str) -> Report {
    let mut report = Report { made: made.to_owned(), program: PROGRAM.to_owned(), ..Report::default() };
    // Prompts are the same when their requests are, whichever run they are of.
    let mut prompts: Vec<(&PromptLine, Answers<'_>)> = Vec::new();
    for (run, (name, summary)) in runs.iter().enumerate() {
        let before = report.targets.len();
        report.runs.push(RunReport {
            name: name.clone(),
            head: summary.head.clone(),
            sessions: summary.sessions,
            results: summary.results,
            end: summary.end.clone(),
        });
        report.targets.extend((0..summary.targets.len()).map(|place| target_report(summary, run, place)));
        let left_out = summary.head.prompts.saturating_sub(summary.prompts.len() as u64);
        report.prompts_left_out = report.prompts_left_out.max(left_out);
        // Prompts of other runs only: one that stands twice in a run is two.
        let of_others = prompts.len();
        let mut taken = vec![false; of_others];
        for prompt in summary.prompts.values() {
            let same =
                |it: &PromptLine| it.request == prompt.line.request && it.expected == prompt.line.expected;
            let known = (0..of_others).find(|place| !taken[*place] && same(prompts[*place].0));
            let place = known.unwrap_or_else(|| {
                prompts.push((&prompt.line, BTreeMap::new()));
                prompts.len() - 1
            });
            if let Some(taken) = taken.get_mut(place) {
                *taken = true;
            }
            let answers = prompt.answers.iter();
            prompts[place]
                .1
                .extend(answers.map(|(target, (first, variety))| (before + target, (first, variety))));
        }
    }
    report.prompts = prompts
        .into_iter()
        .map(|(line, answers)| {
            let base = answers.iter().find(|(_, (first, _))| first.shown.error.is_none());
            let base = base.map(|(target, (first, _))| (*target, *first));
            let mut prompt = prompt_report(line);
            prompt.answers = answers
                .iter()
                .map(|(target, (first, variety))| answer_report(*target, first, variety, base))
                .collect();
            prompt
        })
        .collect();
    report
}

fn target_report(summary: &Summary, run: usize, place: usize) -> TargetReport {
    let target = &summary.targets[place];
    let line = &summary.head.targets[place];
    let hour = summary.hour(place);
    let asked = summary.head.requests / (summary.targets.len() as u64).max(1);
    let stages =
        summary.head.settings.stages.iter().zip(&target.stages).filter(|(_, it)| it.figures.requests > 0);
    let where_it_is = [Some(line.url.as_str()), line.location.as_deref(), Some(line.dialect.as_str())];
    TargetReport {
        run,
        label: line.label.clone(),
        model: line.model.clone(),
        answered: target.answered.counts().into_iter().map(|(word, _)| word).collect(),
        place: where_it_is.into_iter().flatten().collect::<Vec<_>>().join(", "),
        price: line.price.clone(),
        all: target.figures(hour),
        stages: stages
            .map(|(name, tally)| {
                let mut figures = tally.figures(tally.seconds(), hour);
                figures.stage.clone_from(name);
                match name.parse() {
                    Ok(Stage::Closed(at_once)) => figures.concurrency = Some(at_once),
                    Ok(Stage::Open(rate)) => figures.rate = Some(rate),
                    Err(_) => {}
                }
                figures
            })
            .collect(),
        errors: target.errors.counts(),
        error_messages: target.error_messages.clone().into_iter().collect(),
        unscored_reason: target.unscored_reason.clone(),
        finish_reasons: target.finish_reasons.counts(),
        changes: target.changes.counts(),
        latency: target.all.total.bins(MICROSECOND),
        first_token: target.all.first_token.bins(MICROSECOND),
        // Who has been asked everything was not stopped, whatever was found in the end.
        stopped: target
            .stopped
            .as_ref()
            .filter(|_| target.all.figures.requests < asked)
            .map(|(it, _)| it.clone()),
    }
}

fn prompt_report(line: &PromptLine) -> PromptReport {
    let request = ChatRequest::from_json(&line.request);
    PromptReport {
        name: line.id.clone().unwrap_or_else(|| (line.prompt + 1).to_string()),
        messages: request.map(|it| messages(&it, SHOWN_BYTES_MAX)).unwrap_or_default(),
        expected: line.expected.clone(),
        answers: Vec::new(),
    }
}

/// Who says what in a request: texts, and what is no text by its kind.
pub(crate) fn messages(request: &ChatRequest, bytes_max: usize) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    for message in &request.messages {
        let mut text = String::new();
        match message.content.get() {
            Some(Content::Text(own)) => text.push_str(own),
            Some(content) => {
                for part in content.parts() {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    match &part.text {
                        Some(own) => text.push_str(own),
                        None => text.push_str(&format!(
                            "[{}]",
                            part.r#type.as_ref().map_or("part", |it| it.as_str())
                        )),
                    }
                }
            }
            None => {}
        }
        for call in message.tool_calls.iter().flatten() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[calls {}({})]", call.name(), call.arguments()));
        }
        messages.push((message.role.as_str().to_owned(), cut(&text, bytes_max)));
    }
    messages
}

/// `base` is the answer that others are told from, and its target.
fn answer_report(
    target: usize,
    first: &First,
    variety: &Variety,
    base: Option<(usize, &First)>,
) -> AnswerReport {
    let result = &first.shown;
    let mut answer = AnswerReport {
        target,
        pieces: Vec::new(),
        calls: result.calls.clone(),
        difference: None,
        error: result.error.as_ref().map(|it| format!("{}: {}", it.kind, it.message)),
        finish_reason: result.finish_reason.clone(),
        first_token: result.first_token_us.map(|it| float(it.saturating_sub(result.due_us)) / 1e6),
        total: (result.attempts > 0).then(|| float(result.ended_us.saturating_sub(result.due_us)) / 1e6),
        cost: result.cost,
        tokens: result.tokens.map(|it| it.completion.saturating_add(it.reasoning)),
        json_fault: result.json_fault.clone(),
        score: result.score.as_ref().and_then(|it| Some((it.value?, it.why.clone()))),
        variety: variety.counts(),
    };
    if result.error.is_some() {
        return answer;
    }
    let own = said(result);
    let Some((_, base)) = base.filter(|(first, _)| *first != target) else {
        answer.pieces = pieces(&whole(own.content.unwrap_or_default()));
        return answer;
    };
    let is_same = base.whole == first.whole;
    let base = said(&base.shown);
    let parts = compared(base.content.unwrap_or_default(), own.content.unwrap_or_default());
    answer.pieces = pieces(&parts);
    answer.difference = Some(match difference(&base, &own, &parts) {
        // All of what is shown is in common, and what is cut off is not.
        Difference::Same if !is_same && own.content.is_some_and(|it| it.len() > SHOWN_BYTES_MAX) => {
            Difference::Text(1.0)
        }
        difference => difference,
    });
    answer
}

/// What an answer says, for telling it from others.
fn said(result: &ResultLine) -> Said<'_> {
    Said {
        content: result.content.as_deref().or(result.refusal.as_deref()),
        calls: &result.calls,
        is_json: result.json_fault.is_some(),
    }
}

/// A result as a report keeps it.
fn shown(result: &ResultLine) -> ResultLine {
    let mut shown = result.clone();
    shown.usage = None;
    shown.changes = Vec::new();
    for text in [&mut shown.content, &mut shown.refusal].into_iter().flatten() {
        *text = cut(text, SHOWN_BYTES_MAX);
    }
    for call in &mut shown.calls {
        call.arguments = cut(&call.arguments, SHOWN_BYTES_MAX);
    }
    shown
}

fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max).rev().find(|it| text.is_char_boundary(*it)).unwrap_or(0);
    format!("{} … ({} bytes more)", &text[..end], text.len() - end)
}
