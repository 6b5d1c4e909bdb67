//! The license cache: everything that this gate knows of licenses, in memory. It knows no store.
//!
//! It is filled by look-ups (`load`) and kept true by the change numbers of the store (`changes`).
//! Every change raises the version of its license's state: licenses cached before are outdated from
//! then on and are loaded again by the next call. The change log recognises a fill that raced with
//! a change: the fill is thrown away if a newer change than what it read came in since it began.

mod absent_wallets;
mod apply;
mod change_log;
mod fill;
mod fingerprints;
mod freshness;
mod history;
mod maps;
mod pending_cuts;
#[cfg(test)]
mod tests;
mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{Clock, KeyHash, LicenseId, Moment};
use parking_lot::{Mutex, MutexGuard};
use store::ChangeNumber;

use crate::license::{CachedLicense, LicenseQueues, LicenseState, States};
use crate::options::LicensingOptions;
use crate::plans::CurrentPlans;

use absent_wallets::AbsentWallets;
pub(crate) use change_log::{ChangeLog, LoggedChange};
pub use fingerprints::FingerprintSet;
pub use freshness::Freshness;
pub(crate) use freshness::Reading;
pub(crate) use history::{History, Place, Point};
use maps::{LicensesByKey, NegativeCache, licenses_by_key};
pub(crate) use pending_cuts::PendingCuts;

/// The licenses and keys that this gate knows of.
pub(crate) struct LicenseCache {
    options: LicensingOptions,
    clock: Arc<dyn Clock>,
    plans: Arc<CurrentPlans>,
    licenses: LicensesByKey,
    negative: NegativeCache,
    absent_wallets: AbsentWallets,
    fingerprints: FingerprintSet,
    states: States,
    /// The log of changes. Locked by whoever changes what is known of a license, so that fills and
    /// changes have one order.
    log: Mutex<ChangeLog>,
    pending_cuts: PendingCuts,
    reading: Reading,
    /// Whether the cached knowledge does not match the store any more and is being read again from
    /// the beginning.
    resyncing: AtomicBool,
}

/// The result of looking up a presented key without waiting.
#[derive(Debug)]
pub enum Found {
    /// A license has the key. Judge the call with [`CachedLicense::check`].
    Known(Arc<CachedLicense>),
    /// No license has the key, and the changes were read since the call came, so that no look-up is
    /// needed.
    Unknown,
    /// No license had the key when the changes were last read, which was before the call came. It
    /// may have been created since on another gate: await
    /// [`Admission::find_after_refresh`](crate::Admission::find_after_refresh).
    Unheard,
    /// The license of the key must be loaded: await [`Admission::load`](crate::Admission::load).
    Cold,
    /// This gate was suspended, and must read the changes first: await
    /// [`Admission::find_after_refresh`](crate::Admission::find_after_refresh).
    Unread,
    /// The store is out of reach, and the license is not cached or its grace is over: 503, never
    /// 401 (G8).
    Unavailable,
}

/// The number of things that are cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// The number of credentials that are cached with their licenses.
    pub entries: usize,
    /// The number of keys known not to exist.
    pub negative: usize,
    /// The number of licenses with a state: cached ones, and those whose meters hold something.
    pub states: usize,
    /// The number of fingerprints of credentials; there is one for each that exists.
    pub fingerprints: usize,
    /// The size of the fingerprints in bytes.
    pub fingerprint_bytes: usize,
}

impl LicenseCache {
    /// Returns an empty cache. Its fingerprints and history are to be read before it is used.
    pub(crate) fn new(
        options: LicensingOptions,
        clock: Arc<dyn Clock>,
        plans: Arc<CurrentPlans>,
        queues: Arc<LicenseQueues>,
    ) -> Self {
        Self {
            licenses: licenses_by_key(options.cache_capacity),
            negative: NegativeCache::new(options.negative_capacity),
            absent_wallets: AbsentWallets::default(),
            fingerprints: FingerprintSet::with_capacity(0),
            states: States::new(queues),
            log: Mutex::default(),
            pending_cuts: PendingCuts::default(),
            reading: Reading::begun(clock.since_boot()),
            resyncing: AtomicBool::new(false),
            options,
            clock,
            plans,
        }
    }

    /// Returns what is known of a key for a call that came at `now`. Takes at most two look-ups in
    /// memory, allocates nothing and waits for nothing, unless the plans changed since the license
    /// was cached.
    pub(crate) fn find(&self, hash: &KeyHash, now: Moment) -> Found {
        let freshness = self.freshness(now);
        if let Freshness::Unread { .. } = freshness {
            return Found::Unread;
        }
        match (self.licenses.get(hash), freshness) {
            (Some(license), _) if !license.is_outdated() => {
                let fits = license.stamp().plans == self.plans.serial();
                let license = if fits {
                    license
                } else {
                    self.refit(hash, license)
                };
                match freshness.is_beyond(license.grace()) {
                    true => Found::Unavailable,
                    false => Found::Known(license),
                }
            }
            (_, Freshness::Unread { .. } | Freshness::Stale { .. }) => Found::Unavailable,
            (_, Freshness::Fresh) => {
                // Checked before the fingerprints, which a reading that ends in between has added
                // to.
                let heard = self.reading.began_since(now);
                // During a resynchronization the fingerprints are those of before.
                let absent =
                    !self.fingerprints.contains(hash.fingerprint()) && !self.is_resyncing();
                match absent || self.negative.holds(hash, now) {
                    true if heard => Found::Unknown,
                    true => Found::Unheard,
                    false => Found::Cold,
                }
            }
        }
    }

    /// Returns a cached license that is not outdated, however fresh the last reading is.
    pub(crate) fn current(&self, hash: &KeyHash) -> Option<Arc<CachedLicense>> {
        let cached = self.licenses.get(hash);
        cached.filter(|license| !license.is_outdated())
    }

    /// Returns how fresh the last reading of the changes is. Costs two loads.
    pub(crate) fn freshness(&self, now: Moment) -> Freshness {
        let options = &self.options;
        // Between two failures lie a poll and the time after which a silent store counts as one
        // that failed.
        let believed = 2 * (options.change_poll + options.load_timeout);
        self.reading.freshness(now, options.stale_after, believed)
    }

    /// Returns the record of when the changes were read.
    pub(crate) const fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Locks the log of changes. While it is locked, nothing that is known of a license changes.
    pub(crate) fn log(&self) -> MutexGuard<'_, ChangeLog> {
        self.log.lock()
    }

    /// Returns the number of the change up to which the store was read.
    pub(crate) fn reached(&self) -> ChangeNumber {
        self.log.lock().history.reached().number
    }

    /// Returns the fingerprints of all credentials.
    pub(crate) const fn fingerprints(&self) -> &FingerprintSet {
        &self.fingerprints
    }

    /// Returns the state of a license; `None`: it has none here.
    pub(crate) fn state(&self, id: LicenseId) -> Option<Arc<LicenseState>> {
        self.states.get(id)
    }

    /// Returns whether a wallet is known not to exist, for a call that came at `now`. A gate that
    /// was suspended does not know.
    pub(crate) fn lacks_wallet(&self, id: LicenseId, now: Moment) -> bool {
        let unread = matches!(self.freshness(now), Freshness::Unread { .. });
        !unread && !self.is_resyncing() && self.absent_wallets.holds(id)
    }

    /// Returns the licenses whose running calls have to learn what became of them.
    pub(crate) const fn pending_cuts(&self) -> &PendingCuts {
        &self.pending_cuts
    }

    /// Returns whether the cached knowledge is being read again from the beginning.
    pub(crate) fn is_resyncing(&self) -> bool {
        self.resyncing.load(Ordering::Acquire)
    }

    /// Returns how much is cached.
    pub(crate) fn size(&self) -> CacheSize {
        CacheSize {
            entries: self.licenses.len(),
            negative: self.negative.len(),
            states: self.states.len(),
            fingerprints: self.fingerprints.len(),
            fingerprint_bytes: self.fingerprints.bytes(),
        }
    }

    /// Gives back idle leases and drops idle states, for ever.
    pub(crate) async fn run_sweeps(&self) {
        const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
        const SHARDS_AT_ONCE: usize = States::ROUNDS / 16;
        let mut round = 0;
        loop {
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let now = self.clock.now();
            let fresh = self.freshness(self.clock.since_boot()) == Freshness::Fresh;
            for _ in 0..SHARDS_AT_ONCE {
                self.states.sweep(round, now, fresh);
                round = round.wrapping_add(1);
            }
        }
    }
}
