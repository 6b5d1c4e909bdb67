//! Dropped calls: at every step the record that is true there is left, once, and nothing stays
//! taken.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use gate::{Admitted, Committed, Failure, Forwarding};
use model::{Blame, CallRecord, LicenseId, Outcome, Refusal};

use support::{Setup, TestGate, app, broken, delivered, remaining};

const UNITS: u64 = 100;

/// A gate, a license with [`UNITS`] left, and the room that the lanes have when no call is under
/// way.
struct Scene {
    fixture: TestGate,
    id: LicenseId,
    key: String,
    room: Vec<u32>,
}

impl Scene {
    async fn new() -> Self {
        Self::of(TestGate::new().await).await
    }

    async fn counting_all() -> Self {
        let mut app = app("api");
        app.counts_all = true;
        Self::of(TestGate::with_app(app).await).await
    }

    async fn of(fixture: TestGate) -> Self {
        let (id, key) = fixture.license(remaining(UNITS)).await;
        // The first call defines the symbols, which take room of their own for good.
        drop(fixture.admit(&key).await.unwrap());
        let room = fixture.room();
        Self {
            fixture,
            id,
            key,
            room,
        }
    }

    async fn admitted(&self) -> Admitted {
        self.fixture.admit(&self.key).await.unwrap()
    }

    async fn forwarding(&self, sent: bool) -> Forwarding {
        let mut forwarding = self.admitted().await.mark().unwrap();
        if sent {
            forwarding.sending();
        }
        forwarding
    }

    async fn committed(&self, status: u16) -> Committed {
        let (committed, durable) = self.forwarding(true).await.commit(status, true);
        durable.await.unwrap();
        committed
    }

    /// Returns the only record. Checks that it spent `spent` units and that nothing else is held.
    async fn assert_ended(&self, spent: u64) -> CallRecord {
        self.fixture.assert_nothing_held(&self.room);
        let record = self.fixture.record();
        assert_eq!(record.tail.spent, spent);
        assert_eq!(record.head.license_id, Some(self.id));
        self.fixture.assert_left(self.id, UNITS - spent).await;
        record
    }
}

fn assert_failed_without_status(record: &CallRecord, outcome: Outcome) {
    assert_eq!(
        (record.head.status, record.tail.outcome),
        (0, outcome),
        "{record:#?}"
    );
    assert!(!record.tail.billable && !record.head.billable_status);
    assert_eq!(record.tail.calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_call_that_is_dropped_leaves_no_record_and_gives_everything_back() {
    let scene = Scene::new().await;
    for _ in 0..1_000 {
        drop(scene.admitted().await);
    }
    scene.fixture.assert_nothing_held(&scene.room);
    assert!(scene.fixture.records().is_empty());
    scene.fixture.assert_left(scene.id, UNITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_dropped_before_it_was_sent_failed_by_us_and_costs_nothing() {
    let scene = Scene::new().await;
    drop(scene.forwarding(false).await);
    let record = scene.assert_ended(0).await;
    assert_failed_without_status(&record, Outcome::GatewayFailed);
    assert_eq!(record.tail.units, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_dropped_after_it_was_sent_failed_by_us_and_costs_nothing() {
    let scene = Scene::new().await;
    drop(scene.forwarding(true).await);
    let record = scene.assert_ended(0).await;
    assert_failed_without_status(&record, Outcome::GatewayFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sent_call_of_an_app_that_counts_all_stays_spent_when_it_is_dropped() {
    let scene = Scene::counting_all().await;
    drop(scene.forwarding(true).await);
    let record = scene.assert_ended(1).await;
    assert_failed_without_status(&record, Outcome::GatewayFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsent_call_costs_nothing_even_where_all_calls_count() {
    let scene = Scene::counting_all().await;
    drop(scene.forwarding(false).await);
    scene.assert_ended(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_after_the_request_was_sent_does_not_buy_free_work() {
    let scene = Scene::new().await;
    let forwarding = scene.forwarding(true).await;
    assert!(forwarding.is_sent());
    let closing = broken(scene.fixture.worker(), Blame::Caller, false);
    forwarding.abandon(Failure::CallerLeft, &closing);
    let record = scene.assert_ended(1).await;
    assert_failed_without_status(&record, Outcome::ClientGone);
    assert_eq!(
        (record.tail.request_bytes, record.tail.response_bytes),
        (10, 100)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_before_anything_was_sent_costs_nothing() {
    let scene = Scene::new().await;
    let closing = broken(scene.fixture.worker(), Blame::Caller, false);
    scene
        .forwarding(false)
        .await
        .abandon(Failure::CallerLeft, &closing);
    let record = scene.assert_ended(0).await;
    assert_failed_without_status(&record, Outcome::ClientGone);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_call_has_no_status_whatever_its_ending_claims() {
    let scene = Scene::new().await;
    // An ending that would be delivered and billed.
    let closing = delivered(scene.fixture.worker());
    scene
        .forwarding(true)
        .await
        .abandon(Failure::Ours, &closing);
    let record = scene.assert_ended(0).await;
    assert_failed_without_status(&record, Outcome::GatewayFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committed_call_that_is_dropped_is_not_billed() {
    let scene = Scene::new().await;
    drop(scene.committed(200).await);
    let record = scene.assert_ended(0).await;
    assert_eq!(record.head.status, 200);
    assert!(record.head.billable_status && !record.tail.billable);
    assert_eq!(record.tail.outcome, Outcome::GatewayFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_call_is_billed_and_its_units_are_spent() {
    let scene = Scene::new().await;
    let committed = scene.committed(200).await;
    assert!(committed.is_forwarded());
    let id = committed.call_id();
    committed.close(&delivered(scene.fixture.worker()));
    let record = scene.assert_ended(1).await;
    assert!(record.tail.billable);
    assert_eq!(
        (record.head.call_id, record.tail.outcome, record.tail.units),
        (id, Outcome::Delivered, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_nobody_awaits_is_recorded_all_the_same() {
    let scene = Scene::new().await;
    let (committed, durable) = scene.forwarding(true).await.commit(200, true);
    drop(durable);
    committed.close(&delivered(scene.fixture.worker()));
    assert!(scene.assert_ended(1).await.tail.billable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_leaves_the_record_of_the_step_that_it_struck() {
    let scene = Scene::new().await;
    let (admitted, forwarding) = (scene.admitted().await, scene.forwarding(true).await);
    let committed = scene.committed(200).await;
    let struck = catch_unwind(AssertUnwindSafe(move || {
        let _held = (admitted, forwarding, committed);
        panic!("a filter fails");
    }));
    assert!(struck.is_err());
    scene.fixture.assert_nothing_held(&scene.room);
    let records = scene.fixture.records();
    let mut seen: Vec<_> = records
        .iter()
        .map(|record| (record.head.status, record.tail.outcome))
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [(0, Outcome::GatewayFailed), (200, Outcome::GatewayFailed)]
    );
    scene.fixture.assert_left(scene.id, UNITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_finds_no_mark_is_refused_and_gives_everything_back() {
    let fixture = TestGate::of(Setup {
        mark_slots: 4,
        ..Setup::default()
    })
    .await;
    let scene = Scene::of(fixture).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(scene.forwarding(true).await);
    }
    for _ in 0..200 {
        let refused = scene.admitted().await.mark().err();
        assert_eq!(refused, Some(Refusal::JournalUnavailable));
    }
    drop(held.pop());
    // A mark is free again.
    drop(scene.forwarding(false).await);
    drop(held);
    scene.fixture.assert_nothing_held(&scene.room);
    assert_eq!(scene.fixture.records().len(), 5);
    scene.fixture.assert_left(scene.id, UNITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_ending_frees_the_slot_of_a_call_at_once() {
    let fixture = TestGate::new().await;
    let limits = model::Limits {
        concurrency: Some(1),
        ..model::Limits::default()
    };
    let (_, key) = fixture.license(limits).await;
    let admit = || async { fixture.admit(&key).await.expect("the slot is free") };
    drop(admit().await);
    drop(admit().await.mark().unwrap());
    let closing = broken(fixture.worker(), Blame::Caller, false);
    let mut sent = admit().await.mark().unwrap();
    sent.sending();
    sent.abandon(Failure::CallerLeft, &closing);
    drop(admit().await.mark().unwrap().commit(502, false));
    let (committed, _) = admit().await.mark().unwrap().commit(200, true);
    committed.close(&delivered(fixture.worker()));
    let held = admit().await;
    assert_eq!(fixture.refusal("/", &key).await, Refusal::TooManyConcurrent);
    drop(held);
    drop(admit().await);
}
