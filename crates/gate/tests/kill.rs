//! A gate that is killed at any moment: recovery finds every marked call, once, and no unit is
//! given twice.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gate::{Committed, Failure, Forwarding};
use journal::{DeadInstance, Journal};
use ledger::{CallLine, CallsQuery, Ledger, LedgerOptions};
use model::{
    Blame, CallHead, CallId, InstanceId, LicenseId, ManualClock, Outcome, Refusal, Timestamp,
};
use store::Store;
use tokio::runtime::{Handle, Runtime};

use support::{START, Setup, TestGate, broken, delivered, journal_options, open_store, remaining};

/// The variable with the child's folder; set in the child only.
const HOME: &str = "GATE_KILL_HOME";
const UNITS: u64 = 1_000_000;

/// Prints a line of the child: one for each thing that it has done.
fn print_line(word: &str, id: impl std::fmt::Display) {
    let line = format!("#{word} {id}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// The body of the process that the tests below kill; not a test by itself.
#[test]
fn a_child_serves_calls_until_it_is_killed() {
    let Some(home) = env::var_os(HOME) else {
        return;
    };
    let runtime = Runtime::new().unwrap();
    let setup = Setup {
        home: Some(home.into()),
        lanes: 2,
        mark_slots: 64,
        ..Setup::default()
    };
    let fixture = runtime.block_on(async {
        let fixture = TestGate::of(setup).await;
        let clock = Timestamp::from_micros(START);
        let (instance, node) = (fixture.instance, "here".to_owned());
        fixture
            .store
            .begin_instance(instance, node, clock)
            .await
            .unwrap();
        fixture
    });
    let (id, key) = runtime.block_on(fixture.license(remaining(UNITS)));
    print_line("license", id);
    let mut marked: VecDeque<(usize, Forwarding)> = VecDeque::new();
    let mut committed: VecDeque<(usize, Committed)> = VecDeque::new();
    for number in 0_usize.. {
        let worker = number % 2;
        let admitted = match runtime.block_on(fixture.admit_on(worker, "/", &key)) {
            Ok(admitted) => admitted,
            // The disk cannot keep up.
            Err(refused) if refused.refusal == Refusal::JournalUnavailable => continue,
            Err(refused) => panic!("{refused:?}"),
        };
        let call_id = admitted.call_id();
        let mut forwarding = admitted.mark().unwrap();
        forwarding.sending();
        print_line("marked", call_id);
        marked.push_back((worker, forwarding));
        if marked.len() > 5 {
            let (worker, forwarding) = marked.pop_front().unwrap();
            let call_id = forwarding.call_id();
            if number % 7 == 0 {
                let closing = broken(&fixture.workers[worker], Blame::Caller, false);
                forwarding.abandon(Failure::CallerLeft, &closing);
                print_line("left", call_id);
            } else {
                let (call, _) = forwarding.commit(200, true);
                print_line("committed", call_id);
                committed.push_back((worker, call));
            }
        }
        if committed.len() > 5 {
            let (worker, call) = committed.pop_front().unwrap();
            let call_id = call.call_id();
            call.close(&delivered(&fixture.workers[worker]));
            print_line("closed", call_id);
        }
    }
}

fn start(home: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_serves_calls_until_it_is_killed",
            "--nocapture",
        ])
        .env(HOME, home)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The last step that a call had reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Marked,
    Committed,
    Left,
    Closed,
}

/// The lines that the child has printed.
#[derive(Default)]
struct ChildOutput {
    license: Option<LicenseId>,
    calls: BTreeMap<CallId, Step>,
}

impl ChildOutput {
    fn note(&mut self, line: &str) {
        // A line cut by the kill does not count.
        let entry = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once('#'));
        let Some((word, id)) = entry.and_then(|(_, entry)| entry.split_once(' ')) else {
            return;
        };
        let step = match word {
            "license" => {
                self.license = Some(id.parse().unwrap());
                return;
            }
            "marked" => Step::Marked,
            "committed" => Step::Committed,
            "left" => Step::Left,
            "closed" => Step::Closed,
            other => panic!("{other}"),
        };
        self.calls.insert(id.parse().unwrap(), step);
    }

    /// Runs a child, kills it after a number of lines, and returns its lines.
    fn until_killed(home: &Path, lines: u64) -> Self {
        let mut child = start(home);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut output = Self::default();
        let mut next = |output: &mut Self| {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).unwrap();
            output.note(&line);
            read > 0
        };
        while output.license.is_none() {
            assert!(next(&mut output), "the child did not start");
        }
        for _ in 0..lines {
            assert!(next(&mut output), "the child ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        while next(&mut output) {}
        output
    }
}

fn dead(home: &Path) -> DeadInstance {
    let mut dead = journal::dead_instances(&home.join("journal")).unwrap();
    assert_eq!(dead.len(), 1);
    dead.pop().unwrap()
}

/// Returns the marks that were left, by call. All of them are heads without a status.
fn marks(home: &Path) -> BTreeSet<CallId> {
    let decode = |bytes: Vec<u8>| {
        let head = CallHead::decode(&bytes).unwrap();
        assert_eq!(head.status, 0);
        assert!(head.limited && head.reserved == 1);
        head.call_id
    };
    dead(home)
        .marks()
        .unwrap()
        .into_iter()
        .map(decode)
        .collect()
}

/// Recovers the journals of the killed processes, and reads every call.
async fn recover(home: &Path, store: Arc<dyn Store>) -> Vec<CallLine> {
    let options = LedgerOptions::new(home.join("ledger"), home.join("journal"), "here");
    let recovery = ledger::recover(&options, store.clone(), Handle::current())
        .await
        .unwrap();
    assert!(recovery.failed.is_empty(), "{:?}", recovery.failed);
    let instance = InstanceId::generate();
    let setup = Setup {
        lanes: 1,
        ..Setup::default()
    };
    let journal = Journal::create(journal_options(&setup, home, instance)).unwrap();
    let ledger = Ledger::start(options, journal, instance, 1, store, Handle::current())
        .await
        .unwrap();
    let calls = ledger.calls(CallsQuery::default()).await.unwrap();
    let lines = calls.all().await.unwrap();
    ledger.shutdown().await.unwrap();
    lines
}

fn outcomes(step: Step) -> &'static [Outcome] {
    // The child may have done one thing more than it printed.
    match step {
        Step::Marked => &[Outcome::Unknown, Outcome::Interrupted, Outcome::ClientGone],
        Step::Committed => &[Outcome::Interrupted, Outcome::Delivered],
        Step::Left => &[Outcome::ClientGone],
        Step::Closed => &[Outcome::Delivered],
    }
}

async fn check(home: &Path, output: &ChildOutput) {
    let left = marks(home);
    for (call_id, step) in &output.calls {
        assert!(
            *step != Step::Closed || !left.contains(call_id),
            "a mark outlived its call"
        );
    }
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(START)));
    let store = open_store(home, clock);
    let lines = recover(home, store.clone()).await;
    let mut found: HashMap<CallId, &CallLine> = HashMap::new();
    for line in &lines {
        assert!(
            found.insert(line.call_id, line).is_none(),
            "{} occurs twice",
            line.call_id
        );
        assert_eq!(line.app.as_str(), "api");
        assert_eq!(line.plan.as_ref().map(|plan| plan.as_str()), Some("pro"));
    }
    let mut more_than_said = 0;
    for (call_id, step) in &output.calls {
        let line = found
            .remove(call_id)
            .unwrap_or_else(|| panic!("{call_id} ({step:?}) is lost"));
        assert!(
            outcomes(*step).contains(&line.outcome),
            "{step:?} became {}",
            line.outcome
        );
        let usual = outcomes(*step)[0];
        more_than_said += usize::from(line.outcome != usual);
        let billable = matches!(line.outcome, Outcome::Delivered | Outcome::Interrupted);
        assert_eq!(line.billable, billable, "{line:?}");
    }
    more_than_said += found.len();
    assert!(
        more_than_said <= 1,
        "{more_than_said} things were done and not said"
    );

    // Every call of the child was sent, so each spent its unit, and the rest is free again.
    let license = output.license.unwrap();
    let balance = store
        .balance(license, Timestamp::from_micros(START))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((balance.granted, balance.leased), (UNITS, 0));
    assert_eq!(balance.spent, lines.len() as u64);

    // Once more: nothing changes.
    assert_eq!(recover(home, store.clone()).await.len(), lines.len());
    let again = store
        .balance(license, Timestamp::from_micros(START))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, balance);
}

#[test]
fn every_call_that_was_marked_before_a_kill_has_one_record_after_it() {
    let runtime = Runtime::new().unwrap();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut random = clock.as_nanos() as u64 | 1;
    for _ in 0..8 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // From the first call to a dozen segments.
        let lines = (1 << (random >> 60)) / 3 + (random >> 32) % 7;
        let home = tempfile::tempdir().unwrap();
        let output = ChildOutput::until_killed(home.path(), lines);
        runtime.block_on(check(home.path(), &output));
    }
}

#[test]
fn a_call_that_was_forwarded_and_had_no_status_is_unknown_spent_and_not_billed() {
    let runtime = Runtime::new().unwrap();
    let home = tempfile::tempdir().unwrap();
    // Three calls are marked before the first is answered.
    let output = ChildOutput::until_killed(home.path(), 3);
    let left = marks(home.path());
    let unanswered = |(_, step): &(&CallId, &Step)| **step == Step::Marked;
    let still: Vec<_> = output
        .calls
        .iter()
        .filter(unanswered)
        .map(|(id, _)| *id)
        .collect();
    assert!(!still.is_empty());
    assert!(still.iter().filter(|id| !left.contains(*id)).count() <= 1);
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(START)));
    let store = open_store(home.path(), clock);
    let lines = runtime.block_on(recover(home.path(), store));
    let unknown: Vec<_> = lines
        .iter()
        .filter(|line| line.outcome == Outcome::Unknown)
        .collect();
    assert!(
        unknown
            .iter()
            .all(|line| !line.billable && line.status == 0 && line.units == 1)
    );
    let unknown: BTreeSet<_> = unknown.iter().map(|line| line.call_id).collect();
    assert!(unknown.is_subset(&left));
    let resyncing = still.iter().filter(|id| !unknown.contains(*id)).count();
    assert!(resyncing <= 1, "one thing may have been done and not said");
}
