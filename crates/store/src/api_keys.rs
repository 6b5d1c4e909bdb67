//! API keys: licenses with what only their owners' tools show of them.

use async_trait::async_trait;
use model::{
    AccountName, ApiKey, AppName, LicenseId, Metadata, RateLimit, ResourcePermissions, Timestamp,
};

use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{ChangeNumber, LicenseChange, NewLicense, StoredLicense};

/// An API key to be kept, with its license.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What it shows; of the license below.
    pub key: ApiKey,
    /// The license, with its credential.
    pub license: NewLicense,
}

/// An API key as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredApiKey {
    /// What it shows.
    pub key: ApiKey,
    /// Its license.
    pub license: StoredLicense,
}

impl StoredApiKey {
    /// The first characters of its newest key, to tell keys apart.
    #[must_use]
    pub fn start(&self) -> &str {
        let newest = self.license.credentials.last();
        newest.map_or("", |credential| credential.prefix.as_str())
    }
}

/// What is changed of an API key, all of it or nothing. `None`: it stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyChange {
    /// The name, which becomes the label of the license too.
    pub name: Option<Option<String>>,
    /// The metadata.
    pub metadata: Option<Option<Metadata>>,
    /// What it gives leave for.
    pub permissions: Option<Option<ResourcePermissions>>,
    /// The rate limit that does not hold for now.
    pub parked_rate: Option<Option<RateLimit>>,
    /// What changes of its license, in this order.
    pub license: Vec<LicenseChange>,
    /// When.
    pub updated_at: Timestamp,
}

/// Which API keys are meant. Those of revoked licenses never are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyFilter {
    /// Only this account.
    pub account: Option<AccountName>,
    /// Only this app ([`AppName::every`]: those that open every app).
    pub app: Option<AppName>,
    /// Only those with a later id: the order of [`ApiKeySort::Id`], so that a list by pages skips none.
    pub after: Option<LicenseId>,
}

/// What a list of API keys is sorted by; equal ones by when they were made. What is not there comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ApiKeySort {
    /// Their ids, which grow with time on each gate: the one order that [`ApiKeyFilter::after`] goes by.
    Id,
    /// When they were made.
    #[default]
    CreatedAt,
    /// When they were changed by their owners.
    UpdatedAt,
    /// When they were used, as far as that was written down.
    LastRequest,
    /// When they end.
    ExpiresAt,
    /// Name.
    Name,
    /// Prefix.
    Prefix,
    /// Whether they are switched on: those that are not come first.
    Enabled,
}

/// Which part of a list is asked for, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKeyPage {
    /// What it is sorted by.
    pub sort: ApiKeySort,
    /// Whether the order is turned round.
    pub descending: bool,
    /// Keys that are left out before it.
    pub offset: u64,
    /// Keys at most; up to 100,000.
    pub limit: usize,
}

/// API keys at rest. Each method is one transaction over the key and its license.
#[async_trait]
pub trait ApiKeyStore: Send + Sync + 'static {
    /// Keeps a new API key with its license, both or neither.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash of its credential or the id is there already.
    async fn create_api_key(
        &self,
        new: NewApiKey,
        note: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error>;

    /// One API key, whatever the state of its license; `None`: there is none such, or it is a plain license.
    async fn api_key(&self, id: LicenseId) -> Result<Option<StoredApiKey>, Error>;

    /// A part of a list of API keys, and how many the filter leaves in all.
    async fn api_keys(
        &self,
        filter: ApiKeyFilter,
        page: ApiKeyPage,
    ) -> Result<(Vec<StoredApiKey>, u64), Error>;

    /// Changes an API key and gives its license a new number, whatever the change; `None`: there is none such, or its
    /// license is revoked.
    async fn change_api_key(
        &self,
        id: LicenseId,
        change: ApiKeyChange,
        note: AuditEntries<Changed<StoredApiKey>>,
    ) -> Result<Option<StoredApiKey>, Error>;

    /// Notes when API keys were used, if that is later than what is noted. This is no change: nobody is told.
    async fn note_requests(&self, requests: Vec<(LicenseId, Timestamp)>) -> Result<(), Error>;

    /// Up to `limit` (at most 100,000) API keys of a filter that have ended at `now`.
    async fn expired_api_keys(
        &self,
        filter: ApiKeyFilter,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<LicenseId>, Error>;
}
