//! A licensing on a real SQLite store that can be made slow, dead or blind, and counts what it is asked.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod faulty_store;

use std::sync::Arc;
use std::time::Duration;

use licensing::{
    AppTerms, Ask, CachedLicense, Found, Freshness, IssueRequest, Issued, LeaseOptions, Licensing,
    LicensingOptions, Plans, Refused, Reservation,
};
use model::{
    AppName, Clock, Credential, InstanceId, KeyHash, KeyHasher, LicenseSpec, Limits, ManualClock,
    Plan, PlanRevision, Timestamp,
};
use store::{LedgerStore, SqliteOptions, SqliteStore};
use tempfile::TempDir;

pub(crate) use testkit::eventually::eventually;

pub(crate) use faulty_store::FaultyStore;

pub(crate) const START: &str = "2026-03-01T00:00:10Z";

pub(crate) struct World {
    pub(crate) licensing: Arc<Licensing>,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) instance: InstanceId,
    runs: tokio::task::JoinHandle<()>,
    directory: Arc<TempDir>,
}

pub(crate) fn options() -> LicensingOptions {
    LicensingOptions {
        change_poll: Duration::from_millis(5),
        load_timeout: Duration::from_secs(10),
        lease: LeaseOptions {
            timeout: Duration::from_secs(10),
            ..LeaseOptions::default()
        },
        ..LicensingOptions::default()
    }
}

pub(crate) fn app() -> AppName {
    "api".parse().unwrap()
}

pub(crate) fn plans() -> Plans {
    let plan = |name: &str, windows: &[&str]| {
        PlanRevision::from(Plan {
            name: name.parse().unwrap(),
            currency: "EUR".parse().unwrap(),
            price_per_unit: "0.01".parse().unwrap(),
            rate_limits: windows.iter().map(|text| text.parse().unwrap()).collect(),
            concurrency: None,
            features: vec![],
        })
    };
    let app = |name: &str, account: &str| AppTerms {
        app: name.parse().unwrap(),
        account: account.parse().unwrap(),
        default_plan: None,
        grace: Duration::from_secs(60),
        allowance: 0,
        key_recovery: false,
        software: licensing::SoftwareTerms::default(),
        agents: None,
    };
    let plans = vec![plan("free", &["2/1m"]), plan("pro", &[])];
    Plans::new(plans, vec![app("api", "default"), app("other", "acme")])
}

pub(crate) fn hasher() -> KeyHasher {
    KeyHasher::new(&[7; 32])
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: LicensingOptions) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::at(START.parse().unwrap()));
        let mut store = SqliteOptions::new(directory.path());
        store.clock = clock.clone();
        let store = Arc::new(FaultyStore::new(SqliteStore::open(store).unwrap()));
        Self::on(options, store, clock, directory).await
    }

    /// Another gate on the same store.
    pub(crate) async fn neighbour(&self, options: LicensingOptions) -> Self {
        let store = Arc::new(self.store.clone_handle());
        Self::on(options, store, self.clock.clone(), self.directory.clone()).await
    }

    async fn on(
        options: LicensingOptions,
        store: Arc<FaultyStore>,
        clock: Arc<ManualClock>,
        directory: Arc<TempDir>,
    ) -> Self {
        let instance = InstanceId::generate();
        let began = store.begin_instance(instance, "test".to_owned(), clock.now());
        began.await.unwrap();
        let opened = Licensing::open(
            options,
            store.clone(),
            hasher(),
            plans(),
            instance,
            clock.clone(),
        );
        let licensing = opened.await.unwrap();
        let runs = tokio::spawn(licensing.clone().run(std::future::pending()));
        Self {
            licensing,
            store,
            clock,
            instance,
            runs,
            directory,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock, and waits until the changes have been read at the new time.
    pub(crate) async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.licensing.wake();
        eventually("the changes are read", || self.is_fresh()).await;
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.licensing.freshness(self.clock.since_boot()) == Freshness::Fresh
    }

    pub(crate) async fn issue(&self, limits: Limits) -> Issued {
        let request = IssueRequest {
            spec: LicenseSpec {
                limits,
                ..LicenseSpec::default()
            },
            ..IssueRequest::for_app(app())
        };
        self.licensing
            .acting(model::Actor::OPERATOR)
            .issue(request)
            .await
            .unwrap()
            .remove(0)
    }

    pub(crate) fn find(&self, hash: &KeyHash) -> Found {
        self.licensing
            .admission()
            .find(hash, self.clock.since_boot())
    }

    /// What a gate does: find, and load what is cold.
    pub(crate) async fn entry(&self, hash: &KeyHash) -> Arc<CachedLicense> {
        match self.find(hash) {
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

    pub(crate) async fn issued_entry(&self, limits: Limits) -> (Issued, Arc<CachedLicense>) {
        let issued = self.issue(limits).await;
        let entry = self.entry(&hash_of(&issued)).await;
        (issued, entry)
    }

    pub(crate) fn ask(&self, units: u64) -> Ask {
        Ask {
            units,
            now: self.now(),
            slot: true,
        }
    }

    /// How many calls of one unit pass, one after the other, before one is refused, at most 1,000.
    pub(crate) async fn passes(&self, entry: &CachedLicense) -> (u32, Option<Refused>) {
        for passed in 0..1_000 {
            match entry.acquire(&self.ask(1)).await {
                Ok(taken) => entry.settle(taken, 1),
                Err(refused) => return (passed, Some(refused)),
            }
        }
        (1_000, None)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runs.abort();
    }
}

pub(crate) fn hash_of(issued: &Issued) -> KeyHash {
    hash(issued.credential.as_ref().unwrap())
}

pub(crate) fn hash(credential: &Credential) -> KeyHash {
    hasher().hash(credential.expose().as_bytes())
}

pub(crate) fn remaining(units: u64) -> Limits {
    Limits {
        remaining: Some(units),
        ..Limits::default()
    }
}

pub(crate) fn windows(windows: &[&str]) -> Limits {
    Limits {
        rate_limits: windows.iter().map(|text| text.parse().unwrap()).collect(),
        ..Limits::default()
    }
}

/// Ends reservations whose fate does not matter.
pub(crate) fn settle_all(entry: &CachedLicense, taken: Vec<Reservation>) {
    for taken in taken {
        let units = taken.units();
        entry.settle(taken, units);
    }
}
