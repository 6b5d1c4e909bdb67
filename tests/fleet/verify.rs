//! `ledger verify` of a fleet whose other gates go on: it finds what is doubled or missing among their calls, too.

use crate::support::fleet::Fleet;
use serde_json::Value;
use testkit::eventually::{test_timeout, wait_for};
use testkit::{Gateway, Load, Request, assert_eventually};

/// What one gate says of the books of all, as soon as the store has time to tell it.
fn verify(fleet: &Fleet) -> Value {
    let ask = || {
        let told = fleet.gates[0].cli().run(&["ledger", "verify", "--json"]);
        let report: Value = serde_json::from_str(&told.stdout).ok()?;
        Some((told, report))
    };
    let (told, report) = wait_for(test_timeout(), ask).expect("a report");
    let clean = report["lost"] == 0 && report["duplicated"] == 0;
    assert_eq!(told.code, i32::from(!clean), "{report}");
    report
}

fn counts(report: &Value) -> (u64, u64) {
    let count = |field: &str| report[field].as_u64().expect("a number");
    (count("lost"), count("duplicated"))
}

#[test]
fn a_gate_finds_what_is_doubled_or_missing_among_the_calls_of_gates_that_live_on() {
    let mut fleet = Fleet::start(3);
    // A call by each gate.
    let license = fleet.license(&[]);
    let usage = || {
        let rows = fleet.gates[0]
            .cli()
            .json(&["usage", "--license", &license.id]);
        let calls = |row: &Value| row["calls"].as_u64().unwrap_or(0);
        rows.as_array()
            .expect("rows")
            .iter()
            .map(calls)
            .sum::<u64>()
    };
    assert_eventually!(usage() == fleet.upstream.served_count() as u64);
    let busy = fleet.license(&["--remaining", "1000000"]);
    let load = |gate: &Gateway| {
        let key = busy.key.clone();
        Load::new(gate.addr(), 2, move |_, _| {
            Request::get("/delay/10").key(&key)
        })
        .start()
    };
    let loads: Vec<_> = fleet.gates.iter().map(load).collect();
    Fleet::more(&loads, 50);
    let report = verify(&fleet);
    assert_eq!(counts(&report), (0, 0), "{report}");
    assert_eq!(
        report["problems"].as_array().map(Vec::len),
        Some(0),
        "{report}"
    );
    // The row of the first license: no journal of the gate that verifies has two of its calls.
    let change = |by: i64| {
        let sql = format!(
            "UPDATE quarter_rollups SET calls = calls + ({by})
             WHERE cursor = (SELECT min(cursor) FROM quarter_rollups)"
        );
        let _changed = fleet.server.psql("test_0", &sql);
    };
    for (by, expected) in [(1, (0, 1)), (-2, (1, 0))] {
        change(by);
        let report = verify(&fleet);
        assert_eq!(counts(&report), expected, "{report}");
        Fleet::more(&loads, 50);
    }
    change(1);
    let report = verify(&fleet);
    assert_eq!(counts(&report), (0, 0), "{report}");
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    assert_eq!(seen.iter().find(|call| call.status != Some(200)), None);
    // A gate that hangs is not waited for without end, and nothing is said of it that is not known.
    fleet.gates[1].pause();
    let report = verify(&fleet);
    assert_eq!(counts(&report), (0, 0), "{report}");
    fleet.gates[1].resume();
    // It may take its own pause for one of the store.
    let shipped = || fleet.gates[1].cli().run(&["usage", "--json"]).code == 0;
    assert_eventually!(shipped());
    fleet.assert_clean(&seen, &[(&busy.id, 1_000_000)]);
}
