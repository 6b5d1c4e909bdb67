//! API keys: licenses of an app, or of every app of an account, with fields that only their owners'
//! tools show.
//!
//! The quota, refill and rate limit of an API key are those of its license: a key that is verified
//! and a key that is used at the gate draw on the same balance.

mod change;
mod create;
mod verify;
mod view;

use std::time::Duration;

use model::{
    AccountName, ApiKeyPrefix, ApiKeyRule, AppName, Credential, License, LicenseId, LicenseStatus,
    Metadata, RateLimit, Refill, ResourcePermissions, Timestamp, WindowKind,
};
use store::{ApiKeyFilter, ApiKeyStore, StoredApiKey};

pub use verify::KeyRefusal;
pub use view::ApiKeyView;

use crate::error::Error;
use crate::licensing::Licensing;

/// The policy of the configuration for all API keys.
#[derive(Clone, Debug)]
pub struct ApiKeyPolicy {
    /// Whether keys carry metadata.
    pub metadata: bool,
    /// Whether every key must have a name.
    pub name_required: bool,
    /// The number of letters of a key after its prefix; 16 to 128.
    pub key_length: usize,
    /// The prefix of keys that request none.
    pub prefix: Option<ApiKeyPrefix>,
    /// The rate limit of keys that request none; `None`: they have none.
    pub rate_limit: Option<RateLimit>,
    /// The shortest time after which a key may end, from when it is made or changed.
    pub shortest: Duration,
    /// The longest time after which a key may end.
    pub longest: Duration,
    /// The kind of the rate windows of new keys.
    pub windows: WindowKind,
    /// Whether a key is deleted as soon as it is found to have ended, or to have nothing left that
    /// comes back.
    pub forgets: bool,
}

/// The owner of API keys. A key of another owner is treated as if it did not exist.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyOwner {
    /// The only account; `None`: all.
    pub account: Option<AccountName>,
    /// The only app; `None`: all, and keys of every app.
    pub app: Option<AppName>,
    /// The only license; `None`: all.
    pub license: Option<LicenseId>,
}

/// A request for an API key.
#[derive(Clone, Debug)]
pub struct ApiKeyRequest {
    /// The account that asks; `None`: whoever sells the app, the default account where none is
    /// named.
    pub account: Option<AccountName>,
    /// The app; `None`: every app of the account.
    pub app: Option<AppName>,
    /// The user that the key is given to.
    pub user: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// The prefix of the key.
    pub prefix: Option<ApiKeyPrefix>,
    /// The metadata that the owner keeps with the key.
    pub metadata: Option<Metadata>,
    /// The permissions that the key gives.
    pub permissions: Option<ResourcePermissions>,
    /// The end of the key.
    pub end: KeyEnd,
    /// The number of units at first; `None`: they are not counted.
    pub remaining: Option<u64>,
    /// The refill of the units.
    pub refill: Option<Refill>,
    /// The rate limit; `None`: that of the policy.
    pub rate: Option<RateLimit>,
    /// Whether the rate limit holds.
    pub rate_enabled: bool,
}

/// The end of a key, as it is requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEnd {
    /// The key never ends.
    #[default]
    Never,
    /// The key ends after this long.
    In(Duration),
    /// The key ends at this time.
    At(Timestamp),
}

/// A change of an API key. A field that is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ApiKeyUpdate {
    /// The name.
    pub name: Option<Option<String>>,
    /// Whether the key may be used.
    pub enabled: Option<bool>,
    /// The end of the key.
    pub end: Option<KeyEnd>,
    /// The metadata that the owner keeps with the key.
    pub metadata: Option<Option<Metadata>>,
    /// The permissions that the key gives.
    pub permissions: Option<Option<ResourcePermissions>>,
    /// The number of units that are left.
    pub remaining: Option<Option<u64>>,
    /// The refill of the units.
    pub refill: Option<Option<Refill>>,
    /// The rate limit.
    pub rate: Option<RateLimit>,
    /// Whether the rate limit holds.
    pub rate_enabled: Option<bool>,
}

/// A new API key.
#[derive(Clone, Debug)]
pub struct IssuedApiKey {
    /// The key as it is shown.
    pub view: ApiKeyView,
    /// The key itself, to be shown this once.
    pub credential: Credential,
}

impl Default for ApiKeyPolicy {
    fn default() -> Self {
        Self {
            metadata: false,
            name_required: false,
            key_length: 64,
            prefix: None,
            rate_limit: Some("10/1d".parse().expect("a rate limit")),
            shortest: Duration::from_secs(86_400),
            longest: Duration::from_secs(365 * 86_400),
            windows: WindowKind::Fixed,
            forgets: false,
        }
    }
}

impl ApiKeyRequest {
    /// Returns a request for a key of an app (`None`: of every app of the account) without other
    /// terms.
    #[must_use]
    pub const fn new(account: Option<AccountName>, app: Option<AppName>) -> Self {
        Self {
            account,
            app,
            user: None,
            name: None,
            prefix: None,
            metadata: None,
            permissions: None,
            end: KeyEnd::Never,
            remaining: None,
            refill: None,
            rate: None,
            rate_enabled: true,
        }
    }
}

impl ApiKeyOwner {
    /// Returns whether a key is the owner's to see and to change.
    fn owns(&self, license: &License) -> bool {
        let account = self.account.as_ref();
        account.is_none_or(|own| *own == license.account)
            && self.app.as_ref().is_none_or(|own| *own == license.app)
            && self.license.is_none_or(|own| own == license.id)
            && license.status != LicenseStatus::Revoked
    }

    /// Returns whether the owner may verify a key: besides their own keys, one of every app.
    fn accepts(&self, license: &License) -> bool {
        let account = self.account.as_ref();
        account.is_none_or(|own| *own == license.account)
            && self
                .app
                .as_ref()
                .is_none_or(|own| license.opens(&license.account, own))
            && self.license.is_none_or(|own| own == license.id)
    }

    fn filter(&self, after: Option<LicenseId>) -> ApiKeyFilter {
        ApiKeyFilter {
            account: self.account.clone(),
            app: self.app.clone(),
            after,
        }
    }
}

impl ApiKeyPolicy {
    /// Returns the end of a key that is made or changed at `now`.
    fn end(&self, end: KeyEnd, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let at = match end {
            KeyEnd::Never => return Ok(None),
            KeyEnd::In(lasting) => super::time::after(now, lasting),
            KeyEnd::At(at) => at,
        };
        if at < super::time::after(now, self.shortest) {
            return Err(ApiKeyRule::EndTooSoon.into());
        }
        if at > super::time::after(now, self.longest) {
            return Err(ApiKeyRule::EndTooLate.into());
        }
        Ok(Some(at))
    }

    fn name(&self, name: Option<&str>) -> Result<(), Error> {
        const MAX_NAME_LENGTH: usize = 32;
        match name {
            None if self.name_required => Err(ApiKeyRule::NameRequired.into()),
            Some(name)
                if !(1..=MAX_NAME_LENGTH).contains(&name.chars().count())
                    || name.chars().any(char::is_control) =>
            {
                Err(ApiKeyRule::NameLength.into())
            }
            _ => Ok(()),
        }
    }

    /// Returns a rate limit with the kind of windows of new keys.
    fn windowed(&self, limit: RateLimit) -> RateLimit {
        RateLimit {
            kind: self.windows,
            ..limit
        }
    }
}

impl Licensing {
    /// Returns the store of API keys.
    fn api_key_store(&self) -> Result<&dyn ApiKeyStore, Error> {
        Ok(self.store.api_keys()?)
    }

    /// Returns an API key of an owner. A key of another owner is an unknown key.
    async fn own_api_key(&self, owner: &ApiKeyOwner, id: LicenseId) -> Result<StoredApiKey, Error> {
        let found = self.api_key_store()?.api_key(id).await?;
        found
            .filter(|stored| owner.owns(&stored.license.license))
            .ok_or(Error::ApiKeyUnknown(id))
    }
}
