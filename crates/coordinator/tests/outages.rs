//! A Redis that dies, hangs, forgets, fails over or is not what it should be.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::{Duration, Instant};

use coordinator::{Coordinator, Error};
use licensing::LicensingOptions;
use licensing::fleet::{LookedUp, Tier};
use model::LicenseStatus;
use support::{Home, eventually};
use testkit::{Redis, RedisCluster, RedisSentinel};

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_delays_the_calls_of_one_moment_by_its_bound_and_no_call_after() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let gate = home.gate(vec![redis.url()]).await;
    let mut hashes = Vec::new();
    for _ in 0..20 {
        hashes.push(gate.hash(&gate.issue().await));
    }
    redis.hang();
    gate.entry(&hashes[0]).await;
    eventually("it is noticed", || !gate.is_up()).await;
    let errors = gate.seen.of(Tier::Shared, LookedUp::Error);
    assert_eq!(errors, 1);
    let began = Instant::now();
    for hash in &hashes[1..] {
        gate.entry(hash).await;
    }
    // Each of them would have waited for the bound of 500 ms.
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(gate.seen.of(Tier::Store, LookedUp::Hit), 20);
    redis.resume();
    eventually("it is used again", || gate.is_up()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_killed_is_noticed_without_a_call_and_used_again_when_it_is_back() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        home.gate(vec![redis.url()]).await,
        home.gate(vec![redis.url()]).await,
    );
    assert!(one.is_up() && one.coordinator.is_up());
    redis.kill();
    eventually("it is noticed", || !one.is_up() && !two.is_up()).await;
    let issued = one.issue().await;
    let hash = one.hash(&issued);
    one.entry(&hash).await;
    redis.restart();
    // Whoever was cut off reads the changes again when it is connected, since pushes may have been lost.
    eventually("it is used again", || one.is_up() && two.is_up()).await;
    eventually("what was missed is read", || {
        !matches!(
            two.find(&hash),
            licensing::Found::Unknown | licensing::Found::Unheard
        )
    })
    .await;
    let entry = two.entry(&hash).await;
    let operator = one.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    eventually("pushes arrive again", || entry.is_outdated()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_push_channel_a_revocation_arrives_by_the_reading_of_changes() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let options = LicensingOptions {
        change_poll: Duration::from_millis(200),
        ..LicensingOptions::default()
    };
    let gate = async || {
        home.gate_with(home.options(vec![redis.url()]), options)
            .await
    };
    let (one, two) = (gate().await, gate().await);
    redis.kill();
    let issued = one.issue().await;
    let hash = one.hash(&issued);
    two.learns_of(&hash).await;
    let entry = two.entry(&hash).await;
    let operator = one.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    eventually("the revocation arrives", || entry.is_outdated()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_redis_changes_nothing_but_where_a_cold_key_is_found() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let one = home.gate(vec![redis.url()]).await;
    let hash = one.hash(&one.issue().await);
    one.entry(&hash).await;
    redis.flush();
    let two = home.gate(vec![redis.url()]).await;
    two.entry(&hash).await;
    assert_eq!(two.seen.of(Tier::Store, LookedUp::Hit), 1);
    assert!(two.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_the_sentinels_are_asked_for_the_new_master() {
    let (redis, home) = (RedisSentinel::start(), Home::new().await);
    let one = home.gate(vec![redis.url()]).await;
    let two = home.gate(vec![redis.url()]).await;
    assert!(one.is_up() && two.is_up());
    let issued = one.issue().await;
    let hash = one.hash(&issued);
    two.learns_of(&hash).await;
    let entry = two.entry(&hash).await;
    redis.initial_master().kill();
    eventually("it is noticed", || !one.is_up()).await;
    let second = redis.initial_replica().addr().port();
    eventually("it fails over", || redis.master_port() == Some(second)).await;
    eventually("the new master is used", || one.is_up() && two.is_up()).await;
    let operator = one.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    eventually("pushes go by the new master", || entry.is_outdated()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_is_followed_within_two_seconds_and_loses_nothing_that_was_needed() {
    let (redis, home) = (RedisSentinel::start(), Home::new().await);
    let one = home.gate(vec![redis.url()]).await;
    let two = home.gate(vec![redis.url()]).await;
    let issued = one.issue().await;
    let hash = one.hash(&issued);
    two.learns_of(&hash).await;
    let entry = two.entry(&hash).await;
    redis.fail_over();
    let second = redis.initial_replica().addr().port();
    eventually("it fails over", || redis.master_port() == Some(second)).await;
    let began = Instant::now();
    // All that the old master had acknowledged is gone, as the last seconds of it may be.
    redis.initial_replica().flush();
    let operator = one.licensing.acting(model::Actor::OPERATOR);
    let revoked = operator.set_status(issued.license.license.id, LicenseStatus::Revoked);
    revoked.await.unwrap();
    let other = one.issue().await;
    // A command that is refused as read-only shows it to a gate whose connection still stands.
    eventually("a write goes through", || {
        one.is_up()
            && two.is_up()
            && redis
                .initial_replica()
                .ask(&["CLIENT", "LIST"])
                .matches(" sub=1")
                .count()
                >= 2
    })
    .await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    eventually("the revocation arrives", || entry.is_outdated()).await;
    two.learns_of(&two.hash(&other)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_operator_can_mend_is_said_at_the_start() {
    let redis = Redis::start_with(&["--requirepass hunter2"]);
    let home = Home::new().await;
    let start = async |url: String| {
        Coordinator::connect(home.options(vec![url]), |_| {})
            .await
            .map(|coordinator| coordinator.is_up())
    };
    assert_eq!(start(redis.url()).await, Ok(true));
    for login in ["", ":wrong@", "nobody:hunter2@"] {
        let refused = start(format!("redis://{login}{}", redis.addr())).await;
        assert!(
            matches!(refused, Err(Error::Denied { .. })),
            "{login}: {refused:?}"
        );
    }
    // The line of docs/redis.md, but for two commands and the channels.
    for (words, rights) in [
        (
            "resetchannels &tg:* ~tg:* +@all -evalsha -hset",
            "+hset +evalsha",
        ),
        ("resetchannels &other:* ~tg:* +@all", "&tg:*"),
        ("resetchannels &tg:* ~other:* +@all", "~tg:*"),
        ("resetchannels &tg:* ~tg:* +@all -info", "+info"),
    ] {
        let set = format!("ACL SETUSER guest reset on >guest {words}");
        let set: Vec<_> = set.split(' ').collect();
        assert_eq!(redis.ask(&set), "OK");
        let refused = start(format!("redis://guest:guest@{}", redis.addr())).await;
        let Err(Error::NotPermitted { rights: told, .. }) = &refused else {
            panic!("{words}: {refused:?}");
        };
        assert_eq!(told, rights, "{words}");
    }
    let refused = start(format!("{}/99", redis.url())).await;
    assert!(matches!(refused, Err(Error::Unfit { .. })), "{refused:?}");
    let list = vec![redis.url(), redis.url()];
    let refused = Coordinator::connect(home.options(list), |_| {}).await;
    let message = refused.unwrap_err().to_string();
    assert!(message.contains("no Cluster"), "{message}");
    let refused = start("http://127.0.0.1".to_owned()).await;
    assert!(matches!(refused, Err(Error::Url(_))), "{refused:?}");
    // Nobody is there: it may come yet.
    let port = testkit::port::Port::take();
    assert_eq!(start(format!("redis://{}", port.addr())).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_is_used_as_it_is() {
    let home = Home::new().await;
    let redis = Redis::start_with(&["--maxmemory 1", "--maxmemory-policy noeviction"]);
    let gate = home.gate(vec![redis.url()]).await;
    let hash = gate.hash(&gate.issue().await);
    gate.entry(&hash).await;
    let other = home.gate(vec![redis.url()]).await;
    other.entry(&hash).await;
    assert!(gate.is_up() && other.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_is_refused_at_the_start_also_if_only_one_of_a_cluster_does() {
    let home = Home::new().await;
    let refused = async |urls: Vec<String>| {
        let refused = Coordinator::connect(home.options(urls), |_| {}).await;
        assert!(matches!(refused, Err(Error::Evicts { .. })), "{refused:?}");
    };
    let redis = Redis::start_with(&["--maxmemory-policy volatile-lru"]);
    refused(vec![redis.url()]).await;
    let cluster = RedisCluster::start();
    let one = &cluster.nodes()[1];
    assert_eq!(
        one.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]),
        "OK"
    );
    refused(cluster.urls()).await;
}
