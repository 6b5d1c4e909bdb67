//! The meter of a license: how much it uses on this gate, in concurrency, rate windows and units.
//!
//! A meter grants only what it holds. Windows shorter than an hour are counted in memory. Units and
//! the calls of longer windows are taken from a [`stock`]: what this gate leased from the store and
//! did not use yet. What was given to a call, or lost in a crash, is never given again; the store
//! frees it when the journal has been read.
//!
//! Everything happens under one short lock of the meter, which is never held across a wait.

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
pub(crate) use lease::{Joined, LeaseDemand};
use state::MeterState;

use crate::fleet::{Counted, CounterReport, PeerCounts};
use crate::options::LeaseOptions;
use crate::plans::EffectiveLimits;

/// The meter of one license. It costs a few bytes until the license is first called under a limit.
pub struct Meter {
    id: LicenseId,
    state: Mutex<Option<Box<MeterState>>>,
}

/// The use of a window, as a meter knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowUse {
    /// The number of calls that passed, of a window that is counted here.
    Used(u32),
    /// The number of calls that are leased and did not pass yet, of a window that is counted in the
    /// store.
    Unused(u64),
}

/// The version of limits: the change of the license and the plans that they come from. Later ones
/// replace earlier ones.
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

    /// Reserves everything or nothing. Also returns whether the meter is to be enqueued, since a
    /// lease runs low.
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

    /// Returns whether there are counts to report to other gates and no report is queued yet; one
    /// is now.
    pub(crate) fn wants_report(&self) -> bool {
        self.with(MeterState::wants_report).unwrap_or(false)
    }

    /// Returns the counts of this gate for the others, and whether they are to be reported again
    /// next time.
    pub(crate) fn reports(&self, now: Timestamp, hold: Duration) -> (Vec<CounterReport>, bool) {
        self.with(|state| state.reports(self.id, now, hold))
            .unwrap_or_default()
    }

    /// Takes in what the other gates have counted.
    pub(crate) fn learn(&self, counted: Counted, peers: PeerCounts, now: Timestamp) {
        self.with(|state| state.learn(counted, peers, now));
    }

    /// Frees the concurrency slot. See `CachedLicense::release_slot`.
    pub(crate) fn release_slot(&self, reservation: &mut Reservation) {
        if reservation.holds_slot() {
            self.with(|state| state.free_slot(reservation));
        }
    }

    /// Ends a reservation, see `CachedLicense::settle`. Returns whether the meter is to be
    /// enqueued, since units are to be given back to the store.
    pub(crate) fn settle(&self, reservation: Reservation, spent: u64) -> bool {
        if reservation.is_nothing() {
            return false;
        }
        self.with(|state| state.settle(self.id, reservation, spent))
            .unwrap_or(false)
    }

    /// Ends a reservation, see `CachedLicense::cancel`. Returns whether the meter is to be
    /// enqueued.
    pub(crate) fn cancel(&self, reservation: Reservation) -> bool {
        if reservation.is_nothing() {
            return false;
        }
        self.with(|state| state.cancel(self.id, reservation))
            .unwrap_or(false)
    }

    /// Gives back units of this gate's lease that the meter never had. Returns whether the meter is
    /// to be enqueued.
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

    /// Gives back every lease, since the terms that it was taken under may have changed. Returns
    /// whether the meter is to be enqueued.
    pub(crate) fn invalidate(&self) -> bool {
        self.with(|state| state.invalidate(self.id))
            .unwrap_or(false)
    }

    /// Gives back leases that lie unused. Returns whether the meter is to be enqueued.
    pub(crate) fn retire_idle(&self, now: Timestamp, options: &LeaseOptions) -> bool {
        self.with(|state| state.retire_idle(self.id, now, options))
            .unwrap_or(false)
    }

    /// Returns whether nothing would be lost with the meter, running calls apart.
    pub(crate) fn is_empty(&self, now: Timestamp) -> bool {
        self.with(|state| state.is_empty(now)).unwrap_or(true)
    }

    /// Adds a waiting call to the next lease.
    pub(crate) fn join(&self, ask: &Ask) -> Joined {
        self.with(|state| state.join(ask)).unwrap_or(Joined::GONE)
    }

    /// Returns the number of lease requests that were answered, and whether the last of them
    /// failed.
    pub(crate) fn round(&self) -> (u32, bool) {
        self.with(|state| state.round()).unwrap_or_default()
    }

    /// Returns the present round, if units are on their way to or from the store, which then cannot
    /// tell what is left.
    pub(crate) fn unsettled(&self) -> Option<u32> {
        self.with(|state| state.unsettled()).flatten()
    }

    /// Returns what to ask of the store now.
    pub(crate) fn demand(&self, now: Timestamp, options: &LeaseOptions) -> LeaseDemand {
        self.with(|state| state.demand(self.id, now, options))
            .unwrap_or_default()
    }

    /// Takes in what the store granted under `era`. Returns whether the meter is to be enqueued
    /// again.
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

    /// Records that the store did not answer, so that those who wait for it learn of that. The
    /// answer will come.
    pub(crate) fn unanswered(&self) {
        self.with(MeterState::unanswered);
    }

    /// Records that the store carried out nothing of a request, and takes back what was to be
    /// returned. Returns whether the meter is to be enqueued.
    pub(crate) fn refused(&self, returns: &[(store::LeaseKey, u64)]) -> bool {
        self.with(|state| state.take_back(returns)).unwrap_or(false)
    }

    /// Records that the store took back what was returned, so that "nothing is left" is no longer
    /// believed.
    pub(crate) fn returned(&self) {
        self.with(MeterState::returned);
    }

    /// Returns the epoch of the balance, and its units that are leased by this gate and not used;
    /// `None`: no epoch is known.
    #[must_use]
    pub fn leased_units(&self) -> Option<(u32, u64)> {
        self.with(|state| state.leased_units()).flatten()
    }

    /// Returns the use of a window; `None`: the license was not called under it.
    pub(crate) fn window_use(&self, limit: &RateLimit, now: Timestamp) -> Option<WindowUse> {
        self.with(|state| state.window_use(limit, now)).flatten()
    }

    /// Returns whether not even one unit is left, as far as this gate knows without asking.
    #[must_use]
    pub fn is_exhausted(&self, now: Timestamp) -> bool {
        self.with(|state| state.is_exhausted(now)).unwrap_or(false)
    }

    /// Returns the number of running calls that hold a concurrency slot.
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
