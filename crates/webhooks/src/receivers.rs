//! The receivers of the webhooks that are being delivered, as they were read a moment ago.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Moment, Webhook, WebhookId, WebhookState};
use outbound::{Target, TargetInvalid};
use parking_lot::Mutex;

use crate::error::Error;
use crate::secret::Secret;
use crate::webhooks::Webhooks;

/// A webhook with what a delivery needs.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) webhook: Webhook,
    pub(crate) target: Result<Target, TargetInvalid>,
    /// The secrets, newest first, at least one.
    pub(crate) secrets: Vec<Secret>,
    read_at: Moment,
}

/// The receivers that were read last. What another gate changed is known here a second later.
#[derive(Debug, Default)]
pub(crate) struct ReceiverCache(Mutex<HashMap<WebhookId, Arc<Receiver>>>);

/// The age up to which a receiver is used without being read again.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The most receivers that are kept.
const MAX_KEPT: usize = 1_024;

impl ReceiverCache {
    /// Forgets a receiver, because it was changed.
    pub(crate) fn forget(&self, id: WebhookId) {
        self.0.lock().remove(&id);
    }

    fn fresh(&self, id: WebhookId, now: Moment) -> Option<Arc<Receiver>> {
        let kept = self.0.lock().get(&id).cloned()?;
        (now.since(kept.read_at) < MAX_AGE).then_some(kept)
    }

    fn keep(&self, receiver: &Arc<Receiver>, now: Moment) {
        let mut kept = self.0.lock();
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, other| now.since(other.read_at) < MAX_AGE);
        }
        if kept.len() < MAX_KEPT {
            kept.insert(receiver.webhook.id, receiver.clone());
        }
    }
}

impl Webhooks {
    /// Returns the receiver of a webhook that gets events now; `None`: it gets none, or is gone.
    ///
    /// # Errors
    /// The store fails, or the secret cannot be opened.
    pub(crate) async fn receiver(&self, id: WebhookId) -> Result<Option<Arc<Receiver>>, Error> {
        let now = self.clock.since_boot();
        if let Some(kept) = self.receivers.fresh(id, now) {
            return Ok(Some(kept));
        }
        let found = self.kept()?.webhook(id).await?;
        let Some(webhook) = found.filter(|found| found.state == WebhookState::Active) else {
            return Ok(None);
        };
        let receiver = Arc::new(Receiver {
            target: Target::parse(&webhook.url, self.client.options().rules),
            secrets: self.secrets(id, self.clock.now()).await?,
            webhook,
            read_at: now,
        });
        self.receivers.keep(&receiver, now);
        Ok(Some(receiver))
    }
}
