//! A fleet whose sealed files lie on an object store.

use crate::support::fleet::config;
use testkit::client::Request;
use testkit::{Gateway, ObjectServer, Postgres, Redis, Upstream, assert_eventually, binary};

/// Two gates on one PostgreSQL, one Redis and one object store, in front of one upstream.
struct Pair {
    gates: [Gateway; 2],
    objects: ObjectServer,
    _servers: (Postgres, Redis, Upstream),
}

impl Pair {
    fn start() -> Self {
        let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
        let (store, objects) = (server.database(), ObjectServer::start());
        let gates = ["north", "south"].map(|node| {
            let table = format!("[ledger]\nobjects = \"{}\"", objects.url("ledger"));
            let config = config(&upstream.url(), &store, &redis.url(), node).table(&table);
            let mut gate = Gateway::prepare(binary!(), config);
            for (name, value) in objects.environment() {
                gate.env(&name, &value);
            }
            gate.restart();
            gate
        });
        Self {
            gates,
            objects,
            _servers: (server, redis, upstream),
        }
    }
}

#[test]
fn every_gate_reads_what_another_one_sealed_to_an_object_store() {
    let Pair {
        gates: [mut north, mut south],
        objects,
        _servers,
    } = Pair::start();
    let license = north.license(&[]);
    for _ in 0..20 {
        assert_eq!(north.call(&Request::get("/").key(&license.key)).status, 200);
    }
    // A clean end seals everything.
    assert!(north.stop().success());
    assert!(
        objects.listing().contains("ledger/"),
        "{}",
        objects.listing()
    );
    assert_eq!(south.calls(&["--license", &license.id]).len(), 20);
    let books = south.verify();
    assert_eq!(books["lost"], 0, "{books}");
    assert_eq!(books["duplicated"], 0, "{books}");

    // Calls do not wait for it, and what could not be sealed is sealed later.
    objects.hang();
    for _ in 0..20 {
        assert_eq!(south.call(&Request::get("/").key(&license.key)).status, 200);
    }
    south.kill9();
    objects.resume();
    south.restart();
    assert!(south.stop().success());
    north.restart();
    assert_eventually!(north.calls(&["--license", &license.id]).len() == 40);
    let books = north.verify();
    assert_eq!(books["lost"], 0, "{books}");
    assert_eq!(books["duplicated"], 0, "{books}");
}

#[test]
fn a_bucket_that_is_not_there_is_refused_at_the_start_by_name() {
    let (server, redis, upstream) = (Postgres::start(), Redis::start(), Upstream::start());
    let objects = ObjectServer::start();
    let table = "[ledger]\nobjects = \"s3://nobodys-bucket/ledger\"";
    let config = config(&upstream.url(), &server.database(), &redis.url(), "north").table(table);
    let mut gate = Gateway::prepare(binary!(), config);
    for (name, value) in objects.environment() {
        gate.env(&name, &value);
    }
    gate.launch();
    let status = gate.wait(testkit::eventually::test_timeout());
    assert_eq!(status.code(), Some(78), "{}", gate.log());
    assert!(gate.log().contains("nobodys-bucket"), "{}", gate.log());
}
