//! The public part of a credential of a license.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::CredentialId;
use crate::time::Timestamp;

/// The status of a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStatus {
    /// It may be used, until it expires.
    #[default]
    Active,
    /// It may never be used again.
    Revoked,
}

/// The public part of a credential: never the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialInfo {
    /// Identity.
    pub id: CredentialId,
    /// The kind, which is the word of its key format.
    pub kind: String,
    /// The first characters of the key.
    pub prefix: String,
    /// The status.
    pub status: CredentialStatus,
    /// The time at which it was made.
    pub created_at: Timestamp,
    /// The time at which it ends, as at the end of an overlap; `None`: with the license.
    pub expires_at: Option<Timestamp>,
}
