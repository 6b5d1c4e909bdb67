//! Three gates that act as one while they, their Redis and their network come and go.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::support::fleet::{Fleet, config, status};
use testkit::eventually::{test_timeout, wait_for};
use testkit::{
    Balancer, FaultProxy, Gateway, License, Load, Postgres, Redis, Request, Upstream,
    assert_eventually, binary,
};

/// Calls of a license that took a unit, by the rollups, and of those the ones whose end nobody knows. Refusals took none.
/// Nothing is known of them while the store is away.
fn spent(gate: &Gateway, license: &License) -> (u64, u64) {
    let by = [
        "usage",
        "--license",
        &license.id,
        "--by",
        "outcome",
        "--json",
    ];
    let told = gate.cli().run(&by).stdout;
    let rows = serde_json::from_str(&told).unwrap_or_else(|_| serde_json::json!([]));
    let calls = |outcome: &str| {
        let rows = rows.as_array().expect("rows").iter();
        let found = rows.filter(|row| row["outcome"] == outcome);
        found
            .map(|row| row["calls"].as_u64().expect("a number"))
            .sum::<u64>()
    };
    let unknown = calls("unknown");
    let known = calls("delivered") + calls("interrupted") + calls("client_gone");
    (known + unknown, unknown)
}

/// Something that goes wrong with a part of a fleet, and is over when this returns.
fn break_something(fleet: &mut Fleet, die: u64) {
    let at = (die / 10 % 3) as usize;
    let length = Duration::from_millis(300 + die / 30 % 2_000);
    match die % 10 {
        0..3 => {
            fleet.gates[at].kill9();
            fleet.gates[at].restart();
        }
        3 => {
            fleet.redis.kill();
            fleet.redis.restart();
        }
        4 => {
            fleet.redis.hang();
            std::thread::sleep(length / 8);
            fleet.redis.resume();
        }
        5 => {
            fleet.gates[at].kill9();
            fleet.redis.kill();
            fleet.gates[at].restart();
            fleet.redis.restart();
        }
        6 => {
            fleet.server.kill9();
            std::thread::sleep(length);
            fleet.server.restart();
        }
        7 => {
            fleet.server.pause();
            std::thread::sleep(length);
            fleet.server.resume();
        }
        8 => {
            fleet.gates[at].pause();
            std::thread::sleep(length);
            fleet.gates[at].resume();
        }
        _ => {
            fleet.to_store.delay(length / 20);
            std::thread::sleep(length);
            fleet.to_store.cut();
            std::thread::sleep(length / 4);
            fleet.to_store.heal();
        }
    }
}

#[test]
fn gates_redis_and_store_that_fail_at_random_never_let_more_calls_pass_than_units_remain() {
    const UNITS: u64 = 1_000;
    let mut fleet = Fleet::start(3);
    let license = fleet.license(&["--remaining", "1000"]);
    let load = |gate: &Gateway| {
        let key = license.key.clone();
        let request = move |_, _| Request::get("/delay/400").key(&key);
        let load = Load::new(gate.addr(), 64, request);
        load.pause_after_refusal(Duration::from_millis(20)).start()
    };
    let loads: Vec<_> = fleet.gates.iter().map(load).collect();
    let random = RandomState::new();
    let mut dice: Vec<u64> = Vec::new();
    for round in 0..9_u64 {
        let served = fleet.upstream.served_count();
        let die = random.hash_one(round) % 60_000;
        dice.push(die);
        break_something(&mut fleet, die);
        // As long as something is left, something goes on.
        let goes_on = || {
            let more = fleet.upstream.served_count() > served + 20;
            (more || spent(&fleet.gates[0], &license).0 == UNITS).then_some(())
        };
        assert!(
            wait_for(test_timeout(), goes_on).is_some(),
            "{:?} of {UNITS} after {dice:?}",
            spent(&fleet.gates[0], &license)
        );
    }
    // Units that a gate had leased when it was killed come back with its journal, and those that it was leased without
    // hearing of it, or gave back without being heard, when it asks again.
    let all = || (spent(&fleet.gates[0], &license).0 == UNITS).then_some(());
    assert!(
        wait_for(Duration::from_secs(30), all).is_some(),
        "{:?} of {UNITS} after {dice:?}",
        spent(&fleet.gates[0], &license)
    );
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    let odd = |call: &&testkit::ObservedCall| matches!(call.status, Some(401 | 403));
    assert_eq!(seen.iter().find(odd), None, "a good key was refused");
    eprintln!("{dice:?}");
    fleet.assert_clean(&seen, &[(&license.id, UNITS)]);
    // Each unit is one call that was served, or one of which nobody knows whether it was, and it was not.
    let served = fleet.upstream.served();
    let ids: HashSet<_> = served
        .iter()
        .filter_map(|call| call.call_id.as_deref())
        .collect();
    let calls = fleet.gates[0].calls(&[]);
    let unserved = |call: &&serde_json::Value| {
        call["outcome"] == "unknown" && !ids.contains(call["call_id"].as_str().unwrap_or(""))
    };
    let unserved = calls.iter().filter(unserved).count();
    assert_eq!((served.len() + unserved) as u64, UNITS, "after {dice:?}");
}

#[test]
fn gates_that_are_restarted_one_by_one_under_load_fail_no_call_and_lose_no_record() {
    let mut fleet = Fleet::start(3);
    let free = fleet.license(&[]);
    let limited = fleet.license(&["--remaining", "1000000", "--rate-limit", "1000000/1h"]);
    let before = fleet.upstream.served_count();
    let balancer = Balancer::before(&fleet.gates);
    let keys = [free.key.clone(), limited.key.clone()];
    let request = move |worker: usize, _| Request::get("/").key(&keys[worker % 2]);
    let loads = [Load::new(balancer.addr(), 16, request).start()];
    for at in 0..fleet.gates.len() {
        Fleet::more(&loads, 300);
        let gate = &mut fleet.gates[at];
        assert!(gate.stop().success());
        Fleet::more(&loads, 100);
        fleet.gates[at].restart();
    }
    Fleet::more(&loads, 300);
    let [load] = loads;
    let seen = load.stop();
    let whole = |call: &testkit::ObservedCall| call.status == Some(200) && call.complete;
    assert_eq!(seen.iter().find(|call| !whole(call)), None);
    // What a balancer sent elsewhere was taken by nobody before.
    assert_eq!(
        fleet.upstream.served_count() - before,
        seen.len(),
        "{} were sent twice",
        balancer.resent()
    );
    fleet.assert_clean(&seen, &[(&limited.id, 1_000_000)]);
    let calls = spent(&fleet.gates[0], &free).0 + spent(&fleet.gates[0], &limited).0;
    assert_eq!(calls, fleet.upstream.served_count() as u64);
}

#[test]
fn a_gate_that_its_network_leaves_alone_admits_nobody_on_old_knowledge_beyond_the_grace() {
    let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
    let store = server.database();
    let to_store = FaultProxy::before(server.addr());
    let to_redis = FaultProxy::before(redis.addr());
    let outage = |config: testkit::Config| config.server("threads = 1");
    let north = config(&upstream.url(), &store, &redis.url(), "north");
    let south_store = store.replace(&server.addr().to_string(), &to_store.addr().to_string());
    assert_ne!(south_store, store);
    let south_redis = format!("redis://{}", to_redis.addr());
    let app = testkit::App::new("api", &upstream.url()).table("[app.outage]\ngrace = \"3s\"");
    let south = testkit::Config::default()
        .app(app)
        .server("node = \"south\"")
        .table(&format!("[store]\nurl = \"{south_store}\""))
        .table(&format!("[redis]\nurl = \"{south_redis}\""));
    let north = Gateway::start(binary!(), outage(north));
    let south = Gateway::start(binary!(), outage(south));
    let license = north.license(&[]);
    assert_eventually!(status(&south, &license) == 200);
    for cut in [false, true] {
        let license = north.license(&[]);
        assert_eventually!(status(&south, &license) == 200);
        if cut {
            to_store.cut();
            to_redis.cut();
        } else {
            to_store.silence();
            to_redis.silence();
        }
        let _revoked = north.cli().json(&["license", "revoke", &license.id]);
        let revoked = Instant::now();
        let mut last = revoked;
        assert_eventually!({
            let asked = Instant::now();
            let status = status(&south, &license);
            assert!(matches!(status, 200 | 503), "{status}");
            if status == 200 {
                last = asked;
            }
            status == 503
        });
        // The grace from the last reading, and two seconds.
        let passed = last.duration_since(revoked);
        assert!(passed < Duration::from_secs(3 + 2), "200 after {passed:?}");
        assert_eventually!(south.metric("tallygate_redis_up", &[]) == 0.0);
        assert_eventually!(south.metric("tallygate_store_up", &[]) == 0.0);
        assert_eventually!(!south.is_ready());
        to_store.heal();
        to_redis.heal();
        // Never 200 again: the first answer after the outage knows of the revocation.
        assert_eventually!({
            let status = status(&south, &license);
            assert!(matches!(status, 403 | 503), "{status}");
            status == 403
        });
        assert_eventually!(south.metric("tallygate_redis_up", &[]) == 1.0);
        assert_eventually!(south.is_ready());
    }
}
