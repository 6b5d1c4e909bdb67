//! Gates on PostgreSQL: one that outlives its store's restarts, two that share a license, and what is refused at start.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use testkit::client::Request;
use testkit::eventually::test_timeout;
use testkit::{
    Config, Gateway, License, Load, Postgres, Site, Upstream, assert_eventually, binary,
};

fn config(upstream: &str, store: &str, node: &str) -> Config {
    Config::new(upstream)
        .server(&format!("node = \"{node}\""))
        .table(&format!("[store]\nurl = \"{store}\""))
}

fn status(gateway: &Gateway, license: &License) -> u16 {
    gateway.call(&Request::get("/").key(&license.key)).status
}

/// Calls of a license by the rollups.
fn usage(gateway: &Gateway, license: &License) -> u64 {
    let rows = gateway.cli().json(&["usage", "--license", &license.id]);
    let calls = |row: &serde_json::Value| row["calls"].as_u64().expect("a number");
    rows.as_array().expect("rows").iter().map(calls).sum()
}

#[test]
fn a_store_that_restarts_under_load_loses_no_record_and_refuses_no_known_key() {
    let server = Postgres::start();
    let store = server.database();
    let site = Site::with(binary!(), |upstream| config(upstream, &store, "north"));
    let license = site.gateway.license(&[]);
    assert_eq!(status(&site.gateway, &license), 200);
    let key = license.key.clone();
    let load = Load::new(site.gateway.addr(), 8, move |_, _| {
        Request::get("/").key(&key)
    })
    .start();
    for suddenly in [true, false] {
        let before = load.answered();
        assert_eventually!(load.answered() > before + 200);
        if suddenly {
            server.kill9();
        } else {
            server.stop();
        }
        // Known licenses pass while their store is away.
        let down = load.answered();
        assert_eventually!(load.answered() > down + 200);
        server.restart();
    }
    let after = load.answered();
    assert_eventually!(load.answered() > after + 200);
    // Calls do not need the store, a verification does.
    let shows = || site.gateway.cli().run(&["license", "show", &license.id]);
    assert_eventually!(shows().code == 0);
    let seen = load.stop();
    assert!(
        seen.iter().all(|call| call.status == Some(200)),
        "a good key was refused"
    );
    site.assert_clean(&seen, &[]);
    let total = seen.len() as u64 + 1;
    assert_eventually!(usage(&site.gateway, &license) == total);
    let verify = site.gateway.verify();
    assert_eq!(
        (&verify["lost"], &verify["duplicated"]),
        (&0.into(), &0.into()),
        "{verify}"
    );
}

/// Two gates on one store in front of one upstream.
struct Pair {
    upstream: Upstream,
    north: Gateway,
    south: Gateway,
    server: Postgres,
}

impl Pair {
    fn start() -> Self {
        let server = Postgres::start();
        let (store, upstream) = (server.database(), Upstream::start());
        let gate = |node| Gateway::prepare(binary!(), config(&upstream.url(), &store, node));
        let (mut north, mut south) = (gate("north"), gate("south"));
        // At once, so that both make the schema.
        north.launch();
        south.launch();
        north.wait_until_ready();
        south.wait_until_ready();
        Self {
            upstream,
            north,
            south,
            server,
        }
    }
}

#[test]
fn two_gates_let_exactly_as_many_calls_of_a_license_pass_as_units_remain() {
    let pair = Pair::start();
    let license = pair.north.license(&["--remaining", "200"]);
    // The other gate hears of a new license when it reads the changes. The first of the two hundred.
    assert_eventually!(status(&pair.south, &license) == 200);
    let load = |gateway: &Gateway| {
        let key = license.key.clone();
        Load::new(gateway.addr(), 16, move |_, _| Request::get("/").key(&key))
    };
    let loads = [load(&pair.north).start(), load(&pair.south).start()];
    // Both go on until neither has a unit left.
    assert_eventually!(pair.upstream.served_count() == 200);
    for load in &loads {
        let before = load.answered();
        assert_eventually!(load.answered() > before + 100);
    }
    let mut passed = 1;
    for load in loads {
        let seen = load.stop();
        passed += seen.iter().filter(|call| call.status == Some(200)).count();
        // 503 for as long as the store does not know yet that the other gate spent what it leased.
        let odd = |call: &&testkit::ObservedCall| match call.status {
            Some(200 | 402) => false,
            _ => call.refusal.as_deref() != Some("quota_unavailable"),
        };
        assert_eq!(seen.iter().find(odd), None, "served, or nothing is left");
    }
    assert_eq!((passed, pair.upstream.served_count()), (200, 200));
    let ids: HashSet<_> = pair
        .upstream
        .served()
        .into_iter()
        .map(|call| call.call_id)
        .collect();
    assert_eq!(ids.len(), 200);
    let sum = || usage(&pair.north, &license);
    // Refusals are records too: only what was served counts here.
    assert_eventually!(sum() >= 200);
    let remaining = |gateway: &Gateway| {
        gateway.cli().json(&["license", "show", &license.id])["remaining"].as_u64()
    };
    assert_eventually!(remaining(&pair.north) == Some(0) && remaining(&pair.south) == Some(0));
}

#[test]
fn a_revocation_by_one_gate_is_in_force_on_the_other_within_its_bound() {
    let pair = Pair::start();
    let mut took = Vec::new();
    // A machine that stands still for a while proves nothing: one of a few tries is enough.
    for _ in 0..5 {
        let license = pair.north.license(&[]);
        assert_eventually!(status(&pair.south, &license) == 200);
        let _revoked = pair.north.cli().json(&["license", "revoke", &license.id]);
        assert_eq!(
            status(&pair.north, &license),
            403,
            "at once on the gate that made it"
        );
        let begun = Instant::now();
        assert_eventually!(status(&pair.south, &license) == 403);
        took.push(begun.elapsed());
        if took.iter().any(|time| *time <= Duration::from_secs(2)) {
            return;
        }
    }
    panic!("never within two seconds: {took:?}");
}

#[test]
fn a_node_name_that_is_taken_and_stores_that_are_wrong_are_refused_at_start() {
    let mut pair = Pair::start();
    let store = pair.server.url("test_0");
    let upstream = pair.upstream.url();
    for (node, store, what) in [
        ("north", store.clone(), "another gate runs as node `north`"),
        (
            "east",
            store.replace(":secret@", ":hunter2@"),
            "the password of user `tallygate` is wrong",
        ),
        (
            "east",
            pair.server.url("nowhere"),
            "there is no such database",
        ),
        ("east", format!("{store}?sslmode=maybe"), "sslmode"),
    ] {
        let mut gateway = Gateway::prepare(binary!(), config(&upstream, &store, node));
        gateway.launch();
        assert_eq!(gateway.wait(test_timeout()).code(), Some(78), "{what}");
        let log = gateway.log();
        assert!(log.contains(what), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
    // The name is free as soon as its gate is gone, however it went.
    pair.north.kill9();
    pair.north.restart();
    assert_eq!(pair.north.verify()["lost"], 0);
}

#[test]
fn a_store_that_is_none_of_ours_is_refused_at_start_by_what_is_wrong_with_it() {
    let (server, upstream) = (Postgres::start(), Upstream::start());
    let made = |sql: &str| {
        let url = server.database();
        let name = url.rsplit('/').next().expect("a name");
        let _done = server.psql(name, sql);
        url
    };
    let newer = made(
        "CREATE TABLE tallygate_schema (version integer NOT NULL, since timestamptz NOT NULL DEFAULT now());
        INSERT INTO tallygate_schema VALUES (99)",
    );
    let foreign = made("CREATE TABLE credentials (mine text)");
    let refused = |store: &str, code: i32, what: &str| {
        let mut gateway = Gateway::prepare(binary!(), config(&upstream.url(), store, "north"));
        gateway.launch();
        assert_eq!(gateway.wait(test_timeout()).code(), Some(code), "{what}");
        let log = gateway.log();
        assert!(log.contains(what), "{what}: {log}");
        assert!(!log.contains("hunter2"), "{log}");
    };
    // Says that it is another version, by a function that hides the server's own.
    let old = |number: u32, text: &str| {
        let made = made(&format!(
            "CREATE SCHEMA old; CREATE FUNCTION old.current_setting(wanted text) RETURNS text LANGUAGE sql AS $$
               SELECT CASE wanted WHEN 'server_version_num' THEN '{number}' WHEN 'server_version' THEN '{text}'
                 ELSE pg_catalog.current_setting(wanted) END $$"
        ));
        format!("{made}?options=-csearch_path%3Dold,pg_catalog,public")
    };
    refused(
        &old(140_013, "14.13"),
        78,
        "is version 14.13: PostgreSQL 15 or newer is needed",
    );
    refused(&newer, 78, "use a newer tallygate");
    refused(&foreign, 78, "holds tables of another program");
    refused(
        "mysql://gate:hunter2@127.0.0.1/tallygate",
        78,
        "postgres://",
    );
    // One that is not there may come by itself: whoever restarts the gate tries again.
    server.kill9();
    refused(&newer, 1, "the store cannot be reached");
}

#[test]
fn a_gate_reads_the_calls_that_another_sealed_and_verifies_them() {
    let mut pair = Pair::start();
    let license = pair.north.license(&[]);
    for _ in 0..20 {
        assert_eq!(status(&pair.north, &license), 200);
    }
    assert_eventually!(status(&pair.south, &license) == 200);
    // An orderly end seals everything; the folder that the files were written to goes with its machine.
    assert!(pair.north.stop().success());
    std::fs::remove_dir_all(pair.north.data_dir()).expect("removed");
    let of_license = ["--license", license.id.as_str()];
    let read = pair.south.calls(&of_license);
    let served = read.iter().filter(|call| call["status"] == 200).count();
    assert_eq!(served, 21, "{read:#?}");
    let nodes: HashSet<_> = read
        .iter()
        .map(|call| call["node"].as_str().expect("a node"))
        .collect();
    assert_eq!(nodes, HashSet::from(["north", "south"]));
    let verify = pair.south.verify();
    assert_eq!(
        (&verify["lost"], &verify["duplicated"]),
        (&0.into(), &0.into()),
        "{verify}"
    );
    assert_eq!(verify["accepted"], verify["stored"], "{verify}");
    assert_eventually!(usage(&pair.south, &license) == read.len() as u64);
}

#[test]
fn a_store_restored_from_a_backup_hands_out_no_unit_a_second_time() {
    let server = Postgres::start();
    let store = server.database();
    let mut site = Site::with(binary!(), |upstream| config(upstream, &store, "north"));
    let known = site.gateway.license(&["--remaining", "100"]);
    // Of this one the backup has no balance yet.
    let fresh = site.gateway.license(&["--remaining", "100"]);
    let call = |site: &Site, license: &License, times: u64| {
        let passed = (0..times).filter(|_| status(&site.gateway, license) == 200);
        passed.count() as u64
    };
    assert_eq!(call(&site, &known, 10), 10);
    assert_eventually!(usage(&site.gateway, &known) == 10);
    let backup = server.dump("test_0");

    assert_eq!(call(&site, &known, 60), 60);
    assert_eq!(call(&site, &fresh, 30), 30);
    assert_eventually!(usage(&site.gateway, &fresh) == 30);
    site.gateway.kill9();
    assert_eventually!(
        server.psql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'test_0'"
        ) == "0"
    );
    server.restore("test_0", &backup);
    site.gateway.restart();
    assert!(site.gateway.log().contains("restored from a backup"));
    assert_eq!(call(&site, &known, 100), 30);
    assert_eq!(call(&site, &fresh, 100), 70);
    site.assert_clean(&[], &[(&known.id, 100), (&fresh.id, 100)]);

    // Were it not so, a verification would tell.
    let sql = "UPDATE balances SET settled = settled - 7 WHERE license = ";
    let _changed = server.psql(
        "test_0",
        &format!("{sql} '{}'", known.id.trim_start_matches("lic_")),
    );
    let verify = site.gateway.verify();
    let problems = verify["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 1, "{verify}");
    assert_eq!(problems[0]["fault"], "balance_wrong", "{verify}");
    let detail = problems[0]["detail"].as_str().expect("a text");
    assert!(detail.contains(&known.id), "{detail}");
}
