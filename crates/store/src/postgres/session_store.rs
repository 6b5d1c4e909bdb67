//! [`SessionStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session, SessionId, Timestamp,
};

use super::audit::{add_change, add_note};
use super::server::Manner;
use super::{PostgresStore, management, session, sessions};
use crate::audit::{Changed, Note};
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
        note: Note<()>,
    ) -> Result<bool, Error> {
        type New = Arc<(Session, NewTokens, Note<()>)>;
        let create = move |lent: Lent, new: New| async move {
            let (session, tokens, note) = &*new;
            let kept = sessions::create(&lent, session, tokens, most).await?;
            if kept {
                add_note(&lent, note, &()).await?;
            }
            Ok(kept)
        };
        self.server
            .run_with(Manner::TRANSACTION, (session, tokens, note), create)
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
        note: Note<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error> {
        type Next = Arc<(NewTokens, Note<RefreshOutcome>)>;
        let exchange = move |lent: Lent, next: Next| async move {
            let (next, note) = &*next;
            let outcome = sessions::refresh(&lent, &refresh, asked_at, next).await?;
            add_note(&lent, note, &outcome).await?;
            Ok(outcome)
        };
        self.server
            .run_with(Manner::TRANSACTION, (next, note), exchange)
            .await
    }

    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        note: Note<Changed<Session>>,
    ) -> Result<Option<Session>, Error> {
        let end = move |lent: Lent, note: Arc<Note<_>>| async move {
            let before = sessions::locked(&lent, id).await?;
            let after = sessions::end(&lent, id, at).await?;
            add_change(&lent, &note, before, after).await
        };
        self.server.run_with(Manner::TRANSACTION, note, end).await
    }

    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error> {
        let read = |lent: Lent, tokens: Arc<Vec<(LicenseId, CredentialId)>>| async move {
            sessions::token_ends(&lent, &tokens).await
        };
        self.server.run_with(Manner::READ, tokens, read).await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        note: Note<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        type Wish = Arc<(Vec<IpNet>, Note<Changed<ManagementKey>>)>;
        let set = move |lent: Lent, wish: Wish| async move {
            let (allow_ips, note) = &*wish;
            let before = management::locked(&lent, id).await?;
            let after = sessions::set_allow_ips(&lent, id, allow_ips).await?;
            add_change(&lent, note, before, after).await
        };
        self.server
            .run_with(Manner::TRANSACTION, (allow_ips, note), set)
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
