//! The operations with somebody's name to them: what they change is in the audit log.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use model::{
    AccountName, Actor, AppName, AuditEntry, CredentialId, KeyFormat, License, LicenseId,
    LicenseStatus, ManagementKeyId, RequestToken, Timestamp, TokenState, User,
};
use serde_json::{Value, json};
use store::{Account, ManagementKey, StoredLicense, UserChange};

use super::change::LicenseUpdate;
use super::issue::{IssueRequest, Issued, KeySource};
use super::management::{IssuedManagementKey, ManagementKeyRequest};
use super::user::UserRequest;
use crate::error::Error;
use crate::licensing::Licensing;

/// Operations by an actor. Each is the one of [`Licensing`] by its name, with its errors, and then a line in the audit log:
/// who, from where, what, before and after.
#[derive(Clone, Debug)]
pub struct Acting {
    licensing: Arc<Licensing>,
    actor: Actor,
}

impl Licensing {
    /// Operations by this actor.
    #[must_use]
    pub fn acting(self: &Arc<Self>, actor: Actor) -> Acting {
        Acting {
            licensing: self.clone(),
            actor,
        }
    }
}

impl Acting {
    /// The operations without a name to them.
    #[must_use]
    pub const fn licensing(&self) -> &Arc<Licensing> {
        &self.licensing
    }

    /// A line of the audit log by this actor, now, to be given to [`Licensing::audit`].
    #[must_use]
    pub fn entry(&self, action: &str, subject: impl std::fmt::Display) -> AuditEntry {
        AuditEntry::new(&self.actor, self.licensing.clock.now(), action, subject)
    }

    async fn note(&self, entry: AuditEntry) {
        self.licensing.audit(vec![entry]).await;
    }

    // === licenses ===

    /// As [`Licensing::issue`].
    ///
    /// # Errors
    /// As [`Licensing::issue`].
    pub async fn issue(&self, request: IssueRequest) -> Result<Vec<Issued>, Error> {
        let issued = self.licensing.issue(request).await?;
        let entry = |issued: &Issued| {
            let license = &issued.license.license;
            self.entry("license.create", license.id)
                .of(&license.account)
                .between(None::<&Value>, Some(&shown(license)))
        };
        self.licensing
            .audit(issued.iter().map(entry).collect())
            .await;
        Ok(issued)
    }

    /// As [`Licensing::set_status`].
    ///
    /// # Errors
    /// As [`Licensing::set_status`].
    pub async fn set_status(
        &self,
        id: LicenseId,
        status: LicenseStatus,
    ) -> Result<StoredLicense, Error> {
        let before = self.licensing.license(id).await?;
        let after = self.licensing.set_status(id, status).await?;
        let action = match status {
            LicenseStatus::Active => "license.enable",
            LicenseStatus::Disabled => "license.disable",
            LicenseStatus::Revoked => "license.revoke",
        };
        self.changed(action, &before.license, after).await
    }

    /// As [`Licensing::extend`].
    ///
    /// # Errors
    /// As [`Licensing::extend`].
    pub async fn extend(
        &self,
        id: LicenseId,
        expires_at: Option<Timestamp>,
    ) -> Result<StoredLicense, Error> {
        let before = self.licensing.license(id).await?;
        let after = self.licensing.extend(id, expires_at).await?;
        self.changed("license.extend", &before.license, after).await
    }

    /// As [`Licensing::change`].
    ///
    /// # Errors
    /// As [`Licensing::change`].
    pub async fn change(
        &self,
        id: LicenseId,
        update: LicenseUpdate,
    ) -> Result<StoredLicense, Error> {
        let before = self.licensing.license(id).await?;
        let balance = update.remaining.is_some();
        let after = self.licensing.change(id, update).await?;
        if balance && before.license == after.license {
            // What is left was set to what it had been set to before: a change that no field shows.
            let set = json!({ "balance": after.license.limits.remaining });
            let entry = self.entry("license.change", id).of(&after.license.account);
            self.note(entry.between(None::<&Value>, Some(&set))).await;
            return Ok(after);
        }
        self.changed("license.change", &before.license, after).await
    }

    /// As [`Licensing::rotate`].
    ///
    /// # Errors
    /// As [`Licensing::rotate`].
    pub async fn rotate(
        &self,
        id: LicenseId,
        overlap: Duration,
        format: KeyFormat,
    ) -> Result<Issued, Error> {
        let issued = self.licensing.rotate(id, overlap, format).await?;
        self.note(self.new_credential("license.rotate", &issued))
            .await;
        Ok(issued)
    }

    /// As [`Licensing::add_credential`].
    ///
    /// # Errors
    /// As [`Licensing::add_credential`].
    pub async fn add_credential(
        &self,
        id: LicenseId,
        source: &KeySource,
        others_expire_at: Option<Timestamp>,
    ) -> Result<Issued, Error> {
        let added = self.licensing.add_credential(id, source, others_expire_at);
        let issued = added.await?;
        self.note(self.new_credential("credential.create", &issued))
            .await;
        Ok(issued)
    }

    /// As [`Licensing::revoke_credential`].
    ///
    /// # Errors
    /// As [`Licensing::revoke_credential`].
    pub async fn revoke_credential(
        &self,
        id: LicenseId,
        credential: CredentialId,
    ) -> Result<StoredLicense, Error> {
        let after = self.licensing.revoke_credential(id, credential).await?;
        let entry = self.entry("credential.revoke", credential);
        let state = json!({ "license": id });
        self.note(
            entry
                .of(&after.license.account)
                .between(None::<&Value>, Some(&state)),
        )
        .await;
        Ok(after)
    }

    /// Notes a change of a license; one that changed nothing is none.
    async fn changed(
        &self,
        action: &str,
        before: &License,
        after: StoredLicense,
    ) -> Result<StoredLicense, Error> {
        if *before != after.license {
            let entry = self.entry(action, before.id).of(&before.account);
            self.note(entry.between(Some(&shown(before)), Some(&shown(&after.license))))
                .await;
        }
        Ok(after)
    }

    fn new_credential(&self, action: &str, issued: &Issued) -> AuditEntry {
        let license = &issued.license;
        let new = license
            .credentials
            .iter()
            .find(|info| info.id == issued.credential_id);
        self.entry(action, license.license.id)
            .of(&license.license.account)
            .between(None::<&Value>, new)
    }

    // === accounts and management keys ===

    /// As [`Licensing::create_account`].
    ///
    /// # Errors
    /// As [`Licensing::create_account`].
    pub async fn create_account(&self, name: AccountName) -> Result<Account, Error> {
        let account = self.licensing.create_account(name).await?;
        let entry = self
            .entry("account.create", &account.name)
            .of(&account.name);
        self.note(entry).await;
        Ok(account)
    }

    /// As [`Licensing::create_management_key`].
    ///
    /// # Errors
    /// As [`Licensing::create_management_key`].
    pub async fn create_management_key(
        &self,
        request: ManagementKeyRequest,
    ) -> Result<IssuedManagementKey, Error> {
        let issued = self.licensing.create_management_key(request).await?;
        let entry = self.entry("key.create", issued.key.id);
        self.note(
            entry
                .of(&issued.key.account)
                .between(None::<&Value>, Some(&issued.key)),
        )
        .await;
        Ok(issued)
    }

    /// As [`Licensing::rotate_management_key`].
    ///
    /// # Errors
    /// As [`Licensing::rotate_management_key`].
    pub async fn rotate_management_key(
        &self,
        id: ManagementKeyId,
        overlap: Duration,
    ) -> Result<IssuedManagementKey, Error> {
        let issued = self.licensing.rotate_management_key(id, overlap).await?;
        let entry = self.entry("key.rotate", id).of(&issued.key.account);
        self.note(entry.between(None::<&Value>, Some(&issued.key)))
            .await;
        Ok(issued)
    }

    /// As [`Licensing::set_management_key_addresses`], of a key as it was before.
    ///
    /// # Errors
    /// As [`Licensing::set_management_key_addresses`].
    pub async fn set_management_key_addresses(
        &self,
        before: &ManagementKey,
        addresses: Vec<IpNet>,
    ) -> Result<ManagementKey, Error> {
        let changing = self
            .licensing
            .set_management_key_addresses(before.id, addresses);
        let key = changing.await?;
        let entry = self.entry("key.change", key.id).of(&key.account);
        self.note(entry.between(Some(before), Some(&key))).await;
        Ok(key)
    }

    /// As [`Licensing::revoke_management_key`], of a key as it was before. One that had ended is not noted again.
    ///
    /// # Errors
    /// As [`Licensing::revoke_management_key`].
    pub async fn revoke_management_key(
        &self,
        before: &ManagementKey,
    ) -> Result<ManagementKey, Error> {
        let key = self.licensing.revoke_management_key(before.id).await?;
        if *before != key {
            let entry = self.entry("key.revoke", key.id).of(&key.account);
            self.note(entry.between(Some(before), Some(&key))).await;
        }
        Ok(key)
    }

    // === users ===

    /// As [`Licensing::create_user`]. The log holds the user's id alone, so that a person can be forgotten.
    ///
    /// # Errors
    /// As [`Licensing::create_user`].
    pub async fn create_user(&self, request: UserRequest) -> Result<User, Error> {
        let user = self.licensing.create_user(request).await?;
        let entry = self.entry("user.create", user.id).of(&user.account);
        self.note(entry).await;
        Ok(user)
    }

    /// As [`Licensing::change_user`], noted as [`Acting::create_user`].
    ///
    /// # Errors
    /// As [`Licensing::change_user`].
    pub async fn change_user(
        &self,
        app: &AppName,
        login: &str,
        change: UserChange,
    ) -> Result<Option<User>, Error> {
        let changed = self.licensing.change_user(app, login, change).await?;
        if let Some(user) = &changed {
            let entry = self.entry("user.change", user.id).of(&user.account);
            self.note(entry).await;
        }
        Ok(changed)
    }

    /// As [`Licensing::delete_user`], noted as [`Acting::create_user`].
    ///
    /// # Errors
    /// As [`Licensing::delete_user`].
    pub async fn delete_user(&self, app: &AppName, login: &str) -> Result<bool, Error> {
        let user = self.licensing.user(app, login).await?;
        let deleted = self.licensing.delete_user(app, login).await?;
        if let Some(user) = user.filter(|_| deleted) {
            let entry = self.entry("user.delete", user.id).of(&user.account);
            self.note(entry).await;
        }
        Ok(deleted)
    }

    // === request tokens ===

    /// As [`Licensing::end_token`], of a token as it was before. One that had been used or had ended is not noted.
    ///
    /// # Errors
    /// As [`Licensing::end_token`].
    pub async fn end_token(&self, before: &RequestToken) -> Result<RequestToken, Error> {
        let token = self.licensing.end_token(before.id).await?;
        if before.state == TokenState::Issued && token.state == TokenState::Expired {
            let entry = self.entry("token.end", token.id).of(&token.account);
            let state = json!({ "license": token.license_id, "units": token.units });
            self.note(entry.between(Some(&state), None::<&Value>)).await;
        }
        Ok(token)
    }
}

/// A license as the log shows it: without the name of its user, so that a person can be forgotten.
pub(crate) fn shown(license: &License) -> Value {
    let mut value = serde_json::to_value(license).unwrap_or(Value::Null);
    if let Some(user) = value.get_mut("user")
        && !user.is_null()
    {
        *user = json!("not shown");
    }
    value
}
