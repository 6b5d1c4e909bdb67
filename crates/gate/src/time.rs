//! The time source of a worker: the clock since boot, read once at each end of a call, with the
//! wall clock as an offset that is refreshed once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use model::{Clock, Timestamp};

pub use model::Moment;

/// A source of moments, and of the wall-clock times that belong to them.
pub(crate) struct TimeSource {
    clock: Arc<dyn Clock>,
    wall_offset: AtomicI64,
}

impl TimeSource {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let source = Self {
            clock,
            wall_offset: AtomicI64::new(0),
        };
        source.refresh();
        source
    }

    /// Reads the wall clock again, so that its corrections are followed.
    pub(crate) fn refresh(&self) {
        let wall = self.clock.now().micros();
        let offset = wall.saturating_sub(self.now().0 as i64);
        self.wall_offset.store(offset, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> Moment {
        self.clock.since_boot()
    }

    pub(crate) fn wall(&self, moment: Moment) -> Timestamp {
        let offset = self.wall_offset.load(Ordering::Relaxed);
        Timestamp::from_micros((moment.0 as i64).saturating_add(offset))
    }
}
