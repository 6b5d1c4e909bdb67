//! The loader with a cache, a store and a service that gates share, without the rest of licensing.

use std::sync::Arc;

use model::{Clock, LicenseId};
use parking_lot::Mutex;
use store::ChangeNumber;

use super::LicenseLoader;
use crate::cache::{Found, History};
use crate::fleet::{FleetKey, FleetOptions, LookedUp, Observer, Tier};
use crate::testing::{Disk, Memory, Service, hash, license};

/// The look-ups that an observer was told of.
#[derive(Default)]
struct LookUps(Mutex<Vec<(Tier, LookedUp)>>);

impl Observer for LookUps {
    fn looked_up(&self, tier: Tier, found: LookedUp) {
        self.0.lock().push((tier, found));
    }

    fn in_force(&self, _: std::time::Duration) {}
}

struct Gate {
    memory: Memory,
    loader: Arc<LicenseLoader>,
    look_ups: Arc<LookUps>,
}

impl Gate {
    fn new(disk: &Disk, service: Option<&Arc<Service>>) -> Self {
        let memory = Memory::new(service.is_some());
        let look_ups = Arc::<LookUps>::default();
        let key = FleetKey::derive(&[3; 32]);
        let fleet = FleetOptions {
            shared: service.map(|service| (service.clone() as Arc<_>, key)),
            observer: look_ups.clone(),
            ..FleetOptions::default()
        };
        memory.cache.set_history(History::new(100));
        let loader = LicenseLoader::new(
            memory.options,
            disk.store.clone(),
            memory.clock.clone(),
            memory.cache.clone(),
            Arc::new(fleet),
        );
        Self {
            memory,
            loader,
            look_ups,
        }
    }

    /// Reads the changes of the store into the cache.
    async fn read_changes(&self, disk: &Disk) {
        let changes = disk.store.changes_since(ChangeNumber(0), 100).await;
        let (changes, _) = changes.expect("the store answers");
        for change in &changes {
            self.memory.cache.apply(change);
        }
    }

    fn look_ups(&self) -> Vec<(Tier, LookedUp)> {
        std::mem::take(&mut *self.look_ups.0.lock())
    }
}

#[tokio::test]
async fn a_key_is_looked_up_once_for_all_calls_that_wait_and_is_known_then() {
    let clock = Memory::new(false).clock;
    let disk = Disk::new(&clock).await;
    disk.create("a", &license()).await;
    let gate = Gate::new(&disk, None);
    gate.read_changes(&disk).await;
    assert!(matches!(gate.memory.find("a"), Found::Cold));
    let load = || gate.loader.load(hash("a"));
    let (first, second) = tokio::join!(load(), load());
    let loaded = [first, second].map(|license| license.expect("it answers").expect("it exists"));
    assert!(Arc::ptr_eq(&loaded[0], &loaded[1]));
    assert_eq!(gate.look_ups(), [(Tier::Store, LookedUp::Hit)]);
    assert!(matches!(gate.memory.find("a"), Found::Known(_)));
    // One that has a fingerprint and is not there is remembered too.
    let absent = gate.loader.load(hash("b")).await;
    assert!(absent.expect("it answers").is_none());
    assert_eq!(gate.look_ups(), [(Tier::Store, LookedUp::Miss)]);
    gate.memory
        .cache
        .fingerprints()
        .insert([hash("b").fingerprint()]);
    assert!(matches!(gate.memory.find("b"), Found::Unknown));
}

#[tokio::test]
async fn a_license_is_found_by_its_id_and_follows_changes_like_any_other() {
    let clock = Memory::new(false).clock;
    let disk = Disk::new(&clock).await;
    disk.create("a", &license()).await;
    let gate = Gate::new(&disk, None);
    gate.read_changes(&disk).await;
    let now = gate.memory.clock.since_boot();
    let by_id = async |id| {
        gate.loader
            .license_by_id(id, now)
            .await
            .expect("it answers")
    };
    let first = by_id(license().id).await.expect("it exists");
    let again = by_id(license().id).await.expect("it exists");
    assert!(Arc::ptr_eq(&first, &again), "it is cached");
    assert!(by_id(LicenseId::from_u128(99)).await.is_none());
}

#[tokio::test]
async fn what_another_gate_loaded_counts_only_for_one_that_read_the_same_changes() {
    let clock = Memory::new(false).clock;
    let disk = Disk::new(&clock).await;
    disk.create("a", &license()).await;
    let service = Arc::new(Service::default());
    let gates = [(); 3].map(|()| Gate::new(&disk, Some(&service)));
    let [first, behind, second] = &gates;
    first.read_changes(&disk).await;
    second.read_changes(&disk).await;
    let load = async |gate: &Gate| {
        let loaded = gate.loader.load(hash("a")).await;
        assert!(loaded.expect("it answers").is_some());
        gate.look_ups()
    };
    let from_store = [(Tier::Shared, LookedUp::Miss), (Tier::Store, LookedUp::Hit)];
    assert_eq!(load(first).await, from_store);
    assert_eq!(load(behind).await, from_store, "it cannot place the value");
    assert_eq!(load(second).await, [(Tier::Shared, LookedUp::Hit)]);
    assert!(matches!(second.memory.find("a"), Found::Known(_)));
}
