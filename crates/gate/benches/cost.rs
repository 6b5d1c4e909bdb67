//! The cost of a warm call in the gate: `cargo bench -p gate --bench cost [-- DIRECTORY]`.
//!
//! Without an upstream, with durability `process`. First the whole way of a call (route, admit,
//! mark, commit, close) for licenses of different kinds, then its parts by themselves, then two
//! threads at once.

use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use gate::{
    Admitted, AppRules, CallRequest, Closing, Gate, Presented, Refused, RouteRules, Worker,
    WorkerParts,
};
use journal::{Journal, Options, Sync};
use licensing::{
    AppTerms, Ask, CachedLicense, Found, IssueRequest, LeaseOptions, Licensing, LicensingOptions,
    Plans,
};
use model::{
    AppName, CallFacts, CallHead, CallTail, Clock, Ending, InstanceId, KeyHasher, LicenseSpec,
    Limits, Outcome, Plan, PlanRevision, Refusal, SystemClock,
};
use store::Store;
use store::sqlite::{SqliteOptions, SqliteStore};
use telemetry::{CallLabels, LookupResult, LookupTier, Metrics};

type Failure = Box<dyn Error>;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

const CALLS: u32 = 1_000;
const ROUNDS: usize = 400;
const HOST: &str = "api.example.com";
/// The host of the application with many routes.
const MANY: &str = "many.example.com";
const ROUTES: usize = 1_000;
const OUTCOMES: &[&str] = &["delivered"; 7];

/// The parts of a gate.
struct Bench {
    gate: Gate,
    workers: Vec<Arc<Worker>>,
    journal: Journal,
    licensing: Arc<Licensing>,
    metrics: Arc<Metrics>,
}

fn main() -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    // Cargo itself passes `--bench`.
    let directory = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"))
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from)
        .join("gate-cost");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _within = runtime.enter();
    let bench = runtime.block_on(Bench::open(&directory))?;
    let free = runtime.block_on(bench.license("api", Limits::default(), &[]))?;
    let counted = runtime.block_on(bench.license("api", limits(), &[]))?;
    let narrow =
        runtime.block_on(bench.license("api", limits(), &["GET /v1", "POST /v1/things"]))?;
    let routed = runtime.block_on(bench.license("many", limits(), &[]))?;

    println!("the whole way of a call, one thread, ns");
    let way = |what, host, key: &str| report(what, || bench.call(0, host, key));
    way("  license without limits", HOST, &free);
    way("  units, 2 windows", HOST, &counted);
    way("  units, 2 windows, 2 permissions", HOST, &narrow);
    way("  units, 2 windows, 1,000 routes", MANY, &routed);
    bench.refusals(&runtime)?;
    bench.parts(&counted)?;
    println!("two threads, each with a worker of its own, ns per call of each");
    bench.pair("  one license", [&counted, &counted]);
    let other = runtime.block_on(bench.license("api", limits(), &[]))?;
    bench.pair("  a license each", [&counted, &other]);
    bench.pair("  no license limits", [&free, &free]);
    drop(bench);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

fn limits() -> Limits {
    Limits {
        remaining: Some(1 << 50),
        rate_limits: ["4000000000/1m", "4000000000/1h"]
            .iter()
            .filter_map(|limit| limit.parse().ok())
            .collect(),
        ..Limits::default()
    }
}

/// Returns the nanoseconds of one `act`, round by round, in order of size.
fn rounds(mut act: impl FnMut()) -> Vec<f64> {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| act());
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_unstable_by(f64::total_cmp);
    rounds
}

/// Returns the nanoseconds of the best of many short rounds: other load on this machine only adds.
fn measure(act: impl FnMut()) -> f64 {
    rounds(act)[0]
}

fn report(what: &str, act: impl FnMut()) {
    println!("{what:<44}{:>8.0}", measure(act));
}

/// Runs a future that is ready at once when everything is warm.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::yield_now();
    }
}

fn app(name: &str, host: &str, routes: Vec<RouteRules>) -> Result<AppRules, Failure> {
    Ok(AppRules {
        forwards_ambiguous: true,
        name: name.parse()?,
        account: "default".parse()?,
        hosts: vec![host.parse()?],
        paths: vec![],
        license_headers: vec![],
        billable: vec![200],
        billable_by_rpc: None,
        billable_by_own_ways: None,
        billable_outcomes: vec![Outcome::Delivered],
        counts_all: false,
        test: false,
        waits_for_disk: false,
        cuts_on_revoke: true,
        routes,
        agents: None,
    })
}

fn routes() -> Result<Vec<RouteRules>, Failure> {
    let route = |number: usize| {
        Ok(RouteRules {
            path: format!("/v1/things/{number}").parse()?,
            ..RouteRules::any()
        })
    };
    (0..ROUTES).map(route).collect()
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

impl Bench {
    async fn open(directory: &Path) -> Result<Self, Failure> {
        let instance = InstanceId::generate();
        let mut options = Options::new(directory.join("journal"), instance.as_u128(), 2);
        options.sync = Sync::Process;
        // What is measured is the writing, not the disk's speed at preparing files.
        options.segment_bytes = 128 << 20;
        let journal = Journal::create(options)?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(SqliteOptions::new(
            directory.join("store"),
        ))?);
        let apps = vec![app("api", HOST, vec![])?, app("many", MANY, routes()?)?];
        let terms = |app: &AppRules| AppTerms {
            app: app.name.clone(),
            account: app.account.clone(),
            default_plan: "pro".parse().ok(),
            grace: Duration::from_secs(3_600),
            allowance: 0,
            key_recovery: false,
            software: licensing::SoftwareTerms::default(),
            agents: None,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = LicensingOptions {
            lease: LeaseOptions {
                // One lease for all of it, so that the store is not what is measured.
                first: 1 << 30,
                most: 1 << 30,
                ..LeaseOptions::default()
            },
            ..LicensingOptions::default()
        };
        let licensing = Licensing::open(
            options,
            store,
            KeyHasher::new(&[7; 32]),
            Plans::new(vec![plan()?], apps.iter().map(terms).collect()),
            instance,
            clock.clone(),
        )
        .await?;
        tokio::spawn(licensing.clone().run(std::future::pending()));
        let code = |number| Refusal::from_number(number).map_or("", Refusal::code);
        let metrics = Metrics::new(2, OUTCOMES, code);
        let gate = Gate::new(apps, &[plan()?], metrics.clone()).map_err(|error| error.0)?;
        let parts = WorkerParts {
            journal: journal.clone(),
            admission: licensing.admission().clone(),
            metrics: metrics.clone(),
            clock,
        };
        Ok(Self {
            gate,
            workers: (0..2).map(|index| Worker::new(index, &parts)).collect(),
            journal,
            licensing,
            metrics,
        })
    }

    async fn license(
        &self,
        app: &str,
        limits: Limits,
        permissions: &[&str],
    ) -> Result<String, Failure> {
        let permissions: Result<Vec<_>, _> =
            permissions.iter().map(|leave| leave.parse()).collect();
        let request = IssueRequest {
            spec: LicenseSpec {
                limits,
                permissions: permissions?,
                ..LicenseSpec::default()
            },
            ..IssueRequest::for_app(app.parse::<AppName>()?)
        };
        let issued = self
            .licensing
            .acting(model::Actor::OPERATOR)
            .issue(request)
            .await?;
        let key = issued.into_iter().find_map(|issued| issued.credential);
        Ok(key.ok_or("a key was made")?.expose().to_owned())
    }

    fn admit(&self, worker: usize, host: &str, key: &str) -> Result<Admitted, Refused> {
        let worker = &self.workers[worker];
        let path = b"/v1/things/42";
        let routed = self.gate.route(worker, host, "GET", path)?;
        let request = CallRequest {
            path,
            address: None,
            presented: Presented::Credential(key.as_bytes()),
            idempotency: 0,
            head: None,
        };
        ready(self.gate.admit(worker, routed, request))
    }

    /// The whole way of a call.
    fn call(&self, worker: usize, host: &str, key: &str) {
        let admitted = self.admit(worker, host, key).expect("nothing refuses it");
        let mut forwarding = admitted.mark().expect("there are marks enough");
        forwarding.sending();
        let (committed, durable) = forwarding.commit(200, true);
        ready(durable).expect("the kernel has it");
        let ending = Ending {
            error: None,
            response_complete: true,
            forwarded_status: true,
        };
        committed.close(&Closing {
            ending,
            attempts: 1,
            request_bytes: 0,
            response_bytes: 100,
            upstream_us: 100,
            at: self.workers[worker].now(),
        });
    }

    fn refusals(&self, runtime: &tokio::runtime::Runtime) -> Result<(), Failure> {
        let none = Limits {
            remaining: Some(0),
            ..Limits::default()
        };
        let dry = runtime.block_on(self.license("api", none, &[]))?;
        report("  refused: no units", || {
            assert!(self.admit(0, HOST, &dry).is_err());
        });
        let unknown = model::Credential::generate(model::KeyFormat::Tallygate);
        report("  refused: unknown key", || {
            assert!(self.admit(0, HOST, unknown.expose()).is_err());
        });
        let mut mistyped = unknown.expose().to_owned();
        mistyped.pop();
        mistyped.push('!');
        report("  refused: mistyped key", || {
            assert!(self.admit(0, HOST, &mistyped).is_err());
        });
        Ok(())
    }

    fn entry(&self, key: &str) -> Result<Arc<CachedLicense>, Failure> {
        let hash = self.licensing.admission().hasher().hash(key.as_bytes());
        match self
            .licensing
            .admission()
            .find(&hash, SystemClock.since_boot())
        {
            Found::Known(entry) => Ok(entry),
            other => Err(format!("{other:?}").into()),
        }
    }

    /// The steps of a call with units and windows, each by itself.
    fn parts(&self, key: &str) -> Result<(), Failure> {
        println!("its parts by themselves, ns");
        let worker = &self.workers[0];
        let now = worker.wall(worker.now());
        let (entry, hasher) = (self.entry(key)?, self.licensing.admission().hasher());
        report("  clock read", || {
            black_box(worker.now());
        });
        report("  route (clock, id, tables)", || {
            let routed = self.gate.route(worker, HOST, "GET", b"/v1/things/42");
            drop(black_box(routed));
        });
        report("  hash of the key", || {
            black_box(hasher.hash(black_box(key.as_bytes())));
        });
        let hash = hasher.hash(key.as_bytes());
        report("  find", || {
            drop(black_box(
                self.licensing
                    .admission()
                    .find(black_box(&hash), SystemClock.since_boot()),
            ));
        });
        let facts = CallFacts {
            now,
            address: None,
            target: None,
            features: &[],
            agent: None,
        };
        report("  check", || {
            let _ = black_box(entry.check(black_box(&facts)));
        });
        let ask = Ask {
            units: 1,
            now,
            slot: true,
        };
        report("  reserve and settle", || {
            let reservation = entry.reserve(&ask).expect("units are leased");
            entry.settle(reservation, 1);
        });
        self.journal_parts()?;
        let shard = self.metrics.shard(0);
        let labels = CallLabels {
            app: 1,
            route: 2,
            status: 200,
            outcome: 0,
        };
        report("  metrics: call", || shard.call(labels, 10, 100));
        report("  metrics: look-up", || {
            self.metrics.lookup(LookupTier::Memory, LookupResult::Hit);
        });
        Ok(())
    }

    fn journal_parts(&self) -> Result<(), Failure> {
        let lane = self.journal.lane(1);
        let (head, tail) = ([7; CallHead::LENGTH], [9; CallTail::LENGTH]);
        let mut symbol = String::new();
        write!(symbol, "measured")?;
        report("  journal: three symbols that are known", || {
            for number in 60_001..60_004 {
                lane.define(number, symbol.as_bytes())
                    .expect("there is room");
            }
        });
        report("  journal: reserve, open, close", || {
            let mut space = lane.reserve(144, 2).expect("there is room");
            let opened = lane.open(&mut space, &head);
            lane.close(space, opened.sequence, &tail);
        });
        report("  journal: mark and clear", || {
            if let Some(slot) = self.journal.mark(&head) {
                slot.clear();
            }
        });
        Ok(())
    }

    /// Two threads at once; the slower one counts.
    fn pair(&self, what: &str, keys: [&str; 2]) {
        let (start, runtime) = (Barrier::new(2), tokio::runtime::Handle::current());
        let run = |worker: usize| {
            let _within = runtime.enter();
            // Loaded and leased before it counts.
            self.call(worker, HOST, keys[worker]);
            start.wait();
            // The middle one: the best is one in which the other thread stood still.
            rounds(|| self.call(worker, HOST, keys[worker]))[ROUNDS / 2]
        };
        let slower = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(1));
            run(0).max(other.join().expect("it only measures"))
        });
        println!("{what:<44}{slower:>8.0}");
    }
}
