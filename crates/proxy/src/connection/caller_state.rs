//! The state of a connection's caller during a call: whether it is still there, and how its request
//! comes.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::ticks::{self, TICK, ticks_in};

/// The time after which a caller who is silent within its request stalls: what breaks then is its
/// doing. A caller who falls this far behind [`MIN_PACE`] stalls too, or else sending drop by drop
/// would be cheaper than silence.
const STALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);
/// The rate, in bytes a second, of a body whose caller does not stall.
const MIN_PACE: u64 = 500;

/// The effect on a call when its caller half-closes the connection or is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Absence {
    /// A half-close means nothing, since the caller may wait for the answer. A reset ends the call.
    #[default]
    Answered,
    /// A half-close ends the call, as a reset does.
    Ends,
    /// The call goes on to its end without the caller.
    Ignored,
}

/// The state of the caller, one per connection, for one call after the other. Only one thread uses
/// it; the atomics make it `Sync`.
#[derive(Debug)]
pub(crate) struct CallerState {
    absence: AtomicU8,
    /// Whether the caller has half-closed the connection, which the framework is not told.
    said_end: AtomicBool,
    /// Whether nobody reads what the caller sends, so that only the socket shows whether it is
    /// gone.
    unread: AtomicBool,
    gone: AtomicBool,
    /// Whether the whole answer was handed over.
    answered: AtomicBool,
    /// Whether the caller waits for `100 Continue`.
    waits: AtomicBool,
    /// The tick in which the wait for more of the request began; [`UNSET`]: nothing is awaited.
    since: AtomicU64,
    /// The ticks of earlier waits in this call.
    waited: AtomicU64,
    /// The bytes of the request that were received in this call.
    bytes: AtomicU64,
    drips: AtomicBool,
    /// How far the body was behind [`MIN_PACE`] when bytes of it were received last, in units of
    /// which [`BYTE_CREDIT`] make a byte.
    behind: AtomicU64,
}

/// The rate at which a body has to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRate {
    /// The ticks for which it may be waited for at any rate.
    pub(crate) grace: u64,
    /// The least bytes a second; 0: any rate.
    pub(crate) bytes_per_second: u64,
}

const TICKS_PER_SECOND: u64 = 1_000 / TICK.as_millis() as u64;
const UNSET: u64 = u64::MAX;
/// The credit of a received byte, where a tick of waiting costs [`MIN_PACE`].
const BYTE_CREDIT: u64 = TICKS_PER_SECOND;

impl Default for CallerState {
    fn default() -> Self {
        Self {
            absence: AtomicU8::new(Absence::Answered as u8),
            said_end: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            since: AtomicU64::new(UNSET),
            waited: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            drips: AtomicBool::new(false),
            behind: AtomicU64::new(0),
        }
    }
}

impl CallerState {
    /// Begins another call.
    pub(super) fn begins(&self) {
        self.set_absence(Absence::Answered);
        self.unread.store(false, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.waits.store(false, Ordering::Relaxed);
        self.since.store(UNSET, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.drips.store(false, Ordering::Relaxed);
        self.behind.store(0, Ordering::Relaxed);
    }

    /// Sets what the caller's absence means to the call.
    pub(crate) fn set_absence(&self, absence: Absence) {
        self.absence.store(absence as u8, Ordering::Relaxed);
    }

    pub(crate) fn absence(&self) -> Absence {
        match self.absence.load(Ordering::Relaxed) {
            number if number == Absence::Ends as u8 => Absence::Ends,
            number if number == Absence::Ignored as u8 => Absence::Ignored,
            _ => Absence::Answered,
        }
    }

    /// Notes that the caller has half-closed the connection.
    pub(crate) fn says_end(&self) {
        self.said_end.store(true, Ordering::Relaxed);
    }

    /// Returns whether the caller has half-closed the connection. It may still read.
    pub(crate) fn has_said_end(&self) -> bool {
        self.said_end.load(Ordering::Relaxed)
    }

    /// Notes that nobody reads what the caller sends until the next call.
    pub(crate) fn is_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Returns whether the socket has to be asked if the caller is gone.
    pub(super) fn is_to_be_asked(&self) -> bool {
        self.unread.load(Ordering::Relaxed) && !self.is_gone()
    }

    /// Notes that the caller has reset the connection.
    pub(crate) fn goes(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Notes that the whole answer was handed over.
    pub(crate) fn is_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Notes that the caller holds back its body until it gets `100 Continue`.
    pub(crate) fn waits_to_go_on(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// Notes that the caller got `100 Continue`, or did not wait for it.
    pub(crate) fn goes_on(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_waiting_to_go_on(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Notes received bytes of the request.
    pub(super) fn moves(&self, count: usize, now: u64) {
        let behind = self.behind(now).saturating_sub(count as u64 * BYTE_CREDIT);
        self.behind.store(behind, Ordering::Relaxed);
        let since = self.since.swap(UNSET, Ordering::Relaxed);
        if since != UNSET {
            let waited = now.saturating_sub(since);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        self.goes_on();
    }

    /// Returns whether the body has been waited for too long, given its bytes so far. Time in which
    /// the upstream took nothing does not count.
    pub(super) fn drips(&self, rate: BodyRate, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        if rate.bytes_per_second == 0 || since == UNSET || self.is_waiting_to_go_on() {
            return false;
        }
        let waited = self.waited.load(Ordering::Relaxed) + now.saturating_sub(since);
        let earned = self.bytes.load(Ordering::Relaxed) / rate.bytes_per_second;
        let drips = waited
            > rate
                .grace
                .saturating_add(earned.saturating_mul(TICKS_PER_SECOND));
        if drips {
            self.drips.store(true, Ordering::Relaxed);
        }
        drips
    }

    /// Notes that more of the request is awaited.
    pub(super) fn is_awaited(&self, now: u64) {
        if self.since.load(Ordering::Relaxed) == UNSET {
            self.since.store(now, Ordering::Relaxed);
        }
    }

    /// Returns whether the caller has been silent for so long that it stalls.
    fn is_silent(&self, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != UNSET && ticks::is_over(since, ticks_in(STALL_TIMEOUT), now)
    }

    /// Returns whether the caller stalls: it is silent for too long, or too far behind.
    pub(super) fn stalls(&self, now: u64) -> bool {
        self.behind(now) > ticks_in(STALL_TIMEOUT) * MIN_PACE
    }

    /// Returns how far the caller is behind, at most by two [`STALL_TIMEOUT`]s: after a long pause
    /// it catches up soon.
    fn behind(&self, now: u64) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        let waits = since == UNSET || self.is_waiting_to_go_on();
        let waited = if waits { 0 } else { now.saturating_sub(since) };
        let behind = self.behind.load(Ordering::Relaxed);
        (behind + waited.saturating_mul(MIN_PACE)).min(2 * ticks_in(STALL_TIMEOUT) * MIN_PACE)
    }

    /// Returns whether the rest of the request is not awaited any more: the answer is over and the
    /// request does not come, or it comes too slowly.
    pub(super) fn is_done_with(&self, now: u64) -> bool {
        self.drips.load(Ordering::Relaxed)
            || self.answered.load(Ordering::Relaxed)
                && (self.is_waiting_to_go_on() || self.is_silent(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_stalls_who_is_waited_for_too_long() {
        let caller = CallerState::default();
        assert!(!caller.stalls(1_000), "nobody waits for him");
        caller.is_awaited(1_000);
        caller.is_awaited(1_040);
        assert!(!caller.stalls(1_040) && caller.stalls(1_041));
        caller.moves(1, 0);
        assert!(!caller.stalls(2_000));
    }

    #[test]
    fn a_caller_who_drips_stalls_and_one_who_keeps_the_pace_does_not() {
        let caller = CallerState::default();
        // A great deal, then a byte every half second: what came before does not pay for it.
        caller.moves(1_000_000, 0);
        for step in 0..4 {
            caller.is_awaited(step * 20);
            caller.moves(1, step * 20 + 20);
        }
        assert!(caller.stalls(80), "at once after a byte of his");
        caller.moves(1_000, 81);
        assert!(!caller.stalls(81), "he goes on");
        for step in 4..40 {
            caller.is_awaited(step * 20);
            caller.moves(300, step * 20 + 20);
            assert!(!caller.stalls(step * 20 + 20), "{step}");
        }
        caller.begins();
        caller.waits_to_go_on();
        caller.is_awaited(1_000);
        caller.moves(1, 2_000);
        assert!(!caller.stalls(2_000), "he held it back, rightly");
    }

    #[test]
    fn after_its_answer_a_request_is_waited_for_while_it_comes() {
        let caller = CallerState::default();
        caller.waits_to_go_on();
        assert!(!caller.is_done_with(1));
        caller.is_answered();
        assert!(caller.is_done_with(1), "he holds it back, rightly");
        caller.moves(1, 0);
        caller.is_awaited(1);
        assert!(!caller.is_done_with(41) && caller.is_done_with(42));
        caller.begins();
        assert!(!caller.is_done_with(42));
    }

    #[test]
    fn a_body_that_drips_is_told_from_one_that_is_not_taken() {
        let rate = BodyRate {
            grace: 100,
            bytes_per_second: 10,
        };
        let caller = CallerState::default();
        assert!(!caller.drips(rate, 10_000), "nobody waits for him");
        caller.is_awaited(0);
        assert!(!caller.drips(rate, 100) && caller.drips(rate, 101));
        caller.begins();
        caller.is_awaited(0);
        caller.moves(20, 100);
        caller.is_awaited(1_000);
        assert!(!caller.drips(rate, 1_080), "20 bytes are worth 80 ticks");
        assert!(caller.drips(rate, 1_081));
        let any = BodyRate {
            bytes_per_second: 0,
            ..rate
        };
        assert!(!caller.drips(any, 100_000));
    }
}
