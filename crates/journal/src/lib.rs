//! A crash-safe journal: lanes of pre-written, memory-mapped segments, and one committer that syncs
//! them all.
//!
//! A record is opened and closed later, or both at once; its payload is bytes that the journal does
//! not interpret. Each lane is written by one thread, so that no lock is shared. A frame is a copy
//! into a shared mapping: from that moment it survives `kill -9`. A record that must survive a
//! power cut waits for its [`Position`] to become durable: one thread syncs all lanes, publishes
//! one number for each lane, and notifies one [`DurableNotifier`] for each worker.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! use journal::{Entry, Journal, Options, Sync};
//!
//! let mut options = Options::new(directory.path(), 7, 1);
//! options.sync = Sync::Process;
//! # options.segment_bytes = 64 << 10;
//! # options.mark_slots = 16;
//! let journal = Journal::create(options)?;
//! let lane = journal.lane(0);
//!
//! let mut space = lane.reserve(200, 2)?; // refused here, or not at all
//! let opened = lane.open(&mut space, b"it began");
//! let _durable = lane.wait_durable(opened.position); // a future
//! lane.close(space, opened.sequence, b"it ended");
//!
//! let mut reader = lane.reader_from(0)?;
//! assert!(matches!(reader.next()?, Some(Entry::Open { payload: b"it began", .. })));
//! assert!(matches!(reader.next()?, Some(Entry::Close { number: 1, payload: b"it ended", .. })));
//! # Ok(())
//! # }
//! ```
//!
//! | module | idea |
//! |---|---|
//! | `format` | the bytes on disk |
//! | `map` | mapped memory; the only unsafe code |
//! | `writer`, `lane` | frames, rotation, promised room |
//! | `wait` | futures and notifiers |
//! | `committer`, `repair` | syncing, and what follows when it fails |
//! | `prepare` | the next segments, and the old ones |
//! | `reader`, `entry`, `live`, `dead`, `dead_lane` | reading, alive and after a crash |
//! | `marks` | calls in flight |

#![deny(unsafe_code)]

mod committer;
mod dead;
mod dead_lane;
mod entry;
mod error;
mod files;
mod format;
mod fuzz;
mod journal;
mod lane;
mod live;
#[allow(
    unsafe_code,
    reason = "mapped memory has no safe interface; every use is argued there"
)]
mod map;
mod marks;
mod options;
mod prepare;
mod reader;
mod repair;
mod segment;
mod signal;
mod state;
mod wait;
mod writer;

pub use dead::{DeadInstance, dead_instances};
pub use entry::{Entry, Torn};
pub use error::{Error, Unavailable};
#[doc(hidden)]
pub use fuzz::fuzz_reader;
pub use journal::{Journal, Stats};
pub use lane::Lane;
pub use marks::MarkSlot;
pub use options::{Observer, Options, Sync};
pub use reader::Reader;
pub use wait::{Commit, DurableNotifier};

/// A place in a lane: the number of bytes written before it, over all segments. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// An open frame, as [`Lane::open`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The number of the frame in its lane: 1, 2, 3…, shared by opens and singles.
    pub sequence: u64,
    /// The position to wait for with [`Lane::wait_durable`].
    pub position: Position,
}

/// A closed frame, as [`Lane::close`] and [`Lane::single`] return it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// The close number in the lane: 1, 2, 3…, in the order of closes.
    pub number: u64,
    /// The number of the frame that was closed.
    pub sequence: u64,
    /// The position to wait for with [`Lane::wait_durable`].
    pub position: Position,
}

/// Room in a lane for the frames of one call. Use it with [`Lane::close`] or [`Lane::single`], or
/// return it with [`Lane::release`]: dropping it does not return it.
#[derive(Debug)]
#[must_use = "room that is neither spent nor released stays taken"]
pub struct Space {
    bytes: u32,
    lane: u32,
    /// Whether nothing was written in it yet.
    fresh: bool,
}
