//! The plans and apps of the configuration, as licenses need them.

mod current;
mod limits;
mod routes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use model::agent::AgentTerms;
use model::{AccountName, AppName, License, Limits, PlanName, PlanRevision};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::software::SoftwareTerms;
use routes::DeclaredRoutes;

pub(crate) use current::CurrentPlans;
pub use limits::{Allowance, EffectiveLimits};
pub use routes::DeclaredRoute;

/// The terms of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTerms {
    /// The name of the app.
    pub app: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// The plan of licenses that name none.
    pub default_plan: Option<PlanName>,
    /// The time for which known licenses of the app pass while the store is out of reach (G8).
    pub grace: Duration,
    /// The units of each license that a gate leases beyond what it needs, to be spent while the
    /// store is out of reach; and as many calls of each window of an hour or longer.
    pub allowance: u64,
    /// Whether keys of the app's licenses can be shown again, so that a sealed copy of each is
    /// kept.
    pub key_recovery: bool,
    /// The terms for software that is sold with the app.
    pub software: SoftwareTerms,
    /// The terms for AI agents; `None`: the app decides nothing about them.
    pub agents: Option<AgentTerms>,
}

/// The plans and apps of the configuration.
#[derive(Debug, Default)]
pub struct Plans {
    plans: HashMap<PlanName, PlanTerms>,
    apps: HashMap<AppName, AppTerms>,
    routes: DeclaredRoutes,
    /// The plans that the configuration does not have, with their last terms.
    former: HashMap<PlanName, PlanTerms>,
    /// The plans of which the store has no revision: they never existed.
    absent: HashSet<PlanName>,
    /// The plans that licenses named and of which nothing was known.
    unknown: Mutex<HashSet<PlanName>>,
    /// Notified when a plan is added to `unknown`.
    asked: Arc<Notify>,
    /// The limits that licenses have of their own, each kept once; most sellers give out few
    /// different ones.
    own: Mutex<HashSet<Arc<EffectiveLimits>>>,
}

#[derive(Debug)]
struct PlanTerms {
    revision: Arc<PlanRevision>,
    /// The limits of licenses without limits of their own, so that they share one allocation.
    limits: Arc<EffectiveLimits>,
}

/// The terms of a license by the plans.
pub(crate) struct Terms {
    pub(crate) effective: Arc<EffectiveLimits>,
    pub(crate) plan: Option<Arc<PlanRevision>>,
    pub(crate) grace: Duration,
    /// Whether the license names a plan whose terms are still to be asked for: no call is admitted
    /// by what is known so far.
    pub(crate) awaits_plan: bool,
}

impl PlanTerms {
    fn named(revision: PlanRevision) -> (PlanName, Self) {
        let limits = EffectiveLimits::of(&Limits::default(), Some(&revision));
        let terms = Self {
            limits: Arc::new(limits),
            revision: Arc::new(revision),
        };
        (terms.revision.plan.name.clone(), terms)
    }
}

impl Plans {
    /// Returns plans and apps. Of two with one name the later counts.
    #[must_use]
    pub fn new(revisions: Vec<PlanRevision>, apps: Vec<AppTerms>) -> Self {
        Self {
            own: Mutex::default(),
            routes: DeclaredRoutes::new(),
            former: HashMap::new(),
            absent: HashSet::new(),
            unknown: Mutex::default(),
            asked: Arc::default(),
            plans: revisions.into_iter().map(PlanTerms::named).collect(),
            apps: apps.into_iter().map(|app| (app.app.clone(), app)).collect(),
        }
    }

    /// Adds the last terms of plans that the configuration does not have. Existing licenses that
    /// name one go by it; no new license can name one.
    #[must_use]
    pub fn with_former(mut self, revisions: impl IntoIterator<Item = PlanRevision>) -> Self {
        self.former = revisions.into_iter().map(PlanTerms::named).collect();
        self
    }

    /// Adds names of plans that never existed. Licenses that name one have no plan.
    #[must_use]
    pub fn with_absent(mut self, names: impl IntoIterator<Item = PlanName>) -> Self {
        self.absent = names.into_iter().collect();
        self
    }

    /// Returns the plans that licenses named and of which nothing is known: no present or former
    /// revision, nor that they never existed.
    #[must_use]
    pub fn unknown(&self) -> Vec<PlanName> {
        self.unknown.lock().iter().cloned().collect()
    }

    /// Returns the same plans, which notify `asked` when a license names a plan of which nothing is
    /// known.
    #[must_use]
    pub(crate) fn notifying(mut self, asked: Arc<Notify>) -> Self {
        self.asked = asked;
        self
    }

    /// Returns a plan of the configuration, or else its former revision. Asks for a plan of which
    /// nothing is known.
    fn known(&self, name: &PlanName) -> Option<&PlanTerms> {
        let known = self.plans.get(name).or_else(|| self.former.get(name));
        let is_unheard = known.is_none() && !self.absent.contains(name);
        if is_unheard && self.unknown.lock().insert(name.clone()) {
            self.asked.notify_one();
        }
        known
    }

    /// Adds the routes of apps. An app without routes serves every call.
    #[must_use]
    pub fn with_routes(
        mut self,
        routes: impl IntoIterator<Item = (AppName, Vec<DeclaredRoute>)>,
    ) -> Self {
        let declared = routes.into_iter().filter(|(_, routes)| !routes.is_empty());
        self.routes = declared.collect();
        self
    }

    /// Returns the routes of an app; `None`: it serves every call.
    pub(crate) fn declared(&self, app: &AppName) -> Option<&Vec<DeclaredRoute>> {
        self.routes.get(app)
    }

    /// Returns the present revision of a plan.
    #[must_use]
    pub fn plan(&self, name: &PlanName) -> Option<&Arc<PlanRevision>> {
        self.plans.get(name).map(|terms| &terms.revision)
    }

    /// Returns the terms of an app.
    #[must_use]
    pub fn app(&self, name: &AppName) -> Option<&AppTerms> {
        self.apps.get(name)
    }

    /// Returns the plan of a license, or of the app if the license names none.
    pub(crate) fn plan_of(
        &self,
        app: &AppName,
        plan: Option<&PlanName>,
    ) -> Option<&Arc<PlanRevision>> {
        let default = || self.apps.get(app).and_then(|app| app.default_plan.as_ref());
        self.known(plan.or_else(default)?)
            .map(|terms| &terms.revision)
    }

    /// Returns all apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &AppTerms> {
        self.apps.values()
    }

    /// Returns all present revisions, in no order.
    pub fn revisions(&self) -> impl Iterator<Item = &Arc<PlanRevision>> {
        self.plans.values().map(|terms| &terms.revision)
    }

    /// Returns a copy of each present revision, in no order.
    pub(crate) fn owned_revisions(&self) -> Vec<PlanRevision> {
        let revisions = self.revisions().map(|revision| &**revision);
        revisions.cloned().collect()
    }

    /// Returns the terms of a license. A plan or an app that the configuration no longer has adds
    /// nothing.
    pub(crate) fn terms(&self, license: &License) -> Terms {
        let app = self.apps.get(&license.app);
        let (grace, allowance) = match app {
            Some(app) => (app.grace, app.allowance),
            None if license.app.is_every() => self.strictest(&license.account),
            None => (Duration::ZERO, 0),
        };
        let name = license
            .spec
            .plan
            .as_ref()
            .or_else(|| app.and_then(|app| app.default_plan.as_ref()));
        let plan = name.and_then(|name| self.known(name));
        let effective = match plan {
            Some(plan) if license.spec.limits == Limits::default() && allowance == 0 => {
                plan.limits.clone()
            }
            _ => {
                let plan = plan.map(|plan| &*plan.revision);
                let limits = EffectiveLimits::of(&license.spec.limits, plan);
                self.share(limits.with_allowance(allowance, grace))
            }
        };
        Terms {
            effective,
            plan: plan.map(|plan| plan.revision.clone()),
            grace,
            awaits_plan: plan.is_none() && name.is_some_and(|name| !self.absent.contains(name)),
        }
    }

    /// Returns grace and allowance of a license of every app of an account: those of the strictest
    /// app.
    fn strictest(&self, account: &AccountName) -> (Duration, u64) {
        let own = || self.apps().filter(|app| app.account == *account);
        let grace = own().map(|app| app.grace).min();
        let allowance = own().map(|app| app.allowance).min();
        (grace.unwrap_or_default(), allowance.unwrap_or_default())
    }

    /// Returns the plan of licenses of an app that name none, as it is now.
    #[must_use]
    pub fn default_plan(&self, app: &AppName) -> Option<&Arc<PlanRevision>> {
        let name = self.apps.get(app)?.default_plan.as_ref()?;
        self.plan(name)
    }

    /// Returns limits in an allocation that equal limits share, as long as there are at most 4,096
    /// different ones.
    fn share(&self, limits: EffectiveLimits) -> Arc<EffectiveLimits> {
        const MAX_SHARED: usize = 4_096;
        let mut own = self.own.lock();
        if let Some(known) = own.get(&limits) {
            return known.clone();
        }
        let limits = Arc::new(limits);
        if own.len() < MAX_SHARED {
            own.insert(limits.clone());
        }
        limits
    }

    /// Replaces a license's names by equal ones that are shared, so that a million licenses hold
    /// each name once.
    pub(crate) fn share_names(&self, license: &mut License) {
        if let Some(app) = self.apps.get(&license.app) {
            license.app = app.app.clone();
            if license.account == app.account {
                license.account = app.account.clone();
            }
        }
        let plan = license
            .spec
            .plan
            .as_ref()
            .and_then(|name| self.plans.get(name));
        if let Some(plan) = plan {
            license.spec.plan = Some(plan.revision.plan.name.clone());
        }
    }
}
