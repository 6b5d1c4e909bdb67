//! The issuing of licenses.

use std::collections::HashSet;

use model::{
    AccountName, AppName, Credential, CredentialId, CredentialInfo, CredentialStatus, Device,
    DeviceId, Fingerprint, KeyDigest, KeyFormat, KeyHash, License, LicenseId, LicenseSpec,
    LicenseStatus, Limits, Permission, Timestamp,
};
use serde_json::Value;
use store::{AuditEntries, ChangeNumber, NewCredential, NewLicense, StoredLicense};

use super::acting::{AuditedLicensing, shown};
use super::validate;
use crate::error::Error;
use crate::keys::Copier;
use crate::licensing::Licensing;

/// A request for licenses.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// The app that the licenses open.
    pub app: AppName,
    /// The account that asks, which must sell the app. `None`: whichever sells it (the command line
    /// on the gate's host).
    pub account: Option<AccountName>,
    /// The terms of the licenses.
    pub spec: LicenseSpec,
    /// The source of their keys.
    pub key: KeySource,
    /// The status of the licenses at first.
    pub status: LicenseStatus,
    /// The devices that each is bound to from the start, at most
    /// [`LicenseSpec::MAX_DEVICE_SLOTS`].
    pub devices: Vec<DeviceId>,
    /// The number of licenses, at most 1,000; 1 with a key that exists.
    pub quantity: u32,
    /// Whether a sealed copy of each key is kept whatever the app says, as for a protocol that lists
    /// keys.
    pub keeps_copy: bool,
}

/// The source of a key.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A new key is generated in this format.
    Generate(KeyFormat),
    /// The key exists.
    Import(Credential),
    /// The key exists, and only the SHA-256 of its text is known.
    ImportDigest(KeyDigest),
}

/// A license with a new key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The license and all its credentials. Of several that are issued at once, the version is that
    /// of the last.
    pub license: StoredLicense,
    /// The id of the new credential.
    pub credential_id: CredentialId,
    /// The key, to be shown this once; `None`: only its digest is known.
    pub credential: Option<Credential>,
}

/// The reason why none of several licenses was issued.
#[derive(Debug)]
pub struct NotIssued {
    /// The index of the request that is to blame, from 0.
    pub at: usize,
    /// The error of that request.
    pub error: Error,
}

/// A license before it is kept.
pub(super) struct Prepared {
    pub(super) license: License,
    pub(super) devices: Vec<Device>,
    pub(super) minted: Minted,
}

/// A new credential for the store, and its key.
pub(crate) struct Minted {
    pub(crate) new: NewCredential,
    pub(crate) key: Option<Credential>,
}

impl IssueRequest {
    /// Returns a request for one license of an app, with a key of our own format and no other
    /// terms.
    #[must_use]
    pub fn for_app(app: AppName) -> Self {
        Self {
            app,
            account: None,
            spec: LicenseSpec::default(),
            key: KeySource::Generate(KeyFormat::Tallygate),
            status: LicenseStatus::Active,
            devices: Vec::new(),
            quantity: 1,
            keeps_copy: false,
        }
    }

    fn validate(&self) -> Result<(), Error> {
        const MAX_QUANTITY: u32 = 1_000;
        validate::text("user", self.spec.user.as_deref())?;
        validate::label(self.spec.label.as_deref())?;
        validate::permissions(&self.spec.permissions)?;
        validate::entries("allow_ips", self.spec.allow_ips.len())?;
        validate::limits(&self.spec.limits, &Limits::default())?;
        validate::device_slots(self.spec.device_slots)?;
        validate::devices(&self.devices, self.spec.device_limit())?;
        let imported = !matches!(self.key, KeySource::Generate(_));
        if imported && self.spec.agent.is_some() {
            let reason = "an agent's token gets a secret of its own: leave the key out";
            return Err(Error::invalid("key", reason));
        }
        match self.quantity {
            0 => Err(Error::invalid("quantity", "must be at least 1")),
            quantity if quantity > MAX_QUANTITY => Err(Error::invalid(
                "quantity",
                format!("must be at most {MAX_QUANTITY}"),
            )),
            quantity if quantity > 1 && imported => {
                let reason = "must be 1 with a key that exists: a key belongs to one license";
                Err(Error::invalid("quantity", reason))
            }
            _ => Ok(()),
        }
    }
}

impl AuditedLicensing {
    /// Issues licenses, all or none.
    ///
    /// # Errors
    /// A field has a value that is not allowed, the app or plan is unknown, the key exists already,
    /// or the store fails.
    pub async fn issue(&self, request: IssueRequest) -> Result<Vec<Issued>, Error> {
        let issued = self.issue_all(vec![request]).await;
        issued.map_err(|refused| refused.error)
    }

    /// Issues licenses of several requests in their order, all or none.
    ///
    /// # Errors
    /// The errors of [`AuditedLicensing::issue`], with the place of the request that is to blame,
    /// or of the first one if none is.
    pub async fn issue_all(&self, requests: Vec<IssueRequest>) -> Result<Vec<Issued>, NotIssued> {
        let now = self.clock.now();
        let keeps_copy =
            |request: &IssueRequest| request.keeps_copy || self.copies_for(&request.app).is_some();
        let copier = match &self.copies {
            Some(copies) if requests.iter().any(keeps_copy) => copies.copier().await.map(Some),
            _ => Ok(None),
        };
        let copier = copier.map_err(|error| NotIssued { at: 0, error })?;
        let (mut made, mut imported) = (Vec::new(), Vec::new());
        for (at, request) in requests.iter().enumerate() {
            let in_time = validate::end("or none at all", request.spec.expires_at, now);
            let prepared = in_time.and_then(|()| self.prepare(request, copier.as_ref(), now));
            let prepared = prepared.map_err(|error| NotIssued { at, error })?;
            if let Some(one) = prepared.first() {
                let payer = self.check_payer(&one.license).await;
                payer.map_err(|error| NotIssued { at, error })?;
            }
            if !matches!(request.key, KeySource::Generate(_)) {
                imported.extend(prepared.iter().map(|one| (at, one.minted.new.hash)));
            }
            made.extend(prepared);
        }
        if let Some(at) = repeated(&imported) {
            let error = Error::Exists("a credential with this key");
            return Err(NotIssued { at, error });
        }
        match self.keep_licenses(made).await {
            Ok(issued) => Ok(issued),
            Err(error) => Err(self.blame(error, &imported).await),
        }
    }

    /// Returns the licenses of a request with their credentials. They may have ended already.
    pub(super) fn prepare(
        &self,
        request: &IssueRequest,
        copier: Option<&Copier>,
        now: Timestamp,
    ) -> Result<Vec<Prepared>, Error> {
        request.validate()?;
        let account = match request.app.is_every() && request.spec.agent.is_some() {
            true => self.api_key_scope(request.account.as_ref(), None)?.0,
            false => self.seller(&request.app, request.account.as_ref())?,
        };
        if let Some(plan) = &request.spec.plan
            && self.plans.load().plan(plan).is_none()
        {
            return Err(Error::PlanUnknown(plan.clone()));
        }
        self.check_served(&request.app, &account, &request.spec.permissions)?;
        let make = |_| {
            let mut minted = match request.spec.agent {
                Some(_) => self.mint_agent_token(now),
                None => self.mint(&request.key, now),
            };
            let license = license(request, account.clone(), now);
            match copier.zip(minted.key.as_ref()) {
                Some((copier, key)) if request.keeps_copy && request.spec.agent.is_none() => {
                    minted.new.sealed = Some(copier.copy(license.id, minted.new.info.id, key));
                }
                // A token of an agent is shown once, whatever else its app does.
                _ if request.spec.agent.is_some() => {}
                _ => self.keep_copy(&mut minted, copier, &license),
            }
            let bound = |id: &DeviceId| Device {
                id: id.clone(),
                bound_at: now,
            };
            Prepared {
                license,
                devices: request.devices.iter().map(bound).collect(),
                minted,
            }
        };
        Ok((0..request.quantity).map(make).collect())
    }

    /// Keeps licenses, all or none.
    pub(super) async fn keep_licenses(&self, made: Vec<Prepared>) -> Result<Vec<Issued>, Error> {
        let (mut new, mut issued, mut fingerprints) = (Vec::new(), Vec::new(), Vec::new());
        for one in made {
            let Prepared {
                license,
                devices,
                minted,
            } = one;
            fingerprints.push((license.id, minted.fingerprint()));
            let stored = StoredLicense {
                license: license.clone(),
                credentials: vec![minted.new.info.clone()],
                devices: devices.clone(),
                version: ChangeNumber::default(),
            };
            issued.push((stored, minted.new.info.id, minted.key));
            new.push(NewLicense {
                license,
                credentials: vec![minted.new],
                devices,
            });
        }
        let audit_writer = self.own_audit_writer();
        let line = |NewLicense { license, .. }: &NewLicense| {
            let line = audit_writer.line("license.create", license.id);
            let line = line.of(&license.account);
            line.between(None::<&Value>, Some(&shown(license)))
        };
        let note = AuditEntries::of(new.iter().map(line).collect());
        let version = self.store.create_licenses(new, note).await?;
        self.changes.note_created(version, &fingerprints);
        let with_key = |(stored, credential_id, credential)| Issued {
            license: StoredLicense { version, ..stored },
            credential_id,
            credential,
        };
        Ok(issued.into_iter().map(with_key).collect())
    }

    /// Returns the place of the request that the store refused: the first whose key exists. None
    /// was carried out.
    async fn blame(&self, error: Error, imported: &[(usize, KeyHash)]) -> NotIssued {
        if let Error::Exists(_) = error {
            for (at, hash) in imported {
                if let Ok(Some(_)) = self.store.license_by_key(*hash).await {
                    return NotIssued { at: *at, error };
                }
            }
        }
        NotIssued { at: 0, error }
    }
}

/// Returns the place of the first request for a key that an earlier one of them names, too.
fn repeated(imported: &[(usize, KeyHash)]) -> Option<usize> {
    let mut seen = HashSet::new();
    let again = imported.iter().find(|(_, hash)| !seen.insert(*hash));
    again.map(|(at, _)| *at)
}

impl Licensing {
    /// Returns the account that sells an app. It must be `asking`, if that is given: an app of
    /// another account is unknown to it.
    pub(super) fn seller(
        &self,
        app: &AppName,
        asking: Option<&AccountName>,
    ) -> Result<AccountName, Error> {
        let plans = self.plans.load();
        let terms = plans
            .app(app)
            .filter(|terms| asking.is_none_or(|account| *account == terms.account));
        match terms {
            Some(terms) => Ok(terms.account.clone()),
            None => Err(Error::AppUnknown(app.clone())),
        }
    }

    /// Refuses a permission that no route of the app could meet.
    pub(super) fn check_served(
        &self,
        app: &AppName,
        account: &AccountName,
        permissions: &[Permission],
    ) -> Result<(), Error> {
        match self.plans.load().unserved(app, account, permissions) {
            None => Ok(()),
            Some(reason) => Err(Error::invalid("permissions", reason)),
        }
    }

    pub(crate) fn mint(&self, source: &KeySource, now: Timestamp) -> Minted {
        let (kind, key, hash) = match source {
            KeySource::Generate(format) => {
                let key = Credential::generate(*format);
                let hash = self.hasher.hash(key.expose().as_bytes());
                (KeyFormat::of(key.expose()), Some(key), hash)
            }
            KeySource::Import(key) => {
                let hash = self.hasher.hash(key.expose().as_bytes());
                (KeyFormat::of(key.expose()), Some(key.clone()), hash)
            }
            KeySource::ImportDigest(digest) => {
                (None, None, self.hasher.hash_digest(digest.as_bytes()))
            }
        };
        let info = CredentialInfo {
            id: CredentialId::generate(),
            kind: kind.unwrap_or(KeyFormat::Imported).as_str().to_owned(),
            prefix: key
                .as_ref()
                .map_or_else(String::new, |key| key.visible_prefix().to_owned()),
            status: CredentialStatus::Active,
            created_at: now,
            expires_at: None,
        };
        Minted {
            new: NewCredential {
                info,
                hash,
                sealed: None,
            },
            key,
        }
    }
}

impl Minted {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        KeyHash::fingerprint(&self.new.hash)
    }
}

fn license(request: &IssueRequest, account: AccountName, now: Timestamp) -> License {
    License {
        id: LicenseId::generate(),
        account,
        app: request.app.clone(),
        status: request.status,
        created_at: now,
        spec: request.spec.clone(),
    }
}
