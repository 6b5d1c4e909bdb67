//! Request tokens, and the units that they hold.
//!
//! A token's units are leased like those of a gate, under the instance [`TOKENS`], one row for a license and an epoch:
//! issuing adds to it, whatever ends a token takes from it. So a balance is never promised twice, and an epoch that is over
//! takes the units of its tokens with it. A claim moves them to the lease of the gate that claims, in one transaction.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! CREATE TABLE tokens (id PRIMARY KEY, hash UNIQUE, license, account, app, method, path, units, epoch NULL, state,
//!   issued_at, expires_at, call_id, owner, consumed_at, status, confirmed_status);
//! -- issue: lease `units` for TOKENS (as QuotaStore::lease does), insert with the epoch; nothing if too few are left
//! -- claim: UPDATE … SET state = 1 WHERE hash = … AND state = 0 AND expires_at > :now; won if a row was changed; then
//! --   give `units` of TOKENS back and grant them to the instance, if the lease row of that epoch is still there; else the
//! --   token forgets the epoch
//! ```

use async_trait::async_trait;
use model::{
    CallId, Counter, InstanceId, KeyHash, LicenseId, RequestToken, RequestTokenId, Timestamp,
    TokenState,
};

use crate::audit::AuditEntries;
use crate::error::Error;
use crate::quota::LeaseKey;

/// The instance that holds the units of all tokens that were issued and not used. It is never begun or settled.
pub const TOKENS: InstanceId = InstanceId::from_u128(1);

/// What came of issuing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenIssue {
    /// It is issued.
    Issued,
    /// Too few units are left; when they are refilled next.
    Exhausted {
        /// When the balance is refilled next; `None`: never.
        next_refill_at: Option<Timestamp>,
    },
}

/// What came of a try to claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenClaim {
    /// It was won: nobody else wins it. Its state is `claimed` now.
    Won {
        /// The token.
        token: RequestToken,
        /// What the claiming instance holds of it now: the epoch of the balance and the units; `None`: nothing, since none
        /// are counted or the epoch is over.
        leased: Option<(u32, u64)>,
    },
    /// It is not there to be won: used, expired, or being used.
    Lost(RequestToken),
    /// There is none such.
    Unknown,
}

/// Request tokens at rest.
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Keeps a new token, and holds its units where the license counts them: both or neither.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash or the id is there already.
    async fn issue_token(
        &self,
        token: RequestToken,
        hash: KeyHash,
        now: Timestamp,
    ) -> Result<TokenIssue, Error>;

    /// The token with this hash, whatever its state. One whose time is over and that was not used is `expired`, whether or
    /// not it was swept.
    async fn token(&self, hash: KeyHash, now: Timestamp) -> Result<Option<RequestToken>, Error>;

    /// The token with this id, as [`TokenStore::token`] shows it.
    async fn token_by_id(
        &self,
        id: RequestTokenId,
        now: Timestamp,
    ) -> Result<Option<RequestToken>, Error>;

    /// Up to `limit` tokens of a license (at most 100,000) in order of id, beginning after `after`, as [`TokenStore::token`]
    /// shows them; stable under inserts.
    async fn tokens_of(
        &self,
        license_id: LicenseId,
        after: Option<RequestTokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<RequestToken>, Error>;

    /// Ends a token that nobody used, as if its time were over, and frees its units; any other stays as it is. `None`: there is
    /// none such. It is noted, as it was, if it is ended; a store that keeps tokens and the log apart writes the line first.
    async fn end_token(
        &self,
        id: RequestTokenId,
        now: Timestamp,
        note: AuditEntries<RequestToken>,
    ) -> Result<Option<RequestToken>, Error>;

    /// Tries to claim a token for a call of an instance. Of any number of calls exactly one wins, until it is released; asked
    /// again, it is told the same.
    async fn claim_token(
        &self,
        hash: KeyHash,
        instance: InstanceId,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<TokenClaim, Error>;

    /// Gives a claimed token back, for a call that reached nobody: it can be claimed again, and holds again what its instance
    /// holds of it. Only for the call that claimed it.
    async fn release_token(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        leased: Option<(u32, u64)>,
    ) -> Result<bool, Error>;

    /// Notes the status of the call that claimed a token: its use is final. The first status stands.
    async fn finish_token(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        status: u16,
        at: Timestamp,
    ) -> Result<bool, Error>;

    /// Notes what the holder of a consumed token says of its status: `confirmed` if it is the status that was reported, else
    /// `disputed`. The last word stands. `None`: there is no such token of this license, or it is not consumed.
    async fn confirm_token(
        &self,
        hash: KeyHash,
        license_id: LicenseId,
        status: u16,
    ) -> Result<Option<RequestToken>, Error>;

    /// Ends up to `limit` tokens whose time was over at `now`, and frees the units they held; how many.
    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Forgets up to `limit` tokens that were issued before `before` and are not `issued`; how many.
    async fn forget_tokens(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// A token with what only the store cares about.
pub(crate) struct Kept {
    pub(crate) token: RequestToken,
    /// The epoch of the balance that its units were taken from; `None`: none are counted, or they are gone.
    pub(crate) epoch: Option<u32>,
    /// The instance that claimed it.
    pub(crate) owner: Option<InstanceId>,
}

impl Kept {
    /// The token as it is at a time.
    pub(crate) fn at(self, now: Timestamp) -> RequestToken {
        let over = self.token.state == TokenState::Issued && self.token.expires_at <= now;
        let state = if over {
            TokenState::Expired
        } else {
            self.token.state
        };
        RequestToken {
            state,
            ..self.token
        }
    }

    /// What the call that claimed it is told, each time that it asks.
    pub(crate) fn won(self) -> TokenClaim {
        let units = self.token.units;
        TokenClaim::Won {
            leased: self.epoch.map(|epoch| (epoch, units)),
            token: self.token,
        }
    }

    pub(crate) fn is_claimed_by(&self, instance: InstanceId, call_id: CallId) -> bool {
        let call = (self.owner, self.token.call_id);
        self.token.state == TokenState::Claimed && call == (Some(instance), Some(call_id))
    }

    /// The lease that holds its units.
    pub(crate) fn key(&self) -> Option<LeaseKey> {
        Some(LeaseKey {
            license_id: self.token.license_id,
            counter: Counter::Remaining,
            period: self.epoch?,
        })
    }
}
