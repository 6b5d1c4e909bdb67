//! The store of request tokens, and of the units that they hold.
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

/// The instance that holds the units of all tokens that were issued and not used. It is never begun
/// or settled.
pub const TOKENS: InstanceId = InstanceId::from_u128(1);

/// The result of issuing a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenIssue {
    /// It is issued.
    Issued,
    /// Too few units are left.
    Exhausted {
        /// The time of the balance's next refill; `None`: never.
        next_refill_at: Option<Timestamp>,
    },
}

/// The result of a try to claim a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenClaim {
    /// This try won it: nobody else wins it. Its state is `claimed` now.
    Won {
        /// The token.
        token: RequestToken,
        /// The part of a lease that the claiming instance holds by it now: the epoch of the balance
        /// and the units; `None`: none, since no units are counted or the epoch is over.
        leased: Option<(u32, u64)>,
    },
    /// The token cannot be won: it was used, has expired, or is being used.
    Lost(RequestToken),
    /// There is no such token.
    Unknown,
}

/// The store of request tokens.
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

    /// Returns the token with this hash, whatever its state. A token whose time is over and that
    /// was not used is `expired`, whether or not it was swept.
    async fn token(&self, hash: KeyHash, now: Timestamp) -> Result<Option<RequestToken>, Error>;

    /// Returns the token with this id, as [`TokenStore::token`] shows it.
    async fn token_by_id(
        &self,
        id: RequestTokenId,
        now: Timestamp,
    ) -> Result<Option<RequestToken>, Error>;

    /// Returns up to `limit` tokens of a license (at most 100,000) in order of id, beginning after
    /// `after`, as [`TokenStore::token`] shows them; stable under inserts.
    async fn tokens_of(
        &self,
        license_id: LicenseId,
        after: Option<RequestTokenId>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<RequestToken>, Error>;

    /// Ends a token that nobody used, as if its time were over, and frees its units; any other
    /// stays as it is. Returns `None` if there is no such token. If it is ended, the audit lines
    /// are made from the token as it was before; a store that keeps tokens and the log apart writes
    /// the lines first.
    async fn end_token(
        &self,
        id: RequestTokenId,
        now: Timestamp,
        entries: AuditEntries<RequestToken>,
    ) -> Result<Option<RequestToken>, Error>;

    /// Tries to claim a token for a call of an instance. Of any number of calls exactly one wins,
    /// until it is released; asked again, it gets the same answer.
    async fn claim_token(
        &self,
        hash: KeyHash,
        instance: InstanceId,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<TokenClaim, Error>;

    /// Releases a claimed token, for a call that reached nobody: it can be claimed again, and holds
    /// again the units that its instance holds of it. Only for the call that claimed it. Returns
    /// whether it was released.
    async fn release_token(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        leased: Option<(u32, u64)>,
    ) -> Result<bool, Error>;

    /// Writes down the status of the call that claimed a token: its use is final. The first status
    /// stands.
    async fn finish_token(
        &self,
        id: RequestTokenId,
        call_id: CallId,
        status: u16,
        at: Timestamp,
    ) -> Result<bool, Error>;

    /// Writes down the status that the holder of a consumed token reports: the token is `confirmed`
    /// if it is the status of the call, else `disputed`. The last report stands. `None`: there is
    /// no such token of this license, or it is not consumed.
    async fn confirm_token(
        &self,
        hash: KeyHash,
        license_id: LicenseId,
        status: u16,
    ) -> Result<Option<RequestToken>, Error>;

    /// Ends up to `limit` tokens whose time was over at `now`, and frees the units they held.
    /// Returns how many.
    async fn expire_tokens(&self, now: Timestamp, limit: usize) -> Result<usize, Error>;

    /// Forgets up to `limit` tokens that were issued before `before` and are not `issued`. Returns
    /// how many.
    async fn forget_tokens(&self, before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// A token with the fields that only the store needs.
pub(crate) struct Kept {
    pub(crate) token: RequestToken,
    /// The epoch of the balance that its units were taken from; `None`: none are counted, or they
    /// are gone.
    pub(crate) epoch: Option<u32>,
    /// The instance that claimed it.
    pub(crate) owner: Option<InstanceId>,
}

impl Kept {
    /// Returns the token as it is at a time.
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

    /// Returns the answer for the call that claimed it, the same each time that it asks.
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

    /// Returns the key of the lease that holds its units.
    pub(crate) fn key(&self) -> Option<LeaseKey> {
        Some(LeaseKey {
            license_id: self.token.license_id,
            counter: Counter::Remaining,
            period: self.epoch?,
        })
    }
}
