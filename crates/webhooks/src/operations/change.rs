//! Changes of webhooks: what they get, whether they get it, and what it is signed with.

use std::time::Duration;

use model::{Webhook, WebhookForm, WebhookId, WebhookState};
use store::{AuditEntries, WebhookChange};

use super::create::{as_seen, events_of};
use super::{AuditedWebhooks, IssuedWebhook, MAX_OVERLAP, OVERLAP, WebhookUpdate, shown};
use crate::error::Error;
use crate::secret::Secret;

impl AuditedWebhooks {
    /// Changes a webhook. A new URL of one of APIMW's form is sent a challenge first: if it is not
    /// answered, everything stays as it is. So is one that did not answer yet and is to get events.
    ///
    /// # Errors
    /// There is no such webhook, a field has a value that is not allowed, the receiver does not
    /// answer the challenge, somebody else changed the webhook meanwhile, or the store fails.
    pub async fn change(&self, id: WebhookId, update: WebhookUpdate) -> Result<Webhook, Error> {
        let webhook = self.webhook(id).await?;
        let events = update.events.map(|events| events_of(webhook.form, events));
        let events = events.transpose()?;
        let target = match &update.url {
            Some(url) => Some(self.target(url).await?),
            None => None,
        };
        let wanted = update.active.map(|active| match active {
            true => WebhookState::Active,
            false => WebhookState::Paused,
        });
        let is_unproven = webhook.state == WebhookState::Unproven;
        let is_new_url = update.url.as_ref().is_some_and(|url| *url != webhook.url);
        let is_to_start = is_unproven && wanted == Some(WebhookState::Active);
        let proves = webhook.form == WebhookForm::Apimw && (is_new_url || is_to_start);
        if proves {
            let target = match target {
                Some(target) => target,
                None => self.target(&webhook.url).await?,
            };
            self.prove(id, &target).await?;
        }
        let state = match (is_unproven, proves) {
            (false, _) => wanted,
            (true, true) => Some(wanted.unwrap_or(WebhookState::Active)),
            (true, false) => None,
        };
        let change = WebhookChange {
            url: update.url,
            events,
            state,
            secret: None,
            only_if: (webhook.form == WebhookForm::Apimw).then(|| as_seen(&webhook)),
        };
        self.apply("webhook.change", id, change).await
    }

    /// Lets a webhook get nothing until it is resumed. A second time does nothing.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub async fn pause(&self, id: WebhookId) -> Result<Webhook, Error> {
        self.move_to("webhook.pause", id, WebhookState::Paused)
            .await
    }

    /// Lets a webhook that was paused or disabled get events again, those that wait first. One that
    /// did not answer its challenge is sent another.
    ///
    /// # Errors
    /// There is no such webhook, its receiver does not answer the challenge, somebody else changed
    /// it meanwhile, or the store fails.
    pub async fn resume(&self, id: WebhookId) -> Result<Webhook, Error> {
        let webhook = self.webhook(id).await?;
        if webhook.state != WebhookState::Unproven {
            return self
                .move_to("webhook.resume", id, WebhookState::Active)
                .await;
        }
        let target = self.target(&webhook.url).await?;
        self.prove(id, &target).await?;
        self.set_state("webhook.prove", &webhook, WebhookState::Active)
            .await
    }

    /// Sets the state of a webhook, unless it has not answered its challenge.
    async fn move_to(
        &self,
        action: &'static str,
        id: WebhookId,
        state: WebhookState,
    ) -> Result<Webhook, Error> {
        /// How often somebody else may be faster.
        const TRIES: usize = 5;
        for _ in 0..TRIES {
            let webhook = self.webhook(id).await?;
            if webhook.state == WebhookState::Unproven {
                return Ok(webhook);
            }
            match self.set_state(action, &webhook, state).await {
                Err(Error::ChangedMeanwhile(_)) => {}
                done => return done,
            }
        }
        Err(Error::ChangedMeanwhile(id))
    }

    /// Gives a webhook a new secret. For the time of `overlap`, a day if there is none, the ones
    /// before sign as well, so that a receiver of Standard Webhooks can change over at any moment in
    /// it.
    ///
    /// # Errors
    /// There is no such webhook, the overlap is too long or as many secrets as may overlap do, or
    /// the store fails.
    pub async fn rotate_secret(
        &self,
        id: WebhookId,
        overlap: Option<Duration>,
    ) -> Result<IssuedWebhook, Error> {
        let overlap = overlap.unwrap_or(OVERLAP);
        if overlap > MAX_OVERLAP {
            let days = MAX_OVERLAP.as_secs() / 86_400;
            return Err(Error::invalid("overlap", format!("it is at most {days}d")));
        }
        let signing = self.kept()?.webhook_secrets(id, self.clock.now()).await?;
        let most = WebhookChange::MAX_SECRETS as usize;
        if signing.len() >= most && !overlap.is_zero() {
            let reason = format!(
                "{most} secrets sign already, which is the most: wait until one of them has ended, or end all of them at once"
            );
            return Err(Error::invalid("overlap", reason));
        }
        let secret = Secret::generate();
        let micros = i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX);
        let ends_at = self.clock.now().plus_micros(micros);
        let change = WebhookChange {
            secret: Some((self.seal.seal(id, secret.expose()), ends_at)),
            ..WebhookChange::default()
        };
        let webhook = self.apply("webhook.rotate", id, change).await?;
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
