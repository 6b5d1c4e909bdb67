//! The recovery of earlier starts beside the calls of this one: step by step, with pauses as long
//! as the work, unless somebody waits for it.
//!
//! Rollups come before files: the leased units of an instance stay leased until all its records are
//! rolled up, so that no balance is ever over-spent; they only become free later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::InstanceId;

use super::instance::InstanceRecovery;
use super::queue::RecoveryQueue;
use super::survey::remove_finished;
use crate::context::{LaneSource, LedgerContext};
use crate::error::Error;
use crate::ledger::{Shared, lock};
use crate::threads::Pace;

/// The nice value of the thread: calls come first when both want the processor.
const NICE: i32 = 10;
/// The longest time after which a pause ends when somebody begins to wait.
const MAX_REACTION_TIME: Duration = Duration::from_millis(20);

/// The recovery of earlier starts, and its progress.
#[derive(Default)]
pub(crate) struct CatchUp {
    /// The instances to recover. Only the holder of the lock ships any of them.
    pub(crate) work: Mutex<RecoveryQueue>,
    progress: Mutex<Progress>,
    changed: Condvar,
    /// The number of threads that wait for progress.
    waiters: AtomicUsize,
}

/// The progress of a recovery, which can be read without waiting for its work.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// Lanes whose records are not all in files yet.
    lanes: Vec<LaneSource>,
    /// The number of records that are not in the rollups.
    pub(crate) behind: u64,
    /// Whether all records are in the rollups, and all leases are returned.
    pub(crate) is_rolled: bool,
    /// Whether nothing is left to do.
    pub(crate) is_over: bool,
    /// Whether the last step failed and is to be tried again.
    pub(crate) is_failing: bool,
}

impl Progress {
    fn of(work: &RecoveryQueue, is_failing: bool) -> Self {
        Self {
            lanes: work
                .iter()
                .flat_map(InstanceRecovery::lane_sources)
                .cloned()
                .collect(),
            behind: work.iter().map(InstanceRecovery::behind).sum(),
            is_rolled: work.iter().all(InstanceRecovery::is_rolled),
            is_over: work.is_empty(),
            is_failing,
        }
    }
}

/// Returns whether an error may pass by itself: the store comes back, a disk is given room.
const fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Store(_) | Error::Io { .. } | Error::Injected(_)
    )
}

/// Returns the index of the next instance to work on: first the marks of all instances, then the
/// rollups of all, then the files of all.
fn next(work: &RecoveryQueue) -> Option<usize> {
    let found = |wanted: fn(&InstanceRecovery) -> bool| work.iter().position(wanted);
    found(InstanceRecovery::is_found)
        .or_else(|| found(|recovery| !recovery.is_rolled()))
        .or(if work.is_empty() { None } else { Some(0) })
}

impl CatchUp {
    pub(crate) fn of(work: RecoveryQueue) -> Self {
        Self {
            progress: Mutex::new(Progress::of(&work, false)),
            work: Mutex::new(work),
            ..Self::default()
        }
    }

    /// Returns the progress.
    pub(crate) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// Returns the number of records that are not in the rollups.
    pub(crate) fn behind(&self) -> u64 {
        lock(&self.progress).behind
    }

    /// Returns the lanes whose records are not all in files yet.
    pub(crate) fn lanes(&self) -> Vec<LaneSource> {
        lock(&self.progress).lanes.clone()
    }

    /// Returns the instances that are known to be dead and are not finished.
    pub(crate) fn instances(&self) -> Vec<InstanceId> {
        let progress = lock(&self.progress);
        let mut instances: Vec<_> = progress.lanes.iter().map(|lane| lane.instance).collect();
        instances.dedup();
        instances
    }

    /// Waits up to `timeout` until `far_enough` holds, and not for a store that fails. Returns
    /// whether it holds. The recovery makes no pauses meanwhile.
    pub(crate) fn wait(&self, timeout: Duration, far_enough: impl Fn(&Progress) -> bool) -> bool {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let progress = lock(&self.progress);
        let waits = |progress: &mut Progress| !far_enough(progress) && !progress.is_failing;
        let (progress, _) = self
            .changed
            .wait_timeout_while(progress, timeout, waits)
            .unwrap_or_else(PoisonError::into_inner);
        self.waiters.fetch_sub(1, Ordering::SeqCst);
        far_enough(&progress)
    }

    /// Does the next step. Returns whether there is more to do.
    fn part(&self, context: &LedgerContext) -> Result<bool, Error> {
        let mut work = lock(&self.work);
        let Some(index) = next(&work) else {
            return Ok(false);
        };
        let done = match work[index].part(context) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let recovery = work.remove(index).expect("it was just worked on");
                let instance = recovery.instance();
                tracing::info!(%instance, "what an earlier start left is in the books");
                recovery.delete_spares()
            }
            Err(error) if may_pass(&error) => Err(error),
            Err(error) => {
                let recovery = work.remove(index).expect("it was just worked on");
                let (instance, path) = (recovery.instance(), recovery.path().unwrap_or_default());
                tracing::error!(%instance, path = %path.display(), %error, "a journal of an earlier start cannot be read to its end, it stays as it is");
                Ok(())
            }
        };
        *lock(&self.progress) = Progress::of(&work, done.is_err());
        self.changed.notify_all();
        done.map(|()| !work.is_empty())
    }

    /// Publishes the progress of work that the holder of `work` did.
    pub(crate) fn show(&self, work: &RecoveryQueue) {
        *lock(&self.progress) = Progress::of(work, false);
        self.changed.notify_all();
    }

    /// Pauses, as long as nobody waits. Returns `true` when it is time to end.
    fn pause(&self, shared: &Shared, pause: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let waiters =
                self.waiters.load(Ordering::SeqCst) > 0 && !lock(&self.progress).is_failing;
            let left = pause.saturating_sub(begun.elapsed());
            if waiters || left.is_zero() {
                return shared.stop.wait(Duration::ZERO);
            }
            if shared.stop.wait(left.min(MAX_REACTION_TIME)) {
                return true;
            }
        }
    }
}

/// Recovers earlier starts, and then removes the journals that are finished and old.
pub(crate) fn catch_up_thread(shared: &Shared) {
    let catch_up = &shared.catch_up;
    if catch_up.progress().is_over {
        return;
    }
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "what earlier starts left is read at the usual priority");
    }
    let mut pace = Pace::new(Duration::ZERO);
    loop {
        let begun = Instant::now();
        let result = catch_up.part(&shared.context);
        let more = result.as_ref().map_or(true, |more| *more);
        pace.note(
            "read what earlier starts left",
            result.map(drop),
            begun.elapsed(),
        );
        if !more {
            break;
        }
        if catch_up.pause(shared, pace.pause()) {
            return;
        }
    }
    if let Err(error) = remove_finished(&shared.context, &shared.options) {
        tracing::warn!(%error, "old journals could not be removed");
    }
}
