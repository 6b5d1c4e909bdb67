//! Tests of a disk that refuses. Fail points belong to the whole process, so these tests take
//! turns.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod common;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Item, Scratch, block_on, call, calls, drain, eventually, payload};
use fail::FailScenario;
use journal::{Journal, Lane, Options, Sync, Unavailable};

/// Returns options with which only those who wait cause a sync.
fn options(scratch: &Scratch) -> Options {
    let mut options = scratch.options(1);
    options.sync = Sync::Disk;
    options.tail_sync_interval = Duration::from_secs(3600);
    options
}

fn wait(lane: &std::sync::Arc<Lane>) -> Result<(), Unavailable> {
    block_on(lane.wait_durable(lane.written()))
}

/// Checks that all of `calls(1..=count)` are there and nothing else, each once, in order.
fn assert_calls(items: &[Item], count: u64, len: usize) {
    let expected: Vec<_> = (1..=count)
        .flat_map(|number| {
            [
                Item::Open(number, false, payload(number, len)),
                Item::Close(number, number, payload(number, len)),
            ]
        })
        .collect();
    assert_eq!(items.len(), expected.len());
    assert_eq!(items, expected);
}

fn read_dead(scratch: &Scratch) -> Vec<Item> {
    drain(&mut scratch.dead().reader_from(0, 0).unwrap()).unwrap()
}

#[test]
fn a_refused_sync_is_repeated_on_a_fresh_file_and_nothing_is_lost_or_doubled() {
    let scenario = FailScenario::setup();
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch)).unwrap();
    let lane = journal.lane(0);
    let mut reader = lane.reader_from(0).unwrap();
    calls(&lane, 1..=10, 100);
    wait(&lane).unwrap();
    let mut seen = drain(&mut reader).unwrap();

    fail::cfg("journal::fsync", "1*return").unwrap();
    calls(&lane, 11..=20, 100);
    assert_eq!(wait(&lane), Ok(()));
    assert_eq!(journal.stats().failed_syncs, 1);
    assert!(!journal.stats().failed);
    // The reader that began in the old file goes on in the new one.
    calls(&lane, 21..=30, 100);
    wait(&lane).unwrap();
    seen.extend(drain(&mut reader).unwrap());
    assert_calls(&seen, 30, 100);
    drop((journal, lane, reader));
    assert_calls(&read_dead(&scratch), 30, 100);
    scenario.teardown();
}

#[test]
fn a_refused_sync_of_a_passed_segment_is_repaired_in_its_place() {
    let scenario = FailScenario::setup();
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch)).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 1..=1_500, 100);
    assert!(journal.stats().segments > 4);
    fail::cfg("journal::fsync", "1*off->1*return->1*off->1*return->off").unwrap();
    assert_eq!(wait(&lane), Ok(()));
    assert_eq!(journal.stats().failed_syncs, 2);
    assert_calls(
        &drain(&mut lane.reader_from(0).unwrap()).unwrap(),
        1_500,
        100,
    );
    drop((journal, lane));
    assert_calls(&read_dead(&scratch), 1_500, 100);
    scenario.teardown();
}

#[test]
fn a_second_refusal_fails_those_who_wait_until_the_disk_recovers() {
    let scenario = FailScenario::setup();
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch)).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 1..=5, 100);
    let mut space = lane.reserve(300, 2).unwrap();
    let opened = lane.open(&mut space, &payload(6, 100));
    fail::cfg("journal::fsync", "return").unwrap();
    assert_eq!(wait(&lane), Err(Unavailable::Failed));
    assert!(journal.stats().failed);
    assert_eq!(lane.reserve(10, 1).unwrap_err(), Unavailable::Failed);
    assert_eq!(lane.define(1, b"one"), Err(Unavailable::Failed));
    // A call that is on its way ends in the space it was promised.
    let closed = lane.close(space, opened.sequence, &payload(6, 100));
    assert_eq!(
        block_on(lane.wait_durable(closed.position)),
        Err(Unavailable::Failed)
    );
    // Two refusals by now; the third is that of the next attempt.
    eventually("it tries again", || journal.stats().failed_syncs >= 3);
    assert!(journal.stats().failed);

    fail::remove("journal::fsync");
    eventually("it recovers", || !journal.stats().failed);
    assert_eq!(block_on(lane.wait_durable(closed.position)), Ok(()));
    call(&lane, 7, 100);
    wait(&lane).unwrap();
    assert_calls(&drain(&mut lane.reader_from(0).unwrap()).unwrap(), 7, 100);
    drop((journal, lane));
    assert_calls(&read_dead(&scratch), 7, 100);
    scenario.teardown();
}

#[test]
fn a_disk_that_refuses_now_and_then_under_load_loses_and_doubles_nothing() {
    let scenario = FailScenario::setup();
    let scratch = Scratch::new();
    let mut options = options(&scratch);
    options.tail_sync_interval = Duration::from_millis(1);
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    let refusals = "3*off->1*return->2*off->1*return->4*off->2*return->5%return";
    fail::cfg("journal::fsync", refusals).unwrap();
    let count = 3_000;
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=count {
                eventually("room", || match lane.reserve(300, 2) {
                    Ok(mut space) => {
                        let opened = lane.open(&mut space, &payload(number, 100));
                        lane.close(space, opened.sequence, &payload(number, 100));
                        true
                    }
                    Err(_) => false,
                });
            }
        });
        let mut reader = lane.reader_from(0).unwrap();
        let mut seen = Vec::new();
        eventually("all is read", || {
            seen.extend(drain(&mut reader).unwrap());
            reader.closed() == count
        });
        assert_calls(&seen, count, 100);
    });
    assert!(journal.stats().failed_syncs >= 4);
    fail::remove("journal::fsync");
    drop((journal, lane));
    assert_calls(&read_dead(&scratch), count, 100);
    scenario.teardown();
}

#[test]
fn a_full_disk_refuses_reservations_before_anything_is_lost_and_heals_by_itself() {
    let scenario = FailScenario::setup();
    let scratch = Scratch::new();
    let journal = scratch.create(1);
    let lane = journal.lane(0);
    fail::cfg("journal::prewrite", "return").unwrap();
    let mut count = 0;
    let refused = loop {
        match lane.reserve(300, 2) {
            Ok(mut space) => {
                count += 1;
                let opened = lane.open(&mut space, &payload(count, 100));
                lane.close(space, opened.sequence, &payload(count, 100));
            }
            Err(Unavailable::Behind) => {}
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Unavailable::DiskFull);
    assert_eq!(lane.define(1, &[1; 1000]), Err(Unavailable::DiskFull));
    // Two segments' worth: the first one and the spare.
    assert!((350..500).contains(&count), "{count}");
    fail::remove("journal::prewrite");
    eventually("there is room again", || {
        lane.reserve(300, 2)
            .map(|space| lane.release(space))
            .is_ok()
    });
    calls(&lane, count + 1..=count + 600, 100);
    drop((journal, lane));
    assert_calls(&read_dead(&scratch), count + 600, 100);
    scenario.teardown();
}

/// The environment variable for the child's directory; set in the child only.
const HOME: &str = "JOURNAL_TORN_HOME";
/// The environment variable for the place where it dies: a fail point and its action; set in the
/// child only.
const POINT: &str = "JOURNAL_TORN_POINT";

/// The body of the process below, which dies while it writes a frame; no test by itself.
#[test]
fn a_child_dies_while_it_writes() {
    let Some(home) = env::var_os(HOME) else {
        return;
    };
    let mut options = Options::new(PathBuf::from(home), 77, 1);
    options.segment_bytes = 64 << 10;
    options.mark_slots = 16;
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 1..=700, 100);
    let point = env::var(POINT).unwrap();
    let (point, action) = point.split_once('=').unwrap();
    fail::cfg(point, action).unwrap();
    call(&lane, 701, 100);
}

/// Returns the journal of a process that died at that point of its last frame.
fn died_at(point: &str) -> Scratch {
    let scratch = Scratch::new();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_child_dies_while_it_writes"])
        .env(HOME, scratch.home.path())
        .env(POINT, point)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    scratch
}

#[test]
fn a_process_that_dies_before_a_frame_leaves_a_clean_end() {
    let scratch = died_at("journal::write=panic");
    let mut reader = scratch.dead().reader_from(0, 0).unwrap();
    assert_calls(&drain(&mut reader).unwrap(), 700, 100);
    assert!(reader.torn().is_none());
}

#[test]
fn a_frame_half_written_by_a_dying_process_is_cut() {
    let scratch = died_at("journal::torn=return");
    let dead = scratch.dead();
    let mut reader = dead.reader_from(0, 0).unwrap();
    assert_calls(&drain(&mut reader).unwrap(), 700, 100);
    let torn = reader.torn().unwrap();
    assert!(torn.path.starts_with(dead.path()) && torn.offset > 128);
}

#[test]
fn a_journal_that_cannot_be_made_or_is_discarded_leaves_nothing_behind() {
    let scenario = FailScenario::setup();
    let scratch = Scratch::new();
    let left = || std::fs::read_dir(scratch.home.path()).map_or(0, Iterator::count);
    fail::cfg("journal::prewrite", "return").unwrap();
    assert!(Journal::create(options(&scratch)).is_err());
    assert_eq!(left(), 0);
    fail::remove("journal::prewrite");

    let journal = Journal::create(options(&scratch)).unwrap();
    assert_eq!(left(), 1);
    journal.discard().unwrap();
    assert_eq!(left(), 0);

    // What was written once stays.
    let journal = Journal::create(options(&scratch)).unwrap();
    calls(&journal.lane(0), 1..=2, 10);
    journal.discard().unwrap();
    assert_calls(&read_dead(&scratch), 2, 10);
    scenario.teardown();
}
