//! Plain connections to upstreams, which the gate keeps itself: used again after every whole answer and after no other, and
//! given up when nothing moves on them, never before.

use testkit::client::{Connection, Request, call};
use testkit::{App, Config, License, Site, binary, raw_answer};

/// Longest silence of an upstream in these tests.
const LIMIT: &str = "read_timeout = \"400ms\"";
/// Milliseconds between two steps of somebody slow.
const STEP_MILLIS: usize = 100;
/// Steps of a transfer that takes longer than [`LIMIT`].
const STEPS: usize = 8;

/// One thread, so that every call finds the connection of the one before.
fn site(lines: &[&str]) -> Site {
    Site::with(binary!(), |upstream| {
        let app = App::new("api", upstream);
        let app = lines.iter().fold(app, |app, line| app.line(line));
        Config::default().app(app).server("threads = 1")
    })
}

fn good(site: &Site, license: &License) {
    let request = Request::get("/").key(&license.key);
    assert_eq!(site.gateway.call(&request).status, 200);
}

/// Waits for an answer of the upstream itself that takes so many milliseconds.
fn wait_for_answer_after(site: &Site, milliseconds: usize) {
    let request = Request::get(&format!("/delay/{milliseconds}"));
    assert_eq!(call(site.upstream.addr(), &request).status, 200);
}

fn open(site: &Site, request: &Request) -> Connection {
    let mut connection = site.gateway.connect();
    connection.send(&request.bytes()).expect("the gate reads");
    connection
}

fn upgrade(license: &License) -> Request {
    Request::get("/upgrade")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .key(&license.key)
}

#[test]
fn after_every_whole_answer_the_connection_is_used_again() {
    let site = site(&[]);
    let license = site.gateway.license(&[]);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/bytes/0"),
        ("GET", "/bytes/300000"),
        ("GET", "/stream/3/1000/1"),
        ("GET", "/status/204"),
        ("GET", "/status/304"),
        ("GET", "/status/500"),
        ("HEAD", "/bytes/10"),
        ("GET", "/informational/103"),
        ("POST", "/echo"),
        ("DELETE", "/echo"),
    ] {
        let body = if method == "POST" { &b"body"[..] } else { b"" };
        let request = Request::with_body(method, path, body).key(&license.key);
        assert!(site.gateway.call(&request).complete, "{method} {path}");
        good(&site, &license);
        let connections = site.upstream.connections();
        assert_eq!(connections, 1, "{method} {path} left it unusable");
    }
}

#[test]
fn after_no_other_answer_is_it_used_again() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    good(&site, &license);
    for path in [
        "/last-answer",
        "/until-close/10",
        "/close-mid-head",
        "/close-mid-body",
        "/cut-chunked",
        "/garbage",
        "/hold-mid-body",
    ] {
        let before = site.upstream.connections();
        let _ = site
            .gateway
            .connect()
            .call(&Request::get(path).key(&license.key));
        good(&site, &license);
        assert!(site.upstream.connections() > before, "{path}");
    }
    let before = site.upstream.connections();
    let mut tunnel = open(&site, &upgrade(&license));
    assert_eq!(tunnel.read_head().expect("a head").status(), Some(101));
    drop(tunnel);
    good(&site, &license);
    assert!(site.upstream.connections() > before, "a tunnel");
}

#[test]
fn an_early_answer_to_a_body_that_is_still_coming_ends_the_connection() {
    let site = site(&[]);
    let license = site.gateway.license(&[]);
    let request = Request::post("/early-413", &[b'x'; 4_000_000]).key(&license.key);
    let mut caller = site.gateway.connect();
    // The gate may close before it has read all.
    let _ = caller.send(&request.bytes());
    let _ = caller.read_response("POST");
    good(&site, &license);
    assert_eq!(site.upstream.connections(), 2);
}

#[test]
fn after_a_standstill_no_connection_of_before_is_used_again() {
    let site = site(&[]);
    let license = site.gateway.license(&[]);
    good(&site, &license);
    site.gateway.pause();
    wait_for_answer_after(&site, 1_500);
    site.gateway.resume();
    site.upstream.wait_until_left();
    let before = site.upstream.connections();
    good(&site, &license);
    assert_eq!(site.upstream.connections(), before + 1);
}

#[test]
fn an_answer_may_take_longer_than_any_silence_in_it() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    let path = format!("/stream/{STEPS}/10/{STEP_MILLIS}");
    let answer = site.gateway.call(&Request::get(&path).key(&license.key));
    assert!(answer.complete);
    assert_eq!(answer.body.len(), STEPS * 10);
}

#[test]
fn an_upload_may_take_longer_than_any_silence_in_it() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    let request = Request::post("/echo", &[b'x'; STEPS]).key(&license.key);
    let mut caller = site.gateway.connect();
    caller.send(&request.head_bytes()).expect("the gate reads");
    for _ in 0..STEPS {
        wait_for_answer_after(&site, STEP_MILLIS);
        caller.send(b"x").expect("the gate reads");
    }
    let answer = caller.read_response("POST").expect("an answer");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["body"], "x".repeat(STEPS));
}

#[test]
fn a_tunnel_lasts_as_long_as_something_moves_in_it_either_way() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    let mut tunnel = open(&site, &upgrade(&license));
    assert_eq!(tunnel.read_head().expect("a head").status(), Some(101));
    for _ in 0..STEPS {
        wait_for_answer_after(&site, STEP_MILLIS);
        tunnel.send(b"ping").expect("the tunnel is open");
        assert_eq!(tunnel.read_exactly(4).expect("an echo"), b"ping");
    }
}

#[test]
fn a_caller_who_reads_late_is_not_the_upstreams_fault() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    const LENGTH: usize = 20_000_000;
    let request = Request::get(&format!("/bytes/{LENGTH}")).key(&license.key);
    let mut caller = open(&site, &request);
    caller.wait_for_some().expect("the answer begins");
    wait_for_answer_after(&site, STEP_MILLIS * STEPS);
    let answer = caller.read_response("GET").expect("an answer");
    assert!(answer.complete);
    assert_eq!(answer.body.len(), LENGTH);
    let record = site.gateway.record(answer.call_id());
    assert_eq!(record["outcome"], "delivered", "{record}");
}

#[test]
fn an_upstream_that_falls_silent_within_its_answer_is_given_up() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    let answer = site
        .gateway
        .call(&Request::get("/hold-mid-body").key(&license.key));
    assert!(!answer.complete);
    let record = site.gateway.record(answer.call_id());
    assert_eq!(record["outcome"], "upstream_failed", "{record}");
    assert_eq!(record["attempts"], 1, "{record}");
}

#[test]
fn an_upstream_that_says_nothing_is_a_504_and_is_asked_once() {
    let site = site(&[LIMIT]);
    let license = site.gateway.license(&[]);
    // A connection that carried a call before: were it the connection's fault, another would be tried.
    good(&site, &license);
    let answer = site.gateway.call(&Request::get("/hang").key(&license.key));
    assert_eq!(
        (answer.status, answer.refusal_code().as_deref()),
        (504, Some("upstream_timeout"))
    );
    let record = site.gateway.record(answer.call_id());
    assert_eq!(record["attempts"], 1, "{record}");
    assert!(record["duration_us"].as_u64() >= Some(400_000), "{record}");
}

/// Of a connection that carried a call before an upstream may have let go meanwhile, so that a GET which dies on it without a
/// word is sent once more. Not so one of whose answer the caller has seen something.
#[test]
fn a_get_is_not_sent_again_once_its_caller_has_seen_an_informational_answer() {
    let site = site(&[]);
    let license = site.gateway.license(&[]);
    let sent = |path: &str| {
        let served = site.upstream.served();
        let of_it = served.iter().filter(|call| call.target == path);
        of_it.count()
    };
    let ask = |path: &str| {
        good(&site, &license);
        let request = Request::get(path).key(&license.key);
        let answer = open(&site, &request).read_response("GET");
        let answer = answer.expect("an answer");
        let code = answer.refusal_code();
        assert_eq!(
            (answer.status, code.as_deref()),
            (502, Some("upstream_unreachable")),
            "{path}"
        );
        // That there is one and no other is looked at there.
        let record = site.gateway.record(answer.call_id());
        assert_eq!(record["outcome"], "upstream_failed", "{record}");
        assert_eq!(record["status"], 502, "{record}");
        assert_eq!(record["billable"], false, "{record}");
        (answer.informational, record["attempts"].clone())
    };
    assert_eq!(ask("/close-before-head"), (vec![], 2.into()));
    assert_eq!(sent("/close-before-head"), 2);
    for heads in [&[103][..], &[102], &[102, 103]] {
        let head = |status: &u16| format!("HTTP/1.1 {status} Scripted\r\nLink: </a.css>\r\n\r\n");
        let answer: String = heads.iter().map(head).collect();
        let path = format!("{}/close", raw_answer(&answer));
        assert_eq!(ask(&path), (heads.to_vec(), 1.into()));
        assert_eq!(sent(&path), 1, "{heads:?}");
    }
    // Each of the calls that were good, and of those that were not, has one.
    assert_eq!(site.gateway.wait_for_calls(8).len(), 8);
}

#[test]
fn a_quiet_tunnel_lasts_as_long_as_its_app_says_and_is_nobodys_failure() {
    let site = site(&[LIMIT, "websocket_idle_timeout = \"1500ms\""]);
    let license = site.gateway.license(&[]);
    let mut tunnel = open(&site, &upgrade(&license));
    let head = tunnel.read_head().expect("a head");
    for _ in 0..2 {
        // Longer than an upstream may be silent that owes an answer.
        wait_for_answer_after(&site, 1_000);
        tunnel.send(b"ping").expect("the tunnel is open");
        assert_eq!(tunnel.read_exactly(4).expect("an echo"), b"ping");
    }
    let begun = std::time::Instant::now();
    assert!(tunnel.is_closed_by_peer());
    assert!(begun.elapsed() >= std::time::Duration::from_millis(1_500));
    let call_id = head.header("tallygate-call-id").expect("a call id");
    let record = site.gateway.record(call_id);
    assert_eq!(record["outcome"], "delivered", "{record}");
    assert_eq!(record["status"], 101, "{record}");
    assert_eq!(record["response_bytes"], 8, "{record}");
}
