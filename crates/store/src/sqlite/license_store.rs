//! [`LicenseStore`] and [`ManagementStore`] on `licenses.db`.

use async_trait::async_trait;
use model::{
    AccountName, CredentialId, Fingerprint, KeyHash, LicenseId, ManagementKeyId, PlanName,
    PlanRevision, PlanRevisionId, Timestamp,
};

use super::audit::{add_changed, add_entries};
use super::backend_error::BackendError;
use super::{SqliteStore, licenses, management};
use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, AuditStore, Changed};
use crate::claims::ClaimStore;
use crate::error::Error;
use crate::licenses::{
    Change, ChangeNumber, LicenseChange, LicenseFilter, LicenseStore, NewLicense, SealedKey,
    Snapshot, StoredLicense,
};
use crate::management::{
    Account, AppNamed, ManagementKey, ManagementStore, NewManagementKey, PlanNamed,
};
use crate::tokens::TokenStore;

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
            let last = licenses::create(session.connection(), &new, now)?;
            add_entries(session.connection(), &entries, &())?;
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
                let snapshot = session.connection().unchecked_transaction()?;
                licenses::get(&snapshot, id)
            })
            .await
    }

    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error> {
        self.licenses
            .read(move |session| {
                let snapshot = session.connection().unchecked_transaction()?;
                let found = ids.iter().map(|id| licenses::get(&snapshot, *id));
                found.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error> {
        self.licenses
            .read(move |session| licenses::by_key(session.connection(), &hash))
            .await
    }

    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error> {
        self.licenses
            .read(move |session| licenses::sealed_keys(session.connection(), id))
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
                let snapshot = session.connection().unchecked_transaction()?;
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
                let connection = session.connection();
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
                let snapshot = session.connection().unchecked_transaction()?;
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
                licenses::fingerprints(session.connection(), after, limit)
            })
            .await
    }
}

#[async_trait]
impl ManagementStore for SqliteStore {
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        Ok(self)
    }

    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        Ok(self)
    }

    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        Ok(self)
    }

    async fn create_account(
        &self,
        account: Account,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        self.licenses
            .write(move |session| {
                management::create_account(session.connection(), &account)?;
                add_entries(session.connection(), &entries, &())
            })
            .await
    }

    async fn accounts(&self) -> Result<Vec<Account>, Error> {
        self.licenses
            .read(|session| management::accounts(session.connection()))
            .await
    }

    async fn account(&self, name: &AccountName) -> Result<Option<Account>, Error> {
        let name = name.clone();
        self.licenses
            .read(move |session| management::account(session.connection(), &name))
            .await
    }

    async fn set_account_disabled(
        &self,
        name: &AccountName,
        at: Option<Timestamp>,
        entries: AuditEntries<Changed<Account>>,
    ) -> Result<Option<Account>, Error> {
        let name = name.clone();
        self.licenses
            .write(move |session| {
                let connection = session.connection();
                let before = management::account(connection, &name)?;
                management::set_disabled(connection, &name, at)?;
                let after = management::account(connection, &name)?;
                add_changed(connection, &entries, before, after)
            })
            .await
    }

    async fn create_management_key(
        &self,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<(), Error> {
        self.licenses
            .write(move |session| {
                management::create_key(session.connection(), &new)?;
                add_entries(session.connection(), &entries, &())
            })
            .await
    }

    async fn replace_management_key(
        &self,
        old: ManagementKeyId,
        at: Timestamp,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |session| {
                let connection = session.connection();
                let replaces = management::replace_key(connection, old, at, &new, now)?;
                if replaces {
                    add_entries(connection, &entries, &())?;
                }
                Ok(replaces)
            })
            .await
    }

    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error> {
        self.licenses
            .read(move |session| management::key_by_hash(session.connection(), &hash))
            .await
    }

    async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error> {
        self.licenses
            .read(move |session| management::keys(session.connection(), account.as_ref()))
            .await
    }

    async fn end_management_key(
        &self,
        id: ManagementKeyId,
        at: Timestamp,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error> {
        let now = self.clock.now();
        self.licenses
            .write(move |session| {
                let connection = session.connection();
                let before = management::key(connection, id)?;
                let after = management::end_key(connection, id, at, now)?;
                add_changed(connection, &entries, before, after)
            })
            .await
    }

    async fn plans_named(&self) -> Result<Vec<PlanNamed>, Error> {
        self.licenses
            .read_background(|session| management::plans_named(session.connection()))
            .await
    }

    async fn apps_named(&self, at: Timestamp) -> Result<Vec<AppNamed>, Error> {
        self.licenses
            .read_background(move |session| management::apps_named(session.connection(), at))
            .await
    }

    async fn last_plan_revision(&self, name: PlanName) -> Result<Option<PlanRevision>, Error> {
        self.licenses
            .read(move |session| management::last_plan_revision(session.connection(), &name))
            .await
    }

    async fn parts_up(&self) -> Vec<(&'static str, bool)> {
        // An empty transaction takes the lock that every write takes, and writes nothing.
        let licenses = self.licenses.write(|_| Ok(()));
        let ledger = self.ledger.write(|_| Ok(()));
        let (licenses, ledger) = (licenses.await.is_ok(), ledger.await.is_ok());
        vec![("licenses", licenses), ("ledger", ledger)]
    }

    async fn put_plan_revisions(&self, revisions: Vec<PlanRevision>) -> Result<(), Error> {
        self.licenses
            .write(move |session| management::put_plan_revisions(session.connection(), &revisions))
            .await
    }

    async fn plan_revision(&self, id: PlanRevisionId) -> Result<Option<PlanRevision>, Error> {
        self.licenses
            .read(move |session| management::plan_revision(session.connection(), id))
            .await
    }

    async fn put_if_absent(
        &self,
        name: &str,
        value: Vec<u8>,
        entries: AuditEntries<()>,
    ) -> Result<Vec<u8>, Error> {
        let name = name.to_owned();
        self.licenses
            .write(move |session| {
                let connection = session.connection();
                if management::put_setting(connection, &name, &value)? {
                    add_entries(connection, &entries, &())?;
                    return Ok(value);
                }
                let kept = management::setting(connection, &name)?;
                kept.ok_or_else(|| {
                    BackendError::corrupt("a setting vanished within its transaction")
                })
            })
            .await
    }

    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let name = name.to_owned();
        self.licenses
            .read(move |session| management::setting(session.connection(), &name))
            .await
    }
}
