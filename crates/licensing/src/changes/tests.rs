//! The follower with a cache and a store, without the rest of licensing.

use std::sync::Arc;
use std::time::Duration;

use model::{Fingerprint, LicenseStatus, Refusal, Timestamp};
use store::{AuditEntries, Change, ChangeNumber, LicenseChange};

use super::ChangeFollower;
use crate::cache::{Found, History};
use crate::fleet::FleetOptions;
use crate::license::CachedLicense;
use crate::operations::ManagementCache;
use crate::testing::{Disk, Memory, hash, license};

struct World {
    memory: Memory,
    disk: Disk,
    follower: Arc<ChangeFollower>,
}

impl World {
    async fn new() -> Self {
        let memory = Memory::new(false);
        let disk = Disk::new(&memory.clock).await;
        let follower = ChangeFollower::new(
            memory.options,
            disk.store.clone(),
            memory.clock.clone(),
            Arc::new(FleetOptions::default()),
            memory.cache.clone(),
            Arc::<ManagementCache>::default(),
        );
        Self {
            memory,
            disk,
            follower: Arc::new(follower),
        }
    }

    /// Puts the license of a key into the cache, as the store has it.
    async fn fill(&self, key: &str) -> Arc<CachedLicense> {
        let found = self.disk.store.license_by_key(hash(key)).await;
        let snapshot = found.expect("the store answers").expect("it exists");
        let log = self.memory.cache.log();
        let filled = self.memory.cache.fill(&log, hash(key), snapshot, None);
        filled.expect("nothing newer is known")
    }

    async fn change(&self, change: LicenseChange) {
        let changed = self
            .disk
            .store
            .change_license(license().id, change, AuditEntries::none());
        changed.await.expect("the store answers");
    }
}

#[tokio::test]
async fn a_change_in_the_store_outdates_its_license_with_the_next_reading() {
    let world = World::new().await;
    world.disk.create("a", &license()).await;
    world.follower.start().await.expect("the store answers");
    world.fill("a").await;
    world
        .change(LicenseChange::Label(Some("new".to_owned())))
        .await;
    assert!(matches!(world.memory.find("a"), Found::Known(_)));
    world.follower.follow().await.expect("the store answers");
    assert!(matches!(world.memory.find("a"), Found::Cold));
    world.fill("a").await;
    assert!(matches!(world.memory.find("a"), Found::Known(_)));
    // One that was created since the start is heard of.
    let mut other = license();
    other.id = model::LicenseId::from_u128(9);
    assert!(matches!(world.memory.find("b"), Found::Unknown));
    world.disk.create("b", &other).await;
    world.follower.follow().await.expect("the store answers");
    assert!(matches!(world.memory.find("b"), Found::Cold));
}

#[tokio::test]
async fn a_store_with_another_past_is_read_again_from_the_beginning() {
    let world = World::new().await;
    world.disk.create("a", &license()).await;
    world.follower.start().await.expect("the store answers");
    world.fill("a").await;
    // This gate read another change number 1 than the store has, and one of a key that is gone.
    let (mut history, gone) = (History::new(1), hash("gone").fingerprint());
    let of_another_past = |number, added: Option<Fingerprint>| Change {
        number: ChangeNumber(number),
        license_id: license().id,
        added,
        at: Timestamp::from_micros(1),
    };
    history.push(&of_another_past(1, None));
    world.memory.cache.set_history(history);
    world.memory.cache.apply(&of_another_past(2, Some(gone)));
    assert!(matches!(world.memory.find("gone"), Found::Cold));
    world.follower.follow().await.expect("the store answers");
    assert!(!world.memory.cache.is_resyncing());
    assert!(!matches!(world.memory.find("gone"), Found::Cold));
    assert!(
        matches!(world.memory.find("a"), Found::Cold),
        "it is dropped"
    );
    assert_eq!(world.memory.cache.reached(), ChangeNumber(1));
    world.fill("a").await;
    assert!(matches!(world.memory.find("a"), Found::Known(_)));
}

#[tokio::test]
async fn running_calls_learn_that_another_gate_disabled_their_license() {
    let world = World::new().await;
    world.disk.create("a", &license()).await;
    world.follower.start().await.expect("the store answers");
    let held = world.fill("a").await;
    let follower = world.follower.clone();
    let task = tokio::spawn(async move { follower.run().await });
    world
        .change(LicenseChange::Status(LicenseStatus::Disabled))
        .await;
    let cut = held.state().cut(&*world.memory.clock);
    let cut = tokio::time::timeout(Duration::from_secs(20), cut).await;
    assert_eq!(cut.expect("the call is cut"), Refusal::LicenseDisabled);
    task.abort();
}
