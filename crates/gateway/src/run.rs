//! Starting a gate and stopping it: the order of the parts.
//!
//! Start: bind, store, recovery, journal, licenses, ledger, control, proxy, ready. Stop is the same backwards, so that no
//! record is written after the journal's last flush.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::Config;
use control::{ControlLimits, ControlState, GateInfo, Surfaces};
use gate::{Gate, Spender, Worker, WorkerParts, rpc};
use journal::Journal;
use ledger::{Ledger, LedgerOptions};
use licensing::{Freshness, Keyring, Licensing, Sessions, Signing};
use model::{Clock, InstanceId, Outcome, Refusal, SystemClock};
use proxy::{Edge, ProxyParts};
use store::NodeClaim;
use telemetry::{LedgerCounts, Metrics};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::listeners::{bind, rpc_listener, serve_control, serve_observed};
use crate::observe::{self, Readiness, State};
use crate::start_error::StartError;
use crate::{cli, demo, directory, fleet, open_store, wire};

/// Threads of the runtime for everything that is not on the way of a warm call.
const COLD_THREADS: usize = 2;

/// A gate that takes calls.
pub(crate) struct Running {
    listen: Vec<SocketAddr>,
    control: SocketAddr,
    metrics: SocketAddr,
    readiness: Arc<Readiness>,
    edge: Edge,
    ledger: Ledger,
    journal: Journal,
    spender: Arc<Spender>,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
    /// Locked for as long as the gate lives.
    _lock: File,
    /// Held for as long as the gate lives.
    _node: NodeClaim,
}

/// What a gate that has stopped leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Everything is in the books: the next start has nothing to recover.
    Nothing,
    /// Records that are in the journal and not in the books, which the next start brings there.
    ForTheNextStart,
}

/// `tallygate run`.
pub(crate) fn run(config: Config) -> ExitCode {
    on_cold_runtime(&config, |config| async {
        let running = start(config).await?;
        stop_signal().await;
        tracing::info!("stopping: calls under way may end");
        Ok(match running.stop().await {
            Left::Nothing => ExitCode::SUCCESS,
            Left::ForTheNextStart => ExitCode::FAILURE,
        })
    })
}

/// `tallygate demo`.
pub(crate) fn demo(config: Config, options: demo::Options) -> ExitCode {
    let quiet = Config {
        log: config::Log {
            level: config::LogLevel::Warn,
            ..config.log
        },
        ..config
    };
    on_cold_runtime(&quiet, |config| async {
        let begin = async |config| {
            start(config)
                .await
                .map_err(|error| cli::Error::Start(error.to_string()))
        };
        demo::run(config, options, begin)
            .await
            .or_else(|error| Ok(error.report()))
    })
}

fn on_cold_runtime<F>(config: &Config, body: impl FnOnce(Config) -> F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, StartError>>,
{
    let log = telemetry::LogOptions {
        level: config.log.level.as_str().to_owned(),
        format: match config.log.format {
            config::LogFormat::Json => telemetry::LogFormat::Json,
            config::LogFormat::Text => telemetry::LogFormat::Text,
        },
    };
    let started = telemetry::start_logging(&log).map_err(StartError::Unsupported);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(COLD_THREADS)
        .thread_name("cold")
        .enable_all()
        .build()
        .expect("a runtime needs only memory and threads");
    match started.and_then(|()| runtime.block_on(body(config.clone()))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tallygate: {error}");
            error.exit_code()
        }
    }
}

/// SIGTERM or SIGINT.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "a signal handler cannot be installed");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::interrupt()) => {}
    }
}

/// Starts a gate. Everything that can be refused is refused before the first call is taken.
pub(crate) async fn start(config: Config) -> Result<Running, StartError> {
    refuse_unsupported(&config)?;
    open_store::check(&config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let data_dir = config.server.data_dir.clone();
    let lock = lock_data_dir(&data_dir)?;
    let listeners = config
        .server
        .listen
        .iter()
        .map(|address| bind(*address))
        .collect::<Result<Vec<_>, _>>()?;
    let listen = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();

    let threads = wire::threads(&config);
    // One lane for each proxy thread, and one for what the control plane spends.
    let lanes = threads + 1;
    let outcomes: &'static [&'static str] = &OUTCOMES;
    let refusal = |number| Refusal::from_number(number).map_or("", Refusal::code);
    let metrics = Metrics::new(lanes, outcomes, refusal);
    let readiness = Arc::new(Readiness::default());
    let (stop, stopped) = watch::channel(false);
    let mut servers = Vec::new();
    let observing = observe::router(metrics.clone(), readiness.clone());
    let (metrics_address, server) = serve_observed(config.server.metrics, observing, &stopped)?;
    servers.push(server);

    let store = open_store::open(&config).await?;
    let node = config.server.node.clone().unwrap_or_else(host_name);
    let claim = store.claim_node(&node).await?;
    let secret_file = data_dir.join("secret");
    let keyring = Keyring::load(&*store, open_store::secret(&config, &secret_file)).await?;
    let fleet = fleet::connect(&config, keyring.fleet_key(), &metrics).await?;
    let hasher = keyring.hasher();
    let signing = Signing::open(store.clone(), keyring, clock.clone()).await?;
    store.put_plan_revisions(config.plan_revisions()).await?;

    let options = LedgerOptions {
        files: open_store::sealed_files(&config, &store).await?,
        ..ledger_options(&config, &node, clock.clone())
    };
    let mut recovery = ledger::recover(&options, store.clone(), Handle::current()).await?;
    let newer = |(_, error): &(_, ledger::Error)| error.is_newer();
    if let Some(at) = recovery.failed.iter().position(newer) {
        let (path, error) = recovery.failed.swap_remove(at);
        return Err(StartError::Newer {
            path: path.display().to_string(),
            error: Box::new(error),
        });
    }
    for (path, error) in &recovery.failed {
        tracing::error!(path = %path.display(), %error, "a journal of an earlier start cannot be read to its end, it stays as it is");
    }
    let instance = InstanceId::generate();
    let journal_options = wire::journal_options(&config, instance.as_u128(), lanes);
    let observer = Arc::new(Commits(metrics.clone()));
    let journal = Journal::create_observed(journal_options, observer)?;
    let runtime = Handle::current();
    let ledger = Ledger::start(
        options.clone(),
        journal.clone(),
        instance,
        lanes,
        store.clone(),
        runtime,
    )
    .await?;
    let counting = ledger.clone();
    metrics.ledger_source(move || ledger_counts(&counting));

    let licensing = Licensing::open_in_fleet(
        wire::licensing_options(&config),
        store.clone(),
        hasher,
        wire::plans(&config),
        instance,
        clock.clone(),
        fleet,
    )
    .await?;
    let mut background = Vec::new();
    let (running, mut until) = (licensing.clone(), stopped.clone());
    background.push(tokio::spawn(async move {
        let _ = running
            .run(async move { drop(until.wait_for(|stop| *stop).await) })
            .await;
    }));
    background.push(tokio::spawn(watch(Watched {
        licensing: licensing.clone(),
        journal: journal.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        clock: clock.clone(),
        grace: longest_grace(&config),
    })));

    background.push(tokio::spawn(signing.clone().run()));
    let sessions = Arc::new(Sessions::new(
        licensing.clone(),
        signing.clone(),
        wire::session_options(&config),
    ));
    background.push(tokio::spawn(sessions.clone().run()));

    let gate = Gate::new(
        wire::app_rules(&config),
        &config.plan_revisions(),
        metrics.clone(),
    )
    .map_err(|error| StartError::Apps(error.0))?;
    let parts = WorkerParts {
        journal: journal.clone(),
        licensing: licensing.clone(),
        metrics,
        clock: clock.clone(),
    };
    let workers = (0..threads)
        .map(|index| Worker::new(index, &parts))
        .collect();
    let gate = Arc::new(gate);
    let spender = Arc::new(Spender::new(gate.clone(), Worker::new(threads, &parts)));
    background.push(tokio::spawn(spender.clone().run()));
    let backends = wire::backends(&config);
    for pool in backends.pools() {
        pool.resolve().await;
        background.push(tokio::spawn(pool.clone().care()));
    }

    let state = ControlState {
        licensing,
        signing,
        spender: spender.clone(),
        sessions,
        ledger: ledger.clone(),
        ledger_options: options,
        store,
        directory: directory::directory(&config),
        gate: GateInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node,
            instance,
            started_at: clock.now(),
            listen: config
                .server
                .listen
                .iter()
                .map(ToString::to_string)
                .collect(),
        },
        clock,
        limits: ControlLimits {
            failures_per_minute: config.control.failures_per_minute,
        },
        rpc_socket: data_dir.join(rpc::SOCKET_NAME),
        api_keys: wire::api_key_policy(&config),
        better_auth: wire::key_shape(&config),
        trusted_proxies: config.server.trusted_proxies.clone(),
    };
    let surfaces = Surfaces::new(state, control::protocol::SHIPPED);
    let control = serve_control(&config, surfaces, &stopped, &mut servers)?;

    let proxy = ProxyParts {
        gate,
        workers,
        backends: Arc::new(ArcSwap::from_pointee(backends)),
        timeouts: wire::CALLER_TIMEOUTS,
        edge: wire::edge_options(&config),
    };
    let rpc = rpc_listener(&data_dir)?;
    let edge = proxy::serve(&listeners, &rpc, proxy).map_err(|error| StartError::Files {
        path: "the listeners".to_owned(),
        error,
    })?;
    readiness.set(State::Ready);
    tracing::info!(listen = ?config.server.listen, recovered = recovery.recovered.len(), "serving");
    Ok(Running {
        listen,
        control,
        metrics: metrics_address,
        readiness,
        edge,
        ledger,
        journal,
        spender,
        stop,
        servers,
        background,
        _lock: lock,
        _node: claim,
    })
}

impl Running {
    /// Drains and stops: no call is taken any more, those under way end, everything is flushed.
    pub(crate) async fn stop(self) -> Left {
        self.readiness.set(State::Closed);
        let edge = self.edge;
        if tokio::task::spawn_blocking(move || edge.stop())
            .await
            .is_err()
        {
            tracing::error!("stopping the proxy panicked");
        }
        // An error means that nobody listens any more.
        let _ = self.stop.send(true);
        // What the control plane spends goes into the journal too.
        for server in self.servers {
            let _ = tokio::time::timeout(Duration::from_secs(5), server).await;
        }
        // Refusals that wait for the next second belong into the books as well.
        self.spender.tick();
        let left = match self.ledger.shutdown().await {
            Ok(ended) if ended.clean => Left::Nothing,
            Ok(ended) => {
                tracing::warn!(
                    pending = ended.pending,
                    "records are left in the journal, the next start ships them"
                );
                Left::ForTheNextStart
            }
            Err(error) => {
                tracing::warn!(%error, "the ledger could not be brought up to date, the next start does it");
                Left::ForTheNextStart
            }
        };
        self.journal.shutdown();
        for task in self.background {
            task.abort();
        }
        left
    }
}

impl demo::Gate for Running {
    fn listen(&self) -> SocketAddr {
        self.listen[0]
    }

    fn control(&self) -> SocketAddr {
        self.control
    }

    fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    async fn stop(self) {
        // Whoever tries the gate out starts it again; what is left is found then.
        let _ = Self::stop(self).await;
    }
}

/// The words of outcomes by their numbers.
static OUTCOMES: [&str; 7] = {
    let mut words = [""; 7];
    let mut at = 0;
    while at < words.len() {
        words[at] = Outcome::ALL[at].as_str();
        at += 1;
    }
    words
};

struct Commits(Arc<Metrics>);

impl journal::Observer for Commits {
    fn committed(&self, _: usize, records: u64, took: Duration) {
        self.0.commit(records, took);
    }
}

fn ledger_counts(ledger: &Ledger) -> LedgerCounts {
    let counts = ledger.counts();
    LedgerCounts {
        accepted: counts.accepted,
        stored: counts.stored,
        pending: counts.pending,
        lost: counts.lost,
    }
}

/// What the health of a gate depends on, and where it is shown.
struct Watched {
    licensing: Arc<Licensing>,
    journal: Journal,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    clock: Arc<dyn Clock>,
    /// After this long without its store, no app admits anybody.
    grace: Duration,
}

/// Keeps `store_up` and `/readyz` true to what the reading of changes and the journal see.
async fn watch(watched: Watched) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        let age = match watched.licensing.freshness(watched.clock.since_boot()) {
            Freshness::Fresh => None,
            Freshness::Unread { age } | Freshness::Stale { age } => Some(age),
        };
        watched.metrics.store_up(age.is_none());
        let state = match watched.journal.stats().unavailable {
            Some(why) => State::Refusing(why.to_string()),
            None if age.is_some_and(|age| age > watched.grace) => {
                State::Refusing("the license store is out of reach beyond its grace".to_owned())
            }
            None => State::Ready,
        };
        watched.readiness.update(state);
    }
}

fn longest_grace(config: &Config) -> Duration {
    let graces = config.apps.iter().map(|app| app.outage.grace.duration());
    graces.max().unwrap_or_default()
}

/// What the file may say and this version does not do is refused, never ignored.
fn refuse_unsupported(config: &Config) -> Result<(), StartError> {
    let refuse = |what: &str| {
        Err(StartError::Unsupported(format!(
            "{what} is not served by this version"
        )))
    };
    if !config.server.tls.is_empty() {
        return refuse("[[server.tls]]");
    }
    if cfg!(not(feature = "object-store")) && config.ledger.objects.is_some() {
        let missing =
            "`[ledger] objects` needs a tallygate that was built with the feature `object-store`";
        return Err(StartError::Unsupported(missing.to_owned()));
    }
    Ok(())
}

fn ledger_options(config: &Config, node: &str, clock: Arc<dyn Clock>) -> LedgerOptions {
    let data_dir = &config.server.data_dir;
    let directory = config
        .ledger
        .directory
        .clone()
        .unwrap_or_else(|| data_dir.join("ledger"));
    LedgerOptions {
        seal_bytes: config.ledger.seal_bytes.bytes(),
        seal_every: config.ledger.seal_every.duration(),
        rollup_every: config.ledger.rollup_every.duration(),
        // PostgreSQL leases units beside a roll-up; SQLite's one writer does one after the other.
        rollup_rows: match config.store.url {
            config::StoreUrl::Sqlite => 32_768,
            config::StoreUrl::Postgres(_) => 131_072,
        },
        retention: config.ledger.retention.map(model::Interval::duration),
        keep: config.journal.keep.duration(),
        keep_bytes: config.journal.keep_bytes.bytes(),
        clock,
        ..LedgerOptions::new(directory, data_dir.join("journal"), node)
    }
}

fn lock_data_dir(data_dir: &Path) -> Result<File, StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let path = data_dir.join("lock");
    let files = |path: &Path, error| StartError::Files {
        path: path.display().to_string(),
        error,
    };
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.map_err(|error| files(data_dir, error))?;
    let lock = File::create(&path).map_err(|error| files(&path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StartError::InUse(data_dir.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(files(&path, error)),
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "gate".to_owned(), |name| name.trim().to_owned())
}
