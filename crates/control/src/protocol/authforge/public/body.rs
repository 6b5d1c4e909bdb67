//! The bodies of requests. Fields that are not known are ignored: a later SDK may send more.

use model::DeviceId;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::http::field::Text;

/// The body of `POST /auth/validate`, and of `POST /auth/offline/activate`, which takes no life of a
/// session.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeValidate")]
#[serde(rename_all = "camelCase")]
pub(super) struct Validate {
    /// The id of the app.
    pub(super) app_id: String,
    /// The secret of the app.
    pub(super) app_secret: String,
    /// The license key.
    pub(super) license_key: String,
    /// The device.
    pub(super) hwid: DeviceId,
    /// A text that is used once.
    pub(super) nonce: Text<1, 128>,
    /// The life of the session in seconds, of which an hour to a week are given.
    pub(super) ttl_seconds: Option<f64>,
}

/// The credentials of software for a license.
#[derive(Clone, Copy)]
pub(super) struct Credentials<'a> {
    pub(super) app_id: &'a str,
    pub(super) secret: &'a str,
    pub(super) key: &'a str,
    pub(super) device: &'a DeviceId,
}

impl Validate {
    /// Returns the credentials.
    pub(super) fn credentials(&self) -> Credentials<'_> {
        Credentials {
            app_id: &self.app_id,
            secret: &self.app_secret,
            key: self.license_key.trim(),
            device: &self.hwid,
        }
    }
}

/// The body of `POST /auth/heartbeat`.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeHeartbeat")]
#[serde(rename_all = "camelCase")]
pub(super) struct Heartbeat {
    /// The id of the app.
    pub(super) app_id: String,
    /// The token of the session.
    pub(super) session_token: String,
    /// A text that is used once.
    pub(super) nonce: Text<1, 128>,
    /// The device.
    pub(super) hwid: DeviceId,
}

/// The body of `POST /auth/selfban`: with the token of a session, or with the credentials of a
/// validation.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "AuthforgeSelfBan")]
#[serde(rename_all = "camelCase")]
pub(super) struct SelfBan {
    /// The id of the app.
    pub(super) app_id: String,
    /// The token of the session.
    pub(super) session_token: Option<String>,
    /// The secret of the app, without a session.
    pub(super) app_secret: Option<String>,
    /// The license key, without a session.
    pub(super) license_key: Option<String>,
    /// The device.
    pub(super) hwid: DeviceId,
    /// Whether the license is revoked; `null`: with a session.
    pub(super) revoke_license: Option<bool>,
    /// Whether the device is blocked; `null`: yes.
    pub(super) blacklist_hwid: Option<bool>,
    /// Whether the address is blocked; `null`: yes.
    pub(super) blacklist_ip: Option<bool>,
}
