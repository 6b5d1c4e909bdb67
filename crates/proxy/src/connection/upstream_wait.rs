//! The time for which the call of a connection has been waiting for its upstream.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::ticks;

/// The wait for the upstream, one per connection of a caller, for one call after the other. Only
/// one thread uses it; the atomics make it `Sync`.
#[derive(Debug)]
pub(crate) struct UpstreamWait {
    /// The tick in which the wait began; [`UNSET`]: nothing is awaited.
    since: AtomicU64,
    /// The ticks that a wait may last.
    limit: AtomicU64,
    /// Whether a wait lasted longer.
    overdue: AtomicBool,
    /// Whether the connection to the upstream carried a call before.
    reused: AtomicBool,
    /// The state of the answer's head: [`AWAITED`], [`COMING`] or [`WHOLE`].
    head: AtomicU8,
}

/// The state of a head of which no byte was received.
const AWAITED: u8 = 0;
/// The state of a head whose first byte was received.
const COMING: u8 = 1;
/// The state of a head that was received whole.
const WHOLE: u8 = 2;

const UNSET: u64 = u64::MAX;

impl Default for UpstreamWait {
    fn default() -> Self {
        Self {
            since: AtomicU64::new(UNSET),
            limit: AtomicU64::new(UNSET),
            overdue: AtomicBool::new(false),
            reused: AtomicBool::new(false),
            head: AtomicU8::new(AWAITED),
        }
    }
}

impl UpstreamWait {
    /// Notes that a call has its connection to the upstream, whose silence may last `limit` ticks.
    pub(crate) fn connected(&self, reused: bool, limit: u64) {
        self.since.store(UNSET, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
        self.overdue.store(false, Ordering::Relaxed);
        self.reused.store(reused, Ordering::Relaxed);
        self.head.store(AWAITED, Ordering::Relaxed);
    }

    /// Lets the upstream be silent without limit from now on.
    pub(crate) fn has_no_end(&self) {
        self.limit.store(UNSET, Ordering::Relaxed);
    }

    /// Notes received bytes. Those of a head, but for the first, do not restart the wait: a head
    /// that comes drop by drop may take no longer than silence.
    pub(crate) fn bytes_received(&self, now: u64) {
        match self.head.load(Ordering::Relaxed) {
            AWAITED => {
                self.head.store(COMING, Ordering::Relaxed);
                self.since.store(now, Ordering::Relaxed);
            }
            COMING => {}
            _ => self.over(),
        }
    }

    /// Notes that a head was received whole. After an informational one, another is awaited.
    pub(crate) fn head_received(&self, is_final: bool) {
        let next = if is_final { WHOLE } else { AWAITED };
        self.head.store(next, Ordering::Relaxed);
        self.over();
    }

    /// Notes sent bytes: the wait restarts, unless a head is being received.
    pub(crate) fn bytes_sent(&self) {
        if self.head.load(Ordering::Relaxed) != COMING {
            self.over();
        }
    }

    /// Ends the wait. The next one begins when the upstream is asked again.
    pub(crate) fn over(&self) {
        self.since.store(UNSET, Ordering::Relaxed);
    }

    /// Begins or continues a wait. Returns whether it has lasted too long.
    pub(crate) fn lasts_too_long(&self, now: u64) -> bool {
        if self.since.load(Ordering::Relaxed) == UNSET {
            self.since.store(now, Ordering::Relaxed);
        } else if self.is_due(now) {
            self.over();
            self.overdue.store(true, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Returns whether the wait has lasted too long, so that its task must be woken.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != UNSET && ticks::is_over(since, self.limit.load(Ordering::Relaxed), now)
    }

    /// Returns whether the call was ended because its upstream was silent for too long.
    pub(crate) fn was_overdue(&self) -> bool {
        self.overdue.load(Ordering::Relaxed)
    }

    /// Returns whether the connection to the upstream carried a call before.
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
        wait.bytes_received(9);
        for now in 10..=19 {
            wait.bytes_sent();
            wait.bytes_received(now);
            assert!(!wait.lasts_too_long(now), "{now}");
        }
        assert!(wait.is_due(20) && wait.lasts_too_long(20));
        wait.connected(true, 10);
        wait.bytes_received(30);
        wait.head_received(false);
        wait.bytes_received(35);
        assert!(!wait.is_due(45) && wait.is_due(46), "the next head");
        wait.head_received(true);
        for now in (50..100).step_by(5) {
            wait.bytes_received(now);
            assert!(!wait.lasts_too_long(now), "a body may drip");
        }
    }
}
