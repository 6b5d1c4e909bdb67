//! The operations on offline files, by which software runs without a connection. The store holds
//! each with a sealed copy, so that a device that asks again gets the same bytes.

use model::{DeviceId, LicenseId, Timestamp};
use serde_json::{Value, json};
use store::{AuditEntries, OfflineActivation, OfflineFile, SealedKey, StoredLicense};

use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::AuditedLicensing;

/// An offline file to be kept.
#[derive(Clone, Debug)]
pub struct NewOfflineFile<'a> {
    /// The id, which stands in the file.
    pub id: u128,
    /// The license.
    pub license: &'a StoredLicense,
    /// The device that has it made by itself, and the number of devices of the license that may
    /// ever do so; `None`: the seller has it made.
    pub activated_by: Option<(DeviceId, u32)>,
    /// The devices that it is for; empty: any.
    pub devices: Vec<DeviceId>,
    /// The time at which it was made.
    pub issued_at: Timestamp,
    /// The time at which it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The text of the file.
    pub text: &'a str,
}

/// The number of files that are read at once.
const PAGE: usize = 200;

impl Licensing {
    /// Returns up to `limit` offline files of a license in order of id, after `after`.
    ///
    /// # Errors
    /// The store fails.
    pub async fn offline_files(
        &self,
        id: LicenseId,
        after: Option<u128>,
        limit: usize,
    ) -> Result<Vec<OfflineFile>, Error> {
        let limit = limit.clamp(1, 1_000);
        Ok(self
            .store
            .software()?
            .offline_files(id, after, limit)
            .await?)
    }

    /// Returns the offline file that a device of a license had made by itself; `None`: none. Reads
    /// the files of the license.
    ///
    /// # Errors
    /// The store fails.
    pub async fn offline_file_of(
        &self,
        id: LicenseId,
        device: &DeviceId,
    ) -> Result<Option<OfflineFile>, Error> {
        let mut after = None;
        loop {
            let page = self.offline_files(id, after, PAGE).await?;
            let found = page
                .iter()
                .find(|file| file.activated_by.as_ref() == Some(device));
            if let Some(file) = found {
                return Ok(Some(file.clone()));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id),
                _ => return Ok(None),
            }
        }
    }

    /// Returns the text of an offline file; `None`: its sealed copy was changed.
    #[must_use]
    pub fn offline_file_text(&self, file: &OfflineFile) -> Option<String> {
        let id = file.id.to_be_bytes();
        let opened = self.open_answer(&name(&id), file.sealed.as_bytes())?;
        String::from_utf8(opened).ok()
    }
}

impl AuditedLicensing {
    /// Keeps an offline file, unless its device has one or too many devices of the license had one.
    ///
    /// # Errors
    /// The store fails.
    pub async fn keep_offline_file(
        &self,
        new: NewOfflineFile<'_>,
    ) -> Result<OfflineActivation, Error> {
        let license = &new.license.license;
        let line = self
            .own_audit_writer()
            .line("offline-file.create", license.id);
        let shown = json!({
            "id": model::CallId::from_u128(new.id),
            "devices": new.devices.len(),
            "activated_by": new.activated_by.as_ref().map(|(device, _)| device),
            "expires_at": new.expires_at,
        });
        let line = line.of(&license.account);
        let entries = AuditEntries::of(vec![line.between(None::<&Value>, Some(&shown))]);
        let id = new.id.to_be_bytes();
        let sealed = self.seal_answer(&name(&id), new.text.as_bytes());
        let (activated_by, most) = new.activated_by.unzip();
        let file = OfflineFile {
            id: new.id,
            license_id: license.id,
            activated_by,
            devices: new.devices,
            issued_at: new.issued_at,
            expires_at: new.expires_at,
            sealed: SealedKey::new(sealed),
        };
        let software = self.store.software()?;
        Ok(software.add_offline_file(file, most, entries).await?)
    }
}

/// Returns the name that the text of a file is sealed under.
fn name(id: &[u8; 16]) -> [&[u8]; 2] {
    [b"offline file", id]
}
