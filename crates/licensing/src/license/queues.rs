//! The queues and notifications that the states of all licenses share.

use std::sync::Arc;

use parking_lot::Mutex;

use super::last_uses::LastUses;
use super::notify_table::NotifyTable;
use super::state::LicenseState;
use crate::leases::LeaseQueue;
use crate::options::LeaseOptions;

/// The queues and notifications that the states of all licenses share, so that a license costs
/// none of its own.
pub(crate) struct LicenseQueues {
    /// The meters that need leases.
    pub(crate) leases: LeaseQueue,
    /// Notified when the status or the end of a license changed.
    pub(crate) cuts: NotifyTable,
    /// The last uses of API keys that are not in the store yet.
    pub(crate) last_uses: LastUses,
    /// Whether there are other gates to report counts to.
    pub(crate) is_shared: bool,
    /// The meters with counts to report; each stands in it at most once.
    unreported: Mutex<Vec<Arc<LicenseState>>>,
}

impl LicenseQueues {
    pub(crate) fn new(options: LeaseOptions, is_shared: bool) -> Arc<Self> {
        Arc::new(Self {
            leases: LeaseQueue::new(options),
            cuts: NotifyTable::default(),
            last_uses: LastUses::default(),
            is_shared,
            unreported: Mutex::default(),
        })
    }

    /// Puts a meter into the queue for reports. The meter's own flag says that it is not there yet.
    pub(crate) fn enqueue_unreported(&self, state: &Arc<LicenseState>) {
        self.unreported.lock().push(state.clone());
    }

    /// Takes all meters with counts to report.
    pub(crate) fn take_unreported(&self) -> Vec<Arc<LicenseState>> {
        std::mem::take(&mut *self.unreported.lock())
    }
}

impl std::fmt::Debug for LicenseQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LicenseQueues").finish_non_exhaustive()
    }
}
