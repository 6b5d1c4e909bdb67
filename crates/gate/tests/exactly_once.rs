//! One call, one record, however it ends and on whichever thread: random interleavings against a
//! simple model.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gate::{Admitted, Committed, Failure, Forwarding};
use journal::Sync;
use model::{Blame, CallId, CallRecord, Ending, LicenseId, Outcome, Refusal};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use support::{Setup, TestGate, broken, closing, delivered, remaining};

/// The units of each license.
const UNITS: [u64; 3] = [3, 20, 1_000];

/// One event.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A call is admitted.
    Admit { worker: usize, license: usize },
    /// One of the calls under way goes on.
    Go { turn: usize, how: How },
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// The call is dropped at its step.
    Drop,
    /// The call is sent, answered with 200 and delivered.
    On,
    /// The caller leaves.
    Leave,
    /// The upstream or the gateway breaks the call off.
    Fail,
    /// The call is answered with this status. 502 is the gateway's own.
    Answer(u16),
}

enum Stage {
    Admitted(Admitted),
    Forwarding(Forwarding),
    Committed(Committed),
}

/// A call under way, as the model sees it.
#[derive(Clone, Copy)]
struct Facts {
    call_id: CallId,
    worker: usize,
    license: usize,
    sent: bool,
    status: u16,
}

/// The expected records and balances.
#[derive(Default)]
struct Model {
    /// The outcome, status and spent units of each call that leaves a record.
    ended: HashMap<CallId, (Outcome, u16, u64)>,
    spent: [u64; 3],
    held: [u64; 3],
    refused: u64,
}

impl Model {
    fn end(&mut self, facts: &Facts, outcome: Outcome) {
        let billed = matches!(outcome, Outcome::Delivered | Outcome::ClientGone);
        // Neither is the upstream's own.
        let left = outcome == Outcome::ClientGone && matches!(facts.status, 0 | 502);
        let spent = u64::from(facts.sent && (left || (billed && facts.status == 200)));
        let before = self
            .ended
            .insert(facts.call_id, (outcome, facts.status, spent));
        assert!(before.is_none(), "a call id was given twice");
        self.spent[facts.license] += spent;
        self.held[facts.license] -= 1;
    }

    fn assert_books(&self, records: &[CallRecord], ids: &[LicenseId]) {
        let (refused, calls): (Vec<&CallRecord>, Vec<&CallRecord>) = records
            .iter()
            .partition(|record| record.tail.outcome == Outcome::Refused);
        let refusals: u64 = refused
            .iter()
            .map(|record| u64::from(record.tail.calls))
            .sum();
        assert_eq!(refusals, self.refused);
        assert_eq!(
            calls.len(),
            self.ended.len(),
            "a record more or less than calls"
        );
        for record in calls {
            let (head, tail) = (&record.head, &record.tail);
            let expected = self.ended.get(&head.call_id).expect("a call that was made");
            assert_eq!((tail.outcome, head.status, tail.spent), *expected);
            assert_eq!(tail.billable, tail.spent == 1 && head.status == 200);
            assert!(ids.contains(&head.license_id.unwrap()));
        }
        let unique: HashSet<_> = records.iter().map(|record| record.head.call_id).collect();
        assert_eq!(unique.len(), records.len(), "a call id occurs twice");
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let how = prop_oneof![
        1 => Just(How::Drop),
        6 => Just(How::On),
        1 => Just(How::Leave),
        1 => Just(How::Fail),
        1 => prop_oneof![Just(200), Just(404), Just(502)].prop_map(How::Answer),
    ];
    let step = prop_oneof![
        2 => (0..2_usize, 0..3_usize).prop_map(|(worker, license)| Step::Admit { worker, license }),
        5 => (any::<usize>(), how).prop_map(|(turn, how)| Step::Go { turn, how }),
    ];
    proptest::collection::vec(step, 1..250)
}

/// Takes a call one step on. Returns `None` when it is over.
fn go(
    fixture: &TestGate,
    model: &mut Model,
    stage: Stage,
    mut facts: Facts,
    how: How,
) -> Option<(Stage, Facts)> {
    let stage = match stage {
        Stage::Admitted(admitted) => {
            if let How::Drop = how {
                drop(admitted);
                model.held[facts.license] -= 1;
                return None;
            }
            Stage::Forwarding(admitted.mark().unwrap())
        }
        Stage::Forwarding(mut forwarding) => match how {
            How::On if !facts.sent => {
                forwarding.sending();
                facts.sent = true;
                Stage::Forwarding(forwarding)
            }
            How::On | How::Answer(_) => {
                facts.status = match how {
                    How::Answer(status) if facts.sent => status,
                    How::On => 200,
                    // Before anything was sent, only we can have answered.
                    _ => 502,
                };
                let (committed, durable) = forwarding.commit(facts.status, facts.status != 502);
                drop(durable);
                Stage::Committed(committed)
            }
            How::Drop | How::Leave | How::Fail => {
                model.end(&facts, abandon(fixture, forwarding, facts, how));
                return None;
            }
        },
        Stage::Committed(committed) => {
            model.end(&facts, end(fixture, committed, facts, how));
            return None;
        }
    };
    Some((stage, facts))
}

fn abandon(fixture: &TestGate, forwarding: Forwarding, facts: Facts, how: How) -> Outcome {
    let worker = &fixture.workers[facts.worker];
    match how {
        How::Leave => {
            forwarding.abandon(Failure::CallerLeft, &broken(worker, Blame::Caller, false));
            return Outcome::ClientGone;
        }
        How::Fail => forwarding.abandon(Failure::Ours, &broken(worker, Blame::Us, false)),
        _ => drop(forwarding),
    }
    Outcome::GatewayFailed
}

fn end(fixture: &TestGate, committed: Committed, facts: Facts, how: How) -> Outcome {
    let worker = &fixture.workers[facts.worker];
    let forwarded = committed.is_forwarded();
    match how {
        How::Drop => {
            drop(committed);
            Outcome::GatewayFailed
        }
        How::On | How::Answer(_) => {
            let whole = Ending {
                error: None,
                response_complete: true,
                forwarded_status: forwarded,
            };
            committed.close(&closing(worker, whole));
            Outcome::Delivered
        }
        How::Leave => {
            committed.close(&broken(worker, Blame::Caller, forwarded));
            Outcome::ClientGone
        }
        How::Fail => {
            committed.close(&broken(worker, Blame::Upstream, forwarded));
            Outcome::UpstreamFailed
        }
    }
}

async fn play(sync: Sync, steps: Vec<Step>) {
    let mut app = support::app("api");
    app.waits_for_disk = sync == Sync::Disk;
    let fixture = TestGate::of(Setup {
        apps: vec![app],
        sync,
        ..Setup::default()
    })
    .await;
    let mut licenses = Vec::new();
    for units in UNITS {
        licenses.push(fixture.license(remaining(units)).await);
    }
    for worker in 0..2 {
        // Defines the symbols, whose room stays taken.
        drop(fixture.admit_on(worker, "/", &licenses[2].1).await.unwrap());
    }
    let room = fixture.room();
    let mut model = Model::default();
    let mut live: Vec<(Stage, Facts)> = Vec::new();
    for step in steps {
        match step {
            Step::Admit { worker, license } => {
                let held = model.held[license] + model.spent[license];
                match fixture.admit_on(worker, "/", &licenses[license].1).await {
                    Ok(admitted) => {
                        assert!(held < UNITS[license], "more pass than there are units");
                        model.held[license] += 1;
                        let facts = Facts {
                            call_id: admitted.call_id(),
                            worker,
                            license,
                            sent: false,
                            status: 0,
                        };
                        live.push((Stage::Admitted(admitted), facts));
                    }
                    Err(refused) => {
                        assert_eq!(refused.refusal, Refusal::QuotaExhausted);
                        assert_eq!(held, UNITS[license], "refused although a unit is left");
                        model.refused += 1;
                    }
                }
            }
            Step::Go { .. } if live.is_empty() => {}
            Step::Go { turn, how } => {
                let (stage, facts) = live.swap_remove(turn % live.len());
                live.extend(go(&fixture, &mut model, stage, facts, how));
            }
        }
    }
    for (stage, facts) in live {
        let records = !matches!(stage, Stage::Admitted(_));
        drop(stage);
        if records {
            model.end(&facts, Outcome::GatewayFailed);
        } else {
            model.held[facts.license] -= 1;
        }
    }
    fixture.pass(std::time::Duration::from_secs(1));
    fixture.assert_nothing_held(&room);
    assert_eq!(model.held, [0; 3]);
    // What readers see is on disk, in this mode.
    for lane in fixture.journal.lanes() {
        lane.wait_durable(lane.written()).await.unwrap();
    }
    let ids: Vec<_> = licenses.iter().map(|(id, _)| *id).collect();
    model.assert_books(&fixture.records(), &ids);
    for (number, id) in ids.iter().enumerate() {
        fixture
            .assert_left(*id, UNITS[number] - model.spent[number])
            .await;
    }
}

fn check(sync: Sync, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let run = |steps| {
        runtime.block_on(play(sync, steps));
        Ok(())
    };
    TestRunner::new(config).run(&steps(), run).unwrap();
}

#[test]
fn random_interleavings_leave_the_books_of_a_simple_model() {
    check(Sync::Process, 32);
}

#[test]
fn random_interleavings_leave_the_books_of_a_simple_model_on_disk_too() {
    check(Sync::Disk, 12);
}

/// The calls of one thread.
#[derive(Default)]
struct Did {
    /// The calls that must have a record, with the units that they spent.
    ended: HashMap<CallId, u64>,
    refused: u64,
    crowded_out: u64,
}

/// A hundred thousand calls in segments of 64 KiB, from many threads, each of which uses every
/// worker.
#[test]
fn a_hundred_thousand_calls_of_many_threads_leave_one_record_each_and_no_room_taken() {
    const THREADS: u64 = 8;
    const EACH: u64 = 12_500;
    const GRANTED: u64 = 60_000;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let fixture = Arc::new(runtime.block_on(TestGate::new()));
    let (id, key) = runtime.block_on(fixture.license(remaining(GRANTED)));
    for worker in 0..2 {
        drop(
            runtime
                .block_on(fixture.admit_on(worker, "/", &key))
                .unwrap(),
        );
    }
    let room = fixture.room();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (fixture, key, handle) = (fixture.clone(), key.clone(), runtime.handle().clone());
            std::thread::spawn(move || {
                let mut did = Did::default();
                let mut held = Vec::new();
                for number in 0..EACH {
                    let worker = ((thread + number) % 2) as usize;
                    match handle.block_on(fixture.admit_on(worker, "/", &key)) {
                        Ok(admitted) => held.push((worker, admitted)),
                        Err(refused) => match refused.refusal {
                            Refusal::QuotaExhausted => did.refused += 1,
                            // The disk could not keep up; nothing was forwarded.
                            Refusal::JournalUnavailable => did.crowded_out += 1,
                            other => panic!("{other:?}"),
                        },
                    }
                    if held.len() > (number % 5) as usize {
                        let (worker, admitted) = held.remove(0);
                        finish(&fixture, &mut did, worker, admitted, number);
                    }
                }
                for (worker, admitted) in held {
                    finish(&fixture, &mut did, worker, admitted, 0);
                }
                did
            })
        })
        .collect();
    let mut all = Did::default();
    for thread in threads {
        let did = thread.join().unwrap();
        let before = all.ended.len() + did.ended.len();
        all.ended.extend(did.ended);
        assert_eq!(all.ended.len(), before, "a call id was given twice");
        all.refused += did.refused;
        all.crowded_out += did.crowded_out;
    }
    fixture.pass(std::time::Duration::from_secs(1));
    fixture.assert_nothing_held(&room);

    let mut refused = 0;
    let mut spent = 0;
    let mut seen = HashSet::new();
    for record in fixture.records() {
        assert!(seen.insert(record.head.call_id), "a call id occurs twice");
        if record.tail.outcome == Outcome::Refused {
            refused += u64::from(record.tail.calls);
            continue;
        }
        let expected = all.ended.remove(&record.head.call_id);
        assert_eq!(expected, Some(record.tail.spent));
        spent += record.tail.spent;
    }
    assert!(
        all.ended.is_empty(),
        "{} calls have no record",
        all.ended.len()
    );
    assert_eq!(refused, all.refused);
    assert!(spent <= GRANTED);
    runtime.block_on(fixture.assert_left(id, GRANTED - spent));
    assert!(
        all.crowded_out < 1_000,
        "{} calls found no room",
        all.crowded_out
    );
}

/// Ends a call in one of the possible ways.
fn finish(fixture: &TestGate, did: &mut Did, worker: usize, admitted: Admitted, number: u64) {
    let call_id = admitted.call_id();
    if number % 16 == 3 {
        drop(admitted);
        return;
    }
    let mut forwarding = admitted.mark().unwrap();
    let worker = &fixture.workers[worker];
    let spent = match number % 16 {
        0 => {
            drop(forwarding);
            0
        }
        1 => {
            forwarding.sending();
            forwarding.abandon(Failure::CallerLeft, &broken(worker, Blame::Caller, false));
            1
        }
        2 => {
            let (committed, _) = forwarding.commit(502, false);
            committed.close(&broken(worker, Blame::Upstream, false));
            0
        }
        4 => {
            forwarding.sending();
            drop(forwarding.commit(200, true).0);
            0
        }
        _ => {
            forwarding.sending();
            forwarding.commit(200, true).0.close(&delivered(worker));
            1
        }
    };
    did.ended.insert(call_id, spent);
}
