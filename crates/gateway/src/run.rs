//! The commands that run a gate, and the order in which its parts start and stop.
//!
//! Start: bind, store, journal, ledger, licenses, control, proxy, ready. The records of earlier
//! starts are read while calls are served, but for those that can be read in a moment before. Stop
//! is the same backwards, so that no record is written after the journal's last flush.

mod backlog;
mod counts;
mod data_dir;
mod no_room;
mod own_files;
mod running;
pub(crate) mod signals;
mod start;
mod upstreams;
mod watch;

use std::pin::pin;
use std::process::ExitCode;

use config::Config;
use tempfile::TempDir;

use self::data_dir::lock_data_dir;
use self::running::Left;
use self::signals::stop_signal;
use self::start::start;
use crate::start_error::StartError;
use crate::{cli, demo};

/// The number of threads of the runtime for everything that is not on the way of a warm call.
const COLD_THREADS: usize = 2;

/// Runs `tallygate run`.
pub(crate) fn run(config: Config) -> ExitCode {
    on_cold_runtime(&config, |config| async {
        signals::ignore_others();
        let mut stop = pin!(stop_signal());
        let running = tokio::select! {
            started = start(config) => started?,
            // Nothing was served, so no record has to be stored. The next start finds what was
            // begun as it is after a crash. Threads that read earlier journals would outlive the
            // runtime that they use, so the process ends here.
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

/// Runs `tallygate demo`.
pub(crate) fn demo(config: Config, options: demo::Options) -> ExitCode {
    let quiet = Config {
        log: config::Log {
            level: config::LogLevel::Warn,
            ..config.log
        },
        ..config
    };
    on_cold_runtime(&quiet, |mut config| async move {
        // The directory lives as long as the tour.
        let _aside = match options.once {
            true => use_own_data_if_taken(&mut config)?,
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

/// Runs `tallygate demo` without a configuration file: with the first file of `init`, and data that
/// are deleted afterwards.
pub(crate) fn demo_without_file(options: demo::Options) -> ExitCode {
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
            temporary: true,
            ..options
        },
    )
}

/// Gives a tour data of its own, which are deleted with the returned directory, if another gate
/// serves from the data that the configuration names.
fn use_own_data_if_taken(config: &mut Config) -> Result<Option<TempDir>, StartError> {
    let data_dir = &mut config.server.data_dir;
    match lock_data_dir(data_dir) {
        Ok(_) => Ok(None),
        Err(StartError::InUse(_)) => {
            let directory = tempfile::tempdir().map_err(|error| StartError::Files {
                path: std::env::temp_dir().display().to_string(),
                error,
            })?;
            *data_dir = directory.path().to_owned();
            Ok(Some(directory))
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
