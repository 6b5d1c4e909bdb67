//! The store of rollups, positions and the manifest of sealed files.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use model::usage::{UsageKey, UsageQuery, UsageRow, UsageSums};
use model::{AccountName, AppName, Event, InstanceId, LicenseId, Timestamp};

use crate::error::Error;
use crate::files::SealedFiles;

/// The state of an instance, which is one start of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceState {
    /// The identity of the instance.
    pub id: InstanceId,
    /// The number in the order in which instances registered, from 1 up, perhaps with gaps: a
    /// reader that sees one sees all with smaller numbers.
    pub number: u64,
    /// The label of the gate that it was a start of.
    pub node: String,
    /// The time at which it began.
    pub started_at: Timestamp,
    /// The time at which its journal had been read to its end; `None`: it lives, or is still to be
    /// recovered.
    pub finished_at: Option<Timestamp>,
}

/// The state of manifest, positions, rollups and balances at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StockTaking {
    /// All instances, oldest first, with the positions of their lanes.
    pub instances: Vec<(InstanceState, Vec<LanePosition>)>,
    /// The whole manifest in order of instance, lane and range.
    pub manifest: Vec<SealedFile>,
    /// All rollups; rows of one key added up.
    pub rollups: HashMap<UsageKey, UsageSums>,
    /// The bound of rollups of version 1, as [`LedgerStore::hours_until`] returns it.
    pub hours_until: Option<Timestamp>,
    /// The present epoch of each balance, and the units that the records so far spent in it.
    pub balances: Vec<(LicenseId, u32, u64)>,
}

impl StockTaking {
    /// The number of rollup rows that are read at once.
    pub(crate) const PAGE: usize = 10_000;

    pub(crate) fn add(&mut self, rows: Vec<RollupRow>) {
        for row in rows {
            self.rollups.entry(row.key).or_default().add(&row.sums);
        }
    }
}

/// The position of one lane, in records, counted in close order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanePosition {
    /// The lane.
    pub lane: u32,
    /// The number of the last record that is in the rollups.
    pub rolled: u64,
    /// The number of the last record that is in sealed files.
    pub sealed: u64,
}

/// The units and calls that a limited license spent in the records of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// The license.
    pub license_id: LicenseId,
    /// Units taken from the balance, by epoch.
    pub units: Vec<(u32, u64)>,
    /// Calls that count against windows of an hour or longer, by minute (since the UNIX epoch) of
    /// their start.
    pub calls: Vec<(u32, u64)>,
}

/// The sums of records `from + 1 ..= through` of one lane, and the events that follow from them.
#[derive(Clone, Debug, Default)]
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
    /// The spending to be moved on this instance's leases. Rows of epochs and periods that are over
    /// are ignored.
    pub spent: Vec<Spent>,
    /// The events of its records, in their order, for accounts that have a webhook.
    pub events: Vec<Event>,
    /// The licenses whose use in these records somebody wants to be told of, each once.
    pub watched: Vec<Watched>,
}

/// The name under which the data of an event of the ledger holds [`model::DeviceId::digest`], which
/// is all that a record knows of a device. The events that are delivered have `device` in its place,
/// if the license is bound to it.
pub const DEVICE_DIGEST: &str = "device_digest";

/// A license whose use somebody wants to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The license.
    pub license_id: LicenseId,
    /// Its account.
    pub account: AccountName,
    /// The app that was used.
    pub app: AppName,
    /// The time of the use that is told.
    pub at: Timestamp,
    /// Whether its first use is told: the store knows which is the first.
    pub first_use: bool,
    /// Whether it is told that the units of its balance go to their end: the store knows when each
    /// threshold is reached, once in an epoch.
    pub quota: bool,
}

/// The range of the next file of a lane, written before the file so that a crashed seal is repeated
/// with the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealIntent {
    /// The instance.
    pub instance: InstanceId,
    /// The lane.
    pub lane: u32,
    /// The number of the record before the first.
    pub from: u64,
    /// The number of the last record.
    pub through: u64,
}

/// A sealed file: one line of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedFile {
    /// The range of records that it holds.
    pub range: SealIntent,
    /// Its name in the ledger's directory.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The number of records in it.
    pub records: u64,
    /// The number of calls that they stand for.
    pub calls: u64,
    /// The SHA-256 of the file.
    pub hash: [u8; 32],
    /// The SHA-256 of the file before it in its lane; zeros for the first.
    pub previous: [u8; 32],
    /// The start of its earliest call.
    pub first_started_at: Timestamp,
    /// The start of its latest call.
    pub last_started_at: Timestamp,
    /// The time at which it was sealed.
    pub sealed_at: Timestamp,
    /// The time at which retention removed the file; its line stays.
    pub removed_at: Option<Timestamp>,
}

/// A rollup row, as verification reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupRow {
    /// The key that its calls have in common.
    pub key: UsageKey,
    /// The sums of its calls.
    pub sums: UsageSums,
}

/// The store of rollups, positions and the manifest.
#[async_trait]
pub trait LedgerStore: Send + Sync + 'static {
    /// Registers an instance before its first record. Doing it twice does nothing more: the first
    /// values stand.
    async fn begin_instance(
        &self,
        id: InstanceId,
        node: String,
        started_at: Timestamp,
    ) -> Result<(), Error>;

    /// Returns all instances, oldest first.
    async fn instances(&self) -> Result<Vec<InstanceState>, Error>;

    /// Returns up to `limit` instances with numbers above `after`, in their order.
    async fn instances_after(&self, after: u64, limit: usize) -> Result<Vec<InstanceState>, Error>;

    /// Returns the instances with these numbers, in their order; unknown numbers are left out.
    async fn instances_numbered(&self, numbers: Vec<u64>) -> Result<Vec<InstanceState>, Error>;

    /// Marks an instance as read to its end. The first time stands.
    async fn finish_instance(&self, id: InstanceId, at: Timestamp) -> Result<(), Error>;

    /// Returns the positions of an instance's lanes; lanes without one are left out.
    async fn positions(&self, instance: InstanceId) -> Result<Vec<LanePosition>, Error>;

    /// Adds a batch to the rollups, moves its spending on the leases, writes its events down for
    /// webhooks, with those that follow from its watched licenses, and moves the position: one
    /// transaction. A threshold that is only known to be passed when the next epoch has begun is
    /// not told.
    ///
    /// Units beyond the instance's leases count against the balance all the same, and are logged: a
    /// store that was restored from a backup does not know later leases. If they are of a later
    /// epoch than the store's, the balance goes on in that. Calls beyond the leases of windows are
    /// clipped. Counts that leave 63 bits, and amounts that leave the range of [`model::Money`],
    /// stay at the end of the range.
    ///
    /// # Errors
    /// [`Error::Position`] if the store's position is not `from`, or `through` lies before it;
    /// nothing is done then. After [`Error::Unavailable`] the batch may have been added all the
    /// same: the position shows it.
    async fn roll_up(&self, batch: RollupBatch) -> Result<(), Error>;

    /// Returns the time before which there may be rollups of version 1, a row for each hour; after
    /// it there is a row for each quarter of an hour. `None`: there are none of version 1.
    async fn hours_until(&self) -> Result<Option<Timestamp>, Error>;

    /// Returns usage by the rollups that begin within the query's time; groups in order of their
    /// fields as the query lists them, then by currency, none first. If nothing matches, there are
    /// no rows.
    async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, Error>;

    /// Returns up to `limit` rollup rows in a fixed order, after a cursor, and the cursor to go on
    /// with, `None` at the end.
    async fn rollups(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<RollupRow>, Option<u64>), Error>;

    /// Returns everything as of one moment, while other processes go on writing. It takes memory
    /// for all of it.
    async fn take_stock(&self) -> Result<StockTaking, Error>;

    /// Replaces all rollup rows by these, in one transaction. Positions, leases and balances stay
    /// as they are.
    async fn replace_rollups(&self, rows: Vec<RollupRow>) -> Result<(), Error>;

    /// Writes down the range of the next file of a lane. Doing it twice, or after the file is in
    /// the manifest, does nothing more.
    ///
    /// # Errors
    /// [`Error::Position`] if a range with the same beginning and another end is written down, or
    /// if the records were sealed in other files.
    async fn intend_seal(&self, intent: SealIntent) -> Result<(), Error>;

    /// Returns the ranges that are written down and whose files are not in the manifest yet.
    async fn seal_intents(&self, instance: InstanceId) -> Result<Vec<SealIntent>, Error>;

    /// Puts a file into the manifest, forgets its intent and moves the sealed position. Doing it
    /// twice does nothing more.
    ///
    /// # Errors
    /// [`Error::Position`] if the sealed position is neither where the range begins nor where it
    /// ends.
    async fn commit_seal(&self, file: SealedFile) -> Result<(), Error>;

    /// Returns this store's part that keeps the bytes of sealed files; `None`: it keeps none, they
    /// are in the ledger's directory alone.
    fn sealed_files(&self) -> Option<&dyn SealedFiles> {
        None
    }

    /// Returns the manifest in order of instance, lane and range; only files that may hold calls
    /// started within `from..to`.
    async fn manifest(
        &self,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SealedFile>, Error>;

    /// Returns up to `limit` lines of the manifest of one lane in order, beginning with the one
    /// that holds the record after `after`.
    async fn lane_files(
        &self,
        instance: InstanceId,
        lane: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SealedFile>, Error>;

    /// Returns up to `limit` files that retention may remove, those of the oldest calls first: not
    /// removed yet, all their records in the rollups, all their calls started before `before`.
    async fn old_files(&self, before: Timestamp, limit: usize) -> Result<Vec<SealedFile>, Error>;

    /// Returns the lines of the manifest with these names, in no order; unknown names are left out.
    async fn files_named(&self, names: Vec<String>) -> Result<Vec<SealedFile>, Error>;

    /// Asks all other gates to seal what they rolled up and to keep both positions where they are,
    /// until [`LedgerStore::end_freeze`] and at the longest for `lasts` by the store's clock.
    /// Returns `false` if another instance has asked for a freeze that is not over. Asking again
    /// prolongs it.
    async fn begin_freeze(&self, by: InstanceId, lasts: Duration) -> Result<bool, Error>;

    /// Returns the instance that has asked for a freeze that is not over.
    async fn frozen_by(&self) -> Result<Option<InstanceId>, Error>;

    /// Ends the freeze that this instance has asked for, if there is one.
    async fn end_freeze(&self, by: InstanceId) -> Result<(), Error>;

    /// Records that retention removed a file. The first time stands; an unknown name is ignored.
    async fn mark_removed(&self, name: &str, at: Timestamp) -> Result<(), Error>;

    /// Replaces the manifest and the sealed positions by those that were found in the files
    /// (rebuild). Intents of records that are in these files are forgotten.
    async fn replace_manifest(&self, files: Vec<SealedFile>) -> Result<(), Error>;
}
