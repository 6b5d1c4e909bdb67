//! Tests that a process that is killed at any moment loses nothing that it was told is written.
#![allow(clippy::unwrap_used, reason = "a panic is the message of a test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use common::{Item, Scratch, drain, payload};
use journal::{Journal, Options, Sync};

/// The environment variable for the child's directory; set in the child only.
const HOME: &str = "JOURNAL_KILL_HOME";

/// The body of the process that the test below kills; no test by itself.
#[test]
fn a_child_writes_until_it_is_killed() {
    let Some(home) = env::var_os(HOME) else {
        return;
    };
    let mut options = Options::new(PathBuf::from(home), 77, 1);
    options.segment_bytes = 64 << 10;
    options.mark_slots = 64;
    options.sync = Sync::Process;
    let journal = Journal::create(options).unwrap();
    let lane = journal.lane(0);
    let mut out = std::io::stdout();
    let mut say = |what: String| out.write_all(what.as_bytes()).unwrap();
    let mut open = std::collections::VecDeque::new();
    for number in 1.. {
        let mark = journal.mark(&payload(number, 100)).unwrap();
        say(format!("#m {number}\n"));
        let mut space = common::reserve(&lane, 400, 2).unwrap();
        let opened = lane.open(&mut space, &payload(number, 200));
        say(format!("#o {} {number}\n", opened.sequence));
        open.push_back((number, space, opened.sequence, mark));
        if open.len() > 20 {
            let (number, space, sequence, mark) = open.pop_front().unwrap();
            let closed = lane.close(space, sequence, &payload(number, 150));
            say(format!(
                "#c {} {sequence} {number}\n#u {number}\n",
                closed.number
            ));
            mark.clear();
        }
    }
}

fn start(scratch: &Scratch) -> Child {
    Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "a_child_writes_until_it_is_killed",
            "--nocapture",
        ])
        .env(HOME, scratch.home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The steps that the child said it had done.
#[derive(Default)]
struct Said {
    opens: BTreeMap<u64, u64>,
    closes: BTreeMap<u64, (u64, u64)>,
    marks: BTreeSet<u64>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        // A line cut by the kill may lack its end: then it was not said.
        let Some((_, line)) = line
            .strip_suffix('\n')
            .and_then(|line| line.split_once('#'))
        else {
            return;
        };
        let mut words = line.split(' ');
        let what = words.next().unwrap();
        let numbers: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        match what {
            "m" => _ = self.marks.insert(numbers[0]),
            "u" => _ = self.marks.remove(&numbers[0]),
            "o" => _ = self.opens.insert(numbers[0], numbers[1]),
            "c" => _ = self.closes.insert(numbers[0], (numbers[1], numbers[2])),
            other => panic!("{other}"),
        }
    }
}

fn check(scratch: &Scratch, said: &Said) {
    let dead = scratch.dead();
    if dead.lanes() == 0 {
        // Killed before its first lane was there.
        assert!(said.opens.is_empty() && said.closes.is_empty());
        return;
    }
    let mut reader = dead.reader_from(0, 0).unwrap();
    let items = drain(&mut reader).unwrap();
    assert!(reader.torn().is_none());
    let mut opens = BTreeMap::new();
    let mut closes = BTreeMap::new();
    for item in items {
        match item {
            Item::Open(sequence, false, payload) => {
                assert!(opens.insert(sequence, payload).is_none(), "opened twice")
            }
            Item::Close(number, sequence, payload) => {
                assert!(
                    closes.insert(number, (sequence, payload)).is_none(),
                    "closed twice"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    for (sequence, number) in &said.opens {
        assert_eq!(opens[sequence], payload(*number, 200));
    }
    for (close, (sequence, number)) in &said.closes {
        assert_eq!(closes[close], (*sequence, payload(*number, 150)));
    }
    // One step may have been done and not said.
    assert!(opens.len() - said.opens.len() <= 1 && closes.len() - said.closes.len() <= 1);
    let marks: BTreeSet<_> = dead.marks().unwrap().into_iter().collect();
    for number in &said.marks {
        assert!(
            marks.contains(&payload(*number, 100)),
            "mark {number} is lost"
        );
    }
    assert!(marks.len() - said.marks.len() <= 1);
}

#[test]
fn everything_that_was_written_before_a_kill_is_read_back() {
    let mut random = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64
        | 1;
    for _ in 0..8 {
        let scratch = Scratch::new();
        let mut child = start(&scratch);
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = Said::default();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // From the first lines to a dozen segments.
        let lines = 1 << (random >> 60);
        for _ in 0..lines {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            said.hear(&line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        loop {
            let mut line = String::new();
            if output.read_line(&mut line).unwrap() == 0 {
                break;
            }
            said.hear(&line);
        }
        let created = journal::dead_instances(scratch.home.path()).unwrap();
        if !created.is_empty() {
            drop(created);
            check(&scratch, &said);
        }
    }
}

#[test]
fn an_instance_of_another_process_is_locked_while_that_lives() {
    let scratch = Scratch::new();
    let mut child = start(&scratch);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains('#') {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0);
    }
    assert!(
        journal::dead_instances(scratch.home.path())
            .unwrap()
            .is_empty()
    );
    let refused = Journal::create(Options::new(scratch.home.path(), 77, 1)).unwrap_err();
    assert!(
        refused.to_string().contains("in use by a running process"),
        "{refused}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scratch.dead().instance(), 77);
}
