//! Values and parts for unit tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use model::{
    Clock, CredentialId, CredentialInfo, CredentialStatus, InstanceId, KeyHash, KeyHasher, License,
    LicenseId, LicenseSpec, LicenseStatus, ManualClock, Timestamp,
};
use parking_lot::Mutex;
use store::{
    AuditEntries, ChangeNumber, NewCredential, NewLicense, Snapshot, SqliteOptions, SqliteStore,
    Store,
};
use tempfile::TempDir;

pub(crate) use testkit::eventually::eventually_async;

use crate::cache::{Found, LicenseCache};
use crate::fleet::{Announced, CounterReport, Fill, Fleet, FleetAway, PeerCounts};
use crate::license::{CachedLicense, LicenseQueues};
use crate::meter::Ask;
use crate::options::{LeaseOptions, LicensingOptions};
use crate::plans::{CurrentPlans, Plans};

/// A cache without a store.
pub(crate) struct Memory {
    pub(crate) options: LicensingOptions,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) queues: Arc<LicenseQueues>,
    pub(crate) cache: Arc<LicenseCache>,
}

/// A service that gates share, in memory. It knows of another gate, which has one call under way of
/// every license.
#[derive(Default)]
pub(crate) struct Service {
    /// Whether counts cannot be exchanged.
    pub(crate) fails: AtomicBool,
    /// The number of exchanges that were asked for.
    pub(crate) asked: AtomicUsize,
    values: Mutex<HashMap<String, Vec<u8>>>,
}

/// A store on disk that is removed with the value.
pub(crate) struct Disk {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) instance: InstanceId,
    _directory: TempDir,
}

impl Memory {
    /// Returns an empty cache, whose changes have just been read. Counts are shared with other
    /// gates if `is_shared`.
    pub(crate) fn new(is_shared: bool) -> Self {
        let options = LicensingOptions {
            change_poll: Duration::from_millis(5),
            load_timeout: Duration::from_secs(10),
            lease: LeaseOptions {
                timeout: Duration::from_secs(10),
                ..LeaseOptions::default()
            },
            ..LicensingOptions::default()
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_000_000_000_000)));
        let plans = Arc::new(CurrentPlans::new(Plans::default()));
        let queues = LicenseQueues::new(options.lease, is_shared);
        let cache = LicenseCache::new(options, clock.clone(), plans, queues.clone());
        Self {
            options,
            clock,
            queues,
            cache: Arc::new(cache),
        }
    }

    /// Puts a license into the cache, as if it had been read at change `version`.
    pub(crate) fn fill(
        &self,
        key: &str,
        license: &License,
        version: u64,
    ) -> Option<Arc<CachedLicense>> {
        let snapshot = snapshot(license.clone(), version);
        let log = self.cache.log();
        self.cache.fill(&log, hash(key), snapshot, None)
    }

    /// Returns what is known of a key now.
    pub(crate) fn find(&self, key: &str) -> Found {
        self.cache.find(&hash(key), self.clock.since_boot())
    }

    /// Returns a request for units by a call that comes now.
    pub(crate) fn ask(&self, units: u64) -> Ask {
        Ask {
            units,
            now: self.clock.now(),
            slot: true,
        }
    }
}

impl Disk {
    /// Returns a new store that goes by `clock`.
    pub(crate) async fn new(clock: &Arc<ManualClock>) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let mut options = SqliteOptions::new(directory.path());
        options.clock = clock.clone();
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(options).expect("it opens"));
        let instance = InstanceId::generate();
        let begun = store.begin_instance(instance, "test".to_owned(), clock.now());
        begun.await.expect("the store answers");
        Self {
            store,
            instance,
            _directory: directory,
        }
    }

    /// Stores a license with one key.
    pub(crate) async fn create(&self, key: &str, license: &License) {
        let new = NewLicense {
            license: license.clone(),
            devices: Vec::new(),
            credentials: vec![NewCredential {
                info: credential(),
                hash: hash(key),
                sealed: None,
            }],
        };
        let created = self.store.create_licenses(vec![new], AuditEntries::none());
        created.await.expect("the store answers");
    }
}

#[async_trait::async_trait]
impl Fleet for Service {
    async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, FleetAway> {
        Ok(self.values.lock().get(name).cloned())
    }

    fn put(&self, fill: Fill) {
        self.values.lock().insert(fill.name, fill.value);
    }

    fn announce(&self, _: ChangeNumber) {}

    fn announce_keys(&self) {}

    async fn announced(&self) -> Announced {
        std::future::pending().await
    }

    fn is_up(&self) -> bool {
        true
    }

    async fn exchange_counts(
        &self,
        _: InstanceId,
        reports: &[CounterReport],
    ) -> Result<Vec<PeerCounts>, FleetAway> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.fails.load(Ordering::SeqCst) {
            return Err(FleetAway);
        }
        let one = PeerCounts {
            count: 1,
            left: Duration::from_secs(3_600),
        };
        Ok(vec![one; reports.len()])
    }
}

/// Returns an active license without limits, of the account `default` and the app `api`.
pub(crate) fn license() -> License {
    License {
        id: LicenseId::from_u128(7),
        account: "default".parse().expect("valid"),
        app: "api".parse().expect("valid"),
        status: LicenseStatus::Active,
        created_at: Timestamp::from_micros(0),
        spec: LicenseSpec::default(),
    }
}

/// Returns a license like [`license`] with so many units.
pub(crate) fn counted(remaining: u64) -> License {
    let mut license = license();
    license.spec.limits.remaining = Some(remaining);
    license
}

/// Returns the public part of an active credential.
pub(crate) fn credential() -> CredentialInfo {
    CredentialInfo {
        id: CredentialId::from_u128(8),
        kind: "key".to_owned(),
        prefix: "tg_".to_owned(),
        status: CredentialStatus::Active,
        created_at: Timestamp::from_micros(0),
        expires_at: None,
    }
}

/// Returns what the store says of a license at a change.
pub(crate) fn snapshot(license: License, version: u64) -> Snapshot {
    Snapshot {
        license: Arc::new(license),
        credential: credential(),
        allow_ips: Vec::new(),
        devices: Vec::new(),
        version: ChangeNumber(version),
    }
}

/// Returns the hash of a key.
pub(crate) fn hash(key: &str) -> KeyHash {
    KeyHasher::new(&[7; 32]).hash(key.as_bytes())
}
