//! What can be measured of the ledger.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Told of what the ledger does; the defaults do nothing. Called from the ledger's threads: be quick.
pub trait LedgerObserver: Send + Sync + 'static {
    /// `records` came into the rollups, in one transaction that took `took`, their reading and summing included.
    fn rolled_up(&self, records: u64, took: Duration) {
        let _ = (records, took);
    }

    /// `records` were sealed in a file of `bytes`, which took `took`.
    fn sealed(&self, records: u64, bytes: u64, took: Duration) {
        let _ = (records, bytes, took);
    }

    /// A roll-up or a seal failed and will be tried again.
    fn failed(&self) {}
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl LedgerObserver for NoObserver {}

/// Counts of the present instance, in records; what [`Ledger::counts`](crate::Ledger::counts) returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Closed in the journal.
    pub accepted: u64,
    /// In the rollups.
    pub stored: u64,
    /// Closed and not yet in the rollups.
    pub pending: u64,
    /// Found missing by a verification or a roll-up; this only grows, whatever is healed later.
    pub lost: u64,
    /// Left by earlier starts and not yet in the rollups; in none of the others.
    pub behind: u64,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct LedgerStats {
    /// The most that a verification found missing.
    lost_by_count: AtomicU64,
    /// What roll-ups found gone.
    lost_on_the_way: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) files: AtomicU64,
}

impl LedgerStats {
    /// The most that is known to be lost. A verification counts what roll-ups found as well: so not their sum.
    pub(crate) fn lost(&self) -> u64 {
        let counted = self.lost_by_count.load(Ordering::Relaxed);
        counted.max(self.lost_on_the_way.load(Ordering::Relaxed))
    }

    /// Notes what a verification found missing.
    pub(crate) fn counted_lost(&self, records: u64) {
        self.lost_by_count.fetch_max(records, Ordering::Relaxed);
    }

    /// Notes further records that a roll-up found gone.
    pub(crate) fn found_gone(&self, records: u64) {
        self.lost_on_the_way.fetch_add(records, Ordering::Relaxed);
    }

    /// Roll-ups and seals that failed and were tried again.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Files that were sealed.
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
