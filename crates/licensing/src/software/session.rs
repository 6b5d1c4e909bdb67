//! Sessions of software that validated its license. The gate keeps none of them: what it must know
//! of a session stands in its token, which the gate signs with the key of the store.
//!
//! A token is two parts of base64url without padding between a full stop: JSON, and its keyed hash.
//! Software reads `exp` in the first part as the end of the session, so that it is the same as in
//! the answer that came with the token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{AppName, DeviceId, KeyHash, LicenseId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::licensing::Licensing;

/// A session of software that validated its license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftwareSession {
    /// The app.
    pub app: AppName,
    /// The license.
    #[serde(rename = "lic")]
    pub license_id: LicenseId,
    /// The fingerprint of the device, by [`SoftwareSession::device`].
    #[serde(rename = "dev")]
    pub device: u64,
    /// The life that the software asked for, in seconds; each heartbeat prolongs the session to it.
    pub ttl: u32,
    /// The end, in seconds since the UNIX epoch.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// The number of heartbeats of the license when the token was made, as far as it was known.
    #[serde(rename = "n")]
    pub beats: u64,
}

/// The length of the longest token that is read, in bytes.
const MAX_BYTES: usize = 1_024;
/// The context that separates tokens from other uses of the keyring.
const CONTEXT: &[u8] = b"tallygate software session 1\0";

impl SoftwareSession {
    /// Returns the fingerprint of a device in a token: eight bytes of its SHA-256.
    #[must_use]
    pub fn device(id: &DeviceId) -> u64 {
        id.digest()
    }

    /// Returns whether the session is over.
    #[must_use]
    pub const fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at <= now.seconds()
    }
}

impl Licensing {
    /// Returns the token of a session.
    #[must_use]
    pub fn session_token(&self, session: &SoftwareSession) -> String {
        let json = serde_json::to_vec(session).expect("a session is plain data");
        let body = URL_SAFE_NO_PAD.encode(json);
        let hash = self.session_hash(&body);
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(hash.as_bytes()))
    }

    /// Returns the session of a token, over or not; `None`: no gate of this store made it.
    #[must_use]
    pub fn session(&self, token: &str) -> Option<SoftwareSession> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let (body, hash) = token.split_once('.')?;
        let hash: [u8; 32] = URL_SAFE_NO_PAD.decode(hash).ok()?.try_into().ok()?;
        if !self.session_hash(body).matches(&KeyHash::from_bytes(hash)) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
    }

    fn session_hash(&self, body: &str) -> KeyHash {
        let mut hasher = Sha256::new();
        hasher.update(CONTEXT);
        hasher.update(body);
        self.hasher.hash_digest(&hasher.finalize().into())
    }
}
