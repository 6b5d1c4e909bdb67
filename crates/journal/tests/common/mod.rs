//! Helpers of the test binaries: a scratch journal, owned entries, a small executor.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "not every test binary uses all of it; a panic is its message"
)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use journal::{
    DeadInstance, Entry, Error, Journal, Lane, Options, Reader, Space, Sync, Unavailable,
};

/// The longest wait for anything that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The directory of a journal, which is deleted with the test.
pub(crate) struct Scratch {
    pub(crate) home: tempfile::TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Returns options with small segments, in which readers see all that is written.
    pub(crate) fn options(&self, lanes: usize) -> Options {
        let mut options = Options::new(self.home.path(), 0x0123_4567_89AB_CDEF, lanes);
        options.segment_bytes = 64 << 10;
        options.mark_slots = 32;
        options.sync = Sync::Process;
        options
    }

    pub(crate) fn create(&self, lanes: usize) -> Journal {
        Journal::create(self.options(lanes)).unwrap()
    }

    pub(crate) fn dead(&self) -> DeadInstance {
        let mut dead = journal::dead_instances(self.home.path()).unwrap();
        assert_eq!(dead.len(), 1);
        dead.pop().unwrap()
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.home
            .path()
            .join(format!("{:032x}", self.options(1).instance))
    }

    /// Returns the segment files of a lane, in order.
    pub(crate) fn segments(&self, lane: usize) -> Vec<PathBuf> {
        let prefix = format!("{lane:04}-");
        let names = std::fs::read_dir(self.directory())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut paths: Vec<_> = names
            .filter(|path| name(path).starts_with(&prefix) && name(path).ends_with(".seg"))
            .collect();
        paths.sort();
        paths
    }
}

/// An entry that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Define(u32, Vec<u8>),
    Open(u64, bool, Vec<u8>),
    Close(u64, u64, Vec<u8>),
    Single(u64, u64, Vec<u8>),
}

impl From<Entry<'_>> for Item {
    fn from(entry: Entry<'_>) -> Self {
        match entry {
            Entry::Define { symbol, bytes } => Self::Define(symbol, bytes.to_vec()),
            Entry::Open {
                sequence,
                carried,
                payload,
            } => Self::Open(sequence, carried, payload.to_vec()),
            Entry::Close {
                number,
                sequence,
                payload,
            } => Self::Close(number, sequence, payload.to_vec()),
            Entry::Single {
                number,
                sequence,
                payload,
            } => Self::Single(number, sequence, payload.to_vec()),
        }
    }
}

/// Reads everything up to the end of what may be seen.
pub(crate) fn drain(reader: &mut Reader) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    while let Some(entry) = reader.next()? {
        items.push(Item::from(entry));
    }
    Ok(items)
}

/// Returns a payload that holds its number and fills up to `len`.
pub(crate) fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = format!("{number}:").into_bytes();
    bytes.resize(len.max(bytes.len()), number as u8);
    bytes
}

/// Writes records of two frames.
pub(crate) fn calls(lane: &Lane, numbers: impl IntoIterator<Item = u64>, len: usize) {
    for number in numbers {
        call(lane, number, len);
    }
}

/// Writes a record of two frames.
pub(crate) fn call(lane: &Lane, number: u64, len: usize) -> journal::Closed {
    let mut space = reserve(lane, 2 * len as u32 + 64, 2).unwrap();
    let opened = lane.open(&mut space, &payload(number, len));
    lane.close(space, opened.sequence, &payload(number, len))
}

/// Reserves room, however slow the disk is that others use too.
pub(crate) fn reserve(lane: &Lane, payload_bytes: u32, frames: u32) -> Result<Space, Unavailable> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match lane.reserve(payload_bytes, frames) {
            Err(Unavailable::Behind) if Instant::now() < deadline => {}
            other => return other,
        }
    }
}

/// Waits until `condition` holds, or fails the test.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs one future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        assert!(Instant::now() < deadline, "the future never became ready");
        thread::park_timeout(DEADLINE);
    }
}
