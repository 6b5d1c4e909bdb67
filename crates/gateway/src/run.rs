//! Starting a gate and stopping it: the order of the parts.
//!
//! Start: bind, store, journal, ledger, licenses, control, proxy, ready. What earlier starts left is read beside the calls, but
//! for what can be read before them in a moment. Stop is the same backwards, so that no
//! record is written after the journal's last flush.

mod no_room;
mod own_files;
pub(crate) mod signals;
mod start;

use std::fs::File;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use config::Config;
use gate::Spender;
use journal::Journal;
use ledger::Ledger;
use licensing::{Freshness, Licensing};
use model::{Clock, SteadyClock, SystemClock};
use proxy::Edge;
use store::{NodeClaim, Store};
use telemetry::Metrics;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::signals::stop_signal;
use self::start::{lock_data_dir, start};
use crate::observe::{Readiness, State};
use crate::start_error::StartError;
use crate::{cli, demo};

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
    /// All records of this start are in the books.
    Nothing,
    /// Records of this start that are in the journal and not in the books, which the next one brings there.
    ForTheNextStart,
}

/// `tallygate run`.
pub(crate) fn run(config: Config) -> ExitCode {
    on_cold_runtime(&config, |config| async {
        signals::ignore_others();
        let mut stop = pin!(stop_signal());
        let running = tokio::select! {
            started = start(config) => started?,
            // Nothing was served, so there is nothing to bring into the books; what was begun the next start finds as it is, as after
            // a crash. Threads that read earlier journals would outlive the runtime that they ask: they end here, with the process.
            () = &mut stop => {
                tracing::info!("stopping before the start was over: no call was let in");
                std::process::exit(0);
            }
        };
        stop.await;
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
    on_cold_runtime(&quiet, |mut config| async move {
        // Lives as long as the tour.
        let _aside = match options.once {
            true => step_aside(&mut config)?,
            false => None,
        };
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

/// `tallygate demo` where there is no configuration: with that of the first file, and data that are gone with it.
pub(crate) fn demo_of_nothing(options: demo::Options) -> ExitCode {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            let path = std::env::temp_dir().display().to_string();
            let error = StartError::Files { path, error };
            eprintln!("tallygate: {error}");
            return error.exit_code();
        }
    };
    let file = folder.path().join("gateway.toml");
    let written = std::fs::write(&file, config::DEFAULT_FILE);
    let mut config = Config::default();
    config.server.data_dir = folder.path().join("data");
    // The commands that the demo prints find its gate by this file.
    let named = written.is_ok().then_some(file);
    demo(
        config,
        demo::Options {
            config: named,
            passing: true,
            ..options
        },
    )
}

/// Gives a tour data of its own, gone when it is, where another gate serves from the data that the configuration names.
fn step_aside(config: &mut Config) -> Result<Option<TempDir>, StartError> {
    let data_dir = &mut config.server.data_dir;
    match lock_data_dir(data_dir) {
        Ok(_) => Ok(None),
        Err(StartError::InUse(_)) => {
            let aside = tempfile::tempdir().map_err(|error| StartError::Files {
                path: std::env::temp_dir().display().to_string(),
                error,
            })?;
            *data_dir = aside.path().to_owned();
            Ok(Some(aside))
        }
        Err(error) => Err(error),
    }
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
        mask: Some(model::masked),
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
            eprintln!("tallygate: {}", model::masked(&error.to_string()));
            error.exit_code()
        }
    }
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
            Ok(ended) if ended.clean => {
                if ended.left > 0 {
                    tracing::warn!(
                        instances = ended.left,
                        "what earlier starts left is not all in the books, the next start goes on with it"
                    );
                }
                Left::Nothing
            }
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

/// Keeps the parts of `store_up` true: a part that somebody else has locked answers readers as if nothing were.
async fn watch_parts(store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        metrics.store_parts_up(store.parts_up().await);
    }
}

/// What the health of a gate depends on, and where it is shown.
struct Watched {
    licensing: Arc<Licensing>,
    journal: Journal,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    clock: Arc<SteadyClock<SystemClock>>,
    /// After this long without its store, no app admits anybody.
    grace: Duration,
}

/// Keeps `store_up` and `/readyz` true to what the reading of changes and the journal see.
async fn watch(watched: Watched) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut strayed = None;
    loop {
        seconds.tick().await;
        tell_of_jumps(&watched.clock, &mut strayed);
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

/// Tells once of each jump of the machine's clock, and how it ended.
fn tell_of_jumps(clock: &SteadyClock<SystemClock>, known: &mut Option<i64>) {
    let strayed = clock.strayed().map(|micros| micros / 1_000_000);
    match (strayed, *known) {
        (Some(seconds), None) => tracing::error!(
            seconds,
            "the machine's clock jumped: it is followed if it still stands there after a minute; see that one program alone sets it"
        ),
        (None, Some(seconds)) => {
            tracing::warn!(
                seconds,
                "the machine's clock came back, or is followed from now on"
            );
        }
        _ => {}
    }
    *known = strayed;
}
