//! The verification: every kind of damage is found, named and, where it can be, mended.

use std::path::PathBuf;

use ledger::{Fault, VerifyReport};
use rusqlite::Connection;

use crate::support::{Gate, Home, Shape, recover};

/// Returns a gate with forty calls on one lane in two files, and ten more in the journal.
async fn prepared(home: &Home) -> Gate {
    let gate = home.gate().await;
    for second in 0..50 {
        if second == 20 || second == 40 {
            gate.ledger.seal().await.unwrap();
        }
        gate.call(Shape {
            lane: 0,
            ..Shape::new(second as u64 % 3, second)
        });
    }
    gate
}

fn faults(report: &VerifyReport) -> Vec<Fault> {
    let mut faults: Vec<_> = report
        .problems
        .iter()
        .map(|problem| problem.fault)
        .collect();
    faults.dedup();
    faults
}

fn file(home: &Home, index: usize) -> PathBuf {
    home.path("ledger").join(&home.files()[index])
}

async fn assert_clean(gate: &Gate) {
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        (report.accepted, report.stored, report.pending),
        (50, 50, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_ships_what_is_pending_and_finds_nothing_wrong() {
    let home = Home::new();
    let gate = prepared(&home).await;
    assert_clean(&gate).await;
    assert_eq!(gate.ledger.counts().stored, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_of_a_file_is_found_and_healed_from_the_journal() {
    let home = Home::new();
    let gate = prepared(&home).await;
    let path = file(&home, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let report = gate.ledger.verify().await.unwrap();
    assert_eq!(faults(&report), [Fault::FileChanged]);
    assert_eq!((report.lost, report.duplicated), (20, 0), "{report:?}");
    assert!(report.problems[0].rebuild_heals);
    assert_eq!(report.problems[0].range, Some((1, 20)));
    assert_eq!(gate.ledger.counts().lost, 20);

    let rebuilt = gate.ledger.rebuild().await.unwrap();
    assert_eq!((rebuilt.remade.len(), rebuilt.missing.len()), (1, 0));
    assert_clean(&gate).await;
    assert_eq!(
        gate.ledger.counts().lost,
        20,
        "what was seen once is shown for good"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_found_and_healed_from_the_journal() {
    let home = Home::new();
    let gate = prepared(&home).await;
    std::fs::remove_file(file(&home, 1)).unwrap();
    let report = gate.ledger.verify().await.unwrap();
    assert_eq!(faults(&report), [Fault::FileMissing]);
    assert_eq!((report.lost, report.duplicated), (20, 0));
    gate.ledger.rebuild().await.unwrap();
    assert_clean(&gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_for_good_stays_lost_and_its_rollups_stay() {
    let home = Home::new();
    let gate = prepared(&home).await;
    gate.ledger.shutdown().await.unwrap();
    gate.die().await;
    std::fs::remove_dir_all(home.path("journals")).unwrap();
    std::fs::remove_file(file(&home, 0)).unwrap();
    let gate = home.gate().await;
    for _ in 0..2 {
        let report = gate.ledger.verify().await.unwrap();
        assert_eq!(faults(&report), [Fault::FileMissing], "{report:?}");
        assert_eq!((report.lost, report.duplicated, report.stored), (20, 0, 50));
        let rebuilt = gate.ledger.rebuild().await.unwrap();
        assert_eq!(rebuilt.missing.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubled_rollup_is_found_and_healed() {
    let home = Home::new();
    let gate = prepared(&home).await;
    gate.ledger.ship().await.unwrap();
    let connection = Connection::open(home.path("store").join("ledger.db")).unwrap();
    let doubled = connection
        .execute(
            "UPDATE rollups SET calls = calls * 2, units = units * 2, amount = amount * 2
             WHERE cursor = (SELECT min(cursor) FROM rollups)",
            [],
        )
        .unwrap();
    assert_eq!(doubled, 1);
    let report = gate.ledger.verify().await.unwrap();
    assert_eq!(faults(&report), [Fault::RollupsDiffer]);
    assert!(report.duplicated > 0 && report.lost == 0, "{report:?}");
    assert_eq!((report.accepted, report.stored), (50, 50));

    connection.execute("DELETE FROM rollups", []).unwrap();
    let report = gate.ledger.verify().await.unwrap();
    assert_eq!((report.lost, report.duplicated, report.stored), (50, 0, 0));

    gate.ledger.rebuild().await.unwrap();
    assert_clean(&gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_with_another_amount_is_found() {
    let home = Home::new();
    let gate = prepared(&home).await;
    gate.ledger.ship().await.unwrap();
    let connection = Connection::open(home.path("store").join("ledger.db")).unwrap();
    connection
        .execute("UPDATE rollups SET amount = amount + 1", [])
        .unwrap();
    let report = gate.ledger.verify().await.unwrap();
    assert_eq!(faults(&report), [Fault::RollupsDiffer]);
    assert!(!report.is_clean());
    gate.ledger.rebuild().await.unwrap();
    assert_clean(&gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_manifest_is_made_anew_from_the_files() {
    let home = Home::new();
    let gate = prepared(&home).await;
    gate.ledger.ship().await.unwrap();
    let connection = Connection::open(home.path("store").join("ledger.db")).unwrap();
    connection
        .execute_batch("DELETE FROM sealed_files; UPDATE lanes SET sealed = 0; DELETE FROM rollups")
        .unwrap();
    let report = gate.ledger.verify().await.unwrap();
    assert!(faults(&report).contains(&Fault::FileUnknown), "{report:?}");
    let rebuilt = gate.ledger.rebuild().await.unwrap();
    assert_eq!(rebuilt.files, 2);
    assert_clean(&gate).await;
}

/// Returns the segments of a lane of the only dead instance, oldest first.
fn segments(home: &Home, lane: usize) -> Vec<PathBuf> {
    let instance = std::fs::read_dir(home.path("journals"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mut segments: Vec<_> = std::fs::read_dir(instance.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("{lane:04}-")) && name.ends_with(".seg")
        })
        .collect();
    segments.sort();
    segments
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_part_of_the_journal_is_found_and_counted() {
    let home = Home::new();
    let gate = home.gate().await;
    for second in 0..1_000 {
        gate.call(Shape {
            lane: 0,
            ..Shape::new(1, second)
        });
    }
    gate.die().await;
    let segments = segments(&home, 0);
    assert!(segments.len() > 3, "{segments:?}");
    let kept = std::fs::read(&segments[1]).unwrap();
    std::fs::remove_file(&segments[1]).unwrap();
    let recovery = recover(&home).await;
    assert_eq!(recovery.failed.len(), 1);

    let gate = home.gate().await;
    let report = gate.ledger.verify().await.unwrap();
    assert!(
        faults(&report).contains(&Fault::JournalDamaged),
        "{report:?}"
    );
    assert_eq!(report.accepted, 1_000, "{report:?}");
    assert!(report.lost > 100 && report.duplicated == 0, "{report:?}");
    assert_eq!(
        report.accepted,
        report.stored + report.pending + report.lost
    );

    // Put back from a copy, everything is recovered.
    std::fs::write(&segments[1], kept).unwrap();
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.accepted, report.stored), (1_000, 1_000));
}
