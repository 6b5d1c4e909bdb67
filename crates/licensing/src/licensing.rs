//! The license cache as callers see it: open, find, freshness, run.

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

use crate::cache::{EntryCache, NegativeCache, entry_cache};
use crate::changes::ChangeLog;
use crate::entry::CachedLicense;
use crate::error::Error;
use crate::fingerprints::FingerprintSet;
use crate::fleet::FleetOptions;
use crate::freshness::{Freshness, Reading};
use crate::hub::LeaseQueue;
use crate::key_copies::{KeyCopies, LicenseKeys};
use crate::operations::{AppSecretCache, AuditQueue, InFlight, LostClaimPermits, ManagementCache};
use crate::options::LicensingOptions;
use crate::plans::Plans;
use crate::single_flight::SingleFlight;
use crate::states::States;

/// Everything that this gate knows of licenses. One for a process; shared by all of its threads.
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
    /// Rung when plans changed.
    pub(crate) plans_told: Notify,
    /// Rung when a license names a plan that is not known here, and by calls that wait for it.
    pub(crate) plan_unknown: Arc<Notify>,
    pub(crate) cache: EntryCache,
    pub(crate) negative: NegativeCache,
    pub(crate) fingerprints: FingerprintSet,
    pub(crate) states: States,
    pub(crate) hub: Arc<LeaseQueue>,
    /// Locked by whoever changes what is known of a license, so that fills and changes have one order.
    pub(crate) log: Mutex<ChangeLog>,
    pub(crate) loads: Arc<SingleFlight>,
    pub(crate) management: ManagementCache,
    pub(crate) app_secrets: AppSecretCache,
    pub(crate) audit_queue: AuditQueue,
    /// What is to happen once, and somebody is at in this process.
    pub(crate) in_flight: Arc<InFlight>,
    /// Permits for those who look after claims that were not answered.
    pub(crate) lost_claim_permits: LostClaimPermits,
    /// Licenses that others changed and whose calls under way must learn of it.
    pub(crate) pending_cuts: Mutex<HashSet<LicenseId>>,
    pub(crate) learn: Notify,
    pub(crate) wake: Notify,
    /// Rung by calls with a key unknown here: the changes are read for all of them at once.
    pub(crate) unknown_key: Notify,
    pub(crate) reading: Reading,
    /// Held by whoever reads the changes, so that they are noted in their order.
    pub(crate) following: tokio::sync::Mutex<()>,
    /// What is known has nothing in common with the store any more, and is being read anew.
    pub(crate) resyncing: AtomicBool,
}

/// What is known of a presented key without waiting.
#[derive(Debug)]
pub enum Found {
    /// A license has it. Judge the call with [`CachedLicense::check`].
    Known(Arc<CachedLicense>),
    /// No license has it, and the changes were read since the call came: no look-up is needed to say so.
    Unknown,
    /// No license had it when the changes were last read, which was before the call came. It may have been created since, on
    /// another gate: await [`Licensing::find_after_refresh`].
    Unheard,
    /// It must be loaded: await [`Licensing::load`].
    Cold,
    /// This gate stood still, and must hear of the changes first: await [`Licensing::find_after_refresh`].
    Unread,
    /// The store is out of reach, and the license is not known here or its grace is over: 503, never 401 (G8).
    Unavailable,
}

/// How much is cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSize {
    /// Credentials with their licenses.
    pub entries: usize,
    /// Keys known not to exist.
    pub negative: usize,
    /// Licenses with a state: cached ones and those whose meters hold something.
    pub states: usize,
    /// Fingerprints of all credentials there are.
    pub fingerprints: usize,
    /// Bytes of the fingerprints.
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
    /// Reads what must be known of all licenses: the number of the last change and the fingerprints of all credentials.
    /// To be called on the runtime that may wait for the store; [`Licensing::run`] must run for as long as this is used.
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

    /// [`Licensing::open`] for a gate that shares with others.
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
        let hub = LeaseQueue::new(options.lease, fleet.shared.is_some());
        store.put_plan_revisions(revisions(&plans)).await?;
        // The number first: what is added later comes with the changes after it.
        let (_, last) = store.changes_since(ChangeNumber(0), 1).await?;
        let licensing = Self {
            cache: entry_cache(options.cache_capacity),
            negative: NegativeCache::new(options.negative_capacity),
            fingerprints: FingerprintSet::with_capacity(0),
            states: States::new(hub.clone()),
            hub,
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
            plans_told: Notify::new(),
            plan_unknown,
            log: Mutex::default(),
            loads,
            management: ManagementCache::default(),
            app_secrets: AppSecretCache::default(),
            audit_queue: AuditQueue::default(),
            in_flight: Arc::default(),
            lost_claim_permits: LostClaimPermits::default(),
            pending_cuts: Mutex::default(),
            learn: Notify::new(),
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

    /// Follows the store's changes, takes and returns leases, drops what is idle; until `shutdown`. Spawn it, once.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let work = async {
            tokio::join!(
                self.serve_changes(),
                self.serve_fingerprints(),
                self.serve_learning(),
                self.serve_announcements(),
                self.serve_tallies(),
                self.serve_leases(),
                self.serve_sweeps(),
                self.serve_expiry(),
                self.hub.last_uses.run(&*self.store),
            )
        };
        tokio::select! {
            () = shutdown => {}
            _ = work => {}
        }
        self.write_last_uses().await;
        // What was denied in the last minute is told before the end.
        let next_minute = self.clock.now().plus_micros(60_000_000);
        self.tend_audit(next_minute).await;
    }

    /// Writes to the store when API keys were last used, as [`Licensing::run`] does once a second and at its
    /// end. What cannot be written is kept for the next time.
    pub async fn write_last_uses(&self) {
        self.hub.last_uses.write(&*self.store).await;
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

    /// What is known of a key to a call that came at `now`: two look-ups in memory at most, no allocation, nothing to wait
    /// for.
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
                // Looked at before the fingerprints, which a reading that ends in between has added to.
                let heard = self.reading.began_since(now);
                // While all is read anew, the fingerprints are those of before.
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

    /// Hashes a presented key, as [`Licensing::find`] needs it.
    #[must_use]
    pub const fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Reads the changes at once rather than at the next turn, as when a push says that there are some.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Plans and apps at present.
    #[must_use]
    pub fn plans(&self) -> Arc<Plans> {
        self.plans.load_full()
    }

    /// Goes over to other plans and apps, whose revisions are kept in the store first.
    ///
    /// # Errors
    /// The store fails; the plans stay as they were.
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
        self.plans_told.notify_waiters();
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
