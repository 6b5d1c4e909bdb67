//! How long the call of a connection has been waiting for its upstream.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

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
    /// How far the head of the answer has come.
    head: AtomicU8,
}

/// Nothing of it has come.
const AWAITED: u8 = 0;
/// Its first byte has.
const COMING: u8 = 1;
/// It is whole.
const WHOLE: u8 = 2;

const NOT: u64 = u64::MAX;

impl Default for UpstreamWait {
    fn default() -> Self {
        Self {
            since: AtomicU64::new(NOT),
            limit: AtomicU64::new(NOT),
            overdue: AtomicBool::new(false),
            reused: AtomicBool::new(false),
            head: AtomicU8::new(AWAITED),
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
        self.head.store(AWAITED, Ordering::Relaxed);
    }

    /// From now on the upstream may be silent for as long as it likes.
    pub(crate) fn has_no_end(&self) {
        self.limit.store(NOT, Ordering::Relaxed);
    }

    /// Bytes came. Those of a head, but for the first, do not begin the wait anew: a head that drips takes no longer than silence.
    pub(crate) fn bytes_came(&self, now: u64) {
        match self.head.load(Ordering::Relaxed) {
            AWAITED => {
                self.head.store(COMING, Ordering::Relaxed);
                self.since.store(now, Ordering::Relaxed);
            }
            COMING => {}
            _ => self.over(),
        }
    }

    /// A head has come whole; after an informational one, another is awaited.
    pub(crate) fn head_came(&self, is_final: bool) {
        let next = if is_final { WHOLE } else { AWAITED };
        self.head.store(next, Ordering::Relaxed);
        self.over();
    }

    /// Bytes went: the next wait begins anew, unless a head is coming.
    pub(crate) fn bytes_went(&self) {
        if self.head.load(Ordering::Relaxed) != COMING {
            self.over();
        }
    }

    /// Nothing is waited for: the next wait begins anew.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_drips_is_waited_for_no_longer_than_silence() {
        let wait = UpstreamWait::default();
        wait.connected(false, 10);
        assert!(!wait.lasts_too_long(0) && !wait.is_due(10));
        wait.bytes_came(9);
        for now in 10..=19 {
            wait.bytes_went();
            wait.bytes_came(now);
            assert!(!wait.lasts_too_long(now), "{now}");
        }
        assert!(wait.is_due(20) && wait.lasts_too_long(20));
        wait.connected(true, 10);
        wait.bytes_came(30);
        wait.head_came(false);
        wait.bytes_came(35);
        assert!(!wait.is_due(45) && wait.is_due(46), "the next head");
        wait.head_came(true);
        for now in (50..100).step_by(5) {
            wait.bytes_came(now);
            assert!(!wait.lasts_too_long(now), "a body may drip");
        }
    }
}
