//! Signing keys on the wire.

use model::{Interval, SigningKeyId, SigningKeyState, SigningUse, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A replacement of the key that signs by a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// The use of the keys: `stamps`, `tokens`, `tokens-hs256` or `assertions`.
    #[serde(rename = "use")]
    pub signing_use: SigningUse,
    /// The time for which signatures of the old key are taken after it stopped signing; absent: one day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
    /// Whether the new key signs at once, not only when all who keep the published keys know it.
    #[serde(default)]
    pub at_once: bool,
    /// Whether signatures of the keys before are not taken any more.
    #[serde(default)]
    pub withdraw: bool,
}

/// A signing key as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKey {
    /// The identity, the `kid` of what it signs.
    pub id: SigningKeyId,
    /// The use of the key.
    #[serde(rename = "use")]
    pub signing_use: SigningUse,
    /// The algorithm: `EdDSA` or `HS256`.
    pub algorithm: String,
    /// The state of the key.
    pub state: SigningKeyState,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time from which it signs.
    pub signs_from: Timestamp,
    /// The time from which credentials that it signed are not taken.
    pub ends_at: Option<Timestamp>,
}

/// The key that copies of keys are sealed with from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealKey {
    /// The number of the key; copies name it.
    pub number: u32,
}

impl RotateSigningKey {
    /// The overlap where none is asked for, in seconds.
    pub const OVERLAP: u64 = 86_400;
}
