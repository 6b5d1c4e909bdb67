//! Gates on one SQLite store and one real Redis.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use coordinator::{Coordinator, CoordinatorOptions};
use licensing::fleet::{FleetKey, FleetOptions, LookedUp, Observer, Tier};
use licensing::{
    AppTerms, CachedLicense, Found, IssueRequest, Issued, Keyring, KeyringSecret, Licensing,
    LicensingOptions, Plans,
};
use model::{AppName, Clock, InstanceId, KeyHash, KeyHasher, SystemClock};
use store::{SqliteOptions, SqliteStore, Store};
use tempfile::TempDir;

pub(crate) use testkit::eventually::eventually;

/// A store with its keyring.
pub(crate) struct Home {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hasher: KeyHasher,
    pub(crate) key: FleetKey,
    directory: TempDir,
}

/// A gate.
pub(crate) struct Gate {
    pub(crate) licensing: Arc<Licensing>,
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) seen: Arc<Counts>,
    pub(crate) up: Arc<AtomicBool>,
    runs: tokio::task::JoinHandle<()>,
}

/// What a gate told its observer.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    shared: [AtomicU64; 3],
    stored: [AtomicU64; 3],
    pub(crate) in_force: parking_lot::Mutex<Vec<Duration>>,
}

impl Home {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::at(directory).await
    }

    async fn at(directory: TempDir) -> Self {
        let store = SqliteStore::open(SqliteOptions::new(directory.path())).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let keyring = Keyring::load(&*store, KeyringSecret::Configured("a secret of tests"))
            .await
            .unwrap();
        Self {
            hasher: keyring.hasher(),
            key: keyring.fleet_key(),
            store,
            directory,
        }
    }

    pub(crate) fn options(&self, urls: Vec<String>) -> CoordinatorOptions {
        CoordinatorOptions {
            timeout: Duration::from_millis(500),
            ..CoordinatorOptions::new(urls, self.key.namespace())
        }
    }

    /// A gate that reads the changes by itself too rarely to matter, but often enough to count as fresh.
    pub(crate) async fn gate(&self, urls: Vec<String>) -> Gate {
        let options = LicensingOptions {
            change_poll: Duration::from_secs(3_600),
            stale_after: Duration::from_secs(7_200),
            load_timeout: Duration::from_secs(10),
            ..LicensingOptions::default()
        };
        self.gate_with(self.options(urls), options).await
    }

    pub(crate) async fn gate_with(
        &self,
        redis: CoordinatorOptions,
        options: LicensingOptions,
    ) -> Gate {
        let up = Arc::new(AtomicBool::new(false));
        let told = up.clone();
        let on_change = move |is_up| told.store(is_up, Ordering::SeqCst);
        let coordinator = Coordinator::connect(redis, on_change).await.unwrap();
        let seen = Arc::new(Counts::default());
        let fleet = FleetOptions {
            shared: Some((coordinator.clone(), self.key.clone())),
            observer: seen.clone(),
            ..FleetOptions::default()
        };
        let instance = InstanceId::generate();
        let began = self
            .store
            .begin_instance(instance, "test".to_owned(), SystemClock.now());
        began.await.unwrap();
        let licensing = Licensing::open_in_fleet(
            options,
            self.store.clone(),
            self.hasher.clone(),
            plans(),
            instance,
            Arc::new(SystemClock),
            fleet,
        );
        let licensing = licensing.await.unwrap();
        let runs = tokio::spawn(licensing.clone().run(std::future::pending()));
        Gate {
            licensing,
            coordinator,
            seen,
            up,
            runs,
        }
    }
}

impl Gate {
    pub(crate) async fn issue(&self) -> Issued {
        let request = IssueRequest::for_app(app());
        self.licensing
            .acting(model::Actor::OPERATOR)
            .issue(request)
            .await
            .unwrap()
            .remove(0)
    }

    pub(crate) fn hash(&self, issued: &Issued) -> KeyHash {
        let key = issued.credential.as_ref().unwrap();
        self.licensing
            .admission()
            .hasher()
            .hash(key.expose().as_bytes())
    }

    pub(crate) fn find(&self, hash: &KeyHash) -> Found {
        self.licensing
            .admission()
            .find(hash, SystemClock.since_boot())
    }

    /// What a gate does with a key that exists.
    pub(crate) async fn entry(&self, hash: &KeyHash) -> Arc<CachedLicense> {
        let found = match self.find(hash) {
            Found::Unread | Found::Unheard => {
                let now = SystemClock.since_boot();
                self.licensing
                    .admission()
                    .find_after_refresh(hash, now)
                    .await
            }
            found => found,
        };
        match found {
            Found::Known(entry) => entry,
            Found::Cold => self
                .licensing
                .admission()
                .load(*hash)
                .await
                .unwrap()
                .unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the gate knows of the key, by the changes that it read.
    pub(crate) async fn learns_of(&self, hash: &KeyHash) {
        eventually("the key is known", || {
            self.licensing.wake();
            !matches!(self.find(hash), Found::Unknown | Found::Unheard)
        })
        .await;
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::SeqCst)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.runs.abort();
    }
}

impl Counts {
    pub(crate) fn of(&self, tier: Tier, found: LookedUp) -> u64 {
        self.cell(tier, found).load(Ordering::SeqCst)
    }

    fn cell(&self, tier: Tier, found: LookedUp) -> &AtomicU64 {
        let cells = match tier {
            Tier::Shared => &self.shared,
            Tier::Store => &self.stored,
        };
        &cells[found as usize]
    }
}

impl Observer for Counts {
    fn looked_up(&self, tier: Tier, found: LookedUp) {
        self.cell(tier, found).fetch_add(1, Ordering::SeqCst);
    }

    fn in_force(&self, after: Duration) {
        self.in_force.lock().push(after);
    }
}

pub(crate) fn app() -> AppName {
    "api".parse().unwrap()
}

fn plans() -> Plans {
    let app = AppTerms {
        app: app(),
        account: "default".parse().unwrap(),
        default_plan: None,
        grace: Duration::from_secs(60),
        allowance: 0,
        key_recovery: false,
        software: licensing::SoftwareTerms::default(),
        agents: None,
    };
    Plans::new(Vec::new(), vec![app])
}
