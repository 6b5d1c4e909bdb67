//! `/apps`, `/plans` and `/status`: what is served, what it costs, and how the gate is.

use axum::Json as Answer;
use axum::extract::State;

use super::Shared;
use crate::caller::Caller;
use crate::extract::{Name, Query};
use crate::problem::Problem;
use crate::wire::{App, List, Nothing, Plan, Status};

/// Lists the apps that are the caller's to see.
pub(crate) async fn apps(
    State(state): Shared,
    caller: Caller,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<List<App>> {
    let apps = state.directory.apps.iter();
    let own = apps.filter(|app| caller.sees_app(&app.account, &app.name));
    Answer(List::whole(own.cloned().collect()))
}

/// Shows one app.
pub(crate) async fn app(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
) -> Result<Answer<App>, Problem> {
    let mut apps = state.directory.apps.iter();
    let found = apps.find(|app| app.name.as_str() == name);
    found
        .filter(|app| caller.sees_app(&app.account, &app.name))
        .map(|app| Answer(app.clone()))
        .ok_or_else(|| Problem::not_found("app", &name))
}

/// Lists the plans.
pub(crate) async fn plans(
    State(state): Shared,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<List<Plan>> {
    Answer(List::whole(state.directory.plans.clone()))
}

/// Says how the gate is.
pub(crate) async fn status(
    State(state): Shared,
    caller: Caller,
    Query(Nothing {}): Query<Nothing>,
) -> Answer<Status> {
    let gate = &state.gate;
    let apps = state.directory.apps.iter();
    Answer(Status {
        version: gate.version.clone(),
        node: gate.node.clone(),
        instance: gate.instance,
        started_at: gate.started_at,
        now: state.clock.now(),
        listen: gate.listen.clone(),
        apps: apps
            .filter(|app| caller.sees_app(&app.account, &app.name))
            .count(),
    })
}
