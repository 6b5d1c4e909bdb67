//! The seal of snapshots in a cache that nobody trusts: they are encrypted, ranked, and bound to
//! the key that asks for them.

use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use ipnet::IpNet;
use model::{ApiKey, CredentialInfo, Device, KeyHash, License, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use store::{ChangeNumber, Snapshot};
use zeroize::Zeroizing;

use super::Fill;
use crate::cache::Point;

/// The key that seals the values which the gates of one store share, and derives their names. It
/// comes from the keyring, so that whoever reads or writes the cache learns no name and can forge
/// none.
#[derive(Clone)]
pub struct FleetKey {
    cipher: XChaCha20Poly1305,
    names: Hmac<Sha256>,
    namespace: String,
}

/// The content of a sealed value: the answer of the store about a key, and up to which change it
/// was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) point: Point,
    /// The license of the key; `None`: there is no such key.
    pub(crate) found: Option<SharedLicense>,
}

/// The answer of the store about a key that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedLicense {
    pub(crate) snapshot: Snapshot,
    /// The API key of the license. It is read after the snapshot, so that it may be newer.
    pub(crate) api_key: Option<ApiKey>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    at: i64,
    found: Option<BodyLicense>,
}

#[derive(Serialize, Deserialize)]
struct BodyLicense {
    license: License,
    credential: CredentialInfo,
    allow_ips: Vec<IpNet>,
    devices: Vec<Device>,
    api_key: Option<ApiKey>,
}

/// The format of a value; others are not read. A field that a gate must not overlook needs a new
/// one.
const FORMAT: u8 = b'3';
const NONCE_LENGTH: usize = 24;

impl FleetKey {
    /// Derives the key from a key of the keyring.
    pub(crate) fn derive(key: &[u8; 32]) -> Self {
        let derive = |label: &[u8]| {
            let mut mac = keyed(key);
            mac.update(label);
            Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()))
        };
        let sealing = derive(b"tallygate fleet seal 1");
        Self {
            cipher: XChaCha20Poly1305::new_from_slice(&sealing[..]).expect("the key has 32 bytes"),
            names: keyed(&derive(b"tallygate fleet names 1")),
            namespace: hex::encode(&derive(b"tallygate fleet namespace 1")[..6]),
        }
    }

    /// Returns twelve hexadecimal digits that all gates of this store have in common and other
    /// stores have not.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name of a key in the cache.
    pub(crate) fn name(&self, hash: &KeyHash) -> String {
        let mut mac = self.names.clone();
        mac.update(hash.as_bytes());
        hex::encode(&mac.finalize().into_bytes()[..16])
    }

    /// Seals a value. Its rank is the version and then the point, so that of two values the newer
    /// has the greater rank.
    pub(crate) fn seal(&self, hash: &KeyHash, shared: &Shared) -> Vec<u8> {
        let found = shared.found.as_ref();
        let version = found.map_or(0, |found| found.snapshot.version.0);
        let rank = format!(
            "{}{version:016x}{:016x}",
            char::from(FORMAT),
            shared.point.number.0
        );
        let body = Body {
            at: shared.point.at.micros(),
            found: found.map(|SharedLicense { snapshot, api_key }| BodyLicense {
                license: License::clone(&snapshot.license),
                credential: snapshot.credential.clone(),
                allow_ips: snapshot.allow_ips.clone(),
                devices: snapshot.devices.clone(),
                api_key: api_key.clone(),
            }),
        };
        let body = serde_json::to_vec(&body).expect("a license has a text form");
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let payload = Payload {
            msg: &body,
            aad: &bound(rank.as_bytes(), hash),
        };
        let text = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a license is short enough to be sealed");
        [rank.as_bytes(), &nonce[..], &text].concat()
    }

    /// Opens a value; `None`: no gate of this store sealed it for this key.
    pub(crate) fn open(&self, hash: &KeyHash, value: &[u8]) -> Option<Shared> {
        let (rank, rest) = value.split_at_checked(Fill::RANK)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LENGTH>()?;
        let payload = Payload {
            msg: text,
            aad: &bound(rank, hash),
        };
        let body = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        // What opens was written by a gate of ours, perhaps a newer one: what does not read is not
        // used.
        let digits = std::str::from_utf8(rank.strip_prefix(&[FORMAT])?).ok()?;
        let (version, number) = digits.split_at_checked(16)?;
        let read = |digits| u64::from_str_radix(digits, 16).ok().map(ChangeNumber);
        let (version, number) = (read(version)?, read(number)?);
        let body: Body = serde_json::from_slice(&body).ok()?;
        Some(Shared {
            point: Point {
                number,
                at: Timestamp::from_micros(body.at),
            },
            found: body.found.map(|found| SharedLicense {
                snapshot: Snapshot {
                    license: Arc::new(found.license),
                    credential: found.credential,
                    allow_ips: found.allow_ips,
                    devices: found.devices,
                    version,
                },
                api_key: found.api_key,
            }),
        })
    }
}

impl std::fmt::Debug for FleetKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FleetKey(redacted)")
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn bound(rank: &[u8], hash: &KeyHash) -> Vec<u8> {
    [rank, hash.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::KeyHasher;

    fn hash(key: &str) -> KeyHash {
        KeyHasher::new(&[1; 32]).hash(key.as_bytes())
    }

    fn absent(number: u64) -> Shared {
        Shared {
            point: Point {
                number: ChangeNumber(number),
                at: Timestamp::from_micros(5),
            },
            found: None,
        }
    }

    #[test]
    fn what_is_sealed_opens_under_its_own_key_and_whole_only() {
        let key = FleetKey::derive(&[3; 32]);
        let sealed = key.seal(&hash("a"), &absent(9));
        assert_eq!(key.open(&hash("a"), &sealed), Some(absent(9)));
        assert_eq!(key.open(&hash("b"), &sealed), None);
        assert_eq!(FleetKey::derive(&[4; 32]).open(&hash("a"), &sealed), None);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(key.open(&hash("a"), &forged), None, "byte {at}");
            assert_eq!(key.open(&hash("a"), &sealed[..at]), None, "length {at}");
        }
    }

    #[test]
    fn a_license_comes_back_with_its_devices() {
        let license = crate::testing::counted(5);
        let mut snapshot = crate::testing::snapshot(license, 7);
        snapshot.devices = vec![Device {
            id: "a".parse().expect("valid"),
            bound_at: Timestamp::from_micros(3),
        }];
        let shared = Shared {
            found: Some(SharedLicense {
                snapshot,
                api_key: None,
            }),
            ..absent(9)
        };
        let key = FleetKey::derive(&[3; 32]);
        let sealed = key.seal(&hash("a"), &shared);
        assert_eq!(key.open(&hash("a"), &sealed), Some(shared));
    }

    #[test]
    fn the_later_reading_has_the_greater_rank() {
        let key = FleetKey::derive(&[3; 32]);
        let rank = |number| key.seal(&hash("a"), &absent(number))[..Fill::RANK].to_vec();
        assert!(rank(9) < rank(10));
        assert!(rank(255) < rank(256));
        assert!(rank(u64::MAX - 1) < rank(u64::MAX));
    }

    #[test]
    fn names_tell_keys_and_stores_apart() {
        let key = FleetKey::derive(&[3; 32]);
        let other = FleetKey::derive(&[4; 32]);
        assert_ne!(key.name(&hash("a")), key.name(&hash("b")));
        assert_ne!(key.name(&hash("a")), other.name(&hash("a")));
        assert_ne!(key.namespace(), other.namespace());
    }
}
