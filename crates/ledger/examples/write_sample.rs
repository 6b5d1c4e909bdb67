//! Writes a sample ledger into a directory and prints what it holds as JSON, for tests with other
//! engines: `cargo run -p ledger --example write_sample DIRECTORY`.
//!
//! Sealed files are in `DIRECTORY/ledger`, one export of all of them is `DIRECTORY/export.parquet`.

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use journal::{Journal, Lane, Options};
use ledger::{CallsQuery, ExportFormat, Ledger, LedgerOptions};
use model::{
    CallHead, CallId, CallRecord, CallTail, InstanceId, LicenseId, Method, Mode, Outcome, Plan,
    PlanRevision, Refusal, Symbol, Timestamp,
};
use serde_json::json;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{LedgerStore, ManagementStore, Store};
use tokio::runtime::Handle;

type Failure = Box<dyn std::error::Error>;

const RECORDS: u64 = 5_000;
const LICENSES: u64 = 7;
const START: i64 = 1_790_000_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let home: PathBuf = std::env::args_os().nth(1).ok_or("give a directory")?.into();
    let plan = PlanRevision::from(Plan {
        name: "pro".parse()?,
        currency: "EUR".parse()?,
        price_per_unit: "0.0125".parse()?,
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    });
    let store = Arc::new(SqliteStore::open(SqliteOptions::new(home.join("store")))?);
    store.put_plan_revisions(vec![plan.clone()]).await?;
    let instance = InstanceId::generate();
    let mut journal = Options::new(home.join("journals"), instance.as_u128(), 2);
    journal.segment_bytes = 1 << 20;
    journal.mark_slots = 64;
    let journal = Journal::create(journal)?;
    let options = LedgerOptions::new(home.join("ledger"), home.join("journals"), "sample");
    let as_store: Arc<dyn Store> = store.clone();
    let ledger = Ledger::start(
        options,
        journal.clone(),
        instance,
        2,
        as_store,
        Handle::current(),
    )
    .await?;
    for lane in journal.lanes() {
        define(lane, &plan)?;
    }
    let mut totals = Totals::default();
    for index in 0..RECORDS {
        let record = record(index);
        totals.add(&record, &plan);
        let lane = journal.lane((index % 2) as usize);
        let space = lane.reserve(CallRecord::LENGTH as u32, 2)?;
        lane.single(space, &record.encode());
        if index == RECORDS / 2 {
            ledger.seal().await?;
        }
    }
    let ended = ledger.shutdown().await?;
    let path = home.join("export.parquet");
    let mut output = BufWriter::new(File::create(&path)?);
    let exported = ledger
        .export(CallsQuery::default(), ExportFormat::Parquet, &mut output)
        .await?;
    let files = store.manifest(None, None).await?;
    println!(
        "{}",
        json!({
            "files": files.iter().map(|file| home.join("ledger").join(&file.name)).collect::<Vec<_>>(),
            "export": path,
            "exported": exported,
            "clean": ended.clean,
            "records": RECORDS,
            "calls": totals.calls,
            "billable_calls": totals.billable,
            "units": totals.units,
            "amount": model::Money::from_nanos(totals.nanos),
            "amount_nanos": totals.nanos,
            "currency": "EUR",
            "licenses": LICENSES,
            "without_license": totals.without_license,
            "refused": totals.refused,
            "first_started_at": record(0).head.started_at,
            "last_started_at": record(RECORDS - 1).head.started_at,
            "first_call_id": record(0).head.call_id,
            "first_license_id": LicenseId::from_u128(1),
            "plan_revision": plan.id,
        })
    );
    Ok(())
}

#[derive(Default)]
struct Totals {
    calls: u64,
    billable: u64,
    units: u64,
    nanos: i128,
    without_license: u64,
    refused: u64,
}

impl Totals {
    fn add(&mut self, record: &CallRecord, plan: &PlanRevision) {
        let tail = &record.tail;
        self.calls += u64::from(tail.calls);
        if tail.billable {
            self.billable += 1;
            self.units += tail.units;
            self.nanos += plan.plan.price_per_unit.times(tail.units).nanos();
        }
        self.without_license += u64::from(record.head.license_id.is_none());
        self.refused += u64::from(tail.refusal.is_some());
    }
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
    lane.define(
        3,
        Symbol::Route("/v1/reports".to_owned()).encode().as_bytes(),
    )?;
    Ok(())
}

/// Returns a record. Every seventh is a call to an open route, every eleventh stands for five
/// refusals.
fn record(index: u64) -> CallRecord {
    let license = index % LICENSES;
    let refused = index % 11 == 10;
    let started = START + index as i64 * 1_000_000;
    let status = if refused { 429 } else { 200 };
    let head = CallHead {
        call_id: CallId::from_parts(started as u64 / 1_000, 0x00c0_ffee, index as u32),
        license_id: (license > 0).then(|| LicenseId::from_u128(u128::from(license))),
        app: 1,
        route: 3,
        plan: 2,
        method: Method::Post,
        mode: Mode::Proxy,
        status,
        started_at: Timestamp::from_micros(started),
        reserved: 1 + index % 3,
        epoch: 0,
        test: false,
        billable_status: status == 200,
        bills_interrupted: true,
        limited: false,
        windowed: false,
        idempotency: 0,
        ..CallHead::default()
    };
    let tail = CallTail {
        outcome: if refused {
            Outcome::Refused
        } else {
            Outcome::Delivered
        },
        billable: status == 200,
        attempts: u8::from(!refused),
        refusal: refused.then_some(Refusal::RateLimited),
        calls: if refused { 5 } else { 1 },
        units: if refused { 0 } else { head.reserved },
        spent: 0,
        request_bytes: index % 300,
        response_bytes: index % 2_000,
        duration_us: 500 + index % 4_000,
        upstream_us: 400,
        ..CallTail::default()
    };
    CallRecord { head, tail }
}
