//! Spending without forwarding: a verification, a token, a stamp. The same check, limits and record as a forwarded call.

use std::sync::Arc;

use journal::Position;
use licensing::{Ask, CachedLicense, ClaimedToken, HeldUnits, RateView, Reservation};
use model::{
    Address, AppName, CallFacts, CallHead, CallId, CallRecord, CallTail, Ending, LicenseId, Method,
    Mode, Moment, NormalPath, Refusal, Symbol, Timestamp,
};

use crate::admit::{Gate, Paid, Routed, plain, take};
use crate::app::{App, Resolved, Route};
use crate::refused::Refused;
use crate::settle::{self, Closing};
use crate::worker::Worker;

/// Something to be spent. It is over when it is made known: there is nothing to forward and nothing to wait for.
#[derive(Clone, Copy, Debug)]
pub struct Spend<'a> {
    /// Who pays.
    pub holder: Holder<'a>,
    /// The app that it must be a license of; `None`: whichever the license is one of.
    pub app: Option<&'a AppName>,
    /// Method and path that were called, by which the route and its price are found and the license's permissions are
    /// asked; `None`: none, one unit of the app as a whole.
    pub target: Option<(Method, &'a NormalPath<'a>)>,
    /// By which way it is spent.
    pub mode: Mode,
    /// The status of what was done: whether it is billed depends on it.
    pub status: u16,
    /// Units used, of a target only where its route takes them from the answer (`units_header`) and at most as many as that
    /// may say; `None`: those of the route.
    pub units: Option<u64>,
    /// From where the call came, for allow-lists.
    pub address: Option<Address>,
    /// Whether the call was made elsewhere and is reported here, so that no address is judged.
    pub elsewhere: bool,
    /// Hash of the caller's idempotency key ([`model::key::digest_u64`]); 0 where there is none.
    pub idempotency: u64,
    /// What happens when the limits of the license are reached.
    pub limits: AtLimit,
    /// The identity of the call where it was given before, as to what is completed after a crash; `None`: a new one.
    pub call_id: Option<CallId>,
}

/// Who pays.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    /// The license of this credential.
    Credential(&'a [u8]),
    /// This license, by whatever stands for it.
    License(LicenseId),
    /// What was found before by the look-up of a credential.
    Found(&'a Arc<CachedLicense>),
}

/// What happens when a rate limit or the quota is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimit {
    /// It is refused.
    #[default]
    Refuse,
    /// It is recorded all the same, and says so: the work is done.
    Record,
}

/// What was spent. Its record is as durable as the app asks.
#[derive(Clone, Debug)]
pub struct Spent {
    /// The identity of the call.
    pub call_id: CallId,
    /// When it counts.
    pub at: Timestamp,
    /// The license that paid, with its plan and limits.
    pub entry: Arc<CachedLicense>,
    /// The route that it was priced by.
    pub route: Arc<Route>,
    /// Units used.
    pub units: u64,
    /// Whether it is billed.
    pub billable: bool,
    /// The limit that it went beyond, with [`AtLimit::Record`].
    pub over_quota: Option<Refusal>,
    /// Units left after it, as far as this gate knows; `None` where none are counted.
    pub left: Option<u64>,
    /// The tightest rate window, it counted; `None`: the license has no windows.
    pub rate: Option<RateView>,
}

/// The answer of the limits.
enum Taken {
    Within(Reservation),
    Beyond(Refusal),
}

impl std::fmt::Debug for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Credential(_) => f.write_str("Credential(redacted)"),
            Self::License(id) => write!(f, "License({id})"),
            Self::Found(entry) => write!(f, "Found({})", entry.license().id),
        }
    }
}

impl<'a> Spend<'a> {
    /// One unit of a license's own app, refused at its limits, with status 200.
    #[must_use]
    pub const fn one(holder: Holder<'a>, mode: Mode) -> Self {
        Self {
            holder,
            app: None,
            target: None,
            mode,
            status: 200,
            units: None,
            address: None,
            elsewhere: false,
            idempotency: 0,
            limits: AtLimit::Refuse,
            call_id: None,
        }
    }
}

impl Gate {
    /// Spends: check, limits, record. Returns when the record is as durable as the app asks (G1). Units come back at once
    /// where the status is not billed. No concurrency is held or asked for.
    ///
    /// A future that is dropped before its end may have spent: then there is a record.
    ///
    /// # Errors
    /// The first rule that refuses; a refusal of a known license is recorded, nobody waits for that record.
    /// [`Refusal::JournalUnavailable`] after the record was written leaves open whether it is kept.
    pub async fn spend(&self, worker: &Arc<Worker>, spend: Spend<'_>) -> Result<Spent, Refused> {
        self.spend_with(worker, spend, None).await
    }

    /// Spends what a token stands for: it is used, or given back where nothing was recorded.
    pub(crate) async fn spend_with(
        &self,
        worker: &Arc<Worker>,
        spend: Spend<'_>,
        mut token: Option<ClaimedToken>,
    ) -> Result<Spent, Refused> {
        let (routed, entry) = self.find_spend(worker, &spend).await?;
        let mut nothing = None;
        let leased = match &mut token {
            Some(token) => &mut token.leased,
            None => &mut nothing,
        };
        let taken = match self.limits(&routed, &spend, &entry, leased).await {
            Ok(taken) => taken,
            Err(refused) => {
                if let Some(token) = token {
                    token.give_back().await;
                }
                return Err(self.refuse_known(worker, &routed, &entry, spend.mode, &refused));
            }
        };
        let written = self.write_spent(worker, &routed, &spend, entry, taken, &mut token);
        let (spent, position) = written.map_err(|refusal| self.refuse(worker, &routed, refusal))?;
        // From here on there is a record, whatever becomes of whoever waits for it.
        let durable = routed.route.app.waits_for_disk;
        if durable && worker.lane.wait_durable(position).await.is_err() {
            if let Some(token) = token {
                token.finish_soon(spend.status);
            }
            return Err(self.refuse(worker, &routed, Refusal::JournalUnavailable));
        }
        if let Some(token) = token {
            token.finish(spend.status).await;
        }
        Ok(spent)
    }

    /// Who pays, and by which route.
    pub(crate) async fn find_spend(
        &self,
        worker: &Arc<Worker>,
        spend: &Spend<'_>,
    ) -> Result<(Routed, Arc<CachedLicense>), Refused> {
        let started = worker.now();
        let started_at = worker.wall(started);
        let call_id = spend.call_id.unwrap_or_else(|| worker.next_id(started_at));
        let unknown = |app: u32, refusal| {
            worker.count_refusal(app, refusal);
            Refused::new(refusal, call_id)
        };
        let entry = self.holder(worker, spend.holder, started).await;
        let entry = entry.map_err(|refusal| unknown(Symbol::NONE, refusal))?;
        let license = entry.license();
        let other = |app: &AppName| !license.app.is_every() && *app != license.app;
        if spend.app.is_some_and(other) {
            return Err(unknown(Symbol::NONE, Refusal::LicenseUnknown));
        }
        let resolved = {
            let catalogue = self.catalogue.load();
            let apps = &catalogue.apps;
            // A license of every app is priced as the app that is named, or else as the first of its account.
            let app = match spend.app {
                Some(app) => Some(app),
                None if license.app.is_every() => apps.first_of(&license.account),
                None => Some(&license.app),
            };
            app.map_or(Resolved::NoApp, |app| apps.resolve_named(app, spend.target))
        };
        let opens = |app: &App| license.opens(&app.account, &app.name);
        let route = match resolved {
            Resolved::Route(route) if opens(&route.app) => route,
            Resolved::Route(_) => return Err(unknown(Symbol::NONE, Refusal::LicenseUnknown)),
            Resolved::NoRoute(app) => return Err(unknown(app.symbol, Refusal::RouteUnknown)),
            Resolved::NoMethod(app, _) => {
                return Err(unknown(app.symbol, Refusal::MethodNotAllowed));
            }
            Resolved::NoApp | Resolved::Ambiguous(_) => {
                return Err(unknown(Symbol::NONE, Refusal::AppUnknown));
            }
        };
        let method = spend.target.map_or(Method::Other, |(method, _)| method);
        let routed = Routed {
            route,
            call_id,
            method,
            mode: spend.mode,
            started,
            started_at,
        };
        Ok((routed, entry))
    }

    /// The license of a holder.
    async fn holder(
        &self,
        worker: &Worker,
        holder: Holder<'_>,
        now: Moment,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        match holder {
            Holder::Credential(credential) => self.look_up(worker, credential, now).await,
            Holder::License(id) => {
                let found = worker.admission.license_by_id(id, now).await?;
                found.ok_or(Refusal::LicenseUnknown)
            }
            Holder::Found(entry) => Ok(entry.clone()),
        }
    }

    /// The ordered check and the limits.
    async fn limits(
        &self,
        routed: &Routed,
        spend: &Spend<'_>,
        entry: &CachedLicense,
        leased: &mut Option<HeldUnits>,
    ) -> Result<Taken, licensing::Refused> {
        // Who was let in elsewhere stands in for an address that is allowed.
        let allowed = || {
            entry
                .license()
                .spec
                .allow_ips
                .first()
                .map(|net| net.addr().into())
        };
        let facts = CallFacts {
            now: routed.started_at,
            address: if spend.elsewhere {
                allowed()
            } else {
                spend.address
            },
            target: spend.target.map(|(method, path)| (method, path.as_str())),
        };
        entry.check(&facts).map_err(plain)?;
        let ask = Ask {
            units: if keeps_units(&routed.route, spend.status) {
                units(routed, spend)
            } else {
                0
            },
            now: routed.started_at,
            slot: false,
        };
        match take(entry, ask, leased).await {
            Ok(reservation) => Ok(Taken::Within(reservation)),
            Err(refused) if spend.limits == AtLimit::Record && is_limit(refused.refusal) => {
                Ok(Taken::Beyond(refused.refusal))
            }
            // What was done does not wait for what others give back: here nothing is left.
            Err(refused) if spend.limits == AtLimit::Record && refused.held_elsewhere => {
                Ok(Taken::Beyond(Refusal::QuotaExhausted))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Writes the record and settles what was taken; also the position that makes it durable. Without room in the journal
    /// everything is given back, the token too.
    fn write_spent(
        &self,
        worker: &Arc<Worker>,
        routed: &Routed,
        spend: &Spend<'_>,
        entry: Arc<CachedLicense>,
        taken: Taken,
        token: &mut Option<ClaimedToken>,
    ) -> Result<(Spent, Position), Refusal> {
        let (reservation, beyond) = match taken {
            Taken::Within(reservation) => (Some(reservation), None),
            Taken::Beyond(refusal) => (None, Some(refusal)),
        };
        let (lane, route) = (&worker.lane, &routed.route);
        let (plan, text) = self.plan_symbol(worker, route, &entry);
        let defined = match &text {
            Some(text) => lane.define(plan, text.as_bytes()),
            None => Ok(()),
        };
        let space = defined
            .and_then(|()| lane.define(route.app.symbol, route.app.symbol_text.as_bytes()))
            .and_then(|()| lane.define(route.symbol, route.symbol_text.as_bytes()))
            .and_then(|()| lane.reserve(CallRecord::LENGTH as u32, 1));
        let Ok(space) = space else {
            if let Some(reservation) = reservation {
                let paid = Paid {
                    entry,
                    reservation,
                    token: token.take(),
                };
                paid.cancel();
            }
            return Err(Refusal::JournalUnavailable);
        };
        let head = CallHead {
            license_id: Some(entry.license().id),
            plan,
            ..head(routed, spend, reservation.as_ref())
        };
        let tail = tail(worker, routed, &head, beyond);
        let written = lane.single(space, &CallRecord { head, tail }.encode());
        let spent = Spent {
            call_id: head.call_id,
            at: head.started_at,
            units: tail.units,
            billable: tail.billable,
            over_quota: beyond,
            left: reservation.as_ref().and_then(Reservation::left),
            rate: reservation.as_ref().and_then(Reservation::view),
            route: route.clone(),
            entry,
        };
        if let Some(reservation) = reservation {
            spent.entry.settle(reservation, tail.spent);
        }
        worker.count_call(&head, &tail);
        Ok((spent, written.position))
    }
}

fn head(routed: &Routed, spend: &Spend<'_>, reservation: Option<&Reservation>) -> CallHead {
    CallHead {
        mode: spend.mode,
        status: spend.status,
        // Windows are told from it: what waited for its lease may count in a later one.
        started_at: reservation.map_or(routed.started_at, Reservation::counted_at),
        reserved: units(routed, spend),
        epoch: reservation.map_or(0, Reservation::epoch),
        billable_status: routed.route.bills_own_way(spend.status),
        limited: reservation.is_some_and(Reservation::is_limited),
        windowed: reservation.is_some_and(Reservation::is_windowed),
        idempotency: spend.idempotency,
        ..routed.head()
    }
}

fn tail(worker: &Worker, routed: &Routed, head: &CallHead, beyond: Option<Refusal>) -> CallTail {
    let closing = Closing {
        ending: DONE,
        attempts: 0,
        request_bytes: 0,
        response_bytes: 0,
        upstream_us: 0,
        at: worker.now(),
    };
    let tail = settle::tail(head, &routed.route, &closing, true, routed.started);
    match beyond {
        None => tail,
        // Nothing was taken from the balance, and the record says which limit it went beyond. The two words for a used-up
        // quota are told apart by the status of a refusal, which this is none.
        Some(refusal) => CallTail {
            refusal: Some(match refusal {
                Refusal::QuotaExhaustedForNow => Refusal::QuotaExhausted,
                other => other,
            }),
            spent: 0,
            ..tail
        },
    }
}

/// What was done is done, and its status is that of who did it.
const DONE: Ending = Ending {
    error: None,
    response_complete: true,
    forwarded_status: true,
};

/// What is said of a call is heeded where the answers of its route would be, within the same bound.
fn units(routed: &Routed, spend: &Spend<'_>) -> u64 {
    let route = &routed.route;
    match (spend.units, spend.target) {
        (Some(said), None) => said,
        (Some(said), Some(_)) if route.units_header.is_some() => said.min(route.most_units),
        _ => route.units,
    }
}

/// Whether units stay spent with this status.
fn keeps_units(route: &Route, status: u16) -> bool {
    let billed = route.bills_own_way(status) && route.app.bills(DONE.outcome());
    billed || route.app.counts_all
}

/// Whether a refusal is about how much is used, not about who uses it.
const fn is_limit(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::QuotaExhausted | Refusal::QuotaExhaustedForNow | Refusal::RateLimited
    )
}
