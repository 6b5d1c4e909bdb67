//! The cached licenses, one for each credential, by which calls are judged.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use model::{
    ACCESS_TOKEN_KIND, Address, ApiKey, CallFacts, CredentialId, CredentialInfo, CredentialStatus,
    Device, License, LicenseStatus, PlanRevision, Refusal, Timestamp,
};
use store::ChangeNumber;

use super::state::LicenseState;
use crate::meter::{Ask, HeldUnits, Refused, Reservation, ReserveError, Stamp};
use crate::plans::{EffectiveLimits, Terms};

/// A credential with its license, as they were when they were read from the store. Immutable: a
/// change of the license makes a new one.
#[derive(Debug)]
pub struct CachedLicense {
    license: Arc<License>,
    credential: CachedCredential,
    devices: Arc<[Device]>,
    effective: Arc<EffectiveLimits>,
    plan: Option<Arc<PlanRevision>>,
    grace: Duration,
    awaits_plan: bool,
    stamp: Stamp,
    state: Arc<LicenseState>,
    api_key: Option<Arc<CachedApiKey>>,
}

/// The part of an API key that its verification needs beyond the license.
#[derive(Debug)]
pub struct CachedApiKey {
    /// The API key as it is shown.
    pub key: ApiKey,
    /// The first characters of the key that was presented.
    pub start: String,
}

impl CachedApiKey {
    pub(crate) fn new(key: ApiKey, start: &str) -> Self {
        Self {
            key,
            start: start.to_owned(),
        }
    }
}

/// The part of a presented credential that judging a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedCredential {
    /// The id of the credential.
    pub id: CredentialId,
    /// The status: whether the credential may be used.
    pub status: CredentialStatus,
    /// The end of the credential; `None`: that of the license.
    pub expires_at: Option<Timestamp>,
    /// Whether the credential is an access token.
    pub is_token: bool,
    /// The networks from which the credential may be used, in addition to what the license says;
    /// `None`: all.
    pub allow_ips: Option<Box<[IpNet]>>,
}

impl CachedLicense {
    pub(crate) fn new(
        license: Arc<License>,
        credential: CachedCredential,
        devices: Arc<[Device]>,
        terms: Terms,
        stamp: Stamp,
        state: Arc<LicenseState>,
        api_key: Option<Arc<CachedApiKey>>,
    ) -> Self {
        Self {
            license,
            credential,
            devices,
            effective: terms.effective,
            plan: terms.plan,
            grace: terms.grace,
            awaits_plan: terms.awaits_plan,
            stamp,
            state,
            api_key,
        }
    }

    /// Returns the API key; `None`: the license is none, or was found by its id.
    #[must_use]
    pub const fn api_key(&self) -> Option<&Arc<CachedApiKey>> {
        self.api_key.as_ref()
    }

    /// Returns the license. The caller compares whether it belongs to the app that was called.
    #[must_use]
    pub const fn license(&self) -> &Arc<License> {
        &self.license
    }

    /// Returns the credential that was presented.
    #[must_use]
    pub const fn credential(&self) -> &CachedCredential {
        &self.credential
    }

    /// Returns the devices that the license is bound to, in the order in which they were bound.
    #[must_use]
    pub const fn devices(&self) -> &Arc<[Device]> {
        &self.devices
    }

    /// Returns the limits that hold: the license's own or its plan's.
    #[must_use]
    pub const fn effective(&self) -> &Arc<EffectiveLimits> {
        &self.effective
    }

    /// Returns the plan revision by which calls are priced; `None`: the license has no plan.
    #[must_use]
    pub const fn plan(&self) -> Option<&Arc<PlanRevision>> {
        self.plan.as_ref()
    }

    /// Returns whether the license names a plan whose terms this gate does not know yet.
    /// [`Admission::with_plan`](crate::Admission::with_plan) waits for them.
    #[must_use]
    pub const fn awaits_plan(&self) -> bool {
        self.awaits_plan
    }

    /// Returns how long calls of this license pass while the store is out of reach.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        self.grace
    }

    /// Returns the number of the license's last change when it was read.
    #[must_use]
    pub const fn version(&self) -> ChangeNumber {
        self.stamp.version
    }

    pub(crate) const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Returns the state that all credentials of the license share.
    #[must_use]
    pub const fn state(&self) -> &Arc<LicenseState> {
        &self.state
    }

    /// Returns whether the license changed since it was read, so that it must be loaded again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.stamp.version < self.state.version()
    }

    /// Judges a call: the ordered check of `model`, with the status of the credential after the
    /// status of the license and before all else, and the networks of the credential beside those
    /// of the license, and last the features that the call needs. A revoked credential is refused as a revoked license, an ended one as an
    /// expired license; an access token that has ended is refused as a token that is not valid.
    ///
    /// # Errors
    /// The refusal of the first rule that is broken.
    pub fn check(&self, facts: &CallFacts<'_>) -> Result<(), Refusal> {
        self.check_credential(facts.now)?;
        match model::check(&self.license, facts) {
            Ok(()) | Err(Refusal::RouteNotPermitted)
                if !self.credential.may_come_from(facts.address) =>
            {
                Err(Refusal::IpNotAllowed)
            }
            Ok(()) if !self.has_features(facts.features) => Err(Refusal::RouteNotPermitted),
            judged => judged,
        }
    }

    /// Returns whether the license has all of these features, by its plan or its variables.
    fn has_features(&self, features: &[String]) -> bool {
        let of_plan = |feature: &String| {
            let plan = self.plan.as_ref();
            plan.is_some_and(|plan| plan.plan.features.contains(feature))
        };
        let own = &self.license.spec.variables;
        let has = |feature: &String| of_plan(feature) || own.features().any(|own| own == feature);
        features.iter().all(has)
    }

    /// Checks that license and credential may be used at all, from any address and for any call.
    ///
    /// # Errors
    /// The refusal of the first rule that is broken, in the order of [`check`](Self::check).
    pub fn standing(&self, now: Timestamp) -> Result<(), Refusal> {
        self.check_credential(now)?;
        model::check::standing(&self.license, now)
    }

    /// Returns why the license or this credential may not be used any more, as far as a running
    /// call must know; `None`: it may. Costs a few relaxed loads.
    ///
    /// An access token that ends at its announced time cuts no call; one that is ended sooner does.
    #[must_use]
    pub fn cut(&self, now: Timestamp) -> Option<Refusal> {
        let credential = &self.credential;
        let ended = || {
            if credential.is_token {
                let ended = self.state.tokens().was_ended(credential.id, now);
                return ended.then_some(Refusal::TokenInvalid);
            }
            let known = self.state.ended().refusal(credential.id, now);
            let end = credential.expires_at;
            known.or_else(|| {
                let over = end.is_some_and(|end| end <= now);
                over.then_some(Refusal::LicenseExpired)
            })
        };
        let of_license = self.state.cut_signal().refusal(now);
        of_license.or_else(ended)
    }

    fn check_credential(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.license.status == LicenseStatus::Active {
            if self.credential.status == CredentialStatus::Revoked {
                return Err(Refusal::LicenseRevoked);
            }
            let end = self.credential.expires_at;
            if end.is_some_and(|end| end <= now) {
                return Err(if self.credential.is_token {
                    Refusal::TokenInvalid
                } else {
                    Refusal::LicenseExpired
                });
            }
        }
        Ok(())
    }

    /// Reserves what a call needs, all or nothing, without waiting: a concurrency slot, a call of
    /// every window, and its units.
    ///
    /// # Errors
    /// [`ReserveError::Refused`] if a limit is reached. [`ReserveError::NeedLease`] if the store
    /// must be asked, which [`CachedLicense::acquire`] does.
    pub fn reserve(&self, ask: &Ask) -> Result<Reservation, ReserveError> {
        if self.effective.is_unlimited() {
            return Ok(Reservation::unlimited(ask));
        }
        let meter = self.state.meter();
        let (result, enqueue) = meter.reserve(&self.effective, self.stamp, ask);
        if enqueue {
            self.state.enqueue_for_lease();
        }
        self.state.report_counts();
        result
    }

    /// Reserves like [`CachedLicense::reserve`], and waits for a lease of the store where one is
    /// needed, up to the lease timeout.
    ///
    /// Dropping the future reserves nothing.
    ///
    /// # Errors
    /// A limit is reached, the store does not answer in time ([`Refusal::QuotaUnavailable`]), or
    /// the license was revoked or disabled while this waited.
    pub async fn acquire(&self, ask: &Ask) -> Result<Reservation, Refused> {
        let leased = self.acquire_without_limit(ask);
        let leased =
            store::suspend_aware::timeout(self.state.queues().leases.options().timeout, leased)
                .await;
        leased.unwrap_or_else(|_| Err(Refused::unavailable()))
    }

    async fn acquire_without_limit(&self, ask: &Ask) -> Result<Reservation, Refused> {
        loop {
            match self.reserve(ask) {
                Ok(reservation) => return Ok(reservation),
                Err(ReserveError::Refused(refused)) => return Err(refused),
                Err(ReserveError::NeedLease) => {
                    self.state
                        .queues()
                        .leases
                        .await_lease(&self.state, ask)
                        .await?;
                    if let Some(refusal) = self.cut(ask.now) {
                        return Err(Refused::plain(refusal));
                    }
                }
            }
        }
    }

    /// Returns whether units that were leased for one call alone are enough for `ask`. If not, they
    /// are given back.
    #[must_use]
    pub fn serves(&self, ask: &Ask, held: HeldUnits) -> bool {
        let serves = self.effective.counted && 0 < ask.units && ask.units <= held.units;
        if !serves
            && held.units > 0
            && self
                .state
                .meter()
                .give_back(&self.effective, self.stamp, held)
        {
            self.state.enqueue_for_lease();
        }
        serves
    }

    /// Frees the concurrency slot of a call whose work is done, before its reservation is ended, so
    /// that a caller who has the whole answer may call again at once.
    pub fn release_slot(&self, reservation: &mut Reservation) {
        self.state.meter().release_slot(reservation);
    }

    /// Ends the reservation of a call that may have reached the upstream. Its window counts stay,
    /// its unspent units come back (`spent` is clipped to what was reserved), and its concurrency
    /// slot is free.
    pub fn settle(&self, reservation: Reservation, spent: u64) {
        self.note_use(reservation.counted_at());
        self.state.settle(reservation, spent);
    }

    /// Notes when an API key was last used. [`CachedLicense::settle`] does it; it is for uses that
    /// another license pays for.
    pub fn note_use(&self, at: Timestamp) {
        if self.api_key.is_some() {
            self.state.queues().last_uses.note(self.state.id(), at);
        }
    }

    /// Ends the reservation of a call that was not sent. Everything comes back.
    pub fn cancel(&self, reservation: Reservation) {
        self.state.cancel(reservation);
    }
}

impl CachedCredential {
    /// Makes the credential of a cached license. An empty `allow_ips` means all networks.
    pub(crate) fn new(info: &CredentialInfo, allow_ips: Vec<IpNet>) -> Self {
        Self {
            id: info.id,
            status: info.status,
            expires_at: info.expires_at,
            is_token: info.kind == ACCESS_TOKEN_KIND,
            allow_ips: (!allow_ips.is_empty()).then(|| allow_ips.into()),
        }
    }

    /// Returns whether the credential may be used from an address. An unknown address passes only
    /// if all networks do.
    fn may_come_from(&self, address: Option<Address>) -> bool {
        self.allow_ips
            .as_deref()
            .is_none_or(|nets| address.is_some_and(|address| address.is_in(nets)))
    }
}
