//! Operations that write and read the audit log.

use std::sync::Arc;

use model::{Actor, AuditEntry, Timestamp};
use store::{AuditFilter, NumberedEntry};

use super::audit_queue::{BATCH_SIZE, RepeatedEvent};
use crate::error::Error;
use crate::licensing::Licensing;

impl Licensing {
    /// Adds lines to the audit log. Lines that the store does not take now are written when it is back.
    pub async fn audit(&self, entries: Vec<AuditEntry>) {
        self.audit_queue.push(entries);
        self.write_audit().await;
    }

    /// Adds a denied log-in to the audit log, without waiting. Repeated ones are folded into a line for each
    /// actor, address and minute. Of an [`Actor::unknown`] only the address is known.
    pub fn audit_denied(self: &Arc<Self>, actor: Actor) {
        let now = self.clock.now();
        if !self.audit_queue.note(actor, RepeatedEvent::Denied, now) {
            return;
        }
        let licensing = self.clone();
        self.runtime
            .spawn(async move { licensing.write_audit().await });
    }

    /// Adds an event that may happen often, folded like denied log-ins, and waits until it is written or the
    /// store has failed.
    pub(super) async fn audit_repeated(&self, actor: Actor, event: RepeatedEvent) {
        if self.audit_queue.note(actor, event, self.clock.now()) {
            self.write_audit().await;
        }
    }

    /// Returns up to `limit` (1 to 1,000) lines of the audit log, oldest first, that stand after the place
    /// `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn audit_log(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, Error> {
        let limit = limit.clamp(1, BATCH_SIZE);
        Ok(self.store.audit_log()?.audit(filter, after, limit).await?)
    }

    /// Writes the lines that wait.
    pub(crate) async fn write_audit(&self) {
        self.audit_queue.write(&*self.store).await;
    }

    /// Adds the lines of the minutes that are over at `now`, and writes all that wait.
    pub(crate) async fn tend_audit(&self, now: Timestamp) {
        self.audit_queue.end_minute(now);
        self.write_audit().await;
    }
}
