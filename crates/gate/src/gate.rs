//! The gate: apps and plans of the configuration, the route of a call, and refusals.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use licensing::CachedLicense;
use model::{Method, Mode, PlanRevision, Refusal, Symbol};
use parking_lot::Mutex;
use telemetry::{Metrics, UpstreamFailure};

use crate::app::App;
use crate::apps::{BuildError, Resolved};
use crate::catalogue::Catalogue;
use crate::refused::Refused;
use crate::routed::Routed;
use crate::rules::AppRules;
use crate::worker::Worker;

/// The gate: decides whether a call may pass, and by which rules it is recorded. One per process,
/// shared by all threads.
pub struct Gate {
    pub(crate) catalogue: ArcSwap<Catalogue>,
    symbols: Mutex<HashMap<String, u32>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The detail for a caller whose method is one of ours but for its case.
pub(crate) const MISSPELLED_METHOD_DETAIL: &str = "write the method in capitals, such as `GET`";

impl Gate {
    /// Returns a gate for these apps and plans.
    ///
    /// # Errors
    /// Two apps on one host and path, or two routes of an app on one path and method.
    pub fn new(
        apps: Vec<AppRules>,
        plans: &[PlanRevision],
        metrics: Arc<Metrics>,
    ) -> Result<Self, BuildError> {
        let symbols = Mutex::default();
        let catalogue = Catalogue::build(apps, plans, &symbols, &metrics)?;
        Ok(Self {
            catalogue: ArcSwap::from_pointee(catalogue),
            symbols,
            metrics,
        })
    }

    /// Replaces apps and plans. Calls under way keep the routes that they have.
    ///
    /// Call it before licenses go over to new plans. Earlier revisions stay known, since licenses
    /// go by them until then.
    ///
    /// # Errors
    /// As [`Gate::new`]; nothing is replaced then.
    pub fn replace(&self, apps: Vec<AppRules>, plans: &[PlanRevision]) -> Result<(), BuildError> {
        let mut catalogue = Catalogue::build(apps, plans, &self.symbols, &self.metrics)?;
        catalogue.keep_plans_of(&self.catalogue.load());
        self.catalogue.store(Arc::new(catalogue));
        Ok(())
    }

    /// Finds the app and the route of a call. `host` may hold a port.
    ///
    /// # Errors
    /// No such app or route; a path that can be read in two ways where that matters; a method that
    /// is one of ours but for its case; a target that is no path.
    pub fn route(
        &self,
        worker: &Worker,
        host: &str,
        method: &str,
        raw_path: &[u8],
    ) -> Result<Routed, Refused> {
        if Method::is_misspelled(method) {
            return Err(self.refuse_malformed(worker, MISSPELLED_METHOD_DETAIL));
        }
        if raw_path.first() != Some(&b'/') {
            return Err(self.refuse_malformed(worker, "begin the target with `/`"));
        }
        let method = Method::of(method);
        let resolved = self.catalogue.load().apps.resolve(host, method, raw_path);
        Self::begin(worker, method, Mode::Proxy, resolved)
    }

    /// Begins a call on the route that was found for it, or counts and returns its refusal.
    pub(crate) fn begin(
        worker: &Worker,
        method: Method,
        mode: Mode,
        resolved: Resolved,
    ) -> Result<Routed, Refused> {
        let started = worker.now();
        let started_at = worker.wall(started);
        let call_id = worker.next_id(started_at);
        let refuse = |app: Option<Arc<App>>, refusal| {
            worker.count_refusal(app.map_or(Symbol::NONE, |app| app.symbol), refusal);
            Err(Refused::new(refusal, call_id))
        };
        match resolved {
            Resolved::Route(route) => Ok(Routed {
                route,
                call_id,
                method,
                mode,
                started,
                started_at,
            }),
            Resolved::NoRoute(app) => refuse(Some(app), Refusal::RouteUnknown),
            Resolved::NoMethod(app, methods) => refuse(Some(app), Refusal::MethodNotAllowed)
                .map_err(|refused: Refused| Refused {
                    allow: Some(methods),
                    ..refused
                }),
            Resolved::NoApp => refuse(None, Refusal::AppUnknown),
            Resolved::Ambiguous(app) => refuse(app, Refusal::PathAmbiguous),
        }
    }

    /// Counts an attempt of a call that failed because of an upstream of an app.
    pub fn upstream_failed(&self, app: &str, upstream: &str, failure: UpstreamFailure) {
        self.metrics.upstream_failed(app, upstream, failure);
    }

    /// Refuses a call whose head cannot be read in one way only, before it has an app. `detail`
    /// says what would work.
    #[must_use]
    pub fn refuse_malformed(&self, worker: &Worker, detail: &'static str) -> Refused {
        let refusal = Refusal::RequestMalformed;
        Refused {
            detail: Some(detail),
            ..Refused::new(refusal, worker.refuse_head(refusal))
        }
    }

    /// Refuses a call for a reason that does not depend on a known license, such as a missing
    /// credential or a journal without room. The refusal is counted in metrics and not recorded.
    #[must_use]
    pub fn refuse(&self, worker: &Worker, routed: &Routed, refusal: Refusal) -> Refused {
        worker.count_refusal(routed.route.app.symbol, refusal);
        let wants_credential = refusal.status() == 401;
        Refused {
            app: wants_credential.then(|| routed.route.app.clone()),
            ..Refused::new(refusal, routed.call_id)
        }
    }

    /// Refuses a call of a known license, and records the refusal.
    pub(crate) fn refuse_known(
        &self,
        worker: &Worker,
        routed: &Routed,
        entry: &CachedLicense,
        refused: &licensing::Refused,
    ) -> Refused {
        let catalogue = self.catalogue.load();
        let plan = catalogue.plan_of(&worker.admission, &routed.route, entry);
        worker.record_refusal(routed, Some(entry.license().id), plan, refused.refusal);
        Refused {
            retry_after: refused.retry_after,
            rate: refused.view.map(|view| (entry.effective().clone(), view)),
            ..Refused::new(refused.refusal, routed.call_id)
        }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}
