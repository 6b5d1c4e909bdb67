//! The license cache as callers see it: opening, look-ups, plans and the background work.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{Clock, InstanceId, KeyHash, KeyHasher, LicenseId, Moment, PlanRevision};
use parking_lot::Mutex;
use store::{ChangeNumber, Store};
use tokio::sync::Notify;

use crate::cache::{LicenseCache, NegativeCache, license_cache};
use crate::cached_license::CachedLicense;
use crate::changes::ChangeLog;
use crate::error::Error;
use crate::fingerprints::FingerprintSet;
use crate::fleet::FleetOptions;
use crate::freshness::{Freshness, Reading};
use crate::key_copies::{KeyCopies, LicenseKeys};
use crate::lease_queue::LeaseQueue;
use crate::operations::{AppSecretCache, AuditQueue, InFlight, LostClaimPermits, ManagementCache};
use crate::options::LicensingOptions;
use crate::plans::Plans;
use crate::single_flight::SingleFlight;
use crate::states::States;

/// The knowledge of this gate about licenses, and every operation on them. One for a process,
/// shared by all of its threads.
pub struct Licensing {
    pub(crate) options: LicensingOptions,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hasher: KeyHasher,
    pub(crate) copies: Option<KeyCopies>,
    pub(crate) instance: InstanceId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fleet: FleetOptions,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) plans: ArcSwap<Plans>,
    plans_serial: AtomicU32,
    /// Notified when the plans changed.
    pub(crate) plans_changed: Notify,
    /// Notified when a license names a plan that is not known here, and by calls that wait for it.
    pub(crate) plan_unknown: Arc<Notify>,
    pub(crate) cache: LicenseCache,
    pub(crate) negative: NegativeCache,
    pub(crate) fingerprints: FingerprintSet,
    pub(crate) states: States,
    pub(crate) lease_queue: Arc<LeaseQueue>,
    /// The log of changes. Locked by whoever changes what is known of a license, so that fills and
    /// changes have one order.
    pub(crate) log: Mutex<ChangeLog>,
    pub(crate) loads: Arc<SingleFlight>,
    pub(crate) management: ManagementCache,
    pub(crate) app_secrets: AppSecretCache,
    pub(crate) audit_queue: AuditQueue,
    /// The idempotent operations that are running in this process.
    pub(crate) in_flight: Arc<InFlight>,
    /// The permits to look after claims of tokens whose answer was lost.
    pub(crate) lost_claim_permits: LostClaimPermits,
    /// The licenses that others changed, for whose running calls the new status is still to be
    /// read.
    pub(crate) pending_cuts: Mutex<HashSet<LicenseId>>,
    pub(crate) cuts_wanted: Notify,
    pub(crate) wake: Notify,
    /// Notified by calls with a key unknown here: one reading of the changes serves all of them.
    pub(crate) unknown_key: Notify,
    pub(crate) reading: Reading,
    /// Held while the changes are read, so that they are recorded in their order.
    pub(crate) following: tokio::sync::Mutex<()>,
    /// Whether the cached knowledge does not match the store any more and is being read again from
    /// the beginning.
    pub(crate) resyncing: AtomicBool,
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
    /// may have been created since on another gate: await [`Licensing::find_after_refresh`].
    Unheard,
    /// The license of the key must be loaded: await [`Licensing::load`].
    Cold,
    /// This gate was suspended, and must read the changes first: await
    /// [`Licensing::find_after_refresh`].
    Unread,
    /// The store is out of reach, and the license is not cached or its grace is over: 503, never
    /// 401 (G8).
    Unavailable,
}

/// How much is cached.
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

impl std::fmt::Debug for Licensing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Licensing")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Licensing {
    /// Opens the license cache: reads the number of the last change and the fingerprints of all
    /// credentials. To be called on the runtime that may wait for the store. [`Licensing::run`]
    /// must run for as long as the cache is used.
    ///
    /// # Errors
    /// The store fails.
    pub async fn open(
        options: LicensingOptions,
        store: Arc<dyn Store>,
        keys: impl Into<LicenseKeys>,
        plans: Plans,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        let alone = FleetOptions::default();
        Self::open_in_fleet(options, store, keys, plans, instance, clock, alone).await
    }

    /// Opens the license cache of a gate that shares with others. See [`Licensing::open`].
    ///
    /// # Errors
    /// The store fails.
    pub async fn open_in_fleet(
        options: LicensingOptions,
        store: Arc<dyn Store>,
        keys: impl Into<LicenseKeys>,
        plans: Plans,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        fleet: FleetOptions,
    ) -> Result<Arc<Self>, Error> {
        let LicenseKeys { hasher, copies } = keys.into();
        let begun = clock.since_boot();
        let loads = SingleFlight::new(options.loads_in_flight);
        let plan_unknown = Arc::<Notify>::default();
        let lease_queue = LeaseQueue::new(options.lease, fleet.shared.is_some());
        store.put_plan_revisions(revisions(&plans)).await?;
        // The number is read first: what is added later comes with the changes after it.
        let (_, last) = store.changes_since(ChangeNumber(0), 1).await?;
        let licensing = Self {
            cache: license_cache(options.cache_capacity),
            negative: NegativeCache::new(options.negative_capacity),
            fingerprints: FingerprintSet::with_capacity(0),
            states: States::new(lease_queue.clone()),
            lease_queue,
            options,
            store,
            hasher,
            copies,
            instance,
            clock,
            fleet,
            runtime: tokio::runtime::Handle::current(),
            plans: ArcSwap::from_pointee(plans.ringing(plan_unknown.clone())),
            plans_serial: AtomicU32::new(0),
            plans_changed: Notify::new(),
            plan_unknown,
            log: Mutex::default(),
            loads,
            management: ManagementCache::default(),
            app_secrets: AppSecretCache::default(),
            audit_queue: AuditQueue::default(),
            in_flight: Arc::default(),
            lost_claim_permits: LostClaimPermits::default(),
            pending_cuts: Mutex::default(),
            cuts_wanted: Notify::new(),
            wake: Notify::new(),
            unknown_key: Notify::new(),
            reading: Reading::begun(begun),
            following: tokio::sync::Mutex::default(),
            resyncing: AtomicBool::new(false),
        };
        licensing.renew_fingerprints().await?;
        licensing.read_history(last).await?;
        Ok(Arc::new(licensing))
    }

    /// Runs the background work until `shutdown`: follows the changes of the store, takes and
    /// returns leases, writes what waits to be written, and drops what is idle. Spawn it once.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let work = async {
            tokio::join!(
                self.serve_changes(),
                self.serve_fingerprints(),
                self.serve_learning(),
                self.serve_announcements(),
                self.serve_counter_reports(),
                self.serve_leases(),
                self.serve_sweeps(),
                self.serve_expiry(),
                self.lease_queue.last_uses.run(&*self.store),
            )
        };
        tokio::select! {
            () = shutdown => {}
            _ = work => {}
        }
        self.write_last_uses().await;
        // What was denied in the last minute is written before the end.
        let next_minute = self.clock.now().plus_micros(60_000_000);
        self.tend_audit(next_minute).await;
    }

    /// Writes to the store when API keys were last used, as [`Licensing::run`] does once a second and at its
    /// end. What cannot be written is kept for the next time.
    pub async fn write_last_uses(&self) {
        self.lease_queue.last_uses.write(&*self.store).await;
    }

    async fn serve_sweeps(&self) {
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

    /// Returns what is known of a key for a call that came at `now`. Takes at most two look-ups in
    /// memory, allocates nothing and waits for nothing, unless the plans changed since the license
    /// was cached.
    #[must_use]
    pub fn find(&self, hash: &KeyHash, now: Moment) -> Found {
        let freshness = self.freshness(now);
        if let Freshness::Unread { .. } = freshness {
            return Found::Unread;
        }
        match (self.cache.get(hash), freshness) {
            (Some(entry), _) if !entry.is_outdated() => {
                let fits = entry.stamp().plans == self.plans_serial();
                let entry = if fits { entry } else { self.refit(hash, entry) };
                match freshness.is_beyond(entry.grace()) {
                    true => Found::Unavailable,
                    false => Found::Known(entry),
                }
            }
            (_, Freshness::Unread { .. } | Freshness::Stale { .. }) => Found::Unavailable,
            (_, Freshness::Fresh) => {
                // Checked before the fingerprints, which a reading that ends in between has added
                // to.
                let heard = self.reading.began_since(now);
                // During a resynchronization the fingerprints are those of before.
                let absent = !self.fingerprints.contains(hash.fingerprint())
                    && !self.resyncing.load(Ordering::Relaxed);
                match absent || self.negative.holds(hash, now) {
                    true if heard => Found::Unknown,
                    true => Found::Unheard,
                    false => Found::Cold,
                }
            }
        }
    }

    /// Returns the hasher of presented keys, whose hashes [`Licensing::find`] takes.
    #[must_use]
    pub const fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Makes the background work read the changes at once instead of at the next poll.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Returns the present plans and apps.
    #[must_use]
    pub fn plans(&self) -> Arc<Plans> {
        self.plans.load_full()
    }

    /// Replaces the plans and apps, after their revisions are written to the store.
    ///
    /// # Errors
    /// The store fails; the plans then stay as they were.
    pub async fn set_plans(&self, plans: Plans) -> Result<(), Error> {
        let present = self.plans();
        let is_kept = |revision: &PlanRevision| {
            let kept = present.plan(&revision.plan.name);
            kept.is_some_and(|kept| kept.id == revision.id)
        };
        let mut new = revisions(&plans);
        new.retain(|revision| !is_kept(revision));
        // A store that takes no writes just now does not keep a call from the terms that it has.
        if !new.is_empty() {
            self.store.put_plan_revisions(new).await?;
        }
        let plans = plans.ringing(self.plan_unknown.clone());
        self.plans.store(Arc::new(plans));
        self.plans_serial.fetch_add(1, Ordering::Release);
        self.plans_changed.notify_waiters();
        Ok(())
    }

    /// How much is cached.
    #[must_use]
    pub fn cache_size(&self) -> CacheSize {
        CacheSize {
            entries: self.cache.len(),
            negative: self.negative.len(),
            states: self.states.len(),
            fingerprints: self.fingerprints.len(),
            fingerprint_bytes: self.fingerprints.bytes(),
        }
    }

    pub(crate) fn plans_serial(&self) -> u32 {
        self.plans_serial.load(Ordering::Acquire)
    }
}

fn revisions(plans: &Plans) -> Vec<PlanRevision> {
    plans
        .revisions()
        .map(|revision| PlanRevision::clone(revision))
        .collect()
}
