//! The secrets that deliveries are signed with.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A secret of a webhook, which its receiver has as well: a text of [`Secret::MIN_BYTES`] to
/// [`Secret::MAX_BYTES`] visible ASCII characters. One that is made here is `whsec_` and 32 random
/// bytes in base64, as Standard Webhooks say.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// The error for a text that cannot be a [`Secret`]. Blame: caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a secret has {} to {} visible ASCII characters; leave it out to get a new one",
    Secret::MIN_BYTES,
    Secret::MAX_BYTES
)]
pub struct SecretInvalid;

impl Secret {
    /// The length of the shortest secret, in bytes.
    pub const MIN_BYTES: usize = 8;
    /// The length of the longest secret, in bytes.
    pub const MAX_BYTES: usize = 256;
    /// The beginning of the text of a secret.
    const PREFIX: &str = "whsec_";

    /// Makes a secret.
    ///
    /// # Panics
    /// The operating system gives no random bytes.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut bytes[..]).expect("the operating system gives random bytes");
        let encoded = Zeroizing::new(STANDARD.encode(&bytes[..]));
        Self(Zeroizing::new([Self::PREFIX, &encoded].concat()))
    }

    /// Reads a secret that its owner chose.
    ///
    /// # Errors
    /// The text is too short, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, SecretInvalid> {
        let fits = (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let secret = || Self(Zeroizing::new(text.to_owned()));
        (fits && visible).then(secret).ok_or(SecretInvalid)
    }

    /// Returns the text, which is the key of the signatures of AuthForge and APIMW. It is shown to
    /// nobody but the owner, once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the key of Standard Webhooks: the bytes that the text encodes. A chosen text that
    /// encodes none is its own key.
    pub(crate) fn standard_key(&self) -> Zeroizing<Vec<u8>> {
        let encoded = self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0);
        let decoded = STANDARD.decode(encoded).ok();
        let decoded = decoded.filter(|bytes| !bytes.is_empty());
        Zeroizing::new(decoded.unwrap_or_else(|| self.0.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_random_bytes_in_padded_base64_and_is_never_shown_by_debug() {
        let (one, other) = (Secret::generate(), Secret::generate());
        assert_ne!(one, other);
        assert!(one.expose().starts_with("whsec_") && one.expose().ends_with('='));
        assert_eq!(one.standard_key().len(), 32);
        assert_eq!(format!("{one:?}"), "Secret(redacted)");
        assert_eq!(Secret::parse(one.expose()), Ok(one));
    }

    #[test]
    fn a_chosen_secret_is_its_own_key_unless_it_encodes_one() {
        let chosen = Secret::parse("my own secret".replace(' ', "-").as_str()).expect("valid");
        assert_eq!(&chosen.standard_key()[..], b"my-own-secret");
        let encoded = Secret::parse("whsec_c2VjcmV0").expect("valid");
        assert_eq!(&encoded.standard_key()[..], b"secret");
        for wrong in ["", "short", "with a blank", "ümlaut-lang", &"x".repeat(257)] {
            assert_eq!(Secret::parse(wrong), Err(SecretInvalid), "{wrong}");
        }
    }
}
