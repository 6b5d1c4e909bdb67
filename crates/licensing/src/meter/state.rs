//! The state of a meter, and how a call takes from it and gives back.

use std::sync::Arc;
use std::time::Duration;

use model::{Counter, LicenseId, RateLimit, Refill, RefillMode, Refusal, Timestamp, WindowKind};
use store::LeaseKey;

use super::ask::{Ask, RateView, Refused, Reservation, ReserveError};
use super::lease::Leasing;
use super::share::SharedSlots;
use super::stock::{Judgement, Stock};
use super::window::{Count, Window, seconds_until};
use super::{Stamp, WindowUse};
use crate::options::LeaseOptions;
use crate::plans::EffectiveLimits;

/// The time for which the last units of a balance lie unused before they are given back to a fleet.
const LAST_UNITS_IDLE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct MeterState {
    pub(super) limits: Arc<EffectiveLimits>,
    pub(super) stamp: Stamp,
    /// The number of sets of windows that there were.
    shape: u32,
    /// The number of times that all leases were given back: what was reserved or asked for before
    /// is not used any more.
    pub(super) era: u32,
    in_use: u32,
    pub(super) windows: Vec<Window>,
    pub(super) balance: Balance,
    pub(super) leasing: Leasing,
    /// The leased units to be given back to the store.
    pub(super) returns: Vec<(LeaseKey, u64)>,
    last_used: i64,
    /// Whether a report of its counts to other gates is queued.
    pub(super) is_reporting: bool,
    pub(super) slots: SharedSlots,
}

/// The leased part of `remaining`.
#[derive(Debug)]
pub(super) struct Balance {
    pub(super) stock: Stock,
    /// The epoch of the stock; `None`: not known, or not any more.
    pub(super) epoch: Option<u32>,
    /// The time at which the balance is refilled next.
    pub(super) refill_at: i64,
}

impl Balance {
    pub(super) const NEVER: i64 = i64::MAX;
}

impl MeterState {
    pub(super) fn new(limits: Arc<EffectiveLimits>, stamp: Stamp) -> Self {
        let windows = limits.rate_limits.iter();
        Self {
            windows: windows.map(|limit| Window::new(*limit, 0)).collect(),
            limits,
            stamp,
            shape: 0,
            era: 0,
            in_use: 0,
            balance: Balance {
                stock: Stock::default(),
                epoch: None,
                refill_at: Balance::NEVER,
            },
            leasing: Leasing::default(),
            returns: Vec::new(),
            last_used: 0,
            is_reporting: false,
            slots: SharedSlots::default(),
        }
    }

    /// Replaces the limits. Windows that stay keep their counts.
    pub(super) fn adopt(&mut self, id: LicenseId, limits: &Arc<EffectiveLimits>, stamp: Stamp) {
        self.stamp = stamp;
        if Arc::ptr_eq(&self.limits, limits) || *self.limits == **limits {
            self.limits = limits.clone();
            return;
        }
        self.let_go(id);
        self.limits = limits.clone();
        self.shape += 1;
        let mut before = std::mem::take(&mut self.windows);
        for limit in &limits.rate_limits {
            let same = |window: &Window| {
                window.limit.window == limit.window && window.limit.kind == limit.kind
            };
            let window = match before.iter().position(same) {
                Some(at) => Window {
                    limit: *limit,
                    ..before.swap_remove(at)
                },
                None => Window::new(*limit, self.shape),
            };
            self.windows.push(window);
        }
    }

    pub(super) fn reserve(&mut self, ask: &Ask) -> Result<Reservation, ReserveError> {
        let now = ask.now.micros();
        self.roll(now);
        self.last_used = self.last_used.max(now);
        let judgement = self.judge(ask, now).map_err(ReserveError::Refused)?;
        if judgement == Judgement::Unknown {
            return Err(ReserveError::NeedLease);
        }
        let mut counted_at = now;
        for window in &mut self.windows {
            window.take(now);
            counted_at = counted_at.max(window.begins_at());
        }
        let limited = self.limits.counted && ask.units > 0;
        if limited {
            self.balance.stock.take(ask.units);
        }
        let slot = ask.slot && self.limits.concurrency.is_some();
        let stock = &self.balance.stock;
        let left = stock.units.saturating_add(stock.left);
        self.in_use += u32::from(slot);
        Ok(Reservation {
            units: if limited { ask.units } else { 0 },
            at: Timestamp::from_micros(counted_at),
            epoch: self.balance.epoch.unwrap_or(0),
            era: self.era,
            shape: self.shape,
            limited,
            windowed: self.limits.has_durable_window(),
            slot,
            held: false,
            left: self.limits.counted.then_some(left),
            view: self.view(now),
        })
    }

    /// Begins new periods where old ones are over.
    pub(super) fn roll(&mut self, now: i64) {
        for window in &mut self.windows {
            window.roll(now);
        }
        let balance = &mut self.balance;
        if now >= balance.refill_at {
            balance.refill_at = Balance::NEVER;
            balance.stock.forget_dryness();
            if self.refill_sets() {
                // A new epoch begins: what is left of the old one is void, in the store as here.
                self.balance.stock.empty();
                self.balance.epoch = None;
            } else if let Some(refill) = self.limits.refill {
                // The next lease claims it; until then it is known to be there.
                let left = &mut self.balance.stock.left;
                *left = left.saturating_add(refill.amount);
            }
        }
    }

    /// Returns whether a refill replaces what is left.
    fn refill_sets(&self) -> bool {
        let sets = |refill: Refill| refill.mode == RefillMode::Set;
        self.limits.refill.is_none_or(sets)
    }

    /// Judges a call. A reached limit wins over a missing lease, so that a refusal asks nothing of
    /// the store. Rates come before quota.
    fn judge(&self, ask: &Ask, now: i64) -> Result<Judgement, Refused> {
        let units = ask.units;
        let mut judgement = Judgement::Passes;
        let mut full: Option<&Window> = None;
        for window in &self.windows {
            match window.judge(now) {
                Judgement::Passes => {}
                Judgement::Unknown => judgement = Judgement::Unknown,
                Judgement::Dry if full.is_some_and(|other| other.ends_at >= window.ends_at) => {}
                Judgement::Dry => full = Some(window),
            }
        }
        if let Some(window) = full {
            return Err(Refused {
                refusal: Refusal::RateLimited,
                retry_after: Some(seconds_until(window.ends_at, now)),
                view: Some(RateView {
                    remaining: 0,
                    ..window.view(now)
                }),
                held_elsewhere: false,
            });
        }
        let limit = self.limits.concurrency;
        let in_use = self.in_use.saturating_add(self.slots.elsewhere.at(now));
        if ask.slot && limit.is_some_and(|limit| in_use >= limit) {
            return Err(self.refused(Refusal::TooManyConcurrent, Some(1), now));
        }
        if self.limits.counted && units > 0 {
            match self.balance.stock.judge(units, now) {
                Judgement::Passes => {}
                Judgement::Unknown => judgement = Judgement::Unknown,
                Judgement::Dry => return Err(self.exhausted(units, now)),
            }
        }
        Ok(judgement)
    }

    /// Returns the refusal for a lack of units: they are spent, or other gates hold some that they
    /// may not use.
    fn exhausted(&self, units: u64, now: i64) -> Refused {
        if self.balance.stock.may_come_back(units) {
            return Refused {
                held_elsewhere: true,
                ..self.refused(Refusal::QuotaUnavailable, Some(1), now)
            };
        }
        if self.limits.refill.is_none() {
            return self.refused(Refusal::QuotaExhausted, None, now);
        }
        let refill_at = Some(self.balance.refill_at).filter(|at| *at != Balance::NEVER);
        let retry_after = refill_at.map(|at| seconds_until(at, now));
        self.refused(Refusal::QuotaExhaustedForNow, retry_after, now)
    }

    fn refused(&self, refusal: Refusal, retry_after: Option<u32>, now: i64) -> Refused {
        Refused {
            refusal,
            retry_after,
            view: self.view(now),
            held_elsewhere: false,
        }
    }

    fn view(&self, now: i64) -> Option<RateView> {
        let tightness =
            |window: &&Window| (window.remaining(now), std::cmp::Reverse(window.ends_at));
        let tightest = self.windows.iter().min_by_key(tightness)?;
        Some(tightest.view(now))
    }

    pub(super) fn settle(
        &mut self,
        id: LicenseId,
        mut reservation: Reservation,
        spent: u64,
    ) -> bool {
        self.free_slot(&mut reservation);
        let unspent = reservation.units.saturating_sub(spent);
        self.put_back_units(id, &reservation, unspent);
        self.wants_return()
    }

    pub(super) fn cancel(&mut self, id: LicenseId, mut reservation: Reservation) -> bool {
        self.free_slot(&mut reservation);
        self.put_back_units(id, &reservation, reservation.units);
        self.put_back_calls(id, &reservation);
        self.wants_return()
    }

    /// Frees the slot of a call, once.
    pub(super) fn free_slot(&mut self, reservation: &mut Reservation) {
        if std::mem::take(&mut reservation.slot) {
            debug_assert!(self.in_use > 0, "a slot is freed once");
            self.in_use = self.in_use.saturating_sub(1);
            self.slots.fell_to(self.in_use);
        }
    }

    fn put_back_units(&mut self, id: LicenseId, reservation: &Reservation, units: u64) {
        if units == 0 || !reservation.limited {
            return;
        }
        match self.balance.epoch {
            Some(epoch) if epoch == reservation.epoch && self.era == reservation.era => {
                self.balance.stock.units += units;
            }
            // The epoch that they were leased in is over.
            Some(epoch) if epoch > reservation.epoch => {}
            _ => {
                let key = LeaseKey {
                    license_id: id,
                    counter: Counter::Remaining,
                    period: reservation.epoch,
                };
                self.give_back(key, units);
            }
        }
    }

    fn put_back_calls(&mut self, id: LicenseId, reservation: &Reservation) {
        let mut to_store = Vec::new();
        for window in &mut self.windows {
            let seconds = window.limit.window.seconds();
            let period = match window.limit.kind {
                WindowKind::Fixed => reservation.at.period(seconds),
                WindowKind::Idle => 0,
            };
            if window.born > reservation.shape || window.period != period {
                continue;
            }
            let key = window.key(id);
            match &mut window.count {
                Count::Memory { used } | Count::Idle { used } => *used = used.saturating_sub(1),
                Count::Leased(stock) if self.era == reservation.era => {
                    stock.units += 1;
                }
                Count::Leased(_) => to_store.push(key),
            }
        }
        for key in to_store {
            self.give_back(key, 1);
        }
    }

    pub(super) fn give_back(&mut self, key: LeaseKey, units: u64) {
        match self.returns.iter_mut().find(|(other, _)| *other == key) {
            Some((_, sum)) => *sum += units,
            None => self.returns.push((key, units)),
        }
    }

    /// Returns whether units are to be given back and no request is queued yet; one is now.
    pub(super) fn wants_return(&mut self) -> bool {
        !self.returns.is_empty() && self.leasing.enqueue()
    }

    /// Gives back all leases: what is unused goes to the store, and what was asked for is not used.
    fn let_go(&mut self, id: LicenseId) {
        self.era += 1;
        self.return_stocks(id);
        self.balance.epoch = None;
        self.balance.refill_at = Balance::NEVER;
    }

    fn return_stocks(&mut self, id: LicenseId) {
        let mut returns = Vec::new();
        let units = self.balance.stock.empty();
        if let Some(epoch) = self.balance.epoch {
            let key = LeaseKey {
                license_id: id,
                counter: Counter::Remaining,
                period: epoch,
            };
            returns.push((key, units));
        }
        for window in &mut self.windows {
            let key = window.key(id);
            if let Some(stock) = window.stock() {
                returns.push((key, stock.empty()));
            }
        }
        for (key, units) in returns {
            if units > 0 {
                self.give_back(key, units);
            }
        }
    }

    pub(super) fn invalidate(&mut self, id: LicenseId) -> bool {
        self.let_go(id);
        self.wants_return()
    }

    pub(super) fn retire_idle(
        &mut self,
        id: LicenseId,
        now: Timestamp,
        options: &LeaseOptions,
    ) -> bool {
        let stock = &self.balance.stock;
        let idle_after = match stock.units > 0 && stock.left == 0 && !options.alone {
            // The last units of a balance: the other gates refuse calls for the lack of them.
            true => options.idle_after.min(LAST_UNITS_IDLE),
            false => options.idle_after,
        };
        let kept_for = idle_after.max(self.limits.allowance.kept_for);
        if now.since(Timestamp::from_micros(self.last_used)) < kept_for {
            return false;
        }
        self.roll(now.micros());
        self.return_stocks(id);
        self.wants_return()
    }

    pub(super) fn is_empty(&self, now: Timestamp) -> bool {
        let unused = |window: &Window| {
            let empty = match &window.count {
                Count::Memory { used } | Count::Idle { used } => *used == 0,
                Count::Leased(stock) => stock.units == 0,
            };
            empty || now.micros() >= window.ends_at
        };
        self.in_use == 0
            && self.balance.stock.units == 0
            && self.returns.is_empty()
            && self.leasing.is_idle()
            && self.windows.iter().all(unused)
    }

    pub(super) fn window_use(&mut self, limit: &RateLimit, now: Timestamp) -> Option<WindowUse> {
        self.roll(now.micros());
        let same = |window: &&Window| {
            window.limit.window == limit.window && window.limit.kind == limit.kind
        };
        let window = self.windows.iter().find(same)?;
        Some(match &window.count {
            Count::Memory { used } | Count::Idle { used } => {
                WindowUse::Used(used.saturating_add(window.elsewhere.at(now.micros())))
            }
            Count::Leased(stock) => WindowUse::Unused(stock.units),
        })
    }

    pub(super) fn is_exhausted(&mut self, now: Timestamp) -> bool {
        self.roll(now.micros());
        let stock = &self.balance.stock;
        let dry = stock.judge(1, now.micros()) == Judgement::Dry && !stock.may_come_back(1);
        self.limits.counted && dry
    }

    pub(super) const fn in_use(&self) -> u32 {
        self.in_use
    }

    pub(super) fn leased_units(&self) -> Option<(u32, u64)> {
        let epoch = self.balance.epoch?;
        Some((epoch, self.balance.stock.units))
    }
}
