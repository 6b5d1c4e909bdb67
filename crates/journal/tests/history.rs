//! Tests that what is written is what is read, from any number, live and dead, over many segments.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Item, Scratch, call, calls, drain, eventually, payload, reserve};
use journal::{Journal, Lane, Space, Sync, Unavailable};
use proptest::prelude::*;

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Define(u32, usize),
    Open(usize),
    Close(prop::sample::Index, usize),
    Single(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![0..64usize, 200..1500usize, Just(4096usize)];
    let step = prop_oneof![
        1 => (0..40u32, 0..200usize).prop_map(|(symbol, len)| Step::Define(symbol, len)),
        4 => len.clone().prop_map(Step::Open),
        4 => (any::<prop::sample::Index>(), len.clone()).prop_map(|(which, len)| Step::Close(which, len)),
        2 => len.prop_map(Step::Single),
    ];
    prop::collection::vec(step, 0..300)
}

/// Does the steps, and returns what a reader must see.
fn play(lane: &Lane, steps: &[Step]) -> Vec<Item> {
    let mut history = Vec::new();
    let mut open: Vec<(u64, Space)> = Vec::new();
    let mut defined = std::collections::HashSet::new();
    for (turn, step) in steps.iter().enumerate() {
        let fill = |len: usize| payload(turn as u64, len.max(8));
        match step {
            Step::Define(symbol, len) => {
                let bytes = fill(*len);
                while lane.define(*symbol, &bytes) == Err(Unavailable::Behind) {}
                if defined.insert(*symbol) {
                    history.push(Item::Define(*symbol, bytes));
                }
            }
            Step::Open(len) => {
                let bytes = fill(*len);
                match reserve(lane, bytes.len() as u32 + 4096, 2) {
                    Ok(mut space) => {
                        let sequence = lane.open(&mut space, &bytes).sequence;
                        history.push(Item::Open(sequence, false, bytes));
                        open.push((sequence, space));
                    }
                    Err(refused) => assert_eq!(refused, Unavailable::Crowded),
                }
            }
            Step::Close(which, len) => {
                if !open.is_empty() {
                    let (sequence, space) = open.swap_remove(which.index(open.len()));
                    let bytes = fill(*len);
                    let closed = lane.close(space, sequence, &bytes);
                    history.push(Item::Close(closed.number, sequence, bytes));
                }
            }
            Step::Single(len) => {
                let bytes = fill(*len);
                if let Ok(space) = reserve(lane, bytes.len() as u32, 1) {
                    let closed = lane.single(space, &bytes);
                    history.push(Item::Single(closed.number, closed.sequence, bytes));
                }
            }
        }
    }
    // What is still open stays so: its room goes with the lane.
    history
}

/// Returns the records of a history that are not settled by its first `number` closes, without the
/// order of definitions.
fn after(history: &[Item], number: u64) -> Vec<Item> {
    let settled = |of: u64| {
        history.iter().any(|item| matches!(item, Item::Close(closed, sequence, _) if *closed <= number && *sequence == of))
    };
    let keep = |item: &&Item| match item {
        Item::Define(..) => false,
        Item::Open(sequence, ..) => !settled(*sequence),
        Item::Close(closed, ..) | Item::Single(closed, ..) => *closed > number,
    };
    history.iter().filter(keep).map(uncarried).collect()
}

fn uncarried(item: &Item) -> Item {
    match item {
        Item::Open(sequence, _, payload) => Item::Open(*sequence, false, payload.clone()),
        other => other.clone(),
    }
}

/// In a reading from the middle, frames carried into the first segment come before it: closes are
/// compared in order, opens as a set.
fn assert_same_records(read: &[Item], expected: &[Item]) {
    let closes = |items: &[Item]| -> Vec<Item> {
        items
            .iter()
            .filter(|item| matches!(item, Item::Close(..) | Item::Single(..)))
            .cloned()
            .collect()
    };
    assert_eq!(closes(read), closes(expected));
    let opens = |items: &[Item]| {
        let mut opens: Vec<_> = items
            .iter()
            .filter(|item| matches!(item, Item::Open(..)))
            .map(uncarried)
            .collect();
        opens.sort_by_key(|item| {
            if let Item::Open(sequence, ..) = item {
                *sequence
            } else {
                0
            }
        });
        opens
    };
    assert_eq!(opens(read), opens(expected));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_sees_exactly_the_history_from_any_number(steps in steps(), starts in prop::collection::vec(any::<prop::sample::Index>(), 3)) {
        let scratch = Scratch::new();
        let journal = scratch.create(1);
        let lane = journal.lane(0);
        let history = play(&lane, &steps);
        let closed = lane.closed();
        prop_assert_eq!(drain(&mut lane.reader_from(0).unwrap()).unwrap(), history.clone());
        for start in &starts {
            let number = start.index(closed as usize + 1) as u64;
            let read = drain(&mut lane.reader_from(number).unwrap()).unwrap();
            assert_same_records(&read, &after(&history, number));
        }
        drop((journal, lane));

        let dead = scratch.dead();
        let mut reader = dead.reader_from(0, 0).unwrap();
        prop_assert_eq!(drain(&mut reader).unwrap(), history.clone());
        prop_assert!(reader.torn().is_none());
        prop_assert_eq!(dead.closed(0).unwrap(), closed);
        for start in &starts {
            let number = start.index(closed as usize + 1) as u64;
            let read = drain(&mut dead.reader_from(0, number).unwrap()).unwrap();
            assert_same_records(&read, &after(&history, number));
        }
    }
}

#[test]
fn a_reader_follows_a_writer_over_many_segments() {
    for sync in [Sync::Process, Sync::Disk] {
        let scratch = Scratch::new();
        let mut options = scratch.options(1);
        options.sync = sync;
        options.tail_sync_interval = Duration::from_millis(2);
        let journal = Journal::create(options).unwrap();
        let lane = journal.lane(0);
        let count = 3_000;
        let writer = thread::spawn({
            let lane = lane.clone();
            move || {
                for number in 1..=count {
                    call(&lane, number, 100 + number as usize % 200);
                }
            }
        });
        let mut reader = lane.reader_from(0).unwrap();
        let mut next = 1;
        eventually("all calls are read", || {
            for item in drain(&mut reader).unwrap() {
                if let Item::Close(number, sequence, bytes) = item {
                    assert_eq!((number, sequence), (next, next));
                    assert_eq!(bytes, payload(next, 100 + next as usize % 200));
                    next += 1;
                }
            }
            next == count + 1
        });
        writer.join().unwrap();
        assert_eq!(reader.closed(), lane.closed());
        assert!(journal.stats().segments > 5);
    }
}

#[test]
fn readers_of_a_disk_journal_see_only_what_is_durable() {
    let scratch = Scratch::new();
    let mut options = scratch.options(1);
    options.sync = Sync::Disk;
    options.tail_sync_interval = Duration::from_secs(3600);
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    let closed = call(&lane, 1, 50);
    let mut reader = lane.reader_from(0).unwrap();
    assert_eq!(drain(&mut reader).unwrap(), []);
    common::block_on(lane.wait_durable(closed.position)).unwrap();
    assert_eq!(drain(&mut reader).unwrap().len(), 2);
}

#[test]
fn a_long_open_frame_pins_no_segment_and_is_delivered_once() {
    let scratch = Scratch::new();
    let mut options = scratch.options(1);
    options.keep = Duration::ZERO;
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    lane.define(3, b"three").unwrap();
    let mut space = lane.reserve(200, 2).unwrap();
    let long = lane.open(&mut space, b"a long stream");

    let mut reader = lane.reader_from(0).unwrap();
    let mut opens_of_long = 0;
    let mut defines = 0;
    for number in 0..2_000 {
        call(&lane, number, 200);
        for item in drain(&mut reader).unwrap() {
            opens_of_long += usize::from(
                matches!(&item, Item::Open(sequence, ..) if *sequence == long.sequence),
            );
            defines += usize::from(matches!(item, Item::Define(..)));
        }
        lane.release_through(reader.closed());
    }
    assert_eq!((opens_of_long, defines), (1, 1));
    eventually("passed segments are recycled", || {
        journal.stats().segments <= 2
    });

    // A later reader finds it carried, with the dictionary, although its first segment is gone.
    let items = drain(&mut lane.reader_from(lane.closed()).unwrap()).unwrap();
    assert!(items.contains(&Item::Define(3, b"three".to_vec())));
    assert!(items.contains(&Item::Open(long.sequence, true, b"a long stream".to_vec())));
    assert!(matches!(
        lane.reader_from(0).unwrap_err(),
        journal::Error::Missing { .. }
    ));
    assert!(lane.kept_from() > 0 && lane.reader_from(lane.kept_from()).is_ok());
    assert_eq!(lane.open_count(), 1);
    lane.close(space, long.sequence, b"it ended");
    let items = drain(&mut lane.reader_from(lane.closed() - 1).unwrap()).unwrap();
    assert!(items.contains(&Item::Close(
        lane.closed(),
        long.sequence,
        b"it ended".to_vec()
    )));
}

#[test]
fn recycled_files_are_used_again_and_never_show_their_earlier_life() {
    let scratch = Scratch::new();
    let mut options = scratch.options(2);
    options.keep_bytes = 0;
    let journal = Journal::create(options).unwrap();
    for round in 0..4_000 {
        let lane = journal.lane(round as usize % 2);
        call(&lane, round, 150);
        lane.release_through(lane.closed());
    }
    eventually("passed segments go", || journal.stats().segments <= 4);
    let closed = journal.lane(0).closed();
    let files = std::fs::read_dir(scratch.directory()).unwrap().count();
    assert!(files <= 16, "{files} files are left");
    drop(journal);
    let dead = scratch.dead();
    assert_eq!(dead.lanes(), 2);
    let mut reader = dead.reader_from(0, closed - 1).unwrap();
    assert!(
        matches!(drain(&mut reader).unwrap().last(), Some(Item::Close(number, ..)) if *number == closed)
    );
    assert!(
        reader.torn().is_none(),
        "the end is clean, whatever the file held before"
    );
}

#[test]
fn segments_are_kept_until_they_are_released_and_as_long_as_the_options_say() {
    let scratch = Scratch::new();
    let mut options = scratch.options(1);
    options.keep = Duration::ZERO;
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 0..1_000, 200);
    let segments = journal.stats().segments;
    assert!(segments > 4);
    let mut reader = lane.reader_from(0).unwrap();
    assert!(reader.next().unwrap().is_some());
    lane.release_through(lane.closed());
    // The reader stands in the first segment; the rest waits behind it, in order.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert!(journal.stats().segments >= 1);
                thread::yield_now();
            }
        });
        assert_eq!(drain(&mut reader).unwrap().len(), 1_999);
        drop(reader);
        eventually("released segments go", || journal.stats().segments == 1);
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn room_is_refused_before_anything_is_written_and_never_after() {
    let scratch = Scratch::new();
    let journal = scratch.create(1);
    let lane = journal.lane(0);
    let mut spaces = Vec::new();
    let refused = loop {
        match lane.reserve(1_000, 2) {
            Ok(space) => spaces.push(space),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Unavailable::Crowded);
    let sequences: Vec<_> = spaces
        .iter_mut()
        .map(|space| lane.open(space, &[7; 500]).sequence)
        .collect();
    assert!(lane.reserve(1_000, 2).is_err());
    for (space, sequence) in spaces.into_iter().zip(sequences) {
        lane.close(space, sequence, &[8; 500]);
    }
    let space = lane.reserve(1_000, 2).unwrap();
    lane.release(space);
    // All room came back: as much can be promised as at first.
    let again: Vec<_> = std::iter::from_fn(|| lane.reserve(1_000, 2).ok()).collect();
    assert!(again.len() >= 28, "{}", again.len());
}

#[test]
fn a_dictionary_is_bounded_and_defined_once_per_lane() {
    let scratch = Scratch::new();
    let journal = scratch.create(2);
    let lane = journal.lane(0);
    lane.define(1, b"one").unwrap();
    let written = lane.written();
    lane.define(1, b"one").unwrap();
    assert_eq!(lane.written(), written);
    assert_eq!(lane.define(65_536, b"x"), Err(Unavailable::DictionaryFull));
    assert_eq!(lane.define(2, &[0; 1025]), Err(Unavailable::DictionaryFull));
    let taken = (2..100)
        .take_while(|symbol| lane.define(*symbol, &[1; 1000]).is_ok())
        .count();
    assert!((10..17).contains(&taken), "{taken}");
    journal.lane(1).define(1, b"one").unwrap();
    assert_eq!(
        drain(&mut journal.lane(1).reader_from(0).unwrap()).unwrap(),
        [Item::Define(1, b"one".to_vec())]
    );
}

#[test]
fn breaches_of_contract_panic_and_leave_the_lane_usable() {
    let scratch = Scratch::new();
    let journal = scratch.create(2);
    let lane = journal.lane(0);
    let attempt =
        |body: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err();
    assert!(attempt(
        &|| _ = lane.single(lane.reserve(10, 1).unwrap(), &[0; 4096])
    ));
    assert!(attempt(
        &|| _ = lane.close(lane.reserve(10, 1).unwrap(), 99, b"unknown")
    ));
    assert!(attempt(&|| journal
        .lane(1)
        .release(lane.reserve(10, 1).unwrap())));
    assert!(attempt(&|| drop(journal.mark(&[0; 241]))));
    assert_eq!(call(&lane, 1, 20).number, 1);
}
