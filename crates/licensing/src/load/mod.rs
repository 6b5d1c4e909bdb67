//! The loading of licenses that are not cached: one look-up for a key, however many calls wait for
//! it, limited in number and time.

mod by_id;
mod shared;
mod single_flight;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use model::{ApiKey, Clock, KeyHash, Refusal};
use store::{Snapshot, Store};
use tokio::runtime::Handle;

use crate::cache::{LicenseCache, LoggedChange};
use crate::fleet::{FleetOptions, LookedUp, SharedLicense, Tier};
use crate::license::CachedApiKey;
use crate::options::LicensingOptions;

use shared::{SharedAnswer, SharedSnapshots};
use single_flight::{Join, SingleFlight};

pub(crate) use single_flight::Outcome;

/// The loader of licenses into the cache. It looks in the shared cache first, if there is one, then
/// in the store.
pub(crate) struct LicenseLoader {
    options: LicensingOptions,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// The runtime that may wait for the store.
    runtime: Handle,
    cache: Arc<LicenseCache>,
    fleet: Arc<FleetOptions>,
    shared: SharedSnapshots,
    flights: Arc<SingleFlight>,
}

impl LicenseLoader {
    /// The number of times that a fill is tried which races with changes.
    const MAX_ATTEMPTS: usize = 8;

    /// Returns a loader into `cache`. To be called on the runtime that may wait for the store.
    pub(crate) fn new(
        options: LicensingOptions,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        cache: Arc<LicenseCache>,
        fleet: Arc<FleetOptions>,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared: SharedSnapshots {
                fleet: fleet.clone(),
                cache: cache.clone(),
                clock: clock.clone(),
                absence_kept: options.negative_ttl,
            },
            flights: SingleFlight::new(options.loads_in_flight),
            options,
            store,
            clock,
            runtime: Handle::current(),
            cache,
            fleet,
        })
    }

    /// Loads the license of a key that [`LicenseCache::find`] called cold; `None`: no license has
    /// the key. May be called from any runtime with a timer; the store is asked on the runtime that
    /// the loader was made on.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails, is too slow, or too many look-ups
    /// are under way.
    pub(crate) async fn load(self: &Arc<Self>, hash: KeyHash) -> Outcome {
        const AWAY: Refusal = Refusal::LicenseStoreUnavailable;
        let mut flight = match self.flights.join(hash, || self.cache.current(&hash)) {
            Join::Landed(license) => return Ok(Some(license)),
            Join::Full => return Err(AWAY),
            Join::Wait(flight) => flight,
            Join::Begin(guard, flight) => {
                let loader = self.clone();
                self.runtime.spawn(async move {
                    guard.finish(loader.look_up(hash).await);
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
        let refused = match self.shared.look_up(&hash).await {
            SharedAnswer::Found(license) => return Ok(license),
            SharedAnswer::AskStore { refused } => refused,
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
        for _ in 0..Self::MAX_ATTEMPTS {
            let (begun, point) = {
                let log = self.cache.log();
                (log.end(), log.history.reached())
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
            let log = self.cache.log();
            match found {
                Some(snapshot) => {
                    let id = snapshot.license.id;
                    let version = snapshot.version;
                    let newer =
                        |change: &LoggedChange| change.license_id == id && change.number > version;
                    if !log.is_superseded(begun, newer)
                        && let Some(license) =
                            self.cache
                                .fill(&log, hash, snapshot.clone(), api_key.clone())
                    {
                        drop(log);
                        let api_key = api_key.map(|cached| cached.key.clone());
                        let found = SharedLicense { snapshot, api_key };
                        self.shared.offer(&hash, point, Some(found), refused);
                        return Ok(Some(license));
                    }
                }
                None => {
                    let fingerprint = Some(hash.fingerprint());
                    if !log.is_superseded(begun, |change| change.added == fingerprint) {
                        self.cache.fill_absent(&log, hash, self.clock.since_boot());
                        drop(log);
                        self.shared.offer(&hash, point, None, refused);
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
}
