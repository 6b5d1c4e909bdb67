//! Entries by the hash of their key, and the keys known not to exist.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use model::{Fingerprint, KeyHash, Moment};
use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::entry::CachedLicense;

/// Entries by full key hash. Nothing but a license that exists ever enters, so that guessing evicts nobody.
pub(crate) type EntryCache = Cache<
    KeyHash,
    Arc<CachedLicense>,
    UnitWeighter,
    UniformState,
    DefaultLifecycle<KeyHash, Arc<CachedLicense>>,
>;

/// Keys whose fingerprint exists and which themselves do not; by fingerprint, so that a change can take one out.
pub(crate) struct NegativeCache(Cache<Fingerprint, (KeyHash, Moment)>);

/// Key hashes are uniform and secret: eight of their bytes are a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UniformState;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UniformHasher(u64);

pub(crate) fn entry_cache(capacity: usize) -> EntryCache {
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

    /// The length of the array, the same for all.
    fn write_usize(&mut self, _length: usize) {}
}
