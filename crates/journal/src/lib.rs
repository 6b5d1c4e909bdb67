//! A crash-safe journal: lanes of pre-written, memory-mapped segments, and one committer that syncs them all.
mod error;
mod options;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pub use error::{Error, Unavailable};
pub use options::{Options, Sync};

/// A place in a lane: bytes written before it, over all segments. Grows only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What [`Lane::open`] gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Names the frame in its lane; 1, 2, 3… shared by opens and singles.
    pub sequence: u64,
    /// To wait for with [`Lane::wait_durable`].
    pub position: Position,
}

/// What [`Lane::close`] and [`Lane::single`] give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Close number in the lane: 1, 2, 3…, in close order.
    pub number: u64,
    /// The frame that was closed.
    pub sequence: u64,
    /// To wait for with [`Lane::wait_durable`].
    pub position: Position,
}

/// Room in a lane for the frames of one call. Spend it with [`Lane::close`] or [`Lane::single`], or give it back
/// with [`Lane::release`]: it is not returned when dropped.
#[derive(Debug)]
#[must_use = "room that is neither spent nor released stays taken"]
pub struct Space {
    #[expect(dead_code, reason = "set by the lane")]
    bytes: u32,
}

/// Told of each commit; the default does nothing. Called from the committer's thread: be quick.
pub trait Observer: Send + std::marker::Sync {
    /// `records` frames of `lane` became durable by one sync that took `took`.
    fn committed(&self, lane: usize, records: u64, took: Duration) {
        let _ = (lane, records, took);
    }
}

/// Counts since creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Syncs that made a lane's frames durable.
    pub commits: u64,
    /// Syncs that the disk refused.
    pub failed_syncs: u64,
    /// Segment files in use or kept, over all lanes.
    pub segments: u64,
    /// Mark slots in use.
    pub marks: u64,
    /// Whether the journal refuses records because the disk does.
    pub failed: bool,
}

/// The journal of this process. Cheap to clone; dropping the last handle shuts it down.
#[derive(Debug, Clone)]
pub struct Journal;

impl Journal {
    /// Makes and locks the instance's directory, prepares its first segments and starts the two threads.
    pub fn create(options: Options) -> Result<Self, Error> {
        let _ = options;
        todo!()
    }
    /// As [`create`](Self::create), and tells `observer` of each commit.
    pub fn create_observed(options: Options, observer: Arc<dyn Observer>) -> Result<Self, Error> {
        let _ = (options, observer);
        todo!()
    }
    /// Lane `index`. Panics when there is none.
    pub fn lane(&self, index: usize) -> Arc<Lane> {
        let _ = index;
        todo!()
    }
    /// Puts up to 240 bytes into a slot that survives `kill -9`; `None` when all slots are taken.
    pub fn mark(&self, bytes: &[u8]) -> Option<MarkSlot> {
        let _ = bytes;
        todo!()
    }
    /// Counts since creation.
    pub fn stats(&self) -> Stats {
        todo!()
    }
    /// Syncs everything and stops the threads.
    pub fn shutdown(&self) {
        todo!()
    }
}

/// A mark in the in-flight table. Dropped without [`clear`](Self::clear) it stays set.
#[derive(Debug)]
#[must_use = "a slot that is never cleared stays taken"]
pub struct MarkSlot;

impl MarkSlot {
    /// Takes the mark away.
    pub fn clear(self) {
        todo!()
    }
}

/// One lane: written by one thread most of the time.
#[derive(Debug)]
pub struct Lane;

#[expect(missing_docs, clippy::missing_errors_doc, reason = "signatures first")]
impl Lane {
    pub fn index(&self) -> usize {
        todo!()
    }
    pub fn reserve(&self, payload_bytes: u32, frames: u32) -> Result<Space, Unavailable> {
        let _ = (payload_bytes, frames);
        todo!()
    }
    pub fn release(&self, space: Space) {
        let _ = space;
        todo!()
    }
    pub fn define(&self, symbol: u32, bytes: &[u8]) -> Result<(), Unavailable> {
        let _ = (symbol, bytes);
        todo!()
    }
    pub fn open(&self, space: &mut Space, payload: &[u8]) -> Opened {
        let _ = (space, payload);
        todo!()
    }
    pub fn close(&self, space: Space, sequence: u64, payload: &[u8]) -> Closed {
        let _ = (space, sequence, payload);
        todo!()
    }
    pub fn single(&self, space: Space, payload: &[u8]) -> Closed {
        let _ = (space, payload);
        todo!()
    }
    pub fn written(&self) -> Position {
        todo!()
    }
    pub fn durable(&self) -> Position {
        todo!()
    }
    pub fn wait_durable(self: &Arc<Self>, position: Position) -> Commit {
        let _ = position;
        todo!()
    }
    pub fn bell(self: &Arc<Self>) -> Bell {
        todo!()
    }
    pub fn reader_from(self: &Arc<Self>, number: u64) -> Result<Reader, Error> {
        let _ = number;
        todo!()
    }
    pub fn release_through(&self, number: u64) {
        let _ = number;
        todo!()
    }
    pub fn closed(&self) -> u64 {
        todo!()
    }
    pub fn opened(&self) -> u64 {
        todo!()
    }
    pub fn open_count(&self) -> u64 {
        todo!()
    }
}

/// Ready when a position is on disk.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Commit;

impl Future for Commit {
    type Output = Result<(), Unavailable>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = context;
        todo!()
    }
}

/// Wakes a lane's waiters from the worker's own thread; the committer only rings it.
#[derive(Debug)]
pub struct Bell;

impl Bell {
    /// `Some(n)`: rung, `n` waiters woken; poll again. `None`: the journal is shut down.
    pub fn poll_ring(&mut self, context: &mut Context<'_>) -> Poll<Option<usize>> {
        let _ = context;
        todo!()
    }
    /// Answers rings until the journal is shut down: the whole body of a worker's local task.
    pub async fn serve(mut self) {
        while std::future::poll_fn(|context| self.poll_ring(context)).await.is_some() {}
    }
}

/// One thing a lane holds. Payloads are borrowed until the next call of [`Reader::next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "signatures first")]
pub enum Entry<'a> {
    Define { symbol: u32, bytes: &'a [u8] },
    Open { sequence: u64, carried: bool, payload: &'a [u8] },
    Close { number: u64, sequence: u64, payload: &'a [u8] },
    Single { number: u64, sequence: u64, payload: &'a [u8] },
}

/// Where a lane's tail was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "signatures first")]
pub struct Torn {
    pub path: std::path::PathBuf,
    pub offset: u64,
}

/// Reads one lane in order.
#[derive(Debug)]
pub struct Reader;

impl Reader {
    /// The next entry; `None` at the end of what may be seen now (more may come in a live lane).
    #[expect(clippy::should_implement_trait, reason = "lends its buffer")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        todo!()
    }
    /// Where the lane's torn tail was cut off, once the reader has come there.
    pub fn torn(&self) -> Option<&Torn> {
        todo!()
    }
}

/// An instance whose process is gone; locked while this value or one of its readers lives.
#[derive(Debug)]
pub struct DeadInstance;

#[expect(missing_docs, clippy::missing_errors_doc, reason = "signatures first")]
impl DeadInstance {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let _ = path;
        todo!()
    }
    pub fn instance(&self) -> u128 {
        todo!()
    }
    pub fn path(&self) -> &Path {
        todo!()
    }
    pub fn lanes(&self) -> usize {
        todo!()
    }
    pub fn age(&self) -> Duration {
        todo!()
    }
    pub fn closed(&self, lane: usize) -> Result<u64, Error> {
        let _ = lane;
        todo!()
    }
    pub fn reader_from(&self, lane: usize, number: u64) -> Result<Reader, Error> {
        let _ = (lane, number);
        todo!()
    }
    pub fn marks(&self) -> Result<Vec<Vec<u8>>, Error> {
        todo!()
    }
    pub fn remove(self) -> Result<(), Error> {
        todo!()
    }
}

/// The instances under `directory` whose process is gone.
pub fn dead_instances(directory: &Path) -> Result<Vec<DeadInstance>, Error> {
    let _ = directory;
    todo!()
}
