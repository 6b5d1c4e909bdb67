//! What a call asks of a meter and what it gets.

use model::{Refusal, Timestamp};

/// What a call needs.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Units of the balance to reserve.
    pub units: u64,
    /// When the call came.
    pub now: Timestamp,
    /// Whether it takes one of the calls that may be under way at once, until its reservation is ended.
    pub slot: bool,
}

/// What a call holds. Plain data: end it with `settle` or `cancel`, once.
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
    /// Its units came from what was leased for it alone.
    pub(super) held: bool,
    pub(super) left: Option<u64>,
    pub(super) view: Option<RateView>,
}

/// Units of a balance that this gate's lease holds and its meter knows nothing of, since they are meant for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldUnits {
    /// The epoch of the balance that they are of.
    pub epoch: u32,
    /// How many.
    pub units: u64,
}

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReserveError {
    /// A limit is reached.
    Refused(Refused),
    /// It may fit, but the store must be asked for units first. Nothing was taken.
    NeedLease,
}

/// A refusal with what the caller is told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// Seconds until another try may pass, at least 1; `None`: it will not by itself.
    pub retry_after: Option<u32>,
    /// The tightest window, if the license has any.
    pub view: Option<RateView>,
    /// It is for the lack of units that other gates hold and may give back.
    pub held_elsewhere: bool,
}

/// The tightest rate window after a call: the one with the fewest calls left, of those the one that lasts longest.
///
/// Everything that `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10) and `X-RateLimit-*` say;
/// `EffectiveLimits::policy` is the value of `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateView {
    /// Calls that pass in a window.
    pub limit: u32,
    /// Calls left in this one, as far as this gate knows.
    pub remaining: u32,
    /// Seconds until it ends, at least 1.
    pub reset_seconds: u32,
    /// Its length in seconds.
    pub window_seconds: u32,
}

impl Reservation {
    /// Of a license without limits: holds nothing.
    pub(crate) const fn unlimited(ask: &Ask) -> Self {
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

    /// Units taken from the balance; 0 where none are counted.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// The epoch of the balance that they were taken from.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// When the call counts: the time that was asked for, or the beginning of a window that began meanwhile. It must be
    /// the `started_at` of the record, by which the ledger tells the window that the call was leased from.
    #[must_use]
    pub const fn counted_at(&self) -> Timestamp {
        self.at
    }

    /// Whether units of a balance were taken.
    #[must_use]
    pub const fn is_limited(&self) -> bool {
        self.limited
    }

    /// Whether the call counts against a window of an hour or longer.
    #[must_use]
    pub const fn is_windowed(&self) -> bool {
        self.windowed
    }

    /// Takes over units that were leased for this call alone; it asked for none.
    pub fn hold(&mut self, leased: HeldUnits) {
        debug_assert_eq!(self.units, 0, "units are taken once");
        self.units = leased.units;
        self.epoch = leased.epoch;
        self.limited = true;
        self.held = true;
    }

    /// Lets go of the units that were leased for this call alone, if they are still here: the reservation goes on without
    /// them.
    pub fn let_go(&mut self) -> Option<HeldUnits> {
        let held = std::mem::take(&mut self.held);
        held.then(|| HeldUnits {
            epoch: self.epoch,
            units: std::mem::take(&mut self.units),
        })
    }

    /// Units that can be taken after this call, as far as this gate knows; `None` where none are counted.
    #[must_use]
    pub const fn left(&self) -> Option<u64> {
        self.left
    }

    /// The tightest window, this call counted; `None`: the license has no windows.
    #[must_use]
    pub const fn view(&self) -> Option<RateView> {
        self.view
    }
}

impl Refused {
    /// A refusal that has nothing to do with limits.
    pub(crate) const fn plain(refusal: Refusal) -> Self {
        Self {
            refusal,
            retry_after: None,
            view: None,
            held_elsewhere: false,
        }
    }

    /// A refusal because the store cannot be asked.
    pub(crate) const fn unavailable() -> Self {
        Self {
            refusal: Refusal::QuotaUnavailable,
            retry_after: Some(1),
            view: None,
            held_elsewhere: false,
        }
    }
}
