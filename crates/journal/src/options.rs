//! The options of a journal, and its observer.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, marks};

/// The durability that a record must have before readers may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Readers see records that a power cut cannot take back. The default.
    Disk,
    /// Readers see records that `kill -9` cannot take back: all that are written. The disk is
    /// synced only for those who wait, when a segment is passed, and at shutdown.
    Process,
}

/// The options with which a journal is created. [`Options::new`] sets every default.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of all instances. This one lives in `directory/<instance as 32 hex digits>/`.
    pub directory: PathBuf,
    /// The random id of this process start, never used twice.
    pub instance: u128,
    /// The number of lanes, 1 to 1,024; usually one for each worker thread.
    pub lanes: usize,
    /// The size of a segment file, 64 KiB to 1 GiB, a multiple of 4 KiB \[16 MiB\].
    pub segment_bytes: u32,
    /// The number of calls that may be marked as in flight at one time, up to 4,194,304 \[65,536\].
    pub mark_slots: u32,
    /// The durability of what readers may see \[`Sync::Disk`\].
    pub sync: Sync,
    /// The longest time that a sync is put off so that more records share it \[4 ms\]. It is
    /// reached when 32 or more shared the last sync, and in proportion when fewer did. No caller
    /// waits for others that are not on the way.
    pub commit_window: Duration,
    /// The longest time after which records are synced that nobody waits for \[100 ms\].
    pub tail_sync_interval: Duration,
    /// The time for which a passed and released segment is kept \[72 h\].
    pub keep: Duration,
    /// The size of all passed segments together beyond which released ones are removed early,
    /// oldest first \[1 GiB\].
    pub keep_bytes: u64,
}

/// An observer of commits, which does nothing by default. Called from the committer's thread, so it
/// must be quick.
pub trait Observer: Send + std::marker::Sync {
    /// Called when `records` frames of `lane` became durable by one sync that took `took`.
    fn committed(&self, lane: usize, records: u64, took: Duration) {
        let _ = (lane, records, took);
    }
}

/// The observer that does nothing.
pub(crate) struct Unobserved;

impl Observer for Unobserved {}

impl Options {
    /// Returns the default options for an instance under `directory`.
    pub fn new(directory: impl Into<PathBuf>, instance: u128, lanes: usize) -> Self {
        Self {
            directory: directory.into(),
            instance,
            lanes,
            segment_bytes: 16 << 20,
            mark_slots: 65_536,
            sync: Sync::Disk,
            commit_window: Duration::from_millis(4),
            tail_sync_interval: Duration::from_millis(100),
            keep: Duration::from_secs(72 * 3600),
            keep_bytes: 1 << 30,
        }
    }

    /// Returns the bytes that a journal takes when it is created: a segment for each lane, one to
    /// spare, and the table of marks.
    #[must_use]
    pub fn first_bytes(&self) -> u64 {
        let segments = self.lanes as u64 + 1;
        segments * u64::from(self.segment_bytes) + marks::file_bytes(self.mark_slots)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let option = |name, problem| Err(Error::Option { name, problem });
        if !(1..=1024).contains(&self.lanes) {
            return option("lanes", "must be 1 to 1,024");
        }
        if !(64 << 10..=1 << 30).contains(&self.segment_bytes)
            || !self.segment_bytes.is_multiple_of(4096)
        {
            return option(
                "segment_bytes",
                "must be 64 KiB to 1 GiB and a multiple of 4 KiB",
            );
        }
        if !(1..=1 << 22).contains(&self.mark_slots) {
            return option("mark_slots", "must be 1 to 4,194,304");
        }
        if self.commit_window > Duration::from_secs(1) {
            return option("commit_window", "must be at most a second");
        }
        if self.tail_sync_interval.is_zero() {
            return option("tail_sync_interval", "must be above zero");
        }
        Ok(())
    }
}
