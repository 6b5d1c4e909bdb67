//! The audit log: lines are added and read, never changed.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE audit (number, id UNIQUE, at, account, who, address, action, subject, before, after, count);
//! -- UPDATE and DELETE are refused by triggers. Numbers become visible in their order: where transactions commit in
//! -- another order than they draw numbers, a lock around drawing and committing keeps it.
//! ```

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use model::{AccountName, AuditEntry, Timestamp};

use crate::error::Error;

/// The lines that a change adds to the audit log, made from the change's result and written in its
/// transaction. Either both are there or neither; a line that is refused undoes the change.
pub struct AuditEntries<T>(Option<MakeLines<T>>);

type MakeLines<T> = Arc<dyn Fn(&T) -> Vec<AuditEntry> + Send + Sync>;

/// The states of an object before and after a change, both seen by the transaction of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// The state before.
    pub before: T,
    /// The state after.
    pub after: T,
}

impl<T> Changed<T> {
    /// Pairs two states; `None` where the object was not there before, or is not there after.
    #[must_use]
    pub fn of(before: Option<T>, after: Option<T>) -> Option<Self> {
        before
            .zip(after)
            .map(|(before, after)| Self { before, after })
    }
}

impl<T> AuditEntries<T> {
    /// Returns no lines.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Returns these lines, whatever the result of the change.
    #[must_use]
    pub fn of(lines: Vec<AuditEntry>) -> Self {
        Self::from_result(move |_| lines.clone())
    }

    /// Makes the lines from the change's result. The function may be called again, where a
    /// transaction is tried again.
    #[must_use]
    pub fn from_result(make: impl Fn(&T) -> Vec<AuditEntry> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(make)))
    }

    /// Returns the lines for a result.
    #[must_use]
    pub fn lines(&self, result: &T) -> Vec<AuditEntry> {
        self.0.as_ref().map_or_else(Vec::new, |make| make(result))
    }
}

impl<T> Clone for AuditEntries<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for AuditEntries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.0.is_some() { "lines" } else { "nothing" };
        f.debug_tuple("Note").field(&said).finish()
    }
}

/// A selection of lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The account; `None`: any.
    pub account: Option<AccountName>,
    /// The actor, by the text form of `Who`; `None`: any.
    pub who: Option<String>,
    /// The action, or with a dot at its end all that begin with it (`license.`); `None`: any.
    pub action: Option<String>,
    /// The subject of the action; `None`: any.
    pub subject: Option<String>,
    /// The earliest time, included; `None`: no bound.
    pub from: Option<Timestamp>,
    /// The latest time, excluded; `None`: no bound.
    pub to: Option<Timestamp>,
}

/// A line with its number in the log, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedEntry {
    /// The number.
    pub number: u64,
    /// The line.
    pub entry: AuditEntry,
}

/// The store of the audit log.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Adds lines, all or none.
    ///
    /// # Errors
    /// [`Error::Exists`] if an id is there already.
    async fn add_audit(&self, entries: Vec<AuditEntry>) -> Result<(), Error>;

    /// Returns up to `limit` lines (at most 1,000) in the order in which they were added, beginning
    /// behind the number `after`: stable while lines are added.
    async fn audit(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error>;
}
