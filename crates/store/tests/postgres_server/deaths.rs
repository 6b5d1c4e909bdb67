//! Servers that die, hang and come back, and gates that do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::usage::{UsageKey, UsageQuery, UsageSums};
use model::{AccountName, InstanceId, Method, Mode, Outcome};
use store::{
    AuditEntries, Error, LedgerStore, LicenseStore, ManagementStore, NodeStore, PostgresStore,
    QuotaStore, RollupBatch,
};
use store_conformance::fixtures::{batch, hours, keep, new_license, units};
use testkit::Postgres;
use tokio::task::JoinSet;

use crate::support::{DEADLINE, connect, in_time, open, options, unavailable, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_comes_back_by_itself_when_its_server_does() {
    let server = Postgres::start();
    let store = open(&server.database()).await;
    let new = new_license(units(5, None));
    store
        .create_licenses(vec![new.clone()], AuditEntries::none())
        .await
        .expect("new");
    let hash = new.credentials[0].hash;
    for suddenly in [true, false] {
        if suddenly {
            server.kill9();
        } else {
            server.stop();
        }
        let lost = in_time(store.license_by_key(hash)).await;
        assert!(unavailable(&lost), "{lost:?}");
        // Nobody waits for a server that is known to be dead: this many waits would not be over in
        // time.
        for _ in 0..1_000 {
            let lost = in_time(store.put_if_absent("x", vec![1], AuditEntries::none())).await;
            assert!(unavailable(&lost), "{lost:?}");
        }
        server.restart();
        let found = wait_for(|| store.license_by_key(hash), Result::is_ok).await;
        assert_eq!(
            found.expect("answers").expect("there").license.id,
            new.license.id
        );
        store
            .put_if_absent("y", vec![2], AuditEntries::none())
            .await
            .expect("writes too");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_one_wait_and_then_none() {
    let server = Postgres::start();
    let mut options = options(&server.database());
    options.statement_timeout = Duration::from_millis(300);
    options.connect_timeout = Duration::from_millis(500);
    let store = Arc::new(PostgresStore::open(options).await.expect("opens"));
    let id = keep(&*store, units(5, None)).await;
    server.pause();
    let mut flood = JoinSet::new();
    for _ in 0..2_000 {
        let store = Arc::clone(&store);
        flood.spawn(async move { store.license(id).await });
    }
    let lost = in_time(flood.join_all()).await;
    assert!(
        lost.iter().all(unavailable),
        "known to be hanging, or too many at once"
    );
    for _ in 0..1_000 {
        assert!(unavailable(&in_time(store.balance(id, hours(0))).await));
    }
    server.resume();
    let found = wait_for(|| store.license(id), Result::is_ok).await;
    assert!(found.expect("answers").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_position_stay_one_whenever_the_server_dies() {
    let server = Arc::new(Postgres::start());
    let store = open(&server.database()).await;
    let instance = InstanceId::generate();
    let key = UsageKey {
        account: AccountName::default(),
        app: "api".parse().expect("valid"),
        license_id: None,
        route: "/".to_owned(),
        method: Method::Get,
        status: 200,
        outcome: Outcome::Delivered,
        mode: Mode::Proxy,
        test: false,
        plan: None,
        currency: None,
        start: hours(0),
    };
    let roll = async |from: u64| {
        let one = UsageSums {
            calls: 1,
            ..UsageSums::default()
        };
        let batch = RollupBatch {
            rows: vec![(key.clone(), one)],
            ..batch(instance, from, Vec::new())
        };
        store.roll_up(batch).await
    };
    let position = async || {
        let positions = wait_for(|| store.positions(instance), Result::is_ok).await;
        positions
            .expect("answers")
            .first()
            .map_or(0, |position| position.rolled)
    };
    let dying = Arc::clone(&server);
    let deaths = tokio::task::spawn_blocking(move || {
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(150));
            dying.kill9();
            dying.restart();
        }
    });
    while !deaths.is_finished() {
        let from = position().await;
        match roll(from).await {
            Ok(()) => assert_eq!(position().await, from + 1),
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
    }
    deaths.await.expect("it lives again");
    let rolled = position().await;
    assert!(rolled > 0);
    let usage = store.usage(UsageQuery::default()).await.expect("answers");
    assert_eq!(usage[0].sums.calls, rolled, "rows and position are one");
    let refused = roll(rolled - 1).await;
    assert_eq!(
        refused,
        Err(Error::Position {
            expected: rolled - 1,
            found: rolled
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_few_connections_is_answered() {
    let server = Postgres::shared();
    let mut options = options(&server.schema());
    options.connections = 2;
    let store = Arc::new(PostgresStore::open(options).await.expect("opens"));
    let id = keep(&*store, units(5, None)).await;
    let mut flood = JoinSet::new();
    for number in 0..500 {
        let store = Arc::clone(&store);
        flood.spawn(async move {
            match number % 50 {
                0 => store.usage(UsageQuery::default()).await.map(drop),
                _ => store.license(id).await.map(drop),
            }
        });
    }
    let answers = in_time(flood.join_all()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_node_is_held_through_a_restart_of_the_server_and_until_its_gate_is_gone() {
    let server = Postgres::start();
    let url = server.database();
    let (first, second) = (open(&url).await, open(&url).await);
    let held = first.claim_node("north").await.expect("free");
    let taken = in_time(second.claim_node("north"))
        .await
        .expect_err("taken");
    assert_eq!(taken, Error::NodeTaken("north".to_owned()));
    server.kill9();
    server.restart();
    let raw = connect(&url).await;
    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    let held_again = |row: &Result<tokio_postgres::Row, _>| {
        row.as_ref().is_ok_and(|row| row.get::<_, i64>(0) == 1)
    };
    wait_for(|| raw.query_one(locks, &[]), held_again)
        .await
        .expect("answers");
    let taken = in_time(second.claim_node("north"))
        .await
        .expect_err("still taken");
    assert_eq!(taken, Error::NodeTaken("north".to_owned()));
    drop(held);
    let _north = in_time(second.claim_node("north")).await.expect("free");
}

/// A cancelled statement undoes its transaction, and the COMMIT after it is answered like any
/// other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_be_done_while_statements_are_cancelled_is_done() {
    let server = Arc::new(Postgres::start());
    let store = open(&server.database()).await;
    let instance = InstanceId::generate();
    let cancel = || {
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || {
            let sql = "DO $$ BEGIN FOR i IN 1..400 LOOP
                PERFORM pg_cancel_backend(pid) FROM pg_stat_activity
                  WHERE datname = 'test_0' AND pid <> pg_backend_pid() AND state <> 'idle';
                PERFORM pg_sleep(0.005), pg_stat_clear_snapshot(); END LOOP; END $$";
            server.psql("test_0", sql)
        })
    };
    let began = Instant::now();
    let mut canceller = cancel();
    let (mut rolled, mut failures, mut done) = (0, 0, Vec::new());
    loop {
        if canceller.is_finished() {
            canceller.await.expect("cancels");
            if rolled > 0 && failures > 0 {
                break;
            }
            // On a busy machine statements may run only while nobody looks for them.
            assert!(began.elapsed() < DEADLINE, "{rolled} done, {failures} not");
            canceller = cancel();
        }
        match store.roll_up(batch(instance, rolled, Vec::new())).await {
            Ok(()) => rolled += 1,
            Err(error) => {
                assert!(unavailable(&Err::<(), _>(error.clone())), "{error:?}");
                failures += 1;
                // The position shows whether it was done all the same: a batch is repeated from
                // there.
                let positions = wait_for(|| store.positions(instance), Result::is_ok).await;
                let found = positions.expect("answers");
                let found = found.first().map_or(0, |lane| lane.rolled);
                assert!(found == rolled || found == rolled + 1, "{found} {rolled}");
                rolled = found;
            }
        }
        let new = new_license(units(5, None));
        if store
            .create_licenses(vec![new.clone()], AuditEntries::none())
            .await
            .is_ok()
        {
            done.push(new.license.id);
        }
    }
    let positions = store.positions(instance).await.expect("answers");
    assert_eq!(positions.first().map_or(0, |lane| lane.rolled), rolled);
    for id in done {
        assert!(store.license(id).await.expect("answers").is_some(), "{id}");
    }
}
