//! Quota over a real store: never over-spent, never waiting when warm, never hammering.

#![allow(clippy::unwrap_used, reason = "the panic of a test is its message")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use licensing::{CachedLicense, IssueRequest, LeaseOptions, LicensingOptions};
use model::{Counter, LicenseSpec, LicenseStatus, LicenseUpdate, Limits, Refusal};
use store::{LedgerStore, QuotaStore, RollupBatch, Spent};
use testkit::eventually::eventually_async;

use support::{
    FaultyStore, World, app, eventually, hash_of, options, remaining, settle_all, windows,
};

fn refilled(units: u64, refill: &str) -> Limits {
    Limits {
        refill: Some(refill.parse().unwrap()),
        ..remaining(units)
    }
}

/// A gate that does not own its store alone.
fn one_of_many() -> LicensingOptions {
    LicensingOptions {
        lease: LeaseOptions {
            alone: false,
            ..options().lease
        },
        ..options()
    }
}

/// Calls from threads with runtimes of their own, as the proxy's; how many passed.
fn call_from_threads(threads: usize, entries: &[Arc<CachedLicense>], world: &World) -> u64 {
    let passed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (entry, passed) = (&entries[thread % entries.len()], &passed);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                match runtime.block_on(entry.acquire(&world.ask(1))) {
                    Ok(taken) => {
                        passed.fetch_add(1, Ordering::SeqCst);
                        entry.settle(taken, 1);
                    }
                    Err(refused) => assert!(matches!(
                        refused.refusal,
                        Refusal::QuotaExhausted | Refusal::QuotaUnavailable
                    )),
                }
            });
        }
    });
    passed.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_threads_on_10_units_exactly_10_pass() {
    let world = World::new().await;
    let (_, entry) = world.issued_entry(remaining(10)).await;
    let passed = tokio::task::block_in_place(|| call_from_threads(64, &[entry], &world));
    assert_eq!(passed, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_threads_on_10_units_at_two_gates_exactly_10_pass() {
    let here = World::with(one_of_many()).await;
    let there = here.neighbour(one_of_many()).await;
    let issued = here.issue(remaining(10)).await;
    let hash = hash_of(&issued);
    eventually("the key is known there", || {
        !matches!(there.find(&hash), licensing::Found::Unknown)
    })
    .await;
    let entries = [here.entry(&hash).await, there.entry(&hash).await];
    let passed = tokio::task::block_in_place(|| call_from_threads(64, &entries, &here));
    assert!(passed <= 10, "{passed}");
    // What one gate holds and does not use comes back to the other.
    eventually_async("the last unit is found", async || {
        here.clock.advance(Duration::from_secs(6));
        for entry in &entries {
            if let Ok(taken) = entry.acquire(&here.ask(1)).await {
                entry.settle(taken, 1);
            }
        }
        let id = issued.license.license.id;
        let balance = here.store.balance(id, here.now()).await.unwrap().unwrap();
        balance.leased == 10 && entries.iter().all(|entry| held(entry) == 0)
    })
    .await;
}

#[tokio::test]
async fn units_that_another_gate_holds_are_not_used_up_and_come_back_in_seconds() {
    let here = World::with(one_of_many()).await;
    let there = here.neighbour(one_of_many()).await;
    let issued = here.issue(remaining(3)).await;
    let hash = hash_of(&issued);
    eventually("the key is known there", || {
        !matches!(there.find(&hash), licensing::Found::Unknown)
    })
    .await;
    let (entry, other) = (here.entry(&hash).await, there.entry(&hash).await);
    let taken = entry.acquire(&here.ask(1)).await.unwrap();
    entry.settle(taken, 1);
    assert_eq!(held(&entry), 2);
    let refused = other.acquire(&here.ask(1)).await.unwrap_err();
    assert_eq!(
        (refused.refusal, refused.retry_after),
        (Refusal::QuotaUnavailable, Some(1))
    );
    let asked = FaultyStore::count(&here.store.leases);
    for _ in 0..100 {
        assert!(other.reserve(&here.ask(1)).is_err());
    }
    assert_eq!(FaultyStore::count(&here.store.leases), asked);
    here.clock.advance(Duration::from_secs(3));
    eventually_async("it comes back", async || {
        here.clock.advance(Duration::from_secs(1));
        match other.acquire(&here.ask(2)).await {
            Ok(taken) => {
                other.settle(taken, 2);
                true
            }
            Err(_) => false,
        }
    })
    .await;
}

fn held(entry: &CachedLicense) -> u64 {
    let leased = entry.state().meter().leased_units();
    leased.map_or(0, |(_, units)| units)
}

#[tokio::test]
async fn an_exhausted_license_does_not_hammer_the_store_and_a_returned_unit_lets_a_call_pass() {
    let world = World::new().await;
    let (issued, entry) = world.issued_entry(remaining(3)).await;
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(entry.acquire(&world.ask(1)).await.unwrap());
    }
    let asked = FaultyStore::count(&world.store.leases);
    for _ in 0..100 {
        let refused = entry.acquire(&world.ask(1)).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::QuotaExhausted);
    }
    assert_eq!(FaultyStore::count(&world.store.leases), asked);
    // A call that was not billed.
    entry.settle(taken.pop().unwrap(), 0);
    taken.push(entry.reserve(&world.ask(1)).unwrap());
    assert!(entry.reserve(&world.ask(1)).is_err());
    let id = issued.license.license.id;
    let balance = world.licensing.balance(id).await.unwrap().unwrap();
    assert_eq!(
        (balance.granted, balance.remaining, balance.taken),
        (3, 0, 3)
    );
    entry.cancel(taken.pop().unwrap());
    let balance = world.licensing.balance(id).await.unwrap().unwrap();
    assert_eq!((balance.remaining, balance.taken), (1, 2));
    settle_all(&entry, taken);
}

#[tokio::test]
async fn a_refill_that_sets_gives_its_amount_once_however_long_nobody_called() {
    let world = World::new().await;
    let (_, entry) = world.issued_entry(refilled(50, "5/1h")).await;
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    world.advance(Duration::from_secs(3 * 3_600)).await;
    let (passed, refused) = world.passes(&entry).await;
    assert_eq!(passed, 5, "49 that were left are cut to 5");
    let refused = refused.unwrap();
    assert_eq!(refused.refusal, Refusal::QuotaExhaustedForNow);
    assert_eq!(refused.retry_after, Some(3_600));
    entry.settle(taken, 0);
    assert_eq!(
        world.passes(&entry).await.0,
        0,
        "a unit of the past is void"
    );
    world.advance(Duration::from_secs(3_600)).await;
    assert_eq!(world.passes(&entry).await.0, 5);
}

#[tokio::test]
async fn a_refill_that_adds_keeps_what_is_left() {
    let world = World::new().await;
    let (_, entry) = world.issued_entry(refilled(50, "5/1h,add")).await;
    let taken = entry.acquire(&world.ask(10)).await.unwrap();
    entry.settle(taken, 10);
    world.advance(Duration::from_secs(3_600)).await;
    assert_eq!(world.passes(&entry).await.0, 45);
    world.advance(Duration::from_secs(3_600)).await;
    assert_eq!(world.passes(&entry).await.0, 5);
}

#[tokio::test]
async fn refills_without_units_that_are_counted_change_nothing() {
    let world = World::new().await;
    let limits = Limits {
        refill: Some("5/1h".parse().unwrap()),
        ..Limits::default()
    };
    let (issued, entry) = world.issued_entry(limits).await;
    assert_eq!(world.passes(&entry).await.0, 1_000);
    let balance = world.licensing.balance(issued.license.license.id).await;
    assert_eq!(balance.unwrap(), None);
    assert_eq!(FaultyStore::count(&world.store.leases), 0);
}

#[tokio::test]
async fn a_window_of_an_hour_outlives_the_process_and_begins_anew_at_the_hour() {
    let world = World::new().await;
    let (issued, entry) = world.issued_entry(windows(&["10/1h"])).await;
    let id = issued.license.license.id;
    for _ in 0..4 {
        let taken = entry.acquire(&world.ask(1)).await.unwrap();
        assert!(taken.is_windowed());
        entry.settle(taken, 0);
    }
    // The ledger reports the four calls; then the process dies, its journal is read, and another takes its place.
    let minute = world.now().period(60);
    let spent = Spent {
        license_id: id,
        units: vec![],
        calls: vec![(minute, 4)],
    };
    let batch = RollupBatch {
        instance: world.instance,
        lane: 0,
        from: 0,
        through: 4,
        rows: vec![],
        spent: vec![spent],
        ..RollupBatch::default()
    };
    world.store.roll_up(batch).await.unwrap();
    let next = world.neighbour(options()).await;
    let entry = next.entry(&hash_of(&issued)).await;
    let early = entry.acquire(&next.ask(1)).await.unwrap_err();
    assert_eq!(
        early.refusal,
        Refusal::RateLimited,
        "the dead one holds all that is left"
    );
    world.store.settle_instance(world.instance).await.unwrap();
    next.advance(Duration::from_secs(6)).await;
    let (passed, refused) = next.passes(&entry).await;
    assert_eq!(
        (passed, refused.unwrap().refusal),
        (6, Refusal::RateLimited)
    );
    next.advance(Duration::from_secs(3_600)).await;
    assert_eq!(next.passes(&entry).await.0, 10);
}

#[tokio::test]
async fn a_rate_limited_call_spends_no_units_and_an_exhausted_one_no_calls() {
    let world = World::new().await;
    let limits = Limits {
        rate_limits: windows(&["2/1m"]).rate_limits,
        ..remaining(3)
    };
    let (_, entry) = world.issued_entry(limits).await;
    let (passed, refused) = world.passes(&entry).await;
    assert_eq!(
        (passed, refused.unwrap().refusal),
        (2, Refusal::RateLimited)
    );
    world.advance(Duration::from_secs(60)).await;
    let (passed, refused) = world.passes(&entry).await;
    let refused = refused.unwrap();
    assert_eq!((passed, refused.refusal), (1, Refusal::QuotaExhausted));
    assert_eq!(refused.view.unwrap().remaining, 1);
}

#[tokio::test]
async fn limits_set_by_hand_are_in_force_when_the_operation_returns() {
    let world = World::new().await;
    let (issued, entry) = world.issued_entry(remaining(100)).await;
    let (id, hash) = (issued.license.license.id, hash_of(&issued));
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    assert!(held(&entry) > 0, "leased ahead");
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_limits(id, remaining(2), true)
        .await
        .unwrap();
    let entry = world.entry(&hash).await;
    assert_eq!(world.passes(&entry).await.0, 2);
    entry.settle(taken, 0);
    assert_eq!(
        world.passes(&entry).await.0,
        0,
        "a unit of the balance before is void"
    );

    let label = Some("busy".to_owned());
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_limits(id, remaining(5), true)
        .await
        .unwrap();
    let entry = world.entry(&hash).await;
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    let update = LicenseUpdate {
        label: Some(label),
        ..LicenseUpdate::default()
    };
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .change(id, update)
        .await
        .unwrap();
    entry.cancel(taken);
    let entry = world.entry(&hash).await;
    assert_eq!(
        world.passes(&entry).await.0,
        5,
        "a change of the label costs nothing"
    );
}

#[tokio::test]
async fn a_store_that_does_not_lease_refuses_with_a_word_of_its_own_and_nothing_is_lost() {
    let world = World::new().await;
    let (_, entry) = world.issued_entry(remaining(5)).await;
    FaultyStore::set(&world.store.dead, true);
    let refused = entry.acquire(&world.ask(1)).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::QuotaUnavailable);
    assert_eq!(refused.retry_after, Some(1));
    let asked = FaultyStore::count(&world.store.leases);
    for _ in 0..1_000 {
        let refused = entry.acquire(&world.ask(1)).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::QuotaUnavailable);
    }
    let asked = FaultyStore::count(&world.store.leases) - asked;
    assert!(asked < 100, "no call asks a dead store: {asked}");
    FaultyStore::set(&world.store.dead, false);
    eventually_async("it leases again", async || {
        match entry.acquire(&world.ask(1)).await {
            Ok(taken) => {
                entry.cancel(taken);
                true
            }
            Err(_) => false,
        }
    })
    .await;
    assert_eq!(world.passes(&entry).await.0, 5);
}

#[tokio::test]
async fn units_whose_lease_or_return_was_not_answered_are_neither_lost_nor_used_twice() {
    let world = World::with(one_of_many()).await;
    let (issued, entry) = world.issued_entry(remaining(40)).await;
    let id = issued.license.license.id;
    FaultyStore::set(&world.store.lossy, true);
    let refused = entry.acquire(&world.ask(1)).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::QuotaUnavailable);
    eventually("what was leased is heard of", || held(&entry) > 0).await;
    let leased = async || {
        let balance = world.store.balance(id, world.now()).await.unwrap();
        balance.unwrap().leased
    };
    assert_eq!(leased().await, held(&entry));
    // Some are returned without an answer, and one while the store is away.
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    FaultyStore::set(&world.store.lossy, true);
    let update = LicenseUpdate {
        label: Some(Some("busy".to_owned())),
        ..LicenseUpdate::default()
    };
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .change(id, update)
        .await
        .unwrap();
    eventually_async("the answer was lost", async || leased().await == 1).await;
    FaultyStore::set(&world.store.dead, true);
    entry.cancel(taken);
    let refused = entry.acquire(&world.ask(1)).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::QuotaUnavailable);
    FaultyStore::set(&world.store.dead, false);
    eventually_async("what is leased is held", async || {
        leased().await == held(&entry)
    })
    .await;
    let entry = world.entry(&hash_of(&issued)).await;
    assert_eq!(world.passes(&entry).await.0, 40);
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_waited_for_only_so_long_and_its_late_answer_is_used() {
    let world = World::with(LicensingOptions {
        lease: LeaseOptions {
            timeout: Duration::from_millis(20),
            ..LeaseOptions::default()
        },
        ..options()
    })
    .await;
    let (_, entry) = world.issued_entry(remaining(5)).await;
    let (_, other) = world.issued_entry(remaining(5)).await;
    FaultyStore::close(&world.store.lease_gate);
    for entry in [&entry, &other] {
        let refused = entry.acquire(&world.ask(1)).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::QuotaUnavailable);
    }
    FaultyStore::open(&world.store.lease_gate);
    eventually("the late lease is there", || held(&entry) == 5).await;
    assert_eq!(world.passes(&entry).await.0, 5);
}

#[tokio::test]
async fn a_license_that_is_revoked_while_a_call_waits_for_units_does_not_let_it_pass() {
    let world = World::new().await;
    let (issued, entry) = world.issued_entry(remaining(5)).await;
    FaultyStore::close(&world.store.lease_gate);
    let ask = world.ask(1);
    let call = tokio::spawn(async move { entry.acquire(&ask).await });
    eventually("it waits", || FaultyStore::count(&world.store.held) == 1).await;
    let id = issued.license.license.id;
    let revoked = LicenseStatus::Revoked;
    world
        .licensing
        .acting(model::Actor::OPERATOR)
        .set_status(id, revoked)
        .await
        .unwrap();
    FaultyStore::open(&world.store.lease_gate);
    let refused = call.await.unwrap().unwrap_err();
    assert_eq!(refused.refusal, Refusal::LicenseRevoked);
}

#[tokio::test]
async fn demand_of_many_licenses_go_to_the_store_together() {
    let world = World::new().await;
    let request = IssueRequest {
        spec: LicenseSpec {
            limits: remaining(1),
            ..LicenseSpec::default()
        },
        quantity: 200,
        ..IssueRequest::for_app(app())
    };
    let mut entries = Vec::new();
    for issued in world
        .licensing
        .acting(model::Actor::OPERATOR)
        .issue(request)
        .await
        .unwrap()
    {
        entries.push(world.entry(&hash_of(&issued)).await);
    }
    FaultyStore::close(&world.store.lease_gate);
    let ask = world.ask(1);
    let calls: Vec<_> = entries
        .iter()
        .map(|entry| {
            let entry = entry.clone();
            tokio::spawn(async move { entry.acquire(&ask).await.is_ok() })
        })
        .collect();
    eventually("the first asks", || {
        FaultyStore::count(&world.store.held) == 1
    })
    .await;
    FaultyStore::open(&world.store.lease_gate);
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(FaultyStore::count(&world.store.lease_requests), 200);
    assert!(FaultyStore::count(&world.store.leases) <= 3);
}

#[tokio::test]
async fn a_lease_is_renewed_in_the_background_before_it_runs_dry() {
    let world = World::new().await;
    let (_, entry) = world.issued_entry(remaining(100_000)).await;
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    entry.settle(taken, 1);
    let first = held(&entry);
    while held(&entry) * 2 > first {
        let taken = entry.reserve(&world.ask(1)).unwrap();
        entry.settle(taken, 1);
    }
    eventually("more is leased", || held(&entry) > first).await;
}

#[tokio::test]
async fn idle_leases_go_back_to_the_store() {
    let world = World::new().await;
    let limits = Limits {
        rate_limits: windows(&["50/1h"]).rate_limits,
        ..remaining(100)
    };
    let (issued, entry) = world.issued_entry(limits).await;
    let id = issued.license.license.id;
    let taken = entry.acquire(&world.ask(1)).await.unwrap();
    entry.settle(taken, 1);
    let leased = || async {
        let balance = world.store.balance(id, world.now()).await.unwrap();
        balance.unwrap().leased
    };
    assert!(leased().await > 1);
    world.advance(Duration::from_secs(31)).await;
    eventually_async("all but the spent unit is back", async || {
        leased().await == 1
    })
    .await;
    let key = store::LeaseKey {
        license_id: id,
        counter: Counter::Window(3_600),
        period: world.now().period(3_600),
    };
    let request = store::LeaseRequest {
        key,
        want: 50,
        capacity: 50,
    };
    let other = model::InstanceId::generate();
    let granted = world.store.lease(other, vec![request], world.now()).await;
    assert_eq!(granted.unwrap()[0].units, 49);
}

#[tokio::test]
async fn concurrency_is_counted_over_all_keys_of_a_license() {
    let world = World::new().await;
    let limits = Limits {
        concurrency: Some(2),
        ..Limits::default()
    };
    let (issued, first) = world.issued_entry(limits).await;
    let id = issued.license.license.id;
    let one = first.acquire(&world.ask(1)).await.unwrap();
    let rotated = world
        .licensing
        .acting(model::Actor::OPERATOR)
        .rotate(id, Duration::from_secs(60), model::KeyFormat::Uuid)
        .await
        .unwrap();
    let second = world.entry(&hash_of(&rotated)).await;
    let two = second.acquire(&world.ask(1)).await.unwrap();
    let refused = second.acquire(&world.ask(1)).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::TooManyConcurrent);
    first.settle(one, 0);
    let three = second.acquire(&world.ask(1)).await.unwrap();
    second.cancel(two);
    second.cancel(three);
    assert_eq!(second.state().meter().calls_under_way(), 0);
}
