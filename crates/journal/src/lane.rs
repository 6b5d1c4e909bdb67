//! A lane: the part of the journal that one worker writes to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::files::Blank;
use crate::format::{Kind, PAYLOAD_MAX, SYMBOL_MAX};
use crate::segment::{Passed, Segment};
use crate::state::JournalState;
use crate::wait::Waiters;
use crate::writer::{self, Writer};
use crate::{Closed, Opened, Position, Space, Sync, Unavailable};

/// The number of symbols, which are numbered from 0.
const SYMBOLS: u32 = 65_536;
/// The time for which a reservation waits for a segment that is being prepared. It is used up only
/// if the disk cannot keep up.
const SEGMENT_TIMEOUT: Duration = Duration::from_millis(250);

/// One lane of a journal. One thread writes it most of the time; the lock is there for the rest.
#[derive(Debug)]
pub struct Lane {
    state: Arc<JournalState>,
    index: usize,
    writer: Mutex<Writer>,
    /// The condition that `writer.next` is there, or will not come for now.
    prepared: Condvar,
    wants_next: AtomicBool,
    written: AtomicU64,
    durable: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    open_count: AtomicU64,
    /// The number of spaces in which nothing was written yet: calls that are likely to wait for a
    /// sync soon.
    expected: AtomicU64,
    released: AtomicU64,
    /// The segments from the oldest kept one to the current one. Locked after `writer` where both
    /// are.
    segments: Mutex<VecDeque<Arc<Segment>>>,
    pub(crate) waiting: Waiters,
}

impl Lane {
    pub(crate) fn new(state: Arc<JournalState>, index: usize, writer: Writer) -> Self {
        let segments = VecDeque::from([Arc::clone(&writer.segment)]);
        Self {
            state,
            index,
            writer: Mutex::new(writer),
            prepared: Condvar::new(),
            wants_next: AtomicBool::new(false),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            open_count: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            released: AtomicU64::new(0),
            segments: Mutex::new(segments),
            waiting: Waiters::default(),
        }
    }

    /// Returns the number of this lane in its journal, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Reserves room for `frames` frames (opens, closes and singles) with `payload_bytes` together.
    /// The frames can then be written, whatever happens to the disk.
    ///
    /// Waits up to a quarter of a second if the segment is full and the disk has not finished
    /// preparing the next.
    ///
    /// # Errors
    /// Returns the reason for which the call must be refused. Nothing was reserved then.
    pub fn reserve(&self, payload_bytes: u32, frames: u32) -> Result<Space, Unavailable> {
        self.refusal()?;
        let bytes = writer::reservation(payload_bytes, frames);
        let mut writer = self.writer.lock();
        if writer.crowded_by(bytes) {
            return Err(Unavailable::Crowded);
        }
        self.make_room(&mut writer, bytes)?;
        writer.reserve(bytes);
        self.expect(&writer, 1);
        Ok(Space {
            bytes: bytes as u32,
            lane: self.index as u32,
            fresh: true,
        })
    }

    /// Returns room that was not needed.
    ///
    /// # Panics
    /// If the space is another lane's.
    pub fn release(&self, space: Space) {
        self.check(&space);
        let mut writer = self.writer.lock();
        writer.give_back(u64::from(space.bytes));
        if space.fresh {
            self.expect(&writer, -1);
        }
    }

    /// Defines once for each lane what a symbol of this process stands for, so that frames may use
    /// its number. Every segment repeats the definition at its start. Costs a look-up if it is
    /// known already; the bytes of the first definition stay.
    ///
    /// A definition reserves its room by itself, so define before the call is forwarded.
    ///
    /// # Errors
    /// Returns [`Unavailable::DictionaryFull`] for a symbol of 65,536 or above, for more than 1
    /// KiB, and if the lane's dictionary would exceed a quarter of a segment; otherwise as
    /// [`reserve`](Self::reserve).
    pub fn define(&self, symbol: u32, bytes: &[u8]) -> Result<(), Unavailable> {
        let mut writer = self.writer.lock();
        if writer.defined(symbol) {
            return Ok(());
        }
        self.refusal()?;
        let size = Kind::Define.frame_bytes(bytes.len()) as u64;
        if symbol >= SYMBOLS || bytes.len() > SYMBOL_MAX || !writer.dictionary_takes(size) {
            return Err(Unavailable::DictionaryFull);
        }
        self.make_room(&mut writer, size)?;
        // Another thread may have defined it while this one waited for room.
        if !writer.defined(symbol) {
            writer.define(self, symbol, bytes);
            self.wrote(&writer);
        }
        Ok(())
    }

    /// Writes a frame that stays open until its [`close`](Self::close), in room of `space`.
    ///
    /// # Panics
    /// If the payload exceeds 4 KiB or what is left of the space, or the space is another lane's.
    pub fn open(&self, space: &mut Space, payload: &[u8]) -> Opened {
        self.check_frame(space, Kind::Open, payload);
        let mut writer = self.writer.lock();
        let (sequence, bytes) = writer.open(self, payload);
        space.bytes -= bytes as u32;
        if std::mem::take(&mut space.fresh) {
            self.expect(&writer, -1);
        }
        Opened {
            sequence,
            position: self.wrote(&writer),
        }
    }

    /// Closes an open frame, and returns the rest of the space.
    ///
    /// # Panics
    /// As [`open`](Self::open), and when no open frame has this sequence.
    pub fn close(&self, space: Space, sequence: u64, payload: &[u8]) -> Closed {
        self.check_frame(&space, Kind::Close, payload);
        let mut writer = self.writer.lock();
        let number = writer.close(self, sequence, payload);
        writer.give_back(u64::from(space.bytes));
        if space.fresh {
            self.expect(&writer, -1);
        }
        Closed {
            number,
            sequence,
            position: self.wrote(&writer),
        }
    }

    /// Writes a record that is complete with one frame, and returns the rest of the space.
    ///
    /// # Panics
    /// As [`open`](Self::open).
    pub fn single(&self, space: Space, payload: &[u8]) -> Closed {
        self.check_frame(&space, Kind::Single, payload);
        let mut writer = self.writer.lock();
        let (number, sequence) = writer.single(self, payload);
        writer.give_back(u64::from(space.bytes));
        if space.fresh {
            self.expect(&writer, -1);
        }
        Closed {
            number,
            sequence,
            position: self.wrote(&writer),
        }
    }

    /// Returns the position below which everything is in the kernel's hands and survives `kill -9`.
    pub fn written(&self) -> Position {
        Position(self.written.load(Ordering::Acquire))
    }

    /// Returns the position below which everything is on disk.
    pub fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// Returns the number of frames opened so far, singles included: the last sequence given.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Returns the number of frames closed so far: the last close number given.
    pub fn closed(&self) -> u64 {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns the number of frames that are open now.
    pub fn open_count(&self) -> u64 {
        self.open_count.load(Ordering::Acquire)
    }

    /// Releases everything closed up to `number`, since it is stored elsewhere. Segments that hold
    /// nothing else may be removed once they are old enough, or too many. The number never goes
    /// back.
    pub fn release_through(&self, number: u64) {
        self.released.fetch_max(number, Ordering::SeqCst);
    }

    fn refusal(&self) -> Result<(), Unavailable> {
        if self.state.stopping() {
            return Err(Unavailable::Stopped);
        }
        self.state.unavailable().map_or(Ok(()), Err)
    }

    fn make_room(
        &self,
        writer: &mut MutexGuard<'_, Writer>,
        bytes: u64,
    ) -> Result<(), Unavailable> {
        if writer.has_room_for(bytes) {
            return Ok(());
        }
        let deadline = Instant::now() + SEGMENT_TIMEOUT;
        loop {
            if let Some(shortage) = self.state.shortage() {
                return Err(shortage);
            }
            self.ask_for_next();
            let timeout = self.prepared.wait_until(writer, deadline);
            if writer.has_room_for(bytes) {
                return Ok(());
            }
            self.refusal()?;
            if timeout.timed_out() {
                return Err(Unavailable::Behind);
            }
        }
    }

    fn check(&self, space: &Space) {
        assert_eq!(space.lane as usize, self.index, "space of another lane");
    }

    fn check_frame(&self, space: &Space, kind: Kind, payload: &[u8]) {
        self.check(space);
        assert!(payload.len() <= PAYLOAD_MAX, "payload above 4 KiB");
        assert!(
            kind.frame_bytes(payload.len()) <= space.bytes as usize,
            "frame exceeds its reserved space"
        );
    }

    /// Publishes what was just written, and returns its end.
    fn wrote(&self, writer: &Writer) -> Position {
        self.opened.store(writer.opened(), Ordering::Relaxed);
        self.closed.store(writer.closed(), Ordering::Relaxed);
        self.open_count
            .store(writer.open_count(), Ordering::Relaxed);
        if writer.wants_next() {
            self.ask_for_next();
        }
        let position = writer.position();
        self.written_to(position);
        Position(position)
    }

    /// This is called under the writer's lock, so that a plain store is enough.
    fn expect(&self, _: &Writer, more: i64) {
        let expected = self.expected.load(Ordering::Relaxed);
        self.expected
            .store(expected.wrapping_add_signed(more), Ordering::Relaxed);
    }

    fn ask_for_next(&self) {
        if !self.wants_next.swap(true, Ordering::SeqCst) {
            self.state.preparer.wake();
        }
    }
}

/// Methods for the writer, the committer, the preparer and the readers.
impl Lane {
    pub(crate) fn state(&self) -> &JournalState {
        &self.state
    }

    /// Returns how many calls hold room in which nothing was written yet.
    pub(crate) fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    pub(crate) fn durable_now(&self) -> u64 {
        self.durable.load(Ordering::Relaxed)
    }

    pub(crate) fn written_to(&self, position: u64) {
        self.written.store(position, Ordering::Release);
    }

    pub(crate) fn durable_to(&self, position: u64) {
        self.durable.fetch_max(position, Ordering::SeqCst);
    }

    /// Returns the position up to which readers may read.
    pub(crate) fn visible(&self) -> u64 {
        match self.state.options.sync {
            Sync::Disk => self.durable().0,
            Sync::Process => self.written().0,
        }
    }

    pub(crate) fn released(&self) -> u64 {
        self.released.load(Ordering::SeqCst)
    }

    /// Ends `old` and puts `new` after it in the list, at once for all who read it.
    pub(crate) fn pass(&self, old: &Segment, passed: Passed, new: &Arc<Segment>) {
        let mut segments = self.segments.lock();
        old.passed.set(passed).expect("a segment is passed once");
        segments.push_back(Arc::clone(new));
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, VecDeque<Arc<Segment>>> {
        self.segments.lock()
    }

    /// Returns the segment of this number, if it is begun and kept.
    pub(crate) fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        self.segments
            .lock()
            .iter()
            .find(|segment| segment.number == number)
            .cloned()
    }

    pub(crate) fn wants_next(&self) -> bool {
        self.wants_next.load(Ordering::SeqCst)
    }

    /// Returns the number of the segment after the current one.
    pub(crate) fn next_number(&self) -> u64 {
        self.writer.lock().segment.number + 1
    }

    /// Hands over the next segment.
    pub(crate) fn deliver(&self, blank: Blank) {
        let mut writer = self.writer.lock();
        writer.next = Some(blank);
        self.wants_next.store(false, Ordering::SeqCst);
        self.prepared.notify_all();
    }

    /// Wakes those who wait for the next segment, so that they see why none comes.
    pub(crate) fn stop_waiting_for_next(&self) {
        // This takes the lock, so that nobody is between the check and the wait.
        let _writer = self.writer.lock();
        self.prepared.notify_all();
    }

    /// Exchanges `old` for `blank`, which holds its bytes up to `copied`; the rest is copied here,
    /// while nobody writes. `blank` takes the name of `old`.
    pub(crate) fn exchange(
        &self,
        old: &Arc<Segment>,
        mut blank: Blank,
        copied: usize,
    ) -> std::io::Result<Arc<Segment>> {
        let mut writer = self.writer.lock();
        let current = Arc::ptr_eq(&writer.segment, old);
        let end = old.end().map_or(writer.offset, |end| old.offset_of(end));
        crate::repair::copy(old, &mut blank.map, copied, end)?;
        std::fs::rename(&blank.path, old.path())?;
        blank.map.publish(end);
        let new = Arc::new(old.in_place_of(blank.file, Arc::clone(blank.map.map())));
        if current {
            writer.segment = Arc::clone(&new);
            writer.map = blank.map;
        }
        for segment in self.segments.lock().iter_mut() {
            if segment.number == new.number {
                *segment = Arc::clone(&new);
            }
        }
        old.mark_replaced();
        Ok(new)
    }
}
