//! The state that all parts of a running journal share.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::signal::Signal;
use crate::{Options, Unavailable};

/// The state and options of the journal, without its lanes.
#[derive(Debug)]
pub(crate) struct JournalState {
    pub(crate) options: Options,
    /// The directory of the instance: `options.directory/<instance>`.
    pub(crate) directory: PathBuf,
    pub(crate) boot: u128,
    /// The signal that wakes the thread `journal-commit`.
    pub(crate) committer: Signal,
    /// Whether the committer is gathering records for the next sync, so that it need not be woken
    /// for each.
    pub(crate) gathering: AtomicBool,
    /// The signal that wakes the thread `journal-prepare`.
    pub(crate) preparer: Signal,
    health: AtomicU8,
    shortage: AtomicU8,
    pub(crate) commits: AtomicU64,
    pub(crate) failed_syncs: AtomicU64,
    /// The lock of the instance, which tells other processes that it lives. Held as long as any
    /// part of the journal.
    _lock: File,
}

const WELL: u8 = 0;
const FAILED: u8 = 1;
const STOPPING: u8 = 2;
const STOPPED: u8 = 3;

const PLENTY: u8 = 0;
const DISK_FULL: u8 = 1;
const PREPARE_FAILED: u8 = 2;

impl JournalState {
    pub(crate) fn new(options: Options, directory: PathBuf, boot: u128, lock: File) -> Self {
        Self {
            options,
            directory,
            boot,
            committer: Signal::default(),
            gathering: AtomicBool::new(false),
            preparer: Signal::default(),
            health: AtomicU8::new(WELL),
            shortage: AtomicU8::new(PLENTY),
            commits: AtomicU64::new(0),
            failed_syncs: AtomicU64::new(0),
            _lock: lock,
        }
    }

    /// Returns why no new record can be taken or waited for; `None`: it can.
    pub(crate) fn unavailable(&self) -> Option<Unavailable> {
        match self.health.load(Ordering::SeqCst) {
            WELL | STOPPING => None,
            FAILED => Some(Unavailable::Failed),
            _ => Some(Unavailable::Stopped),
        }
    }

    /// Records whether the disk fails, as the committer sees it. Never revives a journal that is
    /// stopping.
    pub(crate) fn set_failed(&self, failed: bool) {
        let (from, to) = if failed {
            (WELL, FAILED)
        } else {
            (FAILED, WELL)
        };
        let _ = self
            .health
            .compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst);
    }

    pub(crate) fn failed(&self) -> bool {
        self.health.load(Ordering::SeqCst) == FAILED
    }

    /// Asks both threads to end. Waiters keep waiting for the last sync.
    pub(crate) fn stop(&self) {
        self.health.store(STOPPING, Ordering::SeqCst);
        self.committer.wake();
        self.preparer.wake();
    }

    pub(crate) fn stopping(&self) -> bool {
        self.health.load(Ordering::SeqCst) >= STOPPING
    }

    /// Records that the last sync is done.
    pub(crate) fn set_stopped(&self) {
        self.health.store(STOPPED, Ordering::SeqCst);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.health.load(Ordering::SeqCst) == STOPPED
    }

    /// Returns why the next segment cannot be prepared; `None`: it can.
    pub(crate) fn shortage(&self) -> Option<Unavailable> {
        match self.shortage.load(Ordering::SeqCst) {
            PLENTY => None,
            DISK_FULL => Some(Unavailable::DiskFull),
            _ => Some(Unavailable::Failed),
        }
    }

    pub(crate) fn set_shortage(&self, error: Option<&std::io::Error>) {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let shortage = match error.map(std::io::Error::kind) {
            None => PLENTY,
            Some(StorageFull | QuotaExceeded) => DISK_FULL,
            Some(_) => PREPARE_FAILED,
        };
        self.shortage.store(shortage, Ordering::SeqCst);
    }

    /// Returns the size of a segment file in bytes.
    pub(crate) fn segment_bytes(&self) -> usize {
        self.options.segment_bytes as usize
    }
}

/// Returns the microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
