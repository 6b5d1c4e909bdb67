//! The errors of work on PostgreSQL, and what they mean for the store's callers.

use std::error::Error as _;
use std::io;

use model::system::in_words;
use tokio_postgres::error::SqlState;

use crate::error::Error;
use crate::sql;

/// The error of a piece of work on PostgreSQL.
pub(super) type BackendError = sql::BackendError<tokio_postgres::Error>;

/// The meaning of an error for caller, work and connection.
pub(crate) struct Classified {
    /// The error for the caller.
    pub(crate) error: Error,
    /// Whether the server undid the work for the sake of another, so that it only has to be done
    /// again.
    pub(crate) again: bool,
    /// Whether the connection is lost.
    pub(crate) lost: bool,
}

impl From<tokio_postgres::Error> for BackendError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

impl BackendError {
    /// Returns what the error means with the database of this name.
    pub(crate) fn classify(self, database: &str) -> Classified {
        match self {
            Self::Refused(error) => Classified {
                error,
                again: false,
                lost: false,
            },
            Self::Failed(error) => classify(database, &error),
        }
    }
}

/// Returns what an error of PostgreSQL means with the database of this name.
pub(super) fn classify(database: &str, error: &tokio_postgres::Error) -> Classified {
    let text = format!("{database}: {}", describe(error));
    let Some(state) = error.code() else {
        // The server sent no error: the connection broke, or the bytes on it made no sense.
        return Classified {
            error: Error::Unavailable(text),
            again: false,
            lost: true,
        };
    };
    let code = state.code();
    let again =
        *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED;
    // The server goes down, or ended the session; or a statement of its transaction failed, and
    // that was not known here.
    let lost =
        code.starts_with("08") || code.starts_with("57P") || ["25P02", "25P03"].contains(&code);
    let unavailable = again
        || lost
        // Classes of errors: no access; resources used up; locks and time that ran out; a read-only
        // standby; disks.
        || ["28", "3D", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
        || [SqlState::READ_ONLY_SQL_TRANSACTION, SqlState::INSUFFICIENT_PRIVILEGE].contains(state);
    let error = if *state == SqlState::DISK_FULL {
        Error::Full(text)
    } else if unavailable {
        Error::Unavailable(text)
    } else {
        Error::Corrupt(text)
    };
    Classified { error, again, lost }
}

/// Returns an error in one line, with its causes.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        // The system's error is said in our words, and the driver's add nothing to it.
        if let Some(words) = source.downcast_ref().and_then(of_system) {
            return words;
        }
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Returns the system's error of a connection in words; `None`: the error is not the system's.
fn of_system(error: &io::Error) -> Option<String> {
    let is_name = error.to_string().starts_with("failed to lookup address");
    (is_name || error.raw_os_error().is_some()).then(|| in_words(error))
}

/// Turns a violated uniqueness into [`Error::Exists`].
pub(super) fn unique(error: tokio_postgres::Error, what: &'static str) -> BackendError {
    match is_taken(&error) {
        true => BackendError::Refused(Error::Exists(what)),
        false => BackendError::Failed(error),
    }
}

/// Returns whether an insertion failed because a row with the same unique columns is there.
pub(super) fn is_taken(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}
