//! A stand-in for a gate: a real journal, a real store, a ledger, and calls written as a gate
//! writes them.

#![allow(
    dead_code,
    reason = "each test binary that includes this uses a part of it"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use journal::{Journal, Lane, MarkSlot, Options};
use ledger::{Backlog, CallLine, CallsQuery, Ledger, LedgerOptions, Recovery};
use model::{
    CallHead, CallId, CallRecord, CallTail, InstanceId, LicenseId, Method, Mode, Outcome, Plan,
    PlanRevision, Refusal, Symbol, Timestamp,
};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{ManagementStore, Store};
use tempfile::TempDir;
use tokio::runtime::Handle;

pub(crate) const LANES: usize = 2;
pub(crate) const START: i64 = 1_790_000_000_000_000;
const APP: u32 = 1;
const ROUTE: u32 = 2;
const PLAN: u32 = 3;

/// The directories, which outlive every process.
pub(crate) struct Home {
    directory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn options(&self) -> LedgerOptions {
        LedgerOptions {
            // The threads do nothing by themselves: tests say when.
            rollup_every: Duration::from_secs(3600),
            ..LedgerOptions::new(self.path("ledger"), self.path("journals"), "here")
        }
    }

    pub(crate) async fn store(&self) -> Arc<SqliteStore> {
        let store = SqliteStore::open(SqliteOptions::new(self.path("store"))).unwrap();
        store.put_plan_revisions(vec![plan()]).await.unwrap();
        Arc::new(store)
    }

    pub(crate) async fn gate(&self) -> Gate {
        self.gate_with(self.options()).await
    }

    pub(crate) async fn gate_with(&self, options: LedgerOptions) -> Gate {
        let store = self.store().await;
        Gate::start(options, store).await
    }

    /// Starts a gate that recovers earlier starts beside its calls.
    pub(crate) async fn gate_behind(&self, options: LedgerOptions) -> Gate {
        let store = self.store().await;
        let as_store: Arc<dyn Store> = store.clone();
        let backlog = Backlog::find(&options, as_store, Handle::current());
        let backlog = backlog.await.unwrap();
        assert!(backlog.failed().is_empty(), "{:?}", backlog.failed());
        Gate::start_with(backlog, options, store).await
    }

    /// Returns the names of the sealed files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path("ledger"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Puts a copy of a directory in the place of another.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.path(from), self.path(to));
        let _ = std::fs::remove_dir_all(&to);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

pub(crate) fn plan() -> PlanRevision {
    PlanRevision::from(Plan {
        name: "pro".parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        price_per_unit: "0.01".parse().unwrap(),
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    })
}

pub(crate) fn license(number: u64) -> LicenseId {
    LicenseId::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(number))
}

/// Ships the records of all dead gates at once.
pub(crate) async fn recover(home: &Home) -> Recovery {
    let store = home.store().await;
    ledger::recover(&home.options(), store, Handle::current())
        .await
        .unwrap()
}

/// Returns every single call that a gate knows of, oldest first.
pub(crate) async fn lines(gate: &Gate) -> Vec<CallLine> {
    let calls = gate.ledger.calls(CallsQuery::default()).await.unwrap();
    calls.all().await.unwrap()
}

/// Waits for a result of the threads. Returns `false` if it does not come in this many seconds.
pub(crate) async fn comes_true(seconds: u64, condition: impl AsyncFn() -> bool) -> bool {
    let coming = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let come = tokio::time::timeout(Duration::from_secs(seconds), coming).await;
    come.is_ok()
}

/// A process of a gate.
pub(crate) struct Gate {
    pub(crate) journal: Journal,
    pub(crate) instance: InstanceId,
    pub(crate) ledger: Ledger,
    pub(crate) store: Arc<SqliteStore>,
    calls: AtomicU32,
    seed: u64,
}

/// The fields of a call to be written.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) lane: usize,
    pub(crate) license: u64,
    pub(crate) status: u16,
    pub(crate) units: u64,
    pub(crate) second: i64,
    pub(crate) limited: bool,
}

impl Shape {
    pub(crate) fn new(license: u64, second: i64) -> Self {
        Self {
            lane: (license % LANES as u64) as usize,
            license,
            status: 200,
            units: 1,
            second,
            limited: false,
        }
    }
}

/// A call that began and may end.
pub(crate) struct UnderWay {
    pub(crate) call_id: CallId,
    lane: Arc<Lane>,
    space: journal::Space,
    sequence: u64,
    shape: Shape,
}

impl UnderWay {
    pub(crate) fn end(self) -> CallId {
        let Self {
            call_id,
            lane,
            space,
            sequence,
            shape,
        } = self;
        lane.close(space, sequence, &tail(shape).encode());
        call_id
    }
}

impl Gate {
    pub(crate) async fn start(options: LedgerOptions, store: Arc<SqliteStore>) -> Self {
        let (instance, journal) = begin_journal(&options);
        let (as_store, runtime): (Arc<dyn Store>, _) = (store.clone(), Handle::current());
        let ledger = Ledger::start(options, journal.clone(), instance, LANES, as_store, runtime);
        Self::of(journal, instance, ledger.await.unwrap(), store)
    }

    async fn start_with(backlog: Backlog, options: LedgerOptions, store: Arc<SqliteStore>) -> Self {
        let (instance, journal) = begin_journal(&options);
        let ledger = Ledger::start_with(backlog, journal.clone(), instance, LANES);
        Self::of(journal, instance, ledger.await.unwrap(), store)
    }

    fn of(journal: Journal, instance: InstanceId, ledger: Ledger, store: Arc<SqliteStore>) -> Self {
        Self {
            journal,
            instance,
            ledger,
            store,
            calls: AtomicU32::new(0),
            seed: instance.as_u128() as u64,
        }
    }

    pub(crate) fn lane(&self, lane: usize) -> Arc<Lane> {
        let lane = self.journal.lane(lane);
        let app = Symbol::App {
            account: "default".parse().unwrap(),
            app: "api".parse().unwrap(),
        };
        let plan = Symbol::Plan {
            name: "pro".parse().unwrap(),
            revision: plan().id,
        };
        lane.define(APP, app.encode().as_bytes()).unwrap();
        lane.define(ROUTE, Symbol::Route("/v1".to_owned()).encode().as_bytes())
            .unwrap();
        lane.define(PLAN, plan.encode().as_bytes()).unwrap();
        lane
    }

    pub(crate) fn head(&self, shape: Shape) -> CallHead {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let started = START + shape.second * 1_000_000;
        CallHead {
            call_id: CallId::from_parts((started / 1000) as u64, self.seed, call),
            license_id: Some(license(shape.license)),
            app: APP,
            route: ROUTE,
            plan: PLAN,
            method: Method::Get,
            mode: Mode::Proxy,
            status: shape.status,
            started_at: Timestamp::from_micros(started),
            reserved: shape.units,
            epoch: 1,
            test: false,
            billable_status: shape.status == 200,
            bills_interrupted: true,
            limited: shape.limited,
            windowed: false,
            idempotency: 0,
            ..CallHead::default()
        }
    }

    /// Writes a call that is over.
    pub(crate) fn call(&self, shape: Shape) -> CallId {
        let lane = self.lane(shape.lane);
        let head = self.head(shape);
        let mut space = reserve(&lane);
        let opened = lane.open(&mut space, &head.encode());
        lane.close(space, opened.sequence, &tail(shape).encode());
        head.call_id
    }

    /// Writes a call that is under way; it never ends.
    pub(crate) fn open(&self, shape: Shape) -> CallId {
        let lane = self.lane(shape.lane);
        let head = self.head(shape);
        let mut space = reserve(&lane);
        let _ = lane.open(&mut space, &head.encode());
        // The room stays taken, as in a process that is killed.
        head.call_id
    }

    /// Begins a call that is under way until [`UnderWay::end`].
    pub(crate) fn begin(&self, shape: Shape) -> UnderWay {
        let lane = self.lane(shape.lane);
        let head = self.head(shape);
        let mut space = reserve(&lane);
        let sequence = lane.open(&mut space, &head.encode()).sequence;
        UnderWay {
            call_id: head.call_id,
            lane,
            space,
            sequence,
            shape,
        }
    }

    /// Sets the mark of a call that may have been forwarded and has no status.
    pub(crate) fn mark(&self, shape: Shape) -> (CallId, MarkSlot) {
        let head = self.head(Shape { status: 0, ..shape });
        let slot = self.journal.mark(&head.encode()).unwrap();
        (head.call_id, slot)
    }

    /// Writes refusals that were folded into one record.
    pub(crate) fn refuse(&self, shape: Shape, calls: u32) -> CallId {
        let lane = self.lane(shape.lane);
        let head = CallHead {
            reserved: 0,
            billable_status: false,
            ..self.head(Shape {
                status: 402,
                ..shape
            })
        };
        let record = CallRecord {
            head,
            tail: CallTail {
                outcome: Outcome::Refused,
                billable: false,
                refusal: Some(Refusal::QuotaExhausted),
                calls,
                units: 0,
                spent: 0,
                ..tail(shape)
            },
        };
        lane.single(reserve(&lane), &record.encode());
        head.call_id
    }

    /// Ends the process as `kill -9` would, or a power cut that lost nothing: its journal stays as
    /// it is.
    pub(crate) async fn die(self) -> InstanceId {
        let Self {
            journal,
            instance,
            ledger,
            store,
            ..
        } = self;
        ledger.abandon().await.unwrap();
        drop(ledger);
        journal.shutdown();
        drop(journal);
        drop(store);
        instance
    }
}

fn begin_journal(options: &LedgerOptions) -> (InstanceId, Journal) {
    let instance = InstanceId::generate();
    let mut journal = Options::new(options.journals.clone(), instance.as_u128(), LANES);
    journal.segment_bytes = 64 << 10;
    journal.mark_slots = 64;
    (instance, Journal::create(journal).unwrap())
}

fn reserve(lane: &Lane) -> journal::Space {
    lane.reserve((CallRecord::LENGTH) as u32, 2).unwrap()
}

pub(crate) fn tail(shape: Shape) -> CallTail {
    CallTail {
        outcome: Outcome::Delivered,
        billable: shape.status == 200,
        attempts: 1,
        refusal: None,
        calls: 1,
        units: shape.units,
        spent: shape.units,
        request_bytes: 10,
        response_bytes: 100,
        duration_us: 1_500,
        upstream_us: 1_000,
        ..CallTail::default()
    }
}
