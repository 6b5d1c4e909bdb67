//! `/apps`, `/plans` and `/status`: what is served, what it costs, and how the gate is.

use axum::Json as Answer;
use axum::extract::State;
use model::{AppName, PlanName};

use super::Shared;
use super::calls::page_limit;
use crate::caller::Caller;
use crate::extract::{Name, Query};
use crate::problem::Problem;
use crate::wire::{App, List, Nothing, Page, Plan, Status};

/// Lists the apps that are the caller's to see, by name.
pub(crate) async fn apps(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<AppName>>,
) -> Result<Answer<List<App>>, Problem> {
    let limit = page_limit(page.limit)?;
    let apps = state.directory.apps.iter();
    let own = apps.filter(|app| caller.sees_app(&app.account, &app.name));
    let own = own.cloned().collect();
    let place = |app: &App| app.name.clone();
    Ok(Answer(List::page(own, limit, page.cursor.as_ref(), place)))
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

/// Lists the plans, by name.
pub(crate) async fn plans(
    State(state): Shared,
    Query(page): Query<Page<PlanName>>,
) -> Result<Answer<List<Plan>>, Problem> {
    let limit = page_limit(page.limit)?;
    let plans = state.directory.plans.clone();
    let place = |plan: &Plan| plan.name.clone();
    Ok(Answer(List::page(
        plans,
        limit,
        page.cursor.as_ref(),
        place,
    )))
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
