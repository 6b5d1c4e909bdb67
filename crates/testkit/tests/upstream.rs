//! The actors against each other, without a gate between them.

use std::time::Instant;

use testkit::client::{Connection, NoResponse, Request, call};
use testkit::{Load, Upstream, assert_eventually};

fn open(upstream: &Upstream) -> Connection {
    Connection::open(upstream.addr()).expect("the upstream listens")
}

#[test]
fn the_upstream_answers_as_the_path_says_and_keeps_its_list() {
    let upstream = Upstream::start();
    let mut connection = open(&upstream);
    let teapot = connection
        .call(&Request::get("/status/418").header("Tallygate-Call-Id", "c-1"))
        .unwrap();
    let empty = connection.call(&Request::get("/status/204")).unwrap();
    let stream = connection.call(&Request::get("/stream/3/5/0")).unwrap();
    let big = connection.call(&Request::get("/bytes/100000")).unwrap();
    assert_eq!(
        (
            teapot.status,
            empty.status,
            stream.body.len(),
            big.body.len()
        ),
        (418, 204, 15, 100_000)
    );
    assert!(stream.complete && big.complete);

    let served = upstream.stop();
    assert_eq!(served.len(), 4);
    assert_eq!(served[0].call_id.as_deref(), Some("c-1"));
    assert!(served.iter().all(|one| one.connection == 0 && one.complete));
    assert_eq!(
        served
            .iter()
            .map(|one| one.status.unwrap())
            .collect::<Vec<_>>(),
        [418, 204, 200, 200]
    );
}

#[test]
fn the_upstream_echoes_the_request() {
    let upstream = Upstream::start();
    let echo = call(
        upstream.addr(),
        &Request::post("/echo?a=b", b"hello").header("X-Mine", "1"),
    )
    .json();
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["target"], "/echo?a=b");
    assert_eq!(echo["body"], "hello");
    assert_eq!(upstream.served()[0].header("x-mine"), Some("1"));
}

#[test]
fn a_chunked_request_body_is_counted() {
    let upstream = Upstream::start();
    let mut connection = open(&upstream);
    connection
        .send(b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .unwrap();
    connection.send(b"2\r\nde\r\n0\r\n\r\n").unwrap();
    assert_eq!(
        connection.read_response("POST").unwrap().json()["body"],
        "abcde"
    );
    assert_eq!(upstream.served()[0].body_bytes, 5);
}

#[test]
fn a_broken_answer_shows_where_it_broke() {
    let upstream = Upstream::start();
    for path in [
        "/reset-before-head",
        "/close-before-head",
        "/close-mid-head",
    ] {
        assert_eq!(
            open(&upstream).call(&Request::get(path)).unwrap_err(),
            NoResponse::Closed,
            "{path}"
        );
    }
    for path in ["/reset-mid-body", "/close-mid-body", "/cut-chunked"] {
        let response = open(&upstream).call(&Request::get(path)).unwrap();
        assert_eq!((response.status, response.complete), (200, false), "{path}");
    }
    assert!(upstream.served().iter().all(|one| !one.complete));
}

#[test]
fn informational_heads_are_told_from_the_final_one() {
    let upstream = Upstream::start();
    let response = call(upstream.addr(), &Request::get("/informational/103"));
    assert_eq!(
        (response.status, response.informational.as_slice()),
        (200, &[103][..])
    );
}

#[test]
fn an_early_answer_leaves_the_body_unread() {
    let upstream = Upstream::start();
    let mut connection = open(&upstream);
    connection
        .send(b"POST /early-413 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        .unwrap();
    assert_eq!(connection.read_response("POST").unwrap().status, 413);
    assert_eq!(upstream.served()[0].body_bytes, 0);
}

#[test]
fn what_holds_goes_on_when_released() {
    let upstream = Upstream::start();
    let mut connection = open(&upstream);
    connection
        .send(&Request::get("/hold-mid-body").bytes())
        .unwrap();
    assert_eq!(connection.read_head().unwrap().status(), Some(200));
    assert_eq!(connection.read_exactly(1000).unwrap().len(), 1000);
    upstream.release();
    assert_eq!(connection.read_exactly(1000).unwrap().len(), 1000);
    assert_eventually!(upstream.served()[0].complete);
}

#[test]
fn a_connection_ends_silently_after_so_many_requests() {
    let upstream = Upstream::builder().close_after(2).start();
    let mut connection = open(&upstream);
    assert_eq!(connection.call(&Request::get("/")).unwrap().status, 200);
    assert_eq!(connection.call(&Request::get("/")).unwrap().status, 200);
    assert!(connection.is_closed_by_peer());
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_log_on_disk_holds_the_list_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("served.jsonl");
    let upstream = Upstream::builder().log_to(&path).start();
    let _ = call(upstream.addr(), &Request::get("/status/201"));
    drop(upstream);
    let text = std::fs::read_to_string(path).unwrap();
    let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (last["status"].as_u64(), last["complete"].as_bool()),
        (Some(201), Some(true))
    );
}

#[test]
fn load_reports_every_call_it_made() {
    let upstream = Upstream::start();
    let started = Instant::now();
    let seen = Load::new(upstream.addr(), 8, |_, _| Request::get("/"))
        .calls_per_connection(500)
        .run();
    let per_second = seen.len() as f64 / started.elapsed().as_secs_f64();
    println!("{per_second:.0} calls per second with the client beside it");
    assert_eq!(seen.len(), 4000);
    assert!(
        seen.iter()
            .all(|one| one.status == Some(200) && one.complete)
    );
    assert_eq!(upstream.served_count(), 4000);
    assert_eq!(upstream.connections(), 8);
}

#[test]
fn load_that_is_stopped_lets_its_calls_end() {
    let upstream = Upstream::start();
    let load = Load::new(upstream.addr(), 4, |_, _| Request::get("/")).start();
    assert_eventually!(load.answered() > 100);
    let seen = load.stop();
    assert!(seen.iter().all(|one| one.complete));
    assert_eq!(upstream.served_count(), seen.len());
}
