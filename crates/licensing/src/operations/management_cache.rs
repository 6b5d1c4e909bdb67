//! The cache of management keys.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{KeyHash, Timestamp};
use parking_lot::Mutex;
use store::ManagementKey;

use super::time::after;

/// The management keys that were looked up within the last second, and the texts that were none. A
/// change empties it, one of another gate when it is announced. A change whose announcement is lost
/// takes effect when the second is over.
#[derive(Default)]
pub(crate) struct ManagementCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    /// The number of times that the cache was emptied. What was read before is not put in after.
    generation: u64,
    known: HashMap<KeyHash, (Arc<CachedManagementKey>, Timestamp)>,
    unknown: HashMap<KeyHash, Timestamp>,
}

/// A management key as it was read from the store.
pub(super) struct CachedManagementKey {
    pub(super) key: ManagementKey,
    /// The hash of the secret of a pair; `None`: the key is a bearer key.
    pub(super) secret: Option<KeyHash>,
}

impl ManagementCache {
    /// The number of keys, and of texts that are none, that are held at once.
    const CAPACITY: usize = 4_096;
    /// The time for which a look-up is believed.
    const TTL: Duration = Duration::from_secs(1);

    /// Forgets all look-ups, those under way included.
    pub(crate) fn clear(&self) {
        let mut cached = self.0.lock();
        cached.generation += 1;
        cached.known.clear();
        cached.unknown.clear();
    }

    /// Returns the generation, to be read before the store is asked.
    pub(super) fn generation(&self) -> u64 {
        self.0.lock().generation
    }

    /// Returns what is known of a key. The outer `None`: nothing. The inner `None`: there is no
    /// such key.
    pub(super) fn get(
        &self,
        hash: &KeyHash,
        now: Timestamp,
    ) -> Option<Option<Arc<CachedManagementKey>>> {
        let cached = self.0.lock();
        if let Some((known, until)) = cached.known.get(hash) {
            return (now < *until).then(|| Some(known.clone()));
        }
        let until = cached.unknown.get(hash)?;
        (now < *until).then_some(None)
    }

    /// Puts in what the store answered, unless the cache was emptied since `generation`.
    pub(super) fn put(
        &self,
        generation: u64,
        hash: KeyHash,
        found: Option<Arc<CachedManagementKey>>,
        now: Timestamp,
    ) {
        let mut cached = self.0.lock();
        if cached.generation != generation {
            return;
        }
        let until = after(now, Self::TTL);
        match found {
            Some(known) => {
                if cached.known.len() >= Self::CAPACITY {
                    cached.known.clear();
                }
                cached.known.insert(hash, (known, until));
                cached.unknown.remove(&hash);
            }
            None => {
                if cached.unknown.len() >= Self::CAPACITY {
                    cached.unknown.clear();
                }
                cached.unknown.insert(hash, until);
            }
        }
    }
}
