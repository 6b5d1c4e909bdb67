//! The parts of licensing together: opening, background work, and what the process asks of them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use model::{AccountName, Clock, InstanceId, KeyHasher, Moment, Refusal};
use store::{ChangeNumber, Store};

use crate::admission::Admission;
use crate::agents::CurrentPolicies;
use crate::audit::AuditLog;
use crate::cache::{CacheSize, Freshness, LicenseCache};
use crate::changes::ChangeFollower;
use crate::error::Error;
use crate::fleet::{CounterExchange, FleetOptions};
use crate::keys::{KeyCopies, LicenseKeys};
use crate::leases::LeaseTask;
use crate::license::{CachedLicense, LicenseQueues};
use crate::load::LicenseLoader;
use crate::operations::{
    AppSecretCache, ExpiryTask, InFlight, ManagementCache, PreparedAnswers, RequestTokens,
};
use crate::options::LicensingOptions;
use crate::plans::{CurrentPlans, Plans};
use crate::software::SoftwareApps;

/// The knowledge of this gate about licenses, and every operation on them. One for a process,
/// shared by all of its threads.
pub struct Licensing {
    // What operations work with.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hasher: KeyHasher,
    pub(crate) copies: Option<KeyCopies>,
    pub(crate) instance: InstanceId,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) management: Arc<ManagementCache>,
    pub(crate) app_secrets: AppSecretCache,
    pub(crate) software_apps: SoftwareApps,
    pub(crate) agents: CurrentPolicies,
    /// The idempotent operations that are running in this process.
    pub(crate) in_flight: Arc<InFlight>,
    /// The idempotent operations that are done, which the store does not know yet.
    pub(crate) prepared: PreparedAnswers,
    // The parts, each with its own fields and background work.
    pub(crate) plans: Arc<CurrentPlans>,
    pub(crate) cache: Arc<LicenseCache>,
    pub(crate) queues: Arc<LicenseQueues>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) changes: ChangeFollower,
    pub(crate) audit: Arc<AuditLog>,
    pub(crate) change_poll: Duration,
    leases: LeaseTask,
    counters: CounterExchange,
    expiry: ExpiryTask,
}

impl Licensing {
    /// Opens licensing: reads the number of the last change and the fingerprints of all
    /// credentials. To be called on the runtime that may wait for the store. [`Licensing::run`]
    /// must run for as long as it is used.
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

    /// Opens the licensing of a gate that shares with others. See [`Licensing::open`].
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
        let keys = keys.into();
        store.put_plan_revisions(plans.owned_revisions()).await?;
        let licensing = Self::new(options, store, keys, plans, instance, clock, fleet);
        licensing.changes.start().await?;
        if licensing.decides_on_agents() {
            licensing.agents.read().await?;
        }
        Ok(Arc::new(licensing))
    }

    fn new(
        options: LicensingOptions,
        store: Arc<dyn Store>,
        LicenseKeys { hasher, copies }: LicenseKeys,
        plans: Plans,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        fleet: FleetOptions,
    ) -> Self {
        let fleet = Arc::new(fleet);
        let plans = Arc::new(CurrentPlans::new(plans));
        let queues = LicenseQueues::new(options.lease, fleet.shared.is_some());
        let cache = Arc::new(LicenseCache::new(
            options,
            clock.clone(),
            plans.clone(),
            queues.clone(),
        ));
        let management = Arc::<ManagementCache>::default();
        let audit = AuditLog::new(store.clone(), clock.clone());
        let admission = Arc::new(Admission {
            hasher: hasher.clone(),
            plans: plans.clone(),
            cache: cache.clone(),
            loader: LicenseLoader::new(
                options,
                store.clone(),
                clock.clone(),
                cache.clone(),
                fleet.clone(),
            ),
            tokens: RequestTokens::new(
                store.clone(),
                hasher.clone(),
                clock.clone(),
                instance,
                options.load_timeout,
            ),
        });
        Self {
            changes: ChangeFollower::new(
                options,
                store.clone(),
                clock.clone(),
                fleet.clone(),
                cache.clone(),
                management.clone(),
            ),
            leases: LeaseTask::new(store.clone(), instance, clock.clone(), queues.clone()),
            counters: CounterExchange::new(fleet, instance, clock.clone(), queues.clone()),
            expiry: ExpiryTask {
                store: store.clone(),
                clock: clock.clone(),
                audit: audit.clone(),
            },
            agents: CurrentPolicies::new(store.clone()),
            software_apps: SoftwareApps::new(store.clone(), hasher.clone(), plans.clone()),
            change_poll: options.change_poll,
            store,
            hasher,
            copies,
            instance,
            clock,
            management,
            app_secrets: AppSecretCache::default(),
            in_flight: Arc::default(),
            prepared: PreparedAnswers::default(),
            plans,
            cache,
            queues,
            admission,
            audit,
        }
    }

    /// Runs the background work until `shutdown`: follows the changes of the store, takes and
    /// returns leases, writes what waits to be written, and drops what is idle. Spawn it once.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()>) {
        let work = async {
            tokio::join!(
                self.changes.run(),
                self.counters.run(),
                self.leases.run(),
                self.cache.run_sweeps(),
                self.expiry.run(),
                self.queues.last_uses.run(&*self.store),
                self.follow_software(),
                self.follow_agents(),
                self.prepared.run(&*self.store),
            )
        };
        tokio::select! {
            () = shutdown => {}
            _ = work => {}
        }
        self.write_last_uses().await;
        self.write_finished().await;
        // What was denied in the last minute is written before the end.
        let next_minute = self.clock.now().plus_micros(60_000_000);
        self.audit.end_minutes(next_minute).await;
    }

    /// Returns the wallet of an account, as [`Admission::wallet`] does, for a call that comes now.
    ///
    /// # Errors
    /// As [`Admission::wallet`].
    pub async fn wallet(
        &self,
        account: &AccountName,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        self.admission
            .wallet(account, self.clock.since_boot())
            .await
    }

    /// Returns what the admission of calls needs.
    #[must_use]
    pub const fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// Writes to the store when API keys were last used, as [`Licensing::run`] does once a second
    /// and at its end. What cannot be written is kept for the next time.
    pub async fn write_last_uses(&self) {
        self.queues.last_uses.write(&*self.store).await;
    }

    /// Returns how fresh the last reading of the changes is. Costs two loads.
    #[must_use]
    pub fn freshness(&self, now: Moment) -> Freshness {
        self.cache.freshness(now)
    }

    /// Has `listener` told of each change of a license that this gate makes, once it is in force
    /// here. Only the first one is kept. It must not wait.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.changes.listen(Box::new(listener));
    }

    /// Makes the background work read the changes at once instead of at the next poll.
    pub fn wake(&self) {
        self.cache.reading().request();
    }

    /// Returns the number of the change up to which the store was read. What is older can be shared
    /// with other gates.
    #[must_use]
    pub fn shareable(&self) -> ChangeNumber {
        self.cache.reached()
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
        self.plans.replace(&*self.store, plans).await
    }

    /// Waits until a license names a plan that is not known here, or a call waits for one. For one
    /// waiter.
    pub async fn plan_asked_for(&self) {
        self.plans.unknown_asked_for().await;
    }

    /// Returns how much is cached.
    #[must_use]
    pub fn cache_size(&self) -> CacheSize {
        self.cache.size()
    }
}

impl std::fmt::Debug for Licensing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Licensing")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}
