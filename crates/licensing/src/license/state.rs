//! The state that all credentials of a license share on this gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, License, LicenseId, LicenseStatus, Refusal};
use store::{ChangeNumber, StoredLicense};

use super::cut_signal::CutSignal;
use super::ended::{EndedCredentials, TokensInUse};
use super::queues::LicenseQueues;
use crate::meter::{Meter, Reservation};

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
    queues: Arc<LicenseQueues>,
}

impl LicenseState {
    pub(crate) fn new(id: LicenseId, queues: Arc<LicenseQueues>) -> Self {
        Self {
            id,
            version: AtomicU64::new(0),
            cut: CutSignal::new(),
            ended: EndedCredentials::default(),
            tokens: TokensInUse::default(),
            meter: Meter::new(id),
            queues,
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
            let changed = self.queues.cuts.of(self.id).notified();
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

    /// Ends a reservation. See [`CachedLicense::settle`](super::CachedLicense::settle).
    pub fn settle(self: &Arc<Self>, reservation: Reservation, spent: u64) {
        if self.meter.settle(reservation, spent) {
            self.enqueue_for_lease();
        }
    }

    /// Ends a reservation. See [`CachedLicense::cancel`](super::CachedLicense::cancel).
    pub fn cancel(self: &Arc<Self>, reservation: Reservation) {
        if self.meter.cancel(reservation) {
            self.enqueue_for_lease();
        }
        self.report_counts();
    }

    /// Queues the meter to report its counts to the other gates, if there are any.
    pub(super) fn report_counts(self: &Arc<Self>) {
        if self.queues.is_shared && self.meter.wants_report() {
            self.queues.enqueue_unreported(self);
        }
    }

    /// Puts the meter into the queue for leases. Call it when the meter's own flag says that it is
    /// not there yet.
    pub(super) fn enqueue_for_lease(self: &Arc<Self>) {
        self.queues.leases.enqueue(self);
    }

    /// Returns what the states of all licenses share.
    pub(crate) fn queues(&self) -> &LicenseQueues {
        &self.queues
    }

    /// Returns the credentials that have ended, access tokens excepted.
    pub(super) const fn ended(&self) -> &EndedCredentials {
        &self.ended
    }

    /// Records a change of the license: what was cached before is outdated and leases are taken
    /// again. Returns `false` for a change that is known. Called only with the change log locked,
    /// so that versions never go back.
    pub(crate) fn outdate(self: &Arc<Self>, number: ChangeNumber) -> bool {
        if number <= self.version() {
            return false;
        }
        self.version.store(number.0, Ordering::Release);
        self.let_go();
        true
    }

    /// Gives back all leases that this gate did not use.
    pub(crate) fn let_go(self: &Arc<Self>) {
        if self.meter.invalidate() {
            self.enqueue_for_lease();
        }
    }

    /// Sets the version back to 0, for a store that went back to an older copy. Called only with
    /// the change log locked.
    pub(crate) fn reset_version(self: &Arc<Self>) {
        self.version.store(0, Ordering::Release);
        if self.meter.invalidate() {
            self.enqueue_for_lease();
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
            self.queues.cuts.of(self.id).notify_waiters();
        }
    }

    /// Takes in that the license is no longer in the store.
    pub(crate) fn learn_gone(&self) {
        if self.cut.learn(LicenseStatus::Revoked, None) {
            self.queues.cuts.of(self.id).notify_waiters();
        }
    }
}
