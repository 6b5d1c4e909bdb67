//! [`SessionStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use model::{KeyHash, ManagementKeyId, RateLimit, Session, SessionId, Timestamp};

use super::server::Manner;
use super::{PostgresStore, management, session, sessions};
use crate::error::Error;
use crate::management::ManagementKey;
use crate::sessions::{KeyCall, NewTokens, RefreshOutcome, SessionStore, StoredRefreshToken};

/// The connection that a piece of work has.
type Lent = session::Session;

#[async_trait]
impl SessionStore for PostgresStore {
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
    ) -> Result<bool, Error> {
        let create = move |lent: Lent, new: Arc<(Session, NewTokens)>| async move {
            sessions::create(&lent, &new.0, &new.1, most).await
        };
        self.server
            .run_with(Manner::TRANSACTION, (session, tokens), create)
            .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        let find = move |lent: Lent| async move { sessions::session(&lent, id).await };
        self.server.run(Manner::READ, find).await
    }

    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        let list = move |lent: Lent| async move {
            sessions::sessions_of(&lent, key_id, after, limit).await
        };
        self.server.run(Manner::REPORT, list).await
    }

    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error> {
        let find = move |lent: Lent| async move { management::key(&lent, id).await };
        self.server.run(Manner::READ, find).await
    }

    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error> {
        let find = move |lent: Lent| async move { sessions::refresh_token(&lent, &hash).await };
        self.server.run(Manner::READ, find).await
    }

    async fn refresh_session(
        &self,
        refresh: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
    ) -> Result<RefreshOutcome, Error> {
        let exchange = move |lent: Lent, next: Arc<NewTokens>| async move {
            sessions::refresh(&lent, &refresh, asked_at, &next).await
        };
        self.server
            .run_with(Manner::TRANSACTION, next, exchange)
            .await
    }

    async fn end_session(&self, id: SessionId, at: Timestamp) -> Result<Option<Session>, Error> {
        let end = move |lent: Lent| async move { sessions::end(&lent, id, at).await };
        self.server.run(Manner::TRANSACTION, end).await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
    ) -> Result<Option<ManagementKey>, Error> {
        let set = move |lent: Lent, allow_ips: Arc<Vec<IpNet>>| async move {
            sessions::set_allow_ips(&lent, id, &allow_ips).await
        };
        self.server
            .run_with(Manner::TRANSACTION, allow_ips, set)
            .await
    }

    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error> {
        let manner = if take {
            Manner::TRANSACTION
        } else {
            Manner::READ
        };
        let count = move |lent: Lent, limits: Arc<Vec<RateLimit>>| async move {
            if take {
                sessions::count_call(&lent, id, &limits, now).await
            } else {
                sessions::tell_call(&lent, id, &limits, now).await
            }
        };
        self.server.run_with(manner, limits, count).await
    }

    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let sweep = move |lent: Lent| async move { sessions::sweep(&lent, before, limit).await };
        self.server.run(Manner::LOAD, sweep).await
    }
}
