//! The context that every part of the ledger works with, and the lanes that it reads.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use journal::{DeadInstance, Lane, Reader};
use model::{CallHead, Clock, InstanceId};
use store::{LanePosition, SealedFile, SealedFiles, Store};
use tokio::runtime::Handle;

use crate::closed::ClosedReader;
use crate::error::Error;
use crate::names::Names;
use crate::options::LedgerOptions;
use crate::prices::{BlockingStore, Pricer, Prices};
use crate::row::Row;
use crate::stats::{LedgerObserver, LedgerStats};
use crate::wanted::WantedCache;

/// The directory, store, names, prices and counters that roll-ups, seals, recovery, verification
/// and reports share.
pub(crate) struct LedgerContext {
    pub(crate) directory: PathBuf,
    /// Whether the bytes of sealed files are also kept elsewhere than in the directory.
    pub(crate) keeps_files: bool,
    /// The store of the files' bytes; `None`: the store, if it keeps files.
    pub(crate) files: Option<Arc<dyn SealedFiles>>,
    pub(crate) node: String,
    /// The number of rollup rows in one transaction.
    pub(crate) rollup_rows: usize,
    pub(crate) store: BlockingStore,
    pub(crate) names: Arc<Names>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) wanted: WantedCache,
    pub(crate) clock: Arc<dyn Clock>,
    /// A lock that is held for writing while a file comes into the manifest or leaves it, and for
    /// reading while somebody takes stock.
    pub(crate) manifest: RwLock<()>,
    pub(crate) stats: LedgerStats,
    pub(crate) observer: Arc<dyn LedgerObserver>,
}

impl LedgerContext {
    pub(crate) fn new(
        options: &LedgerOptions,
        store: Arc<dyn Store>,
        runtime: Handle,
    ) -> Result<Self, Error> {
        let directory = options.directory.clone();
        std::fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        let keeps_files = options.files.is_some() || store.sealed_files().is_some();
        let store = BlockingStore::new(store, runtime);
        let names = Arc::new(Names::default());
        Ok(Self {
            directory,
            keeps_files,
            files: options.files.clone(),
            node: options.node.clone(),
            rollup_rows: options.rollup_rows.max(1),
            prices: Arc::new(Prices::new(store.clone(), Arc::clone(&names))),
            store,
            names,
            wanted: WantedCache::default(),
            clock: Arc::clone(&options.clock),
            manifest: RwLock::new(()),
            stats: LedgerStats::default(),
            observer: Arc::clone(&options.observer),
        })
    }

    /// Returns the position of a lane in the store; zeros if there is none.
    pub(crate) fn position(&self, instance: InstanceId, lane: u32) -> Result<LanePosition, Error> {
        let positions = self
            .store
            .ask(|store| async move { store.positions(instance).await })?;
        let found = positions.into_iter().find(|position| position.lane == lane);
        Ok(found.unwrap_or(LanePosition {
            lane,
            rolled: 0,
            sealed: 0,
        }))
    }

    /// Returns up to 64 of the manifest's lines of one lane in order, beginning with the one that
    /// holds the record after `after`.
    pub(crate) fn files_after(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
    ) -> Result<Vec<SealedFile>, Error> {
        const BATCH_SIZE: usize = 64;
        self.store
            .ask(|store| async move { store.lane_files(instance, lane, after, BATCH_SIZE).await })
    }
}

/// The amount of pending work that one step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// All pending work, for a caller that waits for it.
    UntilDone,
    /// One batch or one file, so that the caller can pause before the next.
    One,
}

/// A lane whose records are read: rolled up, sealed, listed or verified.
#[derive(Clone, Debug)]
pub(crate) struct LaneSource {
    pub(crate) instance: InstanceId,
    pub(crate) lane: u32,
    pub(crate) node: String,
    pub(crate) records: Source,
}

/// The place that a lane's records are read from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The journal of this process.
    Live(Arc<Lane>),
    /// The journal of a dead process: its lane, closed up to a number, and its marks without a
    /// head.
    Dead {
        instance: Arc<DeadInstance>,
        closed: u64,
        marks: Vec<CallHead>,
    },
    /// Sealed files alone: the journal is gone.
    Files,
}

impl LaneSource {
    /// Returns a reader of the lane's records after `number`; `None` where there is no journal.
    ///
    /// # Errors
    /// Returns [`Error::is_missing`] where the journal does not hold them any more.
    pub(crate) fn rows_from(
        &self,
        context: &LedgerContext,
        number: u64,
    ) -> Result<Option<RowReader>, Error> {
        let names = Arc::clone(&context.names);
        let (instance, lane) = (self.instance, self.lane);
        let reader = match &self.records {
            Source::Live(source) => {
                let entries = source.reader_from(number)?;
                ClosedReader::live(entries, names, instance, lane, number)
            }
            Source::Dead {
                instance: dead,
                closed,
                marks,
            } => {
                // Recovery adds records with numbers above the last close. The journal does not
                // have those.
                let base = number.min(*closed);
                let entries = dead.reader_from(lane as usize, base)?;
                ClosedReader::dead(entries, names, instance, lane, base, number, marks.clone())
            }
            Source::Files => return Ok(None),
        };
        Ok(Some(RowReader {
            reader,
            pricer: Pricer::new(Arc::clone(&context.prices)),
        }))
    }
}

/// A reader of priced rows of a lane, in close order.
#[derive(Debug)]
pub(crate) struct RowReader {
    reader: ClosedReader<Reader>,
    pricer: Pricer,
}

impl RowReader {
    /// Returns the next row; `None` at the end of what is visible now.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, Error> {
        match self.reader.next_call()? {
            Some(call) => self.pricer.price(call).map(Some),
            None => Ok(None),
        }
    }
}
