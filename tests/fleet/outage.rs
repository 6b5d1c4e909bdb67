//! What a fleet spends of a limited license while its store is away: what was leased before, to the last unit, and no more.

use std::time::Duration;

use crate::support::fleet::{Fleet, status};
use testkit::{App, Config, Gateway, License, Load, Request, assert_eventually};

const ALLOWANCE: u64 = 150;

/// Units that gates hold of a counter, which one license has: leased, not spent and not given back.
fn held(fleet: &Fleet, counter: u32) -> u64 {
    let sql = format!(
        "SELECT coalesce(sum(granted - returned - spent), 0) FROM leases WHERE counter = {counter}"
    );
    let held = fleet.server.psql("test_0", &sql);
    held.parse().expect("a number")
}

/// Calls of a license that a gate lets pass until it refuses one, which must be for want of the store.
fn spend(gate: &Gateway, license: &License) -> u64 {
    for passed in 0.. {
        let answer = gate.call(&Request::get("/").key(&license.key));
        if answer.status != 200 {
            assert_eq!(answer.status, 503);
            assert_eq!(answer.refusal_code().as_deref(), Some("quota_unavailable"));
            assert!(answer.header("retry-after").is_some());
            return passed;
        }
    }
    unreachable!("a quota has an end")
}

#[test]
fn while_the_store_is_away_exactly_what_was_leased_before_is_spent_and_then_it_goes_on() {
    const UNITS: u64 = 6_000;
    let allowance = format!("[app.outage]\nallowance = {ALLOWANCE}");
    let mut fleet = Fleet::serving(3, |upstream| {
        Config::default().app(App::new("api", upstream).table(&allowance))
    });
    let limited = fleet.license(&["--remaining", "6000"]);
    let windowed = fleet.license(&["--rate-limit", "20000/1d"]);
    let licenses = [(&limited, 0), (&windowed, 86_400)];
    let up = |up: f64| {
        let says = |gate: &Gateway| gate.metric("tallygate_store_up", &[]) == up;
        assert_eventually!(fleet.gates.iter().all(says));
    };
    for hangs in [false, true] {
        // Every call so far is in the books, and each gate has leased what it keeps.
        let served = fleet.upstream.served_count() as u64;
        let sum = || fleet.gates[0].cli().json(&["usage"]);
        assert_eventually!({
            let rows = sum();
            let calls = |row: &serde_json::Value| row["billable_calls"].as_u64().unwrap_or(0);
            rows.as_array()
                .expect("rows")
                .iter()
                .map(calls)
                .sum::<u64>()
                == served
        });
        for (_, counter) in licenses {
            assert_eventually!(held(&fleet, counter) >= 3 * ALLOWANCE);
        }
        let before = licenses.map(|(_, counter)| held(&fleet, counter));
        if hangs {
            fleet.server.pause();
        } else {
            fleet.server.kill9();
        }
        up(0.0);
        for ((license, _), held) in licenses.iter().zip(before) {
            let passed: Vec<u64> = fleet
                .gates
                .iter()
                .map(|gate| spend(gate, license))
                .collect();
            assert!(
                passed.iter().all(|passed| *passed >= ALLOWANCE),
                "{passed:?}"
            );
            assert_eq!(passed.iter().sum::<u64>(), held, "{passed:?}");
        }
        if hangs {
            fleet.server.resume();
        } else {
            fleet.server.restart();
        }
        up(1.0);
        for gate in &fleet.gates {
            assert_eventually!(status(gate, &limited) == 200);
            assert_eventually!(status(gate, &windowed) == 200);
        }
    }
    // To the end of the balance: what is kept for an outage keeps nobody from the last unit.
    let load = |gate: &Gateway| {
        let key = limited.key.clone();
        let load = Load::new(gate.addr(), 4, move |_, _| Request::get("/").key(&key));
        // Refusals that follow each other without a pause leave the store no time on a small machine.
        load.pause_after_refusal(Duration::from_millis(20)).start()
    };
    let loads: Vec<_> = fleet.gates.iter().map(load).collect();
    // As soon as the last calls are in the rollups, no unit is held that nobody spent.
    let used_up = || fleet.gates.iter().all(|gate| status(gate, &limited) == 402);
    assert_eventually!(used_up() && held(&fleet, 0) == 0);
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    // On a machine with much else to do a call may wait too long for its lease.
    let odd = |call: &&testkit::ObservedCall| !matches!(call.status, Some(200 | 402 | 503));
    assert_eq!(seen.iter().find(odd), None);
    fleet.assert_clean(&seen, &[(&limited.id, UNITS)]);
}
