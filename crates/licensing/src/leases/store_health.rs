//! The health of the store as the task that takes leases sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The record of whether the store answers requests for leases.
pub(super) struct StoreHealth {
    born: Instant,
    /// The time, in milliseconds after `born`, since which the store has not answered; 0: the store
    /// is not being asked.
    asked_at: AtomicU64,
    /// Whether the store failed when it was last asked.
    is_down: AtomicBool,
}

impl StoreHealth {
    /// Records that the store is being asked.
    pub(super) fn asking(&self) {
        self.asked_at.store(self.age().max(1), Ordering::Relaxed);
    }

    /// Records that the store answered.
    pub(super) fn answered(&self) {
        self.asked_at.store(0, Ordering::Relaxed);
        self.is_down.store(false, Ordering::Relaxed);
    }

    /// Records that the store does not answer. Nobody waits for units until it does.
    pub(super) fn failed(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    /// Returns whether the store failed when it was last asked, or has not answered for longer than
    /// `timeout`.
    pub(super) fn is_away(&self, timeout: Duration) -> bool {
        let now = self.age();
        let asked_at = self.asked_at.load(Ordering::Relaxed);
        let silent = asked_at != 0 && now.saturating_sub(asked_at) > millis(timeout);
        silent || self.is_down.load(Ordering::Relaxed)
    }

    fn age(&self) -> u64 {
        millis(self.born.elapsed())
    }
}

impl Default for StoreHealth {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            asked_at: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_away_when_it_failed_or_was_silent_for_longer_than_the_timeout() {
        const LONG: Duration = Duration::from_secs(3_600);
        let health = StoreHealth::default();
        let passes = || std::thread::sleep(Duration::from_millis(3));
        passes();
        assert!(!health.is_away(Duration::ZERO), "it was not asked");
        health.asking();
        passes();
        assert!(!health.is_away(LONG), "it has time to answer");
        assert!(health.is_away(Duration::ZERO), "it is silent");
        health.answered();
        assert!(!health.is_away(Duration::ZERO));
        health.failed();
        assert!(health.is_away(LONG), "it failed");
        health.asking();
        assert!(health.is_away(LONG), "asking again is no answer");
        health.answered();
        assert!(!health.is_away(LONG));
    }
}
