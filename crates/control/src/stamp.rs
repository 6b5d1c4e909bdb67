//! Stamps: a provider reports a call that it served, and gets a signed statement of the charge.
//!
//! A report with an id is made once: sent again it gets the same answer, with other content it is a
//! conflict. The claim of the id keeps the id of the call, so that a report that broke off is
//! completed by the next one, and one that was recorded is found in the ledger rather than recorded
//! twice (G2).

use std::time::Duration;

use gate::{AtLimit, Holder, Refused, Spend};
use ledger::{CallLine, CallsQuery};
use licensing::{Idempotency, IdempotencyGuard, IdempotentRequest};
use model::{
    AccountName, AppName, CallId, LicenseId, Method, Mode, NormalPath, PlanName, Refusal, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::ClaimKind;

use crate::http::fault::Fault;
use crate::http::services::Services;

/// The report of a call that was served elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct StampRequest<'a> {
    /// The provider's id of the report, unique in its app, of at most
    /// [`StampRequest::MAX_ID_BYTES`] bytes; `None`: each report is a call of its own.
    pub id: Option<&'a str>,
    /// The holder of the license that pays.
    pub holder: Holder<'a>,
    /// The account that must sell the app; `None` for any.
    pub account: Option<&'a AccountName>,
    /// The app that the license must be for; `None` for whichever it is for.
    pub app: Option<&'a AppName>,
    /// The method of the call.
    pub method: Method,
    /// The path of the call.
    pub path: &'a NormalPath<'a>,
    /// The HTTP status of the call, which decides whether it is charged.
    pub status: u16,
    /// The units that the call used, if the route takes them from the answer; `None` for those of
    /// the route.
    pub units: Option<u64>,
}

/// The record of a call, with the signed statement of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The provider's id of the report.
    pub id: Option<String>,
    /// The id of the call.
    pub call_id: CallId,
    /// The time at which the call was recorded.
    pub at: Timestamp,
    /// The license that pays.
    pub license_id: LicenseId,
    /// The account that sells the app.
    pub account: AccountName,
    /// The app.
    pub app: AppName,
    /// The method of the call.
    pub method: Method,
    /// The path of the call, in normal form.
    pub path: String,
    /// The HTTP status of the call.
    pub status: u16,
    /// The units that the call used.
    pub units: u64,
    /// Whether the call is billed.
    pub billable: bool,
    /// Whether the call went beyond the limits of the license.
    pub over_quota: bool,
    /// The plan by which the call is priced.
    pub plan: Option<PlanName>,
    /// A JWS over the members above that anybody can verify against `/.well-known/jwks.json`.
    pub signed: String,
}

/// The reason for which there is no stamp.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// The license or its limits refuse the call; nothing was charged. Blame: caller.
    #[error("{}", .0.refusal.title())]
    Refused(Refused),
    /// The id is longer than [`StampRequest::MAX_ID_BYTES`], or empty. Blame: caller.
    #[error("an id has 1 to {} bytes", StampRequest::MAX_ID_BYTES)]
    Id,
    /// The id was used for another report. Blame: caller.
    #[error("the id was used for another report")]
    Conflict,
    /// The same report is being worked on, here or on another gate: ask again in a moment. Blame: caller.
    #[error("the same report is being worked on")]
    InProgress,
    /// The store or the ledger failed. Blame: us.
    #[error("{0}")]
    Fault(#[from] Fault),
}

impl StampRequest<'_> {
    /// The length of the longest id, in bytes.
    pub const MAX_ID_BYTES: usize = 255;
    /// The time for which an id is remembered: 90 days.
    pub const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 3_600);
}

/// The largest difference between clocks that the search for a call by its time allows for, in
/// microseconds.
const MAX_CLOCK_SKEW_US: i64 = 300_000_000;

impl Services {
    /// Records a call that was served elsewhere, charges it by the rule of its route, and returns
    /// the signed statement. A call beyond the limits of its license is recorded as well, and says
    /// so: the work is done.
    ///
    /// # Errors
    /// Returns [`StampError`], with the refusals of the license as well, such as for one that is
    /// revoked or another app's.
    pub async fn stamp(&self, request: &StampRequest<'_>) -> Result<Stamp, StampError> {
        let entry = match request.holder {
            Holder::Credential(credential) => self.spender().look_up(credential).await,
            Holder::License(id) => self.spender().license(id).await,
            Holder::Found(entry) => Ok(entry.clone()),
        };
        let entry = entry.map_err(|refusal| StampError::Refused(refused(refusal)))?;
        let license = entry.license();
        let other_app = |own: &AppName| !license.app.is_every() && *own != license.app;
        let foreign = request.account.is_some_and(|own| *own != license.account)
            || request.app.is_some_and(other_app);
        if foreign {
            return Err(StampError::Refused(refused(Refusal::LicenseUnknown)));
        }
        let request = StampRequest {
            holder: Holder::Found(&entry),
            ..*request
        };
        let Some(id) = request.id else {
            return self.record_stamp(&request, None).await;
        };
        if !(1..=StampRequest::MAX_ID_BYTES).contains(&id.len()) {
            return Err(StampError::Id);
        }
        let units = request.units.map(u64::to_le_bytes);
        // The ids of a license of every app belong to the app that is named.
        let app = request.app.unwrap_or(&license.app);
        let once = IdempotentRequest {
            kind: ClaimKind::Stamp,
            name: &[
                license.account.as_str().as_bytes(),
                app.as_str().as_bytes(),
                id.as_bytes(),
            ],
            content: &[
                &license.id.as_u128().to_le_bytes(),
                request.method.as_str().as_bytes(),
                request.path.as_str().as_bytes(),
                &request.status.to_le_bytes(),
                units.as_ref().map_or(&[][..], |units| &units[..]),
            ],
            reference: CallId::generate().as_u128(),
            prepared: None,
            waits_for_disk: true,
            lifetime: StampRequest::REMEMBERED,
            dead: &self.api().ledger.earlier_starts(),
        };
        match self.licensing().once(&once).await.map_err(Fault::from)? {
            Idempotency::Run(claim) => self.claimed_stamp(&request, license.id, claim).await,
            Idempotency::Replay { answer, .. } => serde_json::from_slice(&answer)
                .map_err(|error| StampError::Fault(Fault::internal(&error))),
            Idempotency::InProgress | Idempotency::Elsewhere(_) => Err(StampError::InProgress),
            Idempotency::Conflict => Err(StampError::Conflict),
        }
    }

    /// Completes a report whose id this caller has claimed.
    async fn claimed_stamp(
        &self,
        request: &StampRequest<'_>,
        license_id: LicenseId,
        claim: IdempotencyGuard,
    ) -> Result<Stamp, StampError> {
        let call_id = CallId::from_u128(claim.reference);
        let recorded = match claim.broken_off {
            Some(since) => self.recorded_call(license_id, call_id, since).await?,
            None => None,
        };
        let stamp = match recorded {
            Some(call) => self.found_stamp(request, &call),
            None => match self.record_stamp(request, Some(call_id)).await {
                Ok(stamp) => stamp,
                Err(error) => {
                    // A journal that failed may have kept the record: then the next report finds it.
                    let unsure = matches!(&error, StampError::Refused(refused) if refused.refusal == Refusal::JournalUnavailable);
                    if !unsure && let Err(error) = self.licensing().release_once(claim).await {
                        tracing::warn!(%error, "the id of a stamp stays taken although nothing was recorded");
                    }
                    return Err(error);
                }
            },
        };
        let answer = serde_json::to_vec(&stamp).expect("a stamp is plain data");
        if let Err(error) = self.licensing().finish_once(claim, answer).await {
            tracing::warn!(%error, "a stamp cannot be kept, the next report of it finds its record");
        }
        Ok(stamp)
    }

    /// Spends the units of a call, and signs the statement of it.
    async fn record_stamp(
        &self,
        request: &StampRequest<'_>,
        call_id: Option<CallId>,
    ) -> Result<Stamp, StampError> {
        let spend = Spend {
            app: request.app,
            target: Some((request.method, request.path)),
            status: request.status,
            units: request.units,
            elsewhere: true,
            idempotency: request
                .id
                .map_or(0, |id| model::key::digest_u64(id.as_bytes())),
            limits: AtLimit::Record,
            call_id,
            ..Spend::one(request.holder, Mode::Stamp)
        };
        let spent = self.spender().spend(spend).await;
        let spent = spent.map_err(StampError::Refused)?;
        let license = spent.entry.license();
        let plan = spent.entry.plan().map(|plan| plan.plan.name.clone());
        Ok(self.signed(Stamp {
            id: request.id.map(ToOwned::to_owned),
            call_id: spent.call_id,
            at: spent.at,
            license_id: license.id,
            account: license.account.clone(),
            app: spent.route.app.name.clone(),
            method: request.method,
            path: request.path.as_str().to_owned(),
            status: request.status,
            units: spent.units,
            billable: spent.billable,
            over_quota: spent.over_quota.is_some(),
            plan,
            signed: String::new(),
        }))
    }

    /// Returns the record of a call of a license that an earlier try may have left, which began at
    /// `since`.
    ///
    /// # Errors
    /// Whether there is one cannot be found out now.
    pub(crate) async fn recorded_call(
        &self,
        license_id: LicenseId,
        call_id: CallId,
        since: Timestamp,
    ) -> Result<Option<CallLine>, Fault> {
        let query = CallsQuery {
            license_id: Some(license_id),
            ..CallsQuery::default()
        };
        self.recorded_among(query, call_id, since).await
    }

    /// Returns the record of a call that an earlier try may have left, which began at `since`, among
    /// those of a query.
    ///
    /// # Errors
    /// Whether there is one cannot be found out now.
    pub(crate) async fn recorded_among(
        &self,
        query: CallsQuery,
        call_id: CallId,
        since: Timestamp,
    ) -> Result<Option<CallLine>, Fault> {
        let query = CallsQuery {
            from: Some(since.plus_micros(-MAX_CLOCK_SKEW_US)),
            ..query
        };
        let failed = |error: ledger::Error| match error {
            ledger::Error::Store(error) => Fault::from(error),
            error @ ledger::Error::Behind => {
                tracing::warn!(%error, "whether a call was recorded is not known");
                Fault::Unavailable
            }
            error => Fault::internal(&error),
        };
        let mut calls = self.api().ledger.calls(query).await.map_err(failed)?;
        while let Some(page) = calls.next_page().await.map_err(failed)? {
            if let Some(call) = page.into_iter().find(|call| call.call_id == call_id) {
                return Ok(Some(call));
            }
        }
        Ok(None)
    }

    /// Returns the stamp of a record that was found.
    fn found_stamp(&self, request: &StampRequest<'_>, call: &CallLine) -> Stamp {
        let account = match request.holder {
            Holder::Found(entry) => entry.license().account.clone(),
            Holder::Credential(_) | Holder::License(_) => AccountName::default(),
        };
        self.signed(Stamp {
            id: request.id.map(ToOwned::to_owned),
            call_id: call.call_id,
            at: call.started_at,
            license_id: call.license_id.unwrap_or_default(),
            account,
            app: call.app.clone(),
            method: request.method,
            path: request.path.as_str().to_owned(),
            status: call.status,
            units: call.units,
            billable: call.billable,
            over_quota: call.refusal.is_some(),
            plan: call.plan.clone(),
            signed: String::new(),
        })
    }

    fn signed(&self, stamp: Stamp) -> Stamp {
        let signed = self.api().signing.sign_stamp(&content(&stamp));
        Stamp { signed, ..stamp }
    }
}

/// Returns the content that is signed: the stamp without its signature, in members that are always
/// there.
fn content(stamp: &Stamp) -> Map<String, Value> {
    let value = serde_json::to_value(stamp).expect("a stamp is plain data");
    let Value::Object(mut members) = value else {
        return Map::new();
    };
    members.remove("signed");
    members
}

/// Returns the refusal of a report that came to no call, under a new id.
fn refused(refusal: Refusal) -> Refused {
    Refused::new(refusal, CallId::generate())
}
