//! The metrics listener: `/metrics`, `/healthz`, `/readyz`.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use telemetry::Metrics;

/// The readiness of the gate: whether it takes calls, and if not, why.
pub(crate) struct Readiness(ArcSwap<State>);

/// The state that `/readyz` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The gate takes no calls: it is starting or draining.
    Closed,
    /// The gate takes calls and forwards them.
    Ready,
    /// The gate takes calls and refuses them, for this reason.
    Refusing(String),
}

impl Default for Readiness {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(State::Closed))
    }
}

impl Readiness {
    /// Sets the state.
    pub(crate) fn set(&self, state: State) {
        self.0.store(Arc::new(state));
    }

    /// Sets the state unless it is [`State::Closed`].
    pub(crate) fn update(&self, state: State) {
        let state = Arc::new(state);
        self.0.rcu(|now| match **now {
            State::Closed => Arc::clone(now),
            _ => Arc::clone(&state),
        });
    }
}

#[derive(Clone)]
struct Observed {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
}

pub(crate) fn router(metrics: Arc<Metrics>, readiness: Arc<Readiness>) -> Router {
    Router::new()
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Observed { metrics, readiness })
}

async fn metrics_text(extract::State(observed): extract::State<Observed>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, observed.metrics.render())
}

async fn ready(extract::State(observed): extract::State<Observed>) -> (StatusCode, String) {
    let refused = |why: &str| {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {why}\n"),
        )
    };
    match &**observed.readiness.0.load() {
        State::Ready => (StatusCode::OK, "ready\n".to_owned()),
        State::Closed => refused("recovering or draining"),
        State::Refusing(why) => refused(why),
    }
}
