//! The writing end of a lane: frames, rotation, and the room that is promised.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Instant;

use crate::files::Blank;
use crate::format::{self, CARRIED, FrameHead, HEADER_BYTES, Header, Kind, NO_CLAIM};
use crate::lane::Lane;
use crate::map::MapWriter;
use crate::segment::{Passed, Segment};
use crate::state;

/// The state that the lane's one lock guards.
///
/// Room is promised under three bounds, where `capacity` is a segment without its header: the
/// dictionary stays within a quarter of it; open frames and reserved bytes together within a half;
/// and reserved bytes fit into the rest of this segment, or the next one is prepared. A new segment
/// begins with dictionary and open frames, so a quarter of it and all reserved room is left:
/// whatever was promised can be written after at most one rotation.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) segment: Arc<Segment>,
    pub(crate) map: MapWriter,
    /// The offset of the next frame.
    pub(crate) offset: usize,
    /// The prepared next segment, already under its final name.
    pub(crate) next: Option<Blank>,
    dictionary: Vec<Option<Box<[u8]>>>,
    dictionary_bytes: u64,
    /// The frames without a close. Each lies in the current segment, because a rotation carries it
    /// over.
    opens: HashMap<u64, OpenFrame, BuildHasherDefault<SequenceHasher>>,
    open_bytes: u64,
    reserved: u64,
    next_sequence: u64,
    closed: u64,
}

#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    offset: usize,
    bytes: usize,
}

/// The hasher of sequences, which are consecutive numbers of our own: one multiplication spreads
/// them.
#[derive(Debug, Default)]
pub(crate) struct SequenceHasher(u64);

impl Hasher for SequenceHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let spread = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }
}

impl Writer {
    /// Begins a lane in `blank`, which lies at the path of segment 0.
    pub(crate) fn begin(mut blank: Blank, header: &Header) -> Self {
        store_header(&mut blank.map, header);
        let segment = Segment::new(header, blank.path, blank.file, Arc::clone(blank.map.map()));
        Self {
            segment: Arc::new(segment),
            map: blank.map,
            offset: HEADER_BYTES,
            next: None,
            dictionary: Vec::new(),
            dictionary_bytes: 0,
            opens: HashMap::with_capacity_and_hasher(1024, BuildHasherDefault::default()),
            open_bytes: 0,
            reserved: 0,
            next_sequence: 1,
            closed: 0,
        }
    }

    fn capacity(&self) -> u64 {
        (self.map.len() - HEADER_BYTES) as u64
    }

    fn rest(&self) -> u64 {
        (self.map.len() - self.offset) as u64
    }

    /// Returns the lane position of the next frame.
    pub(crate) fn position(&self) -> u64 {
        self.segment.start + (self.offset - HEADER_BYTES) as u64
    }

    /// Returns whether `bytes` more would let open and reserved frames outgrow a segment.
    pub(crate) fn crowded_by(&self, bytes: u64) -> bool {
        self.open_bytes + self.reserved + bytes > self.capacity() / 2
    }

    /// Returns whether `bytes` more can be written in any case.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        self.next.is_some() || self.reserved + bytes <= self.rest()
    }

    /// Returns whether the next segment should be prepared now.
    pub(crate) fn wants_next(&self) -> bool {
        self.next.is_none() && (self.rest() < self.capacity() / 2 || self.reserved > self.rest())
    }

    pub(crate) fn reserve(&mut self, bytes: u64) {
        self.reserved += bytes;
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    pub(crate) fn open_count(&self) -> u64 {
        self.opens.len() as u64
    }

    pub(crate) fn defined(&self, symbol: u32) -> bool {
        self.dictionary
            .get(symbol as usize)
            .is_some_and(Option::is_some)
    }

    /// Returns whether a definition of `bytes` keeps the dictionary within its bound.
    pub(crate) fn dictionary_takes(&self, bytes: u64) -> bool {
        self.dictionary_bytes + bytes <= self.capacity() / 4
    }

    /// Writes a definition; the caller has checked [`dictionary_takes`](Self::dictionary_takes) and
    /// [`has_room_for`](Self::has_room_for).
    pub(crate) fn define(&mut self, lane: &Lane, symbol: u32, bytes: &[u8]) {
        let head = FrameHead {
            kind: Kind::Define,
            flags: 0,
            distance: NO_CLAIM,
            sequence: u64::from(symbol),
            number: 0,
        };
        self.append(lane, head, bytes);
        let index = symbol as usize;
        if self.dictionary.len() <= index {
            self.dictionary.resize(index + 1, None);
        }
        self.dictionary[index] = Some(bytes.into());
        self.dictionary_bytes += Kind::Define.frame_bytes(bytes.len()) as u64;
    }

    /// Writes an open frame in reserved room, and returns its sequence and its size.
    pub(crate) fn open(&mut self, lane: &Lane, payload: &[u8]) -> (u64, u64) {
        let sequence = self.next_sequence;
        let head = FrameHead {
            kind: Kind::Open,
            flags: 0,
            distance: NO_CLAIM,
            sequence,
            number: 0,
        };
        let frame = self.append(lane, head, payload);
        self.next_sequence += 1;
        let bytes = frame.bytes as u64;
        self.opens.insert(sequence, frame);
        self.open_bytes += bytes;
        self.reserved -= bytes;
        (sequence, bytes)
    }

    /// Closes an open frame, and returns the close number. The caller releases the room.
    pub(crate) fn close(&mut self, lane: &Lane, sequence: u64, payload: &[u8]) -> u64 {
        assert!(
            self.opens.contains_key(&sequence),
            "no frame {sequence} is open in this lane"
        );
        let number = self.closing(lane, Kind::Close, sequence, payload);
        // The frame is removed only now: if the lane rotates for the close, the new segment must
        // hold the open before it.
        let frame = self.opens.remove(&sequence).expect("checked above");
        self.open_bytes -= frame.bytes as u64;
        number
    }

    /// Writes a frame that is opened and closed at once. The caller releases the room.
    pub(crate) fn single(&mut self, lane: &Lane, payload: &[u8]) -> (u64, u64) {
        let sequence = self.next_sequence;
        let number = self.closing(lane, Kind::Single, sequence, payload);
        self.next_sequence += 1;
        (number, sequence)
    }

    fn closing(&mut self, lane: &Lane, kind: Kind, sequence: u64, payload: &[u8]) -> u64 {
        let number = self.closed + 1;
        self.append(
            lane,
            FrameHead {
                kind,
                flags: 0,
                distance: NO_CLAIM,
                sequence,
                number,
            },
            payload,
        );
        self.closed = number;
        number
    }

    pub(crate) fn closed(&self) -> u64 {
        self.closed
    }

    pub(crate) fn opened(&self) -> u64 {
        self.next_sequence - 1
    }

    fn append(&mut self, lane: &Lane, head: FrameHead, payload: &[u8]) -> OpenFrame {
        fail::fail_point!("journal::write");
        if head.kind.frame_bytes(payload.len()) as u64 > self.rest() {
            self.rotate(lane);
        }
        self.put(lane.durable_now(), head, payload)
    }

    /// Copies one frame after the last one. Its first word, which makes it valid, is stored last,
    /// and before that the zero word after it: a process killed anywhere in between leaves a clean
    /// end.
    fn put(&mut self, durable: u64, mut head: FrameHead, payload: &[u8]) -> OpenFrame {
        head.distance = u32::try_from(self.position().saturating_sub(durable)).unwrap_or(NO_CLAIM);
        let encoded = format::encode(&head, payload, self.segment.salt);
        let header_bytes = head.kind.header_bytes();
        let (offset, bytes) = (self.offset, head.kind.frame_bytes(payload.len()));
        self.map.store(offset + 8, &encoded.header[8..header_bytes]);
        fail::fail_point!("journal::torn", |_| {
            self.map.store_word(offset, encoded.seal);
            self.map
                .store(offset + header_bytes, &payload[..payload.len() / 2]);
            std::process::abort();
        });
        self.map.store(offset + header_bytes, payload);
        if self.map.len() - (offset + bytes) >= 8 {
            self.map.store_word(offset + bytes, 0);
        }
        self.map.store_word(offset, encoded.seal);
        self.offset = offset + bytes;
        self.map.publish(self.offset);
        OpenFrame { offset, bytes }
    }

    /// Moves on to the prepared segment, which begins with the dictionary and every open frame.
    fn rotate(&mut self, lane: &Lane) {
        let mut blank = self
            .next
            .take()
            .expect("room was promised only with the next segment prepared");
        let durable = lane.durable_now();
        let header = Header {
            instance: lane.state().options.instance,
            lane: lane.index() as u32,
            number: self.segment.number + 1,
            start: self.position(),
            next_sequence: self.next_sequence,
            closed: self.closed,
            boot: lane.state().boot,
            created: state::now_micros(),
            durable,
        };
        store_header(&mut blank.map, &header);
        let segment = Segment::new(&header, blank.path, blank.file, Arc::clone(blank.map.map()));
        let old = std::mem::replace(&mut self.segment, Arc::new(segment));
        self.map = blank.map;
        self.offset = HEADER_BYTES;
        self.carry(durable, &old);
        lane.pass(
            &old,
            Passed {
                end: header.start,
                closed: self.closed,
                at: Instant::now(),
            },
            &self.segment,
        );
        lane.written_to(self.position());
    }

    fn carry(&mut self, durable: u64, old: &Segment) {
        let dictionary = std::mem::take(&mut self.dictionary);
        for (symbol, bytes) in dictionary.iter().enumerate() {
            if let Some(bytes) = bytes {
                let sequence = symbol as u64;
                let head = FrameHead {
                    kind: Kind::Define,
                    flags: CARRIED,
                    distance: NO_CLAIM,
                    sequence,
                    number: 0,
                };
                self.put(durable, head, bytes);
            }
        }
        self.dictionary = dictionary;

        let mut sequences: Vec<u64> = self.opens.keys().copied().collect();
        sequences.sort_unstable();
        for sequence in sequences {
            let frame = self.opens[&sequence];
            let bytes = old.map.published(frame.offset + frame.bytes);
            let read = format::decode(bytes, frame.offset, old.salt)
                .expect("the map holds what was written to it");
            let head = FrameHead {
                kind: Kind::Open,
                flags: CARRIED,
                distance: NO_CLAIM,
                sequence,
                number: 0,
            };
            let carried = self.put(durable, head, &bytes[read.payload]);
            self.opens.insert(sequence, carried);
        }
    }
}

fn store_header(map: &mut MapWriter, header: &Header) {
    map.store(0, &header.encode());
    map.store_word(HEADER_BYTES, 0);
    map.publish(HEADER_BYTES);
}

/// Returns the bytes to reserve for `frames` frames with `payload` bytes together.
pub(crate) fn reservation(payload: u32, frames: u32) -> u64 {
    u64::from(frames) * format::FRAME_OVERHEAD + u64::from(payload)
}

const _: () = assert!(
    Kind::Single.frame_bytes(format::PAYLOAD_MAX) * 8 <= (64 << 10) - HEADER_BYTES,
    "one frame fits into an eighth of the smallest segment"
);
