//! When what failed is tried again.

use std::time::Duration;

use model::Timestamp;

/// The failures since something last succeeded, and the time before which it is not tried again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    retry_at: Option<Timestamp>,
}

/// The time without a fetch after a first failure; it doubles with each further one.
const RETRY: Duration = Duration::from_secs(30);
/// The longest time without a fetch after failures (the draft, section "Negative Caching").
const MAX_RETRY: Duration = Duration::from_secs(300);

impl Backoff {
    /// Returns whether it failed since it last succeeded.
    pub(super) const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Returns whether it may be tried.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }

    /// Counts a failure.
    pub(super) fn fail(&mut self, now: Timestamp) {
        let doubled = RETRY * 2_u32.pow(self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.plus_micros(doubled.min(MAX_RETRY).as_micros() as i64));
    }
}
