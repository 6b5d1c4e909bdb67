//! Files of earlier versions, brought up to date.

use model::Timestamp;
use model::usage::{UsageField, UsageQuery};
use rusqlite::Connection;
use store::{LedgerStore, SqliteOptions, SqliteStore};

/// The schema of `ledger.db` as the version before the quarters left it.
const BY_HOUR: [&str; 5] = [
    include_str!("../src/sqlite/schema/ledger_1.sql"),
    include_str!("../src/sqlite/schema/ledger_2_tokens.sql"),
    include_str!("../src/sqlite/schema/ledger_3_token_lists.sql"),
    include_str!("../src/sqlite/schema/ledger_4_lease_rounds.sql"),
    include_str!("../src/sqlite/schema/ledger_5_standstill.sql"),
];

/// The rows of hours, each of which is the quarter of another, with amounts at the end of 64 bits.
const ROWS: &str = "INSERT INTO kinds (account, app, route, method, status, outcome, mode, test, plan, revision, currency)
    VALUES ('default', 'api', '/', 1, 200, 1, 1, 0, 'pro', randomblob(16), 'VND');
    WITH RECURSIVE hours (hour) AS (SELECT 1 UNION ALL SELECT hour + 1 FROM hours WHERE hour < 40)
    INSERT INTO rollups (hour, license, kind, calls, billable_calls, units, amount, request_bytes, response_bytes)
    SELECT hour, 0, 1, 1, 1, 1, 9223372036854775807, 1, 1 FROM hours";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollups_by_the_hour_keep_their_hours_and_amounts() {
    let directory = tempfile::tempdir().expect("a folder");
    let file = Connection::open(directory.path().join("ledger.db")).expect("opens");
    for script in BY_HOUR {
        file.execute_batch(script).expect("made");
    }
    file.execute_batch(ROWS).expect("written");
    file.pragma_update(None, "application_id", 0x5447_5231)
        .expect("set");
    file.pragma_update(None, "user_version", 5).expect("set");
    drop(file);

    let store = SqliteStore::open(SqliteOptions::new(directory.path())).expect("opens");
    let hour = |number: i64| Timestamp::from_micros(number * Timestamp::HOUR);
    assert_eq!(store.hours_until().await, Ok(Some(hour(41))));
    let query = UsageQuery {
        from: Some(hour(38)),
        by: vec![UsageField::Hour],
        ..UsageQuery::default()
    };
    let rows = store.usage(query).await.expect("answers");
    let hours: Vec<_> = rows.iter().map(|row| row.hour.expect("by hour")).collect();
    assert_eq!(hours, [hour(38), hour(39), hour(40)]);
    let all = store.usage(UsageQuery::default()).await.expect("answers");
    assert_eq!(all[0].sums.calls, 40);
    assert_eq!(all[0].sums.amount.to_string(), "368934881474.19103228");

    let (rows, _) = store.rollups(None, 100).await.expect("answers");
    assert_eq!(rows.len(), 40);
    let one = rows.into_iter().take(1).collect::<Vec<_>>();
    store.replace_rollups(one.clone()).await.expect("replaced");
    assert_eq!(store.rollups(None, 100).await, Ok((one, None)));
    assert_eq!(store.hours_until().await, Ok(None));
}
