//! The digests of keys that are known by nothing else.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::forms::text_form;

/// The SHA-256 of the text of a key. Other systems keep keys so; with it their keys go on to work
/// here although nobody knows them. Its text is 64 hexadecimal digits, or 43 characters of base64url
/// without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

/// The error for a text that is not a [`KeyDigest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a SHA-256: write 64 hexadecimal digits, or 43 characters of base64url without padding"
)]
pub struct ParseKeyDigestError;

impl KeyDigest {
    /// Returns the digest of the text of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Returns the bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The 64 hexadecimal digits.
impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(redacted)")
    }
}

impl FromStr for KeyDigest {
    type Err = ParseKeyDigestError;

    fn from_str(text: &str) -> Result<Self, ParseKeyDigestError> {
        let bytes = match text.len() {
            64 => hex::decode(text).ok(),
            43 => URL_SAFE_NO_PAD.decode(text).ok(),
            _ => None,
        };
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(ParseKeyDigestError)
    }
}

text_form! { KeyDigest {
    "description": "The SHA-256 of the text of a key: 64 hexadecimal digits, or base64url without padding.",
    "pattern": "^([0-9A-Fa-f]{64}|[0-9A-Za-z_-]{43})$",
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_in_both_of_its_forms() {
        // SHA-256 of `abc`, FIPS 180-2, appendix B.1.
        let hexadecimal = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let base64url = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        let digest = KeyDigest::of("abc");
        for text in [hexadecimal, &hexadecimal.to_uppercase(), base64url] {
            assert_eq!(text.parse(), Ok(digest), "{text}");
        }
        assert_eq!(digest.to_string(), hexadecimal);
        assert!(!format!("{digest:?}").contains("ba78"));
        let wrong = [
            "",
            "abc",
            &hexadecimal[1..],
            &format!("{base64url}="),
            &"+".repeat(43),
            &"x".repeat(64),
        ];
        for text in wrong {
            assert_eq!(
                text.parse::<KeyDigest>(),
                Err(ParseKeyDigestError),
                "{text}"
            );
        }
    }
}
