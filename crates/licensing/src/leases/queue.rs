//! The queue of meters that need leases, and the waits of calls for one.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::store_health::StoreHealth;
use crate::license::{LicenseState, NotifyTable};
use crate::meter::{Ask, Refused};
use crate::options::LeaseOptions;

/// The queue of meters that need leases, with the calls that wait for them.
pub(crate) struct LeaseQueue {
    options: LeaseOptions,
    /// The meters that need a lease. Each stands in it at most once, so that it is bounded by the
    /// number of states.
    waiting: Mutex<VecDeque<Arc<LicenseState>>>,
    filled: Notify,
    /// Notified when the store answered a lease request of a license, or failed.
    answers: NotifyTable,
    health: StoreHealth,
}

impl LeaseQueue {
    pub(crate) fn new(options: LeaseOptions) -> Self {
        Self {
            options,
            waiting: Mutex::default(),
            filled: Notify::new(),
            answers: NotifyTable::default(),
            health: StoreHealth::default(),
        }
    }

    /// Returns the options of leases.
    pub(crate) const fn options(&self) -> &LeaseOptions {
        &self.options
    }

    /// Puts a meter into the queue. The meter's own flag says that it is not there yet.
    pub(crate) fn enqueue(&self, state: &Arc<LicenseState>) {
        self.waiting.lock().push_back(state.clone());
        self.filled.notify_one();
    }

    /// Waits until meters are in the queue and takes up to `batch` of them.
    pub(super) async fn next_batch(&self) -> Vec<Arc<LicenseState>> {
        loop {
            let batch: Vec<_> = {
                let mut waiting = self.waiting.lock();
                let length = waiting.len().min(self.options.batch.max(1));
                waiting.drain(..length).collect()
            };
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until the store answered a lease request of this meter, made before or now.
    pub(crate) async fn await_lease(
        &self,
        state: &Arc<LicenseState>,
        ask: &Ask,
    ) -> Result<(), Refused> {
        if self.health.is_away(self.options.timeout) {
            return Err(Refused::unavailable());
        }
        let joined = state.meter().join(ask);
        if joined.enqueue {
            self.enqueue(state);
        }
        loop {
            let answered = self.answers.of(state.id()).notified();
            tokio::pin!(answered);
            answered.as_mut().enable();
            match state.meter().round() {
                (round, _) if round == joined.round => {}
                (_, true) => return Err(Refused::unavailable()),
                (_, false) => return Ok(()),
            }
            answered.await;
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
                let answered = self.answers.of(state.id()).notified();
                tokio::pin!(answered);
                answered.as_mut().enable();
                match state.meter().unsettled() {
                    Some(round) if round.wrapping_sub(begun) < ROUNDS => answered.await,
                    _ => return,
                }
            }
        };
        // After the timeout the caller goes on with what is known by then.
        let _ = tokio::time::timeout(self.options.timeout, rounds).await;
    }

    /// Wakes the calls that wait for one of these meters.
    pub(super) fn wake_callers<'a>(&self, states: impl Iterator<Item = &'a Arc<LicenseState>>) {
        for state in states {
            self.answers.of(state.id()).notify_waiters();
        }
    }

    /// Returns the record of whether the store answers.
    pub(super) const fn health(&self) -> &StoreHealth {
        &self.health
    }
}
