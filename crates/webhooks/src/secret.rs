//! The secrets that deliveries are signed with.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A secret of a webhook, which its receiver has as well: `whsec_` and
/// [`Secret::MIN_KEY_BYTES`] to [`Secret::MAX_KEY_BYTES`] bytes in padded base64, as Standard
/// Webhooks say, or another text of [`Secret::MIN_BYTES`] to [`Secret::MAX_BYTES`] visible ASCII
/// characters. One that is made here has 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// The error for a text that cannot be a [`Secret`]. Blame: caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretInvalid {
    /// It is too short or too long, or has other characters.
    #[error(
        "a secret has {} to {} visible ASCII characters; leave it out to get a new one",
        Secret::MIN_BYTES,
        Secret::MAX_BYTES
    )]
    Text,
    /// It encodes too short or too long a key, or has the beginning of one and encodes none.
    #[error(
        "`whsec_` is followed by {} to {} bytes in padded base64; leave the secret out to get a new one",
        Secret::MIN_KEY_BYTES,
        Secret::MAX_KEY_BYTES
    )]
    Key,
}

impl Secret {
    /// The length of the shortest secret, in bytes.
    pub const MIN_BYTES: usize = 8;
    /// The length of the longest secret, in bytes.
    pub const MAX_BYTES: usize = 256;
    /// The length of the shortest key that a secret encodes, in bytes.
    pub const MIN_KEY_BYTES: usize = 24;
    /// The length of the longest key that a secret encodes, in bytes.
    pub const MAX_KEY_BYTES: usize = 64;
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
    /// The text is too short, too long, or has other characters, or so is the key that it encodes.
    pub fn parse(text: &str) -> Result<Self, SecretInvalid> {
        let fits = (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let secret = Self::kept(text);
        let is_long = |key: &Zeroizing<Vec<u8>>| {
            (Self::MIN_KEY_BYTES..=Self::MAX_KEY_BYTES).contains(&key.len())
        };
        match secret.encoded_key() {
            Some(key) if is_long(&key) => Ok(secret),
            Some(_) => Err(SecretInvalid::Key),
            None if text.starts_with(Self::PREFIX) => Err(SecretInvalid::Key),
            None if fits && visible => Ok(secret),
            None => Err(SecretInvalid::Text),
        }
    }

    /// Returns a secret that was taken before, whatever was asked of secrets then.
    pub(crate) fn kept(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
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
        let own = || Zeroizing::new(self.0.as_bytes().to_vec());
        self.encoded_key().unwrap_or_else(own)
    }

    /// Returns the bytes that the text encodes; `None`: it encodes none.
    fn encoded_key(&self) -> Option<Zeroizing<Vec<u8>>> {
        let encoded = self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0);
        let decoded = STANDARD.decode(encoded).ok().map(Zeroizing::new);
        decoded.filter(|bytes| !bytes.is_empty())
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
        let encoded = Secret::kept("whsec_c2VjcmV0");
        assert_eq!(&encoded.standard_key()[..], b"secret");
        for wrong in ["", "short", "with a blank", "ümlaut-lang", &"x".repeat(257)] {
            assert_eq!(Secret::parse(wrong), Err(SecretInvalid::Text), "{wrong}");
        }
        let of_bytes = |length| format!("whsec_{}", STANDARD.encode(vec![7; length]));
        for (length, fits) in [(6, false), (23, false), (24, true), (64, true), (65, false)] {
            let text = of_bytes(length);
            assert_eq!(Secret::parse(&text).is_ok(), fits, "{length}");
            let bare = text.trim_start_matches(Secret::PREFIX);
            assert_eq!(
                Secret::parse(bare).is_ok(),
                fits,
                "{length}, without whsec_"
            );
        }
        for wrong in ["whsec_", "whsec_no-base64-at-all-but-long-enough"] {
            assert_eq!(Secret::parse(wrong), Err(SecretInvalid::Key), "{wrong}");
        }
    }
}
