//! The parts of webhooks together, for the loop that delivers and for the operations.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::{Clock, InstanceId, OncePerMinute, Timestamp, WebhookId};
use parking_lot::Mutex;
use store::{Store, WebhookStore};
use tokio::sync::Notify;

use crate::board::Board;
use crate::client::Client;
use crate::error::Error;
use crate::outside::{Licenses, Seal};
use crate::receivers::ReceiverCache;
use crate::schedule::Schedule;
use crate::secret::Secret;

/// The webhooks of a store on one gate. One for a process.
pub struct Webhooks {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) client: Client,
    pub(crate) seal: Arc<dyn Seal>,
    pub(crate) licenses: Arc<dyn Licenses>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) holder: Holder,
    pub(crate) options: Options,
    pub(crate) board: Mutex<Board>,
    pub(crate) receivers: ReceiverCache,
    /// Told when a try has ended.
    pub(crate) ended: Notify,
    /// Told when there may be something new to deliver.
    pub(crate) woken: Notify,
    pub(crate) counts: Counts,
    pub(crate) untried_log: OncePerMinute,
}

/// The parts that [`Webhooks`] works with.
pub struct Parts {
    /// The store of record.
    pub store: Arc<dyn Store>,
    /// The client that posts.
    pub client: Client,
    /// The seal of secrets.
    pub seal: Arc<dyn Seal>,
    /// The facts about licenses and apps.
    pub licenses: Arc<dyn Licenses>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The holder of the lease by which one gate of a store delivers.
    pub holder: Holder,
}

/// The holder of the lease by which one gate of a store delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The only gate that the store can have. The next start of it goes on at once.
    Alone,
    /// This start of one of several gates.
    OneOf(InstanceId),
}

/// The times of deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The times of the tries of a delivery.
    pub schedule: Schedule,
    /// How long events are kept, with their deliveries, those that wait too \[30 d\].
    pub keep: Duration,
}

/// The counts of a gate's deliveries, for its metrics.
#[derive(Debug, Default)]
pub struct Counts {
    pub(crate) delivered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) disabled: AtomicU64,
    pub(crate) pending: AtomicU64,
    /// The time of the oldest event that waits, in microseconds; [`i64::MAX`]: none waits.
    pub(crate) oldest: AtomicI64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            keep: Duration::from_secs(30 * 86_400),
        }
    }
}

impl Webhooks {
    /// Returns the webhooks of a store. Nothing is delivered until [`Webhooks::run`] does.
    #[must_use]
    pub fn new(parts: Parts, options: Options) -> Arc<Self> {
        let Parts {
            store,
            client,
            seal,
            licenses,
            clock,
            holder,
        } = parts;
        let counts = Counts::default();
        counts.oldest.store(i64::MAX, Relaxed);
        Arc::new(Self {
            store,
            client,
            seal,
            licenses,
            clock,
            holder,
            options,
            board: Mutex::default(),
            receivers: ReceiverCache::default(),
            ended: Notify::new(),
            woken: Notify::new(),
            counts,
            untried_log: OncePerMinute::default(),
        })
    }

    /// Has the gate look at once for events to deliver, instead of within a second. Costs an atomic
    /// operation.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Returns the counts of this gate's deliveries.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn kept(&self) -> Result<&dyn WebhookStore, store::Error> {
        self.store.webhooks()
    }

    /// Returns the secrets that a webhook signs with at `now`, newest first.
    pub(crate) async fn secrets(
        &self,
        id: WebhookId,
        now: Timestamp,
    ) -> Result<Vec<Secret>, Error> {
        let sealed = self.kept()?.webhook_secrets(id, now).await?;
        let open = |sealed: &store::WebhookSecret| {
            let text = self.seal.open(id, &sealed.sealed)?;
            Some(Secret::kept(std::str::from_utf8(&text).ok()?))
        };
        let opened: Option<Vec<_>> = sealed.iter().map(open).collect();
        let opened = opened.filter(|secrets| !secrets.is_empty());
        opened.ok_or(Error::SecretMalformed(id))
    }
}

impl Holder {
    /// Returns the name by which the store knows the holder.
    pub(crate) const fn instance(self) -> InstanceId {
        match self {
            Self::Alone => InstanceId::from_u128(1),
            Self::OneOf(instance) => instance,
        }
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Counts {
    /// Returns how many deliveries receivers took.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Relaxed)
    }

    /// Returns how many tries failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Returns how many deliveries failed for good, each of which disabled its webhook.
    #[must_use]
    pub fn disabled(&self) -> u64 {
        self.disabled.load(Relaxed)
    }

    /// Returns how many deliveries waited when this gate looked last; 0 where another gate delivers.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending.load(Relaxed)
    }

    /// Returns the time of the oldest event that waited then; `None`: none did.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        let micros = self.oldest.load(Relaxed);
        (micros != i64::MAX).then(|| Timestamp::from_micros(micros))
    }

    pub(crate) fn waiting(&self, waiting: store::Waiting) {
        self.pending.store(waiting.count, Relaxed);
        let oldest = waiting.oldest.map_or(i64::MAX, Timestamp::micros);
        self.oldest.store(oldest, Relaxed);
    }
}
