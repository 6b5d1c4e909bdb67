//! The rate windows of a meter.

use model::{Counter, LicenseId, RateLimit, Timestamp, WindowKind};
use store::LeaseKey;

use super::ask::RateView;
use super::elsewhere::CountElsewhere;
use super::stock::{Judgement, Stock};

/// The present period of one rate limit.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) limit: RateLimit,
    /// The number of the period; of an idle window always 0.
    pub(super) period: u32,
    /// The end of the period, in microseconds since the UNIX epoch.
    pub(super) ends_at: i64,
    /// The shape of the meter since which the window exists: reservations of earlier shapes were
    /// not counted in it.
    pub(super) born: u32,
    pub(super) count: Count,
    /// The calls that other gates counted, if the window is counted in memory.
    pub(super) elsewhere: CountElsewhere,
}

/// The count of a window's calls.
#[derive(Clone, Debug)]
pub(super) enum Count {
    /// A window shorter than an hour, counted in memory.
    Memory {
        /// The number of calls of this period.
        used: u32,
    },
    /// A window that ends when no call has passed for its length, counted in memory.
    Idle {
        /// The number of calls since it began.
        used: u32,
    },
    /// A window whose calls are leased from the store.
    Leased(Stock),
}

impl Window {
    pub(super) fn new(limit: RateLimit, born: u32) -> Self {
        let count = match limit.kind {
            WindowKind::Idle => Count::Idle { used: 0 },
            WindowKind::Fixed if limit.is_durable() => Count::Leased(Stock::default()),
            WindowKind::Fixed => Count::Memory { used: 0 },
        };
        Self {
            limit,
            period: 0,
            ends_at: i64::MIN,
            born,
            count,
            elsewhere: CountElsewhere::default(),
        }
    }

    /// The distance that a clock may go back and count as corrected, in microseconds.
    const CORRECTION: i64 = 60_000_000;

    /// Begins the period that holds `now`, if the present one is over. A clock that is corrected a
    /// little does not bring back a period that is over. A clock that goes back by more had been
    /// wrong: a period that it began too soon has not begun, and no call waits for its end.
    pub(super) fn roll(&mut self, now: i64) {
        let begins_at = self.begins_at();
        let too_soon = self.ends_at != i64::MIN && now < begins_at.saturating_sub(Self::CORRECTION);
        if let Count::Idle { .. } = &self.count
            && too_soon
        {
            self.ends_at = now.saturating_add(self.limit.window.micros());
            return;
        }
        if now < self.ends_at && !too_soon {
            return;
        }
        if let Count::Idle { used } = &mut self.count {
            // An idle window begins, and its end is set, when a call passes. It must have been idle
            // for longer than its length.
            if now > self.ends_at {
                *used = 0;
            }
            return;
        }
        let time = Timestamp::from_micros(now);
        self.period = time.period(self.limit.window.seconds());
        self.ends_at = self.limit.window_end(time).micros();
        self.elsewhere = CountElsewhere::default();
        match &mut self.count {
            Count::Memory { used } | Count::Idle { used } => *used = 0,
            Count::Leased(stock) => {
                stock.empty();
            }
        }
    }

    pub(super) const fn begins_at(&self) -> i64 {
        self.ends_at.saturating_sub(self.limit.window.micros())
    }

    pub(super) const fn judge(&self, now: i64) -> Judgement {
        match &self.count {
            Count::Memory { used } | Count::Idle { used } => {
                if used.saturating_add(self.elsewhere.at(now)) < self.limit.calls {
                    Judgement::Passes
                } else {
                    Judgement::Dry
                }
            }
            Count::Leased(stock) => stock.judge(1, now),
        }
    }

    /// Returns the calls of this gate; `None`: they are leased from the store.
    pub(super) const fn used(&self) -> Option<u32> {
        match &self.count {
            Count::Memory { used } | Count::Idle { used } => Some(*used),
            Count::Leased(_) => None,
        }
    }

    pub(super) fn take(&mut self, now: i64) {
        match &mut self.count {
            Count::Memory { used } => *used += 1,
            Count::Idle { used } => {
                *used += 1;
                let end = now.saturating_add(self.limit.window.micros());
                self.ends_at = self.ends_at.max(end);
            }
            Count::Leased(stock) => stock.take(1),
        }
    }

    pub(super) fn remaining(&self, now: i64) -> u32 {
        let calls = self.limit.calls;
        match &self.count {
            Count::Memory { used } | Count::Idle { used } => {
                calls.saturating_sub(used.saturating_add(self.elsewhere.at(now)))
            }
            Count::Leased(stock) => {
                let known = stock.units.saturating_add(stock.left);
                u32::try_from(known).map_or(calls, |known| known.min(calls))
            }
        }
    }

    pub(super) fn view(&self, now: i64) -> RateView {
        RateView {
            limit: self.limit.calls,
            remaining: self.remaining(now),
            reset_seconds: seconds_until(self.ends_at, now),
            window_seconds: self.limit.window.seconds(),
        }
    }

    pub(super) const fn key(&self, license_id: LicenseId) -> LeaseKey {
        LeaseKey {
            license_id,
            counter: Counter::Window(self.limit.window.seconds()),
            period: self.period,
        }
    }

    pub(super) const fn stock(&mut self) -> Option<&mut Stock> {
        match &mut self.count {
            Count::Memory { .. } | Count::Idle { .. } => None,
            Count::Leased(stock) => Some(stock),
        }
    }
}

/// Returns the whole seconds from `now` until `then`, rounded up, at least 1.
pub(super) fn seconds_until(then: i64, now: i64) -> u32 {
    let micros = then.saturating_sub(now).max(1);
    u32::try_from((micros - 1) / 1_000_000 + 1).unwrap_or(u32::MAX)
}
