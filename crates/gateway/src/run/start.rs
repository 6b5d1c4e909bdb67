//! Starting a gate, part after part. Everything that can be refused is refused before the first call is taken.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
use telemetry::{LedgerCounts, Metrics};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::no_room::Room;
use super::{Running, Watched};
use crate::listeners::{bind, rpc_listener, serve_control, serve_observed};
use crate::observe::{self, Readiness, State};
use crate::start_error::StartError;
use crate::{directory, fleet, former_plans, open_store, plans_gone, wire};

/// How long a gate that starts waits for what earlier starts left, so that every quota is exact; then it serves beside that.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(2);

/// What stands before anything is opened: a directory of our own, addresses of our own, and somebody to watch.
struct Ground {
    clock: Arc<SteadyClock<SystemClock>>,
    lock: File,
    listeners: Vec<TcpListener>,
    /// Of the proxy.
    threads: usize,
    metrics: Arc<Metrics>,
    metrics_address: SocketAddr,
    readiness: Arc<Readiness>,
    stop: watch::Sender<bool>,
    stopped: watch::Receiver<bool>,
    servers: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

/// The store of record and what belongs to it.
struct Stored {
    store: Arc<dyn Store>,
    node: String,
    claim: NodeClaim,
    keyring: Keyring,
    signing: Arc<Signing>,
    fleet: FleetOptions,
}

/// Journal and ledger of this start.
struct LedgerContext {
    options: LedgerOptions,
    instance: InstanceId,
    journal: Journal,
    ledger: Ledger,
    /// Instances of earlier starts of which the store lacked something.
    recovered: usize,
}

/// Who may call, and where calls go.
struct Calls {
    licensing: Arc<Licensing>,
    sessions: Arc<Sessions>,
    gate: Arc<Gate>,
    workers: Vec<Arc<Worker>>,
    spender: Arc<Spender>,
    backends: Backends,
}

/// Starts a gate of a file that was [judged](crate::check::judge).
pub(crate) async fn start(config: Config) -> Result<Running, StartError> {
    let mut ground = Ground::lay(&config)?;
    let (mut stored, books) = open_where_there_is_room(&config, &ground).await?;
    let calls = Calls::open(&config, &mut ground, &mut stored, &books).await?;
    let state = control_state(&config, &ground, &stored, &books, &calls);
    let surfaces = Surfaces::new(state, control::SHIPPED);
    let control = serve_control(&config, surfaces, &ground.stopped, &mut ground.servers)?;
    let listen = ground.listeners.iter().map(TcpListener::local_addr);
    let listen = listen.filter_map(Result::ok).collect();
    let proxy = ProxyParts {
        gate: calls.gate,
        workers: calls.workers,
        backends: Arc::new(ArcSwap::from_pointee(calls.backends)),
        timeouts: wire::CALLER_TIMEOUTS,
        edge: wire::edge_options(&config),
    };
    let rpc = rpc_listener(&config.server.data_dir)?;
    let served = proxy::serve(&ground.listeners, &rpc, proxy);
    let edge = served.map_err(|error| StartError::Files {
        path: "the listeners".to_owned(),
        error,
    })?;
    ground.readiness.set(State::Ready);
    tracing::info!(listen = ?config.server.listen, recovered = books.recovered, "serving");
    Ok(Running {
        listen,
        control,
        metrics: ground.metrics_address,
        readiness: ground.readiness,
        edge,
        ledger: books.ledger,
        journal: books.journal,
        spender: calls.spender,
        stop: ground.stop,
        servers: ground.servers,
        background: ground.background,
        _lock: ground.lock,
        _node: stored.claim,
    })
}

/// Opens what a gate writes to, and waits with that as long as the disk has no room for it.
async fn open_where_there_is_room(
    config: &Config,
    ground: &Ground,
) -> Result<(Stored, LedgerContext), StartError> {
    let journal = wire::journal_options(config, 0, lanes(ground.threads));
    let room = Room {
        data_dir: &config.server.data_dir,
        journal: journal.first_bytes(),
        listeners: &ground.listeners,
        metrics: &ground.metrics,
        readiness: &ground.readiness,
    };
    loop {
        match open(config, ground).await {
            Ok(opened) => return Ok(opened),
            // Whatever it said: on a disk that is full a store, a secret and a journal all fail in words of their own.
            Err(error) if error.may_pass() && room.is_missing() => room.wait(&error).await?,
            Err(error) => return Err(error),
        }
    }
}

async fn open(config: &Config, ground: &Ground) -> Result<(Stored, LedgerContext), StartError> {
    let stored = Stored::open(config, ground).await?;
    let books = LedgerContext::open(config, ground, &stored).await?;
    Ok((stored, books))
}

impl Ground {
    fn lay(config: &Config) -> Result<Self, StartError> {
        let lock = lock_data_dir(&config.server.data_dir)?;
        let listen = config.server.listen.iter();
        let listeners = listen
            .map(|address| bind(*address))
            .collect::<Result<_, _>>()?;
        let threads = wire::threads(config);
        let outcomes: &'static [&'static str] = &OUTCOMES;
        let refusal = |number| Refusal::from_number(number).map_or("", Refusal::code);
        let metrics = Metrics::new(lanes(threads), outcomes, refusal);
        let readiness = Arc::new(Readiness::default());
        let (stop, stopped) = watch::channel(false);
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

/// One lane for each proxy thread, and one for what the control plane spends.
const fn lanes(threads: usize) -> usize {
    threads + 1
}

impl Stored {
    async fn open(config: &Config, ground: &Ground) -> Result<Self, StartError> {
        let store = open_store::open(config).await?;
        let node = config.server.node.clone().unwrap_or_else(host_name);
        let claim = store.claim_node(&node).await?;
        let secret_file = config.server.data_dir.join("secret");
        let keyring = Keyring::load(&*store, open_store::secret(config, &secret_file)).await?;
        let fleet = fleet::connect(config, keyring.fleet_key(), &ground.metrics).await?;
        let signing = Signing::open(store.clone(), keyring.clone(), ground.clock.clone()).await?;
        let named = Named {
            plans: store.plans_named().await?,
            apps: store.apps_named(ground.clock.now()).await?,
        };
        if let Some(lacking) = plans_gone::lacking_plans(config, &named.plans) {
            return Err(StartError::Gone(lacking));
        }
        for warning in plans_gone::warnings(config, &named) {
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

impl LedgerContext {
    async fn open(config: &Config, ground: &Ground, stored: &Stored) -> Result<Self, StartError> {
        let options = LedgerOptions {
            files: open_store::sealed_files(config, &stored.store).await?,
            ..wire::ledger_options(config, &stored.node, ground.clock.clone())
        };
        let backlog = Backlog::find(&options, stored.store.clone(), Handle::current()).await?;
        let backlog = judge(backlog)?;
        let recovered = backlog.instances();
        let (instance, lanes) = (InstanceId::generate(), lanes(ground.threads));
        let journal_options = wire::journal_options(config, instance.as_u128(), lanes);
        let observer = Arc::new(Commits(ground.metrics.clone()));
        let journal = Journal::create_observed(journal_options, observer)?;
        let store_is_older = backlog.store_is_older();
        let ledger = match Ledger::start_with(backlog, journal.clone(), instance, lanes).await {
            Ok(ledger) => ledger,
            Err(error) => {
                // No call was taken yet. What could not be deleted is a dead instance without records.
                let _ = journal.discard();
                return Err(error.into());
            }
        };
        if store_is_older {
            recompute(&ledger).await?;
        } else if !ledger.caught_up(CATCH_UP_PATIENCE).await? {
            let behind = ledger.counts().behind;
            tracing::warn!(
                behind,
                "what earlier starts left is read beside the calls; units leased to them come back when it is"
            );
        }
        let counting = ledger.clone();
        ground
            .metrics
            .ledger_source(move || ledger_counts(&counting));
        Ok(Self {
            options,
            instance,
            journal,
            ledger,
            recovered,
        })
    }
}

/// Waits until what a restored store lacks is in its books again, however long that takes: it knows nothing of leases that were
/// taken after the backup, and would hand out the same units once more.
async fn recompute(ledger: &Ledger) -> Result<(), StartError> {
    tracing::warn!(
        "the store is older than what it acknowledged, as one that was restored from a backup: nothing is leased until the journals \
         of this gate are in its books again"
    );
    while !ledger.caught_up(CATCH_UP_PATIENCE).await? {
        let behind = ledger.counts().behind;
        tracing::warn!(
            behind,
            "records are still to be brought into the restored store"
        );
        // A store that fails answers at once.
        tokio::time::sleep(CATCH_UP_PATIENCE / 4).await;
    }
    Ok(())
}

/// A journal of a newer version ends the start; one that is damaged was told of and stays.
fn judge(mut backlog: Backlog) -> Result<Backlog, StartError> {
    let mut failed = backlog.take_failed();
    match failed.iter().position(|(_, error)| error.is_newer()) {
        None => Ok(backlog),
        Some(at) => {
            let (path, error) = failed.swap_remove(at);
            Err(StartError::Newer {
                path: path.display().to_string(),
                error: Box::new(error),
            })
        }
    }
}

impl Calls {
    async fn open(
        config: &Config,
        ground: &mut Ground,
        stored: &mut Stored,
        books: &LedgerContext,
    ) -> Result<Self, StartError> {
        let licensing = open_licensing(config, ground, stored, books).await?;
        ground.spawn(stored.signing.clone().run());
        let session_options = wire::session_options(config);
        let sessions = Sessions::new(licensing.clone(), stored.signing.clone(), session_options);
        let sessions = Arc::new(sessions);
        ground.spawn(sessions.clone().run());
        let (rules, revisions) = (wire::app_rules(config), config.plan_revisions());
        let gate = Gate::new(rules, &revisions, ground.metrics.clone());
        let gate = Arc::new(gate.map_err(|error| StartError::Apps(error.0))?);
        let parts = WorkerParts {
            journal: books.journal.clone(),
            admission: licensing.admission().clone(),
            metrics: ground.metrics.clone(),
            clock: ground.clock.clone(),
        };
        let learners = former_plans::Learners {
            config: config.clone(),
            store: stored.store.clone(),
            licensing: licensing.clone(),
            gate: gate.clone(),
            metrics: ground.metrics.clone(),
        };
        ground.spawn(learners.run());
        let worker = |index| Worker::new(index, &parts);
        let spender = Arc::new(Spender::new(gate.clone(), worker(ground.threads)));
        ground.spawn(spender.clone().run());
        let backends = wire::backends(config);
        for (app, upstream) in backends.upstreams() {
            ground.metrics.expect_upstream(app, upstream);
        }
        for pool in backends.pools() {
            pool.resolve().await;
            ground.spawn(pool.clone().maintain());
        }
        Ok(Self {
            licensing,
            sessions,
            gate,
            workers: (0..ground.threads).map(worker).collect(),
            spender,
            backends,
        })
    }
}

async fn open_licensing(
    config: &Config,
    ground: &mut Ground,
    stored: &mut Stored,
    books: &LedgerContext,
) -> Result<Arc<Licensing>, StartError> {
    let licensing = Licensing::open_in_fleet(
        wire::licensing_options(config),
        stored.store.clone(),
        LicenseKeys::of(&stored.keyring, stored.store.clone()),
        wire::plans(config),
        books.instance,
        ground.clock.clone(),
        std::mem::take(&mut stored.fleet),
    )
    .await?;
    let (running, mut until) = (licensing.clone(), ground.stopped.clone());
    ground.spawn(async move {
        let _ = running
            .run(async move { drop(until.wait_for(|stop| *stop).await) })
            .await;
    });
    let parts = super::watch_parts(stored.store.clone(), ground.metrics.clone());
    ground.spawn(parts);
    ground.spawn(super::watch(Watched {
        licensing: licensing.clone(),
        journal: books.journal.clone(),
        metrics: ground.metrics.clone(),
        readiness: ground.readiness.clone(),
        clock: ground.clock.clone(),
        grace: wire::longest_grace(config),
    }));
    Ok(licensing)
}

fn control_state(
    config: &Config,
    ground: &Ground,
    stored: &Stored,
    books: &LedgerContext,
    calls: &Calls,
) -> ControlState {
    let listen = config.server.listen.iter().map(ToString::to_string);
    ControlState {
        licensing: calls.licensing.clone(),
        signing: stored.signing.clone(),
        spender: calls.spender.clone(),
        sessions: calls.sessions.clone(),
        ledger: books.ledger.clone(),
        ledger_options: books.options.clone(),
        store: stored.store.clone(),
        directory: directory::directory(config),
        gate: GateInfo {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: stored.node.clone(),
            instance: books.instance,
            started_at: ground.clock.now(),
            listen: listen.collect(),
        },
        clock: ground.clock.clone(),
        limits: ControlLimits {
            failures_per_minute: config.control.failures_per_minute,
        },
        rpc_socket: config.server.data_dir.join(rpc::SOCKET_NAME),
        api_keys: wire::api_key_policy(config),
        better_auth: wire::key_shape(config),
        trusted_proxies: config.server.trusted_proxies.clone(),
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
        behind: counts.behind,
    }
}

/// Makes the folder of a gate's data and takes it, for as long as the file is open. From then on, nobody but the user that
/// this process runs as may read what it writes, whatever the umask was that it was started with.
///
/// # Errors
/// [`StartError::InUse`] where another process has it, [`StartError::Files`] where it cannot be made.
pub(super) fn lock_data_dir(data_dir: &Path) -> Result<File, StartError> {
    use std::os::unix::fs::DirBuilderExt;
    // The files of journal, ledger and stores are made by code that need not know who may read them.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let path = data_dir.join("lock");
    let files = |path: &Path, error| StartError::Files {
        path: path.display().to_string(),
        error,
    };
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    made.map_err(|error| match data_dir.is_file() {
        true => files(data_dir, std::io::ErrorKind::NotADirectory.into()),
        false => files(data_dir, error),
    })?;
    warn_if_others_may_enter(data_dir);
    let lock = File::create(&path).map_err(|error| files(&path, error))?;
    match lock.try_lock() {
        Ok(()) => {
            super::own_files::take_back(data_dir);
            Ok(lock)
        }
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(StartError::InUse(data_dir.display().to_string()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(files(&path, error)),
    }
}

/// A folder that was made by hand is left as it is: it may be shared on purpose, with a group that backs it up.
fn warn_if_others_may_enter(data_dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = std::fs::metadata(data_dir) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            data_dir = %data_dir.display(),
            mode = format!("{mode:04o}"),
            "others may enter the data directory: `chmod 700` it, or say by its group who else is meant to"
        );
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "gate".to_owned(), |name| name.trim().to_owned())
}
