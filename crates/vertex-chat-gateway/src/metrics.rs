//! What is counted, in Prometheus' text format.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use vertex_chat::params::{Report, parameter};

use crate::call::AccessEntry;
use crate::repair::Repair;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    target: Arc<str>,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    target: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    target: Arc<str>,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: &'static str,
}

type Seconds = Family<OfTarget, Histogram, fn() -> Histogram>;

/// The counters.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Seconds,
    first_tokens: Seconds,
    overheads: Histogram,
    tokens: Family<Tokens, Counter>,
    repairs: Family<Named, Counter>,
    rewrites: Family<Named, Counter>,
    dropped: Family<Named, Counter>,
    cool_downs: Family<OfTarget, Counter>,
    pub(crate) in_flight: Gauge<i64, AtomicI64>,
    reloads: Family<Named, Counter>,
    /// For requests that no target has answered.
    nobody: Arc<str>,
}

fn seconds() -> Histogram {
    // 5 ms to some 160 s.
    Histogram::new(exponential_buckets(0.005, 2.0, 16))
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("vertex_chat");
        let requests = Family::<Answered, Counter>::default();
        let durations: Seconds = Family::new_with_constructor(seconds);
        let first_tokens: Seconds = Family::new_with_constructor(seconds);
        let overheads = Histogram::new(exponential_buckets(0.000_01, 2.0, 14));
        let tokens = Family::<Tokens, Counter>::default();
        let [repairs, rewrites, dropped, reloads] = [(); 4].map(|()| Family::<Named, Counter>::default());
        let cool_downs = Family::<OfTarget, Counter>::default();
        let in_flight = Gauge::default();
        registry.register("requests", "Requests, by target and status", requests.clone());
        registry.register_with_unit(
            "request",
            "From the request to the end of its answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register_with_unit(
            "time_to_first_token",
            "From the request to the first event of its stream",
            Unit::Seconds,
            first_tokens.clone(),
        );
        registry.register_with_unit(
            "overhead",
            "What the gateway itself takes, up to the head of the answer",
            Unit::Seconds,
            overheads.clone(),
        );
        registry.register("tokens", "Tokens, by the servers' count", tokens.clone());
        registry.register("repairs", "Answers that needed a repair, by its name", repairs.clone());
        registry.register("rewrites", "Requests that needed a rewrite, by its name", rewrites.clone());
        registry.register("dropped_parameters", "Parameters that were left out", dropped.clone());
        registry.register("cool_downs", "How often a server was left alone for a while", cool_downs.clone());
        registry.register("requests_in_flight", "Requests that run", in_flight.clone());
        registry.register("reloads", "Reloads of the configuration, by how they went", reloads.clone());
        Self {
            registry,
            requests,
            durations,
            first_tokens,
            overheads,
            tokens,
            repairs,
            rewrites,
            dropped,
            cool_downs,
            in_flight,
            reloads,
            nobody: Arc::from("none"),
        }
    }

    /// All of it, as text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(crate) fn ended(&self, entry: &AccessEntry) {
        let target = || Arc::clone(entry.target.as_ref().unwrap_or(&self.nobody));
        self.requests.get_or_create(&Answered { target: target(), status: entry.status }).inc();
        let labels = OfTarget { target: target() };
        self.durations.get_or_create(&labels).observe(entry.duration.as_secs_f64());
        self.overheads.observe(entry.overhead.as_secs_f64());
        if let Some(first) = entry.first_token {
            self.first_tokens.get_or_create(&labels).observe(first.as_secs_f64());
        }
        if let Some((input, output)) = entry.tokens {
            self.tokens.get_or_create(&Tokens { target: target(), kind: "input" }).inc_by(input);
            self.tokens.get_or_create(&Tokens { target: target(), kind: "output" }).inc_by(output);
        }
    }

    pub(crate) fn repaired(&self, repair: Repair) {
        self.repairs.get_or_create(&Named { name: repair.name() }).inc();
    }

    pub(crate) fn prepared(&self, report: &Report) {
        let rules: BTreeSet<&str> =
            report.notes().iter().filter_map(|note| Some(note.rule?.name())).collect();
        for name in rules {
            self.rewrites.get_or_create(&Named { name }).inc();
        }
        for path in report.dropped() {
            // What clients make up is no label.
            let name = parameter(path).map_or("other", |it| it.path);
            self.dropped.get_or_create(&Named { name }).inc();
        }
    }

    pub(crate) fn cool_down(&self, server: &Arc<str>) {
        self.cool_downs.get_or_create(&OfTarget { target: Arc::clone(server) }).inc();
    }

    pub(crate) fn reloaded(&self, how: &'static str) {
        self.reloads.get_or_create(&Named { name: how }).inc();
    }
}
