//! Lease requests of a meter: calls that wait and stocks that run low become one request, and its
//! answer is a round.

use model::{Counter, LicenseId, Timestamp};
use store::{LeaseGrant, LeaseKey, LeaseRequest};

use super::ask::Ask;
use super::state::{Balance, MeterState};
use crate::options::LeaseOptions;

/// The state of a meter's requests to the store.
#[derive(Debug, Default)]
pub(super) struct Leasing {
    /// Whether the meter is in the queue for leases.
    queued: bool,
    /// Whether its request is with the store.
    in_flight: bool,
    /// The number of requests that were answered.
    round: u32,
    /// Whether the last answer was a failure, or is overdue.
    failed: bool,
    /// The waiting calls, and the units they ask for.
    calls: u64,
    units: u64,
}

/// The request of a meter to the store.
#[derive(Debug, Default)]
pub(crate) struct LeaseDemand {
    /// The era of the meter that the answer is for.
    pub(crate) era: u32,
    /// The units to lease.
    pub(crate) requests: Vec<LeaseRequest>,
    /// The units to give back before.
    pub(crate) returns: Vec<(LeaseKey, u64)>,
}

/// A call that waits for a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined {
    /// The round at which it began to wait.
    pub(crate) round: u32,
    /// Whether the meter is to be enqueued.
    pub(crate) enqueue: bool,
}

impl Joined {
    pub(crate) const GONE: Self = Self {
        round: u32::MAX,
        enqueue: false,
    };
}

impl Leasing {
    /// Records that the meter enters the queue. Returns whether it was not in it yet.
    pub(super) fn enqueue(&mut self) -> bool {
        !std::mem::replace(&mut self.queued, true)
    }

    pub(super) const fn is_idle(&self) -> bool {
        !self.queued && !self.in_flight
    }

    fn answered(&mut self, failed: bool) {
        self.in_flight = false;
        self.failed = failed;
        self.round = self.round.wrapping_add(1);
    }
}

impl MeterState {
    /// Returns whether a stock runs low and no request is queued yet; one is now.
    pub(super) fn runs_low(&mut self, now: Timestamp) -> bool {
        let now = now.micros();
        if !self.leasing.is_idle() {
            return false;
        }
        let low = self.limits.counted && self.balance.stock.runs_low(now);
        let mut stocks = self.windows.iter_mut().filter_map(|window| window.stock());
        (low || stocks.any(|stock| stock.runs_low(now))) && self.leasing.enqueue()
    }

    pub(super) fn join(&mut self, ask: &Ask) -> Joined {
        self.leasing.calls += 1;
        self.leasing.units = self.leasing.units.saturating_add(ask.units);
        Joined {
            round: self.leasing.round,
            enqueue: self.leasing.enqueue(),
        }
    }

    /// Returns the present round, if units are on their way to or from the store.
    pub(super) fn unsettled(&self) -> Option<u32> {
        let settled = self.returns.is_empty() && !self.leasing.in_flight;
        (!settled).then_some(self.leasing.round)
    }

    pub(super) const fn round(&self) -> (u32, bool) {
        (self.leasing.round, self.leasing.failed)
    }

    pub(super) fn demand(
        &mut self,
        license_id: LicenseId,
        now: Timestamp,
        options: &LeaseOptions,
    ) -> LeaseDemand {
        let now = now.micros();
        self.roll(now);
        self.leasing.queued = false;
        self.leasing.in_flight = true;
        let allowance = self.limits.allowance.units;
        let calls = std::mem::take(&mut self.leasing.calls);
        let units = std::mem::take(&mut self.leasing.units);
        let mut requests = Vec::new();
        if self.limits.counted {
            let need = units.saturating_sub(self.balance.stock.units);
            let key = LeaseKey {
                license_id,
                counter: Counter::Remaining,
                period: self.balance.epoch.unwrap_or(0),
            };
            let want = self.balance.stock.demand(need, allowance, now, options);
            requests.extend(want.map(|want| LeaseRequest {
                key,
                want,
                capacity: 0,
            }));
        }
        for window in &mut self.windows {
            let key = window.key(license_id);
            let capacity = u64::from(window.limit.calls);
            let want = window.stock().and_then(|stock| {
                let need = calls.saturating_sub(stock.units);
                stock.demand(need, allowance, now, options)
            });
            requests.extend(want.map(|want| LeaseRequest {
                key,
                want: want.min(capacity),
                capacity,
            }));
        }
        LeaseDemand {
            era: self.era,
            requests,
            returns: std::mem::take(&mut self.returns),
        }
    }

    pub(super) fn granted(
        &mut self,
        era: u32,
        grants: &[LeaseGrant],
        now: Timestamp,
        options: &LeaseOptions,
    ) -> bool {
        self.leasing.answered(false);
        for grant in grants {
            if era == self.era {
                self.take_in(grant, now.micros(), options);
            } else if grant.units > 0 {
                // Units that were leased under limits which a change has replaced meanwhile.
                self.give_back(grant.key, grant.units);
            }
        }
        // The allowance for an outage is leased as soon as it is known how much is left, not with a
        // call that needs it.
        self.wants_return() || self.runs_low(now)
    }

    fn take_in(&mut self, grant: &LeaseGrant, now: i64, options: &LeaseOptions) {
        let allowance = self.limits.allowance.units;
        match grant.key.counter {
            Counter::Remaining => self.balance.take_in(grant, allowance, now, options),
            Counter::Window(seconds) => {
                let period = grant.key.period;
                let mut windows = self.windows.iter_mut();
                let window = windows.find(|window| {
                    window.limit.window.seconds() == seconds && window.period == period
                });
                // If a window ended meanwhile, its lease is void.
                if let Some(stock) = window.and_then(|window| window.stock()) {
                    stock.add(amounts(grant), allowance, now, options);
                }
            }
        }
    }

    pub(super) fn unanswered(&mut self) {
        self.leasing.failed = true;
        self.leasing.round = self.leasing.round.wrapping_add(1);
    }

    pub(super) fn take_back(&mut self, returns: &[(LeaseKey, u64)]) -> bool {
        self.leasing.answered(true);
        for (key, units) in returns {
            self.give_back(*key, *units);
        }
        self.wants_return()
    }

    pub(super) fn returned(&mut self) {
        self.balance.stock.forget_dryness();
        for stock in self.windows.iter_mut().filter_map(|window| window.stock()) {
            stock.forget_dryness();
        }
    }
}

impl Balance {
    fn take_in(&mut self, grant: &LeaseGrant, allowance: u64, now: i64, options: &LeaseOptions) {
        if self.epoch != Some(grant.key.period) {
            self.stock.empty();
            self.epoch = Some(grant.key.period);
        }
        self.stock.add(amounts(grant), allowance, now, options);
        // If that time has passed while the answer was on its way, the next call begins the new
        // epoch.
        self.refill_at = grant.next_refill_at.map_or(Self::NEVER, Timestamp::micros);
    }
}

const fn amounts(grant: &LeaseGrant) -> [u64; 3] {
    [grant.units, grant.left, grant.elsewhere]
}
