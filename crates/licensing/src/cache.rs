//! The caches of licenses by the hash of their key, and of keys known not to exist.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use model::{Fingerprint, KeyHash, Moment};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::cached_license::CachedLicense;

/// The cached licenses by full key hash. Only a license that exists ever enters, so that guessing
/// evicts nobody.
pub(crate) type LicenseCache = Cache<
    KeyHash,
    Arc<CachedLicense>,
    UnitWeighter,
    UniformState,
    DefaultLifecycle<KeyHash, Arc<CachedLicense>>,
>;

/// The keys that do not exist although their fingerprint does. Kept by fingerprint, so that a
/// change can take one out.
pub(crate) struct NegativeCache(Cache<Fingerprint, (KeyHash, Moment)>);

/// The hasher of key hashes. They are uniform and secret, so that eight of their bytes are a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UniformState;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UniformHasher(u64);

pub(crate) fn license_cache(capacity: usize) -> LicenseCache {
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
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity.max(1)))
    }

    pub(crate) fn holds(&self, hash: &KeyHash, now: Moment) -> bool {
        self.0
            .get(&hash.fingerprint())
            .is_some_and(|(key, until)| key == *hash && now < until)
    }

    pub(crate) fn insert(&self, hash: KeyHash, until: Moment) {
        self.0.insert(hash.fingerprint(), (hash, until));
    }

    pub(crate) fn remove(&self, fingerprint: Fingerprint) {
        self.0.remove(&fingerprint);
    }

    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
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
