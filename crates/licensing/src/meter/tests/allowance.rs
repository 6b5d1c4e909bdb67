//! The units that are leased beyond what is needed, for an outage.

use std::time::Duration;

use super::*;

const GRACE: Duration = Duration::from_secs(300);

fn in_a_fleet() -> LeaseOptions {
    LeaseOptions {
        alone: false,
        ..options()
    }
}

/// Serves a meter as long as it wants to be; how often that was.
fn serve_all(meter: &Meter, store: &mut Store, now: i64, options: &LeaseOptions) -> usize {
    let time = Timestamp::from_micros(now);
    for round in 1..20 {
        let demands = meter.demand(time, options);
        store.give_back(&demands);
        let grants = store.lease(&demands, now);
        if !meter.granted(demands.era, &grants, time, options) {
            return round;
        }
    }
    panic!("it never has enough");
}

/// Lets a call pass that needs a lease, and serves what it leads to.
fn first_call(meter: &Meter, limits: &Arc<EffectiveLimits>, store: &mut Store, now: i64) -> usize {
    let ask = ask(1, now);
    assert_eq!(
        meter.reserve(limits, Stamp::default(), &ask).0,
        Err(ReserveError::NeedLease)
    );
    meter.join(&ask);
    serve_all(meter, store, now, &in_a_fleet())
}

/// Returns the number of calls that pass without the store.
fn pass(meter: &Meter, limits: &Arc<EffectiveLimits>, now: i64) -> u64 {
    let calls = std::iter::from_fn(|| {
        let taken = meter.reserve(limits, Stamp::default(), &ask(1, now)).0;
        taken.ok().map(|taken| meter.settle(taken, 1))
    });
    calls.count() as u64
}

#[test]
fn the_first_call_leases_the_allowance_of_the_balance_and_of_each_long_window() {
    let limits = limits(true, &["9000/1h", "9000/1d"], None).with_allowance(100, GRACE);
    let limits = Arc::new(limits);
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(10_000, None));
    assert_eq!(first_call(&meter, &limits, &mut store, START), 2);
    let leased: Vec<u64> = store.leased.values().copied().collect();
    assert_eq!(leased.len(), 3);
    assert!(
        leased.iter().all(|units| (100..150).contains(units)),
        "{leased:?}"
    );
    assert!(pass(&meter, &limits, START) >= 100);
}

#[test]
fn near_the_end_of_a_balance_a_gate_keeps_an_eighth_of_what_is_left() {
    let limits = Arc::new(limits(true, &[], None).with_allowance(1_000, GRACE));
    let mut store = Store::new(1_000, None);
    let gates = [(); 3].map(|()| Meter::new(LICENSE));
    for gate in &gates {
        first_call(gate, &limits, &mut store, START);
        let (_, held) = gate.leased_units().unwrap();
        assert!(held > 50 && held <= 250, "{held}");
    }
    let all: u64 = store.leased.values().sum();
    assert!(all < 600, "{all} of 1000 are kept for an outage");
    // Every unit can be used up all the same, and none twice.
    let mut passed = 0;
    for now in (START..).step_by(SECOND as usize).take(400) {
        for gate in &gates {
            passed += pass(gate, &limits, now);
            gate.join(&ask(1, now));
            serve_all(gate, &mut store, now, &in_a_fleet());
        }
    }
    assert_eq!(passed, 1_000);
}

#[test]
fn it_is_kept_as_long_as_an_outage_is_bridged_and_then_given_back() {
    let limits = Arc::new(limits(true, &[], None).with_allowance(100, GRACE));
    let (meter, mut store) = (Meter::new(LICENSE), Store::new(10_000, None));
    first_call(&meter, &limits, &mut store, START);
    let after = |seconds: i64| Timestamp::from_micros(START + seconds * SECOND);
    assert!(!meter.retire_idle(after(299), &in_a_fleet()));
    assert!(meter.retire_idle(after(301), &in_a_fleet()));
    serve_all(&meter, &mut store, after(301).micros(), &in_a_fleet());
    assert!(store.leased.values().all(|units| *units == 0));
}
