//! The apps and plans of one configuration, and the numbers by which records name them.

use std::collections::HashMap;
use std::sync::Arc;

use licensing::{Admission, CachedLicense};
use model::{Outcome, PlanRevision, PlanRevisionId, Refusal, Symbol};
use parking_lot::Mutex;
use telemetry::{CallLabels, Metrics};

use crate::app::Route;
use crate::apps::{Apps, BuildError};
use crate::rules::AppRules;

/// Apps and plans of one configuration.
pub(crate) struct Catalogue {
    pub(crate) apps: Apps,
    plans: HashMap<PlanRevisionId, PlanSymbol>,
}

/// A plan revision as records name it.
#[derive(Clone)]
pub(crate) struct PlanSymbol {
    number: u32,
    /// The text that the number stands for in the dictionaries of journals.
    text: Box<str>,
}

impl PlanSymbol {
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    pub(crate) const fn text(&self) -> &str {
        &self.text
    }

    /// Returns the number that a record names the plan by; [`Symbol::NONE`] without a plan.
    pub(crate) fn number_of(plan: Option<&Self>) -> u32 {
        plan.map_or(Symbol::NONE, Self::number)
    }
}

impl Catalogue {
    /// Returns the catalogue of a configuration. Gives a number to each app, route and plan that
    /// has none yet; numbers in `symbols` stay, whatever the configuration.
    ///
    /// # Errors
    /// Two apps on one host and path, or two routes of an app on one path and method.
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

    /// Adds the plans of the earlier configuration, which licenses go by until they go over to new
    /// ones.
    pub(crate) fn keep_plans_of(&mut self, before: &Self) {
        for (revision, plan) in &before.plans {
            self.plans.entry(*revision).or_insert_with(|| plan.clone());
        }
    }

    /// Returns the plan revision that a call is priced by: that of its license, or the app's
    /// default where the license is one of every app. `None`: the call has no plan, or none of this
    /// catalogue.
    pub(crate) fn plan_of(
        &self,
        admission: &Admission,
        route: &Route,
        entry: &CachedLicense,
    ) -> Option<&PlanSymbol> {
        match entry.plan() {
            Some(plan) => self.plans.get(&plan.id),
            None if entry.license().app.is_every() => {
                let plans = admission.plans();
                let plan = plans.default_plan(&route.app.name)?;
                self.plans.get(&plan.id)
            }
            None => None,
        }
    }
}

/// Statuses and outcomes with which calls usually end. Other statuses are the upstream's own and
/// unknown beforehand.
const USUAL_ENDS: [(u16, Outcome); 7] = [
    (200, Outcome::Delivered),
    (200, Outcome::ClientGone),
    (200, Outcome::UpstreamFailed),
    (200, Outcome::GatewayFailed),
    (500, Outcome::Delivered),
    (502, Outcome::UpstreamFailed),
    (504, Outcome::UpstreamFailed),
];

/// Makes the metrics show series at 0 before anything is counted in them, for alerts.
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
