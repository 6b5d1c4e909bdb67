//! The look-ups of keys in the cache that the gates share, and the offers to it of the store's
//! answers.

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, KeyHash};

use crate::cache::{Freshness, LicenseCache, Place, Point};
use crate::fleet::{Fill, FleetOptions, LookedUp, Shared, SharedLicense, Tier};
use crate::license::{CachedApiKey, CachedLicense};

/// The snapshots of licenses that the gates of a store share, as this gate judges and offers them.
pub(super) struct SharedSnapshots {
    pub(super) fleet: Arc<FleetOptions>,
    pub(super) cache: Arc<LicenseCache>,
    pub(super) clock: Arc<dyn Clock>,
    /// The time for which it is kept that a key does not exist.
    pub(super) absence_kept: Duration,
}

/// The answer of the shared cache.
pub(super) enum SharedAnswer {
    /// A value that is as good as the store's answer; `None`: no license has the key.
    Found(Option<Arc<CachedLicense>>),
    /// There is no such value: the store must be asked. Its answer replaces a value that no gate of
    /// this store wrote.
    AskStore {
        /// The value that no gate of this store wrote.
        refused: Option<Vec<u8>>,
    },
}

impl SharedSnapshots {
    /// Looks a key up in the shared cache. Takes one round trip at most, and none if nothing is
    /// shared.
    pub(super) async fn look_up(&self, hash: &KeyHash) -> SharedAnswer {
        const NOTHING: SharedAnswer = SharedAnswer::AskStore { refused: None };
        let Some((shared, key)) = &self.fleet.shared else {
            return NOTHING;
        };
        let observe = |found| self.fleet.observer.looked_up(Tier::Shared, found);
        let value = match shared.get(&key.name(hash)).await {
            Ok(Some(value)) => value,
            Ok(None) => {
                observe(LookedUp::Miss);
                return NOTHING;
            }
            Err(_) => {
                observe(LookedUp::Error);
                return NOTHING;
            }
        };
        let judged = match key.open(hash, &value) {
            Some(found) => self.judge(hash, found),
            None => Err(Place::Elsewhere),
        };
        match judged {
            Ok(license) => {
                observe(LookedUp::Hit);
                SharedAnswer::Found(license)
            }
            Err(place) => {
                observe(LookedUp::Miss);
                SharedAnswer::AskStore {
                    refused: (place == Place::Elsewhere).then_some(value),
                }
            }
        }
    }

    /// Takes in a shared value, unless something that is known here speaks against it.
    fn judge(&self, hash: &KeyHash, found: Shared) -> Result<Option<Arc<CachedLicense>>, Place> {
        let now = self.clock.since_boot();
        let log = self.cache.log();
        let place = log.history.place(found.point);
        if place != Place::Known {
            return Err(place);
        }
        // Without a fresh reading of the changes nothing can be said against it.
        if self.cache.freshness(now) != Freshness::Fresh {
            return Err(Place::Beyond);
        }
        match found.found {
            None => {
                let fingerprint = hash.fingerprint();
                if log.is_added(fingerprint) || log.history.is_added(fingerprint, found.point) {
                    return Err(Place::Beyond);
                }
                self.cache.fill_absent(&log, *hash, now);
                Ok(None)
            }
            Some(SharedLicense { snapshot, api_key }) => {
                let id = snapshot.license.id;
                if log.history.is_outdated(id, snapshot.version) {
                    return Err(Place::Beyond);
                }
                let start = &snapshot.credential.prefix;
                let api_key = api_key.map(|key| Arc::new(CachedApiKey::new(key, start)));
                let filled = self.cache.fill(&log, *hash, snapshot, api_key);
                filled.map(Some).ok_or(Place::Beyond)
            }
        }
    }

    /// Offers the store's answer to the other gates. `point` was reached before the store was
    /// asked.
    pub(super) fn offer(
        &self,
        hash: &KeyHash,
        point: Point,
        found: Option<SharedLicense>,
        refused: Option<Vec<u8>>,
    ) {
        let Some((shared, key)) = &self.fleet.shared else {
            return;
        };
        // Other gates cannot place what is newer than the point in their history: it is shared at
        // the next reading.
        if found
            .as_ref()
            .is_some_and(|found| found.snapshot.version > point.number)
        {
            return;
        }
        let keep = match found {
            Some(_) => self.fleet.keep,
            None => self.absence_kept,
        };
        shared.put(Fill {
            name: key.name(hash),
            value: key.seal(hash, &Shared { point, found }),
            keep,
            refused,
        });
    }
}
