//! The import of licenses that were made elsewhere, with their keys, devices and status.

use std::collections::{HashMap, HashSet};

use model::{
    AccountName, AppName, Credential, DeviceId, KeyDigest, KeyHash, LicenseId, LicenseSpec,
    LicenseStatus, Timestamp,
};
use store::KeyOwner;

use super::acting::AuditedLicensing;
use super::issue::{IssueRequest, KeySource, Prepared};
use crate::error::Error;
use crate::keys::Copier;

/// A request to take over licenses of one app. What is wrong with one of them holds up no other.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// The app that the licenses open.
    pub app: AppName,
    /// The account that asks, which must sell the app. `None`: whichever sells it (the command line
    /// on the gate's host).
    pub account: Option<AccountName>,
    /// The licenses, at most [`ImportRequest::MAX_ROWS`].
    pub rows: Vec<RowToImport>,
    /// Whether a sealed copy of each key is kept whatever the app says, as for a protocol that lists
    /// keys.
    pub keeps_copies: bool,
    /// Whether the rows are judged alone and nothing is made.
    pub dry_run: bool,
}

/// A license to be taken over.
#[derive(Clone, Debug)]
pub struct RowToImport {
    /// Its key.
    pub key: ExistingKey,
    /// Its terms. It may have ended already.
    pub spec: LicenseSpec,
    /// Its status.
    pub status: LicenseStatus,
    /// The devices that it is bound to.
    pub devices: Vec<DeviceId>,
}

/// A key that somebody has already.
#[derive(Clone, Debug)]
pub enum ExistingKey {
    /// The key itself. One of AuthForge's shape is kept by its text with dashes.
    Text(Credential),
    /// The SHA-256 of its text, where nobody else knows it.
    Digest(KeyDigest),
}

/// What became of a row.
#[derive(Debug)]
pub enum ImportedRow {
    /// A license was made, with this id; `None`: it would be made.
    Made(Option<LicenseId>),
    /// The app has a license with this key already, which was left as it is.
    There(LicenseId),
    /// The row has an error, and nothing was made of it.
    Bad(Error),
}

/// A row that was judged, with what is needed to make it.
enum Judged {
    New(Box<Prepared>),
    Known(ImportedRow),
}

impl ImportRequest {
    /// The largest number of rows of one request.
    pub const MAX_ROWS: usize = 500;
}

impl AuditedLicensing {
    /// Takes licenses over, each with its key, devices and status, or not at all. Returns what
    /// became of each row, in order. A license whose key is there already is left as it is, so that
    /// the same request may be made again after any failure.
    ///
    /// All that can be made are made in one transaction. Costs one question to the store for all
    /// keys.
    ///
    /// # Errors
    /// There are too many rows, the app is unknown, or the store fails: then nothing was made.
    pub async fn import(&self, request: &ImportRequest) -> Result<Vec<ImportedRow>, Error> {
        // Whoever takes over the same keys at the same time makes an attempt fail. Those keys are
        // there in the next.
        const ATTEMPTS: usize = 3;
        if request.rows.len() > ImportRequest::MAX_ROWS {
            let reason = format!("send at most {} at once", ImportRequest::MAX_ROWS);
            return Err(Error::invalid("rows", reason));
        }
        let mut attempt = 1;
        loop {
            match self.try_import(request).await {
                Err(Error::Exists(_)) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    async fn try_import(&self, request: &ImportRequest) -> Result<Vec<ImportedRow>, Error> {
        let judged = self.judge(request).await?;
        if request.dry_run {
            let shown = |row| match row {
                Judged::New(_) => ImportedRow::Made(None),
                Judged::Known(row) => row,
            };
            return Ok(judged.into_iter().map(shown).collect());
        }
        let (mut rows, mut new) = (Vec::with_capacity(judged.len()), Vec::new());
        for row in judged {
            rows.push(match row {
                Judged::New(prepared) => {
                    let id = prepared.license.id;
                    new.push(*prepared);
                    ImportedRow::Made(Some(id))
                }
                Judged::Known(row) => row,
            });
        }
        if !new.is_empty() {
            self.keep_licenses(new).await?;
        }
        Ok(rows)
    }

    /// Judges the rows in order: what is wrong with each, and which keys are there already.
    async fn judge(&self, request: &ImportRequest) -> Result<Vec<Judged>, Error> {
        let now = self.clock.now();
        let account = self.seller(&request.app, request.account.as_ref())?;
        let copier = match &self.copies {
            Some(copies) if request.keeps_copies => Some(copies.copier().await?),
            _ => self.copier(&request.app).await?,
        };
        let prepare = |row: &RowToImport| self.prepare_row(request, row, copier.as_ref(), now);
        let prepared: Vec<_> = request.rows.iter().map(prepare).collect();
        let hashes = prepared.iter().flatten().map(|one| one.minted.new.hash);
        let owners = self.store.owners_of_keys(hashes.collect()).await?;
        let owners: HashMap<KeyHash, KeyOwner> = owners
            .into_iter()
            .map(|owner| (owner.hash, owner))
            .collect();
        let mut seen = HashSet::new();
        let judge = |prepared: Result<Prepared, Error>| {
            let one = match prepared {
                Ok(one) => one,
                Err(error) => return Judged::Known(ImportedRow::Bad(error)),
            };
            let hash = one.minted.new.hash;
            if !seen.insert(hash) {
                let reason = "another row above has this key: leave one of them out";
                return Judged::Known(ImportedRow::Bad(Error::invalid("key", reason)));
            }
            match owners.get(&hash) {
                None => Judged::New(Box::new(one)),
                Some(owner) if owner.app == request.app && owner.account == account => {
                    Judged::Known(ImportedRow::There(owner.license_id))
                }
                Some(_) => {
                    let reason = "this key belongs to another license already, which may have ended: give this one a key of its own";
                    Judged::Known(ImportedRow::Bad(Error::invalid("key", reason)))
                }
            }
        };
        Ok(prepared.into_iter().map(judge).collect())
    }

    fn prepare_row(
        &self,
        request: &ImportRequest,
        row: &RowToImport,
        copier: Option<&Copier>,
        now: Timestamp,
    ) -> Result<Prepared, Error> {
        let issue = IssueRequest {
            account: request.account.clone(),
            spec: row.spec.clone(),
            key: row.key.source(),
            status: row.status,
            devices: row.devices.clone(),
            keeps_copy: request.keeps_copies,
            ..IssueRequest::for_app(request.app.clone())
        };
        let mut prepared = self.prepare(&issue, copier, now)?;
        Ok(prepared.remove(0))
    }
}

impl ExistingKey {
    fn source(&self) -> KeySource {
        match self {
            Self::Text(key) => {
                let dashed = Credential::with_dashes(key.expose());
                KeySource::Import(dashed.unwrap_or_else(|| key.clone()))
            }
            Self::Digest(digest) => KeySource::ImportDigest(*digest),
        }
    }
}
