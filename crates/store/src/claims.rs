//! One-use claims: what may be won exactly once, whoever tries and on whichever gate.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE claims (kind, digest, content, owner, reference, attempt, finished, answer, claimed_at, expires_at,
//!   PRIMARY KEY (kind, digest));
//! -- claim: won if a row was written
//! INSERT INTO claims … ON CONFLICT (kind, digest) DO UPDATE SET … WHERE claims.expires_at <= :now;
//! -- take over: won if a row was changed
//! UPDATE claims SET owner = :owner, attempt = attempt + 1 WHERE kind = … AND digest = … AND NOT finished AND attempt = :seen;
//! ```

use async_trait::async_trait;
use model::{InstanceId, Timestamp};

use crate::error::Error;

/// What can be claimed once. Each kind has digests of its own.
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

/// What is claimed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// What it is.
    pub kind: ClaimKind,
    /// SHA-256, or a keyed hash, of all that tells it from others of its kind.
    pub digest: [u8; 32],
}

/// A try to win a claim.
#[derive(Clone, Debug)]
pub struct NewClaim {
    /// What is claimed.
    pub key: ClaimKey,
    /// SHA-256 of what it is claimed for, so that another use of the same key can be told; zeros where nothing is compared.
    pub content: [u8; 32],
    /// The gate that claims.
    pub owner: InstanceId,
    /// What the winner gives to what it does, as the bits of a call id, so that it can be found again; 0: nothing.
    pub reference: u128,
    /// Now.
    pub at: Timestamp,
    /// When it is forgotten. A claim that has expired can be won again.
    pub expires_at: Timestamp,
}

/// A claim as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it was claimed for.
    pub content: [u8; 32],
    /// The gate that claimed it last.
    pub owner: InstanceId,
    /// What the winner gave.
    pub reference: u128,
    /// How often it was taken over.
    pub attempt: u32,
    /// What was answered, once it is finished; it may be empty.
    pub answer: Option<Vec<u8>>,
    /// When it was won.
    pub claimed_at: Timestamp,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// The answer to a try.
#[derive(Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It was won.
    Won,
    /// Somebody had won it before.
    Lost(Claim),
}

impl Claim {
    /// Whether what it was won for was done to its end.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.answer.is_some()
    }
}

/// Claims at rest.
#[async_trait]
pub trait ClaimStore: Send + Sync + 'static {
    /// Tries to win a claim. Of any number of tries for one key exactly one wins until it expires or is released.
    async fn claim(&self, new: NewClaim) -> Result<Claimed, Error>;

    /// A claim that has not been forgotten.
    async fn claimed(&self, key: ClaimKey) -> Result<Option<Claim>, Error>;

    /// Takes over a claim that is not finished, for one who saw it at `attempt`: of several who saw the same, one does.
    /// `false`: it is finished, gone, or another was faster.
    async fn take_over_claim(
        &self,
        key: ClaimKey,
        attempt: u32,
        owner: InstanceId,
    ) -> Result<bool, Error>;

    /// Finishes a claim with what was answered, so that it can be answered again, until `expires_at`. The first time
    /// stands; `false`: it was finished before, or is gone.
    async fn finish_claim(
        &self,
        key: ClaimKey,
        answer: Vec<u8>,
        expires_at: Timestamp,
    ) -> Result<bool, Error>;

    /// Gives back a claim that came to nothing, so that it can be won again. A finished one stays.
    async fn release_claim(&self, key: ClaimKey) -> Result<bool, Error>;

    /// Forgets up to `limit` claims that expired by `now`; how many.
    async fn sweep_claims(&self, now: Timestamp, limit: usize) -> Result<usize, Error>;
}

impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClaimKey({:?}, redacted)", self.kind)
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
