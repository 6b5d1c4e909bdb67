//! How an upstream fails, counted for every attempt and logged now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds between two lines about one upstream.
const QUIET: u64 = 60;

/// What is to be logged of one upstream. A dead one fails thousands of times a second.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Second since the UNIX epoch before which nothing is logged.
    quiet_until: AtomicU64,
    unlogged: AtomicU64,
}

impl Failures {
    /// Notes one; `Some`: how many there were since the last line, this one among them.
    pub(super) fn note(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.note_at(now.unwrap_or_default().as_secs())
    }

    fn note_at(&self, now: u64) -> Option<u64> {
        let order = Ordering::Relaxed;
        self.unlogged.fetch_add(1, order);
        let until = self.quiet_until.load(order);
        // A clock that was set back is not waited for.
        let is_quiet = now < until && until - now <= QUIET;
        let is_mine = !is_quiet
            && self
                .quiet_until
                .compare_exchange(until, now + QUIET, order, order)
                .is_ok();
        is_mine.then(|| self.unlogged.swap(0, order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_is_a_line_a_minute_that_says_how_many() {
        let failures = Failures::default();
        assert_eq!(failures.note_at(1_000), Some(1));
        for second in 1_000..1_060 {
            assert_eq!(failures.note_at(second), None);
        }
        assert_eq!(failures.note_at(1_060), Some(61));
        assert_eq!(failures.note_at(10), Some(1));
    }
}
