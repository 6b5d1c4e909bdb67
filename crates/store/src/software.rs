//! The store of what software that is sold with an app needs: devices, settings, offline files.
//!
//! As SQL, for whoever writes another store:
//!
//! ```sql
//! -- licenses.devices: JSON, NULL where none is bound, so that a license without devices costs nothing more to read.
//! -- licenses.devices_freed_at: when a device that found no free slot freed those of the others.
//! -- bind: the license is locked, then its devices are counted and written.
//! CREATE TABLE app_settings (app PRIMARY KEY, number UNIQUE, settings);
//! -- Numbers are given in the order of commits, as with changes of licenses.
//! CREATE TABLE offline_files (id PRIMARY KEY, license_id, activated_by, devices, issued_at, expires_at, sealed,
//!   UNIQUE (license_id, activated_by));
//! ```

use async_trait::async_trait;
use model::{AppName, AppSettings, DeviceId, LicenseId, Timestamp};

use crate::audit::{AuditEntries, Changed};
use crate::error::Error;
use crate::licenses::{SealedKey, StoredLicense};

/// A device that asks to be bound to a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// The license.
    pub license_id: LicenseId,
    /// The device.
    pub device: DeviceId,
    /// The time.
    pub at: Timestamp,
    /// Whether a device that finds no free slot frees the slots of all others, once in the life of
    /// the license.
    pub frees_others_once: bool,
}

/// The result of the wish to bind a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// It was bound.
    Bound,
    /// It was bound after the others were freed.
    BoundAfterReset,
    /// It was bound before, or the license does not count devices.
    There,
    /// Every slot is taken by another device.
    Full,
}

/// The settings of an app, as the store holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAppSettings {
    /// The app.
    pub app: AppName,
    /// The number of their last change, in commit order over all apps.
    pub number: u64,
    /// The settings.
    pub settings: AppSettings,
}

/// A signed file by which software runs without a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineFile {
    /// The id, a UUID, which stands in the file.
    pub id: u128,
    /// The license.
    pub license_id: LicenseId,
    /// The device that had it made by itself; `None`: the seller did.
    pub activated_by: Option<DeviceId>,
    /// The devices that it is for; empty: any.
    pub devices: Vec<DeviceId>,
    /// The time at which it was made.
    pub issued_at: Timestamp,
    /// The time at which it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
    /// A sealed copy of the file, which holds the license key.
    pub sealed: SealedKey,
}

/// A device that has an offline file made by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewActivation {
    /// The device.
    pub device: NewDevice,
    /// The file, which the device activates.
    pub file: OfflineFile,
    /// The number of devices of the license that may have one made by themselves in its whole life;
    /// devices that are freed do not count less.
    pub most: u32,
}

/// The result of the wish of a device to have an offline file made by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineActivation {
    /// It was kept, and the device is bound, by this result, to the license as it is then.
    Kept(Binding, Box<StoredLicense>),
    /// The device has had one made before, which stands.
    There(Box<OfflineFile>),
    /// As many devices as are allowed have had one made.
    Full,
    /// Every slot is taken by another device.
    NoSlot,
}

/// The store of devices, settings of apps and offline files.
#[async_trait]
pub trait SoftwareStore: Send + Sync + 'static {
    /// Binds a device to a license if it has a free slot, by [`LicenseSpec`](model::LicenseSpec):
    /// of any number of tries at once, no more than there are slots succeed. A binding is a change
    /// of the license and gets a number; a device that is there changes nothing. Returns the
    /// license as it is then; `None`: there is no such license.
    async fn bind_device(
        &self,
        new: NewDevice,
        entries: AuditEntries<Changed<StoredLicense>>,
    ) -> Result<Option<(Binding, StoredLicense)>, Error>;

    /// Frees all devices of the licenses of an app that are bound to any, up to `limit` licenses in
    /// order of id after `after`; each is a change of its license. Returns the last id that was
    /// looked at, `None` at the end, and how many licenses were changed.
    async fn reset_devices_of(
        &self,
        app: &AppName,
        after: Option<LicenseId>,
        limit: usize,
        entries: AuditEntries<Vec<LicenseId>>,
    ) -> Result<(Option<LicenseId>, u64), Error>;

    /// Returns the settings of an app; `None`: none were made.
    async fn app_settings(&self, app: &AppName) -> Result<Option<StoredAppSettings>, Error>;

    /// Returns up to `limit` settings with numbers above `number`, in their order.
    async fn app_settings_after(
        &self,
        number: u64,
        limit: usize,
    ) -> Result<Vec<StoredAppSettings>, Error>;

    /// Keeps the settings of an app in place of those with this number (0: none were made).
    /// Returns their number; `None`: another change came first, and nothing was done.
    async fn put_app_settings(
        &self,
        app: &AppName,
        in_place_of: u64,
        settings: AppSettings,
        entries: AuditEntries<()>,
    ) -> Result<Option<u64>, Error>;

    /// Keeps an offline file that a seller has made.
    async fn add_offline_file(
        &self,
        file: OfflineFile,
        entries: AuditEntries<()>,
    ) -> Result<(), Error>;

    /// Keeps the offline file of a device and binds the device, as [`SoftwareStore::bind_device`]
    /// does: both or neither. `None`: there is no such license.
    async fn activate_offline(
        &self,
        new: NewActivation,
        bound: AuditEntries<Changed<StoredLicense>>,
        kept: AuditEntries<()>,
    ) -> Result<Option<OfflineActivation>, Error>;

    /// Returns the offline file that a device of a license had made by itself; `None`: none.
    async fn offline_file_of(
        &self,
        license_id: LicenseId,
        device: &DeviceId,
    ) -> Result<Option<OfflineFile>, Error>;

    /// Returns up to `limit` offline files of a license in order of id, after `after`.
    async fn offline_files(
        &self,
        license_id: LicenseId,
        after: Option<u128>,
        limit: usize,
    ) -> Result<Vec<OfflineFile>, Error>;
}
