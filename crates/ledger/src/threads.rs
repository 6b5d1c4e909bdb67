//! The threads of the ledger: when they roll up, when they seal, and what they do when the store
//! does not answer.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::context::Batch;
use crate::error::Error;
use crate::ledger::{LiveLane, Shared, lock};

/// The longest pause between two tries, give or take a quarter, so that the gates of a fleet do not
/// all come back at once.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(4);
/// The inverse of the share of time that roll-ups take at most, so that more calls fall into one
/// row where there are many rows …
const INVERSE_SHARE: u32 = 10;
/// … unless the sums would become older than this.
const MAX_SUM_AGE: Duration = Duration::from_secs(8);
/// The interval at which the sealing thread checks for a lane that is due.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// The interval at which files that are past their retention are looked for.
const RETENTION_INTERVAL: Duration = Duration::from_secs(600);

/// The interval at which the store is asked whether another gate takes stock.
const FREEZE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A flag that ends the threads, and their waits.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(crate) fn set(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }

    /// Waits for `pause`. Returns `true` when it is time to end.
    pub(crate) fn wait(&self, pause: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let (stopped, _) = self
            .changed
            .wait_timeout_while(stopped, pause, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        *stopped
    }
}

/// The pauses between tries, which double with every failure in a row.
pub(crate) struct Pace {
    pause: Duration,
    failing: bool,
}

impl Pace {
    pub(crate) fn new(usual: Duration) -> Self {
        let mut pace = Self {
            pause: usual,
            failing: false,
        };
        pace.succeeded(usual);
        pace
    }

    /// Returns the pause before the next try.
    pub(crate) const fn pause(&self) -> Duration {
        self.pause
    }

    fn succeeded(&mut self, usual: Duration) {
        self.failing = false;
        // Whatever the options say, a thread never spins.
        self.pause = usual.max(Duration::from_millis(1));
    }

    /// Records the result of a try, and the pause after a success; the first failure of a row is
    /// logged.
    pub(crate) fn note(&mut self, what: &str, result: Result<(), Error>, usual: Duration) {
        match result {
            Ok(()) => {
                if self.failing {
                    tracing::info!("the ledger can {what} again");
                }
                self.succeeded(usual);
            }
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "the ledger cannot {what}; nothing is lost, it tries again");
                }
                self.failing = true;
                let longest = MAX_RETRY_PAUSE.max(usual);
                let jitter = RandomState::new().hash_one(()) % 50;
                let part = 0.75 + jitter as f64 / 100.0;
                self.pause = (self.pause * 2).min(longest).mul_f64(part);
            }
        }
    }
}

/// Rolls up the records that were closed since the last time. A long backlog is rolled up one batch
/// after the other, with pauses as long as the work, so that calls keep the machine and others the
/// store.
pub(crate) fn roll_thread(shared: &Shared) {
    let every = shared.options.rollup_every;
    let mut pace = Pace::new(every);
    let mut worked = Duration::ZERO;
    while !shared.stop.wait(pace.pause) {
        fail::fail_point!("ledger::roll::round");
        let begun = Instant::now();
        let result = shared.roll(Batch::One);
        let took = begun.elapsed();
        worked += took;
        let pause = match result {
            Ok(true) => took,
            Ok(false) | Err(_) => rolling_pause(every, std::mem::take(&mut worked)),
        };
        pace.note("roll up", result.map(drop), pause);
    }
}

/// Does work as long as there may be more of it, and pauses for as long as each part of it took.
fn with_pauses(shared: &Shared, part: impl Fn() -> Result<bool, Error>) -> Result<(), Error> {
    loop {
        let begun = Instant::now();
        if !part()? || shared.stop.wait(begun.elapsed()) {
            return Ok(());
        }
    }
}

/// Returns the pause after a roll-up that took `took`.
fn rolling_pause(every: Duration, took: Duration) -> Duration {
    (took * (INVERSE_SHARE - 1)).min(MAX_SUM_AGE).max(every)
}

pub(crate) fn seal_thread(shared: &Shared) {
    let options = &shared.options;
    let look = CHECK_INTERVAL.min(options.seal_every);
    let mut pace = Pace::new(look);
    let (mut last_all, mut last_retention) = (Instant::now(), Instant::now());
    let mut last_stock = Instant::now();
    while !shared.stop.wait(pace.pause) {
        let hour = last_all.elapsed() >= options.seal_every;
        let due = |lane: &LiveLane| {
            let (records, bytes) = lane.unsealed();
            records > 0 && (hour || bytes >= options.seal_bytes)
        };
        let result = with_pauses(shared, || {
            shared.seal(due, Batch::One)?;
            let more = |lane: &LiveLane| due(lane) && lane.fills_a_file();
            Ok(shared.lanes.iter().any(more))
        });
        if hour && result.is_ok() {
            last_all = Instant::now();
        }
        pace.note("seal", result, look);
        if last_stock.elapsed() >= FREEZE_CHECK_INTERVAL {
            last_stock = Instant::now();
            if let Err(error) = shared.await_thaw() {
                tracing::debug!(%error, "whether another gate takes stock is not known");
            }
        }
        if last_retention.elapsed() >= RETENTION_INTERVAL {
            last_retention = Instant::now();
            if let Err(error) = shared.remove_old_files() {
                tracing::warn!(%error, "old sealed files could not be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_up_takes_a_tenth_of_the_time_at_most_and_sums_are_never_older_than_some_seconds() {
        let pause = |took| rolling_pause(Duration::from_secs(2), Duration::from_millis(took));
        assert_eq!(pause(20), Duration::from_secs(2));
        assert_eq!(pause(400), Duration::from_millis(3_600));
        assert_eq!(pause(60_000), MAX_SUM_AGE);
        let rare = rolling_pause(Duration::from_secs(60), Duration::from_secs(3));
        assert_eq!(rare, Duration::from_secs(60));
    }
}
