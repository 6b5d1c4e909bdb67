//! Readers of a lane in order, of this process or of a dead one.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

use crate::Error;
use crate::dead_lane::DeadCursor;
use crate::format::{self, Frame, FrameHead, HEADER_BYTES, Kind};
use crate::live::LiveCursor;

/// An entry of a lane. Payloads are borrowed until the next call of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A definition: from here on `symbol` stands for `bytes`.
    Define {
        /// Number of the symbol.
        symbol: u32,
        /// What it stands for.
        bytes: &'a [u8],
    },
    /// A frame was opened.
    Open {
        /// Names the frame in its lane.
        sequence: u64,
        /// It was opened in a segment before the one where this reader began.
        carried: bool,
        /// As given.
        payload: &'a [u8],
    },
    /// A frame was closed.
    Close {
        /// Close number: follows the one before without a gap.
        number: u64,
        /// The frame that was closed.
        sequence: u64,
        /// As given.
        payload: &'a [u8],
    },
    /// A frame was opened and closed at once.
    Single {
        /// Close number: follows the one before without a gap.
        number: u64,
        /// Names the frame in its lane.
        sequence: u64,
        /// As given.
        payload: &'a [u8],
    },
}

/// The place where a lane's tail was cut off: a frame that a crash left half-written, and anything
/// behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The segment.
    pub path: PathBuf,
    /// Where in the file.
    pub offset: u64,
}

/// A reader of one lane in order, across segments. It holds the segment it is at, so that it cannot
/// be recycled.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    /// Of the next frame in the source's segment.
    offset: usize,
    /// Closes up to this number are not delivered, nor what they closed.
    from: u64,
    /// Close number that was read last.
    closed: u64,
    /// Only the first segment's carried frames are news.
    first_segment: bool,
    /// Frames of the first segment that were closed up to `from`.
    settled: HashSet<u64>,
}

/// The source of the bytes, one segment at a time.
#[derive(Debug)]
pub(crate) enum Source {
    Live(LiveCursor),
    Dead(DeadCursor),
}

/// The continuation of a source behind the frames that were read.
#[derive(Debug)]
pub(crate) enum More {
    /// More frames in the same segment.
    Here,
    /// The next segment, before which this many closes lie.
    Next { closed: u64 },
    /// Nothing, for now or for good.
    Nothing,
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
    pub(crate) fn begin(source: Source, closed: u64, from: u64) -> Result<Self, Error> {
        let settled = HashSet::new();
        let mut reader = Self {
            source,
            offset: HEADER_BYTES,
            from,
            closed,
            first_segment: true,
            settled,
        };
        // Makes the limit known, which settling needs.
        while let More::Next { closed } = reader.source.more(HEADER_BYTES)? {
            // The segment was empty: the reader begins with this one.
            reader.closed = closed;
        }
        reader.settle();
        Ok(reader)
    }

    /// Returns the next entry; `None`: the end of what may be seen now. In a live lane more may
    /// come: ask again later.
    ///
    /// # Errors
    /// When the lane is damaged or a segment is missing. Give the reader up then.
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

    /// Returns the place where the lane's torn tail was cut off, once the reader has come there.
    /// Only in a dead lane.
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

    /// Reads ahead in the first segment for the frames that were closed before the reader's beginning.
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
