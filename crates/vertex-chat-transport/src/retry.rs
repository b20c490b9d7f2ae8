//! When to try again, after how long, and when to stop.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};

/// The longest wait that a server may ask for. Beyond it the error goes to the caller, who has the number.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(120);

/// Whether an answer of this status is worth another attempt: 408, 429, 500, 502, 503, 504.
#[must_use]
pub fn is_retryable_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How often and how patiently to try again.
///
/// The wait before attempt *n* + 1 is `backoff_first` · 2ⁿ⁻¹, at most `backoff_max`, of which a random half to whole is
/// waited, so that clients which failed together do not come back together. A server's own word (`Retry-After`) counts
/// instead, exactly.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 1 for none but the first. 3.
    pub attempts_max: u32,
    /// The wait after the first failure. 1 s, the least that Google asks for.
    pub backoff_first: Duration,
    /// The longest wait that doubling leads to. 30 s.
    pub backoff_max: Duration,
    /// The longest wait that a server's word leads to. [`RETRY_AFTER_MAX`].
    pub retry_after_max: Duration,
    /// Whether waits are random. True.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            backoff_first: Duration::from_secs(1),
            backoff_max: Duration::from_secs(30),
            retry_after_max: RETRY_AFTER_MAX,
            jitter: true,
        }
    }
}

impl RetryPolicy {
    /// One attempt and no more.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts_max: 1, ..Self::default() }
    }

    /// Sets the attempts in all.
    #[must_use]
    pub fn with_attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = attempts;
        self
    }

    /// Sets the wait after the first failure, and the longest.
    #[must_use]
    pub fn with_backoff(mut self, first: Duration, max: Duration) -> Self {
        self.backoff_first = first;
        self.backoff_max = max;
        self
    }

    /// Sets whether waits are random.
    #[must_use]
    pub fn with_jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// The wait after this many attempts have failed, or `None` when it is enough: because of the attempts, or because
    /// the server asks for more than `retry_after_max`.
    #[must_use]
    pub fn wait(&self, attempts: u32, server_says: Option<Duration>) -> Option<Duration> {
        if attempts >= self.attempts_max {
            return None;
        }
        // "At once" is what a clock that is behind makes of a date; the usual wait is safer.
        if let Some(wait) = server_says.filter(|wait| !wait.is_zero()) {
            return (wait <= self.retry_after_max).then_some(wait);
        }
        let doublings = attempts.saturating_sub(1).min(16);
        let wait = self.backoff_first.saturating_mul(1 << doublings).min(self.backoff_max);
        Some(if self.jitter { wait.mul_f64(0.5 + 0.5 * fastrand::f64()) } else { wait })
    }
}

/// Keeps retries a small part of all requests, so that a service in trouble is not given more of it.
///
/// A pot of [`POT`](Self::POT) that a retry takes [`RETRY_COST`](Self::RETRY_COST) from and a success puts
/// [`SUCCESS_GAIN`](Self::SUCCESS_GAIN) back into: 20 retries in a row, then one for every five successes.
#[derive(Debug)]
pub struct RetryBudget(AtomicU32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(Self::POT))
    }
}

impl RetryBudget {
    /// What a full pot holds.
    pub const POT: u32 = 100;
    /// What a retry takes.
    pub const RETRY_COST: u32 = 5;
    /// What a success puts back.
    pub const SUCCESS_GAIN: u32 = 1;

    /// A full pot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the cost of a retry; `false` when there is not enough left.
    pub fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pot| pot.checked_sub(Self::RETRY_COST))
            .is_ok()
    }

    /// Whether nothing has been taken that was not put back.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::POT
    }

    /// Notes a success.
    pub fn give(&self) {
        // A full pot is the normal case, and then no write is needed.
        if self.0.load(Ordering::Relaxed) < Self::POT {
            let gain = |pot: u32| Some((pot + Self::SUCCESS_GAIN).min(Self::POT));
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, gain);
        }
    }
}

/// How long a server asks to wait, by its headers: `retry-after-ms`, or `Retry-After` in seconds or as a date.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|it| *it >= 0.0);
    let seconds = |number: f64| Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX);
    if let Some(milliseconds) = text("retry-after-ms").and_then(number) {
        return Some(seconds(milliseconds / 1000.0));
    }
    let value = text("retry-after")?;
    if let Some(number) = number(value) {
        return Some(seconds(number));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    // By the server's own clock where it shows it: ours may be wrong.
    let now = text("date").and_then(date).unwrap_or(now);
    Some(date(value)?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let policy = RetryPolicy::default().with_attempts_max(9).with_jitter(false);
        let waits: Vec<_> =
            (1..=9).map(|attempts| policy.wait(attempts, None).map(|it| it.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(8), Some(16), Some(30), Some(30), Some(30), None]);
    }

    #[test]
    fn jitter_takes_no_more_than_half() {
        let policy = RetryPolicy::default();
        for _ in 0..1000 {
            let wait = policy.wait(1, None).unwrap();
            assert!(wait >= Duration::from_millis(500) && wait <= Duration::from_secs(1), "{wait:?}");
        }
    }

    #[test]
    fn what_a_server_asks_is_read_in_every_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            retry_after(&pairs.collect(), now)
        };
        let seconds = |number| Some(Duration::from_secs(number));
        assert_eq!(read(&[("retry-after", "30")]), seconds(30));
        assert_eq!(read(&[("retry-after-ms", "1500")]), Some(Duration::from_millis(1500)));
        assert_eq!(read(&[("retry-after-ms", "-1"), ("retry-after", "30")]), seconds(30));
        assert_eq!(read(&[("retry-after-ms", "NaN"), ("retry-after", "30")]), seconds(30));
        assert_eq!(read(&[("retry-after", "1e30")]), Some(Duration::MAX));
        assert_eq!(read(&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT")]), seconds(10));
        // The server's clock is an hour behind ours, and the wait is by its own.
        let dates =
            [("retry-after", "Sun, 06 Nov 1994 07:49:47 GMT"), ("date", "Sun, 06 Nov 1994 07:49:37 GMT")];
        assert_eq!(read(&dates), seconds(10));
        assert_eq!(read(&[("retry-after", "soon")]), None);
    }

    #[test]
    fn at_once_means_the_usual_wait() {
        let policy = RetryPolicy::default().with_jitter(false);
        assert_eq!(policy.wait(1, Some(Duration::ZERO)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_server_may_ask_for_the_limit_and_not_for_more() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait(1, Some(RETRY_AFTER_MAX)), Some(RETRY_AFTER_MAX));
        assert_eq!(policy.wait(1, Some(RETRY_AFTER_MAX + Duration::from_millis(1))), None);
        assert_eq!(RetryPolicy::never().wait(1, Some(Duration::ZERO)), None);
    }

    #[test]
    fn the_budget_allows_twenty_retries_in_a_row_then_one_for_five_successes() {
        let budget = RetryBudget::new();
        let taken = (0..100).take_while(|_| budget.take()).count();
        assert_eq!(taken, 20);
        for _ in 0..4 {
            budget.give();
        }
        assert!(!budget.take());
        budget.give();
        assert!(budget.take());
        for _ in 0..1000 {
            budget.give();
        }
        assert_eq!((0..100).take_while(|_| budget.take()).count(), 20, "the pot does not overflow");
    }

    #[test]
    fn retry_after_comes_in_three_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let check = |name: &'static str, value: &str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let milliseconds = retry_after(&headers, now).map(|it| u64::try_from(it.as_millis()).unwrap());
            assert_eq!(milliseconds, expected, "{name}: {value}");
        };
        check("retry-after", "7", Some(7000));
        check("retry-after", "1.5", Some(1500));
        check("retry-after", "Thu, 01 Jan 2026 00:00:09 GMT", Some(9000));
        check("retry-after", "Wed, 31 Dec 2025 23:59:59 GMT", Some(0));
        check("retry-after", "soon", None);
        check("retry-after", "-1", None);
        check("retry-after", "NaN", None);
        check("retry-after-ms", "250", Some(250));
        check("retry-after", "86400", Some(86_400_000));
    }
}
