//! [`SessionStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session, SessionId, Timestamp,
};

use super::audit::{add_changed, add_entries};
use super::conn::Conn;
use super::server::TxOptions;
use super::{PostgresStore, management, sessions};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::management::ManagementKey;
use crate::sessions::{KeyCall, NewTokens, RefreshOutcome, SessionStore, StoredRefreshToken};

#[async_trait]
impl SessionStore for PostgresStore {
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        type New = Arc<(Session, NewTokens, AuditEntries<()>)>;
        let create = move |conn: Conn, new: New| async move {
            let (session, tokens, entries) = &*new;
            let kept = sessions::create(&conn, session, tokens, most).await?;
            if kept {
                add_entries(&conn, entries, &()).await?;
            }
            Ok(kept)
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (session, tokens, entries), create)
            .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        let find = move |conn: Conn| async move { sessions::session(&conn, id).await };
        self.server.run(TxOptions::READ, find).await
    }

    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        let list = move |conn: Conn| async move {
            sessions::sessions_of(&conn, key_id, after, limit).await
        };
        self.server.run(TxOptions::REPORT, list).await
    }

    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error> {
        let find = move |conn: Conn| async move { management::key(&conn, id).await };
        self.server.run(TxOptions::READ, find).await
    }

    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error> {
        let find = move |conn: Conn| async move { sessions::refresh_token(&conn, &hash).await };
        self.server.run(TxOptions::READ, find).await
    }

    async fn refresh_session(
        &self,
        refresh: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
        entries: AuditEntries<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error> {
        type Next = Arc<(NewTokens, AuditEntries<RefreshOutcome>)>;
        let exchange = move |conn: Conn, next: Next| async move {
            let (next, entries) = &*next;
            let outcome = sessions::refresh(&conn, &refresh, asked_at, next).await?;
            add_entries(&conn, entries, &outcome).await?;
            Ok(outcome)
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (next, entries), exchange)
            .await
    }

    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        entries: AuditEntries<Changed<Session>>,
    ) -> Result<Option<Session>, Error> {
        let end = move |conn: Conn, entries: Arc<AuditEntries<_>>| async move {
            let before = sessions::locked(&conn, id).await?;
            let after = sessions::end(&conn, id, at).await?;
            add_changed(&conn, &entries, before, after).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, entries, end)
            .await
    }

    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error> {
        let read = |conn: Conn, tokens: Arc<Vec<(LicenseId, CredentialId)>>| async move {
            sessions::token_ends(&conn, &tokens).await
        };
        self.server.run_with(TxOptions::READ, tokens, read).await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        type Args = Arc<(Vec<IpNet>, AuditEntries<Changed<ManagementKey>>)>;
        let set = move |conn: Conn, args: Args| async move {
            let (allow_ips, entries) = &*args;
            let before = management::locked(&conn, id).await?;
            let after = sessions::set_allow_ips(&conn, id, allow_ips).await?;
            add_changed(&conn, entries, before, after).await
        };
        self.server
            .run_with(TxOptions::TRANSACTION, (allow_ips, entries), set)
            .await
    }

    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error> {
        let options = if take {
            TxOptions::TRANSACTION
        } else {
            TxOptions::READ
        };
        let count = move |conn: Conn, limits: Arc<Vec<RateLimit>>| async move {
            if take {
                sessions::count_call(&conn, id, &limits, now).await
            } else {
                sessions::tell_call(&conn, id, &limits, now).await
            }
        };
        self.server.run_with(options, limits, count).await
    }

    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        let sweep = move |conn: Conn| async move { sessions::sweep(&conn, before, limit).await };
        self.server.run(TxOptions::LOAD, sweep).await
    }
}
