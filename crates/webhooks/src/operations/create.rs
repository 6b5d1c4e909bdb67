//! Registration of webhooks, and the challenge of APIMW's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{EventId, EventType, Webhook, WebhookForm, WebhookId, WebhookState};
use outbound::{Target, TargetInvalid};
use store::{AuditEntries, Changed, NewWebhook, WebhookChange, WebhookChanged};

use super::{AuditedWebhooks, IssuedWebhook, MOST, MOST_OF_AUTHFORGE, WebhookRequest, shown};
use crate::client::{Answer, invalid_words};
use crate::error::Error;
use crate::message::Message;
use crate::secret::Secret;
use crate::webhooks::Webhooks;

impl AuditedWebhooks {
    /// Registers a webhook. One of APIMW's form is sent a challenge first; if its receiver does not
    /// answer it, the webhook is kept [`WebhookState::Unproven`].
    ///
    /// # Errors
    /// A field has a value that is not allowed, the account or app is unknown, there are too many,
    /// or the store fails.
    pub async fn create(&self, request: WebhookRequest) -> Result<IssuedWebhook, Error> {
        let target = self.target(&request.url).await?;
        let secret = match &request.secret {
            Some(chosen) => {
                Secret::parse(chosen).map_err(|error| Error::invalid("secret", error))?
            }
            None => Secret::generate(),
        };
        let events = events_of(request.form, request.events)?;
        let account = self.store.account(&request.account).await?;
        if account.is_none() {
            return Err(Error::AccountUnknown(request.account));
        }
        if let Some(app) = &request.app
            && self.licenses.account_of(app).as_ref() != Some(&request.account)
        {
            return Err(Error::AppUnknown(app.clone()));
        }
        let wanted = if request.paused {
            WebhookState::Paused
        } else {
            WebhookState::Active
        };
        let is_proven = request.form != WebhookForm::Apimw;
        let webhook = Webhook {
            id: WebhookId::generate(),
            account: request.account,
            app: request.app,
            url: request.url,
            events,
            form: request.form,
            state: if is_proven {
                wanted
            } else {
                WebhookState::Unproven
            },
            created_at: self.clock.now(),
            last_delivery_at: None,
        };
        self.keep(&webhook, &secret).await?;
        let webhook = match is_proven {
            true => webhook,
            false => self.prove_new(webhook, &target, &secret, wanted).await?,
        };
        Ok(IssuedWebhook { webhook, secret })
    }

    /// Sends a challenge to a receiver, signed with the secrets of a webhook.
    ///
    /// # Errors
    /// [`Error::Unproven`] if it is not answered; the store fails.
    pub(super) async fn prove(&self, id: WebhookId, target: &Target) -> Result<(), Error> {
        let secrets = self.secrets(id, self.clock.now()).await?;
        let proven = self.challenge(target, &secrets).await;
        proven.map_err(|answer| Error::Unproven {
            answer: match answer.status {
                Some(status) => format!("status {status}, {:?}", answer.kept()),
                None => answer.kept(),
            },
        })
    }

    /// Sets the state of a webhook, if it still is as it was seen.
    ///
    /// # Errors
    /// [`Error::ChangedMeanwhile`] if it is not; the webhook is gone; the store fails.
    pub(super) async fn set_state(
        &self,
        action: &'static str,
        seen: &Webhook,
        state: WebhookState,
    ) -> Result<Webhook, Error> {
        let change = WebhookChange {
            state: Some(state),
            only_if: Some(as_seen(seen)),
            ..WebhookChange::default()
        };
        self.apply(action, seen.id, change).await
    }

    /// Changes a webhook, with its line in the audit log if something changed. It is in force at
    /// once on this gate.
    pub(super) async fn apply(
        &self,
        action: &'static str,
        id: WebhookId,
        change: WebhookChange,
    ) -> Result<Webhook, Error> {
        let line = self.line(action);
        let has_new_secret = change.secret.is_some();
        let entries =
            AuditEntries::from_result(move |Changed { before, after }: &Changed<Webhook>| {
                let written = || line(after).between(Some(&shown(before)), Some(&shown(after)));
                let is_changed = before != after || has_new_secret;
                is_changed.then(written).into_iter().collect()
            });
        let now = self.clock.now();
        let changed = self.kept()?.change_webhook(id, change, now, entries);
        let changed = changed.await?;
        self.changed(id);
        match changed {
            WebhookChanged::Made(webhook) => Ok(webhook),
            WebhookChanged::Otherwise(_) => Err(Error::ChangedMeanwhile(id)),
            WebhookChanged::Unknown => Err(Error::Unknown(id)),
        }
    }

    async fn keep(&self, webhook: &Webhook, secret: &Secret) -> Result<(), Error> {
        let line = self.line("webhook.create")(webhook);
        let entries = AuditEntries::of(vec![
            line.between(None::<&serde_json::Value>, Some(&shown(webhook))),
        ]);
        let most = match webhook.form {
            WebhookForm::Authforge => MOST_OF_AUTHFORGE,
            WebhookForm::Native | WebhookForm::Apimw => MOST,
        };
        let new = NewWebhook {
            webhook: webhook.clone(),
            secret: self.seal.seal(webhook.id, secret.expose()),
        };
        match self.kept()?.create_webhook(new, most, entries).await? {
            true => Ok(()),
            false => Err(Error::TooMany(most)),
        }
    }

    async fn prove_new(
        &self,
        webhook: Webhook,
        target: &Target,
        secret: &Secret,
        wanted: WebhookState,
    ) -> Result<Webhook, Error> {
        let secrets = std::slice::from_ref(secret);
        match self.challenge(target, secrets).await {
            Ok(()) => match self.set_state("webhook.prove", &webhook, wanted).await {
                // Who was faster decides.
                Err(Error::ChangedMeanwhile(id)) => self.webhook(id).await,
                proven => proven,
            },
            Err(answer) => {
                tracing::info!(webhook = %webhook.id, status = answer.status, "the receiver did not answer the challenge");
                Ok(webhook)
            }
        }
    }
}

impl Webhooks {
    /// Reads a URL, and looks whether it may be reached.
    pub(super) async fn target(&self, url: &str) -> Result<Target, Error> {
        let refused = |invalid| Error::invalid("url", invalid_words(invalid));
        let target = Target::parse(url, self.client.options().rules).map_err(refused)?;
        match self.client.may_reach(&target).await {
            true => Ok(target),
            false => Err(refused(TargetInvalid::Private)),
        }
    }

    /// Asks a receiver to answer with a text that nobody can know.
    async fn challenge(&self, target: &Target, secrets: &[Secret]) -> Result<(), Answer> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let challenge = URL_SAFE_NO_PAD.encode(random);
        let id = EventId::generate().to_string();
        let message = Message::of_challenge(&id, &challenge, secrets, self.clock.now());
        let answer = self.client.post(target, message).await;
        match answer.took() && answer.text.contains(&challenge) {
            true => Ok(()),
            false => Err(answer),
        }
    }
}

/// Returns the URL and the state that a webhook was seen with.
pub(super) fn as_seen(webhook: &Webhook) -> (String, WebhookState) {
    (webhook.url.clone(), webhook.state)
}

/// Returns the types of events that a webhook is kept with: each once, and none that its form does
/// not tell.
pub(super) fn events_of(
    form: WebhookForm,
    mut events: Vec<EventType>,
) -> Result<Vec<EventType>, Error> {
    events.sort_unstable_by_key(|kind| *kind as u8);
    events.dedup();
    let untold = |kind: &&EventType| **kind == EventType::Test || !form.has(**kind);
    if let Some(untold) = events.iter().find(untold) {
        let told = form.told().map(|(kind, name)| match kind.as_str() {
            own if own == name => format!("`{own}`"),
            own => format!("`{own}` (told as `{name}`)"),
        });
        let told: Vec<_> = told.collect();
        let reason = format!(
            "`{untold}` is not told in this form: use some of {}",
            told.join(", ")
        );
        return Err(Error::invalid("events", reason));
    }
    if events.is_empty() && form == WebhookForm::Authforge {
        // What is not told in a form must not wait for its webhook.
        return Ok(form.told().map(|(kind, _)| kind).collect());
    }
    Ok(events)
}
