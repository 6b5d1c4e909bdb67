//! Activation requests (`.authforge-request`): files that a device without a connection is
//! described by, carried by hand to whoever makes its license file.

use model::DeviceId;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::armor;

/// The request of a device.
#[derive(Clone, PartialEq, Eq)]
pub(in super::super) struct ActivationRequest {
    /// The id by which the software knows its app.
    pub(in super::super) app_id: String,
    /// The device.
    pub(in super::super) device: DeviceId,
    /// The license key, if the software knew it.
    pub(in super::super) license_key: Option<String>,
}

/// The reason why a text is not the request of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum RequestFileError {
    /// It is a license file. Blame: caller.
    #[error(
        "this is a license file, not an activation request: send the `.authforge-request` file"
    )]
    IsLicenseFile,
    /// Its checksum is wrong. Blame: caller.
    #[error("the checksum of the activation request is wrong: part of it was changed on the way")]
    Checksum,
    /// Its header is of another app than its content. Blame: caller.
    #[error(
        "the header `App-Id` of the activation request names another app than its content: send the `.authforge-request` file as it was made"
    )]
    OtherApp,
    /// It is no request, or is cut short. Blame: caller.
    #[error(
        "this is not a whole activation request: send the `.authforge-request` file as it was made"
    )]
    Malformed,
}

impl std::fmt::Debug for ActivationRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActivationRequest")
            .field("app_id", &self.app_id)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

/// The content of a request file, which nobody signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    v: u64,
    typ: String,
    app_id: String,
    hwid: DeviceId,
    created_at: String,
    machine_name: Option<String>,
    os: Option<String>,
    sdk: Option<String>,
    license_key: Option<String>,
}

/// Reads a request file.
///
/// # Errors
/// Why it cannot be used.
pub(in super::super) fn read_request_file(
    text: &str,
) -> Result<ActivationRequest, RequestFileError> {
    const KIND: &str = "ACTIVATION REQUEST";
    let Some(block) = armor::read(KIND, text) else {
        return Err(if armor::is_there("LICENSE", text) {
            RequestFileError::IsLicenseFile
        } else {
            RequestFileError::Malformed
        });
    };
    // A request that is cut short is told apart from one that was changed: it is no JSON.
    let content = block.content().ok_or(RequestFileError::Malformed)?;
    let payload: Payload =
        serde_json::from_slice(&content).map_err(|_| RequestFileError::Malformed)?;
    let digest = hex::encode(Sha256::digest(block.base64.as_bytes()));
    let checksum = block.header("Checksum").unwrap_or_default();
    if !checksum.eq_ignore_ascii_case(&digest[..16]) {
        return Err(RequestFileError::Checksum);
    }
    let within = |text: &Option<String>, most: usize| {
        text.as_ref()
            .is_none_or(|text| text.chars().count() <= most)
    };
    let fits = payload.v == 1
        && payload.typ == "authforge-activation-request"
        && block.header("Version") == Some("1")
        && payload.created_at.parse::<model::Timestamp>().is_ok()
        && within(&payload.machine_name, 128)
        && within(&payload.os, 64)
        && within(&payload.sdk, 64)
        && within(&payload.license_key, 64);
    if !fits {
        return Err(RequestFileError::Malformed);
    }
    if block.header("App-Id") != Some(payload.app_id.as_str()) {
        return Err(RequestFileError::OtherApp);
    }
    Ok(ActivationRequest {
        app_id: payload.app_id,
        device: payload.hwid,
        license_key: payload.license_key,
    })
}
