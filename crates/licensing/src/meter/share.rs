//! What a meter reports to the other gates and learns of them: calls of windows that are counted in
//! memory, and running calls.
//!
//! A meter judges by its own count and by what the others had counted at the last exchange. It
//! reports its whole count, never a difference, so that an exchange that is lost or repeated
//! changes nothing.

use std::time::Duration;

use model::{LicenseId, Timestamp, WindowKind};

use super::elsewhere::CountElsewhere;
use super::state::MeterState;
use super::window::{Count, Window};
use crate::fleet::{Counted, CounterReport, PeerCounts};

/// The running calls that count on other gates, too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SharedSlots {
    /// The fewest running calls since the last exchange: a call that ends sooner than others can
    /// know of it is not held against them.
    lowest: u32,
    pub(super) elsewhere: CountElsewhere,
}

impl SharedSlots {
    pub(super) fn fell_to(&mut self, in_use: u32) {
        self.lowest = self.lowest.min(in_use);
    }
}

impl Window {
    /// Returns the name of the count for all gates; `None`: its calls are leased from the store.
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

    fn report(&self, license_id: LicenseId, now: Timestamp) -> Option<CounterReport> {
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
    /// Returns whether there are counts to report and no report is queued yet; one is now.
    pub(super) fn wants_report(&mut self) -> bool {
        !self.is_reporting && self.is_shared() && {
            self.is_reporting = true;
            true
        }
    }

    fn is_shared(&self) -> bool {
        self.limits.concurrency.is_some() || self.windows.iter().any(|it| it.counted().is_some())
    }

    /// Returns the counts of this gate, and whether they are to be reported again though nothing
    /// changes, since calls are running. The count of running calls is believed for `hold`.
    pub(super) fn reports(
        &mut self,
        license_id: LicenseId,
        now: Timestamp,
        hold: Duration,
    ) -> (Vec<CounterReport>, bool) {
        self.roll(now.micros());
        let windows = self.windows.iter();
        let mut reports: Vec<_> = windows
            .filter_map(|window| window.report(license_id, now))
            .collect();
        let mut again = false;
        if self.limits.concurrency.is_some() {
            let in_use = self.in_use();
            let own = std::mem::replace(&mut self.slots.lowest, in_use);
            again = own.max(in_use) > 0;
            reports.push(CounterReport {
                license_id,
                counted: Counted::InFlight,
                own,
                left: hold,
            });
        }
        self.is_reporting = again;
        (reports, again)
    }

    /// Takes in what all other gates together have counted.
    pub(super) fn learn(&mut self, counted: Counted, peers: PeerCounts, now: Timestamp) {
        if counted == Counted::InFlight {
            return self.slots.elsewhere.learn(peers, now);
        }
        let same = |window: &&mut Window| window.counted() == Some(counted);
        if let Some(window) = self.windows.iter_mut().find(same) {
            window.elsewhere.learn(peers, now);
        }
    }
}
