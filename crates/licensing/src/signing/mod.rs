//! Signing keys, which are made once for a store, shared by its gates and rotated with an overlap;
//! and the signatures that are made with them.
//!
//! Every signature is a JWS in compact form (RFC 7515): `header.payload.signature`, each part in
//! base64url without padding. The header names the key (`kid`), and the key determines how the
//! signature is verified: nothing else in the header counts. Public keys are published as a JWK set
//! (RFC 7517).

mod app_keys;
mod assertion;
mod jwks;
mod provider;
mod slot;
mod stamp;
mod token;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use model::{
    Actor, AuditEntry, Clock, SigningAlgorithm, SigningKeyId, SigningKeyState, SigningUse,
    Timestamp,
};
use serde_json::{Value, json};
use store::{AuditEntries, Store};

pub use app_keys::{AppKey, AppKeySeed, AppKeys, NewAppKey, ParseAppKeySeedError, Retirement};
pub use assertion::{Assertion, SignedAssertion};
pub use jwks::{Jwk, JwkSet};
pub use stamp::{STAMP_TYPE, StampFault};
pub use token::{TokenFault, TokenTerms};

use self::slot::{Record, Slot};
use crate::error::Error;
use crate::keys;
use crate::keys::Keyring;

/// The signing keys of a store. There is one value for a process, shared by all of its threads.
pub struct Signing {
    store: Arc<dyn Store>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    slots_by_use: ArcSwap<SlotsByUse>,
    app_keys: app_keys::KnownAppKeys,
    /// Held while slots are read, so that a slower reader never puts back an older list.
    reading: tokio::sync::Mutex<()>,
}

/// The slots of each use, oldest first.
#[derive(Clone, Default)]
struct SlotsByUse([Vec<Arc<Slot>>; SigningUse::ALL.len()]);

/// The public facts of a signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// The id of the key, which is the `kid` of its signatures.
    pub id: SigningKeyId,
    /// The kind of thing that the key signs.
    pub signing_use: SigningUse,
    /// The state of the key.
    pub state: SigningKeyState,
    /// The time at which the key was made.
    pub created_at: Timestamp,
    /// The time from which on the key signs.
    pub signs_from: Timestamp,
    /// The time from which on the key's signatures are not accepted as credentials; `None`: that is
    /// not decided yet.
    pub ends_at: Option<Timestamp>,
    /// The public key; `None`: the key is a shared secret and has none.
    pub public_key: Option<[u8; 32]>,
}

/// The terms of a rotation: how a key is replaced by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The time for which the old key's signatures are accepted after it stopped signing.
    pub overlap: Duration,
    /// Whether the new key signs at once, before those who cache the published keys may know it.
    pub at_once: bool,
    /// Whether all earlier keys are not to be trusted any more, as after a theft. The new key then
    /// signs at once, and no signature of theirs is accepted.
    pub withdraw: bool,
}

impl Signing {
    /// The time for which a new key is published before it signs: twice as long as the set of
    /// public keys may be cached.
    pub const LEAD: Duration = Duration::from_secs(600);
    /// The longest time that the set of public keys may be cached.
    pub const CACHED: Duration = Duration::from_secs(300);
    /// The number of keys that one use can ever have.
    const MAX_KEYS: usize = 10_000;
    /// The time between two checks for rotations by other gates.
    const POLL_INTERVAL: Duration = Duration::from_secs(1);

    /// Opens the signing keys of a store, and makes the first of each use. Gates that start at once
    /// agree on them.
    ///
    /// # Errors
    /// A key was sealed with another secret, or the store fails.
    pub async fn open(
        store: Arc<dyn Store>,
        keyring: Keyring,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Error> {
        provider::install();
        let signing = Self {
            store,
            keyring,
            clock,
            slots_by_use: ArcSwap::default(),
            app_keys: app_keys::KnownAppKeys::default(),
            reading: tokio::sync::Mutex::default(),
        };
        signing.refresh().await?;
        for signing_use in SigningUse::ALL {
            if signing.slots(signing_use).is_empty() {
                let now = signing.clock.now();
                let record = Record {
                    kid: SigningKeyId::generate(),
                    created_at: now,
                    signs_from: now,
                    overlap: 0,
                    withdraws: false,
                };
                signing
                    .put(signing_use, 1, record, AuditEntries::none())
                    .await?;
            }
        }
        signing.refresh().await?;
        Ok(Arc::new(signing))
    }

    /// Follows the rotations of other gates for ever. Spawn it once.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Self::POLL_INTERVAL).await;
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the signing keys cannot be read");
            }
            self.refresh_app_keys().await;
        }
    }

    /// Reads the slots that are new since the last time.
    ///
    /// # Errors
    /// The errors of [`Signing::open`].
    pub async fn refresh(&self) -> Result<(), Error> {
        let _alone = self.reading.lock().await;
        for signing_use in SigningUse::ALL {
            let known = self.slots(signing_use).len();
            let name = |number| Slot::name(signing_use, number);
            let read = |name: &str, bytes: &[u8]| {
                Slot::decode(signing_use, name, bytes, &self.keyring).map(Arc::new)
            };
            let mut new = keys::since(&*self.store, known, Self::MAX_KEYS, name, read).await?;
            if !new.is_empty() {
                let mut slots_by_use = SlotsByUse::clone(&self.slots_by_use.load());
                slots_by_use.0[signing_use as usize].append(&mut new);
                self.slots_by_use.store(Arc::new(slots_by_use));
            }
        }
        Ok(())
    }

    /// Returns all signing keys by use, oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<SigningKey> {
        let now = self.clock.now();
        let slots_by_use = self.slots_by_use.load();
        let of_use = |signing_use: SigningUse| {
            let slots = &slots_by_use.0[signing_use as usize];
            let keys = (0..slots.len()).map(|at| describe(signing_use, slots, at, now));
            keys.collect::<Vec<_>>()
        };
        SigningUse::ALL.into_iter().flat_map(of_use).collect()
    }

    /// Makes a new key that takes over, on behalf of an actor. If another gate does so at the same
    /// time, there is still one new key.
    ///
    /// # Errors
    /// A new key waits to take over already, there were too many keys, or the store fails.
    pub async fn rotate(
        &self,
        signing_use: SigningUse,
        rotation: Rotation,
        actor: Actor,
    ) -> Result<SigningKey, Error> {
        loop {
            self.refresh().await?;
            let slots = self.slots(signing_use);
            let record = self.successor(&slots, rotation)?;
            let (kid, at) = (record.kid, slots.len());
            let line = AuditEntry::new(&actor, record.created_at, "signing-key.rotate", kid);
            let new = json!({
                "use": signing_use,
                "signs_from": record.signs_from,
                "overlap_seconds": record.overlap,
                "withdraws": record.withdraws,
            });
            let entries = AuditEntries::of(vec![line.between(None::<&Value>, Some(&new))]);
            self.put(signing_use, at + 1, record, entries).await?;
            self.refresh().await?;
            let slots = self.slots(signing_use);
            // Another gate's new key serves as well as ours, unless it leaves keys in force that
            // are to be withdrawn.
            let new = &slots[at].record;
            if new.kid == kid || new.withdraws || !rotation.withdraw {
                return Ok(describe(signing_use, &slots, at, self.clock.now()));
            }
        }
    }

    /// Returns the record of the key that takes over from those in these slots.
    fn successor(&self, slots: &[Arc<Slot>], rotation: Rotation) -> Result<Record, Error> {
        let now = self.clock.now();
        let last = slots.last().map_or(now, |slot| slot.record.signs_from);
        if last > now && !rotation.withdraw {
            return Err(Error::RotationUnderWay { until: last });
        }
        if slots.len() >= Self::MAX_KEYS {
            let reason = format!("had {} keys, which is the most", Self::MAX_KEYS);
            return Err(Error::invalid("use", reason));
        }
        let lead = if rotation.at_once || rotation.withdraw {
            Duration::ZERO
        } else {
            Self::LEAD
        };
        Ok(Record {
            kid: SigningKeyId::generate(),
            created_at: now,
            signs_from: now.plus_micros(i64::try_from(lead.as_micros()).unwrap_or(i64::MAX)),
            overlap: rotation.overlap.as_secs(),
            withdraws: rotation.withdraw,
        })
    }

    async fn put(
        &self,
        signing_use: SigningUse,
        number: usize,
        record: Record,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        let name = Slot::name(signing_use, number);
        let bytes = Slot::make(signing_use, record).encode(&name, &self.keyring);
        self.store.put_if_absent(&name, bytes, entries).await?;
        Ok(())
    }

    fn slots(&self, signing_use: SigningUse) -> Vec<Arc<Slot>> {
        self.slots_by_use.load().0[signing_use as usize].clone()
    }

    /// Returns the key that signs now.
    fn signer(&self, signing_use: SigningUse) -> Arc<Slot> {
        let now = self.clock.now();
        let slots_by_use = self.slots_by_use.load();
        let slots = &slots_by_use.0[signing_use as usize];
        let ready = slots
            .iter()
            .rev()
            .find(|slot| slot.record.signs_from <= now);
        // A clock that was set back may find none that has begun.
        let signer = ready.or_else(|| slots.last());
        signer.expect("opening made a key of each use").clone()
    }

    /// Returns a key by its id, with its use and state.
    fn find(&self, id: SigningKeyId) -> Option<(SigningUse, SigningKeyState, Arc<Slot>)> {
        let now = self.clock.now();
        let slots_by_use = self.slots_by_use.load();
        SigningUse::ALL.into_iter().find_map(|signing_use| {
            let slots = &slots_by_use.0[signing_use as usize];
            let at = slots.iter().position(|slot| slot.record.kid == id)?;
            let later = slots[at + 1..].iter().map(|slot| &slot.record);
            let (state, _) = slot::state(&slots[at].record, later, now);
            Some((signing_use, state, slots[at].clone()))
        })
    }

    /// Signs an object, with its members in order of their names, as a JWS of the type `kind`.
    fn sign(&self, signing_use: SigningUse, kind: &str, content: &Value) -> String {
        let mut header = Header::new(algorithm(signing_use));
        header.typ = Some(kind.to_owned());
        sign_by(&self.signer(signing_use), signing_use, header, content)
    }
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").finish_non_exhaustive()
    }
}

/// Signs an object, with its members in order of their names, by the key in a slot, which the
/// header names.
fn sign_by(slot: &Slot, signing_use: SigningUse, mut header: Header, content: &Value) -> String {
    header.kid = Some(slot.record.kid.to_string());
    let key = match signing_use.algorithm() {
        SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(&slot.key[..]),
        SigningAlgorithm::Hs256 => EncodingKey::from_secret(&slot.key[..]),
    };
    jsonwebtoken::encode(&header, &sorted(content), &key)
        .expect("a key of ours signs plain data by its own algorithm")
}

const fn algorithm(signing_use: SigningUse) -> Algorithm {
    match signing_use.algorithm() {
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Hs256 => Algorithm::HS256,
    }
}

/// Returns the key that verifies the signatures of the key in this slot.
fn decoding_key(slot: &Slot) -> DecodingKey {
    match &slot.public {
        Some(public) => DecodingKey::from_ed_der(public),
        None => DecodingKey::from_secret(&slot.key[..]),
    }
}

fn describe(signing_use: SigningUse, slots: &[Arc<Slot>], at: usize, now: Timestamp) -> SigningKey {
    let record = &slots[at].record;
    let later = slots[at + 1..].iter().map(|slot| &slot.record);
    let (state, ends_at) = slot::state(record, later, now);
    SigningKey {
        id: record.kid,
        signing_use,
        state,
        created_at: record.created_at,
        signs_from: record.signs_from,
        ends_at,
        public_key: slots[at].public,
    }
}

/// Returns the same value with the members of every object in order of their names, however it was
/// built.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.iter().collect();
            names.sort_by_key(|(name, _)| *name);
            let pairs = names
                .into_iter()
                .map(|(name, member)| (name.clone(), sorted(member)));
            Value::Object(pairs.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        plain => plain.clone(),
    }
}
