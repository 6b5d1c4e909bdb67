//! Schemas of earlier versions, brought up to date while gates of those versions go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{InstanceId, Timestamp};
use store::conformance::fixtures::{books, hours, keep, lease, units};
use store::{ChangeNumber, LicenseStore, Store};
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

/// A change as a gate of the first version notes it.
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
        (1, 7),
        "one of them did it"
    );

    // By a gate that knows the first version only, after the step.
    raw.batch_execute(CHANGE).await.expect("written");
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
    assert_eq!(books(&*stores[7], license, hours(0)).await, [16, 0, 16, 0]);
}
