//! Cached licenses: an entry for each credential, and one state that all credentials of a license
//! share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use model::{
    ACCESS_TOKEN_KIND, Address, ApiKey, CallFacts, Clock, CredentialId, CredentialInfo,
    CredentialStatus, License, LicenseId, LicenseStatus, PlanRevision, Refusal, Timestamp,
};
use store::{ChangeNumber, StoredLicense};

use crate::ended::{EndedCredentials, TokensInUse};
use crate::lease_queue::LeaseQueue;
use crate::meter::{Ask, HeldUnits, Meter, Refused, Reservation, ReserveError, Stamp};
use crate::plans::{EffectiveLimits, Terms};

/// A credential with its license, as they were when they were read from the store. Immutable: a
/// change of the license makes a new one.
#[derive(Debug)]
pub struct CachedLicense {
    license: Arc<License>,
    credential: CachedCredential,
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
    /// When the credential ends; `None`: with the license.
    pub expires_at: Option<Timestamp>,
    /// Whether the credential is an access token.
    pub is_token: bool,
    /// The networks from which the credential may be used, in addition to what the license says;
    /// `None`: all.
    pub allow_ips: Option<Box<[IpNet]>>,
}

/// The state that all credentials of a license share on this gate: the number of the last change,
/// the meter, and the signal that cuts running calls. There is one of them for a license at any
/// time.
#[derive(Debug)]
pub struct LicenseState {
    id: LicenseId,
    version: AtomicU64,
    cut: CutSignal,
    ended: EndedCredentials,
    tokens: TokensInUse,
    meter: Meter,
    lease_queue: Arc<LeaseQueue>,
}

/// The signal to running calls that their license may not be used any more (G5).
#[derive(Debug)]
pub struct CutSignal {
    refusal: AtomicU8,
    expires_at: AtomicI64,
}

impl CachedLicense {
    pub(crate) fn new(
        license: Arc<License>,
        credential: CachedCredential,
        terms: Terms,
        stamp: Stamp,
        state: Arc<LicenseState>,
        api_key: Option<Arc<CachedApiKey>>,
    ) -> Self {
        Self {
            license,
            credential,
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
    /// [`Licensing::with_plan`](crate::Licensing::with_plan) waits for them.
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
    /// of the license. A revoked credential is refused as a revoked license, an ended one as an
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
            judged => judged,
        }
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
                let ended = self.state.tokens.was_ended(credential.id, now);
                return ended.then_some(Refusal::TokenInvalid);
            }
            let known = self.state.ended.refusal(credential.id, now);
            let end = credential.expires_at;
            known.or_else(|| {
                let over = end.is_some_and(|end| end <= now);
                over.then_some(Refusal::LicenseExpired)
            })
        };
        let of_license = self.state.cut.refusal(now);
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
        let meter = &self.state.meter;
        let (result, enqueue) = meter.reserve(&self.effective, self.stamp, ask);
        if enqueue {
            self.state.lease_queue.enqueue(&self.state);
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
    /// A limit is reached, the store does not answer in time ([`Refusal::QuotaUnavailable`]), or the license was revoked
    /// or disabled while this waited.
    pub async fn acquire(&self, ask: &Ask) -> Result<Reservation, Refused> {
        let leased = self.acquire_somewhen(ask);
        let leased =
            store::suspend_aware::timeout(self.state.lease_queue.options.timeout, leased).await;
        leased.unwrap_or_else(|_| Err(Refused::unavailable()))
    }

    async fn acquire_somewhen(&self, ask: &Ask) -> Result<Reservation, Refused> {
        loop {
            match self.reserve(ask) {
                Ok(reservation) => return Ok(reservation),
                Err(ReserveError::Refused(refused)) => return Err(refused),
                Err(ReserveError::NeedLease) => {
                    self.state.lease_queue.await_lease(&self.state, ask).await?;
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
                .meter
                .give_back(&self.effective, self.stamp, held)
        {
            self.state.lease_queue.enqueue(&self.state);
        }
        serves
    }

    /// Frees the concurrency slot of a call whose work is done, before its reservation is ended, so
    /// that a caller who has the whole answer may call again at once.
    pub fn release_slot(&self, reservation: &mut Reservation) {
        self.state.meter.release_slot(reservation);
    }

    /// Ends the reservation of a call that may have reached the upstream. Its window counts stay,
    /// its unspent units come back (`spent` is clipped to what was reserved), and its concurrency
    /// slot is free.
    pub fn settle(&self, reservation: Reservation, spent: u64) {
        if self.api_key.is_some() {
            let at = reservation.counted_at();
            self.state.lease_queue.last_uses.note(self.state.id, at);
        }
        self.state.settle(reservation, spent);
    }

    /// Ends the reservation of a call that was not sent. Everything comes back.
    pub fn cancel(&self, reservation: Reservation) {
        self.state.cancel(reservation);
    }
}

impl CachedCredential {
    /// Makes the credential of an entry. An empty `allow_ips` means all networks.
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

impl LicenseState {
    pub(crate) fn new(id: LicenseId, lease_queue: Arc<LeaseQueue>) -> Self {
        Self {
            id,
            version: AtomicU64::new(0),
            cut: CutSignal::new(),
            ended: EndedCredentials::default(),
            tokens: TokensInUse::default(),
            meter: Meter::new(id),
            lease_queue,
        }
    }

    /// Returns the id of the license.
    #[must_use]
    pub const fn id(&self) -> LicenseId {
        self.id
    }

    pub(crate) const fn id_ref(&self) -> &LicenseId {
        &self.id
    }

    /// Returns the number of the last change to the license that this gate knows of.
    #[must_use]
    pub fn version(&self) -> ChangeNumber {
        ChangeNumber(self.version.load(Ordering::Acquire))
    }

    /// Returns the meter of the license.
    #[must_use]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Returns the signal that cuts running calls.
    #[must_use]
    pub const fn cut_signal(&self) -> &CutSignal {
        &self.cut
    }

    /// Waits until the license, whatever its credentials, may not be used any more: revoked,
    /// disabled, or expired by `clock`. Returns the reason.
    pub async fn cut(&self, clock: &dyn Clock) -> Refusal {
        const MAX_SLEEP: Duration = Duration::from_secs(3_600);
        loop {
            let changed = self.lease_queue.cut_notify(self.id).notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = clock.now();
            if let Some(refusal) = self.cut.refusal(now) {
                return refusal;
            }
            let left = self.cut.expires_at().since(now).min(MAX_SLEEP);
            let pause = tokio::time::sleep(left + Duration::from_millis(1));
            tokio::select! {
                () = changed => {}
                () = pause => {}
            }
        }
    }

    /// Ends a reservation. See [`CachedLicense::settle`].
    pub fn settle(self: &Arc<Self>, reservation: Reservation, spent: u64) {
        if self.meter.settle(reservation, spent) {
            self.lease_queue.enqueue(self);
        }
    }

    /// Ends a reservation. See [`CachedLicense::cancel`].
    pub fn cancel(self: &Arc<Self>, reservation: Reservation) {
        if self.meter.cancel(reservation) {
            self.lease_queue.enqueue(self);
        }
        self.report_counts();
    }

    /// Queues the meter to report its counts to the other gates, if there are any.
    fn report_counts(self: &Arc<Self>) {
        if self.lease_queue.is_shared && self.meter.wants_report() {
            self.lease_queue.enqueue_unreported(self);
        }
    }

    /// Records a change of the license: entries read before are outdated and leases are taken
    /// again. Returns `false` for a change that is known. Called only with the change log locked,
    /// so that versions never go back.
    pub(crate) fn outdate(self: &Arc<Self>, number: ChangeNumber) -> bool {
        if number <= self.version() {
            return false;
        }
        self.version.store(number.0, Ordering::Release);
        if self.meter.invalidate() {
            self.lease_queue.enqueue(self);
        }
        true
    }

    /// Forgets the version, for a store that went back to an older copy. Called only with the
    /// change log locked.
    pub(crate) fn forget_version(self: &Arc<Self>) {
        self.version.store(0, Ordering::Release);
        if self.meter.invalidate() {
            self.lease_queue.enqueue(self);
        }
    }

    /// Takes in what running calls must know of the license. Called only with the change log
    /// locked, and with nothing older than the version.
    pub(crate) fn learn_all(&self, stored: &StoredLicense) {
        self.ended.learn(&stored.credentials);
        self.learn(&stored.license);
    }

    /// Returns the access tokens that running calls may have presented.
    pub(crate) const fn tokens(&self) -> &TokensInUse {
        &self.tokens
    }

    /// Takes in the status and end of the license, where nothing is known of its other credentials.
    /// See [`LicenseState::learn_all`].
    pub(crate) fn learn(&self, license: &License) {
        if self.cut.learn(license.status, license.spec.expires_at) {
            self.lease_queue.cut_notify(self.id).notify_waiters();
        }
    }

    /// Takes in that the license is no longer in the store.
    pub(crate) fn learn_gone(&self) {
        if self.cut.learn(LicenseStatus::Revoked, None) {
            self.lease_queue.cut_notify(self.id).notify_waiters();
        }
    }
}

impl CutSignal {
    const NEVER: i64 = i64::MAX;

    const fn new() -> Self {
        Self {
            refusal: AtomicU8::new(0),
            expires_at: AtomicI64::new(Self::NEVER),
        }
    }

    /// Returns why the license may not be used any more; `None`: it may. Costs two relaxed loads.
    #[must_use]
    pub fn refusal(&self, now: Timestamp) -> Option<Refusal> {
        let refusal = Refusal::from_number(self.refusal.load(Ordering::Relaxed));
        let expired = self.expires_at.load(Ordering::Relaxed) <= now.micros();
        refusal.or_else(|| expired.then_some(Refusal::LicenseExpired))
    }

    fn expires_at(&self) -> Timestamp {
        Timestamp::from_micros(self.expires_at.load(Ordering::Relaxed))
    }

    /// Takes in status and end. Returns whether anything changed.
    fn learn(&self, status: LicenseStatus, expires_at: Option<Timestamp>) -> bool {
        let refusal = match status {
            LicenseStatus::Active => 0,
            LicenseStatus::Disabled => Refusal::LicenseDisabled as u8,
            LicenseStatus::Revoked => Refusal::LicenseRevoked as u8,
        };
        let end = expires_at.map_or(Self::NEVER, Timestamp::micros);
        let before = self.refusal.swap(refusal, Ordering::AcqRel);
        let end_before = self.expires_at.swap(end, Ordering::AcqRel);
        before != refusal || end_before != end
    }
}
