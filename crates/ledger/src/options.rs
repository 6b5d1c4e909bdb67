//! What a ledger is told at its start.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};
use store::SealedFiles;

use crate::stats::{LedgerObserver, NoObserver};

/// What a ledger is told at its start. [`LedgerOptions::new`] sets every default.
#[derive(Clone)]
pub struct LedgerOptions {
    /// Where sealed files live; made if it is not there. Gates of one machine may share it.
    pub directory: PathBuf,
    /// Home of all journal instances of this machine.
    pub journals: PathBuf,
    /// The label of this gate.
    pub node: String,
    /// A lane is sealed once it holds this much journal that is not \[64 MiB\].
    pub seal_bytes: u64,
    /// … and once its oldest unsealed record may be this old \[1 h\].
    pub seal_every: Duration,
    /// Time between two roll-ups \[2 s\]; longer, up to 8 s, where they would take more than a tenth of the time.
    pub rollup_every: Duration,
    /// Rollup rows of one transaction, about \[32,768\]. The more there are, the more calls fall into one row, and the
    /// longer everything waits that the store does not do beside it.
    pub rollup_rows: usize,
    /// Sealed files whose latest call is older than this are removed; their rollups stay. `None`: never \[`None`\].
    pub retention: Option<Duration>,
    /// How long the journal of a finished instance is kept, to be shipped again when the store is an older copy \[72 h\].
    pub keep: Duration,
    /// Journals of finished instances go early, oldest first, once together they take more than so many bytes \[1 GiB\].
    pub keep_bytes: u64,
    /// Where the bytes of sealed files are kept for all gates; `None`: in the store, if that keeps files \[`None`\].
    pub files: Option<Arc<dyn SealedFiles>>,
    /// How long a question about the present waits for a disk that is behind \[10 s\].
    pub visibility_timeout: Duration,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Told of what the ledger does.
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
    /// Every default, for a gate of this label.
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
