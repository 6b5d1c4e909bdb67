//! Three gates that act as one while they, their Redis and their network come and go.

#[path = "support/fleet.rs"]
mod fleet;

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use fleet::{Fleet, config, status};
use testkit::eventually::{patience, wait_for};
use testkit::{
    FaultProxy, Gateway, License, Load, Postgres, Redis, Request, Upstream, assert_eventually,
    binary,
};

/// Calls of a license that took a unit, by the rollups, and of those the ones whose end nobody knows. Refusals took none.
fn spent(gate: &Gateway, license: &License) -> (u64, u64) {
    let by = ["usage", "--license", &license.id, "--by", "outcome"];
    let rows = gate.cli().json(&by);
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

#[test]
fn gates_and_redis_that_die_at_random_never_let_more_calls_pass_than_units_remain() {
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
        let die = random.hash_one(round);
        dice.push(die % 6);
        match die % 6 {
            at @ 0..3 => {
                let gate = &mut fleet.gates[at as usize];
                gate.kill9();
                gate.restart();
            }
            3 => {
                fleet.redis.kill();
                fleet.redis.restart();
            }
            4 => {
                fleet.redis.hang();
                std::thread::sleep(Duration::from_millis(die % 300));
                fleet.redis.resume();
            }
            _ => {
                let gate = &mut fleet.gates[(die / 6 % 3) as usize];
                gate.kill9();
                fleet.redis.kill();
                gate.restart();
                fleet.redis.restart();
            }
        }
        // As long as something is left, something goes on.
        let goes_on = || {
            let more = fleet.upstream.served_count() > served + 20;
            (more || spent(&fleet.gates[0], &license).0 == UNITS).then_some(())
        };
        assert!(
            wait_for(patience(), goes_on).is_some(),
            "{:?} of {UNITS} after {dice:?}",
            spent(&fleet.gates[0], &license)
        );
    }
    // Units that a gate had leased when it was killed come back with its journal.
    let all = || (spent(&fleet.gates[0], &license).0 == UNITS).then_some(());
    assert!(
        wait_for(Duration::from_secs(30), all).is_some(),
        "{:?} of {UNITS} after {dice:?}",
        spent(&fleet.gates[0], &license)
    );
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    let (_, unknown) = spent(&fleet.gates[0], &license);
    let served = fleet.upstream.served_count() as u64;
    assert!(served <= UNITS, "{served} served after {dice:?}");
    assert!(
        served + unknown >= UNITS,
        "{served} and {unknown} after {dice:?}"
    );
    let odd = |call: &&testkit::Seen| matches!(call.status, Some(401 | 403));
    assert_eq!(seen.iter().find(odd), None, "a good key was refused");
    let verify = fleet.gates[0].verify();
    assert_eq!(
        (&verify["lost"], &verify["duplicated"]),
        (&0.into(), &0.into()),
        "{verify} after {dice:?}"
    );
}

#[test]
fn gates_that_are_restarted_one_by_one_under_load_fail_no_call_and_lose_no_record() {
    let mut fleet = Fleet::start(3);
    let license = fleet.license(&[]);
    let before = fleet.upstream.served_count();
    let loads = fleet.load(8, std::slice::from_ref(&license));
    for at in 0..fleet.gates.len() {
        let answered: Vec<_> = loads.iter().map(|load| load.answered()).collect();
        let gate = &mut fleet.gates[at];
        assert!(gate.stop().success());
        gate.restart();
        assert_eventually!(
            loads
                .iter()
                .zip(&answered)
                .all(|(load, before)| load.answered() > before + 50)
        );
    }
    let seen: Vec<_> = loads.into_iter().flat_map(|load| load.stop()).collect();
    let passed = seen.iter().filter(|call| call.complete).count();
    // A connection may close just as its next call is sent: such a call was not taken, and is sent again elsewhere.
    let odd = |call: &&testkit::Seen| call.status.is_some_and(|status| status != 200);
    assert_eq!(seen.iter().find(odd), None);
    assert_eq!(fleet.upstream.served_count() - before, passed);
    let verify = fleet.gates[0].verify();
    assert_eq!(
        (&verify["lost"], &verify["duplicated"], &verify["pending"]),
        (&0.into(), &0.into(), &0.into()),
        "{verify}"
    );
    let total = fleet.upstream.served_count() as u64;
    assert_eventually!(spent(&fleet.gates[1], &license).0 == total);
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
        assert_eventually!(south.metric("tallygate_redis_up", &[]) == 0.0);
        assert_eventually!(south.metric("tallygate_store_up", &[]) == 0.0);
        assert_eventually!(status(&south, &license) == 503);
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
