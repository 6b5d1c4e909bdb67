//! What the caller of a connection owes to the call that is under way, and what his silence means.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use crate::ticks::{self, TICK, ticks_in};

/// A caller who is silent for so long within his request stalls: what breaks then breaks by his doing. So it does where he is
/// so far behind with [`PACE`], or dripping would be cheaper than silence.
const STALL: std::time::Duration = std::time::Duration::from_secs(1);
/// Bytes a second that a body comes with whose caller does not stall.
const PACE: u64 = 500;

/// What it means to a call that its caller says no more or has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Absence {
    /// The end of what he sends means nothing: he may wait for the answer. A reset ends the call.
    #[default]
    Answered,
    /// The end of what he sends ends the call, as a reset does.
    Ends,
    /// The call goes on to its end without him.
    Ignored,
}

/// One per connection, for one call after the other. Of one thread: atomics, so that it is `Sync`.
#[derive(Debug)]
pub(crate) struct CallerSide {
    absence: AtomicU8,
    /// He said that he sends nothing more, and the framework was not told.
    said_end: AtomicBool,
    /// Nobody reads what he sends, so that only his socket tells that he has gone.
    unread: AtomicBool,
    gone: AtomicBool,
    /// The whole answer was handed over.
    answered: AtomicBool,
    /// He waits for `100 Continue`.
    waits: AtomicBool,
    /// The tick in which the wait for more of his request began; [`NOT`]: he is not waited for.
    since: AtomicU64,
    /// Ticks that he was waited for before that.
    waited: AtomicU64,
    /// Bytes of his body.
    bytes: AtomicU64,
    drips: AtomicBool,
    /// How far his body is behind [`PACE`] since he last kept it, in [`BYTE`]s, when bytes of it came last.
    behind: AtomicU64,
}

/// How fast a body has to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyRate {
    /// Ticks that it may be waited for in any case.
    pub(crate) grace: u64,
    /// 0: any.
    pub(crate) bytes_per_second: u64,
}

const TICKS_A_SECOND: u64 = 1_000 / TICK.as_millis() as u64;
const NOT: u64 = u64::MAX;
/// What a byte makes up for, where a tick of waiting costs [`PACE`].
const BYTE: u64 = TICKS_A_SECOND;

impl Default for CallerSide {
    fn default() -> Self {
        Self {
            absence: AtomicU8::new(Absence::Answered as u8),
            said_end: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            since: AtomicU64::new(NOT),
            waited: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            drips: AtomicBool::new(false),
            behind: AtomicU64::new(0),
        }
    }
}

impl CallerSide {
    /// Another call begins.
    pub(super) fn begins(&self) {
        self.set_absence(Absence::Answered);
        self.unread.store(false, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.waits.store(false, Ordering::Relaxed);
        self.since.store(NOT, Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.drips.store(false, Ordering::Relaxed);
        self.behind.store(0, Ordering::Relaxed);
    }

    /// Says what his absence means to the call.
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

    /// Notes that he sends nothing more.
    pub(crate) fn says_end(&self) {
        self.said_end.store(true, Ordering::Relaxed);
    }

    /// Whether he said that he sends nothing more. He may still read.
    pub(crate) fn has_said_end(&self) -> bool {
        self.said_end.load(Ordering::Relaxed)
    }

    /// Notes that nobody reads what he sends until the next call.
    pub(crate) fn is_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    /// Whether his socket has to be asked if he has gone.
    pub(super) fn is_to_be_asked(&self) -> bool {
        self.unread.load(Ordering::Relaxed) && !self.is_gone()
    }

    /// Notes that he reset the connection.
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

    /// Notes that he holds back his body until he is told to go on.
    pub(crate) fn waits_to_go_on(&self) {
        self.waits.store(true, Ordering::Relaxed);
    }

    /// Notes that he was told, or did not wait.
    pub(crate) fn goes_on(&self) {
        self.waits.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_waiting_to_go_on(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Bytes of his request came.
    pub(super) fn moves(&self, count: usize, now: u64) {
        let behind = self.behind(now).saturating_sub(count as u64 * BYTE);
        self.behind.store(behind, Ordering::Relaxed);
        let since = self.since.swap(NOT, Ordering::Relaxed);
        if since != NOT {
            let waited = now.saturating_sub(since);
            self.waited.fetch_add(waited, Ordering::Relaxed);
        }
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        self.goes_on();
    }

    /// Whether his body has been waited for too long, for what came of it. Time in which the upstream took nothing is not his.
    pub(super) fn drips(&self, rate: BodyRate, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        if rate.bytes_per_second == 0 || since == NOT || self.is_waiting_to_go_on() {
            return false;
        }
        let waited = self.waited.load(Ordering::Relaxed) + now.saturating_sub(since);
        let earned = self.bytes.load(Ordering::Relaxed) / rate.bytes_per_second;
        let drips = waited
            > rate
                .grace
                .saturating_add(earned.saturating_mul(TICKS_A_SECOND));
        if drips {
            self.drips.store(true, Ordering::Relaxed);
        }
        drips
    }

    /// More of his request is waited for.
    pub(super) fn is_awaited(&self, now: u64) {
        if self.since.load(Ordering::Relaxed) == NOT {
            self.since.store(now, Ordering::Relaxed);
        }
    }

    /// Whether he has been silent for so long that he stalls.
    fn is_silent(&self, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        since != NOT && ticks::is_over(since, ticks_in(STALL), now)
    }

    /// Whether he has been waited for so long that he stalls, for what came of it.
    pub(super) fn stalls(&self, now: u64) -> bool {
        self.behind(now) > ticks_in(STALL) * PACE
    }

    /// How far he is behind. He makes up for the last two [`STALL`]s alone: who goes on after a pause soon is not behind any more.
    fn behind(&self, now: u64) -> u64 {
        let since = self.since.load(Ordering::Relaxed);
        let waits = since == NOT || self.is_waiting_to_go_on();
        let waited = if waits { 0 } else { now.saturating_sub(since) };
        let behind = self.behind.load(Ordering::Relaxed);
        (behind + waited.saturating_mul(PACE)).min(2 * ticks_in(STALL) * PACE)
    }

    /// Whether nothing more of his request is to be expected in time: his answer is over, or it drips.
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
        let caller = CallerSide::default();
        assert!(!caller.stalls(1_000), "nobody waits for him");
        caller.is_awaited(1_000);
        caller.is_awaited(1_040);
        assert!(!caller.stalls(1_040) && caller.stalls(1_041));
        caller.moves(1, 0);
        assert!(!caller.stalls(2_000));
    }

    #[test]
    fn a_caller_who_drips_stalls_and_one_who_keeps_the_pace_does_not() {
        let caller = CallerSide::default();
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
        let caller = CallerSide::default();
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
        let caller = CallerSide::default();
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
