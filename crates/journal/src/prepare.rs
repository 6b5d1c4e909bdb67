//! The preparer: the thread that makes the next segments before they are needed, and takes the old
//! ones back.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::files::{self, Blank};
use crate::lane::Lane;
use crate::segment::Segment;
use crate::state::JournalState;

/// The pause between attempts while no segment can be made.
const RETRY: Duration = Duration::from_millis(200);
/// The interval at which old segments are checked.
const ROUND: Duration = Duration::from_secs(1);

/// The state of the thread `journal-prepare`.
pub(crate) struct Preparer {
    state: Arc<JournalState>,
    lanes: Vec<Arc<Lane>>,
    /// A file that is ready for any lane.
    spare: Vec<Blank>,
    /// The files of retired segments under their new names, to be used again.
    retired: VecDeque<PathBuf>,
    /// The number of names given so far.
    names: u64,
}

impl Preparer {
    pub(crate) fn new(state: Arc<JournalState>, lanes: Vec<Arc<Lane>>, spare: Blank) -> Self {
        Self {
            state,
            lanes,
            spare: vec![spare],
            retired: VecDeque::new(),
            names: 0,
        }
    }

    /// Returns the path of the spare file that is made at creation.
    pub(crate) fn first_spare(state: &JournalState) -> PathBuf {
        state.directory.join(format!("{}0", files::SPARE))
    }

    /// Runs the thread until the journal is stopping.
    pub(crate) fn run(mut self) {
        self.state.preparer.adopt();
        while !self.state.stopping() {
            let served = self.serve();
            let pause = if served.is_ok() { ROUND } else { RETRY };
            self.state.set_shortage(served.as_ref().err());
            if served.is_err() {
                self.lanes
                    .iter()
                    .for_each(|lane| lane.stop_waiting_for_next());
            }
            let asked = || served.is_ok() && self.lanes.iter().any(|lane| lane.wants_next());
            self.state
                .preparer
                .sleep(pause, || self.state.stopping() || asked());
        }
        self.lanes
            .iter()
            .for_each(|lane| lane.stop_waiting_for_next());
    }

    /// Gives every lane that asks its next segment, and puts a new spare in place.
    fn serve(&mut self) -> io::Result<()> {
        self.retire()?;
        for lane in self.lanes.clone() {
            if lane.wants_next() {
                let mut blank = self.blank()?;
                let path = files::segment_path(
                    &self.state.directory,
                    lane.index() as u32,
                    lane.next_number(),
                );
                match blank.rename(path) {
                    Ok(()) => {
                        // This comes before the lane can fill the segment and look why there is no
                        // other yet.
                        self.state.set_shortage(None);
                        lane.deliver(blank);
                    }
                    Err(error) => {
                        self.spare.push(blank);
                        return Err(error);
                    }
                }
            }
        }
        if self.spare.is_empty() {
            let blank = self.make()?;
            self.spare.push(blank);
        }
        Ok(())
    }

    fn blank(&mut self) -> io::Result<Blank> {
        match self.spare.pop() {
            Some(blank) => Ok(blank),
            None => self.make(),
        }
    }

    fn make(&mut self) -> io::Result<Blank> {
        match self.retired.pop_front() {
            Some(old) => Blank::recycle(old, self.state.segment_bytes()),
            None => Blank::create(self.name(), self.state.segment_bytes()),
        }
    }

    /// Takes back the segments that nobody needs: as many as the lanes may soon ask for are kept in
    /// stock, the rest are deleted. Both happen in the order of their lane, so that what a crash
    /// leaves of a lane has no gap.
    fn retire(&mut self) -> io::Result<()> {
        while let Some(segment) = self.expired() {
            let path = segment.path().to_owned();
            drop(segment);
            if self.retired.len() > self.lanes.len() {
                fs::remove_file(path)?;
            } else {
                let name = self.name();
                fs::rename(path, &name)?;
                self.retired.push_back(name);
            }
        }
        Ok(())
    }

    fn name(&mut self) -> PathBuf {
        self.names += 1;
        self.state
            .directory
            .join(format!("{}{}", files::SPARE, self.names))
    }

    /// Takes the oldest passed segment out of its lane, if it may be removed.
    fn expired(&self) -> Option<Arc<Segment>> {
        let mut passed = 0;
        let mut oldest: Option<(Instant, &Arc<Lane>)> = None;
        for lane in &self.lanes {
            let segments = lane.segments();
            passed += segments.len() as u64 - 1;
            let Some((first, at)) = segments
                .front()
                .and_then(|first| Some((first, first.passed.get()?)))
            else {
                continue;
            };
            // A count of one means that no reader and no sync is at it. With the list locked none
            // can come.
            let free = at.closed <= lane.released()
                && at.end <= lane.durable().0
                && Arc::strong_count(first) == 1;
            if free && oldest.is_none_or(|(other, _)| at.at < other) {
                oldest = Some((at.at, lane));
            }
        }
        let (at, lane) = oldest?;
        let too_many = passed * self.state.segment_bytes() as u64 > self.state.options.keep_bytes;
        if !too_many && at.elapsed() < self.state.options.keep {
            return None;
        }
        // A reader may have started in between; then the segment is removed another time.
        let mut segments = lane.segments();
        let unread = segments
            .front()
            .is_some_and(|first| Arc::strong_count(first) == 1);
        if unread { segments.pop_front() } else { None }
    }
}
