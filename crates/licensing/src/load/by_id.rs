//! The look-up of licenses by their own id instead of a key, for credentials that stand for a
//! license, such as a token.

use std::sync::Arc;

use model::{
    AccountName, CredentialId, CredentialInfo, CredentialStatus, KeyHash, LicenseId, Moment,
    Refusal, Timestamp,
};
use store::Snapshot;

use super::LicenseLoader;
use crate::cache::{Found, LoggedChange};
use crate::license::CachedLicense;

/// Returns the place of a license by id in the cache. Hashes of keys are uniform, so that none of
/// them ever ends like this; the bits that the cache looks at first are the random ones of the id.
fn place(id: LicenseId) -> KeyHash {
    let mut bytes = *b"0123456789abcdefa license by id!";
    bytes[..16].copy_from_slice(&id.as_u128().to_le_bytes());
    KeyHash::from_bytes(bytes)
}

impl LicenseLoader {
    /// Returns a license without any of its credentials, from memory or from the store; `None`:
    /// there is none of this id. It is as fresh as what [`find`](crate::Admission::find) finds. May
    /// be called from any runtime with a timer.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow, and the license is
    /// not known here or its grace is over.
    pub(crate) async fn license_by_id(
        self: &Arc<Self>,
        id: LicenseId,
        now: Moment,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        let found = match self.cache.find(&place(id), now) {
            Found::Unread => self.cache.find_after_refresh(&place(id), now).await,
            found => found,
        };
        match found {
            Found::Known(license) => {
                return self.cache.with_plan(&place(id), license).await.map(Some);
            }
            Found::Unread | Found::Unavailable => return Err(Refusal::LicenseStoreUnavailable),
            // The fingerprints are those of keys: they say nothing of an id.
            Found::Unknown | Found::Unheard | Found::Cold => {}
        }
        let loader = self.clone();
        let loading = self
            .runtime
            .spawn(async move { loader.load_by_id(id).await });
        match tokio::time::timeout(self.options.load_timeout, loading).await {
            Ok(Ok(Ok(Some(license)))) => self.cache.with_plan(&place(id), license).await.map(Some),
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(Refusal::LicenseStoreUnavailable),
        }
    }

    /// Returns the wallet of an account, from memory or from the store; `None`: it has none, which is
    /// known without a look-up from the second time on. While the store is out of reach, a wallet
    /// that was not there before is taken for absent, and one that was there for what it was within
    /// its grace.
    ///
    /// # Errors
    /// [`Refusal::LicenseStoreUnavailable`] if the store fails or is too slow, and nothing is known
    /// here.
    pub(crate) async fn wallet(
        self: &Arc<Self>,
        account: &AccountName,
        now: Moment,
    ) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        let id = LicenseId::of_wallet(account);
        if self.cache.lacks_wallet(id, now) {
            return Ok(None);
        }
        let begun = self.cache.log().end();
        let found = self.license_by_id(id, now).await?;
        if found.is_none() {
            let log = self.cache.log();
            if !log.is_superseded(begun, |change| change.license_id == id) {
                self.cache.fill_no_wallet(&log, id);
            }
        }
        Ok(found)
    }

    async fn load_by_id(&self, id: LicenseId) -> Result<Option<Arc<CachedLicense>>, Refusal> {
        for _ in 0..Self::MAX_ATTEMPTS {
            let begun = self.cache.log().end();
            let found = self.store.license(id).await.map_err(|error| {
                tracing::debug!(%error, "a license cannot be loaded");
                Refusal::LicenseStoreUnavailable
            })?;
            let Some(stored) = found else {
                return Ok(None);
            };
            let snapshot = Snapshot {
                allow_ips: Vec::new(),
                credential: no_credential(stored.license.created_at),
                license: Arc::new(stored.license),
                devices: stored.devices,
                version: stored.version,
            };
            let log = self.cache.log();
            let newer =
                |change: &LoggedChange| change.license_id == id && change.number > snapshot.version;
            if !log.is_superseded(begun, newer)
                && let Some(license) = self.cache.fill(&log, place(id), snapshot, None)
            {
                return Ok(Some(license));
            }
        }
        Err(Refusal::LicenseStoreUnavailable)
    }
}

/// Returns a stand-in for the credential that was not presented. It refuses nothing.
fn no_credential(created_at: Timestamp) -> CredentialInfo {
    CredentialInfo {
        id: CredentialId::default(),
        kind: String::new(),
        prefix: String::new(),
        status: CredentialStatus::Active,
        created_at,
        expires_at: None,
    }
}
