//! A seal for small texts that lie in the store beside what they belong to.

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use store::SealedKey;
use zeroize::Zeroizing;

use super::keyring::{Key, random};

/// A sealer of texts for one purpose. All gates of a store have the same one, and what was sealed
/// for another purpose or under another label does not open. Its key is derived from the keyring,
/// so that whoever reads the store learns nothing and can forge nothing.
#[derive(Clone)]
pub struct Sealer(XChaCha20Poly1305);

const NONCE_LENGTH: usize = 24;

impl Sealer {
    /// Derives the sealer of a purpose from a key of the keyring.
    pub(super) fn derive(key: &[u8; 32], purpose: &'static str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of HMAC has any length");
        mac.update(b"tallygate seal 1 ");
        mac.update(purpose.as_bytes());
        Self::of_key(&Key::new(mac.finalize().into_bytes().into()))
    }

    /// Returns the sealer of a key that was derived for it alone.
    pub(crate) fn of_key(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new_from_slice(key).expect("the key has 32 bytes"))
    }

    /// Seals a text. It opens only under the same label, which is not secret.
    #[must_use]
    pub fn seal(&self, label: &[u8], text: &[u8]) -> SealedKey {
        SealedKey::new(self.seal_bytes(label, text))
    }

    /// Seals a text as [`Sealer::seal`] does, for a place that has a type of its own.
    pub(crate) fn seal_bytes(&self, label: &[u8], text: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LENGTH] = random();
        let payload = Payload {
            msg: text,
            aad: label,
        };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.expect("the text is short enough to be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// Returns a text that was sealed under this label; `None`: none was.
    #[must_use]
    pub fn open(&self, label: &[u8], sealed: &SealedKey) -> Option<Zeroizing<Vec<u8>>> {
        self.open_bytes(label, sealed.as_bytes())
    }

    /// Opens what [`Sealer::seal_bytes`] made.
    pub(crate) fn open_bytes(&self, label: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LENGTH>()?;
        let payload = Payload {
            msg: text,
            aad: label,
        };
        let opened = self.0.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(Zeroizing::new(opened))
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_opens_for_its_purpose_and_label_alone_and_not_once_it_was_changed() {
        let sealer = Sealer::derive(&[1; 32], "webhook secrets");
        let sealed = sealer.seal(b"whk_1", b"secret");
        let opened = sealer.open(b"whk_1", &sealed).expect("it opens");
        assert_eq!(&opened[..], b"secret");
        assert_eq!(sealer.open(b"whk_2", &sealed), None);
        assert_eq!(
            Sealer::derive(&[1; 32], "others").open(b"whk_1", &sealed),
            None
        );
        assert_eq!(
            Sealer::derive(&[2; 32], "webhook secrets").open(b"whk_1", &sealed),
            None
        );
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert_eq!(sealer.open(b"whk_1", &SealedKey::new(bytes)), None, "{at}");
        }
        assert_eq!(sealer.open(b"whk_1", &SealedKey::new(vec![0; 5])), None);
    }
}
