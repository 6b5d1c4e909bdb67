//! The queue of meters that need leases, and the notifications of those who wait for one.
//!
//! Notifications are shared by many licenses, so that a license costs none of its own. Whoever is
//! notified checks whether it was for their license.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::LicenseId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cached_license::LicenseState;
use crate::last_uses::LastUses;
use crate::meter::{Ask, Refused};
use crate::options::LeaseOptions;
use crate::states::fold;

const NOTIFIES: usize = 256;

/// The part that the states of all licenses share: queues of meters, and what is known of the
/// store's health.
pub(crate) struct LeaseQueue {
    pub(crate) options: LeaseOptions,
    /// The meters that need a lease. Each stands in it at most once, so that it is bounded by the
    /// number of states.
    queue: Mutex<VecDeque<Arc<LicenseState>>>,
    work: Notify,
    /// Whether there are other gates to report counts to.
    pub(crate) is_shared: bool,
    /// The meters with counts to report; each stands in it at most once.
    unreported: Mutex<Vec<Arc<LicenseState>>>,
    /// The last uses of API keys that are not in the store yet.
    pub(crate) last_uses: LastUses,
    lease_notifies: Box<[Notify]>,
    cut_notifies: Box<[Notify]>,
    born: Instant,
    /// The time, in milliseconds after `born`, since which the store has not answered; 0: the store
    /// is not being asked.
    asked_at: AtomicU64,
    /// Whether the store failed when it was last asked.
    is_down: AtomicBool,
}

impl std::fmt::Debug for LeaseQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseQueue").finish_non_exhaustive()
    }
}

impl LeaseQueue {
    pub(crate) fn new(options: LeaseOptions, is_shared: bool) -> Arc<Self> {
        let notifies = || (0..NOTIFIES).map(|_| Notify::new()).collect();
        Arc::new(Self {
            options,
            queue: Mutex::default(),
            work: Notify::new(),
            is_shared,
            unreported: Mutex::default(),
            last_uses: LastUses::default(),
            lease_notifies: notifies(),
            cut_notifies: notifies(),
            born: Instant::now(),
            asked_at: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
        })
    }

    /// Puts a meter into the queue for leases. The meter's own flag says that it is not there yet.
    pub(crate) fn enqueue(&self, state: &Arc<LicenseState>) {
        self.queue.lock().push_back(state.clone());
        self.work.notify_one();
    }

    /// Puts a meter into the queue for reports. The meter's own flag says that it is not there yet.
    pub(crate) fn enqueue_unreported(&self, state: &Arc<LicenseState>) {
        self.unreported.lock().push(state.clone());
    }

    /// Takes all meters with counts to report.
    pub(crate) fn take_unreported(&self) -> Vec<Arc<LicenseState>> {
        std::mem::take(&mut *self.unreported.lock())
    }

    /// Waits until meters are in the queue and takes up to `batch` of them.
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

    /// Waits until the store answered a lease request of this meter, made before or now.
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
            let notified = self.lease_notify(state.id()).notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            match state.meter().round() {
                (round, _) if round == joined.round => {}
                (_, true) => return Err(Refused::unavailable()),
                (_, false) => return Ok(()),
            }
            notified.await;
        }
    }

    /// Waits until the units that a meter gave back are in the store, up to the timeout of a lease.
    pub(crate) async fn settled(&self, state: &Arc<LicenseState>) {
        // Units that are given back while the store is being asked go with the next round.
        const ROUNDS: u32 = 2;
        let Some(begun) = state.meter().unsettled() else {
            return;
        };
        let rounds = async {
            loop {
                let notified = self.lease_notify(state.id()).notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                match state.meter().unsettled() {
                    Some(round) if round.wrapping_sub(begun) < ROUNDS => notified.await,
                    _ => return,
                }
            }
        };
        // After the timeout the caller goes on with what is known by then.
        let _ = tokio::time::timeout(self.options.timeout, rounds).await;
    }

    pub(crate) fn lease_notify(&self, id: LicenseId) -> &Notify {
        &self.lease_notifies[(fold(id) >> 32) as usize % NOTIFIES]
    }

    pub(crate) fn cut_notify(&self, id: LicenseId) -> &Notify {
        &self.cut_notifies[(fold(id) >> 32) as usize % NOTIFIES]
    }

    /// Records that the store is being asked.
    pub(crate) fn asking(&self) {
        self.asked_at.store(self.age().max(1), Ordering::Relaxed);
    }

    /// Records that the store answered.
    pub(crate) fn store_answered(&self) {
        self.asked_at.store(0, Ordering::Relaxed);
        self.is_down.store(false, Ordering::Relaxed);
    }

    /// Records that the store does not answer. Nobody waits for units until it does.
    pub(crate) fn store_is_away(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    /// Returns whether the store failed when it was last asked, or has not answered for longer than
    /// a call waits.
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
