//! The repair of segments whose sync the disk refused.
//!
//! After a failed fdatasync the kernel forgets which pages it could not write: a second one on the
//! same file may succeed and mean nothing. So the file is given up. Its frames, which are still in
//! memory, are copied to a fresh file, which is synced and takes the old one's name: it is the same
//! segment with the same offsets and positions, in which nothing is lost and nothing doubled.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::files::{self, Blank};
use crate::format::{self, HEADER_BYTES};
use crate::lane::Lane;
use crate::map::MapWriter;
use crate::segment::Segment;
use crate::state::JournalState;

/// Replaces the file of a segment whose sync failed by a fresh, synced one. Returns the lane
/// position up to which that file is durable.
pub(crate) fn replace(state: &JournalState, lane: &Lane, old: &Arc<Segment>) -> io::Result<u64> {
    // The position is read first: what is written meanwhile is copied later, and synced with the
    // next commit.
    let durable = old.end().unwrap_or_else(|| lane.written().0);
    let copied = old.offset_of(durable);
    let path = old.path().with_extension("new");
    // A file is left over if the attempt before was interrupted.
    let _ = fs::remove_file(&path);
    let new = fill(state, old, &path, copied).and_then(|blank| lane.exchange(old, blank, copied));
    match new {
        Ok(new) => {
            // Without its name on disk the new file cannot be relied on either.
            files::sync_parent(new.path()).inspect_err(|_| new.poison())?;
            Ok(durable)
        }
        Err(error) => {
            // The old file keeps its name; the half-made one is of no use.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

fn fill(
    state: &JournalState,
    old: &Segment,
    path: &std::path::Path,
    copied: usize,
) -> io::Result<Blank> {
    let mut blank = Blank::create(path.to_owned(), state.segment_bytes())?;
    copy(old, &mut blank.map, 0, copied)?;
    blank.map.publish(copied);
    check(blank.map.map().published(copied), old.salt)?;
    files::sync_data(&blank.file)?;
    Ok(blank)
}

/// Copies a range of the old file, through a read call: if the page is gone from memory and the
/// disk fails again, that is an error and not a signal.
pub(crate) fn copy(old: &Segment, into: &mut MapWriter, from: usize, to: usize) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut at = from;
    while at < to {
        let some = buffer.len().min(to - at);
        old.file.read_exact_at(&mut buffer[..some], at as u64)?;
        into.store(at, &buffer[..some]);
        at += some;
    }
    if into.len() - to >= 8 {
        into.store_word(to, 0);
    }
    Ok(())
}

/// Checks copied frames. The kernel may have dropped pages that it failed to write and read old
/// ones back; then the frames are lost.
fn check(bytes: &[u8], salt: u32) -> io::Result<()> {
    let mut offset = HEADER_BYTES;
    while offset < bytes.len() {
        match format::decode(bytes, offset, salt) {
            Some(frame) => offset = frame.end,
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "frames were lost from memory",
                ));
            }
        }
    }
    Ok(())
}
