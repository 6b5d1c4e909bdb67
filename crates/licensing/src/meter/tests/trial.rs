//! Property test: everything that can happen to a meter, in any order, against a model that is too
//! simple to be wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Counter, Refill, RefillMode, Timestamp};
use proptest::prelude::*;
use store::{LeaseGrant, LeaseKey};

use super::super::window::Count;
use super::super::*;
use super::simple::Store;
use super::{LICENSE, REFILL_EVERY, SECOND, START, acquire, ask, limits, options, refilled};

#[derive(Clone, Debug)]
enum Step {
    Reserve(u64),
    Settle(usize, u64),
    Cancel(usize),
    /// The background asks the store, which answers well or fails before it did anything.
    Ask {
        fails: bool,
    },
    /// The background asks, and the answer takes until the next answer is let through.
    AskSlowly,
    /// The calls that wait are answered that there is no lease yet.
    Unanswered,
    Answer,
    /// The license was changed, and with it, perhaps, the balance.
    Change {
        balance: bool,
    },
    /// The balance was set, and this gate has not read the change yet.
    Elsewhere,
    Wait(i64),
    Idle,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..4_u64).prop_map(Step::Reserve),
        5 => (any::<usize>(), 0..4_u64).prop_map(|(at, spent)| Step::Settle(at, spent)),
        3 => any::<usize>().prop_map(Step::Cancel),
        6 => any::<bool>().prop_map(|fails| Step::Ask { fails }),
        3 => Just(Step::AskSlowly),
        1 => Just(Step::Unanswered),
        3 => Just(Step::Answer),
        1 => any::<bool>().prop_map(|balance| Step::Change { balance }),
        1 => Just(Step::Elsewhere),
        4 => (0..120_i64).prop_map(Step::Wait),
        1 => (1_000..8_000_i64).prop_map(Step::Wait),
        1 => Just(Step::Idle),
        1 => Just(Step::Crash),
    ]
}

/// Counts what calls took, and nothing else.
#[derive(Default)]
struct Books {
    /// The units by epoch: spent and under way.
    units: HashMap<u32, u64>,
    /// The calls by window and period.
    calls: HashMap<(u32, u32), u64>,
}

struct Trial {
    limits: Arc<EffectiveLimits>,
    meter: Meter,
    store: Store,
    books: Books,
    under_way: Vec<Reservation>,
    slow: Option<(u32, Vec<LeaseGrant>)>,
    /// The epoch of the balance when the last change became known.
    known_epoch: u32,
    now: i64,
}

impl Trial {
    fn new(limits: EffectiveLimits, remaining: u64) -> Self {
        Self {
            store: Store::new(remaining, limits.refill.map(|refill| refill.mode)),
            limits: Arc::new(limits),
            meter: Meter::new(LICENSE),
            books: Books::default(),
            under_way: Vec::new(),
            slow: None,
            known_epoch: 0,
            now: START,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Reserve(units) => self.reserve(*units),
            Step::Settle(at, spent) => {
                if let Some(taken) = self.pick(*at) {
                    let unspent = taken.units() - taken.units().min(*spent);
                    *self.books.units.entry(taken.epoch()).or_default() -= unspent;
                    self.meter.settle(taken, *spent);
                }
            }
            Step::Cancel(at) => {
                if let Some(taken) = self.pick(*at) {
                    *self.books.units.entry(taken.epoch()).or_default() -= taken.units();
                    for limit in &self.limits.rate_limits {
                        let seconds = limit.window.seconds();
                        let key = (seconds, taken.at.period(seconds));
                        // A crash forgot the calls of short windows.
                        self.books
                            .calls
                            .entry(key)
                            .and_modify(|n| *n = n.saturating_sub(1));
                    }
                    self.meter.cancel(taken);
                }
            }
            Step::Ask { fails } => self.ask(*fails),
            Step::AskSlowly => {
                if self.slow.is_none() {
                    let demands = self.meter.demand(self.time(), &options());
                    self.store.give_back(&demands);
                    self.slow = Some((demands.era, self.store.lease(&demands, self.now)));
                }
            }
            Step::Unanswered => {
                if self.slow.is_some() {
                    self.meter.unanswered();
                }
            }
            Step::Answer => {
                if let Some((era, grants)) = self.slow.take() {
                    self.meter.granted(era, &grants, self.time(), &options());
                }
            }
            Step::Change { balance } => {
                if *balance {
                    self.store.claim(self.now);
                    self.store.begin_epoch();
                }
                self.meter.invalidate();
                self.known_epoch = self.store.epoch;
            }
            Step::Elsewhere => {
                self.store.claim(self.now);
                self.store.begin_epoch();
            }
            Step::Wait(seconds) => self.now += seconds * SECOND / 4,
            Step::Idle => {
                self.meter.retire_idle(self.time(), &options());
            }
            Step::Crash => self.crash(),
        }
    }

    fn reserve(&mut self, units: u64) {
        let before = self.held();
        let ask = ask(units, self.now);
        match self.meter.reserve(&self.limits, Stamp::default(), &ask).0 {
            Ok(taken) => {
                self.check_epoch(&taken);
                *self.books.units.entry(taken.epoch()).or_default() += taken.units();
                for limit in &self.limits.rate_limits {
                    let seconds = limit.window.seconds();
                    let key = (seconds, ask.now.period(seconds));
                    *self.books.calls.entry(key).or_default() += 1;
                }
                self.under_way.push(taken);
            }
            Err(error) => {
                if error == ReserveError::NeedLease {
                    self.meter.join(&ask);
                }
                assert!(before.is_none() || before == self.held(), "all or nothing");
            }
        }
    }

    fn ask(&mut self, fails: bool) {
        // One statement at a time.
        if self.slow.is_some() {
            return;
        }
        let demands = self.meter.demand(self.time(), &options());
        if fails {
            self.meter.refused(&demands.returns);
        } else {
            self.store.give_back(&demands);
            let grants = self.store.lease(&demands, self.now);
            self.meter
                .granted(demands.era, &grants, self.time(), &options());
        }
    }

    fn crash(&mut self) {
        self.meter = Meter::new(LICENSE);
        self.slow = None;
        self.under_way.clear();
        self.books
            .calls
            .retain(|(seconds, _), _| *seconds >= Counter::DURABLE_WINDOW);
    }

    fn pick(&mut self, at: usize) -> Option<Reservation> {
        let count = self.under_way.len();
        (count > 0).then(|| self.under_way.swap_remove(at % count))
    }

    /// Returns the state of the meter, rolled to now: units, the count of each window, slots.
    fn held(&self) -> Option<(u64, Vec<u64>, u32)> {
        let mut guard = self.meter.state.lock();
        let state = guard.as_deref_mut()?;
        state.roll(self.now);
        let windows = state.windows.iter().map(|window| match &window.count {
            Count::Memory { used } | Count::Idle { used } => u64::from(*used),
            Count::Leased(stock) => stock.units,
        });
        Some((state.balance.stock.units, windows.collect(), state.in_use()))
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    /// Units are of an epoch that is not over, as far as can be known here.
    fn check_epoch(&self, taken: &Reservation) {
        if !taken.is_limited() {
            return;
        }
        assert!(
            taken.epoch() >= self.known_epoch,
            "{taken:?} after a change"
        );
        if self.store.refill == Some(RefillMode::Set) {
            let period = (self.now - START) / REFILL_EVERY;
            assert_eq!(self.store.begun[&taken.epoch()], period, "{taken:?}");
        }
    }

    fn check(&self) {
        for (epoch, units) in &self.books.units {
            let key = LeaseKey {
                license_id: LICENSE,
                counter: Counter::Remaining,
                period: *epoch,
            };
            let leased = self.store.leased.get(&key).copied().unwrap_or(0);
            assert!(
                *units <= leased,
                "epoch {epoch}: {units} taken, {leased} leased"
            );
        }
        for limit in &self.limits.rate_limits {
            let seconds = limit.window.seconds();
            let period = self.time().period(seconds);
            let calls = self
                .books
                .calls
                .get(&(seconds, period))
                .copied()
                .unwrap_or(0);
            assert!(
                calls <= u64::from(limit.calls),
                "{calls} calls pass {limit}"
            );
        }
        if let Some(limit) = self.limits.concurrency {
            assert_eq!(self.meter.calls_under_way() as usize, self.under_way.len());
            assert!(self.under_way.len() <= limit as usize);
        }
    }
}

fn refill() -> impl Strategy<Value = Option<RefillMode>> {
    prop_oneof![
        Just(None),
        Just(Some(RefillMode::Set)),
        Just(Some(RefillMode::Add))
    ]
}

proptest! {
    #[test]
    fn nothing_is_ever_granted_beyond_the_leases_whatever_happens(
        steps in proptest::collection::vec(step(), 1..250),
        remaining in 0..60_u64,
        refill in refill(),
        concurrency in proptest::option::of(1..4_u32),
        counted in any::<bool>(),
        allowance in 0..40_u64,
    ) {
        let every = Duration::from_micros(REFILL_EVERY.unsigned_abs()).as_secs();
        let refill = refill.map(|mode| Refill {
            amount: remaining.max(1),
            every: model::Interval::from_seconds(every).unwrap(),
            mode,
        });
        let limits = refilled(counted, refill, &["7/10s", "40/1m", "30/1h", "90/1d"], concurrency)
            .with_allowance(allowance, Duration::from_secs(60));
        let mut trial = Trial::new(limits, remaining);
        for step in &steps {
            trial.run(step);
            trial.check();
        }
        // What is left goes back where it came from, but for what was spent, lost in a crash or in
        // a failed answer.
        for taken in std::mem::take(&mut trial.under_way) {
            trial.meter.cancel(taken);
        }
        prop_assert_eq!(trial.meter.calls_under_way(), 0);
    }

    #[test]
    fn a_meter_that_loses_nothing_gives_out_the_last_unit_and_not_one_more(
        units in proptest::collection::vec((1..4_u64, any::<bool>()), 1..80),
        remaining in 0..60_u64,
    ) {
        let limits = Arc::new(limits(true, &[], None));
        let (meter, mut store) = (Meter::new(LICENSE), Store::new(remaining, None));
        let mut left = remaining;
        for (units, spends) in units {
            let fits = units <= left;
            let taken = acquire(&meter, &limits, &mut store, &ask(units, START));
            prop_assert_eq!(taken.is_ok(), fits);
            if let Ok(taken) = taken {
                let spent = if spends { units } else { 0 };
                meter.settle(taken, spent);
                left -= spent;
            }
        }
    }
}
