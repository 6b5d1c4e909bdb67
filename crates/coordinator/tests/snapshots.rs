//! Snapshots through a real Redis: found with one round trip, and never believed against what is known.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::Duration;

use licensing::Found;
use licensing::fleet::{LookedUp, Tier};
use model::{KeyHash, LicenseStatus};
use redis::Commands;
use support::{Gate, Home, eventually};
use testkit::{Redis, RedisCluster};

/// The first key that a Redis holds for snapshots, with its value.
fn snapshot(redis: &Redis) -> Option<(String, Vec<u8>)> {
    let mut connection = connect(redis);
    let keys: Vec<String> = connection.keys("tg:*:snapshot").unwrap();
    let key = keys.into_iter().next()?;
    let value: Vec<u8> = connection.get(&key).unwrap();
    Some((key, value))
}

fn connect(redis: &Redis) -> redis::Connection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_connection().unwrap()
}

/// Loads a key at a gate until Redis holds a snapshot of it.
async fn share(gate: &Gate, hash: &KeyHash, redis: &Redis) -> (String, Vec<u8>) {
    gate.entry(hash).await;
    eventually("the snapshot is shared", || snapshot(redis).is_some()).await;
    snapshot(redis).unwrap()
}

/// Issues a license at a gate and waits until it can be shared.
async fn issue(gate: &Gate) -> (licensing::Issued, KeyHash) {
    let issued = gate.issue().await;
    let hash = gate.hash(&issued);
    eventually("the change is read back", || {
        gate.licensing.shareable() >= issued.license.version
    })
    .await;
    (issued, hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_key_costs_one_round_trip_and_a_warm_one_none() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        home.gate(vec![redis.url()]).await,
        home.gate(vec![redis.url()]).await,
    );
    let (_, hash) = issue(&one).await;
    share(&one, &hash, &redis).await;
    two.learns_of(&hash).await;
    let before = redis.commands_served("get");
    two.entry(&hash).await;
    assert_eq!(two.seen.of(Tier::Shared, LookedUp::Hit), 1);
    assert_eq!(two.seen.of(Tier::Store, LookedUp::Hit), 0);
    assert_eq!(redis.commands_served("get") - before, 1);
    for _ in 0..100 {
        assert!(matches!(two.find(&hash), Found::Known(_)));
    }
    assert_eq!(redis.commands_served("get") - before, 1);
    assert!(
        !snapshot(&redis).unwrap().0.contains(&hex(&hash)),
        "no hash of a key leaves"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_in_force_on_the_other_gate_by_its_push() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        home.gate(vec![redis.url()]).await,
        home.gate(vec![redis.url()]).await,
    );
    let (issued, hash) = issue(&one).await;
    two.learns_of(&hash).await;
    let entry = two.entry(&hash).await;
    let operator = one.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    // Nothing but the push makes the second gate read the changes.
    eventually("the revocation arrives", || entry.is_outdated()).await;
    assert_eq!(
        two.entry(&hash).await.license().status,
        LicenseStatus::Revoked
    );
    eventually("its time is told", || !two.seen.in_force.lock().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_before_a_change_is_not_believed_even_by_a_gate_that_starts_later() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let one = home.gate(vec![redis.url()]).await;
    let (issued, hash) = issue(&one).await;
    let (key, stale) = share(&one, &hash, &redis).await;
    let id = issued.license.license.id;
    let revoked = one
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, LicenseStatus::Revoked)
        .await;
    let version = revoked.unwrap().version;
    eventually("the change is read back", || {
        one.licensing.shareable() >= version
    })
    .await;
    assert_eq!(
        one.entry(&hash).await.license().status,
        LicenseStatus::Revoked
    );
    eventually("the new snapshot is shared", || {
        snapshot(&redis).is_some_and(|(_, shared)| shared != stale)
    })
    .await;
    // As a stale replica would have it after a failover.
    connect(&redis).set::<_, _, ()>(&key, &stale).unwrap();
    let two = home.gate(vec![redis.url()]).await;
    assert_eq!(
        two.entry(&hash).await.license().status,
        LicenseStatus::Revoked
    );
    assert_eq!(two.seen.of(Tier::Shared, LookedUp::Miss), 1);
    assert_eq!(two.seen.of(Tier::Store, LookedUp::Hit), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_fill_does_not_replace_a_newer_snapshot() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let one = home.gate(vec![redis.url()]).await;
    let (issued, hash) = issue(&one).await;
    let (key, old) = share(&one, &hash, &redis).await;
    let disabled = one
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(issued.license.license.id, LicenseStatus::Disabled)
        .await
        .unwrap();
    eventually("the change is read back", || {
        one.licensing.shareable() >= disabled.version
    })
    .await;
    one.entry(&hash).await;
    eventually("the newer one is shared", || {
        snapshot(&redis).unwrap().1 != old
    })
    .await;
    let newer = snapshot(&redis).unwrap().1;
    let late = licensing::fleet::Fill {
        name: key.split(['{', '}']).nth(1).unwrap().to_owned(),
        value: old,
        keep: Duration::from_secs(60),
        refused: None,
    };
    let before = redis.commands_served("evalsha");
    licensing::Fleet::put(&*one.coordinator, late);
    eventually("the late fill arrives", || {
        redis.commands_served("evalsha") > before
    })
    .await;
    assert_eq!(snapshot(&redis).unwrap().1, newer);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_value_is_refused_and_replaced() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let one = home.gate(vec![redis.url()]).await;
    let (_, hash) = issue(&one).await;
    let (key, sealed) = share(&one, &hash, &redis).await;
    let mut forged = sealed;
    // The greatest rank there is, so that no honest fill would replace it.
    forged[1..33].fill(b'f');
    for value in [forged, b"x".to_vec(), Vec::new()] {
        connect(&redis).set::<_, _, ()>(&key, &value).unwrap();
        let two = home.gate(vec![redis.url()]).await;
        assert_eq!(
            two.entry(&hash).await.license().status,
            LicenseStatus::Active
        );
        assert_eq!(two.seen.of(Tier::Shared, LookedUp::Miss), 1);
        eventually("it is replaced", || snapshot(&redis).unwrap().1 != value).await;
    }
    // Not even a text.
    let _: () = connect(&redis).del(&key).unwrap();
    let _: () = connect(&redis).rpush(&key, "x").unwrap();
    let two = home.gate(vec![redis.url()]).await;
    assert_eq!(
        two.entry(&hash).await.license().status,
        LicenseStatus::Active
    );
    eventually("it is replaced", || redis.ask(&["TYPE", &key]) == "string").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_one_cold_key_asks_redis_once() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        home.gate(vec![redis.url()]).await,
        home.gate(vec![redis.url()]).await,
    );
    let (_, hash) = issue(&one).await;
    share(&one, &hash, &redis).await;
    two.learns_of(&hash).await;
    let before = redis.commands_served("get");
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let licensing = two.licensing.clone();
            tokio::spawn(async move { licensing.admission().load(hash).await })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap().unwrap().is_some());
    }
    assert_eq!(redis.commands_served("get") - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_snapshots_and_pushes_and_is_found_by_one_of_its_nodes() {
    let (cluster, home) = (RedisCluster::start(), Home::new().await);
    let one = home.gate(cluster.urls()).await;
    let two = home.gate(vec![cluster.nodes()[1].url()]).await;
    assert!(one.is_up() && two.is_up());
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(issue(&one).await);
    }
    for (_, hash) in &keys {
        one.entry(hash).await;
    }
    let held = |node: &Redis| node.ask(&["DBSIZE"]).parse::<u64>().unwrap_or(0);
    eventually("all are shared", || {
        cluster.nodes().iter().map(held).sum::<u64>() == 20
    })
    .await;
    let spread = cluster.nodes().iter().filter(|node| held(node) > 0).count();
    assert!(spread > 1, "all keys lie on one node");
    for (_, hash) in &keys {
        two.learns_of(hash).await;
        two.entry(hash).await;
    }
    assert_eq!(two.seen.of(Tier::Shared, LookedUp::Hit), 20);
    let (issued, hash) = &keys[0];
    let entry = two.entry(hash).await;
    let operator = one.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    eventually("the revocation arrives", || entry.is_outdated()).await;
}

fn hex(hash: &KeyHash) -> String {
    hash.as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
