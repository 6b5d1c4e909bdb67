//! The thread that has the next segments ready before they are needed, and takes the old ones back.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::files::{self, Blank};
use crate::hub::JournalState;
use crate::lane::Lane;
use crate::segment::Segment;

/// Pause between attempts while no segment can be made.
const RETRY: Duration = Duration::from_millis(200);
/// How often old segments are looked at.
const ROUND: Duration = Duration::from_secs(1);

/// State of the thread `journal-prepare`.
pub(crate) struct Preparer {
    hub: Arc<JournalState>,
    lanes: Vec<Arc<Lane>>,
    /// Ready for any lane.
    spare: Vec<Blank>,
    /// Files of retired segments under their new names, to be used again.
    retired: VecDeque<PathBuf>,
    /// Names given so far.
    names: u64,
}

impl Preparer {
    pub(crate) fn new(hub: Arc<JournalState>, lanes: Vec<Arc<Lane>>, spare: Blank) -> Self {
        Self {
            hub,
            lanes,
            spare: vec![spare],
            retired: VecDeque::new(),
            names: 0,
        }
    }

    /// Where the spare that is made at creation lies.
    pub(crate) fn first_spare(hub: &JournalState) -> PathBuf {
        hub.directory.join(format!("{}0", files::SPARE))
    }

    /// Body of the thread. Ends when the hub is stopping.
    pub(crate) fn run(mut self) {
        self.hub.preparer.adopt();
        while !self.hub.stopping() {
            let served = self.serve();
            let pause = if served.is_ok() { ROUND } else { RETRY };
            self.hub.set_shortage(served.as_ref().err());
            if served.is_err() {
                self.lanes
                    .iter()
                    .for_each(|lane| lane.stop_waiting_for_next());
            }
            let asked = || served.is_ok() && self.lanes.iter().any(|lane| lane.wants_next());
            self.hub
                .preparer
                .sleep(pause, || self.hub.stopping() || asked());
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
                    &self.hub.directory,
                    lane.index() as u32,
                    lane.next_number(),
                );
                match blank.rename(path) {
                    Ok(()) => {
                        // Before the lane can fill it and look why there is no other yet.
                        self.hub.set_shortage(None);
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
            Some(old) => Blank::recycle(old, self.hub.segment_bytes()),
            None => Blank::create(self.name(), self.hub.segment_bytes()),
        }
    }

    /// Takes back the segments that nobody needs: kept in stock as far as the lanes may soon ask for them, deleted beyond.
    /// Both in the order of their lane, so that what a crash leaves of a lane has no gap.
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
        self.hub
            .directory
            .join(format!("{}{}", files::SPARE, self.names))
    }

    /// Takes the oldest passed segment out of its lane, if it may go.
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
            // A count of one: no reader and no sync is at it, and with the list locked none can come.
            let free = at.closed <= lane.released()
                && at.end <= lane.durable().0
                && Arc::strong_count(first) == 1;
            if free && oldest.is_none_or(|(other, _)| at.at < other) {
                oldest = Some((at.at, lane));
            }
        }
        let (at, lane) = oldest?;
        let too_many = passed * self.hub.segment_bytes() as u64 > self.hub.options.keep_bytes;
        if !too_many && at.elapsed() < self.hub.options.keep {
            return None;
        }
        // A reader may have come in between; then it goes another time.
        let mut segments = lane.segments();
        let unread = segments
            .front()
            .is_some_and(|first| Arc::strong_count(first) == 1);
        if unread { segments.pop_front() } else { None }
    }
}
