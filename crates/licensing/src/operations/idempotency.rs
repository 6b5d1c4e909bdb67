//! Idempotency: operations that are carried out once however often they are asked for, such as by
//! idempotency keys and stamp ids.

use std::sync::Arc;
use std::time::Duration;

use model::{InstanceId, Timestamp, Who};
use sha2::{Digest, Sha256};
use store::{AuditFilter, Claim, ClaimKey, ClaimKind, Claimed, NewClaim};

use super::in_flight::InFlight;
use super::prepared::Prepared;
use super::time::after;
use crate::error::Error;
use crate::keys::Sealer;
use crate::licensing::Licensing;

/// A request that must be carried out once, however often it is sent.
#[derive(Clone, Copy, Debug)]
pub struct IdempotentRequest<'a> {
    /// The kind of operation.
    pub kind: ClaimKind,
    /// The name that identifies the request among those of its kind, such as an account, a path and
    /// a key. The parts cannot run into each other.
    pub name: &'a [&'a [u8]],
    /// The content of the request. The same name with other content is a conflict.
    pub content: &'a [&'a [u8]],
    /// A reference by which the operation can be found again, as the bits of a call id; 0: none.
    pub reference: u128,
    /// The answer, if it is known before the operation is done. It is kept with the claim, to be
    /// given when [`Licensing::finish_prepared`] says that the operation is done. `None`: the
    /// operation makes its answer.
    pub prepared: Option<&'a [u8]>,
    /// Whether its claim must outlast the machine, not only every process: where the work itself
    /// does.
    pub waits_for_disk: bool,
    /// The time for which the request is remembered.
    pub lifetime: Duration,
    /// The instances that are dead and whose records are read here, though they are not all in the
    /// rollups yet. The operations that they left are handed on at once.
    pub dead: &'a [InstanceId],
}

/// The answer to a request that must be carried out once.
#[derive(Debug)]
pub enum Idempotency {
    /// The caller has to carry out the operation, and then to finish or release the guard.
    Run(IdempotencyGuard),
    /// The operation was done before.
    Replay {
        /// The answer that was given.
        answer: Vec<u8>,
        /// The time at which the operation was asked for first.
        claimed_at: Timestamp,
    },
    /// Another caller is carrying the operation out now: ask again in a moment.
    InProgress,
    /// Another gate has claimed the operation: it carries it out now, or died before its end. That
    /// is known when its journal is read, and then the operation is handed on.
    Elsewhere(Unfinished),
    /// The name was used for something else.
    Conflict,
}

/// An operation that another gate has claimed and not ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The answer that is given once the operation is done; `None`: the operation makes it.
    pub prepared: Option<Vec<u8>>,
    /// The time at which the operation was asked for first.
    pub claimed_at: Timestamp,
}

impl std::fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unfinished")
            .field("claimed_at", &self.claimed_at)
            .finish_non_exhaustive()
    }
}

/// The right to carry out an idempotent operation. If it is dropped unfinished, the operation stays
/// claimed, and the next caller takes it over.
#[derive(Debug)]
pub struct IdempotencyGuard {
    key: ClaimKey,
    content: [u8; 32],
    lifetime: Duration,
    claimed_at: Timestamp,
    expires_at: Timestamp,
    in_flight: Arc<InFlight>,
    /// The reference by which the operation can be found again: that of the first try.
    pub reference: u128,
    /// The time at which an earlier try began that was not finished; how far it came is not known.
    /// `None`: there was none.
    pub broken_off: Option<Timestamp>,
    /// Whether that try was another process's, which has ended: it does nothing any more.
    is_orphan: bool,
    /// The prepared answer: that of the first try. `None`: the operation makes its answer.
    pub prepared: Option<Vec<u8>>,
}

impl Drop for IdempotencyGuard {
    fn drop(&mut self) {
        self.in_flight.end(&self.key);
    }
}

impl Licensing {
    /// Claims an idempotent operation. Of any number of callers, on whichever gates, one is given
    /// the guard. The claim of a gate that died is handed on when its journal is read, here or to
    /// its end, so that what it recorded can be found.
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
        let now = self.clock.now();
        let content = digest(request.content);
        let mut guard = IdempotencyGuard {
            key,
            content,
            lifetime: request.lifetime,
            claimed_at: now,
            expires_at: after(now, request.lifetime),
            in_flight: self.in_flight.clone(),
            reference: request.reference,
            broken_off: None,
            is_orphan: false,
            prepared: request.prepared.map(<[u8]>::to_vec),
        };
        if let Some(done) = self.prepared.of(&key, now) {
            return Ok(match done.content == content {
                true => Idempotency::Replay {
                    answer: done.answer,
                    claimed_at: done.claimed_at,
                },
                false => Idempotency::Conflict,
            });
        }
        let new = NewClaim {
            key,
            content,
            owner: self.instance,
            reference: request.reference,
            prepared: guard.prepared.clone(),
            waits_for_disk: request.waits_for_disk,
            at: now,
            expires_at: guard.expires_at,
        };
        let claim = match self.store.claims()?.claim(new).await? {
            Claimed::Won => return Ok(Idempotency::Run(guard)),
            Claimed::Lost(claim) => claim,
        };
        if claim.content != content {
            return Ok(Idempotency::Conflict);
        }
        if let Some(answer) = claim.answer {
            return Ok(Idempotency::Replay {
                answer,
                claimed_at: claim.claimed_at,
            });
        }
        if !self.take_over(key, &claim, request.dead).await? {
            return Ok(match claim.owner == self.instance {
                true => Idempotency::InProgress,
                false => Idempotency::Elsewhere(Unfinished {
                    prepared: claim.prepared,
                    claimed_at: claim.claimed_at,
                }),
            });
        }
        guard.reference = claim.reference;
        guard.broken_off = Some(claim.claimed_at);
        guard.is_orphan = claim.owner != self.instance;
        (guard.claimed_at, guard.expires_at) = (claim.claimed_at, claim.expires_at);
        guard.prepared = claim.prepared;
        Ok(Idempotency::Run(guard))
    }

    /// Returns whether earlier tries of an operation, which an actor asked for, did nothing for sure,
    /// so that it may be carried out: there was none, or its gate died and the audit log, in which
    /// each change stands with what it changed, has no line of the actor since. A try that broke off
    /// in this process may still be under way in the store.
    ///
    /// # Errors
    /// The store fails.
    pub async fn did_nothing(&self, claim: &IdempotencyGuard, actor: Who) -> Result<bool, Error> {
        /// The time by which a clock may have been set back between a claim and its work.
        const MARGIN_US: i64 = 1_000_000;
        let Some(since) = claim.broken_off else {
            return Ok(true);
        };
        let lines = AuditFilter {
            who: Some(actor.to_string()),
            from: Some(since.plus_micros(-MARGIN_US)),
            ..AuditFilter::default()
        };
        Ok(claim.is_orphan && self.audit_log(lines, 0, 1).await?.is_empty())
    }

    /// Takes over a claim whose owner does not carry it out any more. Returns whether it did.
    async fn take_over(
        &self,
        key: ClaimKey,
        claim: &Claim,
        dead: &[InstanceId],
    ) -> Result<bool, Error> {
        // A claim of our own: nobody in this process carries it out, or this would not have come so
        // far.
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

    /// Stores the answer of an operation, so that it is given again.
    ///
    /// # Errors
    /// The store fails; then the next who asks takes it over.
    pub async fn finish_once(&self, claim: IdempotencyGuard, answer: Vec<u8>) -> Result<(), Error> {
        let expires_at = after(self.clock.now(), claim.lifetime);
        let claims = self.store.claims()?;
        claims.finish_claim(claim.key, answer, expires_at).await?;
        Ok(())
    }

    /// Says that an operation is done whose answer was prepared, so that the answer is given again
    /// until the claim ends. Waits for nothing: the store is told in the background, for many at
    /// once, and until then the answer is given from memory. If this process dies before, the next
    /// who asks takes the claim over, and must find out by its reference that the operation is done;
    /// so must they where too many answers wait. An operation without a prepared answer stays
    /// claimed.
    pub fn finish_prepared(&self, mut claim: IdempotencyGuard) {
        if let Some(answer) = claim.prepared.take() {
            let prepared = Prepared {
                content: claim.content,
                answer,
                claimed_at: claim.claimed_at,
                expires_at: claim.expires_at,
            };
            // Before the guard is dropped, so that whoever is let in by that sees it.
            self.prepared.add(claim.key, prepared);
        }
    }

    /// Tells the store which operations with prepared answers are done, as [`Licensing::run`] does
    /// all the time and at its end. What cannot be written is kept for the next time.
    pub async fn write_finished(&self) {
        self.prepared.write(&*self.store).await;
    }

    /// Records that nothing was done, so that the operation can be asked for again.
    ///
    /// # Errors
    /// The store fails; then the next who asks takes it over.
    pub async fn release_once(&self, claim: IdempotencyGuard) -> Result<(), Error> {
        self.store.claims()?.release_claim(claim.key).await?;
        Ok(())
    }

    /// Seals an answer that holds a secret. Only a caller who knows `name` can have it opened; the
    /// store cannot.
    #[must_use]
    pub fn seal_answer(&self, name: &[&[u8]], answer: &[u8]) -> Vec<u8> {
        self.answer_sealer(name).seal_bytes(ANSWER, answer)
    }

    /// Opens what [`Licensing::seal_answer`] sealed under this name; `None`: it was not sealed
    /// under it.
    #[must_use]
    pub fn open_answer(&self, name: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut opened = self.answer_sealer(name).open_bytes(ANSWER, sealed)?;
        Some(std::mem::take(&mut *opened))
    }

    fn answer_sealer(&self, name: &[&[u8]]) -> Sealer {
        let mut parts = vec![ANSWER];
        parts.extend_from_slice(name);
        let key = self.hasher.hash_digest(&digest(&parts));
        Sealer::of_key(key.as_bytes())
    }
}

/// The context that separates sealed answers from other uses of the keyring.
const ANSWER: &[u8] = b"tallygate answer 1";

/// Returns the SHA-256 over parts, each after its length.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
