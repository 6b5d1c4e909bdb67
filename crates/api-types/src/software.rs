//! What software that is sold with an app has to do with, on the wire: credentials, signing keys, its
//! switch.

use model::{AppId, AppName, Interval, SigningKeyId, SigningKeyState, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request to take over the credentials of an app that software has already.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportAppCredentials {
    /// The id by which the software knows the app, 1 to 128 visible ASCII characters; it is taken beside the app's own. The app's own takes the imported one away.
    pub app_id: String,
    /// The secret of the app, 8 to 256 visible ASCII characters. It is then the one in use.
    pub app_secret: String,
    /// The time for which the secrets before stay valid; absent: one day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
}

/// A request to make a new secret of an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewAppSecret {
    /// The time for which the secrets before stay valid; absent: one day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
    /// Whether the secrets before end now, as after a theft.
    #[serde(default)]
    pub at_once: bool,
}

/// The credentials of the software that is sold with an app: the secret that it proves itself with, and the key that it verifies answers with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppCredentials {
    /// The app.
    pub app: AppName,
    /// The identity; the same for ever.
    pub app_id: AppId,
    /// An id by which software knows the app as well, because it was made elsewhere; null: none.
    #[serde(default)]
    pub imported_app_id: Option<String>,
    /// The secret, shown this once: only in the answer to its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_secret: Option<String>,
    /// The public key of the app, 32 bytes (Ed25519) in standard base64.
    pub public_key: String,
    /// The time at which the secret in use was made; null: none was.
    pub created_at: Option<Timestamp>,
    /// The time until which a secret before it is taken; null: none is.
    pub former_until: Option<Timestamp>,
}

/// A signing key of an app as it is answered: the software that is sold with the app trusts answers that it signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppSigningKey {
    /// The identity, the `keyId` of what it signs.
    pub id: SigningKeyId,
    /// The public key, 32 bytes (Ed25519) in standard base64.
    pub public_key: String,
    /// The state: `next`, `signing`, `overlapping` (it signed before, and software goes on trusting it) or `retired`.
    pub state: SigningKeyState,
    /// The time from which it signs; null: from the beginning.
    pub signs_from: Option<Timestamp>,
    /// The time at which it was retired; null: it is not.
    pub retired_at: Option<Timestamp>,
}

/// A request to take over a signing key whose public half software trusts already.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportAppKey {
    /// The private key of Ed25519: its 32-byte seed in base64 or hexadecimal, or PKCS#8 as PEM.
    pub private_key: String,
    /// The time from now after which it signs; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<Interval>,
}

/// A request to make a new signing key of an app, which takes over: with one of the two fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateAppKey {
    /// The time from now after which it signs. Until then software has to be told to trust it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<Interval>,
    /// Whether it signs at once, so that software which does not know it trusts no answer any more.
    #[serde(default)]
    pub at_once: bool,
}

/// A request to retire a signing key of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetireAppKey {
    /// The key, which is not the one that signs.
    pub id: SigningKeyId,
}

/// The software that is sold with an app, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppSoftware {
    /// The app.
    pub app: AppName,
    /// The id by which software knows the app.
    pub app_id: String,
    /// Whether licenses can be validated.
    pub enabled: bool,
    /// The time since which they cannot; null: they can.
    pub disabled_at: Option<Timestamp>,
}

/// A change of the software that is sold with an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeAppSoftware {
    /// Whether licenses can be validated. Where they cannot, sessions end with their next heartbeat.
    pub enabled: bool,
}

impl RenewAppSecret {
    /// The overlap where none is asked for, in seconds.
    pub const OVERLAP: u64 = 86_400;
}

impl std::fmt::Debug for AppCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppCredentials")
            .field("app", &self.app)
            .field("app_id", &self.app_id)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ImportAppCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportAppCredentials")
            .field("app_id", &self.app_id)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ImportAppKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportAppKey")
            .field("lead", &self.lead)
            .finish_non_exhaustive()
    }
}
