//! The signing keys of apps (Ed25519), with which answers to software that is sold with an app are
//! signed. Each app has keys of its own, so that a signature for one passes for nothing in another.
//!
//! The entries of an app are numbered from 1, each is written once and never changed: a key, or the
//! end of one. The first is a key, made when it is first asked for. A further key, made or imported,
//! signs from a time on; software that knows it already accepts it, and software that does not yet
//! needs the ones before.

mod changes;
mod entry;
mod known;
mod seed;

use std::sync::Arc;
use std::time::Duration;

use model::{SigningKeyId, SigningKeyState, Timestamp};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::{Digest, Sha256};

pub use self::seed::{AppKeySeed, ParseAppKeySeedError};

pub(super) use self::known::KnownAppKeys;

use self::entry::Entry;
use crate::keys::Key;

/// A signing key of an app.
pub struct AppKey {
    id: SigningKeyId,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
    signs_from: Timestamp,
}

/// The signing keys of an app, oldest first; at least one, of which one at least is not retired.
#[derive(Clone, Debug, Default)]
pub struct AppKeys {
    keys: Vec<Arc<AppKey>>,
    retired: Vec<Retirement>,
}

/// The end of a key: it signs no more, and is shown to nobody who asks for keys to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The key.
    pub key: SigningKeyId,
    /// The time at which it was retired.
    pub at: Timestamp,
}

/// The terms of a further key of an app.
#[derive(Clone, Debug, Default)]
pub struct NewAppKey {
    /// The private key, as for an app whose software is out there; `None`: a new one is made.
    pub seed: Option<AppKeySeed>,
    /// The time from now after which it signs; until then the ones before do. Zero: at once.
    pub lead: Duration,
}

// === impl AppKey ===

impl AppKey {
    fn new(seed: &Key, signs_from: Timestamp) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).expect("a seed has 32 bytes");
        let public_key: [u8; 32] = pair
            .public_key()
            .as_ref()
            .try_into()
            .expect("a public key has 32 bytes");
        // The id is made of the key, so that a key that is imported has the same one on every gate.
        let digest = Sha256::digest(public_key);
        let (id, _) = digest
            .split_first_chunk()
            .expect("a digest is longer than an id");
        Self {
            id: SigningKeyId::from_u128(u128::from_be_bytes(*id)),
            pair,
            public_key,
            signs_from,
        }
    }

    /// Returns the id, which is told beside its signatures.
    #[must_use]
    pub const fn id(&self) -> SigningKeyId {
        self.id
    }

    /// Returns the public key.
    #[must_use]
    pub const fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// Returns the time from which on it signs.
    #[must_use]
    pub const fn signs_from(&self) -> Timestamp {
        self.signs_from
    }

    /// Signs a message (RFC 8032): the same message has the same signature. Costs some 20 µs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let signature = self.pair.sign(message);
        let bytes = signature.as_ref().try_into();
        bytes.expect("a signature has 64 bytes")
    }
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AppKey").field(&self.id).finish()
    }
}

// === impl AppKeys ===

impl AppKeys {
    /// Returns the key that signs at this time: of those whose time has come and that are not
    /// retired the one whose time came last.
    ///
    /// # Panics
    /// There is no key.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> &AppKey {
        let ready = self.trusted().filter(|key| key.signs_from <= now);
        // Of several since the same time, the newest. A clock that was set back may find none.
        let signer = ready.max_by_key(|key| key.signs_from);
        let signer = signer.or_else(|| self.trusted().next());
        let last = || self.keys.last().map(|key| &**key);
        signer.or_else(last).expect("an app has a key")
    }

    /// Returns all keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &AppKey> {
        self.keys.iter().map(|key| &**key)
    }

    /// Returns the keys that are not retired, oldest first: those that software should trust.
    pub fn trusted(&self) -> impl Iterator<Item = &AppKey> {
        self.iter().filter(|key| self.retired_at(key.id).is_none())
    }

    /// Returns when a key was retired; `None`: it is not, or is none of this app's.
    #[must_use]
    pub fn retired_at(&self, key: SigningKeyId) -> Option<Timestamp> {
        let found = self.retired.iter().find(|retired| retired.key == key);
        found.map(|retired| retired.at)
    }

    /// Returns the state of a key of these: one that signed before is overlapping, since software
    /// goes on trusting it.
    #[must_use]
    pub fn state(&self, key: &AppKey, now: Timestamp) -> SigningKeyState {
        match key.id {
            id if self.retired_at(id).is_some() => SigningKeyState::Retired,
            id if self.signer(now).id == id => SigningKeyState::Signing,
            _ if key.signs_from > now => SigningKeyState::Next,
            _ => SigningKeyState::Overlapping,
        }
    }

    /// Returns the number of entries that the store has of these.
    fn entries(&self) -> usize {
        self.keys.len() + self.retired.len()
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Key(key) => self.keys.push(Arc::new(key)),
            Entry::End(end) => self.retired.push(end),
        }
    }
}
