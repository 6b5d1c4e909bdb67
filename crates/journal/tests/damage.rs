//! Tests that torn tails are cut and damage in the middle is refused.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Item, Scratch, block_on, calls, drain, payload};
use journal::{DeadInstance, Error, Journal};

/// The length of a segment's header in bytes, and the places of its boot id and its checksum.
const HEADER: usize = 128;
const BOOT: std::ops::Range<usize> = 64..80;

/// Returns where the frames of a segment begin, and where the last one ends.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![HEADER];
    loop {
        let at = *offsets.last().unwrap();
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if len == 0 {
            return offsets;
        }
        offsets.push(at + len.next_multiple_of(8));
    }
}

/// Makes a segment look like one from before the machine's last start.
fn restart_machine(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[BOOT].fill(0x55);
    let crc = crc32c::crc32c(&bytes[..HEADER - 4]);
    bytes[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

/// Returns a journal of one lane of which nothing was synced while it ran, and its history.
fn written(scratch: &Scratch, count: u64) -> Vec<Item> {
    let mut options = scratch.options(1);
    options.tail_sync_interval = Duration::from_secs(3600);
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 1..=count, 33);
    drain(&mut lane.reader_from(0).unwrap()).unwrap()
}

fn read(scratch: &Scratch) -> Result<(Vec<Item>, bool), Error> {
    let dead = scratch.dead();
    let mut reader = dead.reader_from(0, 0)?;
    let items = drain(&mut reader)?;
    assert!(reader.next()?.is_none(), "the end is the end");
    Ok((items, reader.torn().is_some()))
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_everything_before_survives() {
    let scratch = Scratch::new();
    let history = written(&scratch, 5);
    let path = &scratch.segments(0)[0];
    let bytes = fs::read(path).unwrap();
    let offsets = frames(&bytes);
    let last = offsets[offsets.len() - 2]..offsets[offsets.len() - 1];
    let survivors = &history[..history.len() - 1];
    let frame_len =
        u32::from_le_bytes(bytes[last.start..last.start + 4].try_into().unwrap()) as usize;

    for cut in last.start..last.start + frame_len {
        fs::write(path, &bytes[..cut]).unwrap();
        assert_eq!(read(&scratch).unwrap().0, survivors, "cut at {cut}");

        let mut zeroed = bytes.clone();
        zeroed[cut..].fill(0);
        fs::write(path, &zeroed).unwrap();
        let (items, torn) = read(&scratch).unwrap();
        // The last bytes of a frame may be zeros themselves.
        assert!(items == survivors || zeroed == bytes, "zeros from {cut}");
        assert!(
            torn == (cut > last.start) || zeroed == bytes,
            "zeros from {cut}"
        );

        let mut garbled = bytes.clone();
        garbled[cut] ^= 0xA5;
        fs::write(path, &garbled).unwrap();
        let (items, torn) = read(&scratch).unwrap();
        assert_eq!(items, survivors, "changed at {cut}");
        assert!(torn);
    }
}

#[test]
fn a_changed_byte_in_the_middle_is_refused_with_file_and_place() {
    let scratch = Scratch::new();
    written(&scratch, 3);
    let path = &scratch.segments(0)[0];
    let bytes = fs::read(path).unwrap();
    let offsets = frames(&bytes);
    for frame in offsets[..offsets.len() - 2].iter().copied() {
        let len = u32::from_le_bytes(bytes[frame..frame + 4].try_into().unwrap()) as usize;
        for at in frame..frame + len {
            let mut garbled = bytes.clone();
            garbled[at] ^= 0x40;
            fs::write(path, &garbled).unwrap();
            match read(&scratch).unwrap_err() {
                Error::Corrupt {
                    path: named,
                    offset,
                    ..
                } => assert_eq!((&named, offset), (path, frame as u64)),
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_frame_of_zeros_in_the_middle_is_not_taken_for_the_end() {
    let scratch = Scratch::new();
    written(&scratch, 3);
    let path = &scratch.segments(0)[0];
    let mut bytes = fs::read(path).unwrap();
    let offsets = frames(&bytes);
    bytes[offsets[1]..offsets[2]].fill(0);
    fs::write(path, &bytes).unwrap();
    assert!(matches!(read(&scratch).unwrap_err(), Error::Corrupt { .. }));
}

#[test]
fn after_a_power_cut_a_hole_is_cut_unless_it_was_durable() {
    let scratch = Scratch::new();
    let mut options = scratch.options(1);
    options.tail_sync_interval = Duration::from_secs(3600);
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 1..=3, 33);
    block_on(lane.wait_durable(lane.written())).unwrap();
    calls(&lane, 4..=6, 33);
    let history = drain(&mut lane.reader_from(0).unwrap()).unwrap();
    drop((journal, lane));

    let path = &scratch.segments(0)[0];
    restart_machine(path);
    let bytes = fs::read(path).unwrap();
    let offsets = frames(&bytes);
    for (index, frame) in offsets[..offsets.len() - 1].iter().copied().enumerate() {
        let mut garbled = bytes.clone();
        garbled[frame + 30] ^= 1;
        fs::write(path, &garbled).unwrap();
        match read(&scratch) {
            // Of the first six frames, later ones say that they were durable.
            Err(Error::Corrupt { offset, .. }) => {
                assert_eq!((index < 6, offset), (true, frame as u64))
            }
            Ok((items, torn)) => {
                assert!(index >= 6 && torn);
                assert_eq!(items, history[..index]);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_missing_or_damaged_segment_in_the_middle_is_refused() {
    let scratch = Scratch::new();
    written(&scratch, 3_000);
    let segments = scratch.segments(0);
    assert!(segments.len() > 5);
    let middle = &segments[2];
    let bytes = fs::read(middle).unwrap();

    fs::remove_file(middle).unwrap();
    match read(&scratch).unwrap_err() {
        Error::Missing { path } => assert_eq!(&path, middle),
        other => panic!("{other}"),
    }
    // What lies behind the gap can be read by whoever needs no more.
    let dead = scratch.dead();
    let closed = dead.closed(0).unwrap();
    assert_eq!(closed, 3_000);
    let kept_from = dead.kept_from(0).unwrap();
    assert!(kept_from > 0 && dead.reader_from(0, kept_from - 1).is_err());
    let rest = drain(&mut dead.reader_from(0, kept_from).unwrap()).unwrap();
    assert_eq!(
        rest.iter()
            .filter(|item| matches!(item, Item::Close(..)))
            .count() as u64,
        closed - kept_from
    );
    assert!(dead.reader_from(0, closed - 5).is_ok());
    drop(dead);

    let mut headless = bytes.clone();
    headless[40] ^= 1;
    fs::write(middle, &headless).unwrap();
    assert!(matches!(read(&scratch).unwrap_err(), Error::Corrupt { .. }));

    fs::write(middle, &bytes[..bytes.len() / 2]).unwrap();
    match read(&scratch).unwrap_err() {
        Error::Corrupt { path, .. } => assert_eq!(&path, middle),
        other => panic!("{other}"),
    }

    // The first one gone: only those who begin later can go on.
    fs::write(middle, &bytes).unwrap();
    fs::remove_file(&segments[0]).unwrap();
    match read(&scratch).unwrap_err() {
        Error::Missing { path } => assert_eq!(path, segments[0]),
        other => panic!("{other}"),
    }
}

#[test]
fn segments_of_another_lane_or_place_are_not_taken_for_ours() {
    let scratch = Scratch::new();
    written(&scratch, 3_000);
    let segments = scratch.segments(0);
    fs::copy(&segments[1], &segments[2]).unwrap();
    assert!(matches!(read(&scratch).unwrap_err(), Error::Corrupt { .. }));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let scratch = Scratch::new();
    written(&scratch, 3);
    let path = &scratch.segments(0)[0];
    let mut bytes = fs::read(path).unwrap();
    bytes[8] = 2;
    fs::write(path, &bytes).unwrap();
    match read(&scratch).unwrap_err() {
        Error::NewerVersion {
            path: named,
            found: 2,
            known: 1,
        } => assert_eq!(&named, path),
        other => panic!("{other}"),
    }

    let marks = scratch.directory().join("marks");
    let mut bytes = fs::read(&marks).unwrap();
    bytes[8] = 9;
    fs::write(&marks, &bytes).unwrap();
    let refused = scratch.dead().marks().unwrap_err();
    assert!(
        matches!(&refused, Error::NewerVersion { path, found: 9, .. } if *path == marks),
        "{refused}"
    );
}

#[test]
fn a_process_killed_while_it_rotates_or_starts_leaves_a_readable_lane() {
    let scratch = Scratch::new();
    let history = written(&scratch, 5);
    let next = scratch.directory().join("0000-0000000001.seg");
    let _ = fs::remove_file(&next);
    let header = fs::read(&scratch.segments(0)[0]).unwrap()[..HEADER].to_vec();
    for begun in [0, 8, 60, HEADER - 1] {
        let mut blank = vec![0; 64 << 10];
        blank[..begun].copy_from_slice(&header[..begun]);
        fs::write(&next, &blank).unwrap();
        assert_eq!(
            read(&scratch).unwrap(),
            (history.clone(), false),
            "{begun} bytes of the header"
        );
    }
    fs::write(&next, b"").unwrap();
    assert_eq!(read(&scratch).unwrap(), (history, false));

    // Killed while it started: nothing but a lock, or a blank segment.
    let empty = scratch.home.path().join(format!("{:032x}", 5));
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("lock"), b"").unwrap();
    let dead = DeadInstance::open(&empty).unwrap();
    assert_eq!((dead.lanes(), dead.marks().unwrap()), (0, vec![]));
    drop(dead);
    fs::write(empty.join("0000-0000000000.seg"), vec![0; 64 << 10]).unwrap();
    let dead = DeadInstance::open(&empty).unwrap();
    assert_eq!((dead.lanes(), dead.closed(0).unwrap()), (1, 0));
    assert!(dead.reader_from(0, 0).unwrap().next().unwrap().is_none());
}

#[test]
fn reading_the_dead_changes_nothing_and_removing_leaves_nothing() {
    let scratch = Scratch::new();
    let journal = scratch.create(2);
    let lane = journal.lane(1);
    let mut space = lane.reserve(100, 2).unwrap();
    lane.open(&mut space, &payload(1, 20));
    let slot = journal.mark(b"in flight").unwrap();
    journal.mark(b"finished").unwrap().clear();
    assert_eq!(journal.stats().marks, 1);
    drop((journal, lane, slot));

    let listing = || {
        let mut files: Vec<_> = fs::read_dir(scratch.directory())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = listing();
    let dead = scratch.dead();
    assert_eq!(dead.lanes(), 2);
    assert_eq!(dead.marks().unwrap(), [b"in flight"]);
    assert_eq!(
        drain(&mut dead.reader_from(1, 0).unwrap()).unwrap(),
        [Item::Open(1, false, payload(1, 20))]
    );
    assert!(matches!(
        dead.reader_from(2, 0).unwrap_err(),
        Error::NoLane { lane: 2, .. }
    ));
    assert!(
        journal::dead_instances(scratch.home.path())
            .unwrap()
            .is_empty(),
        "one reader at a time"
    );
    assert_eq!(listing(), before);
    dead.remove().unwrap();
    assert_eq!(fs::read_dir(scratch.home.path()).unwrap().count(), 0);
    assert!(
        journal::dead_instances(&scratch.home.path().join("nowhere"))
            .unwrap()
            .is_empty()
    );
}
