//! The types in which a lane is read: entries, their continuation, and a torn tail.

use std::path::PathBuf;

/// An entry of a lane. Payloads are borrowed until the next call of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A definition: from here on `symbol` stands for `bytes`.
    Define {
        /// The number of the symbol.
        symbol: u32,
        /// The bytes that the symbol stands for.
        bytes: &'a [u8],
    },
    /// A frame was opened.
    Open {
        /// The number of the frame in its lane.
        sequence: u64,
        /// Whether the frame was opened in a segment before the one where this reader began.
        carried: bool,
        /// The payload as it was given.
        payload: &'a [u8],
    },
    /// A frame was closed.
    Close {
        /// The close number, which follows the one before without a gap.
        number: u64,
        /// The sequence of the frame that was closed.
        sequence: u64,
        /// The payload as it was given.
        payload: &'a [u8],
    },
    /// A frame was opened and closed at once.
    Single {
        /// The close number, which follows the one before without a gap.
        number: u64,
        /// The number of the frame in its lane.
        sequence: u64,
        /// The payload as it was given.
        payload: &'a [u8],
    },
}

/// The place where a lane's tail was cut off: a frame that a crash left half-written, and anything
/// behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file of the segment.
    pub path: PathBuf,
    /// The offset in the file.
    pub offset: u64,
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
