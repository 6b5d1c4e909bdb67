//! Licenses, their credentials, and the numbered changes that gates follow.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    AccountName, AppName, CredentialId, CredentialInfo, Device, Fingerprint, KeyHash, License,
    LicenseId, LicenseStatus, Limits, Permission, PlanName, Timestamp, Variables,
};
use serde::{Deserialize, Serialize};

use crate::agents::AgentStore;
use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::software::SoftwareStore;
use crate::webhooks::WebhookStore;

/// The number of a change, in commit order: a reader that has seen `n` misses none by asking for
/// the changes after `n`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct ChangeNumber(pub u64);

/// A credential to be kept.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// The public part.
    pub info: CredentialInfo,
    /// The hash by which it is found; unique in the store.
    pub hash: KeyHash,
    /// The sealed copy of the key, where its app shows keys again.
    pub sealed: Option<SealedKey>,
}

/// A copy of a key that only the keyring of the store opens. It is kept with its credential,
/// written with it, and gone when the credential is revoked or replaced, its license is revoked, or
/// the user of its license is forgotten.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey(Vec<u8>);

impl SealedKey {
    /// Wraps the bytes of a sealed copy.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns the bytes that are kept in the store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedKey(redacted)")
    }
}

/// A license to be kept, with its first credentials. Its balance begins with `limits.remaining`.
#[derive(Clone, Debug)]
pub struct NewLicense {
    /// The license.
    pub license: License,
    /// The credentials.
    pub credentials: Vec<NewCredential>,
    /// The devices that it is bound to from the start.
    pub devices: Vec<Device>,
}

/// A license as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLicense {
    /// The license.
    pub license: License,
    /// The credentials but access tokens, oldest first.
    pub credentials: Vec<CredentialInfo>,
    /// The devices that it is bound to, in the order in which they were bound.
    pub devices: Vec<Device>,
    /// The number of its last change.
    pub version: ChangeNumber,
}

/// The license that a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOwner {
    /// The hash of the key.
    pub hash: KeyHash,
    /// The license.
    pub license_id: LicenseId,
    /// The account of the license.
    pub account: AccountName,
    /// The app that the license opens.
    pub app: AppName,
}

/// The state that a gate needs to judge a call that presents one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The license.
    pub license: Arc<License>,
    /// The credential that was presented.
    pub credential: CredentialInfo,
    /// The networks that the credential may be used from, beside the license's own list; empty:
    /// any.
    pub allow_ips: Vec<IpNet>,
    /// The devices that the license is bound to, in the order in which they were bound.
    pub devices: Vec<Device>,
    /// The number of the license's last change when this was read.
    pub version: ChangeNumber,
}

/// A change of a license. Each gets a number and is in force when the method returns.
#[derive(Clone, Debug)]
pub enum LicenseChange {
    /// A new status. A revoked license stays revoked: the store leaves it so and returns it
    /// unchanged.
    Status(LicenseStatus),
    /// A new end; `None`: never.
    ExpiresAt(Option<Timestamp>),
    /// New limits. With `balance`, the units left become `limits.remaining` and a new epoch of the
    /// balance begins; so it does when units were not counted before. Without, the units left stay.
    /// Refills that fell due before a change of the balance or of the refill's interval are past.
    Limits {
        /// The new limits.
        limits: Limits,
        /// Whether the units left are set anew.
        balance: bool,
    },
    /// A new plan; `None`: that of the app.
    Plan(Option<PlanName>),
    /// A new label; `None` takes it away.
    Label(Option<String>),
    /// A new list of routes that it may call; empty: all.
    Permissions(Vec<Permission>),
    /// A new list of the addresses that it may be used from; empty: any.
    AllowIps(Vec<IpNet>),
    /// A new number of slots for devices; `None`: devices are not counted. Those that are bound stay
    /// so.
    DeviceSlots(Option<u8>),
    /// Whether any number of devices may use it, whatever its slots.
    UnlimitedDevices(bool),
    /// New variables, in place of those before.
    Variables(Variables),
    /// Frees all devices. If none is bound, nothing changes.
    ResetDevices,
    /// Several changes, all or none of them, under one number; at most one adds a credential.
    Together(Vec<LicenseChange>),
    /// A further credential. The credentials that are active, access tokens aside, end at
    /// `others_expire_at`, if that is given, and if they do not end sooner. With it the sealed
    /// copies of their keys are gone.
    AddCredential {
        /// The new credential.
        credential: NewCredential,
        /// The time at which the credentials before it end.
        others_expire_at: Option<Timestamp>,
    },
    /// The end of one credential.
    RevokeCredential(CredentialId),
}

/// A numbered change as gates follow it: they drop what they know of the license and, where a
/// credential was added, learn its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number.
    pub number: ChangeNumber,
    /// The license.
    pub license_id: LicenseId,
    /// The fingerprint of a credential that was added.
    pub added: Option<Fingerprint>,
    /// The time of the change, by the store's clock.
    pub at: Timestamp,
}

/// A selection of licenses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LicenseFilter {
    /// The account; `None`: any.
    pub account: Option<AccountName>,
    /// The app; `None`: any.
    pub app: Option<AppName>,
    /// The user; `None`: any.
    pub user: Option<String>,
    /// The status; `None`: any.
    pub status: Option<LicenseStatus>,
    /// Whether they are tokens of agents; `None`: both.
    pub of_agents: Option<bool>,
}

/// The store of licenses.
#[async_trait]
pub trait LicenseStore: Send + Sync + 'static {
    /// Returns this store's part that keeps API keys, whose licenses are among these.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        Err(Error::Unavailable("it keeps no api keys".to_owned()))
    }

    /// Returns this store's part that keeps policies on agents.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn agents(&self) -> Result<&dyn AgentStore, Error> {
        Err(Error::Unavailable(
            "it keeps no policies on agents".to_owned(),
        ))
    }

    /// Returns this store's part that keeps what software needs, whose licenses are among these.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn software(&self) -> Result<&dyn SoftwareStore, Error> {
        Err(Error::Unavailable("it keeps no devices".to_owned()))
    }

    /// Returns this store's part that keeps webhooks.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn webhooks(&self) -> Result<&dyn WebhookStore, Error> {
        Err(Error::Unavailable("it keeps no webhooks".to_owned()))
    }

    /// Keeps new licenses, all or none.
    ///
    /// # Errors
    /// [`Error::Exists`] if a credential's hash or a license's id is there already.
    async fn create_licenses(
        &self,
        new: Vec<NewLicense>,
        entries: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error>;

    /// Returns a license.
    async fn license(&self, id: LicenseId) -> Result<Option<StoredLicense>, Error>;

    /// Returns those of these licenses that there are, in no order; one statement for all.
    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error>;

    /// Returns the license that a credential belongs to, whatever the state of either.
    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error>;

    /// Returns who owns those of these keys that there are, whatever their state, in no order; one
    /// statement for all.
    async fn owners_of_keys(&self, hashes: Vec<KeyHash>) -> Result<Vec<KeyOwner>, Error>;

    /// Returns the sealed copies of a license's keys, those of its newest credentials first.
    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error>;

    /// Returns up to `limit` licenses (at most 100,000) in order of id, beginning after `after`;
    /// stable under inserts, since ids grow with time. Wallets of accounts are not among them.
    async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error>;

    /// Changes a license; `None` if there is no such license. A credential to revoke that the
    /// license does not have leaves it unchanged.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash of a credential to add is there already.
    async fn change_license(
        &self,
        id: LicenseId,
        change: LicenseChange,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<StoredLicense>, Error>;

    /// Returns up to `limit` changes after a number, in order, and the number of the last change
    /// there is.
    ///
    /// The last 1,000,000 changes are kept. A reader that is further behind gets a first number
    /// above `number + 1`, and must forget all it knows, as must one that has seen a number above
    /// the last there is (an older copy of the store was put back).
    async fn changes_since(
        &self,
        number: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, ChangeNumber), Error>;

    /// Returns up to `limit` fingerprints (at most 100,000) of credentials, revoked ones too, in
    /// the order in which they were added, beginning after the cursor `after`, and the cursor to go
    /// on with, `None` at the end.
    ///
    /// A reader that reads the number of the last change first, then the fingerprints, then follows
    /// the changes, misses none.
    async fn fingerprints(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Fingerprint>, Option<u64>), Error>;
}
