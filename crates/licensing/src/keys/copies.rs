//! Sealed copies of keys, for apps whose protocol shows a key again.
//!
//! A copy lies beside the hash of its key. The key that seals it is one of the keyring, whose
//! number stands in the copy, so that a new one can be used while older copies still open. License
//! and credential are sealed with it: moved to another row, it opens for nobody.

use std::sync::Arc;

use arc_swap::ArcSwap;
use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use model::{Credential, CredentialId, KeyHasher, LicenseId};
use store::{AuditEntries, SealedKey, Store};
use zeroize::Zeroizing;

use super::keyring::{Key, Keyring, random};
use super::numbered;
use crate::error::Error;

/// The parts of the keyring that licenses need: the hasher of keys and, for apps that show keys
/// again, the keys that seal their copies.
#[derive(Debug)]
pub struct LicenseKeys {
    pub(crate) hasher: KeyHasher,
    pub(crate) copies: Option<KeyCopies>,
}

/// The keys that copies are sealed with. The first is made with the first copy.
pub struct KeyCopies {
    store: Arc<dyn Store>,
    keyring: Keyring,
    /// The keys, numbered from 1.
    keys: ArcSwap<Vec<Key>>,
    /// Held while keys are read, so that a slower reader never puts back an older list.
    reading: tokio::sync::Mutex<()>,
}

/// A sealer of copies, with the newest key.
pub(crate) struct Copier {
    number: u32,
    key: Key,
}

impl LicenseKeys {
    /// Returns the keys of a store's keyring.
    #[must_use]
    pub fn of(keyring: &Keyring, store: Arc<dyn Store>) -> Self {
        let copies = KeyCopies {
            store,
            keyring: keyring.clone(),
            keys: ArcSwap::default(),
            reading: tokio::sync::Mutex::default(),
        };
        Self {
            hasher: keyring.hasher(),
            copies: Some(copies),
        }
    }
}

/// The keys without a keyring: no copy is kept, whatever an app asks for.
impl From<KeyHasher> for LicenseKeys {
    fn from(hasher: KeyHasher) -> Self {
        Self {
            hasher,
            copies: None,
        }
    }
}

impl KeyCopies {
    /// The number of keys that there can ever be.
    const MAX_KEYS: usize = 10_000;

    /// Returns a sealer of new copies.
    ///
    /// # Errors
    /// The keyring cannot be opened, or the store fails.
    pub(crate) async fn copier(&self) -> Result<Copier, Error> {
        self.refresh().await?;
        if self.keys.load().is_empty() {
            self.add(0, AuditEntries::none()).await?;
        }
        let keys = self.keys.load();
        let key = keys.last().ok_or(Error::KeyringMalformed)?;
        Ok(Copier {
            number: keys.len() as u32,
            key: key.clone(),
        })
    }

    /// Makes a new key that seals copies from now on. Returns its number. If another gate does so
    /// at the same time, there is still one new key.
    ///
    /// # Errors
    /// There were too many keys, the keyring cannot be opened, or the store fails.
    pub(crate) async fn rotate(
        &self,
        entries: impl FnOnce(u32) -> AuditEntries<()>,
    ) -> Result<u32, Error> {
        self.refresh().await?;
        let before = self.keys.load().len();
        if before >= Self::MAX_KEYS {
            let reason = format!("had {} keys, which is the most", Self::MAX_KEYS);
            return Err(Error::invalid("keyring", reason));
        }
        self.add(before, entries(before as u32 + 1)).await?;
        Ok(before as u32 + 1)
    }

    /// Returns the key that a copy holds; `None`: it was not sealed for this credential of this
    /// license.
    ///
    /// # Errors
    /// The keyring cannot be opened, or the store fails.
    pub(crate) async fn open(
        &self,
        license: LicenseId,
        credential: CredentialId,
        sealed: &SealedKey,
    ) -> Result<Option<Credential>, Error> {
        let Some((number, rest)) = sealed.as_bytes().split_first_chunk::<4>() else {
            return Ok(None);
        };
        let place = (u32::from_be_bytes(*number) as usize).wrapping_sub(1);
        if self.keys.load().len() <= place {
            self.refresh().await?;
        }
        let keys = self.keys.load();
        let text = keys
            .get(place)
            .and_then(|key| open(key, license, credential, *number, rest));
        Ok(text.and_then(|text| Credential::parse(std::str::from_utf8(&text).ok()?).ok()))
    }

    /// Reads the keys that are new since the last time.
    async fn refresh(&self) -> Result<(), Error> {
        let _alone = self.reading.lock().await;
        let known = self.keys.load_full();
        let open = |name: &str, sealed: &[u8]| self.keyring.open(name.as_bytes(), sealed);
        let new = numbered::since(&*self.store, known.len(), Self::MAX_KEYS, name, open).await?;
        if !new.is_empty() {
            let all = known.iter().cloned().chain(new).collect();
            self.keys.store(Arc::new(all));
        }
        Ok(())
    }

    /// Makes the key after the first `before`. Whoever is first, the key is known here when this
    /// returns.
    async fn add(&self, before: usize, entries: AuditEntries<()>) -> Result<(), Error> {
        let name = name(before + 1);
        let sealed = self.keyring.seal(name.as_bytes(), &Key::new(random()));
        self.store.put_if_absent(&name, sealed, entries).await?;
        self.refresh().await
    }
}

impl std::fmt::Debug for KeyCopies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCopies").finish_non_exhaustive()
    }
}

impl Copier {
    /// Returns a sealed copy of a key of this credential.
    pub(crate) fn copy(
        &self,
        license: LicenseId,
        credential: CredentialId,
        key: &Credential,
    ) -> SealedKey {
        let number = self.number.to_be_bytes();
        let nonce: [u8; 24] = random();
        let payload = Payload {
            msg: key.expose().as_bytes(),
            aad: &label(license, credential, number),
        };
        let text = cipher(&self.key)
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a key is short enough to be sealed");
        SealedKey::new([&number[..], &nonce[..], &text].concat())
    }
}

fn open(
    key: &Key,
    license: LicenseId,
    credential: CredentialId,
    number: [u8; 4],
    rest: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = rest.split_first_chunk::<24>()?;
    let payload = Payload {
        msg: text,
        aad: &label(license, credential, number),
    };
    let text = cipher(key).decrypt(&XNonce::from(*nonce), payload).ok()?;
    Some(Zeroizing::new(text))
}

/// Returns the name under which a key is kept, which is also its label.
fn name(number: usize) -> String {
    format!("keyring/seal/{number}")
}

/// Returns the label of a copy, which binds it to its license, credential and key.
fn label(license: LicenseId, credential: CredentialId, number: [u8; 4]) -> Vec<u8> {
    [
        &b"tallygate key copy 1"[..],
        &number,
        &license.as_u128().to_be_bytes(),
        &credential.as_u128().to_be_bytes(),
    ]
    .concat()
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new_from_slice(&key[..]).expect("the key has 32 bytes")
}
