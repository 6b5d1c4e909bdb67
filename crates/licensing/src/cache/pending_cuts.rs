//! The licenses that others changed, for whose running calls the new status is still to be read.

use std::collections::HashSet;

use model::LicenseId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The licenses that others changed, for whose running calls the new status is still to be read.
#[derive(Default)]
pub(crate) struct PendingCuts {
    ids: Mutex<HashSet<LicenseId>>,
    wanted: Notify,
}

impl PendingCuts {
    /// Adds a license, and wakes the task that reads its status.
    pub(super) fn add(&self, id: LicenseId) {
        self.ids.lock().insert(id);
        self.wanted.notify_one();
    }

    /// Adds licenses without waking the task.
    pub(crate) fn extend(&self, ids: impl IntoIterator<Item = LicenseId>) {
        self.ids.lock().extend(ids);
    }

    /// Wakes the task that reads the status of the licenses.
    pub(crate) fn wake(&self) {
        self.wanted.notify_one();
    }

    /// Takes all licenses.
    pub(crate) fn take(&self) -> Vec<LicenseId> {
        std::mem::take(&mut *self.ids.lock()).into_iter().collect()
    }

    /// Waits until the task is woken.
    pub(crate) async fn woken(&self) {
        self.wanted.notified().await;
    }
}
