//! How a caller takes his answer: whether his not reading it may be why its upstream broke it off.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ticks::{self, ticks_in};

/// A caller who takes nothing for so long does not read.
const STALL: Duration = Duration::from_secs(1);
/// What may have been under way between an upstream and its caller when he did not read, in buffers of both kernels and of ours.
/// When the upstream gave up is not known before all of it has been read.
const MAX_IN_FLIGHT_BYTES: u64 = 16 << 20;

/// One per connection, for one call after the other. Of one thread: atomics, so that it is `Sync`.
#[derive(Debug)]
pub(super) struct Taking {
    /// The tick since which he takes nothing; [`NOT`]: he does.
    full_since: AtomicU64,
    /// Bytes that he took since he last did not read; [`NOT`]: he always did.
    since_stall: AtomicU64,
}

const NOT: u64 = u64::MAX;

impl Default for Taking {
    fn default() -> Self {
        Self {
            full_since: AtomicU64::new(NOT),
            since_stall: AtomicU64::new(NOT),
        }
    }
}

impl Taking {
    /// Another call begins.
    pub(super) fn begins(&self) {
        self.full_since.store(NOT, Ordering::Relaxed);
        self.since_stall.store(NOT, Ordering::Relaxed);
    }

    /// He takes nothing now.
    pub(super) fn takes_nothing(&self, now: u64) {
        if self.full_since.load(Ordering::Relaxed) == NOT {
            self.full_since.store(now, Ordering::Relaxed);
        }
    }

    /// He takes so many bytes.
    pub(super) fn takes(&self, count: usize, now: u64) {
        let stalled = self.stalls(now);
        self.full_since.store(NOT, Ordering::Relaxed);
        let taken = self.since_stall.load(Ordering::Relaxed);
        if stalled {
            self.since_stall.store(0, Ordering::Relaxed);
        } else if taken != NOT {
            let taken = taken.saturating_add(count as u64).min(NOT - 1);
            self.since_stall.store(taken, Ordering::Relaxed);
        }
    }

    fn stalls(&self, now: u64) -> bool {
        let since = self.full_since.load(Ordering::Relaxed);
        since != NOT && ticks::is_over(since, ticks_in(STALL), now)
    }

    /// Whether an upstream that is found to have broken off may have waited for him when it did.
    pub(super) fn held_up_upstream(&self, now: u64) -> bool {
        self.stalls(now) || self.since_stall.load(Ordering::Relaxed) <= MAX_IN_FLIGHT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_holds_up_what_was_under_way() {
        let taking = Taking::default();
        taking.takes(1, 0);
        assert!(!taking.held_up_upstream(10_000), "he reads");
        taking.takes_nothing(100);
        taking.takes_nothing(140);
        assert!(!taking.held_up_upstream(140) && taking.held_up_upstream(141));
        taking.takes(1, 140);
        assert!(!taking.held_up_upstream(10_000), "a moment is nothing");
        taking.takes_nothing(200);
        taking.takes(4_000, 300);
        taking.takes(MAX_IN_FLIGHT_BYTES as usize, 300);
        assert!(taking.held_up_upstream(300), "it may have broken off then");
        taking.takes(1, 300);
        assert!(!taking.held_up_upstream(300), "it went on");
        taking.takes_nothing(400);
        taking.begins();
        assert!(!taking.held_up_upstream(500));
    }
}
