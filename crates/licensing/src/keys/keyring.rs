//! The keyring: the keys that credentials are hashed with. They are kept in the store, so that all
//! its gates share them, sealed by a secret that is not in the store.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use model::KeyHasher;
use model::system::in_words;
use sha2::Sha256;
use store::{AuditEntries, Store};
use zeroize::Zeroizing;

use super::sealer::Sealer;
use crate::error::Error;
use crate::fleet::FleetKey;

/// The secret that the keyring is sealed with.
#[derive(Clone, Copy)]
pub enum KeyringSecret<'a> {
    /// The secret is the value of `[server] secret`.
    Configured(&'a str),
    /// The secret is in this file (mode 0600). It is generated with a new keyring and never again.
    File(&'a Path),
    /// There is no secret: whoever reads the store has the keys. A warning is logged at each start.
    None,
}

/// The opened keys of the store.
#[derive(Clone)]
pub struct Keyring {
    id: u32,
    hash_key: Key,
    /// The secret that further keys are sealed with; `None`: the whole keyring is unsealed.
    secret: Option<Secret>,
}

/// A key of the keyring, whose memory is wiped when it is dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

type Secret = Zeroizing<Vec<u8>>;

/// The name of the first hash key in the store. A rotation would put a second one beside it.
const HASH_KEY_NAME: &str = "keyring/hash/1";
const HASH_KEY_ID: u32 = 1;

impl Keyring {
    /// Opens the keyring of a store, or makes one. Gates that start at once on a new store agree on
    /// one.
    ///
    /// # Errors
    /// The keyring was sealed with another secret, the secret's file is missing or cannot be used,
    /// or the store fails.
    pub async fn load(store: &dyn Store, secret: KeyringSecret<'_>) -> Result<Self, Error> {
        let sealed = match store.setting(HASH_KEY_NAME).await? {
            Some(sealed) => sealed,
            None => {
                let secret = secret.make()?;
                let sealed = Envelope::seal(HASH_KEY_NAME.as_bytes(), &random(), secret.as_ref());
                store
                    .put_if_absent(HASH_KEY_NAME, sealed.encode(), AuditEntries::none())
                    .await?
            }
        };
        let envelope = Envelope::decode(&sealed).ok_or(Error::KeyringMalformed)?;
        let resolved = if envelope.is_sealed() {
            secret.existing()?
        } else {
            tracing::warn!(
                "the keyring lies unsealed in the store: who reads the store can forge keys"
            );
            None
        };
        let hash_key = envelope
            .open(HASH_KEY_NAME.as_bytes(), resolved.as_ref())
            .ok_or_else(|| Error::SecretWrong(secret.name()))?;
        Ok(Self {
            id: HASH_KEY_ID,
            hash_key,
            secret: resolved,
        })
    }

    /// Seals a further key. It opens only under the same label, which is not secret.
    pub(crate) fn seal(&self, label: &[u8], key: &Key) -> Vec<u8> {
        Envelope::seal(label, key, self.secret.as_ref()).encode()
    }

    /// Opens what [`Keyring::seal`] made, here or on another gate of the store.
    ///
    /// # Errors
    /// The key was sealed with another secret or under another label, or `sealed` is no sealed key.
    pub(crate) fn open(&self, label: &[u8], sealed: &[u8]) -> Result<Key, Error> {
        let envelope = Envelope::decode(sealed).ok_or(Error::KeyringMalformed)?;
        // An unsealed key in a sealed keyring was put there by somebody who does not have the
        // secret.
        if envelope.is_sealed() != self.secret.is_some() {
            return Err(Error::KeyringMalformed);
        }
        envelope
            .open(label, self.secret.as_ref())
            .ok_or_else(|| Error::SecretWrong("the one this gate was started with".to_owned()))
    }

    /// Returns the hasher of credentials.
    #[must_use]
    pub fn hasher(&self) -> KeyHasher {
        KeyHasher::new(&self.hash_key)
    }

    /// Returns the key that seals the values which the gates of this store share through a cache.
    #[must_use]
    pub fn fleet_key(&self) -> FleetKey {
        FleetKey::derive(&self.hash_key)
    }

    /// Returns the sealer of small texts for one purpose. The same purpose gives the same sealer on
    /// every gate of this store.
    #[must_use]
    pub fn sealer(&self, purpose: &'static str) -> Sealer {
        Sealer::derive(&self.hash_key, purpose)
    }

    /// Returns the id of the key that [`Keyring::hasher`] uses.
    #[must_use]
    pub const fn hash_key_id(&self) -> u32 {
        self.id
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(redacted)")
    }
}

impl std::fmt::Debug for KeyringSecret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Configured(_) => "Configured(redacted)",
            Self::File(_) => "File",
            Self::None => "None",
        })
    }
}

impl KeyringSecret<'_> {
    /// Returns the secret for a new keyring. A file that does not exist is made.
    fn make(self) -> Result<Option<Secret>, Error> {
        match self {
            Self::Configured(text) => Ok(Some(Zeroizing::new(text.as_bytes().to_vec()))),
            Self::File(path) => {
                if let Some(secret) = read_secret(path)? {
                    return Ok(Some(secret));
                }
                write_secret(path).map_err(|error| file_error(path, in_words(&error)))?;
                self.existing()
            }
            Self::None => Ok(None),
        }
    }

    /// Returns the secret for a keyring that exists.
    fn existing(self) -> Result<Option<Secret>, Error> {
        match self {
            Self::File(path) => match read_secret(path)? {
                Some(secret) => Ok(Some(secret)),
                None => Err(Error::SecretMissing(path.to_owned())),
            },
            Self::Configured(_) | Self::None => self.make(),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Configured(_) => "`[server] secret`".to_owned(),
            Self::File(path) => format!("the one in {}", path.display()),
            Self::None => "none, and `[server] secret` is not set".to_owned(),
        }
    }
}

/// A key in the form in which the store holds it.
enum Envelope {
    Unsealed(Key),
    Sealed {
        salt: [u8; 16],
        nonce: [u8; 24],
        text: Vec<u8>,
    },
}

impl Envelope {
    const UNSEALED: &[u8; 5] = b"TGK1u";
    const SEALED: &[u8; 5] = b"TGK1s";

    const fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed { .. })
    }

    fn seal(label: &[u8], key: &[u8; 32], secret: Option<&Secret>) -> Self {
        let Some(secret) = secret else {
            return Self::Unsealed(Zeroizing::new(*key));
        };
        let (salt, nonce) = (random(), random());
        let payload = Payload {
            msg: key,
            aad: label,
        };
        let text = cipher(secret, &salt)
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a key is short enough to be sealed");
        Self::Sealed { salt, nonce, text }
    }

    /// Returns the key; `None`: it was sealed with another secret or label.
    fn open(self, label: &[u8], secret: Option<&Secret>) -> Option<Key> {
        let (salt, nonce, text) = match self {
            Self::Unsealed(key) => return Some(key),
            Self::Sealed { salt, nonce, text } => (salt, nonce, text),
        };
        let payload = Payload {
            msg: &text,
            aad: label,
        };
        let key = cipher(secret?, &salt)
            .decrypt(&XNonce::from(nonce), payload)
            .ok()?;
        let key = Zeroizing::new(key);
        Some(Zeroizing::new(key.as_slice().try_into().ok()?))
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Unsealed(key) => [&Self::UNSEALED[..], &key[..]].concat(),
            Self::Sealed { salt, nonce, text } => {
                [&Self::SEALED[..], &salt[..], &nonce[..], text].concat()
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if let Some(key) = bytes.strip_prefix(Self::UNSEALED) {
            return Some(Self::Unsealed(Zeroizing::new(key.try_into().ok()?)));
        }
        let rest = bytes.strip_prefix(Self::SEALED)?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (nonce, text) = rest.split_first_chunk()?;
        Some(Self::Sealed {
            salt: *salt,
            nonce: *nonce,
            text: text.to_vec(),
        })
    }
}

/// Returns a cipher whose key is derived from the secret for this salt alone.
fn cipher(secret: &[u8], salt: &[u8; 16]) -> XChaCha20Poly1305 {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(b"tallygate keyring seal 1");
    mac.update(salt);
    let key = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
    XChaCha20Poly1305::new_from_slice(&key[..]).expect("the key has 32 bytes")
}

/// Returns random bytes of the operating system.
pub(crate) fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

const SECRET_LENGTH: usize = 64;

fn read_secret(path: &Path) -> Result<Option<Secret>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path, in_words(&error))),
    };
    refuse_if_others_may_read(path, &file)?;
    let mut text = Zeroizing::new(Vec::new());
    let max = SECRET_LENGTH as u64 + 64;
    file.take(max)
        .read_to_end(&mut text)
        .map_err(|error| file_error(path, in_words(&error)))?;
    let secret = text.trim_ascii();
    if secret.len() == SECRET_LENGTH && secret.iter().all(u8::is_ascii_hexdigit) {
        Ok(Some(Zeroizing::new(secret.to_vec())))
    } else {
        let reason = "it does not hold 64 hexadecimal digits: put back the file as it was made";
        Err(file_error(path, reason.to_owned()))
    }
}

/// Refuses a secret that everybody on the machine may read, since it has to be taken for one that
/// they have read. A group may be meant to read it (Kubernetes gives volumes to one at each mount),
/// so that this is only logged.
fn refuse_if_others_may_read(path: &Path, file: &File) -> Result<(), Error> {
    let found = file
        .metadata()
        .map_err(|error| file_error(path, in_words(&error)))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        let reason = format!(
            "it has mode {mode:04o}, so that everybody on this machine may read it: run `chmod 600` on it"
        );
        return Err(file_error(path, reason));
    }
    if mode & 0o070 != 0 {
        tracing::warn!(
            path = %path.display(),
            mode = format!("{mode:04o}"),
            "its group may read the secret file: run `chmod 600` on it, unless that is meant"
        );
    }
    Ok(())
}

/// Makes the file of a new secret, whole or not at all, and durable before anything is sealed with
/// it. If another process was first, its file stays.
fn write_secret(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unique = hex::encode(random::<8>());
    let draft = directory.join(format!(".secret-{unique}"));
    let text = Zeroizing::new(hex::encode(*Zeroizing::new(
        random::<{ SECRET_LENGTH / 2 }>(),
    )));
    let result = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => File::open(directory)?.sync_all(),
        }
    })();
    let removed = fs::remove_file(&draft);
    result.and(removed)
}

fn file_error(path: &Path, reason: String) -> Error {
    Error::SecretFile {
        path: path.to_owned(),
        reason,
    }
}
