//! `vertex-chat compare`: what it reports is what the emulator's own log says was sent, and when.

#![allow(clippy::unwrap_used, reason = "a test says no more than that it failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use vertex_chat::transport::{Always, Clock, Sleep};
use vertex_chat::{Client, Dialect};
use vertex_chat_compare::{
    Comparison, Figures, Judge, Line, Plan, Prices, Prompt, Report, ResultLine, Settings, Stage, Summary,
    Target,
};
use vertex_chat_emulator::{Emulator, LOCATION, LogEntry, PROJECT, Performance};

const FAST: &str = "google/gemini-2.5-flash-lite";
const EVEN: &str = "google/gemini-2.5-flash";
const SLOW: &str = "google/gemini-2.5-pro";
const PROMPT: &str = "Write a story about a magic backpack.";

/// tokio's clock: it stands still while anything can be done, and then goes to the next wait.
#[derive(Debug)]
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_794_000_000) + self.monotonic()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        let sleep = tokio::time::sleep(duration);
        Box::pin(sleep)
    }
}

/// An emulator and what asks it, on one clock, without a socket.
struct World {
    clock: Arc<dyn Clock>,
    emulator: Emulator,
    client: Client,
}

fn world(models: &[(&str, Performance)]) -> World {
    let clock: Arc<dyn Clock> = Arc::new(PausedClock(tokio::time::Instant::now()));
    let mut builder =
        Emulator::builder(Arc::clone(&clock)).base_url("http://127.0.0.1:1").log_entries(100_000);
    for (model, performance) in models {
        builder = builder.model(*model, *performance);
    }
    let emulator = builder.build();
    let client = Client::builder()
        .project(PROJECT)
        .location(LOCATION)
        .host("http://127.0.0.1:1")
        .credentials_json(emulator.service_account_json("http://127.0.0.1:1").unwrap())
        .connector(Arc::new(Always(Arc::new(emulator.clone()))))
        .clock(Arc::clone(&clock))
        .build()
        .unwrap();
    World { clock, emulator, client }
}

impl World {
    fn target(&self, model: &str) -> Target {
        let price = Prices::bundled().find(model, "aiplatform.googleapis.com", Some(LOCATION));
        Target::new(model, self.client.clone(), model).with_price(price)
    }

    /// Runs it, and gives the results by target, in the order in which requests were begun, and the report.
    async fn run(&self, models: &[&str], settings: Settings) -> (BTreeMap<String, Vec<ResultLine>>, Report) {
        self.client.warm_up().await.unwrap();
        let targets = models.iter().map(|it| self.target(it)).collect();
        let plan = Plan::new(targets, vec![Prompt::text(PROMPT)], settings).unwrap();
        let mut comparison = Comparison::new(plan, Arc::clone(&self.clock));
        let mut results = BTreeMap::<String, Vec<ResultLine>>::new();
        comparison.run(|it, _| results.entry(it.target.clone()).or_default().push(it.clone())).await.unwrap();
        results.values_mut().for_each(|it| it.sort_by_key(|it| (it.begun_us, it.request)));
        (results, comparison.report("test"))
    }

    fn log(&self, model: &str) -> Vec<LogEntry> {
        let mut log = self.emulator.log();
        log.retain(|it| it.model.as_deref() == Some(model));
        log
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

/// The value that this share of all do not exceed, by definition.
fn quantile(mut values: Vec<u64>, share: f64) -> f64 {
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil().max(1.0) as usize;
    values[rank - 1] as f64 / 1e6
}

/// What a log comes to, computed from it alone.
fn check_against_the_log(
    figures: &Figures,
    results: &[ResultLine],
    log: &[LogEntry],
    began: Duration,
    model: &str,
) {
    let micros = |time: Duration| (time - began).as_micros() as u64;
    // Line by line: when it came, what was sent when, how many tokens.
    let told: Vec<_> = {
        let of = |it: &ResultLine| {
            (
                it.begun_us,
                it.status,
                it.error.is_some(),
                it.first_token_us,
                it.last_token_us,
                it.tokens.map(|it| (it.prompt, it.cached, it.completion, it.reasoning)),
                (it.error.is_none()).then_some(it.ended_us),
            )
        };
        let mut told: Vec<_> = results.iter().map(of).collect();
        told.sort_unstable();
        told
    };
    let logged: Vec<_> = {
        let of = |it: &LogEntry| {
            let good = it.status == 200 && !it.cut;
            (
                micros(it.came),
                Some(it.status),
                !good,
                it.first_token.map(micros),
                it.last_token.map(micros),
                it.completion_tokens.filter(|_| good).map(|completion| {
                    (
                        it.prompt_tokens.unwrap(),
                        it.cached_tokens.unwrap_or(0),
                        completion,
                        it.reasoning_tokens.unwrap(),
                    )
                }),
                good.then(|| micros(it.ended.unwrap())),
            )
        };
        let mut logged: Vec<_> = log.iter().map(of).collect();
        logged.sort_unstable();
        logged
    };
    assert_eq!(told, logged, "{model}");

    // And all together.
    let good: Vec<&LogEntry> = log.iter().filter(|it| it.status == 200 && !it.cut).collect();
    let count = |it: usize| it as u64;
    assert_eq!(figures.requests, count(log.len()));
    assert_eq!(figures.ok, count(good.len()));
    assert_eq!(figures.errors, count(log.len() - good.len()));
    assert_eq!(figures.rate_limited, count(log.iter().filter(|it| it.status == 429).count()));
    let total: Vec<u64> = good.iter().map(|it| micros(it.ended.unwrap()) - micros(it.came)).collect();
    let first: Vec<u64> =
        good.iter().filter_map(|it| Some(micros(it.first_token?) - micros(it.came))).collect();
    for (share, of) in [(0.5, 0), (0.9, 1), (0.99, 2)] {
        let get = |spread: &Option<vertex_chat_compare::Spread>| {
            let spread = spread.as_ref().unwrap();
            [spread.p50.value, spread.p90.value, spread.p99.value][of]
        };
        assert_eq!(get(&figures.total), quantile(total.clone(), share), "{model} total {share}");
        assert_eq!(get(&figures.first_token), quantile(first.clone(), share), "{model} first token {share}");
    }
    let price = Prices::bundled().find(model, "aiplatform.googleapis.com", Some(LOCATION)).unwrap();
    let dollars = |it: &&LogEntry| {
        let tokens =
            [it.prompt_tokens, it.completion_tokens, it.reasoning_tokens].map(|it| it.unwrap() as f64);
        (tokens[0] * price.input.unwrap() + (tokens[1] + tokens[2]) * price.output.unwrap()) / 1e6
    };
    let cost: f64 = good.iter().map(dollars).sum();
    assert!((figures.cost.unwrap() - cost).abs() < 1e-12, "{:?} {cost}", figures.cost);
    assert!((figures.cost_per_thousand.unwrap() - cost / good.len() as f64 * 1000.0).abs() < 1e-9);
    let ends = log.iter().filter_map(|it| it.ended).max().unwrap();
    let begins = log.iter().map(|it| it.came).min().unwrap();
    let seconds = (ends - begins).as_micros() as f64 / 1e6;
    assert_eq!(figures.seconds, seconds);
    assert_eq!(figures.answers_per_second, Some(good.len() as f64 / seconds));
}

#[tokio::test(start_paused = true)]
async fn every_number_is_what_the_emulator_says_that_it_sent_and_when() {
    let models = [
        (FAST, Performance::default().first_token(ms(80)).token(ms(2)).fails_every(7)),
        (EVEN, Performance::default().first_token(ms(300)).token(ms(5)).exhausted_every(11).cuts_every(13)),
        (SLOW, Performance::default().first_token(ms(900)).token(ms(11)).at_once(3)),
    ];
    let world = world(&models);
    let settings = settings(|it| {
        it.repeat = 60;
        it.stages = vec![Stage::Closed(5)];
    });
    let began_at = {
        world.client.warm_up().await.unwrap();
        world.clock.monotonic()
    };
    let (results, report) = world.run(&[FAST, EVEN, SLOW], settings).await;
    for (target, (model, _)) in report.targets.iter().zip(models) {
        assert_eq!(target.label, model);
        check_against_the_log(&target.all, &results[model], &world.log(model), began_at, model);
    }
    let errors = |place: usize| report.targets[place].errors.clone();
    assert_eq!(errors(0), [("http_503".to_owned(), 8)]);
    // Of 60 every 11th is refused and every 13th cut.
    assert_eq!(errors(1), [("rate_limited".to_owned(), 5), ("connection".to_owned(), 4)]);
    assert_eq!(errors(2), []);
    // The rate of one answer: 5 ms between two tokens are 200 tokens a second.
    let rate = report.targets[1].all.tokens_per_second.as_ref().unwrap();
    assert_eq!((rate.min, rate.max), (200.0, 200.0));
}

#[tokio::test(start_paused = true)]
async fn a_rate_shows_the_queue_that_one_after_the_other_hides() {
    // One at a time, a tenth of a second each, and twice as many come.
    let performance = Performance::default().first_token(ms(100)).at_once(1);
    let open = world(&[(FAST, performance)]);
    let (_, report) = open
        .run(
            &[FAST],
            settings(|it| {
                it.repeat = 100;
                it.stages = vec![Stage::Open(20.0)];
            }),
        )
        .await;
    let total = report.targets[0].all.total.as_ref().unwrap();
    // The n-th request, from 1, is due after (n - 1)·50 ms and answered after n·100 ms.
    let waits: Vec<u64> = (1..=100u64).map(|n| (n * 100 - (n - 1) * 50) * 1000).collect();
    assert_eq!(total.p50.value, quantile(waits.clone(), 0.5));
    assert_eq!(total.p99.value, quantile(waits, 0.99));

    let closed = world(&[(FAST, performance)]);
    let (_, report) = closed.run(&[FAST], settings(|it| it.repeat = 100)).await;
    let total = report.targets[0].all.total.as_ref().unwrap();
    assert_eq!(
        (total.min, total.max),
        (0.1, 0.1),
        "who waits for an answer before asking again sees no queue"
    );
}

#[tokio::test(start_paused = true)]
async fn throughput_rises_to_what_a_model_can_do_and_who_breaks_is_left_alone() {
    let world = world(&[
        (FAST, Performance::default().first_token(ms(200)).at_once(4)),
        (SLOW, Performance::default().first_token(ms(1000)).at_once(1)),
    ]);
    let settings = settings(|it| {
        it.repeat = 32;
        it.stages = [1, 2, 4, 8].map(Stage::Closed).to_vec();
        it.breaks.p99 = Some(ms(1500));
    });
    let (results, report) = world.run(&[FAST, SLOW], settings).await;
    let rates = |place: usize| -> Vec<f64> {
        report.targets[place].stages.iter().map(|it| it.answers_per_second.unwrap()).collect()
    };
    assert_eq!(rates(0), [5.0, 10.0, 20.0, 20.0]);
    let p50 = |stage: usize| report.targets[0].stages[stage].total.as_ref().unwrap().p50.value;
    assert_eq!([p50(0), p50(2), p50(3)], [0.2, 0.2, 0.4]);
    // With two at once one of them waits: two seconds are too long.
    assert_eq!(rates(1), [1.0, 1.0]);
    assert_eq!(results[SLOW].len(), 64);
    let stopped = report.targets[1].stopped.as_deref().unwrap();
    assert_eq!(stopped, "at 2 at once: the 99th percentile of the total time is 2 s, above 1.5 s");
}

#[tokio::test(start_paused = true)]
async fn who_fails_and_fails_is_asked_no_more() {
    let world = world(&[(FAST, Performance::default().fails_every(1)), (EVEN, Performance::default())]);
    let (results, report) = world.run(&[FAST, EVEN], settings(|it| it.repeat = 100)).await;
    assert_eq!(results[FAST].len(), 20);
    assert_eq!(results[EVEN].len(), 100);
    assert!(report.targets[0].stopped.as_deref().unwrap().contains("20 requests in a row have failed"));
    assert_eq!(report.targets[0].all.cost, None, "nothing is known to have been charged");
    assert_eq!(report.targets[0].all.cost_per_thousand, None);
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_never_overdrawn() {
    let world = world(&[(SLOW, Performance::default())]);
    let unlimited = settings(|it| it.repeat = 1);
    let (_, report) = world.run(&[SLOW], unlimited).await;
    let one = report.targets[0].all.cost.unwrap();
    // Room for ten and a half answers, if they are expected to be as long as they are.
    let tokens = report.targets[0].all.completion_tokens;
    let settings = settings(|it| {
        it.repeat = 1000;
        it.stages = vec![Stage::Closed(8)];
        it.budget = Some(one * 10.5);
        it.expected_tokens = Some(tokens);
    });
    let (results, report) = world.run(&[SLOW], settings).await;
    let spent = report.targets[0].all.cost.unwrap();
    assert!(spent <= one * 10.5 && results[SLOW].len() >= 9, "{spent} {} {}", one, results[SLOW].len());
    assert_eq!(report.runs[0].end.as_deref(), Some("the budget has no room for the next request"));
}

#[tokio::test(start_paused = true)]
async fn a_price_that_is_not_known_keeps_no_budget_and_is_not_zero() {
    let world = world(&[]);
    let target = Target::new("mine", world.client.clone(), EVEN);
    let with_budget = settings(|it| it.budget = Some(1.0));
    let error = Plan::new(vec![target.clone()], vec![Prompt::text(PROMPT)], with_budget).unwrap_err();
    assert!(error.to_string().starts_with("the price of `mine`'s tokens is not known"), "{error}");
    let plan = Plan::new(vec![target], vec![Prompt::text(PROMPT)], Settings::default()).unwrap();
    assert_eq!(plan.estimate()[0].cost, None);
    let mut comparison = Comparison::new(plan, Arc::clone(&world.clock));
    comparison.run(|_, _| {}).await.unwrap();
    let all = comparison.report("test").targets[0].all.clone();
    assert_eq!((all.cost, all.cost_per_thousand, all.without_cost), (None, None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_dropped_is_in_the_report() {
    let world = world(&[]);
    let parameters = r#"{"logit_bias":{"1":1},"temperature":0.5}"#.parse().unwrap();
    let settings = settings(|it| it.parameters = Some(parameters));
    let (results, report) = world.run(&[EVEN], settings).await;
    assert_eq!(report.targets[0].changes.len(), 1);
    assert!(report.targets[0].changes[0].0.contains("logit_bias"), "{:?}", report.targets[0].changes);
    assert_eq!(results[EVEN][0].changes.len(), 1);
    let head = &report.runs[0].head;
    assert_eq!(
        head.settings.parameters.as_ref().unwrap().as_str(),
        r#"{"logit_bias":{"1":1},"temperature":0.5}"#
    );
    assert_eq!(head.targets[0].dialect, Dialect::VertexGemini2.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_slow_judge_slows_nobody_down() {
    let world = world(&[
        (FAST, Performance::default().first_token(ms(100))),
        (SLOW, Performance::default().first_token(ms(2000))),
    ]);
    let judge = Judge::new(None).unwrap();
    let judged = settings(|it| {
        it.repeat = 20;
        it.judge = Some((judge, world.target(SLOW)));
    });
    let (results, report) = world.run(&[FAST], judged).await;
    let all = &report.targets[0].all;
    assert_eq!(all.answers_per_second, Some(10.0));
    assert_eq!((all.scored, results[FAST].len()), (20, 20));
    // What the judge took stands by itself.
    let judged: f64 = results[FAST].iter().map(|it| it.score.as_ref().unwrap().judge_cost.unwrap()).sum();
    assert!((all.judge_cost.unwrap() - judged).abs() < 1e-12 && judged > all.cost.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_for_others_may_come_back() {
    let world = world(&[(SLOW, Performance::default().first_token(ms(100)))]);
    let (_, report) = world.run(&[SLOW], Settings::default()).await;
    let one = report.targets[0].all.cost.unwrap();
    // Expected to cost a hundred times what they do: two fit at once, and yet all of them fit in the end.
    let settings = settings(|it| {
        it.repeat = 50;
        it.stages = vec![Stage::Closed(8)];
        it.expected_tokens = Some(report.targets[0].all.completion_tokens * 100);
        it.budget = Some(one * 250.0);
    });
    let (results, report) = world.run(&[SLOW], settings).await;
    assert_eq!(results[SLOW].len(), 50);
    assert_eq!(report.runs[0].end.as_deref(), Some("complete"));
}

#[tokio::test(start_paused = true)]
async fn numbers_that_no_server_can_mean_do_no_harm() {
    let world = world(&[]);
    let plan =
        || Plan::new(vec![world.target(FAST)], vec![Prompt::text(PROMPT)], Settings::default()).unwrap();
    let mut comparison = Comparison::new(plan(), Arc::clone(&world.clock));
    let mut one = None;
    comparison.run(|it, _| one = Some(it.clone())).await.unwrap();
    let mut summary = Summary::new();
    summary.add(&Line::Run(Box::new(plan().line())));
    let mut result = one.unwrap();
    for _ in 0..3 {
        let huge =
            r#"{"prompt":18446744073709551615,"cached":0,"completion":18446744073709551615,"reasoning":7}"#;
        result.tokens = Some(serde_json::from_str(huge).unwrap());
        result.ended_us = u64::MAX;
        summary.add(&Line::Result(Box::new(result.clone())));
    }
    assert_eq!(summary.figures(FAST).unwrap().prompt_tokens, u64::MAX);
    assert!(!vertex_chat_compare::html(&summary.report("huge", "")).is_empty());
}
