//! The tasks that keep `/readyz`, `store_up` and the log true to the state of a gate.

use std::sync::Arc;
use std::time::Duration;

use journal::Journal;
use licensing::{Freshness, Licensing};
use model::{Clock, SteadyClock, SystemClock};
use store::Store;
use telemetry::Metrics;
use tokio::time::MissedTickBehavior;

use crate::observe::{Readiness, State};

/// Keeps the metrics of the store's parts true: a part that another process has locked answers
/// readers as if nothing were wrong.
pub(super) async fn watch_parts(store: Arc<dyn Store>, metrics: Arc<Metrics>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        metrics.store_parts_up(store.parts_up().await);
    }
}

/// The sources of a gate's health, and the places where it is shown.
pub(super) struct Watched {
    pub(super) licensing: Arc<Licensing>,
    pub(super) journal: Journal,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) clock: Arc<SteadyClock<SystemClock>>,
    /// The longest time without its store for which some app still admits calls.
    pub(super) grace: Duration,
}

/// Keeps `store_up` and `/readyz` true to the reading of changes and to the journal.
pub(super) async fn watch(watched: Watched) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let mut strayed = None;
    loop {
        seconds.tick().await;
        log_jumps(&watched.clock, &mut strayed);
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

/// Logs once that the machine's clock jumped, and how that ended.
fn log_jumps(clock: &SteadyClock<SystemClock>, logged: &mut Option<i64>) {
    let strayed = clock.strayed().map(|micros| micros / 1_000_000);
    match (strayed, *logged) {
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
    *logged = strayed;
}
