//! One-use claims: keys that can be won exactly once, by any process on any gate.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE claims (kind, digest, content, owner, reference, attempt, finished, answer, prepared, claimed_at, expires_at,
//!   PRIMARY KEY (kind, digest));
//! -- claim: won if a row was written
//! INSERT INTO claims … ON CONFLICT (kind, digest) DO UPDATE SET … WHERE claims.expires_at <= :now;
//! -- take over: won if a row was changed
//! UPDATE claims SET owner = :owner, attempt = attempt + 1 WHERE kind = … AND digest = … AND NOT finished AND attempt = :seen;
//! -- finish as prepared
//! UPDATE claims SET answer = prepared, prepared = NULL, finished = true WHERE (kind, digest) IN (…) AND NOT finished AND prepared IS NOT NULL;
//! ```

use async_trait::async_trait;
use model::{InstanceId, Timestamp};

use crate::error::Error;

/// A kind of claim. Each kind has digests of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ClaimKind {
    /// A caller's idempotency key, within its account and path.
    IdempotencyKey = 1,
    /// The id of a stamp, within its app.
    Stamp = 2,
    /// A nonce.
    Nonce = 3,
    /// A refresh token.
    RefreshToken = 4,
}

/// The identity of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// The kind.
    pub kind: ClaimKind,
    /// The SHA-256, or a keyed hash, of everything that distinguishes it from others of its kind.
    pub digest: [u8; 32],
}

/// A try to win a claim.
#[derive(Clone)]
pub struct NewClaim {
    /// The claim.
    pub key: ClaimKey,
    /// The SHA-256 of the content that it is claimed for, so that another use of the same key is
    /// detected; zeros where nothing is compared.
    pub content: [u8; 32],
    /// The gate that claims.
    pub owner: InstanceId,
    /// The reference that the winner gives to its work, as the bits of a call id, so that the work
    /// can be found again; 0: none.
    pub reference: u128,
    /// The answer that is given once the work is done; `None`: the work makes it.
    pub prepared: Option<Vec<u8>>,
    /// Whether it must outlast the machine, as the records do that belong to it; otherwise it
    /// outlasts every process. A store may make no difference.
    pub waits_for_disk: bool,
    /// The time of the try.
    pub at: Timestamp,
    /// The time at which it is forgotten. A claim that has expired can be won again.
    pub expires_at: Timestamp,
}

/// A claim as the store holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// The SHA-256 of the content that it was claimed for.
    pub content: [u8; 32],
    /// The gate that claimed it last.
    pub owner: InstanceId,
    /// The reference that the winner gave.
    pub reference: u128,
    /// The number of times that it was taken over.
    pub attempt: u32,
    /// The answer of its work, once it is finished; it may be empty.
    pub answer: Option<Vec<u8>>,
    /// The answer that is given once its work is done, as long as that is not known; `None`: the
    /// work makes it.
    pub prepared: Option<Vec<u8>>,
    /// The time at which it was won.
    pub claimed_at: Timestamp,
    /// The time at which it is forgotten.
    pub expires_at: Timestamp,
}

/// The result of a try.
#[derive(Clone, PartialEq, Eq)]
pub enum Claimed {
    /// This try won it.
    Won,
    /// An earlier try had won it.
    Lost(Claim),
}

impl Claim {
    /// Returns whether the work that it was won for is finished.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.answer.is_some()
    }
}

/// The store of claims.
#[async_trait]
pub trait ClaimStore: Send + Sync + 'static {
    /// Tries to win a claim. Of any number of tries for one key exactly one wins until it expires
    /// or is released.
    async fn claim(&self, new: NewClaim) -> Result<Claimed, Error>;

    /// Returns a claim that has not been forgotten.
    async fn claimed(&self, key: ClaimKey) -> Result<Option<Claim>, Error>;

    /// Takes over a claim that is not finished, for a process that saw it at `attempt`: of several
    /// that saw the same, one does. Returns `false` if it is finished, gone, or another was faster.
    async fn take_over_claim(
        &self,
        key: ClaimKey,
        attempt: u32,
        owner: InstanceId,
    ) -> Result<bool, Error>;

    /// Finishes a claim with its answer, which can be given again until `expires_at`. The first
    /// answer stands; returns `false` if it was finished before, or is gone.
    async fn finish_claim(
        &self,
        key: ClaimKey,
        answer: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<bool, Error>;

    /// Finishes claims with the answers that they were prepared with; they expire as they would
    /// have. Those that are finished, gone or were not prepared stay as they are. One statement,
    /// which need not outlast the machine: a claim that is not finished is taken over.
    /// Returns how many were finished.
    async fn finish_prepared(&self, keys: Vec<ClaimKey>) -> Result<u64, Error>;

    /// Releases a claim whose work had no effect, so that it can be won again. A finished one
    /// stays. Returns whether it was released.
    async fn release_claim(&self, key: ClaimKey) -> Result<bool, Error>;

    /// Forgets up to `limit` claims that expired by `now`. Returns how many.
    async fn sweep_claims(&self, now: Timestamp, limit: usize) -> Result<usize, Error>;
}

impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClaimKey({:?}, redacted)", self.kind)
    }
}

impl std::fmt::Debug for NewClaim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewClaim")
            .field("key", &self.key)
            .field("owner", &self.owner)
            .field("prepared", &self.prepared.is_some())
            .field("at", &self.at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim")
            .field("owner", &self.owner)
            .field("attempt", &self.attempt)
            .field("finished", &self.is_finished())
            .field("claimed_at", &self.claimed_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Claimed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Won => f.write_str("Won"),
            Self::Lost(claim) => f.debug_tuple("Lost").field(claim).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_prepared_shows_in_no_debug_output() {
        let new = NewClaim {
            key: ClaimKey {
                kind: ClaimKind::Nonce,
                digest: [1; 32],
            },
            content: [2; 32],
            owner: InstanceId::default(),
            reference: 0,
            prepared: Some(vec![77, 77]),
            waits_for_disk: true,
            at: Timestamp::default(),
            expires_at: Timestamp::default(),
        };
        let shown = format!("{new:?}");
        assert!(!shown.contains("77"), "{shown}");
    }
}
