//! Gates of a fleet while one of them stands still, and while their store or their Redis fails.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::fleet::{self, Fleet, status};
use testkit::{
    FaultProxy, Gateway, Load, Postgres, RedisSentinel, Request, Upstream, assert_eventually,
    binary,
};

/// Longer than what is known may be old, and far shorter than the grace.
const STALE_PAUSE: Duration = Duration::from_millis(2_500);

#[test]
fn a_gate_that_stood_still_hears_of_a_revocation_before_it_admits_anybody() {
    let fleet = Fleet::start(2);
    for _ in 0..4 {
        let license = fleet.license(&[]);
        assert_eq!(status(&fleet.gates[1], &license), 200);
        fleet.gates[1].pause();
        let _revoked = fleet.gates[0]
            .cli()
            .json(&["license", "revoke", &license.id]);
        // The length of the pause is what this is about.
        std::thread::sleep(STALE_PAUSE);
        // Calls that wait for it to go on.
        let (told, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                let (told, gate, license) = (told.clone(), &fleet.gates[1], &license);
                scope.spawn(move || told.send(status(gate, license)));
            }
            fleet.gates[1].resume();
        });
        drop(told);
        let answers: Vec<u16> = answers.iter().collect();
        assert_eq!(answers.len(), 8);
        // It says so, or that it does not know yet; never 200.
        let good = |status: &u16| matches!(status, 403 | 503);
        assert!(answers.iter().all(good), "{answers:?}");
        assert_eventually!(status(&fleet.gates[1], &license) == 403);
    }
}

/// Far longer than any wait for the store or Redis that a call may have, far shorter than an outage below.
const BOUND: Duration = Duration::from_secs(5);
const OUTAGE: Duration = Duration::from_secs(8);

#[test]
fn a_store_that_dies_hangs_or_is_slow_refuses_no_known_key_and_holds_up_no_call() {
    const UNITS: u64 = 3_000;
    let mut fleet = Fleet::start(3);
    let free = vec![
        fleet.license(&[]),
        fleet.license(&["--rate-limit", "1000000/1m"]),
    ];
    let cold = fleet.cold_licenses(1).remove(0);
    let limited = fleet.license(&["--remaining", "3000"]);
    let mut loads = fleet.load(4, &free);
    for gate in &fleet.gates {
        let key = limited.key.clone();
        let load = Load::new(gate.addr(), 4, move |_, _| {
            Request::get("/delay/20").key(&key)
        });
        loads.push(load.pause_after_refusal(Duration::from_millis(20)).start());
    }
    let up = |up: f64| {
        let says = |gate: &Gateway| gate.metric("tallygate_store_up", &[]) == up;
        assert_eventually!(fleet.gates.iter().all(says));
    };
    Fleet::more(&loads, 100);
    fleet.server.kill9();
    up(0.0);
    Fleet::more(&loads, 100);
    // One that nobody knows by heart is not judged without the store.
    assert_eq!(status(&fleet.gates[1], &cold), 503);
    fleet.server.restart();
    up(1.0);
    Fleet::more(&loads, 100);
    fleet.server.pause();
    // Longer than any call may take.
    std::thread::sleep(OUTAGE);
    up(0.0);
    Fleet::more(&loads, 100);
    fleet.server.resume();
    up(1.0);
    fleet.to_store.delay(Duration::from_millis(100));
    Fleet::more(&loads, 100);
    fleet.to_store.silence();
    up(0.0);
    Fleet::more(&loads, 100);
    fleet.to_store.heal();
    up(1.0);
    for gate in &fleet.gates {
        assert_eventually!(status(gate, &cold) == 200);
    }
    let mut seen = Vec::new();
    for (number, load) in loads.into_iter().enumerate() {
        let list = load.stop();
        let expected = |status: u16| match status {
            200 => true,
            // Its units are used up, or nobody can lease any now.
            402 | 503 => number >= fleet.gates.len(),
            _ => false,
        };
        let odd = list.iter().find(|call| !call.status.is_some_and(expected));
        assert_eq!(odd, None);
        seen.extend(list);
    }
    let slowest = seen.iter().map(|call| call.took).max().unwrap_or_default();
    assert!(slowest < BOUND, "a call took {slowest:?}");
    fleet.assert_clean(&seen, &[(&limited.id, UNITS)]);
}

#[test]
fn a_replica_that_missed_a_revocation_brings_nobody_back_when_it_becomes_the_master() {
    let (server, upstream, sentinel) =
        (Postgres::start(), Upstream::start(), RedisSentinel::start());
    let store = server.database();
    let gate = |node| {
        let config = fleet::config(&upstream.url(), &store, &sentinel.url(), node);
        Gateway::start(binary!(), config)
    };
    let gates = [gate("north"), gate("south"), gate("west")];
    let [north, south, west] = &gates;
    let good = north.license(&[]);
    let revoked = north.license(&[]);
    for license in [&good, &revoked] {
        // Shared by the one that looks it up; the last gate asks later.
        assert_eventually!(status(south, license) == 200);
    }
    let replicated = || sentinel.initial_replica().ask(&["DBSIZE"]);
    assert_eventually!(
        replicated() == sentinel.initial_master().ask(&["DBSIZE"]) && replicated() != "0"
    );
    // From here on the replica hears nothing.
    let nowhere = FaultProxy::before(sentinel.initial_master().addr());
    nowhere.cut();
    let (host, port) = ("127.0.0.1", nowhere.addr().port().to_string());
    assert_eq!(
        sentinel.initial_replica().ask(&["REPLICAOF", host, &port]),
        "OK"
    );
    let _revoked = north.cli().json(&["license", "revoke", &revoked.id]);
    // A call that is under way just then is cut.
    let refused = || {
        let asked = south.connect().call(&Request::get("/").key(&revoked.key));
        asked.is_ok_and(|answer| answer.status == 403)
    };
    assert_eventually!(refused());
    // What the master knows of it by now is gone with it.
    sentinel.initial_master().kill();
    assert_eq!(
        sentinel.initial_replica().ask(&["REPLICAOF", "NO", "ONE"]),
        "OK"
    );
    for gate in [west, south, north] {
        assert_eventually!({
            assert_eq!(status(gate, &good), 200);
            let status = status(gate, &revoked);
            assert!(matches!(status, 403 | 503), "{status}");
            status == 403
        });
    }
}

#[test]
fn an_election_of_a_new_master_under_load_refuses_no_good_key_and_costs_no_record() {
    const UNITS: u64 = 3_000;
    let (server, upstream, sentinel) =
        (Postgres::start(), Upstream::start(), RedisSentinel::start());
    let store = server.database();
    let gate = |node| {
        let config = fleet::config(&upstream.url(), &store, &sentinel.url(), node);
        Gateway::start(binary!(), config)
    };
    let mut gates = [gate("north"), gate("south"), gate("west")];
    let is_up = |up: f64| {
        let says = |gate: &Gateway| gate.metric("tallygate_redis_up", &[]) == up;
        gates.iter().all(says)
    };
    assert!(is_up(1.0));
    let licenses = [
        gates[0].license(&["--rate-limit", "1000000/1m"]),
        gates[0].license(&["--remaining", "3000"]),
    ];
    let cold = gates[0].license(&[]);
    let mut loads = Vec::new();
    for (gate, license) in gates
        .iter()
        .flat_map(|gate| licenses.iter().map(move |it| (gate, it)))
    {
        assert_eventually!(status(gate, license) == 200);
        let key = license.key.clone();
        let load = Load::new(gate.addr(), 3, move |_, _| {
            Request::get("/delay/10").key(&key)
        });
        loads.push(load.pause_after_refusal(Duration::from_millis(20)).start());
    }
    Fleet::more(&loads, 50);
    sentinel.initial_master().kill();
    let elected = sentinel.initial_replica().addr().port();
    assert_eventually!(sentinel.master_port() == Some(elected));
    assert_eventually!(is_up(1.0));
    for gate in &gates {
        assert_eq!(status(gate, &cold), 200);
    }
    Fleet::more(&loads, 50);
    let mut seen = Vec::new();
    for (number, load) in loads.into_iter().enumerate() {
        let list = load.stop();
        // Only the limited license comes to its end, or waits too long for its lease on a machine with much else to do.
        let good = |status: u16| status == 200 || (number % 2 == 1 && matches!(status, 402 | 503));
        let odd = list.iter().find(|call| !call.status.is_some_and(good));
        assert_eq!(odd, None);
        seen.extend(list);
    }
    let slowest = seen.iter().map(|call| call.took).max().unwrap_or_default();
    assert!(slowest < BOUND, "a call took {slowest:?}");
    fleet::assert_clean(&mut gates, &upstream, &seen, &[(&licenses[1].id, UNITS)]);
}

#[test]
fn a_gate_that_stood_still_takes_that_for_no_failure_of_its_store_or_of_redis() {
    const PAUSES: usize = 6;
    /// Longer than a statement may take, the answer's way included.
    const LONG: Duration = Duration::from_millis(2_900);
    let mut fleet = Fleet::start(1);
    let license = fleet.license(&[]);
    // At most moments a statement is under way.
    fleet.to_store.delay(Duration::from_millis(150));
    let loads = fleet.load(2, std::slice::from_ref(&license));
    for _ in 0..PAUSES {
        Fleet::more(&loads, 20);
        fleet.gates[0].pause();
        // The length of the pause is what this is about.
        std::thread::sleep(LONG);
        fleet.gates[0].resume();
        Fleet::more(&loads, 20);
    }
    fleet.to_store.heal();
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    assert_eq!(seen.iter().find(|call| call.status != Some(200)), None);
    let log = fleet.gates[0].log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("out of reach"))
        .collect();
    assert_eq!(lines, Vec::<&str>::new());
    fleet.assert_clean(&seen, &[]);
}
