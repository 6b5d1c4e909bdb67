//! Look-ups of keys in the shared cache, and offers to it of what the store said.

use std::sync::Arc;

use model::{KeyHash, Moment};
use store::ChangeNumber;

use super::history::Place;
use super::seal::{Shared, SharedLicense};
use super::{Announced, Fill, LookedUp, Point, Tier};
use crate::cached_license::{CachedApiKey, CachedLicense};
use crate::freshness::Freshness;
use crate::licensing::Licensing;

/// The result of a look-up in the shared cache.
pub(crate) enum Sharing {
    /// A value that is as good as the store's answer.
    Answered(Option<Arc<CachedLicense>>),
    /// The store must be asked. Its answer replaces a value that no gate of this store wrote.
    Unanswered {
        /// That value, if there is one.
        refused: Option<Vec<u8>>,
    },
}

impl Licensing {
    /// Looks a key up in the shared cache. Takes one round trip at most, and none if nothing is
    /// shared.
    pub(crate) async fn look_up_shared(&self, hash: &KeyHash) -> Sharing {
        const NOTHING: Sharing = Sharing::Unanswered { refused: None };
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
            Some(found) => self.judge_shared(hash, found),
            None => Err(Place::Elsewhere),
        };
        match judged {
            Ok(entry) => {
                observe(LookedUp::Hit);
                Sharing::Answered(entry)
            }
            Err(place) => {
                observe(LookedUp::Miss);
                Sharing::Unanswered {
                    refused: (place == Place::Elsewhere).then_some(value),
                }
            }
        }
    }

    /// Takes in a shared value, unless something that is known here speaks against it.
    fn judge_shared(
        &self,
        hash: &KeyHash,
        found: Shared,
    ) -> Result<Option<Arc<CachedLicense>>, Place> {
        let now = self.clock.since_boot();
        let log = self.log.lock();
        let place = log.history.place(found.point);
        if place != Place::Known {
            return Err(place);
        }
        // Without a fresh reading of the changes nothing can be said against it.
        if self.freshness(now) != Freshness::Fresh {
            return Err(Place::Beyond);
        }
        match found.found {
            None => {
                let fingerprint = hash.fingerprint();
                if log.is_added(fingerprint) || log.history.is_added(fingerprint, found.point) {
                    return Err(Place::Beyond);
                }
                self.negative.insert(*hash, self.negative_until(now));
                Ok(None)
            }
            Some(SharedLicense { snapshot, api_key }) => {
                let id = snapshot.license.id;
                if log.history.is_outdated(id, snapshot.version) {
                    return Err(Place::Beyond);
                }
                let start = &snapshot.credential.prefix;
                let api_key = api_key.map(|key| Arc::new(CachedApiKey::new(key, start)));
                self.fill(*hash, snapshot, api_key)
                    .map(Some)
                    .ok_or(Place::Beyond)
            }
        }
    }

    /// Offers the store's answer to the other gates. `point` was reached before the store was
    /// asked.
    pub(crate) fn share(
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
            None => self.options.negative_ttl,
        };
        shared.put(Fill {
            name: key.name(hash),
            value: key.seal(hash, &Shared { point, found }),
            keep,
            refused,
        });
    }

    /// Returns the number of the change up to which the store was read. What is older can be shared
    /// with other gates.
    #[must_use]
    pub fn shareable(&self) -> ChangeNumber {
        self.log.lock().history.reached().number
    }

    pub(crate) fn negative_until(&self, now: Moment) -> Moment {
        now.plus(self.options.negative_ttl)
    }

    /// Follows the announcements of other gates for ever: each makes this gate read the changes at
    /// once.
    pub(crate) async fn serve_announcements(&self) {
        let Some((shared, _)) = &self.fleet.shared else {
            return std::future::pending().await;
        };
        loop {
            let Announced { number, keys } = shared.announced().await;
            if keys || number.is_none() {
                self.management.clear();
            }
            if number.is_none_or(|number| number > self.shareable()) {
                self.wake();
            }
        }
    }

    /// Announces a change that this gate made to the other gates.
    pub(crate) fn announce(&self, number: ChangeNumber) {
        if let Some((shared, _)) = &self.fleet.shared {
            shared.announce(number);
            // The change is read back, so that what the store says from now on can be placed and
            // shared.
            self.wake();
        }
    }
}
