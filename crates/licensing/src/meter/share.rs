//! What a meter tells the other gates and learns of them: calls of windows that are counted in memory, and calls under way.
//!
//! A meter judges by its own count and by what the others had counted at the last exchange. It tells its whole count, never
//! a difference, so that an exchange that is lost or repeated changes nothing.

use std::time::Duration;

use model::{LicenseId, Timestamp, WindowKind};

use super::elsewhere::CountElsewhere;
use super::state::MeterState;
use super::window::{Count, Window};
use crate::fleet::{Counted, CounterReport, PeerCounts};

/// The calls under way that count on other gates, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SharedSlots {
    /// The fewest that there were since the last exchange: a call that is over sooner than others can know of it is not
    /// held against them.
    lowest: u32,
    pub(super) elsewhere: CountElsewhere,
}

impl SharedSlots {
    pub(super) fn fell_to(&mut self, in_use: u32) {
        self.lowest = self.lowest.min(in_use);
    }
}

impl Window {
    /// As what it is known to all gates; `None`: its calls are leased from the store.
    fn counted(&self) -> Option<Counted> {
        let seconds = self.limit.window.seconds();
        match (&self.count, self.limit.kind) {
            (Count::Leased(_), _) => None,
            (_, WindowKind::Idle) => Some(Counted::Idle { seconds }),
            (_, WindowKind::Fixed) => Some(Counted::Window {
                seconds,
                period: self.period,
            }),
        }
    }

    fn tally(&self, license_id: LicenseId, now: Timestamp) -> Option<CounterReport> {
        let counted = self.counted()?;
        let own = self.used().unwrap_or(0);
        let left = Timestamp::from_micros(self.ends_at).since(now);
        Some(CounterReport {
            license_id,
            counted,
            own: if left.is_zero() { 0 } else { own },
            left,
        })
    }
}

impl MeterState {
    /// Whether there is something to tell and nobody tells it yet; somebody does now.
    pub(super) fn wants_telling(&mut self) -> bool {
        !self.from_result && self.is_shared() && {
            self.from_result = true;
            true
        }
    }

    fn is_shared(&self) -> bool {
        self.limits.concurrency.is_some() || self.windows.iter().any(|it| it.counted().is_some())
    }

    /// What this gate has counted; also whether it is to be told again though nothing changes, since calls are under way.
    /// These are believed for `hold`.
    pub(super) fn tallies(
        &mut self,
        license_id: LicenseId,
        now: Timestamp,
        hold: Duration,
    ) -> (Vec<CounterReport>, bool) {
        self.roll(now.micros());
        let windows = self.windows.iter();
        let mut tallies: Vec<_> = windows
            .filter_map(|window| window.tally(license_id, now))
            .collect();
        let mut again = false;
        if self.limits.concurrency.is_some() {
            let in_use = self.in_use();
            let own = std::mem::replace(&mut self.slots.lowest, in_use);
            again = own.max(in_use) > 0;
            tallies.push(CounterReport {
                license_id,
                counted: Counted::InFlight,
                own,
                left: hold,
            });
        }
        self.from_result = again;
        (tallies, again)
    }

    /// Learns what all other gates together have counted of the same.
    pub(super) fn learn(&mut self, counted: Counted, others: PeerCounts, now: Timestamp) {
        if counted == Counted::InFlight {
            return self.slots.elsewhere.learn(others, now);
        }
        let same = |window: &&mut Window| window.counted() == Some(counted);
        if let Some(window) = self.windows.iter_mut().find(same) {
            window.elsewhere.learn(others, now);
        }
    }
}
