//! The errors of work on a database.

use crate::error::Error;

/// The error of a piece of work on an engine that fails with `F`. The changes of the work are
/// undone either way.
#[derive(Debug)]
pub(crate) enum BackendError<F> {
    /// The work itself refused; the connection is fine.
    Refused(Error),
    /// The engine failed.
    Failed(F),
}

impl<F> From<Error> for BackendError<F> {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl<F> BackendError<F> {
    /// Returns the error of a column that holds what no version of this program wrote.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Refused(Error::Corrupt(what.into()))
    }
}
