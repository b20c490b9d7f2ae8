//! How much work one request may cause.
//!
//! Time differs by machine, so work is counted. A step is a part of a schema that is read, copied, compared or merged: some
//! 50 to 200 ns on the machines of 2026.

/// The most steps that preparing one request may take; a request that takes more is refused. At most some 0.08 s of a core.
pub const PREPARE_STEPS_MAX: u64 = 400_000;
/// The most steps that one schema of a request may take; a schema that takes more becomes an open object, and the report
/// says so. A schema of 1,000 properties takes some 9,000.
pub const SCHEMA_STEPS_MAX: u64 = 100_000;

/// The steps of one request so far.
#[derive(Debug)]
pub(crate) struct Steps {
    used: u64,
    max: u64,
}

/// There are no steps left.
#[derive(Debug)]
pub(crate) struct OutOfSteps;

impl Steps {
    /// No steps yet, of this many at most.
    pub(crate) fn up_to(max: u64) -> Self {
        Self { used: 0, max: max.min(PREPARE_STEPS_MAX) }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Whether the request has taken more than it may.
    pub(crate) fn is_over(&self) -> bool {
        self.used > self.max
    }

    /// The steps of one schema.
    pub(crate) fn share(&mut self) -> Share<'_> {
        // One more than is left, so that a request that needs more than all is over.
        let left = self.max.saturating_sub(self.used).saturating_add(1);
        Share { left: left.min(SCHEMA_STEPS_MAX), steps: self }
    }
}

/// The steps that one schema may take.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    steps: &'a mut Steps,
    left: u64,
}

impl Share<'_> {
    pub(crate) fn take(&mut self, steps: usize) -> Result<(), OutOfSteps> {
        let steps = u64::try_from(steps).unwrap_or(u64::MAX);
        self.steps.used = self.steps.used.saturating_add(steps.min(self.left));
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(OutOfSteps)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_its_share_and_all_of_them_the_whole() {
        let mut steps = Steps::up_to(PREPARE_STEPS_MAX);
        let share = usize::try_from(SCHEMA_STEPS_MAX).unwrap();
        for _ in 0..PREPARE_STEPS_MAX / SCHEMA_STEPS_MAX {
            let mut one = steps.share();
            assert!(one.take(share).is_ok());
            assert!(one.take(1).is_err());
        }
        assert_eq!(steps.used(), PREPARE_STEPS_MAX);
        assert!(!steps.is_over());
        assert!(steps.share().take(2).is_err());
        assert!(steps.is_over());
    }
}
