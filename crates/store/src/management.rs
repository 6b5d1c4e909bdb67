//! Accounts, management keys, plan revisions and the keyring.

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
    /// Its name, which is its identity.
    pub name: AccountName,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is switched off: its management keys open nothing.
    #[serde(default)]
    pub disabled_at: Option<Timestamp>,
}

/// A key to the control plane: never opens the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagementKey {
    /// Identity.
    pub id: ManagementKeyId,
    /// The account it acts for.
    pub account: AccountName,
    /// The only app it may act on; `None`: every app of the account.
    pub app: Option<AppName>,
    /// The only license it may act on.
    pub license_id: Option<LicenseId>,
    /// The license that tokens of a pair draw on: that one, or one of the app that is made with the first token.
    #[serde(default)]
    pub draws_on: Option<LicenseId>,
    /// A word for people.
    pub name: Option<String>,
    /// The scopes that it names. What it may do is said by [`ManagementKey::held`].
    pub scopes: Vec<String>,
    /// From where it may be used; empty: from everywhere.
    #[serde(default)]
    pub allow_ips: Vec<IpNet>,
    /// The first characters of the key.
    pub prefix: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl ManagementKey {
    /// What it may do, whenever it was made and whatever it names.
    #[must_use]
    pub fn held(&self) -> Vec<Scope> {
        Scope::held(&self.scopes, self.license_id.is_some())
    }

    /// Whether it may be used at a time.
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
    /// By what it is found; unique in the store.
    pub hash: KeyHash,
    /// The hash of its secret, for a pair.
    pub secret: Option<KeyHash>,
}

/// A plan that licenses name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanNamed {
    /// Its name.
    pub name: PlanName,
    /// How many licenses name it that are not revoked.
    pub licenses: u64,
}

/// An app that licenses in force name: such as are neither revoked nor over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppNamed {
    /// Its name.
    pub name: AppName,
    /// How many licenses name it.
    pub licenses: u64,
    /// How many of them name no plan, and go by that of the app.
    pub without_plan: u64,
}

/// What licenses name that a configuration must have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Plans.
    pub plans: Vec<PlanNamed>,
    /// Apps.
    pub apps: Vec<AppNamed>,
}

/// Where the store notes which revision of a plan is in force.
pub(crate) fn plan_setting(name: &PlanName) -> String {
    format!("plan/{name}")
}

/// Accounts, management keys and other small, rarely changing things.
#[async_trait]
pub trait ManagementStore: Send + Sync + 'static {
    /// Makes an account.
    ///
    /// # Errors
    /// [`Error::Exists`]
    async fn create_account(&self, account: Account, note: AuditEntries<()>) -> Result<(), Error>;

    /// All accounts by name; `default` is always among them.
    async fn accounts(&self) -> Result<Vec<Account>, Error>;

    /// One account.
    async fn account(&self, name: &AccountName) -> Result<Option<Account>, Error>;

    /// Switches an account off at a time (the first stands), or on again with `None`; `None` if there is none such.
    async fn set_account_disabled(
        &self,
        name: &AccountName,
        at: Option<Timestamp>,
        note: AuditEntries<Changed<Account>>,
    ) -> Result<Option<Account>, Error>;

    /// Keeps a management key.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash or the id is there already.
    async fn create_management_key(
        &self,
        new: NewManagementKey,
        note: AuditEntries<()>,
    ) -> Result<(), Error>;

    /// Keeps a management key in the place of another, which ends at `at` as by
    /// [`ManagementStore::end_management_key`], both or neither; `false`: there is none such to replace, or it was revoked
    /// or has expired.
    ///
    /// # Errors
    /// [`Error::Exists`] if the hash or the id is there already.
    async fn replace_management_key(
        &self,
        old: ManagementKeyId,
        at: Timestamp,
        new: NewManagementKey,
        note: AuditEntries<()>,
    ) -> Result<bool, Error>;

    /// The management key with this hash, whatever its state, and the hash of its secret; one of an account that is switched
    /// off is not found.
    async fn management_key_by_hash(
        &self,
        hash: KeyHash,
    ) -> Result<Option<(ManagementKey, Option<KeyHash>)>, Error>;

    /// The management keys of an account (`None`: of all), oldest first.
    async fn management_keys(
        &self,
        account: Option<AccountName>,
    ) -> Result<Vec<ManagementKey>, Error>;

    /// Revokes a management key if `at` has come (the first revocation stands), or else lets it expire then; `None` if there
    /// is none such. Access tokens of its sessions end no later than it.
    async fn end_management_key(
        &self,
        id: ManagementKeyId,
        at: Timestamp,
        note: AuditEntries<Changed<ManagementKey>>,
    ) -> Result<Option<ManagementKey>, Error>;

    /// Keeps plan revisions, those that are there as they are, and notes that each is in force for its plan from now on.
    async fn put_plan_revisions(&self, revisions: Vec<PlanRevision>) -> Result<(), Error>;

    /// One plan revision.
    async fn plan_revision(&self, id: PlanRevisionId) -> Result<Option<PlanRevision>, Error>;

    /// The plans that licenses name which are not revoked, in order of name.
    async fn plans_named(&self) -> Result<Vec<PlanNamed>, Error>;

    /// The apps that licenses name which are in force at a time, in order of name.
    async fn apps_named(&self, at: Timestamp) -> Result<Vec<AppNamed>, Error>;

    /// The revision of a plan that was in force last; `None`: there never was such a plan.
    async fn last_plan_revision(&self, name: PlanName) -> Result<Option<PlanRevision>, Error>;

    /// Whether writes get into each part of it that can be out of reach by itself, by its name. May wait as long as a write does.
    /// None: it is one whole.
    async fn parts_up(&self) -> Vec<(&'static str, bool)> {
        Vec::new()
    }

    /// The claims of this store.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn claims(&self) -> Result<&dyn ClaimStore, Error> {
        Err(Error::Unavailable("it keeps no claims".to_owned()))
    }

    /// The request tokens of this store.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn tokens(&self) -> Result<&dyn TokenStore, Error> {
        Err(Error::Unavailable("it keeps no request tokens".to_owned()))
    }

    /// The audit log of this store.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this store keeps none.
    fn audit_log(&self) -> Result<&dyn AuditStore, Error> {
        Err(Error::Unavailable("it keeps no audit log".to_owned()))
    }

    /// A small secret or setting under a name, kept if nothing is there yet, and only then noted; returns what is there now.
    async fn put_if_absent(
        &self,
        name: &str,
        value: Vec<u8>,
        note: AuditEntries<()>,
    ) -> Result<Vec<u8>, Error>;

    /// What [`ManagementStore::put_if_absent`] keeps under a name.
    async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;
}
