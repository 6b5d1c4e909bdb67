//! A gate of real parts in a temporary folder (journal, SQLite store, licenses), and a reader of
//! its records.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "not every test binary uses all of it; a panic is its message"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{
    Admitted, AppRules, CallRequest, Closing, Gate, LicenseMetrics, Presented, Refused, RouteRules,
    Routed, Worker, WorkerParts,
};
use journal::{Journal, Lane, Options, Space, Sync, Unavailable};
use ledger::{ClosedReader, Names};
use licensing::{
    AppTerms, FleetOptions, IssueRequest, Issued, LeaseOptions, Licensing, LicensingOptions, Plans,
};
use model::{
    Blame, CallRecord, Clock, Ending, InstanceId, KeyHasher, LicenseId, LicenseSpec, Limits,
    ManualClock, Outcome, Plan, PlanRevision, Refusal, Symbol, Timestamp,
};
use store::Store;
use store::sqlite::{SqliteOptions, SqliteStore};
use telemetry::Metrics;
use tempfile::TempDir;

/// The time at which tests begin, a full hour: windows and folds have their boundaries where tests
/// expect them.
pub const START: i64 = 1_790_000_000_000_000 / Timestamp::HOUR * Timestamp::HOUR;
/// The longest wait for an event that must happen.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// A host that every app without hosts serves.
pub const HOST: &str = "api.test";

static OUTCOMES: [&str; 7] = [
    "delivered",
    "client_gone",
    "upstream_failed",
    "gateway_failed",
    "interrupted",
    "unknown",
    "refused",
];

/// The options of a [`TestGate`].
pub struct Setup {
    pub apps: Vec<AppRules>,
    pub plans: Vec<PlanRevision>,
    pub lanes: usize,
    pub segment_bytes: u32,
    pub mark_slots: u32,
    pub sync: Sync,
    pub lease: LeaseOptions,
    /// The store; `None`: one of its own.
    pub store: Option<Arc<dyn Store>>,
    pub home: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            apps: vec![app("api")],
            plans: vec![plan("pro", "0.01")],
            lanes: 2,
            segment_bytes: 64 << 10,
            mark_slots: 256,
            sync: Sync::Process,
            lease: LeaseOptions {
                // Machines that build and test at the same time are slow.
                timeout: DEADLINE,
                ..LeaseOptions::default()
            },
            store: None,
            home: None,
        }
    }
}

/// A gate with all its parts.
pub struct TestGate {
    pub gate: Arc<Gate>,
    pub workers: Vec<Arc<Worker>>,
    pub journal: Journal,
    pub licensing: Arc<Licensing>,
    pub store: Arc<dyn Store>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<ManualClock>,
    pub instance: InstanceId,
    pub names: Arc<Names>,
    pub home: PathBuf,
    _scratch: Option<TempDir>,
}

pub fn app(name: &str) -> AppRules {
    AppRules {
        forwards_ambiguous: true,
        name: name.parse().unwrap(),
        account: "default".parse().unwrap(),
        hosts: vec![],
        paths: vec![],
        license_headers: vec![],
        billable: vec![200],
        billable_by_rpc: None,
        billable_by_own_ways: None,
        billable_outcomes: vec![
            Outcome::Delivered,
            Outcome::ClientGone,
            Outcome::Interrupted,
        ],
        counts_all: false,
        test: false,
        waits_for_disk: false,
        cuts_on_revoke: true,
        routes: vec![],
        agents: None,
    }
}

pub fn route(path: &str) -> RouteRules {
    RouteRules {
        path: path.parse().unwrap(),
        ..RouteRules::any()
    }
}

/// A route whose responses name their units.
pub fn named_units(path: &str, units: u64, most: u64) -> RouteRules {
    RouteRules {
        units,
        max_units: most,
        units_header: Some("x-units".parse().unwrap()),
        ..route(path)
    }
}

pub fn plan(name: &str, price: &str) -> PlanRevision {
    PlanRevision::from(Plan {
        name: name.parse().unwrap(),
        currency: "EUR".parse().unwrap(),
        price_per_unit: price.parse().unwrap(),
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    })
}

pub fn plans(revisions: &[PlanRevision], apps: &[AppRules]) -> Plans {
    let terms = |app: &AppRules| AppTerms {
        app: app.name.clone(),
        account: app.account.clone(),
        default_plan: revisions.first().map(|revision| revision.plan.name.clone()),
        grace: Duration::from_secs(3_600),
        allowance: 0,
        key_recovery: false,
        software: licensing::SoftwareTerms::default(),
        agents: None,
    };
    Plans::new(revisions.to_vec(), apps.iter().map(terms).collect())
}

pub fn hasher() -> KeyHasher {
    KeyHasher::new(&[7; 32])
}

pub fn remaining(units: u64) -> Limits {
    Limits {
        remaining: Some(units),
        ..Limits::default()
    }
}

pub fn request(name: &str, limits: Limits) -> IssueRequest {
    IssueRequest {
        spec: LicenseSpec {
            limits,
            ..LicenseSpec::default()
        },
        ..IssueRequest::for_app(name.parse().unwrap())
    }
}

pub fn journal_options(setup: &Setup, home: &std::path::Path, instance: InstanceId) -> Options {
    let mut options = Options::new(home.join("journal"), instance.as_u128(), setup.lanes);
    options.segment_bytes = setup.segment_bytes;
    options.mark_slots = setup.mark_slots;
    options.sync = setup.sync;
    options
}

impl TestGate {
    pub async fn new() -> Self {
        Self::of(Setup::default()).await
    }

    pub async fn with_app(app: AppRules) -> Self {
        Self::of(Setup {
            apps: vec![app],
            ..Setup::default()
        })
        .await
    }

    pub async fn of(setup: Setup) -> Self {
        let scratch = setup.home.is_none().then(|| tempfile::tempdir().unwrap());
        let home = match &scratch {
            Some(scratch) => scratch.path().to_owned(),
            None => setup.home.clone().unwrap(),
        };
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(START)));
        let instance = InstanceId::generate();
        let journal = Journal::create(journal_options(&setup, &home, instance)).unwrap();
        let store = match setup.store {
            Some(store) => store,
            None => open_store(&home, clock.clone()),
        };
        let metrics = Metrics::new(setup.lanes, &OUTCOMES, |number| {
            Refusal::from_number(number).map_or("", Refusal::code)
        });
        let fleet = FleetOptions {
            observer: Arc::new(LicenseMetrics(metrics.clone())),
            ..FleetOptions::default()
        };
        let licensing = Licensing::open_in_fleet(
            LicensingOptions {
                // The gate's clock runs on with the machine's between two ticks, that of the
                // licenses stands.
                stale_after: Duration::from_secs(3_600),
                load_timeout: DEADLINE,
                lease: setup.lease,
                ..LicensingOptions::default()
            },
            store.clone(),
            hasher(),
            plans(&setup.plans, &setup.apps),
            instance,
            clock.clone(),
            fleet,
        )
        .await
        .unwrap();
        tokio::spawn(licensing.clone().run(std::future::pending()));
        let parts = WorkerParts {
            journal: journal.clone(),
            admission: licensing.admission().clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        Self {
            gate: Arc::new(Gate::new(setup.apps, &setup.plans, metrics.clone()).unwrap()),
            workers: (0..setup.lanes)
                .map(|index| Worker::new(index, &parts))
                .collect(),
            journal,
            licensing,
            store,
            metrics,
            clock,
            instance,
            names: Arc::default(),
            home,
            _scratch: scratch,
        }
    }

    /// Issues a license, and returns its id and its key.
    pub async fn issue(&self, request: IssueRequest) -> (LicenseId, String) {
        let issued: Issued = self
            .licensing
            .acting(model::Actor::OPERATOR)
            .issue(request)
            .await
            .unwrap()
            .remove(0);
        let key = issued.credential.unwrap().expose().to_owned();
        (issued.license.license.id, key)
    }

    /// Issues a license of the app `api`, and returns its id and its key.
    pub async fn license(&self, limits: Limits) -> (LicenseId, String) {
        self.issue(request("api", limits)).await
    }

    pub fn worker(&self) -> &Arc<Worker> {
        &self.workers[0]
    }

    pub fn route(&self, method: &str, path: &str) -> Result<Routed, Refused> {
        self.gate
            .route(self.worker(), HOST, method, path.as_bytes())
    }

    /// Admits `GET path` on a worker.
    pub async fn admit_on(
        &self,
        worker: usize,
        path: &str,
        key: &str,
    ) -> Result<Admitted, Refused> {
        let worker = &self.workers[worker];
        let routed = self.gate.route(worker, HOST, "GET", path.as_bytes())?;
        let request = call(path, key);
        self.gate.admit(worker, routed, request).await
    }

    /// Admits `GET /` on the first worker.
    pub async fn admit(&self, key: &str) -> Result<Admitted, Refused> {
        self.admit_on(0, "/", key).await
    }

    pub async fn refusal(&self, path: &str, key: &str) -> Refusal {
        match self.admit_on(0, path, key).await {
            Ok(_) => panic!("the call was let in"),
            Err(refused) => refused.refusal,
        }
    }

    /// Returns every record so far, lane by lane.
    pub fn records(&self) -> Vec<CallRecord> {
        (0..self.workers.len())
            .flat_map(|lane| self.records_of(lane))
            .collect()
    }

    pub fn records_of(&self, lane: usize) -> Vec<CallRecord> {
        let entries = self.journal.lane(lane).reader_from(0).unwrap();
        let names = self.names.clone();
        let mut reader = ClosedReader::live(entries, names, self.instance, lane as u32, 0);
        let mut records = Vec::new();
        while let Some(call) = reader.next_call().unwrap() {
            records.push(call.record);
        }
        records
    }

    /// Returns the only record.
    pub fn record(&self) -> CallRecord {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:#?}");
        records[0]
    }

    pub fn name(&self, symbol: u32) -> Option<Symbol> {
        self.names.get(symbol)
    }

    /// Waits until exactly `expected` units can still be taken. Units on their way to or from the
    /// store count as taken until they arrive, so there may be fewer for a moment, and never more.
    pub async fn assert_left(&self, id: LicenseId, expected: u64) {
        eventually("what was not spent is back", async || {
            let balance = self.licensing.balance(id).await.unwrap().unwrap();
            assert!(
                balance.remaining <= expected,
                "{} units are left instead of {expected}",
                balance.remaining
            );
            balance.remaining == expected
        })
        .await;
    }

    /// Returns the room that one more call could be promised in each lane. It is the same before
    /// and after, if nothing leaks.
    pub fn room(&self) -> Vec<u32> {
        self.journal.lanes().iter().map(|lane| room(lane)).collect()
    }

    /// Returns a value of `/metrics`; 0 where it is missing.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.metrics.render();
        let found = text
            .lines()
            .find_map(|other| other.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
        found.unwrap_or(0.0)
    }

    /// Advances the clock and ticks every worker. The workers' own time ran on meanwhile, and never
    /// goes back.
    pub fn pass(&self, time: Duration) {
        let times = self.workers.iter().map(|worker| worker.wall(worker.now()));
        let ahead = times.max().unwrap().since(self.clock.now());
        self.clock.advance(ahead + time);
        self.workers.iter().for_each(|worker| worker.tick());
    }

    /// Checks that nothing is held any more: no mark, no open frame, no promised room.
    pub fn assert_nothing_held(&self, room: &[u32]) {
        assert_eq!(self.journal.stats().marks, 0, "a mark is left");
        for lane in self.journal.lanes() {
            assert_eq!(lane.open_count(), 0, "a head is left open");
        }
        assert_eq!(self.room(), room, "promised room was not given back");
    }
}

pub fn open_store(home: &std::path::Path, clock: Arc<ManualClock>) -> Arc<dyn Store> {
    let options = SqliteOptions {
        clock,
        busy_timeout: Duration::from_secs(10),
        ..SqliteOptions::new(home.join("store"))
    };
    Arc::new(SqliteStore::open(options).unwrap())
}

/// A call with a key.
pub fn call<'a>(path: &'a str, key: &'a str) -> CallRequest<'a> {
    CallRequest {
        path: path.as_bytes(),
        address: Some("192.0.2.1".parse().unwrap()),
        presented: Presented::Credential(key.as_bytes()),
        idempotency: 0,
        head: None,
    }
}

/// A call whose response was handed over whole.
pub fn delivered(worker: &Worker) -> Closing {
    closing(
        worker,
        Ending {
            error: None,
            response_complete: true,
            forwarded_status: true,
        },
    )
}

pub fn broken(worker: &Worker, blame: Blame, forwarded: bool) -> Closing {
    closing(
        worker,
        Ending {
            error: Some(blame),
            response_complete: false,
            forwarded_status: forwarded,
        },
    )
}

pub fn closing(worker: &Worker, ending: Ending) -> Closing {
    Closing {
        ending,
        attempts: 1,
        request_bytes: 10,
        response_bytes: 100,
        upstream_us: 0,
        at: worker.now(),
    }
}

/// Returns the largest frame that may be reserved now.
fn room(lane: &Lane) -> u32 {
    let (mut fits, mut not) = (0, 1 << 30);
    while not - fits > 1 {
        let middle = fits + (not - fits) / 2;
        match reserve(lane, middle) {
            Ok(space) => {
                lane.release(space);
                fits = middle;
            }
            Err(Unavailable::Crowded) => not = middle,
            Err(other) => panic!("{other}"),
        }
    }
    fits
}

/// Reserves, however slow the disk is that others use too.
fn reserve(lane: &Lane, payload: u32) -> Result<Space, Unavailable> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match lane.reserve(payload, 1) {
            Err(Unavailable::Behind) if Instant::now() < deadline => {}
            other => return other,
        }
    }
}

/// Waits until a condition holds, or fails the test.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
