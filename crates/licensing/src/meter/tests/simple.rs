//! A store that is too simple to be wrong.

use std::collections::HashMap;

use model::{Counter, RefillMode, Timestamp};
use store::{LeaseGrant, LeaseKey};

use super::super::LeaseDemand;
use super::{REFILL_EVERY, START};

/// A store of one license: what it granted less what came back, by key.
pub(super) struct Store {
    pub(super) remaining: u64,
    pub(super) refill: Option<RefillMode>,
    pub(super) epoch: u32,
    /// The number of leased units that other gates hold.
    pub(super) elsewhere: u64,
    granted: u64,
    periods: i64,
    pub(super) leased: HashMap<LeaseKey, u64>,
    /// The refill period that each epoch began in.
    pub(super) begun: HashMap<u32, i64>,
}

impl Store {
    pub(super) fn new(remaining: u64, refill: Option<RefillMode>) -> Self {
        Self {
            remaining,
            refill,
            epoch: 1,
            elsewhere: 0,
            granted: remaining,
            periods: 0,
            leased: HashMap::new(),
            begun: HashMap::from([(1, 0)]),
        }
    }

    pub(super) fn claim(&mut self, now: i64) {
        let periods = (now - START) / REFILL_EVERY;
        if periods == self.periods {
            return;
        }
        self.periods = periods;
        match self.refill {
            None => {}
            Some(RefillMode::Add) => self.granted += self.remaining,
            Some(RefillMode::Set) => self.begin_epoch(),
        }
    }

    pub(super) fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.granted = self.remaining;
        self.begun.insert(self.epoch, self.periods);
    }

    pub(super) fn lease(&mut self, demands: &LeaseDemand, now: i64) -> Vec<LeaseGrant> {
        self.claim(now);
        let mut grants = Vec::new();
        for request in &demands.requests {
            let is_balance = request.key.counter == Counter::Remaining;
            let (period, capacity) = match is_balance {
                true => (self.epoch, self.granted),
                false => (request.key.period, request.capacity),
            };
            let key = LeaseKey {
                period,
                ..request.key
            };
            let leased = self.leased.entry(key).or_default();
            let units = request.want.min(capacity.saturating_sub(*leased));
            *leased += units;
            let next = START + (self.periods + 1) * REFILL_EVERY;
            grants.push(LeaseGrant {
                key,
                units,
                left: capacity.saturating_sub(*leased),
                elsewhere: self.elsewhere,
                next_refill_at: (is_balance && self.refill.is_some())
                    .then(|| Timestamp::from_micros(next)),
            });
        }
        grants
    }

    pub(super) fn give_back(&mut self, demands: &LeaseDemand) {
        for (key, units) in &demands.returns {
            let leased = self
                .leased
                .get_mut(key)
                .expect("given back what was leased");
            *leased = leased.checked_sub(*units).expect("given back at most that");
        }
    }
}
