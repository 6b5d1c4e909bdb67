//! Signing keys as the store holds them: a record in the clear, then the key, sealed together with
//! the record.
//!
//! Slots of a use are numbered from 1, each is written once and never changed. What follows from a
//! rotation stands in the slot of the new key, so that there is nothing to update.

use std::time::Duration;

use model::{SigningAlgorithm, SigningKeyId, SigningKeyState, SigningUse, Timestamp};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys::{Key, Keyring, random};

/// A key with its record.
pub(super) struct Slot {
    pub(super) record: Record,
    pub(super) key: Key,
    /// The public key; `None`: the key is a shared secret.
    pub(super) public: Option<[u8; 32]>,
}

/// The record of a key, which is not secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) kid: SigningKeyId,
    pub(super) created_at: Timestamp,
    /// The time at which the key begins to sign, which is when the one before it stops.
    pub(super) signs_from: Timestamp,
    /// The number of seconds after that for which signatures of the one before are accepted.
    pub(super) overlap: u64,
    /// Whether earlier keys are not to be trusted any more.
    pub(super) withdraws: bool,
}

impl Slot {
    /// Returns a slot with a new key.
    pub(super) fn make(signing_use: SigningUse, record: Record) -> Self {
        Self::new(signing_use, record, Key::new(random()))
    }

    fn new(signing_use: SigningUse, record: Record, key: Key) -> Self {
        let public = match signing_use.algorithm() {
            SigningAlgorithm::EdDsa => Some(public_half(&key)),
            SigningAlgorithm::Hs256 => None,
        };
        Self {
            record,
            key,
            public,
        }
    }

    /// Returns the name of a slot in the store.
    pub(super) fn name(signing_use: SigningUse, number: usize) -> String {
        format!("keyring/signing/{signing_use}/{number}")
    }

    /// Returns the value that the store keeps under that name.
    pub(super) fn encode(&self, name: &str, keyring: &Keyring) -> Vec<u8> {
        let mut text = serde_json::to_vec(&self.record).expect("a record is plain data");
        let sealed = keyring.seal(&label(name, &text), &self.key);
        text.push(b'\n');
        text.extend_from_slice(&sealed);
        text
    }

    /// Reads a value that the store kept.
    pub(super) fn decode(
        signing_use: SigningUse,
        name: &str,
        bytes: &[u8],
        keyring: &Keyring,
    ) -> Result<Self, Error> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (text, rest) = end
            .and_then(|end| bytes.split_at_checked(end))
            .ok_or(Error::KeyringMalformed)?;
        let record = serde_json::from_slice(text).map_err(|_| Error::KeyringMalformed)?;
        let key = keyring.open(&label(name, text), &rest[1..])?;
        Ok(Self::new(signing_use, record, key))
    }
}

/// Returns the state of a key at a time, by the records of those that came after it, oldest first,
/// and the time at which it ends; `None`: that is not decided yet.
pub(super) fn state<'a>(
    record: &Record,
    later: impl Iterator<Item = &'a Record>,
    now: Timestamp,
) -> (SigningKeyState, Option<Timestamp>) {
    let mut successor: Option<&Record> = None;
    for other in later {
        if other.withdraws {
            return (SigningKeyState::Withdrawn, Some(other.created_at));
        }
        successor = successor.or(Some(other));
    }
    let Some(successor) = successor else {
        return if record.signs_from <= now {
            (SigningKeyState::Signing, None)
        } else {
            (SigningKeyState::Next, None)
        };
    };
    let overlap = Duration::from_secs(successor.overlap).as_micros();
    let end = successor
        .signs_from
        .plus_micros(i64::try_from(overlap).unwrap_or(i64::MAX));
    let state = if now < record.signs_from {
        SigningKeyState::Next
    } else if now < successor.signs_from {
        SigningKeyState::Signing
    } else if now < end {
        SigningKeyState::Overlapping
    } else {
        SigningKeyState::Retired
    };
    (state, Some(end))
}

/// Returns the label of a sealed key. The record is part of it, so that neither is changed without
/// the secret.
fn label(name: &str, record: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"\n", record].concat()
}

fn public_half(seed: &[u8; 32]) -> [u8; 32] {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed has 32 bytes");
    pair.public_key()
        .as_ref()
        .try_into()
        .expect("a public key has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(signs_from: i64, overlap: u64, withdraws: bool) -> Record {
        Record {
            kid: SigningKeyId::from_u128(1),
            created_at: Timestamp::from_micros(signs_from * 1_000_000),
            signs_from: Timestamp::from_micros(signs_from * 1_000_000),
            overlap,
            withdraws,
        }
    }

    fn at(second: i64, of: &Record, later: &[Record]) -> SigningKeyState {
        state(of, later.iter(), Timestamp::from_micros(second * 1_000_000)).0
    }

    #[test]
    fn a_key_lives_from_next_to_retired_by_the_times_of_its_successor() {
        let (first, second) = (record(0, 0, false), record(100, 50, false));
        let later = [second.clone()];
        assert_eq!(at(99, &first, &later), SigningKeyState::Signing);
        assert_eq!(at(99, &second, &[]), SigningKeyState::Next);
        assert_eq!(at(100, &first, &later), SigningKeyState::Overlapping);
        assert_eq!(at(100, &second, &[]), SigningKeyState::Signing);
        assert_eq!(at(149, &first, &later), SigningKeyState::Overlapping);
        assert_eq!(at(150, &first, &later), SigningKeyState::Retired);
    }

    #[test]
    fn a_withdrawal_ends_every_key_before_it_at_once() {
        let (first, second, third) = (
            record(0, 0, false),
            record(100, 50, false),
            record(120, 0, true),
        );
        let later = [second.clone(), third.clone()];
        assert_eq!(at(120, &first, &later), SigningKeyState::Withdrawn);
        assert_eq!(at(120, &second, &later[1..]), SigningKeyState::Withdrawn);
        assert_eq!(at(120, &third, &[]), SigningKeyState::Signing);
    }
}
