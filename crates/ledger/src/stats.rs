//! The measurements of the ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An observer of what the ledger does; the defaults do nothing. It is called from the ledger's
/// threads: be quick.
pub trait LedgerObserver: Send + Sync + 'static {
    /// Is called when `records` were added to the rollups in one transaction that took `took`, with
    /// their reading and summing.
    fn rolled_up(&self, records: u64, took: Duration) {
        let _ = (records, took);
    }

    /// Is called when `records` were sealed in a file of `bytes`, which took `took`.
    fn sealed(&self, records: u64, bytes: u64, took: Duration) {
        let _ = (records, bytes, took);
    }

    /// Is called when a roll-up or a seal failed, which will be tried again.
    fn failed(&self) {}
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl LedgerObserver for NoObserver {}

/// The counts of the present instance, in records; [`Ledger::counts`](crate::Ledger::counts)
/// returns them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that are closed in the journal.
    pub accepted: u64,
    /// Records that are in the rollups.
    pub stored: u64,
    /// Records that are closed and not yet in the rollups.
    pub pending: u64,
    /// Records that a verification or a roll-up found missing; this only grows, whatever is mended
    /// later.
    pub lost: u64,
    /// Records of earlier starts that are not yet in the rollups; they are in none of the other
    /// counts.
    pub behind: u64,
}

/// The counters since the start.
#[derive(Debug, Default)]
pub struct LedgerStats {
    /// The largest number that a verification found missing.
    lost_in_verification: AtomicU64,
    /// The number that roll-ups found gone.
    lost_in_roll_ups: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) files: AtomicU64,
}

impl LedgerStats {
    /// Returns the number that is known to be lost: the larger of the two counters. A verification
    /// counts what roll-ups found as well, so it is not their sum.
    pub(crate) fn lost(&self) -> u64 {
        let counted = self.lost_in_verification.load(Ordering::Relaxed);
        counted.max(self.lost_in_roll_ups.load(Ordering::Relaxed))
    }

    /// Records the number that a verification found missing.
    pub(crate) fn counted_lost(&self, records: u64) {
        self.lost_in_verification
            .fetch_max(records, Ordering::Relaxed);
    }

    /// Adds records that a roll-up found gone.
    pub(crate) fn found_gone(&self, records: u64) {
        self.lost_in_roll_ups.fetch_add(records, Ordering::Relaxed);
    }

    /// Returns the number of roll-ups and seals that failed and were tried again.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the number of files that were sealed.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_to_be_lost_only_grows_and_is_not_counted_twice() {
        let stats = LedgerStats::default();
        stats.found_gone(2);
        stats.found_gone(3);
        assert_eq!(stats.lost(), 5);
        // A verification finds those five as well, and two more.
        stats.counted_lost(7);
        assert_eq!(stats.lost(), 7);
        stats.counted_lost(0);
        assert_eq!(stats.lost(), 7, "healed, and still shown");
    }
}
