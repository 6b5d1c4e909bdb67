//! The operations that show and change licenses.

use std::time::Duration;

use model::agent::AgentIdentity;
use model::{
    ApiKey, CredentialId, CredentialInfo, Fingerprint, KeyFormat, LicenseId, LicenseStatus,
    LicenseUpdate, Limits, Timestamp,
};
use serde_json::{Value, json};
use store::{AuditEntries, Balance, Changed, LicenseChange, LicenseFilter, StoredLicense};

use super::acting::AuditedLicensing;
use super::issue::{Issued, KeySource, Minted};
use super::time::after;
use super::validate;
use crate::error::Error;
use crate::licensing::Licensing;

/// The balance of a license, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceView {
    /// The number of units granted in this epoch.
    pub granted: u64,
    /// The number of units that calls can still take: those that nobody holds, and those that this
    /// gate leased and did not use.
    pub remaining: u64,
    /// The number of units that calls took, whether they are in the rollups yet or not; in a fleet,
    /// with those that other gates hold.
    pub taken: u64,
    /// The epoch.
    pub epoch: u32,
    /// The time of the next refill; `None`: there is none.
    pub next_refill_at: Option<Timestamp>,
}

impl BalanceView {
    /// Returns the view of the store's balance by a gate that holds unused units of an epoch.
    pub(super) fn of(balance: &Balance, held: Option<(u32, u64)>) -> Self {
        let unused = match held {
            Some((epoch, units)) if epoch == balance.epoch => units.min(balance.leased),
            _ => 0,
        };
        let taken = (balance.spent + balance.leased).saturating_sub(unused);
        Self {
            granted: balance.granted,
            remaining: balance.granted.saturating_sub(taken),
            taken,
            epoch: balance.epoch,
            next_refill_at: balance.next_refill_at,
        }
    }
}

/// Returns the change of the limits that an update makes; `None`: it makes none. The units that are
/// left are set whenever a number for them is given.
fn limits_of(update: &LicenseUpdate, before: &Limits) -> Result<Option<LicenseChange>, Error> {
    let limits = update.limits(before);
    validate::limits(&limits, before)?;
    let balance = update.remaining.is_some();
    let changes = balance || limits != *before;
    Ok(changes.then(|| limits_change(before, limits, balance)))
}

/// Returns a change of limits. The units that are left are set anew if `balance`, or if they were
/// not counted before.
fn limits_change(before: &Limits, limits: Limits, balance: bool) -> LicenseChange {
    let begins = before.remaining.is_some() != limits.remaining.is_some();
    LicenseChange::Limits {
        limits,
        balance: balance || begins,
    }
}

impl AuditedLicensing {
    /// Enables, disables or revokes a license. A second time does nothing.
    ///
    /// # Errors
    /// There is no such license, it is revoked, or the store fails.
    pub async fn set_status(
        &self,
        id: LicenseId,
        status: LicenseStatus,
    ) -> Result<StoredLicense, Error> {
        let action = match status {
            LicenseStatus::Active => "license.enable",
            LicenseStatus::Disabled => "license.disable",
            LicenseStatus::Revoked => "license.revoke",
        };
        self.set_status_as(id, status, action).await
    }

    /// Sets a status like [`AuditedLicensing::set_status`], by another name in the audit log.
    pub(super) async fn set_status_as(
        &self,
        id: LicenseId,
        status: LicenseStatus,
        action: &'static str,
    ) -> Result<StoredLicense, Error> {
        if id.may_be_wallet() {
            not_a_wallet(&self.license(id).await?)?;
        }
        let entries = self.of_license(action);
        let change = LicenseChange::Status(status);
        let changed = self.apply(id, change, None, entries).await?;
        if changed.license.status == status {
            Ok(changed)
        } else {
            Err(Error::LicenseRevoked(id))
        }
    }

    /// Sets when a license ends; `None`: never.
    ///
    /// # Errors
    /// There is no such license, it is revoked, or the store fails.
    pub async fn extend(
        &self,
        id: LicenseId,
        expires_at: Option<Timestamp>,
    ) -> Result<StoredLicense, Error> {
        let update = LicenseUpdate {
            expires_at: Some(expires_at),
            ..LicenseUpdate::default()
        };
        self.change_as(id, update, "license.extend").await
    }

    /// Sets the limits of a license. What is left is set to `limits.remaining` if `balance` says
    /// so, or if units were not counted before.
    ///
    /// # Errors
    /// A limit is not what it may be, there is no such license, it is revoked, or the store fails.
    pub async fn set_limits(
        &self,
        id: LicenseId,
        limits: Limits,
        balance: bool,
    ) -> Result<StoredLicense, Error> {
        let before = self.unrevoked(id).await?;
        validate::limits(&limits, &before.license.spec.limits)?;
        let change = limits_change(&before.license.spec.limits, limits, balance);
        self.apply(id, change, None, self.of_license("license.change"))
            .await
    }

    /// Changes several fields of a license at once, or none of them.
    ///
    /// # Errors
    /// A value is not what it may be, the plan is unknown, there is no such license, it is revoked,
    /// or the store fails.
    pub async fn change(
        &self,
        id: LicenseId,
        update: LicenseUpdate,
    ) -> Result<StoredLicense, Error> {
        self.change_as(id, update, "license.change").await
    }

    async fn change_as(
        &self,
        id: LicenseId,
        update: LicenseUpdate,
        action: &'static str,
    ) -> Result<StoredLicense, Error> {
        self.check(&update)?;
        let before = self.unrevoked(id).await?;
        let (license, asked) = (&before.license, update.permissions.as_deref());
        self.check_served(&license.app, &license.account, asked.unwrap_or_default())?;
        let limits = limits_of(&update, &license.spec.limits)?;
        // Every field is named, so that a new one that nothing carries out does not compile.
        let LicenseUpdate {
            plan,
            label,
            expires_at,
            remaining,
            // In `limits`, as `remaining` is.
            refill: _,
            rate_limits: _,
            concurrency: _,
            permissions,
            allow_ips,
            device_slots,
            unlimited_devices,
            variables,
        } = update;
        let entries = self.of_update(action, remaining.is_some());
        let mut changes = Vec::new();
        changes.extend(limits);
        changes.extend(plan.map(LicenseChange::Plan));
        changes.extend(label.map(LicenseChange::Label));
        changes.extend(expires_at.map(LicenseChange::ExpiresAt));
        changes.extend(permissions.map(LicenseChange::Permissions));
        changes.extend(allow_ips.map(LicenseChange::AllowIps));
        changes.extend(device_slots.map(LicenseChange::DeviceSlots));
        changes.extend(unlimited_devices.map(LicenseChange::UnlimitedDevices));
        changes.extend(variables.map(LicenseChange::Variables));
        if changes.is_empty() {
            return Ok(before);
        }
        self.apply(id, LicenseChange::Together(changes), None, entries)
            .await
    }

    /// Frees all devices that a license is bound to. If there are none, nothing changes.
    ///
    /// # Errors
    /// There is no such license, it is revoked, or the store fails.
    pub async fn reset_devices(&self, id: LicenseId) -> Result<StoredLicense, Error> {
        self.unrevoked(id).await?;
        let audit_writer = self.own_audit_writer();
        let entries = AuditEntries::from_result(move |changed: &Changed<StoredLicense>| {
            let Changed { before, after } = changed;
            let devices = |stored: &StoredLicense| json!({ "devices": stored.devices });
            let line = || {
                let line = audit_writer.line("license.reset_devices", id);
                let line = line.of(&after.license.account);
                line.between(Some(&devices(before)), Some(&devices(after)))
            };
            let changed = before.devices != after.devices;
            changed.then(line).into_iter().collect()
        });
        self.apply(id, LicenseChange::ResetDevices, None, entries)
            .await
    }

    /// Returns the audit entries of an update. With `balance` there is one also for an update that
    /// sets the units that are left to the number they had been set to before: a change that no
    /// field shows.
    fn of_update(
        &self,
        action: &'static str,
        balance: bool,
    ) -> AuditEntries<Changed<StoredLicense>> {
        let (audit_writer, shown) = (self.own_audit_writer(), self.of_license(action));
        AuditEntries::from_result(move |changed: &Changed<StoredLicense>| {
            let mut lines = shown.lines(changed);
            let license = &changed.after.license;
            if lines.is_empty() && balance {
                let set = json!({ "balance": license.spec.limits.remaining });
                let line = audit_writer.line(action, license.id).of(&license.account);
                lines.push(line.between(None::<&Value>, Some(&set)));
            }
            lines
        })
    }

    /// Gives a license a new key. The ones before end when `overlap` is over, at once if it is
    /// zero.
    ///
    /// # Errors
    /// There is no such license, it is revoked, or the store fails.
    pub async fn rotate(
        &self,
        id: LicenseId,
        overlap: Duration,
        format: KeyFormat,
    ) -> Result<Issued, Error> {
        let end = after(self.clock.now(), overlap);
        self.add_credential_as(
            "license.rotate",
            id,
            &KeySource::Generate(format),
            Some(end),
        )
        .await
    }

    /// Gives a license a further key. The ones before stay, or end at `others_expire_at`.
    ///
    /// # Errors
    /// There is no such license, it is revoked, the key exists already, or the store fails.
    pub async fn add_credential(
        &self,
        id: LicenseId,
        source: &KeySource,
        others_expire_at: Option<Timestamp>,
    ) -> Result<Issued, Error> {
        self.add_credential_as("credential.create", id, source, others_expire_at)
            .await
    }

    async fn add_credential_as(
        &self,
        action: &'static str,
        id: LicenseId,
        source: &KeySource,
        others_expire_at: Option<Timestamp>,
    ) -> Result<Issued, Error> {
        let stored = self.unrevoked(id).await?;
        let mut minted = self.mint_for(&stored, source).await?;
        // An API key and a token of an agent are shown once, whatever else the app does.
        let kind = minted.new.info.kind.as_str();
        if ![ApiKey::KIND, AgentIdentity::KIND].contains(&kind) {
            let copier = self.copier(&stored.license.app).await?;
            self.keep_copy(&mut minted, copier.as_ref(), &stored.license);
        }
        let fingerprint = minted.fingerprint();
        let credential_id = minted.new.info.id;
        let change = LicenseChange::AddCredential {
            credential: minted.new,
            others_expire_at,
        };
        let audit_writer = self.own_audit_writer();
        let entries = AuditEntries::from_result(move |changed: &Changed<StoredLicense>| {
            let StoredLicense {
                license,
                credentials,
                ..
            } = &changed.after;
            let new = credentials.iter().find(|info| info.id == credential_id);
            let line = audit_writer.line(action, license.id).of(&license.account);
            vec![line.between(None::<&Value>, new)]
        });
        let license = self.apply(id, change, Some(fingerprint), entries).await?;
        Ok(Issued {
            license,
            credential_id,
            credential: minted.key,
        })
    }

    /// Ends one key of a license for ever.
    ///
    /// # Errors
    /// There is no such license, it has no such credential, or the store fails.
    pub async fn revoke_credential(
        &self,
        id: LicenseId,
        credential: CredentialId,
    ) -> Result<StoredLicense, Error> {
        let stored = self.license(id).await?;
        if !stored.credentials.iter().any(|info| info.id == credential) {
            let reason = format!("{credential} is not a credential of license {id}");
            return Err(Error::invalid("credential", reason));
        }
        let line = self
            .own_audit_writer()
            .line("credential.revoke", credential);
        let line = line.of(&stored.license.account);
        let entries = AuditEntries::of(vec![
            line.between(None::<&Value>, Some(&json!({ "license": id }))),
        ]);
        self.apply(
            id,
            LicenseChange::RevokeCredential(credential),
            None,
            entries,
        )
        .await
    }

    /// Changes a license in the store, and here before the other gates are told.
    async fn apply(
        &self,
        id: LicenseId,
        change: LicenseChange,
        added: Option<Fingerprint>,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<StoredLicense, Error> {
        let changed = self.store.change_license(id, change, entries).await?;
        let changed = changed.ok_or(Error::LicenseUnknown(id))?;
        self.changes.note_own(&changed, added);
        Ok(changed)
    }
}

impl Licensing {
    /// Returns a license.
    ///
    /// # Errors
    /// There is no such license, or the store fails.
    pub async fn license(&self, id: LicenseId) -> Result<StoredLicense, Error> {
        let stored = self.store.license(id).await?;
        stored.ok_or(Error::LicenseUnknown(id))
    }

    /// Returns up to `limit` (1 to 1,000) licenses in order of id, beginning after `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn licenses(
        &self,
        filter: LicenseFilter,
        after: Option<LicenseId>,
        limit: usize,
    ) -> Result<Vec<StoredLicense>, Error> {
        let limit = limit.clamp(1, 1_000);
        Ok(self.store.licenses(filter, after, limit).await?)
    }

    fn check(&self, update: &LicenseUpdate) -> Result<(), Error> {
        // Every field is named, so that a new one that nothing checks does not compile.
        let LicenseUpdate {
            plan,
            label,
            expires_at,
            // Checked by `limits_of`, which needs the limits before.
            remaining: _,
            refill: _,
            rate_limits: _,
            concurrency: _,
            permissions,
            allow_ips,
            device_slots,
            unlimited_devices: _,
            // They are within their bounds wherever they are.
            variables: _,
        } = update;
        if let Some(Some(name)) = plan
            && self.plans.load().plan(name).is_none()
        {
            return Err(Error::PlanUnknown(name.clone()));
        }
        validate::label(label.as_ref().and_then(Option::as_deref))?;
        validate::permissions(permissions.as_deref().unwrap_or_default())?;
        let instead = "or disable or revoke the license to end it now";
        validate::end(instead, expires_at.flatten(), self.clock.now())?;
        validate::device_slots(device_slots.flatten())?;
        validate::entries("allow_ips", allow_ips.as_ref().map_or(0, Vec::len))
    }

    /// Returns the balance of a license; `None`: its units are not counted.
    ///
    /// # Errors
    /// There is no such license, or the store fails.
    pub async fn balance(&self, id: LicenseId) -> Result<Option<BalanceView>, Error> {
        let state = self.cache.state(id);
        if let Some(state) = &state {
            self.queues.leases.settled(state).await;
        }
        // Read before the store's: what is leased between the two then counts as taken, never twice
        // as remaining.
        let held = state.and_then(|state| state.meter().leased_units());
        let Some(balance) = self.store.balance(id, self.clock.now()).await? else {
            self.license(id).await?;
            return Ok(None);
        };
        Ok(Some(BalanceView::of(&balance, held)))
    }

    /// Returns a further credential of a license. A generated one of an API key has the form of API
    /// keys, and one of an agent's token that of tokens.
    async fn mint_for(&self, stored: &StoredLicense, source: &KeySource) -> Result<Minted, Error> {
        let now = self.clock.now();
        let is = |info: &CredentialInfo| info.kind == ApiKey::KIND;
        let is_api_key = stored.credentials.iter().any(is);
        let generates = matches!(source, KeySource::Generate(_));
        if generates && stored.license.spec.agent.is_some() {
            return Ok(self.mint_agent_token(now));
        }
        if !(is_api_key && generates) {
            return Ok(self.mint(source, now));
        }
        let found = self.store.api_keys()?.api_key(stored.license.id).await?;
        let length = super::ApiKeyPolicy::default().key_length;
        Ok(match found {
            Some(found) => self.mint_api_key(&found.key, length, now).0,
            None => self.mint(source, now),
        })
    }

    /// Returns a license that can be changed.
    pub(super) async fn unrevoked(&self, id: LicenseId) -> Result<StoredLicense, Error> {
        let stored = self.unrevoked_or_wallet(id).await?;
        not_a_wallet(&stored)?;
        Ok(stored)
    }

    pub(super) async fn unrevoked_or_wallet(&self, id: LicenseId) -> Result<StoredLicense, Error> {
        let stored = self.license(id).await?;
        if stored.license.status == LicenseStatus::Revoked {
            return Err(Error::LicenseRevoked(id));
        }
        Ok(stored)
    }
}

/// Refuses a change of a wallet as if it were any license.
fn not_a_wallet(stored: &StoredLicense) -> Result<(), Error> {
    match stored.license.is_wallet() {
        true => Err(Error::WalletUnchangeable(stored.license.account.clone())),
        false => Ok(()),
    }
}
