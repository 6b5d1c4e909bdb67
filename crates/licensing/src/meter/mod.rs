//! How much a license uses on this gate: concurrency, rate windows, units.
//!
//! A meter grants nothing that it does not hold. Windows shorter than an hour are counted in memory. Units and the calls
//! of longer windows are taken from a [`stock`]: what this gate leased from the store and did not use yet. What
//! was given to a call, or lost in a crash, is never given again; the store frees it when the journal has been read.
//!
//! Everything happens under one short lock of the meter, which no one holds across a wait.

mod ask;
mod elsewhere;
mod lease;
mod share;
mod state;
mod stock;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::{LicenseId, RateLimit, Timestamp};
use parking_lot::Mutex;
use store::{ChangeNumber, LeaseGrant};

pub use ask::{Ask, HeldUnits, RateView, Refused, Reservation, ReserveError};
pub(crate) use lease::{Joined, Wishes};
use state::MeterState;

use crate::fleet::{Counted, CounterReport, PeerCounts};
use crate::options::LeaseOptions;
use crate::plans::EffectiveLimits;

/// The meter of one license. Costs a few bytes until the license is first called under a limit.
pub struct Meter {
    id: LicenseId,
    state: Mutex<Option<Box<MeterState>>>,
}

/// What a meter knows of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowUse {
    /// So many calls passed: it is counted here.
    Used(u32),
    /// So many calls are leased for it and did not pass yet: it is counted in the store.
    Unused(u64),
}

/// Which reading of a license and which plans some limits come from; later ones replace earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) version: ChangeNumber,
    pub(crate) plans: u32,
}

impl Stamp {
    fn replaces(self, other: Self) -> bool {
        self != other && self.version >= other.version && self.plans >= other.plans
    }
}

impl Meter {
    pub(crate) const fn new(id: LicenseId) -> Self {
        Self {
            id,
            state: Mutex::new(None),
        }
    }

    /// Takes everything or nothing; also whether the meter is to be enqueued, since a lease runs low.
    pub(crate) fn reserve(
        &self,
        limits: &Arc<EffectiveLimits>,
        stamp: Stamp,
        ask: &Ask,
    ) -> (Result<Reservation, ReserveError>, bool) {
        let mut guard = self.state.lock();
        let state = guard.get_or_insert_with(|| Box::new(MeterState::new(limits.clone(), stamp)));
        if stamp.replaces(state.stamp) {
            state.adopt(self.id, limits, stamp);
        }
        let result = state.reserve(ask);
        let runs_low = result.is_ok() && state.runs_low(ask.now);
        let enqueue = runs_low || state.wants_return();
        (result, enqueue)
    }

    /// Whether other gates are to be told what is counted here, and nobody does so yet.
    pub(crate) fn wants_telling(&self) -> bool {
        self.with(MeterState::wants_telling).unwrap_or(false)
    }

    /// What this gate has counted, for the others; also whether it is to be told again next time.
    pub(crate) fn tallies(&self, now: Timestamp, hold: Duration) -> (Vec<CounterReport>, bool) {
        self.with(|state| state.tallies(self.id, now, hold))
            .unwrap_or_default()
    }

    /// Learns what the others have counted.
    pub(crate) fn learn(&self, counted: Counted, others: PeerCounts, now: Timestamp) {
        self.with(|state| state.learn(counted, others, now));
    }

    /// See `CachedLicense::release_slot`.
    pub(crate) fn release_slot(&self, reservation: &mut Reservation) {
        if reservation.holds_slot() {
            self.with(|state| state.free_slot(reservation));
        }
    }

    /// See `CachedLicense::settle`; whether the meter is to be enqueued, since units are to be given back to the store.
    pub(crate) fn settle(&self, reservation: Reservation, spent: u64) -> bool {
        if reservation.is_nothing() {
            return false;
        }
        self.with(|state| state.settle(self.id, reservation, spent))
            .unwrap_or(false)
    }

    /// See `CachedLicense::cancel`; whether the meter is to be enqueued.
    pub(crate) fn cancel(&self, reservation: Reservation) -> bool {
        if reservation.is_nothing() {
            return false;
        }
        self.with(|state| state.cancel(self.id, reservation))
            .unwrap_or(false)
    }

    /// Gives back units of this gate's lease that the meter never had; whether the meter is to be enqueued.
    pub(crate) fn give_back(
        &self,
        limits: &Arc<EffectiveLimits>,
        stamp: Stamp,
        held: HeldUnits,
    ) -> bool {
        let mut guard = self.state.lock();
        let state = guard.get_or_insert_with(|| Box::new(MeterState::new(limits.clone(), stamp)));
        let key = store::LeaseKey {
            license_id: self.id,
            counter: model::Counter::Remaining,
            period: held.epoch,
        };
        state.give_back(key, held.units);
        state.wants_return()
    }

    /// Lets go of every lease, for what it was taken under may have changed; whether the meter is to be enqueued.
    pub(crate) fn invalidate(&self) -> bool {
        self.with(|state| state.invalidate(self.id))
            .unwrap_or(false)
    }

    /// Lets go of leases that lie unused; whether the meter is to be enqueued.
    pub(crate) fn retire_idle(&self, now: Timestamp, options: &LeaseOptions) -> bool {
        self.with(|state| state.retire_idle(self.id, now, options))
            .unwrap_or(false)
    }

    /// Whether nothing would be lost with it, calls under way apart.
    pub(crate) fn is_empty(&self, now: Timestamp) -> bool {
        self.with(|state| state.is_empty(now)).unwrap_or(true)
    }

    /// Adds a waiting call to the next lease.
    pub(crate) fn join(&self, ask: &Ask) -> Joined {
        self.with(|state| state.join(ask)).unwrap_or(Joined::GONE)
    }

    /// How many leases were asked for and answered, and whether the last of them failed.
    pub(crate) fn round(&self) -> (u32, bool) {
        self.with(|state| state.round()).unwrap_or_default()
    }

    /// The present round, if units are on their way to or from the store, which then cannot tell what is left.
    pub(crate) fn unsettled(&self) -> Option<u32> {
        self.with(|state| state.unsettled()).flatten()
    }

    /// What to ask of the store now.
    pub(crate) fn wishes(&self, now: Timestamp, options: &LeaseOptions) -> Wishes {
        self.with(|state| state.wishes(self.id, now, options))
            .unwrap_or_default()
    }

    /// Takes what the store granted under `era`; whether the meter is to be enqueued again.
    pub(crate) fn granted(
        &self,
        era: u32,
        grants: &[LeaseGrant],
        now: Timestamp,
        options: &LeaseOptions,
    ) -> bool {
        self.with(|state| state.granted(era, grants, now, options))
            .unwrap_or(false)
    }

    /// Notes that the store did not answer, so that those who wait for it learn of that. The answer will come.
    pub(crate) fn unanswered(&self) {
        self.with(MeterState::unanswered);
    }

    /// Notes that the store did nothing of what was wished for, and takes up again what was to be given back; whether the
    /// meter is to be enqueued.
    pub(crate) fn refused(&self, returns: &[(store::LeaseKey, u64)]) -> bool {
        self.with(|state| state.take_back(returns)).unwrap_or(false)
    }

    /// Notes that the store took back what was returned, so that "nothing is left" is no longer believed.
    pub(crate) fn returned(&self) {
        self.with(MeterState::returned);
    }

    /// Units of the balance leased by this gate and not used, with their epoch; `None`: none are.
    #[must_use]
    pub fn leased_units(&self) -> Option<(u32, u64)> {
        self.with(|state| state.leased_units()).flatten()
    }

    /// What is known here of a window; `None`: it was not called under it.
    pub(crate) fn window_use(&self, limit: &RateLimit, now: Timestamp) -> Option<WindowUse> {
        self.with(|state| state.window_use(limit, now)).flatten()
    }

    /// Whether not even one unit is left, as far as this gate knows without asking.
    #[must_use]
    pub fn is_exhausted(&self, now: Timestamp) -> bool {
        self.with(|state| state.is_exhausted(now)).unwrap_or(false)
    }

    /// Calls under way that hold a concurrency slot.
    #[must_use]
    pub fn calls_under_way(&self) -> u32 {
        self.with(|state| state.in_use()).unwrap_or(0)
    }

    fn with<T>(&self, act: impl FnOnce(&mut MeterState) -> T) -> Option<T> {
        self.state.lock().as_deref_mut().map(act)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
