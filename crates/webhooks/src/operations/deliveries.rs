//! The log of deliveries, deliveries by hand, and tests.

use model::{AppName, Event, EventId, EventType, WebhookId};
use outbound::Target;
use serde_json::json;
use store::{Attempt, AuditEntries, Delivery, DeliveryFilter};

use super::AuditedWebhooks;
use crate::client::{Answer, invalid_words};
use crate::error::Error;
use crate::webhooks::Webhooks;

impl Webhooks {
    /// Returns up to `limit` deliveries of a webhook, newest first, before the number `before`.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub async fn deliveries(
        &self,
        id: WebhookId,
        filter: DeliveryFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        self.webhook(id).await?;
        let kept = self.kept()?;
        Ok(kept.deliveries(id, filter, before, limit).await?)
    }
}

impl AuditedWebhooks {
    /// Sends a test event to a webhook now, whatever its state, and returns what came of it. It
    /// stands in the log of deliveries.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub async fn test(&self, id: WebhookId) -> Result<Attempt, Error> {
        let webhook = self.webhook(id).await?;
        let (at, begun) = (self.clock.now(), self.clock.since_boot());
        let event = Event {
            id: EventId::generate(),
            kind: EventType::Test,
            at,
            account: webhook.account.clone(),
            app: webhook.app.clone().unwrap_or_else(AppName::every),
            license_id: None,
            data: json!({"webhook_id": id})
                .as_object()
                .expect("it is an object")
                .clone(),
        };
        let secrets = self.secrets(id, at).await?;
        let message = self.message(&webhook, &secrets, &event).await?;
        let target = Target::parse(&webhook.url, self.client.options().rules);
        let answer = match (target, message) {
            (Ok(target), Some(message)) => self.client.post(&target, message).await,
            (Err(invalid), _) => Answer::none(invalid_words(invalid)),
            (Ok(_), None) => Answer {
                status: None,
                text: "the form of this webhook has no test".to_owned(),
            },
        };
        let took = answer.took();
        let attempt = Attempt {
            at,
            duration_us: self.clock.since_boot().micros_since(begun),
            status: answer.status,
            answer: answer.kept(),
        };
        let kept = self.kept()?.add_tested(id, event, attempt.clone(), took);
        kept.await?;
        Ok(attempt)
    }

    /// Makes the selected deliveries of a webhook due again, with all their tries, and makes those
    /// of kept events that it never got. Returns how many are due again. The audit log says what was
    /// asked for, also if that is not done to its end.
    ///
    /// # Errors
    /// Nothing is selected, there is no such webhook or event, or the store fails.
    pub async fn redeliver(&self, id: WebhookId, filter: DeliveryFilter) -> Result<u64, Error> {
        if filter == DeliveryFilter::default() {
            let reason = "say which are delivered again: an `event`, a time by `from` or `to`, or those that `failed`";
            return Err(Error::invalid("event", reason));
        }
        let webhook = self.webhook(id).await?;
        let asked = json!({
            "event": filter.event_id,
            "from": filter.from,
            "to": filter.to,
            "state": filter.state,
        });
        let line = self.line("webhook.redeliver")(&webhook);
        let entries = AuditEntries::of(vec![line.between(None::<&()>, Some(&asked))]);
        let kept = self.kept()?;
        let redelivered = kept.redeliver(id, filter, self.clock.now(), entries).await;
        self.changed(id);
        let redelivered = redelivered?;
        // One that waits already is none that is due again.
        if let (0, Some(event)) = (redelivered, filter.event_id) {
            let of_event = DeliveryFilter {
                event_id: Some(event),
                ..DeliveryFilter::default()
            };
            if self.deliveries(id, of_event, None, 1).await?.is_empty() {
                return Err(Error::EventUnknown { webhook: id, event });
            }
        }
        Ok(redelivered)
    }
}
