//! The operations on licenses that software validates: look-ups by key, keys that are listed, and
//! devices.

use model::{
    ACCESS_TOKEN_KIND, ApiKey, AppName, Credential, CredentialStatus, DeviceId, LicenseId,
    LicenseStatus,
};
use serde_json::{Value, json};
use store::{AuditEntries, Binding, Changed, NewDevice, StoredLicense};
use zeroize::Zeroizing;

use crate::audit::RepeatedEvent;
use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::{AuditedLicensing, masked, rank};

/// A license that was found by one of its keys.
#[derive(Clone, PartialEq, Eq)]
pub struct LicenseOfKey {
    /// The license as the store has it.
    pub stored: StoredLicense,
    key: Zeroizing<String>,
}

impl LicenseOfKey {
    /// Returns the text of the key in the spelling in which it is one: without dashes only if it was
    /// brought in that way.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl std::fmt::Debug for LicenseOfKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let license = &self.stored.license;
        f.debug_struct("LicenseOfKey")
            .field("license", &license.id)
            .finish_non_exhaustive()
    }
}

impl Licensing {
    /// Returns the license of a key as the store has it now, whatever its status; `None`: no
    /// license has it. A text that is no key, but one of AuthForge's shape in another spelling,
    /// stands for that key. API keys, access tokens, tokens of agents and keys that have ended find
    /// nothing.
    ///
    /// # Errors
    /// The store fails.
    pub async fn license_of_key(&self, text: &str) -> Result<Option<LicenseOfKey>, Error> {
        let meant = Credential::meant_by(text);
        let texts = [Some(text), meant.as_ref().map(Credential::expose)];
        for text in texts.into_iter().flatten() {
            let hash = self.hasher.hash(text.as_bytes());
            let Some(found) = self.store.license_by_key(hash).await? else {
                continue;
            };
            let credential = &found.credential;
            let is_key = credential.kind != ApiKey::KIND
                && credential.kind != ACCESS_TOKEN_KIND
                && found.license.spec.agent.is_none();
            let now = self.clock.now();
            let lives = credential.status == CredentialStatus::Active
                && credential.expires_at.is_none_or(|end| end > now);
            if is_key && (lives || found.license.status == LicenseStatus::Revoked) {
                let stored = self.store.license(found.license.id).await?;
                let key = Zeroizing::new(text.to_owned());
                return Ok(stored.map(|stored| LicenseOfKey { stored, key }));
            }
        }
        Ok(None)
    }
}

impl AuditedLicensing {
    /// Returns the text by which a license is shown in a list: its newest key in force, one of
    /// AuthForge's shape before others, where a copy was kept, otherwise what may be shown of it,
    /// with stars for the rest. The audit log records that a key was shown.
    ///
    /// # Errors
    /// The store fails.
    pub async fn listed_key(&self, stored: &StoredLicense) -> Result<String, Error> {
        let now = self.clock.now();
        let active = stored.credentials.iter();
        let active = active.filter(|info| info.status == CredentialStatus::Active);
        let Some(info) = active.max_by_key(|info| rank(info, now)) else {
            return Ok("****".to_owned());
        };
        let Some(key) = self.copy_of(stored, info).await? else {
            return Ok(masked(info));
        };
        let shown = RepeatedEvent::KeyShown {
            credential: info.id,
            account: stored.license.account.clone(),
        };
        self.audit.add_repeated(self.actor(), shown).await;
        Ok(key.expose().to_owned())
    }

    /// Binds a device to a license, if it has a free slot. In force here when this returns.
    ///
    /// # Errors
    /// There is no such license, or the store fails.
    pub async fn bind_device(
        &self,
        id: LicenseId,
        device: DeviceId,
        frees_others_once: bool,
    ) -> Result<(Binding, StoredLicense), Error> {
        let entries = self.bound_entries(id, &device);
        let new = NewDevice {
            license_id: id,
            device,
            at: self.clock.now(),
            frees_others_once,
        };
        let software = self.store.software()?;
        let done = software.bind_device(new, entries).await?;
        let (binding, stored) = done.ok_or(Error::LicenseUnknown(id))?;
        if matches!(binding, Binding::Bound | Binding::BoundAfterReset) {
            self.changes.note_own(&stored, None);
        }
        Ok((binding, stored))
    }

    /// Returns the line of a device that is bound to a license.
    pub(super) fn bound_entries(
        &self,
        id: LicenseId,
        device: &DeviceId,
    ) -> AuditEntries<Changed<StoredLicense>> {
        let (audit_writer, bound) = (self.own_audit_writer(), device.clone());
        AuditEntries::from_result(move |changed: &Changed<StoredLicense>| {
            let Changed { before, after } = changed;
            let line = || {
                let line = audit_writer.line("device.bind", id);
                let line = line.of(&after.license.account);
                let count = |stored: &StoredLicense| json!({ "devices": stored.devices.len() });
                let mut new = count(after);
                new["bound"] = json!(bound);
                line.between(Some(&count(before)), Some(&new))
            };
            let changed = before.devices != after.devices;
            changed.then(line).into_iter().collect()
        })
    }

    /// Frees the devices of all licenses of an app. Returns how many licenses had any. Done in
    /// portions: what comes to grief half way is done as far as it came, and can be asked for again.
    ///
    /// # Errors
    /// There is no such app, or the store fails.
    pub async fn reset_devices_of(&self, app: &AppName) -> Result<u64, Error> {
        const PORTION: usize = 500;
        let account = self.software_app_named(app).await?.account.clone();
        let software = self.store.software()?;
        let (mut after, mut count) = (None, 0);
        loop {
            let (audit_writer, account) = (self.own_audit_writer(), account.clone());
            let entries = AuditEntries::from_result(move |changed: &Vec<LicenseId>| {
                let line = |id: &LicenseId| {
                    let line = audit_writer.line("license.reset_devices", id);
                    line.of(&account).between(None::<&Value>, None::<&Value>)
                };
                changed.iter().map(line).collect()
            });
            let (next, changed) = software
                .reset_devices_of(app, after, PORTION, entries)
                .await?;
            count += changed;
            if changed > 0 {
                self.changes.learn_now().await;
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(count),
            }
        }
    }
}
