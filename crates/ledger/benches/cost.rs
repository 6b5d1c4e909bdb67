//! The measurement of the ledger's cost: `cargo bench -p ledger --bench cost [-- RECORDS]`.
//!
//! Writes records to a real journal (not counted), then measures the processor time of reading,
//! rolling up and sealing, that of the store's thread included, and how long typical questions
//! take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use journal::{Journal, Lane, Options};
use ledger::{CallsQuery, ClosedReader, Ledger, LedgerOptions, Names};
use model::usage::UsageQuery;
use model::{
    CallHead, CallId, CallRecord, CallTail, InstanceId, LicenseId, Method, Mode, Outcome, Plan,
    PlanRevision, Symbol, Timestamp,
};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{LedgerStore, ManagementStore, Store};
use tokio::runtime::Handle;

type Failure = Box<dyn std::error::Error>;

const LICENSES: u64 = 10_000;
const ROUTES: u32 = 20;
const START: i64 = 1_790_000_000_000_000;
/// The number of records that are written between two lots of shipping, so that the journal stays
/// small.
const LOT: u64 = 250_000;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    // Cargo itself passes `--bench`.
    let argument = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let records = match argument {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    let home = tempfile::tempdir()?;
    let plan = plan()?;
    let store = Arc::new(SqliteStore::open(SqliteOptions::new(
        home.path().join("store"),
    ))?);
    store.put_plan_revisions(vec![plan.clone()]).await?;
    let options = LedgerOptions {
        rollup_every: Duration::from_secs(86_400),
        seal_every: Duration::from_secs(86_400),
        seal_bytes: u64::MAX,
        ..LedgerOptions::new(
            home.path().join("ledger"),
            home.path().join("journals"),
            "here",
        )
    };
    let instance = InstanceId::generate();
    let mut journal = Options::new(home.path().join("journals"), instance.as_u128(), 1);
    journal.sync = journal::Sync::Process;
    let journal = Journal::create(journal)?;
    let as_store: Arc<dyn Store> = store.clone();
    let ledger = Ledger::start(
        options,
        journal.clone(),
        instance,
        1,
        as_store,
        Handle::current(),
    )
    .await?;
    let lane = journal.lane(0);
    define(&lane, &plan)?;

    let (mut read, mut rolled, mut sealed) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut written = 0;
    while written < records {
        let lot = LOT.min(records - written);
        write(&lane, written, lot)?;
        read += join(&lane, instance, written)?;
        rolled += timed(ledger.ship()).await?;
        sealed += timed(ledger.seal()).await?;
        written += lot;
    }
    report("join", records, read);
    report("join, sum up and store", records, rolled);
    report("join, sort, seal and store", records, sealed);
    let files = store.manifest(None, None).await?;
    let bytes: u64 = files.iter().map(|file| file.bytes).sum();
    println!(
        "{} files, {:.1} bytes a record",
        files.len(),
        bytes as f64 / records as f64
    );
    questions(&ledger).await
}

async fn questions(ledger: &Ledger) -> Result<(), Failure> {
    let one = LicenseId::from_u128(77);
    let begun = Instant::now();
    let query = UsageQuery {
        license_id: Some(one),
        ..UsageQuery::default()
    };
    let rows = ledger.usage(query).await?.rows;
    println!(
        "usage of one license: {:?} ({} calls)",
        begun.elapsed(),
        rows.iter().map(|row| row.sums.calls).sum::<u64>()
    );
    let begun = Instant::now();
    let query = CallsQuery {
        license_id: Some(one),
        from: Some(Timestamp::from_micros(START)),
        to: Some(Timestamp::from_micros(START + 24 * Timestamp::HOUR)),
        ..CallsQuery::default()
    };
    let calls = ledger.calls(query).await?.all().await?;
    println!(
        "calls of one license in a day: {:?} ({} calls)",
        begun.elapsed(),
        calls.len()
    );
    let begun = Instant::now();
    let query = CallsQuery {
        limit: Some(20),
        ..CallsQuery::default()
    };
    let calls = ledger.calls(query).await?.all().await?;
    println!("the first {} calls: {:?}", calls.len(), begun.elapsed());
    let begun = Instant::now();
    let mut all = ledger.calls(CallsQuery::default()).await?;
    let mut count = 0;
    while let Some(page) = all.next_page().await? {
        count += page.len();
    }
    println!("all {count} calls in order: {:?}", begun.elapsed());
    let begun = Instant::now();
    let report = ledger.verify().await?;
    println!(
        "verify: {:?}, clean: {}",
        begun.elapsed(),
        report.is_clean()
    );
    Ok(())
}

/// Returns the processor time of the whole process so far; Linux counts it in hundredths of a
/// second.
fn processor_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no fields")?;
    let ticks = |index: usize| -> Result<u64, Failure> {
        let field = fields
            .split_whitespace()
            .nth(index)
            .ok_or("too few fields")?;
        Ok(field.parse()?)
    };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

async fn timed<T>(
    work: impl Future<Output = Result<T, ledger::Error>>,
) -> Result<Duration, Failure> {
    let begun = processor_time()?;
    work.await?;
    Ok(processor_time()? - begun)
}

fn report(what: &str, records: u64, took: Duration) {
    let nanos = took.as_nanos() as f64 / records as f64;
    println!(
        "{what}: {nanos:.0} ns a record, {:.0} a second",
        1e9 / nanos
    );
}

/// Reads the records after a number, and does nothing else.
fn join(lane: &Arc<Lane>, instance: InstanceId, from: u64) -> Result<Duration, Failure> {
    let begun = processor_time()?;
    let entries = lane.reader_from(from)?;
    let mut reader = ClosedReader::live(entries, Arc::new(Names::default()), instance, 0, from);
    while reader.next_call()?.is_some() {}
    assert_eq!(reader.last(), lane.closed());
    Ok(processor_time()? - begun)
}

fn plan() -> Result<PlanRevision, Failure> {
    Ok(PlanRevision::from(Plan {
        name: "pro".parse()?,
        currency: "EUR".parse()?,
        price_per_unit: "0.01".parse()?,
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    }))
}

fn define(lane: &Lane, plan: &PlanRevision) -> Result<(), Failure> {
    let app = Symbol::App {
        account: "default".parse()?,
        app: "api".parse()?,
    };
    let plan = Symbol::Plan {
        name: plan.plan.name.clone(),
        revision: plan.id,
    };
    lane.define(1, app.encode().as_bytes())?;
    lane.define(2, plan.encode().as_bytes())?;
    for route in 0..ROUTES {
        let symbol = Symbol::Route(format!("/v1/resource/{route}"));
        lane.define(10 + route, symbol.encode().as_bytes())?;
    }
    Ok(())
}

/// Writes calls of many licenses, 64 of them under way at a time, 1,000 a second.
fn write(lane: &Lane, first: u64, count: u64) -> Result<(), Failure> {
    let mut under_way = std::collections::VecDeque::new();
    for index in first..first + count {
        let record = record(index);
        let mut space = loop {
            match lane.reserve(CallRecord::LENGTH as u32, 2) {
                Ok(space) => break space,
                Err(journal::Unavailable::Behind) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let opened = lane.open(&mut space, &record.head.encode());
        under_way.push_back((space, opened.sequence, record.tail));
        if under_way.len() > 64
            && let Some((space, sequence, tail)) = under_way.pop_front()
        {
            lane.close(space, sequence, &tail.encode());
        }
    }
    for (space, sequence, tail) in under_way {
        lane.close(space, sequence, &tail.encode());
    }
    Ok(())
}

fn record(index: u64) -> CallRecord {
    // Mixed, so that neighbours have nothing in common.
    let mixed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    let started = START + index as i64 * 1_000;
    let head = CallHead {
        call_id: CallId::from_parts(started as u64 / 1_000, 0x1234_5678_9abc, index as u32),
        license_id: Some(LicenseId::from_u128(u128::from(mixed % LICENSES))),
        app: 1,
        route: 10 + (mixed % u64::from(ROUTES)) as u32,
        plan: 2,
        method: Method::Get,
        mode: Mode::Proxy,
        status: if mixed.is_multiple_of(50) { 404 } else { 200 },
        started_at: Timestamp::from_micros(started + (mixed % 997) as i64),
        reserved: 1,
        epoch: 1,
        test: false,
        billable_status: true,
        bills_interrupted: true,
        limited: mixed.is_multiple_of(4),
        windowed: false,
        idempotency: 0,
        ..CallHead::default()
    };
    let tail = CallTail {
        outcome: Outcome::Delivered,
        billable: head.status == 200,
        attempts: 1,
        refusal: None,
        calls: 1,
        units: 1,
        spent: 1,
        request_bytes: mixed % 300,
        response_bytes: mixed % 20_000,
        duration_us: 500 + mixed % 40_000,
        upstream_us: 400 + mixed % 39_000,
        ..CallTail::default()
    };
    CallRecord { head, tail }
}
