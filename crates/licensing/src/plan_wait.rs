//! Calls of licenses that name a plan which this gate's configuration lacks wait for its last
//! revision, so that none passes without limits.

use std::sync::Arc;

use model::{KeyHash, Refusal};

use crate::cached_license::CachedLicense;
use crate::licensing::Licensing;

impl Licensing {
    /// Returns a cached license once the terms of its plan are known here. `place` is where it lies
    /// in the cache: the hash of its key, or what stands for its id. A license that names a plan of
    /// another gate's file is limited by that from its first call.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the terms are not known within
    /// `unknown_key_timeout`.
    pub async fn with_plan(
        &self,
        place: &KeyHash,
        entry: Arc<CachedLicense>,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        if !entry.awaits_plan() {
            return Ok(entry);
        }
        let fitted_license = async {
            loop {
                let changed = self.plans_changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let fitted = self.refit(place, entry.clone());
                if !fitted.awaits_plan() {
                    return fitted;
                }
                self.plan_unknown.notify_one();
                changed.await;
            }
        };
        let fitted_license =
            store::suspend_aware::timeout(self.options.unknown_key_timeout, fitted_license).await;
        fitted_license.map_err(|_| Refusal::LicenseStoreUnavailable)
    }

    /// Waits until a license names a plan that is not known here, or a call waits for one. For one
    /// waiter.
    pub async fn plan_asked_for(&self) {
        self.plan_unknown.notified().await;
    }
}
