//! The public part of a credential of a license.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::CredentialId;
use crate::time::Timestamp;

/// The status of a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStatus {
    /// The credential may be used until it expires.
    #[default]
    Active,
    /// The credential may never be used again.
    Revoked,
}

/// The public part of a credential: never the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialInfo {
    /// The id.
    pub id: CredentialId,
    /// The kind, which is the word of its key format.
    pub kind: String,
    /// The first characters of the key.
    pub prefix: String,
    /// The status.
    pub status: CredentialStatus,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The end, such as that of an overlap; `None`: the credential ends with the license.
    pub expires_at: Option<Timestamp>,
}
