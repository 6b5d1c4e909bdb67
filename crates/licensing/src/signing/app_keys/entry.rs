//! The entries of signing keys of apps as the store holds them.

use model::{AppName, SigningKeyId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AppKey, Retirement};
use crate::error::Error;
use crate::keys::{Key, Keyring, random};

/// An entry of an app.
pub(super) enum Entry {
    /// A key.
    Key(AppKey),
    /// The end of a key.
    End(Retirement),
}

/// The part of an entry that the store holds in the clear.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Record {
    Key {
        signs_from: Timestamp,
    },
    End {
        retires: SigningKeyId,
        at: Timestamp,
    },
}

impl Entry {
    /// Returns the name under which an entry is kept.
    pub(super) fn name(app: &AppName, number: usize) -> String {
        format!("keyring/app/{app}/{number}")
    }

    /// Returns a key that signs from a time on in the form in which it is kept under this name.
    pub(super) fn of_key(
        name: &str,
        seed: &Key,
        signs_from: Timestamp,
        keyring: &Keyring,
    ) -> Vec<u8> {
        seal(name, &Record::Key { signs_from }, seed, keyring)
    }

    /// Returns the end of a key in the form in which it is kept under this name. What is sealed with
    /// it has no meaning: it shows that the entry was made by who has the secret.
    pub(super) fn of_end(name: &str, end: Retirement, keyring: &Keyring) -> Vec<u8> {
        let record = Record::End {
            retires: end.key,
            at: end.at,
        };
        seal(name, &record, &Key::new(random()), keyring)
    }

    /// Reads what the store keeps under this name.
    pub(super) fn decode(name: &str, bytes: &[u8], keyring: &Keyring) -> Result<Self, Error> {
        // The first key of an app has no record: it always signed.
        if bytes.first() != Some(&b'{') {
            let seed = keyring.open(name.as_bytes(), bytes)?;
            return Ok(Self::Key(AppKey::new(&seed, Timestamp::default())));
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (text, rest) = end
            .and_then(|end| bytes.split_at_checked(end))
            .ok_or(Error::KeyringMalformed)?;
        let record = serde_json::from_slice(text).map_err(|_| Error::KeyringMalformed)?;
        let sealed = keyring.open(&label(name, text), &rest[1..])?;
        Ok(match record {
            Record::Key { signs_from } => Self::Key(AppKey::new(&sealed, signs_from)),
            Record::End { retires, at } => Self::End(Retirement { key: retires, at }),
        })
    }
}

fn seal(name: &str, record: &Record, key: &Key, keyring: &Keyring) -> Vec<u8> {
    let text = serde_json::to_vec(record).expect("a record is plain data");
    let sealed = keyring.seal(&label(name, &text), key);
    [&text[..], b"\n", &sealed].concat()
}

/// Returns the label of a sealed key. The record is part of it, so that neither is changed without
/// the secret.
fn label(name: &str, record: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", record].concat()
}
