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
    /// In the rollups' range, but found missing by a verification or a roll-up.
    pub lost: u64,
}

/// Counters since the start.
#[derive(Debug, Default)]
pub struct LedgerStats {
    pub(crate) lost: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) files: AtomicU64,
}

impl LedgerStats {
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
