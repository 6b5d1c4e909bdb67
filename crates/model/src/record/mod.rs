//! The record of a call: what is written when its status is known, and what when it is over.
//!
//! The binary forms are fixed-size, little-endian and carry their version in the first byte, since journals outlive processes.

use crate::id::{CallId, LicenseId};
use crate::outcome::{Method, Mode, Outcome};
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// What is known when the status is: the billable fact. It is durable before the caller sees the status (G1).
///
/// A mark (a call that may have been forwarded but has no status yet) is a head with status 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallHead {
    /// Identity of the call.
    pub call_id: CallId,
    /// The license that pays; `None` on routes that are open to all.
    pub license_id: Option<LicenseId>,
    /// Symbol of the app.
    pub app: u32,
    /// Symbol of the route.
    pub route: u32,
    /// Symbol of the plan revision; 0 where there is none.
    pub plan: u32,
    /// Request method.
    pub method: Method,
    /// Way of spending.
    pub mode: Mode,
    /// Status sent to the caller; 0: none was.
    pub status: u16,
    /// When the call came in.
    pub started_at: Timestamp,
    /// Units reserved for it.
    pub reserved: u64,
    /// The refill epoch of the balance that they were reserved from.
    pub epoch: u32,
    /// The app is in test mode: never billed.
    pub test: bool,
    /// The status is one of those that the app bills.
    pub billable_status: bool,
    /// The app bills calls that end as `interrupted`.
    pub bills_interrupted: bool,
    /// Its units are taken from the license's balance.
    pub limited: bool,
    /// It counts against a rate window of an hour or longer.
    pub windowed: bool,
    /// Hash of the caller's idempotency key; 0 where there is none.
    pub idempotency: u64,
}

/// What is known when the call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTail {
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it is billed.
    pub billable: bool,
    /// Connections to the upstream that were tried.
    pub attempts: u8,
    /// Why it was refused, where it was.
    pub refusal: Option<Refusal>,
    /// Calls this record stands for: 1, but for refusals that were folded.
    pub calls: u32,
    /// Units of work that it used.
    pub units: u64,
    /// Units that stay taken from the balance.
    pub spent: u64,
    /// Payload bytes of the request.
    pub request_bytes: u64,
    /// Payload bytes of the response.
    pub response_bytes: u64,
    /// Time from request head to end, in microseconds.
    pub duration_us: u64,
    /// Time from contacting the upstream to the end of its answer, in microseconds.
    pub upstream_us: u64,
}

/// A whole call, as readers see it once it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// What was known with the status.
    pub head: CallHead,
    /// What was known at the end.
    pub tail: CallTail,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeRecordError {
    /// A version that this program does not know; a newer one wrote it.
    #[error(
        "record has format version {0}, this program reads up to {VERSION}: use a newer tallygate"
    )]
    Version(u8),
    /// Not of the right length, or a field with a number that means nothing.
    #[error("record is malformed in field `{0}`")]
    Malformed(&'static str),
}

/// Version of the binary forms.
pub const VERSION: u8 = 1;

const TEST: u8 = 1;
const BILLABLE_STATUS: u8 = 1 << 1;
const BILLS_INTERRUPTED: u8 = 1 << 2;
const LIMITED: u8 = 1 << 3;
const HAS_LICENSE: u8 = 1 << 4;
const WINDOWED: u8 = 1 << 5;
const BILLABLE: u8 = 1;

impl CallHead {
    /// Length of the binary form in bytes.
    pub const LENGTH: usize = 80;

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        bytes[0] = VERSION;
        bytes[1] = self.method as u8;
        bytes[2] = self.mode as u8;
        bytes[3] = flag(self.test, TEST)
            | flag(self.billable_status, BILLABLE_STATUS)
            | flag(self.bills_interrupted, BILLS_INTERRUPTED)
            | flag(self.limited, LIMITED)
            | flag(self.windowed, WINDOWED)
            | flag(self.license_id.is_some(), HAS_LICENSE);
        bytes[4..6].copy_from_slice(&self.status.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.app.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.route.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.call_id.as_u128().to_le_bytes());
        bytes[32..48].copy_from_slice(&self.license_id.map_or(0, LicenseId::as_u128).to_le_bytes());
        bytes[48..52].copy_from_slice(&self.plan.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.started_at.micros().to_le_bytes());
        bytes[64..72].copy_from_slice(&self.reserved.to_le_bytes());
        bytes[72..80].copy_from_slice(&self.idempotency.to_le_bytes());
        bytes
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// Other lengths, unknown versions, numbers without a meaning.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        let bytes: &[u8; Self::LENGTH] = bytes
            .try_into()
            .map_err(|_| DecodeRecordError::Malformed("length"))?;
        if bytes[0] != VERSION {
            return Err(DecodeRecordError::Version(bytes[0]));
        }
        let flags = bytes[3];
        let license = u128::from_le_bytes(field(bytes, 32));
        Ok(Self {
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
        })
    }

    /// The tail of a call whose gate died before it was over (recovery).
    ///
    /// With a status it is `interrupted`: what was reserved stays spent, and it is billed where the app says so.
    /// Without one (a mark) it is `unknown`: spent, not billed.
    #[must_use]
    pub fn tail_of_recovery(&self) -> CallTail {
        let (outcome, billable) = match self.status {
            0 => (Outcome::Unknown, false),
            _ => (
                Outcome::Interrupted,
                self.billable_status && self.bills_interrupted && !self.test,
            ),
        };
        CallTail {
            outcome,
            billable,
            attempts: 1,
            refusal: None,
            calls: 1,
            units: self.reserved,
            spent: self.reserved,
            request_bytes: 0,
            response_bytes: 0,
            duration_us: 0,
            upstream_us: 0,
        }
    }
}

impl CallTail {
    /// Length of the binary form in bytes.
    pub const LENGTH: usize = 64;

    /// The binary form.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = VERSION;
        bytes[1] = self.outcome as u8;
        bytes[2] = if self.billable { BILLABLE } else { 0 };
        bytes[3] = self.attempts;
        bytes[4] = self.refusal.map_or(0, |refusal| refusal as u8);
        bytes[8..12].copy_from_slice(&self.calls.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.units.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.spent.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.request_bytes.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.response_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.duration_us.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.upstream_us.to_le_bytes());
        bytes
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// Other lengths, unknown versions, numbers without a meaning.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        let bytes: &[u8; Self::LENGTH] = bytes
            .try_into()
            .map_err(|_| DecodeRecordError::Malformed("length"))?;
        if bytes[0] != VERSION {
            return Err(DecodeRecordError::Version(bytes[0]));
        }
        let refusal = match bytes[4] {
            0 => None,
            number => {
                Some(Refusal::from_number(number).ok_or(DecodeRecordError::Malformed("refusal"))?)
            }
        };
        Ok(Self {
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
        })
    }
}

impl CallRecord {
    /// Length of the binary form in bytes: head, then tail.
    pub const LENGTH: usize = CallHead::LENGTH + CallTail::LENGTH;

    /// The binary form of a record that is written at once.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..CallHead::LENGTH].copy_from_slice(&self.head.encode());
        bytes[CallHead::LENGTH..].copy_from_slice(&self.tail.encode());
        bytes
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// As [`CallHead::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeRecordError> {
        let (head, tail) = bytes
            .split_at_checked(CallHead::LENGTH)
            .ok_or(DecodeRecordError::Malformed("length"))?;
        Ok(Self {
            head: CallHead::decode(head)?,
            tail: CallTail::decode(tail)?,
        })
    }
}

/// The `N` bytes at an offset; both are constants of the format, so this cannot leave the array.
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
        fn whatever_decodes_encodes_to_a_record_that_decodes_the_same(mut bytes in proptest::collection::vec(any::<u8>(), CallRecord::LENGTH)) {
            bytes[0] = VERSION;
            bytes[CallHead::LENGTH] = VERSION;
            for (at, below) in [(1, 9), (2, 6), (CallHead::LENGTH + 1, 7), (CallHead::LENGTH + 4, 28)] {
                bytes[at] %= below;
            }
            let record = CallRecord::decode(&bytes).expect("every field is in range");
            prop_assert_eq!(CallRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CallRecord::decode(&bytes);
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = [0; CallHead::LENGTH];
        bytes[0] = 2;
        assert_eq!(CallHead::decode(&bytes), Err(DecodeRecordError::Version(2)));
    }
}
