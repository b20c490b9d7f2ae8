//! Who may run how much at once: all clients together, and each key its share, so that no key can keep the others out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vertex_chat_transport::BodyLimit;

use crate::config::Limits;

/// The share of a key where there are several, of requests and of bytes of bodies: so many parts of so many.
const SHARE: (usize, usize) = (3, 4);

/// A share of a number where there are several keys, and at least one.
pub(crate) fn share_of(whole: usize, keys: usize) -> usize {
    let (parts, of) = SHARE;
    // In this order, because the whole may be as large as a number can be.
    if keys > 1 { (whole / of * parts + whole % of * parts / of).max(1) } else { whole }
}

/// What runs, and for which key.
pub(crate) struct Admissions {
    running: Arc<AtomicUsize>,
    bodies: BodyLimit,
    bodies_bytes_max: usize,
    /// By the names of keys. Names come from the configuration.
    shares: Mutex<HashMap<String, Arc<Share>>>,
}

/// What runs for one key.
struct Share {
    running: Arc<AtomicUsize>,
    bodies: BodyLimit,
    bodies_bytes_max: usize,
}

/// Why a request may not run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many requests run as may.
    All(usize),
    /// As many requests of this key run as may.
    Key(usize),
}

/// A request that counts as running until this is dropped.
pub(crate) struct Running {
    counters: [Option<Arc<AtomicUsize>>; 2],
    bodies: BodyLimit,
}

impl Running {
    /// What bounds the bytes of its bodies.
    pub(crate) fn bodies(&self) -> &BodyLimit {
        &self.bodies
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for counter in self.counters.iter().flatten() {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Admissions {
    pub(crate) fn new(bodies_bytes_max: usize) -> Self {
        Self {
            running: Arc::default(),
            bodies: BodyLimit::new(bodies_bytes_max),
            bodies_bytes_max,
            shares: Mutex::default(),
        }
    }

    /// The limit on bodies of requests that no key is known of.
    pub(crate) fn bodies(&self) -> &BodyLimit {
        &self.bodies
    }

    /// Counts a request as running, if it may.
    pub(crate) fn enter(&self, client: Option<&str>, limits: &Limits, keys: usize) -> Result<Running, Full> {
        let mut running = Running { counters: [None, None], bodies: self.bodies.clone() };
        let max = limits.requests_max;
        running.counters[0] = Some(enter(Arc::clone(&self.running), max).ok_or(Full::All(max))?);
        if let Some(client) = client {
            let share = self.share(client, keys);
            let max = limits.requests_max_per_key(keys);
            running.counters[1] = Some(enter(Arc::clone(&share.running), max).ok_or(Full::Key(max))?);
            running.bodies = share.bodies.clone();
        }
        Ok(running)
    }

    /// Forgets keys that are none any more. What runs for them keeps what it has.
    pub(crate) fn keep<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<&str> = names.collect();
        shares.retain(|name, _| names.contains(&name.as_str()));
    }

    fn share(&self, client: &str, keys: usize) -> Arc<Share> {
        let bytes_max = share_of(self.bodies_bytes_max, keys);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        match shares.get_mut(client) {
            Some(share) if share.bodies_bytes_max == bytes_max => Arc::clone(share),
            other => {
                // A new limit for what comes; what runs is still counted.
                let running = other.map(|it| Arc::clone(&it.running)).unwrap_or_default();
                let share = Arc::new(Share {
                    running,
                    bodies: self.bodies.share(bytes_max),
                    bodies_bytes_max: bytes_max,
                });
                shares.insert(client.to_owned(), Arc::clone(&share));
                share
            }
        }
    }
}

fn enter(counter: Arc<AtomicUsize>, max: usize) -> Option<Arc<AtomicUsize>> {
    let fits = |running: usize| (running < max).then_some(running + 1);
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
    Some(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_cannot_run_everything_and_leaves_no_trace_when_it_is_refused() {
        let all = Admissions::new(1000);
        let limits = Limits { requests_max: 4, ..Limits::default() };
        let enter = |client: &'static str| all.enter(Some(client), &limits, 2);
        let mut of_a: Vec<_> = (0..3).map(|_| enter("a").unwrap()).collect();
        assert_eq!(enter("a").err(), Some(Full::Key(3)));
        let of_b = enter("b").unwrap();
        assert_eq!(enter("b").err(), Some(Full::All(4)), "all together are too many");
        of_a.pop();
        drop((of_b, enter("b").unwrap()));
        all.keep(["b"].into_iter());
        drop(of_a);
        assert_eq!(all.running.load(Ordering::Relaxed), 0);
        assert_eq!(all.enter(None, &limits, 0).map(|_| ()), Ok(()));
    }

    #[test]
    fn a_share_is_three_quarters_and_never_nothing() {
        let shares = [1, 2, 4, 7, 4096, usize::MAX].map(|it| share_of(it, 2));
        assert_eq!(shares, [1, 1, 3, 5, 3072, usize::MAX / 4 * 3 + 2]);
        assert_eq!(share_of(7, 1), 7);
    }
}
