//! Floods of refusals: all are counted, few records are written.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gate::{Worker, WorkerParts};
use model::{CallRecord, Limits, Outcome, Refusal};

use support::{Setup, TestGate, delivered, remaining, request};

fn calls(records: &[CallRecord]) -> u64 {
    records
        .iter()
        .map(|record| u64::from(record.tail.calls))
        .sum()
}

fn assert_refusals(records: &[CallRecord]) {
    let ids: HashSet<_> = records.iter().map(|record| record.head.call_id).collect();
    assert_eq!(ids.len(), records.len(), "a call id occurs twice");
    for record in records {
        let (head, tail) = (&record.head, &record.tail);
        assert_eq!(tail.outcome, Outcome::Refused);
        assert_eq!(Some(head.status), tail.refusal.map(Refusal::status));
        assert!(tail.calls > 0 && !tail.billable && !head.billable_status);
        assert_eq!((head.reserved, tail.units, tail.spent), (0, 0, 0));
        assert!(!head.limited && !head.windowed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_is_counted_call_by_call_and_written_in_few_records() {
    const FLOOD: u64 = 20_000;
    let fixture = TestGate::of(Setup {
        lanes: 1,
        ..Setup::default()
    })
    .await;
    let (_, key) = fixture.license(remaining(0)).await;
    let room = fixture.room();
    let before = fixture.worker().wall(fixture.worker().now()).seconds();
    for _ in 0..FLOOD {
        assert_eq!(fixture.refusal("/", &key).await, Refusal::QuotaExhausted);
    }
    let seconds = fixture.worker().wall(fixture.worker().now()).seconds() - before + 1;
    fixture.pass(Duration::from_secs(1));
    let records = fixture.records();
    assert_eq!(calls(&records), FLOOD);
    assert_refusals(&records);
    let few = 2 * seconds as usize;
    assert!(
        records.len() <= few,
        "{} records in {seconds} s",
        records.len()
    );
    assert_eq!(fixture.journal.stats().marks, 0);
    assert_eq!(fixture.journal.lane(0).open_count(), 0);
    // Symbols of the dictionary are all that is left behind.
    assert_eq!(fixture.room(), room);
    // Nothing more comes of it.
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.records().len(), records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_refusal_is_written_at_once_under_its_own_id() {
    let fixture = TestGate::new().await;
    let (id, key) = fixture.license(remaining(0)).await;
    let refused = fixture.admit(&key).await.err().unwrap();
    let record = fixture.record();
    assert_eq!(record.head.call_id, refused.call_id);
    assert_eq!(record.head.license_id, Some(id));
    assert_eq!(record.tail.calls, 1);
    assert_refusals(&[record]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_different_kinds_are_never_folded_together() {
    let fixture = TestGate::new().await;
    let mut wishes = Vec::new();
    for _ in 0..3 {
        wishes.push(fixture.license(remaining(0)).await);
    }
    let (tight, key) = fixture
        .license(Limits {
            rate_limits: vec!["1/1d".parse().unwrap()],
            ..Limits::default()
        })
        .await;
    let mut call = fixture.admit(&key).await.unwrap().mark().unwrap();
    call.sending();
    call.commit(200, true).0.close(&delivered(fixture.worker()));
    wishes.push((tight, key));
    for _ in 0..50 {
        for (_, key) in &wishes {
            for method in ["GET", "POST"] {
                let routed = fixture.route(method, "/").unwrap();
                let request = support::call("/", key);
                assert!(
                    fixture
                        .gate
                        .admit(fixture.worker(), routed, request)
                        .await
                        .is_err()
                );
            }
        }
    }
    fixture.pass(Duration::from_secs(1));
    let refused: Vec<_> = fixture
        .records()
        .into_iter()
        .filter(|record| record.tail.outcome == Outcome::Refused)
        .collect();
    assert_refusals(&refused);
    let mut kinds: HashMap<_, u32> = HashMap::new();
    for record in &refused {
        let head = &record.head;
        *kinds
            .entry((head.license_id, head.method, record.tail.refusal))
            .or_default() += record.tail.calls;
    }
    assert_eq!(kinds.len(), 8);
    assert!(kinds.values().all(|calls| *calls == 50), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_from_many_threads_on_one_worker_are_counted_call_by_call() {
    const THREADS: usize = 8;
    const EACH: usize = 3_000;
    let fixture = Arc::new(TestGate::new().await);
    let mut keys = Vec::new();
    for _ in 0..4 {
        keys.push(fixture.license(remaining(0)).await.1);
    }
    let (keys, runtime) = (Arc::new(keys), tokio::runtime::Handle::current());
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (fixture, keys, runtime) = (fixture.clone(), keys.clone(), runtime.clone());
            std::thread::spawn(move || {
                for number in 0..EACH {
                    let key = &keys[(thread + number) % keys.len()];
                    assert!(runtime.block_on(fixture.admit_on(0, "/", key)).is_err());
                    if thread == 0 && number % 500 == 0 {
                        fixture.pass(Duration::from_secs(1));
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    fixture.pass(Duration::from_secs(1));
    let records = fixture.records();
    assert_refusals(&records);
    assert_eq!(calls(&records), (THREADS * EACH) as u64);
    let counted = r#"tallygate_refused_total{app="api",code="quota_exhausted"}"#;
    assert_eq!(fixture.metric(counted), (THREADS * EACH) as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_unknown_keys_leave_no_record() {
    let fixture = TestGate::new().await;
    fixture.issue(request("api", Limits::default())).await;
    for number in 0..5_000 {
        let key = format!("{number:08x}-0000-4000-8000-000000000000");
        assert_eq!(fixture.refusal("/", &key).await, Refusal::LicenseUnknown);
    }
    fixture.pass(Duration::from_secs(1));
    assert!(fixture.records().is_empty());
    assert_eq!(fixture.journal.stats().marks, 0);
    let counted = r#"tallygate_refused_total{app="api",code="license_unknown"}"#;
    assert_eq!(fixture.metric(counted), 5_000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_calls_of_the_second_before_are_folded_like_all_others() {
    let fixture = TestGate::of(Setup {
        lanes: 1,
        ..Setup::default()
    })
    .await;
    let (_, key) = fixture.license(remaining(0)).await;
    let early: Vec<_> = (0..500)
        .map(|_| fixture.route("GET", "/").unwrap())
        .collect();
    fixture.pass(Duration::from_secs(1));
    for routed in early {
        let late = fixture.route("GET", "/").unwrap();
        for routed in [routed, late] {
            assert!(
                fixture
                    .gate
                    .admit(fixture.worker(), routed, support::call("/", &key))
                    .await
                    .is_err()
            );
        }
    }
    fixture.pass(Duration::from_secs(1));
    let records = fixture.records();
    assert_eq!(calls(&records), 1_000);
    assert!(records.len() < 20, "{} records", records.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_were_folded_are_written_when_a_worker_ends() {
    let fixture = TestGate::of(Setup {
        lanes: 1,
        ..Setup::default()
    })
    .await;
    let (_, key) = fixture.license(remaining(0)).await;
    let parts = WorkerParts {
        journal: fixture.journal.clone(),
        admission: fixture.licensing.admission().clone(),
        metrics: fixture.metrics.clone(),
        clock: fixture.clock.clone(),
    };
    let worker = Worker::new(0, &parts);
    for _ in 0..100 {
        let routed = fixture.gate.route(&worker, "x", "GET", b"/").unwrap();
        assert!(
            fixture
                .gate
                .admit(&worker, routed, support::call("/", &key))
                .await
                .is_err()
        );
    }
    drop(worker);
    assert_eq!(calls(&fixture.records()), 100);
}
