//! A clock that does not follow a jump of another clock at once.
//!
//! Windows and refills go by the wall clock. A wall clock that is three hours ahead for a moment
//! would end periods that are under way, begin others, and be back before anybody has seen it. The
//! clock since boot cannot be set, so a jump shows against it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::time::{Clock, Moment, Timestamp};

/// The time of another clock, in which a jump is ignored until it has lasted for
/// [`SteadyClock::MIN_JUMP_DURATION`].
#[derive(Debug)]
pub struct SteadyClock<C> {
    clock: C,
    /// The wall-clock time at boot, in microseconds, as it is believed.
    offset: AtomicI64,
    /// The moment since which another offset is seen, in microseconds; 0: none is.
    strayed_since: AtomicU64,
    /// The other offset, in microseconds.
    strayed_to: AtomicI64,
}

impl<C: Clock> SteadyClock<C> {
    /// The largest step in microseconds that is followed at once, as the correction of a clock
    /// makes it.
    const STEP: i64 = 2_000_000;
    /// The time that a jump lasts before it is believed.
    pub const MIN_JUMP_DURATION: Duration = Duration::from_secs(60);

    /// Makes a clock that follows `clock`, and believes the time that it shows now.
    pub fn new(clock: C) -> Self {
        let offset = offset(&clock);
        Self {
            clock,
            offset: AtomicI64::new(offset),
            strayed_since: AtomicU64::new(0),
            strayed_to: AtomicI64::new(offset),
        }
    }

    /// Returns the distance from this clock to the other one in microseconds, if the other one has
    /// jumped and is not believed yet.
    pub fn strayed(&self) -> Option<i64> {
        let _read = self.now();
        let by = self.strayed_to.load(Ordering::Relaxed) - self.offset.load(Ordering::Relaxed);
        (self.strayed_since.load(Ordering::Relaxed) != 0).then_some(by)
    }

    /// Returns whether the other clock has stayed at its new offset for long enough to be believed.
    fn is_believed(&self, seen: i64, at: Moment) -> bool {
        let since = self.strayed_since.load(Ordering::Relaxed);
        let elsewhere = (seen - self.strayed_to.load(Ordering::Relaxed)).abs() > Self::STEP;
        if since == 0 || elsewhere {
            self.strayed_to.store(seen, Ordering::Relaxed);
            self.strayed_since.store(at.0.max(1), Ordering::Relaxed);
            return false;
        }
        at.since(Moment(since)) >= Self::MIN_JUMP_DURATION
    }
}

fn offset(clock: &impl Clock) -> i64 {
    let booted = i64::try_from(clock.since_boot().0).unwrap_or(i64::MAX);
    clock.now().micros().saturating_sub(booted)
}

impl<C: Clock> Clock for SteadyClock<C> {
    fn now(&self) -> Timestamp {
        let (seen, at) = (offset(&self.clock), self.clock.since_boot());
        let believed = self.offset.load(Ordering::Relaxed);
        let steps = seen.saturating_sub(believed).saturating_abs();
        if steps <= Self::STEP || self.is_believed(seen, at) {
            self.strayed_since.store(0, Ordering::Relaxed);
            self.offset.store(seen, Ordering::Relaxed);
        }
        let booted = i64::try_from(at.0).unwrap_or(i64::MAX);
        Timestamp::from_micros(booted).plus_micros(self.offset.load(Ordering::Relaxed))
    }

    fn since_boot(&self) -> Moment {
        self.clock.since_boot()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::time::ManualClock;

    const HOUR: i64 = Timestamp::HOUR;

    struct Shared(Arc<ManualClock>);

    impl Clock for Shared {
        fn now(&self) -> Timestamp {
            self.0.now()
        }

        fn since_boot(&self) -> Moment {
            self.0.since_boot()
        }
    }

    fn clocks() -> (Arc<ManualClock>, SteadyClock<Shared>) {
        let hand = Arc::new(ManualClock::at(Timestamp::from_micros(500 * HOUR)));
        let steady = SteadyClock::new(Shared(hand.clone()));
        (hand, steady)
    }

    #[test]
    fn a_jump_for_a_moment_is_passed_over_both_ways() {
        let (hand, steady) = clocks();
        for hours in [3, -3] {
            let before = hand.now();
            hand.set(before.plus_micros(hours * HOUR));
            assert_eq!(steady.now(), before);
            assert_eq!(steady.strayed(), Some(hours * HOUR));
            hand.advance(Duration::from_secs(30));
            let after = before.plus_micros(30_000_000);
            assert_eq!(steady.now(), after);
            hand.set(after);
            assert_eq!((steady.now(), steady.strayed()), (after, None));
        }
    }

    #[test]
    fn a_jump_that_lasts_is_believed_after_a_minute_and_one_that_wanders_is_not() {
        let (hand, steady) = clocks();
        let before = hand.now();
        for hours in 1..=5 {
            hand.set(before.plus_micros(hours * HOUR));
            let _noticed = steady.now();
            hand.advance(Duration::from_secs(40));
            assert!(steady.now() < before.plus_micros(HOUR));
        }
        hand.advance(Duration::from_secs(20));
        assert_eq!((steady.now(), steady.strayed()), (hand.now(), None));
    }

    #[test]
    fn corrections_and_the_passing_of_time_are_followed_at_once() {
        let (hand, steady) = clocks();
        for micros in [1_000_000, -1_000_000, 500] {
            hand.advance(Duration::from_secs(3_600));
            hand.set(hand.now().plus_micros(micros));
            assert_eq!((steady.now(), steady.strayed()), (hand.now(), None));
        }
    }
}
