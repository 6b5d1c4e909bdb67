//! The store of sessions, which are families of tokens, each of whose refresh tokens is good for
//! one use; and of the counts of calls that are made with a management key.

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session, SessionId, Timestamp,
};

use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::management::ManagementKey;

/// An access token and the refresh token that comes with it, to be kept by their hashes.
#[derive(Clone, Debug)]
pub struct NewTokens {
    /// The id of the access token (`jti`). Where the session has a license, it is a credential of
    /// that.
    pub access_id: CredentialId,
    /// The hash by which the gate finds the access token.
    pub access: KeyHash,
    /// The time at which the access token ends.
    pub access_expires_at: Timestamp,
    /// The hash by which the refresh token is found.
    pub refresh: KeyHash,
    /// The time at which the refresh token ends.
    pub refresh_expires_at: Timestamp,
    /// The time at which both were made.
    pub issued_at: Timestamp,
}

/// A refresh token as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefreshToken {
    /// The session, which is its family.
    pub session: Session,
    /// The time at which it ends.
    pub expires_at: Timestamp,
    /// The time at which it was used; `None`: it was not.
    pub used_at: Option<Timestamp>,
}

impl StoredRefreshToken {
    /// Returns whether it can have no effect any more, whoever presents it: its family has ended,
    /// or its time is over and it was never used.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.session.ended_at.is_some() || (self.used_at.is_none() && self.expires_at <= now)
    }
}

/// The result of using a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The new tokens are in force and the old refresh token is used.
    Refreshed,
    /// There is no such token, or it, its family or its key has ended.
    Refused,
    /// Another request used it while this one was under way.
    Lost,
    /// It was used before this request was made, which is what a thief or their victim does: the
    /// family is ended.
    Replayed,
}

/// A window of a key and the number of calls that were counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The window.
    pub limit: RateLimit,
    /// The number of calls in its present period, this one included if it was admitted.
    pub calls: u32,
    /// The time at which its present period ends.
    pub resets_at: Timestamp,
}

/// The decision on a call by all windows of a key, and their counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCall {
    /// Whether the call fits; only then it was counted, in every window.
    pub admitted: bool,
    /// The windows, in the order in which they were given.
    pub windows: Vec<WindowCount>,
}

/// The store of sessions and of calls by key. A method that changes a license's credentials makes a
/// numbered change of that license.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a session with its first tokens; `false`, and nothing is kept, if its key has ended or
    /// there is no such key. If the key has `most` sessions that may still be refreshed already,
    /// its oldest ones end. No access token outlives the key. The audit lines are written if it is
    /// kept.
    ///
    /// # Errors
    /// [`Error::Exists`] if an id or a hash is there already.
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error>;

    /// Returns a session.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error>;

    /// Returns up to `limit` sessions of a management key (at most 100,000) in order of id,
    /// beginning after `after`, ended ones among them until they are swept; stable under inserts.
    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error>;

    /// Returns a management key, whatever its state.
    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error>;

    /// Returns the refresh token with this hash, whatever its state.
    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error>;

    /// Uses a refresh token, which exactly one of all concurrent tries can, and keeps the tokens
    /// that replace it. `asked_at` is when the request was made: it tells a request that lost a
    /// race from a replay.
    ///
    /// # Errors
    /// [`Error::Exists`] if an id or a hash of the new tokens is there already; nothing is used
    /// then.
    async fn refresh_session(
        &self,
        refresh: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
        entries: AuditEntries<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error>;

    /// Ends a session with all its tokens (the first end stands); `None` if there is no such
    /// session.
    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        entries: AuditEntries<Changed<Session>>,
    ) -> Result<Option<Session>, Error>;

    /// Returns the ends of those of these access tokens that are kept, each named with its license;
    /// one statement for all.
    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error>;

    /// Sets the networks that a management key may be used from; empty: any. Returns `None` if
    /// there is no such key.
    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error>;

    /// Counts a call against windows of a key, all or none. Windows begin at multiples of their
    /// length. With `take` false nothing is counted, and the counts are only returned.
    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error>;

    /// Forgets up to `limit` each of sessions, refresh tokens, access tokens and windows that ended
    /// before `before`. Returns how many rows were removed.
    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error>;
}
