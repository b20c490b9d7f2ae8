//! The places for connections: so many there are, and a connection that does nothing gives its own up for another.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

/// How often a server whose places are taken looks for idle connections.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Of how many connections one is closed at a look: more than one, so that the looking costs little when many come.
const CLOSED_SHARE: usize = 64;
/// How long an unknown client may leave the rest of an answer lying, while other connections wait for a place.
const STALLED_PATIENCE: Duration = Duration::from_secs(5);

/// A connection, as far as others have to know it.
pub(crate) struct Place {
    start: Instant,
    /// Whether a request is being read behind its head, or answered.
    is_busy: AtomicBool,
    /// Whether something that was written waits for the client.
    is_stalled: AtomicBool,
    is_known: AtomicBool,
    /// When something last happened, in milliseconds from the start.
    last: AtomicU64,
    wanted: Notify,
}

/// While there is one, the connection is busy. In the body of an answer, which is dropped when it has been handed over.
pub(crate) struct BodyGuard(Arc<Place>);

impl Drop for BodyGuard {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Relaxed);
    }
}

impl Place {
    fn new(start: Instant) -> Self {
        let place = Self {
            start,
            is_busy: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            last: AtomicU64::new(0),
            wanted: Notify::new(),
        };
        place.has_acted(Instant::now());
        place
    }

    pub(super) fn busy(self: &Arc<Self>) -> BodyGuard {
        self.is_busy.store(true, Ordering::Relaxed);
        BodyGuard(Arc::clone(self))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Whether it may be closed for another: nothing runs on it, and nothing is lost; or an unknown client does not take
    /// the rest of an answer.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_busy() && (!self.is_stalled.load(Ordering::Relaxed) || self.is_given_up())
    }

    fn is_given_up(&self) -> bool {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        !self.is_known.load(Ordering::Relaxed) && self.start.elapsed().saturating_sub(last) > STALLED_PATIENCE
    }

    pub(super) fn is_of_known_client(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    pub(super) fn has_acted(&self, now: Instant) {
        let time = now.saturating_duration_since(self.start);
        self.last.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Waits until another connection wants the place.
    pub(super) async fn is_wanted(&self) {
        self.wanted.notified().await;
    }
}

/// The places of a server, and the tasks of the connections that have them.
pub(super) struct Places {
    most: usize,
    start: Instant,
    tasks: JoinSet<()>,
    /// By task; with whether the connection was asked to end.
    taken: HashMap<Id, (Arc<Place>, bool)>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, start: Instant::now(), tasks: JoinSet::new(), taken: HashMap::new() }
    }

    pub(super) fn are_taken(&self) -> bool {
        self.taken.len() >= self.most
    }

    /// Runs a connection.
    pub(super) fn take<F>(&mut self, connection: impl FnOnce(Arc<Place>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let place = Arc::new(Place::new(self.start));
        let task = self.tasks.spawn(connection(Arc::clone(&place)));
        self.taken.insert(task.id(), (place, false));
    }

    /// Waits until a connection has ended. When there is no connection, the wait has no end.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.taken.remove(&id)),
            Some(Err(error)) => drop(self.taken.remove(&error.id())),
            None => std::future::pending().await,
        }
    }

    /// Waits until a connection has ended, or it is time to look for idle ones again.
    pub(super) async fn ended_or_idle(&mut self) {
        let _ = tokio::time::timeout(LOOK_INTERVAL, self.ended()).await;
    }

    /// Waits until all connections have ended.
    pub(super) async fn all_ended(&mut self) {
        while !self.taken.is_empty() {
            self.ended().await;
        }
    }

    /// Asks the connections to end that have been idle for the longest time, those of unknown clients first.
    pub(super) fn close_idle(&mut self) {
        // Those that were asked will leave as many places.
        let leaving = self.taken.values().filter(|(place, asked)| *asked && place.is_idle()).count();
        let wanted = self.most.div_ceil(CLOSED_SHARE).saturating_sub(leaving);
        let mut idle: Vec<_> = self
            .taken
            .values_mut()
            .filter(|(place, asked)| !asked && place.is_idle())
            .map(|(place, asked)| {
                let is_known = place.is_known.load(Ordering::Relaxed);
                (is_known, place.last.load(Ordering::Relaxed), place, asked)
            })
            .collect();
        if wanted == 0 || idle.is_empty() {
            return;
        }
        let last = wanted.min(idle.len()) - 1;
        idle.select_nth_unstable_by_key(last, |(is_known, last, ..)| (*is_known, *last));
        for (_, _, place, asked) in idle.into_iter().take(last + 1) {
            place.wanted.notify_one();
            *asked = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(places: &mut Places) -> Arc<Place> {
        let mut own = None;
        places.take(|place| {
            own = Some(Arc::clone(&place));
            async move { place.is_wanted().await }
        });
        own.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_of_unknown_clients_give_their_places_up() {
        let mut places = Places::new(4);
        let all: Vec<_> = (0..4).map(|_| connect(&mut places)).collect();
        for (place, last) in all.iter().zip([1, 2, 9, 4]) {
            place.last.store(last, Ordering::Relaxed);
        }
        assert!(places.are_taken());
        all[0].is_of_known_client();
        let mut busy = vec![all[1].busy()];
        let mut remaining = Vec::new();
        for _ in 0..3 {
            places.close_idle();
            places.ended().await;
            let has = |place: &Arc<Place>| places.taken.values().any(|(it, _)| Arc::ptr_eq(it, place));
            remaining.push(all.iter().map(has).collect::<Vec<_>>());
            busy.push(connect(&mut places).busy());
        }
        let expected = [[true, true, true, false], [true, true, false, false], [false, true, false, false]];
        assert_eq!(remaining, expected, "first the longest idle, last the known client, never the busy");
        places.close_idle();
        assert!(places.taken.values().all(|(_, asked)| !asked), "the busy keep their places");
        busy.truncate(1);
        all[1].set_stalled(true);
        places.close_idle();
        places.ended().await;
        assert!(!places.are_taken());
        assert!(places.taken.values().any(|(it, _)| Arc::ptr_eq(it, &all[1])), "it has not sent all yet");
        busy.clear();
        tokio::time::advance(STALLED_PATIENCE * 2).await;
        while places.taken.len() > 1 {
            places.close_idle();
            places.ended().await;
        }
        places.close_idle();
        places.ended().await;
        assert!(
            !places.taken.values().any(|(it, _)| Arc::ptr_eq(it, &all[1])),
            "and the client does not take it"
        );
    }
}
