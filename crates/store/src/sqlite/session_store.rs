//! [`SessionStore`] on `licenses.db`.

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    CredentialId, KeyHash, LicenseId, ManagementKeyId, RateLimit, Session, SessionId, Timestamp,
};

use super::audit::{add_changed, add_entries};
use super::{SqliteStore, management, sessions};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::management::ManagementKey;
use crate::sessions::{KeyCall, NewTokens, RefreshOutcome, SessionStore, StoredRefreshToken};

#[async_trait]
impl SessionStore for SqliteStore {
    async fn create_session(
        &self,
        session: Session,
        tokens: NewTokens,
        most: u32,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        self.licenses
            .write(move |file| {
                let kept = sessions::create(file.connection(), &session, &tokens, most)?;
                if kept {
                    add_entries(file.connection(), &entries, &())?;
                }
                Ok(kept)
            })
            .await
    }

    async fn session(&self, id: SessionId) -> Result<Option<Session>, Error> {
        self.licenses
            .read(move |file| sessions::session(file.connection(), id))
            .await
    }

    async fn sessions_of(
        &self,
        key_id: ManagementKeyId,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, Error> {
        self.licenses
            .read_background(move |file| {
                sessions::sessions_of(file.connection(), key_id, after, limit)
            })
            .await
    }

    async fn management_key(&self, id: ManagementKeyId) -> Result<Option<ManagementKey>, Error> {
        self.licenses
            .read(move |file| management::key(file.connection(), id))
            .await
    }

    async fn refresh_token(&self, hash: KeyHash) -> Result<Option<StoredRefreshToken>, Error> {
        self.licenses
            .read(move |file| sessions::refresh_token(file.connection(), &hash))
            .await
    }

    async fn refresh_session(
        &self,
        refresh: KeyHash,
        asked_at: Timestamp,
        next: NewTokens,
        entries: AuditEntries<RefreshOutcome>,
    ) -> Result<RefreshOutcome, Error> {
        // The time is read when it is its turn: a request made before that time lost a race, one
        // made later is a replay.
        let clock = self.clock.clone();
        self.licenses
            .write(move |file| {
                let connection = file.connection();
                let outcome =
                    sessions::refresh(connection, &refresh, asked_at, &next, clock.now())?;
                add_entries(connection, &entries, &outcome)?;
                Ok(outcome)
            })
            .await
    }

    async fn end_session(
        &self,
        id: SessionId,
        at: Timestamp,
        entries: AuditEntries<Changed<Session>>,
    ) -> Result<Option<Session>, Error> {
        self.licenses
            .write(move |file| {
                let connection = file.connection();
                let before = sessions::session(connection, id)?;
                let after = sessions::end(connection, id, at)?;
                add_changed(connection, &entries, before, after)
            })
            .await
    }

    async fn token_ends(
        &self,
        tokens: Vec<(LicenseId, CredentialId)>,
    ) -> Result<Vec<(CredentialId, Timestamp)>, Error> {
        self.licenses
            .read(move |session| sessions::token_ends(session.connection(), &tokens))
            .await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |file| {
                let connection = file.connection();
                let before = management::key(connection, id)?;
                let after = sessions::set_allow_ips(connection, id, &allow_ips, now)?;
                add_changed(connection, &entries, before, after)
            })
            .await
    }

    async fn count_key_call(
        &self,
        id: ManagementKeyId,
        limits: Vec<RateLimit>,
        now: Timestamp,
        take: bool,
    ) -> Result<KeyCall, Error> {
        if take {
            self.licenses
                .write(move |file| sessions::count_call(file.connection(), id, &limits, now, true))
                .await
        } else {
            self.licenses
                .read(move |file| {
                    let snapshot = file.connection().unchecked_transaction()?;
                    sessions::count_call(&snapshot, id, &limits, now, false)
                })
                .await
        }
    }

    async fn sweep_sessions(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        self.licenses
            .write_background(move |file| sessions::sweep(file.connection(), before, limit))
            .await
    }
}
