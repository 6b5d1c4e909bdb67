//! How long the call of a connection has been waiting for its upstream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::ticks;

/// One per connection of a caller, for one call after the other. Of one thread: atomics, so that it is `Sync`.
#[derive(Debug)]
pub(crate) struct UpstreamWait {
    /// The tick in which the wait began; [`NOT`]: nothing is waited for.
    since: AtomicU64,
    /// Ticks that a wait may last.
    limit: AtomicU64,
    /// A wait lasted longer.
    overdue: AtomicBool,
    /// The connection to the upstream carried a call before.
    reused: AtomicBool,
}

const NOT: u64 = u64::MAX;

impl Default for UpstreamWait {
    fn default() -> Self {
        Self {
            since: AtomicU64::new(NOT),
            limit: AtomicU64::new(NOT),
            overdue: AtomicBool::new(false),
            reused: AtomicBool::new(false),
        }
    }
}

impl UpstreamWait {
    /// A call has got its connection to the upstream.
    pub(crate) fn connected(&self, reused: bool, limit: u64) {
        self.since.store(NOT, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.overdue.store(false, Ordering::Relaxed);
        self.reused.store(reused, Ordering::Relaxed);
    }

    /// From now on the upstream may be silent for as long as it likes.
    pub(crate) fn has_no_end(&self) {
        self.limit.store(NOT, Ordering::Relaxed);
    }

    /// Bytes came or went: the next wait begins anew.
    pub(crate) fn over(&self) {
        self.since.store(NOT, Ordering::Relaxed);
    }

    /// The upstream is waited for: a wait begins, or goes on, or has lasted too long.
    pub(crate) fn lasts_too_long(&self, now: u64) -> bool {
        if self.since.load(Ordering::Relaxed) == NOT {
            self.since.store(now, Ordering::Relaxed);
        } else if self.is_due(now) {
            self.over();
            self.overdue.store(true, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Whether who waits is to be woken, since it has lasted too long.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != NOT && ticks::is_over(since, self.limit.load(Ordering::Relaxed), now)
    }

    /// Whether the call was ended since its upstream was silent for too long.
    pub(crate) fn was_overdue(&self) -> bool {
        self.overdue.load(Ordering::Relaxed)
    }

    /// Whether the connection to the upstream carried a call before.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused.load(Ordering::Relaxed)
    }
}
