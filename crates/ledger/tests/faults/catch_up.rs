//! The recovery of earlier starts beside the calls of a gate that serves.

use std::time::Duration;

use fail::FailScenario;
use ledger::LedgerOptions;
use model::CallId;
use model::usage::UsageQuery;
use store::LedgerStore;

use crate::support::{Gate, Home, Shape, comes_true, lines};

const ROLL: &str = "ledger::roll::commit";
const SEAL: &str = "ledger::seal::intended";
const FINISH: &str = "ledger::recover::finish";

/// Returns options with small batches, so that there are many steps.
fn options(home: &Home) -> LedgerOptions {
    LedgerOptions {
        rollup_rows: 10,
        ..home.options()
    }
}

/// Writes calls of `licenses` licenses, one that is under way and one that may have been forwarded;
/// then the gate dies.
async fn leave(gate: Gate, licenses: u64) -> Vec<CallId> {
    let call = |license: u64| gate.call(Shape::new(license, license as i64));
    let mut left: Vec<_> = (0..licenses).map(call).collect();
    left.push(gate.open(Shape::new(1, 900)));
    let (marked, slot) = gate.mark(Shape::new(2, 901));
    std::mem::forget(slot);
    left.push(marked);
    gate.die().await;
    left
}

async fn recorded(gate: &Gate) -> Vec<CallId> {
    let lines = lines(gate).await;
    lines.iter().map(|line| line.call_id).collect()
}

async fn counted(gate: &Gate) -> u64 {
    let rows = gate.ledger.usage(UsageQuery::default()).await.unwrap().rows;
    rows.iter().map(|row| row.sums.calls).sum()
}

/// Waits until all records of earlier starts are rolled up and sealed.
async fn caught_up(gate: &Gate) {
    let done =
        |state: &store::InstanceState| state.id == gate.instance || state.finished_at.is_some();
    let all = async || gate.store.instances().await.unwrap().iter().all(done);
    assert!(comes_true(60, all).await, "{:?}", gate.ledger.counts());
}

/// Checks that every call is there, and is there once.
async fn assert_whole(gate: &Gate, mut expected: Vec<CallId>) {
    let mut recorded = recorded(gate).await;
    recorded.sort_unstable();
    expected.sort_unstable();
    assert_eq!(recorded, expected);
    assert_eq!(counted(gate).await, expected.len() as u64);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    let calls = expected.len() as u64;
    assert_eq!(
        (report.accepted, report.stored, report.pending),
        (calls, calls, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_whose_store_takes_no_sums_yet_shows_the_calls_that_an_earlier_one_left() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let mut expected = leave(home.gate().await, 30).await;
    fail::cfg(ROLL, "return").unwrap();

    let gate = home.gate_behind(options(&home)).await;
    assert!(
        !gate
            .ledger
            .caught_up(Duration::from_secs(60))
            .await
            .unwrap()
    );
    assert_eq!(gate.ledger.counts().behind, 30, "closed and not rolled up");
    assert_eq!(gate.ledger.counts().pending, 0, "which is its own");
    assert_eq!(counted(&gate).await, 0);
    let mut seen = recorded(&gate).await;
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        (report.accepted, report.stored, report.pending),
        (32, 0, 32),
        "nothing is lost that is not there yet"
    );
    let rebuilt = gate.ledger.rebuild().await.unwrap();
    assert_eq!(rebuilt.missing, Vec::<String>::new());
    // Calls go on meanwhile.
    expected.push(gate.call(Shape::new(5, 950)));

    fail::remove(ROLL);
    caught_up(&gate).await;
    assert_eq!(gate.ledger.counts().behind, 0);
    assert_whole(&gate, expected).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_that_dies_anywhere_goes_on_where_it_was_with_all_that_was_left_meanwhile() {
    // The fail point fails after this many good passes: in the first batch, between two, between
    // two files, before the end.
    for (point, good) in [
        (ROLL, 0),
        (ROLL, 1),
        (ROLL, 4),
        (SEAL, 0),
        (SEAL, 1),
        (FINISH, 0),
    ] {
        let scenario = FailScenario::setup();
        let home = Home::new();
        let mut expected = leave(home.gate().await, 60).await;
        for _ in 0..3 {
            fail::cfg(point, &format!("{good}*off->return")).unwrap();
            let gate = home.gate_behind(options(&home)).await;
            // The wait ends when a step has failed.
            let exact = gate
                .ledger
                .caught_up(Duration::from_secs(60))
                .await
                .unwrap();
            assert_eq!(exact, point != ROLL, "{point} {good}");
            expected.extend(leave(gate, 40).await);
            fail::remove(point);
        }
        let gate = home.gate_behind(options(&home)).await;
        caught_up(&gate).await;
        assert_whole(&gate, expected).await;
        scenario.teardown();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_middle_keeps_what_is_left_for_the_next_start_and_says_so() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let mut expected = leave(home.gate().await, 30).await;
    fail::cfg(ROLL, "return").unwrap();
    let gate = home.gate_behind(options(&home)).await;
    gate.ledger
        .caught_up(Duration::from_secs(60))
        .await
        .unwrap();
    let ended = gate.ledger.shutdown().await.unwrap();
    assert_eq!((ended.clean, ended.pending, ended.left), (true, 0, 1));
    fail::remove(ROLL);
    gate.die().await;

    let gate = home.gate_behind(options(&home)).await;
    assert!(
        gate.ledger
            .caught_up(Duration::from_secs(60))
            .await
            .unwrap()
    );
    expected.push(gate.call(Shape::new(1, 960)));
    let ended = gate.ledger.shutdown().await.unwrap();
    assert_eq!((ended.clean, ended.left), (true, 0), "it had the time");
    gate.die().await;
    let gate = home.gate().await;
    assert_whole(&gate, expected).await;
    scenario.teardown();
}
