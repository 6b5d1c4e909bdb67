//! One clock read at each end of a call: monotonic, with the wall clock as an offset that is refreshed once a second.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use model::{Clock, Timestamp};

/// A point in time by the monotonic clock, in microseconds since the process's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Microseconds from `earlier` to this; 0 if `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tells moments, and what the wall clock showed at them.
#[derive(Debug)]
pub(crate) struct TimeSource {
    epoch: Instant,
    wall_offset: AtomicI64,
}

impl TimeSource {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let source = Self {
            epoch: Instant::now(),
            wall_offset: AtomicI64::new(0),
        };
        source.refresh(clock);
        source
    }

    /// Reads the wall clock anew, so that its corrections are followed.
    pub(crate) fn refresh(&self, clock: &dyn Clock) {
        let offset = clock.now().micros().saturating_sub(self.now().0 as i64);
        self.wall_offset.store(offset, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.epoch.elapsed().as_micros() as u64)
    }

    pub(crate) fn wall(&self, moment: Moment) -> Timestamp {
        let offset = self.wall_offset.load(Ordering::Relaxed);
        Timestamp::from_micros((moment.0 as i64).saturating_add(offset))
    }
}
