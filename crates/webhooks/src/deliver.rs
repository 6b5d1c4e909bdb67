//! One try of a delivery.

use std::sync::atomic::Ordering::Relaxed;

use model::{Event, Timestamp, Webhook, WebhookForm};
use store::{Attempt, AttemptResult, Delivery, NextStep};

use crate::body::Facts;
use crate::client::{Answer, invalid_words};
use crate::error::Error;
use crate::message::Message;
use crate::receivers::Receiver;
use crate::secret::Secret;
use crate::webhooks::Webhooks;

impl Webhooks {
    /// Tries a delivery; `None`: its webhook gets nothing now, or another gate may be about to
    /// deliver, so that it was not tried.
    ///
    /// # Errors
    /// The store fails, so that it was not tried.
    pub(crate) async fn try_delivery(
        &self,
        delivery: &Delivery,
    ) -> Result<Option<AttemptResult>, Error> {
        let receiver = match self.receiver(delivery.webhook_id).await {
            Ok(Some(receiver)) => receiver,
            Ok(None) => return Ok(None),
            Err(error @ Error::SecretMalformed(_)) => {
                tracing::error!(%error, "an event cannot be signed");
                let answer = Answer {
                    status: None,
                    text: error.to_string(),
                };
                return Ok(Some(self.result(delivery, self.clock.now(), 0, answer)));
            }
            Err(error) => return Err(error),
        };
        let begun = (self.clock.now(), self.clock.since_boot());
        let Some(answer) = self.send(&receiver, &delivery.event).await? else {
            return Ok(None);
        };
        let took_us = self.clock.since_boot().micros_since(begun.1);
        Ok(Some(self.result(delivery, begun.0, took_us, answer)))
    }

    /// Sends an event to a webhook in its form.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn message(
        &self,
        webhook: &Webhook,
        secrets: &[Secret],
        event: &Event,
    ) -> Result<Option<Message>, Error> {
        let facts = match webhook.form {
            WebhookForm::Authforge => self.licenses.facts(event).await?,
            WebhookForm::Native | WebhookForm::Apimw => Facts::default(),
        };
        let now = self.clock.now();
        Ok(Message::of_event(event, webhook.form, &facts, secrets, now))
    }

    async fn send(&self, receiver: &Receiver, event: &Event) -> Result<Option<Answer>, Error> {
        let target = match &receiver.target {
            Ok(target) => target,
            Err(invalid) => return Ok(Some(Answer::none(invalid_words(*invalid)))),
        };
        let Receiver {
            webhook, secrets, ..
        } = receiver;
        let Some(message) = self.message(webhook, secrets, event).await? else {
            // Nobody who registers one asks for it, but a type may leave a form some day.
            return Ok(Some(Answer {
                status: Some(204),
                text: "the form of this webhook does not tell such events".to_owned(),
            }));
        };
        // The reads before may have outlasted the time in which tries may begin.
        let is_open = self.board.lock().is_open(self.clock.since_boot());
        match is_open {
            true => Ok(Some(self.client.post(target, message).await)),
            false => Ok(None),
        }
    }

    /// Returns the result of a try that a defect of ours ended.
    pub(crate) fn broken(&self, delivery: &Delivery) -> AttemptResult {
        let answer = Answer {
            status: None,
            text: "something went wrong here, see the gate's log".to_owned(),
        };
        self.result(delivery, self.clock.now(), 0, answer)
    }

    fn result(
        &self,
        delivery: &Delivery,
        at: Timestamp,
        duration_us: u64,
        answer: Answer,
    ) -> AttemptResult {
        let failures = delivery.attempts.saturating_add(1);
        let next = match (answer.took(), self.options.schedule.next(failures, at)) {
            (true, _) => NextStep::Delivered,
            (false, Some(again)) => NextStep::RetryAt(again),
            (false, None) => NextStep::Disable,
        };
        let counts = &self.counts;
        match next {
            NextStep::Delivered => &counts.delivered,
            NextStep::RetryAt(_) | NextStep::Disable => &counts.failed,
        }
        .fetch_add(1, Relaxed);
        if next == NextStep::Disable {
            counts.disabled.fetch_add(1, Relaxed);
            tracing::warn!(webhook = %delivery.webhook_id, "an event could not be delivered however often it was tried: the webhook is disabled until it is resumed");
        }
        AttemptResult {
            number: delivery.number,
            webhook_id: delivery.webhook_id,
            attempt: Attempt {
                at,
                duration_us,
                status: answer.status,
                answer: answer.kept(),
            },
            next,
        }
    }
}
