//! The measurement of a store's cost: look-ups, leases, changes and rollup rows per second, and a
//! month's usage of one license among ten million calls.
//!
//! Run it on the disk that the embedded store will be on, or with the URL of an empty database, or
//! with the server that the tests start; the second argument is the number of rollup rows:
//! `cargo bench -p store --bench cost -- [DIRECTORY|postgres://…|postgres] [ROWS]`.

use std::sync::Arc;
use std::time::Instant;

use model::usage::{UsageField, UsageKey, UsageQuery, UsageSums};
use model::{AccountName, InstanceId, KeyHash, LicenseId, Limits, Method, Mode, Money, Outcome};
use store::postgres::Times;
use store::{
    AuditEntries, Error, LeaseRequest, LicenseChange, PostgresOptions, PostgresStore, RollupBatch,
    SqliteOptions, SqliteStore, Store,
};
use store_conformance::fixtures::{balance_of, hours, new_license, units};

const LICENSES: usize = 10_000;
const BATCH: usize = 5_000;
/// The number of rollup rows: ten million calls, two in each, each batch about 5,000 licenses that
/// call in a new hour.
const ROWS: usize = 5_000_000;
const MONTH: i64 = 30 * 24;

/// Returns the arguments of the measurement. Cargo itself passes `--bench`.
fn arguments() -> impl Iterator<Item = String> {
    std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let (temporary, server);
    let rows = arguments().nth(1);
    let rows = rows.and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
    let place = match arguments().next() {
        Some(place) if place == "postgres" => {
            server = testkit::Postgres::shared();
            server.schema()
        }
        Some(place) => place,
        None => {
            temporary =
                tempfile::TempDir::new().map_err(|error| Error::Unavailable(error.to_string()))?;
            temporary.path().display().to_string()
        }
    };
    let store: Arc<dyn Store> = if place.contains("://") {
        let mut options = PostgresOptions::parse(&place)?;
        options.times = Times::Caller;
        Arc::new(PostgresStore::open(options).await?)
    } else {
        Arc::new(SqliteStore::open(SqliteOptions::new(place))?)
    };
    let (ids, hashes) = import(&*store).await?;
    creations(&*store).await?;
    look_ups(&store, &hashes).await?;
    changes(&store, &ids).await?;
    leases(&*store, &ids).await?;
    rollups(&*store, &ids, rows).await?;
    usage(&*store, &ids).await
}

fn say(what: &str, count: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    let (rate, each) = (count as f64 / seconds, seconds * 1e6 / count as f64);
    println!("{what:<58} {rate:>12.0} /s {each:>10.1} us each");
}

async fn import(store: &dyn Store) -> Result<(Vec<LicenseId>, Vec<KeyHash>), Error> {
    let limits = Limits {
        rate_limits: Vec::new(),
        ..units(1_000_000_000, Some("5/1d,add"))
    };
    let new: Vec<_> = (0..LICENSES).map(|_| new_license(limits.clone())).collect();
    let ids = new.iter().map(|new| new.license.id).collect();
    let hashes = new.iter().map(|new| new.credentials[0].hash).collect();
    let since = Instant::now();
    store.create_licenses(new, AuditEntries::none()).await?;
    say("licenses created in one call", LICENSES, since);
    Ok((ids, hashes))
}

async fn creations(store: &dyn Store) -> Result<(), Error> {
    const TIMES: usize = 50;
    let since = Instant::now();
    for _ in 0..TIMES {
        let new = (0..100).map(|_| new_license(units(1_000, None))).collect();
        store.create_licenses(new, AuditEntries::none()).await?;
    }
    say("creations of 100 licenses, one at a time", TIMES, since);
    Ok(())
}

async fn look_ups(store: &Arc<dyn Store>, hashes: &[KeyHash]) -> Result<(), Error> {
    let since = Instant::now();
    for hash in hashes {
        store.license_by_key(*hash).await?;
    }
    say("look-ups by key, one at a time", hashes.len(), since);
    let since = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for part in hashes.chunks(hashes.len() / 32) {
        let (store, part) = (Arc::clone(store), part.to_vec());
        tasks.spawn(async move {
            for hash in part {
                store.license_by_key(hash).await?;
            }
            Ok::<_, Error>(())
        });
    }
    for result in tasks.join_all().await {
        result?;
    }
    say("look-ups by key, 32 at a time", hashes.len(), since);
    Ok(())
}

async fn changes(store: &Arc<dyn Store>, ids: &[LicenseId]) -> Result<(), Error> {
    let since = Instant::now();
    for id in &ids[..1_000] {
        store
            .change_license(*id, LicenseChange::Label(None), AuditEntries::none())
            .await?;
    }
    say("changes, one at a time (each synced)", 1_000, since);
    let since = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for part in ids.chunks(ids.len() / 64) {
        let (store, part) = (Arc::clone(store), part.to_vec());
        tasks.spawn(async move {
            for id in part {
                store
                    .change_license(id, LicenseChange::Label(None), AuditEntries::none())
                    .await?;
            }
            Ok::<_, Error>(())
        });
    }
    for result in tasks.join_all().await {
        result?;
    }
    say("changes, 64 at a time (synced together)", ids.len(), since);
    Ok(())
}

async fn leases(store: &dyn Store, ids: &[LicenseId]) -> Result<(), Error> {
    let gate = InstanceId::generate();
    let request = |id: &LicenseId| LeaseRequest {
        key: balance_of(*id),
        want: 10,
        capacity: 0,
    };
    for what in [
        "first leases, 1,000 in a call",
        "further leases, 1,000 in a call",
    ] {
        let since = Instant::now();
        for part in ids.chunks(1_000) {
            store
                .lease(gate, part.iter().map(request).collect(), hours(1))
                .await?;
        }
        say(what, ids.len(), since);
    }
    let since = Instant::now();
    for id in &ids[..1_000] {
        store.lease(gate, vec![request(id)], hours(1)).await?;
    }
    say("leases, one at a time (each synced)", 1_000, since);
    Ok(())
}

async fn rollups(store: &dyn Store, ids: &[LicenseId], count: usize) -> Result<(), Error> {
    let instance = InstanceId::generate();
    let mut slowest = 0.0_f64;
    let since = Instant::now();
    for from in 0..count / BATCH {
        let rows = (from * BATCH..(from + 1) * BATCH)
            .map(|number| row(ids, number))
            .collect();
        let batch = RollupBatch {
            instance,
            lane: 0,
            from: from as u64,
            through: from as u64 + 1,
            rows,
            spent: Vec::new(),
            ..RollupBatch::default()
        };
        let began = Instant::now();
        store.roll_up(batch).await?;
        slowest = slowest.max(began.elapsed().as_secs_f64());
    }
    say("new rollup rows, 5,000 in a batch", count, since);
    println!("{:<58} {:>12.1} ms", "slowest batch", slowest * 1e3);
    let since = Instant::now();
    for from in 0..20 {
        let rows = (0..BATCH)
            .map(|number| row(ids, count - BATCH + number))
            .collect();
        let from = (count / BATCH) as u64 + from;
        let through = from + 1;
        let batch = RollupBatch {
            instance,
            lane: 0,
            from,
            through,
            rows,
            spent: Vec::new(),
            ..RollupBatch::default()
        };
        store.roll_up(batch).await?;
    }
    say("rollup rows of the present hour again", 20 * BATCH, since);
    Ok(())
}

/// Returns a row. Time goes on with the number, and licenses take turns.
fn row(ids: &[LicenseId], number: usize) -> (UsageKey, UsageSums) {
    let hour = number as i64 * MONTH / ROWS as i64;
    let key = UsageKey {
        account: AccountName::default(),
        app: "api".parse().expect("a valid name"),
        license_id: Some(ids[number % ids.len()]),
        route: ["/v1/reports", "/v1/search", "/v1/items"][number / ids.len() % 3].to_owned(),
        method: Method::Get,
        status: if number.is_multiple_of(50) { 500 } else { 200 },
        outcome: Outcome::Delivered,
        mode: Mode::Proxy,
        test: false,
        plan: None,
        currency: None,
        start: hours(hour),
    };
    let sums = UsageSums {
        calls: 2,
        billable_calls: 2,
        units: 2,
        amount: Money::from_nanos(20_000_000),
        request_bytes: 300,
        response_bytes: 5_000,
    };
    (key, sums)
}

async fn usage(store: &dyn Store, ids: &[LicenseId]) -> Result<(), Error> {
    let month = UsageQuery {
        from: Some(hours(0)),
        to: Some(hours(MONTH)),
        ..UsageQuery::default()
    };
    let ask = |what: &'static str, query: UsageQuery| async move {
        let since = Instant::now();
        let rows = store.usage(query).await?;
        let milliseconds = since.elapsed().as_secs_f64() * 1e3;
        println!("{what:<58} {milliseconds:>12.1} ms, {} rows", rows.len());
        Ok::<_, Error>(())
    };
    for (what, license) in [
        ("a month of one license, first time", 7),
        ("a month of another license", 77),
    ] {
        let query = UsageQuery {
            license_id: Some(ids[license]),
            ..month.clone()
        };
        ask(what, query).await?;
    }
    let by = vec![UsageField::Day, UsageField::Route, UsageField::Status];
    let query = UsageQuery {
        license_id: Some(ids[777]),
        by,
        ..month.clone()
    };
    ask("a month of one license by day, route and status", query).await?;
    let query = UsageQuery {
        from: Some(hours(MONTH - 24)),
        by: vec![UsageField::License],
        ..month.clone()
    };
    ask("a day of all licenses by license", query).await?;
    ask("a month of all licenses", month).await
}
