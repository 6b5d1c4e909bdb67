//! Spending without forwarding: a verification, a token, a stamp. The check, the limits and the
//! record are those of a forwarded call.

use std::sync::Arc;

use journal::Position;
use licensing::{Ask, CachedLicense, ClaimedToken, HeldUnits, RateView, Reservation};
use model::agent::CallingAgent;
use model::{
    Address, AppName, CallFacts, CallHead, CallId, CallRecord, CallTail, Ending, LicenseId, Method,
    Mode, Moment, NormalPath, Refusal, Symbol, Timestamp,
};

use crate::admit::Payment;
use crate::app::{App, Route};
use crate::apps::Resolved;
use crate::catalogue::PlanSymbol;
use crate::gate::Gate;
use crate::payer::Parties;
use crate::refused::Refused;
use crate::reserve::refused_by_rule;
use crate::routed::Routed;
use crate::settle::{self, Closing};
use crate::worker::Worker;

/// A use of a license that is not forwarded. No call is under way, so that it holds no slot of the
/// license's concurrency.
#[derive(Clone, Copy, Debug)]
pub struct Spend<'a> {
    /// The license that the use is checked and recorded for.
    pub holder: Holder<'a>,
    /// The one who pays. A token pays for itself.
    pub payer: Payer<'a>,
    /// The app that it must be a license of; `None`: any.
    pub app: Option<&'a AppName>,
    /// The method and the path that were called. They determine the route and its price, and the
    /// license's permissions must cover them; `None`: one unit of the app as a whole.
    pub target: Option<(Method, &'a NormalPath<'a>)>,
    /// The way in which it is spent.
    pub mode: Mode,
    /// The status of the work, which decides whether it is billed.
    pub status: u16,
    /// The units used; `None`: those of the route. With a target they count only where its route
    /// takes units from the answer (`units_header`), at most as many as an answer may name.
    pub units: Option<u64>,
    /// The caller's address, for allow-lists.
    pub address: Option<Address>,
    /// Whether the call was made elsewhere and is reported here, so that no address is checked.
    pub elsewhere: bool,
    /// The hash of the caller's idempotency key, or of the device that is validated
    /// ([`model::key::digest_u64`]); 0 where there is none.
    pub idempotency: u64,
    /// Whether the record notes which credential of the license was presented.
    pub notes_credential: bool,
    /// The treatment of a license whose limits are reached.
    pub limits: AtLimit,
    /// The identity of the call where it has one already, such as work that is completed after a
    /// crash; `None`: a new one.
    pub call_id: Option<CallId>,
}

/// A license, by whatever is known of it.
#[derive(Clone, Copy)]
pub enum Holder<'a> {
    /// The license of this credential.
    Credential(&'a [u8]),
    /// The license with this id.
    License(LicenseId),
    /// The license that an earlier look-up found.
    Found(&'a Arc<CachedLicense>),
}

/// The one who pays for a use.
#[derive(Clone, Copy, Debug, Default)]
pub enum Payer<'a> {
    /// The license that it is recorded for.
    #[default]
    Holder,
    /// Another license, such as the wallet of an account. Its units stay spent whatever the status,
    /// no plan prices them, and the holder's own units and rate limits are not touched. One with
    /// too few units, or that is disabled or revoked itself, is refused with
    /// [`Refusal::QuotaExhausted`] (with a refill [`Refusal::QuotaExhaustedForNow`]), which no
    /// holder beside it is.
    Other(Holder<'a>),
    /// Nobody: it is recorded, no units or rate limits are touched, and no plan prices it. For uses
    /// that cost credits, of an account that has no wallet.
    Nobody,
}

/// The treatment of a use when a rate limit or the quota is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtLimit {
    /// The use is refused.
    #[default]
    Refuse,
    /// The use is recorded all the same, with the limit that it went beyond: the work is done.
    Record,
}

/// A use that was spent and recorded. Its record is as durable as the app asks.
#[derive(Clone, Debug)]
pub struct Spent {
    /// The identity of the call.
    pub call_id: CallId,
    /// The time at which it counts.
    pub at: Timestamp,
    /// The license that the use was recorded for, with its plan and limits.
    pub entry: Arc<CachedLicense>,
    /// The route by which it was priced.
    pub route: Arc<Route>,
    /// The units used.
    pub units: u64,
    /// Whether it is billed.
    pub billable: bool,
    /// The limit that it went beyond; `None` unless [`AtLimit::Record`] was asked for.
    pub over_quota: Option<Refusal>,
    /// The units that the payer has left after it, as far as this gate knows; `None` where none are
    /// counted.
    pub left: Option<u64>,
    /// The payer's tightest rate window, with this use counted; `None`: it has no windows.
    pub rate: Option<RateView>,
}

/// The decision of the limits about a use.
pub(crate) enum LimitDecision {
    Within(Reservation),
    /// A limit is reached, and the use is recorded all the same.
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
    /// Returns a use of one unit of a license's own app with status 200, refused at its limits.
    #[must_use]
    pub const fn one(holder: Holder<'a>, mode: Mode) -> Self {
        Self {
            holder,
            payer: Payer::Holder,
            app: None,
            target: None,
            mode,
            status: 200,
            units: None,
            address: None,
            elsewhere: false,
            idempotency: 0,
            notes_credential: false,
            limits: AtLimit::Refuse,
            call_id: None,
        }
    }
}

impl Gate {
    /// Checks a license, takes units of its limits and writes the record. Returns when the record
    /// is as durable as the app asks (G1). Units come back at once where the status is not billed.
    /// No concurrency is held or asked for.
    ///
    /// A future that is dropped before its end may have spent: then there is a record.
    ///
    /// # Errors
    /// The first rule that refuses. A refusal of a known license is recorded; nobody waits for that
    /// record. [`Refusal::JournalUnavailable`] after the record was written leaves open whether it
    /// is kept.
    pub async fn spend(&self, worker: &Arc<Worker>, spend: Spend<'_>) -> Result<Spent, Refused> {
        self.spend_with(worker, spend, None).await
    }

    /// Spends as [`Gate::spend`], with a claimed token: the token is used, or given back where
    /// nothing was recorded.
    pub(crate) async fn spend_with(
        &self,
        worker: &Arc<Worker>,
        spend: Spend<'_>,
        mut token: Option<ClaimedToken>,
    ) -> Result<Spent, Refused> {
        let (routed, entry) = self.find_spend(worker, &spend).await?;
        let parties = self.parties(worker, &routed, &spend, &entry).await;
        let mut nothing = None;
        let leased = match &mut token {
            Some(token) => &mut token.leased,
            None => &mut nothing,
        };
        let taken = match parties.map_err(refused_by_rule) {
            Ok(parties) => {
                let taken = self.limits(&routed, &spend, &parties, leased).await;
                taken.map(|taken| (parties, taken))
            }
            Err(refused) => Err(refused),
        };
        let (parties, taken) = match taken {
            Ok(taken) => taken,
            Err(refused) => {
                if let Some(token) = token {
                    token.give_back().await;
                }
                return Err(self.refuse_known(worker, &routed, &entry, &refused));
            }
        };
        self.record(worker, &routed, &spend, parties, taken, token)
            .await
    }

    /// Writes the record of a use whose units are taken, and waits until it is as durable as the
    /// app asks. A token is used, or given back where nothing was recorded.
    pub(crate) async fn record(
        &self,
        worker: &Arc<Worker>,
        routed: &Routed,
        spend: &Spend<'_>,
        parties: Parties,
        taken: LimitDecision,
        mut token: Option<ClaimedToken>,
    ) -> Result<Spent, Refused> {
        let written = self.write_spent(worker, routed, spend, parties, taken, &mut token);
        let (spent, position) = written.map_err(|refusal| self.refuse(worker, routed, refusal))?;
        // From here on there is a record, whether or not somebody waits for it.
        let durable = routed.route.app.waits_for_disk;
        if durable && worker.lane.wait_durable(position).await.is_err() {
            if let Some(token) = token {
                token.finish_soon(spend.status);
            }
            return Err(self.refuse(worker, routed, Refusal::JournalUnavailable));
        }
        if let Some(token) = token {
            token.finish(spend.status).await;
        }
        Ok(spent)
    }

    /// Finds the license of the holder, and the route by which the use is priced.
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
            // A license of every app is priced as the app that is named, or else as the first of
            // its account.
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

    /// Returns the license of a holder.
    pub(crate) async fn holder(
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

    /// Applies the ordered check, then takes what the use needs of the limits.
    pub(crate) async fn limits(
        &self,
        routed: &Routed,
        spend: &Spend<'_>,
        parties: &Parties,
        leased: &mut Option<HeldUnits>,
    ) -> Result<LimitDecision, licensing::Refused> {
        let entry = &parties.user;
        // A call made elsewhere was let in there. An address that is allowed stands in for its
        // caller's.
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
            // A use without a target is none of a route.
            features: match spend.target {
                Some(_) => &routed.route.features,
                None => &[],
            },
            // So was the agent that showed its token there.
            agent: match entry.license().spec.agent.as_deref() {
                Some(whose) if spend.elsewhere && spend.mode == Mode::Agent => Some(CallingAgent {
                    operator: &whose.operator,
                    agent: whose.agent.as_ref(),
                }),
                _ => None,
            },
        };
        entry.check(&facts).map_err(refused_by_rule)?;
        let ask = Ask {
            units: if keeps_units(&routed.route, spend, parties) {
                units(routed, spend)
            } else {
                0
            },
            now: routed.started_at,
            slot: false,
        };
        match parties.reserve(ask, leased).await {
            Ok(reservation) => Ok(LimitDecision::Within(reservation)),
            Err(refused) if spend.limits == AtLimit::Record && is_limit(refused.refusal) => {
                Ok(LimitDecision::Beyond(refused.refusal))
            }
            // Work that is done does not wait for units that other gates may give back: none is
            // left here.
            Err(refused) if spend.limits == AtLimit::Record && refused.held_elsewhere => {
                Ok(LimitDecision::Beyond(Refusal::QuotaExhausted))
            }
            Err(refused) => Err(refused),
        }
    }

    /// Writes the record and settles what was taken. Returns the position at which the record is
    /// durable, too. Without room in the journal everything is given back, the token as well.
    fn write_spent(
        &self,
        worker: &Arc<Worker>,
        routed: &Routed,
        spend: &Spend<'_>,
        parties: Parties,
        taken: LimitDecision,
        token: &mut Option<ClaimedToken>,
    ) -> Result<(Spent, Position), Refusal> {
        let (reservation, beyond) = match taken {
            LimitDecision::Within(reservation) => (Some(reservation), None),
            LimitDecision::Beyond(refusal) => (None, Some(refusal)),
        };
        let route = &routed.route;
        let catalogue = self.catalogue.load();
        let plan = if parties.pays_for_itself() {
            catalogue.plan_of(&worker.admission, route, &parties.user)
        } else {
            None
        };
        let Ok(space) = worker.room_for(route, plan, CallRecord::LENGTH as u32, 1) else {
            if let Some(reservation) = reservation {
                let payment = Payment {
                    charge: None,
                    entry: parties.payer().clone(),
                    reservation,
                    token: token.take(),
                };
                payment.cancel();
            }
            return Err(Refusal::JournalUnavailable);
        };
        let paid_head = routed.paid_head(
            parties.user.license().id,
            PlanSymbol::number_of(plan),
            reservation.as_ref(),
        );
        let head = CallHead {
            status: spend.status,
            reserved: units(routed, spend),
            billable_status: route.bills_own_way(spend.status),
            idempotency: spend.idempotency,
            credential_id: spend.notes_credential.then(|| parties.user.credential().id),
            keeps_units: paid_head.keeps_units || parties.other_id().is_some(),
            ..paid_head
        };
        let tail = CallTail {
            payer: parties.other_id().map(LicenseId::as_u128),
            ..tail(worker, routed, &head, beyond)
        };
        let written = worker
            .lane
            .single(space, &CallRecord { head, tail }.encode());
        let spent = Spent {
            call_id: head.call_id,
            at: head.started_at,
            units: tail.units,
            billable: tail.billable,
            over_quota: beyond,
            left: reservation.as_ref().and_then(Reservation::left),
            rate: reservation.as_ref().and_then(Reservation::view),
            route: route.clone(),
            entry: parties.user.clone(),
        };
        if let Some(reservation) = reservation {
            parties.settle(reservation, tail.spent);
        }
        worker.count_call(&head, &tail);
        Ok((spent, written.position))
    }
}

pub(crate) fn tail(
    worker: &Worker,
    routed: &Routed,
    head: &CallHead,
    beyond: Option<Refusal>,
) -> CallTail {
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
        // Nothing was taken from the balance, and the record says which limit it went beyond. The
        // two codes for a used-up quota differ by the status of a refusal, and this is no refusal.
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

/// The ending of every use that is not forwarded: whole, with the status that [`Spend`] names.
const DONE: Ending = Ending {
    error: None,
    response_complete: true,
    forwarded_status: true,
};

/// Returns the units of a use. Those that `spend` names count where the answers of the route name
/// units too, and at most as many as an answer may name.
fn units(routed: &Routed, spend: &Spend<'_>) -> u64 {
    let route = &routed.route;
    match (spend.units, spend.target) {
        (Some(said), None) => said,
        (Some(said), Some(_)) if route.units_header.is_some() => said.min(route.max_units),
        _ => route.units,
    }
}

/// Returns whether the units of a use stay spent.
fn keeps_units(route: &Route, spend: &Spend<'_>, parties: &Parties) -> bool {
    let billed = route.bills_own_way(spend.status) && route.app.bills(DONE.outcome());
    billed || route.app.counts_all || parties.other_id().is_some()
}

/// Returns whether a refusal is about how much is used, not about who uses it.
const fn is_limit(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::QuotaExhausted | Refusal::QuotaExhaustedForNow | Refusal::RateLimited
    )
}
