//! The coarse time of a proxy thread, in ticks: a timeout costs a call a comparison and no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The length of one tick.
pub(crate) const TICK: Duration = Duration::from_millis(25);

/// A counter of ticks since the thread began. A thread that was suspended counts one tick, however
/// long that was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks(Arc<AtomicU64>);

impl Ticks {
    /// Returns the current tick.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins the next tick and returns its number.
    pub(crate) fn advance(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Returns the number of ticks that last at least `time`; at least 1.
pub(crate) fn ticks_in(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// Returns whether something that began in tick `since` and may last `limit` ticks, as [`ticks_in`]
/// counts them, has lasted too long at `now`. Never too soon, since the first tick had begun
/// before.
pub(crate) const fn is_over(since: u64, limit: u64, now: u64) -> bool {
    now.saturating_sub(since) > limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_over_too_soon() {
        assert_eq!(ticks_in(Duration::ZERO), 1);
        assert_eq!(ticks_in(TICK), 1);
        assert_eq!(ticks_in(TICK + Duration::from_nanos(1)), 2);
        assert_eq!(ticks_in(Duration::from_secs(60)), 2_400);
        assert!(ticks_in(Duration::MAX) > 1 << 60);
    }
}
