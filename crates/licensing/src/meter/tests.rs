//! The meter against a store and a bookkeeper that are too simple to be wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::{Counter, LicenseId, Limits, Refill, RefillMode, Refusal, Timestamp};
use proptest::prelude::*;
use store::{ChangeNumber, LeaseGrant, LeaseKey};

use super::*;

const LICENSE: LicenseId = LicenseId::from_u128(7);
const SECOND: i64 = 1_000_000;
const START: i64 = 1_000 * 3_600 * SECOND;
const REFILL_EVERY: i64 = 2 * 3_600 * SECOND;

fn options() -> LeaseOptions {
    LeaseOptions {
        first: 3,
        most: 20,
        ..LeaseOptions::default()
    }
}

fn limits(counted: bool, windows: &[&str], concurrency: Option<u32>) -> EffectiveLimits {
    refilled(counted, None, windows, concurrency)
}

fn refilled(
    counted: bool,
    refill: Option<Refill>,
    windows: &[&str],
    concurrency: Option<u32>,
) -> EffectiveLimits {
    let limits = Limits {
        remaining: counted.then_some(0),
        refill,
        rate_limits: windows.iter().map(|text| text.parse().unwrap()).collect(),
        concurrency,
    };
    EffectiveLimits::of(&limits, None)
}

/// A store of one license: what it granted less what came back, by key.
struct Store {
    remaining: u64,
    refill: Option<RefillMode>,
    epoch: u32,
    granted: u64,
    periods: i64,
    leased: HashMap<LeaseKey, u64>,
    /// The refill period that each epoch began in.
    begun: HashMap<u32, i64>,
}

impl Store {
    fn new(remaining: u64, refill: Option<RefillMode>) -> Self {
        Self {
            remaining,
            refill,
            epoch: 1,
            granted: remaining,
            periods: 0,
            leased: HashMap::new(),
            begun: HashMap::from([(1, 0)]),
        }
    }

    fn claim(&mut self, now: i64) {
        let periods = (now - START) / REFILL_EVERY;
        if periods == self.periods {
            return;
        }
        self.periods = periods;
        match self.refill {
            None => {}
            Some(RefillMode::Add) => self.granted += self.remaining,
            Some(RefillMode::Set) => self.begin_epoch(),
        }
    }

    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.granted = self.remaining;
        self.begun.insert(self.epoch, self.periods);
    }

    fn lease(&mut self, wishes: &Wishes, now: i64) -> Vec<LeaseGrant> {
        self.claim(now);
        let mut grants = Vec::new();
        for request in &wishes.requests {
            let is_balance = request.key.counter == Counter::Remaining;
            let (period, capacity) = match is_balance {
                true => (self.epoch, self.granted),
                false => (request.key.period, request.capacity),
            };
            let key = LeaseKey {
                period,
                ..request.key
            };
            let leased = self.leased.entry(key).or_default();
            let units = request.want.min(capacity.saturating_sub(*leased));
            *leased += units;
            let next = START + (self.periods + 1) * REFILL_EVERY;
            grants.push(LeaseGrant {
                key,
                units,
                left: capacity.saturating_sub(*leased),
                next_refill_at: (is_balance && self.refill.is_some())
                    .then(|| Timestamp::from_micros(next)),
            });
        }
        grants
    }

    fn give_back(&mut self, wishes: &Wishes) {
        for (key, units) in &wishes.returns {
            let leased = self
                .leased
                .get_mut(key)
                .expect("given back what was leased");
            *leased = leased.checked_sub(*units).expect("given back at most that");
        }
    }
}

/// Asks the store until nothing is wished for, as the background does.
fn serve(meter: &Meter, store: &mut Store, now: i64, options: &LeaseOptions) {
    let time = Timestamp::from_micros(now);
    let wishes = meter.wishes(time, options);
    store.give_back(&wishes);
    let grants = store.lease(&wishes, now);
    meter.granted(wishes.era, &grants, time, options);
}

fn ask(units: u64, now: i64) -> Ask {
    Ask {
        units,
        now: Timestamp::from_micros(now),
    }
}

/// Reserves, asking the store where that is needed.
fn acquire(
    meter: &Meter,
    limits: &Arc<EffectiveLimits>,
    store: &mut Store,
    ask: &Ask,
) -> Result<Reservation, Refused> {
    for _ in 0..3 {
        match meter.reserve(limits, Stamp::default(), ask).0 {
            Ok(reservation) => return Ok(reservation),
            Err(ReserveError::Refused(refused)) => return Err(refused),
            Err(ReserveError::NeedLease) => {
                meter.join(ask);
                serve(meter, store, ask.now.micros(), &options());
            }
        }
    }
    panic!("the store answered and the meter still asks for more");
}

#[test]
fn a_window_lets_its_calls_in_and_begins_anew_at_its_boundary() {
    let limits = Arc::new(limits(false, &["2/1m", "3/1h"], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
    let at = |second: i64| ask(1, START + second * SECOND);
    let mut pass = |second| {
        acquire(&meter, &limits, &mut store, &at(second)).map(|taken| meter.settle(taken, 0))
    };
    assert!(pass(58).is_ok());
    assert!(pass(59).is_ok());
    let refused = pass(59).unwrap_err();
    assert_eq!(
        (refused.refusal, refused.retry_after),
        (Refusal::RateLimited, Some(1))
    );
    assert!(pass(60).is_ok(), "a new minute");
    let refused = pass(61).unwrap_err();
    assert_eq!(refused.refusal, Refusal::RateLimited, "the hour is used up");
    assert_eq!(refused.retry_after, Some(3_600 - 61));
    let view = refused.view.unwrap();
    assert_eq!(
        (view.limit, view.remaining, view.window_seconds),
        (3, 0, 3_600)
    );
    assert!(pass(3_600).is_ok(), "a new hour");
}

#[test]
fn a_call_that_comes_late_counts_in_the_window_that_has_begun() {
    let limits = Arc::new(limits(false, &["3/1h"], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
    let mut take = |second| {
        let ask = ask(1, START + second * SECOND);
        acquire(&meter, &limits, &mut store, &ask).unwrap()
    };
    let hour = 3_600;
    assert_eq!(
        take(hour - 1).counted_at().micros(),
        START + (hour - 1) * SECOND
    );
    assert_eq!(
        take(hour + 1).counted_at().micros(),
        START + (hour + 1) * SECOND
    );
    let late = take(hour - 1);
    assert_eq!(late.counted_at().micros(), START + hour * SECOND);
    assert_eq!(late.view().unwrap().remaining, 1);
    meter.cancel(late);
    assert_eq!(take(hour + 2).view().unwrap().remaining, 1);
}

#[test]
fn a_refused_call_takes_nothing_of_what_it_would_have_passed() {
    let limits = Arc::new(limits(true, &["5/1m"], Some(1)));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(2, None));
    let first = acquire(&meter, &limits, &mut store, &ask(2, START)).unwrap();
    assert_eq!(first.view().unwrap().remaining, 4);
    let refused = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap_err();
    assert_eq!(refused.refusal, Refusal::TooManyConcurrent);
    assert_eq!(refused.view.unwrap().remaining, 4);
    meter.settle(first, 2);
    let refused = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap_err();
    assert_eq!(
        (refused.refusal, refused.retry_after),
        (Refusal::QuotaExhausted, None)
    );
    assert_eq!(refused.view.unwrap().remaining, 4);
    assert_eq!(meter.calls_under_way(), 0);
}

#[test]
fn what_a_call_did_not_spend_lets_the_next_one_in() {
    let limits = Arc::new(limits(true, &["9/1h"], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(3, None));
    let taken = acquire(&meter, &limits, &mut store, &ask(3, START)).unwrap();
    assert!(acquire(&meter, &limits, &mut store, &ask(1, START)).is_err());
    meter.settle(taken, 1);
    let taken = acquire(&meter, &limits, &mut store, &ask(2, START)).unwrap();
    assert_eq!(taken.view().unwrap().remaining, 7);
    meter.cancel(taken);
    let taken = acquire(&meter, &limits, &mut store, &ask(2, START)).unwrap();
    assert_eq!(
        taken.view().unwrap().remaining,
        7,
        "a cancelled call does not count"
    );
    meter.settle(taken, 2);
    assert!(acquire(&meter, &limits, &mut store, &ask(1, START)).is_err());
}

#[test]
fn a_quota_that_refills_says_when_and_goes_on_then() {
    let refill = |mode| Refill {
        amount: 2,
        every: "2h".parse().unwrap(),
        mode,
    };
    for mode in [RefillMode::Set, RefillMode::Add] {
        let limits = Arc::new(refilled(true, Some(refill(mode)), &[], None));
        let (meter, mut store) = (Meter::new(LICENSE), Store::new(2, Some(mode)));
        let one = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap();
        let two = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap();
        let refused = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap_err();
        assert_eq!(refused.refusal, Refusal::QuotaExhaustedForNow);
        assert_eq!(refused.retry_after, Some(7_200));
        meter.settle(one, 1);
        let later = START + REFILL_EVERY;
        let three = acquire(&meter, &limits, &mut store, &ask(2, later)).unwrap();
        // A unit of the epoch before comes back: with "set" it is void, with "add" it is not.
        meter.settle(two, 0);
        let four = acquire(&meter, &limits, &mut store, &ask(1, later));
        assert_eq!(four.is_ok(), mode == RefillMode::Add);
        meter.settle(three, 2);
        if let Ok(four) = four {
            meter.settle(four, 1);
        }
    }
}

#[test]
fn an_exhausted_license_asks_the_store_once_in_a_while() {
    let limits = Arc::new(limits(true, &[], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
    let mut asked = 0;
    for step in 0..100 {
        let now = START + step * SECOND / 10;
        if meter.reserve(&limits, Stamp::default(), &ask(1, now)).0 == Err(ReserveError::NeedLease)
        {
            meter.join(&ask(1, now));
            serve(&meter, &mut store, now, &options());
            asked += 1;
        }
    }
    assert_eq!(asked, 2, "ten seconds, believed for five");
}

#[test]
fn leases_grow_with_the_rate_and_are_renewed_before_they_run_dry() {
    let limits = Arc::new(limits(true, &[], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(1_000_000, None));
    let options = LeaseOptions::default();
    let (mut waits, mut leases) = (0, 0);
    // Ten thousand calls in ten seconds.
    for call in 0..10_000 {
        let ask = ask(1, START + call * SECOND / 1_000);
        let (result, enqueue) = meter.reserve(&limits, Stamp::default(), &ask);
        if result == Err(ReserveError::NeedLease) {
            meter.join(&ask);
            waits += 1;
        }
        if enqueue || result.is_err() {
            leases += 1;
            serve(&meter, &mut store, ask.now.micros(), &options);
        }
        result
            .into_iter()
            .for_each(|taken| assert!(!meter.settle(taken, 1)));
    }
    assert_eq!(waits, 1, "only the first call waits");
    assert!(leases < 40, "{leases}");
}

#[test]
fn a_lease_that_was_asked_for_before_a_change_is_given_back() {
    let limits = Arc::new(limits(true, &[], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(10, None));
    let time = Timestamp::from_micros(START);
    let reserve = || meter.reserve(&limits, Stamp::default(), &ask(1, START)).0;
    assert_eq!(reserve(), Err(ReserveError::NeedLease));
    meter.join(&ask(1, START));
    let wishes = meter.wishes(time, &options());
    let grants = store.lease(&wishes, START);
    meter.invalidate();
    assert!(
        meter.granted(wishes.era, &grants, time, &options()),
        "it has something to give back"
    );
    assert_eq!(reserve(), Err(ReserveError::NeedLease));
    serve(&meter, &mut store, START, &options());
    assert!(
        store.leased.values().all(|units| *units == 0),
        "{:?}",
        store.leased
    );
}

#[test]
fn idle_leases_are_given_back_and_an_empty_meter_says_so() {
    let limits = Arc::new(limits(true, &["5/1m", "50/1h"], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(100, None));
    let taken = acquire(&meter, &limits, &mut store, &ask(1, START)).unwrap();
    meter.settle(taken, 1);
    let after = |seconds: i64| Timestamp::from_micros(START + seconds * SECOND);
    assert!(!meter.retire_idle(after(29), &options()));
    assert!(!meter.is_empty(after(29)));
    assert!(meter.retire_idle(after(61), &options()));
    assert!(
        !meter.is_empty(after(61)),
        "not before the store has it back"
    );
    serve(&meter, &mut store, after(61).micros(), &options());
    assert!(meter.is_empty(after(61)));
    assert!(store.leased.values().all(|units| *units == 1));
}

#[test]
fn limits_that_change_keep_the_counts_of_windows_that_stay() {
    let old = Arc::new(limits(false, &["5/1m", "9/1s"], None));
    let new = Arc::new(limits(false, &["3/1m", "9/10s"], None));
    let meter = Meter::new(LICENSE);
    let stamp = |version| Stamp {
        version: ChangeNumber(version),
        plans: 0,
    };
    let reserve = |limits, version| meter.reserve(limits, stamp(version), &ask(1, START)).0;
    let first = reserve(&old, 1).unwrap();
    let second = reserve(&old, 1).unwrap();
    let third = reserve(&new, 2).unwrap();
    assert_eq!(third.view().unwrap().remaining, 0);
    assert!(reserve(&new, 2).is_err());
    // Somebody who still holds what was read before is judged by what is known now.
    assert!(reserve(&old, 1).is_err());
    meter.cancel(first);
    let fourth = reserve(&new, 2).unwrap();
    assert!(reserve(&new, 2).is_err());
    for taken in [second, third, fourth] {
        meter.settle(taken, 0);
    }
}

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
    Answer,
    /// Somebody changed the license; with it, perhaps, the balance.
    Change {
        balance: bool,
    },
    /// Somebody set the balance, and the news did not come yet.
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
    /// Units by epoch: spent and under way.
    units: HashMap<u32, u64>,
    /// Calls by window and period.
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
                    let wishes = self.meter.wishes(self.time(), &options());
                    self.store.give_back(&wishes);
                    self.slow = Some((wishes.era, self.store.lease(&wishes, self.now)));
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
        let wishes = self.meter.wishes(self.time(), &options());
        if fails {
            // What was to be given back counts as given back whether it was or not.
            self.meter.failed();
        } else {
            self.store.give_back(&wishes);
            let grants = self.store.lease(&wishes, self.now);
            self.meter
                .granted(wishes.era, &grants, self.time(), &options());
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

    /// What the meter holds, rolled to now: units, what each window says, slots.
    fn held(&self) -> Option<(u64, Vec<u64>, u32)> {
        let mut guard = self.meter.state.lock();
        let state = guard.as_deref_mut()?;
        state.roll(self.now);
        let windows = state.windows.iter().map(|window| match &window.count {
            window::Count::Memory { used } => u64::from(*used),
            window::Count::Leased(stock) => stock.units,
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
    ) {
        let every = Duration::from_micros(REFILL_EVERY.unsigned_abs()).as_secs();
        let refill = refill.map(|mode| Refill {
            amount: remaining.max(1),
            every: model::Interval::from_seconds(every).unwrap(),
            mode,
        });
        let limits = refilled(counted, refill, &["7/10s", "40/1m", "30/1h", "90/1d"], concurrency);
        let mut trial = Trial::new(limits, remaining);
        for step in &steps {
            trial.run(step);
            trial.check();
        }
        // What is left goes back where it came from, but for what was spent, lost in a crash or in a failed answer.
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
