//! Sessions: tokens that stand for a key and its secret, so that neither travels with every call.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::id::{LicenseId, ManagementKeyId, SessionId};
use crate::time::Timestamp;

/// A family of tokens: those of one log-in, and all that they were refreshed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The id.
    pub id: SessionId,
    /// The management key that the session acts for.
    pub key_id: ManagementKeyId,
    /// The license that calls with its access tokens draw on; `None`: its tokens do not open the
    /// gate.
    pub license_id: Option<LicenseId>,
    /// The time of the log-in.
    pub created_at: Timestamp,
    /// The time at which the session was ended, by its holder or because a refresh token was used
    /// twice.
    pub ended_at: Option<Timestamp>,
}

/// A refresh token in the clear: `rt_` and 256 random bits as 64 hexadecimal digits. Its `Debug`
/// redacts it, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken(Zeroizing<String>);

/// The kind of the credential that an access token is at the gate.
pub const ACCESS_TOKEN_KIND: &str = "access_token";

/// The greatest length of an access token in bytes; longer ones are not looked at.
pub const MAX_ACCESS_TOKEN_BYTES: usize = 4 * 1024;

/// The beginnings of access tokens: the header of a JWT with a `kid` of ours, as far as it is the
/// same for all.
const BEGINNINGS: [&[u8]; 2] = [
    b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiIsImtpZCI6InNn",
    b"eyJ0eXAiOiJKV1QiLCJhbGciOiJFZERTQSIsImtpZCI6InNn",
];

/// Returns whether a text looks like an access token of ours. Does not check whether it is valid.
#[must_use]
pub fn is_access_token(text: &[u8]) -> bool {
    BEGINNINGS.iter().any(|begin| text.starts_with(begin))
}

impl RefreshToken {
    const PREFIX: &'static str = "rt_";
    const DIGITS: usize = 64;

    /// Generates a random token.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate() -> Self {
        let mut random = Zeroizing::new([0_u8; Self::DIGITS / 2]);
        getrandom::fill(&mut *random).expect("the operating system gives random bytes");
        let digits = Zeroizing::new(hex::encode(*random));
        Self(Zeroizing::new(format!("{}{}", Self::PREFIX, *digits)))
    }

    /// Reads a presented token; `None` if it does not look like one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(Self::PREFIX)?;
        let plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let valid = digits.len() == Self::DIGITS && digits.bytes().all(plain);
        valid.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// Returns the token itself. Show it once, to whom it belongs; never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_token_is_read_as_it_was_written_and_nothing_else_is() {
        let token = RefreshToken::generate();
        assert_eq!(RefreshToken::parse(token.expose()), Some(token.clone()));
        assert_ne!(RefreshToken::generate(), token);
        assert_eq!(format!("{token:?}"), "RefreshToken(redacted)");
        let upper = token.expose().to_uppercase();
        let longer = format!("{}0", token.expose());
        for wrong in ["", "rt_", "rt_00", upper.as_str(), longer.as_str(), "rt_é"] {
            assert_eq!(RefreshToken::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn other_tokens_are_not_taken_for_ours() {
        for other in [
            "",
            "eyJhbGciOiJIUzI1NiIs",
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsImtpZCI6InNn",
        ] {
            assert!(!is_access_token(other.as_bytes()), "{other}");
        }
    }
}
