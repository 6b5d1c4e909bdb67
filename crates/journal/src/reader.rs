//! Readers of a lane in order, of this process or of a dead one.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::Error;
use crate::dead_lane::{DeadCursor, DeadLane};
use crate::entry::{Entry, More, Torn};
use crate::format::{self, Frame, FrameHead, HEADER_BYTES, Kind};
use crate::lane::Lane;
use crate::live::LiveCursor;

/// A reader of one lane in order, across segments. It holds the segment it is at, so that it cannot
/// be recycled.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    /// The offset of the next frame in the source's segment.
    offset: usize,
    /// The close number up to which closes, and the frames that they closed, are not delivered.
    from: u64,
    /// The close number that was read last.
    closed: u64,
    /// Whether the reader is in its first segment, the only one whose carried frames are delivered.
    first_segment: bool,
    /// The frames of the first segment that were closed up to `from`.
    settled: HashSet<u64>,
}

/// The source of the bytes, one segment at a time.
#[derive(Debug)]
enum Source {
    Live(LiveCursor),
    Dead(DeadCursor),
}

impl Lane {
    /// Returns a reader from the close after the first `number` ones. Frames that were closed by
    /// those are left out; the definitions, and frames that are open at that point, come first. 0
    /// reads everything that is kept.
    ///
    /// The reader shows what is durable with [`Sync::Disk`](crate::Sync::Disk), and what is written
    /// with [`Sync::Process`](crate::Sync::Process). `number` is one that a reader has shown.
    ///
    /// # Errors
    /// Returns [`Error::Missing`] when the segment was released and recycled.
    pub fn reader_from(self: &Arc<Self>, number: u64) -> Result<Reader, Error> {
        let cursor = LiveCursor::at(self, number)?;
        let closed = cursor.closed();
        Reader::begin(Source::Live(cursor), closed, number)
    }
}

impl DeadLane {
    /// Returns a reader, as [`Lane::reader_from`] does.
    pub(crate) fn reader_from(self: Arc<Self>, number: u64) -> Result<Reader, Error> {
        let cursor = DeadCursor::at(self, number)?;
        let closed = cursor.closed();
        Reader::begin(Source::Dead(cursor), closed, number)
    }
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Live(cursor) => cursor.bytes(),
            Self::Dead(cursor) => cursor.bytes(),
        }
    }

    fn limit(&self) -> usize {
        match self {
            Self::Live(cursor) => cursor.limit(),
            Self::Dead(cursor) => cursor.limit(),
        }
    }

    fn decode(&self, offset: usize) -> Option<Frame> {
        let salt = match self {
            Self::Live(cursor) => cursor.salt(),
            Self::Dead(cursor) => cursor.salt(),
        };
        format::decode(self.bytes(), offset, salt)
    }

    fn more(&mut self, offset: usize) -> Result<More, Error> {
        match self {
            Self::Live(cursor) => cursor.more(offset),
            Self::Dead(cursor) => cursor.more(offset),
        }
    }

    fn corrupt(&self, offset: usize, what: &'static str) -> Error {
        let path = match self {
            Self::Live(cursor) => cursor.path(),
            Self::Dead(cursor) => cursor.path(),
        };
        Error::Corrupt {
            path: path.to_owned(),
            offset: offset as u64,
            what,
        }
    }
}

impl Reader {
    /// Returns a reader at the first frame of the source's segment, before which `closed` closes
    /// lie.
    fn begin(source: Source, closed: u64, from: u64) -> Result<Self, Error> {
        let settled = HashSet::new();
        let mut reader = Self {
            source,
            offset: HEADER_BYTES,
            from,
            closed,
            first_segment: true,
            settled,
        };
        // This makes the limit known, which settling needs.
        while let More::Next { closed } = reader.source.more(HEADER_BYTES)? {
            // The segment was empty: the reader begins with this one.
            reader.closed = closed;
        }
        reader.settle();
        Ok(reader)
    }

    /// Returns the next entry; `None`: the end of what may be seen now. A live lane may get more:
    /// ask again later.
    ///
    /// # Errors
    /// Returns an error if the lane is damaged or a segment is missing. The reader is of no use
    /// then.
    #[expect(
        clippy::should_implement_trait,
        reason = "lends its buffer, which an iterator cannot"
    )]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        let (head, payload) = loop {
            if self.offset >= self.source.limit() && !self.advance()? {
                return Ok(None);
            }
            let Some(frame) = self.source.decode(self.offset) else {
                match &mut self.source {
                    Source::Dead(cursor) => cursor.end_at(self.offset)?,
                    Source::Live(_) => {
                        return Err(self
                            .source
                            .corrupt(self.offset, "a written frame has changed"));
                    }
                }
                return Ok(None);
            };
            self.follow(&frame.head)?;
            self.offset = frame.end;
            if self.delivers(&frame.head) {
                break (frame.head, frame.payload);
            }
        };
        Ok(Some(self.entry(&head, payload)))
    }

    /// Returns the close number that was read last, from which to continue.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    /// Returns the place where a dead lane's torn tail was cut off, once the reader is there;
    /// `None` for a live lane.
    pub fn torn(&self) -> Option<&Torn> {
        match &self.source {
            Source::Dead(cursor) => cursor.torn(),
            Source::Live(_) => None,
        }
    }

    fn entry(&self, head: &FrameHead, payload: Range<usize>) -> Entry<'_> {
        let payload = &self.source.bytes()[payload];
        let FrameHead {
            sequence, number, ..
        } = *head;
        match head.kind {
            Kind::Define => Entry::Define {
                symbol: sequence as u32,
                bytes: payload,
            },
            Kind::Open => Entry::Open {
                sequence,
                carried: head.carried(),
                payload,
            },
            Kind::Close => Entry::Close {
                number,
                sequence,
                payload,
            },
            Kind::Single => Entry::Single {
                number,
                sequence,
                payload,
            },
        }
    }

    /// Checks that close numbers have no gaps.
    fn follow(&mut self, head: &FrameHead) -> Result<(), Error> {
        if head.kind.closes() {
            if Some(head.number) != self.closed.checked_add(1) {
                return Err(self
                    .source
                    .corrupt(self.offset, "close numbers do not follow each other"));
            }
            self.closed = head.number;
        }
        Ok(())
    }

    fn delivers(&self, head: &FrameHead) -> bool {
        if head.carried() && !self.first_segment {
            return false;
        }
        match head.kind {
            Kind::Define => true,
            Kind::Open => !self.settled.contains(&head.sequence),
            Kind::Close | Kind::Single => head.number > self.from,
        }
    }

    /// Finds more to read, in this segment or the next one.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            match self.source.more(self.offset)? {
                More::Here => return Ok(true),
                More::Nothing => return Ok(false),
                More::Next { closed } => self.enter_next(closed)?,
            }
        }
    }

    fn enter_next(&mut self, closed: u64) -> Result<(), Error> {
        self.offset = HEADER_BYTES;
        self.first_segment = false;
        self.settled = HashSet::new();
        if closed != self.closed {
            return Err(self
                .source
                .corrupt(0, "the segment does not follow the one before"));
        }
        Ok(())
    }

    /// Reads ahead in the first segment for the frames that were closed before the reader's
    /// beginning.
    fn settle(&mut self) {
        let (mut offset, mut closed) = (self.offset, self.closed);
        while closed < self.from && offset < self.source.limit() {
            let Some(frame) = self.source.decode(offset) else {
                break;
            };
            if frame.head.kind.closes() {
                closed = frame.head.number;
                if closed <= self.from {
                    self.settled.insert(frame.head.sequence);
                }
            }
            offset = frame.end;
        }
    }
}
