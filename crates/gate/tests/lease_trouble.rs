//! Leases when the store is busy, and when a gate dies with units that it never used. Fail points
//! belong to the whole process, so these tests take turns.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::env;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fail::FailScenario;
use journal::Journal;
use ledger::{Ledger, LedgerOptions};
use licensing::LeaseOptions;
use model::usage::UsageQuery;
use model::{LicenseId, ManualClock, Refusal, Timestamp};
use tokio::runtime::{Handle, Runtime};

use support::{START, Setup, TestGate, delivered, eventually, open_store, remaining};

/// The variable with the child's folder; set in the child only.
const HOME: &str = "GATE_LEASE_HOME";
const UNITS: u64 = 10;

/// Makes a call from its admission to its end.
async fn pass(fixture: &TestGate, key: &str) -> Result<(), Refusal> {
    let admitted = fixture
        .admit(key)
        .await
        .map_err(|refused| refused.refusal)?;
    let mut forwarding = admitted.mark().unwrap();
    forwarding.sending();
    let (committed, durable) = forwarding.commit(200, true);
    durable.await.unwrap();
    committed.close(&delivered(fixture.worker()));
    Ok(())
}

/// Checks that exactly this many more calls pass.
async fn assert_passes(fixture: &TestGate, key: &str, count: u64) {
    for _ in 0..count {
        assert_eq!(pass(fixture, key).await, Ok(()));
    }
    assert_eq!(pass(fixture, key).await, Err(Refusal::QuotaExhausted));
}

/// The body of the process below, which dies when the store has granted units and the gate does not
/// have them yet; not a test by itself.
#[test]
fn a_child_dies_between_grant_and_use() {
    let Some(home) = env::var_os(HOME) else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let fixture = TestGate::of(Setup {
            home: Some(home.into()),
            ..Setup::default()
        })
        .await;
        let (instance, now) = (fixture.instance, Timestamp::from_micros(START));
        let begun = fixture
            .store
            .begin_instance(instance, "here".to_owned(), now);
        begun.await.unwrap();
        let (id, key) = fixture.license(remaining(UNITS)).await;
        writeln!(std::io::stdout(), "#{id} {key}").unwrap();
        fail::cfg_callback("licensing::leased", || std::process::abort()).unwrap();
        let _ = fixture.admit(&key).await;
    });
}

#[test]
fn units_that_a_dead_gate_was_granted_and_never_used_come_back_whole() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_dies_between_grant_and_use",
            "--nocapture",
        ])
        .env(HOME, home.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let line = said
        .lines()
        .find_map(|line| line.split_once('#'))
        .unwrap()
        .1;
    let (id, key) = line.split_once(' ').unwrap();
    let id: LicenseId = id.parse().unwrap();

    Runtime::new().unwrap().block_on(async {
        let now = Timestamp::from_micros(START);
        let store = open_store(home.path(), Arc::new(ManualClock::at(now)));
        let balance = store.balance(id, now).await.unwrap().unwrap();
        assert!(balance.leased > 0, "it died before the grant: {balance:?}");
        let options = LedgerOptions::new(
            home.path().join("ledger"),
            home.path().join("journal"),
            "here",
        );
        let recovery = ledger::recover(&options, store.clone(), Handle::current());
        let recovery = recovery.await.unwrap();
        assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);
        let balance = store.balance(id, now).await.unwrap().unwrap();
        assert_eq!((balance.spent, balance.leased), (0, 0));
        let fixture = TestGate::of(Setup {
            home: Some(home.path().to_owned()),
            store: Some(store),
            ..Setup::default()
        })
        .await;
        assert_passes(&fixture, key, UNITS).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_store_costs_calls_that_need_it_and_neither_units_nor_records() {
    let scenario = FailScenario::setup();
    let fixture = TestGate::of(Setup {
        lanes: 1,
        lease: LeaseOptions {
            timeout: Duration::from_millis(50),
            ..LeaseOptions::default()
        },
        ..Setup::default()
    })
    .await;
    let options = LedgerOptions {
        rollup_every: Duration::from_secs(3_600),
        ..LedgerOptions::new(
            fixture.home.join("ledger"),
            fixture.home.join("journal"),
            "here",
        )
    };
    let journal: Journal = fixture.journal.clone();
    let (instance, store) = (fixture.instance, fixture.store.clone());
    let ledger = Ledger::start(options, journal, instance, 1, store, Handle::current())
        .await
        .unwrap();
    let (id, key) = fixture.license(remaining(UNITS)).await;

    fail::cfg("store::sqlite::busy", "return").unwrap();
    // The license is asked for by reading, which a busy writer does not hinder; units are not to be
    // had.
    for _ in 0..3 {
        assert_eq!(pass(&fixture, &key).await, Err(Refusal::QuotaUnavailable));
    }
    fail::remove("store::sqlite::busy");
    let mut passed = 0;
    eventually("units are leased again", async || {
        let ended = pass(&fixture, &key).await;
        passed += u64::from(ended.is_ok());
        ended.is_ok()
    })
    .await;

    // What is known goes on, and its records wait.
    fail::cfg("store::sqlite::busy", "return").unwrap();
    assert_eq!(pass(&fixture, &key).await, Ok(()));
    passed += 1;
    assert!(ledger.ship().await.is_err());
    assert!(ledger.counts().pending > 0);
    fail::remove("store::sqlite::busy");
    ledger.ship().await.unwrap();
    assert_passes(&fixture, &key, UNITS - passed).await;
    ledger.ship().await.unwrap();
    let usage = ledger.usage(UsageQuery::default()).await.unwrap().rows;
    assert_eq!(usage.iter().map(|row| row.sums.units).sum::<u64>(), UNITS);
    fixture.assert_left(id, 0).await;
    ledger.shutdown().await.unwrap();
    scenario.teardown();
}
