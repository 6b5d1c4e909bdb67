//! The fleet: what the gates of one store share beside it. That is a cache of snapshots,
//! announcements of changes, and counts of limits that no money depends on.
//!
//! None of it is an authority. A snapshot from the cache counts only if it is sealed under the
//! keyring, if this gate read the change up to which it was read from the store itself, and if no
//! later change touches its license. So a late fill, a stale replica, a forger and a copy from
//! before a restore all lead to the same: a look-up in the store.

mod counter_reports;
mod seal;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{InstanceId, LicenseId};
use store::ChangeNumber;

pub(crate) use counter_reports::CounterExchange;
pub use seal::FleetKey;
pub(crate) use seal::{Shared, SharedLicense};

/// A service that all gates of a store share. Answers within a short time limit, or fails at once.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Returns the value that is kept under a name. One round trip.
    ///
    /// # Errors
    /// The service cannot be asked, or does not answer in time.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, FleetAway>;

    /// Keeps a value for the other gates, if it can. Waits for nothing.
    fn put(&self, fill: Fill);

    /// Tells the other gates that there are changes up to this number, if it can. Waits for
    /// nothing.
    fn announce(&self, number: ChangeNumber);

    /// Tells the other gates that management keys or accounts changed, if it can. Waits for
    /// nothing.
    fn announce_keys(&self);

    /// Waits until another gate announced something, or until announcements may have been lost.
    async fn announced(&self) -> Announced;

    /// Returns whether the service answered until now.
    fn is_up(&self) -> bool;

    /// Stores what a gate has counted, and returns in the same order what all others together have.
    ///
    /// # Errors
    /// The service cannot be asked, not for all of them, or not in time.
    async fn exchange_counts(
        &self,
        gate: InstanceId,
        reports: &[CounterReport],
    ) -> Result<Vec<PeerCounts>, FleetAway>;
}

/// The announcements of other gates since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The highest number of their changes, 0 for none; `None`: announcements may have been lost.
    pub number: Option<ChangeNumber>,
    /// Whether management keys or accounts changed.
    pub keys: bool,
}

/// The count of one gate against a limit that holds over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterReport {
    /// The license.
    pub license_id: LicenseId,
    /// The kind of count.
    pub counted: Counted,
    /// The whole count, not the difference since the last report.
    pub own: u32,
    /// The time for which the count is valid if no other is reported.
    pub left: Duration,
}

/// A count that is kept over all gates without the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// The calls of one period of a window shorter than an hour.
    Window {
        /// The length of the window in seconds.
        seconds: u32,
        /// The number of the period.
        period: u32,
    },
    /// The calls of a window that ends by idleness.
    Idle {
        /// The length of the window in seconds.
        seconds: u32,
    },
    /// The calls under way.
    InFlight,
}

/// The count of all other gates together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// The sum of their counts.
    pub count: u32,
    /// The time for which the count is valid if no other is reported.
    pub left: Duration,
}

/// The error of a service that cannot be asked now. The store can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared cache is out of reach")]
pub struct FleetAway;

/// A value to be kept in the shared cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The name of the value.
    pub name: String,
    /// The value. Of two values the one whose first [`Fill::RANK`] bytes are greater is newer and
    /// stays.
    pub value: Vec<u8>,
    /// The longest time that it is kept.
    pub keep: Duration,
    /// A present value that this one replaces whatever its rank, since no gate of this store wrote
    /// it.
    pub refused: Option<Vec<u8>>,
}

impl Fill {
    /// The number of first bytes of a value that say how new it is.
    pub const RANK: usize = 33;
}

/// The place where a license that was not in memory was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The cache that the gates share.
    Shared,
    /// The store of record.
    Store,
}

/// The result of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookedUp {
    /// A license that may be used by what is known here.
    Hit,
    /// No license was found, or one that may be out of date.
    Miss,
    /// The tier was out of reach.
    Error,
}

/// An observer of what happens, for metrics. Its methods must not wait.
pub trait Observer: Send + Sync + 'static {
    /// Called when a license that was not in memory was looked up.
    fn looked_up(&self, tier: Tier, found: LookedUp);

    /// Called when a change that another gate made is in force here, `after` it was made by the
    /// store's clock.
    fn in_force(&self, after: Duration);
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn looked_up(&self, _: Tier, _: LookedUp) {}

    fn in_force(&self, _: Duration) {}
}

/// Options of what a gate shares with others.
#[derive(Clone)]
pub struct FleetOptions {
    /// The shared service and the key that seals its values; `None`: nothing is shared.
    pub shared: Option<(Arc<dyn Fleet>, FleetKey)>,
    /// The time for which a snapshot is kept for the other gates \[1 h\].
    pub keep: Duration,
    /// The time between two exchanges of counts \[100 ms\].
    pub exchange: Duration,
    /// The observer of what happens.
    pub observer: Arc<dyn Observer>,
}

impl FleetOptions {
    /// Returns the shared service; `None`: nothing is shared.
    pub(crate) fn service(&self) -> Option<&dyn Fleet> {
        self.shared.as_ref().map(|(service, _)| &**service)
    }

    /// Returns how long a count of running calls is believed that is not reported again.
    pub(crate) const fn hold(&self) -> Duration {
        self.exchange.saturating_mul(5)
    }
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            shared: None,
            keep: Duration::from_secs(3_600),
            exchange: Duration::from_millis(100),
            observer: Arc::new(NoObserver),
        }
    }
}

impl std::fmt::Debug for FleetOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetOptions")
            .field("shared", &self.shared.is_some())
            .field("keep", &self.keep)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
