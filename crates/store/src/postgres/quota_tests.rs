//! The property that the server's rules for balances are those in Rust, which the embedded store
//! uses.

use model::{Refill, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::Postgres;
use tokio::runtime::Handle;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use super::{PostgresOptions, PostgresStore};
use crate::rules::refill::{BalanceRow, Terms, adjust, is_to_adjust, next_refill_at, present};

const LICENSE: Uuid = Uuid::from_u128(7);

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0..50_u64, Just(i64::MAX as u64), Just(i64::MAX as u64 - 3)]
}

/// Returns sums of credits or debits, of which some are the same on both sides.
fn sum() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..8_u64, 1 => 0..60_u64, 1 => Just(i64::MAX as u64)]
}

/// Returns hours around the birth of the license, some of them exactly at a refill.
fn time() -> impl Strategy<Value = i64> {
    (-3..60_i64, -1..2_i64).prop_map(|(hours, micros)| 1_000_000 + hours * Timestamp::HOUR + micros)
}

fn terms() -> impl Strategy<Value = Terms> {
    let refill = prop_oneof![
        Just(None),
        Just(Some("5/1h")),
        Just(Some("7/5h,add")),
        Just(Some("18446744073709551615/2h,add")),
    ];
    let sums = (sum(), sum());
    (
        proptest::option::of(count()),
        refill,
        0..4_i64,
        time(),
        sums,
    )
        .prop_map(
            |(remaining, refill, balance_stamp, refill_stamp, (credited, debited))| Terms {
                remaining,
                refill: refill.map(|text: &str| text.parse::<Refill>().expect("valid")),
                created_at: Timestamp::from_micros(1_000_000),
                balance_stamp,
                refill_stamp,
                credited,
                debited,
            },
        )
}

fn row() -> impl Strategy<Value = BalanceRow> {
    let epoch = prop_oneof![0..4_u32, Just(u32::MAX)];
    let sums = (sum(), sum(), sum());
    (epoch, count(), count(), 0..4_i64, time(), time(), sums).prop_map(
        |(epoch, granted, settled, balance_stamp, refill_stamp, refilled_through, sums)| {
            BalanceRow {
                epoch,
                granted,
                settled,
                balance_stamp,
                refill_stamp,
                refilled_through,
                credited: sums.0,
                debited: sums.1,
                debits_taken: sums.2,
            }
        },
    )
}

async fn write(client: &Client, terms: &Terms, row: Option<&BalanceRow>) {
    client
        .batch_execute("DELETE FROM licenses; DELETE FROM balances; DELETE FROM leases")
        .await
        .expect("emptied");
    let refill = terms.refill;
    let sql = "INSERT INTO licenses (id, account, app, status, created_at, remaining, refill_amount, refill_every,
        refill_adds, version, balance_stamp, refill_stamp, credited, debited)
        VALUES ($1, 'a', 'b', 0, $2, $3, $4, $5, $6, 0, $7, $8, $9, $10)";
    client
        .execute(
            sql,
            &[
                &LICENSE,
                &terms.created_at.micros(),
                &terms.remaining.map(|units| units as i64),
                &refill.map(|refill| refill.amount as i64),
                &refill.map(|refill| i64::from(refill.every.seconds())),
                &refill.map(|refill| refill.mode == model::RefillMode::Add),
                &terms.balance_stamp,
                &terms.refill_stamp,
                &(terms.credited as i64),
                &(terms.debited as i64),
            ],
        )
        .await
        .expect("written");
    if let Some(row) = row {
        let sql = "INSERT INTO balances VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        client
            .execute(
                sql,
                &[
                    &LICENSE,
                    &i64::from(row.epoch),
                    &(row.granted as i64),
                    &(row.settled as i64),
                    &row.balance_stamp,
                    &row.refill_stamp,
                    &row.refilled_through,
                    &(row.credited as i64),
                    &(row.debited as i64),
                    &(row.debits_taken as i64),
                ],
            )
            .await
            .expect("written");
    }
}

/// Writes a lease of this many units on an epoch, of which the instance gave three more back.
async fn hold(client: &Client, epoch: u32, held: u64) {
    let sql = "INSERT INTO leases (license, counter, period, instance, granted, returned)
        VALUES ($1, 0, $2, $3, $4, 3)";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [
        &LICENSE,
        &i64::from(epoch),
        &Uuid::from_u128(9),
        &(held as i64 + 3),
    ];
    client.execute(sql, &values).await.expect("written");
}

async fn ask(client: &Client, at: i64) -> (Option<BalanceRow>, Option<Timestamp>) {
    let sql =
        "SELECT (p.b).epoch, (p.b).granted, (p.b).settled, (p.b).balance_stamp, (p.b).refill_stamp,
        (p.b).refilled_through, p.next_at, (p.b).credited, (p.b).debited, (p.b).debits_taken FROM (
          SELECT present_balance(l, b, $1) AS b, next_refill(l, $1) AS next_at
          FROM licenses l LEFT JOIN balances b ON b.license = l.id
        ) p";
    let row = client.query_one(sql, &[&at]).await.expect("answers");
    let epoch: Option<i64> = row.get(0);
    let balance = epoch.map(|epoch| BalanceRow {
        epoch: u32::try_from(epoch).expect("within range"),
        granted: row.get::<_, i64>(1) as u64,
        settled: row.get::<_, i64>(2) as u64,
        balance_stamp: row.get(3),
        refill_stamp: row.get(4),
        refilled_through: row.get(5),
        credited: row.get::<_, i64>(7) as u64,
        debited: row.get::<_, i64>(8) as u64,
        debits_taken: row.get::<_, i64>(9) as u64,
    });
    (
        balance,
        row.get::<_, Option<i64>>(6).map(Timestamp::from_micros),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_counts_refills_as_the_embedded_store_does() {
    let server = Postgres::shared();
    let url = server.schema();
    let options = PostgresOptions::parse(&url).expect("valid");
    drop(PostgresStore::open(options).await.expect("opens"));
    let (client, connection) = tokio_postgres::connect(&url, NoTls)
        .await
        .expect("connects");
    tokio::spawn(connection);
    let run = move || {
        let config = Config {
            cases: 400,
            failure_persistence: None,
            ..Config::default()
        };
        let cases = (terms(), proptest::option::of(row()), time(), 0..30_u64);
        let handle = Handle::current();
        TestRunner::new(config)
            .run(&cases, |(terms, row, at, held)| {
                // Units of the epoch that was written down; a new one has none.
                let epoch = row.map_or(0, |row: BalanceRow| row.epoch);
                let (balance, next) = handle.block_on(async {
                    write(&client, &terms, row.as_ref()).await;
                    hold(&client, epoch, held).await;
                    ask(&client, at).await
                });
                let now = Timestamp::from_micros(at);
                let mut expected = present(row, &terms, now);
                if let Some(expected) = &mut expected {
                    if is_to_adjust(expected, &terms) {
                        adjust(
                            expected,
                            &terms,
                            if expected.epoch == epoch { held } else { 0 },
                        );
                    }
                    // A column holds no more.
                    expected.granted = expected.granted.min(i64::MAX as u64);
                }
                prop_assert_eq!(balance, expected);
                prop_assert_eq!(next, next_refill_at(&terms, now));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    };
    tokio::task::spawn_blocking(run).await.expect("they agree");
}
