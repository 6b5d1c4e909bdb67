//! [`LicenseStore`] on PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use model::{CredentialId, Fingerprint, KeyHash, LicenseId};

use super::conn::Conn;
use super::server::TxOptions;
use super::{PostgresStore, licenses};
use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{
    Change, ChangeNumber, LicenseChange, LicenseFilter, LicenseStore, NewLicense, SealedKey,
    Snapshot, StoredLicense,
};
use crate::sql::audit::add_entries;

/// The largest number of licenses that are made as a command; more are an import, which lets
/// commands pass.
const BATCH_SIZE: usize = 100;

impl PostgresStore {
    /// Removes old changes now and then. A failure is ignored: the next ones try again.
    pub(super) async fn prune_after(&self, last: ChangeNumber, written: u64) {
        if licenses::is_time_to_prune(last, written) {
            let prune = move |conn: Conn| async move { licenses::prune(&conn, last).await };
            if let Err(error) = self.server.run(TxOptions::WRITE, prune).await {
                tracing::debug!(%error, "old changes stay for a while");
            }
        }
    }
}

#[async_trait]
impl LicenseStore for PostgresStore {
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        Ok(self)
    }

    async fn create_licenses(
        &self,
        new: Vec<NewLicense>,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        let options = if new.len() > BATCH_SIZE {
            TxOptions::LOAD
        } else {
            TxOptions::TRANSACTION
        };
        let new: Arc<[NewLicense]> = new.into();
        let written = new
            .iter()
            .map(|new| new.credentials.len().max(1) as u64)
            .sum();
        let create = move |conn: Conn| {
            let (new, entries) = (Arc::clone(&new), entries.clone());
            async move {
                let last = licenses::create(&conn, &new).await?;
                add_entries(&*conn, &entries, &()).await?;
                Ok(last)
            }
        };
        let last = self.server.run(options, create).await?;
        self.prune_after(last, written).await;
        Ok(last)
    }

    async fn license(&self, id: LicenseId) -> Result<Option<StoredLicense>, Error> {
        let get = move |conn: Conn| async move { licenses::get(&conn, id).await };
        self.server.run(TxOptions::READ, get).await
    }

    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error> {
        let get = |conn: Conn, ids: Arc<Vec<LicenseId>>| async move {
            licenses::by_ids(&conn, &ids).await
        };
        self.server.run_with(TxOptions::READ, ids, get).await
    }

    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error> {
        let find = move |conn: Conn| async move { licenses::by_key(&conn, &hash).await };
        self.server.run(TxOptions::READ, find).await
    }

    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error> {
        let get = move |conn: Conn| async move { licenses::sealed_keys(&conn, id).await };
        self.server.run(TxOptions::READ, get).await
    }

    async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error> {
        let page = move |conn: Conn, filter: Arc<LicenseFilter>| async move {
            licenses::page(&conn, &filter, after, limit).await
        };
        self.server.run_with(TxOptions::REPORT, filter, page).await
    }

    async fn change_license(
        &self,
        id: LicenseId,
        change: LicenseChange,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<StoredLicense>, Error> {
        type Args = Arc<(LicenseChange, AuditEntries<Changed<StoredLicense>>)>;
        let carry_out = move |conn: Conn, args: Args| async move {
            let (change, entries) = &*args;
            let Some(changed) = licenses::change(&conn, id, change).await? else {
                return Ok(None);
            };
            add_entries(&*conn, entries, &changed).await?;
            Ok(Some(changed.after))
        };
        let stored = self
            .server
            .run_with(TxOptions::TRANSACTION, (change, entries), carry_out)
            .await?;
        if let Some(stored) = &stored {
            self.prune_after(stored.version, 1).await;
        }
        Ok(stored)
    }

    async fn changes_since(
        &self,
        number: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, ChangeNumber), Error> {
        let follow =
            move |conn: Conn| async move { licenses::changes_since(&conn, number, limit).await };
        self.server.run(TxOptions::READ, follow).await
    }

    async fn fingerprints(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Fingerprint>, Option<u64>), Error> {
        let page =
            move |conn: Conn| async move { licenses::fingerprints(&conn, after, limit).await };
        self.server.run(TxOptions::REPORT, page).await
    }
}
