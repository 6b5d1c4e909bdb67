//! The back-off of addresses: those that calls could not connect to are set aside for a while.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time for which an address is set aside that failed once. It doubles with each failed trial.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The most times that it doubles.
const MAX_DOUBLINGS: u32 = 4;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The findings of calls about one address. Shared by all threads.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// The time until which it is passed over, in milliseconds since [`START`]; 0: it is not.
    until: AtomicU64,
    /// The failures since it was connected to last: the first, and those of trials.
    failures: AtomicU32,
    /// Whether a call tries it, with no result yet.
    on_trial: AtomicBool,
}

fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Backoff {
    /// Returns whether a call may try the address. Once its time is over, one call tries it, and
    /// the others pass it over until that has a result.
    pub(super) fn may_be_tried(&self) -> bool {
        self.may_be_tried_at(now)
    }

    fn may_be_tried_at(&self, now: impl Fn() -> u64) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        // The clock is read only where something was wrong.
        if until == 0 {
            return true;
        }
        let now = now();
        now >= until && self.postpone(until, now)
    }

    fn postpone(&self, until: u64, now: u64) -> bool {
        let next = now + FIRST_PAUSE.as_millis() as u64;
        let order = Ordering::Relaxed;
        let exchanged = self.until.compare_exchange(until, next, order, order);
        let is_first = exchanged.is_ok();
        if is_first {
            self.on_trial.store(true, Ordering::Relaxed);
        }
        is_first
    }

    /// Notes that the address could not be connected to.
    pub(super) fn fails(&self) {
        self.fails_at(now());
    }

    fn fails_at(&self, now: u64) {
        let is_set_aside = self.until.load(Ordering::Relaxed) != 0;
        if is_set_aside && !self.on_trial.swap(false, Ordering::Relaxed) {
            // This call failed together with the one that set the address aside: nothing new.
            return;
        }
        let before = self.failures.fetch_add(1, Ordering::Relaxed);
        let time = FIRST_PAUSE.as_millis() as u64 * (1 << before.min(MAX_DOUBLINGS));
        self.until.store(now + time, Ordering::Relaxed);
    }

    /// Notes that the address was connected to.
    pub(super) fn works(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            self.on_trial.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_set_aside_for_longer_each_time_and_then_tried_by_one_call() {
        let backoff = Backoff::default();
        let may = |at: u64| backoff.may_be_tried_at(|| at);
        assert!(may(1));
        // Several calls fail at once: that is one failure.
        (0..8).for_each(|_| backoff.fails_at(1));
        assert!(!may(10_000));
        assert!(may(10_001), "one tries it");
        assert!(!may(10_002), "the others do not");
        backoff.fails_at(10_003);
        backoff.fails_at(10_004);
        assert!(!may(30_002) && may(30_003), "twice as long");
        backoff.works();
        assert!(may(30_004) && may(30_004));
        backoff.fails_at(30_005);
        assert!(may(40_005), "it begins anew");
    }
}
