//! Licenses as they are answered.

use licensing::SoftwareApp;
use model::{Device, LicenseStatus};
use serde::Serialize;
use store::StoredLicense;

use crate::protocol::authforge::forms::iso;

/// A license.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseRecord {
    license_key: String,
    app_id: String,
    status: &'static str,
    /// The end; `null`: never.
    expires_at: Option<String>,
    /// The number of slots for devices; `null`: they are not counted.
    max_hwid_slots: Option<u8>,
    unlimited_hwid_slots: bool,
    hwid_count: usize,
    label: Option<String>,
    created_at: String,
}

/// A license with its devices.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LicenseDetail {
    #[serde(flatten)]
    record: LicenseRecord,
    hwid_list: Vec<String>,
}

impl LicenseRecord {
    /// Returns the record of a license of an app, with the text of its key.
    pub(super) fn of(stored: &StoredLicense, app: &SoftwareApp, key: &str) -> Self {
        let spec = &stored.license.spec;
        Self {
            license_key: key.to_owned(),
            app_id: app.shown_id(),
            status: match stored.license.status {
                LicenseStatus::Active => "active",
                LicenseStatus::Disabled | LicenseStatus::Revoked => "revoked",
            },
            expires_at: spec.expires_at.map(iso),
            max_hwid_slots: spec.device_slots,
            unlimited_hwid_slots: spec.device_limit().is_none(),
            hwid_count: stored.devices.len(),
            label: spec.label.clone(),
            created_at: iso(stored.license.created_at),
        }
    }
}

impl LicenseDetail {
    /// Returns the record of a license of an app, with its devices.
    pub(super) fn of(stored: &StoredLicense, app: &SoftwareApp, key: &str) -> Self {
        let id = |device: &Device| device.id.to_string();
        Self {
            record: LicenseRecord::of(stored, app, key),
            hwid_list: stored.devices.iter().map(id).collect(),
        }
    }
}
