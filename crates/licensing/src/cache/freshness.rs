//! The freshness of what this gate knows of changes that others made, and the requests to read
//! them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use model::Moment;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The freshness of this gate's knowledge of what others changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The changes were read within `stale_after`.
    Fresh,
    /// The changes were not read within `stale_after`, and nobody has tried since: this process was
    /// suspended, or is about to try. They must be read before a call is judged: await
    /// [`Admission::find_after_refresh`](crate::Admission::find_after_refresh).
    Unread {
        /// The time since the changes were last read.
        age: Duration,
    },
    /// The changes cannot be read. Known licenses pass while `age` is within the grace of their
    /// app.
    Stale {
        /// The time since the changes were last read.
        age: Duration,
    },
}

impl Freshness {
    /// Returns whether knowledge is too old for an app with this grace to admit a call (G8).
    /// `false` for a gate that has merely not read for a while: it is about to.
    #[must_use]
    pub(crate) fn is_beyond(self, grace: Duration) -> bool {
        matches!(self, Self::Stale { age } if age > grace)
    }
}

/// The record of when the changes were read, and when that failed, with the requests to read them.
pub(crate) struct Reading {
    /// The time at which the last successful reading began.
    last: AtomicU64,
    /// The time at which the store was last seen not to answer; 0: it has answered since.
    failed: AtomicU64,
    /// Notified at the end of each reading.
    ended: Notify,
    /// The number of calls that the last reading refused.
    refused: AtomicU32,
    /// Notified when the changes are to be read at once.
    wanted: Notify,
    /// Notified by calls with a key unknown here: one reading of the changes serves all of them.
    unknown_key: Notify,
}

impl Reading {
    pub(crate) fn begun(at: Moment) -> Self {
        Self {
            last: AtomicU64::new(at.0),
            failed: AtomicU64::new(0),
            ended: Notify::new(),
            refused: AtomicU32::new(0),
            wanted: Notify::new(),
            unknown_key: Notify::new(),
        }
    }

    /// Asks for a reading at once.
    pub(crate) fn request(&self) {
        self.wanted.notify_one();
    }

    /// Asks for a reading on behalf of a call with a key unknown here.
    pub(crate) fn request_for_unknown_key(&self) {
        self.unknown_key.notify_one();
    }

    /// Waits until a reading is asked for.
    pub(crate) async fn requested(&self) {
        self.wanted.notified().await;
    }

    /// Waits until a call with a key unknown here asks for a reading.
    pub(crate) async fn requested_for_unknown_key(&self) {
        self.unknown_key.notified().await;
    }

    /// Returns a wait for the end of a reading, of one that fails too.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }

    /// Records the end of a reading that began at `begun`.
    pub(crate) fn succeeded(&self, begun: Moment) {
        self.last.fetch_max(begun.0, Ordering::AcqRel);
        self.failed.store(0, Ordering::Release);
        self.refused.store(0, Ordering::Relaxed);
        self.ended.notify_waiters();
    }

    /// Returns how long the next call that the last reading refuses holds back its answer: the
    /// first not at all, the others in turn, a millisecond apart, spread over `within`.
    pub(super) fn turn(&self, within: Duration) -> Duration {
        const STEP: Duration = Duration::from_millis(1);
        let refused = self.refused.fetch_add(1, Ordering::Relaxed);
        let steps = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        STEP * (refused % steps.max(1))
    }

    /// Returns whether a finished reading began at this moment or after it, so that it holds all
    /// that was committed before.
    pub(crate) fn began_since(&self, moment: Moment) -> bool {
        self.last.load(Ordering::Acquire) >= moment.0
    }

    /// Records that the store failed, or has not answered for long.
    fn failed(&self, now: Moment) {
        self.failed.store(now.0.max(1), Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Records a failure or a timeout of the store, which was asked at `since`, unless this process
    /// was suspended for so long that it knows nothing of the store: more than twice `timeout` has
    /// passed.
    pub(crate) fn missed(&self, since: Moment, now: Moment, timeout: Duration) {
        if now.since(since) <= 2 * timeout {
            self.failed(now);
        }
    }

    /// Returns the freshness at `now`. A failure counts for `believed` only: a process that was
    /// suspended meanwhile has to try again.
    pub(super) fn freshness(
        &self,
        now: Moment,
        stale_after: Duration,
        believed: Duration,
    ) -> Freshness {
        let age = now.since(Moment(self.last.load(Ordering::Acquire)));
        if age <= stale_after {
            return Freshness::Fresh;
        }
        let failed = self.failed.load(Ordering::Acquire);
        if failed != 0 && now.since(Moment(failed)) <= believed {
            Freshness::Stale { age }
        } else {
            Freshness::Unread { age }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn old_knowledge_is_stale_only_while_the_store_is_known_to_fail() {
        let start = Moment(3_600_000_000);
        let reading = Reading::begun(start);
        let at = |after: u32| reading.freshness(start.plus(SECOND * after), 2 * SECOND, 3 * SECOND);
        assert_eq!(at(2), Freshness::Fresh);
        assert_eq!(at(3), Freshness::Unread { age: 3 * SECOND });
        reading.failed(start.plus(SECOND));
        assert_eq!(at(2), Freshness::Fresh);
        assert_eq!(at(4), Freshness::Stale { age: 4 * SECOND });
        assert_eq!(at(5), Freshness::Unread { age: 5 * SECOND });
        reading.succeeded(start.plus(SECOND));
        assert_eq!(at(3), Freshness::Fresh);
        assert_eq!(at(4), Freshness::Unread { age: 3 * SECOND });
    }

    #[test]
    fn those_whom_one_reading_refuses_are_answered_in_turn() {
        let reading = Reading::begun(Moment(1));
        let within = Duration::from_millis(50);
        let turn = || reading.turn(within).as_millis();
        let turns: Vec<_> = (0..120).map(|_| turn()).collect();
        let at_once = |moment| turns.iter().filter(|turn| **turn == moment).count();
        assert_eq!(turns[..3], [0, 1, 2]);
        assert!((0..50).all(|moment| (2..=3).contains(&at_once(moment))));
        reading.succeeded(Moment(2));
        assert_eq!(turn(), 0, "a single one never waits");
        assert_eq!(reading.turn(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_process_that_stood_still_while_it_waited_does_not_take_that_for_a_failure_of_the_store() {
        let start = Moment(3_600_000_000);
        let reading = Reading::begun(start);
        let at = |after: u32| reading.freshness(start.plus(SECOND * after), 2 * SECOND, 3 * SECOND);
        reading.missed(start, start.plus(5 * SECOND), SECOND);
        assert_eq!(at(5), Freshness::Unread { age: 5 * SECOND });
        reading.missed(start.plus(5 * SECOND), start.plus(6 * SECOND), SECOND);
        assert_eq!(at(6), Freshness::Stale { age: 6 * SECOND });
    }
}
