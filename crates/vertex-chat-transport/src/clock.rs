//! What time it is, and waiting: the world's clock, and one for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

/// A wait; done when its time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// What time it is, twice, and waiting.
///
/// Two times because each is wrong in its own way: the wall clock can be set back, and the monotonic one stands still
/// while a laptop sleeps.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day.
    fn wall(&self) -> SystemTime;
    /// Time passed since a moment that stays the same for this clock.
    fn monotonic(&self) -> Duration;
    /// Waits, by the monotonic clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The world's clock. Waiting needs a tokio runtime with its timer on.
#[cfg(any(feature = "client", feature = "serve"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(any(feature = "client", feature = "serve"))]
impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
    fn monotonic(&self) -> Duration {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that a test moves.
///
/// ```
/// use std::time::Duration;
/// use vertex_chat_transport::{Clock, SimulatedClock};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let clock = SimulatedClock::new();
/// let hour = clock.sleep(Duration::from_secs(3600));
/// clock.advance(Duration::from_secs(3600));
/// hour.await;
/// assert_eq!(clock.monotonic(), Duration::from_secs(3600));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct SimulatedClock(Arc<Mutex<Times>>);

struct Times {
    wall: SystemTime,
    monotonic: Duration,
    instant_up_to: Duration,
    next_id: u64,
    sleepers: BTreeMap<(Duration, u64), Option<Waker>>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            // 2026-01-01T00:00:00Z; any day would do.
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            monotonic: Duration::ZERO,
            instant_up_to: Duration::ZERO,
            next_id: 0,
            sleepers: BTreeMap::new(),
        }
    }
}

impl SimulatedClock {
    /// A clock that stands at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock that stands at this time of day.
    #[must_use]
    pub fn at(wall: SystemTime) -> Self {
        let clock = Self::new();
        clock.times().wall = wall;
        clock
    }

    /// A clock on which every wait of up to `limit` is over at once, by moving the clock. For tests that wait on real
    /// sockets: back-off passes in no time, and timeouts do not run out.
    #[must_use]
    pub fn with_instant_sleeps(self, limit: Duration) -> Self {
        self.times().instant_up_to = limit;
        self
    }

    /// Moves both times on, and ends the waits that are due.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times();
        times.wall += by;
        times.monotonic += by;
        let now = times.monotonic;
        let later = times.sleepers.split_off(&(now + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut times.sleepers, later);
        drop(times);
        for waker in due.into_values().flatten() {
            waker.wake();
        }
    }

    /// Moves the time of day alone, as sleep, daylight or a person does.
    pub fn set_wall(&self, wall: SystemTime) {
        self.times().wall = wall;
    }

    /// How many waits have not ended.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.times().sleepers.len()
    }

    /// How long until the first wait ends.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let times = self.times();
        times.sleepers.keys().next().map(|(at, _)| at.saturating_sub(times.monotonic))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimulatedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedClock").field("monotonic", &self.times().monotonic).finish_non_exhaustive()
    }
}

impl Clock for SimulatedClock {
    fn wall(&self) -> SystemTime {
        self.times().wall
    }
    fn monotonic(&self) -> Duration {
        self.times().monotonic
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        let mut times = self.times();
        if duration <= times.instant_up_to {
            drop(times);
            self.advance(duration);
            return Box::pin(std::future::ready(()));
        }
        let key = (times.monotonic.saturating_add(duration), times.next_id);
        times.next_id += 1;
        if !duration.is_zero() {
            times.sleepers.insert(key, None);
        }
        drop(times);
        Box::pin(SimulatedSleep { clock: self.clone(), key })
    }
}

struct SimulatedSleep {
    clock: SimulatedClock,
    key: (Duration, u64),
}

impl Future for SimulatedSleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.clock.times().sleepers.get_mut(&self.key) {
            Some(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for SimulatedSleep {
    fn drop(&mut self) {
        self.clock.times().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_order_and_dropped_ones_are_forgotten() {
        let clock = SimulatedClock::new();
        let (first, second) = (clock.sleep(Duration::from_secs(1)), clock.sleep(Duration::from_secs(2)));
        drop(clock.sleep(Duration::from_secs(3)));
        assert_eq!((clock.sleepers(), clock.next_wake()), (2, Some(Duration::from_secs(1))));
        clock.advance(Duration::from_secs(1));
        first.await;
        assert_eq!((clock.sleepers(), clock.next_wake()), (1, Some(Duration::from_secs(1))));
        clock.advance(Duration::from_secs(1));
        second.await;
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn short_sleeps_move_an_instant_clock() {
        let clock = SimulatedClock::new().with_instant_sleeps(Duration::from_secs(10));
        clock.sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
        let _long = clock.sleep(Duration::from_secs(11));
        assert_eq!(clock.sleepers(), 1);
    }
}
