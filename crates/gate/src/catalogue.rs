//! What a configuration serves, and the numbers by which records name it.

use std::collections::HashMap;
use std::sync::Arc;

use licensing::CachedLicense;
use model::{Outcome, PlanRevision, PlanRevisionId, Refusal, Symbol};
use parking_lot::Mutex;
use telemetry::{CallLabels, Metrics};

use crate::admit::Gate;
use crate::app::{AppRules, Apps, BuildError, Route};
use crate::worker::Worker;

/// Apps and plans of one configuration.
pub(crate) struct Catalogue {
    pub(crate) apps: Apps,
    plans: HashMap<PlanRevisionId, PlanSymbol>,
}

#[derive(Clone)]
struct PlanSymbol {
    number: u32,
    text: Arc<str>,
}

impl Catalogue {
    /// Numbers what has none yet; numbers once given stay, whatever the configuration.
    ///
    /// # Errors
    /// Apps or routes that get in each other's way.
    pub(crate) fn build(
        apps: Vec<AppRules>,
        plans: &[PlanRevision],
        symbols: &Mutex<HashMap<String, u32>>,
        metrics: &Metrics,
    ) -> Result<Self, BuildError> {
        let mut symbols = symbols.lock();
        let mut number = |symbol: &Symbol| {
            let next = symbols.len() as u32 + 1;
            let number = *symbols.entry(symbol.encode()).or_insert(next);
            match symbol {
                Symbol::App { app, .. } => metrics.name(number, app.as_str()),
                Symbol::Route(path) => metrics.name(number, path),
                Symbol::Plan { .. } | Symbol::Unit(_) => {}
            }
            number
        };
        let plan = |revision: &PlanRevision, number: &mut dyn FnMut(&Symbol) -> u32| {
            let symbol = Symbol::Plan {
                name: revision.plan.name.clone(),
                revision: revision.id,
            };
            let known = PlanSymbol {
                number: number(&symbol),
                text: symbol.encode().into(),
            };
            (revision.id, known)
        };
        let plans = plans
            .iter()
            .map(|revision| plan(revision, &mut number))
            .collect();
        let apps = Apps::build(apps, &mut number)?;
        expect_series(&apps, metrics);
        Ok(Self { apps, plans })
    }

    /// Takes over the plans of the configuration before, which licenses go by until they go over to new ones.
    pub(crate) fn keep_plans_of(&mut self, before: &Self) {
        for (revision, plan) in &before.plans {
            self.plans.entry(*revision).or_insert_with(|| plan.clone());
        }
    }
}

/// How a call usually ends, well or badly. Other statuses are the upstream's own, and are not known before they come.
const USUAL_ENDS: [(u16, Outcome); 7] = [
    (200, Outcome::Delivered),
    (200, Outcome::ClientGone),
    (200, Outcome::UpstreamFailed),
    (200, Outcome::GatewayFailed),
    (500, Outcome::Delivered),
    (502, Outcome::UpstreamFailed),
    (504, Outcome::UpstreamFailed),
];

/// Has the metrics show what may be counted before it is, for alerts.
fn expect_series(apps: &Apps, metrics: &Metrics) {
    let ends = |route: &Arc<Route>| {
        let (app, route) = (route.app.symbol, route.symbol);
        USUAL_ENDS.map(|(status, outcome)| CallLabels {
            app,
            route,
            status,
            outcome: outcome as u8,
        })
    };
    metrics.expect_calls(apps.routes().flat_map(ends));
    let of_apps = apps.iter().map(|app| app.symbol);
    let refusals = of_apps.chain([Symbol::NONE]).flat_map(|app| {
        Refusal::ALL
            .iter()
            .map(move |refusal| (app, *refusal as u8))
    });
    metrics.expect_refusals(refusals);
}

impl Gate {
    /// Number and text of the plan revision that a call is priced by: that of the license, or where it is one of every app
    /// that of the app. The guard that the text is borrowed from is gone when this returns, so the text is cloned out of
    /// its `Arc`.
    pub(crate) fn plan_symbol(
        &self,
        worker: &Worker,
        route: &Route,
        entry: &CachedLicense,
    ) -> (u32, Option<Arc<str>>) {
        let catalogue = self.catalogue.load();
        let known = |plan: &Arc<PlanRevision>| catalogue.plans.get(&plan.id);
        let symbol = match entry.plan() {
            Some(plan) => known(plan),
            None if entry.license().app.is_every() => {
                let plans = worker.admission.plans();
                plans.default_plan(&route.app.name).and_then(known)
            }
            None => None,
        };
        symbol.map_or((Symbol::NONE, None), |symbol| {
            (symbol.number, Some(symbol.text.clone()))
        })
    }
}
