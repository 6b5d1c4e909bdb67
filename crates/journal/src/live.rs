//! The source of readers of a lane of this process while it is written.

use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::entry::More;
use crate::files;
use crate::format::HEADER_BYTES;
use crate::lane::Lane;
use crate::segment::Segment;

/// The segment of a live lane that a reader is at.
#[derive(Debug)]
pub(crate) struct LiveCursor {
    lane: Arc<Lane>,
    segment: Arc<Segment>,
    /// The offset below which frames may be seen.
    limit: usize,
}

impl Lane {
    /// Returns the smallest number that [`reader_from`](Self::reader_from) takes: the closes in the
    /// segments that are gone.
    pub fn kept_from(&self) -> u64 {
        self.segments()
            .front()
            .map_or(0, |first| first.closed_before)
    }

    fn missing(&self, number: u64) -> Error {
        Error::Missing {
            path: files::segment_path(&self.state().directory, self.index() as u32, number),
        }
    }
}

impl LiveCursor {
    /// Returns the cursor at the segment in which the close after the first `number` ones lies.
    pub(crate) fn at(lane: &Arc<Lane>, number: u64) -> Result<Self, Error> {
        let (found, first) = {
            let segments = lane.segments();
            let found = segments
                .iter()
                .rev()
                .find(|segment| segment.closed_before <= number)
                .cloned();
            (found, segments.front().map_or(0, |segment| segment.number))
        };
        Ok(Self {
            segment: found.ok_or_else(|| lane.missing(first.saturating_sub(1)))?,
            lane: Arc::clone(lane),
            limit: HEADER_BYTES,
        })
    }

    /// Returns the number of closes before the segment.
    pub(crate) fn closed(&self) -> u64 {
        self.segment.closed_before
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.segment.map.published(self.limit)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn salt(&self) -> u32 {
        self.segment.salt
    }

    pub(crate) fn path(&self) -> &Path {
        self.segment.path()
    }

    pub(crate) fn more(&mut self, offset: usize) -> Result<More, Error> {
        // This is read before the segment's state: whatever is visible was written into the
        // segments that the state then names.
        let visible = self.lane.visible();
        let number = self.segment.number;
        if self.segment.replaced() {
            self.segment = self
                .lane
                .segment(number)
                .ok_or_else(|| self.lane.missing(number))?;
        }
        let end = self.segment.end();
        let seen = end.unwrap_or(u64::MAX).min(visible);
        self.limit = self.limit.max(self.segment.offset_of(seen));
        if offset < self.limit {
            return Ok(More::Here);
        }
        if end.is_none_or(|end| visible <= end) {
            return Ok(More::Nothing);
        }
        self.segment = self
            .lane
            .segment(number + 1)
            .ok_or_else(|| self.lane.missing(number + 1))?;
        self.limit = HEADER_BYTES;
        Ok(More::Next {
            closed: self.segment.closed_before,
        })
    }
}
