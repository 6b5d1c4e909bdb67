//! Sessions: families of tokens, each of whose refresh tokens is good for one use; and what is counted of calls that
//! are made with a management key.

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
    /// Identity of the access token (`jti`). Where the session has a license, it is a credential of that.
    pub access_id: CredentialId,
    /// By what the gate finds the access token.
    pub access: KeyHash,
    /// When the access token ends.
    pub access_expires_at: Timestamp,
    /// By what the refresh token is found.
    pub refresh: KeyHash,
    /// When the refresh token ends.
    pub refresh_expires_at: Timestamp,
    /// When both were made.
    pub issued_at: Timestamp,
}

/// A refresh token as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRefreshToken {
    /// Its family.
    pub session: Session,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}

impl StoredRefreshToken {
    /// Whether it can have no effect any more, whoever presents it: its family has ended, or its time is over and it was never used.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.session.ended_at.is_some() || (self.used_at.is_none() && self.expires_at <= now)
    }
}

/// What came of using a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The new tokens are in force and the old refresh token is used.
    Refreshed,
    /// There is none such, or it has ended, or its family or its key has.
    Refused,
    /// Another request used it while this one was under way.
    Lost,
    /// It was used before this request was made, which is what a thief or their victim does: the family is ended.
    Replayed,
}

/// How many calls of a window were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The window.
    pub limit: RateLimit,
    /// Calls in its present period, this one included if it was let in.
    pub calls: u32,
    /// When its present period ends.
    pub resets_at: Timestamp,
}

/// Whether a call fits into all of its windows, and how full these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCall {
    /// Whether it fits; only then it was counted, in every window.
    pub admitted: bool,
    /// The windows, in the order in which they were asked for.
    pub windows: Vec<WindowCount>,
}

/// Sessions and calls by key. What a method changes of a license's credentials is a numbered change of that license.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a session with its first tokens; `false`, and nothing is kept, if its key has ended or there is none such.
    /// If the key has `most` sessions that may still be refreshed already, its oldest ones end. No access token outlives
    /// the key. It is noted if it is kept.
    ///
    /// # Errors
    /// [`Error::Exists`] if an id or a hash is there already.
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
        note: AuditEntries<()>,
    ) -> Result<bool, Error>;

    /// One session.
    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error>;

    /// Up to `limit` sessions of a management key (at most 100,000) in order of id, beginning after `after`, ended ones among
    /// them until they are swept; stable under inserts.
    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error>;

    /// One management key, whatever its state.
    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error>;

    /// The refresh token with this hash, whatever its state.
    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error>;

    /// Uses a refresh token, which exactly one of all who try at once can, and keeps the tokens that replace it.
    /// `asked_at` is when the request was made: it tells a request that lost a race from a replay.
    ///
    /// # Errors
    /// [`Error::Exists`] if an id or a hash of the new tokens is there already; nothing is used then.
    async fn refresh_session(
        &self,
        refresh: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
        note: AuditEntries<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error>;

    /// Ends a session with all its tokens (the first end stands); `None` if there is none such.
    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        note: AuditEntries<Changed<Session>>,
    ) -> Result<Option<Session>, Error>;

    /// When those of these access tokens end that are kept, each named with its license; one statement for all.
    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error>;

    /// Sets from where a management key may be used; empty: from everywhere. `None` if there is none such.
    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        note: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error>;

    /// Counts a call against windows of a key, all or none. Windows begin at multiples of their length. With `take`
    /// false nothing is counted, only told.
    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error>;

    /// Forgets up to `limit` each of sessions, refresh tokens, access tokens and windows that ended before `before`;
    /// returns how many rows went.
    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error>;
}
