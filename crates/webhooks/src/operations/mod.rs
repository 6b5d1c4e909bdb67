//! What people do with webhooks, once for the command line and all protocols. Every operation that
//! changes something leaves a line in the audit log, in the transaction of the change.

mod change;
mod create;
mod deliveries;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use model::{AccountName, Actor, AppName, AuditEntry, EventType, Webhook, WebhookForm, WebhookId};
use serde_json::{Value, json};
use store::WebhookFilter;

use crate::error::Error;
use crate::secret::Secret;
use crate::webhooks::Webhooks;

/// The operations on webhooks in the name of an actor.
#[derive(Clone, Debug)]
pub struct AuditedWebhooks {
    webhooks: Arc<Webhooks>,
    actor: Actor,
}

/// A request for a webhook.
#[derive(Clone, Default)]
pub struct WebhookRequest {
    /// The account whose events it gets.
    pub account: AccountName,
    /// The app whose events alone it gets; `None`: every app of the account.
    pub app: Option<AppName>,
    /// The URL.
    pub url: String,
    /// The types of events that it gets; empty: all that its form tells.
    pub events: Vec<EventType>,
    /// The form of what it gets.
    pub form: WebhookForm,
    /// The secret that its owner chose; `None`: a new one.
    pub secret: Option<String>,
    /// Whether it gets nothing until it is resumed.
    pub paused: bool,
}

impl std::fmt::Debug for WebhookRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookRequest")
            .field("form", &self.form)
            .field("secret", &self.secret.as_ref().map(|_| "redacted"))
            .finish_non_exhaustive()
    }
}

/// A webhook with a new secret.
#[derive(Clone, Debug)]
pub struct IssuedWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// The secret, to be shown this once.
    pub secret: Secret,
}

/// A change of a webhook. A field that is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct WebhookUpdate {
    /// The URL.
    pub url: Option<String>,
    /// The types of events that it gets; empty: all that its form tells.
    pub events: Option<Vec<EventType>>,
    /// Whether it gets events; `false` pauses it.
    pub active: Option<bool>,
}

/// The most webhooks of AuthForge's form that an app has, as in AuthForge.
const MOST_OF_AUTHFORGE: u32 = 5;
/// The most webhooks of another form that an account or app has.
const MOST: u32 = 100;
/// The time for which former secrets go on signing, if nobody says another.
const OVERLAP: Duration = Duration::from_secs(86_400);
/// The longest time for which a former secret goes on signing.
const MAX_OVERLAP: Duration = Duration::from_secs(30 * 86_400);

impl Webhooks {
    /// Returns the operations in the name of an actor.
    #[must_use]
    pub fn acting(self: &Arc<Self>, actor: Actor) -> AuditedWebhooks {
        AuditedWebhooks {
            webhooks: self.clone(),
            actor,
        }
    }

    /// Returns a webhook.
    ///
    /// # Errors
    /// There is no such webhook, or the store fails.
    pub async fn webhook(&self, id: WebhookId) -> Result<Webhook, Error> {
        let found = self.kept()?.webhook(id).await?;
        found.ok_or(Error::Unknown(id))
    }

    /// Returns up to `limit` webhooks in order of id, after `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list(
        &self,
        filter: WebhookFilter,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Vec<Webhook>, Error> {
        Ok(self.kept()?.webhooks(filter, after, limit).await?)
    }
}

impl Deref for AuditedWebhooks {
    type Target = Webhooks;

    fn deref(&self) -> &Webhooks {
        &self.webhooks
    }
}

impl AuditedWebhooks {
    /// Returns a maker of a line of the audit log, which borrows nothing.
    fn line(
        &self,
        action: &'static str,
    ) -> impl Fn(&Webhook) -> AuditEntry + Send + Sync + 'static {
        let (actor, at) = (self.actor, self.clock.now());
        move |webhook| AuditEntry::new(&actor, at, action, webhook.id).of(&webhook.account)
    }

    /// Has what changed be in force at once on this gate.
    fn changed(&self, id: WebhookId) {
        self.receivers.forget(id);
        let mut board = self.board.lock();
        board.forget_queue(id);
        board.trust(id);
        drop(board);
        self.wake();
    }
}

/// Returns a webhook as the log shows it: without the query of its URL, which may be a secret of the
/// receiver.
fn shown(webhook: &Webhook) -> Value {
    let mut value = json!(webhook);
    if let Some((before, _)) = webhook.url.split_once('?') {
        value["url"] = json!(format!("{before}?…"));
    }
    value
}
