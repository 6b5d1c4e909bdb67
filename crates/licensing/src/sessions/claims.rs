//! The claims of an access token.

use model::{CredentialId, ManagementKeyId, SessionId};
use serde::{Deserialize, Serialize};

/// The claims of an access token. Whoever verifies a token elsewhere learns from them who holds it
/// and until when; whether it was revoked only the gate knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The issuer.
    pub(super) iss: String,
    /// The audience.
    pub(super) aud: String,
    /// The key that the token acts for.
    pub(super) sub: ManagementKeyId,
    /// The session of the token.
    pub(super) sid: SessionId,
    /// The id of the token.
    pub(super) jti: CredentialId,
    /// The time at which the token was made, in seconds since the UNIX epoch; so are the next two.
    pub(super) iat: i64,
    /// The time from which on the token is valid.
    pub(super) nbf: i64,
    /// The time from which on the token is not valid any more.
    pub(super) exp: i64,
}
