//! [`ApiKeyStore`] on `licenses.db`.

use async_trait::async_trait;
use model::{LicenseId, Timestamp};

use super::audit::add_entries;
use super::{SqliteStore, api_keys};
use crate::api_keys::{
    ApiKeyChange, ApiKeyFilter, ApiKeyPage, ApiKeyStore, NewApiKey, StoredApiKey,
};
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::ChangeNumber;

#[async_trait]
impl ApiKeyStore for SqliteStore {
    async fn create_api_key(
        &self,
        new: NewApiKey,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |session| {
                let last = api_keys::create(&session.connection(), &new, now)?;
                add_entries(&session.connection(), &entries, &())?;
                Ok(last)
            })
            .await
    }

    async fn api_key(&self, id: LicenseId) -> Result<Option<StoredApiKey>, Error> {
        self.licenses
            .read(move |session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                api_keys::get(&snapshot, id)
            })
            .await
    }

    async fn api_keys(
        &self,
        filter: ApiKeyFilter,
        page: ApiKeyPage,
    ) -> Result<(Vec<StoredApiKey>, u64), Error> {
        self.licenses
            .read_background(move |session| {
                let connection = session.connection();
                let snapshot = connection.unchecked_transaction()?;
                api_keys::page(&snapshot, &filter, page)
            })
            .await
    }

    async fn change_api_key(
        &self,
        id: LicenseId,
        change: ApiKeyChange,
        entries: AuditEntries<Changed<StoredApiKey>>,
    ) -> Result<Option<StoredApiKey>, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |session| {
                let connection = &session.connection();
                let Some(changed) = api_keys::change(connection, id, &change, now)? else {
                    return Ok(None);
                };
                add_entries(connection, &entries, &changed)?;
                Ok(Some(changed.after))
            })
            .await
    }

    async fn note_requests(&self, requests: Vec<(LicenseId, Timestamp)>) -> Result<(), Error> {
        self.licenses
            .write_background(move |session| {
                api_keys::note_requests(&session.connection(), &requests)
            })
            .await
    }

    async fn expired_api_keys(
        &self,
        filter: ApiKeyFilter,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<LicenseId>, Error> {
        self.licenses
            .read_background(move |session| {
                api_keys::expired(&session.connection(), &filter, now, limit)
            })
            .await
    }
}
