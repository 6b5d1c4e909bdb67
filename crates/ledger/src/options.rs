//! The options of a ledger.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};
use store::SealedFiles;

use crate::stats::{LedgerObserver, NoObserver};

/// The options that a ledger is started with. [`LedgerOptions::new`] sets every default.
#[derive(Clone)]
pub struct LedgerOptions {
    /// The directory of sealed files; made if it is not there. Gates of one machine may share it.
    pub directory: PathBuf,
    /// The directory of all journal instances of this machine.
    pub journals: PathBuf,
    /// The label of this gate.
    pub node: String,
    /// The size of journal from which on a lane is sealed \[64 MiB\] …
    pub seal_bytes: u64,
    /// … and the age of its oldest unsealed record from which on it is \[1 h\].
    pub seal_every: Duration,
    /// The time between two roll-ups \[2 s\]; longer, up to 8 s, where they would take more than a
    /// tenth of the time.
    pub rollup_every: Duration,
    /// The number of rollup rows of one transaction, about \[32,768\]. With more, more calls fall
    /// into one row, and everything that the store does not do beside it waits longer.
    pub rollup_rows: usize,
    /// The age of their latest call from which on sealed files are removed; their rollups stay.
    /// `None`: never \[`None`\].
    pub retention: Option<Duration>,
    /// The time that the journal of a finished instance is kept, to be shipped again when the store
    /// is an older copy \[72 h\].
    pub keep: Duration,
    /// The bytes that journals of finished instances may take together; the oldest are removed
    /// early beyond that \[1 GiB\].
    pub keep_bytes: u64,
    /// The store of the files' bytes for all gates; `None`: the store, if that keeps files
    /// \[`None`\].
    pub files: Option<Arc<dyn SealedFiles>>,
    /// The time that a question about the present waits for a disk that is behind \[10 s\].
    pub visibility_timeout: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// An observer of what the ledger does.
    pub observer: Arc<dyn LedgerObserver>,
}

impl std::fmt::Debug for LedgerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerOptions")
            .field("directory", &self.directory)
            .field("journals", &self.journals)
            .field("node", &self.node)
            .field("seal_bytes", &self.seal_bytes)
            .field("seal_every", &self.seal_every)
            .field("rollup_every", &self.rollup_every)
            .field("rollup_rows", &self.rollup_rows)
            .field("retention", &self.retention)
            .field("keep", &self.keep)
            .field("keep_bytes", &self.keep_bytes)
            .field("visibility_timeout", &self.visibility_timeout)
            .finish_non_exhaustive()
    }
}

impl LedgerOptions {
    /// Returns the defaults, for a gate of this label.
    pub fn new(
        directory: impl Into<PathBuf>,
        journals: impl Into<PathBuf>,
        node: impl Into<String>,
    ) -> Self {
        Self {
            directory: directory.into(),
            journals: journals.into(),
            node: node.into(),
            seal_bytes: 64 << 20,
            seal_every: Duration::from_secs(3600),
            rollup_every: Duration::from_secs(2),
            rollup_rows: 32_768,
            retention: None,
            keep: Duration::from_secs(72 * 3600),
            keep_bytes: 1 << 30,
            files: None,
            visibility_timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
            observer: Arc::new(NoObserver),
        }
    }
}
