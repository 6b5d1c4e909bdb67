//! The numbers of journal and ledger, as the metrics show them.

use std::sync::Arc;
use std::time::Duration;

use ledger::Ledger;
use telemetry::{LedgerCounts, Metrics};

/// The observer of the journal's commits, which counts them.
pub(super) struct Commits(pub(super) Arc<Metrics>);

impl journal::Observer for Commits {
    fn committed(&self, _: usize, records: u64, took: Duration) {
        self.0.commit(records, took);
    }
}

/// Returns the counts of the ledger for the metrics.
pub(super) fn ledger_counts(ledger: &Ledger) -> LedgerCounts {
    let counts = ledger.counts();
    LedgerCounts {
        accepted: counts.accepted,
        stored: counts.stored,
        pending: counts.pending,
        lost: counts.lost,
        behind: counts.behind,
    }
}
