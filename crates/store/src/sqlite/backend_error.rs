//! The errors of work on SQLite, and what they mean for the store's callers.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::{
    SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_TRIGGER, SQLITE_CONSTRAINT_UNIQUE,
};

use crate::error::Error;
use crate::sql;

/// The error of a piece of work on SQLite.
pub(super) type BackendError = sql::BackendError<rusqlite::Error>;

/// The meaning of an error for caller and connection.
pub(crate) struct Classified {
    /// The error for the caller.
    pub(crate) error: Error,
    /// Whether the connection must be opened anew.
    pub(crate) reopen: bool,
}

impl From<rusqlite::Error> for BackendError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl BackendError {
    /// Returns what the error means with the database at `path`.
    pub(crate) fn classify(self, path: &Path) -> Classified {
        match self {
            Self::Refused(error) => Classified {
                error,
                reopen: false,
            },
            Self::Failed(error) => classify(path, &error),
        }
    }
}

/// Returns what an error of SQLite means with the database at `path`.
pub(super) fn classify(path: &Path, error: &rusqlite::Error) -> Classified {
    let text = format!("{}: {error}", path.display());
    let (error, reopen) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Error::Unavailable(format!("{text}, another program holds it")),
            false,
        ),
        Some(ErrorCode::OperationInterrupted) => (Error::Unavailable(text), false),
        Some(ErrorCode::DiskFull) => (Error::Full(path.display().to_string()), true),
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::OperationAborted
            | ErrorCode::SchemaChanged,
        ) => (Error::Unavailable(text), true),
        Some(ErrorCode::NotADatabase) => {
            let path = path.display();
            let text = format!(
                "{path} is no database: put back the one that was there, or give the gate another `data_dir`"
            );
            (Error::Corrupt(text), true)
        }
        Some(_) => (Error::Corrupt(text), true),
        // The value has a type that is not in the schema.
        None => (Error::Corrupt(text), false),
    };
    Classified { error, reopen }
}

/// Turns a violated uniqueness into [`Error::Exists`].
pub(super) fn unique(error: rusqlite::Error, what: &'static str) -> BackendError {
    match is_taken(&error) {
        true => BackendError::Refused(Error::Exists(what)),
        false => BackendError::Failed(error),
    }
}

/// Returns whether an insertion failed because a row with the same unique columns is there. Of the
/// triggers, an insertion fires only the one that looks for a line of the audit log with the same
/// id.
pub(super) fn is_taken(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error().map(|cause| cause.extended_code),
        Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY | SQLITE_CONSTRAINT_TRIGGER)
    )
}
