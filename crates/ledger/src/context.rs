//! What every part of the ledger works with, and the lanes that it reads.

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

/// Directory, store and names: shared by shipping, recovery, verification and reports.
pub(crate) struct LedgerContext {
    pub(crate) directory: PathBuf,
    /// Whether the bytes of sealed files are kept elsewhere than in the directory.
    pub(crate) keeps_files: bool,
    /// Where they are kept, if not in the store.
    pub(crate) files: Option<Arc<dyn SealedFiles>>,
    pub(crate) node: String,
    /// Rollup rows of one transaction.
    pub(crate) rollup_rows: usize,
    pub(crate) store: BlockingStore,
    pub(crate) names: Arc<Names>,
    pub(crate) prices: Arc<Prices>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Held for writing while a file comes into the manifest or leaves it, for reading while somebody takes stock.
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
            clock: Arc::clone(&options.clock),
            manifest: RwLock::new(()),
            stats: LedgerStats::default(),
            observer: Arc::clone(&options.observer),
        })
    }

    /// What the store knows of a lane; zeros if nothing.
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

    /// Some of the manifest's lines of one lane in order, beginning with the one that holds the record after `after`.
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

/// How much of what is pending is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// All of it, for somebody who waits for that.
    UntilDone,
    /// One batch or one file, so that there can be a pause before the next.
    One,
}

/// One lane whose records are shipped.
#[derive(Clone, Debug)]
pub(crate) struct LaneSource {
    pub(crate) instance: InstanceId,
    pub(crate) lane: u32,
    pub(crate) node: String,
    pub(crate) records: Source,
}

/// Where a lane's records come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The journal of this process.
    Live(Arc<Lane>),
    /// What a dead process left: its lane, closed up to a number, and its marks without a head.
    Dead {
        instance: Arc<DeadInstance>,
        closed: u64,
        marks: Vec<CallHead>,
    },
    /// Sealed files alone: the journal is gone.
    Files,
}

impl LaneSource {
    /// Reads the lane's records after `number`.
    ///
    /// # Errors
    /// [`Error::is_missing`] where the journal does not hold them any more.
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
                // What recovery adds has numbers above the last close, which the journal knows nothing of.
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

/// Priced rows of a lane, in close order.
#[derive(Debug)]
pub(crate) struct RowReader {
    reader: ClosedReader<Reader>,
    pricer: Pricer,
}

impl RowReader {
    /// The next row; `None` at the end of what may be seen now.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, Error> {
        match self.reader.next_call()? {
            Some(call) => self.pricer.price(call).map(Some),
            None => Ok(None),
        }
    }
}
