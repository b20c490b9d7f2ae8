//! Models of a server that are left alone for a while, because they are out of quota or overloaded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a model of a server that is out of quota or overloaded is left alone when the server does not say, by default.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// The longest that it is left alone, whatever the server says.
pub const COOL_DOWN_MAX: Duration = Duration::from_secs(300);
/// The most models of one server that are left alone at once. Clients invent names under a pattern: such a name takes the place
/// of the one that would end first, and never that of a model that the configuration names.
pub const COOL_DOWNS_MAX: usize = 256;

/// Until when models are left alone. Quotas belong to a model, so one that is exhausted says nothing of the others.
#[derive(Debug, Default)]
pub(crate) struct CoolDowns {
    /// Until when any of them is, in milliseconds of the clock: mostly the past, and then nothing else is looked at.
    latest: AtomicU64,
    by_model: Mutex<HashMap<Box<str>, CoolDown>>,
}

#[derive(Clone, Copy, Debug)]
struct CoolDown {
    /// In milliseconds of the clock.
    until: u64,
    /// Whether the configuration names the model, so that no client has invented it.
    is_named: bool,
}

impl CoolDowns {
    /// Leaves a model alone for a while.
    pub(crate) fn add(&self, model: &str, is_named: bool, now: Duration, wait: Duration) {
        let (now, until) = (millis(now), millis(now.saturating_add(wait.min(COOL_DOWN_MAX))));
        let mut by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_model.get_mut(model) {
            known.until = known.until.max(until);
        } else {
            if by_model.len() >= COOL_DOWNS_MAX {
                by_model.retain(|_, it| it.until > now);
            }
            if by_model.len() >= COOL_DOWNS_MAX {
                // A real model may have a name that the configuration does not have, so the newest name gets a place.
                let invented = by_model.iter().filter(|(_, it)| !it.is_named).min_by_key(|(_, it)| it.until);
                match invented.map(|(name, _)| name.clone()) {
                    Some(name) => drop(by_model.remove(&name)),
                    None => return,
                }
            }
            by_model.insert(model.into(), CoolDown { until, is_named });
        }
        self.latest.fetch_max(until, Ordering::Relaxed);
    }

    /// How long a model is still to be left alone.
    pub(crate) fn left(&self, model: &str, now: Duration) -> Duration {
        let now = millis(now);
        if self.latest.load(Ordering::Relaxed) <= now {
            return Duration::ZERO;
        }
        let by_model = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let until = by_model.get(model).map_or(0, |it| it.until);
        Duration::from_millis(until.saturating_sub(now))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_model_is_left_alone_and_others_are_not() {
        let cool_downs = CoolDowns::default();
        cool_downs.add("a", true, seconds(10), seconds(30));
        assert_eq!(cool_downs.left("a", seconds(15)), seconds(25));
        assert_eq!(cool_downs.left("b", seconds(15)), Duration::ZERO);
        assert_eq!(cool_downs.left("a", seconds(40)), Duration::ZERO);
        cool_downs.add("a", true, seconds(50), Duration::MAX);
        assert_eq!(cool_downs.left("a", seconds(50)), COOL_DOWN_MAX);
        cool_downs.add("a", true, seconds(51), seconds(1));
        assert_eq!(cool_downs.left("a", seconds(51)), COOL_DOWN_MAX - seconds(1), "it gets no shorter");
    }

    #[test]
    fn invented_names_displace_no_model_that_is_named() {
        let cool_downs = CoolDowns::default();
        cool_downs.add("named", true, Duration::ZERO, seconds(100));
        for i in 0..2 * COOL_DOWNS_MAX {
            cool_downs.add(&format!("invented-{i}"), false, Duration::ZERO, seconds(200));
        }
        assert_eq!(cool_downs.by_model.lock().unwrap().len(), COOL_DOWNS_MAX);
        assert_eq!(cool_downs.left("named", Duration::ZERO), seconds(100));
        cool_downs.add("named too", true, Duration::ZERO, seconds(100));
        assert_eq!(cool_downs.left("named too", Duration::ZERO), seconds(100));
        assert_eq!(cool_downs.by_model.lock().unwrap().len(), COOL_DOWNS_MAX);
        // A real model under a pattern is left alone among as many invented names.
        cool_downs.add("real", false, Duration::ZERO, seconds(250));
        assert_eq!(cool_downs.left("real", Duration::ZERO), seconds(250));
        // Those that are over make room.
        cool_downs.add("invented later", false, seconds(201), seconds(5));
        assert_eq!(cool_downs.left("invented later", seconds(201)), seconds(5));
    }
}
