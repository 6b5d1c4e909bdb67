//! The gate without a proxy: a call is admitted, forwarded and closed, two others are refused, and
//! the records are read back. `cargo run -p gate --example without_a_proxy`
//!
//! An embedder needs a journal, a store with licenses, the rules of its apps, and one worker for
//! each thread. Here everything lies in a temporary folder, and the upstream is pretended.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gate::{
    AppRules, CallRequest, Closing, Gate, Presented, Refused, RouteRules, Worker, WorkerParts,
};
use journal::{Journal, Options, Sync};
use ledger::{ClosedReader, Names};
use licensing::{AppTerms, IssueRequest, Licensing, LicensingOptions, Plans};
use model::{
    Actor, CallRecord, Clock, Ending, InstanceId, KeyHasher, LicenseSpec, Limits, Outcome, Plan,
    PlanRevision, Refusal, SystemClock,
};
use store::sqlite::{SqliteOptions, SqliteStore};
use telemetry::Metrics;

/// The parts of a gate with one worker.
struct Site {
    gate: Gate,
    worker: Arc<Worker>,
    journal: Journal,
    licensing: Arc<Licensing>,
    instance: InstanceId,
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    for line in runtime.block_on(run())? {
        println!("{line}");
    }
    Ok(())
}

/// Returns the lines that the example prints.
///
/// # Errors
/// A part that cannot be opened, or a call that did not go as it should.
pub(crate) async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let site = Site::open(folder.path()).await?;
    let key = site.issue_key().await?;
    let mut lines = vec![site.call("with the key", &key).await];
    lines.push(site.call("with a wrong key", "tly_wrong").await);
    lines.push(site.call("with no unit left", &key).await);
    // The refusal of an unknown key is counted in the metrics only: nobody could be billed for it.
    lines.extend(site.records()?.iter().map(describe));
    Ok(lines)
}

impl Site {
    async fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let instance = InstanceId::generate();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut options = Options::new(folder.join("journal"), instance.as_u128(), 1);
        // Records survive `kill -9` before the caller gets its answer. `Sync::Disk` adds power
        // cuts.
        options.sync = Sync::Process;
        options.segment_bytes = 64 << 10;
        options.mark_slots = 16;
        let journal = Journal::create(options)?;
        let store = Arc::new(SqliteStore::open(SqliteOptions::new(folder.join("store")))?);
        let (app, plan) = (app()?, plan()?);
        let terms = AppTerms {
            app: app.name.clone(),
            account: app.account.clone(),
            default_plan: Some(plan.plan.name.clone()),
            grace: Duration::from_secs(3_600),
            allowance: 0,
            key_recovery: false,
            software: licensing::SoftwareTerms::default(),
            agents: None,
        };
        let licensing = Licensing::open(
            LicensingOptions::default(),
            store,
            KeyHasher::new(&[7; 32]),
            Plans::new(vec![plan.clone()], vec![terms]),
            instance,
            clock.clone(),
        )
        .await?;
        // Leases units and follows changes of licenses.
        tokio::spawn(licensing.clone().run(std::future::pending()));
        let refusal = |number| Refusal::from_number(number).map_or("", Refusal::code);
        let metrics = Metrics::new(1, &["delivered"; 7], refusal);
        let gate = Gate::new(vec![app], &[plan], metrics.clone()).map_err(|error| error.0)?;
        let parts = WorkerParts {
            journal: journal.clone(),
            admission: licensing.admission().clone(),
            metrics,
            clock,
        };
        Ok(Self {
            gate,
            worker: Worker::new(0, &parts),
            journal,
            licensing,
            instance,
        })
    }

    /// Issues a license with one unit, and returns its key.
    async fn issue_key(&self) -> Result<String, Box<dyn Error>> {
        let request = IssueRequest {
            spec: LicenseSpec {
                limits: Limits {
                    remaining: Some(1),
                    ..Limits::default()
                },
                ..LicenseSpec::default()
            },
            ..IssueRequest::for_app("weather".parse()?)
        };
        let operator = self.licensing.acting(Actor::OPERATOR);
        let issued = operator.issue(request).await?;
        let credential = issued.into_iter().find_map(|issued| issued.credential);
        Ok(credential.ok_or("a key is made")?.expose().to_owned())
    }

    /// Makes a call, and returns a line that says what became of it.
    async fn call(&self, what: &str, key: &str) -> String {
        match self.forward(key).await {
            Ok(status) => format!("{what}: {status}"),
            Err(refused) => {
                let refusal = refused.refusal;
                format!("{what}: {} {}", refusal.status(), refusal.code())
            }
        }
    }

    /// Takes a call through its steps. Dropped at any of them, it leaves the record that is true
    /// there.
    async fn forward(&self, key: &str) -> Result<u16, Refused> {
        let (path, worker) = (b"/v1/today", &self.worker);
        let routed = self.gate.route(worker, "api.test", "GET", path)?;
        let call_id = routed.call_id;
        let request = CallRequest {
            path,
            address: None,
            presented: Presented::Credential(key.as_bytes()),
            idempotency: 0,
            head: None,
        };
        let admitted = self.gate.admit(worker, routed, request).await?;
        let unavailable = |refusal| Refused::new(refusal, call_id);
        let mut forwarding = admitted.mark().map_err(unavailable)?;
        forwarding.sending();
        // Here the request goes to the upstream, whose answer is pretended.
        let (status, answer) = (200, "sunny");
        let (committed, durable) = forwarding.commit(status, true);
        if durable.await.is_err() {
            return Err(unavailable(Refusal::JournalUnavailable));
        }
        // From here on the caller may see the status. Then the body goes to it.
        committed.close(&Closing {
            ending: Ending {
                error: None,
                response_complete: true,
                forwarded_status: true,
            },
            attempts: 1,
            request_bytes: 0,
            response_bytes: answer.len() as u64,
            upstream_us: 0,
            at: worker.now(),
        });
        Ok(status)
    }

    /// Returns the records of all calls so far.
    fn records(&self) -> Result<Vec<CallRecord>, Box<dyn Error>> {
        let entries = self.journal.lane(0).reader_from(0)?;
        let mut reader = ClosedReader::live(entries, Arc::<Names>::default(), self.instance, 0, 0);
        let mut records = Vec::new();
        while let Some(call) = reader.next_call()? {
            records.push(call.record);
        }
        Ok(records)
    }
}

fn app() -> Result<AppRules, Box<dyn Error>> {
    Ok(AppRules {
        name: "weather".parse()?,
        account: "default".parse()?,
        hosts: vec!["api.test".parse()?],
        paths: vec![],
        license_headers: vec![],
        billable: vec![200],
        billable_by_rpc: None,
        billable_by_own_ways: None,
        billable_outcomes: vec![Outcome::Delivered],
        counts_all: false,
        forwards_ambiguous: false,
        test: false,
        waits_for_disk: false,
        cuts_on_revoke: true,
        agents: None,
        routes: vec![RouteRules {
            path: "/v1".parse()?,
            ..RouteRules::any()
        }],
    })
}

fn plan() -> Result<PlanRevision, Box<dyn Error>> {
    Ok(PlanRevision::from(Plan {
        name: "pro".parse()?,
        currency: "EUR".parse()?,
        price_per_unit: "0.01".parse()?,
        rate_limits: vec![],
        concurrency: None,
        features: vec![],
    }))
}

/// Returns a line about a record.
fn describe(record: &CallRecord) -> String {
    let (head, tail) = (&record.head, &record.tail);
    let refusal = tail.refusal.map_or("", Refusal::code);
    format!(
        "record: status {}, {}{}{refusal}, units: {}, billed: {}",
        head.status,
        tail.outcome.as_str(),
        if refusal.is_empty() { "" } else { " " },
        tail.units,
        tail.billable,
    )
}
