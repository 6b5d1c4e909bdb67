//! The operations on offline files, by which software runs without a connection. The store holds
//! each with a sealed copy, so that a device that asks again gets the same bytes.

use model::{DeviceId, License, LicenseId, Timestamp};
use serde_json::{Value, json};
use store::{
    AuditEntries, Binding, NewActivation, NewDevice, OfflineActivation, OfflineFile, SealedKey,
};

use crate::error::Error;
use crate::licensing::Licensing;
use crate::operations::AuditedLicensing;

/// An offline file to be kept.
#[derive(Clone)]
pub struct NewOfflineFile<'a> {
    /// The id, which stands in the file.
    pub id: u128,
    /// The license.
    pub license: &'a License,
    /// The devices that it is for; empty: any.
    pub devices: Vec<DeviceId>,
    /// The time at which it was made.
    pub issued_at: Timestamp,
    /// The time at which it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The text of the file.
    pub text: &'a str,
}

/// A device that has an offline file made by itself.
#[derive(Clone, Debug)]
pub struct ActivatingDevice {
    /// The device.
    pub id: DeviceId,
    /// The number of devices of the license that may have one made by themselves in its whole life.
    pub most: u32,
    /// Whether it frees all others if it finds no free slot, once in the life of the license.
    pub frees_others_once: bool,
}

impl std::fmt::Debug for NewOfflineFile<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewOfflineFile")
            .field("id", &model::CallId::from_u128(self.id))
            .field("license", &self.license.id)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

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

    /// Returns the offline file that a device of a license had made by itself; `None`: none.
    ///
    /// # Errors
    /// The store fails.
    pub async fn offline_file_of(
        &self,
        id: LicenseId,
        device: &DeviceId,
    ) -> Result<Option<OfflineFile>, Error> {
        Ok(self.store.software()?.offline_file_of(id, device).await?)
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
    /// Keeps an offline file that a seller has made.
    ///
    /// # Errors
    /// The store fails.
    pub async fn keep_offline_file(&self, new: NewOfflineFile<'_>) -> Result<(), Error> {
        let (file, entries) = self.offline_file(new, None);
        let software = self.store.software()?;
        Ok(software.add_offline_file(file, entries).await?)
    }

    /// Keeps the offline file of a device and binds the device, both or neither. In force here when
    /// this returns.
    ///
    /// # Errors
    /// There is no such license, or the store fails.
    pub async fn activate_offline(
        &self,
        new: NewOfflineFile<'_>,
        device: ActivatingDevice,
    ) -> Result<OfflineActivation, Error> {
        let (id, at) = (new.license.id, new.issued_at);
        let (file, kept) = self.offline_file(new, Some(&device.id));
        let bound = self.bound_entries(id, &device.id);
        let new = NewActivation {
            device: NewDevice {
                license_id: id,
                device: device.id,
                at,
                frees_others_once: device.frees_others_once,
            },
            file,
            most: device.most,
        };
        let software = self.store.software()?;
        let done = software.activate_offline(new, bound, kept).await?;
        let done = done.ok_or(Error::LicenseUnknown(id))?;
        if let OfflineActivation::Kept(binding, stored) = &done
            && *binding != Binding::There
        {
            self.changes.note_own(stored, None);
        }
        Ok(done)
    }

    /// Returns a file as it is kept, with its line of the audit log.
    fn offline_file(
        &self,
        new: NewOfflineFile<'_>,
        activated_by: Option<&DeviceId>,
    ) -> (OfflineFile, AuditEntries<()>) {
        let license = new.license;
        let line = self
            .own_audit_writer()
            .line("offline-file.create", license.id);
        let shown = json!({
            "id": model::CallId::from_u128(new.id),
            "devices": new.devices.len(),
            "activated_by": activated_by,
            "expires_at": new.expires_at,
        });
        let line = line.of(&license.account);
        let entries = AuditEntries::of(vec![line.between(None::<&Value>, Some(&shown))]);
        let id = new.id.to_be_bytes();
        let sealed = self.seal_answer(&name(&id), new.text.as_bytes());
        let file = OfflineFile {
            id: new.id,
            license_id: license.id,
            activated_by: activated_by.cloned(),
            devices: new.devices,
            issued_at: new.issued_at,
            expires_at: new.expires_at,
            sealed: SealedKey::new(sealed),
        };
        (file, entries)
    }
}

/// Returns the name that the text of a file is sealed under.
fn name(id: &[u8; 16]) -> [&[u8]; 2] {
    [b"offline file", id]
}
