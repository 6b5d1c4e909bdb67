//! The time of a proxy thread in coarse steps: what is due at some time costs a call a comparison, no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One step.
pub(crate) const TICK: Duration = Duration::from_millis(25);

/// Steps since the thread began. A thread that stands still counts one, however long it stood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ticks(Arc<AtomicU64>);

impl Ticks {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The next step begins. Gives its number.
    pub(crate) fn advance(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// So many whole steps are over not before `time` is; one at least.
pub(crate) fn ticks_in(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// Whether something that may last so many ticks, as [`ticks_in`] counts them, has lasted too long: never too soon, since the
/// tick in which it began had begun before.
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
