//! Signing keys on the wire.

use model::{Interval, SigningKeyId, SigningKeyState, SigningUse, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What signs is to be replaced by a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSigningKey {
    /// What the keys sign: `stamps`, `tokens` or `tokens-hs256`.
    #[serde(rename = "use")]
    pub signing_use: SigningUse,
    /// How long what the old key signed is taken after it stopped signing; absent: one day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Interval>,
    /// Whether the new key signs at once, not only when all who keep the published keys know it.
    #[serde(default)]
    pub at_once: bool,
    /// Whether nothing that the keys before signed is to be taken any more.
    #[serde(default)]
    pub withdraw: bool,
}

/// A signing key as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SigningKey {
    /// Identity, the `kid` of what it signs.
    pub id: SigningKeyId,
    /// What it signs.
    #[serde(rename = "use")]
    pub signing_use: SigningUse,
    /// `EdDSA` or `HS256`.
    pub algorithm: String,
    /// How far it has come.
    pub state: SigningKeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// From when on what it signed is not taken as a credential.
    pub ends_at: Option<Timestamp>,
}

/// The key that copies of keys are sealed with from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SealKey {
    /// Its number; copies name it.
    pub number: u32,
}

impl RotateSigningKey {
    /// The overlap where none is asked for, in seconds.
    pub const OVERLAP: u64 = 86_400;
}
