//! The audit log: lines are added and read, never changed.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE audit (number, id UNIQUE, at, account, who, address, action, subject, before, after, count);
//! -- UPDATE and DELETE are refused by triggers. Numbers become visible in their order: where transactions commit in
//! -- another order than they draw numbers, a lock around drawing and committing keeps it.
//! ```

use async_trait::async_trait;
use model::{AccountName, AuditEntry, Timestamp};

use crate::error::Error;

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
