//! The meter, step by step, and in any order.

mod allowance;
mod elsewhere;
mod fleet;
mod idle;
mod simple;
mod trial;

use std::sync::Arc;

use model::{LicenseId, Limits, Refill, RefillMode, Refusal, Timestamp};
use simple::Store;
use store::ChangeNumber;

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

/// Asks the store until nothing is wished for, as the background does.
fn serve(meter: &Meter, store: &mut Store, now: i64, options: &LeaseOptions) {
    let time = Timestamp::from_micros(now);
    let demands = meter.demand(time, options);
    store.give_back(&demands);
    let grants = store.lease(&demands, now);
    meter.granted(demands.era, &grants, time, options);
}

fn ask(units: u64, now: i64) -> Ask {
    Ask {
        units,
        now: Timestamp::from_micros(now),
        slot: true,
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
    let demands = meter.demand(time, &options());
    let grants = store.lease(&demands, START);
    meter.invalidate();
    assert!(
        meter.granted(demands.era, &grants, time, &options()),
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

#[test]
fn after_a_clock_was_ahead_nobody_waits_for_a_period_that_has_not_begun_and_none_is_granted_twice()
{
    let limits = Arc::new(limits(false, &["3/1h", "9/1m,idle"], None));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(0, None));
    let mut pass = |second: i64| {
        let taken = acquire(
            &meter,
            &limits,
            &mut store,
            &ask(1, START + second * SECOND),
        );
        taken.map(|taken| meter.settle(taken, 0)).is_ok()
    };
    let hour = 3_600;
    assert!(pass(10) && pass(11) && pass(12) && !pass(13));
    // Three hours ahead, and back.
    assert!(pass(3 * hour + 14) && pass(3 * hour + 15) && pass(3 * hour + 16));
    assert!(!pass(3 * hour + 17));
    assert!(!pass(18), "the hour that is under way is used up");
    assert!(pass(hour) && pass(hour + 1) && pass(hour + 2));
    assert!(!pass(hour + 3));
}
