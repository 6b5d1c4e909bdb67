//! The bytes on disk: segment headers and frames.
//!
//! A segment is one header of [`HEADER_BYTES`] and then frames, each aligned to 8 bytes and followed by a zero word
//! until the next frame takes its place:
//!
//! ```text
//!  0  len u32       bytes of the frame without padding; 0: no frame here
//!  4  crc32c u32    over everything from byte 8, seeded with the segment's salt and `len`
//!  8  kind u8, flags u8, zero u16
//! 12  distance u32  this frame's position minus the lane's durable position when it was written
//! 16  sequence u64  (a definition: its symbol)
//! 24  number u64    (closes and singles only)
//!     payload
//! ```
//!
//! The salt is made of instance, lane and segment number, so that frames of a recycled file's
//! earlier use do not validate: a CRC is linear, and the same bytes under another seed never give
//! the same sum.

use std::ops::Range;

/// The version of the format. A reader refuses newer ones.
pub(crate) const VERSION: u32 = 1;
/// The length of a segment's header in bytes, before its first frame.
pub(crate) const HEADER_BYTES: usize = 128;
/// The length of the longest frame header, in bytes.
pub(crate) const FRAME_HEADER_MAX: usize = 32;
/// The length of the longest payload of a frame, in bytes.
pub(crate) const PAYLOAD_MAX: usize = 4096;
/// The length of the longest symbol of a dictionary, in bytes.
pub(crate) const SYMBOL_MAX: usize = 1024;
/// The largest number of bytes that a frame takes beyond its payload: header and padding.
pub(crate) const FRAME_OVERHEAD: u64 = FRAME_HEADER_MAX as u64 + 7;
/// The `distance` of a frame that claims nothing about durability.
pub(crate) const NO_CLAIM: u32 = u32::MAX;
/// The flag of a frame that repeats one of an earlier segment.
pub(crate) const CARRIED: u8 = 1;

const MAGIC: [u8; 8] = *b"LANESEGM";

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Define = 1,
    Open = 2,
    Close = 3,
    Single = 4,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Define),
            2 => Some(Self::Open),
            3 => Some(Self::Close),
            4 => Some(Self::Single),
            _ => None,
        }
    }

    /// Returns whether the frame has a close number.
    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::Close | Self::Single)
    }

    pub(crate) const fn header_bytes(self) -> usize {
        match self {
            Self::Define | Self::Open => 24,
            Self::Close | Self::Single => FRAME_HEADER_MAX,
        }
    }

    /// Returns the bytes that a frame of this kind takes in a segment.
    pub(crate) const fn frame_bytes(self, payload: usize) -> usize {
        (self.header_bytes() + payload).next_multiple_of(8)
    }
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) distance: u32,
    /// The sequence of the frame; of a definition, its symbol.
    pub(crate) sequence: u64,
    /// The close number; 0 if the kind has none.
    pub(crate) number: u64,
}

impl FrameHead {
    pub(crate) fn carried(&self) -> bool {
        self.flags & CARRIED != 0
    }
}

/// A frame about to be written: its header bytes, and the word that makes it valid.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) header: [u8; FRAME_HEADER_MAX],
    /// The word of `len` and `crc32c`, which is stored last.
    pub(crate) seal: u64,
}

/// Encodes the head of a frame with this payload for a segment of this salt.
pub(crate) fn encode(head: &FrameHead, payload: &[u8], salt: u32) -> Encoded {
    let mut header = [0; FRAME_HEADER_MAX];
    header[8] = head.kind as u8;
    header[9] = head.flags;
    header[12..16].copy_from_slice(&head.distance.to_le_bytes());
    header[16..24].copy_from_slice(&head.sequence.to_le_bytes());
    header[24..32].copy_from_slice(&head.number.to_le_bytes());
    let header_bytes = head.kind.header_bytes();
    let len = (header_bytes + payload.len()) as u32;
    let crc = crc32c::crc32c_append(seed(salt, len), &header[8..header_bytes]);
    let crc = crc32c::crc32c_append(crc, payload);
    Encoded {
        header,
        seal: u64::from(len) | u64::from(crc) << 32,
    }
}

/// A valid frame found in a segment's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) head: FrameHead,
    pub(crate) payload: Range<usize>,
    /// The offset of the byte after the frame and its padding.
    pub(crate) end: usize,
}

/// Returns the frame at `offset` of `bytes`, if a valid one of this salt is there and ends within
/// `bytes`.
pub(crate) fn decode(bytes: &[u8], offset: usize, salt: u32) -> Option<Frame> {
    let rest = bytes.get(offset..)?;
    let len = u32_at(rest, 0)?;
    let kind = Kind::from_byte(*rest.get(8)?)?;
    let header_bytes = kind.header_bytes();
    let limit = if kind == Kind::Define {
        SYMBOL_MAX
    } else {
        PAYLOAD_MAX
    };
    if (len as usize) < header_bytes || len as usize > header_bytes + limit {
        return None;
    }
    let frame = rest.get(..len as usize)?;
    if frame[10] != 0 || frame[11] != 0 || frame[9] & !CARRIED != 0 {
        return None;
    }
    if crc32c::crc32c_append(seed(salt, len), &frame[8..]) != u32_at(frame, 4)? {
        return None;
    }
    let head = FrameHead {
        kind,
        flags: frame[9],
        distance: u32_at(frame, 12)?,
        sequence: u64_at(frame, 16)?,
        number: if kind.closes() { u64_at(frame, 24)? } else { 0 },
    };
    Some(Frame {
        head,
        payload: offset + header_bytes..offset + len as usize,
        // The padding of the very last frame may be cut off with the file.
        end: (offset + (len as usize).next_multiple_of(8)).min(bytes.len()),
    })
}

fn seed(salt: u32, len: u32) -> u32 {
    salt.wrapping_add(len)
}

/// Returns the number with which the checksums of one segment are seeded.
pub(crate) fn salt(instance: u128, lane: u32, number: u64) -> u32 {
    let mut name = [0; 28];
    name[..16].copy_from_slice(&instance.to_le_bytes());
    name[16..20].copy_from_slice(&lane.to_le_bytes());
    name[20..].copy_from_slice(&number.to_le_bytes());
    crc32c::crc32c(&name)
}

/// The header of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) instance: u128,
    pub(crate) lane: u32,
    pub(crate) number: u64,
    /// The lane position of the first frame.
    pub(crate) start: u64,
    /// The sequence of the next open.
    pub(crate) next_sequence: u64,
    /// The number of closes in the segments before.
    pub(crate) closed: u64,
    /// The boot id of the machine that wrote the segment; 0: unknown.
    pub(crate) boot: u128,
    /// The time at which the segment was begun, in microseconds since 1970.
    pub(crate) created: u64,
    /// The durable position of the lane when the segment was begun.
    pub(crate) durable: u64,
}

/// The result of reading the first bytes of a segment file.
#[derive(Debug)]
pub(crate) enum HeaderFound {
    Valid(Header),
    /// The segment is prepared but not begun, half-written, or damaged.
    Invalid,
    /// The segment was written by a newer release, in this version.
    Newer(u32),
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.lane.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.instance.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.start.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.next_sequence.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.closed.to_le_bytes());
        bytes[64..80].copy_from_slice(&self.boot.to_le_bytes());
        bytes[80..88].copy_from_slice(&self.created.to_le_bytes());
        bytes[88..96].copy_from_slice(&self.durable.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..124]);
        bytes[124..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `instance`, `lane` and `number` come from the file's name and must agree.
    pub(crate) fn decode(bytes: &[u8], instance: u128, lane: u32, number: u64) -> HeaderFound {
        Self::parse(bytes, instance, lane, number).unwrap_or(HeaderFound::Invalid)
    }

    fn parse(bytes: &[u8], instance: u128, lane: u32, number: u64) -> Option<HeaderFound> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if bytes[..8] != MAGIC {
            return None;
        }
        let version = u32_at(bytes, 8)?;
        if version > VERSION {
            return Some(HeaderFound::Newer(version));
        }
        if u32_at(bytes, 124)? != crc32c::crc32c(&bytes[..124]) {
            return None;
        }
        let header = Self {
            lane: u32_at(bytes, 12)?,
            instance: u128_at(bytes, 16)?,
            number: u64_at(bytes, 32)?,
            start: u64_at(bytes, 40)?,
            next_sequence: u64_at(bytes, 48)?,
            closed: u64_at(bytes, 56)?,
            boot: u128_at(bytes, 64)?,
            created: u64_at(bytes, 80)?,
            durable: u64_at(bytes, 88)?,
        };
        let named = header.instance == instance && header.lane == lane && header.number == number;
        named.then_some(HeaderFound::Valid(header))
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_le_bytes(
        bytes.get(at..at + 16)?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Define),
            Just(Kind::Open),
            Just(Kind::Close),
            Just(Kind::Single)
        ]
    }

    fn frame_bytes(head: &FrameHead, payload: &[u8], salt: u32) -> Vec<u8> {
        let encoded = encode(head, payload, salt);
        let mut bytes = encoded.header[..head.kind.header_bytes()].to_vec();
        bytes[..8].copy_from_slice(&encoded.seal.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.resize(head.kind.frame_bytes(payload.len()), 0xEE);
        bytes
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_and_any_changed_bit_is_noticed(
            kind in kinds(), carried: bool, distance: u32, sequence: u64, number: u64, salt: u32,
            payload in prop::collection::vec(any::<u8>(), 0..300), flip: prop::sample::Index,
        ) {
            let number = if kind.closes() { number } else { 0 };
            let head = FrameHead { kind, flags: u8::from(carried), distance, sequence, number };
            let mut bytes = frame_bytes(&head, &payload, salt);
            let frame = decode(&bytes, 0, salt).expect("valid");
            prop_assert_eq!(frame.head, head);
            prop_assert_eq!(&bytes[frame.payload.clone()], &payload[..]);
            prop_assert_eq!(frame.end, bytes.len());
            prop_assert!(decode(&bytes, 0, salt ^ 0x10).is_none(), "another segment's salt");

            let bit = flip.index(frame.payload.end * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes, 0, salt).is_none(), "bit {bit} changed");
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), offset in 0usize..220) {
            let _ = decode(&bytes, offset, 7);
            let _ = Header::decode(&bytes, 0, 0, 0);
        }

        #[test]
        fn a_header_reads_back_only_under_its_own_name(
            instance: u128, lane: u32, number: u64, start: u64, closed: u64, boot: u128,
        ) {
            let header =
                Header { instance, lane, number, start, next_sequence: 9, closed, boot, created: 4, durable: 2 };
            let bytes = header.encode();
            let found = Header::decode(&bytes, instance, lane, number);
            prop_assert!(matches!(found, HeaderFound::Valid(read) if read == header));
            let other = Header::decode(&bytes, instance, lane, number ^ 1);
            prop_assert!(matches!(other, HeaderFound::Invalid));
        }
    }
}
