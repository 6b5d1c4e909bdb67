//! License keys: their formats, their generation, and the hashes that are kept of them.
//!
//! The hash of a key is HMAC-SHA-256(pepper, SHA-256(key)), so that keys known only by their
//! SHA-256 can be imported, and a stolen store opens nothing without the pepper.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::word_enum;

word_enum!(
    /// The format of a key.
    #[derive(Default)]
    KeyFormat {
        /// `tg_`, 43 characters for 256 random bits, 6 characters of checksum.
        #[default]
        Tallygate => "tallygate",
        /// A UUID: 8-4-4-4-12 hexadecimal digits.
        Uuid => "uuid",
        /// apifew's shape: 8-4-4-4-16 hexadecimal digits.
        Apifew => "apifew",
        /// AuthForge's shape: four groups of four of `A-Z 0-9`.
        Authforge => "authforge",
        /// Another text, which comes by import only.
        Imported => "imported",
    }
);

/// A key in the clear. Its `Debug` redacts it, and its memory is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Zeroizing<String>);

/// The reason why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The text is too short to be a secret, or longer than any key.
    #[error(
        "a key has {} to {} characters",
        Credential::MIN_LENGTH,
        Credential::MAX_LENGTH
    )]
    Length,
    /// The text has other characters than visible ASCII.
    #[error("a key has visible ASCII characters only, without spaces")]
    Characters,
    /// The text begins like a key of the gate's own format, and its checksum is wrong.
    #[error("the checksum of the key is wrong, check for a typing error")]
    Checksum,
}

/// The hash that is kept of a key, never the key itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

/// The first eight bytes of a key's hash, enough to say "surely not one of ours" without a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub u64);

/// A hasher of keys with a pepper, whose HMAC state is computed once. Cheap to clone; a hash costs
/// four SHA-256 blocks.
#[derive(Clone)]
pub struct KeyHasher(Hmac<Sha256>);

const PREFIX: &str = "tg_";
const BODY: usize = 43;
const CHECKSUM: usize = 6;
/// The characters of AuthForge's keys.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl KeyFormat {
    /// Returns the format of a text; `None` for a text that cannot be a key, and for one that
    /// begins like our own format and has a wrong checksum.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        if Credential::check_characters(text).is_err() {
            return None;
        }
        if is_ours_by_shape(text) {
            return checksum_holds(text).then_some(Self::Tallygate);
        }
        let hex = |b: u8| b.is_ascii_hexdigit();
        let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
        Some(if grouped(text, &[8, 4, 4, 4, 12], hex) {
            Self::Uuid
        } else if grouped(text, &[8, 4, 4, 4, 16], hex) {
            Self::Apifew
        } else if grouped(text, &[4, 4, 4, 4], upper) {
            Self::Authforge
        } else {
            Self::Imported
        })
    }

    /// Returns the number of characters of such a key that may be shown to tell keys apart.
    #[must_use]
    pub const fn visible(self) -> usize {
        match self {
            Self::Tallygate => 7,
            Self::Uuid | Self::Apifew | Self::Authforge | Self::Imported => 4,
        }
    }
}

impl Credential {
    /// The lowest number of characters in a key.
    pub const MIN_LENGTH: usize = 8;
    /// The highest number of characters in a key.
    pub const MAX_LENGTH: usize = 256;

    /// Takes an existing key.
    ///
    /// # Errors
    /// Texts that cannot be keys, and mistyped keys of our own format.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        Self::check_characters(text)?;
        if is_ours_by_shape(text) && !checksum_holds(text) {
            return Err(CredentialError::Checksum);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Returns the key of AuthForge's shape that is meant by a text without its dashes: 16 characters
    /// of `A-Z` without I and O, and `2-9`; `None` for any other text. A text may be a key of
    /// somebody's own as it stands: look for that one first.
    #[must_use]
    pub fn with_dashes(text: &str) -> Option<Self> {
        let fits = text.len() == 16 && text.bytes().all(|byte| LETTERS.contains(&byte));
        fits.then(|| Self(Zeroizing::new(in_fours(text))))
    }

    /// Returns the key of AuthForge's shape that is meant by a text in another spelling: without its
    /// dashes, with small letters, or both; `None` for any other text, and for such a key as it is.
    /// A text may be a key of somebody's own as it stands: look for that one first.
    #[must_use]
    pub fn meant_by(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_dashed = bytes.len() == 19 && [4, 9, 14].iter().all(|at| bytes[*at] == b'-');
        if bytes.len() != 16 && !is_dashed {
            return None;
        }
        let bare = Zeroizing::new(text.replace('-', "").to_ascii_uppercase());
        let meant = Self::with_dashes(&bare)?;
        (meant.expose() != text).then_some(meant)
    }

    /// Generates a random key. For `Imported` it is one of our own format.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate(format: KeyFormat) -> Self {
        let mut random = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *random).expect("the operating system gives random bytes");
        let hex = Zeroizing::new(hex::encode(*random));
        let groups = |lengths: &[usize]| {
            let mut rest = hex.as_str();
            let take = |length: &usize| {
                let (group, tail) = rest.split_at(*length);
                rest = tail;
                group
            };
            lengths.iter().map(take).collect::<Vec<_>>().join("-")
        };
        Self(Zeroizing::new(match format {
            KeyFormat::Tallygate | KeyFormat::Imported => {
                let body = format!("{PREFIX}{}", base62(*random));
                let checksum = checksum(&body);
                format!("{body}{checksum}")
            }
            KeyFormat::Uuid => {
                let bits = u128::from_le_bytes(random[..16].try_into().expect("sixteen bytes"));
                uuid::Builder::from_random_bytes(bits.to_le_bytes())
                    .into_uuid()
                    .to_string()
            }
            KeyFormat::Apifew => groups(&[8, 4, 4, 4, 16]),
            KeyFormat::Authforge => authforge(&random),
        }))
    }

    /// Generates a random key of letters alone, after a prefix.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn generate_letters(prefix: &str, length: usize) -> Self {
        const LETTERS: &[u8; 52] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        // Bytes beyond the last whole number of alphabets would make some letters likelier than
        // others.
        const FAIR: u8 = (256 / 52 * 52) as u8;
        let mut text = Zeroizing::new(String::with_capacity(prefix.len() + length));
        text.push_str(prefix);
        let mut random = Zeroizing::new([0_u8; 64]);
        while text.len() < prefix.len() + length {
            getrandom::fill(&mut *random).expect("the operating system gives random bytes");
            let fair = random.iter().filter(|byte| **byte < FAIR);
            let missing = prefix.len() + length - text.len();
            text.extend(
                fair.take(missing)
                    .map(|byte| char::from(LETTERS[usize::from(byte % 52)])),
            );
        }
        Self(text)
    }

    /// Returns the key itself. Show it once, to whom it belongs; never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the beginning of the key, to tell keys apart.
    #[must_use]
    pub fn visible_prefix(&self) -> &str {
        let visible = KeyFormat::of(&self.0).map_or(0, KeyFormat::visible);
        &self.0[..visible.min(self.0.len())]
    }

    fn check_characters(text: &str) -> Result<(), CredentialError> {
        if !(Self::MIN_LENGTH..=Self::MAX_LENGTH).contains(&text.len()) {
            return Err(CredentialError::Length);
        }
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        if plain {
            Ok(())
        } else {
            Err(CredentialError::Characters)
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}

impl KeyHash {
    /// Returns a hash read back from a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes of the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the fingerprint of the hash.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(u64::from_le_bytes(
            self.0[..8].try_into().expect("a hash has 32 bytes"),
        ))
    }

    /// Returns whether two hashes are equal, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(redacted)")
    }
}

impl KeyHasher {
    /// Makes a hasher with this pepper.
    #[must_use]
    pub fn new(pepper: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(pepper).expect("HMAC takes keys of any length"))
    }

    /// Returns the hash of a presented text, whatever its format.
    #[must_use]
    pub fn hash(&self, presented: &[u8]) -> KeyHash {
        self.hash_digest(&Sha256::digest(presented).into())
    }

    /// Returns the hash of a key that is known by its SHA-256 only.
    #[must_use]
    pub fn hash_digest(&self, digest: &[u8; 32]) -> KeyHash {
        let mut mac = self.0.clone();
        mac.update(digest);
        KeyHash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(redacted)")
    }
}

/// Returns eight bytes of the SHA-256 of a text, never 0: enough to tell texts apart, too little to
/// get one back.
#[must_use]
pub fn digest_u64(text: &[u8]) -> u64 {
    let digest = Sha256::digest(text);
    u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes")).max(1)
}

fn is_ours_by_shape(text: &str) -> bool {
    text.starts_with(PREFIX)
}

fn checksum_holds(text: &str) -> bool {
    let length = PREFIX.len() + BODY + CHECKSUM;
    text.len() == length && {
        let (body, given) = text.split_at(length - CHECKSUM);
        checksum(body) == given
    }
}

fn checksum(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    let mut value = u64::from(u32::from_le_bytes(
        digest[..4].try_into().expect("four bytes"),
    ));
    let mut text = [0_u8; CHECKSUM];
    for place in text.iter_mut().rev() {
        *place = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
    String::from_utf8(text.to_vec()).expect("the alphabet is ASCII")
}

/// Returns 256 bits in base 62, padded to its full 43 digits.
fn base62(mut number: [u8; 32]) -> String {
    let mut digits = [0_u8; BODY];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    String::from_utf8(digits.to_vec()).expect("the alphabet is ASCII")
}

/// Returns sixteen characters out of 32 that are hard to mistake for each other: 80 random bits.
fn authforge(random: &[u8; 32]) -> String {
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    in_fours(&random[..16].iter().map(letter).collect::<String>())
}

/// Returns an ASCII text with a dash after every fourth character.
fn in_fours(text: &str) -> String {
    let groups = (0..text.len()).step_by(4).map(|at| &text[at..at + 4]);
    groups.collect::<Vec<_>>().join("-")
}

fn grouped(text: &str, lengths: &[usize], allowed: fn(u8) -> bool) -> bool {
    let mut groups = text.split('-');
    let fits = |length: &usize| {
        groups
            .next()
            .is_some_and(|group| group.len() == *length && group.bytes().all(allowed))
    };
    lengths.iter().all(fits) && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn generated_keys_have_the_shape_they_were_asked_for() {
        for format in [
            KeyFormat::Tallygate,
            KeyFormat::Uuid,
            KeyFormat::Apifew,
            KeyFormat::Authforge,
        ] {
            let key = Credential::generate(format);
            assert_eq!(KeyFormat::of(key.expose()), Some(format));
            assert_eq!(Credential::parse(key.expose()), Ok(key.clone()));
            assert_ne!(Credential::generate(format), key);
            assert_eq!(format!("{key:?}"), "Credential(redacted)");
        }
    }

    #[test]
    fn a_key_of_authforge_is_known_without_its_dashes() {
        let key = Credential::generate(KeyFormat::Authforge);
        let bare = key.expose().replace('-', "");
        assert_eq!(Credential::with_dashes(&bare), Some(key.clone()));
        let lower = bare.to_lowercase();
        for other in [key.expose(), &bare[1..], &lower, "ABCDEFGHIJKLMNOP", ""] {
            assert_eq!(Credential::with_dashes(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_of_authforge_is_known_in_small_letters() {
        let key = Credential::generate(KeyFormat::Authforge);
        let bare = key.expose().replace('-', "");
        let small = key.expose().to_lowercase();
        for text in [&bare, &small, &bare.to_lowercase()] {
            // A key may have no letters.
            if text != key.expose() {
                assert_eq!(Credential::meant_by(text), Some(key.clone()), "{text}");
            }
        }
        let misplaced = format!("{}-{}-", &small[..9], &small[9..17]);
        for other in [key.expose(), &misplaced, &bare[1..], "abcdefghijklmnop", ""] {
            assert_eq!(Credential::meant_by(other), None, "{other}");
        }
    }

    #[test]
    fn one_wrong_character_in_our_own_format_is_seen_without_a_look_up() {
        let key = Credential::generate(KeyFormat::Tallygate);
        for at in PREFIX.len()..key.expose().len() {
            let mut wrong = key.expose().as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'0' { b'1' } else { b'0' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            assert_eq!(Credential::parse(&wrong), Err(CredentialError::Checksum));
        }
    }

    #[test]
    fn a_key_known_by_its_sha_256_hashes_as_the_key_itself() {
        let hasher = KeyHasher::new(&[7; 32]);
        let digest = Sha256::digest(b"legacy-key").into();
        assert!(
            hasher
                .hash(b"legacy-key")
                .matches(&hasher.hash_digest(&digest))
        );
        assert!(
            !hasher
                .hash(b"legacy-key")
                .matches(&KeyHasher::new(&[8; 32]).hash(b"legacy-key"))
        );
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,300}") {
            prop_assert_eq!(KeyFormat::of(&text).is_some(), Credential::parse(&text).is_ok());
        }
    }
}
