//! Segments of a lane, shared by writer, committer and readers.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::format::{self, HEADER_BYTES, Header};
use crate::map::Map;

/// A begun segment. Its bytes are written through the lane's writer alone.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// The lane position of the first frame.
    pub(crate) start: u64,
    /// The number of closes in the segments before.
    pub(crate) closed_before: u64,
    pub(crate) salt: u32,
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) map: Arc<Map>,
    /// Set once, when the lane moves on to the next segment.
    pub(crate) passed: OnceLock<Passed>,
    /// Whether a sync of this file failed: what the disk holds of it is unknown, and another sync
    /// could succeed without meaning anything.
    poisoned: AtomicBool,
    /// Whether another file has taken this one's place, with the same bytes at the same offsets.
    replaced: AtomicBool,
}

/// The end of a passed segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed {
    /// The lane position behind the last frame.
    pub(crate) end: u64,
    /// The number of closes up to there.
    pub(crate) closed: u64,
    pub(crate) at: Instant,
}

impl Segment {
    pub(crate) fn new(header: &Header, path: PathBuf, file: File, map: Arc<Map>) -> Self {
        Self {
            number: header.number,
            start: header.start,
            closed_before: header.closed,
            salt: format::salt(header.instance, header.lane, header.number),
            path,
            file,
            map,
            passed: OnceLock::new(),
            poisoned: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }

    /// Returns the same segment in another file.
    pub(crate) fn in_place_of(&self, file: File, map: Arc<Map>) -> Self {
        Self {
            number: self.number,
            start: self.start,
            closed_before: self.closed_before,
            salt: self.salt,
            path: self.path.clone(),
            file,
            map,
            passed: self.passed.clone(),
            poisoned: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
        }
    }

    /// Returns the lane position behind the last frame of a passed segment; `None`: the segment is
    /// the current one.
    pub(crate) fn end(&self) -> Option<u64> {
        self.passed.get().map(|passed| passed.end)
    }

    /// Returns the offset in the file of a lane position.
    pub(crate) fn offset_of(&self, position: u64) -> usize {
        HEADER_BYTES + position.saturating_sub(self.start) as usize
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }

    pub(crate) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    pub(crate) fn replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}
