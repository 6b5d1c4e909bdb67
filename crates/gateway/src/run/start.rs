//! The start of a gate, part after part. Everything that can be refused is refused before the first
//! call is taken.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use ::agents::CurrentRecognizer;
use ::webhooks::Webhooks;
use arc_swap::ArcSwap;
use config::Config;
use control::{ControlLimits, ControlState, GateInfo, Surfaces};
use gate::{Gate, Spender, Worker, WorkerParts, rpc};
use journal::Journal;
use ledger::{Backlog, Ledger, LedgerOptions};
use licensing::{FleetOptions, Keyring, LicenseKeys, Licensing, Sessions, Signing};
use model::{Clock, InstanceId, Outcome, Refusal, SteadyClock, SystemClock};
use proxy::{Backends, ProxyParts};
use store::{Named, NodeClaim, Store};
use telemetry::Metrics;
use tokio::runtime::Handle;
use tokio::sync;
use tokio::task::JoinHandle;

use super::backlog::{CATCH_UP_TIMEOUT, judge, recompute};
use super::counts::{Commits, ledger_counts};
use super::data_dir::lock_data_dir;
use super::no_room::Room;
use super::running::Running;
use super::upstreams::Reporter;
use super::watch::{self, Watched};
use crate::agents::GateAgents;
use crate::listeners::{bind, rpc_listener, serve_control, serve_observed};
use crate::observe::{self, Readiness, State};
use crate::start_error::StartError;
use crate::{directory, fleet, former_plans, missing_plans, open_store, options, webhooks};

/// The parts that exist before anything is opened: the data directory, the listeners, and the
/// metrics.
struct Groundwork {
    clock: Arc<SteadyClock<SystemClock>>,
    lock: File,
    listeners: Vec<TcpListener>,
    /// The number of the proxy's threads.
    threads: usize,
    metrics: Arc<Metrics>,
    metrics_address: SocketAddr,
    readiness: Arc<Readiness>,
    stop: sync::watch::Sender<bool>,
    stopped: sync::watch::Receiver<bool>,
    servers: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

/// The store of record and what is read from it.
struct Stored {
    store: Arc<dyn Store>,
    node: String,
    claim: NodeClaim,
    keyring: Keyring,
    signing: Arc<Signing>,
    fleet: FleetOptions,
}

/// The journal and the ledger of this start.
struct Records {
    options: LedgerOptions,
    instance: InstanceId,
    journal: Journal,
    ledger: Ledger,
    /// The number of instances of earlier starts whose records the store lacked.
    recovered: usize,
}

/// The parts on the way of a call: licenses, gate, workers and backends.
struct Calls {
    licensing: Arc<Licensing>,
    sessions: Arc<Sessions>,
    gate: Arc<Gate>,
    workers: Vec<Arc<Worker>>,
    spender: Arc<Spender>,
    backends: Backends,
    known_agents: Arc<CurrentRecognizer>,
}

/// Starts a gate with a configuration that was [judged](crate::check::judge).
pub(crate) async fn start(config: Config) -> Result<Running, StartError> {
    let mut groundwork = Groundwork::prepare(&config)?;
    let (mut stored, records) = open_when_there_is_room(&config, &groundwork).await?;
    let calls = Calls::open(&config, &mut groundwork, &mut stored, &records).await?;
    let webhooks = deliver(&config, &mut groundwork, &stored, &records, &calls)?;
    let state = control_state(&config, &groundwork, &stored, &records, &calls, webhooks);
    let surfaces = Surfaces::new(state, control::SHIPPED);
    let control = serve_control(
        &config,
        surfaces,
        &groundwork.stopped,
        &mut groundwork.servers,
    )?;
    let listen = groundwork.listeners.iter().map(TcpListener::local_addr);
    let listen = listen.filter_map(Result::ok).collect();
    let proxy = ProxyParts {
        gate: calls.gate,
        workers: calls.workers,
        backends: Arc::new(ArcSwap::from_pointee(calls.backends)),
        timeouts: options::CALLER_TIMEOUTS,
        edge: options::edge_options(&config),
    };
    let rpc = rpc_listener(&config.server.data_dir)?;
    let served = proxy::serve(&groundwork.listeners, &rpc, proxy);
    let edge = served.map_err(|error| StartError::Files {
        path: "the listeners".to_owned(),
        error,
    })?;
    groundwork.readiness.set(State::Ready);
    tracing::info!(listen = ?config.server.listen, recovered = records.recovered, "serving");
    Ok(Running {
        listen,
        control,
        metrics: groundwork.metrics_address,
        readiness: groundwork.readiness,
        edge,
        ledger: records.ledger,
        journal: records.journal,
        spender: calls.spender,
        stop: groundwork.stop,
        servers: groundwork.servers,
        background: groundwork.background,
        _lock: groundwork.lock,
        _node: stored.claim,
    })
}

/// Opens the store and the journal, and waits as long as the disk has no room for them.
async fn open_when_there_is_room(
    config: &Config,
    groundwork: &Groundwork,
) -> Result<(Stored, Records), StartError> {
    let journal = options::journal_options(config, 0, lanes(groundwork.threads));
    let room = Room {
        data_dir: &config.server.data_dir,
        journal: journal.first_bytes(),
        listeners: &groundwork.listeners,
        metrics: &groundwork.metrics,
        readiness: &groundwork.readiness,
    };
    loop {
        match open(config, groundwork).await {
            Ok(opened) => return Ok(opened),
            // Any error is taken for a full disk then: store, secret and journal each report it in
            // words of their own.
            Err(error) if error.may_pass() && room.is_missing() => room.wait(&error).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn open(config: &Config, groundwork: &Groundwork) -> Result<(Stored, Records), StartError> {
    let stored = Stored::open(config, groundwork).await?;
    let records = Records::open(config, groundwork, &stored).await?;
    Ok((stored, records))
}

impl Groundwork {
    fn prepare(config: &Config) -> Result<Self, StartError> {
        let lock = lock_data_dir(&config.server.data_dir)?;
        let listen = config.server.listen.iter();
        let listeners = listen
            .map(|address| bind(*address))
            .collect::<Result<_, _>>()?;
        let threads = options::threads(config);
        let outcomes: &'static [&'static str] = &OUTCOMES;
        let refusal = |number| Refusal::from_number(number).map_or("", Refusal::code);
        let metrics = Metrics::new(lanes(threads), outcomes, refusal);
        let readiness = Arc::new(Readiness::default());
        let (stop, stopped) = sync::watch::channel(false);
        let observing = observe::router(metrics.clone(), readiness.clone());
        let (metrics_address, server) = serve_observed(config.server.metrics, observing, &stopped)?;
        Ok(Self {
            clock: Arc::new(SteadyClock::new(SystemClock)),
            lock,
            listeners,
            threads,
            metrics,
            metrics_address,
            readiness,
            stop,
            stopped,
            servers: vec![server],
            background: Vec::new(),
        })
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.background.push(tokio::spawn(task));
    }
}

/// Returns the number of lanes: one for each proxy thread, and one for the control plane.
const fn lanes(threads: usize) -> usize {
    threads + 1
}

impl Stored {
    async fn open(config: &Config, groundwork: &Groundwork) -> Result<Self, StartError> {
        let store = open_store::open(config).await?;
        let node = config.server.node.clone().unwrap_or_else(host_name);
        let claim = store.claim_node(&node).await?;
        let secret_file = config.server.data_dir.join("secret");
        let keyring = Keyring::load(&*store, open_store::secret(config, &secret_file)).await?;
        let fleet = fleet::connect(config, keyring.fleet_key(), &groundwork.metrics).await?;
        let signing =
            Signing::open(store.clone(), keyring.clone(), groundwork.clock.clone()).await?;
        let named = Named {
            plans: store.plans_named().await?,
            apps: store.apps_named(groundwork.clock.now()).await?,
        };
        if let Some(missing) = missing_plans::missing_plans(config, &named.plans) {
            return Err(StartError::Missing(missing));
        }
        for warning in missing_plans::warnings(config, &named) {
            tracing::warn!("{warning}");
        }
        store.put_plan_revisions(config.plan_revisions()).await?;
        Ok(Self {
            store,
            node,
            claim,
            keyring,
            signing,
            fleet,
        })
    }
}

impl Records {
    async fn open(
        config: &Config,
        groundwork: &Groundwork,
        stored: &Stored,
    ) -> Result<Self, StartError> {
        let options = LedgerOptions {
            files: open_store::sealed_files(config, &stored.store).await?,
            ..options::ledger_options(config, &stored.node, groundwork.clock.clone())
        };
        let backlog = Backlog::find(&options, stored.store.clone(), Handle::current()).await?;
        let backlog = judge(backlog)?;
        let recovered = backlog.instances();
        let (instance, lanes) = (InstanceId::generate(), lanes(groundwork.threads));
        let journal_options = options::journal_options(config, instance.as_u128(), lanes);
        let observer = Arc::new(Commits(groundwork.metrics.clone()));
        let journal = Journal::create_observed(journal_options, observer)?;
        let store_is_older = backlog.store_is_older();
        let ledger = match Ledger::start_with(backlog, journal.clone(), instance, lanes).await {
            Ok(ledger) => ledger,
            Err(error) => {
                // No call was taken yet. A journal that cannot be deleted is a dead instance
                // without records.
                let _ = journal.discard();
                return Err(error.into());
            }
        };
        if store_is_older {
            recompute(&ledger).await?;
        } else if !ledger.caught_up(CATCH_UP_TIMEOUT).await? {
            let behind = ledger.counts().behind;
            tracing::warn!(
                behind,
                "what earlier starts left is read beside the calls; units leased to them come back when it is"
            );
        }
        let counted = ledger.clone();
        groundwork
            .metrics
            .ledger_source(move || ledger_counts(&counted));
        Ok(Self {
            options,
            instance,
            journal,
            ledger,
            recovered,
        })
    }
}

impl Calls {
    async fn open(
        config: &Config,
        groundwork: &mut Groundwork,
        stored: &mut Stored,
        records: &Records,
    ) -> Result<Self, StartError> {
        let licensing = open_licensing(config, groundwork, stored, records).await?;
        groundwork.spawn(stored.signing.clone().run());
        let session_options = options::session_options(config);
        let sessions = Sessions::new(licensing.clone(), stored.signing.clone(), session_options);
        let sessions = Arc::new(sessions);
        groundwork.spawn(sessions.clone().run());
        let agents = GateAgents::open(config, &licensing)?;
        groundwork.spawn(agents.run(config, groundwork.clock.clone())?);
        let (rules, revisions) = (
            options::app_rules(config, agents.deciding.as_ref()),
            config.plan_revisions(),
        );
        let gate = Gate::new(rules, &revisions, groundwork.metrics.clone());
        let gate = Arc::new(gate.map_err(|error| StartError::Apps(error.0))?);
        let parts = WorkerParts {
            journal: records.journal.clone(),
            admission: licensing.admission().clone(),
            metrics: groundwork.metrics.clone(),
            clock: groundwork.clock.clone(),
        };
        let learners = former_plans::Learners {
            config: config.clone(),
            store: stored.store.clone(),
            licensing: licensing.clone(),
            gate: gate.clone(),
            agents: agents.deciding,
            metrics: groundwork.metrics.clone(),
        };
        groundwork.spawn(learners.run());
        let worker = |index| Worker::new(index, &parts);
        let spender = Arc::new(Spender::new(gate.clone(), worker(groundwork.threads)));
        groundwork.spawn(spender.clone().run());
        let backends = options::backends(config);
        for (app, upstream) in backends.upstreams() {
            groundwork.metrics.expect_upstream(app, upstream);
        }
        for (_, pool) in backends.pools() {
            pool.resolve().await;
            groundwork.spawn(pool.clone().maintain());
        }
        let clock = groundwork.clock.clone();
        groundwork.spawn(
            Reporter::new(
                config,
                &backends,
                (stored.store.clone(), &stored.node),
                clock,
            )
            .run(),
        );
        Ok(Self {
            licensing,
            sessions,
            gate,
            workers: (0..groundwork.threads).map(worker).collect(),
            spender,
            backends,
            known_agents: agents.known,
        })
    }
}

async fn open_licensing(
    config: &Config,
    groundwork: &mut Groundwork,
    stored: &mut Stored,
    records: &Records,
) -> Result<Arc<Licensing>, StartError> {
    let licensing = Licensing::open_in_fleet(
        options::licensing_options(config),
        stored.store.clone(),
        LicenseKeys::of(&stored.keyring, stored.store.clone()),
        options::plans(config),
        records.instance,
        groundwork.clock.clone(),
        std::mem::take(&mut stored.fleet),
    )
    .await?;
    let (running, mut until) = (licensing.clone(), groundwork.stopped.clone());
    groundwork.spawn(async move {
        let _ = running
            .run(async move { drop(until.wait_for(|stop| *stop).await) })
            .await;
    });
    let parts = watch::watch_parts(stored.store.clone(), groundwork.metrics.clone());
    groundwork.spawn(parts);
    groundwork.spawn(watch::watch(Watched {
        licensing: licensing.clone(),
        journal: records.journal.clone(),
        metrics: groundwork.metrics.clone(),
        readiness: groundwork.readiness.clone(),
        clock: groundwork.clock.clone(),
        grace: options::longest_grace(config),
    }));
    Ok(licensing)
}

/// Begins to deliver events to webhooks. A stop waits for what is under way, as it does for servers.
fn deliver(
    config: &Config,
    groundwork: &mut Groundwork,
    stored: &Stored,
    records: &Records,
    calls: &Calls,
) -> Result<Arc<Webhooks>, StartError> {
    let webhooks = webhooks::webhooks(
        config,
        stored.store.clone(),
        &stored.keyring,
        &calls.licensing,
        records.instance,
        groundwork.clock.clone(),
    )?;
    let (counted, clock) = (webhooks.clone(), groundwork.clock.clone());
    groundwork
        .metrics
        .webhook_source(move || webhooks::counts(&counted, &*clock));
    let stopped = groundwork.stopped.clone();
    let running = tokio::spawn(webhooks.clone().run(stopped));
    groundwork.servers.push(running);
    Ok(webhooks)
}

fn control_state(
    config: &Config,
    groundwork: &Groundwork,
    stored: &Stored,
    records: &Records,
    calls: &Calls,
    webhooks: Arc<Webhooks>,
) -> ControlState {
    let listen = config.server.listen.iter().map(ToString::to_string);
    ControlState {
        licensing: calls.licensing.clone(),
        signing: stored.signing.clone(),
        spender: calls.spender.clone(),
        sessions: calls.sessions.clone(),
        webhooks,
        agents: calls.known_agents.clone(),
        ledger: records.ledger.clone(),
        ledger_options: records.options.clone(),
        store: stored.store.clone(),
        directory: directory::directory(config),
        gate: GateInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: stored.node.clone(),
            instance: records.instance,
            started_at: groundwork.clock.now(),
            listen: listen.collect(),
        },
        clock: groundwork.clock.clone(),
        limits: ControlLimits {
            failures_per_minute: config.control.failures_per_minute,
        },
        rpc_socket: config.server.data_dir.join(rpc::SOCKET_NAME),
        api_keys: options::api_key_policy(config),
        better_auth: options::key_shape(config),
        trusted_proxies: config.server.trusted_proxies.clone(),
    }
}

/// The words of outcomes, by their numbers.
static OUTCOMES: [&str; 7] = {
    let mut words = [""; 7];
    let mut at = 0;
    while at < words.len() {
        words[at] = Outcome::ALL[at].as_str();
        at += 1;
    }
    words
};

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "gate".to_owned(), |name| name.trim().to_owned())
}
