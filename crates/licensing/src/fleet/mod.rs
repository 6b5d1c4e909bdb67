//! What the gates of one store share beside it: a cache of snapshots, a bell that says that something changed, and counts
//! of limits that no money depends on.
//!
//! None of it is an authority. A snapshot from the cache counts only if it is sealed under the keyring, if the change up
//! to which it was read is one that this gate read from the store itself, and if no later change touches its license. So
//! a late fill, a stale replica, a forger and a copy from before a restore are all the same: a look-up in the store.

mod history;
mod look_up;
mod seal;
mod tallies;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{InstanceId, LicenseId};
use store::ChangeNumber;

pub(crate) use history::{History, Point};
pub(crate) use look_up::Sharing;
pub use seal::FleetKey;
pub(crate) use seal::SharedLicense;

/// A cache and a bell that all gates of a store share. Answers within a short bound, or fails at once.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// What is kept under a name. One round trip.
    ///
    /// # Errors
    /// It cannot be asked, or does not answer in time.
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, FleetAway>;

    /// Keeps something for the other gates, if it can. Waits for nothing.
    fn put(&self, fill: Fill);

    /// Tells the other gates that there are changes up to this number, if it can. Waits for nothing.
    fn announce(&self, number: ChangeNumber);

    /// Tells the other gates that management keys or accounts changed, if it can. Waits for nothing.
    fn announce_keys(&self);

    /// Waits until another gate announced something, or until announcements may have been lost.
    async fn announced(&self) -> Announced;

    /// Whether it answered until now.
    fn is_up(&self) -> bool;

    /// Tells what a gate has counted, and returns in the same order what all others together have.
    ///
    /// # Errors
    /// They cannot be told, or not all of them, or not in time.
    async fn tally(
        &self,
        gate: InstanceId,
        tallies: &[CounterReport],
    ) -> Result<Vec<PeerCounts>, FleetAway>;
}

/// What other gates announced since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The highest number of their changes, 0 for none; `None`: announcements may have been lost.
    pub number: Option<ChangeNumber>,
    /// Whether management keys or accounts changed.
    pub keys: bool,
}

/// What one gate has counted of a limit that holds over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterReport {
    /// The license.
    pub license_id: LicenseId,
    /// What was counted.
    pub counted: Counted,
    /// How many, in all; not since the last time.
    pub own: u32,
    /// How long that is true if nothing more is told.
    pub left: Duration,
}

/// What is counted over all gates without the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// The calls of one period of a window shorter than an hour.
    Window {
        /// Its length.
        seconds: u32,
        /// The number of the period.
        period: u32,
    },
    /// The calls of a window that ends by idleness.
    Idle {
        /// Its length.
        seconds: u32,
    },
    /// The calls under way.
    InFlight,
}

/// What all other gates together have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// How many.
    pub count: u32,
    /// How long that is true if nothing more is told.
    pub left: Duration,
}

/// The shared cache cannot be asked now. The store can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the shared cache is out of reach")]
pub struct FleetAway;

/// Something to be kept in the shared cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Under which name.
    pub name: String,
    /// What. Of two values the one whose first [`Fill::RANK`] bytes are greater is newer and stays.
    pub value: Vec<u8>,
    /// How long at most.
    pub keep: Duration,
    /// A value that this one replaces whatever its rank, since it is none of this store's.
    pub refused: Option<Vec<u8>>,
}

impl Fill {
    /// How many bytes of a value say how new it is.
    pub const RANK: usize = 33;
}

/// Where a license that was not in memory was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In the cache that the gates share.
    Shared,
    /// In the store of record.
    Store,
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookedUp {
    /// A license that may be used by what is known here.
    Hit,
    /// None, or one that may be out of date.
    Miss,
    /// The tier was out of reach.
    Error,
}

/// Is told what happens, for metrics. Must not wait.
pub trait Observer: Send + Sync + 'static {
    /// A license that was not in memory was looked up.
    fn looked_up(&self, tier: Tier, found: LookedUp);

    /// A change that another gate made is in force here, so long after it was made by the store's clock.
    fn in_force(&self, after: Duration);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn looked_up(&self, _: Tier, _: LookedUp) {}

    fn in_force(&self, _: Duration) {}
}

/// How a gate shares with others.
#[derive(Clone)]
pub struct FleetOptions {
    /// What they share, and the key that seals it; `None`: every gate for itself.
    pub shared: Option<(Arc<dyn Fleet>, FleetKey)>,
    /// How long a snapshot is kept for the others.
    pub keep: Duration,
    /// Time between two exchanges of counts.
    pub exchange: Duration,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

impl FleetOptions {
    /// How long a count of calls under way is believed that is not told again.
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
