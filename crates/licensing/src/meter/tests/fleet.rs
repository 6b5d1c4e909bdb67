//! Several gates that report their counts to each other: how far they are off.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::fleet::{Counted, PeerCounts};

const MILLI: i64 = 1_000;
const HOLD: Duration = Duration::from_secs(1);

/// The reports of gates, as simply as possible: a count, and until when it is valid.
#[derive(Default)]
struct Board(HashMap<Counted, HashMap<usize, (u32, i64)>>);

impl Board {
    fn tell(&mut self, gate: usize, report: &CounterReport, now: i64) -> PeerCounts {
        let until = now + report.left.as_micros() as i64;
        let told = self.0.entry(report.counted).or_default();
        told.insert(gate, (report.own, until));
        let others = told.iter().filter(|(other, _)| **other != gate);
        let valid = others.filter(|(_, (_, until))| *until > now);
        valid.fold(PeerCounts::default(), |sum, (_, (count, until))| {
            PeerCounts {
                count: sum.count + count,
                left: sum.left.max(Duration::from_micros((until - now) as u64)),
            }
        })
    }
}

/// A gate that exchanges its counts at every multiple of `every` after `phase`, and waits `delay`
/// for the answer.
struct Gate {
    number: usize,
    meter: Meter,
    unreported: bool,
    next: i64,
    answers: Vec<(i64, Counted, PeerCounts)>,
}

impl Gate {
    fn new(number: usize, phase: i64) -> Self {
        Self {
            number,
            meter: Meter::new(LICENSE),
            unreported: false,
            next: START + phase * MILLI,
            answers: Vec::new(),
        }
    }

    fn call(&mut self, limits: &Arc<EffectiveLimits>, now: i64) -> bool {
        self.take(limits, now).is_some()
    }

    fn take(&mut self, limits: &Arc<EffectiveLimits>, now: i64) -> Option<Reservation> {
        let (result, _) = self.meter.reserve(limits, Stamp::default(), &ask(0, now));
        self.unreported |= self.meter.wants_report();
        result.ok()
    }

    fn exchange(&mut self, board: &mut Board, now: i64, delay: i64) {
        if std::mem::take(&mut self.unreported) {
            let (reports, again) = self.meter.reports(Timestamp::from_micros(now), HOLD);
            self.unreported = again;
            for report in reports {
                let others = board.tell(self.number, &report, now);
                self.answers.push((now + delay, report.counted, others));
            }
        }
    }

    fn listen(&mut self, now: i64) {
        let (come, rest) = self.answers.iter().partition(|(at, _, _)| *at <= now);
        self.answers = rest;
        let come: Vec<(i64, Counted, PeerCounts)> = come;
        for (at, counted, others) in come {
            self.meter
                .learn(counted, others, Timestamp::from_micros(at));
        }
    }
}

proptest! {
    /// No call is refused before the limit is reached by all together. After it, a gate admits only
    /// what comes within an exchange of that moment, or within an exchange of its own first call
    /// after it.
    #[test]
    fn gates_together_are_off_by_what_comes_within_an_exchange_and_never_below_the_limit(
        limit in 1_u32..30,
        phases in proptest::collection::vec(0_i64..100, 2..5),
        delay in 0_i64..90,
        calls in proptest::collection::vec((0_usize..4, 0_i64..60), 1..200),
    ) {
        const EVERY: i64 = 100 * MILLI;
        let delay = delay * MILLI;
        let limits = Arc::new(limits(false, &[&format!("{limit}/30m")], None));
        let mut gates: Vec<Gate> = phases
            .iter()
            .enumerate()
            .map(|(number, phase)| Gate::new(number, *phase))
            .collect();
        let mut board = Board::default();
        let (mut now, mut admitted) = (START, 0);
        let mut reached_at = None;
        let mut first_after: HashMap<usize, i64> = HashMap::new();
        for (gate, gap) in calls {
            now += gap * MILLI;
            // Exchanges of all gates up to now, in the order of time.
            while let Some(due) = gates.iter_mut().filter(|gate| gate.next <= now).min_by_key(|gate| gate.next) {
                let at = due.next;
                due.listen(at);
                due.exchange(&mut board, at, delay);
                due.next += EVERY;
            }
            let gate = gate % gates.len();
            gates[gate].listen(now);
            if !gates[gate].call(&limits, now) {
                prop_assert!(admitted >= limit, "refused after {admitted} of {limit}");
                continue;
            }
            admitted += 1;
            if let Some(reached_at) = reached_at {
                let bound = EVERY + delay;
                let late = now > reached_at + bound;
                if late {
                    let first = *first_after.entry(gate).or_insert(now);
                    prop_assert!(now <= first + bound, "{now} is too long after {first}");
                }
            }
            if admitted == limit {
                reached_at = Some(now);
            }
        }
        prop_assert!(admitted <= limit * gates.len() as u32);
    }
}

#[test]
fn without_the_others_a_gate_goes_by_its_own_count() {
    let limits = Arc::new(limits(false, &["3/1m"], None));
    let mut gate = Gate::new(0, 0);
    let passed = (0..10).filter(|_| gate.call(&limits, START)).count();
    assert_eq!(passed, 3);
}

#[test]
fn calls_under_way_elsewhere_count_until_they_end_or_are_not_told_any_more() {
    let limits = Arc::new(limits(false, &[], Some(2)));
    let mut board = Board::default();
    let (mut one, mut two) = (Gate::new(0, 0), Gate::new(1, 0));
    let mut exchange = |gates: &mut [&mut Gate], now| {
        for gate in gates {
            gate.exchange(&mut board, now, 0);
            gate.listen(now);
        }
    };
    let first = one.take(&limits, START).unwrap();
    let second = one.take(&limits, START).unwrap();
    exchange(&mut [&mut one], START);
    assert!(one.unreported, "what is under way is told again");
    // They are held against the others once they were under way for a whole exchange.
    exchange(&mut [&mut one], START + MILLI);
    // The second gate does not know yet, and learns.
    let third = two.take(&limits, START + MILLI).unwrap();
    exchange(&mut [&mut two], START + MILLI);
    assert!(two.take(&limits, START + MILLI).is_none());
    two.meter.settle(third, 0);
    // What is not told again is not believed for ever.
    let later = START + 2 * SECOND;
    let third = two.take(&limits, later).unwrap();
    two.meter.settle(third, 0);
    one.meter.settle(first, 0);
    one.meter.settle(second, 0);
    exchange(&mut [&mut one, &mut two], later);
    assert!(two.take(&limits, later).is_some());
    exchange(&mut [&mut one], later);
    assert!(!one.unreported, "nothing is under way any more");
}

#[test]
fn calls_that_follow_each_other_on_different_gates_are_never_held_against_each_other() {
    let limits = Arc::new(limits(false, &[], Some(1)));
    let mut board = Board::default();
    let mut gates = [Gate::new(0, 0), Gate::new(1, 0)];
    for call in 0..100 {
        let now = START + call * 10 * MILLI;
        let taken = gates[call as usize % 2].take(&limits, now);
        let taken = taken.expect("one at a time");
        for gate in &mut gates {
            // An exchange in the midst of each call.
            gate.exchange(&mut board, now, 0);
            gate.listen(now);
        }
        gates[call as usize % 2].meter.settle(taken, 0);
    }
}

#[test]
fn an_idle_window_holds_over_gates_until_none_was_called_for_its_length() {
    let limits = Arc::new(limits(false, &["3/10s,idle"], None));
    let mut board = Board::default();
    let (mut one, mut two) = (Gate::new(0, 0), Gate::new(1, 0));
    let mut exchange = |gate: &mut Gate, now| {
        gate.exchange(&mut board, now, 0);
        gate.listen(now);
    };
    assert!(one.call(&limits, START) && one.call(&limits, START));
    exchange(&mut one, START);
    assert!(two.call(&limits, START + SECOND));
    exchange(&mut two, START + SECOND);
    assert!(!two.call(&limits, START + SECOND), "three of all gates");
    // The other gate's two end ten seconds after they began.
    assert!(!two.call(&limits, START + 9 * SECOND));
    assert!(two.call(&limits, START + 10 * SECOND));
    assert!(one.call(&limits, START + 60 * SECOND));
    exchange(&mut one, START + 60 * SECOND);
    assert!(one.call(&limits, START + 60 * SECOND));
}

#[test]
fn a_call_that_is_taken_back_is_told() {
    let limits = Arc::new(limits(false, &["1/59m"], None));
    let mut board = Board::default();
    let (mut one, mut two) = (Gate::new(0, 0), Gate::new(1, 0));
    let taken = one.take(&limits, START).unwrap();
    one.exchange(&mut board, START, 0);
    two.unreported |= two.take(&limits, START).is_some();
    two.exchange(&mut board, START, 0);
    two.listen(START);
    assert!(!two.call(&limits, START));
    one.meter.cancel(taken);
    one.unreported |= one.meter.wants_report();
    one.exchange(&mut board, START, 0);
    two.exchange(&mut board, START, 0);
    two.listen(START);
    let (counted, others) = (
        two.meter.reports(Timestamp::from_micros(START), HOLD),
        &board,
    );
    assert_eq!(counted.0[0].own, 1);
    let told = &others.0[&counted.0[0].counted];
    assert_eq!(
        told[&0].0, 0,
        "the other gate's call does not count any more"
    );
}
