//! Gates that share a Redis beside their store: what it speeds up, and that nothing is lost with it.

use std::time::{Duration, Instant};

use crate::support::fleet::{Fleet, config, status};
use testkit::eventually::test_timeout;
use testkit::{
    Config, Gateway, License, Load, Postgres, Redis, RedisCluster, RedisVersionStub, Request,
    Upstream, assert_eventually, binary,
};

/// Longer than a call may wait for Redis and the store.
const BOUND: Duration = Duration::from_secs(5);

/// Revokes licenses by the first gate until all others refuse one within `bound`, and returns how long all took.
///
/// A machine that stands still for a while proves nothing: one of a few tries is enough.
fn revoke_within(fleet: &Fleet, bound: Duration) {
    let mut took = Vec::new();
    for _ in 0..6 {
        let license = fleet.license(&[]);
        let _revoked = fleet.gates[0]
            .cli()
            .json(&["license", "revoke", &license.id]);
        let begun = Instant::now();
        assert_eq!(
            status(&fleet.gates[0], &license),
            403,
            "at once on the gate that made it"
        );
        for gate in &fleet.gates {
            assert_eventually!(status(gate, &license) == 403);
        }
        took.push(begun.elapsed());
        if begun.elapsed() <= bound {
            return;
        }
    }
    panic!("never within {bound:?}: {took:?}");
}

#[test]
fn a_revocation_is_pushed_to_all_gates_and_read_by_them_where_the_push_is_lost() {
    let fleet = Fleet::start(3);
    revoke_within(&fleet, Duration::from_millis(100));
    for gate in &fleet.gates[1..] {
        assert_eventually!(gate.metric("tallygate_revocation_seconds_count", &[]) >= 1.0);
    }
    // Redis answers, but nobody may publish.
    let without_push = ["ACL", "SETUSER", "default", "-publish"];
    assert_eq!(fleet.redis.ask(&without_push), "OK");
    revoke_within(&fleet, Duration::from_secs(2));
    assert!(fleet.redis_is(true));
    fleet.redis.kill();
    assert_eventually!(fleet.redis_is(false));
    revoke_within(&fleet, Duration::from_secs(2));
}

#[test]
fn a_redis_that_dies_hangs_or_forgets_costs_no_call() {
    const UNITS: u64 = 2_000;
    let mut fleet = Fleet::start(2);
    let warm = vec![
        fleet.license(&[]),
        fleet.license(&["--rate-limit", "1000000/1m"]),
    ];
    let limited = fleet.license(&["--remaining", "2000"]);
    let mut cold = fleet.cold_licenses(30).into_iter();
    let mut loads = fleet.load(4, &warm);
    for gate in &fleet.gates {
        let key = limited.key.clone();
        let load = Load::new(gate.addr(), 2, move |_, _| {
            Request::get("/delay/10").key(&key)
        });
        loads.push(load.pause_after_refusal(Duration::from_millis(10)).start());
    }
    let more = |calls| Fleet::more(&loads[..2], calls);
    // Keys that no gate has in memory are good ones, too.
    let mut look_up = || {
        for license in cold.by_ref().take(5) {
            for gate in &fleet.gates {
                assert_eq!(status(gate, &license), 200);
            }
        }
        more(100);
        assert!(fleet.gates.iter().all(Gateway::is_ready));
    };
    look_up();
    fleet.redis.kill();
    assert_eventually!(fleet.redis_is(false));
    look_up();
    fleet.redis.restart();
    assert_eventually!(fleet.redis_is(true));
    look_up();
    fleet.redis.hang();
    assert_eventually!(fleet.redis_is(false));
    look_up();
    fleet.redis.resume();
    assert_eventually!(fleet.redis_is(true));
    fleet.redis.flush();
    look_up();
    assert!(fleet.redis_is(true));
    // What was counted in Redis alone would be counted anew by now.
    let left = || fleet.gates[0].cli().json(&["license", "show", &limited.id])["remaining"].clone();
    assert_eventually!(left() == 0);
    Fleet::more(&loads, 20);
    let mut seen = Vec::new();
    for (number, load) in loads.into_iter().enumerate() {
        let list = load.stop();
        // On a machine with much else to do a call may wait too long for its lease.
        let good = |status: u16| status == 200 || (number >= 2 && matches!(status, 402 | 503));
        let odd = list.iter().find(|call| !call.status.is_some_and(good));
        assert_eq!(odd, None);
        seen.extend(list);
    }
    let slowest = seen.iter().map(|call| call.took).max().unwrap_or_default();
    assert!(slowest < BOUND, "a call took {slowest:?}");
    fleet.assert_clean(&seen, &[(&limited.id, UNITS)]);
}

#[test]
fn a_warm_call_makes_no_round_trip_and_a_cold_key_one() {
    let fleet = Fleet::start(3);
    let license = &fleet.cold_licenses(1)[0];
    // The gate that issued it shares it only when it has read its own change back.
    let [_, north, south] = &fleet.gates[..] else {
        panic!("three gates were asked for");
    };
    assert_eq!(status(north, license), 200);
    assert_eventually!(fleet.redis.ask(&["DBSIZE"]) != "0");
    let snapshot = || fleet.redis.ask(&["KEYS", "tg:*:snapshot"]).lines().count();
    assert_eventually!(snapshot() >= 2, "what the gate read is shared");
    let looked_up = |tier: &str, result: &str| {
        let labels = [format!("tier=\"{tier}\""), format!("result=\"{result}\"")];
        south.metric("tallygate_license_lookups_total", &[&labels[0], &labels[1]])
    };
    let (hits, stored) = (looked_up("redis", "hit"), looked_up("store", "hit"));
    let before = fleet.redis.total_commands();
    assert_eq!(status(south, license), 200);
    assert_eq!(fleet.redis.total_commands() - before, 1, "one round trip");
    assert_eq!(looked_up("redis", "hit") - hits, 1.0);
    assert_eq!(looked_up("store", "hit") - stored, 0.0);
    let before = fleet.redis.total_commands();
    for _ in 0..200 {
        assert_eq!(status(north, license), 200);
        assert_eq!(status(south, license), 200);
    }
    assert_eq!(
        fleet.redis.total_commands() - before,
        0,
        "nothing for a warm call"
    );
}

#[test]
fn a_redis_that_only_the_operator_can_mend_is_refused_at_start() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let store = server.database();
    let locked = Redis::start_with(&["--requirepass secret"]);
    let evicting = Redis::start_with(&["--maxmemory-policy allkeys-lru"]);
    let cluster = RedisCluster::start();
    let (old, ancient) = (
        RedisVersionStub::start("6.0.16"),
        RedisVersionStub::start("5.0.14"),
    );
    let wrong = locked.url().replace(":secret@", ":hunter2@");
    for (redis, what) in [
        ("http://:hunter2@127.0.0.1".to_owned(), "url: "),
        (
            "redis://:hunter2@127.0.0.1/none".to_owned(),
            "url: this is not the URL of a Redis: write",
        ),
        (wrong, "refuses the user or the password"),
        (
            format!("redis://{}", locked.addr()),
            "refuses the user or the password",
        ),
        (format!("{}/99", locked.url()), "it has no such database"),
        (evicting.url(), "`maxmemory-policy allkeys-lru`"),
        (old.url(), "6.0.16"),
        (ancient.url(), "before 6.0"),
        (format!("{}/1", cluster.urls()[0]), "[redis] url: "),
    ] {
        let config = config(&upstream.url(), &store, &redis, "north");
        let mut gateway = Gateway::prepare(binary!(), config);
        gateway.launch();
        assert_eq!(gateway.wait(test_timeout()).code(), Some(78), "{what}");
        let log = gateway.log();
        assert!(log.contains(what), "{what}: {log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
    // A server that is not there yet is no reason to wait for it.
    locked.kill();
    let config = config(&upstream.url(), &store, &locked.url(), "north");
    let gateway = Gateway::start(binary!(), config);
    assert_eq!(gateway.metric("tallygate_redis_up", &[]), 0.0);
    let license = gateway.license(&[]);
    assert_eq!(status(&gateway, &license), 200);
    locked.restart();
    assert_eventually!(gateway.metric("tallygate_redis_up", &[]) == 1.0);
}

/// How many calls of a license a gate lets pass until it refuses one.
fn used_up(gate: &Gateway, license: &License) -> u32 {
    let mut passed = 0;
    loop {
        match status(gate, license) {
            200 => passed += 1,
            429 => return passed,
            odd => panic!("{odd} after {passed} calls"),
        }
    }
}

#[test]
fn a_short_window_holds_over_all_gates_and_on_each_while_redis_is_away() {
    const LIMIT: u32 = 300;
    let fleet = Fleet::start(2);
    let limited = ["--rate-limit", "300/59m"];
    // The calls that each gate let pass while it learned of the license.
    let license = fleet.license(&limited);
    let known = fleet.gates.len() as u32;
    let before = fleet.redis.total_commands();
    let first = used_up(&fleet.gates[0], &license);
    assert!(first + known >= LIMIT && first < LIMIT, "{first}");
    let work = fleet.redis.total_commands() - before;
    assert!(
        work < u64::from(LIMIT) / 3,
        "{work} commands for {first} calls"
    );
    // What the other lets pass before it learns of that is far less than a limit of its own.
    let mut over = 0;
    assert_eventually!({
        let passed = status(&fleet.gates[1], &license) == 200;
        over += u32::from(passed);
        !passed
    });
    assert!(over < LIMIT - 1, "{over} beyond the limit");
    fleet.redis.kill();
    assert_eventually!(fleet.redis_is(false));
    let license = fleet.license(&limited);
    for gate in &fleet.gates {
        assert_eq!(used_up(gate, &license) + 1, LIMIT);
    }
}

#[test]
fn the_rights_that_the_documentation_names_are_enough() {
    let page = include_str!("../../docs/redis.md");
    let line = page
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("ACL SETUSER tallygate "))
        .expect("docs/redis.md names the rights");
    let words: Vec<_> = line.split(' ').collect();
    let at = |word: &str| words.iter().position(|other| *other == word);
    // Before Redis 7 a channel can be added only after those of a new user are taken away.
    assert!(at("resetchannels").expect("taken away") < at("&tg:*").expect("given"));
    let (redis, upstream) = (Redis::start(), Upstream::start());
    assert_eq!(redis.ask(&words), "OK");
    let url = redis
        .url()
        .replace("redis://", "redis://tallygate:PASSWORD@");
    let config = Config::new(&upstream.url()).table(&format!("[redis]\nurl = \"{url}\""));
    let gateway = Gateway::start(binary!(), config);
    assert_eventually!(gateway.metric("tallygate_redis_up", &[]) >= 1.0);
    // Each way that the gate uses Redis: a cached license, a push, a short window.
    let license = gateway.license(&["--rate-limit", "2/1m"]);
    for status in [200, 200, 429] {
        let answer = gateway.call(&Request::get("/").key(&license.key));
        assert_eq!(answer.status, status);
    }
    assert_eq!(redis.ask(&["ACL", "LOG"]), "", "a right is missing");
    assert!(gateway.metric("tallygate_redis_up", &[]) >= 1.0);
}
