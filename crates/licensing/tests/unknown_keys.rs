//! A key that this gate has never heard of is refused only after a reading of the changes that began after the call came.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use licensing::{Found, LicensingOptions};
use model::{Clock, KeyFormat, KeyHash, Limits};
use support::{FaultyStore, World, hash_of, hasher, options};
use tokio::task::JoinSet;

/// Changes are read only when somebody asks for it.
fn patient() -> LicensingOptions {
    LicensingOptions {
        change_poll: Duration::from_secs(3_600),
        ..options()
    }
}

fn stranger(number: u64) -> KeyHash {
    hasher().hash(&number.to_le_bytes())
}

impl World {
    /// What a call is told that comes a moment later.
    async fn call(&self, hash: &KeyHash) -> Found {
        self.clock.advance(Duration::from_micros(1));
        let now = self.clock.since_boot();
        match self.licensing.admission().find(hash, now) {
            Found::Unheard => {
                self.licensing
                    .admission()
                    .find_after_refresh(hash, now)
                    .await
            }
            found => found,
        }
    }
}

#[tokio::test]
async fn a_key_of_another_gate_is_good_from_the_moment_that_its_creation_was_answered() {
    let here = World::with(patient()).await;
    let there = here.neighbour(patient()).await;
    for _ in 0..20 {
        let issued = there.issue(Limits::default()).await;
        assert!(matches!(here.call(&hash_of(&issued)).await, Found::Cold));
    }
    assert!(matches!(here.call(&stranger(1)).await, Found::Unknown));
}

#[tokio::test]
async fn a_rotated_key_is_good_on_another_gate_at_once() {
    let here = World::with(patient()).await;
    let there = here.neighbour(patient()).await;
    let issued = there.issue(Limits::default()).await;
    let id = issued.license.license.id;
    for _ in 0..10 {
        let operator = there.licensing.acting(model::Actor::OPERATOR);
        let rotated = operator
            .rotate(id, Duration::ZERO, KeyFormat::Tallygate)
            .await
            .unwrap();
        let found = here.call(&hash_of(&rotated)).await;
        assert!(matches!(found, Found::Cold), "{found:?}");
    }
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_store_what_one_costs() {
    let world = Arc::new(World::with(patient()).await);
    let before = FaultyStore::count(&world.store.readings);
    let begun = Instant::now();
    for round in 0..20_u64 {
        let mut calls = JoinSet::new();
        for key in 0..100 {
            let (world, key) = (world.clone(), stranger(round * 100 + key));
            calls.spawn(async move { world.call(&key).await });
        }
        let found = calls.join_all().await;
        assert!(found.iter().all(|found| matches!(found, Found::Unknown)));
    }
    let readings = FaultyStore::count(&world.store.readings) - before;
    let allowed = begun.elapsed().as_millis() / 50 + 2;
    assert!(u128::from(readings) <= allowed, "{readings} of {allowed}");
    assert!(readings >= 10, "every round waits for one: {readings}");
}

#[tokio::test]
async fn an_unknown_key_is_not_judged_while_the_store_does_not_answer() {
    let world = World::with(patient()).await;
    FaultyStore::set(&world.store.dead, true);
    let begun = Instant::now();
    assert!(matches!(world.call(&stranger(1)).await, Found::Unavailable));
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(250), "{waited:?}");
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    FaultyStore::set(&world.store.dead, false);
    assert!(matches!(world.call(&stranger(1)).await, Found::Unknown));
}
