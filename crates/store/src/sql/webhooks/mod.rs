//! [`WebhookStore`] on both engines.
//!
//! Webhooks, events and deliveries are beside the licenses, the outbox of the ledger is beside the
//! rollups, which are different files in SQLite. So events of the ledger are moved in two steps, of
//! which the first can be done again: an event has one id for ever.

mod ends;
mod hooks;
mod log;
mod new_deliveries;
pub(crate) mod outbox;
mod queue;
mod results;
mod rows;

use std::time::Duration;

use async_trait::async_trait;
use model::{CredentialId, Event, InstanceId, LicenseId, Timestamp, Webhook, WebhookId};

use super::audit::add_entries;
use super::{Backend, Kind, Part, leases_by_name};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::SealedKey;
use crate::webhooks::{
    Attempt, AttemptResult, Busy, Delivery, DeliveryFilter, NewWebhook, Waiting, WebhookChange,
    WebhookChanged, WebhookFilter, WebhookSecret, WebhookStore,
};

/// The part of redelivery that one transaction does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Deliveries that were made.
    Made,
    /// Deliveries that were never made.
    Missing,
}

#[async_trait]
impl<B: Backend> WebhookStore for B {
    async fn create_webhook(
        &self,
        new: NewWebhook,
        most: u32,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let new = (new, most, entries);
        self.run(Part::Licenses, Kind::Transaction, new, |sql, new| {
            Box::pin(async move {
                let (new, most, entries) = new;
                if !hooks::create(sql, new, *most).await? {
                    return Ok(false);
                }
                add_entries(sql, entries, &()).await?;
                Ok(true)
            })
        })
        .await
    }

    async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Error> {
        self.run(Part::Licenses, Kind::Read, id, |sql, id| {
            Box::pin(hooks::find(sql, *id))
        })
        .await
    }

    async fn webhooks(
        &self,
        filter: WebhookFilter,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Vec<Webhook>, Error> {
        let asked = (filter, after, limit);
        self.run(Part::Licenses, Kind::Read, asked, |sql, asked| {
            Box::pin(hooks::page(sql, &asked.0, asked.1, asked.2))
        })
        .await
    }

    async fn webhook_secrets(
        &self,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Vec<WebhookSecret>, Error> {
        self.run(Part::Licenses, Kind::Read, (id, now), |sql, (id, now)| {
            Box::pin(hooks::secrets(sql, *id, *now))
        })
        .await
    }

    async fn change_webhook(
        &self,
        id: WebhookId,
        change: WebhookChange,
        now: Timestamp,
        entries: AuditEntries<Changed<Webhook>>,
    ) -> Result<WebhookChanged, Error> {
        let asked = (id, change, now, entries);
        self.run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
            Box::pin(async move {
                let (id, change, now, entries) = asked;
                let Some(before) = hooks::locked(sql, *id).await? else {
                    return Ok(WebhookChanged::Unknown);
                };
                if !hooks::may_change(&before, change) {
                    return Ok(WebhookChanged::Otherwise(before));
                }
                let after = hooks::change(sql, &before, change, *now).await?;
                if hooks::becomes_active(&before, change) {
                    log::deliver_failed(sql, *id, *now).await?;
                }
                let changed = Changed { before, after };
                add_entries(sql, entries, &changed).await?;
                Ok(WebhookChanged::Made(changed.after))
            })
        })
        .await
    }

    async fn delete_webhook(
        &self,
        id: WebhookId,
        entries: AuditEntries<Webhook>,
    ) -> Result<bool, Error> {
        let asked = (id, entries);
        let gone = self
            .run(Part::Licenses, Kind::Transaction, asked, |sql, asked| {
                Box::pin(async move {
                    let (id, entries) = asked;
                    let Some(gone) = hooks::delete(sql, *id).await? else {
                        return Ok(false);
                    };
                    add_entries(sql, entries, &gone).await?;
                    Ok(true)
                })
            })
            .await?;
        // The deliveries are nobody's now. What stays for a failure goes with its event.
        let forget = || {
            self.run(Part::Licenses, Kind::Load, id, |sql, id| {
                Box::pin(log::forget_some(sql, *id))
            })
        };
        while gone && forget().await.unwrap_or(false) {}
        Ok(gone)
    }

    async fn add_events(&self, events: Vec<Event>) -> Result<(), Error> {
        self.run(
            Part::Licenses,
            Kind::RepeatableTransaction,
            events,
            |sql, events| Box::pin(outbox::write_wanted(sql, events)),
        )
        .await
    }

    async fn add_tested(
        &self,
        webhook: WebhookId,
        event: Event,
        attempt: Attempt,
        took: bool,
    ) -> Result<(), Error> {
        let test = (webhook, event, attempt, took);
        self.run(Part::Licenses, Kind::Transaction, test, |sql, test| {
            Box::pin(log::add_tested(sql, test.0, &test.1, &test.2, test.3))
        })
        .await
    }

    async fn fan_out(&self, limit: usize, now: Timestamp) -> Result<usize, Error> {
        // Where the ledger's part is out of reach, changes are told all the same.
        let moved = move_events_of_ledger(self, limit).await;
        let asked = (limit, now);
        let fanned_out = self
            .run(
                Part::Licenses,
                Kind::RepeatableTransaction,
                asked,
                |sql, (limit, now)| Box::pin(outbox::fan_out(sql, *limit, *now)),
            )
            .await?;
        moved.map(|()| fanned_out)
    }

    async fn due_deliveries(
        &self,
        now: Timestamp,
        limit: usize,
        each: usize,
        without: Busy,
    ) -> Result<Vec<Delivery>, Error> {
        if limit == 0 || each == 0 {
            return Ok(Vec::new());
        }
        let asked = (now, limit, each, without);
        self.run(Part::Licenses, Kind::Read, asked, |sql, asked| {
            Box::pin(queue::due(sql, asked.0, asked.1, asked.2, &asked.3))
        })
        .await
    }

    async fn waiting(&self) -> Result<Waiting, Error> {
        self.run(Part::Licenses, Kind::Report, (), |sql, ()| {
            Box::pin(log::waiting(sql))
        })
        .await
    }

    async fn note_attempts(&self, results: Vec<AttemptResult>) -> Result<(), Error> {
        if results.is_empty() {
            return Ok(());
        }
        self.run(
            Part::Licenses,
            Kind::Transaction,
            results,
            |sql, results| Box::pin(results::note(sql, results)),
        )
        .await
    }

    async fn deliveries(
        &self,
        webhook: WebhookId,
        filter: DeliveryFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let asked = (webhook, filter, before, limit);
        self.run(Part::Licenses, Kind::Report, asked, |sql, asked| {
            Box::pin(log::page(sql, asked.0, &asked.1, asked.2, asked.3))
        })
        .await
    }

    async fn redeliver(
        &self,
        webhook: WebhookId,
        filter: DeliveryFilter,
        now: Timestamp,
        entries: AuditEntries<()>,
    ) -> Result<u64, Error> {
        let asked = (webhook, filter, now);
        let mut due = deliver_again(self, asked, Again::Made, entries).await?;
        if filter.state.is_none() {
            due += deliver_again(self, asked, Again::Missing, AuditEntries::none()).await?;
        }
        Ok(due)
    }

    async fn told_keys(&self, license: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error> {
        self.run(Part::Licenses, Kind::Read, license, |sql, license| {
            Box::pin(outbox::told_keys(sql, *license))
        })
        .await
    }

    async fn note_expiring(&self, now: Timestamp, limit: usize) -> Result<usize, Error> {
        let asked = (now, limit);
        self.run(Part::Licenses, Kind::Load, asked, |sql, (now, limit)| {
            Box::pin(ends::note(sql, *now, *limit))
        })
        .await
    }

    async fn sweep_events(&self, before: Timestamp, limit: usize) -> Result<usize, Error> {
        let asked = (before, limit);
        self.run(Part::Licenses, Kind::Load, asked, |sql, (before, limit)| {
            Box::pin(outbox::sweep(sql, *before, *limit))
        })
        .await
    }

    async fn hold_lease(
        &self,
        name: &'static str,
        instance: InstanceId,
        lasts: Duration,
    ) -> Result<bool, Error> {
        let asked = (name, instance, lasts);
        self.run(Part::Licenses, Kind::Repeatable, asked, |sql, asked| {
            Box::pin(leases_by_name::hold(sql, asked.0, asked.1, asked.2))
        })
        .await
    }

    async fn end_lease(&self, name: &'static str, instance: InstanceId) -> Result<(), Error> {
        let asked = (name, instance);
        self.run(
            Part::Licenses,
            Kind::Repeatable,
            asked,
            |sql, (name, instance)| Box::pin(leases_by_name::end(sql, name, *instance)),
        )
        .await
    }
}

/// Moves the oldest events of the ledger's outbox to those of changes. They leave the one when they
/// are safe in the other, where one that comes again is known by its id.
async fn move_events_of_ledger<B: Backend>(store: &B, limit: usize) -> Result<(), Error> {
    let events = store
        .run(Part::Ledger, Kind::Read, limit, |sql, limit| {
            Box::pin(outbox::of_ledger(sql, *limit))
        })
        .await?;
    if events.is_empty() {
        return Ok(());
    }
    let kind = Kind::Repeatable;
    store
        .run(Part::Licenses, kind, events.clone(), |sql, events| {
            Box::pin(outbox::take_in(sql, events))
        })
        .await?;
    store
        .run(Part::Ledger, kind, events, |sql, events| {
            Box::pin(outbox::forget_of_ledger(sql, events))
        })
        .await
}

/// Makes deliveries due again, in as many transactions as it takes, the first of which adds the
/// lines. Returns how many are due.
async fn deliver_again<B: Backend>(
    store: &B,
    asked: (WebhookId, DeliveryFilter, Timestamp),
    which: Again,
    entries: AuditEntries<()>,
) -> Result<u64, Error> {
    let mut due = 0;
    let mut entries = Some(entries);
    let mut after = Some(0);
    while let Some(from) = after {
        let asked = (asked, from, which, entries.take());
        let (last, woken) = store
            .run(Part::Licenses, Kind::Load, asked, |sql, asked| {
                Box::pin(async move {
                    let ((webhook, filter, now), from, which, entries) = asked;
                    let done = match which {
                        Again::Made => {
                            log::redeliver_some(sql, *webhook, filter, *from, *now).await?
                        }
                        Again::Missing => {
                            log::deliver_missing(sql, *webhook, filter, *from, *now).await?
                        }
                    };
                    if let Some(entries) = entries {
                        add_entries(sql, entries, &()).await?;
                    }
                    Ok(done)
                })
            })
            .await?;
        due += woken;
        after = last;
    }
    Ok(due)
}
