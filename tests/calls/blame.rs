//! Who is to blame for a call that its upstream broke off: whoever had stalled, and nobody makes a call free by bringing it about.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use testkit::client::{Connection, Request};
use testkit::eventually::test_timeout;
use testkit::{Config, License, Site, binary};

/// An upstream that does this with each connection, once a request has come as far as this.
fn upstream(until: &'static [u8], act: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            while !head.ends_with(until) {
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => head.extend_from_slice(&byte),
                    _ => break,
                }
            }
            act(stream);
        }
    });
    address
}

fn site(act: impl Fn(TcpStream) + Send + 'static) -> (Site, License) {
    site_with(HEAD, act)
}

fn site_with(until: &'static [u8], act: impl Fn(TcpStream) + Send + 'static) -> (Site, License) {
    let address = upstream(until, act);
    let site = Site::with(binary!(), |_| Config::new(&format!("http://{address}")));
    let license = site.gateway.license(&["--remaining", "10"]);
    (site, license)
}

fn open(site: &Site, request: &Request) -> Connection {
    let mut connection = site.gateway.connect();
    connection.send(&request.bytes()).expect("the gate reads");
    connection
}

fn ended(record: &Value) -> (u64, &str, bool) {
    let status = record["status"].as_u64().expect("a number");
    let outcome = record["outcome"].as_str().expect("a word");
    (status, outcome, record["billable"] == true)
}

/// The end of a head.
const HEAD: &[u8] = b"\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn tunnel(site: &Site, license: &License) -> Connection {
    let upgrade = Request::get("/")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .key(&license.key);
    open(site, &upgrade)
}

#[test]
fn a_tunnel_that_carried_something_is_not_made_free_by_what_its_upstream_leaves_unread() {
    let (site, license) = site(|mut stream| {
        stream.write_all(SWITCH).expect("the gate reads");
        stream.write_all(&[b'd'; 1_000]).expect("the gate reads");
        // The first of it is bad: nothing behind it is read.
        stream.read_exact(&mut [0; 3]).expect("the gate writes");
        // Until some of what is behind it has come.
        stream.peek(&mut [0]).expect("the gate writes");
    });
    for count in 0..2 {
        let mut caller = tunnel(&site, &license);
        assert_eq!(caller.read_head().expect("a head").status(), Some(101));
        caller.read_exactly(1_000).expect("what it sends");
        // Its closing resets the connection.
        let garbage = if count == 0 { 1_000 } else { 300_000 };
        caller.send(&vec![b'z'; garbage]).ok();
        assert!(caller.read_to_end().is_empty());
        let record = &site.gateway.wait_for_calls(count + 1)[count];
        assert_eq!(ended(record), (101, "delivered", true), "{record}");
        assert_eq!(record["response_bytes"], 1_000, "{record}");
    }
}

#[test]
fn a_tunnel_that_carried_nothing_and_breaks_is_its_upstreams_failure() {
    let (has_head, may_close) = mpsc::channel::<()>();
    // A byte of the head is left unread, so that its closing is a reset.
    let (site, license) = site_with(b"\r\n\r", move |mut stream| {
        stream.write_all(SWITCH).expect("the gate reads");
        may_close.recv().expect("the caller reads");
    });
    let mut caller = tunnel(&site, &license);
    assert_eq!(caller.read_head().expect("a head").status(), Some(101));
    has_head.send(()).expect("the upstream waits");
    let record = &site.gateway.wait_for_calls(1)[0];
    assert_eq!(ended(record), (101, "upstream_failed", false), "{record}");
}

#[test]
fn a_caller_who_does_not_read_is_to_blame_when_his_upstream_has_enough_of_it() {
    const LENGTH: usize = 60_000_000;
    let (gives_up, has_given_up) = mpsc::channel();
    let (site, license) = site(move |mut stream| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the gate reads");
        let limit = Some(Duration::from_millis(1_500));
        stream.set_write_timeout(limit).expect("it is open");
        let piece = vec![b'x'; 65_536];
        let mut left = LENGTH;
        while left > 0 {
            match stream.write(&piece[..left.min(piece.len())]) {
                Ok(count) => left -= count,
                Err(_) => break,
            }
        }
        drop(stream);
        gives_up.send(()).expect("it is waited for");
    });
    let mut caller = open(&site, &Request::get("/").key(&license.key));
    assert_eq!(caller.read_head().expect("a head").status(), Some(200));
    has_given_up
        .recv_timeout(test_timeout())
        .expect("it gives up");
    assert!(caller.read_to_end().len() < LENGTH);
    let record = &site.gateway.wait_for_calls(1)[0];
    assert_eq!(ended(record), (200, "client_gone", true), "{record}");
}

#[test]
fn an_upstream_that_breaks_off_while_its_caller_reads_is_to_blame_itself() {
    let (site, license) = site(|mut stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n";
        stream.write_all(head).expect("the gate reads");
        stream.write_all(&vec![b'x'; 10_000_000]).ok();
    });
    let caller = open(&site, &Request::get("/").key(&license.key));
    assert!(caller.read_to_end().len() > 10_000_000);
    let record = &site.gateway.wait_for_calls(1)[0];
    assert_eq!(ended(record), (200, "upstream_failed", false), "{record}");
}

#[test]
fn a_tunnel_whose_opening_says_a_length_is_judged_like_any_other() {
    let (has_head, may_close) = mpsc::channel::<()>();
    let (site, license) = site_with(b"\r\n\r", move |mut stream| {
        let switch = String::from_utf8_lossy(SWITCH);
        let switch = switch.replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(switch.as_bytes()).expect("the gate reads");
        may_close.recv().expect("the caller reads");
    });
    let mut caller = tunnel(&site, &license);
    assert_eq!(caller.read_head().expect("a head").status(), Some(101));
    has_head.send(()).expect("the upstream waits");
    let record = &site.gateway.wait_for_calls(1)[0];
    assert_eq!(ended(record), (101, "upstream_failed", false), "{record}");
}
