//! The operations that show keys again, for apps that ask for it.

use model::{
    AppName, Credential, CredentialId, CredentialInfo, CredentialStatus, KeyFormat, License,
    LicenseId, LicenseStatus, Timestamp,
};
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
        if license.status == LicenseStatus::Revoked {
            return Ok(None);
        }
        let now = self.clock.now();
        let in_force = |id: CredentialId| {
            stored.credentials.iter().any(|info| {
                let active = info.status == CredentialStatus::Active;
                info.id == id && active && info.expires_at.is_none_or(|end| end > now)
            })
        };
        let Some((id, key)) = self.recovered(license, in_force).await? else {
            return Ok(None);
        };
        let shown = RepeatedEvent::KeyShown {
            credential: id,
            account: license.account.clone(),
        };
        self.audit.add_repeated(self.actor(), shown).await;
        Ok(Some(key))
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
    /// Returns the key of a license for a message to its seller: that with which it was `used`, else
    /// the newest of those that are in force, one of AuthForge's shape before others. It is whole
    /// where a copy of it is kept, else what may be shown of it, with stars for the rest; `None`: the
    /// license has no key. It leaves no line in the audit log, since whoever has the messages sent is
    /// in it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn key_for_seller(
        &self,
        stored: &StoredLicense,
        used: Option<CredentialId>,
    ) -> Result<Option<String>, Error> {
        let now = self.clock.now();
        let used = |info: &CredentialInfo| used == Some(info.id);
        let all = stored.credentials.iter();
        let Some(info) = all.max_by_key(|info| (used(info), rank(info, now))) else {
            return Ok(None);
        };
        let whole = match self.copy_of(stored, info).await? {
            None if stored.license.status == LicenseStatus::Revoked => {
                self.told_copy_of(stored.license.id, info.id).await?
            }
            copy => copy,
        };
        Ok(Some(whole.map_or_else(
            || masked(info),
            |key| key.expose().to_owned(),
        )))
    }

    /// Returns a key of a license of which a copy is kept, whether its app asks for copies or the
    /// key was made for a protocol that shows keys; `None`: none is.
    pub(crate) async fn copy_of(
        &self,
        stored: &StoredLicense,
        info: &CredentialInfo,
    ) -> Result<Option<Credential>, Error> {
        let license = stored.license.id;
        let Some(copies) = &self.copies else {
            return Ok(None);
        };
        let sealed = self.store.sealed_keys(license).await?;
        let Some((_, sealed)) = sealed.into_iter().find(|(id, _)| *id == info.id) else {
            return Ok(None);
        };
        let opened = copies.open(license, info.id, &sealed).await?;
        if opened.is_none() {
            warn_of_copy(license, info.id);
        }
        Ok(opened)
    }

    /// Returns a key of a license that was revoked for good of which a copy is kept for its events;
    /// `None`: none is.
    async fn told_copy_of(
        &self,
        license: LicenseId,
        credential: CredentialId,
    ) -> Result<Option<Credential>, Error> {
        let Some(copies) = &self.copies else {
            return Ok(None);
        };
        let Ok(kept) = self.store.webhooks() else {
            return Ok(None);
        };
        let told = kept.told_keys(license).await?;
        match told.into_iter().find(|(id, _)| *id == credential) {
            Some((_, sealed)) => copies.open(license, credential, &sealed).await,
            None => Ok(None),
        }
    }

    /// Returns the newest key of a license of which a copy was kept, among the credentials that are
    /// `wanted`.
    async fn recovered(
        &self,
        license: &License,
        wanted: impl Fn(CredentialId) -> bool,
    ) -> Result<Option<(CredentialId, Credential)>, Error> {
        let Some(copies) = self.copies_for(&license.app) else {
            return Ok(None);
        };
        for (id, sealed) in self.store.sealed_keys(license.id).await? {
            if !wanted(id) {
                continue;
            }
            match copies.open(license.id, id, &sealed).await? {
                Some(key) => return Ok(Some((id, key))),
                None => warn_of_copy(license.id, id),
            }
        }
        Ok(None)
    }

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

/// Returns how well a key stands for its license in AuthForge's words: the greatest does.
pub(crate) fn rank(info: &CredentialInfo, now: Timestamp) -> (bool, bool, CredentialId) {
    let is_active = info.status == CredentialStatus::Active;
    let lives = is_active && info.expires_at.is_none_or(|end| end > now);
    (lives, info.kind == KeyFormat::Authforge.as_str(), info.id)
}

/// Returns what may be shown of a key of which no copy is kept, with stars for the rest.
pub(crate) fn masked(info: &CredentialInfo) -> String {
    match info.kind == KeyFormat::Authforge.as_str() {
        true => format!("{}-****-****-****", info.prefix),
        false => format!("{}****", info.prefix),
    }
}

fn warn_of_copy(license: LicenseId, credential: CredentialId) {
    tracing::error!(%license, %credential, "a copy of a key does not open, somebody changed it or put it there: rotate the key");
}
