//! How a caller reads its answer, and whether that may be why the upstream broke it off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ticks::{self, ticks_in};

/// The time after which a caller who takes no bytes counts as not reading.
const STALL_TIMEOUT: Duration = Duration::from_secs(1);
/// The bytes that may have been under way between upstream and caller, in buffers of both kernels
/// and of ours, when the caller stopped reading. That the upstream gave up then is found only after
/// all of them were read.
const MAX_IN_FLIGHT_BYTES: u64 = 16 << 20;

/// The progress of the caller's reading, one per connection, for one call after the other. Only one
/// thread uses it; the atomics make it `Sync`.
#[derive(Debug)]
pub(super) struct ReadProgress {
    /// The tick since which the caller takes no bytes; [`UNSET`]: it does.
    full_since: AtomicU64,
    /// The bytes taken since the caller last stopped reading; [`UNSET`]: it never did.
    since_stall: AtomicU64,
}

const UNSET: u64 = u64::MAX;

impl Default for ReadProgress {
    fn default() -> Self {
        Self {
            full_since: AtomicU64::new(UNSET),
            since_stall: AtomicU64::new(UNSET),
        }
    }
}

impl ReadProgress {
    /// Begins another call.
    pub(super) fn begins(&self) {
        self.full_since.store(UNSET, Ordering::Relaxed);
        self.since_stall.store(UNSET, Ordering::Relaxed);
    }

    /// Notes that the caller takes no bytes now.
    pub(super) fn reads_nothing(&self, now: u64) {
        if self.full_since.load(Ordering::Relaxed) == UNSET {
            self.full_since.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that the caller takes `count` bytes.
    pub(super) fn reads(&self, count: usize, now: u64) {
        let stalled = self.stalls(now);
        self.full_since.store(UNSET, Ordering::Relaxed);
        let taken = self.since_stall.load(Ordering::Relaxed);
        if stalled {
            self.since_stall.store(0, Ordering::Relaxed);
        } else if taken != UNSET {
            let taken = taken.saturating_add(count as u64).min(UNSET - 1);
            self.since_stall.store(taken, Ordering::Relaxed);
        }
    }

    fn stalls(&self, now: u64) -> bool {
        let since = self.full_since.load(Ordering::Relaxed);
        since != UNSET && ticks::is_over(since, ticks_in(STALL_TIMEOUT), now)
    }

    /// Returns whether an upstream that broke off may have been waiting for the caller when it did.
    pub(super) fn held_up_upstream(&self, now: u64) -> bool {
        self.stalls(now) || self.since_stall.load(Ordering::Relaxed) <= MAX_IN_FLIGHT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_holds_up_what_was_under_way() {
        let read_progress = ReadProgress::default();
        read_progress.reads(1, 0);
        assert!(!read_progress.held_up_upstream(10_000), "he reads");
        read_progress.reads_nothing(100);
        read_progress.reads_nothing(140);
        assert!(!read_progress.held_up_upstream(140) && read_progress.held_up_upstream(141));
        read_progress.reads(1, 140);
        assert!(
            !read_progress.held_up_upstream(10_000),
            "a moment is nothing"
        );
        read_progress.reads_nothing(200);
        read_progress.reads(4_000, 300);
        read_progress.reads(MAX_IN_FLIGHT_BYTES as usize, 300);
        assert!(
            read_progress.held_up_upstream(300),
            "it may have broken off then"
        );
        read_progress.reads(1, 300);
        assert!(!read_progress.held_up_upstream(300), "it went on");
        read_progress.reads_nothing(400);
        read_progress.begins();
        assert!(!read_progress.held_up_upstream(500));
    }
}
