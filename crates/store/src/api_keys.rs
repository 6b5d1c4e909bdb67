//! API keys: licenses with fields that only their owners' tools show.

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
    /// The owner's fields; of the license below.
    pub key: ApiKey,
    /// The license, with its credential.
    pub license: NewLicense,
}

/// An API key as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredApiKey {
    /// The owner's fields.
    pub key: ApiKey,
    /// The license.
    pub license: StoredLicense,
}

impl StoredApiKey {
    /// Returns the first characters of its newest key, to tell keys apart.
    #[must_use]
    pub fn start(&self) -> &str {
        let newest = self.license.credentials.last();
        newest.map_or("", |credential| credential.prefix.as_str())
    }
}

/// A change of an API key, made as a whole or not at all. A field that is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyChange {
    /// The name, which becomes the label of the license too.
    pub name: Option<Option<String>>,
    /// The metadata.
    pub metadata: Option<Option<Metadata>>,
    /// The resources and actions that it permits.
    pub permissions: Option<Option<ResourcePermissions>>,
    /// The rate limit that does not hold for now.
    pub parked_rate: Option<Option<RateLimit>>,
    /// The changes of its license, in this order.
    pub license: Vec<LicenseChange>,
    /// The time of the change.
    pub updated_at: Timestamp,
}

/// A selection of API keys. Those of revoked licenses are never selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyFilter {
    /// The account; `None`: any.
    pub account: Option<AccountName>,
    /// The app ([`AppName::every`]: keys that open every app); `None`: any.
    pub app: Option<AppName>,
    /// The id behind which keys are selected: the order of [`ApiKeySort::Id`], so that a list by
    /// pages skips none.
    pub after: Option<LicenseId>,
}

/// The order of a list of API keys. Equal keys are ordered by the time at which they were made.
/// Absent values come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ApiKeySort {
    /// The id, which grows with time on each gate: the only order that [`ApiKeyFilter::after`] goes
    /// by.
    Id,
    /// The time at which they were made.
    #[default]
    CreatedAt,
    /// The time at which their owners changed them.
    UpdatedAt,
    /// The time of their last use, as far as that was written down.
    LastRequest,
    /// The time at which they end.
    ExpiresAt,
    /// The name.
    Name,
    /// The prefix.
    Prefix,
    /// The switch: keys that are off come first.
    Enabled,
}

/// A part of a sorted list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKeyPage {
    /// The order.
    pub sort: ApiKeySort,
    /// Whether the order is reversed.
    pub descending: bool,
    /// The number of keys that are left out before the part.
    pub offset: u64,
    /// The largest number of keys in the part; up to 100,000.
    pub limit: usize,
}

/// The store of API keys. Each method is one transaction over the key and its license.
#[async_trait]
pub trait ApiKeyStore: Send + Sync + 'static {
    /// Keeps a new API key with its license, both or neither.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash of its credential or the id is there already.
    async fn create_api_key(
        &self,
        new: NewApiKey,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error>;

    /// Returns an API key, whatever the state of its license; `None`: there is no license with this
    /// id, or it is a plain license.
    async fn api_key(&self, id: LicenseId) -> Result<Option<StoredApiKey>, Error>;

    /// Returns a part of a list of API keys, and the number of keys that the filter selects in all.
    async fn api_keys(
        &self,
        filter: ApiKeyFilter,
        page: ApiKeyPage,
    ) -> Result<(Vec<StoredApiKey>, u64), Error>;

    /// Changes an API key and gives its license a new change number, whatever the change. Returns
    /// the key as it is then; `None`: there is no such key, or its license is revoked.
    async fn change_api_key(
        &self,
        id: LicenseId,
        change: ApiKeyChange,
        entries: AuditEntries<Changed<StoredApiKey>>,
    ) -> Result<Option<StoredApiKey>, Error>;

    /// Writes down when API keys were used, if that is later than the time that is written down. It
    /// has no change number: gates are not notified.
    async fn note_requests(&self, requests: Vec<(LicenseId, Timestamp)>) -> Result<(), Error>;

    /// Returns up to `limit` (at most 100,000) API keys of a filter that have ended at `now`.
    async fn expired_api_keys(
        &self,
        filter: ApiKeyFilter,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<LicenseId>, Error>;
}
