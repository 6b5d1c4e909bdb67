//! The lane of a dead process, in which a torn tail is told apart from damage.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::entry::{More, Torn};
use crate::files;
use crate::format::{self, HEADER_BYTES, Header, HeaderFound, NO_CLAIM};

/// The segment files of a dead lane in order, with their headers.
#[derive(Debug)]
pub(crate) struct DeadLane {
    instance: u128,
    lane: u32,
    /// The boot id of this machine now; 0: unknown.
    boot: u128,
    files: Vec<DeadFile>,
    /// Keeps the instance locked.
    _lock: Option<Arc<File>>,
}

#[derive(Debug)]
struct DeadFile {
    number: u64,
    path: PathBuf,
    /// The header; `None` if the segment was not begun.
    header: Option<Header>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    OnDisk,
    /// Bytes in memory, for fuzzing.
    InMemory(Vec<u8>),
}

impl DeadFile {
    fn new(
        instance: u128,
        lane: u32,
        number: u64,
        path: PathBuf,
        content: Content,
    ) -> Result<Self, Error> {
        let mut head = Vec::with_capacity(HEADER_BYTES);
        match &content {
            Content::OnDisk => {
                let file = File::open(&path).map_err(Error::io("open", &path))?;
                file.take(HEADER_BYTES as u64)
                    .read_to_end(&mut head)
                    .map_err(Error::io("read", &path))?;
            }
            Content::InMemory(bytes) => head.extend(bytes.iter().take(HEADER_BYTES)),
        }
        let header = match Header::decode(&head, instance, lane, number) {
            HeaderFound::Valid(header) => Some(header),
            HeaderFound::Invalid => None,
            HeaderFound::Newer(found) => {
                return Err(Error::NewerVersion {
                    path,
                    found,
                    known: format::VERSION,
                });
            }
        };
        Ok(Self {
            number,
            path,
            header,
            content,
        })
    }

    fn load(&self, mut buffer: Vec<u8>) -> Result<Vec<u8>, Error> {
        buffer.clear();
        match &self.content {
            Content::OnDisk => {
                let mut file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
                file.read_to_end(&mut buffer)
                    .map_err(Error::io("read", &self.path))?;
            }
            Content::InMemory(bytes) => buffer.extend_from_slice(bytes),
        }
        Ok(buffer)
    }
}

/// The bytes after a frame that does not validate, as evidence of what happened to it.
#[derive(Debug, Default)]
struct Evidence {
    /// The highest durable position that a frame or a header after it claims.
    claim: u64,
    /// Whether anything valid was found.
    valid: bool,
}

impl Evidence {
    fn note(&mut self, claim: u64) {
        self.valid = true;
        self.claim = self.claim.max(claim);
    }

    /// Looks for valid frames anywhere from `offset` on. The byte at `HEADER_BYTES` has lane
    /// position `start`.
    fn scan(&mut self, bytes: &[u8], offset: usize, salt: u32, start: u64) {
        let mut at = offset.next_multiple_of(8);
        while at + 8 <= bytes.len() {
            match format::decode(bytes, at, salt) {
                Some(frame) => {
                    let position = start.saturating_add((at - HEADER_BYTES) as u64);
                    let distance = frame.head.distance;
                    self.note(if distance == NO_CLAIM {
                        0
                    } else {
                        position.saturating_sub(distance.into())
                    });
                    at = frame.end.next_multiple_of(8);
                }
                None => at += 8,
            }
        }
    }
}

impl DeadLane {
    /// Lists the segments of a lane, and reads their headers.
    pub(crate) fn open(
        directory: &Path,
        instance: u128,
        lane: u32,
        lock: Arc<File>,
    ) -> Result<Self, Error> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
            let name = entry.map_err(Error::io("list", directory))?.file_name();
            if let Some((of, number)) = name.to_str().and_then(files::parse_segment)
                && of == lane
            {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        let file = |number| {
            let path = files::segment_path(directory, lane, number);
            DeadFile::new(instance, lane, number, path, Content::OnDisk)
        };
        let files = numbers.into_iter().map(file).collect::<Result<_, _>>()?;
        Ok(Self {
            instance,
            lane,
            boot: files::boot_id(),
            files,
            _lock: Some(lock),
        })
    }

    /// Returns a lane of segments 0, 1, 2… with these bytes.
    pub(crate) fn in_memory(instance: u128, boot: u128, segments: &[&[u8]]) -> Result<Self, Error> {
        let file = |(number, bytes): (usize, &&[u8])| {
            let path = files::segment_path(Path::new(""), 0, number as u64);
            DeadFile::new(
                instance,
                0,
                number as u64,
                path,
                Content::InMemory(bytes.to_vec()),
            )
        };
        let files = segments
            .iter()
            .enumerate()
            .map(file)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            instance,
            lane: 0,
            boot,
            files,
            _lock: None,
        })
    }

    /// Returns the smallest number from which the lane can be read without a gap, as
    /// [`Lane::kept_from`](crate::Lane::kept_from) does.
    pub(crate) fn kept_from(&self) -> u64 {
        let mut begun = self.files.iter().rev().filter(|file| file.header.is_some());
        let mut first = begun.next();
        for file in begun {
            if first.is_some_and(|first| file.number + 1 != first.number) {
                break;
            }
            first = Some(file);
        }
        first
            .and_then(|file| file.header.as_ref())
            .map_or(0, |header| header.closed)
    }

    /// Checks that no segment is missing from `index` on, up to the last one that was begun.
    fn check_chain(&self, index: usize) -> Result<(), Error> {
        let last = self
            .files
            .iter()
            .rposition(|file| file.header.is_some())
            .unwrap_or(index);
        for pair in self.files[index..=last].windows(2) {
            if pair[1].number != pair[0].number + 1 {
                let directory = pair[0].path.parent().unwrap_or(Path::new(""));
                return Err(Error::Missing {
                    path: files::segment_path(directory, self.lane, pair[0].number + 1),
                });
            }
        }
        Ok(())
    }

    fn salt(&self, index: usize) -> u32 {
        format::salt(self.instance, self.lane, self.files[index].number)
    }

    /// Collects whatever validates in the files from `index` on, of which the first begins at lane
    /// position `start` or later.
    fn evidence_from(
        &self,
        index: usize,
        start: u64,
        evidence: &mut Evidence,
    ) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for index in index..self.files.len() {
            let file = &self.files[index];
            buffer = file.load(buffer)?;
            if let Some(header) = &file.header {
                evidence.note(header.durable);
            }
            let start = file.header.as_ref().map_or(start, |header| header.start);
            evidence.scan(&buffer, HEADER_BYTES, self.salt(index), start);
        }
        Ok(())
    }
}

/// The segment of a dead lane that a reader is at, whole in memory, so that a failing disk is an
/// error and not a signal.
#[derive(Debug)]
pub(crate) struct DeadCursor {
    lane: Arc<DeadLane>,
    index: usize,
    buffer: Vec<u8>,
    limit: usize,
    ended: bool,
    torn: Option<Torn>,
}

impl DeadCursor {
    /// Returns the cursor at the segment in which the close after the first `number` ones lies.
    pub(crate) fn at(lane: Arc<DeadLane>, number: u64) -> Result<Self, Error> {
        let begun = |file: &DeadFile| {
            file.header
                .as_ref()
                .is_some_and(|header| header.closed <= number)
        };
        let Some(index) = lane.files.iter().rposition(begun) else {
            return Self::nothing(lane);
        };
        lane.check_chain(index)?;
        let mut cursor = Self {
            lane,
            index,
            buffer: Vec::new(),
            limit: 0,
            ended: false,
            torn: None,
        };
        cursor.load(index)?;
        Ok(cursor)
    }

    /// Returns the number of closes before the segment.
    pub(crate) fn closed(&self) -> u64 {
        self.header().map_or(0, |header| header.closed)
    }

    /// Returns the cursor of a lane without a segment to read. Its process may have been killed
    /// before it began, but it must not have lost its first segments.
    fn nothing(lane: Arc<DeadLane>) -> Result<Self, Error> {
        if let Some(begun) = lane.files.iter().find(|file| file.header.is_some()) {
            let directory = begun.path.parent().unwrap_or(Path::new(""));
            let number = begun.number.saturating_sub(1);
            return Err(Error::Missing {
                path: files::segment_path(directory, lane.lane, number),
            });
        }
        let mut evidence = Evidence::default();
        lane.evidence_from(0, 0, &mut evidence)?;
        if evidence.claim > 0 {
            let path = lane.files[0].path.clone();
            return Err(Error::Corrupt {
                path,
                offset: 0,
                what: "the header of a segment with durable frames is gone",
            });
        }
        Ok(Self {
            lane,
            index: 0,
            buffer: Vec::new(),
            limit: 0,
            ended: true,
            torn: None,
        })
    }

    fn load(&mut self, index: usize) -> Result<(), Error> {
        self.buffer = self.lane.files[index].load(std::mem::take(&mut self.buffer))?;
        self.index = index;
        self.limit = match self.end()? {
            Some(end) => end.min(self.buffer.len()),
            None => self.buffer.len(),
        };
        Ok(())
    }

    /// Returns the offset after the last frame, if the next segment tells it.
    fn end(&self) -> Result<Option<usize>, Error> {
        let next = self
            .lane
            .files
            .get(self.index + 1)
            .and_then(|file| file.header.as_ref());
        let (Some(header), Some(next)) = (self.header(), next) else {
            return Ok(None);
        };
        match next.start.checked_sub(header.start) {
            Some(length) => Ok(Some(
                HEADER_BYTES.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)),
            )),
            None => Err(Error::Corrupt {
                path: self.lane.files[self.index + 1].path.clone(),
                offset: 0,
                what: "the segment begins before the one before it",
            }),
        }
    }

    fn header(&self) -> Option<&Header> {
        self.lane.files.get(self.index)?.header.as_ref()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.limit]
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn salt(&self) -> u32 {
        self.lane.salt(self.index)
    }

    pub(crate) fn path(&self) -> &Path {
        self.lane
            .files
            .get(self.index)
            .map_or(Path::new(""), |file| &file.path)
    }

    pub(crate) fn torn(&self) -> Option<&Torn> {
        self.torn.as_ref()
    }

    pub(crate) fn more(&mut self, offset: usize) -> Result<More, Error> {
        if self.ended {
            return Ok(More::Nothing);
        }
        if offset < self.limit {
            return Ok(More::Here);
        }
        if self.end()? != Some(offset) {
            // This is the last segment, full to its last byte, or a file that was cut off.
            self.end_at(offset)?;
            return Ok(More::Nothing);
        }
        self.load(self.index + 1)?;
        Ok(More::Next {
            closed: self.closed(),
        })
    }

    /// Ends the reading at an offset without a valid frame.
    ///
    /// This is the end of the lane, clean or torn by a crash, unless there is evidence that the
    /// frame was whole once: a later claim that it was durable, or, if the machine has not been
    /// restarted since, anything valid after it, for a process that is killed leaves its stores in
    /// order.
    pub(crate) fn end_at(&mut self, offset: usize) -> Result<(), Error> {
        let (start, boot) = self
            .header()
            .map_or((0, 0), |header| (header.start, header.boot));
        let position = start.saturating_add((offset - HEADER_BYTES) as u64);
        let mut evidence = Evidence::default();
        evidence.scan(&self.buffer, offset + 8, self.salt(), start);
        self.lane
            .evidence_from(self.index + 1, position, &mut evidence)?;
        let corrupt = |what| Error::Corrupt {
            path: self.path().to_owned(),
            offset: offset as u64,
            what,
        };
        if evidence.claim > position {
            return Err(corrupt("a frame that was durable does not validate"));
        }
        if evidence.valid && boot != 0 && boot == self.lane.boot {
            return Err(corrupt("a frame does not validate although later ones do"));
        }
        // A clean end is a zero word, or the end of the file.
        let clean = self
            .buffer
            .get(offset..offset + 4)
            .is_none_or(|word| word == [0; 4]);
        if evidence.valid || !clean {
            self.torn = Some(Torn {
                path: self.path().to_owned(),
                offset: offset as u64,
            });
        }
        self.ended = true;
        self.limit = self.limit.min(offset);
        Ok(())
    }
}

/// Returns the number of lanes that left files in `directory`.
pub(crate) fn count_lanes(directory: &Path) -> io::Result<usize> {
    let mut lanes = 0;
    for entry in fs::read_dir(directory)? {
        if let Some((lane, _)) = entry?.file_name().to_str().and_then(files::parse_segment) {
            lanes = lanes.max(lane as usize + 1);
        }
    }
    Ok(lanes)
}
