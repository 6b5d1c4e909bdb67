//! The binary forms of heads and tails, in every version that was ever written.

use super::{CallHead, CallRecord, CallTail, CallerPlace};
use crate::id::{CallId, CredentialId, LicenseId};
use crate::outcome::{Method, Mode, Outcome};
use crate::refusal::Refusal;
use crate::symbol::Symbol;
use crate::time::Timestamp;
use crate::units::UnreadableUnits;

/// The reason why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRecordError {
    /// The version is unknown to this program; a newer one wrote the record.
    #[error(
        "record has format version {0}, this program reads up to {VERSION}: use a newer tallygate"
    )]
    Version(u8),
    /// The length is wrong, or a field has a number without a meaning.
    #[error("record is malformed in field `{0}`")]
    Malformed(&'static str),
}

/// The version of the binary forms that are written. Those of version 1 are read for ever.
///
/// Version 2 begins with the fields of version 1 in their places. Its reserved bytes are written as
/// zero and not read.
pub const VERSION: u8 = 2;
const FIRST_VERSION: u8 = 1;
const FIRST_HEAD_LENGTH: usize = 80;
const FIRST_TAIL_LENGTH: usize = 64;

const TEST: u8 = 1;
const BILLABLE_STATUS: u8 = 1 << 1;
const BILLS_INTERRUPTED: u8 = 1 << 2;
const LIMITED: u8 = 1 << 3;
const HAS_LICENSE: u8 = 1 << 4;
const WINDOWED: u8 = 1 << 5;
const KEEPS_UNITS: u8 = 1 << 6;
const HAS_CORRECTION: u8 = 1 << 7;

const NO_CALLER: u8 = 0;
const CALLER_NETWORK: u8 = 1;
const CALLER_HASH: u8 = 2;

const BILLABLE: u8 = 1;
const HAS_PAYER: u8 = 1 << 1;
const HAS_SETTLEMENT: u8 = 1 << 2;
const HAS_GRPC_STATUS: u8 = 1 << 3;

impl CallHead {
    /// The length of the binary form that is written, in bytes; the last twelve are reserved.
    pub const LENGTH: usize = 144;

    /// Returns the binary form.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let (caller_kind, caller) = match self.caller {
            None => (NO_CALLER, 0),
            Some(CallerPlace::Network(bits)) => (CALLER_NETWORK, bits),
            Some(CallerPlace::Hash(bits)) => (CALLER_HASH, bits),
        };
        bytes[0] = VERSION;
        bytes[1] = self.method as u8;
        bytes[2] = self.mode as u8;
        bytes[3] = flag(self.test, TEST)
            | flag(self.billable_status, BILLABLE_STATUS)
            | flag(self.bills_interrupted, BILLS_INTERRUPTED)
            | flag(self.limited, LIMITED)
            | flag(self.windowed, WINDOWED)
            | flag(self.license_id.is_some(), HAS_LICENSE)
            | flag(self.keeps_units, KEEPS_UNITS)
            | flag(self.correction_of.is_some(), HAS_CORRECTION);
        bytes[4..6].copy_from_slice(&self.status.to_le_bytes());
        bytes[6] = caller_kind;
        bytes[8..12].copy_from_slice(&self.app.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.route.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.call_id.as_u128().to_le_bytes());
        bytes[32..48].copy_from_slice(&self.license_id.map_or(0, LicenseId::as_u128).to_le_bytes());
        bytes[48..52].copy_from_slice(&self.plan.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.started_at.micros().to_le_bytes());
        bytes[64..72].copy_from_slice(&self.reserved.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.idempotency.to_le_bytes());
        let credential = self.credential_id.map_or(0, CredentialId::as_u128);
        bytes[80..96].copy_from_slice(&credential.to_le_bytes());
        bytes[96..112].copy_from_slice(&caller.to_le_bytes());
        let correction = self.correction_of.map_or(0, CallId::as_u128);
        bytes[112..128].copy_from_slice(&correction.to_le_bytes());
        bytes[128..132].copy_from_slice(&self.unit.to_le_bytes());
        bytes
    }

    /// Reads the binary form of any version.
    ///
    /// A head of version 1 does not say whether its units stay spent if it is not billed: they do,
    /// as they did then.
    ///
    /// # Errors
    /// Other lengths, unknown versions, numbers without a meaning.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        let length = version_length(bytes, FIRST_HEAD_LENGTH, Self::LENGTH)?;
        if bytes.len() != length {
            return Err(DecodeRecordError::Malformed("length"));
        }
        let flags = bytes[3];
        let license = u128::from_le_bytes(field(bytes, 32));
        let head = Self {
            call_id: CallId::from_u128(u128::from_le_bytes(field(bytes, 16))),
            license_id: (flags & HAS_LICENSE != 0).then(|| LicenseId::from_u128(license)),
            app: u32::from_le_bytes(field(bytes, 8)),
            route: u32::from_le_bytes(field(bytes, 12)),
            plan: u32::from_le_bytes(field(bytes, 48)),
            method: Method::from_number(bytes[1]).ok_or(DecodeRecordError::Malformed("method"))?,
            mode: Mode::from_number(bytes[2]).ok_or(DecodeRecordError::Malformed("mode"))?,
            status: u16::from_le_bytes(field(bytes, 4)),
            started_at: Timestamp::from_micros(i64::from_le_bytes(field(bytes, 56))),
            reserved: u64::from_le_bytes(field(bytes, 64)),
            epoch: u32::from_le_bytes(field(bytes, 52)),
            test: flags & TEST != 0,
            billable_status: flags & BILLABLE_STATUS != 0,
            bills_interrupted: flags & BILLS_INTERRUPTED != 0,
            limited: flags & LIMITED != 0,
            windowed: flags & WINDOWED != 0,
            idempotency: u64::from_le_bytes(field(bytes, 72)),
            keeps_units: true,
            credential_id: None,
            caller: None,
            correction_of: None,
            unit: Symbol::NONE,
        };
        if bytes[0] == FIRST_VERSION {
            return Ok(head);
        }
        let credential = u128::from_le_bytes(field(bytes, 80));
        let caller = u128::from_le_bytes(field(bytes, 96));
        let correction = u128::from_le_bytes(field(bytes, 112));
        Ok(Self {
            keeps_units: flags & KEEPS_UNITS != 0,
            credential_id: (credential != 0).then(|| CredentialId::from_u128(credential)),
            caller: match bytes[6] {
                NO_CALLER => None,
                CALLER_NETWORK => Some(CallerPlace::Network(caller)),
                CALLER_HASH => Some(CallerPlace::Hash(caller)),
                _ => return Err(DecodeRecordError::Malformed("caller")),
            },
            correction_of: (flags & HAS_CORRECTION != 0).then(|| CallId::from_u128(correction)),
            unit: u32::from_le_bytes(field(bytes, 128)),
            ..head
        })
    }

    /// Reads the head at the beginning of bytes that may continue, as those of a whole record do.
    ///
    /// # Errors
    /// As [`CallHead::decode`].
    pub fn decode_first(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        split(bytes).and_then(|(head, _)| Self::decode(head))
    }
}

impl CallTail {
    /// The length of the binary form that is written, in bytes; the last sixteen are reserved.
    pub const LENGTH: usize = 112;

    /// Returns the binary form.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        bytes[0] = VERSION;
        bytes[1] = self.outcome as u8;
        bytes[2] = flag(self.billable, BILLABLE)
            | flag(self.payer.is_some(), HAS_PAYER)
            | flag(self.settlement_id.is_some(), HAS_SETTLEMENT)
            | flag(self.grpc_status.is_some(), HAS_GRPC_STATUS);
        bytes[3] = self.attempts;
        bytes[4] = self.refusal.map_or(0, |refusal| refusal as u8);
        bytes[5] = self.grpc_status.unwrap_or(0);
        bytes[6] = self.units_unreadable.map_or(0, |reason| reason as u8);
        bytes[8..12].copy_from_slice(&self.calls.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.units.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.spent.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.request_bytes.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.response_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.duration_us.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.upstream_us.to_le_bytes());
        bytes[64..80].copy_from_slice(&self.payer.unwrap_or(0).to_le_bytes());
        bytes[80..96].copy_from_slice(&self.settlement_id.unwrap_or(0).to_le_bytes());
        bytes
    }

    /// Reads the binary form of any version.
    ///
    /// # Errors
    /// Other lengths, unknown versions, numbers without a meaning.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        let length = version_length(bytes, FIRST_TAIL_LENGTH, Self::LENGTH)?;
        if bytes.len() != length {
            return Err(DecodeRecordError::Malformed("length"));
        }
        let refusal = match bytes[4] {
            0 => None,
            number => {
                Some(Refusal::from_number(number).ok_or(DecodeRecordError::Malformed("refusal"))?)
            }
        };
        let tail = Self {
            outcome: Outcome::from_number(bytes[1])
                .ok_or(DecodeRecordError::Malformed("outcome"))?,
            billable: bytes[2] & BILLABLE != 0,
            attempts: bytes[3],
            refusal,
            calls: u32::from_le_bytes(field(bytes, 8)),
            units: u64::from_le_bytes(field(bytes, 16)),
            spent: u64::from_le_bytes(field(bytes, 24)),
            request_bytes: u64::from_le_bytes(field(bytes, 32)),
            response_bytes: u64::from_le_bytes(field(bytes, 40)),
            duration_us: u64::from_le_bytes(field(bytes, 48)),
            upstream_us: u64::from_le_bytes(field(bytes, 56)),
            ..Self::default()
        };
        if bytes[0] == FIRST_VERSION {
            return Ok(tail);
        }
        let flags = bytes[2];
        let unreadable = match bytes[6] {
            0 => None,
            number => Some(
                UnreadableUnits::from_number(number)
                    .ok_or(DecodeRecordError::Malformed("units_unreadable"))?,
            ),
        };
        let there = |bit: u8, offset: usize| {
            (flags & bit != 0).then(|| u128::from_le_bytes(field(bytes, offset)))
        };
        Ok(Self {
            payer: there(HAS_PAYER, 64),
            settlement_id: there(HAS_SETTLEMENT, 80),
            grpc_status: (flags & HAS_GRPC_STATUS != 0).then_some(bytes[5]),
            units_unreadable: unreadable,
            ..tail
        })
    }
}

impl CallRecord {
    /// The length of the binary form that is written, in bytes: head, then tail.
    pub const LENGTH: usize = CallHead::LENGTH + CallTail::LENGTH;

    /// Returns the binary form of a record that is written at once.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..CallHead::LENGTH].copy_from_slice(&self.head.encode());
        bytes[CallHead::LENGTH..].copy_from_slice(&self.tail.encode());
        bytes
    }

    /// Reads the binary form of any version.
    ///
    /// # Errors
    /// As [`CallHead::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        let (head, tail) = split(bytes)?;
        Ok(Self {
            head: CallHead::decode(head)?,
            tail: CallTail::decode(tail)?,
        })
    }
}

/// Splits bytes into the head that they begin with, and the rest.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeRecordError> {
    let length = version_length(bytes, FIRST_HEAD_LENGTH, CallHead::LENGTH)?;
    bytes
        .split_at_checked(length)
        .ok_or(DecodeRecordError::Malformed("length"))
}

/// Returns the length of a form by the version in its first byte: `first` for version 1, `second`
/// for version 2.
fn version_length(bytes: &[u8], first: usize, second: usize) -> Result<usize, DecodeRecordError> {
    match bytes.first() {
        None => Err(DecodeRecordError::Malformed("length")),
        Some(&FIRST_VERSION) => Ok(first),
        Some(&VERSION) => Ok(second),
        Some(&other) => Err(DecodeRecordError::Version(other)),
    }
}

/// Returns the `N` bytes at an offset. Both are constants of the format, so this cannot leave the
/// bytes.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    bytes[offset..offset + N]
        .try_into()
        .expect("the slice has the length of the field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_a_record_that_decodes_the_same(
            mut bytes in proptest::collection::vec(any::<u8>(), CallRecord::LENGTH), first: bool,
        ) {
            let (version, head, tail) = match first {
                true => (FIRST_VERSION, FIRST_HEAD_LENGTH, FIRST_TAIL_LENGTH),
                false => (VERSION, CallHead::LENGTH, CallTail::LENGTH),
            };
            bytes.truncate(head + tail);
            (bytes[0], bytes[head]) = (version, version);
            for (at, below) in [(1, 9), (2, 6), (6, 3), (head + 1, 7), (head + 4, 28), (head + 6, 6)] {
                bytes[at] %= below;
            }
            let record = CallRecord::decode(&bytes).expect("every field is in range");
            prop_assert_eq!(CallRecord::decode(&record.encode()), Ok(record));
            prop_assert_eq!(CallHead::decode_first(&bytes), Ok(record.head));
            if first {
                prop_assert!(record.head.keeps_units && record.head.credential_id.is_none() && record.head.caller.is_none());
                prop_assert!(record.tail.payer.is_none() && record.tail.units_unreadable.is_none());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), version in 0_u8..4) {
            let _ = CallRecord::decode(&bytes);
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let _ = CallRecord::decode(&bytes);
            let _ = CallTail::decode(&bytes);
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = [0; CallHead::LENGTH];
        bytes[0] = 3;
        assert_eq!(CallHead::decode(&bytes), Err(DecodeRecordError::Version(3)));
    }

    #[test]
    fn what_is_in_reserve_is_not_looked_at() {
        let (head, tail) = (CallHead::default(), CallTail::default());
        let mut bytes = CallRecord { head, tail }.encode();
        for reserved in [7..8, 132..144, 151..152, 156..160, 240..256] {
            bytes[reserved].fill(0xff);
        }
        assert_eq!(CallRecord::decode(&bytes), Ok(CallRecord { head, tail }));
    }

    #[test]
    fn a_record_of_version_1_is_read_as_it_was_meant() {
        let mut bytes = [0_u8; FIRST_HEAD_LENGTH];
        bytes[..6].copy_from_slice(&[1, 3, 1, HAS_LICENSE | BILLABLE_STATUS | LIMITED, 200, 0]);
        bytes[8] = 1;
        bytes[16..32].copy_from_slice(&77_u128.to_le_bytes());
        bytes[32..48].copy_from_slice(&5_u128.to_le_bytes());
        bytes[64..72].copy_from_slice(&9_u64.to_le_bytes());
        let head = CallHead::decode(&bytes).expect("valid");
        let expected = CallHead {
            call_id: CallId::from_u128(77),
            license_id: Some(LicenseId::from_u128(5)),
            app: 1,
            method: Method::Post,
            mode: Mode::Rpc,
            status: 200,
            reserved: 9,
            billable_status: true,
            limited: true,
            keeps_units: true,
            ..CallHead::default()
        };
        assert_eq!(head, expected);
    }
}
