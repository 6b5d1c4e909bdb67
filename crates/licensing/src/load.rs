//! Loading of licenses that are not cached: one look-up for a key, however many calls wait for it,
//! limited in number and time.

use std::sync::Arc;

use model::{ApiKey, KeyHash, Refusal};
use store::{ChangeNumber, Snapshot};

use crate::cached_license::{CachedApiKey, CachedCredential, CachedLicense};
use crate::changes::Noted;
use crate::fleet::{LookedUp, SharedLicense, Sharing, Tier};
use crate::licensing::Licensing;
use crate::meter::Stamp;
use crate::single_flight::{Join, Outcome};

impl Licensing {
    /// How often a fill is repeated that raced with changes.
    const ATTEMPTS: usize = 8;

    /// Loads the license of a key that [`Licensing::find`] called cold; `None`: no license has the
    /// key. May be called from any runtime with a timer; the store is asked on the runtime that the
    /// cache was opened on.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails, is too slow, or too many look-ups are under way.
    pub async fn load(self: &Arc<Self>, hash: KeyHash) -> Outcome {
        const AWAY: Refusal = Refusal::LicenseStoreUnavailable;
        let cached = || {
            let cached = self.cache.get(&hash);
            cached.filter(|license| !license.is_outdated())
        };
        let mut flight = match self.loads.join(hash, cached) {
            Join::Landed(license) => return Ok(Some(license)),
            Join::Full => return Err(AWAY),
            Join::Wait(flight) => flight,
            Join::Begin(guard, flight) => {
                let licensing = self.clone();
                self.runtime.spawn(async move {
                    guard.finish(licensing.look_up(hash).await);
                });
                flight
            }
        };
        let landed = flight.wait_for(Option::is_some);
        match store::suspend_aware::timeout(self.options.load_timeout, landed).await {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(AWAY)),
            Ok(Err(_)) | Err(_) => Err(AWAY),
        }
    }

    /// Looks in the shared cache first, if there is one, then in the store.
    async fn look_up(&self, hash: KeyHash) -> Outcome {
        let refused = match self.look_up_shared(&hash).await {
            Sharing::Answered(entry) => return Ok(entry),
            Sharing::Unanswered { refused } => refused,
        };
        let outcome = self.look_up_stored(hash, refused).await;
        let found = match &outcome {
            Ok(Some(_)) => LookedUp::Hit,
            Ok(None) => LookedUp::Miss,
            Err(_) => LookedUp::Error,
        };
        self.fleet.observer.looked_up(Tier::Store, found);
        outcome
    }

    async fn look_up_stored(&self, hash: KeyHash, refused: Option<Vec<u8>>) -> Outcome {
        for _ in 0..Self::ATTEMPTS {
            let (mark, point) = {
                let log = self.log.lock();
                (log.mark(), log.history.reached())
            };
            let found = match self.store.license_by_key(hash).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, "a license cannot be loaded");
                    return Err(Refusal::LicenseStoreUnavailable);
                }
            };
            let api_key = match &found {
                Some(snapshot) => self.api_key_of(snapshot).await?,
                None => None,
            };
            let log = self.log.lock();
            match found {
                Some(snapshot) => {
                    let id = snapshot.license.id;
                    let version = snapshot.version;
                    let newer = |change: &Noted| change.license_id == id && change.number > version;
                    if !log.is_superseded(mark, newer)
                        && let Some(entry) = self.fill(hash, snapshot.clone(), api_key.clone())
                    {
                        drop(log);
                        let api_key = api_key.map(|cached| cached.key.clone());
                        let found = SharedLicense { snapshot, api_key };
                        self.share(&hash, point, Some(found), refused);
                        return Ok(Some(entry));
                    }
                }
                None => {
                    let fingerprint = Some(hash.fingerprint());
                    if !log.is_superseded(mark, |change| change.added == fingerprint) {
                        let until = self.negative_until(self.clock.since_boot());
                        self.negative.insert(hash, until);
                        drop(log);
                        self.share(&hash, point, None, refused);
                        return Ok(None);
                    }
                }
            }
        }
        Err(Refusal::LicenseStoreUnavailable)
    }

    /// Reads what a license shows as an API key; `None`: its credential is none. If the API key is
    /// newer than the license that was read before it, the number of the change between the two
    /// outdates both.
    async fn api_key_of(&self, snapshot: &Snapshot) -> Result<Option<Arc<CachedApiKey>>, Refusal> {
        if snapshot.credential.kind != ApiKey::KIND {
            return Ok(None);
        }
        let read = async {
            let keys = self.store.api_keys()?;
            keys.api_key(snapshot.license.id).await
        };
        let stored = read.await.map_err(|error| {
            tracing::debug!(%error, "an api key cannot be loaded");
            Refusal::LicenseStoreUnavailable
        })?;
        let start = &snapshot.credential.prefix;
        Ok(stored.map(|stored| Arc::new(CachedApiKey::new(stored.key, start))))
    }

    /// Puts a license that was read into the cache; `None`: a newer version is known. The change
    /// log is locked.
    pub(crate) fn fill(
        &self,
        hash: KeyHash,
        snapshot: Snapshot,
        api_key: Option<Arc<CachedApiKey>>,
    ) -> Option<Arc<CachedLicense>> {
        let state = self.states.get_or_create(snapshot.license.id);
        if snapshot.version < state.version() {
            return None;
        }
        // The store is ahead of the changes read so far: this one outdates older entries of the
        // license.
        let calls_may_be_under_way = state.version() != ChangeNumber::default();
        if state.outdate(snapshot.version) && calls_may_be_under_way {
            // What became of its other credentials is not in the snapshot.
            self.pending_cuts.lock().insert(snapshot.license.id);
            self.cuts_wanted.notify_one();
        }
        state.learn(&snapshot.license);
        let stamp = Stamp {
            version: snapshot.version,
            plans: self.plans_serial(),
        };
        let plans = self.plans.load();
        let mut license = snapshot.license;
        plans.share_names(Arc::make_mut(&mut license));
        let terms = plans.terms(&license);
        let credential = CachedCredential::new(&snapshot.credential, snapshot.allow_ips);
        if let (true, Some(end)) = (credential.is_token, credential.expires_at) {
            state.tokens().note(credential.id, end, self.clock.now());
        }
        let entry = CachedLicense::new(license, credential, terms, stamp, state, api_key);
        let entry = Arc::new(entry);
        self.cache.insert(hash, entry.clone());
        Some(entry)
    }

    /// Fits a cached license to plans that changed, without asking the store.
    pub(crate) fn refit(&self, hash: &KeyHash, entry: Arc<CachedLicense>) -> Arc<CachedLicense> {
        let _log = self.log.lock();
        let stamp = Stamp {
            plans: self.plans_serial(),
            ..entry.stamp()
        };
        let terms = self.plans.load().terms(entry.license());
        let fitted = Arc::new(CachedLicense::new(
            entry.license().clone(),
            entry.credential().clone(),
            terms,
            stamp,
            entry.state().clone(),
            entry.api_key().cloned(),
        ));
        if !fitted.is_outdated() {
            self.cache.insert(*hash, fitted.clone());
        }
        fitted
    }
}
