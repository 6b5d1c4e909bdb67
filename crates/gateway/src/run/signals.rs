//! The signals that stop a gate, and those that are ignored.
//!
//! A signal without a handler ends the process at once, without a drain. So every signal that
//! operators and their tools send to daemons has a handler.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for a signal that asks for a stop with a drain: SIGTERM, SIGINT or SIGQUIT (which stops
/// nginx gracefully, too). Signals are received from this call on, not only once the future is
/// polled.
pub(crate) fn stop_signal() -> impl Future<Output = ()> {
    let terminate = received(SignalKind::terminate());
    let interrupt = received(SignalKind::interrupt());
    let quit = received(SignalKind::quit());
    async {
        tokio::select! {
            () = terminate => {}
            () = interrupt => {}
            () = quit => {}
        }
    }
}

/// Ignores, with a line in the log, the signals by which other daemons reload or reopen their logs:
/// SIGHUP, SIGUSR1 and SIGUSR2. Call it before anything is served; it holds until the process ends.
pub(super) fn ignore_others() {
    for (name, kind) in [
        ("SIGHUP", SignalKind::hangup()),
        ("SIGUSR1", SignalKind::user_defined1()),
        ("SIGUSR2", SignalKind::user_defined2()),
    ] {
        // The handler is in place when this returns, not only when the task first runs.
        match signal(kind) {
            Ok(mut signal) => drop(tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    tracing::warn!(
                        signal = name,
                        "ignored: this version reads its configuration at the start alone; restart it to apply a change"
                    );
                }
            })),
            Err(error) => tracing::error!(%error, "a signal handler cannot be installed"),
        }
    }
}

fn received(kind: SignalKind) -> impl Future<Output = ()> {
    let signal = signal(kind);
    async {
        match signal {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "a signal handler cannot be installed");
                std::future::pending::<()>().await;
            }
        }
    }
}
