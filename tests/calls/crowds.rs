//! More connections than there is room for, and those that take it up without using it.

use std::time::{Duration, Instant};

use testkit::client::{Connection, Request};
use testkit::{App, Config, License, Site, assert_eventually, binary};

fn site(lines: &[&str]) -> Site {
    Site::with(binary!(), |upstream| {
        lines
            .iter()
            .fold(Config::new(upstream), |config, line| config.server(line))
    })
}

fn good(license: &License) -> Request {
    Request::get("/").key(&license.key)
}

/// A connection that has carried a call.
fn used(site: &Site, license: &License) -> Connection {
    let mut connection = site.gateway.connect();
    let answer = connection.call(&good(license)).expect("an answer");
    assert_eq!(answer.status, 200);
    connection
}

#[test]
fn connections_beyond_the_most_are_closed_while_all_have_calls() {
    let site = site(&["max_connections = 3", "threads = 1"]);
    let license = site.gateway.license(&[]);
    let mut busy: Vec<_> = (0..3)
        .map(|_| {
            let mut connection = site.gateway.connect();
            let held = Request::get("/hold").key(&license.key);
            connection.send(&held.bytes()).expect("the gate reads");
            connection
        })
        .collect();
    site.upstream.wait_for_served(3);
    let refused = site.gateway.connect().call(&good(&license));
    assert!(refused.is_err(), "one too many");
    site.upstream.release();
    for connection in &mut busy {
        let answer = connection.read_response("GET").expect("an answer");
        assert_eq!(answer.status, 200, "those there go on");
    }
}

#[test]
fn the_connections_that_were_idle_longest_give_way_to_new_ones() {
    let site = site(&["max_connections = 4", "threads = 2"]);
    let license = site.gateway.license(&[]);
    // Without a call, with one that is refused, with one that is answered.
    let mut silent = site.gateway.connect();
    let mut refused = site.gateway.connect();
    let unknown = Request::get("/").key("no such key");
    assert_eq!(refused.call(&unknown).expect("an answer").status, 401);
    std::thread::sleep(Duration::from_millis(100));
    let mut answered = used(&site, &license);
    std::thread::sleep(Duration::from_millis(100));
    let mut newest = used(&site, &license);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(100));
        drop(used(&site, &license));
    }
    assert!(silent.is_closed_by_peer() || refused.is_closed_by_peer());
    let again = newest.call(&good(&license)).expect("it stays");
    assert_eq!(again.status, 200);
    // However many come, somebody who has a key gets in.
    let crowd: Vec<_> = (0..40).map(|_| site.gateway.connect()).collect();
    assert_eventually!(
        site.gateway
            .connect()
            .call(&good(&license))
            .is_ok_and(|answer| answer.status == 200)
    );
    drop(crowd);
    let _ = answered.is_closed_by_peer();
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let site = site(&["max_connections_per_address = 2"]);
    let license = site.gateway.license(&[]);
    let first = used(&site, &license);
    let mut second = used(&site, &license);
    assert!(site.gateway.connect().call(&good(&license)).is_err());
    let other = "127.0.0.2".parse().expect("an address");
    let mut elsewhere = Connection::open_from(other, site.gateway.addr()).expect("it connects");
    assert_eq!(
        elsewhere.call(&good(&license)).expect("an answer").status,
        200
    );
    assert_eq!(second.call(&good(&license)).expect("an answer").status, 200);
    drop(first);
    assert_eventually!(site.gateway.connect().call(&good(&license)).is_ok());
}

#[test]
fn a_connection_ends_after_so_much_silence_and_after_so_many_calls() {
    let site = site(&["keepalive_timeout = \"1s\"", "keepalive_requests = 3"]);
    let license = site.gateway.license(&[]);
    let begun = Instant::now();
    for mut connection in [site.gateway.connect(), used(&site, &license)] {
        assert!(connection.is_closed_by_peer());
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let mut connection = site.gateway.connect();
    for expected in ["keep-alive", "keep-alive", "close"] {
        let answer = connection.call(&good(&license)).expect("an answer");
        assert_eq!(answer.header("connection"), Some(expected));
    }
    assert!(connection.is_closed_by_peer());
    // A call takes as long as it takes.
    let slow = Request::get("/delay/2500").key(&license.key);
    assert_eq!(site.gateway.call(&slow).status, 200);
}

#[test]
fn a_body_that_drips_ends_its_call_and_one_that_comes_does_not() {
    let site = site(&["min_body_rate = 1000"]);
    let license = site.gateway.license(&[]);
    let begin = |length: &str| {
        let mut connection = site.gateway.connect();
        let head = Request::new("POST", "/echo").header("Content-Length", length);
        connection
            .send(&head.key(&license.key).head_bytes())
            .expect("the gate reads");
        connection
    };
    let (mut drips, mut comes) = (begin("1000"), begin("120000"));
    let begun = Instant::now();
    let mut sent = 0;
    // 20 s may be waited for in any case.
    while begun.elapsed() < Duration::from_secs(24) {
        std::thread::sleep(Duration::from_millis(200));
        let _ = drips.send(b"x");
        comes.send(&[b'x'; 1_000]).expect("it is read");
        sent += 1_000;
    }
    assert!(drips.read_some().expect("it is closed").is_empty());
    comes.send(&vec![b'x'; 120_000 - sent]).expect("it is read");
    let answer = comes.read_response("POST").expect("an answer");
    assert_eq!(answer.status, 200);
    let records = site.gateway.wait_for_calls(2);
    let gone = records
        .iter()
        .filter(|record| record["outcome"] == "client_gone");
    assert_eq!(gone.count(), 1, "{records:?}");
}

#[test]
fn a_head_of_the_upstream_that_drips_is_a_504() {
    let site = Site::with(binary!(), |upstream| {
        Config::default().app(App::new("api", upstream).line("read_timeout = \"500ms\""))
    });
    let license = site.gateway.license(&[]);
    let call = |path: &str| site.gateway.call(&Request::get(path).key(&license.key));
    let begun = Instant::now();
    assert_eq!(call("/slow-head/200/100").status, 504);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(call("/slow-head/5/20").status, 200);
    let body = call("/slow-body/10/100");
    assert!(body.status == 200 && body.complete, "a body may drip");
}
