//! The retries that the calls for one model share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use vertex_chat_transport::RetryBudget;

/// The most models of a client with a budget of retries; then that of the model that has been tried again least recently is
/// forgotten, and is full when it is needed again. Clients of a gateway invent names of models.
pub const RETRY_BUDGETS_MAX: usize = 1_024;

/// A budget of retries for each model: one that fails takes none from the others.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// Budgets that are not full. A model without one here has a full one.
    by_model: RwLock<HashMap<Box<str>, Arc<Budget>>>,
    /// Counts retries.
    now: AtomicU64,
}

#[derive(Debug, Default)]
struct Budget {
    budget: RetryBudget,
    /// The retry that took from it last.
    last: AtomicU64,
}

impl Budgets {
    /// Takes the cost of a retry; `false` when there is not enough left for this model.
    pub(crate) fn take(&self, model: &str) -> bool {
        let now = self.now.fetch_add(1, Ordering::Relaxed);
        let known = self.known(model).unwrap_or_else(|| self.begin(model));
        known.last.store(now, Ordering::Relaxed);
        known.budget.take()
    }

    /// Notes a success of this model.
    pub(crate) fn give(&self, model: &str) {
        if let Some(known) = self.known(model) {
            known.budget.give();
        }
    }

    fn begin(&self, model: &str) -> Arc<Budget> {
        let mut budgets = self.by_model.write().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= RETRY_BUDGETS_MAX {
            budgets.retain(|_, it| !it.budget.is_full());
        }
        if budgets.len() >= RETRY_BUDGETS_MAX {
            let oldest = budgets.iter().min_by_key(|(_, it)| it.last.load(Ordering::Relaxed));
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                budgets.remove(&name);
            }
        }
        Arc::clone(budgets.entry(model.into()).or_default())
    }

    fn known(&self, model: &str) -> Option<Arc<Budget>> {
        let budgets = self.by_model.read().unwrap_or_else(PoisonError::into_inner);
        // Mostly nothing has failed, and nothing is looked for.
        if budgets.is_empty() { None } else { budgets.get(model).map(Arc::clone) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retries in a row that a full budget allows.
    const ALLOWED: usize = 20;

    #[test]
    fn a_model_that_fails_takes_no_retry_from_another() {
        let budgets = Budgets::default();
        assert_eq!((0..100).take_while(|_| budgets.take("a")).count(), ALLOWED);
        assert_eq!((0..100).take_while(|_| budgets.take("b")).count(), ALLOWED);
        for _ in 0..5 {
            budgets.give("a");
        }
        assert!(budgets.take("a") && !budgets.take("a") && !budgets.take("b"));
    }

    #[test]
    fn invented_names_take_no_retry_from_a_model_that_is_used() {
        let budgets = Budgets::default();
        for name in 0..3 * RETRY_BUDGETS_MAX {
            assert!(budgets.take(&format!("invented-{name}")), "each has its own");
            if name % 100 == 0 && name < 2_000 {
                assert!(budgets.take("real"), "retry {name}");
            }
        }
        assert_eq!(budgets.by_model.read().unwrap().len(), RETRY_BUDGETS_MAX);
        assert_eq!(
            (0..100).take_while(|_| budgets.take("real")).count(),
            ALLOWED,
            "it was forgotten, and is full"
        );
    }

    #[test]
    fn a_model_that_fails_among_invented_names_keeps_its_budget() {
        let budgets = Budgets::default();
        let mut taken = 0;
        for name in 0..2 * RETRY_BUDGETS_MAX {
            budgets.take(&format!("invented-{name}"));
            taken += usize::from(name % 10 == 0 && budgets.take("real"));
        }
        assert_eq!(taken, ALLOWED);
    }
}
