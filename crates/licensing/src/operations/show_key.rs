//! The operations that show keys again, for apps that ask for it.

use model::{AppName, Credential, CredentialStatus, License, LicenseStatus};
use serde_json::{Value, json};
use store::{AuditEntries, StoredLicense};

use super::acting::AuditedLicensing;

use super::issue::Minted;
use crate::audit::RepeatedEvent;
use crate::error::Error;
use crate::keys::{Copier, KeyCopies};
use crate::licensing::Licensing;

impl AuditedLicensing {
    /// Returns the key of a license whose app shows keys again: that of its newest credential in
    /// force of which a copy was kept; `None`: there is none. The audit log records that it was
    /// shown.
    ///
    /// # Errors
    /// The store fails.
    pub async fn show_key(&self, stored: &StoredLicense) -> Result<Option<Credential>, Error> {
        let license = &stored.license;
        let Some(copies) = self.copies_for(&license.app) else {
            return Ok(None);
        };
        if license.status == LicenseStatus::Revoked {
            return Ok(None);
        }
        let now = self.clock.now();
        for (id, sealed) in self.store.sealed_keys(license.id).await? {
            let in_force = stored.credentials.iter().any(|info| {
                let active = info.status == CredentialStatus::Active;
                info.id == id && active && info.expires_at.is_none_or(|end| end > now)
            });
            if !in_force {
                continue;
            }
            let Some(key) = copies.open(license.id, id, &sealed).await? else {
                tracing::error!(license = %license.id, credential = %id, "a copy of a key does not open, somebody changed it or put it there: rotate the key");
                continue;
            };
            let shown = RepeatedEvent::KeyShown {
                credential: id,
                account: license.account.clone(),
            };
            self.audit.add_repeated(self.actor(), shown).await;
            return Ok(Some(key));
        }
        Ok(None)
    }

    /// Makes the key that copies of keys are sealed with from now on. Returns its number. Older
    /// copies still open.
    ///
    /// # Errors
    /// There were too many keys, or the store fails.
    pub async fn rotate_seal_key(&self) -> Result<u32, Error> {
        let Some(copies) = &self.copies else {
            let reason = "is not open here, so that nothing is sealed with it";
            return Err(Error::invalid("keyring", reason));
        };
        let audit_writer = self.own_audit_writer();
        let rotated = copies.rotate(|number| {
            let line = audit_writer.line("seal-key.rotate", number);
            let new = json!({ "number": number });
            AuditEntries::of(vec![line.between(None::<&Value>, Some(&new))])
        });
        rotated.await
    }
}

impl Licensing {
    /// Returns the sealer of copies of the keys of an app; `None`: the app keeps none.
    pub(super) async fn copier(&self, app: &AppName) -> Result<Option<Copier>, Error> {
        match self.copies_for(app) {
            Some(copies) => copies.copier().await.map(Some),
            None => Ok(None),
        }
    }

    /// Adds a sealed copy to a new key, if it is known and the app of its license wants that.
    pub(super) fn keep_copy(
        &self,
        minted: &mut Minted,
        copier: Option<&Copier>,
        license: &License,
    ) {
        let copier = copier.filter(|_| self.copies_for(&license.app).is_some());
        if let Some((copier, key)) = copier.zip(minted.key.as_ref()) {
            let new = &mut minted.new;
            new.sealed = Some(copier.copy(license.id, new.info.id, key));
        }
    }

    pub(super) fn copies_for(&self, app: &AppName) -> Option<&KeyCopies> {
        let plans = self.plans.load();
        let recovers = plans.app(app).is_some_and(|terms| terms.key_recovery);
        self.copies.as_ref().filter(|_| recovers)
    }
}
