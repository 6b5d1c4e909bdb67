//! The operations that write and read the audit log.

use model::{Actor, AuditEntry};
use store::{AuditFilter, NumberedEntry};

use crate::error::Error;
use crate::licensing::Licensing;

impl Licensing {
    /// Adds lines to the audit log. Lines that the store does not take now are written when it is
    /// back.
    pub async fn audit(&self, entries: Vec<AuditEntry>) {
        self.audit.add(entries).await;
    }

    /// Adds a denied log-in to the audit log, without waiting. Repeated ones are folded into a line
    /// for each actor, address and minute. Of an [`Actor::unknown`] only the address is known.
    pub fn audit_denied(&self, actor: Actor) {
        self.audit.add_denied(actor);
    }

    /// Returns up to `limit` (1 to 1,000) lines of the audit log, oldest first, that stand after
    /// the place `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn audit_log(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error> {
        Ok(self.audit.read(filter, after, limit).await?)
    }
}
