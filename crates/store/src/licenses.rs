//! Licenses, their credentials, and the numbered changes that gates follow.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    AccountName, AppName, CredentialId, Fingerprint, KeyHash, License, LicenseId, LicenseStatus,
    Limits, Permission, PlanName, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api_keys::ApiKeyStore;
use crate::audit::{AuditEntries, Changed};
use crate::error::Error;

/// The number of a change, in commit order: a reader who has seen `n` misses none by asking for what came after `n`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct ChangeNumber(pub u64);

/// Whether a credential may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStatus {
    /// It may, until it expires.
    #[default]
    Active,
    /// It never may again.
    Revoked,
}

/// What may be known about a credential: never the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialInfo {
    /// Identity.
    pub id: CredentialId,
    /// The word of its key format.
    pub kind: String,
    /// The first characters of the key.
    pub prefix: String,
    /// Whether it may be used.
    pub status: CredentialStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, as at the end of an overlap; `None`: with the license.
    pub expires_at: Option<Timestamp>,
}

/// A credential to be kept.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// What may be known about it.
    pub info: CredentialInfo,
    /// By what it is found; unique in the store.
    pub hash: KeyHash,
    /// A copy of the key, where its app shows keys again.
    pub sealed: Option<SealedKey>,
}

/// A copy of a key that only the keyring of the store opens. It is kept with its credential, written with it, and gone when
/// the credential is revoked or replaced, its license is revoked, or the user of its license is forgotten.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedKey(Vec<u8>);

impl SealedKey {
    /// A copy that was sealed.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What lies in the store.
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
    /// Its credentials.
    pub credentials: Vec<NewCredential>,
}

/// A license as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLicense {
    /// The license.
    pub license: License,
    /// All its credentials but access tokens, oldest first.
    pub credentials: Vec<CredentialInfo>,
    /// The number of its last change.
    pub version: ChangeNumber,
}

/// What a gate needs to judge a call that presents one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The license.
    pub license: Arc<License>,
    /// The credential that was presented.
    pub credential: CredentialInfo,
    /// From where that credential may be used, beside what the license says; empty: from everywhere.
    pub allow_ips: Vec<IpNet>,
    /// The number of the license's last change when this was read.
    pub version: ChangeNumber,
}

/// One change to a license. Each gets a number and is in force when the method returns.
#[derive(Clone, Debug)]
pub enum LicenseChange {
    /// Its status. A revoked license stays revoked: the store leaves it so and returns it unchanged.
    Status(LicenseStatus),
    /// Its end.
    ExpiresAt(Option<Timestamp>),
    /// Its limits. With `balance`, what is left becomes `limits.remaining` and a new epoch of the balance begins; so it does
    /// when units were not counted before. Without, what is left stays. Refills that fell due before a change of the balance
    /// or of the refill's interval are past.
    Limits {
        /// The new limits.
        limits: Limits,
        /// Whether what is left is set anew.
        balance: bool,
    },
    /// Its plan.
    Plan(Option<PlanName>),
    /// Its label.
    Label(Option<String>),
    /// What it may call.
    Permissions(Vec<Permission>),
    /// The addresses that it may be used from; empty: any.
    AllowIps(Vec<IpNet>),
    /// Several at once, or none of them, under one number; at most one adds a credential.
    Together(Vec<LicenseChange>),
    /// A further credential; those active so far, access tokens aside, end at `others_expire_at`, if that
    /// is given, and if they do not end sooner. With it the sealed copies of their keys are gone.
    AddCredential {
        /// The new one.
        credential: NewCredential,
        /// When the ones before it end.
        others_expire_at: Option<Timestamp>,
    },
    /// The end of one credential.
    RevokeCredential(CredentialId),
}

/// What changed: gates drop what they know of the license and, where a credential came in, learn its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub number: ChangeNumber,
    /// The license.
    pub license_id: LicenseId,
    /// The fingerprint of a credential that was added.
    pub added: Option<Fingerprint>,
    /// When it was made, by the store's clock.
    pub at: Timestamp,
}

/// Which licenses to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LicenseFilter {
    /// Only this account.
    pub account: Option<AccountName>,
    /// Only this app.
    pub app: Option<AppName>,
    /// Only this user.
    pub user: Option<String>,
    /// Only this status.
    pub status: Option<LicenseStatus>,
}

/// Licenses at rest.
#[async_trait]
pub trait LicenseStore: Send + Sync + 'static {
    /// The API keys of this store, whose licenses are among these.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn api_keys(&self) -> Result<&dyn ApiKeyStore, Error> {
        Err(Error::Unavailable("it keeps no api keys".to_owned()))
    }

    /// Keeps new licenses, all or none.
    ///
    /// # Errors
    /// [`Error::Exists`] if a credential's hash or a license's id is there already.
    async fn create_licenses(
        &self,
        new: Vec<NewLicense>,
        note: AuditEntries<()>,
    ) -> Result<ChangeNumber, Error>;

    /// One license.
    async fn license(&self, id: LicenseId) -> Result<Option<StoredLicense>, Error>;

    /// Those of these licenses that there are, in no order; one statement for all.
    async fn licenses_by_ids(&self, ids: Vec<LicenseId>) -> Result<Vec<StoredLicense>, Error>;

    /// The license that a credential belongs to, whatever the state of either.
    async fn license_by_key(&self, hash: KeyHash) -> Result<Option<Snapshot>, Error>;

    /// The sealed copies of a license's keys, those of its newest credentials first.
    async fn sealed_keys(&self, id: LicenseId) -> Result<Vec<(CredentialId, SealedKey)>, Error>;

    /// Up to `limit` licenses (at most 100,000) in order of id, beginning after `after`; stable under inserts, since ids grow
    /// with time.
    async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error>;

    /// Changes a license; `None` if there is no such license. A credential to revoke that the license does not have
    /// leaves it unchanged.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash of a credential to add is there already.
    async fn change_license(
        &self,
        id: LicenseId,
        change: LicenseChange,
        note: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<StoredLicense>, Error>;

    /// Up to `limit` changes after a number, in order, and the number of the last change there is.
    ///
    /// The last 1,000,000 changes are kept. Who is further behind gets a first number above `number + 1`, and must forget
    /// all it knows, as must who has seen a number above the last there is (an older copy of the store was put back).
    async fn changes_since(
        &self,
        number: ChangeNumber,
        limit: usize,
    ) -> Result<(Vec<Change>, ChangeNumber), Error>;

    /// Up to `limit` fingerprints (at most 100,000) of credentials, revoked ones too, in the order in which they were
    /// added, beginning after the cursor `after`; the cursor to go on with, `None` at the end.
    ///
    /// Who reads the number of the last change first, then the fingerprints, then follows the changes, misses none.
    async fn fingerprints(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<Fingerprint>, Option<u64>), Error>;
}
