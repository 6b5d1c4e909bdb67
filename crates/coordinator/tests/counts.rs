//! Limits that hold over several gates, by a real Redis.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::time::Duration;

use licensing::{Ask, CachedLicense, IssueRequest, LicensingOptions, Reservation};
use model::{Clock, KeyHash, LicenseSpec, Limits, SystemClock};
use support::{Gate, Home, app, eventually};
use testkit::{Redis, RedisCluster};

const LIMIT: u32 = 100_000;

/// Windows are so long that no test sees one end, and the limit so high that none reaches it by one gate alone.
fn limits() -> Limits {
    Limits {
        rate_limits: vec![format!("{LIMIT}/59m").parse().unwrap()],
        ..Limits::default()
    }
}

async fn gate(home: &Home, urls: Vec<String>) -> Gate {
    let options = LicensingOptions {
        change_poll: Duration::from_millis(100),
        stale_after: Duration::from_secs(60),
        ..LicensingOptions::default()
    };
    home.gate_with(home.options(urls), options).await
}

async fn issue(gate: &Gate, limits: Limits) -> KeyHash {
    let request = IssueRequest {
        spec: LicenseSpec {
            limits,
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(app())
    };
    let issued = gate
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap()
        .remove(0);
    gate.hash(&issued)
}

fn call(entry: &CachedLicense) -> Option<Reservation> {
    let ask = Ask {
        units: 0,
        now: SystemClock.now(),
        slot: true,
    };
    entry.reserve(&ask).ok()
}

fn spend(entry: &CachedLicense) -> bool {
    let taken = call(entry);
    taken.map(|taken| entry.settle(taken, 0)).is_some()
}

/// One gate uses a limit up, the other learns of it.
async fn a_limit_holds_over(one: &Gate, two: &Gate) {
    let hash = issue(one, limits()).await;
    two.learns_of(&hash).await;
    let (first, second) = (one.entry(&hash).await, two.entry(&hash).await);
    let mut used = 0;
    while spend(&first) {
        used += 1;
    }
    assert_eq!(used, LIMIT);
    let mut over = 0;
    eventually("the other gate learns of it", || {
        let passed = spend(&second);
        over += u32::from(passed);
        !passed
    })
    .await;
    assert!(over < LIMIT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_window_holds_over_two_gates() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        gate(&home, vec![redis.url()]).await,
        gate(&home, vec![redis.url()]).await,
    );
    a_limit_holds_over(&one, &two).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_window_holds_over_two_gates_of_a_cluster() {
    let (cluster, home) = (RedisCluster::start(), Home::new().await);
    let (one, two) = (
        gate(&home, cluster.urls()).await,
        gate(&home, cluster.urls()).await,
    );
    for _ in 0..4 {
        a_limit_holds_over(&one, &two).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_each_gate_goes_by_its_own_count_and_after_it_by_both_again() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        gate(&home, vec![redis.url()]).await,
        gate(&home, vec![redis.url()]).await,
    );
    redis.kill();
    eventually("it is noticed", || !one.is_up() && !two.is_up()).await;
    let hash = issue(&one, limits()).await;
    two.learns_of(&hash).await;
    let (first, second) = (one.entry(&hash).await, two.entry(&hash).await);
    let count = |entry: &CachedLicense, calls| (0..calls).filter(|_| spend(entry)).count();
    assert_eq!(count(&first, LIMIT - 1), LIMIT as usize - 1);
    assert_eq!(count(&second, LIMIT / 2), LIMIT as usize / 2);
    redis.restart();
    eventually("it is used again", || one.is_up() && two.is_up()).await;
    eventually("both counts are told", || {
        // A call of each makes it tell its whole count.
        let _ = spend(&first);
        !spend(&second)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_count_on_every_gate_until_they_end_or_their_gate_does() {
    let (redis, home) = (Redis::start(), Home::new().await);
    let (one, two) = (
        gate(&home, vec![redis.url()]).await,
        gate(&home, vec![redis.url()]).await,
    );
    let limits = Limits {
        concurrency: Some(2),
        ..Limits::default()
    };
    let hash = issue(&one, limits).await;
    two.learns_of(&hash).await;
    let (first, second) = (one.entry(&hash).await, two.entry(&hash).await);
    let held: Vec<_> = (0..2).map(|_| call(&first).unwrap()).collect();
    eventually("the other gate learns of them", || !spend(&second)).await;
    for taken in held {
        first.settle(taken, 0);
    }
    eventually("the other gate learns of their end", || spend(&second)).await;
    let mut held = Vec::new();
    eventually("both are taken again", || {
        held.extend(call(&first));
        held.len() == 2
    })
    .await;
    eventually("the other gate learns of them", || !spend(&second)).await;
    drop(one);
    eventually("the gate that is gone is forgotten", || spend(&second)).await;
}
