//! The store of webhooks, of the events that wait for them, and of their deliveries.
//!
//! Events of licenses are written in the transaction of their change, those of the ledger in the
//! transaction of its roll-up, into an outbox; only for accounts that have a webhook.
//! [`WebhookStore::fan_out`] makes deliveries of them. One gate at a time does that and delivers:
//! the one that holds the lease.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE webhooks (id, account, app, url, events, form, state, created_at, last_delivery_at, due_at);
//! CREATE TABLE webhook_secrets (webhook_id, number, sealed, ends_at, PRIMARY KEY (webhook_id, number));
//! CREATE TABLE events (number, id UNIQUE, kind, at, account, app, license_id, data, fanned_out);
//! CREATE TABLE deliveries (number, webhook_id, event, source, license_id, state, head, attempts, next_at, …,
//!   UNIQUE (event, webhook_id));
//! -- A delivery may be tried if it waits, is due, its webhook is active, and it is the head of those that wait for the same
//! -- webhook, from the same source, about the same license: that of the oldest event.
//! CREATE TABLE ledger_events (number, id UNIQUE, kind, at, account, app, license_id, data);
//! CREATE TABLE told_keys (license_id, id, sealed, at, PRIMARY KEY (license_id, id));
//! CREATE TABLE leases_by_name (name PRIMARY KEY, instance, ends_at);
//! ```

use std::time::Duration;

use async_trait::async_trait;
use model::{
    AccountName, AppName, CredentialId, DeliveryState, Event, EventId, EventType, InstanceId,
    LicenseId, Timestamp, Webhook, WebhookForm, WebhookId, WebhookState,
};

use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::SealedKey;
use crate::upstreams::UpstreamStore;

/// A webhook to be kept.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// The webhook.
    pub webhook: Webhook,
    /// Its sealed secret.
    pub secret: SealedKey,
}

/// A secret of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSecret {
    /// The sealed secret.
    pub sealed: SealedKey,
    /// The time from which on nothing is signed with it; `None`: that is not decided yet.
    pub ends_at: Option<Timestamp>,
}

/// A change of a webhook. A field that is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct WebhookChange {
    /// The URL.
    pub url: Option<String>,
    /// The types of events; empty: all.
    pub events: Option<Vec<EventType>>,
    /// The state. Becoming active makes what waits due at once, with all its tries, and what failed
    /// for good as well, but for tests: in the order of the events of each license.
    pub state: Option<WebhookState>,
    /// A new secret. Those before it end at the time, if they do not end sooner. A webhook has at
    /// most [`WebhookChange::MAX_SECRETS`]: the oldest beyond that are gone.
    pub secret: Option<(SealedKey, Timestamp)>,
    /// The URL and the state that the webhook must have for the change to be made; `None`: any.
    pub only_if: Option<(String, WebhookState)>,
}

/// What came of a change of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookChanged {
    /// It was made, and this is the webhook now.
    Made(Webhook),
    /// The webhook has another URL or state than [`WebhookChange::only_if`] says, and stays as it is.
    Otherwise(Webhook),
    /// There is no such webhook.
    Unknown,
}

impl WebhookChange {
    /// The largest number of secrets that a webhook has at once.
    pub const MAX_SECRETS: u32 = 10;
}

/// A selection of webhooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookFilter {
    /// The account; `None`: any.
    pub account: Option<AccountName>,
    /// The app that they name; `None`: any.
    pub app: Option<AppName>,
    /// The form; `None`: any.
    pub form: Option<WebhookForm>,
}

/// The last try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The time at which it began.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// The status that the receiver answered; `None`: it did not answer.
    pub status: Option<u16>,
    /// The beginning of its answer, or what failed, of at most [`Attempt::MAX_ANSWER_BYTES`] bytes.
    pub answer: String,
}

impl Attempt {
    /// The length of the longest answer that is kept, in bytes.
    pub const MAX_ANSWER_BYTES: usize = 1_024;
}

/// The delivery of an event to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number, which grows with time.
    pub number: u64,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The event.
    pub event: Event,
    /// The state.
    pub state: DeliveryState,
    /// The number of tries so far, of the present round.
    pub attempts: u32,
    /// The time of the next try; `None`: there is none.
    pub next_at: Option<Timestamp>,
    /// The last try; `None`: there was none.
    pub last: Option<Attempt>,
}

/// The result of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptResult {
    /// The number of the delivery.
    pub number: u64,
    /// The webhook.
    pub webhook_id: WebhookId,
    /// The try.
    pub attempt: Attempt,
    /// What becomes of the delivery.
    pub next: NextStep,
}

/// What becomes of a delivery after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The receiver took it.
    Delivered,
    /// It is tried again at this time.
    RetryAt(Timestamp),
    /// It failed for good, and its webhook is disabled.
    Disable,
}

impl NextStep {
    /// Returns whether the delivery is not tried again.
    #[must_use]
    pub const fn ends(self) -> bool {
        !matches!(self, Self::RetryAt(_))
    }
}

/// A selection of deliveries of one webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// The state; `None`: any.
    pub state: Option<DeliveryState>,
    /// The earliest time of their events, included; `None`: no bound.
    pub from: Option<Timestamp>,
    /// The latest time of their events, excluded; `None`: no bound.
    pub to: Option<Timestamp>,
    /// The event; `None`: any.
    pub event_id: Option<EventId>,
}

/// The deliveries that whoever delivers does not want now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Busy {
    /// The numbers of deliveries that are under way, at most 4,096.
    pub deliveries: Vec<u64>,
    /// The webhooks that take no more for now, at most 4,096.
    pub webhooks: Vec<WebhookId>,
}

/// The number of deliveries that wait, due or not, those of webhooks that get nothing for now too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many there are.
    pub count: u64,
    /// The time of the oldest event among them; `None`: none waits.
    pub oldest: Option<Timestamp>,
}

/// The store of webhooks, and of what events are made of that neither a change nor a record is.
#[async_trait]
pub trait WebhookStore: UpstreamStore {
    /// Keeps a webhook, unless its account and app have `most` of its form already. Returns whether
    /// it was kept.
    ///
    /// # Errors
    /// [`Error::Exists`] if the id is there already.
    async fn create_webhook(
        &self,
        new: NewWebhook,
        most: u32,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error>;

    /// Returns a webhook.
    async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, Error>;

    /// Returns up to `limit` webhooks in order of id, after `after`.
    async fn webhooks(
        &self,
        filter: WebhookFilter,
        after: Option<WebhookId>,
        limit: usize,
    ) -> Result<Vec<Webhook>, Error>;

    /// Returns the secrets of a webhook that have not ended at `now`, newest first.
    async fn webhook_secrets(
        &self,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Vec<WebhookSecret>, Error>;

    /// Changes a webhook, if it is as the change wants it to be.
    async fn change_webhook(
        &self,
        id: WebhookId,
        change: WebhookChange,
        now: Timestamp,
        entries: AuditEntries<Changed<Webhook>>,
    ) -> Result<WebhookChanged, Error>;

    /// Removes a webhook with its secrets and deliveries. Returns whether there was one. Many
    /// deliveries are removed in several transactions, after the webhook.
    async fn delete_webhook(
        &self,
        id: WebhookId,
        entries: AuditEntries<Webhook>,
    ) -> Result<bool, Error>;

    /// Puts events into the outbox, those of accounts that have a webhook; one that is there already
    /// stays as it is. For events that come with no change of the store.
    async fn add_events(&self, events: Vec<Event>) -> Result<(), Error>;

    /// Keeps a test event and its only delivery, to one webhook, which was tried already: it is
    /// [`DeliveryState::Delivered`] if the receiver `took` it, else [`DeliveryState::Failed`]. It is
    /// in nobody's queue, and the state of the webhook stays as it is. If the webhook is gone,
    /// nothing is kept.
    async fn add_tested(
        &self,
        webhook: WebhookId,
        event: Event,
        attempt: Attempt,
        took: bool,
    ) -> Result<(), Error>;

    /// Makes deliveries of up to `limit` events of the outbox, oldest first, those of the ledger
    /// too: one for each webhook that gets them, due at once. Doing it again makes no second one.
    /// Returns how many events it took.
    async fn fan_out(&self, limit: usize, now: Timestamp) -> Result<usize, Error>;

    /// Returns up to `limit` deliveries that may be tried at `now`, oldest first: for one webhook at
    /// most `each` that were never tried, and as many that were. So licenses whose events fail hold
    /// back no others, however many there are. Costs an index look-up for each and for each webhook,
    /// however many wait.
    async fn due_deliveries(
        &self,
        now: Timestamp,
        limit: usize,
        each: usize,
        without: Busy,
    ) -> Result<Vec<Delivery>, Error>;

    /// Returns how many deliveries wait, and since when. Costs a pass over them: ask once in a
    /// while.
    async fn waiting(&self) -> Result<Waiting, Error>;

    /// Writes down the results of tries, in one transaction. Results of deliveries that are gone are
    /// ignored.
    async fn note_attempts(&self, results: Vec<AttemptResult>) -> Result<(), Error>;

    /// Returns up to `limit` deliveries of a webhook, newest first, before the number `before`.
    async fn deliveries(
        &self,
        webhook: WebhookId,
        filter: DeliveryFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error>;

    /// Makes the deliveries of a webhook that are selected and do not wait due again, with all their
    /// tries; unless a state is selected, it also makes deliveries of selected events that the
    /// webhook wants and never got. Tests are left out. An event comes before younger ones of its
    /// license that wait. Returns how many are due again. Many take several transactions, the first
    /// of which writes the lines: after an error, some may be due.
    async fn redeliver(
        &self,
        webhook: WebhookId,
        filter: DeliveryFilter,
        now: Timestamp,
        entries: AuditEntries<()>,
    ) -> Result<u64, Error>;

    /// Returns the sealed copies of the keys of a license that was revoked for good, newest first,
    /// where it had any and its account had a webhook of a form that tells keys. They are forgotten
    /// with the events before that ([`WebhookStore::sweep_events`]).
    async fn told_keys(&self, license: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error>;

    /// Writes events of licenses that end in 7 days, in 1, or have ended, each once for a license and
    /// its end, whichever gate asks. It looks at up to `limit` licenses for each, those whose time
    /// has come since the last time, and stays 2 s behind; their time is that of the end, or the days
    /// before it. What came before the first time, and what came while nobody asked until the next
    /// of the three was due, is not told. A license that is changed within an hour after its end is
    /// told to have ended by that change, if it was not told yet. Returns at how many licenses it
    /// looked: ask again until that is 0. Costs no write where there is none.
    async fn note_expiring(&self, now: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Forgets up to `limit` events older than `before` with their deliveries, those that wait too,
    /// and copies of keys that were kept for events before that.
    /// Returns how many events.
    async fn sweep_events(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Takes or prolongs the lease of this name for an instance, until `lasts` from now by the
    /// store's clock, unless another instance holds it. Returns whether this instance holds it.
    async fn hold_lease(
        &self,
        name: &'static str,
        instance: InstanceId,
        lasts: Duration,
    ) -> Result<bool, Error>;

    /// Gives the lease of this name back, if this instance holds it.
    async fn end_lease(&self, name: &'static str, instance: InstanceId) -> Result<(), Error>;
}
