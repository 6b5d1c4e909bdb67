//! The bound on claims of tokens that are looked after because their answer was lost.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits to look after claims that were not answered, at most 1,024 at a time.
pub(crate) struct LostClaimPermits(Arc<Semaphore>);

impl LostClaimPermits {
    /// The number of claims that are looked after at once. Further ones stay as they are.
    const MAX_LOST_CLAIMS: usize = 1_024;

    /// Returns a permit to look after one claim; `None`: all are taken.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

impl Default for LostClaimPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(Self::MAX_LOST_CLAIMS)))
    }
}
