//! Schemas of earlier versions, brought up to date while gates of those versions go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::usage::{UsageField, UsageQuery};
use model::{InstanceId, Timestamp};
use store::{ChangeNumber, LedgerStore, LicenseStore, RollupRow, Store};
use store_conformance::fixtures::{balance_figures, hours, keep, lease, units};
use testkit::Postgres;
use tokio::task::JoinSet;

use crate::support::{connect, in_time, open};

/// The schema as its first version made it.
const FIRST: [&str; 8] = [
    include_str!("../../src/postgres/schema/licenses_1.sql"),
    include_str!("../../src/postgres/schema/users_1.sql"),
    include_str!("../../src/postgres/schema/api_keys_1.sql"),
    include_str!("../../src/postgres/schema/ledger_1.sql"),
    include_str!("../../src/postgres/schema/functions_1.sql"),
    include_str!("../../src/postgres/schema/claims_1.sql"),
    include_str!("../../src/postgres/schema/tokens_1.sql"),
    include_str!("../../src/postgres/schema/sessions_1.sql"),
];

/// The statements by which a gate of the first version writes a change down.
const CHANGE: &str = "UPDATE change_counter SET last = last + 1;
    INSERT INTO changes (number, license_id) VALUES ((SELECT last FROM change_counter), gen_random_uuid());";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gates_bring_the_first_schema_up_to_date_at_once_while_one_of_that_version_writes() {
    const GATES: usize = 8;
    let server = Postgres::shared();
    let url = server.schema();
    let old = connect(&url).await;
    let version = "CREATE TABLE tallygate_schema (version integer NOT NULL, since timestamptz NOT NULL DEFAULT now());
        INSERT INTO tallygate_schema (version) VALUES (1);";
    for script in FIRST.iter().chain([&version, &CHANGE]) {
        old.batch_execute(script).await.expect("made");
    }
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let writing = tokio::spawn(async move {
        let mut written = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            old.batch_execute(&format!("BEGIN; {CHANGE} COMMIT"))
                .await
                .expect("written");
            written += 1;
        }
        written
    });
    let mut opening = JoinSet::new();
    for _ in 0..GATES {
        let url = url.clone();
        opening.spawn(async move { Arc::new(open(&url).await) });
    }
    let stores = in_time(opening.join_all()).await;
    over.store(true, Ordering::Relaxed);
    let written = in_time(writing).await.expect("no panic");
    assert!(written > 0);
    let raw = connect(&url).await;
    let sql = "SELECT count(*) FILTER (WHERE version > 1), max(version) FROM tallygate_schema";
    let row = raw.query_one(sql, &[]).await.expect("answers");
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i32>(1)),
        (1, 18),
        "one of them did it"
    );

    // Written by a gate that knows only the first version, after the step.
    raw.batch_execute(CHANGE).await.expect("written");
    let instance =
        "INSERT INTO instances (id, node, started_at) VALUES (gen_random_uuid(), 'old', 0)";
    raw.batch_execute(instance).await.expect("written");
    let begun = stores[0].instances_after(0, 9).await.expect("answers");
    assert_eq!(
        begun.iter().map(|state| state.number).collect::<Vec<_>>(),
        [1]
    );
    let last = ChangeNumber(written + 2);
    let (changes, seen) = stores[0]
        .changes_since(ChangeNumber(0), 100_000)
        .await
        .expect("answers");
    assert_eq!((changes.len() as u64, seen), (written + 2, last));
    assert_eq!(changes[0].at.micros(), 0, "nobody wrote it down");
    let new_year: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
    assert!(changes.last().expect("there are some").at > new_year);

    let license = keep(&*stores[0], units(16, None)).await;
    for store in &stores {
        let store: &dyn Store = &**store;
        let grant = lease(store, InstanceId::generate(), license, 2, hours(0)).await;
        assert_eq!(grant.units, 2);
    }
    assert_eq!(
        balance_figures(&*stores[7], license, hours(0)).await,
        [16, 0, 16, 0]
    );
}

/// The statements of a gate of the version before, which rolls up by the hour, with amounts in
/// 10^-9.
const BY_HOUR: &str = "INSERT INTO kinds (account, app, route, method, status, outcome, mode, test, plan, revision, currency)
    VALUES ('default', 'api', '/', 1, 200, 1, 1, false, 'pro', gen_random_uuid(), 'VND');
    INSERT INTO rollups (hour, license, kind, calls, billable_calls, units, amount, request_bytes, response_bytes)
    SELECT hour, gen_random_uuid(), number, 1, 1, 1, 9223372036854775807, 1, 1
    FROM kinds CROSS JOIN generate_series(100, 101) AS hours (hour)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollups_by_the_hour_are_added_to_those_by_the_quarter_until_they_are_made_anew() {
    let server = Postgres::shared();
    let url = server.schema();
    let store = open(&url).await;
    assert_eq!(store.hours_until().await, Ok(None));
    let raw = connect(&url).await;
    raw.batch_execute(BY_HOUR).await.expect("written");
    let hour = |number: i64| Timestamp::from_micros(number * Timestamp::HOUR);
    assert_eq!(store.hours_until().await, Ok(Some(hour(102))));

    let (page, next) = store.rollups(None, 1).await.expect("answers");
    let first = page[0].clone();
    assert_eq!(first.key.start, hour(100));
    let (page, next) = store.rollups(next, 1).await.expect("answers");
    assert_eq!((page[0].key.start, next), (hour(101), None));

    let mut quarter = first.clone();
    quarter.key.start = hour(101).plus_micros(Timestamp::QUARTER);
    let batch = store::RollupBatch {
        instance: InstanceId::generate(),
        lane: 0,
        from: 0,
        through: 1,
        rows: vec![(quarter.key.clone(), quarter.sums)],
        spent: Vec::new(),
        ..store::RollupBatch::default()
    };
    store.roll_up(batch).await.expect("rolled");
    let by_hour = |from: Option<Timestamp>| UsageQuery {
        from,
        by: vec![UsageField::Hour],
        ..UsageQuery::default()
    };
    let sums = |query| async {
        let rows = store.usage(query).await.expect("answers");
        let sums = rows
            .iter()
            .map(|row| (row.sums.calls, row.sums.amount.to_string()));
        sums.collect::<Vec<_>>()
    };
    let one = "9223372036.854775807".to_owned();
    let two = "18446744073.709551614".to_owned();
    assert_eq!(sums(by_hour(None)).await, [(1, one.clone()), (2, two)]);
    assert_eq!(sums(by_hour(Some(quarter.key.start))).await, [(1, one)]);
    assert_eq!(store.take_stock().await.expect("answers").rollups.len(), 3);

    let anew = vec![RollupRow { ..quarter }];
    store.replace_rollups(anew.clone()).await.expect("replaced");
    assert_eq!(store.rollups(None, 10).await, Ok((anew, None)));
    assert_eq!(store.hours_until().await, Ok(None));
}
