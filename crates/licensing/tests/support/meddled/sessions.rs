//! Sessions, as the store beneath keeps them.

use async_trait::async_trait;
use ipnet::IpNet;
use model::{KeyHash, ManagementKeyId, RateLimit, Session, SessionId, Timestamp};
use store::{
    Error, KeyCall, ManagementKey, NewTokens, RefreshOutcome, SessionStore, StoredRefreshToken,
};

use super::Meddled;

#[async_trait]
impl SessionStore for Meddled {
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
    ) -> Result<bool, Error> {
        self.alive()?.create_session(session, tokens, most).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.alive()?.session(id).await
    }

    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        self.alive()?.sessions_of(key_id, after, limit).await
    }

    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error> {
        self.alive()?.management_key(id).await
    }

    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error> {
        self.alive()?.refresh_token(hash).await
    }

    async fn refresh_session(
        &self,
        refresh: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
    ) -> Result<RefreshOutcome, Error> {
        self.alive()?.refresh_session(refresh, asked_at, next).await
    }

    async fn end_session(&self, id: SessionId, at: Timestamp) -> Result<Option<Session>, Error> {
        self.alive()?.end_session(id, at).await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
    ) -> Result<Option<ManagementKey>, Error> {
        self.alive()?.set_key_allow_ips(id, allow_ips).await
    }

    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error> {
        self.alive()?.count_key_call(id, limits, now, take).await
    }

    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        self.alive()?.sweep_sessions(before, limit).await
    }
}
