//! The reading of records and files that an earlier version of the program wrote.
//!
//! `version_1` holds the records and files of the last build with version 1: records, one a line
//! with head and tail in hexadecimal digits, and a sealed file of such records. Both are of one
//! lane, app, route and plan.

use ledger::{CallsQuery, ExportFormat, Filter, Names, SealedReader};
use model::usage::{UsageQuery, UsageSums};
use model::{CallHead, CallRecord, Outcome};

use crate::support::{Gate, Home, Shape, lines, recover};

const RECORDS: &str = include_str!("version_1/records.txt");
const FILE: &str = "01900000000070008000000000000001-0000-000000000001-000000000240.parquet";
const FILE_BYTES: &[u8] = include_bytes!(
    "version_1/01900000000070008000000000000001-0000-000000000001-000000000240.parquet"
);

/// Returns heads and tails of version 1.
fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
    let bytes = |digits: &str| hex::decode(digits).unwrap();
    let pair = |line: &str| {
        let (head, tail) = line.split_once(' ').unwrap();
        (bytes(head), bytes(tail))
    };
    RECORDS.lines().map(pair).collect()
}

/// Writes records as the old version did: every third at once, the others in two steps, one step
/// behind each other.
fn write(gate: &Gate) {
    let lane = gate.lane(0);
    let mut open = Vec::new();
    for (index, (head, tail)) in records().into_iter().enumerate() {
        assert_eq!((head.len(), tail.len(), head[0], tail[0]), (80, 64, 1, 1));
        let mut space = lane.reserve(CallRecord::LENGTH as u32, 2).unwrap();
        if index % 3 == 0 {
            lane.single(space, &[head, tail].concat());
            continue;
        }
        let opened = lane.open(&mut space, &head);
        open.push((space, opened.sequence, tail));
        if open.len() > 2 {
            let (space, sequence, tail) = open.remove(0);
            lane.close(space, sequence, &tail);
        }
    }
    for (space, sequence, tail) in open {
        lane.close(space, sequence, &tail);
    }
}

async fn sums(gate: &Gate) -> (u64, u64, u64, String) {
    let rows = gate.ledger.usage(UsageQuery::default()).await.unwrap().rows;
    let mut sums = UsageSums::default();
    rows.iter().for_each(|row| sums.add(&row.sums));
    (
        sums.calls,
        sums.billable_calls,
        sums.units,
        sums.amount.to_string(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_version_1_and_2_in_one_journal_are_rolled_up_and_sealed() {
    let home = Home::new();
    let gate = home.gate().await;
    let old = (30, 16, 34, "0.34".to_owned());
    write(&gate);
    assert_eq!(sums(&gate).await, old, "pending");
    gate.ledger.ship().await.unwrap();
    assert_eq!(sums(&gate).await, old, "rolled up");
    gate.call(Shape {
        lane: 0,
        units: 5,
        ..Shape::new(1, 50)
    });
    gate.ledger.seal().await.unwrap();
    let both = (31, 17, 39, "0.39".to_owned());
    assert_eq!(sums(&gate).await, both, "sealed");
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    gate.ledger.rebuild().await.unwrap();
    assert_eq!(sums(&gate).await, both, "rebuilt from files");
    assert_eq!(lines(&gate).await.len(), 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gate_of_version_1_left_when_it_was_killed_is_brought_into_the_books() {
    let home = Home::new();
    let gate = home.gate().await;
    write(&gate);
    let lane = gate.lane(0);
    let (mut open, _) = records().swap_remove(1);
    let mut mark = open.clone();
    // Other calls, without a tail and without a status. Their units are as they were reserved: 2.
    (open[16], mark[16]) = (0xf1, 0xf2);
    mark[4..6].fill(0);
    let mut space = lane.reserve(CallRecord::LENGTH as u32, 2).unwrap();
    let _ = lane.open(&mut space, &open);
    std::mem::forget(gate.journal.mark(&mark).unwrap());
    drop(lane);
    gate.die().await;

    let recovery = recover(&home).await;
    assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);
    assert_eq!(recovery.recovered.len(), 1, "{recovery:?}");
    let gate = home.gate().await;
    assert_eq!(sums(&gate).await, (32, 17, 36, "0.36".to_owned()));
    let lines = lines(&gate).await;
    for (outcome, billable) in [(Outcome::Interrupted, true), (Outcome::Unknown, false)] {
        let found: Vec<_> = lines
            .iter()
            .filter(|line| line.outcome == outcome)
            .collect();
        let [line] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((line.billable, line.units), (billable, 2));
    }
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_file_of_format_1_is_read_verified_and_exported() {
    let home = Home::new();
    std::fs::create_dir_all(home.path("ledger")).unwrap();
    let path = home.path("ledger").join(FILE);
    std::fs::write(&path, FILE_BYTES).unwrap();
    let names = Names::default();
    let (mut rows, mut nanos) = (0, 0);
    let reader = SealedReader::open(&path).unwrap();
    let mut add = |row: &ledger::Row| {
        let CallHead {
            credential_id,
            caller,
            correction_of,
            unit,
            ..
        } = row.record.head;
        assert_eq!(
            (credential_id, caller, correction_of, unit),
            (None, None, None, 0)
        );
        assert_eq!(
            (row.record.tail.payer, row.record.tail.units_unreadable),
            (None, None)
        );
        nanos += row.amount.nanos();
        rows += 1;
        Ok(())
    };
    reader.scan(&names, &Filter::default(), &mut add).unwrap();
    assert_eq!((rows, nanos), (240, 3_040_000_000));

    let gate = home.gate().await;
    let rebuilt = gate.ledger.rebuild().await.unwrap();
    assert_eq!(
        (rebuilt.files, rebuilt.missing.len()),
        (1, 0),
        "{rebuilt:?}"
    );
    assert_eq!(sums(&gate).await, (308, 151, 304, "3.04".to_owned()));
    gate.call(Shape::new(1, 1_000));
    gate.ledger.seal().await.unwrap();
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    for format in [
        ExportFormat::Parquet,
        ExportFormat::Csv,
        ExportFormat::Jsonl,
    ] {
        let mut output = Vec::new();
        let query = CallsQuery::default();
        let exported = gate
            .ledger
            .export(query, format, &mut output)
            .await
            .unwrap();
        assert_eq!(exported, 241, "{format:?}");
    }
    assert_eq!(
        std::fs::read(&path).unwrap(),
        FILE_BYTES,
        "it is left as it is"
    );
}
