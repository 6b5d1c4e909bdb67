//! The stocks of a meter: units that this gate leased and did not use yet.

use std::time::Duration;

use crate::options::LeaseOptions;

/// The stock of one counter. Times are microseconds since the UNIX epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Stock {
    /// The units that are leased and not used.
    pub(super) units: u64,
    /// The units that the store had left after the last lease.
    pub(super) left: u64,
    /// The units that other gates held by that answer and may give back.
    elsewhere: u64,
    /// The time until which "nothing is left" is believed.
    dry_until: i64,
    /// The level below which more units are leased ahead.
    low: u64,
    /// The units used since `since`: the rate that the next lease is sized by.
    taken: u64,
    since: i64,
}

/// The judgement of whether units can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The stock has enough units.
    Passes,
    /// The stock has too few units, and the store has none.
    Dry,
    /// The stock has too few units; the store may have some.
    Unknown,
}

/// The shortest time that a rate is computed over, so that a first burst does not look like a
/// flood.
const MIN_RATE_SPAN_US: i64 = 10_000;

impl Stock {
    const MIN_RECHECK: Duration = Duration::from_millis(100);

    pub(super) const fn judge(&self, units: u64, now: i64) -> Judgement {
        if self.units >= units {
            Judgement::Passes
        } else if now < self.dry_until {
            Judgement::Dry
        } else {
            Judgement::Unknown
        }
    }

    /// Returns whether what [`Stock::judge`] found to be too little could be enough, once others
    /// give back what they do not use.
    pub(super) const fn may_come_back(&self, units: u64) -> bool {
        self.elsewhere > 0 && self.units.saturating_add(self.elsewhere) >= units
    }

    /// Takes units that [`Stock::judge`] let pass.
    pub(super) fn take(&mut self, units: u64) {
        debug_assert!(self.units >= units, "judged before it is taken");
        self.units -= units;
        self.taken = self.taken.saturating_add(units);
    }

    /// Returns whether it is time to lease ahead, so that no call has to wait.
    pub(super) const fn runs_low(&self, now: i64) -> bool {
        self.units < self.low && self.left > 0 && now >= self.dry_until
    }

    /// Returns how many units to ask for, `need` of them for calls that wait, so that `allowance`
    /// units are there beside what the rate calls for; `None`: none.
    pub(super) fn demand(
        &mut self,
        need: u64,
        allowance: u64,
        now: i64,
        options: &LeaseOptions,
    ) -> Option<u64> {
        if now < self.dry_until || (need == 0 && !self.runs_low(now)) {
            return None;
        }
        let elapsed = now.saturating_sub(self.since).max(MIN_RATE_SPAN_US);
        let horizon = i64::try_from(options.horizon.as_micros()).unwrap_or(i64::MAX);
        let expected = u128::from(self.taken) * horizon.unsigned_abs() as u128 / elapsed as u128;
        let mut want = u64::try_from(expected).unwrap_or(u64::MAX);
        want = want.clamp(options.first.min(options.most), options.most);
        if !options.alone && self.since != 0 {
            want = want.min(self.left / 8);
        }
        if elapsed > MIN_RATE_SPAN_US {
            self.taken = 0;
            self.since = now;
        }
        let missing = self.floor(allowance, options).saturating_sub(self.units);
        Some(want.max(need).max(1).saturating_add(missing))
    }

    /// Returns how much of the allowance is kept: near the end of a balance an eighth of what the
    /// store has left, so that no gate hoards what others could use. Before the first answer
    /// nothing is known to be left.
    const fn floor(&self, allowance: u64, options: &LeaseOptions) -> u64 {
        let most = if options.alone {
            self.left
        } else {
            self.left / 8
        };
        if allowance < most { allowance } else { most }
    }

    /// Adds what the store granted.
    pub(super) fn add(
        &mut self,
        [units, left, elsewhere]: [u64; 3],
        allowance: u64,
        now: i64,
        options: &LeaseOptions,
    ) {
        // A pause is never so short that a call asks again before it believed the answer it waited
        // for.
        let recheck = options.recheck.max(Self::MIN_RECHECK);
        let recheck = i64::try_from(recheck.as_micros()).unwrap_or(i64::MAX);
        self.units = self.units.saturating_add(units);
        self.left = left;
        self.elsewhere = elsewhere;
        self.low = self.floor(allowance, options).max(units / 2);
        let soon = recheck.min(1_000_000);
        self.dry_until = match (left, units) {
            // Checked again as soon as callers are told to come back.
            (0, _) if elsewhere > 0 => now.saturating_add(soon),
            (0, _) => now.saturating_add(recheck),
            // No units were granted although some are left: there may be some soon.
            (_, 0) => now.saturating_add(soon),
            _ => 0,
        };
    }

    /// Empties the stock, as when its period is over; the rate is still known. Returns what was in
    /// it.
    pub(super) fn empty(&mut self) -> u64 {
        self.left = 0;
        self.elsewhere = 0;
        self.dry_until = 0;
        self.low = 0;
        std::mem::take(&mut self.units)
    }

    /// Records that the store may have units again.
    pub(super) fn forget_dryness(&mut self) {
        self.dry_until = 0;
    }
}
