//! `/apps`, `/plans` and `/status`: the apps that are served, their prices, and the state of the
//! gate.

use api_types::{App, List, Nothing, Page, Plan, Status};
use axum::Json as Answer;
use axum::extract::State;
use model::{AppName, License, PlanName};

use super::query::page_limit;
use crate::document::{Needs, Operation, Routes};
use crate::http::caller::Caller;
use crate::http::extract::{Name, Query};
use crate::http::problem::Problem;
use crate::http::state::{Api, Shared};

/// Adds the requests about apps, plans and the state of the gate.
pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/apps",
            apps,
            Operation::new(
                "listApps",
                "List the apps of the configuration, by name",
                Needs::AnyKey,
            )
            .query::<Page<AppName>>()
            .answers::<List<App>>(200)
            .of_one_license(),
        )
        .get(
            "/apps/{name}",
            app,
            Operation::new("showApp", "Show an app", Needs::AnyKey)
                .of::<AppName>()
                .answers::<App>(200)
                .of_one_license(),
        )
        .get(
            "/plans",
            plans,
            Operation::new(
                "listPlans",
                "List the plans of the configuration, by name",
                Needs::AnyKey,
            )
            .query::<Page<PlanName>>()
            .answers::<List<Plan>>(200)
            .of_one_license(),
        )
        .get(
            "/status",
            status,
            Operation::new("showStatus", "Show how the gate is", Needs::AnyKey)
                .answers::<Status>(200),
        )
}

/// Lists the apps that the caller may see, by name.
async fn apps(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<AppName>>,
) -> Result<Answer<List<App>>, Problem> {
    let limit = page_limit(page.limit)?;
    let own = own_apps(&state, &caller).await?;
    let place = |app: &App| app.name.clone();
    Ok(Answer(List::page(own, limit, page.cursor.as_ref(), place)))
}

/// Shows one app.
async fn app(
    State(state): Shared,
    caller: Caller,
    Name(name): Name,
) -> Result<Answer<App>, Problem> {
    let own = own_apps(&state, &caller).await?;
    let found = own.into_iter().find(|app| app.name.as_str() == name);
    found
        .map(Answer)
        .ok_or_else(|| Problem::not_found("app", &name))
}

/// Lists the plans that licenses of the caller's can have, by name: all of the configuration, or
/// that of their one license.
async fn plans(
    State(state): Shared,
    caller: Caller,
    Query(page): Query<Page<PlanName>>,
) -> Result<Answer<List<Plan>>, Problem> {
    let limit = page_limit(page.limit)?;
    let mut plans = state.directory.plans.clone();
    if let Some(license) = own_license(&state, &caller).await? {
        // Its apps show the plan that the license takes from them.
        let of_apps = own_apps(&state, &caller).await?;
        let own: Vec<PlanName> = of_apps.into_iter().filter_map(|app| app.plan).collect();
        plans.retain(|plan| {
            own.contains(&plan.name) || license.spec.plan.as_ref() == Some(&plan.name)
        });
    }
    let place = |plan: &Plan| plan.name.clone();
    Ok(Answer(List::page(
        plans,
        limit,
        page.cursor.as_ref(),
        place,
    )))
}

/// Shows the state of the gate.
async fn status(
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

/// Returns the apps that the caller may see. The holder of one license buys the app: they see how
/// to call it, and nothing of what is behind it or what others pay.
async fn own_apps(state: &Api, caller: &Caller) -> Result<Vec<App>, Problem> {
    let apps = state.directory.apps.iter();
    let own = apps.filter(|app| caller.sees_app(&app.account, &app.name));
    let mut own: Vec<App> = own.cloned().collect();
    if let Some(license) = own_license(state, caller).await? {
        for app in &mut own {
            app.upstreams.clear();
            app.plan = app.plan.take().filter(|_| license.spec.plan.is_none());
        }
    }
    Ok(own)
}

/// Returns the license that the caller's key is for, if it is for one.
async fn own_license(state: &Api, caller: &Caller) -> Result<Option<License>, Problem> {
    match caller.license() {
        Some(id) => Ok(Some(state.licensing.license(id).await?.license)),
        None => Ok(None),
    }
}
