//! The maps of the cache: licenses by the hash of their key, and keys known not to exist.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use model::{Fingerprint, KeyHash, Moment};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::license::CachedLicense;

/// The cached licenses by full key hash. Only a license that exists ever enters, so that guessing
/// evicts nobody.
pub(super) type LicensesByKey = Cache<
    KeyHash,
    Arc<CachedLicense>,
    UnitWeighter,
    UniformState,
    DefaultLifecycle<KeyHash, Arc<CachedLicense>>,
>;

/// The keys that do not exist although their fingerprint does. Kept by fingerprint, so that a
/// change can take one out.
pub(super) struct NegativeCache(Cache<Fingerprint, (KeyHash, Moment)>);

/// The hasher of key hashes. They are uniform and secret, so that eight of their bytes are a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UniformState;

/// The state of one hashing of a key hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UniformHasher(u64);

/// Returns an empty map for `capacity` credentials, at least one.
pub(super) fn licenses_by_key(capacity: usize) -> LicensesByKey {
    let capacity = capacity.max(1);
    Cache::with(
        capacity,
        capacity as u64,
        UnitWeighter,
        UniformState,
        DefaultLifecycle::default(),
    )
}

impl NegativeCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity.max(1)))
    }

    /// Returns whether a key is known not to exist at `now`.
    pub(super) fn holds(&self, hash: &KeyHash, now: Moment) -> bool {
        self.0
            .get(&hash.fingerprint())
            .is_some_and(|(key, until)| key == *hash && now < until)
    }

    /// Records that a key does not exist, to be believed until `until`.
    pub(super) fn insert(&self, hash: KeyHash, until: Moment) {
        self.0.insert(hash.fingerprint(), (hash, until));
    }

    /// Removes the key of a fingerprint, of which a credential has come in.
    pub(super) fn remove(&self, fingerprint: Fingerprint) {
        self.0.remove(&fingerprint);
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl BuildHasher for UniformState {
    type Hasher = UniformHasher;

    fn build_hasher(&self) -> UniformHasher {
        UniformHasher::default()
    }
}

impl Hasher for UniformHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        match bytes.first_chunk() {
            Some(word) => self.0 = u64::from_le_bytes(*word),
            None => bytes.iter().for_each(|byte| self.write_u8(*byte)),
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(8) ^ u64::from(byte)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Ignores the length of the array, which is the same for all.
    fn write_usize(&mut self, _length: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_key_is_absent_for_its_time_and_no_other_key_of_its_fingerprint_is() {
        let absent = NegativeCache::new(16);
        let hash = KeyHash::from_bytes([1; 32]);
        let mut bytes = [1; 32];
        bytes[31] = 2;
        let twin = KeyHash::from_bytes(bytes);
        assert_eq!(hash.fingerprint(), twin.fingerprint());
        let (now, second) = (Moment(1_000), Duration::from_secs(1));
        absent.insert(hash, now.plus(second));
        assert!(absent.holds(&hash, now));
        assert!(!absent.holds(&twin, now));
        assert!(!absent.holds(&hash, now.plus(second)));
        absent.remove(twin.fingerprint());
        assert!(!absent.holds(&hash, now));
    }
}
