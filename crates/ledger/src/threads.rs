//! The ledger's two threads: when to roll up, when to seal, and what to do when the store is away.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ledger::{LiveLane, Shared, lock};

/// Longest pause between two tries, give or take a quarter, so that the gates of a fleet do not all come back at once.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// How often the sealing thread looks whether a lane is due.
const LOOK: Duration = Duration::from_millis(500);
/// How often files are looked through for old ones.
const RETENTION: Duration = Duration::from_secs(600);

/// Ends the threads' waits.
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

    /// Waits; `true` when it is time to end.
    fn wait(&self, pause: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let (stopped, _) = self
            .changed
            .wait_timeout_while(stopped, pause, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        *stopped
    }
}

/// Pauses that double with every failure in a row.
struct Pace {
    usual: Duration,
    pause: Duration,
}

impl Pace {
    fn new(usual: Duration) -> Self {
        // Whatever the options say, a thread never spins.
        let usual = usual.max(Duration::from_millis(1));
        Self {
            usual,
            pause: usual,
        }
    }

    /// Notes how a try went; the first failure of a row is told.
    fn note(&mut self, what: &str, result: Result<(), crate::Error>) {
        match result {
            Ok(()) => {
                if self.pause > self.usual {
                    tracing::info!("the ledger can {what} again");
                }
                self.pause = self.usual;
            }
            Err(error) => {
                if self.pause == self.usual {
                    tracing::warn!(%error, "the ledger cannot {what}; nothing is lost, it tries again");
                }
                let longest = LONGEST_PAUSE.max(self.usual);
                let jitter = RandomState::new().hash_one(()) % 50;
                let part = 0.75 + jitter as f64 / 100.0;
                self.pause = (self.pause * 2).min(longest).mul_f64(part);
            }
        }
    }
}

pub(crate) fn roll_thread(shared: &Shared) {
    let mut pace = Pace::new(shared.options.rollup_every);
    while !shared.stop.wait(pace.pause) {
        pace.note("roll up", shared.roll());
    }
}

pub(crate) fn seal_thread(shared: &Shared) {
    let options = &shared.options;
    let mut pace = Pace::new(LOOK.min(options.seal_every));
    let (mut last_all, mut last_retention) = (Instant::now(), Instant::now());
    while !shared.stop.wait(pace.pause) {
        let hour = last_all.elapsed() >= options.seal_every;
        let due = |lane: &LiveLane| {
            let (records, bytes) = lane.unsealed();
            records > 0 && (hour || bytes >= options.seal_bytes)
        };
        let result = shared.seal(due, hour);
        if hour && result.is_ok() {
            last_all = Instant::now();
        }
        pace.note("seal", result);
        if last_retention.elapsed() >= RETENTION {
            last_retention = Instant::now();
            if let Err(error) = shared.remove_old_files() {
                tracing::warn!(%error, "old sealed files could not be removed");
            }
        }
    }
}
