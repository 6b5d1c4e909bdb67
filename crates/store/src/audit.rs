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

/// What a change says of itself in the audit log: lines, told from what came of it, that the store writes in the
/// transaction of the change. Neither is there without the other; a line that is refused undoes the change.
pub struct AuditEntries<T>(Option<Tell<T>>);

type Tell<T> = Arc<dyn Fn(&T) -> Vec<AuditEntry> + Send + Sync>;

/// A thing as it was before a change and as it is after it, both seen by the transaction of the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// As it was.
    pub before: T,
    /// As it is.
    pub after: T,
}

impl<T> Changed<T> {
    /// What became of a thing; `None` where there is none, or none any more.
    #[must_use]
    pub fn of(before: Option<T>, after: Option<T>) -> Option<Self> {
        before
            .zip(after)
            .map(|(before, after)| Self { before, after })
    }
}

impl<T> AuditEntries<T> {
    /// Nothing is said.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// These lines, whatever came of the change.
    #[must_use]
    pub fn of(lines: Vec<AuditEntry>) -> Self {
        Self::from_result(move |_| lines.clone())
    }

    /// Lines told from what came of the change. May be asked again, where a transaction is tried again.
    #[must_use]
    pub fn from_result(tell: impl Fn(&T) -> Vec<AuditEntry> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// What is said of what came of the change.
    #[must_use]
    pub fn lines(&self, result: &T) -> Vec<AuditEntry> {
        self.0.as_ref().map_or_else(Vec::new, |tell| tell(result))
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

/// Which lines to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this account.
    pub account: Option<AccountName>,
    /// Only what was done by this one, by the text form of `Who`.
    pub who: Option<String>,
    /// Only this action, or with a dot at its end all that begin with it (`license.`).
    pub action: Option<String>,
    /// Only what was done to this.
    pub subject: Option<String>,
    /// Only at this time or later.
    pub from: Option<Timestamp>,
    /// Only before this time.
    pub to: Option<Timestamp>,
}

/// A line with its place in the log, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedEntry {
    /// The place.
    pub number: u64,
    /// The line.
    pub entry: AuditEntry,
}

/// The audit log at rest.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Adds lines, all or none.
    ///
    /// # Errors
    /// [`Error::Exists`] if an id is there already.
    async fn add_audit(&self, entries: Vec<AuditEntry>) -> Result<(), Error>;

    /// Up to `limit` lines (at most 1,000) in the order in which they were added, beginning after the place `after`: stable
    /// while lines come in.
    async fn audit(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error>;
}
