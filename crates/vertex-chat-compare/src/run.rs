//! Asking: stage by stage, every target at its pace, each end told at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use vertex_chat::transport::Clock;
use vertex_chat::types::{ChatCompletionChunk, ResponseMessage};
use vertex_chat::{
    Accumulator, CallOptions, ChatCompletion, ChatRequest, Dialect, Error, ErrorKind, Json, Meta,
    RetryPolicy, Sent, Timeouts, Usage,
};

use crate::journal::Past;
use crate::plan::{AT_ONCE_MAX, Arrivals, Plan, Stage, Target};
use crate::record::{CallLine, ErrorLine, ResultLine, ScoreLine, StopLine, TokensLine};
use crate::text::shortened;

/// How much of an error's message is kept, in characters.
pub const MESSAGE_CHARS_MAX: usize = 500;
/// How many results wait to be written before requests wait too. Few: what has not been written is asked again after a crash.
const RESULTS_WAITING_MAX: usize = 64;
/// How many answers the judge is asked about at once.
const JUDGED_AT_ONCE: usize = 8;
/// How many answers of one worker wait for the judge before the worker waits too.
const JUDGED_LATER_MAX: usize = 256;
/// What no other request to the same target will be spared: the first ends it, and is asked again when the run goes on.
const HOPELESS: [&str; 4] = ["credentials", "configuration", "http_401", "http_403"];
/// Failures that nobody is charged for: nothing was sent, or the server refused.
const FREE: [&str; 4] = ["rejected", "credentials", "configuration", "rate_limited"];

/// What is told while it runs.
#[derive(Debug)]
pub(crate) enum Told {
    /// A request came to an end.
    Result(Box<ResultLine>),
    /// A target is asked no more.
    Stop(StopLine),
}

/// A target that breaks at the end of a stage does so by what all sessions saw of it; whoever keeps count says why.
pub(crate) type Broken<'a> = &'a mut dyn FnMut(usize, &str) -> Option<(String, bool)>;

/// What all requests of a session share.
struct Shared {
    plan: Arc<Plan>,
    clock: Arc<dyn Clock>,
    options: CallOptions,
    session: u32,
    /// The clock's time at which the session began.
    began: Duration,
    past: Past,
    lanes: Vec<Lane>,
    money: Mutex<Money>,
    is_out_of_money: AtomicBool,
    /// Told when money was booked, and when a target is asked no more.
    changed: Notify,
    judging: Semaphore,
}

/// One target, as the run sees it.
#[derive(Default)]
struct Lane {
    is_stopped: AtomicBool,
    failures_in_a_row: AtomicU64,
}

/// What was spent and what is about to be, in US dollars.
#[derive(Default)]
struct Money {
    spent: f64,
    reserved: f64,
    /// For how many requests it is reserved: sums of fractions do not come back to zero by themselves.
    open: u64,
}

/// A session of a run.
pub(crate) struct Session(Arc<Shared>);

impl Session {
    /// `spent` is what earlier sessions have spent.
    pub(crate) fn new(plan: Arc<Plan>, clock: Arc<dyn Clock>, past: Past, spent: f64) -> Self {
        let settings = plan.settings();
        let retry = match settings.retries {
            0 => RetryPolicy::never(),
            retries => RetryPolicy::default().with_attempts_max(retries.saturating_add(1)),
        };
        let timeout = settings.timeout;
        let timeouts = Timeouts::default().with_total(timeout).with_first_byte(timeout).with_idle(timeout);
        let lanes: Vec<Lane> = plan.targets().iter().map(|_| Lane::default()).collect();
        for stop in past.stops.iter().filter(|it| it.for_good) {
            let stopped = plan.targets().iter().position(|it| it.label() == stop.target);
            if let Some(lane) = stopped.and_then(|it| lanes.get(it)) {
                lane.is_stopped.store(true, Ordering::Relaxed);
            }
        }
        Self(Arc::new(Shared {
            options: CallOptions::new().with_retry(retry).with_timeouts(timeouts),
            session: past.sessions + 1,
            began: clock.monotonic(),
            plan,
            clock,
            past,
            lanes,
            money: Mutex::new(Money { spent, ..Money::default() }),
            is_out_of_money: AtomicBool::new(false),
            changed: Notify::new(),
            judging: Semaphore::new(JUDGED_AT_ONCE),
        }))
    }

    pub(crate) fn number(&self) -> u32 {
        self.0.session
    }

    /// Runs what is left of the plan, and says why it ended. `told` gets everything in the order in which it happens; when it
    /// fails, so does the run.
    ///
    /// Dropping the future gives up the requests that run; they have not been told, so the next session asks them again.
    pub(crate) async fn run<E>(
        &self,
        mut told: impl FnMut(Told) -> Result<(), E>,
        mut broken: impl FnMut(usize, &str) -> Option<(String, bool)>,
    ) -> Result<&'static str, E> {
        let plan = &self.0.plan;
        let targets: Vec<usize> = (0..plan.targets().len()).collect();
        let groups: Vec<&[usize]> =
            if plan.settings().sequential { targets.chunks(1).collect() } else { vec![&targets] };
        for number in 0..plan.settings().stages.len() {
            for group in &groups {
                self.stage(number, group, &mut told).await?;
                if self.0.is_out_of_money.load(Ordering::Relaxed) {
                    return Ok("the budget has no room for the next request");
                }
                // Nobody is spared anything after the last.
                if number + 1 < plan.settings().stages.len() {
                    self.end_of_stage(number, group, &mut told, &mut broken)?;
                }
            }
        }
        let stopped = self.0.lanes.iter().filter(|it| it.is_stopped.load(Ordering::Relaxed)).count();
        Ok(match stopped {
            0 => "complete",
            it if it == self.0.lanes.len() => "every model broke",
            _ => "complete, but for models that broke",
        })
    }

    /// Asks some targets at one pace until each has been asked everything.
    async fn stage<E>(
        &self,
        number: usize,
        group: &[usize],
        told: &mut impl FnMut(Told) -> Result<(), E>,
    ) -> Result<(), E> {
        let (sender, mut results) = channel(RESULTS_WAITING_MAX);
        // Dropped with this future, and then the requests are given up.
        let mut tasks = JoinSet::new();
        for target in group {
            if !self.0.lanes[*target].is_stopped.load(Ordering::Relaxed) {
                self.start(&mut tasks, number, *target, &sender);
            }
        }
        drop(sender);
        while let Some(event) = results.recv().await {
            told(event)?;
        }
        while join(&mut tasks).await {}
        Ok(())
    }

    fn end_of_stage<E>(
        &self,
        stage: usize,
        group: &[usize],
        told: &mut impl FnMut(Told) -> Result<(), E>,
        broken: Broken<'_>,
    ) -> Result<(), E> {
        for target in group {
            let lane = &self.0.lanes[*target];
            let label = self.0.plan.targets()[*target].label();
            if lane.is_stopped.load(Ordering::Relaxed) {
                continue;
            }
            if let Some((reason, for_good)) = broken(stage, label) {
                lane.is_stopped.store(true, Ordering::Relaxed);
                told(Told::Stop(StopLine {
                    target: label.to_owned(),
                    stage: stage as u64,
                    reason,
                    for_good,
                }))?;
            }
        }
        Ok(())
    }

    fn start(&self, tasks: &mut JoinSet<()>, stage: usize, target: usize, sender: &Sender<Told>) {
        let shared = Arc::clone(&self.0);
        let sender = sender.clone();
        match self.0.plan.settings().stages[stage] {
            Stage::Closed(at_once) => {
                let next = Arc::new(AtomicU64::new(0));
                for _ in 0..at_once {
                    let (shared, sender, next) = (Arc::clone(&shared), sender.clone(), Arc::clone(&next));
                    tasks.spawn(async move { shared.work(stage, target, &next, &sender).await });
                }
            }
            Stage::Open(rate) => {
                tasks.spawn(async move { shared.pace(stage, target, rate, &sender).await });
            }
        }
    }
}

/// A task that has come to its end; one that has panicked takes the run with it, which would else lack results without a word.
fn ended(task: Result<(), JoinError>) {
    if let Some(panic) = task.err().and_then(|it| it.try_into_panic().ok()) {
        std::panic::resume_unwind(panic);
    }
}

/// Waits until a task has come to its end; whether there was one.
async fn join(tasks: &mut JoinSet<()>) -> bool {
    tasks.join_next().await.map(ended).is_some()
}

impl Shared {
    /// The next request of a target's stage that has not ended before.
    fn take(&self, stage: usize, target: usize, next: &AtomicU64) -> Option<u64> {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= self.plan.size_of_stage() {
                return None;
            }
            let number = self.plan.number(stage, target, place);
            if !self.past.is_done(number) {
                return Some(number);
            }
        }
    }

    /// Whether another request may go to a target.
    fn may_ask(&self, target: usize) -> bool {
        !self.lanes[target].is_stopped.load(Ordering::Relaxed)
            && !self.is_out_of_money.load(Ordering::Relaxed)
    }

    /// One request after the other, until there is none left.
    async fn work(self: Arc<Self>, stage: usize, target: usize, next: &AtomicU64, sender: &Sender<Told>) {
        // Whoever waits for the judge asks nobody meanwhile, so nobody waits.
        let mut judging = JoinSet::new();
        while self.may_ask(target) {
            let Some(number) = self.take(stage, target, next) else { break };
            let Some(reserved) = self.reserve(number).await else { break };
            let due = self.clock.monotonic();
            let result = self.ask(number, due).await;
            if let Some(result) = self.settle(result, reserved, sender).await {
                while judging.len() >= JUDGED_LATER_MAX {
                    join(&mut judging).await;
                }
                judging.spawn(Arc::clone(&self).judge_and_tell(result, reserved, sender.clone()));
            }
            while judging.try_join_next().map(ended).is_some() {}
        }
        while join(&mut judging).await {}
    }

    /// Requests that begin at a rate, whatever becomes of those before.
    async fn pace(self: Arc<Self>, stage: usize, target: usize, rate: f64, sender: &Sender<Told>) {
        let settings = self.plan.settings();
        let mut random = fastrand::Rng::with_seed(settings.seed ^ ((stage as u64) << 32) ^ target as u64);
        let at_once = usize::try_from(AT_ONCE_MAX).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(at_once));
        let began = self.clock.monotonic();
        let next = AtomicU64::new(0);
        // What was begun is given up with this task.
        let mut tasks = JoinSet::new();
        let mut after = 0.0;
        let mut begun = 0.0;
        while self.may_ask(target) {
            let Some(number) = self.take(stage, target, &next) else { break };
            let due = began.saturating_add(Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX));
            begun += 1.0;
            after = match settings.arrivals {
                // Multiplied, not added up: a third of a second has no exact number.
                Arrivals::Even => begun / rate,
                Arrivals::Poisson => after - (1.0 - random.f64()).ln() / rate,
            };
            let wait = due.saturating_sub(self.clock.monotonic());
            if !wait.is_zero() {
                tokio::select! {
                    () = self.clock.sleep(wait) => {}
                    () = self.until_stopped(target) => break,
                }
            }
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
            if !self.may_ask(target) {
                break;
            }
            let Some(reserved) = self.reserve(number).await else { break };
            while tasks.len() >= at_once + JUDGED_LATER_MAX {
                join(&mut tasks).await;
            }
            let (shared, sender) = (Arc::clone(&self), sender.clone());
            tasks.spawn(async move {
                let permit: OwnedSemaphorePermit = permit;
                let result = shared.ask(number, due).await;
                drop(permit);
                if let Some(result) = shared.settle(result, reserved, &sender).await {
                    shared.judge_and_tell(result, reserved, sender).await;
                }
            });
            while tasks.try_join_next().map(ended).is_some() {}
        }
        while join(&mut tasks).await {}
    }

    fn money(&self) -> MutexGuard<'_, Money> {
        self.money.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets aside what a request is expected to cost, once there is room for it; `None` when there will be none.
    async fn reserve(&self, number: u64) -> Option<f64> {
        let Some(budget) = self.plan.settings().budget else { return Some(0.0) };
        // A plan with a budget has all prices.
        let cost = self.plan.expected_cost(self.plan.place(number)).unwrap_or(budget);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_out_of_money.load(Ordering::Relaxed) {
                return None;
            }
            {
                let mut money = self.money();
                if money.spent + cost > budget {
                    self.is_out_of_money.store(true, Ordering::Relaxed);
                    self.changed.notify_waiters();
                    return None;
                }
                if money.open == 0 || money.spent + money.reserved + cost <= budget {
                    money.open += 1;
                    money.reserved += cost;
                    return Some(cost);
                }
            }
            // What was set aside for others may not be needed.
            changed.await;
        }
    }

    /// Books what a request did cost; what is not known counts as expected.
    fn book(&self, reserved: f64, result: &mut ResultLine) {
        if self.plan.settings().budget.is_none() {
            return;
        }
        let judged = result.score.as_ref().and_then(|it| it.judge_cost);
        let has_judge = self.plan.settings().judge.is_some();
        let is_free = |kind: &str| FREE.contains(&kind) || kind.starts_with("http_");
        let charged = match (&result.error, result.cost, judged) {
            (Some(error), None, _) if is_free(&error.kind) => 0.0,
            (None, Some(cost), Some(judged)) => cost + judged,
            (None, Some(cost), None) if !has_judge => cost,
            (Some(_), Some(cost), _) => cost,
            // A request that broke off was worked on.
            _ => reserved,
        };
        result.charged = Some(charged);
        {
            let mut money = self.money();
            money.open = money.open.saturating_sub(1);
            money.reserved = if money.open == 0 { 0.0 } else { money.reserved - reserved };
            money.spent += charged;
        }
        self.changed.notify_waiters();
    }

    /// Until a target is asked no more.
    async fn until_stopped(&self, target: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.may_ask(target) {
                return;
            }
            changed.await;
        }
    }

    /// Says what came of a request, or gives it back when the judge is to see it first.
    async fn settle(
        &self,
        mut result: ResultLine,
        reserved: f64,
        sender: &Sender<Told>,
    ) -> Option<ResultLine> {
        let place = self.plan.place(result.request);
        let lane = &self.lanes[place.target];
        let stop = |reason: String| {
            let target = result.target.clone();
            Told::Stop(StopLine { target, stage: place.stage as u64, reason, for_good: false })
        };
        let Some(error) = &result.error else {
            lane.failures_in_a_row.store(0, Ordering::Relaxed);
            if self.plan.settings().judge.is_some() {
                return Some(result);
            }
            self.book(reserved, &mut result);
            // Nobody listens any more when the run has ended.
            let _ = sender.send(Told::Result(Box::new(result))).await;
            return None;
        };
        let failures = lane.failures_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let is_hopeless = HOPELESS.contains(&error.kind.as_str());
        let reason = match is_hopeless {
            true => format!("{}: {}", error.kind, error.message),
            false => format!("{failures} requests in a row have failed"),
        };
        // Before anybody else asks it again, and told once.
        let has_broken = (is_hopeless || failures >= self.plan.settings().breaks.in_a_row)
            && !lane.is_stopped.swap(true, Ordering::Relaxed);
        let stop = has_broken.then(|| stop(reason));
        self.book(reserved, &mut result);
        self.changed.notify_waiters();
        if !is_hopeless {
            let _ = sender.send(Told::Result(Box::new(result))).await;
        }
        if let Some(stop) = stop {
            let _ = sender.send(stop).await;
        }
        None
    }

    /// Has the judge see an answer, and says what came of both.
    async fn judge_and_tell(self: Arc<Self>, mut result: ResultLine, reserved: f64, sender: Sender<Told>) {
        let place = self.plan.place(result.request);
        if let Ok(_permit) = self.judging.acquire().await
            && let Some(score) = self.judge(place.prompt, &result).await
        {
            result.score = Some(score);
        }
        self.book(reserved, &mut result);
        let _ = sender.send(Told::Result(Box::new(result))).await;
    }

    fn since_began(&self) -> u64 {
        micros(self.clock.monotonic().saturating_sub(self.began))
    }

    async fn ask(&self, number: u64, due: Duration) -> ResultLine {
        let place = self.plan.place(number);
        let target = &self.plan.targets()[place.target];
        let prompt = &self.plan.prompts()[place.prompt];
        let mut result = ResultLine {
            request: number,
            session: self.session,
            target: target.label().to_owned(),
            prompt: place.prompt as u64,
            repeat: place.repeat,
            stage: place.stage as u64,
            due_us: micros(due.saturating_sub(self.began)),
            ..ResultLine::default()
        };
        let request = || self.plan.request(&prompt.request, target);
        let first = match request() {
            Ok(request) => request,
            Err(error) => {
                result.begun_us = self.since_began();
                result.ended_us = result.begun_us;
                result.error =
                    Some(ErrorLine { kind: "rejected".to_owned(), message: shortened(&error.to_string()) });
                return result;
            }
        };
        result.begun_us = self.since_began();
        let mut answer = self.once(target, first, &mut result).await;
        // A server may close a connection just when it is used again. That says nothing about its model, and whoever keeps
        // connections opens another one.
        let was_lost = answer.as_ref().is_err_and(|error| {
            error.kind() == ErrorKind::Connection && error.sent() != Sent::No && result.status.is_none()
        });
        if was_lost && let Ok(again) = request() {
            answer = self.once(target, again, &mut result).await;
        }
        result.ended_us = self.since_began();
        match answer {
            // What was too large to keep is no answer.
            Ok(_) if result.error.is_some() => {}
            Ok(completion) => {
                describe(&completion, target, &mut result);
                self.plan.check(place.prompt, &mut result);
            }
            Err(error) => fail(&error, &mut result),
        }
        result.attempts += u32::from(was_lost);
        result
    }

    async fn once(
        &self,
        target: &Target,
        request: ChatRequest,
        result: &mut ResultLine,
    ) -> Result<ChatCompletion, Error> {
        match self.plan.settings().stream {
            true => self.stream(target, request, result).await,
            false => self.whole(target, request, result).await,
        }
    }

    async fn whole(
        &self,
        target: &Target,
        request: ChatRequest,
        result: &mut ResultLine,
    ) -> Result<ChatCompletion, Error> {
        let answer = target.client().chat_with(request, &self.options).await?;
        let (completion, meta) = answer.into_parts();
        note_meta(&meta, result);
        Ok(completion)
    }

    async fn stream(
        &self,
        target: &Target,
        mut request: ChatRequest,
        result: &mut ResultLine,
    ) -> Result<ChatCompletion, Error> {
        let dialect = target.client().dialect(Some(target.model()));
        // Gemini says it anyway, and knows no such parameter.
        let says_anyway = matches!(dialect, Dialect::VertexGemini2 | Dialect::VertexGemini3);
        if request.stream_options.is_none() && !says_anyway {
            request.stream_options = Json::from(serde_json::json!({"include_usage": true})).parse_as().ok();
        }
        let mut stream = target.client().chat_stream_with(request, &self.options).await?;
        note_meta(stream.meta(), result);
        let mut whole = Accumulator::new();
        let mut is_too_large = None;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            let (says, thinks) = brings(&chunk);
            if says || thinks {
                let now = self.since_began();
                result.first_token_us.get_or_insert(now);
                if says {
                    result.first_text_us.get_or_insert(now);
                    result.last_token_us = Some(now);
                }
            }
            if let Err(error) = whole.push(chunk) {
                is_too_large = Some(error.to_string());
                break;
            }
        }
        if let Some(message) = is_too_large {
            result.error = Some(ErrorLine { kind: "too_large".to_owned(), message });
        }
        Ok(whole.into_completion())
    }

    /// What the judge says of an answer, where there is one.
    async fn judge(&self, prompt: usize, result: &ResultLine) -> Option<ScoreLine> {
        let settings = self.plan.settings();
        let prompt = &self.plan.prompts()[prompt];
        let (judge, target) = settings.judge.as_ref()?;
        let asked = conversation(&prompt.request);
        let answer = said(result);
        let request = judge.request(&asked, &answer, prompt.expected.as_deref());
        let request = match self.plan.request(&request, target) {
            Ok(request) => request,
            Err(error) => {
                return Some(ScoreLine { why: shortened(&error.to_string()), ..ScoreLine::default() });
            }
        };
        Some(match target.client().chat_with(request, &self.options).await {
            Ok(judged) => {
                let mut score = judge.read(Some(&judged.text()));
                let dialect = target.client().dialect(Some(target.model()));
                let tokens = judged.usage.as_ref().and_then(|it| TokensLine::of(it, dialect));
                score.judge_cost = tokens.and_then(|it| target.price()?.cost(&it));
                score
            }
            Err(error) => {
                ScoreLine { why: shortened(&format!("the judge failed: {error}")), ..ScoreLine::default() }
            }
        })
    }
}

/// What an answer says, with its calls, for a judge.
fn said(result: &ResultLine) -> String {
    let mut said = result.content.clone().unwrap_or_default();
    for call in &result.calls {
        if !said.is_empty() {
            said.push('\n');
        }
        said.push_str(&format!("[calls {}({})]", call.name, call.arguments));
    }
    said
}

/// A conversation in one text, for a judge.
fn conversation(request: &ChatRequest) -> String {
    let texts = crate::summary::messages(request, usize::MAX);
    match texts.as_slice() {
        [(role, text)] if role == "user" => text.clone(),
        several => {
            several.iter().map(|(role, text)| format!("{role}: {text}")).collect::<Vec<_>>().join("\n")
        }
    }
}

/// Whether a chunk brings something of the answer itself, and of what the model thought.
fn brings(chunk: &ChatCompletionChunk) -> (bool, bool) {
    let mut brought = (false, false);
    for delta in chunk.choices.iter().filter_map(|it| it.delta.as_ref()) {
        let text = delta.content.get().is_some_and(|it| !it.is_empty());
        let refusal = delta.refusal.get().is_some_and(|it| !it.is_empty());
        let calls = delta.tool_calls.as_ref().is_some_and(|it| !it.is_empty());
        brought.0 |= text || refusal || calls || delta.function_call.is_some() || delta.audio.is_some();
        brought.1 |=
            [&delta.reasoning_content, &delta.reasoning].into_iter().flatten().any(|it| !it.is_empty());
    }
    brought
}

fn note_meta(meta: &Meta, result: &mut ResultLine) {
    result.attempts = meta.attempts();
    result.status = Some(meta.status().as_u16());
    result.request_id = meta.request_id().map(str::to_owned);
    result.changes = meta.report().notes().iter().map(ToString::to_string).collect();
}

/// Takes from an answer what is kept of it.
fn describe(completion: &ChatCompletion, target: &Target, result: &mut ResultLine) {
    result.model.clone_from(&completion.model);
    let choice = completion.choices.first();
    let reason = choice.and_then(|it| it.finish_reason.get());
    result.finish_reason = reason.map(|it| it.as_str().to_owned());
    let message = choice.and_then(|it| it.message.as_ref());
    result.content = message.map(ResponseMessage::text).filter(|it| !it.is_empty());
    result.refusal = message.and_then(|it| it.refusal.get().cloned());
    result.calls = completion
        .tool_calls()
        .iter()
        .map(|call| CallLine {
            name: call.name().to_owned(),
            arguments: call.arguments().to_owned(),
            fault: String::new(),
        })
        .collect();
    result.usage = completion.usage.as_ref().map(Json::from);
    count(target, result);
}

/// Counts the tokens of an answer by what its server says, and what they cost.
pub(crate) fn count(target: &Target, result: &mut ResultLine) {
    let usage = result.usage.as_ref().and_then(|it| it.parse_as::<Usage>().ok());
    let Some(usage) = usage else { return };
    result.tokens = TokensLine::of(&usage, target.client().dialect(Some(target.model())));
    let by_price = || target.price()?.cost(result.tokens.as_ref()?);
    // A server that says what it charges knows best.
    result.cost = usage.cost.filter(|it| it.is_finite() && *it >= 0.0).or_else(by_price);
}

impl Plan {
    /// Checks an answer by what was asked for, and scores it where that needs nobody else.
    pub(crate) fn check(&self, prompt: usize, result: &mut ResultLine) {
        let checks = self.checks(prompt);
        // Who calls a tool has not come to the answer yet.
        if result.content.is_some() || result.calls.is_empty() {
            result.json_fault = checks.json_fault(result.content.as_deref());
        }
        for call in &mut result.calls {
            call.fault = checks.arguments_fault(&call.name, &call.arguments);
        }
        let expected = self.prompts()[prompt].expected.as_deref();
        let scoring = self.settings().scoring.as_ref();
        result.score = scoring.map(|it| it.score(result.content.as_deref(), expected));
    }
}

fn fail(error: &Error, result: &mut ResultLine) {
    result.attempts = error.attempts().max(result.attempts);
    result.status = error.status().map(|it| it.as_u16()).or(result.status);
    result.request_id = error.request_id().map(str::to_owned).or(result.request_id.take());
    let kind = match (error.kind(), error.status().map(|it| it.as_u16())) {
        (ErrorKind::Api, Some(429)) => "rate_limited".to_owned(),
        (ErrorKind::Api, Some(status)) if status >= 400 => format!("http_{status}"),
        (ErrorKind::Api, _) => "failed_midway".to_owned(),
        (ErrorKind::Rejected, _) => "rejected".to_owned(),
        (ErrorKind::Credentials, _) => "credentials".to_owned(),
        (ErrorKind::Configuration, _) => "configuration".to_owned(),
        (ErrorKind::Connection, _) => "connection".to_owned(),
        (ErrorKind::Timeout, _) => "timeout".to_owned(),
        (ErrorKind::Truncated, _) => "truncated".to_owned(),
        (ErrorKind::NoChoices, _) => "no_choices".to_owned(),
        (ErrorKind::Failed, _) => "failed_answer".to_owned(),
        (ErrorKind::Unreadable, _) => "unreadable".to_owned(),
        (ErrorKind::TooLarge, _) => "too_large".to_owned(),
        _ => "other".to_owned(),
    };
    result.error = Some(ErrorLine { kind, message: shortened(&error.to_string()) });
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
