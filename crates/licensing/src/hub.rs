//! Where the states of licenses meet the background: the queue of meters that want leases, and bells for those who wait.
//!
//! Bells are shared by many licenses, so that a license costs no bell of its own; who hears one looks whether it rang
//! for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::LicenseId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::entry::LicenseState;
use crate::last_uses::LastUses;
use crate::meter::{Ask, Refused};
use crate::options::LeaseOptions;
use crate::states::fold;

const BELLS: usize = 256;

/// What the states of all licenses share.
pub(crate) struct LeaseQueue {
    pub(crate) options: LeaseOptions,
    /// Each meter stands in it at most once, so that it is bounded by the number of states.
    queue: Mutex<VecDeque<Arc<LicenseState>>>,
    work: Notify,
    /// Whether there are other gates to tell what is counted here.
    pub(crate) is_shared: bool,
    /// Meters that have something to tell them; each stands in it at most once.
    untold: Mutex<Vec<Arc<LicenseState>>>,
    /// The last uses of API keys that are not in the store yet.
    pub(crate) last_uses: LastUses,
    lease_bells: Box<[Notify]>,
    cut_bells: Box<[Notify]>,
    born: Instant,
    /// Milliseconds after `born` since which the store has not answered; 0: it is not being asked.
    asked_at: AtomicU64,
    /// The store failed when it was last asked.
    is_down: AtomicBool,
}

impl std::fmt::Debug for LeaseQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}

impl LeaseQueue {
    pub(crate) fn new(options: LeaseOptions, is_shared: bool) -> Arc<Self> {
        let bells = || (0..BELLS).map(|_| Notify::new()).collect();
        Arc::new(Self {
            options,
            queue: Mutex::default(),
            work: Notify::new(),
            is_shared,
            untold: Mutex::default(),
            last_uses: LastUses::default(),
            lease_bells: bells(),
            cut_bells: bells(),
            born: Instant::now(),
            asked_at: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
        })
    }

    /// Puts a meter into the queue. Its own flag says that it is not there yet.
    pub(crate) fn enqueue(&self, state: &Arc<LicenseState>) {
        self.queue.lock().push_back(state.clone());
        self.work.notify_one();
    }

    /// Puts a meter into the queue of those who have something to tell. Its own flag says that it is not there yet.
    pub(crate) fn enqueue_untold(&self, state: &Arc<LicenseState>) {
        self.untold.lock().push(state.clone());
    }

    /// Takes all meters that have something to tell.
    pub(crate) fn take_untold(&self) -> Vec<Arc<LicenseState>> {
        std::mem::take(&mut *self.untold.lock())
    }

    /// Waits for meters in the queue and takes some of them.
    pub(crate) async fn next_batch(&self) -> Vec<Arc<LicenseState>> {
        loop {
            let batch: Vec<_> = {
                let mut queue = self.queue.lock();
                let length = queue.len().min(self.options.batch.max(1));
                queue.drain(..length).collect()
            };
            if !batch.is_empty() {
                return batch;
            }
            self.work.notified().await;
        }
    }

    /// Waits until the store answered a wish of this meter, made before or now.
    pub(crate) async fn await_lease(
        &self,
        state: &Arc<LicenseState>,
        ask: &Ask,
    ) -> Result<(), Refused> {
        if self.is_store_away() {
            return Err(Refused::unavailable());
        }
        let joined = state.meter().join(ask);
        if joined.enqueue {
            self.enqueue(state);
        }
        loop {
            let bell = self.lease_bell(state.id()).notified();
            tokio::pin!(bell);
            bell.as_mut().enable();
            match state.meter().round() {
                (round, _) if round == joined.round => {}
                (_, true) => return Err(Refused::unavailable()),
                (_, false) => return Ok(()),
            }
            bell.await;
        }
    }

    /// Waits until what a meter let go is back in the store, but not longer than a call waits for units.
    pub(crate) async fn settled(&self, state: &Arc<LicenseState>) {
        // What was let go while the store was being asked goes back in the round after.
        const ROUNDS: u32 = 2;
        let Some(begun) = state.meter().unsettled() else {
            return;
        };
        let rounds = async {
            loop {
                let bell = self.lease_bell(state.id()).notified();
                tokio::pin!(bell);
                bell.as_mut().enable();
                match state.meter().unsettled() {
                    Some(round) if round.wrapping_sub(begun) < ROUNDS => bell.await,
                    _ => return,
                }
            }
        };
        // Whoever asks is told what is known by then.
        let _ = tokio::time::timeout(self.options.timeout, rounds).await;
    }

    pub(crate) fn lease_bell(&self, id: LicenseId) -> &Notify {
        &self.lease_bells[(fold(id) >> 32) as usize % BELLS]
    }

    pub(crate) fn cut_bell(&self, id: LicenseId) -> &Notify {
        &self.cut_bells[(fold(id) >> 32) as usize % BELLS]
    }

    /// Notes that the store is being asked.
    pub(crate) fn asking(&self) {
        self.asked_at.store(self.age().max(1), Ordering::Relaxed);
    }

    /// Notes that the store answered.
    pub(crate) fn store_answered(&self) {
        self.asked_at.store(0, Ordering::Relaxed);
        self.is_down.store(false, Ordering::Relaxed);
    }

    /// Notes that the store does not answer. Nobody waits for units until it does.
    pub(crate) fn store_is_away(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    /// Whether the store failed when it was last asked, or has not answered for longer than a call waits.
    fn is_store_away(&self) -> bool {
        let now = self.age();
        let asked_at = self.asked_at.load(Ordering::Relaxed);
        let silent = asked_at != 0 && now.saturating_sub(asked_at) > millis(self.options.timeout);
        silent || self.is_down.load(Ordering::Relaxed)
    }

    fn age(&self) -> u64 {
        millis(self.born.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
