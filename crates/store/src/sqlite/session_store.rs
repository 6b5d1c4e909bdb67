//! [`SessionStore`] on `licenses.db`.

use async_trait::async_trait;
use ipnet::IpNet;
use model::{KeyHash, ManagementKeyId, RateLimit, Session, SessionId, Timestamp};

use super::{SqliteStore, management, sessions};
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
    ) -> Result<bool, Error> {
        self.licenses
            .write(move |file| sessions::create(file.connection(), &session, &tokens, most))
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
            .read_patiently(move |file| {
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
    ) -> Result<RefreshOutcome, Error> {
        // Told when it is its turn: whoever asked before that time lost a race, whoever asks later replays.
        let clock = self.clock.clone();
        self.licenses
            .write(move |file| {
                sessions::refresh(file.connection(), &refresh, asked_at, &next, clock.now())
            })
            .await
    }

    async fn end_session(&self, id: SessionId, at: Timestamp) -> Result<Option<Session>, Error> {
        self.licenses
            .write(move |file| sessions::end(file.connection(), id, at))
            .await
    }

    async fn set_key_allow_ips(
        &self,
        id: ManagementKeyId,
        allow_ips: Vec<IpNet>,
    ) -> Result<Option<ManagementKey>, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |file| sessions::set_allow_ips(file.connection(), id, &allow_ips, now))
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
            .write_patiently(move |file| sessions::sweep(file.connection(), before, limit))
            .await
    }
}
