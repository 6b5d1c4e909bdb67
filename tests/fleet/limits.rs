//! Limits that hold over three gates at once: refills, several windows, and calls under way.

use std::time::{Duration, SystemTime};

use crate::support::fleet::{Fleet, status};
use testkit::{Gateway, License, Load, ObservedCall, Request, assert_eventually};

/// Periods of so many seconds since 1970.
fn period(seconds: u64) -> u64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("later than 1970");
    now.as_secs() / seconds
}

/// Load on all gates with the key of one license.
fn loads(fleet: &Fleet, license: &License) -> Vec<testkit::load::RunningLoad> {
    let load = |gate: &Gateway| {
        let key = license.key.clone();
        let load = Load::new(gate.addr(), 4, move |_, _| Request::get("/").key(&key));
        load.pause_after_refusal(Duration::from_millis(5)).start()
    };
    fleet.gates.iter().map(load).collect()
}

/// Whether a call saw anything but an answer or the limit. On a machine with much else to do it may wait too long for its lease.
fn is_odd(call: &ObservedCall) -> bool {
    !matches!(call.status, Some(200 | 429 | 503))
}

#[test]
fn a_balance_is_refilled_once_for_all_gates() {
    const AMOUNT: usize = 40;
    const EVERY: u64 = 2;
    for mode in ["", ",add"] {
        let mut fleet = Fleet::start(3);
        let refill = format!("{AMOUNT}/{EVERY}s{mode}");
        // Refills come by the time of the license's beginning: one more may fall due than there are whole periods.
        let first = period(EVERY);
        let license = fleet.license(&["--remaining", "40", "--refill", &refill]);
        let loads = loads(&fleet, &license);
        assert_eventually!(fleet.upstream.served_count() >= 5 * AMOUNT);
        let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
        let most = AMOUNT * (period(EVERY) - first + 2) as usize;
        let served = fleet.upstream.served_count();
        assert!(served <= most, "{served} of {most}");
        assert_eq!(seen.iter().find(|call| is_odd(call)), None);
        fleet.assert_clean(&seen, &[(&license.id, most as u64)]);
    }
}

#[test]
fn of_two_long_windows_the_narrower_holds_over_all_gates_to_the_last_call() {
    const NARROW: usize = 60;
    let mut fleet = Fleet::start(3);
    for limits in [["60/1h", "90/1d"], ["90/1h", "60/1d"]] {
        let before = fleet.upstream.served_count();
        let hour = period(3_600);
        let license = fleet.license(&["--rate-limit", limits[0], "--rate-limit", limits[1]]);
        let loads = loads(&fleet, &license);
        let served = || fleet.upstream.served_count() - before;
        assert_eventually!(served() >= NARROW);
        Fleet::more(&loads, 100);
        let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
        // A new hour, or a new day, begins what it begins.
        let began = if period(3_600) == hour { 0 } else { NARROW };
        let served = served();
        assert!(
            (NARROW..=NARROW + began).contains(&served),
            "{served} by {limits:?}"
        );
        assert_eq!(seen.iter().find(|call| is_odd(call)), None);
    }
    fleet.assert_clean(&[], &[]);
}

#[test]
fn calls_under_way_on_two_gates_are_counted_on_the_third() {
    let fleet = Fleet::start(3);
    let license = fleet.license(&["--concurrency", "4"]);
    let mut streams = Vec::new();
    for gate in [0, 0, 1, 1] {
        assert_eventually!({
            let mut stream = fleet.gates[gate].connect();
            let request = Request::get("/stream/1000000/10/20").key(&license.key);
            stream.send(&request.bytes()).expect("taken");
            let begun = stream.read_head().expect("a head").status() == Some(200);
            if begun {
                streams.push(stream);
            }
            begun
        });
    }
    let asked = || fleet.gates[2].call(&Request::get("/").key(&license.key));
    assert_eventually!(asked().refusal_code().as_deref() == Some("too_many_concurrent"));
    // It stays so: they are still under way.
    for _ in 0..20 {
        assert_eq!(asked().status, 429);
    }
    drop(streams.pop());
    assert_eventually!(status(&fleet.gates[2], &license) == 200);
    drop(streams);
    for gate in &fleet.gates {
        assert_eventually!(status(gate, &license) == 200);
    }
}

#[test]
fn a_quota_is_not_used_up_while_another_gate_holds_units_of_it() {
    let fleet = Fleet::start(3);
    let license = fleet.gates[0].license(&["--remaining", "3", "--permission", "GET /"]);
    // All gates know the license first: a call that it does not permit takes no unit.
    let unpermitted = Request::post("/", b"").key(&license.key);
    for gate in &fleet.gates {
        let refused = || gate.call(&unpermitted).refusal_code();
        assert_eventually!(refused().as_deref() == Some("route_not_permitted"));
    }
    let request = Request::get("/").key(&license.key);
    // All at once: whoever asks first leases all that is left.
    let answers: Vec<_> = std::thread::scope(|scope| {
        let (gates, request) = (&fleet.gates, &request);
        let call = |call: usize| scope.spawn(move || gates[call % 3].call(request));
        let calls: Vec<_> = (0..6).map(call).collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("an answer"))
            .collect()
    });
    let mut passed = 0;
    for answer in &answers {
        passed += usize::from(answer.status == 200);
        if answer.status != 200 {
            assert_eq!(answer.refusal_code().as_deref(), Some("quota_unavailable"));
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
    }
    // Those who come back get what is left, and one unit more is there for nobody.
    assert_eventually!({
        let came = fleet.gates.iter().map(|gate| status(gate, &license));
        passed += came.filter(|status| *status == 200).count();
        passed == 3
    });
    for gate in &fleet.gates {
        assert_eventually!(status(gate, &license) == 402);
    }
    assert_eq!(fleet.upstream.served_count(), 3);
}
