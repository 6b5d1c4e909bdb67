//! Tests of waiting for the disk, with and without a notifier, and of the one owner of an instance.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use common::{DEADLINE, Scratch, block_on, call, calls, eventually};
use journal::{
    Commit, DeadInstance, Error, Journal, Lane, Observer, Options, Position, Sync, Unavailable,
};

/// Returns options with which only those who wait cause a sync.
fn options(scratch: &Scratch, lanes: usize) -> Options {
    let mut options = scratch.options(lanes);
    options.sync = Sync::Disk;
    options.tail_sync_interval = Duration::from_secs(3600);
    options
}

/// A waker that notes who was woken, in which order, and from which thread.
#[derive(Default)]
struct Wakes(Mutex<Vec<(usize, ThreadId)>>);

struct Noting {
    wakes: Arc<Wakes>,
    name: usize,
}

impl Wake for Noting {
    fn wake(self: Arc<Self>) {
        self.wakes
            .0
            .lock()
            .unwrap()
            .push((self.name, thread::current().id()));
    }
}

fn poll(commit: &mut Commit, waker: &Waker) -> Poll<Result<(), Unavailable>> {
    Pin::new(commit).poll(&mut Context::from_waker(waker))
}

/// Returns ten waiters for a position that is not written yet, queued in a mixed order.
fn queue(lane: &Arc<Lane>, wakes: &Arc<Wakes>) -> Vec<Commit> {
    let written = lane.written().0;
    let queued = [3, 1, 2, 5, 4, 6, 9, 8, 7, 10].map(|name| {
        let mut commit = lane.wait_durable(Position(written + name as u64));
        let waker = Waker::from(Arc::new(Noting {
            wakes: Arc::clone(wakes),
            name,
        }));
        assert!(poll(&mut commit, &waker).is_pending());
        commit
    });
    queued.into()
}

#[test]
fn what_is_written_is_visible_at_once_where_readers_trust_the_kernel_and_else_when_it_is_on_disk() {
    for sync in [Sync::Process, Sync::Disk] {
        let scratch = Scratch::new();
        let mut options = options(&scratch, 1);
        options.sync = sync;
        let journal = Journal::create(options).unwrap();
        let lane = journal.lane(0);
        let mut nothing = lane.wait_visible();
        assert_eq!(poll(&mut nothing, Waker::noop()), Poll::Ready(Ok(())));
        call(&lane, 1, 100);
        let mut visible = lane.wait_visible();
        let first = poll(&mut visible, Waker::noop());
        assert!(sync == Sync::Disk || first == Poll::Ready(Ok(())));
        assert_eq!(block_on(visible), Ok(()));
        assert!(lane.reader_from(0).unwrap().next().unwrap().is_some());
    }
}

#[test]
fn waiters_from_many_threads_are_answered_each_when_its_record_is_durable() {
    for with_bell in [false, true] {
        let scratch = Scratch::new();
        let journal = Journal::create(options(&scratch, 2)).unwrap();
        let notifiers: Vec<_> = (0..2)
            .filter(|_| with_bell)
            .map(|index| {
                let notifier = journal.lane(index).notifier();
                thread::spawn(move || block_on(notifier.serve()))
            })
            .collect();
        thread::scope(|scope| {
            for worker in 0..4 {
                let lane = journal.lane(worker % 2);
                scope.spawn(move || {
                    for number in 0..50 {
                        let closed = call(&lane, number, 60);
                        block_on(lane.wait_durable(closed.position)).unwrap();
                        assert!(lane.durable() >= closed.position);
                    }
                });
            }
        });
        assert!(journal.stats().commits > 0);
        journal.shutdown();
        notifiers
            .into_iter()
            .for_each(|notifier| notifier.join().unwrap());
    }
}

#[test]
fn without_a_bell_the_committer_wakes_in_order_of_position() {
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch, 1)).unwrap();
    let lane = journal.lane(0);
    let wakes = Arc::new(Wakes::default());
    let mut commits = queue(&lane, &wakes);
    call(&lane, 1, 60);
    // Written behind the committer's back: the next one who waits lets it look.
    block_on(lane.wait_durable(lane.written())).unwrap();
    eventually("all are woken", || wakes.0.lock().unwrap().len() == 10);
    let order: Vec<_> = wakes
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(order, (1..=10).collect::<Vec<_>>());
    for commit in &mut commits {
        assert_eq!(poll(commit, Waker::noop()), Poll::Ready(Ok(())));
    }
}

#[test]
fn a_bell_wakes_in_order_from_its_own_thread_and_hands_back_when_dropped() {
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch, 1)).unwrap();
    let lane = journal.lane(0);
    let wakes = Arc::new(Wakes::default());
    let rung = Arc::new(Wakes::default());
    let ring_waker = Waker::from(Arc::new(Noting {
        wakes: Arc::clone(&rung),
        name: 0,
    }));
    let mut notifier = lane.notifier();
    let mut context = Context::from_waker(&ring_waker);
    assert!(notifier.poll_notified(&mut context).is_pending());

    let _commits = queue(&lane, &wakes);
    let position = call(&lane, 1, 60).position;
    let mut last = lane.wait_durable(position);
    assert!(poll(&mut last, Waker::noop()).is_pending());
    eventually("the notifier is woken", || {
        !rung.0.lock().unwrap().is_empty()
    });
    assert!(
        wakes.0.lock().unwrap().is_empty(),
        "the committer wakes nobody but the notifier"
    );
    assert_ne!(rung.0.lock().unwrap()[0].1, thread::current().id());
    assert_eq!(notifier.poll_notified(&mut context), Poll::Ready(Some(11)));
    assert!(notifier.poll_notified(&mut context).is_pending());
    let here = thread::current().id();
    let expected: Vec<_> = (1..=10).map(|name| (name, here)).collect();
    assert_eq!(*wakes.0.lock().unwrap(), expected);

    drop(notifier);
    let position = call(&lane, 2, 60).position;
    block_on(lane.wait_durable(position)).unwrap();
}

#[test]
fn a_dropped_waiter_is_forgotten_and_the_others_are_not() {
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch, 1)).unwrap();
    let lane = journal.lane(0);
    let wakes = Arc::new(Wakes::default());
    let mut commits = queue(&lane, &wakes);
    // Queued a second time under the same waker changes nothing.
    let again = Waker::from(Arc::new(Noting {
        wakes: Arc::clone(&wakes),
        name: 33,
    }));
    assert!(poll(&mut commits[0], &again).is_pending());
    // In order of queueing: waiters 1, 5 and 10 go.
    for index in [9, 3, 1] {
        drop(commits.remove(index));
    }
    // One handle here and one in each waiter that is left, the replaced one being its second.
    drop(again);
    assert_eq!(Arc::strong_count(&wakes), 1 + 7);
    let position = call(&lane, 1, 60).position;
    block_on(lane.wait_durable(position)).unwrap();
    eventually("those who are left are woken", || {
        wakes.0.lock().unwrap().len() == 7
    });
    let order: Vec<_> = wakes
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(order, [2, 33, 4, 6, 7, 8, 9]);
    assert_eq!(Arc::strong_count(&wakes), 1);
}

#[test]
fn shutdown_answers_everybody_and_refuses_what_comes_later() {
    let scratch = Scratch::new();
    let journal = Journal::create(options(&scratch, 1)).unwrap();
    let lane = journal.lane(0);
    let position = call(&lane, 1, 60).position;
    let beyond = thread::spawn({
        let lane = Arc::clone(&lane);
        move || block_on(lane.wait_durable(Position(1 << 40)))
    });
    let space = lane.reserve(100, 1).unwrap();
    journal.shutdown();
    journal.shutdown();
    assert_eq!(lane.durable(), lane.written());
    assert_eq!(block_on(lane.wait_durable(position)), Ok(()));
    assert_eq!(beyond.join().unwrap(), Err(Unavailable::Stopped));
    assert_eq!(lane.reserve(10, 1).unwrap_err(), Unavailable::Stopped);
    // What was promised holds even now.
    let late = lane.single(space, b"late");
    assert_eq!(
        block_on(lane.wait_durable(late.position)),
        Err(Unavailable::Stopped)
    );
    drop((journal, lane));
    assert_eq!(scratch.dead().closed(0).unwrap(), 2);
}

#[test]
fn records_nobody_waits_for_are_synced_all_the_same() {
    let scratch = Scratch::new();
    let mut options = options(&scratch, 1);
    options.tail_sync_interval = Duration::from_millis(5);
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    call(&lane, 1, 60);
    eventually("the tail is synced", || lane.durable() == lane.written());
}

#[test]
fn a_process_journal_syncs_passed_segments_only() {
    let scratch = Scratch::new();
    let mut options = scratch.options(1);
    options.tail_sync_interval = Duration::from_millis(1);
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    calls(&lane, 0..1_000, 100);
    eventually("passed segments are synced", || {
        lane.durable().0 > 128 << 10
    });
    assert!(lane.durable() < lane.written());
    journal.shutdown();
    assert_eq!(lane.durable(), lane.written());
}

#[derive(Default)]
struct Counting {
    records: AtomicU64,
    commits: AtomicUsize,
}

impl Observer for Counting {
    fn committed(&self, lane: usize, records: u64, took: Duration) {
        assert!(lane < 2 && took < DEADLINE);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_observer_hears_of_every_record_once() {
    let scratch = Scratch::new();
    let counting = Arc::new(Counting::default());
    let journal = Journal::create_observed(
        options(&scratch, 2),
        Arc::clone(&counting) as Arc<dyn Observer>,
    )
    .unwrap();
    for number in 0..40 {
        let lane = journal.lane(number as usize % 2);
        let closed = call(&lane, number, 60);
        if number % 8 == 0 {
            block_on(lane.wait_durable(closed.position)).unwrap();
        }
    }
    journal.shutdown();
    assert_eq!(counting.records.load(Ordering::Relaxed), 80);
    assert_eq!(
        counting.commits.load(Ordering::Relaxed) as u64,
        journal.stats().commits
    );
}

#[test]
fn an_instance_has_one_owner() {
    let scratch = Scratch::new();
    let journal = scratch.create(1);
    assert!(matches!(
        Journal::create(scratch.options(1)).unwrap_err(),
        Error::Locked { .. }
    ));
    assert!(matches!(
        DeadInstance::open(journal.directory()).unwrap_err(),
        Error::Locked { .. }
    ));
    assert!(
        journal::dead_instances(scratch.home.path())
            .unwrap()
            .is_empty()
    );
    drop(journal);
    assert!(matches!(
        Journal::create(scratch.options(1)).unwrap_err(),
        Error::Exists { .. }
    ));
    assert!(matches!(
        DeadInstance::open(scratch.home.path()).unwrap_err(),
        Error::NotAnInstance { .. }
    ));
    let dead = scratch.dead();
    assert_eq!(dead.instance(), scratch.options(1).instance);
    assert!(dead.age() < DEADLINE);
    assert!(matches!(
        Journal::create(scratch.options(1)).unwrap_err(),
        Error::Locked { .. }
    ));
}

#[test]
fn options_out_of_range_are_named() {
    let scratch = Scratch::new();
    let refused = |change: fn(&mut Options)| {
        let mut options = scratch.options(1);
        change(&mut options);
        match Journal::create(options).unwrap_err() {
            Error::Option { name, .. } => name,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(|options| options.lanes = 0), "lanes");
    assert_eq!(
        refused(|options| options.segment_bytes = 1 << 12),
        "segment_bytes"
    );
    assert_eq!(
        refused(|options| options.segment_bytes += 1),
        "segment_bytes"
    );
    assert_eq!(refused(|options| options.mark_slots = 0), "mark_slots");
    assert_eq!(
        refused(|options| options.commit_window = Duration::from_secs(2)),
        "commit_window"
    );
    assert_eq!(
        refused(|options| options.tail_sync_interval = Duration::ZERO),
        "tail_sync_interval"
    );
}

#[test]
fn marks_are_bounded_and_their_slots_come_back() {
    let scratch = Scratch::new();
    let journal = scratch.create(1);
    let slots: Vec<_> = std::iter::from_fn(|| journal.mark(b"mark")).collect();
    assert_eq!(slots.len(), 32);
    slots.into_iter().for_each(journal::MarkSlot::clear);
    assert_eq!(journal.stats().marks, 0);
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let journal = &journal;
            scope.spawn(move || {
                for _ in 0..1_000 {
                    journal.mark(&worker.to_le_bytes()).unwrap().clear();
                }
            });
        }
    });
    drop(journal.mark(&[9; 240]).unwrap());
    drop(journal);
    assert_eq!(scratch.dead().marks().unwrap(), [vec![9; 240]]);
}
