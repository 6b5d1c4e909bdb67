//! The request of a call to a meter, and the answers.

use model::{Refusal, Timestamp};

/// The needs of a call.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// The number of units of the balance to reserve.
    pub units: u64,
    /// The time at which the call came.
    pub now: Timestamp,
    /// Whether it takes one of the calls that may be under way at once, until its reservation is
    /// ended.
    pub slot: bool,
}

/// The holdings of a call. Plain data: end it with `settle` or `cancel`, once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a reservation that is neither settled nor cancelled holds its slot for ever"]
pub struct Reservation {
    pub(super) units: u64,
    pub(super) at: Timestamp,
    pub(super) epoch: u32,
    pub(super) era: u32,
    pub(super) shape: u32,
    pub(super) limited: bool,
    pub(super) windowed: bool,
    pub(super) slot: bool,
    /// Whether its units were leased for this call alone.
    pub(super) held: bool,
    pub(super) left: Option<u64>,
    pub(super) view: Option<RateView>,
}

/// Units of a balance that this gate leased for one call alone, and of which its meter knows
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUnits {
    /// The epoch of the balance that the units are of.
    pub epoch: u32,
    /// The number of units.
    pub units: u64,
}

/// The reason why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveError {
    /// A limit is reached.
    Refused(Refused),
    /// The call may fit, but the store must be asked for units first. Nothing was taken.
    NeedLease,
}

/// A refusal with what the caller is told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub refusal: Refusal,
    /// The number of seconds until another try may pass, at least 1; `None`: none will without a
    /// change.
    pub retry_after: Option<u32>,
    /// The tightest window, if the license has any.
    pub view: Option<RateView>,
    /// Whether units are lacking that other gates hold and may give back.
    pub held_elsewhere: bool,
}

/// The tightest rate window after a call: the one with the fewest calls left, of those the one that
/// lasts longest.
///
/// Holds everything that `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) and `X-RateLimit-*`
/// say; `EffectiveLimits::policy` is the value of `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateView {
    /// The number of calls that pass in a window.
    pub limit: u32,
    /// The number of calls left in this window, as far as this gate knows.
    pub remaining: u32,
    /// The number of seconds until the window ends, at least 1.
    pub reset_seconds: u32,
    /// The length of the window in seconds.
    pub window_seconds: u32,
}

impl Reservation {
    /// Makes the reservation of a license without limits, which holds nothing.
    pub const fn unlimited(ask: &Ask) -> Self {
        Self {
            units: 0,
            at: ask.now,
            epoch: 0,
            era: 0,
            shape: 0,
            limited: false,
            windowed: false,
            slot: false,
            held: false,
            left: None,
            view: None,
        }
    }

    pub(super) const fn is_nothing(&self) -> bool {
        !self.slot && !self.limited && self.view.is_none()
    }

    pub(super) const fn holds_slot(&self) -> bool {
        self.slot
    }

    /// Returns the units taken from the balance; 0 if none are counted.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Returns the epoch of the balance that the units were taken from.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Returns the time at which the call counts: the time that was asked for, or the beginning of
    /// a window that began meanwhile. It must be the `started_at` of the record, by which the
    /// ledger finds the window that the call was leased from.
    #[must_use]
    pub const fn counted_at(&self) -> Timestamp {
        self.at
    }

    /// Returns whether units of a balance were taken.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.limited
    }

    /// Returns whether the call counts against a window of an hour or longer.
    #[must_use]
    pub const fn is_windowed(&self) -> bool {
        self.windowed
    }

    /// Takes over units that were leased for this call alone, whose reservation asked for none.
    pub fn hold(&mut self, leased: HeldUnits) {
        debug_assert_eq!(self.units, 0, "units are taken once");
        self.units = leased.units;
        self.epoch = leased.epoch;
        self.limited = true;
        self.held = true;
    }

    /// Takes out the units that were leased for this call alone, if they are still in the
    /// reservation, which goes on without them.
    pub fn let_go(&mut self) -> Option<HeldUnits> {
        let held = std::mem::take(&mut self.held);
        held.then(|| HeldUnits {
            epoch: self.epoch,
            units: std::mem::take(&mut self.units),
        })
    }

    /// Returns the units that can be taken after this call, as far as this gate knows; `None`: none
    /// are counted.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        self.left
    }

    /// Returns the tightest window, with this call counted; `None`: the license has no windows.
    #[must_use]
    pub const fn view(&self) -> Option<RateView> {
        self.view
    }
}

impl Refused {
    /// Returns a refusal that has nothing to do with limits.
    pub(crate) const fn plain(refusal: Refusal) -> Self {
        Self {
            refusal,
            retry_after: None,
            view: None,
            held_elsewhere: false,
        }
    }

    /// Returns a refusal because the store cannot be asked.
    pub(crate) const fn unavailable() -> Self {
        Self {
            refusal: Refusal::QuotaUnavailable,
            retry_after: Some(1),
            view: None,
            held_elsewhere: false,
        }
    }
}
