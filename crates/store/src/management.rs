//! The store of accounts, management keys, plan revisions and the keyring.

use async_trait::async_trait;
use ipnet::IpNet;
use model::{
    AccountName, AppName, KeyHash, LicenseId, ManagementKeyId, PlanName, PlanRevision,
    PlanRevisionId, Scope, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::audit::{AuditEntries, AuditStore, Changed};
use crate::claims::ClaimStore;
use crate::error::Error;
use crate::tokens::TokenStore;

/// A provider who sells apps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name, which is its identity.
    pub name: AccountName,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time from which on it is switched off: its management keys open nothing. `None`: it is
    /// on.
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
    /// The license that holds its credits: [`LicenseId::of_wallet`]. `None`: they are not counted.
    #[serde(default)]
    pub wallet: Option<LicenseId>,
}

/// A key to the control plane; it never opens the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementKey {
    /// Identity.
    pub id: ManagementKeyId,
    /// The account that it acts for.
    pub account: AccountName,
    /// The only app that it may act on; `None`: every app of the account.
    pub app: Option<AppName>,
    /// The only license that it may act on; `None`: every license.
    pub license_id: Option<LicenseId>,
    /// The license that tokens of a pair draw on: that one, or one of the app that is made with the
    /// first token.
    #[serde(default)]
    pub draws_on: Option<LicenseId>,
    /// A name for people.
    pub name: Option<String>,
    /// The scopes that it names. [`ManagementKey::held`] returns those that it has.
    pub scopes: Vec<String>,
    /// The networks that it may be used from; empty: any.
    #[serde(default)]
    pub allow_ips: Vec<IpNet>,
    /// The first characters of the key.
    pub prefix: String,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time at which it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The time at which it was revoked; `None`: it was not.
    pub revoked_at: Option<Timestamp>,
}

impl ManagementKey {
    /// Returns the scopes that it has, whenever it was made and whatever it names.
    #[must_use]
    pub fn held(&self) -> Vec<Scope> {
        Scope::held(&self.scopes, self.license_id.is_some())
    }

    /// Returns whether it may be used at a time.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        let past = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        !(past(self.revoked_at) || past(self.expires_at))
    }
}

/// A management key to be kept.
#[derive(Clone, Debug)]
pub struct NewManagementKey {
    /// The key.
    pub key: ManagementKey,
    /// The hash by which it is found; unique in the store.
    pub hash: KeyHash,
    /// The hash of its secret, for a pair.
    pub secret: Option<KeyHash>,
}

/// A plan that licenses name, with their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNamed {
    /// The name.
    pub name: PlanName,
    /// The number of licenses that name it and are not revoked.
    pub licenses: u64,
}

/// An app that licenses in force name, with their number. A license is in force if it is neither
/// revoked nor over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppNamed {
    /// The name.
    pub name: AppName,
    /// The number of licenses that name it.
    pub licenses: u64,
    /// The number of them that name no plan, and go by that of the app.
    pub without_plan: u64,
}

/// The plans and apps that licenses name, which a configuration must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Plans.
    pub plans: Vec<PlanNamed>,
    /// Apps.
    pub apps: Vec<AppNamed>,
}

/// Returns the name of the setting that holds which revision of a plan is in force.
pub(crate) fn plan_setting(name: &PlanName) -> String {
    format!("plan/{name}")
}

/// The store of accounts, management keys and other small, rarely changing objects.
#[async_trait]
pub trait ManagementStore: Send + Sync + 'static {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one of this name.
    async fn create_account(
        &self,
        account: Account,
        entries: AuditEntries<()>,
    ) -> Result<(), Error>;

    /// Returns all accounts by name; `default` is always among them.
    async fn accounts(&self) -> Result<Vec<Account>, Error>;

    /// Returns an account.
    async fn account(&self, name: &AccountName) -> Result<Option<Account>, Error>;

    /// Switches an account off at a time (the first stands), or on again with `None`; returns
    /// `None` if there is no such account.
    async fn set_account_disabled(
        &self,
        name: &AccountName,
        at: Option<Timestamp>,
        entries: AuditEntries<Changed<Account>>,
    ) -> Result<Option<Account>, Error>;

    /// Keeps a management key.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash or the id is there already.
    async fn create_management_key(
        &self,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<(), Error>;

    /// Keeps a management key in the place of another, which ends at `at` as by
    /// [`ManagementStore::end_management_key`], both or neither. Returns `false` if there is no
    /// such key to replace, or it was revoked or has expired.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash or the id is there already.
    async fn replace_management_key(
        &self,
        old: ManagementKeyId,
        at: Timestamp,
        new: NewManagementKey,
        entries: AuditEntries<()>,
    ) -> Result<bool, Error>;

    /// Returns the management key with this hash, whatever its state, and the hash of its secret;
    /// one of an account that is switched off is not found.
    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error>;

    /// Returns the management keys of an account (`None`: of all), oldest first.
    async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error>;

    /// Revokes a management key if `at` is past (the first revocation stands), or else lets it
    /// expire then; returns `None` if there is no such key. Access tokens of its sessions end no
    /// later than it.
    async fn end_management_key(
        &self,
        id: ManagementKeyId,
        at: Timestamp,
        entries: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error>;

    /// Keeps plan revisions, those that are there as they are, and records that each is in force
    /// for its plan from now on.
    async fn put_plan_revisions(&self, revisions: Vec<PlanRevision>) -> Result<(), Error>;

    /// Returns a plan revision.
    async fn plan_revision(&self, id: PlanRevisionId) -> Result<Option<PlanRevision>, Error>;

    /// Returns the plans that licenses name which are not revoked, in order of name.
    async fn plans_named(&self) -> Result<Vec<PlanNamed>, Error>;

    /// Returns the apps that licenses name which are in force at a time, in order of name.
    async fn apps_named(&self, at: Timestamp) -> Result<Vec<AppNamed>, Error>;

    /// Returns the revision of a plan that was in force last; `None`: there never was such a plan.
    async fn last_plan_revision(&self, name: PlanName) -> Result<Option<PlanRevision>, Error>;

    /// Returns, for each part of the store that can be out of reach by itself, its name and whether
    /// writes get into it. It may wait as long as a write does. An empty list: the store is one
    /// whole.
    async fn parts_up(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// Returns this store's part that keeps claims.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        Err(Error::Unavailable("it keeps no claims".to_owned()))
    }

    /// Returns this store's part that keeps request tokens.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        Err(Error::Unavailable("it keeps no request tokens".to_owned()))
    }

    /// Returns this store's part that keeps the audit log.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        Err(Error::Unavailable("it keeps no audit log".to_owned()))
    }

    /// Keeps a small secret or setting under a name if nothing is there yet, and only then writes
    /// its audit lines. Returns the value that is there now.
    async fn put_if_absent(
        &self,
        name: &str,
        value: Vec<u8>,
        entries: AuditEntries<()>,
    ) -> Result<Vec<u8>, Error>;

    /// Returns the value that [`ManagementStore::put_if_absent`] keeps under a name.
    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;
}
