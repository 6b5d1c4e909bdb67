//! The errors of the journal.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to create, read or remove a journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of its range. The caller's fault.
    #[error("journal option `{name}` {problem}")]
    Option {
        /// The field of [`Options`](crate::Options).
        name: &'static str,
        /// The values that are allowed.
        problem: &'static str,
    },
    /// Another process, or another handle of this one, has the instance open. The caller's fault.
    #[error("journal {} is in use by a running process: stop that process first", path.display())]
    Locked {
        /// The instance's directory.
        path: PathBuf,
    },
    /// A directory of this instance id exists. Instance ids must never be used twice.
    #[error("journal {} exists already: every start needs a fresh instance id", path.display())]
    Exists {
        /// The instance's directory.
        path: PathBuf,
    },
    /// The path does not name an instance directory. The caller's fault.
    #[error("{} is not a journal instance: give a directory named by 32 hex digits", path.display())]
    NotAnInstance {
        /// The path as given.
        path: PathBuf,
    },
    /// The system refused an operation on a file: a full or failing disk, or missing permissions.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The operation.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Bytes in the middle of a lane are not those that were written: the disk or another program
    /// changed them.
    #[error("journal segment {} is damaged at byte {offset}: {what}; restore the file from a copy", path.display())]
    Corrupt {
        /// The segment.
        path: PathBuf,
        /// The offset in the file.
        offset: u64,
        /// The contradiction that was found.
        what: &'static str,
    },
    /// A segment that the lane needs is gone: deleted by another program, or recycled because it
    /// had been released.
    #[error("journal segment {} is missing: restore it, or start reading at a later number", path.display())]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The file was written by a newer release, which this one must not touch.
    #[error("{} has format version {found}, this release reads up to {known}: use the newer release", path.display())]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version of the file.
        found: u32,
        /// The newest version that this release reads.
        known: u32,
    },
    /// The instance has no such lane. The caller's fault.
    #[error("journal {} has no lane {lane}", path.display())]
    NoLane {
        /// The instance's directory.
        path: PathBuf,
        /// The number of the lane.
        lane: usize,
    },
}

impl Error {
    /// Returns a conversion for `map_err` that names the operation and the file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The reason why the journal takes no record now. Refuse the call; every cause but
/// [`Stopped`](Self::Stopped) heals by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The disk is too slow to prepare segments as fast as they fill.
    #[error("the journal's next segment is not ready yet: retry, or use a faster disk")]
    Behind,
    /// More frames are open or reserved in this lane than a segment can carry.
    #[error(
        "too many calls are open in this journal lane: raise the segment size or the number of lanes"
    )]
    Crowded,
    /// The dictionary has no room for the symbol: its number, its length or the total size is above
    /// the limit.
    #[error("the journal lane's dictionary is full: raise the segment size")]
    DictionaryFull,
    /// No space is left on the journal's disk.
    #[error("no space left for the journal: free some space")]
    DiskFull,
    /// The disk refuses to store. Tried again every second, on a fresh file.
    #[error("the journal's disk fails: see the log, check the disk")]
    Failed,
    /// The journal was shut down.
    #[error("the journal is shut down")]
    Stopped,
}
