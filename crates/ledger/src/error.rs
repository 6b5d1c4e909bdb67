//! The errors of the ledger.

use std::io;
use std::path::{Path, PathBuf};

use model::record::DecodeRecordError;
use model::system::in_words;
use model::{InstanceId, PlanRevisionId};

/// An error of the ledger; each variant says whose doing it is. None loses a record: records that
/// could not be shipped stay in the journal, and are tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store is out of reach, or refuses. Blame: us.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The journal cannot be read: damaged, missing, or in use. Blame: the disk or a stranger.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A file or directory of the ledger cannot be used: a full or failing disk, missing
    /// permissions. Blame: us.
    #[error("cannot {what} {}: {}", path.display(), in_words(source))]
    Io {
        /// The operation that was attempted.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Records of calls that have ended cannot be read yet, for readers see what no power cut can
    /// take back. Blame: the disk.
    #[error(
        "the journal's disk does not take the records of calls that have ended in time, so that they would be missing: try again, and \
         look at the disk if it stays so"
    )]
    Behind,
    /// A record in the journal that does not parse. Blame: us, or a newer version wrote it.
    #[error("record {number} of lane {lane} of {instance} cannot be read: {source}")]
    Record {
        /// The instance.
        instance: InstanceId,
        /// The lane.
        lane: u32,
        /// Its close number; 0 where it is not closed yet.
        number: u64,
        /// The error of its parser.
        source: DecodeRecordError,
    },
    /// The journal's entries do not fit together. Blame: us.
    #[error("lane {lane} of {instance} is inconsistent at record {number}: {what}")]
    Inconsistent {
        /// The instance.
        instance: InstanceId,
        /// The lane.
        lane: u32,
        /// The close number.
        number: u64,
        /// The inconsistency.
        what: &'static str,
    },
    /// Calls name a plan revision that the store does not have; they cannot be priced. Blame: us,
    /// or a store restored from an old copy: start the gate once with the plans of that time.
    #[error(
        "the store has no plan revision {0}: start once with the plans that were in force then"
    )]
    PlanUnknown(PlanRevisionId),
    /// A sealed file was written by a newer version. Nobody's fault.
    #[error("{} has ledger format {found}, this program reads up to {known}: use a newer tallygate", path.display())]
    NewerFile {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program reads.
        known: u32,
    },
    /// A sealed file is not what was written. Blame: the disk or a stranger.
    #[error("sealed file {} is damaged: {what}; restore it from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part that does not fit.
        what: String,
    },
    /// Records are neither in the journal nor in sealed files. Blame: the disk or a stranger.
    #[error(
        "records {from} to {through} of lane {lane} of {instance} are gone: neither journal nor sealed files hold them"
    )]
    Gone {
        /// The instance.
        instance: InstanceId,
        /// The lane.
        lane: u32,
        /// The first of the records.
        from: u64,
        /// The last of the records.
        through: u64,
    },
    /// The bound of a usage question lies between two rollups, and the records there are gone.
    /// Blame: the caller.
    #[error(
        "retention has removed records between {from} and {to}, so that only whole quarters of an hour are known: ask with times \
         at :00, :15, :30 or :45 (before the update to quarters: at :00)"
    )]
    Removed {
        /// The start of the part that only records know.
        from: model::Timestamp,
        /// The end of that part.
        to: model::Timestamp,
    },
    /// Retention removed records that a follower had not read. Blame: the caller, who asked too
    /// late.
    #[error(
        "retention removed records {from} to {through} of lane {lane} of {instance} before they were read: begin anew without \
         `cursor`, with `from` for what is known already; `GET /usage` still counts them"
    )]
    RemovedAhead {
        /// The instance.
        instance: InstanceId,
        /// The lane.
        lane: u32,
        /// The first of the records.
        from: u64,
        /// The last of the records.
        through: u64,
    },
    /// The store does not know the instance that a cursor names. Blame: the caller, or a store that
    /// was restored.
    #[error(
        "this cursor is of another store, or of this one before it was restored from a backup: begin anew without `cursor`, with \
         `from` for what is known already"
    )]
    CursorUnknown,
    /// An export could not be written. Blame: its reader, or the disk.
    #[error("cannot write the export: {}", in_words(.0))]
    Export(io::Error),
    /// A fail point returned it. Only in tests.
    #[error("stopped by fail point {0}")]
    Injected(&'static str),
    /// A thread of the ledger died. Blame: us.
    #[error("a ledger task was stopped before it was done")]
    Stopped,
}

impl Error {
    /// Returns a function for `map_err` that names the operation and the file.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// Returns a function for `map_err` that names a file that cannot be parsed.
    pub(crate) fn damaged(path: &Path) -> impl Fn(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |error| Self::Damaged {
            path: path.clone(),
            what: error.to_string(),
        }
    }

    /// Returns whether a newer version wrote the data, so that this one must leave it alone.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        use model::record::DecodeRecordError::Version;
        matches!(
            self,
            Self::NewerFile { .. }
                | Self::Journal(journal::Error::NewerVersion { .. })
                | Self::Store(store::Error::NewerSchema { .. })
                | Self::Record {
                    source: Version(_),
                    ..
                }
        )
    }

    /// Returns the number of records that are gone for good by this error, at least.
    pub(crate) const fn gone(&self) -> u64 {
        match self {
            Self::Gone { from, through, .. } => *through + 1 - *from,
            Self::Journal(journal::Error::Missing { .. }) => 1,
            _ => 0,
        }
    }

    /// Returns whether the journal no longer holds the records that were asked for.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(self, Self::Journal(journal::Error::Missing { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_gone_are_counted_and_those_that_wait_are_not() {
        let gone = Error::Gone {
            instance: InstanceId::generate(),
            lane: 0,
            from: 3,
            through: 7,
        };
        let missing = journal::Error::Missing {
            path: PathBuf::new(),
        };
        assert_eq!(gone.gone(), 5);
        assert_eq!(Error::from(missing).gone(), 1, "one at least");
        assert_eq!(Error::Stopped.gone(), 0);
    }
}
