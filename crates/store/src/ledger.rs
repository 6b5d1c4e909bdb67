//! Rollups, positions and the manifest of sealed files.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use model::usage::{UsageKey, UsageQuery, UsageRow, UsageSums};
use model::{InstanceId, LicenseId, Timestamp};

use crate::error::Error;
use crate::files::SealedFiles;

/// How far an instance is known to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceState {
    /// The instance.
    pub id: InstanceId,
    /// Counts the instances as they registered, from 1 up, perhaps with gaps: whoever sees one sees all with smaller numbers.
    pub number: u64,
    /// The label of the gate that it was a start of.
    pub node: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When its journal had been read to its end; `None`: it lives, or is still to be recovered.
    pub finished_at: Option<Timestamp>,
}

/// Everything that the books say at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StockTaking {
    /// All instances, oldest first, with the positions of their lanes.
    pub instances: Vec<(InstanceState, Vec<LanePosition>)>,
    /// The whole manifest in order of instance, lane and range.
    pub manifest: Vec<SealedFile>,
    /// All rollups; rows of one key added up.
    pub rollups: HashMap<UsageKey, UsageSums>,
    /// As [`LedgerStore::hours_until`].
    pub hours_until: Option<Timestamp>,
    /// Of each balance its present epoch, and the units that the records so far spent in it.
    pub balances: Vec<(LicenseId, u32, u64)>,
}

impl StockTaking {
    /// Rows of rollups that are read at once.
    pub(crate) const PAGE: usize = 10_000;

    pub(crate) fn add(&mut self, rows: Vec<RollupRow>) {
        for row in rows {
            self.rollups.entry(row.key).or_default().add(&row.sums);
        }
    }
}

/// How far one lane is known, in records, counted in close order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanePosition {
    /// The lane.
    pub lane: u32,
    /// Records up to this one are in the rollups.
    pub rolled: u64,
    /// Records up to this one are in sealed files.
    pub sealed: u64,
}

/// What limited licenses spent among the records of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The license.
    pub license_id: LicenseId,
    /// Units taken from the balance, by epoch.
    pub units: Vec<(u32, u64)>,
    /// Calls that count against windows of an hour or longer, by minute (since the UNIX epoch) of their start.
    pub calls: Vec<(u32, u64)>,
}

/// Records `from + 1 ..= through` of one lane, summed up.
#[derive(Clone, Debug)]
pub struct RollupBatch {
    /// The instance.
    pub instance: InstanceId,
    /// The lane.
    pub lane: u32,
    /// The position before; it must be the store's.
    pub from: u64,
    /// The position after.
    pub through: u64,
    /// The sums, each key once.
    pub rows: Vec<(UsageKey, UsageSums)>,
    /// What to move on this instance's leases. Rows of epochs and periods that are over are ignored.
    pub spent: Vec<Spent>,
}

/// The range of the next file of a lane, written before the file so that a crashed seal is repeated with the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealIntent {
    /// The instance.
    pub instance: InstanceId,
    /// The lane.
    pub lane: u32,
    /// The record before the first.
    pub from: u64,
    /// The last record.
    pub through: u64,
}

/// A sealed file: one line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// What it covers.
    pub range: SealIntent,
    /// Its name in the ledger's directory.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Calls that they stand for.
    pub calls: u64,
    /// SHA-256 of the file.
    pub hash: [u8; 32],
    /// SHA-256 of the file before it in its lane; zeros for the first.
    pub previous: [u8; 32],
    /// Start of its earliest call.
    pub first_started_at: Timestamp,
    /// Start of its latest call.
    pub last_started_at: Timestamp,
    /// When it was sealed.
    pub sealed_at: Timestamp,
    /// When retention removed the file; its line stays.
    pub removed_at: Option<Timestamp>,
}

/// One rollup row, as verification reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupRow {
    /// What its calls have in common.
    pub key: UsageKey,
    /// Their sums.
    pub sums: UsageSums,
}

/// The ledger's part of the store.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// Registers an instance before its first record. Doing it twice does nothing more: the first word stands.
    async fn begin_instance(
        &self,
        id: InstanceId,
        node: String,
        started_at: Timestamp,
    ) -> Result<(), Error>;

    /// All instances, oldest first.
    async fn instances(&self) -> Result<Vec<InstanceState>, Error>;

    /// Up to `limit` instances with numbers above `after`, in their order.
    async fn instances_after(&self, after: u64, limit: usize) -> Result<Vec<InstanceState>, Error>;

    /// The instances with these numbers, in their order; a number that is unknown has none.
    async fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error>;

    /// Marks an instance as read to its end. The first time stands.
    async fn finish_instance(&self, id: InstanceId, at: Timestamp) -> Result<(), Error>;

    /// The positions of an instance's lanes; lanes without one are left out.
    async fn positions(&self, instance: InstanceId) -> Result<Vec<LanePosition>, Error>;

    /// Adds a batch to the rollups, moves what it spent on the leases, and moves the position: one transaction.
    ///
    /// Units beyond what the instance leased count against the balance all the same, and are logged: a store that was restored
    /// from a backup does not know later leases. If they are of a later epoch than the store's, the balance goes on in that. Calls
    /// beyond the leases of windows are clipped. Counts that leave 63 bits, and amounts that leave the range of [`model::Money`], stay
    /// at the end of the range.
    ///
    /// # Errors
    /// [`Error::Position`] if the store's position is not `from`, or `through` lies before it; nothing is done then. After
    /// [`Error::Unavailable`] the batch may have been added all the same: the position tells.
    async fn roll_up(&self, batch: RollupBatch) -> Result<(), Error>;

    /// Before this time there may be rollups of version 1, a row for each hour; after it there is a row for each quarter of an
    /// hour. `None`: there are none of version 1.
    async fn hours_until(&self) -> Result<Option<Timestamp>, Error>;

    /// Usage by the rollups that begin within the time asked for; groups in order of their fields as the query lists them, then by currency, none first. Nothing
    /// that matches: no rows.
    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, Error>;

    /// Up to `limit` rollup rows in a fixed order, after a cursor; the cursor to go on with, `None` at the end.
    async fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RollupRow>, Option<u64>), Error>;

    /// Everything at one moment, while others go on writing. Takes memory for all of it.
    async fn take_stock(&self) -> Result<StockTaking, Error>;

    /// Replaces all rollup rows (in one transaction) by these. Positions, leases and balances stay as they are.
    async fn replace_rollups(&self, rows: Vec<RollupRow>) -> Result<(), Error>;

    /// Writes down the range of the next file of a lane. Doing it twice, or after the file is in the manifest, does nothing
    /// more.
    ///
    /// # Errors
    /// [`Error::Position`] if a range with the same beginning and another end is written down, or if the records were sealed
    /// in other files.
    async fn intend_seal(&self, intent: SealIntent) -> Result<(), Error>;

    /// The ranges written down whose files are not in the manifest yet.
    async fn seal_intents(&self, instance: InstanceId) -> Result<Vec<SealIntent>, Error>;

    /// Puts a file into the manifest, forgets its intent and moves the sealed position. Doing it twice does nothing more.
    ///
    /// # Errors
    /// [`Error::Position`] if the sealed position is neither where the range begins nor where it ends.
    async fn commit_seal(&self, file: SealedFile) -> Result<(), Error>;

    /// Where this store keeps the bytes of sealed files; `None`: it does not, they lie in the ledger's directory alone.
    fn sealed_files(&self) -> Option<&dyn SealedFiles> {
        None
    }

    /// The manifest in order of instance, lane and range; only files that may hold calls started within `from..to`.
    async fn manifest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SealedFile>, Error>;

    /// Up to `limit` lines of the manifest of one lane in order, beginning with the one that holds the record after `after`.
    async fn lane_files(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SealedFile>, Error>;

    /// Up to `limit` files that retention may remove, those of the oldest calls first: not removed yet, all their records in the
    /// rollups, all their calls started before `before`.
    async fn old_files(&self, before: Timestamp, limit: usize) -> Result<Vec<SealedFile>, Error>;

    /// The lines of the manifest with these names, in no order; a name that is unknown has none.
    async fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error>;

    /// Asks all other gates to seal what they rolled up and to keep both positions where they are, until
    /// [`LedgerStore::end_freeze`] and at the longest for `lasts` by the store's clock; `false`: another has asked for that
    /// and it is not over. Asking again prolongs it.
    async fn begin_freeze(&self, by: InstanceId, lasts: Duration) -> Result<bool, Error>;

    /// Who has asked for a standstill that is not over.
    async fn frozen_by(&self) -> Result<Option<InstanceId>, Error>;

    /// Ends the standstill that this instance has asked for, if there is one.
    async fn end_freeze(&self, by: InstanceId) -> Result<(), Error>;

    /// Notes that retention removed a file. The first time stands; an unknown name is nothing to note.
    async fn mark_removed(&self, name: &str, at: Timestamp) -> Result<(), Error>;

    /// Replaces the manifest and the sealed positions by what was found in the files (rebuild). Intents of records that are
    /// in these files are forgotten.
    async fn replace_manifest(&self, files: Vec<SealedFile>) -> Result<(), Error>;
}
