//! Sessions, as the store beneath keeps them.

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session, SessionId, Timestamp,
};
use store::{
    AuditEntries, Changed, Error, KeyCall, ManagementKey, NewTokens, RefreshOutcome, SessionStore,
    StoredRefreshToken,
};

use super::FaultyStore;

#[async_trait]
impl SessionStore for FaultyStore {
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
        note: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let inner = self.alive()?;
        inner.create_session(session, tokens, most, note).await
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
        note: AuditEntries<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error> {
        let inner = self.alive()?;
        inner.refresh_session(refresh, asked_at, next, note).await
    }

    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        note: AuditEntries<Changed<Session>>,
    ) -> Result<Option<Session>, Error> {
        self.alive()?.end_session(id, at, note).await
    }

    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error> {
        self.alive()?.token_ends(tokens).await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        note: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        self.alive()?.set_key_allow_ips(id, allow_ips, note).await
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
