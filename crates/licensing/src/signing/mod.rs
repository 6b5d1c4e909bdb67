//! Signing keys: made once for a store, shared by its gates, rotated with an overlap; and what is signed with them.
//!
//! Every signature is a JWS in compact form (RFC 7515): `header.payload.signature`, each part in base64url without
//! padding. The header names the key (`kid`), and the key says how it is verified: nothing else in the header is
//! heeded. Public halves are published as a JWK set (RFC 7517).

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
    Actor, AppName, AuditEntry, Clock, SigningAlgorithm, SigningKeyId, SigningKeyState, SigningUse,
    Timestamp,
};
use serde_json::{Value, json};
use store::{AuditEntries, Store};

pub use jwks::{Jwk, JwkSet};
pub use stamp::{STAMP_TYPE, StampFault};
pub use token::{TokenFault, TokenTerms};

use self::slot::{Record, Slot};
use crate::error::Error;
use crate::keys;
use crate::keys::{Key, Keyring, random};

/// The signing keys of a store. One for a process; shared by all of its threads.
pub struct Signing {
    store: Arc<dyn Store>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    rings: ArcSwap<Rings>,
    /// Held while slots are read, so that a slower reader never puts back an older list.
    reading: tokio::sync::Mutex<()>,
}

/// The slots of each use, oldest first.
#[derive(Clone, Default)]
struct Rings([Vec<Arc<Slot>>; SigningUse::ALL.len()]);

/// The public facts of a signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its identity, the `kid` of what it signs.
    pub id: SigningKeyId,
    /// What it signs.
    pub signing_use: SigningUse,
    /// How far it has come.
    pub state: SigningKeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// From when on what it signed is not taken as a credential; `None`: that is not decided yet.
    pub ends_at: Option<Timestamp>,
    /// Its public half; `None`: it has none.
    pub public_key: Option<[u8; 32]>,
}

/// The terms of a rotation: how a key is replaced by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long what the old key signed is taken after it stopped signing.
    pub overlap: Duration,
    /// Whether the new key signs at once, before those who keep the published keys for a while may know it.
    pub at_once: bool,
    /// Whether all keys before are not to be trusted any more, as after a theft: the new one signs at once, and nothing
    /// that they signed is taken.
    pub withdraw: bool,
}

impl Signing {
    /// How long a new key is published before it signs: twice as long as the set of public keys may be cached.
    pub const LEAD: Duration = Duration::from_secs(600);
    /// How long the set of public keys may be cached.
    pub const CACHED: Duration = Duration::from_secs(300);
    /// Most keys of one use, ever.
    const MAX_KEYS: usize = 10_000;
    /// How often another gate's rotation is looked for.
    const POLL: Duration = Duration::from_secs(1);

    /// Reads the signing keys of a store, and makes the first of each use. Gates that start at once agree on them.
    ///
    /// # Errors
    /// A key sealed with another secret, a failing store.
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
            rings: ArcSwap::default(),
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

    /// Follows the rotations of other gates for ever. Spawn it, once.
    pub async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Self::POLL).await;
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the signing keys cannot be read");
            }
        }
    }

    /// Reads the slots that are new since the last time.
    ///
    /// # Errors
    /// As of [`Signing::open`].
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
                let mut rings = Rings::clone(&self.rings.load());
                rings.0[signing_use as usize].append(&mut new);
                self.rings.store(Arc::new(rings));
            }
        }
        Ok(())
    }

    /// The public half of the key of an app (Ed25519), which is made with the first question. Each app has one of its own, so
    /// that what is signed for one passes for nothing in another.
    ///
    /// # Errors
    /// The key was sealed with another secret, or the store fails.
    pub async fn app_public_key(&self, app: &AppName) -> Result<[u8; 32], Error> {
        let name = format!("keyring/app/{app}/1");
        let sealed = match self.store.setting(&name).await? {
            Some(sealed) => sealed,
            None => {
                let sealed = self.keyring.seal(name.as_bytes(), &Key::new(random()));
                self.store
                    .put_if_absent(&name, sealed, AuditEntries::none())
                    .await?
            }
        };
        let key = self.keyring.open(name.as_bytes(), &sealed)?;
        Ok(slot::public_half(&key))
    }

    /// Every signing key there is, by use, oldest first.
    #[must_use]
    pub fn keys(&self) -> Vec<SigningKey> {
        let now = self.clock.now();
        let rings = self.rings.load();
        let of_use = |signing_use: SigningUse| {
            let slots = &rings.0[signing_use as usize];
            let keys = (0..slots.len()).map(|at| describe(signing_use, slots, at, now));
            keys.collect::<Vec<_>>()
        };
        SigningUse::ALL.into_iter().flat_map(of_use).collect()
    }

    /// Makes a new key that takes over, for an actor. If another gate does so at the same time, there is one new key all the same.
    ///
    /// # Errors
    /// A new key waits to take over already, there were too many, or the store fails.
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
            let note = AuditEntries::of(vec![line.between(None::<&Value>, Some(&new))]);
            self.put(signing_use, at + 1, record, note).await?;
            self.refresh().await?;
            let slots = self.slots(signing_use);
            // Another gate's new key serves as well as ours, unless it leaves keys in force that are to be withdrawn.
            let new = &slots[at].record;
            if new.kid == kid || new.withdraws || !rotation.withdraw {
                return Ok(describe(signing_use, &slots, at, self.clock.now()));
            }
        }
    }

    /// What is to be said of the key that takes over from those in these slots.
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
        note: AuditEntries<()>,
    ) -> Result<(), Error> {
        let name = Slot::name(signing_use, number);
        let bytes = Slot::make(signing_use, record).encode(&name, &self.keyring);
        self.store.put_if_absent(&name, bytes, note).await?;
        Ok(())
    }

    fn slots(&self, signing_use: SigningUse) -> Vec<Arc<Slot>> {
        self.rings.load().0[signing_use as usize].clone()
    }

    /// The key that signs now.
    fn signer(&self, signing_use: SigningUse) -> Arc<Slot> {
        let now = self.clock.now();
        let rings = self.rings.load();
        let slots = &rings.0[signing_use as usize];
        let ready = slots
            .iter()
            .rev()
            .find(|slot| slot.record.signs_from <= now);
        // A clock that was set back may find none that has begun.
        let signer = ready.or_else(|| slots.last());
        signer.expect("opening made a key of each use").clone()
    }

    /// A key by its id, with its use and state.
    fn find(&self, id: SigningKeyId) -> Option<(SigningUse, SigningKeyState, Arc<Slot>)> {
        let now = self.clock.now();
        let rings = self.rings.load();
        SigningUse::ALL.into_iter().find_map(|signing_use| {
            let slots = &rings.0[signing_use as usize];
            let at = slots.iter().position(|slot| slot.record.kid == id)?;
            let later = slots[at + 1..].iter().map(|slot| &slot.record);
            let (state, _) = slot::state(&slots[at].record, later, now);
            Some((signing_use, state, slots[at].clone()))
        })
    }

    /// Signs members, in order of their names, as a JWS of that type.
    fn sign(&self, signing_use: SigningUse, kind: &str, content: &Value) -> String {
        let slot = self.signer(signing_use);
        let mut header = Header::new(algorithm(signing_use));
        header.typ = Some(kind.to_owned());
        header.kid = Some(slot.record.kid.to_string());
        let key = match signing_use.algorithm() {
            SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(&slot.key[..]),
            SigningAlgorithm::Hs256 => EncodingKey::from_secret(&slot.key[..]),
        };
        jsonwebtoken::encode(&header, &sorted(content), &key)
            .expect("a key of ours signs plain data by its own algorithm")
    }
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").finish_non_exhaustive()
    }
}

const fn algorithm(signing_use: SigningUse) -> Algorithm {
    match signing_use.algorithm() {
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Hs256 => Algorithm::HS256,
    }
}

/// What verifies what the key in this slot signed.
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

/// The same value with the members of every object in order of their names, however it was built.
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
