//! Licenses as they enter the cache, and are fitted to plans that changed.

use std::sync::Arc;

use model::{KeyHash, LicenseId, Moment, Refusal};
use store::{ChangeNumber, Snapshot};

use super::{ChangeLog, LicenseCache};
use crate::license::{CachedApiKey, CachedCredential, CachedLicense};
use crate::meter::Stamp;

impl LicenseCache {
    /// Puts a license that was read into the cache; `None`: a newer version is known. `_log` is the
    /// locked log of this cache.
    pub(crate) fn fill(
        &self,
        _log: &ChangeLog,
        hash: KeyHash,
        snapshot: Snapshot,
        api_key: Option<Arc<CachedApiKey>>,
    ) -> Option<Arc<CachedLicense>> {
        let state = self.states.get_or_create(snapshot.license.id);
        if snapshot.version < state.version() {
            return None;
        }
        // The store is ahead of the changes read so far: this one outdates older cached licenses.
        let calls_may_be_under_way = state.version() != ChangeNumber::default();
        if state.outdate(snapshot.version) && calls_may_be_under_way {
            // What became of its other credentials is not in the snapshot.
            self.pending_cuts.add(snapshot.license.id);
        }
        state.learn(&snapshot.license);
        let stamp = Stamp {
            version: snapshot.version,
            plans: self.plans.serial(),
        };
        let plans = self.plans.load();
        let mut license = snapshot.license;
        plans.share_names(Arc::make_mut(&mut license));
        let terms = plans.terms(&license);
        let credential = CachedCredential::new(&snapshot.credential, snapshot.allow_ips);
        if let (true, Some(end)) = (credential.is_token, credential.expires_at) {
            state.tokens().note(credential.id, end, self.clock.now());
        }
        let devices = snapshot.devices.into();
        let cached = CachedLicense::new(license, credential, devices, terms, stamp, state, api_key);
        let cached = Arc::new(cached);
        self.licenses.insert(hash, cached.clone());
        Some(cached)
    }

    /// Records that no license has a key, to be believed for `negative_ttl` after `now`. `_log` is
    /// the locked log of this cache.
    pub(crate) fn fill_absent(&self, _log: &ChangeLog, hash: KeyHash, now: Moment) {
        let until = now.plus(self.options.negative_ttl);
        self.negative.insert(hash, until);
    }

    /// Records that there is no wallet of this id. `_log` is the locked log of this cache.
    pub(crate) fn fill_no_wallet(&self, _log: &ChangeLog, id: LicenseId) {
        self.absent_wallets.insert(id);
    }

    /// Fits a cached license to plans that changed, without asking the store.
    pub(super) fn refit(&self, hash: &KeyHash, license: Arc<CachedLicense>) -> Arc<CachedLicense> {
        let _log = self.log.lock();
        let stamp = Stamp {
            plans: self.plans.serial(),
            ..license.stamp()
        };
        let terms = self.plans.load().terms(license.license());
        let fitted = Arc::new(CachedLicense::new(
            license.license().clone(),
            license.credential().clone(),
            license.devices().clone(),
            terms,
            stamp,
            license.state().clone(),
            license.api_key().cloned(),
        ));
        if !fitted.is_outdated() {
            self.licenses.insert(*hash, fitted.clone());
        }
        fitted
    }

    /// Returns a cached license once the terms of its plan are known here. `place` is where it lies
    /// in the cache: the hash of its key, or what stands for its id. A license that names a plan of
    /// another gate's file is limited by that from its first call.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the terms are not known within
    /// `unknown_key_timeout`.
    pub(crate) async fn with_plan(
        &self,
        place: &KeyHash,
        license: Arc<CachedLicense>,
    ) -> Result<Arc<CachedLicense>, Refusal> {
        if !license.awaits_plan() {
            return Ok(license);
        }
        let fitted_license = async {
            loop {
                let changed = self.plans.changed();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let fitted = self.refit(place, license.clone());
                if !fitted.awaits_plan() {
                    return fitted;
                }
                self.plans.ask_for_unknown();
                changed.await;
            }
        };
        let fitted_license =
            store::suspend_aware::timeout(self.options.unknown_key_timeout, fitted_license).await;
        fitted_license.map_err(|_| Refusal::LicenseStoreUnavailable)
    }
}
