//! The committer: the thread that syncs all lanes, publishes one number for each and notifies each
//! once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::files;
use crate::lane::Lane;
use crate::repair;
use crate::segment::Segment;
use crate::state::JournalState;
use crate::{Observer, Sync};

/// The number of waiters of one sync after which the next one gathers for the whole commit window;
/// fewer, for their share of it.
const FULL: usize = 32;
/// The pause between attempts while the disk refuses.
const RETRY: Duration = Duration::from_secs(1);

/// The state of the thread `journal-commit`.
pub(crate) struct Committer {
    state: Arc<JournalState>,
    lanes: Vec<Arc<Lane>>,
    observer: Arc<dyn Observer>,
    /// The frames of each lane that were counted to a commit.
    counted: Vec<u64>,
    /// The time at which the last sync ended.
    last: Instant,
    /// The number of waiters of the last sync.
    crowd: usize,
    last_tail: Instant,
    /// The time of the next attempt while the disk refuses; else `None`.
    retry_at: Option<Instant>,
}

impl Committer {
    pub(crate) fn new(
        state: Arc<JournalState>,
        lanes: Vec<Arc<Lane>>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let now = Instant::now();
        let counted = vec![0; lanes.len()];
        Self {
            state,
            lanes,
            observer,
            counted,
            last: now,
            crowd: 0,
            last_tail: now,
            retry_at: None,
        }
    }

    /// Runs the thread until the journal is stopping, and then syncs everything once more.
    pub(crate) fn run(mut self) {
        self.state.committer.adopt();
        while !self.state.stopping() {
            let now = Instant::now();
            if let Some(at) = self.retry_at {
                if now < at {
                    let state = Arc::clone(&self.state);
                    state.committer.sleep(at - now, || state.stopping());
                } else {
                    self.commit(|lane| Some(lane.written().0));
                }
            } else if now >= self.next_tail() {
                // This is checked first, so that lanes with impatient callers do not keep the
                // others waiting for ever.
                self.last_tail = now;
                let sync = self.state.options.sync;
                self.commit(|lane| {
                    if wanted(lane) {
                        Some(lane.written().0)
                    } else {
                        tail(lane, sync)
                    }
                });
            } else if let Some(rest) = self.window_left(now) {
                self.gather(rest);
            } else if self.lanes.iter().any(|lane| wanted(lane)) {
                self.commit(|lane| wanted(lane).then(|| lane.written().0));
            } else {
                let limit = self.next_tail() - now;
                self.state.committer.sleep(limit, || {
                    self.state.stopping() || self.lanes.iter().any(|lane| wanted(lane))
                });
            }
        }
        self.commit(|lane| Some(lane.written().0));
        self.state.set_stopped();
        self.notify_all();
    }

    fn next_tail(&self) -> Instant {
        self.last_tail + self.state.options.tail_sync_interval
    }

    /// Returns the rest of the pause after a sync in which records gather to share the next one;
    /// `None`: it is over, or somebody waits and no other call is on the way.
    ///
    /// The pause grows with the number of waiters of the last sync. If few calls come, a pause
    /// would cost them time and save little; if many come, each sync that is saved lets the
    /// callers' own thread run.
    fn window_left(&self, now: Instant) -> Option<Duration> {
        let share = self.crowd.min(FULL) as u32;
        let pause = self.state.options.commit_window * share / FULL as u32;
        let left = pause.checked_sub(now - self.last)?;
        (!left.is_zero() && !self.complete()).then_some(left)
    }

    /// Returns whether somebody waits, and no call is on the way that is likely to join.
    fn complete(&self) -> bool {
        self.lanes.iter().any(|lane| wanted(lane))
            && self.lanes.iter().all(|lane| lane.expected() == 0)
    }

    /// Sleeps through the pause after a sync without being woken by each waiter. This saves two
    /// switches of threads a sync.
    fn gather(&self, limit: Duration) {
        self.state.gathering.store(true, Ordering::SeqCst);
        self.state
            .committer
            .sleep(limit, || self.state.stopping() || self.complete());
        // The flag is cleared before the next look at who waits: whoever saw it set has recorded
        // its position before.
        self.state.gathering.store(false, Ordering::SeqCst);
    }

    /// Syncs each lane up to the position that `target` names for it, and notifies its waiters.
    fn commit(&mut self, target: impl Fn(&Lane) -> Option<u64>) {
        let crowd = self.lanes.iter().map(|lane| lane.waiting.len()).sum();
        let mut refused = false;
        for index in 0..self.lanes.len() {
            let lane = Arc::clone(&self.lanes[index]);
            let Some(target) = target(&lane).filter(|target| *target > lane.durable_now()) else {
                continue;
            };
            let begun = Instant::now();
            let outcome = self.sync(&lane, target);
            (self.last, self.crowd) = (Instant::now(), crowd);
            match outcome {
                Ok(()) => {
                    self.count(index, &lane, self.last - begun);
                    lane.notify();
                }
                Err(_) => refused = true,
            }
        }
        if refused {
            self.retry_at = Some(Instant::now() + RETRY);
            self.state.set_failed(true);
            self.notify_all();
        } else if self.retry_at.take().is_some() {
            self.state.set_failed(false);
        }
    }

    fn count(&mut self, index: usize, lane: &Lane, took: Duration) {
        // Frames written after the sync began may be counted to it; the sum is right.
        let frames = lane.opened() + lane.closed();
        let records = frames - self.counted[index];
        self.counted[index] = frames;
        self.state.commits.fetch_add(1, Ordering::Relaxed);
        self.observer.committed(index, records, took);
    }

    fn notify_all(&self) {
        for lane in &self.lanes {
            lane.notify();
        }
    }

    /// Syncs a lane from its durable position to `target`, oldest segment first.
    fn sync(&self, lane: &Lane, target: u64) -> std::io::Result<()> {
        for segment in unsynced(lane, target) {
            let up_to = segment.end().unwrap_or(target).min(target);
            lane.durable_to(self.sync_segment(lane, &segment, up_to)?);
            if segment.end() == Some(up_to) {
                segment.map.rest();
            }
        }
        Ok(())
    }

    fn sync_segment(
        &self,
        lane: &Lane,
        segment: &Arc<Segment>,
        up_to: u64,
    ) -> std::io::Result<u64> {
        if !segment.poisoned() {
            match files::sync_data(&segment.file) {
                Ok(()) => return Ok(up_to),
                Err(_) => {
                    segment.poison();
                    self.state.failed_syncs.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        let durable = repair::replace(&self.state, lane, segment);
        if durable.is_err() {
            self.state.failed_syncs.fetch_add(1, Ordering::Relaxed);
        }
        durable
    }
}

/// Returns whether somebody waits for more than is durable. A position that nobody has written yet
/// is no reason to sync.
fn wanted(lane: &Lane) -> bool {
    let durable = lane.durable().0;
    lane.waiting.wanted() > durable && lane.written().0 > durable
}

/// Returns the position up to which to sync although nobody waits.
fn tail(lane: &Lane, sync: Sync) -> Option<u64> {
    match sync {
        Sync::Disk => Some(lane.written().0),
        Sync::Process => lane.segments().back().map(|segment| segment.start),
    }
}

/// Returns the segments with bytes between the durable position and `target`.
fn unsynced(lane: &Lane, target: u64) -> Vec<Arc<Segment>> {
    let durable = lane.durable().0;
    let open_ended = |segment: &Arc<Segment>| segment.end().is_none_or(|end| end > durable);
    let segments = lane.segments();
    segments
        .iter()
        .filter(|segment| segment.start < target && open_ended(segment))
        .cloned()
        .collect()
}
