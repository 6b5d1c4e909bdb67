//! Crashes at every step of rolling up and sealing, after which the step is done again.

use fail::FailScenario;
use store::LedgerStore;

use crate::support::{Gate, Home, Shape, lines, recover};

const SEAL_POINTS: [&str; 3] = [
    "ledger::seal::intended",
    "ledger::seal::written",
    "ledger::seal::committed",
];
const ROLL_POINTS: [&str; 2] = ["ledger::roll::commit", "ledger::roll::committed"];

fn fill(gate: &Gate) -> Vec<model::CallId> {
    let call = |second: i64| {
        gate.call(Shape {
            lane: 0,
            ..Shape::new(second as u64, second)
        })
    };
    (0..30).map(call).collect()
}

async fn assert_whole(gate: &Gate, expected: &[model::CallId]) {
    let lines = lines(gate).await;
    let ids: Vec<_> = lines.iter().map(|line| line.call_id).collect();
    assert_eq!(ids, expected);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.stored, expected.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_fails_is_repeated_with_the_same_name_and_rows() {
    for point in SEAL_POINTS {
        let scenario = FailScenario::setup();
        let home = Home::new();
        let gate = home.gate().await;
        let mut expected = fill(&gate);
        fail::cfg(point, "return").unwrap();
        gate.ledger.seal().await.unwrap_err();
        let intents = gate.store.seal_intents(gate.instance).await.unwrap();
        // More records come in between: the range stays as it was intended.
        expected.push(gate.call(Shape {
            lane: 0,
            ..Shape::new(1, 100)
        }));
        fail::remove(point);
        gate.ledger.seal().await.unwrap();
        let manifest = gate.store.manifest(None, None).await.unwrap();
        let ranges: Vec<_> = manifest
            .iter()
            .map(|file| (file.range.from, file.range.through))
            .collect();
        assert_eq!(ranges, [(0, 30), (30, 31)], "{point}");
        assert!(intents.iter().all(|intent| *intent == manifest[0].range));
        assert_eq!(home.files().len(), 2);
        assert_whole(&gate, &expected).await;
        scenario.teardown();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_while_sealing_leaves_nothing_doubled() {
    for point in SEAL_POINTS {
        let scenario = FailScenario::setup();
        let home = Home::new();
        let gate = home.gate().await;
        let expected = fill(&gate);
        fail::cfg(point, "return").unwrap();
        gate.ledger.seal().await.unwrap_err();
        gate.die().await;
        fail::remove(point);
        // The file that a crash in the middle of writing leaves.
        let part = home.path("ledger").join(home.files().first().map_or_else(
            || "left.parquet.part".to_owned(),
            |name| format!("{name}.part"),
        ));
        std::fs::write(&part, b"half").unwrap();
        assert_eq!(recover(&home).await.recovered.len(), 1, "{point}");
        assert_eq!(recover(&home).await.recovered.len(), 0, "{point}");
        let gate = home.gate().await;
        assert_whole(&gate, &expected).await;
        scenario.teardown();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_whose_answer_is_lost_is_not_done_twice() {
    for point in ROLL_POINTS {
        let scenario = FailScenario::setup();
        let home = Home::new();
        let gate = home.gate().await;
        let expected = fill(&gate);
        fail::cfg(point, "return").unwrap();
        gate.ledger.ship().await.unwrap_err();
        assert!(gate.ledger.stats().failures() > 0);
        fail::remove(point);
        assert_whole(&gate, &expected).await;

        fail::cfg(point, "return").unwrap();
        gate.call(Shape::new(1, 200));
        gate.ledger.ship().await.unwrap_err();
        gate.die().await;
        fail::remove(point);
        recover(&home).await;
        let gate = home.gate().await;
        let report = gate.ledger.verify().await.unwrap();
        assert!(report.is_clean() && report.stored == 31, "{report:?}");
        scenario.teardown();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_dies_before_its_end_is_repeated() {
    let scenario = FailScenario::setup();
    let home = Home::new();
    let gate = home.gate().await;
    let mut expected = fill(&gate);
    expected.push(gate.open(Shape::new(0, 90)));
    gate.die().await;
    let files = {
        fail::cfg("ledger::recover::finish", "return").unwrap();
        let recovery = recover(&home).await;
        assert_eq!((recovery.recovered.len(), recovery.failed.len()), (0, 1));
        fail::remove("ledger::recover::finish");
        home.files()
    };
    assert_eq!(recover(&home).await.recovered.len(), 1);
    assert_eq!(home.files(), files);
    let gate = home.gate().await;
    assert_whole(&gate, &expected).await;
    scenario.teardown();
}
