//! Calls while the disk fails. Fail points belong to the whole process, so these tests take turns.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fail::FailScenario;
use gate::{Admitted, HeadCommit, Refused};
use journal::{Lane, Sync, Unavailable};
use model::{Outcome, Refusal};

use support::{Setup, TestGate, app, delivered, eventually, remaining};

/// A gate whose callers wait for the disk.
async fn disk() -> TestGate {
    let mut app = app("api");
    app.waits_for_disk = true;
    TestGate::of(Setup {
        apps: vec![app],
        lanes: 1,
        sync: Sync::Disk,
        ..Setup::default()
    })
    .await
}

fn poll(commit: &mut HeadCommit) -> Poll<Result<(), Unavailable>> {
    let mut context = Context::from_waker(Waker::noop());
    pin!(commit).poll(&mut context)
}

fn assert_unavailable(result: Result<Admitted, Refused>) {
    let refused = result.err().expect("no call is let in");
    assert_eq!(refused.refusal, Refusal::JournalUnavailable);
    assert_eq!(refused.retry_after, Some(1));
    assert!(refused.rate.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_must_be_on_disk_is_ready_when_it_is_and_not_before() {
    let scenario = FailScenario::setup();
    let fixture = disk().await;
    let (_, key) = fixture.license(remaining(10)).await;
    let lane = fixture.journal.lane(0);
    fail::cfg("journal::fsync", "pause").unwrap();
    let forwarding = fixture.admit(&key).await.unwrap().mark().unwrap();
    let (committed, mut durable) = forwarding.commit(200, true);
    let position = lane.written();
    for _ in 0..100 {
        assert!(poll(&mut durable).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(lane.durable() < position);
    fail::remove("journal::fsync");
    durable.await.unwrap();
    assert!(lane.durable() >= position);
    committed.close(&delivered(fixture.worker()));
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_an_app_that_trusts_the_kernel_does_not_wait_for_the_disk() {
    let scenario = FailScenario::setup();
    let fixture = TestGate::of(Setup {
        sync: Sync::Disk,
        ..Setup::default()
    })
    .await;
    let (_, key) = fixture.license(remaining(10)).await;
    fail::cfg("journal::fsync", "pause").unwrap();
    let forwarding = fixture.admit(&key).await.unwrap().mark().unwrap();
    let (committed, mut durable) = forwarding.commit(200, true);
    assert_eq!(poll(&mut durable), Poll::Ready(Ok(())));
    committed.close(&delivered(fixture.worker()));
    fail::remove("journal::fsync");
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_disk_fails_those_who_wait_lets_nobody_in_and_loses_nothing() {
    let scenario = FailScenario::setup();
    let fixture = disk().await;
    let (id, key) = fixture.license(remaining(10)).await;
    let waiting = fixture.admit(&key).await.unwrap().mark().unwrap();
    let mut marked = fixture.admit(&key).await.unwrap().mark().unwrap();
    marked.sending();
    fail::cfg("journal::fsync", "return").unwrap();
    let (committed, durable) = waiting.commit(200, true);
    assert_eq!(durable.await, Err(Unavailable::Failed));

    for _ in 0..20 {
        assert_unavailable(fixture.admit(&key).await);
    }
    fixture.assert_left(id, 8).await;
    // Calls that are on their way end in the room that they were promised.
    let known = committed.call_id();
    drop(committed);
    let (second, durable) = marked.commit(200, true);
    assert_eq!(durable.await, Err(Unavailable::Failed));
    let other = second.call_id();
    second.close(&delivered(fixture.worker()));
    assert_eq!(fixture.journal.stats().marks, 0);

    fail::remove("journal::fsync");
    eventually("the journal recovers", async || {
        fixture.admit(&key).await.is_ok()
    })
    .await;
    eventually("both records are on disk", async || {
        fixture.records().len() == 2
    })
    .await;
    let records = fixture.records();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (record.head.call_id, record.tail.outcome))
        .collect();
    assert_eq!(
        seen,
        [(known, Outcome::GatewayFailed), (other, Outcome::Delivered)]
    );
    fixture.assert_left(id, 9).await;
    scenario.teardown();
}

fn is_full(lane: &Lane) -> bool {
    match lane.reserve(300, 2) {
        Ok(space) => {
            lane.release(space);
            false
        }
        Err(refused) => refused == Unavailable::DiskFull,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_before_anything_is_forwarded_and_heals_by_itself() {
    let scenario = FailScenario::setup();
    let fixture = TestGate::of(Setup {
        lanes: 1,
        ..Setup::default()
    })
    .await;
    let (id, key) = fixture.license(remaining(100_000)).await;
    drop(fixture.admit(&key).await.unwrap());
    let room = fixture.room();
    fail::cfg("journal::prewrite", "return").unwrap();
    let mut calls = 0;
    let refused = loop {
        match fixture.admit(&key).await {
            Ok(admitted) => {
                let mut forwarding = admitted.mark().unwrap();
                forwarding.sending();
                forwarding
                    .commit(200, true)
                    .0
                    .close(&delivered(fixture.worker()));
                calls += 1;
            }
            // Until the disk has said that it is full, room may still come.
            Err(_) if !is_full(&fixture.journal.lane(0)) => {}
            Err(refused) => break refused,
        }
    };
    assert_unavailable(Err(refused));
    for _ in 0..1_000 {
        assert_unavailable(fixture.admit(&key).await);
    }
    assert_eq!(fixture.journal.stats().marks, 0);
    fixture.assert_left(id, 100_000 - calls).await;
    let counted = r#"tallygate_refused_total{app="api",code="journal_unavailable"}"#;
    assert!(fixture.metric(counted) >= 1_001.0);
    let records = fixture.records();
    assert_eq!(records.len() as u64, calls);
    assert!(records.iter().all(|record| record.tail.billable));

    fail::remove("journal::prewrite");
    eventually("there is room again", async || {
        fixture.admit(&key).await.is_ok()
    })
    .await;
    fixture.assert_nothing_held(&room);
    fixture.assert_left(id, 100_000 - calls).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_wait_for_room_on_a_full_disk_and_none_of_them_is_lost() {
    let scenario = FailScenario::setup();
    let fixture = TestGate::of(Setup {
        lanes: 1,
        ..Setup::default()
    })
    .await;
    let (_, key) = fixture.license(remaining(0)).await;
    fail::cfg("journal::prewrite", "return").unwrap();
    let mut refused = 0;
    // Two segments' worth of single records and more.
    for _ in 0..1_200 {
        assert_eq!(fixture.refusal("/", &key).await, Refusal::QuotaExhausted);
        refused += 1;
        fixture.pass(std::time::Duration::from_secs(1));
    }
    let recorded = fixture.records().len();
    assert!((300..1_200).contains(&recorded), "{recorded}");
    let counted = r#"tallygate_refused_total{app="api",code="quota_exhausted"}"#;
    assert_eq!(fixture.metric(counted), f64::from(refused));
    fail::remove("journal::prewrite");
    eventually("the refusals that waited are written", async || {
        fixture.pass(std::time::Duration::from_secs(1));
        let records = fixture.records();
        let calls: u32 = records.iter().map(|record| record.tail.calls).sum();
        calls == refused
    })
    .await;
    scenario.teardown();
}
