//! The flow from the journal to usage, calls, files and exports, in one process.

use ledger::{CallsQuery, ExportFormat, SealedReader};
use model::usage::{UsageField, UsageQuery};
use model::{Outcome, Timestamp};
use store::LedgerStore;

use crate::support::{Gate, Home, START, Shape, comes_true, license, lines};

async fn call_ids(gate: &Gate, query: CallsQuery) -> Vec<model::CallId> {
    let calls = gate.ledger.calls(query).await.unwrap();
    let lines = calls.all().await.unwrap();
    lines.into_iter().map(|line| line.call_id).collect()
}

async fn totals(gate: &Gate) -> (u64, u64, String) {
    let rows = gate.ledger.usage(UsageQuery::default()).await.unwrap().rows;
    let row = rows.first().cloned().unwrap_or_default();
    (row.sums.calls, row.sums.units, row.sums.amount.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_in_usage_and_calls_as_soon_as_it_is_closed() {
    let home = Home::new();
    let gate = home.gate().await;
    assert_eq!(totals(&gate).await.0, 0);
    let first = gate.call(Shape {
        units: 3,
        ..Shape::new(1, 5)
    });
    assert_eq!(totals(&gate).await, (1, 3, "0.03".to_owned()));
    gate.open(Shape::new(1, 1));
    let second = gate.call(Shape::new(2, 2));
    assert_eq!(
        call_ids(&gate, CallsQuery::default()).await,
        [second, first],
        "oldest first, and nothing that is not over"
    );
    assert_eq!(totals(&gate).await, (2, 4, "0.04".to_owned()));
    let counts = gate.ledger.counts();
    assert_eq!((counts.accepted, counts.stored, counts.pending), (2, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_and_unsealed_calls_are_one_list() {
    let home = Home::new();
    let gate = home.gate().await;
    let mut expected = Vec::new();
    for round in 0..4 {
        for number in 0..50 {
            // Later rounds start earlier, so that files and journal overlap in time.
            let second = i64::from(number) * 10 - i64::from(round);
            let owner = u64::from(number % 5_u32);
            let id = gate.call(Shape::new(owner, second));
            expected.push((second, id, owner));
        }
        if round < 3 {
            gate.ledger.seal().await.unwrap();
        }
    }
    expected.sort_unstable();
    let all: Vec<_> = expected.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(call_ids(&gate, CallsQuery::default()).await, all);
    assert_eq!(home.files().len(), 6, "three rounds on two lanes");

    let limited = CallsQuery {
        limit: Some(7),
        ..CallsQuery::default()
    };
    assert_eq!(call_ids(&gate, limited).await, all[..7]);

    let (from, to) = (100, 300);
    let some = CallsQuery {
        license_id: Some(license(3)),
        from: Some(Timestamp::from_micros(START + from * 1_000_000)),
        to: Some(Timestamp::from_micros(START + to * 1_000_000)),
        ..CallsQuery::default()
    };
    let wanted = |(second, _, owner): &&(i64, model::CallId, u64)| {
        *owner == 3 && (from..to).contains(second)
    };
    let some_expected: Vec<_> = expected
        .iter()
        .filter(wanted)
        .map(|(_, id, _)| *id)
        .collect();
    assert!(some_expected.len() > 10);
    assert_eq!(call_ids(&gate, some).await, some_expected);

    for (app, calls) in [("api", 200), ("other", 0)] {
        let query = CallsQuery {
            app: Some(app.parse().unwrap()),
            ..CallsQuery::default()
        };
        assert_eq!(call_ids(&gate, query).await.len(), calls);
    }
    assert_eq!(totals(&gate).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_twice_makes_no_second_file_and_files_carry_the_chain() {
    let home = Home::new();
    let gate = home.gate().await;
    for second in 0..10 {
        gate.call(Shape {
            lane: 0,
            ..Shape::new(1, second)
        });
    }
    gate.ledger.seal().await.unwrap();
    gate.ledger.seal().await.unwrap();
    assert_eq!(home.files().len(), 1);
    gate.call(Shape {
        lane: 0,
        ..Shape::new(1, 11)
    });
    gate.ledger.seal().await.unwrap();
    let manifest = gate.store.manifest(None, None).await.unwrap();
    assert_eq!(manifest.len(), 2);
    assert_eq!(manifest[1].previous, manifest[0].hash);
    let reader = SealedReader::open(&home.path("ledger").join(&manifest[1].name)).unwrap();
    assert_eq!(reader.meta().previous, manifest[0].hash);
    assert_eq!(
        (reader.meta().range.from, reader.meta().range.through),
        (10, 11)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_groups_by_what_is_asked_for_and_counts_folded_refusals() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.call(Shape {
        status: 500,
        ..Shape::new(1, 0)
    });
    gate.refuse(Shape::new(1, 0), 40);
    let query = UsageQuery {
        by: vec![UsageField::Outcome, UsageField::Status],
        ..UsageQuery::default()
    };
    let rows = gate.ledger.usage(query).await.unwrap().rows;
    let mut seen: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.outcome,
                row.status,
                row.sums.calls,
                row.sums.billable_calls,
            )
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            (Some(Outcome::Delivered), Some(200), 1, 1),
            (Some(Outcome::Delivered), Some(500), 1, 0),
            (Some(Outcome::Refused), Some(402), 40, 0),
        ]
    );
    let lines = lines(&gate).await;
    let refused = lines.iter().find(|line| line.calls == 40).unwrap();
    assert_eq!(refused.refusal, Some("quota_exhausted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_serialises_to_the_public_fields() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.ledger.seal().await.unwrap();
    let lines = lines(&gate).await;
    let json = serde_json::to_value(&lines[0]).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
    let mut expected = ledger::CallLine::FIELDS.map(str::to_owned);
    expected.sort();
    assert_eq!(fields, expected);
    assert_eq!(json["license_id"], license(1).to_string());
    assert_eq!(json["node"], "here");
    assert_eq!(json["outcome"], "delivered");
    assert_eq!(json["mode"], "proxy");
    assert_eq!(json["plan"], "pro");
    assert_eq!(json["status"], 200);
    assert_eq!(
        json["started_at"],
        Timestamp::from_micros(START).to_string()
    );
    assert_eq!(json["refusal"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_hold_every_call_in_every_format() {
    let home = Home::new();
    let gate = home.gate().await;
    for second in 0..30 {
        gate.call(Shape::new(second as u64, second));
        if second == 20 {
            gate.ledger.seal().await.unwrap();
        }
    }
    let mut counts = Vec::new();
    for format in [
        ExportFormat::Jsonl,
        ExportFormat::Csv,
        ExportFormat::Parquet,
    ] {
        let mut output = Vec::new();
        let count = gate
            .ledger
            .export(CallsQuery::default(), format, &mut output)
            .await
            .unwrap();
        assert_eq!(count, 30);
        counts.push(match format {
            ExportFormat::Parquet => {
                assert_eq!(
                    (&output[..4], &output[output.len() - 4..]),
                    (&b"PAR1"[..], &b"PAR1"[..])
                );
                31
            }
            ExportFormat::Jsonl => 1 + String::from_utf8(output).unwrap().lines().count(),
            ExportFormat::Csv => String::from_utf8(output).unwrap().lines().count(),
        });
    }
    assert_eq!(counts, [31, 31, 31]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_end_leaves_nothing_to_recover() {
    let home = Home::new();
    let gate = home.gate().await;
    for second in 0..10 {
        gate.call(Shape::new(1, second));
    }
    let ended = gate.ledger.shutdown().await.unwrap();
    assert!(ended.clean && ended.pending == 0, "{ended:?}");
    let instances = gate.store.instances().await.unwrap();
    assert!(instances[0].finished_at.is_some());
    let files = home.files();
    gate.die().await;
    let store = home.store().await;
    let recovery = ledger::recover(
        &home.options(),
        store.clone(),
        tokio::runtime::Handle::current(),
    )
    .await
    .unwrap();
    assert!(recovery.recovered.is_empty() && recovery.failed.is_empty());
    assert_eq!(home.files(), files);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_call_keeps_the_end_from_being_final() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.open(Shape::new(1, 1));
    let ended = gate.ledger.shutdown().await.unwrap();
    assert!(!ended.clean);
    let instances = gate.store.instances().await.unwrap();
    assert_eq!(instances[0].finished_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_ship_and_seal_by_themselves() {
    let home = Home::new();
    let options = ledger::LedgerOptions {
        rollup_every: std::time::Duration::from_millis(10),
        seal_every: std::time::Duration::from_millis(50),
        ..home.options()
    };
    let gate = home.gate_with(options).await;
    gate.call(Shape::new(1, 0));
    let shipped = async || {
        let is_sealed = |name: &String| !name.ends_with(".part");
        gate.ledger.counts().stored == 1 && home.files().iter().any(is_sealed)
    };
    assert!(comes_true(20, shipped).await, "nothing was shipped");
    gate.ledger.abandon().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_removes_old_files_and_keeps_their_sums() {
    let home = Home::new();
    let options = ledger::LedgerOptions {
        retention: Some(std::time::Duration::from_secs(3600)),
        ..home.options()
    };
    let gate = home.gate_with(options).await;
    let now = model::Timestamp::from(std::time::SystemTime::now());
    let recent = (now.micros() - START) / 1_000_000;
    gate.call(Shape {
        lane: 0,
        ..Shape::new(1, recent - 7200)
    });
    gate.ledger.seal().await.unwrap();
    let kept = gate.call(Shape {
        lane: 0,
        ..Shape::new(1, recent)
    });
    gate.ledger.seal().await.unwrap();
    assert_eq!(
        gate.ledger.remove_old().await.unwrap(),
        0,
        "not rolled up yet"
    );
    gate.ledger.ship().await.unwrap();
    assert_eq!(gate.ledger.remove_old().await.unwrap(), 1);
    assert_eq!(home.files().len(), 1);
    assert_eq!(gate.ledger.remove_old().await.unwrap(), 0);
    assert_eq!(call_ids(&gate, CallsQuery::default()).await, [kept]);
    assert_eq!(totals(&gate).await.0, 2);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.accepted, report.stored), (2, 2));
    gate.ledger.rebuild().await.unwrap();
    assert_eq!(totals(&gate).await.0, 2);
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// An observer that counts roll-ups.
#[derive(Default)]
struct Transactions(std::sync::atomic::AtomicU32);

impl ledger::LedgerObserver for Transactions {
    fn rolled_up(&self, _: u64, _: std::time::Duration) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_takes_any_number_of_calls_and_few_rows() {
    let home = Home::new();
    let transactions = std::sync::Arc::new(Transactions::default());
    let options = ledger::LedgerOptions {
        rollup_rows: 2,
        observer: transactions.clone(),
        ..home.options()
    };
    let gate = home.gate_with(options).await;
    let on_one_lane = |license| Shape {
        lane: 0,
        ..Shape::new(license, 0)
    };
    for license in [1, 1, 1, 2, 3, 3, 4, 4, 4, 5] {
        gate.call(on_one_lane(license));
    }
    gate.ledger.ship().await.unwrap();
    let done = transactions.0.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(done, 3, "licenses 1 and 2, 3 and 4, 5");
    assert_eq!(totals(&gate).await, (10, 10, "0.1".to_owned()));
    assert_eq!(gate.ledger.counts().stored, 10);
    gate.ledger.shutdown().await.unwrap();
}
