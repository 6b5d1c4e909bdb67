//! Usage of any span, of any amount, and the same in every form.

use ledger::{CallsQuery, Error, ExportFormat};
use model::Timestamp;
use model::usage::{UsageField, UsageQuery, UsageRow};

use crate::support::{Gate, Home, START, Shape, license, recover};

/// Returns the time of a second of the tests. The first lies within a quarter of an hour.
fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(START + second * 1_000_000)
}

async fn usage(gate: &Gate, from: i64, to: i64, by: Vec<UsageField>) -> Vec<UsageRow> {
    let query = UsageQuery {
        from: Some(at(from)),
        to: Some(at(to)),
        by,
        ..UsageQuery::default()
    };
    gate.ledger.usage(query).await.unwrap().rows
}

#[tokio::test(flavor = "multi_thread")]
async fn any_span_is_answered_to_the_microsecond() {
    const SECONDS: i64 = 3 * 3_600;
    let home = Home::new();
    let gate = home.gate().await;
    for second in (0..SECONDS).step_by(7) {
        gate.call(Shape::new(second as u64 % 3, second));
        // A part of the calls is in files, a part in the journal.
        if second == 5_600 {
            gate.ledger.seal().await.unwrap();
        }
    }
    let spans = [
        (0, SECONDS),
        (1, 7),
        (6, 8),
        (100, 100),
        (200, 100),
        (7, 1_000),
        (899, 901),
        (1_234, 9_876),
        (5_600, 5_601),
        (5_601, SECONDS + 5_000),
        (-10_000, 10),
    ];
    for (from, to) in spans {
        let within = |second: &i64| (from..to).contains(second);
        let expected = (0..SECONDS).step_by(7).filter(within).count() as u64;
        let rows = usage(&gate, from, to, vec![]).await;
        let calls: u64 = rows.iter().map(|row| row.sums.calls).sum();
        assert_eq!(calls, expected, "{from}..{to}");
        assert!(rows.len() <= 1, "one currency, one row: {rows:?}");

        let rows = usage(&gate, from, to, vec![UsageField::License, UsageField::Hour]).await;
        let calls: u64 = rows.iter().map(|row| row.sums.calls).sum();
        assert_eq!(calls, expected, "{from}..{to} by license and hour");
        let groups: Vec<_> = rows.iter().map(|row| (row.license_id, row.hour)).collect();
        assert!(groups.is_sorted(), "{groups:?}");
        let mut once = groups.clone();
        once.dedup();
        assert_eq!(once, groups, "{from}..{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_go_on_beyond_64_bits() {
    const UNITS: u64 = 4_000_000_000_000_000_000;
    let home = Home::new();
    let gate = home.gate().await;
    for second in 0..2 {
        gate.call(Shape {
            units: UNITS,
            ..Shape::new(1, second)
        });
    }
    let one = "40000000000000000";
    let both = "80000000000000000";
    let rows = gate.ledger.usage(UsageQuery::default()).await.unwrap().rows;
    assert_eq!(rows[0].sums.amount.to_string(), both);
    gate.ledger.seal().await.unwrap();
    assert!(gate.ledger.verify().await.unwrap().is_clean());
    let lines = crate::support::lines(&gate).await;
    assert!(lines.iter().all(|line| line.amount.to_string() == one));
    gate.ledger.rebuild().await.unwrap();
    let rows = gate.ledger.usage(UsageQuery::default()).await.unwrap().rows;
    assert_eq!(rows[0].sums.amount.to_string(), both);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_export_has_the_units_and_the_money_of_the_bill() {
    let home = Home::new();
    let gate = home.gate().await;
    for (second, status) in [200, 500, 200, 404].into_iter().enumerate() {
        gate.call(Shape {
            status,
            units: 3,
            ..Shape::new(1, second as i64)
        });
    }
    let bill = gate.ledger.usage(UsageQuery::default()).await.unwrap().rows;
    let bill = (bill[0].sums.units, bill[0].sums.amount.to_string());
    assert_eq!(bill, (6, "0.06".to_owned()));

    let export = async |format| {
        let mut output = Vec::new();
        let export = gate
            .ledger
            .export(CallsQuery::default(), format, &mut output);
        export.await.unwrap();
        String::from_utf8(output).unwrap()
    };
    let add = |amounts: Vec<String>| {
        let amounts = amounts.iter().map(|amount| amount.parse().unwrap());
        amounts
            .fold(model::Money::ZERO, model::Money::saturating_add)
            .to_string()
    };
    let lines = export(ExportFormat::Jsonl).await;
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let units = lines
        .iter()
        .map(|line| line["billed_units"].as_u64().unwrap())
        .sum();
    let amounts = lines
        .iter()
        .map(|line| line["amount"].as_str().unwrap().to_owned());
    assert_eq!((units, add(amounts.collect())), bill);
    assert!(lines.iter().all(|line| line["currency"] == "EUR"));

    let table = export(ExportFormat::Csv).await;
    let mut rows = table
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().unwrap();
    let column = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let rows: Vec<_> = rows.collect();
    let units = rows
        .iter()
        .map(|row| row[column("billed_units")].parse::<u64>().unwrap())
        .sum();
    let amounts = rows.iter().map(|row| row[column("amount")].to_owned());
    assert_eq!((units, add(amounts.collect())), bill);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_whose_records_are_gone_is_refused_and_says_what_would_work() {
    let home = Home::new();
    let gate = home.gate().await;
    gate.call(Shape::new(1, 0));
    gate.ledger.seal().await.unwrap();
    for name in home.files() {
        use store::LedgerStore;
        gate.store.mark_removed(&name, at(10)).await.unwrap();
    }
    let query = UsageQuery {
        from: Some(at(-1)),
        license_id: Some(license(1)),
        ..UsageQuery::default()
    };
    let refused = gate.ledger.usage(query.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::Removed { .. }), "{refused}");
    assert!(refused.to_string().contains(":00, :15, :30 or :45"));
    let whole = UsageQuery {
        from: Some(at(0).quarter()),
        ..query
    };
    assert_eq!(
        gate.ledger.usage(whole).await.unwrap().rows[0].sums.calls,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rollups_by_the_hour_are_verified_and_asked_of_beside_those_by_the_quarter() {
    let home = Home::new();
    let gate = home.gate().await;
    for second in [0, 1_000, 2_000, 3_000] {
        gate.call(Shape::new(1, second));
    }
    gate.ledger.ship().await.unwrap();
    gate.ledger.seal().await.unwrap();
    gate.die().await;
    // As version 1 rolled it up.
    let path = home.path("store").join("ledger.db");
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute_batch(
        "CREATE TABLE old AS SELECT quarter - quarter % 4 AS quarter, license, kind, sum(calls) AS calls,
            sum(billable_calls) AS billable_calls, sum(units) AS units, sum(amount) AS amount,
            sum(request_bytes) AS request_bytes, sum(response_bytes) AS response_bytes
            FROM rollups GROUP BY 1, 2, 3;
         DELETE FROM rollups;
         INSERT INTO rollups (quarter, license, kind, calls, billable_calls, units, amount, request_bytes, response_bytes)
            SELECT * FROM old;
         DROP TABLE old;
         INSERT INTO rollups_by_hour SELECT max(quarter) + 4 FROM rollups;",
    )
    .unwrap();
    drop(file);
    recover(&home).await;
    let gate = home.gate().await;
    gate.call(Shape::new(1, 10_000));
    let report = gate.ledger.verify().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    for (from, to, expected) in [
        (0, 1, 1),
        (0, 1_001, 2),
        (500, 3_000, 2),
        (-9_000, 20_000, 5),
    ] {
        let rows = usage(&gate, from, to, vec![]).await;
        assert_eq!(rows[0].sums.calls, expected, "{from}..{to}");
    }
    gate.ledger.rebuild().await.unwrap();
    assert!(gate.ledger.verify().await.unwrap().is_clean());
    let rows = usage(&gate, 0, 1_001, vec![]).await;
    assert_eq!(rows[0].sums.calls, 2);
}
