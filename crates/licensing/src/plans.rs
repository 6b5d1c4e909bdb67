//! The plans and apps of the configuration, as licenses need them.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use model::{AccountName, AppName, License, Limits, PlanName, PlanRevision, RateLimit, Refill};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::served::{DeclaredRoute, DeclaredRoutes};

/// The terms of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppTerms {
    /// The name of the app.
    pub app: AppName,
    /// The account that sells it.
    pub account: AccountName,
    /// The plan of licenses that name none.
    pub default_plan: Option<PlanName>,
    /// How long known licenses of the app pass while the store is out of reach (G8).
    pub grace: Duration,
    /// The units of each license that a gate leases beyond what it needs, to be spent while the
    /// store is out of reach; and as many calls of each window of an hour or longer.
    pub allowance: u64,
    /// Whether keys of the app's licenses can be shown again, so that a sealed copy of each is
    /// kept.
    pub key_recovery: bool,
}

/// The units that a gate leases beyond what it needs, so that they can be spent while the store is
/// out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Allowance {
    /// The number of units; near the end of a balance fewer are leased.
    pub units: u64,
    /// How long a license that is not called keeps them.
    pub kept_for: Duration,
}

/// The plans and apps of the configuration.
#[derive(Debug, Default)]
pub struct Plans {
    plans: HashMap<PlanName, PlanTerms>,
    apps: HashMap<AppName, AppTerms>,
    routes: DeclaredRoutes,
    /// The plans that the configuration does not have, with their last terms.
    former: HashMap<PlanName, PlanTerms>,
    /// The plans that the store has no revision of: they never existed.
    absent: HashSet<PlanName>,
    /// The plans that licenses named and of which nothing was known.
    unknown: Mutex<HashSet<PlanName>>,
    /// Notified when a plan is added to `unknown`.
    asked: Arc<Notify>,
    /// The limits that licenses have of their own, each kept once; most sellers give out few
    /// different ones.
    own: Mutex<HashSet<Arc<EffectiveLimits>>>,
}

/// The limits that hold for a license: its own, and where it has none those of its plan.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct EffectiveLimits {
    /// Whether units are counted.
    pub counted: bool,
    /// How units come back.
    pub refill: Option<Refill>,
    /// The rate windows, which all hold at once, at most [`EffectiveLimits::MAX_WINDOWS`].
    pub rate_limits: Box<[RateLimit]>,
    /// The number of calls that may run at once; over several gates as exactly as they report to
    /// each other.
    pub concurrency: Option<u32>,
    /// The units that are leased for an outage.
    pub allowance: Allowance,
    policy: Box<str>,
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
    /// Makes plans and apps. Of two with one name the later counts.
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

    /// Plans that licenses named which are on no list, of which no former revision is known, nor that they never were.
    #[must_use]
    pub fn unknown(&self) -> Vec<PlanName> {
        self.unknown.lock().iter().cloned().collect()
    }

    /// The same, ringing this when a license names a plan of which nothing is known.
    #[must_use]
    pub(crate) fn ringing(mut self, asked: Arc<Notify>) -> Self {
        self.asked = asked;
        self
    }

    /// A plan of the configuration, or else as it was last.
    fn known(&self, name: &PlanName) -> Option<&PlanTerms> {
        let known = self.plans.get(name).or_else(|| self.former.get(name));
        let is_unheard = known.is_none() && !self.absent.contains(name);
        if is_unheard && self.unknown.lock().insert(name.clone()) {
            self.asked.notify_one();
        }
        known
    }

    /// The same, knowing the routes of apps. An app of none serves every call.
    #[must_use]
    pub fn with_routes(
        mut self,
        routes: impl IntoIterator<Item = (AppName, Vec<DeclaredRoute>)>,
    ) -> Self {
        let declared = routes.into_iter().filter(|(_, routes)| !routes.is_empty());
        self.routes = declared.collect();
        self
    }

    /// The routes of an app; `None`: it serves every call.
    pub(crate) fn declared(&self, app: &AppName) -> Option<&Vec<DeclaredRoute>> {
        self.routes.get(app)
    }

    /// The present revision of a plan.
    #[must_use]
    pub fn plan(&self, name: &PlanName) -> Option<&Arc<PlanRevision>> {
        self.plans.get(name).map(|terms| &terms.revision)
    }

    /// The terms of an app.
    #[must_use]
    pub fn app(&self, name: &AppName) -> Option<&AppTerms> {
        self.apps.get(name)
    }

    /// The plan of a license, or of the app where the license names none.
    pub(crate) fn plan_of(
        &self,
        app: &AppName,
        plan: Option<&PlanName>,
    ) -> Option<&Arc<PlanRevision>> {
        let default = || self.apps.get(app).and_then(|app| app.default_plan.as_ref());
        self.known(plan.or_else(default)?)
            .map(|terms| &terms.revision)
    }

    /// All apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &AppTerms> {
        self.apps.values()
    }

    /// All present revisions, in no order.
    pub fn revisions(&self) -> impl Iterator<Item = &Arc<PlanRevision>> {
        self.plans.values().map(|terms| &terms.revision)
    }

    /// What holds for a license. A plan or an app that the configuration no longer has adds nothing.
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

    /// Grace and allowance of a license of every app of an account: those of the strictest.
    fn strictest(&self, account: &AccountName) -> (Duration, u64) {
        let own = || self.apps().filter(|app| app.account == *account);
        let grace = own().map(|app| app.grace).min();
        let allowance = own().map(|app| app.allowance).min();
        (grace.unwrap_or_default(), allowance.unwrap_or_default())
    }

    /// The plan that licenses of an app have who name none, as it is now.
    #[must_use]
    pub fn default_plan(&self, app: &AppName) -> Option<&Arc<PlanRevision>> {
        let name = self.apps.get(app)?.default_plan.as_ref()?;
        self.plan(name)
    }

    /// Equal limits share one allocation, as long as there are few different ones.
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

    /// Replaces a license's names by equal ones that are shared, so that a million licenses hold each name once.
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

impl EffectiveLimits {
    /// Most windows of one license; more are ignored (operations and configuration refuse them).
    pub const MAX_WINDOWS: usize = RateLimit::MAX_WINDOWS;

    pub(crate) fn of(own: &Limits, plan: Option<&PlanRevision>) -> Self {
        let plan = plan.map(|revision| &revision.plan);
        let windows = match own.rate_limits.as_slice() {
            [] => plan.map_or(&[][..], |plan| &plan.rate_limits),
            own => own,
        };
        let windows = tightest(windows);
        Self {
            counted: own.remaining.is_some(),
            refill: own.refill.filter(|_| own.remaining.is_some()),
            concurrency: own
                .concurrency
                .or_else(|| plan.and_then(|plan| plan.concurrency)),
            allowance: Allowance::default(),
            policy: policy(&windows),
            rate_limits: windows,
        }
    }

    /// With so many units leased for an outage, if any are leased at all.
    pub(crate) fn with_allowance(self, units: u64, kept_for: Duration) -> Self {
        let is_leased = self.counted || self.has_durable_window();
        let allowance = Allowance { units, kept_for };
        Self {
            allowance: if units > 0 && is_leased {
                allowance
            } else {
                Allowance::default()
            },
            ..self
        }
    }

    /// Whether nothing is limited, so that calls are not metered here at all.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        !self.counted && self.rate_limits.is_empty() && self.concurrency.is_none()
    }

    /// Whether a call counts against a window of an hour or longer.
    #[must_use]
    pub fn has_durable_window(&self) -> bool {
        self.rate_limits.iter().any(RateLimit::is_durable)
    }

    /// The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11), made once; empty without windows.
    #[must_use]
    pub fn policy(&self) -> &str {
        &self.policy
    }
}

/// One limit for each kind and length of window, the smallest, since that is what its calls are counted by.
fn tightest(limits: &[RateLimit]) -> Box<[RateLimit]> {
    let mut windows: Vec<RateLimit> = Vec::with_capacity(limits.len());
    for limit in limits {
        match windows
            .iter_mut()
            .find(|other| other.window == limit.window && other.kind == limit.kind)
        {
            Some(other) => other.calls = other.calls.min(limit.calls),
            None => windows.push(*limit),
        }
    }
    windows.truncate(EffectiveLimits::MAX_WINDOWS);
    windows.into()
}

/// One policy a window, named by its text form.
fn policy(windows: &[RateLimit]) -> Box<str> {
    let mut text = String::new();
    for limit in windows {
        let separator = if text.is_empty() { "" } else { ", " };
        let (calls, seconds) = (limit.calls, limit.window.seconds());
        write!(
            text,
            "{separator}\"{}\";q={calls};w={seconds};qu=\"requests\"",
            limit.window
        )
        .expect("writing to a string does not fail");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Plan;

    fn plan() -> PlanRevision {
        PlanRevision::from(Plan {
            name: "pro".parse().unwrap(),
            currency: "EUR".parse().unwrap(),
            price_per_unit: "0.01".parse().unwrap(),
            rate_limits: vec!["10/1m".parse().unwrap(), "100/1h".parse().unwrap()],
            concurrency: Some(3),
            features: vec![],
        })
    }

    #[test]
    fn a_license_has_its_own_limits_and_where_it_has_none_those_of_its_plan() {
        let inherited = EffectiveLimits::of(&Limits::default(), Some(&plan()));
        assert_eq!(inherited.concurrency, Some(3));
        assert_eq!(
            inherited.policy(),
            r#""1m";q=10;w=60;qu="requests", "1h";q=100;w=3600;qu="requests""#
        );
        let own = Limits {
            rate_limits: vec!["5/1s".parse().unwrap()],
            refill: Some("5/1h".parse().unwrap()),
            ..Limits::default()
        };
        let own = EffectiveLimits::of(&own, Some(&plan()));
        assert_eq!(own.policy(), r#""1s";q=5;w=1;qu="requests""#);
        assert_eq!(
            (own.counted, own.refill, own.concurrency),
            (false, None, Some(3))
        );
        assert!(EffectiveLimits::of(&Limits::default(), None).is_unlimited());
    }
}
