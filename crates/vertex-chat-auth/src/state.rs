//! What a token cache knows, and what follows from it: fresh, stale, dead. No clock, no wait and no request is in here, only
//! decisions, so that every order of events can be tried (`tests/loom`).

use std::time::{Duration, SystemTime};

/// The longest wait after failures. It begins with one second and doubles.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// How often a token may be invalidated. A service that refuses every token would else be sent a request for each.
pub const FORCED_REFRESH_GAP: Duration = Duration::from_secs(30);
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// A moment by both clocks, the monotonic first.
pub(crate) type Moment = (Duration, SystemTime);

/// A request under way, as whoever waits for it sees it.
pub(crate) trait Flight: Clone {
    /// Whether it has ended, however.
    fn is_over(&self) -> bool;
    /// Whether it is the same request.
    fn is(&self, other: &Self) -> bool;
}

/// A token, and until when by both clocks: the earlier counts.
#[derive(Debug)]
pub(crate) struct Held<T> {
    pub(crate) token: T,
    pub(crate) stale_at: Moment,
    pub(crate) dead_at: Moment,
    pub(crate) invalid: bool,
    /// It had no life left when it came: better than nothing, and the service will judge.
    pub(crate) came_dead: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Age {
    Fresh,
    Stale,
    Dead,
}

impl<T> Held<T> {
    fn age(&self, now: Moment) -> Age {
        let past = |at: Moment| now.0 >= at.0 || now.1 >= at.1;
        if self.invalid || past(self.dead_at) {
            Age::Dead
        } else if past(self.stale_at) {
            Age::Stale
        } else {
            Age::Fresh
        }
    }
}

/// What the cache knows. `T` is a token, `E` an error, `F` a request under way.
#[derive(Debug)]
pub(crate) struct State<T, E, F> {
    held: Option<Held<T>>,
    flight: Option<F>,
    failures: u32,
    last_error: Option<E>,
    /// No request before this time, by the monotonic clock.
    next_try: Duration,
    forced_at: Option<Duration>,
}

impl<T, E, F> Default for State<T, E, F> {
    fn default() -> Self {
        Self {
            held: None,
            flight: None,
            failures: 0,
            last_error: None,
            next_try: Duration::ZERO,
            forced_at: None,
        }
    }
}

/// What somebody who waits has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiter {
    /// Has waited for a request.
    pub(crate) tried: bool,
    /// Has started one.
    pub(crate) took_off: bool,
}

/// What somebody who waits does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<T, E, F> {
    Take(T),
    /// There is nothing to be had now: the last error, if there is one.
    Fail(Option<E>),
    /// Wait for this request, and look again.
    Wait(F),
    /// Start a request, and wait for it.
    TakeOff,
}

impl<T: Clone + PartialEq, E: Clone, F: Flight> State<T, E, F> {
    /// The token at hand, and whether a request should be started for the next.
    pub(crate) fn cached(&self, now: Moment) -> Option<(&T, bool)> {
        let held = self.held.as_ref()?;
        match held.age(now) {
            Age::Fresh => Some((&held.token, false)),
            Age::Stale => Some((&held.token, !self.is_flying() && now.0 >= self.next_try)),
            Age::Dead => None,
        }
    }

    /// What somebody does who needs a token.
    pub(crate) fn next(&self, now: Moment, waiter: Waiter) -> Step<T, E, F> {
        match &self.held {
            Some(held) if held.age(now) != Age::Dead => return Step::Take(held.token.clone()),
            Some(held)
                if (waiter.tried || now.0 < self.next_try)
                    && held.came_dead
                    && !held.invalid
                    && self.last_error.is_none() =>
            {
                return Step::Take(held.token.clone());
            }
            _ => {}
        }
        match &self.flight {
            Some(flight) if !flight.is_over() => Step::Wait(flight.clone()),
            _ if waiter.took_off => Step::Fail(self.last_error.clone()),
            _ if now.0 < self.next_try && (waiter.tried || self.last_error.is_some()) => {
                Step::Fail(self.last_error.clone())
            }
            _ => Step::TakeOff,
        }
    }

    /// A request has been started.
    pub(crate) fn take_off(&mut self, flight: F) {
        self.flight = Some(flight);
    }

    /// A request has brought a token. One that was given up before may bring one too; another may be under way by then.
    pub(crate) fn land(&mut self, now: Moment, mut held: Held<T>, is_own: impl Fn(&F) -> bool) {
        held.came_dead = held.age(now) == Age::Dead;
        self.flight.take_if(|flight| is_own(flight));
        // Even one that is as good as dead, such as the metadata server's last: not asked for again at once.
        self.next_try = now.0 + BACKOFF_FIRST;
        self.failures = 0;
        self.last_error = None;
        self.held = Some(held);
    }

    /// A request has failed. `asked` is how long the server wants to be left alone, `jitter` is from 0 to 1.
    pub(crate) fn fail(
        &mut self,
        now: Moment,
        error: E,
        asked: Option<Duration>,
        jitter: f64,
        is_own: impl Fn(&F) -> bool,
    ) {
        // What became of a request that was given up is nobody's concern any more.
        if self.flight.take_if(|flight| is_own(flight)).is_none() {
            return;
        }
        let backoff = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(6)).min(BACKOFF_MAX);
        let backoff = backoff.mul_f64(0.9 + 0.2 * jitter);
        self.next_try = now.0 + asked.unwrap_or_default().max(backoff).min(BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error);
    }

    /// Gives up a request that nobody drives, if it is still this one.
    pub(crate) fn abandon(&mut self, flight: &F) -> Option<F> {
        self.flight.take_if(|it| it.is(flight))
    }

    /// Takes the request that is under way, to end it.
    pub(crate) fn stop(&mut self) -> Option<F> {
        self.flight.take()
    }

    /// The service refused this token.
    pub(crate) fn invalidate(&mut self, now: Moment, token: &T) {
        let too_soon = self.forced_at.is_some_and(|at| now.0 < at + FORCED_REFRESH_GAP);
        match &mut self.held {
            Some(held) if held.token == *token && !held.invalid && !too_soon => held.invalid = true,
            _ => return,
        }
        self.forced_at = Some(now.0);
        self.next_try = now.0;
        self.last_error = None;
    }

    fn is_flying(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| !flight.is_over())
    }
}
