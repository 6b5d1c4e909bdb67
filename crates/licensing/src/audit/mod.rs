//! The audit log, beside the lines that are written in one transaction with a change.

mod queue;

use std::sync::Arc;

use model::{Actor, AuditEntry, Clock, Timestamp};
use store::{AuditFilter, NumberedEntry, Store};
use tokio::runtime::Handle;

use queue::{AuditQueue, BATCH_SIZE};

pub(crate) use queue::RepeatedEvent;

/// The audit log, with the lines that the store does not have yet.
pub(crate) struct AuditLog {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The runtime that may wait for the store.
    runtime: Handle,
    queue: AuditQueue,
}

impl AuditLog {
    /// Returns the log. To be called on the runtime that may wait for the store.
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            runtime: Handle::current(),
            queue: AuditQueue::default(),
        })
    }

    /// Adds lines, and writes all that wait. Lines that the store does not take now are written
    /// when it is back.
    pub(crate) async fn add(&self, entries: Vec<AuditEntry>) {
        self.queue.push(entries);
        self.write().await;
    }

    /// Adds a denied log-in without waiting. See [`AuditLog::add_repeated`].
    pub(crate) fn add_denied(self: &Arc<Self>, actor: Actor) {
        let now = self.clock.now();
        if !self.queue.note(actor, RepeatedEvent::Denied, now) {
            return;
        }
        let log = self.clone();
        self.runtime.spawn(async move { log.write().await });
    }

    /// Adds an event that may happen often, folded into a line for each actor, address and minute,
    /// and waits until it is written or the store has failed.
    pub(crate) async fn add_repeated(&self, actor: Actor, event: RepeatedEvent) {
        if self.queue.note(actor, event, self.clock.now()) {
            self.write().await;
        }
    }

    /// Returns up to `limit` (1 to 1,000) lines, oldest first, that stand after the place `after`.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn read(
        &self,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<Vec<NumberedEntry>, store::Error> {
        let limit = limit.clamp(1, BATCH_SIZE);
        self.store.audit_log()?.audit(filter, after, limit).await
    }

    /// Adds the lines of the minutes that are over at `now`, and writes all that wait.
    pub(crate) async fn end_minutes(&self, now: Timestamp) {
        self.queue.end_minute(now);
        self.write().await;
    }

    async fn write(&self) {
        self.queue.write(&*self.store).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Disk, Memory};
    use model::AccountName;
    use model::CredentialId;
    use std::time::Duration;

    #[tokio::test]
    async fn an_event_that_repeats_is_a_line_at_once_and_one_with_the_others_after_the_minute() {
        let memory = Memory::new(false);
        let disk = Disk::new(&memory.clock).await;
        let log = AuditLog::new(disk.store.clone(), memory.clock.clone());
        let shown = || RepeatedEvent::KeyShown {
            credential: CredentialId::from_u128(1),
            account: AccountName::default(),
        };
        for _ in 0..3 {
            log.add_repeated(Actor::OPERATOR, shown()).await;
        }
        let counts = async || -> Vec<u32> {
            let lines = log.read(AuditFilter::default(), 0, 10).await;
            let lines = lines.expect("the store answers");
            lines.into_iter().map(|line| line.entry.count).collect()
        };
        assert_eq!(counts().await, [1]);
        log.end_minutes(memory.clock.now()).await;
        assert_eq!(counts().await, [1], "the minute is not over");
        memory.clock.advance(Duration::from_secs(60));
        log.end_minutes(memory.clock.now()).await;
        assert_eq!(counts().await, [1, 2]);
    }
}
