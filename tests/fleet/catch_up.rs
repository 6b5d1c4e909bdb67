//! A gate that comes back to journals which the store takes nothing of: it serves at once, and in the end all is counted once.

use crate::support::fleet::{Fleet, status};
use testkit::{Gateway, assert_eventually};

/// Records of earlier starts that a gate has still to bring in.
fn behind(gate: &Gateway) -> f64 {
    gate.metric("tallygate_records_behind", &[])
}

#[test]
fn a_gate_serves_beside_what_its_earlier_starts_left_and_dies_in_the_middle_of_it() {
    const UNITS: u64 = 4_000;
    let mut fleet = Fleet::start(2);
    let limited = fleet.license(&["--remaining", "4000"]);
    let licenses = [limited, fleet.license(&[])];
    // From here on no sum comes into the store, so that nothing can be caught up with.
    let held = fleet
        .server
        .hold_transaction("test_0", "LOCK TABLE quarter_rollups IN EXCLUSIVE MODE");
    let (mut seen, mut left) = (Vec::new(), 0);
    for life in 1..=2 {
        let mut loads = fleet.load(2, &licenses);
        Fleet::more(&loads, 200);
        fleet.gates[1].kill9();
        let died = loads.remove(1).stop();
        left += died.iter().filter(|call| call.status.is_some()).count();
        seen.extend(died);
        seen.extend(loads.remove(0).stop());

        fleet.gates[1].restart();
        let gate = &fleet.gates[1];
        assert!(behind(gate) >= 1.0, "life {life}");
        let told = gate.cli().run(&["usage", "--json"]);
        assert_eq!(told.code, 0, "{told:?}");
        assert!(told.stderr.contains("still being read"), "{told:?}");
        // Each by itself is there all the same.
        let recorded = gate.calls(&[]).len();
        assert!(recorded >= left, "life {life}: {recorded} of {left}");
        assert_eq!(status(gate, &licenses[1]), 200, "life {life}");
        left += 1;
    }
    let loads = fleet.load(2, &licenses);
    Fleet::more(&loads, 50);
    drop(held);
    assert_eventually!(behind(&fleet.gates[1]) == 0.0);
    Fleet::more(&loads, 50);
    seen.extend(loads.into_iter().flat_map(|load| load.stop()));
    let told = fleet.gates[1].cli().run(&["usage", "--json"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    fleet.assert_clean(&seen, &[(&licenses[0].id, UNITS)]);
}
