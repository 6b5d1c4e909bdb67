//! [`LicenseStore`] on `licenses.db`.

use async_trait::async_trait;
use model::{CredentialId, Fingerprint, KeyHash, LicenseId};

use super::audit::add_entries;
use super::{SqliteStore, licenses};
use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{
    Change, ChangeNumber, LicenseChange, LicenseFilter, LicenseStore, NewLicense, SealedKey,
    Snapshot, StoredLicense,
};

/// The largest number of licenses that are made as a command; more are an import, which lets
/// commands pass.
const BATCH_SIZE: usize = 100;

#[async_trait]
impl LicenseStore for SqliteStore {
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        Ok(self)
    }

    async fn create_licenses(
        &self,
        new: Vec<NewLicense>,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        let now = self.clock.now();
        let is_import = new.len() > BATCH_SIZE;
        let work = move |session: &mut super::LicenseSession| {
            let last = licenses::create(&session.connection(), &new, now)?;
            add_entries(&session.connection(), &entries, &())?;
            Ok(last)
        };
        if is_import {
            self.licenses.write_background(work).await
        } else {
            self.licenses.write(work).await
        }
    }

    async fn license(&self, id: LicenseId) -> Result<Option<StoredLicense>, Error> {
        self.licenses
            .read(move |session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                licenses::get(&snapshot, id)
            })
            .await
    }

    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error> {
        self.licenses
            .read(move |session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                let found = ids.iter().map(|id| licenses::get(&snapshot, *id));
                found.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error> {
        self.licenses
            .read(move |session| licenses::by_key(&session.connection(), &hash))
            .await
    }

    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error> {
        self.licenses
            .read(move |session| licenses::sealed_keys(&session.connection(), id))
            .await
    }

    async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error> {
        self.licenses
            .read_background(move |session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                licenses::page(&snapshot, &filter, after, limit)
            })
            .await
    }

    async fn change_license(
        &self,
        id: LicenseId,
        change: LicenseChange,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<StoredLicense>, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |session| {
                let connection = &session.connection();
                let Some(changed) = licenses::change(connection, id, &change, now)? else {
                    return Ok(None);
                };
                add_entries(connection, &entries, &changed)?;
                Ok(Some(changed.after))
            })
            .await
    }

    async fn changes_since(
        &self,
        number: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, ChangeNumber), Error> {
        self.licenses
            .read(move |session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                licenses::changes_since(&snapshot, number, limit)
            })
            .await
    }

    async fn fingerprints(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Fingerprint>, Option<u64>), Error> {
        self.licenses
            .read_background(move |session| {
                licenses::fingerprints(&session.connection(), after, limit)
            })
            .await
    }
}
