//! What calls find of an upstream as a whole, whatever its addresses: whether it answers.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use model::Timestamp;

/// The failed calls in a row after which an upstream may be down.
const FAILURES: u32 = 3;
/// The time for which nothing of it answered, in microseconds, after which it is.
const SILENCE: i64 = 5_000_000;

/// The findings of calls about one upstream. Shared by all threads; a call that connects as calls
/// before it did costs one load.
#[derive(Debug)]
pub(super) struct Answering {
    /// The calls in a row that could not connect to it.
    failures: AtomicU32,
    /// The time of the first of these, in microseconds; [`i64::MAX`]: there is none.
    since: AtomicI64,
}

impl Default for Answering {
    fn default() -> Self {
        Self {
            failures: AtomicU32::new(0),
            since: AtomicI64::new(i64::MAX),
        }
    }
}

impl Answering {
    /// Notes a call that could not connect.
    pub(super) fn fails(&self, now: Timestamp) {
        self.since.fetch_min(now.micros(), Ordering::Relaxed);
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a call that connected.
    pub(super) fn works(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.since.store(i64::MAX, Ordering::Relaxed);
        }
    }

    /// Takes over what an earlier start found: down since a time, until a call connects.
    pub(super) fn was_down(&self, since: Timestamp) {
        self.since.store(since.micros(), Ordering::Relaxed);
        self.failures.store(FAILURES, Ordering::Relaxed);
    }

    /// Returns since when it is down; `None`: it is not.
    pub(super) fn down_since(&self, now: Timestamp) -> Option<Timestamp> {
        let since = self.since.load(Ordering::Relaxed);
        let is_silent = now.micros().saturating_sub(since) >= SILENCE;
        let is_down = is_silent && self.failures.load(Ordering::Relaxed) >= FAILURES;
        is_down.then(|| Timestamp::from_micros(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn an_upstream_is_down_after_three_failed_calls_and_five_seconds_without_an_answer() {
        let found = Answering::default();
        assert_eq!(found.down_since(at(100)), None);
        found.fails(at(1));
        found.fails(at(2));
        assert_eq!(found.down_since(at(60)), None, "two are few");
        found.fails(at(3));
        assert_eq!(found.down_since(at(5)), None, "it is soon");
        assert_eq!(found.down_since(at(6)), Some(at(1)));
        found.works();
        assert_eq!(found.down_since(at(7)), None);
        (0..3).for_each(|_| found.fails(at(8)));
        assert_eq!(found.down_since(at(13)), Some(at(8)), "it begins anew");
    }

    #[test]
    fn an_answer_between_failures_begins_the_count_anew() {
        let found = Answering::default();
        for second in 0..20 {
            found.fails(at(second));
            found.fails(at(second));
            found.works();
        }
        assert_eq!(found.down_since(at(60)), None);
    }

    #[test]
    fn what_an_earlier_start_found_holds_until_a_call_connects() {
        let found = Answering::default();
        found.was_down(at(1));
        assert_eq!(found.down_since(at(60)), Some(at(1)));
        found.works();
        assert_eq!(found.down_since(at(60)), None);
    }
}
