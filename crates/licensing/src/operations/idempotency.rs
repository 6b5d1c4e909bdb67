//! What must happen once however often it is asked for: idempotency keys, stamp ids.

use std::sync::Arc;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use model::InstanceId;
use sha2::{Digest, Sha256};
use store::{Claim, ClaimKey, ClaimKind, Claimed, NewClaim};

use super::in_flight::InFlight;
use super::time::after;
use crate::error::Error;
use crate::keyring::random;
use crate::licensing::Licensing;

/// A request that must be carried out once, however often it is sent.
#[derive(Clone, Copy, Debug)]
pub struct IdempotentRequest<'a> {
    /// What kind of thing it is.
    pub kind: ClaimKind,
    /// What tells it from others of its kind, such as an account, a path and a key; the parts cannot run into each other.
    pub name: &'a [&'a [u8]],
    /// What is to happen: the same name with other content is a conflict.
    pub content: &'a [&'a [u8]],
    /// By what it can be found again, as the bits of a call id; 0: nothing.
    pub reference: u128,
    /// How long it is remembered.
    pub lifetime: Duration,
    /// Instances that are dead and whose records are read here, though they are not all in the books yet: what they left is
    /// handed on at once.
    pub dead: &'a [InstanceId],
}

/// The answer to a request that must be carried out once.
#[derive(Debug)]
pub enum Idempotency {
    /// It is for the caller to do, and then to finish or release.
    Run(IdempotencyGuard),
    /// It was done before, and this was answered.
    Replay(Vec<u8>),
    /// Another caller is doing it now: ask again in a moment.
    InProgress,
    /// The name was used for something else.
    Conflict,
}

/// The right to carry out a request that must be carried out once. Dropped unfinished, it stays taken, and the next caller takes it
/// over.
#[derive(Debug)]
pub struct IdempotencyGuard {
    key: ClaimKey,
    lifetime: Duration,
    in_flight: Arc<InFlight>,
    /// By what it can be found again: of who tried first.
    pub reference: u128,
    /// When an earlier try began that was not finished; how far it came is not known.
    pub broken_off: Option<model::Timestamp>,
}

impl Drop for IdempotencyGuard {
    fn drop(&mut self) {
        self.in_flight.end(&self.key);
    }
}

impl Licensing {
    /// Asks to do something once. Of any number of callers, on whichever gates, one is told to do it. What a gate that
    /// died left behind is handed on when its journal is read, here or to its end, so that what it recorded can be found.
    ///
    /// # Errors
    /// The store fails.
    pub async fn once(&self, request: &IdempotentRequest<'_>) -> Result<Idempotency, Error> {
        let key = ClaimKey {
            kind: request.kind,
            digest: digest(request.name),
        };
        // Before the store is asked, so that whoever sees the claim sees this too.
        if !self.in_flight.begin(key) {
            return Ok(Idempotency::InProgress);
        }
        let mut mine = IdempotencyGuard {
            key,
            lifetime: request.lifetime,
            in_flight: self.in_flight.clone(),
            reference: request.reference,
            broken_off: None,
        };
        let now = self.clock.now();
        let content = digest(request.content);
        let new = NewClaim {
            key,
            content,
            owner: self.instance,
            reference: request.reference,
            at: now,
            expires_at: after(now, request.lifetime),
        };
        let claim = match self.store.claims()?.claim(new).await? {
            Claimed::Won => return Ok(Idempotency::Run(mine)),
            Claimed::Lost(claim) => claim,
        };
        if claim.content != content {
            return Ok(Idempotency::Conflict);
        }
        if let Some(answer) = claim.answer {
            return Ok(Idempotency::Replay(answer));
        }
        if !self.take_over(key, &claim, request.dead).await? {
            return Ok(Idempotency::InProgress);
        }
        mine.reference = claim.reference;
        mine.broken_off = Some(claim.claimed_at);
        Ok(Idempotency::Run(mine))
    }

    /// Takes over what its owner is not at any more.
    async fn take_over(
        &self,
        key: ClaimKey,
        claim: &Claim,
        dead: &[InstanceId],
    ) -> Result<bool, Error> {
        // Our own: nobody in this process is at it, or this would not have come so far.
        let left = claim.owner == self.instance
            || dead.contains(&claim.owner)
            || self.is_finished(claim.owner).await?;
        if !left {
            return Ok(false);
        }
        let claims = self.store.claims()?;
        Ok(claims
            .take_over_claim(key, claim.attempt, self.instance)
            .await?)
    }

    async fn is_finished(&self, instance: InstanceId) -> Result<bool, Error> {
        let instances = self.store.instances().await?;
        let found = instances.iter().find(|state| state.id == instance);
        Ok(found.is_none_or(|state| state.finished_at.is_some()))
    }

    /// Notes what was answered, so that it is answered again.
    ///
    /// # Errors
    /// The store fails; then the next who asks takes it over.
    pub async fn finish_once(&self, claim: IdempotencyGuard, answer: Vec<u8>) -> Result<(), Error> {
        let expires_at = after(self.clock.now(), claim.lifetime);
        let claims = self.store.claims()?;
        claims.finish_claim(claim.key, answer, expires_at).await?;
        Ok(())
    }

    /// Notes that nothing was done, so that it can be asked for again.
    ///
    /// # Errors
    /// The store fails; then the next who asks takes it over.
    pub async fn release_once(&self, claim: IdempotencyGuard) -> Result<(), Error> {
        self.store.claims()?.release_claim(claim.key).await?;
        Ok(())
    }

    /// Seals an answer that holds a secret: only who knows `name` can have it opened, and the store does not.
    #[must_use]
    pub fn seal_answer(&self, name: &[&[u8]], answer: &[u8]) -> Vec<u8> {
        let nonce: [u8; 24] = random();
        let payload = Payload {
            msg: answer,
            aad: ANSWER,
        };
        let sealed = self
            .answer_cipher(name)
            .encrypt(&XNonce::from(nonce), payload)
            .expect("an answer is shorter than the cipher's limit");
        [&nonce[..], &sealed].concat()
    }

    /// Opens what [`Licensing::seal_answer`] sealed under this name; `None`: it was not.
    #[must_use]
    pub fn open_answer(&self, name: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<24>()?;
        let payload = Payload {
            msg: sealed,
            aad: ANSWER,
        };
        self.answer_cipher(name)
            .decrypt(&XNonce::from(*nonce), payload)
            .ok()
    }

    fn answer_cipher(&self, name: &[&[u8]]) -> XChaCha20Poly1305 {
        let mut parts = vec![ANSWER];
        parts.extend_from_slice(name);
        let key = self.hasher.hash_digest(&digest(&parts));
        XChaCha20Poly1305::new_from_slice(key.as_bytes()).expect("a hash has 32 bytes")
    }
}

/// What sealed answers are told from other uses of the keyring by.
const ANSWER: &[u8] = b"tallygate answer 1";

/// SHA-256 over parts, each after its length.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
