//! The signed answer that a validation and a heartbeat have in common.

use licensing::{CachedLicense, SoftwareApp, SoftwareSession};
use model::{CallId, DeviceId, Timestamp, Variables};
use serde::Serialize;

use super::answer::Refusal;
use super::context::{Context, end_of};
use crate::protocol::authforge::forms::{Signed, iso, sign};

/// The facts of a session that begins or goes on.
pub(super) struct NewSession<'a> {
    pub(super) app: &'a SoftwareApp,
    pub(super) license: &'a CachedLicense,
    pub(super) device: &'a DeviceId,
    /// The life of the session, in seconds.
    pub(super) ttl: u32,
    /// The number of heartbeats of the license so far.
    pub(super) beats: u64,
    /// The number of devices of the license.
    pub(super) devices: usize,
    pub(super) nonce: &'a str,
    pub(super) request_id: CallId,
    pub(super) now: Timestamp,
}

/// The signed part of an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    session_token: &'a str,
    timestamp: String,
    expires_in: i64,
    nonce: &'a str,
    request_id: CallId,
    session_expires_at: String,
    license_expires_at: Option<String>,
    max_hwid_slots: Option<u8>,
    hwid_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_label: Option<&'a str>,
    app_variables: &'a Variables,
    license_variables: &'a Variables,
}

impl Context {
    /// Returns the signed answer of a session. It ends after its life, at the latest with its
    /// license, and says so alike in its payload and in its token.
    pub(super) async fn session(&self, new: &NewSession<'_>) -> Result<Signed, Refusal> {
        let spec = &new.license.license().spec;
        let lives = new.now.seconds() + i64::from(new.ttl);
        let of_license = end_of(spec);
        let expires_at = of_license.map_or(lives, |end| lives.min(end));
        let licensing = self.services.licensing();
        let token = licensing.session_token(&SoftwareSession {
            app: new.app.app.clone(),
            license_id: new.license.license().id,
            device: SoftwareSession::device(new.device),
            ttl: new.ttl,
            expires_at,
            beats: new.beats,
        });
        let payload = Payload {
            session_token: &token,
            timestamp: iso(new.now),
            expires_in: expires_at,
            nonce: new.nonce,
            request_id: new.request_id,
            session_expires_at: at_second(expires_at),
            license_expires_at: of_license.map(at_second),
            max_hwid_slots: spec.device_slots,
            hwid_count: new.devices,
            license_label: spec.label.as_deref(),
            app_variables: &new.app.settings.variables,
            license_variables: &spec.variables,
        };
        let keys = self.services.api().signing.app_keys(&new.app.app).await?;
        Ok(sign(&payload, keys.signer(new.now)))
    }
}

/// Returns the time of a second since the UNIX epoch.
fn at_second(second: i64) -> String {
    iso(Timestamp::from_micros(second.saturating_mul(1_000_000)))
}
