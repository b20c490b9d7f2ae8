//! The retries that the calls for one model share.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use vertex_chat_transport::RetryBudget;

/// The most models of a client with a budget of retries of their own; further ones share one. Clients of a gateway invent
/// names of models.
pub const RETRY_BUDGETS_MAX: usize = 1_024;

/// A budget of retries for each model: one that fails takes none from the others.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// Budgets that are not full. A model without one here has a full one.
    by_model: RwLock<HashMap<Box<str>, Arc<RetryBudget>>>,
    others: RetryBudget,
}

impl Budgets {
    /// Takes the cost of a retry; `false` when there is not enough left for this model.
    pub(crate) fn take(&self, model: &str) -> bool {
        if let Some(budget) = self.known(model) {
            return budget.take();
        }
        let mut budgets = self.by_model.write().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= RETRY_BUDGETS_MAX {
            budgets.retain(|_, budget| !budget.is_full());
        }
        if budgets.len() >= RETRY_BUDGETS_MAX {
            return self.others.take();
        }
        budgets.entry(model.into()).or_default().take()
    }

    /// Notes a success of this model.
    pub(crate) fn give(&self, model: &str) {
        match self.known(model) {
            Some(budget) => budget.give(),
            None => self.others.give(),
        }
    }

    fn known(&self, model: &str) -> Option<Arc<RetryBudget>> {
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
    fn invented_names_share_one_budget_and_displace_no_other() {
        let budgets = Budgets::default();
        assert_eq!((0..100).take_while(|_| budgets.take("real")).count(), ALLOWED);
        for name in 0..RETRY_BUDGETS_MAX - 1 {
            assert!(budgets.take(&name.to_string()));
        }
        let invented = (0..1_000).take_while(|name| budgets.take(&format!("invented-{name}"))).count();
        assert_eq!(invented, ALLOWED);
        assert_eq!(budgets.by_model.read().unwrap().len(), RETRY_BUDGETS_MAX);
        assert!(!budgets.take("real"), "what it has used is not forgotten");
        // Once the others are full again there is room.
        for name in 0..RETRY_BUDGETS_MAX - 1 {
            for _ in 0..5 {
                budgets.give(&name.to_string());
            }
        }
        assert!(budgets.take("invented-2000"));
    }
}
