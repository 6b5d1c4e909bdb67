//! Admit: app → route → credential → license → limits → room in the journal. A refusal ends here.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use licensing::{Ask, CachedLicense, ClaimedToken, HeldUnits, Reservation, ReserveError};
use model::path::NormalPath;
use model::{
    Address, CallFacts, CallHead, CallId, CallTail, Method, Mode, Outcome, PlanRevision, Refusal,
    Symbol, Timestamp,
};
use parking_lot::Mutex;
use telemetry::{Metrics, UpstreamFailure};

use crate::app::{App, AppRules, BuildError, Resolved, Route};
use crate::call::{Admitted, Ticket};
use crate::catalogue::Catalogue;
use crate::refused::Refused;
use crate::time::Moment;
use crate::worker::{RefusedCall, Worker};

/// The gate: what decides whether a call may pass, and by which rules it is recorded.
pub struct Gate {
    pub(crate) catalogue: ArcSwap<Catalogue>,
    symbols: Mutex<HashMap<String, u32>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A call that has found its route.
pub struct Routed {
    /// The route.
    pub route: Arc<Route>,
    /// The identity of the call.
    pub call_id: CallId,
    /// The method.
    pub method: Method,
    /// By which way it came.
    pub(crate) mode: Mode,
    pub(crate) started: Moment,
    /// Told once, since windows and records must agree on it.
    pub(crate) started_at: Timestamp,
}

/// What a call presents to be let in.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// One credential.
    Credential(&'a [u8]),
    /// Two different credentials.
    Ambiguous,
    /// A one-use request token.
    Token(&'a [u8]),
}

/// What admission looks at besides the route.
#[derive(Clone, Copy)]
pub struct CallRequest<'a> {
    /// The raw path, without query.
    pub path: &'a [u8],
    /// The caller's address.
    pub address: Option<Address>,
    /// What was presented.
    pub presented: Presented<'a>,
    /// Hash of the caller's idempotency key; 0 where there is none.
    pub idempotency: u64,
}

/// Who pays for a call, and what it holds of their limits.
pub(crate) struct Paid {
    pub(crate) entry: Arc<CachedLicense>,
    pub(crate) reservation: Reservation,
    pub(crate) token: Option<ClaimedToken>,
}

impl Routed {
    /// The head of a record on this route, before anybody pays.
    pub(crate) fn head(&self) -> CallHead {
        let route = &self.route;
        CallHead {
            call_id: self.call_id,
            app: route.app.symbol,
            route: route.symbol,
            method: self.method,
            mode: self.mode,
            started_at: self.started_at,
            reserved: route.most_units,
            test: route.app.test,
            bills_interrupted: route.app.bills(Outcome::Interrupted),
            keeps_units: route.app.counts_all,
            ..CallHead::default()
        }
    }

    /// The same, of a call that is to be forwarded.
    pub(crate) fn head_of(&self, request: &CallRequest<'_>) -> CallHead {
        CallHead {
            idempotency: request.idempotency,
            ..self.head()
        }
    }
}

impl Paid {
    /// Gives everything back: nobody was reached.
    pub(crate) fn cancel(mut self) {
        if let Some(token) = self.token {
            token.release(Some(&mut self.reservation));
        }
        self.entry.cancel(self.reservation);
    }
}

impl Gate {
    /// Room that the records of one call take: head, tail, and what frames them.
    const PAYLOAD: u32 = (CallHead::LENGTH + CallTail::LENGTH) as u32;

    /// A gate for these apps and plans.
    ///
    /// # Errors
    /// Apps or routes that get in each other's way.
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

    /// Replaces apps and plans; calls under way keep the ones they came in under.
    ///
    /// Call it before licenses go over to new plans. The revisions before stay known, since licenses go by them until then.
    ///
    /// # Errors
    /// As [`Gate::new`]; nothing is replaced then.
    pub fn replace(&self, apps: Vec<AppRules>, plans: &[PlanRevision]) -> Result<(), BuildError> {
        let mut catalogue = Catalogue::build(apps, plans, &self.symbols, &self.metrics)?;
        catalogue.keep_plans_of(&self.catalogue.load());
        self.catalogue.store(Arc::new(catalogue));
        Ok(())
    }

    /// Finds app and route of a call.
    ///
    /// # Errors
    /// No such app or route, a path that could be read in two ways where that matters, a method that is one of ours but for its
    /// case, or no path at all.
    pub fn route(
        &self,
        worker: &Worker,
        host: &str,
        method: &str,
        raw_path: &[u8],
    ) -> Result<Routed, Refused> {
        if Method::is_misspelled(method) {
            return Err(self.refuse_malformed(worker, MISSPELLED));
        }
        if raw_path.first() != Some(&b'/') {
            return Err(self.refuse_malformed(worker, "begin the target with `/`"));
        }
        let method = Method::of(method);
        let resolved = self.catalogue.load().apps.resolve(host, method, raw_path);
        Self::routed(worker, method, Mode::Proxy, resolved)
    }

    /// Begins a call on the route that was found for it.
    pub(crate) fn routed(
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

    /// Counts an attempt that failed by an upstream of an app.
    pub fn upstream_failed(&self, app: &str, upstream: &str, failure: UpstreamFailure) {
        self.metrics.upstream_failed(app, upstream, failure);
    }

    /// Refuses a call whose head cannot be read in one way only, before it has an app. `detail` says what would work.
    #[must_use]
    pub fn refuse_malformed(&self, worker: &Worker, detail: &'static str) -> Refused {
        let refusal = Refusal::RequestMalformed;
        Refused {
            detail: Some(detail),
            ..Refused::new(refusal, worker.refuse_head(refusal))
        }
    }

    /// Refuses a call for a reason that was found before its license was looked at.
    #[must_use]
    pub fn refuse(&self, worker: &Worker, routed: &Routed, refusal: Refusal) -> Refused {
        worker.count_refusal(routed.route.app.symbol, refusal);
        let wants_credential = refusal.status() == 401;
        Refused {
            app: wants_credential.then(|| routed.route.app.clone()),
            ..Refused::new(refusal, routed.call_id)
        }
    }

    /// Lets a call in, or refuses it. Waits only where the license is not known here or its lease has run out.
    ///
    /// # Errors
    /// The first rule that refuses. A refusal of a known license is recorded; nobody waits for that record.
    pub async fn admit(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: CallRequest<'_>,
    ) -> Result<Admitted, Refused> {
        if routed.route.open {
            return self.open(worker, routed, &request);
        }
        if let Presented::Token(secret) = request.presented {
            return self.admit_token(worker, routed, &request, secret).await;
        }
        let entry = match self.entry(worker, &routed, request.presented).await {
            Ok(entry) => entry,
            Err(refusal) => return Err(self.refuse(worker, &routed, refusal)),
        };
        match self.pass(&routed, &request, &entry).await {
            Ok(reservation) => {
                let head = routed.head_of(&request);
                self.issue(
                    worker,
                    routed,
                    head,
                    Paid {
                        entry,
                        reservation,
                        token: None,
                    },
                )
            }
            Err(refused) => Err(self.refuse_known(worker, &routed, &entry, routed.mode, &refused)),
        }
    }

    /// Refuses a call of a known license, and records that.
    pub(crate) fn refuse_known(
        &self,
        worker: &Worker,
        routed: &Routed,
        entry: &CachedLicense,
        mode: Mode,
        refused: &licensing::Refused,
    ) -> Refused {
        let (plan, text) = self.plan_symbol(worker, &routed.route, entry);
        worker.record_refusal(&RefusedCall {
            license_id: entry.license().id,
            plan: (plan, text.as_deref()),
            route: &routed.route,
            method: routed.method,
            mode,
            refusal: refused.refusal,
            call_id: routed.call_id,
            started: routed.started,
            started_at: routed.started_at,
        });
        let rate = refused.view.map(|view| (entry.effective().clone(), view));
        Refused {
            refusal: refused.refusal,
            call_id: routed.call_id,
            retry_after: refused.retry_after,
            rate,
            ..Refused::new(refused.refusal, routed.call_id)
        }
    }

    /// The ordered check and the limits.
    async fn pass(
        &self,
        routed: &Routed,
        request: &CallRequest<'_>,
        entry: &CachedLicense,
    ) -> Result<Reservation, licensing::Refused> {
        let now = routed.started_at;
        let permissions = !entry.license().spec.permissions.is_empty();
        let path = permissions.then(|| NormalPath::parse(request.path));
        let facts = CallFacts {
            now,
            address: request.address,
            target: match &path {
                Some(Ok(path)) => Some((routed.method, path.as_str())),
                Some(Err(_)) | None => None,
            },
        };
        entry.check(&facts).map_err(plain)?;
        // What no permission can be compared with is covered by none.
        if let Some(Err(_)) = path {
            return Err(plain(Refusal::PathAmbiguous));
        }
        let ask = Ask {
            units: routed.route.most_units,
            now,
            slot: true,
        };
        take(entry, ask, &mut None).await
    }

    fn open(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        request: &CallRequest<'_>,
    ) -> Result<Admitted, Refused> {
        let head = routed.head_of(request);
        self.ticket(worker, routed, head, None)
    }

    /// Lets in a call that is paid for.
    pub(crate) fn issue(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        head: CallHead,
        paid: Paid,
    ) -> Result<Admitted, Refused> {
        let plan = self.plan_symbol(worker, &routed.route, &paid.entry);
        if let Some(text) = plan.1
            && worker.lane.define(plan.0, text.as_bytes()).is_err()
        {
            paid.cancel();
            return Err(self.refuse(worker, &routed, Refusal::JournalUnavailable));
        }
        let reservation = &paid.reservation;
        let head = CallHead {
            license_id: Some(paid.entry.license().id),
            plan: plan.0,
            epoch: reservation.epoch(),
            limited: reservation.is_limited(),
            windowed: reservation.is_windowed(),
            // Windows are told from it: a call that waited for its lease may count in a later one.
            started_at: reservation.counted_at(),
            ..head
        };
        self.ticket(worker, routed, head, Some(paid))
    }

    /// Takes the room for the records of the call, so that no call is forwarded that cannot be recorded.
    fn ticket(
        &self,
        worker: &Arc<Worker>,
        routed: Routed,
        head: CallHead,
        paid: Option<Paid>,
    ) -> Result<Admitted, Refused> {
        let (lane, route) = (&worker.lane, &routed.route);
        let space = lane
            .define(route.app.symbol, route.app.symbol_text.as_bytes())
            .and_then(|()| lane.define(route.symbol, route.symbol_text.as_bytes()))
            .and_then(|()| lane.reserve(Self::PAYLOAD, 2));
        let Ok(space) = space else {
            if let Some(paid) = paid {
                paid.cancel();
            }
            return Err(self.refuse(worker, &routed, Refusal::JournalUnavailable));
        };
        let rate = paid.as_ref().and_then(|paid| paid.reservation.view());
        let (entry, reservation, token) = match paid {
            Some(paid) => (Some(paid.entry), Some(paid.reservation), paid.token),
            None => (None, None, None),
        };
        Ok(Admitted::new(Ticket {
            worker: worker.clone(),
            route: routed.route,
            entry,
            head,
            started: routed.started,
            reservation,
            token,
            space: Some(space),
            rate,
        }))
    }
}

/// What whoever takes methods for words of any case is told.
pub(crate) const MISSPELLED: &str = "write the method in capitals, such as `GET`";

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

/// Takes what a call needs of a license's limits, all or nothing; waits where the store must be asked.
///
/// Units that were leased for this call alone are used, or given back if they are not what it asks for; with a refusal they
/// stay where they were.
pub(crate) async fn take(
    entry: &CachedLicense,
    ask: Ask,
    leased: &mut Option<HeldUnits>,
) -> Result<Reservation, licensing::Refused> {
    let held = leased.filter(|held| entry.serves(&ask, *held));
    if held.is_none() {
        *leased = None;
    }
    let ask = Ask {
        units: if held.is_some() { 0 } else { ask.units },
        ..ask
    };
    let mut reservation = match entry.reserve(&ask) {
        Ok(reservation) => reservation,
        Err(ReserveError::Refused(refused)) => return Err(refused),
        Err(ReserveError::NeedLease) => entry.acquire(&ask).await?,
    };
    // A call that waited, here or for its license, may have been overtaken by a revocation, which is in force once it
    // has returned (G5).
    if let Some(refusal) = entry.cut(ask.now) {
        entry.cancel(reservation);
        return Err(plain(refusal));
    }
    if let Some(held) = held {
        reservation.hold(held);
        *leased = None;
    }
    Ok(reservation)
}

/// A refusal that has nothing to do with limits.
pub(crate) const fn plain(refusal: Refusal) -> licensing::Refused {
    licensing::Refused {
        refusal,
        retry_after: None,
        view: None,
        held_elsewhere: false,
    }
}
