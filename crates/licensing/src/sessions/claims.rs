//! The claims of an access token.

use model::{CredentialId, ManagementKeyId, SessionId};
use serde::{Deserialize, Serialize};

/// The claims. Whoever verifies a token elsewhere learns from them who holds it and until when; whether it was revoked
/// only the gate knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Who issued it.
    pub(super) iss: String,
    /// For whom.
    pub(super) aud: String,
    /// The key that it acts for.
    pub(super) sub: ManagementKeyId,
    /// Its session.
    pub(super) sid: SessionId,
    /// Its own identity.
    pub(super) jti: CredentialId,
    /// When it was made, in seconds since the UNIX epoch; so are the next two.
    pub(super) iat: i64,
    /// From when on it is valid.
    pub(super) nbf: i64,
    /// From when on it is not.
    pub(super) exp: i64,
}
