//! How values spread: quantiles with confidence intervals, and histograms.

use hdrhistogram::Histogram;

use crate::report::{Bin, Quantile, Spread};

/// How many values of one series are kept as they are. Beyond that they are in a histogram, which knows each to one part in
/// a thousand.
pub const EXACT_VALUES_MAX: usize = 4096;
/// The greatest value that a histogram tells from greater ones: an hour, in microseconds.
const VALUE_MAX: u64 = 3_600_000_000;
/// Digits that a histogram keeps.
const DIGITS: u8 = 3;
/// Bars of a distribution.
pub const BINS: usize = 24;
/// How sure the intervals are.
const CONFIDENCE: f64 = 0.95;
/// The quantile of the normal distribution that leaves half of the doubt on its side.
const NORMAL: f64 = 1.959_963_985;
/// Up to how many values the ranks of an interval are computed from the binomial distribution itself.
const BINOMIAL_MAX: u64 = 20_000;

/// A series of whole numbers, such as microseconds, in bounded memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    exact: Vec<u64>,
    many: Option<Histogram<u64>>,
    count: u64,
    sum: f64,
    min: u64,
    max: u64,
}

impl Series {
    pub(crate) fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        #[expect(clippy::cast_precision_loss, reason = "microseconds of an hour are far below 2^53")]
        {
            self.sum += value as f64;
        }
        match &mut self.many {
            Some(many) => many.saturating_record(value),
            None if self.exact.len() < EXACT_VALUES_MAX => self.exact.push(value),
            None => {
                let mut many = Histogram::new_with_bounds(1, VALUE_MAX, DIGITS)
                    .expect("because the bounds are constants that fit each other");
                for value in self.exact.drain(..) {
                    many.saturating_record(value);
                }
                many.saturating_record(value);
                self.exact = Vec::new();
                self.many = Some(many);
            }
        }
    }

    /// How they spread, each value times `unit`; `None` when there is none.
    pub(crate) fn spread(&self, unit: f64) -> Option<Spread> {
        if self.count == 0 {
            return None;
        }
        let mut sorted = self.exact.clone();
        sorted.sort_unstable();
        // The value of a rank, from 1.
        let ranked = |rank: u64| match &self.many {
            None => scaled(sorted[index(rank - 1).min(sorted.len() - 1)], unit),
            Some(many) => scaled(at_rank(many, rank).clamp(self.min, self.max), unit),
        };
        let quantile = |share: f64| {
            let (low, high) = interval(self.count, share);
            Quantile {
                value: ranked(rank(self.count, share)),
                low: low.map(&ranked),
                high: high.map(&ranked),
            }
        };
        Some(Spread {
            count: self.count,
            min: scaled(self.min, unit),
            mean: self.sum / float(self.count) * unit,
            max: scaled(self.max, unit),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
        })
    }

    /// Bars as wide as each other on a logarithmic axis, each value times `unit`.
    pub(crate) fn bins(&self, unit: f64) -> Vec<Bin> {
        if self.count == 0 {
            return Vec::new();
        }
        let values: Vec<(u64, u64)> = match &self.many {
            None => self.exact.iter().map(|it| (*it, 1)).collect(),
            Some(many) => many
                .iter_recorded()
                .map(|it| (it.value_iterated_to().clamp(self.min, self.max), it.count_since_last_iteration()))
                .collect(),
        };
        let edges = edges(self.min, self.max);
        let mut bins: Vec<Bin> = edges
            .windows(2)
            .map(|pair| Bin { from: scaled(pair[0], unit), to: scaled(pair[1], unit), count: 0 })
            .collect();
        for (value, count) in values {
            // The bar whose upper edge is the first that is not below the value.
            let place = edges[1..].partition_point(|edge| *edge < value).min(bins.len() - 1);
            bins[place].count += count;
        }
        bins
    }
}

/// Edges from just below the least value to the greatest, ever greater.
fn edges(min: u64, max: u64) -> Vec<u64> {
    let first = min.saturating_sub(1);
    if max <= min {
        return vec![first, max.max(first + 1)];
    }
    let (low, high) = (float(min.max(1)).ln(), float(max).ln());
    let mut edges = vec![first];
    for step in 1..BINS {
        let share = float(step as u64) / float(BINS as u64);
        let edge = whole((low + (high - low) * share).exp());
        if edges.last().is_some_and(|last| edge > *last) && edge < max {
            edges.push(edge);
        }
    }
    edges.push(max);
    edges
}

/// The rank, from 1, of the least value that this share of all values does not exceed.
fn rank(count: u64, share: f64) -> u64 {
    whole((float(count) * share - 1e-9).ceil()).clamp(1, count)
}

fn at_rank(many: &Histogram<u64>, rank: u64) -> u64 {
    // In the middle of a rank's share, so that rounding cannot reach its neighbour.
    many.value_at_quantile((float(rank) - 0.5) / float(many.len()))
}

/// The ranks, from 1, between which the true quantile is with the confidence that is promised, whatever the distribution:
/// how many of `count` values are below it is a binomial number. `None` where there are too few values.
fn interval(count: u64, share: f64) -> (Option<u64>, Option<u64>) {
    let doubt = (1.0 - CONFIDENCE) / 2.0;
    let (low, high) = if count <= BINOMIAL_MAX {
        binomial_ranks(count, share, doubt)
    } else {
        let (middle, wide) = (float(count) * share, (float(count) * share * (1.0 - share)).sqrt() * NORMAL);
        (whole((middle - wide).floor()), whole((middle + wide).ceil()) + 1)
    };
    ((low >= 1).then_some(low), (high <= count).then_some(high))
}

/// The greatest rank with less than the doubt below it, 0 for none, and the least with less than the doubt above it, more
/// than the count for none.
fn binomial_ranks(count: u64, share: f64, doubt: f64) -> (u64, u64) {
    let n = float(count);
    // Logarithms: the chance that no value at all is below the quantile is too small for a number when there are many.
    let mut log_chance = n * (1.0 - share).ln();
    let mut sum = 0.0;
    let (mut low, mut high) = (0, count + 1);
    for below in 0..=count {
        sum += log_chance.exp();
        if sum <= doubt {
            low = below + 1;
        }
        if sum >= 1.0 - doubt {
            high = below + 1;
            break;
        }
        let k = float(below);
        log_chance += ((n - k) / (k + 1.0)).ln() + (share / (1.0 - share)).ln();
    }
    (low, high)
}

/// Times a unit that is a power of ten below one: dividing by its inverse rounds once, so that 130,000 µs are 0.13 s.
fn scaled(value: u64, unit: f64) -> f64 {
    float(value) / (1.0 / unit).round()
}

#[expect(clippy::cast_precision_loss, reason = "counts and microseconds are far below 2^53")]
pub(crate) fn float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and ranks and edges are not negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: impl IntoIterator<Item = u64>) -> Series {
        let mut series = Series::default();
        values.into_iter().for_each(|it| series.add(it));
        series
    }

    #[test]
    fn quantiles_of_few_values_are_values() {
        let spread = series((1..=100).rev()).spread(1.0).unwrap();
        assert_eq!((spread.min, spread.mean, spread.max), (1.0, 50.5, 100.0));
        assert_eq!((spread.p50.value, spread.p90.value, spread.p99.value), (50.0, 90.0, 99.0));
        // Tables of distribution-free intervals have 40 and 61 for the median of 100.
        assert_eq!((spread.p50.low, spread.p50.high), (Some(40.0), Some(61.0)));
        // Nobody knows an upper bound of the 99th percentile of 100 values.
        assert_eq!(spread.p99.high, None);
        let one = series([7]).spread(1.0).unwrap();
        assert_eq!((one.p50.value, one.p50.low, one.p50.high), (7.0, None, None));
        assert!(series([]).spread(1.0).is_none());
    }

    #[test]
    fn microseconds_become_the_seconds_that_they_are() {
        assert_eq!(series([130_000]).spread(1e-6).unwrap().p50.value, 0.13);
    }

    #[test]
    fn the_interval_of_many_is_the_one_of_a_few_more() {
        let near = |share: f64| {
            let (a, b) = binomial_ranks(20_000, share, 0.025);
            let (c, d) = interval(20_001, share);
            assert!(
                a.abs_diff(c.unwrap()) <= 2 && b.abs_diff(d.unwrap()) <= 2,
                "{share}: {a} {b} {c:?} {d:?}"
            );
        };
        near(0.5);
        near(0.9);
        near(0.99);
    }

    #[test]
    fn intervals_hold_what_they_promise() {
        // 400 samples of 60 values between 0 and 1: the true median is one half.
        let mut random = fastrand::Rng::with_seed(1);
        let missed = (0..400)
            .filter(|_| {
                let sample = series((0..60).map(|_| random.u64(..1_000_000)));
                let median = sample.spread(1e-6).unwrap().p50;
                median.low.unwrap() > 0.5 || median.high.unwrap() < 0.5
            })
            .count();
        assert!(missed <= 30, "{missed} of 400 intervals miss the median; 5 % are 20");
    }

    proptest! {
        #[test]
        fn many_values_are_known_to_a_thousandth(seed: u64) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut values: Vec<u64> = (0..EXACT_VALUES_MAX as u64 + 500).map(|_| random.u64(1..5_000_000)).collect();
            let spread = series(values.iter().copied()).spread(1.0).unwrap();
            values.sort_unstable();
            for (share, quantile) in [(0.5, spread.p50), (0.9, spread.p90), (0.99, spread.p99)] {
                let exact = float(values[index(rank(values.len() as u64, share)) - 1]);
                prop_assert!((quantile.value - exact).abs() <= exact / 1000.0 + 1.0, "{} {}", quantile.value, exact);
            }
            prop_assert_eq!(spread.max, float(*values.last().unwrap()));
        }

        #[test]
        fn bars_hold_every_value_once(values in prop::collection::vec(0u64..10_000_000, 1..200)) {
            let bins = series(values.iter().copied()).bins(1.0);
            prop_assert_eq!(bins.iter().map(|it| it.count).sum::<u64>(), values.len() as u64);
            for pair in bins.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
            }
            for (place, bin) in bins.iter().enumerate() {
                prop_assert!(bin.from < bin.to);
                let within = |it: &&u64| (float(**it) > bin.from || (place == 0 && **it == 0)) && float(**it) <= bin.to;
                prop_assert_eq!(values.iter().filter(within).count() as u64, bin.count);
            }
        }
    }
}
