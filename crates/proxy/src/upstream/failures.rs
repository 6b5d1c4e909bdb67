//! The log of an upstream's failures: at most one line a minute, with their number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The seconds between two lines about one upstream.
const LOG_INTERVAL_SECONDS: u64 = 60;

/// The failures of one upstream that are not logged yet. A dead one fails thousands of times a
/// second.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// The second since the UNIX epoch before which nothing is logged.
    quiet_until: AtomicU64,
    unlogged: AtomicU64,
}

impl Failures {
    /// Notes a failure. Returns the number to log, with this one and those since the last line;
    /// `None`: nothing is logged now.
    pub(super) fn note(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.note_at(now.unwrap_or_default().as_secs())
    }

    fn note_at(&self, now: u64) -> Option<u64> {
        let order = Ordering::Relaxed;
        self.unlogged.fetch_add(1, order);
        let until = self.quiet_until.load(order);
        // A clock that was set back does not silence the log.
        let is_quiet = now < until && until - now <= LOG_INTERVAL_SECONDS;
        let is_first = !is_quiet
            && self
                .quiet_until
                .compare_exchange(until, now + LOG_INTERVAL_SECONDS, order, order)
                .is_ok();
        is_first.then(|| self.unlogged.swap(0, order))
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
