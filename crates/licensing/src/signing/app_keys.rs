//! The signing keys of apps (Ed25519), with which answers to software that is sold with an app are
//! signed. Each app has keys of its own, so that a signature for one passes for nothing in another.
//!
//! The keys of an app are numbered from 1, each is written once and never changed. The first is
//! made when it is first asked for. A further one, made or imported, signs from a time on; software
//! that knows it already accepts it, and software that does not yet needs the ones before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{Actor, AppName, AuditEntry, SigningKeyId, Timestamp};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::AuditEntries;

use super::Signing;
use crate::error::Error;
use crate::keys::{self, Key, Keyring, random};

/// A signing key of an app.
pub struct AppKey {
    id: SigningKeyId,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
    signs_from: Timestamp,
}

/// The signing keys of an app, oldest first; at least one.
#[derive(Debug)]
pub struct AppKeys(Vec<Arc<AppKey>>);

/// The keys of the apps that were asked for, by app.
#[derive(Default)]
pub(super) struct KnownAppKeys(ArcSwap<HashMap<AppName, Arc<AppKeys>>>);

/// The terms of a further key of an app.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct NewAppKey {
    /// The private key (its 32-byte seed), as for an app whose software is out there; `None`: a new
    /// one is made.
    pub seed: Option<[u8; 32]>,
    /// The time from now after which it signs; until then the ones before do. Zero: at once.
    pub lead: Duration,
}

/// The part of a key that the store holds in the clear.
#[derive(Serialize, Deserialize)]
struct Record {
    signs_from: Timestamp,
}

/// The number of keys that an app can ever have.
const MAX_KEYS: usize = 1_000;

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

    /// Reads a key that the store kept under this name.
    fn decode(name: &str, bytes: &[u8], keyring: &Keyring) -> Result<Self, Error> {
        // The first key of an app has no record: it always signed.
        if bytes.first() != Some(&b'{') {
            let seed = keyring.open(name.as_bytes(), bytes)?;
            return Ok(Self::new(&seed, Timestamp::default()));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (text, rest) = end
            .and_then(|end| bytes.split_at_checked(end))
            .ok_or(Error::KeyringMalformed)?;
        let record: Record = serde_json::from_slice(text).map_err(|_| Error::KeyringMalformed)?;
        let seed = keyring.open(&label(name, text), &rest[1..])?;
        Ok(Self::new(&seed, record.signs_from))
    }
}

impl std::fmt::Debug for AppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AppKey").field(&self.id).finish()
    }
}

// === impl AppKeys ===

impl AppKeys {
    /// Returns the key that signs at this time: the newest whose time has come.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> &AppKey {
        let ready = self.0.iter().rev().find(|key| key.signs_from <= now);
        // A clock that was set back may find none whose time has come.
        let signer = ready.or_else(|| self.0.first());
        signer.expect("an app has a key")
    }

    /// Returns the keys, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &AppKey> {
        self.0.iter().map(|key| &**key)
    }
}

// === impl NewAppKey ===

impl std::fmt::Debug for NewAppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewAppKey")
            .field("imported", &self.seed.is_some())
            .field("lead", &self.lead)
            .finish()
    }
}

// === impl KnownAppKeys ===

impl KnownAppKeys {
    fn get(&self, app: &AppName) -> Option<Arc<AppKeys>> {
        self.0.load().get(app).cloned()
    }

    /// Puts in the keys of an app, unless more of them are known.
    fn put(&self, app: &AppName, keys: &Arc<AppKeys>) {
        self.0.rcu(|known| {
            let mut known = HashMap::clone(known);
            let more = known
                .get(app)
                .is_some_and(|old| old.0.len() >= keys.0.len());
            if !more {
                known.insert(app.clone(), keys.clone());
            }
            known
        });
    }
}

// === impl Signing ===

impl Signing {
    /// Returns the signing keys of an app, whose first is made by the first call. Asks the store
    /// for an app that was not asked for before.
    ///
    /// # Errors
    /// A key was sealed with another secret, or the store fails.
    pub async fn app_keys(&self, app: &AppName) -> Result<Arc<AppKeys>, Error> {
        match self.app_keys.get(app) {
            Some(known) => Ok(known),
            None => self.read_app_keys(app).await,
        }
    }

    /// Returns the public key that an app signs with now.
    ///
    /// # Errors
    /// As [`Signing::app_keys`].
    pub async fn app_public_key(&self, app: &AppName) -> Result<[u8; 32], Error> {
        let keys = self.app_keys(app).await?;
        Ok(keys.signer(self.clock.now()).public_key)
    }

    /// Gives an app a further signing key, on behalf of an actor. It is known here when this
    /// returns, on other gates within a second. A key that is imported again is there once.
    ///
    /// # Errors
    /// The app had too many keys, the key that is imported was followed by others, or the store
    /// fails.
    pub async fn add_app_key(
        &self,
        app: &AppName,
        new: NewAppKey,
        actor: Actor,
    ) -> Result<Arc<AppKeys>, Error> {
        let lead = i64::try_from(new.lead.as_micros()).unwrap_or(i64::MAX);
        let seed = Key::new(new.seed.unwrap_or_else(random));
        loop {
            let keys = self.read_app_keys(app).await?;
            let now = self.clock.now();
            let made = AppKey::new(&seed, now.plus_micros(lead));
            match keys.0.iter().position(|key| key.id == made.id) {
                Some(at) if at + 1 == keys.0.len() => return Ok(keys),
                Some(_) => {
                    let reason = "this key was followed by others: an old key does not sign again";
                    return Err(Error::invalid("seed", reason));
                }
                None => {}
            }
            let number = keys.0.len() + 1;
            if number > MAX_KEYS {
                let reason = format!("had {MAX_KEYS} keys, which is the most");
                return Err(Error::invalid("app", reason));
            }
            let action = match new.seed {
                Some(_) => "app-key.import",
                None => "app-key.rotate",
            };
            let line = AuditEntry::new(&actor, now, action, app);
            let shown = json!({ "key": made.id, "signs_from": made.signs_from });
            let entries = AuditEntries::of(vec![line.between(None::<&Value>, Some(&shown))]);
            let name = name(app, number);
            let record = Record {
                signs_from: made.signs_from,
            };
            let text = serde_json::to_vec(&record).expect("a record is plain data");
            let sealed = self.keyring.seal(&label(&name, &text), &seed);
            let bytes = [&text[..], b"\n", &sealed].concat();
            self.store.put_if_absent(&name, bytes, entries).await?;
            // Another gate may have put its key there: then ours comes after it.
        }
    }

    /// Reads the keys of the known apps that are new since the last time.
    pub(super) async fn refresh_app_keys(&self) -> Result<(), Error> {
        let known = self.app_keys.0.load_full();
        for app in known.keys() {
            self.read_app_keys(app).await?;
        }
        Ok(())
    }

    /// Reads the keys of an app that are new since the last time, and makes the first.
    async fn read_app_keys(&self, app: &AppName) -> Result<Arc<AppKeys>, Error> {
        let known = self.app_keys.get(app);
        let count = known.as_ref().map_or(0, |keys| keys.0.len());
        let name = |number| name(app, number);
        let read =
            |name: &str, bytes: &[u8]| AppKey::decode(name, bytes, &self.keyring).map(Arc::new);
        let mut new = keys::since(&*self.store, count, MAX_KEYS, name, read).await?;
        if count == 0 && new.is_empty() {
            let name = name(1);
            let sealed = self.keyring.seal(name.as_bytes(), &Key::new(random()));
            let entries = AuditEntries::none();
            let there = self.store.put_if_absent(&name, sealed, entries).await?;
            new.push(read(&name, &there)?);
        }
        match known {
            Some(known) if new.is_empty() => Ok(known),
            known => {
                let before = known.iter().flat_map(|keys| &keys.0).cloned();
                let all = Arc::new(AppKeys(before.chain(new).collect()));
                self.app_keys.put(app, &all);
                Ok(all)
            }
        }
    }
}

/// Returns the name under which a key is kept.
fn name(app: &AppName, number: usize) -> String {
    format!("keyring/app/{app}/{number}")
}

/// Returns the label of a sealed key. The record is part of it, so that neither is changed without
/// the secret.
fn label(name: &str, record: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", record].concat()
}
