//! Changes of webhooks: what they get, whether they get it, and what it is signed with.

use std::time::Duration;

use model::{Webhook, WebhookForm, WebhookId, WebhookState};
use store::{AuditEntries, WebhookChange};

use super::create::events_of;
use super::{AuditedWebhooks, IssuedWebhook, MAX_OVERLAP, WebhookUpdate, shown};
use crate::error::Error;
use crate::secret::Secret;

impl AuditedWebhooks {
    /// Changes a webhook. One of APIMW's form whose URL changes has to answer a challenge again
    /// before it gets anything.
    ///
    /// # Errors
    /// There is no such webhook, a field has a value that is not allowed, the receiver does not
    /// answer the challenge, or the store fails.
    pub async fn change(&self, id: WebhookId, update: WebhookUpdate) -> Result<Webhook, Error> {
        let webhook = self.webhook(id).await?;
        if let Some(url) = &update.url {
            self.target(url).await?;
        }
        let events = update.events.map(|events| events_of(webhook.form, events));
        let is_new_url = update.url.as_ref().is_some_and(|url| *url != webhook.url);
        let was_proven = webhook.state != WebhookState::Unproven;
        let is_proven = webhook.form != WebhookForm::Apimw || was_proven && !is_new_url;
        let wanted = update.active.map(|active| match active {
            true => WebhookState::Active,
            false => WebhookState::Paused,
        });
        let change = WebhookChange {
            url: update.url,
            events: events.transpose()?,
            state: if is_proven {
                wanted
            } else {
                Some(WebhookState::Unproven)
            },
            secret: None,
        };
        let changed = self.apply("webhook.change", id, change).await?;
        self.changed(id);
        if is_proven {
            return Ok(changed);
        }
        let before = if was_proven {
            webhook.state
        } else {
            WebhookState::Active
        };
        self.prove(changed, wanted.unwrap_or(before)).await
    }

    /// Lets a webhook get nothing until it is resumed. A second time does nothing.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub async fn pause(&self, id: WebhookId) -> Result<Webhook, Error> {
        let webhook = self.webhook(id).await?;
        if webhook.state == WebhookState::Unproven {
            return Ok(webhook);
        }
        let paused = self
            .set_state("webhook.pause", id, WebhookState::Paused)
            .await?;
        self.changed(id);
        Ok(paused)
    }

    /// Lets a webhook that was paused or disabled get events again, those that wait first. One that
    /// did not answer its challenge is sent another.
    ///
    /// # Errors
    /// There is no such webhook, its receiver does not answer the challenge, or the store fails.
    pub async fn resume(&self, id: WebhookId) -> Result<Webhook, Error> {
        let webhook = self.webhook(id).await?;
        if webhook.state == WebhookState::Unproven {
            return self.prove(webhook, WebhookState::Active).await;
        }
        let resumed = self
            .set_state("webhook.resume", id, WebhookState::Active)
            .await?;
        self.changed(id);
        Ok(resumed)
    }

    /// Gives a webhook a new secret. For the time of `overlap` the ones before sign as well, so that
    /// a receiver of Standard Webhooks can change over at any moment in it.
    ///
    /// # Errors
    /// There is no such webhook, the overlap is too long, or the store fails.
    pub async fn rotate_secret(
        &self,
        id: WebhookId,
        overlap: Duration,
    ) -> Result<IssuedWebhook, Error> {
        if overlap > MAX_OVERLAP {
            let days = MAX_OVERLAP.as_secs() / 86_400;
            return Err(Error::invalid("overlap", format!("it is at most {days}d")));
        }
        let secret = Secret::generate();
        let micros = i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX);
        let ends_at = self.clock.now().plus_micros(micros);
        let change = WebhookChange {
            secret: Some((self.seal.seal(id, secret.expose()), ends_at)),
            ..WebhookChange::default()
        };
        let webhook = self.apply("webhook.rotate", id, change).await?;
        self.receivers.forget(id);
        Ok(IssuedWebhook { webhook, secret })
    }

    /// Removes a webhook, with what waits for it.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub async fn delete(&self, id: WebhookId) -> Result<(), Error> {
        let line = self.line("webhook.delete");
        let entries = AuditEntries::from_result(move |webhook: &Webhook| {
            vec![line(webhook).between(Some(&shown(webhook)), None::<&serde_json::Value>)]
        });
        let was_there = self.kept()?.delete_webhook(id, entries).await?;
        self.changed(id);
        match was_there {
            true => Ok(()),
            false => Err(Error::Unknown(id)),
        }
    }
}
